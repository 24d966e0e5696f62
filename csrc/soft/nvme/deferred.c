/* Commands that wait: a heap by the time they are due, and by age among equals; and the identifiers that are taken. */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>
#include <stdlib.h>

static int is_before(const struct command *a, const struct command *b) {
  return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void sift_up(struct controller *c, size_t at) {
  struct command **heap = c->deferred.heap, *moved = heap[at];
  for (; at > 0 && is_before(moved, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = moved;
}

static void sift_down(struct controller *c, size_t at) {
  struct command **heap = c->deferred.heap, *moved = heap[at];
  for (size_t child; (child = 2 * at + 1) < c->deferred.count; at = child) {
    if (child + 1 < c->deferred.count && is_before(heap[child + 1], heap[child])) child++;
    if (!is_before(heap[child], moved)) break;
    heap[at] = heap[child];
  }
  heap[at] = moved;
}

int nvme_deferred_push(struct controller *c, struct command *cmd) {
  if (c->deferred.count == c->deferred.room) {
    const size_t room = c->deferred.room == 0 ? 64 : 2 * c->deferred.room;
    struct command **larger = realloc(c->deferred.heap, room * sizeof(struct command *));
    if (larger == NULL) return -ENOMEM;
    c->deferred.heap = larger;
    c->deferred.room = room;
  }
  cmd->order = c->deferred.order++;
  c->deferred.heap[c->deferred.count++] = cmd;
  sift_up(c, c->deferred.count - 1);
  return 0;
}

struct command *nvme_deferred_take(struct controller *c, size_t at) {
  struct command *taken = c->deferred.heap[at];
  c->deferred.heap[at] = c->deferred.heap[--c->deferred.count];
  if (at < c->deferred.count) {
    sift_down(c, at);
    sift_up(c, at);
  }
  return taken;
}

uint64_t nvme_next_due(const struct controller *c) {
  return c->deferred.count == 0 ? UINT64_MAX : c->deferred.heap[0]->due_ns;
}

uint16_t nvme_defer(struct command *cmd, uint64_t delay_ns) {
  cmd->due_ns = soft_now_ns() + delay_ns;
  cmd->stage++;
  return SC_LATER;
}

void nvme_hold_cid(struct command *cmd) {
  if (cmd->is_held) return;
  cmd->is_held = 1;
  cmd->sq->waiting++;
  cmd->sq->cids[cmd->sqe.cid / 64] |= UINT64_C(1) << cmd->sqe.cid % 64;
}

void nvme_release_cid(struct command *cmd) {
  if (!cmd->is_held) return;
  cmd->is_held = 0;
  cmd->sq->waiting--;
  cmd->sq->cids[cmd->sqe.cid / 64] &= ~(UINT64_C(1) << cmd->sqe.cid % 64);
}

int nvme_holds_cid(const struct submission_queue *sq, uint16_t cid) {
  return sq->waiting != 0 && (sq->cids[cid / 64] >> cid % 64 & 1) != 0;
}

/* Keeps a copy of a command until it is due. -ENOMEM, and nothing was done. */
int nvme_put_aside(struct controller *c, struct command *cmd) {
  struct command *copy = malloc(sizeof *copy);
  if (copy == NULL) return -ENOMEM;
  nvme_hold_cid(cmd);
  *copy = *cmd;
  if (nvme_deferred_push(c, copy) == 0) return 0;
  nvme_release_cid(cmd);
  free(copy);
  return -ENOMEM;
}

unsigned nvme_count_waiting(const struct controller *c, uint8_t admin_opcode) {
  unsigned count = 0;
  for (size_t i = 0; i < c->deferred.count; i++) {
    count += c->deferred.heap[i]->sq->id == 0 && c->deferred.heap[i]->sqe.opcode == admin_opcode;
  }
  return count;
}
