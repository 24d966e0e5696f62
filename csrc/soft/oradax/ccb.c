/* What a CCB says: its fields, and which of their values are refused. */
#include "oradax.h"

static unsigned bits(uint64_t word, unsigned high, unsigned low) {
  return (unsigned)(word >> low & ((UINT64_C(1) << (high - low + 1)) - 1));
}

/* Operands stand in 4-byte pieces: the first ones in word 5, the rest in words 8 to 10, first operand left. */
static u128 operand(const uint8_t *bytes, const struct ccb *ccb, unsigned which) {
  static const unsigned places[4] = {40, 64, 72, 80};
  const unsigned count = ccb->operand_field[which] + 1;
  u128 value = 0;
  if (ccb->operand_field[which] > MAX_OPERAND_FIELD || (count > 4 && !ccb->is_long)) return 0;
  for (unsigned i = 0; i < count; i++) value = value << 8 | bytes[places[i / 4] + 4 * which + i % 4];
  return value;
}

void ccb_decode(const uint8_t *bytes, struct ccb *out) {
  const uint64_t word0 = load_be64(bytes), access = load_be64(bytes + 24);
  *out = (struct ccb){
      .version = bits(word0, 63, 60),
      .opcode = bits(word0, 55, 48),
      .is_long = (int)bits(word0, 58, 58),
      .is_conditional = (int)bits(word0, 57, 57),
      .is_serial = (int)bits(word0, 56, 56),
      .is_sync = (int)bits(word0, 31, 31),
      .address_type = {[STREAM_TABLE] = bits(word0, 44, 43),
                       [STREAM_OUTPUT] = bits(word0, 42, 40),
                       [STREAM_SECONDARY] = bits(word0, 39, 37),
                       [STREAM_PRIMARY] = bits(word0, 36, 34)},
      .format = bits(word0, 31, 28),
      .element_field = bits(word0, 27, 23),
      .start = bits(word0, 22, 20),
      .encoding = bits(word0, 19, 19),
      .secondary_start = bits(word0, 18, 16),
      .secondary_code = bits(word0, 15, 14),
      .output_format = bits(word0, 13, 10),
      .pad_left = (int)bits(word0, 9, 9),
      .test_value = bits(word0, 8, 0),
      .operand_field = {bits(word0, 9, 5), bits(word0, 4, 0)},
      .flow = bits(access, 63, 62),
      .output_field = bits(access, 59, 40),
      .length_format = bits(access, 25, 24),
      .length = (uint64_t)bits(access, 23, 0) + 1,
      .table_version = bytes[63] & 0x0f,
  };
  /* The ADI version in bits 63:60 is not checked here: there is no ADI in simulated memory. */
  const uint64_t address_bits = (UINT64_C(1) << 60) - 1;
  out->address[STREAM_PRIMARY] = load_be64(bytes + 16) & address_bits;
  out->address[STREAM_SECONDARY] = load_be64(bytes + 32) & address_bits;
  out->address[STREAM_OUTPUT] = load_be64(bytes + 48) & address_bits;
  out->address[STREAM_TABLE] = load_be64(bytes + 56) & address_bits & ~UINT64_C(0x0f);
  for (unsigned i = 0; i < 2; i++) out->operand[i] = operand(bytes, out, i);
}

int ccb_opcode_known(unsigned opcode) {
  return opcode <= OPCODE_SELECT || (opcode >= (OPCODE_SCAN_VALUE | OPCODE_INVERT) && opcode <= (OPCODE_TRANSLATE | OPCODE_INVERT));
}

int ccb_is_huffman(const struct ccb *ccb) {
  const unsigned operation = ccb_operation(ccb);
  return ccb->version == 0 && (ccb->format & FORMAT_COMPRESSED) && operation != OPCODE_NOOP &&
         operation != OPCODE_TRANSLATE;
}

/* Formats that a command takes, one bit each. */
static unsigned allowed_formats(unsigned operation) {
  switch (operation) {
    case OPCODE_TRANSLATE: return 0x0033; /* 0 1 4 5 */
    case OPCODE_SELECT: return 0x0303;    /* 0 1 8 9 */
    default: return 0x3737;               /* 0 1 2 4 5 8 9 A C D */
  }
}

static int bad_element(const struct ccb *ccb) {
  if (ccb->format & FORMAT_VARIABLE) return 0;
  const unsigned most = ccb->format & FORMAT_BITS ? (ccb->version == 0 ? 15 : 23) : 16;
  if (ccb->element_field >= most) return 1;
  return ccb_operation(ccb) == OPCODE_TRANSLATE && ccb_element_bits(ccb) > 24;
}

static int bad_operands(const struct ccb *ccb) {
  if (ccb->operand_field[0] == OPERAND_UNUSED && ccb->operand_field[1] == OPERAND_UNUSED) return 1;
  for (unsigned i = 0; i < 2; i++) {
    const unsigned field = ccb->operand_field[i];
    if (field == OPERAND_UNUSED) continue;
    if (field > MAX_OPERAND_FIELD || (field >= 4 && !ccb->is_long)) return 1;
  }
  return 0;
}

static int bad_output(const struct ccb *ccb) {
  if (ccb->flow == 3 || ccb->address_type[STREAM_OUTPUT] == ADDRESS_NONE || ccb->address[STREAM_OUTPUT] % 64 != 0) return 1;
  const unsigned format = ccb->output_format;
  if (ccb_makes_bits(ccb)) return format != OUTPUT_BITS && format != OUTPUT_INDEX_2 && format != OUTPUT_INDEX_4;
  return format > OUTPUT_16_BYTES;
}

static int bad_table(const struct ccb *ccb) {
  if (ccb_table_bytes(ccb) == 0) return 0;
  if (ccb->address_type[STREAM_TABLE] == ADDRESS_NONE) return 1;
  if (ccb->address[STREAM_TABLE] % (ccb->version == 0 ? 64 : 16) != 0) return 1;
  /* Compressed data is OZIP here, whose tables have version 1; bit tables have 0 or 1. */
  return ccb->format & FORMAT_COMPRESSED ? ccb->table_version != 1 : ccb->table_version > 1;
}

uint64_t ccb_table_bytes(const struct ccb *ccb) {
  if (ccb->format & FORMAT_COMPRESSED) return 2;
  if (ccb_operation(ccb) != OPCODE_TRANSLATE) return 0;
  return ccb->table_version == 0 ? 4096 : 8192;
}

int ccb_is_invalid(const struct ccb *ccb) {
  const unsigned operation = ccb_operation(ccb);
  if (!(allowed_formats(operation) >> ccb->format & 1)) return 1;
  if (ccb->address_type[STREAM_PRIMARY] == ADDRESS_NONE || bad_element(ccb)) return 1;
  if (!(ccb->format & FORMAT_BITS) && ccb->start != 0) return 1;
  if (ccb_has_secondary(ccb) && ccb->address_type[STREAM_SECONDARY] == ADDRESS_NONE) return 1;
  if (operation == OPCODE_SELECT && (ccb->encoding != 0 || ccb->secondary_code != 0)) return 1;
  if (ccb->length_format == 3 || (operation == OPCODE_TRANSLATE && ccb->length_format == LENGTH_ELEMENTS)) return 1;
  if ((operation == OPCODE_SCAN_VALUE || operation == OPCODE_SCAN_RANGE) && bad_operands(ccb)) return 1;
  return bad_output(ccb) || bad_table(ccb);
}
