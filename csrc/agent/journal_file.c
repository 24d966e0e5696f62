/* Journals as files of this user. See journal.h; every rule is in docs/design/undo.md. */
#define _GNU_SOURCE
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_TRIES = 200, LOCK_PAUSE_NS = 5000000, FOLDER_TRIES = 20 };

static int is_ours(const struct stat *info) { return info->st_uid == geteuid() || info->st_uid == 0; }

/* Whether this user and root alone can change a folder and those above it. The path has no links. */
static int is_trusted(const char *path) {
  char at[PATH_MAX];
  struct stat info;
  snprintf(at, sizeof at, "%s", path);
  for (int is_last = 1;; is_last = 0) {
    if (lstat(at[0] == '\0' ? "/" : at, &info) < 0 || !is_ours(&info)) return 0;
    /* A folder above that others may write is harmless while its sticky bit keeps them from renaming what is not theirs. */
    if ((info.st_mode & 022) != 0 && (is_last || (info.st_mode & S_ISVTX) == 0)) return 0;
    char *slash = strrchr(at, '/');
    if (at[0] == '\0' || slash == NULL) return 1;
    *slash = '\0';
  }
}

static int make_folders(const char *path) {
  char at[PATH_MAX];
  const size_t length = strlen(path);
  if (length >= sizeof at) return -ENAMETOOLONG;
  memcpy(at, path, length + 1);
  for (char *slash = at + 1; slash != NULL;) {
    slash = strchr(slash, '/');
    if (slash != NULL) *slash = '\0';
    if (mkdir(at, 0700) == 0) {
      /* The umask may have taken even the owner's bits. */
      if (chmod(at, 0700) < 0) return -errno;
    } else if (errno != EEXIST) {
      return -errno;
    }
    if (slash != NULL) *slash++ = '/';
  }
  return 0;
}

static int wanted_folder(char *to, size_t room) {
  static const char *const HOMES[][2] = {{"XDG_RUNTIME_DIR", "/busbar"}, {"XDG_STATE_HOME", "/busbar/journals"}, {"HOME", "/.local/state/busbar/journals"}};
  const char *explicit = getenv("BUSBAR_JOURNAL_DIR");
  int length = -1;
  if (explicit != NULL && explicit[0] != '\0') {
    length = snprintf(to, room, "%s", explicit);
  } else if (geteuid() == 0) {
    length = snprintf(to, room, "/run/busbar");
  } else {
    for (unsigned i = 0; i < 3 && length < 0; i++) {
      const char *home = getenv(HOMES[i][0]);
      if (home != NULL && home[0] != '\0') length = snprintf(to, room, "%s%s", home, HOMES[i][1]);
    }
  }
  if (length < 0) return -ENOENT;
  if ((size_t)length >= room) return -ENAMETOOLONG;
  return to[0] == '/' ? 0 : -EINVAL;
}

int journal_folder(char *to, size_t room, int make) {
  char wanted[PATH_MAX], found[PATH_MAX];
  int error = wanted_folder(wanted, sizeof wanted);
  if (error == 0 && make) error = make_folders(wanted);
  if (error < 0) return error;
  if (realpath(wanted, found) == NULL) return -errno;
  if (!is_trusted(found)) return -EACCES;
  const int length = snprintf(to, room, "%s", found);
  return length < 0 || (size_t)length >= room ? -ENAMETOOLONG : 0;
}

/* A text of the kernel, without its line feed. */
static void kernel_text(const char *path, char *to, size_t room) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? -1 : read(fd, to, room - 1);
  if (fd >= 0) close(fd);
  to[got < 0 ? 0 : got] = '\0';
  to[strcspn(to, "\n")] = '\0';
}

static void boot_id(char to[64]) { kernel_text("/proc/sys/kernel/random/boot_id", to, 64); }

/* When a process started, in clock ticks since boot: field 22 of stat. Empty where there is none, or it has ended. */
static void start_time(uint64_t pid, char to[32]) {
  char path[40], stat[1024];
  snprintf(path, sizeof path, "/proc/%llu/stat", (unsigned long long)pid);
  kernel_text(path, stat, sizeof stat);
  to[0] = '\0';
  /* The command's name is in parentheses and may hold spaces and parentheses itself. */
  char *at = strrchr(stat, ')');
  /* A zombie has ended: whoever started it has not looked yet. */
  if (at != NULL && strncmp(at, ") Z", 3) == 0) return;
  for (unsigned field = 2; at != NULL && field < 22; field++) at = strchr(at + 1, ' ');
  if (at == NULL) return;
  at++;
  at[strcspn(at, " ")] = '\0';
  if (strlen(at) < 32) memcpy(to, at, strlen(at) + 1);
}

int journal_lock(struct journal *journal, int is_exclusive, unsigned tries) {
  const struct timespec pause = {0, LOCK_PAUSE_NS};
  while (flock(journal->fd, (is_exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return -errno;
    if (--tries == 0) return -EBUSY;
    nanosleep(&pause, NULL);
  }
  return 0;
}

static int create_in(struct journal *journal, const char *started) {
  char folder[MAX_PATH];
  unsigned folders = 0;
  for (unsigned n = 1; n < 10000;) {
    int error = journal_folder(folder, sizeof folder, 1);
    /* Another run may remove the folder at the same moment. */
    if (error == -ENOENT && ++folders < FOLDER_TRIES) continue;
    if (error < 0) return error;
    char suffix[16] = "";
    if (n > 1) snprintf(suffix, sizeof suffix, "-%u", n);
    const int length = snprintf(journal->path, sizeof journal->path, "%s/%u-%s%s.jsonl", folder, (unsigned)getpid(), started, suffix);
    if (length < 0 || (size_t)length >= sizeof journal->path) return -ENAMETOOLONG;
    journal->fd = open(journal->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (journal->fd >= 0) return fchmod(journal->fd, 0600) < 0 ? -errno : 0;
    if (errno == EEXIST) n++;
    else if (errno != ENOENT || ++folders >= FOLDER_TRIES) return -errno;
  }
  return -EEXIST;
}

static unsigned days_of(unsigned year, unsigned month) {
  static const uint8_t DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const int is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return DAYS[month - 1] + (month == 2 && is_leap);
}

/* A moment in UTC. Not by strftime: in a static program it brings locales, time zones and 150 KB. */
static void put_moment(char *to, size_t room, const struct timespec *at) {
  const uint64_t seconds = at->tv_sec > 0 ? (uint64_t)at->tv_sec : 0;
  unsigned year = 1970, month = 1;
  uint64_t days = seconds / 86400;
  for (; days >= days_of(year, month); month = month == 12 ? 1 : month + 1) {
    days -= days_of(year, month);
    if (month == 12) year++;
  }
  const unsigned second = (unsigned)(seconds % 86400);
  snprintf(to, room, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year, month, (unsigned)days + 1, second / 3600, second / 60 % 60, second % 60, (unsigned)(at->tv_nsec / 1000000));
}

static void put_header(struct buffer *line, const char *started, const uint8_t *command, size_t size) {
  char boot[64], words[160], moment[64];
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  put_moment(moment, sizeof moment, &now);
  boot_id(boot);
  snprintf(words, sizeof words, "{\"journal\":2,\"pid\":%u,\"startTime\":\"%s\",\"bootId\":\"%s\",\"command\":", (unsigned)getpid(), started, boot);
  put_words(line, words);
  put_json(line, command, size);
  snprintf(words, sizeof words, ",\"createdAt\":\"%s\"", moment);
  put_words(line, words);
  seal_line(line, 0);
}

int journal_create(struct journal *journal, const uint8_t *command, size_t size) {
  static const uint8_t NOTHING = 0;
  char started[32];
  *journal = (struct journal){.fd = -1};
  start_time((uint64_t)getpid(), started);
  if (started[0] == '\0') return -ESRCH;
  int error = create_in(journal, started);
  if (error == 0) error = journal_lock(journal, 1, LOCK_TRIES);
  struct buffer line = {.limit = MAX_LINE};
  if (error == 0) {
    put_header(&line, started, command == NULL ? &NOTHING : command, size);
    error = line.failed ? -ENOMEM : journal_append(journal, line.bytes, line.size);
  }
  free(line.bytes);
  if (error < 0 && journal->fd >= 0) journal_remove(journal);
  return error;
}

int journal_append(struct journal *journal, const uint8_t *line, size_t size) {
  if (journal->is_broken) return -EIO;
  int error = 0;
  for (size_t done = 0; done < size && error == 0;) {
    const ssize_t put = pwrite(journal->fd, line + done, size - done, (off_t)(journal->end + done));
    if (put > 0) done += (size_t)put;
    else if (put == 0 || errno != EINTR) error = put == 0 ? -ENOSPC : -errno;
  }
  const int was_written = error == 0;
  if (was_written && fdatasync(journal->fd) < 0) error = -errno;
  if (error == 0) {
    journal->end += size;
    return 0;
  }
  /* After a failed fdatasync Linux may drop what was not written: what is on disk is not known any more. */
  if (ftruncate(journal->fd, (off_t)journal->end) < 0 || was_written) journal->is_broken = 1;
  return error;
}

void journal_mark_undone(struct journal *journal, uint64_t offset) {
  /* A failure loses nothing: the next restore finds that the old state is there. */
  if (pwrite(journal->fd, "back", 4, (off_t)(offset + STATE_AT)) == 4) fdatasync(journal->fd);
}

void journal_close(struct journal *journal) {
  if (journal->fd >= 0) close(journal->fd);
  journal->fd = -1;
}

void journal_remove(struct journal *journal) {
  /* The name goes before the lock: nobody else can lock what still has a name. */
  if (unlink(journal->path) == 0) {
    char *slash = strrchr(journal->path, '/');
    *slash = '\0';
    rmdir(journal->path);
    *slash = '/';
  }
  journal_close(journal);
}

static int is_kept_name(const char *name) {
  const size_t length = strlen(name);
  return length > 0 && length < 128 && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-") == length;
}

/* Whether what is kept under a name is of another boot, so that its changes are gone. */
static int is_of_earlier_boot(const char *path) {
  struct journal kept;
  struct contents contents;
  const char *why;
  if (journal_open(&kept, path, 0, &why) < 0) return 0;
  int is_earlier = 0;
  if (journal_read(&kept, &contents) == 0) {
    is_earlier = journal_state(&kept, &contents, 0) == STATE_EARLIER_BOOT;
    free_contents(&contents);
  }
  journal_close(&kept);
  return is_earlier;
}

int journal_keep(struct journal *journal, const char *name) {
  if (!is_kept_name(name)) return -EINVAL;
  char kept[MAX_PATH];
  const int folder = (int)(strrchr(journal->path, '/') - journal->path);
  const int length = snprintf(kept, sizeof kept, "%.*s/kept-%s.jsonl", folder, journal->path, name);
  if (length < 0 || (size_t)length >= sizeof kept) return -ENAMETOOLONG;
  if (is_of_earlier_boot(kept)) unlink(kept);
  if (link(journal->path, kept) < 0) return -errno;
  unlink(journal->path);
  journal_close(journal);
  return 0;
}

int journal_open(struct journal *journal, const char *path, int writable, const char **why) {
  struct stat info;
  *why = NULL;
  *journal = (struct journal){.fd = -1};
  if (strlen(path) >= sizeof journal->path) return -ENAMETOOLONG;
  memcpy(journal->path, path, strlen(path) + 1);
  /* Without O_NONBLOCK a FIFO of that name would be waited for. */
  journal->fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (journal->fd < 0) {
    if (errno != ELOOP) return -errno;
    *why = "it is not a file";
    return -EACCES;
  }
  if (fstat(journal->fd, &info) < 0) *why = "it cannot be looked at";
  else if (!S_ISREG(info.st_mode)) *why = "it is not a file";
  else if (info.st_uid != geteuid()) *why = "it belongs to another user";
  else if ((info.st_mode & 022) != 0) *why = "it may be written by others";
  if (*why == NULL) return 0;
  journal_close(journal);
  return -EACCES;
}

int journal_read(const struct journal *journal, struct contents *to) {
  struct stat info;
  if (fstat(journal->fd, &info) < 0) return -errno;
  const size_t size = info.st_size > MAX_JOURNAL ? (size_t)MAX_JOURNAL : (size_t)info.st_size;
  uint8_t *bytes = malloc(size + 1);
  if (bytes == NULL) return -ENOMEM;
  size_t got = 0;
  while (got < size) {
    const ssize_t piece = pread(journal->fd, bytes + got, size - got, (off_t)got);
    if (piece < 0 && errno == EINTR) continue;
    if (piece <= 0) break;
    got += (size_t)piece;
  }
  const int error = read_contents(bytes, got, to);
  if (error < 0) free_contents(to);
  return error;
}

/* True when a file was last written before this boot. */
static int is_older_than_boot(const struct journal *journal) {
  char line[128] = "";
  struct stat info;
  FILE *file = fopen("/proc/stat", "re");
  unsigned long long booted = 0;
  while (file != NULL && booted == 0 && fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, "btime ", 6) == 0) booted = strtoull(line + 6, NULL, 10);
  }
  if (file != NULL) fclose(file);
  return fstat(journal->fd, &info) == 0 && info.st_mtime >= 0 && (unsigned long long)info.st_mtime < booted;
}

static int is_alive(uint64_t pid, const char *started) {
  char now[32];
  if (pid == 0 || started[0] == '\0') return 0;
  start_time(pid, now);
  return strcmp(now, started) == 0;
}

/* Copies a text member; empty where it does not fit. */
static void copy_member(struct json object, const char *name, char *to, size_t room) {
  struct json value;
  struct text text = {NULL, 0};
  to[0] = '\0';
  if (!json_member(object, name, &value) || json_text(value, &text) < 0) return;
  if (text.bytes != NULL && text.size < room) memcpy(to, text.bytes, text.size + 1);
  free(text.bytes);
}

enum journal_state journal_state(const struct journal *journal, const struct contents *contents, int is_locked) {
  const char *name = strrchr(journal->path, '/') + 1;
  uint64_t pid = 0;
  char started[32] = "", then[64], now[64];
  if (contents->has_header) {
    struct json value;
    if (json_member(contents->header, "pid", &value)) json_count(value, &pid);
    copy_member(contents->header, "startTime", started, sizeof started);
    copy_member(contents->header, "bootId", then, sizeof then);
    boot_id(now);
    if (strcmp(then, now) != 0) return STATE_EARLIER_BOOT;
  } else {
    char *behind;
    pid = strtoull(name, &behind, 10);
    if (*behind == '-') snprintf(started, sizeof started, "%.*s", (int)strspn(behind + 1, "0123456789"), behind + 1);
    if (is_older_than_boot(journal)) return STATE_EARLIER_BOOT;
  }
  if (is_locked) return is_alive(pid, started) ? STATE_ALIVE : STATE_LOCKED;
  if (strncmp(name, "kept-", 5) == 0) return STATE_KEPT;
  return is_alive(pid, started) ? STATE_ALIVE : STATE_DEAD;
}
