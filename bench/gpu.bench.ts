/**
 * What the CUDA binding costs, against an empty call of the same library; copies and launches on a GPU.
 * With BUSBAR_CUDA=soft, or without a GPU, only the binding is measured: a software device shows nothing of copies.
 */

import { openLibrary } from "../ffi/library.ts";
import { openCudaDriver } from "../src/gpu/driver.ts";
import { Cuda } from "../src/gpu/cuda.ts";
import type { Gpu } from "../src/gpu/gpu.ts";
import { BusbarError } from "../src/core/error.ts";

const EMPTY = `.version 6.4\n.target sm_50\n.address_size 64\n.visible .entry empty()\n{\n  ret;\n}\n`;

function open(): Gpu {
  try {
    return Cuda.open(0);
  } catch (error) {
    if (!(error instanceof BusbarError)) throw error;
    return Cuda.open(0, openCudaDriver("soft"));
  }
}

// The bench ends with the process.
const gpu = open();
const isGpu = !gpu.driver.isSoftware;
const { functions } = gpu.driver;
const { bb_abi_version } = openLibrary({ bb_abi_version: { parameters: [], result: "u32" } });
const out = new Int32Array(1);
const context = gpu.context;

Deno.bench("an empty call of the library", { group: "trivial driver call", baseline: true }, () => {
  bb_abi_version();
});
Deno.bench("cuDriverGetVersion, no context", { group: "trivial driver call" }, () => {
  functions.cuDriverGetVersion(null, out);
});
Deno.bench("cuCtxGetDevice, context set", { group: "trivial driver call" }, () => {
  functions.cuCtxGetDevice(context, out);
});
Deno.bench("gpu.attribute", { group: "trivial driver call" }, () => {
  gpu.attribute(10);
});

const kernel = gpu.module(EMPTY).function("empty");
const shape = { grid: 1, block: 1 };
const where = isGpu ? `on ${gpu.name}` : "software device: the binding's cost and a thread's, not a GPU's";
Deno.bench(`launch and wait for an empty kernel (${where})`, { group: "launch" }, async () => {
  kernel.launch(shape, []);
  await gpu.synchronize();
});

/** Bytes of a copy. */
const SIZES = [4096, 1 << 20, 64 << 20];
for (const sizeBytes of SIZES) {
  const size = sizeBytes >= 1 << 20 ? `${sizeBytes >> 20} MiB` : `${sizeBytes >> 10} KiB`;
  const group = `copy ${size}`;
  const name = (what: string): string => isGpu ? what : `${what} (not run: needs a GPU)`;
  const buffer = isGpu ? gpu.allocate(sizeBytes) : null;
  const pinned = isGpu ? gpu.allocatePinned(sizeBytes) : null;
  const pageable = new Uint8Array(isGpu ? sizeBytes : 0);
  const how = { group, ignore: !isGpu };
  Deno.bench(name("pageable to the GPU"), how, async () => await buffer?.write(pageable));
  Deno.bench(name("pageable from the GPU"), how, async () => {
    await buffer?.readInto(pageable);
  });
  Deno.bench(name("pinned to the GPU"), how, async () => {
    if (pinned !== null) buffer?.queueWrite(pinned);
    await gpu.synchronize();
  });
  Deno.bench(name("pinned from the GPU"), how, async () => {
    if (pinned !== null) buffer?.queueRead(pinned);
    await gpu.synchronize();
  });
}
