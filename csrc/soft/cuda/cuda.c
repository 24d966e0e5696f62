/*
 * The software CUDA device: this library can be opened in place of libcuda.so.1. Memory, contexts, streams, events and
 * modules behave as the driver's do, results included; kernels run on the CPU, as far as cuda_ptx.c knows their PTX.
 *
 * Where it is not like a GPU: device memory is ordinary memory behind addresses of its own, so that a device pointer used
 * as a host pointer faults as it does on a bench. All streams that synchronise with the default stream share one worker,
 * so they run one after the other; each non-blocking stream has its own. Managed memory, graphs, peer-to-peer exports and
 * printf are not there: 801, or refused when a module is loaded.
 */
#define _GNU_SOURCE
#include "soft/busbar_soft.h"
#include "device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "soft/model.h"

#define EXPORT(name, since, older, params, args) __attribute__((visibility("default"))) CUresult name params;
BB_CUDA_FUNCTIONS(EXPORT)

enum { MAX_DEVICES = 8, MAX_INJECTIONS = 32, SLICE_US = 200 };

enum memory_kind { MEMORY_DEVICE, MEMORY_PINNED, MEMORY_REGISTERED };

struct allocation {
  struct allocation *next;
  enum memory_kind kind;
  uint64_t address; /* as the device sees it; of host memory the same as host */
  uint8_t *host;
  uint64_t size;
  uint32_t flags, owner;
  int sync_memops;
};

enum work_kind { WORK_COPY, WORK_FILL, WORK_LAUNCH, WORK_RECORD, WORK_WAIT_EVENT, WORK_WRITE_VALUE, WORK_WAIT_VALUE };

struct work {
  struct work *next;
  enum work_kind kind;
  CUcontext context;
  uint64_t to, from, size; /* copies and fills; to is the address of a stream memory operation */
  uint32_t value, flags, width;
  const struct ptx_kernel *kernel;
  uint32_t grid[3], block[3];
  uint8_t *arguments;
  CUevent event;
  uint64_t generation;
};

/* A worker with its queue: of a non-blocking stream, or of all others together. */
struct queue {
  pthread_t thread;
  pthread_cond_t wake;
  struct work *first, *last;
  uint64_t queued, done; /* how many pieces of work there ever were */
  int ending, runs;
};

struct CUctx_st {
  int ordinal;
  uint32_t retained, flags;
  _Atomic(CUresult) sticky; /* a kernel's fault, which every later call repeats */
  struct queue queue;
  uint32_t peers; /* contexts that it may reach, as bits */
  int ending;     /* what runs in it is to stop */
};

struct CUstream_st {
  struct CUstream_st *next;
  CUcontext context;
  struct queue own, *queue;
  uint64_t last; /* the last piece of work that was put in, by number */
  int priority;
};

struct CUevent_st {
  struct CUevent_st *next;
  CUcontext context;
  uint32_t flags;
  uint64_t recorded, reached; /* generations */
  uint64_t time_ns;
};

struct CUfunc_st {
  struct CUfunc_st *next;
  const struct ptx_kernel *kernel;
};

struct CUmod_st {
  struct CUmod_st *next;
  CUcontext context;
  struct ptx_module *code;
  struct CUfunc_st *functions;
};

static struct {
  uint32_t devices, version, capability, domain, bus, rdma, watchdog_ms, drops_writes, reads_ones;
  uint64_t memory;
  struct {
    char function[64];
    CUresult result;
  } injected[MAX_INJECTIONS];
  int injections;

  int is_initialised, ending;
  struct CUctx_st contexts[MAX_DEVICES];
  struct allocation *allocations;
  struct CUstream_st *streams;
  struct CUevent_st *events;
  struct CUmod_st *modules;
  uint64_t next_address, used[MAX_DEVICES];
} soft = {.devices = 1, .version = 13000, .capability = 90, .bus = 0x65, .memory = 1ull << 30};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Told when a piece of work is done. */
static pthread_cond_t progress = PTHREAD_COND_INITIALIZER;
static _Thread_local CUcontext current;

/* ---- settings ----------------------------------------------------------------------------------------------------- */

static CUresult injected(const char *function) {
  for (int i = 0; i < soft.injections; i++) {
    if (strcmp(soft.injected[i].function, function) == 0) return soft.injected[i].result;
  }
  return CUDA_SUCCESS;
}

/* function:result pairs, joined by commas */
static int set_injections(const char *text) {
  soft.injections = 0;
  while (*text != '\0') {
    const size_t length = strcspn(text, ":");
    char *end;
    if (soft.injections == MAX_INJECTIONS || length == 0 || text[length] != ':' || length >= sizeof soft.injected->function) {
      return -EINVAL;
    }
    memcpy(soft.injected[soft.injections].function, text, length);
    soft.injected[soft.injections].function[length] = '\0';
    const long result = strtol(text + length + 1, &end, 10);
    if (end == text + length + 1 || (*end != '\0' && *end != ',') || result < 1 || result > 999) return -EINVAL;
    soft.injected[soft.injections++].result = (CUresult)result;
    text = *end == ',' ? end + 1 : end;
  }
  return 0;
}

static int set_number(const char *text, uint64_t most, uint64_t *out) {
  char *end;
  errno = 0;
  *out = strtoull(text, &end, 0);
  return errno == 0 && end != text && *end == '\0' && *out <= most ? 0 : -EINVAL;
}

static int set_one(void *context, const char *key, const char *value) {
  (void)context;
  uint64_t number = 0;
  if (strcmp(key, "fail") == 0) return set_injections(value);
  if (strcmp(key, "memory") == 0) return set_number(value, 1ull << 40, &soft.memory);
  static const struct {
    const char *key;
    uint32_t most;
    uint32_t *to;
  } NUMBERS[] = {
      {"devices", MAX_DEVICES, &soft.devices}, {"version", 99990, &soft.version},
      {"cc", 999, &soft.capability},           {"domain", 0xffff, &soft.domain},
      {"bus", 0xf0, &soft.bus},                {"rdma", 1, &soft.rdma},
      {"watchdog_ms", 3600000, &soft.watchdog_ms}, {"drop_writes", 1, &soft.drops_writes},
      {"reads_ones", 1, &soft.reads_ones},
  };
  for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
    if (strcmp(NUMBERS[i].key, key) != 0) continue;
    if (set_number(value, NUMBERS[i].most, &number) != 0) return -EINVAL;
    *NUMBERS[i].to = (uint32_t)number;
    return 0;
  }
  return -EINVAL;
}

static void end_queue(struct queue *queue);
static void free_allocation(struct allocation *one);

/* Everything back to the state of a process that has not called cuInit. */
static void reset(void) {
  pthread_mutex_lock(&lock);
  soft.ending = 1;
  pthread_cond_broadcast(&progress);
  pthread_mutex_unlock(&lock);
  for (struct CUstream_st *stream = soft.streams, *next; stream != NULL; stream = next) {
    next = stream->next;
    end_queue(&stream->own);
    free(stream);
  }
  for (int i = 0; i < MAX_DEVICES; i++) end_queue(&soft.contexts[i].queue);
  for (struct CUevent_st *event = soft.events, *next; event != NULL; event = next) {
    next = event->next;
    free(event);
  }
  for (struct CUmod_st *module = soft.modules, *next; module != NULL; module = next) {
    next = module->next;
    for (struct CUfunc_st *function = module->functions, *after; function != NULL; function = after) {
      after = function->next;
      free(function);
    }
    ptx_free(module->code);
    free(module);
  }
  for (struct allocation *one = soft.allocations, *next; one != NULL; one = next) {
    next = one->next;
    free_allocation(one);
  }
  memset(&soft, 0, sizeof soft);
  current = NULL;
}

int32_t bb_soft_cuda_configure(const char *settings) {
  if (settings == NULL) return -EINVAL;
  reset();
  soft.devices = 1;
  soft.version = 13000;
  soft.capability = 90;
  soft.bus = 0x65;
  soft.memory = 1ull << 30;
  return soft_each_setting(settings, set_one, NULL);
}

/* ---- what every function begins with ------------------------------------------------------------------------------ */

#define REQUIRE(condition, result) \
  do {                             \
    if (!(condition)) return result; \
  } while (0)

#define INJECTABLE()                                \
  do {                                              \
    const CUresult injected_result = injected(__func__); \
    if (injected_result != CUDA_SUCCESS) return injected_result; \
  } while (0)

#define INITIALISED()                                      \
  do {                                                     \
    INJECTABLE();                                          \
    REQUIRE(soft.is_initialised, CUDA_NOT_INITIALIZED);    \
  } while (0)

#define IN_CONTEXT()                                            \
  do {                                                          \
    INITIALISED();                                              \
    REQUIRE(current != NULL && current->retained > 0, CUDA_INVALID_CONTEXT); \
    REQUIRE(current->sticky == CUDA_SUCCESS, current->sticky);  \
  } while (0)

static int is_device(CUdevice device) { return device >= 0 && (uint32_t)device < soft.devices; }
#define ON_DEVICE(device)                             \
  do {                                                \
    INITIALISED();                                    \
    REQUIRE(is_device(device), CUDA_INVALID_DEVICE);  \
  } while (0)

/* ---- start, errors, devices --------------------------------------------------------------------------------------- */

CUresult cuInit(unsigned int flags) {
  INJECTABLE();
  REQUIRE(flags == 0, CUDA_INVALID_VALUE);
  REQUIRE(soft.devices > 0, CUDA_NO_DEVICE);
  soft.is_initialised = 1;
  return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version) {
  INJECTABLE();
  REQUIRE(version != NULL, CUDA_INVALID_VALUE);
  *version = (int)soft.version;
  return CUDA_SUCCESS;
}

/* The names stand in one table, in src/gpu/results.ts. */
static CUresult no_text(const char **text) {
  if (text != NULL) *text = NULL;
  return CUDA_INVALID_VALUE;
}
CUresult cuGetErrorName(CUresult error, const char **text) { return (void)error, no_text(text); }
CUresult cuGetErrorString(CUresult error, const char **text) { return (void)error, no_text(text); }

CUresult cuDeviceGetCount(int *count) {
  INITIALISED();
  REQUIRE(count != NULL, CUDA_INVALID_VALUE);
  *count = (int)soft.devices;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  ON_DEVICE(ordinal);
  REQUIRE(device != NULL, CUDA_INVALID_VALUE);
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int size, CUdevice device) {
  ON_DEVICE(device);
  REQUIRE(name != NULL && size > 0, CUDA_INVALID_VALUE);
  snprintf(name, (size_t)size, "busbar software CUDA device");
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
  ON_DEVICE(device);
  REQUIRE(uuid != NULL, CUDA_INVALID_VALUE);
  memcpy(uuid->bytes, "busbar-software", 16);
  uuid->bytes[15] = (char)device;
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  ON_DEVICE(device);
  REQUIRE(bytes != NULL, CUDA_INVALID_VALUE);
  *bytes = soft.memory;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  /* By CUdevice_attribute; what is not here is 0. */
  static const struct {
    uint16_t attribute;
    int value;
  } FIXED[] = {{1, 1024},  {2, 1024},  {3, 1024}, {4, 64},        {5, 0x7fffffff}, {6, 65535},    {7, 65535}, {8, 0},
               {10, 32},   {11, 0x7fffffff},      {12, 65536},    {13, 1000000},   {15, 1},       {16, 1},    {19, 1},
               {31, 1},    {36, 1000000},         {37, 64},       {38, 1 << 20},   {39, 1024},    {40, 1},    {41, 1},
               {78, 1},    {82, 65536},           {86, 1},        {91, 1},         {99, 1},       {106, 1},   {122, 1},
               {134, -1}};
  ON_DEVICE(device);
  REQUIRE(value != NULL && attribute >= 1 && attribute <= 147, CUDA_INVALID_VALUE);
  *value = 0;
  for (size_t i = 0; i < sizeof FIXED / sizeof *FIXED; i++) {
    if (FIXED[i].attribute == (uint32_t)attribute) *value = FIXED[i].value;
  }
  if (attribute == 33) *value = (int)soft.bus + device;
  if (attribute == 50) *value = (int)soft.domain;
  if (attribute == 75) *value = (int)(soft.capability / 10);
  if (attribute == 76) *value = (int)(soft.capability % 10);
  if (attribute == 116) *value = (int)soft.rdma;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char *text, int size, CUdevice device) {
  ON_DEVICE(device);
  REQUIRE(text != NULL && size >= 13, CUDA_INVALID_VALUE);
  snprintf(text, (size_t)size, "%04X:%02X:00.0", soft.domain, soft.bus + (uint32_t)device);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetByPCIBusId(CUdevice *device, const char *text) {
  INITIALISED();
  REQUIRE(device != NULL && text != NULL, CUDA_INVALID_VALUE);
  unsigned domain = 0, bus = 0, slot = 0, function = 0;
  if (sscanf(text, "%x:%x:%x.%x", &domain, &bus, &slot, &function) < 3) {
    domain = 0;
    REQUIRE(sscanf(text, "%x:%x.%x", &bus, &slot, &function) >= 2, CUDA_INVALID_VALUE);
  }
  const CUdevice found = (CUdevice)(bus - soft.bus);
  REQUIRE(domain == soft.domain && slot == 0 && function == 0 && is_device(found), CUDA_INVALID_DEVICE);
  *device = found;
  return CUDA_SUCCESS;
}

CUresult cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer) {
  ON_DEVICE(device);
  REQUIRE(is_device(peer), CUDA_INVALID_DEVICE);
  REQUIRE(can != NULL, CUDA_INVALID_VALUE);
  *can = device != peer;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice from, CUdevice to) {
  ON_DEVICE(from);
  REQUIRE(is_device(to) && from != to, CUDA_INVALID_DEVICE);
  REQUIRE(value != NULL && attribute >= 1 && attribute <= 5, CUDA_INVALID_VALUE);
  *value = attribute == 2;
  return CUDA_SUCCESS;
}

/* ---- memory ------------------------------------------------------------------------------------------------------- */

/* The allocation that holds these bytes, as the device addresses them. With the lock held. */
static struct allocation *holding(uint64_t address, uint64_t size) {
  for (struct allocation *one = soft.allocations; one != NULL; one = one->next) {
    if (address >= one->address && address - one->address < one->size && size <= one->size - (address - one->address)) {
      return one;
    }
  }
  return NULL;
}

static uint8_t *translate(uint64_t address, uint64_t size) {
  const struct allocation *one = holding(address, size);
  return one == NULL ? NULL : one->host + (address - one->address);
}

static void free_allocation(struct allocation *one) {
  if (one->kind != MEMORY_REGISTERED) soft_unmap_pages(one->host, one->size);
  free(one);
}

static struct allocation *add_allocation(enum memory_kind kind, void *host, uint64_t size, uint32_t flags) {
  struct allocation *one = calloc(1, sizeof *one);
  if (one == NULL) return NULL;
  *one = (struct allocation){soft.allocations, kind, (uint64_t)(uintptr_t)host, host, size, flags,
                             (uint32_t)current->ordinal, 0};
  if (kind == MEMORY_DEVICE) {
    /* Above what a process can have mapped, and with a hole behind each: a device pointer is never a host pointer. */
    if (soft.next_address == 0) soft.next_address = 1ull << 56;
    one->address = soft.next_address;
    soft.next_address += (size + 0x1fffff) & ~0xfffffull;
    soft.used[current->ordinal] += size;
  }
  soft.allocations = one;
  return one;
}

/* Takes the allocation that begins at exactly this address out of the list. With the lock held. */
static struct allocation *take_allocation(uint64_t address, enum memory_kind kind) {
  for (struct allocation **place = &soft.allocations; *place != NULL; place = &(*place)->next) {
    struct allocation *one = *place;
    if (one->address != address || one->kind != kind) continue;
    *place = one->next;
    if (kind == MEMORY_DEVICE) soft.used[one->owner] -= one->size;
    return one;
  }
  return NULL;
}

CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  IN_CONTEXT();
  REQUIRE(free_bytes != NULL && total != NULL, CUDA_INVALID_VALUE);
  pthread_mutex_lock(&lock);
  *free_bytes = soft.memory - soft.used[current->ordinal];
  *total = soft.memory;
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

static CUresult allocate(enum memory_kind kind, size_t size, uint32_t flags, uint64_t *out) {
  REQUIRE(size > 0, CUDA_INVALID_VALUE);
  pthread_mutex_lock(&lock);
  void *host = NULL;
  if (size <= soft.memory && (kind != MEMORY_DEVICE || size <= soft.memory - soft.used[current->ordinal])) {
    host = soft_map_pages(size);
  }
  struct allocation *one = host == NULL ? NULL : add_allocation(kind, host, size, flags);
  if (one == NULL) soft_unmap_pages(host, size);
  pthread_mutex_unlock(&lock);
  REQUIRE(one != NULL, CUDA_OUT_OF_MEMORY);
  *out = one->address;
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t size) {
  IN_CONTEXT();
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  uint64_t address;
  const CUresult failed = allocate(MEMORY_DEVICE, size, 0, &address);
  if (failed == CUDA_SUCCESS) *out = address;
  return failed;
}

static CUresult wait_for_all(CUcontext context);

static CUresult release(uint64_t address, enum memory_kind kind, CUresult unknown) {
  const CUresult failed = wait_for_all(current);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  pthread_mutex_lock(&lock);
  struct allocation *one = take_allocation(address, kind);
  pthread_mutex_unlock(&lock);
  REQUIRE(one != NULL, unknown);
  free_allocation(one);
  return CUDA_SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr address) {
  IN_CONTEXT();
  return release(address, MEMORY_DEVICE, CUDA_INVALID_VALUE);
}

CUresult cuMemHostAlloc(void **out, size_t size, unsigned int flags) {
  IN_CONTEXT();
  REQUIRE(out != NULL && flags <= 7, CUDA_INVALID_VALUE);
  uint64_t address;
  const CUresult failed = allocate(MEMORY_PINNED, size, flags, &address);
  if (failed == CUDA_SUCCESS) *out = (void *)(uintptr_t)address;
  return failed;
}

CUresult cuMemFreeHost(void *address) {
  IN_CONTEXT();
  return release((uint64_t)(uintptr_t)address, MEMORY_PINNED, CUDA_INVALID_VALUE);
}

static int is_mapped(const void *address, size_t size) {
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)address & ~(page - 1);
  for (uintptr_t at = start; at < (uintptr_t)address + size; at += page) {
    unsigned char resident;
    if (mincore((void *)at, page, &resident) != 0) return 0;
  }
  return 1;
}

enum { REGISTER_IO_MEMORY = 4 };

CUresult cuMemHostRegister_v2(void *address, size_t size, unsigned int flags) {
  IN_CONTEXT();
  const uint64_t start = (uint64_t)(uintptr_t)address;
  REQUIRE(address != NULL && size > 0 && flags <= 15 && start + size > start, CUDA_INVALID_VALUE);
  REQUIRE(is_mapped(address, size), CUDA_INVALID_VALUE);
  CUresult result = CUDA_SUCCESS;
  pthread_mutex_lock(&lock);
  for (const struct allocation *one = soft.allocations; one != NULL; one = one->next) {
    if (start < one->address + one->size && one->address < start + size) result = CUDA_HOST_MEMORY_ALREADY_REGISTERED;
  }
  if (result == CUDA_SUCCESS && add_allocation(MEMORY_REGISTERED, address, size, flags) == NULL) {
    result = CUDA_OUT_OF_MEMORY;
  }
  pthread_mutex_unlock(&lock);
  return result;
}

CUresult cuMemHostUnregister(void *address) {
  IN_CONTEXT();
  return release((uint64_t)(uintptr_t)address, MEMORY_REGISTERED, CUDA_HOST_MEMORY_NOT_REGISTERED);
}

/* The host memory that holds an address, or NULL. With the lock held. */
static struct allocation *host_memory(const void *address) {
  struct allocation *one = holding((uint64_t)(uintptr_t)address, 1);
  return one != NULL && one->kind != MEMORY_DEVICE ? one : NULL;
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *out, void *address, unsigned int flags) {
  IN_CONTEXT();
  REQUIRE(out != NULL && flags == 0, CUDA_INVALID_VALUE);
  pthread_mutex_lock(&lock);
  const struct allocation *one = host_memory(address);
  pthread_mutex_unlock(&lock);
  REQUIRE(one != NULL, CUDA_INVALID_VALUE);
  *out = (CUdeviceptr)(uintptr_t)address;
  return CUDA_SUCCESS;
}

CUresult cuMemHostGetFlags(unsigned int *flags, void *address) {
  IN_CONTEXT();
  REQUIRE(flags != NULL, CUDA_INVALID_VALUE);
  pthread_mutex_lock(&lock);
  const struct allocation *one = host_memory(address);
  const uint32_t found = one == NULL ? 0 : one->flags;
  pthread_mutex_unlock(&lock);
  REQUIRE(one != NULL, CUDA_INVALID_VALUE);
  *flags = found;
  return CUDA_SUCCESS;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address) {
  IN_CONTEXT();
  pthread_mutex_lock(&lock);
  const struct allocation *one = holding(address, 1);
  if (one != NULL && base != NULL) *base = one->address;
  if (one != NULL && size != NULL) *size = one->size;
  pthread_mutex_unlock(&lock);
  return one == NULL ? CUDA_NOT_FOUND : CUDA_SUCCESS;
}

CUresult cuPointerGetAttribute(void *out, CUpointer_attribute attribute, CUdeviceptr address) {
  IN_CONTEXT();
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  CUresult result = CUDA_SUCCESS;
  pthread_mutex_lock(&lock);
  const struct allocation *one = holding(address, 1);
  const int is_host = one != NULL && one->kind != MEMORY_DEVICE;
  uint64_t value = 0;
  uint32_t bytes = 4;
  switch (one == NULL ? 0u : (uint32_t)attribute) {
    case 2: value = is_host ? 1 : 2; break;                                       /* memory type */
    case 3: value = address; bytes = 8; break;                                    /* device pointer */
    case 4: value = is_host ? address : 0; bytes = 8; break;                      /* host pointer */
    case 6: value = (uint64_t)one->sync_memops; break;                            /* sync memops */
    case 8: case 15: break;                                                       /* managed, RDMA capable: no */
    case 9: value = one->owner; break;                                            /* ordinal */
    case 11: value = one->address; bytes = 8; break;                              /* range start */
    case 12: value = one->size; bytes = 8; break;                                 /* range size */
    case 13: value = 1; break;                                                    /* mapped */
    case 16: value = 3; break;                                                    /* read and write */
    default: result = CUDA_INVALID_VALUE;
  }
  if (attribute == 4 && !is_host) result = CUDA_INVALID_VALUE;
  pthread_mutex_unlock(&lock);
  if (result == CUDA_SUCCESS) memcpy(out, &value, bytes);
  return result;
}

CUresult cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr address) {
  IN_CONTEXT();
  REQUIRE(value != NULL && attribute == 6, CUDA_INVALID_VALUE);
  pthread_mutex_lock(&lock);
  struct allocation *one = holding(address, 1);
  if (one != NULL) memcpy(&one->sync_memops, value, sizeof one->sync_memops);
  pthread_mutex_unlock(&lock);
  return one == NULL ? CUDA_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuMemGetHandleForAddressRange(void *out, CUdeviceptr address, size_t size, CUmemRangeHandleType type,
                                       unsigned long long flags) {
  (void)out, (void)address, (void)size, (void)type, (void)flags;
  IN_CONTEXT();
  return CUDA_NOT_SUPPORTED;
}

CUresult cuFlushGPUDirectRDMAWrites(CUflushGPUDirectRDMAWritesTarget target, CUflushGPUDirectRDMAWritesScope scope) {
  (void)target, (void)scope;
  IN_CONTEXT();
  return CUDA_NOT_SUPPORTED;
}

/* ---- kernels and memory: one access at a time --------------------------------------------------------------------- */

struct launch {
  CUcontext context;
  uint64_t deadline_ns; /* 0 is none */
};

static int is_io(const struct allocation *one) {
  return one->kind == MEMORY_REGISTERED && (one->flags & REGISTER_IO_MEMORY) != 0;
}

/* One volatile access of the width: registers of a device may lie there. */
static CUresult load(void *context, uint64_t address, uint32_t width, uint64_t *value) {
  (void)context;
  pthread_mutex_lock(&lock);
  const struct allocation *one = holding(address, width);
  if (one != NULL) {
    const volatile uint8_t *at = one->host + (address - one->address);
    switch (width) {
      case 1: *value = *at; break;
      case 2: *value = *(const volatile uint16_t *)at; break;
      case 4: *value = *(const volatile uint32_t *)at; break;
      default: *value = *(const volatile uint64_t *)at;
    }
    if (soft.reads_ones && is_io(one)) *value = width == 8 ? UINT64_MAX : (1ull << 8 * width) - 1;
  }
  pthread_mutex_unlock(&lock);
  return one == NULL ? CUDA_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

static CUresult store(void *context, uint64_t address, uint32_t width, uint64_t value) {
  (void)context;
  pthread_mutex_lock(&lock);
  const struct allocation *one = holding(address, width);
  if (one != NULL && !(soft.drops_writes && is_io(one))) {
    volatile uint8_t *at = one->host + (address - one->address);
    switch (width) {
      case 1: *at = (uint8_t)value; break;
      case 2: *(volatile uint16_t *)at = (uint16_t)value; break;
      case 4: *(volatile uint32_t *)at = (uint32_t)value; break;
      default: *(volatile uint64_t *)at = value;
    }
  }
  pthread_mutex_unlock(&lock);
  return one == NULL ? CUDA_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

static CUresult keep_going(void *context) {
  const struct launch *launch = context;
  pthread_mutex_lock(&lock);
  const int ending = soft.ending || launch->context->ending;
  pthread_mutex_unlock(&lock);
  if (ending) return CUDA_LAUNCH_FAILED;
  /* Whoever the kernel waits for may need this processor. */
  sched_yield();
  return launch->deadline_ns != 0 && soft_now_ns() > launch->deadline_ns ? CUDA_LAUNCH_TIMEOUT : CUDA_SUCCESS;
}

static CUresult run_kernel(const struct work *work) {
  struct launch launch = {work->context, soft.watchdog_ms == 0 ? 0 : soft_now_ns() + soft.watchdog_ms * 1000000ull};
  struct ptx_run run = {work->arguments, {0}, {0}, load, store, keep_going, &launch};
  memcpy(run.grid, work->grid, sizeof run.grid);
  memcpy(run.block, work->block, sizeof run.block);
  return ptx_execute(work->kernel, &run);
}

/* ---- queues ------------------------------------------------------------------------------------------------------- */

/* Waits a little for something that others do. With the lock held; 0 when the context is ending. */
static int wait_a_little(CUcontext context) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += SLICE_US * 1000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  pthread_cond_timedwait(&progress, &lock, &until);
  return !soft.ending && !context->ending;
}

static CUresult copy(const struct work *work) {
  pthread_mutex_lock(&lock);
  uint8_t *to = (work->flags & 1) != 0 ? translate(work->to, work->size) : (uint8_t *)(uintptr_t)work->to;
  const uint8_t *from = (work->flags & 2) != 0 ? translate(work->from, work->size) : (uint8_t *)(uintptr_t)work->from;
  if (to != NULL && from != NULL) memmove(to, from, work->size);
  pthread_mutex_unlock(&lock);
  return to == NULL || from == NULL ? CUDA_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

static CUresult fill(const struct work *work) {
  pthread_mutex_lock(&lock);
  uint8_t *to = translate(work->to, work->size * work->width);
  for (uint64_t i = 0; to != NULL && i < work->size; i++) memcpy(to + i * work->width, &work->value, work->width);
  pthread_mutex_unlock(&lock);
  return to == NULL ? CUDA_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

static int value_matches(uint32_t seen, uint32_t value, uint32_t how) {
  switch (how & 3) {
    case 0: return (int32_t)(seen - value) >= 0;
    case 1: return seen == value;
    case 2: return (seen & value) != 0;
    default: return ~(seen | value) != 0;
  }
}

static CUresult wait_for_value(const struct work *work) {
  for (;;) {
    uint64_t seen;
    const CUresult failed = load(NULL, work->to, 4, &seen);
    if (failed != CUDA_SUCCESS) return failed;
    if (value_matches((uint32_t)seen, work->value, work->flags)) return CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    const int goes_on = wait_a_little(work->context);
    pthread_mutex_unlock(&lock);
    if (!goes_on) return CUDA_LAUNCH_FAILED;
  }
}

static CUresult perform(struct work *work) {
  CUresult result = CUDA_SUCCESS;
  switch (work->kind) {
    case WORK_COPY: return copy(work);
    case WORK_FILL: return fill(work);
    case WORK_LAUNCH: return run_kernel(work);
    case WORK_WRITE_VALUE: return store(NULL, work->to, 4, work->value);
    case WORK_WAIT_VALUE: return wait_for_value(work);
    case WORK_RECORD:
      pthread_mutex_lock(&lock);
      work->event->reached = work->generation;
      work->event->time_ns = soft_now_ns();
      pthread_mutex_unlock(&lock);
      return result;
    case WORK_WAIT_EVENT:
      pthread_mutex_lock(&lock);
      while (work->event->reached < work->generation && wait_a_little(work->context)) continue;
      pthread_mutex_unlock(&lock);
      return result;
  }
  return result;
}

static void free_work(struct work *work) {
  free(work->arguments);
  free(work);
}

static void *work_through(void *argument) {
  struct queue *queue = argument;
  pthread_mutex_lock(&lock);
  for (;;) {
    while (queue->first == NULL && !queue->ending) pthread_cond_wait(&queue->wake, &lock);
    if (queue->ending) break;
    struct work *work = queue->first;
    const int is_alive = work->context->sticky == CUDA_SUCCESS;
    pthread_mutex_unlock(&lock);
    const CUresult result = is_alive ? perform(work) : CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    queue->first = work->next;
    if (queue->first == NULL) queue->last = NULL;
    if (result != CUDA_SUCCESS && work->context->sticky == CUDA_SUCCESS) work->context->sticky = result;
    queue->done++;
    pthread_cond_broadcast(&progress);
    free_work(work);
  }
  while (queue->first != NULL) {
    struct work *work = queue->first;
    queue->first = work->next;
    free_work(work);
  }
  pthread_mutex_unlock(&lock);
  return NULL;
}

static void end_queue(struct queue *queue) {
  pthread_mutex_lock(&lock);
  const int runs = queue->runs;
  queue->ending = 1;
  if (runs) pthread_cond_signal(&queue->wake);
  pthread_mutex_unlock(&lock);
  if (!runs) return;
  pthread_join(queue->thread, NULL);
  pthread_cond_destroy(&queue->wake);
  queue->runs = 0;
}

/* With the lock held. */
static int start_queue(struct queue *queue) {
  if (queue->runs) return 1;
  memset(queue, 0, sizeof *queue);
  pthread_cond_init(&queue->wake, NULL);
  queue->runs = pthread_create(&queue->thread, NULL, work_through, queue) == 0;
  return queue->runs;
}

/* Whether a stream handle is one of this context: the three names of the default stream, or one that was created. */
static int is_stream(CUstream stream) {
  if ((uintptr_t)stream <= 2) return 1;
  int found = 0;
  pthread_mutex_lock(&lock);
  for (struct CUstream_st *one = soft.streams; one != NULL; one = one->next) found |= one == stream;
  pthread_mutex_unlock(&lock);
  return found;
}

static struct queue *queue_of(CUstream stream) {
  return (uintptr_t)stream <= 2 ? &current->queue : stream->queue;
}

/* Puts a copy of some work at the end of a stream's queue. */
static CUresult enqueue(CUstream stream, const struct work *what) {
  struct work *work = malloc(sizeof *work);
  if (work == NULL) return CUDA_OUT_OF_MEMORY;
  *work = *what;
  work->next = NULL;
  work->context = current;
  struct queue *queue = queue_of(stream);
  pthread_mutex_lock(&lock);
  if (!start_queue(queue)) {
    pthread_mutex_unlock(&lock);
    free(work);
    return CUDA_OUT_OF_MEMORY;
  }
  if (work->kind == WORK_RECORD) work->generation = ++work->event->recorded;
  if (queue->last == NULL) queue->first = work;
  else queue->last->next = work;
  queue->last = work;
  queue->queued++;
  if ((uintptr_t)stream > 2) stream->last = queue->queued;
  pthread_cond_signal(&queue->wake);
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

static CUresult wait_for(CUcontext context, const struct queue *queue, uint64_t wanted) {
  pthread_mutex_lock(&lock);
  while (queue->done < wanted && wait_a_little(context)) continue;
  const CUresult result = context->sticky;
  pthread_mutex_unlock(&lock);
  return result;
}

/* With the lock held. */
static int all_done(CUcontext context) {
  for (const struct CUstream_st *stream = soft.streams; stream != NULL; stream = stream->next) {
    if (stream->context == context && stream->queue->done < stream->last) return 0;
  }
  return context->queue.done >= context->queue.queued;
}

static CUresult wait_for_all(CUcontext context) {
  pthread_mutex_lock(&lock);
  while (!all_done(context) && wait_a_little(context)) continue;
  const CUresult result = context->sticky;
  pthread_mutex_unlock(&lock);
  return result;
}

/* Waits for all that the default stream has to wait for. */
static CUresult wait_for_default(CUcontext context) {
  pthread_mutex_lock(&lock);
  const uint64_t queued = context->queue.queued;
  pthread_mutex_unlock(&lock);
  return wait_for(context, &context->queue, queued);
}

/* ---- contexts ----------------------------------------------------------------------------------------------------- */

CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device) {
  ON_DEVICE(device);
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  CUcontext context = &soft.contexts[device];
  pthread_mutex_lock(&lock);
  context->ordinal = device;
  context->retained++;
  pthread_mutex_unlock(&lock);
  *out = context;
  return CUDA_SUCCESS;
}

/* The last reference takes everything in the context with it. */
CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
  ON_DEVICE(device);
  CUcontext context = &soft.contexts[device];
  pthread_mutex_lock(&lock);
  context->ending = 1;
  pthread_mutex_unlock(&lock);
  for (struct CUstream_st **place = &soft.streams; *place != NULL;) {
    struct CUstream_st *stream = *place;
    if (stream->context != context) {
      place = &stream->next;
      continue;
    }
    end_queue(&stream->own);
    *place = stream->next;
    free(stream);
  }
  end_queue(&context->queue);
  pthread_mutex_lock(&lock);
  context->ending = 0;
  for (struct allocation **place = &soft.allocations; *place != NULL;) {
    struct allocation *one = *place;
    if (one->owner != (uint32_t)device) {
      place = &one->next;
      continue;
    }
    *place = one->next;
    free_allocation(one);
  }
  soft.used[device] = 0;
  context->sticky = CUDA_SUCCESS;
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  ON_DEVICE(device);
  CUcontext context = &soft.contexts[device];
  REQUIRE(context->retained > 0, CUDA_INVALID_CONTEXT);
  return --context->retained == 0 ? cuDevicePrimaryCtxReset_v2(device) : CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned int flags) {
  ON_DEVICE(device);
  soft.contexts[device].flags = flags;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active) {
  ON_DEVICE(device);
  REQUIRE(flags != NULL && active != NULL, CUDA_INVALID_VALUE);
  *flags = soft.contexts[device].flags;
  *active = soft.contexts[device].retained > 0;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext wanted) {
  INITIALISED();
  const int is_one = wanted >= soft.contexts && wanted < soft.contexts + MAX_DEVICES;
  REQUIRE(wanted == NULL || (is_one && wanted->retained > 0), CUDA_INVALID_CONTEXT);
  current = wanted;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *out) {
  INITIALISED();
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  *out = current;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device) {
  IN_CONTEXT();
  REQUIRE(device != NULL, CUDA_INVALID_VALUE);
  *device = current->ordinal;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetLimit(size_t *value, CUlimit limit) {
  IN_CONTEXT();
  REQUIRE(value != NULL && limit <= 2, CUDA_INVALID_VALUE);
  *value = 0;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value) {
  (void)limit, (void)value;
  IN_CONTEXT();
  return CUDA_NOT_SUPPORTED;
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  IN_CONTEXT();
  if (least != NULL) *least = 0;
  if (greatest != NULL) *greatest = -5;
  return CUDA_SUCCESS;
}

static int peer_index(CUcontext peer) {
  return peer >= soft.contexts && peer < soft.contexts + MAX_DEVICES && peer != current && peer->retained > 0
             ? (int)(peer - soft.contexts)
             : -1;
}

CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned int flags) {
  IN_CONTEXT();
  const int index = peer_index(peer);
  REQUIRE(flags == 0, CUDA_INVALID_VALUE);
  REQUIRE(index >= 0, CUDA_INVALID_CONTEXT);
  REQUIRE((current->peers & 1u << index) == 0, CUDA_PEER_ACCESS_ALREADY_ENABLED);
  current->peers |= 1u << index;
  return CUDA_SUCCESS;
}

CUresult cuCtxDisablePeerAccess(CUcontext peer) {
  IN_CONTEXT();
  const int index = peer_index(peer);
  REQUIRE(index >= 0, CUDA_INVALID_CONTEXT);
  REQUIRE((current->peers & 1u << index) != 0, CUDA_PEER_ACCESS_NOT_ENABLED);
  current->peers &= ~(1u << index);
  return CUDA_SUCCESS;
}

/* ---- copies ------------------------------------------------------------------------------------------------------- */

/* Bits of a copy's flags: which side is a device address. */
enum { TO_DEVICE = 1, FROM_DEVICE = 2 };

static CUresult start_copy(uint64_t to, uint64_t from, size_t size, uint32_t sides, CUstream stream) {
  REQUIRE(is_stream(stream), CUDA_INVALID_HANDLE);
  if (size == 0) return CUDA_SUCCESS;
  /* A wrong address is refused when it is given, as the driver does. */
  pthread_mutex_lock(&lock);
  const int is_known = (!(sides & TO_DEVICE) || translate(to, size) != NULL) &&
                       (!(sides & FROM_DEVICE) || translate(from, size) != NULL);
  pthread_mutex_unlock(&lock);
  REQUIRE(is_known && to != 0 && from != 0, CUDA_INVALID_VALUE);
  const struct work work = {.kind = WORK_COPY, .to = to, .from = from, .size = size, .flags = sides};
  return enqueue(stream, &work);
}

/* A copy that has happened when this returns. */
static CUresult copy_now(uint64_t to, uint64_t from, size_t size, uint32_t sides) {
  const CUresult failed = start_copy(to, from, size, sides, NULL);
  return failed != CUDA_SUCCESS ? failed : wait_for_default(current);
}

#define HOST(pointer) ((uint64_t)(uintptr_t)(pointer))

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size) {
  IN_CONTEXT();
  return copy_now(to, HOST(from), size, TO_DEVICE);
}
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size) {
  IN_CONTEXT();
  return copy_now(HOST(to), from, size, FROM_DEVICE);
}
CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size) {
  IN_CONTEXT();
  return copy_now(to, from, size, TO_DEVICE | FROM_DEVICE);
}
CUresult cuMemcpyPeer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t size) {
  IN_CONTEXT();
  REQUIRE(to_context != NULL && from_context != NULL, CUDA_INVALID_CONTEXT);
  return copy_now(to, from, size, TO_DEVICE | FROM_DEVICE);
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
  IN_CONTEXT();
  return start_copy(to, HOST(from), size, TO_DEVICE, stream);
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream) {
  IN_CONTEXT();
  return start_copy(HOST(to), from, size, FROM_DEVICE, stream);
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
  IN_CONTEXT();
  return start_copy(to, from, size, TO_DEVICE | FROM_DEVICE, stream);
}
CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t size,
                           CUstream stream) {
  IN_CONTEXT();
  REQUIRE(to_context != NULL && from_context != NULL, CUDA_INVALID_CONTEXT);
  return start_copy(to, from, size, TO_DEVICE | FROM_DEVICE, stream);
}

static CUresult start_fill(uint64_t to, uint32_t value, uint32_t width, size_t count, CUstream stream) {
  REQUIRE(is_stream(stream), CUDA_INVALID_HANDLE);
  if (count == 0) return CUDA_SUCCESS;
  pthread_mutex_lock(&lock);
  const int is_known = count <= SIZE_MAX / width && translate(to, (uint64_t)count * width) != NULL;
  pthread_mutex_unlock(&lock);
  REQUIRE(is_known && to % width == 0, CUDA_INVALID_VALUE);
  const struct work work = {.kind = WORK_FILL, .to = to, .size = count, .value = value, .width = width};
  return enqueue(stream, &work);
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  IN_CONTEXT();
  return start_fill(to, value, 1, count, stream);
}
CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
  IN_CONTEXT();
  return start_fill(to, value, 2, count, stream);
}
CUresult cuMemsetD32Async(CUdeviceptr to, unsigned int value, size_t count, CUstream stream) {
  IN_CONTEXT();
  return start_fill(to, value, 4, count, stream);
}

/* ---- streams and events ------------------------------------------------------------------------------------------- */

CUresult cuStreamCreateWithPriority(CUstream *out, unsigned int flags, int priority) {
  IN_CONTEXT();
  REQUIRE(out != NULL && flags <= 1, CUDA_INVALID_VALUE);
  struct CUstream_st *stream = calloc(1, sizeof *stream);
  REQUIRE(stream != NULL, CUDA_OUT_OF_MEMORY);
  stream->context = current;
  stream->queue = flags == 1 ? &stream->own : &current->queue;
  stream->priority = priority;
  pthread_mutex_lock(&lock);
  stream->next = soft.streams;
  soft.streams = stream;
  pthread_mutex_unlock(&lock);
  *out = stream;
  return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream *out, unsigned int flags) {
  INJECTABLE();
  return cuStreamCreateWithPriority(out, flags, 0);
}

CUresult cuStreamDestroy_v2(CUstream stream) {
  IN_CONTEXT();
  REQUIRE((uintptr_t)stream > 2 && is_stream(stream), CUDA_INVALID_HANDLE);
  /* What is in it is still done. */
  wait_for(current, stream->queue, stream->last);
  end_queue(&stream->own);
  pthread_mutex_lock(&lock);
  struct CUstream_st **place = &soft.streams;
  while (*place != stream) place = &(*place)->next;
  *place = stream->next;
  pthread_mutex_unlock(&lock);
  free(stream);
  return CUDA_SUCCESS;
}

CUresult cuStreamQuery(CUstream stream) {
  IN_CONTEXT();
  REQUIRE(is_stream(stream), CUDA_INVALID_HANDLE);
  const struct queue *queue = queue_of(stream);
  pthread_mutex_lock(&lock);
  const int is_done = queue->done >= ((uintptr_t)stream <= 2 ? queue->queued : stream->last);
  const CUresult sticky = current->sticky;
  pthread_mutex_unlock(&lock);
  return sticky != CUDA_SUCCESS ? sticky : is_done ? CUDA_SUCCESS : CUDA_NOT_READY;
}

CUresult cuStreamSynchronize(CUstream stream) {
  IN_CONTEXT();
  REQUIRE(is_stream(stream), CUDA_INVALID_HANDLE);
  return (uintptr_t)stream <= 2 ? wait_for_default(current) : wait_for(current, stream->queue, stream->last);
}

CUresult cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned int flags) {
  (void)flags;
  IN_CONTEXT();
  REQUIRE(is_stream(stream), CUDA_INVALID_HANDLE);
  const struct work work = {.kind = WORK_WRITE_VALUE, .to = address, .value = value};
  return enqueue(stream, &work);
}

CUresult cuStreamWaitValue32_v2(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned int flags) {
  IN_CONTEXT();
  REQUIRE(is_stream(stream), CUDA_INVALID_HANDLE);
  const struct work work = {.kind = WORK_WAIT_VALUE, .to = address, .value = value, .flags = flags};
  return enqueue(stream, &work);
}

enum { EVENT_NO_TIMING = 2 };

static int is_event(CUevent event) {
  int found = 0;
  pthread_mutex_lock(&lock);
  for (struct CUevent_st *one = soft.events; one != NULL; one = one->next) found |= one == event;
  pthread_mutex_unlock(&lock);
  return found;
}

CUresult cuEventCreate(CUevent *out, unsigned int flags) {
  IN_CONTEXT();
  REQUIRE(out != NULL && flags <= 3, CUDA_INVALID_VALUE);
  struct CUevent_st *event = calloc(1, sizeof *event);
  REQUIRE(event != NULL, CUDA_OUT_OF_MEMORY);
  event->context = current;
  event->flags = flags;
  pthread_mutex_lock(&lock);
  event->next = soft.events;
  soft.events = event;
  pthread_mutex_unlock(&lock);
  *out = event;
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event) {
  IN_CONTEXT();
  REQUIRE(is_event(event), CUDA_INVALID_HANDLE);
  /* Queued records and waits still point at it. */
  wait_for_all(event->context);
  pthread_mutex_lock(&lock);
  struct CUevent_st **place = &soft.events;
  while (*place != event) place = &(*place)->next;
  *place = event->next;
  pthread_mutex_unlock(&lock);
  free(event);
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  IN_CONTEXT();
  REQUIRE(is_event(event) && is_stream(stream), CUDA_INVALID_HANDLE);
  const struct work work = {.kind = WORK_RECORD, .event = event};
  return enqueue(stream, &work);
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int flags) {
  IN_CONTEXT();
  REQUIRE(is_event(event) && is_stream(stream), CUDA_INVALID_HANDLE);
  REQUIRE(flags <= 1, CUDA_INVALID_VALUE);
  pthread_mutex_lock(&lock);
  const uint64_t recorded = event->recorded;
  pthread_mutex_unlock(&lock);
  const struct work work = {.kind = WORK_WAIT_EVENT, .event = event, .generation = recorded};
  return enqueue(stream, &work);
}

CUresult cuEventQuery(CUevent event) {
  IN_CONTEXT();
  REQUIRE(is_event(event), CUDA_INVALID_HANDLE);
  pthread_mutex_lock(&lock);
  const int is_done = event->reached >= event->recorded;
  pthread_mutex_unlock(&lock);
  return is_done ? CUDA_SUCCESS : CUDA_NOT_READY;
}

CUresult cuEventElapsedTime(float *ms, CUevent start, CUevent end) {
  IN_CONTEXT();
  REQUIRE(ms != NULL, CUDA_INVALID_VALUE);
  REQUIRE(is_event(start) && is_event(end) && ((start->flags | end->flags) & EVENT_NO_TIMING) == 0, CUDA_INVALID_HANDLE);
  pthread_mutex_lock(&lock);
  const int were_recorded = start->recorded > 0 && end->recorded > 0;
  const int are_done = start->reached >= start->recorded && end->reached >= end->recorded;
  *ms = (float)((double)(int64_t)(end->time_ns - start->time_ns) / 1e6);
  pthread_mutex_unlock(&lock);
  return !were_recorded ? CUDA_INVALID_HANDLE : are_done ? CUDA_SUCCESS : CUDA_NOT_READY;
}

/* ---- modules and kernels ------------------------------------------------------------------------------------------ */

CUresult cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned int count, CUjit_option *options, void **values) {
  IN_CONTEXT();
  REQUIRE(out != NULL && image != NULL && (count == 0 || (options != NULL && values != NULL)), CUDA_INVALID_VALUE);
  struct ptx_log log = {NULL, 0};
  for (unsigned i = 0; i < count; i++) {
    if (options[i] == 5) log.text = values[i];
    if (options[i] == 6) log.size = (size_t)(uintptr_t)values[i];
  }
  if (log.text == NULL) log.size = 0;
  const uint8_t *bytes = image;
  REQUIRE(memcmp(bytes, "\x7f" "ELF", 4) != 0 && memcmp(bytes, "\x50\xed\x55\xba", 4) != 0, CUDA_NO_BINARY_FOR_GPU);
  struct CUmod_st *module = calloc(1, sizeof *module);
  REQUIRE(module != NULL, CUDA_OUT_OF_MEMORY);
  const CUresult failed = ptx_parse(image, soft.capability, soft.version, &log, &module->code);
  if (failed != CUDA_SUCCESS) {
    free(module);
    return failed;
  }
  module->context = current;
  pthread_mutex_lock(&lock);
  module->next = soft.modules;
  soft.modules = module;
  pthread_mutex_unlock(&lock);
  *out = module;
  return CUDA_SUCCESS;
}

/* The module with this handle, its place in the list, or NULL. With the lock held. */
static struct CUmod_st **module_place(CUmodule module) {
  for (struct CUmod_st **place = &soft.modules; *place != NULL; place = &(*place)->next) {
    if (*place == module) return place;
  }
  return NULL;
}

CUresult cuModuleUnload(CUmodule module) {
  IN_CONTEXT();
  wait_for_all(current);
  pthread_mutex_lock(&lock);
  struct CUmod_st **place = module_place(module);
  if (place != NULL) *place = module->next;
  pthread_mutex_unlock(&lock);
  REQUIRE(place != NULL, CUDA_INVALID_HANDLE);
  for (struct CUfunc_st *function = module->functions, *next; function != NULL; function = next) {
    next = function->next;
    free(function);
  }
  ptx_free(module->code);
  free(module);
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *out, CUmodule module, const char *name) {
  IN_CONTEXT();
  REQUIRE(out != NULL && name != NULL, CUDA_INVALID_VALUE);
  pthread_mutex_lock(&lock);
  const int is_known = module_place(module) != NULL;
  pthread_mutex_unlock(&lock);
  REQUIRE(is_known, CUDA_INVALID_HANDLE);
  const struct ptx_kernel *kernel = ptx_find(module->code, name);
  REQUIRE(kernel != NULL, CUDA_NOT_FOUND);
  struct CUfunc_st *function = calloc(1, sizeof *function);
  REQUIRE(function != NULL, CUDA_OUT_OF_MEMORY);
  function->kernel = kernel;
  pthread_mutex_lock(&lock);
  function->next = module->functions;
  module->functions = function;
  pthread_mutex_unlock(&lock);
  *out = function;
  return CUDA_SUCCESS;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *out, size_t *size, CUmodule module, const char *name) {
  (void)out, (void)size, (void)module, (void)name;
  IN_CONTEXT();
  /* Modules with variables are refused when they are loaded. */
  return CUDA_NOT_FOUND;
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode *mode) {
  INITIALISED();
  REQUIRE(mode != NULL, CUDA_INVALID_VALUE);
  *mode = 1;
  return CUDA_SUCCESS;
}

/* With the lock held. */
static int is_function(CUfunction function) {
  for (const struct CUmod_st *module = soft.modules; module != NULL; module = module->next) {
    for (const struct CUfunc_st *one = module->functions; one != NULL; one = one->next) {
      if (one == function) return 1;
    }
  }
  return 0;
}

static int is_known_function(CUfunction function) {
  pthread_mutex_lock(&lock);
  const int found = is_function(function);
  pthread_mutex_unlock(&lock);
  return found;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
  IN_CONTEXT();
  REQUIRE(value != NULL && attribute <= 9, CUDA_INVALID_VALUE);
  REQUIRE(is_known_function(function), CUDA_INVALID_HANDLE);
  const int answers[] = {1024, 0, 0, 0, (int)ptx_registers(function->kernel), (int)ptx_version(function->kernel),
                         (int)soft.capability, 0, 0, 0};
  *value = answers[attribute];
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  (void)function, (void)attribute, (void)value;
  IN_CONTEXT();
  return CUDA_NOT_SUPPORTED;
}

CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *size) {
  IN_CONTEXT();
  REQUIRE(is_known_function(function), CUDA_INVALID_HANDLE);
  const struct ptx_parameter *parameter = ptx_parameter(function->kernel, index);
  REQUIRE(parameter != NULL && offset != NULL, CUDA_INVALID_VALUE);
  *offset = parameter->offset;
  if (size != NULL) *size = parameter->size;
  return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads, size_t shared) {
  (void)shared;
  IN_CONTEXT();
  REQUIRE(is_known_function(function), CUDA_INVALID_HANDLE);
  REQUIRE(blocks != NULL && threads > 0, CUDA_INVALID_VALUE);
  *blocks = 1;
  return CUDA_SUCCESS;
}

/* The arguments in a buffer of the kernel's own layout, from either of the two ways to pass them. */
static CUresult gather(const struct ptx_kernel *kernel, void **params, void **extra, uint8_t **out) {
  const uint32_t size = ptx_parameter_bytes(kernel);
  REQUIRE(params == NULL || extra == NULL, CUDA_INVALID_VALUE);
  uint8_t *arguments = calloc(1, size + 1u);
  REQUIRE(arguments != NULL, CUDA_OUT_OF_MEMORY);
  *out = arguments;
  if (size == 0) return CUDA_SUCCESS;
  if (params != NULL) {
    const struct ptx_parameter *one;
    for (size_t i = 0; (one = ptx_parameter(kernel, i)) != NULL; i++) memcpy(arguments + one->offset, params[i], one->size);
    return CUDA_SUCCESS;
  }
  const void *given = NULL;
  size_t given_bytes = 0;
  for (; extra != NULL && *extra != NULL; extra += 2) {
    if ((uintptr_t)extra[0] == 1) given = extra[1];
    else if ((uintptr_t)extra[0] == 2) memcpy(&given_bytes, extra[1], sizeof given_bytes);
    else break;
  }
  REQUIRE(given != NULL && given_bytes >= size, CUDA_INVALID_VALUE);
  memcpy(arguments, given, size);
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
                        unsigned int by, unsigned int bz, unsigned int shared, CUstream stream, void **params,
                        void **extra) {
  IN_CONTEXT();
  REQUIRE(is_known_function(function) && is_stream(stream), CUDA_INVALID_HANDLE);
  const uint64_t threads = (uint64_t)bx * by * bz;
  REQUIRE(gx > 0 && gy > 0 && gz > 0 && gy <= 65535 && gz <= 65535 && bx > 0 && by > 0 && bz > 0 && bx <= 1024 &&
              by <= 1024 && bz <= 64 && threads <= 1024 && shared == 0,
          CUDA_INVALID_VALUE);
  struct work work = {.kind = WORK_LAUNCH, .kernel = function->kernel, .grid = {gx, gy, gz}, .block = {bx, by, bz}};
  CUresult failed = gather(function->kernel, params, extra, &work.arguments);
  if (failed == CUDA_SUCCESS) failed = enqueue(stream, &work);
  if (failed != CUDA_SUCCESS) free(work.arguments);
  return failed;
}
