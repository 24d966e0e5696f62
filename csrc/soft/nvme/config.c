/* PCI configuration space of the software NVMe controller: a type 0 header, and PM, MSI-X, PCIe and serial number
 * capabilities. It is ordinary memory too: what the driver writes is seen when the thread looks next. */
#define _GNU_SOURCE
#include "controller.h"

#include <string.h>

enum {
  COMMAND = 0x04,
  COMMAND_BUS_MASTER = 4,
  BAR_REGISTERS = 0x10,
  MSIX = 0x50,
  DEVICE_CONTROL = 0x88,
  START_FUNCTION_RESET = 0x8000,
};

static uint16_t load16(const struct controller *c, unsigned offset) {
  return __atomic_load_n((const uint16_t *)(const void *)(c->device->config + offset), __ATOMIC_ACQUIRE);
}

static void store16(struct controller *c, unsigned offset, uint16_t value) {
  __atomic_store_n((uint16_t *)(void *)(c->device->config + offset), value, __ATOMIC_RELEASE);
}

int nvme_is_bus_master(const struct controller *c) { return (load16(c, COMMAND) & COMMAND_BUS_MASTER) != 0; }

uint16_t nvme_msix_control(const struct controller *c) { return load16(c, MSIX + 2); }

void nvme_set_msix_control(struct controller *c, uint16_t value) { store16(c, MSIX + 2, value); }

int nvme_wants_function_reset(const struct controller *c) {
  return (load16(c, DEVICE_CONTROL) & START_FUNCTION_RESET) != 0;
}

void nvme_end_function_reset(struct controller *c) {
  nvme_set_msix_control(c, nvme_msix_control(c) & 0x07ff);
  store16(c, DEVICE_CONTROL, load16(c, DEVICE_CONTROL) & (uint16_t)~START_FUNCTION_RESET);
}

static void fill_header(uint8_t *config) {
  put16(config + 0x00, 0x1234); /* a vendor ID that no maker of NVMe drives has */
  put16(config + 0x02, 0xb0b0);
  put16(config + COMMAND, 0x0006); /* memory decoding and bus master on */
  put16(config + 0x06, 0x0010);    /* capability list */
  config[0x09] = 0x02;             /* class 01 08 02: NVM Express */
  config[0x0a] = 0x08;
  config[0x0b] = 0x01;
  put32(config + BAR_REGISTERS, 0xfe000004); /* BAR0: memory, 64-bit */
  put16(config + 0x2c, 0x1234);
  put16(config + 0x2e, 0xb0b0);
  config[0x34] = 0x40;
}

static void fill_capabilities(const struct controller *c, uint8_t *config) {
  put32(config + 0x40, 0x00035001); /* PM, version 3, next 50 */
  put32(config + 0x44, 0x00000008); /* D0, no soft reset */
  put32(config + MSIX, 0x00008011 | (uint32_t)(c->settings.vectors - 1) << 16); /* MSI-X, next 80 */
  put32(config + 0x54, c->interrupts.table);   /* in BAR0 */
  put32(config + 0x58, c->interrupts.pending); /* in BAR0 */
  put32(config + 0x80, 0x00020010); /* PCIe, version 2, endpoint, last */
  put32(config + 0x84, 0x10008001); /* 256-byte payloads, role-based errors, FLR */
  put32(config + DEVICE_CONTROL, 0x00002810);
  put32(config + 0x8c, 0x00000044); /* 16 GT/s x4 */
  put32(config + 0x90, 0x00440000); /* the same now */
  put32(config + 0xac, 0x0000001e); /* 2.5 to 16 GT/s */
  put32(config + 0xb0, 0x00000004);
  put32(config + 0x100, 0x00010003); /* serial number, version 1, last */
  put32(config + 0x104, 0x534f4654);
  put32(config + 0x108, 0x00b0b000);
}

/* The driver may be reading, so each word appears whole. */
static void show(struct controller *c, const uint8_t *bytes) {
  for (unsigned i = 0; i < CONFIG_BYTES; i += 4) {
    __atomic_store_n((uint32_t *)(void *)(c->device->config + i), get32(bytes + i), __ATOMIC_RELEASE);
  }
}

void nvme_fill_config(struct controller *c) {
  uint8_t config[CONFIG_BYTES] = {0};
  fill_header(config);
  fill_capabilities(c, config);
  if (c->settings.cmb != 0) {
    put32(config + BAR_REGISTERS + 8, 0x0000000c); /* BAR2, the CMB: memory, 64-bit, prefetchable; above 4 GiB */
    put32(config + BAR_REGISTERS + 12, 0x00004000);
  }
  show(c, config);
}

void nvme_blank_config(struct controller *c) {
  uint8_t config[CONFIG_BYTES];
  memset(config, 0xff, sizeof config);
  show(c, config);
}
