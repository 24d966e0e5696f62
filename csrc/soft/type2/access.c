/* Accesses to BAR2 as a guest makes them: any width, any alignment; a write to CMD runs the command. */
#define _GNU_SOURCE
#include "device.h"

static bool is_width(uint32_t width) { return width == 1 || width == 2 || width == 4 || width == 8; }

uint64_t bb_type2_read(struct type2 *device, uint64_t offset, uint32_t width) {
  if (device == NULL || !is_width(width)) return 0;
  uint64_t value = 0;
  /* A whole register by one access: another thread's command may be writing it. */
  if (range_in(offset, width, REGISTER_BYTES)) copy_from_guest(&value, device->registers + offset, width);
  else if (offset >= REGISTER_BYTES && range_in(offset - REGISTER_BYTES, width, device->data_bytes)) {
    copy_from_guest(&value, device->data + (offset - REGISTER_BYTES), width);
  }
  return value;
}

static void run_written(struct type2 *device, uint32_t code) {
  /* A write while a command runs is ignored and counted: who writes it would not wait for the lock either. */
  if (atomic_load_explicit(&device->is_running, memory_order_relaxed) || pthread_mutex_trylock(&device->lock) != 0) {
    __atomic_add_fetch(&device->ignored, 1, __ATOMIC_RELAXED);
    return;
  }
  struct command command = {.code = code};
  for (uint32_t i = 0; i < 8; i++) command.params[i] = get64(device, REG_PARAM0 + 8 * i);
  command.session_id = __atomic_load_n((uint32_t *)(void *)(device->registers + REG_SESSION), __ATOMIC_RELAXED);
  device_run(device, &command);
  pthread_mutex_unlock(&device->lock);
}

void bb_type2_write(struct type2 *device, uint64_t offset, uint32_t width, uint64_t value) {
  if (device == NULL || !is_width(width)) return;
  if (offset == REG_CMD) {
    run_written(device, (uint32_t)(width < 4 ? value & ((UINT64_C(1) << 8 * width) - 1) : value));
    return;
  }
  if (range_in(offset, width, REGISTER_BYTES)) {
    for (uint32_t i = 0; i < width; i++) {
      if (!register_is_writable(offset + i)) continue;
      __atomic_store_n(device->registers + offset + i, (uint8_t)(value >> 8 * i), __ATOMIC_RELAXED);
    }
  } else if (offset >= REGISTER_BYTES && range_in(offset - REGISTER_BYTES, width, device->data_bytes)) {
    copy_to_guest(device->data + (offset - REGISTER_BYTES), &value, width);
  }
}
