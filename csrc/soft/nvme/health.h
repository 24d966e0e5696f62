/* How the controller is, and self-tests. */
#ifndef BUSBAR_SOFT_NVME_HEALTH_H
#define BUSBAR_SOFT_NVME_HEALTH_H

#include "command.h"

enum { ERROR_ENTRIES = 64, SELF_TESTS = 20, SELF_TEST_LOG_BYTES = 4 + 28 * SELF_TESTS };

enum { WARNING_KELVIN = 343, CRITICAL_KELVIN = 373 };

struct error_entry {
  uint64_t count;
  uint16_t sqid, cid, status, location;
  uint64_t lba;
  uint32_t nsid;
};

struct self_test_result {
  uint8_t result;
  uint32_t nsid;
  uint64_t power_on_hours;
};

struct health {
  uint16_t temperature; /* K */
  uint8_t spare, spare_threshold, used, forced_warning;
  uint64_t sectors_read, sectors_written; /* of 512 bytes */
  uint64_t reads, writes, busy_ns, power_cycles, unsafe_shutdowns, media_errors;
  uint64_t warning_ns, critical_ns, temperature_since_ns;
  uint64_t error_count;
  struct error_entry errors[ERROR_ENTRIES];    /* a ring */
  struct self_test_result results[SELF_TESTS]; /* newest first */
  unsigned result_count;
  uint8_t self_test;       /* code of the one that runs, or 0 */
  uint8_t self_test_fails; /* result of the next one */
  uint32_t self_test_nsid;
  uint64_t self_test_started_ns, self_test_ends_ns;
};

void nvme_open_health(struct controller *c);
uint8_t nvme_health_warning(const struct controller *c);
/* Tells of warnings that were not there before. */
void nvme_health_changed(struct controller *c, uint8_t before);
void nvme_set_temperature(struct controller *c, uint16_t kelvin);
uint64_t nvme_power_on_hours(const struct controller *c, uint64_t now);
void nvme_fill_health_log(struct controller *c, uint8_t *at);
void nvme_log_error(struct controller *c, const struct command *cmd);
void nvme_fill_error_log(const struct controller *c, uint8_t *at);

/* ---- self_test.c ------------------------------------------------------------------------------------------------- */

uint16_t nvme_device_self_test(struct controller *c, struct command *cmd);
void nvme_pass_self_test(struct controller *c, uint64_t now);
void nvme_reset_self_test(struct controller *c);
void nvme_fill_self_test_log(struct controller *c, uint8_t *at);

#endif
