/* The undo journals that frames ask for, and those of the command line. See journal.h. */
#define _GNU_SOURCE
#include "journal.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_OPEN = 16 };

/* A journal that a connection has open, and where its changes begin. */
struct open_journal {
  struct journal file;
  uint64_t *offsets; /* pairs of number and offset */
  size_t count;
  int is_open;
};
static struct open_journal open_journals[MAX_OPEN];

static struct open_journal *open_of(const struct value *number) {
  return number->number < MAX_OPEN && open_journals[number->number].is_open ? &open_journals[number->number] : NULL;
}

static void forget(struct open_journal *open) {
  journal_close(&open->file);
  free(open->offsets);
  *open = (struct open_journal){.is_open = 0};
}

int32_t operation_journal_open(struct call *call) {
  uint32_t id = 0;
  while (id < MAX_OPEN && open_journals[id].is_open) id++;
  if (id == MAX_OPEN) return -EMFILE;
  struct open_journal *open = &open_journals[id];
  const int error = journal_create(&open->file, call->arg[0].bytes, call->arg[0].size);
  if (error < 0) return error;
  open->is_open = 1;
  put32(call->out, id);
  put_bytes(call->out, open->file.path, strlen(open->file.path));
  return 0;
}

/* What kind of line this is, and the number in it; nothing of the journal's own copy is touched. */
static enum line_kind kind_of(const struct value *line, uint64_t *seq) {
  struct json members, value;
  const char *why;
  int is_undone;
  if (line->size == 0 || line->size > MAX_LINE || line->bytes[line->size - 1] != '\n') return LINE_DAMAGED;
  if (memchr(line->bytes, '\n', line->size - 1) != NULL) return LINE_DAMAGED;
  uint8_t *copy = malloc(line->size);
  if (copy == NULL) return LINE_DAMAGED;
  memcpy(copy, line->bytes, line->size);
  enum line_kind kind = read_line(copy, line->size - 1, &members, &is_undone, &why);
  if (kind == LINE_HEADER || is_undone) kind = LINE_DAMAGED;
  if (kind != LINE_DAMAGED && json_member(members, "seq", &value)) json_count(value, seq);
  free(copy);
  return kind;
}

static uint64_t *offset_of(const struct open_journal *open, uint64_t seq) {
  for (size_t i = 0; i < open->count; i++) {
    if (open->offsets[2 * i] == seq) return &open->offsets[2 * i + 1];
  }
  return NULL;
}

int32_t operation_journal_append(struct call *call) {
  struct open_journal *open = open_of(&call->arg[0]);
  uint64_t seq = 0;
  if (open == NULL) return -EBADF;
  const enum line_kind kind = kind_of(&call->arg[1], &seq);
  if (kind == LINE_DAMAGED || (kind == LINE_RESULT) != (offset_of(open, seq) != NULL)) return -EINVAL;
  if (kind == LINE_CHANGE) {
    uint64_t *offsets = realloc(open->offsets, (open->count + 1) * 2 * sizeof *offsets);
    if (offsets == NULL) return -ENOMEM;
    open->offsets = offsets;
    offsets[2 * open->count] = seq;
    offsets[2 * open->count + 1] = open->file.end;
  }
  const int error = journal_append(&open->file, call->arg[1].bytes, call->arg[1].size);
  if (error == 0 && kind == LINE_CHANGE) open->count++;
  return error;
}

int32_t operation_journal_undone(struct call *call) {
  struct open_journal *open = open_of(&call->arg[0]);
  const uint64_t *offset = open == NULL ? NULL : offset_of(open, call->arg[1].number);
  if (offset == NULL) return -EBADF;
  journal_mark_undone(&open->file, *offset);
  return 0;
}

int32_t operation_journal_end(struct call *call) {
  struct open_journal *open = open_of(&call->arg[0]);
  if (open == NULL) return -EBADF;
  if (call->arg[1].size == 0) {
    journal_remove(&open->file);
  } else {
    char name[128];
    if (call->arg[1].size >= sizeof name) return -EINVAL;
    memcpy(name, call->arg[1].bytes, call->arg[1].size);
    name[call->arg[1].size] = '\0';
    const int error = journal_keep(&open->file, name);
    if (error < 0) return error;
  }
  forget(open);
  return 0;
}

static const char *const STATES[] = {"alive", "locked", "dead", "kept", "earlier boot"};

static int is_journal_name(const char *name) {
  const size_t length = strlen(name);
  return length > 6 && strcmp(name + length - 6, ".jsonl") == 0;
}

/* Path, state or reason, and contents of a file that has the name of a journal. */
static void put_journal(const char *path, struct buffer *out) {
  struct journal journal;
  struct contents contents;
  const char *why;
  const int error = journal_open(&journal, path, 0, &why);
  if (error == -ENOENT) return;
  put_bytes(out, path, strlen(path) + 1);
  if (error < 0) {
    put_words(out, "refused: ");
    put_words(out, why == NULL ? strerror(-error) : why);
    put8(out, 0);
    put32(out, 0);
    return;
  }
  const int is_locked = journal_lock(&journal, 0, 1) < 0;
  if (journal_read(&journal, &contents) == 0) {
    const char *state = STATES[journal_state(&journal, &contents, is_locked)];
    free_contents(&contents);
    put_bytes(out, state, strlen(state) + 1);
  } else {
    put_bytes(out, "refused: too large", 19);
  }
  const size_t at = out->size;
  put32(out, 0);
  for (uint64_t offset = 0; offset < MAX_READ;) {
    uint8_t *to = put_room(out, 65536);
    const ssize_t got = to == NULL ? 0 : pread(journal.fd, to, 65536, (off_t)offset);
    if (got <= 0) break;
    out->size += (size_t)got;
    offset += (uint64_t)got;
  }
  if (!out->failed) set32(out, at, (uint32_t)(out->size - at - 4));
  journal_close(&journal);
}

/* Calls use with each path that has the name of a journal. */
static int for_each_journal(void (*use)(const char *path, struct buffer *out), struct buffer *out) {
  char folder[MAX_PATH], path[MAX_PATH + NAME_MAX + 2];
  const int error = journal_folder(folder, sizeof folder, 0);
  if (error < 0) return error == -ENOENT || error == -ENOTDIR ? 0 : error;
  DIR *names = opendir(folder);
  if (names == NULL) return -errno;
  for (const struct dirent *entry; (entry = readdir(names)) != NULL;) {
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    if (is_journal_name(entry->d_name)) use(path, out);
  }
  closedir(names);
  return 0;
}

int32_t operation_journal_list(struct call *call) { return for_each_journal(put_journal, call->out); }

/* Puts a journal back that no living process has. */
static int32_t restore(const char *path, int with_kept, struct buffer *out) {
  struct journal journal;
  struct contents contents;
  struct stat named, opened;
  const char *why;
  int32_t error = journal_open(&journal, path, 1, &why);
  if (error < 0) return error;
  error = journal_lock(&journal, 1, 200);
  /* Whoever had the lock may have put everything back and removed the file; another one may have its name. */
  if (error == 0 && (lstat(path, &named) < 0 || fstat(journal.fd, &opened) < 0 || named.st_ino != opened.st_ino || named.st_dev != opened.st_dev)) error = -ENOENT;
  if (error == 0) error = journal_read(&journal, &contents);
  if (error < 0) {
    journal_close(&journal);
    return error;
  }
  const enum journal_state state = journal_state(&journal, &contents, 0);
  free_contents(&contents);
  if (state == STATE_ALIVE) error = -EBUSY;
  else if (state == STATE_EARLIER_BOOT) journal_remove(&journal);
  else if (state == STATE_DEAD || with_kept) error = roll_back(&journal, out);
  journal_close(&journal);
  return error;
}

int32_t operation_journal_restore(struct call *call) {
  char folder[MAX_PATH];
  const char *path = (const char *)call->arg[0].bytes;
  const char *slash = strrchr(path, '/');
  const int error = journal_folder(folder, sizeof folder, 0);
  if (error < 0) return error;
  /* A name in the folder of journals and nothing else. */
  if (slash == NULL || strlen(folder) != (size_t)(slash - path) || strncmp(folder, path, strlen(folder)) != 0) return -EPERM;
  return is_journal_name(slash + 1) ? restore(path, 1, call->out) : -EINVAL;
}

void journal_lost(void) {
  for (int id = MAX_OPEN - 1; id >= 0; id--) {
    struct open_journal *open = &open_journals[id];
    if (!open->is_open) continue;
    struct buffer told = {.limit = MAX_READ};
    roll_back(&open->file, &told);
    free(told.bytes);
    forget(open);
  }
}

static int worst;

static void restore_dead(const char *path, struct buffer *out) {
  const int32_t error = restore(path, 0, out);
  if (error == 0 || error == -ENOENT) return;
  fprintf(stderr, "busbar-agent: %s: %s\n", path, strerror(-error));
  worst = 3;
}

int journal_command(int argc, char **argv) {
  struct buffer out = {.limit = MAX_ANSWER};
  if (argc > 1 && strcmp(argv[0], "--root") == 0) {
    options.root = argv[1];
    argc -= 2;
    argv += 2;
  }
  const int begun = path_begin();
  int32_t error = begun;
  if (begun == 0 && argc == 0) {
    error = for_each_journal(restore_dead, &out);
  } else if (begun == 0) {
    for (int i = 0; i < argc && error == 0; i++) error = restore(argv[i], 1, &out);
  }
  if (error < 0) {
    fprintf(stderr, "busbar-agent: restore: %s\n", strerror(-error));
    worst = 3;
  }
  if (out.size > 0) {
    fwrite(out.bytes, 1, out.size, stdout);
    if (memmem(out.bytes, out.size, "\"outcome\":\"failed\"", 18) != NULL || memmem(out.bytes, out.size, "\"outcome\":\"damaged\"", 19) != NULL ||
        memmem(out.bytes, out.size, "\"outcome\":\"changed\"", 19) != NULL) worst = 3;
  }
  free(out.bytes);
  return worst;
}
