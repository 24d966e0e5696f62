/* The command window: finding the device, its locks, and one command at a time. */
#define _GNU_SOURCE
#include "shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SPIN_US = 50, SILENT_US = 1000000, DEADLINE_US = 60000000 };

struct window window = {.fd = -1};
/* flock belongs to the open file, which threads share. */
static pthread_mutex_t exchange = PTHREAD_MUTEX_INITIALIZER;
static uint64_t mapped_bytes;
/* The register by which a doorbell is rung, where the function has one. */
static uint8_t *bell;
enum { BELL_BAR_BYTES = 256, BELL_OFFSET = 12 };
static int is_debug = -1;
static bool is_gone;

static uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint32_t *word(uint32_t offset) { return (uint32_t *)(void *)(window.base + offset); }
uint32_t window_read32(uint32_t offset) { return __atomic_load_n(word(offset), __ATOMIC_RELAXED); }
uint64_t window_read64(uint32_t offset) {
  return __atomic_load_n((uint64_t *)(void *)(window.base + offset), __ATOMIC_RELAXED);
}
static void write32(uint32_t offset, uint32_t value) { __atomic_store_n(word(offset), value, __ATOMIC_RELAXED); }
static void write64(uint32_t offset, uint64_t value) {
  __atomic_store_n((uint64_t *)(void *)(window.base + offset), value, __ATOMIC_RELAXED);
}

/* ---- finding --------------------------------------------------------------------------------------------------------- */

static CUresult refuse(const char *path, const char *why) {
  fprintf(stderr, "busbar cuda: %s: %s\n", path, why);
  window_close();
  return CUDA_NO_DEVICE;
}

static CUresult refuse_errno(const char *path, int error) {
  const bool lacks_right = error == EACCES || error == EPERM;
  return refuse(path, lacks_right ? "permission denied: be root, or let a udev rule give the function away" : strerror(error));
}

/* BAR4 where the device says that it is, at the very address that the device knows it by if that is free here: then a
 * pointer means the same to kernels and to the program. */
static bool map_bar4(int fd, uint64_t offset, uint64_t size) {
  void *wanted = (void *)(uintptr_t)window.bar4_pointer;
  const int flags = MAP_SHARED | MAP_FIXED_NOREPLACE;
  void *place = wanted == NULL ? MAP_FAILED : mmap(wanted, size, PROT_READ | PROT_WRITE, flags, fd, (off_t)offset);
  if (place != MAP_FAILED && place != wanted) {
    munmap(place, size);
    place = MAP_FAILED;
  }
  if (place == MAP_FAILED) place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
  window.bar4 = place == MAP_FAILED ? NULL : place;
  window.bar4_bytes = place == MAP_FAILED ? 0 : size;
  return window.bar4 != NULL;
}

/* Opens and maps registers and DATA: a shared file, BAR2 of an ivshmem function, or BAR2 of the device itself, which traps. */
static CUresult map_window(const char *path, bool traps) {
  struct stat info;
  window.fd = open(path, O_RDWR | O_CLOEXEC);
  if (window.fd < 0) return refuse_errno(path, errno);
  const uint64_t least = traps ? TYPE2_DATA_OFFSET + TYPE2_V1_DATA_BYTES : TYPE2_FILE_LEAST_BYTES;
  if (fstat(window.fd, &info) != 0 || (uint64_t)info.st_size < least) return refuse(path, "too short for a Type 2 GPU");
  window.size = (uint64_t)info.st_size;
  mapped_bytes = traps ? window.size : TYPE2_FILE_BAR4_OFFSET;
  if (traps && mapped_bytes > TYPE2_DATA_OFFSET + TYPE2_V2_DATA_BYTES) {
    mapped_bytes = TYPE2_DATA_OFFSET + TYPE2_V2_DATA_BYTES;
  }
  void *place = mmap(NULL, mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, window.fd, 0);
  if (place == MAP_FAILED) return refuse_errno(path, errno);
  window.base = place;
  const bool is_ours = window_read32(REG_MAGIC) == TYPE2_MAGIC && window_read32(REG_EXT_MAGIC) == TYPE2_EXT_MAGIC;
  window.is_shared = is_ours && (window_read32(REG_EXT_FLAGS) & EXT_SHARED_MEMORY) != 0;
  if (!is_ours || window.is_shared == traps) return refuse(path, "no Type 2 GPU of busbar is there");
  window.caps = window_read32(REG_CAPS);
  window.epoch = window_read32(REG_EPOCH);
  window.bar4_pointer = window_read64(REG_BAR4_POINTER);
  window.data_bytes = window.caps == 0 ? TYPE2_V1_DATA_BYTES : TYPE2_V2_DATA_BYTES;
  if (TYPE2_DATA_OFFSET + window.data_bytes > mapped_bytes) return refuse(path, "BAR2 is shorter than its DATA");
  return CUDA_SUCCESS;
}

/* What lies in BAR4, once that is mapped. */
static void find_bulk(void) {
  is_gone = false;
  if ((window.caps & CAPS_BULK) == 0) return;
  const uint64_t pool = window_read64(REG_COH_POOL_BASE);
  window.bulk_bytes = pool > 0 && pool <= window.bar4_bytes ? pool : window.bar4_bytes;
  if (window.bulk_bytes > TYPE2_BULK_MOST_BYTES) window.bulk_bytes = TYPE2_BULK_MOST_BYTES;
}

static CUresult map_file(const char *path) {
  TRY(map_window(path, false));
  if (!map_bar4(window.fd, TYPE2_FILE_BAR4_OFFSET, window.size - TYPE2_FILE_BAR4_OFFSET)) {
    return refuse_errno(path, errno);
  }
  find_bulk();
  return CUDA_SUCCESS;
}

/* The device itself: registers trap, BAR4 is a file of its own. */
static CUresult map_device(const char *name) {
  char path[512];
  struct stat info;
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/resource2", name);
  TRY(map_window(path, true));
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/resource4", name);
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &info) != 0 || !map_bar4(fd, 0, (uint64_t)info.st_size)) {
    const int error = errno;
    if (fd >= 0) close(fd);
    return refuse_errno(path, error);
  }
  close(fd);
  find_bulk();
  return CUDA_SUCCESS;
}

static bool has_id(const char *folder, const char *name, const char *file, const char *wanted) {
  char path[512], text[16] = "";
  snprintf(path, sizeof path, "%s/%s/%s", folder, name, file);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  return size > 0 && strncmp(text, wanted, strlen(wanted)) == 0;
}

static bool is_function(const char *name, const char *vendor, const char *device) {
  static const char FOLDER[] = "/sys/bus/pci/devices";
  return has_id(FOLDER, name, "vendor", vendor) && has_id(FOLDER, name, "device", device);
}
static bool is_ivshmem(const char *name) { return is_function(name, "0x1af4", "0x1110"); }
static bool is_device(const char *name) { return is_function(name, "0x8086", "0x0d92"); }

static void enable(const char *name) {
  char path[512];
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/enable", name);
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "1", 1) != 1) fprintf(stderr, "busbar cuda: %s: cannot be enabled: %s\n", path, strerror(errno));
  close(fd);
}

/* The device itself, or an ivshmem function whose memory is one. */
static CUresult map_function(const char *name) {
  char path[512];
  enable(name);
  if (is_device(name)) return map_device(name);
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/resource2", name);
  TRY(map_file(path));
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/resource0", name);
  const int registers = open(path, O_RDWR | O_CLOEXEC);
  void *place = registers < 0 ? MAP_FAILED
                              : mmap(NULL, BELL_BAR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, registers, 0);
  if (registers >= 0) close(registers);
  /* Without it the device looks by itself, only later. */
  bell = place == MAP_FAILED ? NULL : place;
  return CUDA_SUCCESS;
}

static void ring(void) {
  if (bell == NULL || (window_read32(REG_EXT_FLAGS) & EXT_DOORBELL) == 0) return;
  __atomic_store_n((uint32_t *)(void *)(bell + BELL_OFFSET), window_read32(REG_DOORBELL), __ATOMIC_RELEASE);
}

CUresult window_open(void) {
  const char *chosen = getenv("CXL_GPU");
  if (chosen != NULL && chosen[0] != '\0') return strchr(chosen, '/') != NULL ? map_file(chosen) : map_function(chosen);
  static const char FOLDER[] = "/sys/bus/pci/devices";
  DIR *folder = opendir(FOLDER);
  CUresult result = CUDA_NO_DEVICE;
  for (struct dirent *entry; folder != NULL && result != CUDA_SUCCESS && (entry = readdir(folder)) != NULL;) {
    if (is_ivshmem(entry->d_name) || is_device(entry->d_name)) result = map_function(entry->d_name);
  }
  if (folder != NULL) closedir(folder);
  if (result != CUDA_SUCCESS) {
    fprintf(stderr, "busbar cuda: there is no Type 2 GPU; CXL_GPU names a PCI address or the file of cxl_gpu serve\n");
  }
  return result;
}

void window_close(void) {
  if (window.base != NULL) munmap(window.base, mapped_bytes);
  if (window.bar4 != NULL) munmap(window.bar4, window.bar4_bytes);
  if (bell != NULL) munmap(bell, BELL_BAR_BYTES);
  bell = NULL;
  if (window.fd >= 0) close(window.fd);
  memset(&window, 0, sizeof window);
  window.fd = -1;
}

/* ---- commands -------------------------------------------------------------------------------------------------------- */

static CUresult gone(const char *why) {
  if (!is_gone) fprintf(stderr, "busbar cuda: the device is gone: %s\n", why);
  is_gone = true;
  return CUDA_DEVICE_UNAVAILABLE;
}

static CUresult wait_done(uint32_t number) {
  const uint64_t start = now_us();
  uint64_t beaten = start;
  uint32_t beat = window_read32(REG_HEARTBEAT), rest_us = 0;
  for (;;) {
    /* Acquire: results, DATA and BAR4 are as the command left them. */
    if (__atomic_load_n(word(REG_DONE), __ATOMIC_ACQUIRE) == number) {
      return window_read32(REG_EPOCH) == window.epoch ? CUDA_SUCCESS : gone("it was started anew");
    }
    const uint64_t now = now_us();
    if (now - start < SPIN_US) continue;
    if (window_read32(REG_EPOCH) != window.epoch) return gone("it was started anew");
    const uint32_t next = window_read32(REG_HEARTBEAT);
    if (next != beat) {
      beat = next;
      beaten = now;
    } else if (now - beaten > SILENT_US) {
      return gone("it has been silent for a second; start cxl_gpu serve again, or give QEMU's memory-backend-file share=on");
    }
    if (now - start > DEADLINE_US) return CUDA_UNKNOWN;
    rest_us = rest_us == 0 ? 50 : rest_us < 500 ? 2 * rest_us : 1000;
    const struct timespec rest = {0, rest_us * 1000};
    nanosleep(&rest, NULL);
  }
}

/* DATA by accesses of a width that each hypervisor can trap: a server may leave DATA unmapped. */
static void write_data(const uint8_t *from, uint64_t size) {
  uint8_t *data = window.base + TYPE2_DATA_OFFSET;
  uint64_t at = 0;
  if (window.is_shared) {
    memcpy(data, from, size);
    return;
  }
  for (uint64_t value; at + 8 <= size; at += 8) {
    memcpy(&value, from + at, 8);
    *(volatile uint64_t *)(void *)(data + at) = value;
  }
  for (; at < size; at++) ((volatile uint8_t *)data)[at] = from[at];
}

static void read_data(uint8_t *to, uint64_t size) {
  const uint8_t *data = window.base + TYPE2_DATA_OFFSET;
  uint64_t at = 0;
  if (window.is_shared) {
    memcpy(to, data, size);
    return;
  }
  for (; at + 8 <= size; at += 8) {
    const uint64_t value = *(const volatile uint64_t *)(const void *)(data + at);
    memcpy(to + at, &value, 8);
  }
  for (; at < size; at++) to[at] = ((const volatile uint8_t *)data)[at];
}

/* The write to CMD runs the command. A hypervisor may post it, and the next read waits for it. */
static CUresult run_trapped(uint32_t code) {
  write32(REG_CMD, code);
  const uint64_t start = now_us();
  for (;;) {
    const uint32_t status = window_read32(REG_CMD_STATUS);
    if (status == UINT32_MAX) return gone("its registers read all ones");
    if (status == COMMAND_COMPLETE || status == COMMAND_ERROR) break;
    if (now_us() - start > DEADLINE_US) return CUDA_UNKNOWN;
    const struct timespec rest = {0, 100000};
    nanosleep(&rest, NULL);
  }
  /* What was copied to DATA and BAR4 is read behind the status. */
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return window_read32(REG_EPOCH) == window.epoch ? CUDA_SUCCESS : gone("it was started anew");
}

static CUresult run_shared(uint32_t code) {
  const uint32_t number = window_read32(REG_SUBMIT) + 1;
  write32(REG_CMD, code);
  /* Release: the device sees all of the above once it sees the number. */
  __atomic_store_n(word(REG_SUBMIT), number, __ATOMIC_RELEASE);
  ring();
  return wait_done(number);
}

static CUresult hand_over(struct request *request) {
  /* A process that died in the middle of a command left it running. */
  if (window.is_shared) TRY(wait_done(window_read32(REG_SUBMIT)));
  for (uint32_t i = 0; i < 8; i++) write64(REG_PARAM0 + 8 * i, request->params[i]);
  if (request->data_size > 0) write_data(request->data, request->data_size);
  if (request->bulk_size > 0) memcpy(window.bar4, request->bulk, request->bulk_size);
  write32(REG_SESSION, request->session);
  TRY(window.is_shared ? run_shared(request->code) : run_trapped(request->code));
  const uint32_t result = window_read32(REG_CMD_RESULT);
  for (uint32_t i = 0; i < 4; i++) request->results[i] = window_read64(REG_RESULT0 + 8 * i);
  uint64_t size = request->read_size;
  if (request->is_counted && request->results[0] < size) size = request->results[0];
  if (result == 0 && size > 0) read_data(request->read, size);
  if (result == 0 && request->bulk_read_size > 0) memcpy(request->bulk_read, window.bar4, request->bulk_read_size);
  return result == TYPE2_INVALID_PTX ? CUDA_INVALID_PTX : (CUresult)result;
}

CUresult window_run(struct request *request) {
  if (window.base == NULL) return CUDA_NOT_INITIALIZED;
  if (is_gone) return CUDA_DEVICE_UNAVAILABLE;
  if (is_debug < 0) is_debug = getenv("CXL_CUDA_DEBUG") != NULL && strcmp(getenv("CXL_CUDA_DEBUG"), "1") == 0;
  const uint64_t start = is_debug ? now_us() : 0;
  pthread_mutex_lock(&exchange);
  while (flock(window.fd, LOCK_EX) != 0 && errno == EINTR) continue;
  const CUresult result = hand_over(request);
  flock(window.fd, LOCK_UN);
  pthread_mutex_unlock(&exchange);
  if (is_debug) {
    fprintf(stderr, "busbar cuda: session %u command %02x (%llx, %llx, %llx, %llx) gives %d in %llu us\n", request->session,
            request->code, (unsigned long long)request->params[0], (unsigned long long)request->params[1],
            (unsigned long long)request->params[2], (unsigned long long)request->params[3], (int)result,
            (unsigned long long)(now_us() - start));
  }
  return result;
}
