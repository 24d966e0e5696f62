/*
 * The functions of the CUDA driver API that busbar calls: one line each, as cuda.h of CUDA 13.0 declares them.
 *
 * From this one table come the callers in cuda.c, the declarations that the software device in csrc/soft fills, and a
 * test that compares every prototype with NVIDIA's header where there is one. A line has: the name as the library exports
 * it, the CUDA version that brought it (1000 x major + 10 x minor), an older export with the same prototype to fall back
 * on or "", the parameters, and their names.
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
typedef struct {
  char bytes[16];
} CUuuid;
typedef uint32_t cuuint32_t;
/* Enumerations: C compilers give them 32 bits. */
typedef uint32_t CUdevice_attribute;
typedef uint32_t CUdevice_P2PAttribute;
typedef uint32_t CUfunction_attribute;
typedef uint32_t CUpointer_attribute;
typedef uint32_t CUlimit;
typedef uint32_t CUmoduleLoadingMode;
typedef uint32_t CUmemRangeHandleType;
typedef uint32_t CUjit_option;
typedef uint32_t CUflushGPUDirectRDMAWritesTarget;
typedef uint32_t CUflushGPUDirectRDMAWritesScope;
#endif

// clang-format off
#define BB_CUDA_FUNCTIONS(F) \
  F(cuInit, 2000, "", (unsigned int flags), (flags)) \
  F(cuDriverGetVersion, 2020, "", (int *version), (version)) \
  F(cuGetErrorName, 6000, "", (CUresult error, const char **text), (error, text)) \
  F(cuGetErrorString, 6000, "", (CUresult error, const char **text), (error, text)) \
  F(cuDeviceGetCount, 2000, "", (int *count), (count)) \
  F(cuDeviceGet, 2000, "", (CUdevice *device, int ordinal), (device, ordinal)) \
  F(cuDeviceGetName, 2000, "", (char *name, int size, CUdevice device), (name, size, device)) \
  F(cuDeviceGetUuid_v2, 11040, "cuDeviceGetUuid", (CUuuid *uuid, CUdevice device), (uuid, device)) \
  F(cuDeviceTotalMem_v2, 3020, "", (size_t *bytes, CUdevice device), (bytes, device)) \
  F(cuDeviceGetAttribute, 2000, "", (int *value, CUdevice_attribute attribute, CUdevice device), (value, attribute, device)) \
  F(cuDeviceGetPCIBusId, 4010, "", (char *text, int size, CUdevice device), (text, size, device)) \
  F(cuDeviceGetByPCIBusId, 4010, "", (CUdevice *device, const char *text), (device, text)) \
  F(cuDeviceCanAccessPeer, 4000, "", (int *can, CUdevice device, CUdevice peer), (can, device, peer)) \
  F(cuDeviceGetP2PAttribute, 8000, "", (int *value, CUdevice_P2PAttribute attribute, CUdevice from, CUdevice to), (value, attribute, from, to)) \
  F(cuDevicePrimaryCtxRetain, 7000, "", (CUcontext *out, CUdevice device), (out, device)) \
  F(cuDevicePrimaryCtxRelease_v2, 11000, "cuDevicePrimaryCtxRelease", (CUdevice device), (device)) \
  F(cuDevicePrimaryCtxSetFlags_v2, 11000, "cuDevicePrimaryCtxSetFlags", (CUdevice device, unsigned int flags), (device, flags)) \
  F(cuDevicePrimaryCtxGetState, 7000, "", (CUdevice device, unsigned int *flags, int *active), (device, flags, active)) \
  F(cuDevicePrimaryCtxReset_v2, 11000, "cuDevicePrimaryCtxReset", (CUdevice device), (device)) \
  F(cuCtxSetCurrent, 4000, "", (CUcontext wanted), (wanted)) \
  F(cuCtxGetCurrent, 4000, "", (CUcontext *out), (out)) \
  F(cuCtxGetDevice, 2000, "", (CUdevice *device), (device)) \
  F(cuCtxGetLimit, 3010, "", (size_t *value, CUlimit limit), (value, limit)) \
  F(cuCtxSetLimit, 3010, "", (CUlimit limit, size_t value), (limit, value)) \
  F(cuCtxGetStreamPriorityRange, 5050, "", (int *least, int *greatest), (least, greatest)) \
  F(cuCtxEnablePeerAccess, 4000, "", (CUcontext peer, unsigned int flags), (peer, flags)) \
  F(cuCtxDisablePeerAccess, 4000, "", (CUcontext peer), (peer)) \
  F(cuMemGetInfo_v2, 3020, "", (size_t *free_bytes, size_t *total), (free_bytes, total)) \
  F(cuMemAlloc_v2, 3020, "", (CUdeviceptr *out, size_t size), (out, size)) \
  F(cuMemFree_v2, 3020, "", (CUdeviceptr address), (address)) \
  F(cuMemHostAlloc, 2020, "", (void **out, size_t size, unsigned int flags), (out, size, flags)) \
  F(cuMemFreeHost, 2000, "", (void *address), (address)) \
  F(cuMemHostRegister_v2, 6050, "cuMemHostRegister", (void *address, size_t size, unsigned int flags), (address, size, flags)) \
  F(cuMemHostUnregister, 4000, "", (void *address), (address)) \
  F(cuMemHostGetDevicePointer_v2, 3020, "", (CUdeviceptr *out, void *address, unsigned int flags), (out, address, flags)) \
  F(cuMemHostGetFlags, 2030, "", (unsigned int *flags, void *address), (flags, address)) \
  F(cuMemGetAddressRange_v2, 3020, "", (CUdeviceptr *base, size_t *size, CUdeviceptr address), (base, size, address)) \
  F(cuPointerGetAttribute, 4000, "", (void *out, CUpointer_attribute attribute, CUdeviceptr address), (out, attribute, address)) \
  F(cuPointerSetAttribute, 6000, "", (const void *value, CUpointer_attribute attribute, CUdeviceptr address), (value, attribute, address)) \
  F(cuMemGetHandleForAddressRange, 11070, "", (void *out, CUdeviceptr address, size_t size, CUmemRangeHandleType type, unsigned long long flags), (out, address, size, type, flags)) \
  F(cuMemcpyHtoD_v2, 3020, "", (CUdeviceptr to, const void *from, size_t size), (to, from, size)) \
  F(cuMemcpyDtoH_v2, 3020, "", (void *to, CUdeviceptr from, size_t size), (to, from, size)) \
  F(cuMemcpyDtoD_v2, 3020, "", (CUdeviceptr to, CUdeviceptr from, size_t size), (to, from, size)) \
  F(cuMemcpyPeer, 4000, "", (CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t size), (to, to_context, from, from_context, size)) \
  F(cuMemcpyHtoDAsync_v2, 3020, "", (CUdeviceptr to, const void *from, size_t size, CUstream stream), (to, from, size, stream)) \
  F(cuMemcpyDtoHAsync_v2, 3020, "", (void *to, CUdeviceptr from, size_t size, CUstream stream), (to, from, size, stream)) \
  F(cuMemcpyDtoDAsync_v2, 3020, "", (CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream), (to, from, size, stream)) \
  F(cuMemcpyPeerAsync, 4000, "", (CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t size, CUstream stream), (to, to_context, from, from_context, size, stream)) \
  F(cuMemsetD8Async, 3020, "", (CUdeviceptr to, unsigned char value, size_t count, CUstream stream), (to, value, count, stream)) \
  F(cuMemsetD16Async, 3020, "", (CUdeviceptr to, unsigned short value, size_t count, CUstream stream), (to, value, count, stream)) \
  F(cuMemsetD32Async, 3020, "", (CUdeviceptr to, unsigned int value, size_t count, CUstream stream), (to, value, count, stream)) \
  F(cuStreamCreate, 2000, "", (CUstream *out, unsigned int flags), (out, flags)) \
  F(cuStreamCreateWithPriority, 5050, "", (CUstream *out, unsigned int flags, int priority), (out, flags, priority)) \
  F(cuStreamDestroy_v2, 4000, "", (CUstream stream), (stream)) \
  F(cuStreamQuery, 2000, "", (CUstream stream), (stream)) \
  F(cuStreamSynchronize, 2000, "", (CUstream stream), (stream)) \
  F(cuStreamWaitEvent, 3020, "", (CUstream stream, CUevent event, unsigned int flags), (stream, event, flags)) \
  F(cuStreamWriteValue32_v2, 11070, "", (CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned int flags), (stream, address, value, flags)) \
  F(cuStreamWaitValue32_v2, 11070, "", (CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned int flags), (stream, address, value, flags)) \
  F(cuEventCreate, 2000, "", (CUevent *out, unsigned int flags), (out, flags)) \
  F(cuEventDestroy_v2, 4000, "", (CUevent event), (event)) \
  F(cuEventRecord, 2000, "", (CUevent event, CUstream stream), (event, stream)) \
  F(cuEventQuery, 2000, "", (CUevent event), (event)) \
  F(cuEventElapsedTime, 2000, "cuEventElapsedTime_v2", (float *ms, CUevent start, CUevent end), (ms, start, end)) \
  F(cuModuleLoadDataEx, 2010, "", (CUmodule *out, const void *image, unsigned int count, CUjit_option *options, void **values), (out, image, count, options, values)) \
  F(cuModuleUnload, 2000, "", (CUmodule module), (module)) \
  F(cuModuleGetFunction, 2000, "", (CUfunction *out, CUmodule module, const char *name), (out, module, name)) \
  F(cuModuleGetGlobal_v2, 3020, "", (CUdeviceptr *out, size_t *size, CUmodule module, const char *name), (out, size, module, name)) \
  F(cuModuleGetLoadingMode, 11070, "", (CUmoduleLoadingMode *mode), (mode)) \
  F(cuFuncGetAttribute, 2020, "", (int *value, CUfunction_attribute attribute, CUfunction function), (value, attribute, function)) \
  F(cuFuncSetAttribute, 9000, "", (CUfunction function, CUfunction_attribute attribute, int value), (function, attribute, value)) \
  F(cuFuncGetParamInfo, 12040, "", (CUfunction function, size_t index, size_t *offset, size_t *size), (function, index, offset, size)) \
  F(cuLaunchKernel, 4000, "", (CUfunction function, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx, unsigned int by, unsigned int bz, unsigned int shared, CUstream stream, void **params, void **extra), (function, gx, gy, gz, bx, by, bz, shared, stream, params, extra)) \
  F(cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050, "", (int *blocks, CUfunction function, int threads, size_t shared), (blocks, function, threads, shared)) \
  F(cuFlushGPUDirectRDMAWrites, 11030, "", (CUflushGPUDirectRDMAWritesTarget target, CUflushGPUDirectRDMAWritesScope scope), (target, scope))
// clang-format on

#endif
