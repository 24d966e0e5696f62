/* Launches: blocks and their warps in turns, on however many threads call. */
#define _POSIX_C_SOURCE 200809L
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>

enum { WARP_SLICE = 4096, DEFAULT_SLICE = 65536, MOST_BLOCKS = 4096 };


struct ptx_runner *ptx_runner_create(void) { return calloc(1, sizeof(struct ptx_runner)); }

static void free_block(struct block *b) {
  if (!b) return;
  for (uint32_t i = 0; i < b->warp_count; i++) ptx_release_frames(&b->warps[i]);
  free(b->shared);
  free(b->local);
  free(b->stores);
  free(b);
}

void ptx_runner_free(struct ptx_runner *runner) {
  if (!runner) return;
  struct ptx_runner *const before = ptx_current_runner;
  ptx_current_runner = NULL;
  free_block(runner->block);
  ptx_current_runner = before == runner ? NULL : before;
  for (unsigned i = 0; i < SIZE_CLASSES; i++)
    while (runner->frames[i]) {
      struct frame *const next = runner->frames[i]->parent;
      free(runner->frames[i]);
      runner->frames[i] = next;
    }
  free(runner);
}

/* --- Blocks ------------------------------------------------------------------------------------------------------------------------ */

static void *aligned(size_t bytes) {
  void *out = NULL;
  return posix_memalign(&out, 128, bytes ? (bytes + 127) & ~(size_t)127 : 128) ? NULL : out;
}

static struct block *take_block(struct ptx_launch *l, struct ptx_runner *runner) {
  struct block *b = runner->block;
  runner->block = NULL;
  if (b && b->warp_count == l->warps && b->shared_bytes == l->shared_bytes && b->local_stride == l->local_bytes) return b;
  free_block(b);
  b = calloc(1, sizeof *b + l->warps * sizeof *b->warps);
  if (!b) return NULL;
  b->warp_count = l->warps;
  b->shared_bytes = l->shared_bytes;
  b->local_stride = l->local_bytes;
  b->shared = aligned(l->shared_bytes);
  b->local = calloc((size_t)l->warps * WARP, l->local_bytes ? l->local_bytes : 1);
  if (b->shared && b->local) return b;
  free_block(b);
  return NULL;
}

static bool start_warp(struct ptx_launch *l, struct ptx_runner *runner, struct block *b, uint32_t index) {
  struct warp *const w = &b->warps[index];
  const uint32_t left = l->threads - index * WARP;
  struct frame *const frame = ptx_frame_new(runner, l->function, NULL);
  if (!frame) return false;
  *w = (struct warp){.base = {frame->rows, l->config.module->constants}, .frame = frame, .shared = b->shared, .shared_size = l->shared_bytes,
                     .local = b->local + (size_t)index * WARP * l->local_bytes, .local_stride = l->local_bytes, .parameters = l->parameters,
                     .parameter_bytes = l->kernel->parameter_bytes, .block = b, .launch = l, .index = index};
  ptx_set_mask(w, left >= WARP ? FULL : (1u << left) - 1);
  w->alive = frame->lanes = w->mask;
  w->ip = l->code[l->function->index];
  return true;
}

static struct block *start_block(struct ptx_launch *l, struct ptx_runner *runner, uint64_t linear) {
  struct block *const b = take_block(l, runner);
  if (!b) return NULL;
  const uint32_t *const g = l->config.grid;
  b->launch = l;
  b->linear = linear;
  b->id[0] = (uint32_t)(linear % g[0]);
  b->id[1] = (uint32_t)(linear / g[0] % g[1]);
  b->id[2] = (uint32_t)(linear / g[0] / g[1]);
  b->warps_left = b->warp_count;
  b->threads_left = l->threads;
  b->turn = 0;
  b->store_count = 0;
  b->next = NULL;
  b->random = (l->config.weak_seed + linear * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u | 1;
  memset(b->barriers, 0, sizeof b->barriers);
  if (l->shared_bytes) memset(b->shared, 0, l->shared_bytes);
  for (uint32_t i = 0; i < b->warp_count; i++) b->warps[i].ip = NULL, b->warps[i].group_count = 0;
  for (uint32_t i = 0; i < b->warp_count; i++)
    if (!start_warp(l, runner, b, i)) {
      free_block(b);
      return NULL;
    }
  return b;
}

/* Nobody in the block can run: who waits where. */
static void report_deadlock(struct block *b) {
  struct ptx_launch *const l = b->launch;
  char text[300];
  size_t used = 0;
  const struct group *first = NULL;
  struct warp *of = NULL;
  used += (size_t)snprintf(text, sizeof text, "deadlock:");
  for (uint32_t i = 0; i < b->warp_count && used < sizeof text - 80; i++)
    for (uint32_t k = 0; k < b->warps[i].group_count && used < sizeof text - 80; k++) {
      const struct group *const g = &b->warps[i].groups[k];
      if (!first) first = g, of = &b->warps[i];
      if (g->state == GROUP_BARRIER) used += (size_t)snprintf(text + used, sizeof text - used, "%s warp %u lanes %08x at barrier %u, line %u", first == g ? "" : ";", i, g->mask, g->members, g->ip->line);
      else used += (size_t)snprintf(text + used, sizeof text - used, "%s warp %u lanes %08x for lanes %08x, line %u", first == g ? "" : ";", i, g->mask, g->members, g->ip->line);
    }
  if (of) {
    ptx_fault_text(of, first->ip, (unsigned)__builtin_ctz(first->mask), PTX_FAULT_DEADLOCK, text);
    of->faulted = false; /* its lanes wait in groups */
  } else ptx_fault_launch(l, PTX_FAULT_DEADLOCK, "deadlock");
}

enum turn { TURN_MORE, TURN_IDLE, TURN_DONE, TURN_ENDED };

/* Every warp of the block has a turn, again and again until the slice is used up or brings nothing new. */
static enum turn run_block(struct ptx_launch *l, struct ptx_runner *runner, struct block *b, int64_t *slice) {
  while (*slice > 0) {
    bool news = false, ran = false;
    uint64_t executed = 0;
    for (uint32_t i = 0; i < b->warp_count; i++) {
      struct warp *const w = &b->warps[i];
      if (!w->alive) continue;
      if (!w->ip && !(w->ip = ptx_resume(w))) continue;
      ran = true;
      w->regions = runner->regions;
      w->fuel = WARP_SLICE;
      w->polled = w->news = w->yield = false;
      w->seen = 0;
      const struct instr *ip = w->ip;
      w->entry = ip;
      do ip = ip->fn(ip, w);
      while (ip);
      /* what faulted keeps its place, so that its frames are given back with the block */
      if (!w->yield) w->ip = w->faulted ? w->entry : NULL;
      if (w->news || !w->polled || (w->seen & ~w->seen_before)) news = true;
      w->seen_before = w->seen;
      *slice -= WARP_SLICE - w->fuel;
      executed += w->executed;
      w->executed = 0;
      if (l->config.weak_memory) ptx_weak_some(b);
      if (atomic_load_explicit(&l->ended, memory_order_relaxed)) return TURN_ENDED;
    }
    const uint64_t total = atomic_fetch_add_explicit(&l->executed, executed, memory_order_relaxed) + executed;
    if (!b->threads_left) {
      ptx_weak_drain(b, SCOPE_SYS, true);
      return TURN_DONE;
    }
    if (l->config.budget && total > l->config.budget) {
      struct warp *at = &b->warps[0];
      for (uint32_t i = 0; i < b->warp_count; i++)
        if (b->warps[i].ip) at = &b->warps[i];
      ptx_fault_text(at, at->ip, at->mask ? (unsigned)__builtin_ctz(at->mask) : 0, PTX_FAULT_BUDGET, "the budget of instructions is used up");
      return TURN_ENDED;
    }
    if (!ran) {
      report_deadlock(b);
      return TURN_ENDED;
    }
    if (!news) {
      if (b->store_count) { /* its buffered stores are news for the others */
        ptx_weak_drain(b, SCOPE_SYS, true);
        return TURN_MORE;
      }
      return TURN_IDLE;
    }
    /* a turn costs something even when its warps only wait */
    *slice -= 16;
  }
  return TURN_MORE;
}

/* --- The grid ------------------------------------------------------------------------------------------------------------------------ */

enum ptx_error ptx_launch_create(const struct ptx_launch_config *config, struct ptx_launch **out) {
  const struct ptx_module *const m = config->module;
  *out = NULL;
  struct ptx_launch *const l = calloc(1, sizeof *l);
  if (!l) return PTX_ERROR_MEMORY;
  l->config = *config;
  l->function = m->kernels[config->kernel];
  l->kernel = &l->function->info;
  l->code = ptx_module_code(m, config->isa, config->weak_memory);
  l->threads = config->block[0] * config->block[1] * config->block[2];
  l->warps = (l->threads + WARP - 1) / WARP;
  l->blocks = (uint64_t)config->grid[0] * config->grid[1] * config->grid[2];
  const uint32_t align = l->kernel->dynamic_align;
  l->dynamic_offset = (l->kernel->static_shared + align - 1) / align * align;
  l->shared_bytes = config->dynamic_shared ? l->dynamic_offset + config->dynamic_shared : l->kernel->static_shared;
  l->local_bytes = (l->kernel->stack_bytes + (l->kernel->recursive ? config->stack_bytes : 0) + 15) & ~15u;
  l->most_resident = config->cooperative ? UINT64_MAX : MOST_BLOCKS;
  l->started_ns = ptx_now_ns();
  l->parameters = aligned(l->kernel->parameter_bytes + 16);
  bool good = l->code && l->parameters && pthread_mutex_init(&l->lock, NULL) == 0;
  if (good && l->kernel->parameter_bytes) memcpy(l->parameters, config->parameters, l->kernel->parameter_bytes);
  if (good && config->count_lines) {
    l->counts = calloc(m->function_count, sizeof *l->counts);
    good = l->counts != NULL;
    for (uint32_t i = 0; good && i < m->function_count; i++) good = (l->counts[i] = calloc(m->functions[i]->code_count + 1, sizeof **l->counts)) != NULL;
  }
  if (!good) {
    if (l->code && l->parameters) pthread_mutex_destroy(&l->lock);
    if (l->counts)
      for (uint32_t i = 0; i < m->function_count; i++) free(l->counts[i]);
    free(l->counts);
    free(l->parameters);
    free(l);
    return PTX_ERROR_MEMORY;
  }
  *out = l;
  return PTX_OK;
}

static void forget_regions(struct ptx_launch *l, struct ptx_runner *runner) {
  const uint64_t generation = l->config.memory.generation ? atomic_load_explicit(l->config.memory.generation, memory_order_acquire) : 0;
  if (runner->launch == l && runner->generation == generation) return;
  memset(runner->regions, 0, sizeof runner->regions);
  runner->launch = l;
  runner->generation = generation;
}

/* Under the lock: what this thread runs next, or why nothing. */
static struct block *choose(struct ptx_launch *l, struct ptx_runner *runner, enum ptx_run *why) {
  const bool may_start = l->next_block < l->blocks && l->resident < l->most_resident;
  const bool all_wait = l->first && l->idle_in_row >= l->resident;
  if (l->first && !(may_start && (l->config.cooperative || all_wait))) {
    if (all_wait) {
      l->idle_in_row = 0;
      *why = PTX_RUN_IDLE;
      return NULL;
    }
    struct block *const b = l->first;
    l->first = b->next;
    if (!l->first) l->last = NULL;
    return b;
  }
  if (!may_start) {
    *why = PTX_RUN_EMPTY;
    return NULL;
  }
  const uint64_t linear = l->next_block++;
  l->resident++;
  l->idle_in_row = 0;
  pthread_mutex_unlock(&l->lock);
  struct block *const b = start_block(l, runner, linear);
  pthread_mutex_lock(&l->lock);
  if (!b) ptx_fault_launch(l, PTX_FAULT_MEMORY, "out of host memory for a block");
  return b;
}

static enum ptx_run ended(const struct ptx_launch *l) {
  /* the fault's text is written before this is set, but another thread may still be at it */
  while (!atomic_load_explicit(&l->fault_ready, memory_order_acquire)) {}
  return PTX_RUN_FAULT;
}

enum ptx_run ptx_launch_run(struct ptx_launch *l, struct ptx_runner *runner, uint64_t slice) {
  int64_t left = slice ? (int64_t)(slice > INT64_MAX ? INT64_MAX : slice) : DEFAULT_SLICE;
  enum ptx_run result = PTX_RUN_MORE;
  ptx_current_runner = runner;
  pthread_mutex_lock(&l->lock);
  while (result == PTX_RUN_MORE && left > 0) {
    if (l->done) {
      result = PTX_RUN_DONE;
      break;
    }
    if (atomic_load_explicit(&l->ended, memory_order_relaxed)) {
      result = PTX_RUN_FAULT;
      break;
    }
    struct block *const b = choose(l, runner, &result);
    if (!b) continue;
    pthread_mutex_unlock(&l->lock);
    forget_regions(l, runner);
    const enum turn turn = run_block(l, runner, b, &left);
    if (turn == TURN_DONE && runner->block) free_block(runner->block);
    if (turn == TURN_DONE) runner->block = b;
    pthread_mutex_lock(&l->lock);
    if (turn == TURN_DONE) {
      l->resident--;
      l->idle_in_row = 0;
      l->done = ++l->finished == l->blocks;
      continue;
    }
    b->next = NULL;
    if (l->last) l->last->next = b;
    else l->first = b;
    l->last = b;
    l->idle_in_row = turn == TURN_IDLE ? l->idle_in_row + 1 : 0;
  }
  if (l->done) result = PTX_RUN_DONE;
  pthread_mutex_unlock(&l->lock);
  return result == PTX_RUN_FAULT ? ended(l) : result;
}

void ptx_launch_cancel(struct ptx_launch *l) { ptx_fault_launch(l, PTX_FAULT_CANCELLED, "cancelled"); }

const struct ptx_fault *ptx_launch_fault(const struct ptx_launch *l) {
  return atomic_load_explicit(&l->fault_ready, memory_order_acquire) ? &l->fault : NULL;
}

uint64_t ptx_launch_instructions(const struct ptx_launch *l) { return atomic_load_explicit(&l->executed, memory_order_relaxed); }

uint64_t ptx_launch_line_count(const struct ptx_launch *l, unsigned source, uint32_t line) {
  const struct ptx_module *const m = l->config.module;
  uint64_t sum = 0;
  if (!l->counts) return 0;
  for (uint32_t i = 0; i < m->function_count; i++)
    for (uint32_t k = 0; k < m->functions[i]->code_count; k++) {
      const struct instr *const ip = &m->functions[i]->code[k];
      if (ip->line == line && ip->source == source) sum += atomic_load_explicit(&l->counts[i][k], memory_order_relaxed);
    }
  return sum;
}

void ptx_launch_free(struct ptx_launch *l) {
  if (!l) return;
  struct ptx_runner *const before = ptx_current_runner;
  ptx_current_runner = NULL; /* frames go back to the system */
  while (l->first) {
    struct block *const next = l->first->next;
    free_block(l->first);
    l->first = next;
  }
  ptx_current_runner = before;
  if (l->counts)
    for (uint32_t i = 0; i < l->config.module->function_count; i++) free(l->counts[i]);
  free(l->counts);
  free(l->parameters);
  pthread_mutex_destroy(&l->lock);
  free(l);
}
