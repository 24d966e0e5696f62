/* What a module holds, for people: kernels, instructions and how exact they are, and what is not known. */
#define _GNU_SOURCE
#include "busbar.h"
#include "state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* As the other libraries have it: see busbar.h. */
BB_SOFT_CUDA_API uint32_t bb_abi_version(void) { return BB_ABI_VERSION; }

struct output {
  char *text;
  uint64_t room, used;
};

__attribute__((format(printf, 2, 3))) static void put(struct output *out, const char *format, ...) {
  va_list list;
  const uint64_t left = out->used < out->room ? out->room - out->used : 0;
  va_start(list, format);
  const int length = vsnprintf(left > 0 ? out->text + out->used : NULL, left, format, list);
  va_end(list);
  if (length > 0) out->used += (uint64_t)length;
}

static void put_problem(void *argument, const struct ptx_message *message) {
  put(argument, "problem\t%d\t%u\t%s\t%s\n", ptx_result(message->error), message->line, message->spelling, message->text);
}

static void put_instruction(void *argument, const char *spelling, enum ptx_exactness exactness, uint32_t first_line,
                            uint32_t count) {
  static const char *const WORDS[] = {"exact", "approximate", "ignored"};
  put(argument, "instruction\t%s\t%u\t%u\t%s\n", WORDS[exactness], first_line, count, spelling);
}

static CUresult inspect(const struct module_text *text, const struct settings *settings, struct output *out) {
  struct texts texts = {(struct module_text *)(uintptr_t)text, 1};
  struct ptx_options options = {.keep_going = true, .message = put_problem, .context = out};
  struct ptx_module *code = NULL;
  const CUresult result = ptx_result(texts_load(settings, &texts, &options, &code));
  if (code == NULL) return result;
  put(out, "module\t%u\t%u\n", ptx_module_version(code), ptx_module_target(code));
  for (unsigned i = 0; i < ptx_module_kernel_count(code); i++) {
    const struct ptx_kernel_info *kernel = ptx_module_kernel(code, i);
    put(out, "kernel\t%s\t%u\t%u\t%u\t%u\t%u\n", kernel->name, kernel->registers, kernel->static_shared, kernel->local_bytes,
        kernel->stack_bytes, kernel->parameter_count);
  }
  ptx_module_instructions(code, put_instruction, out);
  ptx_module_free(code);
  return result;
}

int32_t bb_soft_cuda_inspect(const void *image, uint64_t size, uint32_t capability, char *out, uint64_t out_size,
                             uint64_t *needed) {
  if (image == NULL || size == 0 || needed == NULL || (out == NULL && out_size > 0)) return -EINVAL;
  struct output output = {out, out_size, 0};
  struct module_text text;
  char why[FATBIN_WORDS];
  CUresult result = (CUresult)fatbin_read(image, size, capability, &text, why);
  if (result != CUDA_SUCCESS) {
    put(&output, "problem\t%d\t0\t\t%s\n", result, why);
  } else {
    const struct settings settings = {.capability = capability, .version = 13000};
    result = inspect(&text, &settings, &output);
    free(text.text);
  }
  *needed = output.used;
  return result;
}
