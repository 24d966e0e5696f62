/* Sessions: what belongs to one process of the guest, and the memory that it may name. */
#define _GNU_SOURCE
#include "device.h"

#include <stdlib.h>
#include <string.h>

struct session *session_find(const struct type2 *device, uint32_t id) {
  for (uint32_t i = 0; i < MOST_SESSIONS; i++) {
    struct session *one = device->sessions[i];
    if (one != NULL && one->id == id) return one;
  }
  return NULL;
}

struct session *session_open(struct type2 *device, uint32_t id) {
  for (uint32_t i = 0; i < MOST_SESSIONS; i++) {
    if (device->sessions[i] != NULL) continue;
    struct session *one = calloc(1, sizeof *one);
    if (one == NULL) return NULL;
    one->id = id;
    one->is_open = true;
    device->sessions[i] = one;
    return one;
  }
  return NULL;
}

void session_freed(struct type2 *device, const struct session *session) {
  const uint64_t by = (uint64_t)session->id + 1;
  device->freed_by = device->freed_by == 0 || device->freed_by == by ? by : UINT64_MAX;
}

void session_empty(struct type2 *device, struct session *session) {
  /* The context takes allocations, modules, streams and events with it. */
  if (session->context != NULL) {
    device->printing = session;
    limit_forget(device, session->context);
    backend_enter(&device->backend, NULL);
    device->backend.f.cuCtxDestroy_v2(session->context);
  }
  if (session->allocated > 0) session_freed(device, session);
  device->allocated -= session->allocated;
  const uint32_t id = session->id;
  free(session->ranges);
  free(session->log);
  memset(session, 0, sizeof *session);
  session->id = id;
  session->is_open = true;
}

void session_close(struct type2 *device, struct session *session) {
  session_empty(device, session);
  for (uint32_t i = 0; i < MOST_SESSIONS; i++) {
    if (device->sessions[i] == session) device->sessions[i] = NULL;
  }
  if (device->printing == session) device->printing = NULL;
  free(session);
}

uint32_t session_enter(struct type2 *device, struct session *session) {
  if (device->settings.is_strict && !session->was_created) return TYPE2_INVALID_CONTEXT;
  if (session->context == NULL) {
    backend_enter(&device->backend, NULL);
    const CUresult failed = device->backend.f.cuCtxCreate_v2(&session->context, 0, device->backend.device);
    if (failed != 0) {
      session->context = NULL;
      return failed == 2 ? TYPE2_OUT_OF_MEMORY : TYPE2_INVALID_CONTEXT;
    }
  }
  device->printing = session;
  return result_of(backend_enter(&device->backend, session->context));
}

/* How many begin at or below an address. */
static size_t count_up_to(const struct session *session, uint64_t address) {
  size_t low = 0, high = session->range_count;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (session->ranges[middle].address <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}

bool range_add(struct session *session, uint64_t address, uint64_t size, uint32_t module) {
  const size_t at = count_up_to(session, address);
  /* A variable may be asked for many times. */
  if (at > 0 && session->ranges[at - 1].address == address) return true;
  if (session->range_count == session->range_room) {
    const size_t room = session->range_room == 0 ? 64 : 2 * session->range_room;
    struct range *wider = realloc(session->ranges, room * sizeof *wider);
    if (wider == NULL) return false;
    session->ranges = wider;
    session->range_room = room;
  }
  memmove(&session->ranges[at + 1], &session->ranges[at], (session->range_count - at) * sizeof *session->ranges);
  session->ranges[at] = (struct range){address, size, module};
  session->range_count++;
  return true;
}

static void take_out(struct session *session, size_t at) {
  session->range_count--;
  memmove(&session->ranges[at], &session->ranges[at + 1], (session->range_count - at) * sizeof *session->ranges);
}

bool range_remove(struct session *session, uint64_t address, uint64_t *size) {
  const size_t up_to = count_up_to(session, address);
  if (up_to == 0) return false;
  const struct range *one = &session->ranges[up_to - 1];
  if (one->address != address || one->module != 0) return false;
  *size = one->size;
  take_out(session, up_to - 1);
  return true;
}

void range_remove_module(struct session *session, uint32_t module) {
  for (size_t at = session->range_count; at-- > 0;) {
    if (session->ranges[at].module == module) take_out(session, at);
  }
}

bool range_holds(const struct type2 *device, const struct session *session, uint64_t address, uint64_t size) {
  if (device->bar4_pointer != 0 && address >= device->bar4_pointer &&
      range_in(address - device->bar4_pointer, size, device->bar4_bytes)) {
    return true;
  }
  const size_t up_to = count_up_to(session, address);
  return up_to > 0 && range_in(address - session->ranges[up_to - 1].address, size, session->ranges[up_to - 1].size);
}

void session_print(void *to, const char *text, size_t size) {
  struct type2 *device = to;
  struct session *session = device->printing;
  if (session == NULL || session->log_size + size > LOG_BYTES) return;
  if (session->log_size + size > session->log_room) {
    const size_t room = 2 * (session->log_size + size);
    char *wider = realloc(session->log, room);
    if (wider == NULL) return;
    session->log = wider;
    session->log_room = room;
  }
  memcpy(session->log + session->log_size, text, size);
  session->log_size += size;
}
