/* Commands: streams and events. */
#define _GNU_SOURCE
#include "device.h"

static bool has_stream(const struct session *session, uint64_t place) {
  return place == 0 || (place <= MOST_STREAMS && session->streams[place - 1] != NULL);
}
static CUstream stream_at(const struct session *session, uint64_t place) {
  return place == 0 ? NULL : session->streams[place - 1];
}
static CUevent event_at(const struct session *session, uint64_t place) {
  return place == 0 || place > MOST_EVENTS ? NULL : session->events[place - 1].handle;
}

uint32_t command_STREAM_CREATE(struct type2 *device, struct command *command) {
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  for (uint32_t i = 0; i < MOST_STREAMS; i++) {
    if (command->session->streams[i] != NULL) continue;
    const CUresult result = device->backend.f.cuStreamCreate(&command->session->streams[i], command->params[0] & 1);
    if (result != 0) command->session->streams[i] = NULL;
    else command->results[0] = i + 1;
    return result_of(result);
  }
  return TYPE2_OUT_OF_MEMORY;
}

uint32_t command_STREAM_DESTROY(struct type2 *device, struct command *command) {
  const uint64_t place = command->params[0];
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  if (place == 0 || !has_stream(command->session, place)) return TYPE2_INVALID_HANDLE;
  const CUstream stream = command->session->streams[place - 1];
  command->session->streams[place - 1] = NULL;
  return result_of(device->backend.f.cuStreamDestroy_v2(stream));
}

uint32_t command_STREAM_SYNC(struct type2 *device, struct command *command) {
  const uint64_t place = command->params[0];
  uint32_t result = session_enter(device, command->session);
  if (result != 0) return result;
  if (!has_stream(command->session, place)) return TYPE2_INVALID_HANDLE;
  result = wait_streams(device, command->session, (uint32_t)place);
  if (result == 0) result = result_of(device->backend.f.cuStreamSynchronize(stream_at(command->session, place)));
  return result;
}

uint32_t command_STREAM_QUERY(struct type2 *device, struct command *command) {
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  if (!has_stream(command->session, command->params[0])) return TYPE2_INVALID_HANDLE;
  return result_of(device->backend.f.cuStreamQuery(stream_at(command->session, command->params[0])));
}

uint32_t command_EVENT_CREATE(struct type2 *device, struct command *command) {
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  for (uint32_t i = 0; i < MOST_EVENTS; i++) {
    struct event *one = &command->session->events[i];
    if (one->handle != NULL) continue;
    const CUresult result = device->backend.f.cuEventCreate(&one->handle, command->params[0] & 3);
    if (result != 0) one->handle = NULL;
    else command->results[0] = i + 1;
    return result_of(result);
  }
  return TYPE2_OUT_OF_MEMORY;
}

uint32_t command_EVENT_DESTROY(struct type2 *device, struct command *command) {
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  const CUevent event = event_at(command->session, command->params[0]);
  if (event == NULL) return TYPE2_INVALID_HANDLE;
  command->session->events[command->params[0] - 1].handle = NULL;
  return result_of(device->backend.f.cuEventDestroy_v2(event));
}

uint32_t command_EVENT_RECORD(struct type2 *device, struct command *command) {
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  const CUevent event = event_at(command->session, command->params[0]);
  const uint64_t place = command->session->id == 0 ? 0 : command->params[1];
  if (event == NULL || !has_stream(command->session, place)) return TYPE2_INVALID_HANDLE;
  return result_of(device->backend.f.cuEventRecord(event, stream_at(command->session, place)));
}

uint32_t command_EVENT_QUERY(struct type2 *device, struct command *command) {
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  const CUevent event = event_at(command->session, command->params[0]);
  if (event == NULL) return TYPE2_INVALID_HANDLE;
  return result_of(device->backend.f.cuEventQuery(event));
}

uint32_t command_EVENT_SYNC(struct type2 *device, struct command *command) {
  const uint64_t end = now_us() + WAIT_US;
  for (uint32_t rest_us = 10;; rest_us = rest_us < 500 ? 2 * rest_us : 1000) {
    const uint32_t result = command_EVENT_QUERY(device, command);
    if (result == TYPE2_SUCCESS) {
      return result_of(device->backend.f.cuEventSynchronize(event_at(command->session, command->params[0])));
    }
    if (result != TYPE2_NOT_READY || now_us() >= end) return result;
    rest_for(rest_us);
  }
}

uint32_t command_EVENT_ELAPSED(struct type2 *device, struct command *command) {
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  const CUevent start = event_at(command->session, command->params[0]), end = event_at(command->session, command->params[1]);
  if (start == NULL || end == NULL) return TYPE2_INVALID_HANDLE;
  float ms = 0;
  const uint32_t result = result_of(device->backend.f.cuEventElapsedTime(&ms, start, end));
  /* Negative when the end came first: the sign survives in two's complement. */
  if (result == 0) command->results[0] = (uint64_t)(int64_t)((double)ms * 1e6);
  return result;
}

uint32_t command_STREAM_WAIT_EVENT(struct type2 *device, struct command *command) {
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  const CUevent event = event_at(command->session, command->params[1]);
  if (event == NULL || !has_stream(command->session, command->params[0])) return TYPE2_INVALID_HANDLE;
  return result_of(device->backend.f.cuStreamWaitEvent(stream_at(command->session, command->params[0]), event, 0));
}
