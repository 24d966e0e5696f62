/* Files: what the text interfaces of a machine, stat and open say. See agent.h. */
#define _GNU_SOURCE
#include "agent.h"
#include "busbar.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const char *path_in(const struct call *call) { return (const char *)call->arg[0].bytes; }

/* Adds up to size bytes of an open file. Files of the kernel have no length before they are read. */
static int32_t put_contents(int fd, uint64_t offset, uint64_t size, struct buffer *out) {
  if (offset > INT64_MAX) return -EINVAL;
  if (offset > 0 && lseek(fd, (off_t)offset, SEEK_SET) < 0) return -errno;
  while (size > 0) {
    const size_t piece = size < 65536 ? size : 65536;
    uint8_t *to = put_room(out, piece);
    if (to == NULL) return -EMSGSIZE;
    const ssize_t got = read(fd, to, piece);
    if (got < 0) return -errno;
    if (got == 0) break;
    out->size += (size_t)got;
    size -= (uint64_t)got;
  }
  return 0;
}

int file_read(const char *path, uint64_t offset, uint64_t size, struct buffer *out) {
  if (size > MAX_READ) return -EMSGSIZE;
  const int fd = path_open_regular(path, O_RDONLY);
  if (fd < 0) return fd;
  const int result = put_contents(fd, offset, size, out);
  close(fd);
  return result;
}

int32_t operation_read_file(struct call *call) {
  return file_read(path_in(call), call->arg[1].number, call->arg[2].number, call->out);
}

static int is_dots(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

/* A folder to be read entry by entry. NULL sets errno. */
static DIR *open_folder(int fd) {
  DIR *folder = fdopendir(fd);
  if (folder == NULL) {
    const int error = errno;
    close(fd);
    errno = error;
  }
  return folder;
}

int32_t operation_list(struct call *call) {
  const int fd = path_open(path_in(call), O_RDONLY | O_DIRECTORY);
  if (fd < 0) return fd;
  DIR *folder = open_folder(fd);
  if (folder == NULL) return -errno;
  errno = 0;
  for (const struct dirent *entry; (entry = readdir(folder)) != NULL; errno = 0) {
    if (!is_dots(entry->d_name)) put_bytes(call->out, entry->d_name, strlen(entry->d_name) + 1);
  }
  const int error = errno;
  closedir(folder);
  return -error;
}

static int32_t put_link(int folder, const char *name, struct buffer *out) {
  char target[MAX_PATH];
  const ssize_t length = readlinkat(folder, name, target, sizeof target);
  if (length < 0) return -errno;
  put_bytes(out, target, (size_t)length);
  return 0;
}

int link_read(const char *path, struct buffer *out) {
  const int fd = path_open(path, O_PATH | O_NOFOLLOW);
  if (fd < 0) return fd;
  struct stat info;
  int result = fstat(fd, &info) < 0 ? -errno : 0;
  if (result == 0) result = S_ISLNK(info.st_mode) ? put_link(fd, "", out) : -EINVAL;
  close(fd);
  return result;
}

int32_t operation_read_link(struct call *call) { return link_read(path_in(call), call->out); }

int32_t operation_real_path(struct call *call) {
  const int fd = path_open(path_in(call), O_PATH);
  if (fd < 0) return fd;
  char path[2 * MAX_PATH];
  const int length = path_of(fd, path, sizeof path);
  close(fd);
  if (length < 0) return length;
  put_bytes(call->out, path, (size_t)length);
  return 0;
}

/* What may be asked for outside /sys, /proc and /dev, and only whether it is there: signs of a container, libraries. */
static int is_askable(const char *path) {
  static const char *const PATHS[] = {
      "/.dockerenv",
      "/run/.containerenv",
      "/usr/lib/wsl/lib/libcuda.so.1",
      "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
      "/usr/lib/aarch64-linux-gnu/libcuda.so.1",
      "/usr/lib64/libcuda.so.1",
      "/usr/lib/libcuda.so.1",
      "/usr/local/nvidia/lib64/libcuda.so.1",
  };
  if (strcmp(options.root, "/") != 0) return 0;
  for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++) {
    if (strcmp(path, PATHS[i]) == 0) return 1;
  }
  return 0;
}

static int32_t status_of(const char *path, struct stat *info) {
  if (is_askable(path)) return stat(path, info) < 0 ? -errno : 0;
  const int fd = path_open(path, O_PATH);
  if (fd < 0) return fd;
  const int32_t result = fstat(fd, info) < 0 ? -errno : 0;
  close(fd);
  return result;
}

int32_t operation_file_size(struct call *call) {
  struct stat info;
  const int32_t result = status_of(path_in(call), &info);
  if (result == 0) put64(call->out, (uint64_t)info.st_size);
  return result;
}

int32_t operation_status(struct call *call) {
  struct stat info;
  const int32_t result = status_of(path_in(call), &info);
  if (result < 0) return result;
  put64(call->out, (uint64_t)info.st_size);
  const uint32_t words[] = {info.st_mode,          info.st_uid,           info.st_gid,          major(info.st_dev),
                            minor(info.st_dev), major(info.st_rdev), minor(info.st_rdev)};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) put32(call->out, words[i]);
  return 0;
}

int32_t operation_try_open(struct call *call) {
  const int writable = call->arg[1].number != 0;
  const int found = path_open(path_in(call), O_PATH);
  if (found < 0) return found;
  int32_t result;
  if (writable && !may(RIGHT_WRITE)) {
    /* A file that is opened for writing may notice it. */
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", found);
    result = faccessat(AT_FDCWD, link, R_OK | W_OK, AT_EACCESS) < 0 ? -errno : 0;
  } else {
    result = path_reopen(found, writable ? O_RDWR : O_RDONLY);
    if (result >= 0) {
      close(result);
      result = 0;
    }
  }
  close(found);
  return result;
}

int32_t operation_is_dax(struct call *call) {
  const int fd = path_open(path_in(call), O_PATH);
  if (fd < 0) return fd;
  char link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const int32_t result = bb_file_is_dax(link);
  close(fd);
  return result;
}

int file_write(const char *path, int flags, uint64_t offset, const uint8_t *bytes, size_t size) {
  if (offset > INT64_MAX) return -EINVAL;
  const int fd = path_open_regular(path, O_WRONLY | flags);
  if (fd < 0) return fd;
  /* One call: a file of the kernel takes a value whole or not at all. */
  const ssize_t count = offset == 0 ? write(fd, bytes, size) : pwrite(fd, bytes, size, (off_t)offset);
  const int result = count < 0 ? -errno : (size_t)count == size ? 0 : -EIO;
  close(fd);
  return result;
}

int32_t operation_write_text(struct call *call) {
  return file_write(path_in(call), O_TRUNC, 0, call->arg[1].bytes, call->arg[1].size);
}

int32_t operation_write_bytes(struct call *call) {
  return file_write(path_in(call), 0, call->arg[1].number, call->arg[2].bytes, call->arg[2].size);
}

int folder_make(const char *path) {
  const char *name;
  const int folder = path_parent(path, &name);
  if (folder < 0) return folder;
  const int result = mkdirat(folder, name, 0777) < 0 ? -errno : 0;
  close(folder);
  return result;
}

int folder_remove(const char *path) {
  const char *name;
  const int folder = path_parent(path, &name);
  if (folder < 0) return folder;
  /* rmdir of a cgroup works although files are in it; those go with it. */
  const int result = unlinkat(folder, name, AT_REMOVEDIR) < 0 ? -errno : 0;
  close(folder);
  return result;
}

int32_t operation_make_folder(struct call *call) { return folder_make(path_in(call)); }
int32_t operation_remove_folder(struct call *call) { return folder_remove(path_in(call)); }
