/*
 * libFuzzer target: any bytes as a module image, with a length and, where it is closed by a NUL or says its own length,
 * without one.
 */
#include "fatbin.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  uint8_t *image = malloc(size);
  if (image == NULL) return 0;
  memcpy(image, data, size);
  char why[FATBIN_WORDS];
  for (uint32_t capability = 75; capability <= 100; capability += 25) {
    struct module_text text = {0};
    const int32_t result = fatbin_read(image, size, capability, &text, why);
    if (memchr(why, 0, sizeof why) == NULL) abort();
    if (result == 0) {
      if (text.text == NULL || text.size > FATBIN_MOST_TEXT || text.text[text.size] != '\0') abort();
      free(text.text);
    } else if (text.text != NULL || (result != 2 && result != 200 && result != 209)) {
      abort(); /* text of a module that is refused, or a result that means something else */
    }
  }
  free(image);
  return 0;
}
