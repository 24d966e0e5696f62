/* Where the parser stands: the next token, messages, constant expressions. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

/* --- Messages ------------------------------------------------------------------------------------------------------------- */

static void log_text(struct parser *p, const char *text) {
  const struct ptx_options *o = p->options;
  if (!o->log || !o->log_size) return;
  const size_t room = o->log_size - 1 - p->log_used, length = strlen(text), n = length < room ? length : room;
  memcpy(o->log + p->log_used, text, n);
  p->log_used += n;
  o->log[p->log_used] = 0;
}

/* What a terminal obeys comes from the file that is read: a question mark in its place. Returns the length. */
static size_t copy_printable(char *to, size_t room, const char *from, size_t length) {
  if (length > room - 1) length = room - 1;
  for (size_t i = 0; i < length; i++) to[i] = from[i] >= ' ' && from[i] < 127 ? from[i] : '?';
  to[length] = 0;
  return length;
}

bool ptx_fail(struct parser *p, enum ptx_error error, uint32_t line, const char *spelling, size_t length, const char *text) {
  char word[101], name[101] = "", copy[400];
  const size_t used = copy_printable(word, sizeof word, spelling, length);
  if (p->error == PTX_OK) p->error = error;
  if (p->messages && !p->options->keep_going) return false;
  p->messages++;
  if (p->source_name) copy_printable(name, sizeof name, p->source_name, strlen(p->source_name));
  snprintf(copy, sizeof copy, "ptxas application ptx input%s%s, line %u; error   : %s%s%s%s\n", *name ? " " : "", name, line,
           used ? "'" : "", word, used ? "': " : "", text);
  log_text(p, copy);
  if (p->options->message)
    p->options->message(p->options->context, &(struct ptx_message){error, p->source, line, word, text});
  return false;
}

bool ptx_unexpected(struct parser *p, const char *text) {
  return ptx_fail(p, PTX_ERROR_SYNTAX, p->token.line, p->token.text, p->token.length, text);
}

bool ptx_next(struct parser *p) {
  ptx_lex(&p->lexer, &p->token);
  if (p->token.kind != TOKEN_BAD) return true;
  return ptx_unexpected(p, p->token.length && *p->token.text >= '0' && *p->token.text <= '9' ? "is not a number"
                       : p->token.length > MAX_NAME ? "the name is too long" : p->token.length >= MAX_STRING - 2 ? "the string is too long" : "does not belong to PTX text");
}

bool ptx_is_mark(const struct parser *p, char mark) { return p->token.kind == TOKEN_MARK && p->token.mark == mark; }

bool ptx_accept(struct parser *p, char mark) {
  if (!ptx_is_mark(p, mark)) return false;
  ptx_next(p);
  return true;
}

bool ptx_expect(struct parser *p, char mark) {
  if (ptx_is_mark(p, mark)) return ptx_next(p);
  const char text[] = {'\'', mark, '\'', ' ', 'e', 'x', 'p', 'e', 'c', 't', 'e', 'd', ' ', 'h', 'e', 'r', 'e', 0};
  return ptx_unexpected(p, text);
}

bool ptx_is_directive(const struct parser *p, const char *name) {
  return p->token.kind == TOKEN_DIRECTIVE && strlen(name) == p->token.length && !memcmp(name, p->token.text, p->token.length);
}

bool ptx_accept_directive(struct parser *p, const char *name) {
  if (!ptx_is_directive(p, name)) return false;
  ptx_next(p);
  return true;
}

/* --- Constant expressions: C's operators by precedence ------------------------------------------------------------------------- */

static bool expression(struct parser *p, int64_t *value, int level, int depth);

static bool primary(struct parser *p, int64_t *value, int depth) {
  if (depth > MAX_NESTING) return ptx_unexpected(p, "the expression is nested too deeply");
  if (ptx_accept(p, '-')) {
    if (!primary(p, value, depth + 1)) return false;
    *value = (int64_t)(0 - (uint64_t)*value);
    return true;
  }
  if (ptx_accept(p, '+')) return primary(p, value, depth + 1);
  if (ptx_accept(p, '~')) return primary(p, value, depth + 1) && (*value = ~*value, true);
  if (ptx_accept(p, '!')) return primary(p, value, depth + 1) && (*value = !*value, true);
  if (ptx_is_mark(p, '(')) {
    if (!ptx_next(p)) return false;
    if (p->token.kind == TOKEN_DIRECTIVE) { /* a cast: (.s64) */
      if (!ptx_next(p) || !ptx_expect(p, ')')) return false;
      return primary(p, value, depth + 1);
    }
    return expression(p, value, 0, depth + 1) && ptx_expect(p, ')');
  }
  if (p->token.kind == TOKEN_INTEGER) {
    *value = (int64_t)p->token.value;
    return ptx_next(p);
  }
  if (p->token.kind == TOKEN_WORD && p->token.length == 7 && !memcmp(p->token.text, "WARP_SZ", 7)) {
    *value = WARP;
    return ptx_next(p);
  }
  return ptx_unexpected(p, "a constant expected here");
}

static bool expression(struct parser *p, int64_t *value, int level, int depth) {
  static const char *const operators[] = {"|", "^", "&", "<>", "+-", "*/"};
  if (level == 6) return primary(p, value, depth);
  if (!expression(p, value, level + 1, depth)) return false;
  while (p->token.kind == TOKEN_MARK && strchr(operators[level], p->token.mark)) {
    const char mark = p->token.mark;
    if (mark == '<' || mark == '>') {
      if (p->lexer.at >= p->lexer.end || *p->lexer.at != mark) return true;
      if (!ptx_next(p)) return false;
    }
    int64_t right;
    if (!ptx_next(p) || !expression(p, &right, level + 1, depth)) return false;
    const uint64_t a = (uint64_t)*value, b = (uint64_t)right;
    switch (mark) {
      case '|': *value = (int64_t)(a | b); break;
      case '^': *value = (int64_t)(a ^ b); break;
      case '&': *value = (int64_t)(a & b); break;
      case '<': *value = b < 64 ? (int64_t)(a << b) : 0; break;
      case '>': *value = *value >> (b < 63 ? b : 63); break;
      case '+': *value = (int64_t)(a + b); break;
      case '-': *value = (int64_t)(a - b); break;
      case '*': *value = (int64_t)(a * b); break;
      default:
        if (right == 0) return ptx_unexpected(p, "division by zero in a constant expression");
        *value = right == -1 ? (int64_t)(0 - a) : *value / right;
    }
  }
  return true;
}

bool ptx_constant(struct parser *p, int64_t *value) { return expression(p, value, 0, 0); }
