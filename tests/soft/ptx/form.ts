/**
 * One form of a PTX instruction as a test: a kernel of one instruction, what it is given and what must come out.
 * @module
 */

/** What a result may be. */
export interface Expectation {
  /** Whether these bits are right. */
  accepts(bits: bigint): boolean;
  /** For the message of a failure. */
  readonly text: string;
}

/** Blocks and threads of a launch; y and z are 1. */
export interface Shape {
  readonly grid: number;
  readonly block: number;
}

/** One form. */
export interface Form {
  /** The instruction as it is spelled, with a word behind it where one spelling has several tests. */
  readonly name: string;
  /** Forms of a family and an architecture are one module. */
  readonly family: string;
  /** The least architecture that has it. */
  readonly sm: number;
  /** The kernel's text behind its name: parameters and body. */
  readonly kernel: string;
  /** Declarations at module scope that it needs. */
  readonly module: string;
  /** The launches: each is given the same input and an output of its own. */
  readonly shapes: readonly Shape[];
  /** The bytes that the kernel reads. */
  readonly input: Uint8Array<ArrayBuffer>;
  /** How many bytes it may write. */
  readonly outputBytes: number;
  /** The third argument: how many rows there are. */
  readonly rows: number;
  /** What is wrong with an output; empty when nothing is. */
  check(output: Uint8Array<ArrayBuffer>): string[];
}

/** What outputs hold before a launch, so that a byte that was not written shows. */
export const UNWRITTEN = 0xcc;

export function exactly(bits: bigint): Expectation {
  return { accepts: (got) => got === bits, text: `0x${bits.toString(16)}` };
}

export function oneOf(...choices: bigint[]): Expectation {
  return {
    accepts: (got) => choices.includes(got),
    text: choices.map((bits) => `0x${bits.toString(16)}`).join(" or "),
  };
}

/** PTX says nothing of the result: the instruction must only come to an end. */
export const UNSPECIFIED: Expectation = { accepts: () => true, text: "anything" };

/** The width of a register, and `pred`. */
export type Register = "b16" | "b32" | "b64" | "pred";

/** A form that every thread executes for itself, with a row of operands each. */
export interface LaneForm {
  readonly name: string;
  readonly family: string;
  readonly sm?: number;
  /** Registers %a, %b, %c, %d in order. */
  readonly operands: readonly Register[];
  /** Registers %x, %y, %z in order. */
  readonly results: readonly Register[];
  /** The instruction, and what it needs around it. Operands are %a …, results %x …, 64-bit scratch %t0 … %t3. */
  readonly code: string;
  readonly module?: string;
  /** Declarations of the kernel, such as shared memory. */
  readonly locals?: string;
  /** False where the code itself writes the row's results, at [%to]. */
  readonly stores?: boolean;
  readonly rows: readonly (readonly bigint[])[];
  expect(...row: bigint[]): readonly Expectation[];
}

const OPERANDS = ["%a", "%b", "%c", "%d"];
const RESULTS = ["%x", "%y", "%z", "%w"];
const SLOT_BYTES = 8;

export function bitsOf(register: Register): number {
  return register === "pred" ? 32 : Number(register.slice(1));
}

/** The blocks in which every thread has a row: whole warps, warps with lanes missing, and one thread alone. */
const LANE_BLOCKS = [32, 13, 1];

/** The text of a kernel that loads operands from a slot of 8 bytes each, runs code, and stores results likewise. */
export function laneKernel(form: Pick<LaneForm, "operands" | "results" | "code" | "locals" | "stores">): string {
  const declare = (names: string[], kinds: readonly Register[]): string =>
    kinds.map((kind, index) => `.reg .${kind} ${names[index]};`).join(" ");
  const load = form.operands.map((kind, index) => {
    const from = `[%from+${index * SLOT_BYTES}]`;
    if (kind !== "pred") return `  ld.global.${kind} ${OPERANDS[index]}, ${from};`;
    return `  ld.global.b32 %row, ${from};\n  setp.ne.u32 ${OPERANDS[index]}, %row, 0;`;
  });
  const store = form.stores === false ? [] : form.results.map((kind, index) => {
    const to = `[%to+${index * SLOT_BYTES}]`;
    if (kind !== "pred") return `  st.global.${kind} ${to}, ${RESULTS[index]};`;
    return `  selp.b32 %row, 1, 0, ${RESULTS[index]};\n  st.global.b32 ${to}, %row;`;
  });
  return `(.param .u64 inputs, .param .u64 outputs, .param .u32 rows)
{
  .reg .pred %outside; .reg .b32 %row, %threads, %thread; .reg .b64 %from, %to, %t<4>;
  ${declare(OPERANDS, form.operands)}
  ${declare(RESULTS, form.results)}
  ${form.locals ?? ""}
  mov.u32 %row, %ctaid.x;
  mov.u32 %threads, %ntid.x;
  mov.u32 %thread, %tid.x;
  mad.lo.u32 %row, %row, %threads, %thread;
  ld.param.u32 %threads, [rows];
  setp.ge.u32 %outside, %row, %threads;
  @%outside bra DONE;
  ld.param.u64 %from, [inputs];
  ld.param.u64 %to, [outputs];
  mad.wide.u32 %from, %row, ${SLOT_BYTES * form.operands.length}, %from;
  mad.wide.u32 %to, %row, ${SLOT_BYTES * form.results.length}, %to;
${load.join("\n")}
  ${form.code}
${store.join("\n")}
DONE:
  ret;
}
`;
}

function little(bits: bigint, sizeBytes: number): number[] {
  return Array.from({ length: sizeBytes }, (_, at) => Number(bits >> BigInt(8 * at) & 0xffn));
}

export function readBits(bytes: Uint8Array, offset: number, sizeBytes: number): bigint {
  let bits = 0n;
  for (let at = sizeBytes - 1; at >= 0; at--) bits = bits << 8n | BigInt(bytes[offset + at] ?? 0);
  return bits;
}

/** Rows of operands in slots of 8 bytes; what is above an operand's width is noise that must not be looked at. */
export function packRows(rows: readonly (readonly bigint[])[], operands: readonly Register[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(rows.length * operands.length * SLOT_BYTES).fill(0xa5);
  for (const [index, row] of rows.entries()) {
    for (const [place, kind] of operands.entries()) {
      const bits = row[place];
      if (bits === undefined) throw new Error(`row ${index} has ${row.length} of ${operands.length} operands`);
      bytes.set(little(bits, bitsOf(kind) / 8), (index * operands.length + place) * SLOT_BYTES);
    }
  }
  return bytes;
}

const hex = (bits: bigint): string => `0x${bits.toString(16)}`;

/** Compares results in slots of 8 bytes, of which only the width of the result may be written. */
export function checkSlots(
  output: Uint8Array,
  results: readonly Register[],
  rows: readonly (readonly bigint[])[],
  expected: readonly (readonly Expectation[])[],
): string[] {
  const wrong: string[] = [];
  for (const [index, expectations] of expected.entries()) {
    for (const [place, kind] of results.entries()) {
      const sizeBytes = bitsOf(kind) / 8;
      const at = (index * results.length + place) * SLOT_BYTES;
      const got = readBits(output, at, sizeBytes);
      const want = expectations[place];
      const given = (rows[index] ?? []).map(hex).join(", ");
      if (want === undefined) throw new Error(`no expectation for result ${place} of ${given}`);
      if (!want.accepts(got)) wrong.push(`row ${index} (${given}): result ${place} is ${hex(got)}, not ${want.text}`);
      const beyond = output.subarray(at + sizeBytes, at + SLOT_BYTES);
      if (beyond.some((byte) => byte !== UNWRITTEN)) {
        wrong.push(`row ${index} (${given}): more bytes than ${kind} written`);
      }
    }
  }
  return wrong;
}

/** A form that each thread executes for itself. */
export function laneForm(form: LaneForm): Form {
  const { rows, operands, results } = form;
  let expected: (readonly Expectation[])[] | null = null;
  return {
    name: form.name,
    family: form.family,
    sm: form.sm ?? 75,
    kernel: laneKernel(form),
    module: form.module ?? "",
    shapes: LANE_BLOCKS.map((block) => ({ block, grid: Math.ceil(rows.length / block) })),
    input: packRows(rows, operands),
    outputBytes: rows.length * results.length * SLOT_BYTES,
    rows: rows.length,
    check(output): string[] {
      expected ??= rows.map((row) => form.expect(...row));
      return checkSlots(output, results, rows, expected);
    },
  };
}

/** A form that a warp or a block executes together: a group of rows is one block. */
export interface GroupForm extends Omit<LaneForm, "rows" | "expect"> {
  /** One group each: the operands of its threads. All groups have as many threads. */
  readonly groups: readonly (readonly (readonly bigint[])[])[];
  /** The results of each thread of a group. */
  expectGroup(group: readonly (readonly bigint[])[]): readonly (readonly Expectation[])[];
}

export function groupForm(form: GroupForm): Form {
  const rows = form.groups.flat();
  const block = form.groups[0]?.length ?? 0;
  if (form.groups.some((group) => group.length !== block)) throw new Error(`${form.name}: groups of different sizes`);
  return {
    name: form.name,
    family: form.family,
    sm: form.sm ?? 75,
    kernel: laneKernel(form),
    module: form.module ?? "",
    shapes: [{ grid: form.groups.length, block }],
    input: packRows(rows, form.operands),
    outputBytes: rows.length * form.results.length * SLOT_BYTES,
    rows: rows.length,
    check(output): string[] {
      // Made anew each time: what a group may give can depend on what its other threads gave.
      const expected = form.groups.flatMap((group) => form.expectGroup(group));
      return checkSlots(output, form.results, rows, expected);
    },
  };
}
