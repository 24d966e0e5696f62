/**
 * The bodies of lab tests, as the guest knows them.
 * @module
 */

/** What a lab test does, in the guest. */
export type TestBody = () => void | Promise<void>;

/**
 * Set in the environment of the program that runs test bodies in a guest: the mark that it prints to both outputs after
 * each test, so that the host knows when it has shown all that a test printed.
 */
export const TEST_RUNNER_VARIABLE = "BUSBAR_LAB_TEST_RUNNER";

/** The bodies that test files have registered in this process, by name. */
export const testBodies: Map<string, TestBody> = new Map();

/** From the host to the guest, one line of JSON: run a test. */
export interface TestRequest {
  /** Answered with the same number. */
  readonly id: number;
  /** The test. */
  readonly run: string;
}

/** An error that crossed from the guest to the host. Paths in its stack are the same on both sides. */
export interface SentError {
  /** Class name. */
  readonly name: string;
  /** Message. */
  readonly message: string;
  /** Stack, with the message at its head. */
  readonly stack: string;
}

/** From the guest to the host, one line of JSON. Id 0 answers the start: the file was imported. */
export interface TestAnswer {
  /** Number of the request. */
  readonly id: number;
  /** Why the test failed; absent when it passed. */
  readonly error?: SentError;
}

/** An error as it crosses, its causes appended to the stack. */
export function packError(thrown: unknown): SentError {
  if (!(thrown instanceof Error)) {
    const text = `the test threw ${Deno.inspect(thrown)}, which is no error`;
    return { name: "Error", message: text, stack: `Error: ${text}` };
  }
  let stack = thrown.stack ?? `${thrown.name}: ${thrown.message}`;
  for (let cause = thrown.cause; cause !== undefined; cause = cause instanceof Error ? cause.cause : undefined) {
    stack += `\nCaused by: ${cause instanceof Error ? cause.stack ?? cause.message : Deno.inspect(cause)}`;
  }
  // What called the test is the same for every test.
  const frames = stack.split("\n").filter((line) => !/^ +at .*\/src\/lab\/test_runner\.ts:\d+/.test(line));
  return { name: thrown.name, message: thrown.message, stack: frames.join("\n") };
}

/** The error on the other side, with the stack of the side where it was thrown. */
export function unpackError({ name, message, stack }: SentError): Error {
  const error = new Error(message);
  error.name = name;
  // Test reporters print the message and then the stack without its first line: a message of several lines would
  // appear twice.
  const head = `${name}: ${message}`;
  const frames = stack.startsWith(head) ? stack.slice(head.length) : `\n${stack}`;
  error.stack = `${name}: ${message.split("\n")[0]}${frames}`;
  return error;
}
