/* Commands: the device, contexts, sessions, logs. */
#define _GNU_SOURCE
#include "device.h"

#include <string.h>

uint32_t command_NOP(struct type2 *device, struct command *command) {
  (void)device;
  (void)command;
  return TYPE2_SUCCESS;
}

uint32_t command_INIT(struct type2 *device, struct command *command) {
  (void)command;
  device->was_initialised = true;
  return TYPE2_SUCCESS;
}

uint32_t command_GET_DEVICE_COUNT(struct type2 *device, struct command *command) {
  command->results[0] = device->has_backend;
  return TYPE2_SUCCESS;
}

uint32_t command_GET_DEVICE(struct type2 *device, struct command *command) {
  (void)device;
  return command->params[0] == 0 ? TYPE2_SUCCESS : TYPE2_INVALID_DEVICE;
}

uint32_t command_GET_DEVICE_NAME(struct type2 *device, struct command *command) {
  (void)command;
  copy_to_guest(device->data, device->registers + TYPE2_NAME_OFFSET, TYPE2_NAME_BYTES);
  return TYPE2_SUCCESS;
}

uint32_t command_GET_DEVICE_PROPS(struct type2 *device, struct command *command) {
  command_GET_DEVICE_NAME(device, command);
  command->results[0] = get64(device, REG_TOTAL_MEM);
  command->results[1] = (uint64_t)device->backend.major << 16 | device->backend.minor;
  command->results[2] = device->backend.multiprocessors;
  command->results[3] = device->backend.most_threads;
  return TYPE2_SUCCESS;
}

uint32_t command_GET_TOTAL_MEM(struct type2 *device, struct command *command) {
  command->results[0] = get64(device, REG_TOTAL_MEM);
  return TYPE2_SUCCESS;
}

/* A context that was made by the first use, or by an earlier CTX_CREATE, is the one: there is one for each session. */
uint32_t command_CTX_CREATE(struct type2 *device, struct command *command) {
  struct session *session = command->session;
  const bool was_created = session->was_created;
  session->was_created = true;
  const uint32_t failed = session_enter(device, session);
  if (session->context == NULL) session->was_created = was_created;
  command->results[0] = (uint64_t)session->id + 1;
  /* A context with a sticky fault is there all the same. */
  return session->context == NULL ? failed : TYPE2_SUCCESS;
}

uint32_t command_CTX_DESTROY(struct type2 *device, struct command *command) {
  struct session *session = command->session;
  if (session->context == NULL) return TYPE2_INVALID_CONTEXT;
  session_empty(device, session);
  return TYPE2_SUCCESS;
}

uint32_t command_CTX_SYNC(struct type2 *device, struct command *command) {
  uint32_t result = session_enter(device, command->session);
  if (result == 0) result = wait_streams(device, command->session, 0);
  /* Nothing is left to wait for, but only this hands over what kernels printed. */
  if (result == 0) result = result_of(device->backend.f.cuCtxSynchronize());
  return result;
}

uint32_t command_SESSION_BEGIN(struct type2 *device, struct command *command) {
  /* Numbers are not used again, so that a process that outlived its session does not meet another's. */
  do device->next_session++;
  while (device->next_session == 0 || session_find(device, device->next_session) != NULL);
  struct session *session = session_open(device, device->next_session);
  if (session == NULL) return TYPE2_OUT_OF_MEMORY;
  command->results[0] = session->id;
  return TYPE2_SUCCESS;
}

uint32_t command_SESSION_END(struct type2 *device, struct command *command) {
  const uint64_t id = command->params[0];
  struct session *session = id == 0 || id > UINT32_MAX ? NULL : session_find(device, (uint32_t)id);
  if (session == NULL) return TYPE2_INVALID_HANDLE;
  for (size_t at = device->pool.count; at-- > 0;) {
    if (device->pool.rows[at].tag == id) blocks_give(&device->pool, device->pool.rows[at].base);
  }
  if (command->session == session) command->session = NULL;
  session_close(device, session);
  return TYPE2_SUCCESS;
}

uint32_t command_DEVICE_ATTRIBUTE(struct type2 *device, struct command *command) {
  if (command->params[0] == 0 || command->params[0] > 1024) return TYPE2_INVALID_VALUE;
  int value = 0;
  const CUresult failed = device->backend.f.cuDeviceGetAttribute(&value, (CUdevice_attribute)command->params[0],
                                                                 device->backend.device);
  command->results[0] = (uint64_t)(int64_t)value;
  return failed == 0 ? TYPE2_SUCCESS : TYPE2_INVALID_VALUE;
}

uint32_t command_LOG_READ(struct type2 *device, struct command *command) {
  struct session *session = command->session;
  if (command->params[0] == 1) {
    const size_t size = strlen(session->load_log);
    copy_to_guest(device->data, session->load_log, size);
    command->results[0] = size;
    session->load_log[0] = '\0';
    return TYPE2_SUCCESS;
  }
  if (command->params[0] != 0) return TYPE2_INVALID_VALUE;
  const size_t size = session->log_size < device->data_bytes ? session->log_size : device->data_bytes;
  copy_to_guest(device->data, session->log, size);
  session->log_size -= size;
  if (size > 0) memmove(session->log, session->log + size, session->log_size);
  command->results[0] = size;
  return TYPE2_SUCCESS;
}
