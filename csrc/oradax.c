/*
 * The oradax driver: a write takes CCBs or a 4-byte command, a read gives the result of the last one, and completion areas
 * are mapped. See busbar.h for the rules, and Documentation/arch/sparc/oradax for the driver's.
 *
 * What is a trap of that interface is dealt with here, once:
 *  - a submission that is refused returns 0, not -1, and every later write fails until its result was read;
 *  - a result is 16 bytes whatever was asked, and a read of any other size loses it;
 *  - every call must come from the thread that opened the device.
 */
#define _GNU_SOURCE
#include "busbar.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

enum { AREA_TOTAL_BYTES = BB_ORADAX_AREAS * BB_ORADAX_AREA_BYTES, RESULT_BYTES = 16, COMMAND_BYTES = 4 };
enum { COMMAND_KILL = 0, COMMAND_INFO = 1, COMMAND_DEQUEUE = 2 };
enum { MAX_WAIT_US = 50000, SPIN_US = 20 };

struct bb_oradax {
  bb_oradax_file file;
  const uint8_t *areas;
  pthread_t owner;
  int is_hardware;
};

/* The driver's structures are in the order of its machine, which is big-endian. A software device keeps to that. */
static uint64_t big_endian(const uint8_t *at, unsigned size) {
  uint64_t value = 0;
  for (unsigned i = 0; i < size; i++) value = value << 8 | at[i];
  return value;
}

static int64_t fd_write(void *context, const void *bytes, uint64_t size, int64_t offset) {
  /* pwrite: the driver takes the file position for the area, and cannot seek. */
  const ssize_t count = pwrite((int)(intptr_t)context, bytes, size, (off_t)offset);
  return count < 0 ? -errno : count;
}

static int64_t fd_read(void *context, void *to, uint64_t size) {
  const ssize_t count = read((int)(intptr_t)context, to, size);
  return count < 0 ? -errno : count;
}

static int32_t fd_map(void *context, uint64_t size, int32_t writable, void **out) {
  const int protection = PROT_READ | (writable ? PROT_WRITE : 0);
  void *area = mmap(NULL, size, protection, MAP_SHARED, (int)(intptr_t)context, 0);
  if (area == MAP_FAILED) return -errno;
  *out = area;
  return 0;
}

static void fd_unmap(void *context, void *area, uint64_t size) {
  (void)context;
  munmap(area, size);
}

static void fd_close(void *context) { close((int)(intptr_t)context); }

static int32_t attach(const bb_oradax_file *file, int is_hardware, bb_oradax **out) {
  bb_oradax *dax = calloc(1, sizeof *dax);
  void *areas = NULL;
  const int32_t result = dax == NULL ? -ENOMEM : file->map(file->context, AREA_TOTAL_BYTES, 0, &areas);
  if (result < 0) {
    free(dax);
    return result;
  }
  *dax = (bb_oradax){*file, areas, pthread_self(), is_hardware};
  *out = dax;
  return 0;
}

int32_t bb_oradax_attach(const bb_oradax_file *file, bb_oradax **out) {
  if (file == NULL || out == NULL) return -EINVAL;
  return attach(file, 0, out);
}

int32_t bb_oradax_open(const char *path, bb_oradax **out) {
  if (path == NULL || out == NULL) return -EINVAL;
  const int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return -errno;
  const bb_oradax_file file = {(void *)(intptr_t)fd, fd_write, fd_read, fd_map, fd_unmap, fd_close};
  const int32_t result = attach(&file, 1, out);
  if (result < 0) close(fd);
  return result;
}

static int32_t check_call(const bb_oradax *dax, uint32_t index) {
  if (dax == NULL || index >= BB_ORADAX_AREAS) return -EINVAL;
  return pthread_equal(dax->owner, pthread_self()) ? 0 : -EUSERS;
}

int32_t bb_oradax_close(bb_oradax *dax) {
  if (dax == NULL) return 0;
  const int32_t result = check_call(dax, 0);
  if (result < 0) return result;
  const bb_oradax_file file = dax->file;
  /* The driver waits for CCBs in flight when the last reference goes, and the mapping is one. */
  file.unmap(file.context, (void *)(uintptr_t)dax->areas, AREA_TOTAL_BYTES);
  file.close(file.context);
  free(dax);
  return 0;
}

static int32_t read_result(const bb_oradax *dax, uint8_t result[RESULT_BYTES]) {
  const int64_t count = dax->file.read(dax->file.context, result, RESULT_BYTES);
  if (count < 0) return (int32_t)count;
  return count == RESULT_BYTES ? 0 : -EIO;
}

int32_t bb_oradax_submit(bb_oradax *dax, uint32_t index, const void *ccbs, uint32_t size, bb_oradax_refusal *refusal) {
  const int32_t result = check_call(dax, index);
  if (result < 0) return result;
  if (ccbs == NULL || refusal == NULL || size == 0 || size % 64 != 0 || size > BB_ORADAX_SUBMIT_BYTES) return -EINVAL;
  *refusal = (bb_oradax_refusal){0, 0};
  const int64_t taken = dax->file.write(dax->file.context, ccbs, size, index);
  if (taken < 0 || taken == size) return (int32_t)taken;
  uint8_t bytes[RESULT_BYTES];
  const int32_t read = read_result(dax, bytes);
  if (read < 0) return read;
  *refusal = (bb_oradax_refusal){big_endian(bytes, 8), (uint32_t)big_endian(bytes + 8, 4)};
  return (int32_t)taken;
}

static int32_t command(bb_oradax *dax, unsigned code, uint32_t index) {
  const uint32_t offset = index * BB_ORADAX_AREA_BYTES;
  const uint8_t bytes[COMMAND_BYTES] = {0, (uint8_t)code, (uint8_t)(offset >> 8), (uint8_t)offset};
  const int64_t count = dax->file.write(dax->file.context, bytes, sizeof bytes, 0);
  if (count < 0) return (int32_t)count;
  return count == COMMAND_BYTES ? 0 : -EIO;
}

/* A command, and its result. */
static int32_t ask(bb_oradax *dax, unsigned code, uint32_t index, uint8_t answer[RESULT_BYTES]) {
  int32_t result = check_call(dax, index);
  if (result == 0) result = command(dax, code, index);
  return result == 0 ? read_result(dax, answer) : result;
}

int32_t bb_oradax_info(bb_oradax *dax, uint32_t index, uint16_t out[4]) {
  if (out == NULL) return -EINVAL;
  uint8_t bytes[RESULT_BYTES];
  const int32_t result = ask(dax, COMMAND_INFO, index, bytes);
  for (unsigned i = 0; result == 0 && i < 4; i++) out[i] = (uint16_t)big_endian(bytes + 2 * i, 2);
  return result;
}

int32_t bb_oradax_kill(bb_oradax *dax, uint32_t index) {
  uint8_t bytes[RESULT_BYTES];
  const int32_t result = ask(dax, COMMAND_KILL, index, bytes);
  return result == 0 ? (int32_t)big_endian(bytes, 2) : result;
}

int32_t bb_oradax_dequeue(bb_oradax *dax) {
  const int32_t result = check_call(dax, 0);
  return result == 0 ? command(dax, COMMAND_DEQUEUE, 0) : result;
}

/* The device writes the status byte last, so what is read after it must not be read before it: an acquire load. */
static uint8_t status_of(const uint8_t *area) { return __atomic_load_n(area, __ATOMIC_ACQUIRE); }

#if defined(__sparc__)
/* Loads the status byte so that a store to its line ends the wait, then waits for at most ns nanoseconds. */
static void monitored_wait(const uint8_t *area, uint64_t ns) {
  uint64_t status;
  __asm__ volatile("lduba [%1] 0x84, %0" : "=r"(status) : "r"(area) : "memory");
  if (status == 0) __asm__ volatile("wr %%g0, %0, %%asr28" : : "r"(ns) : "memory");
}
#endif

/* Waiting costs little at first and less later: other threads may be what is waited for. */
static void back_off(const bb_oradax *dax, const uint8_t *area, uint64_t waited_us) {
#if defined(__sparc__)
  if (dax->is_hardware) {
    monitored_wait(area, 10000);
    return;
  }
#endif
  (void)dax, (void)area;
  if (waited_us < SPIN_US) {
    relax();
    return;
  }
  const struct timespec rest = {0, waited_us < 1000 ? 10000 : 100000};
  nanosleep(&rest, NULL);
}

int32_t bb_oradax_wait(bb_oradax *dax, uint32_t index, uint32_t limit_us) {
  const int32_t result = check_call(dax, index);
  if (result < 0) return result;
  if (limit_us > MAX_WAIT_US) return -EINVAL;
  const uint8_t *area = dax->areas + (size_t)index * BB_ORADAX_AREA_BYTES;
  const uint64_t began = now_us();
  for (;;) {
    const uint64_t waited = now_us() - began;
    const uint8_t status = status_of(area);
    if (status != 0 || waited >= limit_us) return status;
    back_off(dax, area, waited);
  }
}

int32_t bb_oradax_completion(bb_oradax *dax, uint32_t index, void *to) {
  const int32_t result = check_call(dax, index);
  if (result < 0) return result;
  if (to == NULL) return -EINVAL;
  memcpy(to, dax->areas + (size_t)index * BB_ORADAX_AREA_BYTES, BB_ORADAX_AREA_BYTES);
  return 0;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/* The numbers of width bytes in eight bytes, each turned around. */
static inline uint64_t turned(uint64_t numbers, uint32_t width) {
  const uint64_t low_bytes = UINT64_C(0x00ff00ff00ff00ff);
  switch (width) {
    case 2: return (numbers & low_bytes) << 8 | (numbers >> 8 & low_bytes);
    case 4: return __builtin_bswap64(numbers << 32 | numbers >> 32);
    default: return __builtin_bswap64(numbers);
  }
}

/* width is a constant in each copy. */
static inline __attribute__((always_inline)) void copy_turned(uint8_t *to, const uint8_t *from, uint64_t size, uint32_t width) {
  uint64_t at = 0, numbers;
  for (; at + 8 <= size; at += 8) {
    memcpy(&numbers, from + at, 8);
    numbers = turned(numbers, width);
    memcpy(to + at, &numbers, 8);
  }
  if (at == size) return;
  numbers = 0;
  memcpy(&numbers, from + at, size - at);
  numbers = turned(numbers, width);
  memcpy(to + at, &numbers, size - at);
}
#endif

int32_t bb_oradax_copy_numbers(void *to, const void *from, uint64_t size, uint32_t width) {
  if (to == NULL || from == NULL || (width != 1 && width != 2 && width != 4 && width != 8) || size % width != 0) return -EINVAL;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  switch (width) {
    case 2: copy_turned(to, from, size, 2); return 0;
    case 4: copy_turned(to, from, size, 4); return 0;
    case 8: copy_turned(to, from, size, 8); return 0;
    default: break;
  }
#endif
  memmove(to, from, size);
  return 0;
}

static inline uint64_t combined(uint64_t a, uint64_t b, uint32_t how) {
  return how == BB_COMBINE_AND ? a & b : how == BB_COMBINE_OR ? a | b : a ^ b;
}

/* how is a constant in each copy. */
static inline __attribute__((always_inline)) void combine(uint8_t *to, const uint8_t *a, const uint8_t *b, uint64_t size,
                                                          uint32_t how) {
  uint64_t at = 0;
  for (; at + 8 <= size; at += 8) {
    uint64_t x, y;
    memcpy(&x, a + at, 8);
    memcpy(&y, b + at, 8);
    x = combined(x, y, how);
    memcpy(to + at, &x, 8);
  }
  for (; at < size; at++) to[at] = (uint8_t)combined(a[at], b[at], how);
}

int32_t bb_oradax_combine(void *to, const void *a, const void *b, uint64_t size, uint32_t how) {
  if (to == NULL || a == NULL || b == NULL) return -EINVAL;
  switch (how) {
    case BB_COMBINE_AND: combine(to, a, b, size, BB_COMBINE_AND); return 0;
    case BB_COMBINE_OR: combine(to, a, b, size, BB_COMBINE_OR); return 0;
    case BB_COMBINE_XOR: combine(to, a, b, size, BB_COMBINE_XOR); return 0;
    default: return -EINVAL;
  }
}
