/** `cxl_gpu serve` over a driver library that has no limit: a process for each guest, ended at the limit and started anew. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";

import { softCudaFolder } from "../../ffi/build.ts";
import { BusbarError } from "../../src/core/error.ts";
import type { Type2Gpu } from "../../src/type2/client.ts";
import { openType2 } from "../../src/type2/open.ts";
import { namesIn } from "./stand_in.ts";
import { runTool, toolArgs } from "./tool.ts";
import { KERNELS, withType2Libraries } from "./type2_device.ts";

withType2Libraries();

const SHAPE = { grid: [1, 1, 1], block: [1, 1, 1], sharedBytes: 0 } as const;

/** A server over the software driver as a library, which keeps no limit by itself. Dispose kills what is left of it. */
class Server implements AsyncDisposable {
  readonly folder: string = Deno.makeTempDirSync({ dir: "/dev/shm", prefix: "busbar-test-" });
  readonly #child: Deno.ChildProcess;
  readonly #errors: Promise<string>;

  constructor(guests: readonly string[], limit: string) {
    const files = guests.flatMap((name) => ["--file", `${this.folder}/${name},size=16MiB`]);
    const backend = `cuda:${softCudaFolder()}/libcuda.so.1`;
    const args = ["serve", ...files, "--backend", backend, "--memory", "16MiB", "--limit", limit];
    this.#child = new Deno.Command(Deno.execPath(), {
      args: toolArgs("cxl_gpu", args),
      env: { BUSBAR_SOFT_CUDA: "watchdog_ms=0&log=none" },
      stdout: "piped",
      stderr: "piped",
      detached: true,
    }).spawn();
    this.#errors = new Response(this.#child.stderr).text();
  }

  /** Waits until all guests are served. */
  async ready(guests: number): Promise<void> {
    const reader = this.#child.stdout.getReader();
    for (let text = ""; text.split("  qemu ").length <= guests;) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`the server ended: ${text} ${await this.#errors}`);
      text += new TextDecoder().decode(value);
    }
    await reader.cancel();
  }

  /** A client of one guest, begun. */
  async open(name: string): Promise<Type2Gpu> {
    const end = performance.now() + 20_000;
    for (;;) {
      let gpu: Type2Gpu | null = null;
      try {
        gpu = openType2(`type2:${this.folder}/${name}`);
        await gpu.begin();
        return gpu;
      } catch (error) {
        // Its process may end while this client is being opened.
        gpu?.[Symbol.dispose]();
        if (performance.now() > end) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** The process of each guest, by its file's name. */
  processes(): Map<string, number> {
    const found = new Map<string, number>();
    for (const name of namesIn("/proc").filter((one) => /^\d+$/.test(one))) {
      try {
        const words = Deno.readTextFileSync(`/proc/${name}/cmdline`).split("\0");
        const file = words[words.indexOf("--file") + 1] ?? "";
        if (!words.includes("--guest-process") || !file.startsWith(`${this.folder}/`)) continue;
        found.set(file.slice(this.folder.length + 1, file.indexOf(",")), Number(name));
      } catch {
        // It has ended since the folder was read.
      }
    }
    return found;
  }

  /** Ends the server as a terminal does: its whole process group. @returns its exit status and what it wrote to standard error */
  async end(signal: Deno.Signal): Promise<{ code: number; errors: string }> {
    Deno.kill(-this.#child.pid, signal);
    const { code } = await this.#child.status;
    return { code, errors: await this.#errors };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await this.#errors;
    for (const pid of this.processes().values()) Deno.kill(pid, "SIGKILL");
    await Deno.remove(this.folder, { recursive: true });
  }
}

async function launch(gpu: Type2Gpu, kernel: string): Promise<bigint> {
  const memory = await gpu.allocate(4);
  const values = kernel === "add" ? [{ address: memory }, 5] : [{ address: memory }];
  await gpu.launch(await gpu.function(await gpu.load(KERNELS), kernel), SHAPE, values);
  return memory;
}

async function until(what: string, is: () => boolean): Promise<void> {
  for (const end = performance.now() + 10_000; !is();) {
    if (performance.now() > end) throw new Error(`not within 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Deno.test("a kernel over the limit ends its guest's process alone; that guest gets a new, empty device, the other loses nothing", async () => {
  await using server = new Server(["a", "b"], "300ms");
  await server.ready(2);
  const before = server.processes();
  assertEquals([...before.keys()].sort(), ["a", "b"]);
  using endless = await server.open("a");
  using other = await server.open("b");
  const sum = await launch(other, "add");
  await launch(endless, "wait_for");
  const error = await assertRejects(() => endless.synchronize(), BusbarError);
  assertEquals(error.code, "device-gone", error.message);
  await other.synchronize();
  assertEquals(new Uint32Array((await other.read(sum, 4)).buffer), Uint32Array.of(5));
  using again = await server.open("a");
  assertEquals((await again.memory()).freeBytes, 16n << 20n);
  await assertRejects(() => endless.allocate(4), BusbarError);
  await launch(again, "add");
  await again.synchronize();
  const after = server.processes();
  assertEquals(after.get("b"), before.get("b"));
  assert(after.get("a") !== before.get("a"));
  const { code, errors } = await server.end("SIGINT");
  assertEquals(code, 130, errors);
  assertEquals(errors.match(/ended by/g)?.length, 1, errors);
  assertStringIncludes(errors, "/a: a kernel ran longer than 300 ms; its device starts anew, empty");
  assertEquals(errors.match(/a kernel ran longer/g)?.length, 1, errors);
  assertEquals(namesIn(server.folder), []);
  assertEquals(server.processes().size, 0);
});

Deno.test("kernels that end in time are not ended for the time that all of them take", async () => {
  await using server = new Server(["a"], "1500ms");
  await server.ready(1);
  using gpu = await server.open("a");
  const wait = await gpu.function(await gpu.load(KERNELS), "wait_for");
  const { bar4 } = gpu.transport;
  assert(bar4 !== null);
  const offset = Number((await gpu.command("COHERENT_ALLOC", [4096n])).results[0]);
  const flags = new Uint32Array(bar4.buffer, bar4.byteOffset + offset, 4);
  const address = gpu.transport.read64(0xf38) + BigInt(offset);
  // One after the other, of 0.6 s each: 2.4 s in all.
  for (let i = 0; i < 4; i++) await gpu.launch(wait, SHAPE, [{ address: address + BigInt(4 * i) }]);
  for (let i = 0; i < 4; i++) {
    await new Promise((resolve) => setTimeout(resolve, 600));
    flags[i] = 1;
  }
  await gpu.synchronize();
  const { errors } = await server.end("SIGTERM");
  assertEquals(errors, "cxl_gpu: ended by SIGTERM\n");
});

Deno.test("a guest's process that is killed is started anew by itself, and a server that is killed takes all of them", async () => {
  await using server = new Server(["a", "b"], "10s");
  await server.ready(2);
  const pids = server.processes();
  const [first = 0, second = 0] = [pids.get("a"), pids.get("b")];
  using other = await server.open("b");
  // Not before it has served for a second: what ends at once, again and again, is given up.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  Deno.kill(first, "SIGKILL");
  await until("another process for the guest", () => ![undefined, first].includes(server.processes().get("a")));
  using again = await server.open("a");
  await again.allocate(4);
  await other.allocate(4);
  assertEquals(server.processes().get("b"), second);
  const { errors } = await server.end("SIGKILL");
  assertStringIncludes(errors, "/a: the driver's process was ended by SIGKILL; its device starts anew, empty");
  await until("the guests' processes end", () => server.processes().size === 0);
  assertEquals(namesIn(server.folder), []);
});

Deno.test("a driver library that is none is one line and a hint, once", async () => {
  const folder = await Deno.makeTempDir({ dir: "/dev/shm" });
  const args = ["serve", "--file", `${folder}/gpu,size=16MiB`, "--backend", `cuda:${folder}/libcuda.so.1`];
  const { code, stdout, stderr } = await runTool("cxl_gpu", args);
  assertEquals(code, 3, stderr);
  assertEquals(stdout, "");
  assertEquals(stderr.match(/^cxl_gpu: /gm)?.length, 1, stderr);
  assertStringIncludes(stderr, "libcuda.so.1");
  await Deno.remove(folder, { recursive: true });
});
