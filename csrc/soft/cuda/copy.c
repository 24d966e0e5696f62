/*
 * Copies and fills. Each becomes one shape, rows of bytes in planes, whose two ends are checked against what is allocated;
 * then it is queued. What the driver does with pageable host memory is done here too: bytes that go to the device are taken
 * at once, and a copy to it has happened when the call returns.
 */
#include "state.h"

#include <stdlib.h>
#include <string.h>

/* One end of a copy: a device address, or a host pointer, whichever it is; and how rows and planes lie there. */
struct end {
  uint64_t address, pitch, plane;
};

/* The bytes from the first to the last of a shape. False: more than there are addresses. */
static bool extent(const struct end *end, uint64_t width, uint64_t height, uint64_t depth, uint64_t *out) {
  uint64_t rows, planes;
  return !__builtin_mul_overflow(height - 1, end->pitch, &rows) && !__builtin_mul_overflow(depth - 1, end->plane, &planes) &&
         !__builtin_add_overflow(rows, planes, &rows) && !__builtin_add_overflow(rows, width, out);
}

/* Where the bytes of an end lie in this process. known receives what holds them, NULL for pageable host memory. With the
 * lock held. */
static CUresult resolve(CUcontext current, const struct end *end, uint64_t size, uint8_t **out, struct allocation **known) {
  *known = memory_holding(current->instance, end->address, size);
  if (*known != NULL) {
    *out = (*known)->host + (end->address - (*known)->address);
    return CUDA_SUCCESS;
  }
  /* Not all of it is in one allocation: if its first byte is, it runs over the end. */
  const struct allocation *first = memory_holding(current->instance, end->address, 1);
  REQUIRE(end->address != 0 && end->address < DEVICE_ADDRESSES, CUDA_INVALID_VALUE);
  REQUIRE(first == NULL || first->kind == MEMORY_REGISTERED, CUDA_INVALID_VALUE);
  *out = (uint8_t *)(uintptr_t)end->address;
  return CUDA_SUCCESS;
}

/* What the caller said an end is. */
enum side { SIDE_ANY, SIDE_HOST, SIDE_DEVICE };

struct request {
  struct end to, from;
  enum side to_side, from_side;
  uint64_t width, height, depth;
};

static CUresult check_side(enum side side, const struct allocation *known, uint64_t address) {
  /* A device pointer is one of device memory, or of host memory that the device knows. */
  if (side == SIDE_DEVICE) return known != NULL ? CUDA_SUCCESS : CUDA_INVALID_VALUE;
  if (side == SIDE_HOST) return address < DEVICE_ADDRESSES ? CUDA_SUCCESS : CUDA_INVALID_VALUE;
  return CUDA_SUCCESS;
}

enum { STAGED_BYTES = 64 << 10 };

/* Queues a copy; waits when it is to have happened on return. */
static CUresult copy(CUcontext current, const struct request *request, CUstream stream, bool is_synchronous) {
  struct cuda_instance *instance = current->instance;
  const uint64_t width = request->width, height = request->height, depth = request->depth;
  uint64_t to_bytes, from_bytes;
  lock(instance);
  CUstream queue = stream_named(current, stream);
  CUresult failed = queue == NULL ? CUDA_INVALID_HANDLE : CUDA_SUCCESS;
  if (failed != CUDA_SUCCESS || width == 0 || height == 0 || depth == 0) {
    unlock(instance);
    return failed;
  }
  struct block_copy shape = {.width = width, .height = height, .depth = depth, .to_pitch = request->to.pitch,
                             .from_pitch = request->from.pitch, .to_plane = request->to.plane,
                             .from_plane = request->from.plane};
  struct allocation *to = NULL, *from = NULL;
  uint8_t *source = NULL;
  if (!extent(&request->to, width, height, depth, &to_bytes) || !extent(&request->from, width, height, depth, &from_bytes)) {
    failed = CUDA_INVALID_VALUE;
  }
  if (failed == CUDA_SUCCESS) failed = resolve(current, &request->to, to_bytes, &shape.to, &to);
  if (failed == CUDA_SUCCESS) failed = resolve(current, &request->from, from_bytes, &source, &from);
  if (failed == CUDA_SUCCESS) failed = check_side(request->to_side, to, request->to.address);
  if (failed == CUDA_SUCCESS) failed = check_side(request->from_side, from, request->from.address);
  shape.from = source;
  struct work *work = failed == CUDA_SUCCESS ? work_new(WORK_COPY) : NULL;
  if (failed == CUDA_SUCCESS && work == NULL) failed = CUDA_OUT_OF_MEMORY;
  bool waits = is_synchronous;
  if (work != NULL) {
    /* On the device alone nothing is waited for, as the driver does not. */
    const bool is_on_device = to != NULL && to->kind == MEMORY_DEVICE && from != NULL && from->kind == MEMORY_DEVICE;
    if (is_on_device) waits = false;
    if (to == NULL) waits = true;
    if (from == NULL && !waits) {
      if (from_bytes <= STAGED_BYTES && (work->buffer = malloc(from_bytes)) != NULL) {
        memcpy(work->buffer, source, from_bytes);
        shape.from = work->buffer;
      } else {
        waits = true;
      }
    }
    work->copy = shape;
    failed = stream_enqueue(queue, work);
    if (failed == CUDA_SUCCESS && waits) failed = stream_wait(current, queue);
  }
  unlock(instance);
  return failed;
}

static CUresult copy_bytes(CUcontext current, uint64_t to, enum side to_side, uint64_t from, enum side from_side, size_t size,
                           CUstream stream, bool is_synchronous) {
  const struct request request = {{to, size, size}, {from, size, size}, to_side, from_side, size, 1, 1};
  return copy(current, &request, stream, is_synchronous);
}

#define HOST(pointer) ((uint64_t)(uintptr_t)(pointer))

CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t size) {
  ENTER_CONTEXT();
  return copy_bytes(current, to, SIDE_ANY, from, SIDE_ANY, size, NULL, true);
}
CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size) {
  ENTER_CONTEXT();
  return copy_bytes(current, to, SIDE_DEVICE, HOST(from), SIDE_HOST, size, NULL, true);
}
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size) {
  ENTER_CONTEXT();
  return copy_bytes(current, HOST(to), SIDE_HOST, from, SIDE_DEVICE, size, NULL, true);
}
CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size) {
  ENTER_CONTEXT();
  return copy_bytes(current, to, SIDE_DEVICE, from, SIDE_DEVICE, size, NULL, true);
}
CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
  ENTER_CONTEXT();
  return copy_bytes(current, to, SIDE_ANY, from, SIDE_ANY, size, stream, false);
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
  ENTER_CONTEXT();
  return copy_bytes(current, to, SIDE_DEVICE, HOST(from), SIDE_HOST, size, stream, false);
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream) {
  ENTER_CONTEXT();
  return copy_bytes(current, HOST(to), SIDE_HOST, from, SIDE_DEVICE, size, stream, false);
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
  ENTER_CONTEXT();
  return copy_bytes(current, to, SIDE_DEVICE, from, SIDE_DEVICE, size, stream, false);
}

static bool are_contexts(struct cuda_instance *instance, CUcontext one, CUcontext other) {
  lock(instance);
  const bool result = handles_kind(&instance->handles, one) == HANDLE_CONTEXT &&
                      handles_kind(&instance->handles, other) == HANDLE_CONTEXT;
  unlock(instance);
  return result;
}

CUresult cuMemcpyPeer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t size) {
  ENTER_CONTEXT();
  REQUIRE(are_contexts(instance, to_context, from_context), CUDA_INVALID_CONTEXT);
  return copy_bytes(current, to, SIDE_DEVICE, from, SIDE_DEVICE, size, NULL, true);
}
CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t size,
                           CUstream stream) {
  ENTER_CONTEXT();
  REQUIRE(are_contexts(instance, to_context, from_context), CUDA_INVALID_CONTEXT);
  return copy_bytes(current, to, SIDE_DEVICE, from, SIDE_DEVICE, size, stream, false);
}

/* ---- rectangles and boxes -------------------------------------------------------------------------------------------- */

/* CUmemorytype */
enum { TYPE_HOST = 1, TYPE_DEVICE = 2, TYPE_ARRAY = 3, TYPE_UNIFIED = 4 };

static CUresult side_of(CUmemorytype type, const void *host, CUdeviceptr device, struct end *end, enum side *side) {
  switch (type) {
    case TYPE_HOST: end->address = HOST(host); *side = SIDE_HOST; return CUDA_SUCCESS;
    case TYPE_DEVICE: end->address = device; *side = SIDE_DEVICE; return CUDA_SUCCESS;
    case TYPE_UNIFIED: end->address = device; *side = SIDE_ANY; return CUDA_SUCCESS;
    case TYPE_ARRAY: return CUDA_NOT_SUPPORTED;
    default: return CUDA_INVALID_VALUE;
  }
}

/* Adds where the shape begins. False: beyond all addresses. */
static bool begin_at(struct end *end, size_t x, size_t y, size_t z) {
  uint64_t rows, planes;
  return !__builtin_mul_overflow((uint64_t)y, end->pitch, &rows) && !__builtin_mul_overflow((uint64_t)z, end->plane, &planes) &&
         !__builtin_add_overflow(end->address, rows, &end->address) &&
         !__builtin_add_overflow(end->address, planes, &end->address) &&
         !__builtin_add_overflow(end->address, (uint64_t)x, &end->address);
}

static CUresult copy_box(CUcontext current, const CUDA_MEMCPY3D *box, CUstream stream, bool is_synchronous) {
  struct request request = {.width = box->WidthInBytes, .height = box->Height, .depth = box->Depth};
  CUresult failed = side_of(box->srcMemoryType, box->srcHost, box->srcDevice, &request.from, &request.from_side);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  failed = side_of(box->dstMemoryType, box->dstHost, box->dstDevice, &request.to, &request.to_side);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  /* A pitch of 0 is as wide as the row; with more than one row it must be given. */
  REQUIRE(box->Height <= 1 || (box->srcPitch >= box->WidthInBytes && box->dstPitch >= box->WidthInBytes), CUDA_INVALID_VALUE);
  REQUIRE(box->Depth <= 1 || (box->srcHeight >= box->Height && box->dstHeight >= box->Height), CUDA_INVALID_VALUE);
  request.from.pitch = box->srcPitch == 0 ? box->WidthInBytes : box->srcPitch;
  request.to.pitch = box->dstPitch == 0 ? box->WidthInBytes : box->dstPitch;
  const uint64_t from_rows = box->srcHeight == 0 ? box->Height : box->srcHeight;
  const uint64_t to_rows = box->dstHeight == 0 ? box->Height : box->dstHeight;
  REQUIRE(!__builtin_mul_overflow(request.from.pitch, from_rows, &request.from.plane) &&
              !__builtin_mul_overflow(request.to.pitch, to_rows, &request.to.plane),
          CUDA_INVALID_VALUE);
  REQUIRE(begin_at(&request.from, box->srcXInBytes, box->srcY, box->srcZ) &&
              begin_at(&request.to, box->dstXInBytes, box->dstY, box->dstZ),
          CUDA_INVALID_VALUE);
  return copy(current, &request, stream, is_synchronous);
}

CUresult cuMemcpy3D_v2(const CUDA_MEMCPY3D *box) {
  ENTER_CONTEXT();
  REQUIRE(box != NULL, CUDA_INVALID_VALUE);
  return copy_box(current, box, NULL, true);
}

CUresult cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *box, CUstream stream) {
  ENTER_CONTEXT();
  REQUIRE(box != NULL, CUDA_INVALID_VALUE);
  return copy_box(current, box, stream, false);
}

static CUresult copy_rectangle(CUcontext current, const CUDA_MEMCPY2D *from, CUstream stream, bool is_synchronous) {
  REQUIRE(from != NULL, CUDA_INVALID_VALUE);
  const CUDA_MEMCPY3D box = {
      .srcXInBytes = from->srcXInBytes, .srcY = from->srcY, .srcMemoryType = from->srcMemoryType, .srcHost = from->srcHost,
      .srcDevice = from->srcDevice, .srcPitch = from->srcPitch, .dstXInBytes = from->dstXInBytes, .dstY = from->dstY,
      .dstMemoryType = from->dstMemoryType, .dstHost = from->dstHost, .dstDevice = from->dstDevice,
      .dstPitch = from->dstPitch, .WidthInBytes = from->WidthInBytes, .Height = from->Height, .Depth = 1};
  return copy_box(current, &box, stream, is_synchronous);
}

CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D *rectangle) {
  ENTER_CONTEXT();
  return copy_rectangle(current, rectangle, NULL, true);
}
CUresult cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *rectangle) {
  ENTER_CONTEXT();
  return copy_rectangle(current, rectangle, NULL, true);
}
CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *rectangle, CUstream stream) {
  ENTER_CONTEXT();
  return copy_rectangle(current, rectangle, stream, false);
}

/* ---- fills ----------------------------------------------------------------------------------------------------------- */

static CUresult fill(CUcontext current, uint64_t to, uint64_t pitch, uint32_t value, uint32_t value_bytes, uint64_t count,
                     uint64_t height, CUstream stream) {
  struct cuda_instance *instance = current->instance;
  uint64_t width, bytes;
  REQUIRE(!__builtin_mul_overflow(count, (uint64_t)value_bytes, &width), CUDA_INVALID_VALUE);
  lock(instance);
  CUstream queue = stream_named(current, stream);
  CUresult failed = queue == NULL ? CUDA_INVALID_HANDLE : CUDA_SUCCESS;
  if (failed == CUDA_SUCCESS && count > 0 && height > 0) {
    const struct end end = {to, height == 1 ? width : pitch, 0};
    const struct allocation *one =
        extent(&end, width, height, 1, &bytes) ? memory_holding(instance, to, bytes) : NULL;
    struct work *work = NULL;
    failed = CUDA_INVALID_VALUE;
    if (one != NULL && to % value_bytes == 0 && end.pitch >= width && end.pitch % value_bytes == 0) {
      work = work_new(WORK_FILL);
      failed = CUDA_OUT_OF_MEMORY;
    }
    if (work != NULL) {
      work->fill.to = one->host + (to - one->address);
      work->fill.width = width;
      work->fill.height = height;
      work->fill.pitch = end.pitch;
      work->fill.value = value;
      work->fill.value_bytes = value_bytes;
      failed = stream_enqueue(queue, work);
    }
  }
  unlock(instance);
  return failed;
}

CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) {
  ENTER_CONTEXT();
  return fill(current, to, 0, value, 1, count, 1, NULL);
}
CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count) {
  ENTER_CONTEXT();
  return fill(current, to, 0, value, 2, count, 1, NULL);
}
CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned int value, size_t count) {
  ENTER_CONTEXT();
  return fill(current, to, 0, value, 4, count, 1, NULL);
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  ENTER_CONTEXT();
  return fill(current, to, 0, value, 1, count, 1, stream);
}
CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
  ENTER_CONTEXT();
  return fill(current, to, 0, value, 2, count, 1, stream);
}
CUresult cuMemsetD32Async(CUdeviceptr to, unsigned int value, size_t count, CUstream stream) {
  ENTER_CONTEXT();
  return fill(current, to, 0, value, 4, count, 1, stream);
}
CUresult cuMemsetD2D8_v2(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height) {
  ENTER_CONTEXT();
  return fill(current, to, pitch, value, 1, width, height, NULL);
}
CUresult cuMemsetD2D32_v2(CUdeviceptr to, size_t pitch, unsigned int value, size_t width, size_t height) {
  ENTER_CONTEXT();
  return fill(current, to, pitch, value, 4, width, height, NULL);
}
