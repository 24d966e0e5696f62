import { assert, assertEquals, assertThrows } from "@std/assert";

import { BusbarError, errnoError } from "../../src/core/error.ts";
import { FaultyHost } from "../../src/core/faulty_host.ts";
import type { Host } from "../../src/core/host.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import {
  checkIdentities,
  countedBetween,
  counterNote,
  NUMA_COUNTERS,
  readCounters,
} from "../../src/memory/counters.ts";
import { applyProfile, BALANCING_PROFILE, checkProfile, parseList, readTierState } from "../../src/memory/tiers.ts";
import { counterTable } from "../../tools/render/memory/numa_stats.ts";
import { TiersMachine } from "./tiers_machine.ts";

/** The guide's JSON, word for word. */
const HMSDK = {
  numa_balancing: {
    numa_balancing: "2",
    demotion_enabled: "true",
    zone_reclaim_mode: "1",
    lru_gen_enabled: "0x0000",
    hot_threshold_ms: "1000",
    scan_delay_ms: "1000",
    scan_period_max_ms: "1100",
    scan_period_min_ms: "1000",
    scan_size_mb: "1024",
  },
};

Deno.test("tiers, demotion targets and what keeps pages from moving are read", () => {
  const machine = new TiersMachine();
  const state = readTierState(machine);
  assertEquals(state.tiers.map((tier) => [tier.name, tier.nodes]), [["memory_tier4", [0]], ["memory_tier22", [1]]]);
  assertEquals([...state.demotion], [[0, [1]], [1, []]]);
  assertEquals(state.nodes.map((node) => [node.id, node.cpus, node.distances.get(1)]), [[0, "0-1", 40], [1, "", 10]]);
  assertEquals(state.obstacles, [
    "demotion_enabled is false: reclaim demotes nothing",
    "numa_balancing is 0: nothing is promoted; 2 promotes hot pages",
  ]);
  machine.remove("/sys/devices/virtual/memory_tiering/memory_tier22");
  machine.file("/sys/devices/virtual/memory_tiering/memory_tier4/nodelist", "0-1\n");
  assert(readTierState(machine).obstacles[0]?.startsWith("all nodes are in one tier (memory_tier4)"));
  assertEquals([parseList("0-2,5\n"), parseList("\n"), parseList("x")], [[0, 1, 2, 5], [], []]);
});

Deno.test("HMSDK's JSON is a profile as it stands; so is a flat one; it is the profile called balancing", () => {
  assertEquals(new Map([...checkProfile(HMSDK, "a.json")].sort()), new Map([...BALANCING_PROFILE].sort()));
  assertEquals([...checkProfile({ numa_balancing: 2, demotion_enabled: true, lru_gen_enabled: 7 }, "b.yaml")], [
    ["numa_balancing", "2"],
    ["demotion_enabled", "true"],
    ["lru_gen_enabled", "0x0007"],
  ]);
});

Deno.test("every mistake in a profile is named, with the setting that was probably meant", () => {
  const error = assertThrows(
    () =>
      checkProfile(
        { demotion_enable: true, numa_balancing: 9, zone_reclaim_mode: -1, scan_size_mb: "1.5GB" },
        "p.yaml",
      ),
    BusbarError,
  );
  assertEquals([error.code, error.message], [
    "malformed",
    "p.yaml: 'demotion_enable' is no setting; did you mean 'demotion_enabled'?; numa_balancing: 9 is no whole number up " +
    'to 3; zone_reclaim_mode: -1 is no whole number up to 7; scan_size_mb: "1.5GB" is no whole number',
  ]);
  for (const nothing of [null, [], "text", {}, { numa_balancing: {} }]) {
    assertThrows(() => checkProfile(nothing, "p.yaml"), BusbarError, "p.yaml: ");
  }
});

function withJournal(host: Host, body: (journal: UndoJournal) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    using journal = new UndoJournal(host, { command: "test", folder: `${folder}/journals` });
    body(journal);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("a profile is applied as a whole and put back in reverse order; what has its value already is left alone", () => {
  const machine = new TiersMachine();
  const before = readTierState(machine).settings.map(({ value }) => value);
  withJournal(machine, (journal) => {
    const changed = applyProfile(journal, machine, checkProfile(HMSDK, "a.json"));
    assertEquals(changed, [
      ...["scan_period_max_ms", "scan_size_mb", "lru_gen_enabled", "zone_reclaim_mode", "demotion_enabled"],
      "numa_balancing",
    ]);
    assertEquals(readTierState(machine).obstacles, []);
  });
  assertEquals(readTierState(machine).settings.map(({ value }) => value), before);
  assertEquals(machine.writes[0]?.endsWith("scan_period_max_ms=1100"), true);
  assertEquals(machine.writes.at(-1)?.endsWith("scan_period_max_ms=60000"), true);
});

Deno.test("a setting that the kernel lacks or refuses leaves everything as it was", () => {
  const machine = new TiersMachine();
  machine.remove("/sys/kernel/debug");
  const lacking = assertThrows(
    () => withJournal(machine, (journal) => void applyProfile(journal, machine, BALANCING_PROFILE)),
    BusbarError,
    "debugfs is not mounted",
  );
  assertEquals([lacking.code, machine.writes], ["absent", []] as unknown[]);
  const lines: string[] = [];
  using dry = new UndoJournal(machine, { command: "test", dryRun: (line) => lines.push(line) });
  applyProfile(dry, machine, BALANCING_PROFILE);
  assertEquals(lines.filter((line) => line.startsWith("would be refused: ")).length, 1);
  for (const name of BALANCING_PROFILE.keys()) assert(lines.some((line) => line.startsWith(`${name}: `)), name);
  assertEquals(machine.writes, []);
  const whole = new TiersMachine();
  const path = "/sys/kernel/mm/numa/demotion_enabled";
  const host = new FaultyHost(whole, [{ call: "writeText", path, error: errnoError(22, "write", { path }) }]);
  const before = readTierState(whole).settings.map(({ value }) => value);
  assertThrows(
    () => withJournal(host, (journal) => void applyProfile(journal, host, BALANCING_PROFILE)),
    BusbarError,
    "EINVAL",
  );
  assertEquals(readTierState(whole).settings.map(({ value }) => value), before);
});

Deno.test("counters: a missing one is null and not 0, differences wrap at 64 bits, identities are checked", () => {
  const machine = new TiersMachine()
    .file(
      "/proc/vmstat",
      "numa_hit 10\nnuma_miss 2\nnuma_foreign 2\nnuma_local 11\nnuma_other 1\npgmigrate_success 5\n",
    );
  const before = readCounters(machine);
  assertEquals([before.size, before.get("numa_hit"), before.get("pgalloc_dma")], [25, 10n, null]);
  assertEquals([...before.keys()], [...NUMA_COUNTERS]);
  const wrapped = new Map([...before, ["numa_hit", 0xffff_ffff_ffff_fffen]] as [string, bigint | null][]);
  const counted = countedBetween(wrapped, before);
  assertEquals([counted.get("numa_hit"), counted.get("numa_miss"), counted.get("pgalloc_dma")], [12n, 0n, null]);
  assertEquals(checkIdentities(before).map((one) => one.difference), [0n, 0n]);
  assertEquals(checkIdentities(counted).map((one) => one.difference), [12n, 0n]);
  assert(counterNote(before)?.includes("DAMON"));
  for (const demoted of ["pgdemote_kswapd", "pgdemote_proactive"]) {
    assertEquals(counterNote(new Map([["pgmigrate_success", 5n], [demoted, 5n]])), null);
  }
  machine.file("/sys/devices/system/node/node1/vmstat", "pgpromote_success 3\n")
    .file("/sys/devices/system/node/node1/numastat", "numa_hit 7\ninterleave_hit 1\nlocal_node 7\nother_node 0\n");
  const node = readCounters(machine, 1);
  assertEquals(["numa_hit", "numa_local", "pgpromote_success", "pgfault"].map((name) => node.get(name)), [
    7n,
    7n,
    3n,
    null,
  ]);
  assertThrows(() => readCounters(machine, 9), BusbarError, "node9");
});

Deno.test("the table of counters: aligned text, markdown, CSV", () => {
  const run = (title: string, value: bigint | null) => ({
    title,
    values: new Map([["numa_hit", value]]),
    durationMs: 1,
    exitStatus: 0,
  });
  const columns = [run("a|b", 12n), run('x, "y"', null)];
  assertEquals(counterTable(columns, "text"), ['counter   a|b  x, "y"', "numa_hit   12       -"]);
  assertEquals(counterTable(columns, "csv"), ['counter,a|b,"x, ""y"""', "numa_hit,12,-"]);
  assertEquals(counterTable(columns, "markdown")[0]?.includes("a\\|b"), true);
});
