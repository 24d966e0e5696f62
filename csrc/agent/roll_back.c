/* Putting back what a journal lists. See journal.h. */
#define _GNU_SOURCE
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_absent(int error) { return error == -ENOENT || error == -ENOTDIR || error == -ENODEV || error == -ENXIO || error == -ESRCH; }

static int same(const struct text *one, const struct text *other) {
  if (one->bytes == NULL || other->bytes == NULL) return one->bytes == other->bytes;
  return one->size == other->size && memcmp(one->bytes, other->bytes, one->size) == 0;
}

static int text_of(const char *words, size_t size, struct text *to) {
  to->bytes = malloc(size + 1);
  if (to->bytes == NULL) return -ENOMEM;
  memcpy(to->bytes, words, size);
  to->bytes[size] = '\0';
  to->size = size;
  return 0;
}

static int member_text(struct json object, const char *name, struct text *to) {
  struct json value;
  *to = (struct text){NULL, 0};
  return json_member(object, name, &value) ? json_text(value, to) : -EINVAL;
}

static uint64_t member_count(struct json object, const char *name) {
  struct json value;
  uint64_t number = 0;
  return json_member(object, name, &value) && json_count(value, &number) ? number : 0;
}

static int member_is(struct json object, const char *name, const char *text) {
  struct json value;
  return json_member(object, name, &value) && json_equals(value, text);
}

/* A path of the journal: whole, as the kernel takes it. */
static int member_path(struct json object, struct text *path) {
  const int error = member_text(object, "path", path);
  if (error < 0) return error;
  if (path->bytes == NULL || strlen((char *)path->bytes) != path->size) return -EINVAL;
  return path->size >= MAX_PATH ? -ENAMETOOLONG : 0;
}

static int read_text(const char *path, struct text *state) {
  struct buffer bytes = {.limit = MAX_READ};
  int error = file_read(path, 0, MAX_READ, &bytes);
  if (error == 0) {
    const size_t size = bytes.size > 0 && bytes.bytes[bytes.size - 1] == '\n' ? bytes.size - 1 : bytes.size;
    error = text_of(size == 0 ? "" : (char *)bytes.bytes, size, state);
  }
  free(bytes.bytes);
  return error;
}

static int read_link_name(const char *path, struct text *state) {
  struct buffer target = {.limit = MAX_PATH};
  int error = link_read(path, &target);
  if (error == 0) {
    const char *bytes = target.size == 0 ? "" : (char *)target.bytes;
    const char *slash = memrchr(bytes, '/', target.size);
    const char *name = slash == NULL ? bytes : slash + 1;
    error = text_of(name, target.size - (size_t)(name - bytes), state);
  }
  free(target.bytes);
  return is_absent(error) ? 0 : error;
}

/* The bytes that a probe names, and its mask. */
static int read_masked(struct json probe, const char *path, struct buffer *bytes, struct text *mask) {
  struct json value;
  *mask = (struct text){NULL, 0};
  if (!json_member(probe, "mask", &value)) return -EINVAL;
  int error = json_hex(value, mask);
  if (error == 0) error = file_read(path, member_count(probe, "offset"), mask->size, bytes);
  return error == 0 && bytes->size < mask->size ? -EIO : error;
}

static int read_bytes(struct json probe, const char *path, struct text *state) {
  struct buffer bytes = {.limit = MAX_READ};
  struct text mask;
  int error = read_masked(probe, path, &bytes, &mask);
  if (error == 0 && (state->bytes = malloc(2 * mask.size + 1)) == NULL) error = -ENOMEM;
  if (error == 0) {
    state->size = 2 * mask.size;
    for (size_t i = 0; i < mask.size; i++) snprintf((char *)state->bytes + 2 * i, 3, "%02x", bytes.bytes[i] & mask.bytes[i]);
  }
  free(bytes.bytes);
  free(mask.bytes);
  return error;
}

/* The state that a probe names: a text, or none. */
static int read_state(struct json probe, struct text *state) {
  struct text path;
  *state = (struct text){NULL, 0};
  int error = member_path(probe, &path);
  const char *name = (char *)path.bytes;
  if (error < 0) {
  } else if (member_is(probe, "kind", "text")) {
    error = read_text(name, state);
  } else if (member_is(probe, "kind", "link")) {
    error = read_link_name(name, state);
  } else if (member_is(probe, "kind", "bytes")) {
    error = read_bytes(probe, name, state);
  } else {
    const int fd = path_open(name, O_PATH);
    if (fd >= 0) close(fd);
    error = fd >= 0 ? text_of("present", 7, state) : is_absent(fd) ? 0 : fd;
  }
  free(path.bytes);
  return error;
}

/* Bits outside the probe's mask stay as they are. */
static int write_masked(struct json probe, const char *path, uint64_t offset, struct text *bytes) {
  struct buffer now = {.limit = MAX_READ};
  struct text mask;
  int error = read_masked(probe, path, &now, &mask);
  if (error == 0 && mask.size != bytes->size) error = -EINVAL;
  if (error == 0) {
    for (size_t i = 0; i < mask.size; i++) bytes->bytes[i] = (uint8_t)((now.bytes[i] & ~mask.bytes[i]) | (bytes->bytes[i] & mask.bytes[i]));
    error = file_write(path, 0, offset, bytes->bytes, bytes->size);
  }
  free(now.bytes);
  free(mask.bytes);
  return error;
}

static int write_bytes(struct json write, struct json probe, const struct text *path) {
  struct json value;
  struct text bytes, probed;
  const uint64_t offset = member_count(write, "offset");
  int error = json_member(write, "hex", &value) ? json_hex(value, &bytes) : -EINVAL;
  if (error < 0) return error;
  error = member_path(probe, &probed);
  const int is_probed = error == 0 && member_is(probe, "kind", "bytes") && same(path, &probed) && member_count(probe, "offset") == offset;
  free(probed.bytes);
  if (error == 0) {
    error = is_probed ? write_masked(probe, (char *)path->bytes, offset, &bytes) : file_write((char *)path->bytes, 0, offset, bytes.bytes, bytes.size);
  }
  free(bytes.bytes);
  return error;
}

static int make_write(struct json write, struct json probe) {
  struct text path, text;
  struct json value;
  int error = member_path(write, &path);
  if (error < 0) {
  } else if (json_member(write, "text", &value)) {
    error = json_text(value, &text);
    if (error == 0) error = file_write((char *)path.bytes, O_TRUNC, 0, text.bytes, text.size);
    free(text.bytes);
  } else if (json_member(write, "folder", &value)) {
    error = json_equals(value, "make") ? folder_make((char *)path.bytes) : folder_remove((char *)path.bytes);
  } else {
    error = write_bytes(write, probe, &path);
  }
  free(path.bytes);
  return error;
}

enum outcome { RESTORED, UNCHANGED, CHANGED, VANISHED, FAILED };
static const char *const OUTCOMES[] = {"restored", "unchanged", "changed", "vanished", "failed"};

/* What came of one change. */
struct restored {
  struct text old, left, found;
  int error;
};

static enum outcome put_back(const struct entry *entry, struct json probe, struct restored *result) {
  struct json undo, write;
  struct text now = {NULL, 0};
  result->error = member_text(entry->members, "old", &result->old);
  if (result->error == 0 && entry->has_after) result->error = json_text(entry->after, &result->left);
  if (result->error == 0) result->error = read_state(probe, &result->found);
  if (result->error < 0) return is_absent(result->error) ? VANISHED : FAILED;
  if (same(&result->found, &result->old)) return UNCHANGED;
  /* Killed between the write and the line that records its result: whatever is there is ours. */
  if (entry->has_after && !same(&result->found, &result->left)) return CHANGED;
  if (!json_member(entry->members, "undo", &undo)) return FAILED;
  for (int first = 1; result->error == 0 && json_next(&undo, first, &write); first = 0) result->error = make_write(write, probe);
  if (result->error == 0) result->error = read_state(probe, &now);
  if (result->error < 0) {
    free(now.bytes);
    return is_absent(result->error) ? VANISHED : FAILED;
  }
  if (same(&now, &result->old)) {
    free(now.bytes);
    return RESTORED;
  }
  free(result->found.bytes);
  result->found = now;
  return FAILED;
}

static void put_member(struct buffer *out, const char *name, const struct text *text) {
  put_words(out, name);
  put_json(out, text->bytes, text->size);
}

static void put_result(struct buffer *out, const struct entry *entry, struct json probe, enum outcome outcome, const struct restored *result) {
  struct text what, path;
  member_text(entry->members, "what", &what);
  member_text(probe, "path", &path);
  put_member(out, "{\"what\":", &what);
  put_member(out, ",\"path\":", &path);
  put_words(out, ",\"outcome\":\"");
  put_words(out, OUTCOMES[outcome]);
  put_member(out, "\",\"old\":", &result->old);
  put_member(out, ",\"left\":", &result->left);
  put_member(out, ",\"found\":", &result->found);
  put_words(out, ",\"error\":");
  const char *why = outcome != FAILED ? NULL : result->error < 0 ? strerror(-result->error) : "the state did not go back";
  put_json(out, (const uint8_t *)why, why == NULL ? 0 : strlen(why));
  put_words(out, "}\n");
  free(what.bytes);
  free(path.bytes);
}

static void put_damage(struct buffer *out, const struct damage *damage) {
  char words[160];
  snprintf(words, sizeof words, "{\"line\":%llu,\"outcome\":\"damaged\",\"error\":\"%s\"}\n", (unsigned long long)damage->line, damage->reason);
  put_words(out, words);
}

int32_t roll_back(struct journal *journal, struct buffer *out) {
  struct contents contents;
  const int error = journal_read(journal, &contents);
  if (error < 0) return error;
  size_t kept = contents.damaged_count;
  for (size_t i = contents.entry_count; i > 0; i--) {
    const struct entry *entry = &contents.entries[i - 1];
    struct json probe;
    if (entry->is_undone || !json_member(entry->members, "probe", &probe)) continue;
    struct restored result = {.error = 0};
    const enum outcome outcome = put_back(entry, probe, &result);
    if (outcome == FAILED) kept++;
    else journal_mark_undone(journal, entry->offset);
    put_result(out, entry, probe, outcome, &result);
    free(result.old.bytes);
    free(result.left.bytes);
    free(result.found.bytes);
  }
  for (size_t i = 0; i < contents.damaged_count; i++) put_damage(out, &contents.damaged[i]);
  free_contents(&contents);
  if (kept == 0) journal_remove(journal);
  return 0;
}
