/* Decoding of the instruction that made a trapped access. x86-64 only. */
#ifndef BUSBAR_TESTS_MOV_WIDTH_H
#define BUSBAR_TESTS_MOV_WIDTH_H

#include <stdint.h>

/* The width in bytes of a plain mov, from its bytes: Intel SDM volume 2, "MOV" and "MOVZX". 0 for any other instruction. */
static inline uint32_t mov_width(const uint8_t *code) {
  int operand16 = 0, wide = 0;
  for (; *code == 0x66 || *code == 0x67; code++) operand16 |= *code == 0x66;
  if ((*code & 0xf0) == 0x40) wide = *code++ & 8;
  const uint32_t width = wide ? 8 : operand16 ? 2 : 4;
  switch (*code) {
    case 0x88: case 0x8a: case 0xc6: return 1;
    case 0x89: case 0x8b: case 0xc7: return width;
    case 0x0f:
      if (code[1] == 0xb6 || code[1] == 0xbe) return 1;
      if (code[1] == 0xb7 || code[1] == 0xbf) return 2;
      return 0;
    default: return 0;
  }
}

#endif
