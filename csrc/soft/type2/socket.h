/* Unix sockets of a device. */
#ifndef BUSBAR_TYPE2_SOCKET_H
#define BUSBAR_TYPE2_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A socket that is listened at. */
struct endpoint {
  int fd; /* -1: none */
  ino_t inode;
  char path[108];
};

/* Listens. A socket that a killed server left is taken over. 0 or -errno, then perhaps with a sentence in why. */
int socket_open(struct endpoint *endpoint, const char *path, char *why, uint32_t why_size);
/* Takes the socket away. */
void socket_close(struct endpoint *endpoint);
/* A peer's descriptor, which does not block, or -1 when none came in time. */
int socket_accept(const struct endpoint *endpoint, int timeout_ms);
/* Sends all, with a descriptor unless it is -1. */
bool socket_send(int fd, const void *bytes, size_t size, int descriptor);
/* As recv, and closes descriptors that come along: a device that does no DMA has no use for them. */
ssize_t socket_receive(int fd, void *bytes, size_t size);

#endif
