/*
 * The limit: the functions of libbusbar, called from C through a pointer. usage: peer FILE LIBRARY
 * Every peer maps the same 64 KiB file, makes the same accesses and prints the same line of JSON: nanoseconds of the
 * fastest round, for one 32-bit read, one 32-bit write, and one read of 4 KiB.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { BYTES = 65536, ROUNDS = 10, CALLS = 200000, BLOCKS = 1000, BLOCK_BYTES = 4096 };

typedef uint32_t read32(const void *, uint32_t);
typedef int32_t write32(void *, uint32_t, uint32_t);
typedef int32_t read_block(const void *, uint32_t, void *, uint32_t, uint32_t);

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const int fd = open(argv[1], O_RDWR);
  uint8_t *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  void *library = dlopen(argv[2], RTLD_NOW);
  if (fd < 0 || memory == MAP_FAILED || library == NULL) return 1;
  read32 *read;
  write32 *write;
  read_block *block;
  /* ISO C has no conversion between pointers to objects and to functions; POSIX says that this works. */
  *(void **)&read = dlsym(library, "bb_read32");
  *(void **)&write = dlsym(library, "bb_write32");
  *(void **)&block = dlsym(library, "bb_read_block");
  if (read == NULL || write == NULL || block == NULL) return 1;
  double best[3] = {1e18, 1e18, 1e18};
  static uint8_t buffer[BLOCK_BYTES];
  volatile uint32_t sink = 0;
  for (int round = 0; round < ROUNDS; round++) {
    const double start = now_ns();
    uint32_t sum = 0;
    for (int i = 0; i < CALLS; i++) sum += read(memory, 4);
    sink += sum;
    const double after_reads = now_ns();
    for (int i = 0; i < CALLS; i++) write(memory, 8, (uint32_t)i);
    const double after_writes = now_ns();
    for (int i = 0; i < BLOCKS; i++) block(memory, 0, buffer, BLOCK_BYTES, 4);
    const double end = now_ns();
    const double times[3] = {(after_reads - start) / CALLS, (after_writes - after_reads) / CALLS, (end - after_writes) / BLOCKS};
    for (int i = 0; i < 3; i++) {
      if (times[i] < best[i]) best[i] = times[i];
    }
  }
  printf("{\"read32\":%.3f,\"write32\":%.3f,\"block4k\":%.1f}\n", best[0], best[1], best[2]);
  return 0;
}
