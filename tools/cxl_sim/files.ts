/**
 * Files that settings come from: configurations, curves, DAMON plans.
 * @module
 */

import { parseJson, parseYaml } from "../../src/core/documents.ts";
import { readInputText } from "../../src/core/input.ts";
import { BusbarError, systemError } from "../../src/core/error.ts";
import type { DamonScheme } from "../../src/sim/config.ts";
import type { FileConfig } from "../../src/sim/config_file.ts";
import { type CurvePoint, parseCurveCsv, parseMessFile } from "../../src/sim/models/curve.ts";

/** Bytes of a file of settings or of a curve. */
const SIZE_LIMIT = 16 * 2 ** 20;

/** A whole text file. */
export function readText(path: string, what: string): string {
  return readInputText(path, { limitBytes: SIZE_LIMIT, what });
}

/**
 * The value that a JSON or YAML file holds.
 *
 * @throws {BusbarError} `malformed`, with the line where the reader stopped
 */
export async function readValue(path: string, what: string): Promise<unknown> {
  const text = readText(path, what);
  return path.endsWith(".json") ? parseJson(text, path) : await parseYaml(text, path);
}

/**
 * Settings of a file.
 *
 * @throws {BusbarError} `malformed`: the first mistake, and how many there are
 */
export async function readFileConfig(path: string): Promise<FileConfig> {
  const value = await readValue(path, "the settings");
  const { checkConfig } = await import("../../src/sim/config_file.ts");
  const checked = checkConfig(value);
  if ("file" in checked) return checked.file;
  const [first = "", ...rest] = checked.mistakes;
  throw new BusbarError("malformed", `${path}: ${first}`, {
    operation: "read the settings",
    path,
    hint: rest.length === 0 ? `cxl_sim check ${path}` : `${rest.length} more: cxl_sim check ${path}`,
  });
}

/** A curve: a folder of Mess files, one such file, or a CSV. */
export function readCurve(path: string): CurvePoint[] {
  let folder: boolean;
  try {
    folder = Deno.statSync(path).isDirectory;
  } catch (cause) {
    throw systemError(cause, "read a curve", path);
  }
  if (!folder) {
    const text = readText(path, "a curve");
    return /bwlat_\d+\.txt$/.test(path) ? parseMessFile(text, path) : parseCurveCsv(text, path);
  }
  const names = [...Deno.readDirSync(path)].map(({ name }) => name).filter((name) => /^bwlat_\d+\.txt$/.test(name))
    .sort();
  if (names.length === 0) {
    throw new BusbarError("absent", `${path}: there is no bwlat_<percent>.txt in it`, {
      operation: "read a curve",
      path,
    });
  }
  return names.flatMap((name) => parseMessFile(readText(`${path}/${name}`, "a curve"), `${path}/${name}`));
}

/** Schemes of a DAMON plan, as `damon_config` writes it: rates in percent of looks, ages in time. */
export async function readDamonSchemes(path: string): Promise<DamonScheme[]> {
  const value = await readValue(path, "the DAMON plan");
  const { fromDamo } = await import("../../src/memory/damo_reader.ts");
  const { damonSchemes } = await import("./damon_schemes.ts");
  return damonSchemes(fromDamo(value, path), path);
}
