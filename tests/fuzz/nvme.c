/*
 * libFuzzer target: any commands to the software controller, on its admin queue and an I/O queue, with registers written in
 * between. Nothing may crash, hang, or touch memory that is not the device's or the driver's.
 *
 * The input is a list of steps: a byte that says what, and its data. Pointers in commands are moved into the driver's memory
 * as often as not, because a random address never meets it.
 */
#include "soft_nvme_driver.h"

enum { MOST_STEPS = 24, COMMAND_BYTES = 64, WAIT_MS = 2, PAGE_BYTES_4K = 4096 };

static struct host host;
static struct queue io;

/* A pointer of the command, at a byte offset, into the page for data, the queues, or left as it is. */
static void aim(struct cmd *c, unsigned dword, uint8_t how) {
  const uint64_t given = ((uint64_t)c->d[dword + 1] << 32) | c->d[dword];
  uint64_t address = given;
  if ((how & 3) == 1) address = host.page.address + given % (4 * PAGE_BYTES_4K);
  if ((how & 3) == 2) address = host.page.address + (given & ~(uint64_t)(PAGE_BYTES_4K - 1)) % (4 * PAGE_BYTES_4K);
  if ((how & 3) == 3) address = io.sq.address + given % PAGE_BYTES_4K;
  c->d[dword] = (uint32_t)address;
  c->d[dword + 1] = (uint32_t)(address >> 32);
}

static void submit(struct queue *q, const uint8_t *bytes, uint8_t how) {
  struct cmd c;
  memcpy(&c, bytes, sizeof c);
  aim(&c, 6, how >> 1);
  aim(&c, 8, how >> 3);
  host_put(q, &c);
  host_ring(&host, q);
  host_take(&host, q, WAIT_MS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  host_open(&host, "size=1048576\nlba=512\n");
  host_start(&host, 8);
  host_create(&host, &io, 1, 8, -1);
  /* The page for data begins with what the input ends with: lists of PRPs, SGLs, ranges. */
  memcpy(host.page.at, data + (size > 256 ? size - 256 : 0), size > 256 ? 256 : size);
  for (unsigned steps = 0; size > 0 && steps < MOST_STEPS; steps++) {
    const uint8_t what = *data++;
    size--;
    if (what < 0x20 && size >= 8) {
      /* A register or doorbell: the first 8 KiB of the BAR, in whole words. */
      host_store32(&host, (get16(data) % 8192u) & ~3u, get32(data + 4));
      data += 8, size -= 8;
    } else if (size >= COMMAND_BYTES) {
      submit(what & 1 ? &host.admin : &io, data, what);
      data += COMMAND_BYTES, size -= COMMAND_BYTES;
    } else {
      break;
    }
  }
  host_close(&host);
  return 0;
}
