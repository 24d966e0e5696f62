/* Blocks between the host and the medium: what a command may ask for, and its data, metadata and protection information. */
#define _GNU_SOURCE
#include "controller.h"

#include <string.h>

/* ---- checks ------------------------------------------------------------------------------------------------------ */

uint16_t nvme_check_range(struct command *cmd, uint64_t slba, uint64_t blocks) {
  const uint64_t size = cmd->ns->blocks;
  cmd->lba = slba;
  return slba > size || blocks > size - slba ? refuse(cmd, SC_LBA_RANGE, CDW(10), 0) : SC_OK;
}

/* With PRACT and metadata that is nothing but protection information, the host sees no metadata (NVM §5.2.2). */
static unsigned host_metadata_bytes(const struct ns *ns, const struct span *span) {
  return ns->pi_type != 0 && ns->ms == 8 && span->prinfo & PRINFO_ACT ? 0 : ns->ms;
}

static uint64_t host_data_bytes(const struct ns *ns, const struct span *span) {
  return span->blocks * (ns->lba_bytes + (ns->extended ? host_metadata_bytes(ns, span) : 0));
}

uint16_t nvme_check_access(struct controller *c, struct command *cmd, const struct span *span) {
  if (host_data_bytes(cmd->ns, span) > c->memory.max_transfer) return refuse(cmd, SC_INVALID_FIELD, CDW(12), 0);
  const uint16_t status = nvme_check_range(cmd, span->slba, span->blocks);
  if (status != SC_OK) return status;
  return nvme_pi_check_command(cmd->ns, span) == SC_OK ? SC_OK : refuse(cmd, SC_INVALID_PI, CDW(14), 0);
}

/* Blocks that cannot be read: those that were made so, and, where the host wants to be told, those never written. */
uint16_t nvme_check_readable(struct controller *c, struct command *cmd, uint64_t slba, uint64_t blocks) {
  struct ns *ns = cmd->ns;
  uint64_t where;
  if (ns->uncorrectable_count != 0 && nvme_bits_any(ns->uncorrectable, slba, blocks, 1, &where)) {
    cmd->lba = where;
    c->health.media_errors++;
    return SC_UNRECOVERED_READ;
  }
  if (ns->dulbe && nvme_bits_any(ns->written, slba, blocks, 0, &where)) {
    cmd->lba = where;
    return SC_DEALLOCATED;
  }
  return SC_OK;
}

uint16_t nvme_check_writable(struct command *cmd) {
  return cmd->ns->protection != 0 ? SC_WRITE_PROTECTED : SC_OK;
}

/* ---- from the host ----------------------------------------------------------------------------------------------- */

uint16_t nvme_map_blocks(struct controller *c, struct command *cmd, const struct span *span, enum direction direction) {
  const struct ns *ns = cmd->ns;
  uint16_t status = nvme_map_data(c, cmd, host_data_bytes(ns, span), direction);
  if (status == SC_OK && ns->ms != 0 && !ns->extended) {
    status = nvme_map_metadata(c, cmd, span->blocks * host_metadata_bytes(ns, span), direction);
  }
  return status;
}

static void write_plain(struct controller *c, struct ns *ns, uint64_t slba) {
  uint8_t *to = ns->data.base + (slba << ns->lba_shift);
  for (size_t i = 0; i < c->memory.data.count; i++) {
    memcpy(to, c->memory.data.pieces[i].at, c->memory.data.pieces[i].length);
    to += c->memory.data.pieces[i].length;
  }
}

/* Collects what the host sent: all blocks, then all metadata. The host may write to its buffer meanwhile, so what is
 * checked and stored is this copy. */
uint8_t *nvme_collect_blocks(struct controller *c, const struct ns *ns, const struct span *span) {
  const unsigned ms = host_metadata_bytes(ns, span);
  const size_t data_bytes = (size_t)span->blocks << ns->lba_shift;
  uint8_t *data = nvme_staging(c, data_bytes + (size_t)span->blocks * ns->ms), *metadata = data + data_bytes;
  if (data == NULL) return NULL;
  for (uint64_t i = 0; i < span->blocks; i++) {
    nvme_copy_from_host(&c->memory.data, data + (i << ns->lba_shift), ns->lba_bytes);
    if (ms != 0) nvme_copy_from_host(ns->extended ? &c->memory.data : &c->memory.metadata, metadata + i * ns->ms, ms);
  }
  return data;
}

static uint16_t protect(struct command *cmd, const struct span *span, const uint8_t *data, uint8_t *metadata) {
  const struct ns *ns = cmd->ns;
  if (ns->pi_type == 0) return SC_OK;
  if (span->prinfo & PRINFO_ACT) {
    nvme_pi_generate(ns, span, data, metadata);
    return SC_OK;
  }
  for (uint64_t i = 0; i < span->blocks; i++) {
    const uint16_t status =
        nvme_pi_check_block(ns, span, i, data + (i << ns->lba_shift), metadata + i * ns->ms);
    if (status == SC_OK) continue;
    cmd->lba = span->slba + i;
    return status;
  }
  return SC_OK;
}

static uint16_t write_protected(struct controller *c, struct command *cmd, const struct span *span, uint64_t at) {
  struct ns *ns = cmd->ns;
  uint8_t *data = nvme_collect_blocks(c, ns, span);
  if (data == NULL) return SC_INTERNAL;
  uint8_t *metadata = data + ((size_t)span->blocks << ns->lba_shift);
  const uint16_t status = protect(cmd, span, data, metadata);
  if (status != SC_OK) return status;
  if (ns->pi_type != 0 && span->moved_by != 0) nvme_pi_move(ns, span->blocks, metadata, span->moved_by);
  memcpy(ns->data.base + (at << ns->lba_shift), data, (size_t)span->blocks << ns->lba_shift);
  memcpy(ns->metadata.base + at * ns->ms, metadata, (size_t)span->blocks * ns->ms);
  return SC_OK;
}

/* Stores the blocks of a command at a place that has been found good; for Zone Append that is not where span begins. */
uint16_t nvme_store_blocks(struct controller *c, struct command *cmd, const struct span *span, uint64_t at) {
  struct ns *ns = cmd->ns;
  uint16_t status = nvme_map_blocks(c, cmd, span, FROM_HOST);
  if (status == SC_OK && ns->ms != 0) status = write_protected(c, cmd, span, at);
  if (status != SC_OK) return status;
  if (ns->ms == 0) write_plain(c, ns, at);
  nvme_mark_written(ns, at, span->blocks);
  if (ns->zone != NULL) nvme_zone_wrote(ns, at, span->blocks);
  c->health.writes++;
  c->health.sectors_written += span->blocks << (ns->lba_shift - 9);
  return SC_OK;
}

/* ---- to the host ------------------------------------------------------------------------------------------------- */

/* True when the medium holds what reads give, deallocated blocks included. */
static int is_plain(const struct ns *ns) { return ns->ms == 0 && ns->like.dlfeat != 2; }

static void read_plain(struct controller *c, const struct ns *ns, uint64_t slba) {
  const uint8_t *from = ns->data.base + (slba << ns->lba_shift);
  for (size_t i = 0; i < c->memory.data.count; i++) {
    const struct piece *piece = &c->memory.data.pieces[i];
    if (piece->at != NULL) memcpy(piece->at, from, piece->length);
    from += piece->length;
  }
}

/* Data, metadata and protection information, block by block. All are checked before any is handed out. */
uint16_t nvme_check_blocks(struct command *cmd, const struct span *span) {
  struct ns *ns = cmd->ns;
  uint8_t data[4096], metadata[64];
  for (uint64_t i = 0; ns->pi_type != 0 && i < span->blocks; i++) {
    nvme_load_block(ns, span->slba + i, data, metadata);
    const uint16_t status = nvme_pi_check_block(ns, span, i, data, metadata);
    if (status == SC_OK) continue;
    cmd->lba = span->slba + i;
    return status;
  }
  return SC_OK;
}

static void send_blocks(struct controller *c, const struct ns *ns, const struct span *span) {
  uint8_t data[4096], metadata[64];
  const unsigned ms = host_metadata_bytes(ns, span);
  for (uint64_t i = 0; i < span->blocks; i++) {
    nvme_load_block(ns, span->slba + i, data, metadata);
    nvme_copy_to_host(&c->memory.data, data, ns->lba_bytes);
    if (ms != 0) nvme_copy_to_host(ns->extended ? &c->memory.data : &c->memory.metadata, metadata, ms);
  }
}

uint16_t nvme_send_blocks(struct controller *c, struct command *cmd, const struct span *span) {
  struct ns *ns = cmd->ns;
  uint16_t status = nvme_map_blocks(c, cmd, span, TO_HOST);
  if (status == SC_OK && ns->pi_type != 0) status = nvme_check_blocks(cmd, span);
  if (status != SC_OK) return status;
  if (is_plain(ns)) read_plain(c, ns, span->slba);
  else send_blocks(c, ns, span);
  return SC_OK;
}
