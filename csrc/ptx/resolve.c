/* Names: what is declared, where registers, constants and variables lie, and what the whole module needs once it is read. */
#define _POSIX_C_SOURCE 200809L
#include "internal.h"

#include <stdlib.h>

static bool no_memory(struct parser *p) { return ptx_fail(p, PTX_ERROR_MEMORY, p->token.line, "", 0, "out of memory"); }

/* --- Names ------------------------------------------------------------------------------------------------------------ */

struct symbol *ptx_find(struct parser *p, const char *name, uint32_t length, uint32_t hash) {
  for (struct symbol *s = p->buckets[hash % p->bucket_count]; s; s = s->next)
    if (s->hash == hash && s->length == length && !memcmp(s->name, name, length)) return s;
  return NULL;
}

static bool widen_buckets(struct parser *p) {
  if (p->scope_count < p->bucket_count) return true;
  const uint32_t wanted = p->bucket_count * 4;
  struct symbol **buckets = calloc(wanted, sizeof *buckets);
  if (!buckets) return false;
  /* in the order of declaration, so that the newer one of a name stays first */
  for (uint32_t i = 0; i < p->scope_count; i++) {
    struct symbol *s = p->scope[i], **head = &buckets[s->hash % wanted];
    s->next = *head;
    *head = s;
  }
  free(p->buckets);
  p->buckets = buckets;
  p->bucket_count = wanted;
  return true;
}

struct symbol *ptx_declare(struct parser *p, const struct token *name, enum symbol_kind kind) {
  struct symbol *s = ptx_find(p, name->text, name->length, name->hash);
  if (s && s->depth == p->depth) {
    ptx_fail(p, PTX_ERROR_SYNTAX, name->line, name->text, name->length, "is declared twice");
    return NULL;
  }
  /* A variable that is declared inside a function stays with the module too: it is placed and linked after parsing. */
  const bool stays = p->depth == 0 || kind == SYMBOL_VARIABLE;
  s = ptx_arena(stays ? &p->module->arena : &p->scratch, sizeof *s);
  if (!s || !widen_buckets(p) || !GROW(p->scope, p->scope_capacity, p->scope_count)) {
    no_memory(p);
    return NULL;
  }
  *s = (struct symbol){.name = name->text, .length = name->length, .hash = name->hash, .kind = (uint8_t)kind, .depth = p->depth,
                       .line = name->line, .source = p->source, .type = T_NONE};
  if (stays) { /* the text goes away, the module stays */
    char *copy = ptx_arena(&p->module->arena, name->length + 1u);
    if (!copy) {
      no_memory(p);
      return NULL;
    }
    memcpy(copy, name->text, name->length);
    s->name = copy;
  }
  struct symbol **head = &p->buckets[s->hash % p->bucket_count];
  s->next = *head;
  *head = s;
  p->scope[p->scope_count++] = s;
  return s;
}

void ptx_scope_open(struct parser *p) { p->depth++; }

/* Branches to labels of this block are bound; the others go to the block around it. */
bool ptx_scope_close(struct parser *p) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < p->fixup_count; i++) {
    struct fixup *f = &p->fixups[i];
    if (f->depth == p->depth) {
      const struct symbol *label = ptx_find(p, f->name, f->length, f->hash);
      if (label && label->kind == SYMBOL_LABEL && label->depth == p->depth) {
        const int32_t target = (int32_t)label->address;
        if (f->table) *f->table = (uint32_t)target;
        else p->code[f->instruction].delta = target - (int32_t)f->instruction;
        continue;
      }
      if (p->depth == 1)
        if (!ptx_fail(p, PTX_ERROR_UNDECLARED, f->line, f->name, f->length, "is not a label of this function") &&
            !p->options->keep_going)
          return false;
      f->depth--;
    }
    p->fixups[kept++] = *f;
  }
  p->fixup_count = p->depth == 1 ? 0 : kept;
  while (p->scope_count && p->scope[p->scope_count - 1]->depth == p->depth) {
    struct symbol *s = p->scope[--p->scope_count];
    p->buckets[s->hash % p->bucket_count] = s->next;
  }
  p->depth--;
  return true;
}

/* --- Registers and constants ---------------------------------------------------------------------------------------------- */

static uint32_t row_bytes(enum type type) {
  const unsigned bytes = ptx_type_bytes[type];
  return WARP * (bytes < 2 ? 2 : bytes);
}

/* For each 64 bytes of the frame: how wide a lane is, for when lanes move between frames. */
static void note_rows(struct parser *p, uint32_t begin, uint32_t end, unsigned kind) {
  while (end / 64 > p->row_kind_capacity) {
    const uint32_t wanted = p->row_kind_capacity ? p->row_kind_capacity * 2 : 256;
    uint8_t *grown = realloc(p->row_kinds, wanted);
    if (!grown) {
      no_memory(p);
      return;
    }
    p->row_kinds = grown;
    p->row_kind_capacity = wanted;
  }
  memset(p->row_kinds + begin / 64, (int)kind, (end - begin) / 64);
}

uint32_t ptx_row_new(struct parser *p, enum type type) {
  if (type == T_PRED) {
    if (p->predicate_next == p->predicate_end) {
      p->predicate_next = p->frame_bytes;
      p->predicate_end = p->frame_bytes += 64;
      note_rows(p, p->predicate_next, p->predicate_end, 0);
    }
    p->predicate_next += 4;
    return p->predicate_next - 4;
  }
  const uint32_t row = p->frame_bytes;
  p->frame_bytes += row_bytes(type);
  note_rows(p, row, p->frame_bytes, row_bytes(type) / WARP);
  return row;
}

bool ptx_register(struct parser *p, const char *name, uint32_t length, uint32_t hash, uint32_t *row, uint8_t *type) {
  struct symbol *s = ptx_find(p, name, length, hash);
  uint32_t index = 0;
  if (s && (s->kind != SYMBOL_REGISTER || s->count)) s = s->kind == SYMBOL_REGISTER ? NULL : s;
  uint32_t prefix = length;
  while (prefix > 1 && name[prefix - 1] >= '0' && name[prefix - 1] <= '9') prefix--;
  if (prefix < length && length - prefix < 8 && (name[prefix] != '0' || length - prefix == 1)) {
    struct symbol *family = ptx_find(p, name, prefix, ptx_hash(name, prefix));
    for (; family; family = family->next) /* a single register may hide the prefix's name */
      if (family->kind == SYMBOL_REGISTER && family->count && family->length == prefix && !memcmp(family->name, name, prefix)) break;
    if (family && (!s || s->depth < family->depth)) {
      for (uint32_t i = prefix; i < length; i++) index = index * 10 + (uint32_t)(name[i] - '0');
      if (index < family->count) s = family;
    }
  }
  if (!s || s->kind != SYMBOL_REGISTER) return false;
  if (s->rows[index] == NONE) {
    if (p->frame_bytes > MAX_ROWS) return ptx_fail(p, PTX_ERROR_SYNTAX, p->token.line, name, length, "too many registers in this function");
    s->rows[index] = ptx_row_new(p, s->type);
    p->function->registers += ptx_type_bytes[s->type] > 4 ? ptx_type_bytes[s->type] / 4u : ptx_type_bytes[s->type] > 0;
  }
  *row = s->rows[index];
  *type = s->type;
  return true;
}

static uint32_t new_constant(struct parser *p, unsigned bytes) {
  struct ptx_module *m = p->module;
  const uint32_t row = m->constant_bytes, size = bytes ? bytes * WARP : 64;
  if (row > MAX_ROWS * 16u) {
    ptx_fail(p, PTX_ERROR_SYNTAX, p->token.line, "", 0, "too many constants in this module");
    return NONE;
  }
  if (row + size > m->constant_capacity) {
    const uint32_t wanted = m->constant_capacity ? m->constant_capacity * 2 : 1 << 16;
    uint8_t *grown = aligned_alloc(64, wanted);
    if (!grown) {
      no_memory(p);
      return NONE;
    }
    if (row) memcpy(grown, m->constants, row);
    memset(grown + row, 0, wanted - row);
    free(m->constants);
    m->constants = grown;
    m->constant_capacity = wanted;
  }
  m->constant_bytes += size;
  return row;
}

static void fill_row(uint8_t *row, unsigned bytes, uint64_t low, uint64_t high) {
  for (unsigned lane = 0; lane < WARP; lane++) {
    if (bytes == 0) memcpy(row, &(uint32_t){low ? FULL : 0}, 4);
    else if (bytes == 2) ((uint16_t *)(void *)row)[lane] = (uint16_t)low;
    else if (bytes == 4) ((uint32_t *)(void *)row)[lane] = (uint32_t)low;
    else if (bytes == 8) ((uint64_t *)(void *)row)[lane] = low;
    else ((uint64_t *)(void *)row)[2 * lane] = low, ((uint64_t *)(void *)row)[2 * lane + 1] = high;
  }
}

/* Each value once: a table of rows, found by the value in lane 0. */
uint32_t ptx_constant_row(struct parser *p, unsigned bytes, uint64_t low, uint64_t high) {
  if (bytes == 1) bytes = 2;
  if (bytes == 2) low &= 0xffff;
  if (bytes == 4) low &= 0xffffffff;
  if (p->constant_count * 2 >= p->constant_buckets) {
    const uint32_t wanted = p->constant_buckets ? p->constant_buckets * 4 : 1024;
    uint32_t *table = malloc(wanted * 2 * sizeof *table);
    if (!table) {
      no_memory(p);
      return NONE;
    }
    memset(table, 0xff, wanted * 2 * sizeof *table);
    for (uint32_t i = 0; i < p->constant_buckets; i++) {
      if (p->constant_table[2 * i] == NONE) continue;
      uint32_t at = p->constant_table[2 * i + 1] % wanted;
      while (table[2 * at] != NONE) at = (at + 1) % wanted;
      table[2 * at] = p->constant_table[2 * i];
      table[2 * at + 1] = p->constant_table[2 * i + 1];
    }
    free(p->constant_table);
    p->constant_table = table;
    p->constant_buckets = wanted;
  }
  const uint64_t key[3] = {low, high, bytes};
  const uint32_t hash = (uint32_t)((low * 0x9e3779b97f4a7c15u ^ high * 0xc2b2ae3d27d4eb4fu ^ bytes * 0x165667b1u) >> 20);
  uint32_t at = hash % p->constant_buckets;
  for (; p->constant_table[2 * at] != NONE; at = (at + 1) % p->constant_buckets) {
    if (p->constant_table[2 * at + 1] != hash) continue;
    const uint32_t row = p->constant_table[2 * at];
    uint64_t found[3] = {0, 0, row >> 28};
    static const uint8_t bytes_of[] = {0, 2, 4, 8, 16};
    found[2] = bytes_of[found[2]];
    const uint8_t *data = p->module->constants + (row & 0x0ffffffc);
    memcpy(found, data, found[2] ? found[2] : 4);
    if (found[2] == 0) found[0] = found[0] != 0;
    const uint64_t low_key = bytes == 0 ? key[0] != 0 : key[0];
    if (found[2] == key[2] && found[0] == low_key && found[1] == key[1]) return (row & 0x0fffffff) | 1;
  }
  const uint32_t row = new_constant(p, bytes);
  if (row == NONE) return NONE;
  fill_row(p->module->constants + row, bytes, low, high);
  const uint32_t kind = bytes == 0 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : bytes == 8 ? 3 : 4;
  p->constant_table[2 * at] = row | kind << 28;
  p->constant_table[2 * at + 1] = hash;
  p->constant_count++;
  return row | 1;
}

/* function NULL: `where` is a row of the constants, bit 1 set for 8 bytes. */
bool ptx_relocate(struct parser *p, struct function *function, uint32_t where, struct symbol *symbol, int64_t addend) {
  struct ptx_module *m = p->module;
  if (symbol->kind == SYMBOL_FUNCTION) symbol->function->address_taken = true;
  if (symbol->space == SPACE_SHARED && !symbol->function) p->function->uses_common = true;
  if (symbol->depth) { /* a variable of a function outlives the text of it */
    struct symbol *copy = ptx_arena(&m->arena, sizeof *copy);
    if (!copy) return no_memory(p);
    *copy = *symbol;
    symbol = copy;
  }
  if (!GROW(m->relocations, m->relocation_capacity, m->relocation_count)) return no_memory(p);
  m->relocations[m->relocation_count++] = (struct relocation){function, where, symbol, addend};
  return true;
}

uint32_t ptx_symbol_row(struct parser *p, struct symbol *symbol, int64_t addend, unsigned bytes) {
  const uint32_t row = new_constant(p, bytes);
  if (row == NONE) return NONE;
  return ptx_relocate(p, NULL, row | (bytes == 8 ? 2u : 0), symbol, addend) ? row | 1 : NONE;
}

/* --- The end of a module ---------------------------------------------------------------------------------------------------- */

static uint32_t align_up(uint32_t value, uint32_t align) { return align ? (value + align - 1) / align * align : value; }

/* Local memory that a call of f takes at most; a cycle counts once and is marked. An explicit stack: call chains may be long. */
static bool walk_calls(struct parser *p, struct function *root) {
  struct frame_of_walk {
    struct function *f;
    uint32_t next, most;
  } *stack = NULL;
  uint32_t capacity = 0, depth = 0;
  if (root->state) return true;
  if (!GROW(stack, capacity, depth)) return no_memory(p);
  root->state = 1;
  stack[depth++] = (struct frame_of_walk){root, 0, 0};
  while (depth) {
    struct frame_of_walk *top = &stack[depth - 1];
    struct function *f = top->f;
    if (top->next < f->call_count) {
      struct function *g = f->calls[top->next++];
      if (g->state == 0) {
        g->state = 1;
        if (!GROW(stack, capacity, depth)) {
          free(stack);
          return no_memory(p);
        }
        stack[depth++] = (struct frame_of_walk){g, 0, 0};
      } else if (g->state == 1) {
        f->recursive = true;
      } else {
        if (g->depth_bytes > top->most) top->most = g->depth_bytes;
        if (g->recursive) f->recursive = true;
      }
      continue;
    }
    f->depth_bytes = align_up(f->local_bytes, 16) + 16 + top->most;
    if (f->calls_pointer) f->recursive = true;
    f->state = 2;
    depth--;
    if (depth) {
      struct frame_of_walk *below = &stack[depth - 1];
      if (f->depth_bytes > below->most) below->most = f->depth_bytes;
      if (f->recursive) below->f->recursive = true;
    }
  }
  free(stack);
  return true;
}

static bool builtin_of(struct function *f) {
  static const struct {
    const char *name;
    enum builtin builtin;
  } known[] = {{"vprintf", BUILTIN_VPRINTF}, {"__assertfail", BUILTIN_ASSERTFAIL}, {"malloc", BUILTIN_MALLOC}, {"free", BUILTIN_FREE}};
  static const uint8_t arguments[] = {2, 5, 1, 1}, results[] = {1, 0, 1, 0};
  for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++)
    if (!strcmp(f->name, known[i].name) && f->signature.argument_count == arguments[i] && f->signature.result_count == results[i]) {
      f->builtin = (uint8_t)known[i].builtin;
      return true;
    }
  return false;
}

bool ptx_finish_module(struct parser *p) {
  struct ptx_module *m = p->module;
  bool good = true;
  for (uint32_t i = 0; i < m->function_count; i++) {
    struct function *f = m->functions[i];
    if (!f->defined && !builtin_of(f) && (f->called || f->address_taken)) {
      p->source = f->source;
      good = ptx_fail(p, PTX_ERROR_UNDECLARED, f->line, f->name, strlen(f->name), "is called but not defined (unresolved external)") && good;
    }
    if (!walk_calls(p, f)) return false;
  }
  for (uint32_t i = 0; i < m->relocation_count; i++) {
    const struct symbol *s = m->relocations[i].symbol;
    if (s->kind == SYMBOL_VARIABLE && s->external && !s->dynamic)
      good = ptx_fail(p, PTX_ERROR_UNDECLARED, s->line, s->name, s->length, "is used but not defined (unresolved external)") && good;
  }
  /* Shared memory of module scope and of functions is one common part; a kernel that calls or uses it has it before its own. */
  for (uint32_t i = 0; i < m->kernel_count; i++) {
    struct function *f = m->kernels[i];
    struct ptx_kernel_info *info = &f->info;
    f->first_shared = f->uses_common || f->calls_pointer || f->call_count ? align_up(m->shared_bytes, 128) : 0;
    info->static_shared = f->own_shared ? f->first_shared + f->own_shared : f->first_shared ? m->shared_bytes : 0;
    info->local_bytes = f->local_bytes;
    info->stack_bytes = f->depth_bytes;
    info->recursive = f->recursive;
    info->const_bytes = m->const_bytes;
    info->registers = f->registers < 16 ? 16 : f->registers > 64 ? 64 : f->registers;
    info->dynamic_align = m->dynamic_align ? m->dynamic_align : 1;
  }
  m->variables = ptx_arena(&m->arena, (m->global_count + 1) * sizeof *m->variables);
  if (!m->variables) return no_memory(p);
  for (uint32_t i = 0; i < m->global_count; i++) {
    const struct symbol *s = m->globals[i];
    m->variables[i] = (struct ptx_variable){s->name, s->space == SPACE_CONST ? PTX_SPACE_CONST : PTX_SPACE_GLOBAL, s->size, s->align,
                                            s->visible, s->byte_count || s->initial_count};
  }
  return good;
}
