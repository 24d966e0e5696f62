/*
 * Running grids: the thread of the stream runs slices of one until it ends, and once it takes more than a slice, helper
 * threads of the instance do too. Between slices a grid can be cancelled, and what was freed is forgotten.
 */
#define _GNU_SOURCE
#include "state.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { YIELDS = 64, LONGEST_PAUSE_US = 100, HELPER_PAUSE_US = 500 };

/* ---- what kernels ask of the driver ---------------------------------------------------------------------------------- */

static bool find_region(void *context, uint64_t address, struct ptx_region *out) {
  return space_find(&((CUcontext)context)->space, address, out);
}

/* Registered I/O memory that behaves as a bad connection does. */
static bool access_io(void *context, bool write, uint64_t address, uint8_t *host, unsigned width, void *value) {
  const struct settings *settings = &((CUcontext)context)->instance->settings;
  (void)address;
  if (write && settings->drops_writes) return true;
  volatile uint8_t *at = host;
  if (write) {
    switch (width) {
      case 1: *at = *(uint8_t *)value; break;
      case 2: *(volatile uint16_t *)at = *(uint16_t *)value; break;
      case 4: *(volatile uint32_t *)at = *(uint32_t *)value; break;
      case 8: *(volatile uint64_t *)at = *(uint64_t *)value; break;
      default: return false;
    }
    return true;
  }
  switch (width) {
    case 1: *(uint8_t *)value = *at; break;
    case 2: *(uint16_t *)value = *(volatile uint16_t *)at; break;
    case 4: *(uint32_t *)value = *(volatile uint32_t *)at; break;
    case 8: *(uint64_t *)value = *(volatile uint64_t *)at; break;
    default: return false;
  }
  if (settings->reads_ones) memset(value, 0xff, width);
  return true;
}

/* Printed text waits in pieces, each behind its length. When there is no room the oldest go. */
static void keep_print(void *argument, const char *text, size_t length) {
  CUcontext context = argument;
  const uint32_t size = (uint32_t)length;
  pthread_mutex_lock(&context->print_lock);
  const size_t limit = context->print_bytes;
  const size_t needed = sizeof size + length;
  if (needed <= limit) {
    while (context->print_used + needed > limit) {
      uint32_t oldest;
      memcpy(&oldest, context->print, sizeof oldest);
      context->print_used -= sizeof oldest + oldest;
      memmove(context->print, context->print + sizeof oldest + oldest, context->print_used);
    }
    if (context->print_used + needed > context->print_room) {
      const size_t room = 2 * (context->print_used + needed);
      char *wider = realloc(context->print, room);
      if (wider != NULL) {
        context->print = wider;
        context->print_room = room;
      }
    }
    if (context->print_used + needed <= context->print_room) {
      memcpy(context->print + context->print_used, &size, sizeof size);
      memcpy(context->print + context->print_used + sizeof size, text, length);
      context->print_used += needed;
    }
  }
  pthread_mutex_unlock(&context->print_lock);
}

void print_flush(CUcontext context) {
  const struct cuda_instance *instance = context->instance;
  pthread_mutex_lock(&context->print_lock);
  for (size_t at = 0; at < context->print_used;) {
    uint32_t size;
    memcpy(&size, context->print + at, sizeof size);
    const char *text = context->print + at + sizeof size;
    if (instance->print != NULL) instance->print(instance->print_argument, text, size);
    else fwrite(text, 1, size, stdout);
    at += sizeof size + size;
  }
  if (context->print_used > 0 && instance->print == NULL) fflush(stdout);
  context->print_used = 0;
  pthread_mutex_unlock(&context->print_lock);
}

static uint64_t allocate_heap(void *argument, uint64_t size) {
  CUcontext context = argument;
  struct allocation *one = NULL;
  lock(context->instance);
  if (size > 0 && size <= context->heap_bytes - context->heap_used &&
      memory_allocate(context, MEMORY_DEVICE, USE_HEAP, size, 0, NULL, &one) == CUDA_SUCCESS) {
    context->heap_used += size;
  }
  const uint64_t address = one == NULL ? 0 : one->address;
  unlock(context->instance);
  return address;
}

static bool release_heap(void *argument, uint64_t address) {
  CUcontext context = argument;
  lock(context->instance);
  struct allocation *one = memory_holding(context->instance, address, 1);
  const bool is_one = one != NULL && one->use == USE_HEAP && one->address == address && one->context == context;
  if (is_one) {
    context->heap_used -= one->size;
    memory_free(one);
  }
  unlock(context->instance);
  return is_one;
}

static void write_trace(void *argument, const struct ptx_trace *trace) {
  struct cuda_instance *instance = ((CUcontext)argument)->instance;
  const struct ptx_thread *thread = &trace->thread;
  char value[2 * sizeof trace->value + 1] = "";
  /* Most significant byte first, as numbers are written. */
  for (uint32_t i = 0; i < trace->width && i < sizeof trace->value; i++) {
    snprintf(value + 2 * i, 3, "%02x", trace->value[trace->width - 1 - i]);
  }
  pthread_mutex_lock(&instance->trace_lock);
  fprintf(instance->trace,
          "{\"ns\":\"%llu\",\"kernel\":\"%s\",\"block\":[%u,%u,%u],\"thread\":[%u,%u,%u],\"line\":%u,\"access\":\"%s\","
          "\"address\":\"0x%llx\",\"width\":%u,\"value\":\"0x%s\"}\n",
          (unsigned long long)trace->nanoseconds, thread->kernel, thread->block[0], thread->block[1], thread->block[2],
          thread->thread[0], thread->thread[1], thread->thread[2], thread->line, trace->write ? "write" : "read",
          (unsigned long long)trace->address, trace->width, value);
  fflush(instance->trace);
  pthread_mutex_unlock(&instance->trace_lock);
}

/* ---- faults ---------------------------------------------------------------------------------------------------------- */

static CUresult result_of(enum ptx_fault_kind kind) {
  switch (kind) {
    case PTX_FAULT_NONE: return CUDA_SUCCESS;
    case PTX_FAULT_ADDRESS: return CUDA_ILLEGAL_ADDRESS;
    case PTX_FAULT_MISALIGNED: return CUDA_MISALIGNED_ADDRESS;
    case PTX_FAULT_SPACE: return CUDA_INVALID_ADDRESS_SPACE;
    case PTX_FAULT_CODE: return CUDA_INVALID_PC;
    case PTX_FAULT_STACK: return CUDA_HARDWARE_STACK_ERROR;
    case PTX_FAULT_TRAP: return CUDA_LAUNCH_FAILED;
    case PTX_FAULT_ASSERT: return CUDA_ASSERT;
    case PTX_FAULT_INSTRUCTION: return CUDA_ILLEGAL_INSTRUCTION;
    case PTX_FAULT_DEADLOCK: return CUDA_LAUNCH_FAILED;
    case PTX_FAULT_BUDGET: return CUDA_LAUNCH_TIMEOUT;
    case PTX_FAULT_CANCELLED: return CUDA_LAUNCH_FAILED;
    case PTX_FAULT_MEMORY: return CUDA_OUT_OF_MEMORY;
  }
  return CUDA_LAUNCH_FAILED;
}

/* What lies at an address that a kernel must not touch. With the lock held. */
static const char *what_is_at(CUcontext context, const struct ptx_fault *fault) {
  const uint64_t width = fault->width == 0 ? 1 : fault->width;
  const struct allocation *one = memory_holding(context->instance, fault->address, 1);
  if (one != NULL && !memory_is_visible(context, one)) return "; that memory belongs to another context";
  if (one != NULL && memory_holding(context->instance, fault->address, width) == NULL) return "; it goes past the end there";
  if (one != NULL) return "; that memory is read-only for kernels";
  if (fault->address < DEVICE_ADDRESSES && fault->address >= 65536) {
    return "; if it is host memory, it is neither pinned nor registered nor managed";
  }
  return "; nothing is there";
}

static void tell_fault(CUcontext context, CUresult result, const struct ptx_fault *fault) {
  struct cuda_instance *instance = context->instance;
  lock(instance);
  const char *what = fault->kind == PTX_FAULT_ADDRESS ? what_is_at(context, fault) : "";
  snprintf(instance->fault, sizeof instance->fault, "%s%s", fault->message, what);
  unlock(instance);
  say(instance, "%d: %s%s", result, fault->message, what);
}

/* ---- running --------------------------------------------------------------------------------------------------------- */

static void *help(void *argument) {
  struct cuda_instance *instance = argument;
  struct ptx_runner *runner = ptx_runner_create();
  struct slice slice = {.next = NULL};
  lock(instance);
  slice_join(instance, &slice);
  while (!instance->helpers_ending) {
    struct running *running = instance->running;
    while (running != NULL && (!running->wants_helpers || running->is_over)) running = running->next;
    if (running == NULL || runner == NULL) {
      pthread_cond_wait(&instance->help, &instance->lock);
      continue;
    }
    running->helpers++;
    unlock(instance);
    enum ptx_run state = PTX_RUN_MORE;
    for (uint32_t idle = 0; state == PTX_RUN_MORE || (state == PTX_RUN_IDLE && idle < YIELDS);) {
      state = run_slice(running->launch, runner, &slice);
      idle = state == PTX_RUN_IDLE ? idle + 1 : 0;
      if (state == PTX_RUN_IDLE) sched_yield();
    }
    lock(instance);
    running->helpers--;
    if (running->helpers == 0) progress_made(instance);
    if (state == PTX_RUN_DONE || state == PTX_RUN_FAULT) {
      running->is_over = true;
      progress_made(instance);
    } else {
      /* Nothing for a helper right now: look again soon. */
      unlock(instance);
      pause_us(HELPER_PAUSE_US);
      lock(instance);
    }
  }
  slice_leave(instance, &slice);
  unlock(instance);
  ptx_runner_free(runner);
  return NULL;
}

/* With the lock held. */
static void call_helpers(struct cuda_instance *instance, struct running *running) {
  const uint32_t wanted = instance->settings.threads - 1;
  running->wants_helpers = true;
  if (instance->helpers == NULL) {
    instance->helpers = calloc(wanted, sizeof *instance->helpers);
    while (instance->helpers != NULL && instance->helper_count < wanted &&
           pthread_create(&instance->helpers[instance->helper_count], NULL, help, instance) == 0) {
      instance->helper_count++;
    }
  }
  pthread_cond_broadcast(&instance->help);
}

void helpers_end(struct cuda_instance *instance) {
  lock(instance);
  instance->helpers_ending = true;
  pthread_cond_broadcast(&instance->help);
  unlock(instance);
  for (uint32_t i = 0; i < instance->helper_count; i++) pthread_join(instance->helpers[i], NULL);
  free(instance->helpers);
  instance->helpers = NULL;
  instance->helper_count = 0;
}

void launch_cancel_all(CUcontext context) {
  for (struct running *running = context->instance->running; running != NULL; running = running->next) {
    if (running->context == context) ptx_launch_cancel(running->launch);
  }
}

/* Slices until the grid has ended. */
static void run_to_end(struct running *running, struct ptx_runner *runner, struct slice *slice, bool may_have_help) {
  CUcontext context = running->context;
  struct cuda_instance *instance = context->instance;
  const uint64_t limit_ms = instance->settings.watchdog_ms, start = now_ns();
  uint32_t idle = 0, pause = 1;
  for (;;) {
    const enum ptx_run state = run_slice(running->launch, runner, slice);
    if (state == PTX_RUN_DONE || state == PTX_RUN_FAULT) return;
    if (context->ending || context->sticky != CUDA_SUCCESS) ptx_launch_cancel(running->launch);
    if (limit_ms != 0 && now_ns() - start > limit_ms * 1000000) {
      running->is_too_long = true;
      ptx_launch_cancel(running->launch);
    }
    if (may_have_help && !running->wants_helpers) {
      lock(instance);
      call_helpers(instance, running);
      unlock(instance);
    }
    if (state == PTX_RUN_MORE) {
      idle = 0;
      pause = 1;
    } else if (++idle < YIELDS) {
      sched_yield();
    } else {
      pause_us(pause);
      if (pause < LONGEST_PAUSE_US) pause *= 2;
    }
  }
}

static void add_counts(CUmodule module, const struct ptx_launch *launch) {
  for (uint32_t line = 1; module->counts != NULL && line <= module->count_lines; line++) {
    module->counts[line] += ptx_launch_line_count(launch, 0, line);
  }
}

CUresult launch_run(CUstream stream, const struct work *work, struct ptx_runner *runner, struct slice *slice) {
  CUcontext context = stream->context;
  struct cuda_instance *instance = context->instance;
  const struct settings *settings = &instance->settings;
  const struct CUfunc_st *function = work->launch.function;
  struct ptx_launch_config config = {
      .module = function->module->code,
      .kernel = function->index,
      .dynamic_shared = work->launch.shared,
      .parameters = work->buffer,
      .cooperative = work->launch.is_cooperative,
      .multiprocessors = settings->profile->multiprocessors,
      .clock_khz = settings->profile->clock_khz,
      .budget = settings->budget,
      .isa = settings->isa,
      .weak_memory = settings->is_weak,
      .count_lines = settings->count_lines != 0,
      .memory = {.find = find_region, .generation = &context->space.generation, .context = context},
      .hooks = {.print = keep_print, .allocate = allocate_heap, .release = release_heap, .context = context},
  };
  memcpy(config.grid, work->launch.grid, sizeof config.grid);
  memcpy(config.block, work->launch.block, sizeof config.block);
  if (settings->drops_writes || settings->reads_ones) config.memory.io = access_io;
  if (instance->trace != NULL) config.hooks.trace = write_trace;
  struct running running = {.context = context, .module = function->module};
  struct allocation *workspace = NULL;
  CUresult result = CUDA_SUCCESS;
  lock(instance);
  config.stack_bytes = (uint32_t)context->stack_bytes;
  config.grid_id = ++instance->next_id;
  config.weak_seed = settings->weak_seed + config.grid_id * UINT64_C(0x9e3779b97f4a7c15);
  if (config.cooperative) {
    enum { WORKSPACE_BYTES = 64 };
    result = memory_allocate(context, MEMORY_DEVICE, USE_DRIVER, WORKSPACE_BYTES, 0, NULL, &workspace);
    if (result == CUDA_SUCCESS) {
      memset(workspace->host, 0, WORKSPACE_BYTES);
      config.grid_workspace = workspace->address;
    }
  }
  unlock(instance);
  if (result == CUDA_SUCCESS && ptx_launch_create(&config, &running.launch) != PTX_OK) result = CUDA_OUT_OF_MEMORY;
  if (running.launch != NULL) {
    lock(instance);
    running.next = instance->running;
    instance->running = &running;
    unlock(instance);
    const uint64_t blocks = (uint64_t)config.grid[0] * config.grid[1] * config.grid[2];
    run_to_end(&running, runner, slice, settings->threads > 1 && blocks > 1);
    lock(instance);
    running.is_over = true;
    while (running.helpers > 0) pthread_cond_wait(&instance->progress, &instance->lock);
    struct running **place = &instance->running;
    while (*place != &running) place = &(*place)->next;
    *place = running.next;
    if (settings->count_lines) add_counts(function->module, running.launch);
    unlock(instance);
    const struct ptx_fault *fault = ptx_launch_fault(running.launch);
    if (fault != NULL) {
      result = running.is_too_long ? CUDA_LAUNCH_TIMEOUT : result_of(fault->kind);
      if (fault->kind != PTX_FAULT_CANCELLED || running.is_too_long) tell_fault(context, result, fault);
    }
    ptx_launch_free(running.launch);
  }
  if (workspace != NULL) {
    lock(instance);
    memory_free(workspace);
    unlock(instance);
  }
  return result;
}
