/* The memory of one device: a range of this process, or of a file such as a BAR, given out in pieces, first fit. */
#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 512, ALIGNED_BYTES = 64 << 10, RETURNED_BYTES = 1 << 20 };

static int map_file(struct pool *pool, const char *file, uint64_t offset) {
  const int fd = open(file, O_RDWR | O_CLOEXEC);
  if (fd < 0) return -errno;
  struct stat info;
  int failed = fstat(fd, &info) != 0 ? -errno : 0;
  if (failed == 0 && ((uint64_t)info.st_size < offset || (uint64_t)info.st_size - offset < pool->size)) failed = -ENOSPC;
  if (failed == 0) {
    void *base = mmap(NULL, pool->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
    if (base == MAP_FAILED) failed = -errno;
    else pool->base = base;
  }
  close(fd);
  return failed;
}

int pool_open(struct pool *pool, uint64_t size, const char *file, uint64_t offset) {
  size &= ~(uint64_t)(PIECE - 1);
  *pool = (struct pool){.size = size, .is_file = file != NULL, .gap_room = 16};
  if (size == 0) return -EINVAL;
  pool->gaps = malloc(pool->gap_room * sizeof *pool->gaps);
  if (pool->gaps == NULL) return -ENOMEM;
  int failed = 0;
  if (file != NULL) {
    failed = map_file(pool, file, offset);
  } else {
    /* Pages come when they are first touched. */
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) failed = -errno;
    else pool->base = base;
  }
  if (failed != 0) {
    free(pool->gaps);
    return failed;
  }
  pool->gaps[0] = (struct pool_gap){0, size};
  pool->gap_count = 1;
  return 0;
}

void pool_close(struct pool *pool) {
  munmap(pool->base, pool->size);
  free(pool->gaps);
}

static uint64_t pieces(uint64_t size) { return (size + PIECE - 1) & ~(uint64_t)(PIECE - 1); }

/* Takes a piece out of the first gap that has it from a multiple of ALIGNED_BYTES on. False where there is none. */
static bool take_aligned(struct pool *pool, uint64_t wanted, uint64_t *offset) {
  for (size_t i = 0; i < pool->gap_count; i++) {
    struct pool_gap *gap = &pool->gaps[i];
    const uint64_t start = (gap->offset + ALIGNED_BYTES - 1) & ~(uint64_t)(ALIGNED_BYTES - 1), lead = start - gap->offset;
    if (gap->size < lead || gap->size - lead < wanted) continue;
    const struct pool_gap rest = {start + wanted, gap->size - lead - wanted};
    if (lead == 0 || (rest.size > 0 && pool->gap_count == pool->gap_room)) {
      if (lead != 0) continue;
      return false; /* the ordinary way does it as well */
    }
    gap->size = lead;
    if (rest.size > 0) {
      memmove(gap + 2, gap + 1, (pool->gap_count - i - 1) * sizeof *gap);
      gap[1] = rest;
      pool->gap_count++;
    }
    *offset = start;
    pool->used += wanted;
    return true;
  }
  return false;
}

bool pool_take(struct pool *pool, uint64_t size, uint64_t *offset) {
  if (size == 0 || size > pool->size) return false;
  const uint64_t wanted = pieces(size);
  /* Large pieces begin where the pages of a GPU begin, as long as there is such a place. */
  if (wanted >= ALIGNED_BYTES && take_aligned(pool, wanted, offset)) return true;
  for (size_t i = 0; i < pool->gap_count; i++) {
    struct pool_gap *gap = &pool->gaps[i];
    if (gap->size < wanted) continue;
    *offset = gap->offset;
    gap->offset += wanted;
    gap->size -= wanted;
    if (gap->size == 0) {
      memmove(gap, gap + 1, (pool->gap_count - i - 1) * sizeof *gap);
      pool->gap_count--;
    }
    pool->used += wanted;
    return true;
  }
  return false;
}

void pool_give(struct pool *pool, uint64_t offset, uint64_t size) {
  const uint64_t length = pieces(size);
  pool->used -= length;
  /* Whole pages of large pieces go back to the system. */
  if (!pool->is_file && length >= RETURNED_BYTES) {
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), first = (offset + page - 1) & ~(page - 1);
    const uint64_t end = (offset + length) & ~(page - 1);
    if (end > first) madvise(pool->base + first, end - first, MADV_DONTNEED);
  }
  size_t low = 0, high = pool->gap_count;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (pool->gaps[middle].offset < offset) low = middle + 1;
    else high = middle;
  }
  struct pool_gap *after = low < pool->gap_count ? &pool->gaps[low] : NULL;
  struct pool_gap *before = low > 0 ? &pool->gaps[low - 1] : NULL;
  const bool joins_before = before != NULL && before->offset + before->size == offset;
  const bool joins_after = after != NULL && offset + length == after->offset;
  if (joins_before && joins_after) {
    before->size += length + after->size;
    memmove(after, after + 1, (pool->gap_count - low - 1) * sizeof *after);
    pool->gap_count--;
  } else if (joins_before) {
    before->size += length;
  } else if (joins_after) {
    after->offset = offset;
    after->size += length;
  } else {
    if (pool->gap_count == pool->gap_room) {
      struct pool_gap *wider = realloc(pool->gaps, 2 * pool->gap_room * sizeof *wider);
      /* Without memory for the note the piece is lost, not given out twice. */
      if (wider == NULL) return;
      pool->gaps = wider;
      pool->gap_room *= 2;
    }
    memmove(&pool->gaps[low + 1], &pool->gaps[low], (pool->gap_count - low) * sizeof *pool->gaps);
    pool->gaps[low] = (struct pool_gap){offset, length};
    pool->gap_count++;
  }
}
