/* Modules, kernels, launches. */
#define _GNU_SOURCE
#include "shim.h"
#include "soft/cuda/fatbin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* CUjit_option */
enum { JIT_ERROR_LOG = 5, JIT_ERROR_LOG_SIZE = 6 };

struct log {
  char *text;
  size_t size;
};

static void tell(struct log log, const char *words) {
  if (log.text != NULL && log.size > 0) snprintf(log.text, log.size, "%s", words);
}

static CUresult load_text(struct context *context, const struct module_text *text, struct log log, CUmodule *out) {
  const uint64_t size = text->size + 1;
  struct request request = {.code = CMD_MODULE_LOAD_PTX, .data = text->text, .data_size = size};
  if (size > window.data_bytes) {
    const uint64_t room = window.bulk_bytes > 0 ? window.bulk_bytes : window.bar4_bytes;
    if (size > room) {
      tell(log, "the PTX is longer than the device takes");
      return CUDA_OUT_OF_MEMORY;
    }
    request = (struct request){.code = CMD_MODULE_LOAD_BULK, .params = {0, size}, .bulk = text->text, .bulk_size = size};
  }
  const CUresult result = run(context, &request);
  if (result == CUDA_INVALID_PTX) {
    char words[8192] = "";
    struct request ask = {.code = CMD_LOG_READ, .params = {1}, .read = words, .read_size = sizeof words - 1};
    if (run(context, &ask) == CUDA_SUCCESS && ask.results[0] < sizeof words) words[ask.results[0]] = '\0';
    else words[0] = '\0';
    tell(log, words);
  }
  if (result != CUDA_SUCCESS) return result;
  struct module *module = calloc(1, sizeof *module);
  REQUIRE(module != NULL, CUDA_OUT_OF_MEMORY);
  *module = (struct module){context, (uint32_t)request.results[0]};
  *out = handle_add(KIND_MODULE, module);
  return *out == NULL ? CUDA_OUT_OF_MEMORY : CUDA_SUCCESS;
}

static CUresult load(const void *image, size_t size, struct log log, CUmodule *out) {
  struct context *context;
  TRY(enter_context(&context));
  REQUIRE(image != NULL && out != NULL, CUDA_INVALID_VALUE);
  struct module_text text;
  char why[FATBIN_WORDS];
  const uint32_t capability = 10 * window_read32(REG_CC_MAJOR) + window_read32(REG_CC_MINOR);
  CUresult result = fatbin_read(image, size, capability, &text, why);
  if (result != CUDA_SUCCESS) {
    tell(log, why);
    if (why[0] != '\0') fprintf(stderr, "busbar cuda: %d: %s\n", (int)result, why);
    return result;
  }
  result = load_text(context, &text, log, out);
  free(text.text);
  return result;
}

CUresult cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned int count, CUjit_option *options, void **values) {
  struct log log = {NULL, 0};
  REQUIRE(count == 0 || (options != NULL && values != NULL), CUDA_INVALID_VALUE);
  for (unsigned int i = 0; i < count; i++) {
    if (options[i] == JIT_ERROR_LOG) log.text = values[i];
    /* Sizes stand in the slots themselves. */
    if (options[i] == JIT_ERROR_LOG_SIZE) log.size = (uint32_t)(uintptr_t)values[i];
  }
  return load(image, FATBIN_SIZE_UNKNOWN, log, out);
}
CUresult cuModuleLoadData(CUmodule *out, const void *image) { return cuModuleLoadDataEx(out, image, 0, NULL, NULL); }
CUresult cuModuleLoadFatBinary(CUmodule *out, const void *image) { return cuModuleLoadDataEx(out, image, 0, NULL, NULL); }

CUresult cuModuleLoad(CUmodule *out, const char *path) {
  TRY(enter());
  REQUIRE(path != NULL, CUDA_INVALID_VALUE);
  FILE *file = fopen(path, "re");
  REQUIRE(file != NULL, CUDA_FILE_NOT_FOUND);
  char *bytes = malloc(FATBIN_MOST_TEXT);
  const size_t size = bytes == NULL ? 0 : fread(bytes, 1, FATBIN_MOST_TEXT - 1, file);
  fclose(file);
  CUresult result = CUDA_OUT_OF_MEMORY;
  if (bytes != NULL) {
    bytes[size] = '\0';
    result = size == 0 ? 200 : load(bytes, size, (struct log){NULL, 0}, out);
  }
  free(bytes);
  return result;
}

CUresult cuModuleUnload(CUmodule handle) {
  struct context *context;
  TRY(enter_context(&context));
  struct module *module = handle_find(KIND_MODULE, handle);
  REQUIRE(module != NULL && module->context == context, CUDA_INVALID_HANDLE);
  TRY(context->has_work ? wait_command(context, CMD_CTX_SYNC, 0) : CUDA_SUCCESS);
  handle_remove(KIND_MODULE, handle);
  const CUresult result = run4(context, CMD_MODULE_UNLOAD, module->index, 0, 0, 0);
  /* Its kernels stay in the table and say 400; the module's record stays with them until the context ends. */
  module->index = UINT32_MAX;
  return result;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *out, size_t *size, CUmodule handle, const char *name) {
  struct context *context;
  TRY(enter_context(&context));
  const struct module *module = handle_find(KIND_MODULE, handle);
  REQUIRE(module != NULL && module->context == context, CUDA_INVALID_HANDLE);
  REQUIRE(name != NULL, CUDA_INVALID_VALUE);
  struct request request = {.code = CMD_MODULE_GET_GLOBAL, .params = {module->index}, .data = name,
                            .data_size = strlen(name) + 1};
  REQUIRE(request.data_size <= 4096, CUDA_NOT_FOUND);
  TRY(run(context, &request));
  if (out != NULL) *out = request.results[0];
  if (size != NULL) *size = request.results[1];
  return CUDA_SUCCESS;
}

/* Sizes and places of a kernel's parameters come from the device, once. */
static CUresult describe(struct context *context, struct function *function) {
  uint32_t rows[2 * 1024];
  struct request request = {.code = CMD_FUNC_INFO, .params = {function->index}, .read = rows, .read_size = sizeof rows};
  TRY(run(context, &request));
  REQUIRE(request.results[0] <= 1024, CUDA_UNKNOWN);
  function->parameters = (uint32_t)request.results[0];
  function->shared = (uint32_t)request.results[1];
  function->local = (uint32_t)request.results[2];
  function->most_threads = (uint32_t)request.results[3];
  function->places = malloc(8 * (size_t)function->parameters + 1);
  REQUIRE(function->places != NULL, CUDA_OUT_OF_MEMORY);
  memcpy(function->places, rows, 8 * (size_t)function->parameters);
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *out, CUmodule handle, const char *name) {
  struct context *context;
  TRY(enter_context(&context));
  struct module *module = handle_find(KIND_MODULE, handle);
  REQUIRE(module != NULL && module->context == context, CUDA_INVALID_HANDLE);
  REQUIRE(out != NULL && name != NULL, CUDA_INVALID_VALUE);
  struct request request = {.code = CMD_FUNC_GET, .params = {module->index}, .data = name, .data_size = strlen(name) + 1};
  REQUIRE(request.data_size <= 4096, CUDA_NOT_FOUND);
  TRY(run(context, &request));
  struct function *function = calloc(1, sizeof *function);
  REQUIRE(function != NULL, CUDA_OUT_OF_MEMORY);
  *function = (struct function){.context = context, .module = module, .index = (uint32_t)request.results[0]};
  function->name = strdup(name);
  const CUresult failed = describe(context, function);
  if (failed != CUDA_SUCCESS) {
    free(function->name);
    free(function);
    return failed;
  }
  *out = handle_add(KIND_FUNCTION, function);
  return *out == NULL ? CUDA_OUT_OF_MEMORY : CUDA_SUCCESS;
}

static CUresult function_of(CUfunction handle, struct context **context, struct function **out) {
  TRY(enter_context(context));
  *out = handle_find(KIND_FUNCTION, handle);
  return *out != NULL && (*out)->context == *context ? CUDA_SUCCESS : CUDA_INVALID_HANDLE;
}

CUresult cuFuncGetParamInfo(CUfunction handle, size_t index, size_t *offset, size_t *size) {
  struct context *context;
  struct function *function;
  TRY(function_of(handle, &context, &function));
  REQUIRE(index < function->parameters && offset != NULL, CUDA_INVALID_VALUE);
  *offset = function->places[2 * index];
  if (size != NULL) *size = function->places[2 * index + 1];
  return CUDA_SUCCESS;
}

CUresult cuFuncGetName(const char **name, CUfunction handle) {
  struct context *context;
  struct function *function;
  TRY(function_of(handle, &context, &function));
  REQUIRE(name != NULL, CUDA_INVALID_VALUE);
  *name = function->name;
  return CUDA_SUCCESS;
}

/* CUfunction_attribute: what the device tells of a kernel. */
CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction handle) {
  struct context *context;
  struct function *function;
  TRY(function_of(handle, &context, &function));
  REQUIRE(value != NULL, CUDA_INVALID_VALUE);
  switch (attribute) {
    case 0: *value = (int)function->most_threads; return CUDA_SUCCESS;
    case 1: *value = (int)function->shared; return CUDA_SUCCESS;
    case 3: *value = (int)function->local; return CUDA_SUCCESS;
    default: return attribute < 16 ? CUDA_NOT_SUPPORTED : CUDA_INVALID_VALUE;
  }
}

CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
  struct context *context;
  struct function *function;
  TRY(function_of(handle, &context, &function));
  return run4(context, CMD_FUNC_SET_ATTRIBUTE, function->index, attribute, (uint32_t)value, 0);
}

CUresult cuFuncSetCacheConfig(CUfunction handle, CUfunc_cache config) {
  struct context *context;
  struct function *function;
  TRY(function_of(handle, &context, &function));
  return config < 4 ? CUDA_SUCCESS : CUDA_INVALID_VALUE;
}

/* Fills slots from an array of pointers, or from a packed buffer. */
static CUresult gather(const struct function *function, void **params, void **extra, uint8_t *slots, uint32_t *count) {
  const uint8_t *packed = NULL;
  size_t size = 0;
  for (uint32_t i = 0; extra != NULL && extra[i] != NULL; i += 2) {
    /* CU_LAUNCH_PARAM_BUFFER_POINTER, CU_LAUNCH_PARAM_BUFFER_SIZE */
    if (extra[i] == (void *)1) packed = extra[i + 1];
    else if (extra[i] == (void *)2 && extra[i + 1] != NULL) size = *(const size_t *)extra[i + 1];
    else return CUDA_INVALID_VALUE;
  }
  REQUIRE(params == NULL || packed == NULL, CUDA_INVALID_VALUE);
  REQUIRE(function->parameters == 0 || params != NULL || packed != NULL, CUDA_INVALID_VALUE);
  *count = 0;
  for (uint32_t i = 0; i < function->parameters; i++) {
    const size_t offset = function->places[2 * i], bytes = function->places[2 * i + 1], needs = (bytes + 7) / 8;
    REQUIRE(needs <= TYPE2_MOST_SLOTS - *count, CUDA_INVALID_VALUE);
    REQUIRE(packed == NULL || (offset <= size && bytes <= size - offset), CUDA_INVALID_VALUE);
    REQUIRE(packed != NULL || params[i] != NULL, CUDA_INVALID_VALUE);
    memset(slots + 8 * (size_t)*count, 0, 8 * needs);
    memcpy(slots + 8 * (size_t)*count, packed != NULL ? packed + offset : params[i], bytes);
    *count += (uint32_t)needs;
  }
  return CUDA_SUCCESS;
}

static uint64_t halves(uint32_t low, uint32_t high) { return (uint64_t)high << 32 | low; }

CUresult cuLaunchKernel(CUfunction handle, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
                        unsigned int by, unsigned int bz, unsigned int shared, CUstream stream, void **params,
                        void **extra) {
  struct context *context;
  struct function *function;
  uint64_t index;
  uint32_t count;
  _Alignas(8) uint8_t slots[8 * TYPE2_MOST_SLOTS];
  TRY(function_of(handle, &context, &function));
  REQUIRE(function->module->index != UINT32_MAX, CUDA_INVALID_HANDLE);
  TRY(stream_index(context, stream, &index));
  TRY(gather(function, params, extra, slots, &count));
  context->has_work = context->has_text = true;
  CUresult result;
  /* "Not ready": the queue of launches is full. */
  do {
    struct request request = {.code = CMD_LAUNCH_KERNEL,
                              .params = {function->index, halves(gx, gy), halves(gz, bx), halves(by, bz),
                                         halves(shared, count), index},
                              .data = slots,
                              .data_size = 8 * (uint64_t)count};
    result = run(context, &request);
  } while (result == CUDA_NOT_READY);
  return result;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **params, void **extra) {
  REQUIRE(config != NULL, CUDA_INVALID_VALUE);
  REQUIRE(config->numAttrs == 0, CUDA_NOT_SUPPORTED);
  return cuLaunchKernel(function, config->gridDimX, config->gridDimY, config->gridDimZ, config->blockDimX,
                        config->blockDimY, config->blockDimZ, config->sharedMemBytes, config->hStream, params, extra);
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode *mode) {
  TRY(enter());
  REQUIRE(mode != NULL, CUDA_INVALID_VALUE);
  *mode = 1; /* CU_MODULE_EAGER_LOADING */
  return CUDA_SUCCESS;
}
