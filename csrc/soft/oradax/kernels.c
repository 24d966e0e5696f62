/* Which of the fast loops this processor can run. */
#include "kernels.h"

#include <stddef.h>
#include <string.h>

const struct oradax_kernels *oradax_kernels_named(const char *name) {
  const int any = strcmp(name, "auto") == 0;
#if defined(__x86_64__)
  const int has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
  const int has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
                         __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("gfni");
  if (has_avx512 && (any || strcmp(name, oradax_avx512.name) == 0)) return &oradax_avx512;
  if (has_avx2 && (any || strcmp(name, oradax_avx2.name) == 0)) return &oradax_avx2;
#elif defined(__aarch64__)
  if (any || strcmp(name, oradax_neon.name) == 0) return &oradax_neon;
#endif
  return any || strcmp(name, oradax_portable.name) == 0 ? &oradax_portable : NULL;
}
