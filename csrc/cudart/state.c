/* The driver library, devices and contexts, and what the program registered. */
#define _GNU_SOURCE
#include "cudart.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct driver driver;

/* The interface that busbar's own loaders ask every library of theirs for. */
API uint32_t bb_abi_version(void);
uint32_t bb_abi_version(void) { return 2; }

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CUcontext contexts[MAX_DEVICES];
static struct fat_binary *binaries;

static _Thread_local cudaError_t last_error;
static _Thread_local int thread_device;

/* Hash tables by host address. */
struct table {
  void **rows; /* each begins as struct kernel and struct variable do: binary, host address */
  size_t room, used;
};
static struct table kernels, variables;

static const void *key_of(const void *row) { return ((const struct kernel *)row)->stub; }
_Static_assert(offsetof(struct kernel, stub) == offsetof(struct variable, shadow), "both are looked up by one function");

static size_t place(const struct table *table, const void *key) {
  return (size_t)(((uint64_t)(uintptr_t)key >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (table->room - 1);
}

static void *table_find(const struct table *table, const void *key) {
  if (table->room == 0) return NULL;
  size_t at = place(table, key);
  while (table->rows[at] != NULL && key_of(table->rows[at]) != key) at = (at + 1) & (table->room - 1);
  return table->rows[at];
}

static bool table_add(struct table *table, void *row) {
  if (2 * (table->used + 1) > table->room) {
    struct table wider = {NULL, table->room == 0 ? 64 : 2 * table->room, 0};
    wider.rows = calloc(wider.room, sizeof *wider.rows);
    if (wider.rows == NULL) return false;
    for (size_t i = 0; i < table->room; i++) {
      if (table->rows[i] != NULL) table_add(&wider, table->rows[i]);
    }
    free(table->rows);
    *table = wider;
  }
  size_t at = place(table, key_of(row));
  while (table->rows[at] != NULL && key_of(table->rows[at]) != key_of(row)) at = (at + 1) & (table->room - 1);
  if (table->rows[at] == NULL) table->used++;
  table->rows[at] = row;
  return true;
}

/* ---- starting -------------------------------------------------------------------------------------------------------- */

/* In place of functions that the driver does not have. All arguments are in registers or on the caller's stack. */
static CUresult missing(void) { return NOT_SUPPORTED; }

static cudaError_t start_result = UNKNOWN;

static void start(void) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  if (library == NULL) {
    start_result = INSUFFICIENT_DRIVER;
    return;
  }
  CUresult (*const none)(void) = missing;
#define LOOK_UP(name, since, older, params, args)                                      \
  {                                                                                    \
    void *address = dlsym(library, #name);                                             \
    if (address == NULL && older[0] != '\0') address = dlsym(library, older);          \
    if (address == NULL) memcpy(&address, &none, sizeof address);                      \
    memcpy(&driver.name, &address, sizeof address);                                    \
  }
#define LOOK_UP0(name, since) LOOK_UP(name, since, "", (void), ())
  BB_CUDA_FUNCTIONS(LOOK_UP, LOOK_UP0)
  const CUresult failed = driver.cuInit(0);
  start_result = failed == 34 ? INSUFFICIENT_DRIVER : (cudaError_t)failed;
}

cudaError_t runtime_start(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, start);
  return start_result;
}

cudaError_t finish(cudaError_t result) {
  /* "Not ready" is an answer, not a failure. */
  if (result != SUCCESS && result != NOT_READY) last_error = result;
  return result;
}

API cudaError_t cudaGetLastError(void);
cudaError_t cudaGetLastError(void) {
  const cudaError_t result = last_error;
  last_error = SUCCESS;
  return result;
}
API cudaError_t cudaPeekAtLastError(void);
cudaError_t cudaPeekAtLastError(void) { return last_error; }

/* ---- devices and contexts -------------------------------------------------------------------------------------------- */

/* The primary context of a device, retained once for the process. */
static cudaError_t primary(int device, CUcontext *out) {
  int count = 0;
  const CUresult counted = driver.cuDeviceGetCount(&count);
  if (counted != SUCCESS) return counted;
  if (device < 0 || device >= count || device >= MAX_DEVICES) return INVALID_DEVICE;
  CUresult failed = SUCCESS;
  pthread_mutex_lock(&lock);
  if (contexts[device] == NULL) {
    CUdevice handle;
    failed = driver.cuDeviceGet(&handle, device);
    if (failed == SUCCESS) failed = driver.cuDevicePrimaryCtxRetain(&contexts[device], handle);
  }
  *out = contexts[device];
  pthread_mutex_unlock(&lock);
  return failed;
}

cudaError_t runtime_context(void) {
  cudaError_t failed = runtime_start();
  if (failed != SUCCESS) return failed;
  CUcontext context = NULL;
  failed = driver.cuCtxGetCurrent(&context);
  if (failed != SUCCESS || context != NULL) return failed;
  failed = primary(thread_device, &context);
  return failed != SUCCESS ? failed : (cudaError_t)driver.cuCtxSetCurrent(context);
}

cudaError_t current_device(int *device) {
  *device = thread_device;
  CUcontext context = NULL;
  CUdevice handle;
  /* A context that the program itself made current counts. */
  if (driver.cuCtxGetCurrent(&context) == SUCCESS && context != NULL && driver.cuCtxGetDevice(&handle) == SUCCESS) {
    *device = handle;
  }
  return SUCCESS;
}

API cudaError_t cudaSetDevice(int device);
cudaError_t cudaSetDevice(int device) {
  START();
  CUcontext context;
  const cudaError_t failed = primary(device, &context);
  CHECK(failed == SUCCESS, failed);
  thread_device = device;
  return finish(driver.cuCtxSetCurrent(context));
}

API cudaError_t cudaInitDevice(int device, unsigned int device_flags, unsigned int flags);
cudaError_t cudaInitDevice(int device, unsigned int device_flags, unsigned int flags) {
  (void)device_flags, (void)flags;
  START();
  CUcontext context;
  return finish(primary(device, &context));
}

API cudaError_t cudaGetDevice(int *device);
cudaError_t cudaGetDevice(int *device) {
  START();
  CHECK(device != NULL, INVALID_VALUE);
  return finish(current_device(device));
}

API cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaDeviceSynchronize(void) {
  CONTEXT();
  return finish(driver.cuCtxSynchronize());
}
API cudaError_t cudaThreadSynchronize(void);
cudaError_t cudaThreadSynchronize(void) { return cudaDeviceSynchronize(); }

/* Everything on the device goes; what the program registered is loaded again when it is next wanted. */
API cudaError_t cudaDeviceReset(void);
cudaError_t cudaDeviceReset(void) {
  START();
  int device;
  current_device(&device);
  driver.cuCtxSynchronize();
  pthread_mutex_lock(&lock);
  for (struct fat_binary *binary = binaries; binary != NULL; binary = binary->next) binary->modules[device] = NULL;
  for (size_t i = 0; i < kernels.room; i++) {
    if (kernels.rows[i] != NULL) ((struct kernel *)kernels.rows[i])->functions[device] = NULL;
  }
  CUdevice handle;
  CUresult failed = driver.cuDeviceGet(&handle, device);
  if (failed == SUCCESS) failed = driver.cuDevicePrimaryCtxReset_v2(handle);
  pthread_mutex_unlock(&lock);
  last_error = SUCCESS;
  return finish(failed);
}

/* ---- what the program registers, before main ------------------------------------------------------------------------- */

struct wrapper {
  uint32_t magic, version;
  const void *container;
  const void *more;
};
enum { WRAPPER_MAGIC = 0x466243b1, WRAPPER_LINKED = 2 };

API void **__cudaRegisterFatBinary(void *wrapper);
void **__cudaRegisterFatBinary(void *wrapper) {
  const struct wrapper *from = wrapper;
  struct fat_binary *binary = calloc(1, sizeof *binary);
  if (binary == NULL) abort();
  binary->container = from->container;
  if (from->magic == WRAPPER_MAGIC && from->version == WRAPPER_LINKED) binary->containers = from->more;
  pthread_mutex_lock(&lock);
  binary->next = binaries;
  binaries = binary;
  pthread_mutex_unlock(&lock);
  return (void **)binary;
}

API void __cudaRegisterFatBinaryEnd(void **handle);
void __cudaRegisterFatBinaryEnd(void **handle) { (void)handle; }

/* At exit: the driver takes everything away with the process, and may be gone already. */
API void __cudaUnregisterFatBinary(void **handle);
void __cudaUnregisterFatBinary(void **handle) { (void)handle; }

API void __cudaRegisterFunction(void **handle, const char *stub, char *device_name, const char *name, int threads,
                                void *thread, void *block, void *block_size, void *grid_size, int *warp_size);
void __cudaRegisterFunction(void **handle, const char *stub, char *device_name, const char *name, int threads, void *thread,
                            void *block, void *block_size, void *grid_size, int *warp_size) {
  (void)device_name, (void)threads, (void)thread, (void)block, (void)block_size, (void)grid_size, (void)warp_size;
  struct kernel *kernel = calloc(1, sizeof *kernel);
  if (kernel == NULL) abort();
  *kernel = (struct kernel){.binary = (struct fat_binary *)handle, .stub = stub, .name = name};
  pthread_mutex_lock(&lock);
  if (!table_add(&kernels, kernel)) abort();
  pthread_mutex_unlock(&lock);
}

API void __cudaRegisterVar(void **handle, char *shadow, char *device_address, const char *name, int is_external, size_t size,
                           int is_constant, int is_global);
void __cudaRegisterVar(void **handle, char *shadow, char *device_address, const char *name, int is_external, size_t size,
                       int is_constant, int is_global) {
  (void)device_address, (void)is_external, (void)is_constant, (void)is_global;
  struct variable *variable = calloc(1, sizeof *variable);
  if (variable == NULL) abort();
  *variable = (struct variable){(struct fat_binary *)handle, shadow, name, size};
  pthread_mutex_lock(&lock);
  if (!table_add(&variables, variable)) abort();
  pthread_mutex_unlock(&lock);
}

/* A managed variable lies at one address for host and device, which the driver would have to choose. */
API void __cudaRegisterManagedVar(void **handle, void **pointer, char *device_address, const char *name, int is_external,
                                  size_t size, int is_constant, int is_global);
void __cudaRegisterManagedVar(void **handle, void **pointer, char *device_address, const char *name, int is_external,
                              size_t size, int is_constant, int is_global) {
  (void)handle, (void)pointer, (void)device_address, (void)is_external, (void)size, (void)is_constant, (void)is_global;
  fprintf(stderr, "busbar cudart: the __managed__ variable %s cannot be reached from the host; use cudaMallocManaged\n", name);
}

/* 1: there is nothing left to do before the variables of the unit may be used. */
API char __cudaInitModule(void **handle);
char __cudaInitModule(void **handle) {
  (void)handle;
  return 1;
}

/* ---- loading what was registered ------------------------------------------------------------------------------------- */

static size_t container_bytes(const void *container) {
  uint16_t header;
  uint64_t body;
  memcpy(&header, (const uint8_t *)container + 6, sizeof header);
  memcpy(&body, (const uint8_t *)container + 8, sizeof body);
  return header + (size_t)body;
}

/* The parts of a program that was compiled separately, as one module. */
static CUresult link_parts(const struct fat_binary *binary, CUmodule *out) {
  enum { INPUT_FATBINARY = 2 };
  CUlinkState link;
  CUresult failed = driver.cuLinkCreate_v2(0, NULL, NULL, &link);
  if (failed != SUCCESS) return failed;
  for (size_t i = 0; failed == SUCCESS && binary->containers[i] != NULL; i++) {
    void *part = (void *)(uintptr_t)binary->containers[i];
    failed = driver.cuLinkAddData_v2(link, INPUT_FATBINARY, part, container_bytes(part), "part", 0, NULL, NULL);
  }
  void *image = NULL;
  size_t size;
  if (failed == SUCCESS) failed = driver.cuLinkComplete(link, &image, &size);
  if (failed == SUCCESS) failed = driver.cuModuleLoadData(out, image);
  driver.cuLinkDestroy(link);
  return failed;
}

/* With the lock held, and the device's context current. */
static cudaError_t module_of(struct fat_binary *binary, int device, CUmodule *out) {
  if (device >= MAX_DEVICES) return INVALID_DEVICE;
  CUresult failed = SUCCESS;
  if (binary->modules[device] == NULL) {
    failed = binary->containers != NULL ? link_parts(binary, &binary->modules[device])
                                        : driver.cuModuleLoadData(&binary->modules[device], binary->container);
  }
  *out = binary->modules[device];
  return failed;
}

cudaError_t kernel_function(const void *stub, CUfunction *out) {
  int device;
  current_device(&device);
  pthread_mutex_lock(&lock);
  struct kernel *kernel = table_find(&kernels, stub);
  cudaError_t failed = kernel == NULL ? INVALID_DEVICE_FUNCTION : SUCCESS;
  if (failed == SUCCESS && kernel->functions[device] == NULL) {
    CUmodule module;
    failed = module_of(kernel->binary, device, &module);
    if (failed == SUCCESS) {
      failed = driver.cuModuleGetFunction(&kernel->functions[device], module, kernel->name);
      if (failed != SUCCESS) failed = INVALID_DEVICE_FUNCTION;
    }
  }
  if (failed == SUCCESS) *out = kernel->functions[device];
  pthread_mutex_unlock(&lock);
  return failed;
}

cudaError_t variable_address(const void *shadow, CUdeviceptr *out, size_t *size) {
  int device;
  current_device(&device);
  pthread_mutex_lock(&lock);
  struct variable *variable = table_find(&variables, shadow);
  cudaError_t failed = variable == NULL ? INVALID_SYMBOL : SUCCESS;
  if (failed == SUCCESS) {
    CUmodule module;
    failed = module_of(variable->binary, device, &module);
    if (failed == SUCCESS && driver.cuModuleGetGlobal_v2(out, size, module, variable->name) != SUCCESS) failed = INVALID_SYMBOL;
  }
  pthread_mutex_unlock(&lock);
  return failed;
}
