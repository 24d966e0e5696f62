/*
 * The groups of lanes of a warp, their frames, and which group runs next.
 *
 * The group deepest in calls and then lowest in its counter runs; groups that meet become one. A group that has used its
 * slice gives way to the next one even so, since it may be waiting for it.
 */
#include "engine.h"

#include <stdlib.h>

/* Whose frames this thread takes and gives back; NULL: the system's. launch.c sets it. */
_Thread_local struct ptx_runner *ptx_current_runner;

enum { GROUP_SLICE = 2048, LONG_PATIENCE = 64 };

void ptx_set_mask(struct warp *w, uint32_t mask) {
  w->mask = mask;
  w->lane_count = (uint32_t)__builtin_popcount(mask);
}

void ptx_use_frame(struct warp *w, struct frame *frame) {
  w->frame = frame;
  w->base[0] = frame->rows;
}

static void count_lines(struct warp *w, const struct instr *from, const struct instr *end) {
  const struct function *f = w->frame->function;
  const struct instr *const code = w->launch->code[f->index];
  for (; from < end; from++)
    if (from->counted) atomic_fetch_add_explicit(&w->launch->counts[f->index][from - code], (uint64_t)__builtin_popcount(guard_mask(w, from)), memory_order_relaxed);
}

void ptx_account(struct warp *w, const struct instr *end) {
  const int64_t n = end - w->entry;
  w->fuel -= n;
  w->executed += (uint64_t)n * w->lane_count;
  if (w->launch->counts) count_lines(w, w->entry, end);
  w->entry = end;
}

/* --- Frames ------------------------------------------------------------------------------------------------------------------- */

struct frame *ptx_frame_new(struct ptx_runner *runner, const struct function *function, struct frame *parent) {
  const size_t bytes = sizeof(struct frame) + function->frame_bytes;
  const unsigned size_class = bytes <= 64 ? 6 : 64u - (unsigned)__builtin_clzll(bytes - 1);
  if (size_class >= SIZE_CLASSES) return NULL;
  struct frame *f = runner->frames[size_class];
  if (f) runner->frames[size_class] = f->parent;
  else f = aligned_alloc(64, (size_t)1 << size_class);
  if (!f) return NULL;
  memset(f, 0, bytes);
  f->function = function;
  f->parent = parent;
  f->size_class = size_class;
  if (parent) f->depth = parent->depth + 1;
  return f;
}

void ptx_frame_free(struct ptx_runner *runner, struct frame *frame) {
  if (!runner) {
    free(frame);
    return;
  }
  frame->parent = runner->frames[frame->size_class];
  runner->frames[frame->size_class] = frame;
}

/* Lanes leave a frame for good; and those below it when `all`. */
void ptx_leave_frames(struct frame *frame, uint32_t lanes, bool all) {
  while (frame) {
    struct frame *const parent = frame->parent;
    frame->lanes &= ~lanes;
    if (!frame->lanes) ptx_frame_free(ptx_current_runner, frame);
    if (!all) return;
    frame = parent;
  }
}

/* Of a warp that is given up in the middle. */
void ptx_release_frames(struct warp *w) {
  if (w->ip) ptx_leave_frames(w->frame, w->mask, true);
  for (uint32_t i = 0; i < w->group_count; i++) ptx_leave_frames(w->groups[i].frame, w->groups[i].mask, true);
  w->group_count = 0;
  w->ip = NULL;
}

/* May lanes of the two frames run as one? Then the same functions were called from the same places. */
static bool alike(const struct frame *a, const struct frame *b) {
  while (a != b) {
    if (!a || !b || a->function != b->function || a->call != b->call || a->local_base != b->local_base) return false;
    a = a->parent;
    b = b->parent;
  }
  return true;
}

static void copy_lanes(uint8_t *to, const uint8_t *from, const struct function *f, uint32_t lanes) {
  /* what a row is does not matter where lanes of all widths are copied: rows lie at multiples of 64 bytes */
  const uint8_t *const kinds = f->row_kinds;
  for (uint32_t at = 0; at < f->frame_bytes;) {
    const unsigned kind = kinds[at / 64];
    if (kind == 0) {
      for (unsigned k = 0; k < 64; k += 4) {
        lane_u32 *t = (lane_u32 *)(void *)(to + at + k);
        *t = (*t & ~lanes) | (*(const lane_u32 *)(const void *)(from + at + k) & lanes);
      }
      at += 64;
      continue;
    }
    for (uint32_t m = lanes; m; m &= m - 1) {
      const unsigned l = (unsigned)__builtin_ctz(m);
      memcpy(to + at + l * kind, from + at + l * kind, kind);
    }
    at += WARP * kind;
  }
}

static void merge_frames(struct frame *a, struct frame *b, uint32_t lanes) {
  while (a != b) {
    struct frame *const parent = b->parent;
    copy_lanes(a->rows, b->rows, a->function, lanes);
    a->lanes |= lanes;
    b->lanes &= ~lanes;
    if (!b->lanes) ptx_frame_free(ptx_current_runner, b);
    a = a->parent;
    b = parent;
  }
}

/* --- Which group runs --------------------------------------------------------------------------------------------------------- */

/* Is a before b? */
static bool before(const struct frame *fa, const struct instr *a, const struct frame *fb, const struct instr *b) {
  return fa->depth != fb->depth ? fa->depth > fb->depth : (uintptr_t)a < (uintptr_t)b;
}

static void remove_group(struct warp *w, uint32_t i) {
  for (w->group_count--; i < w->group_count; i++) w->groups[i] = w->groups[i + 1];
}

void ptx_add_group(struct warp *w, struct frame *frame, const struct instr *ip, uint32_t mask, enum group_state state, uint32_t members) {
  for (uint32_t i = 0; i < w->group_count; i++) {
    struct group *g = &w->groups[i];
    if (g->ip == ip && g->frame == frame && g->state == (uint8_t)state && state == GROUP_RUNS) {
      g->mask |= mask;
      return;
    }
  }
  w->groups[w->group_count++] = (struct group){frame, ip, mask, (uint8_t)state, members};
}

static const struct instr *start_group(struct warp *w, uint32_t i) {
  const struct group g = w->groups[i];
  remove_group(w, i);
  ptx_use_frame(w, g.frame);
  ptx_set_mask(w, g.mask);
  w->entry = g.ip;
  return g.ip;
}

/* Takes groups into the current one that stand where it stands. */
void ptx_absorb_groups(struct warp *w, const struct instr *ip) {
  for (uint32_t i = 0; i < w->group_count;) {
    struct group *g = &w->groups[i];
    if (g->state == GROUP_RUNS && g->ip == ip && alike(w->frame, g->frame)) {
      const uint32_t lanes = g->mask;
      merge_frames(w->frame, g->frame, lanes);
      ptx_set_mask(w, w->mask | lanes);
      remove_group(w, i);
    } else {
      i++;
    }
  }
}

const struct instr *ptx_resume(struct warp *w) {
  uint32_t best = NONE;
  for (uint32_t i = 0; i < w->group_count; i++)
    if (w->groups[i].state == GROUP_RUNS && (best == NONE || before(w->groups[i].frame, w->groups[i].ip, w->groups[best].frame, w->groups[best].ip))) best = i;
  if (best == NONE) {
    w->mask = 0;
    return NULL;
  }
  const struct instr *const ip = start_group(w, best);
  ptx_absorb_groups(w, ip);
  return ip;
}

const struct instr *ptx_reschedule(struct warp *w, const struct instr *ip) {
  if (!w->group_count) return ip;
  ptx_account(w, w->entry); /* nothing: the caller has counted */
  ptx_absorb_groups(w, ip);
  w->entry = ip;
  if (w->forced) return ip;
  for (uint32_t i = 0; i < w->group_count; i++) {
    if (w->groups[i].state != GROUP_RUNS || !before(w->groups[i].frame, w->groups[i].ip, w->frame, ip)) continue;
    ptx_add_group(w, w->frame, ip, w->mask, GROUP_RUNS, 0);
    return ptx_resume(w);
  }
  return ip;
}

const struct instr *ptx_park(struct warp *w, const struct instr *ip, enum group_state state, uint32_t members) {
  w->groups[w->group_count++] = (struct group){w->frame, ip, w->mask, (uint8_t)state, members};
  w->forced = false;
  return ptx_resume(w);
}

/* The slice is over: the warp stops. Another group has its turn if this one polls, or has run long enough. */
const struct instr *ptx_out_of_fuel(struct warp *w, const struct instr *ip) {
  bool others = false;
  for (uint32_t i = 0; i < w->group_count; i++) others |= w->groups[i].state == GROUP_RUNS;
  w->ip = ip;
  w->forced = false;
  if (others && (w->polled || ++w->patience >= LONG_PATIENCE)) {
    w->patience = 0;
    /* the oldest one in the list: this one goes to its end */
    for (uint32_t i = 0; i < w->group_count; i++) {
      if (w->groups[i].state != GROUP_RUNS) continue;
      struct frame *const frame = w->frame;
      const uint32_t mask = w->mask;
      const struct instr *const next = start_group(w, i);
      w->groups[w->group_count++] = (struct group){frame, ip, mask, GROUP_RUNS, 0};
      w->ip = next;
      w->forced = true;
      break;
    }
  }
  w->yield = true;
  return NULL;
}
