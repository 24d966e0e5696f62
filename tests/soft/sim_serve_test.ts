import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { connectMemory } from "../../src/sim/host/memory_client.ts";
import { ServerOp, type ServerRequest } from "../../src/sim/serve/protocol.ts";
import { Random } from "../unit/random.ts";
import { withNeeds } from "../needs.ts";
import { CLEAN_ENV } from "./sim_recorder.ts";
import { runPython, startServer, stopServer } from "./sim_server.ts";
import { runTool, toolArgs } from "./tool.ts";

const noMap = (): never => {
  throw new Error("a TCP client maps nothing");
};

Deno.test({
  ...withNeeds(
    "the memory server: four Python clients and ours at once, 5,000 random operations agree with their models",
    "python3",
  ),
  async fn(): Promise<void> {
    const server = await startServer(["--capacity", "1MiB"]);
    try {
      const python = [0, 1, 2, 3].map((i) => runPython(server.port, 1000, i, i * 65536));
      using client = await connectMemory({ kind: "tcp", hostname: "127.0.0.1", port: server.port }, 20_000, noMap);
      const random = new Random("sim_serve", 14);
      const model = new Uint8Array(4096);
      const base = 0x80000n;
      for (let round = 0; round < 50; round++) {
        const steps = Array.from({ length: 20 }, () => {
          const at = random.below(4000);
          const size = 1 + random.below(64);
          const write = random.below(2) === 0;
          const data = random.bytes(64);
          if (write) model.set(data.subarray(0, size), at);
          const request: Partial<ServerRequest> & { op: number } = {
            op: write ? ServerOp.Write : ServerOp.Read,
            address: base + BigInt(at),
            size: BigInt(size),
            data,
          };
          return { request, expected: write ? null : model.slice(at, at + size) };
        });
        const answers = await client.exchange(steps.map((step) => step.request));
        for (const [i, { expected }] of steps.entries()) {
          assertEquals(answers[i]?.status, 0);
          if (expected !== null) assertEquals(answers[i]?.data.slice(0, expected.length), expected);
        }
      }
      assertEquals(await Promise.all(python), ["1000\n", "1000\n", "1000\n", "1000\n"]);
    } finally {
      await stopServer(server);
    }
  },
});

Deno.test("the memory server outlives short, torn and senseless messages, and says so; SIGTERM answers what has come", async () => {
  const server = await startServer(["--connections", "4"]);
  const address = { hostname: "127.0.0.1", port: server.port };
  let ended: { readonly code: number; readonly stderr: string } | null = null;
  try {
    for (const bytes of [new Uint8Array(1), new Uint8Array(104), new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")]) {
      using socket = await Deno.connect(address);
      await socket.write(bytes);
    }
    using noise = await Deno.connect(address);
    await noise.write(new Uint8Array(105 * 100).fill(0xff));
    const answers = new Uint8Array(81 * 100);
    for (let done = 0; done < answers.length;) done += await noise.read(answers.subarray(done)) ?? Infinity;
    for (let i = 0; i < 100; i++) assertEquals(answers[i * 81], 1);
    const alive = await runTool("cxl_sim", ["client", `:${server.port}`, "stats"], CLEAN_ENV);
    assertEquals(alive.code, 0, alive.stderr);
    const second = await runTool("cxl_sim", ["serve", "--port", String(server.port)], CLEAN_ENV);
    assertEquals(second.code, 2);
    assertStringIncludes(second.stderr, "another program listens there");
    // A request that is under way when the end comes is answered.
    const request = new Uint8Array(105);
    request[9] = 8;
    await noise.write(request);
    ended = await stopServer(server);
    const last = new Uint8Array(81);
    assertEquals(await noise.read(last), 81);
    assertEquals(last[0], 0);
  } finally {
    ended ??= await stopServer(server);
  }
  assertEquals(ended.code, 143);
  assertStringIncludes(ended.stderr, "3 that broke off");
});

Deno.test("sharing and pooling by hand: extents, grants, heads, and what the server refuses", async () => {
  const server = await startServer(["--capacity", "64MiB", "--enforce-dcd", "--enforce-gfam"]);
  const ask = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await runTool("cxl_sim", ["client", `:${server.port}`, ...words], CLEAN_ENV);
    return `${code} ${stdout.trim() || stderr.split("\n")[0]}`;
  };
  try {
    assertStringIncludes(await ask("read", "0", "8"), "1 cxl_sim: read: the server answers 3");
    assertEquals(await ask("dcd", "add", "4MiB", "--tag", "7"), "0 extent at 0x0, 4 MiB");
    assertStringIncludes(await ask("dcd", "add", "2MiB", "--base", "0x100000"), "answers 2: it overlaps");
    assertStringIncludes(await ask("read", "0", "8"), "answers 5: access denied");
    assertEquals(await ask("mhsld", "attach", "3"), "0 head 3 attached; 1 attached");
    assertEquals(await ask("gfam", "grant", "3", "0", "1MiB", "r"), "0 granted");
    assertStringIncludes(await ask("read", "0", "8", "--head", "3"), "0 0000000000000000");
    assertStringIncludes(await ask("write", "0", "aa", "--head", "3"), "answers 5: access denied");
    assertStringIncludes(await ask("mhsld", "query", "3"), "1 reads, 0 writes");
    assertEquals(await ask("gfam", "revoke", "3", "0", "1MiB"), "0 revoked");
    assertStringIncludes(await ask("read", "0", "8", "--head", "3"), "answers 5");
    assertEquals(await ask("dcd", "release", "0", "4MiB"), "0 released");
    assertStringIncludes(await ask("dcd", "query"), "0 B of 64 MiB in 0 extent(s)");
  } finally {
    await stopServer(server);
  }
});

Deno.test("a shared-memory file: for this user alone, used by a client, refused to a second server, gone at the end", async () => {
  const folder = await Deno.makeTempDir({ prefix: "sim-serve-" });
  const path = `${folder}/memory`;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--cached-only",
      new URL("../../tools/cxl_sim.ts", import.meta.url).pathname,
      "serve",
      "--shared",
      path,
    ],
    env: CLEAN_ENV,
    stdout: "piped",
    stderr: "null",
  }).spawn();
  try {
    const reader = child.stdout.getReader();
    await reader.read();
    reader.releaseLock();
    assertEquals(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
    const written = await runTool("cxl_sim", ["client", path, "write", "100", "0102030405"], CLEAN_ENV);
    assertEquals(written.code, 0, written.stderr);
    const read = await runTool("cxl_sim", ["client", path, "read", "98", "8"], CLEAN_ENV);
    assert(read.stdout.startsWith("0000010203040500"), read.stdout + read.stderr);
    const second = await runTool("cxl_sim", ["serve", "--shared", path], CLEAN_ENV);
    assertEquals(second.code, 2);
    assertStringIncludes(second.stderr, "another server has it");
  } finally {
    child.kill("SIGTERM");
    await child.stdout.cancel();
    await child.status;
  }
  assertEquals(await Array.fromAsync(Deno.readDir(folder)), []);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("--ivshmem: memory of a guest keeps its size and is empty again after the server; other contents are refused", async () => {
  const folder = await Deno.makeTempDir({ prefix: "sim-serve-" });
  const path = `${folder}/ivshmem`;
  const refused = async (part: string): Promise<void> => {
    const { code, stderr } = await runTool("cxl_sim", ["serve", "--ivshmem", path], CLEAN_ENV);
    assertEquals(code, part.includes("no such") ? 3 : 2, stderr);
    assertStringIncludes(stderr, part);
  };
  await refused("no such file");
  await Deno.writeFile(path, new Uint8Array(4096));
  await refused("4096 bytes, and 64 clients need");
  await Deno.writeFile(path, new Uint8Array(1 << 20).fill(1));
  await refused("is a file of another kind");
  await Deno.writeFile(path, new Uint8Array(1 << 20));
  const child = new Deno.Command(Deno.execPath(), {
    args: toolArgs("cxl_sim", ["serve", "--ivshmem", path]),
    env: CLEAN_ENV,
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  await reader.cancel();
  const written = await runTool("cxl_sim", ["client", path, "write", "100", "0102030405"], CLEAN_ENV);
  assertEquals(written.code, 0, written.stderr);
  child.kill("SIGTERM");
  await child.status;
  assertEquals(await Deno.readFile(path), new Uint8Array(1 << 20));
  await Deno.remove(folder, { recursive: true });
});
