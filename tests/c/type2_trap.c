/*
 * Preloaded into a program: a PCI function 8086:0d92 whose registers and DATA trap, as behind a hypervisor, without one. The device
 * is in this process; TYPE2_TRAP_FOLDER holds what sysfs would, TYPE2_TRAP_DRIVER is its driver library. x86-64, one thread.
 *
 * A page that traps is not accessible. Who reads it gets the device's bytes put there, who writes has the bytes taken to the device,
 * and each time one instruction is let through. At the end a line on standard error says how many commands were copies and launches.
 */
#if defined(__x86_64__)
#define _GNU_SOURCE
#include "api/type2_protocol.h"
#include "soft/type2/type2.h"
#include "trap/mov_width.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

static const char PLACE[] = "/sys/bus/pci/devices/0000:00:01.0/";
enum { TRAP_FLAG = 0x100, ERROR_WRITE = 2, MOST_PATH = 512 };

static struct type2 *device;
static uint8_t *region;
static uint64_t region_bytes, bar4_bytes;
static void *bar4;
static char folder[MOST_PATH];
/* The write that is let through. */
static uint64_t written_at;
static uint32_t written_bytes;

static void fail(const char *words) {
  fprintf(stderr, "type2_trap: %s\n", words);
  _exit(99);
}

static void on_segv(int number, siginfo_t *info, void *opaque) {
  ucontext_t *context = opaque;
  greg_t *registers = context->uc_mcontext.gregs;
  const uint8_t *address = info->si_addr;
  if (region == NULL || address < region || address >= region + region_bytes) {
    signal(number, SIG_DFL);
    return;
  }
  const uint64_t offset = (uint64_t)(address - region);
  mprotect(region, region_bytes, PROT_READ | PROT_WRITE);
  written_bytes = 0;
  if ((registers[REG_ERR] & ERROR_WRITE) != 0) {
    written_at = offset;
    written_bytes = mov_width((const uint8_t *)registers[REG_RIP]);
    if (written_bytes == 0) fail("a write by an instruction that hypervisors do not emulate");
  } else {
    for (uint64_t at = offset & ~UINT64_C(7); at < (offset & ~UINT64_C(7)) + 16 && at < region_bytes; at += 8) {
      const uint64_t value = bb_type2_read(device, at, 8);
      memcpy(region + at, &value, sizeof value);
    }
  }
  registers[REG_EFL] |= TRAP_FLAG;
}

static void on_trap(int number, siginfo_t *info, void *opaque) {
  (void)number, (void)info;
  ucontext_t *context = opaque;
  context->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
  uint64_t value = 0;
  memcpy(&value, region + written_at, written_bytes);
  mprotect(region, region_bytes, PROT_NONE);
  if (written_bytes > 0) bb_type2_write(device, written_at, written_bytes, value);
}

/* ---- what the program opens and maps --------------------------------------------------------------------------------- */

int open(const char *path, int flags, ...) {
  static int (*next)(const char *, int, ...);
  if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, "open");
  va_list more;
  va_start(more, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
  va_end(more);
  char own[2 * MOST_PATH];
  if (strncmp(path, PLACE, sizeof PLACE - 1) == 0) {
    snprintf(own, sizeof own, "%s/%s", folder, path + sizeof PLACE - 1);
    path = own;
  }
  return next(path, flags, mode);
}

/* Whether a descriptor is of a file of the folder. */
static int is_file(int fd, const char *name) {
  char path[2 * MOST_PATH];
  struct stat one, other;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return fd >= 0 && fstat(fd, &one) == 0 && stat(path, &other) == 0 && one.st_ino == other.st_ino && one.st_dev == other.st_dev;
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
  static void *(*next)(void *, size_t, int, int, int, off_t);
  if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, "mmap");
  if (device != NULL && is_file(fd, "resource4")) return bar4;
  if (device == NULL || !is_file(fd, "resource2")) return next(at, size, protection, flags, fd, offset);
  region = next(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  region_bytes = size;
  return region;
}

/* ---- the device ------------------------------------------------------------------------------------------------------ */

static void write_file(const char *name, const char *text, off_t size) {
  char path[2 * MOST_PATH];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "we");
  if (file == NULL || fputs(text, file) < 0 || fflush(file) != 0) fail("cannot write the folder");
  if (size > 0 && ftruncate(fileno(file), size) != 0) fail("cannot size a BAR");
  fclose(file);
}

__attribute__((constructor)) static void start(void) {
  const char *driver = getenv("TYPE2_TRAP_DRIVER"), *where = getenv("TYPE2_TRAP_FOLDER");
  if (driver == NULL || where == NULL) fail("TYPE2_TRAP_DRIVER and TYPE2_TRAP_FOLDER are not set");
  snprintf(folder, sizeof folder, "%s", where);
  char settings[2048], why[512];
  snprintf(settings, sizeof settings, "driver=%s\ndriver_settings=memory=64MiB&log=none\nmemory=67108864\nbar4=16777216\n", driver);
  struct type2 *opened;
  if (bb_type2_open(settings, NULL, 0, why, sizeof why, &opened) != 0) fail(why);
  bb_type2_bar4(opened, &bar4, &bar4_bytes);
  write_file("vendor", "0x8086\n", 0);
  write_file("device", "0x0d92\n", 0);
  write_file("enable", "0\n", 0);
  write_file("resource2", "", 0x200000);
  write_file("resource4", "", (off_t)bar4_bytes);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = on_segv;
  sigaction(SIGSEGV, &action, NULL);
  action.sa_sigaction = on_trap;
  sigaction(SIGTRAP, &action, NULL);
  device = opened;
}

__attribute__((destructor)) static void end(void) {
  static const uint32_t COPIES[] = {CMD_MEM_COPY_HTOD, CMD_MEM_COPY_DTOH, CMD_MEM_COPY_DTOD,
                                    CMD_BULK_HTOD, CMD_BULK_DTOH, CMD_BULK_DTOD};
  uint64_t copies = 0;
  for (size_t i = 0; i < sizeof COPIES / sizeof *COPIES; i++) copies += bb_type2_count(device, COPIES[i]);
  fprintf(stderr, "%llu copies, %llu launches\n", (unsigned long long)copies,
          (unsigned long long)bb_type2_count(device, CMD_LAUNCH_KERNEL));
}
#else
typedef int type2_trap_needs_x86_64;
#endif
