import { assert, assertEquals, assertThrows } from "@std/assert";
import { parse, stringify } from "@std/yaml";
import fc from "fast-check";

import { BusbarError } from "../../src/core/error.ts";
import { FaultyHost } from "../../src/core/faulty_host.ts";
import type { Host } from "../../src/core/host.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { insideCgroup, makeCgroup } from "../../src/memory/cgroup.ts";
import { toDamo } from "../../src/memory/damo_file.ts";
import { fromDamo } from "../../src/memory/damo_reader.ts";
import { damonObstacles, kdamondWrites, readDamon, startDamon } from "../../src/memory/damon.ts";
import { type DamonRequest, type Kdamond, nodeRanges, planDamon } from "../../src/memory/damon_plan.ts";
import { TiersMachine } from "./tiers_machine.ts";

const DAMON = "/sys/kernel/mm/damon/admin/kdamonds";
const BOTH: DamonRequest = { demote: [{ from: 0, to: 1 }], promote: [{ from: 1, to: 0 }], cgroup: "/hmsdk" };

function planned(request: DamonRequest = BOTH, machine: Host = new TiersMachine()): Kdamond[] {
  return planDamon(request, (node) => nodeRanges(machine, node));
}

function withJournal(host: Host, body: (journal: UndoJournal, folder: string) => void): void {
  const parent = Deno.makeTempDirSync();
  const folder = `${parent}/journals`;
  try {
    using journal = new UndoJournal(host, { command: "test", folder });
    body(journal, folder);
  } finally {
    Deno.removeSync(parent, { recursive: true });
  }
}

Deno.test("the System RAM of a node is what /proc/iomem calls so within the node's memory blocks", () => {
  const machine = new TiersMachine();
  assertEquals(nodeRanges(machine, 0), [{ start: 0x1000n, end: 0x9fc00n }, { start: 0x100000n, end: 0x7ffdf000n }]);
  assertEquals(nodeRanges(machine, 1), [{ start: 0x1_0800_0000n, end: 0x1_2000_0000n }]);
  const error = assertThrows(() => nodeRanges(machine, 7), BusbarError, "node 7 does not exist");
  assertEquals([error.code, error.hint], ["absent", "there are node 0, node 1"]);
  for (let n = 33; n < 36; n++) machine.file(`/sys/devices/system/memory/memory${n}/state`, "offline\n");
  assertThrows(() => nodeRanges(machine, 1), BusbarError, "node 1 has no System RAM");
  machine.file("/proc/iomem", "00000000-00000000 : System RAM\n");
  assertEquals(assertThrows(() => nodeRanges(machine, 0), BusbarError).code, "permission");
});

Deno.test("capacity expansion is HMSDK's: two kdamonds, demotion first, its intervals, thresholds, quotas and filters", () => {
  const [demotion, promotion] = planned();
  const [demote, promote] = [demotion?.schemes[0], promotion?.schemes[0]];
  assertEquals([demote?.action, demotion?.from, demote?.to], ["migrate_cold", 0, 1]);
  assertEquals([promote?.action, promotion?.from, promote?.to], ["migrate_hot", 1, 0]);
  // 100 ms in 2 s are 20 looks: 5 % of them is 1; 30 s are 15 aggregations.
  assertEquals([demote?.accesses, promote?.accesses], [{ min: 0n, max: 0n }, { min: 1n, max: 20n }]);
  assertEquals([demote?.age.min, promote?.age.min], [15n, 0n]);
  assertEquals([demote?.quota.timeMs, promote?.quota.timeMs], [1000, 2000]);
  assertEquals(demote?.filters, [
    { type: "memcg", matching: false, path: "/hmsdk" },
    { type: "young", matching: true },
  ]);
  assertEquals(promote?.filters.at(-1), { type: "young", matching: false });
  assertEquals(planned({ ...BOTH, cgroup: null })[0]?.schemes[0]?.filters.length, 1);
});

Deno.test("pairs and intervals that make no sense are refused", () => {
  const cases: [Partial<DamonRequest>, string][] = [
    [{ demote: [], promote: [] }, "nothing to demote and nothing to promote"],
    [{ demote: [{ from: 0, to: 0 }] }, "a node cannot give pages to itself"],
    [{ demote: [{ from: 0, to: 1 }, { from: 0, to: 1 }] }, "node 0 is the source twice"],
    [{ demote: [{ from: 0, to: 9 }] }, "node 9 does not exist"],
    [{ cgroup: "hmsdk" }, "'hmsdk' is no cgroup"],
    [{ intervals: { sampleUs: 0, aggregateUs: 1, updateUs: 1 } }, "the intervals do not fit"],
    [{ intervals: { sampleUs: 10, aggregateUs: 5, updateUs: 50 } }, "the intervals do not fit"],
  ];
  for (const [change, text] of cases) assertThrows(() => planned({ ...BOTH, ...change }), BusbarError, text);
});

Deno.test("the writes that configure a kdamond, one for each file of the kernel's documentation", () => {
  const [demote] = planned({ ...BOTH, promote: [] });
  assert(demote !== undefined);
  const context = `${DAMON}/0/contexts/0`;
  const scheme = `${context}/schemes/0`;
  assertEquals(kdamondWrites(demote, 0).map(({ path, text }) => `${path}=${text}`), [
    `${DAMON}/0/contexts/nr_contexts=1`,
    `${context}/operations=paddr`,
    `${context}/monitoring_attrs/intervals/sample_us=100000`,
    `${context}/monitoring_attrs/intervals/aggr_us=2000000`,
    `${context}/monitoring_attrs/intervals/update_us=20000000`,
    `${context}/monitoring_attrs/nr_regions/min=100`,
    `${context}/monitoring_attrs/nr_regions/max=10000`,
    `${context}/targets/nr_targets=1`,
    `${context}/targets/0/regions/nr_regions=2`,
    `${context}/targets/0/regions/0/start=4096`,
    `${context}/targets/0/regions/0/end=654336`,
    `${context}/targets/0/regions/1/start=1048576`,
    `${context}/targets/0/regions/1/end=2147348480`,
    `${context}/schemes/nr_schemes=1`,
    `${scheme}/action=migrate_cold`,
    `${scheme}/target_nid=1`,
    `${scheme}/access_pattern/sz/min=4096`,
    `${scheme}/access_pattern/sz/max=18446744073709551615`,
    `${scheme}/access_pattern/nr_accesses/min=0`,
    `${scheme}/access_pattern/nr_accesses/max=0`,
    `${scheme}/access_pattern/age/min=15`,
    `${scheme}/access_pattern/age/max=18446744073709551615`,
    `${scheme}/quotas/ms=1000`,
    `${scheme}/quotas/bytes=53687091200`,
    `${scheme}/quotas/reset_interval_ms=20000`,
    `${scheme}/quotas/weights/sz_permil=0`,
    `${scheme}/quotas/weights/nr_accesses_permil=0`,
    `${scheme}/quotas/weights/age_permil=10`,
    `${scheme}/watermarks/metric=none`,
    `${scheme}/filters/nr_filters=2`,
    `${scheme}/filters/0/type=memcg`,
    `${scheme}/filters/0/memcg_path=/hmsdk`,
    `${scheme}/filters/0/matching=N`,
    `${scheme}/filters/0/allow=N`,
    `${scheme}/filters/1/type=young`,
    `${scheme}/filters/1/matching=Y`,
    `${scheme}/filters/1/allow=N`,
  ]);
});

Deno.test("DAMON is started and taken away again; a dry run lists the same writes", () => {
  const machine = new TiersMachine();
  const said: string[] = [];
  {
    using dry = new UndoJournal(machine, { command: "test", dryRun: (line) => said.push(line) });
    startDamon(dry, machine, planned());
  }
  assertEquals(machine.writes, []);
  withJournal(machine, (journal, folder) => {
    startDamon(journal, machine, planned(), { journals: folder });
    const writes = said.map((line) => /write '(.*)' to (.*)$/.exec(line)).map((match) => `${match?.[2]}=${match?.[1]}`);
    assertEquals(writes, machine.writes);
    const status = readDamon(machine, folder);
    assertEquals([status.owner, status.kdamonds.map((one) => one.running)], ["busbar", [true, true]] as unknown[]);
    const refused = assertThrows(() => startDamon(journal, machine, planned(), { journals: folder }), BusbarError);
    assertEquals([refused.code, refused.hint], ["busy", "damon_config stop stops them"]);
  });
  assertEquals(machine.writes.slice(-3), [`${DAMON}/1/state=off`, `${DAMON}/0/state=off`, `${DAMON}/nr_kdamonds=0`]);
});

Deno.test("kdamonds of somebody else are not dropped: that write would end their session", () => {
  const machine = new TiersMachine();
  machine.writeText(`${DAMON}/nr_kdamonds`, "3");
  machine.writes.length = 0;
  withJournal(machine, (journal, folder) => {
    const error = assertThrows(
      () => startDamon(journal, machine, planned(), { journals: folder }),
      BusbarError,
      "there are 3 kdamonds already, of somebody else",
    );
    assertEquals([error.code, machine.writes], ["busy", []] as unknown[]);
    assertEquals(readDamon(machine, folder).owner, "somebody else");
    const lines: string[] = [];
    using dry = new UndoJournal(machine, { command: "test", dryRun: (line) => lines.push(line) });
    startDamon(dry, machine, planned(), { journals: folder });
    assertEquals(
      [lines[0]?.startsWith("would be refused: there are 3 kdamonds"), machine.writes],
      [true, []] as unknown[],
    );
    assert(lines.length > 20);
    startDamon(journal, machine, planned(), { journals: folder, force: true });
  });
});

Deno.test("a kernel that lacks a part says which, and is left as it was", () => {
  const old = new TiersMachine();
  old.actions = ["stat", "pageout"];
  const error = assertThrows(
    () => withJournal(old, (journal) => startDamon(journal, old, planned())),
    BusbarError,
    "does not know 'migrate_cold'",
  );
  assertEquals([error.code, error.hint], ["unsupported", "moving pages needs Linux 6.11"]);
  assertEquals(old.readText(`${DAMON}/nr_kdamonds`), "0");
  const machine = new TiersMachine();
  const absent = new BusbarError("absent", "no such file");
  const host = new FaultyHost(machine, [{ call: "writeText", path: /target_nid$/, error: absent }]);
  const lacking = assertThrows(() => withJournal(host, (journal) => startDamon(journal, host, planned())), BusbarError);
  assertEquals(lacking.code, "unsupported");
  assertEquals(machine.readText(`${DAMON}/nr_kdamonds`), "0");
  machine.remove("/sys/fs/cgroup/hmsdk");
  assertThrows(
    () => withJournal(machine, (journal) => startDamon(journal, machine, planned())),
    BusbarError,
    "no such cgroup",
  );
  machine.remove("/sys/kernel/mm/damon");
  assertThrows(() => readDamon(machine), BusbarError, "this kernel has no DAMON");
});

Deno.test("why nothing would be moved: nobody in the cgroup, one tier, the wrong direction, a full node", () => {
  const machine = new TiersMachine();
  assertEquals(damonObstacles(machine, planned()), [
    "no process is in /sys/fs/cgroup/hmsdk: nothing will be moved. damon_config run -- COMMAND puts one in",
  ]);
  machine.file("/sys/fs/cgroup/hmsdk/cgroup.events", "populated 1\n");
  assertEquals(damonObstacles(machine, planned()), []);
  const wrong = planned({ demote: [{ from: 1, to: 0 }], promote: [], cgroup: null });
  assertEquals(damonObstacles(machine, wrong), [
    "demote 1 → 0: the target is in the wrong direction: see tiering show",
  ]);
  machine.file("/sys/devices/system/node/node1/meminfo", "Node 1 MemTotal: 393216 kB\nNode 1 MemFree: 100 kB\n");
  assertEquals(damonObstacles(machine, planned()), ["node 1 is full: nothing more can go there"]);
  const cached = "Node 1 Active(file): 200000 kB\nNode 1 Inactive(file): 62144 kB\n";
  machine.file(
    "/sys/devices/system/node/node1/meminfo",
    `Node 1 MemTotal: 393216 kB\nNode 1 MemFree: 100 kB\n${cached}`,
  );
  assertEquals(damonObstacles(machine, planned()), [
    "node 1 has 100 KiB free, and 256 MiB of page cache that the kernel can give up",
  ]);
  machine.remove("/sys/devices/virtual/memory_tiering/memory_tier22");
  machine.file("/sys/devices/virtual/memory_tiering/memory_tier4/nodelist", "0-1\n");
  assertEquals(damonObstacles(machine, planned())[0], "demote 0 → 1: both nodes are in the same tier");
});

Deno.test("a cgroup is made for a command, with the memory controller, and goes with it", () => {
  const machine = new TiersMachine()
    .file("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n").file("/sys/fs/cgroup/cgroup.subtree_control", "cpu\n");
  machine.remove("/sys/fs/cgroup/hmsdk");
  withJournal(machine, (journal) => {
    assertEquals(makeCgroup(journal, machine, "/hmsdk"), "/sys/fs/cgroup/hmsdk");
    assertEquals(insideCgroup("/sys/fs/cgroup/hmsdk", ["true"]).slice(3), ["/sys/fs/cgroup/hmsdk", "true"]);
  });
  assertEquals(machine.writes, [
    "/sys/fs/cgroup/cgroup.subtree_control=+memory",
    "mkdir /sys/fs/cgroup/hmsdk",
    "rmdir /sys/fs/cgroup/hmsdk",
    "/sys/fs/cgroup/cgroup.subtree_control=-memory",
  ]);
  machine.file("/proc/self/mountinfo", "");
  assertThrows(() => withJournal(machine, (journal) => makeCgroup(journal, machine, "/x")), BusbarError, "not mounted");
});

Deno.test("a damo file of version 2.4 has HMSDK's form, word for word", () => {
  const [demote] = planned({ demote: [{ from: 0, to: 1 }], promote: [], cgroup: "/hmsdk" });
  assert(demote !== undefined);
  const made = { ...demote, regions: [{ start: 4_294_967_296n, end: 8_589_934_592n }] };
  // The example of the format's description.
  const expected = parse(`
kdamonds:
- state: null
  pid: null
  contexts:
  - ops: paddr
    targets:
    - pid: null
      regions:
      - {start: "4,294,967,296", end: "8,589,934,592"}
    intervals: {sample_us: 100 ms, aggr_us: 2 s, ops_update_us: 20 s}
    nr_regions: {min: "100", max: "10,000"}
    schemes:
    - action: migrate_cold
      target_nid: 1
      access_pattern:
        sz_bytes: {min: 4.000 KiB, max: max}
        nr_accesses: {min: 0 %, max: 0 %}
        age: {min: 30 s, max: max}
      apply_interval_us: 0 ns
      quotas:
        time_ms: 1 s
        sz_bytes: 50.000 GiB
        reset_interval_ms: 20 s
        goals: []
        effective_sz_bytes: 0 B
        weights: {sz_permil: 0 %, nr_accesses_permil: 0 %, age_permil: 1 %}
      watermarks: {metric: none, interval_us: 0 ns, high_permil: 0 %, mid_permil: 0 %, low_permil: 0 %}
      filters:
      - {filter_type: memcg, matching: false, memcg_path: /hmsdk}
      - {filter_type: young, matching: true}
`);
  assertEquals(toDamo([made]), expected);
});

Deno.test("what is written is read back as it was, in both versions and through YAML", () => {
  const addresses = fc.bigInt({ min: 0n, max: 1n << 52n });
  const requests = fc.record({
    start: addresses,
    size: addresses.filter((size) => size > 0n),
    looks: fc.integer({ min: 1, max: 50 }),
    sampleUs: fc.integer({ min: 1, max: 1_000_000 }),
    coldAgeUs: fc.integer({ min: 0, max: 100_000_000 }),
    global: fc.boolean(),
    schema: fc.constantFrom("2.4" as const, "3.0" as const),
  });
  fc.assert(
    fc.property(requests, ({ start, size, looks, sampleUs, coldAgeUs, global, schema }) => {
      const aggregateUs = sampleUs * looks;
      const kdamonds = planDamon({
        ...BOTH,
        cgroup: global ? null : "/a b",
        intervals: { sampleUs, aggregateUs, updateUs: 10 * aggregateUs },
        coldAgeUs,
      }, () => [{ start, end: start + size }]);
      const read = fromDamo(parse(stringify(toDamo(kdamonds, schema))), "x.yaml");
      assertEquals(read, kdamonds.map((one) => ({ ...one, from: null })));
    }),
    { numRuns: 50 },
  );
});

Deno.test("a damo file that busbar cannot follow is refused with the place", () => {
  const change = (edit: (file: string) => string): unknown => parse(edit(stringify(toDamo(planned()))));
  const cases: [unknown, string][] = [
    [null, "x.yaml: the file: it is no object"],
    [{}, "x.yaml: kdamonds: it is missing"],
    [{ kdamonds: [] }, "x.yaml: kdamonds: it is empty"],
    [change((file) => file.replace("paddr", "vaddr")), "contexts[0].ops: busbar watches physical memory"],
    [change((file) => file.replace("migrate_cold", "pageout")), "schemes[0].action: busbar does migrate_cold"],
    [
      change((file) => file.replace("ops: paddr", "ops: paddr\n        spped: 3")),
      "kdamonds[0].contexts[0].spped: busbar does not know this setting",
    ],
    [change((file) => file.replace("50.000 GiB", "1.5GB")), 'quotas.sz_bytes: "1.5GB" is no value for it'],
    [change((file) => file.replace("sample_us: 100 ms", "sample_us: fast")), "intervals.sample_us"],
    [
      change((file) => file.replace("filter_type: young", "filter_type: target")),
      "filters[1]: busbar knows filters of type",
    ],
  ];
  for (const [data, text] of cases) assertThrows(() => fromDamo(data, "x.yaml"), BusbarError, text);
});
