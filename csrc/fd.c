/* File descriptors. See busbar.h for the rules. */
#define _GNU_SOURCE
#include "busbar.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

int32_t bb_open(const char *path, uint32_t flags) {
  if (path == NULL) return -EINVAL;
  const int how = (flags & BB_OPEN_WRITE ? O_RDWR : O_RDONLY) | (flags & BB_OPEN_EXCLUSIVE ? O_EXCL : 0) |
                  (flags & BB_OPEN_DIRECT ? O_DIRECT : 0);
  /* O_NONBLOCK: a FIFO opened by mistake must not hang. */
  const int fd = open(path, how | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  return fd < 0 ? -errno : fd;
}

int32_t bb_close(int32_t fd) { return close(fd) == 0 ? 0 : -errno; }

int32_t bb_pread(int32_t fd, uint64_t offset, void *to, uint32_t size) {
  if (to == NULL || size > INT32_MAX) return -EINVAL;
  const ssize_t got = pread(fd, to, size, (off_t)offset);
  return got < 0 ? -errno : (int32_t)got;
}

int32_t bb_pwrite(int32_t fd, uint64_t offset, const void *from, uint32_t size) {
  if (from == NULL || size > INT32_MAX) return -EINVAL;
  const ssize_t got = pwrite(fd, from, size, (off_t)offset);
  return got < 0 ? -errno : (int32_t)got;
}

int32_t bb_map_fd(int32_t fd, uint64_t offset, uint64_t size, uint32_t flags, void **out) {
  if (out == NULL || size == 0 || offset + size < size) return -EINVAL;
  const int protection = PROT_READ | (flags & BB_MAP_WRITE ? PROT_WRITE : 0);
  void *address = mmap(NULL, size, protection, MAP_SHARED, fd, (off_t)offset);
  if (address == MAP_FAILED) return -errno;
  *out = address;
  return 0;
}

int32_t bb_eventfd(void) {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd < 0 ? -errno : fd;
}

int32_t bb_eventfd_wait(int32_t fd, uint32_t limit_ms) {
  if (limit_ms > 50) return -EINVAL;
  struct pollfd waited = {.fd = fd, .events = POLLIN};
  const int ready = poll(&waited, 1, (int)limit_ms);
  /* A signal ends the wait early; the caller looks and waits again. */
  if (ready < 0) return errno == EINTR ? 0 : -errno;
  uint64_t count;
  if (ready == 0) return 0;
  if (read(fd, &count, sizeof count) == (ssize_t)sizeof count) return 1;
  return errno == EAGAIN ? 0 : -errno;
}

int32_t bb_lock_file(int32_t fd) { return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno == EWOULDBLOCK ? -EAGAIN : -errno; }
