/* Devices: how many, what they are, limits and peers. */
#include "cudart.h"

#include <string.h>

API cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDeviceCount(int *count) {
  CHECK(count != NULL, INVALID_VALUE);
  *count = 0;
  START();
  const CUresult failed = driver.cuDeviceGetCount(count);
  return finish(failed == SUCCESS && *count == 0 ? NO_DEVICE : (cudaError_t)failed);
}

API cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaDriverGetVersion(int *version) {
  CHECK(version != NULL, INVALID_VALUE);
  *version = 0;
  /* Without a driver the version is 0, and that is no failure. */
  return runtime_start() == INSUFFICIENT_DRIVER ? SUCCESS : finish(driver.cuDriverGetVersion(version));
}

API cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version) {
  CHECK(version != NULL, INVALID_VALUE);
  *version = BUSBAR_CUDART * 1000;
  return SUCCESS;
}

API cudaError_t cudaDeviceGetAttribute(int *value, CUdevice_attribute attribute, int device);
cudaError_t cudaDeviceGetAttribute(int *value, CUdevice_attribute attribute, int device) {
  START();
  CUdevice handle;
  const CUresult failed = driver.cuDeviceGet(&handle, device);
  CHECK(failed == SUCCESS, failed);
  return finish(driver.cuDeviceGetAttribute(value, attribute, handle));
}

/* The layouts of driver_types.h; 13 dropped what cudaDeviceGetAttribute tells better. */
struct properties {
  char name[256];
  CUuuid uuid;
  char luid[8];
  unsigned int luidDeviceNodeMask;
  size_t totalGlobalMem, sharedMemPerBlock;
  int regsPerBlock, warpSize;
  size_t memPitch;
  int maxThreadsPerBlock, maxThreadsDim[3], maxGridSize[3];
#if BUSBAR_CUDART < 13
  int clockRate;
#endif
  size_t totalConstMem;
  int major, minor;
  size_t textureAlignment, texturePitchAlignment;
#if BUSBAR_CUDART < 13
  int deviceOverlap;
#endif
  int multiProcessorCount;
#if BUSBAR_CUDART < 13
  int kernelExecTimeoutEnabled;
#endif
  int integrated, canMapHostMemory;
#if BUSBAR_CUDART < 13
  int computeMode;
#endif
  int maxTexture1D, maxTexture1DMipmap;
#if BUSBAR_CUDART < 13
  int maxTexture1DLinear;
#endif
  int maxTexture2D[2], maxTexture2DMipmap[2], maxTexture2DLinear[3], maxTexture2DGather[2], maxTexture3D[3];
  int maxTexture3DAlt[3], maxTextureCubemap, maxTexture1DLayered[2], maxTexture2DLayered[3], maxTextureCubemapLayered[2];
  int maxSurface1D, maxSurface2D[2], maxSurface3D[3], maxSurface1DLayered[2], maxSurface2DLayered[3];
  int maxSurfaceCubemap, maxSurfaceCubemapLayered[2];
  size_t surfaceAlignment;
  int concurrentKernels, ECCEnabled, pciBusID, pciDeviceID, pciDomainID, tccDriver, asyncEngineCount, unifiedAddressing;
#if BUSBAR_CUDART < 13
  int memoryClockRate;
#endif
  int memoryBusWidth, l2CacheSize, persistingL2CacheMaxSize, maxThreadsPerMultiProcessor, streamPrioritiesSupported;
  int globalL1CacheSupported, localL1CacheSupported;
  size_t sharedMemPerMultiprocessor;
  int regsPerMultiprocessor, managedMemory, isMultiGpuBoard, multiGpuBoardGroupID, hostNativeAtomicSupported;
#if BUSBAR_CUDART < 13
  int singleToDoublePrecisionPerfRatio;
#endif
  int pageableMemoryAccess, concurrentManagedAccess, computePreemptionSupported, canUseHostPointerForRegisteredMem;
  int cooperativeLaunch;
#if BUSBAR_CUDART < 13
  int cooperativeMultiDeviceLaunch;
#endif
  size_t sharedMemPerBlockOptin;
  int pageableMemoryAccessUsesHostPageTables, directManagedMemAccessFromHost, maxBlocksPerMultiProcessor;
  int accessPolicyMaxWindowSize;
  size_t reservedSharedMemPerBlock;
  int hostRegisterSupported, sparseCudaArraySupported, hostRegisterReadOnlySupported, timelineSemaphoreInteropSupported;
  int memoryPoolsSupported, gpuDirectRDMASupported;
  unsigned int gpuDirectRDMAFlushWritesOptions;
  int gpuDirectRDMAWritesOrdering;
  unsigned int memoryPoolSupportedHandleTypes;
  int deferredMappingCudaArraySupported, ipcEventSupported, clusterLaunch, unifiedFunctionPointers;
#if BUSBAR_CUDART < 13
  int reserved[63];
#else
  int deviceNumaConfig, deviceNumaId, mpsEnabled, hostNumaId;
  unsigned int gpuPciDeviceID, gpuPciSubsystemID;
  int hostNumaMultinodeIpcSupported;
  int reserved[56];
#endif
};

/* Members that are attributes of the driver: where they stand and how wide they are. */
#define INT(member, attribute) {offsetof(struct properties, member), attribute, sizeof(int)}
#define SIZE(member, attribute) {offsetof(struct properties, member), attribute, sizeof(size_t)}
static const struct {
  uint16_t offset, attribute, bytes;
} MEMBERS[] = {
    SIZE(sharedMemPerBlock, 8), INT(regsPerBlock, 12), INT(warpSize, 10), SIZE(memPitch, 11), INT(maxThreadsPerBlock, 1),
    INT(maxThreadsDim[0], 2), INT(maxThreadsDim[1], 3), INT(maxThreadsDim[2], 4), INT(maxGridSize[0], 5),
    INT(maxGridSize[1], 6), INT(maxGridSize[2], 7), SIZE(totalConstMem, 9), INT(major, 75), INT(minor, 76),
    INT(multiProcessorCount, 16), INT(integrated, 18), INT(canMapHostMemory, 19), INT(concurrentKernels, 31),
    INT(ECCEnabled, 32), INT(pciBusID, 33), INT(pciDeviceID, 34), INT(pciDomainID, 50), INT(asyncEngineCount, 40),
    INT(unifiedAddressing, 41), INT(memoryBusWidth, 37), INT(l2CacheSize, 38), INT(maxThreadsPerMultiProcessor, 39),
    INT(streamPrioritiesSupported, 78), INT(globalL1CacheSupported, 79), INT(localL1CacheSupported, 80),
    SIZE(sharedMemPerMultiprocessor, 81), INT(regsPerMultiprocessor, 82), INT(managedMemory, 83), INT(isMultiGpuBoard, 84),
    INT(multiGpuBoardGroupID, 85), INT(hostNativeAtomicSupported, 86), INT(pageableMemoryAccess, 88),
    INT(concurrentManagedAccess, 89), INT(computePreemptionSupported, 90), INT(canUseHostPointerForRegisteredMem, 91),
    INT(cooperativeLaunch, 95), SIZE(sharedMemPerBlockOptin, 97), INT(pageableMemoryAccessUsesHostPageTables, 100),
    INT(directManagedMemAccessFromHost, 101), INT(maxBlocksPerMultiProcessor, 106), SIZE(reservedSharedMemPerBlock, 111),
    INT(hostRegisterSupported, 99), INT(hostRegisterReadOnlySupported, 113), INT(memoryPoolsSupported, 115),
    INT(gpuDirectRDMASupported, 116), INT(clusterLaunch, 120),
#if BUSBAR_CUDART < 13
    INT(clockRate, 13), INT(memoryClockRate, 36), INT(deviceOverlap, 15), INT(kernelExecTimeoutEnabled, 17),
    INT(computeMode, 20), INT(singleToDoublePrecisionPerfRatio, 87),
#endif
};

static cudaError_t get_properties(struct properties *out, int device) {
  START();
  CHECK(out != NULL, INVALID_VALUE);
  CUdevice handle;
  CUresult failed = driver.cuDeviceGet(&handle, device);
  CHECK(failed == SUCCESS, failed);
  memset(out, 0, sizeof *out);
  failed = driver.cuDeviceGetName(out->name, sizeof out->name, handle);
  if (failed == SUCCESS) failed = driver.cuDeviceGetUuid_v2(&out->uuid, handle);
  if (failed == SUCCESS) failed = driver.cuDeviceTotalMem_v2(&out->totalGlobalMem, handle);
  CHECK(failed == SUCCESS, failed);
  for (size_t i = 0; i < sizeof MEMBERS / sizeof *MEMBERS; i++) {
    int value = 0;
    /* An attribute that the driver is too old for stays 0. */
    if (driver.cuDeviceGetAttribute(&value, MEMBERS[i].attribute, handle) != SUCCESS) continue;
    const size_t wide = (size_t)value;
    memcpy((char *)out + MEMBERS[i].offset, MEMBERS[i].bytes == sizeof(int) ? (const void *)&value : &wide, MEMBERS[i].bytes);
  }
  return SUCCESS;
}

API cudaError_t cudaGetDeviceProperties(struct properties *out, int device);
cudaError_t cudaGetDeviceProperties(struct properties *out, int device) { return get_properties(out, device); }
#if BUSBAR_CUDART < 13
API cudaError_t cudaGetDeviceProperties_v2(struct properties *out, int device);
cudaError_t cudaGetDeviceProperties_v2(struct properties *out, int device) { return get_properties(out, device); }
#endif

#define FORWARD(name, params, call)     \
  API cudaError_t name params;          \
  cudaError_t name params {             \
    CONTEXT();                          \
    return finish(driver.call);         \
  }
FORWARD(cudaDeviceSetLimit, (CUlimit limit, size_t value), cuCtxSetLimit(limit, value))
FORWARD(cudaDeviceGetLimit, (size_t *value, CUlimit limit), cuCtxGetLimit(value, limit))
FORWARD(cudaDeviceSetCacheConfig, (CUfunc_cache config), cuCtxSetCacheConfig(config))
FORWARD(cudaDeviceGetCacheConfig, (CUfunc_cache *config), cuCtxGetCacheConfig(config))
FORWARD(cudaDeviceGetStreamPriorityRange, (int *least, int *greatest), cuCtxGetStreamPriorityRange(least, greatest))
FORWARD(cudaDeviceGetPCIBusId, (char *text, int length, int device), cuDeviceGetPCIBusId(text, length, device))
FORWARD(cudaDeviceGetByPCIBusId, (int *device, const char *text), cuDeviceGetByPCIBusId(device, text))
FORWARD(cudaDeviceCanAccessPeer, (int *can, int device, int peer), cuDeviceCanAccessPeer(can, device, peer))
FORWARD(cudaGetDeviceFlags, (unsigned int *flags), cuCtxGetFlags(flags))

API cudaError_t cudaSetDeviceFlags(unsigned int flags);
cudaError_t cudaSetDeviceFlags(unsigned int flags) {
  START();
  int device;
  current_device(&device);
  return finish(driver.cuDevicePrimaryCtxSetFlags_v2(device, flags));
}

/* The primary context of another device, kept as this runtime's own for the process. */
static cudaError_t peer_context(int device, CUcontext *out) {
  int own;
  current_device(&own);
  cudaError_t failed = SUCCESS;
  API cudaError_t cudaSetDevice(int);
  failed = cudaSetDevice(device);
  if (failed == SUCCESS) failed = driver.cuCtxGetCurrent(out);
  const cudaError_t back = cudaSetDevice(own);
  return failed != SUCCESS ? failed : back;
}

API cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned int flags);
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned int flags) {
  CONTEXT();
  CUcontext context;
  const cudaError_t failed = peer_context(peer, &context);
  CHECK(failed == SUCCESS, failed);
  return finish(driver.cuCtxEnablePeerAccess(context, flags));
}
API cudaError_t cudaDeviceDisablePeerAccess(int peer);
cudaError_t cudaDeviceDisablePeerAccess(int peer) {
  CONTEXT();
  CUcontext context;
  const cudaError_t failed = peer_context(peer, &context);
  CHECK(failed == SUCCESS, failed);
  return finish(driver.cuCtxDisablePeerAccess(context));
}
API cudaError_t cudaMemcpyPeer(void *to, int to_device, const void *from, int from_device, size_t size);
cudaError_t cudaMemcpyPeer(void *to, int to_device, const void *from, int from_device, size_t size) {
  CONTEXT();
  CUcontext contexts[2];
  cudaError_t failed = peer_context(to_device, &contexts[0]);
  if (failed == SUCCESS) failed = peer_context(from_device, &contexts[1]);
  CHECK(failed == SUCCESS, failed);
  return finish(driver.cuMemcpyPeer(DEVICE_POINTER(to), contexts[0], DEVICE_POINTER(from), contexts[1], size));
}
