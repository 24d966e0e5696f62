/* Memory measured in plain C the way everybody does: a STREAM-like copy, a pointer chase, RandomAccess. It shares nothing
 * with csrc/ and is compiled alone. Each works on the memory that it is given for some seconds and returns bytes, hops or
 * updates in a second of processor time: the loops wait for nothing but memory, and other programs' turns are not theirs.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

double peer_copy(double *a, uint64_t bytes, double seconds);
double peer_chase(char *base, uint64_t bytes, double seconds);
double peer_gups(uint64_t *table, uint64_t bytes, double seconds);

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

double peer_copy(double *a, uint64_t bytes, double seconds) {
  const size_t half = bytes / sizeof(double) / 2;
  const double start = now();
  size_t passes = 0;
  do {
    double *restrict to = a;
    const double *restrict from = a + half;
    for (size_t i = 0; i < half; i++) to[i] = from[i];
    __asm__ volatile("" ::: "memory");
    passes++;
  } while (now() - start < seconds);
  return passes * half * sizeof(double) / (now() - start);
}

double peer_chase(char *base, uint64_t bytes, double seconds) {
  const size_t n = bytes / 256;
  size_t *order = malloc(n * sizeof *order);
  if (order == NULL) exit(1);
  for (size_t i = 0; i < n; i++) order[i] = i;
  srandom(1);
  for (size_t i = n - 1; i > 0; i--) {
    const size_t j = (((size_t)random() << 31) ^ (size_t)random()) % (i + 1), kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
  for (size_t i = 0; i < n; i++) *(char **)(base + order[i] * 256) = base + order[(i + 1) % n] * 256;
  free(order);
  const double start = now();
  size_t hops = 0;
  char *p = base;
  do {
    for (int i = 0; i < 10000; i++) p = *(char **)p;
    hops += 10000;
  } while (now() - start < seconds);
  const double rate = hops / (now() - start);
  if (p == NULL) exit(1);
  return rate;
}

double peer_gups(uint64_t *table, uint64_t bytes, double seconds) {
  size_t n = 1;
  while (n * 2 * sizeof *table <= bytes) n *= 2;
  for (size_t i = 0; i < n; i++) table[i] = i;
  /* As ours begins at position 0: the first numbers of the stream are few bits. */
  uint64_t ran = 1;
  size_t updates = 0;
  const double start = now();
  do {
    for (int i = 0; i < 100000; i++) {
      ran = (ran << 1) ^ ((int64_t)ran < 0 ? 7 : 0);
      table[ran & (n - 1)] ^= ran;
    }
    updates += 100000;
  } while (now() - start < seconds);
  return updates / (now() - start);
}
