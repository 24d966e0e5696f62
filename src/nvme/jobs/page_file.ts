/**
 * Pages in files: one as `nvme id-ctrl -o binary` writes it, or a folder of them as `nvme_identify --save` does.
 * @module
 */

import { BusbarError, systemError } from "../../core/error.ts";
import { type FileLocator, type OptionTable, readOptions } from "../../core/locator.ts";
import type { FetchedPage, NvmeReport } from "./fetch.ts";
import { fitsPage, guessPage, NVME_PAGES, type NvmePage, pageNamed } from "../tables/pages.ts";

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
 * its name, else guessed from its contents.
 *
 * @throws {BusbarError} `malformed` for what is no page, `usage` for an unknown page, or the system's error
 */
export function readPageFiles(locator: FileLocator): NvmeReport {
  const wanted = readOptions(locator, FILE_OPTIONS).get("page") || null;
  if (!isFolder(locator.path)) return { pages: [readPageFile(locator.path, wanted)], features: [] };
  const names = Array.from(Deno.readDirSync(locator.path), (entry) => entry.name);
  const pages = names.flatMap((name): FetchedPage[] => {
    const which = name.endsWith(ENDING) ? pageOfName(name) : null;
    return which === null ? [] : [{ ...which, bytes: readWhole(`${locator.path}/${name}`), reason: null }];
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
  return { pages: pages.sort((a, b) => (a.of ?? 0) - (b.of ?? 0) || place(a) - place(b)), features: [] };
}

function readPageFile(path: string, wanted: string | null): FetchedPage {
  const bytes = readWhole(path);
  const named = wanted === null ? pageOfName(path.slice(path.lastIndexOf("/") + 1)) : { page: known(wanted), of: null };
  if (named !== null) {
    if (fitsPage(named.page, bytes.length)) return { ...named, bytes, reason: null };
    throw notAPage(path, `${bytes.length} bytes are no ${named.page.name} page`);
  }
  const guess = guessPage(bytes);
  if (guess === null) throw notAPage(path, `what its ${bytes.length} bytes are does not show`);
  return { page: guess.page, of: null, bytes, reason: null };
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
  try {
    using file = Deno.openSync(path);
    const { size } = file.statSync();
    if (size > PAGE_FILE_MAX_BYTES) throw notAPage(path, `${size} bytes are more than any page has`);
    const bytes = new Uint8Array(size);
    let at = 0;
    for (let count: number | null = 1; count !== null && count > 0 && at < size; at += count ?? 0) {
      count = file.readSync(bytes.subarray(at));
    }
    return bytes.subarray(0, at);
  } catch (cause) {
    throw cause instanceof BusbarError ? cause : systemError(cause, "read a page", path);
  }
}
