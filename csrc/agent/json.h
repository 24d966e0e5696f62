/*
 * JSON as the undo journal has it: one object a line. Nothing is copied until a text is asked for; a part of a line is
 * named by where it begins and ends.
 */
#ifndef BUSBAR_AGENT_JSON_H
#define BUSBAR_AGENT_JSON_H

#include "agent.h"

/* A value in a text. It was checked by json_whole before, so the functions below read no further than its end. */
struct json {
  const uint8_t *at, *end;
};

/* Bytes of their own, with a zero byte behind them; bytes is NULL for null. */
struct text {
  uint8_t *bytes;
  size_t size;
};

/* Whether the bytes are one value and nothing else. */
int json_whole(const uint8_t *bytes, size_t size);
/* A member of an object. 0 where there is none, or where it is no object. Of two with the same name the last one. */
int json_member(struct json object, const char *name, struct json *value);
/* The next element of a list; *next begins as the list itself. 0 at its end, or where it is no list. */
int json_next(struct json *next, int is_first, struct json *element);
int json_is_list(struct json value);
int json_is_text(struct json value);
int json_is_null(struct json value);
/* A whole number from 0 to 2^53. */
int json_count(struct json value, uint64_t *number);
/* Whether a value is this text. */
int json_equals(struct json value, const char *text);
/* Decodes a text. 0, -EINVAL for what is none, -ENOMEM. */
int json_text(struct json value, struct text *to);
/* Decodes a text of hexadecimal digits, two for each byte. */
int json_hex(struct json value, struct text *to);
/* Adds a text in quotes; bytes that are no UTF-8 become '?'. NULL is null. */
void put_json(struct buffer *out, const uint8_t *bytes, size_t size);
void put_words(struct buffer *out, const char *words);

#endif
