/* The lanes' handlers with vectors of 256 bits and fused multiply-add. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi,bmi2,lzcnt,popcnt,f16c"))), apply_to = function)
#define __AVX2__ 1
#else
#pragma GCC target("avx2,fma,bmi,bmi2,lzcnt,popcnt,f16c")
#endif
#define TABLE ptx_lanes_avx2
#include "lanes.inc"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int ptx_no_avx2;
#endif
