/* Modules from outside: loading, linking, what they hold, and their code with the handlers of an instruction set. */
#define _POSIX_C_SOURCE 200809L
#include "engine.h"

#include <stdlib.h>

/* --- Handlers ------------------------------------------------------------------------------------------------------------------------ */

/* Those that are the same for every instruction set. */
static const handler common[F_COUNT] = {
    [F_LABEL] = ptx_label, [F_BRA] = ptx_branch, [F_BRX] = ptx_branch_table, [F_CALL] = ptx_call, [F_CALLPTR] = ptx_call_pointer, [F_RET] = ptx_return,
    [F_EXIT] = ptx_exit, [F_TRAP] = ptx_trap, [F_BRKPT] = ptx_trap, [F_NANOSLEEP] = ptx_nanosleep, [F_BAR_SYNC] = ptx_barrier, [F_BAR_ARRIVE] = ptx_barrier,
    [F_BAR_RED] = ptx_barrier, [F_SHFL] = ptx_together, [F_SHFL_OLD] = ptx_together, [F_VOTE] = ptx_together, [F_VOTE_OLD] = ptx_together,
    [F_MATCH] = ptx_together, [F_REDUX] = ptx_together, [F_ACTIVEMASK] = ptx_together, [F_ELECT] = ptx_together, [F_WARPSYNC] = ptx_together,
    [F_SPECIAL] = ptx_special, [F_LOCALADDR] = ptx_local_address, [F_LD_ANY] = ptx_load_any, [F_ST_ANY] = ptx_store_any, [F_ATOM] = ptx_atom,
    [F_ATOMV] = ptx_atom_vector, [F_FENCE] = ptx_fence, [F_CPASYNC] = ptx_copy_async, [F_ISSPACEP] = ptx_isspacep, [F_CVT] = ptx_convert,
    [F_CVT2] = ptx_convert_pair, [F_HALF] = ptx_half, [F_SETP_HALF] = ptx_half_compare, [F_NOTHING] = ptx_nothing, [F_MBAR_CPASYNC] = ptx_mbarrier,
    [F_MBAR_INIT] = ptx_mbarrier, [F_MBAR_INVAL] = ptx_mbarrier, [F_MBAR_ARRIVE] = ptx_mbarrier, [F_MBAR_ARRIVE_TX] = ptx_mbarrier, [F_MBAR_DROP] = ptx_mbarrier,
    [F_MBAR_EXPECT] = ptx_mbarrier, [F_MBAR_COMPLETE] = ptx_mbarrier, [F_MBAR_TEST] = ptx_mbarrier, [F_MBAR_PARITY] = ptx_mbarrier, [F_MBAR_PENDING] = ptx_mbarrier,
};

HANDLER(ptx_nothing) {
  (void)w;
  return ip + 1;
}

static const handler (*lanes_of(enum ptx_isa isa))[T_COUNT + 1] {
#if defined(__x86_64__)
  if (isa == PTX_ISA_AVX2) return ptx_lanes_avx2;
  if (isa == PTX_ISA_AVX512) return ptx_lanes_avx512;
#endif
  (void)isa;
  return ptx_lanes_baseline;
}

handler ptx_handler(enum ptx_isa isa, enum family family, enum type type) {
  /* an operation that does not care about the sign has one handler */
  static const uint8_t same[T_COUNT + 1][2] = {
      [T_S8] = {T_U8, T_B8}, [T_B8] = {T_U8, T_U8}, [T_U8] = {T_B8, T_B8}, [T_S16] = {T_U16, T_B16}, [T_U16] = {T_B16, T_B16}, [T_B16] = {T_U16, T_U16},
      [T_S32] = {T_U32, T_B32}, [T_U32] = {T_B32, T_B32}, [T_B32] = {T_U32, T_U32}, [T_S64] = {T_U64, T_B64}, [T_U64] = {T_B64, T_B64},
      [T_B64] = {T_U64, T_U64}, [T_S16X2] = {T_U16X2, T_U16X2}};
  const handler(*const lanes)[T_COUNT + 1] = lanes_of(isa);
  if (common[family]) return common[family];
  if (lanes[family][type]) return lanes[family][type];
  if (type < T_COUNT)
    for (int i = 0; i < 2; i++)
      if (same[type][i] && lanes[family][same[type][i]]) return lanes[family][same[type][i]];
  return NULL;
}

static bool handles_guard(uint8_t family) {
  switch (family) {
    case F_LABEL: case F_BRA: case F_BRX: case F_CALL: case F_CALLPTR: case F_RET: case F_EXIT: case F_TRAP: case F_BRKPT: case F_NANOSLEEP: case F_BAR_SYNC:
    case F_BAR_ARRIVE: case F_BAR_RED: case F_SHFL: case F_SHFL_OLD: case F_VOTE: case F_VOTE_OLD: case F_MATCH: case F_REDUX: case F_ACTIVEMASK: case F_ELECT:
    case F_WARPSYNC: case F_NOTHING: return true;
    default: return false;
  }
}

static handler handler_for(const struct instr *i, enum ptx_isa isa, bool weak) {
  if (weak && i->family == F_LD) return ptx_load_any;
  if (weak && i->family == F_ST) return ptx_store_any;
  return ptx_handler(isa, (enum family)i->family, (enum type)i->type);
}

static struct instr **build_code(const struct ptx_module *m, enum ptx_isa isa, bool weak) {
  /* one piece: a list of functions, then the code of all */
  const size_t list = (m->function_count * sizeof(struct instr *) + 63) & ~(size_t)63;
  uint8_t *const memory = aligned_alloc(64, (list + (m->instruction_count + 1) * sizeof(struct instr) + 63) & ~(size_t)63);
  if (!memory) return NULL;
  struct instr **const code = (struct instr **)(void *)memory;
  struct instr *at = (struct instr *)(void *)(memory + list);
  for (uint32_t f = 0; f < m->function_count; f++) {
    const struct function *const function = m->functions[f];
    code[f] = at;
    for (uint32_t k = 0; k < function->code_count; k++) {
      struct instr *const i = at++;
      *i = function->code[k];
      handler fn = handler_for(i, isa, weak);
      if (i->float_mode) {
        i->innermost = fn;
        fn = ptx_float_mode;
      }
      if (i->guard != NONE && !handles_guard(i->family)) {
        i->inner = fn;
        fn = ptx_guarded;
      }
      i->fn = fn;
    }
  }
  return code;
}

struct instr *const *ptx_module_code(const struct ptx_module *module, enum ptx_isa isa, bool weak) {
  struct ptx_module *const m = (struct ptx_module *)(uintptr_t)module;
  const unsigned which = (unsigned)isa * 2 + weak;
  /* acquire pairs with the release below: the code is whole when its address is seen */
  struct instr **code = atomic_load_explicit(&m->code[which], memory_order_acquire);
  if (code) return code;
  code = build_code(module, isa, weak);
  struct instr **none = NULL;
  if (code && !atomic_compare_exchange_strong_explicit(&m->code[which], &none, code, memory_order_acq_rel, memory_order_acquire)) {
    free(code); /* another thread was first */
    code = none;
  }
  return code;
}

/* --- Instruction sets ------------------------------------------------------------------------------------------------------------------ */

static const char *const isa_names[] = {"baseline", "avx2", "avx512"};

enum ptx_isa ptx_isa_best(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512cd")
               ? PTX_ISA_AVX512
               : PTX_ISA_AVX2;
#endif
  return PTX_ISA_BASELINE;
}

bool ptx_isa_parse(const char *name, enum ptx_isa *out) {
  for (int i = 0; i < PTX_ISA_COUNT; i++)
    if (!strcmp(name, isa_names[i]) && i <= (int)ptx_isa_best()) {
      *out = (enum ptx_isa)i;
      return true;
    }
  return false;
}

const char *ptx_isa_name(enum ptx_isa isa) { return isa_names[isa]; }

/* --- Loading ------------------------------------------------------------------------------------------------------------------------- */

/* Names of one source that the next one does not see. */
static void hide_private(struct parser *p) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < p->bucket_count; i++) p->buckets[i] = NULL;
  for (uint32_t i = 0; i < p->scope_count; i++) {
    struct symbol *const s = p->scope[i];
    const bool shared = s->kind == SYMBOL_FUNCTION ? s->function->visible || s->function->weak || s->function->external || !s->function->defined : s->visible || s->weak || s->external;
    if (!shared) continue;
    p->scope[kept++] = s;
    struct symbol **const head = &p->buckets[s->hash % p->bucket_count];
    s->next = *head;
    *head = s;
  }
  p->scope_count = kept;
}

static bool check_handlers(struct parser *p) {
  const struct ptx_module *const m = p->module;
  for (uint32_t f = 0; f < m->function_count; f++)
    for (uint32_t k = 0; k < m->functions[f]->code_count; k++) {
      const struct instr *const i = &m->functions[f]->code[k];
      if (!ptx_handler(PTX_ISA_BASELINE, (enum family)i->family, (enum type)i->type))
        return ptx_fail(p, PTX_ERROR_UNKNOWN, i->line, "", 0, "the engine has no handler for this instruction");
    }
  return true;
}

enum ptx_error ptx_module_load(const struct ptx_source *sources, unsigned count, const struct ptx_options *options, struct ptx_module **out) {
  struct parser *const p = calloc(1, sizeof *p);
  *out = NULL;
  if (options->log && options->log_size) *options->log = 0;
  if (!p) return PTX_ERROR_MEMORY;
  p->options = options;
  p->sources = sources;
  p->bucket_count = 1024;
  p->buckets = calloc(p->bucket_count, sizeof *p->buckets);
  p->module = calloc(1, sizeof *p->module);
  if (!p->buckets || !p->module) p->error = PTX_ERROR_MEMORY;
  for (unsigned i = 0; i < count && (p->error == PTX_OK || (options->keep_going && p->error != PTX_ERROR_MEMORY)); i++) {
    p->source = i;
    p->source_name = count > 1 ? sources[i].name : NULL;
    ptx_parse_source(p);
    if (i == 0) {
      p->module->version = p->version;
      p->module->target = p->target;
    }
    if (p->module) hide_private(p);
  }
  if (p->error == PTX_OK && p->module) {
    for (uint32_t i = 0; i < p->module->function_count; i++) p->module->kernel_count += p->module->functions[i]->entry && p->module->functions[i]->defined;
    p->module->kernels = ptx_arena(&p->module->arena, (p->module->kernel_count + 1) * sizeof *p->module->kernels);
    if (!p->module->kernels) p->error = PTX_ERROR_MEMORY;
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->module->function_count && p->module->kernels; i++)
      if (p->module->functions[i]->entry && p->module->functions[i]->defined) p->module->kernels[n++] = p->module->functions[i];
    if (p->error == PTX_OK) ptx_finish_module(p);
    if (p->error == PTX_OK) check_handlers(p);
  }
  if (p->error != PTX_OK && options->log && options->log_size > p->log_used + 1) {
    static const char last[] = "ptxas fatal   : Ptx assembly aborted due to errors\n";
    const size_t room = options->log_size - 1 - p->log_used, n = sizeof last - 1 < room ? sizeof last - 1 : room;
    memcpy(options->log + p->log_used, last, n);
    options->log[p->log_used + n] = 0;
  }
  const enum ptx_error error = p->error;
  struct ptx_module *const m = p->module;
  ptx_arena_free(&p->scratch);
  free(p->buckets);
  free(p->scope);
  free(p->code);
  free(p->fixups);
  free(p->calls);
  free(p->row_kinds);
  free(p->constant_table);
  free(p);
  if (error == PTX_OK) *out = m;
  else ptx_module_free(m);
  return error;
}

void ptx_module_free(struct ptx_module *m) {
  if (!m) return;
  for (unsigned i = 0; i < sizeof m->code / sizeof m->code[0]; i++) free(atomic_load(&m->code[i]));
  free(m->globals);
  free(m->functions);
  free(m->relocations);
  free(m->constants);
  free(m->forms);
  ptx_arena_free(&m->arena);
  free(m);
}

/* --- Linking ------------------------------------------------------------------------------------------------------------------------- */

void ptx_module_place(struct ptx_module *m, unsigned index, uint64_t address) {
  if (index < m->global_count) m->globals[index]->address = address;
}

static uint64_t address_of(const struct ptx_module *m, const struct symbol *s) {
  if (s->kind == SYMBOL_FUNCTION) return PTX_CODE_WINDOW + (s->function->index + 1ull) * 16;
  if (s->space == SPACE_SHARED) return s->address + (s->function ? s->function->first_shared : 0);
  if (s->space == SPACE_GLOBAL || s->space == SPACE_CONST) return m->globals[s->variable]->address;
  return s->address;
}

enum ptx_error ptx_module_link(struct ptx_module *m) {
  for (uint32_t i = 0; i < m->relocation_count; i++) {
    const struct relocation *const r = &m->relocations[i];
    const uint64_t value = address_of(m, r->symbol) + (uint64_t)r->addend;
    if (r->function) {
      r->function->code[r->where].imm = (int64_t)value;
      continue;
    }
    uint8_t *const row = m->constants + (r->where & ~3u);
    for (unsigned lane = 0; lane < WARP; lane++)
      if (r->where & 2) ((lane_u64 *)(void *)row)[lane] = value;
      else ((lane_u32 *)(void *)row)[lane] = (uint32_t)value;
  }
  m->linked = true;
  return PTX_OK;
}

void ptx_module_initial_bytes(const struct ptx_module *m, unsigned index, void *bytes) {
  if (index >= m->global_count) return;
  const struct symbol *const s = m->globals[index];
  memset(bytes, 0, s->size);
  if (s->byte_count) memcpy(bytes, s->bytes, s->byte_count < s->size ? s->byte_count : s->size);
  for (uint32_t i = 0; i < s->initial_count; i++) {
    const struct initial *const v = &s->initials[i];
    const uint64_t value = (address_of(m, v->symbol) + (uint64_t)v->addend) >> v->shift;
    if (v->offset + v->bytes <= s->size) memcpy((uint8_t *)bytes + v->offset, &value, v->bytes < 8 ? v->bytes : 8);
  }
}

/* --- What it holds ------------------------------------------------------------------------------------------------------------------- */

unsigned ptx_module_version(const struct ptx_module *m) { return m->version; }
unsigned ptx_module_target(const struct ptx_module *m) { return m->target; }
unsigned ptx_module_variable_count(const struct ptx_module *m) { return m->global_count; }
const struct ptx_variable *ptx_module_variable(const struct ptx_module *m, unsigned index) { return index < m->global_count ? &m->variables[index] : NULL; }
unsigned ptx_module_kernel_count(const struct ptx_module *m) { return m->kernel_count; }
const struct ptx_kernel_info *ptx_module_kernel(const struct ptx_module *m, unsigned index) { return index < m->kernel_count ? &m->kernels[index]->info : NULL; }

int ptx_module_find_variable(const struct ptx_module *m, const char *name) {
  for (uint32_t i = 0; i < m->global_count; i++)
    if (m->variables[i].visible && !strcmp(m->variables[i].name, name)) return (int)i;
  return -1;
}

int ptx_module_find_kernel(const struct ptx_module *m, const char *name) {
  for (uint32_t i = 0; i < m->kernel_count; i++)
    if (!strcmp(m->kernels[i]->name, name)) return (int)i;
  return -1;
}

void ptx_module_instructions(const struct ptx_module *m, void (*each)(void *context, const char *spelling, enum ptx_exactness exactness, uint32_t first_line, uint32_t count),
                             void *context) {
  for (uint32_t i = 0; i < m->form_buckets && m->forms; i++)
    for (const struct form *f = m->forms[i]; f; f = f->next)
      if (f->row) each(context, f->spelling, (enum ptx_exactness)f->row->exactness, f->first_line, f->count);
}
