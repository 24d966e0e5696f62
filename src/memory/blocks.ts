/**
 * Memory blocks: the pieces in which Linux takes memory into use (online) and out of it (offline).
 *
 * Source: Linux Documentation/admin-guide/mm/memory-hotplug.rst, Documentation/ABI/testing/sysfs-devices-memory.
 * @module
 */

import type { Deadline } from "../core/deadline.ts";
import { BatchedReads } from "../core/batched_reads.ts";
import { BusbarError, type ErrorCode } from "../core/error.ts";
import { type Host, ifPresent, ifReadable } from "../core/host.ts";
import { namesIn, textOf } from "../core/host_requests.ts";
import type { UndoJournal } from "../core/undo/journal.ts";
import { formatBytes, hex } from "../core/units.ts";
import type { MemoryRange } from "./devdax.ts";

const MEMORY = "/sys/devices/system/memory";

/** Says what happens to new memory: `offline`, `online`, `online_kernel`, `online_movable`. */
export const AUTO_ONLINE: string = `${MEMORY}/auto_online_blocks`;

/** A memory block. */
export interface MemoryBlock {
  /** Its name: `memory82`. */
  readonly name: string;
  /** First physical address. */
  readonly start: bigint;
  /** Bytes. */
  readonly sizeBytes: bigint;
  /** `online`, `offline`, or `going-offline` while the kernel moves its pages. */
  readonly state: string;
  /** The zone it is in while online: `Movable`, `Normal`; null while offline and where the kernel does not tell. */
  readonly zone: string | null;
  /** The NUMA node; null where unknown. */
  readonly node: number | null;
}

/** What the kernel may put into memory: `movable`: only what it can move away again. `kernel`: anything. */
export type OnlineZone = "movable" | "kernel";

/** The size of every block of this machine in bytes. */
export function blockSizeBytes(host: Host): bigint {
  const path = `${MEMORY}/block_size_bytes`;
  const text = host.readText(path).trim();
  if (!/^[0-9a-f]+$/i.test(text) || BigInt(`0x${text}`) === 0n) {
    throw new BusbarError("malformed", `${path}: '${text.slice(0, 40)}' is no size`, { operation: "read", path });
  }
  return BigInt(`0x${text}`);
}

/** The blocks that lie wholly in physical address ranges, by address. Empty while the memory is not known to the kernel. */
export function blocksInRanges(host: Host, ranges: readonly MemoryRange[]): MemoryBlock[] {
  const size = blockSizeBytes(host);
  return readBlocks(host, blockNames(ranges, size), size);
}

/** How many whole blocks there are in ranges, whether the kernel has them or not. */
export function countBlocks(host: Host, ranges: readonly MemoryRange[]): number {
  return blockNames(ranges, blockSizeBytes(host)).length;
}

function blockNames(ranges: readonly MemoryRange[], sizeBytes: bigint): string[] {
  const names: string[] = [];
  for (const { start, end } of ranges) {
    const first = (start + sizeBytes - 1n) / sizeBytes;
    for (let index = first; (index + 1n) * sizeBytes <= end; index++) names.push(`memory${index}`);
  }
  return names;
}

/** The blocks of a NUMA node, by address. */
export function blocksOfNode(host: Host, node: number): MemoryBlock[] {
  const size = blockSizeBytes(host);
  const names = (ifPresent(() => host.list(`/sys/devices/system/node/node${node}`)) ?? [])
    .filter((name) => /^memory\d+$/.test(name));
  return readBlocks(host, names, size).sort((a, b) => a.start < b.start ? -1 : 1);
}

/** Reads blocks, in one batch, and the zones of those that are online in another. Those that are not there are left out. */
function readBlocks(host: Host, names: readonly string[], sizeBytes: bigint): MemoryBlock[] {
  const reads = new BatchedReads(host);
  const folders = names.map((name) => `${MEMORY}/${name}`);
  reads.fetch(folders.flatMap((folder) => [textOf(`${folder}/state`), namesIn(folder)]));
  const online = folders.filter((folder) => ifReadable(() => reads.readText(`${folder}/state`).trim()) === "online");
  reads.fetch(online.map((folder) => textOf(`${folder}/valid_zones`)));
  return names.flatMap((name) => ifPresent(() => readBlock(reads, name, sizeBytes)) ?? []);
}

function readBlock(host: Host, name: string, sizeBytes: bigint): MemoryBlock {
  const folder = `${MEMORY}/${name}`;
  const state = host.readText(`${folder}/state`).trim();
  const node = host.list(folder).find((entry) => /^node\d+$/.test(entry));
  const zone = state === "online" ? ifReadable(() => host.readText(`${folder}/valid_zones`).trim()) : null;
  return {
    name,
    start: BigInt(name.slice("memory".length)) * sizeBytes,
    sizeBytes,
    state,
    zone: zone === null || zone === "none" ? null : zone.split(" ")[0] ?? null,
    node: node === undefined ? null : Number(node.slice("node".length)),
  };
}

/** How long blocks may take, and what ends it early. */
export interface BlockWait {
  /** For all blocks together. */
  readonly deadline: Deadline;
  /** Ends the wait early. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Takes blocks into use. Those that are online already stay as they are.
 *
 * @throws {BusbarError} with the block's name
 */
export async function onlineBlocks(
  journal: UndoJournal,
  blocks: readonly MemoryBlock[],
  zone: OnlineZone,
  wait: BlockWait,
): Promise<void> {
  for (const block of blocks.filter((block) => block.state !== "online")) {
    const path = `${MEMORY}/${block.name}/state`;
    try {
      await journal.changeSlowly(
        {
          what: `state of ${block.name}`,
          write: { path, text: `online_${zone}` },
          undo: () => [{ path, text: "offline" }],
        },
        wait.deadline,
        wait.signal,
      );
    } catch (error) {
      throw explain(error, block, "taken into use", zoneHint(zone));
    }
  }
}

function zoneHint(zone: OnlineZone): string {
  return zone === "movable"
    ? "the kernel takes movable memory only behind kernel memory of the same node; --zone kernel may work"
    : "look at the kernel's log (dmesg)";
}

/**
 * Takes blocks out of use: the kernel moves what is in them elsewhere. Those that are offline already stay as they are.
 *
 * @throws {BusbarError} `busy` or `timeout`, with the name of the block that is stuck; the journal has those before it
 */
export async function offlineBlocks(
  journal: UndoJournal,
  blocks: readonly MemoryBlock[],
  wait: BlockWait,
): Promise<void> {
  // From the end: the kernel keeps a zone contiguous and gives its last pages away first.
  for (const block of blocks.filter((block) => block.state !== "offline").reverse()) {
    const path = `${MEMORY}/${block.name}/state`;
    const back = block.zone === "Movable" ? "online_movable" : "online";
    try {
      await journal.changeSlowly(
        { what: `state of ${block.name}`, write: { path, text: "offline" }, undo: () => [{ path, text: back }] },
        wait.deadline,
        wait.signal,
      );
    } catch (error) {
      throw explain(
        error,
        block,
        "taken out of use",
        block.zone === "Movable"
          ? "something holds its pages (locked by a device or a pinned buffer): end those programs and try again"
          : `it is in zone ${block.zone ?? "unknown"}, where the kernel keeps what it cannot move: ` +
            "only a reboot with movable onlining frees it for sure",
      );
    }
  }
}

/** Errors that say it all without the block's name. */
const PASSED_ON: readonly ErrorCode[] = ["permission", "interrupted", "terminated", "hangup", "bug"];

function explain(error: unknown, block: MemoryBlock, what: string, hint: string): unknown {
  if (!(error instanceof BusbarError) || PASSED_ON.includes(error.code)) return error;
  const place = `${block.name} (${formatBytes(block.sizeBytes)} at ${hex(block.start)}, node ${
    block.node ?? "unknown"
  })`;
  return new BusbarError(
    error.code === "timeout" ? "timeout" : "busy",
    `${place} cannot be ${what}: ${error.message}`,
    {
      operation: "change a memory block",
      path: `${MEMORY}/${block.name}/state`,
      hint,
      cause: error,
    },
  );
}

/**
 * Makes new memory stay offline, so that it can be taken into use in the wanted zone.
 *
 * @returns what puts the old setting back; it does nothing where the kernel has none
 */
export function holdBackNewMemory(journal: UndoJournal, host: Host): () => void {
  const old = ifReadable(() => host.readText(AUTO_ONLINE).trim());
  if (old === null || old === "offline") return () => {};
  const set = (text: string): void =>
    journal.change({ what: "automatic use of new memory", write: { path: AUTO_ONLINE, text } });
  set("offline");
  return () => set(old);
}
