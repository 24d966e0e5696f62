/* Where the kernel says that a file's bytes lie. See busbar.h for the rules. */
#define _GNU_SOURCE
#include "busbar.h"

#include <errno.h>
#include <limits.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

enum { MOST_EXTENTS = 128 };

int32_t bb_file_extents(int32_t fd, uint64_t start, uint64_t *out, uint32_t most) {
  if (out == NULL || most == 0) return -EINVAL;
  /* The kernel writes the extents behind the head, which has a flexible array. */
  union {
    struct fiemap head;
    uint8_t bytes[sizeof(struct fiemap) + MOST_EXTENTS * sizeof(struct fiemap_extent)];
  } map;
  memset(&map, 0, sizeof map);
  map.head.fm_start = start;
  map.head.fm_length = FIEMAP_MAX_OFFSET - start;
  map.head.fm_flags = FIEMAP_FLAG_SYNC;
  map.head.fm_extent_count = most < MOST_EXTENTS ? most : MOST_EXTENTS;
  if (ioctl(fd, FS_IOC_FIEMAP, &map.head) != 0) return -errno;
  const uint32_t count = map.head.fm_mapped_extents;
  if (count > map.head.fm_extent_count) return -EIO;
  for (uint32_t i = 0; i < count; i++) {
    const struct fiemap_extent *one = &map.head.fm_extents[i];
    *out++ = one->fe_logical;
    *out++ = one->fe_physical;
    *out++ = one->fe_length;
    *out++ = one->fe_flags;
  }
  return (int32_t)count;
}

int32_t bb_file_block_size(int32_t fd) {
  int size = 0;
  return ioctl(fd, FIGETBSZ, &size) == 0 ? size : -errno;
}

int32_t bb_file_blocks(int32_t fd, uint32_t first, uint32_t *out, uint32_t count) {
  if (out == NULL || first > INT_MAX || count > INT_MAX - first) return -EINVAL;
  for (uint32_t i = 0; i < count; i++) {
    int block = (int)(first + i);
    if (ioctl(fd, FIBMAP, &block) != 0) return -errno;
    out[i] = (uint32_t)block;
  }
  return 0;
}
