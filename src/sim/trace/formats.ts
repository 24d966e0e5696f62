/**
 * The text forms of a trace, and how they are told apart.
 * @module
 */

import { ALLOCATION_LOG } from "./allocation_log.ts";
import { CSV, JSON_LINES } from "./csv.ts";
import type { TextFormat } from "./format.ts";
import { DRMEMTRACE, LACKEY } from "./instruction_forms.ts";
import { PERF } from "./perf_script.ts";
import { DRAMSIM3, GEM5, RAMULATOR2 } from "./simulator_forms.ts";

/** Every text form. The order decides only what `recogniseFormat` asks first. */
export const TEXT_FORMATS: readonly TextFormat[] = [
  JSON_LINES,
  GEM5,
  CSV,
  LACKEY,
  DRMEMTRACE,
  RAMULATOR2,
  DRAMSIM3,
  ALLOCATION_LOG,
  PERF,
];

/** The name of the binary form beside those of {@linkcode TEXT_FORMATS}. */
export const BINARY_FORMAT = "binary";

/** The form with this name, or null. */
export function formatByName(name: string): TextFormat | null {
  return TEXT_FORMATS.find((format) => format.name === name) ?? null;
}

/** The form of a text by its first lines, or null when none knows them. Valgrind's `==pid==` lines say nothing. */
export function recogniseFormat(lines: readonly string[]): TextFormat | null {
  for (const line of lines) {
    if (line.trim() === "" || line.startsWith("#") || line.startsWith("==")) continue;
    return TEXT_FORMATS.find((format) => format.recognise(line)) ?? null;
  }
  return null;
}
