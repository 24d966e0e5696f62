/* What the agent keeps open between requests. See handles.h. */
#include "handles.h"
#include "agent.h"
#include "busbar.h"

#include <errno.h>
#include <string.h>

static struct handle handles[MAX_HANDLES];

struct handle *handle_new(enum handle_kind kind, uint32_t *number) {
  for (uint32_t i = 0; i < MAX_HANDLES; i++) {
    if (handles[i].kind != HANDLE_FREE) continue;
    handles[i] = (struct handle){.kind = kind, .fd = -1};
    *number = i + 1;
    return &handles[i];
  }
  return NULL;
}

struct handle *handle_get(uint64_t number, enum handle_kind kind) {
  if (number < 1 || number > MAX_HANDLES || handles[number - 1].kind != kind) return NULL;
  return &handles[number - 1];
}

void handle_close(struct handle *handle) {
  if (handle->kind == HANDLE_ORADAX) {
    /* Its buffers go with it: the driver has let go of them when close returns. */
    const uint32_t number = (uint32_t)(handle - handles) + 1;
    bb_oradax_close(handle->oradax);
    for (uint32_t i = 0; i < MAX_HANDLES; i++) {
      if (handles[i].kind == HANDLE_ORADAX_BUFFER && handles[i].owner == number) handle_close(&handles[i]);
    }
  }
#ifdef AGENT_SOFT_ORADAX
  /* The software device's own: it goes with the device. */
  if (handle->kind == HANDLE_ORADAX_BUFFER) handle->address = NULL;
#endif
  if (handle->address != NULL) bb_unmap(handle->address, handle->mapped_size);
  if (handle->fd >= 0) bb_close(handle->fd);
  *handle = (struct handle){.kind = HANDLE_FREE, .fd = -1};
}

void handle_close_all(void) {
  for (uint32_t i = 0; i < MAX_HANDLES; i++) {
    if (handles[i].kind != HANDLE_FREE) handle_close(&handles[i]);
  }
}

int32_t operation_close(struct call *call) {
  const uint64_t number = call->arg[0].number;
  if (number < 1 || number > MAX_HANDLES || handles[number - 1].kind == HANDLE_FREE) return -EBADF;
  handle_close(&handles[number - 1]);
  return 0;
}
