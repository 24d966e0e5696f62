/**
 * Memory tiers and the settings that move pages between them.
 *
 * Source: Linux Documentation/ABI/testing/sysfs-kernel-mm-memory-tiers, sysfs-kernel-mm-numa;
 * Documentation/admin-guide/sysctl/kernel.rst and vm.rst; Documentation/admin-guide/mm/multigen_lru.rst; mm/memory-tiers.c.
 * @module
 */

import { BatchedReads } from "../core/batched_reads.ts";
import { BusbarError } from "../core/error.ts";
import { type Host, ifPresent, ifReadable } from "../core/host.ts";
import { type HostRequest, namesIn, textOf } from "../core/host_requests.ts";
import { nearest } from "../core/locator.ts";
import type { UndoJournal } from "../core/undo/journal.ts";

const NODES = "/sys/devices/system/node";
const TIERS = "/sys/devices/virtual/memory_tiering";
const ONLINE = `${NODES}/online`;
const DAMON = "/sys/kernel/mm/damon/admin/kdamonds";
const SCAN = "/sys/kernel/debug/sched/numa_balancing";

/** A NUMA node with memory or processors. */
export interface NumaNode {
  /** Its number. */
  readonly id: number;
  /** Its processors as the kernel lists them: `0-3,8`; empty for a node that is memory only. */
  readonly cpus: string;
  /** Bytes of memory. */
  readonly totalBytes: bigint;
  /** Of these, free. */
  readonly freeBytes: bigint;
  /** Page cache: what files hold, which the kernel can give up. */
  readonly cacheBytes: bigint;
  /** Distance to each online node, by node number; 10 is the node itself. */
  readonly distances: ReadonlyMap<number, number>;
}

/** Nodes whose memory is about equally fast. */
export interface MemoryTier {
  /** Its name: `memory_tier4`. */
  readonly name: string;
  /** Its rank: the abstract distance divided by 128. A larger number is slower memory. */
  readonly rank: number;
  /** The nodes in it. */
  readonly nodes: readonly number[];
}

/** How a setting's text is read. */
export type SettingKind = "number" | "flag" | "hex";

/** One setting that concerns the moving of pages. */
export interface TierSetting {
  /** Its name in profiles: the one that HMSDK's JSON uses where it has one. */
  readonly name: string;
  /** Its file. */
  readonly path: string;
  /** `number`: decimal. `flag`: true or false. `hex`: a mask. */
  readonly kind: SettingKind;
  /** The largest value that makes sense; null where there is no bound. */
  readonly max: bigint | null;
  /** What it does. */
  readonly title: string;
}

function setting(name: string, path: string, kind: SettingKind, title: string, max: bigint | null = null): TierSetting {
  return { name, path, kind, title, max };
}

/** The settings, in the order in which a profile is applied: what moves pages comes after what says how. */
export const TIER_SETTINGS: readonly TierSetting[] = [
  setting("hot_threshold_ms", `${SCAN}/hot_threshold_ms`, "number", "accessed again within this time, a page is hot"),
  setting("scan_delay_ms", `${SCAN}/scan_delay_ms`, "number", "a process this young is not scanned"),
  setting("scan_period_min_ms", `${SCAN}/scan_period_min_ms`, "number", "shortest time between two scans of a process"),
  setting("scan_period_max_ms", `${SCAN}/scan_period_max_ms`, "number", "longest time between two scans of a process"),
  setting("scan_size_mb", `${SCAN}/scan_size_mb`, "number", "MiB of a process that one scan looks at"),
  setting(
    "promote_rate_limit_MBps",
    "/proc/sys/kernel/numa_balancing_promote_rate_limit_MBps",
    "number",
    "at most so many MB/s are promoted to a node",
  ),
  setting("lru_gen_enabled", "/sys/kernel/mm/lru_gen/enabled", "hex", "multi-generational LRU: a mask; 0 is off", 7n),
  setting(
    "zone_reclaim_mode",
    "/proc/sys/vm/zone_reclaim_mode",
    "number",
    "1: reclaim here before going elsewhere",
    7n,
  ),
  setting("demotion_enabled", "/sys/kernel/mm/numa/demotion_enabled", "flag", "reclaim demotes pages to a slower tier"),
  setting(
    "numa_balancing",
    "/proc/sys/kernel/numa_balancing",
    "number",
    "1: move pages to where they are used, 2: promote hot pages to a faster tier, 3: both",
    3n,
  ),
];

/** A setting and its value. */
export interface SettingValue {
  /** The setting. */
  readonly setting: TierSetting;
  /** As the kernel shows it; null when it cannot be read. */
  readonly value: string | null;
  /** Why it cannot be read. */
  readonly reason: string | null;
}

/** Tiers, nodes and settings of a machine. */
export interface TierState {
  /** Nodes with memory or processors, by number. */
  readonly nodes: readonly NumaNode[];
  /** Tiers, the fastest first. */
  readonly tiers: readonly MemoryTier[];
  /** Where the kernel demotes pages to, by node: the nearest nodes of the next slower tier. Empty: nowhere. */
  readonly demotion: ReadonlyMap<number, readonly number[]>;
  /** The settings. */
  readonly settings: readonly SettingValue[];
  /** Why pages cannot move between tiers, one sentence each; empty when they can. */
  readonly obstacles: readonly string[];
}

/** Reads tiers, nodes and settings, in two batches. */
export function readTierState(machine: Host): TierState {
  const host = new BatchedReads(machine);
  host.fetch([
    textOf(ONLINE),
    { call: "readTree", path: TIERS, depth: 1, files: ["nodelist"] },
    ...TIER_SETTINGS.map(({ path }) => textOf(path)),
    namesIn(DAMON),
  ]);
  host.fetch(nodeRequests(host));
  const nodes = nodesFrom(host);
  const tiers = readTiers(host);
  const settings = TIER_SETTINGS.map((setting) => readSetting(host, setting));
  const demotion = demotionTargets(nodes, tiers);
  return { nodes, tiers, demotion, settings, obstacles: obstacles(host, nodes, tiers, settings) };
}

/** The online nodes, by number. */
export function readNodes(host: Host): NumaNode[] {
  const reads = new BatchedReads(host);
  reads.fetch([textOf(ONLINE)]);
  reads.fetch(nodeRequests(reads));
  return nodesFrom(reads);
}

function nodeRequests(host: Host): HostRequest[] {
  return onlineNodes(host).flatMap((id) =>
    ["meminfo", "distance", "cpulist"].map((file) => textOf(`${NODES}/node${id}/${file}`))
  );
}

function onlineNodes(host: Host): number[] {
  return parseList(ifReadable(() => host.readText(ONLINE)) ?? "");
}

function nodesFrom(host: Host): NumaNode[] {
  const online = onlineNodes(host);
  return online.flatMap((id) => ifPresent(() => readNode(host, id, online)) ?? []);
}

function readNode(host: Host, id: number, online: readonly number[]): NumaNode {
  const folder = `${NODES}/node${id}`;
  const info = host.readText(`${folder}/meminfo`);
  const kilobytes = (name: string): bigint =>
    BigInt(new RegExp(`${name.replace(/[()]/g, "\\$&")}:\\s+(\\d+) kB`).exec(info)?.[1] ?? "0");
  const distances = host.readText(`${folder}/distance`).trim().split(/\s+/).map(Number);
  return {
    id,
    cpus: host.readText(`${folder}/cpulist`).trim(),
    totalBytes: kilobytes("MemTotal") << 10n,
    freeBytes: kilobytes("MemFree") << 10n,
    cacheBytes: kilobytes("Active(file)") + kilobytes("Inactive(file)") << 10n,
    distances: new Map(online.map((node, i) => [node, distances[i] ?? 0])),
  };
}

/** The numbers in a list as the kernel writes it: `0-2,5`. */
export function parseList(text: string): number[] {
  return text.trim().split(",").filter((part) => part !== "").flatMap((part) => {
    const [first = "", last = first] = part.split("-");
    const [from, to] = [Number(first), Number(last)];
    if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || to - from > 4096) return [];
    return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
  });
}

/** Tiers with nodes in them, the fastest first. */
export function readTiers(host: Host): MemoryTier[] {
  const names = (ifReadable(() => host.list(TIERS)) ?? []).filter((name) => /^memory_tier\d+$/.test(name));
  return names.flatMap((name) => {
    const nodes = parseList(ifReadable(() => host.readText(`${TIERS}/${name}/nodelist`)) ?? "");
    return nodes.length === 0 ? [] : [{ name, rank: Number(name.slice("memory_tier".length)), nodes }];
  }).sort((a, b) => a.rank - b.rank);
}

/** As mm/memory-tiers.c, establish_demotion_targets: of the next slower tier, the nearest nodes. */
function demotionTargets(nodes: readonly NumaNode[], tiers: readonly MemoryTier[]): Map<number, number[]> {
  const targets = new Map<number, number[]>();
  for (const [i, tier] of tiers.entries()) {
    const slower = tiers[i + 1]?.nodes ?? [];
    for (const id of tier.nodes) {
      const distances = nodes.find((node) => node.id === id)?.distances;
      const reach = slower.map((node) => ({ node, distance: distances?.get(node) ?? Infinity }));
      const best = Math.min(...reach.map(({ distance }) => distance));
      targets.set(id, reach.filter(({ distance }) => distance === best).map(({ node }) => node));
    }
  }
  return targets;
}

function readSetting(host: Host, setting: TierSetting): SettingValue {
  try {
    return { setting, value: host.readText(setting.path).trim(), reason: null };
  } catch (error) {
    if (!(error instanceof BusbarError)) throw error;
    return { setting, value: null, reason: error.code === "permission" ? "needs root" : missing(setting) };
  }
}

function missing(setting: TierSetting): string {
  return setting.path.startsWith("/sys/kernel/debug/")
    ? "debugfs is not mounted: mount -t debugfs none /sys/kernel/debug"
    : `this kernel has no ${setting.path}`;
}

function obstacles(
  host: Host,
  nodes: readonly NumaNode[],
  tiers: readonly MemoryTier[],
  settings: readonly SettingValue[],
): string[] {
  const found: string[] = [];
  const value = (name: string): string | null => settings.find((one) => one.setting.name === name)?.value ?? null;
  if (nodes.length < 2) found.push("there is one NUMA node only: nothing to move pages to");
  else if (tiers.length === 0) found.push(`this kernel shows no memory tiers (${TIERS}: Linux 6.1)`);
  else if (tiers.length === 1) {
    found.push(
      `all nodes are in one tier (${tiers[0]?.name}): the kernel neither promotes nor demotes. ` +
        "Slow memory that came up at boot counts as fast; onlined by kmem (cxl_region system-ram) it gets its own tier",
    );
  } else {
    if (value("demotion_enabled") === "false") found.push("demotion_enabled is false: reclaim demotes nothing");
    const balancing = value("numa_balancing");
    if (balancing !== null && (Number(balancing) & 2) === 0) {
      found.push(`numa_balancing is ${balancing}: nothing is promoted; 2 promotes hot pages`);
    }
  }
  if (ifReadable(() => host.list(DAMON)) === null) {
    found.push("this kernel has no DAMON, or this user may not see it (CONFIG_DAMON_SYSFS, root)");
  }
  return found;
}

/** Settings to apply, by name, as text for the kernel. */
export type TierProfile = ReadonlyMap<string, string>;

/**
 * Checks a profile: an object of settings, or one with the settings under `numa_balancing`, as HMSDK's JSON has them.
 *
 * @param data what a YAML or JSON file holds
 * @throws {BusbarError} `malformed`, with every mistake
 */
export function checkProfile(data: unknown, file: string): TierProfile {
  const top = isObject(data) ? data : null;
  const nested = top !== null && isObject(top["numa_balancing"]) && Object.keys(top).length === 1;
  const settings = nested ? top["numa_balancing"] : top;
  if (!isObject(settings) || Object.keys(settings).length === 0) {
    throw malformed(file, ["it holds no settings"]);
  }
  const mistakes: string[] = [];
  const profile = new Map<string, string>();
  for (const [key, value] of Object.entries(settings)) {
    const row = TIER_SETTINGS.find((one) => one.name === key);
    if (row === undefined) {
      const near = nearest(key, TIER_SETTINGS.map((one) => one.name));
      mistakes.push(`'${key}' is no setting${near === null ? "" : `; did you mean '${near}'?`}`);
      continue;
    }
    const text = settingText(row, value);
    if (text === null) mistakes.push(`${key}: ${JSON.stringify(value)} is no ${KIND_TEXT[row.kind]}${boundText(row)}`);
    else profile.set(key, text);
  }
  if (mistakes.length > 0) throw malformed(file, mistakes);
  return profile;
}

const KIND_TEXT: Readonly<Record<SettingKind, string>> = {
  number: "whole number",
  flag: "true or false",
  hex: "mask such as 0x0007",
};

function boundText(row: TierSetting): string {
  return row.max === null ? "" : ` up to ${row.max}`;
}

function malformed(file: string, mistakes: readonly string[]): BusbarError {
  return new BusbarError("malformed", `${file}: ${mistakes.join("; ")}`, {
    operation: "read a profile",
    path: file,
    hint: `settings are ${TIER_SETTINGS.map((row) => row.name).join(", ")}`,
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What the kernel shows after the value was written; null for a value that the setting does not take. */
function settingText(row: TierSetting, value: unknown): string | null {
  if (row.kind === "flag") {
    if (value === true || value === "true" || value === 1 || value === "1") return "true";
    if (value === false || value === "false" || value === 0 || value === "0") return "false";
    return null;
  }
  const text = typeof value === "number" ? String(value) : typeof value === "string" ? value.trim() : "";
  if (!/^(?:0x[0-9a-f]+|\d+)$/i.test(text)) return null;
  const number = BigInt(text);
  if (row.max !== null && number > row.max) return null;
  return row.kind === "hex" ? `0x${number.toString(16).padStart(4, "0")}` : number.toString();
}

/** The profile of HMSDK's guide for promotion and demotion by NUMA balancing. */
export const BALANCING_PROFILE: TierProfile = new Map([
  ["numa_balancing", "2"],
  ["demotion_enabled", "true"],
  ["zone_reclaim_mode", "1"],
  ["lru_gen_enabled", "0x0000"],
  ["hot_threshold_ms", "1000"],
  ["scan_delay_ms", "1000"],
  ["scan_period_min_ms", "1000"],
  ["scan_period_max_ms", "1100"],
  ["scan_size_mb", "1024"],
]);

/** The name under which an applied profile is kept. */
export const TIERING_KEPT = "tiering";

/**
 * Applies a profile. Settings that have the value already are left alone.
 *
 * @returns the names of the settings that were changed
 * @throws {BusbarError} `absent` when the kernel lacks one: then nothing was changed
 */
export function applyProfile(journal: UndoJournal, host: Host, profile: TierProfile): string[] {
  const wanted = TIER_SETTINGS.flatMap((row) => {
    const text = profile.get(row.name);
    return text === undefined ? [] : [{ row, text, now: readSetting(host, row) }];
  });
  const lacking = wanted.filter(({ now }) => now.value === null);
  const [first] = lacking;
  if (first !== undefined) {
    journal.refuse(
      new BusbarError(
        first.now.reason === "needs root" ? "permission" : "absent",
        `${lacking.map(({ row }) => row.name).join(", ")} cannot be set: ${first.now.reason}`,
        {
          operation: "apply a profile",
          path: first.row.path,
          hint: "nothing was changed; leave it out, or make it possible",
        },
      ),
    );
    // Only a dry run comes here: what these are set to now is not known.
    for (const { row, text } of lacking) journal.changeInside(row.name, { path: row.path, text });
  }
  const different = wanted.filter(({ text, now }) => now.value !== null && now.value !== text);
  for (const { row, text } of different) journal.change({ what: row.name, write: { path: row.path, text } });
  return different.map(({ row }) => row.name);
}
