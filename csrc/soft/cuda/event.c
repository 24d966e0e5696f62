/* Events: each record has a number, and an event is reached when its last one is. */
#include "state.h"

#include <stdlib.h>

enum { EVENT_NO_TIMING = 2, EVENT_INTERPROCESS = 4, EVENT_FLAGS = 7 };

CUresult cuEventCreate(CUevent *out, unsigned int flags) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL && (flags & ~(unsigned)EVENT_FLAGS) == 0, CUDA_INVALID_VALUE);
  REQUIRE((flags & EVENT_INTERPROCESS) == 0 || (flags & EVENT_NO_TIMING) != 0, CUDA_INVALID_VALUE);
  /* Other processes cannot open it. */
  REQUIRE((flags & EVENT_INTERPROCESS) == 0, CUDA_NOT_SUPPORTED);
  CUevent event = calloc(1, sizeof *event);
  REQUIRE(event != NULL, CUDA_OUT_OF_MEMORY);
  event->context = current;
  event->flags = flags;
  lock(instance);
  const bool is_known = handles_add(&instance->handles, event, HANDLE_EVENT);
  unlock(instance);
  if (!is_known) free(event);
  REQUIRE(is_known, CUDA_OUT_OF_MEMORY);
  *out = event;
  return CUDA_SUCCESS;
}

/* The lock is held from here on, if the event is one. */
#define LOCKED_EVENT(handle)                                             \
  lock(instance);                                                        \
  if (handles_kind(&instance->handles, (handle)) != HANDLE_EVENT) {      \
    unlock(instance);                                                    \
    return CUDA_INVALID_HANDLE;                                          \
  }

CUresult cuEventDestroy_v2(CUevent event) {
  ENTER_CONTEXT();
  LOCKED_EVENT(event);
  handles_remove(&instance->handles, event);
  /* Records and waits that are queued still need it. */
  event->is_destroyed = true;
  if (event->references == 0) free(event);
  unlock(instance);
  return CUDA_SUCCESS;
}

CUresult event_enqueue_record(CUevent event, CUstream stream) {
  struct work *work = work_new(WORK_RECORD);
  REQUIRE(work != NULL, CUDA_OUT_OF_MEMORY);
  work->event.event = event;
  work->event.generation = event->recorded + 1;
  event->references++;
  const CUresult result = stream_enqueue(stream, work);
  if (result == CUDA_SUCCESS) event->recorded++;
  return result;
}

static CUresult record(CUcontext current, CUevent event, CUstream stream) {
  struct cuda_instance *instance = current->instance;
  LOCKED_EVENT(event);
  CUstream found = stream_named(current, stream);
  CUresult result = CUDA_INVALID_HANDLE;
  if (found != NULL && event->context == current) result = event_enqueue_record(event, found);
  unlock(instance);
  return result;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  ENTER_CONTEXT();
  return record(current, event, stream);
}

CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned int flags) {
  ENTER_CONTEXT();
  /* 1 is for graphs. */
  REQUIRE(flags <= 1, CUDA_INVALID_VALUE);
  return record(current, event, stream);
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int flags) {
  ENTER_CONTEXT();
  REQUIRE(flags <= 1, CUDA_INVALID_VALUE);
  LOCKED_EVENT(event);
  CUstream found = stream_named(current, stream);
  CUresult result = found == NULL ? CUDA_INVALID_HANDLE : CUDA_SUCCESS;
  /* An event that was never recorded counts as reached. */
  if (found != NULL && event->reached < event->recorded) {
    struct work *work = work_new(WORK_WAIT_EVENT);
    result = CUDA_OUT_OF_MEMORY;
    if (work != NULL) {
      work->event.event = event;
      work->event.generation = event->recorded;
      event->references++;
      result = stream_enqueue(found, work);
    }
  }
  unlock(instance);
  return result;
}

CUresult cuEventQuery(CUevent event) {
  ENTER_CONTEXT();
  LOCKED_EVENT(event);
  const bool is_done = event->reached >= event->recorded;
  const CUresult sticky = current->sticky;
  if (is_done) print_flush(event->context);
  unlock(instance);
  return sticky != CUDA_SUCCESS ? sticky : is_done ? CUDA_SUCCESS : CUDA_NOT_READY;
}

CUresult cuEventSynchronize(CUevent event) {
  ENTER_CONTEXT();
  LOCKED_EVENT(event);
  const uint64_t wanted = event->recorded;
  event->references++;
  while (event->reached < wanted && !current->ending) pthread_cond_wait(&instance->progress, &instance->lock);
  print_flush(event->context);
  event_release(event);
  const CUresult sticky = current->sticky;
  unlock(instance);
  return sticky;
}

static CUresult elapsed(CUcontext current, float *ms, CUevent start, CUevent end) {
  struct cuda_instance *instance = current->instance;
  REQUIRE(ms != NULL, CUDA_INVALID_VALUE);
  LOCKED_EVENT(start);
  CUresult result = CUDA_SUCCESS;
  if (handles_kind(&instance->handles, end) != HANDLE_EVENT || ((start->flags | end->flags) & EVENT_NO_TIMING) != 0 ||
      start->recorded == 0 || end->recorded == 0) {
    result = CUDA_INVALID_HANDLE;
  } else if (start->reached < start->recorded || end->reached < end->recorded) {
    result = CUDA_NOT_READY;
  } else {
    *ms = (float)((double)(int64_t)(end->time_ns - start->time_ns) / 1e6);
  }
  unlock(instance);
  return result;
}

CUresult cuEventElapsedTime(float *ms, CUevent start, CUevent end) {
  ENTER_CONTEXT();
  return elapsed(current, ms, start, end);
}

CUresult cuEventElapsedTime_v2(float *ms, CUevent start, CUevent end) {
  ENTER_CONTEXT();
  return elapsed(current, ms, start, end);
}
