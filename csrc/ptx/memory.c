/*
 * Memory lane by lane: where an address lies, whether this access may be made, and the access itself. Strong accesses,
 * vectors, I/O memory, everything that misses the fast path of lanes_memory.inc, and all of it in weak-memory mode.
 */
#include "access.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

/* --- Where an address lies -------------------------------------------------------------------------------------------------- */

static bool find_region(struct warp *w, const struct instr *ip, uint64_t address, unsigned width, struct region_entry **out) {
  struct region_entry *const fast = &w->regions[((uintptr_t)ip / sizeof *ip) % REGION_ENTRIES], *const slow = fast + REGION_ENTRIES;
  const struct ptx_memory *const memory = &w->launch->config.memory;
  struct ptx_region found;
  if (slow->size < width || address - slow->address > slow->size - width) {
    if (!memory->find || !memory->find(memory->context, address, &found)) return false;
    if (address < found.address || found.size < width || address - found.address > found.size - width) return false;
    *slow = (struct region_entry){found.address, found.size, found.host, found.flags};
  }
  /* ordinary accesses may go to it without asking again; I/O memory never */
  if (!(slow->flags & PTX_REGION_IO)) *fast = *slow;
  *out = slow;
  return true;
}

bool ptx_place(struct warp *w, const struct instr *ip, unsigned lane, uint64_t address, unsigned width, bool write, struct place *out) {
  unsigned space = ip->space;
  uint64_t at = address;
  enum ptx_fault_kind kind = PTX_FAULT_ADDRESS;
  if (address & (width - 1)) {
    ptx_fault_at(w, ip, lane, PTX_FAULT_MISALIGNED, address, width, write);
    return false;
  }
  if (space == SPACE_GENERIC && address >= PTX_WINDOWS) {
    const uint64_t window = address & UINT64_C(0xffff000000000000);
    at = address - window;
    space = window == PTX_SHARED_WINDOW ? SPACE_SHARED : window == PTX_LOCAL_WINDOW ? SPACE_LOCAL : window == PTX_PARAM_WINDOW ? SPACE_PARAM : 255;
  }
  *out = (struct place){.address = address};
  switch (space) {
    case SPACE_SHARED:
      if (w->shared_size < width || at > w->shared_size - width) break;
      out->host = w->shared + at;
      out->kind = SPACE_SHARED;
      return true;
    case SPACE_LOCAL:
      if (w->local_stride < width || at > w->local_stride - width) break;
      out->host = w->local + (size_t)lane * w->local_stride + at;
      out->kind = SPACE_LOCAL;
      return true;
    case SPACE_PARAM:
      if (write || w->parameter_bytes < width || at > w->parameter_bytes - width) break;
      out->host = (uint8_t *)(uintptr_t)w->parameters + at;
      out->kind = SPACE_PARAM;
      return true;
    case 255: break;
    default: {
      struct region_entry *r;
      if (address >= PTX_WINDOWS || !find_region(w, ip, address, width, &r)) break;
      if (write && (r->flags & PTX_REGION_READ_ONLY)) break;
      out->host = r->host + (address - r->address);
      out->flags = r->flags;
      out->kind = SPACE_GLOBAL;
      return true;
    }
  }
  ptx_fault_at(w, ip, lane, kind, address, width, write);
  return false;
}

/* memcpy of an element. Its size is known at run time only, which compilers make a string instruction of: that costs more than
 * all the rest of an access. */
static inline void copy_element(void *to, const void *from, unsigned width) {
  switch (width) {
    case 1: memcpy(to, from, 1); break;
    case 2: memcpy(to, from, 2); break;
    case 4: memcpy(to, from, 4); break;
    case 8: memcpy(to, from, 8); break;
    case 16: memcpy(to, from, 16); break;
    default: memcpy(to, from, width);
  }
}

/* --- One access of exactly one width ------------------------------------------------------------------------------------------ */

static void read_exact(const uint8_t *host, unsigned width, void *out) {
  /* volatile: one access, never merged, split or left out. On a PCIe page each is a transaction. */
  switch (width) {
    case 1: *(uint8_t *)out = __atomic_load_n((const volatile uint8_t *)host, __ATOMIC_RELAXED); break;
    case 2: memcpy(out, &(uint16_t){__atomic_load_n((const volatile lane_u16 *)(const volatile void *)host, __ATOMIC_RELAXED)}, 2); break;
    case 4: memcpy(out, &(uint32_t){__atomic_load_n((const volatile lane_u32 *)(const volatile void *)host, __ATOMIC_RELAXED)}, 4); break;
    case 8: memcpy(out, &(uint64_t){__atomic_load_n((const volatile lane_u64 *)(const volatile void *)host, __ATOMIC_RELAXED)}, 8); break;
    default: {
#if defined(__x86_64__)
      __m128i v;
      if (((uintptr_t)host & 15) == 0) __asm__ volatile("movdqa %1, %0" : "=x"(v) : "m"(*(const __m128i *)(const void *)host));
      else v = _mm_loadu_si128((const __m128i *)(const void *)host);
      memcpy(out, &v, 16);
#else
      const uint64_t low = __atomic_load_n((const volatile lane_u64 *)(const volatile void *)host, __ATOMIC_RELAXED), high = __atomic_load_n((const volatile lane_u64 *)(const volatile void *)(host + 8), __ATOMIC_RELAXED);
      memcpy(out, &low, 8);
      memcpy((uint8_t *)out + 8, &high, 8);
#endif
    }
  }
}

static void write_exact(uint8_t *host, unsigned width, const void *value) {
  uint64_t v = 0;
  if (width <= 8) copy_element(&v, value, width);
  switch (width) {
    case 1: __atomic_store_n((volatile uint8_t *)host, (uint8_t)v, __ATOMIC_RELAXED); break;
    case 2: __atomic_store_n((volatile lane_u16 *)(volatile void *)host, (uint16_t)v, __ATOMIC_RELAXED); break;
    case 4: __atomic_store_n((volatile lane_u32 *)(volatile void *)host, (uint32_t)v, __ATOMIC_RELAXED); break;
    case 8: __atomic_store_n((volatile lane_u64 *)(volatile void *)host, v, __ATOMIC_RELAXED); break;
    default: {
#if defined(__x86_64__)
      const __m128i x = _mm_loadu_si128((const __m128i *)value);
      if (((uintptr_t)host & 15) == 0) __asm__ volatile("movdqa %1, %0" : "=m"(*(__m128i *)(void *)host) : "x"(x));
      else _mm_storeu_si128((__m128i *)(void *)host, x);
#else
      uint64_t low, high;
      memcpy(&low, value, 8);
      memcpy(&high, (const uint8_t *)value + 8, 8);
      __atomic_store_n((volatile lane_u64 *)(volatile void *)host, low, __ATOMIC_RELAXED);
      __atomic_store_n((volatile lane_u64 *)(volatile void *)(host + 8), high, __ATOMIC_RELAXED);
#endif
    }
  }
}

static bool io_access(struct warp *w, const struct instr *ip, unsigned lane, const struct place *p, unsigned width, bool write, void *value) {
  const struct ptx_launch_config *const c = &w->launch->config;
  if (c->memory.io) {
    if (!c->memory.io(c->memory.context, write, p->address, p->host, width, value)) {
      ptx_fault_at(w, ip, lane, PTX_FAULT_ADDRESS, p->address, width, write);
      return false;
    }
  } else if (write) {
    write_exact(p->host, width, value);
  } else {
    read_exact(p->host, width, value);
  }
  if (c->hooks.trace) {
    struct ptx_trace trace = {.nanoseconds = ptx_now_ns(), .address = p->address, .width = width, .write = write};
    ptx_thread_fill(w, ip, lane, &trace.thread);
    memcpy(trace.value, value, width);
    c->hooks.trace(c->hooks.context, &trace);
  }
  return true;
}

/* --- Weak-memory mode: stores wait in a buffer of their block -------------------------------------------------------------------- */

static uint64_t next_random(struct block *b) {
  b->random ^= b->random << 13;
  b->random ^= b->random >> 7;
  b->random ^= b->random << 17;
  return b->random;
}


/* The word reaches memory, in pieces as large as its bytes allow. */
static void drain_one(struct block *b, uint32_t i) {
  struct store s = b->stores[i];
  b->stores[i] = b->stores[--b->store_count];
  for (unsigned at = 0; at < 8;) {
    if (!(s.bytes >> at & 1)) {
      at++;
      continue;
    }
    unsigned width = 8;
    while (at % width || (s.bytes >> at & ((1u << width) - 1)) != (1u << width) - 1) width /= 2;
    const uint64_t value = s.value >> 8 * at;
    write_exact(s.host + at, width, &value);
    at += width;
  }
}

bool ptx_weak_drain(struct block *b, unsigned scope, bool all) {
  if (!b->launch->config.weak_memory || (!all && (scope == SCOPE_CTA || scope == SCOPE_CLUSTER))) return false;
  for (;;) {
    uint32_t candidates = 0, chosen = NONE;
    for (uint32_t i = 0; i < b->store_count; i++)
      if (all || scope == SCOPE_SYS || !b->stores[i].host_memory)
        if (next_random(b) % ++candidates == 0) chosen = i;
    if (chosen == NONE) return true;
    drain_one(b, chosen);
  }
}

void ptx_weak_some(struct block *b) {
  for (uint32_t i = 0; i < b->store_count;)
    if (next_random(b) % 4 == 0) drain_one(b, i);
    else i++;
}

static void maybe_drain(struct block *b) {
  if (b->store_count && next_random(b) % 8 == 0) drain_one(b, (uint32_t)(next_random(b) % b->store_count));
}

static bool weak_store(struct warp *w, const struct place *p, unsigned width, const uint8_t *value) {
  struct block *const b = w->block;
  maybe_drain(b);
  for (unsigned done = 0; done < width;) {
    const uint64_t address = (p->address + done) & ~UINT64_C(7);
    const unsigned first = (unsigned)((p->address + done) & 7), n = width - done < 8 - first ? width - done : 8 - first;
    struct store *s = NULL;
    for (uint32_t i = 0; i < b->store_count; i++)
      if (b->stores[i].address == address) s = &b->stores[i];
    if (!s) {
      if (b->store_count >= 64) drain_one(b, (uint32_t)(next_random(b) % b->store_count));
      if (!ptx_grow((void **)&b->stores, &b->store_capacity, b->store_count, sizeof *b->stores)) return false;
      s = &b->stores[b->store_count++];
      *s = (struct store){.address = address, .host = p->host + done - first, .host_memory = p->flags & PTX_REGION_HOST};
    }
    for (unsigned k = 0; k < n; k++) {
      const unsigned at = first + k;
      s->value = (s->value & ~(0xffull << 8 * at)) | (uint64_t)value[done + k] << 8 * at;
      s->bytes |= (uint8_t)(1u << at);
    }
    done += n;
  }
  return true;
}

static void weak_overlay(const struct block *b, const struct place *p, unsigned width, uint8_t *value) {
  for (uint32_t i = 0; i < b->store_count; i++) {
    const struct store *s = &b->stores[i];
    for (unsigned k = 0; k < 8; k++)
      if (s->bytes >> k & 1 && s->address + k - p->address < width) value[s->address + k - p->address] = (uint8_t)(s->value >> 8 * k);
  }
}

static void weak_settle(struct block *b, uint64_t address, unsigned width) {
  for (uint32_t i = 0; i < b->store_count;)
    if (b->stores[i].address < address + width && address < b->stores[i].address + 8) drain_one(b, i);
    else i++;
}

/* --- Loads and stores ------------------------------------------------------------------------------------------------------------ */

void ptx_saw(struct warp *w, uint64_t value) {
  w->polled = true;
  w->seen |= 1ull << ((value * 0x9e3779b97f4a7c15u ^ value >> 29) >> 58);
}

bool ptx_read_lane(struct warp *w, const struct instr *ip, unsigned lane, uint64_t address, unsigned width, void *out) {
  struct place p;
  const unsigned step = width > 16 ? 16 : width;
  if (address & (width - 1)) {
    ptx_fault_at(w, ip, lane, PTX_FAULT_MISALIGNED, address, width, false);
    return false;
  }
  for (unsigned done = 0; done < width; done += step) {
    uint8_t *const to = (uint8_t *)out + done;
    if (!ptx_place(w, ip, lane, address + done, step, false, &p)) return false;
    if (p.flags & PTX_REGION_IO) {
      if (!io_access(w, ip, lane, &p, step, false, to)) return false;
      continue;
    }
    const bool is_weak = p.kind == SPACE_GLOBAL && w->launch->config.weak_memory;
    /* before the look at memory: what leaves the buffer after it would be in neither, and a thread must see its own stores */
    if (is_weak) maybe_drain(w->block);
    read_exact(p.host, step, to);
    if (is_weak) weak_overlay(w->block, &p, step, to);
  }
  return true;
}

bool ptx_write_lane(struct warp *w, const struct instr *ip, unsigned lane, uint64_t address, unsigned width, const void *value) {
  struct place p;
  const unsigned step = width > 16 ? 16 : width;
  if (address & (width - 1)) {
    ptx_fault_at(w, ip, lane, PTX_FAULT_MISALIGNED, address, width, true);
    return false;
  }
  for (unsigned done = 0; done < width; done += step) {
    uint8_t from[16];
    copy_element(from, (const uint8_t *)value + done, step);
    if (!ptx_place(w, ip, lane, address + done, step, true, &p)) return false;
    if (p.flags & PTX_REGION_IO) {
      if (!io_access(w, ip, lane, &p, step, true, from)) return false;
    } else if (p.kind == SPACE_GLOBAL && w->launch->config.weak_memory && ip->order != ORDER_MMIO) {
      if (!weak_store(w, &p, step, from)) write_exact(p.host, step, from);
    } else {
      write_exact(p.host, step, from);
    }
  }
  w->news = true;
  return true;
}

/* Where a lane's element lies, when that is in the ordinary memory that this instruction used last; else NULL. Such memory is
 * neither I/O memory nor local nor shared, and a guess that is wrong costs a compare. */
static inline uint8_t *last_region(const struct region_entry *r, uint64_t address, unsigned width) {
  const uint64_t into = address - r->address;
  return r->size >= width && into <= r->size - width && (address & (width - 1)) == 0 ? r->host + into : NULL;
}

static inline const struct region_entry *last_region_of(const struct warp *w, const struct instr *ip) {
  const bool may_be_fast = (ip->space == SPACE_GLOBAL || ip->space == SPACE_GENERIC) && !w->launch->config.weak_memory;
  static const struct region_entry none;
  return may_be_fast ? &w->regions[((uintptr_t)ip / sizeof *ip) % REGION_ENTRIES] : &none;
}

/* Strong loads of a word by all lanes, as polling does them: in the region that was used last, one by one and each once, but
 * for neighbours that look at the same word, whose loads are one as they are on a GPU. Gives the lanes that are left. */
static uint32_t load_words(struct warp *w, const struct instr *ip) {
  const struct region_entry *const r = last_region_of(w, ip);
  uint64_t last = 0, value = 0;
  uint32_t m = w->mask;
  bool has_last = false;
  if (ip->count > 1 || ip->width < 4 || ip->width > 8 || ip->d == NONE || ip->order == ORDER_MMIO || r->size == 0) return m;
  lane_u32 *const d32 = row_of(w, ip->d);
  lane_u64 *const d64 = row_of(w, ip->d);
  for (; m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m);
    const uint64_t address = ptx_address_of(w, ip, l);
    if (!has_last || address != last) {
      const uint8_t *const host = last_region(r, address, ip->width);
      if (!host) break;
      value = ip->width == 4 ? __atomic_load_n((const volatile lane_u32 *)(const volatile void *)host, __ATOMIC_RELAXED)
                             : __atomic_load_n((const volatile lane_u64 *)(const volatile void *)host, __ATOMIC_RELAXED);
      if (ip->order != ORDER_WEAK) ptx_saw(w, value ^ address * 31);
      last = address;
      has_last = true;
    }
    if (ip->width == 4) d32[l] = (uint32_t)value;
    else d64[l] = value;
  }
  return m;
}

HANDLER(ptx_load_any) {
  const unsigned n = ip->count ? ip->count : 1, width = ip->width, own = width < 2 ? 2 : width;
  const bool strong = ip->order != ORDER_WEAK;
  const struct region_entry *const r = last_region_of(w, ip);
  for (uint32_t m = load_words(w, ip); m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m);
    uint8_t value[32];
    const uint64_t address = ptx_address_of(w, ip, l);
    const uint8_t *const host = width >= 4 && width * n <= 16 ? last_region(r, address, width * n) : NULL;
    if (host) read_exact(host, width * n, value);
    else if (!ptx_read_lane(w, ip, l, address, width * n, value)) return NULL;
    if (strong) {
      uint64_t v = 0;
      copy_element(&v, value, width * n < 8 ? width * n : 8);
      ptx_saw(w, v ^ address * 31);
    }
    for (unsigned k = 0; k < n; k++) {
      const uint32_t row = n > 1 ? ip->more[k] : ip->d;
      if (row == NONE) continue;
      uint8_t *const out = (uint8_t *)row_of(w, row) + l * own;
      if (width == 1) out[1] = 0;
      copy_element(out, value + k * width, width);
    }
  }
  /* acquire: nothing after it moves before it; volatile and relaxed only order their own location */
  if (ip->order == ORDER_ACQUIRE) atomic_thread_fence(memory_order_acquire);
  return ip + 1;
}

HANDLER(ptx_store_any) {
  const unsigned n = ip->count ? ip->count : 1, width = ip->width, own = width < 2 ? 2 : width;
  if (ip->order == ORDER_RELEASE) { /* everything before it is there first */
    ptx_weak_drain(w->block, ip->scope, false);
    atomic_thread_fence(memory_order_release);
  }
  const struct region_entry *const r = last_region_of(w, ip);
  const bool may_write = (r->flags & PTX_REGION_READ_ONLY) == 0 && width >= 4;
  for (uint32_t m = w->mask; m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m);
    uint8_t value[32];
    for (unsigned k = 0; k < n; k++) copy_element(value + k * width, (const uint8_t *)row_of(w, n > 1 ? ip->more[k] : ip->b) + l * own, width);
    if (may_write && width * n <= 16) {
      uint8_t *const host = last_region(r, ptx_address_of(w, ip, l), width * n);
      if (host) {
        write_exact(host, width * n, value);
        w->news = true;
        continue;
      }
    }
    if (!ptx_write_lane(w, ip, l, ptx_address_of(w, ip, l), width * n, value)) return NULL;
  }
  return ip + 1;
}

HANDLER(ptx_fence) {
  ptx_weak_drain(w->block, ip->scope, false);
  /* the strongest one does for all of PTX's fences, as all scopes are one machine */
  atomic_thread_fence(memory_order_seq_cst);
  return ip + 1;
}

HANDLER(ptx_copy_async) {
  const lane_u64 *const sources = row_of(w, ip->b);
  const lane_u32 *const sizes = ip->c == NONE ? NULL : row_of(w, ip->c);
  struct instr from = *ip;
  from.space = SPACE_GENERIC;
  for (uint32_t m = w->mask; m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m), size = sizes && sizes[l] < ip->width ? sizes[l] : ip->width;
    uint8_t value[16] = {0};
    struct place p;
    if (sources[l] & (ip->width - 1u)) {
      ptx_fault_at(w, ip, l, PTX_FAULT_MISALIGNED, sources[l], ip->width, false);
      return NULL;
    }
    if (size == ip->width) {
      if (!ptx_read_lane(w, &from, l, sources[l], ip->width, value)) return NULL;
    } else {
      for (unsigned k = 0; k < size; k++)
        if (!ptx_read_lane(w, &from, l, sources[l] + k, 1, value + k)) return NULL;
    }
    if (!ptx_place(w, ip, l, ptx_address_of(w, ip, l), ip->width, true, &p)) return NULL;
    write_exact(p.host, ip->width, value);
  }
  w->news = true;
  return ip + 1;
}

HANDLER(ptx_isspacep) {
  const lane_u64 *const a = row_of(w, ip->a);
  uint32_t bits = 0;
  for (unsigned l = 0; l < WARP; l++) {
    const uint64_t window = a[l] & UINT64_C(0xffff000000000000);
    const unsigned space = a[l] < PTX_WINDOWS ? SPACE_GLOBAL : window == PTX_SHARED_WINDOW ? SPACE_SHARED : window == PTX_LOCAL_WINDOW ? SPACE_LOCAL : window == PTX_PARAM_WINDOW ? SPACE_PARAM : 255;
    /* The window of a kernel's parameters lies in that of global memory. */
    bits |= (uint32_t)(space == ip->space || (ip->space == SPACE_GLOBAL && space == SPACE_PARAM)) << l;
  }
  write_predicate(w, ip->d, bits);
  return ip + 1;
}

void ptx_weak_settle(struct warp *w, const struct place *p, unsigned width) {
  if (w->launch->config.weak_memory && p->kind == SPACE_GLOBAL) weak_settle(w->block, p->address, width);
}

bool ptx_read_bytes(struct warp *w, const struct instr *ip, unsigned lane, uint64_t address, void *out, size_t size, bool report) {
  struct instr generic = *ip;
  generic.space = SPACE_GENERIC;
  generic.order = ORDER_WEAK;
  (void)report;
  for (size_t i = 0; i < size; i++)
    if (!ptx_read_lane(w, &generic, lane, address + i, 1, (uint8_t *)out + i)) return false;
  return true;
}
