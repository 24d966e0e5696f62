/**
 * Simulated time: integers of 1/1024 ns, in a float64. Every sum of them is exact, so its order does not matter.
 * @module
 */

import { BusbarError } from "../core/error.ts";

/** Ticks in a nanosecond. */
export const TICKS_PER_NS = 1024;

/** The last tick that a float64 still counts exactly: 2.4 hours of simulated time. */
export const MAX_TICKS: number = Number.MAX_SAFE_INTEGER;

/** The end of the address space that is simulated: 2^52 bytes. */
export const ADDRESS_LIMIT: number = 2 ** 52;

/** The nearest tick of a time in nanoseconds. */
export function ticksOf(ns: number): number {
  return Math.round(ns * TICKS_PER_NS);
}

/** A number of ticks in nanoseconds; exact, since 1024 is a power of two. */
export function nsOf(ticks: number): number {
  return ticks / TICKS_PER_NS;
}

/**
 * Checks a time of a trace or a run.
 *
 * @throws {BusbarError} `out-of-range` when it is negative, no number, or more than 2.4 hours
 */
export function checkTicks(ticks: number, what: string): number {
  if (ticks >= 0 && ticks <= MAX_TICKS) return ticks;
  throw new BusbarError("out-of-range", `${what}: ${nsOf(ticks)} ns is not between 0 and 2^53/1024 ns (2.4 h)`, {
    operation: "count simulated time",
    hint: "cut the trace into shorter pieces, or check its unit of time",
  });
}
