/**
 * The blocks of memory that the host shares with a kernel that stays and takes requests, as one table.
 * `busbar_resident_layout.cuh` is made from it (`src/gpu/kernels/make.ts`), and a test compares the two.
 *
 * Requests, completions, segments and the table of memories lie in pinned host memory, the rest in device memory.
 * @module
 */

import { block, type BlockLayout, blocksHeader, enumText } from "./layout.ts";

/** A request, in a ring in pinned host memory. */
export const REQUEST_BLOCK: BlockLayout = block(
  "bb_resident_request",
  "A request, written by the host; its number, modulo the ring, finds it.",
  [
    ["number", 4, "its number plus 1, which is written last"],
    ["operation", 4, "bb_resident_operation"],
    ["lba", 8, "read and write: first block"],
    ["blocks", 4, "read and write: how many blocks"],
    ["memory", 4, "list: which bb_resident_memory its bytes go to; 0 is the data area of the request's place"],
    ["segments", 4, "list: how many of the place's segments"],
    ["place", 4, "where its data area, its segments and its completion are; more than mask: the low bits of it"],
  ],
);

/** What came of a request, in pinned host memory. */
export const COMPLETION_BLOCK: BlockLayout = block(
  "bb_resident_completion",
  "What came of the request of a place.",
  [
    ["number", 4, "the request's number plus 1, which is written last"],
    ["outcome", 4, "bb_resident_outcome: the first that was not good"],
    ["status", 4, "status field of the command that failed first"],
    ["failed_blocks", 4, "blocks of that command"],
    ["failed_lba", 8, "first block of that command"],
    ["bytes", 8, "bytes that were moved"],
  ],
);

/** Memory that lists of segments may name, in pinned host memory. */
export const MEMORY_BLOCK: BlockLayout = block("bb_resident_memory", "Memory that lists of segments go to.", [
  ["address", 8, "first byte: device address"],
  ["iova", 8, "the same, as the drive sees it; 0 where it does not reach it"],
  ["list", 8, "PRP list for the drive: entry i is page i"],
  ["bytes", 8, "how many; 0: there is none"],
]);

/** What the kernel keeps of a request in its hands. */
export const PLACE_BLOCK: BlockLayout = block("bb_resident_place", "A request in the hands of a warp.", [
  ["failed_lba", 8, "first block of the command that failed first"],
  ["bytes", 8, "bytes that were moved"],
  ["number", 4, "its number"],
  ["left", 4, "segments that have not ended"],
  ["outcome", 4, "bb_resident_outcome: the first that was not good"],
  ["status", 4, "status field of the command that failed first"],
  ["failed_blocks", 4, "blocks of that command"],
]);

/** The ring of one warp. */
export const RING_BLOCK: BlockLayout = block("bb_resident_ring", "The ring of one warp, and where its data lie.", [
  ["requests", 8, "bb_resident_request[mask + 1], in pinned host memory"],
  ["completions", 8, "bb_resident_completion[mask + 1], in pinned host memory"],
  ["segments", 8, "bb_nvme_segment[(mask + 1) * list_segments], in pinned host memory"],
  ["places", 8, "bb_resident_place[mask + 1]"],
  ["data", 8, "data areas, one behind the other: device address"],
  ["data_iova", 8, "the same, as the drive sees it"],
  ["data_list", 8, "PRP list for the drive: entry i is page i of the data areas"],
  ["mask", 4, "places, a power of two, less 1"],
  ["reserved", 4, "0"],
]);

/** A kernel that stays. */
export const RESIDENT_BLOCK: BlockLayout = block("bb_resident", "A kernel that stays and takes requests.", [
  ["queues", 8, "bb_nvme_queue[queue_count]"],
  ["rings", 8, "bb_resident_ring[], one for each warp"],
  ["memories", 8, "bb_resident_memory[memory_count], in pinned host memory; the first one is not used"],
  ["control", 8, "bb_nvme_control, in pinned host memory; done only changes, so that the host sees it alive"],
  ["pieces", 8, "first byte of the pieces of the lanes, one behind the other: device address"],
  ["pieces_iova", 8, "the same, as the drive sees it"],
  ["pieces_list", 8, "PRP list for the drive: entry i is page i of the pieces"],
  ["timeout_ns", 8, "how long a command may take"],
  ["namespace_blocks", 8, "blocks of the namespace"],
  ["queue_count", 4, "queue pairs"],
  ["namespace_id", 4, "NSID"],
  ["block_bytes", 4, "bytes of a block of the drive"],
  ["page_bytes", 4, "bytes of a page of PRPs"],
  ["piece_bytes", 4, "bytes of a piece, and the most that a command of a list moves; a power of two"],
  ["data_bytes", 4, "bytes of a data area; a power of two"],
  ["memory_count", 4, "rows of memories"],
  ["list_segments", 4, "most segments of a list"],
  ["lanes", 4, "commands that a warp keeps in flight"],
  ["may_write", 4, "1: writes are taken"],
  ["idle_ns", 4, "longest sleep between two looks at an empty ring"],
  ["reserved", 4, "0"],
]);

/** What a request asks for. */
export const RESIDENT_OPERATIONS = {
  /** What a ring holds at first: nothing may be taken for it. */
  none: 0,
  /** Blocks into the data area of the request's place. */
  read: 1,
  /** Blocks out of it. */
  write: 2,
  /** NVMe's Flush. */
  flush: 3,
  /** The segments of the request's place into a memory. */
  list: 4,
} as const;

/** What came of a request. */
export const RESIDENT_OUTCOMES = {
  good: 0,
  /** A command ended with an error status. */
  status: 1,
  /** There is no such operation. */
  operation: 2,
  /** Blocks that the namespace does not have. */
  range: 3,
  /** More bytes than the data area, the memory or a command takes. */
  size: 4,
  /** No such memory. */
  memory: 5,
  /** The drive would have to write where it cannot. */
  segment: 6,
  /** Writes are not taken. */
  read_only: 7,
} as const;

/** All blocks, in the order in which C needs them. */
export const RESIDENT_BLOCKS: readonly BlockLayout[] = [
  REQUEST_BLOCK,
  COMPLETION_BLOCK,
  MEMORY_BLOCK,
  PLACE_BLOCK,
  RING_BLOCK,
  RESIDENT_BLOCK,
];

/** The header for kernels. */
export function residentLayoutHeader(): string {
  return blocksHeader("BUSBAR_RESIDENT_LAYOUT_CUH", "resident_layout.ts", RESIDENT_BLOCKS, [
    enumText("bb_resident_operation", "What a request asks for.", RESIDENT_OPERATIONS),
    enumText("bb_resident_outcome", "What came of a request.", RESIDENT_OUTCOMES),
  ]);
}
