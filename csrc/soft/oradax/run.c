/*
 * Carries out a CCB: elements in, one by one, results out. Wherever a whole block of groups of 64 elements is plain,
 * lies inside the page and has room in the output, the fast loops of oradax_kernels.h take it instead. They meet no error
 * that way, so every error is found here and found at the same element, with and without them.
 */
#include <string.h>

#include "oradax.h"

enum { MAX_SYMBOLS = 1024, MAX_SYMBOL_BYTES = 8, MAX_OZIP_TABLE_BYTES = 8192 };
enum { BLOCK_GROUPS = 512, ELEMENTS_BETWEEN_KILLS = 1024 };
/* Second-level caches of a core are about as large. */
enum { LARGE_RESULT_BYTES = 1 << 20 };

/* Bits from memory, most significant first. */
struct bits {
  const uint8_t *from;
  uint64_t position, end; /* in bits; the page ends at end */
};

struct run {
  const struct ccb *ccb;
  const struct oradax_kernels *kernels;
  struct completion *out;

  /* Input. */
  struct bits primary, secondary;
  uint64_t bits_left;     /* of the primary input, as the length says; UINT64_MAX when it counts elements */
  uint64_t elements_left; /* UINT64_MAX when the length counts bits */

  /* Decompression: symbols, and the bits of the last one that no element has taken yet. */
  unsigned symbol_count, code_bits;
  const uint8_t *table, *symbols[MAX_SYMBOLS];
  uint8_t symbol_bytes[MAX_SYMBOLS];
  uint64_t pending;
  unsigned pending_bits;

  /* Output. */
  uint8_t *to;
  uint64_t room, produced; /* in bytes */
  unsigned room_error;     /* what it is to need more */
  uint64_t results;        /* result bits so far: the next index */
  unsigned partial;        /* the bits of the byte that is not full yet */
  int is_large;            /* see results_are_large */
};

enum { GO_ON = 0, END = -1 }; /* above zero: an error code */

static int read_bits(struct bits *in, unsigned count, u128 *value) {
  if (count > in->end - in->position) return ERROR_PAGE_OVERFLOW;
  u128 result = 0;
  while (count > 0) {
    const unsigned at = in->position % 8, taken = count < 8 - at ? count : 8 - at;
    result = result << taken | (in->from[in->position / 8] >> (8 - at - taken) & ((1u << taken) - 1));
    in->position += taken;
    count -= taken;
  }
  *value = result;
  return GO_ON;
}

/* ---- OZIP: a table of symbols, and code words of one width ---- */

static int read_symbol_table(struct run *run, const struct stream *table) {
  if (table->room < 2) return ERROR_PAGE_OVERFLOW;
  const unsigned count = (unsigned)table->at[0] << 8 | table->at[1];
  if (count == 0 || count > MAX_SYMBOLS) return ERROR_DATA_FORMAT;
  uint64_t size = 2 + (count + 1) / 2;
  if (size > table->room) return ERROR_PAGE_OVERFLOW;
  for (unsigned i = 0; i < count; i++) {
    const uint8_t pair = table->at[2 + i / 2];
    run->symbol_bytes[i] = i % 2 == 0 ? pair >> 4 : pair & 0x0f;
    if (run->symbol_bytes[i] == 0 || run->symbol_bytes[i] > MAX_SYMBOL_BYTES) return ERROR_DATA_FORMAT;
    run->symbols[i] = table->at + size;
    size += run->symbol_bytes[i];
  }
  if (size > MAX_OZIP_TABLE_BYTES) return ERROR_DATA_FORMAT;
  if (size > table->room) return ERROR_PAGE_OVERFLOW;
  run->symbol_count = count;
  for (run->code_bits = 1; 1u << run->code_bits < count;) run->code_bits++;
  return GO_ON;
}

static int next_symbol(struct run *run) {
  u128 code;
  if (run->bits_left < run->code_bits) return END;
  const int error = read_bits(&run->primary, run->code_bits, &code);
  if (error != GO_ON) return error;
  run->bits_left -= run->bits_left == UINT64_MAX ? 0 : run->code_bits;
  if (code >= run->symbol_count) return ERROR_DATA_FORMAT;
  const unsigned size = run->symbol_bytes[(unsigned)code];
  run->pending = 0;
  for (unsigned i = 0; i < size; i++) run->pending = run->pending << 8 | run->symbols[(unsigned)code][i];
  run->pending_bits = 8 * size;
  return GO_ON;
}

/* ---- Elements ---- */

/* The bits that no element is made of any more. */
static int leave_over(struct run *run, uint64_t bits) {
  if (bits != 0) {
    run->out->error = ERROR_PARTIAL_SYMBOL;
    run->out->error_value = (uint32_t)bits;
  }
  return END;
}

static int read_compressed(struct run *run, unsigned width, u128 *value) {
  u128 result = 0;
  for (unsigned got = 0; got < width;) {
    if (run->pending_bits == 0) {
      const int error = next_symbol(run);
      if (error == END) return leave_over(run, got + run->bits_left);
      if (error != GO_ON) return error;
    }
    const unsigned taken = width - got < run->pending_bits ? width - got : run->pending_bits;
    run->pending_bits -= taken;
    const uint64_t mask = taken == 64 ? UINT64_MAX : (UINT64_C(1) << taken) - 1;
    result = result << taken | (run->pending >> run->pending_bits & mask);
    got += taken;
  }
  *value = result;
  return GO_ON;
}

static int read_plain(struct run *run, unsigned width, u128 *value) {
  if (run->bits_left < width) return leave_over(run, run->bits_left);
  const int error = read_bits(&run->primary, width, value);
  if (error == GO_ON && run->bits_left != UINT64_MAX) run->bits_left -= width;
  return error;
}

struct element {
  u128 value;
  unsigned bytes;
  uint64_t repeat;
};

static int next_element(struct run *run, struct element *out) {
  const struct ccb *ccb = run->ccb;
  const int compressed = (ccb->format & FORMAT_COMPRESSED) != 0;
  if (run->elements_left == 0) return END;
  /* Widths and runs beyond the last element are never looked at. */
  if (run->pending_bits == 0 && run->bits_left < (compressed ? run->code_bits : 1)) return leave_over(run, run->bits_left);
  unsigned width = ccb_element_bits(ccb);
  const unsigned secondary_bits = 1u << ccb->secondary_code, add = ccb->encoding == 0;
  u128 secondary = 0;
  if (ccb->format & FORMAT_VARIABLE) {
    const int error = read_bits(&run->secondary, secondary_bits, &secondary);
    if (error != GO_ON) return error;
    if (secondary + add == 0 || secondary + add > 16) return ERROR_DATA_FORMAT;
    width = 8 * (unsigned)(secondary + add);
  }
  const int error = compressed ? read_compressed(run, width, &out->value) : read_plain(run, width, &out->value);
  if (error != GO_ON) return error;
  out->bytes = (width + 7) / 8;
  out->repeat = 1;
  if (ccb->format & FORMAT_RUNS) {
    const int run_error = read_bits(&run->secondary, secondary_bits, &secondary);
    if (run_error != GO_ON) return run_error;
    out->repeat = (uint64_t)secondary + add;
  }
  if (run->elements_left != UINT64_MAX) run->elements_left--;
  return GO_ON;
}

/* ---- Results ---- */

static int put_bytes(struct run *run, const struct element *element, unsigned size, int pad_left) {
  if (run->room - run->produced < size) return (int)run->room_error;
  const unsigned kept = element->bytes < size ? element->bytes : size, left = pad_left ? size - kept : 0;
  uint8_t *to = run->to + run->produced;
  memset(to, 0, size);
  for (unsigned i = 0; i < kept; i++) to[left + i] = (uint8_t)(element->value >> 8 * (element->bytes - 1 - i));
  run->produced += size;
  return GO_ON;
}

static int put_index(struct run *run, unsigned size) {
  if (run->room - run->produced < size) return (int)run->room_error;
  if (size == 2) store_be16(run->to + run->produced, run->results > 0xffff ? 0xffff : (uint32_t)run->results);
  else store_be32(run->to + run->produced, (uint32_t)run->results);
  run->produced += size;
  return GO_ON;
}

/* While a byte is not full it is not counted as produced; finish_bits does that. */
static int put_bit(struct run *run, int bit) {
  if (run->results % 8 == 0) {
    if (run->produced == run->room) return (int)run->room_error;
    run->partial = 0;
  }
  run->partial |= (unsigned)bit << (7 - run->results % 8);
  if (run->results % 8 == 7) run->to[run->produced++] = (uint8_t)run->partial;
  return GO_ON;
}

static void finish_bits(struct run *run) {
  if (run->ccb->output_format == OUTPUT_BITS && run->results % 8 != 0) run->to[run->produced++] = (uint8_t)run->partial;
}

static int put_result(struct run *run, int bit) {
  int error = GO_ON;
  switch (run->ccb->output_format) {
    case OUTPUT_BITS: error = put_bit(run, bit); break;
    case OUTPUT_INDEX_2: error = bit ? put_index(run, 2) : GO_ON; break;
    default: error = bit ? put_index(run, 4) : GO_ON; break;
  }
  if (error != GO_ON) return error;
  run->results++;
  run->out->ones += (uint64_t)bit;
  return GO_ON;
}

/* ---- What a command makes of an element ---- */

static int scan_element(const struct ccb *ccb, u128 element) {
  const int has_first = ccb->operand_field[0] != OPERAND_UNUSED, has_second = ccb->operand_field[1] != OPERAND_UNUSED;
  const int matches =
      ccb_operation(ccb) == OPCODE_SCAN_VALUE
          ? (has_first && element == ccb->operand[0]) || (has_second && element == ccb->operand[1])
          : (!has_first || element <= ccb->operand[0]) && (!has_second || element >= ccb->operand[1]);
  return matches != ccb_inverts(ccb);
}

/* Upper bits that the index does not take are compared with the test value: of 2-byte elements and longer ones. Elements of
 * 16 bits and more that are bit-packed count as 3 bytes. */
static struct lookup lookup_of(const struct ccb *ccb, const uint8_t *table) {
  const unsigned width = ccb_element_bits(ccb), shift = ccb->table_version == 0 ? 15 : 16;
  const int is_packed = (ccb->format & FORMAT_BITS) != 0;
  const unsigned compared_from = is_packed ? 16 : shift == 15 ? 16 : 17;
  return (struct lookup){.table = table,
                         .index_mask = (1u << shift) - 1,
                         .check_value = ccb->test_value,
                         .check_shift = shift,
                         .check = width >= compared_from,
                         .invert = ccb_inverts(ccb)};
}

static int emit(struct run *run, const struct element *element, const struct lookup *lookup) {
  const struct ccb *ccb = run->ccb;
  switch (ccb_operation(ccb)) {
    case OPCODE_EXTRACT:
      for (uint64_t i = 0; i < element->repeat; i++) {
        const int error = put_bytes(run, element, ccb_output_bytes(ccb), ccb->pad_left);
        if (error != GO_ON) return error;
      }
      return GO_ON;
    case OPCODE_SELECT: {
      u128 chosen;
      const int error = read_bits(&run->secondary, 1, &chosen);
      if (error != GO_ON || chosen == 0) return error;
      const int put_error = put_bytes(run, element, ccb_output_bytes(ccb), ccb->pad_left);
      run->out->ones += put_error == GO_ON;
      return put_error;
    }
    default: {
      const int bit = ccb_operation(ccb) == OPCODE_TRANSLATE ? lookup_bit(lookup, (uint32_t)element->value)
                                                             : scan_element(ccb, element->value);
      for (uint64_t i = 0; i < element->repeat; i++) {
        const int error = put_result(run, bit);
        if (error != GO_ON) return error;
      }
      return GO_ON;
    }
  }
}

/* ---- Blocks for the fast loops ---- */

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* How many whole groups can be read, by the length and by the page, overread included. */
static uint64_t groups_readable(const struct run *run, unsigned width) {
  const uint64_t page = (run->primary.end - run->primary.position) / 8;
  const uint64_t in_page = page > KERNEL_OVERREAD_BYTES ? (page - KERNEL_OVERREAD_BYTES) / (8 * width) : 0;
  const uint64_t by_length = least(run->bits_left / width, run->elements_left) / KERNEL_GROUP;
  return least(in_page, by_length);
}

static void groups_done(struct run *run, uint64_t groups, unsigned width) {
  const uint64_t elements = groups * KERNEL_GROUP;
  run->primary.position += elements * width;
  if (run->bits_left != UINT64_MAX) run->bits_left -= elements * width;
  if (run->elements_left != UINT64_MAX) run->elements_left -= elements;
  run->out->elements += (uint32_t)elements;
}

static struct packed packed_here(const struct run *run, unsigned width) {
  return (struct packed){run->primary.from + run->primary.position / 8, (unsigned)(run->primary.position % 8), width};
}

/* The same test with operands that fit the element's width. */
static struct scan_test scan_test_of(const struct ccb *ccb) {
  const unsigned width = ccb_element_bits(ccb);
  const uint32_t most = width == 32 ? UINT32_MAX : (1u << width) - 1;
  const struct scan_test nothing = {1, 0, 1, ccb_inverts(ccb)};
  const int has[2] = {ccb->operand_field[0] != OPERAND_UNUSED, ccb->operand_field[1] != OPERAND_UNUSED};
  if (ccb_operation(ccb) == OPCODE_SCAN_RANGE) {
    if (has[1] && ccb->operand[1] > most) return nothing;
    const uint32_t high = !has[0] || ccb->operand[0] > most ? most : (uint32_t)ccb->operand[0];
    const uint32_t low = has[1] ? (uint32_t)ccb->operand[1] : 0;
    return low > high ? nothing : (struct scan_test){low, high, 1, ccb_inverts(ccb)};
  }
  const int usable[2] = {has[0] && ccb->operand[0] <= most, has[1] && ccb->operand[1] <= most};
  if (!usable[0] && !usable[1]) return nothing;
  const uint32_t first = (uint32_t)ccb->operand[usable[0] ? 0 : 1], second = (uint32_t)ccb->operand[usable[1] ? 1 : 0];
  return (struct scan_test){first, second, 0, ccb_inverts(ccb)};
}

/* Puts the indexes of the ones among bits; the room has been checked. */
static void put_indexes(struct run *run, const uint8_t *bits, uint64_t groups) {
  const int is_short = run->ccb->output_format == OUTPUT_INDEX_2;
  uint8_t *to = run->to + run->produced;
  for (uint64_t g = 0; g < groups; g++) {
    const uint64_t first = run->results + g * KERNEL_GROUP;
    for (uint64_t left = load_be64(bits + 8 * g); left != 0;) {
      const unsigned place = (unsigned)__builtin_clzll(left);
      left ^= UINT64_C(1) << (63 - place);
      const uint64_t index = first + place;
      if (is_short) store_be16(to, index > 0xffff ? 0xffff : (uint32_t)index);
      else store_be32(to, (uint32_t)index);
      to += is_short ? 2 : 4;
    }
  }
  run->produced = (uint64_t)(to - run->to);
}

/* Where the next block's results go. */
static struct target block_target(const struct run *run) {
  uint8_t *at = run->to + run->produced;
  return (struct target){at, run->is_large && (uintptr_t)at % 64 == 0};
}

/* Scan or translation of as many groups as can be taken at once; 0 when none can. */
static uint64_t result_block(struct run *run, unsigned width, const struct lookup *lookup) {
  const struct ccb *ccb = run->ccb;
  const int translates = ccb_operation(ccb) == OPCODE_TRANSLATE, makes_bits = ccb->output_format == OUTPUT_BITS;
  const unsigned index_bytes = ccb->output_format == OUTPUT_INDEX_2 ? 2 : 4;
  const uint64_t room = (run->room - run->produced) / (makes_bits ? 8 : index_bytes * (uint64_t)KERNEL_GROUP);
  const uint64_t groups = least(least(groups_readable(run, width), room), BLOCK_GROUPS);
  if (groups == 0) return 0;
  uint8_t kept[8 * BLOCK_GROUPS];
  const struct target bits = makes_bits ? block_target(run) : (struct target){kept, 0};
  const struct packed in = packed_here(run, width);
  if (translates) {
    run->out->ones += run->kernels->translate(&in, groups, lookup, bits);
  } else {
    const struct scan_test test = scan_test_of(ccb);
    run->out->ones += run->kernels->scan(&in, groups, &test, bits);
  }
  if (makes_bits) run->produced += 8 * groups;
  else put_indexes(run, kept, groups);
  run->results += groups * KERNEL_GROUP;
  return groups;
}

/* 64 bits of the selection vector for each group, moved to a byte's start. */
static void read_mask(struct bits *in, uint64_t groups, uint8_t *mask) {
  const unsigned start = in->position % 8;
  const uint8_t *from = in->from + in->position / 8;
  for (uint64_t g = 0; g < groups; g++, from += 8) {
    const uint64_t next = start == 0 ? 0 : (uint64_t)(from[8] >> (8 - start));
    store_be64(mask + 8 * g, load_be64(from) << start | next);
  }
  in->position += groups * KERNEL_GROUP;
}

/* Extraction or selection of as many groups as can be taken at once; 0 when none can. */
static uint64_t element_block(struct run *run, unsigned width) {
  const struct ccb *ccb = run->ccb;
  const struct widening how = {(width + 7) / 8, ccb_output_bytes(ccb), ccb->pad_left};
  const uint64_t room = (run->room - run->produced) / (how.size * (uint64_t)KERNEL_GROUP);
  uint64_t groups = least(least(groups_readable(run, width), room), BLOCK_GROUPS);
  const int selects = ccb_operation(ccb) == OPCODE_SELECT;
  if (selects) groups = least(groups, (run->secondary.end - run->secondary.position) / KERNEL_GROUP);
  if (selects && groups > 0 && run->secondary.position % 8 != 0) groups--; /* a byte more is read */
  if (groups == 0) return 0;
  uint8_t mask[8 * BLOCK_GROUPS];
  if (selects) read_mask(&run->secondary, groups, mask);
  const struct packed in = packed_here(run, width);
  const uint64_t count = run->kernels->emit(&in, groups, selects ? mask : NULL, &how, block_target(run));
  if (selects) run->out->ones += count;
  run->produced += count * how.size;
  return groups;
}

/* True when the fast loops will make so many results that no cache of a core keeps them. */
static int results_are_large(const struct run *run, unsigned width) {
  const struct ccb *ccb = run->ccb;
  const uint64_t elements = least(run->bits_left / width, run->elements_left);
  if (ccb_operation(ccb) == OPCODE_EXTRACT) return elements * ccb_output_bytes(ccb) >= LARGE_RESULT_BYTES;
  return ccb_makes_bits(ccb) && ccb->output_format == OUTPUT_BITS && elements / 8 >= LARGE_RESULT_BYTES;
}

/* Takes blocks until one cannot be taken. */
static void run_blocks(struct run *run, const struct lookup *lookup, const atomic_int *kill) {
  const struct ccb *ccb = run->ccb;
  const unsigned width = ccb_element_bits(ccb);
  const unsigned operation = ccb_operation(ccb);
  const int scans = operation == OPCODE_SCAN_VALUE || operation == OPCODE_SCAN_RANGE;
  if (ccb->format & (FORMAT_VARIABLE | FORMAT_RUNS | FORMAT_COMPRESSED)) return;
  /* 8 elements have to lie in 16 bytes. */
  const int is_aligned = run->primary.position % 8 == 0;
  if (width >= 16 && !(is_aligned && (width == 16 || (width == 32 && scans)))) return;
  run->is_large = results_are_large(run, width);
  for (uint64_t groups = 1; groups != 0 && !atomic_load_explicit(kill, memory_order_relaxed);) {
    groups = ccb_makes_bits(ccb) ? result_block(run, width, lookup) : element_block(run, width);
    groups_done(run, groups, width);
  }
}

/* ---- The whole ---- */

static struct bits bits_of(const struct stream *stream, unsigned start) {
  return (struct bits){stream->at, start, 8 * stream->room};
}

static int set_up(struct run *run, const struct stream streams[STREAM_COUNT]) {
  const struct ccb *ccb = run->ccb;
  run->primary = bits_of(&streams[STREAM_PRIMARY], ccb->start);
  run->secondary = bits_of(&streams[STREAM_SECONDARY], ccb->secondary_start);
  const uint64_t bits = ccb->length_format == LENGTH_BYTES ? 8 * ccb->length - ccb->start : ccb->length;
  run->bits_left = ccb->length_format == LENGTH_ELEMENTS ? UINT64_MAX : bits;
  run->elements_left = ccb->length_format == LENGTH_ELEMENTS ? ccb->length : UINT64_MAX;
  run->to = streams[STREAM_OUTPUT].at;
  run->room = streams[STREAM_OUTPUT].room;
  run->room_error = ERROR_PAGE_OVERFLOW;
  const uint64_t limit = ((uint64_t)ccb->output_field + 1) * 64;
  if (ccb->flow != 0 && limit <= run->room) {
    run->room = limit;
    run->room_error = ERROR_OUTPUT_OVERFLOW;
  }
  if (ccb->format & FORMAT_COMPRESSED) return read_symbol_table(run, &streams[STREAM_TABLE]);
  return ccb_table_bytes(ccb) > streams[STREAM_TABLE].room ? ERROR_PAGE_OVERFLOW : GO_ON;
}

static int run_elements(struct run *run, const struct lookup *lookup, const atomic_int *kill) {
  for (uint64_t i = 1;; i++) {
    struct element element;
    int error = next_element(run, &element);
    if (error == GO_ON) error = emit(run, &element, lookup);
    if (error != GO_ON) return error;
    run->out->elements++;
    if (i % ELEMENTS_BETWEEN_KILLS == 0 && atomic_load_explicit(kill, memory_order_relaxed)) return ERROR_KILLED;
  }
}

void ccb_run(const struct ccb *ccb, const struct stream streams[STREAM_COUNT], const struct oradax_kernels *kernels,
             const atomic_int *kill, struct completion *out) {
  *out = (struct completion){.status = CA_SUCCESS};
  struct run run = {.ccb = ccb, .kernels = kernels, .out = out};
  int error = set_up(&run, streams);
  if (error == GO_ON) {
    /* The table is copied, so that the loops may read behind its end. */
    _Alignas(64) uint8_t table[8192 + KERNEL_TABLE_PAD_BYTES] = {0};
    if (ccb_operation(ccb) == OPCODE_TRANSLATE) memcpy(table, streams[STREAM_TABLE].at, ccb_table_bytes(ccb));
    const struct lookup lookup = lookup_of(ccb, table);
    run_blocks(&run, &lookup, kill);
    error = atomic_load_explicit(kill, memory_order_relaxed) ? ERROR_KILLED : run_elements(&run, &lookup, kill);
    if (ccb_makes_bits(ccb)) finish_bits(&run);
  }
  out->output_bytes = (uint32_t)run.produced;
  if (error > 0) {
    out->status = error == ERROR_KILLED ? CA_KILLED : CA_FAILED;
    out->error = (unsigned)error;
    out->error_value = 0;
  }
}
