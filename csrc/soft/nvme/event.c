/*
 * Asynchronous events, §5.2. An event of a type that was reported stays masked until its log is read, without "retain
 * asynchronous event"; which notices and health warnings are reported at all, the driver says in feature 0Bh.
 */
#define _GNU_SOURCE
#include "nvme.h"

#include <errno.h>
#include <string.h>

/* Which bit of feature 0Bh lets an event through; −1: none is needed. */
static int configuration_bit(uint8_t type, uint8_t info) {
  static const int notices[] = {[EVENT_INFO_NAMESPACE] = 8, [EVENT_INFO_FIRMWARE] = 9, [EVENT_INFO_TELEMETRY] = 10,
                                [EVENT_INFO_ANA] = 11};
  if (type == EVENT_NOTICE && info == EVENT_INFO_ZONE_CHANGED) return 27;
  if (type == EVENT_NOTICE && info < sizeof notices / sizeof *notices) return notices[info];
  return -1;
}

void nvme_raise_event(struct controller *c, uint8_t type, uint8_t info, uint8_t log) {
  struct events *e = &c->events;
  const int bit = configuration_bit(type, info);
  if (bit >= 0 && !(c->features.current[FEATURE_EVENTS] >> bit & 1)) return;
  for (unsigned i = 0; i < e->waiting_count; i++) {
    if (e->waiting[i].type == type && e->waiting[i].info == info) return; /* once is enough */
  }
  if (e->waiting_count == EVENT_ROOM) return;
  e->waiting[e->waiting_count++] = (struct event){type, info, log};
}

static int is_masked(const struct events *e, uint8_t type) { return (e->masked >> type & 1) != 0; }

/* Takes an outstanding request back as the command that it was. */
static struct command request_at(struct controller *c, unsigned at) {
  struct events *e = &c->events;
  const uint16_t cid = e->requests[at];
  memmove(e->requests + at, e->requests + at + 1, (--e->request_count - at) * sizeof *e->requests);
  return (struct command){.sq = &c->sqs[0], .sqe = {.cid = cid, .opcode = OPCODE_EVENT_REQUEST}, .is_held = 1, .is_done = 1};
}

static void complete_request(struct controller *c, const struct event *event) {
  struct command cmd = request_at(c, 0);
  cmd.dw0 = event->type | (uint32_t)event->info << 8 | (uint32_t)event->log << 16;
  nvme_complete(c, &cmd);
}

/* Reports what can be reported now. Returns how many events were. */
unsigned nvme_send_events(struct controller *c) {
  struct events *e = &c->events;
  unsigned sent = 0;
  for (unsigned i = 0; i < e->waiting_count && e->request_count > 0;) {
    const struct event event = e->waiting[i];
    if (is_masked(e, event.type)) {
      i++;
      continue;
    }
    if (!nvme_cq_has_room(c, &c->cqs[0])) break;
    memmove(e->waiting + i, e->waiting + i + 1, (--e->waiting_count - i) * sizeof *e->waiting);
    e->masked |= (uint8_t)(1u << event.type);
    e->masked_by[event.type] = event.log;
    complete_request(c, &event);
    sent++;
  }
  return sent;
}

uint16_t nvme_event_request(struct controller *c, struct command *cmd) {
  struct events *e = &c->events;
  if (e->request_count == AERL + 1) return SC_AER_LIMIT;
  e->requests[e->request_count++] = cmd->sqe.cid;
  return SC_HELD;
}

int nvme_abort_event_request(struct controller *c, unsigned cid) {
  struct events *e = &c->events;
  for (unsigned i = 0; i < e->request_count; i++) {
    if (e->requests[i] != cid) continue;
    struct command cmd = request_at(c, i);
    cmd.status = SC_ABORTED;
    nvme_complete(c, &cmd);
    return 0;
  }
  return -ENOENT;
}

/* The log that an event points to was read: others of its type may follow. */
void nvme_log_was_read(struct controller *c, uint8_t log) {
  struct events *e = &c->events;
  for (unsigned type = 0; type < EVENT_TYPES; type++) {
    if (is_masked(e, (uint8_t)type) && e->masked_by[type] == log) e->masked &= (uint8_t)~(1u << type);
  }
}

void nvme_reset_events(struct controller *c) { memset(&c->events, 0, sizeof c->events); }
