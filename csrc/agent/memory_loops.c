/* Memory, and the loops that measure it. See agent.h. What is written is memory of the agent, or a file it may write. */
#define _GNU_SOURCE
#include "agent.h"
#include "busbar.h"
#include "handles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A moment that is waited for between two pieces; more of them than this, and a request has no end. */
enum { COUNTS = 4, MAX_DELAY = 100000 };

static int is_limited(const struct value *limit_us) { return limit_us->number <= MAX_LIMIT_US; }

static int32_t put_mapping(struct call *call, int32_t mapped, void *address, uint64_t size, int writable) {
  uint32_t number = 0;
  if (mapped < 0) return mapped;
  struct handle *handle = handle_new(HANDLE_MEMORY, &number);
  if (handle == NULL) {
    bb_unmap(address, size);
    return -EMFILE;
  }
  handle->address = address;
  handle->mapped_size = size;
  handle->end = size;
  handle->writable = writable;
  put32(call->out, number);
  return 0;
}

#ifndef MAX_ANONYMOUS
/* As much as the host has: what is mapped is touched later, and more would end other programs. */
#define MAX_ANONYMOUS ((uint64_t)sysconf(_SC_PHYS_PAGES) * bb_page_size())
#endif

int32_t operation_map_anonymous(struct call *call) {
  const uint64_t size = call->arg[0].number;
  const uint32_t flags = (uint32_t)call->arg[1].number;
  if ((flags & ~(uint32_t)(BB_MAP_HUGE_2M | BB_MAP_HUGE_1G)) != 0) return -EINVAL;
  if (size > MAX_ANONYMOUS) return -ENOMEM;
  void *address = NULL;
  const int32_t mapped = bb_map_anonymous(size, flags, &address);
  return put_mapping(call, mapped, address, size, 1);
}

/* A dax device: /sys/dev/char/MAJOR:MINOR leads to the dax bus. */
static int is_dax_device(const struct stat *info) {
  char path[80];
  snprintf(path, sizeof path, "/sys/dev/char/%u:%u/subsystem", major(info->st_rdev), minor(info->st_rdev));
  const int fd = path_open(path, O_PATH);
  if (fd < 0) return 0;
  char real[2 * MAX_PATH];
  const int length = path_of(fd, real, sizeof real);
  close(fd);
  return length > 0 && (strcmp(real, "/sys/bus/dax") == 0 || strcmp(real, "/sys/class/dax") == 0);
}

int32_t operation_map_file(struct call *call) {
  const char *path = (const char *)call->arg[0].bytes;
  const uint64_t offset = call->arg[1].number, size = call->arg[2].number;
  const uint32_t flags = (uint32_t)call->arg[3].number;
  const int writable = (flags & BB_MAP_WRITE) != 0;
  if ((flags & ~(uint32_t)(BB_MAP_WRITE | BB_MAP_SYNC)) != 0 || size > INT64_MAX || offset > INT64_MAX) return -EINVAL;
  if (writable && !may(RIGHT_WRITE)) return -EROFS;
  const int found = path_open(path, O_PATH);
  if (found < 0) return found;
  struct stat info;
  int32_t result = fstat(found, &info) < 0 ? -errno : 0;
  const int is_device = result == 0 && S_ISCHR(info.st_mode) && is_dax_device(&info);
  if (result == 0 && !S_ISREG(info.st_mode) && !is_device) result = -ENXIO;
  void *address = NULL;
  if (result == 0) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", found);
    result = bb_map_file(link, offset, size, flags, &address);
    result = put_mapping(call, result, address, size, writable);
  }
  close(found);
  return result;
}

/* A part of memory: handle, offset, size from argument first on. Addresses are multiples of 64, as the loops want. */
static struct handle *part(const struct call *call, unsigned first, char **at) {
  struct handle *handle = handle_get(call->arg[first].number, HANDLE_MEMORY);
  const uint64_t offset = call->arg[first + 1].number, size = call->arg[first + 2].number;
  if (handle == NULL || offset > handle->end || size > handle->end - offset || size == 0) return NULL;
  if (offset % 64 != 0 || size % 64 != 0) return NULL;
  *at = (char *)handle->address + offset;
  return handle;
}

static struct handle *writable_part(const struct call *call, unsigned first, char **at) {
  struct handle *handle = part(call, first, at);
  if (handle == NULL || !handle->writable) return NULL;
  /* A cycle that something else is written over must not be followed. */
  handle->chase_is_ready = 0;
  return handle;
}

static void put_counts(struct buffer *out, const uint64_t counts[COUNTS]) {
  for (unsigned i = 0; i < COUNTS; i++) put64(out, counts[i]);
}

int32_t operation_bind_node(struct call *call) {
  const struct handle *handle = handle_get(call->arg[0].number, HANDLE_MEMORY);
  if (handle == NULL) return -EBADF;
  return bb_bind_node(handle->address, handle->mapped_size, (uint32_t)call->arg[1].number);
}

static int32_t check_range(const struct call *call, struct handle **out) {
  *out = handle_get(call->arg[0].number, HANDLE_MEMORY);
  const uint64_t offset = call->arg[1].number;
  if (*out == NULL) return -EBADF;
  return offset > (*out)->end || call->arg[2].number > (*out)->end - offset ? -ERANGE : 0;
}

int32_t operation_flush(struct call *call) {
  struct handle *handle;
  const int32_t result = check_range(call, &handle);
  return result < 0 ? result : bb_flush((char *)handle->address + call->arg[1].number, call->arg[2].number);
}

int32_t operation_sync(struct call *call) {
  struct handle *handle;
  const int32_t result = check_range(call, &handle);
  return result < 0 ? result : bb_sync((char *)handle->address + call->arg[1].number, call->arg[2].number);
}

int32_t operation_chase_prepare(struct call *call) {
  char *at;
  struct handle *handle = writable_part(call, 0, &at);
  const uint64_t stride = call->arg[3].number;
  if (handle == NULL || !is_limited(&call->arg[5]) || stride < 8 || stride % 8 != 0 || call->arg[2].number / stride < 2) return -EINVAL;
  const uint64_t offset = call->arg[1].number, size = call->arg[2].number;
  const int goes_on = call->arg[6].number == 0;
  const int is_same = handle->chase_offset == offset && handle->chase_size == size && handle->chase_stride == stride;
  if (goes_on && !is_same) return -EINVAL;
  if (!goes_on) handle->chase_done = 0;
  handle->chase_offset = offset;
  handle->chase_size = size;
  handle->chase_stride = (uint32_t)stride;
  const int32_t result =
      bb_chase_prepare(at, size, (uint32_t)stride, call->arg[4].number, (uint32_t)call->arg[5].number, &handle->chase_done);
  if (result == 1) {
    handle->chase_is_ready = 1;
    handle->chase_position = at;
  }
  return result;
}

int32_t operation_chase(struct call *call) {
  struct handle *handle = handle_get(call->arg[0].number, HANDLE_MEMORY);
  if (handle == NULL || !handle->chase_is_ready) return -EBADF;
  if (!is_limited(&call->arg[2])) return -EINVAL;
  uint64_t counts[COUNTS] = {0};
  const int32_t result =
      bb_chase(&handle->chase_position, (int32_t)call->arg[1].number, (uint32_t)call->arg[2].number, counts);
  if (result >= 0) put_counts(call->out, counts);
  return result;
}

int32_t operation_stream(struct call *call) {
  const uint32_t kind = (uint32_t)call->arg[0].number;
  const int is_copy = kind == BB_STREAM_COPY || kind == BB_STREAM_COPY_NT;
  char *to, *from = NULL;
  const struct handle *handle = kind == BB_STREAM_READ ? part(call, 1, &to) : writable_part(call, 1, &to);
  const uint64_t size = call->arg[3].number;
  uint64_t position = call->arg[6].number;
  if (handle == NULL || kind > BB_STREAM_COPY_NT || position > size || position % 64 != 0) return -EINVAL;
  if (call->arg[7].number > MAX_DELAY || !is_limited(&call->arg[9])) return -EINVAL;
  if (is_copy) {
    const struct handle *source = handle_get(call->arg[4].number, HANDLE_MEMORY);
    const uint64_t offset = call->arg[5].number;
    if (source == NULL || offset % 64 != 0 || offset > source->end || size > source->end - offset) return -EINVAL;
    from = (char *)source->address + offset;
    if (from < to + size && to < from + size) return -EINVAL;
  }
  uint64_t counts[COUNTS] = {0};
  const int32_t result = bb_stream(kind, kind == BB_STREAM_READ ? NULL : to, is_copy ? from : to, size, &position,
                                   (uint32_t)call->arg[7].number, (int32_t)call->arg[8].number,
                                   (uint32_t)call->arg[9].number, counts);
  if (result < 0) return result;
  put64(call->out, position);
  put_counts(call->out, counts);
  return result;
}

int32_t operation_persist_blocks(struct call *call) {
  char *at;
  const struct handle *handle = writable_part(call, 0, &at);
  const uint64_t size = call->arg[2].number, block = call->arg[3].number, how = call->arg[4].number;
  uint64_t position = call->arg[5].number;
  if (handle == NULL || !is_limited(&call->arg[7]) || block == 0 || block % 64 != 0 || size % block != 0) return -EINVAL;
  if (position > size || position % block != 0) return -EINVAL;
  if (how == BB_PERSIST_SYNC && (block % bb_page_size() != 0 || call->arg[1].number % bb_page_size() != 0)) return -EINVAL;
  uint64_t counts[COUNTS] = {0};
  const int32_t result = bb_persist_blocks(at, size, (uint32_t)block, (uint32_t)how, &position, (int32_t)call->arg[6].number,
                                           (uint32_t)call->arg[7].number, counts);
  if (result < 0) return result;
  put64(call->out, position);
  put_counts(call->out, counts);
  return result;
}

static int is_power_of_two(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

int32_t operation_updates(struct call *call) {
  char *at;
  const struct handle *handle = writable_part(call, 0, &at);
  const uint64_t words = call->arg[2].number / 8, hot_start = call->arg[3].number, hot_words = call->arg[4].number;
  if (handle == NULL || !is_limited(&call->arg[9]) || !is_power_of_two(words)) return -EINVAL;
  if (hot_words != 0 && (!is_power_of_two(hot_words) || hot_start > words || hot_words > words - hot_start)) return -EINVAL;
  uint64_t state = call->arg[6].number, counts[COUNTS] = {0};
  const int32_t result = bb_gups((uint64_t *)(void *)at, words, hot_start, hot_words, (uint32_t)call->arg[5].number, &state,
                                 call->arg[7].number, (int32_t)call->arg[8].number, (uint32_t)call->arg[9].number, counts);
  if (result < 0) return result;
  put64(call->out, state);
  put_counts(call->out, counts);
  return result;
}

/* Both go through some words of a table in one request, at most 64 MiB, so that an answer comes in time. */
enum { MAX_TABLE_WORDS = 8 << 20 };

static int has_words(const struct call *call) {
  const uint64_t words = call->arg[2].number / 8, first = call->arg[3].number, count = call->arg[4].number;
  return count <= MAX_TABLE_WORDS && first <= words && count <= words - first;
}

int32_t operation_table_prepare(struct call *call) {
  char *at;
  if (writable_part(call, 0, &at) == NULL || !has_words(call)) return -EINVAL;
  return bb_gups_prepare((uint64_t *)(void *)at, call->arg[3].number, call->arg[4].number);
}

int32_t operation_table_errors(struct call *call) {
  char *at;
  if (part(call, 0, &at) == NULL || !has_words(call)) return -EINVAL;
  uint64_t errors = 0;
  const int32_t result = bb_gups_errors((const uint64_t *)(void *)at, call->arg[3].number, call->arg[4].number, &errors);
  if (result == 0) put64(call->out, errors);
  return result;
}
