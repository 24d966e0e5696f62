/* CUDA driver libraries: each open one is a handle, its functions looked up when first called. See busbar.h. */
#define _GNU_SOURCE
#include "busbar.h"
#include "internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
#define INDEX(name, since, older, params, args) INDEX_##name,
#define INDEX0(name, since) INDEX_##name,
  BB_CUDA_FUNCTIONS(INDEX, INDEX0) FUNCTIONS
};

struct function {
  const char *name;
  uint32_t since;
  const char *older;
};

static const struct function TABLE[FUNCTIONS] = {
#define ROW(name, since, older, params, args) {#name, since, older},
#define ROW0(name, since) {#name, since, ""},
    BB_CUDA_FUNCTIONS(ROW, ROW0)};

/* What a software driver exports beside NVIDIA's functions, so that several can be open: see soft/cuda/soft_cuda.h. */
typedef int32_t open_instance(const char *settings, void **out, char *why, uint32_t size);
typedef void use_instance(void *instance);
typedef uint32_t describe_fault(void *instance, char *text, uint32_t size);
typedef void *find_memory(void *instance, uint64_t address, uint64_t size);

struct bb_cuda {
  void *library;
  void *instance; /* of a software driver that was opened with settings, else NULL */
  use_instance *enter, *close;
  describe_fault *last_fault;
  find_memory *host_memory;
  /* The functions as far as they were looked up. Two threads that look the same one up find the same address, so the order
   * in which they store it does not matter. */
  _Atomic(void *) addresses[FUNCTIONS];
};

static int32_t refuse(bb_cuda *driver, int32_t result, char *why, uint32_t size, const char *words) {
  if (size > 0 && words != NULL) snprintf(why, size, "%s", words);
  if (driver->library != NULL) dlclose(driver->library);
  free(driver);
  return result;
}

/* Sets up a device of its own in a software driver's library. */
static int32_t open_software(bb_cuda *driver, const char *settings, char *why, uint32_t size) {
  open_instance *open = NULL;
  void *functions[] = {dlsym(driver->library, "bb_soft_cuda_open"), dlsym(driver->library, "bb_soft_cuda_enter"),
                       dlsym(driver->library, "bb_soft_cuda_close"), dlsym(driver->library, "bb_soft_cuda_last_fault"),
                       dlsym(driver->library, "bb_soft_cuda_host_memory")};
  memcpy(&open, &functions[0], sizeof open);
  memcpy(&driver->enter, &functions[1], sizeof driver->enter);
  memcpy(&driver->close, &functions[2], sizeof driver->close);
  memcpy(&driver->last_fault, &functions[3], sizeof driver->last_fault);
  memcpy(&driver->host_memory, &functions[4], sizeof driver->host_memory);
  if (open == NULL || driver->enter == NULL || driver->close == NULL || driver->last_fault == NULL) return -ENOSYS;
  return open(settings, &driver->instance, why, size);
}

int32_t bb_cuda_open(const char *path, const char *settings, char *why, uint32_t size, bb_cuda **out) {
  if (path == NULL || out == NULL || (why == NULL && size > 0)) return -EINVAL;
  bb_cuda *driver = calloc(1, sizeof *driver);
  if (driver == NULL) return -ENOMEM;
  if (size > 0) why[0] = '\0';
  driver->library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
  if (driver->library == NULL) return refuse(driver, -ELIBACC, why, size, dlerror());
  if (settings != NULL) {
    const int32_t failed = open_software(driver, settings, why, size);
    if (failed != 0) return refuse(driver, failed, why, size, NULL);
  }
  *out = driver;
  return 0;
}

int32_t bb_cuda_close(bb_cuda *driver) {
  if (driver == NULL) return -EINVAL;
  if (driver->instance != NULL) driver->close(driver->instance);
  const int32_t failed = dlclose(driver->library) == 0 ? 0 : -EIO;
  free(driver);
  return failed;
}

uint32_t bb_cuda_last_fault(bb_cuda *driver, char *text, uint32_t size) {
  if (driver == NULL || driver->instance == NULL || text == NULL) return 0;
  return driver->last_fault(driver->instance, text, size);
}

int32_t bb_cuda_host_memory(bb_cuda *driver, uint64_t address, uint64_t size, void **out) {
  if (driver == NULL || out == NULL) return -EINVAL;
  if (driver->instance == NULL || driver->host_memory == NULL) return -ENOTSUP;
  *out = driver->host_memory(driver->instance, address, size);
  return *out == NULL ? -EFAULT : 0;
}

static void *find(bb_cuda *driver, int index) {
  void *address = atomic_load_explicit(&driver->addresses[index], memory_order_relaxed);
  if (address != NULL) return address;
  address = dlsym(driver->library, TABLE[index].name);
  if (address == NULL && TABLE[index].older[0] != '\0') address = dlsym(driver->library, TABLE[index].older);
  atomic_store_explicit(&driver->addresses[index], address, memory_order_relaxed);
  return address;
}

int32_t bb_cuda_since(const char *name) {
  if (name == NULL) return -EINVAL;
  for (int i = 0; i < FUNCTIONS; i++) {
    if (strcmp(TABLE[i].name, name) == 0) return (int32_t)TABLE[i].since;
  }
  return -ENOENT;
}

int32_t bb_cuda_has(bb_cuda *driver, const char *name) {
  if (driver == NULL || name == NULL) return -EINVAL;
  for (int i = 0; i < FUNCTIONS; i++) {
    if (strcmp(TABLE[i].name, name) == 0) return find(driver, i) != NULL;
  }
  return -ENOENT;
}

/* Finds a function and makes the context current on this thread, whichever thread of a pool it is. The context stays
 * current: setting it again is cheaper than putting back what was there, and nobody else calls CUDA from Deno's threads. */
static int32_t prepare(bb_cuda *driver, int index, CUcontext context, void *function) {
  if (driver == NULL) return -ENOENT;
  void *address = find(driver, index);
  if (address == NULL) return -ENOSYS;
  memcpy(function, &address, sizeof address);
  if (driver->instance != NULL) driver->enter(driver->instance);
  if (context == NULL || index == INDEX_cuCtxSetCurrent) return 0;
  void *setter = find(driver, INDEX_cuCtxSetCurrent);
  if (setter == NULL) return -ENOSYS;
  CUresult (*set)(CUcontext);
  memcpy(&set, &setter, sizeof set);
  return (int32_t)set(context);
}

#define PARAMETERS(...) __VA_ARGS__
#define CALLER(name, since, older, params, args)                                                     \
  int32_t bb_##name(bb_cuda *driver, CUcontext context, PARAMETERS params) {                         \
    CUresult(*driver_function) params;                                                               \
    const int32_t failed = prepare(driver, INDEX_##name, context, (void *)&driver_function);         \
    return failed != 0 ? failed : (int32_t)driver_function args;                                     \
  }
#define CALLER0(name, since)                                                                         \
  int32_t bb_##name(bb_cuda *driver, CUcontext context) {                                            \
    CUresult (*driver_function)(void);                                                               \
    const int32_t failed = prepare(driver, INDEX_##name, context, (void *)&driver_function);         \
    return failed != 0 ? failed : (int32_t)driver_function();                                        \
  }
BB_CUDA_FUNCTIONS(CALLER, CALLER0)

enum { NOT_READY = 600 };

/* Asks for the state until it is another than "not ready" or the time is over. */
static int32_t wait_until_ready(int32_t (*query)(bb_cuda *, CUcontext, void *), bb_cuda *driver, CUcontext context,
                                void *handle, uint32_t limit_us) {
  if (limit_us > 50000) return -EINVAL;
  const uint64_t end = now_us() + limit_us;
  for (;;) {
    const int late = now_us() >= end;
    const int32_t result = query(driver, context, handle);
    if (result != NOT_READY || late) return result;
    relax();
  }
}

static int32_t query_stream(bb_cuda *driver, CUcontext context, void *handle) {
  return bb_cuStreamQuery(driver, context, handle);
}
static int32_t query_event(bb_cuda *driver, CUcontext context, void *handle) {
  return bb_cuEventQuery(driver, context, handle);
}

int32_t bb_cuda_wait_stream(bb_cuda *driver, CUcontext context, CUstream stream, uint32_t limit_us) {
  const int32_t result = wait_until_ready(query_stream, driver, context, stream, limit_us);
  /* Nothing is left to wait for; but only this prints what kernels printed. */
  return result == 0 ? bb_cuStreamSynchronize(driver, context, stream) : result;
}

int32_t bb_cuda_wait_event(bb_cuda *driver, CUcontext context, CUevent event, uint32_t limit_us) {
  return wait_until_ready(query_event, driver, context, event, limit_us);
}

/* CUjit_option */
enum { INFO_LOG = 3, INFO_LOG_SIZE = 4, ERROR_LOG = 5, ERROR_LOG_SIZE = 6 };

int32_t bb_cuda_load(bb_cuda *driver, CUcontext context, const void *image, char *info, char *error, uint32_t log_size,
                     CUmodule *out) {
  if (image == NULL || info == NULL || error == NULL || out == NULL || log_size == 0) return -EINVAL;
  info[0] = error[0] = '\0';
  uint32_t options[] = {INFO_LOG, INFO_LOG_SIZE, ERROR_LOG, ERROR_LOG_SIZE};
  /* Sizes stand in the slots themselves. */
  void *values[] = {info, (void *)(uintptr_t)log_size, error, (void *)(uintptr_t)log_size};
  const int32_t result = bb_cuModuleLoadDataEx(driver, context, out, image, 4, options, values);
  info[log_size - 1] = error[log_size - 1] = '\0';
  return result;
}

int32_t bb_cuda_launch(bb_cuda *driver, CUcontext context, CUfunction function, const uint32_t *shape, CUstream stream,
                       void *arguments, uint32_t size) {
  if (shape == NULL || (arguments == NULL && size > 0)) return -EINVAL;
  size_t bytes = size;
  /* CU_LAUNCH_PARAM_BUFFER_POINTER, CU_LAUNCH_PARAM_BUFFER_SIZE, CU_LAUNCH_PARAM_END */
  void *extra[] = {(void *)1, arguments, (void *)2, &bytes, NULL};
  return bb_cuLaunchKernel(driver, context, function, shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6],
                           stream, NULL, size == 0 ? NULL : extra);
}
