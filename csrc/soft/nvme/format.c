/* What erases: Format NVM (§5.14) and Sanitize (§5.24). */
#define _GNU_SOURCE
#include "controller.h"

#include <string.h>

/* ---- Format NVM -------------------------------------------------------------------------------------------------- */

enum { FNA_FORMATS_ALL = 1, FNA_ERASES_ALL = 2, FNA_CRYPTO = 4 };

struct format {
  unsigned lbaf, extended, pi, pi_first, erase;
};

static struct format format_of(uint32_t cdw10) {
  return (struct format){.lbaf = (cdw10 & 15) | (cdw10 >> 12 & 3) << 4, .extended = cdw10 >> 4 & 1, .pi = cdw10 >> 5 & 7,
                         .pi_first = cdw10 >> 8 & 1, .erase = cdw10 >> 9 & 7};
}

static uint16_t check_format(const struct controller *c, struct command *cmd, const struct format *f) {
  if (f->lbaf >= LBA_FORMATS) return refuse(cmd, SC_INVALID_FORMAT, CDW(10), 0);
  if (f->pi > 3 || (f->pi != 0 && nvme_formats[f->lbaf].ms < 8)) return refuse(cmd, SC_INVALID_FORMAT, CDW(10), 5);
  const unsigned most = c->settings.fna & FNA_CRYPTO ? 2 : 1;
  return f->erase > most ? refuse(cmd, SC_INVALID_FIELD, CDW(10) + 1, 1) : SC_OK;
}

static int concerns(const struct controller *c, const struct command *cmd, const struct format *f, uint32_t nsid) {
  const int all = cmd->sqe.nsid == NSID_ALL || (c->settings.fna & FNA_FORMATS_ALL) != 0 ||
                  (f->erase != 0 && (c->settings.fna & FNA_ERASES_ALL) != 0);
  return nvme_allocated(c, nsid) != NULL && (all || nsid == cmd->sqe.nsid);
}

static uint16_t apply_to(struct ns *ns, const struct format *f) {
  ns->formatting = 0;
  return nvme_reformat(ns, f->lbaf, (int)f->extended, (int)f->pi, (int)f->pi_first) == 0 ? SC_OK : SC_INTERNAL;
}

uint16_t nvme_format(struct controller *c, struct command *cmd) {
  const struct format f = format_of(cmd->sqe.cdw10);
  const uint32_t nsid = cmd->sqe.nsid;
  if (cmd->stage == 0) {
    const uint16_t status = check_format(c, cmd, &f);
    if (status != SC_OK) return status;
    if (nsid == 0 || (nsid > c->settings.nn && nsid != NSID_ALL)) return refuse(cmd, SC_INVALID_NAMESPACE, CDW(1), 0);
    if (nsid != NSID_ALL && nvme_allocated(c, nsid) == NULL) return refuse(cmd, SC_INVALID_FIELD, CDW(1), 0);
  }
  uint16_t status = SC_OK;
  const uint64_t now = soft_now_ns(), duration = c->settings.format_ms * 1000000;
  for (uint32_t i = 1; i <= c->settings.nn; i++) {
    if (!concerns(c, cmd, &f, i)) continue;
    struct ns *ns = c->namespaces.by_id[i];
    if (cmd->stage == 0) {
      if (ns->formatting) return SC_FORMAT_IN_PROGRESS;
      if (ns->protection) return SC_WRITE_PROTECTED;
    } else if (status == SC_OK) {
      status = apply_to(ns, &f);
    }
  }
  if (cmd->stage != 0) return status;
  for (uint32_t i = 1; i <= c->settings.nn; i++) {
    if (!concerns(c, cmd, &f, i)) continue;
    c->namespaces.by_id[i]->formatting = 1;
    c->namespaces.by_id[i]->format_cdw10 = cmd->sqe.cdw10;
    c->namespaces.by_id[i]->format_started_ns = now;
    c->namespaces.by_id[i]->format_ends_ns = now + duration;
  }
  return nvme_defer(cmd, duration);
}

/* A reset takes the command away; what it began is brought to its end. */
void nvme_finish_formats(struct controller *c) {
  for (uint32_t i = 1; i <= c->settings.nn; i++) {
    struct ns *ns = nvme_allocated(c, i);
    if (ns == NULL || !ns->formatting) continue;
    const struct format f = format_of(ns->format_cdw10);
    apply_to(ns, &f);
  }
}

/* ---- Sanitize ---------------------------------------------------------------------------------------------------- */

enum { EXIT_FAILURE_MODE = 1, BLOCK_ERASE = 2, OVERWRITE = 3, CRYPTO_ERASE = 4 };
enum { STATUS_NEVER = 0, STATUS_DONE = 1, STATUS_RUNNING = 2, STATUS_FAILED = 3, GLOBAL_DATA_ERASED = 1 << 8 };

static unsigned action_of(const struct sanitize *s) { return s->cdw10 & 7; }
static unsigned passes_of(const struct sanitize *s) {
  if (action_of(s) != OVERWRITE) return 0;
  return (s->cdw10 >> 4 & 15) == 0 ? 16 : s->cdw10 >> 4 & 15;
}

uint16_t nvme_sanitize(struct controller *c, struct command *cmd) {
  struct sanitize *s = &c->sanitize;
  const unsigned action = cmd->sqe.cdw10 & 7;
  const int unrestricted = (cmd->sqe.cdw10 >> 3 & 1) != 0;
  if (action < EXIT_FAILURE_MODE || action > CRYPTO_ERASE) return refuse(cmd, SC_INVALID_FIELD, CDW(10), 0);
  if (s->failed && (action == EXIT_FAILURE_MODE || unrestricted) && !(s->cdw10 >> 3 & 1)) return SC_SANITIZE_FAILED;
  if (action == EXIT_FAILURE_MODE) {
    s->failed = 0;
    return SC_OK;
  }
  for (uint32_t i = 1; i <= c->settings.nn; i++) {
    struct ns *ns = nvme_allocated(c, i);
    if (ns != NULL && ns->protection) return SC_WRITE_PROTECTED;
  }
  s->running = 1;
  s->failed = 0;
  s->cdw10 = cmd->sqe.cdw10;
  s->cdw11 = cmd->sqe.cdw11;
  s->started_ns = soft_now_ns();
  s->ends_ns = s->started_ns + c->settings.sanitize_ms * 1000000;
  s->status = STATUS_RUNNING;
  return SC_OK;
}

static void overwrite(struct ns *ns, uint32_t pattern) {
  for (uint64_t at = 0; at < ns->data.size; at += 4) put32(ns->data.base + at, pattern);
  if (ns->ms != 0) memset(ns->metadata.base, 0xff, ns->metadata.size);
  nvme_mark_written(ns, 0, ns->blocks);
}

/* Overwriting leaves the pattern only if the host asked not to deallocate afterwards (NDAS). With OIPBP each pass inverts
 * the one before. */
static void erase(const struct sanitize *s, struct ns *ns) {
  nvme_reformat(ns, ns->lbaf, ns->extended, ns->pi_type, ns->pi_first);
  if (action_of(s) != OVERWRITE || !(s->cdw10 >> 9 & 1) || ns->zone != NULL) return;
  const int inverted = (s->cdw10 >> 8 & 1) != 0 && passes_of(s) % 2 == 0;
  overwrite(ns, inverted ? ~s->cdw11 : s->cdw11);
}

void nvme_pass_sanitize(struct controller *c, uint64_t now) {
  struct sanitize *s = &c->sanitize;
  if (!s->running || now < s->ends_ns) return;
  s->running = 0;
  s->failed = s->fail_next;
  s->fail_next = 0;
  for (uint32_t i = 1; i <= c->settings.nn && !s->failed; i++) {
    struct ns *ns = nvme_allocated(c, i);
    if (ns != NULL) erase(s, ns);
  }
  s->status = (uint16_t)((s->failed ? STATUS_FAILED : STATUS_DONE | GLOBAL_DATA_ERASED) | passes_of(s) << 3);
  nvme_raise_event(c, EVENT_IO, EVENT_INFO_SANITIZED, LOG_SANITIZE);
}

void nvme_fill_sanitize_log(const struct controller *c, uint8_t *at) {
  const struct sanitize *s = &c->sanitize;
  memset(at, 0, 512);
  const uint64_t now = soft_now_ns(), length = s->ends_ns - s->started_ns;
  const uint64_t passed = now - s->started_ns < length ? now - s->started_ns : length;
  put16(at, s->running && length != 0 ? passed * 0xffff / length : 0xffff);
  put16(at + 2, s->status);
  put32(at + 4, s->cdw10);
  /* Six estimates: overwrite, block erase, crypto erase; the same without deallocation. Whole seconds. */
  for (unsigned i = 0; i < 6; i++) put32(at + 8 + 4 * i, (c->settings.sanitize_ms + 999) / 1000);
}
