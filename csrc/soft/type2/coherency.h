/* The coherency engine: which domains hold which line of BAR4. */
#ifndef BUSBAR_TYPE2_COHERENCY_H
#define BUSBAR_TYPE2_COHERENCY_H

#include "type2.h"

enum coherency_domain { DOMAIN_CPU, DOMAIN_GPU, DOMAIN_HOST, DOMAIN_DEV, DOMAINS };
enum coherency_state { LINE_I, LINE_S, LINE_E, LINE_M };
enum coherency_request { RD_SHARED, RD_OWN, RD_ANY, WR_INV, WR_CUR, CLR_DEV_CACHE, CLEAN_EVICT, DIRTY_EVICT, REQUESTS };
enum coherency_response { RSP_I, RSP_V, RSP_S, RSP_E, RSP_M };

enum coherency_counter {
  COUNT_REQUESTS,
  COUNT_HITS,
  COUNT_MISSES,
  COUNT_BACK_INVALIDATIONS,
  COUNT_WRITEBACKS,
  COUNT_EVICTIONS,
  COUNT_UPGRADES,
  COUNT_DOWNGRADES,
  COUNT_ENTRIES,
  COUNT_CAPACITY,
  COUNT_VICTIMS,
  COUNTERS
};

/* What remains 0 until a reset of counters; entries stay. */
void coherency_reset_counters(struct coherency *engine);
/* Drops all lines. */
void coherency_clear(struct coherency *engine);
/* One request for each line of a range. */
void coherency_range(struct coherency *engine, uint32_t domain, uint32_t request, uint64_t offset, uint64_t bytes);

#endif
