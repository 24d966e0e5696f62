/**
 * `perf mem` as a recorder: the machine is asked first, and what it lacks is named.
 * @module
 */

import { BusbarError, isBusbarError } from "../../core/error.ts";
import type { Host } from "../../core/host.ts";

const EVENT_SOURCES = "/sys/bus/event_source/devices";
const PARANOID = "/proc/sys/kernel/perf_event_paranoid";

/** The highest `perf_event_paranoid` at which an ordinary user may sample its own programs. */
const PARANOID_LIMIT = 2;

/** What perf can sample memory accesses with. */
export interface MemoryCounters {
  /** The event source, such as `cpu` or `ibs_op`. */
  readonly source: string;
}

function missing(message: string, hint: string): BusbarError {
  return new BusbarError("unsupported", message, { operation: "record with perf", hint });
}

/** The names in a folder; null when there is no such folder. Another failure is thrown: it is no answer. */
function listOrNull(host: Host, path: string): string[] | null {
  try {
    return host.list(path);
  } catch (error) {
    if (isBusbarError(error, "absent")) return null;
    throw error;
  }
}

const OTHERWISE = "record with valgrind: leave --with perf out";

/**
 * Asks whether this machine can sample the addresses of memory accesses.
 *
 * @param hasPerf whether the program perf was found
 * @param isRoot root may sample whatever the kernel's setting is
 * @throws {BusbarError} `unsupported`, naming the first thing that is missing
 */
export function checkMemoryCounters(host: Host, hasPerf: boolean, isRoot: boolean): MemoryCounters {
  if (!hasPerf) throw missing("the program perf is missing", `Debian: apt-get install linux-perf; or ${OTHERWISE}`);
  const sources = listOrNull(host, EVENT_SOURCES);
  if (sources === null) throw missing(`${EVENT_SOURCES} is missing: this kernel has no perf events`, OTHERWISE);
  const source =
    sources.find((name) =>
      /^cpu(_core)?$/.test(name) && listOrNull(host, `${EVENT_SOURCES}/${name}/events`)?.includes("mem-loads") === true
    ) ?? sources.find((name) => name === "ibs_op");
  if (source === undefined) {
    throw missing(
      `neither ${EVENT_SOURCES}/cpu/events/mem-loads nor ${EVENT_SOURCES}/ibs_op is there: no counter gives addresses`,
      `virtual machines seldom have them; ${OTHERWISE}`,
    );
  }
  if (isRoot) return { source };
  const paranoid = Number(host.readText(PARANOID));
  if (!(paranoid <= PARANOID_LIMIT)) {
    throw missing(
      `${PARANOID} is ${paranoid}: ordinary users may not sample`,
      `as root: sysctl kernel.perf_event_paranoid=${PARANOID_LIMIT}; or ${OTHERWISE}`,
    );
  }
  return { source };
}

/** The command line that samples a program. */
export function perfRecordCommand(data: string, command: readonly string[]): string[] {
  return ["perf", "mem", "record", "-o", data, "--", ...command];
}

/** The command line that prints the samples in the columns of `PERF_FIELDS`. */
export function perfScriptCommand(data: string, fields: string): string[] {
  return ["perf", "script", "-i", data, "-F", fields];
}
