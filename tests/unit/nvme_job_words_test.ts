import { assertEquals } from "@std/assert";

import { NVME_JOB_WORDS, NVME_ORDERS, NVME_STATE_WORDS } from "../../ffi/nvme_job.ts";
import { HISTOGRAM_BINS } from "../../src/core/histogram.ts";

const HEADER = Deno.readTextFileSync(new URL("../../csrc/busbar.h", import.meta.url));

/** The members of an enumeration of the header, in order. */
function members(name: string): string[] {
  const body = new RegExp(`enum ${name} \\{([^}]*)\\}`).exec(HEADER)?.[1]?.replace(/\/\*[\s\S]*?\*\//g, "") ?? "";
  return body.split(",").map((one) => one.trim()).filter((one) => one !== "");
}

Deno.test("the words that a job is made of are the header's, in its order", () => {
  assertEquals(members("bb_nvme_job_word"), [
    ...NVME_JOB_WORDS.map((word) => `BB_NVME_JOB_${word}`),
    "BB_NVME_JOB_WORDS",
  ]);
  assertEquals(members("bb_nvme_order"), NVME_ORDERS.map((word) => `BB_NVME_ORDER_${word}`));
  assertEquals(members("bb_nvme_state_word"), [
    ...NVME_STATE_WORDS.map((word) => `BB_NVME_STATE_${word}`),
    "BB_NVME_JOB_STATE_WORDS",
  ]);
  assertEquals(members("bb_nvme_job_end"), ["BB_NVME_JOB_RUNS", "BB_NVME_JOB_ENDED", "BB_NVME_JOB_HANDED"]);
});

Deno.test("C counts in as many bins as the histogram has", () => {
  assertEquals(/BB_HISTOGRAM_BINS = (\d+)/.exec(HEADER)?.[1], String(HISTOGRAM_BINS));
});
