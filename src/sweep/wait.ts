/**
 * A pause.
 * @module
 */

/** Resolves after so many milliseconds. */
export function waitMs(durationMs: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, durationMs));
}
