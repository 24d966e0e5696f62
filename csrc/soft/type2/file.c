/*
 * The shared-file transport: registers, DATA and BAR4 lie in a file that a guest, or any process of the machine, maps too.
 *
 * Nobody sees a write to CMD happen, so a client hands a command over by SUBMIT, and the device says by DONE that it is
 * finished. The device never believes a register that only it may write: it keeps its own, and writes them into the file
 * after each command.
 *
 * Somebody may cut the file short. Each access would then raise SIGBUS, in kernels too, so a handler puts ordinary memory
 * in the place of the device's mapping, and the device stops serving: an error of that guest and of nobody else.
 */
#define _GNU_SOURCE
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPIN_US = 50, LEAST_REST_US = 50, MOST_REST_US = 1000, HEARTBEAT_US = 50000, MOST_FILES = 64 };
enum { AWAKE_US = 20000, DOORBELL_MS = 50 };

struct shared {
  char path[4096];
  int fd;
  uint8_t *base;
  uint64_t size;
  bool is_ours; /* it was made or taken over, so it is ours to delete */
  pthread_t server, heart;
  bool has_server, has_heart;
  uint32_t done, heartbeat;
  atomic_int state; /* 0, or -EIO, -ENOENT */
};

/* ---- a file that was cut short --------------------------------------------------------------------------------------- */

struct guarded {
  _Atomic(uint8_t *) base;
  _Atomic(uint64_t) size;
  _Atomic(struct shared *) shared;
};
static struct guarded guarded[MOST_FILES];
static struct sigaction previous;
static pthread_once_t handler_once = PTHREAD_ONCE_INIT;

/* Only calls that a signal handler may make: mmap is a bare system call. */
static void on_bus_error(int signal_number, siginfo_t *info, void *context) {
  uint8_t *at = info->si_addr;
  for (int i = 0; i < MOST_FILES; i++) {
    uint8_t *base = atomic_load_explicit(&guarded[i].base, memory_order_acquire);
    const uint64_t size = atomic_load_explicit(&guarded[i].size, memory_order_relaxed);
    if (base == NULL || at < base || (uint64_t)(at - base) >= size) continue;
    struct shared *shared = atomic_load_explicit(&guarded[i].shared, memory_order_relaxed);
    atomic_store_explicit(&shared->state, -EIO, memory_order_relaxed);
    const int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    if (mmap(base, size, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED) return;
  }
  if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != NULL) {
    previous.sa_sigaction(signal_number, info, context);
    return;
  }
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal_number);
    return;
  }
  /* Not ours: the access is repeated and ends the process, as it would have. */
  signal(SIGBUS, SIG_DFL);
}

static void install_handler(void) {
  struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &previous);
}

static bool guard(struct shared *shared) {
  pthread_once(&handler_once, install_handler);
  for (int i = 0; i < MOST_FILES; i++) {
    struct shared *nobody = NULL;
    if (!atomic_compare_exchange_strong(&guarded[i].shared, &nobody, shared)) continue;
    atomic_store_explicit(&guarded[i].size, shared->size, memory_order_relaxed);
    /* Release: a handler that sees the place sees its size too. */
    atomic_store_explicit(&guarded[i].base, shared->base, memory_order_release);
    return true;
  }
  return false;
}

static void unguard(struct shared *shared) {
  for (int i = 0; i < MOST_FILES; i++) {
    if (atomic_load_explicit(&guarded[i].shared, memory_order_relaxed) != shared) continue;
    atomic_store_explicit(&guarded[i].base, NULL, memory_order_release);
    atomic_store_explicit(&guarded[i].shared, NULL, memory_order_release);
  }
}

/* ---- opening --------------------------------------------------------------------------------------------------------- */

static int refuse(char *why, uint32_t why_size, int result, const char *words) {
  snprintf(why, why_size, "%s", words);
  return result;
}

/* Makes the file, or takes over one that a server left behind which was killed. Its inode stays, so that a guest which has
 * it mapped meets the next server there. */
static int open_file(struct shared *shared, bool adopts, char *why, uint32_t why_size) {
  const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
  bool is_new = true;
  shared->fd = open(shared->path, flags | O_CREAT | O_EXCL, 0600);
  if (shared->fd < 0 && errno == EEXIST) {
    is_new = false;
    shared->fd = open(shared->path, flags | O_NONBLOCK);
  }
  if (shared->fd < 0) return -errno;
  /* An open file description's lock: clients use flock on the same file, which is another kind. */
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  if (fcntl(shared->fd, F_OFD_SETLK, &whole) != 0) {
    return refuse(why, why_size, -EBUSY, "another server has this file");
  }
  shared->is_ours = is_new;
  if (is_new) return ftruncate(shared->fd, (off_t)shared->size) == 0 ? 0 : -errno;
  struct stat info;
  if (fstat(shared->fd, &info) != 0) return -errno;
  if (!S_ISREG(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 022) != 0 || (!adopts && (info.st_mode & 044) != 0)) {
    return refuse(why, why_size, -EEXIST, "a file is there that is not this user's alone");
  }
  uint32_t magic[2] = {0, 0};
  if (adopts && info.st_size == (off_t)shared->size) {
    /* Somebody else, a virtual machine, made the file and deletes it. */
    shared->is_ours = false;
    return 0;
  }
  if (pread(shared->fd, &magic[0], 4, REG_MAGIC) != 4 || pread(shared->fd, &magic[1], 4, REG_EXT_MAGIC) != 4 ||
      magic[0] != TYPE2_MAGIC || magic[1] != TYPE2_EXT_MAGIC) {
    return refuse(why, why_size, -EEXIST, "a file is there that no server made");
  }
  shared->is_ours = true;
  if ((uint64_t)info.st_size != shared->size) {
    shared->is_ours = false;
    return refuse(why, why_size, -EEXIST, "a server left a file of another size there");
  }
  return 0;
}

int shared_open(struct type2 *device, const char *path, uint64_t size, char *why, uint32_t why_size) {
  if (size < TYPE2_FILE_LEAST_BYTES || (size & (size - 1)) != 0) {
    return refuse(why, why_size, -EINVAL, "the size is a power of two, at least 16 MiB");
  }
  struct shared *shared = calloc(1, sizeof *shared);
  if (shared == NULL) return -ENOMEM;
  device->shared = shared;
  shared->fd = -1;
  shared->size = size;
  if (strlen(path) >= sizeof shared->path) return -ENAMETOOLONG;
  strcpy(shared->path, path);
  int failed = open_file(shared, device->settings.adopts, why, why_size);
  if (failed != 0) return failed;
  /* Room is taken now: a full file system is an error here, and not a SIGBUS later. */
  failed = posix_fallocate(shared->fd, 0, (off_t)size);
  if (failed != 0) return -failed;
  shared->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, shared->fd, 0);
  if (shared->base == MAP_FAILED) {
    shared->base = NULL;
    return -errno;
  }
  if (!guard(shared)) return refuse(why, why_size, -EMFILE, "a process serves at most 64 files");
  uint32_t epoch;
  memcpy(&epoch, shared->base + REG_EPOCH, sizeof epoch);
  device->epoch = epoch + 1;
  /* What an earlier server left is none of the next guest's. */
  memset(shared->base + TYPE2_DATA_OFFSET, 0, TYPE2_FILE_BAR4_OFFSET - TYPE2_DATA_OFFSET);
  device->data = shared->base + TYPE2_DATA_OFFSET;
  device->bar4 = shared->base + TYPE2_FILE_BAR4_OFFSET;
  device->bar4_bytes = size - TYPE2_FILE_BAR4_OFFSET;
  return 0;
}

/* ---- serving --------------------------------------------------------------------------------------------------------- */

static uint32_t *word(const struct shared *shared, uint32_t offset) { return (uint32_t *)(void *)(shared->base + offset); }

/* Writes all registers that are the device's into the file. */
void shared_publish(struct type2 *device) {
  const struct shared *shared = device->shared;
  if (shared == NULL || shared->base == NULL) return;
  put32(device, REG_HEARTBEAT, __atomic_load_n(&shared->heartbeat, __ATOMIC_RELAXED));
  put32(device, REG_DONE, shared->done);
  for (uint32_t offset = 0; offset < REGISTER_BYTES; offset += 4) {
    /* DONE comes last, by itself: it says that the rest is there. */
    if (register_is_writable(offset) || offset == REG_DONE || offset == REG_HEARTBEAT) continue;
    const uint32_t value = get32(device, offset);
    __atomic_store_n(word(shared, offset), value, __ATOMIC_RELAXED);
  }
}

static void serve_one(struct type2 *device, uint32_t submit) {
  struct shared *shared = device->shared;
  struct command command = {.code = __atomic_load_n(word(shared, REG_CMD), __ATOMIC_RELAXED)};
  for (uint32_t i = 0; i < 8; i++) {
    const uint64_t *place = (const uint64_t *)(const void *)(shared->base + REG_PARAM0 + 8 * i);
    command.params[i] = __atomic_load_n(place, __ATOMIC_RELAXED);
  }
  command.session_id = __atomic_load_n(word(shared, REG_SESSION), __ATOMIC_RELAXED);
  pthread_mutex_lock(&device->lock);
  __atomic_store_n(word(shared, REG_CMD_STATUS), COMMAND_RUNNING, __ATOMIC_RELAXED);
  __atomic_store_n(word(shared, REG_STATUS), STATUS_READY | STATUS_BUSY, __ATOMIC_RELAXED);
  device_run(device, &command);
  /* A guest that ran ahead gets one command done, and starts anew behind it. */
  shared->done = submit;
  shared_publish(device);
  pthread_mutex_unlock(&device->lock);
  /* Release: who sees DONE sees results, DATA and BAR4 as the command left them. */
  __atomic_store_n(word(shared, REG_DONE), submit, __ATOMIC_RELEASE);
}

static void *serve(void *argument) {
  struct type2 *device = argument;
  struct shared *shared = device->shared;
  prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  uint64_t idle_since = now_us();
  uint32_t rest_us = LEAST_REST_US;
  while (!atomic_load_explicit(&device->is_ending, memory_order_relaxed)) {
    if (atomic_load_explicit(&shared->state, memory_order_relaxed) != 0) break;
    /* Acquire: PARAMs, CMD and DATA were written before. */
    const uint32_t submit = __atomic_load_n(word(shared, REG_SUBMIT), __ATOMIC_ACQUIRE);
    if (submit != shared->done) {
      serve_one(device, submit);
      idle_since = now_us();
      rest_us = LEAST_REST_US;
      continue;
    }
    if (now_us() - idle_since < SPIN_US) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
      continue;
    }
    /* A guest with a doorbell rings it. Processes of this machine cannot, so for a while after a command it looks by itself. */
    if (device->doorbell != NULL && now_us() - idle_since > AWAKE_US) {
      doorbell_wait(device, DOORBELL_MS);
      continue;
    }
    rest_for(rest_us);
    rest_us = rest_us < MOST_REST_US ? 2 * rest_us : MOST_REST_US;
    if (rest_us > MOST_REST_US) rest_us = MOST_REST_US;
  }
  return NULL;
}

/* Beats also while a command runs, and watches the file. */
static void *beat(void *argument) {
  struct type2 *device = argument;
  struct shared *shared = device->shared;
  while (!atomic_load_explicit(&device->is_ending, memory_order_relaxed)) {
    const uint32_t next = __atomic_add_fetch(&shared->heartbeat, 1, __ATOMIC_RELAXED);
    struct stat info;
    if (fstat(shared->fd, &info) != 0 || (uint64_t)info.st_size < shared->size) {
      atomic_store_explicit(&shared->state, -EIO, memory_order_relaxed);
    } else if (info.st_nlink == 0) {
      int fine = 0;
      atomic_compare_exchange_strong(&shared->state, &fine, -ENOENT);
    }
    if (atomic_load_explicit(&shared->state, memory_order_relaxed) != 0) break;
    __atomic_store_n(word(shared, REG_HEARTBEAT), next, __ATOMIC_RELAXED);
    rest_for(HEARTBEAT_US);
  }
  return NULL;
}

void shared_registers(struct type2 *device) {
  if (device->shared == NULL) return;
  put32(device, REG_EXT_FLAGS, EXT_SHARED_MEMORY | (device->doorbell == NULL ? 0 : EXT_DOORBELL));
  put32(device, REG_DOORBELL, device->doorbell == NULL ? 0 : DOORBELL_VALUE);
  put64(device, REG_BAR4_OFFSET, TYPE2_FILE_BAR4_OFFSET);
}

int shared_start(struct type2 *device) {
  struct shared *shared = device->shared;
  shared_registers(device);
  /* A command that was handed over to an earlier server is not this one's: nobody waits for it any more. */
  shared->done = __atomic_load_n(word(shared, REG_SUBMIT), __ATOMIC_RELAXED);
  __atomic_store_n(word(shared, REG_CMD), 0, __ATOMIC_RELAXED);
  shared_publish(device);
  __atomic_store_n(word(shared, REG_DONE), shared->done, __ATOMIC_RELEASE);
  if (pthread_create(&shared->heart, NULL, beat, device) != 0) return -EAGAIN;
  shared->has_heart = true;
  if (pthread_create(&shared->server, NULL, serve, device) != 0) return -EAGAIN;
  shared->has_server = true;
  return 0;
}

/* The device is still whole while its threads end; its memory stays mapped until the backend has let go of it. */
void shared_close(struct type2 *device) {
  struct shared *shared = device->shared;
  if (shared == NULL) return;
  atomic_store_explicit(&device->is_ending, true, memory_order_relaxed);
  if (shared->has_server) pthread_join(shared->server, NULL);
  if (shared->has_heart) pthread_join(shared->heart, NULL);
  shared->has_server = shared->has_heart = false;
}

int shared_descriptor(const struct type2 *device) { return device->shared == NULL ? -1 : device->shared->fd; }

int32_t shared_state(const struct type2 *device) {
  return device->shared == NULL ? 0 : atomic_load_explicit(&device->shared->state, memory_order_relaxed);
}

void shared_remove(const struct type2 *device) {
  const struct shared *shared = device->shared;
  if (shared == NULL || !shared->is_ours || shared->fd < 0) return;
  /* Only while the name is still this file's. */
  struct stat ours, there;
  if (fstat(shared->fd, &ours) == 0 && lstat(shared->path, &there) == 0 && ours.st_ino == there.st_ino &&
      ours.st_dev == there.st_dev) {
    unlink(shared->path);
  }
}

void shared_free(struct type2 *device) {
  struct shared *shared = device->shared;
  if (shared == NULL) return;
  shared_remove(device);
  if (shared->base != NULL) {
    unguard(shared);
    munmap(shared->base, shared->size);
  }
  if (shared->fd >= 0) close(shared->fd);
  free(shared);
  device->shared = NULL;
}
