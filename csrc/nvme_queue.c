/* The batch loop of an NVMe queue pair. See busbar.h for the rules, NVMe Base 2.0 §3.3 for queues and phase. */
#define _GNU_SOURCE
#include "busbar.h"
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CSTS_OFFSET = 0x1c, CSTS_FATAL = 2, LOOK_US = 1000, SPINS = 64, CQE_SQHD = 2, CQE_STATUS = 3 };

struct bb_nvme_queue {
  uint8_t *sq, *cq;
  void *registers;
  uint32_t entries, sq_doorbell, cq_doorbell;
  uint32_t tail;    /* where the next command goes */
  uint32_t sq_head; /* where the controller has read to, as its last completion said */
  uint32_t cq_head; /* where the next completion is expected */
  uint32_t phase;   /* the phase bit that makes it new */
  uint32_t is_in_device;
};

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

static uint32_t free_slots(const bb_nvme_queue *queue) {
  /* One slot stays free, or a full queue would look like an empty one. */
  const uint32_t used = queue->tail >= queue->sq_head ? queue->tail - queue->sq_head
                                                      : queue->tail + queue->entries - queue->sq_head;
  return queue->entries - 1 - used;
}

static int32_t put(const bb_nvme_queue *queue, uint32_t at, const uint8_t *commands, uint32_t count) {
  const uint32_t offset = at * BB_NVME_SQE_BYTES, size = count * BB_NVME_SQE_BYTES;
  if (queue->is_in_device) return size == 0 ? 0 : bb_write_block(queue->sq, offset, commands, size, 8);
  memcpy(queue->sq + offset, commands, size);
  return 0;
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
    const uint32_t *entry = (const uint32_t *)(const void *)(queue->cq + (size_t)queue->cq_head * BB_NVME_CQE_BYTES);
    /* The controller writes an entry's last word last. Acquire: the words before it, and the data that the command
     * brought, are read after the phase bit was seen. */
    const uint32_t status = __atomic_load_n(&entry[CQE_STATUS], __ATOMIC_ACQUIRE);
    if ((status >> 16 & 1) != queue->phase) break;
    memcpy(to + (size_t)taken * BB_NVME_CQE_BYTES, entry, BB_NVME_CQE_BYTES);
    const uint32_t head = entry[CQE_SQHD] & 0xffff;
    /* Garbage from a broken controller must not make the queue look larger than it is. */
    if (head < queue->entries) queue->sq_head = head;
    if (++queue->cq_head == queue->entries) {
      queue->cq_head = 0;
      queue->phase ^= 1;
    }
    taken++;
  }
  return taken;
}

static int32_t look_at_status(const bb_nvme_queue *queue) {
  const uint32_t csts = bb_read32(queue->registers, CSTS_OFFSET);
  if (csts == UINT32_MAX) return bb_take_fault() ? -EFAULT : -ENODEV;
  return csts & CSTS_FATAL ? -EIO : 0;
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
      if (taken >= wanted || taken >= room || now >= end) break;
      if (now < next_look) continue;
      next_look = now + LOOK_US;
      problem = look_at_status(queue);
      if (problem != 0) break;
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
