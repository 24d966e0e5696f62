/* Declarations of registers and variables, and initial values. */
#include "internal.h"

#include <stdlib.h>

enum { MAX_DIMENSIONS = 8 };

struct declaration {
  uint8_t space, type, vector;
  bool external, visible, weak, in_function;
  uint32_t align;
  uint32_t dimensions;
  uint64_t dimension[MAX_DIMENSIONS];
  bool open; /* name[] */
};

struct filling {
  uint8_t *bytes;
  uint64_t size, capacity;
  struct initial *initials;
  uint32_t initial_count, initial_capacity;
  unsigned element;
  uint8_t type;
};

static bool wrong(struct parser *p, const char *text) {
  return ptx_fail(p, PTX_ERROR_SYNTAX, p->token.line, p->token.text, p->token.length, text);
}

static bool no_memory(struct parser *p) { return ptx_fail(p, PTX_ERROR_MEMORY, p->token.line, "", 0, "out of memory"); }

static bool put(struct parser *p, struct filling *f, uint64_t at, uint64_t value) {
  if (at + f->element > f->capacity) {
    uint64_t wanted = f->capacity ? f->capacity * 2 : 256;
    while (wanted < at + f->element) wanted *= 2;
    uint8_t *grown = realloc(f->bytes, wanted);
    if (!grown) return no_memory(p);
    memset(grown + f->capacity, 0, wanted - f->capacity);
    f->bytes = grown;
    f->capacity = wanted;
  }
  memcpy(f->bytes + at, &value, f->element < 8 ? f->element : 8);
  if (at + f->element > f->size) f->size = at + f->element;
  return true;
}

/* name [+ offset], generic(name) [+ offset], a function's name. */
bool ptx_symbol_value(struct parser *p, struct symbol **symbol, int64_t *addend, bool *generic) {
  *generic = p->token.length == 7 && !memcmp(p->token.text, "generic", 7);
  if (*generic && (!ptx_next(p) || !ptx_expect(p, '('))) return false;
  *symbol = ptx_find(p, p->token.text, p->token.length, p->token.hash);
  if (!*symbol || ((*symbol)->kind != SYMBOL_VARIABLE && (*symbol)->kind != SYMBOL_FUNCTION))
    return ptx_fail(p, PTX_ERROR_UNDECLARED, p->token.line, p->token.text, p->token.length, "is not declared");
  if (!ptx_next(p)) return false;
  *addend = 0;
  if ((ptx_is_mark(p, '+') || ptx_is_mark(p, '-')) && !ptx_constant(p, addend)) return false;
  if (*generic && !ptx_expect(p, ')')) return false;
  int64_t more = 0;
  if ((ptx_is_mark(p, '+') || ptx_is_mark(p, '-')) && !ptx_constant(p, &more)) return false;
  *addend = (int64_t)((uint64_t)*addend + (uint64_t)more);
  return true;
}

static bool read_address(struct parser *p, struct filling *f, uint64_t at, uint8_t shift) {
  struct symbol *symbol;
  int64_t addend;
  bool generic;
  const struct token name = p->token;
  if (!ptx_symbol_value(p, &symbol, &addend, &generic)) return false;
  if (symbol->kind == SYMBOL_VARIABLE && symbol->space != SPACE_GLOBAL && symbol->space != SPACE_CONST)
    return ptx_fail(p, PTX_ERROR_TYPE, name.line, name.text, name.length, "only addresses of .global, .const and functions are initial values");
  if (symbol->kind == SYMBOL_FUNCTION) {
    symbol->function->address_taken = true;
    if (symbol->function->entry) return ptx_fail(p, PTX_ERROR_TYPE, name.line, name.text, name.length, "is a kernel: its address is no initial value");
  }
  if (!GROW(f->initials, f->initial_capacity, f->initial_count)) return no_memory(p);
  f->initials[f->initial_count++] = (struct initial){(uint32_t)at, f->element, symbol, addend, generic, shift};
  return put(p, f, at, 0);
}

static bool read_value(struct parser *p, struct filling *f, uint64_t at) {
  if (p->token.kind == TOKEN_WORD && !(p->token.length == 7 && !memcmp(p->token.text, "WARP_SZ", 7))) return read_address(p, f, at, 0);
  const bool negative = ptx_is_mark(p, '-') && p->lexer.at < p->lexer.end;
  if (p->token.kind == TOKEN_F32 || p->token.kind == TOKEN_F64 || (negative && ptx_type_class[f->type] == 'f')) {
    if (negative && !ptx_next(p)) return false;
    uint64_t bits = p->token.value;
    if (p->token.kind == TOKEN_F64 && f->type == T_F32) {
      double d;
      memcpy(&d, &bits, 8);
      float s = (float)d;
      uint32_t b;
      memcpy(&b, &s, 4);
      bits = b;
    } else if (p->token.kind == TOKEN_F32 && f->type == T_F64) {
      const uint32_t b = (uint32_t)bits;
      float s;
      memcpy(&s, &b, 4);
      double d = s;
      memcpy(&bits, &d, 8);
    } else if (p->token.kind == TOKEN_INTEGER) {
      const double d = (double)bits;
      const float s = (float)d;
      bits = 0;
      if (f->type == T_F32) memcpy(&bits, &s, 4);
      else memcpy(&bits, &d, 8);
    }
    if (negative) bits ^= f->type == T_F32 ? 1ull << 31 : 1ull << 63;
    return ptx_next(p) && put(p, f, at, bits);
  }
  if (p->token.kind == TOKEN_INTEGER) { /* 0xFF00(name): one byte of an address */
    const char *c = p->lexer.at;
    if (c < p->lexer.end && *c == '(') {
      const uint64_t mask = p->token.value;
      if (!mask || !ptx_next(p) || !ptx_next(p)) return wrong(p, "a mask of 0 before a name");
      return read_address(p, f, at, (uint8_t)__builtin_ctzll(mask)) && ptx_expect(p, ')');
    }
  }
  int64_t value;
  if (!ptx_constant(p, &value)) return false;
  if (ptx_type_class[f->type] == 'f') {
    const double d = (double)value;
    const float s = (float)d;
    value = 0;
    if (f->type == T_F32) memcpy(&value, &s, 4);
    else memcpy(&value, &d, 8);
  }
  return put(p, f, at, (uint64_t)value);
}

/* A brace list of the dimensions from `level` on; `stride` elements belong to each of its items. */
static bool read_list(struct parser *p, struct filling *f, const struct declaration *d, unsigned level, uint64_t at, uint64_t limit, unsigned depth) {
  if (depth > MAX_NESTING) return wrong(p, "the initial value is nested too deeply");
  if (!ptx_expect(p, '{')) return false;
  uint64_t stride = f->element;
  for (unsigned i = level + 1; i < d->dimensions; i++) stride *= d->dimension[i];
  if (ptx_accept(p, '}')) return true;
  uint64_t here = at;
  do {
    if (ptx_is_mark(p, '{')) {
      here = at + (here - at + stride - 1) / (stride ? stride : 1) * stride;
      if (here + stride > limit) return wrong(p, "more initial values than elements");
      if (!read_list(p, f, d, level + 1, here, here + stride, depth + 1)) return false;
      here += stride;
    } else {
      if (here + f->element > limit) return wrong(p, "more initial values than elements");
      if (!read_value(p, f, here)) return false;
      here += f->element;
    }
  } while (ptx_accept(p, ','));
  return ptx_expect(p, '}');
}

static bool read_initial(struct parser *p, struct symbol *s, struct declaration *d) {
  struct filling f = {.element = ptx_type_bytes[d->type], .type = d->type};
  const uint64_t limit = d->open ? UINT32_MAX : s->size;
  bool good;
  if (d->space != SPACE_GLOBAL && d->space != SPACE_CONST) return wrong(p, "only .global and .const variables have initial values");
  if (d->external) return wrong(p, "an .extern variable has no initial value");
  if (d->vector > 1 || d->dimensions) good = read_list(p, &f, d, d->vector > 1 && !d->dimensions ? 1 : 0, 0, limit, 0);
  else if (ptx_is_mark(p, '{')) good = read_list(p, &f, d, 0, 0, limit, 0);
  else good = read_value(p, &f, 0);
  if (good && d->open) s->size = f.size;
  if (good) {
    s->bytes = ptx_arena(&p->module->arena, f.size + 1);
    s->initials = ptx_arena(&p->module->arena, (f.initial_count + 1) * sizeof *f.initials);
    good = s->bytes && s->initials ? true : no_memory(p);
  }
  if (good) {
    if (f.size) memcpy(s->bytes, f.bytes, f.size);
    if (f.initial_count) memcpy(s->initials, f.initials, f.initial_count * sizeof *f.initials);
    s->byte_count = f.size;
    s->initial_count = f.initial_count;
    s->initialised = true;
  }
  free(f.bytes);
  free(f.initials);
  return good;
}

static uint64_t align_up(uint64_t value, uint64_t align) { return (value + align - 1) / align * align; }

/* Says where the variable lies, or adds it to the module's list. */
static bool settle(struct parser *p, struct symbol *s, const struct declaration *d) {
  struct ptx_module *m = p->module;
  uint32_t *end = NULL;
  switch (d->space) {
    case SPACE_GLOBAL:
    case SPACE_CONST:
      if (s->external) return true;
      if (d->space == SPACE_CONST) {
        const uint64_t bytes = align_up(m->const_bytes, s->align) + s->size;
        if (bytes > 65536) return wrong(p, "the module's .const variables take more than 64 KiB");
        m->const_bytes = (uint32_t)bytes;
      }
      if (!GROW(m->globals, m->global_capacity, m->global_count)) return no_memory(p);
      s->variable = m->global_count;
      m->globals[m->global_count++] = s;
      return true;
    case SPACE_SHARED:
      if (d->external && s->size == 0) {
        s->dynamic = true;
        if (s->align > m->dynamic_align) m->dynamic_align = s->align;
        return true;
      }
      s->function = d->in_function && p->function->entry ? p->function : NULL;
      end = s->function ? &p->function->own_shared : &m->shared_bytes;
      break;
    default:
      end = &p->local_bytes;
      if (s->align > 16) s->align = 16; /* frames begin at multiples of 16 */
  }
  const uint64_t begin = align_up(*end, s->align);
  if (begin + s->size > (d->space == SPACE_SHARED ? 1u << 20 : 1u << 24)) return wrong(p, "the variables of this space take too much memory");
  s->address = begin;
  *end = (uint32_t)(begin + s->size);
  return true;
}

static bool read_registers(struct parser *p) {
  if (p->token.kind != TOKEN_DIRECTIVE) return wrong(p, "a type expected here");
  const enum type type = ptx_type_named(p->token.text + 1, p->token.length - 1);
  if (type == T_NONE || type == T_U16X2 || type == T_S16X2 || type >= T_E4M3X2) return wrong(p, "is not a type of registers");
  if (!p->depth) return wrong(p, "registers are declared in functions");
  if (!ptx_next(p)) return false;
  do {
    if (p->token.kind != TOKEN_WORD) return wrong(p, "the name of a register expected here");
    const struct token name = p->token;
    int64_t count = 0;
    if (!ptx_next(p)) return false;
    if (ptx_accept(p, '<')) {
      if (p->token.kind != TOKEN_INTEGER) return wrong(p, "a number of registers expected here");
      count = p->token.value > MAX_REGISTERS ? MAX_REGISTERS + 1 : (int64_t)p->token.value;
      if (count < 1 || count > MAX_REGISTERS) return wrong(p, "registers of one name: from 1 to 1048576");
      if (!ptx_next(p) || !ptx_expect(p, '>')) return false;
    }
    struct symbol *s = ptx_declare(p, &name, SYMBOL_REGISTER);
    if (!s) return false;
    s->type = (uint8_t)type;
    s->count = (uint32_t)count;
    if ((p->register_total += s->count ? s->count : 1) > MAX_ALL_REGISTERS)
      return ptx_fail(p, PTX_ERROR_SYNTAX, name.line, name.text, name.length, "more than 16777216 registers in all functions");
    s->rows = ptx_arena(&p->scratch, (size_t)(count ? count : 1) * sizeof *s->rows);
    if (!s->rows) return no_memory(p);
    memset(s->rows, 0xff, (size_t)(count ? count : 1) * sizeof *s->rows);
  } while (ptx_accept(p, ','));
  return ptx_expect(p, ';');
}

static bool read_name(struct parser *p, struct declaration *d) {
  if (p->token.kind != TOKEN_WORD) return wrong(p, "the name of a variable expected here");
  const struct token name = p->token;
  const unsigned bytes = ptx_type_bytes[d->type];
  uint64_t size = (uint64_t)bytes * d->vector;
  d->dimensions = 0;
  d->open = false;
  if (!ptx_next(p)) return false;
  while (ptx_accept(p, '[')) {
    int64_t n = 0;
    if (d->dimensions == MAX_DIMENSIONS) return wrong(p, "too many dimensions");
    if (ptx_is_mark(p, ']')) {
      if (d->dimensions) return wrong(p, "only the first dimension may be left out");
      d->open = true;
    } else if (!ptx_constant(p, &n)) {
      return false;
    }
    if (n < 0 || (n && size > (1ull << 40) / (uint64_t)n)) return wrong(p, "the size before this is out of range");
    size *= (uint64_t)n;
    d->dimension[d->dimensions++] = (uint64_t)n;
    if (!ptx_expect(p, ']')) return false;
  }
  if (d->vector > 1 && d->dimensions && d->dimensions < MAX_DIMENSIONS) d->dimension[d->dimensions++] = d->vector;
  struct symbol *s = p->depth ? NULL : ptx_find(p, name.text, name.length, name.hash);
  const bool completes = s && s->kind == SYMBOL_VARIABLE && s->space == d->space && (s->external || d->external || (s->weak && d->weak));
  if (completes && (d->external || !s->external)) { /* declared or weakly defined before: the first one stays */
    struct symbol sink = *s;
    if (ptx_is_mark(p, '=') && (!ptx_next(p) || !read_initial(p, &sink, d))) return false;
    return true;
  }
  if (!completes) s = ptx_declare(p, &name, SYMBOL_VARIABLE);
  if (!s) return false;
  s->type = d->type;
  s->space = d->space;
  s->external = d->external;
  s->visible = d->visible || d->weak;
  s->weak = d->weak;
  s->align = d->align ? d->align : bytes * d->vector;
  s->size = size;
  if (ptx_accept(p, '=') && !read_initial(p, s, d)) return false;
  if (s->size == 0 && !(d->external && d->space == SPACE_SHARED) && !d->external) {
    if (d->open && d->space == SPACE_SHARED) s->external = d->external = true;
    else if (d->open || d->space == SPACE_LOCAL) return ptx_fail(p, PTX_ERROR_SYNTAX, name.line, name.text, name.length, "has no size");
  }
  return settle(p, s, d);
}

bool ptx_read_variable(struct parser *p, const char *linkage) {
  static const struct {
    const char *name;
    uint8_t space;
  } spaces[] = {{".global", SPACE_GLOBAL}, {".const", SPACE_CONST}, {".shared", SPACE_SHARED}, {".local", SPACE_LOCAL}, {".param", SPACE_PARAM}};
  struct declaration d = {.space = 255, .type = T_NONE, .vector = 1, .in_function = p->depth > 0};
  if (ptx_is_directive(p, ".reg")) return ptx_next(p) && read_registers(p);
  if (linkage) {
    d.external = !strcmp(linkage, ".extern");
    d.visible = !strcmp(linkage, ".visible") || !strcmp(linkage, ".common") || d.external;
    d.weak = !strcmp(linkage, ".weak") || !strcmp(linkage, ".common");
  }
  while (p->token.kind == TOKEN_DIRECTIVE) {
    bool known = false;
    for (unsigned i = 0; i < sizeof spaces / sizeof spaces[0]; i++)
      if (ptx_is_directive(p, spaces[i].name)) {
        d.space = spaces[i].space;
        known = true;
      }
    if (ptx_is_directive(p, ".extern")) known = d.external = d.visible = true;
    if (ptx_is_directive(p, ".align")) {
      int64_t n;
      if (!ptx_next(p) || !ptx_constant(p, &n)) return false;
      if (n < 1 || n > 1 << 16 || (n & (n - 1))) return wrong(p, "the alignment before this is not a power of two");
      d.align = (uint32_t)n;
      continue;
    }
    if (ptx_is_directive(p, ".attribute")) {
      while (!ptx_is_mark(p, ')') && p->token.kind != TOKEN_END)
        if (!ptx_next(p)) return false;
      if (!ptx_expect(p, ')')) return false;
      continue;
    }
    if (ptx_is_directive(p, ".v2") || ptx_is_directive(p, ".v4")) {
      d.vector = (uint8_t)(p->token.text[2] - '0');
      known = true;
    }
    if (!known) {
      d.type = (uint8_t)ptx_type_named(p->token.text + 1, p->token.length - 1);
      if (d.type == T_NONE || d.type == T_PRED || (d.type >= T_U16X2))
        return ptx_fail(p, PTX_ERROR_UNKNOWN, p->token.line, p->token.text, p->token.length, "unknown directive or type");
    }
    if (!ptx_next(p)) return false;
  }
  if (d.space == 255) return wrong(p, "a state space is missing before this");
  if (d.type == T_NONE) return wrong(p, "a type is missing before this");
  if (!p->depth && (d.space == SPACE_LOCAL || d.space == SPACE_PARAM)) return wrong(p, "variables of this space are declared in functions");
  do {
    if (!read_name(p, &d)) return false;
  } while (ptx_accept(p, ','));
  return ptx_expect(p, ';');
}
