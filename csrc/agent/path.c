/*
 * Paths. Each begins with /sys, /proc or /dev, and is resolved from that folder on: `..` and links may lead anywhere inside
 * it and nowhere else, and links that the kernel makes up (/proc/1/root) lead nowhere. openat2 does that, where there is
 * one; else each name is opened by itself, and links are read and followed here.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437 /* the same number on every machine, as all since Linux 5.1 */
#endif

/* linux/openat2.h, which older systems lack. */
struct open_how_5_6 {
  uint64_t flags, mode, resolve;
};
enum { RESOLVE_NO_MAGIC = 0x02, RESOLVE_BELOW = 0x08 };

enum { MAX_LINKS = 40, MAX_DEPTH = 128 };

static const char *const ROOTS[] = {"sys", "proc", "dev"};
static int root_fds[3] = {-1, -1, -1};
static char root_path[MAX_PATH];

int path_begin(void) {
  if (realpath(options.root, root_path) == NULL) return -errno;
  if (strcmp(root_path, "/") == 0) root_path[0] = '\0';
  const int root = open(options.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return -errno;
  for (unsigned i = 0; i < 3; i++) root_fds[i] = openat(root, ROOTS[i], O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  close(root);
  return 0;
}

/* The folder that a path begins with, and what comes behind it. */
static int split(const char *path, const char **rest) {
  while (path[0] == '/' && path[1] == '/') path++;
  for (unsigned i = 0; i < 3; i++) {
    const size_t length = strlen(ROOTS[i]);
    if (path[0] != '/' || strncmp(path + 1, ROOTS[i], length) != 0) continue;
    if (path[1 + length] != '\0' && path[1 + length] != '/') continue;
    *rest = path + 1 + length;
    while (**rest == '/') ++*rest;
    if (**rest == '\0') *rest = ".";
    return root_fds[i] < 0 ? -ENOENT : root_fds[i];
  }
  return path[0] == '/' ? -EPERM : -EINVAL;
}

/* The folders on the way down, so that .. goes back to where we came from and never above the first. */
struct walk {
  int folders[MAX_DEPTH];
  unsigned depth;
  char rest[2 * MAX_PATH];
};

static int step_back(struct walk *walk) {
  if (walk->depth <= 1) return -EXDEV;
  close(walk->folders[--walk->depth]);
  return 0;
}

/* Puts what a link holds in front of what is left. */
static int follow(struct walk *walk, int link_fd, const char *slash, const char *left) {
  char target[MAX_PATH];
  const ssize_t length = readlinkat(link_fd, "", target, sizeof target - 1);
  if (length < 0) return -errno;
  if (length == 0) return -ENOENT;
  target[length] = '\0';
  if (target[0] == '/') return -EXDEV;
  char whole[2 * MAX_PATH];
  const int size = snprintf(whole, sizeof whole, "%s%s%s", target, slash, left);
  if (size < 0 || (size_t)size >= sizeof whole) return -ENAMETOOLONG;
  memcpy(walk->rest, whole, (size_t)size + 1);
  return 0;
}

static int open_here(const struct walk *walk, int flags) {
  const int fd = openat(walk->folders[walk->depth - 1], ".", flags | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

static int walk_on(struct walk *walk, int flags) {
  char *left = walk->rest;
  for (unsigned links = 0;;) {
    while (*left == '/') left++;
    char *end = strchrnul(left, '/');
    const int has_slash = *end == '/';
    char *after = end;
    while (*after == '/') after++;
    const int is_last = *after == '\0';
    if (*end != '\0') *end = '\0';
    const int here = walk->folders[walk->depth - 1];
    if (*left == '\0' || strcmp(left, ".") == 0) {
      if (is_last) return open_here(walk, flags);
      left = after;
      continue;
    }
    if (strcmp(left, "..") == 0) {
      const int error = step_back(walk);
      if (error < 0) return error;
      if (is_last) return open_here(walk, flags);
      left = after;
      continue;
    }
    const int fd = openat(here, left, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return -errno;
    struct stat info;
    int error = fstat(fd, &info) < 0 ? -errno : 0;
    if (error == 0 && S_ISLNK(info.st_mode) && !(is_last && !has_slash && (flags & O_NOFOLLOW))) {
      error = ++links > MAX_LINKS ? -ELOOP : 0;
      char kept[2 * MAX_PATH];
      memcpy(kept, after, strlen(after) + 1);
      if (error == 0) error = follow(walk, fd, has_slash ? "/" : "", kept);
      close(fd);
      if (error < 0) return error;
      left = walk->rest;
      continue;
    }
    if (error < 0) {
      close(fd);
      return error;
    }
    if (is_last && !(has_slash && !S_ISDIR(info.st_mode))) {
      if (flags & O_PATH) return fd;
      close(fd);
      const int opened = openat(here, left, flags | O_NOFOLLOW | O_CLOEXEC);
      return opened < 0 ? -errno : opened;
    }
    if (!S_ISDIR(info.st_mode)) error = -ENOTDIR;
    else if (walk->depth == MAX_DEPTH) error = -ENAMETOOLONG;
    if (error < 0) {
      close(fd);
      return error;
    }
    walk->folders[walk->depth++] = fd;
    left = after;
  }
}

static int open_step_by_step(int root, const char *rest, int flags) {
  struct walk *walk = malloc(sizeof *walk);
  if (walk == NULL) return -ENOMEM;
  walk->folders[0] = root;
  walk->depth = 1;
  memcpy(walk->rest, rest, strlen(rest) + 1);
  const int result = walk_on(walk, flags);
  while (walk->depth > 1) close(walk->folders[--walk->depth]);
  free(walk);
  return result;
}

int path_open(const char *path, int flags) {
  const char *rest;
  const int root = split(path, &rest);
  if (root < 0) return root;
  int result = -ENOSYS;
  if (!options.step_by_step) {
    const struct open_how_5_6 how = {(uint64_t)(unsigned)(flags | O_CLOEXEC), 0, RESOLVE_NO_MAGIC | RESOLVE_BELOW};
    for (unsigned tries = 0; tries < 100; tries++) {
      const long fd = syscall(SYS_openat2, root, rest, &how, sizeof how);
      result = fd < 0 ? -errno : (int)fd;
      /* A rename elsewhere in the tree while .. was resolved: the kernel wants to be asked again. */
      if (result != -EAGAIN) break;
    }
    if (result == -ENOSYS) options.step_by_step = 1;
  }
  if (result == -ENOSYS) result = open_step_by_step(root, rest, flags);
  return result == -EXDEV ? -EPERM : result;
}

int path_parent(const char *path, const char **name) {
  const char *slash = strrchr(path, '/');
  if (slash == NULL || slash == path) return -EPERM;
  *name = slash + 1;
  if (**name == '\0' || strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0) return -EINVAL;
  char folder[MAX_PATH];
  memcpy(folder, path, (size_t)(slash - path));
  folder[slash - path] = '\0';
  return path_open(folder, O_PATH | O_DIRECTORY);
}

int path_reopen(int fd, int flags) {
  char link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const int opened = open(link, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  return opened < 0 ? -errno : opened;
}

int path_open_regular(const char *path, int flags) {
  const int found = path_open(path, O_PATH);
  if (found < 0) return found;
  struct stat info;
  int result = fstat(found, &info) < 0 ? -errno : 0;
  if (result == 0 && S_ISDIR(info.st_mode)) result = -EISDIR;
  else if (result == 0 && !S_ISREG(info.st_mode)) result = -EPERM;
  if (result == 0) result = path_reopen(found, flags);
  close(found);
  return result;
}

int path_of(int fd, char *to, size_t room) {
  char link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, to, room - 1);
  if (length < 0) return -errno;
  to[length] = '\0';
  const size_t skipped = strlen(root_path);
  if ((size_t)length < skipped || memcmp(to, root_path, skipped) != 0) return -EIO;
  memmove(to, to + skipped, (size_t)length - skipped + 1);
  return (int)((size_t)length - skipped);
}
