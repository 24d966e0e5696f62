/* Libraries, which are modules without a context, and the linker, which makes one image of several texts. */
#define _GNU_SOURCE
#include "state.h"

#include <stdlib.h>
#include <string.h>

/* ---- libraries ------------------------------------------------------------------------------------------------------- */

/* The module of a library in a context. With the lock held. */
static CUmodule loaded(CUcontext context, CUlibrary library) {
  CUmodule module = context->modules;
  while (module != NULL && module->library != library) module = module->next;
  return module;
}

CUresult library_module(CUcontext context, CUlibrary library, CUmodule *out) {
  struct cuda_instance *instance = context->instance;
  CUmodule module = loaded(context, library);
  if (module == NULL) {
    struct jit_log log = {.error = NULL};
    unlock(instance);
    const CUresult failed = module_load(context, &library->texts, &log, &module);
    lock(instance);
    REQUIRE(failed == CUDA_SUCCESS, failed);
    CUmodule quicker = loaded(context, library);
    if (quicker != NULL) {
      unlock(instance);
      module_unload(module);
      lock(instance);
      module = quicker;
    }
    module->library = library;
  }
  *out = module;
  return CUDA_SUCCESS;
}

void library_free(CUlibrary library) {
  struct cuda_instance *instance = library->instance;
  lock(instance);
  struct CUlib_st **place = &instance->libraries;
  while (*place != library) place = &(*place)->next;
  *place = library->next;
  handles_remove(&instance->handles, library);
  for (CUkernel kernel = library->kernels, next; kernel != NULL; kernel = next) {
    next = kernel->next;
    handles_remove(&instance->handles, kernel);
    free(kernel->name);
    free(kernel);
  }
  unlock(instance);
  texts_free(&library->texts);
  free(library);
}

/* With the lock held. */
static bool list_kernels(CUlibrary library, const struct ptx_module *code) {
  for (unsigned i = 0; i < ptx_module_kernel_count(code); i++) {
    CUkernel kernel = calloc(1, sizeof *kernel);
    if (kernel == NULL) return false;
    *kernel = (struct CUkern_st){library->kernels, library, strdup(ptx_module_kernel(code, i)->name)};
    library->kernels = kernel;
    if (kernel->name == NULL || !handles_add(&library->instance->handles, kernel, HANDLE_KERNEL)) return false;
  }
  return true;
}

CUresult cuLibraryLoadData(CUlibrary *out, const void *image, CUjit_option *options, void **values, unsigned int count,
                           CUlibraryOption *library_options, void **library_values, unsigned int library_count) {
  ENTER();
  (void)library_options, (void)library_values, (void)library_count;
  REQUIRE(out != NULL && image != NULL, CUDA_INVALID_VALUE);
  struct jit_log log;
  CUresult failed = jit_options(count, options, values, &log);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  CUlibrary library = calloc(1, sizeof *library);
  REQUIRE(library != NULL, CUDA_OUT_OF_MEMORY);
  library->instance = instance;
  failed = image_texts(instance, image, FATBIN_SIZE_UNKNOWN, &library->texts, &log);
  /* What is wrong with it is found now, though it is loaded when first used. */
  struct ptx_module *code = NULL;
  struct ptx_options load = {.log = log.error, .log_size = log.error_size};
  if (failed == CUDA_SUCCESS) failed = ptx_result(texts_load(&instance->settings, &library->texts, &load, &code));
  lock(instance);
  library->next = instance->libraries;
  instance->libraries = library;
  if (failed == CUDA_SUCCESS && !(handles_add(&instance->handles, library, HANDLE_LIBRARY) && list_kernels(library, code))) {
    failed = CUDA_OUT_OF_MEMORY;
  }
  unlock(instance);
  if (code != NULL) ptx_module_free(code);
  if (failed != CUDA_SUCCESS) {
    library_free(library);
    return failed;
  }
  *out = library;
  return CUDA_SUCCESS;
}

#define LOCKED(handle, kind)                                        \
  lock(instance);                                                   \
  if (handles_kind(&instance->handles, (handle)) != (kind)) {       \
    unlock(instance);                                               \
    return CUDA_INVALID_HANDLE;                                     \
  }

CUresult cuLibraryUnload(CUlibrary library) {
  ENTER();
  LOCKED(library, HANDLE_LIBRARY);
  for (CUcontext context = instance->contexts; context != NULL; context = context->next) {
    CUmodule module = loaded(context, library);
    if (module == NULL) continue;
    context_wait(context);
    unlock(instance);
    module_unload(module);
    lock(instance);
  }
  unlock(instance);
  library_free(library);
  return CUDA_SUCCESS;
}

CUresult cuLibraryGetKernel(CUkernel *out, CUlibrary library, const char *name) {
  ENTER();
  REQUIRE(out != NULL && name != NULL, CUDA_INVALID_VALUE);
  LOCKED(library, HANDLE_LIBRARY);
  CUkernel kernel = library->kernels;
  while (kernel != NULL && strcmp(kernel->name, name) != 0) kernel = kernel->next;
  unlock(instance);
  REQUIRE(kernel != NULL, CUDA_NOT_FOUND);
  *out = kernel;
  return CUDA_SUCCESS;
}

CUresult cuLibraryGetModule(CUmodule *out, CUlibrary library) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  LOCKED(library, HANDLE_LIBRARY);
  const CUresult result = library_module(current, library, out);
  unlock(instance);
  return result;
}

CUresult cuLibraryGetGlobal(CUdeviceptr *out, size_t *size, CUlibrary library, const char *name) {
  ENTER_CONTEXT();
  REQUIRE(name != NULL && (out != NULL || size != NULL), CUDA_INVALID_VALUE);
  LOCKED(library, HANDLE_LIBRARY);
  CUmodule module;
  CUresult result = library_module(current, library, &module);
  if (result == CUDA_SUCCESS) result = module_global(module, name, out, size);
  unlock(instance);
  return result;
}

static CUresult kernel_function(CUcontext context, CUkernel kernel, CUfunction *out) {
  CUmodule module;
  const CUresult failed = library_module(context, kernel->library, &module);
  return failed != CUDA_SUCCESS ? failed : module_function(module, kernel->name, out);
}

CUresult function_named(CUcontext context, CUfunction handle, CUfunction *out) {
  switch (handles_kind(&context->instance->handles, handle)) {
    case HANDLE_FUNCTION: *out = handle; return CUDA_SUCCESS;
    case HANDLE_KERNEL: return kernel_function(context, (CUkernel)(void *)handle, out);
    default: return CUDA_INVALID_HANDLE;
  }
}

CUresult cuKernelGetFunction(CUfunction *out, CUkernel kernel) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  LOCKED(kernel, HANDLE_KERNEL);
  const CUresult result = kernel_function(current, kernel, out);
  unlock(instance);
  return result;
}

/* ---- the linker ------------------------------------------------------------------------------------------------------ */

CUresult cuLinkCreate_v2(unsigned int count, CUjit_option *options, void **values, CUlinkState *out) {
  ENTER_CONTEXT();
  REQUIRE(out != NULL, CUDA_INVALID_VALUE);
  struct jit_log log;
  const CUresult failed = jit_options(count, options, values, &log);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  CUlinkState link = calloc(1, sizeof *link);
  REQUIRE(link != NULL, CUDA_OUT_OF_MEMORY);
  link->instance = instance;
  link->log = log;
  lock(instance);
  const bool is_known = handles_add(&instance->handles, link, HANDLE_LINK);
  if (is_known) {
    link->next = instance->links;
    instance->links = link;
  }
  unlock(instance);
  if (!is_known) free(link);
  REQUIRE(is_known, CUDA_OUT_OF_MEMORY);
  *out = link;
  return CUDA_SUCCESS;
}

/* CUjitInputType */
enum { INPUT_CUBIN, INPUT_PTX, INPUT_FATBINARY, INPUT_OBJECT, INPUT_LIBRARY, INPUT_NVVM };

static CUresult add_input(CUlinkState link, CUjitInputType type, const void *data, size_t size) {
  struct cuda_instance *instance = link->instance;
  REQUIRE(type <= INPUT_NVVM, CUDA_INVALID_VALUE);
  /* Only text can be linked: machine code and archives of it cannot. */
  REQUIRE(type == INPUT_PTX || type == INPUT_FATBINARY || type == INPUT_OBJECT, CUDA_NO_BINARY_FOR_GPU);
  REQUIRE(data != NULL && size > 0, CUDA_INVALID_VALUE);
  struct texts texts;
  const CUresult failed = image_texts(instance, data, size, &texts, &link->log);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  bool is_in = true;
  for (unsigned i = 0; i < texts.count; i++) {
    if (is_in) is_in = texts_add(&link->texts, texts.list[i]);
    if (!is_in) free(texts.list[i].text);
  }
  free(texts.list);
  return is_in ? CUDA_SUCCESS : CUDA_OUT_OF_MEMORY;
}

static bool is_link(struct cuda_instance *instance, CUlinkState link) {
  lock(instance);
  const bool result = handles_kind(&instance->handles, link) == HANDLE_LINK;
  unlock(instance);
  return result;
}

CUresult cuLinkAddData_v2(CUlinkState link, CUjitInputType type, void *data, size_t size, const char *name,
                          unsigned int count, CUjit_option *options, void **values) {
  ENTER();
  (void)name, (void)count, (void)options, (void)values;
  REQUIRE(is_link(instance, link), CUDA_INVALID_HANDLE);
  REQUIRE(link->image == NULL, CUDA_ILLEGAL_STATE);
  return add_input(link, type, data, size);
}

CUresult cuLinkAddFile_v2(CUlinkState link, CUjitInputType type, const char *path, unsigned int count,
                          CUjit_option *options, void **values) {
  ENTER();
  (void)count, (void)options, (void)values;
  REQUIRE(is_link(instance, link), CUDA_INVALID_HANDLE);
  REQUIRE(link->image == NULL, CUDA_ILLEGAL_STATE);
  REQUIRE(path != NULL, CUDA_INVALID_VALUE);
  char *bytes;
  size_t size;
  CUresult failed = module_load_file(path, &bytes, &size);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  failed = add_input(link, type, bytes, size);
  free(bytes);
  return failed;
}

CUresult cuLinkComplete(CUlinkState link, void **image, size_t *size) {
  ENTER();
  REQUIRE(is_link(instance, link), CUDA_INVALID_HANDLE);
  REQUIRE(image != NULL && link->texts.count > 0, CUDA_INVALID_VALUE);
  REQUIRE(link->image == NULL, CUDA_ILLEGAL_STATE);
  struct ptx_module *code = NULL;
  struct ptx_options load = {.log = link->log.error, .log_size = link->log.error_size};
  const CUresult failed = ptx_result(texts_load(&instance->settings, &link->texts, &load, &code));
  if (code != NULL) ptx_module_free(code);
  REQUIRE(failed == CUDA_SUCCESS, failed);
  size_t bytes;
  link->image = link_image_write(&link->texts, &bytes);
  REQUIRE(link->image != NULL, CUDA_OUT_OF_MEMORY);
  *image = link->image;
  if (size != NULL) *size = bytes;
  return CUDA_SUCCESS;
}

void link_free(CUlinkState link) {
  struct cuda_instance *instance = link->instance;
  lock(instance);
  struct CUlinkState_st **place = &instance->links;
  while (*place != link) place = &(*place)->next;
  *place = link->next;
  handles_remove(&instance->handles, link);
  unlock(instance);
  texts_free(&link->texts);
  free(link->image);
  free(link);
}

CUresult cuLinkDestroy(CUlinkState link) {
  ENTER();
  REQUIRE(is_link(instance, link), CUDA_INVALID_HANDLE);
  link_free(link);
  return CUDA_SUCCESS;
}
