/* Commands: peers, dynamic capacity, global fabric memory, heads of a multi-headed device. */
#define _GNU_SOURCE
#include "device.h"

#include <string.h>

/* ---- peers ----------------------------------------------------------------------------------------------------------- */

uint32_t command_P2P_DISCOVER(struct type2 *device, struct command *command) {
  command->results[0] = device->settings.peers;
  return TYPE2_SUCCESS;
}

static const struct peer *peer_of(const struct type2 *device, uint64_t index) {
  return index < device->settings.peers ? &device->peers[index] : NULL;
}

uint32_t command_P2P_PEER_INFO(struct type2 *device, struct command *command) {
  const struct peer *peer = peer_of(device, command->params[0]);
  if (peer == NULL) return TYPE2_INVALID_VALUE;
  command->results[0] = peer->type;
  command->results[1] = peer->size;
  command->results[2] = peer->type == 2;
  return TYPE2_SUCCESS;
}

static uint32_t count_copy(struct type2 *device, uint64_t size) {
  device->peer_copies++;
  device->peer_bytes += size;
  return TYPE2_SUCCESS;
}

uint32_t command_P2P_GPU_TO_MEM(struct type2 *device, struct command *command) {
  const uint64_t *p = command->params;
  const struct peer *peer = peer_of(device, p[0]);
  if (peer == NULL || !range_in(p[1], p[3], device->bar4_bytes) || !range_in(p[2], p[3], peer->size)) {
    return TYPE2_OUT_OF_MEMORY;
  }
  copy_from_guest(peer->memory + p[2], device->bar4 + p[1], p[3]);
  coherency_range(device->engine, DOMAIN_GPU, RD_SHARED, p[1], p[3]);
  return count_copy(device, p[3]);
}

uint32_t command_P2P_MEM_TO_GPU(struct type2 *device, struct command *command) {
  const uint64_t *p = command->params;
  const struct peer *peer = peer_of(device, p[0]);
  if (peer == NULL || !range_in(p[1], p[3], peer->size) || !range_in(p[2], p[3], device->bar4_bytes)) {
    return TYPE2_OUT_OF_MEMORY;
  }
  copy_to_guest(device->bar4 + p[2], peer->memory + p[1], p[3]);
  coherency_range(device->engine, DOMAIN_GPU, WR_INV, p[2], p[3]);
  return count_copy(device, p[3]);
}

uint32_t command_P2P_MEM_TO_MEM(struct type2 *device, struct command *command) {
  const uint64_t *p = command->params;
  const struct peer *from = peer_of(device, p[0]), *to = peer_of(device, p[1]);
  if (from == NULL || to == NULL || !range_in(p[2], p[4], from->size) || !range_in(p[3], p[4], to->size)) {
    return TYPE2_OUT_OF_MEMORY;
  }
  memmove(to->memory + p[3], from->memory + p[2], p[4]);
  return count_copy(device, p[4]);
}

uint32_t command_P2P_SYNC(struct type2 *device, struct command *command) {
  (void)device;
  (void)command;
  return TYPE2_SUCCESS; /* copies are done when their command is */
}

uint32_t command_P2P_STATUS(struct type2 *device, struct command *command) {
  command->results[0] = device->settings.peers;
  command->results[1] = device->peer_copies;
  command->results[2] = device->peer_bytes;
  return TYPE2_SUCCESS;
}

/* ---- dynamic capacity ------------------------------------------------------------------------------------------------ */

enum { DCD_GRANULARITY = 2 << 20 };

uint32_t command_DCD_ADD(struct type2 *device, struct command *command) {
  const uint64_t wanted = command->params[0], total = device->settings.dcd_bytes;
  uint64_t size = command->params[1], base = wanted;
  if (size == 0) return TYPE2_INVALID_VALUE;
  if (size > total) return TYPE2_OUT_OF_MEMORY;
  size = (size + DCD_GRANULARITY - 1) / DCD_GRANULARITY * DCD_GRANULARITY;
  const uint64_t tag = command->params[2] != 0 ? command->params[2] : device->next_tag + 1;
  if (wanted == UINT64_MAX) {
    if (!blocks_take(&device->extents, 0, total, size, tag, &base)) return TYPE2_OUT_OF_MEMORY;
  } else {
    if (base % DCD_GRANULARITY != 0) return TYPE2_INVALID_VALUE;
    if (!range_in(base, size, total)) return TYPE2_OUT_OF_MEMORY;
    if (!blocks_take_at(&device->extents, base, size, tag)) return TYPE2_INVALID_VALUE;
  }
  if (command->params[2] == 0) device->next_tag++;
  command->results[0] = base;
  command->results[1] = size;
  command->results[2] = tag;
  command->results[3] = blocks_used(&device->extents);
  return TYPE2_SUCCESS;
}

uint32_t command_DCD_RELEASE(struct type2 *device, struct command *command) {
  const uint64_t *p = command->params;
  const struct block *one = blocks_find(&device->extents, p[0]);
  if (one == NULL || one->size != p[1] || (p[2] != 0 && one->tag != p[2])) return TYPE2_INVALID_VALUE;
  blocks_give(&device->extents, p[0]);
  command->results[0] = blocks_used(&device->extents);
  return TYPE2_SUCCESS;
}

uint32_t command_DCD_INFO(struct type2 *device, struct command *command) {
  const uint64_t used = blocks_used(&device->extents);
  command->results[0] = device->settings.dcd_bytes;
  command->results[1] = used;
  command->results[2] = device->settings.dcd_bytes - used;
  command->results[3] = device->extents.count;
  return TYPE2_SUCCESS;
}

/* ---- global fabric memory -------------------------------------------------------------------------------------------- */

enum { MOST_GRANTS = sizeof((struct type2 *)0)->grants / sizeof((struct type2 *)0)->grants[0] };

static bool is_fabric_range(const struct type2 *device, const uint64_t *p) {
  return p[0] < device->settings.gfam_hosts && p[2] > 0 && range_in(p[1], p[2], device->bar4_bytes);
}

uint32_t command_GFAM_GRANT(struct type2 *device, struct command *command) {
  const uint64_t *p = command->params;
  if (!is_fabric_range(device, p) || p[3] == 0 || p[3] > 15) {
    device->gfam_denied++;
    return TYPE2_INVALID_VALUE;
  }
  for (uint32_t i = 0; i < device->grant_count; i++) {
    struct grant *one = &device->grants[i];
    if (one->host != p[0] || one->base != p[1] || one->size != p[2]) continue;
    one->permissions = p[3];
    device->gfam_allowed++;
    return TYPE2_SUCCESS;
  }
  if (device->grant_count == MOST_GRANTS) return TYPE2_OUT_OF_MEMORY;
  device->grants[device->grant_count++] = (struct grant){p[0], p[1], p[2], p[3]};
  device->gfam_allowed++;
  return TYPE2_SUCCESS;
}

uint32_t command_GFAM_REVOKE(struct type2 *device, struct command *command) {
  const uint64_t *p = command->params;
  for (uint32_t i = 0; i < device->grant_count; i++) {
    const struct grant *one = &device->grants[i];
    if (one->host != p[0] || one->base != p[1] || one->size != p[2]) continue;
    device->grants[i] = device->grants[--device->grant_count];
    return TYPE2_SUCCESS;
  }
  return TYPE2_INVALID_VALUE;
}

uint32_t command_GFAM_INFO(struct type2 *device, struct command *command) {
  command->results[0] = device->settings.gfam_hosts;
  command->results[1] = device->grant_count;
  command->results[2] = device->gfam_allowed;
  command->results[3] = device->gfam_denied;
  return TYPE2_SUCCESS;
}

/* ---- heads ----------------------------------------------------------------------------------------------------------- */

uint32_t command_MHSLD_INFO(struct type2 *device, struct command *command) {
  command->results[0] = device->settings.mhsld_heads;
  command->results[1] = device->head;
  command->results[2] = device->head_reads;
  command->results[3] = device->head_writes;
  /* Atomics, conflicts, invalidations, latency in nanoseconds: one guest is one head, which meets no other. */
  const uint64_t rest[4] = {0, 0, 0, 200};
  copy_to_guest(device->data, rest, sizeof rest);
  return TYPE2_SUCCESS;
}

uint32_t command_MHSLD_SET_HEAD(struct type2 *device, struct command *command) {
  if (command->params[0] >= device->settings.mhsld_heads) return TYPE2_INVALID_VALUE;
  device->head = (uint32_t)command->params[0];
  command->results[0] = device->head;
  return TYPE2_SUCCESS;
}
