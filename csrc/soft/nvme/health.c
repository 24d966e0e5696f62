/* How the controller is: temperature and spare, counters, the error log. */
#define _GNU_SOURCE
#include "controller.h"

#include <string.h>

enum { WARN_SPARE = 1, WARN_TEMPERATURE = 2, WARN_RELIABILITY = 4, WARN_READ_ONLY = 8 };

enum { MINUTE_S = 60 };

void nvme_open_health(struct controller *c) {
  c->health = (struct health){.temperature = 313, .spare = 100, .spare_threshold = 10, .used = 1, .power_cycles = 1};
}

static uint8_t critical_warning(const struct controller *c) {
  const struct health *h = &c->health;
  const struct features *f = &c->features;
  uint8_t warning = h->forced_warning;
  if (h->spare < h->spare_threshold) warning |= WARN_SPARE;
  if (h->temperature >= f->over[0] || h->temperature <= f->under[0]) warning |= WARN_TEMPERATURE;
  return warning;
}

static void count_hot_time(struct health *h, uint64_t now) {
  const uint64_t passed = now - h->temperature_since_ns;
  if (h->temperature >= CRITICAL_KELVIN) h->critical_ns += passed;
  else if (h->temperature >= WARNING_KELVIN) h->warning_ns += passed;
  h->temperature_since_ns = now;
}

/* Tells of a warning that is new, if the driver wants to hear of its kind (feature 0Bh, bits 7:0). */
void nvme_health_changed(struct controller *c, uint8_t before) {
  static const uint8_t info[] = {[0] = EVENT_INFO_SPARE, [1] = EVENT_INFO_TEMPERATURE, [2] = EVENT_INFO_RELIABILITY,
                                 [3] = EVENT_INFO_RELIABILITY};
  const uint32_t fresh = critical_warning(c) & ~(uint32_t)before & c->features.current[FEATURE_EVENTS];
  for (unsigned bit = 0; bit < sizeof info; bit++) {
    if (fresh >> bit & 1) nvme_raise_event(c, EVENT_HEALTH, info[bit], LOG_HEALTH);
  }
}

uint8_t nvme_health_warning(const struct controller *c) { return critical_warning(c); }

void nvme_set_temperature(struct controller *c, uint16_t kelvin) {
  const uint8_t before = critical_warning(c);
  count_hot_time(&c->health, soft_now_ns());
  c->health.temperature = kelvin;
  nvme_health_changed(c, before);
}

uint64_t nvme_power_on_hours(const struct controller *c, uint64_t now) { return (now - c->opened_ns) / 1000000000 / 3600; }

/* A data unit is 1000 × 512 bytes, rounded up (§5.16.1.3). */
static uint64_t data_units(uint64_t sectors) { return (sectors + 999) / 1000; }

void nvme_fill_health_log(struct controller *c, uint8_t *at) {
  const uint64_t now = soft_now_ns();
  struct health *h = &c->health;
  count_hot_time(h, now);
  memset(at, 0, 512);
  at[0] = critical_warning(c);
  put16(at + 1, h->temperature);
  at[3] = h->spare;
  at[4] = h->spare_threshold;
  at[5] = h->used;
  put64(at + 32, data_units(h->sectors_read));
  put64(at + 48, data_units(h->sectors_written));
  put64(at + 64, h->reads);
  put64(at + 80, h->writes);
  put64(at + 96, h->busy_ns / 1000000000 / MINUTE_S);
  put64(at + 112, h->power_cycles);
  put64(at + 128, nvme_power_on_hours(c, now));
  put64(at + 144, h->unsafe_shutdowns);
  put64(at + 160, h->media_errors);
  put64(at + 176, h->error_count);
  put32(at + 192, h->warning_ns / 1000000000 / MINUTE_S);
  put32(at + 196, h->critical_ns / 1000000000 / MINUTE_S);
  put16(at + 200, h->temperature);
}

/* ---- errors (§5.16.1.2) ------------------------------------------------------------------------------------------ */

void nvme_log_error(struct controller *c, const struct command *cmd) {
  struct health *h = &c->health;
  h->errors[h->error_count++ % ERROR_ENTRIES] = (struct error_entry){
      .count = h->error_count,
      .sqid = cmd->sq->id,
      .cid = cmd->sqe.cid,
      .status = (uint16_t)(cmd->status << 1 | cmd->sq->cq->phase),
      .location = cmd->location,
      .lba = cmd->lba,
      .nsid = cmd->sqe.nsid,
  };
}

void nvme_fill_error_log(const struct controller *c, uint8_t *at) {
  const struct health *h = &c->health;
  const uint64_t kept = h->error_count < ERROR_ENTRIES ? h->error_count : ERROR_ENTRIES;
  memset(at, 0, ERROR_ENTRIES * 64);
  for (uint64_t i = 0; i < kept; i++, at += 64) {
    const struct error_entry *e = &h->errors[(h->error_count - 1 - i) % ERROR_ENTRIES];
    put64(at, e->count);
    put16(at + 8, e->sqid);
    put16(at + 10, e->cid);
    put16(at + 12, e->status);
    put16(at + 14, e->location);
    put64(at + 16, e->lba);
    put32(at + 24, e->nsid);
  }
}
