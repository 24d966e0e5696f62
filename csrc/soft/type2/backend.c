/* Opening a CUDA driver library, and asking once for what never changes. */
#define _GNU_SOURCE
#include "backend.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ISO C has no conversion from an object pointer to a function pointer. */
static void look_up(void *library, const char *name, const char *older, void *function) {
  void *address = dlsym(library, name);
  if (address == NULL && older[0] != '\0') address = dlsym(library, older);
  memcpy(function, &address, sizeof address);
}

static int open_software(struct backend *backend, const char *settings, char *why, uint32_t size) {
  int32_t (*open)(const char *, void **, char *, uint32_t);
  look_up(backend->library, "bb_soft_cuda_open", "", (void *)&open);
  look_up(backend->library, "bb_soft_cuda_enter", "", (void *)&backend->enter);
  look_up(backend->library, "bb_soft_cuda_close", "", (void *)&backend->close);
  look_up(backend->library, "bb_soft_cuda_print_to", "", (void *)&backend->print_to);
  look_up(backend->library, "bb_soft_cuda_last_fault", "", (void *)&backend->last_fault);
  if (open == NULL || backend->enter == NULL || backend->close == NULL) {
    snprintf(why, size, "the driver library is no software driver, and takes no settings");
    return -ENOSYS;
  }
  return open(settings, &backend->instance, why, size);
}

static int attribute(struct backend *backend, uint32_t number) {
  int value = 0;
  backend->f.cuDeviceGetAttribute(&value, number, backend->device);
  return value;
}

/* cuda.h: CU_DEVICE_ATTRIBUTE_… */
enum { MAX_THREADS_PER_BLOCK = 1, WARP_SIZE = 10, MULTIPROCESSOR_COUNT = 16, MAJOR = 75, MINOR = 76 };

static int describe(struct backend *backend, uint32_t ordinal, char *why, uint32_t size) {
  CUresult failed = backend->f.cuInit(0);
  const char *step = "cuInit";
  if (failed == 0) {
    step = "cuDeviceGet";
    failed = backend->f.cuDeviceGet(&backend->device, (int)ordinal);
  }
  size_t total = 0;
  if (failed == 0) {
    step = "cuDeviceTotalMem";
    failed = backend->f.cuDeviceTotalMem_v2(&total, backend->device);
  }
  if (failed == 0) {
    step = "cuDeviceGetName";
    failed = backend->f.cuDeviceGetName(backend->name, sizeof backend->name, backend->device);
  }
  if (failed != 0) {
    snprintf(why, size, "%s of the driver gives %d", step, (int)failed);
    return failed == 101 || failed == 100 ? -ENODEV : -EIO;
  }
  backend->total_bytes = total;
  backend->most_threads = (uint32_t)attribute(backend, MAX_THREADS_PER_BLOCK);
  backend->warp = (uint32_t)attribute(backend, WARP_SIZE);
  backend->multiprocessors = (uint32_t)attribute(backend, MULTIPROCESSOR_COUNT);
  backend->major = (uint32_t)attribute(backend, MAJOR);
  backend->minor = (uint32_t)attribute(backend, MINOR);
  return 0;
}

int backend_open(struct backend *backend, const char *library, const char *settings, uint32_t ordinal, char *why,
                 uint32_t why_size) {
  memset(backend, 0, sizeof *backend);
  backend->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (backend->library == NULL) {
    snprintf(why, why_size, "%s", dlerror());
    return -ELIBACC;
  }
  int failed = settings == NULL ? 0 : open_software(backend, settings, why, why_size);
#define LOOK(name, since, older, params, args) look_up(backend->library, #name, older, (void *)&backend->f.name);
#define LOOK0(name, since) look_up(backend->library, #name, "", (void *)&backend->f.name);
  BB_CUDA_FUNCTIONS(LOOK, LOOK0)
  if (failed == 0 && backend->f.cuLaunchKernel == NULL) {
    snprintf(why, why_size, "the library is no CUDA driver: it has no cuLaunchKernel");
    failed = -ENOSYS;
  }
  if (failed == 0) {
    if (backend->enter != NULL) backend->enter(backend->instance);
    failed = describe(backend, ordinal, why, why_size);
  }
  if (failed != 0) backend_close(backend);
  return failed;
}

void backend_close(struct backend *backend) {
  if (backend->instance != NULL) backend->close(backend->instance);
  if (backend->library != NULL) dlclose(backend->library);
  memset(backend, 0, sizeof *backend);
}

CUresult backend_enter(struct backend *backend, CUcontext context) {
  if (backend->enter != NULL) backend->enter(backend->instance);
  return context == NULL ? 0 : backend->f.cuCtxSetCurrent(context);
}
