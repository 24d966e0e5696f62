/* The tool's face to valgrind: options, events, the end. */
#include "record.h"
#include "pub_tool_libcproc.h"
#include "pub_tool_options.h"
#include "pub_tool_threadstate.h"
#include "pub_tool_vki.h"
#include "pub_tool_vkiscnums.h"

Options options = {
   .out = NULL,
   .filter = True,
   .allocations = True,
   .filter_bytes = 1 << 20,
   .filter_ways = 16,
   .max_bytes = ~0ULL,
   .ns_per_instruction = 0.25,
};

static Bool process_option(const HChar *arg)
{
   const HChar *text;
   if VG_STR_CLO (arg, "--out", options.out) {
   } else if VG_BOOL_CLO (arg, "--filter", options.filter) {
   } else if VG_BOOL_CLO (arg, "--allocations", options.allocations) {
   } else if VG_BINT_CLO (arg, "--filter-bytes", options.filter_bytes, LINE_BYTES, 1ULL << 40) {
   } else if VG_BINT_CLO (arg, "--filter-ways", options.filter_ways, 1, 1024) {
   } else if VG_BINT_CLO (arg, "--max-bytes", options.max_bytes, 1, ~0ULL >> 1) {
   } else if VG_STR_CLO (arg, "--ns-per-instruction", text) {
      HChar *end;
      options.ns_per_instruction = VG_(strtod)(text, &end);
      if (*end != '\0' || !(options.ns_per_instruction > 0))
         VG_(fmsg_bad_option)(arg, "a number above zero is needed\n");
   } else {
      return False;
   }
   return True;
}

static void print_usage(void)
{
   VG_(printf)("    --out=PATH                  where the trace goes: PATH.0 and so on (needed)\n"
               "    --filter=yes|no             record what misses a cache of each thread [yes]\n"
               "    --filter-bytes=N            size of that cache [1048576]\n"
               "    --filter-ways=N             its associativity [16]\n"
               "    --allocations=yes|no        write PATH.alloc [yes]\n"
               "    --max-bytes=N               stop recording after so many bytes [no limit]\n"
               "    --ns-per-instruction=NUMBER time of one instruction [0.25]\n");
}

static void print_debug_usage(void)
{
}

static void post_options(void)
{
   if (options.out == NULL || options.out[0] != '/')
      VG_(fmsg_bad_option)("--out", "an absolute path is needed\n");
   if (options.filter)
      filter_check_options();
   streams_start();
   if (options.allocations)
      allocations_start();
}

/* A successful exec replaces the program and this tool with it, so everything is written out before it is tried. */
static void before_syscall(ThreadId tid, UInt number, UWord *args, UInt count)
{
   (void)tid, (void)args, (void)count;
   if (number == __NR_execve || number == __NR_execveat) {
      streams_finish();
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

static void client_code_starts(ThreadId tid, ULong blocks)
{
   (void)blocks;
   select_thread(tid);
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
   streams_finish();
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
