/**
 * Profiles of tiering settings, from files.
 * @module
 */

import { readYamlFile } from "../core/documents.ts";
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

/** What a YAML or JSON file holds. @throws {BusbarError} `malformed` for what is neither, or too much */
export async function readYaml(file: string): Promise<unknown> {
  return await readYamlFile(file);
}
