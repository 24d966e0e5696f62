/* Special registers. */
#define _POSIX_C_SOURCE 200809L
#include "engine.h"

#include <time.h>

enum { S_DYNAMIC, S_TID, S_NTID = S_TID + 3, S_CTAID = S_NTID + 3, S_NCTAID = S_CTAID + 3, S_LANEID = S_NCTAID + 3, S_WARPID, S_NWARPID,
       S_SMID, S_NSMID, S_GRIDID, S_MASK_EQ, S_MASK_LT, S_MASK_LE, S_MASK_GT, S_MASK_GE, S_CLOCK, S_CLOCK_HI, S_CLOCK64, S_GLOBALTIMER,
       S_GLOBALTIMER_LO, S_GLOBALTIMER_HI, S_DYNAMIC_SIZE, S_TOTAL_SIZE, S_AGGREGATE_SIZE, S_ENVREG0, S_ZERO = S_ENVREG0 + 32, S_ONE, S_FALSE, S_PM };

static const struct {
  const char *name;
  uint8_t number, type;
} names[] = {
    {"%tid.x", S_TID, T_U32}, {"%tid.y", S_TID + 1, T_U32}, {"%tid.z", S_TID + 2, T_U32}, {"%ntid.x", S_NTID, T_U32}, {"%ntid.y", S_NTID + 1, T_U32},
    {"%ntid.z", S_NTID + 2, T_U32}, {"%ctaid.x", S_CTAID, T_U32}, {"%ctaid.y", S_CTAID + 1, T_U32}, {"%ctaid.z", S_CTAID + 2, T_U32},
    {"%nctaid.x", S_NCTAID, T_U32}, {"%nctaid.y", S_NCTAID + 1, T_U32}, {"%nctaid.z", S_NCTAID + 2, T_U32}, {"%laneid", S_LANEID, T_U32},
    {"%warpid", S_WARPID, T_U32}, {"%nwarpid", S_NWARPID, T_U32}, {"%smid", S_SMID, T_U32}, {"%nsmid", S_NSMID, T_U32}, {"%gridid", S_GRIDID, T_U64},
    {"%lanemask_eq", S_MASK_EQ, T_U32}, {"%lanemask_lt", S_MASK_LT, T_U32}, {"%lanemask_le", S_MASK_LE, T_U32}, {"%lanemask_gt", S_MASK_GT, T_U32},
    {"%lanemask_ge", S_MASK_GE, T_U32}, {"%clock", S_CLOCK, T_U32}, {"%clock_hi", S_CLOCK_HI, T_U32}, {"%clock64", S_CLOCK64, T_U64},
    {"%globaltimer", S_GLOBALTIMER, T_U64}, {"%globaltimer_lo", S_GLOBALTIMER_LO, T_U32}, {"%globaltimer_hi", S_GLOBALTIMER_HI, T_U32},
    {"%dynamic_smem_size", S_DYNAMIC_SIZE, T_U32}, {"%total_smem_size", S_TOTAL_SIZE, T_U32}, {"%aggr_smem_size", S_AGGREGATE_SIZE, T_U32},
    {"%is_explicit_cluster", S_FALSE, T_PRED}, {"%clusterid.x", S_CTAID, T_U32}, {"%clusterid.y", S_CTAID + 1, T_U32}, {"%clusterid.z", S_CTAID + 2, T_U32},
    {"%nclusterid.x", S_NCTAID, T_U32}, {"%nclusterid.y", S_NCTAID + 1, T_U32}, {"%nclusterid.z", S_NCTAID + 2, T_U32}, {"%cluster_ctaid.x", S_ZERO, T_U32},
    {"%cluster_ctaid.y", S_ZERO, T_U32}, {"%cluster_ctaid.z", S_ZERO, T_U32}, {"%cluster_nctaid.x", S_ONE, T_U32}, {"%cluster_nctaid.y", S_ONE, T_U32},
    {"%cluster_nctaid.z", S_ONE, T_U32}, {"%cluster_ctarank", S_ZERO, T_U32}, {"%cluster_nctarank", S_ONE, T_U32}, {"%reserved_smem_offset_begin", S_ZERO, T_U32},
    {"%reserved_smem_offset_end", S_ZERO, T_U32}, {"%current_graph_exec", S_ZERO, T_U64},
};

int ptx_special_register(const char *name, size_t length, enum type *type) {
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strlen(names[i].name) == length && !memcmp(names[i].name, name, length)) {
      *type = (enum type)names[i].type;
      return names[i].number;
    }
  if (length > 7 && length < 10 && !memcmp(name, "%envreg", 7)) {
    unsigned n = 0;
    for (size_t i = 7; i < length; i++) n = n * 10 + (name[i] < '0' || name[i] > '9' ? 1000u : (unsigned)(name[i] - '0'));
    *type = T_B32;
    if (n < 32) return (int)(S_ENVREG0 + n);
  }
  if (length == 4 && !memcmp(name, "%pm", 3) && name[3] >= '0' && name[3] <= '7') {
    *type = T_U32;
    return S_PM;
  }
  return -1;
}

static uint64_t clock_of(const struct ptx_launch *l) {
  const uint64_t ns = ptx_now_ns() - l->started_ns, khz = l->config.clock_khz ? l->config.clock_khz : 1000000;
  return (uint64_t)((unsigned __int128)ns * khz / 1000000);
}

/* Those that are the same for all lanes. */
static uint64_t common(struct warp *w, unsigned number) {
  const struct ptx_launch *const l = w->launch;
  const struct ptx_launch_config *const c = &l->config;
  struct timespec wall;
  switch (number) {
    case S_DYNAMIC: return l->dynamic_offset;
    case S_NTID: case S_NTID + 1: case S_NTID + 2: return c->block[number - S_NTID];
    case S_CTAID: case S_CTAID + 1: case S_CTAID + 2: return w->block->id[number - S_CTAID];
    case S_NCTAID: case S_NCTAID + 1: case S_NCTAID + 2: return c->grid[number - S_NCTAID];
    case S_WARPID: return w->index;
    case S_NWARPID: return 64;
    case S_SMID: return w->block->linear % (c->multiprocessors ? c->multiprocessors : 1);
    case S_NSMID: return c->multiprocessors ? c->multiprocessors : 1;
    case S_GRIDID: return c->grid_id;
    case S_CLOCK: case S_CLOCK64: ptx_saw(w, 1); return clock_of(l);
    case S_CLOCK_HI: return clock_of(l) >> 32;
    case S_GLOBALTIMER: case S_GLOBALTIMER_LO: case S_GLOBALTIMER_HI:
      ptx_saw(w, 2);
      clock_gettime(CLOCK_REALTIME, &wall);
      return ((uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec) >> (number == S_GLOBALTIMER_HI ? 32 : 0);
    case S_DYNAMIC_SIZE: return c->dynamic_shared;
    case S_TOTAL_SIZE: case S_AGGREGATE_SIZE: return l->shared_bytes;
    case S_ENVREG0 + 1: return c->grid_workspace >> 32;
    case S_ENVREG0 + 2: return (uint32_t)c->grid_workspace;
    case S_ONE: return 1;
    default: return 0;
  }
}

HANDLER(ptx_special) {
  const unsigned number = (unsigned)ip->imm;
  const uint64_t all = common(w, number);
  if (ip->type == T_PRED) {
    write_predicate(w, ip->d, all ? FULL : 0);
    return ip + 1;
  }
  for (uint32_t m = w->mask; m; m &= m - 1) {
    const unsigned lane = (unsigned)__builtin_ctz(m);
    uint64_t value = all;
    uint32_t thread[3];
    const uint32_t bit = 1u << lane;
    switch (number) {
      case S_TID: case S_TID + 1: case S_TID + 2:
        ptx_thread_of(w, lane, thread);
        value = thread[number - S_TID];
        break;
      case S_LANEID: value = lane; break;
      case S_MASK_EQ: value = bit; break;
      case S_MASK_LT: value = bit - 1; break;
      case S_MASK_LE: value = bit | (bit - 1); break;
      case S_MASK_GT: value = ~(bit | (bit - 1)); break;
      case S_MASK_GE: value = ~(bit - 1); break;
      default: break;
    }
    if (ptx_type_bytes[ip->type] == 8) ((lane_u64 *)row_of(w, ip->d))[lane] = value;
    else ((lane_u32 *)row_of(w, ip->d))[lane] = (uint32_t)value;
  }
  return ip + 1;
}
