/**
 * Data through our driver and through the kernel's, compared by checksum.
 * @module
 */

import { assertEquals } from "@std/assert";
import { createHash } from "node:crypto";

import type { NvmeController } from "../../src/nvme/driver/controller.ts";
import { type IoJobOptions, runIoJob } from "../../src/nvme/jobs/io_job.ts";
import type { Random } from "../unit/random.ts";
import { must } from "./controllers.ts";

/** How a namespace is reached from both sides. */
export interface DataPath {
  /** Runs `body` with the controller in our hands, and gives it back to the kernel. */
  readonly driven: (body: (controller: NvmeController) => Promise<void>) => Promise<void>;
  /** The kernel's block device, once it is there. */
  readonly blockDevice: () => Promise<string>;
  /** How many queues the loop of jobs uses; one by default. */
  readonly queues?: number;
  /** Waits for interrupts, as `IoJobOptions` says; polls by default. */
  readonly pollFirstUs?: number;
}

const WINDOW_BYTES = 4 << 20;
const KERNEL_BLOCK_BYTES = 65_536;
const MOST_PIECE_BYTES = 2 << 20;

/** Data of which every 512 bytes differ from every other: noise, stamped with where it belongs. */
class Stamped {
  readonly #noise: Uint8Array<ArrayBuffer>;

  constructor(random: Random) {
    this.#noise = random.noise(WINDOW_BYTES);
  }

  /** The window that begins at `offset`. */
  window(offset: number, sizeBytes: number): Uint8Array<ArrayBuffer> {
    const bytes = this.#noise.slice(0, sizeBytes);
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < sizeBytes; at += 512) view.setFloat64(at, offset + at);
    return bytes;
  }
}

function windows(sizeBytes: number): { readonly at: number; readonly sizeBytes: number }[] {
  const count = Math.ceil(sizeBytes / WINDOW_BYTES);
  return Array.from({ length: count }, (_, i) => {
    const at = i * WINDOW_BYTES;
    return { at, sizeBytes: Math.min(WINDOW_BYTES, sizeBytes - at) };
  });
}

/** Cuts a window into transfers of random length. */
function* pieces(random: Random, sizeBytes: number, blockBytes: number): Generator<readonly [at: number, end: number]> {
  for (let at = 0; at < sizeBytes;) {
    const length = Math.min(sizeBytes - at, blockBytes * (1 + random.below(MOST_PIECE_BYTES / blockBytes)));
    yield [at, at + length];
    at += length;
  }
}

/** Three windows of four go through the loop of jobs, the others by single transfers. */
function isForLoop(windowAt: number): boolean {
  return windowAt / WINDOW_BYTES % 4 !== 3;
}

/**
 * One job over a window: 16 transfers in flight, at random places first, so that many come twice, then in order.
 *
 * @returns how often a queue slept
 */
async function throughLoop(
  controller: NvmeController,
  { queues = 1, pollFirstUs }: DataPath,
  nsid: number,
  first: number,
  sizeBytes: number,
  data: Pick<IoJobOptions, "readShare" | "fill" | "onRead">,
): Promise<number> {
  const namespace = await controller.namespace(nsid).geometry();
  const { blockBytes } = namespace;
  const transferBlocks = Math.min(65_536, await controller.maxTransferBytes()) / blockBytes;
  const range = { lba: BigInt(first), blocks: BigInt(sizeBytes / blockBytes), transferBlocks, depth: 16, queues };
  const wait = pollFirstUs === undefined ? {} : { pollFirstUs };
  let slept = 0;
  for (const order of [{ randomSeed: first, transfers: 8 }, { randomSeed: null }]) {
    slept += (await runIoJob(controller.driver, { namespace, ...range, ...order, ...wait, ...data })).waits;
  }
  return slept;
}

/**
 * Writes `sizeBytes` from a random place on through our driver and reads them through the kernel, then the other way round:
 * by the loop of jobs, and by single transfers of random lengths.
 *
 * @returns how often a queue of the loop slept until an interrupt came
 */
export async function comparePaths(path: DataPath, nsid: number, sizeBytes: number, random: Random): Promise<number> {
  let slept = 0;
  const start = KERNEL_BLOCK_BYTES * random.below(64);
  const ours = new Stamped(random);
  const written = createHash("sha256");
  await path.driven(async (controller) => {
    const namespace = controller.namespace(nsid);
    const { blockBytes } = await namespace.geometry();
    for (const window of windows(sizeBytes)) {
      const data = ours.window(window.at, window.sizeBytes);
      written.update(data);
      const first = (start + window.at) / blockBytes;
      if (isForLoop(window.at)) {
        const fill = (lba: bigint, to: Uint8Array): void => {
          const at = (Number(lba) - first) * blockBytes;
          to.set(data.subarray(at, at + to.length));
        };
        slept += await throughLoop(controller, path, nsid, first, window.sizeBytes, { readShare: 0, fill });
        continue;
      }
      for (const [at, end] of pieces(random, window.sizeBytes, blockBytes)) {
        await namespace.write(first + at / blockBytes, data.subarray(at, end));
      }
    }
    await namespace.flush();
  });
  const device = await path.blockDevice();
  const range = `bs=${KERNEL_BLOCK_BYTES} count=${sizeBytes / KERNEL_BLOCK_BYTES} status=none`;
  const place = start / KERNEL_BLOCK_BYTES;
  const sum = await must("sh", "-c", `dd if=${device} skip=${place} iflag=direct ${range} | sha256sum`);
  assertEquals(new TextDecoder().decode(sum).slice(0, 64), written.digest("hex"), "ours, read by the kernel");

  const theirs = new Stamped(random);
  const given = createHash("sha256");
  const dd = new Deno.Command("dd", {
    args: [`of=${device}`, `seek=${place}`, "oflag=direct", "iflag=fullblock", "conv=fsync", ...range.split(" ")],
    stdin: "piped",
  }).spawn();
  const input = dd.stdin.getWriter();
  for (const window of windows(sizeBytes)) {
    const data = theirs.window(window.at, window.sizeBytes);
    given.update(data);
    await input.write(data);
  }
  await input.close();
  assertEquals((await dd.status).code, 0);
  const read = createHash("sha256");
  await path.driven(async (controller) => {
    const namespace = controller.namespace(nsid);
    const { blockBytes } = await namespace.geometry();
    for (const window of windows(sizeBytes)) {
      const data = new Uint8Array(window.sizeBytes);
      const first = (start + window.at) / blockBytes;
      if (isForLoop(window.at)) {
        const onRead = (lba: bigint, from: Uint8Array): void => data.set(from, (Number(lba) - first) * blockBytes);
        slept += await throughLoop(controller, path, nsid, first, window.sizeBytes, { readShare: 1, onRead });
      } else {
        for (const [at, end] of pieces(random, window.sizeBytes, blockBytes)) {
          await namespace.read(first + at / blockBytes, data.subarray(at, end));
        }
      }
      read.update(data);
    }
  });
  assertEquals(read.digest("hex"), given.digest("hex"), "the kernel's, read by us");
  return slept;
}
