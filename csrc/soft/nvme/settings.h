/* The settings of a locator. */
#ifndef BUSBAR_SOFT_NVME_SETTINGS_H
#define BUSBAR_SOFT_NVME_SETTINGS_H

#include "soft/model.h"

enum { SERIAL_CHARS = 20, MODEL_CHARS = 40, FIRMWARE_CHARS = 8, PATH_CHARS = 1023, LIST_CHARS = 4095 };

/* What a namespace is made like. Each key is a setting of the device, and of one namespace in the list `namespaces`. */
struct namespace_settings {
  uint64_t size, lba, ms, ext, pi, pil, dlfeat, shared, zoned, zone, zcap, mar, mor, zdes;
  char file[PATH_CHARS + 1];
};

struct settings {
  char serial[SERIAL_CHARS + 1], mn[MODEL_CHARS + 1], fr[FIRMWARE_CHARS + 1];
  uint64_t mqes, to, dstrd, ready_ms, shutdown_ms;
  uint64_t queues, vectors, mdts, zasl, nn, cntlid, sgls, cmb, capacity, fna, vwc, version;
  uint64_t spin_us, reorder_us, format_ms, sanitize_ms, selftest_ms, seed;
  char namespaces[LIST_CHARS + 1], fault[LIST_CHARS + 1];
  struct namespace_settings each;
};

int nvme_read_settings(const char *text, struct settings *settings);
/* Calls make for each entry of the list of namespaces, until it returns other than 0. -EINVAL for a bad list. */
int nvme_each_namespace(const struct settings *settings, void *context,
                        int (*make)(void *context, uint64_t nsid, const struct namespace_settings *like));

#endif
