/* Arithmetic of f16 and bf16: in f64, which holds each sum and product of theirs closely enough, then rounded once. */
#include "engine.h"

#include <math.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

/* a*b is exact in f64; the sum is rounded to odd, so that rounding it again to 11 or 8 bits is as if it had been exact. */
static double fused(double a, double b, double c) {
  const double p = a * b, s = p + c;
  if (!isfinite(s) || s == 0) return s;
  const double back = s - p, error = (p - (s - back)) + (c - back);
  if (error == 0) return s;
  uint64_t bits;
  memcpy(&bits, &s, 8);
  if ((error < 0) != (s < 0)) bits--;
  bits |= 1;
  double odd;
  memcpy(&odd, &bits, 8);
  return odd;
}

static uint32_t flush(uint32_t bits, enum type type) { return type == T_F16 && !(bits & 0x7c00) ? bits & 0x8000 : bits; }

static bool is_nan(uint32_t bits, enum type type) { return (bits & 0x7fff) > (type == T_F16 ? 0x7c00u : 0x7f80u); }

static uint32_t least_or_most(uint32_t a, uint32_t b, enum type type, bool least, unsigned flags) {
  uint32_t sign = 0;
  if (flags & HALF_XORSIGN) {
    sign = (a ^ b) & 0x8000;
    a &= 0x7fff;
    b &= 0x7fff;
  }
  uint32_t r;
  const bool an = is_nan(a, type), bn = is_nan(b, type);
  if ((an && bn) || ((an || bn) && flags & HALF_NAN)) return 0x7fff;
  if (an) {
    r = b;
  } else if (bn) {
    r = a;
  } else {
    const int32_t x = a & 0x8000 ? -(int32_t)(a & 0x7fff) - 1 : (int32_t)a, y = b & 0x8000 ? -(int32_t)(b & 0x7fff) - 1 : (int32_t)b;
    r = (least ? x < y : x > y) ? a : b;
  }
  return flags & HALF_XORSIGN ? (r & 0x7fff) | sign : r;
}

static uint32_t one(const struct instr *ip, enum type type, uint32_t a, uint32_t b, uint32_t c) {
  if (ip->mode & MODE_FTZ) {
    a = flush(a, type);
    b = flush(b, type);
    c = flush(c, type);
  }
  const double x = ptx_half_value(a, type), y = ptx_half_value(b, type);
  uint32_t r;
  switch (ip->operation) {
    case HALF_ADD: r = ptx_half_bits(x + y, type, ROUND_NEAREST); break;
    case HALF_SUB: r = ptx_half_bits(x - y, type, ROUND_NEAREST); break;
    case HALF_MUL: r = ptx_half_bits(x * y, type, ROUND_NEAREST); break;
    case HALF_FMA: r = ptx_half_bits(fused(x, y, ptx_half_value(c, type)), type, ROUND_NEAREST); break;
    case HALF_NEG: r = a ^ 0x8000; break;
    case HALF_ABS: r = a & 0x7fff; break;
    case HALF_MIN: r = least_or_most(a, b, type, true, ip->flags); break;
    case HALF_MAX: r = least_or_most(a, b, type, false, ip->flags); break;
    case HALF_EX2: r = ptx_half_bits(exp2(x), type, ROUND_NEAREST); break;
    default: r = ptx_half_bits(tanh(x), type, ROUND_NEAREST);
  }
  if (ip->mode & MODE_FTZ) r = flush(r, type);
  if (ip->mode & MODE_RELU && !is_nan(r, type) && r & 0x8000) r = 0;
  if (ip->mode & MODE_SAT) {
    const uint32_t limit = type == T_F16 ? 0x3c00 : 0x3f80;
    r = is_nan(r, type) || r & 0x8000 ? 0 : r > limit ? limit : r;
  }
  return r & 0xffff;
}

static uint32_t source(const struct warp *w, uint32_t row, unsigned bytes, unsigned lane) {
  uint32_t v = 0;
  if (row != NONE) memcpy(&v, (const uint8_t *)row_of(w, row) + lane * bytes, bytes);
  return v;
}

HANDLER(ptx_half) {
  const bool pair = ip->type == T_F16X2 || ip->type == T_BF16X2;
  const enum type type = ip->type == T_F16X2 || ip->type == T_F16 ? T_F16 : T_BF16;
  const unsigned bytes = pair ? 4 : 2;
  for (uint32_t m = w->mask; m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m);
    const uint32_t a = source(w, ip->a, bytes, l), b = source(w, ip->b, bytes, l), c = source(w, ip->c, bytes, l);
    uint32_t r = one(ip, type, a & 0xffff, b & 0xffff, c & 0xffff);
    if (pair) r |= one(ip, type, a >> 16, b >> 16, c >> 16) << 16;
    memcpy((uint8_t *)row_of(w, ip->d) + l * bytes, &r, bytes);
  }
  return ip + 1;
}

static bool compare(double a, double b, unsigned cmp) {
  const bool unordered = isnan(a) || isnan(b);
  switch (cmp) {
    case CMP_EQ: return a == b;
    case CMP_NE: return !unordered && a != b;
    case CMP_LT: return a < b;
    case CMP_LE: return a <= b;
    case CMP_GT: return a > b;
    case CMP_GE: return a >= b;
    case CMP_EQU: return unordered || a == b;
    case CMP_NEU: return unordered || a != b;
    case CMP_LTU: return unordered || a < b;
    case CMP_LEU: return unordered || a <= b;
    case CMP_GTU: return unordered || a > b;
    case CMP_GEU: return unordered || a >= b;
    case CMP_NUM: return !unordered;
    default: return unordered;
  }
}

HANDLER(ptx_half_compare) {
  const bool pair = ip->type == T_F16X2 || ip->type == T_BF16X2;
  const enum type type = ip->type == T_F16X2 || ip->type == T_F16 ? T_F16 : T_BF16;
  const unsigned bytes = pair ? 4 : 2;
  uint32_t low = 0, high = 0;
  for (uint32_t m = w->mask; m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m);
    uint32_t a = source(w, ip->a, bytes, l), b = source(w, ip->b, bytes, l);
    if (ip->mode & MODE_FTZ) {
      a = flush(a & 0xffff, type) | (pair ? flush(a >> 16, type) << 16 : 0);
      b = flush(b & 0xffff, type) | (pair ? flush(b >> 16, type) << 16 : 0);
    }
    low |= (uint32_t)compare(ptx_half_value(a, type), ptx_half_value(b, type), ip->operation) << l;
    if (pair) high |= (uint32_t)compare(ptx_half_value(a >> 16, type), ptx_half_value(b >> 16, type), ip->operation) << l;
  }
  if (!pair) {
    write_comparison(w, ip, low);
    return ip + 1;
  }
  /* p|q are the two halves' outcomes, each combined with the third predicate */
  if (ip->count) {
    const uint32_t c = *(const lane_u32 *)row_of(w, ip->c);
    low = ip->count == BOOL_AND ? low & c : ip->count == BOOL_OR ? low | c : low ^ c;
    high = ip->count == BOOL_AND ? high & c : ip->count == BOOL_OR ? high | c : high ^ c;
  }
  write_predicate(w, ip->d, low);
  if (ip->e != NONE) write_predicate(w, ip->e, high);
  return ip + 1;
}
