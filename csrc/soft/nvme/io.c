/* The NVM command set: Read, Write, Flush, Compare, Write Zeroes, Write Uncorrectable, Verify. */
#define _GNU_SOURCE
#include "nvme.h"

#include <string.h>

struct span nvme_span(const struct sqe *sqe) {
  return (struct span){
      .slba = sqe->cdw10 | (uint64_t)sqe->cdw11 << 32,
      .blocks = (uint64_t)(sqe->cdw12 & 0xffff) + 1,
      .prinfo = sqe->cdw12 >> 26 & 15,
      .ref = sqe->cdw14,
      .app = (uint16_t)sqe->cdw15,
      .app_mask = (uint16_t)(sqe->cdw15 >> 16),
  };
}

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
  if (host_data_bytes(cmd->ns, span) > c->max_transfer) return refuse(cmd, SC_INVALID_FIELD, CDW(12), 0);
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

/* ---- blocks as they read ----------------------------------------------------------------------------------------- */

static int is_written(const struct ns *ns, uint64_t lba) { return (ns->written[lba / 64] >> lba % 64 & 1) != 0; }

/* True when the medium holds what reads give, deallocated blocks included. */
static int is_plain(const struct ns *ns) { return ns->ms == 0 && ns->like.dlfeat != 2; }

/* A block and its metadata, as DLFEAT has it when nobody wrote it. The protection information of such a block is all ones
 * (NVM §3.2.3.2.1). */
void nvme_load_block(const struct ns *ns, uint64_t lba, uint8_t *data, uint8_t *metadata) {
  if (is_written(ns, lba)) {
    memcpy(data, ns->data.base + (lba << ns->lba_shift), ns->lba_bytes);
    if (ns->ms != 0) memcpy(metadata, ns->metadata.base + lba * ns->ms, ns->ms);
    return;
  }
  const int fill = ns->like.dlfeat == 2 ? 0xff : 0;
  memset(data, fill, ns->lba_bytes);
  memset(metadata, fill, ns->ms);
  if (ns->pi_type != 0) memset(metadata + (ns->pi_first ? 0 : ns->ms - 8), 0xff, 8);
}

void nvme_mark_written(struct ns *ns, uint64_t slba, uint64_t blocks) {
  ns->written_count += nvme_bits_set(ns->written, slba, blocks, 1);
  if (ns->uncorrectable_count != 0) ns->uncorrectable_count -= nvme_bits_set(ns->uncorrectable, slba, blocks, 0);
}

void nvme_deallocate(struct ns *ns, uint64_t slba, uint64_t blocks) {
  nvme_store_clear(&ns->data, slba << ns->lba_shift, blocks << ns->lba_shift);
  ns->written_count -= nvme_bits_set(ns->written, slba, blocks, 0);
  if (ns->uncorrectable_count != 0) ns->uncorrectable_count -= nvme_bits_set(ns->uncorrectable, slba, blocks, 0);
}

static uint16_t map_both(struct controller *c, struct command *cmd, const struct span *span, enum direction direction) {
  const struct ns *ns = cmd->ns;
  uint16_t status = nvme_map_data(c, cmd, host_data_bytes(ns, span), direction);
  if (status == SC_OK && ns->ms != 0 && !ns->extended) {
    status = nvme_map_metadata(c, cmd, span->blocks * host_metadata_bytes(ns, span), direction);
  }
  return status;
}

/* ---- Read -------------------------------------------------------------------------------------------------------- */

static void read_plain(struct controller *c, const struct ns *ns, uint64_t slba) {
  const uint8_t *from = ns->data.base + (slba << ns->lba_shift);
  for (size_t i = 0; i < c->data.count; i++) {
    const struct piece *piece = &c->data.pieces[i];
    if (piece->at != NULL) memcpy(piece->at, from, piece->length);
    from += piece->length;
  }
}

/* Data, metadata and protection information, block by block. All are checked before any is handed out. */
static uint16_t check_blocks(struct command *cmd, const struct span *span) {
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
    nvme_copy_to_host(&c->data, data, ns->lba_bytes);
    if (ms != 0) nvme_copy_to_host(ns->extended ? &c->data : &c->metadata, metadata, ms);
  }
}

static uint16_t read_blocks(struct controller *c, struct command *cmd) {
  struct ns *ns = cmd->ns;
  const struct span span = nvme_span(&cmd->sqe);
  uint16_t status = nvme_check_access(c, cmd, &span);
  if (status == SC_OK && ns->zone != NULL) status = nvme_zone_check_read(ns, span.slba, span.blocks);
  if (status == SC_OK) status = nvme_check_readable(c, cmd, span.slba, span.blocks);
  if (status == SC_OK) status = map_both(c, cmd, &span, TO_HOST);
  if (status == SC_OK && ns->pi_type != 0) status = check_blocks(cmd, &span);
  if (status != SC_OK) return status;
  if (is_plain(ns)) read_plain(c, ns, span.slba);
  else send_blocks(c, ns, &span);
  c->health.reads++;
  c->health.sectors_read += span.blocks << (ns->lba_shift - 9);
  return SC_OK;
}

/* ---- Write, Zone Append ------------------------------------------------------------------------------------------ */

static void write_plain(struct controller *c, struct ns *ns, uint64_t slba) {
  uint8_t *to = ns->data.base + (slba << ns->lba_shift);
  for (size_t i = 0; i < c->data.count; i++) {
    memcpy(to, c->data.pieces[i].at, c->data.pieces[i].length);
    to += c->data.pieces[i].length;
  }
}

/* Collects what the host sent: all blocks, then all metadata. The host may write to its buffer meanwhile, so what is
 * checked and stored is this copy. */
static uint8_t *collect(struct controller *c, const struct ns *ns, const struct span *span) {
  const unsigned ms = host_metadata_bytes(ns, span);
  const size_t data_bytes = (size_t)span->blocks << ns->lba_shift;
  uint8_t *data = nvme_staging(c, data_bytes + (size_t)span->blocks * ns->ms), *metadata = data + data_bytes;
  if (data == NULL) return NULL;
  for (uint64_t i = 0; i < span->blocks; i++) {
    nvme_copy_from_host(&c->data, data + (i << ns->lba_shift), ns->lba_bytes);
    if (ms != 0) nvme_copy_from_host(ns->extended ? &c->data : &c->metadata, metadata + i * ns->ms, ms);
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
  uint8_t *data = collect(c, ns, span);
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
  uint16_t status = map_both(c, cmd, span, FROM_HOST);
  if (status == SC_OK && ns->ms != 0) status = write_protected(c, cmd, span, at);
  if (status != SC_OK) return status;
  if (ns->ms == 0) write_plain(c, ns, at);
  nvme_mark_written(ns, at, span->blocks);
  if (ns->zone != NULL) nvme_zone_wrote(ns, at, span->blocks);
  c->health.writes++;
  c->health.sectors_written += span->blocks << (ns->lba_shift - 9);
  return SC_OK;
}

static uint16_t write_blocks(struct controller *c, struct command *cmd) {
  const struct span span = nvme_span(&cmd->sqe);
  uint16_t status = nvme_check_access(c, cmd, &span);
  if (status == SC_OK) status = nvme_check_writable(cmd);
  if (status == SC_OK && cmd->ns->zone != NULL) status = nvme_zone_check_write(cmd->ns, span.slba, span.blocks);
  return status == SC_OK ? nvme_store_blocks(c, cmd, &span, span.slba) : status;
}

/* ---- the other commands ------------------------------------------------------------------------------------------ */

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
  if (status == SC_OK) status = map_both(c, cmd, &span, FROM_HOST);
  if (status != SC_OK) return status;
  const uint8_t *host = collect(c, ns, &span);
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
  if (status == SC_OK) status = check_blocks(cmd, &span);
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
  const int zoned = ns->zone != NULL && (c->cc >> 4 & 7) == 6;
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
