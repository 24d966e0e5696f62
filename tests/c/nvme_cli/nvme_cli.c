/*
 * Lets the real nvme-cli decode pages of ours. Preloaded into it, this answers the ioctl that sends an admin command from
 * a file of pages, so that no controller is needed: `nvme id-ctrl /dev/null` shows the page.
 *
 * Starting a program costs more than decoding a page. So main is started once for each page, in a child that is forked
 * before main: what the children print follows one another on standard output, a NUL behind each.
 *
 *   BUSBAR_PAGES       the file: pages of BUSBAR_PAGE_BYTES bytes each
 *   BUSBAR_PAGE_BYTES  bytes of a page
 *   BUSBAR_PAGE_OPCODE admin opcode that a page answers: 6 Identify, 2 Get Log Page
 *   BUSBAR_PAGE_ID     CNS or log identifier that a page answers
 *
 * Every other Identify is answered with a controller that keeps 256 errors; every other command fails.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { OPCODE_GET_LOG_PAGE = 0x02, OPCODE_IDENTIFY = 0x06, ELPE = 262, NVME_INVALID_FIELD = 0x2 };

typedef int (*main_function)(int, char **, char **);
typedef int (*start_function)(main_function, int, char **, void (*)(void), void (*)(void), void (*)(void), void *);
typedef int (*ioctl_function)(int, unsigned long, ...);

static main_function real_main;
static const uint8_t *pages, *page;
static size_t page_bytes, pages_bytes;
static unsigned long page_opcode, page_id;

static void fail(const char *what) {
  fprintf(stderr, "nvme-cli preload: %s: %s\n", what, strerror(errno));
  _exit(125);
}

static unsigned long setting(const char *name) {
  const char *text = getenv(name);
  if (text == NULL) fail(name);
  return strtoul(text, NULL, 0);
}

/* ---- answering commands ------------------------------------------------------------------------------------------ */

static int answer(uint8_t opcode, uint32_t cdw10, uint64_t offset, uint8_t *data, uint32_t length) {
  memset(data, 0, length);
  if (opcode == page_opcode && (cdw10 & 0xff) == page_id) {
    if (offset >= page_bytes) return 0;
    memcpy(data, page + offset, length < page_bytes - offset ? length : page_bytes - offset);
    return 0;
  }
  if (opcode != OPCODE_IDENTIFY) return NVME_INVALID_FIELD;
  if (length > ELPE) data[ELPE] = 0xff;
  return 0;
}

EXPORT int ioctl(int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void *argument = va_arg(list, void *);
  va_end(list);
  /* The two structs differ only in the result behind these fields. */
  if (request == NVME_IOCTL_ADMIN_CMD || request == NVME_IOCTL_ADMIN64_CMD) {
    struct nvme_passthru_cmd *command = argument;
    const uint64_t offset =
        command->opcode == OPCODE_GET_LOG_PAGE ? (uint64_t)command->cdw13 << 32 | command->cdw12 : 0;
    return answer(command->opcode, command->cdw10, offset, (uint8_t *)(uintptr_t)command->addr, command->data_len);
  }
  const ioctl_function next = __extension__(ioctl_function)dlsym(RTLD_NEXT, "ioctl");
  return next(fd, request, argument);
}

/* ---- one main for each page -------------------------------------------------------------------------------------- */

static void map_pages(void) {
  const char *path = getenv("BUSBAR_PAGES");
  const int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0) fail("BUSBAR_PAGES");
  page_bytes = setting("BUSBAR_PAGE_BYTES");
  page_opcode = setting("BUSBAR_PAGE_OPCODE");
  page_id = setting("BUSBAR_PAGE_ID");
  pages_bytes = (size_t)info.st_size;
  pages = mmap(NULL, pages_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  if (pages == MAP_FAILED || page_bytes == 0) fail("map the pages");
  close(fd);
}

static int main_for_each_page(int argc, char **argv, char **environment) {
  map_pages();
  for (size_t at = 0; at + page_bytes <= pages_bytes; at += page_bytes) {
    const pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
      page = pages + at;
      return real_main(argc, argv, environment);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child) fail("waitpid");
    if (status != 0) {
      fprintf(stderr, "nvme-cli preload: page %zu ended with status 0x%x\n", at / page_bytes, (unsigned)status);
      return 1;
    }
    if (write(STDOUT_FILENO, "", 1) != 1) fail("write");
  }
  return 0;
}

EXPORT int __libc_start_main(main_function main, int argc, char **argv, void (*init)(void), void (*fini)(void),
                             void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(main_function main, int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end) {
  const start_function start = __extension__(start_function)dlsym(RTLD_NEXT, "__libc_start_main");
  real_main = main;
  return start(main_for_each_page, argc, argv, init, fini, rtld_fini, stack_end);
}
