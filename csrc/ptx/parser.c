/* The text of a module: header, functions with their parameters and directives, statements of a body. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

static bool count_of(struct parser *p, uint32_t limit, uint32_t *out) {
  int64_t value;
  if (!ptx_constant(p, &value)) return false;
  if (value < 0 || value > limit) return ptx_unexpected(p, "the number before this is out of range");
  *out = (uint32_t)value;
  return true;
}

/* --- Header --------------------------------------------------------------------------------------------------------------------- */

static bool read_version(struct parser *p) {
  unsigned major = 0, minor = 0;
  if (p->token.kind != TOKEN_F64) return ptx_unexpected(p, "a version M.m expected here");
  const char *at = p->token.text, *const end = at + p->token.length;
  for (; at < end && *at != '.'; at++) major = major * 10 + (unsigned)(*at - '0');
  for (at++; at < end; at++) minor = minor * 10 + (unsigned)(*at - '0');
  if (major > 99 || minor > 9) return ptx_unexpected(p, "is not a version that PTX has");
  p->version = major * 10 + minor;
  p->version_seen = true;
  if (p->version > p->options->version_limit)
    return ptx_fail(p, PTX_ERROR_VERSION, p->token.line, p->token.text, p->token.length, "this .version is newer than the driver");
  return ptx_next(p);
}

static bool read_target(struct parser *p) {
  for (;;) {
    if (p->token.kind != TOKEN_WORD) return ptx_unexpected(p, "a target expected here");
    if (p->token.length > 3 && !memcmp(p->token.text, "sm_", 3)) {
      unsigned number = 0;
      for (uint32_t i = 3; i < p->token.length && p->token.text[i] >= '0' && p->token.text[i] <= '9' && number < 10000; i++)
        number = number * 10 + (unsigned)(p->token.text[i] - '0');
      p->target = number;
      p->target_seen = true;
      if (number > p->options->capability)
        return ptx_fail(p, PTX_ERROR_TARGET, p->token.line, p->token.text, p->token.length,
                        "this .target is above the device's compute capability");
    }
    if (!ptx_next(p)) return false;
    if (!ptx_accept(p, ',')) return true;
  }
}

static bool skip_section(struct parser *p) {
  while (!ptx_is_mark(p, '{')) {
    if (p->token.kind == TOKEN_END) return ptx_unexpected(p, "'{' expected behind .section");
    if (!ptx_next(p)) return false;
  }
  /* debugging data has bytes that are no tokens of ours: only braces and strings matter */
  unsigned depth = 0;
  do {
    if (ptx_is_mark(p, '{')) depth++;
    if (ptx_is_mark(p, '}')) depth--;
    if (p->token.kind == TOKEN_END) return ptx_unexpected(p, "'}' missing at the end of .section");
    if (depth) ptx_lex(&p->lexer, &p->token);
  } while (depth);
  return ptx_next(p);
}

/* .file 1 "name" [, time, size]; .loc file line column [, function_name ..., inlined_at ...]: to the end of the line. */
static bool skip_line(struct parser *p) {
  const uint32_t line = p->token.line;
  while (p->token.kind != TOKEN_END && p->token.line == line) ptx_lex(&p->lexer, &p->token);
  return p->token.kind != TOKEN_BAD || ptx_unexpected(p, "does not belong to PTX text");
}

static bool skip_statement(struct parser *p) {
  while (p->token.kind != TOKEN_END && !ptx_is_mark(p, ';'))
    if (!ptx_next(p)) return false;
  return ptx_expect(p, ';');
}

/* --- Functions ------------------------------------------------------------------------------------------------------------------- */

static uint32_t align_up(uint32_t value, uint32_t align) { return (value + align - 1) / align * align; }

/* One parameter: .param [.align N] .type [.ptr [.space] [.align N]] name [[size]], or .reg .type name. */
static bool read_parameter(struct parser *p, bool entry, bool defines, uint32_t *end, struct argument *out) {
  const bool is_register = ptx_is_directive(p, ".reg");
  uint32_t align = 0, count = 1;
  if (!is_register && !ptx_is_directive(p, ".param")) return ptx_unexpected(p, "'.param' expected here");
  if (!ptx_next(p)) return false;
  if (ptx_accept_directive(p, ".align") && !count_of(p, 1 << 16, &align)) return false;
  if (p->token.kind != TOKEN_DIRECTIVE) return ptx_unexpected(p, "a type expected here");
  const enum type type = ptx_type_named(p->token.text + 1, p->token.length - 1);
  if (type == T_NONE || (type == T_PRED && !is_register)) return ptx_unexpected(p, "is not a type of parameters");
  if (!ptx_next(p)) return false;
  if (ptx_accept_directive(p, ".ptr")) {
    while (p->token.kind == TOKEN_DIRECTIVE) {
      uint32_t ignored;
      if (ptx_accept_directive(p, ".align")) {
        if (!count_of(p, 1u << 31, &ignored)) return false;
      } else if (!ptx_next(p)) {
        return false;
      }
    }
  }
  if (ptx_accept_directive(p, ".align") && !count_of(p, 1 << 16, &align)) return false;
  if (align & (align - 1)) return ptx_unexpected(p, "the alignment before this is not a power of two");
  if (p->token.kind != TOKEN_WORD) return ptx_unexpected(p, "the name of a parameter expected here");
  const struct token name = p->token;
  if (!ptx_next(p)) return false;
  if (ptx_accept(p, '[')) {
    if (ptx_is_mark(p, ']')) count = 0;
    else if (!count_of(p, 32764, &count)) return false;
    if (!ptx_expect(p, ']')) return false;
  }
  const unsigned bytes = ptx_type_bytes[type];
  out->type = (uint8_t)type;
  out->size = bytes * count;
  out->align = align ? align : bytes ? bytes : 1;
  out->row = NONE;
  if (!is_register) {
    out->offset = align_up(*end, out->align);
    *end = out->offset + out->size;
    if (*end > 32764) return ptx_fail(p, PTX_ERROR_SYNTAX, name.line, name.text, name.length, "the parameters take more than 32764 bytes");
  }
  if (!defines) return true;
  struct symbol *s = ptx_declare(p, &name, is_register ? SYMBOL_REGISTER : SYMBOL_VARIABLE);
  if (!s) return false;
  s->type = (uint8_t)type;
  s->align = out->align;
  s->size = out->size;
  if (is_register) {
    s->rows = ptx_arena(&p->scratch, sizeof *s->rows);
    if (!s->rows) return ptx_fail(p, PTX_ERROR_MEMORY, name.line, "", 0, "out of memory");
    out->row = *s->rows = ptx_row_new(p, type);
  } else {
    s->space = SPACE_PARAM;
    s->parameter = true;
    s->kernel_parameter = entry;
    s->address = out->offset;
  }
  return true;
}

static bool read_parameters(struct parser *p, bool entry, bool defines, uint32_t *end, struct argument **list, uint32_t *count) {
  uint32_t capacity = *count;
  if (ptx_is_mark(p, ')')) return ptx_next(p);
  struct argument *grown = NULL;
  if (*count) {
    grown = malloc(capacity * sizeof *grown);
    if (grown) memcpy(grown, *list, *count * sizeof *grown);
    else capacity = *count = 0;
  }
  bool good = true;
  do {
    good = GROW(grown, capacity, *count) || ptx_fail(p, PTX_ERROR_MEMORY, p->token.line, "", 0, "out of memory");
    if (good && *count >= 4096) good = ptx_unexpected(p, "too many parameters");
    good = good && read_parameter(p, entry, defines, end, &grown[*count]);
    if (good) ++*count;
  } while (good && ptx_accept(p, ','));
  if (good) {
    *list = ptx_arena(&p->module->arena, *count * sizeof **list);
    if (*list) memcpy(*list, grown, *count * sizeof **list);
    else good = ptx_fail(p, PTX_ERROR_MEMORY, p->token.line, "", 0, "out of memory");
  }
  free(grown);
  return good && ptx_expect(p, ')');
}

/* (results) name (parameters), the name already read for prototypes. */
static bool read_signature(struct parser *p, bool defines, struct signature *out, struct token *name, uint32_t *end) {
  *out = (struct signature){0};
  uint32_t count = 0;
  if (ptx_accept(p, '(')) {
    if (!read_parameters(p, false, defines, end, &out->arguments, &count)) return false;
    out->result_count = count;
  }
  if (p->token.kind != TOKEN_WORD) return ptx_unexpected(p, "the name of a function expected here");
  *name = p->token;
  if (!ptx_next(p)) return false;
  if (ptx_accept(p, '(') && !read_parameters(p, false, defines, end, &out->arguments, &count)) return false;
  out->argument_count = count - out->result_count;
  return true;
}

static bool same_signature(const struct signature *a, const struct signature *b) {
  if (a->argument_count != b->argument_count || a->result_count != b->result_count) return false;
  for (uint32_t i = 0; i < a->argument_count + a->result_count; i++)
    if (a->arguments[i].size != b->arguments[i].size || (a->arguments[i].type == T_PRED) != (b->arguments[i].type == T_PRED)) return false;
  return true;
}

static bool three(struct parser *p, uint32_t out[3]) {
  out[0] = out[1] = out[2] = 1;
  for (int i = 0; i < 3; i++) {
    if (!count_of(p, 1 << 30, &out[i])) return false;
    if (!ptx_accept(p, ',')) break;
  }
  return true;
}

static bool read_directives(struct parser *p, struct function *f) {
  uint32_t n[3];
  while (p->token.kind == TOKEN_DIRECTIVE) {
    if (ptx_accept_directive(p, ".maxntid")) {
      if (!three(p, n)) return false;
      const uint64_t product = (uint64_t)n[0] * n[1] * n[2];
      f->info.max_threads = product > FULL ? FULL : (uint32_t)product;
    } else if (ptx_accept_directive(p, ".reqntid")) {
      if (!three(p, f->info.required_block)) return false;
    } else if (ptx_accept_directive(p, ".minnctapersm")) {
      if (!count_of(p, 1 << 16, &f->info.min_blocks)) return false;
    } else if (ptx_accept_directive(p, ".maxnreg") || ptx_accept_directive(p, ".maxnctapersm") || ptx_accept_directive(p, ".maxclusterrank") ||
               ptx_accept_directive(p, ".abi_preserve") || ptx_accept_directive(p, ".abi_preserve_control") || ptx_accept_directive(p, ".local_maxnreg")) {
      if (!count_of(p, 1 << 16, n)) return false;
    } else if (ptx_accept_directive(p, ".reqnctapercluster")) {
      const struct token at = p->token;
      if (!three(p, n)) return false;
      if ((uint64_t)n[0] * n[1] * n[2] != 1)
        return ptx_fail(p, PTX_ERROR_UNKNOWN, at.line, at.text, at.length, "clusters of more than one block are not there");
    } else if (ptx_accept_directive(p, ".noreturn")) {
      f->noreturn = f->info.noreturn = true;
    } else if (ptx_accept_directive(p, ".explicitcluster") || ptx_accept_directive(p, ".blocksareclusters")) {
    } else if (ptx_is_directive(p, ".pragma")) {
      if (!skip_statement(p)) return false;
    } else if (ptx_accept_directive(p, ".attribute")) {
      while (!ptx_is_mark(p, ')') && p->token.kind != TOKEN_END)
        if (!ptx_next(p)) return false;
      if (!ptx_expect(p, ')')) return false;
    } else {
      return ptx_fail(p, PTX_ERROR_UNKNOWN, p->token.line, p->token.text, p->token.length, "unknown directive of a function");
    }
  }
  return true;
}

static bool read_prototype(struct parser *p, const struct token *label) {
  struct token name;
  uint32_t end = 0;
  struct symbol *s = ptx_declare(p, label, SYMBOL_PROTOTYPE);
  if (!s || !read_signature(p, false, &s->signature, &name, &end)) return false;
  struct function ignored = {0};
  return read_directives(p, &ignored) && ptx_expect(p, ';');
}

static bool read_targets(struct parser *p, const struct token *label) {
  struct symbol *s = ptx_declare(p, label, SYMBOL_TARGETS);
  if (!s) return false;
  uint32_t capacity = 0, first = p->fixup_count;
  do {
    if (p->token.kind != TOKEN_WORD) return ptx_unexpected(p, "a label expected here");
    if (!GROW(p->fixups, p->fixup_capacity, p->fixup_count)) return ptx_fail(p, PTX_ERROR_MEMORY, p->token.line, "", 0, "out of memory");
    p->fixups[p->fixup_count++] =
        (struct fixup){.name = p->token.text, .length = p->token.length, .hash = p->token.hash, .line = p->token.line, .depth = p->depth};
    capacity++;
    if (!ptx_next(p)) return false;
  } while (ptx_accept(p, ','));
  s->targets = ptx_arena(&p->module->arena, capacity * sizeof *s->targets);
  if (!s->targets) return ptx_fail(p, PTX_ERROR_MEMORY, p->token.line, "", 0, "out of memory");
  s->target_count = capacity;
  for (uint32_t i = 0; i < capacity; i++) p->fixups[first + i].table = &s->targets[i];
  return ptx_expect(p, ';');
}

static bool read_label(struct parser *p, const struct token *name) {
  if (!ptx_next(p)) return false; /* the colon */
  if (ptx_accept_directive(p, ".callprototype")) return read_prototype(p, name);
  if (ptx_accept_directive(p, ".branchtargets")) return read_targets(p, name);
  if (ptx_is_directive(p, ".calltargets")) return skip_statement(p);
  struct symbol *s = ptx_declare(p, name, SYMBOL_LABEL);
  if (!s) return false;
  /* Where groups of lanes meet again. Several labels of one place need one. */
  if (!p->code_count || p->code[p->code_count - 1].family != F_LABEL) {
    p->statement_line = name->line;
    p->statement_first = NONE;
    if (!ptx_emit(p, F_LABEL, T_NONE)) return false;
  }
  s->address = p->code_count - 1;
  return true;
}

static bool body_directive(struct parser *p) {
  if (ptx_is_directive(p, ".loc") || ptx_is_directive(p, ".file")) return skip_line(p);
  if (ptx_is_directive(p, ".pragma")) return skip_statement(p);
  if (ptx_is_directive(p, ".section")) return skip_section(p);
  return ptx_read_variable(p, NULL);
}

static bool recover(struct parser *p) {
  if (!p->options->keep_going || p->error == PTX_ERROR_MEMORY || p->messages > 10000) return false;
  while (p->token.kind != TOKEN_END && !ptx_is_mark(p, ';') && !ptx_is_mark(p, '}')) ptx_lex(&p->lexer, &p->token);
  if (ptx_is_mark(p, ';')) ptx_lex(&p->lexer, &p->token);
  return p->token.kind != TOKEN_END;
}

static bool read_body(struct parser *p) {
  const uint16_t outer = p->depth;
  while (p->depth >= outer) {
    bool good;
    if (ptx_is_mark(p, '{')) {
      if (p->depth >= MAX_NESTING) return ptx_unexpected(p, "blocks are nested too deeply");
      ptx_scope_open(p);
      good = ptx_next(p);
    } else if (ptx_is_mark(p, '}')) {
      if (p->depth == outer) {
        struct instr *end = ptx_emit(p, p->function->entry ? F_EXIT : F_RET, T_NONE);
        if (end) end->counted = false;
      }
      if (!ptx_scope_close(p)) return false;
      good = ptx_next(p);
    } else if (p->token.kind == TOKEN_END) {
      return ptx_unexpected(p, "'}' missing at the end of the function");
    } else if (p->token.kind == TOKEN_DIRECTIVE) {
      good = body_directive(p);
    } else if (ptx_accept(p, ';')) {
      good = true;
    } else if (p->token.kind == TOKEN_WORD && p->lexer.at < p->lexer.end) {
      const struct token name = p->token;
      const char *at = p->lexer.at;
      while (at < p->lexer.end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
      if (at < p->lexer.end && *at == ':') good = ptx_next(p) && read_label(p, &name);
      else good = ptx_statement(p);
    } else {
      good = ptx_statement(p);
    }
    if (!good && !recover(p)) return false;
    if (p->code_count > MAX_ROWS) return ptx_unexpected(p, "the function is too long");
  }
  return true;
}

static bool keep_code(struct parser *p, struct function *f) {
  f->code = ptx_arena(&p->module->arena, p->code_count * sizeof *f->code + 64);
  f->calls = ptx_arena(&p->module->arena, (p->call_count + 1) * sizeof *f->calls);
  f->row_kinds = ptx_arena(&p->module->arena, p->frame_bytes / 64 + 1);
  if (f->row_kinds && p->frame_bytes) memcpy(f->row_kinds, p->row_kinds, p->frame_bytes / 64);
  if (!f->code || !f->calls || !f->row_kinds) return ptx_fail(p, PTX_ERROR_MEMORY, p->token.line, "", 0, "out of memory");
  memcpy(f->code, p->code, p->code_count * sizeof *f->code);
  if (p->call_count) memcpy(f->calls, p->calls, p->call_count * sizeof *f->calls);
  f->code_count = p->code_count;
  f->call_count = p->call_count;
  f->frame_bytes = (p->frame_bytes + 63) & ~63u;
  f->local_bytes = p->local_bytes;
  p->module->instruction_count += p->code_count;
  return true;
}

static bool read_function(struct parser *p, bool entry, const char *linkage) {
  struct ptx_module *m = p->module;
  struct token name;
  struct signature signature = {0};
  uint32_t end = 0;
  /* Parameters are declared one level in: they go with the body. Where there is none, they go at once. */
  p->frame_bytes = p->param_bytes = p->local_bytes = 0;
  p->predicate_next = p->predicate_end = 0;
  memset(p->temporary_made, 0, sizeof p->temporary_made);
  const uint32_t relocations = m->relocation_count;
  p->code_count = p->call_count = p->fixup_count = 0;
  ptx_arena_free(&p->scratch);
  struct function dummy = {0};
  p->function = &dummy;
  ptx_scope_open(p);
  if (entry) {
    uint32_t count = 0;
    if (p->token.kind != TOKEN_WORD) return ptx_unexpected(p, "the name of a kernel expected here");
    name = p->token;
    if (!ptx_next(p)) return false;
    if (ptx_accept(p, '(') && !read_parameters(p, true, true, &end, &signature.arguments, &count)) return false;
    signature.argument_count = count;
  } else if (!read_signature(p, true, &signature, &name, &end)) {
    return false;
  }
  struct symbol *s = ptx_find(p, name.text, name.length, name.hash);
  if (s && (s->kind != SYMBOL_FUNCTION || s->function->entry != entry))
    return ptx_fail(p, PTX_ERROR_SYNTAX, name.line, name.text, name.length, "is declared twice");
  if (!s) {
    const uint16_t depth = p->depth;
    p->depth = 0;
    /* a function of module scope, declared while its parameters are in scope: it goes below them */
    s = ptx_declare(p, &name, SYMBOL_FUNCTION);
    p->depth = depth;
    if (!s) return false;
    for (uint32_t i = p->scope_count - 1; i && p->scope[i - 1]->depth; i--) {
      struct symbol *swap = p->scope[i];
      p->scope[i] = p->scope[i - 1];
      p->scope[i - 1] = swap;
    }
    s->function = ptx_arena(&m->arena, sizeof *s->function);
    if (!s->function || !GROW(m->functions, m->function_capacity, m->function_count))
      return ptx_fail(p, PTX_ERROR_MEMORY, name.line, "", 0, "out of memory");
    *s->function = (struct function){.name = s->name, .index = m->function_count, .entry = entry, .signature = signature,
                                     .source = p->source, .line = name.line};
    m->functions[m->function_count++] = s->function;
  }
  struct function *f = s->function;
  if (!same_signature(&f->signature, &signature))
    return ptx_fail(p, PTX_ERROR_TYPE, name.line, name.text, name.length, "is declared with other parameters before");
  if (!strcmp(linkage, ".extern")) f->external = true;
  if (!strcmp(linkage, ".visible")) f->visible = s->visible = true;
  if (!strcmp(linkage, ".weak")) f->weak = s->weak = true;
  if (!read_directives(p, f)) return false;
  if (ptx_accept(p, ';')) {
    p->function = NULL;
    return ptx_scope_close(p);
  }
  if (!ptx_is_mark(p, '{')) return ptx_unexpected(p, "'{' or ';' expected here");
  const bool again = f->defined;
  if (again && !f->weak) return ptx_fail(p, PTX_ERROR_SYNTAX, name.line, name.text, name.length, "is defined twice");
  struct function spare = *f;
  p->function = again ? &spare : f;
  p->function->signature = signature;
  p->function->source = p->source;
  p->function->line = name.line;
  p->param_bytes = end;
  p->local_bytes = entry ? 0 : end;
  if (!ptx_next(p) || !read_body(p)) return false;
  p->function = NULL;
  if (again) { /* another definition of a weak function: checked, and dropped */
    m->relocation_count = relocations;
    return true;
  }
  f->defined = true;
  if (!keep_code(p, f)) return false;
  if (!entry) return true;
  f->info.name = f->name;
  f->info.parameter_bytes = end;
  f->info.parameter_count = signature.argument_count;
  struct ptx_parameter *list = ptx_arena(&m->arena, (signature.argument_count + 1) * sizeof *list);
  if (!list) return ptx_fail(p, PTX_ERROR_MEMORY, name.line, "", 0, "out of memory");
  for (uint32_t i = 0; i < signature.argument_count; i++)
    list[i] = (struct ptx_parameter){signature.arguments[i].offset, signature.arguments[i].size, signature.arguments[i].align};
  f->info.parameters = list;
  return true;
}

/* --- Module scope ------------------------------------------------------------------------------------------------------------------ */

static bool read_item(struct parser *p) {
  static const char *const linkages[] = {".extern", ".visible", ".weak", ".common"};
  const char *linkage = "";
  if (p->token.kind != TOKEN_DIRECTIVE) return ptx_unexpected(p, "a directive expected here");
  for (bool again = true; again;) {
    again = false;
    for (int i = 0; i < 4; i++)
      if (ptx_accept_directive(p, linkages[i])) {
        linkage = linkages[i];
        again = true;
      }
  }
  if (ptx_accept_directive(p, ".version")) return read_version(p);
  if (!p->version_seen) return ptx_fail(p, PTX_ERROR_NOT_PTX, p->token.line, p->token.text, p->token.length, "PTX begins with .version");
  if (ptx_accept_directive(p, ".target")) return read_target(p);
  if (ptx_accept_directive(p, ".address_size")) {
    int64_t bits;
    if (!ptx_constant(p, &bits)) return false;
    return bits == 64 || ptx_unexpected(p, "only an .address_size of 64 is there");
  }
  if (!p->target_seen) return ptx_unexpected(p, ".target is missing before this");
  if (ptx_accept_directive(p, ".entry")) return read_function(p, true, linkage);
  if (ptx_accept_directive(p, ".func")) {
    while (p->token.kind == TOKEN_DIRECTIVE) /* .attribute(.unified(…)), .noreturn before the name */
      if (ptx_is_directive(p, ".attribute") || ptx_is_directive(p, ".noreturn")) {
        struct function ignored = {0};
        if (!read_directives(p, &ignored)) return false;
      } else {
        break;
      }
    return read_function(p, false, linkage);
  }
  if (ptx_is_directive(p, ".section")) return skip_section(p);
  if (ptx_is_directive(p, ".file") || ptx_is_directive(p, ".loc")) return skip_line(p);
  if (ptx_is_directive(p, ".pragma") || ptx_is_directive(p, ".alias")) return skip_statement(p);
  return ptx_read_variable(p, linkage);
}

bool ptx_parse_source(struct parser *p) {
  p->lexer = (struct lexer){p->sources[p->source].text, p->sources[p->source].text + p->sources[p->source].length, 1};
  p->version_seen = p->target_seen = false;
  /* the loader's text may end in NUL bytes */
  while (p->lexer.end > p->lexer.at && p->lexer.end[-1] == 0) p->lexer.end--;
  ptx_lex(&p->lexer, &p->token);
  if (!ptx_is_directive(p, ".version"))
    return ptx_fail(p, PTX_ERROR_NOT_PTX, p->token.line, p->token.text, p->token.length, "PTX begins with .version");
  while (p->token.kind != TOKEN_END) {
    if (read_item(p)) continue;
    if (!p->options->keep_going || p->error == PTX_ERROR_NOT_PTX || p->error == PTX_ERROR_MEMORY || p->messages > 10000) return false;
    /* behind the broken item: its names go, its body is skipped */
    p->function = NULL;
    while (p->depth) {
      p->fixup_count = 0;
      ptx_scope_close(p);
    }
    while (p->token.kind != TOKEN_END && !ptx_is_directive(p, ".entry") && !ptx_is_directive(p, ".func") && !ptx_is_directive(p, ".visible"))
      ptx_lex(&p->lexer, &p->token);
  }
  return p->error == PTX_OK;
}
