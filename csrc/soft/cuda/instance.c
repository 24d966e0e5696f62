/* Drivers in this process: opening and closing them. */
#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct cuda_instance *all, *default_instance;
static bool default_failed;
static uint64_t serials;

/* ---- opening and closing --------------------------------------------------------------------------------------------- */

static int32_t open_devices(struct cuda_instance *instance, char *why) {
  const char *file = instance->settings.memory_file;
  for (uint32_t i = 0; i < instance->settings.devices; i++) {
    struct device *device = &instance->devices[i];
    device->instance = instance;
    device->ordinal = (int)i;
    const uint64_t size = instance->settings.memory;
    const int failed = pool_open(&device->pool, size, *file == '\0' ? NULL : file, i * size);
    if (failed != 0) {
      snprintf(why, FATBIN_WORDS, "device memory of %llu bytes%s%s: %s", (unsigned long long)size,
               *file == '\0' ? "" : " in ", file, strerror(-failed));
      return failed;
    }
    device->has_pool = true;
  }
  return 0;
}

static void free_instance(struct cuda_instance *instance) {
  for (uint32_t i = 0; i < MAX_DEVICES; i++) {
    if (instance->devices[i].has_pool) pool_close(&instance->devices[i].pool);
  }
  if (instance->trace != NULL) fclose(instance->trace);
  free(instance->memory);
  free(instance->handles.rows);
  pthread_cond_destroy(&instance->progress);
  pthread_cond_destroy(&instance->help);
  pthread_mutex_destroy(&instance->trace_lock);
  pthread_mutex_destroy(&instance->lock);
  free(instance);
}

int32_t bb_soft_cuda_open(const char *settings, struct cuda_instance **out, char *why, uint32_t why_size) {
  char words[FATBIN_WORDS] = "";
  if (settings == NULL || out == NULL || (why == NULL && why_size > 0)) return -EINVAL;
  struct cuda_instance *instance = calloc(1, sizeof *instance);
  if (instance == NULL) return -ENOMEM;
  int32_t failed = settings_read(settings, &instance->settings, words);
  if (failed != 0) {
    free(instance);
    if (why_size > 0) snprintf(why, why_size, "%s", words);
    return failed;
  }
  pthread_mutex_init(&instance->lock, NULL);
  pthread_mutex_init(&instance->trace_lock, NULL);
  /* Waits with a limit are by the clock that nobody sets. */
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&instance->progress, &monotonic);
  pthread_cond_init(&instance->help, NULL);
  pthread_condattr_destroy(&monotonic);
  if (instance->settings.trace[0] != '\0') {
    instance->trace = fopen(instance->settings.trace, "we");
    if (instance->trace == NULL) {
      failed = -errno;
      snprintf(words, sizeof words, "the trace %s cannot be written: %s", instance->settings.trace, strerror(-failed));
    }
  }
  if (failed == 0) failed = open_devices(instance, words);
  if (failed != 0) {
    free_instance(instance);
    if (why_size > 0) snprintf(why, why_size, "%s", words);
    return failed;
  }
  pthread_mutex_lock(&all_lock);
  instance->serial = ++serials;
  instance->next = all;
  all = instance;
  pthread_mutex_unlock(&all_lock);
  /* A pointer of one driver is not one of another. */
  instance->next_address = DEVICE_ADDRESSES + ((instance->serial & 63) << 50);
  *out = instance;
  return 0;
}

void bb_soft_cuda_close(struct cuda_instance *instance) {
  if (instance == NULL) return;
  while (instance->contexts != NULL) context_end(instance->contexts);
  while (instance->libraries != NULL) library_free(instance->libraries);
  while (instance->links != NULL) link_free(instance->links);
  helpers_end(instance);
  pthread_mutex_lock(&all_lock);
  struct cuda_instance **place = &all;
  while (*place != instance) place = &(*place)->next;
  *place = instance->next;
  if (default_instance == instance) default_instance = NULL;
  pthread_mutex_unlock(&all_lock);
  if (thread_state()->instance == instance) bb_soft_cuda_enter(NULL);
  free_instance(instance);
}

/* Nothing is freed at the end of the process, as other threads may still run; but files are completed. */
__attribute__((destructor)) static void complete_files(void) {
  for (struct cuda_instance *instance = all; instance != NULL; instance = instance->next) {
    lock(instance);
    if (instance->trace != NULL) fflush(instance->trace);
    for (CUcontext context = instance->contexts; context != NULL; context = context->next) {
      for (CUmodule module = context->modules; module != NULL; module = module->next) counts_write(module);
    }
    unlock(instance);
  }
}

void bb_soft_cuda_print_to(struct cuda_instance *instance, void (*print)(void *, const char *, size_t), void *argument) {
  instance->print = print;
  instance->print_argument = argument;
}

uint32_t bb_soft_cuda_last_fault(struct cuda_instance *instance, char *text, uint32_t size) {
  CUresult failed;
  if (instance == NULL) instance = current_instance(&failed);
  if (instance == NULL || text == NULL || size == 0) return 0;
  lock(instance);
  snprintf(text, size, "%s", instance->fault);
  unlock(instance);
  return (uint32_t)strlen(text);
}

/* ---- the driver of programs that load this library as libcuda.so.1 --------------------------------------------------- */

static struct cuda_instance *open_default(void) {
  pthread_mutex_lock(&all_lock);
  struct cuda_instance *found = default_instance;
  const bool failed_before = default_failed;
  pthread_mutex_unlock(&all_lock);
  if (found != NULL || failed_before) return found;
  const char *settings = getenv("BUSBAR_SOFT_CUDA");
  char why[FATBIN_WORDS];
  struct cuda_instance *opened = NULL;
  if (bb_soft_cuda_open(settings == NULL ? "" : settings, &opened, why, sizeof why) != 0) {
    fprintf(stderr, "busbar soft:cuda: BUSBAR_SOFT_CUDA or a relative of it: %s\n", why);
  }
  pthread_mutex_lock(&all_lock);
  default_failed = opened == NULL;
  if (default_instance == NULL) default_instance = opened;
  found = default_instance;
  pthread_mutex_unlock(&all_lock);
  /* Another thread was quicker. */
  if (found != opened) bb_soft_cuda_close(opened);
  return found;
}

/* Threads find it without knowing how it is opened. */
__attribute__((constructor)) static void offer_default(void) { set_default_opener(open_default); }
