/* What the agent keeps open between requests. */
#ifndef BUSBAR_AGENT_HANDLES_H
#define BUSBAR_AGENT_HANDLES_H

#include <stdint.h>

enum handle_kind { HANDLE_FREE, HANDLE_REGISTERS, HANDLE_MEMORY, HANDLE_NVME, HANDLE_ORADAX, HANDLE_ORADAX_BUFFER };

struct handle {
  enum handle_kind kind;
  int writable;
  void *address;        /* of mapped memory */
  uint64_t mapped_size; /* its length */
  uint64_t first;       /* the first offset that address stands for */
  uint64_t end;         /* the offset behind the last one */
  int fd;
  struct bb_oradax *oradax;
  uint32_t owner; /* of a buffer: the accelerator's handle */
  /* A random cycle through memory, as far as it is made. Anything else that is written to the memory ends it. */
  uint64_t chase_done;
  uint64_t chase_offset, chase_size;
  uint32_t chase_stride;
  int chase_is_ready;
  void *chase_position;
};

/* A free one, its number in *number, or NULL. */
struct handle *handle_new(enum handle_kind kind, uint32_t *number);
/* The handle of a number, of that kind, or NULL. */
struct handle *handle_get(uint64_t number, enum handle_kind kind);
void handle_close(struct handle *handle);
void handle_close_all(void);

#endif
