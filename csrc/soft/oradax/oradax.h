/* What the files of the software Data Analytics Accelerator share: a decoded CCB, its streams, its run. */
#ifndef ORADAX_H
#define ORADAX_H

#include <stdatomic.h>
#include <stdint.h>

#include "kernels.h"

enum { CCB_UNIT_BYTES = 64, CA_BYTES = 128, CA_COUNT = 128, MAX_UNITS_PER_SUBMIT = 15 };

/* Opcodes; bit 4 inverts a scan or translation. */
enum {
  OPCODE_NOOP = 0x00,
  OPCODE_EXTRACT = 0x01,
  OPCODE_SCAN_VALUE = 0x02,
  OPCODE_SCAN_RANGE = 0x03,
  OPCODE_TRANSLATE = 0x04,
  OPCODE_SELECT = 0x05,
  OPCODE_INVERT = 0x10,
};

/* Completion status and error codes. */
enum { CA_SUCCESS = 1, CA_FAILED = 2, CA_KILLED = 3, CA_NOT_RUN = 4 };
enum {
  ERROR_NONE = 0,
  ERROR_OUTPUT_OVERFLOW = 0x01,
  ERROR_DECODE = 0x02,
  ERROR_PAGE_OVERFLOW = 0x03,
  ERROR_KILLED = 0x07,
  ERROR_DATA_FORMAT = 0x0a,
  ERROR_PARTIAL_SYMBOL = 0x80,
};

/* Primary formats are made of these bits. */
enum { FORMAT_BITS = 1, FORMAT_VARIABLE = 2, FORMAT_RUNS = 4, FORMAT_COMPRESSED = 8 };

enum { LENGTH_ELEMENTS = 0, LENGTH_BYTES = 1, LENGTH_BITS = 2 };
enum { OUTPUT_16_BYTES = 4, OUTPUT_BITS = 8, OUTPUT_INDEX_2 = 13, OUTPUT_INDEX_4 = 14 };
enum { OPERAND_UNUSED = 0x1f, MAX_OPERAND_FIELD = 0x0e };

enum { ADDRESS_NONE = 0, ADDRESS_VIRTUAL = 3 };

/* In this order pages are pinned. */
enum stream_name { STREAM_OUTPUT, STREAM_PRIMARY, STREAM_SECONDARY, STREAM_TABLE, STREAM_COUNT };

__extension__ typedef unsigned __int128 u128;

/* A CCB in fields. Nothing in it has been checked. */
struct ccb {
  unsigned version, opcode;
  int is_long, is_conditional, is_serial, is_sync;
  unsigned address_type[STREAM_COUNT];
  uint64_t address[STREAM_COUNT];
  unsigned format, element_field, start, encoding, secondary_start, secondary_code, output_format;
  int pad_left;
  unsigned test_value, operand_field[2];
  u128 operand[2];
  unsigned flow, output_field, length_format;
  uint64_t length; /* the field plus one */
  unsigned table_version;
};

/* Memory that a stream may touch: from its first byte to the end of its page. */
struct stream {
  uint8_t *at;
  uint64_t room;
};

/* What a run leaves in the completion area. */
struct completion {
  unsigned status, error;
  uint32_t error_value, output_bytes, elements;
  uint64_t ones;
};

void ccb_decode(const uint8_t *bytes, struct ccb *out);
/* True when the opcode is one of the nine. */
int ccb_opcode_known(unsigned opcode);
/* True for Huffman data, whose table nobody outside Oracle knows. */
int ccb_is_huffman(const struct ccb *ccb);
/* True when a field holds what the coprocessor refuses with a decode error. */
int ccb_is_invalid(const struct ccb *ccb);
/* Bytes of the bit or symbol table that must be there before it is looked at; 0 where there is none. */
uint64_t ccb_table_bytes(const struct ccb *ccb);
/* Carries out a CCB that is neither no-op nor sync. Ends early, with CA_KILLED, once *kill is set. */
void ccb_run(const struct ccb *ccb, const struct stream streams[STREAM_COUNT], const struct oradax_kernels *kernels,
             const atomic_int *kill, struct completion *out);

static inline unsigned ccb_operation(const struct ccb *ccb) { return ccb->opcode & 0x0f; }
static inline int ccb_inverts(const struct ccb *ccb) { return (ccb->opcode & OPCODE_INVERT) != 0; }
static inline int ccb_makes_bits(const struct ccb *ccb) {
  return ccb_operation(ccb) >= OPCODE_SCAN_VALUE && ccb_operation(ccb) <= OPCODE_TRANSLATE;
}
static inline int ccb_has_secondary(const struct ccb *ccb) {
  return ccb_operation(ccb) == OPCODE_SELECT || (ccb->format & (FORMAT_VARIABLE | FORMAT_RUNS)) != 0;
}
/* Width of an element in bits; of formats of variable width it means nothing. */
static inline unsigned ccb_element_bits(const struct ccb *ccb) {
  return (ccb->element_field + 1) * (ccb->format & FORMAT_BITS ? 1u : 8u);
}
/* Bytes of an output element, of extract and select. */
static inline unsigned ccb_output_bytes(const struct ccb *ccb) { return 1u << ccb->output_format; }

#endif
