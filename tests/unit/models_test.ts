/** Headers of safetensors and GGUF files: equal to what a plain reader in another language finds, and wrong ones refused. */

import { assert, assertEquals } from "@std/assert";
import { createHash } from "node:crypto";

import { BusbarError } from "../../src/core/error.ts";
import type { ModelHeader } from "../../src/gpu/models/model.ts";
import { readModelHeader } from "../../src/gpu/models/read_model.ts";
import { ggufFile, type MadeTensor, safetensorsFile } from "../model_files.ts";
import { withNeeds } from "../needs.ts";
import { Random } from "./random.ts";

function read(bytes: Uint8Array): Promise<ModelHeader> {
  return readModelHeader(
    (offset, sizeBytes) => {
      assert(offset >= 0 && offset + sizeBytes <= bytes.length, `${sizeBytes} bytes at ${offset} of ${bytes.length}`);
      return Promise.resolve(bytes.slice(offset, offset + sizeBytes));
    },
    bytes.length,
    "model",
  );
}

const random = new Random("models");

function tensor(name: string, type: string, shape: readonly number[], sizeBytes: number): MadeTensor {
  return { name, type, shape, bytes: random.noise(Math.ceil(sizeBytes / 4) * 4).slice(0, sizeBytes) };
}

const SAFE = [
  tensor("embed", "BF16", [13, 7], 182),
  tensor("odd", "I8", [3], 3),
  tensor("norm.weight", "F32", [5, 1, 9], 180),
  tensor("one", "F64", [], 8),
  tensor("none", "U8", [0, 4], 0),
];
const GGUF = [
  tensor("token_embd.weight", "Q4_K", [3, 512], 864),
  tensor("blk.0.ü", "Q8_0", [2, 64], 136),
  tensor("output", "F16", [7, 5], 70),
  tensor("odd", "I8", [3], 3),
];

const FILES: readonly (readonly [name: string, bytes: Uint8Array<ArrayBuffer>])[] = [
  ["safetensors", safetensorsFile(SAFE)],
  ["GGUF v2", ggufFile(GGUF, { version: 2 })],
  ["GGUF v3", ggufFile(GGUF, { version: 3, alignment: 64 })],
];

for (const [name, bytes] of FILES) {
  Deno.test({
    ...withNeeds(`a header of ${name} is read as a plain reader reads it`, "python3"),
    fn: async () => {
      const header = await read(bytes);
      assertEquals(header.format, name);
      const path = await Deno.makeTempFile();
      await Deno.writeFile(path, bytes);
      const reader = new URL("../fixtures/models/plain_reader.py", import.meta.url).pathname;
      const { stdout, stderr } = await new Deno.Command("python3", { args: [reader, path] }).output();
      await Deno.remove(path);
      const theirs: unknown = JSON.parse(new TextDecoder().decode(stdout) || new TextDecoder().decode(stderr));
      const ours = Object.fromEntries(header.tensors.map(({ name, type, shape, offset, sizeBytes }) => {
        const sum = createHash("sha256").update(bytes.subarray(offset, offset + sizeBytes)).digest("hex");
        return [name, [type, shape, sum]];
      }));
      assertEquals(ours, theirs);
    },
  });
}

/** What a file is refused for. */
async function refusal(bytes: Uint8Array): Promise<string> {
  try {
    await read(bytes);
  } catch (error) {
    assert(error instanceof BusbarError && error.code === "malformed", `${error}`);
    return error.message;
  }
  return "taken";
}

Deno.test("safetensors files whose header cannot be are refused, each for what is wrong", async () => {
  const data = SAFE.slice(0, 2);
  const changed = (change: (header: Record<string, Record<string, unknown>>) => unknown): Uint8Array =>
    safetensorsFile(data, (header) => {
      // Deliberately wrong values: what the file says is not what its type promises.
      change(header as unknown as Record<string, Record<string, unknown>>);
      return header;
    });
  const cases: readonly (readonly [told: string, bytes: Uint8Array])[] = [
    ["182 bytes, its shape and type ask for 180", changed((h) => h["embed"] = { ...h["embed"], shape: [90] })],
    ["overlaps", changed((h) => h["odd"] = { ...h["odd"], data_offsets: [181, 184] })],
    ["are nobody's", changed((h) => delete h["odd"])],
    ["are nobody's", changed((h) => delete h["embed"])],
    ["ends at", changed((h) => h["odd"] = { ...h["odd"], data_offsets: [1e12, 1e12 + 3] })],
    ["no begin and end", changed((h) => h["odd"] = { ...h["odd"], data_offsets: [185, 182] })],
    ["no list of whole numbers", changed((h) => h["odd"] = { ...h["odd"], shape: [-3] })],
    ["no list of whole numbers", changed((h) => h["odd"] = { ...h["odd"], shape: [2 ** 60] })],
    ["impossible shape", changed((h) => h["odd"] = { ...h["odd"], shape: [2 ** 40, 2 ** 40] })],
    ["9 dimensions", changed((h) => h["odd"] = { ...h["odd"], shape: [3, 1, 1, 1, 1, 1, 1, 1, 1] })],
    ["elements of type", changed((h) => h["odd"] = { ...h["odd"], dtype: "toString" })],
    ["'stride', which is not known", changed((h) => h["odd"] = { ...h["odd"], stride: 1 })],
    ["is no object", changed((h) => h["odd"] = 7 as never)],
    ["neither safetensors nor GGUF", safetensorsFile(data, () => [])],
    ["no JSON", safetensorsFile(data).map((byte, i) => i === 9 ? 0x7d : byte)],
    ["no JSON", safetensorsFile(data).map((byte, i) => i === 10 ? 0xff : byte)],
    ["a header of", safetensorsFile(data).map((byte, i) => i === 3 ? 4 : byte)],
    ["neither", Uint8Array.of(1, 2, 3)],
    ["nested too deeply", nested(2_000_000)],
    ["metadata 'maker' is no text", changed((h) => h["__metadata__"] = { maker: 7 })],
  ];
  for (const [told, bytes] of cases) {
    const found = await refusal(bytes);
    assert(found.includes(told) || (told === "nested too deeply" && found.includes("JSON")), `${told}: ${found}`);
  }
});

function nested(depth: number): Uint8Array {
  const text = new TextEncoder().encode(`{"a":${"[".repeat(depth)}`);
  const bytes = new Uint8Array(8 + text.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

Deno.test("GGUF files whose header cannot be are refused, each for what is wrong", async () => {
  const good = ggufFile(GGUF);
  const cases: readonly (readonly [told: string, bytes: Uint8Array])[] = [
    ["version 1", ggufFile(GGUF, { version: 1 })],
    ["highest bytes come first", ggufFile(GGUF, { version: 0x0300_0000 })],
    ["an alignment of 24", ggufFile(GGUF, { alignment: 24 })],
    ["not aligned", ggufFile(GGUF, { offsetOf: (offset, i) => i === 2 ? offset + 8 : offset })],
    ["overlaps", ggufFile(GGUF, { offsetOf: (offset, i) => i === 1 ? 32 : offset })],
    ["ends at", ggufFile(GGUF, { offsetOf: (offset, i) => i === 3 ? 1 << 30 : offset })],
    ["dimensions", ggufFile(GGUF, { dimensions: 5 })],
    ["beyond its end", good.subarray(0, 300)],
    ["tensors", ggufFile(GGUF, { tensorCount: 1n << 40n })],
    ["number of tensors is", ggufFile(GGUF, { tensorCount: 1n << 60n })],
    ["elements of type 99", ggufFile([tensor("x", "strange", [4], 4)])],
    ["rows of 100 elements", ggufFile([tensor("x", "Q8_0", [2, 100], 212)])],
    ["two tensors 'x'", ggufFile([tensor("x", "I8", [4], 4), tensor("x", "I8", [4], 4)])],
    ["impossible shape", ggufFile([tensor("x", "F32", [2 ** 40, 2 ** 40], 4)])],
  ];
  for (const [told, bytes] of cases) {
    const found = await refusal(bytes);
    assert(found.includes(told), `${told}: ${found}`);
  }
});

Deno.test("a GGUF header that is longer than the first read is read whole", async () => {
  const many = Array.from({ length: 3000 }, (_, i) => tensor(`blk.${i}.some_rather_long_name.weight`, "I8", [4], 4));
  const { tensors } = await read(ggufFile(many));
  assertEquals(tensors.length, 3000);
});
