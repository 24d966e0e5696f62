/* Streams, events, and functions of the host in a stream. */
#include "cudart.h"

#define FORWARD(name, params, call)     \
  API cudaError_t name params;          \
  cudaError_t name params {             \
    CONTEXT();                          \
    return finish(driver.call);         \
  }

FORWARD(cudaStreamCreate, (cudaStream_t *out), cuStreamCreate(out, 0))
FORWARD(cudaStreamCreateWithFlags, (cudaStream_t *out, unsigned int flags), cuStreamCreate(out, flags))
FORWARD(cudaStreamCreateWithPriority, (cudaStream_t *out, unsigned int flags, int priority),
        cuStreamCreateWithPriority(out, flags, priority))
FORWARD(cudaStreamDestroy, (cudaStream_t stream), cuStreamDestroy_v2(stream))
FORWARD(cudaStreamQuery, (cudaStream_t stream), cuStreamQuery(stream))
FORWARD(cudaStreamSynchronize, (cudaStream_t stream), cuStreamSynchronize(stream))
FORWARD(cudaStreamWaitEvent, (cudaStream_t stream, cudaEvent_t event, unsigned int flags),
        cuStreamWaitEvent(stream, event, flags))
FORWARD(cudaStreamAddCallback, (cudaStream_t stream, CUstreamCallback callback, void *data, unsigned int flags),
        cuStreamAddCallback(stream, callback, data, flags))
FORWARD(cudaStreamGetFlags, (cudaStream_t stream, unsigned int *flags), cuStreamGetFlags(stream, flags))
FORWARD(cudaStreamGetPriority, (cudaStream_t stream, int *priority), cuStreamGetPriority(stream, priority))
FORWARD(cudaStreamIsCapturing, (cudaStream_t stream, CUstreamCaptureStatus *status), cuStreamIsCapturing(stream, status))
FORWARD(cudaThreadExchangeStreamCaptureMode, (CUstreamCaptureMode *mode), cuThreadExchangeStreamCaptureMode(mode))
FORWARD(cudaLaunchHostFunc, (cudaStream_t stream, CUhostFn function, void *data), cuLaunchHostFunc(stream, function, data))

FORWARD(cudaEventCreate, (cudaEvent_t *out), cuEventCreate(out, 0))
FORWARD(cudaEventCreateWithFlags, (cudaEvent_t *out, unsigned int flags), cuEventCreate(out, flags))
FORWARD(cudaEventDestroy, (cudaEvent_t event), cuEventDestroy_v2(event))
FORWARD(cudaEventRecord, (cudaEvent_t event, cudaStream_t stream), cuEventRecord(event, stream))
FORWARD(cudaEventRecordWithFlags, (cudaEvent_t event, cudaStream_t stream, unsigned int flags),
        cuEventRecordWithFlags(event, stream, flags))
FORWARD(cudaEventQuery, (cudaEvent_t event), cuEventQuery(event))
FORWARD(cudaEventSynchronize, (cudaEvent_t event), cuEventSynchronize(event))
FORWARD(cudaEventElapsedTime, (float *ms, cudaEvent_t start, cudaEvent_t end), cuEventElapsedTime(ms, start, end))
FORWARD(cudaProfilerStart, (void), cuProfilerStart())
FORWARD(cudaProfilerStop, (void), cuProfilerStop())
