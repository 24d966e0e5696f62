/**
 * Nodes of pages that were touched lately, in front of the page table: pieces of 512 pages, found by one comparison.
 * @module
 */

/** Pages of a piece: with pages of 4 KiB it covers 2 MiB. */
const PIECE_PAGES = 512;
/** Pieces that are remembered: with pages of 4 KiB they cover 8 GiB, in 4 MiB. */
const PIECES = 4096;

/** Remembers nodes. What it forgets is looked up in the page table again. */
export class NodeCache {
  /** Which piece stands in each place: its number and its host. */
  readonly #tags: Float64Array<ArrayBuffer> = new Float64Array(PIECES).fill(-1);
  /** Node + 1; 0 for a page that is not known. */
  readonly #nodes: Uint16Array<ArrayBuffer> = new Uint16Array(PIECES * PIECE_PAGES);
  readonly #hosts: number;

  /** @param hosts most hosts whose pages are told apart */
  constructor(hosts: number) {
    this.#hosts = hosts;
  }

  /** The node of a page, or -1 when it is not known here. */
  find(page: number, host: number): number {
    const piece = Math.floor(page / PIECE_PAGES);
    const place = placeOf(piece, host);
    if ((this.#tags[place] as number) !== piece * this.#hosts + host) return -1;
    return (this.#nodes[place * PIECE_PAGES + (page - piece * PIECE_PAGES)] as number) - 1;
  }

  /** Remembers the node of a page. */
  set(page: number, host: number, node: number): void {
    const piece = Math.floor(page / PIECE_PAGES);
    const place = placeOf(piece, host);
    const tag = piece * this.#hosts + host;
    const from = place * PIECE_PAGES;
    if ((this.#tags[place] as number) !== tag) {
      this.#nodes.fill(0, from, from + PIECE_PAGES);
      this.#tags[place] = tag;
    }
    this.#nodes[from + (page - piece * PIECE_PAGES)] = node + 1;
  }

  /** Forgets everything. */
  clear(): void {
    this.#tags.fill(-1);
  }
}

function placeOf(piece: number, host: number): number {
  return (piece + host * 977) & (PIECES - 1);
}
