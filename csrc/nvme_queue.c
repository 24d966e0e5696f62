/* The batch loop of an NVMe queue pair. See busbar.h for the rules, NVMe Base 2.0 §3.3 for queues and phase. */
#define _GNU_SOURCE
#include "busbar.h"
#include "internal.h"
#include "nvme_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_US = 1000, SPINS = 64 };

int32_t bb_nvme_queue_open(void *sq, void *cq, uint32_t entries, void *registers, uint32_t sq_doorbell,
                           uint32_t cq_doorbell, bb_nvme_queue **out) {
  if (sq == NULL || cq == NULL || registers == NULL || out == NULL || entries < 2 || entries > 65536) return -EINVAL;
  bb_nvme_queue *queue = malloc(sizeof *queue);
  if (queue == NULL) return -ENOMEM;
  *queue = (bb_nvme_queue){.sq = sq, .cq = cq, .registers = registers, .entries = entries, .sq_doorbell = sq_doorbell,
                           .cq_doorbell = cq_doorbell, .phase = 1};
  *out = queue;
  return 0;
}

void bb_nvme_queue_close(bb_nvme_queue *queue) { free(queue); }

void bb_nvme_queue_reset(bb_nvme_queue *queue) {
  if (queue == NULL) return;
  queue->tail = queue->sq_head = queue->cq_head = 0;
  queue->phase = 1;
}

void bb_nvme_queue_in_device(bb_nvme_queue *queue) {
  if (queue != NULL) queue->is_in_device = 1;
}

int32_t bb_nvme_submit(bb_nvme_queue *queue, const void *commands, uint32_t count) {
  if (queue == NULL || (commands == NULL && count > 0)) return -EINVAL;
  const uint32_t room = free_slots(queue);
  const uint32_t taken = count < room ? count : room;
  if (taken == 0) return 0;
  const uint32_t before_wrap = queue->entries - queue->tail < taken ? queue->entries - queue->tail : taken;
  const uint8_t *rest = (const uint8_t *)commands + (size_t)before_wrap * BB_NVME_SQE_BYTES;
  if (put(queue, queue->tail, commands, before_wrap) != 0 || put(queue, 0, rest, taken - before_wrap) != 0) return -EFAULT;
  queue->tail = (queue->tail + taken) % queue->entries;
  /* The commands must be in memory before the controller hears of them. On x86-64 stores to ordinary memory are seen
   * before a later store to uncached memory, so keeping the compiler from moving them would do; memcpy may use
   * non-temporal stores for large copies, and a queue in the device's memory may be mapped write-combining: both need the
   * fence. On aarch64 the fence is needed always. */
  bb_write_barrier();
  return bb_write32(queue->registers, queue->sq_doorbell, queue->tail) == 0 ? (int32_t)taken : -EFAULT;
}

/* Takes what is there now. */
static uint32_t take(bb_nvme_queue *queue, uint8_t *to, uint32_t room) {
  uint32_t taken = 0;
  while (taken < room) {
    const uint32_t *entry = next_completion(queue);
    if (entry == NULL) break;
    memcpy(to + (size_t)taken * BB_NVME_CQE_BYTES, entry, BB_NVME_CQE_BYTES);
    pass_completion(queue, entry);
    taken++;
  }
  return taken;
}

int32_t bb_nvme_reap(bb_nvme_queue *queue, void *completions, uint32_t room, uint32_t wanted, uint32_t limit_us) {
  if (queue == NULL || (completions == NULL && room > 0) || room > INT32_MAX || limit_us > 50000) return -EINVAL;
  uint32_t taken = take(queue, completions, room);
  int32_t problem = 0;
  if (taken < wanted && taken < room && limit_us > 0) {
    const uint64_t start = now_us(), end = start + limit_us;
    uint64_t next_look = start + LOOK_US;
    for (;;) {
      /* The clock is read before the queue, so the looks after the limit really come after it. */
      const uint64_t now = now_us();
      for (uint32_t i = 0; i < SPINS && taken < wanted && taken < room; i++) {
        taken += take(queue, (uint8_t *)completions + (size_t)taken * BB_NVME_CQE_BYTES, room - taken);
        relax();
      }
      if (taken >= wanted || taken >= room) break;
      /* At the limit too: a process that did not run until then has not looked yet. */
      if (now < next_look && now < end) continue;
      next_look = now + LOOK_US;
      problem = look_at_status(queue);
      if (problem != 0 || now >= end) break;
    }
  }
  if (taken == 0) return problem;
  /* Entries may be overwritten once the controller sees the new head, so they must have been read before. */
  loads_before_stores();
  return bb_write32(queue->registers, queue->cq_doorbell, queue->cq_head) == 0 ? (int32_t)taken : -EFAULT;
}

int32_t bb_nvme_submit_and_reap(bb_nvme_queue *queue, const void *commands, uint32_t count, uint32_t *submitted,
                                void *completions, uint32_t room, uint32_t wanted, uint32_t limit_us) {
  if (submitted == NULL) return -EINVAL;
  *submitted = 0;
  const int32_t taken = bb_nvme_submit(queue, commands, count);
  if (taken < 0) return taken;
  *submitted = (uint32_t)taken;
  return bb_nvme_reap(queue, completions, room, wanted, limit_us);
}
