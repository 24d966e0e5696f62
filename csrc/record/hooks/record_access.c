/* The way of one access from the compiler's call into the buffer of its thread. */
#include "record_hooks.h"

#define MAX_TICKS UINT64_C(0x7fffffff)
#define OP_WAIT 10u

/* Stands for "this thread is not recorded", so that the fast path needs one comparison. */
static bb_thread not_recorded;

/* Initial-exec: the recorder is linked into the program itself, so no call is needed to find it. */
static _Thread_local bb_thread *self __attribute__((tls_model("initial-exec")));

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

static bb_thread *thread_here(void)
{
   if (self == NULL) {
      /* What beginning itself calls must not begin again. */
      self = &not_recorded;
      bb_thread *thread = bb_thread_begin();
      if (thread != NULL)
         self = thread;
   }
   return self == &not_recorded ? NULL : self;
}

/* What destructors of this thread still access goes nowhere: its buffer is about to be freed. */
void bb_thread_forget(void)
{
   self = &not_recorded;
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
