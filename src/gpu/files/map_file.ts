/**
 * The map of a file, kept in a file from the time when its file system was mounted. Brings zod, so it is loaded only then.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { readInputText } from "../../core/input.ts";
import { loadZod } from "../../core/packages.ts";
import type { FileMap } from "./file_map.ts";

const { z } = await loadZod();

const SCHEMA_NAME = "file_map/1";
const LIMIT_BYTES = 512 << 20;

const place = z.int().nonnegative();
const schema = z.strictObject({
  schema: z.literal(SCHEMA_NAME),
  path: z.string(),
  partitionOffset: place,
  key: z.strictObject({
    fileSystem: z.string(),
    uuid: z.string(),
    mountTime: place.nullable(),
    mountCount: place.nullable(),
    sizeBytes: place,
    changeTime: z.string(),
  }),
  extents: z.array(z.strictObject({ fileOffset: place, offset: place, sizeBytes: z.int().positive() })),
  untouched: z.strictObject({ inode: place, sha256: z.string() }).nullable(),
});

/** A map as the text of a file. */
export function mapText(map: FileMap): string {
  return `${JSON.stringify({ schema: SCHEMA_NAME, ...map })}\n`;
}

/**
 * Reads a map that was kept.
 *
 * @throws {BusbarError} `malformed` with the first thing that is wrong; else as reading fails
 */
export function readMap(path: string): FileMap {
  const text = readInputText(path, { limitBytes: LIMIT_BYTES, what: "the map of a file" });
  const details = { operation: "read the map of a file", path, hint: "gpu_nvme DRIVE cat FILE --save-map makes one" };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new BusbarError("malformed", `${path}: it is no JSON`, { ...details, cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) {
    const { schema: _, ...map } = parsed.data;
    return map;
  }
  const [issue] = parsed.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? "" : ` ${issue.path.join(".")}:`;
  throw new BusbarError("malformed", `${path}:${where} ${issue?.message ?? "wrong"}`, details);
}
