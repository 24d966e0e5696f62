/* The medium of a namespace: memory that is used only where it was written, or a file; and which blocks are written. */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_file(struct store *store, const char *path, uint64_t size) {
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return -errno;
  struct stat info;
  int result = fstat(fd, &info) == 0 ? 0 : -errno;
  if (result == 0 && !S_ISREG(info.st_mode)) result = -EINVAL;
  if (result == 0 && (uint64_t)info.st_size < size && ftruncate(fd, (off_t)size) != 0) result = -errno;
  void *base = result != 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (result == 0 && base == MAP_FAILED) result = -errno;
  if (result != 0) {
    close(fd);
    return result;
  }
  *store = (struct store){base, size, fd};
  return 0;
}

int nvme_store_open(struct store *store, const char *path, uint64_t size) {
  if (*path != '\0') return open_file(store, path, size);
  uint8_t *base = soft_map_pages(size);
  if (base == NULL) return -ENOMEM;
  *store = (struct store){base, size, -1};
  return 0;
}

void nvme_store_close(struct store *store) {
  if (store->base == NULL) return;
  if (store->fd < 0) {
    soft_unmap_pages(store->base, store->size);
  } else {
    munmap(store->base, store->size);
    close(store->fd);
  }
  *store = (struct store){.fd = -1};
}

int nvme_store_flush(const struct store *store) {
  return store->fd >= 0 && msync(store->base, store->size, MS_SYNC) != 0 ? -errno : 0;
}

/* Makes a range read as zeros, and gives its whole pages back. */
void nvme_store_clear(struct store *store, uint64_t offset, uint64_t length) {
  const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  const uint64_t first = (offset + page - 1) / page * page, end = (offset + length) / page * page;
  int given_back = 0;
  if (first < end) {
    given_back = store->fd < 0
                     ? madvise(store->base + first, end - first, MADV_DONTNEED) == 0
                     : fallocate(store->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)first,
                                 (off_t)(end - first)) == 0;
  }
  if (!given_back) {
    memset(store->base + offset, 0, length);
    return;
  }
  memset(store->base + offset, 0, first - offset);
  memset(store->base + end, 0, offset + length - end);
}

/* ---- bits for blocks --------------------------------------------------------------------------------------------- */

uint64_t *nvme_bits_open(uint64_t bits) { return soft_map_pages((bits + 63) / 64 * 8); }

void nvme_bits_close(uint64_t *words, uint64_t bits) { soft_unmap_pages(words, (bits + 63) / 64 * 8); }

/* The part of a word that belongs to a range, as a mask; *at and *count go on behind it. */
static uint64_t next_mask(uint64_t *at, uint64_t *count) {
  const unsigned shift = (unsigned)(*at % 64);
  const uint64_t here = *count < 64 - shift ? *count : 64 - shift;
  *at += here;
  *count -= here;
  return (here == 64 ? UINT64_MAX : (UINT64_C(1) << here) - 1) << shift;
}

uint64_t nvme_bits_set(uint64_t *words, uint64_t at, uint64_t count, int value) {
  uint64_t changed = 0;
  while (count > 0) {
    uint64_t *word = &words[at / 64];
    const uint64_t mask = next_mask(&at, &count), wanted = value ? *word | mask : *word & ~mask;
    if (wanted == *word) continue;
    changed += (uint64_t)__builtin_popcountll(wanted ^ *word);
    *word = wanted;
  }
  return changed;
}

int nvme_bits_any(const uint64_t *words, uint64_t at, uint64_t count, int value, uint64_t *where) {
  while (count > 0) {
    const uint64_t word = value ? words[at / 64] : ~words[at / 64], base = at / 64 * 64;
    const uint64_t found = word & next_mask(&at, &count);
    if (found == 0) continue;
    *where = base + (uint64_t)__builtin_ctzll(found);
    return 1;
  }
  return 0;
}
