/**
 * How much is logged on standard error: `SPDLOG_LEVEL`, as CXLMemSim's users set it.
 * @module
 */

import { note } from "../cli/output.ts";

const LEVELS = ["trace", "debug", "info", "warn", "err", "critical", "off"] as const;

/** Other spellings of the levels. */
const SAME: Readonly<Record<string, string>> = { warning: "warn", error: "err" };

/** The log of a run. */
export class Log {
  readonly #level: number;

  /** Reads the level from the environment; `info` when it is not set. */
  constructor(level: string = Deno.env.get("SPDLOG_LEVEL") ?? "info") {
    const word = level.toLowerCase();
    const index = LEVELS.findIndex((one) => one === (SAME[word] ?? word));
    this.#level = index < 0 ? LEVELS.indexOf("info") : index;
    if (index < 0) note(`cxl_sim: SPDLOG_LEVEL=${level} is none of ${LEVELS.join(", ")}: info is used`);
  }

  /** Says something of use to everybody. */
  info(text: string): void {
    if (this.#level <= LEVELS.indexOf("info")) note(`cxl_sim: ${text}`);
  }

  /** Says a detail. */
  debug(text: string): void {
    if (this.#level <= LEVELS.indexOf("debug")) note(`cxl_sim: ${text}`);
  }
}
