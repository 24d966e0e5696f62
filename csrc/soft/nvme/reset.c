/* Resets of every kind (§3.7), and a function that vanishes from the bus and comes back. */
#define _GNU_SOURCE
#include "controller.h"

void nvme_close_all_zones(struct controller *c) {
  for (uint32_t nsid = 1; nsid <= c->settings.nn; nsid++) {
    struct ns *ns = nvme_allocated(c, nsid);
    if (ns != NULL && ns->zone != NULL) nvme_close_open_zones(ns);
  }
}

/* What a controller level reset does to everything but registers, §3.7.2. */
void nvme_reset_controller(struct controller *c) {
  nvme_reset_queues(c);
  nvme_reset_vectors(c);
  nvme_reset_events(c);
  nvme_reset_features(c);
  nvme_reset_firmware(c);
  nvme_reset_self_test(c);
  nvme_finish_formats(c);
  nvme_close_all_zones(c);
}

void nvme_subsystem_reset(struct controller *c) {
  nvme_reset_controller(c);
  nvme_reset_registers(c, CSTS_NSSRO);
}

void nvme_function_reset(struct controller *c) {
  nvme_reset_controller(c);
  nvme_reset_registers(c, 0);
  nvme_end_function_reset(c);
}

/* ---- a function that vanishes ------------------------------------------------------------------------------------ */

/* Every byte of the BARs reads all ones, also those that the driver has written since. */
void nvme_keep_blank(struct controller *c) {
  if (!(c->registers.gone & GONE_BARS) || c->registers.gone & GONE_SIGBUS) return;
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
  if (c->registers.gone != 0) nvme_set_present(c);
  if (gone & GONE_BARS) nvme_reset_controller(c);
  c->registers.gone = gone;
  if (gone & GONE_CONFIG) nvme_blank_config(c);
  if (gone & GONE_BARS) for_each_bar(c, gone & GONE_SIGBUS ? take_away : blank);
}

void nvme_set_present(struct controller *c) {
  const unsigned before = c->registers.gone;
  c->registers.gone = 0;
  if (before & GONE_CONFIG) nvme_fill_config(c);
  if (!(before & GONE_BARS)) return;
  if (before & GONE_SIGBUS) for_each_bar(c, give_back);
  for_each_bar(c, wipe);
  c->health.unsafe_shutdowns++;
  c->health.power_cycles++;
  nvme_reset_vectors(c);
  nvme_reset_registers(c, 0);
}
