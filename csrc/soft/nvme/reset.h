/* Enable, disable, resets, and a function that vanishes. */
#ifndef BUSBAR_SOFT_NVME_RESET_H
#define BUSBAR_SOFT_NVME_RESET_H

#include "command.h"

/* What a controller level reset does to everything but registers, §3.7.2. */
void nvme_reset_controller(struct controller *c);
void nvme_close_all_zones(struct controller *c);
void nvme_subsystem_reset(struct controller *c);
void nvme_function_reset(struct controller *c);
/* Takes the function off the bus, and brings it back as after power-on. */
void nvme_set_gone(struct controller *c, unsigned gone);
void nvme_set_present(struct controller *c);
/* Every byte of the BARs reads all ones, also those that the driver has written since. */
void nvme_keep_blank(struct controller *c);

/* ---- enable.c ---------------------------------------------------------------------------------------------------- */

void nvme_configuration_changed(struct controller *c, uint32_t cc);

#endif
