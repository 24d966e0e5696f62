/* Programs that are talked to over pipes, by callers that wait. See busbar.h for the rules. */
#define _GNU_SOURCE
#include "busbar.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_WORDS = 128, MAX_SLICE_MS = 50 };

extern char **environ;

/* words: count strings with a zero byte behind each, size bytes in all. */
static int32_t split_words(char *words, uint64_t size, uint32_t count, char **out) {
  if (count == 0 || count >= MAX_WORDS || size == 0 || words[size - 1] != '\0') return -EINVAL;
  char *at = words;
  for (uint32_t i = 0; i < count; i++) {
    if (at >= words + size) return -EINVAL;
    out[i] = at;
    at += strlen(at) + 1;
  }
  out[count] = NULL;
  return at == words + size ? 0 : -EINVAL;
}

static void close_all(int fds[6]) {
  for (unsigned i = 0; i < 6; i++) {
    if (fds[i] >= 0) close(fds[i]);
  }
}

/* Three pipes: input, output and error output of the program. */
static int32_t make_pipes(int fds[6]) {
  for (unsigned i = 0; i < 6; i++) fds[i] = -1;
  for (unsigned i = 0; i < 3; i++) {
    if (pipe2(fds + 2 * i, O_CLOEXEC) < 0) {
      const int error = errno;
      close_all(fds);
      return -error;
    }
  }
  return 0;
}

static int32_t spawn(char *const *argv, const int fds[6], pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t all;
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0) return -error;
  error = posix_spawnattr_init(&attributes);
  if (error == 0) {
    posix_spawn_file_actions_adddup2(&actions, fds[0], 0);
    posix_spawn_file_actions_adddup2(&actions, fds[3], 1);
    posix_spawn_file_actions_adddup2(&actions, fds[5], 2);
    /* A group of its own: Ctrl-C is for this process, which still needs the program to put things back. */
    posix_spawnattr_setpgroup(&attributes, 0);
    sigfillset(&all);
    posix_spawnattr_setsigdefault(&attributes, &all);
    sigemptyset(&all);
    posix_spawnattr_setsigmask(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    error = posix_spawnp(pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&actions);
  return -error;
}

int32_t bb_process_start(char *words, uint64_t size, uint32_t count, int32_t *out) {
  char *argv[MAX_WORDS];
  int fds[6];
  if (words == NULL || out == NULL) return -EINVAL;
  int32_t result = split_words(words, size, count, argv);
  if (result == 0) result = make_pipes(fds);
  if (result < 0) return result;
  pid_t pid = 0;
  result = spawn(argv, fds, &pid);
  close(fds[0]);
  close(fds[3]);
  close(fds[5]);
  if (result < 0) {
    close(fds[1]);
    close(fds[2]);
    close(fds[4]);
    return result;
  }
  const int ours[] = {fds[1], fds[2], fds[4]};
  for (unsigned i = 0; i < 3; i++) fcntl(ours[i], F_SETFL, O_NONBLOCK);
  out[0] = (int32_t)pid;
  for (unsigned i = 0; i < 3; i++) out[1 + i] = ours[i];
  return 0;
}

/* Writes without the signal that a pipe without a reader brings. */
static ssize_t write_quietly(int fd, const void *from, size_t size) {
  sigset_t pipe_only, before, pending;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  const int was_pending = sigismember(&pending, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
  const ssize_t put = write(fd, from, size);
  const int error = errno;
  if (put < 0 && error == EPIPE && !was_pending) {
    const struct timespec none = {0, 0};
    sigtimedwait(&pipe_only, NULL, &none);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = error;
  return put;
}

int32_t bb_process_exchange(int32_t in, int32_t out, const void *from, uint32_t size, uint32_t *sent, void *to, uint32_t room,
                            uint32_t limit_ms) {
  if (sent == NULL || *sent > size || (from == NULL && size > 0) || (to == NULL && room > 0) || limit_ms > MAX_SLICE_MS ||
      room > INT32_MAX) {
    return -EINVAL;
  }
  const uint64_t end = now_us() + (uint64_t)limit_ms * 1000;
  for (;;) {
    struct pollfd waited[] = {{.fd = *sent < size ? in : -1, .events = POLLOUT}, {.fd = room > 0 ? out : -1, .events = POLLIN}};
    const uint64_t now = now_us();
    const int ready = poll(waited, 2, now >= end ? 0 : (int)((end - now + 999) / 1000));
    if (ready < 0 && errno != EINTR) return -errno;
    if (ready > 0 && waited[1].revents != 0) {
      const ssize_t got = read(out, to, room);
      if (got > 0) return (int32_t)got;
      if (got == 0) return -EPIPE;
      if (errno != EAGAIN && errno != EINTR) return -errno;
    }
    if (ready > 0 && waited[0].revents != 0) {
      const ssize_t put = write_quietly(in, (const char *)from + *sent, size - *sent);
      if (put > 0) *sent += (uint32_t)put;
      else if (put < 0 && errno != EAGAIN && errno != EINTR) return -errno;
      if (*sent == size && room == 0) return 0;
    }
    if (now >= end) return 0;
  }
}

int32_t bb_process_wait(int32_t pid, uint32_t limit_ms, int32_t *status) {
  if (pid <= 0 || status == NULL || limit_ms > MAX_SLICE_MS) return -EINVAL;
  const uint64_t end = now_us() + (uint64_t)limit_ms * 1000;
  for (;;) {
    int raw = 0;
    const pid_t ended = waitpid(pid, &raw, WNOHANG);
    if (ended < 0 && errno != EINTR) return -errno;
    if (ended == pid) {
      *status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
      return 1;
    }
    if (now_us() >= end) return 0;
    const struct timespec rest = {0, 1000000};
    nanosleep(&rest, NULL);
  }
}

int32_t bb_process_kill(int32_t pid) {
  if (pid <= 0) return -EINVAL;
  return kill(-pid, SIGKILL) == 0 ? 0 : -errno;
}
