/* The tool's face to valgrind: events, the end. */
#include "record.h"
#include "pub_tool_libcproc.h"
#include "pub_tool_options.h"
#include "pub_tool_threadstate.h"
#include "pub_tool_vki.h"
#include "pub_tool_vkiscnums.h"

static void print_debug_usage(void)
{
}

static void post_options(void)
{
   if (options.out == NULL || options.out[0] != '/')
      VG_(fmsg_bad_option)("--out", "an absolute path is needed\n");
   if (options.filter)
      filter_start();
   streams_start();
   if (options.allocations)
      allocations_start();
}

/* A successful exec replaces the program and this tool with it, so everything is written out before it is tried. */
static void before_syscall(ThreadId tid, UInt number, UWord *args, UInt count)
{
   (void)tid, (void)args, (void)count;
   if (number == __NR_execve || number == __NR_execveat) {
      streams_finish(allocations_count());
      if (recording())
         VG_(umsg)("record: exec\n");
   }
}

static void after_syscall(ThreadId tid, UInt number, UWord *args, UInt count, SysRes result)
{
   (void)tid, (void)args, (void)count, (void)result;
   if ((number == __NR_execve || number == __NR_execveat) && recording())
      VG_(umsg)("record: exec-failed\n");
}

static void thread_created(ThreadId parent, ThreadId child)
{
   stream_thread_created(parent, child);
   if (options.filter)
      filter_thread_created(child);
}

static void thread_ended(ThreadId tid)
{
   allocations_thread_ended(tid);
   filter_thread_ended(tid);
   stream_thread_ended(tid);
}

static void client_code_starts(ThreadId tid, ULong blocks)
{
   (void)blocks;
   if (!stream_select(tid))
      return;
   running.alloc_return_sp = allocations_pending_sp(tid);
   filter_select(tid);
}

static void forked_parent(ThreadId tid)
{
   (void)tid;
   if (recording())
      VG_(umsg)("record: fork\n");
}

static void forked_child(ThreadId tid)
{
   (void)tid;
   streams_stop_in_child();
}

static void finish(Int exit_code)
{
   (void)exit_code;
   streams_finish(allocations_count());
}

static void pre_options(void)
{
   VG_(details_name)("busbar_record");
   VG_(details_version)(NULL);
   VG_(details_description)("records memory accesses for busbar");
   VG_(details_copyright_author)("Built on this machine from busbar's sources; not for distribution as a program.");
   VG_(details_bug_reports_to)("busbar's maintainers");
   VG_(details_avg_translation_sizeB)(400);

   VG_(basic_tool_funcs)(post_options, instrument, finish);
   VG_(needs_command_line_options)(process_option, print_usage, print_debug_usage);
   VG_(needs_syscall_wrapper)(before_syscall, after_syscall);
   VG_(track_start_client_code)(client_code_starts);
   VG_(track_pre_thread_ll_create)(thread_created);
   VG_(track_pre_thread_ll_exit)(thread_ended);
   VG_(atfork)(NULL, forked_parent, forked_child);

   /* A function's entry must begin a block: only there are its arguments in the guest's registers for certain. */
   VG_(clo_vex_control).guest_chase = False;
}

VG_DETERMINE_INTERFACE_VERSION(pre_options)
