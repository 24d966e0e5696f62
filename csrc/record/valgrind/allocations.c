/*
 * Allocations: what malloc and its like returned, and memory mapped by the program itself.
 *
 * The functions are not replaced, or the program's accesses would be others: a call is seen where a block begins at the
 * function's entry, its return where a block ends in a return with the stack as it was before the call.
 */
#include "record.h"
#include "pub_tool_debuginfo.h"
#include "pub_tool_threadstate.h"
#include "pub_tool_vki.h"

typedef struct {
   UWord return_sp; /* 0: no allocation function in progress */
   AllocKind kind;
   UWord first, second, third;
} Pending;

static Pending *pending;
static ULong count;
static Bool enabled;

static const struct {
   const HChar *name;
   AllocKind kind;
} functions[] = {
   {"malloc", ALLOC_MALLOC},
   {"calloc", ALLOC_CALLOC},
   {"realloc", ALLOC_REALLOC},
   {"reallocarray", ALLOC_NONE},
   {"memalign", ALLOC_SECOND_ARGUMENT},
   {"aligned_alloc", ALLOC_SECOND_ARGUMENT},
   {"posix_memalign", ALLOC_POSIX_MEMALIGN},
   {"valloc", ALLOC_MALLOC},
   {"pvalloc", ALLOC_MALLOC},
   {"free", ALLOC_FREE},
   {"cfree", ALLOC_FREE},
   {"operator new(unsigned long)", ALLOC_MALLOC},
   {"operator new[](unsigned long)", ALLOC_MALLOC},
   {"operator delete(void*)", ALLOC_FREE},
   {"operator delete[](void*)", ALLOC_FREE},
   {"operator delete(void*, unsigned long)", ALLOC_FREE},
   {"operator delete[](void*, unsigned long)", ALLOC_FREE},
};

AllocKind allocation_function(Addr entry)
{
   const HChar *name;
   if (!enabled || !VG_(get_fnname_if_entry)(VG_(current_DiEpoch)(), entry, &name))
      return ALLOC_NONE;
   /* glibc has two names for one function, and either may be given. */
   if (VG_(strncmp)(name, "__libc_", 7) == 0)
      name += 7;
   for (UInt i = 0; i < sizeof functions / sizeof functions[0]; i++)
      if (VG_(strcmp)(name, functions[i].name) == 0)
         return functions[i].kind;
   return ALLOC_NONE;
}

static void log_allocation(UWord base, UWord bytes)
{
   if (base == 0)
      return;
   put_record(running.instructions, base, OP_ALLOCATE, 0);
   put_record(running.instructions, bytes, OP_SIZE, 0);
   count++;
}

static void log_release(UWord base)
{
   if (base != 0)
      put_record(running.instructions, base, OP_FREE, 0);
}

void allocation_enter(UWord kind, UWord first, UWord second, UWord third, UWord stack)
{
   Pending *mine = &pending[VG_(get_running_tid)()];
   /* Inside of another one only that one counts, unless a jump out of it left it behind. */
   if (mine->return_sp != 0 && stack < mine->return_sp)
      return;
   mine->return_sp = stack + sizeof(UWord);
   mine->kind = (AllocKind)kind;
   mine->first = first;
   mine->second = second;
   mine->third = third;
   running.alloc_return_sp = mine->return_sp;
   if (kind == ALLOC_FREE)
      log_release(first);
}

VG_REGPARM(1) void allocation_leave(UWord result)
{
   Pending *mine = &pending[VG_(get_running_tid)()];
   switch (mine->kind) {
   case ALLOC_MALLOC:
      log_allocation(result, mine->first);
      break;
   case ALLOC_CALLOC:
      log_allocation(result, mine->first * mine->second);
      break;
   case ALLOC_SECOND_ARGUMENT:
      log_allocation(result, mine->second);
      break;
   case ALLOC_REALLOC:
      if (result != 0 || mine->second == 0)
         log_release(mine->first);
      log_allocation(result, mine->second);
      break;
   case ALLOC_POSIX_MEMALIGN:
      if (result == 0)
         log_allocation(*(const UWord *)mine->first, mine->third);
      break;
   case ALLOC_FREE:
   case ALLOC_NONE:
      break;
   }
   mine->return_sp = 0;
   running.alloc_return_sp = 0;
}

/* What malloc maps for itself is not an allocation of the program. */
static Bool inside_allocation(void)
{
   ThreadId tid = VG_(get_running_tid)();
   return tid == VG_INVALID_THREADID || pending[tid].return_sp != 0;
}

static void memory_mapped(Addr base, SizeT bytes, Bool r, Bool w, Bool x, ULong debug_info)
{
   (void)debug_info;
   if ((r || w) && !x && !inside_allocation())
      log_allocation(base, bytes);
}

static void memory_unmapped(Addr base, SizeT bytes)
{
   (void)bytes;
   if (!inside_allocation())
      log_release(base);
}

void allocations_start(void)
{
   pending = VG_(calloc)("bb.pending", VG_N_THREADS, sizeof *pending);
   VG_(track_new_mem_mmap)(memory_mapped);
   VG_(track_die_mem_munmap)(memory_unmapped);
   enabled = True;
}

ULong allocations_count(void)
{
   return count;
}

void allocations_thread_ended(ThreadId tid)
{
   if (pending != NULL)
      pending[tid].return_sp = 0;
}

UWord allocations_pending_sp(ThreadId tid)
{
   return pending == NULL ? 0 : pending[tid].return_sp;
}
