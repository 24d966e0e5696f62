/*
 * Counts the memory accesses that are really made to a page. Every access faults, is written down with its address,
 * direction and width, and is then let through one single instruction. x86-64 only.
 */
#define _GNU_SOURCE
#include "busbar.h"
#include "mov_width.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { MAX_ACCESSES = 65536, TRAP_FLAG = 0x100, ERROR_WRITE = 2 };

struct access {
  uint32_t offset;
  uint32_t width; /* 0: an instruction that is not a plain mov */
  uint32_t is_write;
};

static uint8_t *region;
static uint64_t region_bytes;
static struct access accesses[MAX_ACCESSES];
static volatile uint32_t access_count;
static struct sigaction previous_segv, previous_trap;

uint32_t bb_abi_version(void) { return BB_ABI_VERSION; }

#if defined(__x86_64__)

static void pass_on(const struct sigaction *to, int number, siginfo_t *info, void *context) {
  if (to->sa_flags & SA_SIGINFO) to->sa_sigaction(number, info, context);
  else if (to->sa_handler != SIG_DFL && to->sa_handler != SIG_IGN) to->sa_handler(number);
  else sigaction(number, to, NULL);
}

static void on_segv(int number, siginfo_t *info, void *opaque) {
  ucontext_t *context = opaque;
  uint8_t *address = info->si_addr;
  if (region == NULL || address < region || address >= region + region_bytes) {
    pass_on(&previous_segv, number, info, opaque);
    return;
  }
  greg_t *registers = context->uc_mcontext.gregs;
  if (access_count < MAX_ACCESSES) {
    accesses[access_count++] = (struct access){
        .offset = (uint32_t)(address - region),
        .width = mov_width((const uint8_t *)registers[REG_RIP]),
        .is_write = (registers[REG_ERR] & ERROR_WRITE) != 0,
    };
  }
  mprotect(region, region_bytes, PROT_READ | PROT_WRITE);
  registers[REG_EFL] |= TRAP_FLAG;
}

static void on_trap(int number, siginfo_t *info, void *opaque) {
  ucontext_t *context = opaque;
  if (region == NULL || !(context->uc_mcontext.gregs[REG_EFL] & TRAP_FLAG)) {
    pass_on(&previous_trap, number, info, opaque);
    return;
  }
  context->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
  mprotect(region, region_bytes, PROT_NONE);
}

/* Makes a region whose accesses are counted. One at a time. */
BB_API int32_t bb_trap_open(uint64_t size, void **out) {
  if (region != NULL) return -EBUSY;
  void *base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return -errno;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  action.sa_sigaction = on_segv;
  sigaction(SIGSEGV, &action, &previous_segv);
  action.sa_sigaction = on_trap;
  sigaction(SIGTRAP, &action, &previous_trap);
  region_bytes = size;
  access_count = 0;
  region = base;
  *out = base;
  return 0;
}

BB_API int32_t bb_trap_close(void) {
  if (region == NULL) return -EINVAL;
  sigaction(SIGSEGV, &previous_segv, NULL);
  sigaction(SIGTRAP, &previous_trap, NULL);
  munmap(region, region_bytes);
  region = NULL;
  return 0;
}

#else
BB_API int32_t bb_trap_open(uint64_t size, void **out) {
  (void)size, (void)out, (void)region_bytes, (void)previous_segv, (void)previous_trap;
  return -EOPNOTSUPP;
}
BB_API int32_t bb_trap_close(void) { return region == NULL ? -EINVAL : 0; }
#endif

/* Copies what was counted since the last call, three uint32_t each: offset, width, is_write. Returns how many. */
BB_API int32_t bb_trap_take(uint32_t *out, uint32_t room) {
  const uint32_t count = access_count < room ? access_count : room;
  for (uint32_t i = 0; i < count; i++) {
    out[3 * i] = accesses[i].offset;
    out[3 * i + 1] = accesses[i].width;
    out[3 * i + 2] = accesses[i].is_write;
  }
  access_count = 0;
  return (int32_t)count;
}
