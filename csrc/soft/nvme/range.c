/* Commands that carry a list of ranges: Dataset Management (NVM §3.2.3) and Copy (NVM §3.2.2). */
#define _GNU_SOURCE
#include "controller.h"

#include <string.h>

/* ---- Dataset Management ------------------------------------------------------------------------------------------ */

enum { RANGE_BYTES = 16, DEALLOCATE = 4 };

/* All of its attributes are hints but deallocation. A range that does not exist is not touched: the command does not
 * fail for it, as other controllers do not. */
uint16_t nvme_dataset_management(struct controller *c, struct command *cmd) {
  struct ns *ns = cmd->ns;
  const unsigned count = (cmd->sqe.cdw10 & 0xff) + 1;
  uint8_t ranges[256 * RANGE_BYTES];
  uint16_t status = nvme_check_writable(cmd);
  if (status == SC_OK) status = nvme_receive(c, cmd, ranges, (uint64_t)count * RANGE_BYTES);
  if (status != SC_OK || !(cmd->sqe.cdw11 & DEALLOCATE)) return status;
  /* Zones are emptied by Zone Management Send only. */
  for (unsigned i = 0; i < count && ns->zone == NULL; i++) {
    const uint32_t blocks = get32(ranges + i * RANGE_BYTES + 4);
    const uint64_t slba = get64(ranges + i * RANGE_BYTES + 8);
    if (slba < ns->blocks && blocks <= ns->blocks - slba) nvme_deallocate(ns, slba, blocks);
  }
  return SC_OK;
}

/* ---- Copy -------------------------------------------------------------------------------------------------------- */

enum { SOURCE_BYTES = 32 };

struct copy {
  unsigned count;
  uint64_t blocks; /* of all sources */
  uint8_t sources[256 * SOURCE_BYTES];
};

static struct span source_of(const struct copy *copy, unsigned i, unsigned prinfo) {
  const uint8_t *at = copy->sources + i * SOURCE_BYTES;
  return (struct span){.slba = get64(at + 8), .blocks = (uint64_t)get16(at + 16) + 1, .prinfo = prinfo,
                       .ref = get32(at + 24), .app = get16(at + 28), .app_mask = get16(at + 30)};
}

static uint16_t check_sources(struct controller *c, struct command *cmd, struct copy *copy, unsigned prinfo) {
  for (unsigned i = 0; i < copy->count; i++) {
    const struct span source = source_of(copy, i, prinfo);
    if (source.blocks > COPY_SOURCE_BLOCKS) return refuse(cmd, SC_SIZE_LIMIT, CDW(12), 0);
    uint16_t status = nvme_check_range(cmd, source.slba, source.blocks);
    if (status == SC_OK) status = nvme_pi_check_command(cmd->ns, &source);
    if (status == SC_OK && cmd->ns->zone != NULL) status = nvme_zone_check_read(cmd->ns, source.slba, source.blocks);
    if (status == SC_OK) status = nvme_check_readable(c, cmd, source.slba, source.blocks);
    if (status != SC_OK) return status;
    copy->blocks += source.blocks;
  }
  return copy->blocks > COPY_BLOCKS ? refuse(cmd, SC_SIZE_LIMIT, CDW(12), 0) : SC_OK;
}

/* Reads all sources before anything is written, as they may overlap with where they go. */
static uint16_t read_sources(struct command *cmd, const struct copy *copy, unsigned prinfo, uint8_t *data,
                             uint8_t *metadata) {
  const struct ns *ns = cmd->ns;
  for (unsigned i = 0; i < copy->count; i++) {
    const struct span source = source_of(copy, i, prinfo);
    for (uint64_t n = 0; n < source.blocks; n++, data += ns->lba_bytes, metadata += ns->ms) {
      nvme_load_block(ns, source.slba + n, data, metadata);
      const uint16_t status = ns->pi_type == 0 ? SC_OK : nvme_pi_check_block(ns, &source, n, data, metadata);
      if (status == SC_OK) continue;
      cmd->lba = source.slba + n;
      return status;
    }
  }
  return SC_OK;
}

/* Protection information is made anew with PRACT, else it must be right for its new place (NVM §5.2.2.5). */
static uint16_t protect_copy(struct command *cmd, const struct span *to, const uint8_t *data, uint8_t *metadata) {
  const struct ns *ns = cmd->ns;
  if (ns->pi_type == 0) return SC_OK;
  if (to->prinfo & PRINFO_ACT) {
    nvme_pi_generate(ns, to, data, metadata);
    return SC_OK;
  }
  for (uint64_t i = 0; i < to->blocks; i++) {
    const uint16_t status = nvme_pi_check_block(ns, to, i, data + (i << ns->lba_shift), metadata + i * ns->ms);
    if (status == SC_OK) continue;
    cmd->lba = to->slba + i;
    return status;
  }
  return SC_OK;
}

static uint16_t check_target(struct command *cmd, const struct span *to) {
  uint16_t status = nvme_check_range(cmd, to->slba, to->blocks);
  if (status == SC_OK) status = nvme_check_writable(cmd);
  if (status == SC_OK) status = nvme_pi_check_command(cmd->ns, to);
  if (status == SC_OK && cmd->ns->zone != NULL) status = nvme_zone_check_write(cmd->ns, to->slba, to->blocks);
  return status;
}

uint16_t nvme_copy(struct controller *c, struct command *cmd) {
  struct ns *ns = cmd->ns;
  const uint32_t cdw12 = cmd->sqe.cdw12;
  const unsigned read_prinfo = cdw12 >> 12 & 15;
  struct copy copy = {.count = (cdw12 & 0xff) + 1};
  if ((cdw12 >> 8 & 15) != 0) return refuse(cmd, SC_INVALID_FIELD, CDW(12) + 1, 0); /* OCFS: format 0 only */
  if (copy.count > COPY_SOURCES) return refuse(cmd, SC_SIZE_LIMIT, CDW(12), 0);
  uint16_t status = nvme_receive(c, cmd, copy.sources, (uint64_t)copy.count * SOURCE_BYTES);
  if (status == SC_OK) status = check_sources(c, cmd, &copy, read_prinfo);
  struct span to = nvme_span(&cmd->sqe);
  to.blocks = copy.blocks;
  if (status == SC_OK) status = check_target(cmd, &to);
  if (status != SC_OK) return status;
  uint8_t *data = nvme_staging(c, (size_t)copy.blocks * (ns->lba_bytes + ns->ms));
  if (data == NULL) return SC_INTERNAL;
  uint8_t *metadata = data + (copy.blocks << ns->lba_shift);
  status = read_sources(cmd, &copy, read_prinfo, data, metadata);
  if (status == SC_OK) status = protect_copy(cmd, &to, data, metadata);
  if (status != SC_OK) return status;
  memcpy(ns->data.base + (to.slba << ns->lba_shift), data, (size_t)copy.blocks << ns->lba_shift);
  if (ns->ms != 0) memcpy(ns->metadata.base + to.slba * ns->ms, metadata, (size_t)copy.blocks * ns->ms);
  nvme_mark_written(ns, to.slba, to.blocks);
  if (ns->zone != NULL) nvme_zone_wrote(ns, to.slba, to.blocks);
  return SC_OK;
}
