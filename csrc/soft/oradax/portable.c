/* The fast loops of the software coprocessor in plain C, for any processor. */
#include "kernels.h"

#include <stddef.h>
#include <string.h>

/* 8 elements of 1 to 16 bits begin in the byte that 8 earlier ones end in, so their places repeat. */
static uint32_t element_at(const uint8_t *from, unsigned position, unsigned width) {
  const uint8_t *at = from + position / 8;
  const uint32_t three = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
  return three >> (24 - position % 8 - width) & ((1u << width) - 1);
}

static uint64_t scan(const struct packed *in, uint64_t groups, const struct scan_test *test, struct target target) {
  uint8_t *bits = target.at;
  if (in->width == 1) return results_of_bits(in, groups, scan_matches(test, 0), scan_matches(test, 1), bits);
  uint64_t ones = 0;
  for (uint64_t i = 0; i < 8 * groups; i++) {
    const uint8_t *from = in->from + i * in->width;
    unsigned result = 0;
    for (unsigned j = 0; j < 8; j++) {
      const uint32_t element = in->width == 32 ? load_be32(from + 4 * j)
                                               : element_at(from, in->start + j * in->width, in->width);
      result = result << 1 | (unsigned)scan_matches(test, element);
    }
    bits[i] = (uint8_t)result;
    ones += (uint64_t)__builtin_popcount(result);
  }
  return ones;
}

static void unpack(const struct packed *in, uint64_t groups, uint16_t *out) {
  for (uint64_t i = 0; i < 8 * groups; i++) {
    const uint8_t *from = in->from + i * in->width;
    for (unsigned j = 0; j < 8; j++) {
      out[8 * i + j] = (uint16_t)element_at(from, in->start + j * in->width, in->width);
    }
  }
}

static void widen(const uint16_t *elements, uint64_t count, const struct widening *how, uint8_t *out) {
  /* The element's first byte is its upper one where it has two. */
  const unsigned size = how->size, shift = how->bytes == 2 ? 0 : 8;
  const unsigned kept = how->bytes < size ? how->bytes : size, left = how->pad_left ? size - kept : 0;
  for (uint64_t i = 0; i < count; i++, out += size) {
    const uint32_t value = (uint32_t)elements[i] << shift;
    if (size > kept) memset(out, 0, size);
    out[left] = (uint8_t)(value >> 8);
    if (kept == 2) out[left + 1] = (uint8_t)value;
  }
}

static uint64_t compress(const uint16_t *elements, uint64_t groups, const uint8_t *mask, uint16_t *out) {
  uint64_t kept = 0;
  for (uint64_t i = 0; i < groups * KERNEL_GROUP; i++) {
    /* Always stored, and overwritten by the next one unless its bit keeps it. */
    out[kept] = elements[i];
    kept += mask[i / 8] >> (7 - i % 8) & 1;
  }
  return kept;
}

static uint64_t translate(const struct packed *in, uint64_t groups, const struct lookup *how, struct target target) {
  uint8_t *bits = target.at;
  uint64_t ones = 0;
  for (uint64_t i = 0; i < 8 * groups; i++) {
    const uint8_t *from = in->from + i * in->width;
    unsigned result = 0;
    for (unsigned j = 0; j < 8; j++) {
      result = result << 1 | (unsigned)lookup_bit(how, element_at(from, in->start + j * in->width, in->width));
    }
    bits[i] = (uint8_t)result;
    ones += (uint64_t)__builtin_popcount(result);
  }
  return ones;
}

uint64_t oradax_emit_in_parts(const struct oradax_parts *parts, const struct packed *in, uint64_t groups,
                              const uint8_t *mask, const struct widening *how, uint8_t *out) {
  uint16_t elements[UNPACKED_GROUPS * KERNEL_GROUP], chosen[(UNPACKED_GROUPS + 1) * KERNEL_GROUP];
  uint64_t emitted = 0;
  for (uint64_t done = 0; done < groups; done += UNPACKED_GROUPS) {
    const uint64_t some = groups - done < UNPACKED_GROUPS ? groups - done : UNPACKED_GROUPS;
    const struct packed part = packed_after(in, done);
    uint64_t count = some * KERNEL_GROUP;
    parts->unpack(&part, some, elements);
    if (mask != NULL) count = parts->compress(elements, some, mask + 8 * done, chosen);
    parts->widen(mask == NULL ? elements : chosen, count, how, out + emitted * how->size);
    emitted += count;
  }
  return emitted;
}

const struct oradax_parts oradax_portable_parts = {unpack, compress, widen};

static uint64_t emit(const struct packed *in, uint64_t groups, const uint8_t *mask, const struct widening *how,
                     struct target out) {
  return oradax_emit_in_parts(&oradax_portable_parts, in, groups, mask, how, out.at);
}

const struct oradax_kernels oradax_portable = {"portable", scan, emit, translate};
