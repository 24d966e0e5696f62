/* Commands: the coherent pool, bias, the CPU's caches, counters of the engine. */
#define _GNU_SOURCE
#include "device.h"

#include <string.h>

uint32_t command_COHERENT_ALLOC(struct type2 *device, struct command *command) {
  const uint64_t size = command->params[0];
  if (size == 0) return TYPE2_INVALID_VALUE;
  if (size > device->pool_bytes) return TYPE2_OUT_OF_MEMORY;
  const uint64_t whole = (size + 4095) & ~UINT64_C(4095);
  const bool is_there = blocks_take(&device->pool, device->pool_base, device->pool_base + device->pool_bytes, whole,
                                    command->session->id, &command->results[0]);
  return is_there ? TYPE2_SUCCESS : TYPE2_OUT_OF_MEMORY;
}

uint32_t command_COHERENT_FREE(struct type2 *device, struct command *command) {
  const struct block *one = blocks_find(&device->pool, command->params[0]);
  /* Another session's block is none of this one's. */
  if (one == NULL || one->tag != command->session->id) return TYPE2_INVALID_VALUE;
  blocks_give(&device->pool, command->params[0]);
  return TYPE2_SUCCESS;
}

static uint64_t entries(const struct type2 *device) {
  uint64_t counters[COUNTERS];
  bb_type2_engine_counters(device->engine, counters);
  return counters[COUNT_ENTRIES];
}

uint32_t command_COHERENT_INFO(struct type2 *device, struct command *command) {
  command->results[0] = device->pool_base;
  command->results[1] = device->pool_bytes;
  command->results[2] = device->pool_bytes - blocks_used(&device->pool);
  command->results[3] = entries(device);
  return TYPE2_SUCCESS;
}

uint32_t command_COHERENT_FENCE(struct type2 *device, struct command *command) {
  (void)device;
  (void)command;
  /* What the guest wrote to BAR4 before the command is seen by what it asks for after. */
  atomic_thread_fence(memory_order_seq_cst);
  return TYPE2_SUCCESS;
}

static uint32_t set_bias(struct type2 *device, struct command *command) {
  const uint64_t offset = command->params[0], size = command->params[1];
  const uint64_t mode = command->params[2] & 0xff, granularity = command->params[2] >> 8;
  if (mode > 1 || (granularity != 0 && granularity != 64 && granularity != 4096 && granularity != 2 << 20)) {
    return TYPE2_INVALID_VALUE;
  }
  if (!range_in(offset, size, device->bar4_bytes)) return TYPE2_INVALID_VALUE;
  if (size == 0) return TYPE2_SUCCESS;
  const uint64_t unit = granularity == 0 ? 64 : granularity;
  const uint64_t start = offset / unit * unit;
  uint64_t end = (offset + size + unit - 1) / unit * unit;
  if (end > device->bar4_bytes) end = device->bar4_bytes;
  for (uint64_t line = start / 64; line < (end + 63) / 64; line++) {
    uint8_t *byte = &device->bias[line / 8];
    if ((*byte >> (line % 8) & 1) == mode) continue;
    /* To the device: the CPU's copies go first. To the host: the GPU's. */
    bb_type2_engine_request(device->engine, DOMAIN_CPU, mode == 1 ? DIRTY_EVICT : CLR_DEV_CACHE, line);
    *byte ^= (uint8_t)(1u << (line % 8));
    device->bias_flips++;
  }
  return TYPE2_SUCCESS;
}

uint32_t command_SET_BIAS(struct type2 *device, struct command *command) { return set_bias(device, command); }
uint32_t command_BIAS_FLIP(struct type2 *device, struct command *command) { return set_bias(device, command); }

uint32_t command_GET_BIAS(struct type2 *device, struct command *command) {
  if (command->params[0] >= device->bar4_bytes) return TYPE2_INVALID_VALUE;
  const uint64_t line = command->params[0] / 64;
  command->results[0] = device->bias[line / 8] >> (line % 8) & 1;
  return TYPE2_SUCCESS;
}

static uint32_t cpu_range(struct type2 *device, const struct command *command, uint32_t request) {
  const uint64_t offset = command->params[0], size = command->params[1];
  if (!range_in(offset, size, device->bar4_bytes)) return TYPE2_INVALID_VALUE;
  coherency_range(device->engine, DOMAIN_CPU, request, offset, size);
  for (uint64_t line = offset / 64; size > 0 && line <= (offset + size - 1) / 64; line++) {
    device->host_bias_hits += (~device->bias[line / 8] >> (line % 8)) & 1;
  }
  return TYPE2_SUCCESS;
}

uint32_t command_CACHE_FLUSH(struct type2 *device, struct command *command) {
  return cpu_range(device, command, DIRTY_EVICT);
}
uint32_t command_CACHE_INVALIDATE(struct type2 *device, struct command *command) {
  return cpu_range(device, command, CLEAN_EVICT);
}
uint32_t command_CACHE_WRITEBACK(struct type2 *device, struct command *command) {
  return cpu_range(device, command, DIRTY_EVICT);
}
uint32_t command_CACHE_PREFETCH(struct type2 *device, struct command *command) {
  const uint32_t result = cpu_range(device, command, (command->params[2] & 1) != 0 ? RD_OWN : RD_SHARED);
  if (result == 0) command->results[0] = command->params[1];
  return result;
}

static uint32_t lines_of(struct type2 *device, struct command *command, uint32_t request) {
  const uint64_t offset = command->params[0], size = command->params[1];
  const uint32_t result = cpu_range(device, command, request);
  if (result == 0 && size > 0) command->results[0] = (offset + size - 1) / 64 - offset / 64 + 1;
  return result;
}

uint32_t command_RANGE_ACQUIRE(struct type2 *device, struct command *command) {
  return lines_of(device, command, command->params[2] == 1 ? WR_INV : RD_SHARED);
}
uint32_t command_RANGE_RELEASE(struct type2 *device, struct command *command) {
  return lines_of(device, command, command->params[2] == 1 ? DIRTY_EVICT : CLEAN_EVICT);
}

uint32_t command_COH_GET_STATS(struct type2 *device, struct command *command) {
  uint64_t counters[COUNTERS];
  bb_type2_engine_counters(device->engine, counters);
  command->results[0] = counters[COUNT_HITS];
  command->results[1] = counters[COUNT_MISSES];
  command->results[2] = counters[COUNT_REQUESTS];
  command->results[3] = counters[COUNT_BACK_INVALIDATIONS];
  const uint64_t rest[8] = {counters[COUNT_WRITEBACKS],  counters[COUNT_EVICTIONS], device->bias_flips,
                            device->device_bias_hits,    device->host_bias_hits,    counters[COUNT_UPGRADES],
                            counters[COUNT_DOWNGRADES],  counters[COUNT_ENTRIES]};
  copy_to_guest(device->data, rest, sizeof rest);
  return TYPE2_SUCCESS;
}

uint32_t command_COH_RESET_STATS(struct type2 *device, struct command *command) {
  (void)command;
  coherency_reset_counters(device->engine);
  device->bias_flips = device->device_bias_hits = device->host_bias_hits = 0;
  return TYPE2_SUCCESS;
}
