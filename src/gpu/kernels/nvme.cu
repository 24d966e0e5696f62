/*
 * Transfers over a range of blocks, by kernels alone: read, write, verify, flush. One job block says what; every queue pair
 * has the threads of the blocks with its number, modulo the queues.
 *
 * A failure of one command ends the job: no more commands begin, those in flight are waited for. A command without an end,
 * a completion that cannot be, and the host's "now" end the kernel at once.
 */
#include "busbar_nvme.cuh"

enum { PATTERN_MAGIC = 0x62757362, PATTERN_TAG_WORDS = 4 };

/* ---- the pattern of src/nvme/jobs/pattern.ts --------------------------------------------------------------------- */

static __device__ __forceinline__ bb_u32 pattern_start(bb_u64 lba, bb_u32 seed) {
  const bb_u32 x = ((bb_u32)lba ^ seed) * 0x9e3779b1u ^ ((bb_u32)(lba >> 32) + 1) * 0x85ebca6bu;
  return x == 0 ? 1 : x;
}

static __device__ __forceinline__ bb_u32 pattern_next(bb_u32 x) {
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return x;
}

static __device__ __forceinline__ bb_u32 pattern_tag(bb_u64 lba, bb_u32 seed, bb_u32 word) {
  switch (word) {
    case 0: return (bb_u32)lba;
    case 1: return (bb_u32)(lba >> 32);
    case 2: return seed;
    default: return PATTERN_MAGIC;
  }
}

static __device__ void fill_blocks(const bb_nvme_job *job, bb_u64 data, bb_u64 lba, bb_u32 blocks) {
  bb_u32 *to = bb_at<bb_u32>(data);
  for (bb_u32 i = 0; i < blocks; i++) {
    bb_u32 x = pattern_start(lba + i, job->pattern_seed);
    for (bb_u32 word = 0; word < PATTERN_TAG_WORDS; word++) to[word] = pattern_tag(lba + i, job->pattern_seed, word);
    for (bb_u32 word = PATTERN_TAG_WORDS; word < job->block_bytes / 4; word++) to[word] = x = pattern_next(x);
    to += job->block_bytes / 4;
  }
}

/* The host says of a wrong block what is wrong: its memory stays as it is. */
static __device__ bool is_pattern(const bb_nvme_job *job, bb_u64 data, bb_u64 lba, bb_u32 blocks) {
  const bb_u32 *from = bb_at<bb_u32>(data);
  bb_u32 differs = 0;
  for (bb_u32 i = 0; i < blocks; i++) {
    bb_u32 x = pattern_start(lba + i, job->pattern_seed);
    for (bb_u32 word = 0; word < PATTERN_TAG_WORDS; word++) {
      differs |= from[word] ^ pattern_tag(lba + i, job->pattern_seed, word);
    }
    for (bb_u32 word = PATTERN_TAG_WORDS; word < job->block_bytes / 4; word++) differs |= from[word] ^ (x = pattern_next(x));
    from += job->block_bytes / 4;
  }
  return differs == 0;
}

/* ---- a transfer -------------------------------------------------------------------------------------------------- */

/* What a lane has in flight. */
struct transfer {
  bb_u64 lba, begun_ns;
  const bb_nvme_piece *piece;
  bb_u32 blocks, ticket;
};

static __device__ __forceinline__ bb_u64 mix(bb_u64 x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

static __device__ __forceinline__ void choose(const bb_nvme_job *job, struct transfer *one, bb_u64 index, bb_u32 owner) {
  const bb_u64 chunk = (job->random_seed == 0 ? index : mix(index + job->random_seed)) % job->chunks;
  const bb_u64 left = job->blocks - chunk * job->transfer_blocks;
  one->lba = job->first_lba + chunk * job->transfer_blocks;
  one->blocks = left < job->transfer_blocks ? (bb_u32)left : job->transfer_blocks;
  one->piece = bb_at<bb_nvme_piece>(job->pieces) + (job->is_linear ? index : owner);
}

static __device__ __forceinline__ void fail_job(bb_nvme_job *job, bb_u32 outcome, const struct transfer *one,
                                                bb_u32 status) {
  if (atomicCAS(&job->outcome, 0u, outcome) != 0) return;
  job->failed_lba = one->lba;
  job->failed_blocks = one->blocks;
  job->failed_status = status;
  job->failed_piece = one->piece == 0 ? 0 : one->piece->data;
}

/* The second PRP of a transfer: its piece may have a list, of which the last transfer of a range, which is shorter, takes no
 * more than the second page, or none. */
static __device__ __forceinline__ bb_u64 prp2_of(const bb_nvme_job *job, const struct transfer *one) {
  const bb_u64 bytes = (bb_u64)one->blocks * job->block_bytes;
  if (bytes <= job->page_bytes) return 0;
  return bytes <= 2 * (bb_u64)job->page_bytes ? one->piece->prp1 + job->page_bytes : one->piece->prp2;
}

template <int DRIVER>
static __device__ __forceinline__ void store(const bb_nvme_job *job, bb_nvme_queue *queue, struct transfer *one) {
  if (job->opcode == BB_NVME_WRITE && job->has_pattern) fill_blocks(job, one->piece->data, one->lba, one->blocks);
  bb_nvme_store<DRIVER>(queue, one->ticket, job->opcode, job->namespace_id, one->piece->prp1, prp2_of(job, one), one->lba,
                        one->blocks);
  bb_nvme_slot *slot = bb_nvme_slot_of(queue, one->ticket);
  slot->begun_ns = one->begun_ns;
  if (job->is_timed) slot->build_ns = bb_span_ns(one->begun_ns, bb_now_ns());
}

static __device__ __forceinline__ void note_rung(const bb_nvme_job *job, bb_nvme_queue *queue, const struct transfer *one) {
  if (!job->is_timed) return;
  bb_nvme_slot *slot = bb_nvme_slot_of(queue, one->ticket);
  slot->ring_ns = bb_span_ns(one->begun_ns + slot->build_ns, bb_now_ns());
}

/* The command of a transfer has ended: looks at what came of it, and gives its slot back. Returns 1 when all was well. */
static __device__ __forceinline__ bb_u32 finish(bb_nvme_job *job, bb_nvme_queue *queue, const struct transfer *one) {
  const bb_nvme_slot *slot = bb_nvme_slot_of(queue, one->ticket);
  const bb_u32 status = slot->status;
  if (job->is_timed) {
    bb_nvme_times *times = bb_at<bb_nvme_times>(queue->times) + (one->ticket & queue->times_mask);
    times->build_ns = slot->build_ns;
    times->ring_ns = slot->ring_ns;
    times->wait_ns = bb_span_ns(one->begun_ns + slot->build_ns + slot->ring_ns, bb_now_ns());
    times->is_valid = 1;
  }
  bb_u32 good = 0;
  if (status != 0) {
    fail_job(job, BB_NVME_FAILURE_STATUS, one, status);
  } else {
    good = 1;
    if (job->opcode == BB_NVME_READ && job->has_pattern) {
      if (!is_pattern(job, one->piece->data, one->lba, one->blocks)) {
        fail_job(job, BB_NVME_FAILURE_MISMATCH, one, 0);
        good = 0;
      }
    }
  }
  bb_nvme_release(queue, one->ticket);
  return good;
}

/* No more commands begin. */
static __device__ __forceinline__ bool is_ending(const bb_nvme_job *job) {
  return bb_load_relaxed(&bb_at<bb_nvme_control>(job->control)->stop) != BB_NVME_STOP_NONE ||
         bb_load_relaxed(&job->outcome) != 0;
}

/* Nothing is waited for any more. */
static __device__ __forceinline__ bool is_lost(const bb_nvme_job *job, const bb_nvme_queue *queue) {
  return bb_load_relaxed(&bb_at<bb_nvme_control>(job->control)->stop) == BB_NVME_STOP_NOW || bb_nvme_has_failed(queue);
}

static __device__ __forceinline__ bool is_late(bb_nvme_job *job, bb_nvme_queue *queue, const struct transfer *one) {
  if (bb_now_ns() - one->begun_ns <= job->timeout_ns) return false;
  bb_nvme_fail(queue, BB_NVME_FAILURE_TIMEOUT, one->ticket & 0xffff);
  fail_job(job, BB_NVME_FAILURE_TIMEOUT, one, 0);
  return true;
}

/* Counts transfers that ended well. The number for the host may be an older one of another warp: it is progress only. */
static __device__ __forceinline__ void note_done(bb_nvme_job *job, bb_u32 count) {
  const bb_u64 done = atomicAdd(&job->done, (bb_u64)count) + count;
  *(volatile bb_u64 *)&bb_at<bb_nvme_control>(job->control)->done = done;
}

/* ---- a warp, alone on its queue or with others ------------------------------------------------------------------- */

/* The ticket after the last command that is stored without a gap, on a queue that this warp has alone: `waits` are the
 * lanes whose ticket is drawn and whose command is not stored. */
static __device__ __forceinline__ bb_u32 stored_end(bb_nvme_queue *queue, bool waits, bb_u32 ticket) {
  const bb_u32 next = bb_load_relaxed(&queue->next_ticket);
  if (!__any_sync(BB_ALL, waits)) return next;
  /* Backwards from the next ticket, so that numbers that wrap compare. */
  bb_u32 behind = waits ? next - ticket : 0;
  for (int step = 16; step > 0; step /= 2) {
    const bb_u32 other = __shfl_xor_sync(BB_ALL, behind, step);
    if (other > behind) behind = other;
  }
  return next - behind;
}

/* A lane has nothing, or a ticket whose slot is not free yet, or a command in the ring. No lane waits for another in here:
 * a slot may be that of a neighbour, who gives it back in the same loop. */
enum lane_state { IDLE, DRAWN, STORED };

template <int DRIVER>
static __device__ void run_warp(bb_nvme_job *job) {
  bb_nvme_queue *queue = bb_at<bb_nvme_queue>(job->queues) + blockIdx.x % job->queue_count;
  const bb_u32 warp = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  struct transfer one = {0, 0, 0, 0, 0};
  int state = IDLE;
  bool may_begin = bb_lane() < job->lanes;
  for (;;) {
    if (may_begin && state == IDLE && is_ending(job)) may_begin = false;
    const bool wants = may_begin && state == IDLE;
    const bb_u32 who = __ballot_sync(BB_ALL, wants);
    if (who != 0) {
      bb_u64 index = 0;
      if (bb_lane() == 0) index = atomicAdd(&job->next, (bb_u64)__popc(who));
      index = __shfl_sync(BB_ALL, index, 0) + __popc(who & ((1u << bb_lane()) - 1));
      if (wants && index >= job->transfers) may_begin = false;
      const bool begins = wants && may_begin;
      const bb_u32 ticket = bb_nvme_reserve<DRIVER>(queue, begins);
      if (begins) {
        one.ticket = ticket;
        one.begun_ns = bb_now_ns();
        choose(job, &one, index, warp * job->lanes + bb_lane());
        state = DRAWN;
      }
    }
    const bool stores = state == DRAWN && bb_nvme_may_store(queue, one.ticket);
    if (stores) {
      store<DRIVER>(job, queue, &one);
      state = STORED;
    }
    if (__any_sync(BB_ALL, stores)) {
      bb_nvme_ring<DRIVER>(queue, DRIVER == BB_GRID ? 0 : stored_end(queue, state == DRAWN, one.ticket));
      if (stores) note_rung(job, queue, &one);
    }
    bb_nvme_poll<DRIVER>(queue);
    bb_u32 good = 0;
    if (state == STORED && bb_nvme_is_done(queue, one.ticket)) {
      good = finish(job, queue, &one);
      state = IDLE;
    }
    const bb_u32 done = __popc(__ballot_sync(BB_ALL, good != 0));
    if (bb_lane() == 0 && done != 0) note_done(job, done);
    if (__all_sync(BB_ALL, state == IDLE && !may_begin)) return;
    const bool lost = is_lost(job, queue) || (state != IDLE && is_late(job, queue, &one));
    if (__any_sync(BB_ALL, lost)) return;
  }
}

/* ---- one thread -------------------------------------------------------------------------------------------------- */

static __device__ void run_thread(bb_nvme_job *job) {
  bb_nvme_queue *queue = bb_at<bb_nvme_queue>(job->queues) + blockIdx.x % job->queue_count;
  bb_u32 oldest = queue->next_ticket;
  bool may_begin = true;
  for (;;) {
    bb_u32 next = queue->next_ticket;
    const bb_u32 first = next;
    while (may_begin && next - oldest < job->lanes && bb_nvme_may_store(queue, next)) {
      const bb_u64 index = is_ending(job) ? job->transfers : atomicAdd(&job->next, (bb_u64)1);
      if (index >= job->transfers) {
        may_begin = false;
        break;
      }
      struct transfer one = {0, bb_now_ns(), 0, 0, bb_nvme_reserve<BB_THREAD>(queue, true)};
      /* Slots come free in order, so a slot's number is that of its piece. */
      choose(job, &one, index, blockIdx.x * (queue->slot_mask + 1) + (one.ticket & queue->slot_mask));
      store<BB_THREAD>(job, queue, &one);
      next++;
    }
    bb_nvme_ring<BB_THREAD>(queue, next);
    for (bb_u32 ticket = first; ticket != next; ticket++) {
      const bb_nvme_slot *slot = bb_nvme_slot_of(queue, ticket);
      const struct transfer one = {0, slot->begun_ns, 0, 0, ticket};
      note_rung(job, queue, &one);
    }
    bb_nvme_poll<BB_THREAD>(queue);
    bb_u32 done = 0;
    for (; oldest != next && bb_nvme_is_done(queue, oldest); oldest++) {
      const bb_nvme_slot *slot = bb_nvme_slot_of(queue, oldest);
      struct transfer one = {slot->lba, slot->begun_ns, 0, slot->blocks, oldest};
      const bb_u64 index = (one.lba - job->first_lba) / job->transfer_blocks;
      const bb_u32 owner = blockIdx.x * (queue->slot_mask + 1) + (oldest & queue->slot_mask);
      one.piece = bb_at<bb_nvme_piece>(job->pieces) + (job->is_linear ? index : owner);
      done += finish(job, queue, &one);
    }
    if (done != 0) note_done(job, done);
    if (oldest == next && !may_begin) return;
    if (is_lost(job, queue)) return;
    if (oldest != next) {
      const bb_nvme_slot *slot = bb_nvme_slot_of(queue, oldest);
      const struct transfer one = {slot->lba, slot->begun_ns, 0, slot->blocks, oldest};
      if (is_late(job, queue, &one)) return;
    }
  }
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

extern "C" __global__ void nvme_job_thread(bb_nvme_job *job) {
  if (threadIdx.x == 0) run_thread(job);
}

extern "C" __global__ void nvme_job_warp(bb_nvme_job *job) { run_warp<BB_WARP>(job); }

extern "C" __global__ void nvme_job_grid(bb_nvme_job *job) { run_warp<BB_GRID>(job); }
