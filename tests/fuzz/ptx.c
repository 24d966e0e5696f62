/*
 * libFuzzer target: any bytes as PTX. What loads is run, with a budget of instructions and one page of memory; nothing may
 * crash, hang, or touch memory that is not the kernel's.
 */
#include "ptx/ptx.h"

#include <stdlib.h>
#include <string.h>

enum { MEMORY_BYTES = 4096, BUDGET = 20000, PARAMETERS = 1 << 16, MOST_SLICES = 1000 };

/* Device addresses are those of host memory, as on the software device. */
struct memory {
  uint8_t *bytes;
  uint8_t *variables;
  uint64_t variable_bytes;
};

static bool find(void *context, uint64_t address, struct ptx_region *out) {
  const struct memory *memory = context;
  const uint64_t bytes = (uint64_t)(uintptr_t)memory->bytes, variables = (uint64_t)(uintptr_t)memory->variables;
  if (address >= bytes && address - bytes < MEMORY_BYTES) {
    *out = (struct ptx_region){.address = bytes, .size = MEMORY_BYTES, .host = memory->bytes};
    return true;
  }
  if (address >= variables && address - variables < memory->variable_bytes) {
    *out = (struct ptx_region){.address = variables, .size = memory->variable_bytes, .host = memory->variables};
    return true;
  }
  return false;
}

static void print(void *context, const char *text, size_t length) {
  (void)context;
  /* Every byte is read, so that a sanitizer sees one that is not there. */
  volatile char sum = 0;
  for (size_t i = 0; i < length; i++) sum = (char)(sum + text[i]);
}

/* Places all variables one after the other. False: too large for a test. */
static bool place(struct ptx_module *module, struct memory *memory) {
  const unsigned count = ptx_module_variable_count(module);
  uint64_t size = 64;
  for (unsigned i = 0; i < count; i++) {
    const struct ptx_variable *variable = ptx_module_variable(module, i);
    if (variable->size > 1 << 20 || size > 1 << 22) return false;
    const uint64_t align = variable->align == 0 ? 1 : variable->align;
    size = (size + align - 1) / align * align + variable->size;
  }
  memory->variable_bytes = size;
  memory->variables = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
  if (memory->variables == NULL) return false;
  memset(memory->variables, 0, size);
  uint64_t at = 64;
  for (unsigned i = 0; i < count; i++) {
    const struct ptx_variable *variable = ptx_module_variable(module, i);
    const uint64_t align = variable->align == 0 ? 1 : variable->align;
    at = (at + align - 1) / align * align;
    if (align > 4096) return false;
    ptx_module_place(module, i, (uint64_t)(uintptr_t)memory->variables + at);
    at += variable->size;
  }
  if (ptx_module_link(module) != PTX_OK) return false;
  at = 64;
  for (unsigned i = 0; i < count; i++) {
    const struct ptx_variable *variable = ptx_module_variable(module, i);
    const uint64_t align = variable->align == 0 ? 1 : variable->align;
    at = (at + align - 1) / align * align;
    ptx_module_initial_bytes(module, i, memory->variables + at);
    at += variable->size;
  }
  return true;
}

static void run(const struct ptx_module *module, unsigned kernel, struct memory *memory) {
  const struct ptx_kernel_info *info = ptx_module_kernel(module, kernel);
  if (info->static_shared > 1 << 20 || info->stack_bytes > 1 << 20 || info->local_bytes > 1 << 20) return;
  static uint64_t parameters[PARAMETERS / 8];
  /* Every parameter may be a pointer. */
  for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) parameters[i] = (uint64_t)(uintptr_t)memory->bytes;
  const struct ptx_launch_config config = {
      .module = module,
      .kernel = kernel,
      .grid = {2, 1, 1},
      .block = {info->required_block[0] > 0 && info->required_block[0] <= 64 ? info->required_block[0] : 40, 1, 1},
      .dynamic_shared = 256,
      .parameters = parameters,
      .stack_bytes = 4096,
      .multiprocessors = 4,
      .clock_khz = 1000000,
      .budget = BUDGET,
      .isa = ptx_isa_best(),
      .memory = {.find = find, .context = memory},
      .hooks = {.print = print},
  };
  struct ptx_launch *launch = NULL;
  struct ptx_runner *runner = ptx_runner_create();
  if (runner != NULL && ptx_launch_create(&config, &launch) == PTX_OK) {
    unsigned slices = 0;
    for (enum ptx_run state = PTX_RUN_MORE; state == PTX_RUN_MORE || state == PTX_RUN_IDLE;) {
      if (++slices > MOST_SLICES) ptx_launch_cancel(launch);
      state = ptx_launch_run(launch, runner, 256);
    }
    ptx_launch_free(launch);
  }
  ptx_runner_free(runner);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  /* Exactly as long as it is: a byte read behind its end is seen. */
  char *text = malloc(size == 0 ? 1 : size);
  if (text == NULL) return 0;
  memcpy(text, data, size);
  char log[256];
  const struct ptx_source source = {.text = text, .length = size, .name = "input"};
  const struct ptx_options options = {
      .capability = 100, .version_limit = 90, .log = log, .log_size = sizeof log, .keep_going = (size & 1) != 0};
  struct ptx_module *module = NULL;
  if (ptx_module_load(&source, 1, &options, &module) == PTX_OK) {
    struct memory memory = {.bytes = aligned_alloc(4096, MEMORY_BYTES)};
    if (memory.bytes != NULL && place(module, &memory)) {
      memset(memory.bytes, 0x5a, MEMORY_BYTES);
      for (unsigned i = 0; i < ptx_module_kernel_count(module) && i < 4; i++) run(module, i, &memory);
    }
    free(memory.bytes);
    free(memory.variables);
    ptx_module_free(module);
  } else if (memchr(log, 0, sizeof log) == NULL) {
    abort(); /* a log without an end */
  }
  free(text);
  return 0;
}
