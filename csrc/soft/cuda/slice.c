/* Who is in a kernel: threads run kernels in slices, and others wait for a slice to end before memory of the host goes. */
#define _GNU_SOURCE
#include "state.h"

#include <sched.h>
#include <time.h>

void slice_join(struct cuda_instance *instance, struct slice *slice) {
  atomic_store(&slice->turn, 0);
  slice->next = instance->slices;
  instance->slices = slice;
}

void slice_leave(struct cuda_instance *instance, struct slice *slice) {
  struct slice **place = &instance->slices;
  while (*place != slice) place = &(*place)->next;
  *place = slice->next;
}

enum ptx_run run_slice(struct ptx_launch *launch, struct ptx_runner *runner, struct slice *slice) {
  /* Sequentially consistent, as is the reading in memory_settle: either that one sees the odd turn, or this slice begins
   * after the memory was taken out of the space. */
  atomic_fetch_add(&slice->turn, 1);
  const enum ptx_run result = ptx_launch_run(launch, runner, 0);
  atomic_fetch_add(&slice->turn, 1);
  return result;
}

void pause_us(uint32_t us) {
  const struct timespec time = {0, (long)us * 1000};
  nanosleep(&time, NULL);
}

void memory_settle(struct cuda_instance *instance) {
  atomic_thread_fence(memory_order_seq_cst);
  lock(instance);
  for (struct slice *slice = instance->slices; slice != NULL; slice = slice->next) {
    const uint64_t turn = atomic_load(&slice->turn);
    if ((turn & 1) == 0) continue;
    /* A slice is short; the lock is given up for what it may want to allocate. A thread that ends meanwhile is out too. */
    for (;;) {
      unlock(instance);
      sched_yield();
      lock(instance);
      const struct slice *still = instance->slices;
      while (still != NULL && still != slice) still = still->next;
      if (still == NULL || atomic_load(&slice->turn) != turn) break;
    }
    /* The list may have changed: begin again, those that moved on are even or newer. */
    const struct slice *still = instance->slices;
    while (still != NULL && still != slice) still = still->next;
    if (still == NULL) {
      unlock(instance);
      memory_settle(instance);
      return;
    }
  }
  unlock(instance);
}
