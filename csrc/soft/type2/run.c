/* Running a command: whether the device has it, who asks, what comes out. */
#define _GNU_SOURCE
#include "device.h"

struct row {
  command_function *run;
  enum feature feature;
  bool needs_ready;
};

static const struct row ROWS[256] = {
#define ROW(code, name, feature, ready) [code] = {command_##name, feature, ready},
    TYPE2_COMMANDS(ROW)
#undef ROW
};

static bool has_feature(const struct type2 *device, enum feature feature) {
  switch (feature) {
    case FEATURE_COMMON: case FEATURE_EXTENSION: return true;
    case FEATURE_BULK: return (device->caps & CAPS_BULK) != 0;
    case FEATURE_CACHE_COHERENT: return (device->caps & CAPS_CACHE_COHERENT) != 0;
    case FEATURE_COHERENT_POOL: return (device->caps & CAPS_COHERENT_POOL) != 0;
    case FEATURE_DEVICE_BIAS: return (device->caps & CAPS_DEVICE_BIAS) != 0;
    case FEATURE_DCD: return device->settings.profile != PROFILE_V1 && device->settings.dcd_bytes > 0;
    case FEATURE_GFAM: return device->settings.profile != PROFILE_V1 && device->settings.gfam_hosts > 0;
    case FEATURE_MHSLD: return device->settings.profile != PROFILE_V1 && device->settings.mhsld_heads > 0;
    case FEATURE_PEERS: return device->settings.profile != PROFILE_V1;
    case FEATURE_FORK_J: return device->settings.profile == PROFILE_V2_J;
  }
  return false;
}

/* The vendor fork's number of a command as the others have it. 256: none that is known. */
static uint32_t common_code(const struct type2 *device, uint32_t code) {
  if (device->settings.profile != PROFILE_V2_J) return code;
  if (code == 0x88) return CMD_CACHE_PREFETCH;
  return code >= 0x83 && code <= 0x86 ? 256 : code;
}

static uint32_t dispatch(struct type2 *device, struct command *command) {
  const uint32_t code = common_code(device, command->code);
  if (code > 255 || ROWS[code].run == NULL || !has_feature(device, ROWS[code].feature)) return TYPE2_INVALID_VALUE;
  if (ROWS[code].needs_ready && !device->has_backend) return TYPE2_NOT_INITIALIZED;
  if (device->settings.is_strict && ROWS[code].needs_ready && code != CMD_INIT && !device->was_initialised) {
    return TYPE2_NOT_INITIALIZED;
  }
  command->session = session_find(device, command->session_id);
  if (command->session == NULL) return TYPE2_INVALID_CONTEXT;
  return ROWS[code].run(device, command);
}

void device_run(struct type2 *device, struct command *command) {
  atomic_store_explicit(&device->is_running, true, memory_order_relaxed);
  device->counts[command->code & 255]++;
  for (uint32_t i = 0; i < 4; i++) put64(device, REG_RESULT0 + 8 * i, 0);
  put32(device, REG_CMD_STATUS, COMMAND_RUNNING);
  registers_refresh(device);
  limit_command(device, true);
  const uint32_t result = dispatch(device, command);
  limit_command(device, false);
  /* A command that failed has no results. */
  for (uint32_t i = 0; i < 4 && result == 0; i++) put64(device, REG_RESULT0 + 8 * i, command->results[i]);
  atomic_store_explicit(&device->is_running, false, memory_order_relaxed);
  registers_refresh(device);
  put32(device, REG_CMD_RESULT, result);
  put32(device, REG_CMD_STATUS, COMMAND_COMPLETE);
}
