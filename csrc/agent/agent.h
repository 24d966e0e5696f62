/*
 * busbar-agent: what a tool needs of a machine on which Deno does not run, over standard input and output.
 *
 * A request is a frame: 32 bits of length of what follows, 32 bits of number, then operations: 16 bits of operation,
 * 32 bits of length, arguments. The answer has the request's number and for each operation a 32-bit status (0 or a count,
 * or a negative error number as Linux numbers errors on most machines), 32 bits of length, and bytes. All numbers are little-endian.
 * What the arguments are is in operations.h; they are taken apart in one place, decode() in dispatch.c.
 *
 * Whoever sends the frames is not trusted more than the options that the agent was started with.
 */
#ifndef BUSBAR_AGENT_H
#define BUSBAR_AGENT_H

#include <stddef.h>
#include <stdint.h>

#include "operations.h"

enum {
  MAX_REQUEST = 17 << 20,      /* a frame that asks */
  MAX_ANSWER = 64 << 20,       /* and one that answers */
  MAX_READ = 16 << 20,         /* bytes of one file in one operation */
  MAX_BLOCK = 1 << 20,         /* bytes of registers in one operation */
  MAX_PATH = 4096,             /* as the kernel has it, with the zero byte */
  MAX_ARGUMENTS = 12,
  MAX_HANDLES = 256,
};

/* The longest that one loop or poll runs, in microseconds; a fuzzer has less. */
#ifndef MAX_LIMIT_US
#define MAX_LIMIT_US 1000000u
#endif

enum right { RIGHT_READ = 0, RIGHT_WRITE = 1, RIGHT_ACCELERATOR = 2 };

/* An argument: a number, or bytes of the frame. A path has a zero byte behind it, in the frame's own copy. */
struct value {
  uint64_t number;
  const uint8_t *bytes;
  uint32_t size;
};

/* Bytes that grow up to a limit. After a failure nothing is added any more. */
struct buffer {
  uint8_t *bytes;
  size_t size, room, limit;
  int failed;
};

struct call {
  struct value arg[MAX_ARGUMENTS];
  struct buffer *out;
};

/* What the agent was started with. */
struct options {
  uint32_t rights;      /* bits of enum right */
  const char *root;     /* the folder that stands for /, for tests and for images */
  int step_by_step;     /* resolve paths without openat2 */
};
extern struct options options;

/* rights.c */
int may(enum right right);

/* buffer.c */
void put_bytes(struct buffer *out, const void *bytes, size_t size);
void put8(struct buffer *out, uint8_t value);
void put16(struct buffer *out, uint16_t value);
void put32(struct buffer *out, uint32_t value);
void put64(struct buffer *out, uint64_t value);
void set32(struct buffer *out, size_t at, uint32_t value);
uint64_t get_number(const uint8_t *from, unsigned bytes);
/* Makes room for size more bytes; their place, or NULL. They count as added by buffer->size += used. */
uint8_t *put_room(struct buffer *out, size_t size);
/* A status as the wire numbers errors. */
int32_t wire_error(int32_t status);

/* dispatch.c. Answers all operations of a request. 0, or -EPROTO for a frame that is none. */
int answer(const uint8_t *request, size_t size, struct buffer *out);

/* path.c: every path is resolved beneath /sys, /proc or /dev, through links that stay there. */
int path_begin(void);
/* Opens what a path names: O_PATH and other flags of open, never O_CREAT. A descriptor, or -errno. */
int path_open(const char *path, int flags);
/* The folder that a path's last name lies in, and that name. */
int path_parent(const char *path, const char **name);
/* Opens a regular file again that was found by O_PATH: never a device, a FIFO or a socket. */
int path_open_regular(const char *path, int flags);
int path_reopen(int fd, int flags);
/* The path of a descriptor, without the root before it. */
int path_of(int fd, char *to, size_t room);

/* files.c, for paths that something else than a frame names. 0, or -errno. */
int file_read(const char *path, uint64_t offset, uint64_t size, struct buffer *out);
int file_write(const char *path, int flags, uint64_t offset, const uint8_t *bytes, size_t size);
int link_read(const char *path, struct buffer *out);
int folder_make(const char *path);
int folder_remove(const char *path);

/* journal.c */
/* The connection is gone: puts back what its journals list. */
void journal_lost(void);
int journal_command(int argc, char **argv);

#define DECLARE(number, name, right, arguments) int32_t operation_##name(struct call *call);
AGENT_OPERATIONS(DECLARE)
#undef DECLARE

#endif
