/* Reporting asynchronous events: a completion for each outstanding request, §5.2. */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>
#include <string.h>

/* Takes an outstanding request back as the command that it was. */
static struct command request_at(struct controller *c, unsigned at) {
  struct events *e = &c->events;
  const uint16_t cid = e->requests[at];
  memmove(e->requests + at, e->requests + at + 1, (--e->request_count - at) * sizeof *e->requests);
  return (struct command){
      .sq = &c->queues.sqs[0], .sqe = {.cid = cid, .opcode = OPCODE_EVENT_REQUEST}, .is_held = 1, .is_done = 1};
}

static void complete_request(struct controller *c, const struct event *event) {
  struct command cmd = request_at(c, 0);
  cmd.dw0 = event->type | (uint32_t)event->info << 8 | (uint32_t)event->log << 16;
  nvme_complete(c, &cmd);
}

/* Reports what can be reported now. Returns how many events were. */
unsigned nvme_send_events(struct controller *c) {
  unsigned sent = 0;
  for (int at; c->events.request_count > 0 && (at = nvme_next_event(c)) >= 0; sent++) {
    if (!nvme_cq_has_room(c, &c->queues.cqs[0])) break;
    const struct event event = nvme_take_event(c, (unsigned)at);
    complete_request(c, &event);
  }
  return sent;
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
