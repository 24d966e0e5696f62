/*
 * The cache filter: a set-associative write-back cache for each thread, least recently used, write-allocate.
 * What it lets through are line fills (reads, also for a store that misses) and evicted dirty lines.
 */
#include "record.h"
#include "pub_tool_threadstate.h"

#define DIRTY 1UL

static ULong sets, ways;
static UWord **caches;   /* of each thread */
static UWord *current; /* sets * ways line addresses, most recently used first; bit 0: dirty; NO_LINE: empty */

void filter_start(void)
{
   ways = (ULong)options.filter_ways;
   sets = (ULong)options.filter_bytes / LINE_BYTES / ways;
   if (sets == 0 || (sets & (sets - 1)) != 0 || sets * ways * LINE_BYTES != (ULong)options.filter_bytes)
      VG_(fmsg_bad_option)("--filter-bytes", "size / ways / 64 must be a power of two\n");
   caches = VG_(calloc)("bb.filters", VG_N_THREADS, sizeof *caches);
}

void filter_thread_created(ThreadId tid)
{
   UWord *cache = VG_(malloc)("bb.filter", sets * ways * sizeof *cache);
   for (ULong i = 0; i < sets * ways; i++)
      cache[i] = NO_LINE;
   caches[tid] = cache;
}

void filter_thread_ended(ThreadId tid)
{
   if (caches == NULL || caches[tid] == NULL)
      return;
   VG_(free)(caches[tid]);
   caches[tid] = NULL;
}

void filter_select(ThreadId tid)
{
   current = caches == NULL ? NULL : caches[tid];
}

static void touch(ULong now, UWord line, Bool write)
{
   UWord *set = current + (line / LINE_BYTES & (sets - 1)) * ways;
   ULong at = 0;
   while (at < ways - 1 && (set[at] & ~DIRTY) != line)
      at++;
   UWord entry = set[at];
   if ((entry & ~DIRTY) != line) {
      put_record(now, line, OP_READ, LINE_BYTES);
      if (entry != NO_LINE && (entry & DIRTY) != 0)
         put_record(now, entry & ~DIRTY, OP_WRITE, LINE_BYTES);
      entry = line;
   }
   for (; at > 0; at--)
      set[at] = set[at - 1];
   set[0] = entry | (write ? DIRTY : 0);
   running.last_line = line;
   running.last_dirty_line = (set[0] & DIRTY) != 0 ? line : NO_LINE;
}

/* Called only when the access is not within the line of the one before it. */
VG_REGPARM(2) void filter_access(UWord address, UWord packed)
{
   ULong now = running.instructions + PACKED_AHEAD(packed);
   UWord line = address & ~(UWord)(LINE_BYTES - 1);
   UWord end = address + PACKED_BYTES(packed);
   do {
      touch(now, line, PACKED_OP(packed) == OP_WRITE);
      line += LINE_BYTES;
   } while (line < end);
}
