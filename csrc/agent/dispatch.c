/* Takes requests apart and does what they ask for. See agent.h. */
#include "agent.h"

#include <errno.h>
#include <string.h>

struct operation {
  uint16_t number;
  enum right right;
  const char *arguments;
  int32_t (*run)(struct call *call);
};

#define ROW(number, name, right, arguments) {number, right, arguments, operation_##name},
static const struct operation operations[] = {AGENT_OPERATIONS(ROW)};
#undef ROW

/* Paths are copied, because the frame has no zero byte behind them. */
struct paths {
  char text[2][MAX_PATH];
  unsigned used;
};

/* Takes the arguments apart. All of the bytes must be used. */
static int decode(const char *letters, const uint8_t *at, uint32_t size, struct value *arg, struct paths *paths) {
  const uint8_t *end = at + size;
  for (; *letters != '\0'; letters++, arg++) {
    const size_t left = (size_t)(end - at);
    const unsigned width = *letters == 'p' ? 2 : *letters == 'q' ? 8 : 4;
    if (left < width) return -EPROTO;
    const uint64_t number = get_number(at, width);
    at += width;
    *arg = (struct value){number, NULL, 0};
    if (*letters == 'w' || *letters == 'q') continue;
    if (number > (size_t)(end - at)) return -EPROTO;
    arg->bytes = at;
    arg->size = (uint32_t)number;
    at += number;
    if (*letters == 'b') continue;
    if (number >= MAX_PATH) return -ENAMETOOLONG;
    if (memchr(arg->bytes, 0, arg->size) != NULL) return -EINVAL;
    char *copy = paths->text[paths->used++];
    memcpy(copy, arg->bytes, arg->size);
    copy[arg->size] = '\0';
    arg->bytes = (const uint8_t *)copy;
  }
  return at == end ? 0 : -EPROTO;
}

static const struct operation *find(uint64_t number) {
  for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
    if (operations[i].number == number) return &operations[i];
  }
  return NULL;
}

static int32_t run(uint64_t number, const uint8_t *arguments, uint32_t size, struct buffer *out) {
  struct call call = {.out = out};
  struct paths paths = {.used = 0};
  const struct operation *operation = find(number);
  if (operation == NULL) return -ENOSYS;
  const int decoded = decode(operation->arguments, arguments, size, call.arg, &paths);
  if (decoded < 0) return decoded;
  if (!may(operation->right)) return -EROFS;
  return operation->run(&call);
}

int answer(const uint8_t *request, size_t size, struct buffer *out) {
  if (size < 4) return -EPROTO;
  const uint8_t *at = request + 4, *end = request + size;
  put32(out, 0); /* the length, below */
  put32(out, (uint32_t)get_number(request, 4));
  while (at < end) {
    if (end - at < 6) return -EPROTO;
    const uint64_t number = get_number(at, 2);
    const uint32_t length = (uint32_t)get_number(at + 2, 4);
    at += 6;
    if (length > (size_t)(end - at)) return -EPROTO;
    const size_t start = out->size;
    /* There is always room to say that there is none: MAX_REQUEST / 6 operations have a head of 8 bytes each. */
    out->limit = MAX_ANSWER + 2 * MAX_REQUEST;
    put64(out, 0);
    if (out->failed) return -ENOMEM;
    out->limit = MAX_ANSWER;
    int32_t status = run(number, at, length, out);
    /* What does not fit is asked for again, in a frame of its own. */
    if (out->failed) status = -EMSGSIZE;
    if (status < 0 && out->size > start + 8) out->size = start + 8;
    out->failed = 0;
    set32(out, start, (uint32_t)wire_error(status));
    set32(out, start + 4, (uint32_t)(out->size - start - 8));
    at += length;
  }
  set32(out, 0, (uint32_t)(out->size - 4));
  return 0;
}
