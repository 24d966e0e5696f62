/* Namespaces. */
#ifndef BUSBAR_SOFT_NVME_NAMESPACE_H
#define BUSBAR_SOFT_NVME_NAMESPACE_H

#include "settings.h"
#include "command.h"
#include "store.h"

struct zone {
  uint64_t start, wp;
  uint8_t state;
  uint8_t attributes; /* ZFC 0, FZR 1, RZR 2, ZDEV 7 */
  uint8_t *extension; /* zdes × 64 bytes */
};

enum { MOST_CHANGED_ZONES = 511, LBA_RANGES_BYTES = 4096 };

struct ns {
  uint32_t id;
  int attached;
  uint8_t csi;
  struct namespace_settings like;
  /* The format. */
  unsigned lbaf, lba_shift, lba_bytes, ms;
  int extended, pi_type, pi_first;
  uint64_t blocks; /* NSZE */
  /* The medium. A bit for each block: it was written since it was deallocated; it reads with an error (NULL: none). */
  struct store data, metadata;
  uint64_t *written, *uncorrectable;
  uint64_t written_count, uncorrectable_count;
  /* Zones; zone is NULL for a namespace without. */
  uint64_t zone_blocks, zone_capacity;
  uint32_t zones, active, open;
  struct zone *zone;
  uint8_t *extensions;
  uint64_t changed_zones[MOST_CHANGED_ZONES];
  uint32_t changed_zone_count;
  /* A Format NVM that is under way. */
  int formatting;
  uint32_t format_cdw10;
  uint64_t format_started_ns, format_ends_ns;
  /* Features. */
  int dulbe, protection;
  uint8_t lba_ranges[LBA_RANGES_BYTES];
  uint32_t lba_range_count;
  uint32_t ana_group;
  uint8_t eui64[8], nguid[16], uuid[16];
};

enum { MOST_CHANGED_NAMESPACES = 1024 };

struct namespaces {
  struct ns **by_id; /* 1 to settings.nn */
  uint64_t capacity; /* TNVMCAP */
  uint32_t changed[MOST_CHANGED_NAMESPACES];
  unsigned changed_count;
  uint32_t ana_state, ana_changes;
};

extern const uint8_t nvme_oui[3];

enum { LBA_FORMATS = 8 };

struct lba_format {
  uint8_t shift, ms;
};

extern const struct lba_format nvme_formats[LBA_FORMATS];
int nvme_open_namespaces(struct controller *c);
void nvme_close_namespaces(struct controller *c);
int nvme_make_namespace(struct controller *c, uint32_t nsid, const struct namespace_settings *like);
int nvme_reformat(struct ns *ns, unsigned lbaf, int extended, int pi_type, int pi_first);
/* NULL when there is none with that identifier; active: attached to this controller. */
struct ns *nvme_allocated(const struct controller *c, uint32_t nsid);
struct ns *nvme_active(const struct controller *c, uint32_t nsid);
uint16_t nvme_check_state(const struct controller *c, const struct ns *ns);
uint64_t nvme_namespace_bytes(const struct ns *ns);
uint64_t nvme_unallocated(const struct controller *c);
void nvme_namespace_changed(struct controller *c, uint32_t nsid);
uint16_t nvme_namespace_management(struct controller *c, struct command *cmd);
uint16_t nvme_namespace_attachment(struct controller *c, struct command *cmd);

#endif
