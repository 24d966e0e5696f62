/**
 * Running DAMON by its sysfs interface: start, look at, stop.
 *
 * Source: Linux Documentation/admin-guide/mm/damon/usage.rst, mm/damon/sysfs.c and sysfs-schemes.c.
 * @module
 */

import { formatBytes } from "../core/units.ts";
import { BatchedReads } from "../core/batched_reads.ts";
import { BusbarError, errnoNameOf } from "../core/error.ts";
import { exists, type Host, ifPresent, ifReadable } from "../core/host.ts";
import { findJournals, keptName } from "../core/undo/found_journals.ts";
import { journalFolder } from "../core/undo/journal_file.ts";
import { UndoJournal } from "../core/undo/journal.ts";
import {
  cgroupMount,
  checkKdamond,
  checkTargetNodes,
  type DamonFilter,
  type DamonScheme,
  directionOf,
  type Kdamond,
} from "./damon_plan.ts";
import { readTierState } from "./tiers.ts";

const KDAMONDS = "/sys/kernel/mm/damon/admin/kdamonds";
const NR_KDAMONDS = `${KDAMONDS}/nr_kdamonds`;

/** The name under which running kdamonds are kept. */
export const DAMON_KEPT = "damon";

/** One write to DAMON's files. */
export interface DamonWrite {
  /** The file. */
  readonly path: string;
  /** What is written. */
  readonly text: string;
  /** True for what older kernels do not have, and need not have. */
  readonly optional?: true;
}

/** Takes the writes of one configuration, in order. */
type Put = (path: string, value: bigint | number | string) => void;

/** The writes that configure one kdamond, in order, once its folder is there. */
export function kdamondWrites(kdamond: Kdamond, index: number): DamonWrite[] {
  const folder = `${KDAMONDS}/${index}`;
  const context = `${folder}/contexts/0`;
  const writes: DamonWrite[] = [];
  const put: Put = (path, value) => void writes.push({ path, text: String(value) });
  put(`${folder}/contexts/nr_contexts`, 1);
  put(`${context}/operations`, "paddr");
  const intervals = `${context}/monitoring_attrs/intervals`;
  put(`${intervals}/sample_us`, kdamond.intervals.sampleUs);
  put(`${intervals}/aggr_us`, kdamond.intervals.aggregateUs);
  put(`${intervals}/update_us`, kdamond.intervals.updateUs);
  const goal = kdamond.intervalsGoal;
  if (goal !== null) {
    put(`${intervals}/intervals_goal/access_bp`, goal.accessBp);
    put(`${intervals}/intervals_goal/aggrs`, goal.aggregations);
    put(`${intervals}/intervals_goal/min_sample_us`, goal.minSampleUs);
    put(`${intervals}/intervals_goal/max_sample_us`, goal.maxSampleUs);
  }
  put(`${context}/monitoring_attrs/nr_regions/min`, kdamond.nrRegions.min);
  put(`${context}/monitoring_attrs/nr_regions/max`, kdamond.nrRegions.max);
  put(`${context}/targets/nr_targets`, 1);
  put(`${context}/targets/0/regions/nr_regions`, kdamond.regions.length);
  for (const [r, region] of kdamond.regions.entries()) {
    put(`${context}/targets/0/regions/${r}/start`, region.start);
    put(`${context}/targets/0/regions/${r}/end`, region.end);
  }
  put(`${context}/schemes/nr_schemes`, kdamond.schemes.length);
  for (const [s, scheme] of kdamond.schemes.entries()) {
    const at = `${context}/schemes/${s}`;
    putScheme(scheme, at, put);
    put(`${at}/filters/nr_filters`, scheme.filters.length);
    for (const [f, filter] of scheme.filters.entries()) {
      put(`${at}/filters/${f}/type`, filter.type);
      if (filter.type === "memcg") put(`${at}/filters/${f}/memcg_path`, filter.path);
      put(`${at}/filters/${f}/matching`, filter.matching ? "Y" : "N");
      // Linux 6.14 and later can also say what to let in; N leaves out, as earlier kernels do.
      writes.push({ path: `${at}/filters/${f}/allow`, text: "N", optional: true });
    }
  }
  return writes;
}

function putScheme(scheme: DamonScheme, at: string, put: Put): void {
  put(`${at}/action`, scheme.action);
  if (scheme.to !== null) put(`${at}/target_nid`, scheme.to);
  if (scheme.destinations.length > 0) put(`${at}/dests/nr_dests`, scheme.destinations.length);
  for (const [d, { node, weight }] of scheme.destinations.entries()) {
    put(`${at}/dests/${d}/id`, node);
    put(`${at}/dests/${d}/weight`, weight);
  }
  const ranges = [["sz", scheme.size], ["nr_accesses", scheme.accesses], ["age", scheme.age]] as const;
  for (const [name, range] of ranges) {
    put(`${at}/access_pattern/${name}/min`, range.min);
    put(`${at}/access_pattern/${name}/max`, range.max);
  }
  if (scheme.applyIntervalUs !== 0) put(`${at}/apply_interval_us`, scheme.applyIntervalUs);
  put(`${at}/quotas/ms`, scheme.quota.timeMs);
  put(`${at}/quotas/bytes`, scheme.quota.sizeBytes);
  put(`${at}/quotas/reset_interval_ms`, scheme.quota.intervalMs);
  const [size, accesses, age] = scheme.quota.weightsPermil;
  put(`${at}/quotas/weights/sz_permil`, size);
  put(`${at}/quotas/weights/nr_accesses_permil`, accesses);
  put(`${at}/quotas/weights/age_permil`, age);
  if (scheme.quota.goals.length > 0) put(`${at}/quotas/goals/nr_goals`, scheme.quota.goals.length);
  for (const [g, goal] of scheme.quota.goals.entries()) {
    put(`${at}/quotas/goals/${g}/target_metric`, goal.metric);
    put(`${at}/quotas/goals/${g}/target_value`, goal.targetValue);
    if (goal.metric === "user_input") put(`${at}/quotas/goals/${g}/current_value`, goal.currentValue);
    if (goal.node !== null) put(`${at}/quotas/goals/${g}/nid`, goal.node);
  }
  const { watermarks } = scheme;
  put(`${at}/watermarks/metric`, watermarks === null ? "none" : watermarks.metric);
  if (watermarks !== null) {
    put(`${at}/watermarks/interval_us`, watermarks.intervalUs);
    put(`${at}/watermarks/high`, watermarks.highPermil);
    put(`${at}/watermarks/mid`, watermarks.midPermil);
    put(`${at}/watermarks/low`, watermarks.lowPermil);
  }
}

/** A kdamond that exists. */
export interface KdamondStatus {
  /** Its number. */
  readonly index: number;
  /** True while it runs. */
  readonly running: boolean;
  /** The thread's process id; null while it does not run. */
  readonly pid: number | null;
  /** Its schemes. */
  readonly schemes: readonly SchemeStatus[];
}

/** A scheme, and what it has done so far. */
export interface SchemeStatus {
  /** `migrate_cold`, `migrate_hot`, `stat`, …. */
  readonly action: string;
  /** The node that pages go to; null for actions that move nothing. */
  readonly targetNode: number | null;
  /** Regions that fitted the scheme. */
  readonly triedRegions: bigint;
  /** Bytes of them. */
  readonly triedBytes: bigint;
  /** Regions to which it was applied. */
  readonly appliedRegions: bigint;
  /** Bytes of them: what was moved. */
  readonly appliedBytes: bigint;
  /** How often the quota was used up. */
  readonly quotaExceeds: bigint;
}

/** What DAMON does at the moment. */
export interface DamonStatus {
  /** Who started it: busbar, somebody else, or nobody. */
  readonly owner: "busbar" | "somebody else" | "nobody";
  /** The kdamonds. */
  readonly kdamonds: readonly KdamondStatus[];
}

/**
 * Refuses on kernels that cannot do it.
 *
 * @throws {BusbarError} `unsupported` or `permission`
 */
export function checkDamon(host: Host): void {
  if (exists(host, NR_KDAMONDS)) return;
  throw new BusbarError("unsupported", `${KDAMONDS}: this kernel has no DAMON`, {
    operation: "use DAMON",
    path: KDAMONDS,
    hint: "it needs CONFIG_DAMON_PADDR and CONFIG_DAMON_SYSFS; moving pages needs Linux 6.11",
  });
}

/** Who has DAMON: the kernel keeps one configuration for all, and a new one drops the old. */
function ownerOf(host: Host, folder: string): DamonStatus["owner"] {
  if (readCount(host) === 0) return "nobody";
  const ours = findJournals(folder).some((journal) =>
    journal.state !== "earlier boot" && (keptName(journal) === DAMON_KEPT || journal.state === "alive") &&
    journal.changes.some((change) => change.path === NR_KDAMONDS)
  );
  return ours ? "busbar" : "somebody else";
}

function readCount(host: Host): number {
  return Number(host.readText(NR_KDAMONDS).trim());
}

/** How kdamonds are started. */
export interface DamonStartOptions {
  /** Drop kdamonds of somebody else. */
  readonly force?: boolean;
  /** Where journals are; this user's folder by default. */
  readonly journals?: string;
}

/**
 * Configures kdamonds and turns them on. The journal turns them off and takes them away.
 *
 * @throws {BusbarError} `busy` when there are kdamonds already; `unsupported` when the kernel lacks a part
 */
export function startDamon(
  journal: UndoJournal,
  host: Host,
  kdamonds: readonly Kdamond[],
  options: DamonStartOptions = {},
): void {
  checkDamon(host);
  const owner = ownerOf(host, options.journals ?? journalFolder());
  if (owner === "busbar" || (owner === "somebody else" && options.force !== true)) {
    const message = `there are ${readCount(host)} kdamonds already, of ${owner}: they would be dropped`;
    journal.refuse(
      new BusbarError("busy", message, {
        operation: "start DAMON",
        path: NR_KDAMONDS,
        hint: owner === "busbar" ? "damon_config stop stops them" : "damo stop, or --force drops them",
      }),
    );
  }
  for (const kdamond of kdamonds) checkKdamond(kdamond);
  checkTargetNodes(host, kdamonds);
  for (const filter of kdamonds.flatMap(filtersOf)) checkCgroup(journal, host, filter);
  // What is dropped by force does not come back: so the state before ours is none, and no entry says otherwise.
  if (owner !== "nobody") journal.changeInside("kdamonds of somebody else", { path: NR_KDAMONDS, text: "0" });
  journal.change({ what: "number of kdamonds", write: { path: NR_KDAMONDS, text: String(kdamonds.length) } });
  for (const [index, kdamond] of kdamonds.entries()) {
    for (const { path, text, optional } of kdamondWrites(kdamond, index)) {
      if (optional && (journal.isDryRun || !exists(host, path))) continue;
      try {
        journal.changeInside(`kdamond ${index}`, { path, text });
      } catch (error) {
        throw explainWrite(error, path, text);
      }
    }
  }
  for (const index of kdamonds.keys()) {
    const path = `${KDAMONDS}/${index}/state`;
    try {
      journal.change({ what: `kdamond ${index}`, write: { path, text: "on" } });
    } catch (error) {
      throw explainOn(error, path);
    }
  }
}

function filtersOf(kdamond: Kdamond): readonly DamonFilter[] {
  return kdamond.schemes.flatMap(({ filters }) => filters);
}

function checkCgroup(journal: UndoJournal, host: Host, filter: DamonFilter): void {
  if (filter.type !== "memcg") return;
  const mount = cgroupMount(host);
  if (mount === null) {
    return journal.refuse(
      new BusbarError("absent", "cgroup v2 is not mounted", {
        operation: "start DAMON",
        path: "/sys/fs/cgroup",
        hint: "mount -t cgroup2 none /sys/fs/cgroup, or move pages of all processes with --global",
      }),
    );
  }
  if (exists(host, `${mount}${filter.path}`)) return;
  journal.refuse(
    new BusbarError("absent", `${mount}${filter.path}: no such cgroup`, {
      operation: "start DAMON",
      path: `${mount}${filter.path}`,
      hint: `mkdir ${mount}${filter.path}, or let damon_config run -- COMMAND make it`,
    }),
  );
}

function explainWrite(error: unknown, path: string, text: string): unknown {
  if (!(error instanceof BusbarError)) return error;
  const missing = error.code === "absent";
  if (!missing && errnoNameOf(error) !== "EINVAL") return error;
  const what = missing ? `this kernel's DAMON has no ${path}` : `this kernel's DAMON does not know '${text}' (${path})`;
  return new BusbarError("unsupported", what, {
    operation: "start DAMON",
    path,
    hint: /migrate/.test(text) || /target_nid/.test(path)
      ? "moving pages needs Linux 6.11"
      : "a newer kernel is needed",
    cause: error,
  });
}

function explainOn(error: unknown, path: string): unknown {
  if (!(error instanceof BusbarError)) return error;
  const errno = errnoNameOf(error);
  if (errno !== "ENOMEM" && errno !== "EINVAL" && errno !== "EBUSY") return error;
  const hints = {
    ENOMEM: "usually the cgroup of a filter was removed meanwhile",
    EINVAL: "the kernel does not take the configuration: look at its log (dmesg)",
    EBUSY:
      "another DAMON user runs: DAMON_STAT (echo N >/sys/module/damon_stat/parameters/enabled ends it), DAMON_RECLAIM, " +
      "DAMON_LRU_SORT or a kdamond of somebody else",
  };
  return new BusbarError(error.code, `kdamond does not start: ${error.message}`, {
    operation: "start DAMON",
    path,
    hint: hints[errno],
    cause: error,
  });
}

/**
 * Reads what DAMON does. Asks running kdamonds to bring their statistics up to date, which changes nothing else.
 *
 * @throws {BusbarError} `unsupported` on a kernel without DAMON
 */
export function readDamon(host: Host, journals: string = journalFolder()): DamonStatus {
  checkDamon(host);
  using journal = new UndoJournal(host, { command: "damon_config status" });
  const states = Array.from({ length: readCount(host) }, (_, index) => {
    const path = `${KDAMONDS}/${index}/state`;
    const running = ifReadable(() => host.readText(path).trim()) === "on";
    if (running) {
      // A kdamond may end between the two lines.
      const state = { path, text: "update_schemes_stats" };
      ifReadable(() => journal.changeInside(`statistics of kdamond ${index}`, state));
    }
    return running;
  });
  const reads = new BatchedReads(host);
  reads.fetch([{ call: "readTree", path: KDAMONDS, depth: STATS_DEPTH, files: STATUS_FILES }]);
  const kdamonds = states.map((running, index) => {
    const folder = `${KDAMONDS}/${index}`;
    const pid = Number(ifReadable(() => reads.readText(`${folder}/pid`).trim()) ?? "-1");
    const count = Number(ifPresent(() => reads.readText(`${folder}/contexts/0/schemes/nr_schemes`).trim()) ?? "0");
    const schemes = Array.from({ length: count }, (_, s) => readScheme(reads, `${folder}/contexts/0/schemes/${s}`));
    return { index, running, pid: pid > 0 ? pid : null, schemes };
  });
  return { owner: ownerOf(host, journals), kdamonds };
}

/** How far below the kdamonds the statistics lie: 0/contexts/0/schemes/0/stats. */
const STATS_DEPTH = 6;
const STATUS_FILES: readonly string[] = [
  ...["pid", "nr_schemes", "action", "target_nid"],
  ...["nr_tried", "sz_tried", "nr_applied", "sz_applied", "qt_exceeds"],
];

function readScheme(host: Host, folder: string): SchemeStatus {
  const stat = (name: string): bigint => {
    const text = ifReadable(() => host.readText(`${folder}/stats/${name}`).trim()) ?? "";
    return /^\d+$/.test(text) ? BigInt(text) : 0n;
  };
  const action = host.readText(`${folder}/action`).trim();
  const target = ifReadable(() => host.readText(`${folder}/target_nid`).trim()) ?? "";
  return {
    action,
    targetNode: action.startsWith("migrate") && /^\d+$/.test(target) ? Number(target) : null,
    triedRegions: stat("nr_tried"),
    triedBytes: stat("sz_tried"),
    appliedRegions: stat("nr_applied"),
    appliedBytes: stat("sz_applied"),
    quotaExceeds: stat("qt_exceeds"),
  };
}

/** Why a configuration would move nothing on this machine, one sentence each; empty when nothing is known against it. */
export function damonObstacles(host: Host, kdamonds: readonly Kdamond[]): string[] {
  const found: string[] = [];
  const { tiers, nodes } = readTierState(host);
  for (
    const { kdamond, scheme } of kdamonds.flatMap((kdamond) => kdamond.schemes.map((scheme) => ({ kdamond, scheme })))
  ) {
    const rank = (node: number | null): number | undefined =>
      tiers.find((tier) => node !== null && tier.nodes.includes(node))?.rank;
    const direction = directionOf(scheme);
    const [from, to] = [rank(kdamond.from), rank(scheme.to)];
    if (
      direction !== null && from !== undefined && to !== undefined && (direction === "demote" ? from >= to : from <= to)
    ) {
      found.push(
        `${direction} ${kdamond.from} → ${scheme.to}: ` +
          (from === to ? "both nodes are in the same tier" : "the target is in the wrong direction: see tiering show"),
      );
    }
    const target = nodes.find((node) => node.id === scheme.to);
    if (target !== undefined && target.freeBytes < target.totalBytes / 50n) {
      const { freeBytes, cacheBytes } = target;
      found.push(
        freeBytes + cacheBytes < target.totalBytes / 50n
          ? `node ${scheme.to} is full: nothing more can go there`
          : `node ${scheme.to} has ${formatBytes(freeBytes)} free, and ${formatBytes(cacheBytes)} of page cache that ` +
            "the kernel can give up",
      );
    }
    for (const filter of scheme.filters) if (filter.type === "memcg") found.push(...emptyCgroup(host, filter.path));
  }
  return [...new Set(found)];
}

function emptyCgroup(host: Host, path: string): string[] {
  const mount = cgroupMount(host);
  const folder = `${mount}${path}`;
  if (mount === null || !exists(host, folder)) return [];
  const populated = /^populated 1$/m.test(ifReadable(() => host.readText(`${folder}/cgroup.events`)) ?? "populated 1");
  return populated
    ? []
    : [`no process is in ${folder}: nothing will be moved. damon_config run -- COMMAND puts one in`];
}
