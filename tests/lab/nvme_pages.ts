/**
 * Pages that our driver fetches over VFIO, against what nvme-cli fetched while the kernel had the controller.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { controllerIdentity } from "../../src/nvme/identity.ts";
import { nvmeStatusOf } from "../../src/nvme/status.ts";
import { driven, type KernelController, kernelControllers, must } from "./controllers.ts";
import type { Lab } from "./lab.ts";

/** A page that both fetch: nvme-cli's words for it, and bytes that may differ between two looks. */
interface PageCase {
  readonly what: string;
  readonly theirs: (device: string) => string[];
  readonly ours: { readonly cns: number; readonly nsid?: number } | {
    readonly log: number;
    readonly sizeBytes: number;
  };
  readonly volatile: readonly (readonly [from: number, to: number, why: string])[];
}

const CONTROLLER_PAGES: readonly PageCase[] = [
  { what: "id-ctrl", theirs: (device) => ["id-ctrl", device], ours: { cns: 1 }, volatile: [] },
  {
    what: "smart-log",
    theirs: (device) => ["smart-log", device],
    ours: { log: 2, sizeBytes: 512 },
    volatile: [[32, 192, "data units, commands, hours: they count on"]],
  },
  { what: "fw-log", theirs: (device) => ["fw-log", device], ours: { log: 3, sizeBytes: 512 }, volatile: [] },
  {
    what: "error-log",
    theirs: (device) => ["error-log", device, "-e", "1"],
    ours: { log: 1, sizeBytes: 64 },
    volatile: [],
  },
  {
    what: "effects-log",
    theirs: (device) => ["get-log", device, "-i", "5", "-l", "4096"],
    ours: { log: 5, sizeBytes: 4096 },
    volatile: [],
  },
];

function namespacePages(nsid: number): PageCase[] {
  const n = String(nsid);
  return [
    { what: `id-ns ${n}`, theirs: (device) => ["id-ns", device, "-n", n], ours: { cns: 0, nsid }, volatile: [] },
    { what: `ns-descs ${n}`, theirs: (device) => ["ns-descs", device, "-n", n], ours: { cns: 3, nsid }, volatile: [] },
  ];
}

/** Features that may be asked for without data; each that nvme-cli gets an answer for is compared. */
const FEATURES: readonly number[] = Array.from({ length: 0x20 }, (_, i) => i).filter((id) =>
  ![0x00, 0x03, 0x0c, 0x0d, 0x0e].includes(id)
);

interface Fetched {
  readonly pages: Map<string, Uint8Array<ArrayBuffer>>;
  readonly features: Map<number, number>;
  readonly namespaces: readonly number[];
}

async function fetchByNvmeCli(controller: KernelController): Promise<Fetched> {
  const device = `/dev/${controller.name}`;
  const list = JSON.parse(new TextDecoder().decode(await must("nvme", "list-ns", device, "-o", "json"))) as {
    nsid_list: { nsid: number }[];
  };
  const namespaces = list.nsid_list.map((one) => one.nsid);
  const pages = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const page of [...CONTROLLER_PAGES, ...namespaces.flatMap(namespacePages)]) {
    const [command = "", ...args] = page.theirs(device);
    const { success, stdout } = await new Deno.Command("nvme", {
      args: [command, ...args, ...(command === "get-log" ? ["-b"] : ["-o", "binary"])],
    }).output();
    if (success) pages.set(page.what, stdout);
  }
  const features = new Map<number, number>();
  for (const id of FEATURES) {
    const { success, stdout } = await new Deno.Command("nvme", {
      args: ["get-feature", device, "-f", String(id)],
    }).output();
    const value = /Current value:\s*(?:0x)?([0-9a-f]+)/.exec(new TextDecoder().decode(stdout))?.[1];
    if (success && value !== undefined) features.set(id, parseInt(value, 16));
  }
  return { pages, features, namespaces };
}

/** Registers the comparison of pages and features on the machine `nvme-zoo`. */
export function nvmePagesTests(lab: Lab): void {
  lab.test(
    "every controller: pages over VFIO are byte for byte what nvme-cli fetched, and so is every feature",
    async () => {
      const controllers = await kernelControllers();
      assert(controllers.size >= 12, [...controllers.keys()].join(", "));
      for (const [serial, kernel] of controllers) {
        const theirs = await fetchByNvmeCli(kernel);
        assert(theirs.pages.has("id-ctrl") && theirs.pages.has("smart-log") && theirs.features.size >= 5, serial);
        await driven(kernel.address, async (controller) => {
          assertEquals((await controller.identify()).serial, kernel.serial);
          assertEquals(await controller.namespaceIds(), theirs.namespaces, `${serial}: active namespaces`);
          for (const page of [...CONTROLLER_PAGES, ...theirs.namespaces.flatMap(namespacePages)]) {
            const expected = theirs.pages.get(page.what);
            if (expected === undefined) continue;
            const ours = "cns" in page.ours
              ? await controller.identifyPage(page.ours)
              : await controller.getLog({ id: page.ours.log, sizeBytes: page.ours.sizeBytes });
            for (const [from, to] of page.volatile) for (const bytes of [ours, expected]) bytes.fill(0, from, to);
            assertEquals(ours.subarray(0, expected.length).toHex(), expected.toHex(), `${serial}: ${page.what}`);
          }
          for (const [id, value] of theirs.features) {
            const ours = await controller.getFeature(id).then(
              (feature) => feature.value,
              (error) => nvmeStatusOf(error)?.name,
            );
            // The number of queues is what was asked for, which the kernel does by its number of processors.
            if (id !== 0x07) {
              assertEquals(ours, value, `${serial}: feature 0x${id.toString(16)}`);
            }
          }
          assertEquals(controllerIdentity(theirs.pages.get("id-ctrl") ?? new Uint8Array(4096)).serial, kernel.serial);
        });
      }
      closeAll();
    },
    { timeoutMs: 240_000 },
  );
}
