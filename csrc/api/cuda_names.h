/* Names of exported functions, for the two libraries that answer cuGetProcAddress. */
#ifndef BUSBAR_CUDA_NAMES_H
#define BUSBAR_CUDA_NAMES_H

#include <stdbool.h>
#include <string.h>

/* Whether an exported name is the plain one, perhaps with the suffix of a later version. */
static inline bool is_version_of(const char *exported, const char *plain) {
  const size_t length = strlen(plain);
  if (strncmp(exported, plain, length) != 0) return false;
  exported += length;
  return *exported == '\0' || (exported[0] == '_' && exported[1] == 'v' && exported[2] >= '2' && exported[2] <= '9' &&
                               exported[3] == '\0');
}

#endif
