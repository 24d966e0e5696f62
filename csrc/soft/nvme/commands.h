/* The command sets: who carries commands out. */
#ifndef BUSBAR_SOFT_NVME_COMMANDS_H
#define BUSBAR_SOFT_NVME_COMMANDS_H

#include "command.h"

extern const struct operation nvme_admin_operations[256], nvme_io_operations[256], nvme_zone_operations[256];
/* Carries out what there is, and returns how many commands. */
unsigned nvme_run_queues(struct controller *c);
uint16_t nvme_run_admin(struct controller *c, struct command *cmd);
uint16_t nvme_run_io(struct controller *c, struct command *cmd);
uint16_t nvme_identify(struct controller *c, struct command *cmd);
/* ASCII fields are filled up with spaces and have no NUL (§1.5). */
void nvme_put_text(uint8_t *at, size_t room, const char *text);
/* True when some namespace may be shared between controllers. */
int nvme_is_shared(const struct controller *c);
uint16_t nvme_get_log_page(struct controller *c, struct command *cmd);

/* Limits of Copy (MSSRL, MCL, MSRC + 1). */
enum { COPY_SOURCE_BLOCKS = 128, COPY_BLOCKS = 1024, COPY_SOURCES = 128 };

uint16_t nvme_dataset_management(struct controller *c, struct command *cmd);
uint16_t nvme_copy(struct controller *c, struct command *cmd);

#endif
