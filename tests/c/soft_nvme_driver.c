/* See soft_nvme_driver.h. */
#define _GNU_SOURCE
#include "soft_nvme_driver.h"

#include <sched.h>
#include <time.h>

uint16_t get16(const void *at) {
  uint16_t v;
  memcpy(&v, at, sizeof v);
  return v;
}
uint32_t get32(const void *at) {
  uint32_t v;
  memcpy(&v, at, sizeof v);
  return v;
}
uint64_t get64(const void *at) {
  uint64_t v;
  memcpy(&v, at, sizeof v);
  return v;
}
void put16(void *at, uint16_t v) { memcpy(at, &v, sizeof v); }
void put32(void *at, uint32_t v) { memcpy(at, &v, sizeof v); }
void put64(void *at, uint64_t v) { memcpy(at, &v, sizeof v); }

uint32_t host_load32(const struct host *h, uint32_t offset) {
  return __atomic_load_n((uint32_t *)(void *)(h->bar + offset), __ATOMIC_ACQUIRE);
}
void host_store32(struct host *h, uint32_t offset, uint32_t value) {
  __atomic_store_n((uint32_t *)(void *)(h->bar + offset), value, __ATOMIC_RELEASE);
}
uint64_t host_load64(const struct host *h, uint32_t offset) {
  return __atomic_load_n((uint64_t *)(void *)(h->bar + offset), __ATOMIC_ACQUIRE);
}
void host_store64(struct host *h, uint32_t offset, uint64_t value) {
  __atomic_store_n((uint64_t *)(void *)(h->bar + offset), value, __ATOMIC_RELEASE);
}

uint64_t host_now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static void nap(void) {
  const struct timespec rest = {0, 20000};
  nanosleep(&rest, NULL);
}

struct dma host_memory(struct host *h, uint64_t size) {
  struct dma dma;
  void *at;
  CHECK_EQUAL(bb_soft_dma_allocate(h->device, size, &at, &dma.address), 0);
  dma.at = at;
  return dma;
}

void host_release(struct host *h, struct dma *dma) {
  if (dma->at != NULL) CHECK_EQUAL(bb_soft_dma_free(h->device, dma->address), 0);
  dma->at = NULL;
}

uint64_t host_counter(struct host *h, const char *name) {
  uint64_t value;
  CHECK_EQUAL(bb_soft_nvme_counter(h->device, name, &value), 0);
  return value;
}

void host_fault(struct host *h, const char *text) { CHECK_EQUAL(bb_soft_nvme_fault(h->device, text), 0); }

int host_wait_status(struct host *h, uint32_t mask, uint32_t wanted, uint32_t limit_ms) {
  const uint64_t end = host_now_us() + limit_ms * 1000u;
  for (;;) {
    const int late = host_now_us() > end;
    if ((host_load32(h, 0x1c) & mask) == wanted) return 1;
    if (late) return 0;
    nap();
  }
}

void host_open(struct host *h, const char *settings) {
  memset(h, 0, sizeof *h);
  char text[4096];
  snprintf(text, sizeof text, "ready_ms=0\nshutdown_ms=0\n%s", settings);
  const int result = bb_soft_open("nvme", text, &h->device);
  if (result != 0) fprintf(stderr, "open %s: %d\n", settings, result);
  CHECK_EQUAL(result, 0);
  void *base;
  uint64_t size;
  CHECK_EQUAL(bb_soft_bar(h->device, 0, &base, &size), 0);
  h->bar = base;
  h->stride = 4u << (host_load64(h, 0) >> 32 & 15);
  h->page = host_memory(h, 16384);
}

void host_close(struct host *h) { bb_soft_close(h->device); }

void host_start(struct host *h, uint32_t entries) {
  h->admin = (struct queue){.entries = entries, .phase = 1};
  h->admin.sq = host_memory(h, entries * 64);
  h->admin.cq = host_memory(h, entries * 16);
  host_restart(h);
}

void host_restart(struct host *h) {
  host_store32(h, 0x14, 0);
  CHECK(host_wait_status(h, 3, 0, 5000));
  memset(h->admin.cq.at, 0, h->admin.entries * 16);
  h->admin.tail = h->admin.head = 0;
  h->admin.phase = 1;
  host_store32(h, 0x24, (h->admin.entries - 1) << 16 | (h->admin.entries - 1));
  host_store64(h, 0x28, h->admin.sq.address);
  host_store64(h, 0x30, h->admin.cq.address);
  host_store32(h, 0x14, 0x00460061); /* all command sets */
  CHECK(host_wait_status(h, 3, 1, 5000));
}

void host_stop(struct host *h) {
  host_store32(h, 0x14, 0);
  CHECK(host_wait_status(h, 1, 0, 5000));
}

static uint32_t doorbell(const struct host *h, const struct queue *q, int completion) {
  return 0x1000 + (2 * q->id + (uint32_t)completion) * h->stride;
}

void host_put(struct queue *q, const struct cmd *c) {
  memcpy(q->sq.at + (size_t)q->tail * 64, c, 64);
  if (++q->tail == q->entries) q->tail = 0;
}

void host_ring(struct host *h, struct queue *q) { host_store32(h, doorbell(h, q, 0), q->tail); }

static uint32_t last_word(const struct queue *q) {
  return __atomic_load_n((uint32_t *)(void *)(q->cq.at + (size_t)q->head * 16 + 12), __ATOMIC_ACQUIRE);
}

int host_peek(const struct queue *q) { return (last_word(q) >> 16 & 1) == q->phase; }

struct done host_take(struct host *h, struct queue *q, uint32_t limit_ms) {
  const uint64_t end = host_now_us() + (uint64_t)limit_ms * 1000u;
  for (unsigned spins = 0; !host_peek(q); spins++) {
    if (spins < 2000) continue;
    if (host_now_us() > end) return (struct done){0};
    sched_yield();
  }
  const uint8_t *at = q->cq.at + (size_t)q->head * 16;
  const struct done done = {.dw0 = get32(at), .dw1 = get32(at + 4), .sqhd = get16(at + 8), .sqid = get16(at + 10),
                            .cid = (uint16_t)last_word(q), .status = (uint16_t)(last_word(q) >> 17), .came = 1};
  if (++q->head == q->entries) {
    q->head = 0;
    q->phase ^= 1;
  }
  host_store32(h, doorbell(h, q, 1), q->head);
  return done;
}

struct done host_run(struct host *h, struct queue *q, struct cmd c) {
  const uint16_t cid = h->cid++;
  c.d[0] |= (uint32_t)cid << 16;
  host_put(q, &c);
  host_ring(h, q);
  const struct done done = host_take(h, q, 10000);
  CHECK(done.came);
  CHECK_EQUAL(done.cid, cid);
  CHECK_EQUAL(done.sqid, q->id);
  return done;
}

struct done host_admin(struct host *h, struct cmd c) { return host_run(h, &h->admin, c); }

uint16_t host_admin_page(struct host *h, struct cmd c) {
  set_prps(&c, h->page.address, h->page.address + 4096);
  return host_admin(h, c).status;
}

struct cmd command(uint8_t opcode, uint32_t nsid, uint32_t cdw10, uint32_t cdw11, uint32_t cdw12) {
  struct cmd c = {.d = {[0] = opcode, [1] = nsid, [10] = cdw10, [11] = cdw11, [12] = cdw12}};
  return c;
}

void set_prps(struct cmd *c, uint64_t prp1, uint64_t prp2) {
  put64(&c->d[6], prp1);
  put64(&c->d[8], prp2);
}

void host_create(struct host *h, struct queue *q, uint32_t id, uint32_t entries, int vector) {
  *q = (struct queue){.entries = entries, .phase = 1, .id = id};
  q->sq = host_memory(h, entries * 64);
  q->cq = host_memory(h, entries * 16);
  struct cmd cq = command(0x05, 0, (entries - 1) << 16 | id, 1u | (vector < 0 ? 0 : 2u | (uint32_t)vector << 16), 0);
  set_prps(&cq, q->cq.address, 0);
  CHECK_EQUAL(host_admin(h, cq).status, 0);
  struct cmd sq = command(0x01, 0, (entries - 1) << 16 | id, id << 16 | 1, 0);
  set_prps(&sq, q->sq.address, 0);
  CHECK_EQUAL(host_admin(h, sq).status, 0);
}

void host_delete(struct host *h, struct queue *q) {
  CHECK_EQUAL(host_admin(h, command(0x00, 0, q->id, 0, 0)).status, 0);
  CHECK_EQUAL(host_admin(h, command(0x04, 0, q->id, 0, 0)).status, 0);
  host_release(h, &q->sq);
  host_release(h, &q->cq);
}
