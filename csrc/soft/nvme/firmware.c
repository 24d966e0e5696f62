/* Firmware, §5.12 and §5.13. An image is anything whose first eight bytes are printable: they are the revision that it
 * brings. */
#define _GNU_SOURCE
#include "controller.h"

#include <stdlib.h>
#include <string.h>

enum { GRANULARITY = 4096, MOST_IMAGE_BYTES = 16 << 20 };

void nvme_open_firmware(struct controller *c) {
  c->firmware.active = 1;
  strcpy(c->firmware.revision[0], c->settings.fr);
}

void nvme_close_firmware(struct controller *c) { free(c->firmware.image); }

const char *nvme_firmware_revision(const struct controller *c) { return c->firmware.revision[c->firmware.active - 1]; }

/* Pieces come in any order of whoever sends them, but what was sent once is not sent again. */
uint16_t nvme_firmware_download(struct controller *c, struct command *cmd) {
  struct firmware *f = &c->firmware;
  const uint64_t bytes = ((uint64_t)cmd->sqe.cdw10 + 1) * 4, offset = (uint64_t)cmd->sqe.cdw11 * 4;
  if (bytes > c->memory.max_transfer || offset + bytes > MOST_IMAGE_BYTES || bytes % GRANULARITY != 0 ||
      offset % GRANULARITY != 0) {
    return refuse(cmd, SC_INVALID_FIELD, CDW(10), 0);
  }
  if (offset != 0 && offset < f->image_end) return refuse(cmd, SC_OVERLAPPING_RANGE, CDW(11), 0);
  if (offset + bytes > f->image_bytes) {
    uint8_t *larger = realloc(f->image, offset + bytes);
    if (larger == NULL) return SC_INTERNAL;
    memset(larger + f->image_bytes, 0, offset + bytes - f->image_bytes);
    f->image = larger;
    f->image_bytes = offset + bytes;
  }
  const uint16_t status = nvme_receive(c, cmd, f->image + offset, bytes);
  if (status == SC_OK) f->image_end = offset + bytes;
  return status;
}

static int read_revision(const struct firmware *f, char *revision) {
  if (f->image_end == 0) return 0;
  memcpy(revision, f->image, FIRMWARE_CHARS);
  revision[FIRMWARE_CHARS] = '\0';
  for (int i = 0; i < FIRMWARE_CHARS; i++) {
    if (revision[i] < ' ' || revision[i] > '~') return 0;
  }
  return 1;
}

static void forget_image(struct firmware *f) {
  free(f->image);
  f->image = NULL;
  f->image_bytes = f->image_end = 0;
}

uint16_t nvme_firmware_commit(struct controller *c, struct command *cmd) {
  enum { REPLACE = 0, REPLACE_AND_ACTIVATE = 1, ACTIVATE = 2, ACTIVATE_NOW = 3 };
  struct firmware *f = &c->firmware;
  const unsigned action = cmd->sqe.cdw10 >> 3 & 7;
  unsigned slot = cmd->sqe.cdw10 & 7;
  if (action > ACTIVATE_NOW) return refuse(cmd, SC_INVALID_FIELD, CDW(10), 3);
  if (slot > FIRMWARE_SLOTS) return refuse(cmd, SC_FIRMWARE_SLOT, CDW(10), 0);
  if (slot == 0) slot = f->active % FIRMWARE_SLOTS + 1; /* the controller's choice: not the one in use */
  char revision[FIRMWARE_CHARS + 1];
  const int has_image = read_revision(f, revision), replaces = action == REPLACE || action == REPLACE_AND_ACTIVATE;
  if (replaces || (action == ACTIVATE_NOW && f->image_end != 0)) {
    if (!has_image) return SC_FIRMWARE_IMAGE;
    memcpy(f->revision[slot - 1], revision, sizeof revision);
    forget_image(f);
  }
  if (action == REPLACE) return SC_OK;
  if (f->revision[slot - 1][0] == '\0') return refuse(cmd, SC_FIRMWARE_IMAGE, CDW(10), 0);
  if (action == ACTIVATE_NOW) {
    f->active = slot;
    f->next = 0;
    nvme_raise_event(c, EVENT_NOTICE, EVENT_INFO_FIRMWARE, LOG_FIRMWARE);
  } else {
    f->next = slot;
  }
  return SC_OK;
}

/* A controller level reset activates what waits for it. */
void nvme_reset_firmware(struct controller *c) {
  if (c->firmware.next != 0) c->firmware.active = c->firmware.next;
  c->firmware.next = 0;
  forget_image(&c->firmware);
}
