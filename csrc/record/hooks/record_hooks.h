/*
 * The recorder for programs that are compiled with -fsanitize=thread and linked without that runtime: the compiler puts a
 * call before every access, and the functions here write it down. The files are those of the valgrind tool.
 *
 * It records when BUSBAR_RECORD_OUT is set, which `cxl_sim record --with hooks` does; otherwise the calls do nothing.
 */
#ifndef BB_RECORD_HOOKS_H
#define BB_RECORD_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One record as it is in the file, little-endian (src/sim/trace/binary.ts). The thread is put in when it is written. */
typedef struct {
   uint64_t address;
   uint64_t rest; /* ticks | op << 32 | host << 40 | bytes << 48 */
} bb_record;

/* The ops that this recorder writes (src/sim/trace/batch.ts). */
enum { BB_READ = 0, BB_WRITE = 1, BB_ATOMIC = 2, BB_ALLOCATE = 7, BB_FREE = 8, BB_SIZE = 9 };

/* What the environment says. */
typedef struct {
   const char *out;
   const char *log;
   bool filter;
   uint64_t filter_sets, filter_ways;
   uint64_t max_bytes;
   double ns_per_access;
} bb_options;

/* A thread that is recorded. */
typedef struct bb_thread {
   bb_record *next, *limit, *start;
   uint64_t now, last;  /* accesses so far, and at the last record */
   uintptr_t last_line; /* the line that the filter saw last, and whether it is marked dirty */
   bool last_dirty;
   uintptr_t *cache;
   unsigned number;
   bool has_file;
   uint64_t written;
   struct bb_thread *other; /* in the list of all */
} bb_thread;

/* record_files.c */
extern bb_options bb_record_options;
/* Stands for "this thread is not recorded", so that the fast path needs one comparison. */
extern bb_thread bb_not_recorded;
/* Initial-exec: the recorder is linked into the program itself, so no call is needed to find it. */
extern _Thread_local bb_thread *bb_self __attribute__((tls_model("initial-exec")));
bb_thread *bb_thread_begin(void); /* NULL: nothing is recorded */
void bb_write_out(bb_thread *thread);

/* The way of one record into the buffer of its thread. Here, because it is part of every access. */
#define BB_MAX_TICKS UINT64_C(0x7fffffff)
#define BB_OP_WAIT 10u

static inline void bb_put_raw(bb_thread *thread, uint64_t address, uint64_t rest)
{
   if (thread->next == thread->limit)
      bb_write_out(thread);
   thread->next->address = address;
   thread->next->rest = rest;
   thread->next++;
}

static inline void bb_put(bb_thread *thread, uintptr_t address, unsigned op, size_t bytes)
{
   uint64_t gap = thread->now - thread->last;
   if (gap > BB_MAX_TICKS) {
      bb_put_raw(thread, gap, (uint64_t)BB_OP_WAIT << 32);
      gap = 0;
   }
   bb_put_raw(thread, address, gap | (uint64_t)op << 32 | (uint64_t)bytes << 48);
   thread->last = thread->now;
}

/* record_filter.c */
void bb_filter_access(bb_thread *thread, uintptr_t address, size_t bytes, bool write);

/* record_access.c */
void bb_access(uintptr_t address, unsigned op, size_t bytes);
void bb_access_range(uintptr_t address, unsigned op, size_t bytes);
void bb_allocated(void *base, size_t bytes);
void bb_freed(void *base);

#define BB_LINE_BYTES 64u
#define BB_NO_LINE (~(uintptr_t)0)
#define BB_ADDRESS_MASK ((UINT64_C(1) << 52) - 1)
#define BB_LARGEST_ACCESS 0xffffu

#endif
