/* What is allocated or registered in an instance, and which contexts can reach it. */
#define _GNU_SOURCE
#include "state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- pages of host memory -------------------------------------------------------------------------------------------- */

static uint64_t page_bytes(void) { return (uint64_t)sysconf(_SC_PAGESIZE); }
static uint64_t whole_pages(uint64_t size) { return (size + page_bytes() - 1) & ~(page_bytes() - 1); }

/* Zeroed pages with one on either side that nobody may touch. */
static uint8_t *map_pages(uint64_t size) {
  const uint64_t guard = page_bytes(), whole = whole_pages(size);
  if (whole < size) return NULL;
  uint8_t *all = mmap(NULL, whole + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) return NULL;
  if (mprotect(all + guard, whole, PROT_READ | PROT_WRITE) == 0) return all + guard;
  munmap(all, whole + 2 * guard);
  return NULL;
}

static void unmap_pages(uint8_t *base, uint64_t size) {
  munmap(base - page_bytes(), whole_pages(size) + 2 * page_bytes());
}

/* ---- the list of all memory, by address ------------------------------------------------------------------------------ */

/* How many begin at or below an address. */
static size_t count_up_to(const struct cuda_instance *instance, uint64_t address) {
  size_t low = 0, high = instance->memory_count;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (instance->memory[middle]->address <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}

struct allocation *memory_holding(const struct cuda_instance *instance, uint64_t address, uint64_t size) {
  const size_t up_to = count_up_to(instance, address);
  if (up_to == 0) return NULL;
  struct allocation *one = instance->memory[up_to - 1];
  const uint64_t into = address - one->address;
  return into < one->size && size <= one->size - into ? one : NULL;
}

static bool list_add(struct cuda_instance *instance, struct allocation *one) {
  if (instance->memory_count == instance->memory_room) {
    const size_t room = instance->memory_room == 0 ? 64 : 2 * instance->memory_room;
    struct allocation **wider = realloc(instance->memory, room * sizeof(struct allocation *));
    if (wider == NULL) return false;
    instance->memory = wider;
    instance->memory_room = room;
  }
  const size_t at = count_up_to(instance, one->address);
  memmove(&instance->memory[at + 1], &instance->memory[at], (instance->memory_count - at) * sizeof one);
  instance->memory[at] = one;
  instance->memory_count++;
  return true;
}

static void list_remove(struct cuda_instance *instance, const struct allocation *one) {
  const size_t at = count_up_to(instance, one->address) - 1;
  memmove(&instance->memory[at], &instance->memory[at + 1], (instance->memory_count - at - 1) * sizeof one);
  instance->memory_count--;
}

/* ---- who reaches it -------------------------------------------------------------------------------------------------- */

bool memory_is_visible(CUcontext context, const struct allocation *one) {
  if (one->context == context) return true;
  switch (one->kind) {
    case MEMORY_PINNED: case MEMORY_MANAGED: return true; /* under unified addressing all contexts reach it */
    case MEMORY_REGISTERED: return (one->flags & REGISTER_PORTABLE) != 0;
    case MEMORY_DEVICE: break;
  }
  for (uint32_t i = 0; i < context->peer_count; i++) {
    if (context->peers[i] == one->context->id) return true;
  }
  return false;
}

static uint32_t region_flags(const struct allocation *one) {
  uint32_t flags = one->kind == MEMORY_DEVICE ? 0 : PTX_REGION_HOST;
  if (one->kind == MEMORY_REGISTERED && (one->flags & REGISTER_IO_MEMORY) != 0) flags |= PTX_REGION_IO;
  if (one->kind == MEMORY_REGISTERED && (one->flags & REGISTER_READ_ONLY) != 0) flags |= PTX_REGION_READ_ONLY;
  if (one->use == USE_CONSTANT) flags |= PTX_REGION_READ_ONLY;
  return flags;
}

bool memory_fill_space(CUcontext context) {
  const struct cuda_instance *instance = context->instance;
  for (size_t i = 0; i < instance->memory_count; i++) {
    const struct allocation *one = instance->memory[i];
    struct ptx_region known;
    if (!memory_is_visible(context, one)) space_remove(&context->space, one->address);
    else if (!space_find(&context->space, one->address, &known) &&
             !space_add(&context->space, one->address, one->size, one->host, region_flags(one))) {
      return false;
    }
  }
  return true;
}

static bool show_to_all(const struct allocation *one) {
  for (CUcontext context = one->context->instance->contexts; context != NULL; context = context->next) {
    if (memory_is_visible(context, one) &&
        !space_add(&context->space, one->address, one->size, one->host, region_flags(one))) {
      return false;
    }
  }
  return true;
}

/* ---- allocating and freeing ------------------------------------------------------------------------------------------ */

/* Device memory: a place in the pool, behind an address that was never used before and has a hole behind it, so that
 * running over an end and using what was freed are faults. */
static bool place_in_pool(struct allocation *one) {
  struct cuda_instance *instance = one->context->instance;
  struct pool *pool = &one->context->device->pool;
  if (!pool_take(pool, one->size, &one->offset)) return false;
  one->host = pool->base + one->offset;
  one->address = instance->next_address;
  instance->next_address += (one->size + 0x1fffff) & ~UINT64_C(0xfffff);
  return true;
}

CUresult memory_allocate(CUcontext context, enum memory_kind kind, enum memory_use use, uint64_t size, uint32_t flags,
                         void *host, struct allocation **out) {
  struct cuda_instance *instance = context->instance;
  struct allocation *one = calloc(1, sizeof *one);
  REQUIRE(one != NULL, CUDA_OUT_OF_MEMORY);
  *one = (struct allocation){.kind = kind, .use = use, .size = size, .flags = flags, .context = context,
                             .id = ++instance->next_id};
  bool is_there;
  if (kind == MEMORY_DEVICE) {
    is_there = place_in_pool(one);
  } else if (kind == MEMORY_REGISTERED) {
    one->host = host;
    is_there = true;
  } else {
    one->host = map_pages(size);
    is_there = one->host != NULL;
  }
  if (!is_there) {
    free(one);
    return CUDA_OUT_OF_MEMORY;
  }
  if (kind != MEMORY_DEVICE) one->address = (uint64_t)(uintptr_t)one->host;
  if (!list_add(instance, one)) {
    memory_discard(one);
    return CUDA_OUT_OF_MEMORY;
  }
  if (!show_to_all(one)) {
    memory_detach(one);
    memory_discard(one);
    return CUDA_OUT_OF_MEMORY;
  }
  *out = one;
  return CUDA_SUCCESS;
}

void memory_detach(struct allocation *one) {
  struct cuda_instance *instance = one->context->instance;
  for (CUcontext context = instance->contexts; context != NULL; context = context->next) {
    if (memory_is_visible(context, one)) space_remove(&context->space, one->address);
  }
  list_remove(instance, one);
}

void memory_discard(struct allocation *one) {
  if (one->kind == MEMORY_DEVICE) pool_give(&one->context->device->pool, one->offset, one->size);
  else if (one->kind != MEMORY_REGISTERED) unmap_pages(one->host, one->size);
  free(one);
}

void memory_free(struct allocation *one) {
  memory_detach(one);
  memory_discard(one);
}

void memory_free_all(CUcontext context) {
  struct cuda_instance *instance = context->instance;
  struct allocation **gone = NULL;
  size_t count = 0;
  lock(instance);
  for (size_t i = 0; i < instance->memory_count; i++) count += instance->memory[i]->context == context;
  gone = calloc(count + 1, sizeof(struct allocation *));
  count = 0;
  for (size_t i = 0; gone != NULL && i < instance->memory_count;) {
    struct allocation *one = instance->memory[i];
    if (one->context == context) {
      memory_detach(one);
      gone[count++] = one;
    } else {
      i++;
    }
  }
  unlock(instance);
  memory_settle(instance);
  lock(instance);
  for (size_t i = 0; i < count; i++) memory_discard(gone[i]);
  unlock(instance);
  free(gone);
}

/* ---- for other devices ----------------------------------------------------------------------------------------------- */

void *bb_soft_cuda_host_memory(struct cuda_instance *instance, uint64_t address, uint64_t size) {
  if (instance == NULL) return NULL;
  lock(instance);
  const struct allocation *one = memory_holding(instance, address, size);
  uint8_t *host = one != NULL && one->kind == MEMORY_DEVICE ? one->host + (address - one->address) : NULL;
  unlock(instance);
  return host;
}
