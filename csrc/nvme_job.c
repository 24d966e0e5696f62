/* The loop of an I/O job: many transfers on one queue pair, with their places, data, times and checks. See busbar.h. */
#define _GNU_SOURCE
#include "busbar.h"
#include "internal.h"
#include "nvme_queue.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  OPC_WRITE = 1,
  OPC_READ = 2,
  /* Bytes at the start of a block that name it, and the word that ends them: src/nvme/jobs/pattern.ts. */
  TAG_WORDS = 4,
  TAG_MAGIC = 0x62757362,
  LOOK_NS = 1000000,
  SPINS = 64,
  STEP_BITS = 7,
};

enum slot_state { FREE, IN_FLIGHT, TO_FILL, TO_LOOK };

struct slot {
  uint64_t submitted_ns, lba;
  uint8_t *memory;
  uint32_t blocks;
  uint16_t identifier;
  uint8_t state, is_read;
  uint8_t command[BB_NVME_SQE_BYTES];
};

struct bb_nvme_job {
  bb_nvme_queue *queue;
  uint64_t words[BB_NVME_JOB_WORDS];
  struct slot *slots;
  uint32_t *free_ids, free_count;
  uint32_t *handed, handed_count; /* slots that the caller fills or looks at before the next call */
  uint32_t *fresh, fresh_count;   /* slots put into the queue since the doorbell was rung */
  uint32_t depth, in_flight, unrung;
  uint32_t slot_mask; /* the bits of a command identifier that say which slot; the others change from use to use */
  uint32_t random_place, random_kind;
  uint64_t issued, done, blocks_done, next_due_ns, last_ns, waits;
  uint64_t failed_status, failed_lba, failed_blocks, failed_is_read;
  uint64_t wrong_slot; /* a slot whose data is not as the pattern says, or UINT64_MAX */
  uint64_t bins[BB_HISTOGRAM_BINS];
};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* xorshift32. */
static uint32_t next_random(uint32_t *state) {
  uint32_t x = *state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return *state = x;
}

static double as_double(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* The chunk of the range that the next transfer goes to. */
static uint64_t next_chunk(bb_nvme_job *job) {
  const uint64_t *w = job->words, chunks = w[BB_NVME_JOB_CHUNKS];
  switch (w[BB_NVME_JOB_ORDER]) {
  case BB_NVME_ORDER_RANDOM:
    /* 64 bits of randomness, so that every chunk of a large range is reached. */
    return (((uint64_t)next_random(&job->random_place) << 32) | next_random(&job->random_place)) % chunks;
  case BB_NVME_ORDER_ZIPF: {
    /* Gray et al., Quickly generating billion-record synthetic databases, SIGMOD 1994; then spread over the range. */
    const double u = next_random(&job->random_place) / 4294967296.0;
    const double zeta = as_double(w[BB_NVME_JOB_ZIPF_ZETA]), theta = as_double(w[BB_NVME_JOB_ZIPF_THETA]);
    const double scaled = u * zeta;
    uint64_t rank = 0;
    if (scaled >= 1 && scaled < 1 + pow(0.5, theta)) rank = 1;
    else if (scaled >= 1) {
      const double eta = as_double(w[BB_NVME_JOB_ZIPF_ETA]);
      rank = (uint64_t)((double)chunks * pow(eta * u - eta + 1, 1 / (1 - theta)));
    }
    return (rank < chunks ? rank : chunks - 1) * 0x9e3779b97f4a7c15u % chunks;
  }
  case BB_NVME_ORDER_LIST:
    return ((const uint64_t *)(uintptr_t)w[BB_NVME_JOB_LIST])[job->issued % w[BB_NVME_JOB_LIST_LENGTH]];
  default:
    return (w[BB_NVME_JOB_FIRST_CHUNK] + job->issued * w[BB_NVME_JOB_CHUNK_STEP]) % chunks;
  }
}

/* One word of a block after the other: what the pattern says. */
static uint32_t first_word_state(uint64_t lba, uint32_t seed) {
  const uint32_t low = (uint32_t)lba, high = (uint32_t)(lba >> 32);
  const uint32_t x = (low ^ seed) * 0x9e3779b1u ^ (high + 1) * 0x85ebca6bu;
  return x == 0 ? 1 : x;
}

static void fill_block(uint8_t *block, uint64_t lba, uint32_t seed, uint32_t size) {
  const uint32_t tag[TAG_WORDS] = {(uint32_t)lba, (uint32_t)(lba >> 32), seed, TAG_MAGIC};
  memcpy(block, tag, sizeof tag);
  uint32_t x = first_word_state(lba, seed);
  for (uint32_t at = sizeof tag; at + 4 <= size; at += 4) {
    next_random(&x);
    memcpy(block + at, &x, 4);
  }
}

static int is_block(const uint8_t *block, uint64_t lba, uint32_t seed, uint32_t size) {
  const uint32_t tag[TAG_WORDS] = {(uint32_t)lba, (uint32_t)(lba >> 32), seed, TAG_MAGIC};
  uint32_t x = first_word_state(lba, seed), differs = memcmp(block, tag, sizeof tag) != 0;
  for (uint32_t at = sizeof tag; at + 4 <= size; at += 4) {
    uint32_t word;
    memcpy(&word, block + at, 4);
    differs |= word ^ next_random(&x);
  }
  return differs == 0;
}

static void fill_pattern(const bb_nvme_job *job, const struct slot *slot) {
  const uint64_t *w = job->words, stride = w[BB_NVME_JOB_STRIDE_BYTES], size = w[BB_NVME_JOB_BLOCK_BYTES];
  for (uint32_t i = 0; i < slot->blocks; i++) {
    uint8_t *block = slot->memory + i * stride;
    fill_block(block, slot->lba + i, (uint32_t)w[BB_NVME_JOB_PATTERN_SEED], (uint32_t)size);
    memset(block + size, 0, stride - size);
  }
}

static int is_pattern(const bb_nvme_job *job, const struct slot *slot) {
  const uint64_t *w = job->words, stride = w[BB_NVME_JOB_STRIDE_BYTES], size = w[BB_NVME_JOB_BLOCK_BYTES];
  for (uint32_t i = 0; i < slot->blocks; i++) {
    const uint8_t *block = slot->memory + i * stride;
    if (!is_block(block, slot->lba + i, (uint32_t)w[BB_NVME_JOB_PATTERN_SEED], (uint32_t)size)) return 0;
  }
  return 1;
}

/* An identifier that the slot did not have before: so a completion that comes twice does not end the command that took the
 * place of its own. FFFFh is not used: in the Error Information log it means no command. */
static uint16_t next_identifier(const bb_nvme_job *job, uint16_t before) {
  const uint16_t next = (uint16_t)(before + job->slot_mask + 1);
  return next == UINT16_MAX ? (uint16_t)(next + job->slot_mask + 1) : next;
}

/* Chooses the place of a transfer and writes it into the slot's command. */
static void choose(bb_nvme_job *job, uint32_t id) {
  struct slot *slot = &job->slots[id];
  const uint64_t *w = job->words;
  const uint64_t first = next_chunk(job) * w[BB_NVME_JOB_TRANSFER_BLOCKS];
  const uint64_t left = w[BB_NVME_JOB_BLOCKS] - first;
  slot->lba = w[BB_NVME_JOB_LBA] + first;
  slot->blocks = (uint32_t)(left < w[BB_NVME_JOB_TRANSFER_BLOCKS] ? left : w[BB_NVME_JOB_TRANSFER_BLOCKS]);
  /* The share of reads in 2^-32; 2^32 is all of them. */
  const uint64_t share = w[BB_NVME_JOB_READ_SHARE];
  slot->is_read = share > UINT32_MAX || (share > 0 && next_random(&job->random_kind) < share);
  slot->identifier = next_identifier(job, slot->identifier);
  const uint32_t dword0 = (slot->is_read ? OPC_READ : OPC_WRITE) | (uint32_t)slot->identifier << 16;
  const uint32_t dword12 = (slot->blocks - 1) | (uint32_t)w[slot->is_read ? BB_NVME_JOB_READ_FLAGS : BB_NVME_JOB_WRITE_FLAGS];
  const uint32_t tag = (uint32_t)slot->lba;
  memcpy(slot->command, &dword0, 4);
  memcpy(slot->command + 40, &slot->lba, 8);
  memcpy(slot->command + 48, &dword12, 4);
  memcpy(slot->command + 56, &tag, 4);
  job->issued++;
}

/* Puts a transfer into the submission queue; the doorbell is rung for all of them together. */
static int32_t enqueue(bb_nvme_job *job, uint32_t id) {
  bb_nvme_queue *queue = job->queue;
  if (put(queue, queue->tail, job->slots[id].command, 1) != 0) return -EFAULT;
  queue->tail = queue->tail + 1 == queue->entries ? 0 : queue->tail + 1;
  job->slots[id].state = IN_FLIGHT;
  job->fresh[job->fresh_count++] = id;
  job->in_flight++;
  return 0;
}

/* Tells the controller of what was put into the queue. Commands of one ring begin together. */
static int32_t ring_submissions(bb_nvme_job *job) {
  if (job->fresh_count == 0) return 0;
  const uint64_t start = now_ns();
  for (uint32_t i = 0; i < job->fresh_count; i++) job->slots[job->fresh[i]].submitted_ns = start;
  job->fresh_count = 0;
  /* As in bb_nvme_submit: the commands must be in memory before the controller hears of them. */
  bb_write_barrier();
  return bb_write32(job->queue->registers, job->queue->sq_doorbell, job->queue->tail) == 0 ? 0 : -EFAULT;
}

/* The controller may use entries again once it hears of the new head; until then it has those that were never passed. So
 * the doorbell can wait as long as there is room for all that may be in flight before the next look. */
static int32_t ring_completions(bb_nvme_job *job, int is_forced) {
  if (job->unrung == 0) return 0;
  if (!is_forced && job->unrung + job->depth < job->queue->entries && job->unrung < job->queue->entries / 2) return 0;
  job->unrung = 0;
  /* Entries may be overwritten once the controller sees the new head, so they must have been read before. */
  loads_before_stores();
  return bb_write32(job->queue->registers, job->queue->cq_doorbell, job->queue->cq_head) == 0 ? 0 : -EFAULT;
}

static int is_issuing(const bb_nvme_job *job, uint32_t is_stopping) {
  return !is_stopping && job->failed_status == 0 && job->wrong_slot == UINT64_MAX &&
         job->issued < job->words[BB_NVME_JOB_LIMIT];
}

/* Fills the queue as far as there are free slots and transfers that are due. */
static int32_t fill_queue(bb_nvme_job *job, uint32_t is_stopping) {
  const uint64_t *w = job->words;
  const uint64_t now = w[BB_NVME_JOB_PERIOD_NS] != 0 && job->free_count > 0 ? now_ns() : 0;
  while (job->free_count > 0 && is_issuing(job, is_stopping)) {
    if (w[BB_NVME_JOB_PERIOD_NS] != 0) {
      if (job->next_due_ns == 0) job->next_due_ns = now;
      if (now < job->next_due_ns) break;
      job->next_due_ns += w[BB_NVME_JOB_PERIOD_NS];
    }
    const uint32_t id = job->free_ids[--job->free_count];
    struct slot *slot = &job->slots[id];
    choose(job, id);
    if (!slot->is_read && w[BB_NVME_JOB_IS_HANDED] != 0) {
      slot->state = TO_FILL;
      job->handed[job->handed_count++] = id;
      continue;
    }
    if (!slot->is_read && w[BB_NVME_JOB_HAS_PATTERN] != 0) fill_pattern(job, slot);
    if (enqueue(job, id) != 0) return -EFAULT;
  }
  return ring_submissions(job);
}

static void count_latency(bb_nvme_job *job, uint64_t ns) {
  const uint32_t exponent = ns < 2u << STEP_BITS ? 0 : 63 - STEP_BITS - (uint32_t)__builtin_clzll(ns);
  job->bins[exponent * (1u << STEP_BITS) + (ns >> exponent)]++;
}

/* Takes one completion. Each has the time at which it was seen, not that of its batch. */
static int32_t complete(bb_nvme_job *job, const uint32_t *entry) {
  const uint64_t now = now_ns();
  const uint32_t identifier = entry[CQE_STATUS] & 0xffff, status = entry[CQE_STATUS] >> 17;
  const uint32_t id = identifier & job->slot_mask;
  if (id >= job->depth || job->slots[id].state != IN_FLIGHT || job->slots[id].identifier != identifier) return -EPROTO;
  struct slot *slot = &job->slots[id];
  job->in_flight--;
  job->last_ns = now;
  if (status != 0) {
    if (job->failed_status == 0) {
      job->failed_status = status;
      job->failed_lba = slot->lba;
      job->failed_blocks = slot->blocks;
      job->failed_is_read = slot->is_read;
    }
    slot->state = FREE;
    job->free_ids[job->free_count++] = id;
    return 0;
  }
  count_latency(job, now - slot->submitted_ns);
  job->done++;
  job->blocks_done += slot->blocks;
  if (slot->is_read && job->words[BB_NVME_JOB_HAS_PATTERN] != 0 && !is_pattern(job, slot)) {
    /* The first one is kept as it is, for the caller to look at. */
    if (job->wrong_slot == UINT64_MAX) {
      job->wrong_slot = id;
      slot->state = TO_LOOK;
      return 0;
    }
  }
  if (slot->is_read && job->words[BB_NVME_JOB_IS_HANDED] != 0) {
    slot->state = TO_LOOK;
    job->handed[job->handed_count++] = id;
    return 0;
  }
  slot->state = FREE;
  job->free_ids[job->free_count++] = id;
  return 0;
}

/* What the caller was handed is filled, or looked at. */
static int32_t take_back(bb_nvme_job *job) {
  for (uint32_t i = 0; i < job->handed_count; i++) {
    const uint32_t id = job->handed[i];
    if (job->slots[id].state == TO_FILL) {
      if (enqueue(job, id) != 0) return -EFAULT;
    } else {
      job->slots[id].state = FREE;
      job->free_ids[job->free_count++] = id;
    }
  }
  job->handed_count = 0;
  return ring_submissions(job);
}

static int32_t take_completions(bb_nvme_job *job, uint32_t *taken) {
  for (const uint32_t *entry; (entry = next_completion(job->queue)) != NULL; ++*taken) {
    const int32_t problem = complete(job, entry);
    pass_completion(job->queue, entry);
    job->unrung++;
    if (problem != 0) return problem;
  }
  return ring_completions(job, 0);
}

/* Sleeps until an interrupt comes, at most until the time `until`. The counter holds an interrupt that came after the queue
 * was looked at last, so none is missed. */
static int32_t wait_for_interrupt(bb_nvme_job *job, uint64_t now, uint64_t until) {
  /* What was taken is told first: a controller need not interrupt again before. */
  if (ring_completions(job, 1) != 0) return -EFAULT;
  if (next_completion(job->queue) != NULL || until <= now) return 0;
  const uint64_t left = until - now;
  struct pollfd event = {.fd = (int)(job->words[BB_NVME_JOB_INTERRUPT] - 1), .events = POLLIN};
  const struct timespec limit = {.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
  job->waits++;
  const int ready = ppoll(&event, 1, &limit, NULL);
  if (ready < 0 && errno != EINTR) return -errno;
  uint64_t count;
  if (ready > 0 && read(event.fd, &count, sizeof count) < 0 && errno != EAGAIN) return -errno;
  return 0;
}

int32_t bb_nvme_job_run(bb_nvme_job *job, uint32_t limit_us, uint32_t is_stopping) {
  if (job == NULL || limit_us > 50000) return -EINVAL;
  if (take_back(job) != 0) return -EFAULT;
  const uint64_t start = now_ns(), end = start + (uint64_t)limit_us * 1000;
  uint64_t next_look = start + LOOK_NS;
  for (;;) {
    int32_t problem = fill_queue(job, is_stopping);
    if (problem != 0) return problem;
    if (job->handed_count > 0) return BB_NVME_JOB_HANDED;
    if (job->in_flight == 0 && !is_issuing(job, is_stopping)) {
      problem = ring_completions(job, 1);
      return problem != 0 ? problem : BB_NVME_JOB_ENDED;
    }
    uint32_t taken = 0;
    for (uint32_t i = 0; i < SPINS && taken == 0; i++) {
      problem = take_completions(job, &taken);
      if (problem != 0) return problem;
      if (taken == 0) relax();
    }
    if (job->handed_count > 0) return BB_NVME_JOB_HANDED;
    /* The clock is only looked at when nothing came, or now and then: a busy queue reads it for each command anyway. */
    const uint64_t now = taken > 0 ? job->last_ns : now_ns();
    if (now >= end) return BB_NVME_JOB_RUNS;
    if (taken > 0) continue;
    if (now >= next_look) {
      next_look = now + LOOK_NS;
      problem = look_at_status(job->queue);
      if (problem != 0) return problem;
    }
    const uint64_t *w = job->words;
    if (w[BB_NVME_JOB_INTERRUPT] == 0 || now - job->last_ns < w[BB_NVME_JOB_SPIN_NS]) continue;
    uint64_t until = end < next_look ? end : next_look;
    /* A transfer may be due before an interrupt comes. */
    if (w[BB_NVME_JOB_PERIOD_NS] != 0 && job->free_count > 0 && job->next_due_ns < until) until = job->next_due_ns;
    problem = wait_for_interrupt(job, now, until);
    if (problem != 0) return problem;
  }
}

int32_t bb_nvme_jobs_run(bb_nvme_job *const *jobs, uint32_t count, uint32_t limit_us, uint32_t is_stopping, int32_t *ends) {
  if (jobs == NULL || ends == NULL || count == 0 || limit_us > 50000) return -EINVAL;
  if (count == 1) {
    if (ends[0] != BB_NVME_JOB_ENDED) ends[0] = bb_nvme_job_run(jobs[0], limit_us, is_stopping);
    return 0;
  }
  for (const uint64_t end = now_ns() + (uint64_t)limit_us * 1000;;) {
    int needs_caller = 0;
    uint32_t running = 0;
    for (uint32_t i = 0; i < count; i++) {
      if (ends[i] == BB_NVME_JOB_ENDED) continue;
      ends[i] = bb_nvme_job_run(jobs[i], 0, is_stopping);
      needs_caller |= ends[i] < 0 || ends[i] == BB_NVME_JOB_HANDED;
      running += ends[i] == BB_NVME_JOB_RUNS;
    }
    if (needs_caller || running == 0 || now_ns() >= end) return 0;
  }
}

int32_t bb_nvme_job_open(bb_nvme_queue *queue, const uint64_t *words, const void *commands, const uint64_t *memory,
                         uint32_t depth, bb_nvme_job **out) {
  if (queue == NULL || words == NULL || commands == NULL || memory == NULL || out == NULL) return -EINVAL;
  if (depth == 0 || depth >= queue->entries || words[BB_NVME_JOB_CHUNKS] == 0 || words[BB_NVME_JOB_TRANSFER_BLOCKS] == 0 ||
      words[BB_NVME_JOB_TRANSFER_BLOCKS] > 65536 || words[BB_NVME_JOB_STRIDE_BYTES] < words[BB_NVME_JOB_BLOCK_BYTES] ||
      words[BB_NVME_JOB_BLOCK_BYTES] < TAG_WORDS * 4 || words[BB_NVME_JOB_ORDER] > BB_NVME_ORDER_LIST ||
      (words[BB_NVME_JOB_CHUNKS] - 1) * words[BB_NVME_JOB_TRANSFER_BLOCKS] >= words[BB_NVME_JOB_BLOCKS])
    return -EINVAL;
  if (words[BB_NVME_JOB_ORDER] == BB_NVME_ORDER_LIST) {
    const uint64_t *list = (const uint64_t *)(uintptr_t)words[BB_NVME_JOB_LIST];
    if (list == NULL || words[BB_NVME_JOB_LIST_LENGTH] == 0) return -EINVAL;
    for (uint64_t i = 0; i < words[BB_NVME_JOB_LIST_LENGTH]; i++)
      if (list[i] >= words[BB_NVME_JOB_CHUNKS]) return -EINVAL;
  }
  bb_nvme_job *job = calloc(1, sizeof *job);
  if (job == NULL) return -ENOMEM;
  job->slots = calloc(depth, sizeof *job->slots);
  job->free_ids = calloc(depth, sizeof *job->free_ids);
  job->handed = calloc(depth, sizeof *job->handed);
  job->fresh = calloc(depth, sizeof *job->fresh);
  if (job->slots == NULL || job->free_ids == NULL || job->handed == NULL || job->fresh == NULL) {
    bb_nvme_job_close(job);
    return -ENOMEM;
  }
  job->queue = queue;
  job->depth = depth;
  memcpy(job->words, words, sizeof job->words);
  job->wrong_slot = UINT64_MAX;
  while (job->slot_mask < depth - 1) job->slot_mask = job->slot_mask << 1 | 1;
  job->random_place = (uint32_t)words[BB_NVME_JOB_SEED] | 1;
  job->random_kind = (uint32_t)(words[BB_NVME_JOB_SEED] >> 32) | 1;
  for (uint32_t id = 0; id < depth; id++) {
    memcpy(job->slots[id].command, (const uint8_t *)commands + (size_t)id * BB_NVME_SQE_BYTES, BB_NVME_SQE_BYTES);
    job->slots[id].identifier = (uint16_t)id;
    job->slots[id].memory = (uint8_t *)(uintptr_t)memory[id];
    /* The first transfer takes the first slot. */
    job->free_ids[depth - 1 - id] = id;
  }
  job->free_count = depth;
  *out = job;
  return 0;
}

void bb_nvme_job_close(bb_nvme_job *job) {
  if (job == NULL) return;
  free(job->slots);
  free(job->free_ids);
  free(job->handed);
  free(job->fresh);
  free(job);
}

int32_t bb_nvme_job_state(const bb_nvme_job *job, uint64_t *state) {
  if (job == NULL || state == NULL) return -EINVAL;
  uint64_t oldest_ns = 0;
  const uint64_t now = now_ns();
  for (uint32_t id = 0; id < job->depth; id++) {
    const struct slot *slot = &job->slots[id];
    if (slot->state == IN_FLIGHT && now - slot->submitted_ns > oldest_ns) oldest_ns = now - slot->submitted_ns;
  }
  const uint64_t values[BB_NVME_JOB_STATE_WORDS] = {
      [BB_NVME_STATE_ISSUED] = job->issued,
      [BB_NVME_STATE_DONE] = job->done,
      [BB_NVME_STATE_BLOCKS] = job->blocks_done,
      [BB_NVME_STATE_IN_FLIGHT] = job->in_flight,
      [BB_NVME_STATE_FAILED_STATUS] = job->failed_status,
      [BB_NVME_STATE_FAILED_LBA] = job->failed_lba,
      [BB_NVME_STATE_FAILED_BLOCKS] = job->failed_blocks,
      [BB_NVME_STATE_FAILED_IS_READ] = job->failed_is_read,
      [BB_NVME_STATE_WRONG_SLOT] = job->wrong_slot,
      [BB_NVME_STATE_OLDEST_NS] = oldest_ns,
      [BB_NVME_STATE_WAITS] = job->waits,
  };
  memcpy(state, values, sizeof values);
  return 0;
}

int32_t bb_nvme_job_handed(const bb_nvme_job *job, uint32_t *ids, uint32_t room) {
  if (job == NULL || (ids == NULL && room > 0) || room < job->handed_count) return -EINVAL;
  memcpy(ids, job->handed, job->handed_count * sizeof *ids);
  return (int32_t)job->handed_count;
}

int32_t bb_nvme_job_slot(const bb_nvme_job *job, uint32_t id, uint64_t *lba, uint32_t *blocks, uint32_t *is_read) {
  if (job == NULL || id >= job->depth || lba == NULL || blocks == NULL || is_read == NULL) return -EINVAL;
  *lba = job->slots[id].lba;
  *blocks = job->slots[id].blocks;
  *is_read = job->slots[id].is_read;
  return 0;
}

int32_t bb_nvme_job_histogram(const bb_nvme_job *job, uint64_t *bins) {
  if (job == NULL || bins == NULL) return -EINVAL;
  memcpy(bins, job->bins, sizeof job->bins);
  return 0;
}
