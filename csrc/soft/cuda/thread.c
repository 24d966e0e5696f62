/* What a thread works with: a driver, a context of it, and what every function of the driver API does first. */
#define _GNU_SOURCE
#include "state.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

static atomic_uint_fast64_t threads;
static struct cuda_instance *(*open_default)(void);

void set_default_opener(struct cuda_instance *(*opener)(void)) { open_default = opener; }

uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct thread_state *thread_state(void) {
  static _Thread_local struct thread_state state;
  if (state.id == 0) state.id = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
  return &state;
}

void say(struct cuda_instance *instance, const char *format, ...) {
  const char *log = instance->settings.log;
  if (strcmp(log, "none") == 0) return;
  FILE *to = *log == '\0' ? stderr : fopen(log, "ae");
  if (to == NULL) to = stderr;
  va_list list;
  va_start(list, format);
  char line[1024];
  vsnprintf(line, sizeof line, format, list);
  va_end(list);
  /* One write, so that lines of several threads do not mix. */
  fprintf(to, "busbar soft:cuda: %s\n", line);
  if (to != stderr) fclose(to);
}

void bb_soft_cuda_enter(struct cuda_instance *instance) {
  struct thread_state *thread = thread_state();
  thread->instance = instance;
  thread->serial = instance == NULL ? 0 : instance->serial;
}

struct cuda_instance *current_instance(CUresult *failed) {
  const struct thread_state *thread = thread_state();
  struct cuda_instance *instance = thread->instance != NULL ? thread->instance : open_default == NULL ? NULL : open_default();
  *failed = instance == NULL ? CUDA_UNKNOWN : CUDA_SUCCESS;
  return instance;
}

static CUresult injected(const struct cuda_instance *instance, const char *function) {
  for (int i = 0; i < instance->settings.injections; i++) {
    if (strcmp(instance->settings.injected[i].function, function) == 0) return instance->settings.injected[i].result;
  }
  return CUDA_SUCCESS;
}

CUresult enter_early(const char *function, struct cuda_instance **out) {
  CUresult failed;
  struct cuda_instance *instance = current_instance(&failed);
  REQUIRE(instance != NULL, failed);
  failed = injected(instance, function);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  /* A function that a stream calls must not call the driver. */
  REQUIRE(!thread_state()->is_in_callback, CUDA_NOT_PERMITTED);
  *out = instance;
  return CUDA_SUCCESS;
}

CUresult enter(const char *function, struct cuda_instance **out) {
  const CUresult failed = enter_early(function, out);
  return failed != CUDA_SUCCESS ? failed : (*out)->is_initialised ? CUDA_SUCCESS : CUDA_NOT_INITIALIZED;
}

int current_place(const struct cuda_instance *instance) {
  const struct thread_state *thread = thread_state();
  for (int at = (int)thread->depth - 1; at >= 0; at--) {
    if (thread->stack[at].serial == instance->serial) return at;
  }
  return -1;
}

CUcontext current_context(struct cuda_instance *instance, CUresult *failed) {
  const int at = current_place(instance);
  *failed = CUDA_SUCCESS;
  if (at < 0) return NULL;
  const struct thread_state *thread = thread_state();
  CUcontext context = thread->stack[at].context;
  if (context == NULL) return NULL;
  lock(instance);
  const bool is_alive =
      handles_kind(&instance->handles, context) == HANDLE_CONTEXT && context->id == thread->stack[at].id;
  unlock(instance);
  if (is_alive) return context;
  *failed = CUDA_CONTEXT_IS_DESTROYED;
  return NULL;
}

CUresult push_current(struct cuda_instance *instance, CUcontext context) {
  struct thread_state *thread = thread_state();
  /* The oldest entry may belong to a driver that was closed; nobody can tell the difference to one that was popped. */
  if (thread->depth == MAX_CONTEXT_DEPTH) {
    memmove(&thread->stack[0], &thread->stack[1], (MAX_CONTEXT_DEPTH - 1) * sizeof thread->stack[0]);
    thread->depth--;
  }
  thread->stack[thread->depth].serial = instance->serial;
  thread->stack[thread->depth].id = context == NULL ? 0 : context->id;
  thread->stack[thread->depth++].context = context;
  return CUDA_SUCCESS;
}

void pop_current(struct cuda_instance *instance) {
  const int at = current_place(instance);
  struct thread_state *thread = thread_state();
  if (at < 0) return;
  memmove(&thread->stack[at], &thread->stack[at + 1], (thread->depth - (unsigned)at - 1) * sizeof thread->stack[0]);
  thread->depth--;
}

CUresult set_current(struct cuda_instance *instance, CUcontext context) {
  struct thread_state *thread = thread_state();
  const int at = current_place(instance);
  if (at < 0) {
    if (context == NULL) return CUDA_SUCCESS;
    return push_current(instance, context);
  }
  if (context == NULL) {
    pop_current(instance);
    return CUDA_SUCCESS;
  }
  thread->stack[at].context = context;
  thread->stack[at].id = context->id;
  return CUDA_SUCCESS;
}

CUresult enter_context(const char *function, CUcontext *out) {
  struct cuda_instance *instance;
  CUresult failed = enter(function, &instance);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  CUcontext context = current_context(instance, &failed);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  REQUIRE(context != NULL, CUDA_INVALID_CONTEXT);
  REQUIRE(context->sticky == CUDA_SUCCESS, context->sticky);
  *out = context;
  return CUDA_SUCCESS;
}

void wait_for_progress(struct cuda_instance *instance, uint32_t limit_us) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += (long)limit_us * 1000;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  pthread_cond_timedwait(&instance->progress, &instance->lock, &until);
}
