/* A plain C program that measures memory the way everybody does: a STREAM-like copy, a pointer chase, RandomAccess. It
 * shares nothing with csrc/ and is compiled alone. Prints one number: bytes, hops or updates in a second of
 * processor time: these loops wait for nothing but memory, and the turns of other programs are not theirs.
 *
 *   mem copy|chase|gups BYTES SECONDS
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static double copy(double *a, size_t n, double seconds) {
  const size_t half = n / 2;
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

static double chase(char *base, size_t bytes, double seconds) {
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

static double gups(uint64_t *table, size_t bytes, double seconds) {
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

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  const size_t bytes = strtoull(argv[2], NULL, 10);
  const double seconds = strtod(argv[3], NULL);
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  memset(memory, 1, bytes);
  if (strcmp(argv[1], "copy") == 0) printf("%.6e\n", copy(memory, bytes / sizeof(double), seconds));
  else if (strcmp(argv[1], "chase") == 0) printf("%.6e\n", chase(memory, bytes, seconds));
  else if (strcmp(argv[1], "gups") == 0) printf("%.6e\n", gups(memory, bytes, seconds));
  else return 2;
  return 0;
}
