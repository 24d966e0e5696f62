/* A folder with what lies below it, in one answer. src/core/host_tree.ts walks the same way. */
#define _GNU_SOURCE
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TREE_DEPTH = 16, MAX_ENTRIES = 500000 };

enum kind { KIND_FOLDER = 'd', KIND_LINK = 'l', KIND_FILE = 'f' };

struct tree {
  struct buffer *out;
  const struct value *names; /* each with a zero byte behind it */
  int all_files, follow_links;
  uint32_t entries;
  char path[2 * MAX_PATH];
};

static int is_absent(int error) {
  return error == -ENOENT || error == -ENOTDIR || error == -ENXIO || error == -ENODEV || error == -ESRCH;
}

/* The head of a record; its status and length are put in when they are known. */
static size_t begin_record(struct tree *tree, enum kind kind) {
  put8(tree->out, (uint8_t)kind);
  const size_t at = tree->out->size;
  put32(tree->out, 0);
  put32(tree->out, 0);
  const uint16_t length = (uint16_t)strlen(tree->path);
  put16(tree->out, length);
  put_bytes(tree->out, tree->path, length);
  return at;
}

static void end_record(struct tree *tree, size_t at, int32_t status, size_t start) {
  struct buffer *out = tree->out;
  if (out->failed) return;
  if (status < 0) out->size = start;
  set32(out, at, (uint32_t)wire_error(status));
  set32(out, at + 4, (uint32_t)(out->size - start));
}

static int is_wanted(const struct tree *tree, const char *name) {
  if (tree->all_files) return 1;
  const char *at = (const char *)tree->names->bytes;
  const char *end = at + tree->names->size;
  const size_t length = strlen(name);
  while (at < end) {
    const char *zero = memchr(at, 0, (size_t)(end - at));
    const size_t size = (size_t)((zero == NULL ? end : zero) - at);
    if (size == length && memcmp(at, name, length) == 0) return 1;
    at += size + 1;
  }
  return 0;
}

static void put_link_record(struct tree *tree, int folder, const char *name) {
  const size_t at = begin_record(tree, KIND_LINK), start = tree->out->size;
  char target[MAX_PATH];
  const ssize_t length = readlinkat(folder, name, target, sizeof target);
  const int32_t status = length < 0 ? -errno : 0;
  if (length > 0) put_bytes(tree->out, target, (size_t)length);
  end_record(tree, at, status, start);
}

static int32_t put_file(struct buffer *out, int folder, const char *name) {
  struct stat info;
  if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
  if (!S_ISREG(info.st_mode)) return -EPERM;
  const int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int32_t status = 0;
  for (size_t done = 0; done < MAX_READ;) {
    uint8_t *to = put_room(out, 65536);
    if (to == NULL) break;
    const ssize_t got = read(fd, to, 65536);
    if (got < 0) status = -errno;
    if (got <= 0) break;
    out->size += (size_t)got;
    done += (size_t)got;
  }
  close(fd);
  return status;
}

static void put_file_record(struct tree *tree, int folder, const char *name) {
  const size_t at = begin_record(tree, KIND_FILE), start = tree->out->size;
  end_record(tree, at, put_file(tree->out, folder, name), start);
}

static int32_t walk(struct tree *tree, int fd, uint32_t left, int is_root);

/* A folder, or a link that may lead to one. */
static void descend(struct tree *tree, int parent, const char *name, uint32_t left, int is_link) {
  const int fd = is_link ? path_open(tree->path, O_RDONLY | O_DIRECTORY)
                         : openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  const int32_t error = fd < 0 ? (is_link ? fd : -errno) : walk(tree, fd, left, 0);
  if (error == 0 || (is_link && is_absent(error))) return;
  const size_t at = begin_record(tree, KIND_FOLDER);
  end_record(tree, at, error, tree->out->size);
}

static int kind_of(int folder, const struct dirent *entry) {
  if (entry->d_type != DT_UNKNOWN) return entry->d_type;
  struct stat info;
  if (fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0) return DT_UNKNOWN;
  return S_ISDIR(info.st_mode) ? DT_DIR : S_ISLNK(info.st_mode) ? DT_LNK : DT_REG;
}

/* Reads a folder twice: its names first, then what is in it. Closes fd. */
static int32_t walk(struct tree *tree, int fd, uint32_t left, int is_root) {
  DIR *folder = fdopendir(fd);
  if (folder == NULL) {
    const int error = -errno;
    close(fd);
    return error;
  }
  const size_t length = strlen(tree->path);
  const size_t at = begin_record(tree, KIND_FOLDER), start = tree->out->size;
  errno = 0;
  for (const struct dirent *entry; (entry = readdir(folder)) != NULL; errno = 0) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    put_bytes(tree->out, entry->d_name, strlen(entry->d_name) + 1);
    if (++tree->entries > MAX_ENTRIES) tree->out->failed = 1;
  }
  int32_t error = -errno;
  end_record(tree, at, error, start);
  rewinddir(folder);
  for (const struct dirent *entry; error == 0 && !tree->out->failed && (entry = readdir(folder)) != NULL;) {
    const char *name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    const int written = snprintf(tree->path + length, sizeof tree->path - length, "/%s", name);
    if (written < 0 || (size_t)written >= sizeof tree->path - length) continue; /* longer than any path can be */
    const int kind = kind_of(dirfd(folder), entry);
    if (kind == DT_LNK) put_link_record(tree, dirfd(folder), name);
    if (kind == DT_DIR && left > 0) descend(tree, dirfd(folder), name, left - 1, 0);
    else if (kind == DT_LNK && left > 0 && is_root && tree->follow_links) descend(tree, dirfd(folder), name, left - 1, 1);
    else if (kind != DT_DIR && kind != DT_LNK && is_wanted(tree, name)) put_file_record(tree, dirfd(folder), name);
    tree->path[length] = '\0';
  }
  closedir(folder);
  return error;
}

int32_t operation_read_tree(struct call *call) {
  const uint64_t depth = call->arg[1].number;
  if (depth > MAX_TREE_DEPTH) return -ERANGE;
  struct tree tree = {.out = call->out,
                      .names = &call->arg[4],
                      .all_files = call->arg[3].number != 0,
                      .follow_links = call->arg[2].number != 0};
  const char *path = (const char *)call->arg[0].bytes;
  const int fd = path_open(path, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return fd;
  snprintf(tree.path, sizeof tree.path, "%s", path);
  return walk(&tree, fd, (uint32_t)depth, 1);
}
