/* Get Log Page, §5.16. Each log is filled whole; what the driver asked for is cut out of it. */
#define _GNU_SOURCE
#include "controller.h"

#include <string.h>

struct request {
  uint8_t lid, lsp, csi;
  uint32_t nsid;
  struct ns *ns; /* where the log is of one namespace */
};

/* Fills the page and returns how long it is. */
typedef uint64_t (*filler)(struct controller *c, const struct request *request, uint8_t *page);

struct log {
  filler fill;
  enum { CONTROLLER_SCOPE, EITHER_SCOPE, NAMESPACE_SCOPE } scope;
};

static const struct log LOGS[256];

/* ---- each log ---------------------------------------------------------------------------------------------------- */

static uint64_t supported_logs(struct controller *c, const struct request *request, uint8_t *page) {
  (void)c;
  (void)request;
  memset(page, 0, 1024);
  for (unsigned lid = 0; lid < 256; lid++) {
    if (LOGS[lid].fill != NULL) put32(page + 4 * lid, 1);
  }
  return 1024;
}

static uint64_t errors(struct controller *c, const struct request *request, uint8_t *page) {
  (void)request;
  nvme_fill_error_log(c, page);
  return ERROR_ENTRIES * 64;
}

static uint64_t health(struct controller *c, const struct request *request, uint8_t *page) {
  (void)request;
  nvme_fill_health_log(c, page);
  return 512;
}

static uint64_t firmware_slots(struct controller *c, const struct request *request, uint8_t *page) {
  (void)request;
  memset(page, 0, 512);
  page[0] = (uint8_t)(c->firmware.active | c->firmware.next << 4);
  for (unsigned slot = 0; slot < FIRMWARE_SLOTS; slot++) {
    if (c->firmware.revision[slot][0] != '\0') nvme_put_text(page + 8 + 8 * slot, 8, c->firmware.revision[slot]);
  }
  return 512;
}

static uint64_t changed_namespaces(struct controller *c, const struct request *request, uint8_t *page) {
  (void)request;
  memset(page, 0, 4096);
  for (unsigned i = 0; i < c->namespaces.changed_count; i++) put32(page + 4 * i, c->namespaces.changed[i]);
  return 4096;
}

static uint64_t effects(struct controller *c, const struct request *request, uint8_t *page) {
  memset(page, 0, 4096);
  for (unsigned opcode = 0; opcode < 256; opcode++) {
    uint32_t io = nvme_io_operations[opcode].effects;
    if (request->csi == CSI_ZONED) io |= nvme_zone_operations[opcode].effects;
    put32(page + 4 * opcode, c->admin_operations[opcode].effects & EFFECTS_MASK);
    put32(page + 1024 + 4 * opcode, io & EFFECTS_MASK);
  }
  return 4096;
}

static uint64_t self_tests(struct controller *c, const struct request *request, uint8_t *page) {
  (void)request;
  nvme_fill_self_test_log(c, page);
  return SELF_TEST_LOG_BYTES;
}

/* One block for the header and some of data in area 1, which a reader can check: block n is filled with n. */
static uint64_t telemetry(struct controller *c, const struct request *request, uint8_t *page) {
  enum { BLOCKS = 8, CREATE = 1 };
  const int host = request->lid == LOG_TELEMETRY_HOST;
  if (host && request->lsp & CREATE) c->logs.telemetry_generation++;
  memset(page, 0, 512);
  page[0] = request->lid;
  memcpy(page + 5, nvme_oui, 3);
  for (unsigned area = 0; area < 3; area++) put16(page + 8 + 2 * area, BLOCKS);
  if (host) {
    page[381] = c->logs.telemetry_generation;
  } else {
    page[382] = 1; /* controller-initiated data is available */
  }
  page[383] = c->logs.telemetry_generation;
  nvme_put_text(page + 384, 128, "made up");
  for (unsigned block = 1; block <= BLOCKS; block++) memset(page + 512 * block, (int)block, 512);
  return 512 * (BLOCKS + 1);
}

static uint64_t endurance_group(struct controller *c, const struct request *request, uint8_t *page) {
  (void)request;
  const struct health *h = &c->health;
  memset(page, 0, 512);
  page[0] = nvme_health_warning(c) & 1;
  page[3] = h->spare;
  page[4] = h->spare_threshold;
  page[5] = h->used;
  put64(page + 48, h->sectors_read / 1953125 + 1); /* of 10^9 bytes */
  put64(page + 64, h->sectors_written / 1953125 + 1);
  put64(page + 80, h->sectors_written / 1953125 + 1);
  put64(page + 96, h->reads);
  put64(page + 112, h->writes);
  put64(page + 128, h->media_errors);
  put64(page + 144, h->error_count);
  put64(page + 160, c->namespaces.capacity);
  put64(page + 176, nvme_unallocated(c));
  return 512;
}

/* One group that holds all namespaces (§5.16.1.13). */
static uint64_t asymmetric_access(struct controller *c, const struct request *request, uint8_t *page) {
  enum { GROUPS_ONLY = 1, HEADER = 16, DESCRIPTOR = 32 };
  memset(page, 0, HEADER + DESCRIPTOR);
  put64(page, c->namespaces.ana_changes);
  put16(page + 8, 1);
  uint8_t *group = page + HEADER;
  uint32_t count = 0;
  for (uint32_t nsid = 1; nsid <= c->settings.nn && !(request->lsp & GROUPS_ONLY); nsid++) {
    if (nvme_active(c, nsid) == NULL || HEADER + DESCRIPTOR + 4 * (count + 1) > PAGE_ROOM) continue;
    put32(group + DESCRIPTOR + 4 * count++, nsid);
  }
  put32(group, 1);
  put32(group + 4, count);
  put64(group + 8, c->namespaces.ana_changes);
  group[16] = (uint8_t)c->namespaces.ana_state;
  return HEADER + DESCRIPTOR + 4 * (uint64_t)count;
}

static uint64_t sanitize_status(struct controller *c, const struct request *request, uint8_t *page) {
  (void)request;
  nvme_fill_sanitize_log(c, page);
  return 512;
}

static uint64_t changed_zones(struct controller *c, const struct request *request, uint8_t *page) {
  (void)c;
  const struct ns *ns = request->ns;
  memset(page, 0, 4096);
  put16(page, ns->changed_zone_count);
  for (uint32_t i = 0; i < ns->changed_zone_count; i++) put64(page + 8 + 8 * i, ns->changed_zones[i]);
  return 4096;
}

static const struct log LOGS[256] = {
    [0x00] = {supported_logs, CONTROLLER_SCOPE},
    [LOG_ERROR] = {errors, CONTROLLER_SCOPE},
    [LOG_HEALTH] = {health, EITHER_SCOPE},
    [LOG_FIRMWARE] = {firmware_slots, CONTROLLER_SCOPE},
    [LOG_CHANGED_NAMESPACES] = {changed_namespaces, CONTROLLER_SCOPE},
    [0x05] = {effects, CONTROLLER_SCOPE},
    [0x06] = {self_tests, CONTROLLER_SCOPE},
    [LOG_TELEMETRY_HOST] = {telemetry, CONTROLLER_SCOPE},
    [LOG_TELEMETRY] = {telemetry, CONTROLLER_SCOPE},
    [0x09] = {endurance_group, CONTROLLER_SCOPE},
    [LOG_ANA] = {asymmetric_access, CONTROLLER_SCOPE},
    [LOG_SANITIZE] = {sanitize_status, CONTROLLER_SCOPE},
    [LOG_CHANGED_ZONES] = {changed_zones, NAMESPACE_SCOPE},
};

/* ---- the command ------------------------------------------------------------------------------------------------- */

static uint16_t check_request(struct controller *c, struct command *cmd, struct request *request) {
  const struct log *log = &LOGS[request->lid];
  /* Asymmetric access is reported by controllers that share namespaces. */
  if (log->fill == NULL || (request->lid == LOG_ANA && !nvme_is_shared(c))) {
    return refuse(cmd, SC_INVALID_LOG, CDW(10), 0);
  }
  const uint32_t nsid = request->nsid;
  request->ns = nvme_active(c, nsid);
  if (log->scope == NAMESPACE_SCOPE && (request->ns == NULL || request->ns->zone == NULL)) {
    return refuse(cmd, nsid == 0 || nsid > c->settings.nn ? SC_INVALID_NAMESPACE : SC_INVALID_FIELD, CDW(1), 0);
  }
  if (log->scope == EITHER_SCOPE && nsid != 0 && nsid != NSID_ALL && request->ns == NULL) {
    return refuse(cmd, nsid > c->settings.nn ? SC_INVALID_NAMESPACE : SC_INVALID_FIELD, CDW(1), 0);
  }
  const unsigned endurance_group_id = cmd->sqe.cdw11 >> 16;
  return request->lid == 0x09 && endurance_group_id != 1 ? refuse(cmd, SC_INVALID_FIELD, CDW(11) + 2, 0) : SC_OK;
}

/* What reading without "retain asynchronous event" clears. */
static void was_read(struct controller *c, const struct request *request) {
  nvme_log_was_read(c, request->lid);
  if (request->lid == LOG_CHANGED_NAMESPACES) c->namespaces.changed_count = 0;
  if (request->lid == LOG_CHANGED_ZONES) request->ns->changed_zone_count = 0;
}

uint16_t nvme_get_log_page(struct controller *c, struct command *cmd) {
  enum { RETAIN = 1 << 15, MOST_BYTES = 16 << 20 };
  const struct sqe *s = &cmd->sqe;
  const uint64_t bytes = ((uint64_t)(s->cdw10 >> 16 | s->cdw11 << 16) + 1) * 4;
  const uint64_t offset = s->cdw12 | (uint64_t)s->cdw13 << 32;
  struct request request = {.lid = (uint8_t)s->cdw10, .lsp = s->cdw10 >> 8 & 0x7f, .csi = (uint8_t)(s->cdw14 >> 24),
                            .nsid = s->nsid};
  uint16_t status = check_request(c, cmd, &request);
  if (status != SC_OK) return status;
  if (bytes > c->memory.max_transfer || bytes > MOST_BYTES) return refuse(cmd, SC_INVALID_FIELD, CDW(10) + 2, 0);
  if (s->cdw14 >> 23 & 1) return refuse(cmd, SC_INVALID_FIELD, CDW(14) + 2, 7); /* offsets are bytes, not indexes */
  if (offset % 4 != 0) return refuse(cmd, SC_INVALID_FIELD, CDW(12), 0);
  const uint64_t length = LOGS[request.lid].fill(c, &request, c->page);
  if (offset > length) return refuse(cmd, SC_INVALID_FIELD, CDW(12), 0);
  /* What lies behind the end of a log is nobody's: zeros. */
  uint8_t *answer = nvme_staging(c, bytes);
  if (answer == NULL) return SC_INTERNAL;
  const uint64_t have = length - offset < bytes ? length - offset : bytes;
  memcpy(answer, c->page + offset, have);
  memset(answer + have, 0, bytes - have);
  status = nvme_send(c, cmd, answer, bytes);
  if (status == SC_OK && !(s->cdw10 & RETAIN)) was_read(c, &request);
  return status;
}
