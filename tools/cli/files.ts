/**
 * Files that tools write because they were asked to.
 * @module
 */

import { systemError } from "../../src/core/error.ts";
import { printBytes } from "./output.ts";

/** Writes a whole file or none of it: to a temporary name beside it first. `-` is standard output. */
export function writeOutput(path: string, contents: string | Uint8Array): void {
  if (path === "-") return printBytes(typeof contents === "string" ? new TextEncoder().encode(contents) : contents);
  const temporary = `${path}.${Deno.pid}.tmp`;
  try {
    Deno.writeFileSync(temporary, typeof contents === "string" ? new TextEncoder().encode(contents) : contents);
    Deno.renameSync(temporary, path);
  } catch (cause) {
    try {
      Deno.removeSync(temporary);
    } catch {
      // It was never made, or the folder is gone: the first error says it all.
    }
    throw systemError(cause, "write", path);
  }
}
