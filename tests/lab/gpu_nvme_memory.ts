/**
 * Kernels of a software GPU whose memory is another function's BAR: data and queues there, reached by the drive as a peer.
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { BusbarError } from "../../src/core/error.ts";
import { openGpu } from "../../src/gpu/cuda.ts";
import { NvmeDirect } from "../../src/gpu/nvme_direct.ts";
import { driven } from "./controllers.ts";
import { gpuNvmeDataTest } from "./gpu_nvme.ts";
import type { Lab } from "./lab.ts";
import { withoutMapping } from "../soft/unmapped_driver.ts";

const NVME = "0000:01:00.0";
const PCI = "/sys/bus/pci/devices";

/** A drive behind an IOMMU, and a function with memory in its BAR. */
const MACHINE = `purpose: an NVMe controller and another function's memory, behind an IOMMU
memory: 2GiB
iommu: true
kernel-arguments: [iomem=relaxed]
devices:
  - { type: nvme, id: nvme0, serial: BUSBAR0001, hotplug: true, namespaces: [{ size: 1GiB }] }
  - { type: ivshmem-plain, id: peer, size: 64MiB }
`;

/** Writes the file of the machine, and returns its path. */
export async function peerMachine(): Promise<string> {
  const path = `${await Deno.makeTempDir({ prefix: "busbar-peer-" })}/nvme-peer.yaml`;
  await Deno.writeTextFile(path, MACHINE);
  return path;
}

/** The GPU: its memory is BAR2 of the ivshmem function, whose memory decoding is turned on. */
async function peerGpu(): Promise<string> {
  for await (const { name } of Deno.readDir(PCI)) {
    const read = async (file: string): Promise<string> => (await Deno.readTextFile(`${PCI}/${name}/${file}`)).trim();
    if (await read("vendor") !== "0x1af4" || await read("device") !== "0x1110") continue;
    if (await read("enable") === "0") await Deno.writeTextFile(`${PCI}/${name}/enable`, "1");
    return `soft:cuda?memory=64MiB&memory-file=${encodeURIComponent(`${PCI}/${name}/resource2`)}`;
  }
  throw new Error("there is no ivshmem function");
}

/** Registers the data path of `sizeBytes` for each way to have data and queues in another function's BAR. */
export function gpuNvmePeerDataTest(lab: Lab, sizeBytes: number): void {
  gpuNvmeDataTest(lab, `tiers 2 and 3: ${sizeBytes >> 20} MiB for each way, in an ivshmem BAR,`, sizeBytes, {
    ways: [
      { tier: 2, mode: "warp" },
      { tier: 3, mode: "warp" },
      { tier: 3, mode: "grid", queues: 4 },
      { tier: 3, mode: "thread", doorbells: "shadow" },
    ],
    gpu: peerGpu,
  });
}

/** Registers what must be reported where device memory was not mapped for the drive. */
export function gpuNvmeFaultTests(lab: Lab): void {
  for (const tier of [2, 3] as const) {
    lab.test(
      `tier ${tier}: with the mapping left out, the IOMMU's fault is reported, and the drive goes on`,
      async () => {
        const gpuLocator = await peerGpu();
        await driven(NVME, async (controller) => {
          const namespace = await controller.namespace(1).geometry();
          const range = { namespace, lba: 0n, blocks: 64n, transferBlocks: 8, operation: "read" } as const;
          using gpu = openGpu(gpuLocator);
          {
            await using direct = await NvmeDirect.open(withoutMapping(controller.driver, 0x7f_0000_0000n), gpu, {
              tier,
            });
            let problem: unknown = null;
            await direct.run({ ...range, timeoutMs: 3_000 }).catch((error) => problem = error);
            assert(problem instanceof BusbarError, `${problem}`);
            assertMatch(problem.message, /the IOMMU stopped it: DMAR: \[DMA \w+.*\[01:00\.0\] fault addr 0x7f0000/);
          }
          await using direct = await NvmeDirect.open(controller.driver, gpu, { tier });
          const { transfers } = await direct.run(range);
          assertEquals(transfers, 8);
        }, { lentQueues: 1 });
        closeAll();
      },
      { timeoutMs: 240_000 },
    );
  }
}
