/* The settings of soft:nvme: one table for the device, one for what its namespaces are made like. */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A setting: where its value goes, and the most that it may be; for a text, its room with the NUL. */
struct key {
  const char *name;
  size_t at;
  uint64_t limit;
  enum { NUMBER, TEXT } kind;
};

#define DEVICE_NUMBER(name, limit) {#name, offsetof(struct settings, name), limit, NUMBER}
#define DEVICE_TEXT(name) {#name, offsetof(struct settings, name), sizeof((struct settings *)0)->name, TEXT}
#define EACH_NUMBER(name, limit) {#name, offsetof(struct namespace_settings, name), limit, NUMBER}
#define EACH_TEXT(name) {#name, offsetof(struct namespace_settings, name), sizeof((struct namespace_settings *)0)->name, TEXT}

static const uint64_t TERABYTES = UINT64_C(1) << 44;
static const uint64_t MINUTES_MS = 600000;

static const struct key DEVICE_KEYS[] = {
    DEVICE_TEXT(serial),
    DEVICE_TEXT(mn),
    DEVICE_TEXT(fr),
    DEVICE_TEXT(namespaces),
    DEVICE_TEXT(fault),
    DEVICE_NUMBER(mqes, 0xffff),
    DEVICE_NUMBER(to, 0xff),
    DEVICE_NUMBER(dstrd, 8),
    DEVICE_NUMBER(ready_ms, MINUTES_MS),
    DEVICE_NUMBER(shutdown_ms, MINUTES_MS),
    DEVICE_NUMBER(queues, 1024),
    DEVICE_NUMBER(vectors, 2048),
    DEVICE_NUMBER(mdts, 16),
    DEVICE_NUMBER(zasl, 16),
    DEVICE_NUMBER(nn, 65536),
    DEVICE_NUMBER(cntlid, 0xffef),
    DEVICE_NUMBER(sgls, 2),
    DEVICE_NUMBER(cmb, UINT64_C(1) << 30),
    DEVICE_NUMBER(capacity, UINT64_C(1) << 50),
    DEVICE_NUMBER(fna, 7),
    DEVICE_NUMBER(vwc, 1),
    DEVICE_NUMBER(spin_us, 1000000),
    DEVICE_NUMBER(reorder_us, 10000000),
    DEVICE_NUMBER(format_ms, MINUTES_MS),
    DEVICE_NUMBER(sanitize_ms, MINUTES_MS),
    DEVICE_NUMBER(selftest_ms, MINUTES_MS),
    DEVICE_NUMBER(seed, UINT64_MAX),
};

static const struct key NAMESPACE_KEYS[] = {
    EACH_NUMBER(size, TERABYTES),
    EACH_NUMBER(lba, 4096),
    EACH_NUMBER(ms, 64),
    EACH_NUMBER(ext, 1),
    EACH_NUMBER(pi, 3),
    EACH_NUMBER(pil, 1),
    EACH_NUMBER(dlfeat, 2),
    EACH_NUMBER(shared, 1),
    EACH_NUMBER(zoned, 1),
    EACH_NUMBER(zone, TERABYTES),
    EACH_NUMBER(zcap, TERABYTES),
    EACH_NUMBER(mar, UINT32_MAX),
    EACH_NUMBER(mor, UINT32_MAX),
    EACH_NUMBER(zdes, 255),
    EACH_TEXT(file),
};

/* A decimal number, of bytes where a unit follows: 4096, 64MiB, 1G. */
static int read_size(const char *text, uint64_t limit, uint64_t *out) {
  static const char units[] = "KMGT";
  const size_t length = strspn(text, "0123456789");
  char digits[24];
  if (length == 0 || length >= sizeof digits) return -EINVAL;
  memcpy(digits, text, length);
  digits[length] = '\0';
  const char *unit = text + length;
  unsigned shift = 0;
  if (*unit != '\0') {
    const char *which = strchr(units, *unit);
    if (which == NULL || (unit[1] != '\0' && strcmp(unit + 1, "iB") != 0)) return -EINVAL;
    shift = 10 * (unsigned)(which - units + 1);
  }
  const int result = soft_number(digits, limit >> shift, out);
  if (result == 0) *out <<= shift;
  return result;
}

static int find_and_set(const struct key *keys, size_t count, void *base, const char *name, const char *value) {
  for (size_t i = 0; i < count; i++) {
    if (strcmp(keys[i].name, name) != 0) continue;
    uint8_t *at = (uint8_t *)base + keys[i].at;
    if (keys[i].kind == NUMBER) {
      uint64_t number;
      const int result = read_size(value, keys[i].limit, &number);
      if (result == 0) memcpy(at, &number, sizeof number);
      return result;
    }
    const size_t bytes = strlen(value) + 1;
    if (bytes > keys[i].limit) return -EINVAL;
    memcpy(at, value, bytes);
    return 0;
  }
  return -ENOENT;
}

static int set_for_namespace(struct namespace_settings *like, const char *name, const char *value) {
  return find_and_set(NAMESPACE_KEYS, sizeof NAMESPACE_KEYS / sizeof *NAMESPACE_KEYS, like, name, value);
}

static int set_version(struct settings *s, const char *value) {
  if (strcmp(value, "1.4") == 0) s->version = 0x00010400;
  else if (strcmp(value, "2.0") == 0) s->version = 0x00020000;
  else return -EINVAL;
  return 0;
}

static int set(void *context, const char *name, const char *value) {
  struct settings *s = context;
  if (strcmp(name, "vs") == 0) return set_version(s, value);
  int result = find_and_set(DEVICE_KEYS, sizeof DEVICE_KEYS / sizeof *DEVICE_KEYS, s, name, value);
  if (result == -ENOENT) result = set_for_namespace(&s->each, name, value);
  return result == -ENOENT ? -EINVAL : result;
}

static const struct settings DEFAULTS = {
    .serial = "BUSBAR-SOFT-0001",
    .mn = "busbar software NVMe controller",
    .fr = "1.0",
    .namespaces = "1",
    .mqes = 1023,
    .to = 15,
    .ready_ms = 2,
    .shutdown_ms = 2,
    .queues = 8,
    .vectors = 9,
    .mdts = 7,
    .nn = 256,
    .cntlid = 1,
    .sgls = 1,
    .fna = 4,
    .vwc = 1,
    .version = 0x00010400,
    .spin_us = 500,
    .format_ms = 5,
    .sanitize_ms = 20,
    .selftest_ms = 20,
    .seed = 1,
    .each = {.size = UINT64_C(64) << 20, .lba = 512, .dlfeat = 1, .zone = UINT64_C(4) << 20},
};

int nvme_read_settings(const char *text, struct settings *settings) {
  *settings = DEFAULTS;
  const int result = soft_each_setting(text, set, settings);
  if (result != 0) return result;
  const int sane = settings->mqes > 0 && settings->queues > 0 && settings->vectors > 0 && settings->nn > 0 &&
                   settings->cmb % 4096 == 0;
  return sane ? 0 : -EINVAL;
}

/* One entry: an identifier, and what is different about it: "7:zoned=1,size=256MiB". */
static int read_entry(char *entry, uint64_t nn, uint64_t *nsid, struct namespace_settings *like) {
  char *rest = strchr(entry, ':');
  if (rest != NULL) *rest++ = '\0';
  if (soft_number(entry, nn, nsid) != 0 || *nsid == 0) return -EINVAL;
  for (char *state, *word = rest == NULL ? NULL : strtok_r(rest, ",", &state); word != NULL;
       word = strtok_r(NULL, ",", &state)) {
    char *value = strchr(word, '=');
    if (value == NULL) return -EINVAL;
    *value++ = '\0';
    if (set_for_namespace(like, word, value) != 0) return -EINVAL;
  }
  return 0;
}

int nvme_each_namespace(const struct settings *settings, void *context,
                        int (*make)(void *context, uint64_t nsid, const struct namespace_settings *like)) {
  char *list = strdup(settings->namespaces);
  if (list == NULL) return -ENOMEM;
  int result = 0;
  for (char *state, *entry = strtok_r(list, ";", &state); result == 0 && entry != NULL;
       entry = strtok_r(NULL, ";", &state)) {
    uint64_t nsid;
    struct namespace_settings like = settings->each;
    result = read_entry(entry, settings->nn, &nsid, &like);
    if (result == 0) result = make(context, nsid, &like);
  }
  free(list);
  return result;
}
