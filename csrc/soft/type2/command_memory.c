/* Commands: device memory and copies. */
#define _GNU_SOURCE
#include "device.h"

/* Zeroes memory that nobody has yet. On a stream of its own: a fill of the default stream would be done whenever the kernels
 * before it end, over what the guest's other streams have written by then. */
static CUresult clear_new(struct type2 *device, struct session *session, CUdeviceptr address, uint64_t size) {
  enum { NON_BLOCKING = 1 };
  const struct backend_functions *f = &device->backend.f;
  CUresult result = session->clearing == NULL ? f->cuStreamCreate(&session->clearing, NON_BLOCKING) : 0;
  if (result != 0) {
    session->clearing = NULL;
    return result;
  }
  result = f->cuMemsetD8Async(address, 0, size, session->clearing);
  return result != 0 ? result : f->cuStreamSynchronize(session->clearing);
}

uint32_t command_MEM_ALLOC(struct type2 *device, struct command *command) {
  const uint64_t size = command->params[0];
  if (size == 0) return TYPE2_INVALID_VALUE;
  if (size > get64(device, REG_TOTAL_MEM) - device->allocated) return TYPE2_OUT_OF_MEMORY;
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  CUdeviceptr address = 0;
  CUresult result = device->backend.f.cuMemAlloc_v2(&address, size);
  if (result != 0) return result_of(result);
  /* What another process of the guest left there is none of this one's. */
  const bool is_new = device->freed_by == 0 || device->freed_by == (uint64_t)command->session->id + 1;
  if (!is_new) result = clear_new(device, command->session, address, size);
  if (result != 0) {
    device->backend.f.cuMemFree_v2(address);
    return result_of(result);
  }
  if (!range_add(command->session, address, size, 0)) {
    device->backend.f.cuMemFree_v2(address);
    return TYPE2_OUT_OF_MEMORY;
  }
  command->session->allocated += size;
  device->allocated += size;
  command->results[0] = address;
  return TYPE2_SUCCESS;
}

uint32_t command_MEM_FREE(struct type2 *device, struct command *command) {
  uint64_t size;
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  if (!range_remove(command->session, command->params[0], &size)) return TYPE2_INVALID_VALUE;
  command->session->allocated -= size;
  device->allocated -= size;
  session_freed(device, command->session);
  return result_of(device->backend.f.cuMemFree_v2(command->params[0]));
}

/* The GPU touches that memory: if it is BAR4, the engine is told, line by line. */
static void gpu_touches(struct type2 *device, uint64_t address, uint64_t size, bool is_write) {
  if (device->bar4_pointer == 0 || size == 0 || address - device->bar4_pointer >= device->bar4_bytes) return;
  const uint64_t offset = address - device->bar4_pointer;
  coherency_range(device->engine, DOMAIN_GPU, is_write ? WR_INV : RD_SHARED, offset, size);
  for (uint64_t line = offset / 64; line <= (offset + size - 1) / 64; line++) {
    device->device_bias_hits += device->bias[line / 8] >> (line % 8) & 1;
  }
}

static uint32_t copy_in(struct type2 *device, struct command *command) {
  const uint64_t to = command->params[0], size = command->params[1];
  if (size > device->data_bytes) return TYPE2_INVALID_VALUE;
  if (size == 0) return TYPE2_SUCCESS;
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  if (!range_holds(device, command->session, to, size)) return TYPE2_INVALID_VALUE;
  const CUresult result = device->backend.f.cuMemcpyHtoD_v2(to, device->data, size);
  gpu_touches(device, to, size, true);
  return result_of(result);
}

uint32_t command_MEM_COPY_HTOD(struct type2 *device, struct command *command) { return copy_in(device, command); }

static uint32_t copy_out(struct type2 *device, struct command *command) {
  const uint64_t from = command->params[0], size = command->params[1];
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  if (!range_holds(device, command->session, from, size)) return TYPE2_INVALID_VALUE;
  const CUresult result = device->backend.f.cuMemcpyDtoH_v2(device->data, from, size);
  gpu_touches(device, from, size, false);
  return result_of(result);
}

uint32_t command_MEM_COPY_DTOH(struct type2 *device, struct command *command) {
  const uint64_t size = command->params[1];
  if (size > device->data_bytes) return TYPE2_INVALID_VALUE;
  if (size == 0) return TYPE2_SUCCESS;
  const uint32_t result = copy_out(device, command);
  /* What was in DATA before is nothing that was copied. */
  if (result != 0) clear_for_guest(device->data, size);
  return result;
}

/* A stream's place + 1, or 0 for the default stream, as a handle. False when there is none. */
static bool stream_of(const struct session *session, uint64_t place, CUstream *out) {
  *out = NULL;
  if (place == 0) return true;
  if (place > MOST_STREAMS || session->streams[place - 1] == NULL) return false;
  *out = session->streams[place - 1];
  return true;
}

/* Waits for what was just queued, unless the guest does not want to. */
static uint32_t finish(struct type2 *device, struct command *command, CUstream stream, CUresult result) {
  if (result != 0 || (command->params[4] & 1) != 0) return result_of(result);
  return result_of(device->backend.f.cuStreamSynchronize(stream));
}

static uint32_t copy_between(struct type2 *device, struct command *command, uint64_t to, uint64_t from, uint64_t size,
                             uint64_t stream_place, bool is_async) {
  if (size == 0) return TYPE2_SUCCESS;
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  CUstream stream;
  if (!stream_of(command->session, stream_place, &stream)) return TYPE2_INVALID_HANDLE;
  if (!range_holds(device, command->session, to, size) || !range_holds(device, command->session, from, size)) {
    return TYPE2_INVALID_VALUE;
  }
  gpu_touches(device, from, size, false);
  gpu_touches(device, to, size, true);
  /* On the default stream the one that waits; on a stream, the driver keeps the order. */
  if (!is_async && stream == NULL) return result_of(device->backend.f.cuMemcpyDtoD_v2(to, from, size));
  const CUresult result = device->backend.f.cuMemcpyAsync(to, from, size, stream);
  return finish(device, command, stream, result);
}

uint32_t command_MEM_COPY_DTOD(struct type2 *device, struct command *command) {
  return copy_between(device, command, command->params[0], command->params[1], command->params[2], 0, false);
}

uint32_t command_BULK_DTOD(struct type2 *device, struct command *command) {
  return copy_between(device, command, command->params[1], command->params[0], command->params[2], command->params[3],
                      (command->params[4] & 1) != 0);
}

/* A range of BAR4 that bulk copies may use: not the pool's. */
static bool is_bulk_range(const struct type2 *device, uint64_t offset, uint64_t size) {
  if (size > TYPE2_BULK_MOST_BYTES || !range_in(offset, size, device->bar4_bytes)) return false;
  return (device->caps & CAPS_COHERENT_POOL) == 0 || offset + size <= device->pool_base;
}

uint32_t command_BULK_HTOD(struct type2 *device, struct command *command) {
  const uint64_t offset = command->params[0], to = command->params[1], size = command->params[2];
  if (!is_bulk_range(device, offset, size)) return TYPE2_INVALID_VALUE;
  if (size == 0) return TYPE2_SUCCESS;
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  CUstream stream;
  if (!stream_of(command->session, command->params[3], &stream)) return TYPE2_INVALID_HANDLE;
  if (!range_holds(device, command->session, to, size)) return TYPE2_INVALID_VALUE;
  coherency_range(device->engine, DOMAIN_GPU, RD_SHARED, offset, size);
  return finish(device, command, stream,
                device->backend.f.cuMemcpyHtoDAsync_v2(to, device->bar4 + offset, size, stream));
}

uint32_t command_BULK_DTOH(struct type2 *device, struct command *command) {
  const uint64_t from = command->params[0], offset = command->params[1], size = command->params[2];
  if (!is_bulk_range(device, offset, size)) return TYPE2_INVALID_VALUE;
  if (size == 0) return TYPE2_SUCCESS;
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  CUstream stream;
  if (!stream_of(command->session, command->params[3], &stream)) return TYPE2_INVALID_HANDLE;
  if (!range_holds(device, command->session, from, size)) return TYPE2_INVALID_VALUE;
  coherency_range(device->engine, DOMAIN_GPU, WR_INV, offset, size);
  return finish(device, command, stream,
                device->backend.f.cuMemcpyDtoHAsync_v2(device->bar4 + offset, from, size, stream));
}

/* P4, a stream, is busbar's: public clients leave whatever the PARAM held, so only sessions have it. */
uint32_t command_MEM_SET(struct type2 *device, struct command *command) {
  const uint64_t to = command->params[0], value = command->params[1], count = command->params[2];
  const uint64_t width = command->params[3] == 0 ? 1 : command->params[3];
  if (width != 1 && width != 2 && width != 4) return TYPE2_INVALID_VALUE;
  if (count > UINT64_MAX / 4 || to % width != 0) return TYPE2_INVALID_VALUE;
  if (count == 0) return TYPE2_SUCCESS;
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  CUstream stream;
  if (!stream_of(command->session, command->session->id == 0 ? 0 : command->params[4], &stream)) {
    return TYPE2_INVALID_HANDLE;
  }
  if (!range_holds(device, command->session, to, count * width)) return TYPE2_INVALID_VALUE;
  gpu_touches(device, to, count * width, true);
  const struct backend_functions *f = &device->backend.f;
  return result_of(width == 1   ? f->cuMemsetD8Async(to, (unsigned char)value, count, stream)
                   : width == 2 ? f->cuMemsetD16Async(to, (unsigned short)value, count, stream)
                                : f->cuMemsetD32Async(to, (unsigned int)value, count, stream));
}

uint32_t command_MEM_GET_INFO(struct type2 *device, struct command *command) {
  registers_refresh(device);
  command->results[0] = get64(device, REG_FREE_MEM);
  command->results[1] = get64(device, REG_TOTAL_MEM);
  return TYPE2_SUCCESS;
}
