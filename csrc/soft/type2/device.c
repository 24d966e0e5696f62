/* Opening and closing a device. */
#define _GNU_SOURCE
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ABI_VERSION = 2, PEER_BYTES = 16 << 20, POOL_BYTES = 256 << 20 };

uint32_t bb_abi_version(void) { return ABI_VERSION; }

/* ---- DATA and BAR4 --------------------------------------------------------------------------------------------------- */

int32_t bb_type2_read_data(struct type2 *device, uint64_t offset, void *to, uint64_t size) {
  if (device == NULL || (to == NULL && size > 0)) return -EINVAL;
  if (!range_in(offset, size, device->data_bytes)) return -ERANGE;
  copy_from_guest(to, device->data + offset, size);
  return 0;
}

int32_t bb_type2_write_data(struct type2 *device, uint64_t offset, const void *from, uint64_t size) {
  if (device == NULL || (from == NULL && size > 0)) return -EINVAL;
  if (!range_in(offset, size, device->data_bytes)) return -ERANGE;
  copy_to_guest(device->data + offset, from, size);
  return 0;
}

int32_t bb_type2_bar4(struct type2 *device, void **base, uint64_t *size) {
  if (device == NULL || base == NULL || size == NULL) return -EINVAL;
  *base = device->bar4;
  *size = device->bar4_bytes;
  return 0;
}

uint64_t bb_type2_count(struct type2 *device, uint32_t code) {
  if (device == NULL) return 0;
  pthread_mutex_lock(&device->lock);
  uint64_t count = code < 256 ? device->counts[code] : 0;
  for (uint32_t i = 0; code == UINT32_MAX && i < 256; i++) count += device->counts[i];
  pthread_mutex_unlock(&device->lock);
  return count;
}

/* ---- opening --------------------------------------------------------------------------------------------------------- */

static void *map_memory(uint64_t size) {
  void *place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return place == MAP_FAILED ? NULL : place;
}

/* Memory that another process maps by its descriptor. */
static void *map_shareable(const char *name, uint64_t size, int *fd) {
  *fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  /* Sealed: nobody can cut it short under the device. */
  if (*fd < 0 || ftruncate(*fd, (off_t)size) != 0 || fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return NULL;
  }
  void *place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, *fd, 0);
  return place == MAP_FAILED ? NULL : place;
}

static bool map_parts(struct type2 *device) {
  device->bar4_bytes = device->settings.bar4_bytes;
  if (device->settings.vfio_user[0] == '\0') {
    device->bar4 = map_memory(device->bar4_bytes);
    device->data = map_memory(device->data_bytes);
  } else {
    device->bar4 = map_shareable("type2-bar4", device->bar4_bytes, &device->bar4_fd);
    uint8_t *window = map_shareable("type2-data", REGISTER_BYTES + device->data_bytes, &device->data_fd);
    device->data = window == NULL ? NULL : window + REGISTER_BYTES;
  }
  return device->bar4 != NULL && device->data != NULL;
}

static void unmap_parts(struct type2 *device) {
  const uint64_t before = device->data_fd >= 0 ? REGISTER_BYTES : 0;
  if (device->bar4 != NULL) munmap(device->bar4, device->bar4_bytes);
  if (device->data != NULL) munmap(device->data - before, before + device->data_bytes);
  if (device->bar4_fd >= 0) close(device->bar4_fd);
  if (device->data_fd >= 0) close(device->data_fd);
}

static uint32_t caps_of(const struct settings *settings) {
  if (settings->profile == PROFILE_V1) return 0;
  const uint32_t always = CAPS_BULK | CAPS_CACHE_COHERENT | CAPS_COHERENT_POOL | CAPS_DEVICE_BIAS;
  const uint32_t optional = (settings->dcd_bytes > 0 ? CAPS_DCD : 0) | (settings->gfam_hosts > 0 ? CAPS_GFAM : 0) |
                            (settings->mhsld_heads > 0 ? CAPS_MHSLD : 0);
  /* The fork has a bit of its own before these three. */
  return always | (settings->profile == PROFILE_V2_J ? optional << 1 : optional);
}

/* BAR4 in the reach of kernels. Where the driver refuses, BAR4_POINTER stays 0, and guests go without. */
static void register_bar4(struct type2 *device) {
  const struct backend_functions *f = &device->backend.f;
  CUdeviceptr pointer = 0;
  /* CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP */
  if (f->cuCtxCreate_v2(&device->home, 0, device->backend.device) != 0) {
    device->home = NULL;
    return;
  }
  if (f->cuMemHostRegister_v2(device->bar4, device->bar4_bytes, 1 | 2) != 0) return;
  device->is_bar4_registered = true;
  if (f->cuMemHostGetDevicePointer_v2(&pointer, device->bar4, 0) == 0) device->bar4_pointer = pointer;
}

static int open_parts(struct type2 *device, char *why, uint32_t why_size) {
  const struct settings *settings = &device->settings;
  device->data_bytes = settings->profile == PROFILE_V1 ? TYPE2_V1_DATA_BYTES : TYPE2_V2_DATA_BYTES;
  device->caps = caps_of(settings);
  if (device->bar4 == NULL && !map_parts(device)) return -ENOMEM;
  device->pool_bytes = POOL_BYTES > device->bar4_bytes / 2 ? device->bar4_bytes / 4 / 4096 * 4096 : POOL_BYTES;
  device->pool_base = device->bar4_bytes - device->pool_bytes;
  if (settings->profile == PROFILE_V1) device->pool_bytes = 0;
  device->bias = calloc(1, device->bar4_bytes / 64 / 8 + 1);
  device->engine = bb_type2_engine_open((uint32_t)settings->filter_lines);
  if (device->bias == NULL || device->engine == NULL || session_open(device, 0) == NULL) return -ENOMEM;
  for (uint32_t i = 0; i < settings->peers; i++) {
    device->peers[i] = (struct peer){i % 2 == 0 ? 3 : 2, PEER_BYTES, map_memory(PEER_BYTES)};
    if (device->peers[i].memory == NULL) return -ENOMEM;
  }
  if (settings->has_driver) {
    const int failed = backend_open(&device->backend, settings->driver,
                                    settings->has_driver_settings ? settings->driver_settings : NULL,
                                    (uint32_t)settings->ordinal, why, why_size);
    if (failed != 0) return failed;
    device->has_backend = true;
    if (device->backend.print_to != NULL) device->backend.print_to(device->backend.instance, session_print, device);
    register_bar4(device);
  }
  return 0;
}

static void free_device(struct type2 *device) {
  limit_closing(device);
  /* First of all, while the limit may still end the process. */
  shared_remove(device);
  vfio_user_close(device);
  shared_close(device);
  doorbell_close(device);
  for (uint32_t i = 0; i < MOST_SESSIONS; i++) {
    if (device->sessions[i] != NULL) session_close(device, device->sessions[i]);
  }
  if (device->has_backend) {
    backend_enter(&device->backend, device->home);
    if (device->is_bar4_registered) device->backend.f.cuMemHostUnregister(device->bar4);
    if (device->home != NULL) device->backend.f.cuCtxDestroy_v2(device->home);
    limit_close(device);
    backend_close(&device->backend);
  }
  for (uint32_t i = 0; i < MOST_PEERS; i++) {
    if (device->peers[i].memory != NULL) munmap(device->peers[i].memory, PEER_BYTES);
  }
  if (device->shared == NULL) unmap_parts(device);
  blocks_clear(&device->pool);
  blocks_clear(&device->extents);
  bb_type2_engine_close(device->engine);
  free(device->bias);
  shared_free(device);
  pthread_mutex_destroy(&device->lock);
  free(device);
}

int32_t bb_type2_open(const char *settings, const char *path, uint64_t size, char *why, uint32_t why_size,
                      struct type2 **out) {
  if (settings == NULL || why == NULL || why_size == 0 || out == NULL) return -EINVAL;
  why[0] = '\0';
  struct type2 *device = calloc(1, sizeof *device);
  if (device == NULL) return -ENOMEM;
  pthread_mutex_init(&device->lock, NULL);
  device->epoch = 1;
  device->data_fd = device->bar4_fd = -1;
  int failed = type2_settings(settings, &device->settings, why, why_size);
  if (failed == 0 && path != NULL) failed = shared_open(device, path, size, why, why_size);
  if (failed == 0) failed = open_parts(device, why, why_size);
  if (failed == 0) {
    registers_set(device);
    const struct settings *chosen = &device->settings;
    if (chosen->doorbell[0] != '\0') failed = doorbell_start(device, chosen->doorbell, shared_descriptor(device), why, why_size);
    if (failed == 0) failed = limit_start(device);
    if (failed == 0 && path != NULL) failed = shared_start(device);
    if (failed == 0 && chosen->vfio_user[0] != '\0') failed = vfio_user_start(device, chosen->vfio_user, why, why_size);
  }
  if (failed != 0) {
    free_device(device);
    return failed;
  }
  *out = device;
  return 0;
}

void bb_type2_close(struct type2 *device) {
  if (device == NULL) return;
  free_device(device);
}

int32_t bb_type2_state(struct type2 *device) { return device == NULL ? -EINVAL : shared_state(device); }
