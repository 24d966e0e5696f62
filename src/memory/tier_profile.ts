/**
 * Profiles of tiering settings, from files.
 * @module
 */

import { BusbarError, systemError } from "../core/error.ts";
import { loadYaml } from "../core/packages.ts";
import { BALANCING_PROFILE, checkProfile, type TierProfile } from "./tiers.ts";

/**
 * Reads a profile from a YAML or JSON file, or gives the one that is called `balancing`.
 *
 * @throws {BusbarError} `absent` when there is no such file; `malformed` with every mistake in it
 */
export async function readTierProfile(file: string): Promise<TierProfile> {
  if (file === "balancing") return BALANCING_PROFILE;
  return checkProfile(await readYaml(file), file);
}

/** What a YAML or JSON file holds. */
export async function readYaml(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (cause) {
    throw systemError(cause, "read", file);
  }
  const { parse } = await loadYaml();
  try {
    return parse(text);
  } catch (cause) {
    const [first = "it is no YAML"] = (cause instanceof Error ? cause.message : String(cause)).split("\n");
    throw new BusbarError("malformed", `${file}: ${first}`, { operation: "read YAML", path: file, cause });
  }
}
