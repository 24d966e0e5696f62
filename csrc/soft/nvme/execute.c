/* Carrying commands out: fetching them, faults, the command sets, and those that wait. */
#define _GNU_SOURCE
#include "controller.h"

#include <stdlib.h>
#include <string.h>

enum {
  SQE_BYTES = sizeof(struct sqe),
  /* No more commands are fetched while so many wait. */
  MOST_DEFERRED = 16384,
  /* Then other queues, registers and other threads get a turn. */
  MOST_AT_ONCE = 256,
};

static void fail(struct controller *c, struct command *cmd, uint16_t status) {
  cmd->status = status;
  cmd->is_done = 1;
  nvme_log_error(c, cmd);
  nvme_complete(c, cmd);
}

static uint16_t run(struct controller *c, struct command *cmd) {
  if (cmd->effects.what & EFFECT_STATUS) return cmd->effects.status;
  c->memory.data.count = c->memory.data.length = 0;
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
      nvme_hold_cid(cmd);
      return;
    }
    if (cmd->status == SC_LATER) {
      if (nvme_put_aside(c, cmd) != 0) fail(c, cmd, SC_INTERNAL);
      return;
    }
    cmd->is_done = 1;
    if (cmd->status != SC_OK) nvme_log_error(c, cmd);
    if (cmd->effects.what & EFFECT_LATE) {
      cmd->due_ns = soft_now_ns() + cmd->effects.late_ns;
      if (nvme_put_aside(c, cmd) == 0) return;
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
  return nvme_put_aside(c, cmd) == 0;
}

static void begin(struct controller *c, struct command *cmd) {
  c->counters.commands++;
  if (c->faults.count != 0) nvme_apply_faults(c, cmd);
  nvme_apply_reorder(c, cmd);
  if (nvme_holds_cid(cmd->sq, cmd->sqe.cid)) fail(c, cmd, refuse(cmd, SC_CID_CONFLICT, 2, 0));
  else if (cmd->effects.what == 0 || !is_intercepted(c, cmd)) carry_out(c, cmd);
}

static unsigned run_deferred(struct controller *c) {
  const uint64_t now = soft_now_ns();
  unsigned count = 0;
  while (count < MOST_AT_ONCE && nvme_next_due(c) <= now) {
    struct command *cmd = nvme_deferred_take(c, 0);
    /* Without room for its completion a command is not carried out: it would be seen to have happened before it ended. */
    if (!cmd->is_done && !nvme_cq_has_room(c, cmd->sq->cq)) {
      cmd->is_done = 0;
      cmd->due_ns = now + RETRY_NS;
      if (nvme_deferred_push(c, cmd) != 0) free(cmd); /* cannot be: it has just left its place */
      continue;
    }
    carry_out(c, cmd);
    free(cmd);
    count++;
  }
  return count;
}

static int is_stopped(const struct controller *c) {
  return (c->registers.csts & CSTS_CFS) != 0 || (c->registers.gone & GONE_BARS) != 0;
}

/* Takes the command at the head of a queue. */
static int fetch(struct controller *c, struct submission_queue *sq, struct command *cmd) {
  if (!nvme_find_base(c, sq->address, (uint64_t)sq->size * SQE_BYTES, &sq->base, &sq->generation)) {
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
  sq->head = nvme_index_after(sq->head, sq->size);
  return 1;
}

static unsigned serve(struct controller *c, struct submission_queue *sq, unsigned burst) {
  unsigned count = 0;
  nvme_update_tail(c, sq);
  while (count < burst && sq->head != sq->tail && !is_stopped(c) && c->deferred.count < MOST_DEFERRED &&
         nvme_cq_has_room(c, sq->cq)) {
    struct command cmd;
    if (!fetch(c, sq, &cmd)) break;
    begin(c, &cmd);
    count++;
  }
  return count;
}

/* AB: 2^n commands at a time, 7 without a limit. */
static unsigned arbitration_burst(const struct controller *c) {
  const unsigned burst = c->features.current[FEATURE_ARBITRATION] & 7;
  return burst == 7 ? 256 : 1u << burst;
}

/* Round robin: each queue in turn gives at most a burst of commands (§3.4.2). */
unsigned nvme_run_queues(struct controller *c) {
  if (!nvme_is_bus_master(c)) return 0;
  if (c->device->dma_generation != c->memory.dma_generation_seen) {
    c->memory.dma_generation_seen = c->device->dma_generation;
    c->memory.generation++;
  }
  if (nvme_find_shadow(c) != 0) nvme_fatal(c);
  unsigned count = c->deferred.count != 0 ? run_deferred(c) : 0;
  const unsigned queues = c->queues.sq_end, burst = arbitration_burst(c);
  for (unsigned i = 0; i < queues && !is_stopped(c); i++) {
    struct submission_queue *sq = &c->queues.sqs[(c->queues.first_sq + i) % queues];
    if (sq->size != 0) count += serve(c, sq, burst);
  }
  c->queues.first_sq++;
  return count;
}
