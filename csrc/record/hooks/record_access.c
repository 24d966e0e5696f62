/* What the compiler's calls say of accesses and allocations, for the thread that makes them. */
#include "record_hooks.h"

static bb_thread *thread_here(void)
{
   if (bb_self == NULL) {
      /* What beginning itself calls must not begin again. */
      bb_self = &bb_not_recorded;
      bb_thread *thread = bb_thread_begin();
      if (thread != NULL)
         bb_self = thread;
   }
   return bb_self == &bb_not_recorded ? NULL : bb_self;
}

void bb_access(uintptr_t address, unsigned op, size_t bytes)
{
   bb_thread *thread = thread_here();
   if (thread == NULL)
      return;
   thread->now++;
   if (thread->cache != NULL)
      bb_filter_access(thread, address, bytes, op != BB_READ);
   else
      bb_put(thread, address, op, bytes);
}

void bb_access_range(uintptr_t address, unsigned op, size_t bytes)
{
   for (; bytes > BB_LARGEST_ACCESS; address += BB_LARGEST_ACCESS, bytes -= BB_LARGEST_ACCESS)
      bb_access(address, op, BB_LARGEST_ACCESS);
   if (bytes > 0)
      bb_access(address, op, bytes);
}

void bb_allocated(void *base, size_t bytes)
{
   bb_thread *thread = thread_here();
   if (base == NULL || thread == NULL)
      return;
   bb_put(thread, (uintptr_t)base, BB_ALLOCATE, 0);
   bb_put(thread, (uintptr_t)bytes, BB_SIZE, 0);
}

void bb_freed(void *base)
{
   bb_thread *thread = thread_here();
   if (base != NULL && thread != NULL)
      bb_put(thread, (uintptr_t)base, BB_FREE, 0);
}
