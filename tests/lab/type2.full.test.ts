/** A CXL Type 2 GPU in a guest with a stock QEMU and kernel: ivshmem memory that the host serves. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { findLibrary, SOFT_CUDA, SOFT_TYPE2 } from "../../ffi/build.ts";
import { SoftType2 } from "../../ffi/soft_type2.ts";
import { serveSharedFile } from "../../src/type2/open.ts";
import { run } from "../soft/ptx/programs.ts";
import { runTool } from "../soft/tool.ts";
import { machine } from "./lab.ts";
import { listTests } from "./list.ts";
import { lspciLinesTest } from "./lspci_lines.ts";
import { PROGRAM, programTests, runProgram, startProgram } from "./type2_programs.ts";

/** The ivshmem function. */
const ADDRESS = "0000:00:01.0";
const ROOT = new URL("../..", import.meta.url).pathname;
const SIZE_BYTES = 64 << 20;

const lab = machine("type2.yaml", import.meta.url);

let device: SoftType2 | null = null;
Deno.test.afterAll(() => device?.[Symbol.dispose]());

/** Serves the memory of a guest, which QEMU made. */
function serve(path: string): void {
  device = serveSharedFile(new Map([["memory", String(256 << 20)], ["adopt", "1"]]), { path, sizeBytes: SIZE_BYTES });
}

lab.hostTest("the host serves the guest's shared memory as a Type 2 GPU", (guest) => {
  serve(`${guest.record.folder}/disks/gpu`);
  return Promise.resolve();
});

programTests(lab, () => device);

/** What the page of the tool says that a command prints. */
async function documented(command: string): Promise<string> {
  const page = await Deno.readTextFile(`${ROOT}docs/tools/cxl_gpu.md`);
  const start = page.indexOf(`$ busbar ${command}\n`);
  assert(start >= 0, command);
  const lines = page.slice(start).split("\n").slice(1);
  return lines.slice(0, lines.findIndex((line) => /^(\$ |```)/.test(line))).join("\n") + "\n";
}

lab.test("cxl_gpu info shows the device behind the ivshmem function, as its page says", async () => {
  await Deno.writeTextFile(`/sys/bus/pci/devices/${ADDRESS}/enable`, "1");
  const { code, stdout, stderr } = await runTool("cxl_gpu", ["info", ADDRESS]);
  assertEquals({ code, stdout }, { code: 0, stdout: await documented(`cxl_gpu info ${ADDRESS}`) }, stderr);
}, { timeoutMs: 300_000 });

lab.test("cxl_gpu run computes saxpy in the guest", async () => {
  const ptx = `${ROOT}tests/fixtures/ptx/saxpy_sm75.ptx`;
  const folder = await Deno.makeTempDir();
  await Deno.writeFile(`${folder}/x`, new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer));
  const args = ["run", ADDRESS, ptx, "saxpy", "--block", "32", "--arg", "u32:4", "--arg", "f32:2.5"];
  const { code, stdout, stderr } = await runTool("cxl_gpu", [...args, "--in", `f32:${folder}/x`, "--out", "f32:4"]);
  assertEquals({ code, stdout }, { code: 0, stdout: "2.5 5 7.5 10\n" }, stderr);
}, { timeoutMs: 300_000 });

lab.hostTest("and on the host nothing of it is left allocated", () => {
  assert(device !== null);
  assertEquals(device.read(0x148, 8), device.read(0x140, 8));
  assertStringIncludes(device.name, "disks/gpu");
  return Promise.resolve();
});

lab.hostTest(
  "the server killed in the middle of a kernel: the program in the guest ends with a named error, and the next one runs",
  async (guest) => {
    device?.[Symbol.dispose]();
    device = null;
    const path = `${guest.record.folder}/disks/gpu`;
    const folder = await Deno.makeTempDir();
    const include = [`-I${ROOT}csrc`, `-I${ROOT}csrc/api`];
    const sources = [`${ROOT}tests/c/type2_serve.c`, findLibrary(SOFT_TYPE2)];
    const built = await run(Deno.env.get("CC") ?? "cc", ["-std=c11", ...include, "-o", `${folder}/serve`, ...sources]);
    assertEquals(built.code, 0, built.errors);
    const settings = ["adopt=1", "memory=16777216", "limit_ms=60000"];
    const server = new Deno.Command(`${folder}/serve`, {
      args: [findLibrary(SOFT_CUDA), path, String(SIZE_BYTES), ...settings],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = server.stdout.getReader();
    assertEquals(new TextDecoder().decode((await reader.read()).value), "serving\n");
    const program = await startProgram(guest, PROGRAM, "wait");
    server.kill("SIGKILL");
    const killed = performance.now();
    assertEquals(await program.end("wait"), "waits\nCUDA_ERROR_DEVICE_UNAVAILABLE\n");
    // Two seconds on an idle machine, which tests/soft shows; an emulated guest prints later.
    assert(performance.now() - killed < 10_000, `${performance.now() - killed} ms`);
    await reader.cancel();
    await server.stdin.close();
    await server.status;
    await Deno.remove(folder, { recursive: true });
    serve(path);
    const { code, stdout, stderr } = await runProgram(guest, PROGRAM, "copy", "3000000");
    assertEquals({ code, stdout }, { code: 0, stdout: "equal\n" }, stderr);
  },
  { timeoutMs: 300_000 },
);

listTests(lab);
lspciLinesTest(lab);
