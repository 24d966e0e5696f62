/* Zones of a namespace, ZNS: the state machine with its limits. */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void nvme_close_zones(struct ns *ns) {
  free(ns->zone);
  free(ns->extensions);
  ns->zone = NULL;
  ns->extensions = NULL;
}

int nvme_open_zones(struct ns *ns) {
  ns->zone_blocks = ns->like.zone >> ns->lba_shift;
  ns->zone_capacity = ns->like.zcap == 0 ? ns->zone_blocks : ns->like.zcap >> ns->lba_shift;
  ns->zones = (uint32_t)(ns->blocks / ns->zone_blocks);
  ns->blocks = ns->zones * ns->zone_blocks;
  ns->open = ns->active = 0;
  ns->zone = calloc(ns->zones, sizeof *ns->zone);
  ns->extensions = calloc(ns->zones, zone_extension_bytes(ns) + 1);
  if (ns->zone == NULL || ns->extensions == NULL) return -ENOMEM;
  for (uint32_t i = 0; i < ns->zones; i++) {
    const uint64_t start = i * ns->zone_blocks;
    ns->zone[i] = (struct zone){.start = start, .wp = start, .state = ZONE_EMPTY,
                                .extension = ns->extensions + i * zone_extension_bytes(ns)};
  }
  return 0;
}

/* ---- states and resources (ZNS §2.1.1.3) ------------------------------------------------------------------------- */

void nvme_zone_set_state(struct ns *ns, struct zone *zone, uint8_t state) {
  ns->open += (uint32_t)zone_is_open(state) - (uint32_t)zone_is_open(zone->state);
  ns->active += (uint32_t)zone_is_active(state) - (uint32_t)zone_is_active(zone->state);
  zone->state = state;
}

static struct zone *find_implicit(const struct ns *ns) {
  for (uint32_t i = 0; i < ns->zones; i++) {
    if (ns->zone[i].state == ZONE_IMPLICIT) return &ns->zone[i];
  }
  return NULL;
}

/* Whether a zone could become active, or open. A zone that was opened only by writing to it gives way. */
uint16_t nvme_zone_check_resources(const struct ns *ns, const struct zone *zone, int open) {
  if (!zone_is_active(zone->state) && ns->like.mar != 0 && ns->active >= ns->like.mar) return SC_TOO_MANY_ACTIVE;
  if (!open || zone_is_open(zone->state) || ns->like.mor == 0 || ns->open < ns->like.mor) return SC_OK;
  return find_implicit(ns) == NULL ? SC_TOO_MANY_OPEN : SC_OK;
}

void nvme_zone_open(struct ns *ns, struct zone *zone, uint8_t state) {
  if (!zone_is_open(zone->state) && ns->like.mor != 0 && ns->open >= ns->like.mor) {
    struct zone *other = find_implicit(ns);
    if (other != NULL) nvme_zone_set_state(ns, other, ZONE_CLOSED);
  }
  nvme_zone_set_state(ns, zone, state);
}

void nvme_zone_reset(struct ns *ns, struct zone *zone) {
  nvme_deallocate(ns, zone->start, ns->zone_blocks);
  zone->wp = zone->start;
  zone->attributes = 0;
  memset(zone->extension, 0, zone_extension_bytes(ns));
  nvme_zone_set_state(ns, zone, ZONE_EMPTY);
}

/* A reset or shutdown closes what is open; what was opened and never written is empty again. */
void nvme_close_open_zones(struct ns *ns) {
  for (uint32_t i = 0; i < ns->zones && ns->open > 0; i++) {
    struct zone *zone = &ns->zone[i];
    if (!zone_is_open(zone->state)) continue;
    const int unused = zone->wp == zone->start && !(zone->attributes & ATTRIBUTE_EXTENSION_VALID);
    nvme_zone_set_state(ns, zone, unused ? ZONE_EMPTY : ZONE_CLOSED);
  }
}

/* ---- reads and writes -------------------------------------------------------------------------------------------- */

/* OZCS bit 0 is 0: a read stays in one zone. */
uint16_t nvme_zone_check_read(const struct ns *ns, uint64_t slba, uint64_t blocks) {
  const struct zone *zone = nvme_zone_at(ns, slba);
  if (zone->state == ZONE_OFFLINE) return SC_ZONE_OFFLINE;
  return slba + blocks > zone->start + ns->zone_blocks ? SC_ZONE_BOUNDARY : SC_OK;
}

static uint16_t check_write(const struct ns *ns, const struct zone *zone, uint64_t slba, uint64_t blocks) {
  switch (zone->state) {
    case ZONE_FULL: return SC_ZONE_FULL;
    case ZONE_READ_ONLY: return SC_ZONE_READ_ONLY;
    case ZONE_OFFLINE: return SC_ZONE_OFFLINE;
    default: break;
  }
  if (slba != zone->wp) return SC_ZONE_INVALID_WRITE;
  if (slba + blocks > zone->start + ns->zone_capacity) return SC_ZONE_BOUNDARY;
  return nvme_zone_check_resources(ns, zone, 1);
}

uint16_t nvme_zone_check_write(const struct ns *ns, uint64_t slba, uint64_t blocks) {
  return check_write(ns, nvme_zone_at(ns, slba), slba, blocks);
}

uint16_t nvme_zone_check_append(const struct ns *ns, const struct zone *zone, uint64_t blocks) {
  return check_write(ns, zone, zone->wp, blocks);
}

void nvme_zone_wrote(struct ns *ns, uint64_t slba, uint64_t blocks) {
  struct zone *zone = nvme_zone_at(ns, slba);
  if (!zone_is_open(zone->state)) nvme_zone_open(ns, zone, ZONE_IMPLICIT);
  zone->wp += blocks;
  if (zone->wp == zone->start + ns->zone_capacity) nvme_zone_set_state(ns, zone, ZONE_FULL);
}

/* A zone goes bad by itself, which is a change to report (ZNS §4.1.3). −EINVAL where there is no such zone. */
int nvme_spoil_zone(struct controller *c, struct ns *ns, uint64_t lba, uint8_t state) {
  if (ns->zone == NULL || lba >= ns->blocks) return -EINVAL;
  struct zone *zone = nvme_zone_at(ns, lba);
  nvme_zone_set_state(ns, zone, state);
  if (ns->changed_zone_count < sizeof ns->changed_zones / sizeof *ns->changed_zones) {
    ns->changed_zones[ns->changed_zone_count++] = zone->start;
  }
  nvme_raise_event(c, EVENT_NOTICE, EVENT_INFO_ZONE_CHANGED, LOG_CHANGED_ZONES);
  return 0;
}
