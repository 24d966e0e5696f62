/*
 * A software NVMe controller: registers, enable and disable with a delay, shutdown, fatal status on bad queue
 * addresses and configurations. NVMe Base 2.0 §3.1.3 (registers), §3.5 and §3.6 (initialisation and shutdown).
 *
 * One difference: registers are memory, and a store of the value that is already there cannot be seen. So CSTS.NSSRO,
 * which real controllers clear when 1 is written to it, is cleared by the next enable. INTMS and INTMC, which nobody may
 * touch who uses MSI-X, do nothing.
 */
#define _GNU_SOURCE
#include "nvme.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t NSSR_MAGIC = 0x4e564d65; /* "NVMe" */
static const unsigned MPS_MAX = 4;             /* 64 KiB */
static const uint32_t CMB_BAR = 2;

enum { CMBMSC_CRE = 1, CMBMSC_CMSE = 2, CMBSTS_CBAI = 1 };

static void show_status(struct controller *c, uint32_t csts) {
  c->csts = csts;
  soft_store32(c->device, 0, REG_CSTS, csts);
}

/* Shows csts after a delay, or at once. */
static void change_status(struct controller *c, uint64_t delay_ms, uint32_t csts) {
  c->change_ns = delay_ms == 0 ? 0 : soft_now_ns() + delay_ms * 1000000;
  if (delay_ms == 0) show_status(c, csts);
  else c->csts_then = csts;
}

void nvme_fatal(struct controller *c) {
  c->change_ns = 0;
  show_status(c, c->csts | CSTS_CFS);
}

/* ---- enable, disable, reset -------------------------------------------------------------------------------------- */

/* True when the controller can work with what the driver has set up. */
static int can_enable(const struct controller *c, uint32_t cc) {
  const uint32_t aqa = soft_load32(c->device, 0, REG_AQA);
  const uint64_t asq = soft_load64(c->device, 0, REG_ASQ), acq = soft_load64(c->device, 0, REG_ACQ);
  const uint32_t css = cc >> 4 & 7, mps = cc >> 7 & 15, ams = cc >> 11 & 7;
  const uint32_t iosqes = cc >> 16 & 15, iocqes = cc >> 20 & 15;
  const int sizes = (aqa & 0xfff) != 0 && (aqa >> 16 & 0xfff) != 0;
  const int addresses = asq != 0 && acq != 0 && asq % PAGE_BYTES == 0 && acq % PAGE_BYTES == 0;
  return sizes && addresses && (css == 0 || css == 6) && mps <= MPS_MAX && ams == 0 && iosqes == 6 && iocqes == 4;
}

static void enable(struct controller *c, uint32_t cc) {
  const uint32_t aqa = soft_load32(c->device, 0, REG_AQA);
  if (!can_enable(c, cc)) {
    nvme_fatal(c);
    return;
  }
  c->page_shift = 12 + (cc >> 7 & 15);
  c->max_transfer = c->settings.mdts == 0 ? UINT64_MAX : UINT64_C(4096) << c->settings.mdts;
  nvme_start_cq(c, 0, (aqa >> 16 & 0xfff) + 1, soft_load64(c->device, 0, REG_ACQ));
  c->cqs[0].interrupts = 1;
  if (nvme_start_sq(c, 0, (aqa & 0xfff) + 1, soft_load64(c->device, 0, REG_ASQ), 0) != 0) {
    nvme_fatal(c);
    return;
  }
  if (c->faults.never_ready) return;
  change_status(c, c->settings.ready_ms, CSTS_RDY);
}

static void close_zones(struct controller *c) {
  for (uint32_t nsid = 1; nsid <= c->settings.nn; nsid++) {
    struct ns *ns = nvme_allocated(c, nsid);
    if (ns != NULL && ns->zone != NULL) nvme_close_open_zones(ns);
  }
}

/* What a controller level reset does to everything but registers, §3.7.2. */
static void forget(struct controller *c) {
  nvme_reset_queues(c);
  nvme_reset_vectors(c);
  nvme_reset_events(c);
  nvme_reset_features(c);
  nvme_reset_firmware(c);
  nvme_reset_self_test(c);
  nvme_finish_formats(c);
  close_zones(c);
}

static void disable(struct controller *c) {
  forget(c);
  if (c->faults.never_unready) return;
  change_status(c, c->settings.ready_ms, c->csts & CSTS_NSSRO);
}

static void shut_down(struct controller *c) {
  close_zones(c);
  const uint32_t others = c->csts & ~(uint32_t)CSTS_SHST;
  show_status(c, others | CSTS_SHST_BUSY);
  if (c->faults.never_shut_down) return;
  change_status(c, c->settings.shutdown_ms, others | CSTS_SHST_DONE);
}

static void configuration_changed(struct controller *c, uint32_t cc) {
  const uint32_t before = c->cc;
  c->cc = cc;
  if (!(before & 1) && (cc & 1)) enable(c, cc);
  else if ((before & 1) && !(cc & 1)) disable(c);
  if ((cc >> 14 & 3) != 0 && (before >> 14 & 3) == 0) shut_down(c);
}

void nvme_catch_up(struct controller *c) {
  const uint32_t others = c->csts & ~(uint32_t)(CSTS_RDY | CSTS_SHST);
  if (c->change_ns != 0 || c->csts & CSTS_CFS || c->gone) return;
  const uint32_t shutdown = (c->cc >> 14 & 3) != 0 ? CSTS_SHST_DONE : 0;
  show_status(c, others | (c->cc & 1 ? CSTS_RDY : 0) | shutdown);
}

/* ---- registers --------------------------------------------------------------------------------------------------- */

static uint32_t cmbloc(const struct controller *c) {
  /* BIR 2, at its start; queues, lists and data may be mixed with memory elsewhere as the driver likes (bits 8:3). */
  return c->cmbmsc & CMBMSC_CRE ? CMB_BAR | 0x1f8 : 0;
}

static uint32_t cmbsz(const struct controller *c) {
  /* Everything may live there (bits 4:0); in units of 4 KiB. */
  return c->cmbmsc & CMBMSC_CRE ? 0x1f | (uint32_t)(c->settings.cmb / 4096) << 12 : 0;
}

static void put_back32(struct controller *c, uint32_t offset, uint32_t value) {
  if (soft_load32(c->device, 0, offset) != value) soft_store32(c->device, 0, offset, value);
}

/* The driver's stores go straight into memory, so registers that it may not change are put back. */
static void protect_registers(struct controller *c) {
  put_back32(c, REG_CAP, (uint32_t)c->cap);
  put_back32(c, REG_CAP + 4, (uint32_t)(c->cap >> 32));
  put_back32(c, REG_VS, c->vs);
  put_back32(c, REG_CSTS, c->csts);
  put_back32(c, REG_CMBLOC, cmbloc(c));
  put_back32(c, REG_CMBSZ, cmbsz(c));
  put_back32(c, REG_CMBSTS, c->cmbmsc & CMBMSC_CMSE && (c->cmbmsc >> 12 << 12) > UINT64_MAX - c->settings.cmb
                                ? CMBSTS_CBAI : 0);
  put_back32(c, REG_CRTO, c->cap >> 59 & 3 ? (uint32_t)(c->settings.to << 16 | c->settings.to) : 0);
}

/* Controller memory buffer: exposed by CRE, and part of the controller's address space by CMSE (§8.5). */
static void watch_cmb(struct controller *c) {
  const uint64_t cmbmsc = c->settings.cmb == 0 ? 0 : soft_load64(c->device, 0, REG_CMBMSC);
  if (cmbmsc == c->cmbmsc) return;
  c->cmbmsc = cmbmsc;
  c->generation++;
  protect_registers(c);
}

/* Every register as after power-on. */
static void reset_registers(struct controller *c, uint32_t csts) {
  static const uint32_t writable[] = {REG_INTMS, REG_INTMC, REG_CC, REG_NSSR, REG_AQA, REG_ASQ, REG_ASQ + 4,
                                      REG_ACQ, REG_ACQ + 4, REG_CMBMSC, REG_CMBMSC + 4};
  for (size_t i = 0; i < sizeof writable / sizeof *writable; i++) soft_store32(c->device, 0, writable[i], 0);
  c->cc = 0;
  c->cmbmsc = 0;
  c->change_ns = 0;
  show_status(c, csts);
  protect_registers(c);
}

static void subsystem_reset(struct controller *c) {
  forget(c);
  reset_registers(c, CSTS_NSSRO);
}

static void function_reset(struct controller *c) {
  forget(c);
  reset_registers(c, 0);
  nvme_end_function_reset(c);
}

/* ---- a function that vanishes ------------------------------------------------------------------------------------ */

/* Every byte of the BARs reads all ones, also those that the driver has written since. */
static void keep_blank(struct controller *c) {
  if (!(c->gone & GONE_BARS) || c->gone & GONE_SIGBUS) return;
  for (uint32_t offset = 0; offset < c->device->bars[0].size; offset += 8) {
    if (soft_load64(c->device, 0, offset) != UINT64_MAX) soft_store64(c->device, 0, offset, UINT64_MAX);
  }
}

static void for_each_bar(struct controller *c, void (*act)(struct controller *c, unsigned bar)) {
  for (unsigned bar = 0; bar < BAR_COUNT; bar++) {
    if (c->device->bars[bar].base != NULL) act(c, bar);
  }
}

static void blank(struct controller *c, unsigned bar) {
  for (uint64_t offset = 0; offset < c->device->bars[bar].size; offset += 8) {
    soft_store64(c->device, bar, (uint32_t)offset, UINT64_MAX);
  }
}

static void wipe(struct controller *c, unsigned bar) {
  for (uint64_t offset = 0; offset < c->device->bars[bar].size; offset += 8) {
    soft_store64(c->device, bar, (uint32_t)offset, 0);
  }
}

static void take_away(struct controller *c, unsigned bar) { soft_bar_present(c->device, bar, 0); }
static void give_back(struct controller *c, unsigned bar) { soft_bar_present(c->device, bar, 1); }

void nvme_set_gone(struct controller *c, unsigned gone) {
  if (c->gone != 0) nvme_set_present(c);
  if (gone & GONE_BARS) forget(c);
  c->gone = gone;
  if (gone & GONE_CONFIG) nvme_blank_config(c);
  if (gone & GONE_BARS) for_each_bar(c, gone & GONE_SIGBUS ? take_away : blank);
}

void nvme_set_present(struct controller *c) {
  const unsigned before = c->gone;
  c->gone = 0;
  if (before & GONE_CONFIG) nvme_fill_config(c);
  if (!(before & GONE_BARS)) return;
  if (before & GONE_SIGBUS) for_each_bar(c, give_back);
  for_each_bar(c, wipe);
  c->health.unsafe_shutdowns++;
  c->health.power_cycles++;
  nvme_reset_vectors(c);
  reset_registers(c, 0);
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

/* What the driver may have done to registers since the last look. */
static int watch_registers(struct controller *c) {
  const uint32_t cc = soft_load32(c->device, 0, REG_CC);
  if (cc == c->cc) return 0;
  configuration_changed(c, cc);
  return 1;
}

/* The rest, which may wait for a moment without work. */
static void watch_rarely(struct controller *c) {
  if (nvme_wants_function_reset(c)) function_reset(c);
  if (soft_load32(c->device, 0, REG_NSSR) == NSSR_MAGIC) subsystem_reset(c);
  watch_cmb(c);
  protect_registers(c);
}

/* Looks at everything else once in so many steps without a break. */
enum { RARELY = 64 };

static void pass_time(struct controller *c, uint64_t now) {
  if (c->change_ns != 0 && now >= c->change_ns) {
    c->change_ns = 0;
    show_status(c, c->csts_then);
  }
  nvme_pass_self_test(c, now);
  nvme_pass_sanitize(c, now);
  if (c->csts & CSTS_RDY && nvme_keep_alive_expired(c, now)) nvme_fatal(c);
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
  if (c->had_work) {
    c->had_work = 0;
    c->last_work_ns = now;
  }
  if (c->last_work_ns != 0 && now - c->last_work_ns < c->settings.spin_us * 1000) {
    relax();
    return 0;
  }
  /* The longer nothing happened, the longer the naps. */
  const uint32_t nap = c->last_work_ns == 0 ? UINT32_MAX : (uint32_t)((now - c->last_work_ns) / 8000) + 1;
  const uint32_t wait = earlier(nap, earlier(until(c->change_ns, now), until(nvme_next_due(c), now)));
  if (wait != 0) c->counters.naps++;
  return wait;
}

/* Commands and what follows from them. Returns how much there was to do. */
static unsigned work(struct controller *c) {
  unsigned count = (unsigned)watch_registers(c);
  if ((c->csts & (CSTS_RDY | CSTS_CFS)) == CSTS_RDY && (c->csts & CSTS_SHST) == 0) {
    count += nvme_run_queues(c);
    if (c->events.waiting_count != 0) count += nvme_send_events(c);
  }
  nvme_signal(c);
  return count;
}

static uint32_t step(bb_soft *device) {
  struct controller *c = controller_of(device);
  if (c->gone & GONE_BARS) {
    keep_blank(c);
    return UINT32_MAX;
  }
  const unsigned count = work(c);
  if (c->gone & GONE_BARS) return 0;
  if (count != 0) c->had_work = 1;
  /* Time and the rarer registers are looked at now and then while commands flow, and before every nap. */
  if ((count != 0 || c->last_work_ns != 0) && ++c->steps % RARELY != 0) {
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
  c->msix_table = round_up(doorbells_end < 0x3000 ? 0x3000 : doorbells_end, 0x1000);
  c->msix_pending = c->msix_table + round_up(c->settings.vectors * 16, 0x800);
  uint64_t size = 0x4000;
  while (size < c->msix_pending + c->settings.vectors / 8 + 8) size *= 2;
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
  c->cap = capabilities(&c->settings);
  c->vs = (uint32_t)c->settings.version;
  c->ana_state = ANA_OPTIMIZED;
  nvme_open_health(c);
  nvme_open_firmware(c);
  nvme_reset_features(c);
  nvme_fill_config(c);
  nvme_reset_vectors(c);
  protect_registers(c);
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
