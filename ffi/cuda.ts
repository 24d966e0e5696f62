/**
 * The CUDA driver library, function by function: libcuda.so.1, or the software device in its place.
 *
 * Every function of {@linkcode CudaFunctions} takes the context first, which the C library makes current on the thread
 * that runs the call, and returns the driver's result as it stands. What a result means is src/gpu's matter.
 * @module
 */

import { BusbarError } from "../src/core/error.ts";
import { BUSBAR, findLibrary, SOFT_CUDA } from "./build.ts";
import type {
  CudaContext,
  CudaDriver,
  CudaEvent,
  CudaFunction,
  CudaFunctions,
  CudaModule,
  CudaStream,
} from "./cuda_driver.ts";
import { check, cString, lazyLibrary } from "./library.ts";

/** A driver library that is open, csrc/cuda.c's. */
const DRIVER = "pointer";
const CONTEXT = "pointer" as Deno.NativeTypedPointer<CudaContext>;
const MODULE = "pointer" as Deno.NativeTypedPointer<CudaModule>;
const FUNCTION = "pointer" as Deno.NativeTypedPointer<CudaFunction>;
const STREAM = "pointer" as Deno.NativeTypedPointer<CudaStream>;
const EVENT = "pointer" as Deno.NativeTypedPointer<CudaEvent>;
/** Host memory by its address. */
const HOST = "pointer";

/** The callers of csrc/cuda.c. The copies that wait run on a thread of the pool. */
const SYMBOLS = {
  cuInit: { name: "bb_cuInit", parameters: [DRIVER, CONTEXT, /* flags */ "u32"], result: "i32" },
  cuDriverGetVersion: {
    name: "bb_cuDriverGetVersion",
    parameters: [DRIVER, CONTEXT, /* version */ "buffer"],
    result: "i32",
  },
  cuDeviceGetCount: { name: "bb_cuDeviceGetCount", parameters: [DRIVER, CONTEXT, /* count */ "buffer"], result: "i32" },
  cuDeviceGet: {
    name: "bb_cuDeviceGet",
    parameters: [DRIVER, CONTEXT, /* device */ "buffer", /* ordinal */ "i32"],
    result: "i32",
  },
  cuDeviceGetName: {
    name: "bb_cuDeviceGetName",
    parameters: [DRIVER, CONTEXT, /* name */ "buffer", /* size */ "i32", /* device */ "i32"],
    result: "i32",
  },
  cuDeviceGetUuid_v2: {
    name: "bb_cuDeviceGetUuid_v2",
    parameters: [DRIVER, CONTEXT, /* uuid */ "buffer", /* device */ "i32"],
    result: "i32",
  },
  cuDeviceTotalMem_v2: {
    name: "bb_cuDeviceTotalMem_v2",
    parameters: [DRIVER, CONTEXT, /* bytes */ "buffer", /* device */ "i32"],
    result: "i32",
  },
  cuDeviceGetAttribute: {
    name: "bb_cuDeviceGetAttribute",
    parameters: [DRIVER, CONTEXT, /* value */ "buffer", /* attribute */ "u32", /* device */ "i32"],
    result: "i32",
  },
  cuDeviceGetPCIBusId: {
    name: "bb_cuDeviceGetPCIBusId",
    parameters: [DRIVER, CONTEXT, /* text */ "buffer", /* size */ "i32", /* device */ "i32"],
    result: "i32",
  },
  cuDeviceGetByPCIBusId: {
    name: "bb_cuDeviceGetByPCIBusId",
    parameters: [DRIVER, CONTEXT, /* device */ "buffer", /* text */ "buffer"],
    result: "i32",
  },
  cuDeviceCanAccessPeer: {
    name: "bb_cuDeviceCanAccessPeer",
    parameters: [DRIVER, CONTEXT, /* can */ "buffer", /* device */ "i32", /* peer */ "i32"],
    result: "i32",
  },
  cuDeviceGetP2PAttribute: {
    name: "bb_cuDeviceGetP2PAttribute",
    parameters: [DRIVER, CONTEXT, /* value */ "buffer", /* attribute */ "u32", /* from */ "i32", /* to */ "i32"],
    result: "i32",
  },
  cuDevicePrimaryCtxRetain: {
    name: "bb_cuDevicePrimaryCtxRetain",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer", /* device */ "i32"],
    result: "i32",
  },
  cuDevicePrimaryCtxRelease_v2: {
    name: "bb_cuDevicePrimaryCtxRelease_v2",
    parameters: [DRIVER, CONTEXT, /* device */ "i32"],
    result: "i32",
  },
  cuDevicePrimaryCtxSetFlags_v2: {
    name: "bb_cuDevicePrimaryCtxSetFlags_v2",
    parameters: [DRIVER, CONTEXT, /* device */ "i32", /* flags */ "u32"],
    result: "i32",
  },
  cuDevicePrimaryCtxGetState: {
    name: "bb_cuDevicePrimaryCtxGetState",
    parameters: [DRIVER, CONTEXT, /* device */ "i32", /* flags */ "buffer", /* active */ "buffer"],
    result: "i32",
  },
  cuDevicePrimaryCtxReset_v2: {
    name: "bb_cuDevicePrimaryCtxReset_v2",
    parameters: [DRIVER, CONTEXT, /* device */ "i32"],
    result: "i32",
  },
  cuCtxGetDevice: { name: "bb_cuCtxGetDevice", parameters: [DRIVER, CONTEXT, /* device */ "buffer"], result: "i32" },
  cuCtxGetLimit: {
    name: "bb_cuCtxGetLimit",
    parameters: [DRIVER, CONTEXT, /* value */ "buffer", /* limit */ "u32"],
    result: "i32",
  },
  cuCtxSetLimit: {
    name: "bb_cuCtxSetLimit",
    parameters: [DRIVER, CONTEXT, /* limit */ "u32", /* value */ "u64"],
    result: "i32",
  },
  cuCtxGetStreamPriorityRange: {
    name: "bb_cuCtxGetStreamPriorityRange",
    parameters: [DRIVER, CONTEXT, /* least */ "buffer", /* greatest */ "buffer"],
    result: "i32",
  },
  cuCtxEnablePeerAccess: {
    name: "bb_cuCtxEnablePeerAccess",
    parameters: [DRIVER, CONTEXT, /* peer */ CONTEXT, /* flags */ "u32"],
    result: "i32",
  },
  cuCtxDisablePeerAccess: {
    name: "bb_cuCtxDisablePeerAccess",
    parameters: [DRIVER, CONTEXT, /* peer */ CONTEXT],
    result: "i32",
  },
  cuMemGetInfo_v2: {
    name: "bb_cuMemGetInfo_v2",
    parameters: [DRIVER, CONTEXT, /* freeBytes */ "buffer", /* total */ "buffer"],
    result: "i32",
  },
  cuMemAlloc_v2: {
    name: "bb_cuMemAlloc_v2",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer", /* size */ "u64"],
    result: "i32",
  },
  cuMemFree_v2: { name: "bb_cuMemFree_v2", parameters: [DRIVER, CONTEXT, /* address */ "u64"], result: "i32" },
  cuMemHostAlloc: {
    name: "bb_cuMemHostAlloc",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer", /* size */ "u64", /* flags */ "u32"],
    result: "i32",
  },
  cuMemFreeHost: { name: "bb_cuMemFreeHost", parameters: [DRIVER, CONTEXT, /* address */ HOST], result: "i32" },
  cuMemHostRegister_v2: {
    name: "bb_cuMemHostRegister_v2",
    parameters: [DRIVER, CONTEXT, /* address */ HOST, /* size */ "u64", /* flags */ "u32"],
    result: "i32",
  },
  cuMemHostUnregister: {
    name: "bb_cuMemHostUnregister",
    parameters: [DRIVER, CONTEXT, /* address */ HOST],
    result: "i32",
  },
  cuMemHostGetDevicePointer_v2: {
    name: "bb_cuMemHostGetDevicePointer_v2",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer", /* address */ HOST, /* flags */ "u32"],
    result: "i32",
  },
  cuMemHostGetFlags: {
    name: "bb_cuMemHostGetFlags",
    parameters: [DRIVER, CONTEXT, /* flags */ "buffer", /* address */ HOST],
    result: "i32",
  },
  cuMemGetAddressRange_v2: {
    name: "bb_cuMemGetAddressRange_v2",
    parameters: [DRIVER, CONTEXT, /* base */ "buffer", /* size */ "buffer", /* address */ "u64"],
    result: "i32",
  },
  cuPointerGetAttribute: {
    name: "bb_cuPointerGetAttribute",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer", /* attribute */ "u32", /* address */ "u64"],
    result: "i32",
  },
  cuPointerSetAttribute: {
    name: "bb_cuPointerSetAttribute",
    parameters: [DRIVER, CONTEXT, /* value */ "buffer", /* attribute */ "u32", /* address */ "u64"],
    result: "i32",
  },
  cuMemGetHandleForAddressRange: {
    name: "bb_cuMemGetHandleForAddressRange",
    parameters: [
      DRIVER,
      CONTEXT,
      /* out */ "buffer",
      /* address */ "u64",
      /* size */ "u64",
      /* type */ "u32",
      /* flags */ "u64",
    ],
    result: "i32",
  },
  cuMemcpyHtoD_v2: {
    name: "bb_cuMemcpyHtoD_v2",
    parameters: [DRIVER, CONTEXT, /* to */ "u64", /* from */ "buffer", /* size */ "u64"],
    result: "i32",
    nonblocking: true,
  },
  cuMemcpyDtoH_v2: {
    name: "bb_cuMemcpyDtoH_v2",
    parameters: [DRIVER, CONTEXT, /* to */ "buffer", /* from */ "u64", /* size */ "u64"],
    result: "i32",
    nonblocking: true,
  },
  cuMemcpyDtoD_v2: {
    name: "bb_cuMemcpyDtoD_v2",
    parameters: [DRIVER, CONTEXT, /* to */ "u64", /* from */ "u64", /* size */ "u64"],
    result: "i32",
    nonblocking: true,
  },
  cuMemcpyPeer: {
    name: "bb_cuMemcpyPeer",
    parameters: [
      DRIVER,
      CONTEXT,
      /* to */ "u64",
      /* toContext */ CONTEXT,
      /* from */ "u64",
      /* fromContext */ CONTEXT,
      /* size */ "u64",
    ],
    result: "i32",
    nonblocking: true,
  },
  cuMemcpyHtoDAsync_v2: {
    name: "bb_cuMemcpyHtoDAsync_v2",
    parameters: [DRIVER, CONTEXT, /* to */ "u64", /* from */ "buffer", /* size */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuMemcpyDtoHAsync_v2: {
    name: "bb_cuMemcpyDtoHAsync_v2",
    parameters: [DRIVER, CONTEXT, /* to */ "buffer", /* from */ "u64", /* size */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuMemcpyDtoDAsync_v2: {
    name: "bb_cuMemcpyDtoDAsync_v2",
    parameters: [DRIVER, CONTEXT, /* to */ "u64", /* from */ "u64", /* size */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuMemcpyPeerAsync: {
    name: "bb_cuMemcpyPeerAsync",
    parameters: [
      DRIVER,
      CONTEXT,
      /* to */ "u64",
      /* toContext */ CONTEXT,
      /* from */ "u64",
      /* fromContext */ CONTEXT,
      /* size */ "u64",
      /* stream */ STREAM,
    ],
    result: "i32",
  },
  cuMemsetD8Async: {
    name: "bb_cuMemsetD8Async",
    parameters: [DRIVER, CONTEXT, /* to */ "u64", /* value */ "u8", /* count */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuMemsetD16Async: {
    name: "bb_cuMemsetD16Async",
    parameters: [DRIVER, CONTEXT, /* to */ "u64", /* value */ "u16", /* count */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuMemsetD32Async: {
    name: "bb_cuMemsetD32Async",
    parameters: [DRIVER, CONTEXT, /* to */ "u64", /* value */ "u32", /* count */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuStreamCreate: {
    name: "bb_cuStreamCreate",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer", /* flags */ "u32"],
    result: "i32",
  },
  cuStreamCreateWithPriority: {
    name: "bb_cuStreamCreateWithPriority",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer", /* flags */ "u32", /* priority */ "i32"],
    result: "i32",
  },
  cuStreamDestroy_v2: {
    name: "bb_cuStreamDestroy_v2",
    parameters: [DRIVER, CONTEXT, /* stream */ STREAM],
    result: "i32",
  },
  cuStreamQuery: { name: "bb_cuStreamQuery", parameters: [DRIVER, CONTEXT, /* stream */ STREAM], result: "i32" },
  cuStreamWaitEvent: {
    name: "bb_cuStreamWaitEvent",
    parameters: [DRIVER, CONTEXT, /* stream */ STREAM, /* event */ EVENT, /* flags */ "u32"],
    result: "i32",
  },
  cuStreamWriteValue32_v2: {
    name: "bb_cuStreamWriteValue32_v2",
    parameters: [DRIVER, CONTEXT, /* stream */ STREAM, /* address */ "u64", /* value */ "u32", /* flags */ "u32"],
    result: "i32",
  },
  cuStreamWaitValue32_v2: {
    name: "bb_cuStreamWaitValue32_v2",
    parameters: [DRIVER, CONTEXT, /* stream */ STREAM, /* address */ "u64", /* value */ "u32", /* flags */ "u32"],
    result: "i32",
  },
  cuEventCreate: {
    name: "bb_cuEventCreate",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer", /* flags */ "u32"],
    result: "i32",
  },
  cuEventDestroy_v2: { name: "bb_cuEventDestroy_v2", parameters: [DRIVER, CONTEXT, /* event */ EVENT], result: "i32" },
  cuEventRecord: {
    name: "bb_cuEventRecord",
    parameters: [DRIVER, CONTEXT, /* event */ EVENT, /* stream */ STREAM],
    result: "i32",
  },
  cuEventQuery: { name: "bb_cuEventQuery", parameters: [DRIVER, CONTEXT, /* event */ EVENT], result: "i32" },
  cuEventElapsedTime: {
    name: "bb_cuEventElapsedTime",
    parameters: [DRIVER, CONTEXT, /* ms */ "buffer", /* start */ EVENT, /* end */ EVENT],
    result: "i32",
  },
  cuModuleUnload: { name: "bb_cuModuleUnload", parameters: [DRIVER, CONTEXT, /* module */ MODULE], result: "i32" },
  cuModuleGetFunction: {
    name: "bb_cuModuleGetFunction",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer", /* module */ MODULE, /* name */ "buffer"],
    result: "i32",
  },
  cuModuleGetGlobal_v2: {
    name: "bb_cuModuleGetGlobal_v2",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer", /* size */ "buffer", /* module */ MODULE, /* name */ "buffer"],
    result: "i32",
  },
  cuModuleGetLoadingMode: {
    name: "bb_cuModuleGetLoadingMode",
    parameters: [DRIVER, CONTEXT, /* mode */ "buffer"],
    result: "i32",
  },
  cuFuncGetAttribute: {
    name: "bb_cuFuncGetAttribute",
    parameters: [DRIVER, CONTEXT, /* value */ "buffer", /* attribute */ "u32", /* kernel */ FUNCTION],
    result: "i32",
  },
  cuFuncSetAttribute: {
    name: "bb_cuFuncSetAttribute",
    parameters: [DRIVER, CONTEXT, /* kernel */ FUNCTION, /* attribute */ "u32", /* value */ "i32"],
    result: "i32",
  },
  cuFuncGetParamInfo: {
    name: "bb_cuFuncGetParamInfo",
    parameters: [DRIVER, CONTEXT, /* kernel */ FUNCTION, /* index */ "u64", /* offset */ "buffer", /* size */ "buffer"],
    result: "i32",
  },
  cuOccupancyMaxActiveBlocksPerMultiprocessor: {
    name: "bb_cuOccupancyMaxActiveBlocksPerMultiprocessor",
    parameters: [
      DRIVER,
      CONTEXT,
      /* blocks */ "buffer",
      /* kernel */ FUNCTION,
      /* threads */ "i32",
      /* shared */ "u64",
    ],
    result: "i32",
  },
  cuFlushGPUDirectRDMAWrites: {
    name: "bb_cuFlushGPUDirectRDMAWrites",
    parameters: [DRIVER, CONTEXT, /* target */ "u32", /* scope */ "u32"],
    result: "i32",
  },
  cuCtxCreate_v2: {
    name: "bb_cuCtxCreate_v2",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer", /* flags */ "u32", /* device */ "i32"],
    result: "i32",
  },
  cuCtxDestroy_v2: { name: "bb_cuCtxDestroy_v2", parameters: [DRIVER, CONTEXT, /* target */ CONTEXT], result: "i32" },
  cuCtxGetCurrent: { name: "bb_cuCtxGetCurrent", parameters: [DRIVER, CONTEXT, /* out */ "buffer"], result: "i32" },
  cuCtxPopCurrent_v2: {
    name: "bb_cuCtxPopCurrent_v2",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer"],
    result: "i32",
  },
  cuCtxSynchronize: {
    name: "bb_cuCtxSynchronize",
    parameters: [DRIVER, CONTEXT],
    result: "i32",
    nonblocking: true,
  },
  cuMemAllocManaged: {
    name: "bb_cuMemAllocManaged",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer", /* size */ "u64", /* flags */ "u32"],
    result: "i32",
  },
  cuMemAllocPitch_v2: {
    name: "bb_cuMemAllocPitch_v2",
    parameters: [
      DRIVER,
      CONTEXT,
      /* out */ "buffer",
      /* pitch */ "buffer",
      /* width */ "u64",
      /* height */ "u64",
      /* element */ "u32",
    ],
    result: "i32",
  },
  cuMemAllocAsync: {
    name: "bb_cuMemAllocAsync",
    parameters: [DRIVER, CONTEXT, /* out */ "buffer", /* size */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuMemFreeAsync: {
    name: "bb_cuMemFreeAsync",
    parameters: [DRIVER, CONTEXT, /* address */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuMemcpy2DAsync_v2: {
    name: "bb_cuMemcpy2DAsync_v2",
    parameters: [DRIVER, CONTEXT, /* copy */ "buffer", /* stream */ STREAM],
    result: "i32",
  },
  cuStreamGetFlags: {
    name: "bb_cuStreamGetFlags",
    parameters: [DRIVER, CONTEXT, /* stream */ STREAM, /* flags */ "buffer"],
    result: "i32",
  },
  cuStreamGetPriority: {
    name: "bb_cuStreamGetPriority",
    parameters: [DRIVER, CONTEXT, /* stream */ STREAM, /* priority */ "buffer"],
    result: "i32",
  },
  cuModuleGetFunctionCount: {
    name: "bb_cuModuleGetFunctionCount",
    parameters: [DRIVER, CONTEXT, /* count */ "buffer", /* module */ MODULE],
    result: "i32",
  },
  cuGetProcAddress_v2: {
    name: "bb_cuGetProcAddress_v2",
    parameters: [
      DRIVER,
      CONTEXT,
      /* name */ "buffer",
      /* out */ "buffer",
      /* version */ "i32",
      /* flags */ "u64",
      /* status */ "buffer",
    ],
    result: "i32",
  },
  cuGetErrorName: {
    name: "bb_cuGetErrorName",
    parameters: [DRIVER, CONTEXT, /* error */ "i32", /* text */ "buffer"],
    result: "i32",
  },
  cuGetErrorString: {
    name: "bb_cuGetErrorString",
    parameters: [DRIVER, CONTEXT, /* error */ "i32", /* text */ "buffer"],
    result: "i32",
  },
  waitStream: {
    name: "bb_cuda_wait_stream",
    parameters: [DRIVER, CONTEXT, /* stream */ STREAM, /* limit_us */ "u32"],
    result: "i32",
  },
  waitEvent: {
    name: "bb_cuda_wait_event",
    parameters: [DRIVER, CONTEXT, /* event */ EVENT, /* limit_us */ "u32"],
    result: "i32",
  },
  load: {
    name: "bb_cuda_load",
    parameters: [
      DRIVER,
      CONTEXT,
      /* image */ "buffer",
      /* info */ "buffer",
      /* error */ "buffer",
      /* log_size */ "u32",
      /* CUmodule *out */ "buffer",
    ],
    result: "i32",
  },
  launch: {
    name: "bb_cuda_launch",
    parameters: [
      DRIVER,
      CONTEXT,
      /* function */ FUNCTION,
      /* shape */ "buffer",
      /* stream */ STREAM,
      /* arguments */ "buffer",
      /* size */ "u32",
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const MANAGEMENT = {
  bb_cuda_open: {
    parameters: [
      /* path */ "buffer",
      /* settings */ "buffer",
      /* why */ "buffer",
      /* size */ "u32",
      /* out */ "buffer",
    ],
    result: "i32",
  },
  bb_cuda_close: { parameters: [DRIVER], result: "i32" },
  bb_cuda_since: { parameters: [/* name */ "buffer"], result: "i32" },
  bb_cuda_has: { parameters: [DRIVER, /* name */ "buffer"], result: "i32" },
  bb_cuda_host_memory: {
    parameters: [DRIVER, /* address */ "u64", /* size */ "u64", /* void **out */ "buffer"],
    result: "i32",
  },
  bb_cuda_last_fault: { parameters: [DRIVER, /* text */ "buffer", /* size */ "u32"], result: "u32" },
} as const satisfies Deno.ForeignLibraryInterface;

const symbols: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS, BUSBAR);
const management: () => Deno.DynamicLibrary<typeof MANAGEMENT>["symbols"] = lazyLibrary(MANAGEMENT, BUSBAR);

/** A function of csrc/cuda.c with its first parameter. */
type Caller = (driver: Deno.PointerValue, ...values: unknown[]) => unknown;

/**
 * A function with the driver filled in. One with a fixed number of parameters: spreading them would cost more than the call.
 */
function bind(call: Caller, driver: Deno.PointerValue, parameters: number): unknown {
  switch (parameters) {
    case 1:
      return (a: unknown): unknown => call(driver, a);
    case 2:
      return (a: unknown, b: unknown): unknown => call(driver, a, b);
    case 3:
      return (a: unknown, b: unknown, c: unknown): unknown => call(driver, a, b, c);
    case 4:
      return (a: unknown, b: unknown, c: unknown, d: unknown): unknown => call(driver, a, b, c, d);
    case 5:
      return (a: unknown, b: unknown, c: unknown, d: unknown, e: unknown): unknown => call(driver, a, b, c, d, e);
    default:
      return (...values: unknown[]): unknown => call(driver, ...values);
  }
}

/** The functions of one driver. A closed one has a null pointer here, which C answers with -ENOENT. */
function functionsOf(driver: Deno.PointerValue): CudaFunctions {
  const entries = Object.entries(symbols()).map(([name, call]) => {
    const { parameters } = SYMBOLS[name as keyof typeof SYMBOLS];
    return [name, bind(call as Caller, driver, parameters.length - 1)];
  });
  return Object.fromEntries(entries) as unknown as CudaFunctions;
}

const EFAULT = 14;
const ELIBACC = 79;
const ENOTSUP = 95;
const WHY_BYTES = 512;

/** A driver library that is open. Dispose closes it. */
export class CudaLibrary implements CudaDriver {
  readonly name: string;
  readonly isSoftware: boolean;
  #functions: CudaFunctions;
  #driver: Deno.PointerValue;

  private constructor(name: string, isSoftware: boolean, driver: Deno.PointerObject) {
    this.name = name;
    this.isSoftware = isSoftware;
    this.#driver = driver;
    this.#functions = functionsOf(driver);
  }

  /** Its functions. After {@linkcode CudaLibrary[Symbol.dispose]} all give -2. */
  get functions(): CudaFunctions {
    return this.#functions;
  }

  /**
   * Opens a library by a path, or by a file name that the loader looks for.
   *
   * @returns the library, or the loader's words where it cannot be opened
   */
  static open(path: string): CudaLibrary | string {
    const why = new Uint8Array(WHY_BYTES);
    const out = new BigUint64Array(1);
    const result = management().bb_cuda_open(cString(path), null, why, why.length, out);
    if (result === -ELIBACC) return textOf(why);
    check(result, "open the CUDA library", { path });
    return new CudaLibrary(path, false, handleFrom(out));
  }

  /**
   * Opens a software driver with devices of its own.
   *
   * @param settings as csrc/soft/cuda/soft_cuda.h lists them, already checked
   * @throws {BusbarError} where it does not take them, in its words
   */
  static openSoftware(name: string, settings: ReadonlyMap<string, string>): CudaLibrary {
    const lines = Array.from(settings, ([key, value]) => `${key}=${value}\n`).join("");
    const why = new Uint8Array(WHY_BYTES);
    const out = new BigUint64Array(1);
    const path = findLibrary(SOFT_CUDA);
    const result = management().bb_cuda_open(cString(path), cString(lines), why, why.length, out);
    const words = textOf(why);
    check(result, `open the software CUDA device${words === "" ? "" : `: ${words}`}`, { path: name });
    return new CudaLibrary(name, true, handleFrom(out));
  }

  has(name: string): boolean {
    return management().bb_cuda_has(this.#driver, cString(name)) === 1;
  }

  since(name: string): number | null {
    const since = management().bb_cuda_since(cString(name));
    return since < 0 ? null : since;
  }

  lastFault(): string | null {
    const text = new Uint8Array(WHY_BYTES);
    return management().bb_cuda_last_fault(this.#driver, text, text.length) === 0 ? null : textOf(text);
  }

  hostMemory(address: bigint, sizeBytes: number): Deno.PointerObject | null {
    const out = new BigUint64Array(1);
    const result = management().bb_cuda_host_memory(this.#driver, address, BigInt(sizeBytes), out);
    if (result === -ENOTSUP || result === -EFAULT) return null;
    check(result, "find device memory", { path: this.name });
    return handleFrom(out);
  }

  /** Closes the library; what still runs on a software device ends. Calling it again does nothing. */
  [Symbol.dispose](): void {
    if (this.#driver === null) return;
    const driver = this.#driver;
    this.#driver = null;
    this.#functions = functionsOf(null);
    check(management().bb_cuda_close(driver), "close the CUDA library", { path: this.name });
  }
}

/** The text that C left in a buffer: up to the first NUL. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(bytes.subarray(0, end < 0 ? bytes.length : end));
}

/** The handle that a call stored in `out`, as a pointer of its own type. */
export function handleFrom<T extends Deno.PointerObject>(out: BigUint64Array): T {
  const pointer = Deno.UnsafePointer.create(out[0] ?? 0n);
  if (pointer === null) throw new BusbarError("bug", "the CUDA driver reported success and gave no handle");
  return pointer as T;
}

/** Memory that the driver gave, as an ArrayBuffer over it. Detach it before the memory goes. */
export function memoryAt(pointer: Deno.PointerObject, sizeBytes: number): ArrayBuffer {
  return Deno.UnsafePointerView.getArrayBuffer(pointer, sizeBytes);
}
