/*
 * Runs the real nvme-cli many times for the price of starting it once. Preloaded into it, this calls main in a child that
 * is forked before main, once for each page or once for each command line.
 *
 * For pages, it answers the ioctl that sends an admin command from a file, so that no controller is needed: `nvme id-ctrl
 * /dev/null` shows the page. What the children print follows one another on standard output, a NUL behind each.
 *
 *   BUSBAR_PAGES       the file: pages of BUSBAR_PAGE_BYTES bytes each
 *   BUSBAR_PAGE_BYTES  bytes of a page
 *   BUSBAR_PAGE_OPCODE admin opcode that a page answers: 6 Identify, 2 Get Log Page
 *   BUSBAR_PAGE_ID     CNS or log identifier that a page answers
 *
 * Every other Identify is answered with a controller that has room for what the logs hold; every other command fails.
 *
 * For command lines, everything goes to the kernel as ever. What command n prints goes to the file n (from 0) of a folder;
 * standard output says how each ended, as waitpid has it, one number a line.
 *
 *   BUSBAR_COMMANDS    the file: words, a NUL behind each; an empty word ends a command line
 *   BUSBAR_OUTPUTS     the folder
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

enum { OPCODE_GET_LOG_PAGE = 0x02, OPCODE_IDENTIFY = 0x06, IDENTIFY_BYTES = 4096, NVME_INVALID_FIELD = 0x2 };

/* Bytes of Identify Controller: entries of the error log, ANA groups, namespaces. */
enum { ELPE = 262, NANAGRPID = 348, MNAN = 540 };

typedef int (*main_function)(int, char **, char **);
typedef int (*start_function)(main_function, int, char **, void (*)(void), void (*)(void), void (*)(void), void *);
typedef int (*ioctl_function)(int, unsigned long, ...);

static main_function real_main;
static const uint8_t *page; /* the one that the next command gets; NULL where the kernel answers */
static size_t page_bytes;
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
  if (length == IDENTIFY_BYTES) {
    data[ELPE] = 0xff;
    data[NANAGRPID] = 8;
    data[MNAN] = 128;
  }
  return 0;
}

EXPORT int ioctl(int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void *argument = va_arg(list, void *);
  va_end(list);
  /* The two structs differ only in the result behind these fields. */
  if (page != NULL && (request == NVME_IOCTL_ADMIN_CMD || request == NVME_IOCTL_ADMIN64_CMD)) {
    struct nvme_passthru_cmd *command = argument;
    const uint64_t offset =
        command->opcode == OPCODE_GET_LOG_PAGE ? (uint64_t)command->cdw13 << 32 | command->cdw12 : 0;
    return answer(command->opcode, command->cdw10, offset, (uint8_t *)(uintptr_t)command->addr, command->data_len);
  }
  const ioctl_function next = __extension__(ioctl_function)dlsym(RTLD_NEXT, "ioctl");
  return next(fd, request, argument);
}

/* ---- a file of pages or words ------------------------------------------------------------------------------------ */

struct file {
  uint8_t *bytes;
  size_t size;
};

/* Private and writable, because main may write to its arguments. */
static struct file map_file(const char *variable) {
  const char *path = getenv(variable);
  const int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0) fail(variable);
  struct file file = {NULL, (size_t)info.st_size};
  file.bytes = mmap(NULL, file.size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  if (file.bytes == MAP_FAILED) fail(variable);
  close(fd);
  return file;
}

static int wait_for(pid_t child) {
  int status = 0;
  if (child < 0) fail("fork");
  if (waitpid(child, &status, 0) != child) fail("waitpid");
  return status;
}

/* ---- one main for each page -------------------------------------------------------------------------------------- */

static int main_for_each_page(int argc, char **argv, char **environment) {
  const struct file pages = map_file("BUSBAR_PAGES");
  page_bytes = setting("BUSBAR_PAGE_BYTES");
  page_opcode = setting("BUSBAR_PAGE_OPCODE");
  page_id = setting("BUSBAR_PAGE_ID");
  if (page_bytes == 0) fail("BUSBAR_PAGE_BYTES");
  for (size_t at = 0; at + page_bytes <= pages.size; at += page_bytes) {
    const pid_t child = fork();
    if (child == 0) {
      page = pages.bytes + at;
      return real_main(argc, argv, environment);
    }
    const int status = wait_for(child);
    if (status != 0) {
      fprintf(stderr, "nvme-cli preload: page %zu ended with status 0x%x\n", at / page_bytes, (unsigned)status);
      return 1;
    }
    if (write(STDOUT_FILENO, "", 1) != 1) fail("write");
  }
  return 0;
}

/* ---- one main for each command line ------------------------------------------------------------------------------ */

enum { WORDS_MAX = 32 };

/* Finds the words of the command line at `at`; returns where the next one begins. */
static size_t read_words(const struct file *file, size_t at, char **words, int *count) {
  *count = 0;
  while (at < file->size) {
    char *word = (char *)file->bytes + at;
    const size_t length = strnlen(word, file->size - at);
    if (at + length == file->size) fail("a word without its end");
    at += length + 1;
    if (length == 0) break;
    if (*count == WORDS_MAX - 1) fail("too many words");
    words[(*count)++] = word;
  }
  words[*count] = NULL;
  return at;
}

static void redirect_output(const char *folder, unsigned number) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%u", folder, number);
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0) fail(path);
}

static int main_for_each_command(char **environment) {
  const struct file file = map_file("BUSBAR_COMMANDS");
  const char *folder = getenv("BUSBAR_OUTPUTS");
  if (folder == NULL) fail("BUSBAR_OUTPUTS");
  unsigned number = 0;
  for (size_t at = 0; at < file.size; number++) {
    char *words[WORDS_MAX];
    int count;
    at = read_words(&file, at, words, &count);
    const pid_t child = fork();
    if (child == 0) {
      redirect_output(folder, number);
      return real_main(count, words, environment);
    }
    dprintf(STDOUT_FILENO, "%d\n", wait_for(child));
  }
  return 0;
}

static int many_mains(int argc, char **argv, char **environment) {
  if (getenv("BUSBAR_PAGES") != NULL) return main_for_each_page(argc, argv, environment);
  if (getenv("BUSBAR_COMMANDS") != NULL) return main_for_each_command(environment);
  return real_main(argc, argv, environment);
}

EXPORT int __libc_start_main(main_function main, int argc, char **argv, void (*init)(void), void (*fini)(void),
                             void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(main_function main, int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end) {
  const start_function start = __extension__(start_function)dlsym(RTLD_NEXT, "__libc_start_main");
  real_main = main;
  return start(many_mains, argc, argv, init, fini, rtld_fini, stack_end);
}
