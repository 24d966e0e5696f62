/* Protection information. */
#ifndef BUSBAR_SOFT_NVME_PI_H
#define BUSBAR_SOFT_NVME_PI_H

#include "namespace.h"

uint16_t nvme_crc16(uint16_t crc, const uint8_t *bytes, size_t length);
uint16_t nvme_pi_check_command(const struct ns *ns, const struct span *span);
uint16_t nvme_pi_check_block(const struct ns *ns, const struct span *span, uint64_t block, const uint8_t *data,
                             const uint8_t *metadata);
void nvme_pi_generate(const struct ns *ns, const struct span *span, const uint8_t *data, uint8_t *metadata);
void nvme_pi_move(const struct ns *ns, uint64_t blocks, uint8_t *metadata, uint32_t by);

#endif
