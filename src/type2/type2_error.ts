/**
 * A command that a Type 2 GPU refused.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { hex } from "../core/units.ts";
import { type CommandRow, resultName, RESULTS } from "./commands.ts";

/** A result other than 0, with the command and its parameters. */
export class Type2Error extends BusbarError {
  /** CMD_RESULT. */
  readonly result: number;
  /** Its name: `INVALID_VALUE`. */
  readonly resultName: string;
  /** The command. */
  readonly command: CommandRow;

  /** Makes an error; throw it. */
  constructor(
    path: string,
    command: CommandRow,
    params: readonly bigint[],
    result: number,
    more?: string,
    hint?: string,
  ) {
    const name = resultName(result);
    const given = params.map((value) => hex(value)).join(", ");
    const title = RESULTS.find((row) => row.code === result)?.title;
    super(
      "device-failed",
      `${path}: ${command.name}(${given}) gives ${result} ${name}${title === undefined ? "" : `: ${title}`}${
        more === undefined || more === "" ? "" : `; ${more}`
      }`,
      { operation: command.name, path, hint },
    );
    this.result = result;
    this.resultName = name;
    this.command = command;
  }
}
