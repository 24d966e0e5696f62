/**
 * The calls of an Oracle Data Analytics Accelerator's driver, as numbers and bytes. What they mean is told elsewhere.
 * @module
 */

/** Memory that the accelerator reaches. Dispose frees it; not while a CCB uses it. */
export interface OradaxBuffer extends Disposable {
  /** What CCBs call its first byte. */
  readonly address: bigint;
  /** Its length. */
  readonly sizeBytes: number;
  /** Size of the pages it lies in: no stream crosses one. A multiple of it begins every page. */
  readonly pageBytes: number;
  /** The memory itself where it is in this process, else null. Empty after dispose. */
  readonly bytes: Uint8Array<ArrayBuffer> | null;
  /** A copy of a part. @throws {BusbarError} `out-of-range` */
  read(offset: number, sizeBytes: number): Uint8Array<ArrayBuffer>;
  /** Changes a part. @throws {BusbarError} `out-of-range` */
  write(offset: number, bytes: Uint8Array): void;
}

/** How much of a submission was taken, and why not more. */
export interface OradaxTaken {
  /** Bytes of CCBs that the device took. */
  readonly takenBytes: number;
  /** Submit status of the first CCB that was not taken; 0 when all were, or when there is just no room now. */
  readonly status: number;
  /** An address or a scope, by status. */
  readonly statusData: bigint;
}

/** An open accelerator, by its driver. Dispose waits for what is in flight, about a second, then kills it. */
export interface OradaxDriver extends Disposable {
  /** What it was opened by, for messages. */
  readonly name: string;
  /** Memory for streams, zeroed, in pages of at least `pageBytes` where there are any; it begins a page. */
  allocate(sizeBytes: number, pageBytes: number): OradaxBuffer;
  /** Hands over CCBs, a multiple of 64 bytes and at most 960; the first one completes in area `index`. */
  submit(index: number, ccbs: Uint8Array<ArrayBuffer>): OradaxTaken;
  /** Waits at most `limitUs` microseconds (50,000) and returns the status byte of area `index`; 0 while in flight. */
  wait(index: number, limitUs: number): number;
  /** The 128 bytes of a completion area that has completed. */
  completion(index: number): Uint8Array<ArrayBuffer>;
  /** State, unit, queue and position of the CCB of area `index`. */
  info(index: number): readonly [state: number, unit: number, queue: number, position: number];
  /** Ends the CCB of area `index` and returns the action that it took. */
  kill(index: number): number;
  /** Lets go of the memory of all CCBs that have completed. */
  dequeue(): void;
}
