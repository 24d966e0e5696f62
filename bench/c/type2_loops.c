/* What src/type2 and csrc/soft/type2 are measured against: a cache line that two processes pass to and fro, memcpy, a bare hash
 * table; and the client of a shared file and the guest's library in C loops of their own. */
#define _GNU_SOURCE
#include "api/cuda_api.h"
#include "api/type2_protocol.h"
#include "busbar.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

BB_API double bb_bench_ping_pong_ns(uint32_t rounds);
BB_API double bb_bench_type2_round_ns(uint8_t *registers, uint32_t rounds);
BB_API double bb_bench_memcpy_ns(uint64_t bytes, uint32_t rounds);
BB_API double bb_bench_table_ns(uint64_t lines, uint64_t updates);
BB_API double bb_bench_cached_call_ns(const char *library, uint32_t calls);

static double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/* There and back over one cache line, between two processes. Negative: it cannot. */
double bb_bench_ping_pong_ns(uint32_t rounds) {
  uint32_t *line = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (line == MAP_FAILED) return -1;
  const pid_t child = fork();
  if (child == 0) {
    for (uint32_t i = 0; i < rounds; i++) {
      while (__atomic_load_n(line, __ATOMIC_ACQUIRE) != 2 * i + 1) relax();
      __atomic_store_n(line, 2 * i + 2, __ATOMIC_RELEASE);
    }
    _exit(0);
  }
  const double start = now_ns();
  for (uint32_t i = 0; child > 0 && i < rounds; i++) {
    __atomic_store_n(line, 2 * i + 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(line, __ATOMIC_ACQUIRE) != 2 * i + 2) relax();
  }
  const double each = (now_ns() - start) / rounds;
  if (child > 0) waitpid(child, NULL, 0);
  munmap(line, 4096);
  return child < 0 ? -1 : each;
}

/* NOPs over a shared file that another process serves, spinning. Nobody else may use it meanwhile. */
double bb_bench_type2_round_ns(uint8_t *registers, uint32_t rounds) {
  uint32_t *submit = (uint32_t *)(void *)(registers + REG_SUBMIT), *done = (uint32_t *)(void *)(registers + REG_DONE);
  const double start = now_ns();
  for (uint32_t i = 0; i < rounds; i++) {
    __atomic_store_n((uint32_t *)(void *)(registers + REG_CMD), CMD_NOP, __ATOMIC_RELAXED);
    const uint32_t number = __atomic_load_n(submit, __ATOMIC_RELAXED) + 1;
    __atomic_store_n(submit, number, __ATOMIC_RELEASE);
    while (__atomic_load_n(done, __ATOMIC_ACQUIRE) != number) relax();
  }
  return (now_ns() - start) / rounds;
}

/* One memcpy of so many bytes. */
double bb_bench_memcpy_ns(uint64_t bytes, uint32_t rounds) {
  uint8_t *from = malloc(bytes), *to = malloc(bytes);
  double best = -1;
  if (from != NULL && to != NULL) memset(from, 1, bytes), memset(to, 2, bytes);
  for (uint32_t i = 0; from != NULL && to != NULL && i < rounds; i++) {
    const double start = now_ns();
    memcpy(to, from, bytes);
    /* The copy is not left out because nobody reads it. */
    __asm__ volatile("" : : "r"(to) : "memory");
    const double took = now_ns() - start;
    if (best < 0 || took < best) best = took;
  }
  free(from);
  free(to);
  return best;
}

/* Updates of a bare hash table at random lines: find by linear probing, or insert, and change a word. */
double bb_bench_table_ns(uint64_t lines, uint64_t updates) {
  uint64_t room = 1, random = 1;
  while (room < 2 * lines) room *= 2;
  struct slot {
    uint64_t line, state;
  } *slots = calloc(room, sizeof *slots);
  if (slots == NULL) return -1;
  const double start = now_ns();
  for (uint64_t i = 0; i < updates; i++) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    const uint64_t line = random % lines + 1;
    uint64_t at = line * UINT64_C(0x9e3779b97f4a7c15) & (room - 1);
    while (slots[at].line != 0 && slots[at].line != line) at = (at + 1) & (room - 1);
    slots[at].line = line;
    slots[at].state += random >> 60;
  }
  const double each = (now_ns() - start) / (double)updates;
  free(slots);
  return each;
}

/* A call of the guest's library that it answers by itself. CXL_GPU names the device. */
double bb_bench_cached_call_ns(const char *path, uint32_t calls) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  CUresult (*init)(unsigned), (*attribute)(int *, CUdevice_attribute, CUdevice);
  if (library == NULL) return -1;
  void *found = dlsym(library, "cuInit");
  memcpy(&init, &found, sizeof found);
  found = dlsym(library, "cuDeviceGetAttribute");
  memcpy(&attribute, &found, sizeof found);
  int value, sum = 0;
  if (init == NULL || attribute == NULL || init(0) != 0 || attribute(&value, 16, 0) != 0) return -1;
  const double start = now_ns();
  for (uint32_t i = 0; i < calls; i++) {
    attribute(&value, 16, 0);
    sum += value;
  }
  const double each = (now_ns() - start) / calls;
  return sum == 0 ? -1 : each;
}
