/* Memory of a module: freed all at once, and arrays that grow. */
#define _POSIX_C_SOURCE 200809L
#include "internal.h"

#include <stdlib.h>

struct block {
  struct block *next;
  size_t size;
  _Alignas(16) uint8_t bytes[];
};

void *ptx_arena(struct arena *arena, size_t size) {
  size = (size + 15) & ~(size_t)15;
  if (size > arena->left) {
    const size_t wanted = size > (1 << 16) ? size : 1 << 16;
    struct block *block = calloc(1, sizeof *block + wanted);
    if (!block) {
      arena->failed = true;
      return NULL;
    }
    block->next = arena->blocks;
    block->size = wanted;
    arena->blocks = block;
    arena->at = block->bytes;
    arena->left = wanted;
  }
  void *const out = arena->at;
  arena->at += size;
  arena->left -= size;
  return out;
}

void ptx_arena_free(struct arena *arena) {
  for (struct block *block = arena->blocks; block;) {
    struct block *const next = block->next;
    free(block);
    block = next;
  }
  *arena = (struct arena){0};
}

bool ptx_grow(void **array, uint32_t *capacity, uint32_t count, size_t element) {
  if (count < *capacity) return true;
  const uint32_t wanted = *capacity ? *capacity * 2 : 32;
  void *grown = realloc(*array, wanted * element);
  if (!grown) return false;
  *array = grown;
  *capacity = wanted;
  return true;
}
