/* Blocks on the medium, and between it and the host. */
#ifndef BUSBAR_SOFT_NVME_BLOCK_H
#define BUSBAR_SOFT_NVME_BLOCK_H

#include "namespace.h"
#include "dma.h"

/* A block as a read gives it. */
void nvme_load_block(const struct ns *ns, uint64_t lba, uint8_t *data, uint8_t *metadata);
void nvme_mark_written(struct ns *ns, uint64_t slba, uint64_t blocks);
void nvme_deallocate(struct ns *ns, uint64_t slba, uint64_t blocks);

/* ---- block_transfer.c -------------------------------------------------------------------------------------------- */

uint16_t nvme_check_range(struct command *cmd, uint64_t slba, uint64_t blocks);
uint16_t nvme_check_access(struct controller *c, struct command *cmd, const struct span *span);
uint16_t nvme_check_readable(struct controller *c, struct command *cmd, uint64_t slba, uint64_t blocks);
uint16_t nvme_check_writable(struct command *cmd);
/* Looks up the memory for the blocks and their metadata. */
uint16_t nvme_map_blocks(struct controller *c, struct command *cmd, const struct span *span, enum direction direction);
/* What the host sent: all blocks, then all metadata. NULL where there is no memory for it. */
uint8_t *nvme_collect_blocks(struct controller *c, const struct ns *ns, const struct span *span);
/* Takes blocks from the host and stores them at a place that was found good. */
uint16_t nvme_store_blocks(struct controller *c, struct command *cmd, const struct span *span, uint64_t at);
/* Whether the protection information of stored blocks is right. */
uint16_t nvme_check_blocks(struct command *cmd, const struct span *span);
/* Gives stored blocks to the host, all of them checked before any is handed out. */
uint16_t nvme_send_blocks(struct controller *c, struct command *cmd, const struct span *span);

#endif
