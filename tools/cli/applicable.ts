/**
 * Options that mean something only together with others: given without them, they are refused and not ignored.
 * @module
 */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";

/**
 * Refuses options that have no effect here.
 *
 * @param command the command that was called: it knows which options were typed
 * @param isApplicable whether they have an effect
 * @param flags their long names, as in `--count`
 * @param where what they belong to: `--interval`, or `bench`
 * @throws {BusbarError} `usage` naming the first that was typed
 */
export function onlyWith(
  command: CommandUnknownOpts,
  isApplicable: boolean,
  flags: readonly string[],
  where: string,
): void {
  if (isApplicable) return;
  for (const flag of flags) {
    const option = command.options.find(({ long }) => long === flag);
    if (option === undefined) throw new BusbarError("bug", `${command.name()} has no option ${flag}`);
    if (command.getOptionValueSource(option.attributeName()) !== "cli") continue;
    throw new BusbarError("usage", `${flag} has no effect here: it belongs to ${where}`, {
      operation: "parse arguments",
      hint: `leave ${flag} out, or use it with ${where}`,
    });
  }
}
