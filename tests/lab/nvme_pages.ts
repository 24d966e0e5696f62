/**
 * Pages and features that our driver fetches over VFIO, and through the kernel's driver, against what nvme-cli fetched while
 * the kernel had the controller.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { decodeTable } from "../../src/core/decoded.ts";
import { thisMachine } from "../../src/core/host.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { FEATURES } from "../../src/nvme/tables/features.ts";
import { type FetchedPage, fetchReport } from "../../src/nvme/jobs/fetch.ts";
import { IDENTIFY_CONTROLLER } from "../../src/nvme/tables/identify_controller.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import { runTool } from "../soft/tool.ts";
import { driven, type KernelController, kernelControllers } from "./controllers.ts";
import type { Lab } from "./lab.ts";
import { type CommandResult, runNvmeCli } from "./nvme_cli.ts";

/** nvme-cli's own command for a page; the others are asked for with its general ones. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  "id-ctrl": ["id-ctrl", "-o", "binary"],
  "id-ns": ["id-ns", "-o", "binary"],
  "ns-descs": ["ns-descs", "-o", "binary"],
  "nvm-id-ctrl": ["nvm-id-ctrl", "-o", "binary"],
  "zns-id-ctrl": ["zns", "id-ctrl", "-o", "binary"],
  "zns-id-ns": ["zns", "id-ns", "-o", "binary"],
  "smart": ["smart-log", "-o", "binary"],
  "error": ["error-log", "-o", "binary", "-e", "256"],
  "fw": ["fw-log", "-o", "binary"],
};

/** Bytes that may differ between two looks. */
const VOLATILE: Readonly<Record<string, readonly (readonly [from: number, to: number, why: string])[]>> = {
  smart: [[32, 192, "data units, commands, hours: they count on"]],
  endurance: [[32, 160, "data units and commands: they count on"]],
};

/** Features whose value may differ between two looks, or between the kernel's driver and ours. */
const VOLATILE_FEATURES: Readonly<Record<number, string>> = {
  0x07: "the kernel asks for as many queues as it has processors",
  0x0e: "a clock",
};

/** nvme-cli's words for a page. */
function commandFor({ page, of, bytes }: FetchedPage, device: string): string[] {
  const isNamespace = page.scope === "namespace" || page.scope === "zoned namespace";
  const own = COMMANDS[page.name];
  if (own !== undefined) {
    const [first = "", second = "", ...rest] = own;
    // `zns id-ns` has two words, and the controller's page takes no namespace.
    const words = first === "zns" ? [first, second, device, ...rest] : [first, device, second, ...rest];
    return isNamespace && page.name !== "zns-id-ctrl" ? [...words, "-n", String(of)] : words;
  }
  if (page.source.kind === "log") {
    const group = isNamespace ? ["-n", String(of)] : of === null ? [] : ["--lsi", String(of)];
    return ["get-log", device, "-i", String(page.source.lid), "-l", String(bytes?.length ?? 0), "-b", ...group];
  }
  const { cns, csi = 0 } = page.source;
  const words = ["-o", "6", `--cdw10=${cns}`, `--cdw11=${csi * 2 ** 24}`, "-l", "4096", "-r", "-b"];
  return ["admin-passthru", device, ...words, ...(isNamespace ? ["-n", String(of)] : [])];
}

function pageName({ page, of }: FetchedPage): string {
  return of === null ? page.name : `${page.name} ${of}`;
}

function withoutVolatile(name: string, bytes: Uint8Array): string {
  const copy = bytes.slice();
  for (const [from, to] of VOLATILE[name] ?? []) copy.fill(0, from, to);
  return copy.toHex();
}

/** What nvme-cli printed of a feature; null where it printed no value. */
interface TheirFeature {
  readonly value: number;
  readonly data: Uint8Array | null;
}

function parseFeature({ success, stdout }: CommandResult): TheirFeature | null {
  const text = new TextDecoder().decode(stdout);
  const value = /Current value:\s*(?:0x)?([0-9a-f]+)/.exec(text)?.[1];
  if (!success || value === undefined) return null;
  const bytes = [...text.matchAll(/^[0-9a-f]{4}: ((?:[0-9a-f]{2} )+)/gm)].map((line) =>
    line[1]?.replaceAll(" ", "") ?? ""
  );
  return { value: parseInt(value, 16), data: bytes.length === 0 ? null : Uint8Array.fromHex(bytes.join("")) };
}

/** The controller that is asked for every feature that there can be; the others for what it answers, and what they offer. */
const ASKED_FOR_ALL = "ZOO-PLAIN";

const ALL_FEATURES: readonly number[] = Array.from({ length: 255 }, (_, i) => i + 1);

function offeredFeatures(identity: Uint8Array): number[] {
  const table = decodeTable(IDENTIFY_CONTROLLER, identity);
  return FEATURES.filter((feature) => feature.offered(table)).map(({ id }) => id);
}

/** What nvme-cli answers for features, by identifier; those that are refused are left out. */
async function askFeatures(requests: readonly FeatureRequest[]): Promise<Map<number, TheirFeature>[]> {
  const results = await runNvmeCli(
    requests.flatMap(({ device, nsid, ids }) =>
      ids.map((id) => ["get-feature", device, "-f", String(id), "-n", String(nsid)])
    ),
  );
  return requests.map(({ ids }) => {
    const answers = results.splice(0, ids.length).map(parseFeature);
    return new Map(ids.flatMap((id, i): [number, TheirFeature][] => {
      const answer = answers[i] ?? null;
      return answer === null ? [] : [[id, answer]];
    }));
  });
}

interface FeatureRequest {
  readonly device: string;
  readonly nsid: number;
  readonly ids: readonly number[];
}

/** What was found out while the kernel had the controller. */
interface BoundState {
  readonly kernel: KernelController;
  readonly pages: readonly FetchedPage[];
  readonly nsid: number;
  readonly theirPages: CommandResult[];
  readonly theirFeatures: Map<number, TheirFeature>;
}

/** Asks for everything through the kernel: by our transport, then by nvme-cli, all controllers with one start of it. */
async function askBound(controllers: ReadonlyMap<string, KernelController>): Promise<Map<string, BoundState>> {
  const asked: Omit<BoundState, "theirPages" | "theirFeatures">[] = [];
  const offered: number[][] = [];
  for (const kernel of controllers.values()) {
    await using controller = await NvmeController.open(`/dev/${kernel.name}`);
    const { pages } = await fetchReport(controller, { logs: true });
    const [nsid = 1] = await controller.namespaceIds();
    asked.push({ kernel, pages, nsid });
    offered.push(offeredFeatures((await controller.identify()).page));
  }
  const request = (i: number, ids: readonly number[]): FeatureRequest => {
    const { kernel, nsid } = asked[i] ?? { kernel: { name: "" }, nsid: 0 };
    return { device: `/dev/${kernel.name}`, nsid, ids };
  };
  const whole = [...controllers.keys()].indexOf(ASKED_FOR_ALL);
  const [known = new Map<number, TheirFeature>()] = await askFeatures([request(whole, ALL_FEATURES)]);
  const features = await askFeatures(offered.map((ids, i) => request(i, [...new Set([...known.keys(), ...ids])])));
  const pages = await runNvmeCli(
    asked.flatMap((one) => one.pages.map((page) => commandFor(page, `/dev/${one.kernel.name}`))),
  );
  const serials = [...controllers.keys()];
  return new Map(asked.map((one, i) => {
    const theirFeatures = i === whole ? known : features[i] ?? new Map<number, TheirFeature>();
    return [serials[i] ?? "", { ...one, theirPages: pages.splice(0, one.pages.length), theirFeatures }];
  }));
}

/** Registers the comparison of pages and features on the machine `nvme-zoo`. */
export function nvmePagesTests(lab: Lab): void {
  lab.test("nvme_identify asks a controller that the kernel has through the kernel, and leaves it there", async () => {
    const kernel = (await kernelControllers()).get("ZOO-GAPS");
    assert(kernel !== undefined);
    const { code, stdout, stderr } = await runTool("nvme_identify", [kernel.address, "--json"]);
    assertEquals(code, 0, stderr);
    const document = JSON.parse(stdout);
    assertEquals(document.way, "through the kernel's driver");
    assertEquals(document.controller["id-ctrl"].SN.value, "ZOO-GAPS");
    const sizes = document.namespaces.map((
      one: { nsid: number; summary: { sizeBytes: string } },
    ) => [one.nsid, Number(one.summary.sizeBytes) / 2 ** 20]);
    assertEquals(sizes, [[1, 16], [3, 24], [7, 32]]);
    assertEquals(readPciFunction(thisMachine, kernel.address).driver, "nvme");
  });

  lab.test(
    "every controller: every page over VFIO, and through the kernel, is byte for byte nvme-cli's, and so is every feature",
    async () => {
      const states = await askBound(await kernelControllers());
      assert(states.size >= 12, [...states.keys()].join(", "));
      let features = 0;
      for (const [serial, { kernel, pages, nsid, theirPages, theirFeatures }] of states) {
        assert(
          pages.length >= 8 && theirFeatures.size >= 8,
          `${serial}: ${pages.length} pages, ${theirFeatures.size} features`,
        );
        for (const [i, page] of pages.entries()) {
          const { success, stdout } = theirPages[i] ?? { success: false, stdout: new Uint8Array(0) };
          const what = `${serial}: ${pageName(page)}`;
          assertEquals(page.bytes !== null, success, `${what}: ${page.reason ?? "nvme-cli was refused"}`);
          assertEquals(hexOf(page), withoutVolatile(page.page.name, stdout), `${what} through the kernel`);
        }
        await driven(kernel.address, async (controller) => {
          const { pages: ours } = await fetchReport(controller, { logs: true });
          assertEquals(ours.map(pageName), pages.map(pageName), `${serial}: the pages that there are`);
          for (const [i, page] of ours.entries()) {
            const theirs = withoutVolatile(page.page.name, theirPages[i]?.stdout ?? new Uint8Array(0));
            assertEquals(hexOf(page), theirs, `${serial}: ${pageName(page)} over VFIO`);
          }
          for (const [id, { value, data }] of theirFeatures) {
            const what = `${serial}: feature 0x${id.toString(16)}`;
            const dataBytes = data === null ? {} : { dataBytes: data.length };
            const own = await controller.getFeature(id, { nsid, ...dataBytes });
            features++;
            if (id in VOLATILE_FEATURES) continue;
            assertEquals([own.value, own.data?.toHex() ?? null], [value, data?.toHex() ?? null], what);
          }
        });
      }
      assert(features >= 150, `${features} features`);
      closeAll();
    },
    { timeoutMs: 400_000, isLong: true },
  );
}

function hexOf({ page, bytes }: FetchedPage): string {
  return withoutVolatile(page.name, bytes ?? new Uint8Array(0));
}
