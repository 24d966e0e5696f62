/* Faults on demand: which rules mean a command, and what they do to it. */
#define _GNU_SOURCE
#include "controller.h"

#include <string.h>

/* ---- chance ------------------------------------------------------------------------------------------------------ */

/* Xorshift: the same seed makes the same run. */
static uint64_t random64(struct controller *c) {
  uint64_t x = c->faults.random;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return c->faults.random = x;
}

void nvme_seed_faults(struct controller *c, uint64_t value) {
  c->faults.random = value * UINT64_C(0x9e3779b97f4a7c15) + 1;
  if (c->faults.random == 0) c->faults.random = 1;
}

static uint64_t below(struct controller *c, uint64_t limit) { return limit == 0 ? 0 : random64(c) % limit; }

/* Most near the median, some many times as long: 2^z of it, with z from the sum of twelve dice, which is nearly normal. */
static uint64_t with_tail(struct controller *c, uint64_t median) {
  int64_t z = 0; /* in 1/65536 */
  for (int i = 0; i < 12; i++) z += (int64_t)below(c, 65536);
  z -= 6 * 65536;
  const int64_t whole = z >> 16, part = z & 65535;
  const uint64_t scaled = median + median * (uint64_t)part / 65536; /* 2^part, nearly */
  return whole >= 0 ? scaled << whole : scaled >> -whole;
}

static uint64_t pick(struct controller *c, const struct fault_rule *rule) {
  switch (rule->shape) {
    case UNIFORM: return rule->value + below(c, rule->limit - rule->value + 1);
    case TAIL: return with_tail(c, rule->value);
    default: return rule->value;
  }
}

/* ---- which commands ---------------------------------------------------------------------------------------------- */

static int is_of_queue(const struct fault_rule *rule, unsigned qid) {
  return rule->queue == QUEUE_ANY || rule->queue == qid || (rule->queue == QUEUE_IO && qid != 0);
}

/* Ranges are for commands that have an LBA in dwords 10 to 12. */
static int is_of_range(const struct fault_rule *rule, const struct sqe *sqe) {
  if (rule->last_lba == UINT64_MAX && rule->first_lba == 0) return 1;
  const struct span span = nvme_span(sqe);
  return span.slba <= rule->last_lba && span.slba + span.blocks - 1 >= rule->first_lba;
}

static int is_meant(const struct fault_rule *rule, const struct command *cmd) {
  return is_of_queue(rule, cmd->sq->id) && (rule->opcode < 0 || rule->opcode == cmd->sqe.opcode) &&
         (rule->nsid == 0 || rule->nsid == cmd->sqe.nsid) && is_of_range(rule, &cmd->sqe);
}

/* Whether a rule that means this command also fires now. */
static int fires(struct controller *c, struct fault_rule *rule) {
  rule->matches++;
  if (rule->matches <= rule->after || rule->fired >= rule->times) return 0;
  if (rule->every != 0 && (rule->matches - rule->after) % rule->every != 0) return 0;
  if (rule->chance != 0 && (uint32_t)random64(c) >= rule->chance) return 0;
  rule->fired++;
  c->counters.faults++;
  return 1;
}

/* ---- what happens to a command ----------------------------------------------------------------------------------- */

void nvme_apply_faults(struct controller *c, struct command *cmd) {
  struct effects *e = &cmd->effects;
  for (unsigned i = 0; i < c->faults.count; i++) {
    struct fault_rule *rule = &c->faults.rules[i];
    if (!is_meant(rule, cmd) || !fires(c, rule)) continue;
    const uint32_t effect = rule->effect;
    e->what |= effect;
    if (effect == EFFECT_DELAY) e->delay_ns += pick(c, rule) * 1000;
    else if (effect == EFFECT_LATE) e->late_ns += pick(c, rule) * 1000;
    else if (effect == EFFECT_STATUS) e->status = (uint16_t)rule->value;
    else if (effect == EFFECT_CID) e->cid = (uint16_t)rule->value;
    else if (effect == EFFECT_SQHD) e->sqhd = (uint16_t)rule->value;
    else if (effect == EFFECT_CORRUPT) e->corrupt_bytes = (uint32_t)rule->value;
    else if (effect == EFFECT_GONE) e->gone = (uint8_t)rule->value;
  }
}

/* A random time for each I/O command makes completions come in any order. */
void nvme_apply_reorder(struct controller *c, struct command *cmd) {
  if (c->settings.reorder_us == 0 || cmd->sq->id == 0) return;
  cmd->effects.what |= EFFECT_DELAY;
  cmd->effects.delay_ns += below(c, c->settings.reorder_us * 1000);
}

/* Changes random bytes of what was sent to the host. */
void nvme_corrupt(struct controller *c, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes && c->memory.data.length > 0; i++) {
    uint64_t at = below(c, c->memory.data.length);
    size_t piece = 0;
    while (at >= c->memory.data.pieces[piece].length) at -= c->memory.data.pieces[piece++].length;
    if (c->memory.data.pieces[piece].at != NULL) c->memory.data.pieces[piece].at[at] ^= (uint8_t)(1 + below(c, 255));
  }
}
