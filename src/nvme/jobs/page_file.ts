/**
 * Pages in files: one as `nvme id-ctrl -o binary` writes it, a folder of them as `nvme_identify --save` does, or text that
 * was printed of them.
 * @module
 */

import { readInput } from "../../core/input.ts";
import { BusbarError, systemError } from "../../core/error.ts";
import { type HexPiece, readHexText, textOf } from "../../core/hex_text.ts";
import { type FileLocator, type OptionTable, readOptions } from "../../core/locator.ts";
import type { FetchedPage, NvmeReport } from "./fetch.ts";
import { fitsPage, guessPage, type MissingBytes, NVME_PAGES, type NvmePage, pageNamed } from "../tables/pages.ts";

const FILE_OPTIONS: OptionTable = {
  page: { type: "text", title: "which page the file holds: id-ctrl, smart, …", default: "" },
};

const ENDING = ".bin";
/** The longest page: a persistent event log. A file that is longer is no page. */
const PAGE_FILE_MAX_BYTES = 16 << 20;

/** The name of the file for a page: `id-ctrl.bin`, `id-ns-1.bin` for namespace 1. */
export function pageFileName({ page, of }: Pick<FetchedPage, "page" | "of">): string {
  return `${page.name}${of === null ? "" : `-${of}`}${ENDING}`;
}

/** Which page a file of that name holds, as {@linkcode pageFileName} names it; null for any other name. */
function pageOfName(name: string): Pick<FetchedPage, "page" | "of"> | null {
  const stem = name.endsWith(ENDING) ? name.slice(0, -ENDING.length) : name;
  const whole = pageNamed(stem);
  if (whole !== null) return { page: whole, of: null };
  const [, page, of] = /^(.+)-(\d{1,10})$/.exec(stem) ?? [];
  const named = page === undefined ? null : pageNamed(page);
  return named === null ? null : { page: named, of: Number(of) };
}

/**
 * Reads the page in a file, or the pages in a folder. Which page a file holds is said by `?page=` in the locator, else by
 * its name, else by the text above its bytes, else guessed from its contents. A file may hold the bytes themselves, or
 * text that `nvme get-log`, `xxd` or `hexdump -C` printed, with several dumps in it. What is cut short is read as far as it
 * goes.
 *
 * @throws {BusbarError} `malformed` for what is no page, `usage` for an unknown page, or the system's error
 */
export function readPageFiles(locator: FileLocator): NvmeReport {
  const wanted = readOptions(locator, FILE_OPTIONS).get("page") || null;
  if (!isFolder(locator.path)) return reportOf(readPageFile(locator.path, wanted));
  const names = Array.from(Deno.readDirSync(locator.path), (entry) => entry.name);
  const pages = names.flatMap((name): NamedPage[] => {
    const which = name.endsWith(ENDING) ? pageOfName(name) : null;
    if (which === null) return [];
    const path = `${locator.path}/${name}`;
    const bytes = readWhole(path);
    return bytes.length === 0 ? [] : [{ ...which, bytes, reason: null, path }];
  });
  if (pages.length === 0) {
    throw new BusbarError("malformed", `${locator.path}: no page is in this folder`, {
      operation: "read pages",
      path: locator.path,
      hint: "nvme_identify DEVICE --save FOLDER fills one",
    });
  }
  // In the order in which a controller is asked for them.
  const place = ({ page }: FetchedPage): number => NVME_PAGES.indexOf(page);
  return reportOf({ pages: pages.sort((a, b) => (a.of ?? 0) - (b.of ?? 0) || place(a) - place(b)), problems: [] });
}

interface NamedPage extends FetchedPage {
  readonly path: string;
  readonly bytes: Uint8Array;
}

interface PageFile {
  readonly pages: readonly NamedPage[];
  readonly problems: readonly string[];
}

/** The pages, and what they lack. */
function reportOf({ pages, problems }: PageFile): NvmeReport {
  const lacks = pages.flatMap((named) => shortcomings(named).map((text) => `${named.path}: ${text}`));
  const report = pages.map(({ path: _, ...page }): FetchedPage => page);
  return { pages: report, features: [], problems: [...problems, ...lacks] };
}

function shortcomings({ page, bytes, missing }: NamedPage): string[] {
  const texts = (missing ?? []).map(({ offset, end }) => `${page.name}: bytes ${offset} to ${end - 1} are missing`);
  const { length } = bytes;
  if (length < page.sizeBytes) texts.push(`${page.name}: only ${length} of ${page.sizeBytes} bytes are there`);
  else if (!fitsPage(page, length)) {
    const rest = page.stepBytes === 0 ? length - page.sizeBytes : (length - page.sizeBytes) % page.stepBytes;
    texts.push(`${page.name}: the last ${rest} of ${length} bytes are no part of the page`);
  }
  return texts;
}

function readPageFile(path: string, wanted: string | null): PageFile {
  const whole = readWhole(path);
  if (whole.length === 0) throw notAPage(path, "the file is empty");
  const named = wanted === null ? pageOfName(path.slice(path.lastIndexOf("/") + 1)) : { page: known(wanted), of: null };
  const text = textOf(whole);
  if (text !== null) return readPageText(path, text, named);
  if (named !== null) return { pages: [{ ...named, bytes: whole, reason: null, path }], problems: [] };
  const guess = guessPage(whole);
  if (guess === null) throw notAPage(path, `what its ${whole.length} bytes are does not show`);
  return { pages: [{ page: guess.page, of: null, bytes: whole, reason: null, path }], problems: [] };
}

/** The pages in a text. A dump of which nothing says what it is, is named and left out. */
function readPageText(path: string, text: string, named: Pick<FetchedPage, "page" | "of"> | null): PageFile {
  const { dumps, problems: found } = readHexText(text);
  const problems = found.map((problem) => `${path}, ${problem}`);
  const pages = dumps.flatMap(({ heading, pieces }, index): NamedPage[] => {
    const image = imageOf(pieces);
    const which = pageOfHeading(heading) ?? (dumps.length === 1 ? named : null) ?? guessOf(image.bytes);
    if (which !== null) return [{ ...which, ...image, reason: null, path }];
    problems.push(`${path}: what the ${image.bytes.length} bytes of dump ${index + 1} are does not show`);
    return [];
  });
  if (pages.length > 0) return { pages, problems };
  const [problem] = problems;
  if (problem !== undefined) throw notAPage(path, problem.slice(path.length).replace(/^[:,] /, ""));
  const lines = text.split("\n");
  const line = lines.findIndex((one) => one.trim() !== "");
  throw notAPage(
    path,
    `line ${line + 1}: '${(lines[line] ?? "").trim().slice(0, 60)}': no bytes in it; expected was a line such as ` +
      "'0000: 00 38 01 64', as nvme get-log, xxd or hexdump -C print it",
  );
}

function guessOf(bytes: Uint8Array): Pick<FetchedPage, "page" | "of"> | null {
  const guess = guessPage(bytes);
  return guess === null ? null : { page: guess.page, of: null };
}

/** `Device:nvme0 log-id:2 namespace-id:0xffffffff`: what nvme-cli prints above a log. */
function pageOfHeading(heading: string): Pick<FetchedPage, "page" | "of"> | null {
  const [, lid, nsid] = /log-id:(0x[0-9a-f]+|\d+)(?:.*?namespace-id:(0x[0-9a-f]+|\d+))?/i.exec(heading) ?? [];
  if (lid === undefined) return null;
  const page = NVME_PAGES.find(({ source }) => source.kind === "log" && source.lid === Number(lid));
  if (page === undefined) return null;
  const isOfNamespace = page.scope === "namespace" || page.scope === "zoned namespace";
  return { page, of: isOfNamespace && nsid !== undefined ? Number(nsid) : null };
}

/** One image of the pieces, from offset 0 on, and where it has holes. */
function imageOf(pieces: readonly HexPiece[]): { bytes: Uint8Array; missing?: readonly MissingBytes[] } {
  const last = pieces.at(-1);
  const bytes = new Uint8Array(last === undefined ? 0 : last.offset + last.bytes.length);
  const missing: MissingBytes[] = [];
  let end = 0;
  for (const piece of pieces) {
    if (piece.offset > end) missing.push({ offset: end, end: piece.offset });
    bytes.set(piece.bytes, piece.offset);
    end = piece.offset + piece.bytes.length;
  }
  return missing.length === 0 ? { bytes } : { bytes, missing };
}

function known(name: string): NvmePage {
  const page = pageNamed(name);
  if (page !== null) return page;
  throw new BusbarError("usage", `there is no page '${name}'`, {
    operation: "read a page",
    hint: `there are ${NVME_PAGES.map((one) => one.name).join(", ")}`,
  });
}

function notAPage(path: string, why: string): BusbarError {
  return new BusbarError("malformed", `${path}: ${why}`, {
    operation: "read a page",
    path,
    hint: `say which page it is: 'file:${path}?page=smart' (of ${NVME_PAGES.map((one) => one.name).join(", ")})`,
  });
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (cause) {
    throw systemError(cause, "read pages", path);
  }
}

function readWhole(path: string): Uint8Array {
  return readInput(path, { limitBytes: PAGE_FILE_MAX_BYTES, what: "a page" });
}
