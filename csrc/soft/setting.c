/* Settings of software devices: lines of "key=value". See model.h. */
#define _GNU_SOURCE
#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int soft_each_setting(const char *settings, int (*handle)(void *context, const char *key, const char *value),
                      void *context) {
  char *copy = strdup(settings);
  if (copy == NULL) return -ENOMEM;
  int result = 0;
  for (char *line = copy, *end; result == 0 && (end = strchr(line, '\n')) != NULL; line = end + 1) {
    char *equals = memchr(line, '=', (size_t)(end - line));
    *end = '\0';
    if (equals == NULL) {
      result = -EINVAL;
    } else {
      *equals = '\0';
      result = handle(context, line, equals + 1);
    }
  }
  free(copy);
  return result;
}

int soft_number(const char *text, uint64_t limit, uint64_t *out) {
  if (*text < '0' || *text > '9') return -EINVAL;
  char *end;
  errno = 0;
  const unsigned long long value = strtoull(text, &end, 10);
  if (errno != 0 || *end != '\0' || value > limit) return -EINVAL;
  *out = value;
  return 0;
}
