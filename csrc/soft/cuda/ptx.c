/*
 * A small part of PTX: what busbar's own kernels and simple compiled ones need. Whole-number and f32 arithmetic, memory,
 * branches, fences. No shared memory, barriers, calls or warps: a module that uses them is refused when it is loaded, with
 * the line, as the driver refuses what it does not know. Source: PTX ISA 9.0.
 */
#define _GNU_SOURCE
#include "device.h"

#include <ctype.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 128, MAX_OPERANDS = 5, MAX_WORDS = 10 };

enum opcode {
  OP_NONE, OP_LD, OP_LD_PARAM, OP_ST, OP_MOV, OP_CVTA, OP_ADD, OP_SUB, OP_MUL, OP_MAD, OP_FMA, OP_AND, OP_OR, OP_XOR,
  OP_NOT, OP_NEG, OP_SHL, OP_SHR, OP_MIN, OP_MAX, OP_CVT, OP_SETP, OP_SELP, OP_BRA, OP_EXIT, OP_FENCE, OP_PAUSE, OP_TRAP,
};

enum shape { SHAPE_NONE, SHAPE_BITS, SHAPE_UNSIGNED, SHAPE_SIGNED, SHAPE_FLOAT, SHAPE_PREDICATE };

struct type {
  uint8_t shape, bytes;
};

enum operand_kind { OPERAND_REGISTER, OPERAND_IMMEDIATE, OPERAND_SPECIAL, OPERAND_ADDRESS, OPERAND_PARAMETER, OPERAND_LABEL };

struct operand {
  uint8_t kind;
  uint32_t index; /* register, special register, or label */
  uint64_t value; /* immediate, offset */
};

enum compare { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE };
enum special { SPECIAL_TID, SPECIAL_NTID, SPECIAL_CTAID, SPECIAL_NCTAID };

struct instruction {
  uint8_t op, compare, is_wide, is_high, guard_is_negated, operands;
  int32_t guard; /* register, or -1 */
  struct type type, source;
  uint32_t line;
  struct operand operand[MAX_OPERANDS];
};

struct registers {
  char prefix[NAME_BYTES];
  uint32_t count, base; /* count 0: the name stands for itself */
};

struct label {
  char name[NAME_BYTES];
  uint32_t target;
  int is_defined;
};

struct named_parameter {
  char name[NAME_BYTES];
  struct ptx_parameter place;
};

/* A list that grows. */
#define LIST(type) \
  struct {         \
    type *items;   \
    size_t count, room; \
  }

struct ptx_kernel {
  char name[NAME_BYTES];
  LIST(struct named_parameter) parameters;
  LIST(struct registers) registers;
  LIST(struct label) labels;
  LIST(struct instruction) code;
  uint32_t register_count, parameter_bytes, version;
};

struct ptx_module {
  LIST(struct ptx_kernel *) kernels;
};

/* Room for one item more; without memory there is none, and the list stays as it is. */
static void *grown(void *items, size_t count, size_t *room, size_t size) {
  if (count < *room) return items;
  const size_t wanted = *room == 0 ? 16 : 2 * *room;
  void *more = realloc(items, wanted * size);
  if (more == NULL) return items;
  *room = wanted;
  return more;
}
/* A new zeroed last item, or NULL. */
#define APPEND(list)                                                                                          \
  ((list).items = grown((list).items, (list).count, &(list).room, sizeof *(list).items),                      \
   (list).count < (list).room                                                                                 \
       ? (memset(&(list).items[(list).count], 0, sizeof *(list).items), &(list).items[(list).count++])        \
       : NULL)

/* ---- reading ------------------------------------------------------------------------------------------------------ */

struct reader {
  const char *at;
  uint32_t line;
  struct ptx_log *log;
  CUresult failed;
};

static void refuse(struct reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void refuse(struct reader *reader, const char *format, ...) {
  if (reader->failed != CUDA_SUCCESS) return;
  reader->failed = CUDA_INVALID_PTX;
  if (reader->log->size == 0) return;
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  snprintf(reader->log->text, reader->log->size,
           "ptxas application ptx input, line %u; error   : %s\nptxas fatal   : Ptx assembly aborted due to errors\n",
           reader->line, text);
}

static void skip_space(struct reader *reader) {
  for (;;) {
    if (*reader->at == '\n') reader->line++;
    if (isspace((unsigned char)*reader->at)) {
      reader->at++;
    } else if (reader->at[0] == '/' && reader->at[1] == '/') {
      while (*reader->at != '\0' && *reader->at != '\n') reader->at++;
    } else if (reader->at[0] == '/' && reader->at[1] == '*') {
      for (reader->at += 2; *reader->at != '\0' && !(reader->at[0] == '*' && reader->at[1] == '/'); reader->at++) {
        if (*reader->at == '\n') reader->line++;
      }
      if (*reader->at != '\0') reader->at += 2;
    } else {
      return;
    }
  }
}

/* The next character if it is this one, which is then taken. */
static int take(struct reader *reader, char wanted) {
  skip_space(reader);
  if (*reader->at != wanted) return 0;
  reader->at++;
  return 1;
}

static void expect(struct reader *reader, char wanted) {
  if (reader->failed == CUDA_SUCCESS && !take(reader, wanted)) refuse(reader, "expected '%c' near '%.20s'", wanted, reader->at);
}

static int is_name_character(char c) { return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '%' || c == '.'; }

/* A name, directive, opcode or number, with the dots in it. Empty where none begins. */
static void word(struct reader *reader, char *out) {
  skip_space(reader);
  size_t length = 0;
  while (is_name_character(*reader->at) && length < NAME_BYTES - 1) out[length++] = *reader->at++;
  out[length] = '\0';
  if (is_name_character(*reader->at)) refuse(reader, "a name longer than %d characters", NAME_BYTES - 1);
}

static int type_of(const char *name, struct type *out) {
  static const struct {
    const char *name;
    struct type type;
  } TYPES[] = {
      {"u8", {SHAPE_UNSIGNED, 1}},  {"u16", {SHAPE_UNSIGNED, 2}}, {"u32", {SHAPE_UNSIGNED, 4}}, {"u64", {SHAPE_UNSIGNED, 8}},
      {"s8", {SHAPE_SIGNED, 1}},    {"s16", {SHAPE_SIGNED, 2}},   {"s32", {SHAPE_SIGNED, 4}},   {"s64", {SHAPE_SIGNED, 8}},
      {"b8", {SHAPE_BITS, 1}},      {"b16", {SHAPE_BITS, 2}},     {"b32", {SHAPE_BITS, 4}},     {"b64", {SHAPE_BITS, 8}},
      {"f32", {SHAPE_FLOAT, 4}},    {"pred", {SHAPE_PREDICATE, 1}},
  };
  for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
    if (strcmp(TYPES[i].name, name) == 0) {
      *out = TYPES[i].type;
      return 1;
    }
  }
  return 0;
}

static int32_t find_register(const struct ptx_kernel *kernel, const char *name) {
  for (size_t i = 0; i < kernel->registers.count; i++) {
    const struct registers *declared = &kernel->registers.items[i];
    const size_t length = strlen(declared->prefix);
    if (strncmp(name, declared->prefix, length) != 0) continue;
    if (declared->count == 0) {
      if (name[length] == '\0') return (int32_t)declared->base;
      continue;
    }
    char *end;
    const unsigned long number = strtoul(name + length, &end, 10);
    if (isdigit((unsigned char)name[length]) && *end == '\0' && number < declared->count) {
      return (int32_t)(declared->base + number);
    }
  }
  return -1;
}

static int find_special(const char *name, uint32_t *index) {
  static const char *const NAMES[] = {"%tid", "%ntid", "%ctaid", "%nctaid"};
  for (uint32_t i = 0; i < 4; i++) {
    const size_t length = strlen(NAMES[i]);
    if (strncmp(name, NAMES[i], length) != 0 || name[length] != '.') continue;
    const char axis = name[length + 1];
    if (axis < 'x' || axis > 'z' || name[length + 2] != '\0') return 0;
    *index = 3 * i + (uint32_t)(axis - 'x');
    return 1;
  }
  return 0;
}

static uint32_t label_index(struct reader *reader, struct ptx_kernel *kernel, const char *name) {
  for (uint32_t i = 0; i < kernel->labels.count; i++) {
    if (strcmp(kernel->labels.items[i].name, name) == 0) return i;
  }
  struct label *label = APPEND(kernel->labels);
  if (label == NULL) {
    refuse(reader, "out of memory");
    return 0;
  }
  snprintf(label->name, sizeof label->name, "%s", name);
  return (uint32_t)kernel->labels.count - 1;
}

static const struct ptx_parameter *parameter_named(const struct ptx_kernel *kernel, const char *name) {
  for (size_t i = 0; i < kernel->parameters.count; i++) {
    if (strcmp(kernel->parameters.items[i].name, name) == 0) return &kernel->parameters.items[i].place;
  }
  return NULL;
}

static uint64_t number(struct reader *reader, const char *text) {
  char *end;
  if (text[0] == '0' && (text[1] == 'f' || text[1] == 'F') && strlen(text) == 10) {
    const uint64_t bits = strtoull(text + 2, &end, 16);
    if (*end == '\0') return bits;
  } else {
    const uint64_t value = strtoull(text, &end, 0);
    if (*end == 'U') end++;
    if (isdigit((unsigned char)text[0]) && *end == '\0') return value;
  }
  refuse(reader, "'%s' is no number, or names nothing that was declared", text);
  return 0;
}

/* What stands in brackets: a register or parameter, and an offset. */
static void read_address(struct reader *reader, const struct ptx_kernel *kernel, struct operand *out) {
  char name[NAME_BYTES];
  word(reader, name);
  const int32_t found = find_register(kernel, name);
  const struct ptx_parameter *parameter = parameter_named(kernel, name);
  if (found >= 0) {
    *out = (struct operand){OPERAND_ADDRESS, (uint32_t)found, 0};
  } else if (parameter != NULL) {
    *out = (struct operand){OPERAND_PARAMETER, 0, parameter->offset};
  } else {
    refuse(reader, "Unknown symbol '%s'", name);
  }
  if (take(reader, '+')) {
    const int is_negative = take(reader, '-');
    word(reader, name);
    const uint64_t offset = number(reader, name);
    out->value += is_negative ? 0 - offset : offset;
  }
  expect(reader, ']');
}

static void read_operand(struct reader *reader, struct ptx_kernel *kernel, int is_branch, struct operand *out) {
  if (take(reader, '[')) {
    read_address(reader, kernel, out);
    return;
  }
  const int is_negative = take(reader, '-');
  char name[NAME_BYTES];
  word(reader, name);
  const int32_t found = find_register(kernel, name);
  if (is_branch) {
    *out = (struct operand){OPERAND_LABEL, label_index(reader, kernel, name), 0};
  } else if (found >= 0 && !is_negative) {
    *out = (struct operand){OPERAND_REGISTER, (uint32_t)found, 0};
  } else if (find_special(name, &out->index) && !is_negative) {
    out->kind = OPERAND_SPECIAL;
  } else {
    const uint64_t value = number(reader, name);
    *out = (struct operand){OPERAND_IMMEDIATE, 0, is_negative ? 0 - value : value};
  }
}

struct mnemonic {
  const char *name;
  uint8_t op, operands, types; /* types: how many stand at the end */
};

static const struct mnemonic MNEMONICS[] = {
    {"ld", OP_LD, 2, 1},     {"st", OP_ST, 2, 1},     {"mov", OP_MOV, 2, 1},       {"cvta", OP_CVTA, 2, 1},
    {"add", OP_ADD, 3, 1},   {"sub", OP_SUB, 3, 1},   {"mul", OP_MUL, 3, 1},       {"mad", OP_MAD, 4, 1},
    {"fma", OP_FMA, 4, 1},   {"and", OP_AND, 3, 1},   {"or", OP_OR, 3, 1},         {"xor", OP_XOR, 3, 1},
    {"not", OP_NOT, 2, 1},   {"neg", OP_NEG, 2, 1},   {"shl", OP_SHL, 3, 1},       {"shr", OP_SHR, 3, 1},
    {"min", OP_MIN, 3, 1},   {"max", OP_MAX, 3, 1},   {"cvt", OP_CVT, 2, 2},       {"setp", OP_SETP, 3, 1},
    {"selp", OP_SELP, 4, 1}, {"bra", OP_BRA, 1, 0},   {"ret", OP_EXIT, 0, 0},      {"exit", OP_EXIT, 0, 0},
    {"membar", OP_FENCE, 0, 0}, {"fence", OP_FENCE, 0, 0}, {"nanosleep", OP_PAUSE, 1, 1}, {"trap", OP_TRAP, 0, 0},
};

/* Words between opcode and type that change nothing here: everything is ordered and visible to all. */
static int is_harmless(const char *name) {
  static const char *const NAMES[] = {"global", "volatile", "relaxed", "acquire", "release", "mmio", "weak", "sys", "gpu",
                                      "cta",    "gl",       "sc",      "acq_rel", "uni",     "to",   "rn",   "ca",  "cg",
                                      "cs",     "cv",       "lu",      "wb",      "wt",      "nc",   "lo"};
  for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
    if (strcmp(NAMES[i], name) == 0) return 1;
  }
  return 0;
}

static int compare_of(const char *name, uint8_t *out) {
  static const char *const NAMES[] = {"eq", "ne", "lt", "le", "gt", "ge", "", "", "lo", "ls", "hi", "hs"};
  for (uint8_t i = 0; i < 12; i++) {
    if (NAMES[i][0] != '\0' && strcmp(NAMES[i], name) == 0) {
      *out = i < 6 ? i : (uint8_t)(i - 6);
      return 1;
    }
  }
  return 0;
}

/* One dotted word after the opcode that is no type. */
static void read_modifier(struct reader *reader, struct instruction *out, const char *spelling, const char *name) {
  if (strcmp(name, "param") == 0 && out->op == OP_LD) {
    out->op = OP_LD_PARAM;
  } else if (strcmp(name, "wide") == 0 && (out->op == OP_MUL || out->op == OP_MAD)) {
    out->is_wide = 1;
  } else if (strcmp(name, "hi") == 0 && out->op == OP_MUL) {
    out->is_high = 1;
  } else if (!(out->op == OP_SETP && compare_of(name, &out->compare)) && !is_harmless(name)) {
    refuse(reader, "the software device does not know '%s'", spelling);
  }
}

/* The f32 forms that exist here, and the sizes that whole numbers may have. */
static int is_possible(const struct instruction *one) {
  const int is_float = one->type.shape == SHAPE_FLOAT, is_predicate = one->type.shape == SHAPE_PREDICATE;
  switch (one->op) {
    case OP_ADD: case OP_SUB: case OP_NEG: case OP_MIN: case OP_MAX: case OP_SETP: case OP_SELP:
      return !is_predicate;
    case OP_MUL: case OP_MAD:
      return !is_predicate && !(is_float && (one->is_wide || one->is_high)) && !(one->is_wide && one->type.bytes > 4) &&
             !(one->is_high && one->type.bytes != 4);
    case OP_FMA:
      return is_float;
    case OP_AND: case OP_OR: case OP_XOR: case OP_NOT: case OP_MOV:
      return 1;
    case OP_SHL: case OP_SHR: case OP_CVTA:
      return !is_float && !is_predicate;
    case OP_CVT:
      return !is_float && one->source.shape != SHAPE_FLOAT && !is_predicate;
    case OP_LD: case OP_LD_PARAM: case OP_ST:
      return !is_predicate;
    default:
      return 1;
  }
}

static int takes_kind(const struct instruction *one, int index) {
  const uint8_t kind = one->operand[index].kind;
  const int is_address = kind == OPERAND_ADDRESS || kind == OPERAND_PARAMETER;
  if (one->op == OP_ST) return index == 0 ? kind == OPERAND_ADDRESS : !is_address;
  if (one->op == OP_LD) return index == 1 ? kind == OPERAND_ADDRESS : kind == OPERAND_REGISTER;
  if (one->op == OP_LD_PARAM) return index == 1 ? kind == OPERAND_PARAMETER : kind == OPERAND_REGISTER;
  if (one->op == OP_BRA) return kind == OPERAND_LABEL;
  return (index > 0 || one->op == OP_PAUSE || kind == OPERAND_REGISTER) && !is_address;
}

/* An opcode with its dotted words, and its operands, up to the semicolon. */
static void read_instruction(struct reader *reader, struct ptx_kernel *kernel, struct instruction *out, const char *spelling) {
  char copy[NAME_BYTES];
  char *words[MAX_WORDS], *rest = NULL;
  int count = 0;
  snprintf(copy, sizeof copy, "%s", spelling);
  for (char *part = strtok_r(copy, ".", &rest); part != NULL && count < MAX_WORDS; part = strtok_r(NULL, ".", &rest)) {
    words[count++] = part;
  }
  const struct mnemonic *known = NULL;
  for (size_t i = 0; count > 0 && i < sizeof MNEMONICS / sizeof *MNEMONICS; i++) {
    if (strcmp(MNEMONICS[i].name, words[0]) == 0) known = &MNEMONICS[i];
  }
  if (known == NULL || count <= known->types) {
    refuse(reader, "the software device does not know '%s'", spelling);
    return;
  }
  out->op = known->op;
  int end = count;
  if (known->types == 2 && !type_of(words[--end], &out->source)) refuse(reader, "'%s' has no source type", spelling);
  if (known->types >= 1 && !type_of(words[--end], &out->type)) refuse(reader, "'%s' has no type it can have here", spelling);
  for (int i = 1; i < end; i++) read_modifier(reader, out, spelling, words[i]);
  if (!is_possible(out)) refuse(reader, "the software device does not know '%s'", spelling);
  out->operands = known->operands;
  for (int i = 0; i < known->operands && reader->failed == CUDA_SUCCESS; i++) {
    if (i > 0) expect(reader, ',');
    read_operand(reader, kernel, out->op == OP_BRA, &out->operand[i]);
    if (reader->failed == CUDA_SUCCESS && !takes_kind(out, i)) refuse(reader, "Arguments mismatch for instruction '%s'", words[0]);
  }
  expect(reader, ';');
  const uint64_t from = out->operand[1].value;
  if (out->op == OP_LD_PARAM && (from > kernel->parameter_bytes || out->type.bytes > kernel->parameter_bytes - from)) {
    refuse(reader, "a load from outside of the parameters");
  }
}

static void read_registers(struct reader *reader, struct ptx_kernel *kernel) {
  char name[NAME_BYTES];
  struct type type;
  word(reader, name);
  if (name[0] != '.' || (!type_of(name + 1, &type) && strcmp(name, ".f64") != 0)) {
    refuse(reader, "'%s' is no type of a register", name);
    return;
  }
  do {
    word(reader, name);
    struct registers *declared = APPEND(kernel->registers);
    if (name[0] == '\0' || declared == NULL) {
      refuse(reader, "a register without a name");
      return;
    }
    snprintf(declared->prefix, sizeof declared->prefix, "%s", name);
    declared->base = kernel->register_count;
    if (take(reader, '<')) {
      word(reader, name);
      const uint64_t count = number(reader, name);
      if (count == 0 || count > 100000) {
        refuse(reader, "%llu registers", (unsigned long long)count);
        return;
      }
      declared->count = (uint32_t)count;
      expect(reader, '>');
    }
    kernel->register_count += declared->count == 0 ? 1 : declared->count;
  } while (take(reader, ','));
  expect(reader, ';');
}

static void skip_to(struct reader *reader, char last) {
  while (*reader->at != '\0' && *reader->at != last) {
    if (*reader->at == '\n') reader->line++;
    reader->at++;
  }
  if (*reader->at != '\0') reader->at++;
}

static void read_statement(struct reader *reader, struct ptx_kernel *kernel) {
  char name[NAME_BYTES];
  struct instruction one = {.guard = -1};
  if (take(reader, '@')) {
    one.guard_is_negated = (uint8_t)take(reader, '!');
    word(reader, name);
    one.guard = find_register(kernel, name);
    if (one.guard < 0) {
      refuse(reader, "Unknown symbol '%s'", name);
      return;
    }
  }
  word(reader, name);
  one.line = reader->line;
  if (name[0] == '\0') {
    refuse(reader, "the software device does not know what begins with '%.10s'", reader->at);
    return;
  }
  if (one.guard < 0 && take(reader, ':')) {
    const uint32_t index = label_index(reader, kernel, name);
    if (reader->failed != CUDA_SUCCESS) return;
    if (kernel->labels.items[index].is_defined) {
      refuse(reader, "Duplicate definition of label '%s'", name);
      return;
    }
    kernel->labels.items[index].target = (uint32_t)kernel->code.count;
    kernel->labels.items[index].is_defined = 1;
    return;
  }
  if (strcmp(name, ".reg") == 0) {
    read_registers(reader, kernel);
    return;
  }
  if (strcmp(name, ".pragma") == 0) {
    skip_to(reader, ';');
    return;
  }
  if (strcmp(name, ".loc") == 0) {
    /* It ends with its line, which is counted by whoever reads on. */
    while (*reader->at != '\0' && *reader->at != '\n') reader->at++;
    return;
  }
  if (name[0] == '.') {
    refuse(reader, "the software device does not know '%s'", name);
    return;
  }
  read_instruction(reader, kernel, &one, name);
  struct instruction *kept = reader->failed == CUDA_SUCCESS ? APPEND(kernel->code) : NULL;
  if (kept != NULL) *kept = one;
}

static void read_parameter(struct reader *reader, struct ptx_kernel *kernel) {
  char name[NAME_BYTES];
  struct type type = {0, 0};
  uint32_t align = 0;
  word(reader, name);
  if (strcmp(name, ".param") != 0) {
    refuse(reader, "expected '.param', not '%s'", name);
    return;
  }
  for (word(reader, name); name[0] == '.'; word(reader, name)) {
    if (strcmp(name, ".align") == 0) {
      word(reader, name);
      align = (uint32_t)number(reader, name);
    } else if (strcmp(name, ".f64") == 0) {
      type = (struct type){SHAPE_FLOAT, 8};
    } else if (strcmp(name, ".ptr") == 0) {
      /* What it points to may follow: a space and an alignment, which are not the parameter's own. */
      for (;;) {
        const struct reader before = *reader;
        word(reader, name);
        if (strcmp(name, ".align") == 0) {
          word(reader, name);
        } else if (name[0] != '.') {
          *reader = before;
          break;
        }
      }
    } else if (!type_of(name + 1, &type)) {
      refuse(reader, "'%s' is no type of a parameter", name);
      return;
    }
  }
  uint32_t size = type.bytes;
  struct named_parameter *kept = APPEND(kernel->parameters);
  if (kept == NULL || size == 0) {
    refuse(reader, "a parameter without a type");
    return;
  }
  snprintf(kept->name, sizeof kept->name, "%s", name);
  if (take(reader, '[')) {
    word(reader, name);
    const uint64_t count = number(reader, name);
    if (count == 0 || count > 4096) {
      refuse(reader, "a parameter of %llu elements", (unsigned long long)count);
      return;
    }
    size *= (uint32_t)count;
    expect(reader, ']');
  }
  if (align == 0) align = type.bytes;
  if ((align & (align - 1)) != 0 || align > 4096) {
    refuse(reader, "an alignment of %u", align);
    return;
  }
  kept->place.offset = (kernel->parameter_bytes + align - 1) & ~(align - 1);
  kept->place.size = size;
  kernel->parameter_bytes = kept->place.offset + size;
  if (kernel->parameter_bytes > 4096) refuse(reader, "Formal parameter space overflowed (%u bytes, max 4096)", kernel->parameter_bytes);
}

static void read_kernel(struct reader *reader, struct ptx_module *module, uint32_t version) {
  struct ptx_kernel *kernel = calloc(1, sizeof *kernel);
  struct ptx_kernel **slot = kernel == NULL ? NULL : APPEND(module->kernels);
  if (slot == NULL) {
    free(kernel);
    refuse(reader, "out of memory");
    return;
  }
  *slot = kernel;
  kernel->version = version;
  word(reader, kernel->name);
  if (kernel->name[0] == '\0') {
    refuse(reader, "a kernel without a name");
    return;
  }
  if (take(reader, '(') && !take(reader, ')')) {
    do read_parameter(reader, kernel);
    while (reader->failed == CUDA_SUCCESS && take(reader, ','));
    expect(reader, ')');
  }
  char name[NAME_BYTES];
  /* Performance directives: .maxntid 128, 1, 1 and the like. */
  while (reader->failed == CUDA_SUCCESS && !take(reader, '{')) {
    word(reader, name);
    if (name[0] == '\0' && !take(reader, ',')) {
      refuse(reader, "expected '{' near '%.20s'", reader->at);
      return;
    }
    if (strcmp(name, ".reqntid") == 0) {
      refuse(reader, "the software device does not know '.reqntid'");
      return;
    }
  }
  while (reader->failed == CUDA_SUCCESS && !take(reader, '}')) read_statement(reader, kernel);
  for (size_t i = 0; i < kernel->labels.count; i++) {
    if (!kernel->labels.items[i].is_defined) refuse(reader, "Label '%s' is not defined", kernel->labels.items[i].name);
  }
}

static void check_target(struct reader *reader, const char *name, uint32_t capability) {
  const unsigned long target = strncmp(name, "sm_", 3) == 0 ? strtoul(name + 3, NULL, 10) : 0;
  if (target == 0) refuse(reader, "Unknown .target '%s'", name);
  if (target > capability) refuse(reader, "SM version specified by .target is higher than device's, sm_%u", capability);
}

static void check_version(struct reader *reader, const char *text, uint32_t driver, uint32_t *version) {
  char *end;
  const unsigned long major = strtoul(text, &end, 10), minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
  *version = (uint32_t)(10 * major + minor);
  /* PTX ISA 9.0, release notes: 8.x came with CUDA 12.x, 9.x with 13.x, 7.x with 11.x, 6.5 with 10.2. */
  const uint32_t newest = driver >= 13000 ? 90 + (driver - 13000) / 10 : driver >= 12000 ? 80 + (driver - 12000) / 10
                        : driver >= 11000 ? 70 + (driver - 11000) / 10 : 65;
  if (*version == 0) {
    refuse(reader, "'%s' is no version", text);
    return;
  }
  if (*version <= newest) return;
  refuse(reader, "Unsupported .version %lu.%lu; current version is '%u.%u'", major, minor, newest / 10, newest % 10);
  reader->failed = CUDA_UNSUPPORTED_PTX_VERSION;
}

CUresult ptx_parse(const char *text, uint32_t capability, uint32_t version, struct ptx_log *log, struct ptx_module **out) {
  struct reader reader = {text, 1, log, CUDA_SUCCESS};
  struct ptx_module *module = calloc(1, sizeof *module);
  if (module == NULL) return CUDA_OUT_OF_MEMORY;
  char name[NAME_BYTES];
  uint32_t written = 0;
  for (;;) {
    word(&reader, name);
    if (reader.failed != CUDA_SUCCESS || (name[0] == '\0' && *reader.at == '\0')) break;
    if (strcmp(name, ".version") == 0) {
      word(&reader, name);
      check_version(&reader, name, version, &written);
    } else if (written == 0) {
      refuse(&reader, "Missing .version directive at start of file");
    } else if (strcmp(name, ".target") == 0) {
      word(&reader, name);
      check_target(&reader, name, capability);
      while (take(&reader, ',')) word(&reader, name);
    } else if (strcmp(name, ".address_size") == 0) {
      word(&reader, name);
      if (strcmp(name, "64") != 0) refuse(&reader, "an address size of %s", name);
    } else if (strcmp(name, ".entry") == 0) {
      read_kernel(&reader, module, written);
    } else if (strcmp(name, ".visible") != 0 && strcmp(name, ".weak") != 0) {
      refuse(&reader, "the software device does not know '%s'", name[0] == '\0' ? "this" : name);
    }
  }
  if (reader.failed == CUDA_SUCCESS && written == 0) reader.failed = CUDA_INVALID_IMAGE;
  if (reader.failed != CUDA_SUCCESS) {
    ptx_free(module);
    return reader.failed;
  }
  *out = module;
  return CUDA_SUCCESS;
}

void ptx_free(struct ptx_module *module) {
  for (size_t i = 0; i < module->kernels.count; i++) {
    struct ptx_kernel *kernel = module->kernels.items[i];
    free(kernel->parameters.items);
    free(kernel->registers.items);
    free(kernel->labels.items);
    free(kernel->code.items);
    free(kernel);
  }
  free(module->kernels.items);
  free(module);
}

struct ptx_kernel *ptx_find(const struct ptx_module *module, const char *name) {
  for (size_t i = 0; i < module->kernels.count; i++) {
    if (strcmp(module->kernels.items[i]->name, name) == 0) return module->kernels.items[i];
  }
  return NULL;
}

const struct ptx_parameter *ptx_parameter(const struct ptx_kernel *kernel, size_t index) {
  return index < kernel->parameters.count ? &kernel->parameters.items[index].place : NULL;
}

uint32_t ptx_parameter_bytes(const struct ptx_kernel *kernel) { return kernel->parameter_bytes; }
uint32_t ptx_registers(const struct ptx_kernel *kernel) { return kernel->register_count; }
uint32_t ptx_version(const struct ptx_kernel *kernel) { return kernel->version; }

/* ---- running ------------------------------------------------------------------------------------------------------ */

struct thread {
  const struct ptx_run *run;
  uint64_t *registers;
  uint32_t special[12]; /* tid, ntid, ctaid, nctaid, three axes each */
};

static uint64_t cut(uint64_t value, uint32_t bytes) { return bytes >= 8 ? value : value & ((1ull << 8 * bytes) - 1); }

static int64_t extend(uint64_t value, uint32_t bytes) {
  const uint32_t unused = 64 - 8 * bytes;
  return (int64_t)(value << unused) >> unused;
}

static uint64_t value_of(const struct thread *thread, const struct operand *operand) {
  switch (operand->kind) {
    case OPERAND_REGISTER: return thread->registers[operand->index];
    case OPERAND_SPECIAL: return thread->special[operand->index];
    default: return operand->value;
  }
}

static float as_float(uint64_t bits) {
  const uint32_t low = (uint32_t)bits;
  float value;
  memcpy(&value, &low, sizeof value);
  return value;
}

static uint64_t float_bits(float value) {
  uint32_t bits;
  /* PTX ISA 9.7.3: NaN results of f32 are this one pattern. */
  if (isnan(value)) return 0x7fffffff;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static uint64_t float_result(const struct instruction *one, float a, float b, float c) {
  switch (one->op) {
    case OP_ADD: return float_bits(a + b);
    case OP_SUB: return float_bits(a - b);
    case OP_MUL: return float_bits(a * b);
    case OP_NEG: return float_bits(-a);
    case OP_MIN: return float_bits(fminf(a, b));
    case OP_MAX: return float_bits(fmaxf(a, b));
    default: return float_bits(fmaf(a, b, c));
  }
}

static int compares(const struct instruction *one, uint64_t left, uint64_t right) {
  int is_less, is_equal;
  if (one->type.shape == SHAPE_FLOAT) {
    const float a = as_float(left), b = as_float(right);
    if (isnan(a) || isnan(b)) return 0;
    is_less = a < b;
    is_equal = a == b;
  } else if (one->type.shape == SHAPE_SIGNED) {
    is_less = extend(left, one->type.bytes) < extend(right, one->type.bytes);
    is_equal = cut(left, one->type.bytes) == cut(right, one->type.bytes);
  } else {
    is_less = cut(left, one->type.bytes) < cut(right, one->type.bytes);
    is_equal = cut(left, one->type.bytes) == cut(right, one->type.bytes);
  }
  switch (one->compare) {
    case CMP_EQ: return is_equal;
    case CMP_NE: return !is_equal;
    case CMP_LT: return is_less;
    case CMP_LE: return is_less || is_equal;
    case CMP_GT: return !is_less && !is_equal;
    default: return !is_less;
  }
}

/* The product that mul and mad start from. */
static uint64_t product(const struct instruction *one, uint64_t a, uint64_t b) {
  if (!one->is_wide && !one->is_high) return a * b;
  const uint64_t whole = one->type.shape == SHAPE_SIGNED
                             ? (uint64_t)(extend(a, one->type.bytes) * extend(b, one->type.bytes))
                             : cut(a, one->type.bytes) * cut(b, one->type.bytes);
  return one->is_high ? whole >> 32 : whole;
}

static uint64_t shifted(const struct instruction *one, uint64_t a, uint64_t amount) {
  const uint32_t bits = 8u * one->type.bytes, by = (uint32_t)amount;
  if (one->op == OP_SHL) return by >= bits ? 0 : a << by;
  if (one->type.shape == SHAPE_SIGNED) return (uint64_t)(extend(a, one->type.bytes) >> (by >= bits ? bits - 1 : by));
  return by >= bits ? 0 : cut(a, one->type.bytes) >> by;
}

static uint64_t whole_result(const struct instruction *one, uint64_t a, uint64_t b, uint64_t c) {
  const int is_signed = one->type.shape == SHAPE_SIGNED;
  switch (one->op) {
    case OP_MOV: case OP_CVTA: return a;
    case OP_ADD: return a + b;
    case OP_SUB: return a - b;
    case OP_MUL: return product(one, a, b);
    case OP_MAD: return product(one, a, b) + c;
    case OP_AND: return a & b;
    case OP_OR: return a | b;
    case OP_XOR: return a ^ b;
    case OP_NOT: return one->type.shape == SHAPE_PREDICATE ? !a : ~a;
    case OP_NEG: return 0 - a;
    case OP_SHL: case OP_SHR: return shifted(one, a, b);
    case OP_MIN: case OP_MAX: {
      const int a_is_less = is_signed ? extend(a, one->type.bytes) < extend(b, one->type.bytes)
                                      : cut(a, one->type.bytes) < cut(b, one->type.bytes);
      return (one->op == OP_MIN) == a_is_less ? a : b;
    }
    case OP_SELP: return c != 0 ? a : b;
    /* Narrowed by what it is, then widened by that too. */
    default: return one->source.shape == SHAPE_SIGNED ? (uint64_t)extend(a, one->source.bytes) : cut(a, one->source.bytes);
  }
}

/* Everything that leaves a value in a register and touches no memory. */
static void compute(const struct instruction *one, struct thread *thread) {
  const uint64_t a = value_of(thread, &one->operand[1]);
  const uint64_t b = one->operands > 2 ? value_of(thread, &one->operand[2]) : 0;
  const uint64_t c = one->operands > 3 ? value_of(thread, &one->operand[3]) : 0;
  uint64_t *to = &thread->registers[one->operand[0].index];
  const int moves = one->op == OP_MOV || one->op == OP_SELP || one->op == OP_AND || one->op == OP_OR || one->op == OP_XOR ||
                    one->op == OP_NOT;
  if (one->op == OP_SETP) {
    *to = (uint64_t)compares(one, a, b);
  } else if (one->type.shape == SHAPE_FLOAT && !moves) {
    *to = float_result(one, as_float(a), as_float(b), as_float(c));
  } else {
    const uint64_t result = whole_result(one, a, b, c);
    *to = one->type.shape == SHAPE_PREDICATE ? result & 1
                                             : cut(result, one->is_wide ? 2u * one->type.bytes : one->type.bytes);
  }
}

static CUresult access_memory(const struct instruction *one, struct thread *thread) {
  const struct operand *place = &one->operand[one->op == OP_ST ? 0 : 1];
  const uint32_t bytes = one->type.bytes;
  uint64_t value = 0;
  if (one->op == OP_LD_PARAM) {
    memcpy(&value, thread->run->arguments + place->value, bytes);
  } else {
    const uint64_t address = thread->registers[place->index] + place->value;
    if (address % bytes != 0) return CUDA_MISALIGNED_ADDRESS;
    if (one->op == OP_ST) {
      return thread->run->store(thread->run->context, address, bytes, cut(value_of(thread, &one->operand[1]), bytes));
    }
    const CUresult failed = thread->run->load(thread->run->context, address, bytes, &value);
    if (failed != CUDA_SUCCESS) return failed;
  }
  thread->registers[one->operand[0].index] = one->type.shape == SHAPE_SIGNED ? (uint64_t)extend(value, bytes) : value;
  return CUDA_SUCCESS;
}

static CUresult run_thread(const struct ptx_kernel *kernel, struct thread *thread) {
  for (size_t at = 0; at < kernel->code.count; at++) {
    const struct instruction *one = &kernel->code.items[at];
    if (one->guard >= 0 && (thread->registers[one->guard] != 0) == one->guard_is_negated) continue;
    CUresult failed = CUDA_SUCCESS;
    switch (one->op) {
      case OP_LD: case OP_LD_PARAM: case OP_ST: failed = access_memory(one, thread); break;
      /* A full barrier, for every kind of fence. The builtin of C11 is one that ThreadSanitizer does not know. */
      case OP_FENCE: __sync_synchronize(); break;
      case OP_PAUSE: sched_yield(); break;
      case OP_TRAP: return CUDA_LAUNCH_FAILED;
      case OP_EXIT: return CUDA_SUCCESS;
      case OP_BRA: {
        const uint32_t target = kernel->labels.items[one->operand[0].index].target;
        if (target <= at) failed = thread->run->keep_going(thread->run->context);
        at = (size_t)target - 1; /* wraps to the loop's increment for target 0 */
        break;
      }
      default: compute(one, thread);
    }
    if (failed != CUDA_SUCCESS) return failed;
  }
  return CUDA_SUCCESS;
}

static void set_axes(uint32_t *to, const uint32_t *from) { memcpy(to, from, 3 * sizeof *to); }

/* Counts x, y, z up within its limits; 0 when it is through. */
static int next_place(uint32_t *place, const uint32_t *limit) {
  for (int axis = 0; axis < 3; axis++) {
    if (++place[axis] < limit[axis]) return 1;
    place[axis] = 0;
  }
  return 0;
}

CUresult ptx_execute(const struct ptx_kernel *kernel, const struct ptx_run *run) {
  struct thread thread = {.run = run};
  thread.registers = calloc(kernel->register_count + 1u, sizeof *thread.registers);
  if (thread.registers == NULL) return CUDA_OUT_OF_MEMORY;
  uint32_t block[3] = {0, 0, 0};
  CUresult failed = CUDA_SUCCESS;
  do {
    uint32_t place[3] = {0, 0, 0};
    do {
      memset(thread.registers, 0, (kernel->register_count + 1u) * sizeof *thread.registers);
      set_axes(&thread.special[0], place);
      set_axes(&thread.special[3], run->block);
      set_axes(&thread.special[6], block);
      set_axes(&thread.special[9], run->grid);
      failed = run_thread(kernel, &thread);
    } while (failed == CUDA_SUCCESS && next_place(place, run->block));
    if (failed == CUDA_SUCCESS) failed = run->keep_going(run->context);
  } while (failed == CUDA_SUCCESS && next_place(block, run->grid));
  free(thread.registers);
  return failed;
}
