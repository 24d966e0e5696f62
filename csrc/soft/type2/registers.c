/* The register file, and the registers that tell of the device's state. */
#define _GNU_SOURCE
#include "device.h"

/* Threads of the guest read registers while a command fills them, so each access is atomic. Relaxed: what orders a result
 * behind its command is CMD_STATUS in a trapped device, whose accesses come from one thread, and DONE in a shared file. */
void put32(struct type2 *device, uint32_t offset, uint32_t value) {
  __atomic_store_n((uint32_t *)(void *)(device->registers + offset), value, __ATOMIC_RELAXED);
}
void put64(struct type2 *device, uint32_t offset, uint64_t value) {
  __atomic_store_n((uint64_t *)(void *)(device->registers + offset), value, __ATOMIC_RELAXED);
}
uint64_t get64(const struct type2 *device, uint32_t offset) {
  return __atomic_load_n((const uint64_t *)(const void *)(device->registers + offset), __ATOMIC_RELAXED);
}

uint32_t get32(const struct type2 *device, uint32_t offset) {
  return __atomic_load_n((const uint32_t *)(const void *)(device->registers + offset), __ATOMIC_RELAXED);
}

bool register_is_writable(uint64_t offset) {
#define WRITABLE(name, first, bytes, writable) \
  if (writable && offset - first < bytes) return true;
  TYPE2_REGISTERS(WRITABLE)
#undef WRITABLE
  return false;
}

void registers_refresh(struct type2 *device) {
  const uint64_t total = get64(device, REG_TOTAL_MEM);
  put64(device, REG_FREE_MEM, total - device->allocated);
  uint64_t counters[COUNTERS];
  bb_type2_engine_counters(device->engine, counters);
  if ((device->caps & CAPS_COHERENT_POOL) != 0) {
    put64(device, REG_COH_POOL_FREE, device->pool_bytes - blocks_used(&device->pool));
    put64(device, REG_DIR_USED, counters[COUNT_ENTRIES]);
  }
  const uint64_t extents = blocks_used(&device->extents);
  put64(device, REG_DCD_ALLOCATED, extents);
  put64(device, REG_DCD_FREE, device->settings.dcd_bytes - extents);
  put64(device, REG_DCD_EXTENTS, device->extents.count);
  put64(device, REG_GFAM_MAPPINGS, device->grant_count);
  put64(device, REG_GFAM_DENIED, device->gfam_denied);
  put64(device, REG_MHSLD_HEAD_ID, device->head);
  put64(device, REG_P2P_XFER_COUNT, device->peer_copies);
  uint32_t status = device->has_backend ? STATUS_READY : 0;
  for (uint32_t i = 0; i < MOST_SESSIONS; i++) {
    if (device->sessions[i] != NULL && device->sessions[i]->context != NULL) status |= STATUS_CTX_ACTIVE;
  }
  if (atomic_load_explicit(&device->is_running, memory_order_relaxed)) status |= STATUS_BUSY;
  put32(device, REG_STATUS, status);
}
