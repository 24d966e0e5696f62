/*
 * libFuzzer target: anything that a guest can do to the registers, DATA and BAR4 of the software Type 2 GPU, over the software
 * CUDA device. Nothing may crash, hang, or touch memory that is not the guest's; and the next guest finds a whole device.
 *
 * The input is a list of steps: a byte that says what, and its data. A command's PARAMs are chosen among what commands take,
 * because a random pointer never meets memory: results of earlier commands, places in BAR4, small numbers, any number.
 */
#include "api/type2_protocol.h"
#include "soft/type2/type2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STEPS = 48, KEPT = 8, BAR4_BYTES = 1 << 20 };

static struct type2 *device;
static uint8_t *bar4;
static uint64_t bar4_pointer, kept[KEPT];

struct input {
  const uint8_t *at;
  size_t left;
};

static uint64_t take(struct input *in, size_t size) {
  uint64_t value = 0;
  if (size > in->left) size = in->left;
  memcpy(&value, in->at, size);
  in->at += size;
  in->left -= size;
  return value;
}

static void open_device(void) {
  char why[512];
  /* The driver is part of this program: an empty name is the program itself. */
  static const char SETTINGS[] =
      "driver=\ndriver_settings=memory=4MiB&watchdog_ms=20&log=none&threads=1\nmemory=4194304\nlimit_ms=20\nbar4=1048576\n"
      "peers=2\ndcd=8388608\ngfam=2\nmhsld=4\n";
  if (bb_type2_open(SETTINGS, NULL, 0, why, sizeof why, &device) != 0) {
    fprintf(stderr, "%s\n", why);
    abort();
  }
  void *place;
  uint64_t size;
  bb_type2_bar4(device, &place, &size);
  bar4 = place;
  bar4_pointer = bb_type2_read(device, REG_BAR4_POINTER, 8);
  if (size != BAR4_BYTES || bar4_pointer == 0) abort();
}

static uint64_t parameter(struct input *in) {
  const uint8_t how = (uint8_t)take(in, 1);
  switch (how & 7) {
    case 0: return how >> 3;
    case 1: return kept[(how >> 3) % KEPT];
    case 2: return kept[(how >> 3) % KEPT] + take(in, 2);
    case 3: return bar4_pointer + take(in, 3);
    case 4: return take(in, 3);
    case 5: return take(in, 4) | take(in, 4) << 32;
    case 6: return UINT64_C(1) << (how >> 3) | (uint64_t)(how >> 3 & 1) << 32;
    default: return take(in, 8);
  }
}

static void run(struct input *in, unsigned step) {
  const uint32_t code = (uint32_t)take(in, 1);
  const unsigned count = (unsigned)take(in, 1) % 9;
  for (unsigned i = 0; i < count; i++) bb_type2_write(device, REG_PARAM0 + 8 * i, 8, parameter(in));
  bb_type2_write(device, REG_CMD, 4, code);
  if (bb_type2_read(device, REG_CMD_STATUS, 4) != COMMAND_COMPLETE) abort();
  if ((bb_type2_read(device, REG_STATUS, 4) & STATUS_READY) == 0) abort();
  const uint64_t result = bb_type2_read(device, REG_RESULT0, 8);
  if (bb_type2_read(device, REG_CMD_RESULT, 4) == 0 && result != 0) kept[step % KEPT] = result;
}

/* Bytes of the input to DATA or BAR4: text and names by the length that stands before them. */
static void store(struct input *in, int is_bar4) {
  const uint64_t offset = take(in, 2) % 4096;
  uint64_t size = take(in, 2) % 4096;
  if (size > in->left) size = in->left;
  if (is_bar4) memcpy(bar4 + offset, in->at, size);
  else bb_type2_write_data(device, offset, in->at, size);
  in->at += size;
  in->left -= size;
}

/* A guest that starts anew: memory is whole, and bytes come back. */
static void check(void) {
  uint64_t word = UINT64_C(0x1122334455667788), back = 0;
  bb_type2_reset(device);
  if (bb_type2_read(device, REG_FREE_MEM, 8) != bb_type2_read(device, REG_TOTAL_MEM, 8)) abort();
  bb_type2_write(device, REG_PARAM0, 8, 64);
  bb_type2_write(device, REG_SESSION, 4, 0);
  bb_type2_write(device, REG_CMD, 4, CMD_MEM_ALLOC);
  const uint64_t pointer = bb_type2_read(device, REG_RESULT0, 8);
  if (bb_type2_read(device, REG_CMD_RESULT, 4) != 0) abort();
  bb_type2_write(device, REG_PARAM0, 8, pointer);
  bb_type2_write(device, REG_PARAM1, 8, sizeof word);
  bb_type2_write_data(device, 0, &word, sizeof word);
  bb_type2_write(device, REG_CMD, 4, CMD_MEM_COPY_HTOD);
  bb_type2_write_data(device, 0, &back, sizeof back);
  bb_type2_write(device, REG_CMD, 4, CMD_MEM_COPY_DTOH);
  bb_type2_read_data(device, 0, &back, sizeof back);
  if (back != word) abort();
  bb_type2_reset(device);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (device == NULL) open_device();
  static const uint8_t ZEROS[8192];
  bb_type2_write_data(device, 0, ZEROS, sizeof ZEROS);
  memset(bar4, 0, 8192);
  memset(kept, 0, sizeof kept);
  for (unsigned i = 0; i < 8; i++) bb_type2_write(device, REG_PARAM0 + 8 * i, 8, 0);
  struct input in = {data, size};
  for (unsigned step = 0; in.left > 0 && step < MOST_STEPS; step++) {
    const uint8_t what = (uint8_t)take(&in, 1);
    switch (what & 7) {
      case 0: store(&in, 0); break;
      case 1: store(&in, 1); break;
      case 2: bb_type2_write(device, take(&in, 3) % 0x102000, 1u << (what >> 3 & 3), take(&in, 8)); break;
      case 3: bb_type2_read(device, take(&in, 3) % 0x102000, 1u << (what >> 3 & 3)); break;
      case 4:
        if ((what & 0x80) == 0) bb_type2_write(device, REG_SESSION, 4, what >> 3 & 3);
        else bb_type2_write(device, TYPE2_DATA_OFFSET + 8 * (what >> 3 & 15), 8, parameter(&in)); /* a kernel's argument */
        break;
      default: run(&in, step);
    }
  }
  check();
  return 0;
}
