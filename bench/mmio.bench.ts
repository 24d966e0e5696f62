/**
 * What a register access costs through the binding, against an empty FFI call and against a loop in C.
 *
 * Each benchmark repeats its access in a loop of its own, because `deno bench` adds a few nanoseconds per iteration.
 * The lines of a group are to be read as ratios to its baseline. The memory is ordinary: what is measured is the way to
 * the access. A read of a real device adds on the order of a microsecond.
 */

import { BUSBAR, findLibrary } from "../ffi/build.ts";
import { Mapping } from "../ffi/memory.ts";
import { MappedMmio } from "../ffi/mmio.ts";
import { toolArgs } from "../tests/soft/tool.ts";

const CALLS = 10_000;
const BLOCK_BYTES = 4096;

const memory = Mapping.anonymous(64 * 1024, { populate: true });
const mmio = new MappedMmio("memory", memory.registers, 64 * 1024);
const pointer = memory.registers;
const block = new Uint8Array(BLOCK_BYTES);

const raw = Deno.dlopen(findLibrary(BUSBAR), {
  bb_abi_version: { parameters: [], result: "u32" },
  bb_read32: { parameters: ["pointer", "u32"], result: "u32" },
  bb_read_block: { parameters: ["pointer", "u32", "buffer", "u32", "u32"], result: "i32" },
}).symbols;

let sink = 0;

Deno.bench({ name: `${CALLS} empty calls`, group: "one access", baseline: true }, () => {
  for (let i = 0; i < CALLS; i++) sink += raw.bb_abi_version();
});

Deno.bench({ name: `${CALLS} read32`, group: "one access" }, () => {
  for (let i = 0; i < CALLS; i++) sink += mmio.read32(4);
});

Deno.bench({ name: `${CALLS} write32`, group: "one access" }, () => {
  for (let i = 0; i < CALLS; i++) mmio.write32(8, i);
});

Deno.bench({ name: `${CALLS} read64`, group: "one access" }, () => {
  for (let i = 0; i < CALLS; i++) sink += mmio.read64(16) === 1n ? 1 : 0;
});

// The limit: the same loop of single 32-bit accesses, called without any check or allocation around it.
Deno.bench({ name: "4 KiB block in C, 32-bit accesses", group: "4 KiB block", baseline: true }, (b) => {
  b.start();
  for (let i = 0; i < 100; i++) raw.bb_read_block(pointer, 0, block, BLOCK_BYTES, 4);
  b.end();
});

Deno.bench({ name: "4 KiB block by readBlockInto", group: "4 KiB block" }, (b) => {
  b.start();
  for (let i = 0; i < 100; i++) mmio.readBlockInto(block, 0, 4);
  b.end();
});

Deno.bench({ name: "4 KiB block by readBlock, a new array each", group: "4 KiB block" }, (b) => {
  b.start();
  for (let i = 0; i < 100; i++) mmio.readBlock(0, BLOCK_BYTES, 4);
  b.end();
});

Deno.bench({ name: "4 KiB by 1024 read32", group: "4 KiB block" }, (b) => {
  b.start();
  for (let i = 0; i < 100; i++) for (let at = 0; at < BLOCK_BYTES; at += 4) sink += mmio.read32(at);
  b.end();
});

/** A whole process, in milliseconds of wall time. */
async function run(args: readonly string[]): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), { args: [...args], stdout: "null", stderr: "null" })
    .output();
  if (!success) throw new Error(args.join(" "));
}

const folder = await Deno.makeTempDir();
addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
const phase = async (name: string, source: string): Promise<string[]> => {
  await Deno.writeTextFile(`${folder}/${name}.ts`, source);
  return [
    "run",
    "-A",
    "--no-check",
    "--config",
    new URL("../deno.json", import.meta.url).pathname,
    `${folder}/${name}.ts`,
  ];
};
const ROOT = new URL("..", import.meta.url).pathname;
const empty = await phase("empty", "export {};");
const imports = await phase("imports", `import "${ROOT}tools/dump_bar0.ts";`);
const open = await phase(
  "open",
  `import "${ROOT}tools/dump_bar0.ts"; import { openPciDevice } from "${ROOT}mod.ts"; using device = openPciDevice("soft:nvme");`,
);

Deno.bench({ name: "runtime alone", group: "dump_bar0 soft:nvme, by phase", baseline: true }, () => run(empty));
Deno.bench({ name: "+ imports", group: "dump_bar0 soft:nvme, by phase" }, () => run(imports));
Deno.bench({ name: "+ dlopen and start of the device", group: "dump_bar0 soft:nvme, by phase" }, () => run(open));
Deno.bench(
  { name: "whole tool", group: "dump_bar0 soft:nvme, by phase" },
  () => run(toolArgs("dump_bar0", ["soft:nvme"])),
);
