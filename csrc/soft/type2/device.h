/*
 * What the files of the software Type 2 GPU share and nobody else sees.
 *
 * A guest may change whatever it can write at any time, also while a command runs. So a command works with copies: CMD,
 * PARAMs and SESSION are copied once before it begins, text and arguments in DATA or BAR4 are copied before they are looked
 * at. What only the device may write lives in `registers`, which no guest sees; a shared file gets copies.
 */
#ifndef BUSBAR_TYPE2_DEVICE_H
#define BUSBAR_TYPE2_DEVICE_H

#include "api/type2_protocol.h"
#include "backend.h"
#include "coherency.h"
#include "type2.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum profile { PROFILE_V1, PROFILE_V2, PROFILE_V2_J };

enum {
  REGISTER_BYTES = 0x1000,
  MOST_SESSIONS = 64,
  MOST_MODULES = 64,
  MOST_FUNCTIONS = 256,
  MOST_STREAMS = 64,
  MOST_EVENTS = 1024,
  MOST_QUEUED = 1024,
  MOST_PEERS = 16,
  MOST_PARAMETERS = 1024,
  LOG_BYTES = 1 << 20,
  NAME_BYTES = 4096,
  WAIT_US = 100000,
};

/* How commands are told apart by what the device must have. */
enum feature {
  FEATURE_COMMON,
  FEATURE_BULK,
  FEATURE_CACHE_COHERENT,
  FEATURE_COHERENT_POOL,
  FEATURE_DEVICE_BIAS,
  FEATURE_DCD,
  FEATURE_GFAM,
  FEATURE_MHSLD,
  FEATURE_PEERS,
  FEATURE_FORK_J,
  FEATURE_EXTENSION,
};

/* A piece of device memory of a session: an allocation, or a variable of a module. */
struct range {
  uint64_t address, size;
  uint32_t module; /* of a variable: its module's index + 1; 0 for an allocation */
};

struct module {
  CUmodule handle; /* NULL: unloaded */
};
struct function {
  CUfunction handle; /* NULL: its module is unloaded */
  uint32_t module;
};
struct event {
  CUevent handle;
};

/* What belongs to one process of the guest, or to the guest itself (session 0). */
struct session {
  uint32_t id;
  bool is_open;
  CUcontext context; /* NULL: none yet, or destroyed */
  bool was_created;  /* by CTX_CREATE, not by the first use */
  struct range *ranges; /* by ascending address */
  size_t range_count, range_room;
  struct module modules[MOST_MODULES];
  struct function functions[MOST_FUNCTIONS];
  CUstream streams[MOST_STREAMS];
  CUstream clearing; /* NULL until memory that another session freed is given to this one */
  struct event events[MOST_EVENTS];
  uint32_t module_count, function_count;
  uint32_t queued; /* launches since all streams were last seen idle */
  uint64_t allocated;
  char *log; /* what kernels printed */
  size_t log_size, log_room;
  char load_log[8192];
};

struct settings {
  enum profile profile;
  char driver[1024], driver_settings[4096], name[64], doorbell[1024], vfio_user[1024];
  bool has_driver, has_driver_settings, is_strict, adopts, traps_bar4, ends_at_limit;
  uint64_t bar4_bytes, memory_bytes, dcd_bytes, filter_lines, peers, gfam_hosts, mhsld_heads, ordinal, limit_ms, cache_bytes;
};

/* A block of the pool, or an extent. */
struct block {
  uint64_t base, size, tag;
};
struct blocks {
  struct block *rows; /* by ascending base */
  size_t count, room;
};

struct peer {
  uint32_t type;
  uint64_t size;
  uint8_t *memory;
};

struct grant {
  uint64_t host, base, size, permissions;
};

/* What a command gets and gives. */
struct command {
  uint32_t code;
  uint64_t params[8], results[4];
  uint32_t session_id;
  struct session *session;
};

struct type2 {
  struct settings settings;
  struct backend backend;
  bool has_backend, was_initialised;
  /* One command at a time, and no reset in the middle of one. */
  pthread_mutex_t lock;
  _Alignas(8) uint8_t registers[REGISTER_BYTES];
  uint8_t *data, *bar4; /* the guest writes here too */
  uint64_t data_bytes, bar4_bytes, bar4_pointer;
  uint32_t caps, epoch, next_session;
  bool is_bar4_registered;
  CUcontext home; /* holds the registration of BAR4 */
  struct session *sessions[MOST_SESSIONS];
  struct session *printing; /* whose log kernels' text goes to */
  uint64_t allocated;
  uint64_t freed_by; /* the session that freed memory, + 1; UINT64_MAX: several; 0: none */
  struct coherency *engine;
  uint64_t bias_flips, device_bias_hits, host_bias_hits;
  uint8_t *bias; /* a bit for each line of BAR4 */
  uint64_t pool_base, pool_bytes;
  struct blocks pool, extents;
  uint64_t next_tag;
  struct peer peers[MOST_PEERS];
  uint64_t peer_copies, peer_bytes;
  struct grant grants[16];
  uint32_t grant_count;
  uint64_t gfam_allowed, gfam_denied;
  uint32_t head;
  uint64_t head_reads, head_writes;
  uint64_t counts[256];
  uint64_t ignored; /* commands while one was running */
  atomic_bool is_running, is_ending;
  struct shared *shared; /* the file, if there is one */
  struct doorbell *doorbell;
  struct vfio_user *vfio_user;
  struct limit *limit; /* NULL: the driver keeps the limit */
  int data_fd, bar4_fd; /* what DATA, behind a page, and BAR4 lie in where others map them; -1 */
};

/* ---- run.c ---- */

/* Runs a command whose copies are in it, and puts what comes out into the registers. With the lock held. */
void device_run(struct type2 *device, struct command *command);
/* ---- reset.c ---- */

/* The registers of a device that nobody has used yet. */
void registers_set(struct type2 *device);

/* ---- registers.c ---- */

void put32(struct type2 *device, uint32_t offset, uint32_t value);
void put64(struct type2 *device, uint32_t offset, uint64_t value);
uint32_t get32(const struct type2 *device, uint32_t offset);
uint64_t get64(const struct type2 *device, uint32_t offset);
/* Brings the registers that tell of the state up to date. */
void registers_refresh(struct type2 *device);
/* What a guest may write. */
bool register_is_writable(uint64_t offset);

/* ---- session.c ---- */

struct session *session_find(const struct type2 *device, uint32_t id);
struct session *session_open(struct type2 *device, uint32_t id);
/* Frees all that it has; it stays open when it is the guest's own. */
void session_empty(struct type2 *device, struct session *session);
void session_close(struct type2 *device, struct session *session);
/* Memory of the session is free again: others must not see what was in it. */
void session_freed(struct type2 *device, const struct session *session);
/* Makes the session's context current, and makes one where there is none. A result of the protocol. */
uint32_t session_enter(struct type2 *device, struct session *session);
bool range_add(struct session *session, uint64_t address, uint64_t size, uint32_t module);
/* Takes an allocation out; false when none begins there. */
bool range_remove(struct session *session, uint64_t address, uint64_t *size);
void range_remove_module(struct session *session, uint32_t module);
/* Whether all bytes lie in one allocation, one variable, or BAR4. */
bool range_holds(const struct type2 *device, const struct session *session, uint64_t address, uint64_t size);
void session_print(void *device, const char *text, size_t size);

/* ---- extent.c: ranges that are given out, first fit ---- */

bool blocks_take(struct blocks *blocks, uint64_t from, uint64_t end, uint64_t size, uint64_t tag, uint64_t *base);
bool blocks_take_at(struct blocks *blocks, uint64_t base, uint64_t size, uint64_t tag);
const struct block *blocks_find(const struct blocks *blocks, uint64_t base);
void blocks_give(struct blocks *blocks, uint64_t base);
uint64_t blocks_used(const struct blocks *blocks);
void blocks_clear(struct blocks *blocks);

/* ---- results.c ---- */

/* A result of the driver API as the protocol says it. */
uint32_t result_of(CUresult result);
/* Waits until every stream of a session, or one (index + 1), is idle, at most WAIT_US. */
uint32_t wait_streams(struct type2 *device, struct session *session, uint32_t stream);
void rest_for(uint32_t us);
uint64_t now_us(void);

/* ---- settings.c ---- */

int type2_settings(const char *text, struct settings *out, char *why, uint32_t why_size);

/* ---- file.c ---- */

int shared_open(struct type2 *device, const char *path, uint64_t size, char *why, uint32_t why_size);
int shared_start(struct type2 *device);
/* The registers that say how the file is used. */
void shared_registers(struct type2 *device);
void shared_close(struct type2 *device); /* ends its threads */
/* Takes the name of the file away, where it is ours. */
void shared_remove(const struct type2 *device);
void shared_free(struct type2 *device);
/* After a reset from outside: tells the guest. */
void shared_publish(struct type2 *device);
int32_t shared_state(const struct type2 *device);
int shared_descriptor(const struct type2 *device);

/* ---- doorbell.c ---- */

/* What a guest writes to ring: the device's number among the peers, and vector 0. */
enum { DOORBELL_VALUE = 2 << 16 };

/* Offers the shared file, whose descriptor is given, by the ivshmem server protocol. */
int doorbell_start(struct type2 *device, const char *path, int memory, char *why, uint32_t why_size);
/* Sleeps until the guest rings. */
void doorbell_wait(const struct type2 *device, uint32_t limit_ms);
void doorbell_close(struct type2 *device);

/* ---- vfio_user.c ---- */

int vfio_user_start(struct type2 *device, const char *path, char *why, uint32_t why_size);
void vfio_user_close(struct type2 *device);

/* ---- limit.c: when the driver has no limit ---- */

int limit_start(struct type2 *device);
/* A kernel was launched in the current context. A result of the protocol. */
uint32_t limit_launch(struct type2 *device, CUcontext context, CUstream stream);
/* Before a context is destroyed. */
void limit_forget(struct type2 *device, CUcontext context);
/* A command begins or has ended. */
void limit_command(struct type2 *device, bool begins);
/* From here on the device is being closed, which the limit holds for too. */
void limit_closing(struct type2 *device);
void limit_close(struct type2 *device);

/* Commands: command_NAME, in the file of their kind. */
typedef uint32_t command_function(struct type2 *device, struct command *command);
#define DECLARE(code, name, feature, ready) command_function command_##name;
TYPE2_COMMANDS(DECLARE)
#undef DECLARE

/* Copies text that ends with a NUL from a place that a guest may write: at most `room` bytes with the NUL. NULL: there is
 * no NUL, or no memory. The caller frees it. */
char *copy_text(const uint8_t *from, uint64_t room);
/* Copies memory that a guest may be writing. */
void copy_from_guest(void *to, const uint8_t *from, uint64_t size);
void copy_to_guest(uint8_t *to, const void *from, uint64_t size);
void clear_for_guest(uint8_t *to, uint64_t size);
bool range_in(uint64_t offset, uint64_t size, uint64_t limit);

#endif
