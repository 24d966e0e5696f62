/* Made from src/gpu/nvme/resident_layout.ts by src/gpu/kernels/make.ts: do not edit. */

#ifndef BUSBAR_RESIDENT_LAYOUT_CUH

#define BUSBAR_RESIDENT_LAYOUT_CUH

/* What a request asks for. */
enum bb_resident_operation {
  BB_RESIDENT_OPERATION_NONE = 0,
  BB_RESIDENT_OPERATION_READ = 1,
  BB_RESIDENT_OPERATION_WRITE = 2,
  BB_RESIDENT_OPERATION_FLUSH = 3,
  BB_RESIDENT_OPERATION_LIST = 4,
};

/* What came of a request. */
enum bb_resident_outcome {
  BB_RESIDENT_OUTCOME_GOOD = 0,
  BB_RESIDENT_OUTCOME_STATUS = 1,
  BB_RESIDENT_OUTCOME_OPERATION = 2,
  BB_RESIDENT_OUTCOME_RANGE = 3,
  BB_RESIDENT_OUTCOME_SIZE = 4,
  BB_RESIDENT_OUTCOME_MEMORY = 5,
  BB_RESIDENT_OUTCOME_SEGMENT = 6,
  BB_RESIDENT_OUTCOME_READ_ONLY = 7,
};

/* A request, written by the host; its number, modulo the ring, finds it. */
struct __align__(16) bb_resident_request {
  unsigned int number; /* its number plus 1, which is written last */
  unsigned int operation; /* bb_resident_operation */
  unsigned long long lba; /* read and write: first block */
  unsigned int blocks; /* read and write: how many blocks */
  unsigned int memory; /* list: which bb_resident_memory its bytes go to; 0 is the data area of the request's place */
  unsigned int segments; /* list: how many of the place's segments */
  unsigned int place; /* where its data area, its segments and its completion are; more than mask: the low bits of it */
};
static_assert(sizeof(bb_resident_request) == 32, "bb_resident_request");

/* What came of the request of a place. */
struct __align__(16) bb_resident_completion {
  unsigned int number; /* the request's number plus 1, which is written last */
  unsigned int outcome; /* bb_resident_outcome: the first that was not good */
  unsigned int status; /* status field of the command that failed first */
  unsigned int failed_blocks; /* blocks of that command */
  unsigned long long failed_lba; /* first block of that command */
  unsigned long long bytes; /* bytes that were moved */
};
static_assert(sizeof(bb_resident_completion) == 32, "bb_resident_completion");

/* Memory that lists of segments go to. */
struct __align__(16) bb_resident_memory {
  unsigned long long address; /* first byte: device address */
  unsigned long long iova; /* the same, as the drive sees it; 0 where it does not reach it */
  unsigned long long list; /* PRP list for the drive: entry i is page i */
  unsigned long long bytes; /* how many; 0: there is none */
};
static_assert(sizeof(bb_resident_memory) == 32, "bb_resident_memory");

/* A request in the hands of a warp. */
struct __align__(16) bb_resident_place {
  unsigned long long failed_lba; /* first block of the command that failed first */
  unsigned long long bytes; /* bytes that were moved */
  unsigned int number; /* its number */
  unsigned int left; /* segments that have not ended */
  unsigned int outcome; /* bb_resident_outcome: the first that was not good */
  unsigned int status; /* status field of the command that failed first */
  unsigned int failed_blocks; /* blocks of that command */
  unsigned int padding[3];
};
static_assert(sizeof(bb_resident_place) == 48, "bb_resident_place");

/* The ring of one warp, and where its data lie. */
struct __align__(16) bb_resident_ring {
  unsigned long long requests; /* bb_resident_request[mask + 1], in pinned host memory */
  unsigned long long completions; /* bb_resident_completion[mask + 1], in pinned host memory */
  unsigned long long segments; /* bb_nvme_segment[(mask + 1) * list_segments], in pinned host memory */
  unsigned long long places; /* bb_resident_place[mask + 1] */
  unsigned long long data; /* data areas, one behind the other: device address */
  unsigned long long data_iova; /* the same, as the drive sees it */
  unsigned long long data_list; /* PRP list for the drive: entry i is page i of the data areas */
  unsigned int mask; /* places, a power of two, less 1 */
  unsigned int reserved; /* 0 */
};
static_assert(sizeof(bb_resident_ring) == 64, "bb_resident_ring");

/* A kernel that stays and takes requests. */
struct __align__(16) bb_resident {
  unsigned long long queues; /* bb_nvme_queue[queue_count] */
  unsigned long long rings; /* bb_resident_ring[], one for each warp */
  unsigned long long memories; /* bb_resident_memory[memory_count], in pinned host memory; the first one is not used */
  unsigned long long control; /* bb_nvme_control, in pinned host memory; done only changes, so that the host sees it alive */
  unsigned long long pieces; /* first byte of the pieces of the lanes, one behind the other: device address */
  unsigned long long pieces_iova; /* the same, as the drive sees it */
  unsigned long long pieces_list; /* PRP list for the drive: entry i is page i of the pieces */
  unsigned long long timeout_ns; /* how long a command may take */
  unsigned long long namespace_blocks; /* blocks of the namespace */
  unsigned int queue_count; /* queue pairs */
  unsigned int namespace_id; /* NSID */
  unsigned int block_bytes; /* bytes of a block of the drive */
  unsigned int page_bytes; /* bytes of a page of PRPs */
  unsigned int piece_bytes; /* bytes of a piece, and the most that a command of a list moves; a power of two */
  unsigned int data_bytes; /* bytes of a data area; a power of two */
  unsigned int memory_count; /* rows of memories */
  unsigned int list_segments; /* most segments of a list */
  unsigned int lanes; /* commands that a warp keeps in flight */
  unsigned int may_write; /* 1: writes are taken */
  unsigned int idle_ns; /* longest sleep between two looks at an empty ring */
  unsigned int reserved; /* 0 */
  unsigned int padding[2];
};
static_assert(sizeof(bb_resident) == 128, "bb_resident");

#endif

