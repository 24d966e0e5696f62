/* Launching kernels, and what a program may ask about them. */
#define _GNU_SOURCE
#include "state.h"

#include <stdlib.h>
#include <string.h>

/* The lock is held from here on, with the function that the handle means. */
#define LOCKED_FUNCTION(handle)                                       \
  CUfunction found;                                                   \
  lock(instance);                                                     \
  do {                                                                \
    const CUresult unknown = function_named(current, (handle), &found); \
    if (unknown != CUDA_SUCCESS) {                                    \
      unlock(instance);                                               \
      return unknown;                                                 \
    }                                                                 \
  } while (0)

/* ---- attributes ------------------------------------------------------------------------------------------------------ */

/* CUfunction_attribute */
enum {
  MAX_THREADS,
  STATIC_SHARED,
  CONST_SIZE,
  LOCAL_SIZE,
  REGISTER_COUNT,
  PTX_VERSION,
  BINARY_VERSION,
  CACHE_MODE,
  MAX_DYNAMIC_SHARED,
  CARVE_OUT,
  CLUSTER_SIZE_MUST_BE_SET,
  LAST_ATTRIBUTE = 15,
};

/* The largest block that the kernel may be launched with. */
static uint32_t largest_block(const struct ptx_kernel_info *info) {
  uint32_t most = info->max_threads != 0 ? info->max_threads : MOST_BLOCK_THREADS;
  if (info->required_block[0] != 0) most = info->required_block[0] * info->required_block[1] * info->required_block[2];
  return most > MOST_BLOCK_THREADS || most == 0 ? MOST_BLOCK_THREADS : most;
}

/* Registers of a thread. The text has one for each value; an assembler would share them so that the largest block fits. */
static uint32_t registers_of_thread(const struct ptx_kernel_info *info) {
  const uint32_t most = REGISTERS / largest_block(info) / 8 * 8;
  return info->registers < most ? info->registers : most;
}

/* They are given to warps in pieces of 256. */
static uint32_t registers_of_block(const struct ptx_kernel_info *info, uint32_t threads) {
  const uint32_t warps = (threads + WARP_THREADS - 1) / WARP_THREADS;
  return warps * ((registers_of_thread(info) * WARP_THREADS + 255) & ~255u);
}

static CUresult get_attribute(CUcontext current, int *value, CUfunction_attribute attribute, CUfunction function) {
  struct cuda_instance *instance = current->instance;
  REQUIRE(value != NULL && attribute <= LAST_ATTRIBUTE, CUDA_INVALID_VALUE);
  LOCKED_FUNCTION(function);
  const struct ptx_kernel_info *info = found->info;
  const struct ptx_module *code = found->module->code;
  switch (attribute) {
    case MAX_THREADS: *value = (int)largest_block(info); break;
    case STATIC_SHARED: *value = (int)info->static_shared; break;
    case CONST_SIZE: *value = (int)info->const_bytes; break;
    case LOCAL_SIZE: *value = (int)info->local_bytes; break;
    case REGISTER_COUNT: *value = (int)registers_of_thread(info); break;
    case PTX_VERSION: *value = (int)ptx_module_target(code); break;
    case BINARY_VERSION: *value = (int)instance->settings.capability; break;
    case MAX_DYNAMIC_SHARED: *value = (int)found->dynamic_limit; break;
    case CARVE_OUT: *value = found->carve_out; break;
    default: *value = 0;
  }
  unlock(instance);
  return CUDA_SUCCESS;
}

static CUresult set_attribute(CUcontext current, CUfunction function, CUfunction_attribute attribute, int value) {
  struct cuda_instance *instance = current->instance;
  LOCKED_FUNCTION(function);
  const uint32_t opt_in = instance->settings.profile->shared_opt_in;
  CUresult result = CUDA_INVALID_VALUE;
  if (attribute == MAX_DYNAMIC_SHARED && value >= 0 && (uint32_t)value + found->info->static_shared <= opt_in) {
    found->dynamic_limit = (uint32_t)value;
    result = CUDA_SUCCESS;
  } else if (attribute == CARVE_OUT && value >= -1 && value <= 100) {
    found->carve_out = value;
    result = CUDA_SUCCESS;
  } else if (attribute >= CLUSTER_SIZE_MUST_BE_SET && attribute <= LAST_ATTRIBUTE) {
    result = CUDA_NOT_SUPPORTED;
  }
  unlock(instance);
  return result;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
  ENTER_CONTEXT();
  return get_attribute(current, value, attribute, function);
}
CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  ENTER_CONTEXT();
  return set_attribute(current, function, attribute, value);
}

/* Attributes of a library's kernel are those of the function that it is in the context. */
CUresult cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel kernel, CUdevice device) {
  ENTER_CONTEXT();
  REQUIRE(is_device(instance, device), CUDA_INVALID_DEVICE);
  return get_attribute(current, value, attribute, (CUfunction)(void *)kernel);
}
CUresult cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel kernel, CUdevice device) {
  ENTER_CONTEXT();
  REQUIRE(is_device(instance, device), CUDA_INVALID_DEVICE);
  return set_attribute(current, (CUfunction)(void *)kernel, attribute, value);
}

CUresult cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config) {
  ENTER_CONTEXT();
  REQUIRE(config <= 3, CUDA_INVALID_VALUE);
  LOCKED_FUNCTION(function);
  found->cache_config = config;
  unlock(instance);
  return CUDA_SUCCESS;
}

CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *size) {
  ENTER_CONTEXT();
  REQUIRE(offset != NULL, CUDA_INVALID_VALUE);
  LOCKED_FUNCTION(function);
  const bool is_one = index < found->info->parameter_count;
  if (is_one) {
    *offset = found->info->parameters[index].offset;
    if (size != NULL) *size = found->info->parameters[index].size;
  }
  unlock(instance);
  return is_one ? CUDA_SUCCESS : CUDA_INVALID_VALUE;
}

CUresult cuFuncGetName(const char **name, CUfunction function) {
  ENTER_CONTEXT();
  REQUIRE(name != NULL, CUDA_INVALID_VALUE);
  LOCKED_FUNCTION(function);
  *name = found->info->name;
  unlock(instance);
  return CUDA_SUCCESS;
}

/* ---- occupancy ------------------------------------------------------------------------------------------------------- */

static uint32_t least(uint32_t one, uint32_t other) { return one < other ? one : other; }

/* Blocks that fit on a multiprocessor at once, by threads, blocks, registers and shared memory. */
static uint32_t blocks_per_multiprocessor(const struct settings *settings, const struct CUfunc_st *function,
                                          uint32_t threads, size_t dynamic) {
  enum { RESERVED_SHARED = 1024 }; /* of each block, from sm_80 on */
  const struct profile *profile = settings->profile;
  if (threads > largest_block(function->info)) return 0;
  const uint32_t warps = (threads + WARP_THREADS - 1) / WARP_THREADS;
  uint32_t blocks = least(profile->blocks_per_multiprocessor, profile->threads_per_multiprocessor / (warps * WARP_THREADS));
  const uint32_t registers = registers_of_block(function->info, threads);
  if (registers > 0) blocks = least(blocks, REGISTERS / registers);
  const uint64_t wanted = function->info->static_shared + (uint64_t)dynamic;
  if (wanted > profile->shared_opt_in) return 0;
  const uint64_t shared = wanted + (settings->capability >= 80 ? RESERVED_SHARED : 0);
  if (shared > 0) blocks = least(blocks, (uint32_t)(profile->shared_per_multiprocessor / shared));
  return blocks;
}

static CUresult occupancy(CUcontext current, int *blocks, CUfunction function, int threads, size_t shared) {
  struct cuda_instance *instance = current->instance;
  REQUIRE(blocks != NULL && threads > 0, CUDA_INVALID_VALUE);
  LOCKED_FUNCTION(function);
  *blocks = (int)blocks_per_multiprocessor(&instance->settings, found, (uint32_t)threads, shared);
  unlock(instance);
  return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads, size_t shared) {
  ENTER_CONTEXT();
  return occupancy(current, blocks, function, threads, shared);
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function, int threads, size_t shared,
                                                              unsigned int flags) {
  ENTER_CONTEXT();
  REQUIRE(flags <= 1, CUDA_INVALID_VALUE);
  return occupancy(current, blocks, function, threads, shared);
}

CUresult cuOccupancyMaxPotentialBlockSize(int *grid, int *block, CUfunction function, CUoccupancyB2DSize shared_of_block,
                                          size_t shared, int limit) {
  ENTER_CONTEXT();
  REQUIRE(grid != NULL && block != NULL && limit >= 0, CUDA_INVALID_VALUE);
  LOCKED_FUNCTION(function);
  const uint32_t most = limit == 0 ? largest_block(found->info) : least((uint32_t)limit, largest_block(found->info));
  uint32_t best_threads = 0, best_block = 0, best_blocks = 0;
  /* Whole warps from the largest block down: of those that fill a multiprocessor best, the largest. */
  for (uint32_t size = (most + WARP_THREADS - 1) / WARP_THREADS * WARP_THREADS; size > 0; size -= WARP_THREADS) {
    const uint32_t threads = least(size, most);
    size_t dynamic = shared;
    if (shared_of_block != NULL) {
      /* The program's function may call the driver. */
      unlock(instance);
      dynamic = shared_of_block((int)threads);
      lock(instance);
    }
    const uint32_t blocks = blocks_per_multiprocessor(&instance->settings, found, threads, dynamic);
    if (blocks * threads > best_threads) {
      best_threads = blocks * threads;
      best_block = threads;
      best_blocks = blocks;
    }
  }
  unlock(instance);
  *block = (int)best_block;
  *grid = (int)(best_blocks * instance->settings.profile->multiprocessors);
  return best_block == 0 ? CUDA_INVALID_VALUE : CUDA_SUCCESS;
}

/* ---- launches -------------------------------------------------------------------------------------------------------- */

struct shape {
  uint32_t grid[3], block[3], shared;
};

static CUresult check_shape(const struct settings *settings, const struct CUfunc_st *function, const struct shape *shape) {
  const struct ptx_kernel_info *info = function->info;
  const uint32_t *grid = shape->grid, *block = shape->block;
  const uint64_t threads = (uint64_t)block[0] * block[1] * block[2];
  REQUIRE(grid[0] > 0 && grid[1] > 0 && grid[2] > 0 && threads > 0, CUDA_INVALID_VALUE);
  REQUIRE(grid[0] <= INT32_MAX && grid[1] <= 65535 && grid[2] <= 65535, CUDA_INVALID_VALUE);
  REQUIRE(block[0] <= 1024 && block[1] <= 1024 && block[2] <= 64 && threads <= MOST_BLOCK_THREADS, CUDA_INVALID_VALUE);
  REQUIRE(info->max_threads == 0 || threads <= info->max_threads, CUDA_INVALID_VALUE);
  for (int i = 0; i < 3 && info->required_block[0] != 0; i++) {
    const uint32_t required = info->required_block[i] == 0 ? 1 : info->required_block[i];
    REQUIRE(block[i] == required, CUDA_INVALID_VALUE);
  }
  REQUIRE(shape->shared <= function->dynamic_limit, CUDA_INVALID_VALUE);
  REQUIRE((uint64_t)info->static_shared + shape->shared <= settings->profile->shared_opt_in, CUDA_INVALID_VALUE);
  return CUDA_SUCCESS;
}

/* The arguments in a buffer of the kernel's own layout, from either of the two ways to pass them. */
static CUresult gather(const struct ptx_kernel_info *info, void **params, void **extra, void **out) {
  REQUIRE(params == NULL || extra == NULL, CUDA_INVALID_VALUE);
  uint8_t *arguments = calloc(1, info->parameter_bytes + 1u);
  REQUIRE(arguments != NULL, CUDA_OUT_OF_MEMORY);
  *out = arguments;
  if (info->parameter_count == 0) return CUDA_SUCCESS;
  if (params != NULL) {
    for (uint32_t i = 0; i < info->parameter_count; i++) {
      REQUIRE(params[i] != NULL, CUDA_INVALID_VALUE);
      memcpy(arguments + info->parameters[i].offset, params[i], info->parameters[i].size);
    }
    return CUDA_SUCCESS;
  }
  enum { BUFFER_POINTER = 1, BUFFER_SIZE = 2 };
  const void *given = NULL;
  size_t given_bytes = 0;
  for (; extra != NULL && *extra != NULL; extra += 2) {
    if ((uintptr_t)extra[0] == BUFFER_POINTER) given = extra[1];
    else if ((uintptr_t)extra[0] == BUFFER_SIZE && extra[1] != NULL) memcpy(&given_bytes, extra[1], sizeof given_bytes);
    else return CUDA_INVALID_VALUE;
  }
  REQUIRE(given != NULL && given_bytes >= info->parameter_bytes, CUDA_INVALID_VALUE);
  memcpy(arguments, given, info->parameter_bytes);
  return CUDA_SUCCESS;
}

static CUresult launch(CUcontext current, CUfunction function, const struct shape *shape, CUstream stream, void **params,
                       void **extra, bool is_cooperative) {
  struct cuda_instance *instance = current->instance;
  LOCKED_FUNCTION(function);
  CUstream queue = stream_named(current, stream);
  CUresult failed = queue == NULL || found->module->context != current ? CUDA_INVALID_HANDLE : CUDA_SUCCESS;
  if (failed == CUDA_SUCCESS) failed = check_shape(&instance->settings, found, shape);
  const uint32_t threads = shape->block[0] * shape->block[1] * shape->block[2];
  if (failed == CUDA_SUCCESS && is_cooperative) {
    const uint64_t room = (uint64_t)blocks_per_multiprocessor(&instance->settings, found, threads, shape->shared) *
                          instance->settings.profile->multiprocessors;
    if ((uint64_t)shape->grid[0] * shape->grid[1] * shape->grid[2] > room) failed = CUDA_COOPERATIVE_LAUNCH_TOO_LARGE;
  }
  struct work *work = NULL;
  if (failed == CUDA_SUCCESS) {
    work = work_new(WORK_LAUNCH);
    failed = work == NULL ? CUDA_OUT_OF_MEMORY : gather(found->info, params, extra, &work->buffer);
  }
  if (failed == CUDA_SUCCESS) {
    work->launch.function = found;
    memcpy(work->launch.grid, shape->grid, sizeof shape->grid);
    memcpy(work->launch.block, shape->block, sizeof shape->block);
    work->launch.shared = shape->shared;
    work->launch.is_cooperative = is_cooperative;
    failed = stream_enqueue(queue, work);
  } else if (work != NULL) {
    work_free(work);
  }
  unlock(instance);
  return failed;
}

CUresult cuLaunchKernel(CUfunction function, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
                        unsigned int by, unsigned int bz, unsigned int shared, CUstream stream, void **params,
                        void **extra) {
  ENTER_CONTEXT();
  const struct shape shape = {{gx, gy, gz}, {bx, by, bz}, shared};
  return launch(current, function, &shape, stream, params, extra, false);
}

CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned int gx, unsigned int gy, unsigned int gz,
                                   unsigned int bx, unsigned int by, unsigned int bz, unsigned int shared,
                                   CUstream stream, void **params) {
  ENTER_CONTEXT();
  const struct shape shape = {{gx, gy, gz}, {bx, by, bz}, shared};
  return launch(current, function, &shape, stream, params, NULL, true);
}

/* CUlaunchAttributeID. What changes nothing that a program can see here is taken; the rest is refused. */
enum { ATTRIBUTE_IGNORE = 0, ATTRIBUTE_COOPERATIVE = 2, ATTRIBUTE_CLUSTER = 4, ATTRIBUTE_PRIORITY = 8 };

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **params, void **extra) {
  ENTER_CONTEXT();
  REQUIRE(config != NULL && (config->numAttrs == 0 || config->attrs != NULL), CUDA_INVALID_VALUE);
  bool is_cooperative = false;
  for (unsigned i = 0; i < config->numAttrs; i++) {
    const CUlaunchAttribute *attribute = &config->attrs[i];
    uint32_t words[3];
    memcpy(words, attribute->value, sizeof words);
    switch (attribute->id) {
      case ATTRIBUTE_IGNORE: case ATTRIBUTE_PRIORITY: break;
      case ATTRIBUTE_COOPERATIVE: is_cooperative = words[0] != 0; break;
      case ATTRIBUTE_CLUSTER: REQUIRE(words[0] == 1 && words[1] == 1 && words[2] == 1, CUDA_NOT_SUPPORTED); break;
      default: return CUDA_NOT_SUPPORTED;
    }
  }
  const struct shape shape = {{config->gridDimX, config->gridDimY, config->gridDimZ},
                              {config->blockDimX, config->blockDimY, config->blockDimZ},
                              config->sharedMemBytes};
  return launch(current, function, &shape, config->hStream, params, extra, is_cooperative);
}
