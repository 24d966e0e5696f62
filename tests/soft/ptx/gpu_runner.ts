/**
 * Kernels on a GPU: all inputs and outputs of a module lie in one buffer, and all launches are queued at once.
 * @module
 */

import type { Gpu } from "../../../src/gpu/gpu.ts";
import type { FormModule } from "./cases.ts";
import type { KernelLaunch, KernelRunner } from "./runner.ts";

/** Places in one buffer, as far apart as the device's own allocations. */
const ALIGNMENT = 256;

/** Runs launches on a GPU. */
export class GpuRunner implements KernelRunner {
  readonly #gpu: Gpu;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  async run(ptx: string, launches: readonly KernelLaunch[]): Promise<Uint8Array<ArrayBuffer>[]> {
    const inputs = new Map<Uint8Array, number>();
    let end = 0;
    const place = (bytes: Uint8Array): number => {
      const offset = end;
      end = Math.ceil((end + bytes.length) / ALIGNMENT) * ALIGNMENT;
      return offset;
    };
    for (const { input } of launches) if (!inputs.has(input)) inputs.set(input, place(input));
    const outputs = launches.map(({ output }) => place(output));
    const image = new Uint8Array(end);
    for (const [input, offset] of inputs) image.set(input, offset);
    for (const [index, { output }] of launches.entries()) image.set(output, outputs[index]);

    using memory = this.#gpu.allocate(end);
    using module = this.#gpu.module(ptx);
    await memory.write(image);
    for (const [index, { kernel, grid, block, input, rows }] of launches.entries()) {
      const from = memory.address + BigInt(inputs.get(input) ?? 0);
      module.function(kernel).launch({ grid, block }, [from, memory.address + BigInt(outputs[index] ?? 0), rows]);
    }
    await this.#gpu.synchronize({ timeoutMs: 60_000 });
    const result = await memory.read();
    return launches.map(({ output }, index) =>
      result.slice(outputs[index] ?? 0, (outputs[index] ?? 0) + output.length)
    );
  }
}

/** The least device that has everything of a module. */
export function profileFor(module: FormModule): number {
  return [75, 86, 90, 100].find((sm) => sm >= module.sm) ?? 100;
}
