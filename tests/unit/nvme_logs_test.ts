/** Logs to files over a scripted controller: persistent events, telemetry of the controller, logs by a user's table. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { decodeBytes } from "../../src/core/layout.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { readPersistentEvents, readTelemetry } from "../../src/nvme/jobs/log_files.ts";
import { parseLogTable, unexpectedRows } from "../../src/nvme/jobs/log_table_file.ts";
import type { NvmeCommand, NvmeCompletion, NvmeTransport } from "../../src/nvme/queue/command.ts";

/** Answers Get Log Page from bytes; remembers what it was asked. */
class ScriptedLog implements NvmeTransport, AsyncDisposable {
  readonly name = "scripted";
  readonly isReadOnly = true;
  readonly asked: { readonly specificField: number; readonly offset: number; readonly sizeBytes: number }[] = [];
  readonly #log: Uint8Array;
  /** The status of the n-th command, where it is not 0. */
  failAt: number | null = null;

  constructor(log: Uint8Array) {
    this.#log = log;
  }

  execute(_queue: string, command: NvmeCommand): Promise<NvmeCompletion> {
    assertEquals(command.opcode, 0x02);
    const data = command.data;
    assert(data instanceof Uint8Array);
    const cdw10 = command.cdw10 ?? 0;
    assertEquals(cdw10 >>> 15 & 1, 1, "the event stays pending");
    const offset = command.cdw12 ?? 0;
    this.asked.push({ specificField: cdw10 >>> 8 & 0x7f, offset, sizeBytes: data.length });
    if (this.asked.length - 1 === this.failAt) return Promise.resolve({ dw0: 0, dw1: 0, status: 0x4006 });
    data.set(this.#log.subarray(offset, offset + data.length));
    return Promise.resolve({ dw0: 0, dw1: 0, status: 0 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** A persistent event log of so many bytes; each byte behind the header says where it is. */
function events(sizeBytes: number): Uint8Array {
  const log = new Uint8Array(Math.max(512, sizeBytes));
  for (let i = 512; i < sizeBytes; i++) log[i] = i * 7 & 0xff;
  const view = new DataView(log.buffer);
  view.setUint8(0, 0x0d);
  view.setUint32(4, 3, true);
  view.setBigUint64(8, BigInt(sizeBytes), true);
  return log;
}

async function collected(read: (sink: (bytes: Uint8Array) => void) => Promise<unknown>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  await read((bytes) => parts.push(bytes.slice()));
  return new Uint8Array(await new Blob(parts.map((part) => part.slice())).arrayBuffer());
}

Deno.test("persistent events: a context is made, the log is read to its last byte, the context is let go", async () => {
  for (const sizeBytes of [512, 513, 4097, 70_001]) {
    const transport = new ScriptedLog(events(sizeBytes));
    const bytes = await collected((sink) => readPersistentEvents(NvmeController.over(transport), sink));
    assertEquals(bytes, events(sizeBytes).subarray(0, sizeBytes));
    assertEquals([transport.asked[0]?.specificField, transport.asked.at(-1)?.specificField], [1, 2]);
    assert(transport.asked.slice(1, -1).every(({ specificField }) => specificField === 0));
  }
});

Deno.test("persistent events: the context is let go also after an error, and a length that cannot be is refused", async () => {
  const failing = new ScriptedLog(events(70_001));
  failing.failAt = 3;
  const error = await assertRejects(() => readPersistentEvents(NvmeController.over(failing), () => {}), BusbarError);
  assertEquals([error.code, failing.asked.at(-1)?.specificField], ["device-failed", 2]);
  const lying = events(512);
  new DataView(lying.buffer).setBigUint64(8, 1n << 60n, true);
  const transport = new ScriptedLog(lying);
  await assertRejects(() => readPersistentEvents(NvmeController.over(transport), () => {}), BusbarError, "bytes");
  assertEquals(transport.asked.at(-1)?.specificField, 2);
});

Deno.test("telemetry of the controller: nothing kept is the answer no; areas end where the header says", async () => {
  const log = new Uint8Array(512 * 6);
  const view = new DataView(log.buffer);
  view.setUint8(0, 8);
  for (const [at, last] of [[8, 1], [10, 3], [12, 5]] as const) view.setUint16(at, last, true);
  const none = await assertRejects(
    () => readTelemetry(NvmeController.over(new ScriptedLog(log)), "controller", 3, () => {}),
    BusbarError,
  );
  assertEquals(none.code, "no");
  view.setUint8(382, 1);
  for (const [area, blocks] of [[1, 2], [2, 4], [3, 6]] as const) {
    const transport = new ScriptedLog(log);
    const bytes = await collected((sink) => readTelemetry(NvmeController.over(transport), "controller", area, sink));
    assertEquals(bytes.length, 512 * blocks);
    assert(transport.asked.every(({ specificField }) => specificField === 0), "only the host's log is made by asking");
  }
});

const TABLE = `name: example
log: 0xc0
size: 32
rows:
  - { name: COUNT, offset: 0, bytes: 16, title: Units }
  - { name: FLAGS, offset: 16, bytes: 1, fields: [{ name: A, bits: 0 }, { name: B, bits: [3, 1], values: { 5: five } }] }
  - { name: GUID, offset: 24, bytes: 8, kind: bytes, expect: "0102030405060708" }
`;

Deno.test("a user's table: numbers of 128 bits, fields, and bytes that tell whether it is the right log", async () => {
  const table = await parseLogTable(TABLE, "table.yaml");
  assertEquals([table.log, table.sizeBytes], [0xc0, 32]);
  const bytes = new Uint8Array(32);
  bytes[15] = 1;
  bytes[16] = 0b1011;
  bytes.set([1, 2, 3, 4, 5, 6, 7, 8], 24);
  const rows = decodeBytes(table.layout.rows, bytes);
  assertEquals(rows.map(({ value }) => value).slice(0, 2), [1n << 120n, 0xbn]);
  assertEquals(rows[1]?.fields.map(({ value, meaning }) => [value, meaning]), [[1n, null], [5n, "five"]]);
  assertEquals(unexpectedRows(table, rows), []);
  bytes[24] = 9;
  assertEquals(unexpectedRows(table, decodeBytes(table.layout.rows, bytes)).length, 1);
});

Deno.test("a table with mistakes names each, with its place", async () => {
  for (
    const [text, part] of [
      ["", "the file"],
      ["rows: [", "table.yaml"],
      [TABLE.replace("log: 0xc0", "log: 256"), "log:"],
      [TABLE.replace("size: 32", "size: 20"), "GUID ends beyond the log's 20 bytes"],
      [TABLE.replace("bits: [3, 1]", "bits: [1, 3]"), "FLAGS.B: bits 1:3"],
      [TABLE.replace("COUNT", "GUID"), "GUID stands there twice"],
      [TABLE.replace("bytes: 16", "bytes: 17"), "numbers have 16 bytes at most"],
      [TABLE.replace("0102030405060708", "0102"), "expect is 16 hexadecimal digits"],
      [TABLE.replace("title: Units", "titel: Units"), "rows.0"],
    ] as const
  ) {
    const error = await assertRejects(() => parseLogTable(text, "table.yaml"), BusbarError);
    assertEquals(error.code, "malformed", text);
    assertStringIncludes(error.message, part);
  }
});
