/*
 * The undo journal of this host: docs/design/undo.md has the format, which src/core/undo writes and reads too.
 * From below: what lies in a file (journal_lines.c), files and folders (journal_file.c), putting back (roll_back.c), and what
 * frames ask for (journal.c).
 */
#ifndef BUSBAR_AGENT_JOURNAL_H
#define BUSBAR_AGENT_JOURNAL_H

#include "json.h"

enum {
  STATE_AT = 10,                       /* where "open" or "back" stands in a line: behind {"state":" */
  MAX_JOURNAL = 256 << 20,
  MAX_LINE = MAX_READ,
};

/* A change in a journal. The parts lie in the contents that it was read from. */
struct entry {
  uint64_t seq, offset;
  int is_undone, has_after;
  struct json members, after;
};

struct result {
  uint64_t line, seq;
  struct json after;
};

struct damage {
  uint64_t line;
  const char *reason;
};

/* What a journal's bytes say. */
struct contents {
  uint8_t *bytes;
  size_t size;
  int has_header;
  struct json header;
  struct entry *entries;
  size_t entry_count;
  struct result *results;
  size_t result_count;
  struct damage *damaged;
  size_t damaged_count;
};

enum line_kind { LINE_DAMAGED, LINE_HEADER, LINE_CHANGE, LINE_RESULT };

/* journal_lines.c */
/* Takes the checksum off a line without its line feed, and says what it is. Of a change that is back, state is put to open. */
enum line_kind read_line(uint8_t *line, size_t size, struct json *members, int *is_undone, const char **why);
/* Reads all lines. bytes becomes part of it. 0, or -ENOMEM. */
int read_contents(uint8_t *bytes, size_t size, struct contents *to);
void free_contents(struct contents *contents);
/* Adds the checksum and a line feed behind members that were put without their last brace, from start on. */
void seal_line(struct buffer *out, size_t start);

/* journal_file.c */
struct journal {
  int fd;
  uint64_t end;     /* of the last whole line */
  int is_broken;    /* an earlier line may be torn on disk */
  char path[MAX_PATH];
};
/* The folder of this user's journals, without links. 0, -errno. make: where it is not there. */
int journal_folder(char *to, size_t room, int make);
int journal_create(struct journal *journal, const uint8_t *command, size_t size);
int journal_append(struct journal *journal, const uint8_t *line, size_t size);
void journal_mark_undone(struct journal *journal, uint64_t offset);
int journal_keep(struct journal *journal, const char *name);
void journal_remove(struct journal *journal);
void journal_close(struct journal *journal);
/* Reads an open journal. */
int journal_read(const struct journal *journal, struct contents *to);
/* Opens a file that this user's journal may be. why says why it is not believed, with -EACCES. */
int journal_open(struct journal *journal, const char *path, int writable, const char **why);
int journal_lock(struct journal *journal, int is_exclusive, unsigned tries);
enum journal_state { STATE_ALIVE, STATE_LOCKED, STATE_DEAD, STATE_KEPT, STATE_EARLIER_BOOT };
enum journal_state journal_state(const struct journal *journal, const struct contents *contents, int is_locked);

/* roll_back.c */
/* Puts back what an open, locked journal lists, newest change first, and removes it when nothing is left. A line of JSON for each. */
int32_t roll_back(struct journal *journal, struct buffer *out);

#endif
