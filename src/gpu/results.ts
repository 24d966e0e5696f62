/**
 * Every result of the CUDA driver API: its name, what it means, and what to do about it.
 *
 * Names and numbers are those of cuda.h, CUDA 13.0; a test compares them where that file is.
 * @module
 */

import { BusbarError, type ErrorCode, type ErrorDetails } from "../core/error.ts";
import type { CudaDriver } from "../../ffi/cuda_driver.ts";

/** A row of {@linkcode CUDA_RESULTS}. */
export interface CudaResult {
  /** The name without `CUDA_ERROR_`. */
  readonly name: string;
  /** What it means, in one clause. */
  readonly meaning: string;
  /** The kind of failure. */
  readonly code: ErrorCode;
  /** What to do; absent where the call was wrong. */
  readonly remedy?: string;
}

const LOG = "look at the kernel's log: dmesg | grep -i -e nvrm -e xid";
const STICKY = "the context is lost: open the GPU again, and look at the kernel with compute-sanitizer";
const UPDATE = "install a newer NVIDIA driver; nvidia-smi shows the one that runs";

const row = (name: string, code: ErrorCode, meaning: string, remedy?: string): CudaResult =>
  remedy === undefined ? { name, code, meaning } : { name, code, meaning, remedy };

/** CUDA_ERROR_INVALID_VALUE. */
export const INVALID_VALUE = 1;
/** CUDA_ERROR_NOT_READY: what was asked for still runs. */
export const NOT_READY = 600;

/** The results by number. */
export const CUDA_RESULTS: Readonly<Record<number, CudaResult>> = {
  1: row("INVALID_VALUE", "usage", "an argument is not valid"),
  2: row("OUT_OF_MEMORY", "io", "out of memory", "free GPU memory (nvidia-smi lists its users), or ask for less"),
  3: row("NOT_INITIALIZED", "bug", "cuInit was not called"),
  4: row("DEINITIALIZED", "closed", "the driver is shutting down with the process"),
  5: row("PROFILER_DISABLED", "unsupported", "a profiler is in charge"),
  6: row("PROFILER_NOT_INITIALIZED", "bug", "the profiler was not started"),
  7: row("PROFILER_ALREADY_STARTED", "bug", "the profiler runs already"),
  8: row("PROFILER_ALREADY_STOPPED", "bug", "the profiler stands already"),
  34: row(
    "STUB_LIBRARY",
    "library",
    "this is the toolkit's stub for linking, not the driver",
    "take the folder of stubs out of LD_LIBRARY_PATH, or set BUSBAR_CUDA to the driver's libcuda.so.1",
  ),
  36: row("CALL_REQUIRES_NEWER_DRIVER", "unsupported", "the call needs a newer driver", UPDATE),
  46: row(
    "DEVICE_UNAVAILABLE",
    "busy",
    "the GPU is in an exclusive mode and somebody has it",
    "nvidia-smi -q -d COMPUTE shows the mode; nvidia-smi -c 0 ends it",
  ),
  100: row(
    "NO_DEVICE",
    "absent",
    "the driver sees no GPU",
    "check /dev/nvidia0, CUDA_VISIBLE_DEVICES, and, in a container, whether it was given the GPU",
  ),
  101: row("INVALID_DEVICE", "absent", "there is no GPU of that number", "nvidia-smi -L lists them"),
  102: row("DEVICE_NOT_LICENSED", "permission", "the virtual GPU has no licence", "nvidia-smi -q shows its licence"),
  200: row("INVALID_IMAGE", "malformed", "this is no module that the driver can load"),
  201: row("INVALID_CONTEXT", "bug", "no valid context is current on the thread"),
  202: row("CONTEXT_ALREADY_CURRENT", "bug", "the context is current already"),
  205: row("MAP_FAILED", "io", "a mapping failed"),
  206: row("UNMAP_FAILED", "io", "an unmapping failed"),
  207: row("ARRAY_IS_MAPPED", "busy", "the array is mapped"),
  208: row("ALREADY_MAPPED", "busy", "the resource is mapped already"),
  209: row(
    "NO_BINARY_FOR_GPU",
    "malformed",
    "the module has no code for this GPU",
    "compile it for this compute capability, or to PTX (nvcc -ptx)",
  ),
  210: row("ALREADY_ACQUIRED", "busy", "the resource was acquired already"),
  211: row("NOT_MAPPED", "usage", "the resource is not mapped"),
  212: row("NOT_MAPPED_AS_ARRAY", "usage", "the resource is not mapped as an array"),
  213: row("NOT_MAPPED_AS_POINTER", "usage", "the resource is not mapped as a pointer"),
  214: row("ECC_UNCORRECTABLE", "device-failed", "the GPU found a memory error that it could not correct", LOG),
  215: row("UNSUPPORTED_LIMIT", "unsupported", "this GPU does not have that limit"),
  216: row("CONTEXT_ALREADY_IN_USE", "busy", "another thread uses the context"),
  217: row(
    "PEER_ACCESS_UNSUPPORTED",
    "unsupported",
    "these two GPUs cannot map each other's memory",
    "nvidia-smi topo -p2p rw shows which can",
  ),
  218: row("INVALID_PTX", "malformed", "the driver's assembler refused the PTX", "the log above names the line"),
  219: row("INVALID_GRAPHICS_CONTEXT", "usage", "the graphics context is not valid"),
  220: row("NVLINK_UNCORRECTABLE", "device-failed", "NVLink had an error that it could not correct", LOG),
  221: row(
    "JIT_COMPILER_NOT_FOUND",
    "library",
    "the driver's PTX compiler is missing",
    "install libnvidia-ptxjitcompiler of the driver's version; thin containers often lack it",
  ),
  222: row("UNSUPPORTED_PTX_VERSION", "unsupported", "the PTX is of a newer version than the driver knows", UPDATE),
  223: row(
    "JIT_COMPILATION_DISABLED",
    "unsupported",
    "compiling PTX is turned off",
    "unset CUDA_DISABLE_PTX_JIT",
  ),
  224: row("UNSUPPORTED_EXEC_AFFINITY", "unsupported", "this GPU cannot be divided so"),
  225: row("UNSUPPORTED_DEVSIDE_SYNC", "unsupported", "the code calls cudaDeviceSynchronize from a kernel"),
  226: row("CONTAINED", "device-failed", "a memory error was contained to this process", LOG),
  300: row("INVALID_SOURCE", "malformed", "the kernel's source is not valid"),
  301: row("FILE_NOT_FOUND", "absent", "the file does not exist"),
  302: row("SHARED_OBJECT_SYMBOL_NOT_FOUND", "library", "a shared library lacks a symbol", "reinstall the driver"),
  303: row("SHARED_OBJECT_INIT_FAILED", "library", "a shared library could not start", "reinstall the driver"),
  304: row("OPERATING_SYSTEM", "io", "a call to the operating system failed", LOG),
  400: row("INVALID_HANDLE", "bug", "a handle is not valid, or not any more"),
  401: row("ILLEGAL_STATE", "usage", "the resource is not in a state for this"),
  402: row("LOSSY_QUERY", "usage", "the answer would lose information"),
  500: row("NOT_FOUND", "absent", "there is nothing of that name or at that address"),
  600: row("NOT_READY", "timeout", "it still runs"),
  700: row("ILLEGAL_ADDRESS", "device-failed", "a kernel used an address that is not mapped", STICKY),
  701: row("LAUNCH_OUT_OF_RESOURCES", "usage", "the block needs more registers or memory than there are"),
  702: row("LAUNCH_TIMEOUT", "device-failed", "the kernel ran longer than the watchdog allows", STICKY),
  703: row("LAUNCH_INCOMPATIBLE_TEXTURING", "usage", "the launch does not fit the texture mode"),
  704: row("PEER_ACCESS_ALREADY_ENABLED", "usage", "peer access is on already"),
  705: row("PEER_ACCESS_NOT_ENABLED", "usage", "peer access is not on"),
  708: row("PRIMARY_CONTEXT_ACTIVE", "busy", "the primary context is in use"),
  709: row("CONTEXT_IS_DESTROYED", "closed", "the context was destroyed"),
  710: row("ASSERT", "device-failed", "an assertion in a kernel failed", STICKY),
  711: row("TOO_MANY_PEERS", "unsupported", "the hardware has no room for another peer"),
  712: row("HOST_MEMORY_ALREADY_REGISTERED", "busy", "the range, or a part of it, is registered already"),
  713: row("HOST_MEMORY_NOT_REGISTERED", "usage", "the range is not registered"),
  714: row("HARDWARE_STACK_ERROR", "device-failed", "a kernel broke its stack", STICKY),
  715: row("ILLEGAL_INSTRUCTION", "device-failed", "a kernel met an instruction that is none", STICKY),
  716: row("MISALIGNED_ADDRESS", "device-failed", "a kernel used an address that is not aligned", STICKY),
  717: row("INVALID_ADDRESS_SPACE", "device-failed", "a kernel used an address of the wrong space", STICKY),
  718: row("INVALID_PC", "device-failed", "a kernel jumped out of its code", STICKY),
  719: row("LAUNCH_FAILED", "device-failed", "a kernel failed", STICKY),
  720: row("COOPERATIVE_LAUNCH_TOO_LARGE", "usage", "the grid is too large to run all at once"),
  721: row("TENSOR_MEMORY_LEAK", "device-failed", "a kernel ended without freeing tensor memory", STICKY),
  800: row(
    "NOT_PERMITTED",
    "permission",
    "this user may not do it",
    "run it as root; for I/O memory the driver option PeerMappingOverride=1 allows others too",
  ),
  801: row("NOT_SUPPORTED", "unsupported", "this GPU, kernel or platform cannot do it"),
  802: row(
    "SYSTEM_NOT_READY",
    "unreachable",
    "the system is not ready for CUDA",
    "on machines with NVSwitch: systemctl start nvidia-fabricmanager",
  ),
  803: row(
    "SYSTEM_DRIVER_MISMATCH",
    "library",
    "libcuda and the kernel module are of different versions",
    "reboot, or reload the module: cat /proc/driver/nvidia/version shows which one runs",
  ),
  804: row(
    "COMPAT_NOT_SUPPORTED_ON_DEVICE",
    "library",
    "the forward compatibility package does not work with this GPU",
    "take cuda-compat out of LD_LIBRARY_PATH",
  ),
  805: row("MPS_CONNECTION_FAILED", "unreachable", "the MPS server cannot be reached", "nvidia-cuda-mps-control -d"),
  806: row("MPS_RPC_FAILURE", "io", "the MPS server failed", "start it again: nvidia-cuda-mps-control"),
  807: row("MPS_SERVER_NOT_READY", "busy", "the MPS server is not ready", "try again"),
  808: row("MPS_MAX_CLIENTS_REACHED", "busy", "the MPS server has as many clients as it takes"),
  809: row("MPS_MAX_CONNECTIONS_REACHED", "busy", "the GPU has as many MPS connections as it takes"),
  810: row("MPS_CLIENT_TERMINATED", "device-failed", "the MPS server ended this client"),
  811: row("CDP_NOT_SUPPORTED", "unsupported", "kernels cannot launch kernels here"),
  812: row("CDP_VERSION_MISMATCH", "unsupported", "the kernel's way to launch kernels does not fit the driver"),
  900: row("STREAM_CAPTURE_UNSUPPORTED", "unsupported", "not while a stream is captured"),
  901: row("STREAM_CAPTURE_INVALIDATED", "usage", "the capture was made invalid by an earlier error"),
  902: row("STREAM_CAPTURE_MERGE", "usage", "the call would join two captures"),
  903: row("STREAM_CAPTURE_UNMATCHED", "usage", "the capture was not begun here"),
  904: row("STREAM_CAPTURE_UNJOINED", "usage", "a forked stream was not joined"),
  905: row("STREAM_CAPTURE_ISOLATION", "usage", "a dependency leaves the capture"),
  906: row("STREAM_CAPTURE_IMPLICIT", "usage", "the default stream cannot be used while a stream is captured"),
  907: row("CAPTURED_EVENT", "usage", "the event belongs to a capture"),
  908: row("STREAM_CAPTURE_WRONG_THREAD", "usage", "another thread began the capture"),
  909: row("TIMEOUT", "timeout", "the driver's own time limit is over", LOG),
  910: row("GRAPH_EXEC_UPDATE_FAILURE", "usage", "the graph does not fit the update"),
  911: row("EXTERNAL_DEVICE", "device-failed", "a device beside the GPU failed", LOG),
  912: row("INVALID_CLUSTER_SIZE", "usage", "the cluster size is not possible"),
  913: row("FUNCTION_NOT_LOADED", "usage", "the kernel is not loaded yet"),
  914: row("INVALID_RESOURCE_TYPE", "usage", "the resource is of another type"),
  915: row("INVALID_RESOURCE_CONFIGURATION", "usage", "the resources are not enough or do not fit"),
  916: row("KEY_ROTATION", "io", "an encryption key is being changed", "try again"),
  999: row(
    "UNKNOWN",
    "io",
    "the driver failed in a way that it has no name for",
    "is the kernel module loaded (lsmod), /dev/nvidia-uvm there, the GPU still on the bus (nvidia-smi)? dmesg says more",
  ),
};

/** The driver that first came with a CUDA version, by release notes of the CUDA toolkit: Linux, table 3. */
const DRIVERS: readonly (readonly [cuda: number, driver: number])[] = [
  [8000, 375],
  [9000, 384],
  [10000, 410],
  [11000, 450],
  [11010, 455],
  [11020, 460],
  [11030, 465],
  [11040, 470],
  [11050, 495],
  [11060, 510],
  [11070, 515],
  [11080, 520],
  [12000, 525],
  [12010, 530],
  [12020, 535],
  [12030, 545],
  [12040, 550],
  [12050, 555],
  [12060, 560],
  [12080, 570],
  [12090, 575],
  [13000, 580],
];

/** The first NVIDIA driver that knows a CUDA version, such as 550 for 12040. */
export function driverFor(version: number): number {
  return (DRIVERS.find(([cuda]) => cuda >= version) ?? [0, 580])[1];
}

/** A CUDA version in words: `12.4` for 12040. */
export function formatCudaVersion(version: number): string {
  return `${Math.floor(version / 1000)}.${Math.floor(version % 1000 / 10)}`;
}

/** A failure that the CUDA driver reported. */
export class CudaError extends BusbarError {
  /** The CUresult. */
  readonly result: number;

  /** Makes an error from a result; {@linkcode checkCuda} throws it. */
  constructor(result: number, operation: string, details: ErrorDetails = {}) {
    const known = CUDA_RESULTS[result];
    const what = known === undefined ? `result ${result}` : `${known.meaning} (${result} ${known.name})`;
    const where = details.path === undefined ? "" : `${details.path}: `;
    super(known?.code ?? "io", `${where}${operation}: ${what}`, { hint: known?.remedy, ...details, operation });
    this.result = result;
  }
}

/** Results of kernels. */
const FIRST_FAULT = 700;
const FIRST_AFTER_FAULTS = 800;
const ENOENT = 2;
const ENOSYS = 38;

/**
 * Does nothing for success.
 *
 * @param result what a function of the driver returned
 * @param name the function: `cuMemAlloc_v2`
 * @throws {CudaError} for a result of the driver
 * @throws {BusbarError} `library` for a function that the driver is too old for, with the version that has it
 */
export function checkCuda(driver: CudaDriver, result: number, name: string, details: ErrorDetails = {}): void {
  if (result === 0) return;
  if (result === -ENOENT) {
    throw new BusbarError("closed", `${driver.name}: used after it was closed`, { path: driver.name });
  }
  if (result === -ENOSYS) throw missingFunction(driver, name);
  if (result < 0) throw new BusbarError("bug", `${name} was called with what C refuses (${result})`, details);
  // A software driver knows which kernel, block and thread it was; that is more use than what the code means in general.
  const fault = result >= FIRST_FAULT && result < FIRST_AFTER_FAULTS ? driver.lastFault?.() ?? null : null;
  throw new CudaError(result, name.replace(/_v\d$/, ""), fault === null ? details : { ...details, hint: fault });
}

function missingFunction(driver: CudaDriver, name: string): BusbarError {
  const since = driver.since(name);
  const version = new Int32Array(1);
  const known = driver.functions.cuDriverGetVersion(null, version) === 0 ? version[0] ?? 0 : 0;
  const own = known === 0 ? "" : ` (CUDA ${formatCudaVersion(known)})`;
  const text = since === null ? "" : `: it came with CUDA ${formatCudaVersion(since)}`;
  return new BusbarError("library", `${driver.name}${own} has no ${name}${text}`, {
    operation: name,
    path: driver.name,
    hint: since === null ? undefined : `install NVIDIA driver ${driverFor(since)} or newer`,
  });
}
