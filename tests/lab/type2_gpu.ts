/**
 * A machine file with a Type 2 GPU that a test serves by a socket, and the server of it.
 * @module
 */

import { TEST_RUNNER_VARIABLE } from "../../src/lab/test_registry.ts";
import { serveSharedFile, serveVfioUser } from "../../src/type2/open.ts";
import type { SoftType2 } from "../../ffi/soft_type2.ts";

/** What the host has of it; the guest's side of the test file has nothing. */
export interface ServedGpu {
  /** The machine file. */
  readonly machine: string;
  /** The device; null until {@linkcode ServedGpu.start}. */
  device: SoftType2 | null;
  /** Serves it: before the machine boots. */
  readonly start: () => void;
  /** Ends it, and deletes what was made for it. */
  readonly stop: () => Promise<void>;
}

const SIZE_BYTES = 64 << 20;

/** Writes the machine file, on the host. */
export function servedGpu(by: "doorbell" | "vfio-user"): ServedGpu {
  if (Deno.env.has(TEST_RUNNER_VARIABLE)) {
    return { machine: "", device: null, start: () => {}, stop: () => Promise.resolve() };
  }
  const folder = Deno.makeTempDirSync({ dir: "/dev/shm", prefix: "busbar-gpu-" });
  const machine = `${folder}/type2-${by}.yaml`;
  const words = ["purpose: a Type 2 GPU that a test serves", "cpus: 2", "memory: 2GiB"];
  Deno.writeTextFileSync(machine, [...words, `gpu: { by: ${by}, path: ${folder}/socket }`, ""].join("\n"));
  const served: ServedGpu = {
    machine,
    device: null,
    start: () => {
      const options = new Map([["memory", String(256 << 20)]]);
      served.device = by === "vfio-user"
        ? serveVfioUser(options.set("bar4", String(SIZE_BYTES)), `${folder}/socket`)
        : serveSharedFile(options.set("doorbell", `${folder}/socket`), {
          path: `${folder}/gpu`,
          sizeBytes: SIZE_BYTES,
        });
    },
    stop: async () => {
      served.device?.[Symbol.dispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
  return served;
}
