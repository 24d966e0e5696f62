/*
 * Streams: queues of work with a thread each, which starts with the first piece of work. The legacy default stream waits for
 * all streams that synchronise with it and they for it; that is put into each piece of work when it is queued, as the
 * numbers that other streams must have reached.
 */
#define _GNU_SOURCE
#include "state.h"

#include <stdlib.h>
#include <string.h>

/* ---- work ------------------------------------------------------------------------------------------------------------ */

struct work *work_new(enum work_kind kind) {
  struct work *work = calloc(1, sizeof *work);
  if (work != NULL) work->kind = kind;
  return work;
}

void event_release(CUevent event) {
  event->references--;
  if (event->references == 0 && event->is_destroyed) free(event);
}

void work_free(struct work *work) {
  for (uint32_t i = 0; i < work->barrier_count; i++) work->barriers[i].stream->references--;
  if (work->kind == WORK_RECORD || work->kind == WORK_WAIT_EVENT) event_release(work->event.event);
  free(work->barriers);
  free(work->buffer);
  free(work);
}

static void copy_rows(const struct block_copy *copy) {
  for (uint64_t z = 0; z < copy->depth; z++) {
    for (uint64_t y = 0; y < copy->height; y++) {
      memmove(copy->to + z * copy->to_plane + y * copy->to_pitch, copy->from + z * copy->from_plane + y * copy->from_pitch,
              copy->width);
    }
  }
}

static void fill_rows(const struct work *work) {
  for (uint64_t y = 0; y < work->fill.height; y++) {
    uint8_t *row = work->fill.to + y * work->fill.pitch;
    if (work->fill.value_bytes == 1) {
      memset(row, (int)work->fill.value, work->fill.width);
      continue;
    }
    for (uint64_t x = 0; x < work->fill.width; x += work->fill.value_bytes) {
      memcpy(row + x, &work->fill.value, work->fill.value_bytes);
    }
  }
}

static void write_value(const struct work *work) {
  /* Release: what the stream did before is seen by whoever sees the value. */
  if (work->value.width == 8) __atomic_store_n((uint64_t *)(void *)work->value.at, work->value.value, __ATOMIC_RELEASE);
  else __atomic_store_n((uint32_t *)(void *)work->value.at, (uint32_t)work->value.value, __ATOMIC_RELEASE);
}

enum { WAIT_GEQ, WAIT_EQ, WAIT_AND, WAIT_NOR };

static bool value_is_there(const struct work *work) {
  const uint64_t wanted = work->value.value;
  /* Acquire: what the writer did before is seen by what the stream does next. */
  if (work->value.width == 8) {
    const uint64_t seen = __atomic_load_n((uint64_t *)(void *)work->value.at, __ATOMIC_ACQUIRE);
    switch (work->value.flags & 3) {
      case WAIT_GEQ: return (int64_t)(seen - wanted) >= 0;
      case WAIT_EQ: return seen == wanted;
      case WAIT_AND: return (seen & wanted) != 0;
      default: return ~(seen | wanted) != 0;
    }
  }
  const uint32_t seen = __atomic_load_n((uint32_t *)(void *)work->value.at, __ATOMIC_ACQUIRE), want = (uint32_t)wanted;
  switch (work->value.flags & 3) {
    case WAIT_GEQ: return (int32_t)(seen - want) >= 0;
    case WAIT_EQ: return seen == want;
    case WAIT_AND: return (seen & want) != 0;
    default: return ~(seen | want) != 0;
  }
}

static void wait_for_value(CUstream stream, const struct work *work) {
  struct cuda_instance *instance = stream->context->instance;
  for (uint32_t pause_us = 20; !value_is_there(work) && !stream->context->ending && stream->context->sticky == CUDA_SUCCESS;) {
    /* The writer may be anybody, so nobody tells. */
    lock(instance);
    wait_for_progress(instance, pause_us);
    unlock(instance);
    if (pause_us < 500) pause_us *= 2;
  }
}

static void call_host(CUstream stream, const struct work *work) {
  thread_state()->is_in_callback = true;
  if (work->kind == WORK_CALLBACK) work->host.callback(work->host.named, stream->context->sticky, work->host.data);
  else work->host.function(work->host.data);
  thread_state()->is_in_callback = false;
}

/* Without the lock. */
static CUresult perform(CUstream stream, struct work *work, struct ptx_runner *runner, struct slice *slice) {
  struct cuda_instance *instance = stream->context->instance;
  switch (work->kind) {
    case WORK_COPY: copy_rows(&work->copy); break;
    case WORK_FILL: fill_rows(work); break;
    case WORK_LAUNCH: return launch_run(stream, work, runner, slice);
    case WORK_WRITE_VALUE: write_value(work); break;
    case WORK_WAIT_VALUE: wait_for_value(stream, work); break;
    case WORK_HOST_FUNCTION: case WORK_CALLBACK: call_host(stream, work); break;
    case WORK_RECORD:
      lock(instance);
      work->event.event->time_ns = now_ns();
      if (work->event.event->reached < work->event.generation) work->event.event->reached = work->event.generation;
      unlock(instance);
      break;
    case WORK_WAIT_EVENT:
      lock(instance);
      while (work->event.event->reached < work->event.generation && !stream->context->ending) {
        pthread_cond_wait(&instance->progress, &instance->lock);
      }
      unlock(instance);
      break;
    case WORK_FREE:
      if (work->freed->kind == MEMORY_DEVICE) {
        lock(instance);
        memory_free(work->freed);
        unlock(instance);
      }
      break;
  }
  return CUDA_SUCCESS;
}

/* ---- workers --------------------------------------------------------------------------------------------------------- */

static bool barriers_are_met(const struct work *work) {
  for (uint32_t i = 0; i < work->barrier_count; i++) {
    if (work->barriers[i].stream->done < work->barriers[i].ticket) return false;
  }
  return true;
}

static struct work *take_first(CUstream stream) {
  struct work *work = stream->first;
  stream->first = work->next;
  if (stream->first == NULL) stream->last = NULL;
  return work;
}

/* After a fault nothing runs any more; but events count as reached, callbacks hear of it, and memory goes. */
static bool runs_after_fault(const struct work *work) {
  return work->kind == WORK_RECORD || work->kind == WORK_CALLBACK || work->kind == WORK_FREE;
}

static void *work_through(void *argument) {
  CUstream stream = argument;
  CUcontext context = stream->context;
  struct cuda_instance *instance = context->instance;
  struct ptx_runner *runner = ptx_runner_create();
  struct slice slice = {.next = NULL};
  /* What a stream's functions call is this driver, if they call it against the rules. */
  bb_soft_cuda_enter(instance);
  lock(instance);
  slice_join(instance, &slice);
  for (;;) {
    while (stream->first == NULL && !stream->is_ending && !stream->is_destroyed) pthread_cond_wait(&stream->wake, &instance->lock);
    if (stream->is_ending || stream->first == NULL) break;
    struct work *work = take_first(stream);
    while (!barriers_are_met(work) && !stream->is_ending) pthread_cond_wait(&instance->progress, &instance->lock);
    const bool is_alive = context->sticky == CUDA_SUCCESS && !stream->is_ending;
    CUresult result = CUDA_SUCCESS;
    if (is_alive || (runs_after_fault(work) && !stream->is_ending)) {
      unlock(instance);
      result = runner == NULL && work->kind == WORK_LAUNCH ? CUDA_OUT_OF_MEMORY : perform(stream, work, runner, &slice);
      lock(instance);
    }
    if (result != CUDA_SUCCESS && context->sticky == CUDA_SUCCESS) {
      context->sticky = result;
      launch_cancel_all(context);
    }
    stream->done++;
    work_free(work);
    progress_made(instance);
  }
  while (stream->first != NULL) work_free(take_first(stream));
  slice_leave(instance, &slice);
  stream->has_ended = true;
  progress_made(instance);
  unlock(instance);
  ptx_runner_free(runner);
  return NULL;
}

/* Frees the streams that were destroyed, whose work is done and which nobody waits for. With the lock held. */
static void reap(CUcontext context) {
  for (CUstream *place = &context->streams; *place != NULL;) {
    CUstream stream = *place;
    if (!stream->is_destroyed || stream->references > 0 || (stream->runs && !stream->has_ended)) {
      place = &stream->next;
      continue;
    }
    *place = stream->next;
    if (stream->runs) pthread_join(stream->thread, NULL);
    pthread_cond_destroy(&stream->wake);
    free(stream);
  }
}

/* With the lock held. */
static CUstream stream_new(CUcontext context, uint32_t flags, int priority) {
  reap(context);
  CUstream stream = calloc(1, sizeof *stream);
  if (stream == NULL) return NULL;
  stream->context = context;
  stream->id = ++context->instance->next_id;
  stream->flags = flags;
  stream->priority = priority;
  pthread_cond_init(&stream->wake, NULL);
  stream->next = context->streams;
  context->streams = stream;
  return stream;
}

void streams_end(CUcontext context) {
  struct cuda_instance *instance = context->instance;
  lock(instance);
  for (CUstream stream = context->streams; stream != NULL; stream = stream->next) {
    stream->is_ending = true;
    pthread_cond_signal(&stream->wake);
  }
  progress_made(instance);
  unlock(instance);
  for (CUstream stream = context->streams; stream != NULL; stream = stream->next) {
    if (stream->runs) pthread_join(stream->thread, NULL);
  }
  lock(instance);
  for (CUstream stream = context->streams, next; stream != NULL; stream = next) {
    next = stream->next;
    handles_remove(&instance->handles, stream);
    pthread_cond_destroy(&stream->wake);
    free(stream);
  }
  context->streams = context->legacy = NULL;
  unlock(instance);
}

/* ---- finding streams, queueing and waiting --------------------------------------------------------------------------- */

static CUstream legacy_stream(CUcontext context) {
  if (context->legacy == NULL) {
    context->legacy = stream_new(context, 0, 0);
    if (context->legacy != NULL) context->legacy->is_legacy = true;
  }
  return context->legacy;
}

static CUstream per_thread_stream(CUcontext context) {
  const uint64_t id = thread_state()->id;
  for (CUstream stream = context->streams; stream != NULL; stream = stream->next) {
    if (stream->thread_id == id) return stream;
  }
  CUstream stream = stream_new(context, 0, 0);
  if (stream != NULL) stream->thread_id = id;
  return stream;
}

CUstream stream_named(CUcontext context, CUstream handle) {
  const uintptr_t special = (uintptr_t)handle;
  if (special == 2 || (special == 0 && thread_state()->has_per_thread_default)) return per_thread_stream(context);
  if (special <= 1) return legacy_stream(context);
  const bool is_one = handles_kind(&context->instance->handles, handle) == HANDLE_STREAM;
  return is_one && handle->context == context ? handle : NULL;
}

static bool is_blocking(const struct CUstream_st *stream) { return (stream->flags & STREAM_NON_BLOCKING) == 0; }

/* What the work must wait for by the rules of the legacy default stream. False: no memory. */
static bool add_barriers(CUstream stream, struct work *work) {
  CUcontext context = stream->context;
  if (!is_blocking(stream)) return true;
  uint32_t count = 0;
  for (CUstream other = context->streams; other != NULL; other = other->next) {
    count += other != stream && is_blocking(other) && other->done < other->queued && (stream->is_legacy || other->is_legacy);
  }
  if (count == 0) return true;
  work->barriers = calloc(count, sizeof *work->barriers);
  if (work->barriers == NULL) return false;
  for (CUstream other = context->streams; other != NULL; other = other->next) {
    if (other == stream || !is_blocking(other) || other->done >= other->queued || !(stream->is_legacy || other->is_legacy)) {
      continue;
    }
    other->references++;
    work->barriers[work->barrier_count++] = (struct barrier){other, other->queued};
  }
  return true;
}

CUresult stream_enqueue(CUstream stream, struct work *work) {
  bool is_in = add_barriers(stream, work);
  if (is_in && !stream->runs) {
    stream->runs = pthread_create(&stream->thread, NULL, work_through, stream) == 0;
    is_in = stream->runs;
  }
  if (!is_in) {
    work_free(work);
    return CUDA_OUT_OF_MEMORY;
  }
  if (stream->last == NULL) stream->first = work;
  else stream->last->next = work;
  stream->last = work;
  stream->queued++;
  pthread_cond_signal(&stream->wake);
  return CUDA_SUCCESS;
}

bool stream_is_done(CUstream stream) { return stream->done >= stream->queued; }

/* With the lock held: until `wanted` pieces are done. The stream does not go away meanwhile. */
static void wait_until(CUstream stream, uint64_t wanted) {
  stream->references++;
  while (stream->done < wanted && !stream->is_ending) {
    pthread_cond_wait(&stream->context->instance->progress, &stream->context->instance->lock);
  }
  stream->references--;
}

CUresult stream_wait(CUcontext context, CUstream stream) {
  wait_until(stream, stream->queued);
  /* The legacy stream is done when those are done that it would wait for. */
  if (stream->is_legacy) {
    for (CUstream other = context->streams; other != NULL; other = other->next) {
      if (is_blocking(other) && !other->is_legacy) wait_until(other, other->queued);
    }
  }
  print_flush(context);
  return context->sticky;
}

CUresult context_wait(CUcontext context) {
  for (CUstream stream = context->streams; stream != NULL; stream = stream->next) wait_until(stream, stream->queued);
  print_flush(context);
  return context->sticky;
}

/* ---- the driver's functions ------------------------------------------------------------------------------------------ */

enum { GREATEST_PRIORITY = -5 };

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  ENTER_CONTEXT();
  if (least != NULL) *least = 0;
  if (greatest != NULL) *greatest = GREATEST_PRIORITY;
  return CUDA_SUCCESS;
}

static CUresult create(CUcontext current, CUstream *out, unsigned int flags, int priority) {
  struct cuda_instance *instance = current->instance;
  REQUIRE(out != NULL && flags <= STREAM_NON_BLOCKING, CUDA_INVALID_VALUE);
  lock(instance);
  const int clamped = priority > 0 ? 0 : priority < GREATEST_PRIORITY ? GREATEST_PRIORITY : priority;
  CUstream stream = stream_new(current, flags, clamped);
  const bool is_known = stream != NULL && handles_add(&instance->handles, stream, HANDLE_STREAM);
  if (stream != NULL && !is_known) stream->is_destroyed = true;
  unlock(instance);
  REQUIRE(is_known, CUDA_OUT_OF_MEMORY);
  *out = stream;
  return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream *out, unsigned int flags) {
  ENTER_CONTEXT();
  return create(current, out, flags, 0);
}

CUresult cuStreamCreateWithPriority(CUstream *out, unsigned int flags, int priority) {
  ENTER_CONTEXT();
  return create(current, out, flags, priority);
}

/* Finds the stream that a handle names, or ends the call with 400. The lock is held from here on. */
#define LOCKED_STREAM(handle)                        \
  lock(instance);                                    \
  CUstream found = stream_named(current, (handle));  \
  if (found == NULL) {                               \
    unlock(instance);                                \
    return CUDA_INVALID_HANDLE;                      \
  }

CUresult cuStreamDestroy_v2(CUstream stream) {
  ENTER_CONTEXT();
  REQUIRE((uintptr_t)stream > 2, CUDA_INVALID_HANDLE);
  LOCKED_STREAM(stream);
  handles_remove(&instance->handles, found);
  /* What is in it is still done. */
  found->is_destroyed = true;
  pthread_cond_signal(&found->wake);
  reap(current);
  unlock(instance);
  return CUDA_SUCCESS;
}

CUresult cuStreamQuery(CUstream stream) {
  ENTER_CONTEXT();
  LOCKED_STREAM(stream);
  bool is_done = stream_is_done(found);
  for (CUstream other = current->streams; found->is_legacy && other != NULL; other = other->next) {
    if (is_blocking(other)) is_done &= stream_is_done(other);
  }
  const CUresult sticky = current->sticky;
  if (is_done) print_flush(current);
  unlock(instance);
  return sticky != CUDA_SUCCESS ? sticky : is_done ? CUDA_SUCCESS : CUDA_NOT_READY;
}

CUresult cuStreamSynchronize(CUstream stream) {
  ENTER_CONTEXT();
  LOCKED_STREAM(stream);
  const CUresult result = stream_wait(current, found);
  unlock(instance);
  return result;
}

CUresult cuStreamGetFlags(CUstream stream, unsigned int *flags) {
  ENTER_CONTEXT();
  REQUIRE(flags != NULL, CUDA_INVALID_VALUE);
  LOCKED_STREAM(stream);
  *flags = found->flags;
  unlock(instance);
  return CUDA_SUCCESS;
}

CUresult cuStreamGetPriority(CUstream stream, int *priority) {
  ENTER_CONTEXT();
  REQUIRE(priority != NULL, CUDA_INVALID_VALUE);
  LOCKED_STREAM(stream);
  *priority = found->priority;
  unlock(instance);
  return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx(CUstream stream, CUcontext *out) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  LOCKED_STREAM(stream);
  *out = found->context;
  unlock(instance);
  return CUDA_SUCCESS;
}

/* Graphs are not there, so no stream is ever recorded into one. */
CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
  ENTER_CONTEXT();
  REQUIRE(status != NULL, CUDA_INVALID_VALUE);
  LOCKED_STREAM(stream);
  unlock(instance);
  *status = 0;
  return CUDA_SUCCESS;
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
  static _Thread_local CUstreamCaptureMode of_thread;
  ENTER();
  REQUIRE(mode != NULL && *mode <= 2, CUDA_INVALID_VALUE);
  const CUstreamCaptureMode before = of_thread;
  of_thread = *mode;
  *mode = before;
  return CUDA_SUCCESS;
}

static CUresult enqueue_host(CUcontext current, CUstream stream, enum work_kind kind, void (*function)(void *),
                             CUstreamCallback callback, void *data) {
  struct cuda_instance *instance = current->instance;
  REQUIRE(function != NULL || callback != NULL, CUDA_INVALID_VALUE);
  LOCKED_STREAM(stream);
  struct work *work = work_new(kind);
  CUresult result = CUDA_OUT_OF_MEMORY;
  if (work != NULL) {
    work->host.function = function;
    work->host.callback = callback;
    work->host.named = stream;
    work->host.data = data;
    result = stream_enqueue(found, work);
  }
  unlock(instance);
  return result;
}

CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void *data) {
  ENTER_CONTEXT();
  return enqueue_host(current, stream, WORK_HOST_FUNCTION, function, NULL, data);
}

CUresult cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void *data, unsigned int flags) {
  ENTER_CONTEXT();
  REQUIRE(flags == 0, CUDA_INVALID_VALUE);
  return enqueue_host(current, stream, WORK_CALLBACK, NULL, callback, data);
}

static CUresult enqueue_value(CUcontext current, CUstream stream, enum work_kind kind, CUdeviceptr address, uint64_t value,
                              unsigned int flags, uint32_t width) {
  struct cuda_instance *instance = current->instance;
  LOCKED_STREAM(stream);
  const struct allocation *one = memory_holding(instance, address, width);
  struct work *work = NULL;
  CUresult result = CUDA_INVALID_VALUE;
  if (one != NULL && address % width == 0) {
    work = work_new(kind);
    result = CUDA_OUT_OF_MEMORY;
  }
  if (work != NULL) {
    work->value.at = one->host + (address - one->address);
    work->value.value = value;
    work->value.flags = flags;
    work->value.width = width;
    result = stream_enqueue(found, work);
  }
  unlock(instance);
  return result;
}

enum { MOST_WRITE_FLAGS = 1, WAIT_FLAGS = 3 | 1 << 30 };

CUresult cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned int flags) {
  ENTER_CONTEXT();
  REQUIRE(flags <= MOST_WRITE_FLAGS, CUDA_INVALID_VALUE);
  return enqueue_value(current, stream, WORK_WRITE_VALUE, address, value, flags, 4);
}
CUresult cuStreamWriteValue64_v2(CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned int flags) {
  ENTER_CONTEXT();
  REQUIRE(flags <= MOST_WRITE_FLAGS, CUDA_INVALID_VALUE);
  return enqueue_value(current, stream, WORK_WRITE_VALUE, address, value, flags, 8);
}
CUresult cuStreamWaitValue32_v2(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned int flags) {
  ENTER_CONTEXT();
  REQUIRE((flags & ~(unsigned)WAIT_FLAGS) == 0, CUDA_INVALID_VALUE);
  return enqueue_value(current, stream, WORK_WAIT_VALUE, address, value, flags, 4);
}
CUresult cuStreamWaitValue64_v2(CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned int flags) {
  ENTER_CONTEXT();
  REQUIRE((flags & ~(unsigned)WAIT_FLAGS) == 0, CUDA_INVALID_VALUE);
  return enqueue_value(current, stream, WORK_WAIT_VALUE, address, value, flags, 8);
}
