/*
 * Kernels that drive an NVMe queue pair: commands into the submission ring, doorbells, completions.
 *
 * Who drives: BB_THREAD, one thread; BB_WARP, one warp, all 32 lanes of which make each call together; BB_GRID, any number
 * of warps, likewise. A queue has one kind of driver at a time.
 *
 * A command: draw a ticket (bb_nvme_reserve), fill its memory, store it (bb_nvme_store) once bb_nvme_may_store says so, ring
 * (bb_nvme_ring), look for completions (bb_nvme_poll) until bb_nvme_is_done, then give the slot back (bb_nvme_release).
 * bb_nvme_submit and bb_nvme_wait do this for kernels that need no more. Nobody waits while holding a lock: both locks are
 * only tried, and are held over a bounded number of accesses.
 *
 * The command identifier is the low half of the ticket, so a completion that comes twice, or for a command of long ago, is
 * known for what it is until 65,536 more commands were submitted.
 *
 * Memory ordering. A command, and the data that it writes, are plain stores. fence.sc.sys comes between them and the
 * doorbell, so the controller sees both when it sees the doorbell. A completion's last dword is loaded with acquire at
 * system scope, so its other dwords and the data that the controller wrote before it are seen after. Slots pass between
 * threads by release and acquire.
 *
 * Source: NVM Express Base 2.0 §3.3.1 (rings), §3.3.3.2 (completions), §5.8 (shadow doorbells); NVMe over PCIe Transport 1.0
 * §3.1.2 (doorbells); PTX ISA 8.2, Memory Consistency Model (fences, .mmio).
 */
#ifndef BUSBAR_NVME_CUH
#define BUSBAR_NVME_CUH

#include "busbar_nvme_layout.cuh"

typedef unsigned int bb_u32;
typedef unsigned long long bb_u64;

enum bb_nvme_driver { BB_THREAD, BB_WARP, BB_GRID };

enum { BB_NVME_FLUSH = 0, BB_NVME_WRITE = 1, BB_NVME_READ = 2 };

static const bb_u32 BB_ALL = 0xffffffffu;
static const bb_u32 BB_IN_FLIGHT = 0x10000u;

/* ---- accesses ---------------------------------------------------------------------------------------------------- */

template <typename T>
static __device__ __forceinline__ T *bb_at(bb_u64 address) {
  return reinterpret_cast<T *>(address);
}

/* One aligned store of 4 bytes to a register: .mmio promises that it is neither split, merged nor repeated. */
static __device__ __forceinline__ void bb_store_register(bb_u64 address, bb_u32 value) {
  asm volatile("st.mmio.relaxed.sys.global.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}

static __device__ __forceinline__ void bb_store_relaxed(bb_u32 *to, bb_u32 value) {
  asm volatile("st.relaxed.sys.global.u32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}

static __device__ __forceinline__ void bb_store_release(bb_u32 *to, bb_u32 value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}

static __device__ __forceinline__ bb_u32 bb_load_relaxed(const bb_u32 *from) {
  bb_u32 value;
  asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}

static __device__ __forceinline__ bb_u32 bb_load_acquire(const bb_u32 *from) {
  bb_u32 value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}

/* Takes a lock if it is free. Acquire: what its last holder did is seen. */
static __device__ __forceinline__ bool bb_try_lock(bb_u32 *at) {
  bb_u32 before;
  asm volatile("atom.acquire.sys.global.cas.b32 %0, [%1], 0, 1;" : "=r"(before) : "l"(at) : "memory");
  return before == 0;
}

/* Commands, and the data that they write, before the doorbell; a shadow doorbell before the look at its EventIdx. */
static __device__ __forceinline__ void bb_fence_system() { asm volatile("fence.sc.sys;" ::: "memory"); }

/* Loads of completions before the doorbell that lets the controller write over them. */
static __device__ __forceinline__ void bb_fence_loads() { asm volatile("fence.acq_rel.sys;" ::: "memory"); }

static __device__ __forceinline__ bb_u64 bb_now_ns() {
  bb_u64 value;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(value)::"memory");
  return value;
}

static __device__ __forceinline__ bb_u32 bb_lane() { return threadIdx.x & 31; }

/* A time as 32 bits: 4.2 s at most. */
static __device__ __forceinline__ bb_u32 bb_span_ns(bb_u64 from, bb_u64 to) {
  const bb_u64 span = to - from;
  return span > 0xffffffffu ? 0xffffffffu : (bb_u32)span;
}

/* ---- failures and slots ------------------------------------------------------------------------------------------ */

/* The first failure of a queue counts. From then on nobody drives it, until the host has reset the controller. */
static __device__ __forceinline__ void bb_nvme_fail(bb_nvme_queue *queue, bb_u32 failure, bb_u32 detail) {
  if (atomicCAS(&queue->failure, 0u, failure) == 0) queue->failure_detail = detail;
}

static __device__ __forceinline__ bool bb_nvme_has_failed(const bb_nvme_queue *queue) {
  return bb_load_relaxed(&queue->failure) != 0;
}

static __device__ __forceinline__ bb_nvme_slot *bb_nvme_slot_of(const bb_nvme_queue *queue, bb_u32 ticket) {
  return bb_at<bb_nvme_slot>(queue->slots) + (ticket & queue->slot_mask);
}

/* ---- submission -------------------------------------------------------------------------------------------------- */

/* A ticket for each lane that wants one, consecutive in the order of the lanes. Tickets that were drawn must be stored,
 * unless the queue fails: those after them wait for that. */
template <int DRIVER>
static __device__ __forceinline__ bb_u32 bb_nvme_reserve(bb_nvme_queue *queue, bool wants) {
  if (DRIVER == BB_THREAD) return wants ? queue->next_ticket++ : 0;
  const bb_u32 who = __ballot_sync(BB_ALL, wants), rank = __popc(who & ((1u << bb_lane()) - 1));
  bb_u32 first = 0;
  if (bb_lane() == 0 && who != 0) first = atomicAdd(&queue->next_ticket, (bb_u32)__popc(who));
  return __shfl_sync(BB_ALL, first, 0) + rank;
}

/* Whether the command of a ticket may be stored: its slot is free, and so is its place in the ring. */
static __device__ __forceinline__ bool bb_nvme_may_store(const bb_nvme_queue *queue, bb_u32 ticket) {
  const bb_nvme_slot *slot = bb_nvme_slot_of(queue, ticket);
  return bb_load_acquire(&slot->turn) == ticket && ticket - bb_load_acquire(&queue->fetched) < queue->entry_mask;
}

/* Stores a command into the ring. The controller hears of it by bb_nvme_ring. */
template <int DRIVER>
static __device__ __forceinline__ void bb_nvme_store(bb_nvme_queue *queue, bb_u32 ticket, bb_u32 opcode, bb_u32 nsid,
                                                     bb_u64 prp1, bb_u64 prp2, bb_u64 lba, bb_u32 blocks) {
  bb_nvme_slot *slot = bb_nvme_slot_of(queue, ticket);
  const bb_u32 id = ticket & 0xffff, at = ticket & queue->entry_mask;
  slot->lba = lba;
  slot->blocks = blocks;
  bb_store_relaxed(&slot->in_flight, id | BB_IN_FLIGHT);
  uint4 *entry = bb_at<uint4>(queue->submission) + 4 * at;
  const bool has_range = opcode != BB_NVME_FLUSH;
  entry[0] = make_uint4(opcode | id << 16, nsid, 0, 0);
  entry[1] = make_uint4(0, 0, (bb_u32)prp1, (bb_u32)(prp1 >> 32));
  entry[2] = make_uint4((bb_u32)prp2, (bb_u32)(prp2 >> 32), (bb_u32)lba, (bb_u32)(lba >> 32));
  entry[3] = make_uint4(has_range ? blocks - 1 : 0, 0, 0, 0);
  if (DRIVER == BB_GRID) {
    /* Whoever rings for this command has seen the word below, and so what is before the fence. */
    bb_fence_system();
    bb_store_relaxed(bb_at<bb_u32>(queue->ready) + at, ticket + 1);
  }
}

/* Writes a doorbell. With shadow doorbells: into memory, and into the register only where the controller asks for it. */
static __device__ __forceinline__ bool bb_nvme_write_doorbell(bb_u64 doorbell, bb_u64 shadow, bb_u64 event, bb_u32 before,
                                                              bb_u32 now) {
  if (shadow != 0) {
    bb_store_relaxed(bb_at<bb_u32>(shadow), now);
    /* The store before the load: either the controller sees the new value, or this sees what it asks for. */
    bb_fence_system();
    const bb_u32 asked = bb_load_relaxed(bb_at<bb_u32>(event));
    if ((bb_u32)((now - asked - 1) & 0xffff) >= (bb_u32)((now - before) & 0xffff)) return false;
  }
  bb_store_register(doorbell, now);
  return true;
}

/* Tells the controller of all commands up to a ticket. By one thread. */
static __device__ __forceinline__ void bb_nvme_ring_up_to(bb_nvme_queue *queue, bb_u32 end) {
  const bb_u32 before = queue->rung;
  bb_store_relaxed(&queue->rung, end);
  bb_fence_system();
  if (bb_nvme_write_doorbell(queue->tail_doorbell, queue->tail_shadow, queue->tail_event, before & queue->entry_mask,
                             end & queue->entry_mask)) {
    queue->tail_rings++;
  }
}

/* The end of the unbroken row of stored commands, from a ticket on. At most a ring full. */
static __device__ __forceinline__ bb_u32 bb_nvme_stored_end(const bb_nvme_queue *queue, bb_u32 from) {
  const bb_u32 *ready = bb_at<bb_u32>(queue->ready);
  bb_u32 end = from;
  while (end - from < queue->entry_mask && bb_load_acquire(ready + (end & queue->entry_mask)) == end + 1) end++;
  return end;
}

/* Rings once for all that is stored without a gap: own commands and those of neighbours. A neighbour that is at it does it
 * for us: it looks again after it has let go of the lock. By one thread of a warp. */
static __device__ __forceinline__ void bb_nvme_ring_stored(bb_nvme_queue *queue) {
  for (;;) {
    if (!bb_try_lock(&queue->ring_lock)) return;
    const bb_u32 from = bb_load_relaxed(&queue->rung), end = bb_nvme_stored_end(queue, from);
    if (end != from) bb_nvme_ring_up_to(queue, end);
    bb_store_release(&queue->ring_lock, 0);
    /* The lock before the look: whoever found it taken has stored its word before, and that is seen here. */
    bb_fence_system();
    if (bb_nvme_stored_end(queue, end) == end) return;
  }
}

/* Tells the controller of what was stored. `end` is the ticket after the last command that is stored without a gap; only
 * BB_GRID finds it by itself. BB_WARP, BB_GRID: by the warp. */
template <int DRIVER>
static __device__ __forceinline__ void bb_nvme_ring(bb_nvme_queue *queue, bb_u32 end) {
  if (DRIVER == BB_THREAD) {
    if (end != queue->rung) bb_nvme_ring_up_to(queue, end);
    return;
  }
  __syncwarp();
  if (bb_lane() == 0) {
    if (DRIVER == BB_GRID) bb_nvme_ring_stored(queue);
    else if (end != queue->rung) bb_nvme_ring_up_to(queue, end);
  }
  __syncwarp();
}

/* ---- completions ------------------------------------------------------------------------------------------------- */

static __device__ __forceinline__ bb_u32 bb_nvme_phase_of(const bb_nvme_queue *queue, bb_u32 index) {
  return (index >> queue->entry_shift & 1) ^ 1;
}

/* How far a SQHD is ahead of what is known to be fetched; BB_ALL for one beyond what was submitted. */
static __device__ __forceinline__ bb_u32 bb_nvme_head_step(const bb_nvme_queue *queue, bb_u32 sqhd) {
  const bb_u32 fetched = bb_load_relaxed(&queue->fetched), step = (sqhd - fetched) & queue->entry_mask;
  return sqhd > queue->entry_mask || step > bb_load_relaxed(&queue->rung) - fetched ? BB_ALL : step;
}

/* One new completion: its command has ended. Returns its SQHD. */
static __device__ __forceinline__ bb_u32 bb_nvme_end_command(bb_nvme_queue *queue, const bb_u32 *entry, bb_u32 last) {
  const bb_u32 id = last & 0xffff, sqhd = bb_load_relaxed(entry + 2) & 0xffff;
  if (bb_nvme_head_step(queue, sqhd) == BB_ALL) bb_nvme_fail(queue, BB_NVME_FAILURE_HEAD, sqhd);
  bb_nvme_slot *slot = bb_nvme_slot_of(queue, id);
  if (atomicCAS(&slot->in_flight, id | BB_IN_FLIGHT, 0u) != (id | BB_IN_FLIGHT)) {
    bb_nvme_fail(queue, BB_NVME_FAILURE_STRAY, id);
    return sqhd;
  }
  slot->status = last >> 17;
  slot->result = bb_load_relaxed(entry);
  bb_store_release(&slot->done, bb_load_relaxed(&slot->turn) + 1);
  return sqhd;
}

/* After `count` completions from `head` on, of which `entry` is the last: SQHD frees places in the ring, and the head
 * doorbell gives theirs back. By one thread. */
static __device__ __forceinline__ void bb_nvme_pass(bb_nvme_queue *queue, bb_u32 head, bb_u32 count, bb_u32 sqhd) {
  const bb_u32 step = bb_nvme_head_step(queue, sqhd);
  if (step != BB_ALL) bb_store_release(&queue->fetched, bb_load_relaxed(&queue->fetched) + step);
  bb_store_relaxed(&queue->head, head + count);
  bb_store_relaxed(&queue->finished, queue->finished + count);
  bb_fence_loads();
  if (bb_nvme_write_doorbell(queue->head_doorbell, queue->head_shadow, queue->head_event, head & queue->entry_mask,
                             (head + count) & queue->entry_mask)) {
    queue->head_rings++;
  }
}

/* Takes the completions that are there: a warp looks at 32 entries at once and takes the unbroken row of new ones. */
template <int DRIVER>
static __device__ __forceinline__ void bb_nvme_poll(bb_nvme_queue *queue) {
  const bb_u32 *ring = bb_at<bb_u32>(queue->completion);
  if (DRIVER == BB_THREAD) {
    const bb_u32 head = queue->head;
    bb_u32 count = 0, sqhd = 0;
    for (; count < queue->entry_mask; count++) {
      const bb_u32 *entry = ring + 4 * ((head + count) & queue->entry_mask);
      const bb_u32 last = bb_load_acquire(entry + 3);
      if ((last >> 16 & 1) != bb_nvme_phase_of(queue, head + count)) break;
      sqhd = bb_nvme_end_command(queue, entry, last);
    }
    if (count > 0) bb_nvme_pass(queue, head, count, sqhd);
    return;
  }
  if (DRIVER == BB_GRID) {
    int is_ours = 0;
    if (bb_lane() == 0) is_ours = bb_try_lock(&queue->head_lock);
    if (!__shfl_sync(BB_ALL, is_ours, 0)) return;
  }
  const bb_u32 head = bb_load_relaxed(&queue->head), index = head + bb_lane();
  const bb_u32 *entry = ring + 4 * (index & queue->entry_mask);
  const bb_u32 last = bb_load_acquire(entry + 3);
  const bool is_new = bb_lane() <= queue->entry_mask && (last >> 16 & 1) == bb_nvme_phase_of(queue, index);
  const bb_u32 old = ~__ballot_sync(BB_ALL, is_new), count = old == 0 ? 32 : __ffs((int)old) - 1;
  if (count > 0) {
    bb_u32 sqhd = 0;
    if (bb_lane() < count) sqhd = bb_nvme_end_command(queue, entry, last);
    sqhd = __shfl_sync(BB_ALL, sqhd, (int)count - 1);
    if (bb_lane() == 0) bb_nvme_pass(queue, head, count, sqhd);
    __syncwarp();
  }
  if (DRIVER == BB_GRID) {
    __syncwarp();
    if (bb_lane() == 0) bb_store_release(&queue->head_lock, 0);
  }
}

/* Whether the command of a ticket has ended. Then its status and its data may be looked at. */
static __device__ __forceinline__ bool bb_nvme_is_done(const bb_nvme_queue *queue, bb_u32 ticket) {
  return bb_load_acquire(&bb_nvme_slot_of(queue, ticket)->done) == ticket + 1;
}

/* Gives the slot of a command that has ended to the next ticket. */
static __device__ __forceinline__ void bb_nvme_release(bb_nvme_queue *queue, bb_u32 ticket) {
  bb_store_release(&bb_nvme_slot_of(queue, ticket)->turn, ticket + queue->slot_mask + 1);
}

/* ---- for kernels of one's own ------------------------------------------------------------------------------------ */

/* What bb_nvme_wait returns where the command did not end: bits above the status field. */
static const bb_u32 BB_NVME_NOT_ENDED = 0x80000000u;

/* Submits a command for each lane that has one, and rings once. Returns the ticket of the lane. All lanes of the warp call
 * it together; with BB_THREAD, one thread. From the oldest ticket that was not waited for to the newest there may be
 * slot_mask + 1 tickets: whoever draws more waits for itself, and the queue fails after timeout_ns. */
template <int DRIVER>
static __device__ bb_u32 bb_nvme_submit(bb_nvme_queue *queue, bool wants, bb_u32 opcode, bb_u32 nsid, bb_u64 prp1,
                                        bb_u64 prp2, bb_u64 lba, bb_u32 blocks, bb_u64 timeout_ns) {
  const bb_u64 limit = bb_now_ns() + timeout_ns;
  const bb_u32 ticket = bb_nvme_reserve<DRIVER>(queue, wants);
  const bb_u32 who = DRIVER == BB_THREAD ? wants : __ballot_sync(BB_ALL, wants);
  bool waits = wants;
  while (who != 0) {
    if (waits && bb_nvme_may_store(queue, ticket)) {
      bb_nvme_store<DRIVER>(queue, ticket, opcode, nsid, prp1, prp2, lba, blocks);
      waits = false;
    }
    bb_u32 waiting = waits, end = ticket + !waits;
    if (DRIVER != BB_THREAD) {
      /* The commands before the first that waits are stored without a gap. */
      waiting = __ballot_sync(BB_ALL, waits);
      const bb_u32 row = waiting == 0 ? 31 - __clz((int)who) : __ffs((int)waiting) - 1;
      end = __shfl_sync(BB_ALL, ticket, (int)row) + (waiting == 0);
    }
    bb_nvme_ring<DRIVER>(queue, end);
    if (waiting == 0) break;
    bb_nvme_poll<DRIVER>(queue);
    if (waits && bb_now_ns() > limit) bb_nvme_fail(queue, BB_NVME_FAILURE_TIMEOUT, ticket & 0xffff);
    if (DRIVER == BB_THREAD ? bb_nvme_has_failed(queue) : __any_sync(BB_ALL, bb_nvme_has_failed(queue))) break;
  }
  return ticket;
}

/* Waits for a lane's command and gives its slot back. Returns its status field, 0 for success, or BB_NVME_NOT_ENDED after
 * timeout_ns, or once the queue has failed. All lanes of the warp call it together; with BB_THREAD, one thread. */
template <int DRIVER>
static __device__ bb_u32 bb_nvme_wait(bb_nvme_queue *queue, bool has, bb_u32 ticket, bb_u64 timeout_ns) {
  const bb_u64 end = bb_now_ns() + timeout_ns;
  bb_u32 status = has ? BB_NVME_NOT_ENDED : 0;
  for (;;) {
    bb_nvme_poll<DRIVER>(queue);
    if (has && bb_nvme_is_done(queue, ticket)) {
      status = bb_nvme_slot_of(queue, ticket)->status;
      bb_nvme_release(queue, ticket);
      has = false;
    }
    if (has && bb_now_ns() > end) bb_nvme_fail(queue, BB_NVME_FAILURE_TIMEOUT, ticket & 0xffff);
    if (DRIVER == BB_THREAD ? !has : __all_sync(BB_ALL, !has)) return status;
    if (DRIVER == BB_THREAD ? bb_nvme_has_failed(queue) : __any_sync(BB_ALL, bb_nvme_has_failed(queue))) return status;
  }
}

#endif
