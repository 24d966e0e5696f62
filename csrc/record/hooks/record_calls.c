/*
 * The functions that -fsanitize=thread calls, and those that the link flags wrap. Their names and signatures are the
 * compilers'. Compile this file itself without -fsanitize=thread.
 */
#include "record_hooks.h"

#include <stdlib.h>
#include <string.h>

#define HOOK __attribute__((visibility("default")))

/* So that `cxl_sim record --with hooks` knows a program that has the recorder. */
HOOK extern const char bb_record_hooks_marker[];
const char bb_record_hooks_marker[] = "busbar record hooks, version 1";

HOOK void __tsan_init(void);
void __tsan_init(void)
{
}

HOOK void __tsan_func_entry(void *caller);
void __tsan_func_entry(void *caller)
{
   (void)caller;
}

HOOK void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

#define ACCESS(name, op, bytes)                                                                                              \
   HOOK void name(void *address);                                                                                            \
   void name(void *address)                                                                                                  \
   {                                                                                                                         \
      bb_access((uintptr_t)address, op, bytes);                                                                              \
   }

#define READ_THEN_WRITE(name, bytes)                                                                                         \
   HOOK void name(void *address);                                                                                            \
   void name(void *address)                                                                                                  \
   {                                                                                                                         \
      bb_access((uintptr_t)address, BB_READ, bytes);                                                                         \
      bb_access((uintptr_t)address, BB_WRITE, bytes);                                                                        \
   }

#define ACCESSES(bytes)                                                                                                      \
   ACCESS(__tsan_read##bytes, BB_READ, bytes)                                                                                \
   ACCESS(__tsan_write##bytes, BB_WRITE, bytes)                                                                              \
   ACCESS(__tsan_unaligned_read##bytes, BB_READ, bytes)                                                                      \
   ACCESS(__tsan_unaligned_write##bytes, BB_WRITE, bytes)                                                                    \
   ACCESS(__tsan_volatile_read##bytes, BB_READ, bytes)                                                                       \
   ACCESS(__tsan_volatile_write##bytes, BB_WRITE, bytes)                                                                     \
   ACCESS(__tsan_unaligned_volatile_read##bytes, BB_READ, bytes)                                                             \
   ACCESS(__tsan_unaligned_volatile_write##bytes, BB_WRITE, bytes)                                                           \
   READ_THEN_WRITE(__tsan_read_write##bytes, bytes)                                                                          \
   READ_THEN_WRITE(__tsan_unaligned_read_write##bytes, bytes)

ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

HOOK void __tsan_vptr_update(void **address, void *value);
void __tsan_vptr_update(void **address, void *value)
{
   (void)value;
   bb_access((uintptr_t)address, BB_WRITE, sizeof *address);
}

HOOK void __tsan_vptr_read(void **address);
void __tsan_vptr_read(void **address)
{
   bb_access((uintptr_t)address, BB_READ, sizeof *address);
}

HOOK void __tsan_read_range(void *address, size_t bytes);
void __tsan_read_range(void *address, size_t bytes)
{
   bb_access_range((uintptr_t)address, BB_READ, bytes);
}

HOOK void __tsan_write_range(void *address, size_t bytes);
void __tsan_write_range(void *address, size_t bytes)
{
   bb_access_range((uintptr_t)address, BB_WRITE, bytes);
}

/*
 * Atomic operations are not only reported but left to these functions. All are sequentially consistent: the order that
 * was asked for is a constant in the program and an argument here, and the strongest is right for every one.
 */
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define FETCH(type, bits, name, builtin)                                                                                     \
   HOOK type __tsan_atomic##bits##_##name(volatile type *address, type value, int order);                                    \
   type __tsan_atomic##bits##_##name(volatile type *address, type value, int order)                                          \
   {                                                                                                                         \
      (void)order;                                                                                                           \
      bb_access((uintptr_t)address, BB_ATOMIC, sizeof *address);                                                             \
      return builtin(address, value, __ATOMIC_SEQ_CST);                                                                      \
   }

#define COMPARE_EXCHANGE(type, bits, name, weak)                                                                             \
   HOOK int __tsan_atomic##bits##_##name(volatile type *address, type *expected, type desired, int order, int failure);      \
   int __tsan_atomic##bits##_##name(volatile type *address, type *expected, type desired, int order, int failure)            \
   {                                                                                                                         \
      (void)order, (void)failure;                                                                                            \
      bb_access((uintptr_t)address, BB_ATOMIC, sizeof *address);                                                             \
      return __atomic_compare_exchange_n(address, expected, desired, weak, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);              \
   }

#define ATOMICS(type, bits)                                                                                                  \
   HOOK type __tsan_atomic##bits##_load(const volatile type *address, int order);                                            \
   type __tsan_atomic##bits##_load(const volatile type *address, int order)                                                  \
   {                                                                                                                         \
      (void)order;                                                                                                           \
      bb_access((uintptr_t)address, BB_READ, sizeof *address);                                                               \
      return __atomic_load_n(address, __ATOMIC_SEQ_CST);                                                                     \
   }                                                                                                                         \
   HOOK void __tsan_atomic##bits##_store(volatile type *address, type value, int order);                                     \
   void __tsan_atomic##bits##_store(volatile type *address, type value, int order)                                           \
   {                                                                                                                         \
      (void)order;                                                                                                           \
      bb_access((uintptr_t)address, BB_WRITE, sizeof *address);                                                              \
      __atomic_store_n(address, value, __ATOMIC_SEQ_CST);                                                                    \
   }                                                                                                                         \
   FETCH(type, bits, exchange, __atomic_exchange_n)                                                                          \
   FETCH(type, bits, fetch_add, __atomic_fetch_add)                                                                          \
   FETCH(type, bits, fetch_sub, __atomic_fetch_sub)                                                                          \
   FETCH(type, bits, fetch_and, __atomic_fetch_and)                                                                          \
   FETCH(type, bits, fetch_or, __atomic_fetch_or)                                                                            \
   FETCH(type, bits, fetch_xor, __atomic_fetch_xor)                                                                          \
   FETCH(type, bits, fetch_nand, __atomic_fetch_nand)                                                                        \
   COMPARE_EXCHANGE(type, bits, compare_exchange_strong, 0)                                                                  \
   COMPARE_EXCHANGE(type, bits, compare_exchange_weak, 1)                                                                    \
   HOOK type __tsan_atomic##bits##_compare_exchange_val(volatile type *address, type expected, type desired, int order,      \
                                                        int failure);                                                        \
   type __tsan_atomic##bits##_compare_exchange_val(volatile type *address, type expected, type desired, int order,           \
                                                   int failure)                                                              \
   {                                                                                                                         \
      __tsan_atomic##bits##_compare_exchange_strong(address, &expected, desired, order, failure);                            \
      return expected;                                                                                                       \
   }

ATOMICS(u8, 8)
ATOMICS(u16, 16)
ATOMICS(u32, 32)
ATOMICS(u64, 64)

HOOK void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
   (void)order;
   __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

HOOK void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
   (void)order;
   __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* clang calls these for memcpy and the like; gcc calls memcpy, which the link flags lead to __wrap_memcpy. */
#define COPY(name, real)                                                                                                     \
   HOOK void *name(void *to, const void *from, size_t bytes);                                                                \
   void *name(void *to, const void *from, size_t bytes)                                                                      \
   {                                                                                                                         \
      bb_access_range((uintptr_t)from, BB_READ, bytes);                                                                      \
      bb_access_range((uintptr_t)to, BB_WRITE, bytes);                                                                       \
      return real(to, from, bytes);                                                                                          \
   }

#define FILL(name, real)                                                                                                     \
   HOOK void *name(void *to, int value, size_t bytes);                                                                       \
   void *name(void *to, int value, size_t bytes)                                                                             \
   {                                                                                                                         \
      bb_access_range((uintptr_t)to, BB_WRITE, bytes);                                                                       \
      return real(to, value, bytes);                                                                                         \
   }

HOOK void *__real_memcpy(void *to, const void *from, size_t bytes);
HOOK void *__real_memmove(void *to, const void *from, size_t bytes);
HOOK void *__real_memset(void *to, int value, size_t bytes);
COPY(__tsan_memcpy, __real_memcpy)
COPY(__tsan_memmove, __real_memmove)
FILL(__tsan_memset, __real_memset)
COPY(__wrap_memcpy, __real_memcpy)
COPY(__wrap_memmove, __real_memmove)
FILL(__wrap_memset, __real_memset)

HOOK void *__real_malloc(size_t bytes);
HOOK void *__wrap_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes)
{
   void *base = __real_malloc(bytes);
   bb_allocated(base, bytes);
   return base;
}

HOOK void *__real_calloc(size_t count, size_t bytes);
HOOK void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes)
{
   void *base = __real_calloc(count, bytes);
   bb_allocated(base, count * bytes);
   return base;
}

HOOK void *__real_realloc(void *base, size_t bytes);
HOOK void *__wrap_realloc(void *base, size_t bytes);
void *__wrap_realloc(void *base, size_t bytes)
{
   /* Only its address is wanted afterwards, never what it points to. */
   const uintptr_t before = (uintptr_t)base;
   void *moved = __real_realloc(base, bytes);
   if (moved != NULL || bytes == 0)
      bb_freed((void *)before);
   bb_allocated(moved, bytes);
   return moved;
}

HOOK void *__real_aligned_alloc(size_t alignment, size_t bytes);
HOOK void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
   void *base = __real_aligned_alloc(alignment, bytes);
   bb_allocated(base, bytes);
   return base;
}

HOOK int __real_posix_memalign(void **base, size_t alignment, size_t bytes);
HOOK int __wrap_posix_memalign(void **base, size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **base, size_t alignment, size_t bytes)
{
   int error = __real_posix_memalign(base, alignment, bytes);
   if (error == 0)
      bb_allocated(*base, bytes);
   return error;
}

HOOK void __real_free(void *base);
HOOK void __wrap_free(void *base);
void __wrap_free(void *base)
{
   bb_freed(base);
   __real_free(base);
}
