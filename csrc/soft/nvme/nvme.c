/* The software NVMe controller: the step of its thread, start and stop. */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t NSSR_MAGIC = 0x4e564d65; /* "NVMe" */

/* ---- the thread -------------------------------------------------------------------------------------------------- */

/* What the driver may have done to registers since the last look. */
static int watch_registers(struct controller *c) {
  const uint32_t cc = soft_load32(c->device, 0, REG_CC);
  if (cc == c->registers.cc) return 0;
  nvme_configuration_changed(c, cc);
  return 1;
}

/* The rest, which may wait for a moment without work. */
static void watch_rarely(struct controller *c) {
  if (nvme_wants_function_reset(c)) nvme_function_reset(c);
  if (soft_load32(c->device, 0, REG_NSSR) == NSSR_MAGIC) nvme_subsystem_reset(c);
  nvme_watch_cmb(c);
  nvme_protect_registers(c);
}

/* Looks at everything else once in so many steps without a break. */
enum { RARELY = 64 };

/* After so long without work others may have the processor between two looks. */
enum { YIELD_NS = 5000 };

static void pass_time(struct controller *c, uint64_t now) {
  nvme_pass_status(c, now);
  nvme_pass_self_test(c, now);
  nvme_pass_sanitize(c, now);
  if (c->registers.csts & CSTS_RDY && nvme_keep_alive_expired(c, now)) nvme_fatal(c);
}

static uint32_t until(uint64_t then, uint64_t now) {
  if (then == 0 || then == UINT64_MAX) return UINT32_MAX;
  const uint64_t wait_us = then <= now ? 0 : (then - now + 999) / 1000;
  return wait_us > UINT32_MAX ? UINT32_MAX : (uint32_t)wait_us;
}

static uint32_t earlier(uint32_t a, uint32_t b) { return a < b ? a : b; }

static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* There was nothing to do: how long to rest. As long as commands may be on their way, not at all: the driver's next
 * doorbell cannot wake a thread that sleeps. */
static uint32_t rest(struct controller *c, uint64_t now) {
  if (c->pace.had_work) {
    c->pace.had_work = 0;
    c->pace.last_work_ns = now;
  }
  if (c->pace.last_work_ns != 0 && now - c->pace.last_work_ns < c->settings.spin_us * 1000) {
    /* The driver may be waiting for this very processor: then looking on would only keep it from ringing. */
    if (now - c->pace.last_work_ns > YIELD_NS) sched_yield();
    else relax();
    return 0;
  }
  /* The longer nothing happened, the longer the naps. */
  const uint32_t nap = c->pace.last_work_ns == 0 ? UINT32_MAX : (uint32_t)((now - c->pace.last_work_ns) / 8000) + 1;
  const uint32_t wait = earlier(nap, earlier(until(c->registers.change_ns, now), until(nvme_next_due(c), now)));
  if (wait != 0) c->counters.naps++;
  return wait;
}

/* Commands and what follows from them. Returns how much there was to do. */
static unsigned work(struct controller *c) {
  unsigned count = (unsigned)watch_registers(c);
  if ((c->registers.csts & (CSTS_RDY | CSTS_CFS)) == CSTS_RDY && (c->registers.csts & CSTS_SHST) == 0) {
    count += nvme_run_queues(c);
    if (c->events.waiting_count != 0) count += nvme_send_events(c);
  }
  nvme_signal(c);
  return count;
}

static uint32_t step(bb_soft *device) {
  struct controller *c = controller_of(device);
  if (c->registers.gone & GONE_BARS) {
    nvme_keep_blank(c);
    return UINT32_MAX;
  }
  const unsigned count = work(c);
  if (c->registers.gone & GONE_BARS) return 0;
  if (count != 0) c->pace.had_work = 1;
  /* Time and the rarer registers are looked at now and then while commands flow, and before every nap. */
  if ((count != 0 || c->pace.last_work_ns != 0) && ++c->pace.steps % RARELY != 0) {
    if (count == 0) relax();
    return 0;
  }
  const uint64_t now = soft_now_ns();
  watch_rarely(c);
  pass_time(c, now);
  nvme_check_idle_doorbells(c);
  return count != 0 ? 0 : rest(c, now);
}

/* ---- start and stop ---------------------------------------------------------------------------------------------- */

static void stop(bb_soft *device) {
  struct controller *c = controller_of(device);
  nvme_close_queues(c);
  nvme_close_vectors(c);
  nvme_close_namespaces(c);
  nvme_close_firmware(c);
  nvme_free_transfers(c);
  free(c);
  device->state = NULL;
}

static uint32_t round_up(uint64_t value, uint64_t to) { return (uint32_t)((value + to - 1) / to * to); }

/* Registers, doorbells, then the MSI-X table and its pending bits, each in pages of its own. */
static int lay_out_bars(struct controller *c) {
  const uint64_t doorbells_end = DOORBELLS + 2 * (c->settings.queues + 1) * (4u << c->settings.dstrd);
  c->interrupts.table = round_up(doorbells_end < 0x3000 ? 0x3000 : doorbells_end, 0x1000);
  c->interrupts.pending = c->interrupts.table + round_up(c->settings.vectors * 16, 0x800);
  uint64_t size = 0x4000;
  while (size < c->interrupts.pending + c->settings.vectors / 8 + 8) size *= 2;
  const int result = soft_add_bar(c->device, 0, size);
  return result != 0 || c->settings.cmb == 0 ? result : soft_add_bar(c->device, CMB_BAR, c->settings.cmb);
}

static uint64_t capabilities(const struct settings *s) {
  /* Contiguous queues, NSSR, the NVM command set and CC.CSS=110b, pages of 4 KiB to 64 KiB. */
  uint64_t cap = s->mqes | UINT64_C(1) << 16 | s->to << 24 | s->dstrd << 32 | UINT64_C(1) << 36 |
                 UINT64_C(0x41) << 37 | (uint64_t)MPS_MAX << 52;
  if (s->cmb != 0) cap |= UINT64_C(1) << 57;
  /* From 2.0 a controller says that it becomes ready only with its media (CRMS), and how long that takes in CRTO. */
  if (s->version >= 0x00020000) cap |= UINT64_C(1) << 59;
  return cap;
}

static int set_up(struct controller *c, const char *text) {
  int result = nvme_read_settings(text, &c->settings);
  if (result == 0) result = lay_out_bars(c);
  if (result == 0) result = nvme_open_queues(c);
  if (result == 0) result = nvme_open_vectors(c);
  if (result == 0) result = nvme_open_namespaces(c);
  if (result != 0) return result;
  c->opened_ns = c->health.temperature_since_ns = soft_now_ns();
  c->registers.cap = capabilities(&c->settings);
  c->registers.vs = (uint32_t)c->settings.version;
  c->admin_operations = nvme_admin_operations;
  c->namespaces.ana_state = ANA_OPTIMIZED;
  nvme_open_health(c);
  nvme_open_firmware(c);
  nvme_reset_features(c);
  nvme_fill_config(c);
  nvme_reset_vectors(c);
  nvme_protect_registers(c);
  return nvme_open_faults(c);
}

static int start(bb_soft *device, const char *text) {
  struct controller *c = calloc(1, sizeof *c);
  if (c == NULL) return -ENOMEM;
  c->device = device;
  device->state = c;
  return set_up(c, text);
}

const struct soft_model soft_nvme = {
    .kind = "nvme",
    .start = start,
    .step = step,
    .stop = stop,
    .interrupt_fd = nvme_interrupt_fd,
};

/* ---- for tests --------------------------------------------------------------------------------------------------- */

static int is_nvme(const bb_soft *device) { return device != NULL && device->model == &soft_nvme; }

int32_t bb_soft_nvme_fault(bb_soft *device, const char *text) {
  if (!is_nvme(device) || text == NULL) return -EINVAL;
  soft_lock(device);
  const int32_t result = nvme_add_faults(controller_of(device), text);
  soft_unlock(device);
  return result;
}

int32_t bb_soft_nvme_counter(bb_soft *device, const char *name, uint64_t *value) {
  static const struct {
    const char *name;
    size_t at;
  } all[] = {
#define NVME_COUNTER(counter) {#counter, offsetof(struct counters, counter)},
      NVME_COUNTERS(NVME_COUNTER)
#undef NVME_COUNTER
  };
  if (!is_nvme(device) || name == NULL || value == NULL) return -EINVAL;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    if (strcmp(all[i].name, name) != 0) continue;
    soft_lock(device);
    memcpy(value, (const uint8_t *)&controller_of(device)->counters + all[i].at, sizeof *value);
    soft_unlock(device);
    return 0;
  }
  return -ENOENT;
}
