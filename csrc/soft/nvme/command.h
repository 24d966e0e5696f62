/* A command on its way, and what carries it out. */
#ifndef BUSBAR_SOFT_NVME_COMMAND_H
#define BUSBAR_SOFT_NVME_COMMAND_H

#include "soft/model.h"
#include "spec.h"

struct controller;
struct ns;
struct submission_queue;

/* What faults do to one command. */
enum {
  EFFECT_DROP = 1 << 0,
  EFFECT_DUPLICATE = 1 << 1,
  EFFECT_PHASE = 1 << 2,
  EFFECT_CID = 1 << 3,
  EFFECT_SQHD = 1 << 4,
  EFFECT_STATUS = 1 << 5,
  EFFECT_CORRUPT = 1 << 6,
  EFFECT_NO_INTERRUPT = 1 << 7,
  EFFECT_FATAL = 1 << 8,
  EFFECT_HANG = 1 << 9,
  EFFECT_GONE = 1 << 10,
  EFFECT_DELAY = 1 << 11,
  EFFECT_LATE = 1 << 12,
};

struct effects {
  uint32_t what; /* EFFECT_ bits; the rest is valid where its bit is set */
  uint16_t status, cid, sqhd;
  uint8_t gone;
  uint32_t corrupt_bytes;
  uint64_t delay_ns, late_ns;
};

struct command {
  struct sqe sqe;
  struct submission_queue *sq;
  struct ns *ns; /* the namespace, for commands that need one */
  uint32_t dw0, dw1;
  uint16_t status;
  uint16_t location; /* of the error in the command: byte 7:0, bit 10:8; 0xffff: none in particular (§5.16.1.2) */
  uint64_t lba;      /* that the error is about */
  unsigned stage;    /* how often it was deferred */
  int is_held;       /* its identifier is taken note of */
  int is_done;       /* it was carried out and only its completion is missing */
  uint64_t due_ns;   /* when it goes on */
  uint64_t order;    /* among those of the same time */
  struct effects effects;
};

/* Blocks that a command is about, with what it says of their protection. */
struct span {
  uint64_t slba, blocks;
  unsigned prinfo;
  uint32_t ref;
  uint16_t app, app_mask;
  uint32_t moved_by; /* reference tags are raised by this when the blocks are stored */
};

/* The blocks of a command that has them in dwords 10 to 15. */
static inline struct span nvme_span(const struct sqe *sqe) {
  return (struct span){
      .slba = sqe->cdw10 | (uint64_t)sqe->cdw11 << 32,
      .blocks = (uint64_t)(sqe->cdw12 & 0xffff) + 1,
      .prinfo = sqe->cdw12 >> 26 & 15,
      .ref = sqe->cdw14,
      .app = (uint16_t)sqe->cdw15,
      .app_mask = (uint16_t)(sqe->cdw15 >> 16),
  };
}

/* Notes where in the command the error is, for the error log, and passes the status on. */
static inline uint16_t refuse(struct command *cmd, uint16_t status, unsigned byte, unsigned bit) {
  cmd->location = (uint16_t)(byte | bit << 8);
  return status;
}

/* The first byte of a command dword. */
#define CDW(n) (4u * (n))

/* Carries a command out and returns its status. */
typedef uint16_t (*handler)(struct controller *c, struct command *cmd);

/* What an opcode means. */
struct operation {
  handler run;
  uint32_t effects; /* as the effects log has it, and DURING_SANITIZE */
};

enum { DURING_SANITIZE = 1 << 30, EFFECTS_MASK = 0x000f001f };

#endif
