/* What the files of the engine share about a module: words, types, forms, instructions, names. Nobody else includes it. */
#ifndef PTX_INTERNAL_H
#define PTX_INTERNAL_H

#include "ptx.h"

#include <stdarg.h>
#include <string.h>

#define WARP 32u
#define FULL 0xffffffffu
#define NONE 0xffffffffu

/* --- Words and types -------------------------------------------------------------------------------------------------- */

enum word {
#define WORD(id, text) W_##id,
#include "words.def"
#undef WORD
  W_COUNT
};
enum { WORD_SETS = 3 };
struct words {
  uint64_t bits[WORD_SETS];
};
static inline bool has(const struct words *w, enum word word) { return w->bits[word / 64] >> (word % 64) & 1; }

/* TYPE(identifier, spelling, bytes, class) */
#define TYPES(X) \
  X(U8, "u8", 1, 'u') X(S8, "s8", 1, 's') X(B8, "b8", 1, 'b') X(U16, "u16", 2, 'u') X(S16, "s16", 2, 's') X(B16, "b16", 2, 'b') \
  X(U32, "u32", 4, 'u') X(S32, "s32", 4, 's') X(B32, "b32", 4, 'b') X(U64, "u64", 8, 'u') X(S64, "s64", 8, 's') \
  X(B64, "b64", 8, 'b') X(B128, "b128", 16, 'b') X(F16, "f16", 2, 'f') X(F16X2, "f16x2", 4, 'f') X(BF16, "bf16", 2, 'f') \
  X(BF16X2, "bf16x2", 4, 'f') X(F32, "f32", 4, 'f') X(F64, "f64", 8, 'f') X(PRED, "pred", 0, 'p') X(U16X2, "u16x2", 4, 'u') \
  X(S16X2, "s16x2", 4, 's') X(E4M3X2, "e4m3x2", 2, 'b') X(E5M2X2, "e5m2x2", 2, 'b') X(TF32, "tf32", 4, 'b') \
  X(F32X2, "f32x2", 8, 'b')
enum type {
#define X(id, text, bytes, cls) T_##id,
  TYPES(X)
#undef X
  T_COUNT,
  T_NONE = T_COUNT
};
extern const uint8_t ptx_type_bytes[T_COUNT + 1]; /* of a register of that type; 0 for predicates */
extern const char ptx_type_class[T_COUNT + 1];
extern const char *const ptx_type_name[T_COUNT + 1];

/* --- Families: what a handler does; a handler is a family and a type ---------------------------------------------------- */

#define FAMILIES(X) \
  X(ADD) X(ADDSAT) X(ADDCC) X(ADDC) X(ADDC_CC) X(SUB) X(SUBSAT) X(SUBCC) X(SUBC) X(SUBC_CC) X(MUL) X(MULHI) X(MULWIDE) X(MAD) \
  X(MADHI) X(MADHISAT) X(MADWIDE) X(MADCC) X(MADC) X(MUL24) X(MUL24HI) X(MAD24) X(MAD24HI) X(MAD24HISAT) X(SAD) X(DIV) X(REM) \
  X(ABS) X(NEG) X(MIN) X(MAX) X(AND) X(OR) X(XOR) X(NOT) X(CNOT) X(SHL) X(SHR) X(SHFL_WRAP) X(SHFL_CLAMP) X(SHFR_WRAP) \
  X(SHFR_CLAMP) X(BFE) X(BFI) X(PRMT) X(PRMT_F4E) X(PRMT_B4E) X(PRMT_RC8) X(PRMT_ECL) X(PRMT_ECR) X(PRMT_RC16) X(POPC) X(CLZ) \
  X(BREV) X(BFIND) X(BFIND_SHIFT) X(LOP3) X(LOP3BOOL) X(BMSK) X(BMSK_WRAP) X(SZEXT) X(SZEXT_WRAP) X(FNS) X(DP4A) X(DP4A_US) X(DP4A_SU) X(DP4A_SS) X(DP2A) X(DP2A_US) X(DP2A_SU) X(DP2A_SS) \
  X(VABSDIFF4) X(VABSDIFF4_ADD) X(RELU) X(SETP) X(SETP_EQ) X(SETP_NE) X(SETP_LT) X(SETP_LE) X(SETP_GT) X(SETP_GE) X(SETP_EQU) X(SETP_NEU) X(SETP_LTU) \
  X(SETP_LEU) X(SETP_GTU) X(SETP_GEU) X(SETP_NUM) X(SETP_NAN) X(SETP_HALF) X(SET) X(SET2) X(SELP) X(SLCT) X(FADD) X(FSUB) X(FMUL) X(FFMA) X(FDIV) \
  X(FRCP) X(FSQRT) X(DIVAPPROX) X(DIVFULL) X(RCP64H) X(RSQRT) X(RSQRT64H) X(EX2) X(LG2) X(SIN) X(COS) X(TANH) X(FABS) X(FNEG) X(FMIN) \
  X(FMAX) X(FMIN_NAN) X(FMAX_NAN) X(COPYSIGN) X(SIGNXOR) X(TESTP) X(FLUSH) X(SATURATE) X(FMODE) X(HALF) X(CVT) X(CVT2) \
  X(WIDEN_U8) X(WIDEN_S8) X(TO_U16) X(TO_U32) X(TO_S32) X(TO_U64) X(TO_S64) X(TO_F32) X(TO_F64) X(TRUNC_S32) X(TRUNC_U32) X(MOV) X(SPECIAL) X(LOCALADDR) X(PACK) X(UNPACK) \
  X(LD) X(LD_SHARED) X(LD_LOCAL) X(LD_PARAM) X(LD_ANY) X(ST) X(ST_SHARED) X(ST_LOCAL) X(ST_ANY) X(ATOM) X(ATOMV) X(CVTA) \
  X(ISSPACEP) X(POLICY) X(FENCE) X(CPASYNC) X(MBAR_CPASYNC) X(MBAR_INIT) X(MBAR_INVAL) X(MBAR_ARRIVE) X(MBAR_ARRIVE_TX) \
  X(MBAR_DROP) X(MBAR_EXPECT) X(MBAR_COMPLETE) X(MBAR_TEST) X(MBAR_PARITY) X(MBAR_PENDING) X(NOTHING) X(LABEL) X(BRA) X(BRX) X(CALL) \
  X(CALLPTR) X(RET) X(EXIT) X(TRAP) X(BRKPT) X(NANOSLEEP) X(BAR_SYNC) X(BAR_ARRIVE) X(BAR_RED) X(BAR_CLUSTER) X(WARPSYNC) X(SHFL) \
  X(SHFL_OLD) X(VOTE) X(VOTE_OLD) X(MATCH) X(REDUX) X(ACTIVEMASK) X(ELECT) X(GETRANK) X(MAPA) X(GUARDED) X(END)
enum family {
#define X(id) F_##id,
  FAMILIES(X)
#undef X
  F_COUNT
};

/* A row of opcodes.def, read once. */
struct row {
  const struct ptx_opcode *text;
  const char *operands;
  uint8_t family, exactness;
  bool any_words;
  uint8_t type_count;
  uint32_t types[3]; /* sets of enum type */
  uint8_t items;
  struct {
    struct words words;
    bool optional;
  } item[12];
};
const struct row *ptx_rows(unsigned *count);
/* Rows of that name: first and number; false for an unknown name. */
bool ptx_rows_named(const char *name, size_t length, unsigned *first, unsigned *count);

/* One spelling of an opcode in a module ("ld.global.nc.f32"), resolved once. */
struct form {
  const char *spelling;
  uint32_t length, hash;
  const struct row *row; /* NULL: unknown; `problem` says why */
  const char *problem;
  unsigned first_row, row_count; /* rows of the same name, where operands decide */
  struct words words;
  uint8_t types[4];
  uint8_t type_count;
  bool unknown_words;
  uint32_t first_line, count;
  struct form *next;
};
/* Reads a spelling: words, types, row. */
void ptx_form_read(struct form *form);

/* --- Instructions ----------------------------------------------------------------------------------------------------- */

struct warp;
struct instr;
/* Does one instruction for the current group; gives the next one, or NULL when the warp stops here. */
typedef const struct instr *(*handler)(const struct instr *ip, struct warp *w);

/*
 * One decoded instruction. a, b, c and their like are rows: byte offsets in the frame, with bit 0 set in the module's
 * constants. `guard` is a row of a predicate, bit 1 set when it is negated, or NONE.
 */
struct instr {
  handler fn;
  handler inner, innermost; /* below a guard or a floating point mode; below both */
  int64_t imm;
  uint32_t d, a, b, c, e;
  uint32_t guard;
  uint32_t line;
  int32_t delta; /* of a branch, in instructions */
  uint8_t family, type; /* of the handler, before guard and mode */
  uint8_t float_mode;   /* FMODE_: rounding and flushing while the handler runs */
  uint8_t flags, width, space, order; /* memory */
  uint32_t *more; /* further rows, branch targets, arguments of a call */
  uint8_t scope, operation, count, mode;
  uint16_t source;
  bool counted; /* the first one of its statement */
};

enum { SPACE_GENERIC, SPACE_GLOBAL, SPACE_SHARED, SPACE_LOCAL, SPACE_PARAM, SPACE_CONST };
enum { ORDER_WEAK, ORDER_RELAXED, ORDER_ACQUIRE, ORDER_RELEASE, ORDER_ACQ_REL, ORDER_SC, ORDER_VOLATILE, ORDER_MMIO };
enum { SCOPE_CTA, SCOPE_CLUSTER, SCOPE_GPU, SCOPE_SYS };
enum { FLAG_FRAME = 1, FLAG_ADDRESS32 = 2, FLAG_SIGNED = 4, FLAG_NC = 8, FLAG_INDIRECT = 16 };
/* float_mode, and the rounding in `mode` of conversions */
enum { ROUND_NEAREST, ROUND_ZERO, ROUND_DOWN, ROUND_UP, ROUND_AWAY, FMODE_FTZ = 8 };
/* mode of conversions and half arithmetic, above the rounding */
enum { MODE_SAT = 8, MODE_FTZ = 16, MODE_RELU = 32, MODE_INTEGRAL = 64, MODE_SATFINITE = 128 };
enum { HALF_ADD, HALF_SUB, HALF_MUL, HALF_FMA, HALF_NEG, HALF_ABS, HALF_MIN, HALF_MAX, HALF_EX2, HALF_TANH };
enum { HALF_NAN = 1, HALF_XORSIGN = 2 }; /* flags of min and max */
enum { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE, CMP_EQU, CMP_NEU, CMP_LTU, CMP_LEU, CMP_GTU, CMP_GEU, CMP_NUM, CMP_NAN };
enum { BOOL_NONE, BOOL_AND, BOOL_OR, BOOL_XOR };
enum { ATOM_ADD, ATOM_INC, ATOM_DEC, ATOM_MIN, ATOM_MAX, ATOM_AND, ATOM_OR, ATOM_XOR, ATOM_EXCH, ATOM_CAS };

/* A parameter or result of a function, or of a prototype. */
struct argument {
  uint32_t offset, size, align; /* in the frame's parameter area, which is local memory */
  uint32_t row;                 /* a .reg argument; NONE for .param */
  uint8_t type;
};

struct signature {
  struct argument *arguments;
  uint32_t argument_count, result_count; /* results come first in `arguments` */
};

struct function {
  const char *name;
  uint32_t index, source, line;
  bool entry, defined, external, visible, weak, noreturn;
  uint8_t builtin; /* enum builtin; vprintf and its like */
  struct signature signature;
  struct instr *code;
  uint32_t code_count;
  uint32_t frame_bytes;
  uint8_t *row_kinds; /* for each 64 bytes of the frame: bytes of a lane, 0 for predicates */
  uint32_t local_bytes; /* .local and .param of an activation */
  uint32_t registers;
  uint32_t first_shared, own_shared; /* where a kernel's own static shared begins, behind the common one, and its size */
  struct function **calls;
  uint32_t call_count;
  bool calls_pointer, address_taken, called, uses_common;
  uint32_t depth_bytes; /* of local memory that it and its calls take */
  uint8_t state;
  bool recursive;
  struct ptx_kernel_info info;
};

enum builtin { BUILTIN_NONE, BUILTIN_VPRINTF, BUILTIN_ASSERTFAIL, BUILTIN_MALLOC, BUILTIN_FREE };

struct initial { /* an address in an initialiser */
  uint32_t offset, bytes;
  const struct symbol *symbol;
  int64_t addend;
  bool generic;
  uint8_t shift;
};

enum symbol_kind { SYMBOL_REGISTER, SYMBOL_VARIABLE, SYMBOL_FUNCTION, SYMBOL_LABEL, SYMBOL_PROTOTYPE, SYMBOL_TARGETS };

/* A name. Variables of module scope live as long as the module; the others while their function is read. */
struct symbol {
  const char *name;
  uint32_t length, hash;
  uint8_t kind, type, space;
  uint16_t depth;
  bool external, visible, weak, parameter, kernel_parameter, initialised, dynamic, used;
  uint32_t align;
  uint64_t size; /* of a variable; 0 for dynamic shared */
  uint64_t address;        /* device address, or offset in shared, frame or parameters */
  uint32_t count;          /* registers of a family %r<n>; 0 for a single one */
  uint32_t *rows;          /* of each, NONE until used */
  struct function *function;
  struct signature signature;
  uint32_t *targets; /* of .branchtargets: labels' numbers */
  uint32_t target_count;
  uint8_t *bytes; /* initial value, `size` of them or fewer */
  uint64_t byte_count;
  struct initial *initials;
  uint32_t initial_count;
  uint32_t line, source;
  uint32_t variable;
  struct symbol *next, *older; /* in the bucket; the one that it hides */
};

/* Where an address goes once it is known. */
struct relocation {
  struct function *function; /* NULL: a row of the constants */
  uint32_t where;            /* instruction, or row */
  struct symbol *symbol;
  int64_t addend;
};

struct arena {
  struct block *blocks;
  size_t left;
  uint8_t *at;
  bool failed;
};
/* arena.c */
void *ptx_arena(struct arena *arena, size_t size); /* zeroed; NULL when out of memory */
void ptx_arena_free(struct arena *arena);
/* Makes room for one more element of a growing array; false when out of memory. */
bool ptx_grow(void **array, uint32_t *capacity, uint32_t count, size_t element);
#define GROW(array, capacity, count) ptx_grow((void **)&(array), &(capacity), (count), sizeof *(array))

struct ptx_module {
  struct arena arena;
  unsigned version, target, source_count;
  struct symbol **globals; /* variables of .global and .const */
  uint32_t global_count, global_capacity;
  struct ptx_variable *variables;
  struct function **functions;
  uint32_t function_count, function_capacity;
  struct function **kernels;
  uint32_t kernel_count;
  struct relocation *relocations;
  uint32_t relocation_count, relocation_capacity;
  uint8_t *constants; /* rows; 64-byte aligned */
  uint32_t constant_bytes, constant_capacity;
  struct form **forms; /* all of them, hashed */
  uint32_t form_buckets, form_count;
  uint32_t shared_bytes, dynamic_align; /* static shared of all of the module */
  uint32_t const_bytes;
  uint32_t instruction_count;
  bool linked;
  /* Code with an instruction set's handlers, without and with weak memory, made at the first launch. */
  struct instr **_Atomic code[2 * PTX_ISA_COUNT];
};
/* The code of every function for that instruction set. NULL: out of memory. */
struct instr *const *ptx_module_code(const struct ptx_module *module, enum ptx_isa isa, bool weak);
/* The handler, falling back from signed to unsigned to untyped. NULL: there is none. */
handler ptx_handler(enum ptx_isa isa, enum family family, enum type type);

/* --- Lexer ------------------------------------------------------------------------------------------------------------ */

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_DIRECTIVE, TOKEN_INTEGER, TOKEN_F32, TOKEN_F64, TOKEN_STRING, TOKEN_MARK, TOKEN_BAD };

struct token {
  uint8_t kind;
  char mark;
  bool is_unsigned;
  const char *text;
  uint32_t length, hash, line;
  uint64_t value;
};

struct lexer {
  const char *at, *end;
  uint32_t line;
};
void ptx_lex(struct lexer *lexer, struct token *token);
uint32_t ptx_hash(const char *text, size_t length);

/* --- Parser ----------------------------------------------------------------------------------------------------------- */

enum { MAX_NESTING = 64, MAX_OPERANDS = 20, MAX_REGISTERS = 1 << 20, MAX_ALL_REGISTERS = 1 << 24, MAX_NAME = 4096, MAX_STRING = 1 << 16, MAX_ROWS = 1 << 24 };

enum operand_kind {
  OPERAND_REGISTER, OPERAND_INTEGER, OPERAND_F32, OPERAND_F64, OPERAND_SYMBOL, OPERAND_SPECIAL, OPERAND_ADDRESS, OPERAND_VECTOR,
  OPERAND_LIST, OPERAND_NOTHING
};

struct operand {
  uint8_t kind, type;
  bool negated, has_pair, is_list_end, is_unsigned;
  uint32_t row;      /* of a register */
  uint32_t pair_row; /* of d|p */
  uint8_t pair_type;
  uint64_t value; /* integer, float's bits, special register */
  struct symbol *symbol;
  int64_t offset; /* of an address */
  struct operand *elements;
  uint32_t count;
  const char *text;
  uint32_t length;
};

struct fixup {
  uint32_t instruction;
  const char *name;
  uint32_t length, hash, line;
  uint16_t depth;
  uint32_t *table; /* NULL: the instruction's delta; else an element of .branchtargets */
};

struct parser {
  struct lexer lexer;
  struct token token, ahead;
  bool has_ahead;
  struct ptx_module *module;
  const struct ptx_options *options;
  unsigned source;
  const struct ptx_source *sources;
  const char *source_name;
  enum ptx_error error;
  uint32_t messages;
  size_t log_used;
  bool version_seen, target_seen;
  unsigned version, target;
  struct symbol **buckets;
  uint32_t bucket_count;
  struct symbol **scope; /* names in the order of their declaration */
  uint32_t scope_count, scope_capacity;
  uint16_t depth;
  struct function *function;
  struct instr *code;
  uint32_t code_count, code_capacity;
  uint32_t predicate_next, predicate_end; /* predicates share rows */
  uint32_t frame_bytes, param_bytes, local_bytes;
  uint8_t *row_kinds;
  uint32_t row_kind_capacity;
  struct fixup *fixups;
  uint32_t fixup_count, fixup_capacity;
  struct function **calls;
  uint32_t call_count, call_capacity;
  struct operand operands[MAX_OPERANDS], guard;
  struct operand pool[128];
  uint32_t pool_used, operand_count;
  uint32_t *constant_table; /* hash of rows of constants */
  uint32_t constant_buckets, constant_count;
  bool has_guard;
  uint32_t temporary[5][12]; /* rows for what is between two handlers of a statement: predicates, 2, 4, 8, 16 bytes */
  uint8_t temporary_used[5], temporary_made[5];
  uint32_t statement_line, statement_first;
  const char *spelling; /* of the statement's opcode */
  uint32_t spelling_length;
  uint32_t register_total; /* declared in all functions */
  struct arena scratch;
};

/* cursor.c */
bool ptx_fail(struct parser *p, enum ptx_error error, uint32_t line, const char *spelling, size_t length, const char *text);
/* The token that stands here is not what was wanted. False. */
bool ptx_unexpected(struct parser *p, const char *text);
bool ptx_next(struct parser *p);
bool ptx_is_mark(const struct parser *p, char mark);
bool ptx_accept(struct parser *p, char mark);
bool ptx_expect(struct parser *p, char mark);
bool ptx_is_directive(const struct parser *p, const char *name);
bool ptx_accept_directive(struct parser *p, const char *name);
bool ptx_constant(struct parser *p, int64_t *value);

/* table.c */
enum type ptx_type_named(const char *text, size_t length); /* without the dot; T_NONE for another word */

/* parser.c */
bool ptx_parse_source(struct parser *p);

/* variables.c */
bool ptx_read_variable(struct parser *p, const char *linkage);
bool ptx_symbol_value(struct parser *p, struct symbol **symbol, int64_t *addend, bool *generic);

/* resolve.c */
struct symbol *ptx_find(struct parser *p, const char *name, uint32_t length, uint32_t hash);
struct symbol *ptx_declare(struct parser *p, const struct token *name, enum symbol_kind kind);
void ptx_scope_open(struct parser *p);
bool ptx_scope_close(struct parser *p);
bool ptx_register(struct parser *p, const char *name, uint32_t length, uint32_t hash, uint32_t *row, uint8_t *type);
uint32_t ptx_row_new(struct parser *p, enum type type);
uint32_t ptx_constant_row(struct parser *p, unsigned bytes, uint64_t low, uint64_t high);
bool ptx_relocate(struct parser *p, struct function *function, uint32_t where, struct symbol *symbol, int64_t addend);
uint32_t ptx_symbol_row(struct parser *p, struct symbol *symbol, int64_t addend, unsigned bytes);
bool ptx_finish_module(struct parser *p);

/* statement.c */
bool ptx_statement(struct parser *p);

/* emit.c */
struct instr *ptx_emit(struct parser *p, enum family family, enum type type);
struct instr *ptx_emit_rows(struct parser *p, enum family family, enum type type, uint32_t d, uint32_t a, uint32_t b, uint32_t c);
uint32_t ptx_temporary(struct parser *p, unsigned bytes); /* 0: a predicate */
bool ptx_source(struct parser *p, const struct operand *o, enum type type, uint32_t *row);
bool ptx_source_relaxed(struct parser *p, const struct operand *o, enum type type, uint32_t *row);
bool ptx_destination(struct parser *p, const struct operand *o, enum type type, uint32_t *row);
bool ptx_predicate(struct parser *p, const struct operand *o, bool may_be_negated, uint32_t *row);
bool ptx_operand_wrong(struct parser *p, const struct operand *o, const char *text);
bool ptx_operand_fits(enum type type, enum type reg, bool relaxed);
/* Widens or narrows between a register of `from` bytes and one of `to` bytes, as integers of these types. */
bool ptx_convert_integer(struct parser *p, enum type source, unsigned from, uint32_t a, enum type target, unsigned to, uint32_t d);
bool ptx_destination_relaxed(struct parser *p, const struct operand *o, enum type type, unsigned *bytes, uint32_t *row);
bool ptx_decode(struct parser *p, const struct form *form);

/* decode_memory.c, decode_control.c: true when it was one of theirs; *good says how it went */
bool ptx_decode_memory(struct parser *p, const struct form *form, bool *good);
bool ptx_decode_control(struct parser *p, const struct form *form, bool *good);
bool ptx_address(struct parser *p, const struct operand *o, uint8_t space, struct instr *out);

/* special.c: the number of a special register, or -1; SPECIAL_DYNAMIC is the address of dynamic shared memory */
enum { SPECIAL_DYNAMIC = 0 };
int ptx_special_register(const char *name, size_t length, enum type *type);

#endif
