/* What every software device has: BARs, DMA memory, a lock, and time. */
#define _GNU_SOURCE
#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

uint64_t soft_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t soft_now_us(void) { return soft_now_ns() / 1000u; }

void soft_lock(bb_soft *device) {
  atomic_fetch_add_explicit(&device->wanted, 1, memory_order_relaxed);
  pthread_mutex_lock(&device->lock);
  atomic_fetch_sub_explicit(&device->wanted, 1, memory_order_relaxed);
}

void soft_unlock(bb_soft *device) { pthread_mutex_unlock(&device->lock); }

/* A page on either side that nobody may touch: a device or driver that runs over an end is stopped there. */
static uint64_t guard_bytes(void) { return (uint64_t)sysconf(_SC_PAGESIZE); }

static uint64_t whole_pages(uint64_t size) { return (size + guard_bytes() - 1) & ~(guard_bytes() - 1); }

void *soft_map_pages(uint64_t wanted) {
  const uint64_t guard = guard_bytes(), size = whole_pages(wanted);
  uint8_t *all = mmap(NULL, size + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) return NULL;
  if (mprotect(all + guard, size, PROT_READ | PROT_WRITE) == 0) return all + guard;
  munmap(all, size + 2 * guard);
  return NULL;
}

void soft_unmap_pages(void *base, uint64_t size) {
  if (base != NULL) munmap((uint8_t *)base - guard_bytes(), whole_pages(size) + 2 * guard_bytes());
}

int soft_add_bar(bb_soft *device, unsigned index, uint64_t size) {
  uint8_t *base = soft_map_pages(size);
  if (base == NULL) return -ENOMEM;
  /* Where the system gives no such file, ordinary memory does, and the BAR cannot be taken away. */
  int fd = memfd_create("busbar-bar", MFD_CLOEXEC);
  if (fd >= 0 && (ftruncate(fd, (off_t)size) != 0 ||
                  mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)) {
    close(fd);
    soft_unmap_pages(base, size);
    return -ENOMEM;
  }
  device->bars[index] = (struct soft_bar){base, size, fd};
  return 0;
}

int soft_bar_present(bb_soft *device, unsigned index, int present) {
  const struct soft_bar *bar = &device->bars[index];
  if (bar->base == NULL || bar->fd < 0) return -ENOTSUP;
  return ftruncate(bar->fd, present ? (off_t)bar->size : 0) == 0 ? 0 : -errno;
}

int32_t bb_soft_config(bb_soft *device, void **bytes) {
  if (device == NULL || bytes == NULL) return -EINVAL;
  *bytes = device->config;
  return 0;
}

int32_t bb_soft_bar(bb_soft *device, uint32_t index, void **base, uint64_t *size) {
  if (device == NULL || base == NULL || size == NULL) return -EINVAL;
  if (index >= BAR_COUNT || device->bars[index].base == NULL) return -ENXIO;
  *base = device->bars[index].base;
  *size = device->bars[index].size;
  return 0;
}

static int reserve_dma(bb_soft *device) {
  if (device->dma_count < device->dma_room) return 0;
  const size_t room = device->dma_room == 0 ? 16 : 2 * device->dma_room;
  struct soft_dma *larger = realloc(device->dma, room * sizeof *larger);
  if (larger == NULL) return -ENOMEM;
  device->dma = larger;
  device->dma_room = room;
  return 0;
}

static uint64_t dma_page_bytes(void) { return guard_bytes() > PAGE_BYTES ? guard_bytes() : PAGE_BYTES; }

/* Lets the device reach whole pages. */
static int32_t add_dma(bb_soft *device, uint8_t *pages, uint64_t size, int is_borrowed, uint64_t *bus_address) {
  soft_lock(device);
  const int result = reserve_dma(device);
  if (result == 0) {
    *bus_address = device->next_bus_address;
    /* Addresses only grow, and so the table stays in order. A page between two allocations belongs to neither: running
     * over the end is caught. */
    device->dma[device->dma_count++] = (struct soft_dma){device->next_bus_address, size, pages, is_borrowed};
    device->next_bus_address += size + dma_page_bytes();
  }
  soft_unlock(device);
  return result;
}

int32_t bb_soft_dma_allocate(bb_soft *device, uint64_t size, void **base, uint64_t *bus_address) {
  if (device == NULL || base == NULL || bus_address == NULL || size == 0 || size > UINT64_C(1) << 40) return -EINVAL;
  const uint64_t page = dma_page_bytes();
  const uint64_t rounded = (size + page - 1) & ~(page - 1);
  uint8_t *pages = soft_map_pages(rounded);
  if (pages == NULL) return -ENOMEM;
  const int32_t result = add_dma(device, pages, rounded, 0, bus_address);
  if (result != 0) soft_unmap_pages(pages, rounded);
  else *base = pages;
  return result;
}

int32_t bb_soft_dma_map(bb_soft *device, void *base, uint64_t size, uint64_t *bus_address) {
  if (device == NULL || base == NULL || bus_address == NULL || size == 0 || size > UINT64_C(1) << 40) return -EINVAL;
  if ((((uintptr_t)base | size) & (dma_page_bytes() - 1)) != 0) return -EINVAL;
  return add_dma(device, base, size, 1, bus_address);
}

/* The allocation with the highest bus address that is not above this one, or NULL. */
static struct soft_dma *at_or_below(bb_soft *device, uint64_t bus_address) {
  size_t low = 0, high = device->dma_count;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (device->dma[middle].bus_address <= bus_address) low = middle + 1;
    else high = middle;
  }
  return low == 0 ? NULL : &device->dma[low - 1];
}

static void *inside(const struct soft_dma *dma, uint64_t bus_address, uint64_t size) {
  const uint64_t offset = bus_address - dma->bus_address;
  return bus_address >= dma->bus_address && offset < dma->size && size <= dma->size - offset ? dma->base + offset : NULL;
}

void *soft_dma_find(bb_soft *device, uint64_t bus_address, uint64_t size) {
  if (device->dma_last < device->dma_count) {
    void *found = inside(&device->dma[device->dma_last], bus_address, size);
    if (found != NULL) return found;
  }
  const struct soft_dma *dma = at_or_below(device, bus_address);
  if (dma == NULL) return NULL;
  device->dma_last = (size_t)(dma - device->dma);
  return inside(dma, bus_address, size);
}

int32_t bb_soft_dma_free(bb_soft *device, uint64_t bus_address) {
  if (device == NULL) return -EINVAL;
  soft_lock(device);
  struct soft_dma *dma = at_or_below(device, bus_address);
  struct soft_dma taken = {0};
  if (dma != NULL && dma->bus_address == bus_address) {
    taken = *dma;
    const size_t after = device->dma_count - (size_t)(dma - device->dma) - 1;
    memmove(dma, dma + 1, after * sizeof *dma);
    device->dma_count--;
    device->dma_generation++;
  }
  soft_unlock(device);
  if (taken.base == NULL) return -ENOENT;
  if (!taken.is_borrowed) soft_unmap_pages(taken.base, taken.size);
  return 0;
}
