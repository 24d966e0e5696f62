/* Firmware slots. */
#ifndef BUSBAR_SOFT_NVME_FIRMWARE_H
#define BUSBAR_SOFT_NVME_FIRMWARE_H

#include "settings.h"
#include "command.h"

enum { FIRMWARE_SLOTS = 3 };

struct firmware {
  char revision[FIRMWARE_SLOTS][FIRMWARE_CHARS + 1];
  unsigned active, next; /* slots from 1; next 0: none waits for a reset */
  uint8_t *image;        /* downloaded and not committed */
  uint64_t image_bytes, image_end;
};

void nvme_open_firmware(struct controller *c);
void nvme_close_firmware(struct controller *c);
void nvme_reset_firmware(struct controller *c);
const char *nvme_firmware_revision(const struct controller *c);
uint16_t nvme_firmware_download(struct controller *c, struct command *cmd);
uint16_t nvme_firmware_commit(struct controller *c, struct command *cmd);

#endif
