/*
 * The fast loops of the software coprocessor with AVX2.
 *
 * 8 elements of w bits take w bytes, so 8 of them are spread over the eight 16-bit lanes of 128 bits by one byte shuffle
 * that stays the same: each lane gets the two bytes that its element begins in. Multiplying by 2^s moves the element to
 * the lane's upper end, a shift right by 16 - w to its lower end. Above 9 bits an element may reach into a third byte; a
 * second shuffle and the upper half of the same product bring its bits.
 */
#if defined(__x86_64__)
#include "kernels.h"

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

#define AVX2_INLINE AVX2 static inline __attribute__((always_inline))

/* The results of 32 elements, the first one's in bit 7. */
typedef uint32_t results_of_32(const void *what, const uint8_t *from);

/* Results of all groups to the output. Where they are many for their input, eight bytes at once around the caches are slower
 * than through them. */
AVX2_INLINE uint64_t put_results(const struct packed *in, uint64_t groups, struct target bits, uint32_t flip,
                                 results_of_32 *make, const void *what) {
  const int streams = bits.streams && in->width >= 4;
  const uint64_t flip_all = (uint64_t)flip << 32 | flip;
  const uint8_t *from = in->from;
  uint64_t ones = 0;
  for (uint64_t i = 0; i < groups; i++, from += 8 * in->width) {
    const uint64_t result = (make(what, from) | (uint64_t)make(what, from + 4 * in->width) << 32) ^ flip_all;
    uint8_t *at = bits.at + 8 * i;
    if (streams) _mm_stream_si64((long long *)(void *)at, (long long)result);
    else memcpy(at, &result, sizeof result);
    ones += (uint64_t)__builtin_popcountll(result);
  }
  /* Such stores are not ordered by the store-release that publishes a completion: they have to be there before. */
  if (streams) _mm_sfence();
  return ones;
}

/* Elements of up to 16 bits in a round of 32; the two flags are constants in each copy that the compiler makes. */
struct packed_scan {
  struct spread spread;
  struct test16 test;
  int is_range, reaches_third;
};

AVX2_INLINE uint32_t scan_packed(const void *what, const uint8_t *from) {
  const struct packed_scan *s = what;
  const unsigned w = s->spread.width;
  const __m256i even = spread(&s->spread, load_pair(from, from + 2 * w), s->reaches_third);
  const __m256i odd = spread(&s->spread, load_pair(from + w, from + 3 * w), s->reaches_third);
  const __m256i found = _mm256_packs_epi16(matches16(&s->test, even, s->is_range), matches16(&s->test, odd, s->is_range));
  return (uint32_t)_mm256_movemask_epi8(found);
}

AVX2_INLINE __m256i last_byte_first_of_8(void) {
  return _mm256_setr_epi8(7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11,
                          10, 9, 8);
}

AVX2_INLINE __m256i last_byte_first_of_16(void) {
  return _mm256_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3,
                          2, 1, 0);
}

AVX2_INLINE __m256i load_256(const uint8_t *from) { return _mm256_loadu_si256((const __m256i *)from); }

/* Operands in as many lanes as there are elements of whole bytes. */
struct aligned_scan {
  __m256i low, high;
  int is_range;
};

AVX2_INLINE __m256i matches8(const struct aligned_scan *s, __m256i v) {
  if (s->is_range) {
    const __m256i not_below = _mm256_cmpeq_epi8(_mm256_max_epu8(v, s->low), v);
    return _mm256_and_si256(not_below, _mm256_cmpeq_epi8(_mm256_min_epu8(v, s->high), v));
  }
  return _mm256_or_si256(_mm256_cmpeq_epi8(v, s->low), _mm256_cmpeq_epi8(v, s->high));
}

AVX2_INLINE uint32_t scan_bytes(const void *what, const uint8_t *from) {
  return (uint32_t)_mm256_movemask_epi8(_mm256_shuffle_epi8(matches8(what, load_256(from)), last_byte_first_of_8()));
}

AVX2_INLINE uint32_t scan_words(const void *what, const uint8_t *from) {
  const struct aligned_scan *s = what;
  const struct test16 t = {s->low, s->high};
  /* Turning 16 bytes around makes the elements numbers and puts the last of 8 first. */
  const __m256i a = _mm256_shuffle_epi8(load_256(from), last_byte_first_of_16());
  const __m256i b = _mm256_shuffle_epi8(load_256(from + 32), last_byte_first_of_16());
  const __m256i found = _mm256_packs_epi16(matches16(&t, a, s->is_range), matches16(&t, b, s->is_range));
  /* packs works in each half: elements 0 to 7, 16 to 23, 8 to 15, 24 to 31. */
  return (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(found, 0xd8));
}

AVX2_INLINE __m256i matches32(const struct aligned_scan *s, __m256i v) {
  if (s->is_range) {
    const __m256i not_below = _mm256_cmpeq_epi32(_mm256_max_epu32(v, s->low), v);
    return _mm256_and_si256(not_below, _mm256_cmpeq_epi32(_mm256_min_epu32(v, s->high), v));
  }
  return _mm256_or_si256(_mm256_cmpeq_epi32(v, s->low), _mm256_cmpeq_epi32(v, s->high));
}

AVX2_INLINE uint32_t scan_dwords(const void *what, const uint8_t *from) {
  __m256i found[4];
  for (unsigned j = 0; j < 4; j++) {
    found[j] = matches32(what, _mm256_shuffle_epi8(load_256(from + 32 * j), last_byte_first_of_16()));
  }
  const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(found[0], found[1]), _mm256_packs_epi32(found[2], found[3]));
  /* Two rounds of packs leave each half of a vector in 4 bytes: first the lower halves of all four, then the upper ones. */
  const __m256i order = _mm256_setr_epi32(4, 0, 5, 1, 6, 2, 7, 3);
  return (uint32_t)_mm256_movemask_epi8(_mm256_permutevar8x32_epi32(packed, order));
}

/* is_range is a constant in each copy. */
AVX2_INLINE uint64_t scan_as(const struct packed *in, uint64_t groups, const struct scan_test *test, struct target bits,
                             int is_range) {
  const uint32_t flip = test->invert ? UINT32_MAX : 0;
  const int low = (int)test->low, high = (int)test->high;
  const __m256i low16 = _mm256_set1_epi16((short)low), high16 = _mm256_set1_epi16((short)high);
  if (in->width == 32) {
    const struct aligned_scan s = {_mm256_set1_epi32(low), _mm256_set1_epi32(high), is_range};
    return put_results(in, groups, bits, flip, scan_dwords, &s);
  }
  if (in->width == 16 && in->start == 0) {
    const struct aligned_scan s = {low16, high16, is_range};
    return put_results(in, groups, bits, flip, scan_words, &s);
  }
  if (in->width == 8 && in->start == 0) {
    const struct aligned_scan s = {_mm256_set1_epi8((char)low), _mm256_set1_epi8((char)high), is_range};
    return put_results(in, groups, bits, flip, scan_bytes, &s);
  }
  if (in->width > 9) {
    const struct packed_scan s = {spread_for(in, LAST_FIRST), {low16, high16}, is_range, 1};
    return put_results(in, groups, bits, flip, scan_packed, &s);
  }
  const struct packed_scan s = {spread_for(in, LAST_FIRST), {low16, high16}, is_range, 0};
  return put_results(in, groups, bits, flip, scan_packed, &s);
}

AVX2 static uint64_t scan(const struct packed *in, uint64_t groups, const struct scan_test *test, struct target bits) {
  if (in->width == 1) return results_of_bits(in, groups, scan_matches(test, 0), scan_matches(test, 1), bits.at);
  return test->is_range ? scan_as(in, groups, test, bits, 1) : scan_as(in, groups, test, bits, 0);
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
  oradax_portable_parts.widen(elements + i, count - i, how, out);
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
struct bytes_lookup {
  struct spread spread;
  __m256i lower, upper;
};

AVX2_INLINE uint32_t look_bytes_up(const void *what, const uint8_t *from) {
  const struct bytes_lookup *l = what;
  const unsigned w = l->spread.width;
  const __m256i bit_of = _mm256_set1_epi64x(0x0102040810204080);
  const __m256i seven = _mm256_set1_epi8(7), low_nibble = _mm256_set1_epi8(15), five_bits = _mm256_set1_epi8(31);
  const __m256i even = spread(&l->spread, load_pair(from, from + 2 * w), 0);
  const __m256i odd = spread(&l->spread, load_pair(from + w, from + 3 * w), 0);
  const __m256i e = _mm256_packus_epi16(even, odd);
  const __m256i byte = _mm256_and_si256(_mm256_srli_epi16(e, 3), five_bits);
  const __m256i in_upper = _mm256_shuffle_epi8(l->upper, _mm256_and_si256(byte, low_nibble));
  const __m256i found =
      _mm256_blendv_epi8(_mm256_shuffle_epi8(l->lower, byte), in_upper, _mm256_cmpgt_epi8(byte, low_nibble));
  const __m256i bit = _mm256_shuffle_epi8(bit_of, _mm256_and_si256(e, seven));
  return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_and_si256(found, bit), bit));
}

AVX2 static uint64_t translate_bytes(const struct packed *in, uint64_t groups, const struct lookup *how, struct target bits) {
  const struct bytes_lookup l = {spread_for(in, LAST_FIRST),
                                 _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)how->table)),
                                 _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(how->table + 16)))};
  return put_results(in, groups, bits, how->invert ? UINT32_MAX : 0, look_bytes_up, &l);
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

AVX2 static uint64_t translate(const struct packed *in, uint64_t groups, const struct lookup *how, struct target bits) {
  if (in->width == 1) return results_of_bits(in, groups, lookup_bit(how, 0), lookup_bit(how, 1), bits.at);
  if (in->width <= 8) return translate_bytes(in, groups, how, bits);
  uint16_t elements[UNPACKED_GROUPS * KERNEL_GROUP];
  uint64_t ones = 0;
  for (uint64_t done = 0; done < groups; done += UNPACKED_GROUPS) {
    const uint64_t some = groups - done < UNPACKED_GROUPS ? groups - done : UNPACKED_GROUPS;
    const struct packed part = packed_after(in, done);
    unpack(&part, some, elements);
    ones += translate_gather(elements, some, how, bits.at + 8 * done);
  }
  return ones;
}

static const struct oradax_parts parts = {unpack, compress, widen};

static uint64_t emit(const struct packed *in, uint64_t groups, const uint8_t *mask, const struct widening *how,
                     struct target out) {
  return oradax_emit_in_parts(&parts, in, groups, mask, how, out.at);
}

const struct oradax_kernels oradax_avx2 = {"avx2", scan, emit, translate};
#else
typedef int this_processor_is_no_x86_64;
#endif
