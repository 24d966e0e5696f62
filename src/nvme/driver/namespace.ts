/**
 * Reading and writing a namespace.
 *
 * Source: NVM Command Set 1.0 §3.2, Zoned Namespace Command Set 1.1 §3.4.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { DmaRange, ExecuteOptions, NvmeCommand, NvmeCompletion, NvmeTransport } from "../queue/command.ts";
import { type BlockMemory, blockMemory, type NamespaceGeometry } from "../tables/identity.ts";
import { statusError } from "../tables/status.ts";

const OPC = {
  FLUSH: 0x00,
  WRITE: 0x01,
  READ: 0x02,
  WRITE_UNCORRECTABLE: 0x04,
  COMPARE: 0x05,
  WRITE_ZEROES: 0x08,
  DATASET_MANAGEMENT: 0x09,
  VERIFY: 0x0c,
  ZONE_SEND: 0x79,
  ZONE_RECEIVE: 0x7a,
  ZONE_APPEND: 0x7d,
} as const;

/** NLB has 16 bits and is 0-based. */
const MOST_BLOCKS = 65_536;
/** Pieces of one transfer that are under way at the same time. */
const PIECES_AT_ONCE = 32;
const DSM_RANGES = 256;
const TWO_TO_32 = 2 ** 32;
/** A transfer that asks for nothing but its data: most of them. */
const PLAIN: TransferOptions = {};

/** What a read, write or compare may carry besides its data. */
export interface TransferOptions extends ExecuteOptions {
  /**
   * Separate metadata of all blocks, for namespaces that have it. Without it, what a read brings is dropped, and a write
   * is refused unless the controller makes the metadata by itself (`protection.action`, 8 bytes).
   */
  readonly metadata?: Uint8Array<ArrayBuffer>;
  /** FUA: do not answer before the data is on the medium (write), or take it from there (read). */
  readonly forceUnitAccess?: boolean;
  /** Protection information: what the controller checks and inserts. */
  readonly protection?: ProtectionOptions;
}

/** Protection information of a command: PRINFO and the tags. */
export interface ProtectionOptions {
  /** PRACT: the controller inserts it on write, and checks and strips it on read. */
  readonly action?: boolean;
  /** Check the guard. */
  readonly checkGuard?: boolean;
  /** Check the application tag, under `applicationMask`. */
  readonly checkApplication?: boolean;
  /** Check the reference tag. */
  readonly checkReference?: boolean;
  /** Application tag. */
  readonly applicationTag?: number;
  /** Its bits that matter; all by default. */
  readonly applicationMask?: number;
  /** Reference tag of the first block; its address by default. */
  readonly referenceTag?: number;
}

/** Blocks to be told of in Dataset Management. */
export interface BlockRange {
  /** First block. */
  readonly lba: bigint;
  /** How many. */
  readonly blocks: number;
}

/** What a zone is and where its writing goes on. */
export interface Zone {
  /** First block. */
  readonly startLba: bigint;
  /** Blocks that can be written. */
  readonly capacityBlocks: bigint;
  /** Where the next write goes. */
  readonly writePointer: bigint;
  /** ZS: 1 empty, 2 implicitly open, 3 explicitly open, 4 closed, 13 read only, 14 full, 15 offline. */
  readonly state: number;
}

/** Zone Send Action codes. */
export const ZONE_ACTIONS = { close: 1, finish: 2, open: 3, reset: 4, offline: 5 } as const;

/** Ways to the controller that a namespace needs. */
export interface NamespaceAccess {
  /** Carries its commands. */
  readonly transport: NvmeTransport;
  /** Gets its identify page, once. */
  readonly geometry: (id: number) => Promise<NamespaceGeometry>;
  /** Largest transfer in bytes, by MDTS and the carrier. */
  readonly maxTransferBytes: () => Promise<number>;
}

/**
 * A namespace. Addresses and counts are in logical blocks; transfers longer than the controller takes are split.
 *
 * @example
 * ```ts
 * import { type NvmeNamespace, openNvme } from "@busbar/busbar";
 * const firstBlock = async (namespace: NvmeNamespace): Promise<Uint8Array> => {
 *   const block = new Uint8Array(4096);
 *   await namespace.read(0, block);
 *   return block;
 * };
 * await using controller = await openNvme("soft:nvme");
 * console.assert((await firstBlock(controller.namespace(1))).every((byte) => byte === 0));
 * ```
 */
export class NvmeNamespace {
  /** NSID. */
  readonly id: number;
  readonly #access: NamespaceAccess;
  #geometry: Promise<NamespaceGeometry> | null = null;
  /** Known after the first transfer; stays null for a namespace whose transfers need more than data. */
  #plain: PlainTransfers | null = null;

  /** Got from {@linkcode NvmeController.namespace}. */
  constructor(id: number, access: NamespaceAccess) {
    this.id = id;
    this.#access = access;
  }

  /** Its size and format. Asked for once. @throws {BusbarError} `absent` when it is not active */
  geometry(): Promise<NamespaceGeometry> {
    this.#geometry ??= this.#access.geometry(this.id);
    return this.#geometry;
  }

  /**
   * Reads blocks into memory: as many as `into` holds.
   *
   * @throws {BusbarError} `out-of-range` when it is no whole number of blocks or lies outside, `device-failed` with the
   * NVMe status
   */
  read(
    lba: bigint | number,
    into: Uint8Array<ArrayBuffer> | DmaRange,
    options: TransferOptions = PLAIN,
  ): Promise<void> {
    return this.#oneCommand(OPC.READ, lba, into, options) ?? this.#transfer("Read", OPC.READ, lba, into, options);
  }

  /** Writes blocks from memory. */
  write(
    lba: bigint | number,
    from: Uint8Array<ArrayBuffer> | DmaRange,
    options: TransferOptions = PLAIN,
  ): Promise<void> {
    return this.#oneCommand(OPC.WRITE, lba, from, options) ?? this.#transfer("Write", OPC.WRITE, lba, from, options);
  }

  /** Compares blocks with memory. @throws {BusbarError} `device-failed` (Compare Failure) when they differ */
  async compare(
    lba: bigint | number,
    with_: Uint8Array<ArrayBuffer> | DmaRange,
    options: TransferOptions = {},
  ): Promise<void> {
    await this.#transfer("Compare", OPC.COMPARE, lba, with_, options);
  }

  /** Brings what is in the volatile write cache onto the medium. */
  async flush(options: ExecuteOptions = {}): Promise<void> {
    await this.#must("Flush", { opcode: OPC.FLUSH, nsid: this.id }, options);
  }

  /** Makes blocks read as zeros, without transferring any. `deallocate` lets the drive forget them. */
  async writeZeroes(
    lba: bigint | number,
    blocks: number,
    options: ExecuteOptions & { deallocate?: boolean } = {},
  ): Promise<void> {
    const flags = options.deallocate === true ? 1 << 25 : 0;
    await this.#overBlocks("Write Zeroes", OPC.WRITE_ZEROES, BigInt(lba), blocks, flags, options);
  }

  /** Lets the drive check blocks against its own redundancy, without transferring any. */
  async verify(lba: bigint | number, blocks: number, options: ExecuteOptions = {}): Promise<void> {
    await this.#overBlocks("Verify", OPC.VERIFY, BigInt(lba), blocks, 0, options);
  }

  /** Marks blocks as unreadable. */
  async writeUncorrectable(lba: bigint | number, blocks: number, options: ExecuteOptions = {}): Promise<void> {
    await this.#overBlocks("Write Uncorrectable", OPC.WRITE_UNCORRECTABLE, BigInt(lba), blocks, 0, options);
  }

  /** Tells the drive that blocks hold nothing of value (Dataset Management, deallocate). */
  async deallocate(ranges: readonly BlockRange[], options: ExecuteOptions = {}): Promise<void> {
    for (let at = 0; at < ranges.length; at += DSM_RANGES) {
      const part = ranges.slice(at, at + DSM_RANGES);
      const data = new Uint8Array(16 * part.length);
      const view = new DataView(data.buffer);
      for (const [i, { lba, blocks }] of part.entries()) {
        view.setUint32(16 * i + 4, blocks, true);
        view.setBigUint64(16 * i + 8, lba, true);
      }
      const command = { opcode: OPC.DATASET_MANAGEMENT, nsid: this.id, cdw10: part.length - 1, cdw11: 1 << 2, data };
      await this.#must("Dataset Management", command, options);
    }
  }

  /** The zones from the one that holds `lba`, as many as fit in one page of `limit` zones. */
  async reportZones(lba: bigint | number = 0n, limit = 1024, options: ExecuteOptions = {}): Promise<Zone[]> {
    const data = new Uint8Array(64 + 64 * limit);
    await this.#must("Zone Management Receive", {
      opcode: OPC.ZONE_RECEIVE,
      nsid: this.id,
      ...lbaWords(BigInt(lba)),
      cdw12: data.length / 4 - 1,
      // Report Zones, all states, only those that fit (partial report).
      cdw13: 1 << 16,
      data,
    }, options);
    const view = new DataView(data.buffer);
    const count = Math.min(limit, Number(view.getBigUint64(0, true)));
    return Array.from({ length: count }, (_, i) => {
      const at = 64 + 64 * i;
      return {
        state: view.getUint8(at + 1) >> 4,
        capacityBlocks: view.getBigUint64(at + 8, true),
        startLba: view.getBigUint64(at + 16, true),
        writePointer: view.getBigUint64(at + 24, true),
      };
    });
  }

  /** Changes the state of the zone that begins at `lba`, or of all zones. */
  async manageZone(
    action: keyof typeof ZONE_ACTIONS,
    lba: bigint | number | "all",
    options: ExecuteOptions = {},
  ): Promise<void> {
    const start = lba === "all" ? 0n : BigInt(lba);
    const cdw13 = ZONE_ACTIONS[action] | (lba === "all" ? 1 << 8 : 0);
    await this.#must(
      "Zone Management Send",
      { opcode: OPC.ZONE_SEND, nsid: this.id, ...lbaWords(start), cdw13 },
      options,
    );
  }

  /** Writes at a zone's write pointer and returns where that was. */
  async append(
    zoneStart: bigint | number,
    from: Uint8Array<ArrayBuffer> | DmaRange,
    options: TransferOptions = {},
  ): Promise<bigint> {
    const block = blockMemory(await this.geometry(), options.protection?.action === true);
    const blocks = this.#blocksIn(block, from);
    const metadata = this.#metadataOf("Zone Append", block, blocks, options.metadata);
    const completion = await this.#must("Zone Append", {
      opcode: OPC.ZONE_APPEND,
      nsid: this.id,
      ...lbaWords(BigInt(zoneStart)),
      cdw12: (blocks - 1 | transferFlags(options)) >>> 0,
      ...protectionWords(options.protection, BigInt(zoneStart)),
      data: from,
      ...(metadata === null ? {} : { metadata }),
    }, options);
    return BigInt(completion.dw0) | BigInt(completion.dw1) << 32n;
  }

  async #must(operation: string, command: NvmeCommand, options: ExecuteOptions): Promise<NvmeCompletion> {
    const { transport } = this.#access;
    const completion = await transport.execute("io", command, options);
    this.#checkStatus(operation, completion.status);
    return completion;
  }

  #blocksIn(block: BlockMemory, memory: Uint8Array | DmaRange): number {
    const sizeBytes = sizeOf(memory);
    if (sizeBytes > 0 && sizeBytes % block.dataBytes === 0) return sizeBytes / block.dataBytes;
    throw new BusbarError(
      "out-of-range",
      `${sizeBytes} bytes are no whole number of blocks of ${block.dataBytes} bytes`,
      {
        operation: "transfer blocks",
        path: this.#name,
      },
    );
  }

  get #name(): string {
    return `${this.#access.transport.name}, namespace ${this.id}`;
  }

  #checkInside(geometry: NamespaceGeometry, lba: bigint, blocks: number): void {
    if (lba >= 0n && Number.isSafeInteger(blocks) && blocks > 0 && lba + BigInt(blocks) <= geometry.blocks) return;
    throw new BusbarError(
      "out-of-range",
      `${this.#name}: blocks ${lba} to ${lba + BigInt(blocks) - 1n} of ${geometry.blocks}`,
      {
        operation: "transfer blocks",
        path: this.#name,
      },
    );
  }

  /**
   * A plain transfer that one command can carry, once it is known what that is: a promise each, and nothing else is waited for
   * or computed in big integers. Null for all that {@linkcode #transfer} has to look at, mistakes among them.
   */
  #oneCommand(
    opcode: typeof OPC.READ | typeof OPC.WRITE,
    lba: bigint | number,
    memory: Uint8Array<ArrayBuffer> | DmaRange,
    options: TransferOptions,
  ): Promise<void> | null {
    const known = this.#plain;
    if (known === null || options !== PLAIN) return null;
    const first = Number(lba);
    const blocks = sizeOf(memory) / known.blockBytes;
    const isPlain = Number.isSafeInteger(first) && first >= 0 && Number.isSafeInteger(blocks) && blocks > 0 &&
      blocks <= known.mostBlocks && first + blocks <= known.blocks;
    if (!isPlain) return null;
    const command = {
      opcode,
      nsid: this.id,
      cdw10: first % TWO_TO_32,
      cdw11: Math.floor(first / TWO_TO_32),
      cdw12: blocks - 1,
      data: memory,
    };
    return this.#access.transport.execute("io", command, PLAIN).then(
      opcode === OPC.READ ? this.#endRead : this.#endWrite,
    );
  }

  readonly #endRead = ({ status }: NvmeCompletion): void => this.#checkStatus("Read", status);
  readonly #endWrite = ({ status }: NvmeCompletion): void => this.#checkStatus("Write", status);

  #checkStatus(operation: string, status: number): void {
    if (status !== 0) throw statusError(status, { operation, path: this.#name });
  }

  async #transfer(
    operation: string,
    opcode: number,
    start: bigint | number,
    memory: Uint8Array<ArrayBuffer> | DmaRange,
    options: TransferOptions,
  ): Promise<void> {
    const lba = BigInt(start);
    const geometry = await this.geometry();
    const block = blockMemory(geometry, options.protection?.action === true);
    const blocks = this.#blocksIn(block, memory);
    this.#checkInside(geometry, lba, blocks);
    const metadata = this.#metadataOf(operation, block, blocks, options.metadata);
    const mostBytes = await this.#access.maxTransferBytes();
    const most = Math.min(MOST_BLOCKS, Math.floor(mostBytes / block.dataBytes));
    if (most < 1) {
      throw new BusbarError("unsupported", `${this.#name}: one block is more than the controller transfers`, {
        path: this.#name,
      });
    }
    this.#plain ??= plainTransfers(geometry, mostBytes);
    const pieces: (() => Promise<unknown>)[] = [];
    for (let done = 0; done < blocks; done += most) {
      const count = Math.min(most, blocks - done);
      const at = lba + BigInt(done);
      const command: NvmeCommand = {
        opcode,
        nsid: this.id,
        ...lbaWords(at),
        cdw12: (count - 1 | transferFlags(options)) >>> 0,
        ...protectionWords(options.protection, at),
        data: partOf(memory, done * block.dataBytes, count * block.dataBytes),
        ...(metadata === null
          ? {}
          : { metadata: metadata.subarray(done * block.metadataBytes, (done + count) * block.metadataBytes) }),
      };
      pieces.push(() => this.#must(operation, command, options));
    }
    await runSome(pieces, PIECES_AT_ONCE);
  }

  /** The metadata buffer of a transfer: a command that needs one must not go out with address 0. */
  #metadataOf(
    operation: string,
    block: BlockMemory,
    blocks: number,
    given: Uint8Array<ArrayBuffer> | undefined,
  ): Uint8Array<ArrayBuffer> | null {
    const needed = blocks * block.metadataBytes;
    if (given === undefined && needed === 0) return null;
    if (given === undefined && operation === "Read") return new Uint8Array(needed);
    if (given?.length === needed && needed > 0) return given;
    const why = needed === 0
      ? "has no separate metadata"
      : `${operation} needs ${needed} bytes of metadata, not ${given?.length ?? 0}`;
    throw new BusbarError("usage", `${this.#name}: ${why}`, { operation: "transfer blocks", path: this.#name });
  }

  async #overBlocks(
    operation: string,
    opcode: number,
    lba: bigint,
    blocks: number,
    flags: number,
    options: ExecuteOptions,
  ): Promise<void> {
    const geometry = await this.geometry();
    this.#checkInside(geometry, lba, blocks);
    for (let done = 0; done < blocks; done += MOST_BLOCKS) {
      const count = Math.min(MOST_BLOCKS, blocks - done);
      const command = { opcode, nsid: this.id, ...lbaWords(lba + BigInt(done)), cdw12: (count - 1 | flags) >>> 0 };
      await this.#must(operation, command, options);
    }
  }
}

/** What one command without metadata can carry. */
interface PlainTransfers {
  readonly blockBytes: number;
  readonly mostBlocks: number;
  readonly blocks: number;
}

function plainTransfers(geometry: NamespaceGeometry, mostBytes: number): PlainTransfers | null {
  const { dataBytes, metadataBytes } = blockMemory(geometry, false);
  if (metadataBytes > 0 || geometry.blocks > BigInt(Number.MAX_SAFE_INTEGER)) return null;
  const mostBlocks = Math.min(MOST_BLOCKS, Math.floor(mostBytes / dataBytes));
  return { blockBytes: dataBytes, mostBlocks, blocks: Number(geometry.blocks) };
}

function lbaWords(lba: bigint): { readonly cdw10: number; readonly cdw11: number } {
  return { cdw10: Number(lba & 0xffff_ffffn), cdw11: Number(lba >> 32n) };
}

function sizeOf(memory: Uint8Array | DmaRange): number {
  if (memory instanceof Uint8Array) return memory.length;
  return memory.sizeBytes ?? memory.buffer.sizeBytes - (memory.offset ?? 0);
}

function partOf(
  memory: Uint8Array<ArrayBuffer> | DmaRange,
  offset: number,
  sizeBytes: number,
): Uint8Array<ArrayBuffer> | DmaRange {
  if (memory instanceof Uint8Array) return memory.subarray(offset, offset + sizeBytes);
  return { buffer: memory.buffer, offset: (memory.offset ?? 0) + offset, sizeBytes };
}

function transferFlags(options: TransferOptions): number {
  const { forceUnitAccess, protection } = options;
  return (forceUnitAccess === true ? 1 << 30 : 0) |
    (protection?.action === true ? 1 << 29 : 0) |
    (protection?.checkGuard === true ? 1 << 28 : 0) |
    (protection?.checkApplication === true ? 1 << 27 : 0) |
    (protection?.checkReference === true ? 1 << 26 : 0);
}

function protectionWords(
  protection: ProtectionOptions | undefined,
  lba: bigint,
): { readonly cdw14?: number; readonly cdw15?: number } {
  if (protection === undefined) return {};
  const { applicationTag = 0, applicationMask = 0xffff, referenceTag = Number(lba & 0xffff_ffffn) } = protection;
  return { cdw14: referenceTag, cdw15: (applicationTag | applicationMask << 16) >>> 0 };
}

/** Runs all, a number of them at a time, and waits for those under way also when one fails. */
async function runSome(pieces: readonly (() => Promise<unknown>)[], atOnce: number): Promise<void> {
  let next = 0;
  let failure: { error: unknown } | null = null;
  const worker = async (): Promise<void> => {
    while (failure === null) {
      const piece = pieces[next++];
      if (piece === undefined) return;
      try {
        await piece();
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, pieces.length) }, worker));
  if (failure !== null) throw (failure as { error: unknown }).error;
}
