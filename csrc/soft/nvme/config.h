/* PCI configuration space. */
#ifndef BUSBAR_SOFT_NVME_CONFIG_H
#define BUSBAR_SOFT_NVME_CONFIG_H

#include "command.h"

void nvme_fill_config(struct controller *c);
void nvme_blank_config(struct controller *c);
int nvme_is_bus_master(const struct controller *c);
/* True while the driver asks for a function level reset. */
int nvme_wants_function_reset(const struct controller *c);
/* Says that it is done: the driver may be waiting for the bit to go. */
void nvme_end_function_reset(struct controller *c);
uint16_t nvme_msix_control(const struct controller *c);
void nvme_set_msix_control(struct controller *c, uint16_t value);

#endif
