/**
 * Errors that the kernel counted for a function. Reading clears nothing.
 *
 * Source: Linux Documentation/ABI/testing/sysfs-bus-pci-devices-aer_stats.
 * @module
 */

import { type Fact, Unknown } from "../core/fact.ts";
import { factOf, type Host } from "../core/host.ts";

/** The files, by what they count. */
export const AER_FILES = {
  correctable: "aer_dev_correctable",
  nonfatal: "aer_dev_nonfatal",
  fatal: "aer_dev_fatal",
} as const;

/** How bad an error was. */
export type AerSeverity = keyof typeof AER_FILES;

/** Errors by their names in the kernel (`RxErr`), since the function appeared. The total is left out. */
export type AerCounts = Readonly<Record<string, bigint>>;

/**
 * The counters of a function.
 *
 * @param folder its folder in sysfs
 * @returns for each severity the counters; null where the kernel counts none for it (no AER, or AER is the firmware's)
 */
export function readAerCounts(host: Host, folder: string): Readonly<Record<AerSeverity, Fact<AerCounts>>> {
  const read = (severity: AerSeverity): Fact<AerCounts> => {
    const text = factOf(() => host.readText(`${folder}/${AER_FILES[severity]}`));
    return text === null || text instanceof Unknown ? text : parseAerCounts(text);
  };
  return { correctable: read("correctable"), nonfatal: read("nonfatal"), fatal: read("fatal") };
}

/** The lines `NAME COUNT` of one file. A line of another form makes all of it unknown. */
export function parseAerCounts(text: string): AerCounts | Unknown {
  const counts: Record<string, bigint> = {};
  for (const line of text.split("\n").filter((line) => line.trim() !== "")) {
    const [, name, count] = /^(\S+) (\d{1,20})$/.exec(line.trim()) ?? [];
    if (name === undefined || count === undefined) return new Unknown(`'${line.slice(0, 40)}' is no counter`);
    if (!name.startsWith("TOTAL_")) counts[name] = BigInt(count);
  }
  return counts;
}
