/* Memory: allocating, copying, filling, symbols. */
#include "cudart.h"

#include <string.h>

#define HOST(pointer) ((void *)(uintptr_t)(pointer))

API cudaError_t cudaMalloc(void **out, size_t size);
cudaError_t cudaMalloc(void **out, size_t size) {
  CONTEXT();
  CHECK(out != NULL, INVALID_VALUE);
  *out = NULL;
  CUdeviceptr address;
  /* Nothing of nothing is no failure here. */
  if (size == 0) return SUCCESS;
  const CUresult failed = driver.cuMemAlloc_v2(&address, size);
  CHECK(failed == SUCCESS, failed);
  *out = HOST(address);
  return SUCCESS;
}

API cudaError_t cudaFree(void *address);
cudaError_t cudaFree(void *address) {
  /* Freeing nothing is how programs start the runtime. */
  CONTEXT();
  return address == NULL ? SUCCESS : finish(driver.cuMemFree_v2(DEVICE_POINTER(address)));
}

API cudaError_t cudaMallocPitch(void **out, size_t *pitch, size_t width, size_t height);
cudaError_t cudaMallocPitch(void **out, size_t *pitch, size_t width, size_t height) {
  CONTEXT();
  CHECK(out != NULL && pitch != NULL, INVALID_VALUE);
  CUdeviceptr address;
  const CUresult failed = driver.cuMemAllocPitch_v2(&address, pitch, width, height, 4);
  CHECK(failed == SUCCESS, failed);
  *out = HOST(address);
  return SUCCESS;
}

API cudaError_t cudaMallocManaged(void **out, size_t size, unsigned int flags);
cudaError_t cudaMallocManaged(void **out, size_t size, unsigned int flags) {
  CONTEXT();
  CHECK(out != NULL, INVALID_VALUE);
  CUdeviceptr address;
  const CUresult failed = driver.cuMemAllocManaged(&address, size, flags);
  CHECK(failed == SUCCESS, failed);
  *out = HOST(address);
  return SUCCESS;
}

API cudaError_t cudaMallocAsync(void **out, size_t size, cudaStream_t stream);
cudaError_t cudaMallocAsync(void **out, size_t size, cudaStream_t stream) {
  CONTEXT();
  CHECK(out != NULL, INVALID_VALUE);
  CUdeviceptr address;
  const CUresult failed = driver.cuMemAllocAsync(&address, size, stream);
  CHECK(failed == SUCCESS, failed);
  *out = HOST(address);
  return SUCCESS;
}

API cudaError_t cudaFreeAsync(void *address, cudaStream_t stream);
cudaError_t cudaFreeAsync(void *address, cudaStream_t stream) {
  CONTEXT();
  return finish(driver.cuMemFreeAsync(DEVICE_POINTER(address), stream));
}

API cudaError_t cudaHostAlloc(void **out, size_t size, unsigned int flags);
cudaError_t cudaHostAlloc(void **out, size_t size, unsigned int flags) {
  CONTEXT();
  return finish(driver.cuMemHostAlloc(out, size, flags));
}
API cudaError_t cudaMallocHost(void **out, size_t size);
cudaError_t cudaMallocHost(void **out, size_t size) {
  CONTEXT();
  return finish(driver.cuMemAllocHost_v2(out, size));
}
API cudaError_t cudaFreeHost(void *address);
cudaError_t cudaFreeHost(void *address) {
  CONTEXT();
  return address == NULL ? SUCCESS : finish(driver.cuMemFreeHost(address));
}
API cudaError_t cudaHostRegister(void *address, size_t size, unsigned int flags);
cudaError_t cudaHostRegister(void *address, size_t size, unsigned int flags) {
  CONTEXT();
  return finish(driver.cuMemHostRegister_v2(address, size, flags));
}
API cudaError_t cudaHostUnregister(void *address);
cudaError_t cudaHostUnregister(void *address) {
  CONTEXT();
  return finish(driver.cuMemHostUnregister(address));
}
API cudaError_t cudaHostGetDevicePointer(void **out, void *address, unsigned int flags);
cudaError_t cudaHostGetDevicePointer(void **out, void *address, unsigned int flags) {
  CONTEXT();
  CHECK(out != NULL, INVALID_VALUE);
  CUdeviceptr device;
  const CUresult failed = driver.cuMemHostGetDevicePointer_v2(&device, address, flags);
  CHECK(failed == SUCCESS, failed);
  *out = HOST(device);
  return SUCCESS;
}
API cudaError_t cudaHostGetFlags(unsigned int *flags, void *address);
cudaError_t cudaHostGetFlags(unsigned int *flags, void *address) {
  CONTEXT();
  return finish(driver.cuMemHostGetFlags(flags, address));
}

API cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  CONTEXT();
  return finish(driver.cuMemGetInfo_v2(free_bytes, total));
}

struct pointer_attributes {
  int type, device;
  void *device_pointer, *host_pointer;
#if BUSBAR_CUDART >= 13
  long reserved[8];
#endif
};

API cudaError_t cudaPointerGetAttributes(struct pointer_attributes *out, const void *address);
cudaError_t cudaPointerGetAttributes(struct pointer_attributes *out, const void *address) {
  enum { UNREGISTERED, TYPE_HOST, TYPE_DEVICE, TYPE_MANAGED, COUNT = 4 };
  CONTEXT();
  CHECK(out != NULL, INVALID_VALUE);
  CUpointer_attribute attributes[COUNT] = {2 /* type */, 9 /* ordinal */, 3 /* device pointer */, 8 /* managed */};
  uint32_t type = 0, is_managed = 0;
  int32_t ordinal = -1;
  uint64_t device = 0;
  void *values[COUNT] = {&type, &ordinal, &device, &is_managed};
  const CUresult failed = driver.cuPointerGetAttributes(COUNT, attributes, values, DEVICE_POINTER(address));
  CHECK(failed == SUCCESS, failed);
  memset(out, 0, sizeof *out);
  out->type = is_managed ? TYPE_MANAGED : type == 1 ? TYPE_HOST : type == 2 ? TYPE_DEVICE : UNREGISTERED;
  out->device = out->type == UNREGISTERED ? -2 : ordinal;
  if (out->type != UNREGISTERED) out->device_pointer = HOST(device);
  if (out->type != TYPE_DEVICE) out->host_pointer = HOST(address);
  return SUCCESS;
}

/* ---- copies ---------------------------------------------------------------------------------------------------------- */

static CUresult copy(void *to, const void *from, size_t size, int kind) {
  switch (kind) {
    case HOST_TO_DEVICE: return driver.cuMemcpyHtoD_v2(DEVICE_POINTER(to), from, size);
    case DEVICE_TO_HOST: return driver.cuMemcpyDtoH_v2(to, DEVICE_POINTER(from), size);
    case DEVICE_TO_DEVICE: return driver.cuMemcpyDtoD_v2(DEVICE_POINTER(to), DEVICE_POINTER(from), size);
    case HOST_TO_HOST: case COPY_DEFAULT: return driver.cuMemcpy(DEVICE_POINTER(to), DEVICE_POINTER(from), size);
    default: return INVALID_MEMCPY_DIRECTION;
  }
}

static CUresult copy_async(void *to, const void *from, size_t size, int kind, cudaStream_t stream) {
  switch (kind) {
    case HOST_TO_DEVICE: return driver.cuMemcpyHtoDAsync_v2(DEVICE_POINTER(to), from, size, stream);
    case DEVICE_TO_HOST: return driver.cuMemcpyDtoHAsync_v2(to, DEVICE_POINTER(from), size, stream);
    case DEVICE_TO_DEVICE: return driver.cuMemcpyDtoDAsync_v2(DEVICE_POINTER(to), DEVICE_POINTER(from), size, stream);
    case HOST_TO_HOST: case COPY_DEFAULT:
      return driver.cuMemcpyAsync(DEVICE_POINTER(to), DEVICE_POINTER(from), size, stream);
    default: return INVALID_MEMCPY_DIRECTION;
  }
}

API cudaError_t cudaMemcpy(void *to, const void *from, size_t size, int kind);
cudaError_t cudaMemcpy(void *to, const void *from, size_t size, int kind) {
  CONTEXT();
  return finish(copy(to, from, size, kind));
}
API cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, cudaStream_t stream);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, cudaStream_t stream) {
  CONTEXT();
  return finish(copy_async(to, from, size, kind, stream));
}

/* A rectangle. Which side is what follows from the addresses, or from the kind where host memory is not known to CUDA. */
static cudaError_t rectangle(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                             int kind, CUDA_MEMCPY2D *out) {
  enum { TYPE_HOST = 1, TYPE_DEVICE = 2, TYPE_UNIFIED = 4 };
  if (kind < HOST_TO_HOST || kind > COPY_DEFAULT) return INVALID_MEMCPY_DIRECTION;
  if (width > to_pitch || width > from_pitch) return INVALID_PITCH_VALUE;
  const bool is_known = kind != COPY_DEFAULT;
  *out = (CUDA_MEMCPY2D){.srcPitch = from_pitch, .dstPitch = to_pitch, .WidthInBytes = width, .Height = height};
  const bool from_host = kind == HOST_TO_HOST || kind == HOST_TO_DEVICE, to_host = kind == HOST_TO_HOST || kind == DEVICE_TO_HOST;
  out->srcMemoryType = !is_known ? TYPE_UNIFIED : from_host ? TYPE_HOST : TYPE_DEVICE;
  out->dstMemoryType = !is_known ? TYPE_UNIFIED : to_host ? TYPE_HOST : TYPE_DEVICE;
  out->srcHost = from;
  out->srcDevice = DEVICE_POINTER(from);
  out->dstHost = to;
  out->dstDevice = DEVICE_POINTER(to);
  return SUCCESS;
}

API cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                             int kind);
cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                         int kind) {
  CONTEXT();
  CUDA_MEMCPY2D shape;
  const cudaError_t failed = rectangle(to, to_pitch, from, from_pitch, width, height, kind, &shape);
  CHECK(failed == SUCCESS, failed);
  return finish(driver.cuMemcpy2DUnaligned_v2(&shape));
}
API cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                                  size_t height, int kind, cudaStream_t stream);
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                              int kind, cudaStream_t stream) {
  CONTEXT();
  CUDA_MEMCPY2D shape;
  const cudaError_t failed = rectangle(to, to_pitch, from, from_pitch, width, height, kind, &shape);
  CHECK(failed == SUCCESS, failed);
  return finish(driver.cuMemcpy2DAsync_v2(&shape, stream));
}

API cudaError_t cudaMemset(void *to, int value, size_t size);
cudaError_t cudaMemset(void *to, int value, size_t size) {
  CONTEXT();
  return finish(driver.cuMemsetD8_v2(DEVICE_POINTER(to), (unsigned char)value, size));
}
API cudaError_t cudaMemsetAsync(void *to, int value, size_t size, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *to, int value, size_t size, cudaStream_t stream) {
  CONTEXT();
  return finish(driver.cuMemsetD8Async(DEVICE_POINTER(to), (unsigned char)value, size, stream));
}
API cudaError_t cudaMemset2D(void *to, size_t pitch, int value, size_t width, size_t height);
cudaError_t cudaMemset2D(void *to, size_t pitch, int value, size_t width, size_t height) {
  CONTEXT();
  return finish(driver.cuMemsetD2D8_v2(DEVICE_POINTER(to), pitch, (unsigned char)value, width, height));
}

/* ---- symbols --------------------------------------------------------------------------------------------------------- */

API cudaError_t cudaGetSymbolAddress(void **out, const void *symbol);
cudaError_t cudaGetSymbolAddress(void **out, const void *symbol) {
  CONTEXT();
  CHECK(out != NULL, INVALID_VALUE);
  CUdeviceptr address;
  size_t size;
  const cudaError_t failed = variable_address(symbol, &address, &size);
  CHECK(failed == SUCCESS, failed);
  *out = HOST(address);
  return SUCCESS;
}

API cudaError_t cudaGetSymbolSize(size_t *out, const void *symbol);
cudaError_t cudaGetSymbolSize(size_t *out, const void *symbol) {
  CONTEXT();
  CHECK(out != NULL, INVALID_VALUE);
  CUdeviceptr address;
  return finish(variable_address(symbol, &address, out));
}

/* The part of a symbol that a copy is of. */
static cudaError_t symbol_part(const void *symbol, size_t offset, size_t count, void **out) {
  CUdeviceptr address;
  size_t size;
  const cudaError_t failed = variable_address(symbol, &address, &size);
  if (failed != SUCCESS) return failed;
  if (offset > size || count > size - offset) return INVALID_VALUE;
  *out = HOST(address + offset);
  return SUCCESS;
}

API cudaError_t cudaMemcpyToSymbol(const void *symbol, const void *from, size_t count, size_t offset, int kind);
cudaError_t cudaMemcpyToSymbol(const void *symbol, const void *from, size_t count, size_t offset, int kind) {
  CONTEXT();
  void *to;
  const cudaError_t failed = symbol_part(symbol, offset, count, &to);
  CHECK(failed == SUCCESS, failed);
  return finish(copy(to, from, count, kind));
}
API cudaError_t cudaMemcpyFromSymbol(void *to, const void *symbol, size_t count, size_t offset, int kind);
cudaError_t cudaMemcpyFromSymbol(void *to, const void *symbol, size_t count, size_t offset, int kind) {
  CONTEXT();
  void *from;
  const cudaError_t failed = symbol_part(symbol, offset, count, &from);
  CHECK(failed == SUCCESS, failed);
  return finish(copy(to, from, count, kind));
}
API cudaError_t cudaMemcpyToSymbolAsync(const void *symbol, const void *from, size_t count, size_t offset, int kind,
                                        cudaStream_t stream);
cudaError_t cudaMemcpyToSymbolAsync(const void *symbol, const void *from, size_t count, size_t offset, int kind,
                                    cudaStream_t stream) {
  CONTEXT();
  void *to;
  const cudaError_t failed = symbol_part(symbol, offset, count, &to);
  CHECK(failed == SUCCESS, failed);
  return finish(copy_async(to, from, count, kind, stream));
}
API cudaError_t cudaMemcpyFromSymbolAsync(void *to, const void *symbol, size_t count, size_t offset, int kind,
                                          cudaStream_t stream);
cudaError_t cudaMemcpyFromSymbolAsync(void *to, const void *symbol, size_t count, size_t offset, int kind,
                                      cudaStream_t stream) {
  CONTEXT();
  void *from;
  const cudaError_t failed = symbol_part(symbol, offset, count, &from);
  CHECK(failed == SUCCESS, failed);
  return finish(copy_async(to, from, count, kind, stream));
}

/* ---- hints about managed memory: it is in one place, and stays there ------------------------------------------------- */

#if BUSBAR_CUDART >= 13
struct location {
  int type, id;
};
API cudaError_t cudaMemPrefetchAsync(const void *address, size_t size, struct location to, unsigned int flags,
                                     cudaStream_t stream);
cudaError_t cudaMemPrefetchAsync(const void *address, size_t size, struct location to, unsigned int flags,
                                 cudaStream_t stream) {
  (void)size, (void)to, (void)flags, (void)stream;
  CONTEXT();
  CHECK(address != NULL, INVALID_VALUE);
  return SUCCESS;
}
API cudaError_t cudaMemAdvise(const void *address, size_t size, int advice, struct location where);
cudaError_t cudaMemAdvise(const void *address, size_t size, int advice, struct location where) {
  (void)size, (void)advice, (void)where;
  CONTEXT();
  CHECK(address != NULL, INVALID_VALUE);
  return SUCCESS;
}
#else
API cudaError_t cudaMemPrefetchAsync(const void *address, size_t size, int device, cudaStream_t stream);
cudaError_t cudaMemPrefetchAsync(const void *address, size_t size, int device, cudaStream_t stream) {
  (void)size, (void)device, (void)stream;
  CONTEXT();
  CHECK(address != NULL, INVALID_VALUE);
  return SUCCESS;
}
API cudaError_t cudaMemAdvise(const void *address, size_t size, int advice, int device);
cudaError_t cudaMemAdvise(const void *address, size_t size, int advice, int device) {
  (void)size, (void)advice, (void)device;
  CONTEXT();
  CHECK(address != NULL, INVALID_VALUE);
  return SUCCESS;
}
#endif

API cudaError_t cudaStreamAttachMemAsync(cudaStream_t stream, void *address, size_t length, unsigned int flags);
cudaError_t cudaStreamAttachMemAsync(cudaStream_t stream, void *address, size_t length, unsigned int flags) {
  (void)stream, (void)length, (void)flags;
  CONTEXT();
  CHECK(address != NULL, INVALID_VALUE);
  return SUCCESS;
}
