/*
 * The cache filter: set-associative, write-back, write-allocate, least recently used; one for each thread.
 * What it lets through are line fills (reads, also for a store that misses) and evicted dirty lines.
 */
#include "record_hooks.h"

#define DIRTY ((uintptr_t)1)

/* The linker's name for memmove itself: memmove is wrapped, and would come back here. */
void *__real_memmove(void *to, const void *from, size_t bytes);

static void touch(bb_thread *thread, uintptr_t line, bool write)
{
   const uint64_t ways = bb_record_options.filter_ways;
   uintptr_t *set = thread->cache + (line / BB_LINE_BYTES & (bb_record_options.filter_sets - 1)) * ways;
   uint64_t at = 0;
   while (at < ways - 1 && (set[at] & ~DIRTY) != line)
      at++;
   uintptr_t entry = set[at];
   if ((entry & ~DIRTY) != line) {
      bb_put(thread, line, BB_READ, BB_LINE_BYTES);
      if (entry != BB_NO_LINE && (entry & DIRTY) != 0)
         bb_put(thread, entry & ~DIRTY, BB_WRITE, BB_LINE_BYTES);
      entry = line;
   }
   __real_memmove(set + 1, set, at * sizeof *set);
   set[0] = entry | (write ? DIRTY : 0);
   thread->last_line = line;
   thread->last_dirty = (set[0] & DIRTY) != 0;
}

void bb_filter_access(bb_thread *thread, uintptr_t address, size_t bytes, bool write)
{
   const uintptr_t end = address + bytes;
   for (uintptr_t line = address & ~(uintptr_t)(BB_LINE_BYTES - 1); line < end; line += BB_LINE_BYTES)
      if (line != thread->last_line || (write && !thread->last_dirty))
         touch(thread, line, write);
}
