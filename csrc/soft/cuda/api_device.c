/* Starting the driver, its devices and what they are. */
#define _GNU_SOURCE
#include "state.h"

#include <stdlib.h>
#include <string.h>

CUresult cuInit(unsigned int flags) {
  struct cuda_instance *instance;
  const CUresult failed = enter_early(__func__, &instance);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  REQUIRE(flags == 0, CUDA_INVALID_VALUE);
  REQUIRE(instance->settings.devices > 0, CUDA_NO_DEVICE);
  instance->is_initialised = true;
  return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version) {
  struct cuda_instance *instance;
  const CUresult failed = enter_early(__func__, &instance);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  REQUIRE(version != NULL, CUDA_INVALID_VALUE);
  *version = (int)instance->settings.version;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count) {
  ENTER();
  REQUIRE(count != NULL, CUDA_INVALID_VALUE);
  *count = (int)instance->settings.devices;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  ENTER_DEVICE(ordinal);
  REQUIRE(device != NULL, CUDA_INVALID_VALUE);
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int size, CUdevice device) {
  ENTER_DEVICE(device);
  REQUIRE(name != NULL && size > 0, CUDA_INVALID_VALUE);
  snprintf(name, (size_t)size, "busbar software CUDA device");
  return CUDA_SUCCESS;
}

static void uuid_of(CUdevice device, CUuuid *uuid) {
  memcpy(uuid->bytes, "busbar-software", 16);
  uuid->bytes[15] = (char)device;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
  ENTER_DEVICE(device);
  REQUIRE(uuid != NULL, CUDA_INVALID_VALUE);
  uuid_of(device, uuid);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
  ENTER_DEVICE(device);
  REQUIRE(uuid != NULL, CUDA_INVALID_VALUE);
  uuid_of(device, uuid);
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  ENTER_DEVICE(device);
  REQUIRE(bytes != NULL, CUDA_INVALID_VALUE);
  *bytes = device_of_call->pool.size;
  return CUDA_SUCCESS;
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
  ENTER_DEVICE(device);
  REQUIRE(major != NULL && minor != NULL, CUDA_INVALID_VALUE);
  *major = (int)(instance->settings.capability / 10);
  *minor = (int)(instance->settings.capability % 10);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  /* By CUdevice_attribute; what is in neither list is 0. */
  static const struct {
    uint16_t attribute;
    int value;
  } FIXED[] = {{1, MOST_BLOCK_THREADS}, {2, 1024}, {3, 1024}, {4, 64}, {5, INT32_MAX}, {6, 65535}, {7, 65535},
               {8, SHARED_BYTES}, {9, CONST_BYTES}, {10, WARP_THREADS}, {11, INT32_MAX}, {12, REGISTERS}, {15, 1}, {19, 1},
               {31, 1}, {40, 2}, {41, 1}, {78, 1}, {79, 1}, {80, 1}, {82, REGISTERS}, {83, 1}, {85, -1}, {86, 1}, {87, 2},
               {89, 1}, {90, 1}, {91, 1}, {92, 1}, {93, 1}, {94, 1}, {95, 1}, {99, 1}, {113, 1}, {122, 1}, {123, 1},
               {134, -1}};
  enum { LAST = 147 };
  ENTER_DEVICE(device);
  REQUIRE(value != NULL && attribute >= 1 && attribute <= LAST, CUDA_INVALID_VALUE);
  const struct settings *settings = &instance->settings;
  const struct profile *profile = settings->profile;
  const struct {
    uint16_t attribute;
    uint32_t value;
  } OF_CARD[] = {{13, profile->clock_khz}, {16, profile->multiprocessors}, {33, settings->bus + (uint32_t)device},
                 {36, profile->memory_khz}, {37, profile->bus_bits}, {38, profile->l2_bytes},
                 {39, profile->threads_per_multiprocessor}, {50, settings->domain}, {75, settings->capability / 10},
                 {76, settings->capability % 10}, {81, profile->shared_per_multiprocessor}, {84, 0},
                 {97, profile->shared_opt_in}, {106, profile->blocks_per_multiprocessor},
                 {111, settings->capability >= 80 ? 1024 : 0}, {116, settings->rdma}};
  *value = 0;
  for (size_t i = 0; i < sizeof FIXED / sizeof *FIXED; i++) {
    if (FIXED[i].attribute == attribute) *value = FIXED[i].value;
  }
  for (size_t i = 0; i < sizeof OF_CARD / sizeof *OF_CARD; i++) {
    if (OF_CARD[i].attribute == attribute) *value = (int)OF_CARD[i].value;
  }
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char *text, int size, CUdevice device) {
  ENTER_DEVICE(device);
  REQUIRE(text != NULL && size >= 13, CUDA_INVALID_VALUE);
  snprintf(text, (size_t)size, "%04X:%02X:00.0", instance->settings.domain, instance->settings.bus + (uint32_t)device);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetByPCIBusId(CUdevice *device, const char *text) {
  ENTER();
  REQUIRE(device != NULL && text != NULL, CUDA_INVALID_VALUE);
  unsigned domain = 0, bus = 0, slot = 0, function = 0;
  if (sscanf(text, "%x:%x:%x.%x", &domain, &bus, &slot, &function) < 3) {
    domain = 0;
    REQUIRE(sscanf(text, "%x:%x.%x", &bus, &slot, &function) >= 2, CUDA_INVALID_VALUE);
  }
  const CUdevice found = (CUdevice)(bus - instance->settings.bus);
  REQUIRE(domain == instance->settings.domain && slot == 0 && function == 0 && is_device(instance, found),
          CUDA_INVALID_DEVICE);
  *device = found;
  return CUDA_SUCCESS;
}

CUresult cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer) {
  ENTER_DEVICE(device);
  REQUIRE(is_device(instance, peer), CUDA_INVALID_DEVICE);
  REQUIRE(can != NULL, CUDA_INVALID_VALUE);
  *can = device != peer;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice from, CUdevice to) {
  enum { ACCESS_SUPPORTED = 2, NATIVE_ATOMICS = 3, LAST = 5 };
  ENTER_DEVICE(from);
  REQUIRE(is_device(instance, to) && from != to, CUDA_INVALID_DEVICE);
  REQUIRE(value != NULL && attribute >= 1 && attribute <= LAST, CUDA_INVALID_VALUE);
  *value = attribute == ACCESS_SUPPORTED || attribute == NATIVE_ATOMICS;
  return CUDA_SUCCESS;
}

/* Nobody profiles, so there is nothing to start or stop. */
CUresult cuProfilerStart(void) {
  ENTER_CONTEXT();
  return CUDA_SUCCESS;
}
CUresult cuProfilerStop(void) {
  ENTER_CONTEXT();
  return CUDA_SUCCESS;
}
