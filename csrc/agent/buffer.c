/* Bytes of answers, and numbers as the wire has them. See agent.h. */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint8_t *put_room(struct buffer *out, size_t size) {
  if (out->failed || out->size > out->limit || size > out->limit - out->size) {
    out->failed = 1;
    return NULL;
  }
  if (out->size + size > out->room) {
    size_t room = out->room == 0 ? 65536 : out->room;
    while (room < out->size + size) room *= 2;
    uint8_t *bytes = realloc(out->bytes, room);
    if (bytes == NULL) {
      out->failed = 1;
      return NULL;
    }
    out->bytes = bytes;
    out->room = room;
  }
  return out->bytes + out->size;
}

void put_bytes(struct buffer *out, const void *bytes, size_t size) {
  if (size == 0) return;
  uint8_t *to = put_room(out, size);
  if (to == NULL) return;
  memcpy(to, bytes, size);
  out->size += size;
}

static void put_number(struct buffer *out, uint64_t value, unsigned bytes) {
  uint8_t *to = put_room(out, bytes);
  if (to == NULL) return;
  for (unsigned i = 0; i < bytes; i++) to[i] = (uint8_t)(value >> 8 * i);
  out->size += bytes;
}

void put8(struct buffer *out, uint8_t value) { put_number(out, value, 1); }
void put16(struct buffer *out, uint16_t value) { put_number(out, value, 2); }
void put32(struct buffer *out, uint32_t value) { put_number(out, value, 4); }
void put64(struct buffer *out, uint64_t value) { put_number(out, value, 8); }

void set32(struct buffer *out, size_t at, uint32_t value) {
  if (at + 4 > out->size) return;
  for (unsigned i = 0; i < 4; i++) out->bytes[at + i] = (uint8_t)(value >> 8 * i);
}

uint64_t get_number(const uint8_t *from, unsigned bytes) {
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes; i++) value |= (uint64_t)from[i] << 8 * i;
  return value;
}

/* Errors are numbered on the wire as include/uapi/asm-generic/errno.h does. SPARC, and a few others, have their own. */
int32_t wire_error(int32_t status) {
  static const struct {
    int32_t here, wire;
  } numbers[] = {
      {EDEADLK, 35},      {ENAMETOOLONG, 36}, {ENOSYS, 38},    {ENOTEMPTY, 39}, {ELOOP, 40},    {EPROTO, 71},
      {EOVERFLOW, 75},    {EUSERS, 87},       {EMSGSIZE, 90},  {EOPNOTSUPP, 95}, {ETIMEDOUT, 110}, {EREMOTEIO, 121},
      {ECANCELED, 125},   {EAGAIN, 11},       {EILSEQ, 84},    {ENODATA, 61},   {ESTALE, 116},  {EDQUOT, 122},
  };
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    if (status == -numbers[i].here) return -numbers[i].wire;
  }
  return status;
}
