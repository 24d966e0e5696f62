/**
 * Can a GPU reach an NVMe controller's registers, and if not, which link of the chain says no?
 *
 * Eight steps, each made of named checks. Steps 1 to 6 read the machine and make a mapping; nothing on the drive is
 * touched. Step 7 writes one register and puts it back, step 8 reads one, both only when asked for.
 * @module
 */

import { BusbarError, isBusbarError } from "../../core/error.ts";
import { type Host, ifReadable, thisMachine } from "../../core/host.ts";
import { parsePciAddress, type PciAddress } from "../../core/pci_address.ts";
import { hex } from "../../core/units.ts";
import type { CudaDriver } from "../../../ffi/cuda_driver.ts";
import { findCapability } from "../../pci/capabilities.ts";
import { configUint } from "../../pci/config_space.ts";
import { type PciFunction, readPciFunction } from "../../pci/function.ts";
import { lockFunction } from "../../pci/lock.ts";
import type { PairVerdict } from "../../pci/p2p.ts";
import { mapBar, type MappedBar } from "../../pci/register_access.ts";
import { findNode, nodesAbove, readTopology, type Topology, type TopologyNode } from "../../pci/topology.ts";
import { Cuda } from "../cuda.ts";
import { openCudaDriver } from "../driver.ts";
import type { Gpu } from "../gpu.ts";
import type { RegisteredMemory } from "../memory.ts";
import { GpuRegisters, readTest, writeTest } from "./access.ts";
import { type P2pCheck, ruleText } from "./check.ts";
import { cudaChecks, registerCheck } from "./cuda_checks.ts";
import { deviceChecks, listGpus } from "./device_checks.ts";
import { driverChecks, readNvidiaModule } from "./driver_checks.ts";
import { pathChecks } from "./path_checks.ts";
import { conclude, type P2pReport } from "./report.ts";

/** How the chain is gone through. */
export interface P2pOptions {
  /** The GPU: its place among the machine's NVIDIA GPUs in PCI order, or its address. The first by default. */
  readonly gpu?: number | PciAddress;
  /** The GPU as the CUDA driver numbers its devices, in place of `gpu`: what `cuda:1` names. */
  readonly cudaDevice?: number;
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
 * @param address the NVMe controller's
 * @throws {BusbarError} `absent` when there is no such function
 *
 * @example
 * ```ts
 * import { checkP2p, openMachine } from "@busbar/busbar";
 * const { host } = openMachine("file:docs/tools/desktop.dump");
 * const report = await checkP2p("01:00.0", { host });
 * for (const { step, name, outcome } of report.checks) console.log(step, name, outcome);
 * ```
 */
export async function checkP2p(address: string | PciAddress, options: P2pOptions = {}): Promise<P2pReport> {
  const drive = typeof address === "string" ? parsePciAddress(address) : address;
  const host = options.host ?? thisMachine;
  // Its own error says more than a tree without it.
  const fn = readPciFunction(host, drive);
  const topology = readTopology(host);
  const node = findNode(topology, drive);
  const gpus = listGpus(topology);
  const gpu = options.cudaDevice === undefined
    ? chooseGpu(topology, gpus, options.gpu ?? 0)
    : gpuOfDevice(topology, options.cudaDevice, options.openCuda ?? openCudaDriver);
  const checks: P2pCheck[] = deviceChecks(node, gpu, gpus.length, host.isPartial === true);
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

/** The function that the CUDA driver says its device is; null where it does not start, which step 5 then tells. */
function gpuOfDevice(topology: Topology, device: number, open: () => CudaDriver): TopologyNode | null {
  return ifReadable(() => {
    using gpu = Cuda.open(device, open());
    return findNode(topology, gpu.address);
  });
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
  const wanted = options.cudaDevice ?? place.gpu?.function.address ?? options.gpu ?? 0;
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
  await access(checks, options, place, bar0, gpu, registered);
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
  gpu: Gpu,
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
  using registers = loadKernels(checks, gpu, registered);
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

function loadKernels(checks: P2pCheck[], gpu: Gpu, registered: RegisteredMemory): GpuRegisters {
  try {
    return new GpuRegisters(gpu, registered);
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
