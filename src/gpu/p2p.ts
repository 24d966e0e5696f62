/**
 * Can a GPU reach an NVMe controller's registers, and if not, which link of the chain says no?
 *
 * Eight steps, each made of named checks. Steps 1 to 6 read the machine and make a mapping; nothing on the drive is
 * touched. Step 7 writes one register and puts it back, step 8 reads one, both only when asked for.
 * @module
 */

import { BusbarError, isBusbarError } from "../core/error.ts";
import { type Host, ifReadable, thisMachine } from "../core/host.ts";
import type { PciAddress } from "../core/pci_address.ts";
import { hex } from "../core/units.ts";
import type { CudaDriver } from "../../ffi/cuda_driver.ts";
import { findCapability } from "../pci/capabilities.ts";
import { configUint } from "../pci/config_space.ts";
import { type PciFunction, readPciFunction } from "../pci/function.ts";
import { lockFunction } from "../pci/lock.ts";
import type { PairVerdict, TopologyClass } from "../pci/p2p.ts";
import { mapBar, type MappedBar } from "../pci/register_access.ts";
import { findNode, nodesAbove, readTopology, type Topology, type TopologyNode } from "../pci/topology.ts";
import { openCudaDriver } from "./driver.ts";
import type { RegisteredMemory } from "./gpu.ts";
import { GpuRegisters, readTest, writeTest } from "./p2p_access.ts";
import { type P2pCheck, type P2pOutcome, ruleText } from "./p2p_check.ts";
import { cudaChecks, registerCheck } from "./p2p_cuda.ts";
import { deviceChecks, driverChecks, listGpus, pathChecks, readNvidiaModule } from "./p2p_machine.ts";

/** How far it came. */
export type P2pLevel = "none" | "mapped" | "writes arrive" | "reads return";

/** The answer for one way to let a GPU do I/O. */
export interface P2pTier {
  /** 1 to 3. */
  readonly tier: 1 | 2 | 3;
  /** What lies where. */
  readonly title: string;
  /** Whether it works. */
  readonly answer: "yes" | "no" | "unknown";
  /** Why. */
  readonly reason: string;
}

/** What came of the whole chain. */
export interface P2pReport {
  /** The drive's address. */
  readonly drive: string;
  /** The GPU's address; null where there is none. */
  readonly gpu: string | null;
  /** As `nvidia-smi topo` names the way between them; null without a GPU. */
  readonly class: TopologyClass | null;
  /** The checks, by step. */
  readonly checks: readonly P2pCheck[];
  /** Why it went no further; null when all eight steps were made. */
  readonly stopped: string | null;
  /** How far it came. */
  readonly level: P2pLevel;
  /** The answer for tier 1, which is the answer of the whole. */
  readonly verdict: P2pTier["answer"];
  /** The verdict in one line. */
  readonly summary: string;
  /** The answer for each tier. */
  readonly tiers: readonly P2pTier[];
}

/** How the chain is gone through. */
export interface P2pOptions {
  /** The GPU: its place among the machine's NVIDIA GPUs in PCI order, or its address. The first by default. */
  readonly gpu?: number | PciAddress;
  /** Step 7: one write to AQA, put back. */
  readonly writeTest?: boolean;
  /** Step 8, after step 7: one read of VS. */
  readonly readTest?: boolean;
  /** Do step 8 also where a read may lose the drive. */
  readonly force?: boolean;
  /** The machine. */
  readonly host?: Host;
  /** Opens the CUDA driver. */
  readonly openCuda?: () => CudaDriver;
  /** Maps BAR0, readable and writable. */
  readonly mapBar0?: (host: Host, fn: PciFunction) => MappedBar;
  /** Locks the drive against other runs of busbar. */
  readonly lock?: (host: Host, fn: PciFunction) => Disposable;
}

/** A chain that stops says why. */
class Stop {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

/**
 * Goes through the chain.
 *
 * @param drive the NVMe controller's address
 * @throws {BusbarError} `absent` when there is no such function
 */
export async function checkP2p(drive: PciAddress, options: P2pOptions = {}): Promise<P2pReport> {
  const host = options.host ?? thisMachine;
  // Its own error says more than a tree without it.
  const fn = readPciFunction(host, drive);
  const topology = readTopology(host);
  const node = findNode(topology, drive);
  const gpus = listGpus(topology);
  const gpu = chooseGpu(topology, gpus, options.gpu ?? 0);
  const checks: P2pCheck[] = deviceChecks(node, gpu, gpus.length);
  const path = pathChecks(topology, node, gpu);
  checks.push(...path.checks, ...driverChecks(host, gpu));
  const place: Place = { host, fn, node, gpu, pair: path.pair, isSoftware: false };
  let stopped: string | null = null;
  try {
    await goOn(checks, options, place);
  } catch (stop) {
    if (!(stop instanceof Stop)) throw stop;
    stopped = stop.reason;
  }
  return {
    drive: fn.name,
    gpu: gpu?.function.name ?? null,
    class: path.pair?.class ?? null,
    checks,
    stopped,
    ...conclude(checks, place.isSoftware),
  };
}

function chooseGpu(
  topology: Topology,
  gpus: readonly TopologyNode[],
  wanted: number | PciAddress,
): TopologyNode | null {
  if (typeof wanted !== "number") return findNode(topology, wanted);
  return gpus[wanted] ?? null;
}

interface Place {
  readonly host: Host;
  readonly fn: PciFunction;
  readonly node: TopologyNode;
  readonly gpu: TopologyNode | null;
  readonly pair: PairVerdict | null;
  /** The GPU is the software device; known from step 5 on. */
  isSoftware: boolean;
}

/** Steps 5 to 8. @throws {Stop} where it ends before the last step */
async function goOn(checks: P2pCheck[], options: P2pOptions, place: Place): Promise<void> {
  const { host, fn } = place;
  const wanted = place.gpu?.function.address ?? options.gpu ?? 0;
  const cuda = cudaChecks(options.openCuda ?? openCudaDriver, wanted, place.gpu?.function ?? null);
  checks.push(...cuda.checks);
  if (cuda.gpu === null) throw new Stop("step 5: CUDA does not start");
  using gpu = cuda.gpu;
  place.isSoftware = gpu.driver.isSoftware;
  const device = checks.find((check) => check.step === 1 && check.name === "drive");
  if (device?.outcome === "fail") throw new Stop("step 6: there is no BAR0 to map (step 1)");
  using bar0 = mapForCheck(checks, options.mapBar0 ?? ((where, drive) => mapBar(where, drive, 0)), host, fn);
  const { check, registered } = registerCheck(gpu, bar0, readNvidiaModule(host));
  checks.push(check);
  if (registered === null) throw new Stop("step 6: the GPU does not map BAR0");
  using _registered = registered;
  await access(checks, options, place, bar0, registered);
}

function mapForCheck(
  checks: P2pCheck[],
  map: (host: Host, fn: PciFunction) => MappedBar,
  host: Host,
  fn: PciFunction,
): MappedBar {
  try {
    return map(host, fn);
  } catch (error) {
    if (!isBusbarError(error)) throw error;
    checks.push({
      step: 6,
      name: "mapping of BAR0",
      outcome: "unknown",
      text: error.message,
      evidence: `mmap of ${fn.folder}/resource0, shared, writable`,
      rule: ruleText("hostRegister"),
      remedy: error.hint,
    });
    throw new Stop("step 6: this process cannot map BAR0");
  }
}

/** Steps 7 and 8. */
async function access(
  checks: P2pCheck[],
  options: P2pOptions,
  place: Place,
  bar0: MappedBar,
  registered: RegisteredMemory,
): Promise<void> {
  const { host, fn } = place;
  if (options.writeTest !== true) {
    checks.push(
      notRun(7, "posted write", "it was not asked for; nothing on the drive has been touched", "--write-test"),
    );
    throw new Stop("step 7: a write was not asked for");
  }
  using _lock = lockForWrite(checks, options.lock ?? lockFunction, host, fn);
  const before = linkErrors(host, place);
  using registers = loadKernels(checks, registered);
  const write = await writeTest(bar0.mmio, fn.name, (offset, value) => registers.write(offset, value));
  checks.push(write);
  if (write.outcome !== "pass") throw new Stop("step 7: the write is not known to arrive");
  const errors = linkErrors(host, place);
  if (options.readTest !== true) {
    checks.push(notRun(8, "read", "it was not asked for", "--read-test"));
    throw new Stop("step 8: a read was not asked for");
  }
  const danger = dangerOfReading(place, errors.length > 0 ? errors : before);
  if (danger !== null && options.force !== true) {
    checks.push({ ...notRun(8, "read", danger.text, "--force, at the drive's risk"), evidence: danger.evidence });
    throw new Stop("step 8: a read may lose the drive");
  }
  checks.push(await readTest(bar0.mmio, (offset) => registers.read(offset)));
}

function loadKernels(checks: P2pCheck[], registered: RegisteredMemory): GpuRegisters {
  try {
    return new GpuRegisters(registered);
  } catch (error) {
    if (!isBusbarError(error)) throw error;
    checks.push({
      step: 7,
      name: "posted write",
      outcome: "unknown",
      text: error.message,
      evidence: "src/gpu/kernels/mmio.ptx: PTX 8.2, sm_70",
      rule: "PTX ISA 9.7.9: st.mmio needs PTX 8.2 (CUDA 12.2) and sm_70",
      remedy: error.hint,
    });
    throw new Stop("step 7: the kernel does not load");
  }
}

function lockForWrite(
  checks: P2pCheck[],
  lock: (host: Host, fn: PciFunction) => Disposable,
  host: Host,
  fn: PciFunction,
): Disposable {
  try {
    if (fn.driver !== null) {
      throw new BusbarError("busy", `${fn.name}: the driver ${fn.driver} has it`, {
        operation: "write test",
        path: fn.name,
        hint:
          `echo ${fn.name} > ${fn.folder}/driver/unbind, then echo 1 > ${fn.folder}/reset; nothing may use the drive`,
      });
    }
    return lock(host, fn);
  } catch (error) {
    if (!isBusbarError(error)) throw error;
    checks.push({
      step: 7,
      name: "posted write",
      outcome: "unknown",
      text: `a write was refused: ${error.message}`,
      evidence: `${fn.folder}/driver`,
      rule: ruleText("hostRegister"),
      remedy: error.hint,
    });
    throw new Stop("step 7: the drive is not this process's alone");
  }
}

function notRun(step: number, name: string, text: string, remedy: string): P2pCheck {
  return { step, name, outcome: "not run", text, evidence: "options", rule: ruleText("rootComplex"), remedy };
}

const PCIE_CAPABILITY = 0x10;
const DEVICE_STATUS = 0x0a;
/** Non-fatal and fatal errors detected: PCI Express Base 6.0 §7.5.3.5. */
const ERRORS = 0x6;

/** The functions on the way that have recorded an error which cost data, with what they show. */
function linkErrors(host: Host, place: Place): string[] {
  const ends = place.gpu === null ? [place.node] : [place.node, place.gpu];
  const nodes = new Set(ends.flatMap((node) => [node, ...nodesAbove(node)]));
  return [...nodes].flatMap((node) => {
    const capability = findCapability(node.capabilities, "standard", PCIE_CAPABILITY);
    const path = `${node.function.folder}/config`;
    if (capability === null) return [];
    const bytes = ifReadable(() => host.readBytes(path, capability.offset + DEVICE_STATUS, 2));
    const status = bytes === null || bytes.length < 2 ? 0 : configUint(bytes, 0, 2);
    return (status & ERRORS) === 0 ? [] : [`${node.function.name} DevSta ${hex(status, 4)}`];
  });
}

/** Why a read by the GPU may lose the drive; null where nothing says so. */
function dangerOfReading(place: Place, errors: readonly string[]): { text: string; evidence: string } | null {
  if (errors.length > 0) {
    return { text: "an error was recorded on the way", evidence: errors.join(", ") };
  }
  if (place.pair?.reads === "yes") return null;
  const doubt = place.pair?.decidedBy.find((finding) => finding.reads !== "yes");
  return {
    text: `reads between these two are not known to return${doubt === undefined ? "" : `: ${doubt.text}`}; ` +
      "a public report lost a drive until a power cycle",
    evidence: doubt?.evidence ?? "no GPU in the PCI tree",
  };
}

/** The level, the verdict and the tiers that follow from the checks. */
export function conclude(
  checks: readonly P2pCheck[],
  isSoftware: boolean,
): Pick<P2pReport, "level" | "verdict" | "summary" | "tiers"> {
  const outcome = (step: number, name?: string): P2pOutcome | null =>
    checks.find((check) => check.step === step && (name === undefined || check.name === name))?.outcome ?? null;
  const level: P2pLevel = outcome(8) === "pass"
    ? "reads return"
    : outcome(7) === "pass"
    ? "writes arrive"
    : outcome(6) === "pass"
    ? "mapped"
    : "none";
  const failed = checks.filter((check) => check.outcome === "fail" && check.step < 8);
  const arrives = level === "writes arrive" || level === "reads return";
  // What was seen to arrive outweighs what should have stopped it.
  const verdict = isSoftware ? "unknown" : arrives ? "yes" : failed.length > 0 ? "no" : "unknown";
  const why = isSoftware
    ? "with the software device nothing is shown of a GPU"
    : arrives
    ? "a write by the GPU arrived at the drive"
    : failed.length > 0
    ? failed.map((check) => `step ${check.step}, ${check.name}: ${check.text}`).join("; ")
    : level === "mapped"
    ? "the GPU has BAR0 mapped, but no write was tried"
    : openQuestion(checks);
  const word = { yes: "yes", no: "no", unknown: "not determined" }[verdict];
  return {
    level,
    verdict,
    summary: `${word}: ${why}`,
    tiers: tiersOf(checks, verdict, why, isSoftware),
  };
}

function openQuestion(checks: readonly P2pCheck[]): string {
  const open = checks.findLast((check) => check.outcome === "unknown");
  return open === undefined ? "nothing was tried" : `step ${open.step}, ${open.name}: ${open.text}`;
}

function tiersOf(
  checks: readonly P2pCheck[],
  verdict: P2pTier["answer"],
  why: string,
  isSoftware: boolean,
): P2pTier[] {
  const memory = checks.find((check) => check.step === 5 && check.name === "GPU memory");
  const vram = (tier: 2 | 3, title: string): P2pTier => {
    if (verdict === "no") return { tier, title, answer: "no", reason: "tier 1 does not work" };
    if (memory === undefined || isSoftware) return { tier, title, answer: "unknown", reason: "no GPU was asked" };
    if (memory.outcome === "warn") return { tier, title, answer: "no", reason: memory.text };
    return {
      tier,
      title,
      answer: "unknown",
      reason: "the GPU allows it; it needs a kernel module that gives the drive bus addresses of GPU memory " +
        "(nvidia_p2p_get_pages or a dma-buf importer), and busbar has none",
    };
  };
  return [
    { tier: 1, title: "doorbells from the GPU, queues and data in host memory", answer: verdict, reason: why },
    vram(2, "data in GPU memory"),
    vram(3, "queues and data in GPU memory"),
  ];
}
