/* Atomics, reductions to memory and barriers in shared memory (mbarrier). */
#include "access.h"

#include <math.h>

static uint64_t combine(const struct instr *ip, enum type type, uint64_t old, uint64_t b, uint64_t c) {
  const bool wide = ptx_type_bytes[type] == 8, is_signed = ptx_type_class[type] == 's';
  switch (ip->operation) {
    case ATOM_ADD:
      if (type == T_F32) {
        float x, y;
        uint32_t r = (uint32_t)old, s = (uint32_t)b;
        memcpy(&x, &r, 4);
        memcpy(&y, &s, 4);
        x += y;
        memcpy(&r, &x, 4);
        return x != x ? 0x7fffffffu : r;
      }
      if (type == T_F64) {
        double x, y;
        memcpy(&x, &old, 8);
        memcpy(&y, &b, 8);
        x += y;
        memcpy(&old, &x, 8);
        return x != x ? UINT64_C(0x7ff8000000000000) : old;
      }
      if (type == T_F16 || type == T_BF16) return ptx_half_bits(ptx_half_value((uint32_t)old, type) + ptx_half_value((uint32_t)b, type), type, ROUND_NEAREST);
      if (type == T_F16X2 || type == T_BF16X2) {
        const enum type one = type == T_F16X2 ? T_F16 : T_BF16;
        const uint32_t low = ptx_half_bits(ptx_half_value((uint32_t)old & 0xffff, one) + ptx_half_value((uint32_t)b & 0xffff, one), one, ROUND_NEAREST);
        const uint32_t high = ptx_half_bits(ptx_half_value((uint32_t)old >> 16 & 0xffff, one) + ptx_half_value((uint32_t)b >> 16 & 0xffff, one), one, ROUND_NEAREST);
        return low | (uint64_t)high << 16;
      }
      return old + b;
    case ATOM_INC: return (uint32_t)old >= (uint32_t)b ? 0 : old + 1;
    case ATOM_DEC: return (uint32_t)old == 0 || (uint32_t)old > (uint32_t)b ? b : old - 1;
    case ATOM_MIN:
      if (is_signed) return wide ? ((int64_t)old < (int64_t)b ? old : b) : ((int32_t)old < (int32_t)b ? old : b);
      return old < b ? old : b;
    case ATOM_MAX:
      if (is_signed) return wide ? ((int64_t)old > (int64_t)b ? old : b) : ((int32_t)old > (int32_t)b ? old : b);
      return old > b ? old : b;
    case ATOM_AND: return old & b;
    case ATOM_OR: return old | b;
    case ATOM_XOR: return old ^ b;
    case ATOM_EXCH: return b;
    default: return old == b ? c : old;
  }
}

/* A block runs on one thread at a time, so shared memory needs no locked instruction; everything else does. */
#define EXCHANGE(T)                                                                                     \
  {                                                                                                     \
    T *const at = (T *)(void *)p->host;                                                                 \
    if (p->kind == SPACE_SHARED) {                                                                      \
      const T old = *at;                                                                                \
      *at = (T)combine(ip, type, old, b, c);                                                            \
      return old;                                                                                       \
    }                                                                                                   \
    T old = __atomic_load_n(at, __ATOMIC_RELAXED);                                                      \
    while (!__atomic_compare_exchange_n(at, &old, (T)combine(ip, type, old, b, c), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {} \
    return old;                                                                                         \
  }

static uint64_t exchange(const struct instr *ip, enum type type, const struct place *p, unsigned width, uint64_t b, uint64_t c) {
  if (width == 2) EXCHANGE(lane_u16)
  if (width == 8) EXCHANGE(lane_u64)
  if (p->kind != SPACE_SHARED && ip->operation == ATOM_ADD && ptx_type_class[type] != 'f')
    return __atomic_fetch_add((lane_u32 *)(void *)p->host, (uint32_t)b, __ATOMIC_SEQ_CST);
  EXCHANGE(lane_u32)
}

/* exch and cas of 128 bits. */
static void exchange128(const struct instr *ip, const struct place *p, const uint64_t b[2], const uint64_t c[2], uint64_t old[2]) {
  const bool cas = ip->operation == ATOM_CAS;
  uint64_t wanted[2] = {cas ? c[0] : b[0], cas ? c[1] : b[1]};
#if defined(__x86_64__)
  lane_u64 *const at = (lane_u64 *)(void *)p->host;
  old[0] = cas ? b[0] : at[0];
  old[1] = cas ? b[1] : at[1];
  for (;;) {
    bool done;
    __asm__ volatile("lock cmpxchg16b %1" : "=@ccz"(done), "+m"(*(__uint128_t *)(void *)p->host), "+a"(old[0]), "+d"(old[1]) : "b"(wanted[0]), "c"(wanted[1]) : "memory");
    if (done || cas) return;
  }
#else
  static atomic_flag lock = ATOMIC_FLAG_INIT; /* of all 128-bit atomics: the only ones that touch such a word */
  while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire)) {}
  lane_u64 *const at = (lane_u64 *)(void *)p->host;
  old[0] = at[0], old[1] = at[1];
  if (!cas || (old[0] == b[0] && old[1] == b[1])) at[0] = wanted[0], at[1] = wanted[1];
  atomic_flag_clear_explicit(&lock, memory_order_release);
#endif
}

static bool atomic_place(struct warp *w, const struct instr *ip, unsigned lane, uint64_t address, unsigned width, struct place *p) {
  if (!ptx_place(w, ip, lane, address, width, true, p)) return false;
  if (p->kind == SPACE_SHARED || (p->kind == SPACE_GLOBAL && !(p->flags & PTX_REGION_IO))) {
    ptx_weak_settle(w, p, width);
    return true;
  }
  ptx_fault_at(w, ip, lane, PTX_FAULT_SPACE, address, width, true);
  return false;
}

static void order_before(struct warp *w, const struct instr *ip) {
  if (ip->order == ORDER_RELEASE || ip->order == ORDER_ACQ_REL) ptx_weak_drain(w->block, ip->scope, false);
}

static uint64_t element(const struct warp *w, uint32_t row, unsigned bytes, unsigned lane) {
  uint64_t v = 0;
  memcpy(&v, (const uint8_t *)row_of(w, row) + lane * bytes, bytes);
  return v;
}

HANDLER(ptx_atom) {
  const enum type type = (enum type)ip->type;
  const unsigned width = ip->width;
  order_before(w, ip);
  for (uint32_t m = w->mask; m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m);
    struct place p;
    if (!atomic_place(w, ip, l, ptx_address_of(w, ip, l), width, &p)) return NULL;
    if (width == 16) {
      uint64_t b[2], c[2] = {0, 0}, old[2];
      memcpy(b, (const uint8_t *)row_of(w, ip->b) + l * 16, 16);
      if (ip->c != NONE) memcpy(c, (const uint8_t *)row_of(w, ip->c) + l * 16, 16);
      exchange128(ip, &p, b, c, old);
      if (ip->d != NONE) memcpy((uint8_t *)row_of(w, ip->d) + l * 16, old, 16);
      if (ip->operation != ATOM_CAS || (old[0] == b[0] && old[1] == b[1])) w->news = true;
      else ptx_saw(w, old[0] ^ old[1] * 3);
      continue;
    }
    const uint64_t b = element(w, ip->b, width, l), c = ip->c == NONE ? 0 : element(w, ip->c, width, l), old = exchange(ip, type, &p, width, b, c);
    if (ip->d != NONE) memcpy((uint8_t *)row_of(w, ip->d) + l * width, &old, width);
    if (combine(ip, type, old, b, c) != old) w->news = true;
    ptx_saw(w, old ^ p.address * 31);
  }
  return ip + 1;
}

HANDLER(ptx_atom_vector) {
  const enum type type = (enum type)ip->type;
  const unsigned width = ip->width, n = ip->count;
  order_before(w, ip);
  for (uint32_t m = w->mask; m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m);
    const uint64_t address = ptx_address_of(w, ip, l);
    struct place p;
    if (!atomic_place(w, ip, l, address, width * n, &p)) return NULL;
    for (unsigned k = 0; k < n; k++) {
      struct place part = p;
      part.host += k * width;
      const uint64_t old = exchange(ip, type, &part, width, element(w, ip->more[k], width, l), 0);
      if (ip->more[n + k] != NONE) memcpy((uint8_t *)row_of(w, ip->more[n + k]) + l * width, &old, width);
    }
  }
  w->news = true;
  return ip + 1;
}

/* --- mbarrier: bits 0-19 expected, 20-39 pending, 40-62 bytes still to come, 63 the phase's parity --------------------------------- */

enum { COUNT_MASK = 0xfffff, TX_MASK = 0x7fffff };

static uint64_t word(uint64_t expected, uint64_t pending, uint64_t tx, uint64_t phase) {
  return (expected & COUNT_MASK) | (pending & COUNT_MASK) << 20 | (tx & TX_MASK) << 40 | phase << 63;
}

HANDLER(ptx_mbarrier) {
  const enum family family = (enum family)ip->family;
  uint32_t bits = 0;
  if (family == F_MBAR_PENDING) {
    for (uint32_t m = w->mask; m; m &= m - 1) {
      const unsigned l = (unsigned)__builtin_ctz(m);
      ((lane_u32 *)row_of(w, ip->d))[l] = (uint32_t)(element(w, ip->b, 8, l) >> 20 & COUNT_MASK);
    }
    return ip + 1;
  }
  for (uint32_t m = w->mask; m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m);
    struct place p;
    const uint64_t address = ptx_address_of(w, ip, l);
    if (!ptx_place(w, ip, l, address, 8, true, &p)) return NULL;
    if (p.kind != SPACE_SHARED) {
      ptx_fault_at(w, ip, l, PTX_FAULT_SPACE, address, 8, true);
      return NULL;
    }
    lane_u64 *const at = (lane_u64 *)(void *)p.host;
    const uint64_t old = *at;
    uint64_t expected = old & COUNT_MASK, pending = old >> 20 & COUNT_MASK, tx = old >> 40 & TX_MASK, phase = old >> 63;
    const uint64_t value = ip->b == NONE ? 1 : element(w, ip->b, family == F_MBAR_TEST ? 8 : 4, l);
    uint64_t arrivals = 0;
    switch (family) {
      case F_MBAR_INIT:
        *at = word(value, value, 0, 0);
        w->news = true;
        continue;
      case F_MBAR_INVAL:
        *at = 0;
        continue;
      case F_MBAR_TEST:
      case F_MBAR_PARITY: {
        const bool over = family == F_MBAR_TEST ? phase != value >> 63 : phase != (value & 1);
        bits |= (uint32_t)over << l;
        ptx_saw(w, old ^ address * 31);
        if (!over && ip->mode) w->fuel = 0; /* try_wait: the others have their turn */
        continue;
      }
      case F_MBAR_EXPECT: tx += value; break;
      case F_MBAR_COMPLETE: tx -= value; break;
      case F_MBAR_ARRIVE_TX:
        tx += value;
        arrivals = 1;
        break;
      case F_MBAR_CPASYNC: arrivals = ip->operation; break;
      case F_MBAR_DROP:
        expected -= value;
        arrivals = value;
        break;
      default: arrivals = value;
    }
    pending -= arrivals;
    if (ip->d != NONE) ((lane_u64 *)row_of(w, ip->d))[l] = old;
    if ((pending & COUNT_MASK) == 0 && (tx & TX_MASK) == 0) {
      pending = expected;
      phase ^= 1;
    }
    *at = word(expected, pending, tx, phase);
    w->news = true;
  }
  if (family == F_MBAR_TEST || family == F_MBAR_PARITY)
    if (ip->d != NONE) write_predicate(w, ip->d, bits);
  return ip + 1;
}
