/* Commands that wait. */
#ifndef BUSBAR_SOFT_NVME_DEFERRED_H
#define BUSBAR_SOFT_NVME_DEFERRED_H

#include "command.h"

/* When a command that found no room for its completion is looked at again. */
enum { RETRY_NS = 2000 };

struct deferred {
  struct command **heap; /* soonest first */
  size_t count, room;
  uint64_t order;
};

/* -ENOMEM, and nothing was done. */
int nvme_deferred_push(struct controller *c, struct command *cmd);
struct command *nvme_deferred_take(struct controller *c, size_t at);
/* Keeps a copy of a command until it is due. -ENOMEM, and nothing was done. */
int nvme_put_aside(struct controller *c, struct command *cmd);
/* When the first of the waiting commands goes on; UINT64_MAX: none does. */
uint64_t nvme_next_due(const struct controller *c);
/* For handlers: lets a command go on after a while, when its handler is called again, with a higher stage. */
uint16_t nvme_defer(struct command *cmd, uint64_t delay_ns);
unsigned nvme_count_waiting(const struct controller *c, uint8_t admin_opcode);
/* Identifiers of commands that were fetched and not completed. */
void nvme_hold_cid(struct command *cmd);
void nvme_release_cid(struct command *cmd);
int nvme_holds_cid(const struct submission_queue *sq, uint16_t cid);

#endif
