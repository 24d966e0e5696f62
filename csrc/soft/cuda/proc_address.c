/*
 * Looking functions up by name, for the version of CUDA that a program was made for; and the functions of programs that were
 * made with per-thread default streams.
 */
#include "state.h"

#include "api/cuda_names.h"

#include <string.h>

/* ---- per-thread default streams -------------------------------------------------------------------------------------- */

/* For each function one that runs it with the thread's own stream in place of the default stream. Those below are exported. */
#define WITH_PARAMETERS(...) __VA_ARGS__
#define PER_THREAD(name, since, older, params, args)                       \
  __attribute__((unused)) static CUresult per_thread_##name params {       \
    struct thread_state *thread = thread_state();                          \
    const bool before = thread->has_per_thread_default;                    \
    thread->has_per_thread_default = true;                                 \
    const CUresult result = name args;                                     \
    thread->has_per_thread_default = before;                               \
    return result;                                                         \
  }
#define NOT_PER_THREAD(name, since)
BB_CUDA_FUNCTIONS(PER_THREAD, NOT_PER_THREAD)

/* Functions that wait have the suffix _ptds, those that have a stream _ptsz. */
#define PER_THREAD_NAMES(X)                                                                                              \
  X(cuMemcpy, ptds) X(cuMemcpyHtoD_v2, ptds) X(cuMemcpyDtoH_v2, ptds) X(cuMemcpyDtoD_v2, ptds) X(cuMemcpyPeer, ptds)     \
  X(cuMemcpy2D_v2, ptds) X(cuMemcpy2DUnaligned_v2, ptds) X(cuMemcpy3D_v2, ptds) X(cuMemsetD8_v2, ptds)                   \
  X(cuMemsetD16_v2, ptds) X(cuMemsetD32_v2, ptds) X(cuMemsetD2D8_v2, ptds) X(cuMemsetD2D32_v2, ptds)                     \
  X(cuMemcpyAsync, ptsz) X(cuMemcpyHtoDAsync_v2, ptsz) X(cuMemcpyDtoHAsync_v2, ptsz) X(cuMemcpyDtoDAsync_v2, ptsz)       \
  X(cuMemcpyPeerAsync, ptsz) X(cuMemcpy2DAsync_v2, ptsz) X(cuMemcpy3DAsync_v2, ptsz) X(cuMemsetD8Async, ptsz)            \
  X(cuMemsetD16Async, ptsz) X(cuMemsetD32Async, ptsz) X(cuStreamGetPriority, ptsz) X(cuStreamGetFlags, ptsz)             \
  X(cuStreamGetCtx, ptsz) X(cuStreamWaitEvent, ptsz) X(cuStreamAddCallback, ptsz) X(cuStreamIsCapturing, ptsz)           \
  X(cuStreamQuery, ptsz) X(cuStreamSynchronize, ptsz) X(cuEventRecord, ptsz) X(cuEventRecordWithFlags, ptsz)             \
  X(cuLaunchKernel, ptsz) X(cuLaunchKernelEx, ptsz) X(cuLaunchHostFunc, ptsz) X(cuLaunchCooperativeKernel, ptsz)         \
  X(cuStreamWriteValue32_v2, ptsz) X(cuStreamWaitValue32_v2, ptsz) X(cuStreamWriteValue64_v2, ptsz)                      \
  X(cuStreamWaitValue64_v2, ptsz) X(cuMemAllocAsync, ptsz) X(cuMemFreeAsync, ptsz)

#define EXPORT_PER_THREAD(name, suffix)       \
  extern __typeof__(name) name##_##suffix     \
      __attribute__((alias("per_thread_" #name), visibility("default")));
PER_THREAD_NAMES(EXPORT_PER_THREAD)

/* ---- by name --------------------------------------------------------------------------------------------------------- */

struct exported {
  const char *name;
  int since;
  void (*function)(void);
};

#define ROW(name, since, older, params, args) {#name, since, (void (*)(void))name},
#define ROW0(name, since) {#name, since, (void (*)(void))name},
static const struct exported FUNCTIONS[] = {BB_CUDA_FUNCTIONS(ROW, ROW0)};

#define PER_THREAD_ROW(name, suffix) {#name, 0, (void (*)(void))per_thread_##name},
static const struct exported OF_THREAD[] = {PER_THREAD_NAMES(PER_THREAD_ROW)};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* CUdriverProcAddressQueryResult, and the flags of a query */
enum { FOUND, NAME_NOT_FOUND, VERSION_TOO_LOW };
enum { FLAG_PER_THREAD = 2 };

static void *find(const char *plain, int version, uint64_t flags, CUdriverProcAddressQueryResult *status) {
  const struct exported *best = NULL;
  *status = NAME_NOT_FOUND;
  for (size_t i = 0; i < COUNT(FUNCTIONS); i++) {
    const struct exported *one = &FUNCTIONS[i];
    if (!is_version_of(one->name, plain)) continue;
    if (one->since > version) {
      if (*status == NAME_NOT_FOUND) *status = VERSION_TOO_LOW;
    } else if (best == NULL || one->since >= best->since) {
      best = one;
    }
  }
  if (best == NULL) return NULL;
  *status = FOUND;
  void (*function)(void) = best->function;
  for (size_t i = 0; (flags & FLAG_PER_THREAD) != 0 && i < COUNT(OF_THREAD); i++) {
    if (strcmp(OF_THREAD[i].name, best->name) == 0) function = OF_THREAD[i].function;
  }
  void *address;
  memcpy(&address, &function, sizeof address);
  return address;
}

CUresult cuGetProcAddress_v2(const char *name, void **out, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult *status) {
  CUresult failed;
  struct cuda_instance *instance = current_instance(&failed);
  REQUIRE(instance != NULL, failed);
  REQUIRE(name != NULL && out != NULL && flags <= FLAG_PER_THREAD, CUDA_INVALID_VALUE);
  REQUIRE(version <= (int)instance->settings.version, CUDA_INVALID_VALUE);
  CUdriverProcAddressQueryResult found;
  *out = find(name, version, flags, &found);
  if (status != NULL) *status = found;
  return CUDA_SUCCESS;
}

CUresult cuGetProcAddress(const char *name, void **out, int version, cuuint64_t flags) {
  CUdriverProcAddressQueryResult status = NAME_NOT_FOUND;
  const CUresult failed = cuGetProcAddress_v2(name, out, version, flags, &status);
  return failed != CUDA_SUCCESS ? failed : status == FOUND ? CUDA_SUCCESS : CUDA_NOT_FOUND;
}

/* Private tables of NVIDIA's own libraries: there are none. */
CUresult cuGetExportTable(const void **out, const CUuuid *which) {
  REQUIRE(out != NULL && which != NULL, CUDA_INVALID_VALUE);
  *out = NULL;
  return CUDA_NOT_FOUND;
}

/* The plain names of functions that had 32-bit sizes: a program that has them by name and not by header would pass the
 * wrong arguments. */
#define REFUSED_NAMES(X)                                                                                                 \
  X(cuDeviceTotalMem) X(cuCtxCreate) X(cuCtxDestroy) X(cuMemAlloc) X(cuMemFree) X(cuMemGetInfo) X(cuMemcpyHtoD)            \
  X(cuMemcpyDtoH) X(cuMemcpyDtoD) X(cuModuleGetGlobal) X(cuMemsetD8) X(cuMemsetD16) X(cuMemsetD32) X(cuCtxPushCurrent)     \
  X(cuCtxPopCurrent) X(cuDevicePrimaryCtxRelease) X(cuDevicePrimaryCtxSetFlags) X(cuDevicePrimaryCtxReset)                \
  X(cuStreamDestroy) X(cuEventDestroy) X(cuMemGetAddressRange) X(cuMemcpyHtoDAsync) X(cuMemcpyDtoHAsync)                  \
  X(cuMemcpyDtoDAsync) X(cuMemAllocHost) X(cuMemHostGetDevicePointer) X(cuMemHostRegister) X(cuLinkCreate)                \
  X(cuLinkAddData) X(cuLinkAddFile) X(cuMemAllocPitch) X(cuMemcpy2D) X(cuMemcpy2DUnaligned) X(cuMemcpy2DAsync)            \
  X(cuMemsetD2D8) X(cuMemsetD2D32) X(cuMemcpy3D) X(cuMemcpy3DAsync) X(cuStreamWriteValue32) X(cuStreamWaitValue32)        \
  X(cuStreamWriteValue64) X(cuStreamWaitValue64)
#define REFUSE(name)                                             \
  __attribute__((visibility("default"))) CUresult name(void);    \
  CUresult name(void) { return CUDA_INVALID_VALUE; }
REFUSED_NAMES(REFUSE)
