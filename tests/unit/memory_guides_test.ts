/** What the memory guides do by hand: saved counters, memory split over kdamonds, what a kernel lacks. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { checkIdentities, countedBetween } from "../../src/memory/counters.ts";
import { parseCounters } from "../../src/memory/counters_file.ts";
import { planDamon } from "../../src/memory/damon_plan.ts";
import { examineMemory, MEMORY_OPTIONS, readKernelConfig } from "../../src/memory/doctor.ts";
import { counterTable } from "../../tools/render/memory/numa_stats.ts";
import { MadeUpMachine } from "./machines.ts";

/** Numbers of the guide for HMSDK in QEMU, four runs. */
const GUIDE = `| Metric             | GUPS 1G | GUPS 5G | GUPS 1G with 6000M memhog | GUPS 7G |
| :----------------- | :------ | :------ | :------------------------ | :------ |
| **numa_hit**       | 285190  | 1340912 | 309789                    | 1945183 |
| **numa_miss**      | 0       | 0       | 5848                      | 37208   |
| **numa_foreign**   | 0       | 0       | 5848                      | 37208   |
| **numa_local**     | 285190  | 1340912 | 285244                    | 1887016 |
| **numa_other**     | 0       | 0       | 30393                     | 95375   |
| **pgpromote_success** | 29   | 0       | 5470                      | 45657   |
`;

function broken(text: string): string[] {
  return parseCounters(text, "x").flatMap(({ title, values }) =>
    checkIdentities(values).flatMap(({ formula, difference }) =>
      difference === 0n ? [] : [`${title}: ${formula} ${difference}`]
    )
  );
}

Deno.test("the guide's four columns of counters are read and obey the identities; a changed number is found", () => {
  assertEquals(parseCounters(GUIDE, "x").map(({ title }) => title), [
    ...["GUPS 1G", "GUPS 5G", "GUPS 1G with 6000M memhog", "GUPS 7G"],
  ]);
  assertEquals(parseCounters(GUIDE, "x")[3]?.values.get("pgpromote_success"), 45_657n);
  assertEquals(broken(GUIDE), []);
  assertEquals(broken(GUIDE.replace("1340912 | 285244", "1340912 | 285245")), [
    "GUPS 1G with 6000M memhog: numa_hit + numa_miss = numa_local + numa_other -1",
  ]);
});

Deno.test("what numa_stats prints in each of its forms reads back as the same counters", () => {
  const columns = parseCounters(GUIDE, "x").map(({ title, values }) => ({
    title,
    values,
    durationMs: null,
    exitStatus: null,
  }));
  for (const format of ["text", "markdown", "csv"] as const) {
    const again = parseCounters(counterTable(columns, format).join("\n"), "x");
    assertEquals(
      again.map(({ title, values }) => [title, [...values]]),
      columns.map(({ title, values }) => [title, [...values]]),
      format,
    );
  }
});

Deno.test("two copies of /proc/vmstat: what was counted between them; a counter that wraps", () => {
  const [before] = parseCounters("nr_free_pages 5\nnuma_hit 18446744073709551615\nnuma_miss 1\n", "a");
  const [after] = parseCounters("nr_free_pages 9\nnuma_hit 4\nnuma_miss 3\n", "b");
  assert(before !== undefined && after !== undefined);
  assertEquals([...countedBetween(before.values, after.values)], [["nr_free_pages", 4n], ["numa_hit", 5n], [
    "numa_miss",
    2n,
  ]]);
});

Deno.test("a line that is no counter is an error with its number, and nothing is left out", () => {
  for (
    const [text, where] of [
      ["", "x: it is empty"],
      ["numa_hit 1\nnuma_miss many\n", "x:2"],
      ["numa_hit 1\nnuma_hit 2\n", "x:2: numa_hit stands there twice"],
      ["| a | b | c |\n| numa_hit | 1 |\n", "x:2: numa_hit has 1 values"],
      ["Numa Hit 5", "x"],
      ["numa_hit -1", "x"],
    ] as const
  ) {
    const error = assertThrows(() => parseCounters(text, "x"), BusbarError);
    assertEquals(error.code, "malformed", text);
    assertStringIncludes(error.message, where);
  }
});

const GIB = 1n << 30n;

Deno.test("memory is split over kdamonds of at most a size, in order and without a gap; a limit that fits nothing is refused", () => {
  const ranges = (node: number) =>
    node === 0
      ? [{ start: 0n, end: 3n * GIB }, { start: 4n * GIB, end: 6n * GIB }]
      : [{ start: 8n * GIB, end: 9n * GIB }];
  const plan = (regionMaxBytes?: bigint) =>
    planDamon({ demote: [{ from: 0, to: 1 }], promote: [{ from: 1, to: 0 }], cgroup: null, regionMaxBytes }, ranges);
  assertEquals(plan().map(({ regions }) => regions.length), [2, 1]);
  const split = plan(2n * GIB);
  assertEquals(split.map(({ from, regions }) => [from, regions.map(({ start, end }) => [start / GIB, end / GIB])]), [
    [0, [[0n, 2n]]],
    [0, [[2n, 3n], [4n, 5n]]],
    [0, [[5n, 6n]]],
    [1, [[8n, 9n]]],
  ]);
  for (const wrong of [4096n, GIB + 1n, 1n << 20n]) {
    assertEquals(assertThrows(() => plan(wrong), BusbarError).code, "usage", String(wrong));
  }
});

Deno.test("doctor memory: in the kernel, a module that is not loaded, missing, not known; seen beats written", async () => {
  const machine = new MadeUpMachine();
  const look = async (): Promise<Map<string, string>> => {
    const { text, path } = await readKernelConfig(machine);
    return new Map(examineMemory(machine, text, path).map(({ name, result }) => [name, result]));
  };
  const blind = await look();
  assertEquals(blind.get("CONFIG_CXL_BUS"), "unknown");
  assertEquals(blind.get("CONFIG_MEMCG"), "unknown");
  assertEquals(blind.get("cgroup memory controller"), "bad");
  machine.file("/proc/sys/kernel/osrelease", "6.12.1\n").file(
    "/boot/config-6.12.1",
    "CONFIG_CXL_BUS=m\nCONFIG_MEMCG=y\n# CONFIG_DAMON is not set\n",
  ).file("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n").file("/proc/mounts", "none /d debugfs rw 0 0\n");
  const seen = await look();
  assertEquals(
    ["CONFIG_CXL_BUS", "CONFIG_MEMCG", "CONFIG_DAMON", "cgroup memory controller", "debugfs"].map((name) =>
      seen.get(name)
    ),
    [
      ...["limited", "good", "bad", "good", "good"],
    ],
  );
  machine.file("/sys/bus/cxl/devices/.folder", "");
  assertEquals((await look()).get("CONFIG_CXL_BUS"), "good");
  assertEquals((await look()).size, MEMORY_OPTIONS.length + 4);
});
