/* Unix sockets of a device: made in a folder that is the user's alone, one guest each, gone when the device ends. */
#define _GNU_SOURCE
#include "socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int refuse(char *why, uint32_t why_size, int result, const char *words) {
  snprintf(why, why_size, "%s", words);
  return result;
}

/* Who may enter the folder may connect: it must be the user's, and nobody else's. */
static int check_folder(const char *path, char *why, uint32_t why_size) {
  char folder[sizeof((struct sockaddr_un *)0)->sun_path];
  const char *slash = strrchr(path, '/');
  if (slash == NULL) snprintf(folder, sizeof folder, ".");
  else snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
  struct stat info;
  if (mkdir(folder, 0700) != 0 && errno != EEXIST) return -errno;
  if (stat(folder, &info) != 0) return -errno;
  if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
    return refuse(why, why_size, -EACCES, "the folder of a socket must be this user's alone, with mode 0700");
  }
  return 0;
}

/* Whether somebody listens there. */
static bool is_served(int fd, const struct sockaddr_un *address) {
  return connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN;
}

int socket_open(struct endpoint *endpoint, const char *path, char *why, uint32_t why_size) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  endpoint->fd = -1;
  if (strlen(path) >= sizeof address.sun_path) {
    return refuse(why, why_size, -ENAMETOOLONG, "the path of a socket has at most 107 bytes");
  }
  strcpy(address.sun_path, path);
  strcpy(endpoint->path, path);
  int failed = check_folder(path, why, why_size);
  if (failed != 0) return failed;
  struct stat info;
  if (lstat(path, &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) return refuse(why, why_size, -EEXIST, "something is there that is no socket");
    const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const bool is_taken = probe >= 0 && is_served(probe, &address);
    if (probe >= 0) close(probe);
    if (is_taken) return refuse(why, why_size, -EBUSY, "another server has this socket");
    /* A server that was killed left it. */
    if (unlink(path) != 0) return -errno;
  }
  endpoint->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (endpoint->fd < 0) return -errno;
  if (bind(endpoint->fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(endpoint->fd, 1) != 0 ||
      lstat(path, &info) != 0) {
    failed = -errno;
    close(endpoint->fd);
    endpoint->fd = -1;
    return failed;
  }
  endpoint->inode = info.st_ino;
  return 0;
}

void socket_close(struct endpoint *endpoint) {
  struct stat info;
  if (endpoint->fd < 0) return;
  close(endpoint->fd);
  endpoint->fd = -1;
  /* Only while the name is still this socket's. */
  if (lstat(endpoint->path, &info) == 0 && S_ISSOCK(info.st_mode) && info.st_ino == endpoint->inode) unlink(endpoint->path);
}

int socket_accept(const struct endpoint *endpoint, int timeout_ms) {
  struct pollfd one = {.fd = endpoint->fd, .events = POLLIN};
  if (poll(&one, 1, timeout_ms) <= 0) return -1;
  return accept4(endpoint->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

bool socket_send(int fd, const void *bytes, size_t size, int descriptor) {
  const uint8_t *at = bytes;
  while (size > 0) {
    struct iovec part = {.iov_base = (void *)(uintptr_t)at, .iov_len = size};
    union {
      struct cmsghdr header;
      char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (descriptor >= 0) {
      message.msg_control = control.room;
      message.msg_controllen = sizeof control.room;
      struct cmsghdr *header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    }
    const ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (sent > 0) {
      at += sent;
      size -= (size_t)sent;
      descriptor = -1;
      continue;
    }
    if (errno == EINTR) continue;
    struct pollfd one = {.fd = fd, .events = POLLOUT};
    /* A peer that reads nothing for a second is none. */
    if (errno != EAGAIN || poll(&one, 1, 1000) <= 0) return false;
  }
  return true;
}

ssize_t socket_receive(int fd, void *bytes, size_t size) {
  struct iovec part = {.iov_base = bytes, .iov_len = size};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(16 * sizeof(int))];
  } control;
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
  const ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  for (struct cmsghdr *one = got < 0 ? NULL : CMSG_FIRSTHDR(&message); one != NULL; one = CMSG_NXTHDR(&message, one)) {
    if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (one->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int descriptor;
      memcpy(&descriptor, CMSG_DATA(one) + i * sizeof descriptor, sizeof descriptor);
      close(descriptor);
    }
  }
  return got;
}
