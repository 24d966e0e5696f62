/*
 * A kernel that stays: it takes requests from rings in host memory until it is told to stop. Each warp has a ring of its
 * own; the host is the only one that writes requests, the warp the only one that takes them.
 *
 * A lane does one command at a time: a read, write or flush, or a segment of a list, which the lanes of the warp share. A
 * request is checked here, against what the kernel was launched with: one that cannot be ends with an outcome that says so.
 * A command that fails ends its request alone. A command without an end, a completion that cannot be, and the host's "now"
 * end the kernel; requests in flight then stay without a completion.
 *
 * Memory ordering. The host writes a request, and the data and segments that belong to it, before the request's number; the
 * number is loaded with acquire at system scope. A request is read once, when it is taken: then the host may write another
 * one over it. There are no more requests in flight than places, so one that is not taken is never written over. A completion, and the data before it, are stored before its number, which
 * is a release at system scope. Lanes that share a request count it down with acquire and release, so the last one's release
 * covers what all of them moved.
 */
#include "busbar_gather.cuh"
#include "busbar_resident_layout.cuh"

enum { LEAST_IDLE_NS = 64, LOOKS_BETWEEN_BEATS = 4096 };

enum work_state { WORK_NONE, WORK_DRAWN, WORK_STORED, WORK_MOVES, WORK_ENDED };

/* What a lane does. */
struct work {
  bb_u64 lba, iova, list, at; /* `at`: where the drive's part of it begins, from iova */
  bb_u64 to, from;            /* what the warp moves afterwards; from 0: zeros */
  bb_u64 begun_ns;
  bb_u32 place, command, blocks, bytes, ticket, outcome, status;
  bool moves;
};

static __device__ __forceinline__ bb_u64 load_word(const bb_u64 *from) { return *(const volatile bb_u64 *)from; }

/* Counts a request's segments down. Acquire and release: whoever counts the last one sees what the others did. */
static __device__ __forceinline__ bb_u32 count_down(bb_u32 *at) {
  bb_u32 before;
  asm volatile("atom.acq_rel.sys.global.add.u32 %0, [%1], %2;" : "=r"(before) : "l"(at), "r"(0xffffffffu) : "memory");
  return before;
}

/* ---- requests ------------------------------------------------------------------------------------------------------ */

static __device__ __forceinline__ bb_u32 end_work(struct work *one, bb_u32 outcome) {
  one->outcome = outcome;
  return outcome == BB_RESIDENT_OUTCOME_GOOD ? WORK_DRAWN : WORK_ENDED;
}

static __device__ __forceinline__ bool has_blocks(const bb_resident *job, bb_u64 lba, bb_u64 blocks) {
  return blocks != 0 && blocks <= job->namespace_blocks && lba <= job->namespace_blocks - blocks;
}

/* A read, write or flush. Returns the state of the lane: WORK_DRAWN where a ticket is to be drawn. */
static __device__ bb_u32 begin_simple(const bb_resident *job, const bb_resident_ring *ring, struct work *one,
                                      bb_u32 operation, bb_u64 lba, bb_u32 blocks) {
  one->lba = lba;
  one->blocks = blocks;
  one->bytes = 0;
  one->moves = false;
  if (operation == BB_RESIDENT_OPERATION_FLUSH) {
    one->command = BB_NVME_FLUSH;
    one->lba = one->blocks = 0;
    one->iova = one->list = one->at = 0;
    return end_work(one, BB_RESIDENT_OUTCOME_GOOD);
  }
  if (operation != BB_RESIDENT_OPERATION_READ && operation != BB_RESIDENT_OPERATION_WRITE) {
    return end_work(one, BB_RESIDENT_OUTCOME_OPERATION);
  }
  one->command = operation == BB_RESIDENT_OPERATION_READ ? BB_NVME_READ : BB_NVME_WRITE;
  if (one->command == BB_NVME_WRITE && !job->may_write) return end_work(one, BB_RESIDENT_OUTCOME_READ_ONLY);
  if (!has_blocks(job, lba, blocks)) return end_work(one, BB_RESIDENT_OUTCOME_RANGE);
  if ((bb_u64)blocks * job->block_bytes > job->data_bytes) return end_work(one, BB_RESIDENT_OUTCOME_SIZE);
  one->bytes = blocks * job->block_bytes;
  one->iova = ring->data_iova;
  one->list = ring->data_list;
  /* A data area is a power of two of bytes, so the entries of one lie on one page of the list. */
  one->at = (bb_u64)one->place * job->data_bytes;
  return end_work(one, BB_RESIDENT_OUTCOME_GOOD);
}

/* Where a list's bytes go: the data area of the request's place, or a memory of the table. */
static __device__ __forceinline__ bb_resident_memory memory_of(const bb_resident *job, const bb_resident_ring *ring,
                                                               bb_u32 place, bb_u32 memory) {
  bb_resident_memory found = {0, 0, 0, 0};
  if (memory == 0) {
    const bb_u64 at = (bb_u64)place * job->data_bytes;
    found.address = ring->data + at;
    found.iova = ring->data_iova + at;
    found.list = ring->data_list + at / job->page_bytes * 8;
    found.bytes = job->data_bytes;
  } else if (memory < job->memory_count) {
    const bb_resident_memory *row = bb_at<bb_resident_memory>(job->memories) + memory;
    found.address = load_word(&row->address);
    found.iova = load_word(&row->iova);
    found.list = load_word(&row->list);
    found.bytes = load_word(&row->bytes);
  }
  return found;
}

/* A segment of a list. It is read once and then checked: the host may change it under our hands. */
static __device__ bb_u32 begin_segment(const bb_resident *job, const bb_resident_ring *ring, struct work *one,
                                       bb_u32 memory, bb_u32 index, bb_u64 piece) {
  const bb_nvme_segment *row =
      bb_at<bb_nvme_segment>(ring->segments) + (bb_u64)one->place * job->list_segments + index;
  const bb_u64 lba = load_word(&row->lba), destination = load_word(&row->destination);
  const bb_u32 blocks = bb_load_relaxed(&row->blocks), skip = bb_load_relaxed(&row->skip);
  const bb_u32 bytes = bb_load_relaxed(&row->bytes), is_direct = bb_load_relaxed(&row->is_direct);
  const bb_resident_memory to = memory_of(job, ring, one->place, memory);
  one->command = BB_NVME_READ;
  one->lba = lba;
  one->blocks = blocks;
  one->bytes = 0;
  one->moves = false;
  if (to.bytes == 0) return end_work(one, BB_RESIDENT_OUTCOME_MEMORY);
  if (bytes == 0 || bytes > to.bytes || destination > to.bytes - bytes) return end_work(one, BB_RESIDENT_OUTCOME_SIZE);
  one->bytes = bytes;
  one->to = to.address + destination;
  one->from = 0;
  one->outcome = BB_RESIDENT_OUTCOME_GOOD;
  if (blocks == 0) {
    one->moves = true;
    return WORK_MOVES;
  }
  const bb_u64 whole = (bb_u64)blocks * job->block_bytes;
  if (!has_blocks(job, lba, blocks)) return end_work(one, BB_RESIDENT_OUTCOME_RANGE);
  if (whole > job->piece_bytes || (bb_u64)skip + bytes > whole) return end_work(one, BB_RESIDENT_OUTCOME_SIZE);
  if (!is_direct) {
    one->moves = true;
    one->from = job->pieces + piece + skip;
    one->iova = job->pieces_iova;
    one->list = job->pieces_list;
    one->at = piece;
    return WORK_DRAWN;
  }
  /* The entries that one command takes of a list lie on one page of it: the last of a page would point to the next. */
  const bb_u64 entries = job->page_bytes / 8, first = (to.list / 8 + destination / job->page_bytes + 1) / entries;
  const bb_u64 last = (to.list / 8 + (destination + bytes - 1) / job->page_bytes) / entries;
  if (to.iova == 0 || skip != 0 || bytes != whole || destination % 4 != 0 || last > first) {
    return end_work(one, BB_RESIDENT_OUTCOME_SEGMENT);
  }
  one->iova = to.iova;
  one->list = to.list;
  one->at = destination;
  return WORK_DRAWN;
}

static __device__ __forceinline__ void open_place(bb_resident_place *place, bb_u32 number, bb_u32 segments) {
  place->number = number;
  place->failed_lba = 0;
  place->bytes = 0;
  place->left = segments;
  place->outcome = BB_RESIDENT_OUTCOME_GOOD;
  place->status = 0;
  place->failed_blocks = 0;
}

/* A lane's work has ended: the last of a request writes its completion. */
static __device__ void finish_work(const bb_resident_ring *ring, const struct work *one) {
  bb_resident_place *place = bb_at<bb_resident_place>(ring->places) + one->place;
  if (one->outcome == BB_RESIDENT_OUTCOME_GOOD) {
    atomicAdd(&place->bytes, (bb_u64)one->bytes);
  } else if (atomicCAS(&place->outcome, (bb_u32)BB_RESIDENT_OUTCOME_GOOD, one->outcome) == BB_RESIDENT_OUTCOME_GOOD) {
    place->status = one->status;
    place->failed_lba = one->lba;
    place->failed_blocks = one->blocks;
  }
  if (count_down(&place->left) != 1) return;
  bb_resident_completion *completion = bb_at<bb_resident_completion>(ring->completions) + one->place;
  completion->outcome = place->outcome;
  completion->status = place->status;
  completion->failed_blocks = place->failed_blocks;
  completion->failed_lba = place->failed_lba;
  completion->bytes = place->bytes;
  bb_store_release(&completion->number, place->number + 1);
}

/* ---- a warp -------------------------------------------------------------------------------------------------------- */

/* The list whose segments the lanes draw, the same for all lanes. */
struct open_list {
  bb_u32 place, memory, next, left;
};

/* Idle lanes look at the next requests, and take the unbroken row of new ones, up to the first list. Returns how many. */
static __device__ bb_u32 take_requests(const bb_resident *job, const bb_resident_ring *ring, bb_u32 taken, bool is_idle,
                                       struct work *one, struct open_list *list, int *state) {
  const bb_u32 idle = __ballot_sync(BB_ALL, is_idle), below = (1u << bb_lane()) - 1;
  const bb_u32 number = taken + __popc(idle & below);
  const bb_resident_request *request = bb_at<bb_resident_request>(ring->requests) + (number & ring->mask);
  const bool is_new = is_idle && bb_load_acquire(&request->number) == number + 1;
  const bb_u32 old = idle & ~__ballot_sync(BB_ALL, is_new);
  const bb_u32 row = __ballot_sync(BB_ALL, is_new) & (old == 0 ? BB_ALL : (1u << (__ffs((int)old) - 1)) - 1);
  if (row == 0) return 0;
  bool takes = (row >> bb_lane() & 1) != 0;
  const bb_u32 operation = takes ? bb_load_relaxed(&request->operation) : BB_RESIDENT_OPERATION_NONE;
  const bb_u32 lists = __ballot_sync(BB_ALL, operation == BB_RESIDENT_OPERATION_LIST);
  const int first = lists == 0 ? 31 : __ffs((int)lists) - 1;
  if ((int)bb_lane() > first) takes = false;
  bb_u32 segments = 0, memory = 0;
  if (takes) {
    one->place = bb_load_relaxed(&request->place) & ring->mask;
    one->status = 0;
    one->begun_ns = bb_now_ns();
    if (operation == BB_RESIDENT_OPERATION_LIST) {
      segments = bb_load_relaxed(&request->segments);
      memory = bb_load_relaxed(&request->memory);
      if (segments == 0 || segments > job->list_segments) {
        one->lba = one->blocks = one->bytes = 0;
        one->moves = false;
        segments = 0;
        *state = (int)end_work(one, BB_RESIDENT_OUTCOME_SIZE);
      }
    } else {
      *state = (int)begin_simple(job, ring, one, operation, load_word(&request->lba), bb_load_relaxed(&request->blocks));
    }
    open_place(bb_at<bb_resident_place>(ring->places) + one->place, number, segments == 0 ? 1 : segments);
  }
  if (lists != 0) {
    list->place = __shfl_sync(BB_ALL, one->place, first);
    list->memory = __shfl_sync(BB_ALL, memory, first);
    list->left = __shfl_sync(BB_ALL, segments, first);
    list->next = 0;
  }
  /* What a lane wrote of a place, the others see. */
  __syncwarp();
  return __popc(__ballot_sync(BB_ALL, takes));
}

/* Idle lanes draw segments of the open list. */
static __device__ void draw_segments(const bb_resident *job, const bb_resident_ring *ring, bool is_idle, bb_u64 piece,
                                     struct work *one, struct open_list *list, int *state) {
  const bb_u32 idle = __ballot_sync(BB_ALL, is_idle), rank = __popc(idle & ((1u << bb_lane()) - 1));
  const bb_u32 wanted = __popc(idle), count = wanted < list->left ? wanted : list->left;
  if (is_idle && rank < count) {
    one->place = list->place;
    one->status = 0;
    one->begun_ns = bb_now_ns();
    /* After a failure the rest is not begun: it ends as it is. */
    const bb_resident_place *place = bb_at<bb_resident_place>(ring->places) + one->place;
    const bb_u32 outcome = bb_load_relaxed(&place->outcome);
    one->lba = one->blocks = one->bytes = 0;
    one->moves = false;
    *state = outcome != BB_RESIDENT_OUTCOME_GOOD
                 ? (int)end_work(one, outcome)
                 : (int)begin_segment(job, ring, one, list->memory, list->next + rank, piece);
  }
  list->next += count;
  list->left -= count;
}

template <int DRIVER>
static __device__ void serve(bb_resident *job) {
  const bb_u32 warp = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  bb_nvme_queue *queue = bb_at<bb_nvme_queue>(job->queues) + blockIdx.x % job->queue_count;
  const bb_resident_ring *ring = bb_at<bb_resident_ring>(job->rings) + warp;
  bb_nvme_control *control = bb_at<bb_nvme_control>(job->control);
  const bb_u64 piece = (bb_u64)job->piece_bytes * (warp * job->lanes + bb_lane());
  struct work one = {};
  struct open_list list = {};
  int state = WORK_NONE;
  bb_u32 taken = 0, idle_ns = LEAST_IDLE_NS, looks = 0, beats = 0;
  for (;;) {
    bb_u32 stop = 0;
    if (bb_lane() == 0) {
      stop = bb_load_relaxed(&control->stop);
      if (looks++ % LOOKS_BETWEEN_BEATS == 0) *(volatile bb_u64 *)&control->done = ++beats;
    }
    stop = __shfl_sync(BB_ALL, stop, 0);
    const bool is_idle = state == WORK_NONE && bb_lane() < job->lanes;
    bool draws = false;
    if (__any_sync(BB_ALL, is_idle)) {
      if (list.left != 0) draw_segments(job, ring, is_idle, piece, &one, &list, &state);
      else if (stop == BB_NVME_STOP_NONE) taken += take_requests(job, ring, taken, is_idle, &one, &list, &state);
      draws = is_idle && state == WORK_DRAWN;
      if (__any_sync(BB_ALL, draws)) {
        const bb_u32 drawn = bb_nvme_reserve<DRIVER>(queue, draws);
        if (draws) one.ticket = drawn;
      }
    }
    const bool stores = state == WORK_DRAWN && bb_nvme_may_store(queue, one.ticket);
    if (stores) {
      const bb_u64 prp2 = one.command == BB_NVME_FLUSH
                              ? 0
                              : arena_prp2(one.iova, one.list, job->page_bytes, one.at, one.blocks * job->block_bytes);
      bb_nvme_store<DRIVER>(queue, one.ticket, one.command, job->namespace_id,
                            one.command == BB_NVME_FLUSH ? 0 : one.iova + one.at, prp2, one.lba, one.blocks);
      bb_nvme_slot_of(queue, one.ticket)->begun_ns = one.begun_ns;
      state = WORK_STORED;
    }
    if (__any_sync(BB_ALL, stores)) {
      bb_nvme_ring<DRIVER>(queue, DRIVER == BB_GRID ? 0 : gather_stored_end(queue, state == WORK_DRAWN, one.ticket));
    }
    if (__any_sync(BB_ALL, state == WORK_STORED)) bb_nvme_poll<DRIVER>(queue);
    if (state == WORK_STORED && bb_nvme_is_done(queue, one.ticket)) {
      one.status = bb_nvme_slot_of(queue, one.ticket)->status;
      bb_nvme_release(queue, one.ticket);
      if (one.status != 0) one.outcome = BB_RESIDENT_OUTCOME_STATUS;
      state = one.status == 0 && one.moves ? WORK_MOVES : WORK_ENDED;
    }
    if (__any_sync(BB_ALL, state == WORK_MOVES)) {
      move_by_warp(state == WORK_MOVES, one.to, one.from, one.bytes);
      if (state == WORK_MOVES) state = WORK_ENDED;
    }
    if (state == WORK_ENDED) {
      finish_work(ring, &one);
      state = WORK_NONE;
    }
    const bool rests = __all_sync(BB_ALL, state == WORK_NONE) && list.left == 0;
    if (rests && stop != BB_NVME_STOP_NONE) return;
    bool lost = stop == BB_NVME_STOP_NOW || bb_nvme_has_failed(queue);
    if (!lost && (state == WORK_DRAWN || state == WORK_STORED) && bb_now_ns() - one.begun_ns > job->timeout_ns) {
      bb_nvme_fail(queue, BB_NVME_FAILURE_TIMEOUT, one.ticket & 0xffff);
      lost = true;
    }
    if (__any_sync(BB_ALL, lost)) return;
    if (!rests) {
      idle_ns = LEAST_IDLE_NS;
      continue;
    }
    /* Nothing to do: looks at host memory become rarer. */
    looks = 0;
    __nanosleep(idle_ns);
    if (idle_ns < job->idle_ns) idle_ns *= 2;
  }
}

/* ---- kernels ------------------------------------------------------------------------------------------------------- */

extern "C" __global__ void nvme_resident_warp(bb_resident *job) { serve<BB_WARP>(job); }

extern "C" __global__ void nvme_resident_grid(bb_resident *job) { serve<BB_GRID>(job); }
