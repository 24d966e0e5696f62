/* One statement of a body: guard, spelling of the opcode, operands. */
#include "internal.h"

#include <stdlib.h>

static bool wrong(struct parser *p, const char *text) {
  return ptx_fail(p, PTX_ERROR_SYNTAX, p->token.line, p->token.text, p->token.length, text);
}

static struct form *find_form(struct parser *p, const struct token *t) {
  struct ptx_module *m = p->module;
  if (!m->forms) {
    m->form_buckets = 1024;
    m->forms = calloc(m->form_buckets, sizeof *m->forms);
    if (!m->forms) return NULL;
  }
  struct form **head = &m->forms[t->hash % m->form_buckets];
  for (struct form *f = *head; f; f = f->next)
    if (f->hash == t->hash && f->length == t->length && !memcmp(f->spelling, t->text, t->length)) return f;
  struct form *f = ptx_arena(&m->arena, sizeof *f);
  char *copy = ptx_arena(&m->arena, t->length + 1u);
  if (!f || !copy) return NULL;
  memcpy(copy, t->text, t->length);
  *f = (struct form){.spelling = copy, .length = t->length, .hash = t->hash, .first_line = t->line, .next = *head};
  ptx_form_read(f);
  *head = f;
  m->form_count++;
  return f;
}

/* Spaces and comments may stand before a modifier: the words are joined to one spelling, as they are written without them.
 * Leaves the first token behind them as the next one. */
static bool join_modifiers(struct parser *p, struct token *name) {
  if (!ptx_next(p)) return false;
  while (p->token.kind == TOKEN_DIRECTIVE) {
    const size_t length = (size_t)name->length + p->token.length;
    if (length > MAX_NAME) return wrong(p, "the instruction has too many modifiers");
    char *joined = ptx_arena(&p->scratch, length);
    if (!joined) return ptx_fail(p, PTX_ERROR_MEMORY, name->line, "", 0, "out of memory");
    memcpy(joined, name->text, name->length);
    memcpy(joined + name->length, p->token.text, p->token.length);
    for (uint32_t i = 0; i < p->token.length; i++) name->hash = (name->hash ^ (uint8_t)p->token.text[i]) * 16777619u;
    name->text = joined;
    name->length = (uint32_t)length;
    if (!ptx_next(p)) return false;
  }
  return true;
}

static struct operand *more_operands(struct parser *p, uint32_t count) {
  if (p->pool_used + count > sizeof p->pool / sizeof p->pool[0]) return NULL;
  p->pool_used += count;
  return &p->pool[p->pool_used - count];
}

static bool word_operand(struct parser *p, struct operand *o) {
  const struct token t = p->token;
  o->text = t.text;
  o->length = t.length;
  if (t.length == 1 && *t.text == '_') {
    o->kind = OPERAND_NOTHING;
    return ptx_next(p);
  }
  if (t.length == 7 && !memcmp(t.text, "WARP_SZ", 7)) {
    o->kind = OPERAND_INTEGER;
    o->value = WARP;
    return ptx_next(p);
  }
  if (ptx_register(p, t.text, t.length, t.hash, &o->row, &o->type)) {
    o->kind = OPERAND_REGISTER;
    if (!ptx_next(p)) return false;
    if (!ptx_accept(p, '|')) return true;
    o->has_pair = true;
    if (p->token.length == 1 && *p->token.text == '_') {
      o->pair_row = NONE;
      o->pair_type = T_NONE;
      return ptx_next(p);
    }
    if (p->token.kind != TOKEN_WORD || !ptx_register(p, p->token.text, p->token.length, p->token.hash, &o->pair_row, &o->pair_type))
      return ptx_fail(p, PTX_ERROR_UNDECLARED, p->token.line, p->token.text, p->token.length, "is not a declared register");
    return ptx_next(p);
  }
  if (p->error && !p->options->keep_going) return false;
  enum type type;
  const int special = *t.text == '%' ? ptx_special_register(t.text, t.length, &type) : -1;
  if (special >= 0) {
    o->kind = OPERAND_SPECIAL;
    o->type = (uint8_t)type;
    o->value = (uint64_t)special;
    return ptx_next(p);
  }
  o->kind = OPERAND_SYMBOL;
  o->symbol = ptx_find(p, t.text, t.length, t.hash);
  if (o->symbol && o->symbol->kind == SYMBOL_REGISTER) o->symbol = NULL;
  o->value = t.hash;
  if (!ptx_next(p)) return false;
  if (o->symbol && (ptx_is_mark(p, '+') || ptx_is_mark(p, '-'))) return ptx_constant(p, &o->offset);
  return true;
}

static bool undeclared(struct parser *p, const struct operand *o) {
  return ptx_fail(p, PTX_ERROR_UNDECLARED, p->token.line, o->text, o->length,
                  *o->text == '%' ? "is not a declared register, nor a special one" : "is not declared");
}

static bool address_operand(struct parser *p, struct operand *o) {
  if (!ptx_next(p)) return false;
  o->text = p->token.text;
  o->length = p->token.length;
  if (p->token.kind == TOKEN_WORD) {
    struct operand base = {0};
    if (!word_operand(p, &base)) return false;
    *o = base;
    if (base.kind == OPERAND_SYMBOL && (!base.symbol || (base.symbol->kind != SYMBOL_VARIABLE && base.symbol->kind != SYMBOL_FUNCTION)))
      return undeclared(p, &base);
    if (base.kind != OPERAND_SYMBOL && base.kind != OPERAND_REGISTER) return wrong(p, "an address begins with a register, a variable or a number");
    if (base.kind == OPERAND_REGISTER && base.type != T_NONE && ptx_type_bytes[base.type] < 4)
      return ptx_fail(p, PTX_ERROR_TYPE, p->token.line, base.text, base.length, "is not a register for addresses");
    if (base.kind == OPERAND_REGISTER && ptx_is_mark(p, '-'))
      return wrong(p, "a negative offset is written +-4");
    if (base.kind == OPERAND_REGISTER && ptx_is_mark(p, '+')) {
      if (!ptx_constant(p, &o->offset)) return false;
    }
    o->type = base.kind == OPERAND_REGISTER ? base.type : T_NONE;
  } else {
    o->type = T_NONE;
    o->symbol = NULL;
    o->row = NONE;
    if (!ptx_constant(p, &o->offset)) return false;
  }
  if (o->kind == OPERAND_SYMBOL) o->row = NONE;
  else o->symbol = NULL;
  o->kind = OPERAND_ADDRESS;
  return ptx_expect(p, ']');
}

static bool operand(struct parser *p, struct operand *o, unsigned depth);

static bool list(struct parser *p, struct operand *o, char close, unsigned depth) {
  struct operand items[256];
  uint32_t count = 0;
  if (depth > 2) return wrong(p, "operands are nested too deeply");
  if (!ptx_next(p)) return false;
  if (!ptx_is_mark(p, close)) do {
      if (count == 64) return wrong(p, "too many operands in a list");
      if (!operand(p, &items[count++], depth + 1)) return false;
    } while (ptx_accept(p, ','));
  o->count = count;
  o->elements = more_operands(p, count);
  if (!o->elements) return wrong(p, "too many operands");
  memcpy(o->elements, items, count * sizeof *items);
  return ptx_expect(p, close);
}

static bool operand(struct parser *p, struct operand *o, unsigned depth) {
  *o = (struct operand){.type = T_NONE, .row = NONE, .text = p->token.text, .length = p->token.length};
  const struct token t = p->token;
  switch (t.kind) {
    case TOKEN_WORD: return word_operand(p, o);
    case TOKEN_F32:
    case TOKEN_F64:
      o->kind = t.kind == TOKEN_F32 ? OPERAND_F32 : OPERAND_F64;
      o->value = t.value;
      return ptx_next(p);
    case TOKEN_INTEGER: break;
    case TOKEN_MARK:
      if (t.mark == '{') {
        o->kind = OPERAND_VECTOR;
        return list(p, o, '}', depth);
      }
      if (t.mark == '[') return address_operand(p, o);
      if (t.mark == '!') {
        if (!ptx_next(p) || p->token.kind != TOKEN_WORD || !word_operand(p, o)) return wrong(p, "a predicate expected behind '!'");
        o->negated = true;
        return true;
      }
      if (t.mark == '-') { /* a negative fraction */
        struct lexer saved = p->lexer;
        struct token next;
        ptx_lex(&saved, &next);
        if (next.kind == TOKEN_F32 || next.kind == TOKEN_F64) {
          if (!ptx_next(p)) return false;
          o->kind = next.kind == TOKEN_F32 ? OPERAND_F32 : OPERAND_F64;
          o->value = next.value ^ (next.kind == TOKEN_F32 ? 1ull << 31 : 1ull << 63);
          return ptx_next(p);
        }
      }
      break;
    default: return wrong(p, "an operand expected here");
  }
  int64_t value;
  if (!ptx_constant(p, &value)) return false;
  o->kind = OPERAND_INTEGER;
  o->value = (uint64_t)value;
  return true;
}

bool ptx_statement(struct parser *p) {
  p->statement_line = p->token.line;
  p->statement_first = NONE;
  p->pool_used = p->operand_count = 0;
  p->has_guard = false;
  if (ptx_is_mark(p, '@')) {
    const bool negated = ptx_next(p) && ptx_accept(p, '!');
    if (p->token.kind != TOKEN_WORD || !ptx_register(p, p->token.text, p->token.length, p->token.hash, &p->guard.row, &p->guard.type))
      return ptx_fail(p, PTX_ERROR_UNDECLARED, p->token.line, p->token.text, p->token.length, "is not a declared predicate");
    if (p->guard.type != T_PRED)
      return ptx_fail(p, PTX_ERROR_TYPE, p->token.line, p->token.text, p->token.length, "is not a predicate");
    p->guard.negated = negated;
    p->has_guard = true;
    if (!ptx_next(p)) return false;
  }
  if (p->token.kind != TOKEN_WORD) return wrong(p, "an instruction expected here");
  struct token name = p->token;
  p->statement_line = name.line;
  if (!join_modifiers(p, &name)) return false;
  p->spelling = name.text;
  p->spelling_length = name.length;
  struct form *form = find_form(p, &name);
  if (!form) return ptx_fail(p, PTX_ERROR_MEMORY, name.line, "", 0, "out of memory");
  form->count++;
  if (!form->row) return ptx_fail(p, PTX_ERROR_UNKNOWN, name.line, name.text, name.length, form->problem);
  if (form->row->text->capability > p->target)
    return ptx_fail(p, PTX_ERROR_TARGET, name.line, name.text, name.length, "this .target does not have the instruction");
  const bool calls = form->row->family == F_CALL;
  while (!ptx_is_mark(p, ';')) {
    if (p->operand_count == MAX_OPERANDS) return wrong(p, "too many operands");
    struct operand *o = &p->operands[p->operand_count];
    if (calls && ptx_is_mark(p, '(')) {
      *o = (struct operand){.kind = OPERAND_LIST, .type = T_NONE, .row = NONE};
      if (!list(p, o, ')', 0)) return false;
    } else if (!operand(p, o, 0)) {
      return false;
    }
    if (o->kind == OPERAND_SYMBOL && !o->symbol && form->row->family != F_BRA && form->row->family != F_BRX) return undeclared(p, o);
    p->operand_count++;
    if (ptx_is_mark(p, ';')) break;
    if (!ptx_expect(p, ',')) return false;
  }
  if (!ptx_decode(p, form)) return false;
  return ptx_expect(p, ';');
}
