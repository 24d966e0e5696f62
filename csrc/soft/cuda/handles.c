/* The set of handles that an instance gave out: a program's pointer is looked at only when it is one of them. */
#include "state.h"

#include <stdlib.h>

static size_t place(const struct handle_table *table, const void *pointer) {
  /* Handles come from malloc: the lowest bits are always the same. */
  const uint64_t mixed = ((uint64_t)(uintptr_t)pointer >> 4) * UINT64_C(0x9e3779b97f4a7c15);
  return (size_t)(mixed >> 20) & (table->room - 1);
}

static struct handle_row *row_of(const struct handle_table *table, const void *pointer) {
  if (table->room == 0) return NULL;
  for (size_t at = place(table, pointer);; at = (at + 1) & (table->room - 1)) {
    struct handle_row *row = &table->rows[at];
    if (row->pointer == NULL) return NULL;
    if (row->pointer == pointer && row->kind != HANDLE_NONE) return row;
  }
}

static void put(struct handle_table *table, const void *pointer, enum handle_kind kind) {
  size_t at = place(table, pointer);
  while (table->rows[at].pointer != NULL) at = (at + 1) & (table->room - 1);
  table->rows[at] = (struct handle_row){pointer, kind};
  table->used++;
}

bool handles_add(struct handle_table *table, const void *pointer, enum handle_kind kind) {
  if (2 * (table->used + 1) > table->room) {
    size_t live = 0;
    for (size_t i = 0; i < table->room; i++) live += table->rows[i].pointer != NULL && table->rows[i].kind != HANDLE_NONE;
    size_t room = 64;
    while (room < 4 * (live + 1)) room *= 2;
    struct handle_table wider = {calloc(room, sizeof *table->rows), room, 0};
    if (wider.rows == NULL) return false;
    for (size_t i = 0; i < table->room; i++) {
      if (table->rows[i].pointer != NULL && table->rows[i].kind != HANDLE_NONE) {
        put(&wider, table->rows[i].pointer, table->rows[i].kind);
      }
    }
    free(table->rows);
    *table = wider;
  }
  put(table, pointer, kind);
  return true;
}

void handles_remove(struct handle_table *table, const void *pointer) {
  struct handle_row *row = row_of(table, pointer);
  if (row != NULL) row->kind = HANDLE_NONE;
}

enum handle_kind handles_kind(const struct handle_table *table, const void *pointer) {
  const struct handle_row *row = pointer == NULL ? NULL : row_of(table, pointer);
  return row == NULL ? HANDLE_NONE : row->kind;
}
