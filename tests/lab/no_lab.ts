/**
 * Why a test cannot boot a machine here.
 * @module
 */

import { cannotStart } from "../../src/lab/parts.ts";

/** Why no machine can be booted, to stand in a test's name; null where one can. Inside a lab machine none is. */
export function whyNoLab(): string | null {
  if (Deno.env.has("BUSBAR_LAB_GUEST")) return "it boots a machine";
  return Deno.env.get("BUSBAR_LAB_SKIP") || (cannotStart()?.message ?? null);
}
