/* Instructions decoded: moves, addresses, loads, stores, atomics, barriers in memory. */
#include "internal.h"

static unsigned space_of(const struct words *w) {
  return has(w, W_GLOBAL) ? SPACE_GLOBAL : has(w, W_SHARED) ? SPACE_SHARED : has(w, W_LOCAL) ? SPACE_LOCAL : has(w, W_PARAM) ? SPACE_PARAM
         : has(w, W_CONST) ? SPACE_CONST : SPACE_GENERIC;
}

static unsigned order_of(const struct words *w) {
  return has(w, W_MMIO) ? ORDER_MMIO : has(w, W_VOLATILE) ? ORDER_VOLATILE : has(w, W_ACQ_REL) ? ORDER_ACQ_REL : has(w, W_ACQUIRE) ? ORDER_ACQUIRE
         : has(w, W_RELEASE) ? ORDER_RELEASE : has(w, W_RELAXED) ? ORDER_RELAXED : ORDER_WEAK;
}

static unsigned scope_of(const struct words *w) {
  return has(w, W_CTA) ? SCOPE_CTA : has(w, W_CLUSTER) ? SCOPE_CLUSTER : has(w, W_GPU) || has(w, W_GL) ? SCOPE_GPU : SCOPE_SYS;
}

static bool no_addend(struct parser *p, uint32_t *row, int64_t addend, unsigned bytes) {
  if (!addend) return true;
  const uint32_t sum = ptx_temporary(p, bytes), constant = ptx_constant_row(p, bytes, (uint64_t)addend, 0);
  if (constant == NONE || !ptx_emit_rows(p, F_ADD, bytes == 8 ? T_U64 : T_U32, sum, *row, constant, NONE)) return false;
  *row = sum;
  return true;
}

/* Register, address of a symbol and constant, into a, imm, flags and space. May emit what computes them. */
bool ptx_address(struct parser *p, const struct operand *o, uint8_t space, struct instr *out) {
  out->a = NONE;
  out->imm = o->offset;
  out->flags = 0;
  if (o->kind != OPERAND_ADDRESS) return ptx_operand_wrong(p, o, "an address in brackets expected here");
  if (!o->symbol) {
    out->a = o->row;
    if (o->row != NONE && ptx_type_bytes[o->type] == 4) out->flags |= FLAG_ADDRESS32;
    if (o->row != NONE && (ptx_type_class[o->type] == 'f' || ptx_type_bytes[o->type] > 8))
      return ptx_operand_wrong(p, o, "is not a register for addresses");
    out->space = space;
    return true;
  }
  struct symbol *s = o->symbol;
  if (s->kind != SYMBOL_VARIABLE) return ptx_operand_wrong(p, o, "is not a variable");
  const uint8_t own = s->parameter && !s->kernel_parameter ? SPACE_PARAM : s->space;
  if (space == SPACE_GENERIC) space = own;
  if (space != own) return ptx_operand_wrong(p, o, "is a variable of another state space");
  out->space = space;
  switch (own) {
    case SPACE_SHARED:
      if (!s->dynamic) break;
      {
        const uint32_t base = ptx_temporary(p, 4);
        struct instr *i = ptx_emit_rows(p, F_SPECIAL, T_U32, base, NONE, NONE, NONE);
        if (!i) return false;
        i->imm = SPECIAL_DYNAMIC;
        p->function->uses_common |= !p->function->entry;
        out->a = base;
        out->flags |= FLAG_ADDRESS32;
        return true;
      }
    case SPACE_LOCAL:
      out->flags |= FLAG_FRAME;
      out->imm += (int64_t)s->address;
      return true;
    case SPACE_PARAM:
      out->imm += (int64_t)s->address;
      if (s->kernel_parameter) return true;
      out->flags |= FLAG_FRAME; /* a frame's parameters lie in local memory */
      out->space = SPACE_LOCAL;
      return true;
    default: break;
  }
  out->mode = 1; /* relocate: see with_address */
  return true;
}

/* Copies the address into the instruction and asks for its relocation. */
static bool with_address(struct parser *p, struct instr *i, const struct instr *address, const struct operand *o) {
  i->a = address->a;
  i->imm = address->imm;
  i->flags |= address->flags;
  i->space = address->space;
  return !address->mode || ptx_relocate(p, p->function, (uint32_t)(i - p->code), o->symbol, o->offset);
}

/* --- mov ------------------------------------------------------------------------------------------------------------------------ */

static bool move_symbol(struct parser *p, const struct operand *o, enum type type, uint32_t d) {
  struct symbol *s = o->symbol;
  const unsigned bytes = ptx_type_bytes[type];
  struct instr *i;
  if (bytes != 8 && bytes != 4) return ptx_operand_wrong(p, o, "an address takes 32 or 64 bits");
  const enum type same = bytes == 8 ? T_U64 : T_U32;
  if (s->kind == SYMBOL_VARIABLE && s->dynamic) {
    uint32_t base = o->offset ? ptx_temporary(p, bytes) : d;
    if (!(i = ptx_emit_rows(p, F_SPECIAL, same, base, NONE, NONE, NONE))) return false;
    i->imm = SPECIAL_DYNAMIC;
    p->function->uses_common |= !p->function->entry;
    return !o->offset || (no_addend(p, &base, o->offset, bytes) && ptx_emit_rows(p, F_MOV, same, d, base, NONE, NONE));
  }
  if (s->kind == SYMBOL_VARIABLE && (s->space == SPACE_LOCAL || (s->space == SPACE_PARAM && !s->kernel_parameter))) {
    if (!(i = ptx_emit_rows(p, F_LOCALADDR, same, d, NONE, NONE, NONE))) return false;
    i->imm = (int64_t)s->address + o->offset;
    return true;
  }
  uint32_t row;
  if (s->kind == SYMBOL_VARIABLE && s->kernel_parameter) row = ptx_constant_row(p, bytes, s->address + (uint64_t)o->offset, 0);
  else if (s->kind == SYMBOL_VARIABLE || s->kind == SYMBOL_FUNCTION) row = ptx_symbol_row(p, s, o->offset, bytes);
  else return ptx_operand_wrong(p, o, "has no address");
  return row != NONE && ptx_emit_rows(p, F_MOV, same, d, row, NONE, NONE) != NULL;
}

static enum type unsigned_type(unsigned bytes) { return bytes == 0 ? T_PRED : bytes == 2 ? T_U16 : bytes == 4 ? T_U32 : bytes == 8 ? T_U64 : T_B128; }

static bool pack(struct parser *p, enum type type, const struct operand *whole, const struct operand *parts, bool unpack) {
  const unsigned bytes = ptx_type_bytes[type], count = parts->count, part = count ? bytes / count : 0;
  if ((count != 2 && count != 4) || part < 1 || ptx_type_class[type] == 'p') return ptx_operand_wrong(p, parts, "the elements do not make up the whole");
  const enum type element = part == 1 ? T_B8 : part == 2 ? T_B16 : part == 4 ? T_B32 : T_B64;
  uint32_t *more = ptx_arena(&p->module->arena, count * sizeof *more), row;
  if (!more) return ptx_fail(p, PTX_ERROR_MEMORY, p->statement_line, "", 0, "out of memory");
  if (unpack ? !ptx_source(p, whole, type, &row) : !ptx_destination(p, whole, type, &row)) return false;
  for (unsigned k = 0; k < count; k++) {
    const struct operand *o = &parts->elements[k];
    more[k] = NONE;
    if (unpack && o->kind == OPERAND_NOTHING) continue;
    if (part == 1 && o->kind == OPERAND_REGISTER && ptx_type_bytes[o->type] != 1) return ptx_operand_wrong(p, o, "the register's type does not fit the instruction");
    if (unpack ? !ptx_destination(p, o, element, &more[k]) : !ptx_source(p, o, element, &more[k])) return false;
  }
  struct instr *i = ptx_emit_rows(p, unpack ? F_UNPACK : F_PACK, unsigned_type(part < 2 ? 2 : part), unpack ? NONE : row, unpack ? row : NONE, NONE, NONE);
  if (!i) return false;
  i->more = more;
  i->count = (uint8_t)count;
  i->width = (uint8_t)part;
  return true;
}

static bool mov(struct parser *p, const struct form *f) {
  const enum type type = (enum type)f->types[0];
  const struct operand *o = p->operands;
  uint32_t d, a;
  if (p->operand_count != 2) return ptx_operand_wrong(p, NULL, "wrong number of operands");
  if (o[0].kind == OPERAND_VECTOR && o[1].kind == OPERAND_SPECIAL && o[0].count == 4) return ptx_operand_wrong(p, &o[0], "vector forms of special registers are not there");
  if (o[0].kind == OPERAND_VECTOR) return pack(p, type, &o[1], &o[0], true);
  if (o[1].kind == OPERAND_VECTOR) return pack(p, type, &o[0], &o[1], false);
  if (!ptx_destination(p, &o[0], type, &d)) return false;
  if (o[1].kind == OPERAND_SYMBOL) return move_symbol(p, &o[1], type, d);
  if (o[1].kind == OPERAND_SPECIAL) {
    if (ptx_type_bytes[o[1].type] != ptx_type_bytes[type] || ptx_type_class[type] == 'f')
      return ptx_operand_wrong(p, &o[1], "the special register's type does not fit the instruction");
    struct instr *i = ptx_emit_rows(p, F_SPECIAL, ptx_type_bytes[type] == 0 ? T_PRED : (enum type)o[1].type, d, NONE, NONE, NONE);
    if (i) i->imm = (int64_t)o[1].value;
    return i != NULL;
  }
  return ptx_source(p, &o[1], type, &a) && ptx_emit_rows(p, F_MOV, unsigned_type(ptx_type_bytes[type] < 2 && type != T_PRED ? 2 : ptx_type_bytes[type]), d, a, NONE, NONE) != NULL;
}

/* --- ld, st ----------------------------------------------------------------------------------------------------------------------- */

static const uint8_t by_width_unsigned[] = {0, T_U8, T_U16, 0, T_U32, 0, 0, 0, T_U64, 0, 0, 0, 0, 0, 0, 0, T_B128};

static unsigned vector_of(const struct words *w) { return has(w, W_V2) ? 2 : has(w, W_V4) ? 4 : has(w, W_V8) ? 8 : 1; }

static bool check_vector(struct parser *p, unsigned n, unsigned width, const struct operand *o) {
  if (n > 1 && (o->kind != OPERAND_VECTOR || o->count != n)) return ptx_operand_wrong(p, o, "a vector of as many registers as the instruction says expected here");
  if (n * width > 32 || (n == 8 && width < 4) || (n * width == 32 && p->target < 100)) return ptx_operand_wrong(p, o, "the vector is too wide");
  return true;
}

static bool load(struct parser *p, const struct form *f) {
  const struct words *w = &f->words;
  const enum type type = (enum type)f->types[0];
  const unsigned n = vector_of(w), width = ptx_type_bytes[type], order = order_of(w);
  const struct operand *o = p->operands;
  struct operand single;
  if (p->operand_count < 2 || p->operand_count > 2u + (f->row->operands[2] == '?')) return ptx_operand_wrong(p, NULL, "wrong number of operands");
  if (!check_vector(p, n, width, &o[0])) return false;
  const struct operand *targets = &o[0];
  if (n > 1) targets = o[0].elements;
  else if (o[0].kind == OPERAND_VECTOR && o[0].count == 1) { /* written by some compilers */
    single = o[0].elements[0];
    targets = &single;
  }
  uint32_t rows[8], finals[8];
  unsigned bytes[8];
  struct instr address = {0};
  if (!ptx_address(p, &o[1], (uint8_t)space_of(w), &address)) return false;
  const unsigned own = width < 2 ? 2 : width;
  for (unsigned k = 0; k < n; k++) {
    if (!ptx_destination_relaxed(p, &targets[k], type, &bytes[k], &finals[k])) return false;
    if (bytes[k] > 8 && bytes[k] != own) return ptx_operand_wrong(p, &targets[k], "the register's type does not fit the instruction");
    rows[k] = bytes[k] == own && type != T_S8 ? finals[k] : ptx_temporary(p, own);
  }
  const uint8_t space = address.space;
  if (space == SPACE_PARAM && order != ORDER_WEAK) return ptx_operand_wrong(p, NULL, "parameters have no strong accesses");
  const bool plain = order == ORDER_WEAK && n == 1 && width <= 8;
  const enum family family = !plain ? F_LD_ANY : space == SPACE_SHARED ? F_LD_SHARED : space == SPACE_LOCAL ? F_LD_LOCAL : space == SPACE_PARAM ? F_LD_PARAM : F_LD;
  struct instr *i = ptx_emit_rows(p, family, (enum type)by_width_unsigned[width], rows[0], NONE, NONE, NONE);
  if (!i || !with_address(p, i, &address, &o[1])) return false;
  i->width = (uint8_t)width;
  i->count = (uint8_t)n;
  i->order = (uint8_t)order;
  i->scope = (uint8_t)scope_of(w);
  if (n > 1) {
    i->more = ptx_arena(&p->module->arena, n * sizeof *i->more);
    if (!i->more) return ptx_fail(p, PTX_ERROR_MEMORY, p->statement_line, "", 0, "out of memory");
    memcpy(i->more, rows, n * sizeof *rows);
  }
  const bool is_signed = ptx_type_class[type] == 's';
  static const uint8_t signed_of[] = {0, T_S8, T_S16, 0, T_S32, 0, 0, 0, T_S64};
  for (unsigned k = 0; k < n; k++) {
    if (rows[k] == finals[k]) continue;
    const enum type source = (enum type)(is_signed ? signed_of[width] : by_width_unsigned[width]);
    /* s8 into 16 bits and more: the sign of the type */
    if (!ptx_convert_integer(p, source, own, rows[k], bytes[k] == own ? source : (enum type)(is_signed ? signed_of[bytes[k]] : by_width_unsigned[bytes[k]]), bytes[k], finals[k])) return false;
  }
  return true;
}

static bool store(struct parser *p, const struct form *f) {
  const struct words *w = &f->words;
  const enum type type = (enum type)f->types[0];
  const unsigned n = vector_of(w), width = ptx_type_bytes[type], order = order_of(w);
  const struct operand *o = p->operands;
  uint32_t rows[8];
  struct instr address = {0};
  if (p->operand_count < 2 || p->operand_count > 2u + (f->row->operands[2] == '?')) return ptx_operand_wrong(p, NULL, "wrong number of operands");
  if (!check_vector(p, n, width, &o[1])) return false;
  const struct operand *sources = n > 1 || (o[1].kind == OPERAND_VECTOR && o[1].count == 1) ? o[1].elements : &o[1];
  if (!ptx_address(p, &o[0], (uint8_t)space_of(w), &address)) return false;
  if (address.space == SPACE_PARAM || address.space == SPACE_CONST) return ptx_operand_wrong(p, &o[0], "this state space is read-only");
  for (unsigned k = 0; k < n; k++)
    if (!ptx_source_relaxed(p, &sources[k], type, &rows[k])) return false;
  const bool plain = order == ORDER_WEAK && n == 1 && width <= 8;
  const enum family family = !plain ? F_ST_ANY : address.space == SPACE_SHARED ? F_ST_SHARED : address.space == SPACE_LOCAL ? F_ST_LOCAL : F_ST;
  struct instr *i = ptx_emit_rows(p, family, (enum type)by_width_unsigned[width], NONE, NONE, rows[0], NONE);
  if (!i || !with_address(p, i, &address, &o[0])) return false;
  i->width = (uint8_t)width;
  i->count = (uint8_t)n;
  i->order = (uint8_t)order;
  i->scope = (uint8_t)scope_of(w);
  if (n == 1) return true;
  i->more = ptx_arena(&p->module->arena, n * sizeof *i->more);
  if (!i->more) return ptx_fail(p, PTX_ERROR_MEMORY, p->statement_line, "", 0, "out of memory");
  memcpy(i->more, rows, n * sizeof *rows);
  return true;
}

/* --- Atomics and their like --------------------------------------------------------------------------------------------------------- */

static bool atomic(struct parser *p, const struct form *f) {
  static const enum word words[] = {W_ADD, W_INC, W_DEC, W_MIN, W_MAX, W_AND, W_OR, W_XOR, W_EXCH, W_CAS};
  const struct words *w = &f->words;
  const enum type type = (enum type)f->types[0];
  const struct operand *o = p->operands;
  const bool red = !memcmp(f->spelling, "red.", 4), vector = f->row->family == F_ATOMV;
  unsigned operation = 0;
  for (unsigned k = 0; k < sizeof words / sizeof words[0]; k++)
    if (has(w, words[k])) operation = k;
  const unsigned wanted = 2u + !red + (operation == ATOM_CAS);
  if (p->operand_count != wanted && p->operand_count != wanted + 1) return ptx_operand_wrong(p, NULL, "wrong number of operands");
  const unsigned n = vector_of(w), width = ptx_type_bytes[type];
  const struct operand *target = red ? NULL : &o[0], *at = &o[!red], *value = &o[1 + !red];
  struct instr address = {0};
  uint32_t d = NONE, b = NONE, c = NONE, *more = NULL;
  if (!ptx_address(p, at, (uint8_t)space_of(w), &address)) return false;
  if (address.space == SPACE_LOCAL || address.space == SPACE_PARAM || address.space == SPACE_CONST) return ptx_operand_wrong(p, at, "atomics are not for this state space");
  if (vector) {
    more = ptx_arena(&p->module->arena, 2 * n * sizeof *more);
    if (!more) return ptx_fail(p, PTX_ERROR_MEMORY, p->statement_line, "", 0, "out of memory");
    if (value->kind != OPERAND_VECTOR || value->count != n || (target && (target->kind != OPERAND_VECTOR || target->count != n)) || n * width > 16)
      return ptx_operand_wrong(p, value, "a vector of as many registers as the instruction says expected here");
    for (unsigned k = 0; k < n; k++) {
      if (!ptx_source(p, &value->elements[k], type, &more[k])) return false;
      more[n + k] = NONE;
      if (target && target->elements[k].kind != OPERAND_NOTHING && !ptx_destination(p, &target->elements[k], type, &more[n + k])) return false;
    }
  } else {
    if (target && target->kind != OPERAND_NOTHING && !ptx_destination(p, target, type, &d)) return false;
    if (!ptx_source(p, value, type, &b)) return false;
    if (operation == ATOM_CAS && !ptx_source(p, value + 1, type, &c)) return false;
  }
  struct instr *i = ptx_emit_rows(p, vector ? F_ATOMV : F_ATOM, type, d, NONE, b, c);
  if (!i || !with_address(p, i, &address, at)) return false;
  i->operation = (uint8_t)operation;
  i->width = (uint8_t)width;
  i->count = (uint8_t)n;
  i->more = more;
  i->order = (uint8_t)order_of(w);
  if (i->order == ORDER_WEAK) i->order = ORDER_RELAXED;
  i->scope = (uint8_t)(has(w, W_SYS) || has(w, W_CTA) || has(w, W_CLUSTER) ? scope_of(w) : SCOPE_GPU);
  return true;
}

static bool cvta(struct parser *p, const struct form *f) {
  const struct operand *o = p->operands;
  const enum type type = (enum type)f->types[0];
  const unsigned space = space_of(&f->words), bytes = ptx_type_bytes[type];
  const bool to = has(&f->words, W_TO);
  uint32_t d, a;
  if (p->operand_count != 2) return ptx_operand_wrong(p, NULL, "wrong number of operands");
  if (!ptx_destination(p, &o[0], type, &d)) return false;
  if (o[1].kind == OPERAND_SYMBOL) {
    a = ptx_temporary(p, bytes);
    if (!move_symbol(p, &o[1], type, a)) return false;
  } else if (!ptx_source(p, &o[1], type, &a)) {
    return false;
  }
  const uint64_t window = space == SPACE_SHARED ? PTX_SHARED_WINDOW : space == SPACE_LOCAL ? PTX_LOCAL_WINDOW : space == SPACE_PARAM ? PTX_PARAM_WINDOW : 0;
  /* a .func parameter's address is one of local memory */
  const uint64_t real = space == SPACE_PARAM && p->function && !p->function->entry ? PTX_LOCAL_WINDOW : window;
  if (!real) return ptx_emit_rows(p, F_MOV, bytes == 8 ? T_U64 : T_U32, d, a, NONE, NONE) != NULL;
  const uint32_t constant = ptx_constant_row(p, bytes, real, 0);
  return constant != NONE && ptx_emit_rows(p, to ? F_SUB : F_ADD, bytes == 8 ? T_U64 : T_U32, d, a, constant, NONE) != NULL;
}

static bool isspacep(struct parser *p, const struct form *f) {
  const struct operand *o = p->operands;
  uint32_t d, a;
  if (p->operand_count != 2) return ptx_operand_wrong(p, NULL, "wrong number of operands");
  if (!ptx_destination(p, &o[0], T_PRED, &d) || !ptx_source(p, &o[1], T_B64, &a)) return false;
  struct instr *i = ptx_emit_rows(p, F_ISSPACEP, T_U64, d, a, NONE, NONE);
  if (i) i->space = (uint8_t)space_of(&f->words);
  return i != NULL;
}

/* cp.async [dst], [src], size{, src-size}{, policy}. imm and a are the destination, b and c the source and its size. */
static bool copy_async(struct parser *p) {
  const struct operand *o = p->operands;
  struct instr to = {0}, from = {0};
  uint32_t size = NONE, source;
  if (p->operand_count < 3 || p->operand_count > 5 || o[2].kind != OPERAND_INTEGER) return ptx_operand_wrong(p, NULL, "wrong operands");
  const uint64_t bytes = o[2].value;
  if (bytes != 4 && bytes != 8 && bytes != 16) return ptx_operand_wrong(p, &o[2], "a size of 4, 8 or 16 expected here");
  if (!ptx_address(p, &o[0], SPACE_SHARED, &to) || !ptx_address(p, &o[1], SPACE_GLOBAL, &from)) return false;
  if (from.mode) { /* a variable's address */
    source = ptx_symbol_row(p, o[1].symbol, o[1].offset, 8);
  } else if (from.a == NONE) {
    source = ptx_constant_row(p, 8, (uint64_t)from.imm, 0);
  } else {
    if (from.flags & FLAG_ADDRESS32) return ptx_operand_wrong(p, &o[1], "is not a register for addresses");
    source = from.a;
    if (!no_addend(p, &source, from.imm, 8)) return false;
  }
  if (source == NONE) return false;
  if (p->operand_count > 3 && o[3].kind == OPERAND_REGISTER && o[3].type == T_PRED) { /* ignore-src: as if src-size were 0 */
    const uint32_t all = ptx_constant_row(p, 4, bytes, 0), none = ptx_constant_row(p, 4, 0, 0);
    size = ptx_temporary(p, 4);
    if (all == NONE || none == NONE || !ptx_emit_rows(p, F_SELP, T_B32, size, none, all, o[3].row)) return false;
  } else if (p->operand_count > 3 && !(o[3].kind == OPERAND_REGISTER && ptx_type_bytes[o[3].type] == 8)) {
    if (!ptx_source(p, &o[3], T_B32, &size)) return false;
  }
  struct instr *i = ptx_emit_rows(p, F_CPASYNC, T_U32, NONE, NONE, source, size);
  if (!i || !with_address(p, i, &to, &o[0])) return false;
  i->width = (uint8_t)bytes;
  return true;
}

/* state, [address], value; `_` or no state. b is the value. */
static bool mbarrier(struct parser *p, const struct form *f) {
  const struct words *w = &f->words;
  const enum family family = (enum family)f->row->family;
  const struct operand *o = p->operands;
  uint32_t d = NONE, b = NONE;
  struct instr address = {0};
  unsigned n = 0;
  const bool has_state = family == F_MBAR_ARRIVE || family == F_MBAR_ARRIVE_TX || family == F_MBAR_DROP;
  const bool tests = family == F_MBAR_TEST || family == F_MBAR_PARITY;
  if (family == F_MBAR_PENDING) {
    if (p->operand_count != 2) return ptx_operand_wrong(p, NULL, "wrong number of operands");
    return ptx_destination(p, &o[0], T_B32, &d) && ptx_source(p, &o[1], T_B64, &b) && ptx_emit_rows(p, family, T_B64, d, NONE, b, NONE);
  }
  if (n < p->operand_count && (tests || (has_state && o[0].kind != OPERAND_ADDRESS))) {
    if (o[0].kind != OPERAND_NOTHING && !ptx_destination(p, &o[0], tests ? T_PRED : T_B64, &d)) return false;
    n++;
  }
  if (n == p->operand_count) return ptx_operand_wrong(p, NULL, "wrong number of operands");
  const struct operand *at = &o[n];
  if (!ptx_address(p, at, has(w, W_SHARED) ? SPACE_SHARED : SPACE_GENERIC, &address)) return false;
  n++;
  if (n < p->operand_count) {
    if (!ptx_source(p, &o[n], family == F_MBAR_TEST ? T_B64 : T_B32, &b)) return false;
    n++;
  } else if (family != F_MBAR_INVAL && family != F_MBAR_CPASYNC && !(has_state && family != F_MBAR_ARRIVE_TX)) {
    return ptx_operand_wrong(p, NULL, "wrong number of operands");
  }
  struct instr *i = ptx_emit_rows(p, family, T_B64, d, NONE, b, NONE);
  if (!i || !with_address(p, i, &address, at)) return false;
  i->width = 8;
  i->operation = has(w, W_NOINC);
  i->mode = has(w, W_TRY_WAIT);
  i->order = has(w, W_RELAXED) ? ORDER_RELAXED : tests ? ORDER_ACQUIRE : ORDER_RELEASE;
  return true;
}

static bool fence(struct parser *p, const struct form *f) {
  struct instr *i = ptx_emit(p, F_FENCE, T_NONE);
  if (i) i->scope = (uint8_t)scope_of(&f->words);
  return i != NULL;
}

/* Cluster ranks: the only block of its cluster is rank 0, and its shared memory is the caller's own. */
static bool cluster_rank(struct parser *p, const struct form *f) {
  const struct operand *o = p->operands;
  const enum type type = (enum type)f->types[0];
  uint32_t d, a;
  if (p->operand_count < 2) return ptx_operand_wrong(p, NULL, "wrong number of operands");
  if (!ptx_destination(p, &o[0], f->row->family == F_GETRANK ? T_B32 : type, &d)) return false;
  if (f->row->family == F_GETRANK) {
    a = ptx_constant_row(p, 4, 0, 0);
    return a != NONE && ptx_emit_rows(p, F_MOV, T_U32, d, a, NONE, NONE);
  }
  return ptx_source(p, &o[1], type, &a) && ptx_emit_rows(p, F_MOV, ptx_type_bytes[type] == 8 ? T_U64 : T_U32, d, a, NONE, NONE);
}

bool ptx_decode_memory(struct parser *p, const struct form *f, bool *good) {
  switch (f->row->family) {
    case F_MOV: *good = mov(p, f); return true;
    case F_LD: *good = load(p, f); return true;
    case F_ST: *good = store(p, f); return true;
    case F_ATOM:
    case F_ATOMV: *good = atomic(p, f); return true;
    case F_CVTA: *good = cvta(p, f); return true;
    case F_ISSPACEP: *good = isspacep(p, f); return true;
    case F_CPASYNC: *good = copy_async(p); return true;
    case F_FENCE: *good = fence(p, f); return true;
    case F_GETRANK:
    case F_MAPA: *good = cluster_rank(p, f); return true;
    case F_POLICY: {
      uint32_t d;
      const uint32_t zero = ptx_constant_row(p, 8, 0, 0);
      *good = p->operand_count && zero != NONE && ptx_destination(p, &p->operands[0], T_B64, &d) && ptx_emit_rows(p, F_MOV, T_U64, d, zero, NONE, NONE);
      return true;
    }
    case F_MBAR_CPASYNC: case F_MBAR_INIT: case F_MBAR_INVAL: case F_MBAR_ARRIVE: case F_MBAR_ARRIVE_TX: case F_MBAR_DROP:
    case F_MBAR_EXPECT: case F_MBAR_COMPLETE: case F_MBAR_TEST: case F_MBAR_PARITY: case F_MBAR_PENDING:
      *good = mbarrier(p, f);
      return true;
    default: return false;
  }
}
