/**
 * What a sweep found: printed, and written to files.
 * @module
 */

import { type Results, type SweepReport, sweepReport } from "../../src/sweep/mod.ts";
import { writeOutput } from "../cli/files.ts";
import { print, printJson } from "../cli/output.ts";
import { raiseExitStatus } from "../cli/run.ts";
import { sweepCsv, sweepLines } from "../render/sweep/sweep_text.ts";
import type { Sweep } from "./grid.ts";

/** What is wanted. */
export interface ShowOptions {
  readonly csv?: string | undefined;
  readonly html?: string | undefined;
  readonly svg?: string | undefined;
  readonly json?: true | undefined;
}

/** Makes the report, with the fields that were asked for besides the grid's own, and shows it. */
export async function showSweep(
  { grid, points }: Sweep,
  results: Results,
  options: ShowOptions & { readonly field?: readonly string[] | undefined },
  incomplete: boolean,
): Promise<void> {
  const fields = [...new Set([...grid.report.fields, ...options.field ?? []])];
  const asked = { ...grid, report: { ...grid.report, fields } };
  await showReport({ schema: "sweep/1", incomplete, ...sweepReport(asked, points, results) }, options);
}

/**
 * Writes the files that are wanted of a report and prints it.
 *
 * @param report with the name of its document; `incomplete` says that a signal ended the run
 */
export async function showReport(
  report: SweepReport & { readonly schema: string; readonly incomplete: boolean },
  options: ShowOptions,
): Promise<void> {
  if (report.failed > 0) raiseExitStatus("device-failed");
  if (options.csv !== undefined) writeOutput(options.csv, sweepCsv(report));
  if (options.html !== undefined || options.svg !== undefined) {
    const { sweepPage, sweepPictures } = await import("../render/sweep/sweep_page.ts");
    if (options.html !== undefined) writeOutput(options.html, await sweepPage(report));
    if (options.svg !== undefined) {
      await Deno.mkdir(options.svg, { recursive: true });
      for (const { name, svg } of await sweepPictures(report)) writeOutput(`${options.svg}/${name}.svg`, svg);
    }
  }
  if (options.json) return printJson(report);
  print(sweepLines(report).join("\n"));
}
