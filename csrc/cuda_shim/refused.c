/* What the protocol has no command for: each function of the table that no other file defines says so. */
#define _GNU_SOURCE
#include "shim.h"

#define REFUSE(name, since, older, params, args)                                                \
  _Pragma("GCC diagnostic ignored \"-Wunused-parameter\"") __attribute__((weak)) CUresult name params { \
    return CUDA_NOT_SUPPORTED;                                                                  \
  }
#define REFUSE0(name, since) \
  __attribute__((weak)) CUresult name(void) { return CUDA_NOT_SUPPORTED; }
BB_CUDA_FUNCTIONS(REFUSE, REFUSE0)
