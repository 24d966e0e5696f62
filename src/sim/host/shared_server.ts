/**
 * The memory server on a shared-memory file: no socket and no system call for a request.
 * @module
 */

import { pause, yieldToEventLoop } from "../../core/deadline.ts";
import { BusbarError, systemError } from "../../core/error.ts";
import { decodeRequest, encodeResponse } from "../serve/protocol.ts";
import type { MemoryService } from "../serve/service.ts";
import type { ServiceClient } from "../serve/service_settings.ts";
import {
  SHARED_HEADER_BYTES,
  SHARED_MAGIC,
  sharedFileBytes,
  SharedHeader,
  SLOT_BYTES,
  SLOT_REQUEST,
  SLOT_RESPONSE,
  SlotState,
} from "../serve/shared_layout.ts";

/** Maps a file shared and writable; the tool hands it in, since mapping needs C. */
export type MapFile = (path: string, sizeBytes: number) => Disposable & { bytes(): Uint8Array<ArrayBuffer> };

/** Says whether a process lives; the tool hands it in. */
export type ProcessIsAlive = (process: number) => boolean;

/** A round without any request is followed by another at once this often, then the server sleeps for a millisecond. */
const SPIN_ROUNDS = 2000;

/** The number in the header that shows the server's life is raised this often. */
const BEAT_MS = 100;

/** The server's side of a file. */
export class SharedServer implements Disposable {
  readonly #path: string;
  readonly #service: MemoryService;
  readonly #file: Deno.FsFile;
  readonly #mapping: ReturnType<MapFile>;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #words: Int32Array<ArrayBuffer>;
  readonly #slots: number;
  readonly #clients: (ServiceClient | null)[];
  readonly #processes: number[];
  readonly #isAlive: ProcessIsAlive;
  /** False for memory of somebody else, which stays when the server ends. */
  readonly #isOwn: boolean;
  #open = true;

  private constructor(
    path: string,
    service: MemoryService,
    slots: number,
    file: Deno.FsFile,
    map: MapFile,
    isAlive: ProcessIsAlive,
    isOwn: boolean,
  ) {
    this.#isAlive = isAlive;
    this.#isOwn = isOwn;
    this.#path = path;
    this.#service = service;
    this.#slots = slots;
    this.#file = file;
    this.#mapping = map(path, sharedFileBytes(slots));
    this.#bytes = this.#mapping.bytes();
    this.#words = new Int32Array(this.#bytes.buffer);
    this.#clients = Array.from({ length: slots }, () => null);
    this.#processes = Array.from({ length: slots }, () => 0);
  }

  /**
   * Makes the file, for this user only.
   *
   * @throws {BusbarError} `usage` when another server has it, or it is somebody's file of another kind
   */
  static create(
    path: string,
    service: MemoryService,
    slots: number,
    map: MapFile,
    isAlive: ProcessIsAlive,
  ): SharedServer {
    let file: Deno.FsFile;
    try {
      file = Deno.openSync(path, { read: true, write: true, create: true, mode: 0o600 });
    } catch (cause) {
      throw systemError(cause, "create", path);
    }
    return SharedServer.#over(path, file, service, slots, map, isAlive, true, () => {
      checkFile(path, file);
      // The file may be older than this server, with other rights.
      Deno.chmodSync(path, 0o600);
      file.truncateSync(0);
      file.truncateSync(sharedFileBytes(slots));
    });
  }

  /**
   * Takes memory that is there already and is shared with a guest: the file of an ivshmem device. Its size and mode stay.
   *
   * @throws {BusbarError} `absent`, `permission`; `usage` when another server has it, it is too small, or it holds
   * something
   */
  static adopt(
    path: string,
    service: MemoryService,
    slots: number,
    map: MapFile,
    isAlive: ProcessIsAlive,
  ): SharedServer {
    let file: Deno.FsFile;
    try {
      file = Deno.openSync(path, { read: true, write: true });
    } catch (cause) {
      throw systemError(cause, "open", path, "start the guest first: QEMU makes the file");
    }
    return SharedServer.#over(path, file, service, slots, map, isAlive, false, () => {
      checkFile(path, file, true);
      const { size } = file.statSync();
      if (size >= sharedFileBytes(slots)) return;
      throw new BusbarError("usage", `${path}: ${size} bytes, and ${slots} clients need ${sharedFileBytes(slots)}`, {
        operation: "serve",
        path,
        hint: "make the device larger, or allow fewer --connections",
      });
    });
  }

  /** A server over an open file, which is closed when that fails. */
  static #over(
    path: string,
    file: Deno.FsFile,
    service: MemoryService,
    slots: number,
    map: MapFile,
    isAlive: ProcessIsAlive,
    isOwn: boolean,
    prepare: () => void,
  ): SharedServer {
    try {
      prepare();
      const server = new SharedServer(path, service, slots, file, map, isAlive, isOwn);
      if (!isOwn) server.#bytes.fill(0);
      server.#writeHeader();
      return server;
    } catch (cause) {
      file.close();
      throw systemError(cause, "prepare", path);
    }
  }

  /** Answers requests until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    let idle = 0;
    let beat = 0;
    while (!signal.aborted) {
      if (this.#round() > 0) idle = 0;
      else idle++;
      if (performance.now() - beat > BEAT_MS) {
        beat = performance.now();
        Atomics.add(this.#words, SharedHeader.Beat / 4, 1);
        this.#freeSlotsOfTheDead();
        await yieldToEventLoop();
      } else if (idle > SPIN_ROUNDS) await pause(1);
    }
    // What was put there before the end is answered.
    this.#round();
  }

  /** Removes the file, or empties memory of somebody else. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    Atomics.store(this.#words, SharedHeader.Process / 4, 0);
    if (!this.#isOwn) this.#bytes.fill(0);
    this.#mapping[Symbol.dispose]();
    try {
      if (this.#isOwn) Deno.removeSync(this.#path);
    } catch {
      // Somebody removed it.
    }
    this.#file.close();
  }

  #writeHeader(): void {
    const view = new DataView(this.#bytes.buffer);
    view.setUint32(SharedHeader.Version, 1, true);
    view.setUint32(SharedHeader.Slots, this.#slots, true);
    view.setUint32(SharedHeader.SlotBytes, SLOT_BYTES, true);
    view.setUint32(SharedHeader.Process, Deno.pid, true);
    for (let i = 0; i < SHARED_MAGIC.length; i++) this.#bytes[i] = SHARED_MAGIC.charCodeAt(i);
  }

  /** Looks at every slot once; the number of requests that were answered. */
  #round(): number {
    let answered = 0;
    for (let slot = 0; slot < this.#slots; slot++) {
      const start = SHARED_HEADER_BYTES + slot * SLOT_BYTES;
      // Sequentially consistent, as all of Atomics: the request that the client wrote before it is seen after it.
      if (Atomics.load(this.#words, start / 4) !== SlotState.Request) continue;
      const client = this.#clientOf(slot, start);
      // A copy: the client could change the request while it is looked at.
      const request = decodeRequest(this.#bytes.slice(start + SLOT_REQUEST, start + SLOT_RESPONSE));
      encodeResponse(this.#service.handle(request, client), this.#bytes, start + SLOT_RESPONSE);
      Atomics.store(this.#words, start / 4, SlotState.Response);
      answered++;
    }
    return answered;
  }

  /** A client that was killed cannot give its slot back. Process 0 is a client elsewhere, of which nothing is known. */
  #freeSlotsOfTheDead(): void {
    for (let slot = 0; slot < this.#slots; slot++) {
      const at = (SHARED_HEADER_BYTES + slot * SLOT_BYTES) / 4;
      const process = this.#words[at + 1] as number;
      if (Atomics.load(this.#words, at) === SlotState.Free || process === 0 || this.#isAlive(process)) continue;
      this.#words[at + 1] = 0;
      Atomics.store(this.#words, at, SlotState.Free);
    }
  }

  /** The client of a slot: another process in it is another client. */
  #clientOf(slot: number, start: number): ServiceClient {
    const process = this.#words[start / 4 + 1] as number;
    const known = this.#clients[slot] ?? null;
    if (known !== null && this.#processes[slot] === process) return known;
    if (known !== null) this.#service.disconnect(known);
    const client = this.#service.connect();
    this.#clients[slot] = client;
    this.#processes[slot] = process;
    return client;
  }
}

/** Refuses a file that another server has, or that is no file of a server; one that begins with zeros where it may. */
function checkFile(path: string, file: Deno.FsFile, mayBeEmpty = false): void {
  if (!file.tryLockSync(true)) {
    throw new BusbarError("usage", `${path}: another server has it`, {
      operation: "serve",
      path,
      hint: "choose another --shared file, or end the other server",
    });
  }
  const info = file.statSync();
  const head = new Uint8Array(SHARED_MAGIC.length);
  if (info.size > 0) file.readSync(head);
  if (mayBeEmpty && info.isFile && head.every((byte) => byte === 0)) return;
  if (!info.isFile || (info.size > 0 && new TextDecoder().decode(head) !== SHARED_MAGIC)) {
    throw new BusbarError("usage", `${path}: is a file of another kind`, {
      operation: "serve",
      path,
      hint: "it is left as it is: choose another --shared file",
    });
  }
}
