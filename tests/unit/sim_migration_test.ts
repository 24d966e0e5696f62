import { assert, assertEquals } from "@std/assert";
import { parse, stringify } from "@std/yaml";
import fc from "fast-check";

import { checkIdentities, NUMA_COUNTERS } from "../../src/memory/counters.ts";
import { toDamo } from "../../src/memory/damo_file.ts";
import { fromDamo } from "../../src/memory/damo_reader.ts";
import { planDamon } from "../../src/memory/damon_plan.ts";
import { type DamonScheme, MIGRATIONS, type PartialConfig, PLACEMENTS } from "../../src/sim/config.ts";
import { KERNEL_COUNTERS } from "../../src/sim/memory/page_map.ts";
import type { RunState } from "../../src/sim/run_state.ts";
import { damonSchemes } from "../../tools/cxl_sim/damon_schemes.ts";
import { type Line, simulate } from "./sim_run.ts";

const PAGE = 4096;
/** An epoch in ns. */
const EPOCH = 100_000;

/** Node 0 has room for `local` pages, endpoint 1 for 1000. */
function tiers(
  local: number,
  migration: PartialConfig["migration"],
  more: Partial<PartialConfig> = {},
): Partial<PartialConfig> {
  return {
    topology: "(1)",
    epochNs: EPOCH,
    capacityBytes: [local * PAGE, 1000 * PAGE],
    localFillShare: 1,
    migration,
    ...more,
  };
}

/** Reads of pages, one after another, that begin at a time and lie `gap` ns apart. */
function touches(startNs: number, pages: readonly number[], gap = 10): Line[] {
  return pages.map((page, i): Line => [startNs + i * gap, "R", page * PAGE]);
}

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);
const times = (count: number, pages: readonly number[]): number[] => Array.from({ length: count }, () => pages).flat();

/** Pages by node at the end. */
function placed(state: RunState): Map<number, number> {
  return new Map([...state.pages.entries()].map(({ page, node }) => [page, node]));
}

function pagesOn(state: RunState, node: number): number[] {
  return [...placed(state)].filter(([, where]) => where === node).map(([page]) => page).sort((a, b) => a - b);
}

/** No page lost or doubled, room and counters agree. */
function assertWhole(state: RunState, pages: number): void {
  const { counters, placement, movedIn, movedOut } = state.pages;
  assertEquals(placed(state).size, pages, "each page is on one node");
  assertEquals([...state.pages.entries()].length, pages);
  const used = [...placement.used];
  for (const [node, bytes] of used.entries()) {
    assertEquals(bytes, PAGE * pagesOn(state, node).length, `bytes used on node ${node}`);
    assert(bytes <= (placement.capacity[node] ?? 0), `node ${node} is not over-full`);
  }
  const sum = (list: Float64Array): number => list.reduce((total, one) => total + one, 0);
  assertEquals([sum(movedIn), sum(movedOut)], [counters.pgmigrate_success, counters.pgmigrate_success]);
  const values = new Map(Object.entries(counters).map(([name, value]) => [name, BigInt(value)]));
  for (const { formula, difference } of checkIdentities(values)) assertEquals(difference, 0n, formula);
}

/** 100 pages touched once, then pages 0…19 hot for two epochs, then pages 60…79 hot. */
function twoPhases(epochs: number): Line[] {
  const first = [...touches(0, range(0, 100)), ...touches(2000, times(40, range(0, 20)))];
  const second = range(2, epochs).flatMap((epoch) => touches(epoch * EPOCH, times(40, range(60, 20))));
  return [...first, ...touches(EPOCH, times(40, range(0, 20))), ...second];
}

Deno.test("two phases under tpp: 4 free pages, then 2 freed and 2 promoted an epoch until the 20 hot pages are local", () => {
  // 40 local pages, 36 filled. 4 % of 40 free are 2 pages. Epoch 1 of phase 2 promotes 4, the next 8 two each.
  const state = simulate(tiers(40, { policies: ["tpp"] }, { localFillShare: 0.9 }), twoPhases(14));
  assertWhole(state, 100);
  const local = pagesOn(state, 0);
  for (const page of range(60, 20)) assert(local.includes(page), `hot page ${page} is local`);
  const { counters } = state.pages;
  assertEquals(counters.pgpromote_success, 4 + 2 * 8);
  // 16 pages before the last promotion, and 2 more that open the room once again: touched longest ago first.
  assertEquals(counters.pgdemote_kswapd, 2 * 8 + 2);
  assertEquals(local, [...range(2, 18), ...range(60, 20)], "20…35 and then 0 and 1 were demoted");
  // Hot pages that found no room: 16, 14, … in each epoch.
  assertEquals(counters.pgmigrate_fail, 16 + 14 + 12 + 10 + 8 + 6 + 4 + 2);
  assertEquals(counters.pgpromote_candidate, counters.pgpromote_success + counters.pgmigrate_fail);
});

Deno.test("two phases without a policy: nothing moves, and a run is as long as with one that has nothing to do", () => {
  const none = simulate(tiers(40, { policies: ["none"] }, { localFillShare: 0.9 }), twoPhases(4));
  assertWhole(none, 100);
  assertEquals(pagesOn(none, 0), range(0, 36));
  assertEquals(none.pages.counters.pgmigrate_success, 0);
  const idle = simulate(tiers(40, { policies: ["heat"], heatCount: 1e6 }, { localFillShare: 0.9 }), twoPhases(4));
  assertEquals(idle.replay?.events.counts.totals, none.replay?.events.counts.totals);
});

/** The file that damon_config writes for HMSDK's plan: demote 0 % after 30 s, promote from 5 %. */
function hmsdkFile(): unknown {
  const request = { demote: [{ from: 0, to: 1 }], promote: [{ from: 1, to: 0 }], cgroup: null };
  const kdamonds = planDamon(request, (node) => [{ start: BigInt(node) << 30n, end: BigInt(node + 1) << 30n }]);
  return parse(stringify(toDamo(kdamonds, "3.0")));
}

Deno.test("two phases under HMSDK's plan: cold pages leave after 30 s, hot ones come back, counted as the kernel counts DAMON", () => {
  const damon = damonSchemes(fromDamo(hmsdkFile(), "plan.yaml"), "plan.yaml");
  assertEquals(damon.map(({ action, minRatePercent, minAgeNs }) => [action, minRatePercent, minAgeNs]), [
    ["demote", 0, 30e9],
    ["promote", 5, 0],
  ]);
  // 30 s divided by 10^5: 0.3 ms, three epochs.
  const state = simulate(
    tiers(40, { policies: ["damon"], timeScale: 1e5, damon }, { localFillShare: 0.9 }),
    twoPhases(8),
  );
  assertWhole(state, 100);
  assertEquals(pagesOn(state, 0), range(60, 20), "the first hot set went, as the pages of no hot set did");
  const { counters, movedIn } = state.pages;
  // Pages 36…99 were touched once in the first epoch, 1 of 20 looks is 5 %: those that fit were promoted, and left again.
  assertEquals([counters.pgpromote_success, counters.pgdemote_kswapd], [0, 0]);
  assertEquals(counters.pgmigrate_success, (movedIn[0] ?? 0) + (movedIn[1] ?? 0));
  // 4 came in the first epoch, 16 with the 40 pages gone; all but the hot 20 of 40 + 20 left.
  assertEquals([movedIn[0], movedIn[1]], [20 + 4, 36 + 4]);
});

Deno.test("a quota of DAMON: two pages in each interval, the hottest first, ties by the lower address", () => {
  const scheme: DamonScheme = {
    action: "promote",
    targetNode: 0,
    minRatePercent: 5,
    maxRatePercent: 100,
    minAgeNs: 0,
    quotaBytes: 2 * PAGE,
    quotaIntervalNs: EPOCH,
  };
  const config = tiers(10, { policies: ["damon"], damon: [scheme] }, {
    fixed: [{ baseAddress: 0, sizeBytes: 100 * PAGE, node: 1 }],
  });
  const hot = [...times(3, [5]), ...times(9, [7]), ...times(3, [2]), 1];
  const one = simulate(config, [...touches(0, hot), [EPOCH, "R", 90 * PAGE]]);
  assertEquals(pagesOn(one, 0), [2, 7]);
});

Deno.test("a least age of DAMON: promoted when a page was accessed as often for so long; a jump begins anew", () => {
  const scheme: DamonScheme = {
    ...{ action: "promote", targetNode: 0, minRatePercent: 5, maxRatePercent: 100, minAgeNs: 2 * EPOCH },
    ...{ quotaBytes: 100 * PAGE, quotaIntervalNs: EPOCH },
  };
  const config = tiers(10, { policies: ["damon"], damon: [scheme] }, {
    fixed: [{ baseAddress: 0, sizeBytes: 100 * PAGE, node: 1 }],
  });
  // Seen at the ends of epochs 1, 2 and 3: page 1 is as old as two epochs then; page 2 went from 3 looks to 9, page 3
  // stood still in the second epoch, page 4 is seen 8, 10 and 9 times, which is about as often.
  const epoch = (number: number, counts: readonly number[]): Line[] =>
    touches(number * EPOCH, counts.flatMap((count, page) => times(count, [page])));
  const run = (epochs: number): number[] =>
    pagesOn(
      simulate(config, [
        ...[[0, 3, 3, 3, 8], [0, 3, 9, 0, 10], [0, 3, 9, 3, 9]].slice(0, epochs).flatMap((counts, i) =>
          epoch(i, counts)
        ),
        [epochs * EPOCH, "R", 90 * PAGE],
      ]),
      0,
    );
  assertEquals(run(1), []);
  assertEquals(run(2), []);
  assertEquals(run(3), [1, 4]);
});

Deno.test("heat: more than 100 accesses in an epoch promote, 100 do not", () => {
  const config = tiers(10, { policies: ["heat"] }, { fixed: [{ baseAddress: 0, sizeBytes: 100 * PAGE, node: 1 }] });
  const state = simulate(config, [...touches(0, [...times(100, [1]), ...times(101, [2])]), [EPOCH, "R", 3 * PAGE]]);
  assertEquals(pagesOn(state, 0), [2]);
});

Deno.test("frequency: 100 promote, 10 or fewer demote, counts are halved every 10 ms", () => {
  const config = tiers(10, { policies: ["frequency"] }, {
    epochNs: 1e6,
    fixed: [{ baseAddress: 0, sizeBytes: 10 * PAGE, node: 1 }],
  });
  const state = simulate(config, [...touches(0, [...times(100, [1]), ...times(99, [2]), ...times(11, [20]), 21]), [
    1e6,
    "R",
    3 * PAGE,
  ]]);
  assertEquals(pagesOn(state, 0), [1, 20]);
  // 60 in the first epoch and 60 in the second are 120; halved in between, after 10 ms, they are 90.
  const twice = (second: number): number[] =>
    pagesOn(
      simulate(config, [...touches(0, times(60, [1])), ...touches(second, times(60, [1])), [
        second + 2e6,
        "R",
        3 * PAGE,
      ]]),
      0,
    );
  assertEquals(twice(1e6), [1]);
  assertEquals(twice(1.1e7), []);
});

Deno.test("load balance: endpoints that differ by more than 20 % move 5 pages from the busier to the idler", () => {
  const config = {
    topology: "(1,2)",
    epochNs: EPOCH,
    capacityBytes: [0, 1000 * PAGE, 1000 * PAGE],
    fixed: [{ baseAddress: 0, sizeBytes: 50 * PAGE, node: 1 }, {
      baseAddress: 50 * PAGE,
      sizeBytes: 50 * PAGE,
      node: 2,
    }],
    migration: { policies: ["load-balance"] as const },
  };
  const run = (one: number, two: number): RunState =>
    simulate(config, [...touches(0, [...times(one, range(0, 10)), ...times(two, range(50, 10))]), [
      EPOCH,
      "R",
      99 * PAGE,
    ]]);
  assertEquals(pagesOn(run(10, 8), 2), [...range(50, 10), 99], "20 % exactly is no reason");
  assertEquals(pagesOn(run(10, 7), 2), [...range(0, 5), ...range(50, 10), 99]);
});

Deno.test("locality: pages that are touched go to the nearest node with room, the hottest first", () => {
  const config = tiers(2, { policies: ["locality"] }, { fixed: [{ baseAddress: 0, sizeBytes: 100 * PAGE, node: 1 }] });
  const state = simulate(config, [...touches(0, [...times(2, [1]), ...times(5, [2]), ...times(3, [3])]), [
    EPOCH,
    "R",
    9 * PAGE,
  ]]);
  assertEquals(pagesOn(state, 0), [2, 3]);
});

Deno.test("lifetime: a page that nobody touched for 1 ms is demoted, one of 0.9 ms is not; timeScale 2 halves the time", () => {
  const lines: Line[] = [[0, "R", 1 * PAGE], [150_000, "R", 2 * PAGE], [1_050_000, "R", 3 * PAGE], [
    1_100_000,
    "R",
    3 * PAGE,
  ]];
  const at = (timeScale: number): number[] =>
    pagesOn(simulate(tiers(10, { policies: ["lifetime"], timeScale }), lines), 0);
  assertEquals(at(1), [2, 3]);
  assertEquals(at(2), [3]);
});

Deno.test("hybrid: the first policy that moves a page decides; the second one moves others", () => {
  const config = tiers(10, { policies: ["hybrid", "heat", "lifetime"], heatCount: 3, lifetimeNs: EPOCH / 2 }, {
    fixed: [{ baseAddress: 0, sizeBytes: 10 * PAGE, node: 1 }],
  });
  const state = simulate(config, [[0, "R", 20 * PAGE], ...touches(90_000, times(4, [1])), [EPOCH, "R", 5 * PAGE]]);
  assertEquals(pagesOn(state, 0), [1]);
  assertEquals(state.pages.counters.pgdemote_kswapd, 1);
});

Deno.test("a move costs page bytes over the slower side and 1 us: the next access of the page waits for it", () => {
  // Page 1 goes from endpoint 2, 4 GB/s, to local memory, unlimited: 4096 / 4 + 1000 = 2024 ns.
  const config = {
    topology: "(1,2)",
    epochNs: EPOCH,
    dramLatencyNs: [100, 100] as const,
    latencyNs: [[300, 300] as const],
    bandwidthGBs: [[64, 64] as const, [4, 4] as const],
    capacityBytes: [10 * PAGE, PAGE, 10 * PAGE],
    fixed: [{ baseAddress: 0, sizeBytes: 10 * PAGE, node: 2 }],
    migration: { policies: ["heat"] as const, heatCount: 1 },
  };
  const state = simulate(config, [...touches(0, [1, 1]), [2 * EPOCH, "R", PAGE], [2 * EPOCH, "Rd", PAGE]]);
  assertEquals((state.replay?.events.counts.totals[0] ?? 0) / 1024, 2 * EPOCH + 100 + 2024 + 100);
  // The lines are read at one side and written at the other, in the bandwidth of both.
  const { rows } = state.rows;
  assertEquals(rows.reduce((sum, { readLines }) => sum + (readLines[2] ?? 0), 0), 2 + 64);
  assertEquals(rows.reduce((sum, { writeLines }) => sum + (writeLines[0] ?? 0), 0), 64);
});

Deno.test("counters are the kernel's, by name, and those of numa_stats", () => {
  for (const name of KERNEL_COUNTERS) assert(NUMA_COUNTERS.includes(name), name);
  // 3 local pages wanted local: hits. Then 2 that local memory has no room for: misses of endpoint 1.
  const { counters } = simulate(tiers(3, {}), touches(0, range(0, 5))).pages;
  assertEquals([counters.numa_hit, counters.numa_miss, counters.numa_foreign], [3, 2, 2]);
  assertEquals([counters.numa_local, counters.numa_other, counters.pgfault], [3, 2, 5]);
  const spread = simulate(tiers(9, {}, { placement: "interleave" }), touches(0, range(0, 6))).pages.counters;
  assertEquals([spread.numa_hit, spread.numa_interleave, spread.numa_local, spread.numa_other], [6, 6, 3, 3]);
});

Deno.test("no page is lost or doubled: random touches, capacities, placements and policies", () => {
  const scheme = fc.record({
    action: fc.constantFrom("promote" as const, "demote" as const),
    minRatePercent: fc.constantFrom(0, 5),
    quotaBytes: fc.constantFrom(Infinity, PAGE),
  }).map(({ action, ...rest }): DamonScheme => ({
    ...rest,
    action,
    targetNode: action === "promote" ? 0 : 2,
    maxRatePercent: 100,
    minAgeNs: 0,
    quotaIntervalNs: EPOCH,
  }));
  const steps = fc.array(fc.tuple(fc.nat(30), fc.nat(40), fc.integer({ min: 1, max: 30 })), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(
    fc.property(
      steps,
      fc.array(fc.integer({ min: 1, max: 15 }), { minLength: 3, maxLength: 3 }),
      fc.constantFrom(...PLACEMENTS.filter((one) => one !== "bind")),
      fc.uniqueArray(fc.constantFrom(...MIGRATIONS), { minLength: 1, maxLength: 3 }),
      fc.array(scheme, { minLength: 1, maxLength: 2 }),
      (list, capacity, placement, policies, damon) => {
        let now = 0;
        const lines = list.flatMap(([gap, page, count]) => touches(now += gap * 5000, times(count, [page])));
        const touched = new Set(list.map(([, page]) => page)).size;
        const state = simulate({
          topology: "(1,(2))",
          epochNs: EPOCH,
          capacityBytes: capacity.map((pages) => pages * PAGE),
          placement,
          migration: { policies, damon, heatCount: 5, hotCount: 5, coldCount: 2, timeScale: 100 },
        }, lines);
        const room = capacity.reduce((sum, one) => sum + one, 0);
        if (placed(state).size === touched) assertWhole(state, touched);
        else {
          assert(state.pages.refused > 0, "a page that is nowhere was refused");
          assert(room <= touched, `${room} pages of room, ${touched} touched`);
          assertWhole(state, placed(state).size);
        }
      },
    ),
    { numRuns: 400, seed: 21 },
  );
});
