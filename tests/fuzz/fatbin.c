/* Mutated fat binaries, guided by coverage: whatever the bytes, an answer, and nothing read outside of them. */
#include "soft/cuda/fatbin.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  /* A copy of just this length: reading past it is found. */
  uint8_t *copy = malloc(size);
  if (copy == NULL) return 0;
  memcpy(copy, data, size);
  struct module_text text = {NULL, 0};
  char why[FATBIN_WORDS];
  const int32_t result = fatbin_read(copy, size, 90, &text, why);
  if (result == 0 && (text.text == NULL || text.size > FATBIN_MOST_TEXT || text.text[text.size] != '\0')) abort();
  if (result != 0 && (text.text != NULL || strlen(why) >= FATBIN_WORDS)) abort();
  if (result != 0 && result != 2 && result != 200 && result != 209) abort();
  free(text.text);
  free(copy);
  return 0;
}
