/* Modules: from an image to code and variables in a context, and their functions. */
#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- options --------------------------------------------------------------------------------------------------------- */

/* CUjit_option */
enum { JIT_WALL_TIME = 2, JIT_INFO_LOG = 3, JIT_INFO_SIZE = 4, JIT_ERROR_LOG = 5, JIT_ERROR_SIZE = 6, JIT_LAST = 34 };

CUresult jit_options(unsigned count, const CUjit_option *options, void **values, struct jit_log *out) {
  *out = (struct jit_log){.error = NULL};
  REQUIRE(count == 0 || (options != NULL && values != NULL), CUDA_INVALID_VALUE);
  for (unsigned i = 0; i < count; i++) {
    switch (options[i]) {
      case JIT_WALL_TIME: out->wall_slot = &values[i]; break;
      case JIT_INFO_LOG: out->info = values[i]; break;
      case JIT_INFO_SIZE: out->info_size = (size_t)(uintptr_t)values[i]; out->info_slot = &values[i]; break;
      case JIT_ERROR_LOG: out->error = values[i]; break;
      case JIT_ERROR_SIZE: out->error_size = (size_t)(uintptr_t)values[i]; out->error_slot = &values[i]; break;
      default: REQUIRE(options[i] < JIT_LAST, CUDA_INVALID_VALUE);
    }
  }
  if (out->info == NULL) out->info_size = 0;
  if (out->error == NULL) out->error_size = 0;
  if (out->info_size > 0) out->info[0] = '\0';
  if (out->error_size > 0) out->error[0] = '\0';
  return CUDA_SUCCESS;
}

/* The sizes come back as what was written. */
static void finish_log(struct jit_log *log, uint64_t start_ns) {
  if (log->info_slot != NULL) *log->info_slot = (void *)(uintptr_t)(log->info_size > 0 ? strlen(log->info) : 0);
  if (log->error_slot != NULL) *log->error_slot = (void *)(uintptr_t)(log->error_size > 0 ? strlen(log->error) : 0);
  if (log->wall_slot != NULL) {
    const float ms = (float)((double)(now_ns() - start_ns) / 1e6);
    memcpy(log->wall_slot, &ms, sizeof ms);
  }
}

CUresult ptx_result(enum ptx_error error) {
  switch (error) {
    case PTX_OK: return CUDA_SUCCESS;
    case PTX_ERROR_NOT_PTX: return CUDA_INVALID_IMAGE;
    case PTX_ERROR_VERSION: return CUDA_UNSUPPORTED_PTX_VERSION;
    case PTX_ERROR_MEMORY: return CUDA_OUT_OF_MEMORY;
    default: return CUDA_INVALID_PTX;
  }
}

/* The newest .version that a driver of a CUDA version accepts: each has the one that its toolkit writes. */
unsigned ptx_version_limit(uint32_t driver) {
  const uint32_t major = driver / 1000, minor = driver % 1000 / 10;
  if (major >= 13) return 90 + minor;
  if (major == 12) return 80 + (minor > 9 ? 9 : minor);
  if (major == 11) return 70 + minor;
  return major == 10 ? 63 + minor : 60;
}

/* ---- loading --------------------------------------------------------------------------------------------------------- */

static CUresult place_variables(CUmodule module) {
  module->variable_count = ptx_module_variable_count(module->code);
  module->variables = calloc(module->variable_count + 1, sizeof *module->variables);
  REQUIRE(module->variables != NULL, CUDA_OUT_OF_MEMORY);
  lock(module->context->instance);
  CUresult failed = CUDA_SUCCESS;
  for (unsigned i = 0; failed == CUDA_SUCCESS && i < module->variable_count; i++) {
    const struct ptx_variable *variable = ptx_module_variable(module->code, i);
    const enum memory_use use = variable->space == PTX_SPACE_CONST ? USE_CONSTANT : USE_VARIABLE;
    failed = memory_allocate(module->context, MEMORY_DEVICE, use, variable->size == 0 ? 1 : variable->size, 0, NULL,
                             &module->variables[i]);
    if (failed == CUDA_SUCCESS) ptx_module_place(module->code, i, module->variables[i]->address);
  }
  unlock(module->context->instance);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  failed = ptx_result(ptx_module_link(module->code));
  REQUIRE(failed == CUDA_SUCCESS, failed);
  for (unsigned i = 0; i < module->variable_count; i++) {
    const struct ptx_variable *variable = ptx_module_variable(module->code, i);
    if (variable->initialised) ptx_module_initial_bytes(module->code, i, module->variables[i]->host);
    else memset(module->variables[i]->host, 0, variable->size);
  }
  return CUDA_SUCCESS;
}

static CUresult list_functions(CUmodule module) {
  module->function_count = ptx_module_kernel_count(module->code);
  module->functions = calloc(module->function_count + 1, sizeof *module->functions);
  REQUIRE(module->functions != NULL, CUDA_OUT_OF_MEMORY);
  for (unsigned i = 0; i < module->function_count; i++) {
    module->functions[i] =
        (struct CUfunc_st){.module = module, .index = i, .info = ptx_module_kernel(module->code, i), .carve_out = -1};
    module->functions[i].dynamic_limit = SHARED_BYTES;
  }
  return CUDA_SUCCESS;
}

static CUresult keep_for_counting(CUmodule module, const struct texts *texts) {
  module->text = strdup(texts->list[0].text);
  REQUIRE(module->text != NULL, CUDA_OUT_OF_MEMORY);
  module->count_lines = 1;
  for (const char *at = module->text; *at != '\0'; at++) module->count_lines += *at == '\n';
  module->counts = calloc((size_t)module->count_lines + 1, sizeof *module->counts);
  return module->counts == NULL ? CUDA_OUT_OF_MEMORY : CUDA_SUCCESS;
}

static void discard_module(CUmodule module) {
  struct cuda_instance *instance = module->context->instance;
  lock(instance);
  for (unsigned i = 0; module->variables != NULL && i < module->variable_count; i++) {
    if (module->variables[i] != NULL) memory_free(module->variables[i]);
  }
  for (unsigned i = 0; module->functions != NULL && i < module->function_count; i++) {
    handles_remove(&instance->handles, &module->functions[i]);
  }
  unlock(instance);
  if (module->code != NULL) ptx_module_free(module->code);
  free(module->variables);
  free(module->functions);
  free(module->text);
  free(module->counts);
  free(module);
}

enum ptx_error texts_load(const struct settings *settings, const struct texts *texts, struct ptx_options *options,
                          struct ptx_module **out) {
  struct ptx_source *sources = calloc(texts->count, sizeof *sources);
  if (sources == NULL) return PTX_ERROR_MEMORY;
  for (unsigned i = 0; i < texts->count; i++) {
    sources[i] = (struct ptx_source){texts->list[i].text, texts->list[i].size, NULL};
  }
  options->capability = settings->capability;
  options->version_limit = ptx_version_limit(settings->version);
  const enum ptx_error result = ptx_module_load(sources, texts->count, options, out);
  free(sources);
  return result;
}

CUresult module_load(CUcontext context, const struct texts *texts, struct jit_log *log, CUmodule *out) {
  struct cuda_instance *instance = context->instance;
  const uint64_t start = now_ns();
  CUmodule module = calloc(1, sizeof *module);
  REQUIRE(module != NULL, CUDA_OUT_OF_MEMORY);
  module->context = context;
  char own_log[1024] = "";
  struct ptx_options options = {.log = log->error_size > 0 ? log->error : own_log,
                                .log_size = log->error_size > 0 ? log->error_size : sizeof own_log};
  CUresult failed = ptx_result(texts_load(&instance->settings, texts, &options, &module->code));
  /* Who gives no room for the assembler's words reads them here. */
  if (failed != CUDA_SUCCESS && log->error_size == 0 && own_log[0] != '\0') {
    own_log[strcspn(own_log, "\n")] = '\0';
    say(instance, "%d: %s", failed, own_log);
  }
  if (failed == CUDA_SUCCESS) failed = place_variables(module);
  if (failed == CUDA_SUCCESS) failed = list_functions(module);
  if (failed == CUDA_SUCCESS && instance->settings.count_lines) failed = keep_for_counting(module, texts);
  finish_log(log, start);
  if (failed == CUDA_SUCCESS) {
    lock(instance);
    print_flush(context);
    if (handles_add(&instance->handles, module, HANDLE_MODULE)) {
      module->next = context->modules;
      context->modules = module;
    } else {
      failed = CUDA_OUT_OF_MEMORY;
    }
    unlock(instance);
  }
  if (failed != CUDA_SUCCESS) {
    discard_module(module);
    return failed;
  }
  *out = module;
  return CUDA_SUCCESS;
}

/* How often each line of the modules ran: the whole text's hash, line and count, separated by tabs. */
void counts_write(CUmodule module) {
  const char *path = module->context->instance->settings.count;
  if (module->counts == NULL || *path == '\0') return;
  FILE *file = fopen(path, "ae");
  if (file == NULL) return;
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (const char *at = module->text; *at != '\0'; at++) hash = (hash ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
  for (uint32_t line = 1; line <= module->count_lines; line++) {
    if (module->counts[line] == 0) continue;
    fprintf(file, "%016llx\t%u\t%llu\n", (unsigned long long)hash, line, (unsigned long long)module->counts[line]);
    module->counts[line] = 0;
  }
  fclose(file);
}

void module_unload(CUmodule module) {
  struct cuda_instance *instance = module->context->instance;
  lock(instance);
  print_flush(module->context);
  counts_write(module);
  handles_remove(&instance->handles, module);
  struct CUmod_st **place = &module->context->modules;
  while (*place != module) place = &(*place)->next;
  *place = module->next;
  unlock(instance);
  discard_module(module);
}

CUresult module_load_file(const char *path, char **bytes, size_t *size) {
  FILE *file = fopen(path, "re");
  if (file == NULL) return errno == ENOENT ? CUDA_FILE_NOT_FOUND : CUDA_OPERATING_SYSTEM;
  struct stat info;
  CUresult result = CUDA_OPERATING_SYSTEM;
  enum { MOST_BYTES = 1 << 30 };
  if (fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode) && info.st_size < MOST_BYTES) {
    *size = (size_t)info.st_size;
    *bytes = calloc(1, *size + 1);
    result = *bytes == NULL ? CUDA_OUT_OF_MEMORY : CUDA_SUCCESS;
    if (result == CUDA_SUCCESS && fread(*bytes, 1, *size, file) != *size) {
      free(*bytes);
      result = CUDA_OPERATING_SYSTEM;
    }
  }
  fclose(file);
  return result;
}

/* ---- the driver's functions ------------------------------------------------------------------------------------------ */

static CUresult load_image(CUcontext current, CUmodule *out, const void *image, size_t size, struct jit_log *log) {
  REQUIRE(out != NULL && image != NULL, CUDA_INVALID_VALUE);
  struct texts texts;
  CUresult failed = image_texts(current->instance, image, size, &texts, log);
  if (failed == CUDA_SUCCESS) failed = module_load(current, &texts, log, out);
  else finish_log(log, now_ns());
  texts_free(&texts);
  return failed;
}

CUresult cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned int count, CUjit_option *options, void **values) {
  ENTER_CONTEXT();
  struct jit_log log;
  const CUresult failed = jit_options(count, options, values, &log);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  return load_image(current, out, image, FATBIN_SIZE_UNKNOWN, &log);
}

CUresult cuModuleLoadData(CUmodule *out, const void *image) {
  ENTER_CONTEXT();
  struct jit_log log = {.error = NULL};
  return load_image(current, out, image, FATBIN_SIZE_UNKNOWN, &log);
}

CUresult cuModuleLoadFatBinary(CUmodule *out, const void *image) {
  ENTER_CONTEXT();
  struct jit_log log = {.error = NULL};
  return load_image(current, out, image, FATBIN_SIZE_UNKNOWN, &log);
}

CUresult cuModuleLoad(CUmodule *out, const char *path) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL && path != NULL, CUDA_INVALID_VALUE);
  char *bytes;
  size_t size;
  CUresult failed = module_load_file(path, &bytes, &size);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  struct jit_log log = {.error = NULL};
  failed = size == 0 ? CUDA_INVALID_IMAGE : load_image(current, out, bytes, size, &log);
  free(bytes);
  return failed;
}

static bool is_module(struct cuda_instance *instance, CUmodule module) {
  lock(instance);
  const bool result = handles_kind(&instance->handles, module) == HANDLE_MODULE;
  unlock(instance);
  return result;
}

CUresult cuModuleUnload(CUmodule module) {
  ENTER_CONTEXT();
  REQUIRE(is_module(instance, module) && module->context == current && module->library == NULL, CUDA_INVALID_HANDLE);
  lock(instance);
  const CUresult failed = context_wait(current);
  unlock(instance);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  module_unload(module);
  return CUDA_SUCCESS;
}

/* A kernel of a module as a handle. With the lock held. */
static CUresult give_function(CUmodule module, unsigned index, CUfunction *out) {
  struct cuda_instance *instance = module->context->instance;
  CUfunction function = &module->functions[index];
  if (handles_kind(&instance->handles, function) == HANDLE_NONE &&
      !handles_add(&instance->handles, function, HANDLE_FUNCTION)) {
    return CUDA_OUT_OF_MEMORY;
  }
  *out = function;
  return CUDA_SUCCESS;
}

CUresult module_function(CUmodule module, const char *name, CUfunction *out) {
  const int index = ptx_module_find_kernel(module->code, name);
  return index < 0 ? CUDA_NOT_FOUND : give_function(module, (unsigned)index, out);
}

/* A variable of a module: the visible one of that name, else one that only its own text sees, as static ones in C are. */
static int find_variable(const struct ptx_module *code, const char *name) {
  const int visible = ptx_module_find_variable(code, name);
  for (unsigned i = 0; visible < 0 && i < ptx_module_variable_count(code); i++) {
    if (strcmp(ptx_module_variable(code, i)->name, name) == 0) return (int)i;
  }
  return visible;
}

CUresult module_global(CUmodule module, const char *name, CUdeviceptr *out, size_t *size) {
  const int index = find_variable(module->code, name);
  REQUIRE(index >= 0, CUDA_NOT_FOUND);
  if (out != NULL) *out = module->variables[index]->address;
  if (size != NULL) *size = ptx_module_variable(module->code, (unsigned)index)->size;
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *out, CUmodule module, const char *name) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL && name != NULL, CUDA_INVALID_VALUE);
  REQUIRE(is_module(instance, module), CUDA_INVALID_HANDLE);
  lock(instance);
  const CUresult result = module_function(module, name, out);
  unlock(instance);
  return result;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *out, size_t *size, CUmodule module, const char *name) {
  ENTER_CONTEXT();
  REQUIRE(name != NULL && (out != NULL || size != NULL), CUDA_INVALID_VALUE);
  REQUIRE(is_module(instance, module), CUDA_INVALID_HANDLE);
  return module_global(module, name, out, size);
}

CUresult cuModuleGetFunctionCount(unsigned int *count, CUmodule module) {
  ENTER_CONTEXT();
  REQUIRE(count != NULL, CUDA_INVALID_VALUE);
  REQUIRE(is_module(instance, module), CUDA_INVALID_HANDLE);
  *count = module->function_count;
  return CUDA_SUCCESS;
}

CUresult cuModuleEnumerateFunctions(CUfunction *functions, unsigned int count, CUmodule module) {
  ENTER_CONTEXT();
  REQUIRE(functions != NULL && count > 0, CUDA_INVALID_VALUE);
  REQUIRE(is_module(instance, module), CUDA_INVALID_HANDLE);
  lock(instance);
  CUresult failed = CUDA_SUCCESS;
  for (unsigned i = 0; failed == CUDA_SUCCESS && i < count && i < module->function_count; i++) {
    failed = give_function(module, i, &functions[i]);
  }
  unlock(instance);
  return failed;
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode *mode) {
  enum { EAGER = 1 };
  ENTER();
  REQUIRE(mode != NULL, CUDA_INVALID_VALUE);
  *mode = EAGER;
  return CUDA_SUCCESS;
}
