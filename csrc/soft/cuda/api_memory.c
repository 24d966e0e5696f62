/* Allocating, registering and asking about memory. */
#define _GNU_SOURCE
#include "state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  ENTER_CONTEXT();
  REQUIRE(free_bytes != NULL && total != NULL, CUDA_INVALID_VALUE);
  lock(instance);
  *free_bytes = current->device->pool.size - current->device->pool.used;
  *total = current->device->pool.size;
  unlock(instance);
  return CUDA_SUCCESS;
}

static CUresult allocate(CUcontext current, enum memory_kind kind, size_t size, uint32_t flags, uint64_t *out) {
  REQUIRE(size > 0, CUDA_INVALID_VALUE);
  REQUIRE(size < UINT64_C(1) << 46, CUDA_OUT_OF_MEMORY);
  struct allocation *one;
  lock(current->instance);
  const CUresult failed = memory_allocate(current, kind, USE_PROGRAM, size, flags, NULL, &one);
  if (failed == CUDA_SUCCESS) *out = one->address;
  unlock(current->instance);
  return failed;
}

CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t size) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  uint64_t address;
  const CUresult failed = allocate(current, MEMORY_DEVICE, size, 0, &address);
  if (failed == CUDA_SUCCESS) *out = address;
  return failed;
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *out, size_t *pitch, size_t width, size_t height, unsigned int element) {
  enum { PITCH = 512 };
  ENTER_CONTEXT();
  REQUIRE(out != NULL && pitch != NULL && width > 0 && height > 0, CUDA_INVALID_VALUE);
  REQUIRE(element == 4 || element == 8 || element == 16, CUDA_INVALID_VALUE);
  REQUIRE(width <= INT32_MAX, CUDA_INVALID_VALUE);
  const size_t wide = (width + PITCH - 1) / PITCH * PITCH;
  size_t size;
  REQUIRE(!__builtin_mul_overflow(wide, height, &size), CUDA_OUT_OF_MEMORY);
  uint64_t address;
  const CUresult failed = allocate(current, MEMORY_DEVICE, size, 0, &address);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  *out = address;
  *pitch = wide;
  return CUDA_SUCCESS;
}

enum { ATTACH_GLOBAL = 1, ATTACH_HOST = 2 };

CUresult cuMemAllocManaged(CUdeviceptr *out, size_t size, unsigned int flags) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL && (flags == ATTACH_GLOBAL || flags == ATTACH_HOST), CUDA_INVALID_VALUE);
  uint64_t address;
  const CUresult failed = allocate(current, MEMORY_MANAGED, size, flags, &address);
  if (failed == CUDA_SUCCESS) *out = address;
  return failed;
}

/* Gives memory of the host back: kernels that are in it leave it first. Without the lock. */
static void take_away(struct cuda_instance *instance, struct allocation *one) {
  if (one->kind != MEMORY_DEVICE) memory_settle(instance);
  lock(instance);
  memory_discard(one);
  unlock(instance);
}

/* Frees what begins at exactly this address and is of one of two kinds. */
static CUresult release(CUcontext current, uint64_t address, enum memory_kind kind, enum memory_kind other,
                        CUresult unknown) {
  struct cuda_instance *instance = current->instance;
  lock(instance);
  const CUresult failed = context_wait(current);
  struct allocation *one = memory_holding(instance, address, 1);
  const bool is_one = one != NULL && one->address == address && (one->kind == kind || one->kind == other) &&
                      one->use == USE_PROGRAM && !one->is_freed;
  if (failed == CUDA_SUCCESS && is_one) memory_detach(one);
  unlock(instance);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  REQUIRE(is_one, unknown);
  take_away(instance, one);
  return CUDA_SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr address) {
  ENTER_CONTEXT();
  return release(current, address, MEMORY_DEVICE, MEMORY_MANAGED, CUDA_INVALID_VALUE);
}

/* ---- in stream order ------------------------------------------------------------------------------------------------- */

CUresult cuMemAllocAsync(CUdeviceptr *out, size_t size, CUstream stream) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  lock(instance);
  const bool is_one = stream_named(current, stream) != NULL;
  unlock(instance);
  REQUIRE(is_one, CUDA_INVALID_HANDLE);
  /* Allocating sooner than the stream gets there is allowed. */
  uint64_t address;
  const CUresult failed = allocate(current, MEMORY_DEVICE, size, 0, &address);
  if (failed == CUDA_SUCCESS) *out = address;
  return failed;
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
  ENTER_CONTEXT();
  lock(instance);
  CUstream queue = stream_named(current, stream);
  struct allocation *one = memory_holding(instance, address, 1);
  CUresult result = CUDA_INVALID_VALUE;
  if (queue == NULL) {
    result = CUDA_INVALID_HANDLE;
  } else if (one != NULL && one->address == address && one->kind == MEMORY_DEVICE && one->use == USE_PROGRAM &&
             !one->is_freed) {
    struct work *work = work_new(WORK_FREE);
    result = CUDA_OUT_OF_MEMORY;
    if (work != NULL) {
      work->freed = one;
      result = stream_enqueue(queue, work);
      one->is_freed = result == CUDA_SUCCESS;
    }
  }
  unlock(instance);
  return result;
}

/* ---- host memory ----------------------------------------------------------------------------------------------------- */

CUresult cuMemHostAlloc(void **out, size_t size, unsigned int flags) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL && flags <= 7, CUDA_INVALID_VALUE);
  uint64_t address;
  const CUresult failed = allocate(current, MEMORY_PINNED, size, flags, &address);
  if (failed == CUDA_SUCCESS) *out = (void *)(uintptr_t)address;
  return failed;
}

CUresult cuMemAllocHost_v2(void **out, size_t size) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  uint64_t address;
  const CUresult failed = allocate(current, MEMORY_PINNED, size, 0, &address);
  if (failed == CUDA_SUCCESS) *out = (void *)(uintptr_t)address;
  return failed;
}

#define HOST(pointer) ((uint64_t)(uintptr_t)(pointer))

CUresult cuMemFreeHost(void *address) {
  ENTER_CONTEXT();
  return release(current, HOST(address), MEMORY_PINNED, MEMORY_PINNED, CUDA_INVALID_VALUE);
}

/* Every page is there. Only whether, not what: mincore answers for I/O memory too. */
static bool is_mapped(uint64_t address, uint64_t size) {
  const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  for (uint64_t at = address & ~(page - 1); at < address + size; at += page) {
    unsigned char resident;
    if (mincore((void *)(uintptr_t)at, page, &resident) != 0) return false;
  }
  return true;
}

CUresult cuMemHostRegister_v2(void *address, size_t size, unsigned int flags) {
  ENTER_CONTEXT();
  const uint64_t start = HOST(address), end = start + size;
  REQUIRE(address != NULL && size > 0 && flags <= 15 && end > start && end <= DEVICE_ADDRESSES, CUDA_INVALID_VALUE);
  REQUIRE(is_mapped(start, size), CUDA_INVALID_VALUE);
  lock(instance);
  bool is_known = false;
  for (size_t i = 0; i < instance->memory_count; i++) {
    const struct allocation *one = instance->memory[i];
    is_known |= one->address < end && start < one->address + one->size;
  }
  struct allocation *one;
  const CUresult result = is_known ? CUDA_HOST_MEMORY_ALREADY_REGISTERED
                                   : memory_allocate(current, MEMORY_REGISTERED, USE_PROGRAM, size, flags, address, &one);
  unlock(instance);
  return result;
}

CUresult cuMemHostUnregister(void *address) {
  ENTER_CONTEXT();
  return release(current, HOST(address), MEMORY_REGISTERED, MEMORY_REGISTERED, CUDA_HOST_MEMORY_NOT_REGISTERED);
}

/* The pinned or registered memory that holds an address, or NULL. With the lock held. */
static struct allocation *host_memory(CUcontext current, const void *address) {
  struct allocation *one = memory_holding(current->instance, HOST(address), 1);
  return one != NULL && one->kind != MEMORY_DEVICE && one->kind != MEMORY_MANAGED && memory_is_visible(current, one) ? one
                                                                                                                     : NULL;
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *out, void *address, unsigned int flags) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL && flags == 0, CUDA_INVALID_VALUE);
  lock(instance);
  const bool is_one = host_memory(current, address) != NULL;
  unlock(instance);
  REQUIRE(is_one, CUDA_INVALID_VALUE);
  *out = HOST(address);
  return CUDA_SUCCESS;
}

CUresult cuMemHostGetFlags(unsigned int *flags, void *address) {
  ENTER_CONTEXT();
  REQUIRE(flags != NULL, CUDA_INVALID_VALUE);
  lock(instance);
  const struct allocation *one = host_memory(current, address);
  const uint32_t found = one == NULL ? 0 : one->flags;
  unlock(instance);
  REQUIRE(one != NULL, CUDA_INVALID_VALUE);
  *flags = found;
  return CUDA_SUCCESS;
}

/* ---- questions ------------------------------------------------------------------------------------------------------- */

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address) {
  ENTER_CONTEXT();
  lock(instance);
  const struct allocation *one = memory_holding(instance, address, 1);
  if (one != NULL && base != NULL) *base = one->address;
  if (one != NULL && size != NULL) *size = one->size;
  unlock(instance);
  return one == NULL ? CUDA_NOT_FOUND : CUDA_SUCCESS;
}

/* CUpointer_attribute */
enum {
  POINTER_CONTEXT = 1,
  POINTER_TYPE = 2,
  POINTER_DEVICE = 3,
  POINTER_HOST = 4,
  POINTER_SYNC_MEMOPS = 6,
  POINTER_BUFFER_ID = 7,
  POINTER_IS_MANAGED = 8,
  POINTER_ORDINAL = 9,
  POINTER_IS_LEGACY_IPC = 10,
  POINTER_RANGE_START = 11,
  POINTER_RANGE_SIZE = 12,
  POINTER_MAPPED = 13,
  POINTER_HANDLE_TYPES = 14,
  POINTER_RDMA = 15,
  POINTER_ACCESS = 16,
  POINTER_POOL = 17,
  POINTER_LAST = 21,
};

static uint32_t attribute_bytes(CUpointer_attribute attribute) {
  switch (attribute) {
    case POINTER_CONTEXT: case POINTER_DEVICE: case POINTER_HOST: case POINTER_BUFFER_ID: case POINTER_RANGE_START:
    case POINTER_RANGE_SIZE: case POINTER_HANDLE_TYPES: case POINTER_POOL: return 8;
    default: return 4;
  }
}

/* The value of an attribute. False where the memory has none. With the lock held. */
static bool attribute_value(const struct allocation *one, CUpointer_attribute attribute, uint64_t address, uint64_t *out) {
  const bool is_host = one->kind == MEMORY_PINNED || one->kind == MEMORY_REGISTERED, is_managed = one->kind == MEMORY_MANAGED;
  *out = 0;
  switch (attribute) {
    case POINTER_CONTEXT: *out = (uint64_t)(uintptr_t)one->context; return true;
    case POINTER_TYPE: *out = is_host ? 1 : 2; return true;
    case POINTER_DEVICE: *out = address; return true;
    case POINTER_HOST: *out = address; return is_host || is_managed;
    case POINTER_SYNC_MEMOPS: *out = (uint64_t)one->sync_memops; return true;
    case POINTER_BUFFER_ID: *out = one->id; return true;
    case POINTER_IS_MANAGED: *out = is_managed; return true;
    case POINTER_ORDINAL: *out = (uint64_t)one->context->device->ordinal; return true;
    case POINTER_IS_LEGACY_IPC: case POINTER_HANDLE_TYPES: case POINTER_RDMA: case POINTER_POOL: return true;
    case POINTER_RANGE_START: *out = one->address; return true;
    case POINTER_RANGE_SIZE: *out = one->size; return true;
    case POINTER_MAPPED: *out = 1; return true;
    case POINTER_ACCESS: *out = one->kind == MEMORY_REGISTERED && (one->flags & REGISTER_READ_ONLY) != 0 ? 1 : 3; return true;
    default: return false;
  }
}

CUresult cuPointerGetAttribute(void *out, CUpointer_attribute attribute, CUdeviceptr address) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  uint64_t value = 0;
  lock(instance);
  const struct allocation *one = memory_holding(instance, address, 1);
  const bool is_there = one != NULL && attribute_value(one, attribute, address, &value);
  unlock(instance);
  REQUIRE(is_there, CUDA_INVALID_VALUE);
  memcpy(out, &value, attribute_bytes(attribute));
  return CUDA_SUCCESS;
}

/* Of an address that is not known all are zero, and the ordinal is that of no device. */
CUresult cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **values, CUdeviceptr address) {
  enum { NO_DEVICE = -2 };
  ENTER_CONTEXT();
  REQUIRE(count > 0 && attributes != NULL && values != NULL, CUDA_INVALID_VALUE);
  for (unsigned i = 0; i < count; i++) {
    REQUIRE(attributes[i] >= 1 && attributes[i] <= POINTER_LAST && values[i] != NULL, CUDA_INVALID_VALUE);
  }
  lock(instance);
  const struct allocation *one = memory_holding(instance, address, 1);
  for (unsigned i = 0; i < count; i++) {
    uint64_t value = 0;
    if (one == NULL && attributes[i] == POINTER_ORDINAL) value = (uint64_t)NO_DEVICE;
    if (one != NULL && !attribute_value(one, attributes[i], address, &value)) value = 0;
    memcpy(values[i], &value, attribute_bytes(attributes[i]));
  }
  unlock(instance);
  return CUDA_SUCCESS;
}

CUresult cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr address) {
  ENTER_CONTEXT();
  REQUIRE(value != NULL && attribute == POINTER_SYNC_MEMOPS, CUDA_INVALID_VALUE);
  lock(instance);
  struct allocation *one = memory_holding(instance, address, 1);
  if (one != NULL) memcpy(&one->sync_memops, value, sizeof one->sync_memops);
  unlock(instance);
  return one == NULL ? CUDA_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuMemGetHandleForAddressRange(void *out, CUdeviceptr address, size_t size, CUmemRangeHandleType type,
                                       unsigned long long flags) {
  ENTER_CONTEXT();
  (void)out, (void)address, (void)size, (void)type, (void)flags;
  return CUDA_NOT_SUPPORTED;
}

CUresult cuFlushGPUDirectRDMAWrites(CUflushGPUDirectRDMAWritesTarget target, CUflushGPUDirectRDMAWritesScope scope) {
  ENTER_CONTEXT();
  (void)target, (void)scope;
  return CUDA_NOT_SUPPORTED;
}
