/* What lanes do that may part them: branches, calls, returns, exits. */
#include "engine.h"

#include <fenv.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* --- Branches ----------------------------------------------------------------------------------------------------------------- */

HANDLER(ptx_label) {
  if (__builtin_expect(w->group_count != 0, 0)) {
    ptx_account(w, ip);
    const struct instr *const next = ptx_reschedule(w, ip);
    return next == ip ? ip + 1 : next;
  }
  return ip + 1;
}

static const struct instr *jump(struct warp *w, const struct instr *from, const struct instr *to) {
  w->entry = to;
  if (w->fuel <= 0 && to <= from) return ptx_out_of_fuel(w, to);
  return w->group_count ? ptx_reschedule(w, to) : to;
}

HANDLER(ptx_branch) {
  const uint32_t taken = guard_mask(w, ip), left = w->mask & ~taken;
  if (!left) {
    ptx_account(w, ip + 1);
    return jump(w, ip, ip + ip->delta);
  }
  if (!taken) {
    if (!w->group_count) return ip + 1;
    ptx_account(w, ip + 1);
    return ptx_reschedule(w, ip + 1);
  }
  ptx_account(w, ip + 1);
  if (w->group_count >= WARP - 1) ptx_absorb_groups(w, ip + 1);
  ptx_add_group(w, w->frame, ip + 1, left, GROUP_RUNS, 0);
  ptx_set_mask(w, taken);
  return jump(w, ip, ip + ip->delta);
}

HANDLER(ptx_branch_table) {
  const uint32_t taken = guard_mask(w, ip);
  const lane_u32 *const index = row_of(w, ip->a);
  const struct instr *const code = w->launch->code[w->frame->function->index];
  uint32_t left = taken;
  if (!taken) return ip + 1;
  for (uint32_t m = taken; m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m);
    if (index[l] >= (uint64_t)ip->imm) return ptx_fault_text(w, ip, l, PTX_FAULT_CODE, "index outside of .branchtargets");
  }
  ptx_account(w, ip + 1);
  if (w->mask & ~taken) ptx_add_group(w, w->frame, ip + 1, w->mask & ~taken, GROUP_RUNS, 0);
  while (left) {
    const uint32_t which = index[__builtin_ctz(left)];
    uint32_t same = 0;
    for (uint32_t m = left; m; m &= m - 1)
      if (index[__builtin_ctz(m)] == which) same |= m & (0u - m);
    left &= ~same;
    ptx_add_group(w, w->frame, code + ip->more[which], same, GROUP_RUNS, 0);
  }
  const struct instr *const next = ptx_resume(w);
  return next && w->fuel <= 0 && next <= ip ? ptx_out_of_fuel(w, next) : next;
}

/* For instructions that move a group: lanes whose guard is false go on behind it. False: that is all of them. */
static bool split(struct warp *w, const struct instr *ip) {
  const uint32_t taken = guard_mask(w, ip);
  if (!taken) return false;
  ptx_account(w, ip + 1);
  if (taken != w->mask) {
    ptx_add_group(w, w->frame, ip + 1, w->mask & ~taken, GROUP_RUNS, 0);
    ptx_set_mask(w, taken);
  }
  return true;
}

/* --- Calls -------------------------------------------------------------------------------------------------------------------- */

static uint8_t *local_of(const struct warp *w, unsigned lane, uint32_t at) { return w->local + (size_t)lane * w->local_stride + at; }

static void read_lane(const struct warp *w, const uint8_t *rows, uint32_t row, unsigned bytes, unsigned lane, uint8_t *out) {
  const uint8_t *const from = row & 1 ? w->base[1] + (row & ~1u) : rows + row;
  if (bytes == 0) {
    const uint32_t bit = *(const lane_u32 *)(const void *)from >> lane & 1;
    memcpy(out, &bit, 4);
  } else {
    memcpy(out, from + lane * bytes, bytes);
  }
}

static void write_lane(uint8_t *rows, uint32_t row, unsigned bytes, unsigned lane, const uint8_t *value) {
  if (bytes == 0) {
    lane_u32 *const p = (lane_u32 *)(void *)(rows + row);
    *p = (*p & ~(1u << lane)) | (uint32_t)(*value & 1) << lane;
  } else {
    memcpy(rows + row + lane * bytes, value, bytes);
  }
}

static unsigned row_bytes(uint8_t type) {
  const unsigned bytes = ptx_type_bytes[type];
  return type == T_PRED ? 0 : bytes < 2 ? 2 : bytes;
}

/* Copies arguments into the called frame (into = true), or results back. */
static void transfer(struct warp *w, const struct signature *s, const uint32_t *more, struct frame *caller, struct frame *callee, uint32_t lanes, bool into) {
  const uint32_t first = into ? s->result_count : 0, last = into ? s->result_count + s->argument_count : s->result_count;
  for (uint32_t i = first; i < last; i++) {
    const struct argument *formal = &s->arguments[i];
    const uint32_t kind = more[2 * i], where = more[2 * i + 1];
    const unsigned bytes = row_bytes(formal->type);
    if (kind == 2) continue;
    for (uint32_t m = lanes; m; m &= m - 1) {
      const unsigned l = (unsigned)__builtin_ctz(m);
      uint8_t value[16] = {0};
      uint8_t *const outer = kind == 0 ? local_of(w, l, caller->local_base + where) : NULL;
      uint8_t *const inner = formal->row == NONE ? local_of(w, l, callee->local_base + formal->offset) : NULL;
      if (inner && outer) {
        memcpy(into ? inner : outer, into ? outer : inner, formal->size);
      } else if (into) {
        if (outer) memcpy(value, outer, bytes ? bytes : 1);
        else read_lane(w, caller->rows, where, bytes, l, value);
        if (inner) memcpy(inner, value, formal->size);
        else write_lane(callee->rows, formal->row, bytes, l, value);
      } else {
        if (inner) memcpy(value, inner, formal->size);
        else read_lane(w, callee->rows, formal->row, bytes, l, value);
        if (outer) memcpy(outer, value, bytes ? bytes : 1);
        else write_lane(caller->rows, where, bytes, l, value);
      }
    }
  }
}

static const struct instr *enter(struct warp *w, const struct instr *ip, const struct function *f) {
  struct frame *const caller = w->frame;
  const uint32_t base = caller->local_base + ((caller->function->local_bytes + 15) & ~15u) + 16;
  if (f->builtin) return ptx_builtin(w, ip, f);
  if (!f->defined) return ptx_fault_text(w, ip, (unsigned)__builtin_ctz(w->mask), PTX_FAULT_CODE, "a function without a definition is called");
  if (base + f->local_bytes + 16 > w->local_stride) return ptx_fault_text(w, ip, (unsigned)__builtin_ctz(w->mask), PTX_FAULT_STACK, "the stack is used up");
  struct frame *const frame = ptx_frame_new(ptx_current_runner, f, caller);
  if (!frame) return ptx_fault_text(w, ip, (unsigned)__builtin_ctz(w->mask), PTX_FAULT_MEMORY, "out of host memory for a call");
  frame->call = ip;
  frame->lanes = w->mask;
  frame->local_base = base;
  transfer(w, &f->signature, ip->more, caller, frame, w->mask, true);
  ptx_use_frame(w, frame);
  const struct instr *const code = w->launch->code[f->index];
  w->entry = code;
  if (w->fuel <= 0) return ptx_out_of_fuel(w, code);
  return w->group_count ? ptx_reschedule(w, code) : code;
}

HANDLER(ptx_call) { return split(w, ip) ? enter(w, ip, w->launch->config.module->functions[ip->imm]) : ip + 1; }

static bool signatures_fit(const struct signature *a, const struct signature *b) {
  if (a->argument_count != b->argument_count || a->result_count != b->result_count) return false;
  for (uint32_t i = 0; i < a->argument_count + a->result_count; i++)
    if (a->arguments[i].size != b->arguments[i].size) return false;
  return true;
}

HANDLER(ptx_call_pointer) {
  if (!split(w, ip)) return ip + 1;
  const lane_u64 *const pointers = row_of(w, ip->a);
  const struct ptx_module *const module = w->launch->config.module;
  const unsigned first = (unsigned)__builtin_ctz(w->mask);
  const uint64_t pointer = pointers[first], index = (pointer - PTX_CODE_WINDOW) / 16 - 1;
  uint32_t same = 0;
  for (uint32_t m = w->mask; m; m &= m - 1)
    if (pointers[__builtin_ctz(m)] == pointer) same |= m & (0u - m);
  if (index >= module->function_count || (pointer & 15)) return ptx_fault_at(w, ip, first, PTX_FAULT_CODE, pointer, 8, false);
  const struct function *const f = module->functions[index];
  if (f->entry || !signatures_fit(&f->signature, (const struct signature *)(intptr_t)ip->imm)) return ptx_fault_at(w, ip, first, PTX_FAULT_CODE, pointer, 8, false);
  if (same != w->mask) { /* the others come back to this call */
    w->groups[w->group_count++] = (struct group){w->frame, ip, w->mask & ~same, GROUP_RUNS, 0};
    ptx_set_mask(w, same);
  }
  return enter(w, ip, f);
}

HANDLER(ptx_return) {
  if (!split(w, ip)) return ip + 1;
  struct frame *const frame = w->frame, *const caller = frame->parent;
  const struct instr *const call = frame->call;
  transfer(w, &frame->function->signature, call->more, caller, frame, w->mask, false);
  ptx_use_frame(w, caller);
  ptx_leave_frames(frame, w->mask, false);
  w->entry = call + 1;
  if (!w->group_count) return call + 1;
  return ptx_reschedule(w, call + 1);
}

HANDLER(ptx_exit) {
  if (!split(w, ip)) return ip + 1;
  const uint32_t lanes = w->mask;
  ptx_leave_frames(w->frame, lanes, true);
  w->alive &= ~lanes;
  w->block->threads_left -= w->lane_count;
  w->news = true;
  w->forced = false;
  if (w->group_count) ptx_together_check(w);
  for (unsigned i = 0; i < BARRIERS; i++)
    if (w->block->barriers[i].used) ptx_barrier_check(w->block, i);
  return ptx_resume(w);
}

/* --- Small things ------------------------------------------------------------------------------------------------------------- */

HANDLER(ptx_trap) {
  if (!split(w, ip)) return ip + 1;
  return ptx_fault_text(w, ip, (unsigned)__builtin_ctz(w->mask), PTX_FAULT_TRAP, ip->family == F_BRKPT ? "breakpoint" : "trap");
}

HANDLER(ptx_nanosleep) {
  const uint32_t lanes = guard_mask(w, ip);
  if (!lanes) return ip + 1;
  ptx_account(w, ip + 1);
  w->polled = true;
  /* at most the end of this slice: who sleeps waits for somebody */
  return ptx_out_of_fuel(w, ip + 1);
}

HANDLER(ptx_local_address) {
  const uint64_t at = w->frame->local_base + (uint64_t)ip->imm;
  for (uint32_t m = w->mask; m; m &= m - 1) {
    const unsigned l = (unsigned)__builtin_ctz(m);
    if (ip->type == T_U64) ((lane_u64 *)row_of(w, ip->d))[l] = at;
    else ((lane_u32 *)row_of(w, ip->d))[l] = (uint32_t)at;
  }
  return ip + 1;
}

HANDLER(ptx_guarded) {
  const uint32_t mask = w->mask, lanes = guard_mask(w, ip);
  if (!lanes) return ip + 1;
  w->mask = lanes;
  const struct instr *const next = ip->inner(ip, w);
  w->mask = mask;
  return next;
}

/* Rounding and flushing are the processor's; the handler below sees its operands only in memory, so nothing moves across. */
HANDLER(ptx_float_mode) {
  const unsigned mode = ip->float_mode;
#if defined(__x86_64__)
  static const unsigned rounding[] = {0, 0x6000, 0x2000, 0x4000};
  const unsigned saved = _mm_getcsr();
  _mm_setcsr((saved & ~0xe040u) | rounding[mode & 3] | (mode & FMODE_FTZ ? 0x8040u : 0));
  const struct instr *const next = ip->innermost(ip, w);
  _mm_setcsr(saved);
  return next;
#else
  static const int rounding[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  fesetround(rounding[mode & 3]);
#if defined(__aarch64__)
  uint64_t saved;
  __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
  if (mode & FMODE_FTZ) __asm__ volatile("msr fpcr, %0" ::"r"(saved | 1u << 24));
#endif
  const struct instr *const next = ip->innermost(ip, w);
#if defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" ::"r"(saved));
#endif
  fesetround(FE_TONEAREST);
  return next;
#endif
}
