/*
 * The fast loops of the software coprocessor with NEON, which every aarch64 processor has. The same plan as in
 * oradax_avx2.c, with 8 elements in a round; NEON shifts each lane by its own distance, so nothing is multiplied.
 */
#if defined(__aarch64__)
#include "kernels.h"

#include <arm_neon.h>
#include <string.h>

struct spread {
  uint8x16_t first, third;
  int16x8_t up, third_down, down;
  int reaches_third;
};

static struct spread spread_for(const struct packed *in) {
  uint8_t first[16], third[16];
  int16_t up[8], third_down[8];
  for (unsigned lane = 0; lane < 8; lane++) {
    const unsigned position = in->start + lane * in->width, byte = position / 8;
    first[2 * lane] = (uint8_t)(byte + 1);
    first[2 * lane + 1] = (uint8_t)byte;
    third[2 * lane] = byte + 2 < 16 ? (uint8_t)(byte + 2) : 0xff;
    third[2 * lane + 1] = 0xff; /* zero */
    up[lane] = (int16_t)(position % 8);
    third_down[lane] = (int16_t)(position % 8) - 8; /* below zero is to the right */
  }
  return (struct spread){vld1q_u8(first), vld1q_u8(third), vld1q_s16(up), vld1q_s16(third_down),
                         vdupq_n_s16((int16_t)((int)in->width - 16)), in->width > 9};
}

static inline uint16x8_t spread(const struct spread *s, const uint8_t *from) {
  const uint8x16_t bytes = vld1q_u8(from);
  uint16x8_t value = vshlq_u16(vreinterpretq_u16_u8(vqtbl1q_u8(bytes, s->first)), s->up);
  if (s->reaches_third) {
    value = vorrq_u16(value, vshlq_u16(vreinterpretq_u16_u8(vqtbl1q_u8(bytes, s->third)), s->third_down));
  }
  return vshlq_u16(value, s->down);
}

/* Lanes of all ones or zeros to bits, the first lane most significant. */
static inline unsigned bits_of_8(uint16x8_t lanes) {
  static const uint8_t weights[8] = {128, 64, 32, 16, 8, 4, 2, 1};
  return vaddv_u8(vand_u8(vmovn_u16(lanes), vld1_u8(weights)));
}

static inline uint16x8_t matches16(const struct scan_test *t, uint16x8_t v) {
  const uint16x8_t low = vdupq_n_u16((uint16_t)t->low), high = vdupq_n_u16((uint16_t)t->high);
  if (t->is_range) return vandq_u16(vcgeq_u16(v, low), vcleq_u16(v, high));
  return vorrq_u16(vceqq_u16(v, low), vceqq_u16(v, high));
}

static inline uint32x4_t matches32(const struct scan_test *t, uint32x4_t v) {
  const uint32x4_t low = vdupq_n_u32(t->low), high = vdupq_n_u32(t->high);
  if (t->is_range) return vandq_u32(vcgeq_u32(v, low), vcleq_u32(v, high));
  return vorrq_u32(vceqq_u32(v, low), vceqq_u32(v, high));
}

static inline uint32x4_t load_be_4(const uint8_t *from) { return vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(from))); }

static uint64_t scan(const struct packed *in, uint64_t groups, const struct scan_test *test, struct target target) {
  uint8_t *bits = target.at;
  if (in->width == 1) return results_of_bits(in, groups, scan_matches(test, 0), scan_matches(test, 1), bits);
  const unsigned flip = test->invert ? 0xff : 0;
  uint64_t ones = 0;
  if (in->width == 32) {
    for (uint64_t i = 0; i < 8 * groups; i++) {
      const uint8_t *from = in->from + 32 * i;
      const uint16x8_t found = vcombine_u16(vmovn_u32(matches32(test, load_be_4(from))),
                                            vmovn_u32(matches32(test, load_be_4(from + 16))));
      bits[i] = (uint8_t)(bits_of_8(found) ^ flip);
      ones += (uint64_t)__builtin_popcount(bits[i]);
    }
    return ones;
  }
  const struct spread s = spread_for(in);
  for (uint64_t i = 0; i < 8 * groups; i++) {
    bits[i] = (uint8_t)(bits_of_8(matches16(test, spread(&s, in->from + i * in->width))) ^ flip);
    ones += (uint64_t)__builtin_popcount(bits[i]);
  }
  return ones;
}

static void unpack(const struct packed *in, uint64_t groups, uint16_t *out) {
  const struct spread s = spread_for(in);
  for (uint64_t i = 0; i < 8 * groups; i++) vst1q_u16(out + 8 * i, spread(&s, in->from + i * in->width));
}

static void widen(const uint16_t *elements, uint64_t count, const struct widening *how, uint8_t *out) {
  uint8_t shuffles[8][16];
  const unsigned kept = how->bytes < how->size ? how->bytes : how->size, left = how->pad_left ? how->size - kept : 0;
  const unsigned stores = how->size == 1 ? 1 : how->size / 2;
  memset(shuffles, 0xff, sizeof shuffles);
  for (unsigned element = 0; element < 8; element++) {
    for (unsigned i = 0; i < kept; i++) {
      const unsigned place = element * how->size + left + i;
      shuffles[place / 16][place % 16] = (uint8_t)(2 * element + (how->bytes - 1 - i));
    }
  }
  uint64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const uint8x16_t value = vreinterpretq_u8_u16(vld1q_u16(elements + i));
    if (how->size == 1) {
      vst1_u8(out, vget_low_u8(vqtbl1q_u8(value, vld1q_u8(shuffles[0]))));
      out += 8;
      continue;
    }
    for (unsigned k = 0; k < stores; k++, out += 16) vst1q_u8(out, vqtbl1q_u8(value, vld1q_u8(shuffles[k])));
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

static uint64_t compress(const uint16_t *elements, uint64_t groups, const uint8_t *mask, uint16_t *out) {
  uint64_t kept = 0;
  for (uint64_t i = 0; i < 8 * groups; i++) {
    const uint8x16_t value = vreinterpretq_u8_u16(vld1q_u16(elements + 8 * i));
    vst1q_u16(out + kept, vreinterpretq_u16_u8(vqtbl1q_u8(value, vld1q_u8(choose[mask[i]]))));
    kept += (uint64_t)__builtin_popcount(mask[i]);
  }
  return kept;
}

/* Elements of at most 8 bits look up 32 bytes; longer ones are not gathered on this processor. */
static uint64_t translate(const struct packed *in, uint64_t groups, const struct lookup *how, struct target target) {
  uint8_t *bits = target.at;
  if (in->width > 8) return oradax_portable.translate(in, groups, how, target);
  static const uint8_t bit_of[16] = {128, 64, 32, 16, 8, 4, 2, 1};
  const struct spread s = spread_for(in);
  const uint8x16x2_t table = {{vld1q_u8(how->table), vld1q_u8(how->table + 16)}};
  const uint8x16_t weights = vcombine_u8(vld1_u8(bit_of), vld1_u8(bit_of));
  const unsigned flip = how->invert ? 0xff : 0;
  uint64_t ones = 0;
  for (uint64_t i = 0; i < 4 * groups; i++, bits += 2) {
    const uint8_t *from = in->from + 2 * i * in->width;
    const uint8x16_t e = vcombine_u8(vmovn_u16(spread(&s, from)), vmovn_u16(spread(&s, from + in->width)));
    const uint8x16_t bit = vqtbl1q_u8(vld1q_u8(bit_of), vandq_u8(e, vdupq_n_u8(7)));
    const uint8x16_t is_set = vandq_u8(vtstq_u8(vqtbl2q_u8(table, vshrq_n_u8(e, 3)), bit), weights);
    bits[0] = (uint8_t)(vaddv_u8(vget_low_u8(is_set)) ^ flip);
    bits[1] = (uint8_t)(vaddv_u8(vget_high_u8(is_set)) ^ flip);
    ones += (uint64_t)__builtin_popcount(bits[0]) + (uint64_t)__builtin_popcount(bits[1]);
  }
  return ones;
}

static const struct oradax_parts parts = {unpack, compress, widen};

static uint64_t emit(const struct packed *in, uint64_t groups, const uint8_t *mask, const struct widening *how,
                     struct target out) {
  return oradax_emit_in_parts(&parts, in, groups, mask, how, out.at);
}

const struct oradax_kernels oradax_neon = {"neon", scan, emit, translate};
#else
typedef int this_processor_is_no_aarch64;
#endif
