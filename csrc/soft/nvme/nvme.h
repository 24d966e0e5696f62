/*
 * The software NVMe controller: what its files share.
 *
 *   nvme.c            registers, enable, reset, shutdown; the step of the thread
 *   nvme_settings.c   the settings of a locator
 *   nvme_config.c     PCI configuration space
 *   nvme_queue.c      queues, doorbells, fetching commands, posting completions
 *   nvme_interrupt.c  MSI-X
 *   nvme_dma.c        PRPs, SGLs, and moving data
 *   nvme_admin.c      the admin command set, queue management
 *   nvme_identify.c   Identify
 *   nvme_feature.c    Get Features, Set Features
 *   nvme_log.c        Get Log Page
 *   nvme_event.c      asynchronous events
 *   nvme_health.c     temperature, counters, error log, device self-test
 *   nvme_firmware.c   firmware slots
 *   nvme_store.c      the medium: memory or a file
 *   nvme_namespace.c  namespaces, Namespace Management, Namespace Attachment
 *   nvme_format.c     Format NVM, Sanitize
 *   nvme_io.c         the NVM command set
 *   nvme_range.c      its commands that carry lists of ranges: Dataset Management, Copy
 *   nvme_zone.c       the Zoned Namespace command set
 *   nvme_pi.c         protection information
 *   nvme_fault.c      faults on demand
 *
 * One thread plays all of it, with the device's lock held, so nothing here is atomic but what the driver also touches.
 */
#ifndef BUSBAR_SOFT_NVME_H
#define BUSBAR_SOFT_NVME_H

#include "soft/model.h"
#include "spec.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "structures are laid over memory as they are");

struct controller;
struct command;

/* ---- settings ---------------------------------------------------------------------------------------------------- */

enum { SERIAL_CHARS = 20, MODEL_CHARS = 40, FIRMWARE_CHARS = 8, PATH_CHARS = 1023, LIST_CHARS = 4095 };

/* What a namespace is made like. Each key is a setting of the device, and of one namespace in the list `namespaces`. */
struct namespace_settings {
  uint64_t size, lba, ms, ext, pi, pil, dlfeat, shared, zoned, zone, zcap, mar, mor, zdes;
  char file[PATH_CHARS + 1];
};

struct settings {
  char serial[SERIAL_CHARS + 1], mn[MODEL_CHARS + 1], fr[FIRMWARE_CHARS + 1];
  uint64_t mqes, to, dstrd, ready_ms, shutdown_ms;
  uint64_t queues, vectors, mdts, zasl, nn, cntlid, sgls, cmb, capacity, fna, vwc, version;
  uint64_t spin_us, reorder_us, format_ms, sanitize_ms, selftest_ms, seed;
  char namespaces[LIST_CHARS + 1], fault[LIST_CHARS + 1];
  struct namespace_settings each;
};

/* ---- state ------------------------------------------------------------------------------------------------------- */

/* A part of the driver's memory; at is NULL for a bit bucket. */
struct piece {
  uint8_t *at;
  uint64_t length;
};

/* The memory that a command names, in order, and how far it has been used. */
struct transfer {
  struct piece *pieces;
  size_t count, room;
  size_t index;
  uint64_t offset;
  uint64_t length; /* of all pieces */
};

enum direction { TO_HOST, FROM_HOST };

struct completion_queue {
  uint32_t size; /* entries; 0: there is no such queue */
  uint16_t id;
  uint16_t vector;
  int interrupts;
  uint32_t head, tail;
  uint16_t phase;
  unsigned users; /* submission queues that complete here */
  uint64_t address;
  uint8_t *base; /* where address is, as long as generation is the controller's */
  uint64_t generation;
};

struct submission_queue {
  uint32_t size;
  uint16_t id;
  struct completion_queue *cq;
  uint32_t head, tail;
  uint64_t address;
  uint8_t *base;
  uint64_t generation;
  uint32_t waiting; /* commands that were fetched and not completed */
  uint64_t *cids;   /* a bit for each command identifier of those */
  int awake;        /* its shadow doorbell is looked at without being rung for */
};

/* What faults do to one command. */
enum {
  EFFECT_DROP = 1 << 0,
  EFFECT_DUPLICATE = 1 << 1,
  EFFECT_PHASE = 1 << 2,
  EFFECT_CID = 1 << 3,
  EFFECT_SQHD = 1 << 4,
  EFFECT_STATUS = 1 << 5,
  EFFECT_CORRUPT = 1 << 6,
  EFFECT_NO_INTERRUPT = 1 << 7,
  EFFECT_FATAL = 1 << 8,
  EFFECT_HANG = 1 << 9,
  EFFECT_GONE = 1 << 10,
  EFFECT_DELAY = 1 << 11,
  EFFECT_LATE = 1 << 12,
};

struct effects {
  uint32_t what; /* EFFECT_ bits; the rest is valid where its bit is set */
  uint16_t status, cid, sqhd;
  uint8_t gone;
  uint32_t corrupt_bytes;
  uint64_t delay_ns, late_ns;
};

struct command {
  struct sqe sqe;
  struct submission_queue *sq;
  struct ns *ns; /* the namespace, for commands that need one */
  uint32_t dw0, dw1;
  uint16_t status;
  uint16_t location; /* of the error in the command: byte 7:0, bit 10:8; 0xffff: none in particular (§5.16.1.2) */
  uint64_t lba;      /* that the error is about */
  unsigned stage;    /* how often it was deferred */
  int is_held;       /* its identifier is taken note of */
  int is_done;       /* it was carried out and only its completion is missing */
  uint64_t due_ns;   /* when it goes on */
  uint64_t order;    /* among those of the same time */
  struct effects effects;
};

/* Blocks that a command is about, with what it says of their protection. */
struct span {
  uint64_t slba, blocks;
  unsigned prinfo;
  uint32_t ref;
  uint16_t app, app_mask;
  uint32_t moved_by; /* reference tags are raised by this when the blocks are stored */
};

/* A stretch of memory, mapped sparsely or from a file. */
struct store {
  uint8_t *base;
  uint64_t size;
  int fd; /* −1: memory */
};

struct zone {
  uint64_t start, wp;
  uint8_t state;
  uint8_t attributes; /* ZFC 0, FZR 1, RZR 2, ZDEV 7 */
  uint8_t *extension; /* zdes × 64 bytes */
};

enum { MOST_CHANGED_ZONES = 511, LBA_RANGES_BYTES = 4096 };

struct ns {
  uint32_t id;
  int attached;
  uint8_t csi;
  struct namespace_settings like;
  /* The format. */
  unsigned lbaf, lba_shift, lba_bytes, ms;
  int extended, pi_type, pi_first;
  uint64_t blocks; /* NSZE */
  /* The medium. A bit for each block: it was written since it was deallocated; it reads with an error (NULL: none). */
  struct store data, metadata;
  uint64_t *written, *uncorrectable;
  uint64_t written_count, uncorrectable_count;
  /* Zones; zone is NULL for a namespace without. */
  uint64_t zone_blocks, zone_capacity;
  uint32_t zones, active, open;
  struct zone *zone;
  uint8_t *extensions;
  uint64_t changed_zones[MOST_CHANGED_ZONES];
  uint32_t changed_zone_count;
  /* A Format NVM that is under way. */
  int formatting;
  uint32_t format_cdw10;
  uint64_t format_started_ns, format_ends_ns;
  /* Features. */
  int dulbe, protection;
  uint8_t lba_ranges[LBA_RANGES_BYTES];
  uint32_t lba_range_count;
  uint32_t ana_group;
  uint8_t eui64[8], nguid[16], uuid[16];
};

enum { ERROR_ENTRIES = 64, SELF_TESTS = 20, SELF_TEST_LOG_BYTES = 4 + 28 * SELF_TESTS };
enum { WARNING_KELVIN = 343, CRITICAL_KELVIN = 373 };

struct error_entry {
  uint64_t count;
  uint16_t sqid, cid, status, location;
  uint64_t lba;
  uint32_t nsid;
};

struct self_test_result {
  uint8_t result;
  uint32_t nsid;
  uint64_t power_on_hours;
};

struct health {
  uint16_t temperature; /* K */
  uint8_t spare, spare_threshold, used, forced_warning;
  uint64_t sectors_read, sectors_written; /* of 512 bytes */
  uint64_t reads, writes, busy_ns, power_cycles, unsafe_shutdowns, media_errors;
  uint64_t warning_ns, critical_ns, temperature_since_ns;
  uint64_t error_count;
  struct error_entry errors[ERROR_ENTRIES];    /* a ring */
  struct self_test_result results[SELF_TESTS]; /* newest first */
  unsigned result_count;
  uint8_t self_test;       /* code of the one that runs, or 0 */
  uint8_t self_test_fails; /* result of the next one */
  uint32_t self_test_nsid;
  uint64_t self_test_started_ns, self_test_ends_ns;
};

enum { AERL = 3, ACL = 3, EVENT_ROOM = 16 };

struct event {
  uint8_t type, info, log;
};

struct events {
  uint16_t requests[AERL + 1]; /* command identifiers of outstanding requests, oldest first */
  unsigned request_count;
  struct event waiting[EVENT_ROOM];
  unsigned waiting_count;
  uint8_t masked;                 /* a bit for each type: reported, and its log not read since */
  uint8_t masked_by[EVENT_TYPES]; /* that log */
};

enum { FEATURES = 256, SENSORS = 8, POWER_STATES = 3 };

struct features {
  uint32_t current[FEATURES], saved[FEATURES];
  uint8_t is_saved[FEATURES];
  uint16_t over[SENSORS + 1], under[SENSORS + 1]; /* thresholds of the composite temperature and of sensors, K */
  uint8_t apst[256], host_behavior[512], host_id[16];
  uint64_t timestamp_ms, timestamp_at_ns;
  int timestamp_set;
};

enum { FIRMWARE_SLOTS = 3 };

struct firmware {
  char revision[FIRMWARE_SLOTS][FIRMWARE_CHARS + 1];
  unsigned active, next; /* slots from 1; next 0: none waits for a reset */
  uint8_t *image;        /* downloaded and not committed */
  uint64_t image_bytes, image_end;
};

struct sanitize {
  uint16_t status; /* SSTAT of the log, §5.16.1.25 */
  uint32_t cdw10, cdw11;
  int running, failed, fail_next;
  uint64_t started_ns, ends_ns;
};

struct vector {
  int fd;            /* −1 until somebody asks for it */
  uint32_t entries;  /* completions since the last interrupt */
  uint64_t first_ns; /* when the first of them came, where they are coalesced */
  int coalescing_off;
};

enum { FAULT_RULES = 32 };

struct fault_rule {
  unsigned action;              /* which word began it */
  uint32_t effect;              /* EFFECT_ bit; 0: it happens at once */
  int selective;                /* it says which commands it means */
  uint32_t queue;               /* identifier, or a class of queues */
  int opcode;                   /* −1: any */
  uint32_t nsid;                /* 0: any */
  uint64_t first_lba, last_lba;
  uint64_t every, times, after; /* of the commands that it means */
  uint32_t chance;              /* of 2^32; 0: always */
  uint64_t value, limit;
  unsigned shape; /* of a time */
  uint64_t matches, fired;
};

struct faults {
  struct fault_rule rules[FAULT_RULES];
  unsigned count;
  int never_ready, never_unready, never_shut_down;
  uint64_t random;
};

/* What a function that vanished shows all ones in. */
enum { GONE_BARS = 1, GONE_CONFIG = 2, GONE_SIGBUS = 4 };

/* Counters that tests read by name. */
#define NVME_COUNTERS(X)                                                                \
  X(commands)        /* fetched */                                                      \
  X(completions)     /* posted */                                                       \
  X(dma_errors)      /* accesses outside of all DMA memory */                           \
  X(doorbell_errors) /* invalid values, and doorbells of queues that do not exist */    \
  X(queue_full)      /* looks at a command that waited for room in a completion queue */ \
  X(interrupts)      /* signalled */                                                    \
  X(faults)          /* times that a rule fired */                                      \
  X(naps)            /* times that the thread slept */

struct counters {
#define NVME_COUNTER(name) uint64_t name;
  NVME_COUNTERS(NVME_COUNTER)
#undef NVME_COUNTER
};

enum { PAGE_ROOM = 32768, MOST_CHANGED_NAMESPACES = 1024 };

struct controller {
  bb_soft *device;
  struct settings settings;
  struct counters counters;

  /* Registers. */
  uint64_t cap;
  uint32_t vs;
  uint32_t cc;        /* as last acted on */
  uint32_t csts;      /* as last shown */
  uint64_t change_ns; /* when an enable, disable or shutdown in progress is done; 0: none is */
  uint32_t csts_then; /* CSTS at that time */
  uint64_t cmbmsc;    /* as last acted on */
  uint32_t msix_table, msix_pending; /* offsets in BAR0 */
  unsigned gone;                     /* GONE_ bits: a fault has taken the function off the bus */

  /* Time. */
  uint64_t opened_ns;
  uint64_t last_work_ns; /* when there was last something to do; 0: never yet */
  int had_work;
  unsigned steps;

  /* Queues. */
  struct submission_queue *sqs; /* settings.queues + 1 of each */
  struct completion_queue *cqs;
  unsigned sq_end, first_sq; /* one above the highest submission queue; where the next round begins */
  uint64_t generation;       /* raised when memory that pointers lead to may have gone */
  uint64_t dma_generation_seen;
  unsigned page_shift;       /* of CC.MPS */
  uint64_t max_transfer;     /* bytes; UINT64_MAX without a limit */
  struct command **deferred; /* a heap, soonest first */
  size_t deferred_count, deferred_room;
  uint64_t order;
  uint64_t shadow_address, event_address; /* shadow doorbells; 0: there are none */
  uint32_t *shadow, *event_indexes;
  uint64_t shadow_generation;

  struct vector *vectors;
  int signals_wait; /* some vector has something to say */

  /* Memory of the command in hand. */
  struct transfer data, metadata;
  uint8_t page[PAGE_ROOM];
  uint8_t *staging;
  size_t staging_room;

  struct ns **namespaces; /* by identifier, 1 to settings.nn */
  uint64_t capacity;      /* TNVMCAP */
  uint32_t changed_namespaces[MOST_CHANGED_NAMESPACES];
  unsigned changed_count;
  uint32_t ana_state, ana_changes;

  struct health health;
  struct events events;
  struct features features;
  struct firmware firmware;
  struct sanitize sanitize;
  uint64_t keep_alive_ns;
  uint8_t telemetry_generation;
  struct faults faults;
};

static inline struct controller *controller_of(bb_soft *device) { return device->state; }

/* Notes where in the command the error is, for the error log, and passes the status on. */
static inline uint16_t refuse(struct command *cmd, uint16_t status, unsigned byte, unsigned bit) {
  cmd->location = (uint16_t)(byte | bit << 8);
  return status;
}

/* The first byte of a command dword. */
#define CDW(n) (4u * (n))

/* Carries a command out and returns its status. */
typedef uint16_t (*handler)(struct controller *c, struct command *cmd);

/* What an opcode means. */
struct operation {
  handler run;
  uint32_t effects; /* as the effects log has it, and DURING_SANITIZE */
};
enum { DURING_SANITIZE = 1 << 30, EFFECTS_MASK = 0x000f001f };

/* ---- nvme.c ------------------------------------------------------------------------------------------------------ */

/* CSTS.CFS: nothing but a reset helps. */
void nvme_fatal(struct controller *c);
/* Takes the function off the bus, and brings it back as after power-on. */
void nvme_set_gone(struct controller *c, unsigned gone);
void nvme_set_present(struct controller *c);
/* Lets CSTS get to where CC wants it, after faults that kept it. */
void nvme_catch_up(struct controller *c);

/* ---- nvme_settings.c --------------------------------------------------------------------------------------------- */

int nvme_read_settings(const char *text, struct settings *settings);
/* Calls make for each entry of the list of namespaces, until it returns other than 0. -EINVAL for a bad list. */
int nvme_each_namespace(const struct settings *settings, void *context,
                        int (*make)(void *context, uint64_t nsid, const struct namespace_settings *like));

/* ---- nvme_config.c ----------------------------------------------------------------------------------------------- */

void nvme_fill_config(struct controller *c);
void nvme_blank_config(struct controller *c);
int nvme_is_bus_master(const struct controller *c);
/* True while the driver asks for a function level reset. */
int nvme_wants_function_reset(const struct controller *c);
/* Says that it is done: the driver may be waiting for the bit to go. */
void nvme_end_function_reset(struct controller *c);
uint16_t nvme_msix_control(const struct controller *c);
void nvme_set_msix_control(struct controller *c, uint16_t value);

/* ---- nvme_queue.c ------------------------------------------------------------------------------------------------ */

int nvme_open_queues(struct controller *c);
void nvme_close_queues(struct controller *c);
void nvme_reset_queues(struct controller *c);
void nvme_start_cq(struct controller *c, unsigned id, uint32_t size, uint64_t address);
int nvme_start_sq(struct controller *c, unsigned id, uint32_t size, uint64_t address, unsigned cqid);
void nvme_stop_sq(struct controller *c, unsigned id);
void nvme_stop_cq(struct controller *c, unsigned id);
int nvme_use_shadow_doorbells(struct controller *c, uint64_t shadow, uint64_t events);
/* Carries out what there is, and returns how many commands. */
unsigned nvme_run_queues(struct controller *c);
void nvme_check_idle_doorbells(struct controller *c);
/* When the first of the waiting commands goes on; UINT64_MAX: none does. */
uint64_t nvme_next_due(const struct controller *c);
/* For handlers: lets a command go on after a while, when its handler is called again, with a higher stage. */
uint16_t nvme_defer(struct command *cmd, uint64_t delay_ns);
/* Ends a waiting command early, or all of a queue. 0, or -ENOENT when there is none. */
int nvme_abort_waiting(struct controller *c, unsigned sqid, unsigned cid);
void nvme_abort_queue(struct controller *c, unsigned sqid);
unsigned nvme_count_waiting(const struct controller *c, uint8_t admin_opcode);
int nvme_cq_has_room(struct controller *c, struct completion_queue *cq);
/* Posts the completion, now, or as soon as there is room. */
void nvme_complete(struct controller *c, struct command *cmd);

/* ---- nvme_interrupt.c -------------------------------------------------------------------------------------------- */

int nvme_open_vectors(struct controller *c);
void nvme_close_vectors(struct controller *c);
void nvme_reset_vectors(struct controller *c);
int nvme_interrupt_fd(bb_soft *device, uint32_t vector);
void nvme_note_completion(struct controller *c, const struct completion_queue *cq);
void nvme_signal(struct controller *c);

/* ---- nvme_dma.c -------------------------------------------------------------------------------------------------- */

/* The memory at an address as the controller sees it: DMA memory, or its own CMB; NULL when it is neither. */
uint8_t *nvme_reach(struct controller *c, uint64_t address, uint64_t size);
/* Looks up what a command names, into c->data or c->metadata. */
uint16_t nvme_map_data(struct controller *c, struct command *cmd, uint64_t length, enum direction direction);
uint16_t nvme_map_metadata(struct controller *c, struct command *cmd, uint64_t length, enum direction direction);
void nvme_copy_to_host(struct transfer *t, const void *from, uint64_t length);
void nvme_copy_from_host(struct transfer *t, void *to, uint64_t length);
/* A whole data structure at once. */
uint16_t nvme_send(struct controller *c, struct command *cmd, const void *from, uint64_t length);
uint16_t nvme_receive(struct controller *c, struct command *cmd, void *to, uint64_t length);
void nvme_free_transfers(struct controller *c);
/* Room for size bytes that is valid until the next call, or NULL. */
uint8_t *nvme_staging(struct controller *c, size_t size);

/* ---- nvme_admin.c ------------------------------------------------------------------------------------------------ */

extern const struct operation nvme_admin_operations[256];
uint16_t nvme_run_admin(struct controller *c, struct command *cmd);

/* ---- nvme_identify.c --------------------------------------------------------------------------------------------- */

extern const uint8_t nvme_oui[3];
uint16_t nvme_identify(struct controller *c, struct command *cmd);
/* ASCII fields are filled up with spaces and have no NUL (§1.5). */
void nvme_put_text(uint8_t *at, size_t room, const char *text);
/* True when some namespace may be shared between controllers. */
int nvme_is_shared(const struct controller *c);

/* ---- nvme_feature.c ---------------------------------------------------------------------------------------------- */

uint16_t nvme_get_features(struct controller *c, struct command *cmd);
uint16_t nvme_set_features(struct controller *c, struct command *cmd);
void nvme_reset_features(struct controller *c);
unsigned nvme_queues_granted(const struct controller *c, int completion);
unsigned nvme_arbitration_burst(const struct controller *c);
int nvme_coalesces(const struct controller *c, unsigned vector);
int nvme_coalescing_is_over(const struct controller *c, const struct vector *v);
int nvme_keep_alive_expired(const struct controller *c, uint64_t now);

/* ---- nvme_log.c, nvme_event.c, nvme_health.c --------------------------------------------------------------------- */

uint16_t nvme_get_log_page(struct controller *c, struct command *cmd);

uint16_t nvme_event_request(struct controller *c, struct command *cmd);
void nvme_raise_event(struct controller *c, uint8_t type, uint8_t info, uint8_t log);
unsigned nvme_send_events(struct controller *c);
void nvme_log_was_read(struct controller *c, uint8_t log);
int nvme_abort_event_request(struct controller *c, unsigned cid);
void nvme_reset_events(struct controller *c);

void nvme_open_health(struct controller *c);
uint8_t nvme_health_warning(const struct controller *c);
/* Tells of warnings that were not there before. */
void nvme_health_changed(struct controller *c, uint8_t before);
void nvme_set_temperature(struct controller *c, uint16_t kelvin);
void nvme_fill_health_log(struct controller *c, uint8_t *at);
void nvme_log_error(struct controller *c, const struct command *cmd);
void nvme_fill_error_log(const struct controller *c, uint8_t *at);
uint16_t nvme_device_self_test(struct controller *c, struct command *cmd);
void nvme_pass_self_test(struct controller *c, uint64_t now);
void nvme_reset_self_test(struct controller *c);
void nvme_fill_self_test_log(struct controller *c, uint8_t *at);
unsigned nvme_percent(uint64_t from, uint64_t to, uint64_t now);

/* ---- nvme_firmware.c, nvme_format.c ------------------------------------------------------------------------------ */

void nvme_open_firmware(struct controller *c);
void nvme_close_firmware(struct controller *c);
void nvme_reset_firmware(struct controller *c);
const char *nvme_firmware_revision(const struct controller *c);
uint16_t nvme_firmware_download(struct controller *c, struct command *cmd);
uint16_t nvme_firmware_commit(struct controller *c, struct command *cmd);

uint16_t nvme_format(struct controller *c, struct command *cmd);
void nvme_finish_formats(struct controller *c);
uint16_t nvme_sanitize(struct controller *c, struct command *cmd);
void nvme_pass_sanitize(struct controller *c, uint64_t now);
void nvme_fill_sanitize_log(const struct controller *c, uint8_t *at);

/* ---- nvme_store.c, nvme_namespace.c ------------------------------------------------------------------------------ */

int nvme_store_open(struct store *store, const char *path, uint64_t size);
void nvme_store_close(struct store *store);
int nvme_store_flush(const struct store *store);
/* Makes a range read as zeros. */
void nvme_store_clear(struct store *store, uint64_t offset, uint64_t length);
uint64_t *nvme_bits_open(uint64_t bits);
void nvme_bits_close(uint64_t *words, uint64_t bits);
/* Returns how many bits changed. */
uint64_t nvme_bits_set(uint64_t *words, uint64_t at, uint64_t count, int value);
/* True when a bit of the range has the value; the first is *where. */
int nvme_bits_any(const uint64_t *words, uint64_t at, uint64_t count, int value, uint64_t *where);

enum { LBA_FORMATS = 8 };
struct lba_format {
  uint8_t shift, ms;
};
extern const struct lba_format nvme_formats[LBA_FORMATS];

int nvme_open_namespaces(struct controller *c);
void nvme_close_namespaces(struct controller *c);
int nvme_make_namespace(struct controller *c, uint32_t nsid, const struct namespace_settings *like);
int nvme_reformat(struct ns *ns, unsigned lbaf, int extended, int pi_type, int pi_first);
/* NULL when there is none with that identifier; active: attached to this controller. */
struct ns *nvme_allocated(const struct controller *c, uint32_t nsid);
struct ns *nvme_active(const struct controller *c, uint32_t nsid);
uint16_t nvme_check_state(const struct controller *c, const struct ns *ns);
uint64_t nvme_namespace_bytes(const struct ns *ns);
uint64_t nvme_unallocated(const struct controller *c);
void nvme_namespace_changed(struct controller *c, uint32_t nsid);
uint16_t nvme_namespace_management(struct controller *c, struct command *cmd);
uint16_t nvme_namespace_attachment(struct controller *c, struct command *cmd);

/* ---- nvme_io.c, nvme_range.c, nvme_zone.c, nvme_pi.c ------------------------------------------------------------- */

extern const struct operation nvme_io_operations[256], nvme_zone_operations[256];
uint16_t nvme_run_io(struct controller *c, struct command *cmd);
struct span nvme_span(const struct sqe *sqe);
uint16_t nvme_check_range(struct command *cmd, uint64_t slba, uint64_t blocks);
uint16_t nvme_check_access(struct controller *c, struct command *cmd, const struct span *span);
uint16_t nvme_check_readable(struct controller *c, struct command *cmd, uint64_t slba, uint64_t blocks);
uint16_t nvme_check_writable(struct command *cmd);
/* A block as a read gives it. */
void nvme_load_block(const struct ns *ns, uint64_t lba, uint8_t *data, uint8_t *metadata);
/* Takes blocks from the host and stores them at a place that was found good. */
uint16_t nvme_store_blocks(struct controller *c, struct command *cmd, const struct span *span, uint64_t at);
void nvme_mark_written(struct ns *ns, uint64_t slba, uint64_t blocks);
void nvme_deallocate(struct ns *ns, uint64_t slba, uint64_t blocks);

/* Limits of Copy (MSSRL, MCL, MSRC + 1). */
enum { COPY_SOURCE_BLOCKS = 128, COPY_BLOCKS = 1024, COPY_SOURCES = 128 };
uint16_t nvme_dataset_management(struct controller *c, struct command *cmd);
uint16_t nvme_copy(struct controller *c, struct command *cmd);

int nvme_open_zones(struct ns *ns);
void nvme_close_zones(struct ns *ns);
void nvme_close_open_zones(struct ns *ns);
uint16_t nvme_zone_check_read(const struct ns *ns, uint64_t slba, uint64_t blocks);
uint16_t nvme_zone_check_write(const struct ns *ns, uint64_t slba, uint64_t blocks);
void nvme_zone_wrote(struct ns *ns, uint64_t slba, uint64_t blocks);
int nvme_spoil_zone(struct controller *c, struct ns *ns, uint64_t lba, uint8_t state);

uint16_t nvme_crc16(uint16_t crc, const uint8_t *bytes, size_t length);
uint16_t nvme_pi_check_command(const struct ns *ns, const struct span *span);
uint16_t nvme_pi_check_block(const struct ns *ns, const struct span *span, uint64_t block, const uint8_t *data,
                             const uint8_t *metadata);
void nvme_pi_generate(const struct ns *ns, const struct span *span, const uint8_t *data, uint8_t *metadata);
void nvme_pi_move(const struct ns *ns, uint64_t blocks, uint8_t *metadata, uint32_t by);

/* ---- nvme_fault.c ------------------------------------------------------------------------------------------------ */

int nvme_open_faults(struct controller *c);
int nvme_add_faults(struct controller *c, const char *text);
void nvme_apply_faults(struct controller *c, struct command *cmd);
void nvme_apply_reorder(struct controller *c, struct command *cmd);
void nvme_corrupt(struct controller *c, uint32_t bytes);

#endif
