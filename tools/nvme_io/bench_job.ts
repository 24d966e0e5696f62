/**
 * `nvme_io bench` over phases and several drives: all drives at once, one phase after the other.
 * @module
 */

import { pause } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { type IoJobResult, runIoJob } from "../../src/nvme/jobs/io_job.ts";
import type { BenchPhase } from "../../src/nvme/jobs/job_file.ts";
import { BlockPattern } from "../../src/nvme/jobs/pattern.ts";
import { Timeline } from "../../src/nvme/jobs/timeline.ts";
import { planQueues, planTransfers, USUAL_DEPTH } from "../../src/nvme/jobs/transfer_plan.ts";
import { checkErase } from "../../src/nvme/jobs/write_guard.ts";
import type { IoDescription } from "../render/nvme/nvme_io.ts";
import type { LatencyInterval } from "../render/nvme/latency_file.ts";

/** What a benchmark does and how. */
export interface BenchOptions {
  /** Locators of the drives. */
  readonly devices: readonly string[];
  /** The namespace of each. */
  readonly namespace: number;
  /** One after the other. */
  readonly phases: readonly BenchPhase[];
  /** First block and number of blocks, where a phase says nothing in bytes. */
  readonly lba: bigint | undefined;
  /** As many; to the end where undefined. */
  readonly blocks: bigint | undefined;
  /** The transfer size was asked for: it is refused where the controller cannot do it. */
  readonly isExact: boolean;
  /** Microseconds of polling before a queue sleeps until an interrupt; null polls on. */
  readonly pollFirstUs: number | null;
  /** Submission queues in the controller's own memory. */
  readonly cmb: boolean;
  /** Drive an unbound controller without an IOMMU. */
  readonly noIommu: boolean;
  /** Serial numbers of drives that may be written although something lies on them. */
  readonly erase: readonly string[];
  /** Milliseconds after which a command counts as lost; 30 s where undefined. */
  readonly timeoutMs: number | undefined;
  /** Gets a row of bandwidth over time for each drive and interval. */
  readonly timeline: { readonly intervalMs: number; readonly onRow: (line: string) => void } | null;
  /** Called with the bytes that are done in this phase, over all drives. */
  readonly onProgress: (phase: string, bytes: number) => void;
  /** Ends it early. */
  readonly signal: AbortSignal;
}

/** What a drive did in a phase. */
export interface DriveResult {
  /** What it was to do. */
  readonly what: IoDescription;
  /** What came of it. */
  readonly result: IoJobResult;
}

/** A phase and what came of it. */
export interface PhaseResult {
  /** Its name. */
  readonly name: string;
  /** Seconds from the start of the benchmark. */
  readonly startSeconds: number;
  /** One for each drive. */
  readonly drives: readonly DriveResult[];
}

/** The first line of a timeline. */
export const TIMELINE_HEAD = "phase,drive,seconds,length_s,transfers,iops,mib_per_s";

/**
 * Opens all drives, then runs the phases.
 *
 * @throws {BusbarError} the first that a drive meets; the others are stopped then
 */
export async function runBench(options: BenchOptions): Promise<PhaseResult[]> {
  const { phases, devices } = options;
  await using drives = new AsyncDisposableStack();
  const controllers: NvmeController[] = [];
  const queues = Math.max(...phases.map((phase) => phase.queues));
  const share = Math.max(...phases.map((phase) => Math.ceil((phase.depth ?? USUAL_DEPTH) / phase.queues)));
  for (const device of devices) {
    const controller = await NvmeController.open(device, {
      drive: true,
      noIommu: options.noIommu,
      ioQueues: queues,
      cmbQueues: options.cmb,
      // One entry of a queue stays free.
      ioEntries: Math.min(65_536, Math.max(256, share + 1)),
      wait: options.pollFirstUs === null ? "poll" : "interrupt",
      signal: options.signal,
    });
    controllers.push(drives.use(controller));
  }
  if (phases.some((phase) => phase.readShare < 1)) {
    await checkDrives(controllers, options);
  }
  const started = performance.now();
  const results: PhaseResult[] = [];
  for (const phase of phases) {
    if (phase.startDelayMs > 0) await pause(phase.startDelayMs, options.signal);
    const startSeconds = (performance.now() - started) / 1000;
    results.push({ name: phase.name, startSeconds, drives: await runPhase(controllers, phase, options, started) });
    if (results.at(-1)?.drives.some(({ result }) => result.mismatch !== null)) break;
  }
  return results;
}

/** Whether all may be written: each serial number that was given belongs to one of them. */
async function checkDrives(controllers: readonly NvmeController[], { erase, namespace }: BenchOptions): Promise<void> {
  const serials = await Promise.all(controllers.map(async (one) => (await one.identify()).serial));
  const strange = erase.find((one) => !serials.includes(one));
  for (const [index, controller] of controllers.entries()) {
    const own = serials[index] ?? "";
    await checkErase(controller, namespace, erase.includes(own) ? own : strange);
  }
}

async function runPhase(
  controllers: readonly NvmeController[],
  phase: BenchPhase,
  options: BenchOptions,
  started: number,
): Promise<DriveResult[]> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const done = controllers.map(() => 0);
  const results = await Promise.allSettled(controllers.map(async (controller, index) => {
    const onBytes = (bytes: number): void => {
      done[index] = bytes;
      options.onProgress(phase.name, done.reduce((sum, one) => sum + one));
    };
    try {
      return await runDrive(controller, options.devices[index] ?? "", phase, { ...options, signal }, started, onBytes);
    } catch (error) {
      // The others end before their controllers are closed.
      stop.abort(error);
      throw error;
    }
  }));
  const failed = results.find((one) => one.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return results.flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
}

async function runDrive(
  controller: NvmeController,
  device: string,
  phase: BenchPhase,
  options: BenchOptions,
  started: number,
  onBytes: (bytes: number) => void,
): Promise<DriveResult> {
  const range = await rangeOf(controller, phase, options);
  const size = { sizeBytes: phase.transferBytes, isExact: options.isExact };
  const plan = await planTransfers(controller, options.namespace, range.lba, range.blocks, size);
  const shares = planQueues(controller.driver, phase.queues, phase.depth);
  const transferBytes = plan.transferBlocks * plan.namespace.blockBytes;
  const { timeline } = options;
  const label = phase.name.replaceAll(/[",\r\n]/g, "_");
  const over = timeline === null
    ? null
    : new Timeline(started, performance.now(), timeline.intervalMs, ({ seconds, lengthSeconds, transfers }) =>
      timeline.onRow([
        label,
        device.replaceAll(/[",\r\n]/g, "_"),
        seconds.toFixed(3),
        lengthSeconds.toFixed(3),
        transfers,
        (transfers / lengthSeconds).toFixed(0),
        (transfers * transferBytes / lengthSeconds / 2 ** 20).toFixed(2),
      ].join(",")));
  const result = await runIoJob(controller.driver, {
    ...plan,
    ...shares,
    readShare: phase.readShare,
    randomSeed: phase.isRandom ? phase.seed : null,
    ...(phase.zipfTheta === null ? {} : { zipfTheta: phase.zipfTheta }),
    ...(phase.ratePerSecond === null ? {} : { ratePerSecond: phase.ratePerSecond }),
    ...(phase.durationMs === null ? {} : { durationMs: phase.durationMs }),
    ...(phase.transfers === null ? {} : { transfers: phase.transfers }),
    ...(phase.patternSeed === null
      ? {}
      : { pattern: new BlockPattern(phase.patternSeed, plan.namespace.blockBytes, plan.memoryBytes) }),
    ...(options.pollFirstUs === null ? {} : { pollFirstUs: options.pollFirstUs }),
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    // One drive's slices must not keep another waiting.
    ...(phase.threads !== null
      ? { threads: phase.threads }
      : options.devices.length > 1
      ? { threads: phase.queues }
      : {}),
    onProgress: (transfers) => {
      over?.update(transfers, performance.now());
      onBytes(transfers * transferBytes);
    },
    signal: options.signal,
  });
  over?.end(result.transfers, performance.now());
  if (phase.readShare < 1) await controller.namespace(options.namespace).flush();
  return { what: { device, action: "bench", ...plan, ...shares }, result };
}

/** The blocks of a phase: of its own bytes, or of the command line. */
async function rangeOf(
  controller: NvmeController,
  { offsetBytes, sizeBytes }: BenchPhase,
  { namespace, lba, blocks }: BenchOptions,
): Promise<{ lba: bigint; blocks: bigint | undefined }> {
  if (offsetBytes === 0 && sizeBytes === null) return { lba: lba ?? 0n, blocks };
  const { blockBytes } = await controller.namespace(namespace).geometry();
  if (offsetBytes % blockBytes !== 0 || (sizeBytes ?? 0) % blockBytes !== 0) {
    throw new BusbarError("usage", `${controller.name}: offset and size: whole blocks of ${blockBytes} bytes`, {
      operation: "plan transfers",
      path: controller.name,
    });
  }
  return {
    lba: BigInt(offsetBytes / blockBytes),
    blocks: sizeBytes === null ? undefined : BigInt(sizeBytes / blockBytes),
  };
}

/** The latencies of all phases and drives, for a file. */
export function latencyIntervals(results: readonly PhaseResult[]): LatencyInterval[] {
  return results.flatMap(({ name, startSeconds, drives }) =>
    drives.map(({ what, result }) => ({
      // Commas and spaces end a tag in HdrHistogram's log.
      tag: `${name}:${what.device}`.replaceAll(/[,\s]/g, "_"),
      startSeconds,
      lengthSeconds: result.elapsedMs / 1000,
      latency: result.latency,
    }))
  );
}
