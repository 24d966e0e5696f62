/* Opening and closing software devices, and the thread that plays one. */
#define _GNU_SOURCE
#include "model.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static const struct soft_model *const MODELS[] = {&soft_nvme};

uint32_t bb_abi_version(void) { return BB_ABI_VERSION; }

/* How long an idle device sleeps at most. A driver that waits for it sees at least this latency now and then; a device
 * that never slept would take a processor away from it. */
enum { IDLE_US = 200 };

static void *run(void *argument) {
  bb_soft *device = argument;
  /* Sleeps end when they should, not up to 50 microseconds later. */
  prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  while (!atomic_load_explicit(&device->ending, memory_order_acquire)) {
    while (atomic_load_explicit(&device->wanted, memory_order_relaxed) != 0) sched_yield();
    pthread_mutex_lock(&device->lock);
    const uint32_t wait_us = device->model->step(device);
    pthread_mutex_unlock(&device->lock);
    if (wait_us == 0) continue;
    const struct timespec rest = {0, (long)(wait_us < IDLE_US ? wait_us : IDLE_US) * 1000};
    nanosleep(&rest, NULL);
  }
  return NULL;
}

static void release(bb_soft *device) {
  if (device->state != NULL) device->model->stop(device);
  for (unsigned i = 0; i < BAR_COUNT; i++) {
    if (device->bars[i].base == NULL) continue;
    soft_unmap_pages(device->bars[i].base, device->bars[i].size);
    if (device->bars[i].fd >= 0) close(device->bars[i].fd);
  }
  for (size_t i = 0; i < device->dma_count; i++) {
    if (!device->dma[i].is_borrowed) soft_unmap_pages(device->dma[i].base, device->dma[i].size);
  }
  free(device->dma);
  pthread_mutex_destroy(&device->lock);
  free(device);
}

int32_t bb_soft_open(const char *kind, const char *settings, bb_soft **out) {
  if (kind == NULL || settings == NULL || out == NULL) return -EINVAL;
  const struct soft_model *model = NULL;
  for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++) {
    if (strcmp(MODELS[i]->kind, kind) == 0) model = MODELS[i];
  }
  if (model == NULL) return -ENODEV;
  bb_soft *device = calloc(1, sizeof *device);
  if (device == NULL) return -ENOMEM;
  device->model = model;
  /* Above 4 GiB, so that an address cut to 32 bits is caught. */
  device->next_bus_address = UINT64_C(0x500000000);
  pthread_mutex_init(&device->lock, NULL);
  int result = model->start(device, settings);
  if (result == 0) result = -pthread_create(&device->thread, NULL, run, device);
  if (result != 0) {
    release(device);
    return result;
  }
  *out = device;
  return 0;
}

void bb_soft_close(bb_soft *device) {
  if (device == NULL) return;
  atomic_store_explicit(&device->ending, 1, memory_order_release);
  pthread_join(device->thread, NULL);
  release(device);
}

int32_t bb_soft_interrupt_fd(bb_soft *device, uint32_t vector) {
  if (device == NULL) return -EINVAL;
  if (device->model->interrupt_fd == NULL) return -ENOTSUP;
  soft_lock(device);
  const int32_t result = device->model->interrupt_fd(device, vector);
  soft_unlock(device);
  return result;
}
