/**
 * `config DEVICE` without more words: everything that the function says, and its errors over time.
 * @module
 */

import { pause } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import type { Host } from "../../src/core/host.ts";
import { machineOf } from "../../ffi/machine.ts";
import { type Locator } from "../../src/core/locator.ts";
import { reportConfig } from "../../src/pci/config_report.ts";
import { errorChanges, type ErrorSample, readErrors } from "../../src/pci/error_watch.ts";
import { type PciFunction, readPciFunction } from "../../src/pci/function.ts";
import { pciLocatorOf } from "../../src/pci/kernel_names.ts";
import { openConfig } from "../../src/pci/register_access.ts";
import { note, print, printJson, printJsonLine } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { errorChangeLine, errorLines, errorsJson, reportJson, reportLines } from "../render/pci/config_report.ts";

/** How it is shown. */
export interface ShowOptions {
  /** Only errors. */
  readonly errors?: true | undefined;
  /** Again and again, in milliseconds. */
  readonly watch?: number | true | undefined;
  /** Most looks. */
  readonly count?: number | undefined;
  /** As JSON. */
  readonly json?: true | undefined;
}

/** Shows a function's configuration space, or its errors. */
export async function showConfig(locator: Locator, options: ShowOptions): Promise<void> {
  if (options.watch !== undefined) return await watchErrors(locator, options);
  if (options.errors) {
    const { fn, sample } = look(locator);
    if (options.json) return printJson(errorsJson(fn, new Date(), sample, []));
    return print(errorLines(fn, sample).join("\n"));
  }
  using config = openConfig(locator);
  for (const problem of config.problems) note(`config: ${problem}`);
  const fn = { ...config.function, config: config.bytes };
  const report = reportConfig(config.bytes);
  for (const problem of report.problems) note(`config: ${problem}`);
  const host = hostOf(locator);
  if (options.json) return printJson(reportJson(fn, report, host === null ? null : readErrors(host, fn)));
  print(reportLines(fn, report).join("\n"));
}

/** Where the kernel counts errors: not for recordings and software devices. */
function hostOf(locator: Locator): Host | null {
  return locator.kind === "soft" || locator.kind === "file" ? null : machineOf(locator).host;
}

function look(locator: Locator): { fn: PciFunction; sample: ErrorSample } {
  const host = hostOf(locator);
  const named = host === null ? locator : pciLocatorOf(locator, host, "config");
  if (host === null || named.kind !== "pci") {
    throw new BusbarError("usage", `'${locator.text}': errors are counted by a kernel`, {
      operation: "config",
      path: locator.text,
      hint: "config 0000:01:00.0 --errors",
    });
  }
  const fn = readPciFunction(host, named.address);
  return { fn, sample: readErrors(host, fn) };
}

async function watchErrors(locator: Locator, options: ShowOptions): Promise<void> {
  let { fn, sample: before } = look(locator);
  if (options.json) printJsonLine(errorsJson(fn, new Date(), before, []));
  else print(errorLines(fn, before).join("\n"));
  for (let n = 1; n < (options.count ?? Infinity); n++) {
    await pause(options.watch === true || options.watch === undefined ? 1000 : options.watch, interruption);
    const now = look(locator);
    const time = new Date();
    const changes = errorChanges(before, now.sample);
    [fn, before] = [now.fn, now.sample];
    if (options.json) printJsonLine(errorsJson(fn, time, now.sample, changes));
    else for (const change of changes) print(errorChangeLine(time, change));
  }
}
