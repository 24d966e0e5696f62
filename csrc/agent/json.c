/* See json.h. */
#include "json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NESTING = 16 };

static const uint8_t *skip_space(const uint8_t *at, const uint8_t *end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')) at++;
  return at;
}

static int is_digit(const uint8_t *at, const uint8_t *end) { return at < end && *at >= '0' && *at <= '9'; }

static int hex_digit(uint8_t byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
  return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

/* How many bytes the UTF-8 character here has; 0 where there is none (RFC 3629). */
static unsigned utf8_size(const uint8_t *at, const uint8_t *end) {
  const uint8_t first = *at;
  if (first < 0x80) return 1;
  const unsigned size = first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
  if (size == 0 || (size_t)(end - at) < size) return 0;
  for (unsigned i = 1; i < size; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  if (first == 0xe0 && at[1] < 0xa0) return 0;
  if (first == 0xed && at[1] >= 0xa0) return 0;
  if (first == 0xf0 && at[1] < 0x90) return 0;
  return first == 0xf4 && at[1] >= 0x90 ? 0 : size;
}

/* Behind a text, from its first quote on; NULL for what is none. */
static const uint8_t *skip_text(const uint8_t *at, const uint8_t *end) {
  for (at++; at < end && *at != '"';) {
    if (*at < 0x20) return NULL;
    if (*at != '\\') {
      const unsigned size = utf8_size(at, end);
      if (size == 0) return NULL;
      at += size;
      continue;
    }
    if (++at == end) return NULL;
    if (*at == 'u') {
      if (end - at < 5) return NULL;
      for (unsigned i = 1; i < 5; i++) {
        if (hex_digit(at[i]) < 0) return NULL;
      }
      at += 4;
    } else if (memchr("\"\\/bfnrt", *at, 8) == NULL) {
      return NULL;
    }
    at++;
  }
  return at < end ? at + 1 : NULL;
}

static const uint8_t *skip_digits(const uint8_t *at, const uint8_t *end) {
  if (!is_digit(at, end)) return NULL;
  while (is_digit(at, end)) at++;
  return at;
}

static const uint8_t *skip_number(const uint8_t *at, const uint8_t *end) {
  if (*at == '-') at++;
  if (at < end && *at == '0') at++;
  else if ((at = skip_digits(at, end)) == NULL) return NULL;
  if (at < end && *at == '.' && (at = skip_digits(at + 1, end)) == NULL) return NULL;
  if (at < end && (*at == 'e' || *at == 'E')) {
    at++;
    if (at < end && (*at == '+' || *at == '-')) at++;
    at = skip_digits(at, end);
  }
  return at;
}

static const uint8_t *skip_value(const uint8_t *at, const uint8_t *end, unsigned nesting);

/* Behind an object or a list. */
static const uint8_t *skip_group(const uint8_t *at, const uint8_t *end, unsigned nesting) {
  const int is_object = *at == '{';
  const uint8_t close = is_object ? '}' : ']';
  if (nesting == MAX_NESTING) return NULL;
  at = skip_space(at + 1, end);
  if (at < end && *at == close) return at + 1;
  for (;;) {
    if (is_object) {
      at = skip_space(at, end);
      if (at == end || *at != '"' || (at = skip_text(at, end)) == NULL) return NULL;
      at = skip_space(at, end);
      if (at == end || *at++ != ':') return NULL;
    }
    at = skip_value(skip_space(at, end), end, nesting + 1);
    if (at == NULL) return NULL;
    at = skip_space(at, end);
    if (at == end) return NULL;
    if (*at == close) return at + 1;
    if (*at++ != ',') return NULL;
  }
}

static const uint8_t *skip_value(const uint8_t *at, const uint8_t *end, unsigned nesting) {
  static const char *const WORDS[] = {"true", "false", "null"};
  if (at == end) return NULL;
  if (*at == '"') return skip_text(at, end);
  if (*at == '{' || *at == '[') return skip_group(at, end, nesting);
  for (unsigned i = 0; i < 3; i++) {
    const size_t length = strlen(WORDS[i]);
    if ((size_t)(end - at) >= length && memcmp(at, WORDS[i], length) == 0) return at + length;
  }
  return *at == '-' || is_digit(at, end) ? skip_number(at, end) : NULL;
}

int json_whole(const uint8_t *bytes, size_t size) {
  const uint8_t *end = bytes + size;
  const uint8_t *at = skip_value(skip_space(bytes, end), end, 0);
  return at != NULL && skip_space(at, end) == end;
}

/* The value that begins here, which is known to be one. */
static struct json value_at(const uint8_t *at, const uint8_t *end) {
  at = skip_space(at, end);
  const uint8_t *behind = skip_value(at, end, 0);
  return (struct json){at, behind == NULL ? at : behind};
}

static int begins_with(struct json value, char first) {
  return value.at < value.end && *skip_space(value.at, value.end) == (uint8_t)first;
}

int json_member(struct json object, const char *name, struct json *value) {
  int found = 0;
  if (!begins_with(object, '{')) return 0;
  const uint8_t *at = skip_space(skip_space(object.at, object.end) + 1, object.end);
  while (at < object.end && *at == '"') {
    const struct json key = value_at(at, object.end);
    at = skip_space(key.end, object.end) + 1;
    const struct json member = value_at(at, object.end);
    if (json_equals(key, name)) {
      *value = member;
      found = 1;
    }
    at = skip_space(member.end, object.end);
    if (at < object.end && *at == ',') at = skip_space(at + 1, object.end);
  }
  return found;
}

int json_is_list(struct json value) { return begins_with(value, '['); }
int json_is_text(struct json value) { return begins_with(value, '"'); }
int json_is_null(struct json value) { return begins_with(value, 'n'); }

int json_next(struct json *next, int is_first, struct json *element) {
  if (is_first && !json_is_list(*next)) return 0;
  const uint8_t *at = skip_space(next->at, next->end);
  /* Behind the bracket, or the comma after the one before. */
  if (at == next->end || (*at != ',' && !is_first)) return 0;
  at = skip_space(at + 1, next->end);
  if (at == next->end || *at == ']') return 0;
  *element = value_at(at, next->end);
  next->at = element->end;
  return 1;
}

int json_count(struct json value, uint64_t *number) {
  *number = 0;
  if (value.at == value.end) return 0;
  for (const uint8_t *at = value.at; at < value.end; at++) {
    if (*at < '0' || *at > '9' || *number > UINT64_C(900719925474099)) return 0;
    *number = 10 * *number + (uint64_t)(*at - '0');
  }
  return *number < UINT64_C(1) << 53;
}

static unsigned hex4(const uint8_t *at) {
  unsigned value = 0;
  for (unsigned i = 0; i < 4; i++) value = value << 4 | (unsigned)hex_digit(at[i]);
  return value;
}

static uint8_t *put_character(uint8_t *to, unsigned code) {
  if (code < 0x80) {
    *to++ = (uint8_t)code;
  } else if (code < 0x800) {
    *to++ = (uint8_t)(0xc0 | code >> 6);
    *to++ = (uint8_t)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *to++ = (uint8_t)(0xe0 | code >> 12);
    *to++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    *to++ = (uint8_t)(0x80 | (code & 0x3f));
  } else {
    *to++ = (uint8_t)(0xf0 | code >> 18);
    *to++ = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    *to++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    *to++ = (uint8_t)(0x80 | (code & 0x3f));
  }
  return to;
}

/* The character of the escape behind a backslash; moves behind it. Half of a pair alone is U+FFFD. */
static unsigned escaped(const uint8_t **at, const uint8_t *end) {
  const uint8_t letter = *(*at)++;
  switch (letter) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'u': break;
    default: return letter;
  }
  const unsigned code = hex4(*at);
  *at += 4;
  if (code < 0xd800 || code > 0xdfff) return code;
  if (code < 0xdc00 && end - *at > 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
    const unsigned low = hex4(*at + 2);
    if (low >= 0xdc00 && low <= 0xdfff) {
      *at += 6;
      return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
  }
  return 0xfffd;
}

int json_text(struct json value, struct text *to) {
  *to = (struct text){NULL, 0};
  if (json_is_null(value)) return 0;
  if (!json_is_text(value)) return -EINVAL;
  /* No escape is shorter than what it stands for. */
  uint8_t *bytes = malloc((size_t)(value.end - value.at) + 1);
  if (bytes == NULL) return -ENOMEM;
  uint8_t *put = bytes;
  for (const uint8_t *at = value.at + 1; at < value.end - 1;) {
    if (*at != '\\') {
      *put++ = *at++;
      continue;
    }
    at++;
    put = put_character(put, escaped(&at, value.end));
  }
  *put = '\0';
  *to = (struct text){bytes, (size_t)(put - bytes)};
  return 0;
}

int json_equals(struct json value, const char *text) {
  struct text decoded;
  if (!json_is_text(value) || json_text(value, &decoded) < 0) return 0;
  const int same = decoded.size == strlen(text) && memcmp(decoded.bytes, text, decoded.size) == 0;
  free(decoded.bytes);
  return same;
}

int json_hex(struct json value, struct text *to) {
  const int error = json_is_text(value) ? json_text(value, to) : -EINVAL;
  if (error < 0) return error;
  int wrong = to->size == 0 || to->size % 2 != 0;
  for (size_t i = 0; i < to->size && !wrong; i++) {
    const int digit = to->bytes[i] >= 'A' && to->bytes[i] <= 'F' ? -1 : hex_digit(to->bytes[i]);
    if (digit < 0) wrong = 1;
    else if (i % 2 == 0) to->bytes[i / 2] = (uint8_t)(digit << 4);
    else to->bytes[i / 2] |= (uint8_t)digit;
  }
  to->size /= 2;
  if (!wrong) return 0;
  free(to->bytes);
  *to = (struct text){NULL, 0};
  return -EINVAL;
}

void put_words(struct buffer *out, const char *words) { put_bytes(out, words, strlen(words)); }

void put_json(struct buffer *out, const uint8_t *bytes, size_t size) {
  if (bytes == NULL) {
    put_words(out, "null");
    return;
  }
  put8(out, '"');
  for (const uint8_t *at = bytes, *end = bytes + size; at < end;) {
    const unsigned length = utf8_size(at, end);
    char escape[8];
    if (length == 0) {
      put8(out, '?');
      at++;
      continue;
    }
    if (*at == '"' || *at == '\\') snprintf(escape, sizeof escape, "\\%c", *at);
    else if (*at < 0x20) snprintf(escape, sizeof escape, "\\u%04x", *at);
    else {
      put_bytes(out, at, length);
      at += length;
      continue;
    }
    put_words(out, escape);
    at++;
  }
  put8(out, '"');
}
