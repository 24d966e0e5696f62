/* The settings of a software driver, and the kinds of card that it can be. */
#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The limits that differ between generations, from the tables of the CUDA programming guide; sizes and clocks of one card of
 * each kind. */
static const struct profile PROFILES[] = {
    {"sm_75", 75, 40, 1024, 16, 64 << 10, 64 << 10, 4 << 20, 1590000, 5001000, 256},
    {"sm_86", 86, 28, 1536, 16, 100 << 10, 99 << 10, 2304 << 10, 1777000, 7501000, 192},
    {"sm_90", 90, 132, 2048, 32, 228 << 10, 227 << 10, 50 << 20, 1980000, 2619000, 5120},
    {"sm_100", 100, 148, 2048, 32, 228 << 10, 227 << 10, 126 << 20, 1965000, 3996000, 8192},
};
enum { PROFILE_COUNT = sizeof PROFILES / sizeof *PROFILES };

/* The profile of a name, or the newest that is not newer than a capability. */
static const struct profile *profile_named(const char *name) {
  for (size_t i = 0; i < PROFILE_COUNT; i++) {
    if (strcmp(PROFILES[i].name, name) == 0) return &PROFILES[i];
  }
  return NULL;
}
static const struct profile *profile_for(uint32_t capability) {
  size_t at = 0;
  while (at + 1 < PROFILE_COUNT && PROFILES[at + 1].capability <= capability) at++;
  return &PROFILES[at];
}

static int set_number(const char *text, uint64_t most, uint64_t *out) {
  char *end;
  errno = 0;
  *out = strtoull(text, &end, 0);
  return errno == 0 && end != text && *end == '\0' && *text != '-' && *out <= most ? 0 : -EINVAL;
}

/* Bytes: a number, perhaps with KiB, MiB, GiB or TiB behind it. */
static int set_size(const char *text, uint64_t most, uint64_t *out) {
  static const struct {
    const char *unit;
    uint32_t shift;
  } UNITS[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
  char *end;
  errno = 0;
  const uint64_t number = strtoull(text, &end, 0);
  if (errno != 0 || end == text || *text == '-') return -EINVAL;
  for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++) {
    if (strcmp(UNITS[i].unit, end) != 0) continue;
    if (number > most >> UNITS[i].shift) return -EINVAL;
    *out = number << UNITS[i].shift;
    return 0;
  }
  return -EINVAL;
}

static int set_text(const char *text, char *to, size_t size) {
  if (strlen(text) >= size) return -EINVAL;
  strcpy(to, text);
  return 0;
}

/* function:result pairs, joined by commas */
static int set_injections(const char *text, struct settings *out) {
  out->injections = 0;
  while (*text != '\0') {
    const size_t length = strcspn(text, ":");
    char *end;
    if (out->injections == MAX_INJECTIONS || length == 0 || text[length] != ':' ||
        length >= sizeof out->injected->function) {
      return -EINVAL;
    }
    memcpy(out->injected[out->injections].function, text, length);
    out->injected[out->injections].function[length] = '\0';
    const long result = strtol(text + length + 1, &end, 10);
    if (end == text + length + 1 || (*end != '\0' && *end != ',') || result < 1 || result > 999) return -EINVAL;
    out->injected[out->injections++].result = (CUresult)result;
    text = *end == ',' ? end + 1 : end;
  }
  return 0;
}

static int set_one(const char *key, const char *value, struct settings *out) {
  const struct {
    const char *key;
    uint32_t most;
    uint32_t *to;
  } NUMBERS[] = {
      {"devices", MAX_DEVICES, &out->devices}, {"version", 99990, &out->version},
      {"cc", 999, &out->capability},           {"domain", 0xffff, &out->domain},
      {"bus", 0xf0, &out->bus},                {"rdma", 1, &out->rdma},
      {"watchdog_ms", 3600000, &out->watchdog_ms}, {"drop_writes", 1, &out->drops_writes},
      {"reads_ones", 1, &out->reads_ones},     {"threads", MOST_THREADS, &out->threads},
  };
  const struct {
    const char *key;
    char *to;
    size_t size;
  } TEXTS[] = {
      {"memory_file", out->memory_file, sizeof out->memory_file}, {"memory-file", out->memory_file, sizeof out->memory_file},
      {"trace", out->trace, sizeof out->trace}, {"log", out->log, sizeof out->log},
      {"count", out->count, sizeof out->count},
  };
  uint64_t number = 0;
  for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
    if (strcmp(NUMBERS[i].key, key) != 0) continue;
    if (set_number(value, NUMBERS[i].most, &number) != 0) return -EINVAL;
    *NUMBERS[i].to = (uint32_t)number;
    return 0;
  }
  for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
    if (strcmp(TEXTS[i].key, key) == 0) return set_text(value, TEXTS[i].to, TEXTS[i].size);
  }
  if (strcmp(key, "fail") == 0) return set_injections(value, out);
  if (strcmp(key, "memory") == 0) return set_size(value, 1ull << 40, &out->memory);
  if (strcmp(key, "budget") == 0) return set_number(value, UINT64_MAX, &out->budget);
  if (strcmp(key, "profile") == 0) return (out->profile = profile_named(value)) == NULL ? -EINVAL : 0;
  if (strcmp(key, "isa") == 0) return *value == '\0' || ptx_isa_parse(value, &out->isa) ? 0 : -EINVAL;
  if (strcmp(key, "weak") == 0) {
    out->is_weak = *value != '\0';
    return out->is_weak ? set_number(value, UINT64_MAX, &out->weak_seed) : 0;
  }
  return -ENOENT;
}

/* What the environment says where the settings say nothing. */
static int from_environment(struct settings *out, char *why) {
  static const char *const VARIABLES[][2] = {
      {"BUSBAR_SOFT_CUDA_THREADS", "threads"}, {"BUSBAR_SOFT_CUDA_ISA", "isa"},     {"BUSBAR_SOFT_CUDA_BUDGET", "budget"},
      {"BUSBAR_SOFT_CUDA_TRACE", "trace"},     {"BUSBAR_SOFT_CUDA_COUNT", "count"}, {"BUSBAR_SOFT_CUDA_LOG", "log"},
      {"BUSBAR_SOFT_CUDA_MEMORY", "weak"},
  };
  for (size_t i = 0; i < sizeof VARIABLES / sizeof *VARIABLES; i++) {
    const char *value = getenv(VARIABLES[i][0]);
    if (value == NULL || *value == '\0') continue;
    const int is_weak = strcmp(VARIABLES[i][1], "weak") == 0;
    if ((is_weak && strncmp(value, "weak:", 5) != 0) || set_one(VARIABLES[i][1], is_weak ? value + 5 : value, out) != 0) {
      snprintf(why, FATBIN_WORDS, "%s=%.200s is no value for it", VARIABLES[i][0], value);
      return -EINVAL;
    }
  }
  return 0;
}

int settings_read(const char *text, struct settings *out, char why[FATBIN_WORDS]) {
  memset(out, 0, sizeof *out);
  out->profile = profile_named("sm_90");
  out->devices = 1;
  out->version = 13000;
  out->bus = 0x65;
  out->memory = 1ull << 30;
  out->isa = ptx_isa_best();
  why[0] = '\0';
  int failed = from_environment(out, why);
  char *copy = strdup(text);
  if (copy == NULL) return -ENOMEM;
  char *rest = copy;
  for (char *pair; failed == 0 && (pair = strsep(&rest, "\n&")) != NULL;) {
    char *equals = strchr(pair, '=');
    if (*pair == '\0') continue;
    if (equals == NULL) {
      snprintf(why, FATBIN_WORDS, "'%.100s' is not key=value", pair);
      failed = -EINVAL;
      break;
    }
    *equals = '\0';
    failed = set_one(pair, equals + 1, out);
    if (failed == -ENOENT) snprintf(why, FATBIN_WORDS, "there is no setting '%.100s'", pair);
    else if (failed != 0) snprintf(why, FATBIN_WORDS, "%.100s='%.200s' is no value for it", pair, equals + 1);
    if (failed != 0) failed = -EINVAL;
  }
  free(copy);
  if (failed != 0) return failed;
  /* A capability alone has the limits of the nearest card. */
  if (out->capability == 0) out->capability = out->profile->capability;
  else out->profile = profile_for(out->capability);
  const long processors = sysconf(_SC_NPROCESSORS_ONLN);
  if (out->threads == 0) out->threads = processors < 1 ? 1 : processors > MOST_THREADS ? MOST_THREADS : (uint32_t)processors;
  out->count_lines = out->count[0] != '\0';
  return 0;
}
