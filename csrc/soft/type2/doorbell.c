/*
 * The ivshmem server protocol: gives a guest's QEMU the shared file and two eventfds, by which the guest wakes the device and the
 * device could interrupt the guest. A message is an int64, little-endian, perhaps with a descriptor.
 *
 * Source: QEMU, docs/specs/ivshmem-spec.rst, "Client-Server protocol".
 */
#define _GNU_SOURCE
#include "device.h"
#include "socket.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PROTOCOL = 0, GUEST_ID = 1, DEVICE_ID = DOORBELL_VALUE >> 16, MEMORY_FOLLOWS = -1, SLICE_MS = 50 };

struct doorbell {
  struct endpoint endpoint;
  pthread_t server;
  bool has_server;
  int memory, bell, guest_bell; /* the file, which is not ours to close, and eventfds; -1: none */
};

static bool say(int fd, int64_t number, int descriptor) { return socket_send(fd, &number, sizeof number, descriptor); }

static bool introduce(const struct type2 *device, int fd) {
  const struct doorbell *doorbell = device->doorbell;
  return say(fd, PROTOCOL, -1) && say(fd, GUEST_ID, -1) && say(fd, MEMORY_FOLLOWS, doorbell->memory) &&
         say(fd, DEVICE_ID, doorbell->bell) && say(fd, GUEST_ID, doorbell->guest_bell);
}

/* Until the guest leaves: it has nothing to say. Others are turned away meanwhile, for the file has one guest. */
static void accompany(const struct type2 *device, int fd) {
  uint8_t byte;
  while (!atomic_load_explicit(&device->is_ending, memory_order_relaxed)) {
    struct pollfd places[2] = {{.fd = fd, .events = POLLIN}, {.fd = device->doorbell->endpoint.fd, .events = POLLIN}};
    if (poll(places, 2, SLICE_MS) <= 0) continue;
    if (places[0].revents != 0 && socket_receive(fd, &byte, 1) <= 0 && errno != EAGAIN && errno != EINTR) return;
    if (places[1].revents != 0) {
      const int second = socket_accept(&device->doorbell->endpoint, 0);
      if (second >= 0) close(second);
    }
  }
}

static void *serve(void *argument) {
  struct type2 *device = argument;
  while (!atomic_load_explicit(&device->is_ending, memory_order_relaxed)) {
    const int fd = socket_accept(&device->doorbell->endpoint, SLICE_MS);
    if (fd < 0) continue;
    if (introduce(device, fd)) accompany(device, fd);
    close(fd);
  }
  return NULL;
}

int doorbell_start(struct type2 *device, const char *path, int memory, char *why, uint32_t why_size) {
  struct doorbell *doorbell = calloc(1, sizeof *doorbell);
  if (doorbell == NULL) return -ENOMEM;
  device->doorbell = doorbell;
  doorbell->endpoint.fd = -1;
  doorbell->memory = memory;
  doorbell->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  doorbell->guest_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (doorbell->bell < 0 || doorbell->guest_bell < 0) return -errno;
  const int failed = socket_open(&doorbell->endpoint, path, why, why_size);
  if (failed != 0) return failed;
  if (pthread_create(&doorbell->server, NULL, serve, device) != 0) return -EAGAIN;
  doorbell->has_server = true;
  return 0;
}

void doorbell_wait(const struct type2 *device, uint32_t limit_ms) {
  uint64_t rung;
  struct pollfd one = {.fd = device->doorbell->bell, .events = POLLIN};
  if (poll(&one, 1, (int)limit_ms) > 0 && read(one.fd, &rung, sizeof rung) < 0) rest_for(1000);
}

void doorbell_close(struct type2 *device) {
  struct doorbell *doorbell = device->doorbell;
  if (doorbell == NULL) return;
  atomic_store_explicit(&device->is_ending, true, memory_order_relaxed);
  if (doorbell->has_server) pthread_join(doorbell->server, NULL);
  socket_close(&doorbell->endpoint);
  if (doorbell->bell >= 0) close(doorbell->bell);
  if (doorbell->guest_bell >= 0) close(doorbell->guest_bell);
  free(doorbell);
  device->doorbell = NULL;
}
