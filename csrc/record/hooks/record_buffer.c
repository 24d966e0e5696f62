/* The way of one record into the buffer of its thread. */
#include "record_hooks.h"

#define MAX_TICKS UINT64_C(0x7fffffff)
#define OP_WAIT 10u

static void put_raw(bb_thread *thread, uint64_t address, uint64_t rest)
{
   if (thread->next == thread->limit)
      bb_write_out(thread);
   thread->next->address = address;
   thread->next->rest = rest;
   thread->next++;
}

void bb_put(bb_thread *thread, uintptr_t address, unsigned op, size_t bytes)
{
   uint64_t gap = thread->now - thread->last;
   if (gap > MAX_TICKS) {
      put_raw(thread, gap, (uint64_t)OP_WAIT << 32);
      gap = 0;
   }
   put_raw(thread, address, gap | (uint64_t)op << 32 | (uint64_t)bytes << 48);
   thread->last = thread->now;
}
