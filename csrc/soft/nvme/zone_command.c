/* The Zoned Namespace command set: Zone Append, Zone Management Send and Receive. */
#define _GNU_SOURCE
#include "controller.h"

#include <string.h>

enum { DESCRIPTOR_BYTES = 64, REPORT_HEADER_BYTES = 64, ZONE_TYPE_SEQUENTIAL = 2, MOST_REPORT_BYTES = 16 << 20 };

/* With type 1 the host cannot know the reference tags of where its blocks will lie, so they must be moved (PIREMAP); with
 * type 3 there is nothing to move. */
static uint16_t check_remap(const struct ns *ns, const struct sqe *sqe) {
  const int remap = (sqe->cdw12 >> 25 & 1) != 0;
  return (ns->pi_type == 1 && !remap) || (ns->pi_type == 3 && remap) ? SC_INVALID_PI : SC_OK;
}

static uint16_t append(struct controller *c, struct command *cmd) {
  struct ns *ns = cmd->ns;
  struct span span = nvme_span(&cmd->sqe);
  uint16_t status = nvme_check_access(c, cmd, &span);
  if (status == SC_OK) status = nvme_check_writable(cmd);
  if (status != SC_OK) return status;
  const struct zone *zone = nvme_zone_at(ns, span.slba);
  if (span.slba != zone->start) return refuse(cmd, SC_INVALID_FIELD, CDW(10), 0);
  if (c->settings.zasl != 0 && span.blocks << ns->lba_shift > UINT64_C(4096) << c->settings.zasl) {
    return refuse(cmd, SC_INVALID_FIELD, CDW(12), 0);
  }
  if (check_remap(ns, &cmd->sqe) != SC_OK) return refuse(cmd, SC_INVALID_PI, CDW(12) + 3, 1);
  const uint64_t at = zone->wp;
  status = nvme_zone_check_append(ns, zone, span.blocks);
  span.moved_by = cmd->sqe.cdw12 >> 25 & 1 ? (uint32_t)(at - zone->start) : 0;
  if (status == SC_OK) status = nvme_store_blocks(c, cmd, &span, at);
  if (status != SC_OK) return status;
  cmd->dw0 = (uint32_t)at;
  cmd->dw1 = (uint32_t)(at >> 32);
  return SC_OK;
}

/* ---- Zone Management Send (ZNS §3.4.3) --------------------------------------------------------------------------- */

enum { ALL_ZONES = 1 << 8 };

/* Which states a change begins in: is done, is done already, or also for "select all". A bit for each state. */
#define STATES(a) (1u << (a))
#define OPEN_STATES (STATES(ZONE_IMPLICIT) | STATES(ZONE_EXPLICIT))

struct zone_action {
  uint32_t from, already, from_all;
  uint8_t to;
  uint8_t needs; /* 0, or the resources that it takes: 1 active, 2 active and open */
};

static const struct zone_action ZONE_ACTIONS[] = {
    [1] = {OPEN_STATES, STATES(ZONE_CLOSED), OPEN_STATES, ZONE_CLOSED, 0},
    [2] = {STATES(ZONE_EMPTY) | OPEN_STATES | STATES(ZONE_CLOSED), STATES(ZONE_FULL), OPEN_STATES | STATES(ZONE_CLOSED),
           ZONE_FULL, 0},
    [3] = {STATES(ZONE_EMPTY) | STATES(ZONE_CLOSED) | STATES(ZONE_IMPLICIT), STATES(ZONE_EXPLICIT), STATES(ZONE_CLOSED),
           ZONE_EXPLICIT, 2},
    [4] = {OPEN_STATES | STATES(ZONE_CLOSED) | STATES(ZONE_FULL), STATES(ZONE_EMPTY),
           OPEN_STATES | STATES(ZONE_CLOSED) | STATES(ZONE_FULL), ZONE_EMPTY, 0},
    [5] = {STATES(ZONE_READ_ONLY), STATES(ZONE_OFFLINE), STATES(ZONE_READ_ONLY), ZONE_OFFLINE, 0},
};

enum { SET_EXTENSION = 0x10 };

static uint16_t change_zone(struct ns *ns, struct zone *zone, const struct zone_action *action) {
  if (action->already & STATES(zone->state)) return SC_OK;
  if (!(action->from & STATES(zone->state))) return SC_ZONE_TRANSITION;
  const uint16_t status = action->needs == 0 ? SC_OK : nvme_zone_check_resources(ns, zone, action->needs == 2);
  if (status != SC_OK) return status;
  if (action->to == ZONE_EMPTY) nvme_zone_reset(ns, zone);
  else if (action->to == ZONE_EXPLICIT) nvme_zone_open(ns, zone, ZONE_EXPLICIT);
  else nvme_zone_set_state(ns, zone, action->to);
  return SC_OK;
}

static uint16_t change_all(struct ns *ns, const struct zone_action *action) {
  for (uint32_t i = 0; i < ns->zones; i++) {
    if (!(action->from_all & STATES(ns->zone[i].state))) continue;
    const uint16_t status = change_zone(ns, &ns->zone[i], action);
    if (status != SC_OK) return status;
  }
  return SC_OK;
}

static uint16_t set_extension(struct controller *c, struct command *cmd, struct zone *zone) {
  struct ns *ns = cmd->ns;
  if (ns->like.zdes == 0) return refuse(cmd, SC_INVALID_FIELD, CDW(13), 0);
  if (zone->state != ZONE_EMPTY) return SC_ZONE_TRANSITION;
  uint16_t status = nvme_zone_check_resources(ns, zone, 0);
  if (status == SC_OK) status = nvme_receive(c, cmd, zone->extension, zone_extension_bytes(ns));
  if (status != SC_OK) return status;
  zone->attributes |= ATTRIBUTE_EXTENSION_VALID;
  nvme_zone_set_state(ns, zone, ZONE_CLOSED);
  return SC_OK;
}

static uint16_t management_send(struct controller *c, struct command *cmd) {
  struct ns *ns = cmd->ns;
  const uint64_t slba = nvme_span(&cmd->sqe).slba;
  const unsigned action = cmd->sqe.cdw13 & 0xff, all = cmd->sqe.cdw13 & ALL_ZONES;
  const int known = action < sizeof ZONE_ACTIONS / sizeof *ZONE_ACTIONS && action != 0;
  if (!known && action != SET_EXTENSION) return refuse(cmd, SC_INVALID_FIELD, CDW(13), 0);
  uint16_t status = nvme_check_writable(cmd);
  if (status != SC_OK) return status;
  if (all) return known ? change_all(ns, &ZONE_ACTIONS[action]) : refuse(cmd, SC_INVALID_FIELD, CDW(13) + 1, 0);
  status = nvme_check_range(cmd, slba, 1);
  if (status != SC_OK) return status;
  struct zone *zone = nvme_zone_at(ns, slba);
  if (slba != zone->start) return refuse(cmd, SC_INVALID_FIELD, CDW(10), 0);
  return known ? change_zone(ns, zone, &ZONE_ACTIONS[action]) : set_extension(c, cmd, zone);
}

/* ---- Zone Management Receive (ZNS §3.4.2) ------------------------------------------------------------------------ */

static const uint8_t REPORTED_STATE[8] = {0, ZONE_EMPTY, ZONE_IMPLICIT, ZONE_EXPLICIT, ZONE_CLOSED, ZONE_FULL,
                                          ZONE_READ_ONLY, ZONE_OFFLINE};

static void put_descriptor(const struct ns *ns, const struct zone *zone, uint8_t *at) {
  const int has_pointer = zone->state == ZONE_EMPTY || zone_is_active(zone->state);
  at[0] = ZONE_TYPE_SEQUENTIAL;
  at[1] = (uint8_t)(zone->state << 4);
  at[2] = zone->attributes;
  put64(at + 8, ns->zone_capacity);
  put64(at + 16, zone->start);
  put64(at + 24, has_pointer ? zone->wp : UINT64_MAX);
}

static uint16_t management_receive(struct controller *c, struct command *cmd) {
  enum { PARTIAL = 1 << 16, EXTENDED_REPORT = 1 };
  const struct ns *ns = cmd->ns;
  const uint64_t slba = nvme_span(&cmd->sqe).slba, bytes = ((uint64_t)cmd->sqe.cdw12 + 1) * 4;
  const unsigned action = cmd->sqe.cdw13 & 0xff, wanted = cmd->sqe.cdw13 >> 8 & 0xff;
  if (action > EXTENDED_REPORT || (action == EXTENDED_REPORT && ns->like.zdes == 0) || wanted > 7) {
    return refuse(cmd, SC_INVALID_FIELD, CDW(13), 0);
  }
  if (bytes < REPORT_HEADER_BYTES || bytes > c->memory.max_transfer || bytes > MOST_REPORT_BYTES) {
    return refuse(cmd, SC_INVALID_FIELD, CDW(12), 0);
  }
  const uint16_t status = nvme_check_range(cmd, slba, 1);
  if (status != SC_OK) return status;
  uint8_t *report = nvme_staging(c, bytes);
  if (report == NULL) return SC_INTERNAL;
  memset(report, 0, bytes);
  const size_t each = DESCRIPTOR_BYTES + (action == EXTENDED_REPORT ? zone_extension_bytes(ns) : 0);
  uint64_t matching = 0, at = REPORT_HEADER_BYTES;
  for (uint64_t i = slba / ns->zone_blocks; i < ns->zones; i++) {
    const struct zone *zone = &ns->zone[i];
    if (wanted != 0 && zone->state != REPORTED_STATE[wanted]) continue;
    const int fits = at + each <= bytes;
    if (fits) {
      put_descriptor(ns, zone, report + at);
      if (action == EXTENDED_REPORT) memcpy(report + at + DESCRIPTOR_BYTES, zone->extension, zone_extension_bytes(ns));
      at += each;
    }
    if (fits || !(cmd->sqe.cdw13 & PARTIAL)) matching++;
  }
  put64(report, matching);
  return nvme_send(c, cmd, report, bytes);
}

const struct operation nvme_zone_operations[256] = {
    [0x79] = {management_send, EFFECTS_CSUPP | EFFECTS_LBCC},
    [0x7a] = {management_receive, EFFECTS_CSUPP},
    [0x7d] = {append, EFFECTS_CSUPP | EFFECTS_LBCC},
};
