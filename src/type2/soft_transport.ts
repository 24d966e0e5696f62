/**
 * A device in this process.
 * @module
 */

import type { Deadline } from "../core/deadline.ts";
import { SoftType2 } from "../../ffi/soft_type2.ts";
import { commandNamed } from "./commands.ts";
import { PROFILES, registerOffset } from "./registers.ts";
import type { Completion, Submission, Type2Transport } from "./transport.ts";

const CMD = registerOffset("CMD"), SESSION = registerOffset("SESSION");
const PARAM0 = registerOffset("PARAM0"), RESULT0 = registerOffset("RESULT0");
const CMD_RESULT = registerOffset("CMD_RESULT");

/** Commands that wait or compute: they run on a thread of the pool, so that signals are served meanwhile. */
const SLOW: ReadonlySet<number> = new Set(
  [
    "CTX_CREATE",
    "CTX_DESTROY",
    "CTX_SYNC",
    "MEM_FREE",
    "MEM_COPY_HTOD",
    "MEM_COPY_DTOH",
    "MEM_COPY_DTOD",
    "MODULE_LOAD_PTX",
    "MODULE_LOAD_BULK",
    "LAUNCH_KERNEL",
    "STREAM_SYNC",
    "EVENT_SYNC",
    "BULK_HTOD",
    "BULK_DTOH",
    "BULK_DTOD",
    "SESSION_END",
  ].map((name) => commandNamed(name).code),
);

/** Commands to a software device of this process, one after the other. */
export class SoftTransport implements Type2Transport {
  readonly name: string;
  readonly kind = "in this process";
  readonly windowBytes: number;
  /** The device itself: for tests. */
  readonly device: SoftType2;
  #last: Promise<unknown> = Promise.resolve();

  /** Takes over a device: dispose closes it. */
  constructor(device: SoftType2, profile: keyof typeof PROFILES) {
    this.name = device.name;
    this.device = device;
    this.windowBytes = PROFILES[profile].windowBytes;
  }

  get bar4(): Uint8Array<ArrayBuffer> {
    return this.device.bar4;
  }

  read32(offset: number): number {
    return Number(this.device.read(offset, 4));
  }

  read64(offset: number): bigint {
    return this.device.read(offset, 8);
  }

  submit(submission: Submission, _deadline: Deadline, signal?: AbortSignal): Promise<Completion> {
    const next = this.#last.then(() => this.#run(submission, signal));
    this.#last = next.catch(() => {});
    return next;
  }

  async #run(submission: Submission, signal?: AbortSignal): Promise<Completion> {
    signal?.throwIfAborted();
    const { device } = this;
    if (submission.data !== null) device.writeData(0, submission.data);
    for (const [i, value] of submission.params.entries()) device.write(PARAM0 + 8 * i, 8, value);
    device.write(SESSION, 4, BigInt(submission.session));
    if (SLOW.has(submission.code)) await device.run(CMD, BigInt(submission.code));
    else device.write(CMD, 4, BigInt(submission.code));
    const data = new Uint8Array(submission.readBytes);
    if (data.length > 0) device.readData(0, data);
    return {
      result: this.read32(CMD_RESULT),
      results: [0, 1, 2, 3].map((i) => this.read64(RESULT0 + 8 * i)),
      data,
    };
  }

  [Symbol.dispose](): void {
    this.device[Symbol.dispose]();
  }
}
