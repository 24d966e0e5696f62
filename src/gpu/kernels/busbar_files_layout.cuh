/* Made from src/gpu/nvme/file_layout.ts by src/gpu/kernels/make.ts: do not edit. */

#ifndef BUSBAR_FILES_LAYOUT_CUH

#define BUSBAR_FILES_LAYOUT_CUH

/* Why a kernel did not find a file's blocks. */
enum bb_nvme_resolve_problem {
  BB_NVME_RESOLVE_PROBLEM_NONE = 0,
  BB_NVME_RESOLVE_PROBLEM_STATUS = 1,
  BB_NVME_RESOLVE_PROBLEM_LOST = 2,
  BB_NVME_RESOLVE_PROBLEM_DAMAGED = 3,
  BB_NVME_RESOLVE_PROBLEM_UNSUPPORTED = 4,
  BB_NVME_RESOLVE_PROBLEM_CHAIN = 5,
};

/* A run of blocks to be read, and where its bytes go. */
struct __align__(16) bb_nvme_segment {
  unsigned long long lba; /* first block */
  unsigned long long destination; /* first byte, from the start of the arena */
  unsigned int blocks; /* how many blocks; 0: nothing is read, the bytes become zeros */
  unsigned int skip; /* bytes of the first block that are not wanted */
  unsigned int bytes; /* bytes that are wanted */
  unsigned int is_direct; /* 1: the drive writes to the arena; 0: to a piece of its lane, from which the warp copies */
};
static_assert(sizeof(bb_nvme_segment) == 32, "bb_nvme_segment");

/* Runs of blocks to be read into an arena. */
struct __align__(16) bb_nvme_gather {
  unsigned long long queues; /* bb_nvme_queue[queue_count] */
  unsigned long long segments; /* bb_nvme_segment[segment_count] */
  unsigned long long pieces; /* first byte of the pieces, which lie one behind the other: device address */
  unsigned long long pieces_iova; /* the same, as the drive sees it */
  unsigned long long pieces_list; /* PRP list for the drive: entry i is page i of the pieces */
  unsigned long long control; /* bb_nvme_control, in pinned host memory */
  unsigned long long arena; /* first byte of the arena: device address */
  unsigned long long arena_iova; /* the same, as the drive sees it; 0 where it does not reach the arena */
  unsigned long long arena_list; /* PRP list for the drive: entry i is page i of the arena */
  unsigned long long timeout_ns; /* how long a command may take */
  unsigned long long failed_lba; /* first block of the segment that failed */
  unsigned int segment_count; /* how many */
  unsigned int next; /* segments begun */
  unsigned int done; /* segments that ended well */
  unsigned int queue_count; /* queue pairs */
  unsigned int namespace_id; /* NSID */
  unsigned int page_bytes; /* bytes of a page of PRPs */
  unsigned int lanes; /* commands that a warp keeps in flight */
  unsigned int outcome; /* bb_nvme_failure: the first */
  unsigned int failed_status; /* status field of the command that failed */
  unsigned int failed_blocks; /* blocks of the segment that failed */
  unsigned int piece_bytes; /* bytes of a piece: of one lane, and of the most that a command reads; a power of two */
  unsigned int block_bytes; /* bytes of a block of the drive */
  unsigned int padding[2];
};
static_assert(sizeof(bb_nvme_gather) == 144, "bb_nvme_gather");

/* A file whose blocks a kernel finds by itself. */
struct __align__(16) bb_nvme_resolve {
  unsigned long long queue; /* bb_nvme_queue */
  unsigned long long pieces; /* first byte of the pieces, which lie one behind the other: device address */
  unsigned long long pieces_iova; /* the same, as the drive sees it */
  unsigned long long pieces_list; /* PRP list for the drive: entry i is page i of the pieces */
  unsigned long long control; /* bb_nvme_control, in pinned host memory */
  unsigned long long arena; /* first byte of the arena: device address */
  unsigned long long arena_iova; /* the same, as the drive sees it; 0 where it does not reach the arena */
  unsigned long long arena_list; /* PRP list for the drive: entry i is page i of the arena */
  unsigned long long timeout_ns; /* how long a command may take */
  unsigned long long first_lba; /* first block of the file system */
  unsigned long long window; /* first byte of the file that goes to the arena */
  unsigned long long window_bytes; /* how many bytes of it */
  unsigned long long size; /* bytes of the file: FAT, given; ext4, found */
  unsigned long long change_time; /* ext4, found: i_ctime, and i_ctime_extra in the upper half */
  unsigned long long fs_blocks; /* ext4: blocks of the file system. FAT: clusters of data */
  unsigned long long descriptors; /* ext4: first byte of the group descriptors */
  unsigned long long fat; /* FAT: first byte of the FAT in use */
  unsigned long long data; /* FAT: first byte of cluster 2 */
  unsigned long long detail; /* what was wrong */
  unsigned long long reads; /* blocks of metadata read */
  unsigned int inode; /* ext4: number of the inode */
  unsigned int fs_block_bytes; /* bytes of a block, or of a cluster */
  unsigned int inodes_per_group; /* ext4 */
  unsigned int inode_bytes; /* ext4 */
  unsigned int descriptor_bytes; /* ext4 */
  unsigned int cluster; /* FAT: the cluster at file offset cluster_index; the kernel leaves the one behind the window */
  unsigned int cluster_index; /* FAT: clusters of the file before it */
  unsigned int piece_bytes; /* bytes of a piece, a power of two: one for the inode, one for each level of the tree; or for the FAT */
  unsigned int namespace_id; /* NSID */
  unsigned int block_bytes; /* bytes of a block of the drive */
  unsigned int page_bytes; /* bytes of a page of PRPs */
  unsigned int transfer_bytes; /* most bytes of one command */
  unsigned int lanes; /* commands in flight */
  unsigned int problem; /* bb_nvme_resolve_problem: the first */
  unsigned int failed_status; /* status field of the command that failed */
  unsigned int extents; /* runs of data that were found in the window */
};
static_assert(sizeof(bb_nvme_resolve) == 224, "bb_nvme_resolve");

/* An array on a drive, of which pages are cached. */
struct __align__(16) bb_nvme_array {
  unsigned long long queue; /* bb_nvme_queue */
  unsigned long long control; /* bb_nvme_control, in pinned host memory */
  unsigned long long lines; /* bb_nvme_line[set_count * way_count] */
  unsigned long long locks; /* u32 for each set: 1 while somebody looks into it */
  unsigned long long hands; /* u32 for each set: where its clock stands */
  unsigned long long pages; /* the pages of the lines: device address */
  unsigned long long pages_iova; /* the same, as the drive sees it */
  unsigned long long first_lba; /* first block of the array */
  unsigned long long page_count; /* pages of the array */
  unsigned long long timeout_ns; /* how long an access may take */
  unsigned long long hits; /* elements whose page was there */
  unsigned long long joins; /* elements whose page another warp was reading */
  unsigned long long misses; /* elements whose page had to be read */
  unsigned long long evictions; /* pages that gave way to others */
  unsigned long long write_backs; /* pages that were written back */
  unsigned int set_count; /* sets */
  unsigned int way_count; /* lines of a set */
  unsigned int page_bytes; /* bytes of a page: no more than a page of PRPs */
  unsigned int page_blocks; /* the same in blocks of the drive */
  unsigned int namespace_id; /* NSID */
  unsigned int failure; /* status field of the first command that failed */
};
static_assert(sizeof(bb_nvme_array) == 144, "bb_nvme_array");

/* A page that is cached. */
struct __align__(16) bb_nvme_line {
  unsigned long long tag; /* number of the page, plus 1; 0 for none */
  unsigned int state; /* bb_line_state */
  unsigned int references; /* lanes that use it or wait for it */
  unsigned int is_dirty; /* 1: changed since it was read */
  unsigned int is_used; /* 1: used since the clock passed */
  unsigned int padding[2];
};
static_assert(sizeof(bb_nvme_line) == 32, "bb_nvme_line");

#endif

