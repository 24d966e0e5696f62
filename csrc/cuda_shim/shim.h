/*
 * The guest's libcuda.so.1: the CUDA driver API over the command window of a CXL Type 2 GPU.
 *
 * A context is a session of the device, so that its memory, modules and faults are its own. Handles that programs hold are
 * numbers of a table, never addresses: one that was destroyed, or never was, is refused and not followed.
 */
#ifndef BUSBAR_CUDA_SHIM_H
#define BUSBAR_CUDA_SHIM_H

#include "api/cuda_api.h"
#include "api/type2_protocol.h"

#include <pthread.h>
#include <stdbool.h>

#define EXPORT(name, since, older, params, args) __attribute__((visibility("default"))) CUresult name params;
#define EXPORT0(name, since) __attribute__((visibility("default"))) CUresult name(void);
BB_CUDA_FUNCTIONS(EXPORT, EXPORT0)
#undef EXPORT
#undef EXPORT0

/* Results of the driver API that this library gives by itself; cuda.h has all. */
enum {
  CUDA_SUCCESS = 0,
  CUDA_INVALID_VALUE = 1,
  CUDA_OUT_OF_MEMORY = 2,
  CUDA_NOT_INITIALIZED = 3,
  CUDA_DEVICE_UNAVAILABLE = 46,
  CUDA_NO_DEVICE = 100,
  CUDA_INVALID_DEVICE = 101,
  CUDA_INVALID_CONTEXT = 201,
  CUDA_INVALID_PTX = 218,
  CUDA_FILE_NOT_FOUND = 301,
  CUDA_INVALID_HANDLE = 400,
  CUDA_NOT_FOUND = 500,
  CUDA_NOT_READY = 600,
  CUDA_PRIMARY_CONTEXT_ACTIVE = 708,
  CUDA_NOT_REGISTERED = 713,
  CUDA_NOT_SUPPORTED = 801,
  CUDA_UNKNOWN = 999,
};

#define REQUIRE(condition, result) \
  do {                             \
    if (!(condition)) return (result); \
  } while (0)
#define TRY(call)                                \
  do {                                           \
    const CUresult tried = (call);               \
    if (tried != CUDA_SUCCESS) return tried;     \
  } while (0)

/* ---- window.c: the device's window ----------------------------------------------------------------------------------- */

struct request {
  uint32_t code, session;
  uint64_t params[8];
  const void *data;       /* goes to DATA before, data_size bytes */
  uint64_t data_size;
  const void *bulk;       /* goes to BAR4's start before */
  uint64_t bulk_size;
  void *read;             /* comes from DATA after, read_size bytes */
  uint64_t read_size;
  bool is_counted;        /* RESULT0 says how many of them there are */
  void *bulk_read;        /* comes from BAR4's start after */
  uint64_t bulk_read_size;
  uint64_t results[4];
};

struct window {
  uint8_t *base, *bar4;
  uint64_t size; /* of the file, or of BAR2 */
  uint64_t data_bytes, bar4_bytes, bar4_pointer, bulk_bytes;
  uint32_t caps, epoch;
  int fd;
  bool is_shared; /* else registers trap */
};
extern struct window window;

/* Finds and maps the device: CUDA_SUCCESS, or NO_DEVICE with a line on standard error. */
CUresult window_open(void);
void window_close(void);
/* Runs one command under the locks. */
CUresult window_run(struct request *request);
uint64_t window_read64(uint32_t offset);
uint32_t window_read32(uint32_t offset);

/* ---- context.c ------------------------------------------------------------------------------------------------------- */

enum kind { KIND_CONTEXT = 1, KIND_MODULE, KIND_FUNCTION, KIND_STREAM, KIND_EVENT };

struct context {
  uint32_t session, flags;
  bool is_primary;
  bool has_work, has_text; /* launched since it was last seen idle; since its log was last read */
  uint64_t id;
  void *handle;
  struct memory *memory; /* what it allocated */
};

/* What an address is. */
struct memory {
  struct memory *next;
  uint64_t address, size;
  uint8_t *host; /* of pinned memory; NULL for device memory */
  uint32_t flags;
  bool is_plain; /* pinned memory that did not fit the pool: the device cannot reach it */
  bool is_managed;
};

struct module {
  struct context *context;
  uint32_t index;
};
struct function {
  struct context *context;
  struct module *module;
  uint32_t index, parameters, shared, local, most_threads;
  uint32_t *places; /* offset and size of each parameter */
  char *name;
};
struct stream {
  struct context *context;
  uint32_t index, flags;
  int priority;
};
struct event {
  struct context *context;
  uint32_t index, flags;
  bool was_recorded;
};

void *handle_add(enum kind kind, void *object);
void *handle_find(enum kind kind, const void *handle);
void *handle_remove(enum kind kind, const void *handle);
/* Calls `drop` for each object of a kind that belongs to the context, and takes it out. */
void handles_drop(struct context *context);

CUresult enter(void);
CUresult enter_context(struct context **out);
/* Runs a command of the context's session. */
CUresult run(struct context *context, struct request *request);
/* The same without results, by PARAMs. */
CUresult run4(struct context *context, uint32_t code, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
/* Asks again and again until the answer is not "not ready"; then prints what kernels printed. */
CUresult wait_command(struct context *context, uint32_t code, uint64_t index);
/* Waits for the default stream where something may run: so that a copy does not hold the window. */
CUresult settle(struct context *context, uint64_t stream);
/* A stream's number for the device. */
CUresult stream_index(struct context *context, CUstream stream, uint64_t *out);
struct memory *memory_at(struct context *context, uint64_t address);
struct memory *memory_of_host(struct context *context, const void *address);

#endif
