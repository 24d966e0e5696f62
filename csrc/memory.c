/* Mappings of files, devices and anonymous memory. See busbar.h for the rules. */
#define _GNU_SOURCE
#include "busbar.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

uint64_t bb_page_size(void) { return (uint64_t)sysconf(_SC_PAGESIZE); }

static int map(int fd, uint64_t offset, uint64_t size, int protection, int flags, void **out) {
  void *address = mmap(NULL, size, protection, flags, fd, (off_t)offset);
  if (address == MAP_FAILED) return -errno;
  *out = address;
  return 0;
}

/* Regular files end where stat says. Devices and sysfs attributes check the range in their own mmap. */
static int check_length(int fd, uint64_t offset, uint64_t size) {
  struct stat info;
  if (fstat(fd, &info) != 0) return -errno;
  if (S_ISDIR(info.st_mode)) return -EISDIR;
  if (!S_ISREG(info.st_mode)) return 0;
  return offset + size > (uint64_t)info.st_size ? -ERANGE : 0;
}

int32_t bb_map_file(const char *path, uint64_t offset, uint64_t size, uint32_t flags, void **out) {
  if (path == NULL || out == NULL || size == 0 || offset + size < size) return -EINVAL;
  const int writable = (flags & BB_MAP_WRITE) != 0;
  const int private = (flags & BB_MAP_PRIVATE) != 0;
  /* A private mapping is written in memory only. O_NONBLOCK: opening a FIFO by mistake must not hang. */
  const int fd = open(path, (writable && !private ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return -errno;
  int result = check_length(fd, offset, size);
  if (result == 0) {
    int kind = private ? MAP_PRIVATE : MAP_SHARED;
    if (flags & BB_MAP_SYNC) kind = MAP_SHARED_VALIDATE | MAP_SYNC;
    if (flags & BB_MAP_POPULATE) kind |= MAP_POPULATE;
    result = map(fd, offset, size, PROT_READ | (writable ? PROT_WRITE : 0), kind, out);
  }
  close(fd);
  return result;
}

int32_t bb_map_pieces(const char *path, const uint64_t *offsets, uint32_t count, uint64_t piece_size, void **out) {
  if (path == NULL || offsets == NULL || out == NULL || count == 0 || piece_size == 0) return -EINVAL;
  if (piece_size % bb_page_size() != 0 || piece_size > UINT64_MAX / count) return -EINVAL;
  const int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return -errno;
  /* The range is taken first, and each piece then replaces a part of it. */
  const uint64_t whole = piece_size * count;
  uint8_t *base = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  int32_t result = base == MAP_FAILED ? -errno : 0;
  for (uint32_t i = 0; i < count && result == 0; i++) {
    result = offsets[i] + piece_size < piece_size ? -EINVAL : check_length(fd, offsets[i], piece_size);
    if (result == 0 && mmap(base + i * piece_size, piece_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                            (off_t)offsets[i]) == MAP_FAILED) {
      result = -errno;
    }
  }
  close(fd);
  if (result == 0) *out = base;
  else if (base != MAP_FAILED) munmap(base, whole);
  return result;
}

int32_t bb_map_anonymous(uint64_t size, uint32_t flags, void **out) {
  if (out == NULL || size == 0) return -EINVAL;
  int kind = (flags & BB_MAP_PRIVATE ? MAP_PRIVATE : MAP_SHARED) | MAP_ANONYMOUS;
  if (flags & BB_MAP_POPULATE) kind |= MAP_POPULATE;
  if (flags & BB_MAP_HUGE_2M) kind |= MAP_HUGETLB | 21 << MAP_HUGE_SHIFT;
  if (flags & BB_MAP_HUGE_1G) kind |= MAP_HUGETLB | 30 << MAP_HUGE_SHIFT;
  return map(-1, 0, size, PROT_READ | PROT_WRITE, kind, out);
}

int32_t bb_unmap(void *address, uint64_t size) {
  if (address == NULL) return -EINVAL;
  return munmap(address, size) == 0 ? 0 : -errno;
}

int32_t bb_sync(void *address, uint64_t size) {
  if (address == NULL) return -EINVAL;
  return msync(address, size, MS_SYNC) == 0 ? 0 : -errno;
}

int32_t bb_bind_node(void *address, uint64_t size, uint32_t node) {
  /* Documentation/admin-guide/mm/numa_memory_policy.rst: allocate from these nodes only, never from another. */
  enum { BIND = 2, NODES = 1024, BITS = 8 * sizeof(unsigned long) };
  if (address == NULL || node >= NODES) return -EINVAL;
  unsigned long mask[NODES / BITS] = {0};
  mask[node / BITS] = 1ul << node % BITS;
  /* The kernel counts one bit less than it is told. */
  return syscall(SYS_mbind, address, size, BIND, mask, NODES + 1ul, 0u) == 0 ? 0 : -errno;
}

int32_t bb_page_nodes(const void *address, uint64_t size, int32_t *out, uint64_t pages) {
  enum { AT_ONCE = 512 };
  const uint64_t page = bb_page_size();
  if (address == NULL || out == NULL || (uintptr_t)address % page != 0) return -EINVAL;
  const uint64_t count = size / page + (size % page != 0);
  if (count > pages || count > INT32_MAX) return -ERANGE;
  const char *at = address;
  const void *places[AT_ONCE];
  for (uint64_t done = 0; done < count;) {
    const uint64_t step = count - done < AT_ONCE ? count - done : AT_ONCE;
    for (uint64_t i = 0; i < step; i++) places[i] = at + (done + i) * page;
    /* Without nodes to move to, the kernel only tells where the pages are. */
    if (syscall(SYS_move_pages, 0, step, places, NULL, out + done, 0) != 0) return -errno;
    done += step;
  }
  return (int32_t)count;
}

int32_t bb_file_is_dax(const char *path) {
  if (path == NULL) return -EINVAL;
  struct statx info;
  if (statx(AT_FDCWD, path, 0, 0, &info) != 0) return -errno;
  const uint64_t dax = UINT64_C(0x200000); /* STATX_ATTR_DAX, Linux 5.8; not in every libc's header */
  if ((info.stx_attributes_mask & dax) == 0) return -EOPNOTSUPP;
  return (info.stx_attributes & dax) != 0;
}

int32_t bb_lock(const void *address, uint64_t size) {
  if (address == NULL) return -EINVAL;
  return mlock(address, size) == 0 ? 0 : -errno;
}

int32_t bb_unlock(const void *address, uint64_t size) {
  if (address == NULL) return -EINVAL;
  return munlock(address, size) == 0 ? 0 : -errno;
}

int32_t bb_page_map(const void *address, uint64_t size, uint64_t *out, uint64_t pages) {
  const uint64_t page = bb_page_size();
  if (address == NULL || out == NULL || (uintptr_t)address % page != 0) return -EINVAL;
  const uint64_t count = size / page + (size % page != 0);
  if (count > pages || count > INT32_MAX) return -ERANGE;
  const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int result = (int)count;
  uint64_t present = 0, hidden = 0;
  for (uint64_t done = 0; done < count;) {
    const off_t where = (off_t)(((uintptr_t)address / page + done) * sizeof *out);
    const ssize_t got = pread(fd, out + done, (count - done) * sizeof *out, where);
    if (got < (ssize_t)sizeof *out) {
      result = got < 0 ? -errno : -EIO;
      break;
    }
    for (const uint64_t end = done + (uint64_t)got / sizeof *out; done < end; done++) {
      /* Documentation/admin-guide/mm/pagemap.rst: bit 63 present, bits 54:0 page frame, zeroed for the unprivileged. */
      const uint64_t entry = out[done], frame = entry & ((UINT64_C(1) << 55) - 1);
      const int here = (int)(entry >> 63);
      present += (uint64_t)here;
      hidden += here && frame == 0;
      out[done] = here ? frame * page : UINT64_MAX;
    }
  }
  close(fd);
  return result >= 0 && hidden > 0 && hidden == present ? -EPERM : result;
}

#if defined(__x86_64__)
/* CPUID leaf 7: bit 24 of EBX is CLWB, bit 23 CLFLUSHOPT. */
static unsigned flush_features(void) {
  unsigned a, b = 0, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) ? b : 0;
}

static uint64_t cache_line(void) {
  unsigned a, b = 0, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (b >> 8 & 0xff) ? (b >> 8 & 0xff) * 8 : 64;
}

static void flush_lines(uintptr_t first, uintptr_t end, uint64_t line) {
  const unsigned features = flush_features();
  if (features >> 24 & 1) {
    /* Writes back and keeps the line: what is persisted is often used again. */
    for (uintptr_t p = first; p < end; p += line) __asm__ volatile("clwb (%0)" ::"r"(p) : "memory");
  } else if (features >> 23 & 1) {
    for (uintptr_t p = first; p < end; p += line) __asm__ volatile("clflushopt (%0)" ::"r"(p) : "memory");
  } else {
    for (uintptr_t p = first; p < end; p += line) __asm__ volatile("clflush (%0)" ::"r"(p) : "memory");
  }
  /* clwb and clflushopt are ordered by nothing but a fence; sfence is enough for what is stored afterwards. */
  __asm__ volatile("sfence" ::: "memory");
}
#elif defined(__aarch64__)
static uint64_t cache_line(void) {
  uint64_t type;
  __asm__("mrs %0, ctr_el0" : "=r"(type));
  return UINT64_C(4) << (type >> 16 & 0xf);
}

static void flush_lines(uintptr_t first, uintptr_t end, uint64_t line) {
  for (uintptr_t p = first; p < end; p += line) __asm__ volatile("dc civac, %0" ::"r"(p) : "memory");
  /* Cache maintenance is only complete after dsb; dmb would merely order it. */
  __asm__ volatile("dsb sy" ::: "memory");
}
#elif defined(__powerpc64__)
static uint64_t cache_line(void) { return 128; }

static void flush_lines(uintptr_t first, uintptr_t end, uint64_t line) {
  for (uintptr_t p = first; p < end; p += line) __asm__ volatile("dcbf 0, %0" ::"r"(p) : "memory");
  /* dcbf is only complete after sync. */
  __asm__ volatile("sync" ::: "memory");
}
#else
/* This processor has no instruction for it that programs may use. */
static uint64_t cache_line(void) { return 0; }

static void flush_lines(uintptr_t first, uintptr_t end, uint64_t line) { (void)first, (void)end, (void)line; }
#endif

int32_t bb_flush(const void *address, uint64_t size) {
  const uintptr_t first = (uintptr_t)address;
  if (address == NULL || first + size < first) return -EINVAL;
  const uint64_t line = cache_line();
  if (line == 0) return -EOPNOTSUPP;
  flush_lines(first & ~(line - 1), first + size, line);
  return 0;
}
