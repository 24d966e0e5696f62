/**
 * How a compiler ended that gave no result: by the source, or by somebody who killed it.
 * @module
 */

import type { ErrorDetails } from "./error.ts";

/**
 * Says that a compiler, or a program that it started, was killed; null where it ended by itself, and its messages say why.
 *
 * @param signal what ended the compiler's driver
 * @param messages what it printed: GCC and clang name the signal there when it was one of their own programs
 */
export function compilerKilled(signal: Deno.Signal | null, messages: string): string | null {
  if (signal !== null) return `the compiler was ended by ${signal}`;
  // GCC: "fatal error: Killed signal terminated program cc1"; clang: "unable to execute command: Killed".
  const [, gcc, program, clang] =
    /fatal error: (\w+) signal terminated program (\S+)|unable to execute command: (Killed|Terminated)/.exec(
      messages,
    ) ?? [];
  if (gcc !== undefined) return `the compiler's program ${program} was ended by a signal (${gcc})`;
  return clang === undefined ? null : `a program of the compiler was ended by a signal (${clang})`;
}

/** The rest of such an error. */
export const KILLED_DETAILS: ErrorDetails = {
  operation: "build library",
  hint: "try again; the kernel's log (dmesg) says whether memory ran out",
};
