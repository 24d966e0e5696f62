/* Get Features and Set Features, §5.15 and §5.27. Most are one dword; those with data of their own have a handler. */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SAVEABLE = 1, PER_NAMESPACE = 2, CHANGEABLE = 4 }; /* as Get Features tells them with SEL 11b, §5.15.2 */

enum { CURRENT = 0, DEFAULT = 1, SAVED = 2, ABILITIES = 3 };

struct feature {
  uint8_t abilities;
  uint32_t first;   /* the default */
  uint32_t allowed; /* bits of CDW11 that may be set */
  handler get, set; /* NULL: the dword alone */
};

static uint32_t *current(struct controller *c, const struct command *cmd) {
  return &c->features.current[cmd->sqe.cdw10 & 0xff];
}

/* ---- features that are more than a dword ------------------------------------------------------------------------- */

static uint16_t set_power(struct controller *c, struct command *cmd) {
  if ((cmd->sqe.cdw11 & 31) >= POWER_STATES) return refuse(cmd, SC_INVALID_FIELD, CDW(11), 0);
  *current(c, cmd) = cmd->sqe.cdw11;
  return SC_OK;
}

/* LBA ranges: 64 entries of 64 bytes at most, kept as they are. */
enum { RANGE_BYTES = 64 };

static uint16_t get_ranges(struct controller *c, struct command *cmd) {
  cmd->dw0 = cmd->ns->lba_range_count;
  return nvme_send(c, cmd, cmd->ns->lba_ranges, sizeof cmd->ns->lba_ranges);
}

static uint16_t set_ranges(struct controller *c, struct command *cmd) {
  const uint32_t count = cmd->sqe.cdw11 & 63;
  const uint16_t status = nvme_receive(c, cmd, cmd->ns->lba_ranges, ((uint64_t)count + 1) * RANGE_BYTES);
  if (status == SC_OK) cmd->ns->lba_range_count = count;
  return status;
}

/* Temperature threshold: of the composite (0), a sensor (1 to 8), or with Set all (15); over or under. */
static uint16_t *threshold(struct controller *c, unsigned sensor, int under) {
  return under ? &c->features.under[sensor] : &c->features.over[sensor];
}

static uint16_t get_threshold(struct controller *c, struct command *cmd) {
  const unsigned sensor = cmd->sqe.cdw11 >> 16 & 15, type = cmd->sqe.cdw11 >> 20 & 3;
  if (sensor > 1 || type > 1) return refuse(cmd, SC_INVALID_FIELD, CDW(11) + 2, 0);
  cmd->dw0 = *threshold(c, sensor, (int)type);
  return SC_OK;
}

static uint16_t set_threshold(struct controller *c, struct command *cmd) {
  const unsigned sensor = cmd->sqe.cdw11 >> 16 & 15, type = cmd->sqe.cdw11 >> 20 & 3;
  if ((sensor > 1 && sensor != 15) || type > 1) return refuse(cmd, SC_INVALID_FIELD, CDW(11) + 2, 0);
  const uint8_t before = nvme_health_warning(c);
  for (unsigned s = 0; s < 2; s++) {
    if (s == sensor || sensor == 15) *threshold(c, s, (int)type) = (uint16_t)cmd->sqe.cdw11;
  }
  nvme_health_changed(c, before);
  return SC_OK;
}

/* Error recovery: TLER of the controller; DULBE (bit 16) of each namespace. */
static uint16_t get_recovery(struct controller *c, struct command *cmd) {
  cmd->dw0 = (*current(c, cmd) & 0xffff) | (cmd->ns->dulbe ? 1u << 16 : 0);
  return SC_OK;
}

static uint16_t set_recovery(struct controller *c, struct command *cmd) {
  *current(c, cmd) = cmd->sqe.cdw11 & 0xffff;
  cmd->ns->dulbe = (cmd->sqe.cdw11 >> 16 & 1) != 0;
  return SC_OK;
}

/* Number of queues: how many there may be is settled before the first is created (§5.27.1.5). */
static uint16_t set_queues(struct controller *c, struct command *cmd) {
  const uint32_t sqs = cmd->sqe.cdw11 & 0xffff, cqs = cmd->sqe.cdw11 >> 16;
  if (sqs == 0xffff || cqs == 0xffff) return refuse(cmd, SC_INVALID_FIELD, CDW(11), 0);
  for (uint64_t id = 1; id <= c->settings.queues; id++) {
    if (c->queues.sqs[id].size != 0 || c->queues.cqs[id].size != 0) return SC_SEQUENCE;
  }
  const uint32_t most = (uint32_t)c->settings.queues - 1;
  *current(c, cmd) = (sqs < most ? sqs : most) | (cqs < most ? cqs : most) << 16;
  cmd->dw0 = *current(c, cmd);
  return SC_OK;
}

/* Interrupt vector configuration: for each vector, whether coalescing is off (bit 16). */
static uint16_t get_vector(struct controller *c, struct command *cmd) {
  const uint32_t vector = cmd->sqe.cdw11 & 0xffff;
  if (vector >= c->settings.vectors) return refuse(cmd, SC_INVALID_FIELD, CDW(11), 0);
  cmd->dw0 = vector | (c->interrupts.vectors[vector].coalescing_off ? 1u << 16 : 0);
  return SC_OK;
}

static uint16_t set_vector(struct controller *c, struct command *cmd) {
  const uint32_t vector = cmd->sqe.cdw11 & 0xffff;
  if (vector >= c->settings.vectors) return refuse(cmd, SC_INVALID_FIELD, CDW(11), 0);
  c->interrupts.vectors[vector].coalescing_off = (cmd->sqe.cdw11 >> 16 & 1) != 0;
  return SC_OK;
}

static uint16_t get_apst(struct controller *c, struct command *cmd) {
  cmd->dw0 = *current(c, cmd);
  return nvme_send(c, cmd, c->features.apst, sizeof c->features.apst);
}

static uint16_t set_apst(struct controller *c, struct command *cmd) {
  const uint16_t status = nvme_receive(c, cmd, c->features.apst, sizeof c->features.apst);
  if (status == SC_OK) *current(c, cmd) = cmd->sqe.cdw11;
  return status;
}

/* Timestamp: milliseconds in 48 bits, where they come from in bits 3:1 of byte 6 (§5.27.1.13). */
static uint16_t get_timestamp(struct controller *c, struct command *cmd) {
  const struct features *f = &c->features;
  const uint64_t passed_ms = (soft_now_ns() - f->timestamp_at_ns) / 1000000;
  uint8_t data[8];
  put64(data, (f->timestamp_ms + passed_ms) & UINT64_C(0xffffffffffff));
  data[6] = f->timestamp_set ? 1 << 1 : 0;
  return nvme_send(c, cmd, data, sizeof data);
}

static uint16_t set_timestamp(struct controller *c, struct command *cmd) {
  uint8_t data[8];
  const uint16_t status = nvme_receive(c, cmd, data, sizeof data);
  if (status != SC_OK) return status;
  c->features.timestamp_ms = get64(data) & UINT64_C(0xffffffffffff);
  c->features.timestamp_at_ns = soft_now_ns();
  c->features.timestamp_set = 1;
  return SC_OK;
}

static uint16_t set_keep_alive(struct controller *c, struct command *cmd) {
  *current(c, cmd) = cmd->sqe.cdw11;
  c->features.keep_alive_ns = soft_now_ns();
  return SC_OK;
}

static uint16_t get_host_behavior(struct controller *c, struct command *cmd) {
  return nvme_send(c, cmd, c->features.host_behavior, sizeof c->features.host_behavior);
}

static uint16_t set_host_behavior(struct controller *c, struct command *cmd) {
  uint8_t data[512];
  const uint16_t status = nvme_receive(c, cmd, data, sizeof data);
  if (status != SC_OK) return status;
  if (data[0] > 1) return SC_INVALID_FIELD; /* ACRE is one bit */
  memcpy(c->features.host_behavior, data, sizeof data);
  return SC_OK;
}

static uint16_t set_command_sets(struct controller *c, struct command *cmd) {
  if ((cmd->sqe.cdw11 & 0x1ff) != 0) return refuse(cmd, SC_COMMAND_SET, CDW(11), 0); /* there is one combination */
  *current(c, cmd) = 0;
  return SC_OK;
}

/* Host identifier: 8 bytes, or 16 with EXHID. */
static uint16_t get_host_id(struct controller *c, struct command *cmd) {
  cmd->dw0 = *current(c, cmd);
  return nvme_send(c, cmd, c->features.host_id, cmd->sqe.cdw11 & 1 ? 16 : 8);
}

static uint16_t set_host_id(struct controller *c, struct command *cmd) {
  memset(c->features.host_id, 0, sizeof c->features.host_id);
  *current(c, cmd) = cmd->sqe.cdw11 & 1;
  return nvme_receive(c, cmd, c->features.host_id, cmd->sqe.cdw11 & 1 ? 16 : 8);
}

static uint16_t get_protection(struct controller *c, struct command *cmd) {
  (void)c;
  cmd->dw0 = (uint32_t)cmd->ns->protection;
  return SC_OK;
}

/* Only "none" and "write protect" are supported (NWPC). */
static uint16_t set_protection(struct controller *c, struct command *cmd) {
  (void)c;
  if ((cmd->sqe.cdw11 & 7) > 1) return refuse(cmd, SC_INVALID_FIELD, CDW(11), 0);
  cmd->ns->protection = (int)(cmd->sqe.cdw11 & 7);
  return SC_OK;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static const struct feature FEATURE_TABLE[FEATURES] = {
    [FEATURE_ARBITRATION] = {CHANGEABLE | SAVEABLE, 5, 0xffffffff, NULL, NULL},
    [0x02] = {CHANGEABLE | SAVEABLE, 0, 0xff, NULL, set_power},
    [0x03] = {CHANGEABLE | PER_NAMESPACE, 0, 0x3f, get_ranges, set_ranges},
    [0x04] = {CHANGEABLE, 0, 0x3fffff, get_threshold, set_threshold},
    [0x05] = {CHANGEABLE | PER_NAMESPACE, 0, 0x1ffff, get_recovery, set_recovery},
    [0x06] = {CHANGEABLE | SAVEABLE, 1, 1, NULL, NULL},
    [FEATURE_QUEUES] = {CHANGEABLE, 0, 0xffffffff, NULL, set_queues},
    [FEATURE_COALESCING] = {CHANGEABLE | SAVEABLE, 0, 0xffff, NULL, NULL},
    [0x09] = {CHANGEABLE, 0, 0x1ffff, get_vector, set_vector},
    [0x0a] = {CHANGEABLE | SAVEABLE, 0, 1, NULL, NULL},
    [FEATURE_EVENTS] = {CHANGEABLE | SAVEABLE, 0, 0x08000fff, NULL, NULL},
    [0x0c] = {CHANGEABLE, 0, 1, get_apst, set_apst},
    [0x0e] = {CHANGEABLE, 0, 0xffffffff, get_timestamp, set_timestamp},
    [FEATURE_KEEP_ALIVE] = {CHANGEABLE, 0, 0xffffffff, NULL, set_keep_alive},
    [0x11] = {CHANGEABLE | SAVEABLE, 0, 1, NULL, NULL},
    [0x16] = {CHANGEABLE, 0, 0, get_host_behavior, set_host_behavior},
    [0x17] = {CHANGEABLE | SAVEABLE, 0, 1, NULL, NULL},
    [0x18] = {CHANGEABLE, 0, 0x1ffffff, NULL, NULL},
    [0x19] = {CHANGEABLE, 0, 0x1ff, NULL, set_command_sets},
    [0x80] = {CHANGEABLE | SAVEABLE, 0, 0xff, NULL, NULL},
    [0x81] = {CHANGEABLE, 0, 1, get_host_id, set_host_id},
    [0x84] = {CHANGEABLE | PER_NAMESPACE, 0, 7, get_protection, set_protection},
};

static uint32_t first_value(const struct controller *c, unsigned fid) {
  const uint32_t most = (uint32_t)c->settings.queues - 1;
  return fid == FEATURE_QUEUES ? most | most << 16 : FEATURE_TABLE[fid].first;
}

/* After a reset each is as it was saved, or its default. */
void nvme_reset_features(struct controller *c) {
  struct features *f = &c->features;
  for (unsigned fid = 0; fid < FEATURES; fid++) {
    f->current[fid] = f->is_saved[fid] ? f->saved[fid] : first_value(c, fid);
  }
  for (unsigned sensor = 0; sensor < 9; sensor++) {
    f->over[sensor] = sensor == 0 ? WARNING_KELVIN : 0xffff;
    f->under[sensor] = 0;
  }
  for (uint64_t v = 0; v < c->settings.vectors; v++) c->interrupts.vectors[v].coalescing_off = 0;
  memset(f->apst, 0, sizeof f->apst);
  memset(f->host_behavior, 0, sizeof f->host_behavior);
  memset(f->host_id, 0, sizeof f->host_id);
  f->timestamp_at_ns = soft_now_ns();
  f->timestamp_ms = 0;
  f->timestamp_set = 0;
  c->features.keep_alive_ns = 0;
}

/* ---- the commands ------------------------------------------------------------------------------------------------ */

/* Finds the namespace that a feature is of. Set Features takes FFFFFFFFh for all of them: *all. */
static uint16_t check_namespace(struct controller *c, struct command *cmd, const struct feature *feature, int *all) {
  const uint32_t nsid = cmd->sqe.nsid;
  *all = 0;
  if (!(feature->abilities & PER_NAMESPACE)) {
    const int fine = nsid == 0 || nsid == NSID_ALL;
    return fine ? SC_OK : refuse(cmd, nsid > c->settings.nn ? SC_INVALID_NAMESPACE : SC_NOT_NAMESPACE_SPECIFIC, CDW(1), 0);
  }
  if (nsid == NSID_ALL) {
    *all = 1;
    return SC_OK;
  }
  if (nsid == 0 || nsid > c->settings.nn) return refuse(cmd, SC_INVALID_NAMESPACE, CDW(1), 0);
  cmd->ns = nvme_active(c, nsid);
  return cmd->ns == NULL ? refuse(cmd, SC_INVALID_FIELD, CDW(1), 0) : SC_OK;
}

static const struct feature *find(struct controller *c, const struct command *cmd) {
  const unsigned fid = cmd->sqe.cdw10 & 0xff;
  /* Without a volatile write cache there is none to configure. */
  const int absent = FEATURE_TABLE[fid].abilities == 0 || (fid == 0x06 && !c->settings.vwc);
  return absent ? NULL : &FEATURE_TABLE[fid];
}

uint16_t nvme_get_features(struct controller *c, struct command *cmd) {
  const unsigned fid = cmd->sqe.cdw10 & 0xff, select = cmd->sqe.cdw10 >> 8 & 7;
  const struct feature *feature = find(c, cmd);
  if (feature == NULL || select > ABILITIES) return refuse(cmd, SC_INVALID_FIELD, CDW(10) + (feature != NULL), 0);
  int all;
  const uint16_t status = check_namespace(c, cmd, feature, &all);
  if (status != SC_OK) return status;
  if (select == ABILITIES) {
    cmd->dw0 = feature->abilities;
    return SC_OK;
  }
  if (all) return refuse(cmd, SC_INVALID_NAMESPACE, CDW(1), 0);
  if (select == CURRENT && feature->get != NULL) return feature->get(c, cmd);
  const uint32_t first = first_value(c, fid);
  const uint32_t saved = c->features.is_saved[fid] ? c->features.saved[fid] : first;
  cmd->dw0 = select == CURRENT ? c->features.current[fid] : select == SAVED ? saved : first;
  return SC_OK;
}

static uint16_t set_one(struct controller *c, struct command *cmd, const struct feature *feature) {
  if (feature->set != NULL) return feature->set(c, cmd);
  *current(c, cmd) = cmd->sqe.cdw11;
  return SC_OK;
}

static uint16_t set_all(struct controller *c, struct command *cmd, const struct feature *feature) {
  uint16_t status = SC_OK;
  for (uint32_t nsid = 1; nsid <= c->settings.nn && status == SC_OK; nsid++) {
    cmd->ns = nvme_active(c, nsid);
    if (cmd->ns != NULL) status = set_one(c, cmd, feature);
  }
  return status;
}

uint16_t nvme_set_features(struct controller *c, struct command *cmd) {
  const unsigned fid = cmd->sqe.cdw10 & 0xff;
  const int save = (cmd->sqe.cdw10 >> 31 & 1) != 0;
  const struct feature *feature = find(c, cmd);
  if (feature == NULL) return refuse(cmd, SC_INVALID_FIELD, CDW(10), 0);
  if (save && !(feature->abilities & SAVEABLE)) return refuse(cmd, SC_NOT_SAVEABLE, CDW(10) + 3, 7);
  if (!(feature->abilities & CHANGEABLE)) return refuse(cmd, SC_NOT_CHANGEABLE, CDW(10), 0);
  if (cmd->sqe.cdw11 & ~feature->allowed) return refuse(cmd, SC_INVALID_FIELD, CDW(11), 0);
  int all;
  uint16_t status = check_namespace(c, cmd, feature, &all);
  if (status == SC_OK) status = all ? set_all(c, cmd, feature) : set_one(c, cmd, feature);
  if (status == SC_OK && save) {
    c->features.saved[fid] = c->features.current[fid];
    c->features.is_saved[fid] = 1;
  }
  return status;
}

/* A host that set a timeout and then says nothing has died (§5.27.1.12). */
int nvme_keep_alive_expired(const struct controller *c, uint64_t now) {
  const uint64_t timeout_ms = c->features.current[FEATURE_KEEP_ALIVE];
  return timeout_ms != 0 && now - c->features.keep_alive_ns > timeout_ms * 1000000;
}
