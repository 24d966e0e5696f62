/*
 * Self-test of the accelerator: the binding of csrc/oradax.c over the software device, and the device's own calls as the
 * Linux driver has them, in its order. It is run under the sanitizers, and built for a big-endian processor it is run under
 * emulation, where a structure in the wrong byte order shows. Prints "ok", or the line of the first mistake.
 */
#include "soft/busbar_soft.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                        \
  do {                                                          \
    if (!(condition)) {                                         \
      printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
      exit(1);                                                  \
    }                                                           \
  } while (0)

enum { PAGE = 8192, SECONDARY_AT = 1024, OUTPUT_AT = 2048, TABLE_AT = 4096 - 64 };

static uint64_t big(const uint8_t *at, unsigned size) {
  uint64_t value = 0;
  for (unsigned i = 0; i < size; i++) value = value << 8 | at[i];
  return value;
}

static void put(uint8_t *at, uint64_t value) {
  for (unsigned i = 0; i < 8; i++) at[i] = (uint8_t)(value >> (56 - 8 * i));
}

static size_t hex(const char *text, uint8_t *to) {
  size_t count = 0;
  for (; *text != '\0'; text += 2) {
    unsigned value = 0;
    if (sscanf(text, "%2x", &value) != 1) break;
    to[count++] = (uint8_t)value;
  }
  return count;
}

/* Worked examples of the digest, section 4. */
static const struct example {
  const char *name;
  uint64_t control, access, operands, more_operands;
  const char *input, *secondary, *table;
  unsigned table_version;
  const char *output;
  unsigned elements, ones;
} EXAMPLES[] = {
    {"E1", 0x0001030C01000A00, 0x1, 0, 0, "010203AABBCC", NULL, NULL, 0, "0001020300AABBCC", 2, 0},
    {"E5", 0x0001030C15800800, 0x1, 0, 0, "ABC123", NULL, NULL, 0, "0ABC000001230000", 2, 0},
    {"E6", 0x0001036C40008000, 0x2, 0, 0, "414243", "1020", NULL, 0, "414142434343", 3, 0},
    {"E7", 0x0001036C20004A00, 0x2, 0, 0, "112233445566", "24", NULL, 0, "000000110022334400005566", 3, 0},
    {"S1", 0x0002030C1000201F, 0x200000B, 0, 0, "A5C0", NULL, NULL, 0, "5A30", 12, 6},
    {"S2", 0x0002030C00803421, 0x4, 0x00070000FFFF0000, 0, "000700080007FFFF0009", NULL, NULL, 0, "000000020003", 5, 3},
    {"S6", 0x0402030C038020FF, 0x1, 0x1122334400000000, 0x5566778900000000, "11223344556677881122334455667789", NULL, NULL,
     0, "40", 2, 1},
    {"T3", 0x00041B0C01002101, 0x1000008, 0, 0, "808003800003808004", NULL, "10", 0, "80", 3, 1},
    {"L1", 0x0005036C11810600, 0x5, 0, 0, "123456", "5A", NULL, 0, "0001000300040006", 6, 4},
    {"Z1", 0x10011B0C80000000, 0x2000009, 0, 0, "2740", NULL, "0004123141424344454647", 1, "414445464243474243", 9, 0},
};

static void run_example(bb_oradax *dax, uint8_t *memory, const struct example *e) {
  uint8_t ccb[128] = {0}, area[128], expected[64];
  bb_oradax_refusal refusal;
  const unsigned size = e->control >> 58 & 1 ? 128 : 64;
  memset(memory, 0, PAGE);
  hex(e->input, memory);
  put(ccb, e->control);
  put(ccb + 16, (uintptr_t)memory);
  put(ccb + 24, e->access);
  put(ccb + 40, e->operands);
  put(ccb + 48, (uintptr_t)memory + OUTPUT_AT);
  put(ccb + 64, e->more_operands);
  if (e->secondary != NULL) {
    hex(e->secondary, memory + SECONDARY_AT);
    put(ccb + 32, (uintptr_t)memory + SECONDARY_AT);
  }
  if (e->table != NULL) {
    hex(e->table, memory + TABLE_AT);
    put(ccb + 56, (uintptr_t)memory + TABLE_AT + e->table_version);
  }
  CHECK(bb_oradax_submit(dax, 4, ccb, size, &refusal) == (int32_t)size);
  while (bb_oradax_wait(dax, 4, 50000) == 0) continue;
  CHECK(bb_oradax_completion(dax, 4, area) == 0);
  /* The areas are mapped twice, and ThreadSanitizer does not know that they are the same memory. Asking takes the lock. */
  uint16_t info[4];
  CHECK(bb_oradax_info(dax, 4, info) == 0 && info[0] == 0);
  const size_t length = hex(e->output, expected);
  if (area[0] != 1 || big(area + 8, 4) != length || memcmp(memory + OUTPUT_AT, expected, length) != 0 ||
      big(area + 32, 4) != e->elements || big(area + 56, 8) != e->ones) {
    printf("example %s came out wrong\n", e->name);
    exit(1);
  }
}

/* The binding: every structure that crosses it, by value. */
static void test_binding(void) {
  bb_soft_oradax *soft;
  bb_oradax_file file;
  bb_oradax *dax;
  void *memory;
  uint16_t info[4];
  bb_oradax_refusal refusal;
  uint8_t ccb[64] = {0};
  CHECK(bb_soft_oradax_open("dax=2\nunits=1\n", &soft, &file) == 0);
  CHECK(bb_oradax_attach(&file, &dax) == 0);
  CHECK(bb_soft_oradax_allocate(soft, PAGE, PAGE, &memory) == 0);
  for (size_t i = 0; i < sizeof EXAMPLES / sizeof *EXAMPLES; i++) run_example(dax, memory, &EXAMPLES[i]);
  CHECK(bb_oradax_info(dax, 4, info) == 0 && info[0] == 0);
  CHECK(bb_oradax_info(dax, 99, info) == 0 && info[0] == 3);
  CHECK(bb_oradax_kill(dax, 4) == 0 && bb_oradax_wait(dax, 4, 0) == 3);
  CHECK(bb_oradax_kill(dax, 99) == 3);
  CHECK(bb_oradax_dequeue(dax) == 0);
  put(ccb, UINT64_C(0x0001000C) << 32);
  put(ccb + 16, UINT64_C(0x123456789abc));
  CHECK(bb_oradax_submit(dax, 0, ccb, 64, &refusal) == 0);
  CHECK(refusal.status == 10 && refusal.data == UINT64_C(0x123456789abc));
  CHECK(bb_oradax_submit(dax, 0, ccb, 63, &refusal) == -EINVAL && bb_oradax_submit(dax, 128, ccb, 64, &refusal) == -EINVAL);
  CHECK(bb_oradax_wait(dax, 0, 50001) == -EINVAL && bb_oradax_wait(NULL, 0, 0) == -EINVAL);
  CHECK(bb_oradax_close(dax) == 0 && bb_oradax_close(NULL) == 0);
  CHECK(bb_oradax_open("/nowhere/oradax1", &dax) == -ENOENT);
}

struct foreign {
  bb_oradax_file file;
  bb_oradax *dax;
};

/* Calls from a thread that did not open: the binding's error, and what the driver does without it. */
static void *foreign_calls(void *argument) {
  const struct foreign *f = argument;
  bb_oradax_refusal refusal;
  uint16_t info[4];
  void *area;
  uint8_t noop[64] = {0}, result[16];
  const uint8_t dequeue[4] = {0, 2, 0, 0};
  CHECK(bb_oradax_submit(f->dax, 0, noop, 64, &refusal) == -EUSERS);
  CHECK(bb_oradax_wait(f->dax, 0, 0) == -EUSERS && bb_oradax_info(f->dax, 0, info) == -EUSERS);
  CHECK(bb_oradax_kill(f->dax, 0) == -EUSERS && bb_oradax_dequeue(f->dax) == -EUSERS);
  CHECK(bb_oradax_close(f->dax) == -EUSERS);
  CHECK(f->file.map(f->file.context, 16384, 0, &area) == -EINVAL);
  CHECK(f->file.write(f->file.context, dequeue, 4, 0) == -EUSERS);
  CHECK(f->file.read(f->file.context, result, 16) == -EUSERS);
  /* A submission returns 0, and the caller has to read why. */
  CHECK(f->file.write(f->file.context, noop, 64, 0) == 0);
  CHECK(f->file.write(f->file.context, noop, 64, 0) == -EINVAL);
  CHECK(f->file.read(f->file.context, result, 16) == 16 && big(result + 8, 4) == 4);
  return NULL;
}

/* The driver's calls, in the order of its decisions. */
static void test_driver(void) {
  struct foreign f;
  bb_soft_oradax *soft;
  void *area;
  pthread_t thread;
  uint8_t ccbs[1024] = {0}, result[16];
  CHECK(bb_soft_oradax_open("colour=red\n", &soft, &f.file) == -EINVAL);
  CHECK(bb_soft_oradax_open("dax=3\n", &soft, &f.file) == -EINVAL);
  CHECK(bb_soft_oradax_open("loops=none\n", &soft, &f.file) == -ENOTSUP);
  CHECK(bb_soft_oradax_open("", &soft, &f.file) == 0);
  CHECK(bb_oradax_attach(&f.file, &f.dax) == 0);
  const bb_oradax_file *file = &f.file;
  void *const context = file->context;
  CHECK(file->map(context, 8192, 0, &area) == -EINVAL && file->map(context, 16384, 1, &area) == -EPERM);
  CHECK(file->map(context, 16384, 0, &area) == 0);
  for (unsigned i = 0; i < 128; i++) CHECK(((const uint8_t *)area)[128 * i] == 1);
  CHECK(file->write(context, ccbs, 0, 0) == -EINVAL && file->write(context, ccbs, 1024, 0) == -EINVAL);
  CHECK(file->write(context, ccbs, 65, 0) == -EINVAL && file->write(context, ccbs, 8, 0) == -EINVAL);
  CHECK(file->write(context, ccbs, 64, -1) == -EINVAL && file->write(context, NULL, 4, 0) == -EFAULT);
  CHECK(file->write(context, (const uint8_t[4]){0, 3, 0, 0}, 4, 0) == -EINVAL);
  CHECK(file->write(context, (const uint8_t[4]){0, 1, 0x40, 0}, 4, 0) == -EINVAL);  /* byte 16384 */
  CHECK(file->write(context, (const uint8_t[4]){0, 1, 0, 32}, 4, 0) == -EFAULT);    /* not on 64 bytes */
  CHECK(file->read(context, result, 16) == -EUSERS);
  /* Nothing is to be read after a whole submission and after a dequeue. */
  CHECK(file->write(context, ccbs, 960, 113) == 960 && file->read(context, result, 16) == -EUSERS);
  CHECK(file->write(context, (const uint8_t[4]){0, 2, 0, 0}, 4, 0) == 4 && file->read(context, result, 16) == -EUSERS);
  /* Out of range, not to be read from memory: 0, and the reason. */
  CHECK(file->write(context, ccbs, 64, 128) == 0 && file->read(context, result, 16) == 16 && big(result + 8, 4) == 7);
  CHECK(file->write(context, ccbs, 128, 127) == 0 && file->read(context, result, 16) == 16 && big(result + 8, 4) == 7);
  CHECK(file->write(context, NULL, 64, 0) == 0 && file->read(context, result, 16) == 16 && big(result + 8, 4) == 8);
  /* A result that was not read is in the way of every write; a read of another size loses it. */
  CHECK(file->write(context, (const uint8_t[4]){0, 1, 0, 0}, 4, 0) == 4);
  CHECK(file->write(context, ccbs, 64, 0) == -EINVAL && file->write(context, (const uint8_t[4]){0, 2, 0, 0}, 4, 0) == -EINVAL);
  CHECK(file->read(context, result, 8) == -EINVAL && file->read(context, result, 16) == -EUSERS);
  CHECK(file->write(context, (const uint8_t[4]){0, 1, 0, 64}, 4, 0) == 4 && file->read(context, result, 16) == 16);
  CHECK(big(result, 2) == 3); /* no area begins there */
  CHECK(pthread_create(&thread, NULL, foreign_calls, &f) == 0 && pthread_join(thread, NULL) == 0);
  CHECK(bb_oradax_close(f.dax) == 0);
}

/* CCBs in flight when the file is closed are waited for, or ended; memory of them is not freed before. */
static void test_close(void) {
  bb_soft_oradax *soft;
  bb_oradax_file file;
  bb_oradax *dax;
  void *memory;
  bb_oradax_refusal refusal;
  uint8_t ccbs[192] = {0};
  CHECK(bb_soft_oradax_open("units=2\ndelay_us=900000\n", &soft, &file) == 0 && bb_oradax_attach(&file, &dax) == 0);
  CHECK(bb_soft_oradax_allocate(soft, 1, PAGE, &memory) == 0);
  for (unsigned i = 0; i < 3; i++) {
    put(ccbs + 64 * i, EXAMPLES[0].control);
    put(ccbs + 64 * i + 16, (uintptr_t)memory);
    put(ccbs + 64 * i + 24, 1);
    put(ccbs + 64 * i + 48, (uintptr_t)memory + OUTPUT_AT + 64 * i);
  }
  CHECK(bb_oradax_submit(dax, 0, ccbs, 192, &refusal) == 192);
  CHECK(bb_soft_oradax_free(soft, memory) == -EBUSY && bb_soft_oradax_free(soft, &soft) == -ENOENT);
  CHECK(bb_soft_oradax_allocate(soft, 1, 4096, &memory) == -EINVAL && bb_soft_oradax_allocate(soft, 0, PAGE, &memory) == -EINVAL);
  CHECK(bb_oradax_close(dax) == 0);
}

/* ---- The fast loops of this processor against the portable ones ---- */

enum { LOOP_ELEMENTS = 700, LOOP_INPUT_BYTES = 4096, LOOP_OUTPUT_AT = 8192, LOOP_PAGE = 65536 };

struct device {
  bb_soft_oradax *soft;
  bb_oradax_file file;
  bb_oradax *dax;
  uint8_t *memory;
};

static void open_device(struct device *d, const char *settings) {
  void *memory;
  CHECK(bb_soft_oradax_open(settings, &d->soft, &d->file) == 0 && bb_oradax_attach(&d->file, &d->dax) == 0);
  CHECK(bb_soft_oradax_allocate(d->soft, LOOP_PAGE, LOOP_PAGE, &memory) == 0);
  d->memory = memory;
}

/* One command over elements of width bits; the same memory on both devices gives the same output. */
static unsigned run_loop(struct device *d, uint64_t control, unsigned width, uint64_t operands, uint8_t area[128]) {
  uint8_t ccb[64] = {0};
  bb_oradax_refusal refusal;
  uint16_t info[4];
  const uint64_t bits = 2, length = (uint64_t)width * LOOP_ELEMENTS - 1;
  memset(d->memory + LOOP_OUTPUT_AT, 0xee, LOOP_PAGE - LOOP_OUTPUT_AT);
  put(ccb, control | UINT64_C(0x00001B6C) << 32);
  put(ccb + 16, (uintptr_t)d->memory);
  put(ccb + 24, bits << 24 | length);
  put(ccb + 32, (uintptr_t)d->memory + LOOP_INPUT_BYTES - 512);
  put(ccb + 40, operands);
  put(ccb + 48, (uintptr_t)d->memory + LOOP_OUTPUT_AT);
  put(ccb + 56, (uintptr_t)d->memory);
  CHECK(bb_oradax_submit(d->dax, 0, ccb, 64, &refusal) == 64);
  while (bb_oradax_wait(d->dax, 0, 50000) == 0) continue;
  CHECK(bb_oradax_completion(d->dax, 0, area) == 0 && bb_oradax_info(d->dax, 0, info) == 0);
  CHECK(area[0] == 1 && area[1] == 0 && big(area + 32, 4) == LOOP_ELEMENTS);
  return (unsigned)big(area + 8, 4);
}

static void test_loops(void) {
  struct device fast, plain;
  open_device(&fast, "units=1\n");
  open_device(&plain, "units=1\nloops=portable\n");
  uint32_t random = 1;
  for (unsigned i = 0; i < LOOP_INPUT_BYTES; i++) {
    random = random * 1664525 + 1013904223;
    fast.memory[i] = plain.memory[i] = (uint8_t)(random >> 24);
  }
  for (unsigned width = 1; width <= 32; width++) {
    const unsigned is_packed = width < 16, is_bytes = width == 8 || width == 16 || width == 32;
    for (unsigned start = 0; start < 8; start++) {
      for (unsigned kind = 0; kind < 12; kind++) {
        static const uint64_t opcodes[] = {0x02, 0x12, 0x03, 0x13, 0x04, 0x14};
        const uint64_t opcode = kind < 6 ? opcodes[kind] : kind % 2 == 0 ? 0x01 : 0x05;
        if (!(is_packed || (is_bytes && start == 0)) || (width == 32 && kind >= 4)) continue;
        const uint64_t format = is_packed ? UINT64_C(1) << 28 | (uint64_t)(width - 1) << 23 | (uint64_t)start << 20
                                          : (uint64_t)(width / 8 - 1) << 23;
        const uint64_t output = kind < 6 ? 8 : (kind - 6) / 2 + (start & 1);
        const uint64_t more = kind < 4 ? 3 << 5 | 3 : kind < 6 ? 1 : (uint64_t)(start & 2) << 8;
        const uint64_t control = opcode << 48 | format | (uint64_t)(start % 5) << 16 | output << 10 | more;
        uint8_t areas[2][128];
        /* For values: two that are there; for ranges: the middle half. */
        const uint64_t most = (UINT64_C(1) << width) - 1;
        const uint64_t operands = (kind < 2 ? most / 3 : most / 4 * 3) << 32 | most / 4;
        const unsigned size = run_loop(&fast, control, width, operands, areas[0]);
        CHECK(run_loop(&plain, control, width, operands, areas[1]) == size);
        CHECK(memcmp(areas[0] + 56, areas[1] + 56, 8) == 0);
        CHECK(memcmp(fast.memory + LOOP_OUTPUT_AT, plain.memory + LOOP_OUTPUT_AT, size) == 0);
        const unsigned behind = (size + 63) / 64 * 64;
        CHECK(fast.memory[LOOP_OUTPUT_AT + behind] == 0xee && plain.memory[LOOP_OUTPUT_AT + behind] == 0xee);
      }
    }
  }
  CHECK(bb_oradax_close(fast.dax) == 0 && bb_oradax_close(plain.dax) == 0);
}

/* The host's numbers become the coprocessor's and come back, also in place and where no whole eight bytes are left. */
static void test_numbers(void) {
  const uint16_t words[5] = {0x1234, 0, 0xffee, 7, 0x8001};
  const uint32_t dwords[3] = {0x12345678, 0x80000001, 9};
  const uint64_t qword = UINT64_C(0x0123456789abcdef);
  uint8_t bytes[16];
  CHECK(bb_oradax_copy_numbers(bytes, words, sizeof words, 2) == 0);
  for (unsigned i = 0; i < 5; i++) CHECK(big(bytes + 2 * i, 2) == words[i]);
  CHECK(bb_oradax_copy_numbers(bytes, bytes, sizeof words, 2) == 0 && memcmp(bytes, words, sizeof words) == 0);
  CHECK(bb_oradax_copy_numbers(bytes, dwords, sizeof dwords, 4) == 0);
  for (unsigned i = 0; i < 3; i++) CHECK(big(bytes + 4 * i, 4) == dwords[i]);
  CHECK(bb_oradax_copy_numbers(bytes, &qword, sizeof qword, 8) == 0 && big(bytes, 8) == qword);
  CHECK(bb_oradax_copy_numbers(bytes, "abc", 3, 1) == 0 && memcmp(bytes, "abc", 3) == 0);
  CHECK(bb_oradax_copy_numbers(bytes, words, 3, 2) == -EINVAL && bb_oradax_copy_numbers(bytes, words, 6, 3) == -EINVAL);
}

static void test_combine(void) {
  const uint8_t a[11] = "\x0f\xf0\xff\x01\x80\x55\xaa\x12\x34\x56", b[11] = "\x3c\x3c\x0f\x01\x81\xff\x55\x34\x12\x6a";
  uint8_t to[11];
  CHECK(bb_oradax_combine(to, a, b, 11, BB_COMBINE_AND) == 0);
  for (unsigned i = 0; i < 11; i++) CHECK(to[i] == (a[i] & b[i]));
  CHECK(bb_oradax_combine(to, a, b, 11, BB_COMBINE_OR) == 0);
  for (unsigned i = 0; i < 11; i++) CHECK(to[i] == (a[i] | b[i]));
  CHECK(bb_oradax_combine(to, a, b, 11, BB_COMBINE_XOR) == 0);
  for (unsigned i = 0; i < 11; i++) CHECK(to[i] == (a[i] ^ b[i]));
  CHECK(bb_oradax_combine(to, a, b, 11, 3) == -EINVAL);
}

int main(void) {
  test_numbers();
  test_combine();
  test_loops();
  test_binding();
  test_driver();
  test_close();
  puts("ok");
  return 0;
}
