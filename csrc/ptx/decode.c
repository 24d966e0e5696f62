/* Instructions decoded: operands checked against the table's row and turned into rows of the frame; arithmetic. */
#include "internal.h"

#include <stdlib.h>

/* --- Arithmetic ----------------------------------------------------------------------------------------------------------------- */

static const uint8_t double_of[T_COUNT] = {[T_U16] = T_U32, [T_S16] = T_S32, [T_U32] = T_U64, [T_S32] = T_S64};

static bool row_for(struct parser *p, char letter, const struct operand *o, const struct form *f, uint32_t *row, uint32_t *second) {
  const enum type t0 = (enum type)f->types[0], t1 = (enum type)f->types[1], t2 = (enum type)f->types[2];
  switch (letter) {
    case 'd': return ptx_destination(p, o, t0, row);
    case 'e': return ptx_destination(p, o, T_B32, row);
    case 'D': return ptx_destination(p, o, (enum type)double_of[t0], row);
    case 'p': return ptx_destination(p, o, T_PRED, row);
    case 'P':
      if (o->kind == OPERAND_NOTHING) return ptx_destination(p, o, T_PRED, row);
      if (o->kind != OPERAND_REGISTER || o->type != T_PRED) return ptx_operand_wrong(p, o, "a predicate expected as destination");
      if (o->has_pair && o->pair_row != NONE && o->pair_type != T_PRED) return ptx_operand_wrong(p, o, "a predicate expected as second destination");
      *row = o->row;
      if (o->has_pair) *second = o->pair_row;
      return true;
    case 'q': {
      struct operand first = *o;
      first.has_pair = false;
      if (o->has_pair && o->pair_row != NONE && o->pair_type != T_PRED) return ptx_operand_wrong(p, o, "a predicate expected as second destination");
      if (o->has_pair) *second = o->pair_row;
      return ptx_destination(p, &first, t0, row);
    }
    case 'a': return ptx_source(p, o, t0, row);
    case 'A': return ptx_source(p, o, t1, row);
    case 'B': return ptx_source(p, o, t2, row);
    case 'w': return ptx_source(p, o, (enum type)double_of[t0], row);
    case 'u': return ptx_source(p, o, T_B32, row);
    case 'x': return ptx_source(p, o, T_B64, row);
    case 'c': return ptx_predicate(p, o, true, row);
    case 'n':
      if (o->kind != OPERAND_INTEGER) return ptx_operand_wrong(p, o, "a constant expected here");
      *row = (uint32_t)o->value;
      return true;
    default: return ptx_operand_wrong(p, o, "an operand that does not fit the instruction");
  }
}

static unsigned rounding(const struct words *w) {
  return has(w, W_RZ) || has(w, W_RZI)   ? ROUND_ZERO
         : has(w, W_RM) || has(w, W_RMI) ? ROUND_DOWN
         : has(w, W_RP) || has(w, W_RPI) ? ROUND_UP
         : has(w, W_RNA)                 ? ROUND_AWAY
                                         : ROUND_NEAREST;
}

static unsigned comparison(const struct words *w, bool floating) {
  static const enum word words[] = {W_EQ, W_NE, W_LT, W_LE, W_GT, W_GE, W_EQU, W_NEU, W_LTU, W_LEU, W_GTU, W_GEU, W_NUM, W_ISNAN};
  if (!floating) {
    if (has(w, W_LO)) return CMP_LT;
    if (has(w, W_LS)) return CMP_LE;
    if (has(w, W_HI)) return CMP_GT;
    if (has(w, W_HS)) return CMP_GE;
  }
  for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
    if (has(w, words[i])) return i;
  return CMP_EQ;
}

static bool is_half(enum type t) { return t == T_F16 || t == T_F16X2 || t == T_BF16 || t == T_BF16X2; }

/* Copies of f32 sources with subnormals flushed. */
static bool flush(struct parser *p, uint32_t *row) {
  const uint32_t copy = ptx_temporary(p, 4);
  if (!ptx_emit_rows(p, F_FLUSH, T_F32, copy, *row, NONE, NONE)) return false;
  *row = copy;
  return true;
}

static bool comparison_rows(struct parser *p, const struct form *f, enum type type, uint32_t d, uint32_t second, uint32_t a, uint32_t b, uint32_t c) {
  const struct words *w = &f->words;
  const unsigned cmp = comparison(w, ptx_type_class[type] == 'f');
  if (has(w, W_FTZ) && type == T_F32 && (!flush(p, &a) || !flush(p, &b))) return false;
  struct instr *i = ptx_emit_rows(p, is_half(type) ? F_SETP_HALF : (enum family)(F_SETP_EQ + cmp), type, d, a, b, c);
  if (!i) return false;
  i->operation = (uint8_t)cmp;
  i->mode = has(w, W_FTZ) ? MODE_FTZ : 0;
  i->count = has(w, W_AND) ? BOOL_AND : has(w, W_OR) ? BOOL_OR : has(w, W_XOR) ? BOOL_XOR : BOOL_NONE;
  i->e = second;
  return true;
}

static bool set(struct parser *p, const struct form *f, const uint32_t *row) {
  const enum type to = (enum type)f->types[0], from = (enum type)f->types[1];
  const unsigned bytes = ptx_type_bytes[to];
  const uint32_t test = ptx_temporary(p, 0), test2 = f->row->family == F_SET2 ? ptx_temporary(p, 0) : NONE;
  if (!comparison_rows(p, f, from, test, test2, row[1], row[2], f->row->family == F_SET2 ? NONE : row[3])) return false;
  uint64_t one = to == T_F32 ? 0x3f800000 : to == T_F16 || to == T_F16X2 ? 0x3c00 : to == T_BF16 || to == T_BF16X2 ? 0x3f80 : bytes == 2 ? 0xffff : FULL;
  const uint32_t zero = ptx_constant_row(p, bytes, 0, 0);
  if (f->row->family != F_SET2) {
    const uint32_t yes = ptx_constant_row(p, bytes, one, 0);
    return yes != NONE && zero != NONE && ptx_emit_rows(p, F_SELP, bytes == 2 ? T_B16 : T_B32, row[0], yes, zero, test);
  }
  if (to == T_U32 || to == T_S32) one = 0xffff;
  const uint32_t low = ptx_constant_row(p, 4, one, 0), high = ptx_constant_row(p, 4, one << 16, 0), part = ptx_temporary(p, 4), part2 = ptx_temporary(p, 4);
  return low != NONE && high != NONE && zero != NONE && ptx_emit_rows(p, F_SELP, T_B32, part, low, zero, test) &&
         ptx_emit_rows(p, F_SELP, T_B32, part2, high, zero, test2) && ptx_emit_rows(p, F_OR, T_B32, row[0], part, part2, NONE);
}

static bool slct(struct parser *p, const struct form *f, const uint32_t *row) {
  const unsigned bytes = ptx_type_bytes[f->types[0]];
  const uint32_t test = ptx_temporary(p, 0), zero = ptx_constant_row(p, 4, 0, 0);
  uint32_t c = row[3];
  if (f->types[1] == T_F32 && has(&f->words, W_FTZ) && !flush(p, &c)) return false;
  struct instr *i = ptx_emit_rows(p, F_SETP_GE, (enum type)f->types[1], test, c, zero, NONE);
  return i && zero != NONE && ptx_emit_rows(p, F_SELP, bytes == 2 ? T_B16 : bytes == 4 ? T_B32 : T_B64, row[0], row[1], row[2], test);
}

static bool half(struct parser *p, const struct form *f, const uint32_t *row) {
  static const uint8_t operation[F_COUNT] = {[F_FADD] = HALF_ADD, [F_FSUB] = HALF_SUB, [F_FMUL] = HALF_MUL, [F_FFMA] = HALF_FMA, [F_FNEG] = HALF_NEG,
                                             [F_FABS] = HALF_ABS, [F_FMIN] = HALF_MIN, [F_FMAX] = HALF_MAX, [F_EX2] = HALF_EX2, [F_TANH] = HALF_TANH};
  const struct words *w = &f->words;
  struct instr *i = ptx_emit_rows(p, F_HALF, (enum type)f->types[0], row[0], row[1], row[2], row[3]);
  if (!i) return false;
  i->operation = operation[f->row->family];
  i->mode = (uint8_t)((has(w, W_SAT) ? MODE_SAT : 0) | (has(w, W_FTZ) ? MODE_FTZ : 0) | (has(w, W_RELU) ? MODE_RELU : 0));
  i->flags = (uint8_t)((has(w, W_NAN) ? HALF_NAN : 0) | (has(w, W_XORSIGN) ? HALF_XORSIGN : 0));
  return true;
}

static bool floating(struct parser *p, const struct form *f, enum family family, uint32_t *row, unsigned count) {
  const struct words *w = &f->words;
  const enum type type = (enum type)f->types[0];
  const bool ftz = has(w, W_FTZ) && ptx_type_bytes[type] >= 4;
  /* the processor's own flushing does for what it computes itself */
  const bool by_mode = family == F_FADD || family == F_FSUB || family == F_FMUL || family == F_FFMA || family == F_FDIV || family == F_FRCP || family == F_FSQRT;
  if (ftz && !by_mode && type == T_F32)
    for (unsigned i = 1; i < count; i++)
      if (!flush(p, &row[i])) return false;
  if (family == F_FMIN && has(w, W_NAN)) family = F_FMIN_NAN;
  if (family == F_FMAX && has(w, W_NAN)) family = F_FMAX_NAN;
  if ((family == F_FMIN || family == F_FMAX || family == F_FMIN_NAN || family == F_FMAX_NAN) && has(w, W_ABS)) {
    const uint32_t sign = ptx_temporary(p, 4), a = ptx_temporary(p, 4), b = ptx_temporary(p, 4), d = ptx_temporary(p, 4);
    return ptx_emit_rows(p, F_XOR, T_B32, sign, row[1], row[2], NONE) && ptx_emit_rows(p, F_FABS, T_F32, a, row[1], NONE, NONE) &&
           ptx_emit_rows(p, F_FABS, T_F32, b, row[2], NONE, NONE) && ptx_emit_rows(p, family, type, d, a, b, NONE) &&
           ptx_emit_rows(p, F_SIGNXOR, T_F32, row[0], d, sign, NONE);
  }
  if (count == 4 && family != F_FFMA) { /* min and max of three */
    const uint32_t d = ptx_temporary(p, 4);
    return ptx_emit_rows(p, family, type, d, row[1], row[2], NONE) && ptx_emit_rows(p, family, type, row[0], d, row[3], NONE);
  }
  struct instr *i = ptx_emit_rows(p, family, type, row[0], row[1], row[2], row[3]);
  if (!i) return false;
  if (by_mode && !has(w, W_APPROX)) i->float_mode = (uint8_t)(rounding(w) | (ftz ? FMODE_FTZ : 0));
  else if (by_mode && ftz) i->float_mode = FMODE_FTZ;
  if (ftz && !by_mode && type == T_F32 && family != F_FABS && family != F_FNEG && family < F_FMIN)
    if (!ptx_emit_rows(p, F_FLUSH, T_F32, row[0], row[0], NONE, NONE)) return false;
  if (has(w, W_SAT)) return ptx_emit_rows(p, F_SATURATE, type, row[0], row[0], NONE, NONE) != NULL;
  return true;
}

/* --- Conversion ----------------------------------------------------------------------------------------------------------------- */

static bool cvt(struct parser *p, const struct form *f) {
  const struct words *w = &f->words;
  const struct operand *o = p->operands;
  const enum type to = (enum type)f->types[0], from = (enum type)f->types[1];
  const bool plain = !has(w, W_SAT) && !has(w, W_RELU) && !has(w, W_SATFINITE);
  const char tc = ptx_type_class[to], fc = ptx_type_class[from];
  unsigned to_bytes, from_bytes = ptx_type_bytes[from] < 2 ? 2 : ptx_type_bytes[from];
  uint32_t d, a;
  if (p->operand_count != 2u + (f->row->operands[2] == 'f')) return ptx_operand_wrong(p, NULL, "wrong number of operands");
  if (!ptx_destination_relaxed(p, &o[0], to, &to_bytes, &d)) return false;
  struct operand source = o[1];
  if (source.kind == OPERAND_SPECIAL) { /* cvt.u64.u32 %rd, %tid.x */
    const unsigned bytes = ptx_type_bytes[source.type];
    source.row = ptx_temporary(p, bytes);
    struct instr *i = ptx_emit_rows(p, F_SPECIAL, (enum type)source.type, source.row, NONE, NONE, NONE);
    if (!i) return false;
    i->imm = (int64_t)source.value;
    source.kind = OPERAND_REGISTER;
  }
  if (f->row->family == F_CVT && fc != 'f' && tc != 'f' && plain && fc != 'b' && tc != 'b' && source.kind == OPERAND_REGISTER) {
    if (source.has_pair || source.negated || !ptx_operand_fits(from, (enum type)source.type, true)) return ptx_operand_wrong(p, &source, "the register's type does not fit the instruction");
    const unsigned have = ptx_type_bytes[source.type] < 2 ? 2 : ptx_type_bytes[source.type];
    if (have > 8 || to_bytes > 8) return ptx_operand_wrong(p, &source, "the register's type does not fit the instruction");
    return ptx_convert_integer(p, from, have, source.row, to, to_bytes, d);
  }
  if (!ptx_source_relaxed(p, &source, from, &a)) return false;
  const unsigned round = rounding(w);
  enum family fast = F_COUNT;
  if (plain && f->row->family == F_CVT && to_bytes == ptx_type_bytes[to] && !has(w, W_FTZ)) {
    const bool wide_int = fc != 'f' && ptx_type_bytes[from] >= 4;
    if (to == T_F32 && (wide_int || from == T_F64)) fast = F_TO_F32;
    if (to == T_F64 && (wide_int || from == T_F32)) fast = F_TO_F64;
    if (has(w, W_RZI) && from == T_F32 && to == T_S32) fast = F_TRUNC_S32;
    if (has(w, W_RZI) && from == T_F32 && to == T_U32) fast = F_TRUNC_U32;
  }
  struct instr *i;
  if (fast != F_COUNT) {
    i = ptx_emit_rows(p, fast, from, d, a, NONE, NONE);
    if (i && (fast == F_TO_F32 || fast == F_TO_F64)) i->float_mode = (uint8_t)round;
    return i != NULL;
  }
  uint32_t b = NONE;
  if (f->row->operands[2] == 'f' && !ptx_source_relaxed(p, &o[2], from, &b)) return false;
  /* the result first in a register of the type's own width */
  const unsigned own = ptx_type_bytes[to] < 2 ? 2 : ptx_type_bytes[to];
  const uint32_t out = own == to_bytes ? d : ptx_temporary(p, own);
  i = ptx_emit_rows(p, (enum family)f->row->family, to, out, a, b, NONE);
  if (!i) return false;
  i->operation = (uint8_t)from;
  i->mode = (uint8_t)(round | (has(w, W_SAT) ? MODE_SAT : 0) | (has(w, W_FTZ) ? MODE_FTZ : 0) | (has(w, W_RELU) ? MODE_RELU : 0) |
                      (has(w, W_RNI) || has(w, W_RZI) || has(w, W_RMI) || has(w, W_RPI) ? MODE_INTEGRAL : 0) | (has(w, W_SATFINITE) ? MODE_SATFINITE : 0));
  i->width = (uint8_t)from_bytes;
  i->count = (uint8_t)own;
  if (out == d) return true;
  static const uint8_t of[] = {0, T_U8, T_U16, 0, T_U32, 0, 0, 0, T_U64}, signed_of[] = {0, T_S8, T_S16, 0, T_S32, 0, 0, 0, T_S64};
  const enum type result = (enum type)(tc == 's' ? signed_of[own] : of[own]);
  return ptx_convert_integer(p, result, own, out, result, to_bytes, d);
}

/* --- One instruction ---------------------------------------------------------------------------------------------------------------- */

static enum family integer_family(const struct form *f, enum family family) {
  const struct words *w = &f->words;
  switch (family) {
    case F_SHFL_WRAP: return has(w, W_CLAMP) ? F_SHFL_CLAMP : family;
    case F_SHFR_WRAP: return has(w, W_CLAMP) ? F_SHFR_CLAMP : family;
    case F_BFIND: return has(w, W_SHIFTAMT) ? F_BFIND_SHIFT : family;
    case F_BMSK: return has(w, W_WRAP) ? F_BMSK_WRAP : family;
    case F_SZEXT: return has(w, W_WRAP) ? F_SZEXT_WRAP : family;
    case F_ADDC: return has(w, W_CC) ? F_ADDC_CC : family;
    case F_SUBC: return has(w, W_CC) ? F_SUBC_CC : family;
    case F_PRMT:
      return has(w, W_F4E)    ? F_PRMT_F4E
             : has(w, W_B4E)  ? F_PRMT_B4E
             : has(w, W_RC8)  ? F_PRMT_RC8
             : has(w, W_ECL)  ? F_PRMT_ECL
             : has(w, W_ECR)  ? F_PRMT_ECR
             : has(w, W_RC16) ? F_PRMT_RC16
                              : family;
    default: return family;
  }
}

/* mad with carry: the product, then an addition that sets or uses it. */
static bool mad_carry(struct parser *p, const struct form *f, const uint32_t *row) {
  const enum type type = (enum type)f->types[0];
  const uint32_t product = ptx_temporary(p, ptx_type_bytes[type]);
  const bool carries = has(&f->words, W_CC), uses = f->row->family == F_MADC;
  const enum family add = uses ? carries ? F_ADDC_CC : F_ADDC : F_ADDCC;
  return ptx_emit_rows(p, has(&f->words, W_HI) ? F_MULHI : F_MUL, type, product, row[1], row[2], NONE) &&
         ptx_emit_rows(p, add, type, row[0], product, row[3], NONE);
}

static bool bytes_product(struct parser *p, const struct form *f) {
  const struct operand *o = p->operands;
  const bool absolute = f->row->family == F_VABSDIFF4;
  uint32_t d, a, b, c;
  if (p->operand_count < 3 || (p->operand_count != 4 && !absolute)) return ptx_operand_wrong(p, NULL, "wrong number of operands");
  if (!ptx_destination(p, &o[0], T_B32, &d) || !ptx_source(p, &o[1], T_B32, &a) || !ptx_source(p, &o[2], T_B32, &b)) return false;
  c = NONE;
  if (p->operand_count == 4 && !ptx_source(p, &o[3], T_B32, &c)) return false;
  const unsigned first = f->types[absolute ? 1 : 0] == T_S32, second = f->types[absolute ? 2 : 1] == T_S32;
  if (absolute) {
    if (has(&f->words, W_ADD) != (c != NONE) && has(&f->words, W_ADD)) return ptx_operand_wrong(p, NULL, "wrong number of operands");
    struct instr *i = ptx_emit_rows(p, has(&f->words, W_ADD) ? F_VABSDIFF4_ADD : F_VABSDIFF4, T_U32, d, a, b, c);
    if (i) i->mode = (uint8_t)(first * 2 + second);
    return i != NULL;
  }
  const enum family base = f->row->family == F_DP4A ? F_DP4A : F_DP2A;
  struct instr *i = ptx_emit_rows(p, (enum family)(base + first * 2 + second), T_U32, d, a, b, c);
  if (i) i->imm = has(&f->words, W_HI) ? 16 : 0;
  return i != NULL;
}

static bool lop3_bool(struct parser *p, const struct form *f) {
  const struct operand *o = p->operands;
  uint32_t d, a, b, c, q, result;
  if (p->operand_count != 6 || o[4].kind != OPERAND_INTEGER) return ptx_operand_wrong(p, NULL, "wrong operands");
  struct operand first = o[0];
  if (first.kind != OPERAND_REGISTER || !first.has_pair || first.pair_type != T_PRED) return ptx_operand_wrong(p, &o[0], "a destination d|p expected");
  first.has_pair = false;
  if (!ptx_destination(p, &first, T_B32, &d) || !ptx_source(p, &o[1], T_B32, &a) || !ptx_source(p, &o[2], T_B32, &b) ||
      !ptx_source(p, &o[3], T_B32, &c) || !ptx_predicate(p, &o[5], true, &q))
    return false;
  result = ptx_temporary(p, 4);
  struct instr *i = ptx_emit_rows(p, F_LOP3, T_B32, result, a, b, c);
  if (!i) return false;
  i->imm = (int64_t)(o[4].value & 255);
  i = ptx_emit_rows(p, F_SETP_NE, T_B32, first.pair_row, result, ptx_constant_row(p, 4, 0, 0), q);
  if (!i) return false;
  i->count = has(&f->words, W_AND) ? BOOL_AND : BOOL_OR;
  return ptx_emit_rows(p, F_MOV, T_B32, d, result, NONE, NONE) != NULL;
}

bool ptx_decode(struct parser *p, const struct form *f) {
  bool good;
  memset(p->temporary_used, 0, sizeof p->temporary_used);
  if (ptx_decode_memory(p, f, &good) || ptx_decode_control(p, f, &good)) return good;
  const enum family family = (enum family)f->row->family;
  if (family == F_CVT || family == F_CVT2) return cvt(p, f);
  if (family == F_DP4A || family == F_DP2A || family == F_VABSDIFF4) return bytes_product(p, f);
  if (family == F_LOP3BOOL) return lop3_bool(p, f);
  /* a hint: whatever it names */
  if (family == F_NOTHING) return ptx_emit_rows(p, F_NOTHING, T_NONE, NONE, NONE, NONE, NONE) != NULL;
  const enum type type = f->type_count ? (enum type)f->types[0] : T_NONE;
  uint32_t row[6] = {NONE, NONE, NONE, NONE, NONE, NONE}, second = NONE;
  const char *signature = f->row->operands;
  unsigned n = 0;
  bool optional = false;
  for (; *signature; signature++) {
    if (*signature == '?') {
      optional = true;
      continue;
    }
    if (n == p->operand_count) break;
    if (!row_for(p, *signature, &p->operands[n], f, &row[n], &second)) return false;
    n++;
  }
  if (n < p->operand_count || (*signature && !optional)) return ptx_operand_wrong(p, NULL, "wrong number of operands");
  switch (family) {
    case F_SETP: {
      return comparison_rows(p, f, type, row[0], second, row[1], row[2], row[3]);
    }
    case F_SET:
    case F_SET2: return set(p, f, row);
    case F_SLCT: return slct(p, f, row);
    case F_SELP: return ptx_emit_rows(p, F_SELP, ptx_type_bytes[type] == 2 ? T_B16 : ptx_type_bytes[type] == 4 ? T_B32 : T_B64, row[0], row[1], row[2], row[3]) != NULL;
    case F_MADCC:
    case F_MADC: return mad_carry(p, f, row);
    case F_TESTP: {
      struct instr *i = ptx_emit_rows(p, F_TESTP, type, row[0], row[1], NONE, NONE);
      if (!i) return false;
      static const enum word tests[] = {W_FINITE, W_INFINITE, W_NUMBER, W_NOTANUMBER, W_NORMAL, W_SUBNORMAL};
      for (unsigned k = 0; k < 6; k++)
        if (has(&f->words, tests[k])) i->operation = (uint8_t)k;
      return true;
    }
    case F_MIN:
    case F_MAX:
      if (!ptx_emit_rows(p, family, type, row[0], row[1], row[2], NONE)) return false;
      return !has(&f->words, W_RELU) || ptx_emit_rows(p, F_RELU, type, row[0], row[0], NONE, NONE);
    default: break;
  }
  if (family >= F_FADD && family <= F_COPYSIGN) return is_half(type) ? half(p, f, row) : floating(p, f, family, row, n);
  struct instr *i = ptx_emit_rows(p, integer_family(f, family), type, row[0], row[1], row[2], row[3]);
  if (!i) return false;
  i->e = row[4];
  if (family == F_LOP3) i->imm = row[4] & 255;
  return true;
}
