// deno-lint-ignore-file no-console
/**
 * The recorders and the memory server: processor time of a program under each recorder, as ratios in one run, and requests
 * a second of one connection.
 *
 * Goals: the valgrind tool no slower than cachegrind and at least 100 times faster than lackey; compiler hooks at most 15
 * times native. The server's requests are printed beside those of a peer whose number is given in `CXLMEMSIM_REQUESTS`.
 */

import { surroundings } from "../ffi/build.ts";
import { hookLinkFlags } from "../src/sim/host/hooks.ts";
import { connectMemory } from "../src/sim/host/memory_client.ts";
import { findRecorder, recorderPlaces, TOOL_NAME } from "../src/sim/host/recorder_build.ts";
import { TcpServer } from "../src/sim/host/tcp_server.ts";
import { endpointMemory } from "../src/sim/serve/endpoints.ts";
import { ServerOp } from "../src/sim/serve/protocol.ts";
import { MemoryService } from "../src/sim/serve/service.ts";

/** Random updates and reads of a table of 40 MB. */
const PROGRAM = `
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
  size_t n = 10000000, steps = argc > 1 ? strtoul(argv[1], 0, 10) : n;
  unsigned *a = malloc(n * sizeof *a), x = 1, s = 0;
  for (size_t i = 0; i < n && steps > 100000; i++) a[i] = (unsigned)i;
  for (size_t i = 0; i < steps; i++) {
    x = x * 1664525 + 1013904223;
    a[x % n] += (unsigned)i;
    s += a[(x >> 8) % n];
  }
  printf("%u\\n", s);
  return 0;
}
`;

/** Seconds of user and system time, the least of `rounds`. */
function processorSeconds(command: readonly string[], env: Record<string, string>, rounds = 3): number {
  const times = Array.from({ length: rounds }, () => {
    const script = `TIMEFORMAT='%U %S'; time "$@" >/dev/null 2>&1`;
    const output = new Deno.Command("bash", { args: ["-c", script, "bash", ...command], env, stderr: "piped" })
      .outputSync();
    const [user = NaN, system = NaN] =
      new TextDecoder().decode(output.stderr).trim().split("\n").at(-1)?.split(" ").map(Number) ?? [];
    return user + system;
  });
  return Math.min(...times);
}

function compareRecorders(): void {
  const folder = Deno.makeTempDirSync({ prefix: "sim-bench-" });
  try {
    const { cache, say } = surroundings();
    const recorder = findRecorder(recorderPlaces(cache, say));
    Deno.writeTextFileSync(`${folder}/gups.c`, PROGRAM);
    const gcc = (...args: string[]): void => {
      if (!new Deno.Command("gcc", { args, cwd: folder }).outputSync().success) {
        throw new Error(`gcc ${args.join(" ")}`);
      }
    };
    gcc("-O2", "-o", "gups", "gups.c");
    gcc("-O2", "-fsanitize=thread", "-c", "-o", "hooked.o", "gups.c");
    gcc("-o", "hooked", "hooked.o", ...hookLinkFlags(cache, say));
    const program = `${folder}/gups`;
    const ours = (filter: string, steps: string): number => {
      const args = [`--tool=${TOOL_NAME}`, `--out=${folder}/t`, `--filter=${filter}`, program, steps];
      return processorSeconds(["bash", "-c", `rm -f ${folder}/t.*; exec valgrind "$@"`, "bash", ...args], {
        VALGRIND_LIB: recorder.library,
      });
    };
    const other = (tool: string, args: readonly string[], steps: string, rounds = 3): number =>
      processorSeconds(["valgrind", `--tool=${tool}`, ...args, program, steps], {}, rounds);
    const steps = "10000000";
    const native = processorSeconds([program, steps], {});
    const start = ours("no", "1");
    const row = (name: string, seconds: number): void =>
      console.log(
        `${name.padEnd(34)} ${seconds.toFixed(2).padStart(7)} s  ${(seconds / native).toFixed(1).padStart(7)} × native`,
      );
    row("native", native);
    const filtered = ours("yes", steps);
    const all = ours("no", steps);
    row("valgrind tool, filter", filtered);
    row("valgrind tool, --all", all);
    const cachegrind = other("cachegrind", ["--cachegrind-out-file=/dev/null"], steps);
    row("cachegrind", cachegrind);
    const environment = (bytes: string): Record<string, string> => ({
      BUSBAR_RECORD_OUT: `${folder}/h`,
      BUSBAR_RECORD_LOG: `${folder}/log`,
      BUSBAR_RECORD_FILTER_BYTES: bytes,
    });
    const hooked = ["bash", "-c", `rm -f ${folder}/h.*; exec "$@"`, "bash", `${folder}/hooked`, steps];
    row("compiler hooks, filter", processorSeconds(hooked, environment("1048576")));
    row("compiler hooks, --all", processorSeconds(hooked, environment("0")));
    // Lackey would need an hour for as many steps: both run a hundredth, and what they need to start is taken off.
    const few = "100000";
    const lackeyArgs = ["--trace-mem=yes", `--log-file=${folder}/lackey`];
    const lackey = other("lackey", lackeyArgs, few, 1) - other("lackey", lackeyArgs, "1", 1);
    console.log(
      `valgrind tool / cachegrind: ${(filtered / cachegrind).toFixed(2)} with the filter, ${
        (all / cachegrind).toFixed(2)
      } without (goal: at most 1)`,
    );
    console.log(
      `lackey / valgrind tool, --all, without start: ${(lackey * 100 / (all - start)).toFixed(0)} (goal: at least 100)`,
    );
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

async function requestsPerSecond(inFlight: number): Promise<number> {
  const { sizeBytes, latency } = endpointMemory({
    topology: "(1,(2,3))",
    capacityBytes: [256 << 20],
    latencyNs: [200, 250],
    bandwidthGBs: [50, 50],
    switchLatencyNs: 70,
    switchBandwidthGBs: 50,
  });
  const service = new MemoryService({
    sizeBytes,
    limitBytes: 1 << 30,
    labelBytes: 4096,
    granularityBytes: 1 << 20,
    enforceDcd: false,
    enforceGfam: false,
    latency,
  });
  const stop = new AbortController();
  using server = TcpServer.listen(service, {
    hostname: "127.0.0.1",
    port: 0,
    connections: 4,
    requestsPerSecond: 1e9,
    partialTimeoutMs: 10_000,
    idleTimeoutMs: 60_000,
    drainMs: 200,
  });
  const running = server.run(stop.signal);
  const address = { kind: "tcp", hostname: "127.0.0.1", port: server.port } as const;
  const client = await connectMemory(address, 10_000, () => {
    throw new Error("not a file");
  });
  const requests = Array.from(
    { length: inFlight },
    (_, i) => ({ op: ServerOp.Read, address: BigInt(i * 64), size: 64n, timestampNs: 1n }),
  );
  const rounds = Math.ceil(40_000 / inFlight);
  const started = performance.now();
  for (let i = 0; i < rounds; i++) await client.exchange(requests);
  const seconds = (performance.now() - started) / 1000;
  client[Symbol.dispose]();
  stop.abort();
  await running;
  return rounds * inFlight / seconds;
}

compareRecorders();
const peer = Number(Deno.env.get("CXLMEMSIM_REQUESTS") ?? NaN);
for (const inFlight of [1, 32]) {
  const rate = await requestsPerSecond(inFlight);
  const ratio = Number.isNaN(peer) ? "" : `  ${(rate / peer).toFixed(1)} × the peer`;
  console.log(
    `serve, client and server in one process, ${inFlight} in flight: ${Math.round(rate)} requests a second${ratio}`,
  );
}
