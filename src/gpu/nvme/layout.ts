/**
 * The blocks of memory that kernels and the host share, as one table. `busbar_nvme_layout.cuh` is made from it
 * (`src/gpu/kernels/make.ts`), and a test compares the two.
 *
 * All of them lie in device memory, where atomics are cheap, but the control block, which is pinned host memory.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

/** A field of a block. */
export interface BlockField {
  /** Its name, the same in C. */
  readonly name: string;
  /** 4 or 8 bytes, aligned to themselves. */
  readonly sizeBytes: 4 | 8;
  /** What it holds, with its unit. */
  readonly meaning: string;
}

/** A field with its place. */
export interface PlacedField extends BlockField {
  /** Bytes from the start of the block. */
  readonly offset: number;
}

/** A block of memory with fields. */
export interface BlockLayout {
  /** The name of the struct in C. */
  readonly name: string;
  /** What it is for. */
  readonly meaning: string;
  /** Its fields. */
  readonly fields: readonly PlacedField[];
  /** Length, a multiple of 16 bytes. */
  readonly sizeBytes: number;
}

/** A field of a block to be laid out. */
export type BlockRow = readonly [name: string, sizeBytes: 4 | 8, meaning: string];

/** Lays fields out one after the other. @throws {BusbarError} `bug` for a field that is not aligned */
export function block(name: string, meaning: string, rows: readonly BlockRow[]): BlockLayout {
  let end = 0;
  const fields = rows.map(([field, sizeBytes, text]) => {
    if (end % sizeBytes !== 0) throw new BusbarError("bug", `${name}.${field} is not aligned`);
    const offset = end;
    end += sizeBytes;
    return { name: field, sizeBytes, meaning: text, offset };
  });
  return { name, meaning, fields, sizeBytes: Math.ceil(end / 16) * 16 };
}

/** One queue pair, as a kernel drives it. */
export const QUEUE_BLOCK: BlockLayout = block("bb_nvme_queue", "One queue pair, as a kernel drives it.", [
  ["submission", 8, "submission ring: device address"],
  ["completion", 8, "completion ring: device address"],
  [
    "tail_doorbell",
    8,
    "submission queue tail doorbell: device address of the register, or of a word that the host forwards",
  ],
  ["head_doorbell", 8, "completion queue head doorbell, likewise"],
  ["tail_shadow", 8, "shadow doorbell of the tail; 0 where the controller has none"],
  ["head_shadow", 8, "shadow doorbell of the head; 0 where the controller has none"],
  ["tail_event", 8, "EventIdx of the tail"],
  ["head_event", 8, "EventIdx of the head"],
  ["slots", 8, "bb_nvme_slot[slot_mask + 1]"],
  ["ready", 8, "u32 for each entry of the submission ring: the ticket whose command is stored there, plus 1"],
  ["times", 8, "bb_nvme_times[times_mask + 1]; 0 where nobody asks"],
  ["entry_mask", 4, "entries of each ring, a power of two, less 1"],
  ["entry_shift", 4, "entries of each ring, as a power of two"],
  ["slot_mask", 4, "commands between the oldest and the newest in flight, a power of two, less 1"],
  ["times_mask", 4, "entries of times, a power of two, less 1"],
  ["next_ticket", 4, "tickets handed out; the first is 0"],
  ["rung", 4, "tickets that the controller was told of"],
  ["ring_lock", 4, "1 while somebody rings the tail doorbell"],
  ["head", 4, "completions taken"],
  ["head_lock", 4, "1 while somebody takes completions"],
  ["fetched", 4, "commands that the controller took out of the ring, by SQHD"],
  ["finished", 4, "commands whose completion was taken"],
  ["failure", 4, "bb_nvme_failure: why the queue is driven no more"],
  ["failure_detail", 4, "the command identifier, or SQHD, that was wrong"],
  ["tail_rings", 4, "times that the tail doorbell was written"],
  ["head_rings", 4, "times that the head doorbell was written"],
  ["reserved", 4, "0"],
]);

/** A command that may be in flight. */
export const SLOT_BLOCK: BlockLayout = block(
  "bb_nvme_slot",
  "A command that may be in flight; its ticket, modulo the slots, finds it.",
  [
    ["lba", 8, "first block"],
    ["begun_ns", 8, "when its ticket was drawn, by the global timer"],
    ["turn", 4, "the ticket that may use the slot"],
    ["in_flight", 4, "command identifier plus 0x10000 while the controller may complete it, else 0"],
    ["done", 4, "the last ticket that ended here, plus 1"],
    ["status", 4, "status field of its completion, without the phase: SC 7:0, SCT 10:8, CRD 12:11, M 13, DNR 14"],
    ["result", 4, "dword 0 of its completion"],
    ["blocks", 4, "how many blocks"],
    ["build_ns", 4, "until the command lay in the ring"],
    ["ring_ns", 4, "from there until the doorbell was rung"],
  ],
);

/** Times of one command. */
export const TIMES_BLOCK: BlockLayout = block("bb_nvme_times", "Times of one command, in nanoseconds.", [
  ["build_ns", 4, "until the command lay in the ring"],
  ["ring_ns", 4, "from there until the doorbell was rung"],
  ["wait_ns", 4, "from there until its completion was seen"],
  ["is_valid", 4, "1 once written"],
]);

/** Memory for the data of one command. */
export const PIECE_BLOCK: BlockLayout = block("bb_nvme_piece", "Memory for the data of one command, with its PRPs.", [
  ["data", 8, "device address"],
  ["prp1", 8, "PRP entry 1"],
  ["prp2", 8, "PRP entry 2: 0, a page, or a list"],
  ["reserved", 8, "0"],
]);

/** Transfers over a range of blocks. */
export const JOB_BLOCK: BlockLayout = block("bb_nvme_job", "Transfers over a range of blocks.", [
  ["queues", 8, "bb_nvme_queue[queue_count]"],
  ["pieces", 8, "bb_nvme_piece[]: one for each transfer where is_linear, else one for each lane"],
  ["control", 8, "bb_nvme_control, in pinned host memory"],
  ["first_lba", 8, "first block of the range"],
  ["blocks", 8, "blocks of the range"],
  ["chunks", 8, "transfers that the range takes"],
  ["transfers", 8, "transfers to do"],
  ["random_seed", 8, "0: in order; else at random places of the range"],
  ["timeout_ns", 8, "how long a command may take"],
  ["next", 8, "transfers begun"],
  ["done", 8, "transfers ended well"],
  ["failed_lba", 8, "first block of the transfer that failed"],
  ["queue_count", 4, "queue pairs"],
  ["namespace_id", 4, "NSID"],
  ["opcode", 4, "0 flush, 1 write, 2 read"],
  ["transfer_blocks", 4, "blocks of one transfer; the last of the range may be shorter"],
  ["block_bytes", 4, "bytes of a block"],
  ["has_pattern", 4, "1: fill what is written, check what is read"],
  ["pattern_seed", 4, "seed of the pattern"],
  ["is_linear", 4, "1: each transfer has a piece of its own"],
  ["lanes", 4, "commands that a warp, or the thread, keeps in flight"],
  ["outcome", 4, "bb_nvme_failure: the first"],
  ["failed_status", 4, "status field of the command that failed"],
  ["failed_blocks", 4, "blocks of the transfer that failed"],
  ["is_timed", 4, "1: write times"],
  ["page_bytes", 4, "bytes of a page of PRPs"],
  ["failed_piece", 8, "device address of the data of the transfer that failed"],
]);

/** What host and kernel tell each other while it runs. */
export const CONTROL_BLOCK: BlockLayout = block(
  "bb_nvme_control",
  "What host and kernel tell each other while it runs, in pinned host memory.",
  [
    ["stop", 4, "written by the host: bb_nvme_stop"],
    ["reserved", 4, "0"],
    ["done", 8, "written by the kernel, now and then: transfers ended well"],
  ],
);

/** All blocks, in the order in which C needs them. */
export const NVME_BLOCKS: readonly BlockLayout[] = [
  QUEUE_BLOCK,
  SLOT_BLOCK,
  TIMES_BLOCK,
  PIECE_BLOCK,
  JOB_BLOCK,
  CONTROL_BLOCK,
];

/** Why a kernel ended early. The numbers are in `outcome` and `failure`. */
export const NVME_FAILURES = {
  none: 0,
  /** A command ended with an error status. */
  status: 1,
  /** A command did not end in time. */
  timeout: 2,
  /** A completion names no command that is in flight. */
  stray: 3,
  /** SQHD is beyond what was submitted. */
  head: 4,
  /** A block is not as the pattern says. */
  mismatch: 5,
} as const;

/** What the host asks of a kernel that runs. */
export const NVME_STOPS = {
  none: 0,
  /** Begin no more commands; end when those in flight have ended. */
  drain: 1,
  /** Return at once. */
  now: 2,
} as const;

/** An enumeration for C. */
export function enumText(name: string, meaning: string, values: Readonly<Record<string, number>>): string {
  const rows = Object.entries(values).map(([key, value]) => `  ${name.toUpperCase()}_${key.toUpperCase()} = ${value},`);
  return `/* ${meaning} */\nenum ${name} {\n${rows.join("\n")}\n};`;
}

/** The header for kernels. */
export function layoutHeader(): string {
  return blocksHeader("BUSBAR_NVME_LAYOUT_CUH", "layout.ts", NVME_BLOCKS, [
    enumText("bb_nvme_failure", "Why a kernel ended early.", NVME_FAILURES),
    enumText("bb_nvme_stop", "What the host asks of a kernel that runs.", NVME_STOPS),
  ]);
}

/** A header of blocks. @param source the file of `src/gpu/nvme` that has their table */
export function blocksHeader(
  guard: string,
  source: string,
  blocks: readonly BlockLayout[],
  enumerations: readonly string[],
): string {
  const types = { 4: "unsigned int", 8: "unsigned long long" } as const;
  const structs = blocks.map(({ name, meaning, fields, sizeBytes }) => {
    const used = fields.reduce((sum, field) => sum + field.sizeBytes, 0);
    const rows = fields.map((field) => `  ${types[field.sizeBytes]} ${field.name}; /* ${field.meaning} */`);
    if (used < sizeBytes) rows.push(`  unsigned int padding[${(sizeBytes - used) / 4}];`);
    return `/* ${meaning} */\nstruct __align__(16) ${name} {\n${
      rows.join("\n")
    }\n};\nstatic_assert(sizeof(${name}) == ${sizeBytes}, "${name}");`;
  });
  return [
    `/* Made from src/gpu/nvme/${source} by src/gpu/kernels/make.ts: do not edit. */`,
    `#ifndef ${guard}`,
    `#define ${guard}`,
    ...enumerations,
    ...structs,
    "#endif",
    "",
  ].join("\n\n");
}

/** The place of a field. @throws {BusbarError} `bug` for a name that the block does not have */
export function fieldNamed(layout: BlockLayout, name: string): PlacedField {
  const field = layout.fields.find((one) => one.name === name);
  if (field === undefined) throw new BusbarError("bug", `${layout.name} has no field '${name}'`);
  return field;
}

/** A block in memory, by the names of its fields. */
export class BlockView {
  readonly #layout: BlockLayout;
  readonly #view: DataView;

  /** Lays a block over memory, from `offset` on. */
  constructor(layout: BlockLayout, bytes: Uint8Array, offset: number = 0) {
    this.#layout = layout;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset + offset, layout.sizeBytes);
  }

  /** A field, unsigned. */
  get(name: string): bigint {
    const { offset, sizeBytes } = fieldNamed(this.#layout, name);
    return sizeBytes === 8 ? this.#view.getBigUint64(offset, true) : BigInt(this.#view.getUint32(offset, true));
  }

  /** A field of 4 bytes. */
  number(name: string): number {
    return Number(this.get(name));
  }

  /** Sets fields. @throws {BusbarError} `bug` for a value that does not fit */
  set(values: Readonly<Record<string, bigint | number | boolean>>): void {
    for (const [name, value] of Object.entries(values)) {
      const { offset, sizeBytes } = fieldNamed(this.#layout, name);
      const word = BigInt(value);
      if (word < 0n || word >> BigInt(8 * sizeBytes) !== 0n) throw new BusbarError("bug", `${name}: ${word}`);
      if (sizeBytes === 8) this.#view.setBigUint64(offset, word, true);
      else this.#view.setUint32(offset, Number(word), true);
    }
  }
}
