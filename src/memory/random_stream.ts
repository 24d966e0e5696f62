/**
 * The stream of random numbers of HPC Challenge RandomAccess: a(0) = 1, a(n+1) = a(n) · x in GF(2)[x] modulo
 * x^64 + x^2 + x + 1. Threads begin at different numbers of it.
 * @module
 */

const POLYNOMIAL = 7n;
const MASK = (1n << 64n) - 1n;

/** After so many numbers the stream repeats. */
export const STREAM_PERIOD = 1317624576693539401n;

/** The number after `a`. */
export function nextInStream(a: bigint): bigint {
  return (a << 1n & MASK) ^ (a >> 63n === 1n ? POLYNOMIAL : 0n);
}

/** The number at position `n`: what n calls of {@linkcode nextInStream} make of 1, in 64 steps. */
export function startOfStream(n: bigint): bigint {
  // x^n by squaring: a number of the stream is a polynomial over GF(2), its bits are the coefficients.
  let result = 1n;
  let square = 2n;
  for (let left = (n % STREAM_PERIOD + STREAM_PERIOD) % STREAM_PERIOD; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result;
}

function multiply(a: bigint, b: bigint): bigint {
  let product = 0n;
  let shifted = a;
  for (let rest = b; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) product ^= shifted;
    shifted = nextInStream(shifted);
  }
  return product;
}
