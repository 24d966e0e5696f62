/*
 * What the kernels of a context can reach: a sorted table that any number of threads search without a lock while one thread,
 * which holds the instance's lock, changes it.
 *
 * It is a sequence lock. The writer makes `version` odd, changes rows, makes it even again. A reader searches, and looks
 * again if the version was odd or has changed meanwhile. Rows are atomics, so what a reader sees in the middle of a change is
 * a wrong number at worst, never undefined; and tables that were outgrown stay until the context ends, so it never reads
 * memory that is gone.
 */
#include "state.h"

#include <stdlib.h>

static uint64_t get(const _Atomic(uint64_t) *from) { return atomic_load_explicit(from, memory_order_relaxed); }
static void put(_Atomic(uint64_t) *to, uint64_t value) { atomic_store_explicit(to, value, memory_order_relaxed); }

static void copy_row(struct space_row *to, const struct space_row *from) {
  put(&to->address, get(&from->address));
  put(&to->size, get(&from->size));
  put(&to->host, get(&from->host));
  put(&to->flags, get(&from->flags));
}

static void begin_change(struct space *space) {
  atomic_store_explicit(&space->version, get(&space->version) + 1, memory_order_relaxed);
  /* The odd version is visible before any row changes. */
  atomic_thread_fence(memory_order_release);
}

static void end_change(struct space *space) {
  /* All rows are visible before the even version. */
  atomic_store_explicit(&space->version, get(&space->version) + 1, memory_order_release);
}

/* The first row whose address is not below this one. */
static size_t lower_bound(const struct space_table *table, size_t count, uint64_t address) {
  size_t low = 0, high = count;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (get(&table->rows[middle].address) < address) low = middle + 1;
    else high = middle;
  }
  return low;
}

static struct space_table *wider_table(struct space *space, struct space_table *table, size_t count) {
  const size_t room = table == NULL ? 64 : 2 * table->room;
  struct space_table *wider = malloc(sizeof *wider + room * sizeof *wider->rows);
  if (wider == NULL) return NULL;
  wider->outgrown = table;
  wider->room = room;
  for (size_t i = 0; i < room; i++) {
    struct space_row *row = &wider->rows[i];
    atomic_init(&row->address, 0);
    atomic_init(&row->size, 0);
    atomic_init(&row->host, 0);
    atomic_init(&row->flags, 0);
    if (i < count) copy_row(row, &table->rows[i]);
  }
  /* Its rows are written before a reader can find it. */
  atomic_store_explicit(&space->table, wider, memory_order_release);
  return wider;
}

bool space_add(struct space *space, uint64_t address, uint64_t size, uint8_t *host, uint32_t flags) {
  struct space_table *table = atomic_load_explicit(&space->table, memory_order_relaxed);
  const size_t count = atomic_load_explicit(&space->count, memory_order_relaxed);
  if (table == NULL || count == table->room) {
    table = wider_table(space, table, count);
    if (table == NULL) return false;
  }
  const size_t at = lower_bound(table, count, address);
  begin_change(space);
  for (size_t i = count; i > at; i--) copy_row(&table->rows[i], &table->rows[i - 1]);
  struct space_row *row = &table->rows[at];
  put(&row->address, address);
  put(&row->size, size);
  put(&row->host, (uint64_t)(uintptr_t)host);
  put(&row->flags, flags);
  atomic_store_explicit(&space->count, count + 1, memory_order_relaxed);
  end_change(space);
  return true;
}

void space_remove(struct space *space, uint64_t address) {
  struct space_table *table = atomic_load_explicit(&space->table, memory_order_relaxed);
  const size_t count = atomic_load_explicit(&space->count, memory_order_relaxed);
  if (table == NULL) return;
  const size_t at = lower_bound(table, count, address);
  if (at == count || get(&table->rows[at].address) != address) return;
  begin_change(space);
  for (size_t i = at; i + 1 < count; i++) copy_row(&table->rows[i], &table->rows[i + 1]);
  atomic_store_explicit(&space->count, count - 1, memory_order_relaxed);
  end_change(space);
  /* Threads that keep what they found forget it when they see another number here. */
  atomic_fetch_add_explicit(&space->generation, 1, memory_order_release);
}

void space_free(struct space *space) {
  struct space_table *table = atomic_load_explicit(&space->table, memory_order_relaxed);
  while (table != NULL) {
    struct space_table *outgrown = table->outgrown;
    free(table);
    table = outgrown;
  }
  atomic_store_explicit(&space->table, NULL, memory_order_relaxed);
  atomic_store_explicit(&space->count, 0, memory_order_relaxed);
}

bool space_find(struct space *space, uint64_t address, struct ptx_region *out) {
  for (;;) {
    /* Acquire: rows of this version or later are seen. */
    const uint64_t version = atomic_load_explicit(&space->version, memory_order_acquire);
    if ((version & 1) != 0) continue;
    struct space_table *table = atomic_load_explicit(&space->table, memory_order_acquire);
    size_t count = atomic_load_explicit(&space->count, memory_order_relaxed);
    bool found = false;
    if (table != NULL) {
      /* The count may be of a wider table that is not seen yet. */
      if (count > table->room) count = table->room;
      size_t at = lower_bound(table, count, address);
      if (at == count || get(&table->rows[at].address) != address) at--; /* wraps below the first */
      if (at < count) {
        const struct space_row *row = &table->rows[at];
        *out = (struct ptx_region){get(&row->address), get(&row->size), (uint8_t *)(uintptr_t)get(&row->host),
                                   (uint32_t)get(&row->flags)};
        found = address - out->address < out->size;
      }
    }
    /* The rows were read before the version is looked at again. */
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&space->version, memory_order_relaxed) == version) return found;
  }
}
