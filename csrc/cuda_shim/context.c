/* The driver, contexts, and the sessions behind them. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST_DEPTH = 32, MOST_OWNERS = 64 };

__attribute__((visibility("default"))) uint32_t bb_abi_version(void);
uint32_t bb_abi_version(void) { return 2; }

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_initialised;
static struct context *primary;
static uint32_t primary_uses, primary_flags;
static uint64_t next_id;
static _Thread_local void *stack[MOST_DEPTH];
static _Thread_local unsigned depth;

/* ---- who has which session ------------------------------------------------------------------------------------------- */

/* A session of the device and the process that it is of: so that what a killed process left is freed by the next one. */
struct owner {
  uint32_t session, pid, epoch, unused;
  uint64_t started;
};

/* When a process began, in ticks since the boot; 0 when there is none of that number. */
static uint64_t start_of(uint32_t pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%u/stat", pid);
  FILE *file = fopen(path, "re");
  if (file == NULL) return 0;
  const size_t size = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[size] = '\0';
  /* Field 22; the name in field 2 may hold anything, and ends at the last parenthesis. */
  char *at = strrchr(text, ')');
  for (int field = 2; at != NULL && field < 22; field++) at = strchr(at + 1, ' ');
  return at == NULL ? 0 : strtoull(at + 1, NULL, 10);
}

/* The file of this device's owners, open and locked. */
static int open_owners(void) {
  struct stat info;
  char path[256];
  if (fstat(window.fd, &info) != 0) return -1;
  const char *folder = getenv("XDG_RUNTIME_DIR");
  if (folder == NULL || folder[0] != '/') folder = geteuid() == 0 ? "/run" : "/tmp";
  snprintf(path, sizeof path, "%s/busbar-cxl-gpu-%u-%llx-%llx", folder, (unsigned)geteuid(),
           (unsigned long long)info.st_dev, (unsigned long long)info.st_ino);
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return -1;
  if (fstat(fd, &info) != 0 || info.st_uid != geteuid() || !S_ISREG(info.st_mode)) {
    close(fd);
    return -1;
  }
  while (flock(fd, LOCK_EX) != 0 && errno == EINTR) continue;
  return fd;
}

/* Ends sessions whose process is no more, drops `without`, and adds `session` (0: none) of this process. */
static void keep_owners(uint32_t session, uint32_t without) {
  struct owner owners[MOST_OWNERS];
  const int fd = open_owners();
  if (fd < 0) return;
  const ssize_t size = pread(fd, owners, sizeof owners, 0);
  size_t count = size < 0 ? 0 : (size_t)size / sizeof *owners, kept = 0;
  for (size_t i = 0; i < count; i++) {
    const struct owner one = owners[i];
    if (one.epoch != window.epoch || one.session == without) continue;
    if (start_of(one.pid) != one.started) {
      struct request end = {.code = CMD_SESSION_END, .params = {one.session}};
      window_run(&end);
      continue;
    }
    owners[kept++] = one;
  }
  if (session != 0 && kept < MOST_OWNERS) {
    const uint32_t pid = (uint32_t)getpid();
    owners[kept++] = (struct owner){session, pid, window.epoch, 0, start_of(pid)};
  }
  const ssize_t bytes = (ssize_t)(kept * sizeof *owners);
  if (ftruncate(fd, bytes) == 0 && pwrite(fd, owners, (size_t)bytes, 0) != bytes) {
    fprintf(stderr, "busbar cuda: the list of sessions cannot be written: %s\n", strerror(errno));
  }
  close(fd);
}

/* ---- contexts -------------------------------------------------------------------------------------------------------- */

CUresult enter(void) { return is_initialised ? CUDA_SUCCESS : CUDA_NOT_INITIALIZED; }

CUresult enter_context(struct context **out) {
  TRY(enter());
  REQUIRE(depth > 0 && stack[depth - 1] != NULL, CUDA_INVALID_CONTEXT);
  *out = handle_find(KIND_CONTEXT, stack[depth - 1]);
  return *out == NULL ? 709 : CUDA_SUCCESS; /* CUDA_ERROR_CONTEXT_IS_DESTROYED */
}

static CUresult begin(struct context *context) {
  struct request request = {.code = CMD_SESSION_BEGIN};
  keep_owners(0, 0);
  TRY(window_run(&request));
  context->session = (uint32_t)request.results[0];
  context->has_work = context->has_text = false;
  keep_owners(context->session, 0);
  return run4(context, CMD_CTX_CREATE, 0, 0, 0, 0);
}

static void end(struct context *context) {
  handles_drop(context);
  struct request request = {.code = CMD_SESSION_END, .params = {context->session}};
  window_run(&request);
  keep_owners(0, context->session);
  for (struct memory *one = context->memory, *next; one != NULL; one = next) {
    next = one->next;
    if (one->is_plain) free(one->host);
    free(one);
  }
  context->memory = NULL;
  context->session = 0;
}

static struct context *make(CUresult *failed) {
  struct context *context = calloc(1, sizeof *context);
  *failed = CUDA_OUT_OF_MEMORY;
  if (context == NULL) return NULL;
  context->id = ++next_id;
  *failed = begin(context);
  if (*failed == CUDA_SUCCESS) context->handle = handle_add(KIND_CONTEXT, context);
  if (*failed == CUDA_SUCCESS && context->handle != NULL) return context;
  free(context);
  return NULL;
}

CUresult run(struct context *context, struct request *request) {
  request->session = context->session;
  return window_run(request);
}

CUresult run4(struct context *context, uint32_t code, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  struct request request = {.code = code, .params = {a, b, c, d}};
  return run(context, &request);
}

/* What kernels printed goes to this program's own standard output. */
static void print_log(struct context *context) {
  char *text = malloc(window.data_bytes);
  while (text != NULL) {
    struct request request = {.code = CMD_LOG_READ, .read = text, .read_size = window.data_bytes, .is_counted = true};
    if (run(context, &request) != CUDA_SUCCESS || request.results[0] == 0 || request.results[0] > window.data_bytes) break;
    fwrite(text, 1, request.results[0], stdout);
    if (request.results[0] < window.data_bytes) break;
  }
  fflush(stdout);
  free(text);
  context->has_text = false;
}

CUresult wait_command(struct context *context, uint32_t code, uint64_t index) {
  CUresult result;
  do result = run4(context, code, index, 0, 0, 0);
  while (result == CUDA_NOT_READY);
  if (result == CUDA_SUCCESS && code == CMD_CTX_SYNC) context->has_work = false;
  if (context->has_text && result != CUDA_DEVICE_UNAVAILABLE) print_log(context);
  return result;
}

CUresult settle(struct context *context, uint64_t stream) {
  return context->has_work ? wait_command(context, CMD_STREAM_SYNC, stream) : CUDA_SUCCESS;
}

/* ---- the driver ------------------------------------------------------------------------------------------------------ */

/* A child has the parent's mapping but none of its contexts: it begins anew, with an open file of its own for the lock. */
static void after_fork(void) {
  is_initialised = false;
  primary = NULL;
  primary_uses = 0;
  depth = 0;
  window_close();
}

CUresult cuInit(unsigned int flags) {
  REQUIRE(flags == 0, CUDA_INVALID_VALUE);
  pthread_mutex_lock(&lock);
  CUresult result = CUDA_SUCCESS;
  if (!is_initialised) {
    static bool is_watching;
    result = window_open();
    if (result == CUDA_SUCCESS) {
      struct request request = {.code = CMD_INIT};
      result = window_run(&request);
      if (result != CUDA_SUCCESS) window_close();
    }
    if (!is_watching) pthread_atfork(NULL, NULL, after_fork);
    is_watching = true;
    is_initialised = result == CUDA_SUCCESS;
  }
  pthread_mutex_unlock(&lock);
  return result;
}

/* What the process still has is given back when it ends in order; else the next process does it. */
__attribute__((destructor)) static void give_back(void) {
  if (is_initialised && primary != NULL && primary->session != 0) end(primary);
}

CUresult cuDriverGetVersion(int *version) {
  REQUIRE(version != NULL, CUDA_INVALID_VALUE);
  const char *chosen = getenv("CXL_CUDA_VERSION");
  *version = chosen != NULL && strcmp(chosen, "12000") == 0 ? 12000 : 13000;
  return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext *out, unsigned int flags, CUdevice device) {
  CUresult failed;
  TRY(enter());
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  REQUIRE(device == 0, CUDA_INVALID_DEVICE);
  struct context *context = make(&failed);
  REQUIRE(context != NULL, failed);
  context->flags = flags;
  *out = context->handle;
  return cuCtxPushCurrent_v2(context->handle);
}

CUresult cuCtxCreate_v4(CUcontext *out, CUctxCreateParams *parameters, unsigned int flags, CUdevice device) {
  REQUIRE(parameters == NULL || (parameters->numExecAffinityParams == 0 && parameters->cigParams == NULL), CUDA_NOT_SUPPORTED);
  return cuCtxCreate_v2(out, flags, device);
}

CUresult cuCtxDestroy_v2(CUcontext target) {
  TRY(enter());
  struct context *context = handle_find(KIND_CONTEXT, target);
  REQUIRE(context != NULL && !context->is_primary, CUDA_INVALID_CONTEXT);
  handle_remove(KIND_CONTEXT, target);
  if (depth > 0 && stack[depth - 1] == (void *)target) depth--;
  end(context);
  free(context);
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext wanted) {
  TRY(enter());
  REQUIRE(handle_find(KIND_CONTEXT, wanted) != NULL, CUDA_INVALID_CONTEXT);
  REQUIRE(depth < MOST_DEPTH, CUDA_OUT_OF_MEMORY);
  stack[depth++] = wanted;
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext *out) {
  TRY(enter());
  REQUIRE(depth > 0, CUDA_INVALID_CONTEXT);
  depth--;
  if (out != NULL) *out = stack[depth];
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext wanted) {
  TRY(enter());
  if (wanted == NULL) {
    if (depth > 0) depth--;
    return CUDA_SUCCESS;
  }
  REQUIRE(handle_find(KIND_CONTEXT, wanted) != NULL, CUDA_INVALID_CONTEXT);
  if (depth == 0) depth = 1;
  stack[depth - 1] = wanted;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *out) {
  TRY(enter());
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  *out = depth == 0 ? NULL : stack[depth - 1];
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device) {
  struct context *context;
  TRY(enter_context(&context));
  REQUIRE(device != NULL, CUDA_INVALID_VALUE);
  *device = 0;
  return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void) {
  struct context *context;
  TRY(enter_context(&context));
  return wait_command(context, CMD_CTX_SYNC, 0);
}

CUresult cuCtxGetFlags(unsigned int *flags) {
  struct context *context;
  TRY(enter_context(&context));
  REQUIRE(flags != NULL, CUDA_INVALID_VALUE);
  *flags = context->flags;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetId(CUcontext target, unsigned long long *id) {
  struct context *context;
  TRY(enter_context(&context));
  if (target != NULL) context = handle_find(KIND_CONTEXT, target);
  REQUIRE(context != NULL, CUDA_INVALID_CONTEXT);
  REQUIRE(id != NULL, CUDA_INVALID_VALUE);
  *id = context->id;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  if (least != NULL) *least = 0;
  if (greatest != NULL) *greatest = 0;
  return enter();
}

/* ---- the primary context --------------------------------------------------------------------------------------------- */

static CUresult retain(void **out) {
  CUresult failed = CUDA_SUCCESS;
  if (primary == NULL) {
    primary = make(&failed);
    if (primary == NULL) return failed;
    primary->is_primary = true;
  } else if (primary->session == 0) {
    failed = begin(primary);
  }
  if (failed != CUDA_SUCCESS) return failed;
  primary_uses++;
  *out = primary->handle;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device) {
  TRY(enter());
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  REQUIRE(device == 0, CUDA_INVALID_DEVICE);
  void *handle = NULL;
  pthread_mutex_lock(&lock);
  const CUresult result = retain(&handle);
  pthread_mutex_unlock(&lock);
  *out = handle;
  return result;
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
  TRY(enter());
  REQUIRE(device == 0, CUDA_INVALID_DEVICE);
  pthread_mutex_lock(&lock);
  if (primary != NULL && primary->session != 0) end(primary);
  CUresult result = CUDA_SUCCESS;
  if (primary_uses > 0) result = begin(primary);
  pthread_mutex_unlock(&lock);
  return result;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  TRY(enter());
  REQUIRE(device == 0, CUDA_INVALID_DEVICE);
  pthread_mutex_lock(&lock);
  const bool was_used = primary_uses > 0;
  if (was_used && --primary_uses == 0) end(primary);
  pthread_mutex_unlock(&lock);
  return was_used ? CUDA_SUCCESS : CUDA_INVALID_CONTEXT;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active) {
  TRY(enter());
  REQUIRE(device == 0, CUDA_INVALID_DEVICE);
  if (flags != NULL) *flags = primary_flags;
  if (active != NULL) *active = primary_uses > 0;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned int flags) {
  TRY(enter());
  REQUIRE(device == 0, CUDA_INVALID_DEVICE);
  REQUIRE(flags < 64, CUDA_INVALID_VALUE);
  primary_flags = flags;
  return CUDA_SUCCESS;
}
