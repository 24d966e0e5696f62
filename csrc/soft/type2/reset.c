/* The state that a guest finds: after opening, and again after a reset. */
#define _GNU_SOURCE
#include "device.h"

#include <errno.h>
#include <string.h>

void registers_set(struct type2 *device) {
  const struct backend *backend = &device->backend;
  const struct settings *settings = &device->settings;
  clear_for_guest(device->registers, sizeof device->registers);
  put32(device, REG_MAGIC, TYPE2_MAGIC);
  put32(device, REG_VERSION, TYPE2_VERSION);
  put32(device, REG_CAPS, device->caps);
  const char *name = settings->name[0] != '\0' ? settings->name : backend->name;
  copy_to_guest(device->registers + TYPE2_NAME_OFFSET, name, strnlen(name, TYPE2_NAME_BYTES - 1));
  const uint64_t limit = settings->memory_bytes;
  put64(device, REG_TOTAL_MEM, limit != 0 && limit < backend->total_bytes ? limit : backend->total_bytes);
  put32(device, REG_CC_MAJOR, backend->major);
  put32(device, REG_CC_MINOR, backend->minor);
  put32(device, REG_MP_COUNT, backend->multiprocessors);
  put32(device, REG_MAX_THREADS, backend->most_threads);
  put32(device, REG_WARP_SIZE, backend->warp);
  put32(device, REG_BACKEND, !device->has_backend ? 0 : settings->has_driver_settings ? 1 : 2);
  if ((device->caps & CAPS_COHERENT_POOL) != 0) {
    put64(device, REG_COH_POOL_BASE, device->pool_base);
    put64(device, REG_COH_POOL_SIZE, device->pool_bytes);
    put64(device, REG_DIR_SIZE, settings->filter_lines);
  }
  put64(device, REG_DCD_TOTAL, settings->dcd_bytes);
  put64(device, REG_GFAM_HOSTS, settings->gfam_hosts);
  put64(device, REG_MHSLD_HEADS, settings->mhsld_heads);
  if (settings->profile == PROFILE_V2_J) put32(device, REG_J_MAGIC, TYPE2_J_MAGIC);
  put32(device, REG_EXT_MAGIC, TYPE2_EXT_MAGIC);
  put32(device, REG_EXT_VERSION, 1);
  put64(device, REG_BAR4_SIZE, device->bar4_bytes);
  put32(device, REG_EPOCH, device->epoch);
  put64(device, REG_BAR4_POINTER, device->bar4_pointer);
  shared_registers(device);
  registers_refresh(device);
}

static void clear(struct type2 *device) {
  for (uint32_t i = 0; i < MOST_SESSIONS; i++) {
    struct session *one = device->sessions[i];
    if (one == NULL) continue;
    if (one->id == 0) session_empty(device, one);
    else session_close(device, one);
  }
  device->was_initialised = false;
  blocks_clear(&device->pool);
  blocks_clear(&device->extents);
  device->grant_count = 0;
  device->gfam_allowed = device->gfam_denied = 0;
  device->peer_copies = device->peer_bytes = 0;
  device->head = 0;
  device->next_tag = 0;
  coherency_clear(device->engine);
  coherency_reset_counters(device->engine);
  memset(device->bias, 0, device->bar4_bytes / 64 / 8 + 1);
  device->bias_flips = device->device_bias_hits = device->host_bias_hits = 0;
  device->epoch++;
  registers_set(device);
}

int32_t bb_type2_reset(struct type2 *device) {
  if (device == NULL) return -EINVAL;
  pthread_mutex_lock(&device->lock);
  clear(device);
  shared_publish(device);
  pthread_mutex_unlock(&device->lock);
  return 0;
}
