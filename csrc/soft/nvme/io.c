/* The NVM command set: Read, Write, Flush, Compare, Write Zeroes, Write Uncorrectable, Verify. */
#define _GNU_SOURCE
#include "controller.h"

#include <string.h>

static uint16_t read_blocks(struct controller *c, struct command *cmd) {
  struct ns *ns = cmd->ns;
  const struct span span = nvme_span(&cmd->sqe);
  uint16_t status = nvme_check_access(c, cmd, &span);
  if (status == SC_OK && ns->zone != NULL) status = nvme_zone_check_read(ns, span.slba, span.blocks);
  if (status == SC_OK) status = nvme_check_readable(c, cmd, span.slba, span.blocks);
  if (status == SC_OK) status = nvme_send_blocks(c, cmd, &span);
  if (status != SC_OK) return status;
  c->health.reads++;
  c->health.sectors_read += span.blocks << (ns->lba_shift - 9);
  return SC_OK;
}

static uint16_t write_blocks(struct controller *c, struct command *cmd) {
  const struct span span = nvme_span(&cmd->sqe);
  uint16_t status = nvme_check_access(c, cmd, &span);
  if (status == SC_OK) status = nvme_check_writable(cmd);
  if (status == SC_OK && cmd->ns->zone != NULL) status = nvme_zone_check_write(cmd->ns, span.slba, span.blocks);
  return status == SC_OK ? nvme_store_blocks(c, cmd, &span, span.slba) : status;
}

/* Metadata is compared too, but for protection information, which is checked instead. */
static int is_equal(const struct ns *ns, const uint8_t *data, const uint8_t *metadata, const uint8_t *host_data,
                    const uint8_t *host_metadata) {
  if (memcmp(data, host_data, ns->lba_bytes) != 0) return 0;
  const size_t from = ns->pi_type != 0 && ns->pi_first ? 8 : 0, length = ns->ms - (ns->pi_type != 0 ? 8 : 0);
  return length == 0 || memcmp(metadata + from, host_metadata + from, length) == 0;
}

static uint16_t compare_collected(struct command *cmd, const struct span *span, const uint8_t *host) {
  const struct ns *ns = cmd->ns;
  const uint8_t *host_metadata = host + (span->blocks << ns->lba_shift);
  uint8_t data[4096], metadata[64];
  for (uint64_t i = 0; i < span->blocks; i++, host += ns->lba_bytes, host_metadata += ns->ms) {
    nvme_load_block(ns, span->slba + i, data, metadata);
    cmd->lba = span->slba + i;
    if (ns->pi_type != 0) {
      uint16_t status = nvme_pi_check_block(ns, span, i, data, metadata);
      if (status == SC_OK) status = nvme_pi_check_block(ns, span, i, host, host_metadata);
      if (status != SC_OK) return status;
    }
    if (!is_equal(ns, data, metadata, host, host_metadata)) return SC_COMPARE;
  }
  return SC_OK;
}

static uint16_t compare(struct controller *c, struct command *cmd) {
  struct ns *ns = cmd->ns;
  const struct span span = nvme_span(&cmd->sqe);
  /* There is no protection information to compare that the controller would have made up itself. */
  if (ns->pi_type != 0 && span.prinfo & PRINFO_ACT) return refuse(cmd, SC_INVALID_PI, CDW(12), 29 % 8);
  uint16_t status = nvme_check_access(c, cmd, &span);
  if (status == SC_OK && ns->zone != NULL) status = nvme_zone_check_read(ns, span.slba, span.blocks);
  if (status == SC_OK) status = nvme_check_readable(c, cmd, span.slba, span.blocks);
  if (status == SC_OK) status = nvme_map_blocks(c, cmd, &span, FROM_HOST);
  if (status != SC_OK) return status;
  const uint8_t *host = nvme_collect_blocks(c, ns, &span);
  if (host == NULL) return SC_INTERNAL;
  c->health.reads++;
  c->health.sectors_read += span.blocks << (ns->lba_shift - 9);
  return compare_collected(cmd, &span, host);
}

static uint16_t verify(struct controller *c, struct command *cmd) {
  struct ns *ns = cmd->ns;
  const struct span span = nvme_span(&cmd->sqe);
  uint16_t status = nvme_check_range(cmd, span.slba, span.blocks);
  if (status == SC_OK) status = nvme_pi_check_command(ns, &span);
  if (status == SC_OK && ns->zone != NULL) status = nvme_zone_check_read(ns, span.slba, span.blocks);
  if (status == SC_OK) status = nvme_check_readable(c, cmd, span.slba, span.blocks);
  if (status == SC_OK) status = nvme_check_blocks(cmd, &span);
  if (status == SC_OK) c->health.sectors_read += span.blocks << (ns->lba_shift - 9);
  return status;
}

/* Zeros, with the protection information that goes with them when the host asks the controller to make it. */
static void zero_blocks(struct ns *ns, const struct span *span) {
  static const uint8_t zeros[4096];
  nvme_store_clear(&ns->data, span->slba << ns->lba_shift, span->blocks << ns->lba_shift);
  if (ns->ms != 0) {
    uint8_t *metadata = ns->metadata.base + span->slba * ns->ms;
    memset(metadata, 0, (size_t)span->blocks * ns->ms);
    for (uint64_t i = 0; ns->pi_type != 0 && span->prinfo & PRINFO_ACT && i < span->blocks; i++) {
      struct span one = *span;
      one.blocks = 1;
      one.ref = ns->pi_type == 3 ? span->ref : span->ref + (uint32_t)i;
      nvme_pi_generate(ns, &one, zeros, metadata + i * ns->ms);
    }
  }
  nvme_mark_written(ns, span->slba, span->blocks);
}

static uint16_t check_write_without_data(struct command *cmd, const struct span *span) {
  uint16_t status = nvme_check_range(cmd, span->slba, span->blocks);
  if (status == SC_OK) status = nvme_check_writable(cmd);
  if (status == SC_OK && cmd->ns->zone != NULL) status = nvme_zone_check_write(cmd->ns, span->slba, span->blocks);
  return status;
}

static uint16_t write_zeroes(struct controller *c, struct command *cmd) {
  enum { DEAC = 1 << 25 };
  struct ns *ns = cmd->ns;
  const struct span span = nvme_span(&cmd->sqe);
  uint16_t status = nvme_pi_check_command(ns, &span);
  if (status == SC_OK) status = check_write_without_data(cmd, &span);
  if (status != SC_OK) return status;
  /* Only blocks that read as zeros when deallocated may be deallocated instead (NVM §3.2.8). */
  if (cmd->sqe.cdw12 & DEAC && ns->like.dlfeat == 1 && ns->zone == NULL) nvme_deallocate(ns, span.slba, span.blocks);
  else zero_blocks(ns, &span);
  if (ns->zone != NULL) nvme_zone_wrote(ns, span.slba, span.blocks);
  c->health.writes++;
  return SC_OK;
}

static uint16_t write_uncorrectable(struct controller *c, struct command *cmd) {
  (void)c;
  struct ns *ns = cmd->ns;
  const struct span span = nvme_span(&cmd->sqe);
  const uint16_t status = check_write_without_data(cmd, &span);
  if (status != SC_OK) return status;
  if (ns->uncorrectable == NULL && (ns->uncorrectable = nvme_bits_open(ns->blocks)) == NULL) return SC_INTERNAL;
  nvme_mark_written(ns, span.slba, span.blocks);
  ns->uncorrectable_count += nvme_bits_set(ns->uncorrectable, span.slba, span.blocks, 1);
  if (ns->zone != NULL) nvme_zone_wrote(ns, span.slba, span.blocks);
  return SC_OK;
}

static uint16_t flush(struct controller *c, struct command *cmd) {
  if (cmd->sqe.nsid != NSID_ALL) return nvme_store_flush(&cmd->ns->data) == 0 ? SC_OK : SC_WRITE_FAULT;
  for (uint32_t nsid = 1; nsid <= c->settings.nn; nsid++) {
    struct ns *ns = nvme_active(c, nsid);
    if (ns != NULL && nvme_store_flush(&ns->data) != 0) return SC_WRITE_FAULT;
  }
  return SC_OK;
}

/* ---- dispatch ---------------------------------------------------------------------------------------------------- */

enum { OPCODE_FLUSH = 0x00 };

const struct operation nvme_io_operations[256] = {
    [OPCODE_FLUSH] = {flush, EFFECTS_CSUPP},
    [0x01] = {write_blocks, EFFECTS_CSUPP | EFFECTS_LBCC},
    [0x02] = {read_blocks, EFFECTS_CSUPP},
    [0x04] = {write_uncorrectable, EFFECTS_CSUPP | EFFECTS_LBCC},
    [0x05] = {compare, EFFECTS_CSUPP},
    [0x08] = {write_zeroes, EFFECTS_CSUPP | EFFECTS_LBCC},
    [0x09] = {nvme_dataset_management, EFFECTS_CSUPP | EFFECTS_LBCC},
    [0x0c] = {verify, EFFECTS_CSUPP},
    [0x19] = {nvme_copy, EFFECTS_CSUPP | EFFECTS_LBCC},
};

/* Zone commands are there for zoned namespaces while the driver has chosen all command sets (CC.CSS, ZNS §2.1). */
static const struct operation *find_operation(const struct controller *c, const struct ns *ns, uint8_t opcode) {
  if (nvme_io_operations[opcode].run != NULL) return &nvme_io_operations[opcode];
  const int zoned = ns->zone != NULL && (c->registers.cc >> 4 & 7) == 6;
  return zoned && nvme_zone_operations[opcode].run != NULL ? &nvme_zone_operations[opcode] : NULL;
}

uint16_t nvme_run_io(struct controller *c, struct command *cmd) {
  const struct sqe *sqe = &cmd->sqe;
  cmd->ns = NULL;
  if (sqe->opcode == OPCODE_FLUSH && sqe->nsid == NSID_ALL && c->settings.vwc) return flush(c, cmd);
  if (sqe->nsid == 0 || sqe->nsid > c->settings.nn) return refuse(cmd, SC_INVALID_NAMESPACE, CDW(1), 0);
  struct ns *ns = nvme_active(c, sqe->nsid);
  if (ns == NULL) return refuse(cmd, SC_INVALID_FIELD, CDW(1), 0);
  const struct operation *operation = find_operation(c, ns, sqe->opcode);
  if (operation == NULL) return refuse(cmd, SC_INVALID_OPCODE, 0, 0);
  if (sqe->flags & 3) return refuse(cmd, SC_INVALID_FIELD & ~SC_DNR, 1, 0); /* FUSES is 0 */
  const uint16_t status = nvme_check_state(c, ns);
  if (status != SC_OK) return status;
  cmd->ns = ns;
  return operation->run(c, cmd);
}
