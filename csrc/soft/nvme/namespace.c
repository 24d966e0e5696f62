/* Namespaces: making them from settings or a command, their formats, and Namespace Management and Attachment. */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Locally administered, so it is nobody's (bit 1 of the first byte as written, which is the last here). */
const uint8_t nvme_oui[3] = {0xb0, 0xb0, 0x02};

const struct lba_format nvme_formats[LBA_FORMATS] = {
    {9, 0}, {9, 8}, {9, 16}, {9, 64}, {12, 0}, {12, 8}, {12, 16}, {12, 64},
};

static int find_format(const struct namespace_settings *like) {
  for (int i = 0; i < LBA_FORMATS; i++) {
    if (UINT64_C(1) << nvme_formats[i].shift == like->lba && nvme_formats[i].ms == like->ms) return i;
  }
  return -1;
}

/* The same words make the same identifier in every run, so that a test can name a namespace. */
static uint64_t hash(const char *text, uint64_t number) {
  uint64_t h = UINT64_C(0xcbf29ce484222325) ^ number * UINT64_C(0x9e3779b97f4a7c15);
  for (; *text != '\0'; text++) h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
  return h ^ h >> 29;
}

static void make_identifiers(const struct controller *c, struct ns *ns) {
  const uint64_t a = hash(c->settings.serial, ns->id), b = hash(c->settings.serial, ~(uint64_t)ns->id);
  for (int i = 0; i < 8; i++) {
    ns->nguid[i] = (uint8_t)(a >> 8 * i);
    ns->uuid[i] = (uint8_t)(b >> 8 * i);
    ns->uuid[8 + i] = (uint8_t)(a >> 8 * i);
    ns->eui64[i] = (uint8_t)(b >> 8 * i);
  }
  /* EUI64 begins with the controller's OUI, NGUID has it in bytes 8 to 10 (NVM §4.1.5.1), a UUID its version, RFC 4122. */
  for (int i = 0; i < 3; i++) ns->eui64[i] = ns->nguid[8 + i] = nvme_oui[2 - i];
  put32(ns->nguid + 11, b);
  ns->nguid[15] = (uint8_t)ns->id;
  ns->uuid[6] = (uint8_t)((ns->uuid[6] & 0x0f) | 0x40);
  ns->uuid[8] = (uint8_t)((ns->uuid[8] & 0x3f) | 0x80);
}

/* ---- the medium -------------------------------------------------------------------------------------------------- */

static void close_media(struct ns *ns) {
  nvme_store_close(&ns->data);
  nvme_store_close(&ns->metadata);
  nvme_bits_close(ns->written, ns->blocks);
  nvme_bits_close(ns->uncorrectable, ns->blocks);
  ns->written = ns->uncorrectable = NULL;
  ns->written_count = ns->uncorrectable_count = 0;
}

/* A file that is there says how large its namespace is. */
static uint64_t file_size(const char *path) {
  struct stat info;
  return *path != '\0' && stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
}

static int open_media(struct ns *ns) {
  char metadata_path[PATH_CHARS + 8] = "";
  const int existed = file_size(ns->like.file) > 0;
  if (ns->like.file[0] != '\0') strcat(strcpy(metadata_path, ns->like.file), ".meta");
  int result = nvme_store_open(&ns->data, ns->like.file, ns->blocks << ns->lba_shift);
  if (result == 0 && ns->ms != 0) result = nvme_store_open(&ns->metadata, metadata_path, ns->blocks * ns->ms);
  if (result == 0 && (ns->written = nvme_bits_open(ns->blocks)) == NULL) result = -ENOMEM;
  if (result != 0) {
    close_media(ns);
    return result;
  }
  /* What a file held before is data. */
  if (existed) ns->written_count = nvme_bits_set(ns->written, 0, ns->blocks, 1);
  return 0;
}

static void apply_format(struct ns *ns) {
  ns->lba_shift = nvme_formats[ns->lbaf].shift;
  ns->lba_bytes = 1u << ns->lba_shift;
  ns->ms = nvme_formats[ns->lbaf].ms;
  ns->extended = ns->like.ext != 0 && ns->ms != 0;
  ns->pi_type = (int)ns->like.pi;
  ns->pi_first = ns->like.pil != 0;
  ns->blocks = ns->like.size >> ns->lba_shift;
}

static int is_sane(const struct namespace_settings *like) {
  const uint64_t lba = like->lba;
  if (like->size < lba || (like->pi != 0 && like->ms < 8)) return 0;
  if (!like->zoned) return 1;
  return like->zone != 0 && like->zone % lba == 0 && like->zcap % lba == 0 && like->zcap <= like->zone &&
         like->size >= like->zone;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void free_namespace(struct ns *ns) {
  close_media(ns);
  nvme_close_zones(ns);
  free(ns);
}

static int build(struct ns *ns) {
  apply_format(ns);
  int result = ns->csi == CSI_ZONED ? nvme_open_zones(ns) : 0;
  if (result == 0) result = open_media(ns);
  return result;
}

int nvme_make_namespace(struct controller *c, uint32_t nsid, const struct namespace_settings *like) {
  const int lbaf = find_format(like);
  if (nsid == 0 || nsid > c->settings.nn || c->namespaces.by_id[nsid] != NULL || lbaf < 0 || !is_sane(like)) return -EINVAL;
  struct ns *ns = calloc(1, sizeof *ns);
  if (ns == NULL) return -ENOMEM;
  *ns = (struct ns){.id = nsid, .attached = 1, .csi = like->zoned ? CSI_ZONED : CSI_NVM, .like = *like,
                    .lbaf = (unsigned)lbaf, .ana_group = 1, .data = {.fd = -1}, .metadata = {.fd = -1}};
  const uint64_t existing = file_size(like->file);
  if (existing > 0) ns->like.size = existing;
  make_identifiers(c, ns);
  const int result = build(ns);
  if (result != 0) {
    free_namespace(ns);
    return result;
  }
  c->namespaces.by_id[nsid] = ns;
  return 0;
}

static int make_from_settings(void *context, uint64_t nsid, const struct namespace_settings *like) {
  return nvme_make_namespace(context, (uint32_t)nsid, like);
}

int nvme_open_namespaces(struct controller *c) {
  c->namespaces.by_id = calloc(c->settings.nn + 1, sizeof *c->namespaces.by_id);
  if (c->namespaces.by_id == NULL) return -ENOMEM;
  const int result = nvme_each_namespace(&c->settings, c, make_from_settings);
  if (result != 0) return result;
  /* As much again is free for namespaces that are created later, unless it was said how much there is. */
  c->namespaces.capacity = UINT64_MAX;
  const uint64_t used = UINT64_MAX - nvme_unallocated(c);
  c->namespaces.capacity = c->settings.capacity != 0 ? c->settings.capacity : 2 * used;
  return used <= c->namespaces.capacity ? 0 : -EINVAL;
}

void nvme_close_namespaces(struct controller *c) {
  for (uint64_t i = 1; c->namespaces.by_id != NULL && i <= c->settings.nn; i++) {
    if (c->namespaces.by_id[i] != NULL) free_namespace(c->namespaces.by_id[i]);
  }
  free(c->namespaces.by_id);
}

/* ---- looking them up --------------------------------------------------------------------------------------------- */

struct ns *nvme_allocated(const struct controller *c, uint32_t nsid) {
  return nsid == 0 || nsid > c->settings.nn ? NULL : c->namespaces.by_id[nsid];
}

struct ns *nvme_active(const struct controller *c, uint32_t nsid) {
  struct ns *ns = nvme_allocated(c, nsid);
  return ns != NULL && ns->attached ? ns : NULL;
}

/* Why commands to a namespace cannot be carried out now. */
uint16_t nvme_check_state(const struct controller *c, const struct ns *ns) {
  static const uint16_t ana[16] = {[ANA_INACCESSIBLE] = SC_ANA_INACCESSIBLE,
                                   [ANA_PERSISTENT_LOSS] = SC_ANA_PERSISTENT_LOSS,
                                   [ANA_CHANGE] = SC_ANA_CHANGE};
  if (c->sanitize.running) return SC_SANITIZE_IN_PROGRESS;
  if (c->sanitize.failed) return SC_SANITIZE_FAILED;
  if (ns->formatting) return SC_FORMAT_IN_PROGRESS;
  return ns->like.shared ? ana[c->namespaces.ana_state & 15] : SC_OK;
}

uint64_t nvme_namespace_bytes(const struct ns *ns) { return ns->blocks << ns->lba_shift; }

uint64_t nvme_unallocated(const struct controller *c) {
  uint64_t used = 0;
  for (uint32_t nsid = 1; nsid <= c->settings.nn; nsid++) {
    if (c->namespaces.by_id[nsid] != NULL) used += nvme_namespace_bytes(c->namespaces.by_id[nsid]);
  }
  return used < c->namespaces.capacity ? c->namespaces.capacity - used : 0;
}

/* Makes the medium anew, empty. A namespace whose medium cannot be had any more has no blocks. */
int nvme_reformat(struct ns *ns, unsigned lbaf, int extended, int pi_type, int pi_first) {
  close_media(ns);
  nvme_close_zones(ns);
  ns->lbaf = lbaf;
  ns->like.lba = UINT64_C(1) << nvme_formats[lbaf].shift;
  ns->like.ms = nvme_formats[lbaf].ms;
  ns->like.ext = (uint64_t)extended;
  ns->like.pi = (uint64_t)pi_type;
  ns->like.pil = (uint64_t)pi_first;
  int result = 0;
  if (ns->like.file[0] != '\0' && truncate(ns->like.file, 0) != 0) result = -errno;
  if (result == 0) result = build(ns);
  if (result != 0) ns->blocks = 0;
  return result;
}

/* Notes a change for the log and tells of it (§5.16.1.5). */
void nvme_namespace_changed(struct controller *c, uint32_t nsid) {
  for (unsigned i = 0; i < c->namespaces.changed_count; i++) {
    if (c->namespaces.changed[i] == nsid) return;
  }
  const unsigned room = sizeof c->namespaces.changed / sizeof *c->namespaces.changed;
  if (c->namespaces.changed_count == room) {
    c->namespaces.changed[0] = NSID_ALL; /* too many to list */
    memset(c->namespaces.changed + 1, 0, sizeof c->namespaces.changed - sizeof *c->namespaces.changed);
  } else {
    c->namespaces.changed[c->namespaces.changed_count++] = nsid;
  }
  nvme_raise_event(c, EVENT_NOTICE, EVENT_INFO_NAMESPACE, LOG_CHANGED_NAMESPACES);
}

/* ---- Namespace Management (§5.23) -------------------------------------------------------------------------------- */

enum { DATA_BYTES = 4096 };

static uint32_t free_identifier(const struct controller *c) {
  for (uint32_t nsid = 1; nsid <= c->settings.nn; nsid++) {
    if (c->namespaces.by_id[nsid] == NULL) return nsid;
  }
  return 0;
}

/* The fields of Identify Namespace that the host fills in. */
static struct namespace_settings requested(const struct controller *c, const uint8_t *data, unsigned csi) {
  const unsigned lbaf = data[26] & 15;
  struct namespace_settings like = c->settings.each;
  like.file[0] = '\0';
  like.lba = UINT64_C(1) << nvme_formats[lbaf % LBA_FORMATS].shift;
  like.ms = nvme_formats[lbaf % LBA_FORMATS].ms;
  like.ext = data[26] >> 4 & 1;
  like.pi = data[29] & 7;
  like.pil = data[29] >> 3 & 1;
  like.shared = data[30] & 1;
  like.zoned = csi == CSI_ZONED;
  like.size = get64(data) * like.lba;
  return like;
}

static uint16_t create(struct controller *c, struct command *cmd) {
  uint8_t data[DATA_BYTES];
  const unsigned csi = cmd->sqe.cdw11 >> 24;
  if (csi != CSI_NVM && csi != CSI_ZONED) return refuse(cmd, SC_COMMAND_SET, CDW(11) + 3, 0);
  const uint16_t status = nvme_receive(c, cmd, data, sizeof data);
  if (status != SC_OK) return status;
  const uint64_t nsze = get64(data), ncap = get64(data + 8);
  if ((data[26] & 0x60) != 0 || (data[26] & 15) >= LBA_FORMATS) return SC_INVALID_FORMAT;
  if (nsze == 0 || ncap == 0 || nsze < ncap) return SC_INVALID_FIELD;
  if (nsze != ncap) return SC_THIN_PROVISIONING;
  const struct namespace_settings like = requested(c, data, csi);
  if (like.pi > 3 || (like.pi != 0 && like.ms < 8)) return SC_INVALID_FORMAT;
  if (nsze > nvme_unallocated(c) / like.lba) return SC_NAMESPACE_CAPACITY;
  const uint32_t nsid = free_identifier(c);
  if (nsid == 0) return SC_NSID_UNAVAILABLE;
  if (nvme_make_namespace(c, nsid, &like) != 0) return SC_INVALID_FIELD;
  c->namespaces.by_id[nsid]->attached = 0;
  cmd->dw0 = nsid;
  return SC_OK;
}

static void delete(struct controller *c, uint32_t nsid) {
  const int was_attached = c->namespaces.by_id[nsid]->attached;
  free_namespace(c->namespaces.by_id[nsid]);
  c->namespaces.by_id[nsid] = NULL;
  if (was_attached) nvme_namespace_changed(c, nsid);
}

uint16_t nvme_namespace_management(struct controller *c, struct command *cmd) {
  enum { CREATE = 0, DELETE = 1 };
  const uint32_t nsid = cmd->sqe.nsid;
  switch (cmd->sqe.cdw10 & 15) {
    case CREATE: return create(c, cmd);
    case DELETE: break;
    default: return refuse(cmd, SC_INVALID_FIELD, CDW(10), 0);
  }
  if (nsid != NSID_ALL) {
    if (nsid == 0 || nsid > c->settings.nn) return refuse(cmd, SC_INVALID_NAMESPACE, CDW(1), 0);
    if (c->namespaces.by_id[nsid] == NULL) return refuse(cmd, SC_INVALID_FIELD, CDW(1), 0);
    delete(c, nsid);
    return SC_OK;
  }
  for (uint32_t i = 1; i <= c->settings.nn; i++) {
    if (c->namespaces.by_id[i] != NULL) delete(c, i);
  }
  return SC_OK;
}

/* ---- Namespace Attachment (§5.22) -------------------------------------------------------------------------------- */

/* A list of controllers, of which there is one. */
static uint16_t check_list(const struct controller *c, const uint8_t *list) {
  return get16(list) == 1 && get16(list + 2) == c->settings.cntlid ? SC_OK : SC_CONTROLLER_LIST;
}

uint16_t nvme_namespace_attachment(struct controller *c, struct command *cmd) {
  enum { ATTACH = 0, DETACH = 1 };
  uint8_t list[DATA_BYTES];
  const unsigned select = cmd->sqe.cdw10 & 15;
  if (select > DETACH) return refuse(cmd, SC_INVALID_FIELD, CDW(10), 0);
  const uint32_t nsid = cmd->sqe.nsid;
  if (nsid == 0 || nsid > c->settings.nn) return refuse(cmd, SC_INVALID_NAMESPACE, CDW(1), 0);
  struct ns *ns = c->namespaces.by_id[nsid];
  if (ns == NULL) return refuse(cmd, SC_INVALID_FIELD, CDW(1), 0);
  uint16_t status = nvme_receive(c, cmd, list, sizeof list);
  if (status == SC_OK) status = check_list(c, list);
  if (status != SC_OK) return status;
  if (ns->attached == (select == ATTACH)) return ns->attached ? SC_ALREADY_ATTACHED : SC_NOT_ATTACHED;
  ns->attached = select == ATTACH;
  nvme_namespace_changed(c, nsid);
  return SC_OK;
}
