/* The names that programs compiled with --default-stream per-thread call: the same with the thread's own stream. */
#include "cudart.h"

#define PER_THREAD ((cudaStream_t)2)

#define OWN(stream) ((stream) == NULL ? PER_THREAD : (stream))

#define SAME(name, params, args)                   \
  API cudaError_t name params;                     \
  API cudaError_t name##_ptsz params;              \
  cudaError_t name##_ptsz params { return name args; }

SAME(cudaLaunchKernel, (const void *stub, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t stream),
     (stub, grid, block, arguments, shared, OWN(stream)))
SAME(cudaLaunchCooperativeKernel,
     (const void *stub, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t stream),
     (stub, grid, block, arguments, shared, OWN(stream)))
SAME(__cudaLaunchKernel, (const void *stub, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t stream),
     (stub, grid, block, arguments, shared, OWN(stream)))
SAME(cudaMemcpyAsync, (void *to, const void *from, size_t size, int kind, cudaStream_t stream),
     (to, from, size, kind, OWN(stream)))
SAME(cudaMemsetAsync, (void *to, int value, size_t size, cudaStream_t stream), (to, value, size, OWN(stream)))
SAME(cudaMemcpy2DAsync,
     (void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, int kind,
      cudaStream_t stream),
     (to, to_pitch, from, from_pitch, width, height, kind, OWN(stream)))
SAME(cudaMallocAsync, (void **out, size_t size, cudaStream_t stream), (out, size, OWN(stream)))
SAME(cudaFreeAsync, (void *address, cudaStream_t stream), (address, OWN(stream)))
SAME(cudaStreamQuery, (cudaStream_t stream), (OWN(stream)))
SAME(cudaStreamSynchronize, (cudaStream_t stream), (OWN(stream)))
SAME(cudaStreamWaitEvent, (cudaStream_t stream, cudaEvent_t event, unsigned int flags), (OWN(stream), event, flags))
SAME(cudaStreamGetFlags, (cudaStream_t stream, unsigned int *flags), (OWN(stream), flags))
SAME(cudaStreamGetPriority, (cudaStream_t stream, int *priority), (OWN(stream), priority))
SAME(cudaLaunchHostFunc, (cudaStream_t stream, CUhostFn function, void *data), (OWN(stream), function, data))
SAME(cudaStreamAddCallback, (cudaStream_t stream, CUstreamCallback callback, void *data, unsigned int flags),
     (OWN(stream), callback, data, flags))
SAME(cudaEventRecord, (cudaEvent_t event, cudaStream_t stream), (event, OWN(stream)))

/* Those that wait: the copy in the thread's stream, then the wait for it. */
API cudaError_t cudaMemcpy_ptds(void *to, const void *from, size_t size, int kind);
cudaError_t cudaMemcpy_ptds(void *to, const void *from, size_t size, int kind) {
  const cudaError_t failed = cudaMemcpyAsync(to, from, size, kind, PER_THREAD);
  return failed != SUCCESS ? failed : cudaStreamSynchronize(PER_THREAD);
}
API cudaError_t cudaMemset_ptds(void *to, int value, size_t size);
cudaError_t cudaMemset_ptds(void *to, int value, size_t size) { return cudaMemsetAsync(to, value, size, PER_THREAD); }

API cudaError_t cudaMemcpyToSymbolAsync(const void *symbol, const void *from, size_t count, size_t offset, int kind,
                                        cudaStream_t stream);
API cudaError_t cudaMemcpyToSymbol_ptds(const void *symbol, const void *from, size_t count, size_t offset, int kind);
cudaError_t cudaMemcpyToSymbol_ptds(const void *symbol, const void *from, size_t count, size_t offset, int kind) {
  const cudaError_t failed = cudaMemcpyToSymbolAsync(symbol, from, count, offset, kind, PER_THREAD);
  return failed != SUCCESS ? failed : cudaStreamSynchronize(PER_THREAD);
}
API cudaError_t cudaMemcpyFromSymbolAsync(void *to, const void *symbol, size_t count, size_t offset, int kind,
                                          cudaStream_t stream);
API cudaError_t cudaMemcpyFromSymbol_ptds(void *to, const void *symbol, size_t count, size_t offset, int kind);
cudaError_t cudaMemcpyFromSymbol_ptds(void *to, const void *symbol, size_t count, size_t offset, int kind) {
  const cudaError_t failed = cudaMemcpyFromSymbolAsync(to, symbol, count, offset, kind, PER_THREAD);
  return failed != SUCCESS ? failed : cudaStreamSynchronize(PER_THREAD);
}
