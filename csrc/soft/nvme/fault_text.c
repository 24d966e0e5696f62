/*
 * Faults on demand. A text is a list of rules with ';' between them; a rule is words with ',' between them: first what
 * happens, then to which commands. busbar_soft.h lists the words.
 */
#define _GNU_SOURCE
#include "controller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- what happens at once ---------------------------------------------------------------------------------------- */

static void set_no_ready(struct controller *c, const struct fault_rule *r) { c->faults.never_ready = r->value != 0; }

static void set_no_unready(struct controller *c, const struct fault_rule *r) { c->faults.never_unready = r->value != 0; }

static void set_no_shutdown(struct controller *c, const struct fault_rule *r) {
  c->faults.never_shut_down = r->value != 0;
}

static void set_seed(struct controller *c, const struct fault_rule *r) { nvme_seed_faults(c, r->value); }

static void set_temperature(struct controller *c, const struct fault_rule *r) {
  nvme_set_temperature(c, (uint16_t)r->value);
}

static void set_spare(struct controller *c, const struct fault_rule *r) {
  const uint8_t before = nvme_health_warning(c);
  c->health.spare = (uint8_t)r->value;
  nvme_health_changed(c, before);
}

static void set_warning(struct controller *c, const struct fault_rule *r) {
  const uint8_t before = nvme_health_warning(c);
  c->health.forced_warning = (uint8_t)r->value;
  nvme_health_changed(c, before);
}

static void set_used(struct controller *c, const struct fault_rule *r) { c->health.used = (uint8_t)r->value; }

static void set_self_test(struct controller *c, const struct fault_rule *r) {
  c->health.self_test_fails = (uint8_t)(r->value & 15);
}

static void set_sanitize(struct controller *c, const struct fault_rule *r) { c->sanitize.fail_next = r->value != 0; }

/* Type in bits 7:0, information in 15:8, log page in 23:16, as in dword 0 of the completion. */
static void raise_event(struct controller *c, const struct fault_rule *r) {
  nvme_raise_event(c, (uint8_t)(r->value & 7), (uint8_t)(r->value >> 8), (uint8_t)(r->value >> 16));
}

static void set_ana(struct controller *c, const struct fault_rule *r) {
  c->namespaces.ana_state = (uint32_t)(r->value & 15);
  c->namespaces.ana_changes++;
  nvme_raise_event(c, EVENT_NOTICE, EVENT_INFO_ANA, LOG_ANA);
}

static void spoil_zone(struct controller *c, const struct fault_rule *r, uint8_t state) {
  struct ns *ns = nvme_active(c, r->nsid == 0 ? 1 : r->nsid);
  if (ns != NULL) nvme_spoil_zone(c, ns, r->first_lba, state);
}

static void set_zone_read_only(struct controller *c, const struct fault_rule *r) { spoil_zone(c, r, ZONE_READ_ONLY); }

static void set_zone_offline(struct controller *c, const struct fault_rule *r) { spoil_zone(c, r, ZONE_OFFLINE); }

/* Takes back the rules of one action (its index and 1), or with 0 everything. */
static void clear(struct controller *c, const struct fault_rule *r) {
  unsigned kept = 0;
  for (unsigned i = 0; i < c->faults.count; i++) {
    if (r->value != 0 && c->faults.rules[i].action != r->value - 1) c->faults.rules[kept++] = c->faults.rules[i];
  }
  c->faults.count = kept;
  if (r->value != 0) return;
  c->faults.never_ready = c->faults.never_unready = c->faults.never_shut_down = 0;
  c->sanitize.fail_next = 0;
  c->health.self_test_fails = 0;
  if (c->registers.gone) nvme_set_present(c);
  nvme_catch_up(c);
}

/* ---- the words --------------------------------------------------------------------------------------------------- */

enum value_kind { NO_VALUE, FLAG, NUMBER, MICROSECONDS, PLACE, NAME };

static const struct action {
  const char *name;
  enum value_kind kind;
  uint32_t effect;                                                  /* to commands */
  void (*now)(struct controller *c, const struct fault_rule *rule); /* or at once */
} ACTIONS[] = {
    {"latency", MICROSECONDS, EFFECT_DELAY, NULL},
    {"late", MICROSECONDS, EFFECT_LATE, NULL},
    {"hang", NO_VALUE, EFFECT_HANG, NULL},
    {"drop", NO_VALUE, EFFECT_DROP, NULL},
    {"duplicate", NO_VALUE, EFFECT_DUPLICATE, NULL},
    {"phase", NO_VALUE, EFFECT_PHASE, NULL},
    {"cid", NUMBER, EFFECT_CID, NULL},
    {"sqhd", NUMBER, EFFECT_SQHD, NULL},
    {"status", NUMBER, EFFECT_STATUS, NULL},
    {"corrupt", NUMBER, EFFECT_CORRUPT, NULL},
    {"no_interrupt", NO_VALUE, EFFECT_NO_INTERRUPT, NULL},
    {"cfs", NO_VALUE, EFFECT_FATAL, NULL},
    {"gone", PLACE, EFFECT_GONE, NULL},
    {"no_ready", FLAG, 0, set_no_ready},
    {"no_unready", FLAG, 0, set_no_unready},
    {"no_shutdown", FLAG, 0, set_no_shutdown},
    {"seed", NUMBER, 0, set_seed},
    {"temperature", NUMBER, 0, set_temperature},
    {"spare", NUMBER, 0, set_spare},
    {"used", NUMBER, 0, set_used},
    {"warning", NUMBER, 0, set_warning},
    {"event", NUMBER, 0, raise_event},
    {"ana", NUMBER, 0, set_ana},
    {"selftest", NUMBER, 0, set_self_test},
    {"sanitize", NUMBER, 0, set_sanitize},
    {"zone_read_only", NO_VALUE, 0, set_zone_read_only},
    {"zone_offline", NO_VALUE, 0, set_zone_offline},
    {"clear", NAME, 0, clear},
};

/* ---- the text ---------------------------------------------------------------------------------------------------- */

static int read_number(const char *text, uint64_t *out) {
  if (*text < '0' || *text > '9') return -EINVAL;
  char *end;
  errno = 0;
  *out = strtoull(text, &end, text[0] == '0' && (text[1] | 32) == 'x' ? 16 : 10);
  return errno != 0 || *end != '\0' ? -EINVAL : 0;
}

/* "7", or "7..12". */
static int read_range(char *text, uint64_t *first, uint64_t *last) {
  char *dots = strstr(text, "..");
  if (dots != NULL) *dots = '\0';
  if (read_number(text, first) != 0 || read_number(dots == NULL ? text : dots + 2, last) != 0) return -EINVAL;
  return *first <= *last ? 0 : -EINVAL;
}

static int read_times(char *text, struct fault_rule *rule) {
  if (strncmp(text, "tail:", 5) == 0) {
    rule->shape = TAIL;
    return read_number(text + 5, &rule->value);
  }
  rule->shape = strstr(text, "..") == NULL ? FIXED : UNIFORM;
  const int result = read_range(text, &rule->value, &rule->limit);
  return result != 0 || rule->limit > UINT32_MAX ? -EINVAL : 0;
}

static int read_place(const char *text, struct fault_rule *rule) {
  static const struct {
    const char *name;
    uint8_t value;
  } places[] = {{"", GONE_BARS | GONE_CONFIG}, {"bar", GONE_BARS}, {"config", GONE_CONFIG},
                {"sigbus", GONE_BARS | GONE_CONFIG | GONE_SIGBUS}};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    if (strcmp(text, places[i].name) != 0) continue;
    rule->value = places[i].value;
    return 0;
  }
  return -EINVAL;
}

enum { ACTION_COUNT = sizeof ACTIONS / sizeof *ACTIONS };

static unsigned find_action(const char *name) {
  unsigned at = 0;
  while (at < ACTION_COUNT && strcmp(ACTIONS[at].name, name) != 0) at++;
  return at;
}

static int read_name(const char *text, struct fault_rule *rule) {
  const unsigned at = find_action(text);
  rule->value = at + 1;
  return at < ACTION_COUNT ? 0 : -EINVAL;
}

static int read_value(enum value_kind kind, char *text, struct fault_rule *rule) {
  switch (kind) {
    case NO_VALUE: return text == NULL ? 0 : -EINVAL;
    case FLAG:
      rule->value = 1;
      return text == NULL ? 0 : read_number(text, &rule->value);
    case NUMBER: return text == NULL ? -EINVAL : read_number(text, &rule->value);
    case MICROSECONDS: return text == NULL ? -EINVAL : read_times(text, rule);
    case PLACE: return read_place(text == NULL ? "" : text, rule);
    case NAME: return text == NULL ? 0 : read_name(text, rule);
  }
  return -EINVAL;
}

static int read_queue(const char *text, struct fault_rule *rule) {
  uint64_t id;
  if (strcmp(text, "admin") == 0) rule->queue = 0;
  else if (strcmp(text, "io") == 0) rule->queue = QUEUE_IO;
  else if (strcmp(text, "any") == 0) rule->queue = QUEUE_ANY;
  else if (read_number(text, &id) == 0 && id < QUEUE_ANY) rule->queue = (uint32_t)id;
  else return -EINVAL;
  return 0;
}

/* A fraction such as 0.01. */
static int read_chance(const char *text, struct fault_rule *rule) {
  char *end;
  const double value = strtod(text, &end);
  if (end == text || *end != '\0' || !(value > 0) || value > 1) return -EINVAL;
  rule->chance = value == 1 ? 0 : (uint32_t)(value * 4294967295.0);
  if (value < 1 && rule->chance == 0) rule->chance = 1;
  return 0;
}

static int read_selector(char *word, struct fault_rule *rule) {
  char *text = strchr(word, '=');
  uint64_t number;
  if (text == NULL) return -EINVAL;
  *text++ = '\0';
  if (strcmp(word, "queue") == 0) return read_queue(text, rule);
  if (strcmp(word, "lba") == 0) return read_range(text, &rule->first_lba, &rule->last_lba);
  if (strcmp(word, "chance") == 0) return read_chance(text, rule);
  if (read_number(text, &number) != 0) return -EINVAL;
  if (strcmp(word, "opcode") == 0 && number < 256) rule->opcode = (int)number;
  else if (strcmp(word, "nsid") == 0) rule->nsid = (uint32_t)number;
  else if (strcmp(word, "every") == 0) rule->every = number;
  else if (strcmp(word, "times") == 0) rule->times = number;
  else if (strcmp(word, "after") == 0) rule->after = number;
  else if (strcmp(word, "nth") == 0 && number != 0) rule->after = number - 1, rule->times = 1;
  else return -EINVAL;
  return 0;
}

static int read_rule(char *text, struct fault_rule *rule) {
  *rule = (struct fault_rule){.queue = QUEUE_IO, .opcode = -1, .last_lba = UINT64_MAX, .times = UINT64_MAX};
  char *state, *name = strtok_r(text, ",", &state);
  if (name == NULL) return -EINVAL;
  char *value = strchr(name, '=');
  if (value != NULL) *value++ = '\0';
  rule->action = find_action(name);
  if (rule->action == ACTION_COUNT) return -EINVAL;
  rule->effect = ACTIONS[rule->action].effect;
  if (read_value(ACTIONS[rule->action].kind, value, rule) != 0) return -EINVAL;
  for (char *word; (word = strtok_r(NULL, ",", &state)) != NULL; rule->selective = 1) {
    if (read_selector(word, rule) != 0) return -EINVAL;
  }
  return 0;
}

/* "cfs" and "gone" without a selector happen now, not with a command. */
static int carry_out_now(struct controller *c, const struct fault_rule *rule) {
  if (rule->effect == 0) {
    ACTIONS[rule->action].now(c, rule);
  } else if (!rule->selective && rule->effect == EFFECT_FATAL) {
    nvme_fatal(c);
  } else if (!rule->selective && rule->effect == EFFECT_GONE) {
    nvme_set_gone(c, (unsigned)rule->value);
  } else {
    return 0;
  }
  return 1;
}

/* All rules are read before the first takes effect: a text with a mistake changes nothing. */
static int read_rules(char *text, struct fault_rule *rules, unsigned *count) {
  for (char *state, *one = strtok_r(text, ";", &state); one != NULL; one = strtok_r(NULL, ";", &state)) {
    if (*count == FAULT_RULES || read_rule(one, &rules[*count]) != 0) return -EINVAL;
    ++*count;
  }
  return 0;
}

int nvme_add_faults(struct controller *c, const char *text) {
  char *copy = strdup(text);
  if (copy == NULL) return -ENOMEM;
  struct fault_rule rules[FAULT_RULES];
  unsigned count = 0;
  int result = read_rules(copy, rules, &count);
  free(copy);
  for (unsigned i = 0; i < count && result == 0; i++) {
    if (carry_out_now(c, &rules[i])) continue;
    if (c->faults.count == FAULT_RULES) result = -ENOSPC;
    else c->faults.rules[c->faults.count++] = rules[i];
  }
  return result;
}

int nvme_open_faults(struct controller *c) {
  nvme_seed_faults(c, c->settings.seed);
  return nvme_add_faults(c, c->settings.fault);
}
