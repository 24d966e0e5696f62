/*
 * The fast loops of the software coprocessor: whole groups of 64 elements of a fixed width, nothing else. What is left
 * over, every other format and every error is the business of run.c, element by element.
 *
 * There is one table of these loops for each way to run them; all compute the same.
 */
#ifndef ORADAX_KERNELS_H
#define ORADAX_KERNELS_H

#include <stdint.h>
#include <string.h>

/* Where packed elements lie: most significant bit first, the first one at bit start (0 to 7) of the first byte. */
struct packed {
  const uint8_t *from;
  unsigned start;
  unsigned width; /* 1 to 15 bits; with start 0 also 16, and 32 for scan only */
};

/* A kernel may read so many bytes behind the last group that it was asked for. */
enum { KERNEL_OVERREAD_BYTES = 64, KERNEL_GROUP = 64, KERNEL_TABLE_PAD_BYTES = 4 };

/* What an element is compared with: low <= e <= high, or e == low || e == high. Both fit the element's width, except that
 * low 1 and high 0 of a range match nothing. */
struct scan_test {
  uint32_t low, high;
  int is_range;
  int invert;
};

/* How an element goes to the output: its bytes bytes (1 or 2, the most significant first), padded with zeros on the left
 * or right to size bytes, or cut to its first size bytes. size is 1, 2, 4, 8 or 16. */
struct widening {
  unsigned bytes, size;
  int pad_left;
};

/* What an element looks up in a bit table: bit (e & index_mask), inverted with invert, and 0 where check is set and
 * e >> check_shift is not check_value. Behind the table's last byte KERNEL_TABLE_PAD_BYTES may be read. */
struct lookup {
  const uint8_t *table;
  uint32_t index_mask, check_value;
  unsigned check_shift;
  int check, invert;
};

/* Where results go. */
struct target {
  uint8_t *at;
  /* A hint: at is a multiple of 64, and the caches cannot hold all results. Writing around them is then faster, for a line
   * is not read first. A loop that does orders these stores before any later one. */
  int streams;
};

struct oradax_kernels {
  const char *name;
  /* One result bit for each element, most significant bit of a byte first. Returns the number of ones. */
  uint64_t (*scan)(const struct packed *in, uint64_t groups, const struct scan_test *test, struct target bits);
  /* Output elements of all elements, or of those whose bit in mask is 1. Returns how many, and writes nothing else. */
  uint64_t (*emit)(const struct packed *in, uint64_t groups, const uint8_t *mask, const struct widening *how, struct target out);
  /* One bit of the table for each element. Returns the number of ones. */
  uint64_t (*translate)(const struct packed *in, uint64_t groups, const struct lookup *how, struct target bits);
};

extern const struct oradax_kernels oradax_portable;
#if defined(__x86_64__)
/* Needs AVX2, BMI2 and POPCNT. */
extern const struct oradax_kernels oradax_avx2;
/* Needs AVX-512 F, BW, DQ, VL, VBMI, VBMI2 and VPOPCNTDQ, and GFNI besides. */
extern const struct oradax_kernels oradax_avx512;
#endif
#if defined(__aarch64__)
extern const struct oradax_kernels oradax_neon;
#endif

/* The loops of that name, or the fastest that this processor has for "auto"; NULL when it has none of that name. */
const struct oradax_kernels *oradax_kernels_named(const char *name);

/* Extraction and selection in three steps, with each element as a number in between. */
struct oradax_parts {
  /* Elements as numbers. */
  void (*unpack)(const struct packed *in, uint64_t groups, uint16_t *out);
  /* Keeps the elements whose bit in mask is 1. out has room for 64 more than are kept. Returns how many are kept. */
  uint64_t (*compress)(const uint16_t *elements, uint64_t groups, const uint8_t *mask, uint16_t *out);
  /* Numbers as output elements; count is any number. */
  void (*widen)(const uint16_t *elements, uint64_t count, const struct widening *how, uint8_t *out);
};

extern const struct oradax_parts oradax_portable_parts;

/* What emit is where the three steps are all there is. */
uint64_t oradax_emit_in_parts(const struct oradax_parts *parts, const struct packed *in, uint64_t groups,
                              const uint8_t *mask, const struct widening *how, uint8_t *out);

/* What the portable loops and the tables of the others share. */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define BIG_ENDIAN_64(value) (value)
#define BIG_ENDIAN_32(value) (value)
#else
#define BIG_ENDIAN_64(value) __builtin_bswap64(value)
#define BIG_ENDIAN_32(value) __builtin_bswap32(value)
#endif

static inline uint64_t load_be64(const uint8_t *at) {
  uint64_t value;
  memcpy(&value, at, sizeof value);
  return BIG_ENDIAN_64(value);
}

static inline uint32_t load_be32(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return BIG_ENDIAN_32(value);
}

static inline void store_be64(uint8_t *at, uint64_t value) {
  const uint64_t bytes = BIG_ENDIAN_64(value);
  memcpy(at, &bytes, sizeof bytes);
}

static inline void store_be32(uint8_t *at, uint32_t value) {
  const uint32_t bytes = BIG_ENDIAN_32(value);
  memcpy(at, &bytes, sizeof bytes);
}

static inline void store_be16(uint8_t *at, uint32_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

static inline int scan_matches(const struct scan_test *test, uint32_t element) {
  const int found = test->is_range ? element >= test->low && element <= test->high
                                   : element == test->low || element == test->high;
  return found != test->invert;
}

static inline int lookup_bit(const struct lookup *how, uint32_t element) {
  if (how->check && element >> how->check_shift != how->check_value) return 0;
  const uint32_t index = element & how->index_mask;
  return (how->table[index >> 3] >> (7 - (index & 7)) & 1) != how->invert;
}

/* Results for elements of one bit: each is the bit itself, its inverse, or always the same. */
static inline __attribute__((always_inline)) uint64_t results_of_bits(const struct packed *in, uint64_t groups, int of_zero,
                                                                      int of_one, uint8_t *bits) {
  const uint64_t zero = of_zero ? UINT64_MAX : 0, one = of_one ? UINT64_MAX : 0;
  uint64_t ones = 0;
  for (uint64_t g = 0; g < groups; g++) {
    const uint8_t *at = in->from + 8 * g;
    const uint64_t next = in->start == 0 ? 0 : (uint64_t)(at[8] >> (8 - in->start));
    const uint64_t value = load_be64(at) << in->start | next;
    const uint64_t result = (value & one) | (~value & zero);
    store_be64(bits + 8 * g, result);
    ones += (uint64_t)__builtin_popcountll(result);
  }
  return ones;
}

/* So many groups are unpacked at a time, where a loop needs elements as numbers. */
enum { UNPACKED_GROUPS = 16 };

/* The place so many groups further on. */
static inline struct packed packed_after(const struct packed *in, uint64_t groups) {
  return (struct packed){in->from + 8 * groups * in->width, in->start, in->width};
}

#endif
