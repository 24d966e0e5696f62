/*
 * Queues: their life, and posting completions.
 *
 * Memory ordering: the last word of a completion is stored with release, so a driver that sees its phase also sees the
 * rest of it and the data of the command.
 */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
  CQE_BYTES = sizeof(struct cqe),
  CID_WORDS = 65536 / 64,
};

int nvme_open_queues(struct controller *c) {
  const size_t count = c->settings.queues + 1;
  c->queues.sqs = calloc(count, sizeof *c->queues.sqs);
  c->queues.cqs = calloc(count, sizeof *c->queues.cqs);
  return c->queues.sqs == NULL || c->queues.cqs == NULL ? -ENOMEM : 0;
}

/* ---- life of queues ---------------------------------------------------------------------------------------------- */

void nvme_start_cq(struct controller *c, unsigned id, uint32_t size, uint64_t address) {
  nvme_set_doorbell(c, id, 1, 0);
  c->queues.cqs[id] = (struct completion_queue){.id = (uint16_t)id, .size = size, .phase = 1, .address = address};
}

int nvme_start_sq(struct controller *c, unsigned id, uint32_t size, uint64_t address, unsigned cqid) {
  uint64_t *cids = calloc(CID_WORDS, sizeof *cids);
  if (cids == NULL) return -ENOMEM;
  nvme_set_doorbell(c, id, 0, 0);
  c->queues.sqs[id] = (struct submission_queue){
      .id = (uint16_t)id, .size = size, .address = address, .cq = &c->queues.cqs[cqid], .cids = cids, .awake = 1};
  c->queues.cqs[cqid].users++;
  if (id >= c->queues.sq_end) c->queues.sq_end = id + 1;
  return 0;
}

void nvme_stop_sq(struct controller *c, unsigned id) {
  struct submission_queue *sq = &c->queues.sqs[id];
  for (size_t i = 0; i < c->deferred.count;) {
    if (c->deferred.heap[i]->sq == sq) free(nvme_deferred_take(c, i)), i = 0;
    else i++;
  }
  sq->cq->users--;
  free(sq->cids);
  *sq = (struct submission_queue){0};
  nvme_clear_doorbell(c, id, 0);
  while (c->queues.sq_end > 0 && c->queues.sqs[c->queues.sq_end - 1].size == 0) c->queues.sq_end--;
}

void nvme_stop_cq(struct controller *c, unsigned id) {
  c->queues.cqs[id] = (struct completion_queue){0};
  nvme_clear_doorbell(c, id, 1);
}

void nvme_reset_queues(struct controller *c) {
  for (unsigned id = 0; id <= c->settings.queues; id++) {
    if (c->queues.sqs[id].size != 0) nvme_stop_sq(c, id);
  }
  for (unsigned id = 0; id <= c->settings.queues; id++) nvme_stop_cq(c, id);
  c->doorbells.shadow_address = c->doorbells.event_address = 0;
}

void nvme_close_queues(struct controller *c) {
  while (c->deferred.count > 0) free(nvme_deferred_take(c, c->deferred.count - 1));
  free(c->deferred.heap);
  for (uint64_t id = 0; c->queues.sqs != NULL && id <= c->settings.queues; id++) free(c->queues.sqs[id].cids);
  free(c->queues.sqs);
  free(c->queues.cqs);
}

/* ---- completions ------------------------------------------------------------------------------------------------- */

int nvme_cq_has_room(struct controller *c, struct completion_queue *cq) {
  if (nvme_index_after(cq->tail, cq->size) != cq->head) return 1;
  nvme_update_head(c, cq);
  if (nvme_index_after(cq->tail, cq->size) != cq->head) return 1;
  c->counters.queue_full++;
  return 0;
}

int nvme_find_base(struct controller *c, uint64_t address, uint64_t bytes, uint8_t **base, uint64_t *generation) {
  if (*base != NULL && *generation == c->memory.generation) return 1;
  *base = nvme_reach(c, address, bytes);
  *generation = c->memory.generation;
  return *base != NULL;
}

static void put_cqe(struct controller *c, struct completion_queue *cq, const struct cqe *entry) {
  /* A controller that cannot reach its queues can only say so in CSTS. */
  if (!nvme_find_base(c, cq->address, (uint64_t)cq->size * CQE_BYTES, &cq->base, &cq->generation)) {
    nvme_fatal(c);
    return;
  }
  uint8_t *at = cq->base + (size_t)cq->tail * CQE_BYTES;
  memcpy(at, entry, 12);
  uint32_t last;
  memcpy(&last, &entry->cid, sizeof last);
  /* Release: the phase bit comes last, after the entry's other words and the command's data. */
  __atomic_store_n((uint32_t *)(void *)(at + 12), last, __ATOMIC_RELEASE);
  cq->tail = nvme_index_after(cq->tail, cq->size);
  if (cq->tail == 0) cq->phase ^= 1;
  c->counters.completions++;
}

static void post(struct controller *c, const struct command *cmd) {
  const struct effects *e = &cmd->effects;
  struct completion_queue *cq = cmd->sq->cq;
  struct cqe entry = {.dw0 = cmd->dw0, .dw1 = cmd->dw1, .sqhd = (uint16_t)cmd->sq->head, .sqid = cmd->sq->id,
                      .cid = cmd->sqe.cid, .status = (uint16_t)(cmd->status << 1 | cq->phase)};
  if (e->what & EFFECT_PHASE) entry.status ^= 1;
  if (e->what & EFFECT_CID) entry.cid = e->cid;
  if (e->what & EFFECT_SQHD) entry.sqhd = e->sqhd;
  put_cqe(c, cq, &entry);
  if (cq->interrupts && !(e->what & EFFECT_NO_INTERRUPT)) nvme_note_completion(c, cq);
}

void nvme_complete(struct controller *c, struct command *cmd) {
  if (!nvme_cq_has_room(c, cmd->sq->cq)) {
    cmd->is_done = 1;
    cmd->due_ns = soft_now_ns() + RETRY_NS;
    nvme_put_aside(c, cmd); /* where there is no memory for that, the completion is lost: the driver times out */
    return;
  }
  nvme_release_cid(cmd);
  if (cmd->effects.what & EFFECT_DROP) return;
  post(c, cmd);
  if (cmd->effects.what & EFFECT_DUPLICATE && nvme_cq_has_room(c, cmd->sq->cq)) post(c, cmd);
}

/* ---- ending commands early --------------------------------------------------------------------------------------- */

static void end_early(struct controller *c, size_t at, uint16_t status) {
  struct command *cmd = nvme_deferred_take(c, at);
  cmd->status = status;
  cmd->is_done = 1;
  nvme_complete(c, cmd);
  free(cmd);
}

/* A command that has begun to change something, or has changed it, is not called back. */
static int can_end_early(const struct command *cmd) { return !cmd->is_done && cmd->stage == 0; }

int nvme_abort_waiting(struct controller *c, unsigned sqid, unsigned cid) {
  for (size_t i = 0; i < c->deferred.count; i++) {
    const struct command *cmd = c->deferred.heap[i];
    if (cmd->sq->id != sqid || cmd->sqe.cid != cid || !can_end_early(cmd)) continue;
    end_early(c, i, SC_ABORTED);
    return 0;
  }
  return -ENOENT;
}

void nvme_abort_queue(struct controller *c, unsigned sqid) {
  for (size_t i = 0; i < c->deferred.count;) {
    /* Taking one out moves others into its place. */
    if (c->deferred.heap[i]->sq->id == sqid && can_end_early(c->deferred.heap[i])) end_early(c, i, SC_SQ_DELETED), i = 0;
    else i++;
  }
}
