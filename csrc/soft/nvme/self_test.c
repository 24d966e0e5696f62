/* Device self-test, §5.9 and §5.16.1.7. */
#define _GNU_SOURCE
#include "controller.h"

#include <string.h>

enum { SHORT = 1, EXTENDED = 2, ABORT = 15 };

enum { RESULT_OK = 0, RESULT_ABORTED = 1, RESULT_RESET = 2, RESULT_NONE = 15 };

static void finish_self_test(struct controller *c, uint8_t result) {
  struct health *h = &c->health;
  memmove(h->results + 1, h->results, sizeof h->results - sizeof *h->results);
  h->results[0] = (struct self_test_result){
      .result = (uint8_t)(h->self_test << 4 | result),
      .power_on_hours = nvme_power_on_hours(c, soft_now_ns()),
      .nsid = h->self_test_nsid,
  };
  if (h->result_count < SELF_TESTS) h->result_count++;
  h->self_test = 0;
}

void nvme_pass_self_test(struct controller *c, uint64_t now) {
  if (c->health.self_test == 0 || now < c->health.self_test_ends_ns) return;
  finish_self_test(c, c->health.self_test_fails);
  c->health.self_test_fails = RESULT_OK;
}

/* A reset ends a short test, an extended one goes on. */
void nvme_reset_self_test(struct controller *c) {
  if (c->health.self_test == SHORT) finish_self_test(c, RESULT_RESET);
}

uint16_t nvme_device_self_test(struct controller *c, struct command *cmd) {
  struct health *h = &c->health;
  const unsigned code = cmd->sqe.cdw10 & 15;
  const uint32_t nsid = cmd->sqe.nsid;
  if (nsid != 0 && nsid != NSID_ALL && nvme_active(c, nsid) == NULL) {
    return refuse(cmd, nsid > c->settings.nn ? SC_INVALID_NAMESPACE : SC_INVALID_FIELD, CDW(1), 0);
  }
  if (code == ABORT) {
    if (h->self_test != 0) finish_self_test(c, RESULT_ABORTED);
    return SC_OK;
  }
  if (code != SHORT && code != EXTENDED) return refuse(cmd, SC_INVALID_FIELD, CDW(10), 0);
  if (h->self_test != 0) return SC_SELF_TEST_BUSY;
  h->self_test = (uint8_t)code;
  h->self_test_nsid = nsid;
  h->self_test_started_ns = soft_now_ns();
  h->self_test_ends_ns = h->self_test_started_ns + c->settings.selftest_ms * 1000000 * (code == EXTENDED ? 2 : 1);
  return SC_OK;
}

void nvme_fill_self_test_log(struct controller *c, uint8_t *at) {
  const struct health *h = &c->health;
  memset(at, 0, SELF_TEST_LOG_BYTES);
  at[0] = h->self_test;
  if (h->self_test != 0) at[1] = (uint8_t)nvme_percent(h->self_test_started_ns, h->self_test_ends_ns, soft_now_ns());
  for (unsigned i = 0; i < SELF_TESTS; i++) {
    uint8_t *entry = at + 4 + 28 * i;
    entry[0] = i < h->result_count ? h->results[i].result : RESULT_NONE;
    if (i >= h->result_count) continue;
    put64(entry + 4, h->results[i].power_on_hours);
    entry[2] = 1; /* the namespace is valid */
    put32(entry + 12, h->results[i].nsid);
  }
}
