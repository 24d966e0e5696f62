/**
 * The shared-memory file of the server: a header and slots, each with a request and its response.
 *
 * Header (4096 bytes): `BBCXLSHM` · u32 version 1 · u32 slots · u32 bytes of a slot · u32 the server's process · u32 a
 * number that the server raises while it lives. Slot (256 bytes): u32 state · u32 the client's process ·
 * request at 16 · response at 128. State: 0 free → 1 claimed → 2 request is there → 3 response is there → 0. A client
 * moves it from 0 to 1 (compare and swap), to 2, and from 3 on; the server from 2 to 3.
 * @module
 */

/** The first eight bytes of the file. */
export const SHARED_MAGIC = "BBCXLSHM";

/** Bytes of the header. */
export const SHARED_HEADER_BYTES = 4096;

/** Bytes of a slot. */
export const SLOT_BYTES = 256;

/** Where the request is in a slot. */
export const SLOT_REQUEST = 16;

/** Where the response is in a slot. */
export const SLOT_RESPONSE = 128;

/** States of a slot. */
export const SlotState = { Free: 0, Claimed: 1, Request: 2, Response: 3 } as const;

/** Offsets in the header. */
export const SharedHeader = { Version: 8, Slots: 12, SlotBytes: 16, Process: 20, Beat: 24 } as const;

/** Bytes of a file with so many slots. */
export function sharedFileBytes(slots: number): number {
  return SHARED_HEADER_BYTES + slots * SLOT_BYTES;
}
