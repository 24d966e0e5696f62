/* Faults: the first one of a launch is reported. */
#include "engine.h"

#include <stdio.h>

void ptx_thread_fill(const struct warp *w, const struct instr *ip, unsigned lane, struct ptx_thread *out) {
  out->kernel = w->launch->kernel->name;
  memcpy(out->block, w->block->id, sizeof out->block);
  ptx_thread_of(w, lane, out->thread);
  out->source = ip ? ip->source : 0;
  out->line = ip ? ip->line : 0;
}

/* The first fault of a launch is the one that is reported. */
static bool claim(struct ptx_launch *launch, enum ptx_fault_kind kind) {
  int none = 0;
  return atomic_compare_exchange_strong(&launch->ended, &none, (int)kind + 1);
}

static void publish(struct ptx_launch *launch) { atomic_store_explicit(&launch->fault_ready, true, memory_order_release); }

static void fill(struct warp *w, const struct instr *ip, unsigned lane, enum ptx_fault_kind kind) {
  struct ptx_thread t;
  struct ptx_fault *const f = &w->launch->fault;
  ptx_thread_fill(w, ip, lane, &t);
  *f = (struct ptx_fault){.kind = kind, .kernel = t.kernel, .source = t.source, .line = t.line};
  memcpy(f->block, t.block, sizeof f->block);
  memcpy(f->thread, t.thread, sizeof f->thread);
}

const struct instr *ptx_fault_at(struct warp *w, const struct instr *ip, unsigned lane, enum ptx_fault_kind kind, uint64_t address, unsigned width, bool write) {
  struct ptx_launch *const l = w->launch;
  w->faulted = true;
  if (!claim(l, kind)) return NULL;
  struct ptx_fault *const f = &l->fault;
  fill(w, ip, lane, kind);
  f->address = address;
  f->width = width;
  f->write = write;
  snprintf(f->message, sizeof f->message, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u), PTX line %u: %s of %u bytes at address 0x%llx: %s", f->kernel, f->block[0],
           f->block[1], f->block[2], f->thread[0], f->thread[1], f->thread[2], f->line, kind == PTX_FAULT_CODE ? "call through a pointer" : write ? "write" : "read", width,
           (unsigned long long)address,
           kind == PTX_FAULT_MISALIGNED ? "misaligned"
           : kind == PTX_FAULT_SPACE    ? "this memory does not have the operation"
           : kind == PTX_FAULT_CODE     ? "no such function here"
                                        : "no memory of this context");
  publish(l);
  return NULL;
}

const struct instr *ptx_fault_text(struct warp *w, const struct instr *ip, unsigned lane, enum ptx_fault_kind kind, const char *text) {
  struct ptx_launch *const l = w->launch;
  w->faulted = true;
  if (!claim(l, kind)) return NULL;
  struct ptx_fault *const f = &l->fault;
  fill(w, ip, lane, kind);
  snprintf(f->message, sizeof f->message, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u), PTX line %u: %s", f->kernel, f->block[0], f->block[1], f->block[2],
           f->thread[0], f->thread[1], f->thread[2], f->line, text);
  publish(l);
  return NULL;
}

void ptx_fault_launch(struct ptx_launch *launch, enum ptx_fault_kind kind, const char *text) {
  if (!claim(launch, kind)) return;
  launch->fault = (struct ptx_fault){.kind = kind, .kernel = launch->kernel->name};
  snprintf(launch->fault.message, sizeof launch->fault.message, "kernel %s: %s", launch->kernel->name, text);
  publish(launch);
}
