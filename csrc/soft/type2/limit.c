/*
 * The limit of a kernel's running time, for a driver that has none of its own: a process that serves one guest alone ends
 * itself, and the driver takes back what ran. Nothing less stops a kernel on silicon.
 *
 * Every launch is followed by an event. Only the oldest launch that has not ended is timed, from the moment at which all before
 * it had: it can wait for nothing that is still to come, so what is long about it is its own.
 *
 * Two threads, because a driver may not return: one asks it for events, the other looks at the clock and calls nothing.
 */
#define _GNU_SOURCE
#include "device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_US = 20000, MOST_LAUNCHES = MOST_QUEUED * MOST_SESSIONS, CALL_US = 10000000 };

struct launch {
  CUcontext context;
  CUevent ended;
};

struct limit {
  pthread_mutex_t lock; /* the launches */
  struct launch launches[MOST_LAUNCHES]; /* a ring */
  uint32_t first, count;
  atomic_uint_fast64_t kernel_since;  /* when the oldest launch began, as far as was seen; 0: there is none */
  atomic_uint_fast64_t command_since; /* when a command began, or since when no kernel explains that it takes long; 0: none */
  pthread_t asker, ender;
  bool has_asker, has_ender;
  atomic_bool is_closing, is_ending;
};

/* Times are hints for a look every LOOK_US: nothing is ordered by them. */
static void set(atomic_uint_fast64_t *time, uint64_t value) { atomic_store_explicit(time, value, memory_order_relaxed); }
static uint64_t get(const atomic_uint_fast64_t *time) { return atomic_load_explicit(time, memory_order_relaxed); }

/* The oldest launch is no longer one. With the lock held. */
static void oldest_is_gone(struct limit *limit) {
  limit->first = (limit->first + 1) % MOST_LAUNCHES;
  limit->count--;
  const uint64_t now = now_us();
  set(&limit->kernel_since, limit->count == 0 ? 0 : now);
  if (limit->count == 0 && get(&limit->command_since) != 0) set(&limit->command_since, now);
}

static void *ask(void *argument) {
  struct type2 *device = argument;
  struct limit *limit = device->limit;
  const struct backend_functions *f = &device->backend.f;
  while (!atomic_load_explicit(&limit->is_ending, memory_order_relaxed)) {
    pthread_mutex_lock(&limit->lock);
    while (limit->count > 0) {
      const struct launch *oldest = &limit->launches[limit->first];
      backend_enter(&device->backend, oldest->context);
      /* A fault of the context is an end too. */
      if (f->cuEventQuery(oldest->ended) == TYPE2_NOT_READY) break;
      f->cuEventDestroy_v2(oldest->ended);
      oldest_is_gone(limit);
    }
    pthread_mutex_unlock(&limit->lock);
    rest_for(LOOK_US);
  }
  return NULL;
}

static void *end(void *argument) {
  struct type2 *device = argument;
  struct limit *limit = device->limit;
  const uint64_t most = device->settings.limit_ms * 1000;
  while (!atomic_load_explicit(&limit->is_ending, memory_order_relaxed)) {
    const uint64_t now = now_us(), kernel = get(&limit->kernel_since), command = get(&limit->command_since);
    const bool is_over = kernel != 0 ? now > kernel + most : command != 0 && now > command + most + CALL_US;
    if (is_over) _exit(TYPE2_LIMIT_STATUS);
    rest_for(LOOK_US);
  }
  return NULL;
}

int limit_start(struct type2 *device) {
  if (!device->settings.ends_at_limit || !device->has_backend) return 0;
  struct limit *limit = calloc(1, sizeof *limit);
  if (limit == NULL) return -ENOMEM;
  pthread_mutex_init(&limit->lock, NULL);
  device->limit = limit;
  limit->has_asker = pthread_create(&limit->asker, NULL, ask, device) == 0;
  limit->has_ender = limit->has_asker && pthread_create(&limit->ender, NULL, end, device) == 0;
  return limit->has_ender ? 0 : -EAGAIN;
}

uint32_t limit_launch(struct type2 *device, CUcontext context, CUstream stream) {
  struct limit *limit = device->limit;
  if (limit == NULL) return TYPE2_SUCCESS;
  struct launch launch = {.context = context};
  const uint32_t no_timing = 2; /* CU_EVENT_DISABLE_TIMING */
  CUresult failed = device->backend.f.cuEventCreate(&launch.ended, no_timing);
  if (failed != 0) return result_of(failed);
  pthread_mutex_lock(&limit->lock);
  failed = limit->count == MOST_LAUNCHES ? 2 : device->backend.f.cuEventRecord(launch.ended, stream);
  if (failed == 0) {
    if (limit->count == 0) set(&limit->kernel_since, now_us());
    limit->launches[(limit->first + limit->count++) % MOST_LAUNCHES] = launch;
  }
  pthread_mutex_unlock(&limit->lock);
  if (failed != 0) device->backend.f.cuEventDestroy_v2(launch.ended);
  return result_of(failed);
}

void limit_forget(struct type2 *device, CUcontext context) {
  struct limit *limit = device->limit;
  if (limit == NULL) return;
  pthread_mutex_lock(&limit->lock);
  const uint64_t since = get(&limit->kernel_since);
  const bool has_oldest = limit->count > 0 && limit->launches[limit->first].context == context;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < limit->count; i++) {
    const struct launch one = limit->launches[(limit->first + i) % MOST_LAUNCHES];
    if (one.context != context) limit->launches[(limit->first + kept++) % MOST_LAUNCHES] = one;
  }
  if (has_oldest) {
    set(&limit->kernel_since, kept == 0 ? 0 : now_us());
    /* The command that destroys the context waits for its kernels, and has no more time than they had. */
    if (kept == 0 && get(&limit->command_since) != 0) set(&limit->command_since, since);
  }
  limit->count = kept;
  pthread_mutex_unlock(&limit->lock);
}

void limit_command(struct type2 *device, bool begins) {
  struct limit *limit = device->limit;
  if (limit == NULL) return;
  /* Closing is the last command: one that ends meanwhile does not end it. */
  const bool is_closing = atomic_load_explicit(&limit->is_closing, memory_order_relaxed);
  set(&limit->command_since, begins || is_closing ? now_us() : 0);
}

void limit_closing(struct type2 *device) {
  if (device->limit == NULL) return;
  atomic_store_explicit(&device->limit->is_closing, true, memory_order_relaxed);
  limit_command(device, true);
}

void limit_close(struct type2 *device) {
  struct limit *limit = device->limit;
  if (limit == NULL) return;
  atomic_store_explicit(&limit->is_ending, true, memory_order_relaxed);
  if (limit->has_asker) pthread_join(limit->asker, NULL);
  if (limit->has_ender) pthread_join(limit->ender, NULL);
  pthread_mutex_destroy(&limit->lock);
  free(limit);
  device->limit = NULL;
}
