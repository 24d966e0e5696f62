/*
 * The software NVMe controller as a whole: the state of each part, which its own header describes. A file uses those above
 * it in this list and none below it.
 *
 *   spec.h            what lies in memory, and numbers
 *   settings.c        the settings of a locator
 *   store.c pi.c      the medium: memory or a file; protection information
 *   registers.c       registers and status
 *   config.c          PCI configuration space
 *   dma.c             PRPs, SGLs, and moving data
 *   event.c           asynchronous events
 *   health.c          temperature, counters, error log
 *   block.c zone.c    blocks on the medium; states of zones
 *   namespace.c       namespaces, Namespace Management, Namespace Attachment
 *   block_transfer.c  blocks between the host and the medium
 *   interrupt.c       MSI-X
 *   doorbell.c        doorbells and shadow doorbells
 *   deferred.c        commands that wait
 *   queue.c           queues, posting completions
 *   event_report.c    completions of asynchronous event requests
 *   feature.c firmware.c format.c self_test.c identify.c log.c range.c zone_command.c   admin and I/O commands
 *   admin.c io.c      the command sets
 *   fault.c           faults on demand
 *   reset.c enable.c  resets, a function that vanishes; enable, disable, shutdown
 *   fault_text.c      the words for faults, and those that happen at once
 *   execute.c         fetching commands and carrying them out
 *   nvme.c            the step of the thread, start and stop
 *
 * One thread plays all of it, with the device's lock held, so nothing here is atomic but what the driver also touches.
 */
#ifndef BUSBAR_SOFT_NVME_CONTROLLER_H
#define BUSBAR_SOFT_NVME_CONTROLLER_H

#include "soft/model.h"

#include "block.h"
#include "commands.h"
#include "config.h"
#include "deferred.h"
#include "dma.h"
#include "doorbell.h"
#include "event.h"
#include "fault.h"
#include "feature.h"
#include "firmware.h"
#include "format.h"
#include "health.h"
#include "interrupt.h"
#include "namespace.h"
#include "pi.h"
#include "queue.h"
#include "registers.h"
#include "reset.h"
#include "settings.h"
#include "spec.h"
#include "store.h"
#include "zone.h"

/* Counters that tests read by name. */
#define NVME_COUNTERS(X)                                                                \
  X(commands)        /* fetched */                                                      \
  X(completions)     /* posted */                                                       \
  X(dma_errors)      /* accesses outside of all DMA memory */                           \
  X(doorbell_errors) /* invalid values, and doorbells of queues that do not exist */    \
  X(queue_full)      /* looks at a command that waited for room in a completion queue */ \
  X(interrupts)      /* signalled */                                                    \
  X(faults)          /* times that a rule fired */                                      \
  X(naps)            /* times that the thread slept */

struct counters {
#define NVME_COUNTER(name) uint64_t name;
  NVME_COUNTERS(NVME_COUNTER)
#undef NVME_COUNTER
};

/* When there was last something to do, and so how soon to look again. */
struct pace {
  uint64_t last_work_ns; /* 0: never yet */
  int had_work;
  unsigned steps;
};

enum { PAGE_ROOM = 32768 };

struct logs {
  uint8_t telemetry_generation;
};

struct controller {
  bb_soft *device;
  struct settings settings;
  struct counters counters;
  struct pace pace;
  uint64_t opened_ns;

  struct registers registers;
  struct memory memory;
  struct queues queues;
  struct doorbells doorbells;
  struct deferred deferred;
  struct interrupts interrupts;
  struct namespaces namespaces;
  struct health health;
  struct events events;
  struct features features;
  struct firmware firmware;
  struct sanitize sanitize;
  struct logs logs;
  struct faults faults;

  const struct operation *admin_operations; /* for the log that lists them */
  uint8_t page[PAGE_ROOM];                  /* in which Identify and logs are made */
};

static inline struct controller *controller_of(bb_soft *device) { return device->state; }

/* How much of the time between two moments has passed. */
static inline unsigned nvme_percent(uint64_t from, uint64_t to, uint64_t now) {
  if (now >= to) return 100;
  return now <= from ? 0 : (unsigned)((now - from) * 100 / (to - from));
}

#endif
