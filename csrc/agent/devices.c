/* Registers and NVMe controllers. See agent.h. Each operation checks what kind of file it is given. */
#define _GNU_SOURCE
#include "agent.h"
#include "busbar.h"
#include "handles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *last_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == NULL ? path : slash + 1;
}

/* resource0 to resource5, also resource0_wc: what sysfs calls the BARs of a PCI function. */
static int is_resource(const char *name) {
  if (strncmp(name, "resource", 8) != 0 || name[8] < '0' || name[8] > '5') return 0;
  return name[9] == '\0' || strcmp(name + 9, "_wc") == 0;
}

static int is_number(const char *text) {
  const size_t digits = strspn(text, "0123456789");
  return digits > 0 && digits < 6 && text[digits] == '\0';
}

int32_t operation_map_registers(struct call *call) {
  const char *path = (const char *)call->arg[0].bytes;
  const uint64_t offset = call->arg[1].number, size = call->arg[2].number;
  const int writable = call->arg[3].number != 0;
  if (writable && !may(RIGHT_WRITE)) return -EROFS;
  if (!is_resource(last_name(path))) return -ENXIO;
  const uint64_t limit = UINT64_C(1) << 32;
  if (offset >= limit || size == 0 || size > limit || offset + size > limit) return -EINVAL;
  const int fd = path_open_regular(path, writable ? O_RDWR : O_RDONLY);
  if (fd < 0) return fd;
  struct stat info;
  const uint64_t start = offset / bb_page_size() * bb_page_size();
  int32_t result = fstat(fd, &info) < 0 ? -errno : offset + size > (uint64_t)info.st_size ? -ERANGE : 0;
  uint32_t number = 0;
  struct handle *handle = result < 0 ? NULL : handle_new(HANDLE_REGISTERS, &number);
  if (result == 0 && handle == NULL) result = -EMFILE;
  if (result == 0) {
    result = bb_map_fd(fd, start, offset + size - start, writable ? BB_MAP_WRITE : 0, &handle->address);
    if (result < 0) {
      handle->kind = HANDLE_FREE;
    } else {
      handle->mapped_size = offset + size - start;
      handle->first = start;
      handle->end = offset + size;
      handle->writable = writable;
      put32(call->out, number);
      put64(call->out, start);
    }
  }
  close(fd);
  return result;
}

/* The registers of an access that is aligned and inside, and the offset in what is mapped. */
static int32_t find_registers(const struct call *call, uint64_t size, uint64_t width, struct handle **out, uint32_t *at) {
  struct handle *handle = handle_get(call->arg[0].number, HANDLE_REGISTERS);
  const uint64_t offset = call->arg[1].number;
  if (handle == NULL) return -EBADF;
  if (width != 1 && width != 2 && width != 4 && width != 8) return -EINVAL;
  if (offset < handle->first || offset > handle->end || size > handle->end - offset) return -ERANGE;
  if (offset % width != 0 || size % width != 0) return -EINVAL;
  *out = handle;
  *at = (uint32_t)(offset - handle->first);
  return 0;
}

int32_t operation_read_register(struct call *call) {
  struct handle *handle;
  uint32_t at;
  const uint32_t width = (uint32_t)call->arg[2].number;
  const int32_t result = find_registers(call, width, width, &handle, &at);
  if (result < 0) return result;
  const uint64_t value = width == 1   ? bb_read8(handle->address, at)
                         : width == 2 ? bb_read16(handle->address, at)
                         : width == 4 ? bb_read32(handle->address, at)
                                      : bb_read64(handle->address, at);
  if (bb_take_fault()) return -EFAULT;
  put64(call->out, value);
  return 0;
}

int32_t operation_write_register(struct call *call) {
  struct handle *handle;
  uint32_t at;
  const uint32_t width = (uint32_t)call->arg[2].number;
  const uint64_t value = call->arg[3].number;
  const int32_t result = find_registers(call, width, width, &handle, &at);
  if (result < 0) return result;
  if (!handle->writable) return -EROFS;
  switch (width) {
    case 1: return bb_write8(handle->address, at, (uint32_t)value);
    case 2: return bb_write16(handle->address, at, (uint32_t)value);
    case 4: return bb_write32(handle->address, at, (uint32_t)value);
    default: return bb_write64(handle->address, at, value);
  }
}

int32_t operation_read_block(struct call *call) {
  struct handle *handle;
  uint32_t at;
  const uint64_t size = call->arg[2].number;
  const uint32_t width = (uint32_t)call->arg[3].number;
  if (size > MAX_BLOCK) return -EMSGSIZE;
  int32_t result = find_registers(call, size, width, &handle, &at);
  if (result < 0 || size == 0) return result;
  uint8_t *to = put_room(call->out, size);
  if (to == NULL) return -EMSGSIZE;
  result = bb_read_block(handle->address, at, to, (uint32_t)size, width);
  if (result == 0) call->out->size += size;
  return result;
}

int32_t operation_write_block(struct call *call) {
  struct handle *handle;
  uint32_t at;
  const uint32_t width = (uint32_t)call->arg[2].number;
  const struct value *bytes = &call->arg[3];
  const int32_t result = find_registers(call, bytes->size, width, &handle, &at);
  if (result < 0) return result;
  return handle->writable ? bb_write_block(handle->address, at, bytes->bytes, bytes->size, width) : -EROFS;
}

int32_t operation_poll_register(struct call *call) {
  struct handle *handle;
  uint32_t at;
  const uint32_t width = (uint32_t)call->arg[2].number;
  int32_t result = find_registers(call, width, width, &handle, &at);
  if (result < 0) return result;
  if (call->arg[5].number > MAX_LIMIT_US) return -EINVAL;
  uint64_t last = 0;
  result = bb_poll(handle->address, at, width, call->arg[3].number, call->arg[4].number, (uint32_t)call->arg[5].number, &last);
  if (result < 0 && result != -ETIMEDOUT) return result;
  put64(call->out, last);
  return result == 0;
}

int32_t operation_open_nvme(struct call *call) {
  const char *path = (const char *)call->arg[0].bytes;
  const int found = path_open(path, O_PATH);
  if (found < 0) return found;
  struct stat info;
  const char *name = last_name(path);
  int32_t result = fstat(found, &info) < 0 ? -errno : 0;
  const int is_nvme = strncmp(path, "/dev/", 5) == 0 && strncmp(name, "nvme", 4) == 0 && is_number(name + 4);
  if (result == 0 && !(S_ISCHR(info.st_mode) && is_nvme)) result = -ENOTTY;
  uint32_t number = 0;
  struct handle *handle = result < 0 ? NULL : handle_new(HANDLE_NVME, &number);
  if (result == 0 && handle == NULL) result = -EMFILE;
  if (result == 0) {
    const int fd = path_reopen(found, O_RDONLY);
    if (fd < 0) {
      handle->kind = HANDLE_FREE;
      result = fd;
    } else {
      handle->fd = fd;
      put32(call->out, number);
    }
  }
  close(found);
  return result;
}

/* NVM Express Base Specification 2.0, figure 138. Reading a log page may clear an event, as it does for everybody. */
enum { GET_LOG_PAGE = 0x02, IDENTIFY = 0x06, GET_FEATURES = 0x0a, WORDS_BYTES = 64, MAX_DATA = 4 << 20, MAX_NVME_MS = 600000 };

int32_t operation_nvme_admin(struct call *call) {
  const struct handle *handle = handle_get(call->arg[0].number, HANDLE_NVME);
  const struct value *words = &call->arg[1], *data = &call->arg[2], *metadata = &call->arg[4];
  const uint64_t data_size = call->arg[3].number, metadata_size = call->arg[5].number, timeout_ms = call->arg[6].number;
  if (handle == NULL) return -EBADF;
  if (words->size != WORDS_BYTES || timeout_ms > MAX_NVME_MS || data_size > MAX_DATA || metadata_size > MAX_DATA) return -EINVAL;
  if (data->size > data_size || metadata->size > metadata_size) return -EINVAL;
  uint32_t command[16];
  for (unsigned i = 0; i < 16; i++) command[i] = (uint32_t)get_number(words->bytes + 4 * i, 4);
  const uint32_t opcode = command[0] & 0xff;
  const int only_reads = opcode == GET_LOG_PAGE || opcode == IDENTIFY || opcode == GET_FEATURES;
  if (!only_reads && !may(RIGHT_WRITE)) return -EROFS;
  uint8_t *buffer = calloc(1, data_size + metadata_size + 1);
  if (buffer == NULL) return -ENOMEM;
  if (data->size > 0) memcpy(buffer, data->bytes, data->size);
  if (metadata->size > 0) memcpy(buffer + data_size, metadata->bytes, metadata->size);
  uint32_t dword0 = 0;
  const int32_t status = bb_nvme_passthru(handle->fd, 1, command, data_size > 0 ? buffer : NULL, (uint32_t)data_size,
                                          metadata_size > 0 ? buffer + data_size : NULL, (uint32_t)metadata_size,
                                          (uint32_t)timeout_ms, &dword0);
  if (status >= 0) {
    put32(call->out, dword0);
    put_bytes(call->out, buffer, data_size + metadata_size);
  }
  free(buffer);
  return status;
}
