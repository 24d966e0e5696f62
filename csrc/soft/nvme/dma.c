/*
 * Moving data: what the PRPs or SGL of a command name is looked up whole, before anything is moved, as a list of pieces
 * of the driver's memory. Every address is checked against the table of DMA memory. PRPs: §4.1.1; SGLs: §4.1.2.
 */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PRP_BYTES = 8, SGL_BYTES = 16, MOST_DESCRIPTORS = 1 << 17, CMBMSC_CMSE = 2 };

uint8_t *nvme_reach(struct controller *c, uint64_t address, uint64_t size) {
  uint8_t *found = soft_dma_find(c->device, address, size);
  if (found != NULL) return found;
  if (c->registers.cmbmsc & CMBMSC_CMSE) {
    const uint64_t offset = address - (c->registers.cmbmsc >> 12 << 12);
    if (offset < c->settings.cmb && size <= c->settings.cmb - offset) return c->device->bars[2].base + offset;
  }
  c->counters.dma_errors++;
  return NULL;
}

/* ---- the list of pieces ------------------------------------------------------------------------------------------ */

static void start(struct transfer *t) {
  t->count = t->index = 0;
  t->offset = t->length = 0;
}

static uint16_t add(struct transfer *t, uint8_t *at, uint64_t length) {
  if (t->count == t->room) {
    const size_t room = t->room == 0 ? 64 : 2 * t->room;
    struct piece *larger = realloc(t->pieces, room * sizeof *larger);
    if (larger == NULL) return SC_INTERNAL;
    t->pieces = larger;
    t->room = room;
  }
  t->pieces[t->count++] = (struct piece){at, length};
  t->length += length;
  return SC_OK;
}

static uint16_t add_address(struct controller *c, struct transfer *t, uint64_t address, uint64_t length) {
  uint8_t *at = nvme_reach(c, address, length);
  return at == NULL ? SC_DATA_TRANSFER : add(t, at, length);
}

void nvme_free_transfers(struct controller *c) {
  free(c->memory.data.pieces);
  free(c->memory.metadata.pieces);
  free(c->memory.staging);
}

uint8_t *nvme_staging(struct controller *c, size_t size) {
  if (size > c->memory.staging_room) {
    uint8_t *larger = realloc(c->memory.staging, size);
    if (larger == NULL) return NULL;
    c->memory.staging = larger;
    c->memory.staging_room = size;
  }
  return c->memory.staging;
}

/* ---- PRPs -------------------------------------------------------------------------------------------------------- */

/* An entry after the first: 0 is what a driver leaves that forgot to fill it in, and only the first has an offset. */
static uint16_t check_entry(const struct controller *c, uint64_t entry) {
  if (entry == 0) return SC_INVALID_FIELD;
  return (entry & ((UINT64_C(1) << c->memory.page_shift) - 1)) != 0 ? SC_PRP_OFFSET : SC_OK;
}

/* Follows a list that begins at an address inside a page. An entry in the last slot of a page is a pointer to the next
 * page of the list when more is to come than it could name. */
static uint16_t map_prp_list(struct controller *c, struct transfer *t, uint64_t list, uint64_t length) {
  const uint64_t page = UINT64_C(1) << c->memory.page_shift;
  if (list == 0) return SC_INVALID_FIELD;
  if (list % PRP_BYTES != 0) return SC_PRP_OFFSET;
  while (length > 0) {
    const uint64_t slots = (page - list % page) / PRP_BYTES, needed = (length + page - 1) / page;
    const uint64_t used = needed < slots ? needed : slots;
    const uint8_t *entries = nvme_reach(c, list, used * PRP_BYTES);
    if (entries == NULL) return SC_DATA_TRANSFER;
    for (uint64_t i = 0; i < used; i++) {
      /* Read once: the driver could change it between the check and the use. */
      const uint64_t entry = __atomic_load_n((const uint64_t *)(const void *)(entries + i * PRP_BYTES), __ATOMIC_RELAXED);
      uint16_t status = check_entry(c, entry);
      if (status != SC_OK) return status;
      if (i + 1 == slots && needed > slots) {
        list = entry;
        break;
      }
      const uint64_t piece = length < page ? length : page;
      status = add_address(c, t, entry, piece);
      if (status != SC_OK) return status;
      length -= piece;
    }
  }
  return SC_OK;
}

static uint16_t map_prps(struct controller *c, struct command *cmd, struct transfer *t, uint64_t length) {
  const uint64_t page = UINT64_C(1) << c->memory.page_shift, prp1 = cmd->sqe.prp1, prp2 = cmd->sqe.prp2;
  if (prp1 == 0) return refuse(cmd, SC_INVALID_FIELD, CDW(6), 0);
  if (prp1 % 4 != 0) return refuse(cmd, SC_PRP_OFFSET, CDW(6), 0);
  const uint64_t in_first = page - prp1 % page, first = length < in_first ? length : in_first;
  uint16_t status = add_address(c, t, prp1, first);
  if (status != SC_OK) return refuse(cmd, status, CDW(6), 0);
  length -= first;
  if (length == 0) return SC_OK;
  if (length > page) {
    status = map_prp_list(c, t, prp2, length);
  } else {
    status = check_entry(c, prp2);
    if (status == SC_OK) status = add_address(c, t, prp2, length);
  }
  return status == SC_OK ? SC_OK : refuse(cmd, status, CDW(8), 0);
}

/* ---- SGLs -------------------------------------------------------------------------------------------------------- */

enum { SGL_DATA = 0, SGL_BIT_BUCKET = 1, SGL_SEGMENT = 2, SGL_LAST_SEGMENT = 3 };

struct sgl {
  uint64_t address;
  uint32_t length;
  uint8_t reserved[3];
  uint8_t type; /* type 7:4, subtype 3:0 */
};
_Static_assert(sizeof(struct sgl) == SGL_BYTES, "SGL descriptor");

struct sgl_walk {
  struct controller *c;
  struct transfer *t;
  enum direction direction;
  uint64_t wanted; /* bytes that are still to be named */
  uint16_t too_short;
  unsigned descriptors;
};

static uint16_t add_data_block(struct sgl_walk *w, const struct sgl *d) {
  if (d->length == 0) return SC_OK;
  if (w->c->settings.sgls == 2 && (d->address % 4 != 0 || d->length % 4 != 0)) return SC_SGL_GRANULARITY;
  /* SGLS bit 18 is 0: an SGL that names more than the command moves is an error. */
  if (d->length > w->wanted) return w->too_short;
  w->wanted -= d->length;
  return add_address(w->c, w->t, d->address, d->length);
}

/* Data for a bit bucket is dropped; one in a command that takes data from the host counts for nothing. */
static uint16_t add_bit_bucket(struct sgl_walk *w, const struct sgl *d) {
  if (w->direction == FROM_HOST || d->length == 0) return SC_OK;
  if (d->length > w->wanted) return w->too_short;
  w->wanted -= d->length;
  return add(w->t, NULL, d->length);
}

static uint16_t add_descriptor(struct sgl_walk *w, const struct sgl *d) {
  if ((d->type & 15) != 0) return SC_SGL_TYPE;
  if (++w->descriptors > MOST_DESCRIPTORS) return SC_SGL_COUNT;
  switch (d->type >> 4) {
    case SGL_DATA: return add_data_block(w, d);
    case SGL_BIT_BUCKET: return add_bit_bucket(w, d);
    default: return SC_SGL_TYPE;
  }
}

static int is_segment(const struct sgl *d) { return d->type >> 4 == SGL_SEGMENT || d->type >> 4 == SGL_LAST_SEGMENT; }

/* One segment. Only its last descriptor may lead to a further one, and must, unless the segment was announced as the
 * last. Returns what was found there in *next, with length 0 when the list has ended. */
static uint16_t walk_segment(struct sgl_walk *w, const struct sgl *segment, struct sgl *next) {
  *next = (struct sgl){0};
  if ((segment->type & 15) != 0) return SC_SGL_TYPE;
  if (segment->length == 0 || segment->length % SGL_BYTES != 0 || segment->address % 8 != 0) return SC_SGL_SEGMENT;
  if (segment->length / SGL_BYTES > MOST_DESCRIPTORS) return SC_SGL_COUNT;
  const uint8_t *at = nvme_reach(w->c, segment->address, segment->length);
  if (at == NULL) return SC_DATA_TRANSFER;
  const unsigned count = segment->length / SGL_BYTES, is_last = segment->type >> 4 == SGL_LAST_SEGMENT;
  for (unsigned i = 0; i < count; i++) {
    struct sgl d;
    memcpy(&d, at + i * SGL_BYTES, sizeof d);
    if (is_segment(&d)) {
      if (is_last || i + 1 != count) return SC_SGL_SEGMENT;
      if (++w->descriptors > MOST_DESCRIPTORS) return SC_SGL_COUNT;
      *next = d;
      return SC_OK;
    }
    const uint16_t status = add_descriptor(w, &d);
    if (status != SC_OK) return status;
  }
  return is_last ? SC_OK : SC_SGL_SEGMENT;
}

static uint16_t map_sgl(struct controller *c, struct transfer *t, const struct sgl *first, uint64_t length,
                        enum direction direction, uint16_t too_short) {
  struct sgl_walk w = {.c = c, .t = t, .direction = direction, .wanted = length, .too_short = too_short};
  uint16_t status = SC_OK;
  struct sgl segment = *first;
  if (!is_segment(first)) {
    status = add_descriptor(&w, first);
    segment.length = 0;
  } else if (first->length == 0) {
    status = SC_SGL_SEGMENT;
  }
  while (status == SC_OK && segment.length != 0) {
    struct sgl next;
    status = walk_segment(&w, &segment, &next);
    segment = next;
    if (status == SC_OK && is_segment(&next) && next.length == 0) status = SC_SGL_SEGMENT;
  }
  if (status != SC_OK) return status;
  return w.wanted == 0 ? SC_OK : too_short;
}

/* ---- for commands ------------------------------------------------------------------------------------------------ */

enum { PSDT_PRP = 0, PSDT_SGL = 1, PSDT_SGL_BOTH = 2 };

static unsigned psdt(const struct command *cmd) { return cmd->sqe.flags >> 6; }

uint16_t nvme_map_data(struct controller *c, struct command *cmd, uint64_t length, enum direction direction) {
  start(&c->memory.data);
  if (length == 0) return SC_OK;
  if (psdt(cmd) == PSDT_PRP) return map_prps(c, cmd, &c->memory.data, length);
  /* On PCIe admin commands use PRPs (§4.1). */
  if (psdt(cmd) > PSDT_SGL_BOTH || c->settings.sgls == 0 || cmd->sq->id == 0) {
    return refuse(cmd, SC_INVALID_FIELD, 1, 6);
  }
  struct sgl first;
  memcpy(&first, &cmd->sqe.prp1, sizeof first);
  const uint16_t status = map_sgl(c, &c->memory.data, &first, length, direction, SC_SGL_DATA_LENGTH);
  return status == SC_OK ? SC_OK : refuse(cmd, status, CDW(6), 0);
}

/* MPTR: the metadata itself, or with PSDT 10b the one descriptor of its SGL. */
uint16_t nvme_map_metadata(struct controller *c, struct command *cmd, uint64_t length, enum direction direction) {
  start(&c->memory.metadata);
  if (length == 0) return SC_OK;
  const uint64_t mptr = cmd->sqe.mptr;
  uint16_t status;
  if (psdt(cmd) != PSDT_SGL_BOTH) {
    status = mptr == 0 || mptr % 4 != 0 ? SC_INVALID_FIELD : add_address(c, &c->memory.metadata, mptr, length);
  } else {
    const uint8_t *at = mptr % 8 != 0 ? NULL : nvme_reach(c, mptr, SGL_BYTES);
    struct sgl first;
    if (at == NULL) return refuse(cmd, mptr % 8 != 0 ? SC_INVALID_FIELD : SC_DATA_TRANSFER, CDW(4), 0);
    memcpy(&first, at, sizeof first);
    status = map_sgl(c, &c->memory.metadata, &first, length, direction, SC_SGL_METADATA_LENGTH);
  }
  return status == SC_OK ? SC_OK : refuse(cmd, status, CDW(4), 0);
}

/* Moves length bytes through the pieces from where the last call ended. */
static void copy(struct transfer *t, uint8_t *ours, uint64_t length, enum direction direction) {
  while (length > 0) {
    const struct piece *piece = &t->pieces[t->index];
    const uint64_t left = piece->length - t->offset, now = length < left ? length : left;
    if (piece->at != NULL && direction == TO_HOST) memcpy(piece->at + t->offset, ours, now);
    if (piece->at != NULL && direction == FROM_HOST) memcpy(ours, piece->at + t->offset, now);
    ours += now;
    length -= now;
    t->offset += now;
    if (t->offset == piece->length) {
      t->index++;
      t->offset = 0;
    }
  }
}

void nvme_copy_to_host(struct transfer *t, const void *from, uint64_t length) {
  copy(t, (uint8_t *)(uintptr_t)from, length, TO_HOST);
}

void nvme_copy_from_host(struct transfer *t, void *to, uint64_t length) { copy(t, to, length, FROM_HOST); }

uint16_t nvme_send(struct controller *c, struct command *cmd, const void *from, uint64_t length) {
  const uint16_t status = nvme_map_data(c, cmd, length, TO_HOST);
  if (status == SC_OK) nvme_copy_to_host(&c->memory.data, from, length);
  return status;
}

uint16_t nvme_receive(struct controller *c, struct command *cmd, void *to, uint64_t length) {
  const uint16_t status = nvme_map_data(c, cmd, length, FROM_HOST);
  if (status == SC_OK) nvme_copy_from_host(&c->memory.data, to, length);
  return status;
}
