/**
 * busbar itself. usage: busbar.ts FILE. What is measured: see peer.c.
 * @module
 */

import { Mapping } from "../../../ffi/memory.ts";
import { MappedMmio } from "../../../ffi/mmio.ts";
import { print } from "../../../tools/cli/output.ts";

const BYTES = 65_536;
const ROUNDS = 10;
const CALLS = 200_000;
const BLOCKS = 1_000;
const BLOCK_BYTES = 4096;

using memory = Mapping.file(Deno.args[0] ?? "", BYTES, { writable: true });
const mmio = new MappedMmio("memory", memory.registers, BYTES);
const buffer = new Uint8Array(BLOCK_BYTES);

const best = { read32: Infinity, write32: Infinity, block4k: Infinity };
let sink = 0;

function measure(name: keyof typeof best, count: number, body: () => void): void {
  const start = performance.now();
  body();
  best[name] = Math.min(best[name], (performance.now() - start) * 1e6 / count);
}

for (let round = 0; round < ROUNDS; round++) {
  measure("read32", CALLS, () => {
    for (let i = 0; i < CALLS; i++) sink += mmio.read32(4);
  });
  measure("write32", CALLS, () => {
    for (let i = 0; i < CALLS; i++) mmio.write32(8, i);
  });
  measure("block4k", BLOCKS, () => {
    for (let i = 0; i < BLOCKS; i++) mmio.readBlockInto(buffer, 0, 4);
  });
}
if (sink < 0) throw new Error("memory cannot be negative");
print(JSON.stringify(best));
