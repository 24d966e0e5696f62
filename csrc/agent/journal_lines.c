/* What the lines of a journal say. See journal.h. */
#include "journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ,"crc":"01234567"} */
enum { SEAL = 18 };

/* CRC-32 of zlib and Ethernet. */
static uint32_t crc32_of(const uint8_t *bytes, size_t size) {
  static uint32_t table[256];
  if (table[1] == 0) {
    for (uint32_t byte = 0; byte < 256; byte++) {
      uint32_t value = byte;
      for (unsigned bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
      table[byte] = value;
    }
  }
  uint32_t value = 0xffffffffu;
  for (size_t i = 0; i < size; i++) value = table[(value ^ bytes[i]) & 0xff] ^ value >> 8;
  return ~value;
}

void seal_line(struct buffer *out, size_t start) {
  if (out->failed) return;
  char seal[SEAL + 2];
  snprintf(seal, sizeof seal, ",\"crc\":\"%08x\"}\n", crc32_of(out->bytes + start, out->size - start));
  put_words(out, seal);
}

static int is_path(struct json object) {
  struct json path;
  return json_member(object, "path", &path) && json_is_text(path) && path.end - path.at > 2 && path.at[1] == '/';
}

static int is_hex_member(struct json object, const char *name) {
  struct json value;
  struct text text;
  if (!json_member(object, name, &value) || json_hex(value, &text) < 0) return 0;
  free(text.bytes);
  return 1;
}

static int has_count(struct json object, const char *name, uint64_t *number) {
  struct json value;
  return json_member(object, name, &value) && json_count(value, number);
}

static int is_text_or_null(struct json object, const char *name, struct json *value) {
  return json_member(object, name, value) && (json_is_text(*value) || json_is_null(*value));
}

static int is_probe(struct json probe) {
  struct json kind;
  uint64_t offset;
  if (!is_path(probe) || !json_member(probe, "kind", &kind)) return 0;
  if (json_equals(kind, "bytes")) return has_count(probe, "offset", &offset) && is_hex_member(probe, "mask");
  return json_equals(kind, "text") || json_equals(kind, "link") || json_equals(kind, "presence");
}

static int is_write(struct json write) {
  struct json value;
  uint64_t offset;
  if (!is_path(write)) return 0;
  if (json_member(write, "text", &value)) return json_is_text(value);
  if (json_member(write, "folder", &value)) return json_equals(value, "make") || json_equals(value, "remove");
  return has_count(write, "offset", &offset) && is_hex_member(write, "hex");
}

static int is_change(struct json members) {
  struct json value, undo;
  uint64_t seq;
  if (!json_member(members, "state", &value) || !json_equals(value, "open")) return 0;
  if (!has_count(members, "seq", &seq) || seq == 0) return 0;
  if (!json_member(members, "what", &value) || !json_is_text(value)) return 0;
  if (!json_member(members, "probe", &value) || !is_probe(value)) return 0;
  if (!is_text_or_null(members, "old", &value)) return 0;
  if (!json_member(members, "undo", &undo) || !json_is_list(undo)) return 0;
  for (int first = 1; json_next(&undo, first, &value); first = 0) {
    if (!is_write(value)) return 0;
  }
  return !json_member(members, "after", &value) || is_text_or_null(members, "after", &value);
}

static int is_result(struct json members) {
  struct json value;
  uint64_t seq;
  return !json_member(members, "state", &value) && has_count(members, "seq", &seq) && is_text_or_null(members, "after", &value);
}

static int is_header(struct json members) {
  static const char *const TEXTS[] = {"startTime", "bootId", "command", "createdAt"};
  struct json value;
  uint64_t number;
  if (!has_count(members, "journal", &number) || number != 2 || !has_count(members, "pid", &number)) return 0;
  for (unsigned i = 0; i < 4; i++) {
    if (!json_member(members, TEXTS[i], &value) || !json_is_text(value)) return 0;
  }
  return 1;
}

enum line_kind read_line(uint8_t *line, size_t size, struct json *members, int *is_undone, const char **why) {
  static const char STATE[] = "{\"state\":\"";
  *is_undone = 0;
  *why = "it has no checksum";
  if (size < SEAL + 2 || memcmp(line + size - SEAL, ",\"crc\":\"", 8) != 0 || memcmp(line + size - 2, "\"}", 2) != 0) return LINE_DAMAGED;
  uint32_t sealed = 0;
  for (size_t i = size - SEAL + 8; i < size - 2; i++) {
    const uint8_t digit = line[i];
    if (!((digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f'))) return LINE_DAMAGED;
    sealed = sealed << 4 | (uint32_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
  }
  if (size - SEAL >= STATE_AT + 4 && memcmp(line, STATE, STATE_AT) == 0 && memcmp(line + STATE_AT, "back", 4) == 0) {
    *is_undone = 1;
    memcpy(line + STATE_AT, "open", 4);
  }
  *why = "its checksum is wrong";
  if (crc32_of(line, size - SEAL) != sealed) return LINE_DAMAGED;
  /* The brace takes the comma's place: what is left of the seal is never read again. */
  line[size - SEAL] = '}';
  *members = (struct json){line, line + size - SEAL + 1};
  *why = "it is not a JSON object";
  if (line[0] != '{' || !json_whole(line, size - SEAL + 1)) return LINE_DAMAGED;
  *why = "it is neither a change nor a result";
  if (is_header(*members)) return LINE_HEADER;
  if (is_result(*members)) return LINE_RESULT;
  return is_change(*members) ? LINE_CHANGE : LINE_DAMAGED;
}

/* Room for one more element of a list that doubles. */
static int grow(void **list, size_t count, size_t element) {
  if (count != 0 && (count & (count - 1)) != 0) return 0;
  void *larger = realloc(*list, (count == 0 ? 1 : 2 * count) * element);
  if (larger == NULL) return -ENOMEM;
  *list = larger;
  return 0;
}

static int add_damage(struct contents *to, uint64_t line, const char *reason) {
  void *list = to->damaged;
  const int error = grow(&list, to->damaged_count, sizeof *to->damaged);
  to->damaged = list;
  if (error == 0) to->damaged[to->damaged_count++] = (struct damage){line, reason};
  return error;
}

static struct entry *entry_of(const struct contents *contents, uint64_t seq) {
  /* From the end: a result follows its change at once. */
  for (size_t i = contents->entry_count; i > 0; i--) {
    if (contents->entries[i - 1].seq == seq) return &contents->entries[i - 1];
  }
  return NULL;
}

static int add_change(struct contents *to, uint64_t line, const struct entry *entry) {
  if (entry_of(to, entry->seq) != NULL) return add_damage(to, line, "it is neither a change nor a result");
  void *list = to->entries;
  const int error = grow(&list, to->entry_count, sizeof *to->entries);
  to->entries = list;
  if (error == 0) to->entries[to->entry_count++] = *entry;
  return error;
}

static int add_line(struct contents *to, uint64_t number, size_t offset, size_t size) {
  struct json members;
  const char *why;
  struct entry entry = {.offset = offset};
  enum line_kind kind = read_line(to->bytes + offset, size, &members, &entry.is_undone, &why);
  if (number == 1) {
    if (kind == LINE_HEADER) {
      to->has_header = 1;
      to->header = members;
      return 0;
    }
    return add_damage(to, 1, kind == LINE_DAMAGED ? why : "it is not the header of a journal of version 2");
  }
  if (kind == LINE_HEADER || kind == LINE_DAMAGED) return add_damage(to, number, why);
  has_count(members, "seq", &entry.seq);
  entry.has_after = json_member(members, "after", &entry.after);
  if (kind == LINE_CHANGE) {
    entry.members = members;
    return add_change(to, number, &entry);
  }
  void *list = to->results;
  const int error = grow(&list, to->result_count, sizeof *to->results);
  to->results = list;
  if (error == 0) to->results[to->result_count++] = (struct result){number, entry.seq, entry.after};
  return error;
}

/* Gives each change its result, wherever that stands. */
static int join_results(struct contents *to) {
  int error = 0;
  for (size_t i = 0; i < to->result_count && error == 0; i++) {
    struct entry *change = entry_of(to, to->results[i].seq);
    if (change == NULL) {
      error = add_damage(to, to->results[i].line, "it is the result of a change that cannot be read");
    } else {
      change->has_after = 1;
      change->after = to->results[i].after;
    }
  }
  return error;
}

static int by_line(const void *one, const void *other) {
  const uint64_t a = ((const struct damage *)one)->line, b = ((const struct damage *)other)->line;
  return a < b ? -1 : a > b;
}

int read_contents(uint8_t *bytes, size_t size, struct contents *to) {
  *to = (struct contents){.bytes = bytes};
  uint64_t number = 0;
  for (size_t start = 0;;) {
    const uint8_t *feed = memchr(bytes + start, '\n', size - start);
    if (feed == NULL) break;
    const size_t length = (size_t)(feed - bytes) - start;
    const int error = add_line(to, ++number, start, length);
    if (error < 0) return error;
    start += length + 1;
    to->size = start;
  }
  const int error = join_results(to);
  if (to->damaged_count > 1) qsort(to->damaged, to->damaged_count, sizeof *to->damaged, by_line);
  return error;
}

void free_contents(struct contents *contents) {
  free(contents->bytes);
  free(contents->entries);
  free(contents->results);
  free(contents->damaged);
  *contents = (struct contents){.bytes = NULL};
}
