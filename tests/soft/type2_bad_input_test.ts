/** Programs that cannot run on a Type 2 GPU, a QEMU that lacks a device, and what serve leaves behind: nothing. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { udevRule } from "../../src/type2/open.ts";
import { run } from "./ptx/programs.ts";
import { runTool, toolArgs } from "./tool.ts";
import { withType2Libraries } from "./type2_device.ts";

withType2Libraries();

const FATBINS = new URL("../fixtures/cuda/fatbins", import.meta.url).pathname;

/** A program whose device code is a fat binary with one entry, of a kind: 1 is PTX, 2 machine code. */
async function programWith(folder: string, kind: number): Promise<string> {
  const path = `${folder}/program${kind}`;
  const words = `0xba55ed50, 0x00100001, 80, 0, ${0x01010000 | kind}, 64, 16, 0`;
  const source = `__attribute__((section(".nv_fatbin"), used)) const unsigned code[28] = {${words}};
int main(void) { return 0; }
`;
  await Deno.writeTextFile(`${path}.c`, source);
  const built = await run(Deno.env.get("CC") ?? "cc", ["-o", path, `${path}.c`], { LD_PRELOAD: "" });
  assertEquals(built.code, 0, built.errors);
  return path;
}

Deno.test("exec refuses the static runtime and machine code without PTX by one line that names nvcc's option", async () => {
  const folder = await Deno.makeTempDir();
  const static_ = await runTool("cxl_gpu", ["exec", "--", await programWith(folder, 1)]);
  assertEquals(static_.code, 3);
  assertMatch(static_.stderr, /^cxl_gpu: .*program1: built with the static CUDA runtime.*nvcc -cudart shared\n$/);
  const machine = await runTool("cxl_gpu", ["exec", "--", await programWith(folder, 2)]);
  assertEquals(machine.code, 3);
  assertMatch(
    machine.stderr,
    /^cxl_gpu: .*program2: holds machine code and no PTX.*nvcc -gencode .*code=compute_75\n$/,
  );
  await Deno.remove(folder, { recursive: true });
});

Deno.test("run refuses an image without PTX text, and says what makes some", async () => {
  const { code, stderr } = await runTool("cxl_gpu", ["run", "soft:type2", `${FATBINS}/vector_add.zstd.fatbin`, "k"]);
  assertEquals(code, 2);
  assertMatch(stderr, /an image without PTX text\n {2}hint: nvcc -ptx .*\n$/);
});

Deno.test("who may not open a function is given the udev rule of its identity", () => {
  assertStringIncludes(udevRule("ivshmem"), 'ATTR{vendor}=="0x1af4", ATTR{device}=="0x1110"');
  assertStringIncludes(udevRule("cxl-type2"), 'ATTR{vendor}=="0x8086", ATTR{device}=="0x0d92"');
});

Deno.test("list says what each function is, or that there is none", async () => {
  const { code, stdout, stderr } = await runTool("cxl_gpu", ["list", "--json"]);
  assertEquals(code, 0, stderr);
  assert(Array.isArray(JSON.parse(stdout).devices));
});

function namesIn(folder: string): string[] {
  return Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`serve ended by ${signal} leaves no file and no socket; a QEMU without vfio-user is told of`, async () => {
    const folder = await Deno.makeTempDir({ dir: "/dev/shm" });
    // A QEMU that has only what old ones have.
    const script = "#!/bin/sh\necho 'name \"ivshmem-plain\", bus PCI'\n";
    await Deno.mkdir(`${folder}/bin`);
    await Deno.writeTextFile(`${folder}/bin/qemu-system-x86_64`, script, { mode: 0o755 });
    const places = [
      "--file",
      `${folder}/gpu,size=16MiB`,
      "--doorbell",
      `${folder}/bell`,
      "--vfio-user",
      `${folder}/vfio`,
    ];
    const args = toolArgs("cxl_gpu", ["serve", ...places, "--memory", "16MiB"]);
    const env = { PATH: `${folder}/bin:${Deno.env.get("PATH") ?? ""}` };
    const child = new Deno.Command(Deno.execPath(), { args, env, stdout: "null", stderr: "piped" }).spawn();
    const reader = child.stderr.getReader();
    let said = "";
    while (!said.includes("hint")) {
      const { value, done } = await reader.read();
      if (done) break;
      said += new TextDecoder().decode(value);
    }
    assertMatch(said, /no vfio-user-pci\n {2}hint: QEMU 10\.1/);
    assertEquals(namesIn(folder), ["bell", "bin", "gpu", "vfio"]);
    assertEquals(((await Deno.stat(`${folder}/gpu`)).mode ?? 0) & 0o777, 0o600);
    child.kill(signal);
    while (!(await reader.read()).done);
    await child.status;
    assertEquals(namesIn(folder), ["bin"]);
    await Deno.remove(folder, { recursive: true });
  });
}
