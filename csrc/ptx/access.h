/* What memory.c and atomic.c share: one lane's access. */
#ifndef PTX_ACCESS_H
#define PTX_ACCESS_H

#include "engine.h"

struct place {
  uint64_t address;
  uint8_t *host;
  uint32_t flags; /* PTX_REGION_ */
  uint8_t kind;   /* SPACE_: global, shared, local, param */
};

/* Where an access of that width lies; false with a fault. */
bool ptx_place(struct warp *w, const struct instr *ip, unsigned lane, uint64_t address, unsigned width, bool write, struct place *out);
bool ptx_read_lane(struct warp *w, const struct instr *ip, unsigned lane, uint64_t address, unsigned width, void *out);
bool ptx_write_lane(struct warp *w, const struct instr *ip, unsigned lane, uint64_t address, unsigned width, const void *value);
/* Buffered stores to these bytes reach memory: an atomic follows. */
void ptx_weak_settle(struct warp *w, const struct place *p, unsigned width);

static inline uint64_t ptx_address_of(const struct warp *w, const struct instr *ip, unsigned lane) {
  const uint64_t frame = ip->flags & FLAG_FRAME ? w->frame->local_base : 0;
  if (ip->a == NONE) return (uint64_t)ip->imm + frame;
  if (ip->flags & FLAG_ADDRESS32) return (uint32_t)(((const lane_u32 *)row_of(w, ip->a))[lane] + (uint32_t)ip->imm);
  return ((const lane_u64 *)row_of(w, ip->a))[lane] + (uint64_t)ip->imm + frame;
}

#endif
