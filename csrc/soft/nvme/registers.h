/* Controller registers, as last acted on and as last shown. */
#ifndef BUSBAR_SOFT_NVME_REGISTERS_H
#define BUSBAR_SOFT_NVME_REGISTERS_H

#include "command.h"

enum { MPS_MAX = 4 /* 64 KiB */, CMB_BAR = 2 };

/* What a function that vanished shows all ones in. */
enum { GONE_BARS = 1, GONE_CONFIG = 2, GONE_SIGBUS = 4 };

struct registers {
  uint64_t cap;
  uint32_t vs;
  uint32_t cc;        /* as last acted on */
  uint32_t csts;      /* as last shown */
  uint64_t change_ns; /* when an enable, disable or shutdown in progress is done; 0: none is */
  uint32_t csts_then; /* CSTS at that time */
  uint64_t cmbmsc;    /* as last acted on */
  unsigned gone;      /* GONE_ bits: a fault has taken the function off the bus */
};

void nvme_show_status(struct controller *c, uint32_t csts);
/* Shows csts after a delay, or at once. */
void nvme_change_status(struct controller *c, uint64_t delay_ms, uint32_t csts);
/* Shows a status whose time has come. */
void nvme_pass_status(struct controller *c, uint64_t now);
/* CSTS.CFS: nothing but a reset helps. */
void nvme_fatal(struct controller *c);
/* Lets CSTS get to where CC wants it, after faults that kept it. */
void nvme_catch_up(struct controller *c);
/* The driver's stores go straight into memory, so registers that it may not change are put back. */
void nvme_protect_registers(struct controller *c);
/* Takes note of where the driver wants the controller memory buffer. */
void nvme_watch_cmb(struct controller *c);
/* Every register as after power-on. */
void nvme_reset_registers(struct controller *c, uint32_t csts);

#endif
