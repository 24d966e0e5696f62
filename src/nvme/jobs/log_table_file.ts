/**
 * Tables of a user for logs of a vendor: which log, and what its bytes mean, as YAML.
 *
 * ```yaml
 * name: SMART / health information extended
 * source: Datacenter NVMe SSD 2.0 §4.8.6
 * log: 0xc0
 * size: 512
 * rows:
 *   - { name: PMUW, offset: 0, bytes: 16, title: Physical media units written }
 *   - { name: LPG, offset: 494, bytes: 16, kind: bytes, title: Log page GUID, expect: c59410b213f8e6a141d4e2ed4f37ca82 }
 *   - name: FLAGS
 *     offset: 24
 *     bytes: 1
 *     title: Flags
 *     fields: [{ name: A, bits: 0, title: first }, { name: B, bits: [3, 1], title: second }]
 * ```
 * @module
 */

import { BusbarError, systemError } from "../../core/error.ts";
import type { BitField, DecodedRow, Layout, Row } from "../../core/layout.ts";
import { loadYaml, loadZod, type z as Z } from "../../core/packages.ts";

/** A table of a user. */
export interface LogTable {
  /** LID. */
  readonly log: number;
  /** Bytes of the log. */
  readonly sizeBytes: number;
  /** LSP. */
  readonly specificField: number;
  /** Its rows. */
  readonly layout: Layout;
  /** Bytes that a row must hold, by the row's name, in hexadecimal: what tells that the table is for this log. */
  readonly expected: ReadonlyMap<string, string>;
}

const MAX_FILE_BYTES = 1 << 20;
const MAX_LOG_BYTES = 1 << 20;
const MAX_ROWS = 4096;

/**
 * Reads a table.
 *
 * @throws {BusbarError} `absent`, `permission`, or `malformed` with every mistake and its place
 */
export async function readLogTable(path: string): Promise<LogTable> {
  let text: string;
  try {
    if ((await Deno.stat(path)).size > MAX_FILE_BYTES) throw malformed(path, ["it has more than 1 MiB"]);
    text = await Deno.readTextFile(path);
  } catch (cause) {
    throw systemError(cause, "read", path);
  }
  return await parseLogTable(text, path);
}

/** As {@linkcode readLogTable}, from text. */
export async function parseLogTable(text: string, path: string): Promise<LogTable> {
  let value: unknown;
  try {
    value = (await loadYaml()).parse(text);
  } catch (cause) {
    throw malformed(path, [cause instanceof Error ? cause.message.split("\n")[0] ?? "" : String(cause)]);
  }
  const { z } = await loadZod();
  const checked = schemaOf(z).safeParse(value);
  if (!checked.success) {
    throw malformed(
      path,
      checked.error.issues.map(({ path, message }) => `${path.join(".") || "the file"}: ${message}`),
    );
  }
  const { name, source = path, log, size, lsp = 0, rows } = checked.data;
  const mistakes: string[] = [];
  const names = new Set<string>();
  for (const row of rows) {
    if (names.has(row.name)) mistakes.push(`${row.name} stands there twice`);
    names.add(row.name);
    if (row.offset + row.bytes > size) mistakes.push(`${row.name} ends beyond the log's ${size} bytes`);
    if (row.kind !== "bytes" && row.kind !== "text" && row.bytes > 16) {
      mistakes.push(`${row.name}: numbers have 16 bytes at most`);
    }
    for (const field of row.fields ?? []) {
      const [high, low] = typeof field.bits === "number" ? [field.bits, field.bits] : field.bits;
      if (high < low || high >= 8 * row.bytes) {
        mistakes.push(`${row.name}.${field.name}: bits ${high}:${low} of ${8 * row.bytes}`);
      }
    }
    if (row.expect !== undefined && (row.kind !== "bytes" || row.expect.length !== 2 * row.bytes)) {
      mistakes.push(`${row.name}: expect is ${2 * row.bytes} hexadecimal digits of a row of bytes`);
    }
  }
  if (mistakes.length > 0) throw malformed(path, mistakes);
  const expected = new Map(
    rows.flatMap((row) => row.expect === undefined ? [] : [[row.name, row.expect.toLowerCase()]]),
  );
  return { log, sizeBytes: size, specificField: lsp, layout: { name, source, rows: rows.map(rowOf) }, expected };
}

/** Rows whose bytes are not those that the table expects: then it is the table of another log. */
export function unexpectedRows({ expected }: LogTable, rows: readonly DecodedRow[]): string[] {
  return rows.flatMap(({ row, value }) => {
    const wanted = expected.get(row.name);
    if (wanted === undefined || !(value instanceof Uint8Array) || value.toHex() === wanted) return [];
    return [`${row.name} is ${value.toHex()}, not ${wanted}`];
  });
}

const schemaOf = (z: typeof Z) => {
  const whole = (max: number): Z.ZodType<number> => z.number().int().min(0).max(max);
  const word = z.string().regex(/^[A-Za-z][A-Za-z0-9_]{0,63}$/);
  const field = z.strictObject({
    name: word,
    bits: z.union([whole(127), z.tuple([whole(127), whole(127)])]),
    title: z.string().max(200).optional(),
    values: z.record(z.string().regex(/^\d+$/), z.string().max(200)).optional(),
  });
  const row = z.strictObject({
    name: word,
    offset: whole(MAX_LOG_BYTES),
    bytes: z.number().int().min(1).max(MAX_LOG_BYTES),
    kind: z.enum(["register", "address", "quantity", "bytes", "text"]).optional(),
    title: z.string().max(200).optional(),
    fields: z.array(field).max(128).optional(),
    values: z.record(z.string().regex(/^\d+$/), z.string().max(200)).optional(),
    expect: z.string().regex(/^[0-9a-fA-F]+$/).optional(),
  });
  return z.strictObject({
    name: z.string().min(1).max(200),
    source: z.string().max(200).optional(),
    log: z.number().int().min(0).max(255),
    size: z.number().int().min(4).max(MAX_LOG_BYTES).multipleOf(4),
    lsp: whole(127).optional(),
    rows: z.array(row).min(1).max(MAX_ROWS),
  });
};

type FileRow = Z.infer<ReturnType<typeof schemaOf>>["rows"][number];

function rowOf({ name, offset, bytes, kind, title = name, fields, values }: FileRow): Row {
  if (kind === "bytes" || kind === "text") return { type: kind, name, offset, sizeBytes: bytes, title };
  const bits = fields?.map(({ name, bits, title = name, values }): BitField => ({
    name,
    bits,
    title,
    ...(values === undefined ? {} : { values }),
  }));
  return {
    type: "uint",
    name,
    offset,
    sizeBytes: bytes,
    title,
    kind: kind ?? (bits === undefined ? "quantity" : "register"),
    ...(bits === undefined ? {} : { fields: bits }),
    ...(values === undefined ? {} : { values }),
  };
}

function malformed(path: string, mistakes: readonly string[]): BusbarError {
  const shown = mistakes.slice(0, 8);
  const more = mistakes.length > shown.length ? ` and ${mistakes.length - shown.length} more` : "";
  return new BusbarError("malformed", `${path}: ${shown.join("; ")}${more}`, {
    operation: "read a table of a log",
    path,
    hint: "docs/tools/nvme_admin.md shows one",
  });
}
