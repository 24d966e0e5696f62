/*
 * The functions of the CUDA driver API that busbar speaks: one line each, as cuda.h of CUDA 13.0 declares them.
 *
 * From this one table come the callers in cuda.c, the declarations that the software device in csrc/soft/cuda fills and
 * the names that its cuGetProcAddress knows, and a test that compares every prototype with NVIDIA's header where there is
 * one. A line has: the name as the library exports it, the CUDA version that brought it (1000 x major + 10 x minor), an
 * older export with the same prototype to fall back on or "", the parameters, and their names. F0 is for functions
 * without parameters.
 */
#ifndef BUSBAR_CUDA_API_H
#define BUSBAR_CUDA_API_H

#include <stddef.h>
#include <stdint.h>

/* Where NVIDIA's header was included before, its types are used. */
#ifndef CUDA_VERSION
typedef int32_t CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUlib_st *CUlibrary;
typedef struct CUkern_st *CUkernel;
typedef struct CUlinkState_st *CUlinkState;
typedef struct CUarray_st *CUarray;
typedef struct {
  char bytes[16];
} CUuuid;
typedef uint32_t cuuint32_t;
typedef uint64_t cuuint64_t;
/* Enumerations: C compilers give them 32 bits. */
typedef uint32_t CUdevice_attribute;
typedef uint32_t CUdevice_P2PAttribute;
typedef uint32_t CUfunction_attribute;
typedef uint32_t CUpointer_attribute;
typedef uint32_t CUlimit;
typedef uint32_t CUmoduleLoadingMode;
typedef uint32_t CUmemRangeHandleType;
typedef uint32_t CUjit_option;
typedef uint32_t CUjitInputType;
typedef uint32_t CUlibraryOption;
typedef uint32_t CUfunc_cache;
typedef uint32_t CUmemorytype;
typedef uint32_t CUstreamCaptureStatus;
typedef uint32_t CUstreamCaptureMode;
typedef uint32_t CUdriverProcAddressQueryResult;
typedef uint32_t CUflushGPUDirectRDMAWritesTarget;
typedef uint32_t CUflushGPUDirectRDMAWritesScope;

typedef void (*CUhostFn)(void *data);
typedef void (*CUstreamCallback)(CUstream stream, CUresult status, void *data);
typedef size_t (*CUoccupancyB2DSize)(int block);

typedef struct {
  void *execAffinityParams;
  int numExecAffinityParams;
  void *cigParams;
} CUctxCreateParams;

typedef struct {
  uint32_t id;
  char pad[4];
  char value[64];
} CUlaunchAttribute;

typedef struct {
  unsigned int gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
  CUstream hStream;
  CUlaunchAttribute *attrs;
  unsigned int numAttrs;
} CUlaunchConfig;

typedef struct {
  size_t srcXInBytes, srcY;
  CUmemorytype srcMemoryType;
  const void *srcHost;
  CUdeviceptr srcDevice;
  CUarray srcArray;
  size_t srcPitch;
  size_t dstXInBytes, dstY;
  CUmemorytype dstMemoryType;
  void *dstHost;
  CUdeviceptr dstDevice;
  CUarray dstArray;
  size_t dstPitch;
  size_t WidthInBytes, Height;
} CUDA_MEMCPY2D;

typedef struct {
  size_t srcXInBytes, srcY, srcZ, srcLOD;
  CUmemorytype srcMemoryType;
  const void *srcHost;
  CUdeviceptr srcDevice;
  CUarray srcArray;
  void *reserved0;
  size_t srcPitch, srcHeight;
  size_t dstXInBytes, dstY, dstZ, dstLOD;
  CUmemorytype dstMemoryType;
  void *dstHost;
  CUdeviceptr dstDevice;
  CUarray dstArray;
  void *reserved1;
  size_t dstPitch, dstHeight;
  size_t WidthInBytes, Height, Depth;
} CUDA_MEMCPY3D;
#endif

// clang-format off
#define BB_CUDA_FUNCTIONS(F, F0) \
  /* Step 1: what a first program calls. */ \
  F(cuInit, 2000, "", (unsigned int flags), (flags)) \
  F(cuDriverGetVersion, 2020, "", (int *version), (version)) \
  F(cuGetErrorName, 6000, "", (CUresult error, const char **text), (error, text)) \
  F(cuGetErrorString, 6000, "", (CUresult error, const char **text), (error, text)) \
  F(cuDeviceGetCount, 2000, "", (int *count), (count)) \
  F(cuDeviceGet, 2000, "", (CUdevice *device, int ordinal), (device, ordinal)) \
  F(cuDeviceGetName, 2000, "", (char *name, int size, CUdevice device), (name, size, device)) \
  F(cuDeviceTotalMem_v2, 3020, "", (size_t *bytes, CUdevice device), (bytes, device)) \
  F(cuDeviceGetAttribute, 2000, "", (int *value, CUdevice_attribute attribute, CUdevice device), (value, attribute, device)) \
  F(cuCtxCreate_v2, 3020, "", (CUcontext *out, unsigned int flags, CUdevice device), (out, flags, device)) \
  F(cuCtxDestroy_v2, 4000, "", (CUcontext target), (target)) \
  F0(cuCtxSynchronize, 2000) \
  F(cuMemAlloc_v2, 3020, "", (CUdeviceptr *out, size_t size), (out, size)) \
  F(cuMemFree_v2, 3020, "", (CUdeviceptr address), (address)) \
  F(cuMemGetInfo_v2, 3020, "", (size_t *free_bytes, size_t *total), (free_bytes, total)) \
  F(cuMemcpyHtoD_v2, 3020, "", (CUdeviceptr to, const void *from, size_t size), (to, from, size)) \
  F(cuMemcpyDtoH_v2, 3020, "", (void *to, CUdeviceptr from, size_t size), (to, from, size)) \
  /* Step 2: plain driver API programs. */ \
  F(cuModuleLoadData, 2000, "", (CUmodule *out, const void *image), (out, image)) \
  F(cuModuleLoadDataEx, 2010, "", (CUmodule *out, const void *image, unsigned int count, CUjit_option *options, void **values), (out, image, count, options, values)) \
  F(cuModuleUnload, 2000, "", (CUmodule module), (module)) \
  F(cuModuleGetFunction, 2000, "", (CUfunction *out, CUmodule module, const char *name), (out, module, name)) \
  F(cuModuleGetGlobal_v2, 3020, "", (CUdeviceptr *out, size_t *size, CUmodule module, const char *name), (out, size, module, name)) \
  F(cuLaunchKernel, 4000, "", (CUfunction function, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx, unsigned int by, unsigned int bz, unsigned int shared, CUstream stream, void **params, void **extra), (function, gx, gy, gz, bx, by, bz, shared, stream, params, extra)) \
  F(cuMemcpyDtoD_v2, 3020, "", (CUdeviceptr to, CUdeviceptr from, size_t size), (to, from, size)) \
  F(cuMemsetD8_v2, 3020, "", (CUdeviceptr to, unsigned char value, size_t count), (to, value, count)) \
  F(cuMemsetD16_v2, 3020, "", (CUdeviceptr to, unsigned short value, size_t count), (to, value, count)) \
  F(cuMemsetD32_v2, 3020, "", (CUdeviceptr to, unsigned int value, size_t count), (to, value, count)) \
  F(cuCtxGetCurrent, 4000, "", (CUcontext *out), (out)) \
  F(cuCtxSetCurrent, 4000, "", (CUcontext wanted), (wanted)) \
  F(cuCtxPushCurrent_v2, 4000, "", (CUcontext wanted), (wanted)) \
  F(cuCtxPopCurrent_v2, 4000, "", (CUcontext *out), (out)) \
  F(cuCtxGetDevice, 2000, "", (CUdevice *device), (device)) \
  F(cuDevicePrimaryCtxRetain, 7000, "", (CUcontext *out, CUdevice device), (out, device)) \
  F(cuDevicePrimaryCtxRelease_v2, 11000, "cuDevicePrimaryCtxRelease", (CUdevice device), (device)) \
  F(cuDevicePrimaryCtxGetState, 7000, "", (CUdevice device, unsigned int *flags, int *active), (device, flags, active)) \
  F(cuDevicePrimaryCtxSetFlags_v2, 11000, "cuDevicePrimaryCtxSetFlags", (CUdevice device, unsigned int flags), (device, flags)) \
  F(cuDevicePrimaryCtxReset_v2, 11000, "cuDevicePrimaryCtxReset", (CUdevice device), (device)) \
  F(cuStreamCreate, 2000, "", (CUstream *out, unsigned int flags), (out, flags)) \
  F(cuStreamDestroy_v2, 4000, "", (CUstream stream), (stream)) \
  F(cuStreamSynchronize, 2000, "", (CUstream stream), (stream)) \
  F(cuStreamQuery, 2000, "", (CUstream stream), (stream)) \
  F(cuEventCreate, 2000, "", (CUevent *out, unsigned int flags), (out, flags)) \
  F(cuEventDestroy_v2, 4000, "", (CUevent event), (event)) \
  F(cuEventRecord, 2000, "", (CUevent event, CUstream stream), (event, stream)) \
  F(cuEventQuery, 2000, "", (CUevent event), (event)) \
  F(cuEventSynchronize, 2000, "", (CUevent event), (event)) \
  F(cuEventElapsedTime, 2000, "cuEventElapsedTime_v2", (float *ms, CUevent start, CUevent end), (ms, start, end)) \
  F(cuPointerGetAttribute, 4000, "", (void *out, CUpointer_attribute attribute, CUdeviceptr address), (out, attribute, address)) \
  F(cuMemGetAddressRange_v2, 3020, "", (CUdeviceptr *base, size_t *size, CUdeviceptr address), (base, size, address)) \
  F(cuDeviceGetUuid, 9020, "", (CUuuid *uuid, CUdevice device), (uuid, device)) \
  F(cuDeviceGetUuid_v2, 11040, "cuDeviceGetUuid", (CUuuid *uuid, CUdevice device), (uuid, device)) \
  /* Step 3: looking functions up by name. */ \
  F(cuGetProcAddress, 11030, "", (const char *name, void **out, int version, cuuint64_t flags), (name, out, version, flags)) \
  F(cuGetProcAddress_v2, 12000, "", (const char *name, void **out, int version, cuuint64_t flags, CUdriverProcAddressQueryResult *status), (name, out, version, flags, status)) \
  F(cuGetExportTable, 3000, "", (const void **out, const CUuuid *which), (out, which)) \
  F(cuCtxCreate_v4, 12050, "", (CUcontext *out, CUctxCreateParams *parameters, unsigned int flags, CUdevice device), (out, parameters, flags, device)) \
  F(cuEventElapsedTime_v2, 12080, "cuEventElapsedTime", (float *ms, CUevent start, CUevent end), (ms, start, end)) \
  /* Step 4: asynchronous work and host memory. */ \
  F(cuMemcpyHtoDAsync_v2, 3020, "", (CUdeviceptr to, const void *from, size_t size, CUstream stream), (to, from, size, stream)) \
  F(cuMemcpyDtoHAsync_v2, 3020, "", (void *to, CUdeviceptr from, size_t size, CUstream stream), (to, from, size, stream)) \
  F(cuMemcpyDtoDAsync_v2, 3020, "", (CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream), (to, from, size, stream)) \
  F(cuMemsetD8Async, 3020, "", (CUdeviceptr to, unsigned char value, size_t count, CUstream stream), (to, value, count, stream)) \
  F(cuMemsetD16Async, 3020, "", (CUdeviceptr to, unsigned short value, size_t count, CUstream stream), (to, value, count, stream)) \
  F(cuMemsetD32Async, 3020, "", (CUdeviceptr to, unsigned int value, size_t count, CUstream stream), (to, value, count, stream)) \
  F(cuMemcpy, 4000, "", (CUdeviceptr to, CUdeviceptr from, size_t size), (to, from, size)) \
  F(cuMemcpyAsync, 4000, "", (CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream), (to, from, size, stream)) \
  F(cuMemAllocHost_v2, 3020, "", (void **out, size_t size), (out, size)) \
  F(cuMemHostAlloc, 2020, "", (void **out, size_t size, unsigned int flags), (out, size, flags)) \
  F(cuMemFreeHost, 2000, "", (void *address), (address)) \
  F(cuMemHostGetDevicePointer_v2, 3020, "", (CUdeviceptr *out, void *address, unsigned int flags), (out, address, flags)) \
  F(cuMemHostGetFlags, 2030, "", (unsigned int *flags, void *address), (flags, address)) \
  F(cuMemHostRegister_v2, 6050, "cuMemHostRegister", (void *address, size_t size, unsigned int flags), (address, size, flags)) \
  F(cuMemHostUnregister, 4000, "", (void *address), (address)) \
  F(cuStreamWaitEvent, 3020, "", (CUstream stream, CUevent event, unsigned int flags), (stream, event, flags)) \
  F(cuStreamCreateWithPriority, 5050, "", (CUstream *out, unsigned int flags, int priority), (out, flags, priority)) \
  F(cuCtxGetStreamPriorityRange, 5050, "", (int *least, int *greatest), (least, greatest)) \
  F(cuLaunchHostFunc, 10000, "", (CUstream stream, CUhostFn function, void *data), (stream, function, data)) \
  F(cuStreamAddCallback, 5000, "", (CUstream stream, CUstreamCallback callback, void *data, unsigned int flags), (stream, callback, data, flags)) \
  F(cuEventRecordWithFlags, 11010, "", (CUevent event, CUstream stream, unsigned int flags), (event, stream, flags)) \
  /* Step 5: the loaders of today. */ \
  F(cuModuleLoadFatBinary, 2000, "", (CUmodule *out, const void *image), (out, image)) \
  F(cuModuleLoad, 2000, "", (CUmodule *out, const char *path), (out, path)) \
  F(cuLibraryLoadData, 12000, "", (CUlibrary *out, const void *image, CUjit_option *options, void **values, unsigned int count, CUlibraryOption *library_options, void **library_values, unsigned int library_count), (out, image, options, values, count, library_options, library_values, library_count)) \
  F(cuLibraryUnload, 12000, "", (CUlibrary library), (library)) \
  F(cuLibraryGetKernel, 12000, "", (CUkernel *out, CUlibrary library, const char *name), (out, library, name)) \
  F(cuLibraryGetModule, 12000, "", (CUmodule *out, CUlibrary library), (out, library)) \
  F(cuLibraryGetGlobal, 12000, "", (CUdeviceptr *out, size_t *size, CUlibrary library, const char *name), (out, size, library, name)) \
  F(cuKernelGetFunction, 12000, "", (CUfunction *out, CUkernel kernel), (out, kernel)) \
  F(cuKernelGetAttribute, 12000, "", (int *value, CUfunction_attribute attribute, CUkernel kernel, CUdevice device), (value, attribute, kernel, device)) \
  F(cuKernelSetAttribute, 12000, "", (CUfunction_attribute attribute, int value, CUkernel kernel, CUdevice device), (attribute, value, kernel, device)) \
  F(cuFuncGetAttribute, 2020, "", (int *value, CUfunction_attribute attribute, CUfunction function), (value, attribute, function)) \
  F(cuFuncSetAttribute, 9000, "", (CUfunction function, CUfunction_attribute attribute, int value), (function, attribute, value)) \
  F(cuFuncSetCacheConfig, 3000, "", (CUfunction function, CUfunc_cache config), (function, config)) \
  F(cuFuncGetParamInfo, 12040, "", (CUfunction function, size_t index, size_t *offset, size_t *size), (function, index, offset, size)) \
  F(cuFuncGetName, 12030, "", (const char **name, CUfunction function), (name, function)) \
  F(cuLaunchKernelEx, 11060, "", (const CUlaunchConfig *config, CUfunction function, void **params, void **extra), (config, function, params, extra)) \
  F(cuLaunchCooperativeKernel, 9000, "", (CUfunction function, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx, unsigned int by, unsigned int bz, unsigned int shared, CUstream stream, void **params), (function, gx, gy, gz, bx, by, bz, shared, stream, params)) \
  F(cuModuleGetLoadingMode, 11070, "", (CUmoduleLoadingMode *mode), (mode)) \
  F(cuModuleGetFunctionCount, 12040, "", (unsigned int *count, CUmodule module), (count, module)) \
  F(cuModuleEnumerateFunctions, 12040, "", (CUfunction *functions, unsigned int count, CUmodule module), (functions, count, module)) \
  F(cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050, "", (int *blocks, CUfunction function, int threads, size_t shared), (blocks, function, threads, shared)) \
  F(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, 7000, "", (int *blocks, CUfunction function, int threads, size_t shared, unsigned int flags), (blocks, function, threads, shared, flags)) \
  F(cuOccupancyMaxPotentialBlockSize, 6050, "", (int *grid, int *block, CUfunction function, CUoccupancyB2DSize shared_of_block, size_t shared, int limit), (grid, block, function, shared_of_block, shared, limit)) \
  /* Step 6: the linker, and what a context is set to. */ \
  F(cuLinkCreate_v2, 6050, "", (unsigned int count, CUjit_option *options, void **values, CUlinkState *out), (count, options, values, out)) \
  F(cuLinkAddData_v2, 6050, "", (CUlinkState link, CUjitInputType type, void *data, size_t size, const char *name, unsigned int count, CUjit_option *options, void **values), (link, type, data, size, name, count, options, values)) \
  F(cuLinkAddFile_v2, 6050, "", (CUlinkState link, CUjitInputType type, const char *path, unsigned int count, CUjit_option *options, void **values), (link, type, path, count, options, values)) \
  F(cuLinkComplete, 5050, "", (CUlinkState link, void **image, size_t *size), (link, image, size)) \
  F(cuLinkDestroy, 5050, "", (CUlinkState link), (link)) \
  F(cuDeviceComputeCapability, 2000, "", (int *major, int *minor, CUdevice device), (major, minor, device)) \
  F0(cuProfilerStart, 4000) \
  F0(cuProfilerStop, 4000) \
  F(cuCtxGetFlags, 7000, "", (unsigned int *flags), (flags)) \
  F(cuCtxGetId, 12000, "", (CUcontext target, unsigned long long *id), (target, id)) \
  F(cuCtxGetApiVersion, 3020, "", (CUcontext target, unsigned int *version), (target, version)) \
  F(cuCtxGetCacheConfig, 3020, "", (CUfunc_cache *config), (config)) \
  F(cuCtxSetFlags, 12010, "", (unsigned int flags), (flags)) \
  F(cuCtxSetCacheConfig, 3020, "", (CUfunc_cache config), (config)) \
  F(cuCtxGetLimit, 3010, "", (size_t *value, CUlimit limit), (value, limit)) \
  F(cuCtxSetLimit, 3010, "", (CUlimit limit, size_t value), (limit, value)) \
  /* Step 7: the rest of ordinary programs. */ \
  F(cuMemAllocManaged, 6000, "", (CUdeviceptr *out, size_t size, unsigned int flags), (out, size, flags)) \
  F(cuMemAllocAsync, 11020, "", (CUdeviceptr *out, size_t size, CUstream stream), (out, size, stream)) \
  F(cuMemFreeAsync, 11020, "", (CUdeviceptr address, CUstream stream), (address, stream)) \
  F(cuMemAllocPitch_v2, 3020, "", (CUdeviceptr *out, size_t *pitch, size_t width, size_t height, unsigned int element), (out, pitch, width, height, element)) \
  F(cuMemcpy2D_v2, 3020, "", (const CUDA_MEMCPY2D *copy), (copy)) \
  F(cuMemcpy2DUnaligned_v2, 3020, "", (const CUDA_MEMCPY2D *copy), (copy)) \
  F(cuMemcpy2DAsync_v2, 3020, "", (const CUDA_MEMCPY2D *copy, CUstream stream), (copy, stream)) \
  F(cuMemsetD2D8_v2, 3020, "", (CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height), (to, pitch, value, width, height)) \
  F(cuMemsetD2D32_v2, 3020, "", (CUdeviceptr to, size_t pitch, unsigned int value, size_t width, size_t height), (to, pitch, value, width, height)) \
  F(cuPointerGetAttributes, 7000, "", (unsigned int count, CUpointer_attribute *attributes, void **values, CUdeviceptr address), (count, attributes, values, address)) \
  F(cuStreamGetFlags, 5050, "", (CUstream stream, unsigned int *flags), (stream, flags)) \
  F(cuStreamGetPriority, 5050, "", (CUstream stream, int *priority), (stream, priority)) \
  F(cuStreamGetCtx, 9020, "", (CUstream stream, CUcontext *out), (stream, out)) \
  F(cuStreamIsCapturing, 10000, "", (CUstream stream, CUstreamCaptureStatus *status), (stream, status)) \
  F(cuThreadExchangeStreamCaptureMode, 10010, "", (CUstreamCaptureMode *mode), (mode)) \
  F(cuStreamWriteValue32_v2, 11070, "", (CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned int flags), (stream, address, value, flags)) \
  F(cuStreamWaitValue32_v2, 11070, "", (CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned int flags), (stream, address, value, flags)) \
  F(cuCtxEnablePeerAccess, 4000, "", (CUcontext peer, unsigned int flags), (peer, flags)) \
  F(cuCtxDisablePeerAccess, 4000, "", (CUcontext peer), (peer)) \
  F(cuDeviceCanAccessPeer, 4000, "", (int *can, CUdevice device, CUdevice peer), (can, device, peer)) \
  F(cuDeviceGetP2PAttribute, 8000, "", (int *value, CUdevice_P2PAttribute attribute, CUdevice from, CUdevice to), (value, attribute, from, to)) \
  F(cuMemcpyPeer, 4000, "", (CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t size), (to, to_context, from, from_context, size)) \
  F(cuMemcpyPeerAsync, 4000, "", (CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t size, CUstream stream), (to, to_context, from, from_context, size, stream)) \
  /* Places on the bus, GPUDirect RDMA, and the wider forms of step 7. */ \
  F(cuDeviceGetPCIBusId, 4010, "", (char *text, int size, CUdevice device), (text, size, device)) \
  F(cuDeviceGetByPCIBusId, 4010, "", (CUdevice *device, const char *text), (device, text)) \
  F(cuPointerSetAttribute, 6000, "", (const void *value, CUpointer_attribute attribute, CUdeviceptr address), (value, attribute, address)) \
  F(cuMemGetHandleForAddressRange, 11070, "", (void *out, CUdeviceptr address, size_t size, CUmemRangeHandleType type, unsigned long long flags), (out, address, size, type, flags)) \
  F(cuFlushGPUDirectRDMAWrites, 11030, "", (CUflushGPUDirectRDMAWritesTarget target, CUflushGPUDirectRDMAWritesScope scope), (target, scope)) \
  F(cuStreamWriteValue64_v2, 11070, "", (CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned int flags), (stream, address, value, flags)) \
  F(cuStreamWaitValue64_v2, 11070, "", (CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned int flags), (stream, address, value, flags)) \
  F(cuMemcpy3D_v2, 3020, "", (const CUDA_MEMCPY3D *copy), (copy)) \
  F(cuMemcpy3DAsync_v2, 3020, "", (const CUDA_MEMCPY3D *copy, CUstream stream), (copy, stream))
// clang-format on

#endif
