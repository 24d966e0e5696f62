/* What the files of libbusbar share and nobody else sees. */
#ifndef BUSBAR_INTERNAL_H
#define BUSBAR_INTERNAL_H

#include <stdint.h>
#include <time.h>

static inline uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* Tells the processor that this is a loop which waits. */
static inline void relax(void) {
#if defined(__x86_64__)
  __asm__ volatile("pause");
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Keeps loads from ordinary memory in front of a later store to a device. x86-64 never moves a load behind a store, so
 * there only the compiler has to be held back. */
static inline void loads_before_stores(void) {
#if defined(__aarch64__)
  __asm__ volatile("dmb oshld" ::: "memory");
#else
  __asm__ volatile("" ::: "memory");
#endif
}

#endif
