/* The state of an NVMe queue pair and its steps, for the loops that drive one: nvme_queue.c, nvme_job.c. */
#ifndef BUSBAR_NVME_QUEUE_H
#define BUSBAR_NVME_QUEUE_H

#include "busbar.h"

#include <errno.h>
#include <string.h>

enum { CSTS_OFFSET = 0x1c, CSTS_FATAL = 2, CQE_SQHD = 2, CQE_STATUS = 3 };

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

static inline uint32_t free_slots(const bb_nvme_queue *queue) {
  /* One slot stays free, or a full queue would look like an empty one. */
  const uint32_t used = queue->tail >= queue->sq_head ? queue->tail - queue->sq_head
                                                      : queue->tail + queue->entries - queue->sq_head;
  return queue->entries - 1 - used;
}

static inline int32_t put(const bb_nvme_queue *queue, uint32_t at, const uint8_t *commands, uint32_t count) {
  const uint32_t offset = at * BB_NVME_SQE_BYTES, size = count * BB_NVME_SQE_BYTES;
  if (queue->is_in_device) return size == 0 ? 0 : bb_write_block(queue->sq, offset, commands, size, 8);
  memcpy(queue->sq + offset, commands, size);
  return 0;
}

/* The entry that the controller wrote next, or NULL when it wrote none. */
static inline const uint32_t *next_completion(const bb_nvme_queue *queue) {
  const uint32_t *entry = (const uint32_t *)(const void *)(queue->cq + (size_t)queue->cq_head * BB_NVME_CQE_BYTES);
  /* The controller writes an entry's last word last. Acquire: the words before it, and the data that the command
   * brought, are read after the phase bit was seen. */
  const uint32_t status = __atomic_load_n(&entry[CQE_STATUS], __ATOMIC_ACQUIRE);
  return (status >> 16 & 1) == queue->phase ? entry : NULL;
}

/* Goes on behind an entry. The controller may not write it again before it hears of the new head. */
static inline void pass_completion(bb_nvme_queue *queue, const uint32_t *entry) {
  const uint32_t head = entry[CQE_SQHD] & 0xffff;
  /* Garbage from a broken controller must not make the queue look larger than it is. */
  if (head < queue->entries) queue->sq_head = head;
  if (++queue->cq_head == queue->entries) {
    queue->cq_head = 0;
    queue->phase ^= 1;
  }
}

static inline int32_t look_at_status(const bb_nvme_queue *queue) {
  const uint32_t csts = bb_read32(queue->registers, CSTS_OFFSET);
  if (csts == UINT32_MAX) return bb_take_fault() ? -EFAULT : -ENODEV;
  return csts & CSTS_FATAL ? -EIO : 0;
}

#endif
