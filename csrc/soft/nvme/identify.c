/* Identify, §5.17; NVM §4.1.5; ZNS §4.1.5. Offsets are bytes of the data structure, named as in the specification. */
#define _GNU_SOURCE
#include "controller.h"

#include <stdio.h>
#include <string.h>

enum { PAGE = 4096, LIST_IDS = 1024 };


void nvme_put_text(uint8_t *at, size_t room, const char *text) {
  const size_t length = strnlen(text, room);
  memcpy(at, text, length);
  memset(at + length, ' ', room - length);
}

int nvme_is_shared(const struct controller *c) {
  if (c->settings.each.shared) return 1;
  for (uint32_t nsid = 1; nsid <= c->settings.nn; nsid++) {
    if (nvme_allocated(c, nsid) != NULL && c->namespaces.by_id[nsid]->like.shared) return 1;
  }
  return 0;
}

/* ---- controller (CNS 01h) ---------------------------------------------------------------------------------------- */

static void put_name(const struct controller *c, uint8_t *at) {
  /* The same serial number makes the same subsystem. */
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  for (const char *s = c->settings.serial; *s != '\0'; s++) h = (h ^ (uint8_t)*s) * UINT64_C(0x100000001b3);
  snprintf((char *)at, 256, "nqn.2014-08.org.nvmexpress:uuid:%08x-%04x-4%03x-8%03x-%012llx", (unsigned)(h >> 32),
           (unsigned)(h >> 16 & 0xffff), (unsigned)(h & 0xfff), (unsigned)(h >> 12 & 0xfff),
           (unsigned long long)(h * UINT64_C(0x9e3779b97f4a7c15) >> 16));
}

static void put_identity(const struct controller *c, uint8_t *p) {
  const int shared = nvme_is_shared(c);
  put16(p + 0, 0x1234); /* VID */
  put16(p + 2, 0x1234); /* SSVID */
  nvme_put_text(p + 4, SERIAL_CHARS, c->settings.serial);
  nvme_put_text(p + 24, MODEL_CHARS, c->settings.mn);
  nvme_put_text(p + 64, FIRMWARE_CHARS, nvme_firmware_revision(c));
  p[72] = 6; /* RAB */
  memcpy(p + 73, nvme_oui, 3);
  p[76] = shared ? 0x0a : 0; /* CMIC: several controllers, asymmetric access */
  p[77] = (uint8_t)c->settings.mdts;
  put16(p + 78, c->settings.cntlid);
  put32(p + 80, c->registers.vs);
  put32(p + 84, 500000);   /* RTD3R, µs */
  put32(p + 88, 2000000);  /* RTD3E, µs */
  put32(p + 92, 1u << 8 | 1u << 9 | (shared ? 1u << 11 : 0) | 1u << 27); /* OAES */
  put32(p + 96, 1u << 0 | 1u << 4); /* CTRATT: 128-bit host identifier, endurance groups */
  p[111] = 1; /* CNTRLTYPE: I/O */
  put_name(c, p + 768);
}

static void put_admin_abilities(const struct controller *c, uint8_t *p) {
  put16(p + 256, 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 8); /* OACS: format, firmware, namespaces, self-test,
                                                                      doorbell buffers */
  p[258] = ACL;
  p[259] = AERL;
  p[260] = FIRMWARE_SLOTS << 1 | 1u << 4; /* FRMW: activation without reset */
  p[261] = 0x0f; /* LPA: health of namespaces, effects, extended data, telemetry */
  p[262] = ERROR_ENTRIES - 1;
  p[263] = POWER_STATES - 1;
  p[265] = 1; /* APSTA */
  put16(p + 266, WARNING_KELVIN);
  put16(p + 268, CRITICAL_KELVIN);
  put64(p + 280, c->namespaces.capacity);
  put64(p + 296, nvme_unallocated(c));
  put16(p + 316, 1); /* EDSTT, minutes */
  p[318] = 1;        /* DSTO: one self-test at a time */
  p[319] = 1;        /* FWUG: 4 KiB */
  put16(p + 320, 1); /* KAS: 100 ms */
  put32(p + 328, 7); /* SANICAP: crypto erase, block erase, overwrite */
  put16(p + 340, 1); /* ENDGIDMAX */
  if (nvme_is_shared(c)) {
    p[342] = 10;   /* ANATT, s */
    p[343] = 0x1f; /* ANACAP: every state is reported */
    put32(p + 344, 1);
    put32(p + 348, 1);
  }
}

static void put_io_abilities(const struct controller *c, uint8_t *p) {
  p[512] = 0x66; /* SQES */
  p[513] = 0x44; /* CQES */
  put32(p + 516, c->settings.nn);
  /* ONCS: compare, write uncorrectable, dataset management, write zeroes, save, timestamp, verify, copy. */
  put16(p + 520, 0x1df);
  p[524] = (uint8_t)c->settings.fna;
  p[525] = c->settings.vwc ? 7 : 0; /* VWC: Flush takes NSID FFFFFFFFh */
  put16(p + 526, 0xffff);           /* AWUN: one thread does all */
  p[531] = 1;                       /* NWPC */
  put16(p + 532, 0);                /* ACWU */
  put16(p + 534, 1);                /* OCFS: format 0 */
  if (c->settings.sgls != 0) put32(p + 536, c->settings.sgls | 1u << 16 | 1u << 19); /* bit buckets, MPTR to an SGL */
}

static void put_power_state(uint8_t *at, unsigned centiwatts, int idle, uint32_t latency_us) {
  put16(at, centiwatts);
  at[3] = (uint8_t)(idle ? 2 : 0);
  put32(at + 4, latency_us);
  put32(at + 8, latency_us);
}

static uint16_t controller(struct controller *c, struct command *cmd, uint8_t *p) {
  (void)cmd;
  put_identity(c, p);
  put_admin_abilities(c, p);
  put_io_abilities(c, p);
  put_power_state(p + 2048, 900, 0, 0);
  put_power_state(p + 2080, 450, 0, 10);
  put_power_state(p + 2112, 5, 1, 2000);
  return SC_OK;
}

/* ---- namespaces -------------------------------------------------------------------------------------------------- */

enum { NLBAF = 25, LBAF = 128 };

static void put_formats(uint8_t *p) {
  p[NLBAF] = LBA_FORMATS - 1;
  for (unsigned i = 0; i < LBA_FORMATS; i++) {
    put16(p + LBAF + 4 * i, nvme_formats[i].ms);
    p[LBAF + 4 * i + 2] = nvme_formats[i].shift;
    p[LBAF + 4 * i + 3] = nvme_formats[i].ms == 0 ? 0 : 1; /* RP: metadata costs something */
  }
}

/* What every namespace can, whatever it is made like. */
static void put_common(uint8_t *p) {
  p[24] = 1 << 2 | 1 << 4; /* NSFEAT: DULBE, NPWG and its like */
  put_formats(p);
  p[27] = 3;    /* MC: metadata separate or at the end of data */
  p[28] = 0x1f; /* DPC: types 1 to 3, at either end */
  put16(p + 64, 7); /* NPWG: 8 blocks; with it NPWA, NPDG, NPDA */
  put16(p + 66, 7);
  put16(p + 68, 7);
  put16(p + 70, 7);
  put16(p + 74, COPY_SOURCE_BLOCKS);
  put32(p + 76, COPY_BLOCKS);
  p[80] = COPY_SOURCES - 1;
}

static uint8_t format_progress(const struct ns *ns) {
  const unsigned left = ns->formatting ? 100 - nvme_percent(ns->format_started_ns, ns->format_ends_ns, soft_now_ns()) : 0;
  return (uint8_t)(0x80 | left); /* FPI */
}

static void put_namespace(const struct ns *ns, uint8_t *p) {
  put_common(p);
  put64(p + 0, ns->blocks);         /* NSZE */
  put64(p + 8, ns->blocks);         /* NCAP */
  put64(p + 16, ns->written_count); /* NUSE */
  p[26] = (uint8_t)(ns->lbaf | (ns->extended ? 1u << 4 : 0));
  p[29] = (uint8_t)(ns->pi_type | (ns->pi_first ? 1 << 3 : 0)); /* DPS */
  p[30] = ns->like.shared ? 1 : 0;                              /* NMIC */
  p[32] = format_progress(ns);
  p[33] = (uint8_t)(ns->like.dlfeat | 1u << 3); /* DLFEAT: Write Zeroes may deallocate */
  put64(p + 48, nvme_namespace_bytes(ns));      /* NVMCAP */
  put32(p + 92, ns->like.shared ? ns->ana_group : 0);
  p[99] = ns->protection ? 1 : 0; /* NSATTR */
  put16(p + 102, 1);              /* ENDGID */
  memcpy(p + 104, ns->nguid, 16);
  memcpy(p + 120, ns->eui64, 8);
}

static int is_possible(const struct controller *c, uint32_t nsid) { return nsid != 0 && nsid <= c->settings.nn; }

/* A namespace of the wanted kind; NULL with status 0 where the answer is a page of zeros (§5.17.2.1). */
static uint16_t find(struct controller *c, struct command *cmd, int allocated, struct ns **ns) {
  const uint32_t nsid = cmd->sqe.nsid;
  *ns = allocated ? nvme_allocated(c, nsid) : nvme_active(c, nsid);
  return is_possible(c, nsid) ? SC_OK : refuse(cmd, SC_INVALID_NAMESPACE, CDW(1), 0);
}

/* With NSID FFFFFFFFh, what all namespaces that can be created have in common. */
static uint16_t namespace_active(struct controller *c, struct command *cmd, uint8_t *p) {
  if (cmd->sqe.nsid == NSID_ALL) {
    put_common(p);
    return SC_OK;
  }
  struct ns *ns;
  const uint16_t status = find(c, cmd, 0, &ns);
  if (ns != NULL) put_namespace(ns, p);
  return status;
}

static uint16_t namespace_allocated(struct controller *c, struct command *cmd, uint8_t *p) {
  struct ns *ns;
  const uint16_t status = find(c, cmd, 1, &ns);
  if (ns != NULL) put_namespace(ns, p);
  return status;
}

static uint8_t *put_descriptor(uint8_t *at, uint8_t type, const uint8_t *id, uint8_t length) {
  at[0] = type;
  at[1] = length;
  memcpy(at + 4, id, length);
  return at + 4 + length;
}

static uint16_t descriptors(struct controller *c, struct command *cmd, uint8_t *p) {
  struct ns *ns;
  const uint16_t status = find(c, cmd, 0, &ns);
  if (status != SC_OK) return status;
  if (ns == NULL) return refuse(cmd, SC_INVALID_FIELD, CDW(1), 0);
  p = put_descriptor(p, 1, ns->eui64, 8);
  p = put_descriptor(p, 2, ns->nguid, 16);
  p = put_descriptor(p, 3, ns->uuid, 16);
  put_descriptor(p, 4, &ns->csi, 1);
  return SC_OK;
}

/* Independent of command sets (CNS 08h). */
static uint16_t namespace_independent(struct controller *c, struct command *cmd, uint8_t *p) {
  struct ns *ns;
  const uint16_t status = find(c, cmd, 0, &ns);
  if (status != SC_OK || ns == NULL) return status;
  p[0] = 1 << 2;
  p[1] = ns->like.shared ? 1 : 0;
  p[3] = format_progress(ns);
  put32(p + 4, ns->like.shared ? ns->ana_group : 0);
  p[8] = ns->protection ? 1 : 0;
  put16(p + 12, 1);
  p[14] = 1; /* NSTAT: ready */
  return SC_OK;
}

/* ---- by command set ---------------------------------------------------------------------------------------------- */

static unsigned csi_of(const struct command *cmd) { return cmd->sqe.cdw11 >> 24; }

static uint16_t check_csi(struct command *cmd) {
  return csi_of(cmd) == CSI_NVM || csi_of(cmd) == CSI_ZONED ? SC_OK : refuse(cmd, SC_INVALID_FIELD, CDW(11) + 3, 0);
}

static void put_zoned(const struct ns *ns, uint8_t *p) {
  put32(p + 4, ns->like.mar == 0 ? UINT32_MAX : ns->like.mar - 1); /* MAR */
  put32(p + 8, ns->like.mor == 0 ? UINT32_MAX : ns->like.mor - 1); /* MOR */
  for (unsigned i = 0; i < LBA_FORMATS; i++) {
    put64(p + 2816 + 16 * i, ns->like.zone >> nvme_formats[i].shift);
    p[2816 + 16 * i + 8] = (uint8_t)ns->like.zdes;
  }
}

static uint16_t namespace_of_set(struct controller *c, struct command *cmd, int allocated, uint8_t *p) {
  uint16_t status = check_csi(cmd);
  struct ns *ns;
  if (status == SC_OK) status = find(c, cmd, allocated, &ns);
  if (status != SC_OK || ns == NULL) return status;
  if (ns->csi != csi_of(cmd) && csi_of(cmd) != CSI_NVM) return refuse(cmd, SC_INVALID_FIELD, CDW(11) + 3, 0);
  /* Of the NVM command set there is nothing to tell: no storage tags, 16-bit guards. */
  if (csi_of(cmd) == CSI_ZONED) put_zoned(ns, p);
  return SC_OK;
}

static uint16_t namespace_of_set_active(struct controller *c, struct command *cmd, uint8_t *p) {
  return namespace_of_set(c, cmd, 0, p);
}

static uint16_t namespace_of_set_allocated(struct controller *c, struct command *cmd, uint8_t *p) {
  return namespace_of_set(c, cmd, 1, p);
}

static uint16_t controller_of_set(struct controller *c, struct command *cmd, uint8_t *p) {
  const uint16_t status = check_csi(cmd);
  if (status == SC_OK && csi_of(cmd) == CSI_ZONED) p[0] = (uint8_t)c->settings.zasl;
  return status;
}

/* Pairs of command sets that can be used together: both of ours, one after the other (CNS 1Ch). */
static uint16_t command_sets(struct controller *c, struct command *cmd, uint8_t *p) {
  (void)c;
  (void)cmd;
  put64(p, 1u << CSI_NVM | 1u << CSI_ZONED);
  return SC_OK;
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

static uint16_t list(struct controller *c, struct command *cmd, uint8_t *p, int allocated, int csi) {
  const uint32_t after = cmd->sqe.nsid;
  if (after >= 0xfffffffe) return refuse(cmd, SC_INVALID_NAMESPACE, CDW(1), 0);
  unsigned count = 0;
  for (uint64_t nsid = (uint64_t)after + 1; nsid <= c->settings.nn && count < LIST_IDS; nsid++) {
    const struct ns *ns = allocated ? nvme_allocated(c, (uint32_t)nsid) : nvme_active(c, (uint32_t)nsid);
    if (ns != NULL && (csi < 0 || ns->csi == csi)) put32(p + 4 * count++, nsid);
  }
  return SC_OK;
}

static uint16_t active_list(struct controller *c, struct command *cmd, uint8_t *p) { return list(c, cmd, p, 0, -1); }
static uint16_t allocated_list(struct controller *c, struct command *cmd, uint8_t *p) { return list(c, cmd, p, 1, -1); }

static uint16_t active_list_of_set(struct controller *c, struct command *cmd, uint8_t *p) {
  const uint16_t status = check_csi(cmd);
  return status == SC_OK ? list(c, cmd, p, 0, (int)csi_of(cmd)) : status;
}

static uint16_t allocated_list_of_set(struct controller *c, struct command *cmd, uint8_t *p) {
  const uint16_t status = check_csi(cmd);
  return status == SC_OK ? list(c, cmd, p, 1, (int)csi_of(cmd)) : status;
}

/* Controllers of the subsystem from an identifier up: this one. */
static uint16_t controllers(struct controller *c, struct command *cmd, uint8_t *p) {
  if (c->settings.cntlid >= cmd->sqe.cdw10 >> 16) {
    put16(p, 1);
    put16(p + 2, c->settings.cntlid);
  }
  return SC_OK;
}

static uint16_t controllers_of_namespace(struct controller *c, struct command *cmd, uint8_t *p) {
  struct ns *ns;
  const uint16_t status = find(c, cmd, 1, &ns);
  return status == SC_OK && ns != NULL && ns->attached ? controllers(c, cmd, p) : status;
}

static uint16_t endurance_groups(struct controller *c, struct command *cmd, uint8_t *p) {
  (void)c;
  if ((cmd->sqe.cdw11 & 0xffff) <= 1) {
    put16(p, 1);
    put16(p + 2, 1);
  }
  return SC_OK;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

typedef uint16_t (*filler)(struct controller *c, struct command *cmd, uint8_t *page);

static const filler PAGES[256] = {
    [0x00] = namespace_active,
    [0x01] = controller,
    [0x02] = active_list,
    [0x03] = descriptors,
    [0x05] = namespace_of_set_active,
    [0x06] = controller_of_set,
    [0x07] = active_list_of_set,
    [0x08] = namespace_independent,
    [0x10] = allocated_list,
    [0x11] = namespace_allocated,
    [0x12] = controllers_of_namespace,
    [0x13] = controllers,
    [0x19] = endurance_groups,
    [0x1a] = allocated_list_of_set,
    [0x1b] = namespace_of_set_allocated,
    [0x1c] = command_sets,
};

uint16_t nvme_identify(struct controller *c, struct command *cmd) {
  const filler fill = PAGES[cmd->sqe.cdw10 & 0xff];
  if (fill == NULL) return refuse(cmd, SC_INVALID_FIELD, CDW(10), 0);
  memset(c->page, 0, PAGE);
  const uint16_t status = fill(c, cmd, c->page);
  return status == SC_OK ? nvme_send(c, cmd, c->page, PAGE) : status;
}
