/**
 * A test double: a host on which chosen calls fail, or files change and vanish between two calls.
 * @module
 */

import type { BusbarError } from "./error.ts";
import { answerEach, type Host } from "./host.ts";
import type { HostAnswer, HostRequest } from "./host_requests.ts";

/** Which calls a fault meets, and what happens then. */
export interface Fault {
  /** The call: any when not given. */
  readonly call?:
    | "readText"
    | "readBytes"
    | "list"
    | "readLink"
    | "realPath"
    | "sizeBytes"
    | "writeText"
    | "writeBytes"
    | "writeTextSlowly"
    | "makeFolder"
    | "removeFolder";
  /** Paths it meets: equal text, or a match. */
  readonly path: string | RegExp;
  /** Meets only the calls after this many that would have met; 0 by default. */
  readonly after?: number;
  /** Meets at most this many calls; no end by default. */
  readonly times?: number;
  /** Thrown in place of the call. */
  readonly error?: BusbarError;
  /** Returned in place of the call's result. */
  readonly value?: unknown;
  /** Done before the call goes on: plug something out, change a file. */
  readonly action?: () => void;
}

/** Passes every call on to another host, except those that a fault meets. Counts the calls. */
export class FaultyHost implements Host {
  readonly name: string;
  /** Every call so far: name and path. Those of a batch are among them. */
  readonly calls: string[] = [];
  /** How many requests each batch so far had. */
  readonly batches: number[] = [];
  /** The calls that were not in a batch. */
  readonly singleCalls: string[] = [];
  #isInBatch = false;
  readonly #inner: Host;
  readonly #faults: { fault: Fault; met: number }[];

  /** The first fault that meets a call wins. */
  constructor(inner: Host, faults: readonly Fault[]) {
    this.name = inner.name;
    this.#inner = inner;
    this.#faults = faults.map((fault) => ({ fault, met: 0 }));
  }

  readText(path: string): string {
    return this.#pass("readText", path, () => this.#inner.readText(path));
  }

  readBytes(path: string, offset: number, sizeBytes: number): Uint8Array {
    return this.#pass("readBytes", path, () => this.#inner.readBytes(path, offset, sizeBytes));
  }

  list(path: string): string[] {
    return this.#pass("list", path, () => this.#inner.list(path));
  }

  readLink(path: string): string {
    return this.#pass("readLink", path, () => this.#inner.readLink(path));
  }

  realPath(path: string): string {
    return this.#pass("realPath", path, () => this.#inner.realPath(path));
  }

  sizeBytes(path: string): number {
    return this.#pass("sizeBytes", path, () => this.#inner.sizeBytes(path));
  }

  /** Each request of a batch is a call, which faults meet as any other. */
  batch(requests: readonly HostRequest[]): HostAnswer[] {
    this.batches.push(requests.length);
    this.#isInBatch = true;
    try {
      return answerEach(this, requests);
    } finally {
      this.#isInBatch = false;
    }
  }

  writeText(path: string, text: string): void {
    this.#pass("writeText", path, () => this.#inner.writeText(path, text));
  }

  writeBytes(path: string, offset: number, bytes: Uint8Array): void {
    this.#pass("writeBytes", path, () => this.#inner.writeBytes(path, offset, bytes));
  }

  async writeTextSlowly(path: string, text: string): Promise<void> {
    await this.#pass("writeTextSlowly", path, () => this.#inner.writeTextSlowly(path, text));
  }

  makeFolder(path: string): void {
    this.#pass("makeFolder", path, () => this.#inner.makeFolder(path));
  }

  removeFolder(path: string): void {
    this.#pass("removeFolder", path, () => this.#inner.removeFolder(path));
  }

  #pass<T>(call: Fault["call"], path: string, go: () => T): T {
    this.calls.push(`${call} ${path}`);
    if (!this.#isInBatch) this.singleCalls.push(`${call} ${path}`);
    for (const entry of this.#faults) {
      const { fault } = entry;
      if (fault.call !== undefined && fault.call !== call) continue;
      if (typeof fault.path === "string" ? fault.path !== path : !fault.path.test(path)) continue;
      entry.met++;
      const first = (fault.after ?? 0) + 1;
      if (entry.met < first || entry.met >= first + (fault.times ?? Infinity)) continue;
      fault.action?.();
      if (fault.error !== undefined) throw fault.error;
      if ("value" in fault) return fault.value as T;
      break;
    }
    return go();
  }
}
