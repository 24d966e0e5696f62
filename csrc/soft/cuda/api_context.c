/* Contexts: primary ones, created ones, and which is current. */
#define _GNU_SOURCE
#include "state.h"

#include <stdlib.h>
#include <string.h>

enum {
  STACK_BYTES = 1024,
  PRINT_BYTES = 1 << 20,
  HEAP_BYTES = 8 << 20,
  MOST_STACK_BYTES = 512 << 10,
  API_VERSION = 3020,
  CONTEXT_FLAGS = 0xff,
};

static void set_defaults(CUcontext context) {
  context->stack_bytes = STACK_BYTES;
  context->print_bytes = PRINT_BYTES;
  context->heap_bytes = HEAP_BYTES;
  context->heap_used = 0;
}

CUcontext context_new(struct device *device, uint32_t flags, bool is_primary) {
  struct cuda_instance *instance = device->instance;
  CUcontext context = calloc(1, sizeof *context);
  if (context == NULL) return NULL;
  context->instance = instance;
  context->device = device;
  context->id = ++instance->next_id;
  context->flags = flags;
  context->api_version = API_VERSION;
  context->is_primary = is_primary;
  set_defaults(context);
  pthread_mutex_init(&context->print_lock, NULL);
  if (!handles_add(&instance->handles, context, HANDLE_CONTEXT) || !memory_fill_space(context)) {
    handles_remove(&instance->handles, context);
    space_free(&context->space);
    free(context);
    return NULL;
  }
  context->next = instance->contexts;
  instance->contexts = context;
  return context;
}

static void free_events(CUcontext context) {
  struct cuda_instance *instance = context->instance;
  for (size_t i = 0; i < instance->handles.room; i++) {
    struct handle_row *row = &instance->handles.rows[i];
    if (row->kind != HANDLE_EVENT) continue;
    CUevent event = (CUevent)(uintptr_t)row->pointer;
    if (event->context != context) continue;
    row->kind = HANDLE_NONE;
    event->is_destroyed = true;
    if (event->references == 0) free(event);
  }
}

/* Ends what runs in it, and takes everything that is in it away. Without the lock. */
static void empty(CUcontext context) {
  struct cuda_instance *instance = context->instance;
  lock(instance);
  context->ending = true;
  launch_cancel_all(context);
  progress_made(instance);
  unlock(instance);
  streams_end(context);
  while (context->modules != NULL) module_unload(context->modules);
  lock(instance);
  print_flush(context);
  free_events(context);
  unlock(instance);
  memory_free_all(context);
}

void context_end(CUcontext context) {
  struct cuda_instance *instance = context->instance;
  empty(context);
  lock(instance);
  if (context->device->primary == context) context->device->primary = NULL;
  handles_remove(&instance->handles, context);
  struct CUctx_st **place = &instance->contexts;
  while (*place != context) place = &(*place)->next;
  *place = context->next;
  unlock(instance);
  space_free(&context->space);
  pthread_mutex_destroy(&context->print_lock);
  free(context->print);
  free(context);
}

/* ---- primary contexts ------------------------------------------------------------------------------------------------ */

CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device) {
  ENTER_DEVICE(device);
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  lock(instance);
  if (device_of_call->primary == NULL) {
    device_of_call->primary = context_new(device_of_call, device_of_call->primary_flags, true);
  }
  CUcontext context = device_of_call->primary;
  if (context != NULL) device_of_call->primary_references++;
  unlock(instance);
  REQUIRE(context != NULL, CUDA_OUT_OF_MEMORY);
  *out = context;
  return CUDA_SUCCESS;
}

/* Everything in it goes, and it is as new; who retained it has it still. */
CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
  ENTER_DEVICE(device);
  lock(instance);
  CUcontext context = device_of_call->primary;
  unlock(instance);
  if (context == NULL) return CUDA_SUCCESS;
  empty(context);
  lock(instance);
  context->peer_count = 0;
  memory_fill_space(context);
  set_defaults(context);
  context->sticky = CUDA_SUCCESS;
  context->ending = false;
  unlock(instance);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  ENTER_DEVICE(device);
  lock(instance);
  const uint32_t references = device_of_call->primary_references;
  if (references > 0) device_of_call->primary_references--;
  CUcontext context = device_of_call->primary;
  unlock(instance);
  REQUIRE(references > 0, CUDA_INVALID_CONTEXT);
  if (references == 1) context_end(context);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned int flags) {
  ENTER_DEVICE(device);
  REQUIRE((flags & ~(unsigned)CONTEXT_FLAGS) == 0, CUDA_INVALID_VALUE);
  lock(instance);
  device_of_call->primary_flags = flags;
  if (device_of_call->primary != NULL) device_of_call->primary->flags = flags;
  unlock(instance);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active) {
  ENTER_DEVICE(device);
  REQUIRE(flags != NULL && active != NULL, CUDA_INVALID_VALUE);
  lock(instance);
  *flags = device_of_call->primary_flags;
  *active = device_of_call->primary != NULL;
  unlock(instance);
  return CUDA_SUCCESS;
}

/* ---- created contexts ------------------------------------------------------------------------------------------------ */

static CUresult create(struct device *device, CUcontext *out, unsigned int flags) {
  struct cuda_instance *instance = device->instance;
  REQUIRE(out != NULL && (flags & ~(unsigned)CONTEXT_FLAGS) == 0, CUDA_INVALID_VALUE);
  lock(instance);
  CUcontext context = context_new(device, flags, false);
  unlock(instance);
  REQUIRE(context != NULL, CUDA_OUT_OF_MEMORY);
  const CUresult failed = push_current(instance, context);
  if (failed != CUDA_SUCCESS) {
    context_end(context);
    return failed;
  }
  *out = context;
  return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext *out, unsigned int flags, CUdevice device) {
  ENTER_DEVICE(device);
  return create(device_of_call, out, flags);
}

CUresult cuCtxCreate_v4(CUcontext *out, CUctxCreateParams *parameters, unsigned int flags, CUdevice device) {
  ENTER_DEVICE(device);
  /* Affinity to part of a device, and sharing with graphics. */
  REQUIRE(parameters == NULL || (parameters->numExecAffinityParams == 0 && parameters->cigParams == NULL),
          CUDA_NOT_SUPPORTED);
  return create(device_of_call, out, flags);
}

static bool is_context(struct cuda_instance *instance, CUcontext context) {
  lock(instance);
  const bool result = handles_kind(&instance->handles, context) == HANDLE_CONTEXT;
  unlock(instance);
  return result;
}

CUresult cuCtxDestroy_v2(CUcontext target) {
  ENTER();
  REQUIRE(target != NULL, CUDA_INVALID_VALUE);
  REQUIRE(is_context(instance, target) && !target->is_primary, CUDA_INVALID_CONTEXT);
  const int at = current_place(instance);
  if (at >= 0 && thread_state()->stack[at].context == target) pop_current(instance);
  context_end(target);
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext wanted) {
  ENTER();
  REQUIRE(wanted == NULL || is_context(instance, wanted), CUDA_INVALID_CONTEXT);
  return set_current(instance, wanted);
}

CUresult cuCtxGetCurrent(CUcontext *out) {
  ENTER();
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  CUresult failed;
  *out = current_context(instance, &failed);
  return failed;
}

CUresult cuCtxPushCurrent_v2(CUcontext wanted) {
  ENTER();
  REQUIRE(is_context(instance, wanted), CUDA_INVALID_CONTEXT);
  return push_current(instance, wanted);
}

CUresult cuCtxPopCurrent_v2(CUcontext *out) {
  ENTER();
  const int at = current_place(instance);
  REQUIRE(at >= 0, CUDA_INVALID_CONTEXT);
  if (out != NULL) *out = thread_state()->stack[at].context;
  pop_current(instance);
  return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void) {
  ENTER_CONTEXT();
  lock(instance);
  const CUresult result = context_wait(current);
  unlock(instance);
  return result;
}

/* ---- what a context is set to ---------------------------------------------------------------------------------------- */

CUresult cuCtxGetDevice(CUdevice *device) {
  ENTER_CONTEXT();
  REQUIRE(device != NULL, CUDA_INVALID_VALUE);
  *device = current->device->ordinal;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetFlags(unsigned int *flags) {
  ENTER_CONTEXT();
  REQUIRE(flags != NULL, CUDA_INVALID_VALUE);
  *flags = current->flags;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetFlags(unsigned int flags) {
  ENTER_CONTEXT();
  REQUIRE((flags & ~(unsigned)CONTEXT_FLAGS) == 0, CUDA_INVALID_VALUE);
  current->flags = flags;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetId(CUcontext target, unsigned long long *id) {
  ENTER();
  CUresult failed = CUDA_SUCCESS;
  if (target == NULL) target = current_context(instance, &failed);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  REQUIRE(is_context(instance, target), CUDA_INVALID_CONTEXT);
  REQUIRE(id != NULL, CUDA_INVALID_VALUE);
  *id = target->id;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetApiVersion(CUcontext target, unsigned int *version) {
  ENTER();
  CUresult failed = CUDA_SUCCESS;
  if (target == NULL) target = current_context(instance, &failed);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  REQUIRE(is_context(instance, target), CUDA_INVALID_CONTEXT);
  REQUIRE(version != NULL, CUDA_INVALID_VALUE);
  *version = target->api_version;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCacheConfig(CUfunc_cache *config) {
  ENTER_CONTEXT();
  REQUIRE(config != NULL, CUDA_INVALID_VALUE);
  *config = current->cache_config;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCacheConfig(CUfunc_cache config) {
  ENTER_CONTEXT();
  REQUIRE(config <= 3, CUDA_INVALID_VALUE);
  current->cache_config = config;
  return CUDA_SUCCESS;
}

enum { LIMIT_STACK, LIMIT_PRINT, LIMIT_HEAP, LIMITS_KNOWN = 10 };

/* Where a limit is kept, or NULL for one that this device does not have. */
static uint64_t *limit_of(CUcontext context, CUlimit limit) {
  switch (limit) {
    case LIMIT_STACK: return &context->stack_bytes;
    case LIMIT_PRINT: return &context->print_bytes;
    case LIMIT_HEAP: return &context->heap_bytes;
    default: return NULL;
  }
}

CUresult cuCtxGetLimit(size_t *value, CUlimit limit) {
  ENTER_CONTEXT();
  REQUIRE(value != NULL && limit < LIMITS_KNOWN, CUDA_INVALID_VALUE);
  REQUIRE(limit_of(current, limit) != NULL, CUDA_UNSUPPORTED_LIMIT);
  lock(instance);
  *value = *limit_of(current, limit);
  unlock(instance);
  return CUDA_SUCCESS;
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value) {
  ENTER_CONTEXT();
  REQUIRE(limit < LIMITS_KNOWN, CUDA_INVALID_VALUE);
  REQUIRE(limit_of(current, limit) != NULL, CUDA_UNSUPPORTED_LIMIT);
  REQUIRE(limit != LIMIT_STACK || value <= MOST_STACK_BYTES, CUDA_INVALID_VALUE);
  REQUIRE(limit != LIMIT_HEAP || value <= current->device->pool.size, CUDA_OUT_OF_MEMORY);
  lock(instance);
  /* The heap cannot shrink below what is in use. */
  const bool fits = limit != LIMIT_HEAP || value >= current->heap_used;
  if (fits) *limit_of(current, limit) = value;
  unlock(instance);
  return fits ? CUDA_SUCCESS : CUDA_INVALID_VALUE;
}

/* ---- peers ----------------------------------------------------------------------------------------------------------- */

static uint32_t peer_place(CUcontext context, CUcontext peer) {
  uint32_t at = 0;
  while (at < context->peer_count && context->peers[at] != peer->id) at++;
  return at;
}

CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned int flags) {
  ENTER_CONTEXT();
  REQUIRE(flags == 0, CUDA_INVALID_VALUE);
  REQUIRE(is_context(instance, peer) && peer != current, CUDA_INVALID_CONTEXT);
  REQUIRE(peer->device != current->device, CUDA_PEER_ACCESS_UNSUPPORTED);
  enum { TOO_MANY_PEERS = 711, MOST_PEERS = sizeof current->peers / sizeof *current->peers };
  lock(instance);
  CUresult result = CUDA_SUCCESS;
  if (peer_place(current, peer) < current->peer_count) result = CUDA_PEER_ACCESS_ALREADY_ENABLED;
  else if (current->peer_count == MOST_PEERS) result = TOO_MANY_PEERS;
  if (result == CUDA_SUCCESS) {
    current->peers[current->peer_count++] = peer->id;
    if (!memory_fill_space(current)) result = CUDA_OUT_OF_MEMORY;
  }
  unlock(instance);
  return result;
}

CUresult cuCtxDisablePeerAccess(CUcontext peer) {
  ENTER_CONTEXT();
  REQUIRE(is_context(instance, peer) && peer != current, CUDA_INVALID_CONTEXT);
  lock(instance);
  const uint32_t at = peer_place(current, peer);
  const bool was_on = at < current->peer_count;
  if (was_on) {
    current->peers[at] = current->peers[--current->peer_count];
    memory_fill_space(current);
  }
  unlock(instance);
  return was_on ? CUDA_SUCCESS : CUDA_PEER_ACCESS_NOT_ENABLED;
}
