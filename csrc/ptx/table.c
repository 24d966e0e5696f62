/* The table of opcodes: opcodes.def read once into sets of words and types, and spellings matched with its rows. */
#include "internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

const uint8_t ptx_type_bytes[T_COUNT + 1] = {
#define X(id, text, bytes, cls) bytes,
    TYPES(X)
#undef X
        0};
const char ptx_type_class[T_COUNT + 1] = {
#define X(id, text, bytes, cls) cls,
    TYPES(X)
#undef X
        0};
const char *const ptx_type_name[T_COUNT + 1] = {
#define X(id, text, bytes, cls) text,
    TYPES(X)
#undef X
        ""};

static const char *const word_text[W_COUNT] = {
#define WORD(id, text) text,
#include "words.def"
#undef WORD
};

#define EXACT PTX_EXACT
#define APPROXIMATE PTX_APPROXIMATE
#define IGNORED PTX_IGNORED
static const struct ptx_opcode texts[] = {
#define OP(name, modifiers, types, operands, family, exactness, capability) \
  {name, modifiers, types, operands, exactness, capability},
#include "opcodes.def"
#undef OP
};
static const uint8_t families[] = {
#define OP(name, modifiers, types, operands, family, exactness, capability) F_##family,
#include "opcodes.def"
#undef OP
};

enum { ROWS = sizeof texts / sizeof texts[0], WORD_BUCKETS = 512, NAME_BUCKETS = 512 };

static struct row rows[ROWS];
static int16_t word_bucket[WORD_BUCKETS], word_next[W_COUNT];
static int16_t type_bucket[64], type_next[T_COUNT];
static int16_t name_bucket[NAME_BUCKETS], name_next[ROWS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

uint32_t ptx_hash(const char *text, size_t length) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < length; i++) hash = (hash ^ (uint8_t)text[i]) * 16777619u;
  return hash;
}

static int find_word(const char *text, size_t length) {
  for (int w = word_bucket[ptx_hash(text, length) % WORD_BUCKETS]; w >= 0; w = word_next[w])
    if (strlen(word_text[w]) == length && !memcmp(word_text[w], text, length)) return w;
  return -1;
}

static int find_type(const char *text, size_t length) {
  for (int t = type_bucket[ptx_hash(text, length) % 64]; t >= 0; t = type_next[t])
    if (strlen(ptx_type_name[t]) == length && !memcmp(ptx_type_name[t], text, length)) return t;
  return -1;
}

static void read_row(struct row *row, const struct ptx_opcode *text, uint8_t family) {
  *row = (struct row){.text = text, .operands = text->operands, .family = family, .exactness = (uint8_t)text->exactness};
  for (const char *at = text->modifiers; *at;) {
    const size_t length = strcspn(at, " ");
    if (length) {
      struct words *words = &row->item[row->items].words;
      const char *word = at, *const end = at + length;
      while (word < end) {
        size_t n = strcspn(word, "|? ");
        if (word + n > end) n = (size_t)(end - word);
        const int found = find_word(word, n);
        if (n == 1 && *word == '*') row->any_words = true;
        else if (found < 0) fprintf(stderr, "opcodes.def: %s: unknown word %.*s\n", text->name, (int)n, word), abort();
        else words->bits[found / 64] |= 1ull << found % 64;
        word += n;
        if (*word == '?') row->item[row->items].optional = true;
        word++;
      }
      row->items++;
    }
    at += length;
    while (*at == ' ') at++;
  }
  if (*text->types) row->type_count = 1;
  for (const char *at = text->types; *at;) {
    const size_t length = strcspn(at, " /");
    const int type = find_type(at, length);
    if (type < 0) fprintf(stderr, "opcodes.def: %s: unknown type %.*s\n", text->name, (int)length, at), abort();
    row->types[row->type_count - 1] |= 1u << type;
    at += length;
    if (*at == '/') row->type_count++;
    if (*at) at++;
  }
}

static void read_table(void) {
  memset(word_bucket, -1, sizeof word_bucket);
  memset(type_bucket, -1, sizeof type_bucket);
  memset(name_bucket, -1, sizeof name_bucket);
  for (int w = 0; w < W_COUNT; w++) {
    int16_t *bucket = &word_bucket[ptx_hash(word_text[w], strlen(word_text[w])) % WORD_BUCKETS];
    word_next[w] = *bucket;
    *bucket = (int16_t)w;
  }
  for (int t = 0; t < T_COUNT; t++) {
    int16_t *bucket = &type_bucket[ptx_hash(ptx_type_name[t], strlen(ptx_type_name[t])) % 64];
    type_next[t] = *bucket;
    *bucket = (int16_t)t;
  }
  for (int r = ROWS - 1; r >= 0; r--) {
    read_row(&rows[r], &texts[r], families[r]);
    int16_t *bucket = &name_bucket[ptx_hash(texts[r].name, strlen(texts[r].name)) % NAME_BUCKETS];
    name_next[r] = *bucket;
    *bucket = (int16_t)r;
  }
}

const struct row *ptx_rows(unsigned *count) {
  pthread_once(&once, read_table);
  if (count) *count = ROWS;
  return rows;
}

unsigned ptx_opcode_count(void) { return ROWS; }

const struct ptx_opcode *ptx_opcode(unsigned index) { return index < ROWS ? &texts[index] : NULL; }

enum type ptx_type_named(const char *text, size_t length) {
  pthread_once(&once, read_table);
  const int type = find_type(text, length);
  return type < 0 ? T_NONE : (enum type)type;
}

/* Words that steer caches or only repeat a default. */
static bool is_dropped(const char *text, size_t length) {
  static const char *const dropped[] = {"cs", "cv", "lu", "wb", "wt", "unified", "b1024", "to_cta"};
  if (length > 4 && text[0] == 'L' && (text[1] == '1' || text[1] == '2') && text[2] == ':') return true;
  for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++)
    if (strlen(dropped[i]) == length && !memcmp(dropped[i], text, length)) return true;
  return false;
}

static bool read_suffix(struct form *form, const char *text, size_t length) {
  static const struct {
    const char *text;
    enum word word;
  } same[] = {{"shared::cta", W_SHARED}, {"shared::cluster", W_SHARED}, {"param::entry", W_PARAM}, {"param::func", W_PARAM}};
  const int type = find_type(text, length);
  if (type >= 0) {
    if (form->type_count == 4) return false;
    form->types[form->type_count++] = (uint8_t)type;
    return true;
  }
  int word = find_word(text, length);
  for (size_t i = 0; word < 0 && i < sizeof same / sizeof same[0]; i++)
    if (strlen(same[i].text) == length && !memcmp(same[i].text, text, length)) word = (int)same[i].word;
  if (word >= 0) {
    const uint64_t bit = 1ull << word % 64;
    /* async, once as a proxy's name; nothing else is said twice */
    if (form->words.bits[word / 64] & bit && word != W_CTA && word != W_SHARED) return false;
    form->words.bits[word / 64] |= bit;
    return true;
  }
  if (is_dropped(text, length)) return true;
  form->unknown_words = true;
  return true;
}

static unsigned bits_of(const struct words *a, const struct words *b) {
  unsigned n = 0;
  for (int i = 0; i < WORD_SETS; i++) n += (unsigned)__builtin_popcountll(a->bits[i] & b->bits[i]);
  return n;
}

static bool fits(const struct row *row, const struct form *form, bool with_types) {
  if (form->unknown_words && !row->any_words) return false;
  struct words left = form->words;
  for (unsigned i = 0; i < row->items; i++) {
    const unsigned n = bits_of(&row->item[i].words, &form->words);
    if (n > 1 || (n == 0 && !row->item[i].optional && bits_of(&row->item[i].words, &row->item[i].words))) return false;
    for (int k = 0; k < WORD_SETS; k++) left.bits[k] &= ~row->item[i].words.bits[k];
  }
  if (!row->any_words && (left.bits[0] | left.bits[1] | left.bits[2])) return false;
  if (!with_types) return true;
  if (row->type_count != form->type_count) return false;
  for (unsigned t = 0; t < row->type_count; t++)
    if (!(row->types[t] >> form->types[t] & 1)) return false;
  return true;
}

void ptx_form_read(struct form *form) {
  pthread_once(&once, read_table);
  const char *at = form->spelling, *const end = at + form->length;
  const char *dot = memchr(at, '.', form->length);
  const size_t name = dot ? (size_t)(dot - at) : form->length;
  for (at += name; at < end;) {
    at++; /* the dot */
    const char *next = memchr(at, '.', (size_t)(end - at));
    if (!next) next = end;
    if (!read_suffix(form, at, (size_t)(next - at))) {
      form->problem = "a modifier stands twice, or there are too many types";
      return;
    }
    at = next;
  }
  bool named = false, modified = false;
  for (int r = name_bucket[ptx_hash(form->spelling, name) % NAME_BUCKETS]; r >= 0; r = name_next[r]) {
    if (strlen(texts[r].name) != name || memcmp(texts[r].name, form->spelling, name)) continue;
    named = true;
    if (!fits(&rows[r], form, false)) continue;
    modified = true;
    if (!fits(&rows[r], form, true)) continue;
    form->row = &rows[r];
    return;
  }
  form->problem = !named      ? "unknown instruction"
                  : !modified ? "unknown combination of modifiers"
                              : "the instruction does not have this type";
}
