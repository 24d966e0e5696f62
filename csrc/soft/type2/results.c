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

/* memcpy does not take a null pointer, not even for no bytes. */
void copy_from_guest(void *to, const uint8_t *from, uint64_t size) {
  if (size > 0) memcpy(to, from, size);
}
void copy_to_guest(uint8_t *to, const void *from, uint64_t size) {
  if (size > 0) memcpy(to, from, size);
}

char *copy_text(const uint8_t *from, uint64_t room) {
  /* The length is only a hint, for a guest may change the text meanwhile: what counts is what was copied. */
  const uint64_t length = strnlen((const char *)from, room);
  if (length == room) return NULL;
  char *copy = malloc(length + 1);
  if (copy == NULL) return NULL;
  copy_from_guest(copy, from, length);
  copy[length] = '\0';
  return copy;
}
