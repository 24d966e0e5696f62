/*
 * Streams: one for each thread, a buffer and a file each.
 *
 * A file is opened for each write and closed behind it, so the program never sees a descriptor of ours, and a thousand
 * threads need none.
 */
#include "record.h"
#include "pub_tool_libcproc.h"
#include "pub_tool_threadstate.h"
#include "pub_tool_vki.h"

#define BUFFER_RECORDS (16 * 1024)
#define NO_STREAM (~0U)
#define UNFINISHED (~0ULL)

typedef struct {
   Record *start;
   ULong written; /* records in the file */
   ULong last;    /* instruction count of the last record, for a later thread in the same stream */
   Bool alive;
   Bool has_file;
} Stream;

typedef struct {
   Running saved;
   UInt stream;
} Thread;

Running running;

static Stream streams[MAX_STREAMS];
static UInt stream_count;
static Thread *threads;
static ThreadId selected = VG_INVALID_THREADID;
static ULong bytes_written;
static ULong unrecorded_threads;
static Bool stopped;    /* nothing more is written: a limit, an error */
static Bool is_child;   /* of a fork: nothing is written or said */
static Bool truncated;
static Record scratch[SLACK_RECORDS + 1]; /* where records go that nobody keeps */

Bool recording(void)
{
   return !is_child;
}

void record_failed(const HChar *what, Int error)
{
   if (!stopped && !is_child)
      VG_(umsg)("record: failed what=%s errno=%d\n", what, error);
   stopped = True;
}

static const HChar *stream_path(UInt stream, HChar *path, UInt size)
{
   VG_(snprintf)(path, (Int)size, "%s.%u", options.out, stream);
   return path;
}

/* Appends to a file that it creates if need be; 0 or the error number. */
static Int append_to_file(const HChar *path, const void *data, Int bytes)
{
   SysRes opened = VG_(open)(path, VKI_O_WRONLY | VKI_O_CREAT | VKI_O_APPEND, 0600);
   if (sr_isError(opened))
      return (Int)sr_Err(opened);
   Int fd = (Int)sr_Res(opened), error = 0;
   const HChar *from = data;
   while (bytes > 0 && error == 0) {
      Int done = VG_(write)(fd, from, bytes);
      if (done < 0)
         error = -done;
      else if (done == 0)
         error = VKI_ENOSPC;
      else
         from += done, bytes -= done;
   }
   VG_(close)(fd);
   return error;
}

static void fill_header(UChar *header, ULong count)
{
   const UShort version = 1, record_bytes = RECORD_BYTES;
   const UInt flags = FLAG_INSTRUCTIONS | (options.filter ? FLAG_FILTERED : 0);
   VG_(memcpy)(header, "BBTRACE1", 8);
   VG_(memcpy)(header + 8, &version, 2);
   VG_(memcpy)(header + 10, &record_bytes, 2);
   VG_(memcpy)(header + 12, &flags, 4);
   VG_(memcpy)(header + 16, &options.ns_per_instruction, 8);
   VG_(memcpy)(header + 24, &count, 8);
}

/* Writes out what the buffer of a stream holds up to `end`. The header goes first with a count that says: unfinished. */
static void write_out(UInt number, const Record *end)
{
   Stream *stream = &streams[number];
   HChar path[VKI_PATH_MAX + 16];
   ULong count = (ULong)(end - stream->start);
   if (stopped || is_child || (count == 0 && stream->has_file))
      return;
   stream_path(number, path, sizeof path);
   if (!stream->has_file) {
      UChar header[HEADER_BYTES];
      fill_header(header, UNFINISHED);
      Int error = append_to_file(path, header, HEADER_BYTES);
      if (error != 0) {
         record_failed("write", error);
         return;
      }
      stream->has_file = True;
      bytes_written += HEADER_BYTES;
   }
   ULong room = (ULong)options.max_bytes > bytes_written ? ((ULong)options.max_bytes - bytes_written) / RECORD_BYTES : 0;
   Bool limited = count > room;
   if (limited)
      count = room;
   for (ULong i = 0; i < count; i++)
      stream->start[i].address = (stream->start[i].address & ADDRESS_MASK) | (ULong)number << 52;
   Int error = append_to_file(path, stream->start, (Int)(count * RECORD_BYTES));
   if (error != 0) {
      record_failed("write", error);
      return;
   }
   stream->written += count;
   bytes_written += count * RECORD_BYTES;
   if (limited)
      stopped = truncated = True;
}

static void finish_header(UInt number)
{
   HChar path[VKI_PATH_MAX + 16];
   UChar header[HEADER_BYTES];
   SysRes opened = VG_(open)(stream_path(number, path, sizeof path), VKI_O_WRONLY, 0);
   if (sr_isError(opened)) {
      record_failed("open", (Int)sr_Err(opened));
      return;
   }
   fill_header(header, streams[number].written);
   Int done = VG_(write)((Int)sr_Res(opened), header, HEADER_BYTES);
   VG_(close)((Int)sr_Res(opened));
   if (done != HEADER_BYTES)
      record_failed("write", done < 0 ? -done : VKI_ENOSPC);
}

/* `running` when no thread that is recorded runs: records go where nobody looks, and never fill it up. */
static void run_unrecorded(void)
{
   running.next = scratch;
   running.limit = scratch + 1;
   running.last = running.instructions;
}

/* Called when the buffer is full or much time has passed: afterwards there is room, and the gap fits a record. */
void make_room(void)
{
   UInt number = threads[selected].stream;
   if (number == NO_STREAM) {
      run_unrecorded();
      return;
   }
   if (running.next >= running.limit) {
      write_out(number, running.next);
      running.next = streams[number].start;
   }
   if (running.instructions - running.last > MAX_TICKS) {
      running.next->address = running.instructions - running.last;
      running.next->rest = (ULong)OP_WAIT << 32;
      running.next++;
      running.last = running.instructions;
   }
}

/* Puts down one access at instruction count `now`. */
void put_record(ULong now, UWord address, UInt op, UInt bytes)
{
   while (running.next >= running.limit || now - running.last > MAX_TICKS) {
      ULong at = running.instructions;
      running.instructions = now;
      make_room();
      running.instructions = at;
      if (threads[selected].stream == NO_STREAM)
         return;
   }
   running.next->address = address;
   running.next->rest = (now - running.last) | (ULong)op << 32 | (ULong)bytes << 48;
   running.next++;
   running.last = now;
}

VG_REGPARM(2) void record_one(UWord address, UWord packed)
{
   put_record(running.instructions + PACKED_AHEAD(packed), address, PACKED_OP(packed), PACKED_BYTES(packed));
}

/* A stream for a new thread: a new one while there are numbers left, else one whose thread has ended. */
static UInt claim_stream(void)
{
   UInt number = stream_count;
   if (stream_count < MAX_STREAMS) {
      stream_count++;
   } else {
      for (number = 0; number < MAX_STREAMS && streams[number].alive; number++)
         ;
      if (number == MAX_STREAMS)
         return NO_STREAM;
   }
   streams[number].alive = True;
   streams[number].start = VG_(malloc)("bb.buffer", (BUFFER_RECORDS + SLACK_RECORDS) * sizeof(Record));
   return number;
}

void stream_thread_created(ThreadId parent, ThreadId child)
{
   Thread *thread = &threads[child];
   ULong now = 0;
   if (parent == selected && parent != VG_INVALID_THREADID)
      now = running.instructions;
   else if (parent != VG_INVALID_THREADID)
      now = threads[parent].saved.instructions;
   thread->stream = claim_stream();
   Running *saved = &thread->saved;
   VG_(memset)(saved, 0, sizeof *saved);
   saved->last_line = saved->last_dirty_line = NO_LINE;
   saved->instructions = now;
   if (thread->stream == NO_STREAM) {
      unrecorded_threads++;
      return;
   }
   Stream *stream = &streams[thread->stream];
   /* Time in a stream never goes back: a thread that takes over a stream begins no earlier than its last record. */
   if (saved->instructions < stream->last)
      saved->instructions = stream->last;
   saved->last = stream->last;
   saved->next = stream->start;
   saved->limit = stream->start + BUFFER_RECORDS;
}

Bool stream_select(ThreadId tid)
{
   if (tid == selected)
      return False;
   if (selected != VG_INVALID_THREADID)
      threads[selected].saved = running;
   selected = tid;
   running = threads[tid].saved;
   if (threads[tid].stream == NO_STREAM)
      run_unrecorded();
   return True;
}

void stream_thread_ended(ThreadId tid)
{
   Thread *thread = &threads[tid];
   if (tid == selected) {
      thread->saved = running;
      selected = VG_INVALID_THREADID;
   }
   if (thread->stream == NO_STREAM)
      return;
   write_out(thread->stream, thread->saved.next);
   Stream *stream = &streams[thread->stream];
   stream->last = thread->saved.last;
   stream->alive = False;
   VG_(free)(stream->start);
   stream->start = NULL;
   thread->stream = NO_STREAM;
}

void streams_start(void)
{
   threads = VG_(calloc)("bb.threads", VG_N_THREADS, sizeof *threads);
   for (UInt i = 0; i < VG_N_THREADS; i++)
      threads[i].stream = NO_STREAM;
}

static void write_all(void)
{
   if (selected != VG_INVALID_THREADID)
      threads[selected].saved = running;
   for (UInt i = 0; i < VG_N_THREADS; i++) {
      Thread *thread = &threads[i];
      if (thread->stream == NO_STREAM)
         continue;
      write_out(thread->stream, thread->saved.next);
      thread->saved.next = streams[thread->stream].start;
   }
   if (selected != VG_INVALID_THREADID)
      running = threads[selected].saved;
}

/* May be called again: after an exec that failed the program goes on. */
void streams_finish(ULong allocations)
{
   ULong records = 0;
   if (is_child)
      return;
   write_all();
   for (UInt i = 0; i < stream_count; i++) {
      if (streams[i].has_file)
         finish_header(i);
      records += streams[i].written;
   }
   VG_(umsg)("record: end streams=%u records=%llu allocations=%llu truncated=%u unrecorded=%llu failed=%u\n",
             stream_count, records, allocations, truncated ? 1U : 0U, unrecorded_threads,
             stopped && !truncated ? 1U : 0U);
}

/* A forked child has copies of the buffers; it must not write them a second time. */
void streams_stop_in_child(void)
{
   is_child = True;
}
