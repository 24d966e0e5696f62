/*
 * What lanes do together: barriers of a block, and a warp's shuffles, votes, matches and reductions. Lanes that come by
 * different ways wait until all members are there, then one of them does it for all.
 */
#include "engine.h"

/* --- Barriers of a block -------------------------------------------------------------------------------------------------------- */

static void release(struct block *b, unsigned number) {
  struct barrier *const bar = &b->barriers[number];
  for (uint32_t i = 0; i < b->warp_count; i++) {
    struct warp *const w = &b->warps[i];
    for (uint32_t k = 0; k < w->group_count; k++) {
      struct group *const g = &w->groups[k];
      if (g->state != GROUP_BARRIER || g->members != number) continue;
      const struct instr *const ip = g->ip;
      if (ip->family == F_BAR_RED) {
        uint8_t *const row = g->frame->rows + ip->d;
        if (ip->operation == 0) {
          for (uint32_t m = g->mask; m; m &= m - 1) ((lane_u32 *)(void *)row)[__builtin_ctz(m)] = bar->count;
        } else {
          lane_u32 *const p = (lane_u32 *)(void *)row;
          const bool yes = ip->operation == 1 ? bar->all : bar->count != 0;
          *p = (*p & ~g->mask) | (yes ? g->mask : 0);
        }
      }
      g->state = GROUP_RUNS;
      g->ip = ip + 1;
      w->waiting_lanes &= ~g->mask;
      w->news = true;
    }
  }
  *bar = (struct barrier){0};
}

bool ptx_barrier_check(struct block *b, unsigned number) {
  const struct barrier *const bar = &b->barriers[number];
  if (!bar->used || (bar->expected ? bar->arrived < bar->expected : bar->arrived < b->threads_left)) return false;
  release(b, number);
  return true;
}

HANDLER(ptx_barrier) {
  const uint32_t lanes = guard_mask(w, ip), rest = w->mask & ~lanes;
  if (!lanes) return ip + 1;
  ptx_account(w, ip + 1);
  const unsigned first = (unsigned)__builtin_ctz(lanes);
  const uint32_t number = ((const lane_u32 *)row_of(w, ip->a))[first], count = ip->b == NONE ? 0 : ((const lane_u32 *)row_of(w, ip->b))[first];
  for (uint32_t m = lanes; m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m);
    if (((const lane_u32 *)row_of(w, ip->a))[l] != number) return ptx_fault_text(w, ip, l, PTX_FAULT_INSTRUCTION, "lanes of a warp name different barriers");
  }
  if (number >= BARRIERS) return ptx_fault_text(w, ip, first, PTX_FAULT_INSTRUCTION, "a barrier number above 15");
  if (count % WARP || (ip->b != NONE && count == 0)) return ptx_fault_text(w, ip, first, PTX_FAULT_INSTRUCTION, "a barrier's thread count is not a multiple of 32");
  struct barrier *const bar = &w->block->barriers[number];
  if (bar->used && bar->expected != count) return ptx_fault_text(w, ip, first, PTX_FAULT_INSTRUCTION, "a barrier is used with different thread counts");
  if (!bar->used) *bar = (struct barrier){.used = true, .all = true, .expected = count};
  /* with a count, warps count whole: lanes that are not there any more too */
  bar->arrived += count && (lanes | w->waiting_lanes) == w->alive ? WARP - (uint32_t)__builtin_popcount(w->waiting_lanes) : (uint32_t)__builtin_popcount(lanes);
  if (ip->family == F_BAR_RED) {
    const uint32_t p = *(const lane_u32 *)row_of(w, ip->c) & lanes;
    bar->count += (uint32_t)__builtin_popcount(p);
    if (p != lanes) bar->all = false;
  }
  if (ip->family == F_BAR_ARRIVE) {
    ptx_barrier_check(w->block, number);
    return ip + 1;
  }
  w->waiting_lanes |= lanes;
  if (rest) w->groups[w->group_count++] = (struct group){w->frame, ip + 1, rest, GROUP_RUNS, 0};
  w->groups[w->group_count++] = (struct group){w->frame, ip, lanes, GROUP_BARRIER, number};
  w->forced = false;
  ptx_barrier_check(w->block, number);
  return ptx_resume(w);
}

/* --- A warp ------------------------------------------------------------------------------------------------------------------------ */

struct part {
  const struct frame *frame;
  const struct instr *ip;
  uint32_t lanes;
};

static const uint8_t *row_in(const struct warp *w, const struct frame *f, uint32_t row) { return row & 1 ? w->base[1] + (row & ~1u) : f->rows + row; }

static uint64_t value_in(const struct warp *w, const struct part *p, uint32_t row, unsigned bytes, unsigned lane) {
  const uint8_t *const r = row_in(w, p->frame, row);
  if (bytes == 0) return *(const lane_u32 *)(const void *)r >> lane & 1;
  return bytes == 8 ? ((const lane_u64 *)(const void *)r)[lane] : ((const lane_u32 *)(const void *)r)[lane];
}

static void set_predicate(const struct part *p, uint32_t row, uint32_t bits) {
  if (row == NONE) return;
  lane_u32 *const at = (lane_u32 *)(void *)((uintptr_t)p->frame->rows + row);
  *at = (*at & ~p->lanes) | (bits & p->lanes);
}

static void perform(const struct warp *w, const struct part *parts, unsigned count) {
  const struct instr *const ip = parts[0].ip;
  const enum family family = (enum family)ip->family;
  const bool shuffles = family == F_SHFL || family == F_SHFL_OLD, votes = family == F_VOTE || family == F_VOTE_OLD;
  const unsigned bytes = votes ? 0 : family == F_MATCH ? ptx_type_bytes[ip->type] : 4;
  uint64_t value[WARP] = {0};
  uint32_t lanes = 0;
  if (family == F_WARPSYNC) return;
  for (unsigned i = 0; i < count; i++) {
    lanes |= parts[i].lanes;
    if (family == F_ELECT) continue;
    for (uint32_t m = parts[i].lanes; m; m &= m - 1) {
      const unsigned l = (unsigned)__builtin_ctz(m);
      value[l] = value_in(w, &parts[i], parts[i].ip->a, bytes, l);
    }
  }
  uint32_t ones = 0, all = 0;
  uint64_t reduced = 0;
  if (votes)
    for (uint32_t m = lanes; m; m &= m - 1) ones |= (uint32_t)value[__builtin_ctz(m)] << __builtin_ctz(m);
  if (family == F_REDUX) {
    bool first = true;
    for (uint32_t m = lanes; m; m &= m - 1) {
      const uint32_t v = (uint32_t)value[__builtin_ctz(m)], r = (uint32_t)reduced;
      const bool is_signed = ip->type == T_S32, less = is_signed ? (int32_t)v < (int32_t)r : v < r;
      switch (ip->operation) {
        case ATOM_ADD: reduced = first ? v : r + v; break;
        case ATOM_MIN: reduced = first || less ? v : r; break;
        case ATOM_MAX: reduced = first || !less ? v : r; break;
        case ATOM_AND: reduced = first ? v : r & v; break;
        case ATOM_OR: reduced = first ? v : r | v; break;
        default: reduced = first ? v : r ^ v;
      }
      first = false;
    }
  }
  if (family == F_MATCH && ip->operation) {
    all = lanes;
    const uint64_t first = value[__builtin_ctz(lanes)];
    for (uint32_t m = lanes; m; m &= m - 1)
      if (value[__builtin_ctz(m)] != first) all = 0;
  }
  for (unsigned i = 0; i < count; i++) {
    const struct part *const p = &parts[i];
    lane_u32 *const d = p->ip->d == NONE ? NULL : (lane_u32 *)(void *)((uintptr_t)p->frame->rows + p->ip->d);
    uint32_t bits = 0;
    if (votes && ip->operation < 3) {
      const bool yes = ip->operation == 0 ? ones == lanes : ip->operation == 1 ? ones != 0 : ones == lanes || ones == 0;
      set_predicate(p, p->ip->d, yes ? FULL : 0);
      continue;
    }
    for (uint32_t m = p->lanes; m; m &= m - 1) {
      const unsigned l = (unsigned)__builtin_ctz(m);
      uint32_t out = 0;
      if (shuffles) {
        const uint32_t b = (uint32_t)value_in(w, p, p->ip->b, 4, l) & 31, c = (uint32_t)value_in(w, p, (uint32_t)p->ip->imm, 4, l);
        const uint32_t segment = c >> 8 & 31, clamp = c & 31, most = (l & segment) | (clamp & ~segment & 31);
        const int32_t j = ip->operation == 0   ? (int32_t)l - (int32_t)b
                          : ip->operation == 1 ? (int32_t)(l + b)
                          : ip->operation == 2 ? (int32_t)(l ^ b)
                                               : (int32_t)((l & segment) | (b & ~segment & 31));
        const bool valid = ip->operation == 0 ? j >= (int32_t)most : j <= (int32_t)most;
        bits |= (uint32_t)valid << l;
        /* a lane that does not take part has nothing to give */
        out = (uint32_t)value[valid && lanes >> (j & 31) & 1 ? (unsigned)j & 31 : l];
      } else if (votes) {
        out = ones;
      } else if (family == F_REDUX) {
        out = (uint32_t)reduced;
      } else if (family == F_ELECT) {
        out = (uint32_t)__builtin_ctz(lanes);
        bits |= (uint32_t)(l == out) << l;
      } else if (ip->operation) { /* match.all */
        out = all;
        bits |= (uint32_t)(all != 0) << l;
      } else {
        for (uint32_t k = lanes; k; k &= k - 1)
          if (value[__builtin_ctz(k)] == value[l]) out |= k & (0u - k);
      }
      if (d) d[l] = out;
    }
    set_predicate(p, p->ip->e, bits);
  }
}

/* Are all members that still live waiting? Then it is done, and they run on. */
static bool complete(struct warp *w, uint32_t members) {
  struct part parts[WARP];
  unsigned count = 0;
  uint32_t lanes = 0;
  for (uint32_t i = 0; i < w->group_count; i++) {
    const struct group *const g = &w->groups[i];
    if (g->state != GROUP_TOGETHER || g->members != members) continue;
    if (count && (g->ip->family != parts[0].ip->family || g->ip->operation != parts[0].ip->operation || g->ip->type != parts[0].ip->type)) continue;
    parts[count++] = (struct part){g->frame, g->ip, g->mask};
    lanes |= g->mask;
  }
  if (!count || (members & w->alive & ~lanes)) return false;
  perform(w, parts, count);
  for (uint32_t i = 0; i < w->group_count; i++) {
    struct group *const g = &w->groups[i];
    for (unsigned k = 0; k < count; k++)
      if (g->state == GROUP_TOGETHER && g->members == members && g->ip == parts[k].ip && g->frame == parts[k].frame && g->mask == parts[k].lanes) {
        g->state = GROUP_RUNS;
        g->ip++;
        break;
      }
  }
  return true;
}

void ptx_together_check(struct warp *w) {
  for (uint32_t i = 0; i < w->group_count; i++)
    if (w->groups[i].state == GROUP_TOGETHER && complete(w, w->groups[i].members)) i = NONE; /* from the beginning */
}

HANDLER(ptx_together) {
  const uint32_t lanes = guard_mask(w, ip);
  if (!lanes) return ip + 1;
  if (ip->family == F_ACTIVEMASK) {
    for (uint32_t m = lanes; m; m &= m - 1) ((lane_u32 *)row_of(w, ip->d))[__builtin_ctz(m)] = lanes;
    return ip + 1;
  }
  struct part part = {w->frame, ip, lanes};
  if (ip->c == NONE) { /* the forms without .sync: whoever is here */
    perform(w, &part, 1);
    return ip + 1;
  }
  const lane_u32 *const masks = row_of(w, ip->c);
  const uint32_t members = masks[__builtin_ctz(lanes)];
  uint32_t same = 0;
  for (uint32_t m = lanes; m; m &= m - 1)
    if (masks[__builtin_ctz(m)] == members) same |= m & (0u - m);
  if (same == lanes && !(members & w->alive & ~lanes)) {
    perform(w, &part, 1);
    return ip + 1;
  }
  /* lanes that name different members, or wait for others: each set is a group of its own */
  ptx_account(w, ip + 1);
  struct frame *const frame = w->frame;
  const uint32_t rest = w->mask & ~lanes;
  if (rest) w->groups[w->group_count++] = (struct group){frame, ip + 1, rest, GROUP_RUNS, 0};
  for (uint32_t left = lanes; left;) {
    const uint32_t wanted = masks[__builtin_ctz(left)];
    uint32_t set = 0;
    for (uint32_t m = left; m; m &= m - 1)
      if (masks[__builtin_ctz(m)] == wanted) set |= m & (0u - m);
    left &= ~set;
    w->groups[w->group_count++] = (struct group){frame, ip, set, GROUP_TOGETHER, wanted};
    complete(w, wanted);
  }
  w->forced = false;
  return ptx_resume(w);
}
