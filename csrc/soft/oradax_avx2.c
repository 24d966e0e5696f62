/*
 * The fast loops of the software coprocessor with AVX2.
 *
 * 8 elements of w bits take w bytes, so 8 of them are spread over the eight 16-bit lanes of 128 bits by one byte shuffle
 * that stays the same: each lane gets the two bytes that its element begins in. Multiplying by 2^s moves the element to
 * the lane's upper end, a shift right by 16 - w to its lower end. Above 9 bits an element may reach into a third byte; a
 * second shuffle and the upper half of the same product bring its bits.
 */
#if defined(__x86_64__)
#include "oradax_kernels.h"

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt")))

struct spread {
  __m256i first, third, factor; /* both halves alike */
  __m128i down;
  int reaches_third;
  unsigned width;
};

/* Which element of 8 goes to which lane: scans want the first one in the last lane, as bits are counted. */
enum order { FIRST_FIRST, LAST_FIRST };

AVX2 static struct spread spread_for(const struct packed *in, enum order order) {
  uint8_t first[16], third[16];
  uint16_t factor[8];
  for (unsigned lane = 0; lane < 8; lane++) {
    const unsigned element = order == FIRST_FIRST ? lane : 7 - lane, position = in->start + element * in->width;
    const unsigned byte = position / 8;
    first[2 * lane] = (uint8_t)(byte + 1);
    first[2 * lane + 1] = (uint8_t)byte;
    third[2 * lane] = 0x80; /* zero */
    third[2 * lane + 1] = byte + 2 < 16 ? (uint8_t)(byte + 2) : 0x80;
    factor[lane] = (uint16_t)(1u << position % 8);
  }
  return (struct spread){.first = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)first)),
                         .third = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)third)),
                         .factor = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)factor)),
                         .down = _mm_cvtsi32_si128((int)(16 - in->width)),
                         .reaches_third = in->width > 9,
                         .width = in->width};
}

AVX2 static inline __m256i load_pair(const uint8_t *low, const uint8_t *high) {
  const __m256i value = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)low));
  return _mm256_inserti128_si256(value, _mm_loadu_si128((const __m128i *)high), 1);
}

/* Elements in the upper end of their lanes; below them is what comes after. */
AVX2 static inline __m256i spread_up(const struct spread *s, __m256i bytes, int reaches_third) {
  const __m256i upper = _mm256_mullo_epi16(_mm256_shuffle_epi8(bytes, s->first), s->factor);
  if (!reaches_third) return upper;
  return _mm256_or_si256(upper, _mm256_mulhi_epu16(_mm256_shuffle_epi8(bytes, s->third), s->factor));
}

AVX2 static inline __m256i spread(const struct spread *s, __m256i bytes, int reaches_third) {
  return _mm256_srl_epi16(spread_up(s, bytes, reaches_third), s->down);
}

struct test16 {
  __m256i low, high;
};

AVX2 static inline __m256i matches16(const struct test16 *t, __m256i v, int is_range) {
  if (is_range) {
    const __m256i not_below = _mm256_cmpeq_epi16(_mm256_max_epu16(v, t->low), v);
    return _mm256_and_si256(not_below, _mm256_cmpeq_epi16(_mm256_min_epu16(v, t->high), v));
  }
  return _mm256_or_si256(_mm256_cmpeq_epi16(v, t->low), _mm256_cmpeq_epi16(v, t->high));
}

AVX2 static inline uint64_t put32(uint8_t *bits, uint32_t result, uint32_t flip) {
  const uint32_t all = result ^ flip;
  memcpy(bits, &all, sizeof all);
  return (uint64_t)__builtin_popcount(all);
}

/* 32 elements of up to 16 bits in a round; the two flags are constants in each copy that the compiler makes. */
AVX2 static inline __attribute__((always_inline)) uint64_t scan_packed(const struct packed *in, uint64_t groups,
                                                                       const struct scan_test *test, uint8_t *bits,
                                                                       int is_range, int reaches_third) {
  const struct spread s = spread_for(in, LAST_FIRST);
  const struct test16 t = {_mm256_set1_epi16((short)test->low), _mm256_set1_epi16((short)test->high)};
  const uint32_t flip = test->invert ? UINT32_MAX : 0;
  const uint8_t *from = in->from;
  const unsigned w = in->width;
  uint64_t ones = 0;
  for (uint64_t i = 0; i < 2 * groups; i++, from += 4 * w, bits += 4) {
    const __m256i even = spread(&s, load_pair(from, from + 2 * w), reaches_third);
    const __m256i odd = spread(&s, load_pair(from + w, from + 3 * w), reaches_third);
    const __m256i found = _mm256_packs_epi16(matches16(&t, even, is_range), matches16(&t, odd, is_range));
    ones += put32(bits, (uint32_t)_mm256_movemask_epi8(found), flip);
  }
  return ones;
}

AVX2 static inline __m256i last_byte_first_of_8(void) {
  return _mm256_setr_epi8(7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11,
                          10, 9, 8);
}

AVX2 static inline __m256i last_byte_first_of_16(void) {
  return _mm256_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3,
                          2, 1, 0);
}

AVX2 static inline __m256i load_256(const uint8_t *from) { return _mm256_loadu_si256((const __m256i *)from); }

AVX2 static inline __m256i matches8(__m256i low, __m256i high, __m256i v, int is_range) {
  if (is_range) {
    const __m256i not_below = _mm256_cmpeq_epi8(_mm256_max_epu8(v, low), v);
    return _mm256_and_si256(not_below, _mm256_cmpeq_epi8(_mm256_min_epu8(v, high), v));
  }
  return _mm256_or_si256(_mm256_cmpeq_epi8(v, low), _mm256_cmpeq_epi8(v, high));
}

AVX2 static inline __attribute__((always_inline)) uint64_t scan_bytes(const struct packed *in, uint64_t groups,
                                                                      const struct scan_test *test, uint8_t *bits,
                                                                      int is_range) {
  const __m256i low = _mm256_set1_epi8((char)test->low), high = _mm256_set1_epi8((char)test->high);
  const uint32_t flip = test->invert ? UINT32_MAX : 0;
  uint64_t ones = 0;
  for (uint64_t i = 0; i < 2 * groups; i++, bits += 4) {
    const __m256i found = matches8(low, high, load_256(in->from + 32 * i), is_range);
    ones += put32(bits, (uint32_t)_mm256_movemask_epi8(_mm256_shuffle_epi8(found, last_byte_first_of_8())), flip);
  }
  return ones;
}

AVX2 static inline __attribute__((always_inline)) uint64_t scan_words(const struct packed *in, uint64_t groups,
                                                                      const struct scan_test *test, uint8_t *bits,
                                                                      int is_range) {
  const struct test16 t = {_mm256_set1_epi16((short)test->low), _mm256_set1_epi16((short)test->high)};
  const uint32_t flip = test->invert ? UINT32_MAX : 0;
  const uint8_t *from = in->from;
  uint64_t ones = 0;
  for (uint64_t i = 0; i < 2 * groups; i++, from += 64, bits += 4) {
    /* Turning 16 bytes around makes the elements numbers and puts the last of 8 first. */
    const __m256i a = _mm256_shuffle_epi8(load_256(from), last_byte_first_of_16());
    const __m256i b = _mm256_shuffle_epi8(load_256(from + 32), last_byte_first_of_16());
    const __m256i found = _mm256_packs_epi16(matches16(&t, a, is_range), matches16(&t, b, is_range));
    /* packs works in each half: elements 0 to 7, 16 to 23, 8 to 15, 24 to 31. */
    ones += put32(bits, (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(found, 0xd8)), flip);
  }
  return ones;
}

AVX2 static inline __m256i matches32(__m256i low, __m256i high, __m256i v, int is_range) {
  if (is_range) {
    const __m256i not_below = _mm256_cmpeq_epi32(_mm256_max_epu32(v, low), v);
    return _mm256_and_si256(not_below, _mm256_cmpeq_epi32(_mm256_min_epu32(v, high), v));
  }
  return _mm256_or_si256(_mm256_cmpeq_epi32(v, low), _mm256_cmpeq_epi32(v, high));
}

AVX2 static inline __attribute__((always_inline)) uint64_t scan_dwords(const struct packed *in, uint64_t groups,
                                                                       const struct scan_test *test, uint8_t *bits,
                                                                       int is_range) {
  const __m256i low = _mm256_set1_epi32((int)test->low), high = _mm256_set1_epi32((int)test->high);
  /* Two rounds of packs leave each half of a vector in 4 bytes: first the lower halves of all four, then the upper ones. */
  const __m256i order = _mm256_setr_epi32(4, 0, 5, 1, 6, 2, 7, 3);
  const uint32_t flip = test->invert ? UINT32_MAX : 0;
  const uint8_t *from = in->from;
  uint64_t ones = 0;
  for (uint64_t i = 0; i < 2 * groups; i++, from += 128, bits += 4) {
    __m256i found[4];
    for (unsigned j = 0; j < 4; j++) {
      found[j] = matches32(low, high, _mm256_shuffle_epi8(load_256(from + 32 * j), last_byte_first_of_16()), is_range);
    }
    const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(found[0], found[1]), _mm256_packs_epi32(found[2], found[3]));
    ones += put32(bits, (uint32_t)_mm256_movemask_epi8(_mm256_permutevar8x32_epi32(packed, order)), flip);
  }
  return ones;
}

AVX2 static uint64_t scan(const struct packed *in, uint64_t groups, const struct scan_test *test, uint8_t *bits) {
  const int range = test->is_range;
  if (in->width == 1) return scan_single_bits(in, groups, test, bits);
  if (in->width == 32) return range ? scan_dwords(in, groups, test, bits, 1) : scan_dwords(in, groups, test, bits, 0);
  if (in->width == 16 && in->start == 0) {
    return range ? scan_words(in, groups, test, bits, 1) : scan_words(in, groups, test, bits, 0);
  }
  if (in->width == 8 && in->start == 0) {
    return range ? scan_bytes(in, groups, test, bits, 1) : scan_bytes(in, groups, test, bits, 0);
  }
  if (in->width > 9) return range ? scan_packed(in, groups, test, bits, 1, 1) : scan_packed(in, groups, test, bits, 0, 1);
  return range ? scan_packed(in, groups, test, bits, 1, 0) : scan_packed(in, groups, test, bits, 0, 0);
}

AVX2 static inline __attribute__((always_inline)) void unpack_packed(const struct packed *in, uint64_t groups,
                                                                     uint16_t *out, int reaches_third) {
  const struct spread s = spread_for(in, FIRST_FIRST);
  const uint8_t *from = in->from;
  for (uint64_t i = 0; i < 4 * groups; i++, from += 2 * in->width, out += 16) {
    _mm256_storeu_si256((__m256i *)out, spread(&s, load_pair(from, from + in->width), reaches_third));
  }
}

AVX2 static void unpack(const struct packed *in, uint64_t groups, uint16_t *out) {
  if (in->width > 9) unpack_packed(in, groups, out, 1);
  else unpack_packed(in, groups, out, 0);
}

/* The byte shuffles that make 16 output bytes each of 8 numbers, in the order of the output. */
static unsigned widening_shuffles(const struct widening *how, uint8_t shuffles[8][16]) {
  const unsigned kept = how->bytes < how->size ? how->bytes : how->size, left = how->pad_left ? how->size - kept : 0;
  memset(shuffles, 0x80, 8 * 16);
  for (unsigned element = 0; element < 8; element++) {
    for (unsigned i = 0; i < kept; i++) {
      const unsigned place = element * how->size + left + i;
      /* A number lies in two bytes, the lower one first; its bytes go out upper one first. */
      shuffles[place / 16][place % 16] = (uint8_t)(2 * element + (how->bytes - 1 - i));
    }
  }
  return how->size == 1 ? 1 : how->size / 2;
}

AVX2 static void widen(const uint16_t *elements, uint64_t count, const struct widening *how, uint8_t *out) {
  uint8_t bytes[8][16];
  __m128i shuffles[8];
  const unsigned stores = widening_shuffles(how, bytes);
  for (unsigned k = 0; k < stores; k++) shuffles[k] = _mm_loadu_si128((const __m128i *)bytes[k]);
  uint64_t i = 0;
  if (how->size == 1) {
    for (; i + 8 <= count; i += 8, out += 8) {
      const __m128i value = _mm_loadu_si128((const __m128i *)(elements + i));
      _mm_storel_epi64((__m128i *)out, _mm_shuffle_epi8(value, shuffles[0]));
    }
  } else {
    for (; i + 8 <= count; i += 8) {
      const __m128i value = _mm_loadu_si128((const __m128i *)(elements + i));
      for (unsigned k = 0; k < stores; k++, out += 16) {
        _mm_storeu_si128((__m128i *)out, _mm_shuffle_epi8(value, shuffles[k]));
      }
    }
  }
  oradax_portable.widen(elements + i, count - i, how, out);
}

/* For each 8 bits of a mask, the shuffle that moves the chosen ones of eight 16-bit lanes together. */
static uint8_t choose[256][16];

__attribute__((constructor)) static void make_choose(void) {
  for (unsigned mask = 0; mask < 256; mask++) {
    unsigned kept = 0;
    for (unsigned i = 0; i < 8; i++) {
      if (!(mask >> (7 - i) & 1)) continue;
      choose[mask][2 * kept] = (uint8_t)(2 * i);
      choose[mask][2 * kept++ + 1] = (uint8_t)(2 * i + 1);
    }
  }
}

AVX2 static uint64_t compress(const uint16_t *elements, uint64_t groups, const uint8_t *mask, uint16_t *out) {
  uint64_t kept = 0;
  for (uint64_t i = 0; i < 8 * groups; i++) {
    const __m128i value = _mm_loadu_si128((const __m128i *)(elements + 8 * i));
    const __m128i shuffle = _mm_loadu_si128((const __m128i *)choose[mask[i]]);
    _mm_storeu_si128((__m128i *)(out + kept), _mm_shuffle_epi8(value, shuffle));
    kept += (uint64_t)__builtin_popcount(mask[i]);
  }
  return kept;
}

/* Elements of at most 8 bits: the table is 32 bytes or less, and a byte shuffle looks 16 of them up at once. */
AVX2 static uint64_t translate_bytes(const uint16_t *elements, uint64_t groups, const struct lookup *how, uint8_t *bits) {
  const __m256i lower = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)how->table));
  const __m256i upper = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(how->table + 16)));
  const __m256i bit_of = _mm256_setr_epi8((char)128, 64, 32, 16, 8, 4, 2, 1, (char)128, 64, 32, 16, 8, 4, 2, 1, (char)128,
                                          64, 32, 16, 8, 4, 2, 1, (char)128, 64, 32, 16, 8, 4, 2, 1);
  const __m256i seven = _mm256_set1_epi8(7), low_nibble = _mm256_set1_epi8(15), above = _mm256_set1_epi8((char)0x80);
  const uint32_t flip = how->invert ? UINT32_MAX : 0;
  uint64_t ones = 0;
  for (uint64_t i = 0; i < 2 * groups; i++, elements += 32, bits += 4) {
    const __m256i a = _mm256_loadu_si256((const __m256i *)elements), b = _mm256_loadu_si256((const __m256i *)(elements + 16));
    const __m256i e = _mm256_permute4x64_epi64(_mm256_packus_epi16(a, b), 0xd8);
    const __m256i byte = _mm256_and_si256(_mm256_srli_epi16(e, 3), _mm256_set1_epi8(31));
    const __m256i is_upper = _mm256_cmpgt_epi8(byte, low_nibble);
    const __m256i found = _mm256_blendv_epi8(_mm256_shuffle_epi8(lower, byte),
                                             _mm256_shuffle_epi8(upper, _mm256_and_si256(byte, low_nibble)), is_upper);
    const __m256i bit = _mm256_shuffle_epi8(bit_of, _mm256_and_si256(e, seven));
    const __m256i is_set = _mm256_cmpeq_epi8(_mm256_and_si256(found, bit), bit);
    const __m256i turned = _mm256_shuffle_epi8(is_set, last_byte_first_of_8());
    ones += put32(bits, (uint32_t)_mm256_movemask_epi8(_mm256_and_si256(turned, above)), flip);
  }
  return ones;
}

/* Longer elements: the 32 bits that hold the wanted one are gathered from the table. */
AVX2 static uint64_t translate_gather(const uint16_t *elements, uint64_t groups, const struct lookup *how, uint8_t *bits) {
  const __m256i mask = _mm256_set1_epi32((int)how->index_mask), seven = _mm256_set1_epi32(7);
  const __m256i wanted = _mm256_set1_epi32((int)how->check_value), all = _mm256_set1_epi32(-1);
  const __m128i down = _mm_cvtsi32_si128((int)how->check_shift);
  const __m256i flip = how->invert ? all : _mm256_setzero_si256();
  const __m256i order = _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0);
  uint64_t ones = 0;
  for (uint64_t i = 0; i < 8 * groups; i++) {
    __m256i e = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(elements + 8 * i)));
    e = _mm256_permutevar8x32_epi32(e, order);
    const __m256i index = _mm256_and_si256(e, mask);
    const __m256i words = _mm256_i32gather_epi32((const int *)(const void *)how->table, _mm256_srli_epi32(index, 3), 1);
    /* The byte is the lowest of the word; bit 7 - n of it goes to bit 31. */
    __m256i found = _mm256_sllv_epi32(words, _mm256_add_epi32(_mm256_set1_epi32(24), _mm256_and_si256(index, seven)));
    found = _mm256_xor_si256(found, flip);
    if (how->check) found = _mm256_and_si256(found, _mm256_cmpeq_epi32(_mm256_srl_epi32(e, down), wanted));
    const unsigned result = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(found));
    bits[i] = (uint8_t)result;
    ones += (uint64_t)__builtin_popcount(result);
  }
  return ones;
}

AVX2 static uint64_t translate(const uint16_t *elements, uint64_t groups, unsigned width, const struct lookup *how,
                               uint8_t *bits) {
  return width <= 8 ? translate_bytes(elements, groups, how, bits) : translate_gather(elements, groups, how, bits);
}

const struct oradax_kernels oradax_avx2 = {"avx2", scan, unpack, widen, compress, translate};
#else
typedef int this_processor_is_no_x86_64;
#endif
