/* Launching kernels, and their attributes. */
#include "cudart.h"

#include <string.h>

/* What <<<...>>> says, kept for the stub that is called next. */
struct configuration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
static _Thread_local struct configuration configurations[MAX_CONFIGURATIONS];
static _Thread_local unsigned depth;

API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream);
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
  if (depth == MAX_CONFIGURATIONS) return 1;
  configurations[depth++] = (struct configuration){grid, block, shared, stream};
  return 0;
}

API cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream);
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
  CHECK(depth > 0, INVALID_CONFIGURATION);
  const struct configuration *top = &configurations[--depth];
  *grid = top->grid;
  *block = top->block;
  *shared = top->shared;
  memcpy(stream, &top->stream, sizeof top->stream);
  return SUCCESS;
}

/* The driver has one number for every bad argument; the runtime another for a shape that no kernel can have. */
static cudaError_t launch_result(CUresult result, dim3 grid, dim3 block, size_t shared) {
  if (result != INVALID_VALUE) return result;
  const uint64_t threads = (uint64_t)block.x * block.y * block.z;
  const bool is_shape_bad = grid.x == 0 || grid.y == 0 || grid.z == 0 || threads == 0 || grid.x > INT32_MAX ||
                            grid.y > 65535 || grid.z > 65535 || block.x > 1024 || block.y > 1024 || block.z > 64 ||
                            threads > 1024;
  return is_shape_bad ? INVALID_CONFIGURATION : shared > 48 * 1024 ? INVALID_VALUE : result;
}

static cudaError_t launch(const void *stub, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t stream,
                          bool is_cooperative) {
  CONTEXT();
  CUfunction function;
  const cudaError_t failed = kernel_function(stub, &function);
  CHECK(failed == SUCCESS, failed);
  CHECK(shared <= UINT32_MAX, INVALID_VALUE);
  const unsigned bytes = (unsigned)shared;
  const CUresult result =
      is_cooperative ? driver.cuLaunchCooperativeKernel(function, grid.x, grid.y, grid.z, block.x, block.y, block.z, bytes,
                                                        stream, arguments)
                     : driver.cuLaunchKernel(function, grid.x, grid.y, grid.z, block.x, block.y, block.z, bytes, stream,
                                             arguments, NULL);
  return finish(launch_result(result, grid, block, shared));
}

API cudaError_t cudaLaunchKernel(const void *stub, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t stream);
cudaError_t cudaLaunchKernel(const void *stub, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t stream) {
  return launch(stub, grid, block, arguments, shared, stream, false);
}

API cudaError_t cudaLaunchCooperativeKernel(const void *stub, dim3 grid, dim3 block, void **arguments, size_t shared,
                                            cudaStream_t stream);
cudaError_t cudaLaunchCooperativeKernel(const void *stub, dim3 grid, dim3 block, void **arguments, size_t shared,
                                        cudaStream_t stream) {
  return launch(stub, grid, block, arguments, shared, stream, true);
}

/* The handle of a kernel is the address of its stub. */
API cudaError_t __cudaGetKernel(const void **out, const void *stub);
cudaError_t __cudaGetKernel(const void **out, const void *stub) {
  *out = stub;
  return SUCCESS;
}
API cudaError_t __cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                                   cudaStream_t stream);
cudaError_t __cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                               cudaStream_t stream) {
  return launch(kernel, grid, block, arguments, shared, stream, false);
}

struct launch_config {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
  CUlaunchAttribute *attributes;
  unsigned int count;
};

API cudaError_t cudaLaunchKernelExC(const struct launch_config *config, const void *stub, void **arguments);
cudaError_t cudaLaunchKernelExC(const struct launch_config *config, const void *stub, void **arguments) {
  CONTEXT();
  CHECK(config != NULL && config->shared <= UINT32_MAX, INVALID_VALUE);
  CUfunction function;
  const cudaError_t failed = kernel_function(stub, &function);
  CHECK(failed == SUCCESS, failed);
  const CUlaunchConfig given = {config->grid.x, config->grid.y, config->grid.z, config->block.x, config->block.y,
                                config->block.z, (unsigned)config->shared, config->stream, config->attributes, config->count};
  const CUresult result = driver.cuLaunchKernelEx(&given, function, arguments, NULL);
  return finish(launch_result(result, config->grid, config->block, config->shared));
}

API cudaError_t cudaGetFuncBySymbol(CUfunction *out, const void *stub);
cudaError_t cudaGetFuncBySymbol(CUfunction *out, const void *stub) {
  CONTEXT();
  CHECK(out != NULL, INVALID_VALUE);
  return finish(kernel_function(stub, out));
}

/* ---- attributes and occupancy ---------------------------------------------------------------------------------------- */

struct function_attributes {
  size_t shared_bytes, const_bytes, local_bytes;
  int max_threads, registers, ptx_version, binary_version, cache_mode, max_dynamic_shared, carve_out;
  int cluster_must_be_set, cluster_width, cluster_height, cluster_depth, cluster_policy, cluster_non_portable;
  int reserved[16];
};

API cudaError_t cudaFuncGetAttributes(struct function_attributes *out, const void *stub);
cudaError_t cudaFuncGetAttributes(struct function_attributes *out, const void *stub) {
  CONTEXT();
  CHECK(out != NULL, INVALID_VALUE);
  CUfunction function;
  cudaError_t failed = kernel_function(stub, &function);
  CHECK(failed == SUCCESS, failed);
  enum { COUNT = 10 };
  int values[COUNT];
  for (CUfunction_attribute i = 0; i < COUNT; i++) {
    failed = driver.cuFuncGetAttribute(&values[i], i, function);
    CHECK(failed == SUCCESS, failed);
  }
  *out = (struct function_attributes){.shared_bytes = (size_t)values[1], .const_bytes = (size_t)values[2],
                                      .local_bytes = (size_t)values[3], .max_threads = values[0], .registers = values[4],
                                      .ptx_version = values[5], .binary_version = values[6], .cache_mode = values[7],
                                      .max_dynamic_shared = values[8], .carve_out = values[9]};
  return SUCCESS;
}

API cudaError_t cudaFuncSetAttribute(const void *stub, CUfunction_attribute attribute, int value);
cudaError_t cudaFuncSetAttribute(const void *stub, CUfunction_attribute attribute, int value) {
  CONTEXT();
  CUfunction function;
  const cudaError_t failed = kernel_function(stub, &function);
  CHECK(failed == SUCCESS, failed);
  return finish(driver.cuFuncSetAttribute(function, attribute, value));
}

API cudaError_t cudaFuncSetCacheConfig(const void *stub, CUfunc_cache config);
cudaError_t cudaFuncSetCacheConfig(const void *stub, CUfunc_cache config) {
  CONTEXT();
  CUfunction function;
  const cudaError_t failed = kernel_function(stub, &function);
  CHECK(failed == SUCCESS, failed);
  return finish(driver.cuFuncSetCacheConfig(function, config));
}

API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *stub, int threads,
                                                                       size_t shared, unsigned int flags);
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *stub, int threads, size_t shared,
                                                                   unsigned int flags) {
  CONTEXT();
  CUfunction function;
  const cudaError_t failed = kernel_function(stub, &function);
  CHECK(failed == SUCCESS, failed);
  return finish(driver.cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads, shared, flags));
}

API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *stub, int threads, size_t shared);
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *stub, int threads, size_t shared) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, stub, threads, shared, 0);
}
