/* Format NVM and Sanitize. */
#ifndef BUSBAR_SOFT_NVME_FORMAT_H
#define BUSBAR_SOFT_NVME_FORMAT_H

#include "command.h"

struct sanitize {
  uint16_t status; /* SSTAT of the log, §5.16.1.25 */
  uint32_t cdw10, cdw11;
  int running, failed, fail_next;
  uint64_t started_ns, ends_ns;
};

uint16_t nvme_format(struct controller *c, struct command *cmd);
void nvme_finish_formats(struct controller *c);
uint16_t nvme_sanitize(struct controller *c, struct command *cmd);
void nvme_pass_sanitize(struct controller *c, uint64_t now);
void nvme_fill_sanitize_log(const struct controller *c, uint8_t *at);

#endif
