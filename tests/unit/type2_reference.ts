/**
 * Test doubles of a device of the public code: one that replays a transcript, and one that answers whatever is asked, with the
 * quirks that such devices have. There is no extension block, and registers answer at their first byte only.
 * @module
 */

import type { Deadline } from "../../src/core/deadline.ts";
import { commandNamed, commandOf } from "../../src/type2/commands.ts";
import { DEV_NAME, registerOffset } from "../../src/type2/registers.ts";
import type { Completion, Submission, Type2Transport } from "../../src/type2/transport.ts";

interface Exchange {
  readonly command: string;
  readonly params: readonly string[];
  readonly result: number;
  readonly results?: readonly string[];
  /** The bytes of DATA are kept, as a copy to the device would. */
  readonly keeps?: boolean;
  /** They are given back. */
  readonly gives?: boolean;
}

/** A transcript, as tests/fixtures/type2 has it. */
export interface Transcript {
  readonly registers: Readonly<Record<string, string>>;
  readonly name: string;
  readonly exchanges: readonly Exchange[];
}

/** Reads the committed one. */
export function referenceTranscript(): Transcript {
  return JSON.parse(Deno.readTextFileSync(new URL("../fixtures/type2/reference.json", import.meta.url)));
}

abstract class Reference implements Type2Transport {
  readonly name = "reference";
  readonly kind = "trapped registers";
  /** A large cache: no sign of the generation. */
  readonly windowBytes: number = 128 << 20;
  readonly bar4: Uint8Array<ArrayBuffer> | null = null;
  readonly #values: ReadonlyMap<number, bigint>;

  constructor({ registers, name }: Transcript) {
    const values = new Map(Object.entries(registers).map(([row, value]) => [registerOffset(row), BigInt(value)]));
    const bytes = new Uint8Array(DEV_NAME.sizeBytes);
    new TextEncoder().encodeInto(name, bytes);
    for (const [i, word] of new BigUint64Array(bytes.buffer).entries()) values.set(DEV_NAME.offset + 8 * i, word);
    this.#values = values;
  }

  read32(offset: number): number {
    return Number(BigInt.asUintN(32, this.read64(offset)));
  }

  read64(offset: number): bigint {
    return this.#values.get(offset) ?? 0n;
  }

  submit(submission: Submission, _deadline: Deadline): Promise<Completion> {
    const { result, results = [], data = new Uint8Array(submission.readBytes) } = this.answer(submission);
    return Promise.resolve({ result, results: [0, 1, 2, 3].map((i) => results[i] ?? 0n), data });
  }

  protected abstract answer(
    submission: Submission,
  ): { result: number; results?: readonly bigint[]; data?: Uint8Array<ArrayBuffer> };

  [Symbol.dispose](): void {}
}

/** Replays a transcript: a command that is not the next one fails the test. */
export class ReplayedReference extends Reference {
  readonly #exchanges: Exchange[];
  #kept: Uint8Array<ArrayBuffer> = new Uint8Array(0);

  constructor(transcript: Transcript) {
    super(transcript);
    this.#exchanges = [...transcript.exchanges];
  }

  /** Commands that were not asked for. */
  get left(): number {
    return this.#exchanges.length;
  }

  protected answer(submission: Submission): { result: number; results: bigint[]; data?: Uint8Array<ArrayBuffer> } {
    const next = this.#exchanges.shift();
    const asked = `${commandOf(submission.code)?.name}(${submission.params.join(", ")})`;
    const wanted = next === undefined ? "nothing" : `${next.command}(${next.params.map(BigInt).join(", ")})`;
    if (next === undefined || asked !== wanted) throw new Error(`the client asked for ${asked}, not ${wanted}`);
    if (next.keeps) this.#kept = submission.data?.slice() ?? this.#kept;
    const results = (next.results ?? []).map(BigInt);
    return next.gives ? { result: next.result, results, data: this.#kept.slice() } : { result: next.result, results };
  }
}

/** Answers as such a device does, in any order. */
export class QuirkyReference extends Reference {
  /** What it was asked. */
  readonly asked: Submission[] = [];
  #next = 0x100000n;

  protected answer(submission: Submission): { result: number; results?: readonly bigint[] } {
    const { code, params } = submission;
    this.asked.push(submission);
    const row = commandOf(code);
    if (row === null || row.isEmulated || row.feature === "EXTENSION") return { result: 1 };
    if (code === commandNamed("MEM_ALLOC").code) {
      const pointer = this.#next;
      this.#next += 4096n;
      return { result: 0, results: [pointer] };
    }
    const isBulk = code >= commandNamed("BULK_HTOD").code && code <= commandNamed("BULK_DTOD").code;
    return { result: isBulk && params[2] === 0n ? 1 : 0 };
  }
}
