/*
 * Outlives a process that drives an NVMe controller without an IOMMU.
 *
 * Such a controller writes to physical addresses. When its driver is killed, the memory would go to somebody else while
 * the controller still writes to it. So the memory lies in a named file on hugetlbfs, which stays, and this program waits
 * at the other end of a pipe. When the pipe closes, for whatever reason, it disables the controller, turns its bus
 * mastering off, and only then removes the file.
 *
 * usage: nvme_guardian BAR0_FILE CONFIG_FILE MEMORY_FILE LIMIT_MS
 * It writes "ready" once it could do all that, and one line on standard error when it could not. Exit status: 0 the
 * file is removed, 1 the controller would not stop and the file stays, 2 it could not begin.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CC = 0x14, CSTS = 0x1c, BAR_BYTES = 4096, PCI_COMMAND = 4, PCI_COMMAND_MASTER = 4 };

struct controller {
  volatile uint32_t *registers;
  int config;
  const char *memory_file;
  uint64_t limit_us;
};

static int complain(const char *what, const char *path) {
  fprintf(stderr, "nvme_guardian: %s %s: %s\n", what, path, strerror(errno));
  return 2;
}

static uint32_t load(const struct controller *c, uint32_t offset) { return c->registers[offset / 4]; }

static sigjmp_buf vanished;

static void on_bus_error(int number) {
  (void)number;
  siglongjmp(vanished, 1);
}

/* 1 when the controller is disabled, or no longer there to do anything. */
static int disable(const struct controller *c) {
  /* Touching the registers of a controller that was pulled out is SIGBUS: it writes nowhere any more. */
  signal(SIGBUS, on_bus_error);
  if (sigsetjmp(vanished, 1) != 0) return 1;
  const uint32_t cc = load(c, CC);
  if (cc == UINT32_MAX) return 1;
  if (cc & 1) c->registers[CC / 4] = cc & ~UINT32_C(1);
  for (const uint64_t end = now_us() + c->limit_us;;) {
    const uint32_t csts = load(c, CSTS);
    if (csts == UINT32_MAX || !(csts & 1)) return 1;
    if (now_us() >= end) return 0;
    usleep(1000);
  }
}

/* 1 when the function can no longer write to memory: bus mastering reads as off, or the function is gone. */
static int stop_bus_master(const struct controller *c) {
  uint16_t command;
  if (pread(c->config, &command, sizeof command, PCI_COMMAND) != sizeof command) return 1;
  if (command == UINT16_MAX) return 1;
  command &= (uint16_t)~PCI_COMMAND_MASTER;
  if (pwrite(c->config, &command, sizeof command, PCI_COMMAND) != sizeof command) return 0;
  return pread(c->config, &command, sizeof command, PCI_COMMAND) == sizeof command && !(command & PCI_COMMAND_MASTER);
}

static int finish(const struct controller *c) {
  const int disabled = disable(c);
  /* Turned off in any case: a controller that does not stop is at least cut off. */
  const int cut_off = stop_bus_master(c);
  if (!disabled || !cut_off) {
    fprintf(stderr, "nvme_guardian: the controller did not %s; its memory %s stays\n", disabled ? "let go of the bus" : "stop",
            c->memory_file);
    return 1;
  }
  return unlink(c->memory_file) == 0 || errno == ENOENT ? 0 : complain("cannot remove", c->memory_file);
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fputs("usage: nvme_guardian BAR0_FILE CONFIG_FILE MEMORY_FILE LIMIT_MS\n", stderr);
    return 2;
  }
  /* What ends its parent must not end it: not Ctrl-C in the terminal, not the terminal's end. */
  const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGTSTP};
  for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) signal(ignored[i], SIG_IGN);
  setsid();
  struct controller controller = {.memory_file = argv[3], .limit_us = strtoull(argv[4], NULL, 10) * 1000};
  controller.config = open(argv[2], O_RDWR | O_CLOEXEC);
  if (controller.config < 0) return complain("cannot open", argv[2]);
  const int bar = open(argv[1], O_RDWR | O_CLOEXEC);
  if (bar < 0) return complain("cannot open", argv[1]);
  void *registers = mmap(NULL, BAR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, bar, 0);
  if (registers == MAP_FAILED) return complain("cannot map", argv[1]);
  controller.registers = registers;
  if (write(STDOUT_FILENO, "ready\n", 6) != 6) return complain("cannot write to", "standard output");
  for (char byte;;) {
    const ssize_t got = read(STDIN_FILENO, &byte, 1);
    if (got == 0 || (got < 0 && errno != EINTR)) return finish(&controller);
  }
}
