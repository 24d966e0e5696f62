/* Tokens of PTX text. A table of character classes; words carry their hash, so that a name is read once. */
#include "internal.h"

enum { C_OTHER, C_SPACE, C_LINE, C_WORD, C_DIGIT, C_DOT, C_QUOTE, C_SLASH, C_MARK };

/* Letters _ $ % and everything that PTX writes as a single mark. */
static const uint8_t class_of[256] = {
    [' '] = C_SPACE, ['\t'] = C_SPACE, ['\r'] = C_SPACE, ['\f'] = C_SPACE, ['\v'] = C_SPACE, ['\n'] = C_LINE,
    ['A' ... 'Z'] = C_WORD, ['a' ... 'z'] = C_WORD, ['_'] = C_WORD, ['$'] = C_WORD, ['%'] = C_WORD, ['0' ... '9'] = C_DIGIT,
    ['.'] = C_DOT, ['"'] = C_QUOTE, ['/'] = C_SLASH, [','] = C_MARK, [';'] = C_MARK, [':'] = C_MARK, ['{'] = C_MARK,
    ['}'] = C_MARK, ['['] = C_MARK, [']'] = C_MARK, ['('] = C_MARK, [')'] = C_MARK, ['<'] = C_MARK, ['>'] = C_MARK,
    ['+'] = C_MARK, ['-'] = C_MARK, ['*'] = C_MARK, ['!'] = C_MARK, ['~'] = C_MARK, ['@'] = C_MARK, ['='] = C_MARK,
    ['|'] = C_MARK, ['&'] = C_MARK, ['^'] = C_MARK, ['?'] = C_MARK,
};

static inline bool is_word(uint8_t c) { return class_of[c] == C_WORD || class_of[c] == C_DIGIT; }

static int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

static bool read_digits(const char **at, const char *end, int base, uint64_t *value, bool *overflow) {
  const char *const begin = *at;
  uint64_t v = 0;
  while (*at < end && digit_value(**at) < base) {
    const uint64_t digit = (uint64_t)digit_value(**at);
    if (v > (UINT64_MAX - digit) / (uint64_t)base) *overflow = true;
    v = v * (uint64_t)base + digit;
    ++*at;
  }
  *value = v;
  return *at > begin;
}

/* A decimal fraction, exact to the last bit or so: PTX of compilers writes 0f and 0d instead. */
static double read_fraction(const char *text, size_t length) {
  char copy[64];
  if (length >= sizeof copy) length = sizeof copy - 1;
  memcpy(copy, text, length);
  copy[length] = 0;
  double value = 0, scale = 1;
  int exponent = 0, sign = 1;
  const char *c = copy;
  for (; *c >= '0' && *c <= '9'; c++) value = value * 10 + (*c - '0');
  if (*c == '.')
    for (c++; *c >= '0' && *c <= '9'; c++) value = value * 10 + (*c - '0'), scale *= 10;
  if (*c == 'e' || *c == 'E') {
    c++;
    if (*c == '-' || *c == '+') sign = *c++ == '-' ? -1 : 1;
    for (; *c >= '0' && *c <= '9' && exponent < 400; c++) exponent = exponent * 10 + (*c - '0');
  }
  value /= scale;
  for (; exponent > 0; exponent--) value = sign > 0 ? value * 10 : value / 10;
  return value;
}

static void read_number(struct lexer *l, struct token *t) {
  const char *at = l->at, *const end = l->end;
  bool overflow = false, good;
  t->kind = TOKEN_INTEGER;
  t->is_unsigned = false;
  if (*at == '0' && at + 1 < end) {
    const char c = at[1];
    if (c == 'f' || c == 'F' || c == 'd' || c == 'D') {
      const size_t digits = c == 'f' || c == 'F' ? 8 : 16;
      const char *begin = at += 2;
      good = read_digits(&at, end, 16, &t->value, &overflow) && (size_t)(at - begin) == digits;
      t->kind = digits == 8 ? TOKEN_F32 : TOKEN_F64;
      goto done;
    }
    if (c == 'x' || c == 'X') {
      at += 2;
      good = read_digits(&at, end, 16, &t->value, &overflow);
      goto suffix;
    }
    if (c == 'b' || c == 'B') {
      at += 2;
      good = read_digits(&at, end, 2, &t->value, &overflow);
      goto suffix;
    }
  }
  {
    const char *c = at;
    while (c < end && *c >= '0' && *c <= '9') c++;
    if (c < end && (*c == '.' || *c == 'e' || *c == 'E')) {
      while (c < end && (is_word((uint8_t)*c) || *c == '.' || ((*c == '-' || *c == '+') && (c[-1] == 'e' || c[-1] == 'E')))) c++;
      const double value = read_fraction(at, (size_t)(c - at));
      memcpy(&t->value, &value, 8);
      t->kind = TOKEN_F64;
      at = c;
      good = true;
      goto done;
    }
  }
  good = read_digits(&at, end, *at == '0' ? 8 : 10, &t->value, &overflow);
suffix:
  if (at < end && (*at == 'U' || *at == 'u')) {
    t->is_unsigned = true;
    at++;
  }
done:
  if (!good || overflow || (at < end && is_word((uint8_t)*at))) {
    while (at < end && is_word((uint8_t)*at)) at++;
    t->kind = TOKEN_BAD;
  }
  t->length = (uint32_t)(at - l->at);
  l->at = at;
}

static void read_string(struct lexer *l, struct token *t) {
  const char *at = l->at + 1;
  while (at < l->end && *at != '"' && *at != '\n' && at - l->at < MAX_STRING) {
    if (*at == '\\' && at + 1 < l->end && at[1] != '\n') at++;
    at++;
  }
  t->kind = at < l->end && *at == '"' ? TOKEN_STRING : TOKEN_BAD;
  t->text = l->at + 1;
  t->length = (uint32_t)(at - t->text);
  l->at = t->kind == TOKEN_STRING ? at + 1 : at;
}

void ptx_lex(struct lexer *l, struct token *t) {
  const char *at = l->at, *const end = l->end;
  for (;;) {
    while (at < end && class_of[(uint8_t)*at] == C_SPACE) at++;
    if (at < end && *at == '\n') {
      l->line++;
      at++;
    } else if (at + 1 < end && *at == '/' && at[1] == '/') {
      const char *line = memchr(at, '\n', (size_t)(end - at));
      at = line ? line : end;
    } else if (at + 1 < end && *at == '/' && at[1] == '*') {
      const char *const begin = at;
      const uint32_t line = l->line;
      for (at += 2; at + 1 < end && !(*at == '*' && at[1] == '/'); at++)
        if (*at == '\n') l->line++;
      if (at + 1 >= end) { /* a comment without an end */
        *t = (struct token){.kind = TOKEN_BAD, .text = begin, .length = 2, .line = line};
        l->at = end;
        return;
      }
      at += 2;
    } else {
      break;
    }
  }
  l->at = at;
  t->text = at;
  t->line = l->line;
  t->length = 1;
  if (at >= end) {
    t->kind = TOKEN_END;
    t->length = 0;
    return;
  }
  switch (class_of[(uint8_t)*at]) {
    case C_WORD: {
      uint32_t hash = 2166136261u;
      for (; at < end; at++) {
        const uint8_t cls = class_of[(uint8_t)*at];
        if (cls != C_WORD && cls != C_DIGIT && cls != C_DOT) {
          /* L1::no_allocate, shared::cta; a label's colon is a single one */
          if (*at != ':' || at + 2 >= end || at[1] != ':' || (class_of[(uint8_t)at[2]] != C_WORD && class_of[(uint8_t)at[2]] != C_DIGIT)) break;
          hash = (hash ^ ':') * 16777619u;
          at++;
        }
        hash = (hash ^ (uint8_t)*at) * 16777619u;
      }
      t->kind = TOKEN_WORD;
      t->length = (uint32_t)(at - l->at);
      t->hash = hash;
      if (t->length > MAX_NAME) t->kind = TOKEN_BAD;
      l->at = at;
      return;
    }
    case C_DOT:
      for (at++; at < end && (is_word((uint8_t)*at) || (*at == ':' && at + 1 < end && (at[1] == ':' || at[-1] == ':'))); at++) {}
      t->kind = TOKEN_DIRECTIVE;
      t->length = (uint32_t)(at - l->at);
      l->at = at;
      return;
    case C_DIGIT:
      read_number(l, t);
      return;
    case C_QUOTE:
      read_string(l, t);
      return;
    case C_MARK:
      t->kind = TOKEN_MARK;
      t->mark = *at;
      l->at = at + 1;
      return;
    default:
      t->kind = TOKEN_BAD;
      l->at = at + 1;
  }
}
