/* Streams and events. */
#define _GNU_SOURCE
#include "shim.h"

#include <stdlib.h>

/* The names of the default stream: NULL, CU_STREAM_LEGACY, and that of the thread, which is the same one here. */
CUresult stream_index(struct context *context, CUstream stream, uint64_t *out) {
  *out = 0;
  if ((uintptr_t)stream <= 2) return CUDA_SUCCESS;
  const struct stream *one = handle_find(KIND_STREAM, stream);
  REQUIRE(one != NULL && one->context == context, CUDA_INVALID_HANDLE);
  *out = one->index;
  return CUDA_SUCCESS;
}

/* Enters the context, and finds the number of a stream in it. */
static CUresult enter_stream(CUstream handle, struct context **context, uint64_t *index) {
  TRY(enter_context(context));
  return stream_index(*context, handle, index);
}

CUresult cuStreamCreateWithPriority(CUstream *out, unsigned int flags, int priority) {
  struct context *context;
  TRY(enter_context(&context));
  REQUIRE(out != NULL && flags <= 1, CUDA_INVALID_VALUE);
  struct request request = {.code = CMD_STREAM_CREATE, .params = {flags}};
  TRY(run(context, &request));
  struct stream *stream = calloc(1, sizeof *stream);
  REQUIRE(stream != NULL, CUDA_OUT_OF_MEMORY);
  *stream = (struct stream){context, (uint32_t)request.results[0], flags, priority};
  *out = handle_add(KIND_STREAM, stream);
  return *out == NULL ? CUDA_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream *out, unsigned int flags) { return cuStreamCreateWithPriority(out, flags, 0); }

CUresult cuStreamDestroy_v2(CUstream handle) {
  struct context *context;
  uint64_t index;
  TRY(enter_stream(handle, &context, &index));
  REQUIRE(index != 0, CUDA_INVALID_HANDLE);
  free(handle_remove(KIND_STREAM, handle));
  /* The driver lets its work end; the window is not held while it does. */
  TRY(wait_command(context, CMD_STREAM_SYNC, index));
  return run4(context, CMD_STREAM_DESTROY, index, 0, 0, 0);
}

CUresult cuStreamSynchronize(CUstream stream) {
  struct context *context;
  uint64_t index;
  TRY(enter_stream(stream, &context, &index));
  return wait_command(context, CMD_STREAM_SYNC, index);
}

CUresult cuStreamQuery(CUstream stream) {
  struct context *context;
  uint64_t index;
  TRY(enter_stream(stream, &context, &index));
  return run4(context, CMD_STREAM_QUERY, index, 0, 0, 0);
}

CUresult cuStreamGetFlags(CUstream handle, unsigned int *flags) {
  struct context *context;
  uint64_t index;
  TRY(enter_stream(handle, &context, &index));
  REQUIRE(flags != NULL, CUDA_INVALID_VALUE);
  const struct stream *stream = handle_find(KIND_STREAM, handle);
  *flags = stream == NULL ? 0 : stream->flags;
  return CUDA_SUCCESS;
}

CUresult cuStreamGetPriority(CUstream handle, int *priority) {
  struct context *context;
  uint64_t index;
  TRY(enter_stream(handle, &context, &index));
  REQUIRE(priority != NULL, CUDA_INVALID_VALUE);
  *priority = 0;
  return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx(CUstream handle, CUcontext *out) {
  struct context *context;
  uint64_t index;
  TRY(enter_stream(handle, &context, &index));
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  *out = context->handle;
  return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
  struct context *context;
  uint64_t index;
  TRY(enter_stream(handle, &context, &index));
  REQUIRE(status != NULL, CUDA_INVALID_VALUE);
  *status = 0;
  return CUDA_SUCCESS;
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
  static _Thread_local CUstreamCaptureMode current;
  REQUIRE(mode != NULL && *mode <= 2, CUDA_INVALID_VALUE);
  const CUstreamCaptureMode before = current;
  current = *mode;
  *mode = before;
  return CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent handle, unsigned int flags) {
  struct context *context;
  uint64_t index;
  TRY(enter_stream(stream, &context, &index));
  REQUIRE(flags <= 1, CUDA_INVALID_VALUE);
  const struct event *event = handle_find(KIND_EVENT, handle);
  REQUIRE(event != NULL && event->context == context, CUDA_INVALID_HANDLE);
  context->has_work = true;
  return run4(context, CMD_STREAM_WAIT_EVENT, index, event->index, 0, 0);
}

/* The program's function runs here, when what was queued before it is done: later work is queued behind it by itself. */
CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void *data) {
  REQUIRE(function != NULL, CUDA_INVALID_VALUE);
  TRY(cuStreamSynchronize(stream));
  function(data);
  return CUDA_SUCCESS;
}

CUresult cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void *data, unsigned int flags) {
  REQUIRE(callback != NULL && flags == 0, CUDA_INVALID_VALUE);
  const CUresult result = cuStreamSynchronize(stream);
  REQUIRE(result != CUDA_INVALID_HANDLE && result != CUDA_INVALID_CONTEXT, result);
  callback(stream, result, data);
  return CUDA_SUCCESS;
}

/* ---- events ---------------------------------------------------------------------------------------------------------- */

CUresult cuEventCreate(CUevent *out, unsigned int flags) {
  struct context *context;
  TRY(enter_context(&context));
  REQUIRE(out != NULL && flags < 8, CUDA_INVALID_VALUE);
  REQUIRE((flags & 4) == 0, CUDA_NOT_SUPPORTED);
  struct request request = {.code = CMD_EVENT_CREATE, .params = {flags}};
  TRY(run(context, &request));
  struct event *event = calloc(1, sizeof *event);
  REQUIRE(event != NULL, CUDA_OUT_OF_MEMORY);
  *event = (struct event){context, (uint32_t)request.results[0], flags, false};
  *out = handle_add(KIND_EVENT, event);
  return *out == NULL ? CUDA_OUT_OF_MEMORY : CUDA_SUCCESS;
}

static CUresult event_of(CUevent handle, struct context **context, struct event **out) {
  TRY(enter_context(context));
  *out = handle_find(KIND_EVENT, handle);
  return *out != NULL && (*out)->context == *context ? CUDA_SUCCESS : CUDA_INVALID_HANDLE;
}

CUresult cuEventDestroy_v2(CUevent handle) {
  struct context *context;
  struct event *event;
  TRY(event_of(handle, &context, &event));
  const uint32_t index = event->index;
  free(handle_remove(KIND_EVENT, handle));
  return run4(context, CMD_EVENT_DESTROY, index, 0, 0, 0);
}

CUresult cuEventRecord(CUevent handle, CUstream stream) {
  struct context *context;
  struct event *event;
  uint64_t index;
  TRY(event_of(handle, &context, &event));
  TRY(stream_index(context, stream, &index));
  return run4(context, CMD_EVENT_RECORD, event->index, index, 0, 0);
}
CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned int flags) {
  REQUIRE(flags <= 1, CUDA_INVALID_VALUE);
  return cuEventRecord(event, stream);
}

CUresult cuEventQuery(CUevent handle) {
  struct context *context;
  struct event *event;
  TRY(event_of(handle, &context, &event));
  return run4(context, CMD_EVENT_QUERY, event->index, 0, 0, 0);
}

CUresult cuEventSynchronize(CUevent handle) {
  struct context *context;
  struct event *event;
  TRY(event_of(handle, &context, &event));
  return wait_command(context, CMD_EVENT_SYNC, event->index);
}

CUresult cuEventElapsedTime(float *ms, CUevent start, CUevent end) {
  struct context *context;
  struct event *first, *second;
  TRY(event_of(start, &context, &first));
  TRY(event_of(end, &context, &second));
  REQUIRE(ms != NULL, CUDA_INVALID_VALUE);
  struct request request = {.code = CMD_EVENT_ELAPSED, .params = {first->index, second->index}};
  TRY(run(context, &request));
  *ms = (float)((double)(int64_t)request.results[0] / 1e6);
  return CUDA_SUCCESS;
}
CUresult cuEventElapsedTime_v2(float *ms, CUevent start, CUevent end) { return cuEventElapsedTime(ms, start, end); }
