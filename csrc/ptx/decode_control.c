/* Instructions decoded: branches, calls, barriers, what the lanes of a warp do together. */
#include "internal.h"

static bool no_memory(struct parser *p) { return ptx_fail(p, PTX_ERROR_MEMORY, p->statement_line, "", 0, "out of memory"); }

static bool count_is(struct parser *p, unsigned least, unsigned most) {
  return (p->operand_count >= least && p->operand_count <= most) || ptx_operand_wrong(p, NULL, "wrong number of operands");
}

static bool branch(struct parser *p) {
  const struct operand *o = &p->operands[0];
  if (!count_is(p, 1, 1)) return false;
  if (o->kind != OPERAND_SYMBOL) return ptx_operand_wrong(p, o, "a label expected here");
  if (!ptx_emit(p, F_BRA, T_NONE)) return false;
  if (!GROW(p->fixups, p->fixup_capacity, p->fixup_count)) return no_memory(p);
  p->fixups[p->fixup_count++] = (struct fixup){p->code_count - 1, o->text, o->length, ptx_hash(o->text, o->length), p->statement_line, p->depth, NULL};
  return true;
}

static bool branch_table(struct parser *p) {
  const struct operand *o = p->operands;
  uint32_t a;
  if (!count_is(p, 2, 2)) return false;
  if (o[1].kind != OPERAND_SYMBOL || !o[1].symbol || o[1].symbol->kind != SYMBOL_TARGETS) return ptx_operand_wrong(p, &o[1], "the name of .branchtargets expected here");
  if (!ptx_source(p, &o[0], T_B32, &a)) return false;
  struct instr *i = ptx_emit_rows(p, F_BRX, T_NONE, NONE, a, NONE, NONE);
  if (!i) return false;
  i->more = o[1].symbol->targets;
  i->imm = o[1].symbol->target_count;
  return true;
}

/* One argument or result: two words, first a frame offset of local memory (0) or a row (1), then which. */
static bool call_item(struct parser *p, const struct operand *o, const struct argument *formal, bool result, uint32_t out[2]) {
  if (o->kind == OPERAND_SYMBOL && o->symbol && o->symbol->kind == SYMBOL_VARIABLE && o->symbol->space == SPACE_PARAM && !o->symbol->kernel_parameter) {
    if (formal->row == NONE && o->symbol->size < formal->size) return ptx_operand_wrong(p, o, "is smaller than the parameter of the called function");
    if (formal->row != NONE && o->symbol->size < ptx_type_bytes[formal->type]) return ptx_operand_wrong(p, o, "is smaller than the parameter of the called function");
    out[0] = 0;
    out[1] = (uint32_t)o->symbol->address;
    return true;
  }
  if (formal->row == NONE && formal->size != ptx_type_bytes[formal->type]) return ptx_operand_wrong(p, o, "an array is passed through a .param variable");
  out[0] = 1;
  if (o->kind == OPERAND_NOTHING && result) {
    out[0] = 2;
    return true;
  }
  return result ? ptx_destination(p, o, (enum type)formal->type, &out[1]) : ptx_source(p, o, (enum type)formal->type, &out[1]);
}

static bool call(struct parser *p) {
  const struct operand *o = p->operands, *results = NULL, *arguments = NULL;
  unsigned n = 0;
  if (n < p->operand_count && o[n].kind == OPERAND_LIST) results = &o[n++];
  if (n == p->operand_count) return ptx_operand_wrong(p, NULL, "the called function is missing");
  const struct operand *callee = &o[n++];
  if (n < p->operand_count && o[n].kind == OPERAND_LIST) arguments = &o[n++];
  const struct operand *prototype = n < p->operand_count ? &o[n++] : NULL;
  const bool pointer = callee->kind == OPERAND_REGISTER;
  const struct signature *signature;
  if (n < p->operand_count) return ptx_operand_wrong(p, NULL, "wrong number of operands");
  if (pointer) {
    if (ptx_type_bytes[callee->type] != 8) return ptx_operand_wrong(p, callee, "a function pointer takes 64 bits");
    if (!prototype || prototype->kind != OPERAND_SYMBOL || !prototype->symbol ||
        (prototype->symbol->kind != SYMBOL_PROTOTYPE && prototype->symbol->kind != SYMBOL_FUNCTION))
      return ptx_operand_wrong(p, prototype ? prototype : callee, "a .callprototype is missing");
    signature = prototype->symbol->kind == SYMBOL_FUNCTION ? &prototype->symbol->function->signature : &prototype->symbol->signature;
  } else {
    if (callee->kind != OPERAND_SYMBOL || !callee->symbol || callee->symbol->kind != SYMBOL_FUNCTION) return ptx_operand_wrong(p, callee, "is not a function");
    if (callee->symbol->function->entry) return ptx_operand_wrong(p, callee, "is a kernel and cannot be called");
    signature = &callee->symbol->function->signature;
  }
  const uint32_t have_results = results ? results->count : 0, have_arguments = arguments ? arguments->count : 0;
  if (have_results != signature->result_count || have_arguments != signature->argument_count) return ptx_operand_wrong(p, callee, "is called with a wrong number of arguments or results");
  const uint32_t total = have_results + have_arguments;
  uint32_t *more = ptx_arena(&p->module->arena, (2 * total + 1) * sizeof *more);
  struct signature *copy = pointer ? ptx_arena(&p->module->arena, sizeof *copy) : NULL;
  if (!more || (pointer && !copy)) return no_memory(p);
  for (uint32_t i = 0; i < total; i++) {
    const bool result = i < have_results;
    const struct operand *item = result ? &results->elements[i] : &arguments->elements[i - have_results];
    if (!call_item(p, item, &signature->arguments[i], result, &more[2 * i])) return false;
  }
  struct instr *i = ptx_emit_rows(p, pointer ? F_CALLPTR : F_CALL, T_NONE, NONE, pointer ? callee->row : NONE, NONE, NONE);
  if (!i) return false;
  i->more = more;
  if (pointer) {
    *copy = *signature;
    i->imm = (int64_t)(intptr_t)copy;
    p->function->calls_pointer = true;
    return true;
  }
  struct function *f = callee->symbol->function;
  i->imm = f->index;
  f->called = true;
  for (uint32_t k = 0; k < p->call_count; k++)
    if (p->calls[k] == f) return true;
  if (!GROW(p->calls, p->call_capacity, p->call_count)) return no_memory(p);
  p->calls[p->call_count++] = f;
  return true;
}

/* bar.red: d, a{, b}, {!}c */
static bool barrier_reduction(struct parser *p, const struct form *f) {
  const struct operand *o = p->operands;
  uint32_t d, a, b = NONE, c;
  if (!count_is(p, 3, 4)) return false;
  if (!ptx_destination(p, &o[0], (enum type)f->types[0], &d) || !ptx_source(p, &o[1], T_B32, &a) || (p->operand_count == 4 && !ptx_source(p, &o[2], T_B32, &b)) ||
      !ptx_predicate(p, &o[p->operand_count - 1], true, &c))
    return false;
  struct instr *i = ptx_emit_rows(p, F_BAR_RED, T_NONE, d, a, b, c);
  if (i) i->operation = has(&f->words, W_POPC) ? 0 : has(&f->words, W_AND) ? 1 : 2;
  return i != NULL;
}

static bool barrier(struct parser *p, enum family family) {
  uint32_t a, b = NONE;
  if (!count_is(p, family == F_BAR_ARRIVE ? 2 : 1, 2)) return false;
  if (!ptx_source(p, &p->operands[0], T_B32, &a) || (p->operand_count == 2 && !ptx_source(p, &p->operands[1], T_B32, &b))) return false;
  return ptx_emit_rows(p, family, T_NONE, NONE, a, b, NONE) != NULL;
}

/* d|p destinations and members of a warp's common instructions; a and b are data, c the mask, e the second destination. */
static bool together(struct parser *p, const struct form *f) {
  const struct words *w = &f->words;
  const enum family family = (enum family)f->row->family;
  const struct operand *o = p->operands;
  uint32_t d = NONE, a = NONE, b = NONE, c = NONE, e = NONE, segment = NONE;
  enum type type = f->type_count ? (enum type)f->types[0] : T_B32;
  unsigned operation = 0;
  const bool synced = has(w, W_SYNC);
  switch (family) {
    case F_SHFL:
    case F_SHFL_OLD: {
      if (!count_is(p, 4u + synced, 4u + synced)) return false;
      struct operand first = o[0];
      if (first.has_pair && first.pair_row != NONE && first.pair_type != T_PRED) return ptx_operand_wrong(p, &o[0], "a predicate expected as second destination");
      if (first.has_pair) e = first.pair_row;
      first.has_pair = false;
      if (!ptx_destination(p, &first, type, &d) || !ptx_source(p, &o[1], type, &a) || !ptx_source(p, &o[2], T_B32, &b) || !ptx_source(p, &o[3], T_B32, &segment)) return false;
      if (synced && !ptx_source(p, &o[4], T_B32, &c)) return false;
      operation = has(w, W_UP) ? 0 : has(w, W_DOWN) ? 1 : has(w, W_BFLY) ? 2 : 3;
      break;
    }
    case F_VOTE:
    case F_VOTE_OLD:
      if (!count_is(p, 2u + synced, 2u + synced)) return false;
      if (!ptx_destination(p, &o[0], type, &d) || !ptx_predicate(p, &o[1], true, &a) || (synced && !ptx_source(p, &o[2], T_B32, &c))) return false;
      operation = has(w, W_ALL) ? 0 : has(w, W_ANY) ? 1 : has(w, W_UNI) ? 2 : 3;
      break;
    case F_MATCH: {
      if (!count_is(p, 3, 3)) return false;
      struct operand first = o[0];
      operation = has(w, W_ALL);
      if (first.has_pair && (!operation || (first.pair_row != NONE && first.pair_type != T_PRED))) return ptx_operand_wrong(p, &o[0], "a predicate expected as second destination");
      if (first.has_pair) e = first.pair_row;
      first.has_pair = false;
      if (!ptx_destination(p, &first, T_B32, &d) || !ptx_source(p, &o[1], type, &a) || !ptx_source(p, &o[2], T_B32, &c)) return false;
      break;
    }
    case F_REDUX:
      if (!count_is(p, 3, 3)) return false;
      if (!ptx_destination(p, &o[0], type, &d) || !ptx_source(p, &o[1], type, &a) || !ptx_source(p, &o[2], T_B32, &c)) return false;
      operation = has(w, W_ADD) ? ATOM_ADD : has(w, W_MIN) ? ATOM_MIN : has(w, W_MAX) ? ATOM_MAX : has(w, W_AND) ? ATOM_AND : has(w, W_OR) ? ATOM_OR : ATOM_XOR;
      break;
    case F_ELECT: {
      if (!count_is(p, 2, 2)) return false;
      struct operand first = o[0];
      if (!first.has_pair && first.kind != OPERAND_REGISTER) return ptx_operand_wrong(p, &o[0], "a destination d|p expected");
      if (first.has_pair && first.pair_row != NONE && first.pair_type != T_PRED) return ptx_operand_wrong(p, &o[0], "a predicate expected as second destination");
      if (first.has_pair) e = first.pair_row;
      first.has_pair = false;
      if (!ptx_destination(p, &first, T_B32, &d) || !ptx_source(p, &o[1], T_B32, &c)) return false;
      break;
    }
    case F_WARPSYNC:
      if (!count_is(p, 1, 1)) return false;
      if (!ptx_source(p, &o[0], T_B32, &c)) return false;
      break;
    default: /* activemask */
      if (!count_is(p, 1, 1)) return false;
      if (!ptx_destination(p, &o[0], T_B32, &d)) return false;
  }
  if (!synced && (family == F_SHFL_OLD || family == F_VOTE_OLD) && p->version >= 64 && p->target >= 70)
    return ptx_fail(p, PTX_ERROR_UNKNOWN, p->statement_line, f->spelling, f->length, "this form without .sync is not there from .version 6.4 on for sm_70 and above");
  struct instr *i = ptx_emit_rows(p, family, type, d, a, b, c);
  if (!i) return false;
  i->e = e;
  i->imm = segment;
  i->operation = (uint8_t)operation;
  return true;
}

bool ptx_decode_control(struct parser *p, const struct form *f, bool *good) {
  switch (f->row->family) {
    case F_BRA: *good = branch(p); return true;
    case F_BRX: *good = branch_table(p); return true;
    case F_CALL: *good = call(p); return true;
    case F_RET:
      if (p->function->entry) {
        *good = count_is(p, 0, 0) && ptx_emit(p, F_EXIT, T_NONE);
        return true;
      }
      *good = count_is(p, 0, 0) && ptx_emit(p, F_RET, T_NONE);
      return true;
    case F_BAR_RED: *good = barrier_reduction(p, f); return true;
    case F_BAR_SYNC:
    case F_BAR_ARRIVE: *good = barrier(p, (enum family)f->row->family); return true;
    case F_BAR_CLUSTER: { /* a cluster of one block: its barrier is the block's barrier, number 16 */
      const uint32_t a = ptx_constant_row(p, 4, 16, 0);
      *good = count_is(p, 0, 0) && a != NONE && ptx_emit_rows(p, F_BAR_SYNC, T_NONE, NONE, a, NONE, NONE);
      return true;
    }
    case F_SHFL: case F_SHFL_OLD: case F_VOTE: case F_VOTE_OLD: case F_MATCH: case F_REDUX: case F_ELECT: case F_WARPSYNC: case F_ACTIVEMASK:
      *good = together(p, f);
      return true;
    default: return false;
  }
}
