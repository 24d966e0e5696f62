/*
 * The PTX engine: reads PTX text, runs it warp by warp on the CPU. It knows no CUDA driver: memory, output and the heap are
 * callbacks, errors are an enum that the driver maps to its own codes.
 *
 *   ptx_module_load -> place every ptx_variable -> ptx_module_link -> write each variable's initial bytes
 *   ptx_launch_create -> ptx_launch_run from any number of threads until PTX_RUN_DONE or PTX_RUN_FAULT -> ptx_launch_free
 *
 * A module is immutable after ptx_module_link and may be used by any number of launches and threads at once.
 */
#ifndef PTX_H
#define PTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- Instruction sets ------------------------------------------------------------------------------------------------- */

/* Which of the builds of the same source runs; results are bit-identical. */
enum ptx_isa { PTX_ISA_BASELINE, PTX_ISA_AVX2, PTX_ISA_AVX512, PTX_ISA_COUNT };

/* The widest build that this processor runs. */
enum ptx_isa ptx_isa_best(void);
/* "baseline", "avx2", "avx512". False for an unknown name and for one that this processor does not run. */
bool ptx_isa_parse(const char *name, enum ptx_isa *out);
const char *ptx_isa_name(enum ptx_isa isa);

/* --- Modules ---------------------------------------------------------------------------------------------------------- */

enum ptx_error {
  PTX_OK,
  PTX_ERROR_SYNTAX,         /* 218: not PTX, or a limit of the parser; the log has line and spelling */
  PTX_ERROR_UNKNOWN,        /* 218: an instruction form, directive or register that the engine does not have */
  PTX_ERROR_TYPE,           /* 218: operand types do not fit the instruction */
  PTX_ERROR_UNDECLARED,     /* 218: a name that is not declared, or a declared function without a definition */
  PTX_ERROR_TARGET,         /* 218: .target above the device's capability, or an instruction that .target does not have */
  PTX_ERROR_VERSION,        /* 222: .version above the limit */
  PTX_ERROR_NOT_PTX,        /* 200: no .version at the beginning: not PTX text at all */
  PTX_ERROR_MEMORY,         /* 2: out of host memory */
};

struct ptx_source {
  const char *text;
  size_t length; /* without a closing NUL */
  const char *name; /* for messages when there are several; may be NULL */
};

/* One message about the text. `spelling` is the offending word as written (may be ""), `text` a sentence without it. */
struct ptx_message {
  enum ptx_error error;
  unsigned source; /* index into the sources */
  uint32_t line;
  const char *spelling;
  const char *text;
};

struct ptx_options {
  unsigned capability;    /* 10 * major + minor of the device: 75, 86, 90, 100. A .target above it is PTX_ERROR_TARGET */
  unsigned version_limit; /* 10 * major + minor of the newest .version accepted: 90 */
  bool keep_going;        /* report every problem to `message`, not only the first; the load fails all the same */
  void (*message)(void *context, const struct ptx_message *message); /* may be NULL */
  void *context;
  /* Where messages go as text, in the form of the vendor's assembler: `ptxas application ptx input, line N; error   : ...`,
   * then a `ptxas fatal` line. Always NUL-terminated when log_size > 0. May be NULL. */
  char *log;
  size_t log_size;
};

struct ptx_module;

/* Parses, resolves and decodes. Several sources become one module: `.visible` and `.weak` names are shared between them,
 * `.extern` ones must be defined by one of them. On failure *out is NULL. */
enum ptx_error ptx_module_load(const struct ptx_source *sources, unsigned count, const struct ptx_options *options,
                               struct ptx_module **out);
void ptx_module_free(struct ptx_module *module);

unsigned ptx_module_version(const struct ptx_module *module); /* 10 * major + minor of the first source's .version */
unsigned ptx_module_target(const struct ptx_module *module);  /* of the first source's .target: 75 */

enum ptx_space { PTX_SPACE_GLOBAL, PTX_SPACE_CONST };

/* A variable of module scope in .global or .const. Shared variables are the kernels' business, not listed. */
struct ptx_variable {
  const char *name;
  enum ptx_space space;
  uint64_t size;
  uint32_t align;
  bool visible; /* cuModuleGetGlobal finds it */
  bool initialised; /* false: all zero, the initial bytes need not be written */
};

unsigned ptx_module_variable_count(const struct ptx_module *module);
const struct ptx_variable *ptx_module_variable(const struct ptx_module *module, unsigned index);
int ptx_module_find_variable(const struct ptx_module *module, const char *name); /* index among visible ones, or -1 */
/* Says at which device address variable `index` lies. Every variable is placed before ptx_module_link. */
void ptx_module_place(struct ptx_module *module, unsigned index, uint64_t address);
/* Resolves the addresses in instructions and initialisers. After that the module is immutable. */
enum ptx_error ptx_module_link(struct ptx_module *module);
/* After the link: the variable's initial bytes, `size` of them, with addresses of other symbols resolved. */
void ptx_module_initial_bytes(const struct ptx_module *module, unsigned index, void *bytes);

struct ptx_parameter {
  uint32_t offset, size, align;
};

struct ptx_kernel_info {
  const char *name;
  uint32_t parameter_count;
  const struct ptx_parameter *parameters;
  uint32_t parameter_bytes; /* end of the last one; at most 32764 */
  uint32_t registers;       /* estimate in 32-bit registers per thread, at most 255 */
  uint32_t static_shared;   /* bytes of static shared memory, of called functions too */
  uint32_t dynamic_align;   /* the strictest alignment of its extern shared arrays, 1 without one */
  uint32_t local_bytes;     /* .local of the kernel itself */
  uint32_t stack_bytes;     /* local memory per thread that all calls take without recursion */
  bool recursive;           /* may take more: recursion or calls through pointers */
  uint32_t const_bytes;     /* module's .const */
  uint32_t max_threads;     /* product of .maxntid, 0 without one: a launch with more threads per block is refused */
  uint32_t required_block[3]; /* .reqntid, zeros without one: a launch must match it */
  uint32_t min_blocks;        /* .minnctapersm, 0 without one */
  bool noreturn;
};

unsigned ptx_module_kernel_count(const struct ptx_module *module);
const struct ptx_kernel_info *ptx_module_kernel(const struct ptx_module *module, unsigned index);
int ptx_module_find_kernel(const struct ptx_module *module, const char *name); /* index, or -1 */

/* --- The table of opcodes, and what a module uses of it ------------------------------------------------------------------- */

enum ptx_exactness { PTX_EXACT, PTX_APPROXIMATE, PTX_IGNORED };

/* One row of opcodes.def, as text. */
struct ptx_opcode {
  const char *name;      /* "add" */
  const char *modifiers; /* see opcodes.def */
  const char *types;     /* "u32 s32"; "f32/s32 u32" where a second type follows */
  const char *operands;
  enum ptx_exactness exactness;
  unsigned capability; /* least .target, 0 any */
};
unsigned ptx_opcode_count(void);
const struct ptx_opcode *ptx_opcode(unsigned index);

/* Calls back once for each spelling ("add.s32") that the module holds. */
void ptx_module_instructions(const struct ptx_module *module,
                             void (*each)(void *context, const char *spelling, enum ptx_exactness exactness,
                                          uint32_t first_line, uint32_t count),
                             void *context);

/* --- Memory of a kernel's context ------------------------------------------------------------------------------------------- */

/*
 * Address windows that belong to the engine: nothing of the driver's may lie at or above PTX_WINDOWS.
 * A generic pointer to shared memory is PTX_SHARED_WINDOW + offset in the block's shared memory, and so on.
 */
#define PTX_WINDOWS UINT64_C(0xfff0000000000000)
#define PTX_CODE_WINDOW UINT64_C(0xfff1000000000000)   /* function pointers */
#define PTX_PARAM_WINDOW UINT64_C(0xfffc000000000000)  /* the kernel's parameters */
#define PTX_LOCAL_WINDOW UINT64_C(0xfffd000000000000)  /* the thread's local memory */
#define PTX_SHARED_WINDOW UINT64_C(0xfffe000000000000) /* the block's shared memory */

enum {
  PTX_REGION_HOST = 1,      /* host memory (pinned, registered, managed): weak stores reach it at .sys scope */
  PTX_REGION_IO = 2,        /* I/O memory: lane by lane, one access of exactly the width of the instruction, traced */
  PTX_REGION_READ_ONLY = 4, /* a store or atomic is a fault */
};

/* A range of device addresses, and where it lies in this process. */
struct ptx_region {
  uint64_t address, size;
  uint8_t *host;
  uint32_t flags;
};

struct ptx_memory {
  /* The region of `context` that holds `address`, copied to *out; false when there is none. Called from many threads at
   * once and must not lock: it is on the path of every access that misses a thread's cache. */
  bool (*find)(void *context, uint64_t address, struct ptx_region *out);
  /* Changed by the driver after each removal or change of a region. What was found earlier is forgotten at the next slice. */
  const _Atomic(uint64_t) *generation; /* may be NULL: regions never go away during a launch */
  /* Reads all ones, say, or an access that must be done by somebody else: when not NULL, called for each access to
   * PTX_REGION_IO instead of touching `host`. `value` is little-endian, `width` 1 to 16. False is a fault. */
  bool (*io)(void *context, bool write, uint64_t address, uint8_t *host, unsigned width, void *value);
  void *context;
};

/* --- Running ---------------------------------------------------------------------------------------------------------------- */

enum ptx_fault_kind {
  PTX_FAULT_NONE,
  PTX_FAULT_ADDRESS,     /* 700: no region of this context, past its end, or read-only */
  PTX_FAULT_MISALIGNED,  /* 716 */
  PTX_FAULT_SPACE,       /* 717: a pointer of a wrong space for the instruction, an atomic on local, parameter or I/O memory */
  PTX_FAULT_CODE,        /* 718: a call through a pointer that is not a function of this module, or of another signature */
  PTX_FAULT_STACK,       /* 714: local memory of a thread is used up */
  PTX_FAULT_TRAP,        /* 719: trap, brkpt */
  PTX_FAULT_ASSERT,      /* 710 */
  PTX_FAULT_INSTRUCTION, /* 715: an illegal instruction: barrier number, thread count of a barrier */
  PTX_FAULT_DEADLOCK,    /* 719: all that is left waits for barriers that nobody can complete; `message` says who where */
  PTX_FAULT_BUDGET,      /* 702 */
  PTX_FAULT_CANCELLED,   /* ptx_launch_cancel */
  PTX_FAULT_MEMORY,      /* 2: out of host memory */
};

struct ptx_fault {
  enum ptx_fault_kind kind;
  const char *kernel;   /* the module's string */
  uint32_t block[3], thread[3];
  unsigned source;      /* of the module's sources */
  uint32_t line;        /* of the PTX text; 0 unknown */
  uint64_t address;     /* of the access */
  uint32_t width;       /* of the access in bytes */
  bool write;
  char message[400];    /* one sentence with all of that: kernel, block, thread, line, address */
};

/* Who did something, for the hooks. */
struct ptx_thread {
  const char *kernel;
  uint32_t block[3], thread[3];
  unsigned source;
  uint32_t line;
};

struct ptx_trace {
  struct ptx_thread thread;
  uint64_t nanoseconds; /* of CLOCK_MONOTONIC */
  uint64_t address;
  uint32_t width;
  bool write;
  uint8_t value[16];
};

struct ptx_hooks {
  /* Text of printf, whole calls, also of a failed assert. Called from the running thread; keep it until the driver prints. NULL: lost. */
  void (*print)(void *context, const char *text, size_t length);
  /* Device heap: a device address, 0 when full. NULL: always full. */
  uint64_t (*allocate)(void *context, uint64_t size);
  /* False: not an address of the heap, a fault. */
  bool (*release)(void *context, uint64_t address);
  /* Each access to PTX_REGION_IO, after it was made, in the order made by that thread. NULL: no trace. */
  void (*trace)(void *context, const struct ptx_trace *trace);
  void *context;
};

struct ptx_launch_config {
  const struct ptx_module *module; /* stays alive until ptx_launch_free */
  unsigned kernel;
  uint32_t grid[3], block[3];
  uint32_t dynamic_shared;
  const void *parameters; /* parameter_bytes of the kernel; copied */
  bool cooperative;        /* all blocks take turns from the start; else only once one of them waits */
  uint64_t grid_workspace; /* for %envreg1 and 2: device address of the zeroed grid workspace (>= 8 bytes), 0 without one */
  uint64_t grid_id;
  uint32_t stack_bytes;     /* local memory for recursion and pointer calls, per thread, beyond what is known to be needed */
  uint32_t multiprocessors; /* %nsmid; blocks are dealt to %smid in turn */
  uint32_t clock_khz;       /* rate of %clock64 */
  uint64_t budget;          /* thread instructions of the whole launch, 0 without limit; PTX_FAULT_BUDGET */
  enum ptx_isa isa;
  bool weak_memory;         /* store buffers per block, drained in random order */
  uint64_t weak_seed;
  bool count_lines;         /* count executions for ptx_launch_line_count */
  struct ptx_memory memory;
  struct ptx_hooks hooks;
};

struct ptx_launch;
struct ptx_runner; /* what one thread keeps between slices: caches and memory of finished blocks */

/* One of a kind for each thread that runs launches; may serve many launches one after the other. NULL: out of memory. */
struct ptx_runner *ptx_runner_create(void);
void ptx_runner_free(struct ptx_runner *runner);

enum ptx_run {
  PTX_RUN_MORE,  /* the slice is used up and there is more to do: call again */
  PTX_RUN_IDLE,  /* blocks are left, but the slice brought nothing new: they poll memory. Yield, then call again */
  PTX_RUN_EMPTY, /* other threads run all that is left; nothing for this one now */
  PTX_RUN_DONE,  /* the grid has ended */
  PTX_RUN_FAULT, /* the grid has ended with ptx_launch_fault */
};

/* PTX_OK or PTX_ERROR_MEMORY. The caller has checked dimensions and limits of its device: block <= 1024 threads, all
 * dimensions >= 1, shared memory. */
enum ptx_error ptx_launch_create(const struct ptx_launch_config *config, struct ptx_launch **out);
/* Runs blocks for about `slice` warp instructions (0: a default of some ten thousand). Any number of threads, each with its own runner. */
enum ptx_run ptx_launch_run(struct ptx_launch *launch, struct ptx_runner *runner, uint64_t slice);
/* Ends the grid at the next slice with PTX_FAULT_CANCELLED; from any thread. */
void ptx_launch_cancel(struct ptx_launch *launch);
/* NULL before the end and without a fault. */
const struct ptx_fault *ptx_launch_fault(const struct ptx_launch *launch);
uint64_t ptx_launch_instructions(const struct ptx_launch *launch); /* thread instructions so far, roughly while it runs */
/* With count_lines, after the end: executions (threads) of the instructions of that line. */
uint64_t ptx_launch_line_count(const struct ptx_launch *launch, unsigned source, uint32_t line);
/* No thread may be inside ptx_launch_run. */
void ptx_launch_free(struct ptx_launch *launch);

#endif
