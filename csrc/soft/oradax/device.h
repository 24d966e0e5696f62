/* The software Data Analytics Accelerator as a device: memory, completion areas, the queue and its units. */
#ifndef ORADAX_DEVICE_H
#define ORADAX_DEVICE_H

#include <pthread.h>
#include <stddef.h>

#include "soft/busbar_soft.h"
#include "oradax.h"

enum { AREA_TOTAL_BYTES = CA_BYTES * CA_COUNT, MAX_UNITS = 8 };

/* States of CCB_INFO. */
enum entry_state { ENTRY_COMPLETED = 0, ENTRY_ENQUEUED = 1, ENTRY_IN_PROGRESS = 2, ENTRY_NOT_FOUND = 3 };
/* Actions of CCB_KILL. */
enum { ACTION_COMPLETED = 0, ACTION_DEQUEUED = 1, ACTION_KILLED = 2, ACTION_NOT_FOUND = 3 };

struct region {
  struct region *next;
  uint8_t *base;
  uint64_t size, page;
  int is_read_only;
};

/* The CCB of one completion area. */
struct entry {
  enum entry_state state;
  struct ccb ccb;
  struct stream streams[STREAM_COUNT];
  uint64_t submission;
  struct entry *next;      /* in the queue */
  struct entry *waits_for; /* the serial CCB before it, while that is not finished */
  int is_skipped;          /* its condition did not hold */
  int was_killed;
  atomic_int kill;
};

struct bb_soft_oradax {
  /* How it was set up. */
  unsigned dax, unit_count, queue_room;
  uint64_t delay_us;
  const struct oradax_kernels *kernels;

  /* The driver's side: only the owner gets past its checks, but the checks are made by all. */
  pthread_t owner, pending_thread;
  int has_pending;
  uint8_t result[16];

  uint8_t *areas;            /* the device's view of the completion areas */
  const uint8_t *user_areas; /* and the one that is mapped, read-only */
  struct region *regions;

  /* The hypervisor's answer to the next CCB, when it is not 0. */
  uint32_t refusal;
  uint64_t refusal_data;

  /* The queue, under the lock. */
  pthread_mutex_t lock;
  pthread_cond_t work, done;
  struct entry entries[CA_COUNT], *first;
  unsigned queued;
  uint64_t submissions;
  int is_ending;
  pthread_t units[MAX_UNITS];
};

/* Starts and ends the units. Ending them leaves what is queued. */
int units_start(bb_soft_oradax *device);
void units_stop(bb_soft_oradax *device);
/* With the lock held: puts an entry that is filled in at the end of the queue. previous is the serial CCB before it in
 * its submission, or NULL. */
void units_enqueue(bb_soft_oradax *device, struct entry *entry, struct entry *previous);
/* With the lock held: ends the CCB and returns the action. Waits for a unit that is just carrying it out. */
unsigned units_kill(bb_soft_oradax *device, struct entry *entry);
/* With the lock held: how many are in front of it in the queue. */
unsigned units_position(const bb_soft_oradax *device, const struct entry *entry);

static inline uint8_t *area_of(const bb_soft_oradax *device, size_t index) { return device->areas + index * CA_BYTES; }

/* The status byte is what the other side waits for: everything else in the area is written before it. */
static inline void set_status(uint8_t *area, unsigned status) { __atomic_store_n(area, (uint8_t)status, __ATOMIC_RELEASE); }
static inline unsigned get_status(const uint8_t *area) { return __atomic_load_n(area, __ATOMIC_ACQUIRE); }

#endif
