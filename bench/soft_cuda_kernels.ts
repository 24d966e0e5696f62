/**
 * The kernels that bench/soft_cuda.bench.ts measures, with the instructions that a thread executes in each.
 * @module
 */

const HEAD = ".version 7.0\n.target sm_75\n.address_size 64\n";

/** Instructions in a round of {@linkcode HASH}. */
export const HASH_ROUND = 9;

/**
 * A loop of integer arithmetic with a carried value: bench/c/cuda_loops.c has the same in C. Thread `i` makes
 * `rounds + step × (i mod 32)` rounds.
 */
export const HASH: string = `${HEAD}
.visible .entry hash(.param .u64 out, .param .u32 rounds, .param .u32 step)
{
  .reg .pred %p<2>; .reg .b32 %r<12>; .reg .b64 %rd<4>;
  mov.u32 %r0, %ctaid.x;
  mov.u32 %r1, %ntid.x;
  mov.u32 %r2, %tid.x;
  mad.lo.u32 %r3, %r0, %r1, %r2;
  ld.param.u32 %r4, [rounds];
  ld.param.u32 %r5, [step];
  and.b32 %r6, %r2, 31;
  mad.lo.u32 %r4, %r6, %r5, %r4;
  mov.u32 %r7, %r3;
  mov.u32 %r8, 0;
LOOP:
  mul.lo.u32 %r7, %r7, 1664525;
  add.u32 %r7, %r7, 1013904223;
  shr.u32 %r9, %r7, 13;
  xor.b32 %r7, %r7, %r9;
  shl.b32 %r9, %r7, 5;
  add.u32 %r7, %r7, %r9;
  add.u32 %r8, %r8, 1;
  setp.lt.u32 %p0, %r8, %r4;
  @%p0 bra LOOP;
  ld.param.u64 %rd0, [out];
  mad.wide.u32 %rd0, %r3, 4, %rd0;
  st.global.u32 [%rd0], %r7;
  ret;
}
`;

/** Nothing. */
export const EMPTY: string = `${HEAD}\n.visible .entry empty()\n{\n  ret;\n}\n`;

/** Instructions of a thread of saxpy that has an element, as nvcc 13 compiles it for sm_75. */
export const SAXPY_INSTRUCTIONS = 20;

/** The hash of one thread, to see that the kernel did its work. */
export function hashOf(lane: number, rounds: number): number {
  let x = lane;
  for (let i = 0; i < rounds; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
    x ^= x >>> 13;
    x = (x + (x << 5)) | 0;
  }
  return x >>> 0;
}
