/* Loops that measure memory. See busbar.h for the rules. Each runs until its time is over and tells how far it came. */
#define _GNU_SOURCE
#include "busbar.h"
#include "internal.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

/* Steps between two looks at the clock: long enough that the clock does not show, short enough to end in time. Streams
 * begin with the smaller step and double it while it takes less than half a millisecond: memory differs ten thousandfold. */
enum { SMALLEST_STEP = 64 * 1024, LARGEST_STEP = 4 * 1024 * 1024, HOPS = 2048, UPDATES = 16384, DELAY_STEP = 4096 };
enum { MIXED_PIECE = 1024 };
enum { SHORT_NS = 500000 };

static uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t system_ns(void) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return (uint64_t)usage.ru_stime.tv_sec * 1000000000u + (uint64_t)usage.ru_stime.tv_usec * 1000u;
}

/* What every loop needs: its processor, when it began and when it ends. */
struct span {
  cpu_set_t before;
  int pinned;
  uint64_t wall, end, cpu, system;
};

/* The calling thread belongs to a pool that others use too: the processor is given back at the end. */
static int span_begin(struct span *span, int32_t cpu, uint32_t limit_us) {
  if (limit_us > 1000000) return -EINVAL;
  span->pinned = 0;
  if (cpu >= 0) {
    cpu_set_t one;
    if (cpu >= CPU_SETSIZE) return -ENXIO;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_getaffinity(0, sizeof span->before, &span->before) != 0) return -errno;
    /* EINVAL here means the processor: it is offline, or not this process's. Everywhere else it means the memory. */
    if (sched_setaffinity(0, sizeof one, &one) != 0) return errno == EINVAL ? -ENXIO : -errno;
    span->pinned = 1;
  }
  span->cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  span->system = system_ns();
  span->wall = clock_ns(CLOCK_MONOTONIC);
  span->end = span->wall + (uint64_t)limit_us * 1000u;
  return 0;
}

static void span_end(const struct span *span, uint64_t count, uint64_t *out) {
  out[0] = count;
  out[1] = clock_ns(CLOCK_MONOTONIC) - span->wall;
  out[2] = clock_ns(CLOCK_THREAD_CPUTIME_ID) - span->cpu;
  out[3] = system_ns() - span->system;
  if (span->pinned) sched_setaffinity(0, sizeof span->before, &span->before);
}

static int over(const struct span *span) { return clock_ns(CLOCK_MONOTONIC) >= span->end; }

/* splitmix64: a number for each position, so that preparing can stop and go on without a state of its own. */
static uint64_t mix(uint64_t x) {
  x += UINT64_C(0x9e3779b97f4a7c15);
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

int32_t bb_chase_prepare(void *base, uint64_t size, uint32_t stride, uint64_t seed, uint32_t limit_us, uint64_t *done) {
  if (base == NULL || done == NULL || stride < sizeof(void *) || stride % sizeof(void *) != 0) return -EINVAL;
  const uint64_t slots = size / stride;
  if (slots < 2) return -EINVAL;
  char *const at = base;
  struct span span;
  const int result = span_begin(&span, -1, limit_us);
  if (result != 0) return result;
  /* First every slot points at itself; then Sattolo's shuffle makes one cycle of them all. */
  while (*done < 2 * slots - 1) {
    for (int step = 0; step < HOPS && *done < 2 * slots - 1; step++, ++*done) {
      if (*done < slots) {
        *(void **)(at + *done * stride) = at + *done * stride;
        continue;
      }
      const uint64_t i = 2 * slots - 1 - *done, j = mix(seed + i) % i;
      void **const a = (void **)(at + i * stride), **const b = (void **)(at + j * stride);
      void *const kept = *a;
      *a = *b;
      *b = kept;
    }
    if (over(&span)) break;
  }
  return *done == 2 * slots - 1;
}

int32_t bb_chase(void **position, int32_t cpu, uint32_t limit_us, uint64_t *out) {
  if (position == NULL || *position == NULL || out == NULL) return -EINVAL;
  struct span span;
  const int result = span_begin(&span, cpu, limit_us);
  if (result != 0) return result;
  void *p = *position;
  uint64_t hops = 0;
  do {
    for (int i = 0; i < HOPS; i += 8) {
      /* Each load needs the one before: nothing overlaps. */
      p = *(void **)p; p = *(void **)p; p = *(void **)p; p = *(void **)p;
      p = *(void **)p; p = *(void **)p; p = *(void **)p; p = *(void **)p;
    }
    hops += HOPS;
  } while (!over(&span));
  *position = p;
  span_end(&span, hops, out);
  return 0;
}

/* Sixteen bytes at once: what every x86-64 and aarch64 processor has. */
typedef uint64_t pair __attribute__((vector_size(16), may_alias));

static void read_chunk(const char *from, uint64_t size) {
  const pair *p = (const pair *)(const void *)from, *const end = p + size / sizeof *p;
  pair a = {0, 0}, b = a, c = a, d = a;
  for (; p < end; p += 4) {
    a ^= p[0];
    b ^= p[1];
    c ^= p[2];
    d ^= p[3];
  }
  a ^= b ^ c ^ d;
  /* The compiler has to believe that somebody wants the result. */
  __asm__ volatile("" ::"r"(a[0]), "r"(a[1]) : "memory");
}

static void write_chunk(char *to, uint64_t size) {
  pair *p = (pair *)(void *)to, *const end = p + size / sizeof *p;
  const pair value = {UINT64_C(0x5a5a5a5a5a5a5a5a), UINT64_C(0xa5a5a5a5a5a5a5a5)};
  for (; p < end; p += 4) {
    p[0] = value;
    p[1] = value;
    p[2] = value;
    p[3] = value;
    /* Keeps the loop a loop: it would become a call of memset, which chooses its own way to store. */
    __asm__ volatile("" ::: "memory");
  }
}

static void copy_chunk(char *to, const char *from, uint64_t size) {
  pair *p = (pair *)(void *)to;
  const pair *q = (const pair *)(const void *)from, *const end = q + size / sizeof *q;
  for (; q < end; p += 4, q += 4) {
    const pair a = q[0], b = q[1], c = q[2], d = q[3];
    p[0] = a;
    p[1] = b;
    p[2] = c;
    p[3] = d;
    __asm__ volatile("" ::: "memory");
  }
}

static void store_past_cache(char *to, pair value) {
#if defined(__x86_64__)
  _mm_stream_si128((__m128i *)(void *)to, (__m128i)value);
#elif defined(__aarch64__)
  __asm__ volatile("stnp %0, %1, [%2]" ::"r"(value[0]), "r"(value[1]), "r"(to) : "memory");
#else
  /* There are no such stores here: these go through the cache. */
  *(pair *)(void *)to = value;
#endif
}

/* Stores past the cache are ordered by nothing but a fence; without it a loop would leave them unfinished. */
static void stores_done(void) {
#if defined(__x86_64__)
  _mm_sfence();
#elif defined(__aarch64__)
  __asm__ volatile("dsb st" ::: "memory");
#else
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

static void write_past_cache(char *to, uint64_t size) {
  const pair value = {UINT64_C(0x5a5a5a5a5a5a5a5a), UINT64_C(0xa5a5a5a5a5a5a5a5)};
  for (uint64_t at = 0; at < size; at += sizeof value) store_past_cache(to + at, value);
  stores_done();
}

static void copy_past_cache(char *to, const char *from, uint64_t size) {
  for (uint64_t at = 0; at < size; at += sizeof(pair)) store_past_cache(to + at, *(const pair *)(const void *)(from + at));
  stores_done();
}

static void move_chunk(uint32_t kind, char *to, const char *from, uint64_t size) {
  switch (kind) {
    case BB_STREAM_READ: read_chunk(from, size); break;
    case BB_STREAM_WRITE: write_chunk(to, size); break;
    case BB_STREAM_COPY: copy_chunk(to, from, size); break;
    case BB_STREAM_WRITE_NT: write_past_cache(to, size); break;
    default: copy_past_cache(to, from, size); break;
  }
}

static int is_aligned(const void *address) { return (uintptr_t)address % 64 == 0; }

int32_t bb_stream(uint32_t kind, void *to, const void *from, uint64_t size, uint64_t *position, uint32_t delay,
                  int32_t cpu, uint32_t limit_us, uint64_t *out) {
  const int writes = kind != BB_STREAM_READ, reads = kind != BB_STREAM_WRITE && kind != BB_STREAM_WRITE_NT;
  if (kind > BB_STREAM_COPY_NT || (writes && to == NULL) || (reads && from == NULL) || position == NULL || out == NULL ||
      size == 0 || size % 64 != 0 || *position >= size || *position % 64 != 0 || (writes && !is_aligned(to)) ||
      (reads && !is_aligned(from)))
    return -EINVAL;
  struct span span;
  const int result = span_begin(&span, cpu, limit_us);
  if (result != 0) return result;
  uint64_t moved = 0, now = span.wall, wanted = delay > 0 ? DELAY_STEP : SMALLEST_STEP;
  do {
    /* With a delay between small steps a thread asks for less than it could: the load of a loaded latency. */
    const uint64_t left = size - *position, step = left < wanted ? left : wanted, before = now;
    move_chunk(kind, writes ? (char *)to + *position : NULL, reads ? (const char *)from + *position : NULL, step);
    for (uint32_t i = 0; i < delay; i++) relax();
    *position = (*position + step) % size;
    moved += step;
    now = clock_ns(CLOCK_MONOTONIC);
    if (delay == 0 && now - before < SHORT_NS && wanted < LARGEST_STEP) wanted *= 2;
  } while (now < span.end);
  span_end(&span, moved, out);
  return 0;
}

/* A piece is read when the number of reads up to its end is one more than up to its beginning: never two more reads in a
 * row than the share asks for. */
static int is_read(uint64_t piece, uint32_t percent) {
  return (piece + 1) * percent / 100 != piece * percent / 100;
}

int32_t bb_mixed_stream(void *base, uint64_t size, uint32_t reads_percent, uint64_t *position, int32_t cpu,
                        uint32_t limit_us, uint64_t *out) {
  if (base == NULL || !is_aligned(base) || size == 0 || size % MIXED_PIECE != 0 || reads_percent > 100 ||
      position == NULL || *position >= size || *position % MIXED_PIECE != 0 || out == NULL)
    return -EINVAL;
  struct span span;
  const int result = span_begin(&span, cpu, limit_us);
  if (result != 0) return result;
  uint64_t moved = 0;
  do {
    for (uint64_t step = 0; step < SMALLEST_STEP; step += MIXED_PIECE) {
      char *const at = (char *)base + *position;
      if (is_read(*position / MIXED_PIECE, reads_percent)) read_chunk(at, MIXED_PIECE);
      else write_chunk(at, MIXED_PIECE);
      *position += MIXED_PIECE;
      if (*position == size) *position = 0;
    }
    moved += SMALLEST_STEP;
  } while (!over(&span));
  span_end(&span, moved, out);
  return 0;
}

int32_t bb_persist_blocks(void *base, uint64_t size, uint32_t block, uint32_t how, uint64_t *position, int32_t cpu,
                          uint32_t limit_us, uint64_t *out) {
  if (base == NULL || block == 0 || block % 64 != 0 || size % block != 0 || size == 0 || how > BB_PERSIST_SYNC ||
      position == NULL || *position >= size || *position % block != 0 || out == NULL || !is_aligned(base))
    return -EINVAL;
  struct span span;
  int result = span_begin(&span, cpu, limit_us);
  if (result != 0) return result;
  uint64_t blocks = 0;
  do {
    char *const at = (char *)base + *position;
    write_chunk(at, block);
    if (how == BB_PERSIST_FLUSH) result = bb_flush(at, block);
    else if (how == BB_PERSIST_SYNC && msync(at, block, MS_SYNC) != 0) result = -errno;
    *position = (*position + block) % size;
    blocks++;
  } while (result == 0 && !over(&span));
  span_end(&span, blocks, out);
  return result;
}

/* HPC Challenge RandomAccess: a(n+1) = a(n) times x modulo x^64 + x^2 + x + 1 over GF(2). */
static uint64_t next_random(uint64_t a) { return a << 1 ^ ((int64_t)a < 0 ? 7u : 0u); }

int32_t bb_gups(uint64_t *table, uint64_t words, uint64_t hot_start, uint64_t hot_words, uint32_t hot_share,
                uint64_t *state, uint64_t updates, int32_t cpu, uint32_t limit_us, uint64_t *out) {
  if (table == NULL || state == NULL || out == NULL || words < 2 || (words & (words - 1)) != 0 ||
      (hot_words & (hot_words - 1)) != 0 || hot_start > words || hot_words > words - hot_start)
    return -EINVAL;
  struct span span;
  const int result = span_begin(&span, cpu, limit_us);
  if (result != 0) return result;
  uint64_t a = *state, count = 0;
  while (count < updates) {
    const uint64_t step = updates - count < UPDATES ? updates - count : UPDATES;
    if (hot_words == 0) {
      for (uint64_t i = 0; i < step; i++) {
        a = next_random(a);
        table[a & (words - 1)] ^= a;
      }
    } else {
      for (uint64_t i = 0; i < step; i++) {
        a = next_random(a);
        /* Neighbours of the stream share most bits. Mixed, they are independent: the upper half chooses the set, the
         * lower the place. */
        const uint64_t mixed = mix(a);
        const int hot = (uint32_t)(mixed >> 32) < hot_share;
        const uint64_t index = hot ? hot_start + (mixed & (hot_words - 1)) : mixed & (words - 1);
        table[index] ^= a;
      }
    }
    count += step;
    if (over(&span)) break;
  }
  *state = a;
  span_end(&span, count, out);
  return 0;
}

int32_t bb_gups_prepare(uint64_t *table, uint64_t first, uint64_t words) {
  if (table == NULL) return -EINVAL;
  for (uint64_t i = first; i < first + words; i++) table[i] = i;
  return 0;
}

int32_t bb_gups_errors(const uint64_t *table, uint64_t first, uint64_t words, uint64_t *errors) {
  if (table == NULL || errors == NULL) return -EINVAL;
  for (uint64_t i = first; i < first + words; i++) *errors += table[i] != i;
  return 0;
}
