import { assertEquals, assertStringIncludes } from "@std/assert";

import { Deadline } from "../../src/core/deadline.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { createEquivalents, daxEquivalents, destroyEquivalents } from "../../src/cxl/equivalents.ts";
import { planRegion } from "../../src/cxl/plan.ts";
import { createRegion } from "../../src/cxl/region.ts";
import { daxDevicesNamed, readCxlOverview } from "../../src/cxl/overview.ts";
import { readCxl } from "../../src/cxl/topology.ts";
import { readCounters } from "../../src/memory/counters.ts";
import { readDamon, startDamon } from "../../src/memory/damon.ts";
import { nodeRanges, planDamon } from "../../src/memory/damon_plan.ts";
import { readTierState } from "../../src/memory/tiers.ts";
import { cxlJson, cxlLines, cxlSchema } from "../../tools/render/cxl/cxl_region.ts";
import { damonJson, damonLines, damonSchema } from "../../tools/render/memory/damon_config.ts";
import { columnJson, numaStatsSchema } from "../../tools/render/memory/numa_stats.ts";
import { tieringSchema, tierJson, tierLines } from "../../tools/render/memory/tiering.ts";
import { CxlMachine } from "./cxl_machine.ts";
import { schemaErrors } from "./schema.ts";
import { TiersMachine } from "./tiers_machine.ts";

/** What a reader of the JSON gets: no bigint, no undefined. */
function asRead(document: unknown): unknown {
  return JSON.parse(JSON.stringify(document));
}

Deno.test("cxl_region --json fits its schema with and without a region, and says what the text says", async () => {
  const machine = new CxlMachine();
  assertEquals(schemaErrors(cxlSchema(), asRead(cxlJson(readCxlOverview(machine)))), "");
  const plan = planRegion(readCxl(machine), { memdevs: ["mem0"] });
  const folder = await Deno.makeTempDir();
  {
    using journal = new UndoJournal(machine, { command: "test", folder: `${folder}/journals` });
    await createRegion(journal, machine, plan, { deadline: Deadline.after(5000), use: "system-ram" });
    journal.keepChanges();
  }
  await Deno.remove(folder, { recursive: true });
  const state = readCxlOverview(machine);
  assertEquals(schemaErrors(cxlSchema(), asRead(cxlJson(state))), "");
  const text = cxlLines(state).join("\n");
  assertStringIncludes(text, "region0  ram, 256 MiB at 0x390000000  in decoder0.2 on mem0  enabled  dax0.0");
  assertStringIncludes(text, "2 of 2 blocks of 128 MiB online (Movable)");
  assertEquals(daxDevicesNamed(machine, "region0").map((device) => device.name), ["dax0.0"]);
  assertEquals(createEquivalents(plan, "system-ram"), [
    "cxl create-region -d decoder0.2 -t ram -w 1 -g 256 -s 0x10000000 -m mem0",
    "daxctl online-memory dax0.0",
  ]);
  assertEquals(destroyEquivalents("region0", ["dax0.0"]).at(-1), "cxl destroy-region region0");
  assertEquals(daxEquivalents("dax0.0", "system-ram"), ["daxctl reconfigure-device --mode=system-ram dax0.0"]);
});

Deno.test("tiering, damon_config and numa_stats --json fit their schemas", async () => {
  const machine = new TiersMachine().file("/proc/vmstat", "numa_hit 10\n");
  assertEquals(schemaErrors(tieringSchema(), asRead(tierJson(readTierState(machine)))), "");
  assertStringIncludes(tierLines(readTierState(machine)).join("\n"), "demotes to node 1");
  const column = { title: "since boot", values: readCounters(machine), durationMs: null, exitStatus: null };
  const stats = { schema: "numa_stats/1", runs: [columnJson(column)] };
  assertEquals(schemaErrors(numaStatsSchema(), asRead(stats)), "");
  const folder = await Deno.makeTempDir();
  {
    using journal = new UndoJournal(machine, { command: "test", folder: `${folder}/journals` });
    const request = { demote: [{ from: 0, to: 1 }], promote: [], cgroup: null };
    startDamon(journal, machine, planDamon(request, (node) => nodeRanges(machine, node)));
    const status = readDamon(machine, `${folder}/journals`);
    assertEquals(schemaErrors(damonSchema(), asRead(damonJson(status, ["a reason"]))), "");
    assertStringIncludes(damonLines(status, []).join("\n"), "migrate_cold to node 1");
  }
  await Deno.remove(folder, { recursive: true });
});
