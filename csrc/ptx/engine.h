/* What the running half of the engine shares: warps, blocks, launches. */
#ifndef PTX_ENGINE_H
#define PTX_ENGINE_H

#include "internal.h"

#include <pthread.h>
#include <stdatomic.h>

/* Registers are read as whatever type an instruction says. */
typedef uint8_t __attribute__((may_alias)) lane_u8;
typedef uint16_t __attribute__((may_alias)) lane_u16;
typedef uint32_t __attribute__((may_alias)) lane_u32;
typedef uint64_t __attribute__((may_alias)) lane_u64;
typedef int16_t __attribute__((may_alias)) lane_s16;
typedef int32_t __attribute__((may_alias)) lane_s32;
typedef int64_t __attribute__((may_alias)) lane_s64;
typedef float __attribute__((may_alias)) lane_f32;
typedef double __attribute__((may_alias)) lane_f64;

/* An activation of a function: the registers of all lanes that are in it. Lanes that came by the same call share it. */
struct frame {
  struct frame *parent;
  const struct function *function;
  const struct instr *call; /* in the parent's code */
  uint32_t lanes;           /* in it or in what it called */
  uint32_t depth, local_base, size_class;
  _Alignas(64) uint8_t rows[];
};

enum group_state { GROUP_RUNS, GROUP_BARRIER, GROUP_TOGETHER };

/* Lanes at one place. */
struct group {
  struct frame *frame;
  const struct instr *ip;
  uint32_t mask;
  uint8_t state;
  uint32_t members; /* of an instruction that lanes do together */
};

struct region_entry {
  uint64_t address, size; /* size 0: nothing */
  uint8_t *host;
  uint32_t flags;
};
enum { REGION_ENTRIES = 256 };

struct block;
struct warp {
  uint8_t *base[2]; /* rows of the frame, and the module's constants: chosen by bit 0 of an operand */
  uint32_t mask, lane_count;
  uint32_t carry; /* a bit each lane */
  struct frame *frame;
  const struct instr *entry; /* counted up to here */
  int64_t fuel;
  uint64_t executed;
  uint8_t *shared;
  uint32_t shared_size;
  uint8_t *local;
  uint32_t local_stride;
  const uint8_t *parameters;
  uint32_t parameter_bytes;
  struct region_entry *regions;
  struct block *block;
  struct ptx_launch *launch;
  const struct instr *ip; /* where the current group goes on; NULL: there is none */
  uint32_t alive, index;
  uint32_t waiting_lanes; /* at barriers */
  uint32_t group_count;
  bool polled, news, forced, yield;
  bool faulted; /* its lanes stopped in the middle of an instruction, with their frame */
  uint32_t patience;
  uint64_t seen, seen_before; /* what polling loads gave, as a set of bits */
  struct group groups[WARP];
};

enum { BARRIERS = 17 }; /* the last one is the cluster's */
struct barrier {
  uint32_t expected; /* threads; 0: all of the block that have not exited */
  uint32_t arrived;
  uint32_t count; /* for reductions */
  bool all;
  bool used;
};

struct store { /* in weak-memory mode: a word of 8 bytes that has not reached memory */
  uint64_t address;
  uint8_t *host;
  uint64_t value;
  uint8_t bytes; /* which of them */
  bool host_memory;
};

struct block {
  struct block *next;
  struct ptx_launch *launch;
  uint32_t id[3];
  uint64_t linear;
  uint32_t warp_count, warps_left, threads_left;
  uint32_t turn;
  struct barrier barriers[BARRIERS];
  uint8_t *shared, *local;
  uint32_t shared_bytes, local_stride;
  struct store *stores;
  uint32_t store_count, store_capacity;
  uint64_t random;
  struct warp warps[];
};

struct ptx_launch {
  struct ptx_launch_config config;
  const struct ptx_kernel_info *kernel;
  const struct function *function;
  struct instr *const *code;
  uint8_t *parameters;
  uint32_t threads, warps, shared_bytes, dynamic_offset, local_bytes;
  uint64_t blocks;
  pthread_mutex_t lock; /* the queue of blocks that wait for a thread, and what follows up to `executed` */
  struct block *first, *last;
  uint64_t next_block, resident, finished;
  uint64_t most_resident, idle_in_row;
  bool done;
  atomic_uint_least64_t executed;
  atomic_int ended; /* enum ptx_fault_kind + 1 */
  struct ptx_fault fault;
  atomic_bool fault_ready;
  atomic_uint_least64_t **counts; /* one list for each function */
  uint64_t started_ns;
};

enum { SIZE_CLASSES = 26 };
struct ptx_runner {
  struct region_entry regions[2 * REGION_ENTRIES]; /* for ordinary accesses, and for all that are allowed */
  const struct ptx_launch *launch;
  uint64_t generation;
  struct frame *frames[SIZE_CLASSES]; /* free ones, linked by parent */
  struct block *block; /* a finished one, for the next of the same shape */
};

static inline void *row_of(const struct warp *w, uint32_t row) { return w->base[row & 1] + (row & ~1u); }

static inline uint32_t guard_mask(const struct warp *w, const struct instr *ip) {
  if (ip->guard == NONE) return w->mask;
  const uint32_t p = *(const lane_u32 *)row_of(w, ip->guard & ~2u);
  return w->mask & (ip->guard & 2 ? ~p : p);
}

static inline void write_predicate(struct warp *w, uint32_t row, uint32_t bits) {
  lane_u32 *p = row_of(w, row);
  *p = (*p & ~w->mask) | (bits & w->mask);
}

/* What setp does with the outcome: combined with a third predicate, and the complement for the second destination. */
static inline void write_comparison(struct warp *w, const struct instr *ip, uint32_t bits) {
  uint32_t other = ~bits;
  if (ip->count) {
    const uint32_t c = *(const lane_u32 *)row_of(w, ip->c);
    bits = ip->count == BOOL_AND ? bits & c : ip->count == BOOL_OR ? bits | c : bits ^ c;
    other = ip->count == BOOL_AND ? other & c : ip->count == BOOL_OR ? other | c : other ^ c;
  }
  if (ip->d != NONE) write_predicate(w, ip->d, bits);
  if (ip->e != NONE) write_predicate(w, ip->e, other);
}

extern const handler ptx_lanes_baseline[F_COUNT][T_COUNT + 1];
extern const handler ptx_lanes_avx2[F_COUNT][T_COUNT + 1];
extern const handler ptx_lanes_avx512[F_COUNT][T_COUNT + 1];

#define HANDLER(name) const struct instr *name(const struct instr *ip, struct warp *w)

/* memory.c */
HANDLER(ptx_load_any);
HANDLER(ptx_store_any);
HANDLER(ptx_atom);
HANDLER(ptx_atom_vector);
HANDLER(ptx_fence);
HANDLER(ptx_copy_async);
HANDLER(ptx_mbarrier);
HANDLER(ptx_isspacep);
bool ptx_weak_drain(struct block *block, unsigned scope, bool all);
void ptx_weak_some(struct block *block);
/* Reads `size` bytes that a kernel points to; false with a fault. */
bool ptx_read_bytes(struct warp *w, const struct instr *ip, unsigned lane, uint64_t address, void *out, size_t size, bool report);
void ptx_saw(struct warp *w, uint64_t value);

/* module.c */
HANDLER(ptx_nothing);

/* control.c */
HANDLER(ptx_label);
HANDLER(ptx_branch);
HANDLER(ptx_branch_table);
HANDLER(ptx_call);
HANDLER(ptx_call_pointer);
HANDLER(ptx_return);
HANDLER(ptx_exit);
HANDLER(ptx_trap);
HANDLER(ptx_nanosleep);
HANDLER(ptx_barrier);
HANDLER(ptx_together);
HANDLER(ptx_local_address);
HANDLER(ptx_guarded);
HANDLER(ptx_float_mode);

/* group.c */
/* Whose frames this thread takes and gives back; NULL: the system's. launch.c sets it. */
extern _Thread_local struct ptx_runner *ptx_current_runner;
/* Counts up to `end`, exclusive. */
void ptx_account(struct warp *w, const struct instr *end);
/* Ends the group's turn with `ip` as its next instruction; gives the next group's or NULL. */
const struct instr *ptx_reschedule(struct warp *w, const struct instr *ip);
/* The group leaves the foreground for a wait; gives the next group's instruction or NULL. */
const struct instr *ptx_park(struct warp *w, const struct instr *ip, enum group_state state, uint32_t members);
/* Chooses a group to run: for a warp whose ip is NULL. */
const struct instr *ptx_resume(struct warp *w);
void ptx_set_mask(struct warp *w, uint32_t mask);
struct frame *ptx_frame_new(struct ptx_runner *runner, const struct function *function, struct frame *parent);
void ptx_frame_free(struct ptx_runner *runner, struct frame *frame); /* runner NULL: to the system */
void ptx_release_frames(struct warp *w);
void ptx_use_frame(struct warp *w, struct frame *frame);
/* Lanes leave a frame for good; and those below it when `all`. */
void ptx_leave_frames(struct frame *frame, uint32_t lanes, bool all);
void ptx_add_group(struct warp *w, struct frame *frame, const struct instr *ip, uint32_t mask, enum group_state state, uint32_t members);
/* Takes groups into the current one that stand where it stands. */
void ptx_absorb_groups(struct warp *w, const struct instr *ip);
/* The slice is over: the warp stops. Another group has its turn if this one polls, or has run long enough. */
const struct instr *ptx_out_of_fuel(struct warp *w, const struct instr *ip);

/* together.c */
void ptx_together_check(struct warp *w);
bool ptx_barrier_check(struct block *block, unsigned number);

/* special.c */
HANDLER(ptx_special);

/* thread.c */
uint64_t ptx_now_ns(void);
void ptx_thread_of(const struct warp *w, unsigned lane, uint32_t thread[3]);

/* fault.c */
const struct instr *ptx_fault_at(struct warp *w, const struct instr *ip, unsigned lane, enum ptx_fault_kind kind, uint64_t address, unsigned width, bool write);
const struct instr *ptx_fault_text(struct warp *w, const struct instr *ip, unsigned lane, enum ptx_fault_kind kind, const char *text);
void ptx_fault_launch(struct ptx_launch *launch, enum ptx_fault_kind kind, const char *text);
void ptx_thread_fill(const struct warp *w, const struct instr *ip, unsigned lane, struct ptx_thread *out);

/* builtin.c */
/* vprintf and its like: `arguments` are offsets in local memory for each lane. */
const struct instr *ptx_builtin(struct warp *w, const struct instr *ip, const struct function *f);

/* convert.c, half.c */
HANDLER(ptx_convert);
HANDLER(ptx_convert_pair);
HANDLER(ptx_half);
HANDLER(ptx_half_compare);
double ptx_half_value(uint32_t bits, enum type type);
uint32_t ptx_half_bits(double value, enum type type, unsigned rounding);

#endif
