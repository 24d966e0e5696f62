/*
 * Controller registers: what the driver sees of them, and status with its delays. NVMe Base 2.0 §3.1.3.
 *
 * One difference: registers are memory, and a store of the value that is already there cannot be seen. So CSTS.NSSRO,
 * which real controllers clear when 1 is written to it, is cleared by the next enable. INTMS and INTMC, which nobody may
 * touch who uses MSI-X, do nothing.
 */
#define _GNU_SOURCE
#include "controller.h"

enum { CMBMSC_CRE = 1, CMBMSC_CMSE = 2, CMBSTS_CBAI = 1 };

void nvme_show_status(struct controller *c, uint32_t csts) {
  c->registers.csts = csts;
  soft_store32(c->device, 0, REG_CSTS, csts);
}

/* Shows csts after a delay, or at once. */
void nvme_change_status(struct controller *c, uint64_t delay_ms, uint32_t csts) {
  c->registers.change_ns = delay_ms == 0 ? 0 : soft_now_ns() + delay_ms * 1000000;
  if (delay_ms == 0) nvme_show_status(c, csts);
  else c->registers.csts_then = csts;
}

void nvme_pass_status(struct controller *c, uint64_t now) {
  if (c->registers.change_ns == 0 || now < c->registers.change_ns) return;
  c->registers.change_ns = 0;
  nvme_show_status(c, c->registers.csts_then);
}

void nvme_fatal(struct controller *c) {
  c->registers.change_ns = 0;
  nvme_show_status(c, c->registers.csts | CSTS_CFS);
}

void nvme_catch_up(struct controller *c) {
  const uint32_t others = c->registers.csts & ~(uint32_t)(CSTS_RDY | CSTS_SHST);
  if (c->registers.change_ns != 0 || c->registers.csts & CSTS_CFS || c->registers.gone) return;
  const uint32_t shutdown = (c->registers.cc >> 14 & 3) != 0 ? CSTS_SHST_DONE : 0;
  nvme_show_status(c, others | (c->registers.cc & 1 ? CSTS_RDY : 0) | shutdown);
}

/* ---- registers that the driver may not change -------------------------------------------------------------------- */

static uint32_t cmbloc(const struct controller *c) {
  /* BIR 2, at its start; queues, lists and data may be mixed with memory elsewhere as the driver likes (bits 8:3). */
  return c->registers.cmbmsc & CMBMSC_CRE ? CMB_BAR | 0x1f8 : 0;
}

static uint32_t cmbsz(const struct controller *c) {
  /* Everything may live there (bits 4:0); in units of 4 KiB. */
  return c->registers.cmbmsc & CMBMSC_CRE ? 0x1f | (uint32_t)(c->settings.cmb / 4096) << 12 : 0;
}

static uint32_t cmbsts(const struct controller *c) {
  const uint64_t cmbmsc = c->registers.cmbmsc;
  return cmbmsc & CMBMSC_CMSE && (cmbmsc >> 12 << 12) > UINT64_MAX - c->settings.cmb ? CMBSTS_CBAI : 0;
}

static void put_back32(struct controller *c, uint32_t offset, uint32_t value) {
  if (soft_load32(c->device, 0, offset) != value) soft_store32(c->device, 0, offset, value);
}

/* The driver's stores go straight into memory, so registers that it may not change are put back. */
void nvme_protect_registers(struct controller *c) {
  put_back32(c, REG_CAP, (uint32_t)c->registers.cap);
  put_back32(c, REG_CAP + 4, (uint32_t)(c->registers.cap >> 32));
  put_back32(c, REG_VS, c->registers.vs);
  put_back32(c, REG_CSTS, c->registers.csts);
  put_back32(c, REG_CMBLOC, cmbloc(c));
  put_back32(c, REG_CMBSZ, cmbsz(c));
  put_back32(c, REG_CMBSTS, cmbsts(c));
  put_back32(c, REG_CRTO, c->registers.cap >> 59 & 3 ? (uint32_t)(c->settings.to << 16 | c->settings.to) : 0);
}

/* Controller memory buffer: exposed by CRE, and part of the controller's address space by CMSE (§8.5). */
void nvme_watch_cmb(struct controller *c) {
  const uint64_t cmbmsc = c->settings.cmb == 0 ? 0 : soft_load64(c->device, 0, REG_CMBMSC);
  if (cmbmsc == c->registers.cmbmsc) return;
  c->registers.cmbmsc = cmbmsc;
  c->memory.generation++;
  nvme_protect_registers(c);
}

/* Every register as after power-on. */
void nvme_reset_registers(struct controller *c, uint32_t csts) {
  static const uint32_t writable[] = {REG_INTMS, REG_INTMC, REG_CC, REG_NSSR, REG_AQA, REG_ASQ, REG_ASQ + 4,
                                      REG_ACQ, REG_ACQ + 4, REG_CMBMSC, REG_CMBMSC + 4};
  for (size_t i = 0; i < sizeof writable / sizeof *writable; i++) soft_store32(c->device, 0, writable[i], 0);
  c->registers.cc = 0;
  c->registers.cmbmsc = 0;
  c->registers.change_ns = 0;
  nvme_show_status(c, csts);
  nvme_protect_registers(c);
}
