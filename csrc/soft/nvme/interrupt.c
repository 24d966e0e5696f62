/*
 * Interrupts: MSI-X messages, which arrive as counts in an event descriptor for each vector. The table and the pending
 * bits lie in BAR0 as the PCI specification has them, so a driver can mask a vector and find it pending.
 */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CONTROL_ENABLE = 0x8000, CONTROL_MASK_ALL = 0x4000, ENTRY_BYTES = 16, ENTRY_CONTROL = 12 };

int nvme_open_vectors(struct controller *c) {
  c->interrupts.vectors = malloc(c->settings.vectors * sizeof *c->interrupts.vectors);
  if (c->interrupts.vectors == NULL) return -ENOMEM;
  for (uint64_t v = 0; v < c->settings.vectors; v++) c->interrupts.vectors[v] = (struct vector){.fd = -1};
  return 0;
}

void nvme_close_vectors(struct controller *c) {
  for (uint64_t v = 0; c->interrupts.vectors != NULL && v < c->settings.vectors; v++) {
    if (c->interrupts.vectors[v].fd >= 0) close(c->interrupts.vectors[v].fd);
  }
  free(c->interrupts.vectors);
}

static uint32_t entry_control(const struct controller *c, uint64_t vector) {
  return c->interrupts.table + (uint32_t)vector * ENTRY_BYTES + ENTRY_CONTROL;
}

static void show_pending(struct controller *c, uint64_t vector, int pending) {
  const uint32_t offset = c->interrupts.pending + (uint32_t)(vector / 32 * 4), bit = UINT32_C(1) << vector % 32;
  const uint32_t before = soft_load32(c->device, 0, offset), after = pending ? before | bit : before & ~bit;
  if (after != before) soft_store32(c->device, 0, offset, after);
}

static int is_masked(const struct controller *c, uint64_t vector) {
  return (nvme_msix_control(c) & CONTROL_MASK_ALL) != 0 || (soft_load32(c->device, 0, entry_control(c, vector)) & 1) != 0;
}

/* Vectors start masked, except those that somebody waits for: what VFIO does for its users, this does for ours. */
void nvme_reset_vectors(struct controller *c) {
  for (uint64_t v = 0; v < c->settings.vectors; v++) {
    c->interrupts.vectors[v].entries = 0;
    show_pending(c, v, 0);
    soft_store32(c->device, 0, entry_control(c, v), c->interrupts.vectors[v].fd < 0);
  }
  c->interrupts.signals_wait = 0;
}

int nvme_interrupt_fd(bb_soft *device, uint32_t vector) {
  struct controller *c = controller_of(device);
  if (vector >= c->settings.vectors) return -EINVAL;
  struct vector *v = &c->interrupts.vectors[vector];
  if (v->fd < 0) {
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return -errno;
    v->fd = fd;
    soft_store32(device, 0, entry_control(c, vector), 0);
    nvme_set_msix_control(c, nvme_msix_control(c) | CONTROL_ENABLE);
  }
  return v->fd;
}

/* ---- coalescing -------------------------------------------------------------------------------------------------- */

static uint32_t coalescing(const struct controller *c) { return c->features.current[FEATURE_COALESCING]; }

/* Interrupts of the admin queue are not coalesced, nor those of vectors that are exempt (§5.27.1.6, §5.27.1.7). */
static int coalesces(const struct controller *c, unsigned vector) {
  return coalescing(c) != 0 && vector != 0 && !c->interrupts.vectors[vector].coalescing_off;
}

/* THR completions, 0-based, or TIME in units of 100 µs since the first; a time of 0 is no wait. */
static int coalescing_is_over(const struct controller *c, const struct vector *v) {
  const uint64_t time_ns = (uint64_t)(coalescing(c) >> 8 & 0xff) * 100000;
  return v->entries > (coalescing(c) & 0xff) || soft_now_ns() - v->first_ns >= time_ns;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

void nvme_note_completion(struct controller *c, const struct completion_queue *cq) {
  struct vector *v = &c->interrupts.vectors[cq->vector];
  if (v->entries++ == 0 && coalesces(c, cq->vector)) v->first_ns = soft_now_ns();
  c->interrupts.signals_wait = 1;
}

static void send(struct controller *c, uint64_t vector) {
  struct vector *v = &c->interrupts.vectors[vector];
  v->entries = 0;
  show_pending(c, vector, 0);
  if (v->fd < 0) return;
  /* Release is the kernel's: who reads the count sees the completions. A full counter (EAGAIN) is not zero either. */
  const uint64_t one = 1;
  if (write(v->fd, &one, sizeof one) == (ssize_t)sizeof one) c->counters.interrupts++;
}

/* One message for all completions of a vector since the last look, later where they are coalesced (§7.1.2). */
void nvme_signal(struct controller *c) {
  if (!c->interrupts.signals_wait) return;
  c->interrupts.signals_wait = 0;
  const int enabled = (nvme_msix_control(c) & CONTROL_ENABLE) != 0;
  for (uint64_t v = 0; v < c->settings.vectors; v++) {
    if (c->interrupts.vectors[v].entries == 0) continue;
    if (!enabled) {
      c->interrupts.vectors[v].entries = 0;
    } else if (coalesces(c, (unsigned)v) && !coalescing_is_over(c, &c->interrupts.vectors[v])) {
      c->interrupts.signals_wait = 1;
    } else if (is_masked(c, v)) {
      show_pending(c, v, 1);
      c->interrupts.signals_wait = 1;
    } else {
      send(c, v);
    }
  }
}
