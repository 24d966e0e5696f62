/**
 * The CUDA driver library, function by function: libcuda.so.1, or the software device in its place.
 *
 * Every function of {@linkcode CudaFunctions} takes the context first, which the C library makes current on the thread
 * that runs the call, and returns the driver's result as it stands. What a result means is src/gpu's matter.
 * @module
 */

import { BusbarError } from "../src/core/error.ts";
import { BUSBAR, BUSBAR_SOFT, findLibrary } from "./build.ts";
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

const CONTEXT = "pointer" as Deno.NativeTypedPointer<CudaContext>;
const MODULE = "pointer" as Deno.NativeTypedPointer<CudaModule>;
const FUNCTION = "pointer" as Deno.NativeTypedPointer<CudaFunction>;
const STREAM = "pointer" as Deno.NativeTypedPointer<CudaStream>;
const EVENT = "pointer" as Deno.NativeTypedPointer<CudaEvent>;
/** Host memory by its address. */
const HOST = "pointer";

/** The callers of csrc/cuda.c. The copies that wait run on a thread of the pool. */
const SYMBOLS = {
  cuInit: { name: "bb_cuInit", parameters: [CONTEXT, /* flags */ "u32"], result: "i32" },
  cuDriverGetVersion: { name: "bb_cuDriverGetVersion", parameters: [CONTEXT, /* version */ "buffer"], result: "i32" },
  cuDeviceGetCount: { name: "bb_cuDeviceGetCount", parameters: [CONTEXT, /* count */ "buffer"], result: "i32" },
  cuDeviceGet: {
    name: "bb_cuDeviceGet",
    parameters: [CONTEXT, /* device */ "buffer", /* ordinal */ "i32"],
    result: "i32",
  },
  cuDeviceGetName: {
    name: "bb_cuDeviceGetName",
    parameters: [CONTEXT, /* name */ "buffer", /* size */ "i32", /* device */ "i32"],
    result: "i32",
  },
  cuDeviceGetUuid_v2: {
    name: "bb_cuDeviceGetUuid_v2",
    parameters: [CONTEXT, /* uuid */ "buffer", /* device */ "i32"],
    result: "i32",
  },
  cuDeviceTotalMem_v2: {
    name: "bb_cuDeviceTotalMem_v2",
    parameters: [CONTEXT, /* bytes */ "buffer", /* device */ "i32"],
    result: "i32",
  },
  cuDeviceGetAttribute: {
    name: "bb_cuDeviceGetAttribute",
    parameters: [CONTEXT, /* value */ "buffer", /* attribute */ "u32", /* device */ "i32"],
    result: "i32",
  },
  cuDeviceGetPCIBusId: {
    name: "bb_cuDeviceGetPCIBusId",
    parameters: [CONTEXT, /* text */ "buffer", /* size */ "i32", /* device */ "i32"],
    result: "i32",
  },
  cuDeviceGetByPCIBusId: {
    name: "bb_cuDeviceGetByPCIBusId",
    parameters: [CONTEXT, /* device */ "buffer", /* text */ "buffer"],
    result: "i32",
  },
  cuDeviceCanAccessPeer: {
    name: "bb_cuDeviceCanAccessPeer",
    parameters: [CONTEXT, /* can */ "buffer", /* device */ "i32", /* peer */ "i32"],
    result: "i32",
  },
  cuDeviceGetP2PAttribute: {
    name: "bb_cuDeviceGetP2PAttribute",
    parameters: [CONTEXT, /* value */ "buffer", /* attribute */ "u32", /* from */ "i32", /* to */ "i32"],
    result: "i32",
  },
  cuDevicePrimaryCtxRetain: {
    name: "bb_cuDevicePrimaryCtxRetain",
    parameters: [CONTEXT, /* out */ "buffer", /* device */ "i32"],
    result: "i32",
  },
  cuDevicePrimaryCtxRelease_v2: {
    name: "bb_cuDevicePrimaryCtxRelease_v2",
    parameters: [CONTEXT, /* device */ "i32"],
    result: "i32",
  },
  cuDevicePrimaryCtxSetFlags_v2: {
    name: "bb_cuDevicePrimaryCtxSetFlags_v2",
    parameters: [CONTEXT, /* device */ "i32", /* flags */ "u32"],
    result: "i32",
  },
  cuDevicePrimaryCtxGetState: {
    name: "bb_cuDevicePrimaryCtxGetState",
    parameters: [CONTEXT, /* device */ "i32", /* flags */ "buffer", /* active */ "buffer"],
    result: "i32",
  },
  cuDevicePrimaryCtxReset_v2: {
    name: "bb_cuDevicePrimaryCtxReset_v2",
    parameters: [CONTEXT, /* device */ "i32"],
    result: "i32",
  },
  cuCtxGetDevice: { name: "bb_cuCtxGetDevice", parameters: [CONTEXT, /* device */ "buffer"], result: "i32" },
  cuCtxGetLimit: {
    name: "bb_cuCtxGetLimit",
    parameters: [CONTEXT, /* value */ "buffer", /* limit */ "u32"],
    result: "i32",
  },
  cuCtxSetLimit: {
    name: "bb_cuCtxSetLimit",
    parameters: [CONTEXT, /* limit */ "u32", /* value */ "u64"],
    result: "i32",
  },
  cuCtxGetStreamPriorityRange: {
    name: "bb_cuCtxGetStreamPriorityRange",
    parameters: [CONTEXT, /* least */ "buffer", /* greatest */ "buffer"],
    result: "i32",
  },
  cuCtxEnablePeerAccess: {
    name: "bb_cuCtxEnablePeerAccess",
    parameters: [CONTEXT, /* peer */ CONTEXT, /* flags */ "u32"],
    result: "i32",
  },
  cuCtxDisablePeerAccess: {
    name: "bb_cuCtxDisablePeerAccess",
    parameters: [CONTEXT, /* peer */ CONTEXT],
    result: "i32",
  },
  cuMemGetInfo_v2: {
    name: "bb_cuMemGetInfo_v2",
    parameters: [CONTEXT, /* freeBytes */ "buffer", /* total */ "buffer"],
    result: "i32",
  },
  cuMemAlloc_v2: {
    name: "bb_cuMemAlloc_v2",
    parameters: [CONTEXT, /* out */ "buffer", /* size */ "u64"],
    result: "i32",
  },
  cuMemFree_v2: { name: "bb_cuMemFree_v2", parameters: [CONTEXT, /* address */ "u64"], result: "i32" },
  cuMemHostAlloc: {
    name: "bb_cuMemHostAlloc",
    parameters: [CONTEXT, /* out */ "buffer", /* size */ "u64", /* flags */ "u32"],
    result: "i32",
  },
  cuMemFreeHost: { name: "bb_cuMemFreeHost", parameters: [CONTEXT, /* address */ HOST], result: "i32" },
  cuMemHostRegister_v2: {
    name: "bb_cuMemHostRegister_v2",
    parameters: [CONTEXT, /* address */ HOST, /* size */ "u64", /* flags */ "u32"],
    result: "i32",
  },
  cuMemHostUnregister: { name: "bb_cuMemHostUnregister", parameters: [CONTEXT, /* address */ HOST], result: "i32" },
  cuMemHostGetDevicePointer_v2: {
    name: "bb_cuMemHostGetDevicePointer_v2",
    parameters: [CONTEXT, /* out */ "buffer", /* address */ HOST, /* flags */ "u32"],
    result: "i32",
  },
  cuMemHostGetFlags: {
    name: "bb_cuMemHostGetFlags",
    parameters: [CONTEXT, /* flags */ "buffer", /* address */ HOST],
    result: "i32",
  },
  cuMemGetAddressRange_v2: {
    name: "bb_cuMemGetAddressRange_v2",
    parameters: [CONTEXT, /* base */ "buffer", /* size */ "buffer", /* address */ "u64"],
    result: "i32",
  },
  cuPointerGetAttribute: {
    name: "bb_cuPointerGetAttribute",
    parameters: [CONTEXT, /* out */ "buffer", /* attribute */ "u32", /* address */ "u64"],
    result: "i32",
  },
  cuPointerSetAttribute: {
    name: "bb_cuPointerSetAttribute",
    parameters: [CONTEXT, /* value */ "buffer", /* attribute */ "u32", /* address */ "u64"],
    result: "i32",
  },
  cuMemGetHandleForAddressRange: {
    name: "bb_cuMemGetHandleForAddressRange",
    parameters: [
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
    parameters: [CONTEXT, /* to */ "u64", /* from */ "buffer", /* size */ "u64"],
    result: "i32",
    nonblocking: true,
  },
  cuMemcpyDtoH_v2: {
    name: "bb_cuMemcpyDtoH_v2",
    parameters: [CONTEXT, /* to */ "buffer", /* from */ "u64", /* size */ "u64"],
    result: "i32",
    nonblocking: true,
  },
  cuMemcpyDtoD_v2: {
    name: "bb_cuMemcpyDtoD_v2",
    parameters: [CONTEXT, /* to */ "u64", /* from */ "u64", /* size */ "u64"],
    result: "i32",
    nonblocking: true,
  },
  cuMemcpyPeer: {
    name: "bb_cuMemcpyPeer",
    parameters: [
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
    parameters: [CONTEXT, /* to */ "u64", /* from */ "buffer", /* size */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuMemcpyDtoHAsync_v2: {
    name: "bb_cuMemcpyDtoHAsync_v2",
    parameters: [CONTEXT, /* to */ "buffer", /* from */ "u64", /* size */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuMemcpyDtoDAsync_v2: {
    name: "bb_cuMemcpyDtoDAsync_v2",
    parameters: [CONTEXT, /* to */ "u64", /* from */ "u64", /* size */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuMemcpyPeerAsync: {
    name: "bb_cuMemcpyPeerAsync",
    parameters: [
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
    parameters: [CONTEXT, /* to */ "u64", /* value */ "u8", /* count */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuMemsetD16Async: {
    name: "bb_cuMemsetD16Async",
    parameters: [CONTEXT, /* to */ "u64", /* value */ "u16", /* count */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuMemsetD32Async: {
    name: "bb_cuMemsetD32Async",
    parameters: [CONTEXT, /* to */ "u64", /* value */ "u32", /* count */ "u64", /* stream */ STREAM],
    result: "i32",
  },
  cuStreamCreate: {
    name: "bb_cuStreamCreate",
    parameters: [CONTEXT, /* out */ "buffer", /* flags */ "u32"],
    result: "i32",
  },
  cuStreamCreateWithPriority: {
    name: "bb_cuStreamCreateWithPriority",
    parameters: [CONTEXT, /* out */ "buffer", /* flags */ "u32", /* priority */ "i32"],
    result: "i32",
  },
  cuStreamDestroy_v2: { name: "bb_cuStreamDestroy_v2", parameters: [CONTEXT, /* stream */ STREAM], result: "i32" },
  cuStreamQuery: { name: "bb_cuStreamQuery", parameters: [CONTEXT, /* stream */ STREAM], result: "i32" },
  cuStreamWaitEvent: {
    name: "bb_cuStreamWaitEvent",
    parameters: [CONTEXT, /* stream */ STREAM, /* event */ EVENT, /* flags */ "u32"],
    result: "i32",
  },
  cuStreamWriteValue32_v2: {
    name: "bb_cuStreamWriteValue32_v2",
    parameters: [CONTEXT, /* stream */ STREAM, /* address */ "u64", /* value */ "u32", /* flags */ "u32"],
    result: "i32",
  },
  cuStreamWaitValue32_v2: {
    name: "bb_cuStreamWaitValue32_v2",
    parameters: [CONTEXT, /* stream */ STREAM, /* address */ "u64", /* value */ "u32", /* flags */ "u32"],
    result: "i32",
  },
  cuEventCreate: {
    name: "bb_cuEventCreate",
    parameters: [CONTEXT, /* out */ "buffer", /* flags */ "u32"],
    result: "i32",
  },
  cuEventDestroy_v2: { name: "bb_cuEventDestroy_v2", parameters: [CONTEXT, /* event */ EVENT], result: "i32" },
  cuEventRecord: {
    name: "bb_cuEventRecord",
    parameters: [CONTEXT, /* event */ EVENT, /* stream */ STREAM],
    result: "i32",
  },
  cuEventQuery: { name: "bb_cuEventQuery", parameters: [CONTEXT, /* event */ EVENT], result: "i32" },
  cuEventElapsedTime: {
    name: "bb_cuEventElapsedTime",
    parameters: [CONTEXT, /* ms */ "buffer", /* start */ EVENT, /* end */ EVENT],
    result: "i32",
  },
  cuModuleUnload: { name: "bb_cuModuleUnload", parameters: [CONTEXT, /* module */ MODULE], result: "i32" },
  cuModuleGetFunction: {
    name: "bb_cuModuleGetFunction",
    parameters: [CONTEXT, /* out */ "buffer", /* module */ MODULE, /* name */ "buffer"],
    result: "i32",
  },
  cuModuleGetGlobal_v2: {
    name: "bb_cuModuleGetGlobal_v2",
    parameters: [CONTEXT, /* out */ "buffer", /* size */ "buffer", /* module */ MODULE, /* name */ "buffer"],
    result: "i32",
  },
  cuModuleGetLoadingMode: {
    name: "bb_cuModuleGetLoadingMode",
    parameters: [CONTEXT, /* mode */ "buffer"],
    result: "i32",
  },
  cuFuncGetAttribute: {
    name: "bb_cuFuncGetAttribute",
    parameters: [CONTEXT, /* value */ "buffer", /* attribute */ "u32", /* kernel */ FUNCTION],
    result: "i32",
  },
  cuFuncSetAttribute: {
    name: "bb_cuFuncSetAttribute",
    parameters: [CONTEXT, /* kernel */ FUNCTION, /* attribute */ "u32", /* value */ "i32"],
    result: "i32",
  },
  cuFuncGetParamInfo: {
    name: "bb_cuFuncGetParamInfo",
    parameters: [CONTEXT, /* kernel */ FUNCTION, /* index */ "u64", /* offset */ "buffer", /* size */ "buffer"],
    result: "i32",
  },
  cuOccupancyMaxActiveBlocksPerMultiprocessor: {
    name: "bb_cuOccupancyMaxActiveBlocksPerMultiprocessor",
    parameters: [CONTEXT, /* blocks */ "buffer", /* kernel */ FUNCTION, /* threads */ "i32", /* shared */ "u64"],
    result: "i32",
  },
  cuFlushGPUDirectRDMAWrites: {
    name: "bb_cuFlushGPUDirectRDMAWrites",
    parameters: [CONTEXT, /* target */ "u32", /* scope */ "u32"],
    result: "i32",
  },
  waitStream: {
    name: "bb_cuda_wait_stream",
    parameters: [CONTEXT, /* stream */ STREAM, /* limit_us */ "u32"],
    result: "i32",
  },
  waitEvent: {
    name: "bb_cuda_wait_event",
    parameters: [CONTEXT, /* event */ EVENT, /* limit_us */ "u32"],
    result: "i32",
  },
  load: {
    name: "bb_cuda_load",
    parameters: [
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
  bb_cuda_open: { parameters: [/* path */ "buffer", /* why */ "buffer", /* size */ "u32"], result: "i32" },
  bb_cuda_close: { parameters: [], result: "i32" },
  bb_cuda_since: { parameters: [/* name */ "buffer"], result: "i32" },
  bb_cuda_has: { parameters: [/* name */ "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const SOFT = {
  bb_soft_cuda_configure: { parameters: [/* settings */ "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const functions: () => CudaFunctions = lazyLibrary(SYMBOLS);
const management: () => Deno.DynamicLibrary<typeof MANAGEMENT>["symbols"] = lazyLibrary(MANAGEMENT, BUSBAR);
const soft: () => Deno.DynamicLibrary<typeof SOFT>["symbols"] = lazyLibrary(SOFT, BUSBAR_SOFT);

const ELIBACC = 79;
const WHY_BYTES = 512;

/** The driver library that is open, of which a process has one. Dispose closes it. */
export class CudaLibrary implements CudaDriver {
  readonly name: string;
  readonly isSoftware: boolean;
  readonly functions: CudaFunctions;
  #isOpen = true;

  private constructor(name: string, isSoftware: boolean) {
    this.name = name;
    this.isSoftware = isSoftware;
    this.functions = functions();
  }

  /**
   * Opens a library by a path, or by a file name that the loader looks for.
   *
   * @returns the library, or the loader's words where it cannot be opened
   * @throws {BusbarError} `busy` when this process has one open
   */
  static open(path: string): CudaLibrary | string {
    const why = new Uint8Array(WHY_BYTES);
    const result = management().bb_cuda_open(cString(path), why, why.length);
    if (result === -ELIBACC) return textOf(why);
    check(result, "open the CUDA library", { path, hint: "a process opens one at a time: dispose of the other first" });
    return new CudaLibrary(path, false);
  }

  /**
   * Opens the software device, set up anew.
   *
   * @param settings as csrc/soft/busbar_soft.h lists them, already checked
   */
  static openSoftware(name: string, settings: ReadonlyMap<string, string>): CudaLibrary {
    configure(name, settings);
    const path = findLibrary(BUSBAR_SOFT);
    const why = new Uint8Array(WHY_BYTES);
    check(management().bb_cuda_open(cString(path), why, why.length), "open the software CUDA device", { path: name });
    return new CudaLibrary(name, true);
  }

  has(name: string): boolean {
    return management().bb_cuda_has(cString(name)) === 1;
  }

  since(name: string): number | null {
    const since = management().bb_cuda_since(cString(name));
    return since < 0 ? null : since;
  }

  /** Closes the library. Calling it again does nothing. */
  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    // Its threads end before its code goes away.
    if (this.isSoftware) configure(this.name, new Map());
    check(management().bb_cuda_close(), "close the CUDA library", { path: this.name });
  }
}

function configure(name: string, settings: ReadonlyMap<string, string>): void {
  const lines = Array.from(settings, ([key, value]) => `${key}=${value}\n`).join("");
  check(soft().bb_soft_cuda_configure(cString(lines)), "set up the software CUDA device", { path: name });
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
