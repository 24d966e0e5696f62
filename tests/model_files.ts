/**
 * Makes model files, right ones and wrong ones.
 * @module
 */

/** A tensor of a model file to be made. */
export interface MadeTensor {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A safetensors file. `change` may make its header wrong. */
export function safetensorsFile(
  tensors: readonly MadeTensor[],
  change: (header: Record<string, unknown>) => unknown = (header) => header,
): Uint8Array<ArrayBuffer> {
  let at = 0;
  const header: Record<string, unknown> = { __metadata__: { maker: "test" } };
  for (const { name, type, shape, bytes } of tensors) {
    header[name] = { dtype: type, shape, data_offsets: [at, at += bytes.length] };
  }
  const text = new TextEncoder().encode(JSON.stringify(change(header)));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(text.length), true);
  return joined([length, text, ...tensors.map((tensor) => tensor.bytes)]);
}

/** Numbers of GGUF's types. */
const GGUF_TYPES: Readonly<Record<string, number>> = { F32: 0, F16: 1, Q8_0: 8, Q4_K: 12, I8: 24 };

/** Writes a GGUF file front to back. */
class Writer {
  readonly parts: Uint8Array[] = [];
  sizeBytes = 0;

  raw(bytes: Uint8Array): this {
    this.parts.push(bytes);
    this.sizeBytes += bytes.length;
    return this;
  }

  u32(value: number): this {
    return this.raw(new Uint8Array(Uint32Array.of(value).buffer));
  }

  u64(value: number | bigint): this {
    return this.raw(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  text(value: string): this {
    const bytes = new TextEncoder().encode(value);
    return this.u64(bytes.length).raw(bytes);
  }
}

/** What may be wrong in a GGUF file. */
export interface GgufChanges {
  readonly version?: number;
  readonly alignment?: number;
  readonly offsetOf?: (offset: number, index: number) => number;
  readonly tensorCount?: bigint;
  readonly dimensions?: number;
}

/** A GGUF file, with metadata of several types. */
export function ggufFile(tensors: readonly MadeTensor[], changes: GgufChanges = {}): Uint8Array<ArrayBuffer> {
  const { version = 3, alignment = 32, offsetOf = (offset: number): number => offset } = changes;
  const writer = new Writer().raw(new TextEncoder().encode("GGUF")).u32(version);
  writer.u64(changes.tensorCount ?? tensors.length).u64(4);
  writer.text("general.architecture").u32(8).text("llama");
  writer.text("tokenizer.ggml.tokens").u32(9).u32(8).u64(3).text("a").text("").text("ccc");
  writer.text("llama.scores").u32(9).u32(6).u64(2).raw(new Uint8Array(8));
  writer.text("general.alignment").u32(4).u32(alignment);
  const aligned = (size: number): number => Math.ceil(size / alignment) * alignment;
  let offset = 0;
  for (const [i, { name, type, shape, bytes }] of tensors.entries()) {
    writer.text(name).u32(changes.dimensions ?? shape.length);
    for (const size of shape.toReversed()) writer.u64(size);
    writer.u32(GGUF_TYPES[type] ?? 99).u64(offsetOf(offset, i));
    offset = aligned(offset + bytes.length);
  }
  writer.raw(new Uint8Array(aligned(writer.sizeBytes) - writer.sizeBytes));
  for (const { bytes } of tensors) {
    writer.raw(bytes).raw(new Uint8Array(aligned(bytes.length) - bytes.length));
  }
  return joined(writer.parts);
}
