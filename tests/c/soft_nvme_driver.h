/* A small NVMe driver for the C harnesses. It shares nothing with the software controller but busbar_soft.h: structures and
 * numbers are written down here again, from the specification. */
#ifndef SOFT_NVME_DRIVER_H
#define SOFT_NVME_DRIVER_H

#include "soft/busbar_soft.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

#define CHECK_EQUAL(actual, expected)                                                                              \
  do {                                                                                                             \
    const unsigned long long a_ = (unsigned long long)(actual), e_ = (unsigned long long)(expected);               \
    if (a_ != e_) {                                                                                                \
      fprintf(stderr, "%s:%d: %s is %#llx, expected %#llx\n", __FILE__, __LINE__, #actual, a_, e_);                \
      exit(1);                                                                                                     \
    }                                                                                                              \
  } while (0)

struct dma {
  uint8_t *at;
  uint64_t address;
};

/* A completion; status without the phase bit. */
struct done {
  uint32_t dw0, dw1;
  uint16_t sqhd, sqid, cid, status;
  int came; /* 0: the time limit passed */
};

struct queue {
  struct dma sq, cq;
  uint32_t entries, tail, head, phase, id;
};

struct host {
  bb_soft *device;
  uint8_t *bar;
  uint32_t stride;
  struct queue admin;
  struct dma page; /* for data of admin commands: 16 KiB */
  uint16_t cid;
};

/* A command as 16 dwords. */
struct cmd {
  uint32_t d[16];
};

uint32_t host_load32(const struct host *h, uint32_t offset);
void host_store32(struct host *h, uint32_t offset, uint32_t value);
uint64_t host_load64(const struct host *h, uint32_t offset);
void host_store64(struct host *h, uint32_t offset, uint64_t value);
uint64_t host_now_us(void);

/* Opens a device and leaves it disabled; host_enable makes it ready, with an admin queue of entries. */
void host_open(struct host *h, const char *settings);
void host_close(struct host *h);
void host_start(struct host *h, uint32_t entries);
void host_stop(struct host *h);
int host_wait_status(struct host *h, uint32_t mask, uint32_t wanted, uint32_t limit_ms);
void host_restart(struct host *h);

struct dma host_memory(struct host *h, uint64_t size);
void host_release(struct host *h, struct dma *dma);
uint64_t host_counter(struct host *h, const char *name);
void host_fault(struct host *h, const char *text);

/* Makes a pair of I/O queues; vector < 0: without interrupts. */
void host_create(struct host *h, struct queue *q, uint32_t id, uint32_t entries, int vector);
void host_delete(struct host *h, struct queue *q);

void host_put(struct queue *q, const struct cmd *c); /* into the queue, without ringing */
void host_ring(struct host *h, struct queue *q);
/* The next completion, and its doorbell. */
struct done host_take(struct host *h, struct queue *q, uint32_t limit_ms);
int host_peek(const struct queue *q);
struct done host_run(struct host *h, struct queue *q, struct cmd c);
struct done host_admin(struct host *h, struct cmd c);
/* The status of an admin command with its data in h->page. */
uint16_t host_admin_page(struct host *h, struct cmd c);

/* opcode, nsid, and the dwords from 10. */
struct cmd command(uint8_t opcode, uint32_t nsid, uint32_t cdw10, uint32_t cdw11, uint32_t cdw12);
void set_prps(struct cmd *c, uint64_t prp1, uint64_t prp2);

uint16_t get16(const void *at);
uint32_t get32(const void *at);
uint64_t get64(const void *at);
void put16(void *at, uint16_t v);
void put32(void *at, uint32_t v);
void put64(void *at, uint64_t v);

#endif
