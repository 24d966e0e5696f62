/* Features. */
#ifndef BUSBAR_SOFT_NVME_FEATURE_H
#define BUSBAR_SOFT_NVME_FEATURE_H

#include "command.h"

enum { FEATURES = 256, SENSORS = 8, POWER_STATES = 3 };

struct features {
  uint32_t current[FEATURES], saved[FEATURES];
  uint8_t is_saved[FEATURES];
  uint16_t over[SENSORS + 1], under[SENSORS + 1]; /* thresholds of the composite temperature and of sensors, K */
  uint8_t apst[256], host_behavior[512], host_id[16];
  uint64_t timestamp_ms, timestamp_at_ns;
  int timestamp_set;
  uint64_t keep_alive_ns; /* when the host was last heard of */
};

uint16_t nvme_get_features(struct controller *c, struct command *cmd);
uint16_t nvme_set_features(struct controller *c, struct command *cmd);
void nvme_reset_features(struct controller *c);
int nvme_keep_alive_expired(const struct controller *c, uint64_t now);

#endif
