/* Memory and copies. Pinned memory lies in the coherent pool, where the device reaches it without a copy. */
#define _GNU_SOURCE
#include "shim.h"

#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- what there is --------------------------------------------------------------------------------------------------- */

struct memory *memory_at(struct context *context, uint64_t address) {
  pthread_mutex_lock(&lock);
  struct memory *one = context->memory;
  while (one != NULL && (one->is_plain || address - one->address >= one->size)) one = one->next;
  pthread_mutex_unlock(&lock);
  return one;
}

struct memory *memory_of_host(struct context *context, const void *address) {
  pthread_mutex_lock(&lock);
  struct memory *one = context->memory;
  while (one != NULL && (one->host == NULL || (uint64_t)((const uint8_t *)address - one->host) >= one->size)) one = one->next;
  pthread_mutex_unlock(&lock);
  return one;
}

static CUresult keep(struct context *context, struct memory row) {
  struct memory *one = malloc(sizeof *one);
  REQUIRE(one != NULL, CUDA_OUT_OF_MEMORY);
  *one = row;
  pthread_mutex_lock(&lock);
  one->next = context->memory;
  context->memory = one;
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

static void forget(struct context *context, struct memory *gone) {
  pthread_mutex_lock(&lock);
  struct memory **link = &context->memory;
  while (*link != NULL && *link != gone) link = &(*link)->next;
  if (*link != NULL) *link = gone->next;
  pthread_mutex_unlock(&lock);
  free(gone);
}

/* ---- device memory --------------------------------------------------------------------------------------------------- */

CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t size) {
  struct context *context;
  TRY(enter_context(&context));
  REQUIRE(out != NULL && size > 0, CUDA_INVALID_VALUE);
  struct request request = {.code = CMD_MEM_ALLOC, .params = {size}};
  TRY(run(context, &request));
  *out = request.results[0];
  return keep(context, (struct memory){.address = request.results[0], .size = size});
}

static CUresult free_pinned(struct context *context, struct memory *one) {
  const CUresult result =
      one->is_plain ? CUDA_SUCCESS : run4(context, CMD_COHERENT_FREE, (uint64_t)(one->host - window.bar4), 0, 0, 0);
  if (one->is_plain) free(one->host);
  forget(context, one);
  return result;
}

CUresult cuMemFree_v2(CUdeviceptr address) {
  struct context *context;
  TRY(enter_context(&context));
  if (address == 0) return CUDA_SUCCESS;
  struct memory *one = memory_at(context, address);
  REQUIRE(one != NULL && one->address == address && (one->host == NULL || one->is_managed), CUDA_INVALID_VALUE);
  /* What still runs may use it. */
  TRY(context->has_work ? wait_command(context, CMD_CTX_SYNC, 0) : CUDA_SUCCESS);
  if (one->is_managed) return free_pinned(context, one);
  TRY(run4(context, CMD_MEM_FREE, address, 0, 0, 0));
  forget(context, one);
  return CUDA_SUCCESS;
}

CUresult cuMemAllocAsync(CUdeviceptr *out, size_t size, CUstream stream) {
  struct context *context;
  uint64_t index;
  TRY(enter_context(&context));
  TRY(stream_index(context, stream, &index));
  return cuMemAlloc_v2(out, size);
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
  struct context *context;
  uint64_t index;
  TRY(enter_context(&context));
  TRY(stream_index(context, stream, &index));
  return cuMemFree_v2(address);
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *out, size_t *pitch, size_t width, size_t height, unsigned int element) {
  REQUIRE(pitch != NULL && width > 0 && height > 0, CUDA_INVALID_VALUE);
  REQUIRE(element == 4 || element == 8 || element == 16, CUDA_INVALID_VALUE);
  REQUIRE(width <= SIZE_MAX - 511 && (width + 511) / 512 * 512 <= SIZE_MAX / height, CUDA_INVALID_VALUE);
  *pitch = (width + 511) / 512 * 512;
  return cuMemAlloc_v2(out, *pitch * height);
}

CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  struct context *context;
  TRY(enter_context(&context));
  REQUIRE(free_bytes != NULL && total != NULL, CUDA_INVALID_VALUE);
  struct request request = {.code = CMD_MEM_GET_INFO};
  TRY(run(context, &request));
  *free_bytes = request.results[0];
  *total = request.results[1];
  return CUDA_SUCCESS;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address) {
  struct context *context;
  TRY(enter_context(&context));
  const struct memory *one = memory_at(context, address);
  REQUIRE(one != NULL, CUDA_NOT_FOUND);
  if (base != NULL) *base = one->address;
  if (size != NULL) *size = one->size;
  return CUDA_SUCCESS;
}

/* ---- pinned memory --------------------------------------------------------------------------------------------------- */

static CUresult take_pool(struct context *context, size_t size, unsigned int flags, bool is_managed, uint8_t **out) {
  struct request request = {.code = CMD_COHERENT_ALLOC, .params = {size}};
  REQUIRE((window.caps & CAPS_COHERENT_POOL) != 0 && window.bar4_pointer != 0, CUDA_OUT_OF_MEMORY);
  TRY(run(context, &request));
  const uint64_t offset = request.results[0];
  REQUIRE(offset <= window.bar4_bytes && size <= window.bar4_bytes - offset, CUDA_UNKNOWN);
  *out = window.bar4 + offset;
  memset(*out, 0, size);
  return keep(context, (struct memory){.address = window.bar4_pointer + offset, .size = size, .host = *out, .flags = flags,
                                       .is_managed = is_managed});
}

CUresult cuMemHostAlloc(void **out, size_t size, unsigned int flags) {
  struct context *context;
  TRY(enter_context(&context));
  REQUIRE(out != NULL && size > 0 && flags < 8, CUDA_INVALID_VALUE);
  uint8_t *place;
  const CUresult result = take_pool(context, size, flags | 2, false, &place);
  if (result == CUDA_SUCCESS) *out = place;
  /* Without a pool, or when it is full: memory that only the processor reaches. */
  if (result != CUDA_OUT_OF_MEMORY && result != CUDA_INVALID_VALUE) return result;
  place = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
  REQUIRE(place != NULL, CUDA_OUT_OF_MEMORY);
  *out = place;
  return keep(context, (struct memory){.address = (uint64_t)(uintptr_t)place, .size = size, .host = place, .flags = flags,
                                       .is_plain = true});
}
CUresult cuMemAllocHost_v2(void **out, size_t size) { return cuMemHostAlloc(out, size, 0); }

CUresult cuMemFreeHost(void *address) {
  struct context *context;
  TRY(enter_context(&context));
  struct memory *one = memory_of_host(context, address);
  REQUIRE(one != NULL && one->host == address && !one->is_managed, CUDA_INVALID_VALUE);
  TRY(context->has_work ? wait_command(context, CMD_CTX_SYNC, 0) : CUDA_SUCCESS);
  return free_pinned(context, one);
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *out, void *address, unsigned int flags) {
  struct context *context;
  TRY(enter_context(&context));
  REQUIRE(out != NULL && flags == 0, CUDA_INVALID_VALUE);
  const struct memory *one = memory_of_host(context, address);
  REQUIRE(one != NULL, CUDA_INVALID_VALUE);
  REQUIRE(!one->is_plain, CUDA_NOT_SUPPORTED);
  *out = one->address + (uint64_t)((uint8_t *)address - one->host);
  return CUDA_SUCCESS;
}

CUresult cuMemHostGetFlags(unsigned int *flags, void *address) {
  struct context *context;
  TRY(enter_context(&context));
  REQUIRE(flags != NULL, CUDA_INVALID_VALUE);
  const struct memory *one = memory_of_host(context, address);
  REQUIRE(one != NULL, CUDA_INVALID_VALUE);
  *flags = one->flags;
  return CUDA_SUCCESS;
}

/* A guest's ordinary pages are out of the device's reach. */
CUresult cuMemHostRegister_v2(void *address, size_t size, unsigned int flags) {
  (void)flags;
  TRY(enter());
  REQUIRE(address != NULL && size > 0, CUDA_INVALID_VALUE);
  return CUDA_NOT_SUPPORTED;
}
CUresult cuMemHostUnregister(void *address) {
  TRY(enter());
  REQUIRE(address != NULL, CUDA_INVALID_VALUE);
  return CUDA_NOT_REGISTERED;
}

/* One address for both is there where the program could map BAR4 at the device's own address. */
CUresult cuMemAllocManaged(CUdeviceptr *out, size_t size, unsigned int flags) {
  struct context *context;
  TRY(enter_context(&context));
  REQUIRE(out != NULL && size > 0 && (flags == 1 || flags == 2), CUDA_INVALID_VALUE);
  REQUIRE((uint64_t)(uintptr_t)window.bar4 == window.bar4_pointer, CUDA_NOT_SUPPORTED);
  uint8_t *place;
  TRY(take_pool(context, size, flags, true, &place));
  *out = (uint64_t)(uintptr_t)place;
  return CUDA_SUCCESS;
}

/* CUpointer_attribute */
enum { OF_CONTEXT = 1, MEMORY_TYPE = 2, DEVICE_POINTER = 3, HOST_POINTER = 4, IS_MANAGED = 8, ORDINAL = 9 };

static CUresult attribute_of(struct context *context, void *out, CUpointer_attribute attribute, CUdeviceptr address) {
  const struct memory *one = memory_at(context, address);
  if (one == NULL) one = memory_of_host(context, (const void *)(uintptr_t)address);
  REQUIRE(one != NULL, CUDA_INVALID_VALUE);
  const uint64_t into = one->host != NULL && address - (uint64_t)(uintptr_t)one->host < one->size
                            ? address - (uint64_t)(uintptr_t)one->host
                            : address - one->address;
  switch (attribute) {
    case OF_CONTEXT: *(void **)out = context->handle; return CUDA_SUCCESS;
    case MEMORY_TYPE: *(uint32_t *)out = one->host == NULL ? 2 : one->is_managed ? 2 : 1; return CUDA_SUCCESS;
    case DEVICE_POINTER: *(uint64_t *)out = one->is_plain ? 0 : one->address + into; return CUDA_SUCCESS;
    case HOST_POINTER: *(void **)out = one->host == NULL ? NULL : one->host + into; return one->host == NULL ? 1 : 0;
    case IS_MANAGED: *(uint32_t *)out = one->is_managed; return CUDA_SUCCESS;
    case ORDINAL: *(int *)out = 0; return CUDA_SUCCESS;
    default: return CUDA_NOT_SUPPORTED;
  }
}

CUresult cuPointerGetAttribute(void *out, CUpointer_attribute attribute, CUdeviceptr address) {
  struct context *context;
  TRY(enter_context(&context));
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  return attribute_of(context, out, attribute, address);
}

CUresult cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **values, CUdeviceptr address) {
  struct context *context;
  TRY(enter_context(&context));
  REQUIRE(attributes != NULL && values != NULL, CUDA_INVALID_VALUE);
  for (unsigned int i = 0; i < count; i++) {
    static const size_t SIZES[] = {[OF_CONTEXT] = 8, [MEMORY_TYPE] = 4, [DEVICE_POINTER] = 8, [HOST_POINTER] = 8,
                                   [IS_MANAGED] = 4, [ORDINAL] = 4};
    if (attribute_of(context, values[i], attributes[i], address) == CUDA_SUCCESS) continue;
    /* An address that nobody knows has no attributes, which is no error of this function. */
    if (attributes[i] < sizeof SIZES / sizeof *SIZES) memset(values[i], 0, SIZES[attributes[i]]);
    if (attributes[i] == ORDINAL) *(int *)values[i] = -2;
  }
  return CUDA_SUCCESS;
}

/* ---- copies ---------------------------------------------------------------------------------------------------------- */

static uint64_t piece_of(uint64_t size) {
  return size > window.data_bytes && window.bulk_bytes > window.data_bytes ? window.bulk_bytes : window.data_bytes;
}

static CUresult to_device(struct context *context, uint64_t to, const uint8_t *from, uint64_t size, uint64_t stream) {
  const uint64_t piece = piece_of(size);
  /* Also when there is nothing to copy, a fault is told. */
  for (uint64_t at = 0; at < size; at += piece) {
    const uint64_t part = size - at < piece ? size - at : piece;
    struct request request;
    if (piece == window.data_bytes) {
      request = (struct request){.code = CMD_MEM_COPY_HTOD, .params = {to + at, part}, .data = from + at, .data_size = part};
    } else {
      request = (struct request){.code = CMD_BULK_HTOD, .params = {0, to + at, part, stream, 0}, .bulk = from + at,
                                 .bulk_size = part};
    }
    TRY(run(context, &request));
  }
  return CUDA_SUCCESS;
}

static CUresult from_device(struct context *context, uint8_t *to, uint64_t from, uint64_t size, uint64_t stream) {
  const uint64_t piece = piece_of(size);
  for (uint64_t at = 0; at < size; at += piece) {
    const uint64_t part = size - at < piece ? size - at : piece;
    struct request request;
    if (piece == window.data_bytes) {
      request = (struct request){.code = CMD_MEM_COPY_DTOH, .params = {from + at, part}, .read = to + at, .read_size = part};
    } else {
      request = (struct request){.code = CMD_BULK_DTOH, .params = {from + at, 0, part, stream, 0}, .bulk_read = to + at,
                                 .bulk_read_size = part};
    }
    TRY(run(context, &request));
  }
  return CUDA_SUCCESS;
}

static CUresult on_device(struct context *context, uint64_t to, uint64_t from, uint64_t size, uint64_t stream, bool async) {
  struct request request = {.code = CMD_BULK_DTOD, .params = {from, to, size, stream, async}};
  if ((window.caps & CAPS_BULK) == 0) request = (struct request){.code = CMD_MEM_COPY_DTOD, .params = {to, from, size}};
  if (async) context->has_work = true;
  return size == 0 ? CUDA_SUCCESS : run(context, &request);
}

/* The device's address of host memory that it reaches; 0 for other memory. */
static uint64_t device_address(struct context *context, const void *host, uint64_t size) {
  const struct memory *one = memory_of_host(context, host);
  if (one == NULL || one->is_plain) return 0;
  const uint64_t into = (uint64_t)((const uint8_t *)host - one->host);
  return size <= one->size - into ? one->address + into : 0;
}

static CUresult copy_in(CUdeviceptr to, const void *from, size_t size, CUstream stream, bool async) {
  struct context *context;
  uint64_t index;
  TRY(enter_context(&context));
  TRY(stream_index(context, stream, &index));
  REQUIRE(from != NULL || size == 0, CUDA_INVALID_VALUE);
  const uint64_t pinned = device_address(context, from, size);
  if (pinned != 0 && async) return on_device(context, to, pinned, size, index, true);
  TRY(settle(context, index));
  return pinned != 0 ? on_device(context, to, pinned, size, index, false) : to_device(context, to, from, size, index);
}

static CUresult copy_out(void *to, CUdeviceptr from, size_t size, CUstream stream, bool async) {
  struct context *context;
  uint64_t index;
  TRY(enter_context(&context));
  TRY(stream_index(context, stream, &index));
  REQUIRE(to != NULL || size == 0, CUDA_INVALID_VALUE);
  const uint64_t pinned = device_address(context, to, size);
  if (pinned != 0 && async) return on_device(context, pinned, from, size, index, true);
  TRY(settle(context, index));
  return pinned != 0 ? on_device(context, pinned, from, size, index, false) : from_device(context, to, from, size, index);
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size) { return copy_in(to, from, size, NULL, false); }
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size) { return copy_out(to, from, size, NULL, false); }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
  return copy_in(to, from, size, stream, true);
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream) {
  return copy_out(to, from, size, stream, true);
}

static CUresult copy_between(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream, bool async) {
  struct context *context;
  uint64_t index;
  TRY(enter_context(&context));
  TRY(stream_index(context, stream, &index));
  if (!async) TRY(settle(context, index));
  return on_device(context, to, from, size, index, async);
}
CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size) { return copy_between(to, from, size, NULL, false); }
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
  return copy_between(to, from, size, stream, true);
}

/* Where an address is tells the direction: memory that this context allocated on the device, else the program's. */
static bool is_device(CUdeviceptr address) {
  struct context *context;
  if (enter_context(&context) != CUDA_SUCCESS) return false;
  const struct memory *one = memory_at(context, address);
  return one != NULL && (one->host == NULL || one->address != (uint64_t)(uintptr_t)one->host);
}
static CUresult copy_any(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream, bool async) {
  if (is_device(to)) {
    return is_device(from) ? copy_between(to, from, size, stream, async)
                           : copy_in(to, (const void *)(uintptr_t)from, size, stream, async);
  }
  if (is_device(from)) return copy_out((void *)(uintptr_t)to, from, size, stream, async);
  struct context *context;
  uint64_t index;
  TRY(enter_context(&context));
  TRY(stream_index(context, stream, &index));
  TRY(settle(context, index));
  memmove((void *)(uintptr_t)to, (const void *)(uintptr_t)from, size);
  return CUDA_SUCCESS;
}
CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t size) { return copy_any(to, from, size, NULL, false); }
CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
  return copy_any(to, from, size, stream, true);
}

/* CU_MEMORYTYPE_HOST, _DEVICE, _UNIFIED; arrays there are none. Row by row: each is a copy of its own. */
enum { TYPE_HOST = 1, TYPE_DEVICE = 2, TYPE_UNIFIED = 4 };

static CUresult copy_rows(const CUDA_MEMCPY2D *copy, CUstream stream, bool async) {
  REQUIRE(copy != NULL, CUDA_INVALID_VALUE);
  const bool from_host = copy->srcMemoryType == TYPE_HOST, to_host = copy->dstMemoryType == TYPE_HOST;
  REQUIRE(from_host || copy->srcMemoryType == TYPE_DEVICE || copy->srcMemoryType == TYPE_UNIFIED, CUDA_NOT_SUPPORTED);
  REQUIRE(to_host || copy->dstMemoryType == TYPE_DEVICE || copy->dstMemoryType == TYPE_UNIFIED, CUDA_NOT_SUPPORTED);
  const uint64_t from = from_host ? (uint64_t)(uintptr_t)copy->srcHost : copy->srcDevice;
  const uint64_t to = to_host ? (uint64_t)(uintptr_t)copy->dstHost : copy->dstDevice;
  for (size_t row = 0; row < copy->Height; row++) {
    const uint64_t source = from + (copy->srcY + row) * copy->srcPitch + copy->srcXInBytes;
    const uint64_t target = to + (copy->dstY + row) * copy->dstPitch + copy->dstXInBytes;
    TRY(from_host && to_host ? copy_any(target, source, copy->WidthInBytes, stream, async)
        : from_host          ? copy_in(target, (const void *)(uintptr_t)source, copy->WidthInBytes, stream, async)
        : to_host            ? copy_out((void *)(uintptr_t)target, source, copy->WidthInBytes, stream, async)
                             : copy_between(target, source, copy->WidthInBytes, stream, async));
  }
  return CUDA_SUCCESS;
}
CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D *copy) { return copy_rows(copy, NULL, false); }
CUresult cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *copy) { return copy_rows(copy, NULL, false); }
CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *copy, CUstream stream) { return copy_rows(copy, stream, true); }

/* ---- fills ----------------------------------------------------------------------------------------------------------- */

static CUresult fill(CUdeviceptr to, uint32_t value, size_t count, uint64_t width, CUstream stream) {
  struct context *context;
  uint64_t index;
  TRY(enter_context(&context));
  TRY(stream_index(context, stream, &index));
  struct request request = {.code = CMD_MEM_SET, .params = {to, value, count, width, index}};
  context->has_work = true;
  return run(context, &request);
}

static CUresult fill_rows(CUdeviceptr to, size_t pitch, uint32_t value, size_t width, size_t height, uint64_t element) {
  for (size_t row = 0; row < height; row++) TRY(fill(to + row * pitch, value, width, element, NULL));
  return CUDA_SUCCESS;
}

CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) { return fill(to, value, count, 1, NULL); }
CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count) { return fill(to, value, count, 2, NULL); }
CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned int value, size_t count) { return fill(to, value, count, 4, NULL); }
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  return fill(to, value, count, 1, stream);
}
CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
  return fill(to, value, count, 2, stream);
}
CUresult cuMemsetD32Async(CUdeviceptr to, unsigned int value, size_t count, CUstream stream) {
  return fill(to, value, count, 4, stream);
}
CUresult cuMemsetD2D8_v2(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height) {
  return fill_rows(to, pitch, value, width, height, 1);
}
CUresult cuMemsetD2D32_v2(CUdeviceptr to, size_t pitch, unsigned int value, size_t width, size_t height) {
  return fill_rows(to, pitch, value, width, height, 4);
}
