/**
 * Everything that a controller says of itself: which pages and features it offers, and what they hold.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { DecodedTable, decodeTable } from "../../core/decoded.ts";
import type { ExecuteOptions } from "../queue/command.ts";
import type { FeatureValue, LogRequest, NvmeController } from "../driver/controller.ts";
import {
  type DecodedFeature,
  decodeDword,
  decodeFeature,
  FEATURE_CAPABILITIES,
  type FeatureInstance,
  FEATURES,
  type NvmeFeature,
} from "../tables/features.ts";
import { IDENTIFY_CONTROLLER } from "../tables/identify_controller.ts";
import { PERSISTENT_EVENT_HEADER_BYTES } from "../tables/log_events.ts";
import { decodePage, type MissingBytes, NVME_PAGES, type NvmePage, pageNamed } from "../tables/pages.ts";
import { nvmeStatusOf } from "../tables/status.ts";

/** A page that was asked for. */
export interface FetchedPage {
  /** Which page. */
  readonly page: NvmePage;
  /** Of which namespace, NVM set or endurance group; null for a page of the controller. */
  readonly of: number | null;
  /** What came back; null where the controller refused it. */
  readonly bytes: Uint8Array | null;
  /** Runs in `bytes` that are not known, and zero there; missing where all of it is. A text may lack lines. */
  readonly missing?: readonly MissingBytes[];
  /** Why there is nothing: the status. Null where there is something. */
  readonly reason: string | null;
}

/** The table of a page that was fetched; null where there is nothing. */
export function decodeFetched({ page, bytes, missing }: FetchedPage): DecodedTable | null {
  return bytes === null ? null : decodePage(page, bytes, missing);
}

/** True when a page has all the bytes that its table describes: what is said of the whole is then known. */
export function isWholePage({ page, bytes, missing }: FetchedPage): boolean {
  return bytes !== null && bytes.length >= page.sizeBytes && (missing ?? []).length === 0;
}

/** A feature that was asked for. */
export interface FetchedFeature {
  /** Which feature. */
  readonly feature: NvmeFeature;
  /** Which of several values under one identifier: the over and under threshold of a temperature. */
  readonly instance: FeatureInstance;
  /** Of which namespace, NVM set or endurance group; null for a feature of the controller. */
  readonly of: number | null;
  /** The current value; null where the controller refused it. */
  readonly current: DecodedFeature | null;
  /** The value after a reset without a saved one; null where the controller does not tell. */
  readonly byDefault: DecodedFeature | null;
  /** Whether it can be saved and changed; null where the controller does not tell. */
  readonly capabilities: DecodedTable | null;
  /** Why there is nothing: the status. Null where there is something. */
  readonly reason: string | null;
}

/** What is to be read of a controller. */
export interface FetchOptions extends ExecuteOptions {
  /** Only this namespace; all active ones by default. */
  readonly nsid?: number;
  /** The logs too. */
  readonly logs?: boolean;
  /** The features too. */
  readonly features?: boolean;
}

/** What a controller said of itself. */
export interface NvmeReport {
  /** The pages: those of the controller first, then those of each namespace, then the logs. */
  readonly pages: readonly FetchedPage[];
  /** The features; empty where they were not asked for. */
  readonly features: readonly FetchedFeature[];
  /** What of a file could not be used, each in one sentence; missing where no file was read. */
  readonly problems?: readonly string[];
}

/**
 * Reads every page that the controller says it has; with options also the logs and the features. A page that it refuses
 * all the same is listed with the status as the reason.
 *
 * @throws {BusbarError} as {@linkcode NvmeController.identifyPage} for anything but a refused page; `absent` for a namespace
 * that is not active, `out-of-range` for one beyond NN
 *
 * @example
 * ```ts
 * import { NvmeController } from "../driver/controller.ts";
 * import { fetchReport } from "./fetch.ts";
 * await using controller = await NvmeController.open("soft:nvme");
 * const { pages } = await fetchReport(controller, { logs: true });
 * console.assert(pages.some(({ page }) => page.name === "smart"));
 * ```
 */
export async function fetchReport(controller: NvmeController, options: FetchOptions = {}): Promise<NvmeReport> {
  const { page: identity } = await controller.identify();
  const table = decodeTable(IDENTIFY_CONTROLLER, identity);
  const offered = NVME_PAGES.filter((page) => page.offered(table) && (options.logs === true || !isLog(page)));
  const nsids = await namespacesOf(controller, options.nsid);
  const pages: FetchedPage[] = [];
  const get = async (page: NvmePage, of: number | null): Promise<void> => {
    pages.push(await fetchPage(controller, page, of, options));
  };
  for (const page of offered) {
    if (isLog(page) || page.scope !== "controller") continue;
    if (page.name === "id-ctrl") pages.push({ page, of: null, bytes: identity, reason: null });
    else await get(page, null);
  }
  const zoned: number[] = [];
  for (const nsid of nsids) {
    for (const page of offered) if (!isLog(page) && page.scope === "namespace") await get(page, nsid);
    if (commandSetOf(pages, nsid) !== CSI_ZONED) continue;
    zoned.push(nsid);
    for (const page of offered) if (!isLog(page) && page.scope === "zoned namespace") await get(page, nsid);
  }
  const scopes: Scopes = { namespace: nsids, "zoned namespace": zoned, ...groupsOf(pages) };
  for (const page of offered) {
    if (!isLog(page)) continue;
    for (const of of page.scope === "controller" ? [null] : scopes[page.scope]) await get(page, of);
  }
  const features = options.features === true ? await fetchFeatures(controller, table, scopes, options) : [];
  return { pages, features };
}

/** What pages and features are read once for each of. */
type Scopes = Readonly<Record<Exclude<NvmePage["scope"], "controller">, readonly number[]>>;

const CSI_ZONED = 2n;

function isLog(page: NvmePage): boolean {
  return page.source.kind === "log";
}

async function namespacesOf(controller: NvmeController, wanted: number | undefined): Promise<number[]> {
  if (wanted !== undefined) await controller.checkNamespaceId(wanted);
  const active = await controller.namespaceIds();
  if (wanted === undefined) return active;
  if (active.includes(wanted)) return [wanted];
  throw new BusbarError("absent", `${controller.name}: namespace ${wanted} is not active`, {
    operation: "identify namespace",
    path: controller.name,
    hint: active.length === 0 ? "none is" : `active: ${active.join(", ")}`,
  });
}

/** The command set by the list of the namespace's identifiers; NVM where it does not say. */
function commandSetOf(pages: readonly FetchedPage[], nsid: number): bigint {
  const found = pages.find(({ page, of }) => page.name === "ns-descs" && of === nsid);
  if (found === undefined || found.bytes === null) return 0n;
  const csi = decodePage(found.page, found.bytes).elements("NID").find((descriptor) => descriptor.kind === "CSI");
  return csi?.uint("NID") ?? 0n;
}

/** NVM sets and endurance groups, by the lists that were read. */
function groupsOf(pages: readonly FetchedPage[]): Pick<Scopes, "NVM set" | "endurance group"> {
  const ids = (name: string, list: string, id: string): number[] => {
    const found = pages.find(({ page }) => page.name === name);
    if (found === undefined || found.bytes === null) return [];
    return decodePage(found.page, found.bytes).elements(list).map((element) => Number(element.uint(id) ?? 0n));
  };
  return {
    "NVM set": ids("id-nvmset", "SET", "NVMSETID"),
    "endurance group": ids("list-endgrp", "ENDGID", "ENDGID"),
  };
}

/**
 * Reads one page.
 *
 * @param of the namespace, NVM set or endurance group; null for a page of the controller
 * @throws {BusbarError} as sending the command fails; a status other than success is a result
 */
export async function fetchPage(
  controller: NvmeController,
  page: NvmePage,
  of: number | null,
  options: ExecuteOptions = {},
): Promise<FetchedPage> {
  try {
    return { page, of, bytes: await readPage(controller, page, of, options), reason: null };
  } catch (error) {
    const status = nvmeStatusOf(error);
    if (status === null) throw error;
    return { page, of, bytes: null, reason: status.toString() };
  }
}

async function readPage(
  controller: NvmeController,
  page: NvmePage,
  of: number | null,
  options: ExecuteOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const isNamespace = page.scope === "namespace" || page.scope === "zoned namespace";
  if (page.source.kind === "identify") {
    const { cns, csi } = page.source;
    // The page of a controller for a command set takes no namespace, though a namespace is why it is read.
    const nsid = isNamespace && cns !== CNS_CONTROLLER_OF_SET ? of ?? 0 : 0;
    return await controller.identifyPage({ cns, nsid, ...(csi === undefined ? {} : { commandSet: csi }) }, options);
  }
  const { page: identity } = await controller.identify();
  const sizeBytes = page.readBytes(decodeTable(IDENTIFY_CONTROLLER, identity));
  const request: LogRequest = {
    id: page.source.lid,
    sizeBytes,
    ...(of === null ? {} : isNamespace ? { nsid: of } : { specificId: of }),
  };
  return page.name === "persistent-event"
    ? await readPersistentEvents(controller, request, options)
    : await controller.getLog(request, options);
}

const CNS_CONTROLLER_OF_SET = 0x06;

/** What is read of a persistent event log that is longer. */
const PERSISTENT_EVENTS_MAX_BYTES = 1 << 20;

/** The log is frozen while it is read: Get Log Page with LSP 1 does that, with LSP 2 ends it (Base 2.0 §5.16.1.14). */
async function readPersistentEvents(
  controller: NvmeController,
  request: LogRequest,
  options: ExecuteOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const layout = pageNamed("persistent-event");
  const header = await controller.getLog({ ...request, specificField: 1 }, options);
  try {
    const total = layout === null ? null : decodePage(layout, header).uint("TLL");
    const sizeBytes = Number(total ?? 0n) >>> 0;
    if (sizeBytes <= PERSISTENT_EVENT_HEADER_BYTES) return header;
    const wanted = Math.min(sizeBytes - sizeBytes % 4, PERSISTENT_EVENTS_MAX_BYTES);
    return await controller.getLog({ ...request, sizeBytes: wanted }, options);
  } finally {
    await controller.getLog({ ...request, specificField: 2 }, options).catch((error) => {
      if (nvmeStatusOf(error) === null) throw error;
    });
  }
}

async function fetchFeatures(
  controller: NvmeController,
  identity: DecodedTable,
  scopes: Scopes,
  options: ExecuteOptions,
): Promise<FetchedFeature[]> {
  const selectable = identity.has("ONCS", "SSFS");
  const fetched: FetchedFeature[] = [];
  for (const feature of FEATURES) {
    if (!feature.offered(identity)) continue;
    for (const of of feature.scope === "controller" ? [null] : scopes[feature.scope]) {
      for (const instance of feature.instances) {
        fetched.push(await fetchFeature(controller, feature, { of, instance, selectable }, options));
      }
    }
  }
  return fetched;
}

/** Which value of a feature is wanted. */
export interface FeatureRequest {
  /** The namespace, NVM set or endurance group; null for a feature of the controller. */
  readonly of: number | null;
  /** Which of several values; one of the feature's own list. */
  readonly instance: FeatureInstance;
  /** The default value and the capabilities too: ONCS.SSFS says whether the controller can tell. */
  readonly selectable: boolean;
}

/**
 * Reads one feature.
 *
 * @throws {BusbarError} as sending the command fails; a status other than success is a result
 */
export async function fetchFeature(
  controller: NvmeController,
  feature: NvmeFeature,
  request: FeatureRequest,
  options: ExecuteOptions = {},
): Promise<FetchedFeature> {
  const { of, instance, selectable } = request;
  const isNamespace = feature.scope === "namespace";
  const ask = async (select: "current" | "default" | "capabilities"): Promise<FeatureValue | string> => {
    try {
      return await controller.getFeature(feature.id, {
        ...options,
        select,
        ...(of !== null && isNamespace ? { nsid: of } : {}),
        // NVM sets and endurance groups stand in dword 11, where other features say which value they want.
        cdw11: (instance.cdw11 | (of !== null && !isNamespace ? of : 0)) >>> 0,
        ...(feature.dataBytes > 0 && select !== "capabilities" ? { dataBytes: feature.dataBytes } : {}),
      });
    } catch (error) {
      const status = nvmeStatusOf(error);
      if (status === null) throw error;
      return status.toString();
    }
  };
  const decoded = (value: FeatureValue | string | null): DecodedFeature | null =>
    value === null || typeof value === "string"
      ? null
      : decodeFeature(feature, value.value, ...(value.data === null ? [] : [value.data]));
  const current = await ask("current");
  const more = selectable && typeof current !== "string";
  const byDefault = more ? await ask("default") : null;
  const capabilities = more ? await ask("capabilities") : null;
  return {
    feature,
    instance,
    of,
    current: decoded(current),
    byDefault: decoded(byDefault),
    capabilities: capabilities === null || typeof capabilities === "string"
      ? null
      : decodeDword(FEATURE_CAPABILITIES, capabilities.value),
    reason: typeof current === "string" ? current : null,
  };
}
