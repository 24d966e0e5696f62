/*
 * The software Data Analytics Accelerator as the Linux driver shows it: what open, write, read, mmap and close of
 * /dev/oradax1 and oradax2 do, in the driver's order, and the hypervisor's part of a submission.
 */
#define _GNU_SOURCE
#include "device.h"
#include "soft/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { COMMAND_KILL = 0, COMMAND_INFO = 1, COMMAND_DEQUEUE = 2, COMMAND_BYTES = 4, RESULT_BYTES = 16 };

/* Submit status. */
enum {
  SUBMIT_OK = 0,
  SUBMIT_WOULDBLOCK = 2,
  SUBMIT_THREAD = 4,
  SUBMIT_CCB_INVALID = 6,
  SUBMIT_NO_AREA = 7,
  SUBMIT_ARRAY_FAULT = 8,
  SUBMIT_NOMAP = 9,
  SUBMIT_NOACCESS = 10,
  SUBMIT_UNAVAILABLE = 12,
  SUBMIT_INTERNAL = 13,
};

/* What the hypervisor's calls return. */
enum { HV_OK = 0, HV_EINVAL = 6, HV_EWOULDBLOCK = 9, HV_ENOACCESS = 10, HV_ENOMAP = 14, HV_EUNAVAILABLE = 23 };

static int is_owner(const bb_soft_oradax *device) { return pthread_equal(device->owner, pthread_self()); }

/* ---- Memory ---- */

static struct region *region_of(const bb_soft_oradax *device, uint64_t address) {
  for (struct region *one = device->regions; one != NULL; one = one->next) {
    if (address - (uintptr_t)one->base < one->size) return one;
  }
  return NULL;
}

int32_t bb_soft_oradax_allocate(bb_soft_oradax *device, uint64_t size, uint64_t page_size, void **base) {
  const uint64_t largest = UINT64_C(1) << 30;
  if (device == NULL || base == NULL || size == 0 || size > UINT64_C(1) << 40) return -EINVAL;
  if (page_size < BB_SOFT_ORADAX_PAGE_BYTES || page_size > largest || (page_size & (page_size - 1)) != 0) return -EINVAL;
  const uint64_t whole = (size + page_size - 1) & ~(page_size - 1);
  struct region *region = calloc(1, sizeof *region);
  /* Reserved: the memory, one page to align it with, and a guard on either side. */
  const uint64_t reserved = whole + 3 * page_size;
  uint8_t *all = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == NULL || all == MAP_FAILED) {
    if (all != MAP_FAILED) munmap(all, reserved);
    free(region);
    return -ENOMEM;
  }
  uint8_t *start = (uint8_t *)(((uintptr_t)all + 2 * page_size - 1) & ~(uintptr_t)(page_size - 1));
  /* What is not needed goes back; a page on either side stays, and nobody may touch it. */
  uint8_t *first = start - page_size, *end = start + whole + page_size;
  if (first > all) munmap(all, (size_t)(first - all));
  if (end < all + reserved) munmap(end, (size_t)(all + reserved - end));
  if (mprotect(start, whole, PROT_READ | PROT_WRITE) != 0) {
    munmap(first, (size_t)(end - first));
    free(region);
    return -ENOMEM;
  }
  if (page_size >= UINT64_C(2) << 20) madvise(start, whole, MADV_HUGEPAGE);
  pthread_mutex_lock(&device->lock);
  *region = (struct region){device->regions, start, whole, page_size, 0};
  device->regions = region;
  pthread_mutex_unlock(&device->lock);
  *base = start;
  return 0;
}

static void release_region(struct region *region) {
  munmap(region->base - region->page, region->size + 2 * region->page);
  free(region);
}

static int is_used(const bb_soft_oradax *device, const struct region *region) {
  for (unsigned i = 0; i < CA_COUNT; i++) {
    const struct entry *entry = &device->entries[i];
    if (entry->state != ENTRY_ENQUEUED && entry->state != ENTRY_IN_PROGRESS) continue;
    for (unsigned s = 0; s < STREAM_COUNT; s++) {
      const uint8_t *at = entry->streams[s].at;
      if (at != NULL && (uintptr_t)at - (uintptr_t)region->base < region->size) return 1;
    }
  }
  return 0;
}

int32_t bb_soft_oradax_free(bb_soft_oradax *device, void *base) {
  if (device == NULL || base == NULL) return -EINVAL;
  pthread_mutex_lock(&device->lock);
  struct region **link = &device->regions;
  while (*link != NULL && (*link)->base != base) link = &(*link)->next;
  struct region *region = *link;
  const int32_t result = region == NULL ? -ENOENT : is_used(device, region) ? -EBUSY : 0;
  if (result == 0) {
    *link = region->next;
    release_region(region);
  }
  pthread_mutex_unlock(&device->lock);
  return result;
}

int32_t bb_soft_oradax_protect(bb_soft_oradax *device, void *base) {
  if (device == NULL || base == NULL) return -EINVAL;
  pthread_mutex_lock(&device->lock);
  struct region *region = region_of(device, (uintptr_t)base);
  int32_t result = region == NULL ? -ENOENT : 0;
  if (result == 0 && mprotect(region->base, region->size, PROT_READ) != 0) result = -errno;
  if (result == 0) region->is_read_only = 1;
  pthread_mutex_unlock(&device->lock);
  return result;
}

/* ---- Submit ---- */

/* Remembers a result for the thread that caused it. */
static void set_result(bb_soft_oradax *device, const uint8_t *bytes, size_t size) {
  memcpy(device->result, bytes, size);
  device->has_pending = 1;
  device->pending_thread = pthread_self();
}

static int64_t refuse(bb_soft_oradax *device, uint32_t status, uint64_t data) {
  uint8_t bytes[12];
  store_be64(bytes, data);
  store_be32(bytes + 8, status);
  set_result(device, bytes, sizeof bytes);
  return 0;
}

static int passes_driver_check(const bb_soft_oradax *device, const struct ccb *ccb) {
  if (ccb->version > device->dax - 1 || !ccb_opcode_known(ccb->opcode)) return 0;
  for (unsigned s = 0; s < STREAM_COUNT; s++) {
    if (ccb->address_type[s] != ADDRESS_NONE && ccb->address_type[s] != ADDRESS_VIRTUAL) return 0;
  }
  return 1;
}

/* Step 6 of the driver: pins the page of each address, for writing. False: *address is the one that cannot be. */
static int pin(const bb_soft_oradax *device, struct entry *entry, uint64_t *address) {
  for (unsigned s = 0; s < STREAM_COUNT; s++) {
    entry->streams[s] = (struct stream){NULL, 0};
    if (entry->ccb.address_type[s] == ADDRESS_NONE) continue;
    *address = entry->ccb.address[s];
    const struct region *region = region_of(device, *address);
    if (region == NULL || region->is_read_only) return 0;
    const uint64_t page_end = (*address | (region->page - 1)) + 1;
    entry->streams[s] = (struct stream){(uint8_t *)(uintptr_t)*address, page_end - *address};
  }
  return 1;
}

/* What the hypervisor has against a CCB. */
static uint32_t hypervisor_check(bb_soft_oradax *device, const struct ccb *ccb, int is_last_unit, uint64_t *data) {
  *data = 0;
  if (device->refusal != HV_OK) {
    const uint32_t refusal = device->refusal;
    *data = device->refusal_data;
    device->refusal = HV_OK;
    return refusal;
  }
  if (ccb->is_long && is_last_unit) return HV_EINVAL;
  /* The Huffman table's form is not public: "this CCB only, do it yourself". */
  if (ccb_is_huffman(ccb)) return HV_EUNAVAILABLE;
  return device->queued >= device->queue_room ? HV_EWOULDBLOCK : HV_OK;
}

static uint32_t submit_status(uint32_t hypervisor_error) {
  switch (hypervisor_error) {
    case HV_OK: return SUBMIT_OK;
    case HV_EINVAL: return SUBMIT_CCB_INVALID;
    case HV_EWOULDBLOCK: return SUBMIT_WOULDBLOCK;
    case HV_ENOACCESS: return SUBMIT_NOACCESS;
    case HV_ENOMAP: return SUBMIT_NOMAP;
    case HV_EUNAVAILABLE: return SUBMIT_UNAVAILABLE;
    default: return SUBMIT_INTERNAL;
  }
}

static void free_areas(bb_soft_oradax *device, unsigned index, unsigned from, unsigned to) {
  for (unsigned i = from; i < to; i++) {
    set_status(area_of(device, index + i), CA_SUCCESS);
    device->entries[index + i].state = ENTRY_NOT_FOUND;
  }
}

/* Steps 5 and 6: checks and pins each CCB and clears its area. 0, or the status; then everything is as before. */
static uint32_t prepare(bb_soft_oradax *device, unsigned index, const uint8_t *bytes, unsigned count, uint64_t *data) {
  uint32_t status = 0;
  unsigned i;
  for (i = 0; i < count && status == 0; i++) {
    struct entry *entry = &device->entries[index + i];
    uint8_t long_bytes[2 * CCB_UNIT_BYTES] = {0};
    memcpy(long_bytes, bytes + i * CCB_UNIT_BYTES, i + 1 < count ? 2 * CCB_UNIT_BYTES : CCB_UNIT_BYTES);
    ccb_decode(long_bytes, &entry->ccb);
    if (!passes_driver_check(device, &entry->ccb)) status = SUBMIT_CCB_INVALID;
    memset(area_of(device, index + i) + 1, 0, CA_BYTES - 1);
    set_status(area_of(device, index + i), 0);
    i += (unsigned)entry->ccb.is_long;
  }
  for (unsigned j = 0; j < count && status == 0; j++) {
    struct entry *entry = &device->entries[index + j];
    if (!pin(device, entry, data)) status = SUBMIT_NOACCESS;
    j += (unsigned)entry->ccb.is_long;
  }
  /* The driver leaves the areas of a refused array at 0, and so unusable until they are killed. Here they are free. */
  if (status != 0) free_areas(device, index, 0, count);
  return status;
}

/* Step 7. Returns how many units were taken. */
static unsigned enqueue(bb_soft_oradax *device, unsigned index, unsigned count, uint32_t *status, uint64_t *data) {
  struct entry *serial = NULL;
  const uint64_t submission = ++device->submissions;
  unsigned taken = 0;
  while (taken < count) {
    struct entry *entry = &device->entries[index + taken];
    const uint32_t error = hypervisor_check(device, &entry->ccb, taken == count - 1, data);
    if (error != HV_OK) {
      /* A full queue takes a part, which is no error; it is one when it takes nothing. */
      *status = submit_status(error == HV_EWOULDBLOCK && taken > 0 ? HV_OK : error);
      break;
    }
    entry->submission = submission;
    atomic_store(&entry->kill, 0);
    entry->was_killed = 0;
    units_enqueue(device, entry, serial);
    if (entry->ccb.is_serial) serial = entry;
    if (entry->ccb.is_long) device->entries[index + taken + 1].state = ENTRY_NOT_FOUND;
    taken += 1 + (unsigned)entry->ccb.is_long;
  }
  free_areas(device, index, taken, count);
  return taken;
}

static int64_t submit(bb_soft_oradax *device, const uint8_t *bytes, unsigned count, int64_t position) {
  const int32_t index = (int32_t)position;
  if (!is_owner(device)) return refuse(device, SUBMIT_THREAD, 0);
  if (index < 0 || index > CA_COUNT - (int32_t)count) return refuse(device, SUBMIT_NO_AREA, 0);
  if (bytes == NULL) return refuse(device, SUBMIT_ARRAY_FAULT, 0);
  for (unsigned i = 0; i < count; i++) {
    if (get_status(area_of(device, (unsigned)index + i)) == 0) return refuse(device, SUBMIT_NO_AREA, 0);
  }
  uint64_t data = 0;
  uint32_t status = prepare(device, (unsigned)index, bytes, count, &data);
  if (status != 0) return refuse(device, status, status == SUBMIT_NOACCESS ? data : 0);
  const unsigned taken = enqueue(device, (unsigned)index, count, &status, &data);
  if (taken < count) refuse(device, status, data);
  else device->has_pending = 0;
  return taken * CCB_UNIT_BYTES;
}

/* ---- Immediate commands ---- */

static int64_t kill_ccb(bb_soft_oradax *device, unsigned offset) {
  if (offset % 64 != 0) return -EFAULT;
  uint8_t *area = area_of(device, offset / CA_BYTES);
  const unsigned action = offset % CA_BYTES == 0 ? units_kill(device, &device->entries[offset / CA_BYTES]) : ACTION_NOT_FOUND;
  /* The driver does this whatever the action was. */
  area[1] = ERROR_KILLED;
  set_status(area, CA_KILLED);
  uint8_t bytes[2];
  store_be16(bytes, action);
  set_result(device, bytes, sizeof bytes);
  return COMMAND_BYTES;
}

static int64_t inform(bb_soft_oradax *device, unsigned offset) {
  if (offset % 64 != 0) return -EFAULT;
  const struct entry *entry = &device->entries[offset / CA_BYTES];
  const unsigned state = offset % CA_BYTES == 0 ? entry->state : ENTRY_NOT_FOUND;
  uint8_t bytes[8] = {0};
  store_be16(bytes, state);
  /* There is one queue, in front of all units: unit 0, queue 0. */
  if (state == ENTRY_ENQUEUED) store_be16(bytes + 6, units_position(device, entry));
  set_result(device, bytes, sizeof bytes);
  return COMMAND_BYTES;
}

static int64_t command(bb_soft_oradax *device, const uint8_t *bytes) {
  if (!is_owner(device)) return -EUSERS;
  if (bytes == NULL) return -EFAULT;
  const unsigned code = (unsigned)bytes[0] << 8 | bytes[1], offset = (unsigned)bytes[2] << 8 | bytes[3];
  if (code > COMMAND_DEQUEUE) return -EINVAL;
  /* Pages are not pinned here for longer than a CCB is in flight, so there is nothing to let go of. */
  if (code == COMMAND_DEQUEUE) return COMMAND_BYTES;
  if (offset >= AREA_TOTAL_BYTES) return -EINVAL;
  return code == COMMAND_KILL ? kill_ccb(device, offset) : inform(device, offset);
}

/* ---- The calls ---- */

static int64_t file_write(void *context, const void *bytes, uint64_t size, int64_t offset) {
  bb_soft_oradax *device = context;
  if (offset < 0) return -EINVAL; /* not the driver: no file takes it */
  pthread_mutex_lock(&device->lock);
  int64_t result = -EINVAL;
  if (!device->has_pending && size != 0 && size <= MAX_UNITS_PER_SUBMIT * CCB_UNIT_BYTES) {
    if (size % CCB_UNIT_BYTES == 0) result = submit(device, bytes, (unsigned)(size / CCB_UNIT_BYTES), offset);
    else if (size == COMMAND_BYTES) result = command(device, bytes);
  }
  pthread_mutex_unlock(&device->lock);
  return result;
}

static int64_t file_read(void *context, void *to, uint64_t size) {
  bb_soft_oradax *device = context;
  pthread_mutex_lock(&device->lock);
  int64_t result = RESULT_BYTES;
  if (!device->has_pending || !pthread_equal(device->pending_thread, pthread_self())) {
    result = -EUSERS;
  } else {
    device->has_pending = 0;
    if (size != RESULT_BYTES) result = -EINVAL;
    else if (to == NULL) result = -EFAULT;
    else memcpy(to, device->result, RESULT_BYTES);
  }
  pthread_mutex_unlock(&device->lock);
  return result;
}

static int32_t file_map(void *context, uint64_t size, int32_t writable, void **out) {
  bb_soft_oradax *device = context;
  if (!is_owner(device) || size != AREA_TOTAL_BYTES) return -EINVAL;
  if (writable) return -EPERM;
  *out = (void *)(uintptr_t)device->user_areas;
  return 0;
}

static void file_unmap(void *context, void *area, uint64_t size) {
  /* The view lives as long as the device. */
  (void)context, (void)area, (void)size;
}

static void release(bb_soft_oradax *device) {
  if (device->areas != NULL) munmap(device->areas, AREA_TOTAL_BYTES);
  if (device->user_areas != NULL) munmap((void *)(uintptr_t)device->user_areas, AREA_TOTAL_BYTES);
  while (device->regions != NULL) {
    struct region *next = device->regions->next;
    release_region(device->regions);
    device->regions = next;
  }
  pthread_cond_destroy(&device->work);
  pthread_cond_destroy(&device->done);
  pthread_mutex_destroy(&device->lock);
  free(device);
}

static void file_close(void *context) {
  bb_soft_oradax *device = context;
  const struct timespec quantum = {0, 100000};
  unsigned retries = 10000;
  for (unsigned i = 0; i < CA_COUNT; i++) {
    while (get_status(area_of(device, i)) == 0 && retries > 0) {
      nanosleep(&quantum, NULL);
      retries--;
    }
    if (get_status(area_of(device, i)) != 0) continue;
    pthread_mutex_lock(&device->lock);
    units_kill(device, &device->entries[i]);
    pthread_mutex_unlock(&device->lock);
  }
  units_stop(device);
  release(device);
}

/* ---- Set-up ---- */

static int take_setting(void *context, const char *key, const char *value) {
  bb_soft_oradax *device = context;
  if (strcmp(key, "loops") == 0) {
    device->kernels = oradax_kernels_named(value);
    return device->kernels == NULL ? -ENOTSUP : 0;
  }
  uint64_t number;
  if (soft_number(value, UINT64_C(3600000000), &number) != 0) return -EINVAL;
  if (strcmp(key, "dax") == 0 && (number == 1 || number == 2)) device->dax = (unsigned)number;
  else if (strcmp(key, "units") == 0 && number <= MAX_UNITS) device->unit_count = (unsigned)number;
  else if (strcmp(key, "queue") == 0 && number >= 1 && number <= CA_COUNT) device->queue_room = (unsigned)number;
  else if (strcmp(key, "delay_us") == 0) device->delay_us = number;
  else return -EINVAL;
  return 0;
}

/* The areas twice: for the device to write, and for the caller to read only. */
static int map_areas(bb_soft_oradax *device) {
  const int fd = memfd_create("busbar-oradax", MFD_CLOEXEC);
  if (fd < 0) return -errno;
  void *own = MAP_FAILED, *users = MAP_FAILED;
  if (ftruncate(fd, AREA_TOTAL_BYTES) == 0) {
    own = mmap(NULL, AREA_TOTAL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    users = mmap(NULL, AREA_TOTAL_BYTES, PROT_READ, MAP_SHARED, fd, 0);
  }
  close(fd);
  device->areas = own == MAP_FAILED ? NULL : own;
  device->user_areas = users == MAP_FAILED ? NULL : users;
  return device->areas == NULL || device->user_areas == NULL ? -ENOMEM : 0;
}

int32_t bb_soft_oradax_open(const char *settings, bb_soft_oradax **out, bb_oradax_file *file) {
  if (settings == NULL || out == NULL || file == NULL) return -EINVAL;
  bb_soft_oradax *device = calloc(1, sizeof *device);
  if (device == NULL) return -ENOMEM;
  device->dax = 2;
  device->queue_room = CA_COUNT;
  device->kernels = oradax_kernels_named("auto");
  device->owner = pthread_self();
  pthread_mutex_init(&device->lock, NULL);
  pthread_cond_init(&device->work, NULL);
  pthread_cond_init(&device->done, NULL);
  int result = soft_each_setting(settings, take_setting, device);
  if (result == 0) result = map_areas(device);
  if (result == 0) {
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (device->unit_count == 0) device->unit_count = online < 1 ? 1 : online > MAX_UNITS ? MAX_UNITS : (unsigned)online;
    free_areas(device, 0, 0, CA_COUNT);
    result = units_start(device);
  }
  if (result != 0) {
    release(device);
    return result;
  }
  *out = device;
  *file = (bb_oradax_file){device, file_write, file_read, file_map, file_unmap, file_close};
  return 0;
}

int32_t bb_soft_oradax_refuse(bb_soft_oradax *device, uint32_t hypervisor_error, uint64_t status_data) {
  if (device == NULL) return -EINVAL;
  pthread_mutex_lock(&device->lock);
  device->refusal = hypervisor_error;
  device->refusal_data = status_data;
  pthread_mutex_unlock(&device->lock);
  return 0;
}

const char *bb_soft_oradax_loops(const bb_soft_oradax *device) { return device == NULL ? "" : device->kernels->name; }

uint64_t bb_soft_oradax_sum(const void *from, uint64_t size, uint64_t *sum) {
  struct timespec began, ended;
  const uint64_t *words = from;
  uint64_t sums[4] = {0};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &began);
  for (uint64_t i = 0; i + 4 <= size / 8; i += 4) {
    for (unsigned j = 0; j < 4; j++) sums[j] += words[i + j];
  }
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended);
  *sum = sums[0] + sums[1] + sums[2] + sums[3];
  return (uint64_t)(ended.tv_sec - began.tv_sec) * 1000000000u + (uint64_t)ended.tv_nsec - (uint64_t)began.tv_nsec;
}
