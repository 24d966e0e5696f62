/* The options of the command line. */
#include "record.h"
#include "pub_tool_options.h"

Options options = {
   .out = NULL,
   .filter = True,
   .allocations = True,
   .filter_bytes = 1 << 20,
   .filter_ways = 16,
   .max_bytes = 0x7fffffffffffffffLL,
   .ns_per_instruction = 0.25,
};

Bool process_option(const HChar *arg)
{
   const HChar *text;
   if VG_STR_CLO (arg, "--out", options.out) {
   } else if VG_BOOL_CLO (arg, "--filter", options.filter) {
   } else if VG_BOOL_CLO (arg, "--allocations", options.allocations) {
   } else if VG_BINT_CLO (arg, "--filter-bytes", options.filter_bytes, LINE_BYTES, 1LL << 40) {
   } else if VG_BINT_CLO (arg, "--filter-ways", options.filter_ways, 1, 1024) {
   } else if VG_BINT_CLO (arg, "--max-bytes", options.max_bytes, 1, 0x7fffffffffffffffLL) {
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

void print_usage(void)
{
   VG_(printf)("    --out=PATH                  where the trace goes: PATH.0 and so on (needed)\n"
               "    --filter=yes|no             record what misses a cache of each thread [yes]\n"
               "    --filter-bytes=N            size of that cache [1048576]\n"
               "    --filter-ways=N             its associativity [16]\n"
               "    --allocations=yes|no        write PATH.alloc [yes]\n"
               "    --max-bytes=N               stop recording after so many bytes [no limit]\n"
               "    --ns-per-instruction=NUMBER time of one instruction [0.25]\n");
}
