/* Made from src/gpu/nvme/layout.ts by src/gpu/kernels/make.ts: do not edit. */

#ifndef BUSBAR_NVME_LAYOUT_CUH

#define BUSBAR_NVME_LAYOUT_CUH

/* Why a kernel ended early. */
enum bb_nvme_failure {
  BB_NVME_FAILURE_NONE = 0,
  BB_NVME_FAILURE_STATUS = 1,
  BB_NVME_FAILURE_TIMEOUT = 2,
  BB_NVME_FAILURE_STRAY = 3,
  BB_NVME_FAILURE_HEAD = 4,
  BB_NVME_FAILURE_MISMATCH = 5,
};

/* What the host asks of a kernel that runs. */
enum bb_nvme_stop {
  BB_NVME_STOP_NONE = 0,
  BB_NVME_STOP_DRAIN = 1,
  BB_NVME_STOP_NOW = 2,
};

/* One queue pair, as a kernel drives it. */
struct __align__(16) bb_nvme_queue {
  unsigned long long submission; /* submission ring: device address */
  unsigned long long completion; /* completion ring: device address */
  unsigned long long tail_doorbell; /* submission queue tail doorbell: device address of the register, or of a word that the host forwards */
  unsigned long long head_doorbell; /* completion queue head doorbell, likewise */
  unsigned long long tail_shadow; /* shadow doorbell of the tail; 0 where the controller has none */
  unsigned long long head_shadow; /* shadow doorbell of the head; 0 where the controller has none */
  unsigned long long tail_event; /* EventIdx of the tail */
  unsigned long long head_event; /* EventIdx of the head */
  unsigned long long slots; /* bb_nvme_slot[slot_mask + 1] */
  unsigned long long ready; /* u32 for each entry of the submission ring: the ticket whose command is stored there, plus 1 */
  unsigned long long times; /* bb_nvme_times[times_mask + 1]; 0 where nobody asks */
  unsigned int entry_mask; /* entries of each ring, a power of two, less 1 */
  unsigned int entry_shift; /* entries of each ring, as a power of two */
  unsigned int slot_mask; /* commands between the oldest and the newest in flight, a power of two, less 1 */
  unsigned int times_mask; /* entries of times, a power of two, less 1 */
  unsigned int next_ticket; /* tickets handed out; the first is 0 */
  unsigned int rung; /* tickets that the controller was told of */
  unsigned int ring_lock; /* 1 while somebody rings the tail doorbell */
  unsigned int head; /* completions taken */
  unsigned int head_lock; /* 1 while somebody takes completions */
  unsigned int fetched; /* commands that the controller took out of the ring, by SQHD */
  unsigned int finished; /* commands whose completion was taken */
  unsigned int failure; /* bb_nvme_failure: why the queue is driven no more */
  unsigned int failure_detail; /* the command identifier, or SQHD, that was wrong */
  unsigned int tail_rings; /* times that the tail doorbell was written */
  unsigned int head_rings; /* times that the head doorbell was written */
  unsigned int reserved; /* 0 */
  unsigned int padding[2];
};
static_assert(sizeof(bb_nvme_queue) == 160, "bb_nvme_queue");

/* A command that may be in flight; its ticket, modulo the slots, finds it. */
struct __align__(16) bb_nvme_slot {
  unsigned long long lba; /* first block */
  unsigned long long begun_ns; /* when its ticket was drawn, by the global timer */
  unsigned int turn; /* the ticket that may use the slot */
  unsigned int in_flight; /* command identifier plus 0x10000 while the controller may complete it, else 0 */
  unsigned int done; /* the last ticket that ended here, plus 1 */
  unsigned int status; /* status field of its completion, without the phase: SC 7:0, SCT 10:8, CRD 12:11, M 13, DNR 14 */
  unsigned int result; /* dword 0 of its completion */
  unsigned int blocks; /* how many blocks */
  unsigned int build_ns; /* until the command lay in the ring */
  unsigned int ring_ns; /* from there until the doorbell was rung */
};
static_assert(sizeof(bb_nvme_slot) == 48, "bb_nvme_slot");

/* Times of one command, in nanoseconds. */
struct __align__(16) bb_nvme_times {
  unsigned int build_ns; /* until the command lay in the ring */
  unsigned int ring_ns; /* from there until the doorbell was rung */
  unsigned int wait_ns; /* from there until its completion was seen */
  unsigned int is_valid; /* 1 once written */
};
static_assert(sizeof(bb_nvme_times) == 16, "bb_nvme_times");

/* Memory for the data of one command, with its PRPs. */
struct __align__(16) bb_nvme_piece {
  unsigned long long data; /* device address */
  unsigned long long prp1; /* PRP entry 1 */
  unsigned long long prp2; /* PRP entry 2: 0, a page, or a list */
  unsigned long long reserved; /* 0 */
};
static_assert(sizeof(bb_nvme_piece) == 32, "bb_nvme_piece");

/* Transfers over a range of blocks. */
struct __align__(16) bb_nvme_job {
  unsigned long long queues; /* bb_nvme_queue[queue_count] */
  unsigned long long pieces; /* bb_nvme_piece[]: one for each transfer where is_linear, else one for each lane */
  unsigned long long control; /* bb_nvme_control, in pinned host memory */
  unsigned long long first_lba; /* first block of the range */
  unsigned long long blocks; /* blocks of the range */
  unsigned long long chunks; /* transfers that the range takes */
  unsigned long long transfers; /* transfers to do */
  unsigned long long random_seed; /* 0: in order; else at random places of the range */
  unsigned long long timeout_ns; /* how long a command may take */
  unsigned long long next; /* transfers begun */
  unsigned long long done; /* transfers ended well */
  unsigned long long failed_lba; /* first block of the transfer that failed */
  unsigned int queue_count; /* queue pairs */
  unsigned int namespace_id; /* NSID */
  unsigned int opcode; /* 0 flush, 1 write, 2 read */
  unsigned int transfer_blocks; /* blocks of one transfer; the last of the range may be shorter */
  unsigned int block_bytes; /* bytes of a block */
  unsigned int has_pattern; /* 1: fill what is written, check what is read */
  unsigned int pattern_seed; /* seed of the pattern */
  unsigned int is_linear; /* 1: each transfer has a piece of its own */
  unsigned int lanes; /* commands that a warp, or the thread, keeps in flight */
  unsigned int outcome; /* bb_nvme_failure: the first */
  unsigned int failed_status; /* status field of the command that failed */
  unsigned int failed_blocks; /* blocks of the transfer that failed */
  unsigned int is_timed; /* 1: write times */
  unsigned int page_bytes; /* bytes of a page of PRPs */
  unsigned long long failed_piece; /* device address of the data of the transfer that failed */
};
static_assert(sizeof(bb_nvme_job) == 160, "bb_nvme_job");

/* What host and kernel tell each other while it runs, in pinned host memory. */
struct __align__(16) bb_nvme_control {
  unsigned int stop; /* written by the host: bb_nvme_stop */
  unsigned int reserved; /* 0 */
  unsigned long long done; /* written by the kernel, now and then: transfers ended well */
};
static_assert(sizeof(bb_nvme_control) == 16, "bb_nvme_control");

#endif

