/* Ranges that are given out: of the coherent pool, and extents of dynamic capacity. */
#include "device.h"

#include <stdlib.h>
#include <string.h>

static bool insert(struct blocks *blocks, size_t at, struct block block) {
  if (blocks->count == blocks->room) {
    const size_t room = blocks->room == 0 ? 16 : 2 * blocks->room;
    struct block *wider = realloc(blocks->rows, room * sizeof *wider);
    if (wider == NULL) return false;
    blocks->rows = wider;
    blocks->room = room;
  }
  memmove(&blocks->rows[at + 1], &blocks->rows[at], (blocks->count - at) * sizeof *blocks->rows);
  blocks->rows[at] = block;
  blocks->count++;
  return true;
}

bool blocks_take(struct blocks *blocks, uint64_t from, uint64_t end, uint64_t size, uint64_t tag, uint64_t *base) {
  uint64_t at = from;
  for (size_t i = 0; i <= blocks->count; i++) {
    const uint64_t next = i < blocks->count ? blocks->rows[i].base : end;
    if (size <= next - at) {
      *base = at;
      return insert(blocks, i, (struct block){at, size, tag});
    }
    if (i < blocks->count) at = next + blocks->rows[i].size;
  }
  return false;
}

bool blocks_take_at(struct blocks *blocks, uint64_t base, uint64_t size, uint64_t tag) {
  size_t at = 0;
  while (at < blocks->count && blocks->rows[at].base < base) at++;
  if (at > 0 && blocks->rows[at - 1].base + blocks->rows[at - 1].size > base) return false;
  if (at < blocks->count && base + size > blocks->rows[at].base) return false;
  return insert(blocks, at, (struct block){base, size, tag});
}

const struct block *blocks_find(const struct blocks *blocks, uint64_t base) {
  for (size_t i = 0; i < blocks->count; i++) {
    if (blocks->rows[i].base == base) return &blocks->rows[i];
  }
  return NULL;
}

void blocks_give(struct blocks *blocks, uint64_t base) {
  const struct block *one = blocks_find(blocks, base);
  if (one == NULL) return;
  const size_t at = (size_t)(one - blocks->rows);
  blocks->count--;
  memmove(&blocks->rows[at], &blocks->rows[at + 1], (blocks->count - at) * sizeof *blocks->rows);
}

uint64_t blocks_used(const struct blocks *blocks) {
  uint64_t used = 0;
  for (size_t i = 0; i < blocks->count; i++) used += blocks->rows[i].size;
  return used;
}

void blocks_clear(struct blocks *blocks) {
  free(blocks->rows);
  memset(blocks, 0, sizeof *blocks);
}
