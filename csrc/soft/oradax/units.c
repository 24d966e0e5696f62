/* The units of the software coprocessor: threads that take CCBs from one queue, first come, first served. */
#define _GNU_SOURCE
#include "device.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static uint64_t now_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void write_area(uint8_t *area, const struct completion *from, uint64_t run_ns) {
  area[1] = (uint8_t)from->error;
  store_be32(area + 4, from->error_value);
  store_be32(area + 8, from->output_bytes);
  store_be64(area + 16, run_ns);
  store_be32(area + 32, from->elements);
  store_be64(area + 56, from->ones);
  set_status(area, from->status);
}

/* A CCB in flight takes at least so long, and can be killed meanwhile. */
static void delay(const bb_soft_oradax *device, struct entry *entry) {
  const struct timespec slice = {0, 50000};
  const uint64_t began = now_ns(CLOCK_MONOTONIC);
  while (now_ns(CLOCK_MONOTONIC) - began < device->delay_us * 1000 && !atomic_load(&entry->kill)) nanosleep(&slice, NULL);
}

static void carry_out(const bb_soft_oradax *device, struct entry *entry, struct completion *out) {
  const struct ccb *ccb = &entry->ccb;
  *out = (struct completion){.status = CA_SUCCESS};
  if (entry->is_skipped) {
    out->status = CA_NOT_RUN;
  } else if (atomic_load(&entry->kill)) {
    *out = (struct completion){.status = CA_KILLED, .error = ERROR_KILLED};
  } else if (ccb->opcode != OPCODE_NOOP && ccb_is_invalid(ccb)) {
    *out = (struct completion){.status = CA_FAILED, .error = ERROR_DECODE};
  } else if (ccb->opcode != OPCODE_NOOP) {
    ccb_run(ccb, entry->streams, device->kernels, &entry->kill, out);
  }
}

/* Everything of the same submission that was enqueued before it is finished. */
static int is_oldest(const bb_soft_oradax *device, const struct entry *entry) {
  for (const struct entry *one = device->first; one != entry; one = one->next) {
    if (one->submission == entry->submission) return 0;
  }
  for (unsigned i = 0; i < CA_COUNT; i++) {
    const struct entry *one = &device->entries[i];
    if (one->state == ENTRY_IN_PROGRESS && one->submission == entry->submission) return 0;
  }
  return 1;
}

static int is_ready(const bb_soft_oradax *device, const struct entry *entry) {
  if (entry->waits_for != NULL) return 0;
  return !(entry->ccb.opcode == OPCODE_NOOP && entry->ccb.is_sync) || is_oldest(device, entry);
}

static void unlink_entry(bb_soft_oradax *device, struct entry *entry) {
  struct entry **link = &device->first;
  while (*link != entry) link = &(*link)->next;
  *link = entry->next;
  device->queued--;
}

static struct entry *next_ready(const bb_soft_oradax *device) {
  struct entry *entry = device->first;
  while (entry != NULL && !is_ready(device, entry)) entry = entry->next;
  return entry;
}

/* Lets those go on that waited for it. */
static void release_dependents(bb_soft_oradax *device, const struct entry *entry, int succeeded) {
  for (struct entry *one = device->first; one != NULL; one = one->next) {
    if (one->waits_for != entry) continue;
    one->waits_for = NULL;
    one->is_skipped = one->ccb.is_conditional && !succeeded;
  }
  pthread_cond_broadcast(&device->work);
  pthread_cond_broadcast(&device->done);
}

static void *unit(void *argument) {
  bb_soft_oradax *device = argument;
  pthread_mutex_lock(&device->lock);
  while (!device->is_ending) {
    struct entry *entry = next_ready(device);
    if (entry == NULL) {
      pthread_cond_wait(&device->work, &device->lock);
      continue;
    }
    unlink_entry(device, entry);
    entry->state = ENTRY_IN_PROGRESS;
    pthread_mutex_unlock(&device->lock);
    struct completion completion;
    delay(device, entry);
    /* Run time is processor time of the unit: what else the machine does is no part of it. */
    const uint64_t began = now_ns(CLOCK_THREAD_CPUTIME_ID);
    carry_out(device, entry, &completion);
    const uint64_t run_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) - began;
    pthread_mutex_lock(&device->lock);
    entry->state = ENTRY_COMPLETED;
    entry->was_killed = completion.status == CA_KILLED;
    write_area(area_of(device, (size_t)(entry - device->entries)), &completion, run_ns == 0 ? 1 : run_ns);
    release_dependents(device, entry, completion.status == CA_SUCCESS);
  }
  pthread_mutex_unlock(&device->lock);
  return NULL;
}

int units_start(bb_soft_oradax *device) {
  for (unsigned i = 0; i < device->unit_count; i++) {
    const int error = pthread_create(&device->units[i], NULL, unit, device);
    if (error == 0) continue;
    device->unit_count = i;
    units_stop(device);
    return -error;
  }
  return 0;
}

void units_stop(bb_soft_oradax *device) {
  pthread_mutex_lock(&device->lock);
  device->is_ending = 1;
  pthread_cond_broadcast(&device->work);
  pthread_mutex_unlock(&device->lock);
  for (unsigned i = 0; i < device->unit_count; i++) pthread_join(device->units[i], NULL);
}

void units_enqueue(bb_soft_oradax *device, struct entry *entry, struct entry *previous) {
  struct entry **link = &device->first;
  while (*link != NULL) link = &(*link)->next;
  *link = entry;
  device->queued++;
  entry->next = NULL;
  entry->state = ENTRY_ENQUEUED;
  /* A sync waits for everything before it anyway; others wait when they are in the chain or depend on its outcome. */
  const int follows = entry->ccb.is_serial || entry->ccb.is_conditional;
  entry->waits_for = NULL;
  entry->is_skipped = 0;
  if (follows && previous != NULL) {
    if (previous->state == ENTRY_ENQUEUED || previous->state == ENTRY_IN_PROGRESS) entry->waits_for = previous;
    else entry->is_skipped = entry->ccb.is_conditional && get_status(area_of(device, (size_t)(previous - device->entries))) != CA_SUCCESS;
  }
  pthread_cond_signal(&device->work);
}

unsigned units_kill(bb_soft_oradax *device, struct entry *entry) {
  if (entry->state == ENTRY_ENQUEUED) {
    unlink_entry(device, entry);
    entry->state = ENTRY_COMPLETED;
    release_dependents(device, entry, 0);
    return ACTION_DEQUEUED;
  }
  if (entry->state == ENTRY_NOT_FOUND) return ACTION_NOT_FOUND;
  if (entry->state == ENTRY_COMPLETED) return ACTION_COMPLETED;
  /* A unit looks at the flag after every block, so this is short. */
  atomic_store(&entry->kill, 1);
  while (entry->state == ENTRY_IN_PROGRESS) pthread_cond_wait(&device->done, &device->lock);
  return entry->was_killed ? ACTION_KILLED : ACTION_COMPLETED;
}

unsigned units_position(const bb_soft_oradax *device, const struct entry *entry) {
  unsigned ahead = 0;
  for (const struct entry *one = device->first; one != entry; one = one->next) ahead++;
  return ahead;
}
