/**
 * The one error class, and the closed table of what can go wrong.
 * @module
 */

/**
 * Every error code and the exit status a tool ends with when it meets it.
 *
 * 1: the answer is no, or the device reported failure. 2: wrong usage or configuration.
 * 3: could not be reached or determined. 70: a bug in busbar. 129, 130, 143: ended by a signal, after undo.
 */
export const EXIT_STATUS = {
  /** The question was answered, and the answer is no. */
  "no": 1,
  /** The device reported failure: a status code, a fatal status bit, a media error. */
  "device-failed": 1,
  /** The device was there and is not any more. */
  "device-gone": 1,
  /** Data read back differs from data written. */
  "mismatch": 1,
  /** The command line or the arguments of a call are wrong. */
  "usage": 2,
  /** A file that was given as input is not what it should be. */
  "malformed": 2,
  /** An offset, size or index lies outside what exists. */
  "out-of-range": 2,
  /** A path, device or process does not exist. */
  "absent": 3,
  /** A recording does not hold it; the machine may have it. */
  "not-recorded": 3,
  /** This user may not do it. */
  "permission": 3,
  /** Somebody else is using it. */
  "busy": 3,
  /** The kernel, the device or this build cannot do it. */
  "unsupported": 3,
  /** The device is present but does not answer: powered down, decoding off. */
  "unreachable": 3,
  /** A shared library or the compiler that builds it is missing or wrong. */
  "library": 3,
  /** It did not happen within the time limit. */
  "timeout": 3,
  /** A system call failed in a way that no other code names. */
  "io": 3,
  /** A handle was used after it was closed: a mistake in the calling program. */
  "closed": 70,
  /** Something that cannot happen did. */
  "bug": 70,
  /** SIGHUP. */
  "hangup": 129,
  /** SIGINT. */
  "interrupted": 130,
  /** SIGTERM. */
  "terminated": 143,
} as const;

/** A code of the closed table {@linkcode EXIT_STATUS}. */
export type ErrorCode = keyof typeof EXIT_STATUS;

/** What a {@linkcode BusbarError} carries besides its code and message. */
export interface ErrorDetails {
  /** What was being done, in a few words: `map BAR0`, `mmap`. */
  readonly operation?: string | undefined;
  /** The path, locator or PCI address it was done to. */
  readonly path?: string | undefined;
  /** What to do about it: the next command to type, or the setting to change. */
  readonly hint?: string | undefined;
  /** The error underneath. */
  readonly cause?: unknown;
}

/**
 * The only error that busbar throws on purpose.
 *
 * @example
 * ```ts
 * import { BusbarError } from "./error.ts";
 * const error = new BusbarError("absent", "0000:01:00.0: no such PCI function", { hint: "lspci -D lists them" });
 * console.assert(error.exitStatus === 3);
 * ```
 */
export class BusbarError extends Error {
  /** The class, as it stands before the message in a stack. */
  override readonly name: string = "BusbarError";
  /** The kind of failure, from {@linkcode EXIT_STATUS}. */
  readonly code: ErrorCode;
  /** What was being done, or null where the message says it all. */
  readonly operation: string | null;
  /** What it was done to, or null where it concerns nothing in particular. */
  readonly path: string | null;
  /** What to do next, or null where there is nothing to do. */
  readonly hint: string | null;

  /**
   * Makes an error; throw it.
   *
   * @param code the kind of failure
   * @param message one line, without a full stop: what was tried and what was found
   */
  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.operation = details.operation ?? null;
    this.path = details.path ?? null;
    this.hint = details.hint ?? null;
  }

  /** The exit status of a tool that ends with this error. */
  get exitStatus(): number {
    return EXIT_STATUS[this.code];
  }
}

/**
 * True for a {@linkcode BusbarError} whose code is one of `codes` (any code when none is given).
 *
 * @example
 * ```ts
 * import { isBusbarError, openPciDevice } from "@busbar/busbar";
 * try {
 *   openPciDevice("ffff:ff:1f.7");
 * } catch (error) {
 *   if (!isBusbarError(error, "absent")) throw error;
 *   console.log(error.message, error.hint);
 * }
 * ```
 */
export function isBusbarError(error: unknown, ...codes: ErrorCode[]): error is BusbarError {
  return error instanceof BusbarError && (codes.length === 0 || codes.includes(error.code));
}

/** Linux error numbers that this project meets, by name (asm-generic/errno.h: the same on x86-64 and aarch64). */
const ERRNO: Readonly<Record<string, { number: number; text: string; code: ErrorCode }>> = {
  EPERM: { number: 1, text: "operation not permitted", code: "permission" },
  ENOENT: { number: 2, text: "no such file or directory", code: "absent" },
  ESRCH: { number: 3, text: "no such process", code: "absent" },
  EINTR: { number: 4, text: "interrupted system call", code: "io" },
  EIO: { number: 5, text: "input/output error", code: "io" },
  ENXIO: { number: 6, text: "no such device or address", code: "absent" },
  E2BIG: { number: 7, text: "argument list too long", code: "usage" },
  EBADF: { number: 9, text: "bad file descriptor", code: "io" },
  EAGAIN: { number: 11, text: "resource temporarily unavailable", code: "busy" },
  ENOMEM: { number: 12, text: "out of memory", code: "io" },
  EACCES: { number: 13, text: "permission denied", code: "permission" },
  EFAULT: { number: 14, text: "bad address", code: "io" },
  EBUSY: { number: 16, text: "device or resource busy", code: "busy" },
  EEXIST: { number: 17, text: "file exists", code: "busy" },
  ENODEV: { number: 19, text: "no such device", code: "absent" },
  ENOTDIR: { number: 20, text: "not a directory", code: "absent" },
  EISDIR: { number: 21, text: "is a directory", code: "usage" },
  EINVAL: { number: 22, text: "invalid argument", code: "io" },
  EMFILE: { number: 24, text: "too many open files", code: "io" },
  ENOTTY: { number: 25, text: "the device does not know this ioctl", code: "unsupported" },
  ETXTBSY: { number: 26, text: "text file busy", code: "busy" },
  EFBIG: { number: 27, text: "file too large", code: "out-of-range" },
  ENOSPC: { number: 28, text: "no space left", code: "io" },
  EROFS: { number: 30, text: "read-only file system", code: "permission" },
  EPIPE: { number: 32, text: "broken pipe", code: "io" },
  ERANGE: { number: 34, text: "result out of range", code: "out-of-range" },
  ENAMETOOLONG: { number: 36, text: "file name too long", code: "usage" },
  ENOSYS: { number: 38, text: "the kernel does not have this system call", code: "unsupported" },
  ELOOP: { number: 40, text: "too many symbolic links", code: "io" },
  EPROTO: { number: 71, text: "protocol error", code: "io" },
  EOVERFLOW: { number: 75, text: "value too large", code: "out-of-range" },
  EMSGSIZE: { number: 90, text: "message too long", code: "io" },
  EOPNOTSUPP: { number: 95, text: "operation not supported", code: "unsupported" },
  ETIMEDOUT: { number: 110, text: "timed out", code: "timeout" },
  EREMOTEIO: { number: 121, text: "remote I/O error", code: "io" },
  ECANCELED: { number: 125, text: "cancelled", code: "io" },
};

/** The symbolic name of a Linux error number, such as `EBUSY` for 16; `errno 250` where it is not in the table. */
export function errnoName(errno: number): string {
  for (const [name, entry] of Object.entries(ERRNO)) if (entry.number === errno) return name;
  return `errno ${errno}`;
}

/**
 * Makes an error from a Linux error number.
 *
 * @param errno positive error number
 * @param operation what was being done, such as `mmap`
 */
export function errnoError(errno: number, operation: string, details: ErrorDetails = {}): BusbarError {
  const name = errnoName(errno);
  const entry = ERRNO[name];
  const where = details.path === undefined ? "" : `${details.path}: `;
  return new BusbarError(
    entry?.code ?? "io",
    `${where}cannot ${operation}: ${entry?.text ?? "unknown error"} (${name})`,
    { ...details, operation },
  );
}

/**
 * Makes a {@linkcode BusbarError} from whatever a Deno system call threw. A BusbarError passes through unchanged.
 *
 * @param operation what was being done, such as `read`
 * @param path what it was done to
 */
export function systemError(cause: unknown, operation: string, path: string, hint?: string): BusbarError {
  if (cause instanceof BusbarError) return cause;
  const errno = errnoOf(cause);
  if (errno !== null) return errnoError(errno, operation, { path, hint, cause });
  const text = cause instanceof Error ? cause.message : String(cause);
  return new BusbarError("io", `${path}: cannot ${operation}: ${text}`, { operation, path, hint, cause });
}

/** The name of the Linux error number that an error was made of, such as `EBUSY`; null for any other error. */
export function errnoNameOf(error: BusbarError): string | null {
  const name = /\((E[A-Z0-9]+)\)/.exec(error.message)?.[1];
  return name !== undefined && Object.hasOwn(ERRNO, name) ? name : null;
}

/** The Linux error number in an error that Deno threw, or null where it has none. */
export function errnoOf(error: unknown): number | null {
  if (!(error instanceof Error)) return null;
  if ("code" in error && typeof error.code === "string") {
    const known = ERRNO[error.code];
    if (known !== undefined) return known.number;
  }
  const match = /\(os error (\d+)\)/.exec(error.message);
  return match === null ? null : Number(match[1]);
}
