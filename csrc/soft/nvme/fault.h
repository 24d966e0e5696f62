/* Faults on demand. */
#ifndef BUSBAR_SOFT_NVME_FAULT_H
#define BUSBAR_SOFT_NVME_FAULT_H

#include "command.h"

enum { QUEUE_ANY = 0x10000, QUEUE_IO = 0x10001 };

enum { FIXED, UNIFORM, TAIL };

enum { FAULT_RULES = 32 };

struct fault_rule {
  unsigned action;              /* which word began it */
  uint32_t effect;              /* EFFECT_ bit; 0: it happens at once */
  int selective;                /* it says which commands it means */
  uint32_t queue;               /* identifier, or a class of queues */
  int opcode;                   /* −1: any */
  uint32_t nsid;                /* 0: any */
  uint64_t first_lba, last_lba;
  uint64_t every, times, after; /* of the commands that it means */
  uint32_t chance;              /* of 2^32; 0: always */
  uint64_t value, limit;
  unsigned shape; /* of a time */
  uint64_t matches, fired;
};

struct faults {
  struct fault_rule rules[FAULT_RULES];
  unsigned count;
  int never_ready, never_unready, never_shut_down;
  uint64_t random;
};

/* The same seed makes the same run. */
void nvme_seed_faults(struct controller *c, uint64_t value);
void nvme_apply_faults(struct controller *c, struct command *cmd);
void nvme_apply_reorder(struct controller *c, struct command *cmd);
void nvme_corrupt(struct controller *c, uint32_t bytes);

/* ---- fault_text.c ------------------------------------------------------------------------------------------------ */

int nvme_open_faults(struct controller *c);
int nvme_add_faults(struct controller *c, const char *text);

#endif
