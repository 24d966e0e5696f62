/*
 * A hostile guest of the software Type 2 GPU: one thread hands over commands, others change PARAMs, CMD, DONE, SESSION, DATA and
 * BAR4 under them. The device must go on, and another guest's memory must stay as it was.
 *
 *   soft_type2_harness DRIVER SECONDS MODE [SEED]      DRIVER is empty when the driver is linked into this program
 *
 *   own    the guest maps the file by itself, and does all that it can
 *   same   the guest uses the device's own mapping, by atomic accesses, so that ThreadSanitizer sees every race
 *   trap   threads of the guest access registers that trap, of a device without a file
 *
 * The last two are without commands whose payload the driver or a kernel moves: bytes that a guest changes while they are
 * copied are a race by nature, and the guest's own affair.
 */
#define _GNU_SOURCE
#include "api/type2_protocol.h"
#include "soft/type2/type2.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { FILE_BYTES = 16 << 20, VICTIM_WORDS = 1024, MEDDLERS = 2, KEPT = 16, STALL_S = 20 };

static const char PTX[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n.global .align 4 .u32 counter = 5;\n"
    ".visible .entry add(.param .u64 at, .param .u32 by)\n{\n"
    "  .reg .b32 %r<5>; .reg .b64 %rd<4>;\n"
    "  ld.param.u64 %rd1, [at]; ld.param.u32 %r1, [by];\n"
    "  mov.u32 %r2, %tid.x; mul.wide.u32 %rd2, %r2, 4; add.s64 %rd3, %rd1, %rd2;\n"
    "  ld.global.u32 %r3, [%rd3]; add.u32 %r4, %r3, %r1; st.global.u32 [%rd3], %r4;\n  ret;\n}\n"
    ".visible .entry loop(.param .u64 at)\n{\n"
    "  .reg .pred %p<2>; .reg .b32 %r<2>; .reg .b64 %rd<2>;\n"
    "  ld.param.u64 %rd1, [at];\nagain: ld.volatile.global.u32 %r1, [%rd1]; setp.eq.u32 %p1, %r1, 0; @%p1 bra again;\n"
    "  ret;\n}\n";

static const uint32_t CODES[] = {
#define CODE(code, name, feature, ready) code,
    TYPE2_COMMANDS(CODE)
#undef CODE
};

static struct type2 *device, *victim;
static uint8_t *base; /* the guest's view; NULL where registers trap */
static uint64_t bar4_bytes, bar4_pointer, victim_pointer;
static bool is_watched; /* ThreadSanitizer sees the accesses of both sides */
static atomic_bool is_over;
static _Atomic uint64_t kept[KEPT];

static void fail(const char *words) {
  printf("%s\n", words);
  exit(1);
}

/* ---- randomness: xorshift, one state for each thread ----------------------------------------------------------------- */

static uint64_t next(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* ---- accesses -------------------------------------------------------------------------------------------------------- */

static void store32(uint32_t offset, uint32_t value) {
  if (base == NULL) bb_type2_write(device, offset, 4, value);
  else __atomic_store_n((uint32_t *)(void *)(base + offset), value, __ATOMIC_RELAXED);
}
static void store64(uint64_t offset, uint64_t value) {
  if (base == NULL) bb_type2_write(device, offset, 8, value);
  else __atomic_store_n((uint64_t *)(void *)(base + offset), value, __ATOMIC_RELAXED);
}
static uint32_t load32(uint32_t offset) {
  if (base == NULL) return (uint32_t)bb_type2_read(device, offset, 4);
  return __atomic_load_n((uint32_t *)(void *)(base + offset), __ATOMIC_ACQUIRE);
}
static uint64_t load64(uint32_t offset) {
  if (base == NULL) return bb_type2_read(device, offset, 8);
  return __atomic_load_n((uint64_t *)(void *)(base + offset), __ATOMIC_RELAXED);
}
static void store_text(uint64_t offset, const char *text, size_t size) {
  for (size_t i = 0; i < size; i += 8) {
    uint64_t word = 0;
    memcpy(&word, text + i, size - i < 8 ? size - i : 8);
    store64(offset + i, word);
  }
}

/* ---- the guest ------------------------------------------------------------------------------------------------------- */

/* Something that a command may take: a result of an earlier one, a place in BAR4, another guest's pointer, a small number. */
static uint64_t value_for(uint64_t *random) {
  const uint64_t r = next(random);
  switch (r & 7) {
    case 0: case 1: return atomic_load_explicit(&kept[(r >> 8) % KEPT], memory_order_relaxed);
    case 2: return atomic_load_explicit(&kept[(r >> 8) % KEPT], memory_order_relaxed) + ((r >> 16) & 0xfff);
    case 3: return is_watched ? (r >> 8) % 4096 : bar4_pointer + (r >> 8) % (bar4_bytes + 4096);
    case 4: return victim_pointer + (r >> 8) % 64;
    case 5: return (r >> 8) % 8;
    case 6: return UINT64_C(1) << (r >> 8) % 64;
    default: return next(random);
  }
}

/* Whether a command moves payload. */
static bool moves_payload(uint32_t code) {
  return code == CMD_MEM_COPY_HTOD || code == CMD_MEM_COPY_DTOH || (code >= CMD_BULK_HTOD && code <= CMD_BULK_DTOD);
}

static uint32_t pick(uint64_t *random) {
  const uint64_t r = next(random);
  static const uint32_t OFTEN[] = {CMD_MEM_ALLOC, CMD_MODULE_LOAD_PTX, CMD_FUNC_GET, CMD_LAUNCH_KERNEL, CMD_CTX_SYNC,
                                   CMD_CTX_DESTROY, CMD_MODULE_LOAD_BULK, CMD_MEM_SET, CMD_MODULE_GET_GLOBAL, CMD_STREAM_CREATE};
  for (;;) {
    const uint32_t code = (r & 3) == 0   ? (uint32_t)(next(random) & 255)
                          : (r & 3) == 1 ? CODES[next(random) % (sizeof CODES / sizeof *CODES)]
                                         : OFTEN[next(random) % (sizeof OFTEN / sizeof *OFTEN)];
    if (!is_watched || !moves_payload(code)) return code;
  }
}

static void fill_data(uint32_t code, uint64_t *random) {
  char text[sizeof PTX + 8];
  size_t size = sizeof PTX;
  memcpy(text, PTX, sizeof PTX);
  if (next(random) % 4 == 0) text[next(random) % sizeof PTX] = (char)next(random);
  if (code == CMD_FUNC_GET || code == CMD_MODULE_GET_GLOBAL) {
    static const char *const NAMES[] = {"add", "loop", "counter", "nobody", ""};
    const char *name = NAMES[next(random) % 5];
    size = strlen(name) + 1;
    memcpy(text, name, size);
  }
  if (code == CMD_LAUNCH_KERNEL) {
    const uint64_t slots[2] = {value_for(random), value_for(random)};
    memcpy(text, slots, size = sizeof slots);
  }
  if (code == CMD_MODULE_LOAD_BULK && base != NULL) store_text(TYPE2_FILE_BAR4_OFFSET, text, size);
  else store_text(TYPE2_DATA_OFFSET, text, size);
}

static void write_command(uint32_t code, uint64_t *random) {
  for (uint32_t i = 0; i < 8; i++) store64(REG_PARAM0 + 8 * i, value_for(random));
  if (code == CMD_LAUNCH_KERNEL) {
    store64(REG_PARAM0, next(random) % 3);
    store64(REG_PARAM1, 1 + next(random) % 3 + (UINT64_C(1) << 32));
    store64(REG_PARAM2, 1 + (1 + next(random) % 64) * (UINT64_C(1) << 32));
    store64(REG_PARAM3, 1 + (UINT64_C(1) << 32));
    store64(REG_PARAM4, (1 + next(random) % 2) << 32);
  }
  if (code == CMD_MODULE_LOAD_BULK) store64(REG_PARAM0, 0), store64(REG_PARAM1, sizeof PTX + next(random) % 64);
  store32(REG_SESSION, next(random) % 4 == 0 ? (uint32_t)(next(random) % 4) : 0);
  if (next(random) % 2 == 0 || code == CMD_LAUNCH_KERNEL) fill_data(code, random);
}

/* Waits for DONE, which others write too: so not for long. */
static void hand_over(uint32_t code) {
  if (base == NULL) {
    store32(REG_CMD, code);
    return;
  }
  const uint32_t number = load32(REG_SUBMIT) + 1;
  store32(REG_CMD, code);
  __atomic_store_n((uint32_t *)(void *)(base + REG_SUBMIT), number, __ATOMIC_RELEASE);
  for (int i = 0; i < 50 && load32(REG_DONE) != number; i++) {
    const struct timespec rest = {0, 20000};
    nanosleep(&rest, NULL);
  }
}

static void *client(void *argument) {
  uint64_t random = *(const uint64_t *)argument, place = 0;
  while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
    const uint32_t code = pick(&random);
    write_command(code, &random);
    hand_over(code);
    if (load32(REG_CMD_RESULT) == 0 && load64(REG_RESULT0) != 0) {
      atomic_store_explicit(&kept[place++ % KEPT], load64(REG_RESULT0), memory_order_relaxed);
    }
  }
  return NULL;
}

static void meddle(uint64_t *random) {
  const uint64_t r = next(random);
  switch (r % 12) {
    case 0: case 1: case 2: store64(REG_PARAM0 + 8 * ((r >> 8) % 8), value_for(random)); break;
    /* Where registers trap it is a command of its own, while the other thread writes that one's PARAMs. */
    case 3: store32(REG_CMD, pick(random)); break;
    case 4: store32(REG_DONE, (uint32_t)(r >> 8)); break;
    case 5: store32(REG_SESSION, (uint32_t)((r >> 8) % 4)); break;
    case 6: store32(REG_SUBMIT, load32(REG_SUBMIT) + (uint32_t)((r >> 8) % 3)); break;
    case 7: store32((uint32_t)((r >> 8) % 0x1000) & ~3u, (uint32_t)(r >> 32)); break;
    case 8: case 9: store64(TYPE2_DATA_OFFSET + ((r >> 8) % sizeof PTX & ~UINT64_C(7)), next(random)); break;
    case 10: store64(TYPE2_DATA_OFFSET + ((r >> 8) % TYPE2_V2_DATA_BYTES & ~UINT64_C(7)), next(random)); break;
    default:
      if (base == NULL) bb_type2_read(device, (r >> 8) % 0x102000, 1u << ((r >> 40) & 3));
      else store64(TYPE2_FILE_BAR4_OFFSET + ((r >> 8) % bar4_bytes & ~UINT64_C(7)), next(random));
  }
}

static void *meddler(void *argument) {
  uint64_t random = *(const uint64_t *)argument;
  while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
    for (int i = 0; i < 64; i++) meddle(&random);
    /* Now and then it leaves the processor, so that some commands end as they began. */
    if (next(&random) % 8 == 0) sched_yield();
  }
  return NULL;
}

/* ---- set-up and verdict ---------------------------------------------------------------------------------------------- */

static struct type2 *open_device(const char *driver, const char *path) {
  char settings[2048], why[512];
  struct type2 *out;
  snprintf(settings, sizeof settings,
           "driver=%s\ndriver_settings=memory=16MiB&watchdog_ms=50&log=none&threads=2\nmemory=16777216\nlimit_ms=50\n"
           "bar4=14680064\npeers=2\ndcd=8388608\ngfam=2\nmhsld=4\n",
           driver);
  if (bb_type2_open(settings, path, FILE_BYTES, why, sizeof why, &out) != 0) fail(why);
  return out;
}

/* A command by an orderly client that is alone. Returns CMD_RESULT. */
static uint32_t run(struct type2 *to, uint32_t code, uint64_t a, uint64_t b) {
  bb_type2_write(to, REG_SESSION, 4, 0);
  bb_type2_write(to, REG_PARAM0, 8, a);
  bb_type2_write(to, REG_PARAM1, 8, b);
  bb_type2_write(to, REG_CMD, 4, code);
  return (uint32_t)bb_type2_read(to, REG_CMD_RESULT, 4);
}

static void fill_victim(void) {
  uint32_t words[VICTIM_WORDS];
  for (uint32_t i = 0; i < VICTIM_WORDS; i++) words[i] = i * 2654435761u;
  if (run(victim, CMD_INIT, 0, 0) != 0 || run(victim, CMD_MEM_ALLOC, sizeof words, 0) != 0) fail("the victim cannot begin");
  victim_pointer = bb_type2_read(victim, REG_RESULT0, 8);
  bb_type2_write_data(victim, 0, words, sizeof words);
  if (run(victim, CMD_MEM_COPY_HTOD, victim_pointer, sizeof words) != 0) fail("the victim cannot write");
}

static void check_victim(void) {
  uint32_t words[VICTIM_WORDS];
  memset(words, 0, sizeof words);
  bb_type2_write_data(victim, 0, words, sizeof words);
  if (run(victim, CMD_MEM_COPY_DTOH, victim_pointer, sizeof words) != 0) fail("the victim cannot read");
  bb_type2_read_data(victim, 0, words, sizeof words);
  for (uint32_t i = 0; i < VICTIM_WORDS; i++) {
    if (words[i] != i * 2654435761u) fail("another guest's memory was changed");
  }
}

static uint64_t now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec;
}

/* Lets it go on for a time. Commands must be run all the while. */
static uint64_t watch(uint64_t seconds) {
  const uint64_t end = now_s() + seconds;
  uint64_t count = 0, since = now_s();
  while (now_s() < end) {
    const struct timespec rest = {0, 100000000};
    nanosleep(&rest, NULL);
    const uint64_t now = bb_type2_count(device, UINT32_MAX);
    if (now != count) since = now_s();
    if (now_s() - since > STALL_S) fail("the device hangs: no command was run for 20 s");
    count = now;
    if (bb_type2_state(device) != 0) fail("the device stopped serving");
  }
  return count;
}

/* After all that, a guest that starts anew finds a device that works. Accesses trap here, whatever the guest used. */
static void check_device(void) {
  for (uint32_t i = 0; i < 200 && run(device, CMD_INIT, 0, 0) != 0; i++) {
    const struct timespec rest = {0, 5000000};
    nanosleep(&rest, NULL);
  }
  bb_type2_reset(device);
  uint64_t word = UINT64_C(0x1122334455667788);
  if (run(device, CMD_INIT, 0, 0) != 0 || run(device, CMD_CTX_CREATE, 0, 0) != 0) fail("no context after it");
  if (run(device, CMD_MEM_ALLOC, 4096, 0) != 0) fail("no memory after it");
  const uint64_t pointer = bb_type2_read(device, REG_RESULT0, 8);
  bb_type2_write_data(device, 0, &word, sizeof word);
  if (run(device, CMD_MEM_COPY_HTOD, pointer, sizeof word) != 0) fail("no copy after it");
  word = 0;
  bb_type2_write_data(device, 0, &word, sizeof word);
  if (run(device, CMD_MEM_COPY_DTOH, pointer, sizeof word) != 0) fail("no copy back after it");
  bb_type2_read_data(device, 0, &word, sizeof word);
  if (word != UINT64_C(0x1122334455667788)) fail("a copy differs after it");
  if (run(device, CMD_MEM_FREE, pointer, 0) != 0) fail("memory is not freed after it");
  if (bb_type2_read(device, REG_FREE_MEM, 8) != bb_type2_read(device, REG_TOTAL_MEM, 8)) fail("memory is lost after it");
}

static uint8_t *map_guest(const char *path) {
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  void *place = fd < 0 ? MAP_FAILED : mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (place == MAP_FAILED) fail("the guest cannot map the file");
  close(fd);
  return place;
}

int main(int count, char **words) {
  if (count < 4) fail("soft_type2_harness DRIVER SECONDS MODE [SEED]");
  char folder[] = "/dev/shm/busbar-hostile-XXXXXX", path[64];
  if (mkdtemp(folder) == NULL) fail("no folder in /dev/shm");
  snprintf(path, sizeof path, "%s/gpu", folder);
  const bool traps = strcmp(words[3], "trap") == 0;
  is_watched = strcmp(words[3], "own") != 0;
  device = open_device(words[1], traps ? NULL : path);
  victim = open_device(words[1], NULL);
  fill_victim();
  void *bar4;
  bb_type2_bar4(device, &bar4, &bar4_bytes);
  bar4_pointer = bb_type2_read(device, REG_BAR4_POINTER, 8);
  if (!traps) base = is_watched ? (uint8_t *)bar4 - TYPE2_FILE_BAR4_OFFSET : map_guest(path);

  const uint64_t seed = count > 4 ? strtoull(words[4], NULL, 0) : 1;
  pthread_t threads[MEDDLERS + 1];
  uint64_t seeds[MEDDLERS + 1];
  for (uint64_t i = 0; i <= MEDDLERS; i++) {
    seeds[i] = (seed + i) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    if (pthread_create(&threads[i], NULL, i == 0 ? client : meddler, &seeds[i]) != 0) fail("no thread");
  }
  const uint64_t commands = watch(strtoull(words[2], NULL, 10));
  atomic_store_explicit(&is_over, true, memory_order_relaxed);
  for (uint64_t i = 0; i <= MEDDLERS; i++) pthread_join(threads[i], NULL);
  if (commands < 100) fail("hardly a command was run");
  check_victim();
  check_device();
  if (!is_watched) munmap(base, FILE_BYTES);
  bb_type2_close(device);
  bb_type2_close(victim);
  if (access(path, F_OK) == 0) fail("the file is still there");
  rmdir(folder);
  puts("ok");
  return 0;
}
