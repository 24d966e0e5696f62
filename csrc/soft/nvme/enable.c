/* Enable and disable with a delay, shutdown, fatal status on bad queue addresses and configurations. NVMe Base 2.0 §3.5 and
 * §3.6. */
#define _GNU_SOURCE
#include "controller.h"

/* True when the controller can work with what the driver has set up. */
static int can_enable(const struct controller *c, uint32_t cc) {
  const uint32_t aqa = soft_load32(c->device, 0, REG_AQA);
  const uint64_t asq = soft_load64(c->device, 0, REG_ASQ), acq = soft_load64(c->device, 0, REG_ACQ);
  const uint32_t css = cc >> 4 & 7, mps = cc >> 7 & 15, ams = cc >> 11 & 7;
  const uint32_t iosqes = cc >> 16 & 15, iocqes = cc >> 20 & 15;
  const int sizes = (aqa & 0xfff) != 0 && (aqa >> 16 & 0xfff) != 0;
  const int addresses = asq != 0 && acq != 0 && asq % PAGE_BYTES == 0 && acq % PAGE_BYTES == 0;
  return sizes && addresses && (css == 0 || css == 6) && mps <= MPS_MAX && ams == 0 && iosqes == 6 && iocqes == 4;
}

static void enable(struct controller *c, uint32_t cc) {
  const uint32_t aqa = soft_load32(c->device, 0, REG_AQA);
  if (!can_enable(c, cc)) {
    nvme_fatal(c);
    return;
  }
  c->memory.page_shift = 12 + (cc >> 7 & 15);
  c->memory.max_transfer = c->settings.mdts == 0 ? UINT64_MAX : UINT64_C(4096) << c->settings.mdts;
  nvme_start_cq(c, 0, (aqa >> 16 & 0xfff) + 1, soft_load64(c->device, 0, REG_ACQ));
  c->queues.cqs[0].interrupts = 1;
  if (nvme_start_sq(c, 0, (aqa & 0xfff) + 1, soft_load64(c->device, 0, REG_ASQ), 0) != 0) {
    nvme_fatal(c);
    return;
  }
  if (c->faults.never_ready) return;
  nvme_change_status(c, c->settings.ready_ms, CSTS_RDY);
}

static void disable(struct controller *c) {
  nvme_reset_controller(c);
  if (c->faults.never_unready) return;
  nvme_change_status(c, c->settings.ready_ms, c->registers.csts & CSTS_NSSRO);
}

static void shut_down(struct controller *c) {
  nvme_close_all_zones(c);
  const uint32_t others = c->registers.csts & ~(uint32_t)CSTS_SHST;
  nvme_show_status(c, others | CSTS_SHST_BUSY);
  if (c->faults.never_shut_down) return;
  nvme_change_status(c, c->settings.shutdown_ms, others | CSTS_SHST_DONE);
}

void nvme_configuration_changed(struct controller *c, uint32_t cc) {
  const uint32_t before = c->registers.cc;
  c->registers.cc = cc;
  if (!(before & 1) && (cc & 1)) enable(c, cc);
  else if ((before & 1) && !(cc & 1)) disable(c);
  if ((cc >> 14 & 3) != 0 && (before >> 14 & 3) == 0) shut_down(c);
}
