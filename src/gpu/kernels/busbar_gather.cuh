/*
 * Reads runs of blocks into an arena: straight into it where drive and arena fit together, else into a piece of memory of
 * the lane, from which the warp copies the bytes that are wanted.
 */
#ifndef BUSBAR_GATHER_CUH
#define BUSBAR_GATHER_CUH

#include "busbar_files_layout.cuh"
#include "busbar_nvme.cuh"

/* ---- memory, by a warp -------------------------------------------------------------------------------------------- */

static __device__ __noinline__ void zero_by_warp(bb_u64 to, bb_u64 bytes) {
  const bb_u64 head = (4 - (to & 3)) & 3;
  if (head >= bytes) {
    if (bb_lane() < bytes) *bb_at<unsigned char>(to + bb_lane()) = 0;
    return;
  }
  if (bb_lane() < head) *bb_at<unsigned char>(to + bb_lane()) = 0;
  const bb_u64 words = (bytes - head) / 4, tail = (bytes - head) % 4;
#pragma unroll 1
  for (bb_u64 i = bb_lane(); i < words; i += 32) bb_at<bb_u32>(to + head)[i] = 0;
  if (bb_lane() < tail) *bb_at<unsigned char>(to + head + 4 * words + bb_lane()) = 0;
}

/* Copies from any place to any place, in whole words of both: those of the source are put together from two. */
static __device__ __noinline__ void copy_by_warp(bb_u64 to, bb_u64 from, bb_u32 bytes) {
  if (((to | from | bytes) & 15) == 0) {
#pragma unroll 1
    for (bb_u32 i = bb_lane(); i < bytes / 16; i += 32) bb_at<uint4>(to)[i] = bb_at<const uint4>(from)[i];
    return;
  }
  bb_u32 head = (bb_u32)((4 - (to & 3)) & 3);
  if (head > bytes) head = bytes;
  if (bb_lane() < head) *bb_at<unsigned char>(to + bb_lane()) = *bb_at<const unsigned char>(from + bb_lane());
  to += head;
  from += head;
  const bb_u32 words = (bytes - head) / 4, tail = (bytes - head) % 4, shift = (bb_u32)(from & 3) * 8;
  const bb_u32 *source = bb_at<const bb_u32>(from & ~(bb_u64)3);
#pragma unroll 1
  for (bb_u32 i = bb_lane(); i < words; i += 32) {
    bb_at<bb_u32>(to)[i] = shift == 0 ? source[i] : __funnelshift_r(source[i], source[i + 1], shift);
  }
  if (bb_lane() < tail) {
    *bb_at<unsigned char>(to + 4 * words + bb_lane()) = *bb_at<const unsigned char>(from + 4 * words + bb_lane());
  }
}

/* ---- commands ----------------------------------------------------------------------------------------------------- */

/* The second PRP of a transfer into an arena. Whoever cuts transfers sees to it that the entries of the list that one needs
 * lie on one page of the list. */
static __device__ __forceinline__ bb_u64 arena_prp2(bb_u64 iova, bb_u64 list, bb_u32 page_bytes, bb_u64 at, bb_u32 bytes) {
  const bb_u64 first = at / page_bytes, last = (at + bytes - 1) / page_bytes;
  if (last == first) return 0;
  return last == first + 1 ? iova + last * page_bytes : list + 8 * (first + 1);
}

static __device__ __forceinline__ void fail_gather(bb_nvme_gather *job, bb_u32 outcome, const bb_nvme_segment *one,
                                                   bb_u32 status) {
  if (atomicCAS(&job->outcome, 0u, outcome) != 0) return;
  job->failed_lba = one->lba;
  job->failed_blocks = one->blocks;
  job->failed_status = status;
}

static __device__ __forceinline__ bool gather_is_ending(const bb_nvme_gather *job) {
  return bb_load_relaxed(&bb_at<bb_nvme_control>(job->control)->stop) != BB_NVME_STOP_NONE ||
         bb_load_relaxed(&job->outcome) != 0;
}

enum gather_state { GATHER_IDLE, GATHER_DRAWN, GATHER_STORED, GATHER_READY };

/* What each lane that has bytes to be moved needs moved, one lane after the other, by the whole warp. From 0: zeros. */
static __device__ void move_by_warp(bool moves, bb_u64 to, bb_u64 from, bb_u32 bytes) {
  bb_u32 left = __ballot_sync(BB_ALL, moves);
  while (left != 0) {
    const int lane = __ffs((int)left) - 1;
    left &= left - 1;
    const bb_u64 its_to = __shfl_sync(BB_ALL, to, lane), its_from = __shfl_sync(BB_ALL, from, lane);
    const bb_u32 its_bytes = __shfl_sync(BB_ALL, bytes, lane);
    if (its_from == 0) zero_by_warp(its_to, its_bytes);
    else copy_by_warp(its_to, its_from, its_bytes);
  }
  __syncwarp();
}

/* Tickets drawn and stored by a warp that has its queue alone; as in nvme.cu. */
static __device__ __forceinline__ bb_u32 gather_stored_end(bb_nvme_queue *queue, bool waits, bb_u32 ticket) {
  const bb_u32 next = bb_load_relaxed(&queue->next_ticket);
  bb_u32 behind = waits ? next - ticket : 0;
  for (int step = 16; step > 0; step /= 2) {
    const bb_u32 other = __shfl_xor_sync(BB_ALL, behind, step);
    if (other > behind) behind = other;
  }
  return next - behind;
}

/* Reads all segments. `warp` is this warp's number among those that take part. */
template <int DRIVER>
static __device__ void gather(bb_nvme_gather *job, bb_nvme_queue *queue, bb_u32 warp) {
  const bb_u64 piece = (bb_u64)job->piece_bytes * (warp * job->lanes + bb_lane());
  const bb_nvme_segment *one = 0;
  int state = GATHER_IDLE;
  bb_u32 ticket = 0;
  bb_u64 begun_ns = 0;
  bool may_begin = bb_lane() < job->lanes;
  for (;;) {
    if (may_begin && state == GATHER_IDLE && gather_is_ending(job)) may_begin = false;
    const bool wants = may_begin && state == GATHER_IDLE;
    const bb_u32 who = __ballot_sync(BB_ALL, wants);
    if (who != 0) {
      bb_u32 index = 0;
      if (bb_lane() == 0) index = atomicAdd(&job->next, (bb_u32)__popc(who));
      index = __shfl_sync(BB_ALL, index, 0) + __popc(who & ((1u << bb_lane()) - 1));
      if (wants && index >= job->segment_count) may_begin = false;
      const bool begins = wants && may_begin;
      if (begins) one = bb_at<bb_nvme_segment>(job->segments) + index;
      const bool reads = begins && one->blocks != 0;
      const bb_u32 drawn = bb_nvme_reserve<DRIVER>(queue, reads);
      if (reads) {
        ticket = drawn;
        begun_ns = bb_now_ns();
      }
      if (begins) state = reads ? GATHER_DRAWN : GATHER_READY;
    }
    const bool stores = state == GATHER_DRAWN && bb_nvme_may_store(queue, ticket);
    if (stores) {
      const bb_u64 iova = one->is_direct ? job->arena_iova : job->pieces_iova;
      const bb_u64 list = one->is_direct ? job->arena_list : job->pieces_list;
      const bb_u64 at = one->is_direct ? one->destination : piece, prp1 = iova + at;
      const bb_u64 prp2 = arena_prp2(iova, list, job->page_bytes, at, one->blocks * job->block_bytes);
      bb_nvme_store<DRIVER>(queue, ticket, BB_NVME_READ, job->namespace_id, prp1, prp2, one->lba, one->blocks);
      bb_nvme_slot_of(queue, ticket)->begun_ns = begun_ns;
      state = GATHER_STORED;
    }
    if (__any_sync(BB_ALL, stores)) {
      bb_nvme_ring<DRIVER>(queue, DRIVER == BB_GRID ? 0 : gather_stored_end(queue, state == GATHER_DRAWN, ticket));
    }
    bb_nvme_poll<DRIVER>(queue);
    if (state == GATHER_STORED && bb_nvme_is_done(queue, ticket)) {
      const bb_u32 status = bb_nvme_slot_of(queue, ticket)->status;
      bb_nvme_release(queue, ticket);
      state = status == 0 ? GATHER_READY : GATHER_IDLE;
      if (status != 0) fail_gather(job, BB_NVME_FAILURE_STATUS, one, status);
    }
    const bool is_ready = state == GATHER_READY;
    const bb_u32 ready = __ballot_sync(BB_ALL, is_ready);
    if (ready != 0) {
      const bool moves = is_ready && (one->blocks == 0 || one->is_direct == 0);
      const bb_u64 from = moves && one->blocks != 0 ? job->pieces + piece + one->skip : 0;
      move_by_warp(moves, moves ? job->arena + one->destination : 0, from, moves ? one->bytes : 0);
      if (is_ready) state = GATHER_IDLE;
      if (bb_lane() == 0) {
        const bb_u32 done = atomicAdd(&job->done, (bb_u32)__popc(ready)) + __popc(ready);
        *(volatile bb_u64 *)&bb_at<bb_nvme_control>(job->control)->done = done;
      }
    }
    if (__all_sync(BB_ALL, state == GATHER_IDLE && !may_begin)) return;
    bool lost = bb_load_relaxed(&bb_at<bb_nvme_control>(job->control)->stop) == BB_NVME_STOP_NOW || bb_nvme_has_failed(queue);
    if (!lost && state != GATHER_IDLE && bb_now_ns() - begun_ns > job->timeout_ns) {
      bb_nvme_fail(queue, BB_NVME_FAILURE_TIMEOUT, ticket & 0xffff);
      fail_gather(job, BB_NVME_FAILURE_TIMEOUT, one, 0);
      lost = true;
    }
    if (__any_sync(BB_ALL, lost)) return;
  }
}

#endif
