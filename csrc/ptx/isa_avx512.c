/* The lanes' handlers with vectors of 512 bits. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,bmi,bmi2,lzcnt,popcnt,f16c"))), apply_to = function)
#define __AVX2__ 1
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,bmi,bmi2,lzcnt,popcnt,f16c,prefer-vector-width=512")
#endif
#define TABLE ptx_lanes_avx512
#include "lanes.inc"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int ptx_no_avx512;
#endif
