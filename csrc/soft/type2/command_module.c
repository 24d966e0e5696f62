/* Commands: modules, kernels, launches. */
#define _GNU_SOURCE
#include "device.h"

#include <stdlib.h>
#include <string.h>

/* CUjit_option, CUfunction_attribute */
enum { ERROR_LOG = 5, ERROR_LOG_SIZE = 6 };
enum { ATTRIBUTE_MOST_THREADS = 0, ATTRIBUTE_SHARED = 1, ATTRIBUTE_LOCAL = 3 };

/* Only PTX text: drivers know a fat binary (50 ED 55 BA, or B1 43 62 46) and machine code (7F 45) by their first bytes, and
 * would read it by lengths that it states itself. */
static bool is_text(const char *text) {
  for (int i = 0; i < 4 && text[i] != '\0'; i++) {
    if (text[i] == '\x7f' || (unsigned char)text[i] >= 0x80) return false;
  }
  return true;
}

static uint32_t load(struct type2 *device, struct command *command, char *text) {
  struct session *session = command->session;
  if (text == NULL) return TYPE2_INVALID_PTX;
  uint32_t result = session_enter(device, session);
  if (result == 0 && session->module_count == MOST_MODULES) result = TYPE2_OUT_OF_MEMORY;
  if (result == 0 && !is_text(text)) result = TYPE2_INVALID_PTX;
  if (result == 0) {
    CUmodule module = NULL;
    session->load_log[0] = '\0';
    uint32_t options[] = {ERROR_LOG, ERROR_LOG_SIZE};
    void *values[] = {session->load_log, (void *)(uintptr_t)sizeof session->load_log};
    result = result_of(device->backend.f.cuModuleLoadDataEx(&module, text, 2, options, values));
    session->load_log[sizeof session->load_log - 1] = '\0';
    if (result == 0) {
      session->modules[session->module_count].handle = module;
      command->results[0] = session->module_count++;
    }
  }
  free(text);
  return result;
}

uint32_t command_MODULE_LOAD_PTX(struct type2 *device, struct command *command) {
  return load(device, command, copy_text(device->data, device->data_bytes));
}

uint32_t command_MODULE_LOAD_BULK(struct type2 *device, struct command *command) {
  const uint64_t offset = command->params[0], size = command->params[1];
  if (size == 0 || size > TYPE2_BULK_MOST_BYTES || !range_in(offset, size, device->bar4_bytes)) {
    return TYPE2_INVALID_VALUE;
  }
  return load(device, command, copy_text(device->bar4 + offset, size));
}

static CUmodule module_of(const struct session *session, uint64_t index) {
  return index < session->module_count ? session->modules[index].handle : NULL;
}

uint32_t command_MODULE_UNLOAD(struct type2 *device, struct command *command) {
  struct session *session = command->session;
  const uint32_t failed = session_enter(device, session);
  if (failed != 0) return failed;
  const uint64_t index = command->params[0];
  const CUmodule module = module_of(session, index);
  if (module == NULL) return TYPE2_INVALID_HANDLE;
  session->modules[index].handle = NULL;
  for (uint32_t i = 0; i < session->function_count; i++) {
    if (session->functions[i].module == index) session->functions[i].handle = NULL;
  }
  range_remove_module(session, (uint32_t)index + 1);
  const uint32_t result = result_of(device->backend.f.cuModuleUnload(module));
  /* Places at the end are free again, so that a program that loads and unloads in turn never meets the limit. */
  while (session->module_count > 0 && session->modules[session->module_count - 1].handle == NULL) session->module_count--;
  while (session->function_count > 0 && session->functions[session->function_count - 1].handle == NULL) {
    session->function_count--;
  }
  return result;
}

uint32_t command_FUNC_GET(struct type2 *device, struct command *command) {
  struct session *session = command->session;
  const uint32_t failed = session_enter(device, session);
  if (failed != 0) return failed;
  const CUmodule module = module_of(session, command->params[0]);
  if (module == NULL) return TYPE2_INVALID_HANDLE;
  char *name = copy_text(device->data, NAME_BYTES);
  if (name == NULL || name[0] == '\0') {
    free(name);
    return TYPE2_NOT_FOUND;
  }
  CUfunction function = NULL;
  const CUresult result = device->backend.f.cuModuleGetFunction(&function, module, name);
  free(name);
  if (result != 0) return result_of(result);
  /* Asking again for the same kernel takes no new place. */
  for (uint32_t i = 0; i < session->function_count; i++) {
    if (session->functions[i].handle == function) {
      command->results[0] = i;
      return TYPE2_SUCCESS;
    }
  }
  if (session->function_count == MOST_FUNCTIONS) return TYPE2_OUT_OF_MEMORY;
  session->functions[session->function_count] = (struct function){function, (uint32_t)command->params[0]};
  command->results[0] = session->function_count++;
  return TYPE2_SUCCESS;
}

uint32_t command_MODULE_GET_GLOBAL(struct type2 *device, struct command *command) {
  struct session *session = command->session;
  const uint32_t failed = session_enter(device, session);
  if (failed != 0) return failed;
  const CUmodule module = module_of(session, command->params[0]);
  if (module == NULL) return TYPE2_INVALID_HANDLE;
  char *name = copy_text(device->data, NAME_BYTES);
  if (name == NULL || name[0] == '\0') {
    free(name);
    return TYPE2_NOT_FOUND;
  }
  CUdeviceptr address = 0;
  size_t size = 0;
  const CUresult result = device->backend.f.cuModuleGetGlobal_v2(&address, &size, module, name);
  free(name);
  if (result != 0) return result_of(result);
  if (!range_add(session, address, size, (uint32_t)command->params[0] + 1)) return TYPE2_OUT_OF_MEMORY;
  command->results[0] = address;
  command->results[1] = size;
  return TYPE2_SUCCESS;
}

static CUfunction function_of(const struct session *session, uint64_t index) {
  return index < session->function_count ? session->functions[index].handle : NULL;
}

static uint64_t attribute_of(struct type2 *device, CUfunction function, uint32_t attribute) {
  int value = 0;
  device->backend.f.cuFuncGetAttribute(&value, attribute, function);
  return (uint64_t)value;
}

uint32_t command_FUNC_INFO(struct type2 *device, struct command *command) {
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  const CUfunction function = function_of(command->session, command->params[0]);
  if (function == NULL) return TYPE2_INVALID_HANDLE;
  uint64_t count = 0;
  size_t offset, size;
  while (count < MOST_PARAMETERS && device->backend.f.cuFuncGetParamInfo != NULL &&
         device->backend.f.cuFuncGetParamInfo(function, count, &offset, &size) == 0) {
    const uint32_t row[2] = {(uint32_t)offset, (uint32_t)size};
    copy_to_guest(device->data + 8 * count++, row, sizeof row);
  }
  command->results[0] = count;
  command->results[1] = attribute_of(device, function, ATTRIBUTE_SHARED);
  command->results[2] = attribute_of(device, function, ATTRIBUTE_LOCAL);
  command->results[3] = attribute_of(device, function, ATTRIBUTE_MOST_THREADS);
  return TYPE2_SUCCESS;
}

uint32_t command_FUNC_SET_ATTRIBUTE(struct type2 *device, struct command *command) {
  const uint32_t failed = session_enter(device, command->session);
  if (failed != 0) return failed;
  const CUfunction function = function_of(command->session, command->params[0]);
  if (function == NULL) return TYPE2_INVALID_HANDLE;
  if (command->params[1] > 64) return TYPE2_INVALID_VALUE;
  return result_of(device->backend.f.cuFuncSetAttribute(function, (CUfunction_attribute)command->params[1],
                                                        (int)(uint32_t)command->params[2]));
}

/* Puts slots of 8 bytes where the kernel's parameters are, `used` bytes in all; INVALID_VALUE when the count is not the kernel's. */
static uint32_t pack(struct type2 *device, CUfunction function, const uint8_t *slots, uint32_t count, uint8_t *packed,
                     size_t *used) {
  size_t offset, size;
  uint32_t slot = 0;
  CUresult asked = 0;
  *used = 0;
  for (uint32_t i = 0; i < MOST_PARAMETERS; i++) {
    asked = device->backend.f.cuFuncGetParamInfo(function, i, &offset, &size);
    if (asked != 0) break;
    const uint32_t needs = (uint32_t)((size + 7) / 8);
    if (!range_in(offset, size, 8 * TYPE2_MOST_SLOTS) || needs > count - slot) return TYPE2_INVALID_VALUE;
    memcpy(packed + offset, slots + 8 * (size_t)slot, size);
    slot += needs;
    *used = offset + size;
  }
  /* A place behind the last is no value of a parameter's number; anything else is a fault of the context. */
  if (asked != 0 && asked != TYPE2_INVALID_VALUE) return result_of(asked);
  return slot == count ? TYPE2_SUCCESS : TYPE2_INVALID_VALUE;
}

uint32_t command_LAUNCH_KERNEL(struct type2 *device, struct command *command) {
  const uint64_t *p = command->params;
  struct session *session = command->session;
  const uint32_t grid[3] = {(uint32_t)p[1], (uint32_t)(p[1] >> 32), (uint32_t)p[2]};
  const uint32_t block[3] = {(uint32_t)(p[2] >> 32), (uint32_t)p[3], (uint32_t)(p[3] >> 32)};
  const uint32_t shared = (uint32_t)p[4], count = (uint32_t)(p[4] >> 32);
  uint32_t result = session_enter(device, session);
  if (result != 0) return result;
  const CUfunction function = function_of(session, (uint32_t)p[0]);
  if (function == NULL) return TYPE2_INVALID_HANDLE;
  for (int i = 0; i < 3; i++) {
    if (grid[i] == 0 || block[i] == 0 || block[i] > device->backend.most_threads) return TYPE2_INVALID_VALUE;
  }
  /* None is over MAX_THREADS, which is far below 2^21, so the product does not wrap. */
  if ((uint64_t)block[0] * block[1] * block[2] > device->backend.most_threads) return TYPE2_INVALID_VALUE;
  if (count > TYPE2_MOST_SLOTS) return TYPE2_INVALID_VALUE;
  /* A public client leaves in P5 what was there, so the guest's own session has the default stream alone. */
  const uint64_t place = session->id == 0 ? 0 : p[5];
  if (place > MOST_STREAMS || (place > 0 && session->streams[place - 1] == NULL)) return TYPE2_INVALID_HANDLE;
  const CUstream stream = place == 0 ? NULL : session->streams[place - 1];
  if (session->queued >= MOST_QUEUED) {
    result = wait_streams(device, session, 0);
    if (result != 0) return result;
  }
  _Alignas(16) uint8_t slots[8 * TYPE2_MOST_SLOTS], packed[8 * TYPE2_MOST_SLOTS];
  copy_from_guest(slots, device->data, 8 * (uint64_t)count);
  if (device->backend.f.cuFuncGetParamInfo == NULL) {
    /* A driver before 12.4 knows sizes but does not tell: each parameter has one slot. */
    void *params[TYPE2_MOST_SLOTS + 1];
    for (uint32_t i = 0; i < count; i++) params[i] = slots + 8 * (size_t)i;
    params[count] = NULL;
    result = result_of(device->backend.f.cuLaunchKernel(function, grid[0], grid[1], grid[2], block[0], block[1], block[2],
                                                        shared, stream, params, NULL));
  } else {
    memset(packed, 0, sizeof packed);
    size_t size;
    result = pack(device, function, slots, count, packed, &size);
    if (result != 0) return result;
    /* CU_LAUNCH_PARAM_BUFFER_POINTER, CU_LAUNCH_PARAM_BUFFER_SIZE, CU_LAUNCH_PARAM_END */
    void *extra[] = {(void *)1, packed, (void *)2, &size, NULL};
    result = result_of(device->backend.f.cuLaunchKernel(function, grid[0], grid[1], grid[2], block[0], block[1], block[2],
                                                        shared, stream, NULL, size == 0 ? NULL : extra));
  }
  if (result != 0) return result;
  session->queued++;
  return limit_launch(device, session->context, stream);
}
