/* Handles: numbers of a table, so that a wrong one is refused and never followed. */
#define _GNU_SOURCE
#include "shim.h"

#include <stdlib.h>

struct slot {
  void *object; /* NULL: free */
  uint32_t generation;
  enum kind kind;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot *slots;
static uint32_t count, first_free;

/* Kind, generation and place in one word; never 0, 1 or 2, which name streams. */
static void *pack(uint32_t at) {
  return (void *)(uintptr_t)((uint64_t)slots[at].kind << 56 | (uint64_t)(slots[at].generation & 0xffffff) << 32 | at);
}

void *handle_add(enum kind kind, void *object) {
  pthread_mutex_lock(&lock);
  uint32_t at = first_free;
  while (at < count && slots[at].object != NULL) at++;
  if (at == count) {
    const uint32_t room = count == 0 ? 64 : 2 * count;
    struct slot *wider = realloc(slots, room * sizeof *wider);
    if (wider == NULL) {
      pthread_mutex_unlock(&lock);
      return NULL;
    }
    for (uint32_t i = count; i < room; i++) wider[i] = (struct slot){NULL, 0, 0};
    slots = wider;
    count = room;
  }
  first_free = at + 1;
  slots[at] = (struct slot){object, slots[at].generation + 1, kind};
  void *handle = pack(at);
  pthread_mutex_unlock(&lock);
  return handle;
}

static uint32_t place_of(enum kind kind, const void *handle) {
  const uint32_t at = (uint32_t)(uintptr_t)handle;
  return at < count && slots[at].object != NULL && slots[at].kind == kind && pack(at) == handle ? at : UINT32_MAX;
}

void *handle_find(enum kind kind, const void *handle) {
  pthread_mutex_lock(&lock);
  const uint32_t at = place_of(kind, handle);
  void *object = at == UINT32_MAX ? NULL : slots[at].object;
  pthread_mutex_unlock(&lock);
  return object;
}

static void take_out(uint32_t at) {
  slots[at].object = NULL;
  if (at < first_free) first_free = at;
}

void *handle_remove(enum kind kind, const void *handle) {
  pthread_mutex_lock(&lock);
  const uint32_t at = place_of(kind, handle);
  void *object = at == UINT32_MAX ? NULL : slots[at].object;
  if (object != NULL) take_out(at);
  pthread_mutex_unlock(&lock);
  return object;
}

void handles_drop(struct context *context) {
  pthread_mutex_lock(&lock);
  for (uint32_t at = 0; at < count; at++) {
    /* Each but a context begins with the context it belongs to. */
    if (slots[at].object == NULL || slots[at].kind == KIND_CONTEXT || *(struct context **)slots[at].object != context) continue;
    if (slots[at].kind == KIND_FUNCTION) {
      struct function *function = slots[at].object;
      free(function->places);
      free(function->name);
    }
    free(slots[at].object);
    take_out(at);
  }
  pthread_mutex_unlock(&lock);
}
