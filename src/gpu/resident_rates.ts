/**
 * What a kernel that stays saves: the same random reads by its requests, and by a launch for each.
 * @module
 */

import { Buffer } from "node:buffer";
import { cpuUsage } from "node:process";

import { Histogram } from "../core/histogram.ts";
import type { NamespaceGeometry } from "../nvme/tables/identity.ts";
import { FileKernels } from "./nvme/file_kernels.ts";
import type { NvmeDirect } from "./nvme_direct.ts";
import { ResidentKernel } from "./resident.ts";

/** A place of the drive, and what lies there. */
export interface KnownBlocks {
  /** First block. */
  readonly lba: bigint;
  /** The bytes of the blocks there, as somebody else read them. */
  readonly bytes: Uint8Array;
}

/** What is read. */
export interface RequestRatesJob {
  /** The namespace. */
  readonly namespace: NamespaceGeometry;
  /** What the controller takes at once, in bytes. */
  readonly maxTransferBytes: number;
  /** Blocks of each request. */
  readonly transferBlocks: number;
  /** The places that are read, at random; each has `transferBlocks` blocks. */
  readonly places: readonly KnownBlocks[];
  /** Requests in flight. */
  readonly depth: number;
  /** Milliseconds of each way. */
  readonly durationMs: number;
  /** How long a command may take, in milliseconds. */
  readonly timeoutMs: number;
  /** Ends it early. */
  readonly signal?: AbortSignal | undefined;
}

/** What one way came to. */
export interface RequestRates {
  /** `launch`: a kernel for each request. `resident`: requests to a kernel that stays. */
  readonly way: "launch" | "resident";
  /** Requests in flight. */
  readonly inFlight: number;
  /** Requests that were answered. */
  readonly requests: number;
  /** Wall time in milliseconds. */
  readonly elapsedMs: number;
  /** Nanoseconds from a request to its data. */
  readonly latency: Histogram;
  /** Processor time of this process, in seconds. */
  readonly cpuSeconds: number;
  /** Requests whose bytes were not those that somebody else read there. */
  readonly wrong: number;
}

type Read = (place: KnownBlocks) => Promise<Uint8Array>;

/** The next of a row of numbers that look random. */
function step(x: number): number {
  x ^= x << 13;
  x ^= x >>> 17;
  return (x ^ x << 5) >>> 0;
}

async function measured(
  way: RequestRates["way"],
  inFlight: number,
  { places, durationMs, signal }: RequestRatesJob,
  read: Read,
): Promise<RequestRates> {
  const latency = new Histogram(), before = cpuUsage();
  const started = performance.now(), end = started + durationMs;
  let requests = 0, wrong = 0, seed = 1;
  const one = async (): Promise<void> => {
    while (performance.now() < end) {
      signal?.throwIfAborted();
      seed = step(seed);
      const place = places[seed % places.length];
      if (place === undefined) return;
      const asked = performance.now();
      const bytes = await read(place);
      latency.add(Math.round((performance.now() - asked) * 1e6));
      requests++;
      if (Buffer.compare(bytes, place.bytes) !== 0) wrong++;
    }
  };
  const all = await Promise.allSettled(Array.from({ length: inFlight }, one));
  const failed = all.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  const elapsedMs = performance.now() - started, { user, system } = cpuUsage(before);
  return { way, inFlight, requests, elapsedMs, latency, cpuSeconds: (user + system) / 1e6, wrong };
}

/**
 * Reads by a launch for each request, then by requests to a kernel that stays: one in flight, as launches on one queue are,
 * and `depth` in flight.
 *
 * @throws {BusbarError} as {@linkcode FileKernels.gather} and {@linkcode ResidentKernel.read} do
 */
export async function requestRates(direct: NvmeDirect, job: RequestRatesJob): Promise<RequestRates[]> {
  const { namespace, transferBlocks, depth, timeoutMs, signal } = job;
  const rates: RequestRates[] = [];
  const sizeBytes = transferBlocks * namespace.blockBytes;
  {
    // The leanest launch that there is: no times of commands are collected.
    using kernels = new FileKernels(direct, namespace, job.maxTransferBytes);
    using arena = kernels.allocate("pinned", sizeBytes);
    const launch: Read = async ({ lba }) => {
      const run = { offset: Number(lba) * namespace.blockBytes, destination: 0, sizeBytes };
      await kernels.gather([run], arena, { timeoutMs, signal });
      return await arena.read(0, sizeBytes);
    };
    rates.push(await measured("launch", 1, job, launch));
  }
  await using resident = await ResidentKernel.start(direct, namespace, job.maxTransferBytes, {
    places: 2 ** Math.ceil(Math.log2(depth)),
    dataBytes: 2 ** Math.ceil(Math.log2(sizeBytes)),
    timeoutMs,
    signal,
  });
  const memory: Uint8Array<ArrayBuffer>[] = [];
  const read: Read = async ({ lba }) => {
    const mine = memory.pop() ?? new Uint8Array(sizeBytes);
    const bytes = await resident.read(lba, transferBlocks, { into: mine });
    // Compared before anything else runs.
    memory.push(mine);
    return bytes;
  };
  for (const inFlight of new Set([1, depth])) rates.push(await measured("resident", inFlight, job, read));
  return rates;
}
