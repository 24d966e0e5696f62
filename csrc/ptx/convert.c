/*
 * Conversions between number formats, exactly, one lane at a time: everything that lanes_float.inc does not have a fast form
 * of, and all of the half formats. A number is a sign, 64 bits and an exponent; rounding to a format happens once.
 */
#include "engine.h"

#include <math.h>

enum number_kind { NUMBER_ZERO, NUMBER_FINITE, NUMBER_INFINITE, NUMBER_NAN };
struct number {
  uint8_t kind;
  bool negative;
  uint64_t bits; /* the value is bits * 2^exponent */
  int exponent;
};

struct format {
  uint8_t exponent_bits, fraction_bits;
};

static struct format format_of(enum type t) {
  switch (t) {
    case T_F16: case T_F16X2: return (struct format){5, 10};
    case T_BF16: case T_BF16X2: return (struct format){8, 7};
    case T_F64: return (struct format){11, 52};
    case T_E4M3X2: return (struct format){4, 3};
    case T_E5M2X2: return (struct format){5, 2};
    default: return (struct format){8, 23};
  }
}

static bool is_float(enum type t) { return t == T_F16 || t == T_BF16 || t == T_F32 || t == T_F64 || t == T_TF32; }

static struct number unpack(uint64_t v, struct format f, bool finite_only) {
  const unsigned e = f.exponent_bits, m = f.fraction_bits;
  const uint64_t fraction = v & ((1ull << m) - 1), exponent = v >> m & ((1ull << e) - 1), top = (1ull << e) - 1;
  const int bias = (1 << (e - 1)) - 1;
  struct number n = {.negative = v >> (e + m) & 1};
  if (exponent == top && (!finite_only || fraction == (1ull << m) - 1)) {
    n.kind = fraction ? NUMBER_NAN : NUMBER_INFINITE;
  } else if (exponent == 0) {
    n.kind = fraction ? NUMBER_FINITE : NUMBER_ZERO;
    n.bits = fraction;
    n.exponent = 1 - bias - (int)m;
  } else {
    n.kind = NUMBER_FINITE;
    n.bits = fraction | 1ull << m;
    n.exponent = (int)exponent - bias - (int)m;
  }
  return n;
}

static bool rounds_up(bool odd, uint64_t rest, uint64_t half, bool sticky, bool negative, unsigned rounding) {
  switch (rounding) {
    case ROUND_NEAREST: return rest > half || (rest == half && (sticky || odd));
    case ROUND_AWAY: return rest >= half;
    case ROUND_DOWN: return negative && (rest || sticky);
    case ROUND_UP: return !negative && (rest || sticky);
    default: return false;
  }
}

/* The bits of a finite number in that format; beyond its range what the rounding says, as if the exponent had no end. */
static uint64_t pack_finite(struct number n, struct format f, unsigned rounding, bool *overflow) {
  const int bias = (1 << (f.exponent_bits - 1)) - 1, m = f.fraction_bits;
  const int zeros = __builtin_clzll(n.bits);
  const uint64_t bits = n.bits << zeros;
  const int exponent = n.exponent - zeros + 63; /* of the leading bit */
  int shift = 63 - m;
  const bool subnormal = exponent < 1 - bias;
  if (subnormal) shift += 1 - bias - exponent;
  uint64_t kept = 0, rest = 0, half = 1ull << 63;
  bool sticky = false;
  if (shift < 64) {
    kept = bits >> shift;
    rest = shift ? bits << (64 - shift) : 0;
  } else if (shift == 64) {
    rest = bits;
  } else {
    rest = 1; /* less than half of the least number */
  }
  const bool up = rounds_up(kept & 1, rest, half, sticky, n.negative, rounding);
  uint64_t out = subnormal ? kept : ((uint64_t)(exponent + bias) << m) + (kept - (1ull << m));
  out += up;
  *overflow = !subnormal && exponent > bias;
  if (out >= ((1ull << f.exponent_bits) - 1) << m) *overflow = true;
  return out;
}

static uint64_t not_a_number(enum type t) {
  switch (t) {
    case T_F16: case T_F16X2: case T_BF16: case T_BF16X2: return 0x7fff;
    case T_F64: return 0x7ff8000000000000ull;
    case T_E4M3X2: case T_E5M2X2: return 0x7f;
    default: return 0x7fffffff;
  }
}

static uint64_t pack(struct number n, enum type t, unsigned rounding, unsigned mode) {
  const struct format f = format_of(t);
  const uint64_t sign = (uint64_t)n.negative << (f.exponent_bits + f.fraction_bits);
  const uint64_t infinity = ((1ull << f.exponent_bits) - 1) << f.fraction_bits;
  const bool small = t == T_E4M3X2;
  const uint64_t largest = small ? 0x7e : infinity - 1;
  bool overflow = false;
  uint64_t out;
  if (n.kind == NUMBER_NAN) return mode & MODE_SAT ? 0 : not_a_number(t);
  if (mode & MODE_RELU && n.negative) return 0;
  if (n.kind == NUMBER_ZERO) out = 0;
  else if (n.kind == NUMBER_INFINITE) out = infinity;
  else out = pack_finite(n, f, rounding, &overflow);
  /* e4m3 has no infinity: its largest exponent is one of numbers */
  if (small) {
    if (n.kind == NUMBER_INFINITE || out > largest) out = largest;
    overflow = false;
  }
  if (overflow) out = rounding == ROUND_ZERO || (rounding == ROUND_DOWN && !n.negative) || (rounding == ROUND_UP && n.negative) ? largest : infinity;
  if (!small && out >= infinity && (mode & MODE_SATFINITE)) out = largest;
  if (mode & MODE_FTZ && t == T_F32 && out < 0x00800000) out = 0;
  if (mode & MODE_SAT) {
    const uint64_t one = (uint64_t)((1 << (f.exponent_bits - 1)) - 1) << f.fraction_bits;
    return n.negative ? 0 : out > one ? one : out;
  }
  return out | sign;
}

/* Rounded to an integer, which stays a number. */
static struct number integral(struct number n, unsigned rounding) {
  if (n.kind != NUMBER_FINITE || n.exponent >= 0) return n;
  const int shift = -n.exponent;
  uint64_t kept = 0, rest = 0;
  if (shift < 64) {
    kept = n.bits >> shift;
    rest = n.bits << (64 - shift);
  } else if (shift == 64) {
    rest = n.bits;
  } else {
    rest = 1;
  }
  kept += rounds_up(kept & 1, rest, 1ull << 63, false, n.negative, rounding);
  n.bits = kept;
  n.exponent = 0;
  if (!kept) n.kind = NUMBER_ZERO;
  return n;
}

static struct number from_integer(uint64_t v, enum type t) {
  const unsigned bytes = ptx_type_bytes[t];
  const bool is_signed = ptx_type_class[t] == 's';
  if (bytes < 8) v = is_signed ? (uint64_t)((int64_t)(v << (64 - 8 * bytes)) >> (64 - 8 * bytes)) : v & ((1ull << 8 * bytes) - 1);
  struct number n = {.kind = v ? NUMBER_FINITE : NUMBER_ZERO, .bits = v};
  if (is_signed && (int64_t)v < 0) {
    n.negative = true;
    n.bits = 0 - v;
  }
  return n;
}

/* Saturated to the type's range; the bits of a two's complement of 64. */
static uint64_t to_integer(struct number n, enum type t, enum type source) {
  const unsigned bits = 8u * ptx_type_bytes[t];
  const bool is_signed = ptx_type_class[t] == 's';
  const uint64_t most = is_signed ? (1ull << (bits - 1)) - 1 : bits == 64 ? UINT64_MAX : (1ull << bits) - 1, least = is_signed ? 1ull << (bits - 1) : 0;
  if (n.kind == NUMBER_NAN) return source != T_F64 && bits != 64 ? 0 : is_signed ? 0 - (1ull << (bits - 1)) : 1ull << (bits - 1);
  if (n.kind == NUMBER_ZERO) return 0;
  uint64_t v = most;
  bool beyond = n.kind == NUMBER_INFINITE;
  if (!beyond) {
    if (n.exponent > 0 && (n.exponent > 63 || n.bits >> (64 - n.exponent))) beyond = true;
    else v = n.bits << n.exponent;
  }
  if (n.negative) return beyond || v > least ? 0 - least : 0 - v;
  return beyond || v > most ? most : v;
}

static struct number read_number(uint64_t v, enum type t, bool ftz) {
  if (!is_float(t)) return from_integer(v, t);
  struct number n = unpack(v, format_of(t), false);
  if (ftz && t == T_F32 && n.kind == NUMBER_FINITE && n.bits < 1u << 23) n.kind = NUMBER_ZERO;
  return n;
}

static uint64_t convert(const struct instr *ip, uint64_t v) {
  const enum type to = (enum type)ip->type, from = (enum type)ip->operation;
  const unsigned rounding = ip->mode & 7;
  struct number n = read_number(v, from, ip->mode & MODE_FTZ);
  if (ip->mode & MODE_INTEGRAL) n = integral(n, rounding);
  if (is_float(to)) {
    if (to != T_TF32) return pack(n, to, rounding, ip->mode);
    /* 10 bits of fraction in the layout of f32 */
    bool overflow = false;
    if (n.kind != NUMBER_FINITE) return pack(n, T_F32, rounding, ip->mode);
    if (ip->mode & MODE_RELU && n.negative) return 0;
    uint64_t out = pack_finite(n, (struct format){8, 10}, rounding, &overflow) << 13;
    if (overflow) out = ip->mode & MODE_SATFINITE || rounding == ROUND_ZERO ? 0x7f7fe000 : 0x7f800000;
    return out | (uint64_t)n.negative << 31;
  }
  if (!is_float(from) && !(ip->mode & MODE_SAT)) return v;
  return to_integer(n, to, from);
}

static uint64_t read_row(const struct warp *w, uint32_t row, unsigned bytes, unsigned lane) {
  uint64_t v = 0;
  memcpy(&v, (const uint8_t *)row_of(w, row) + lane * bytes, bytes);
  return v;
}

HANDLER(ptx_convert) {
  for (uint32_t m = w->mask; m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m);
    const uint64_t out = convert(ip, read_row(w, ip->a, ip->width, l));
    memcpy((uint8_t *)row_of(w, ip->d) + l * ip->count, &out, ip->count);
  }
  return ip + 1;
}

/* Two numbers in one register: the first source goes to the high half. */
HANDLER(ptx_convert_pair) {
  const enum type to = (enum type)ip->type, from = (enum type)ip->operation;
  const unsigned rounding = ip->mode & 7, half = to == T_E4M3X2 || to == T_E5M2X2 ? 8 : 16;
  const bool eight = from == T_E4M3X2 || from == T_E5M2X2;
  for (uint32_t m = w->mask; m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m);
    const uint64_t a = read_row(w, ip->a, ip->width, l);
    struct number high, low;
    if (from == T_F32) {
      high = unpack(a, format_of(T_F32), false);
      low = unpack(read_row(w, ip->b, 4, l), format_of(T_F32), false);
    } else if (eight) {
      high = unpack(a >> 8 & 255, format_of(from), from == T_E4M3X2);
      low = unpack(a & 255, format_of(from), from == T_E4M3X2);
    } else {
      high = unpack(a >> 16 & 0xffff, format_of(T_F16), false);
      low = unpack(a & 0xffff, format_of(T_F16), false);
    }
    const uint64_t out = pack(high, to, rounding, ip->mode) << half | pack(low, to, rounding, ip->mode);
    memcpy((uint8_t *)row_of(w, ip->d) + l * ip->count, &out, ip->count);
  }
  return ip + 1;
}

/* For half.c and atomics. */
double ptx_half_value(uint32_t bits, enum type type) {
  const struct number n = unpack(bits & 0xffff, format_of(type), false);
  const double v = n.kind == NUMBER_NAN ? NAN : n.kind == NUMBER_INFINITE ? INFINITY : ldexp((double)n.bits, n.kind == NUMBER_ZERO ? 0 : n.exponent);
  return n.negative ? -v : v;
}

uint32_t ptx_half_bits(double value, enum type type, unsigned rounding) {
  uint64_t bits;
  memcpy(&bits, &value, 8);
  return (uint32_t)pack(unpack(bits, format_of(T_F64), false), type, rounding, 0);
}
