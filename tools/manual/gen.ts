/**
 * Writes the files that are generated from tables: `deno task gen`. With `--check` nothing is written, and the exit status
 * is 1 when one is stale.
 * @module
 */

import { cHeader, HEADER_PATH } from "../../src/type2/c_header.ts";

const root = new URL("../../", import.meta.url);

if (import.meta.main) {
  const current = Deno.readTextFileSync(new URL(HEADER_PATH, root));
  if (current !== cHeader()) {
    if (Deno.args.includes("--check")) Deno.exitCode = 1;
    else Deno.writeTextFileSync(new URL(HEADER_PATH, root), cHeader());
  }
}
