/*
 * libFuzzer target: any bytes as a frame for an agent that may only read. It looks at a folder of its own; nothing may
 * crash, and nothing in the folder or beside it may change.
 */
#define _GNU_SOURCE
#include "agent.h"
#include "handles.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 3 };
static char folder[] = "/tmp/busbar-agent-fuzz-XXXXXX";
static char names[FILES][64];
static struct stat before[FILES];

static void put(unsigned i, const char *name, const char *text, size_t size) {
  snprintf(names[i], sizeof names[i], "%s/%s", folder, name);
  const int fd = open(names[i], O_CREAT | O_WRONLY | O_EXCL, 0600);
  if (fd < 0 || write(fd, text, strlen(text)) < 0 || ftruncate(fd, (off_t)size) < 0 || close(fd) < 0) abort();
}

static void make_folder(const char *name) {
  char path[64];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (mkdir(path, 0700) < 0) abort();
}

static void remove_all(void) {
  char command[96];
  snprintf(command, sizeof command, "rm -rf -- %s", folder);
  if (system(command) != 0) perror(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  if (mkdtemp(folder) == NULL) abort();
  make_folder("sys");
  make_folder("sys/d");
  make_folder("dev");
  put(0, "secret", "secret\n", 7);
  put(1, "sys/f", "one\n", 4);
  put(2, "sys/d/resource0", "registers", 8192);
  char link[64];
  snprintf(link, sizeof link, "%s/sys/up", folder);
  if (symlink("../secret", link) < 0) abort();
  for (unsigned i = 0; i < FILES; i++) {
    if (stat(names[i], &before[i]) < 0) abort();
  }
  atexit(remove_all);
  options.root = folder;
  return path_begin();
}

static void check_unchanged(void) {
  for (unsigned i = 0; i < FILES; i++) {
    struct stat now;
    if (stat(names[i], &now) < 0 || now.st_size != before[i].st_size) abort();
    if (now.st_mtim.tv_sec != before[i].st_mtim.tv_sec || now.st_mtim.tv_nsec != before[i].st_mtim.tv_nsec) abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct buffer out = {.limit = MAX_ANSWER};
  static unsigned count;
  out.size = 0;
  out.failed = 0;
  /* Both ways to resolve paths. */
  options.step_by_step = size > 0 && (data[size - 1] & 1);
  answer(data, size, &out);
  /* What was outside must not be in an answer. */
  if (out.size > 0 && memmem(out.bytes, out.size, "secret\n", 7) != NULL) abort();
  handle_close_all();
  if (++count % 16 == 0) check_unchanged();
  return 0;
}
