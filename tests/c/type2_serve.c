/*
 * Serves a shared file until its standard input ends: type2_serve DRIVER FILE BYTES SETTING… For processors that Deno is not run
 * on here. An empty DRIVER is none.
 */
#include "soft/type2/type2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **words) {
  if (count < 4) return 2;
  char settings[4096] = "", why[512];
  size_t used = 0;
  if (words[1][0] != '\0') used = (size_t)snprintf(settings, sizeof settings, "driver=%s\n", words[1]);
  for (int i = 4; i < count && used < sizeof settings; i++) {
    used += (size_t)snprintf(settings + used, sizeof settings - used, "%s\n", words[i]);
  }
  struct type2 *device;
  if (used >= sizeof settings || bb_type2_open(settings, words[2], strtoull(words[3], NULL, 10), why, sizeof why, &device) != 0) {
    fprintf(stderr, "%s\n", why);
    return 1;
  }
  puts("serving");
  fflush(stdout);
  while (getchar() != EOF) continue;
  bb_type2_close(device);
  return 0;
}
