/*
 * bb_array<T>: blocks of a drive as an array. Pages of it are cached in memory that drive and GPU reach; they are found by
 * set, evicted by a clock, and written back when they were changed.
 *
 * All 32 lanes of a warp make each call together. Lanes that want the same page make one request; a page that another warp is
 * reading already is waited for, and not read again. A lane that has its page uses it at once and lets go of it, so no lane
 * holds a page while it waits for another. Nobody waits while holding a lock: locks of sets are only tried, and are held over
 * a bounded number of accesses.
 *
 * Memory ordering: a page's data come before its state (release), and its state before they are used (acquire). What a lane
 * changes comes before its reference goes (fence), and that before the write back, which looks at references with acquire;
 * then fence.sc.sys stands before the doorbell, as for every command.
 */
#ifndef BUSBAR_ARRAY_CUH
#define BUSBAR_ARRAY_CUH

#include "busbar_files_layout.cuh"
#include "busbar_nvme.cuh"

enum bb_line_state { BB_LINE_EMPTY, BB_LINE_LOADING, BB_LINE_READY, BB_LINE_CLEANING };

/* What came of looking for a page: try again; it is there, or being read by somebody; read it; write this line back first. */
enum bb_line_action { BB_LINE_RETRY, BB_LINE_HIT, BB_LINE_JOIN, BB_LINE_READ, BB_LINE_WRITE };

static __device__ __forceinline__ bb_nvme_line *bb_array_line(const bb_nvme_array *array, bb_u32 line) {
  return bb_at<bb_nvme_line>(array->lines) + line;
}

/* Looks for a page under the lock of its set, and takes `count` references to it. By one lane for all that want it. */
static __device__ __noinline__ bb_u32 bb_array_look(bb_nvme_array *array, bb_u64 page, bb_u32 count, bb_u32 *found) {
  const bb_u32 set = (bb_u32)(page % array->set_count), first = set * array->way_count;
  bb_u32 *lock = bb_at<bb_u32>(array->locks) + set, *hand = bb_at<bb_u32>(array->hands) + set;
  if (!bb_try_lock(lock)) return BB_LINE_RETRY;
  bb_u32 action = BB_LINE_RETRY;
  bool is_known = false;
  for (bb_u32 way = 0; way < array->way_count && !is_known; way++) {
    bb_nvme_line *line = bb_array_line(array, first + way);
    if (line->tag != page + 1) continue;
    is_known = true;
    const bb_u32 state = bb_load_acquire(&line->state);
    /* One that is written back is as good as there, once that is done. */
    if (state == BB_LINE_CLEANING) break;
    atomicAdd(&line->references, count);
    line->is_used = 1;
    *found = first + way;
    action = state == BB_LINE_READY ? BB_LINE_HIT : BB_LINE_JOIN;
  }
  /* The clock goes round twice at most: once to take the marks of use away. */
  for (bb_u32 step = 0; !is_known && action == BB_LINE_RETRY && step <= 2 * array->way_count; step++) {
    const bb_u32 way = *hand;
    *hand = way + 1 == array->way_count ? 0 : way + 1;
    bb_nvme_line *line = bb_array_line(array, first + way);
    const bb_u32 state = bb_load_acquire(&line->state);
    if (state == BB_LINE_LOADING || state == BB_LINE_CLEANING || bb_load_acquire(&line->references) != 0) continue;
    if (state == BB_LINE_READY && line->is_used) {
      line->is_used = 0;
      continue;
    }
    *found = first + way;
    if (state == BB_LINE_READY && bb_load_relaxed(&line->is_dirty)) {
      bb_store_relaxed(&line->state, BB_LINE_CLEANING);
      action = BB_LINE_WRITE;
    } else {
      if (state == BB_LINE_READY) atomicAdd(&array->evictions, (bb_u64)1);
      line->tag = page + 1;
      line->is_used = 1;
      line->references = count;
      bb_store_relaxed(&line->state, BB_LINE_LOADING);
      action = BB_LINE_READ;
    }
  }
  bb_store_release(lock, 0);
  return action;
}

/* Reads or writes back the pages of lines, for each lane that wants to. Their states say then that they are ready. */
template <int DRIVER>
static __device__ __noinline__ void bb_array_transfer(bb_nvme_array *array, bool wants, bool is_write, bb_u32 which) {
  bb_nvme_queue *queue = bb_at<bb_nvme_queue>(array->queue);
  bb_nvme_line *line = bb_array_line(array, wants ? which : 0);
  const bb_u64 prp1 = array->pages_iova + (bb_u64)which * array->page_bytes;
  const bb_u64 lba = array->first_lba + (line->tag - 1) * array->page_blocks;
  const bb_u32 ticket = bb_nvme_submit<DRIVER>(queue, wants, is_write ? BB_NVME_WRITE : BB_NVME_READ, array->namespace_id,
                                               prp1, 0, lba, array->page_blocks, array->timeout_ns);
  const bb_u32 status = bb_nvme_wait<DRIVER>(queue, wants, ticket, array->timeout_ns);
  /* A sign of life for the host: that another warp's may be lost does not matter. */
  if (bb_lane() == 0) (*(volatile bb_u64 *)&bb_at<bb_nvme_control>(array->control)->done)++;
  if (!wants) return;
  if (status != 0) {
    atomicCAS(&array->failure, 0u, status);
    return;
  }
  if (is_write) {
    bb_store_relaxed(&line->is_dirty, 0);
    atomicAdd(&array->write_backs, (bb_u64)1);
  }
  bb_store_release(&line->state, BB_LINE_READY);
}

static __device__ __forceinline__ bool bb_array_has_failed(const bb_nvme_array *array) {
  return bb_load_relaxed(&bb_at<bb_nvme_control>(array->control)->stop) != BB_NVME_STOP_NONE ||
         bb_load_relaxed(&array->failure) != 0 || bb_nvme_has_failed(bb_at<bb_nvme_queue>(array->queue));
}

/* Lets each lane that wants to use its page: `use` gets its address, and says whether it changed it. Returns false once a
 * command has failed, after timeout_ns, and when the host asks for the end: then the array is not to be used any more. */
template <int DRIVER, typename USE>
static __device__ bool bb_array_access(bb_nvme_array *array, bool wants, bb_u64 page, USE use) {
  const bb_u64 limit = bb_now_ns() + array->timeout_ns;
  bool has_claim = false;
  bb_u32 which = 0, pause_ns = 500;
  if (wants && page >= array->page_count) {
    atomicCAS(&array->failure, 0u, 0x80u);
    wants = false;
  }
  while (__any_sync(BB_ALL, wants)) {
    const bool looks = wants && !has_claim;
    const bb_u32 looking = __ballot_sync(BB_ALL, looks);
    bb_u32 action = BB_LINE_RETRY, found = 0;
    int leader = (int)bb_lane();
    if (looks) {
      const bb_u32 group = __match_any_sync(looking, page);
      leader = __ffs((int)group) - 1;
      if ((int)bb_lane() == leader) {
        const bb_u32 count = __popc(group);
        action = bb_array_look(array, page, count, &found);
        if (action == BB_LINE_HIT) atomicAdd(&array->hits, (bb_u64)count);
        if (action == BB_LINE_JOIN) atomicAdd(&array->joins, (bb_u64)count);
        if (action == BB_LINE_READ) atomicAdd(&array->misses, (bb_u64)count);
      }
    }
    __syncwarp();
    const bool leads = looks && (int)bb_lane() == leader;
    const bool reads = leads && action == BB_LINE_READ, writes = leads && action == BB_LINE_WRITE;
    const bb_u32 its_action = __shfl_sync(BB_ALL, action, leader), its_line = __shfl_sync(BB_ALL, found, leader);
    if (looks && its_action != BB_LINE_RETRY && its_action != BB_LINE_WRITE) {
      has_claim = true;
      which = its_line;
    }
    if (__any_sync(BB_ALL, reads || writes)) bb_array_transfer<DRIVER>(array, reads || writes, writes, found);
    __syncwarp();
    if (wants && has_claim && bb_load_acquire(&bb_array_line(array, which)->state) == BB_LINE_READY) {
      bb_nvme_line *line = bb_array_line(array, which);
      if (use(array->pages + (bb_u64)which * array->page_bytes)) bb_store_relaxed(&line->is_dirty, 1);
      __threadfence();
      atomicSub(&line->references, 1u);
      wants = false;
    }
    /* Where nothing came of it, others have all lines of the set, or a lock: they go on sooner when they are left alone. */
    if (__any_sync(BB_ALL, leads && (action == BB_LINE_HIT || action == BB_LINE_READ || action == BB_LINE_WRITE))) {
      pause_ns = 500;
    } else if (__any_sync(BB_ALL, wants)) {
      __nanosleep(pause_ns);
      if (pause_ns < 64000) pause_ns *= 2;
    }
    const bool is_late = wants && bb_now_ns() > limit;
    if (__any_sync(BB_ALL, is_late || bb_array_has_failed(array))) return false;
  }
  return true;
}

/* An array of T on a drive. T has a size that divides a page. */
template <typename T, int DRIVER = BB_GRID>
struct bb_array {
  bb_nvme_array *cache;

  /* Reads one element for each lane that wants one. */
  __device__ bool read(bool wants, bb_u64 index, T *value) const {
    const bb_u64 each = cache->page_bytes / sizeof(T), at = index % each;
    return bb_array_access<DRIVER>(cache, wants, index / each, [=](bb_u64 page) {
      *value = *(volatile const T *)(page + at * sizeof(T));
      return false;
    });
  }

  /* Writes one element for each lane that wants to. It is on the drive after bb_array_flush. */
  __device__ bool write(bool wants, bb_u64 index, T value) const {
    const bb_u64 each = cache->page_bytes / sizeof(T), at = index % each;
    return bb_array_access<DRIVER>(cache, wants, index / each, [=](bb_u64 page) {
      *(volatile T *)(page + at * sizeof(T)) = value;
      return true;
    });
  }
};

/* Writes all changed pages back. By one warp, while nobody else uses the array. */
template <int DRIVER>
static __device__ void bb_array_flush(bb_nvme_array *array) {
  const bb_u32 lines = array->set_count * array->way_count;
  for (bb_u32 first = 0; first < lines && !bb_array_has_failed(array); first += 32) {
    const bb_u32 which = first + bb_lane();
    const bool wants = which < lines && bb_array_line(array, which)->state == BB_LINE_READY &&
                       bb_array_line(array, which)->is_dirty != 0;
    bb_array_transfer<DRIVER>(array, wants, true, which < lines ? which : 0);
    __syncwarp();
  }
}

#endif
