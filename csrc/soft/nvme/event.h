/* Asynchronous events. */
#ifndef BUSBAR_SOFT_NVME_EVENT_H
#define BUSBAR_SOFT_NVME_EVENT_H

#include "command.h"

enum { AERL = 3, ACL = 3, EVENT_ROOM = 16 };

struct event {
  uint8_t type, info, log;
};

struct events {
  uint16_t requests[AERL + 1]; /* command identifiers of outstanding requests, oldest first */
  unsigned request_count;
  struct event waiting[EVENT_ROOM];
  unsigned waiting_count;
  uint8_t masked;                 /* a bit for each type: reported, and its log not read since */
  uint8_t masked_by[EVENT_TYPES]; /* that log */
};

uint16_t nvme_event_request(struct controller *c, struct command *cmd);
void nvme_raise_event(struct controller *c, uint8_t type, uint8_t info, uint8_t log);
/* The place of the oldest event that may be reported now; −1: none may. */
int nvme_next_event(const struct controller *c);
/* Takes it out, and masks its type until its log is read. */
struct event nvme_take_event(struct controller *c, unsigned at);
void nvme_log_was_read(struct controller *c, uint8_t log);
void nvme_reset_events(struct controller *c);

/* ---- event_report.c ---------------------------------------------------------------------------------------------- */

/* Reports what can be reported now. Returns how many events were. */
unsigned nvme_send_events(struct controller *c);
int nvme_abort_event_request(struct controller *c, unsigned cid);

#endif
