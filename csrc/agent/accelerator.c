/* Oracle's Data Analytics Accelerator. See agent.h. Command blocks hold addresses of the agent's own memory. */
#define _GNU_SOURCE
#include "agent.h"
#include "busbar.h"
#include "handles.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef AGENT_SOFT_ORADAX
/* For tests: the software coprocessor, which hands out its own memory. tests/c/agent_soft_oradax.c */
int32_t agent_soft_oradax(bb_oradax **out);
int32_t agent_soft_allocate(uint64_t size, uint64_t page, void **out);
#endif

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

enum { MAX_TRANSFER = 16 << 20 };
static const uint64_t MAX_BUFFER = UINT64_C(1) << 40;

static int32_t open_device(const char *path, bb_oradax **out) {
#ifdef AGENT_SOFT_ORADAX
  if (strcmp(path, "/dev/oradax2") == 0) return agent_soft_oradax(out);
#endif
  if (strcmp(path, "/dev/oradax1") != 0 && strcmp(path, "/dev/oradax2") != 0) {
    const int found = path_open(path, O_PATH);
    if (found < 0) return found;
    close(found);
    return -ENOTTY;
  }
  const int found = path_open(path, O_PATH);
  if (found < 0) return found;
  struct stat info;
  int32_t result = fstat(found, &info) < 0 ? -errno : S_ISCHR(info.st_mode) ? 0 : -ENOTTY;
  close(found);
  return result < 0 ? result : bb_oradax_open(path, out);
}

int32_t operation_open_oradax(struct call *call) {
  bb_oradax *oradax = NULL;
  const int32_t result = open_device((const char *)call->arg[0].bytes, &oradax);
  if (result < 0) return result;
  uint32_t number = 0;
  struct handle *handle = handle_new(HANDLE_ORADAX, &number);
  if (handle == NULL) {
    bb_oradax_close(oradax);
    return -EMFILE;
  }
  handle->oradax = oradax;
  put32(call->out, number);
  return 0;
}

/* The smallest huge page of this host that is at least so large, or 0: its sizes are names, `hugepages-2048kB`. */
static uint64_t huge_page(uint64_t at_least) {
#ifdef AGENT_SOFT_ORADAX
  /* A SPARC host that has set aside pages of 8 MiB and no others. */
  return at_least > UINT64_C(8) << 20 ? 0 : UINT64_C(8) << 20;
#endif
  DIR *folder = opendir("/sys/kernel/mm/hugepages");
  if (folder == NULL) return 0;
  uint64_t best = 0;
  for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    if (strncmp(entry->d_name, "hugepages-", 10) != 0) continue;
    const uint64_t size = strtoull(entry->d_name + 10, NULL, 10) * 1024;
    if (size >= at_least && (size & (size - 1)) == 0 && (best == 0 || size < best)) best = size;
  }
  closedir(folder);
  return best;
}

static int32_t map_pages(uint64_t size, uint64_t page, void **out) {
#ifdef AGENT_SOFT_ORADAX
  return agent_soft_allocate(size, page, out);
#else
  int kind = MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE;
  if (page > bb_page_size()) kind |= MAP_HUGETLB | __builtin_ctzll(page) << MAP_HUGE_SHIFT;
  void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, kind, -1, 0);
  if (address == MAP_FAILED) return -errno;
  *out = address;
  return 0;
#endif
}

int32_t operation_oradax_allocate(struct call *call) {
  const struct handle *device = handle_get(call->arg[0].number, HANDLE_ORADAX);
  const uint64_t size = call->arg[1].number, wanted = call->arg[2].number, base = bb_page_size();
  if (device == NULL) return -EBADF;
  if (size == 0 || size > MAX_BUFFER || (wanted & (wanted - 1)) != 0) return -EINVAL;
  uint64_t page = wanted > base ? huge_page(wanted) : base;
  if (page == 0) return -ENOMEM;
  const uint64_t mapped = (size + page - 1) & ~(page - 1);
  void *address = NULL;
  const int32_t result = map_pages(mapped, page, &address);
  if (result < 0) return result;
  uint32_t number = 0;
  struct handle *handle = handle_new(HANDLE_ORADAX_BUFFER, &number);
  if (handle == NULL) {
    bb_unmap(address, mapped);
    return -EMFILE;
  }
  handle->address = address;
  handle->mapped_size = mapped;
  handle->end = size;
  handle->owner = (uint32_t)call->arg[0].number;
  put32(call->out, number);
  put64(call->out, (uintptr_t)address);
  /* On SPARC a page of 8 MiB is two of 4 MiB for the coprocessor, and a stream lies in one half. */
  put64(call->out, page == UINT64_C(8) << 20 ? UINT64_C(4) << 20 : page);
  return 0;
}

static int32_t find_bytes(const struct call *call, uint64_t size, uint8_t **out) {
  const struct handle *handle = handle_get(call->arg[0].number, HANDLE_ORADAX_BUFFER);
  const uint64_t offset = call->arg[1].number;
  if (handle == NULL) return -EBADF;
  if (size > MAX_TRANSFER) return -EMSGSIZE;
  if (offset > handle->end || size > handle->end - offset) return -ERANGE;
  *out = (uint8_t *)handle->address + offset;
  return 0;
}

int32_t operation_oradax_read(struct call *call) {
  uint8_t *bytes;
  const int32_t result = find_bytes(call, call->arg[2].number, &bytes);
  if (result == 0) put_bytes(call->out, bytes, call->arg[2].number);
  return result;
}

int32_t operation_oradax_write(struct call *call) {
  uint8_t *bytes;
  const int32_t result = find_bytes(call, call->arg[2].size, &bytes);
  if (result == 0 && call->arg[2].size > 0) memcpy(bytes, call->arg[2].bytes, call->arg[2].size);
  return result;
}

static bb_oradax *device_of(const struct call *call) {
  const struct handle *handle = handle_get(call->arg[0].number, HANDLE_ORADAX);
  return handle == NULL ? NULL : handle->oradax;
}

int32_t operation_oradax_submit(struct call *call) {
  bb_oradax *oradax = device_of(call);
  const struct value *ccbs = &call->arg[2];
  if (oradax == NULL) return -EBADF;
  uint8_t copy[BB_ORADAX_SUBMIT_BYTES] __attribute__((aligned(64)));
  if (ccbs->size > sizeof copy || ccbs->size == 0) return -EINVAL;
  memcpy(copy, ccbs->bytes, ccbs->size);
  bb_oradax_refusal refusal = {0, 0};
  const int32_t result = bb_oradax_submit(oradax, (uint32_t)call->arg[1].number, copy, ccbs->size, &refusal);
  if (result < 0) return result;
  put32(call->out, refusal.status);
  put64(call->out, refusal.data);
  return result;
}

int32_t operation_oradax_wait(struct call *call) {
  bb_oradax *oradax = device_of(call);
  if (oradax == NULL) return -EBADF;
  return bb_oradax_wait(oradax, (uint32_t)call->arg[1].number, (uint32_t)call->arg[2].number);
}

int32_t operation_oradax_completion(struct call *call) {
  bb_oradax *oradax = device_of(call);
  if (oradax == NULL) return -EBADF;
  uint8_t area[BB_ORADAX_AREA_BYTES];
  const int32_t result = bb_oradax_completion(oradax, (uint32_t)call->arg[1].number, area);
  if (result == 0) put_bytes(call->out, area, sizeof area);
  return result;
}

int32_t operation_oradax_info(struct call *call) {
  bb_oradax *oradax = device_of(call);
  if (oradax == NULL) return -EBADF;
  uint16_t info[4] = {0};
  const int32_t result = bb_oradax_info(oradax, (uint32_t)call->arg[1].number, info);
  for (unsigned i = 0; result == 0 && i < 4; i++) put16(call->out, info[i]);
  return result;
}

int32_t operation_oradax_kill(struct call *call) {
  bb_oradax *oradax = device_of(call);
  return oradax == NULL ? -EBADF : bb_oradax_kill(oradax, (uint32_t)call->arg[1].number);
}

int32_t operation_oradax_dequeue(struct call *call) {
  bb_oradax *oradax = device_of(call);
  return oradax == NULL ? -EBADF : bb_oradax_dequeue(oradax);
}
