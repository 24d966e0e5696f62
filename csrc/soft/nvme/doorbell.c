/*
 * Doorbells: registers, and shadow doorbells in the driver's memory (§5.8).
 *
 * Memory ordering, as a device on the other side of the bus has it: a doorbell is loaded with acquire, so the commands
 * that the driver stored before ringing are seen.
 */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>

/* What a doorbell register holds while nobody has rung it since the last look, where shadow doorbells are used: then the
 * value of a ring says nothing, and the same value may be rung twice. */
static const uint32_t NOT_RUNG = UINT32_MAX;

static uint32_t *doorbell(const struct controller *c, unsigned qid, int completion) {
  const uint32_t offset = DOORBELLS + (2 * qid + (unsigned)completion) * (4u << c->settings.dstrd);
  return (uint32_t *)(void *)(c->device->bars[0].base + offset);
}

/* The place of a doorbell in a page of shadow doorbells, or NULL. Those of the admin queues have none (§5.8). */
static uint32_t *shadow(const struct controller *c, uint32_t *page, unsigned qid, int completion) {
  const uint64_t offset = (uint64_t)(2 * qid + (unsigned)completion) << c->settings.dstrd;
  const uint64_t room = UINT64_C(1) << (c->memory.page_shift - 2);
  return c->doorbells.shadow_address == 0 || qid == 0 || offset >= room ? NULL : page + offset;
}

void nvme_set_doorbell(const struct controller *c, unsigned qid, int completion, uint32_t value) {
  uint32_t *in_memory = shadow(c, c->doorbells.shadow, qid, completion);
  if (in_memory != NULL) __atomic_store_n(in_memory, value, __ATOMIC_RELEASE);
  __atomic_store_n(doorbell(c, qid, completion), in_memory == NULL ? value : NOT_RUNG, __ATOMIC_RELEASE);
}

void nvme_clear_doorbell(const struct controller *c, unsigned qid, int completion) {
  __atomic_store_n(doorbell(c, qid, completion), 0, __ATOMIC_RELEASE);
}

int nvme_find_shadow(struct controller *c) {
  if (c->doorbells.shadow_address == 0 || c->doorbells.generation == c->memory.generation) return 0;
  const uint64_t bytes = UINT64_C(1) << c->memory.page_shift;
  c->doorbells.shadow = (uint32_t *)(void *)nvme_reach(c, c->doorbells.shadow_address, bytes);
  c->doorbells.event_indexes = (uint32_t *)(void *)nvme_reach(c, c->doorbells.event_address, bytes);
  c->doorbells.generation = c->memory.generation;
  return c->doorbells.shadow != NULL && c->doorbells.event_indexes != NULL ? 0 : -EFAULT;
}

int nvme_use_shadow_doorbells(struct controller *c, uint64_t shadows, uint64_t events) {
  c->doorbells.shadow_address = shadows;
  c->doorbells.event_address = events;
  c->doorbells.generation = c->memory.generation - 1;
  if (nvme_find_shadow(c) != 0) {
    c->doorbells.shadow_address = 0;
    return -EFAULT;
  }
  for (unsigned id = 1; id <= c->settings.queues; id++) {
    if (c->queues.sqs[id].size != 0) nvme_set_doorbell(c, id, 0, c->queues.sqs[id].tail);
    if (c->queues.cqs[id].size != 0) nvme_set_doorbell(c, id, 1, c->queues.cqs[id].head);
  }
  return 0;
}

/* ---- looking at them --------------------------------------------------------------------------------------------- */

static uint32_t distance(uint32_t from, uint32_t to, uint32_t size) { return to >= from ? to - from : to + size - from; }

/* A value that no driver may write is reported, and taken back unless a newer one has replaced it (§3.1.3, §5.2). */
static void refuse_doorbell(struct controller *c, unsigned qid, int completion, uint32_t value, uint32_t before,
                            uint8_t info) {
  uint32_t *in_memory = shadow(c, c->doorbells.shadow, qid, completion);
  uint32_t *at = in_memory != NULL ? in_memory : doorbell(c, qid, completion);
  __atomic_compare_exchange_n(at, &value, before, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
  c->counters.doorbell_errors++;
  nvme_raise_event(c, EVENT_ERROR, info, LOG_ERROR);
}

/* Acquire: what the driver stored before it rang is seen after this. */
static uint32_t load(const uint32_t *at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }

/* A tail in memory is looked at from a ring until the queue is found empty. Then EventIdx asks for a ring at the next
 * command; the tail is looked at once more, because the driver may have stored it before it could see that. */
static uint32_t load_shadow_tail(struct controller *c, struct submission_queue *sq, const uint32_t *in_memory) {
  uint32_t *ring = doorbell(c, sq->id, 0);
  if (load(ring) != NOT_RUNG && __atomic_exchange_n(ring, NOT_RUNG, __ATOMIC_ACQ_REL) != NOT_RUNG) sq->awake = 1;
  if (!sq->awake) return sq->tail;
  if (load(in_memory) == sq->tail && sq->head == sq->tail) {
    /* Sequentially consistent, the other half of the driver's full fence: either it sees this EventIdx, or its new tail
     * is seen here. */
    __atomic_store_n(shadow(c, c->doorbells.event_indexes, sq->id, 0), sq->tail, __ATOMIC_SEQ_CST);
    sq->awake = __atomic_load_n(in_memory, __ATOMIC_SEQ_CST) != sq->tail;
  }
  return load(in_memory);
}

void nvme_update_tail(struct controller *c, struct submission_queue *sq) {
  const uint32_t *in_memory = shadow(c, c->doorbells.shadow, sq->id, 0);
  const uint32_t tail = in_memory == NULL ? load(doorbell(c, sq->id, 0)) : load_shadow_tail(c, sq, in_memory);
  if (tail == sq->tail) return;
  const uint32_t used = distance(sq->head, sq->tail, sq->size);
  if (tail >= sq->size || used + distance(sq->tail, tail, sq->size) >= sq->size) {
    refuse_doorbell(c, sq->id, 0, tail, sq->tail, EVENT_INFO_DOORBELL_VALUE);
  } else {
    sq->tail = tail;
  }
}

void nvme_update_head(struct controller *c, struct completion_queue *cq) {
  const uint32_t *in_memory = shadow(c, c->doorbells.shadow, cq->id, 1);
  const uint32_t head = load(in_memory == NULL ? doorbell(c, cq->id, 1) : in_memory);
  if (head == cq->head) return;
  if (head >= cq->size || distance(cq->head, head, cq->size) > distance(cq->head, cq->tail, cq->size)) {
    refuse_doorbell(c, cq->id, 1, head, cq->head, EVENT_INFO_DOORBELL_VALUE);
  } else {
    cq->head = head;
  }
}

/* Looks for wrong values where nothing else would find them: completion queues that are not full, and doorbells of
 * queues that do not exist. */
void nvme_check_idle_doorbells(struct controller *c) {
  if ((c->registers.csts & (CSTS_RDY | CSTS_CFS)) != CSTS_RDY) return;
  for (unsigned id = 0; id <= c->settings.queues; id++) {
    if (c->queues.cqs[id].size != 0) nvme_update_head(c, &c->queues.cqs[id]);
    for (int completion = 0; completion < 2; completion++) {
      if ((completion ? c->queues.cqs[id].size : c->queues.sqs[id].size) != 0) continue;
      const uint32_t value = load(doorbell(c, id, completion));
      if (value != 0) refuse_doorbell(c, id, completion, value, 0, EVENT_INFO_DOORBELL_REGISTER);
    }
  }
}
