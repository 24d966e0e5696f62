/**
 * Every setting of a damo file, one at a time: the writes to the kernel that it adds or changes, or its name in a refusal.
 * The paths and units are those of the kernel's Documentation/admin-guide/mm/damon/usage.rst, written down by hand.
 */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { fromDamo } from "../../src/memory/damo_reader.ts";
import { kdamondWrites, startDamon } from "../../src/memory/damon.ts";
import { TiersMachine } from "./tiers_machine.ts";

/** A file with every default left out. */
function minimal(): Record<string, unknown> {
  return {
    kdamonds: [{
      contexts: [{
        ops: "paddr",
        targets: [{ regions: [{ start: "4,096", end: 1_048_576 }] }],
        schemes: [{ action: "migrate_cold", target_nid: 1 }],
      }],
    }],
  };
}

const FOLDER = "/sys/kernel/mm/damon/admin/kdamonds/0";
const CONTEXT = `${FOLDER}/contexts/0`;

/** Where a key of the table below stands in the file. */
const PLACES: Readonly<Record<string, readonly (string | number)[]>> = {
  kdamond: ["kdamonds", 0],
  context: ["kdamonds", 0, "contexts", 0],
  target: ["kdamonds", 0, "contexts", 0, "targets", 0],
  scheme: ["kdamonds", 0, "contexts", 0, "schemes", 0],
};

function set(file: Record<string, unknown>, key: string, value: unknown): Record<string, unknown> {
  const [place = "", ...rest] = key.split(".");
  const path = [...PLACES[place] ?? [place], ...rest];
  let at: Record<string | number, unknown> = file;
  for (const [i, step] of path.entries()) {
    if (i === path.length - 1) at[step] = value;
    else {
      at[step] ??= {};
      const next = at[step];
      assert(typeof next === "object" && next !== null);
      at = next as Record<string | number, unknown>;
    }
  }
  return file;
}

function writesOf(file: unknown): Map<string, string> {
  const [kdamond] = fromDamo(file, "x.yaml");
  assert(kdamond !== undefined);
  return new Map(kdamondWrites(kdamond, 0).map(({ path, text }) => [path.replace(`${CONTEXT}/`, ""), text]));
}

const S = "schemes/0";

/** A key, its value, and the writes that differ from those of the minimal file, or what the refusal names. */
const TABLE: readonly (readonly [key: string, value: unknown, outcome: Readonly<Record<string, string>> | string])[] = [
  ["kdamond.state", "on", {}],
  ["kdamond.pid", 17, {}],
  ["kdamond.refresh_ms", "0 ns", {}],
  ["kdamond.refresh_ms", "100 ms", "kdamonds[0].refresh_ms"],
  ["kdamond.turbo", true, "kdamonds[0].turbo"],
  ["context.ops", "vaddr", "contexts[0].ops"],
  ["context.ops", undefined, "contexts[0].ops"],
  ["context.addr_unit", 1, {}],
  ["context.addr_unit", 64, "contexts[0].addr_unit"],
  ["context.pause", true, "contexts[0].pause"],
  ["context.probes", [], "contexts[0].probes"],
  ["target.pid", 42, "targets[0].pid"],
  ["target.obsolete", true, "targets[0].obsolete"],
  ["target.regions", [], "no addresses are watched"],
  ["target.regions", [{ start: 8192, end: 4096 }], "the regions do not follow one another"],
  ["target.regions", [{ start: 0, end: 10 }, { start: 5, end: 20 }], "the regions do not follow one another"],
  ["target.regions", [{ start: 4096 }], "regions[0].end: it is missing"],
  ["context.intervals.sample_us", "10 ms", {
    "monitoring_attrs/intervals/sample_us": "10000",
    [`${S}/access_pattern/nr_accesses/max`]: "10",
  }],
  ["context.intervals.sample_us", 1000, {
    "monitoring_attrs/intervals/sample_us": "1000",
    [`${S}/access_pattern/nr_accesses/max`]: "100",
  }],
  ["context.intervals.sample_us", "1 h", "the intervals do not fit"],
  ["context.intervals.sample_us", "fast", "intervals.sample_us"],
  ["context.intervals.aggr_us", "1 s", {
    "monitoring_attrs/intervals/aggr_us": "1000000",
    [`${S}/access_pattern/nr_accesses/max`]: "200",
  }],
  ["context.intervals.ops_update_us", "60 s", { "monitoring_attrs/intervals/update_us": "60000000" }],
  ["context.intervals.ops_update_us", "1 ms", "the intervals do not fit"],
  ["context.intervals.jitter", 3, "intervals.jitter"],
  [
    "context.intervals.intervals_goal",
    { access_bp: "0 %", aggrs: "0", min_sample_us: "0 ns", max_sample_us: "0 ns" },
    {},
  ],
  ["context.intervals.intervals_goal", { access_bp: "4 %", aggrs: "3", min_sample_us: "5 ms", max_sample_us: "10 s" }, {
    "monitoring_attrs/intervals/intervals_goal/access_bp": "400",
    "monitoring_attrs/intervals/intervals_goal/aggrs": "3",
    "monitoring_attrs/intervals/intervals_goal/min_sample_us": "5000",
    "monitoring_attrs/intervals/intervals_goal/max_sample_us": "10000000",
  }],
  ["context.nr_regions.min", "1,000", { "monitoring_attrs/nr_regions/min": "1000" }],
  ["context.nr_regions.max", 77, { "monitoring_attrs/nr_regions/max": "77" }],
  ["context.nr_regions.min", 2, "at least 3"],
  ["context.nr_regions.max", 5, "at least 3"],
  ["scheme.action", "migrate_hot", { [`${S}/action`]: "migrate_hot" }],
  ["scheme.action", "pageout", "schemes[0].action"],
  ["scheme.action", "lru_prio", "schemes[0].action"],
  ["scheme.target_nid", 0, { [`${S}/target_nid`]: "0" }],
  ["scheme.target_nid", "1", {}],
  ["scheme.target_nid", null, "needs a node that pages go to"],
  ["scheme.target_nid", -1, "schemes[0].target_nid"],
  ["scheme.dests", [], {}],
  ["scheme.dests", [{ id: 1, weight: 3 }, { id: 0, weight: 1 }], {
    [`${S}/dests/nr_dests`]: "2",
    [`${S}/dests/0/id`]: "1",
    [`${S}/dests/0/weight`]: "3",
    [`${S}/dests/1/id`]: "0",
    [`${S}/dests/1/weight`]: "1",
  }],
  ["scheme.dests", [{ weight: 3 }], "dests[0].id"],
  ["scheme.access_pattern.sz_bytes", { min: "4.000 KiB", max: "1 GiB" }, {
    [`${S}/access_pattern/sz/min`]: "4096",
    [`${S}/access_pattern/sz/max`]: "1073741824",
  }],
  ["scheme.access_pattern.sz_bytes", { min: "2 MiB", max: "4 KiB" }, "the size does not fit"],
  ["scheme.access_pattern.nr_accesses", { min: "12 %", max: "52 %" }, {
    [`${S}/access_pattern/nr_accesses/min`]: "2",
    [`${S}/access_pattern/nr_accesses/max`]: "11",
  }],
  ["scheme.access_pattern.nr_accesses", { min: 1, max: 7 }, {
    [`${S}/access_pattern/nr_accesses/min`]: "1",
    [`${S}/access_pattern/nr_accesses/max`]: "7",
  }],
  ["scheme.access_pattern.age", { min: "1 s", max: "max" }, { [`${S}/access_pattern/age/min`]: "10" }],
  ["scheme.access_pattern.age", { min: 4, max: 40 }, {
    [`${S}/access_pattern/age/min`]: "4",
    [`${S}/access_pattern/age/max`]: "40",
  }],
  ["scheme.access_pattern.probe_hits", {}, "access_pattern.probe_hits"],
  ["scheme.apply_interval_us", "0 ns", {}],
  ["scheme.apply_interval_us", "2 s", { [`${S}/apply_interval_us`]: "2000000" }],
  ["scheme.quotas.time_ms", "10 ms", { [`${S}/quotas/ms`]: "10" }],
  ["scheme.quotas.sz_bytes", "1.500 GiB", { [`${S}/quotas/bytes`]: "1610612736" }],
  ["scheme.quotas.reset_interval_ms", "1 s", { [`${S}/quotas/reset_interval_ms`]: "1000" }],
  ["scheme.quotas.effective_sz_bytes", "5 MiB", {}],
  ["scheme.quotas.weights", { sz_permil: "3 %", nr_accesses_permil: 7, age_permil: "0.1 %" }, {
    [`${S}/quotas/weights/sz_permil`]: "30",
    [`${S}/quotas/weights/nr_accesses_permil`]: "7",
    [`${S}/quotas/weights/age_permil`]: "1",
  }],
  ["scheme.quotas.goal_tuner", "temporal", "quotas.goal_tuner"],
  ["scheme.quotas.goals", [{ metric: "node_mem_used_bp", target_value: "99 %", nid: 0 }], {
    [`${S}/quotas/goals/nr_goals`]: "1",
    [`${S}/quotas/goals/0/target_metric`]: "node_mem_used_bp",
    [`${S}/quotas/goals/0/target_value`]: "9900",
    [`${S}/quotas/goals/0/nid`]: "0",
  }],
  ["scheme.quotas.goals", [{ metric: "some_mem_psi_us", target_value: "10 ms", current_value: 0 }], {
    [`${S}/quotas/goals/nr_goals`]: "1",
    [`${S}/quotas/goals/0/target_metric`]: "some_mem_psi_us",
    [`${S}/quotas/goals/0/target_value`]: "10000",
  }],
  ["scheme.quotas.goals", [{ metric: "user_input", target_value: "10,000", current_value: "9,000" }], {
    [`${S}/quotas/goals/nr_goals`]: "1",
    [`${S}/quotas/goals/0/target_metric`]: "user_input",
    [`${S}/quotas/goals/0/target_value`]: "10000",
    [`${S}/quotas/goals/0/current_value`]: "9000",
  }],
  ["scheme.quotas.goals", [{ metric: "node_mem_used_bp", target_value: 1 }], "goals[0].nid"],
  ["scheme.quotas.goals", [{ metric: "active_mem_bp", target_value: 1 }], "goals[0].metric"],
  ["scheme.watermarks", { metric: "none", interval_us: "5 s", high_permil: 0, mid_permil: 0, low_permil: 0 }, {}],
  ["scheme.watermarks", {
    metric: "free_mem_rate",
    interval_us: "5 s",
    high_permil: "50 %",
    mid_permil: "40 %",
    low_permil: 200,
  }, {
    [`${S}/watermarks/metric`]: "free_mem_rate",
    [`${S}/watermarks/interval_us`]: "5000000",
    [`${S}/watermarks/high`]: "500",
    [`${S}/watermarks/mid`]: "400",
    [`${S}/watermarks/low`]: "200",
  }],
  [
    "scheme.watermarks",
    { metric: "free_mem_rate", high_permil: 1, mid_permil: 2, low_permil: 3 },
    "the watermarks do not fit",
  ],
  ["scheme.watermarks", { metric: "temperature" }, "watermarks.metric"],
  ["scheme.filters", [{ filter_type: "anon", matching: true }], {
    [`${S}/filters/nr_filters`]: "1",
    [`${S}/filters/0/type`]: "anon",
    [`${S}/filters/0/matching`]: "Y",
    [`${S}/filters/0/allow`]: "N",
  }],
  ["scheme.filters", [{ filter_type: "memcg", matching: false, memcg_path: "/a" }], {
    [`${S}/filters/nr_filters`]: "1",
    [`${S}/filters/0/type`]: "memcg",
    [`${S}/filters/0/memcg_path`]: "/a",
    [`${S}/filters/0/matching`]: "N",
    [`${S}/filters/0/allow`]: "N",
  }],
  ["scheme.filters", [{ filter_type: "memcg", matching: false, memcg_path: "a" }], "'a' is no cgroup"],
  ["scheme.filters", [{ filter_type: "young", matching: true, allow: true }], "filters[0].allow"],
  ["scheme.filters", [{ filter_type: "addr", matching: true, address_range: { start: 0, end: 1 } }], "filters[0]"],
  [
    "scheme.filters",
    [{ filter_type: "hugepage_size", matching: true, hugepage_size: { min: 0, max: 1 } }],
    "filters[0]",
  ],
  ["scheme.stats", { nr_tried: 4 }, {}],
  ["scheme.tried_regions", [], {}],
  ["scheme.max_nr_snapshots", 3, "schemes[0].max_nr_snapshots"],
];

Deno.test(`${TABLE.length} damo files: each setting reaches the kernel's file, or is refused by its name`, () => {
  assert(TABLE.length >= 60);
  const plain = writesOf(minimal());
  for (const [key, value, outcome] of TABLE) {
    const file = set(minimal(), key, value);
    const label = `${key}: ${JSON.stringify(value)}`;
    if (typeof outcome === "string") {
      const error = assertThrows(() => fromDamo(file, "x.yaml"), BusbarError, undefined, label);
      assertEquals(error.code, "malformed", label);
      assertStringIncludes(error.message, outcome, label);
      continue;
    }
    const writes = writesOf(file);
    const changed = [...writes].filter(([path, text]) => plain.get(path) !== text);
    assertEquals(Object.fromEntries(changed), outcome, label);
    for (const path of plain.keys()) assert(writes.has(path), `${label} drops ${path}`);
  }
});

Deno.test("a file without schemes loads: the kdamond watches and moves nothing", () => {
  const file = set(minimal(), "context.schemes", []);
  assertEquals(writesOf(file).get("schemes/nr_schemes"), "0");
  const none = set(minimal(), "context.schemes", undefined);
  assertEquals(writesOf(none).get("schemes/nr_schemes"), "0");
});

Deno.test("a node that the machine lacks is refused before anything is written, from a file as from options", () => {
  const machine = new TiersMachine();
  for (
    const file of [
      set(minimal(), "scheme.target_nid", 99),
      set(minimal(), "scheme.dests", [{ id: 99, weight: 1 }]),
    ]
  ) {
    using journal = new UndoJournal(machine, { command: "test", dryRun: () => {} });
    const error = assertThrows(() => startDamon(journal, machine, fromDamo(file, "x.yaml")), BusbarError);
    assertEquals([error.code, error.message, machine.writes], ["absent", "node 99 does not exist", []] as unknown[]);
  }
});
