/* What the software CUDA device is measured against: the same work in plain C, on one core. */
#define _GNU_SOURCE
#include "busbar.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

BB_API uint32_t bb_bench_hash(uint32_t lanes, uint32_t rounds);
BB_API uint32_t bb_bench_interpreter(uint32_t lanes, uint32_t rounds);
BB_API void bb_bench_saxpy(uint32_t count, float a, const float *x, float *y);
BB_API void bb_bench_matrix(uint32_t n, const float *a, const float *b, float *c);
BB_API int32_t bb_bench_wake_up(uint32_t rounds, uint64_t *nanoseconds);
BB_API int32_t bb_bench_one_processor(void);

static uint64_t clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The loop of bench/soft_cuda_kernels.ts, one lane after the other; the sum keeps it from being left out. */
uint32_t bb_bench_hash(uint32_t lanes, uint32_t rounds) {
  uint32_t sum = 0;
  for (uint32_t lane = 0; lane < lanes; lane++) {
    uint32_t x = lane;
    for (uint32_t i = 0; i < rounds; i++) {
      x = x * 1664525u + 1013904223u;
      x ^= x >> 13;
      x += x << 5;
    }
    sum += x;
  }
  return sum;
}

enum operation { MULTIPLY, ADD, SHIFT_RIGHT, SHIFT_LEFT, XOR, LESS, BRANCH, END };

struct instruction {
  enum operation operation;
  uint32_t destination, a, b;
  uint32_t immediate; /* added to register b, which is register 0 and holds 0 where there is only an immediate */
};

/* The same loop, instruction by instruction as PTX has it. Registers: 1 x, 2 scratch, 3 i, 4 rounds, 5 the predicate. */
uint32_t bb_bench_interpreter(uint32_t lanes, uint32_t rounds) {
  static const struct instruction LOOP[] = {
      {MULTIPLY, 1, 1, 0, 1664525u}, {ADD, 1, 1, 0, 1013904223u}, {SHIFT_RIGHT, 2, 1, 0, 13}, {XOR, 1, 1, 2, 0},
      {SHIFT_LEFT, 2, 1, 0, 5},      {ADD, 1, 1, 2, 0},           {ADD, 3, 3, 0, 1},          {LESS, 5, 3, 4, 0},
      {BRANCH, 0, 5, 0, 0},          {END, 0, 0, 0, 0},
  };
  uint32_t sum = 0;
  for (uint32_t lane = 0; lane < lanes; lane++) {
    uint32_t registers[8] = {0, lane, 0, 0, rounds, 0};
    for (const struct instruction *at = LOOP;; at++) {
      const uint32_t a = registers[at->a], b = registers[at->b] + at->immediate;
      switch (at->operation) {
        case MULTIPLY: registers[at->destination] = a * b; continue;
        case ADD: registers[at->destination] = a + b; continue;
        case SHIFT_RIGHT: registers[at->destination] = b > 31 ? 0 : a >> b; continue;
        case SHIFT_LEFT: registers[at->destination] = b > 31 ? 0 : a << b; continue;
        case XOR: registers[at->destination] = a ^ b; continue;
        case LESS: registers[at->destination] = a < b; continue;
        case BRANCH:
          if (a != 0) at = LOOP - 1 + at->immediate;
          continue;
        case END: break;
      }
      break;
    }
    sum += registers[1];
  }
  return sum;
}

void bb_bench_saxpy(uint32_t count, float a, const float *x, float *y) {
  for (uint32_t i = 0; i < count; i++) y[i] = a * x[i] + y[i];
}

enum { TILE = 16 };

/* The kernel's tiles: 16 x 16 of each matrix at a time. */
void bb_bench_matrix(uint32_t n, const float *a, const float *b, float *c) {
  for (uint32_t row = 0; row < n; row += TILE) {
    for (uint32_t column = 0; column < n; column += TILE) {
      float sums[TILE][TILE] = {{0}};
      for (uint32_t k = 0; k < n; k += TILE) {
        for (uint32_t i = 0; i < TILE; i++) {
          for (uint32_t j = 0; j < TILE; j++) {
            float sum = sums[i][j];
            for (uint32_t l = 0; l < TILE; l++) sum += a[(row + i) * n + k + l] * b[(k + l) * n + column + j];
            sums[i][j] = sum;
          }
        }
      }
      for (uint32_t i = 0; i < TILE; i++)
        for (uint32_t j = 0; j < TILE; j++) c[(row + i) * n + column + j] = sums[i][j];
    }
  }
}

struct bell {
  pthread_mutex_t lock;
  pthread_cond_t rung;
  uint32_t asked, answered;
  uint32_t rounds;
};

static void *answer(void *argument) {
  struct bell *bell = argument;
  pthread_mutex_lock(&bell->lock);
  while (bell->answered < bell->rounds) {
    while (bell->asked == bell->answered) pthread_cond_wait(&bell->rung, &bell->lock);
    bell->answered = bell->asked;
    pthread_cond_broadcast(&bell->rung);
  }
  pthread_mutex_unlock(&bell->lock);
  return NULL;
}

/* Asks a waiting thread and waits for its answer, so many times: nanoseconds of all. 0 or -errno. */
int32_t bb_bench_wake_up(uint32_t rounds, uint64_t *nanoseconds) {
  struct bell bell = {.lock = PTHREAD_MUTEX_INITIALIZER, .rung = PTHREAD_COND_INITIALIZER, .rounds = rounds};
  pthread_t other;
  const int failed = pthread_create(&other, NULL, answer, &bell);
  if (failed != 0) return -failed;
  const uint64_t start = clock_ns();
  pthread_mutex_lock(&bell.lock);
  for (uint32_t i = 1; i <= rounds; i++) {
    bell.asked = i;
    pthread_cond_broadcast(&bell.rung);
    while (bell.answered < i) pthread_cond_wait(&bell.rung, &bell.lock);
  }
  pthread_mutex_unlock(&bell.lock);
  *nanoseconds = clock_ns() - start;
  pthread_join(other, NULL);
  return 0;
}

/* Keeps this thread, and those that it creates from now on, on the processor where it runs. 0 or -errno. */
int32_t bb_bench_one_processor(void) {
  const int processor = sched_getcpu();
  if (processor < 0) return -errno;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(processor, &only);
  return sched_setaffinity(0, sizeof only, &only) == 0 ? 0 : -errno;
}
