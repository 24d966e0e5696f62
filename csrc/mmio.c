/* Register access. See busbar.h for the rules. */
#define _GNU_SOURCE
#include "busbar.h"
#include "internal.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>

uint32_t bb_abi_version(void) { return BB_ABI_VERSION; }

/*
 * Each access is one instruction in an asm statement, followed by a label. Its address and the label's go into the
 * section bb_faults. When the instruction raises SIGBUS, the handler finds it there, puts 1 into the register that
 * carries `fault` and goes on at the label. An access that does not fault costs nothing for it.
 */
struct fault_site {
  uintptr_t access;
  uintptr_t resume;
};

#if defined(__sparc__)
static const struct fault_site __start_bb_faults[1], *const __stop_bb_faults = __start_bb_faults;
#else
extern const struct fault_site __start_bb_faults[], __stop_bb_faults[];
#endif

#define FAULT_SITE                      \
  ".pushsection bb_faults,\"aw\"\n\t"   \
  ".balign 8\n\t"                       \
  ".8byte 1b, 2b\n\t"                   \
  ".popsection\n\t"

#if defined(__x86_64__)

#define FAULT_REGISTER "edx"
#define INSTRUCTION_POINTER(context) ((context)->uc_mcontext.gregs[REG_RIP])
#define SET_FAULT(context) ((context)->uc_mcontext.gregs[REG_RDX] = 1)
#define LOAD(type, suffix, mnemonic, modifier)                                                       \
  static inline int load_##suffix(const void *address, uint64_t *value) {                            \
    type result = (type)~(type)0;                                                                    \
    register uint32_t fault __asm__(FAULT_REGISTER) = 0;                                             \
    __asm__ volatile("1:\t" mnemonic " (%2), %" modifier "0\n2:\n\t" FAULT_SITE                      \
                     : "+r"(result), "+r"(fault)                                                     \
                     : "r"(address)                                                                  \
                     : "memory");                                                                    \
    *value = result;                                                                                 \
    return (int)fault;                                                                               \
  }
#define STORE(type, suffix, mnemonic, modifier)                                                      \
  static inline int store_##suffix(void *address, uint64_t value) {                                  \
    register uint32_t fault __asm__(FAULT_REGISTER) = 0;                                             \
    __asm__ volatile("1:\t" mnemonic " %" modifier "2, (%1)\n2:\n\t" FAULT_SITE                      \
                     : "+r"(fault)                                                                   \
                     : "r"(address), "r"((type)value)                                                \
                     : "memory");                                                                    \
    return (int)fault;                                                                               \
  }
LOAD(uint8_t, 8, "movb", "b")
LOAD(uint16_t, 16, "movw", "w")
LOAD(uint32_t, 32, "movl", "k")
LOAD(uint64_t, 64, "movq", "q")
STORE(uint8_t, 8, "movb", "b")
STORE(uint16_t, 16, "movw", "w")
STORE(uint32_t, 32, "movl", "k")
STORE(uint64_t, 64, "movq", "q")

/* Loads from uncached memory are not reordered with each other, but a load from ordinary memory (a completion queue)
 * may have been done early: lfence waits for all earlier loads. */
void bb_read_barrier(void) { __asm__ volatile("lfence" ::: "memory"); }
/* Stores are seen in order, but for write-combining and non-temporal ones: sfence drains those. */
void bb_write_barrier(void) { __asm__ volatile("sfence" ::: "memory"); }
/* A store may still sit in the store buffer when a later load is done: mfence waits for it. */
void bb_full_barrier(void) { __asm__ volatile("mfence" ::: "memory"); }

#elif defined(__aarch64__)

#define FAULT_REGISTER "w9"
#define INSTRUCTION_POINTER(context) ((context)->uc_mcontext.pc)
#define SET_FAULT(context) ((context)->uc_mcontext.regs[9] = 1)
#define LOAD(type, suffix, mnemonic, modifier)                                                       \
  static inline int load_##suffix(const void *address, uint64_t *value) {                            \
    type result = (type)~(type)0;                                                                    \
    register uint32_t fault __asm__(FAULT_REGISTER) = 0;                                             \
    __asm__ volatile("1:\t" mnemonic " %" modifier "0, [%2]\n2:\n\t" FAULT_SITE                      \
                     : "+r"(result), "+r"(fault)                                                     \
                     : "r"(address)                                                                  \
                     : "memory");                                                                    \
    *value = result;                                                                                 \
    return (int)fault;                                                                               \
  }
#define STORE(type, suffix, mnemonic, modifier)                                                      \
  static inline int store_##suffix(void *address, uint64_t value) {                                  \
    register uint32_t fault __asm__(FAULT_REGISTER) = 0;                                             \
    __asm__ volatile("1:\t" mnemonic " %" modifier "2, [%1]\n2:\n\t" FAULT_SITE                      \
                     : "+r"(fault)                                                                   \
                     : "r"(address), "r"((type)value)                                                \
                     : "memory");                                                                    \
    return (int)fault;                                                                               \
  }
LOAD(uint8_t, 8, "ldrb", "w")
LOAD(uint16_t, 16, "ldrh", "w")
LOAD(uint32_t, 32, "ldr", "w")
LOAD(uint64_t, 64, "ldr", "x")
STORE(uint8_t, 8, "strb", "w")
STORE(uint16_t, 16, "strh", "w")
STORE(uint32_t, 32, "str", "w")
STORE(uint64_t, 64, "str", "x")

/* The outer shareable domain is the one that devices see. dmb orders; nothing here has to wait for completion. */
void bb_read_barrier(void) { __asm__ volatile("dmb oshld" ::: "memory"); }
void bb_write_barrier(void) { __asm__ volatile("dmb oshst" ::: "memory"); }
void bb_full_barrier(void) { __asm__ volatile("dmb osh" ::: "memory"); }

#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

#define FAULT_REGISTER "r9"
#define INSTRUCTION_POINTER(context) ((context)->uc_mcontext.gp_regs[32])
#define SET_FAULT(context) ((context)->uc_mcontext.gp_regs[9] = 1)
/* Register 0 as an address means the number 0: "b" is any other. */
#define ADDRESS_REGISTER "b"
#define LOAD_OPERANDS " %0, 0(%2)"
#define STORE_OPERANDS " %2, 0(%1)"
#define ACCESS_SITE FAULT_SITE
#define LOADS(F) F(uint8_t, 8, "lbz") F(uint16_t, 16, "lhz") F(uint32_t, 32, "lwz") F(uint64_t, 64, "ld")
#define STORES(F) F(uint8_t, 8, "stb") F(uint16_t, 16, "sth") F(uint32_t, 32, "stw") F(uint64_t, 64, "std")

/* Power ISA 3.0 book II 1.7: accesses to memory that is not cached are ordered with each other by eieio, all by sync. */
void bb_read_barrier(void) { __asm__ volatile("sync" ::: "memory"); }
void bb_write_barrier(void) { __asm__ volatile("sync" ::: "memory"); }
void bb_full_barrier(void) { __asm__ volatile("sync" ::: "memory"); }

#elif defined(__riscv) && __riscv_xlen == 64

#define FAULT_REGISTER "t0"
#define INSTRUCTION_POINTER(context) ((context)->uc_mcontext.__gregs[0])
#define SET_FAULT(context) ((context)->uc_mcontext.__gregs[5] = 1)
#define ADDRESS_REGISTER "r"
#define LOAD_OPERANDS " %0, 0(%2)"
#define STORE_OPERANDS " %2, 0(%1)"
#define ACCESS_SITE FAULT_SITE
#define LOADS(F) F(uint8_t, 8, "lbu") F(uint16_t, 16, "lhu") F(uint32_t, 32, "lwu") F(uint64_t, 64, "ld")
#define STORES(F) F(uint8_t, 8, "sb") F(uint16_t, 16, "sh") F(uint32_t, 32, "sw") F(uint64_t, 64, "sd")

/* RISC-V ISA 2.7: i and o are accesses to devices, r and w to memory. */
void bb_read_barrier(void) { __asm__ volatile("fence ir, iorw" ::: "memory"); }
void bb_write_barrier(void) { __asm__ volatile("fence ow, ow" ::: "memory"); }
void bb_full_barrier(void) { __asm__ volatile("fence iorw, iorw" ::: "memory"); }

#elif defined(__sparc__) && defined(__arch64__)

/* Registers of PCI devices are little-endian, this processor is not: the accesses go through ASI_PRIMARY_LITTLE (0x88).
 * A device that vanishes ends the process here: what the handler is given differs between kernels. */
#define FAULT_REGISTER "g4"
#define INSTRUCTION_POINTER(context) ((context)->uc_mcontext.mc_gregs[1])
#define SET_FAULT(context) (void)0
#define ADDRESS_REGISTER "r"
#define LOAD_OPERANDS " [%2] 0x88, %0"
#define STORE_OPERANDS " %2, [%1] 0x88"
#define ACCESS_SITE ""
#define LOADS(F) F(uint8_t, 8, "lduba") F(uint16_t, 16, "lduha") F(uint32_t, 32, "lduwa") F(uint64_t, 64, "ldxa")
#define STORES(F) F(uint8_t, 8, "stba") F(uint16_t, 16, "stha") F(uint32_t, 32, "stwa") F(uint64_t, 64, "stxa")

void bb_read_barrier(void) { __asm__ volatile("membar #LoadLoad | #LoadStore" ::: "memory"); }
void bb_write_barrier(void) { __asm__ volatile("membar #StoreStore" ::: "memory"); }
void bb_full_barrier(void) { __asm__ volatile("membar #Sync" ::: "memory"); }

#else
#error "libbusbar knows x86-64, aarch64, ppc64le, riscv64 and sparc64"
#endif

#ifdef LOADS
/* Processors whose registers have one name in all widths. */
#define LOAD(type, suffix, mnemonic)                                                \
  static inline int load_##suffix(const void *address, uint64_t *value) {           \
    uint64_t result = (type)~(type)0;                                               \
    register uint64_t fault __asm__(FAULT_REGISTER) = 0;                            \
    __asm__ volatile("1:\t" mnemonic LOAD_OPERANDS "\n2:\n\t" ACCESS_SITE           \
                     : "+r"(result), "+r"(fault)                                    \
                     : ADDRESS_REGISTER(address)                                    \
                     : "memory");                                                   \
    *value = (type)result;                                                          \
    return (int)fault;                                                              \
  }
#define STORE(type, suffix, mnemonic)                                               \
  static inline int store_##suffix(void *address, uint64_t value) {                 \
    register uint64_t fault __asm__(FAULT_REGISTER) = 0;                            \
    __asm__ volatile("1:\t" mnemonic STORE_OPERANDS "\n2:\n\t" ACCESS_SITE          \
                     : "+r"(fault)                                                  \
                     : ADDRESS_REGISTER(address), "r"((uint64_t)(type)value)        \
                     : "memory");                                                   \
    return (int)fault;                                                              \
  }
LOADS(LOAD)
STORES(STORE)
#endif

/* A number as the device has it in memory, lowest byte first. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define IN_DEVICE_ORDER(value) (value)
#else
#define IN_DEVICE_ORDER(value)                                            \
  (__typeof__(value))(sizeof(value) == 1   ? (value)                      \
                      : sizeof(value) == 2 ? __builtin_bswap16((uint16_t)(value)) \
                      : sizeof(value) == 4 ? __builtin_bswap32((uint32_t)(value)) \
                                           : __builtin_bswap64((uint64_t)(value)))
#endif

static struct sigaction previous_action;
static atomic_flag guard_installed = ATOMIC_FLAG_INIT;
static _Thread_local int32_t fault_pending;

static void on_bus_error(int number, siginfo_t *info, void *opaque) {
  ucontext_t *context = opaque;
  const uintptr_t at = (uintptr_t)INSTRUCTION_POINTER(context);
  for (const struct fault_site *site = __start_bb_faults; site < __stop_bb_faults; site++) {
    if (site->access != at) continue;
    SET_FAULT(context);
    INSTRUCTION_POINTER(context) = (__typeof__(INSTRUCTION_POINTER(context)))site->resume;
    return;
  }
  if (previous_action.sa_flags & SA_SIGINFO) {
    previous_action.sa_sigaction(number, info, opaque);
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(number);
  } else {
    /* Not ours and nobody else's: the fault comes again on return and ends the process as if we were not here. */
    sigaction(number, &previous_action, NULL);
  }
}

int32_t bb_guard_install(void) {
  if (atomic_flag_test_and_set(&guard_installed)) return 0;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  if (sigaction(SIGBUS, &action, &previous_action) == 0) return 0;
  const int error = errno;
  atomic_flag_clear(&guard_installed);
  return -error;
}

int32_t bb_take_fault(void) {
  const int32_t fault = fault_pending;
  fault_pending = 0;
  return fault;
}

static inline const void *at(const void *base, uint64_t offset) { return (const char *)base + offset; }
static inline void *at_mutable(void *base, uint64_t offset) { return (char *)base + offset; }

#define READ(type, suffix)                                       \
  type bb_read##suffix(const void *base, uint32_t offset) {      \
    uint64_t value;                                              \
    if (load_##suffix(at(base, offset), &value)) fault_pending = 1; \
    return (type)value;                                          \
  }
READ(uint32_t, 8)
READ(uint32_t, 16)
READ(uint32_t, 32)
READ(uint64_t, 64)

#define WRITE(type, suffix)                                                  \
  int32_t bb_write##suffix(void *base, uint32_t offset, type value) {        \
    return store_##suffix(at_mutable(base, offset), value) ? -EFAULT : 0;    \
  }
WRITE(uint32_t, 8)
WRITE(uint32_t, 16)
WRITE(uint32_t, 32)
WRITE(uint64_t, 64)

static inline int load(const void *address, uint32_t width, uint64_t *value) {
  switch (width) {
    case 1: return load_8(address, value);
    case 2: return load_16(address, value);
    case 4: return load_32(address, value);
    default: return load_64(address, value);
  }
}

static int bad_range(const void *base, uint32_t offset, uint32_t size, uint32_t width) {
  const int known_width = width == 1 || width == 2 || width == 4 || width == 8;
  return base == NULL || !known_width || offset % width != 0 || size % width != 0;
}

#define COPY_LOOPS(step)          \
  switch (width) {                \
    case 1: step(uint8_t, 8)      \
    case 2: step(uint16_t, 16)    \
    case 4: step(uint32_t, 32)    \
    default: step(uint64_t, 64)   \
  }

int32_t bb_read_block(const void *base, uint32_t offset, void *to, uint32_t size, uint32_t width) {
  if (bad_range(base, offset, size, width) || (to == NULL && size > 0)) return -EINVAL;
#define STEP(type, suffix)                                                       \
  for (uint64_t done = 0; done < size; done += sizeof(type)) {                   \
    uint64_t value;                                                              \
    if (load_##suffix(at(base, (uint64_t)offset + done), &value)) return -EFAULT;          \
    const type narrow = IN_DEVICE_ORDER((type)value);                                             \
    memcpy((char *)to + done, &narrow, sizeof narrow);                           \
  }                                                                              \
  return 0;
  COPY_LOOPS(STEP)
#undef STEP
}

int32_t bb_write_block(void *base, uint32_t offset, const void *from, uint32_t size, uint32_t width) {
  if (bad_range(base, offset, size, width) || (from == NULL && size > 0)) return -EINVAL;
#define STEP(type, suffix)                                                       \
  for (uint64_t done = 0; done < size; done += sizeof(type)) {                   \
    type value;                                                                  \
    memcpy(&value, (const char *)from + done, sizeof value);                     \
    if (store_##suffix(at_mutable(base, (uint64_t)offset + done), IN_DEVICE_ORDER(value))) return -EFAULT;  \
  }                                                                              \
  return 0;
  COPY_LOOPS(STEP)
#undef STEP
}

int32_t bb_poll(const void *base, uint32_t offset, uint32_t width, uint64_t mask, uint64_t wanted, uint32_t limit_us,
                uint64_t *last) {
  if (bad_range(base, offset, 0, width) || last == NULL || limit_us > 50000) return -EINVAL;
  const uint64_t end = now_us() + limit_us;
  for (;;) {
    /* The clock is read before the register, so the look after the limit really comes after it. */
    const int late = now_us() >= end;
    if (load(at(base, offset), width, last)) return -EFAULT;
    if ((*last & mask) == wanted) return 0;
    if (late) return -ETIMEDOUT;
    relax();
  }
}
