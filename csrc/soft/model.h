/* What a software device is made of: shared by the frame (soft.c, device.c) and the models, seen by nobody else. */
#ifndef BUSBAR_SOFT_MODEL_H
#define BUSBAR_SOFT_MODEL_H

#include "busbar_soft.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

enum { CONFIG_BYTES = 4096, BAR_COUNT = 6, PAGE_BYTES = 4096 };

struct soft_bar {
  uint8_t *base;
  uint64_t size;
  int fd; /* its memory as a file, so that it can be taken away: see soft_bar_present */
};

struct soft_dma {
  uint64_t bus_address;
  uint64_t size;
  uint8_t *base;
  int is_borrowed; /* its owner frees it */
};

/* A kind of device. */
struct soft_model {
  const char *kind;
  /* Fills configuration space and BARs and makes the state. 0 or -errno. */
  int (*start)(bb_soft *device, const char *settings);
  /* Does what there is to do now, with the device's lock held. Returns the microseconds until it wants to be called
   * again: 0 for at once. */
  uint32_t (*step)(bb_soft *device);
  /* Frees the state. The thread has ended. */
  void (*stop)(bb_soft *device);
  /* A descriptor that counts the interrupts of a vector, and stays the device's. NULL for a model without. */
  int (*interrupt_fd)(bb_soft *device, uint32_t vector);
};

struct bb_soft {
  const struct soft_model *model;
  _Alignas(8) uint8_t config[CONFIG_BYTES];
  struct soft_bar bars[BAR_COUNT];
  void *state;
  pthread_t thread;
  atomic_int ending;
  /* Held by the thread in each step, and by every call that touches what a step uses: the state of the model, and DMA
   * memory, which so cannot go away while the device copies to or from it. */
  pthread_mutex_t lock;
  /* How many calls want the lock. A busy device takes it again at once and would never let them have it. */
  atomic_uint wanted;
  struct soft_dma *dma; /* by ascending bus address */
  size_t dma_count, dma_room;
  size_t dma_last;         /* where the last search ended */
  uint64_t dma_generation; /* raised when memory was taken away: pointers into it are to be looked up again */
  uint64_t next_bus_address;
};

/* Takes and gives back the device's lock, for calls from other threads. */
void soft_lock(bb_soft *device);
void soft_unlock(bb_soft *device);

/* The memory at a bus address, or NULL unless all size bytes of it lie in one allocation. With the lock held. */
void *soft_dma_find(bb_soft *device, uint64_t bus_address, uint64_t size);

/* Takes a BAR's memory away (every access raises SIGBUS, as when a real device vanishes), or gives it back, zeroed.
 * -ENOTSUP where the system cannot. */
int soft_bar_present(bb_soft *device, unsigned index, int present);

/* Zeroed memory, used only where it is touched, with a page on either side that nobody may touch. NULL when there is none. */
void *soft_map_pages(uint64_t size);
void soft_unmap_pages(void *base, uint64_t size);

/* Gives a device a BAR of zeroed memory. */
int soft_add_bar(bb_soft *device, unsigned index, uint64_t size);

/* Calls handle for each setting until it returns other than 0. -EINVAL for a line without '='. Values may be empty. */
int soft_each_setting(const char *settings, int (*handle)(void *context, const char *key, const char *value),
                      void *context);

/* Reads an unsigned decimal number that is at most limit. 0 or -EINVAL. */
int soft_number(const char *text, uint64_t limit, uint64_t *out);

/* Registers lie in ordinary memory that the driver touches at the same time, so every access is atomic. Loads acquire
 * and stores release: what a driver wrote before ringing is seen after the ring is. */
static inline uint32_t soft_load32(const bb_soft *device, unsigned bar, uint32_t offset) {
  return __atomic_load_n((const uint32_t *)(const void *)(device->bars[bar].base + offset), __ATOMIC_ACQUIRE);
}
static inline void soft_store32(bb_soft *device, unsigned bar, uint32_t offset, uint32_t value) {
  __atomic_store_n((uint32_t *)(void *)(device->bars[bar].base + offset), value, __ATOMIC_RELEASE);
}
static inline uint64_t soft_load64(const bb_soft *device, unsigned bar, uint32_t offset) {
  return __atomic_load_n((const uint64_t *)(const void *)(device->bars[bar].base + offset), __ATOMIC_ACQUIRE);
}
static inline void soft_store64(bb_soft *device, unsigned bar, uint32_t offset, uint64_t value) {
  __atomic_store_n((uint64_t *)(void *)(device->bars[bar].base + offset), value, __ATOMIC_RELEASE);
}

uint64_t soft_now_us(void);
uint64_t soft_now_ns(void);

extern const struct soft_model soft_nvme;

#endif
