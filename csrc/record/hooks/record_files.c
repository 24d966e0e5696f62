/* Threads, buffers, files, the end. */
#define _GNU_SOURCE
#include "record_hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_RECORDS (16 * 1024)
#define MAX_THREADS 4096
#define UNFINISHED UINT64_MAX
#define FLAG_FILTERED 2u
#define FLAG_INSTRUCTIONS 4u

/* The header of a file. Built by assignment: memcpy may be wrapped, and would come back here with the lock held. */
typedef struct {
   char magic[8];
   uint16_t version, record_bytes;
   uint32_t flags;
   double ns_per_tick;
   uint64_t records;
} header;

_Static_assert(sizeof(header) == 32, "the header has no gaps");

bb_options bb_record_options;

bb_thread bb_not_recorded;
_Thread_local bb_thread *bb_self;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static bb_thread *all_threads; /* those that live */
static unsigned threads_begun, unrecorded;
static uint64_t bytes_written, records_written;
static int failed_errno;
static bool enabled, truncated, over;

static uint64_t number_from(const char *name, uint64_t otherwise)
{
   const char *text = getenv(name);
   char *end;
   if (text == NULL || *text == '\0')
      return otherwise;
   unsigned long long value = strtoull(text, &end, 10);
   return *end == '\0' ? value : otherwise;
}

static void path_of(const bb_thread *thread, char *path, size_t size)
{
   snprintf(path, size, "%s.%u", bb_record_options.out, thread->number);
}

/* Writes all of it at `offset`, or at the end where that is -1; 0 or the error number. */
static int write_at(const char *path, int flags, off_t offset, const void *data, size_t bytes)
{
   int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0600);
   if (fd < 0)
      return errno;
   int error = 0;
   const char *from = data;
   while (bytes > 0 && error == 0) {
      ssize_t done = offset < 0 ? write(fd, from, bytes) : pwrite(fd, from, bytes, offset);
      if (done < 0 && errno == EINTR)
         continue;
      if (done <= 0) {
         error = done < 0 ? errno : ENOSPC;
         break;
      }
      from += done;
      bytes -= (size_t)done;
      if (offset >= 0)
         offset += done;
   }
   close(fd);
   return error;
}

static header make_header(uint64_t records)
{
   return (header){
      .magic = {'B', 'B', 'T', 'R', 'A', 'C', 'E', '1'},
      .version = 1,
      .record_bytes = sizeof(bb_record),
      .flags = FLAG_INSTRUCTIONS | (bb_record_options.filter ? FLAG_FILTERED : 0),
      .ns_per_tick = bb_record_options.ns_per_access,
      .records = records,
   };
}

static void failed(int error)
{
   if (failed_errno == 0)
      failed_errno = error;
   over = true;
}

/* With the lock held. The header goes first with a count that says: unfinished. */
static void write_out_locked(bb_thread *thread)
{
   char path[4096 + 16];
   size_t count = (size_t)(thread->next - thread->start);
   thread->next = thread->start;
   if (over || (count == 0 && thread->has_file))
      return;
   path_of(thread, path, sizeof path);
   int error = 0;
   if (!thread->has_file) {
      const header head = make_header(UNFINISHED);
      error = write_at(path, O_CREAT | O_APPEND, -1, &head, sizeof head);
      thread->has_file = error == 0;
      bytes_written += sizeof head;
   }
   const uint64_t limit = bb_record_options.max_bytes;
   const uint64_t room = limit > bytes_written ? (limit - bytes_written) / sizeof(bb_record) : 0;
   const bool limited = count > room;
   if (limited)
      count = (size_t)room;
   for (size_t i = 0; i < count; i++)
      thread->start[i].address = (thread->start[i].address & BB_ADDRESS_MASK) | (uint64_t)thread->number << 52;
   if (error == 0)
      error = write_at(path, O_APPEND, -1, thread->start, count * sizeof(bb_record));
   if (error != 0) {
      failed(error);
      return;
   }
   thread->written += count;
   records_written += count;
   bytes_written += count * sizeof(bb_record);
   if (limited)
      over = truncated = true;
}

void bb_write_out(bb_thread *thread)
{
   sigset_t all, before;
   /* A handler's accesses would fill the buffer that is being written, and wait for the lock that this thread has. */
   sigfillset(&all);
   pthread_sigmask(SIG_BLOCK, &all, &before);
   pthread_mutex_lock(&lock);
   write_out_locked(thread);
   pthread_mutex_unlock(&lock);
   pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void finish_header(const bb_thread *thread)
{
   char path[4096 + 16];
   const header head = make_header(thread->written);
   if (!thread->has_file)
      return;
   path_of(thread, path, sizeof path);
   int error = write_at(path, 0, 0, &head, sizeof head);
   if (error != 0)
      failed(error);
}

static void thread_ends(void *value)
{
   bb_thread *thread = value;
   /* What destructors of this thread still access goes nowhere: its buffer is about to be freed. */
   bb_self = &bb_not_recorded;
   pthread_mutex_lock(&lock);
   for (bb_thread **at = &all_threads; *at != NULL; at = &(*at)->other) {
      if (*at != thread)
         continue;
      *at = thread->other;
      write_out_locked(thread);
      finish_header(thread);
      break;
   }
   pthread_mutex_unlock(&lock);
   free(thread->cache);
   free(thread->start);
   free(thread);
}

static void say(const char *line)
{
   if (bb_record_options.log != NULL)
      write_at(bb_record_options.log, O_CREAT | O_APPEND, -1, line, strlen(line));
}

static void program_ends(void)
{
   char line[256];
   if (!enabled)
      return;
   pthread_mutex_lock(&lock);
   for (bb_thread *thread = all_threads; thread != NULL; thread = thread->other) {
      write_out_locked(thread);
      finish_header(thread);
   }
   over = true;
   if (failed_errno != 0) {
      snprintf(line, sizeof line, "==%d== record: failed what=write errno=%d\n", (int)getpid(), failed_errno);
      say(line);
   }
   snprintf(line, sizeof line, "==%d== record: end streams=%u records=%llu truncated=%u unrecorded=%u failed=%u\n",
            (int)getpid(), threads_begun, (unsigned long long)records_written, truncated ? 1u : 0u, unrecorded,
            failed_errno != 0 ? 1u : 0u);
   say(line);
   pthread_mutex_unlock(&lock);
}

static void before_fork(void)
{
   char line[64];
   pthread_mutex_lock(&lock);
   snprintf(line, sizeof line, "==%d== record: fork\n", (int)getpid());
   if (enabled)
      say(line);
}

static void after_fork_in_parent(void)
{
   pthread_mutex_unlock(&lock);
}

/* The child has copies of the buffers; it must not write them a second time. */
static void after_fork_in_child(void)
{
   over = true;
   enabled = false;
   pthread_mutex_unlock(&lock);
}

static void begin(void)
{
   bb_record_options.out = getenv("BUSBAR_RECORD_OUT");
   bb_record_options.log = getenv("BUSBAR_RECORD_LOG");
   bb_record_options.filter_ways = number_from("BUSBAR_RECORD_FILTER_WAYS", 16);
   const uint64_t bytes = number_from("BUSBAR_RECORD_FILTER_BYTES", 1 << 20);
   bb_record_options.filter = bytes != 0 && bb_record_options.filter_ways != 0;
   if (bb_record_options.filter) {
      uint64_t sets = bytes / BB_LINE_BYTES / bb_record_options.filter_ways;
      bb_record_options.filter_sets = sets == 0 ? 1 : sets;
   }
   bb_record_options.max_bytes = number_from("BUSBAR_RECORD_MAX_BYTES", UINT64_MAX);
   const char *ns = getenv("BUSBAR_RECORD_NS");
   bb_record_options.ns_per_access = ns == NULL ? 1 : strtod(ns, NULL);
   if (bb_record_options.out == NULL || bb_record_options.out[0] != '/' || !(bb_record_options.ns_per_access > 0))
      return;
   if (pthread_key_create(&thread_key, thread_ends) != 0)
      return;
   pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
   atexit(program_ends);
   enabled = true;
}

/* The lines of the filter, none of them filled. */
static uintptr_t *new_cache(void)
{
   const size_t lines = (size_t)(bb_record_options.filter_sets * bb_record_options.filter_ways);
   uintptr_t *cache = malloc(lines * sizeof *cache);
   for (size_t i = 0; cache != NULL && i < lines; i++)
      cache[i] = BB_NO_LINE;
   return cache;
}

bb_thread *bb_thread_begin(void)
{
   pthread_once(&once, begin);
   if (!enabled)
      return NULL;
   bb_thread *thread = calloc(1, sizeof *thread);
   if (thread == NULL)
      return NULL;
   thread->start = malloc(BUFFER_RECORDS * sizeof(bb_record));
   thread->cache = bb_record_options.filter ? new_cache() : NULL;
   if (thread->start == NULL || (bb_record_options.filter && thread->cache == NULL)) {
      free(thread->start);
      free(thread);
      return NULL;
   }
   thread->next = thread->start;
   thread->limit = thread->start + BUFFER_RECORDS;
   thread->last_line = BB_NO_LINE;
   pthread_mutex_lock(&lock);
   if (threads_begun == MAX_THREADS) {
      unrecorded++;
      pthread_mutex_unlock(&lock);
      free(thread->cache);
      free(thread->start);
      free(thread);
      return NULL;
   }
   thread->number = threads_begun++;
   /* A thread begins where the furthest of the others is. */
   for (const bb_thread *other = all_threads; other != NULL; other = other->other)
      if (other->now > thread->now)
         thread->now = other->now;
   thread->other = all_threads;
   all_threads = thread;
   pthread_mutex_unlock(&lock);
   pthread_setspecific(thread_key, thread);
   return thread;
}
