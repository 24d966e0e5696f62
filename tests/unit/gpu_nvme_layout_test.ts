/** The blocks that kernels and the host share, and the kernels as they are committed. */

import { assert, assertEquals } from "@std/assert";

import { compileKernels, KERNEL_SOURCES } from "../../src/gpu/kernels/make.ts";
import { fileLayoutHeader } from "../../src/gpu/nvme/file_layout.ts";
import { residentLayoutHeader } from "../../src/gpu/nvme/resident_layout.ts";
import { BlockView, layoutHeader, NVME_BLOCKS, QUEUE_BLOCK } from "../../src/gpu/nvme/layout.ts";
import { launchShape } from "../../src/gpu/nvme/launch_shape.ts";
import { toolMissing } from "../soft/ptx/toolkit.ts";

const KERNELS = new URL("../../src/gpu/kernels/", import.meta.url);

Deno.test("the header that kernels include is what the table of blocks says", async () => {
  assertEquals(await Deno.readTextFile(new URL("busbar_nvme_layout.cuh", KERNELS)), layoutHeader());
  assertEquals(await Deno.readTextFile(new URL("busbar_files_layout.cuh", KERNELS)), fileLayoutHeader());
  assertEquals(await Deno.readTextFile(new URL("busbar_resident_layout.cuh", KERNELS)), residentLayoutHeader());
});

Deno.test("fields are aligned, do not overlap, and hold what is set", () => {
  for (const layout of NVME_BLOCKS) {
    const bytes = new Uint8Array(layout.sizeBytes);
    const view = new BlockView(layout, bytes);
    for (const [i, field] of layout.fields.entries()) view.set({ [field.name]: i + 1 });
    for (const [i, field] of layout.fields.entries()) {
      assertEquals([view.get(field.name), field.offset % field.sizeBytes], [BigInt(i + 1), 0], field.name);
    }
  }
  const view = new BlockView(QUEUE_BLOCK, new Uint8Array(QUEUE_BLOCK.sizeBytes));
  view.set({ submission: 0xffff_ffff_ffff_ffffn });
  assertEquals(view.get("submission"), 0xffff_ffff_ffff_ffffn);
});

const missing = toolMissing("nvcc");
Deno.test({
  name: `the committed PTX is what nvcc makes of the kernels${missing === null ? "" : ` (not run: ${missing})`}`,
  ignore: missing !== null,
  fn: async () => {
    for (const source of KERNEL_SOURCES) {
      assertEquals(await Deno.readTextFile(source.replace(/cu$/, "ptx")), await compileKernels(source), source);
    }
  },
});

Deno.test("doorbells are stored by .mmio of 4 bytes, and nothing else is", async () => {
  const ptx = await Deno.readTextFile(new URL("nvme.ptx", KERNELS));
  const stores = ptx.match(/^.*\.mmio\..*$/gm) ?? [];
  assert(stores.length > 0);
  for (const store of stores) assert(/^\s*st\.mmio\.relaxed\.sys\.global\.u32 /.test(store), store);
});

Deno.test("rings hold twice what may be in flight, whatever the depth", () => {
  for (const maxEntries of [2, 64, 1000, 1024, 65_536]) {
    for (const mode of ["thread", "warp", "grid"] as const) {
      for (let depth = 1; depth <= Math.min(32, maxEntries / 4); depth++) {
        const shape = launchShape({ name: "x", maxEntries }, mode, depth, 1);
        assert(shape.entries <= maxEntries && shape.slots * 2 === shape.entries, `${mode} ${depth} ${maxEntries}`);
        assert(Number.isInteger(Math.log2(shape.entries)) && shape.slots >= depth && shape.pieces >= depth);
      }
    }
  }
});
