/*
 * A CUDA runtime library over any CUDA driver library: what programs that nvcc linked with -cudart shared call.
 *
 * It is compiled twice, as libcudart.so.12 and libcudart.so.13 (BUSBAR_CUDART). The driver is whatever the loader finds as
 * libcuda.so.1; only functions of its public API are called. Nothing touches the driver before a program's first call that
 * needs it, so that a program which only registers kernels starts without one.
 */
#ifndef BUSBAR_CUDART_H
#define BUSBAR_CUDART_H

#include "api/cuda_api.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if BUSBAR_CUDART != 12 && BUSBAR_CUDART != 13
#error BUSBAR_CUDART is the version to be: 12 or 13
#endif

#define API __attribute__((visibility("default")))

typedef int cudaError_t;
typedef CUstream cudaStream_t;
typedef CUevent cudaEvent_t;

typedef struct {
  unsigned int x, y, z;
} dim3;

/* Results that the runtime has of its own, or that this library gives. From 100 on they are the driver's. */
enum {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  MEMORY_ALLOCATION = 2,
  INITIALIZATION_ERROR = 3,
  INVALID_CONFIGURATION = 9,
  INVALID_PITCH_VALUE = 12,
  INVALID_SYMBOL = 13,
  INVALID_MEMCPY_DIRECTION = 21,
  INSUFFICIENT_DRIVER = 35,
  INVALID_DEVICE_FUNCTION = 98,
  NO_DEVICE = 100,
  INVALID_DEVICE = 101,
  INVALID_KERNEL_IMAGE = 200,
  DEVICE_UNINITIALIZED = 201,
  INVALID_RESOURCE_HANDLE = 400,
  NOT_READY = 600,
  NOT_SUPPORTED = 801,
  UNKNOWN = 999,
};

/* cudaMemcpyKind */
enum { HOST_TO_HOST, HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE, COPY_DEFAULT };

/* The driver's functions, by the names that it exports. One that an older driver does not have gives 801. */
struct driver {
#define FUNCTION(name, since, older, params, args) CUresult(*name) params;
#define FUNCTION0(name, since) CUresult (*name)(void);
  BB_CUDA_FUNCTIONS(FUNCTION, FUNCTION0)
#undef FUNCTION
#undef FUNCTION0
};
extern struct driver driver;

enum { MAX_DEVICES = 64, MAX_CONFIGURATIONS = 16 };

struct fat_binary {
  struct fat_binary *next;
  const void *container;        /* of a program that was compiled as a whole */
  const void *const *containers; /* of one whose parts are to be linked: ends with NULL */
  CUmodule modules[MAX_DEVICES];
};

/* A kernel of the program: the address of its stub on the host is its name for the runtime. */
struct kernel {
  struct fat_binary *binary;
  const void *stub;
  const char *name;
  CUfunction functions[MAX_DEVICES];
};

struct variable {
  struct fat_binary *binary;
  const void *shadow; /* its counterpart on the host */
  const char *name;
  size_t size;
};

/* ---- state.c --------------------------------------------------------------------------------------------------------- */

/* What a function does before anything else, and what it returns with: the last error is kept for the thread. */
cudaError_t runtime_start(void);   /* the driver is there and started */
cudaError_t runtime_context(void); /* and a context is current */
cudaError_t finish(cudaError_t result);
cudaError_t current_device(int *device);
cudaError_t kernel_function(const void *stub, CUfunction *out);
cudaError_t variable_address(const void *shadow, CUdeviceptr *out, size_t *size);

#define START()                                          \
  do {                                                   \
    const cudaError_t not_started = runtime_start();     \
    if (not_started != SUCCESS) return finish(not_started); \
  } while (0)

#define CONTEXT()                                        \
  do {                                                   \
    const cudaError_t not_started = runtime_context();   \
    if (not_started != SUCCESS) return finish(not_started); \
  } while (0)

#define CHECK(condition, result)                  \
  do {                                            \
    if (!(condition)) return finish(result);      \
  } while (0)

#define DEVICE_POINTER(pointer) ((CUdeviceptr)(uintptr_t)(pointer))

#endif
