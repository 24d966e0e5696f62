/**
 * What DAMON was told, read back from the kernel's files.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { thisMachine } from "../../src/core/host.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { fromDamo } from "../../src/memory/damo_reader.ts";
import { kdamondWrites, startDamon } from "../../src/memory/damon.ts";
import type { Lab } from "./lab.ts";

/** A file as damo writes it, with every kind of setting that is followed: 64-bit sizes, quotas, filters, watermarks. */
const PLAN = {
  kdamonds: [{
    contexts: [{
      ops: "paddr",
      targets: [{ regions: [{ start: "4294967296", end: "4328521728" }] }],
      intervals: { sample_us: "20 ms", aggr_us: "400 ms", ops_update_us: "4 s" },
      nr_regions: { min: "10", max: "500" },
      schemes: [{
        action: "stat",
        access_pattern: {
          sz_bytes: { min: "4.000 KiB", max: "max" },
          nr_accesses: { min: "0 %", max: "50 %" },
          age: { min: "800 ms", max: "30 s" },
        },
        quotas: {
          time_ms: "10 ms",
          sz_bytes: "64.000 MiB",
          reset_interval_ms: "1 s",
          weights: {
            sz_permil: "0 %",
            nr_accesses_permil: "3.0 %",
            age_permil: "7.0 %",
          },
        },
        filters: [],
      }],
    }],
  }],
};

/** Registers the test. */
export function damonSettingsTest(lab: Lab): void {
  lab.test("every setting of a damo plan stands in sysfs as it was planned, while DAMON runs", async () => {
    const kdamonds = fromDamo(PLAN, "plan");
    const folder = await Deno.makeTempDir();
    using journal = new UndoJournal(thisMachine, { command: "test", folder: `${folder}/journals` });
    startDamon(journal, thisMachine, kdamonds, { journals: `${folder}/journals` });
    const writes = kdamonds.flatMap((kdamond, index) => kdamondWrites(kdamond, index));
    assert(writes.length > 20, String(writes.length));
    const different = writes.flatMap(({ path, text, optional }) => {
      const found = optional && !exists(path) ? text : Deno.readTextFileSync(path).trim();
      return found === text.trim() ? [] : [`${path}: ${found}, not ${text}`];
    });
    assertEquals(different, []);
    assertEquals((await Deno.readTextFile("/sys/kernel/mm/damon/admin/kdamonds/0/state")).trim(), "on");
  });
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
