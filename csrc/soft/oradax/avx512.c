/*
 * The fast loops of the software coprocessor with the 512-bit instructions that move bytes (VBMI) and words (VBMI2).
 *
 * 64 elements of up to 8 bits take one round: a byte shuffle puts each 8 of them into 64 bits, first one uppermost, and a
 * multishift cuts the elements out. 64 elements of 9 to 16 bits take two vectors of 16-bit lanes: one shuffle brings the two
 * bytes that an element begins in, another the byte behind them, and a double shift moves the element to the lane's upper end.
 *
 * A vector in which the first element of each 8 comes last gives result bits in the order of the output when it is compared.
 */
#if defined(__x86_64__)
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#define AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx512vpopcntdq,gfni,bmi,bmi2,popcnt")))
/* What is passed as a constant is one only when all is inlined; with sanitizers that takes gcc 20 seconds. */
#if defined(__SANITIZE_ADDRESS__)
#define AVX512_INLINE AVX512 static inline
#else
#define AVX512_INLINE AVX512 static inline __attribute__((always_inline))
#endif

/* What ternarylogic does: bit by bit, the first where the third is 1, the second where it is 0. */
enum { FIRST_WHERE_THIRD = 0xe4 };

enum order { FIRST_FIRST, LAST_FIRST };

static inline unsigned element_of_lane(unsigned lane, enum order order) { return order == FIRST_FIRST ? lane : lane ^ 7; }

AVX512_INLINE __m512i load_512(const void *from) { return _mm512_loadu_si512(from); }
AVX512_INLINE void store_512(void *to, __m512i value) { _mm512_storeu_si512(to, value); }
static inline __mmask64 first_bytes(uint64_t count) { return count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1; }

/* Stores around the caches are not ordered by the store-release that publishes a completion: they have to be there before. */
AVX512_INLINE void end_streaming(void) { _mm_sfence(); }

AVX512_INLINE void put_all(uint8_t *to, __m512i value, int streams) {
  if (streams) _mm512_stream_si512((__m512i *)(void *)to, value);
  else store_512(to, value);
}

/* ---- Elements of 1 to 8 bits in the bytes of one vector ---- */

struct bytes_spread {
  __m512i qwords, cuts, kept;
  unsigned width;
};

/* Not for elements of 8 bits that begin inside a byte: 8 of those do not fit in 64 bits. */
AVX512 static struct bytes_spread bytes_spread_for(const struct packed *in, enum order order) {
  uint8_t qwords[64], cuts[64];
  for (unsigned lane = 0; lane < 64; lane++) {
    qwords[lane] = (uint8_t)(lane / 8 * in->width + 7 - lane % 8);
    cuts[lane] = (uint8_t)(64 - in->start - (element_of_lane(lane % 8, order) + 1) * in->width);
  }
  return (struct bytes_spread){load_512(qwords), load_512(cuts), _mm512_set1_epi8((char)((1u << in->width) - 1)), in->width};
}

AVX512_INLINE __m512i spread_bytes(const struct bytes_spread *s, const uint8_t *from) {
  const __m512i qwords = _mm512_permutexvar_epi8(s->qwords, load_512(from));
  return _mm512_and_si512(_mm512_multishift_epi64_epi8(s->cuts, qwords), s->kept);
}

/* ---- Elements of 9 to 16 bits in the 16-bit lanes of two vectors ---- */

struct words_spread {
  __m512i first, third, up;
  __m128i down;
  unsigned width;
};

AVX512 static struct words_spread words_spread_for(const struct packed *in, enum order order) {
  uint8_t first[64], third[64];
  uint16_t up[32];
  for (unsigned lane = 0; lane < 32; lane++) {
    const unsigned position = in->start + element_of_lane(lane, order) * in->width, byte = position / 8;
    first[2 * lane] = (uint8_t)(byte + 1);
    first[2 * lane + 1] = (uint8_t)byte;
    /* Only the upper byte is shifted in. Behind byte 63 nothing is: elements of 16 bits begin a byte. */
    third[2 * lane] = third[2 * lane + 1] = (uint8_t)((byte + 2) % 64);
    up[lane] = (uint16_t)(position % 8);
  }
  return (struct words_spread){load_512(first), load_512(third), load_512(up), _mm_cvtsi32_si128((int)(16 - in->width)),
                               in->width};
}

AVX512_INLINE __m512i spread_words(const struct words_spread *s, const uint8_t *from) {
  const __m512i bytes = load_512(from);
  const __m512i first = _mm512_permutexvar_epi8(s->first, bytes), third = _mm512_permutexvar_epi8(s->third, bytes);
  return _mm512_srl_epi16(_mm512_shldv_epi16(first, third, s->up), s->down);
}

/* ---- Result bits ---- */

struct two_results {
  uint64_t one, two;
};

/* The results of two groups, which may be the same one. */
typedef struct two_results results_of(const void *what, uint64_t one, uint64_t two);

AVX512_INLINE uint64_t ones_of(struct two_results results) {
  return (uint64_t)__builtin_popcountll(results.one) + (uint64_t)__builtin_popcountll(results.two);
}

/* Results of all groups to the output. Around the caches 64 bytes go at once: smaller stores of that kind are slow. */
AVX512_INLINE uint64_t put_results(uint64_t groups, struct target bits, results_of *make, const void *what) {
  uint64_t ones = 0, i = 0;
  for (; bits.streams && i + 8 <= groups; i += 8) {
    __m512i line = _mm512_setzero_si512();
    for (unsigned j = 0; j < 8; j += 2) {
      const struct two_results results = make(what, i + j, i + j + 1);
      line = _mm512_mask_set1_epi64(line, (__mmask8)(1u << j), (long long)results.one);
      line = _mm512_mask_set1_epi64(line, (__mmask8)(2u << j), (long long)results.two);
      ones += ones_of(results);
    }
    put_all(bits.at + 8 * i, line, 1);
  }
  if (bits.streams) end_streaming();
  for (; i + 2 <= groups; i += 2) {
    const struct two_results results = make(what, i, i + 1);
    memcpy(bits.at + 8 * i, &results, sizeof results);
    ones += ones_of(results);
  }
  if (i == groups) return ones;
  const uint64_t last = make(what, i, i).one;
  memcpy(bits.at + 8 * i, &last, sizeof last);
  return ones + (uint64_t)__builtin_popcountll(last);
}

/* Results for elements of one bit, of 512 of them at once: as results_of_bits. */
AVX512 static uint64_t put_single_bits(const struct packed *in, uint64_t groups, int of_zero, int of_one, struct target bits) {
  const __m512i zero = _mm512_set1_epi8((char)(of_zero ? 0xff : 0)), one = _mm512_set1_epi8((char)(of_one ? 0xff : 0));
  const __m128i up = _mm_cvtsi32_si128((int)in->start), down = _mm_cvtsi32_si128((int)(8 - in->start));
  const __m512i upper_bits = _mm512_set1_epi8((char)(0xff << in->start));
  __m512i ones = _mm512_setzero_si512();
  uint64_t i = 0;
  for (; i + 8 <= groups; i += 8) {
    __m512i v = load_512(in->from + 8 * i);
    if (in->start != 0) {
      const __m512i next = _mm512_srl_epi16(load_512(in->from + 8 * i + 1), down);
      v = _mm512_ternarylogic_epi32(_mm512_sll_epi16(v, up), next, upper_bits, FIRST_WHERE_THIRD);
    }
    const __m512i results = _mm512_ternarylogic_epi32(one, zero, v, FIRST_WHERE_THIRD);
    put_all(bits.at + 8 * i, results, bits.streams);
    ones = _mm512_add_epi64(ones, _mm512_popcnt_epi64(results));
  }
  if (bits.streams) end_streaming();
  const struct packed rest = packed_after(in, i);
  return (uint64_t)_mm512_reduce_add_epi64(ones) + results_of_bits(&rest, groups - i, of_zero, of_one, bits.at + 8 * i);
}

/* ---- Scan ---- */

struct test512 {
  __m512i low, high, span; /* span is high - low: a range is one subtraction and one comparison */
  uint64_t flip;
};

AVX512_INLINE __m512i in_all_lanes(uint32_t value, unsigned width) {
  if (width <= 8) return _mm512_set1_epi8((char)value);
  return width <= 16 ? _mm512_set1_epi16((short)value) : _mm512_set1_epi32((int)value);
}

AVX512 static struct test512 test_of(const struct scan_test *test, unsigned width) {
  return (struct test512){.low = in_all_lanes(test->low, width),
                          .high = in_all_lanes(test->high, width),
                          .span = in_all_lanes(test->high - test->low, width),
                          .flip = test->invert ? UINT64_MAX : 0};
}

AVX512_INLINE __mmask64 matches_bytes(const struct test512 *t, __m512i v, int is_range) {
  if (is_range) return _mm512_cmple_epu8_mask(_mm512_sub_epi8(v, t->low), t->span);
  return _mm512_cmpeq_epi8_mask(v, t->low) | _mm512_cmpeq_epi8_mask(v, t->high);
}

AVX512_INLINE __mmask32 matches_words(const struct test512 *t, __m512i v, int is_range) {
  if (is_range) return _mm512_cmple_epu16_mask(_mm512_sub_epi16(v, t->low), t->span);
  return _mm512_cmpeq_epi16_mask(v, t->low) | _mm512_cmpeq_epi16_mask(v, t->high);
}

AVX512_INLINE __mmask16 matches_dwords(const struct test512 *t, __m512i v, int is_range) {
  if (is_range) return _mm512_cmple_epu32_mask(_mm512_sub_epi32(v, t->low), t->span);
  return (__mmask16)(_mm512_cmpeq_epi32_mask(v, t->low) | _mm512_cmpeq_epi32_mask(v, t->high));
}

struct bytes_scan {
  struct bytes_spread spread;
  struct test512 test;
  const uint8_t *from;
  int is_range;
};

AVX512_INLINE uint64_t scan_64_bytes(const struct bytes_scan *scan, uint64_t group) {
  const __m512i v = spread_bytes(&scan->spread, scan->from + 8 * scan->spread.width * group);
  return matches_bytes(&scan->test, v, scan->is_range) ^ scan->test.flip;
}

AVX512_INLINE struct two_results scan_bytes(const void *what, uint64_t one, uint64_t two) {
  return (struct two_results){scan_64_bytes(what, one), scan_64_bytes(what, two)};
}

struct words_scan {
  struct words_spread spread;
  struct test512 test;
  const uint8_t *from;
  int is_range;
};

AVX512_INLINE uint64_t scan_64_words(const struct words_scan *scan, uint64_t group) {
  const uint8_t *from = scan->from + 8 * scan->spread.width * group;
  const uint64_t lower = matches_words(&scan->test, spread_words(&scan->spread, from), scan->is_range);
  const uint64_t upper = matches_words(&scan->test, spread_words(&scan->spread, from + 4 * scan->spread.width), scan->is_range);
  return (lower | upper << 32) ^ scan->test.flip;
}

AVX512_INLINE struct two_results scan_words(const void *what, uint64_t one, uint64_t two) {
  return (struct two_results){scan_64_words(what, one), scan_64_words(what, two)};
}

/* Elements of 1, 2 and 4 whole bytes need no spreading, only turning around: each 8 of them, which makes them numbers too. */
struct aligned_scan {
  __m512i backwards;
  struct test512 test;
  const uint8_t *from;
  int is_range;
  unsigned bytes; /* of an element */
};

AVX512 static __m512i backwards_for(unsigned bytes) {
  uint8_t backwards[64];
  for (unsigned i = 0; i < 64; i++) backwards[i] = (uint8_t)(i ^ (8 * bytes - 1));
  return load_512(backwards);
}

AVX512_INLINE uint64_t scan_64_aligned(const struct aligned_scan *scan, uint64_t group) {
  const uint8_t *from = scan->from + 64 * scan->bytes * group;
  uint64_t result = 0;
  for (unsigned j = 0; j < scan->bytes; j++) {
    const __m512i v = _mm512_permutexvar_epi8(scan->backwards, load_512(from + 64 * j));
    const uint64_t matches = scan->bytes == 1   ? matches_bytes(&scan->test, v, scan->is_range)
                             : scan->bytes == 2 ? matches_words(&scan->test, v, scan->is_range)
                                                : matches_dwords(&scan->test, v, scan->is_range);
    result |= matches << 64 / scan->bytes * j;
  }
  return result ^ scan->test.flip;
}

AVX512_INLINE struct two_results scan_aligned(const void *what, uint64_t one, uint64_t two) {
  return (struct two_results){scan_64_aligned(what, one), scan_64_aligned(what, two)};
}

AVX512_INLINE uint64_t scan_aligned_as(const struct packed *in, uint64_t groups, const struct test512 *test,
                                       struct target bits, int is_range, unsigned bytes) {
  const struct aligned_scan scan = {backwards_for(bytes), *test, in->from, is_range, bytes};
  return put_results(groups, bits, scan_aligned, &scan);
}

/* is_range is a constant in each copy. */
AVX512_INLINE uint64_t scan_as(const struct packed *in, uint64_t groups, const struct test512 *test, struct target bits,
                               int is_range) {
  switch (in->width) {
    case 8: return scan_aligned_as(in, groups, test, bits, is_range, 1);
    case 16: return scan_aligned_as(in, groups, test, bits, is_range, 2);
    case 32: return scan_aligned_as(in, groups, test, bits, is_range, 4);
    default: break;
  }
  if (in->width < 8) {
    const struct bytes_scan scan = {bytes_spread_for(in, LAST_FIRST), *test, in->from, is_range};
    return put_results(groups, bits, scan_bytes, &scan);
  }
  const struct words_scan scan = {words_spread_for(in, LAST_FIRST), *test, in->from, is_range};
  return put_results(groups, bits, scan_words, &scan);
}

/* True for what only the 256-bit loops do. */
static int is_8_bits_inside_bytes(const struct packed *in) { return in->width == 8 && in->start != 0; }

AVX512 static uint64_t scan(const struct packed *in, uint64_t groups, const struct scan_test *test, struct target bits) {
  if (in->width == 1) return put_single_bits(in, groups, scan_matches(test, 0), scan_matches(test, 1), bits);
  if (is_8_bits_inside_bytes(in)) return oradax_avx2.scan(in, groups, test, bits);
  if (test->is_range && test->low > test->high) {
    /* Nothing matches, and the span would be the longest there is. */
    memset(bits.at, test->invert ? 0xff : 0, 8 * groups);
    return test->invert ? groups * KERNEL_GROUP : 0;
  }
  const struct test512 of_test = test_of(test, in->width);
  return test->is_range ? scan_as(in, groups, &of_test, bits, 1) : scan_as(in, groups, &of_test, bits, 0);
}

/* ---- Extraction and selection ---- */

AVX512 static uint64_t chosen_of(uint64_t groups, const uint8_t *mask) {
  if (mask == NULL) return groups * KERNEL_GROUP;
  uint64_t chosen = 0;
  for (uint64_t i = 0; i < groups; i++) chosen += (uint64_t)__builtin_popcountll(load_be64(mask + 8 * i));
  return chosen;
}

/* Masks with the first element's bit uppermost in a byte, to masks with it lowest. */
AVX512_INLINE uint64_t lanes_of_mask(const uint8_t *mask) {
  const __m128i bytes = _mm_loadl_epi64((const __m128i *)mask);
  return (uint64_t)_mm_cvtsi128_si64(_mm_gf2p8affine_epi64_epi8(bytes, _mm_set1_epi64x((long long)0x8040201008040201), 0));
}

/* Stores the chosen lanes, and not a byte more when they are the last ones. */
AVX512_INLINE uint8_t *put_chosen(uint8_t *to, const uint8_t *end, __m512i chosen, uint64_t bytes) {
  if (to + 64 <= end) store_512(to, chosen);
  else _mm512_mask_storeu_epi8(to, first_bytes(bytes), chosen);
  return to + bytes;
}

/* Elements of up to 8 bits, a byte each; end is where the last chosen one ends. */
AVX512_INLINE void take_bytes(const struct packed *in, uint64_t groups, const uint8_t *mask, uint8_t *to, const uint8_t *end,
                              int streams) {
  const struct bytes_spread s = bytes_spread_for(in, FIRST_FIRST);
  const uint8_t *from = in->from;
  for (uint64_t i = 0; i < groups; i++, from += 8 * s.width) {
    const __m512i elements = spread_bytes(&s, from);
    if (mask == NULL) {
      put_all(to, elements, streams);
      to += 64;
      continue;
    }
    const uint64_t chosen = lanes_of_mask(mask + 8 * i);
    to = put_chosen(to, end, _mm512_maskz_compress_epi8(chosen, elements), (uint64_t)__builtin_popcountll(chosen));
  }
}

/* Elements of 9 to 16 bits, two bytes each, the upper one first. */
AVX512_INLINE void take_words(const struct packed *in, uint64_t groups, const uint8_t *mask, uint8_t *to, const uint8_t *end,
                              int streams) {
  const struct words_spread s = words_spread_for(in, FIRST_FIRST);
  const __m512i swap = _mm512_broadcast_i32x4(_mm_setr_epi8(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
  const uint8_t *from = in->from;
  for (uint64_t i = 0; i < 2 * groups; i++, from += 4 * s.width) {
    const __m512i elements = _mm512_shuffle_epi8(spread_words(&s, from), swap);
    if (mask == NULL) {
      put_all(to, elements, streams);
      to += 64;
      continue;
    }
    const uint32_t chosen = (uint32_t)(lanes_of_mask(mask + 8 * (i / 2)) >> 32 * (i % 2));
    to = put_chosen(to, end, _mm512_maskz_compress_epi16(chosen, elements), 2 * (uint64_t)__builtin_popcount(chosen));
  }
}

/* Output elements of another size than the elements have: one shuffle makes each 64 (or, of single bytes, 32) output bytes. */
AVX512 static void widen(const uint8_t *elements, uint64_t count, const struct widening *how, uint8_t *out) {
  const unsigned size = how->size, kept = how->bytes < size ? how->bytes : size, left = how->pad_left ? size - kept : 0;
  const unsigned at_once = size == 1 ? 32 : 64 / size;
  uint8_t places[64] = {0};
  uint64_t filled = 0;
  for (unsigned element = 0; element < at_once; element++) {
    for (unsigned i = 0; i < kept; i++) {
      const unsigned place = element * size + left + i;
      places[place] = (uint8_t)(element * how->bytes + i);
      filled |= UINT64_C(1) << place;
    }
  }
  const __m512i order = load_512(places);
  for (uint64_t done = 0; done < count; done += at_once, out += size * at_once) {
    const uint64_t some = count - done < at_once ? count - done : at_once;
    const __m512i wide = _mm512_maskz_permutexvar_epi8(filled, order, load_512(elements + done * how->bytes));
    _mm512_mask_storeu_epi8(out, first_bytes(some * size), wide);
  }
}

/* Takes count elements; only without a mask streams means anything. */
AVX512_INLINE void take(const struct packed *in, uint64_t groups, const uint8_t *mask, uint8_t *to, uint64_t count, int streams) {
  if (in->width <= 8 && mask == NULL) take_bytes(in, groups, NULL, to, to + count, streams);
  else if (in->width <= 8) take_bytes(in, groups, mask, to, to + count, 0);
  else if (mask == NULL) take_words(in, groups, NULL, to, to + 2 * count, streams);
  else take_words(in, groups, mask, to, to + 2 * count, 0);
}

AVX512 static uint64_t emit(const struct packed *in, uint64_t groups, const uint8_t *mask, const struct widening *how,
                            struct target out) {
  if (is_8_bits_inside_bytes(in)) return oradax_avx2.emit(in, groups, mask, how, out);
  if (how->size == how->bytes) {
    const uint64_t count = chosen_of(groups, mask);
    take(in, groups, mask, out.at, count, out.streams);
    if (out.streams) end_streaming();
    return count;
  }
  uint8_t elements[2 * UNPACKED_GROUPS * KERNEL_GROUP + 64];
  uint64_t emitted = 0;
  for (uint64_t done = 0; done < groups; done += UNPACKED_GROUPS) {
    const uint64_t some = groups - done < UNPACKED_GROUPS ? groups - done : UNPACKED_GROUPS;
    const struct packed part = packed_after(in, done);
    const uint8_t *part_mask = mask == NULL ? NULL : mask + 8 * done;
    const uint64_t count = chosen_of(some, part_mask);
    take(&part, some, part_mask, elements, count, 0);
    widen(elements, count, how, out.at + emitted * how->size);
    emitted += count;
  }
  return emitted;
}

/* ---- Translation ---- */

/* Elements of up to 7 bits choose one of 128 bytes with a single shuffle. Those of 8 bits need two of them. */
struct bytes_lookup {
  struct bytes_spread spread;
  __m512i results[4];
  const uint8_t *from;
  int has_8_bits;
};

AVX512_INLINE uint64_t look_64_bytes_up(const struct bytes_lookup *how, uint64_t group) {
  const __m512i e = spread_bytes(&how->spread, how->from + 8 * how->spread.width * group);
  const uint64_t lower = _mm512_movepi8_mask(_mm512_permutex2var_epi8(how->results[0], e, how->results[1]));
  if (!how->has_8_bits) return lower;
  const uint64_t is_upper = _mm512_movepi8_mask(e);
  const uint64_t upper = _mm512_movepi8_mask(_mm512_permutex2var_epi8(how->results[2], e, how->results[3]));
  return (lower & ~is_upper) | (upper & is_upper);
}

AVX512_INLINE struct two_results look_bytes_up(const void *what, uint64_t one, uint64_t two) {
  return (struct two_results){look_64_bytes_up(what, one), look_64_bytes_up(what, two)};
}

AVX512_INLINE uint64_t translate_bytes(const struct packed *in, uint64_t groups, const struct lookup *how, struct target bits,
                                       int has_8_bits) {
  uint8_t results[256] = {0};
  for (unsigned element = 0; element < 1u << in->width; element++) results[element] = lookup_bit(how, element) ? 0xff : 0;
  const struct bytes_lookup lookup = {
      bytes_spread_for(in, LAST_FIRST),
      {load_512(results), load_512(results + 64), load_512(results + 128), load_512(results + 192)},
      in->from,
      has_8_bits};
  return put_results(groups, bits, look_bytes_up, &lookup);
}

/*
 * Longer elements: one shuffle looks 128 bytes of the table up, so eight of them and a choice by bits 10 to 12 of the
 * element look up 1024. Longer tables are gone through 1024 bytes at a time. Two vectors share the reading of the table.
 */
struct pair {
  __m512i one, two;
};

struct wanted {
  struct pair byte;         /* which byte of the table, modulo 128 */
  struct pair block;        /* which 1024 bytes of it */
  __mmask64 one[3], two[3]; /* bits 10 to 12 of the elements */
};

/* Loads once what is used twice: compilers would rather load it twice, and loads are what this loop waits for. */
AVX512_INLINE __m512i load_into_register(const uint8_t *from) {
  __m512i value = load_512(from);
  __asm__("" : "+v"(value));
  return value;
}

AVX512_INLINE struct pair in_128(const struct wanted *w, const uint8_t *table) {
  const __m512i lower = load_into_register(table), upper = load_into_register(table + 64);
  return (struct pair){_mm512_permutex2var_epi8(lower, w->byte.one, upper), _mm512_permutex2var_epi8(lower, w->byte.two, upper)};
}

AVX512_INLINE struct pair choose(const struct wanted *w, unsigned bit, struct pair lower, struct pair upper) {
  return (struct pair){_mm512_mask_blend_epi8(w->one[bit], lower.one, upper.one),
                       _mm512_mask_blend_epi8(w->two[bit], lower.two, upper.two)};
}

AVX512_INLINE struct pair in_256(const struct wanted *w, const uint8_t *table) {
  return choose(w, 0, in_128(w, table), in_128(w, table + 128));
}

AVX512_INLINE struct pair in_512(const struct wanted *w, const uint8_t *table) {
  return choose(w, 1, in_256(w, table), in_256(w, table + 256));
}

AVX512_INLINE struct pair in_1024(const struct wanted *w, const uint8_t *table) {
  return choose(w, 2, in_512(w, table), in_512(w, table + 512));
}

AVX512_INLINE struct pair in_all(const struct wanted *w, const uint8_t *table, unsigned blocks) {
  struct pair found = in_1024(w, table);
  __m512i block = _mm512_setzero_si512();
  for (unsigned i = 1; i < blocks; i++) {
    const struct pair here = in_1024(w, table + 1024 * i);
    block = _mm512_add_epi8(block, _mm512_set1_epi8(1));
    found.one = _mm512_mask_mov_epi8(found.one, _mm512_cmpeq_epi8_mask(w->block.one, block), here.one);
    found.two = _mm512_mask_mov_epi8(found.two, _mm512_cmpeq_epi8_mask(w->block.two, block), here.two);
  }
  return found;
}

struct words_lookup {
  struct words_spread spread;
  const struct lookup *how;
  __m512i even_bytes, odd_bytes, block_mask;
  const uint8_t *from;
  uint64_t flip;
  unsigned index_bits, blocks;
};

struct halves {
  __m512i lower, upper; /* the bytes of 64 elements of 16 bits */
  __mmask64 passes;
};

AVX512_INLINE struct halves halves_at(const struct words_lookup *l, const uint8_t *from) {
  const __m512i a = spread_words(&l->spread, from), b = spread_words(&l->spread, from + 4 * l->spread.width);
  __mmask64 passes = UINT64_MAX;
  if (l->how->check) {
    const __m128i down = _mm_cvtsi32_si128((int)l->how->check_shift);
    const __m512i value = _mm512_set1_epi16((short)l->how->check_value);
    passes = _mm512_cmpeq_epi16_mask(_mm512_srl_epi16(a, down), value) |
             (uint64_t)_mm512_cmpeq_epi16_mask(_mm512_srl_epi16(b, down), value) << 32;
  }
  return (struct halves){_mm512_permutex2var_epi8(a, l->even_bytes, b), _mm512_permutex2var_epi8(a, l->odd_bytes, b), passes};
}

/* Bits 3 to 9 of each element, and any bit above them. */
AVX512_INLINE __m512i byte_in_128(const struct halves *e) {
  const __m512i five_bits = _mm512_set1_epi8(31);
  return _mm512_ternarylogic_epi32(_mm512_srli_epi16(e->lower, 3), _mm512_slli_epi16(e->upper, 5), five_bits,
                                   FIRST_WHERE_THIRD);
}

AVX512_INLINE uint64_t bits_found(const struct halves *e, __m512i bytes, uint64_t flip) {
  const __m512i bit_of = _mm512_set1_epi64(0x0102040810204080);
  const uint64_t is_set = _mm512_test_epi8_mask(bytes, _mm512_permutexvar_epi8(e->lower, bit_of));
  return (is_set ^ flip) & e->passes;
}

AVX512_INLINE struct two_results look_words_up(const void *what, uint64_t group, uint64_t next) {
  const struct words_lookup *l = what;
  const __m512i bit_10 = _mm512_set1_epi8(4), bit_11 = _mm512_set1_epi8(8), bit_12 = _mm512_set1_epi8(16);
  const struct halves one = halves_at(l, l->from + 8 * l->spread.width * group);
  const struct halves two = halves_at(l, l->from + 8 * l->spread.width * next);
  const struct wanted w = {
      .byte = {byte_in_128(&one), byte_in_128(&two)},
      .block = {_mm512_and_si512(_mm512_srli_epi16(one.upper, 5), l->block_mask),
                _mm512_and_si512(_mm512_srli_epi16(two.upper, 5), l->block_mask)},
      .one = {_mm512_test_epi8_mask(one.upper, bit_10), _mm512_test_epi8_mask(one.upper, bit_11),
              _mm512_test_epi8_mask(one.upper, bit_12)},
      .two = {_mm512_test_epi8_mask(two.upper, bit_10), _mm512_test_epi8_mask(two.upper, bit_11),
              _mm512_test_epi8_mask(two.upper, bit_12)},
  };
  const uint8_t *table = l->how->table;
  struct pair found;
  if (l->index_bits <= 10) found = in_128(&w, table);
  else if (l->index_bits == 11) found = in_256(&w, table);
  else if (l->index_bits == 12) found = in_512(&w, table);
  else if (l->index_bits == 13) found = in_1024(&w, table);
  else found = in_all(&w, table, l->blocks);
  return (struct two_results){bits_found(&one, found.one, l->flip), bits_found(&two, found.two, l->flip)};
}

/* index_bits is a constant in the copies for tables of up to 1024 bytes, and tells of larger ones how many blocks there are. */
AVX512_INLINE uint64_t translate_words(const struct packed *in, uint64_t groups, const struct lookup *how, struct target bits,
                                       unsigned index_bits) {
  uint8_t even[64], odd[64];
  for (unsigned i = 0; i < 64; i++) even[i] = (uint8_t)(2 * i), odd[i] = (uint8_t)(2 * i + 1);
  const unsigned blocks = index_bits <= 13 ? 1 : 1u << (index_bits - 13);
  const struct words_lookup lookup = {.spread = words_spread_for(in, LAST_FIRST),
                                      .how = how,
                                      .even_bytes = load_512(even),
                                      .odd_bytes = load_512(odd),
                                      .block_mask = _mm512_set1_epi8((char)(blocks - 1)),
                                      .from = in->from,
                                      .flip = how->invert ? UINT64_MAX : 0,
                                      .index_bits = index_bits,
                                      .blocks = blocks};
  return put_results(groups, bits, look_words_up, &lookup);
}

AVX512 static uint64_t translate(const struct packed *in, uint64_t groups, const struct lookup *how, struct target bits) {
  if (is_8_bits_inside_bytes(in)) return oradax_avx2.translate(in, groups, how, bits);
  const unsigned index_bits = in->width == 16 && how->index_mask == 0x7fff ? 15 : in->width;
  switch (index_bits) {
    case 1: return put_single_bits(in, groups, lookup_bit(how, 0), lookup_bit(how, 1), bits);
    case 8: return translate_bytes(in, groups, how, bits, 1);
    case 9:
    case 10: return translate_words(in, groups, how, bits, 10);
    case 11: return translate_words(in, groups, how, bits, 11);
    case 12: return translate_words(in, groups, how, bits, 12);
    case 13: return translate_words(in, groups, how, bits, 13);
    case 14:
    case 15:
    case 16: return translate_words(in, groups, how, bits, index_bits);
    default: return translate_bytes(in, groups, how, bits, 0);
  }
}

const struct oradax_kernels oradax_avx512 = {"avx512", scan, emit, translate};
#else
typedef int this_processor_is_no_x86_64;
#endif
