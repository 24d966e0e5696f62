/*
 * Queues: doorbells, fetching commands, posting completions, and commands that wait.
 *
 * Memory ordering, as a device on the other side of the bus has it: a doorbell is loaded with acquire, so the commands
 * that the driver stored before ringing are seen; the last word of a completion is stored with release, so a driver that
 * sees its phase also sees the rest of it and the data of the command.
 */
#define _GNU_SOURCE
#include "nvme.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
  SQE_BYTES = sizeof(struct sqe),
  CQE_BYTES = sizeof(struct cqe),
  CID_WORDS = 65536 / 64,
  /* No more commands are fetched while so many wait. */
  MOST_DEFERRED = 16384,
  /* Then other queues, registers and other threads get a turn. */
  MOST_AT_ONCE = 256,
  RETRY_NS = 2000,
};

int nvme_open_queues(struct controller *c) {
  const size_t count = c->settings.queues + 1;
  c->sqs = calloc(count, sizeof *c->sqs);
  c->cqs = calloc(count, sizeof *c->cqs);
  return c->sqs == NULL || c->cqs == NULL ? -ENOMEM : 0;
}

/* ---- commands that wait: a heap by the time they are due, and by age among equals ---------------------------------- */

static int is_before(const struct command *a, const struct command *b) {
  return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void sift_up(struct controller *c, size_t at) {
  struct command **heap = c->deferred, *moved = heap[at];
  for (; at > 0 && is_before(moved, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = moved;
}

static void sift_down(struct controller *c, size_t at) {
  struct command **heap = c->deferred, *moved = heap[at];
  for (size_t child; (child = 2 * at + 1) < c->deferred_count; at = child) {
    if (child + 1 < c->deferred_count && is_before(heap[child + 1], heap[child])) child++;
    if (!is_before(heap[child], moved)) break;
    heap[at] = heap[child];
  }
  heap[at] = moved;
}

static int push(struct controller *c, struct command *cmd) {
  if (c->deferred_count == c->deferred_room) {
    const size_t room = c->deferred_room == 0 ? 64 : 2 * c->deferred_room;
    struct command **larger = realloc(c->deferred, room * sizeof(struct command *));
    if (larger == NULL) return -ENOMEM;
    c->deferred = larger;
    c->deferred_room = room;
  }
  cmd->order = c->order++;
  c->deferred[c->deferred_count++] = cmd;
  sift_up(c, c->deferred_count - 1);
  return 0;
}

static struct command *take(struct controller *c, size_t at) {
  struct command *taken = c->deferred[at];
  c->deferred[at] = c->deferred[--c->deferred_count];
  if (at < c->deferred_count) {
    sift_down(c, at);
    sift_up(c, at);
  }
  return taken;
}

uint64_t nvme_next_due(const struct controller *c) { return c->deferred_count == 0 ? UINT64_MAX : c->deferred[0]->due_ns; }

uint16_t nvme_defer(struct command *cmd, uint64_t delay_ns) {
  cmd->due_ns = soft_now_ns() + delay_ns;
  cmd->stage++;
  return SC_LATER;
}

static void hold_cid(struct command *cmd) {
  if (cmd->is_held) return;
  cmd->is_held = 1;
  cmd->sq->waiting++;
  cmd->sq->cids[cmd->sqe.cid / 64] |= UINT64_C(1) << cmd->sqe.cid % 64;
}

static void release_cid(struct command *cmd) {
  if (!cmd->is_held) return;
  cmd->is_held = 0;
  cmd->sq->waiting--;
  cmd->sq->cids[cmd->sqe.cid / 64] &= ~(UINT64_C(1) << cmd->sqe.cid % 64);
}

static int holds_cid(const struct submission_queue *sq, uint16_t cid) {
  return sq->waiting != 0 && (sq->cids[cid / 64] >> cid % 64 & 1) != 0;
}

/* Keeps a copy of a command until it is due. -ENOMEM, and nothing was done. */
static int put_aside(struct controller *c, struct command *cmd) {
  struct command *copy = malloc(sizeof *copy);
  if (copy == NULL) return -ENOMEM;
  hold_cid(cmd);
  *copy = *cmd;
  if (push(c, copy) == 0) return 0;
  release_cid(cmd);
  free(copy);
  return -ENOMEM;
}

unsigned nvme_count_waiting(const struct controller *c, uint8_t admin_opcode) {
  unsigned count = 0;
  for (size_t i = 0; i < c->deferred_count; i++) {
    count += c->deferred[i]->sq->id == 0 && c->deferred[i]->sqe.opcode == admin_opcode;
  }
  return count;
}

static void end_early(struct controller *c, size_t at, uint16_t status) {
  struct command *cmd = take(c, at);
  cmd->status = status;
  cmd->is_done = 1;
  nvme_complete(c, cmd);
  free(cmd);
}

/* A command that has begun to change something, or has changed it, is not called back. */
static int can_end_early(const struct command *cmd) { return !cmd->is_done && cmd->stage == 0; }

int nvme_abort_waiting(struct controller *c, unsigned sqid, unsigned cid) {
  for (size_t i = 0; i < c->deferred_count; i++) {
    const struct command *cmd = c->deferred[i];
    if (cmd->sq->id != sqid || cmd->sqe.cid != cid || !can_end_early(cmd)) continue;
    end_early(c, i, SC_ABORTED);
    return 0;
  }
  return -ENOENT;
}

void nvme_abort_queue(struct controller *c, unsigned sqid) {
  for (size_t i = 0; i < c->deferred_count;) {
    /* Taking one out moves others into its place. */
    if (c->deferred[i]->sq->id == sqid && can_end_early(c->deferred[i])) end_early(c, i, SC_SQ_DELETED), i = 0;
    else i++;
  }
}

/* ---- where doorbells are ----------------------------------------------------------------------------------------- */

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
  return c->shadow_address == 0 || qid == 0 || offset >= UINT64_C(1) << (c->page_shift - 2) ? NULL : page + offset;
}

static void set_doorbell(const struct controller *c, unsigned qid, int completion, uint32_t value) {
  uint32_t *in_memory = shadow(c, c->shadow, qid, completion);
  if (in_memory != NULL) __atomic_store_n(in_memory, value, __ATOMIC_RELEASE);
  __atomic_store_n(doorbell(c, qid, completion), in_memory == NULL ? value : NOT_RUNG, __ATOMIC_RELEASE);
}

static int find_shadow(struct controller *c) {
  if (c->shadow_address == 0 || c->shadow_generation == c->generation) return 0;
  const uint64_t bytes = UINT64_C(1) << c->page_shift;
  c->shadow = (uint32_t *)(void *)nvme_reach(c, c->shadow_address, bytes);
  c->event_indexes = (uint32_t *)(void *)nvme_reach(c, c->event_address, bytes);
  c->shadow_generation = c->generation;
  return c->shadow != NULL && c->event_indexes != NULL ? 0 : -EFAULT;
}

int nvme_use_shadow_doorbells(struct controller *c, uint64_t shadows, uint64_t events) {
  c->shadow_address = shadows;
  c->event_address = events;
  c->shadow_generation = c->generation - 1;
  if (find_shadow(c) != 0) {
    c->shadow_address = 0;
    return -EFAULT;
  }
  for (unsigned id = 1; id <= c->settings.queues; id++) {
    if (c->sqs[id].size != 0) set_doorbell(c, id, 0, c->sqs[id].tail);
    if (c->cqs[id].size != 0) set_doorbell(c, id, 1, c->cqs[id].head);
  }
  return 0;
}

/* ---- life of queues ---------------------------------------------------------------------------------------------- */

void nvme_start_cq(struct controller *c, unsigned id, uint32_t size, uint64_t address) {
  set_doorbell(c, id, 1, 0);
  c->cqs[id] = (struct completion_queue){.id = (uint16_t)id, .size = size, .phase = 1, .address = address};
}

int nvme_start_sq(struct controller *c, unsigned id, uint32_t size, uint64_t address, unsigned cqid) {
  uint64_t *cids = calloc(CID_WORDS, sizeof *cids);
  if (cids == NULL) return -ENOMEM;
  set_doorbell(c, id, 0, 0);
  c->sqs[id] = (struct submission_queue){.id = (uint16_t)id, .size = size, .address = address, .cq = &c->cqs[cqid],
                                         .cids = cids, .awake = 1};
  c->cqs[cqid].users++;
  if (id >= c->sq_end) c->sq_end = id + 1;
  return 0;
}

void nvme_stop_sq(struct controller *c, unsigned id) {
  struct submission_queue *sq = &c->sqs[id];
  for (size_t i = 0; i < c->deferred_count;) {
    if (c->deferred[i]->sq == sq) free(take(c, i)), i = 0;
    else i++;
  }
  sq->cq->users--;
  free(sq->cids);
  *sq = (struct submission_queue){0};
  __atomic_store_n(doorbell(c, id, 0), 0, __ATOMIC_RELEASE);
  while (c->sq_end > 0 && c->sqs[c->sq_end - 1].size == 0) c->sq_end--;
}

void nvme_stop_cq(struct controller *c, unsigned id) {
  c->cqs[id] = (struct completion_queue){0};
  __atomic_store_n(doorbell(c, id, 1), 0, __ATOMIC_RELEASE);
}

void nvme_reset_queues(struct controller *c) {
  for (unsigned id = 0; id <= c->settings.queues; id++) {
    if (c->sqs[id].size != 0) nvme_stop_sq(c, id);
  }
  for (unsigned id = 0; id <= c->settings.queues; id++) nvme_stop_cq(c, id);
  c->shadow_address = c->event_address = 0;
}

void nvme_close_queues(struct controller *c) {
  while (c->deferred_count > 0) free(take(c, c->deferred_count - 1));
  free(c->deferred);
  for (uint64_t id = 0; c->sqs != NULL && id <= c->settings.queues; id++) free(c->sqs[id].cids);
  free(c->sqs);
  free(c->cqs);
}

/* ---- looking at doorbells ---------------------------------------------------------------------------------------- */

static uint32_t distance(uint32_t from, uint32_t to, uint32_t size) { return to >= from ? to - from : to + size - from; }

/* A value that no driver may write is reported, and taken back unless a newer one has replaced it (§3.1.3, §5.2). */
static void refuse_doorbell(struct controller *c, unsigned qid, int completion, uint32_t value, uint32_t before,
                            uint8_t info) {
  uint32_t *in_memory = shadow(c, c->shadow, qid, completion);
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
    __atomic_store_n(shadow(c, c->event_indexes, sq->id, 0), sq->tail, __ATOMIC_SEQ_CST);
    sq->awake = __atomic_load_n(in_memory, __ATOMIC_SEQ_CST) != sq->tail;
  }
  return load(in_memory);
}

static void update_tail(struct controller *c, struct submission_queue *sq) {
  const uint32_t *in_memory = shadow(c, c->shadow, sq->id, 0);
  const uint32_t tail = in_memory == NULL ? load(doorbell(c, sq->id, 0)) : load_shadow_tail(c, sq, in_memory);
  if (tail == sq->tail) return;
  const uint32_t used = distance(sq->head, sq->tail, sq->size);
  if (tail >= sq->size || used + distance(sq->tail, tail, sq->size) >= sq->size) {
    refuse_doorbell(c, sq->id, 0, tail, sq->tail, EVENT_INFO_DOORBELL_VALUE);
  } else {
    sq->tail = tail;
  }
}

static void update_head(struct controller *c, struct completion_queue *cq) {
  const uint32_t *in_memory = shadow(c, c->shadow, cq->id, 1);
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
  if ((c->csts & (CSTS_RDY | CSTS_CFS)) != CSTS_RDY) return;
  for (unsigned id = 0; id <= c->settings.queues; id++) {
    if (c->cqs[id].size != 0) update_head(c, &c->cqs[id]);
    for (int completion = 0; completion < 2; completion++) {
      if ((completion ? c->cqs[id].size : c->sqs[id].size) != 0) continue;
      const uint32_t value = load(doorbell(c, id, completion));
      if (value != 0) refuse_doorbell(c, id, completion, value, 0, EVENT_INFO_DOORBELL_REGISTER);
    }
  }
}

/* ---- completions ------------------------------------------------------------------------------------------------- */

static uint32_t after(uint32_t index, uint32_t size) { return index + 1 == size ? 0 : index + 1; }

int nvme_cq_has_room(struct controller *c, struct completion_queue *cq) {
  if (after(cq->tail, cq->size) != cq->head) return 1;
  update_head(c, cq);
  if (after(cq->tail, cq->size) != cq->head) return 1;
  c->counters.queue_full++;
  return 0;
}

static int find_base(struct controller *c, uint64_t address, uint64_t bytes, uint8_t **base, uint64_t *generation) {
  if (*base != NULL && *generation == c->generation) return 1;
  *base = nvme_reach(c, address, bytes);
  *generation = c->generation;
  return *base != NULL;
}

static void put_cqe(struct controller *c, struct completion_queue *cq, const struct cqe *entry) {
  /* A controller that cannot reach its queues can only say so in CSTS. */
  if (!find_base(c, cq->address, (uint64_t)cq->size * CQE_BYTES, &cq->base, &cq->generation)) {
    nvme_fatal(c);
    return;
  }
  uint8_t *at = cq->base + (size_t)cq->tail * CQE_BYTES;
  memcpy(at, entry, 12);
  uint32_t last;
  memcpy(&last, &entry->cid, sizeof last);
  /* Release: the phase bit comes last, after the entry's other words and the command's data. */
  __atomic_store_n((uint32_t *)(void *)(at + 12), last, __ATOMIC_RELEASE);
  cq->tail = after(cq->tail, cq->size);
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
    put_aside(c, cmd); /* where there is no memory for that, the completion is lost: the driver times out */
    return;
  }
  release_cid(cmd);
  if (cmd->effects.what & EFFECT_DROP) return;
  post(c, cmd);
  if (cmd->effects.what & EFFECT_DUPLICATE && nvme_cq_has_room(c, cmd->sq->cq)) post(c, cmd);
}

/* ---- carrying commands out --------------------------------------------------------------------------------------- */

static void fail(struct controller *c, struct command *cmd, uint16_t status) {
  cmd->status = status;
  cmd->is_done = 1;
  nvme_log_error(c, cmd);
  nvme_complete(c, cmd);
}

static uint16_t run(struct controller *c, struct command *cmd) {
  if (cmd->effects.what & EFFECT_STATUS) return cmd->effects.status;
  c->data.count = c->data.length = 0;
  const uint16_t status = cmd->sq->id == 0 ? nvme_run_admin(c, cmd) : nvme_run_io(c, cmd);
  /* Bits 1:0 of an opcode say which way data goes (§3.3.3.1): 10b to the host. */
  if (cmd->effects.what & EFFECT_CORRUPT && status == SC_OK && (cmd->sqe.opcode & 3) == 2) {
    nvme_corrupt(c, cmd->effects.corrupt_bytes);
  }
  return status;
}

static void carry_out(struct controller *c, struct command *cmd) {
  if (!cmd->is_done) {
    cmd->status = run(c, cmd);
    if (cmd->status == SC_HELD) {
      hold_cid(cmd);
      return;
    }
    if (cmd->status == SC_LATER) {
      if (put_aside(c, cmd) != 0) fail(c, cmd, SC_INTERNAL);
      return;
    }
    cmd->is_done = 1;
    if (cmd->status != SC_OK) nvme_log_error(c, cmd);
    if (cmd->effects.what & EFFECT_LATE) {
      cmd->due_ns = soft_now_ns() + cmd->effects.late_ns;
      if (put_aside(c, cmd) == 0) return;
    }
  }
  nvme_complete(c, cmd);
}

/* Faults that come before a command is carried out. True when nothing is left to do for it now. */
static int is_intercepted(struct controller *c, struct command *cmd) {
  const struct effects *e = &cmd->effects;
  if (e->what & EFFECT_GONE) nvme_set_gone(c, e->gone);
  else if (e->what & EFFECT_FATAL) nvme_fatal(c);
  if (e->what & (EFFECT_GONE | EFFECT_FATAL)) return 1;
  if (!(e->what & (EFFECT_HANG | EFFECT_DELAY))) return 0;
  cmd->due_ns = e->what & EFFECT_HANG ? UINT64_MAX : soft_now_ns() + e->delay_ns;
  return put_aside(c, cmd) == 0;
}

static void begin(struct controller *c, struct command *cmd) {
  c->counters.commands++;
  if (c->faults.count != 0) nvme_apply_faults(c, cmd);
  nvme_apply_reorder(c, cmd);
  if (holds_cid(cmd->sq, cmd->sqe.cid)) fail(c, cmd, refuse(cmd, SC_CID_CONFLICT, 2, 0));
  else if (cmd->effects.what == 0 || !is_intercepted(c, cmd)) carry_out(c, cmd);
}

static unsigned run_deferred(struct controller *c) {
  const uint64_t now = soft_now_ns();
  unsigned count = 0;
  while (count < MOST_AT_ONCE && nvme_next_due(c) <= now) {
    struct command *cmd = take(c, 0);
    /* Without room for its completion a command is not carried out: it would be seen to have happened before it ended. */
    if (!cmd->is_done && !nvme_cq_has_room(c, cmd->sq->cq)) {
      cmd->is_done = 0;
      cmd->due_ns = now + RETRY_NS;
      if (push(c, cmd) != 0) free(cmd); /* cannot be: it has just left its place */
      continue;
    }
    carry_out(c, cmd);
    free(cmd);
    count++;
  }
  return count;
}

static int is_stopped(const struct controller *c) { return (c->csts & CSTS_CFS) != 0 || (c->gone & GONE_BARS) != 0; }

/* Takes the command at the head of a queue. */
static int fetch(struct controller *c, struct submission_queue *sq, struct command *cmd) {
  if (!find_base(c, sq->address, (uint64_t)sq->size * SQE_BYTES, &sq->base, &sq->generation)) {
    nvme_fatal(c);
    return 0;
  }
  memcpy(&cmd->sqe, sq->base + (size_t)sq->head * SQE_BYTES, SQE_BYTES);
  cmd->sq = sq;
  cmd->dw0 = cmd->dw1 = 0;
  cmd->location = 0xffff;
  cmd->lba = 0;
  cmd->stage = 0;
  cmd->is_held = cmd->is_done = 0;
  cmd->effects.what = 0;
  cmd->effects.delay_ns = cmd->effects.late_ns = 0;
  sq->head = after(sq->head, sq->size);
  return 1;
}

static unsigned serve(struct controller *c, struct submission_queue *sq, unsigned burst) {
  unsigned count = 0;
  update_tail(c, sq);
  while (count < burst && sq->head != sq->tail && !is_stopped(c) && c->deferred_count < MOST_DEFERRED &&
         nvme_cq_has_room(c, sq->cq)) {
    struct command cmd;
    if (!fetch(c, sq, &cmd)) break;
    begin(c, &cmd);
    count++;
  }
  return count;
}

/* Round robin: each queue in turn gives at most a burst of commands (§3.4.2). */
unsigned nvme_run_queues(struct controller *c) {
  if (!nvme_is_bus_master(c)) return 0;
  if (c->device->dma_generation != c->dma_generation_seen) {
    c->dma_generation_seen = c->device->dma_generation;
    c->generation++;
  }
  if (find_shadow(c) != 0) nvme_fatal(c);
  unsigned count = c->deferred_count != 0 ? run_deferred(c) : 0;
  const unsigned queues = c->sq_end, burst = nvme_arbitration_burst(c);
  for (unsigned i = 0; i < queues && !is_stopped(c); i++) {
    struct submission_queue *sq = &c->sqs[(c->first_sq + i) % queues];
    if (sq->size != 0) count += serve(c, sq, burst);
  }
  c->first_sq++;
  return count;
}
