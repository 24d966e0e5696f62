/* Forwarding doorbells for a GPU that cannot write them. See busbar.h for the rules. */
#define _GNU_SOURCE
#include "busbar.h"
#include "internal.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>

/* After so long without a new value others may have the processor between two looks. */
enum { YIELD_US = 20 };

static int32_t forward_new(void *registers, const uint32_t *words, const uint32_t *offsets, uint32_t *known,
                           uint32_t count) {
  int32_t written = 0;
  for (uint32_t i = 0; i < count; i++) {
    /* Acquire: what was stored before the word is there before the register is written. */
    const uint32_t value = __atomic_load_n(&words[i], __ATOMIC_ACQUIRE);
    if (value == known[i]) continue;
    bb_write_barrier();
    if (bb_write32(registers, offsets[i], value) != 0) return -EFAULT;
    known[i] = value;
    written++;
  }
  return written;
}

int32_t bb_nvme_forward(void *registers, const uint32_t *words, const uint32_t *offsets, uint32_t *known, uint32_t count,
                        uint32_t limit_us) {
  if (registers == NULL || words == NULL || offsets == NULL || known == NULL) return -EINVAL;
  if (count > 256 || limit_us > 50000) return -EINVAL;
  uint64_t now = now_us(), last_us = now;
  const uint64_t end = now + limit_us;
  int32_t written = 0;
  for (;;) {
    const int32_t some = forward_new(registers, words, offsets, known, count);
    if (some < 0) return some;
    written += some;
    now = now_us();
    if (some > 0) last_us = now;
    if (now >= end) return written;
    if (now - last_us > YIELD_US) sched_yield();
    else relax();
  }
}
