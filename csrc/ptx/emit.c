/* Emitting instructions, and operands turned into rows of the frame. */
#include "internal.h"

#include <stdlib.h>

/* --- Emitting ------------------------------------------------------------------------------------------------------------------ */

struct instr *ptx_emit(struct parser *p, enum family family, enum type type) {
  if (!GROW(p->code, p->code_capacity, p->code_count)) {
    ptx_fail(p, PTX_ERROR_MEMORY, p->statement_line, "", 0, "out of memory");
    return NULL;
  }
  struct instr *i = &p->code[p->code_count++];
  *i = (struct instr){.family = (uint8_t)family, .type = (uint8_t)type, .d = NONE, .a = NONE, .b = NONE, .c = NONE, .e = NONE,
                      .guard = NONE, .line = p->statement_line, .source = (uint16_t)p->source};
  if (family == F_LABEL) return i;
  if (p->has_guard) i->guard = p->guard.row | (p->guard.negated ? 2u : 0);
  i->counted = p->statement_first == NONE;
  p->statement_first = p->code_count - 1;
  return i;
}

struct instr *ptx_emit_rows(struct parser *p, enum family family, enum type type, uint32_t d, uint32_t a, uint32_t b, uint32_t c) {
  struct instr *i = ptx_emit(p, family, type);
  if (i) i->d = d, i->a = a, i->b = b, i->c = c;
  return i;
}

static unsigned class_of_bytes(unsigned bytes) { return bytes == 0 ? 0 : bytes <= 2 ? 1 : bytes == 4 ? 2 : bytes == 8 ? 3 : 4; }

uint32_t ptx_temporary(struct parser *p, unsigned bytes) {
  static const uint8_t types[] = {T_PRED, T_B16, T_B32, T_B64, T_B128};
  const unsigned k = class_of_bytes(bytes);
  if (p->temporary_used[k] == 12) p->temporary_used[k] = 0; /* no statement has so many */
  const unsigned n = p->temporary_used[k]++;
  if (n >= p->temporary_made[k]) {
    p->temporary[k][n] = ptx_row_new(p, types[k]);
    p->temporary_made[k] = (uint8_t)(n + 1);
  }
  return p->temporary[k][n];
}

/* --- Operands ------------------------------------------------------------------------------------------------------------------- */

bool ptx_operand_wrong(struct parser *p, const struct operand *o, const char *text) {
  const char *const spelling = o ? o->text : p->spelling;
  return ptx_fail(p, PTX_ERROR_TYPE, p->statement_line, spelling ? spelling : "", o ? o->length : p->spelling_length, text);
}

/* Does a register of type `reg` fit an operand of type `type`? */
bool ptx_operand_fits(enum type type, enum type reg, bool relaxed) {
  const char t = ptx_type_class[type], r = ptx_type_class[reg];
  const unsigned need = ptx_type_bytes[type], have = ptx_type_bytes[reg];
  if (t == 'p' || r == 'p') return t == r;
  if (have < need || (have > need && !relaxed)) return false;
  if (t == 'f') return r == 'b' ? have == need : reg == type;
  if (t == 'b') return r != 'f' || have == need;
  return r != 'f';
}

bool ptx_destination(struct parser *p, const struct operand *o, enum type type, uint32_t *row) {
  if (o->kind == OPERAND_NOTHING) {
    *row = ptx_temporary(p, ptx_type_bytes[type]);
    return true;
  }
  if (o->kind != OPERAND_REGISTER || o->negated) return ptx_operand_wrong(p, o, "a register expected as destination");
  if (!ptx_operand_fits(type, o->type, false)) return ptx_operand_wrong(p, o, "the register's type does not fit the instruction");
  *row = o->row;
  return true;
}

static bool immediate(struct parser *p, const struct operand *o, enum type type, uint32_t *row) {
  const unsigned bytes = ptx_type_bytes[type];
  uint64_t bits = o->value;
  if (o->kind == OPERAND_INTEGER) {
    if (type == T_F32 || type == T_F64) return ptx_operand_wrong(p, o, "an integer stands where a floating point number belongs");
    *row = ptx_constant_row(p, bytes, bits, (int64_t)bits < 0 ? UINT64_MAX : 0);
    return *row != NONE;
  }
  if (type == T_PRED || bytes < 4 || ptx_type_class[type] == 'u' || ptx_type_class[type] == 's' || type == T_F16X2 || type == T_BF16X2)
    return ptx_operand_wrong(p, o, "a floating point number does not fit the instruction");
  if (o->kind == OPERAND_F64 && bytes == 4) {
    double d;
    float s;
    memcpy(&d, &bits, 8);
    s = (float)d;
    uint32_t b;
    memcpy(&b, &s, 4);
    bits = b;
  } else if (o->kind == OPERAND_F32 && type == T_F64) {
    const uint32_t b = (uint32_t)bits;
    float s;
    memcpy(&s, &b, 4);
    const double d = s;
    memcpy(&bits, &d, 8);
  }
  *row = ptx_constant_row(p, bytes, bits, 0);
  return *row != NONE;
}

bool ptx_predicate(struct parser *p, const struct operand *o, bool may_be_negated, uint32_t *row) {
  if (o->kind == OPERAND_INTEGER) {
    *row = ptx_constant_row(p, 0, o->value & 1, 0);
    return *row != NONE;
  }
  if (o->kind != OPERAND_REGISTER || o->type != T_PRED) return ptx_operand_wrong(p, o, "a predicate expected here");
  *row = o->row;
  if (!o->negated) return true;
  if (!may_be_negated) return ptx_operand_wrong(p, o, "this predicate cannot be negated");
  *row = ptx_temporary(p, 0);
  return ptx_emit_rows(p, F_NOT, T_PRED, *row, o->row, NONE, NONE) != NULL;
}

bool ptx_source(struct parser *p, const struct operand *o, enum type type, uint32_t *row) {
  if (type == T_PRED) return ptx_predicate(p, o, true, row);
  if (o->negated) return ptx_operand_wrong(p, o, "only predicates can be negated");
  switch (o->kind) {
    case OPERAND_REGISTER:
      if (o->has_pair || !ptx_operand_fits(type, o->type, false)) return ptx_operand_wrong(p, o, "the register's type does not fit the instruction");
      *row = o->row;
      return true;
    case OPERAND_INTEGER:
    case OPERAND_F32:
    case OPERAND_F64: return immediate(p, o, type, row);
    default: return ptx_operand_wrong(p, o, "a register or a number expected here");
  }
}

bool ptx_convert_integer(struct parser *p, enum type source, unsigned from, uint32_t a, enum type target, unsigned to, uint32_t d) {
  static const uint8_t unsigned_of[] = {0, T_U8, T_U16, 0, T_U32, 0, 0, 0, T_U64}, signed_of[] = {0, T_S8, T_S16, 0, T_S32, 0, 0, 0, T_S64};
  static const uint8_t to_family[] = {0, 0, F_TO_U16, 0, F_TO_U32, 0, 0, 0, F_TO_U64};
  unsigned have = from < 2 ? 2 : from, S = ptx_type_bytes[source], D = ptx_type_bytes[target];
  bool is_signed = ptx_type_class[source] == 's';
  if (to < 2) to = 2;
  struct {
    uint8_t family, type, bytes;
  } step[6];
  unsigned n = 0;
#define STEP(f, t, b) (step[n].family = (uint8_t)(f), step[n].type = (uint8_t)(t), step[n].bytes = (uint8_t)(b), n++, have = (b))
  const unsigned wanted = S < 2 ? 2 : S;
  if (have > wanted) STEP(to_family[wanted], unsigned_of[have], wanted);
  if (S == 1) STEP(is_signed ? F_WIDEN_S8 : F_WIDEN_U8, T_U16, 2);
  const unsigned middle = D < 2 ? 2 : D;
  const bool target_signed = ptx_type_class[target] == 's';
  if (D >= to && have < to) {
    STEP(to_family[to], is_signed ? signed_of[have] : unsigned_of[have], to);
  } else {
    if (have != middle) STEP(to_family[middle], is_signed ? signed_of[have] : unsigned_of[have], middle);
    if (D == 1 && !(S == 1 && is_signed == target_signed)) STEP(target_signed ? F_WIDEN_S8 : F_WIDEN_U8, T_U16, 2);
    if (have < to) STEP(to_family[to], target_signed ? signed_of[have] : unsigned_of[have], to);
  }
#undef STEP
  if (!n) return ptx_emit_rows(p, F_MOV, unsigned_of[to], d, a, NONE, NONE) != NULL;
  for (unsigned i = 0; i < n; i++) {
    const uint32_t out = i + 1 == n ? d : ptx_temporary(p, step[i].bytes);
    if (!ptx_emit_rows(p, (enum family)step[i].family, (enum type)step[i].type, out, a, NONE, NONE)) return false;
    a = out;
  }
  return true;
}

/* A source whose register may be wider than the type: its low part. */
bool ptx_source_relaxed(struct parser *p, const struct operand *o, enum type type, uint32_t *row) {
  if (o->kind != OPERAND_REGISTER) return ptx_source(p, o, type == T_U8 || type == T_S8 || type == T_B8 ? T_B16 : type, row);
  const unsigned bytes = ptx_type_bytes[type], have = ptx_type_bytes[o->type], wanted = bytes < 2 ? 2 : bytes;
  static const uint8_t of[] = {0, T_U8, T_U16, 0, T_U32, 0, 0, 0, T_U64};
  if (o->has_pair || o->negated || !ptx_operand_fits(type, o->type, true)) return ptx_operand_wrong(p, o, "the register's type does not fit the instruction");
  *row = o->row;
  if (have <= wanted) return true;
  if (have > 8) return ptx_operand_wrong(p, o, "the register's type does not fit the instruction");
  *row = ptx_temporary(p, wanted);
  return ptx_convert_integer(p, (enum type)of[have], have, o->row, (enum type)of[wanted], wanted, *row);
}

bool ptx_destination_relaxed(struct parser *p, const struct operand *o, enum type type, unsigned *bytes, uint32_t *row) {
  if (o->kind == OPERAND_NOTHING) {
    *bytes = ptx_type_bytes[type] < 2 ? 2 : ptx_type_bytes[type];
    *row = ptx_temporary(p, *bytes);
    return true;
  }
  if (o->kind != OPERAND_REGISTER || o->negated || o->has_pair) return ptx_operand_wrong(p, o, "a register expected as destination");
  if (!ptx_operand_fits(type, o->type, true)) return ptx_operand_wrong(p, o, "the register's type does not fit the instruction");
  *bytes = ptx_type_bytes[o->type] < 2 ? 2 : ptx_type_bytes[o->type];
  *row = o->row;
  return true;
}
