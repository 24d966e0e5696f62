/* Settings of a device: lines of "key=value". */
#define _GNU_SOURCE
#include "device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int set_number(const char *text, uint64_t most, uint64_t *out) {
  char *end;
  errno = 0;
  if (*text < '0' || *text > '9') return -EINVAL;
  *out = strtoull(text, &end, 10);
  return errno == 0 && *end == '\0' && *out <= most ? 0 : -EINVAL;
}

static int set_text(const char *text, char *to, size_t size) {
  if (strlen(text) >= size) return -EINVAL;
  strcpy(to, text);
  return 0;
}

static int set_profile(const char *text, struct settings *out) {
  static const char *const NAMES[] = {[PROFILE_V1] = "v1", [PROFILE_V2] = "v2", [PROFILE_V2_J] = "v2-J"};
  for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
    if (strcmp(NAMES[i], text) != 0) continue;
    out->profile = (enum profile)i;
    return 0;
  }
  return -EINVAL;
}

static int set(struct settings *out, const char *key, const char *value) {
  uint64_t flag = 0;
  if (strcmp(key, "profile") == 0) return set_profile(value, out);
  if (strcmp(key, "driver") == 0) {
    out->has_driver = true;
    return set_text(value, out->driver, sizeof out->driver);
  }
  if (strcmp(key, "driver_settings") == 0) {
    out->has_driver_settings = true;
    return set_text(value, out->driver_settings, sizeof out->driver_settings);
  }
  if (strcmp(key, "name") == 0) return set_text(value, out->name, sizeof out->name);
  if (strcmp(key, "doorbell") == 0) return set_text(value, out->doorbell, sizeof out->doorbell);
  if (strcmp(key, "vfio_user") == 0) return set_text(value, out->vfio_user, sizeof out->vfio_user);
  if (strcmp(key, "cache") == 0) return set_number(value, UINT64_C(1) << 40, &out->cache_bytes);
  if (strcmp(key, "bar4") == 0) return set_number(value, UINT64_C(1) << 40, &out->bar4_bytes);
  if (strcmp(key, "memory") == 0) return set_number(value, UINT64_MAX, &out->memory_bytes);
  if (strcmp(key, "ordinal") == 0) return set_number(value, 999, &out->ordinal);
  if (strcmp(key, "limit_ms") == 0) return set_number(value, 3600000, &out->limit_ms);
  if (strcmp(key, "filter") == 0) return set_number(value, 1 << 20, &out->filter_lines);
  if (strcmp(key, "peers") == 0) return set_number(value, MOST_PEERS, &out->peers);
  if (strcmp(key, "dcd") == 0) return set_number(value, UINT64_C(1) << 50, &out->dcd_bytes);
  if (strcmp(key, "gfam") == 0) return set_number(value, 64, &out->gfam_hosts);
  if (strcmp(key, "mhsld") == 0) return set_number(value, 32, &out->mhsld_heads);
  if (strcmp(key, "adopt") == 0) {
    const int failed = set_number(value, 1, &flag);
    out->adopts = flag != 0;
    return failed;
  }
  if (strcmp(key, "trap_bar4") == 0) {
    const int failed = set_number(value, 1, &flag);
    out->traps_bar4 = flag != 0;
    return failed;
  }
  if (strcmp(key, "ends_at_limit") == 0) {
    const int failed = set_number(value, 1, &flag);
    out->ends_at_limit = flag != 0;
    return failed;
  }
  if (strcmp(key, "strict") == 0) {
    const int failed = set_number(value, 1, &flag);
    out->is_strict = flag != 0;
    return failed;
  }
  return -EINVAL;
}

int type2_settings(const char *text, struct settings *out, char *why, uint32_t why_size) {
  *out = (struct settings){.profile = PROFILE_V2, .bar4_bytes = 64 << 20, .filter_lines = 4096, .limit_ms = 10000};
  char *copy = strdup(text);
  if (copy == NULL) return -ENOMEM;
  int failed = 0;
  for (char *line = copy, *end; failed == 0 && (end = strchr(line, '\n')) != NULL; line = end + 1) {
    *end = '\0';
    char *equals = strchr(line, '=');
    if (equals != NULL) *equals = '\0';
    failed = equals == NULL ? -EINVAL : set(out, line, equals + 1);
    if (failed != 0) snprintf(why, why_size, "the setting '%s' is wrong", line);
  }
  if (failed == 0 && (out->filter_lines == 0 || out->bar4_bytes % 4096 != 0 || out->bar4_bytes == 0)) {
    snprintf(why, why_size, "filter and bar4 are at least one line and one page");
    failed = -EINVAL;
  }
  /* A guest sees a BAR whose size is a power of two. */
  if (failed == 0 && out->vfio_user[0] != '\0' && (out->bar4_bytes & (out->bar4_bytes - 1)) != 0) {
    snprintf(why, why_size, "bar4 behind vfio-user is a power of two");
    failed = -EINVAL;
  }
  free(copy);
  return failed;
}
