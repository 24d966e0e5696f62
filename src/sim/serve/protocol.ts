/**
 * The wire protocol of the memory server: requests of 105 bytes, responses of 81, little-endian, packed.
 * @module
 */

/** Bytes of a request. */
export const REQUEST_BYTES = 105;

/** Bytes of a response. */
export const RESPONSE_BYTES = 81;

/** Bytes of data in either. */
export const DATA_BYTES = 64;

/** The TCP port of the reference. */
export const DEFAULT_PORT = 9999;

/** Operations by number. */
export const ServerOp = {
  Read: 0,
  Write: 1,
  Info: 2,
  FetchAdd: 3,
  CompareSwap: 4,
  Fence: 5,
  LabelRead: 6,
  LabelWrite: 7,
  DcdAdd: 8,
  DcdRelease: 9,
  DcdQuery: 10,
  GfamMap: 11,
  GfamUnmap: 12,
  GfamQuery: 13,
  BackInvalidateEnable: 14,
  BackInvalidateDisable: 15,
  Invalidate: 16,
  Writeback: 17,
  BackInvalidateQuery: 18,
  /** Ours, only with {@linkcode EXTENSION_KEY} in `expected`; otherwise unknown as everything above 18. */
  Stats: 0xf0,
  /** Ours: `value` is the head. */
  HeadAttach: 0xf1,
  /** Ours: `value` is the head. */
  HeadDetach: 0xf2,
  /** Ours: `value` is the head. */
  HeadQuery: 0xf3,
  /** Ours: the accesses of this client go through head `value` from now on; it is its host number too. */
  HeadUse: 0xf4,
} as const;

/** What `expected` holds in our own operations, so that nobody meets them by chance: `BUSBAR01`. */
export const EXTENSION_KEY = 0x3130_5241_4253_5542n;

/** The base of a DCD add that leaves the place to the device. */
export const ANY_BASE = 0xffff_ffff_ffff_ffffn;

/** Status of a request that is wrong. */
export const STATUS_ERROR = 1;

/** A request. */
export interface ServerRequest {
  /** {@linkcode ServerOp}, or anything else that came. */
  readonly op: number;
  /** First byte. */
  readonly address: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** The client's clock, in ns. */
  readonly timestampNs: bigint;
  /** What is added or written. */
  readonly value: bigint;
  /** What a compare-swap expects. */
  readonly expected: bigint;
  /** 64 bytes. */
  readonly data: Uint8Array;
}

/** A response. */
export interface ServerResponse {
  /** 0, or why not. */
  readonly status: number;
  /** Simulated, in ns. */
  readonly latencyNs: bigint;
  /** The value before an atomic operation; a count or base in others. */
  readonly oldValue: bigint;
  /** At most 64 bytes; the rest is zero on the wire. */
  readonly data: Uint8Array;
}

/** Decodes the request at `offset`. Its data is a view, valid while the bytes are. */
export function decodeRequest(bytes: Uint8Array, offset = 0): ServerRequest {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, REQUEST_BYTES);
  return {
    op: view.getUint8(0),
    address: view.getBigUint64(1, true),
    size: view.getBigUint64(9, true),
    timestampNs: view.getBigUint64(17, true),
    value: view.getBigUint64(25, true),
    expected: view.getBigUint64(33, true),
    data: bytes.subarray(offset + 41, offset + REQUEST_BYTES),
  };
}

/** Encodes a request; what is left out is 0. */
export function encodeRequest(request: Partial<ServerRequest> & { readonly op: number }): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(REQUEST_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, request.op);
  view.setBigUint64(1, request.address ?? 0n, true);
  view.setBigUint64(9, request.size ?? 0n, true);
  view.setBigUint64(17, request.timestampNs ?? 0n, true);
  view.setBigUint64(25, request.value ?? 0n, true);
  view.setBigUint64(33, request.expected ?? 0n, true);
  bytes.set(request.data?.subarray(0, DATA_BYTES) ?? [], 41);
  return bytes;
}

/** Encodes a response into `bytes` at `offset`. */
export function encodeResponse(response: ServerResponse, bytes: Uint8Array, offset = 0): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, RESPONSE_BYTES);
  view.setUint8(0, response.status);
  view.setBigUint64(1, response.latencyNs, true);
  view.setBigUint64(9, response.oldValue, true);
  bytes.fill(0, offset + 17, offset + RESPONSE_BYTES);
  bytes.set(response.data, offset + 17);
}

/** Decodes a response. */
export function decodeResponse(bytes: Uint8Array): ServerResponse {
  const view = new DataView(bytes.buffer, bytes.byteOffset, RESPONSE_BYTES);
  return {
    status: view.getUint8(0),
    latencyNs: view.getBigUint64(1, true),
    oldValue: view.getBigUint64(9, true),
    data: bytes.slice(17, RESPONSE_BYTES),
  };
}

/** Numbers as the data of a response, eight bytes each, at most eight. */
export function packNumbers(...values: readonly (number | bigint)[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(DATA_BYTES);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => view.setBigUint64(i * 8, BigInt(value), true));
  return bytes;
}

/** The numbers that {@linkcode packNumbers} packed. */
export function unpackNumbers(data: Uint8Array, count: number): bigint[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return Array.from({ length: count }, (_, i) => view.getBigUint64(i * 8, true));
}
