/* Blocks of a namespace on its medium: what reads give, and which are written. */
#define _GNU_SOURCE
#include "controller.h"

#include <string.h>

static int is_written(const struct ns *ns, uint64_t lba) { return (ns->written[lba / 64] >> lba % 64 & 1) != 0; }

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
