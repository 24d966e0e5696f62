/* What the files of the software CUDA device share and nobody else sees. */
#ifndef BUSBAR_SOFT_CUDA_H
#define BUSBAR_SOFT_CUDA_H

#include "api/cuda_api.h"

#include <pthread.h>
#include <stdatomic.h>

/* The results that the device gives; cuda.h has all. */
enum {
  CUDA_SUCCESS = 0,
  CUDA_INVALID_VALUE = 1,
  CUDA_OUT_OF_MEMORY = 2,
  CUDA_NOT_INITIALIZED = 3,
  CUDA_NO_DEVICE = 100,
  CUDA_INVALID_DEVICE = 101,
  CUDA_INVALID_IMAGE = 200,
  CUDA_INVALID_CONTEXT = 201,
  CUDA_NO_BINARY_FOR_GPU = 209,
  CUDA_INVALID_PTX = 218,
  CUDA_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_INVALID_HANDLE = 400,
  CUDA_NOT_FOUND = 500,
  CUDA_NOT_READY = 600,
  CUDA_ILLEGAL_ADDRESS = 700,
  CUDA_LAUNCH_TIMEOUT = 702,
  CUDA_PEER_ACCESS_ALREADY_ENABLED = 704,
  CUDA_PEER_ACCESS_NOT_ENABLED = 705,
  CUDA_HOST_MEMORY_ALREADY_REGISTERED = 712,
  CUDA_HOST_MEMORY_NOT_REGISTERED = 713,
  CUDA_MISALIGNED_ADDRESS = 716,
  CUDA_LAUNCH_FAILED = 719,
  CUDA_NOT_SUPPORTED = 801,
};

/* A PTX module, parsed. cuda_ptx.c */
struct ptx_module;
struct ptx_kernel;

struct ptx_parameter {
  uint32_t offset, size;
};

/* Where a text may go wrong: the line and why, as the driver's assembler writes it. */
struct ptx_log {
  char *text;
  size_t size;
};

/* Parses PTX for a device of compute capability (10 x major + minor) and a driver of that CUDA version. */
CUresult ptx_parse(const char *text, uint32_t capability, uint32_t version, struct ptx_log *log, struct ptx_module **out);
void ptx_free(struct ptx_module *module);
struct ptx_kernel *ptx_find(const struct ptx_module *module, const char *name);
const struct ptx_parameter *ptx_parameter(const struct ptx_kernel *kernel, size_t index);
uint32_t ptx_parameter_bytes(const struct ptx_kernel *kernel);
uint32_t ptx_registers(const struct ptx_kernel *kernel);
uint32_t ptx_version(const struct ptx_kernel *kernel);

/* What a kernel runs in. */
struct ptx_run {
  const uint8_t *arguments;
  uint32_t grid[3], block[3];
  /* Reads or writes 1, 2, 4 or 8 bytes at a device address, in one access. CUDA_SUCCESS or the fault. */
  CUresult (*load)(void *context, uint64_t address, uint32_t width, uint64_t *value);
  CUresult (*store)(void *context, uint64_t address, uint32_t width, uint64_t value);
  /* Asked on every backward branch: a result other than success ends the kernel. */
  CUresult (*keep_going)(void *context);
  void *context;
};

/* Runs all threads, one after the other. */
CUresult ptx_execute(const struct ptx_kernel *kernel, const struct ptx_run *run);

#endif
