/** The device and the guest's library built for another processor, and run there in an emulator: the same transcript, the same bytes. */

import { assertEquals } from "@std/assert";

import { CUDA_SHIM, type LibrarySpec, SOFT_CUDA, SOFT_TYPE2 } from "../../ffi/build.ts";
import { openType2 } from "../../src/type2/open.ts";
import { type Cross, fetchCross, findCross } from "./cross.ts";
import { Served, withType2Libraries } from "./type2_device.ts";
import { ALL, FABRIC, transcript } from "./type2_transcript.ts";

withType2Libraries();

const ROOT = new URL("../..", import.meta.url).pathname;
const MIB = 1 << 20;

async function aarch64(): Promise<Cross> {
  if (findCross("aarch64") === null) await fetchCross("aarch64");
  const cross = findCross("aarch64");
  if (cross === null) throw new Error("the packages for aarch64 hold no compiler or emulator");
  return cross;
}

/** The flags that busbar builds its libraries with, and -O1: an emulator gains nothing by more. */
const FLAGS = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-fPIC"];

async function build(cross: Cross, out: string, sources: readonly string[], flags: readonly string[]): Promise<void> {
  const include = [`-I${ROOT}csrc`, `-I${ROOT}csrc/api`];
  const args = [...FLAGS, ...include, "-o", out, ...sources.map((source) => `${ROOT}${source}`), ...flags];
  const { success, stderr } = await new Deno.Command(cross.compiler, { args, env: { ...cross.env } }).output();
  assertEquals({ success, errors: new TextDecoder().decode(stderr) }, { success: true, errors: "" });
}

function sourcesOf(library: LibrarySpec): string[] {
  return library.folders.flatMap((folder) =>
    folder.endsWith(".c")
      ? [folder]
      : Array.from(Deno.readDirSync(ROOT + folder), (entry) => `${folder}/${entry.name}`).filter((name) =>
        name.endsWith(".c")
      )
  );
}

/** Where the emulator finds the processor's libc. */
const SYSTEM = ["-L", "/usr/aarch64-linux-gnu"];

Deno.test("a device on aarch64 gives the same transcript over its file", async () => {
  const cross = await aarch64();
  const folder = await Deno.makeTempDir({ dir: "/dev/shm" });
  const linked = ["-pthread", "-ldl", "-lm"];
  await build(cross, `${folder}/cuda.so`, sourcesOf(SOFT_CUDA), ["-shared", ...linked]);
  await build(cross, `${folder}/serve`, [...sourcesOf(SOFT_TYPE2), "tests/c/type2_serve.c"], linked);
  const settings = ["memory=268435456", "driver_settings=memory=256MiB&log=none"];
  const fabric = Object.entries(FABRIC).map(([key, value]) => `${key}=${value}`);
  const args = [...SYSTEM, `${folder}/serve`, `${folder}/cuda.so`, `${folder}/gpu`, String(64 * MIB)];
  const server = new Deno.Command(cross.emulator, {
    args: [...args, ...settings, ...fabric],
    env: { ...cross.env },
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = server.stdout.getReader();
  const { value } = await reader.read();
  assertEquals(new TextDecoder().decode(value), "serving\n");
  await reader.cancel();
  {
    using inProcess = openType2(`soft:type2?memory=256MiB&${ALL}`);
    const wanted = await transcript(inProcess);
    using shared = openType2(`type2:${folder}/gpu`, { commandMs: 60_000 });
    assertEquals(await transcript(shared), wanted);
  }
  await server.stdin.close();
  assertEquals((await server.status).code, 0);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a program on aarch64 uses the device by the guest's library: copies, and a kernel in the pool", async () => {
  const cross = await aarch64();
  const folder = await Deno.makeTempDir();
  await build(cross, `${folder}/libcuda.so.1`, sourcesOf(CUDA_SHIM), ["-shared", "-pthread", "-ldl"]);
  await build(cross, `${folder}/program`, ["tests/c/type2_program.c"], [`${folder}/libcuda.so.1`, "-pthread"]);
  await using served = Served.start({ memory: String(64 * MIB) }, 64 * MIB);
  // Not with children: qemu-user makes up a process's own /proc/self/stat, so a child takes its parent for another process.
  for (const [mode, number] of [["copy", "1048575"], ["copy", "3145733"], ["pool", "1000"]] as const) {
    const { code, stdout, stderr } = await new Deno.Command(cross.emulator, {
      args: [...SYSTEM, `${folder}/program`, mode, number],
      env: { ...cross.env, CXL_GPU: served.path },
    }).output();
    const output = new TextDecoder().decode(stdout), errors = new TextDecoder().decode(stderr);
    assertEquals({ code, output }, { code: 0, output: "equal\n" }, `${mode}: ${errors}`);
  }
  await Deno.remove(folder, { recursive: true });
});
