/*
 * The cache filter: set-associative, write-back, write-allocate, least recently used; one for each thread.
 * What it lets through are line fills (reads, also for a store that misses) and evicted dirty lines.
 */
#include "record_hooks.h"

#define DIRTY ((uintptr_t)1)

static void touch(bb_thread *thread, uintptr_t line, bool write)
{
   const uint64_t ways = bb_record_options.filter_ways;
   uintptr_t *set = thread->cache + (line / BB_LINE_BYTES & (bb_record_options.filter_sets - 1)) * ways;
   /* The line moves to the front while it is looked for: each entry before it takes the place of the next one. */
   uintptr_t carried = line;
   uint64_t at = 0;
   for (;;) {
      const uintptr_t entry = set[at];
      set[at] = carried;
      carried = entry;
      if ((entry & ~DIRTY) == line || ++at == ways)
         break;
   }
   uintptr_t dirty = write ? DIRTY : 0;
   if (at < ways)
      dirty |= carried & DIRTY;
   else {
      bb_put(thread, line, BB_READ, BB_LINE_BYTES);
      if (carried != BB_NO_LINE && (carried & DIRTY) != 0)
         bb_put(thread, carried & ~DIRTY, BB_WRITE, BB_LINE_BYTES);
   }
   set[0] = line | dirty;
   thread->last_line = line;
   thread->last_dirty = dirty != 0;
}

void bb_filter_access(bb_thread *thread, uintptr_t address, size_t bytes, bool write)
{
   const uintptr_t end = address + bytes;
   for (uintptr_t line = address & ~(uintptr_t)(BB_LINE_BYTES - 1); line < end; line += BB_LINE_BYTES)
      if (line != thread->last_line || (write && !thread->last_dirty))
         touch(thread, line, write);
}
