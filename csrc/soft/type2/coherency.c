/*
 * The coherency engine: an entry for each line that some domain holds, in a snoop filter of limited size with the least
 * recently used line as its victim. src/type2/coherency.ts is the same rules once more, written to be read.
 *
 * Which line was used last is written down, and not kept in order: a use adds a note to the end of a list, and an entry knows the
 * number of its last note. The first note that is still its entry's last tells the victim. A use so touches no neighbour's entry,
 * which would not be in the processor's cache.
 */
#define _GNU_SOURCE
#include "coherency.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Notes beside two for each line; how many requests ahead buckets and entries are fetched. */
enum { NOWHERE = UINT32_MAX, MORE_NOTES = 64, BUCKETS_AHEAD = 16, ENTRIES_AHEAD = 8 };

struct entry {
  uint64_t line;
  uint32_t next_in_bucket;
  uint32_t note; /* the number of its last one */
  uint8_t state, owner, holders;
};

struct note {
  uint32_t entry, number;
};

struct coherency {
  uint32_t capacity, shift, used, newest, free;
  uint32_t last_number;              /* may wrap: the notes that are kept are far fewer */
  size_t first_note, notes_end, room; /* those in use */
  uint64_t counters[COUNTERS];
  uint32_t *buckets;
  struct note *notes;
  struct entry entries[];
};

static size_t buckets_of(const struct coherency *engine) { return (size_t)1 << (64 - engine->shift); }

struct coherency *bb_type2_engine_open(uint32_t lines) {
  if (lines == 0 || lines > 1u << 24) return NULL;
  struct coherency *engine = calloc(1, sizeof *engine + lines * sizeof(struct entry));
  if (engine == NULL) return NULL;
  engine->capacity = lines;
  engine->shift = 63;
  while (buckets_of(engine) < 2 * (size_t)lines) engine->shift--;
  engine->buckets = malloc(buckets_of(engine) * sizeof *engine->buckets);
  engine->room = 2 * (size_t)lines + MORE_NOTES;
  engine->notes = malloc(engine->room * sizeof *engine->notes);
  if (engine->buckets == NULL || engine->notes == NULL) {
    bb_type2_engine_close(engine);
    return NULL;
  }
  coherency_clear(engine);
  return engine;
}

void bb_type2_engine_close(struct coherency *engine) {
  if (engine == NULL) return;
  free(engine->buckets);
  free(engine->notes);
  free(engine);
}

void coherency_clear(struct coherency *engine) {
  memset(engine->buckets, 0xff, buckets_of(engine) * sizeof *engine->buckets);
  for (uint32_t i = 0; i < engine->capacity; i++) {
    engine->entries[i].next_in_bucket = i + 1 < engine->capacity ? i + 1 : NOWHERE;
    engine->entries[i].holders = 0;
  }
  engine->free = 0;
  engine->used = 0;
  engine->newest = NOWHERE;
  engine->first_note = engine->notes_end = 0;
}

void coherency_reset_counters(struct coherency *engine) { memset(engine->counters, 0, sizeof engine->counters); }

static uint32_t bucket_of(const struct coherency *engine, uint64_t line) {
  /* The upper bits of the product depend on all of the line's, so neighbours are spread evenly. */
  return (uint32_t)((line * UINT64_C(0x9e3779b97f4a7c15)) >> engine->shift);
}

static uint32_t find(const struct coherency *engine, uint64_t line) {
  uint32_t at = engine->buckets[bucket_of(engine, line)];
  while (at != NOWHERE && engine->entries[at].line != line) at = engine->entries[at].next_in_bucket;
  return at;
}

/* Whether a note is its entry's last. An entry without holders is free, and has none. */
static bool is_last(const struct coherency *engine, const struct note *note) {
  const struct entry *one = &engine->entries[note->entry];
  return one->holders != 0 && one->note == note->number;
}

/* Leaves only the last note of each line: at most half of what there is room for. */
static void forget_notes(struct coherency *engine) {
  size_t kept = 0;
  for (size_t at = engine->first_note; at < engine->notes_end; at++) {
    if (engine->notes_end - at > ENTRIES_AHEAD) __builtin_prefetch(&engine->entries[engine->notes[at + ENTRIES_AHEAD].entry]);
    if (is_last(engine, &engine->notes[at])) engine->notes[kept++] = engine->notes[at];
  }
  engine->first_note = 0;
  engine->notes_end = kept;
}

static void make_newest(struct coherency *engine, uint32_t at) {
  if (engine->notes_end == engine->room) forget_notes(engine);
  const uint32_t number = ++engine->last_number;
  engine->entries[at].note = number;
  engine->notes[engine->notes_end++] = (struct note){at, number};
  engine->newest = at;
}

/* There is a line. */
static uint32_t oldest(struct coherency *engine) {
  while (!is_last(engine, &engine->notes[engine->first_note])) engine->first_note++;
  return engine->notes[engine->first_note].entry;
}

static void take_out(struct coherency *engine, uint32_t at) {
  uint32_t *link = &engine->buckets[bucket_of(engine, engine->entries[at].line)];
  while (*link != at) link = &engine->entries[*link].next_in_bucket;
  *link = engine->entries[at].next_in_bucket;
  if (engine->newest == at) engine->newest = NOWHERE;
  engine->entries[at].holders = 0;
  engine->entries[at].next_in_bucket = engine->free;
  engine->free = at;
  engine->used--;
}

static uint32_t holders_of(uint32_t holders) { return (uint32_t)__builtin_popcount(holders); }

static void insert(struct coherency *engine, uint64_t line, uint32_t state, uint32_t domain) {
  uint64_t *counters = engine->counters;
  if (engine->used == engine->capacity) {
    const uint32_t place = oldest(engine);
    const struct entry *victim = &engine->entries[place];
    counters[COUNT_EVICTIONS]++;
    counters[COUNT_VICTIMS]++;
    counters[COUNT_BACK_INVALIDATIONS] += holders_of(victim->holders);
    counters[COUNT_WRITEBACKS] += victim->state == LINE_M;
    take_out(engine, place);
  }
  const uint32_t at = engine->free;
  struct entry *one = &engine->entries[at];
  engine->free = one->next_in_bucket;
  uint32_t *bucket = &engine->buckets[bucket_of(engine, line)];
  one->line = line;
  one->next_in_bucket = *bucket;
  *bucket = at;
  one->state = (uint8_t)state;
  one->owner = (uint8_t)domain;
  one->holders = (uint8_t)(1u << domain);
  make_newest(engine, at);
  engine->used++;
}

/* The line is this domain's alone; the others lose their copies. */
static void take_alone(struct coherency *engine, struct entry *one, uint32_t domain, uint32_t state) {
  const uint32_t others = one->holders & ~(1u << domain);
  engine->counters[COUNT_BACK_INVALIDATIONS] += holders_of(others);
  engine->counters[COUNT_WRITEBACKS] += one->state == LINE_M && one->owner != domain;
  one->holders = (uint8_t)(1u << domain);
  one->owner = (uint8_t)domain;
  one->state = (uint8_t)state;
}

/* A domain gives its copy up. */
static uint32_t drop(struct coherency *engine, uint32_t at, uint32_t domain) {
  struct entry *one = &engine->entries[at];
  engine->counters[COUNT_EVICTIONS]++;
  /* Modified data is never lost, whatever kind of eviction was asked for. */
  engine->counters[COUNT_WRITEBACKS] += one->state == LINE_M && one->owner == domain;
  one->holders &= (uint8_t) ~(1u << domain);
  if (one->holders == 0) {
    take_out(engine, at);
    return RSP_I;
  }
  one->state = LINE_S;
  return RSP_S;
}

static uint32_t response_of(uint32_t state) { return state == LINE_S ? RSP_S : state == LINE_E ? RSP_E : RSP_M; }

static uint32_t read_shared(struct coherency *engine, struct entry *one, uint32_t domain) {
  if ((one->holders & 1u << domain) != 0) return response_of(one->state);
  if (one->state == LINE_M) engine->counters[COUNT_WRITEBACKS]++;
  if (one->state != LINE_S) engine->counters[COUNT_DOWNGRADES]++;
  one->state = LINE_S;
  one->holders |= (uint8_t)(1u << domain);
  return RSP_S;
}

static uint32_t request_new(struct coherency *engine, uint32_t domain, uint32_t request, uint64_t line) {
  static const uint8_t STATES[REQUESTS] = {[RD_SHARED] = LINE_S, [RD_OWN] = LINE_E, [RD_ANY] = LINE_E, [WR_INV] = LINE_M};
  if (STATES[request] == LINE_I) return RSP_I;
  insert(engine, line, STATES[request], domain);
  return response_of(STATES[request]);
}

uint32_t bb_type2_engine_request(struct coherency *engine, uint32_t domain, uint32_t request, uint64_t line) {
  if (domain >= DOMAINS || request >= REQUESTS) return RSP_I;
  uint64_t *counters = engine->counters;
  counters[COUNT_REQUESTS]++;
  const uint32_t at = find(engine, line);
  if (at == NOWHERE) {
    counters[COUNT_MISSES]++;
    return request_new(engine, domain, request, line);
  }
  counters[COUNT_HITS]++;
  struct entry *one = &engine->entries[at];
  const uint32_t bit = 1u << domain;
  if (at != engine->newest) make_newest(engine, at);
  switch ((enum coherency_request)request) {
    case RD_SHARED: case RD_ANY: return read_shared(engine, one, domain);
    case RD_OWN:
      if (one->holders == bit) {
        if (one->state != LINE_M) one->state = LINE_E;
        one->owner = (uint8_t)domain;
        return response_of(one->state);
      }
      take_alone(engine, one, domain, LINE_E);
      return RSP_E;
    case WR_INV:
      counters[COUNT_UPGRADES] += one->state == LINE_S && (one->holders & bit) != 0;
      take_alone(engine, one, domain, LINE_M);
      return RSP_M;
    case WR_CUR:
      counters[COUNT_BACK_INVALIDATIONS] += holders_of(one->holders & ~bit);
      /* Nothing is written back: the data of the request is newer than any copy. */
      take_out(engine, at);
      return RSP_I;
    case CLR_DEV_CACHE:
      if ((one->holders & 1u << DOMAIN_GPU) == 0) return RSP_I;
      return drop(engine, at, DOMAIN_GPU);
    case CLEAN_EVICT: case DIRTY_EVICT:
      if ((one->holders & bit) == 0) return RSP_I;
      drop(engine, at, domain);
      return RSP_I;
    case REQUESTS: break;
  }
  return RSP_I;
}

static void fetch_bucket(const struct coherency *engine, uint64_t line) {
  __builtin_prefetch(&engine->buckets[bucket_of(engine, line)]);
}

static void fetch_entry(const struct coherency *engine, uint64_t line) {
  const uint32_t at = engine->buckets[bucket_of(engine, line)];
  if (at != NOWHERE) __builtin_prefetch(&engine->entries[at], 1);
}

void bb_type2_engine_run(struct coherency *engine, const uint16_t *requests, const uint64_t *lines, uint32_t count,
                         uint8_t *responses) {
  for (uint32_t i = 0; i < count; i++) {
    if (count - i > BUCKETS_AHEAD) fetch_bucket(engine, lines[i + BUCKETS_AHEAD]);
    if (count - i > ENTRIES_AHEAD) fetch_entry(engine, lines[i + ENTRIES_AHEAD]);
    const uint32_t response = bb_type2_engine_request(engine, requests[i] >> 8, requests[i] & 255, lines[i]);
    if (responses != NULL) responses[i] = (uint8_t)response;
  }
}

uint32_t bb_type2_engine_line(const struct coherency *engine, uint64_t line) {
  const uint32_t at = find(engine, line);
  if (at == NOWHERE) return 0;
  const struct entry *one = &engine->entries[at];
  const uint32_t owner = one->state == LINE_S ? 0 : one->owner;
  return (uint32_t)one->state << 16 | owner << 8 | one->holders;
}

void bb_type2_engine_counters(const struct coherency *engine, uint64_t out[COUNTERS]) {
  memcpy(out, engine->counters, sizeof engine->counters);
  out[COUNT_ENTRIES] = engine->used;
  out[COUNT_CAPACITY] = engine->capacity;
}

void coherency_range(struct coherency *engine, uint32_t domain, uint32_t request, uint64_t offset, uint64_t bytes) {
  if (bytes == 0) return;
  for (uint64_t line = offset / 64; line <= (offset + bytes - 1) / 64; line++) {
    fetch_bucket(engine, line + BUCKETS_AHEAD);
    fetch_entry(engine, line + ENTRIES_AHEAD);
    bb_type2_engine_request(engine, domain, request, line);
  }
}
