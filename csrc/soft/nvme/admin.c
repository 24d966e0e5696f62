/* The admin command set: queue management, Abort, Keep Alive, Doorbell Buffer Config, and who carries out the rest. */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>

/* ---- queues (§5.4 to §5.7) ----------------------------------------------------------------------------------------- */

struct create {
  unsigned id;
  uint32_t size;
  uint64_t address;
};

static int is_sq(const struct controller *c, unsigned id) { return id <= c->settings.queues && c->queues.sqs[id].size != 0; }
static int is_cq(const struct controller *c, unsigned id) { return id <= c->settings.queues && c->queues.cqs[id].size != 0; }

static unsigned queues_granted(const struct controller *c, int completion) {
  const uint32_t granted = c->features.current[FEATURE_QUEUES];
  return (completion ? granted >> 16 : granted & 0xffff) + 1;
}

/* What is the same for both kinds. */
static uint16_t check_create(const struct controller *c, struct command *cmd, const struct create *q, int completion) {
  const int in_use = completion ? is_cq(c, q->id) : is_sq(c, q->id);
  if (q->id == 0 || q->id > queues_granted(c, completion) || in_use) return refuse(cmd, SC_INVALID_QID, CDW(10), 0);
  if (q->size < 2 || q->size > c->settings.mqes + 1) return refuse(cmd, SC_INVALID_QUEUE_SIZE, CDW(10) + 2, 0);
  if (!(cmd->sqe.cdw11 & 1)) return refuse(cmd, SC_INVALID_FIELD, CDW(11), 0); /* PC = 0, but CAP.CQR */
  if (q->address == 0) return refuse(cmd, SC_INVALID_FIELD, CDW(6), 0);
  if (q->address & ((UINT64_C(1) << c->memory.page_shift) - 1)) return refuse(cmd, SC_PRP_OFFSET, CDW(6), 0);
  return SC_OK;
}

static struct create create_of(const struct sqe *sqe) {
  return (struct create){.id = sqe->cdw10 & 0xffff, .size = (sqe->cdw10 >> 16) + 1, .address = sqe->prp1};
}

static uint16_t create_cq(struct controller *c, struct command *cmd) {
  enum { INTERRUPTS = 2 };
  const struct create q = create_of(&cmd->sqe);
  const uint32_t vector = cmd->sqe.cdw11 >> 16;
  const uint16_t status = check_create(c, cmd, &q, 1);
  if (status != SC_OK) return status;
  const int interrupts = (cmd->sqe.cdw11 & INTERRUPTS) != 0;
  if (interrupts && vector >= c->settings.vectors) return refuse(cmd, SC_INVALID_VECTOR, CDW(11) + 2, 0);
  nvme_start_cq(c, q.id, q.size, q.address);
  c->queues.cqs[q.id].interrupts = interrupts;
  c->queues.cqs[q.id].vector = interrupts ? (uint16_t)vector : 0;
  return SC_OK;
}

static uint16_t create_sq(struct controller *c, struct command *cmd) {
  const struct create q = create_of(&cmd->sqe);
  const unsigned cqid = cmd->sqe.cdw11 >> 16;
  /* Completion queue 0 is for admin commands only. */
  if (cqid == 0 || cqid > c->settings.queues) {
    return refuse(cmd, cqid == 0 ? SC_INVALID_CQ : SC_INVALID_QID, CDW(11) + 2, 0);
  }
  if (!is_cq(c, cqid)) return refuse(cmd, SC_INVALID_CQ, CDW(11) + 2, 0);
  const uint16_t status = check_create(c, cmd, &q, 0);
  if (status != SC_OK) return status;
  return nvme_start_sq(c, q.id, q.size, q.address, cqid) == 0 ? SC_OK : SC_INTERNAL;
}

static uint16_t delete_sq(struct controller *c, struct command *cmd) {
  const unsigned id = cmd->sqe.cdw10 & 0xffff;
  if (id == 0 || !is_sq(c, id)) return refuse(cmd, SC_INVALID_QID, CDW(10), 0);
  nvme_abort_queue(c, id);
  nvme_stop_sq(c, id);
  return SC_OK;
}

static uint16_t delete_cq(struct controller *c, struct command *cmd) {
  const unsigned id = cmd->sqe.cdw10 & 0xffff;
  if (id == 0 || !is_cq(c, id)) return refuse(cmd, SC_INVALID_QID, CDW(10), 0);
  if (c->queues.cqs[id].users != 0) return refuse(cmd, SC_QUEUE_DELETION, CDW(10), 0);
  nvme_stop_cq(c, id);
  return SC_OK;
}

/* ---- small commands ---------------------------------------------------------------------------------------------- */

/* A command that was not found has ended or never was: that is success too, and DW0 says so (§5.1). */
static uint16_t abort_command(struct controller *c, struct command *cmd) {
  const unsigned sqid = cmd->sqe.cdw10 & 0xffff, cid = cmd->sqe.cdw10 >> 16;
  if (nvme_count_waiting(c, OPCODE_ABORT) > ACL) return SC_ABORT_LIMIT;
  if (!is_sq(c, sqid)) return refuse(cmd, SC_INVALID_FIELD, CDW(10), 0);
  const int found = nvme_abort_waiting(c, sqid, cid) == 0 || (sqid == 0 && nvme_abort_event_request(c, cid) == 0);
  cmd->dw0 = found ? 0 : 1;
  return SC_OK;
}

static uint16_t keep_alive(struct controller *c, struct command *cmd) {
  (void)cmd;
  c->features.keep_alive_ns = soft_now_ns();
  return SC_OK;
}

/* Shadow doorbells, §5.8: tails and heads in the driver's memory, which is looked at while commands flow. */
static uint16_t doorbell_buffer_config(struct controller *c, struct command *cmd) {
  const uint64_t mask = (UINT64_C(1) << c->memory.page_shift) - 1, shadow = cmd->sqe.prp1, events = cmd->sqe.prp2;
  if (shadow == 0 || (shadow & mask) != 0) return refuse(cmd, shadow == 0 ? SC_INVALID_FIELD : SC_PRP_OFFSET, CDW(6), 0);
  if (events == 0 || (events & mask) != 0) return refuse(cmd, events == 0 ? SC_INVALID_FIELD : SC_PRP_OFFSET, CDW(8), 0);
  return nvme_use_shadow_doorbells(c, shadow, events) == 0 ? SC_OK : SC_DATA_TRANSFER;
}

/* ---- dispatch ---------------------------------------------------------------------------------------------------- */

const struct operation nvme_admin_operations[256] = {
    [0x00] = {delete_sq, EFFECTS_CSUPP | DURING_SANITIZE},
    [0x01] = {create_sq, EFFECTS_CSUPP | DURING_SANITIZE},
    [0x02] = {nvme_get_log_page, EFFECTS_CSUPP | DURING_SANITIZE},
    [0x04] = {delete_cq, EFFECTS_CSUPP | DURING_SANITIZE},
    [0x05] = {create_cq, EFFECTS_CSUPP | DURING_SANITIZE},
    [0x06] = {nvme_identify, EFFECTS_CSUPP | DURING_SANITIZE},
    [OPCODE_ABORT] = {abort_command, EFFECTS_CSUPP | DURING_SANITIZE},
    [0x09] = {nvme_set_features, EFFECTS_CSUPP | DURING_SANITIZE},
    [0x0a] = {nvme_get_features, EFFECTS_CSUPP | DURING_SANITIZE},
    [OPCODE_EVENT_REQUEST] = {nvme_event_request, EFFECTS_CSUPP | DURING_SANITIZE},
    [0x0d] = {nvme_namespace_management, EFFECTS_CSUPP | EFFECTS_NIC | EFFECTS_CSE_ALL},
    [0x10] = {nvme_firmware_commit, EFFECTS_CSUPP | EFFECTS_CCC},
    [0x11] = {nvme_firmware_download, EFFECTS_CSUPP},
    [0x14] = {nvme_device_self_test, EFFECTS_CSUPP},
    [0x15] = {nvme_namespace_attachment, EFFECTS_CSUPP | EFFECTS_NIC},
    [0x18] = {keep_alive, EFFECTS_CSUPP | DURING_SANITIZE},
    [0x7c] = {doorbell_buffer_config, EFFECTS_CSUPP},
    [0x80] = {nvme_format, EFFECTS_CSUPP | EFFECTS_LBCC | EFFECTS_NCC | EFFECTS_CSE_NS},
    [0x84] = {nvme_sanitize, EFFECTS_CSUPP | EFFECTS_LBCC | EFFECTS_CSE_ALL},
};

uint16_t nvme_run_admin(struct controller *c, struct command *cmd) {
  const struct operation *operation = &nvme_admin_operations[cmd->sqe.opcode];
  cmd->ns = NULL;
  if (operation->run == NULL) return refuse(cmd, SC_INVALID_OPCODE, 0, 0);
  if (cmd->sqe.flags & 3) return refuse(cmd, SC_INVALID_FIELD & ~SC_DNR, 1, 0);
  if (cmd->sqe.flags >> 6 != 0) return refuse(cmd, SC_INVALID_FIELD, 1, 6); /* PRPs only, §4.1 */
  if (c->sanitize.running && !(operation->effects & DURING_SANITIZE)) return SC_SANITIZE_IN_PROGRESS;
  return operation->run(c, cmd);
}
