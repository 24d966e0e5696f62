/* The loop that src/nvme/jobs/io_job.ts is measured against: plain C over the calls of libbusbar's queue pair, with a time
 * stamp for each batch. */
#define _GNU_SOURCE
#include "busbar.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint32_t bb_abi_version(void) { return BB_ABI_VERSION; }

typedef int32_t exchange_function(bb_nvme_queue *, const void *, uint32_t, uint32_t *, void *, uint32_t, uint32_t, uint32_t);

static exchange_function *exchange;

BB_API int32_t bb_bench_open(const char *libbusbar);
BB_API int32_t bb_bench_nvme_reads(bb_nvme_queue *queue, const void *templates, uint32_t depth, uint32_t reads,
                                   uint32_t chunks, uint32_t blocks_each);

/* Uses the very code that the binding calls: libbusbar as it is loaded. */
int32_t bb_bench_open(const char *libbusbar) {
  void *library = dlopen(libbusbar, RTLD_NOW | RTLD_NOLOAD);
  if (library == NULL) return -ENOENT;
  void *found = dlsym(library, "bb_nvme_submit_and_reap");
  memcpy(&exchange, &found, sizeof exchange);
  return exchange == NULL ? -ENOSYS : 0;
}

static uint32_t next_random(uint32_t *state) {
  uint32_t x = *state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return *state = x;
}

static uint64_t clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

struct loop {
  uint8_t *commands, *completions;
  uint64_t *started;
  uint32_t *free_ids;
  uint64_t histogram[64];
};

/* Keeps `depth` reads in flight at random places until `reads` of them are done. */
static int32_t go_round(struct loop *loop, bb_nvme_queue *queue, const uint8_t *templates, uint32_t depth, uint32_t reads,
                        uint32_t chunks, uint32_t blocks_each) {
  uint32_t free_count = depth, issued = 0, done = 0, random = 1;
  for (uint32_t i = 0; i < depth; i++) loop->free_ids[i] = i;
  while (done < reads) {
    uint32_t count = 0, submitted;
    const uint64_t now = clock_ns();
    while (free_count > 0 && issued < reads) {
      const uint32_t id = loop->free_ids[--free_count];
      uint8_t *command = loop->commands + (size_t)count++ * BB_NVME_SQE_BYTES;
      memcpy(command, templates + (size_t)id * BB_NVME_SQE_BYTES, BB_NVME_SQE_BYTES);
      const uint32_t first = 2 | id << 16, lba = next_random(&random) % chunks * blocks_each;
      memcpy(command, &first, 4);
      memcpy(command + 40, &lba, 4);
      loop->started[id] = now;
      issued++;
    }
    const int32_t taken = exchange(queue, loop->commands, count, &submitted, loop->completions, depth + 1, 1, 10000);
    if (taken < 0) return taken;
    const uint64_t end = clock_ns();
    for (int32_t i = 0; i < taken; i++) {
      uint32_t last;
      memcpy(&last, loop->completions + (size_t)i * BB_NVME_CQE_BYTES + 12, 4);
      const uint32_t id = last & 0xffff;
      if (last >> 17 != 0 || id >= depth) return -EIO;
      loop->histogram[63 - __builtin_clzll((end - loop->started[id]) | 1)]++;
      loop->free_ids[free_count++] = id;
      done++;
    }
  }
  return 0;
}

int32_t bb_bench_nvme_reads(bb_nvme_queue *queue, const void *templates, uint32_t depth, uint32_t reads, uint32_t chunks,
                            uint32_t blocks_each) {
  if (exchange == NULL || depth == 0 || chunks == 0) return -EINVAL;
  struct loop loop = {
      .commands = malloc((size_t)depth * BB_NVME_SQE_BYTES),
      .completions = malloc((size_t)(depth + 1) * BB_NVME_CQE_BYTES),
      .started = malloc(depth * sizeof *loop.started),
      .free_ids = malloc(depth * sizeof *loop.free_ids),
  };
  const int32_t result = loop.commands == NULL || loop.completions == NULL || loop.started == NULL || loop.free_ids == NULL
                             ? -ENOMEM
                             : go_round(&loop, queue, templates, depth, reads, chunks, blocks_each);
  free(loop.commands);
  free(loop.completions);
  free(loop.started);
  free(loop.free_ids);
  return result;
}
