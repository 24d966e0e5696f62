/* MSI-X. */
#ifndef BUSBAR_SOFT_NVME_INTERRUPT_H
#define BUSBAR_SOFT_NVME_INTERRUPT_H

#include "queue.h"

struct vector {
  int fd;            /* −1 until somebody asks for it */
  uint32_t entries;  /* completions since the last interrupt */
  uint64_t first_ns; /* when the first of them came, where they are coalesced */
  int coalescing_off;
};

struct interrupts {
  struct vector *vectors;
  int signals_wait;        /* some vector has something to say */
  uint32_t table, pending; /* offsets in BAR0 */
};

int nvme_open_vectors(struct controller *c);
void nvme_close_vectors(struct controller *c);
void nvme_reset_vectors(struct controller *c);
int nvme_interrupt_fd(bb_soft *device, uint32_t vector);
void nvme_note_completion(struct controller *c, const struct completion_queue *cq);
void nvme_signal(struct controller *c);

#endif
