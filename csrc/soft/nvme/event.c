/*
 * Asynchronous events, §5.2. An event of a type that was reported stays masked until its log is read, without "retain
 * asynchronous event"; which notices and health warnings are reported at all, the driver says in feature 0Bh.
 */
#define _GNU_SOURCE
#include "controller.h"

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

int nvme_next_event(const struct controller *c) {
  const struct events *e = &c->events;
  for (unsigned i = 0; i < e->waiting_count; i++) {
    if (!is_masked(e, e->waiting[i].type)) return (int)i;
  }
  return -1;
}

struct event nvme_take_event(struct controller *c, unsigned at) {
  struct events *e = &c->events;
  const struct event taken = e->waiting[at];
  memmove(e->waiting + at, e->waiting + at + 1, (--e->waiting_count - at) * sizeof *e->waiting);
  e->masked |= (uint8_t)(1u << taken.type);
  e->masked_by[taken.type] = taken.log;
  return taken;
}

uint16_t nvme_event_request(struct controller *c, struct command *cmd) {
  struct events *e = &c->events;
  if (e->request_count == AERL + 1) return SC_AER_LIMIT;
  e->requests[e->request_count++] = cmd->sqe.cid;
  return SC_HELD;
}

/* The log that an event points to was read: others of its type may follow. */
void nvme_log_was_read(struct controller *c, uint8_t log) {
  struct events *e = &c->events;
  for (unsigned type = 0; type < EVENT_TYPES; type++) {
    if (is_masked(e, (uint8_t)type) && e->masked_by[type] == log) e->masked &= (uint8_t)~(1u << type);
  }
}

void nvme_reset_events(struct controller *c) { memset(&c->events, 0, sizeof c->events); }
