/* The CUDA driver library: opened when first wanted, every function looked up when first called. See busbar.h. */
#define _GNU_SOURCE
#include "busbar.h"
#include "internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum {
#define INDEX(name, since, older, params, args) INDEX_##name,
  BB_CUDA_FUNCTIONS(INDEX) FUNCTIONS
};

struct function {
  const char *name;
  uint32_t since;
  const char *older;
};

static const struct function TABLE[FUNCTIONS] = {
#define ROW(name, since, older, params, args) {#name, since, older},
    BB_CUDA_FUNCTIONS(ROW)};

/* The one library that is open, and its functions as far as they were looked up. Two threads that look the same one up
 * find the same address, so the order in which they store it does not matter. */
static void *library;
static _Atomic(void *) addresses[FUNCTIONS];

int32_t bb_cuda_open(const char *path, char *why, uint32_t size) {
  if (path == NULL || (why == NULL && size > 0)) return -EINVAL;
  if (library != NULL) return -EBUSY;
  library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
  if (library != NULL) return 0;
  const char *error = dlerror();
  if (size > 0) snprintf(why, size, "%s", error == NULL ? "unknown error" : error);
  return -ELIBACC;
}

int32_t bb_cuda_close(void) {
  if (library == NULL) return 0;
  for (int i = 0; i < FUNCTIONS; i++) atomic_store_explicit(&addresses[i], NULL, memory_order_relaxed);
  void *closing = library;
  library = NULL;
  return dlclose(closing) == 0 ? 0 : -EIO;
}

static void *find(int index) {
  void *address = atomic_load_explicit(&addresses[index], memory_order_relaxed);
  if (address != NULL || library == NULL) return address;
  address = dlsym(library, TABLE[index].name);
  if (address == NULL && TABLE[index].older[0] != '\0') address = dlsym(library, TABLE[index].older);
  atomic_store_explicit(&addresses[index], address, memory_order_relaxed);
  return address;
}

int32_t bb_cuda_since(const char *name) {
  if (name == NULL) return -EINVAL;
  for (int i = 0; i < FUNCTIONS; i++) {
    if (strcmp(TABLE[i].name, name) == 0) return (int32_t)TABLE[i].since;
  }
  return -ENOENT;
}

int32_t bb_cuda_has(const char *name) {
  if (name == NULL) return -EINVAL;
  for (int i = 0; i < FUNCTIONS; i++) {
    if (strcmp(TABLE[i].name, name) == 0) return find(i) != NULL;
  }
  return -ENOENT;
}

/* Finds a function and makes the context current on this thread, whichever thread of a pool it is. The context stays
 * current: setting it again is cheaper than putting back what was there, and nobody else calls CUDA from Deno's threads. */
static int32_t prepare(int index, CUcontext context, void *function) {
  void *address = find(index);
  if (address == NULL) return library == NULL ? -ENOENT : -ENOSYS;
  memcpy(function, &address, sizeof address);
  if (context == NULL || index == INDEX_cuCtxSetCurrent) return 0;
  void *setter = find(INDEX_cuCtxSetCurrent);
  if (setter == NULL) return -ENOSYS;
  CUresult (*set)(CUcontext);
  memcpy(&set, &setter, sizeof set);
  return (int32_t)set(context);
}

#define PARAMETERS(...) __VA_ARGS__
#define CALLER(name, since, older, params, args)                            \
  int32_t bb_##name(CUcontext context, PARAMETERS params) {                 \
    CUresult(*driver_function) params;                                      \
    const int32_t failed = prepare(INDEX_##name, context, (void *)&driver_function); \
    return failed != 0 ? failed : (int32_t)driver_function args;            \
  }
BB_CUDA_FUNCTIONS(CALLER)

enum { NOT_READY = 600 };

/* Asks for the state until it is another than "not ready" or the time is over. */
static int32_t wait_until_ready(int32_t (*query)(CUcontext, void *), CUcontext context, void *handle, uint32_t limit_us) {
  if (limit_us > 50000) return -EINVAL;
  const uint64_t end = now_us() + limit_us;
  for (;;) {
    const int late = now_us() >= end;
    const int32_t result = query(context, handle);
    if (result != NOT_READY || late) return result;
    relax();
  }
}

static int32_t query_stream(CUcontext context, void *handle) { return bb_cuStreamQuery(context, handle); }
static int32_t query_event(CUcontext context, void *handle) { return bb_cuEventQuery(context, handle); }

int32_t bb_cuda_wait_stream(CUcontext context, CUstream stream, uint32_t limit_us) {
  const int32_t result = wait_until_ready(query_stream, context, stream, limit_us);
  /* Nothing is left to wait for; but only this prints what kernels printed. */
  return result == 0 ? bb_cuStreamSynchronize(context, stream) : result;
}

int32_t bb_cuda_wait_event(CUcontext context, CUevent event, uint32_t limit_us) {
  return wait_until_ready(query_event, context, event, limit_us);
}

/* CUjit_option */
enum { INFO_LOG = 3, INFO_LOG_SIZE = 4, ERROR_LOG = 5, ERROR_LOG_SIZE = 6 };

int32_t bb_cuda_load(CUcontext context, const void *image, char *info, char *error, uint32_t log_size, CUmodule *out) {
  if (image == NULL || info == NULL || error == NULL || out == NULL || log_size == 0) return -EINVAL;
  info[0] = error[0] = '\0';
  uint32_t options[] = {INFO_LOG, INFO_LOG_SIZE, ERROR_LOG, ERROR_LOG_SIZE};
  /* Sizes stand in the slots themselves. */
  void *values[] = {info, (void *)(uintptr_t)log_size, error, (void *)(uintptr_t)log_size};
  const int32_t result = bb_cuModuleLoadDataEx(context, out, image, 4, options, values);
  info[log_size - 1] = error[log_size - 1] = '\0';
  return result;
}

int32_t bb_cuda_launch(CUcontext context, CUfunction function, const uint32_t *shape, CUstream stream, void *arguments,
                       uint32_t size) {
  if (shape == NULL || (arguments == NULL && size > 0)) return -EINVAL;
  size_t bytes = size;
  /* CU_LAUNCH_PARAM_BUFFER_POINTER, CU_LAUNCH_PARAM_BUFFER_SIZE, CU_LAUNCH_PARAM_END */
  void *extra[] = {(void *)1, arguments, (void *)2, &bytes, NULL};
  return bb_cuLaunchKernel(context, function, shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6], stream,
                           NULL, size == 0 ? NULL : extra);
}
