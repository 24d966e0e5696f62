/* Doorbells: registers, and shadow doorbells in the driver's memory. */
#ifndef BUSBAR_SOFT_NVME_DOORBELL_H
#define BUSBAR_SOFT_NVME_DOORBELL_H

#include "queue.h"

struct doorbells {
  uint64_t shadow_address, event_address; /* shadow doorbells; 0: there are none */
  uint32_t *shadow, *event_indexes;
  uint64_t generation;
};

void nvme_set_doorbell(const struct controller *c, unsigned qid, int completion, uint32_t value);
/* The register alone, of a queue that is no more. */
void nvme_clear_doorbell(const struct controller *c, unsigned qid, int completion);
/* Looks shadow doorbells up anew where memory may have gone. -EFAULT where they cannot be reached. */
int nvme_find_shadow(struct controller *c);
int nvme_use_shadow_doorbells(struct controller *c, uint64_t shadow, uint64_t events);
void nvme_update_tail(struct controller *c, struct submission_queue *sq);
void nvme_update_head(struct controller *c, struct completion_queue *cq);
void nvme_check_idle_doorbells(struct controller *c);

#endif
