/*
 * The recorder: a valgrind tool that writes the memory accesses of a program as a binary trace.
 *
 * Files that it writes, given --out=PATH:
 *   PATH.<n>      the accesses and allocations of thread n, a whole trace file by itself
 *
 * It is built where it is used, against the valgrind that is installed there, and never shipped built: it links
 * valgrind's own libraries, which are under the GPL.
 */
#ifndef BB_RECORD_H
#define BB_RECORD_H

#include "pub_tool_basics.h"
#include "pub_tool_tooliface.h"
#include "pub_tool_libcassert.h"
#include "pub_tool_libcbase.h"
#include "pub_tool_libcfile.h"
#include "pub_tool_libcprint.h"
#include "pub_tool_machine.h"
#include "pub_tool_mallocfree.h"

/*
 * One record as it is in the file, little-endian (src/sim/trace/binary.ts): address | thread << 52, then
 * ticks | op << 32 | host << 40 | bytes << 48. The thread is put in when a buffer is written out; the host is 0.
 */
typedef struct {
   ULong address;
   ULong rest;
} Record;

/* The ops that a recorder writes (src/sim/trace/batch.ts). */
enum {
   OP_READ = 0,
   OP_WRITE = 1, /* behind the filter: an evicted dirty line */
   OP_ALLOCATE = 7,
   OP_FREE = 8,
   OP_SIZE = 9, /* follows OP_ALLOCATE: the address field holds the size */
   OP_WAIT = 10 /* the address field holds ticks that pass */
};

/* Flags of the header. */
#define FLAG_FILTERED 2u
#define FLAG_INSTRUCTIONS 4u

#define HEADER_BYTES 32
#define RECORD_BYTES 16
#define MAX_STREAMS 4096
#define ADDRESS_MASK ((1ULL << 52) - 1)
#define NO_LINE (~(UWord)0)
#define LINE_BYTES 64

/* Translated code stores this many records at most after it looked for room. */
#define MAX_RUN 512
#define SLACK_RECORDS MAX_RUN

/* A longer gap is written as a record of its own, so that ticks never overflow into the op. */
#define MAX_TICKS 0x7fffffffULL

/*
 * What translated code reads and writes directly. It belongs to the thread that runs; `stream_select` saves and loads
 * it, so that its address can be a constant in translated code.
 */
typedef struct {
   ULong instructions;    /* executed by this thread, and by its creator before it */
   ULong last;            /* `instructions` at the last record */
   Record *next;          /* where the next record goes */
   Record *limit;         /* from here on the buffer has to be written out first */
   UWord last_line;       /* address of the line that the filter saw last */
   UWord last_dirty_line; /* the same when it is already marked dirty, else NO_LINE */
   UWord alloc_return_sp; /* stack pointer after the allocation function in progress returned; 0: none in progress */
} Running;

extern Running running;

/* options.c */
typedef struct {
   const HChar *out;
   Bool filter;
   Bool allocations;
   Long filter_bytes;
   Long filter_ways;
   Long max_bytes;
   double ns_per_instruction;
} Options;

extern Options options;
Bool process_option(const HChar *arg);
void print_usage(void);

/* stream.c: threads, buffers, files. */
void streams_start(void);
void streams_finish(ULong allocations); /* how many there were, for the last line */
void streams_stop_in_child(void);
Bool stream_select(ThreadId tid); /* False: it is selected already */
void stream_thread_created(ThreadId parent, ThreadId child);
void stream_thread_ended(ThreadId tid);
Bool recording(void);
void record_failed(const HChar *what, Int error);
void make_room(void);
void put_record(ULong now, UWord address, UInt op, UInt bytes);
VG_REGPARM(2) void record_one(UWord address, UWord packed);

/* filter.c: the cache. */
void filter_start(void);
void filter_thread_created(ThreadId tid);
void filter_thread_ended(ThreadId tid);
void filter_select(ThreadId tid);
VG_REGPARM(2) void filter_access(UWord address, UWord packed);

/* instrument.c: the translation. */
IRSB *instrument(VgCallbackClosure *closure, IRSB *in, const VexGuestLayout *layout, const VexGuestExtents *extents,
                 const VexArchInfo *host, IRType guest_word, IRType host_word);

/* allocations.c: malloc and friends, mmap. */
typedef enum {
   ALLOC_NONE,
   ALLOC_MALLOC,
   ALLOC_CALLOC,
   ALLOC_REALLOC,
   ALLOC_SECOND_ARGUMENT, /* memalign, aligned_alloc: the size comes second */
   ALLOC_POSIX_MEMALIGN,
   ALLOC_FREE
} AllocKind;

AllocKind allocation_function(Addr entry);
void allocation_enter(UWord kind, UWord first, UWord second, UWord third, UWord stack);
VG_REGPARM(1) void allocation_leave(UWord result);
void allocations_start(void);
ULong allocations_count(void);
void allocations_thread_ended(ThreadId tid);
UWord allocations_pending_sp(ThreadId tid);

/*
 * The constant that goes with an access into a helper: bytes, op, and how many instructions of the running block have
 * begun since `running.instructions` was brought up to date.
 */
#define PACK(op, bytes, ahead) ((UWord)(bytes) | ((UWord)(op) << 16) | ((UWord)(ahead) << 24))
#define PACKED_BYTES(packed) ((UInt)((packed) & 0xffff))
#define PACKED_OP(packed) ((UInt)(((packed) >> 16) & 0xff))
#define PACKED_AHEAD(packed) ((UInt)((packed) >> 24))

#endif
