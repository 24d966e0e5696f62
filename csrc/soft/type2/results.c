/* Results of the driver API in the protocol's numbers, bounded waits, and copies of what a guest may be changing. */
#define _GNU_SOURCE
#include "device.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

uint32_t result_of(CUresult result) {
  switch (result) {
    case 200: case 209: case 218: case 222: return TYPE2_INVALID_PTX;
    default: return result < 0 ? TYPE2_UNKNOWN : (uint32_t)result;
  }
}

uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void rest_for(uint32_t us) {
  const struct timespec rest = {us / 1000000, (long)(us % 1000000) * 1000};
  nanosleep(&rest, NULL);
}

static CUresult query_all(struct type2 *device, struct session *session) {
  CUresult result = device->backend.f.cuStreamQuery(NULL);
  for (uint32_t i = 0; result == 0 && i < MOST_STREAMS; i++) {
    if (session->streams[i] != NULL) result = device->backend.f.cuStreamQuery(session->streams[i]);
  }
  return result;
}

uint32_t wait_streams(struct type2 *device, struct session *session, uint32_t stream) {
  const uint64_t end = now_us() + WAIT_US;
  uint32_t rest_us = 0;
  for (;;) {
    const CUresult result =
        stream == 0 ? query_all(device, session) : device->backend.f.cuStreamQuery(session->streams[stream - 1]);
    if (result != TYPE2_NOT_READY) {
      if (result == 0 && stream == 0) session->queued = 0;
      return result_of(result);
    }
    if (now_us() >= end) return TYPE2_NOT_READY;
    /* Short kernels end while this spins; long ones leave the processor to whoever runs them. */
    if (rest_us > 0) rest_for(rest_us);
    rest_us = rest_us == 0 ? 10 : rest_us < 500 ? 2 * rest_us : 1000;
  }
}

bool range_in(uint64_t offset, uint64_t size, uint64_t limit) { return offset <= limit && size <= limit - offset; }

/* What both sides of memory may change at once is read and written by atomic accesses of up to 8 bytes. Relaxed: DONE and SUBMIT
 * order a command against its data; a guest that writes in the middle gets a mixture, and nothing else. */
static uint64_t load_word(const uint8_t *from) {
  return __atomic_load_n((const uint64_t *)(const void *)from, __ATOMIC_RELAXED);
}
static bool is_word(const void *place) { return ((uintptr_t)place & 7) == 0; }
static bool is_half(const void *place, uint64_t size) { return ((uintptr_t)place & 3) == 0 && size >= 4; }

void copy_from_guest(void *to, const uint8_t *from, uint64_t size) {
  uint8_t *out = to;
  for (uint64_t part; size > 0; size -= part, from += part, out += part) {
    if (is_word(from) && size >= 8) {
      const uint64_t word = load_word(from);
      memcpy(out, &word, part = 8);
    } else if (is_half(from, size)) {
      const uint32_t half = __atomic_load_n((const uint32_t *)(const void *)from, __ATOMIC_RELAXED);
      memcpy(out, &half, part = 4);
    } else {
      *out = __atomic_load_n(from, __ATOMIC_RELAXED);
      part = 1;
    }
  }
}

void copy_to_guest(uint8_t *to, const void *from, uint64_t size) {
  const uint8_t *in = from;
  for (uint64_t part; size > 0; size -= part, to += part, in += part) {
    if (is_word(to) && size >= 8) {
      uint64_t word;
      memcpy(&word, in, part = 8);
      __atomic_store_n((uint64_t *)(void *)to, word, __ATOMIC_RELAXED);
    } else if (is_half(to, size)) {
      uint32_t half;
      memcpy(&half, in, part = 4);
      __atomic_store_n((uint32_t *)(void *)to, half, __ATOMIC_RELAXED);
    } else {
      __atomic_store_n(to, *in, __ATOMIC_RELAXED);
      part = 1;
    }
  }
}

void clear_for_guest(uint8_t *to, uint64_t size) {
  static const uint8_t ZEROS[4096];
  for (uint64_t part; size > 0; to += part, size -= part) {
    part = size < sizeof ZEROS ? size : sizeof ZEROS;
    copy_to_guest(to, ZEROS, part);
  }
}

/* Bytes before the first NUL, or room. */
static uint64_t length_of(const uint8_t *from, uint64_t room) {
  const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);
  uint64_t at = 0;
  while (at < room) {
    if (is_word(from + at) && room - at >= 8) {
      const uint64_t word = load_word(from + at);
      /* No byte is 0: subtracting one from each borrows in none. */
      if (((word - ones) & ~word & tops) == 0) {
        at += 8;
        continue;
      }
    }
    if (__atomic_load_n(from + at, __ATOMIC_RELAXED) == 0) break;
    at++;
  }
  return at;
}

char *copy_text(const uint8_t *from, uint64_t room) {
  /* The length is only a hint, for a guest may change the text meanwhile: what counts is what was copied. */
  const uint64_t length = length_of(from, room);
  if (length == room) return NULL;
  /* Drivers look at the first bytes as words, however short the text is. */
  enum { BEHIND = 16 };
  char *copy = malloc(length + BEHIND);
  if (copy == NULL) return NULL;
  copy_from_guest(copy, from, length);
  memset(copy + length, 0, BEHIND);
  return copy;
}
