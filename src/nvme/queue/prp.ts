/**
 * Physical region pages: how a command says where its data lies.
 *
 * Source: NVM Express Base 2.0 §4.1.1. Everything is checked here: QEMU's controller, and others, take bad entries and
 * write to wrong addresses without a word.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { hex } from "../../core/units.ts";

/** A run of memory that is contiguous for the device. */
export interface DmaSegment {
  /** The address the device uses. */
  readonly iova: bigint;
  /** How many bytes. */
  readonly sizeBytes: number;
}

/** A page for PRP entries. */
export interface PrpListPage {
  /** The address the device uses, a multiple of the page size. */
  readonly iova: bigint;
  /** The page as 64-bit entries: page size / 8 of them. */
  readonly entries: BigUint64Array<ArrayBuffer>;
}

/** The two pointers of a command. */
export interface PrpPointers {
  /** PRP1. */
  readonly prp1: bigint;
  /** PRP2: 0, the second page, or the first list page. */
  readonly prp2: bigint;
}

function refuse(rule: string, value: bigint): never {
  throw new BusbarError("out-of-range", `PRP ${hex(value)}: ${rule}`, { operation: "describe data for a command" });
}

/**
 * The address of every page of a transfer, in order; the first may lie inside its page.
 *
 * @param pageBytes the controller's memory page size, CC.MPS
 * @throws {BusbarError} `out-of-range`, naming the rule that is broken
 */
export function prpEntries(segments: readonly DmaSegment[], pageBytes: number): bigint[] {
  const page = BigInt(pageBytes);
  const entries: bigint[] = [];
  for (const [index, { iova, sizeBytes }] of segments.entries()) {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0) refuse(`a piece of ${sizeBytes} bytes`, iova);
    if (iova === 0n) refuse("no buffer lies at address 0", iova);
    if (iova < 0n || iova + BigInt(sizeBytes) > 1n << 64n) refuse("the address has more than 64 bits", iova);
    if (index === 0 && iova % 4n !== 0n) refuse("the first address must be a multiple of 4", iova);
    if (index > 0 && iova % page !== 0n) refuse("only the first piece may begin inside a page", iova);
    const end = iova + BigInt(sizeBytes);
    if (index < segments.length - 1 && end % page !== 0n) refuse("only the last piece may end inside a page", end);
    for (let at = iova; at < end; at = at - at % page + page) entries.push(at);
  }
  return entries;
}

/** How many list pages a transfer of `entryCount` pages needs: none for up to two. */
export function prpListPages(entryCount: number, pageBytes: number): number {
  if (entryCount <= 2) return 0;
  const perPage = pageBytes / 8;
  const listed = entryCount - 1;
  // Every list page but the last gives its last slot to the pointer to the next.
  return listed <= perPage ? 1 : Math.ceil((listed - 1) / (perPage - 1));
}

/**
 * Fills the list pages and returns the command's two pointers.
 *
 * @param entries from {@linkcode prpEntries}
 * @param lists as many as {@linkcode prpListPages} says
 */
export function writePrps(entries: readonly bigint[], lists: readonly PrpListPage[], pageBytes: number): PrpPointers {
  const [prp1, prp2 = 0n] = entries;
  if (prp1 === undefined) return { prp1: 0n, prp2: 0n };
  const needed = prpListPages(entries.length, pageBytes);
  if (needed === 0) return { prp1, prp2 };
  const [firstList] = lists;
  if (firstList === undefined || lists.length < needed) {
    throw new BusbarError("bug", `${entries.length} PRP entries need ${needed} list pages, ${lists.length} are there`);
  }
  const perPage = pageBytes / 8;
  let at = 1;
  for (let page = 0; page < needed; page++) {
    const list = lists[page];
    if (list === undefined) throw new BusbarError("bug", "a list page vanished");
    if (list.iova % BigInt(pageBytes) !== 0n) refuse("a list page must be page-aligned", list.iova);
    const isLast = page === needed - 1;
    const room = isLast ? perPage : perPage - 1;
    for (let slot = 0; slot < room && at < entries.length; slot++) list.entries[slot] = entries[at++] ?? 0n;
    if (!isLast) list.entries[perPage - 1] = lists[page + 1]?.iova ?? 0n;
  }
  return { prp1, prp2: firstList.iova };
}
