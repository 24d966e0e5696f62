/**
 * What stands between a program and an accelerator: memory that it reaches, submissions, completions.
 * @module
 */

import { DecodedTable } from "../core/decoded.ts";
import { BusbarError, type ErrorCode } from "../core/error.ts";
import type { OradaxBuffer, OradaxDriver } from "../core/oradax_driver.ts";
import { LocalOradaxBuffer } from "../../ffi/oradax_driver.ts";
import type { SoftOradax } from "../../ffi/soft_oradax.ts";
import { decodeCompletion } from "./ccb.ts";
import { CCB_BYTES } from "./ccb_tables.ts";
import {
  CCB_STATES,
  type CcbState,
  COMPLETION_ERRORS,
  COMPLETION_STATUS,
  KILL_ACTIONS,
  type KillAction,
  SUBMIT_STATUS,
  UNAVAILABLE_SCOPE,
} from "./codes.ts";

/** Completion areas of a device. */
export const COMPLETION_AREAS = 128;
/** Most 64-byte units of one submission. A long CCB is two. */
export const MOST_SUBMIT_UNITS = 15;

/** What became of a submission. */
export interface OradaxSubmission {
  /** 64-byte units that the device took, from the first on. */
  readonly units: number;
  /** Submit status of the first CCB that it did not take; 0 also means that there is just no room now. */
  readonly status: number;
  /** An address or a scope, by status. */
  readonly statusData: bigint;
}

/** A CCB that has completed. */
export interface OradaxCompletion {
  /** 1 succeeded, 2 failed, 3 killed, 4 not run. */
  readonly status: number;
  /** Why it failed; 0x80 with status 1 is a warning. */
  readonly error: number;
  /** With error 0x80: bits that were left. */
  readonly errorValue: number;
  /** Bytes of output. */
  readonly outputBytes: number;
  /** Input elements processed. */
  readonly elements: number;
  /** Ones of the result, where the command counts them. */
  readonly returnValue: bigint;
  /** How long it took, in a unit of the device. */
  readonly runTime: bigint;
  /** All 128 bytes. */
  readonly area: Uint8Array<ArrayBuffer>;
}

/** An open accelerator. One thread uses it. Dispose waits for what is in flight, about a second, then ends it. */
export interface OradaxTransport extends Disposable {
  /** What it was opened by. */
  readonly name: string;
  /** The kernel's driver, or the software coprocessor. */
  readonly kind: "driver" | "soft";
  /** 1 for DAX1 (M7), 2 for DAX2 (M8). */
  readonly dax: 1 | 2;
  /** What carries out CCBs, in words. */
  readonly engine: string;
  /** Memory for streams, zeroed, in pages of at least `pageBytes` where there are any; each begins a page. */
  allocate(sizeBytes: number, pageBytes?: number): OradaxBuffer;
  /** Size of the page at an address, null outside of what was allocated. For the rules of {@linkcode buildCcb}. */
  pageBytesAt(address: bigint): number | null;
  /** Hands over CCBs; the first one completes in area `index`. A long CCB takes two areas and uses the first. */
  submit(index: number, ccbs: Uint8Array<ArrayBuffer>): OradaxSubmission;
  /** The completion of area `index`, waited for at most `limitUs` microseconds (50,000); null while in flight. */
  poll(index: number, limitUs?: number): OradaxCompletion | null;
  /** What the device says about the CCB of area `index`; unit, queue and position mean something while enqueued. */
  info(
    index: number,
  ): { readonly state: CcbState; readonly unit: number; readonly queue: number; readonly position: number };
  /** Ends the CCB of area `index`. Its area says status 3 afterwards, whatever had become of it. */
  kill(index: number): KillAction;
  /** Lets go of the memory of all CCBs that have completed. */
  dequeue(): void;
}

/** Decodes a completion area. */
export function readCompletion(area: Uint8Array<ArrayBuffer>): OradaxCompletion {
  const table = new DecodedTable("completion area", decodeCompletion(area));
  const value = (name: string): bigint => table.uint(name) ?? 0n;
  return {
    status: Number(value("status")),
    error: Number(value("error")),
    errorValue: Number(value("error_value")),
    outputBytes: Number(value("output_size")),
    elements: Number(value("elements")),
    returnValue: value("return_value"),
    runTime: value("run_time"),
    area,
  };
}

/** The error for a submission that was refused. */
export function submitError(name: string, submission: OradaxSubmission): BusbarError {
  const { status, statusData } = submission;
  const text = SUBMIT_STATUS[status] ?? "not defined";
  const scope = status === 12 ? `: ${UNAVAILABLE_SCOPE[Number(statusData)] ?? statusData}` : "";
  const where = status === 9 || status === 10 ? ` (0x${statusData.toString(16)})` : "";
  const code: ErrorCode = status === 12
    ? "unsupported"
    : status === 7 || status === 2 || status === 0
    ? "busy"
    : "usage";
  return new BusbarError(code, `${name}: the CCB was refused: ${text}${where}${scope} (submit status ${status})`, {
    operation: "submit",
    path: name,
    hint: status === 10 ? "inputs too must lie in writable memory of the device" : undefined,
  });
}

/** The error for a CCB that ended other than well. */
export function completionError(name: string, completion: OradaxCompletion): BusbarError {
  const status = COMPLETION_STATUS[completion.status] ?? `status ${completion.status}`;
  const error = COMPLETION_ERRORS[completion.error] ?? `error ${completion.error}`;
  return new BusbarError("device-failed", `${name}: the CCB ${status}: ${error}`, {
    operation: "complete",
    path: name,
  });
}

/** A transport over a driver's calls, of this machine or another, or over those of the software coprocessor. */
export class DriverOradax implements OradaxTransport {
  readonly name: string;
  readonly kind: "driver" | "soft";
  readonly dax: 1 | 2;
  readonly engine: string;
  readonly #driver: OradaxDriver;
  readonly #buffers = new Set<OradaxBuffer>();

  private constructor(driver: OradaxDriver, kind: "driver" | "soft", dax: 1 | 2, engine: string) {
    this.name = driver.name;
    this.kind = kind;
    this.dax = dax;
    this.engine = engine;
    this.#driver = driver;
  }

  /** Over the kernel's driver. */
  static driver(driver: OradaxDriver, dax: 1 | 2): DriverOradax {
    return new DriverOradax(driver, "driver", dax, "coprocessor");
  }

  /** Over the software coprocessor. */
  static soft(soft: SoftOradax, dax: 1 | 2): DriverOradax {
    return new DriverOradax(softDriver(soft), "soft", dax, `software coprocessor, ${soft.loops} loops`);
  }

  allocate(sizeBytes: number, pageBytes: number = 0): OradaxBuffer {
    const buffer = this.#driver.allocate(sizeBytes, pageBytes);
    const free = buffer[Symbol.dispose].bind(buffer);
    buffer[Symbol.dispose] = (): void => {
      this.#buffers.delete(buffer);
      free();
    };
    this.#buffers.add(buffer);
    return buffer;
  }

  pageBytesAt(address: bigint): number | null {
    for (const { address: start, sizeBytes, pageBytes } of this.#buffers) {
      if (address >= start && address < start + BigInt(sizeBytes)) return pageBytes;
    }
    return null;
  }

  submit(index: number, ccbs: Uint8Array<ArrayBuffer>): OradaxSubmission {
    const { takenBytes, status, statusData } = this.#driver.submit(index, ccbs);
    return { units: takenBytes / CCB_BYTES, status, statusData };
  }

  poll(index: number, limitUs: number = 0): OradaxCompletion | null {
    return this.#driver.wait(index, limitUs) === 0 ? null : readCompletion(this.#driver.completion(index));
  }

  info(index: number): ReturnType<OradaxTransport["info"]> {
    const [state, unit, queue, position] = this.#driver.info(index);
    return { state: CCB_STATES[state] ?? "not found", unit, queue, position };
  }

  kill(index: number): KillAction {
    return KILL_ACTIONS[this.#driver.kill(index)] ?? "not found";
  }

  dequeue(): void {
    this.#driver.dequeue();
  }

  /** Closes the device and frees what was allocated of it. */
  [Symbol.dispose](): void {
    // The driver stops using memory when the device is closed, so it is closed first.
    this.#driver[Symbol.dispose]();
    for (const buffer of this.#buffers) buffer[Symbol.dispose]();
  }
}

const SMALLEST_PAGE = 8192;

/** The software coprocessor by the calls of a driver. */
function softDriver(soft: SoftOradax): OradaxDriver {
  const { handle } = soft;
  return {
    name: handle.name,
    allocate(sizeBytes: number, pageBytes: number): OradaxBuffer {
      const page = Math.max(SMALLEST_PAGE, 2 ** Math.ceil(Math.log2(Math.max(1, pageBytes))));
      const memory = soft.allocate(sizeBytes, page);
      const free = (): void => memory[Symbol.dispose]();
      return new LocalOradaxBuffer({ address: memory.address, sizeBytes, pageBytes: page }, () => memory.bytes, free);
    },
    submit: (index, ccbs) => handle.submit(index, ccbs),
    wait: (index, limitUs) => handle.wait(index, limitUs),
    completion: (index) => handle.completion(index),
    info: (index) => handle.info(index),
    kill: (index) => handle.kill(index),
    dequeue: () => handle.dequeue(),
    [Symbol.dispose]: () => soft[Symbol.dispose](),
  };
}
