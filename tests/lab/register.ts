/**
 * Registers tests at the place where their authors wrote them.
 * @module
 */

import { Script } from "node:vm";

/** What the script below holds before its call of `Deno.test`. */
const BEFORE_CALL = "(register, test) => { ";

/**
 * Registers a test as `Deno.test` does, but at another place than the line that calls it.
 *
 * Deno says of a test that it is where `Deno.test` was called, in the report of a failure and in JUnit's. That would be
 * one and the same line for all lab tests. So the call is made by a script that has the name and the line of that place.
 * One letter of the name is written as `%xx`: still the same file, but not the one whose source map Deno knows, which it
 * would apply to a line that is right already.
 *
 * @param where a line of a stack, such as `at file:///checkout/tests/lab/nvme.test.ts:20:5`
 */
export function registerAt(where: string, test: Deno.TestDefinition): void {
  const [, folder, letter, rest, line, column] = /(file:\/\/\S*\/)([\w])(\S*?):(\d+):(\d+)\)?$/.exec(where) ?? [];
  if (folder === undefined || letter === undefined) return Deno.test(test);
  const script = new Script(`${BEFORE_CALL}register(test); }`, {
    filename: `${folder}%${letter.charCodeAt(0).toString(16)}${rest}`,
    lineOffset: Number(line) - 1,
    columnOffset: Number(column) - 1 - BEFORE_CALL.length,
  });
  script.runInThisContext()(Deno.test, test);
}
