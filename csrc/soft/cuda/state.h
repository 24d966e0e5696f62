/*
 * What the files of the software CUDA device share and nobody else sees.
 *
 * Everything belongs to an instance: a driver with its devices and settings. Several live in one process. The driver API has
 * no parameter for it, so each thread has one that it works with: bb_soft_cuda_enter chooses it, else it is the one that
 * BUSBAR_SOFT_CUDA describes.
 *
 * One lock of an instance guards all of its state. It is never held while a kernel, a copy or a program's function runs;
 * kernels find memory without it (space.c).
 */
#ifndef BUSBAR_SOFT_CUDA_STATE_H
#define BUSBAR_SOFT_CUDA_STATE_H

#include "api/cuda_api.h"
#include "fatbin.h"
#include "ptx/ptx.h"
#include "soft_cuda.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

/* The results that the device gives; cuda.h has all. */
enum {
  CUDA_SUCCESS = 0,
  CUDA_INVALID_VALUE = 1,
  CUDA_OUT_OF_MEMORY = 2,
  CUDA_NOT_INITIALIZED = 3,
  CUDA_NO_DEVICE = 100,
  CUDA_INVALID_DEVICE = 101,
  CUDA_INVALID_IMAGE = 200,
  CUDA_INVALID_CONTEXT = 201,
  CUDA_NO_BINARY_FOR_GPU = 209,
  CUDA_UNSUPPORTED_LIMIT = 215,
  CUDA_PEER_ACCESS_UNSUPPORTED = 217,
  CUDA_INVALID_PTX = 218,
  CUDA_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_FILE_NOT_FOUND = 301,
  CUDA_OPERATING_SYSTEM = 304,
  CUDA_INVALID_HANDLE = 400,
  CUDA_ILLEGAL_STATE = 401,
  CUDA_NOT_FOUND = 500,
  CUDA_NOT_READY = 600,
  CUDA_ILLEGAL_ADDRESS = 700,
  CUDA_LAUNCH_OUT_OF_RESOURCES = 701,
  CUDA_LAUNCH_TIMEOUT = 702,
  CUDA_PEER_ACCESS_ALREADY_ENABLED = 704,
  CUDA_PEER_ACCESS_NOT_ENABLED = 705,
  CUDA_PRIMARY_CONTEXT_ACTIVE = 708,
  CUDA_CONTEXT_IS_DESTROYED = 709,
  CUDA_ASSERT = 710,
  CUDA_HOST_MEMORY_ALREADY_REGISTERED = 712,
  CUDA_HOST_MEMORY_NOT_REGISTERED = 713,
  CUDA_HARDWARE_STACK_ERROR = 714,
  CUDA_ILLEGAL_INSTRUCTION = 715,
  CUDA_MISALIGNED_ADDRESS = 716,
  CUDA_INVALID_ADDRESS_SPACE = 717,
  CUDA_INVALID_PC = 718,
  CUDA_LAUNCH_FAILED = 719,
  CUDA_COOPERATIVE_LAUNCH_TOO_LARGE = 720,
  CUDA_NOT_PERMITTED = 800,
  CUDA_NOT_SUPPORTED = 801,
  CUDA_UNKNOWN = 999,
};

#define EXPORT(name, since, older, params, args) __attribute__((visibility("default"))) CUresult name params;
#define EXPORT0(name, since) __attribute__((visibility("default"))) CUresult name(void);
BB_CUDA_FUNCTIONS(EXPORT, EXPORT0)

enum { MAX_DEVICES = 8, MAX_INJECTIONS = 32, MAX_CONTEXT_DEPTH = 32, MOST_THREADS = 256 };

/* Shared memory that a block has without asking for more. */
enum { SHARED_BYTES = 48 << 10, CONST_BYTES = 64 << 10, REGISTERS = 65536, WARP_THREADS = 32, MOST_BLOCK_THREADS = 1024 };

/* ---- settings.c ------------------------------------------------------------------------------------------------------ */

/* The numbers of a kind of card. */
struct profile {
  const char *name;
  uint32_t capability, multiprocessors, threads_per_multiprocessor, blocks_per_multiprocessor;
  uint32_t shared_per_multiprocessor, shared_opt_in, l2_bytes, clock_khz, memory_khz, bus_bits;
};

struct settings {
  const struct profile *profile;
  uint32_t devices, version, capability, domain, bus, rdma, watchdog_ms, drops_writes, reads_ones, threads, count_lines;
  uint64_t memory, budget, weak_seed;
  bool is_weak;
  enum ptx_isa isa;
  char memory_file[256], trace[256], log[256], count[256];
  struct {
    char function[64];
    CUresult result;
  } injected[MAX_INJECTIONS];
  int injections;
};

/* Reads "key=value" pairs, each ended by a newline or '&'. 0, or -EINVAL with a sentence in why. */
int settings_read(const char *text, struct settings *out, char why[FATBIN_WORDS]);

/* ---- handles.c: which pointers are ours ------------------------------------------------------------------------------ */

enum handle_kind {
  HANDLE_NONE,
  HANDLE_CONTEXT,
  HANDLE_STREAM,
  HANDLE_EVENT,
  HANDLE_MODULE,
  HANDLE_FUNCTION,
  HANDLE_LIBRARY,
  HANDLE_KERNEL,
  HANDLE_LINK,
};

struct handle_table {
  struct handle_row {
    const void *pointer; /* NULL is free */
    enum handle_kind kind; /* HANDLE_NONE with a pointer: was here, search on */
  } *rows;
  size_t room, used; /* used counts what was here too */
};

/* With the instance's lock held. False: no memory. */
bool handles_add(struct handle_table *table, const void *pointer, enum handle_kind kind);
void handles_remove(struct handle_table *table, const void *pointer);
enum handle_kind handles_kind(const struct handle_table *table, const void *pointer);

/* ---- pool.c: the memory of one device -------------------------------------------------------------------------------- */

struct pool {
  uint8_t *base;
  uint64_t size, used;
  bool is_file;
  struct pool_gap {
    uint64_t offset, size;
  } *gaps; /* by ascending offset, never adjacent */
  size_t gap_count, gap_room;
};

/* file: NULL for ordinary memory, else memory lies at `offset` of that file. 0 or -errno. */
int pool_open(struct pool *pool, uint64_t size, const char *file, uint64_t offset);
void pool_close(struct pool *pool);
/* The place of `size` bytes, a multiple of 512. False: none is left. */
bool pool_take(struct pool *pool, uint64_t size, uint64_t *offset);
void pool_give(struct pool *pool, uint64_t offset, uint64_t size);

/* ---- space.c: what the kernels of one context can reach -------------------------------------------------------------- */

/* Rows by ascending address, read without a lock: a reader that meets a change looks again. Rows of an outgrown table are
 * kept until the context ends, because a reader may still be in them. */
struct space_row {
  _Atomic(uint64_t) address, size, host, flags;
};
struct space_table {
  struct space_table *outgrown;
  size_t room;
  struct space_row rows[];
};
struct space {
  _Atomic(uint64_t) version; /* odd while it changes */
  _Atomic(uint64_t) generation; /* one more after each removal */
  _Atomic(size_t) count;
  _Atomic(struct space_table *) table;
};

/* With the instance's lock held. False: no memory. */
bool space_add(struct space *space, uint64_t address, uint64_t size, uint8_t *host, uint32_t flags);
void space_remove(struct space *space, uint64_t address);
void space_free(struct space *space);
/* Without any lock, from any thread. */
bool space_find(struct space *space, uint64_t address, struct ptx_region *out);

/* ---- slice.c: who is in a kernel ------------------------------------------------------------------------------------- */

/* What a thread that runs kernels tells others: odd while it is in a slice. */
struct slice {
  struct slice *next;
  _Atomic(uint64_t) turn;
};

/* With the lock held. */
void slice_join(struct cuda_instance *instance, struct slice *slice);
void slice_leave(struct cuda_instance *instance, struct slice *slice);
/* Without it. */
enum ptx_run run_slice(struct ptx_launch *launch, struct ptx_runner *runner, struct slice *slice);
/* Waits until every thread that is in a kernel has left the slice that it was in: what was taken out of the spaces before is
 * used by none after. */
void memory_settle(struct cuda_instance *instance);
void pause_us(uint32_t us);

/* ---- memory.c -------------------------------------------------------------------------------------------------------- */

enum memory_kind { MEMORY_DEVICE, MEMORY_PINNED, MEMORY_REGISTERED, MEMORY_MANAGED };
enum memory_use { USE_PROGRAM, USE_VARIABLE, USE_CONSTANT, USE_HEAP, USE_DRIVER };

/* Below it a process can have memory mapped; device memory lies above, so a device pointer is never a host pointer. */
#define DEVICE_ADDRESSES UINT64_C(0x0100000000000000)

enum { REGISTER_PORTABLE = 1, REGISTER_IO_MEMORY = 4, REGISTER_READ_ONLY = 8 };

struct allocation {
  enum memory_kind kind;
  enum memory_use use;
  uint64_t address, size; /* as the device sees it; of host memory the same as host */
  uint8_t *host;
  uint64_t offset; /* device memory: the place in the pool */
  uint64_t id;
  uint32_t flags;
  int sync_memops;
  bool is_freed; /* freed in stream order, and still there for what is queued before that */
  CUcontext context;
};

/* With the instance's lock held. host: where memory that is to be registered lies, NULL for other kinds. */
CUresult memory_allocate(CUcontext context, enum memory_kind kind, enum memory_use use, uint64_t size, uint32_t flags,
                         void *host, struct allocation **out);
/* Freeing has three steps: detach with the lock, then memory_settle without it, where kernels may be in host memory, then
 * discard with the lock. memory_free is for device memory, whose pages never go away. */
void memory_detach(struct allocation *one);
void memory_discard(struct allocation *one);
void memory_free(struct allocation *one);
/* The allocation that holds all these bytes, or NULL. */
struct allocation *memory_holding(const struct cuda_instance *instance, uint64_t address, uint64_t size);
bool memory_is_visible(CUcontext context, const struct allocation *one);
/* Puts into a context's space what it can reach. False: no memory. */
bool memory_fill_space(CUcontext context);
/* Takes everything that a context owns away. Without the lock. */
void memory_free_all(CUcontext context);

/* ---- streams, events, work ------------------------------------------------------------------------------------------- */

enum work_kind {
  WORK_COPY,
  WORK_FILL,
  WORK_LAUNCH,
  WORK_RECORD,
  WORK_WAIT_EVENT,
  WORK_WRITE_VALUE,
  WORK_WAIT_VALUE,
  WORK_HOST_FUNCTION,
  WORK_CALLBACK,
  WORK_FREE,
};

/* Rows of bytes in planes, addresses of this process. */
struct block_copy {
  uint8_t *to;
  const uint8_t *from;
  uint64_t width, height, depth, to_pitch, from_pitch, to_plane, from_plane;
};

struct work {
  struct work *next;
  enum work_kind kind;
  struct barrier {
    CUstream stream;
    uint64_t ticket;
  } *barriers; /* what other streams must have done first */
  uint32_t barrier_count;
  void *buffer; /* from malloc, freed with the work: staged bytes of a copy, arguments of a launch */
  union {
    struct block_copy copy;
    struct {
      uint8_t *to;
      uint64_t width, height, pitch; /* width in bytes */
      uint32_t value, value_bytes;
    } fill;
    struct {
      CUfunction function;
      uint32_t grid[3], block[3], shared;
      bool is_cooperative;
    } launch;
    struct {
      CUevent event;
      uint64_t generation;
    } event;
    struct {
      uint8_t *at;
      uint64_t value;
      uint32_t flags, width;
    } value;
    struct {
      CUhostFn function;
      CUstreamCallback callback;
      CUstream named; /* as the program called it */
      void *data;
    } host;
    struct allocation *freed;
  };
};

enum { STREAM_NON_BLOCKING = 1 };

struct CUstream_st {
  struct CUstream_st *next; /* of the context */
  CUcontext context;
  uint64_t id, thread_id; /* thread_id: whose per-thread default stream this is, 0 for others */
  uint32_t flags, references;
  int priority;
  bool is_legacy, is_destroyed, is_ending, runs, has_ended;
  pthread_t thread;
  pthread_cond_t wake;
  struct work *first, *last;
  uint64_t queued, done; /* how many pieces of work there ever were */
};

struct CUevent_st {
  CUcontext context;
  uint32_t flags, references;
  bool is_destroyed;
  uint64_t recorded, reached; /* generations */
  uint64_t time_ns;
};

/* The stream of this context that a program's handle means, or NULL for a bad one. With the lock held. */
CUstream stream_named(CUcontext context, CUstream handle);
/* Puts work (from work_new, taken over) at the end of a stream's queue. With the lock held. */
CUresult stream_enqueue(CUstream stream, struct work *work);
struct work *work_new(enum work_kind kind);
void work_free(struct work *work);
/* Wait, with the lock held, until the work that is queued now is done; the context's fault is the result. */
CUresult stream_wait(CUcontext context, CUstream stream);
CUresult context_wait(CUcontext context);
bool stream_is_done(CUstream stream);
/* Ends the workers of a context and frees its streams; what is queued is dropped. Without the lock. */
void streams_end(CUcontext context);
CUresult event_enqueue_record(CUevent event, CUstream stream);
void event_release(CUevent event);

/* ---- launch.c -------------------------------------------------------------------------------------------------------- */

/* A grid that runs. */
struct running {
  struct running *next;
  CUcontext context;
  CUmodule module;
  struct ptx_launch *launch;
  uint32_t helpers; /* threads of the instance that are in it */
  bool wants_helpers, is_over, is_too_long;
};

/* Runs a grid to its end, on this thread and helpers. Without the lock. */
CUresult launch_run(CUstream stream, const struct work *work, struct ptx_runner *runner, struct slice *slice);
void launch_cancel_all(CUcontext context);
/* Prints what kernels of the context printed. With the lock held. */
void print_flush(CUcontext context);
void helpers_end(struct cuda_instance *instance);
/* Adds what a module's lines did to the file of counts. With the lock held. */
void counts_write(CUmodule module);

/* ---- modules --------------------------------------------------------------------------------------------------------- */

struct CUfunc_st {
  CUmodule module;
  unsigned index;
  const struct ptx_kernel_info *info;
  uint32_t dynamic_limit; /* attribute 8 */
  int carve_out;          /* attribute 9 */
  uint32_t cache_config;
};

struct CUmod_st {
  struct CUmod_st *next;
  CUcontext context;
  struct ptx_module *code;
  struct CUfunc_st *functions; /* all kernels of it */
  unsigned function_count;
  struct allocation **variables;
  unsigned variable_count;
  CUlibrary library; /* NULL for one that the program loaded itself */
  char *text;        /* only where lines are counted */
  uint64_t *counts;
  uint32_t count_lines;
};

/* Texts that make one module. */
struct texts {
  struct module_text *list;
  unsigned count;
};
void texts_free(struct texts *texts);
bool texts_add(struct texts *texts, struct module_text text);

/* Where the assembler's words go: the program's buffers, and what is written into them. */
struct jit_log {
  char *error, *info;
  size_t error_size, info_size;
  void **error_slot, **info_slot, **wall_slot;
};

CUresult image_texts(struct cuda_instance *instance, const void *image, size_t size, struct texts *out, struct jit_log *log);
CUresult jit_options(unsigned count, const CUjit_option *options, void **values, struct jit_log *out);
/* Loads into a context. Without the lock. */
CUresult module_load(CUcontext context, const struct texts *texts, struct jit_log *log, CUmodule *out);
/* Without the lock; the caller has waited for the context. */
void module_unload(CUmodule module);
CUresult module_load_file(const char *path, char **bytes, size_t *size);
CUresult ptx_result(enum ptx_error error);
unsigned ptx_version_limit(uint32_t driver);
enum ptx_error texts_load(const struct settings *settings, const struct texts *texts, struct ptx_options *options,
                          struct ptx_module **out);
/* With the lock held. */
CUresult module_function(CUmodule module, const char *name, CUfunction *out);
CUresult module_global(CUmodule module, const char *name, CUdeviceptr *out, size_t *size);
/* The function that a program's CUfunction or CUkernel means in the context. With the lock held; may give it up for a while. */
CUresult function_named(CUcontext context, CUfunction handle, CUfunction *out);

/* ---- libraries and links (library.c, link.c) ------------------------------------------------------------------------- */

struct CUkern_st {
  struct CUkern_st *next;
  CUlibrary library;
  char *name;
};

struct CUlib_st {
  struct CUlib_st *next;
  struct cuda_instance *instance;
  struct texts texts;
  struct CUkern_st *kernels;
};

struct CUlinkState_st {
  struct CUlinkState_st *next;
  struct cuda_instance *instance;
  struct texts texts;
  struct jit_log log;
  uint8_t *image;
};

/* The module of a library in a context, loaded when first wanted. With the lock held, which is given up for a while. */
CUresult library_module(CUcontext context, CUlibrary library, CUmodule *out);
void library_free(CUlibrary library);
void link_free(CUlinkState link);
/* True for an image that cuLinkComplete made; out is empty without memory. */
bool link_image_read(const void *image, size_t size, struct texts *out);
/* From malloc, or NULL. */
uint8_t *link_image_write(const struct texts *texts, size_t *size);

/* ---- contexts -------------------------------------------------------------------------------------------------------- */

struct CUctx_st {
  struct CUctx_st *next;
  struct cuda_instance *instance;
  struct device *device;
  uint64_t id;
  uint32_t flags, api_version, cache_config;
  bool is_primary;
  atomic_bool ending;        /* what runs in it is to stop */
  _Atomic(CUresult) sticky;  /* a kernel's fault, which every later call repeats */
  uint64_t stack_bytes, print_bytes, heap_bytes, heap_used;
  struct CUstream_st *streams, *legacy;
  struct CUmod_st *modules;
  struct space space;
  uint64_t peers[MAX_DEVICES * 2]; /* ids of contexts whose memory it reaches */
  uint32_t peer_count;
  char *print;
  size_t print_used, print_room;
  pthread_mutex_t print_lock;
};

struct device {
  struct cuda_instance *instance;
  int ordinal;
  struct pool pool;
  bool has_pool;
  CUcontext primary;
  uint32_t primary_flags, primary_references;
};

/* With the lock held. */
CUcontext context_new(struct device *device, uint32_t flags, bool is_primary);
/* Ends and frees it. Without the lock. */
void context_end(CUcontext context);

struct cuda_instance {
  struct cuda_instance *next;
  uint64_t serial;
  struct settings settings;
  pthread_mutex_t lock;
  pthread_cond_t progress;
  atomic_bool is_initialised;
  struct device devices[MAX_DEVICES];
  struct handle_table handles;
  CUcontext contexts;
  struct allocation **memory; /* by ascending address */
  size_t memory_count, memory_room;
  uint64_t next_address, next_id;
  CUlibrary libraries;
  CUlinkState links;
  /* helpers of running grids */
  struct running *running;
  struct slice *slices; /* of all threads that run kernels */
  pthread_cond_t help;
  pthread_t *helpers;
  uint32_t helper_count;
  bool helpers_ending;
  FILE *trace;
  pthread_mutex_t trace_lock;
  char fault[512]; /* the last one, as a sentence */
  void (*print)(void *argument, const char *text, size_t size); /* NULL: standard output */
  void *print_argument;
};

/* ---- thread.c: what every function begins with ----------------------------------------------------------------------- */

struct thread_state {
  struct cuda_instance *instance;
  uint64_t serial; /* of the instance */
  struct {
    uint64_t serial, id; /* of the instance and of the context: addresses are used again */
    CUcontext context;
  } stack[MAX_CONTEXT_DEPTH];
  unsigned depth;
  uint64_t id;
  bool is_in_callback, has_per_thread_default;
};
struct thread_state *thread_state(void);
/* Who opens the instance of threads that chose none; set once, before main. */
void set_default_opener(struct cuda_instance *(*opener)(void));
/* The instance of this thread, or NULL with the result in *failed. */
struct cuda_instance *current_instance(CUresult *failed);
/* The place of the current context in the thread's stack, or -1. */
int current_place(const struct cuda_instance *instance);
/* Makes a context current in place of the one that is, or on top of it; NULL for none. */
CUresult set_current(struct cuda_instance *instance, CUcontext context);
CUresult push_current(struct cuda_instance *instance, CUcontext context);
void pop_current(struct cuda_instance *instance);
/* The thread's current context: NULL for none, with 709 in *failed for one that was destroyed. */
CUcontext current_context(struct cuda_instance *instance, CUresult *failed);

/* What a function does first: the instance of the thread, a result that settings inject, no call from a callback. */
CUresult enter_early(const char *function, struct cuda_instance **out);
/* And after cuInit only. */
CUresult enter(const char *function, struct cuda_instance **out);
/* And with a context that works. */
CUresult enter_context(const char *function, CUcontext *out);

/* A sentence for people: to the log, which is standard error unless settings say otherwise. */
__attribute__((format(printf, 2, 3))) void say(struct cuda_instance *instance, const char *format, ...);
uint64_t now_ns(void);

#define REQUIRE(condition, result)   \
  do {                               \
    if (!(condition)) return result; \
  } while (0)

/* Each function begins with one of these. An injected result comes first. */
#define ENTER()                                             \
  struct cuda_instance *instance;                           \
  do {                                                      \
    const CUresult not_entered = enter(__func__, &instance); \
    if (not_entered != CUDA_SUCCESS) return not_entered;    \
  } while (0)

#define ENTER_CONTEXT()                                             \
  CUcontext current;                                                \
  do {                                                              \
    const CUresult not_entered = enter_context(__func__, &current); \
    if (not_entered != CUDA_SUCCESS) return not_entered;            \
  } while (0);                                                      \
  struct cuda_instance *instance = current->instance;               \
  (void)instance

static inline void lock(struct cuda_instance *instance) { pthread_mutex_lock(&instance->lock); }
static inline void unlock(struct cuda_instance *instance) { pthread_mutex_unlock(&instance->lock); }
/* Tells those that wait for something. With the lock held. */
static inline void progress_made(struct cuda_instance *instance) { pthread_cond_broadcast(&instance->progress); }
/* With the lock held, waits until something happens, or at most this long. */
void wait_for_progress(struct cuda_instance *instance, uint32_t limit_us);

static inline bool is_device(const struct cuda_instance *instance, CUdevice device) {
  return device >= 0 && (uint32_t)device < instance->settings.devices;
}
#define ENTER_DEVICE(ordinal)                                         \
  ENTER();                                                            \
  REQUIRE(is_device(instance, (ordinal)), CUDA_INVALID_DEVICE);       \
  struct device *const device_of_call = &instance->devices[(ordinal)]; \
  (void)device_of_call

#endif
