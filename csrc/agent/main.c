/* busbar-agent: reads frames from standard input, answers on standard output, and ends with its input. See agent.h. */
#define _GNU_SOURCE
#include "agent.h"
#include "busbar.h"
#include "handles.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t is_ended;
static void end(int number) { (void)number, is_ended = 1; }

/* Reads exactly so much. 1, or 0 at the end of the input or after a signal that ends the agent. */
static int read_all(int fd, void *to, size_t size) {
  for (size_t done = 0; done < size;) {
    if (is_ended) return 0;
    const ssize_t got = read(fd, (char *)to + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return 0;
    done += (size_t)got;
  }
  return 1;
}

static int write_all(int fd, const void *from, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t put = write(fd, (const char *)from + done, size - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return 0;
    done += (size_t)put;
  }
  return 1;
}

static int serve(int in, int out_fd) {
  struct buffer out = {.limit = MAX_ANSWER};
  uint8_t head[4];
  int status = 0;
  while (status == 0 && read_all(in, head, sizeof head)) {
    const uint64_t size = get_number(head, 4);
    uint8_t *request = size > MAX_REQUEST ? NULL : malloc(size + 1);
    if (request == NULL) {
      fprintf(stderr, "busbar-agent: a request of %llu bytes; at most %d are taken\n", (unsigned long long)size, MAX_REQUEST);
      status = 2;
      break;
    }
    if (read_all(in, request, size)) {
      out.size = 0;
      out.failed = 0;
      if (answer(request, size, &out) < 0) {
        fprintf(stderr, "busbar-agent: a request that is none\n");
        status = 2;
      } else if (!write_all(out_fd, out.bytes, out.size)) {
        status = 1;
      }
    }
    free(request);
    if (out.room > MAX_READ) {
      /* One large answer does not keep its memory. */
      free(out.bytes);
      out.bytes = NULL;
      out.room = 0;
    }
  }
  free(out.bytes);
  return status;
}

static int usage(void) {
  fprintf(stderr, "busbar-agent [--write] [--accelerator] [--root FOLDER] [--step-by-step] | --version | restore [--root FOLDER] [JOURNAL]\n");
  return 2;
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "restore") == 0) return journal_command(argc - 2, argv + 2);
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--write") == 0) options.rights |= 1u << RIGHT_WRITE;
    else if (strcmp(argv[i], "--accelerator") == 0) options.rights |= 1u << RIGHT_ACCELERATOR;
    else if (strcmp(argv[i], "--step-by-step") == 0) options.step_by_step = 1;
    else if (strcmp(argv[i], "--root") == 0 && i + 1 < argc) options.root = argv[++i];
    else if (strcmp(argv[i], "--version") == 0) return printf("busbar-agent %d\n", AGENT_PROTOCOL_VERSION) < 0;
    else return usage();
  }
  const int begun = path_begin();
  if (begun < 0) {
    fprintf(stderr, "busbar-agent: %s: %s\n", options.root, strerror(-begun));
    return 1;
  }
  /* A reader that is gone is an error of write, and the end: what was changed is put back before the agent ends. */
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  /* Without SA_RESTART, so that a read comes back. */
  const struct sigaction ending = {.sa_handler = end};
  sigaction(SIGTERM, &ending, NULL);
  sigaction(SIGINT, &ending, NULL);
  bb_guard_install();
  /* What the shell printed before this line is not for us: the other side looks for it. */
  char ready[40];
  const int length = snprintf(ready, sizeof ready, "\nbusbar-agent ready %d\n", AGENT_PROTOCOL_VERSION);
  const int status = write_all(STDOUT_FILENO, ready, (size_t)length) ? serve(STDIN_FILENO, STDOUT_FILENO) : 1;
  handle_close_all();
  journal_lost();
  return status;
}
