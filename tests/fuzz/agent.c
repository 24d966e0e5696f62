/*
 * libFuzzer target: any bytes as a frame for an agent that looks at a folder of its own. Nothing may crash. Where it may
 * only read, nothing in the folder or beside it may change; where it may write, nothing beside it.
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
static char folder[64];
static char names[FILES][96];
static struct stat before[FILES];

static const struct {
  const char *name, *text;
  size_t size;
} FILE_TABLE[FILES] = {{"secret", "secret\n", 7}, {"sys/f", "one\n", 4}, {"sys/d/resource0", "registers", 8192}};

static void put(unsigned i, int how) {
  const char *text = FILE_TABLE[i].text;
  snprintf(names[i], sizeof names[i], "%s/%s", folder, FILE_TABLE[i].name);
  const int fd = open(names[i], O_WRONLY | how, 0600);
  if (fd < 0 || write(fd, text, strlen(text)) < 0 || ftruncate(fd, (off_t)FILE_TABLE[i].size) < 0) abort();
  if (fstat(fd, &before[i]) < 0 || close(fd) < 0) abort();
}

static void make_folder(const char *name) {
  char path[96];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (mkdir(path, 0700) < 0) abort();
}

static void remove_all(void) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf -- %s", folder);
  if (system(command) != 0) perror(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  /* In memory: each line of a journal waits for its disk. */
  snprintf(folder, sizeof folder, "%s/busbar-agent-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  if (mkdtemp(folder) == NULL) abort();
  make_folder("sys");
  make_folder("sys/d");
  make_folder("dev");
  for (unsigned i = 0; i < FILES; i++) put(i, O_CREAT | O_EXCL);
  char link[96];
  snprintf(link, sizeof link, "%s/sys/up", folder);
  if (symlink("../secret", link) < 0) abort();
  atexit(remove_all);
  options.root = folder;
  char journals[96];
  snprintf(journals, sizeof journals, "%s/journals", folder);
  setenv("BUSBAR_JOURNAL_DIR", journals, 1);
  return path_begin();
}

/* Of the files from the first on; the first one lies where no path leads. */
static void check_unchanged(unsigned count) {
  for (unsigned i = 0; i < count; i++) {
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
  /* Both ways to resolve paths; one frame in eight may write. */
  options.step_by_step = size > 0 && (data[size - 1] & 1);
  const int writes = size > 0 && (data[size - 1] & 0xe) == 0xe;
  options.rights = 1u << RIGHT_READ | (writes ? 1u << RIGHT_WRITE : 0);
  answer(data, size, &out);
  /* What was outside must not be in an answer. */
  if (out.size > 0 && memmem(out.bytes, out.size, "secret\n", 7) != NULL) abort();
  handle_close_all();
  if (writes) {
    journal_lost();
    check_unchanged(1);
    /* What was written is not there for the next frame. */
    for (unsigned i = 1; i < FILES; i++) put(i, O_TRUNC);
  } else if (++count % 16 == 0) {
    check_unchanged(FILES);
  }
  return 0;
}
