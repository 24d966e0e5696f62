/**
 * The blocks of memory that the host shares with kernels that read files, as one table. `busbar_files_layout.cuh` is made
 * from it (`src/gpu/kernels/make.ts`), and a test compares the two.
 * @module
 */

import { block, type BlockLayout, blocksHeader, enumText } from "./layout.ts";

/** A run of blocks to be read, and where its bytes go. */
export const SEGMENT_BLOCK: BlockLayout = block(
  "bb_nvme_segment",
  "A run of blocks to be read, and where its bytes go.",
  [
    ["lba", 8, "first block"],
    ["destination", 8, "first byte, from the start of the arena"],
    ["blocks", 4, "how many blocks; 0: nothing is read, the bytes become zeros"],
    ["skip", 4, "bytes of the first block that are not wanted"],
    ["bytes", 4, "bytes that are wanted"],
    ["is_direct", 4, "1: the drive writes to the arena; 0: to a piece of its lane, from which the warp copies"],
  ],
);

/** Memory that data go to. */
const ARENA_ROWS = [
  ["arena", 8, "first byte of the arena: device address"],
  ["arena_iova", 8, "the same, as the drive sees it; 0 where it does not reach the arena"],
  ["arena_list", 8, "PRP list for the drive: entry i is page i of the arena"],
] as const;

/** Memory that warps copy or read from: a piece for each lane, or for each level of a tree. */
const PIECE_ROWS = [
  ["pieces", 8, "first byte of the pieces, which lie one behind the other: device address"],
  ["pieces_iova", 8, "the same, as the drive sees it"],
  ["pieces_list", 8, "PRP list for the drive: entry i is page i of the pieces"],
] as const;

/** Runs of blocks to be read. */
export const GATHER_BLOCK: BlockLayout = block("bb_nvme_gather", "Runs of blocks to be read into an arena.", [
  ["queues", 8, "bb_nvme_queue[queue_count]"],
  ["segments", 8, "bb_nvme_segment[segment_count]"],
  ...PIECE_ROWS,
  ["control", 8, "bb_nvme_control, in pinned host memory"],
  ...ARENA_ROWS,
  ["timeout_ns", 8, "how long a command may take"],
  ["failed_lba", 8, "first block of the segment that failed"],
  ["segment_count", 4, "how many"],
  ["next", 4, "segments begun"],
  ["done", 4, "segments that ended well"],
  ["queue_count", 4, "queue pairs"],
  ["namespace_id", 4, "NSID"],
  ["page_bytes", 4, "bytes of a page of PRPs"],
  ["lanes", 4, "commands that a warp keeps in flight"],
  ["outcome", 4, "bb_nvme_failure: the first"],
  ["failed_status", 4, "status field of the command that failed"],
  ["failed_blocks", 4, "blocks of the segment that failed"],
  ["piece_bytes", 4, "bytes of a piece: of one lane, and of the most that a command reads; a power of two"],
  ["block_bytes", 4, "bytes of a block of the drive"],
]);

/** A file that a kernel finds and reads by itself. */
export const RESOLVE_BLOCK: BlockLayout = block("bb_nvme_resolve", "A file whose blocks a kernel finds by itself.", [
  ["queue", 8, "bb_nvme_queue"],
  ...PIECE_ROWS,
  ["control", 8, "bb_nvme_control, in pinned host memory"],
  ...ARENA_ROWS,
  ["timeout_ns", 8, "how long a command may take"],
  ["first_lba", 8, "first block of the file system"],
  ["window", 8, "first byte of the file that goes to the arena"],
  ["window_bytes", 8, "how many bytes of it"],
  ["size", 8, "bytes of the file: FAT, given; ext4, found"],
  ["change_time", 8, "ext4, found: i_ctime, and i_ctime_extra in the upper half"],
  ["fs_blocks", 8, "ext4: blocks of the file system. FAT: clusters of data"],
  ["descriptors", 8, "ext4: first byte of the group descriptors"],
  ["fat", 8, "FAT: first byte of the FAT in use"],
  ["data", 8, "FAT: first byte of cluster 2"],
  ["detail", 8, "what was wrong"],
  ["reads", 8, "blocks of metadata read"],
  ["inode", 4, "ext4: number of the inode"],
  ["fs_block_bytes", 4, "bytes of a block, or of a cluster"],
  ["inodes_per_group", 4, "ext4"],
  ["inode_bytes", 4, "ext4"],
  ["descriptor_bytes", 4, "ext4"],
  ["cluster", 4, "FAT: the cluster at file offset cluster_index; the kernel leaves the one behind the window"],
  ["cluster_index", 4, "FAT: clusters of the file before it"],
  [
    "piece_bytes",
    4,
    "bytes of a piece, a power of two: one for the inode, one for each level of the tree; or for the FAT",
  ],
  ["namespace_id", 4, "NSID"],
  ["block_bytes", 4, "bytes of a block of the drive"],
  ["page_bytes", 4, "bytes of a page of PRPs"],
  ["transfer_bytes", 4, "most bytes of one command"],
  ["lanes", 4, "commands in flight"],
  ["problem", 4, "bb_nvme_resolve_problem: the first"],
  ["failed_status", 4, "status field of the command that failed"],
  ["extents", 4, "runs of data that were found in the window"],
]);

/** An array on a drive, of which pages are cached. */
export const ARRAY_BLOCK: BlockLayout = block("bb_nvme_array", "An array on a drive, of which pages are cached.", [
  ["queue", 8, "bb_nvme_queue"],
  ["control", 8, "bb_nvme_control, in pinned host memory"],
  ["lines", 8, "bb_nvme_line[set_count * way_count]"],
  ["locks", 8, "u32 for each set: 1 while somebody looks into it"],
  ["hands", 8, "u32 for each set: where its clock stands"],
  ["pages", 8, "the pages of the lines: device address"],
  ["pages_iova", 8, "the same, as the drive sees it"],
  ["first_lba", 8, "first block of the array"],
  ["page_count", 8, "pages of the array"],
  ["timeout_ns", 8, "how long an access may take"],
  ["hits", 8, "elements whose page was there"],
  ["joins", 8, "elements whose page another warp was reading"],
  ["misses", 8, "elements whose page had to be read"],
  ["evictions", 8, "pages that gave way to others"],
  ["write_backs", 8, "pages that were written back"],
  ["set_count", 4, "sets"],
  ["way_count", 4, "lines of a set"],
  ["page_bytes", 4, "bytes of a page: no more than a page of PRPs"],
  ["page_blocks", 4, "the same in blocks of the drive"],
  ["namespace_id", 4, "NSID"],
  ["failure", 4, "status field of the first command that failed"],
]);

/** A page that is cached. */
export const LINE_BLOCK: BlockLayout = block("bb_nvme_line", "A page that is cached.", [
  ["tag", 8, "number of the page, plus 1; 0 for none"],
  ["state", 4, "bb_line_state"],
  ["references", 4, "lanes that use it or wait for it"],
  ["is_dirty", 4, "1: changed since it was read"],
  ["is_used", 4, "1: used since the clock passed"],
]);

/** Why a kernel did not find a file's blocks. */
export const RESOLVE_PROBLEMS = {
  none: 0,
  /** A command failed: its status says why. */
  status: 1,
  /** The queue failed, or the host asked for the end. */
  lost: 2,
  /** Metadata that cannot be: wrong magic, counts, places, order. */
  damaged: 3,
  /** The inode is encrypted, compressed, inline, or has no extents. */
  unsupported: 4,
  /** A chain of clusters ends before the file, or goes nowhere. */
  chain: 5,
} as const;

/** All blocks, in the order in which C needs them. */
export const FILE_BLOCKS: readonly BlockLayout[] = [
  SEGMENT_BLOCK,
  GATHER_BLOCK,
  RESOLVE_BLOCK,
  ARRAY_BLOCK,
  LINE_BLOCK,
];

/** The header for kernels. */
export function fileLayoutHeader(): string {
  return blocksHeader("BUSBAR_FILES_LAYOUT_CUH", "file_layout.ts", FILE_BLOCKS, [
    enumText("bb_nvme_resolve_problem", "Why a kernel did not find a file's blocks.", RESOLVE_PROBLEMS),
  ]);
}
