/* Which thread a lane is, and what time it is. */
#define _POSIX_C_SOURCE 200809L
#include "engine.h"

#include <time.h>

uint64_t ptx_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void ptx_thread_of(const struct warp *w, unsigned lane, uint32_t thread[3]) {
  const uint32_t *const n = w->launch->config.block, linear = w->index * WARP + lane;
  thread[0] = linear % n[0];
  thread[1] = linear / n[0] % n[1];
  thread[2] = linear / n[0] / n[1];
}
