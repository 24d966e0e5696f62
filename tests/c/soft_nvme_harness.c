/*
 * Drives the software controller from C, so that ThreadSanitizer and LeakSanitizer, which do not work inside Deno, can
 * watch it. Built and run by tests/soft/c_harness_test.ts.
 */
#define _GNU_SOURCE
#include "soft/busbar_soft.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint8_t *bar;

static uint32_t load32(uint32_t offset) { return __atomic_load_n((uint32_t *)(void *)(bar + offset), __ATOMIC_ACQUIRE); }
static void store32(uint32_t offset, uint32_t value) {
  __atomic_store_n((uint32_t *)(void *)(bar + offset), value, __ATOMIC_RELEASE);
}
static void store64(uint32_t offset, uint64_t value) {
  __atomic_store_n((uint64_t *)(void *)(bar + offset), value, __ATOMIC_RELEASE);
}

#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);         \
      exit(1);                                                                \
    }                                                                         \
  } while (0)

static void wait_status(uint32_t mask, uint32_t wanted) {
  for (int i = 0; i < 5000; i++) {
    if ((load32(0x1c) & mask) == wanted) return;
    const struct timespec pause = {0, 1000000};
    nanosleep(&pause, NULL);
  }
  fprintf(stderr, "CSTS is %#x, wanted %#x under %#x\n", load32(0x1c), wanted, mask);
  exit(1);
}

int main(void) {
  bb_soft *device;
  CHECK(bb_soft_open("toaster", "", &device) == -ENODEV);
  CHECK(bb_soft_open("nvme", "serial\n", &device) == -EINVAL);
  CHECK(bb_soft_open("nvme", "nope=1\n", &device) == -EINVAL);
  CHECK(bb_soft_open(NULL, "", &device) == -EINVAL);
  CHECK(bb_soft_open("nvme", "serial=X\nready_ms=1\nshutdown_ms=1\n", &device) == 0);

  void *base, *config, *queues[8];
  uint64_t size, addresses[8];
  CHECK(bb_soft_bar(device, 0, &base, &size) == 0 && size == 16384);
  CHECK(bb_soft_bar(device, 1, &base, &size) == -ENXIO && bb_soft_bar(device, 99, &base, &size) == -ENXIO);
  CHECK(bb_soft_config(device, &config) == 0);
  bar = base;
  for (int i = 0; i < 8; i++) {
    CHECK(bb_soft_dma_allocate(device, 4096 * (uint64_t)(i + 1), &queues[i], &addresses[i]) == 0);
    memset(queues[i], i, 4096 * (size_t)(i + 1));
  }
  CHECK(bb_soft_dma_allocate(device, 0, &queues[0], &addresses[0]) == -EINVAL);
  for (int round = 0; round < 20; round++) {
    store32(0x24, 31u << 16 | 31u);
    store64(0x28, addresses[0]);
    store64(0x30, addresses[1]);
    store32(0x14, 0x00460001);
    wait_status(1, 1);
    store32(0x14, 0x00464001);
    wait_status(0xc, 0x8);
    store32(0x14, 0);
    wait_status(1, 0);
  }
  CHECK(bb_soft_dma_free(device, addresses[3]) == 0 && bb_soft_dma_free(device, addresses[3]) == -ENOENT);
  bb_soft_close(device);
  bb_soft_close(NULL);
  puts("ok");
  return 0;
}
