// Types of the standard library modules that busbar uses. The npm package `deno-std` carries the code without
// declarations; the import map in deno.json gives each module the name it has here. tests/unit/std_types_test.ts
// checks that every name declared here exists.

declare module "@std/assert" {
  // deno-lint-ignore no-explicit-any
  type Constructor<T> = abstract new (...args: any[]) => T;

  export class AssertionError extends Error {
    constructor(message: string, options?: ErrorOptions);
  }
  export function assert(condition: unknown, message?: string): asserts condition;
  export function assertAlmostEquals(actual: number, expected: number, tolerance?: number, message?: string): void;
  export function assertArrayIncludes<T>(actual: ArrayLike<T>, expected: ArrayLike<T>, message?: string): void;
  export function assertEquals<T>(actual: T, expected: T, message?: string): void;
  export function assertExists<T>(actual: T, message?: string): asserts actual is NonNullable<T>;
  export function assertGreater<T>(actual: T, expected: T, message?: string): void;
  export function assertGreaterOrEqual<T>(actual: T, expected: T, message?: string): void;
  export function assertInstanceOf<T>(actual: unknown, type: Constructor<T>, message?: string): asserts actual is T;
  export function assertLess<T>(actual: T, expected: T, message?: string): void;
  export function assertLessOrEqual<T>(actual: T, expected: T, message?: string): void;
  export function assertMatch(actual: string, expected: RegExp, message?: string): void;
  export function assertNotEquals<T>(actual: T, expected: T, message?: string): void;
  export function assertNotMatch(actual: string, expected: RegExp, message?: string): void;
  export function assertObjectMatch(
    actual: Record<PropertyKey, unknown>,
    expected: Record<PropertyKey, unknown>,
    message?: string,
  ): void;
  export function assertRejects<E extends Error = Error>(
    body: () => PromiseLike<unknown>,
    type: Constructor<E>,
    messageIncludes?: string,
    message?: string,
  ): Promise<E>;
  export function assertRejects(body: () => PromiseLike<unknown>, message?: string): Promise<unknown>;
  export function assertStrictEquals<T>(actual: unknown, expected: T, message?: string): asserts actual is T;
  export function assertStringIncludes(actual: string, expected: string, message?: string): void;
  export function assertThrows<E extends Error = Error>(
    body: () => unknown,
    type: Constructor<E>,
    messageIncludes?: string,
    message?: string,
  ): E;
  export function assertThrows(body: () => unknown, message?: string): unknown;
  export function fail(message?: string): never;
}

declare module "@std/fmt/colors" {
  export function bold(text: string): string;
  export function cyan(text: string): string;
  export function dim(text: string): string;
  export function getColorEnabled(): boolean;
  export function green(text: string): string;
  export function magenta(text: string): string;
  export function red(text: string): string;
  export function setColorEnabled(value: boolean): void;
  export function stripAnsiCode(text: string): string;
  export function yellow(text: string): string;
}

declare module "@std/text/levenshtein-distance" {
  /** The number of insertions, deletions and substitutions that turn one text into the other. */
  export function levenshteinDistance(a: string, b: string): number;
}

declare module "@std/yaml" {
  export function parse(text: string): unknown;
  export function stringify(value: unknown, options?: { indent?: number; lineWidth?: number }): string;
}
