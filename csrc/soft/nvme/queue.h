/* Queues and completions. */
#ifndef BUSBAR_SOFT_NVME_QUEUE_H
#define BUSBAR_SOFT_NVME_QUEUE_H

#include "command.h"

struct completion_queue {
  uint32_t size; /* entries; 0: there is no such queue */
  uint16_t id;
  uint16_t vector;
  int interrupts;
  uint32_t head, tail;
  uint16_t phase;
  unsigned users; /* submission queues that complete here */
  uint64_t address;
  uint8_t *base; /* where address is, as long as generation is the controller's */
  uint64_t generation;
};

struct submission_queue {
  uint32_t size;
  uint16_t id;
  struct completion_queue *cq;
  uint32_t head, tail;
  uint64_t address;
  uint8_t *base;
  uint64_t generation;
  uint32_t waiting; /* commands that were fetched and not completed */
  uint64_t *cids;   /* a bit for each command identifier of those */
  int awake;        /* its shadow doorbell is looked at without being rung for */
};

struct queues {
  struct submission_queue *sqs; /* settings.queues + 1 of each */
  struct completion_queue *cqs;
  unsigned sq_end, first_sq; /* one above the highest submission queue; where the next round begins */
};

static inline uint32_t nvme_index_after(uint32_t index, uint32_t size) { return index + 1 == size ? 0 : index + 1; }

int nvme_open_queues(struct controller *c);
void nvme_close_queues(struct controller *c);
void nvme_reset_queues(struct controller *c);
void nvme_start_cq(struct controller *c, unsigned id, uint32_t size, uint64_t address);
int nvme_start_sq(struct controller *c, unsigned id, uint32_t size, uint64_t address, unsigned cqid);
void nvme_stop_sq(struct controller *c, unsigned id);
void nvme_stop_cq(struct controller *c, unsigned id);
/* Finds where a queue lies, as long as generation is the controller's. False where the controller cannot reach it. */
int nvme_find_base(struct controller *c, uint64_t address, uint64_t bytes, uint8_t **base, uint64_t *generation);
int nvme_cq_has_room(struct controller *c, struct completion_queue *cq);
/* Posts the completion, now, or as soon as there is room. */
void nvme_complete(struct controller *c, struct command *cmd);
/* Ends a waiting command early, or all of a queue. 0, or -ENOENT when there is none. */
int nvme_abort_waiting(struct controller *c, unsigned sqid, unsigned cid);
void nvme_abort_queue(struct controller *c, unsigned sqid);

#endif
