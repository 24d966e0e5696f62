/*
 * End-to-end protection, NVM §5.2: 8 bytes for each block (guard, application tag, reference tag; big-endian as T10 has
 * them), at the beginning or the end of its metadata.
 */
#define _GNU_SOURCE
#include "controller.h"

#include <string.h>

/* CRC-16 of T10 DIF: polynomial 8BB7h, no reflection, starts at 0. Four bits at a time: small, and fast enough for a
 * device whose protection is there to be tested. */
static const uint16_t CRC_NIBBLE[16] = {
    0x0000, 0x8bb7, 0x9cd9, 0x176e, 0xb205, 0x39b2, 0x2edc, 0xa56b,
    0xefbd, 0x640a, 0x7364, 0xf8d3, 0x5db8, 0xd60f, 0xc161, 0x4ad6,
};

uint16_t nvme_crc16(uint16_t crc, const uint8_t *bytes, size_t length) {
  for (size_t i = 0; i < length; i++) {
    crc = (uint16_t)(crc << 4 ^ CRC_NIBBLE[(crc >> 12 ^ bytes[i] >> 4) & 15]);
    crc = (uint16_t)(crc << 4 ^ CRC_NIBBLE[(crc >> 12 ^ bytes[i]) & 15]);
  }
  return crc;
}

struct tuple {
  uint16_t guard, app;
  uint32_t ref;
};

static struct tuple load(const uint8_t *at) {
  return (struct tuple){.guard = (uint16_t)(at[0] << 8 | at[1]), .app = (uint16_t)(at[2] << 8 | at[3]),
                        .ref = (uint32_t)at[4] << 24 | (uint32_t)at[5] << 16 | (uint32_t)at[6] << 8 | at[7]};
}

static void store(uint8_t *at, struct tuple t) {
  const uint8_t bytes[8] = {(uint8_t)(t.guard >> 8), (uint8_t)t.guard, (uint8_t)(t.app >> 8), (uint8_t)t.app,
                            (uint8_t)(t.ref >> 24), (uint8_t)(t.ref >> 16), (uint8_t)(t.ref >> 8), (uint8_t)t.ref};
  memcpy(at, bytes, sizeof bytes);
}

static size_t place(const struct ns *ns) { return ns->pi_first ? 0 : ns->ms - 8; }

/* Over the data, and over the metadata that comes before the tuple. */
static uint16_t guard_of(const struct ns *ns, const uint8_t *data, const uint8_t *metadata) {
  return nvme_crc16(nvme_crc16(0, data, ns->lba_bytes), metadata, place(ns));
}

static uint32_t ref_of(const struct ns *ns, uint32_t initial, uint64_t block) {
  return ns->pi_type == 3 ? initial : initial + (uint32_t)block;
}

/* What a command may not ask for, whatever the blocks hold (NVM §5.2.3): with type 1 the initial reference tag is the
 * address, with type 3 reference tags are not checked. */
uint16_t nvme_pi_check_command(const struct ns *ns, const struct span *span) {
  if (ns->pi_type == 0 || !(span->prinfo & PRINFO_CHECK_REF)) return SC_OK;
  const int wrong = ns->pi_type == 3 || (ns->pi_type == 1 && span->ref != (uint32_t)span->slba);
  return wrong ? SC_INVALID_PI : SC_OK;
}

void nvme_pi_generate(const struct ns *ns, const struct span *span, const uint8_t *data, uint8_t *metadata) {
  for (uint64_t i = 0; i < span->blocks; i++, data += ns->lba_bytes, metadata += ns->ms) {
    store(metadata + place(ns), (struct tuple){.guard = guard_of(ns, data, metadata), .app = span->app,
                                               .ref = ref_of(ns, span->ref, i)});
  }
}

/* Tags of all ones say that nobody has protected the block. */
static int is_unprotected(const struct ns *ns, struct tuple t) {
  return t.app == 0xffff && (ns->pi_type != 3 || t.ref == 0xffffffff);
}

uint16_t nvme_pi_check_block(const struct ns *ns, const struct span *span, uint64_t block, const uint8_t *data,
                             const uint8_t *metadata) {
  const struct tuple t = load(metadata + place(ns));
  if (is_unprotected(ns, t)) return SC_OK;
  if (span->prinfo & PRINFO_CHECK_GUARD && t.guard != guard_of(ns, data, metadata)) return SC_GUARD;
  if (span->prinfo & PRINFO_CHECK_APP && (t.app & span->app_mask) != (span->app & span->app_mask)) return SC_APP_TAG;
  if (span->prinfo & PRINFO_CHECK_REF && t.ref != ref_of(ns, span->ref, block)) return SC_REF_TAG;
  return SC_OK;
}

/* Zone Append does not know where blocks will lie: their tags count from the zone's start and are moved (ZNS §3.3.1). */
void nvme_pi_move(const struct ns *ns, uint64_t blocks, uint8_t *metadata, uint32_t by) {
  for (uint64_t i = 0; i < blocks; i++, metadata += ns->ms) {
    struct tuple t = load(metadata + place(ns));
    if (is_unprotected(ns, t)) continue;
    t.ref += by;
    store(metadata + place(ns), t);
  }
}
