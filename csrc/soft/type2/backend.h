/* The CUDA driver library that a device works with, as a client of the driver API. */
#ifndef BUSBAR_TYPE2_BACKEND_H
#define BUSBAR_TYPE2_BACKEND_H

#include "api/cuda_api.h"

/* Functions of the driver; NULL where the library lacks one. */
struct backend_functions {
#define FIELD(name, since, older, params, args) CUresult(*name) params;
#define FIELD0(name, since) CUresult (*name)(void);
  BB_CUDA_FUNCTIONS(FIELD, FIELD0)
#undef FIELD
#undef FIELD0
};

struct backend {
  void *library, *instance;
  void (*enter)(void *instance), (*close)(void *instance);
  void (*print_to)(void *instance, void (*print)(void *to, const char *text, size_t size), void *to);
  uint32_t (*last_fault)(void *instance, char *text, uint32_t size);
  struct backend_functions f;
  CUdevice device;
  uint64_t total_bytes;
  uint32_t major, minor, multiprocessors, most_threads, warp;
  char name[64];
};

/* settings: NULL for a driver without settings. 0 or -errno with a sentence in why. */
int backend_open(struct backend *backend, const char *library, const char *settings, uint32_t ordinal, char *why,
                 uint32_t why_size);
void backend_close(struct backend *backend);
/* Makes this thread's calls go to the backend, in that context (NULL: none). */
CUresult backend_enter(struct backend *backend, CUcontext context);

#endif
