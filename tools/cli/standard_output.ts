/**
 * `-` as the name of an output file: standard output then holds nothing else.
 * @module
 */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";
import { redirectText } from "./output.ts";

/** The options of all tools that name a file or folder to write. */
export const OUTPUT_OPTIONS: readonly string[] = [
  "--output",
  "--raw",
  "--save",
  "--save-map",
  "--svg",
  "--html",
  "--csv",
  "--keep-trace",
  "--timeline",
  "--latencies",
];

/**
 * Gives standard output to the file that is called `-`, if there is one: what the tool says goes to standard error.
 *
 * @throws {BusbarError} `usage` for a second one, for a folder, and together with `--json`
 */
export function giveStandardOutput(command: CommandUnknownOpts): void {
  const options = command.opts();
  const named = command.options.filter((option) =>
    OUTPUT_OPTIONS.includes(option.long ?? "") && options[option.attributeName()] === "-"
  );
  const [first, second] = named;
  if (first === undefined) return;
  const refuse = (message: string, hint: string): never => {
    throw new BusbarError("usage", message, { operation: "parse arguments", hint });
  };
  if (first.flags.includes("folder>")) refuse(`${first.long} -: standard output is no folder`, "name a folder");
  if (second !== undefined) refuse(`${first.long} - and ${second.long} -: there is one standard output`, "name a file");
  if (options["json"] === true) {
    refuse(`${first.long} - and --json: there is one standard output`, `${first.long} FILE, or without --json`);
  }
  redirectText();
}
