/* The one device: names, numbers, attributes. What never changes is asked once. */
#define _GNU_SOURCE
#include "shim.h"

#include <string.h>

CUresult cuDeviceGetCount(int *count) {
  TRY(enter());
  REQUIRE(count != NULL, CUDA_INVALID_VALUE);
  *count = (window_read32(REG_STATUS) & STATUS_READY) != 0;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  TRY(enter());
  REQUIRE(device != NULL, CUDA_INVALID_VALUE);
  REQUIRE(ordinal == 0, CUDA_INVALID_DEVICE);
  *device = 0;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int size, CUdevice device) {
  TRY(enter());
  REQUIRE(device == 0, CUDA_INVALID_DEVICE);
  REQUIRE(name != NULL && size > 0, CUDA_INVALID_VALUE);
  uint64_t words[TYPE2_NAME_BYTES / 8];
  for (uint32_t i = 0; i < TYPE2_NAME_BYTES / 8; i++) words[i] = window_read64(TYPE2_NAME_OFFSET + 8 * i);
  const size_t length = strnlen((const char *)words, sizeof words);
  const size_t kept = length < (size_t)size - 1 ? length : (size_t)size - 1;
  memcpy(name, words, kept);
  name[kept] = '\0';
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  TRY(enter());
  REQUIRE(device == 0, CUDA_INVALID_DEVICE);
  REQUIRE(bytes != NULL, CUDA_INVALID_VALUE);
  *bytes = window_read64(REG_TOTAL_MEM);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  enum { MOST = 160 };
  static int known[MOST];
  static uint8_t has[MOST];
  TRY(enter());
  REQUIRE(device == 0, CUDA_INVALID_DEVICE);
  REQUIRE(value != NULL && attribute > 0, CUDA_INVALID_VALUE);
  /* Two threads that ask at once store the same. Acquire: who sees that it is known sees its value. */
  if (attribute < MOST && __atomic_load_n(&has[attribute], __ATOMIC_ACQUIRE) != 0) {
    *value = __atomic_load_n(&known[attribute], __ATOMIC_RELAXED);
    return CUDA_SUCCESS;
  }
  struct request request = {.code = CMD_DEVICE_ATTRIBUTE, .params = {attribute}};
  TRY(window_run(&request));
  *value = (int)request.results[0];
  if (attribute < MOST) {
    __atomic_store_n(&known[attribute], *value, __ATOMIC_RELAXED);
    __atomic_store_n(&has[attribute], 1, __ATOMIC_RELEASE);
  }
  return CUDA_SUCCESS;
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
  TRY(enter());
  REQUIRE(device == 0, CUDA_INVALID_DEVICE);
  REQUIRE(major != NULL && minor != NULL, CUDA_INVALID_VALUE);
  *major = (int)window_read32(REG_CC_MAJOR);
  *minor = (int)window_read32(REG_CC_MINOR);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
  TRY(enter());
  REQUIRE(device == 0, CUDA_INVALID_DEVICE);
  REQUIRE(uuid != NULL, CUDA_INVALID_VALUE);
  memcpy(uuid->bytes, "busbar cxl type2", 16);
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) { return cuDeviceGetUuid(uuid, device); }
