/* Zones. */
#ifndef BUSBAR_SOFT_NVME_ZONE_H
#define BUSBAR_SOFT_NVME_ZONE_H

#include "namespace.h"

enum { ATTRIBUTE_EXTENSION_VALID = 0x80, EXTENSION_UNIT = 64 };

static inline size_t zone_extension_bytes(const struct ns *ns) { return (size_t)ns->like.zdes * EXTENSION_UNIT; }
static inline int zone_is_open(uint8_t state) { return state == ZONE_IMPLICIT || state == ZONE_EXPLICIT; }
static inline int zone_is_active(uint8_t state) { return zone_is_open(state) || state == ZONE_CLOSED; }
static inline struct zone *nvme_zone_at(const struct ns *ns, uint64_t lba) { return &ns->zone[lba / ns->zone_blocks]; }

int nvme_open_zones(struct ns *ns);
void nvme_close_zones(struct ns *ns);
void nvme_close_open_zones(struct ns *ns);
void nvme_zone_set_state(struct ns *ns, struct zone *zone, uint8_t state);
/* Whether a zone could become active, or open. */
uint16_t nvme_zone_check_resources(const struct ns *ns, const struct zone *zone, int open);
void nvme_zone_open(struct ns *ns, struct zone *zone, uint8_t state);
void nvme_zone_reset(struct ns *ns, struct zone *zone);
uint16_t nvme_zone_check_read(const struct ns *ns, uint64_t slba, uint64_t blocks);
uint16_t nvme_zone_check_write(const struct ns *ns, uint64_t slba, uint64_t blocks);
uint16_t nvme_zone_check_append(const struct ns *ns, const struct zone *zone, uint64_t blocks);
void nvme_zone_wrote(struct ns *ns, uint64_t slba, uint64_t blocks);
int nvme_spoil_zone(struct controller *c, struct ns *ns, uint64_t lba, uint8_t state);

#endif
