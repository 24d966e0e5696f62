/**
 * The CUDA driver API as TypeScript sees it, whatever is behind it.
 * @module
 */

/** A context. The driver's handles are pointers of types of their own, so that none can take another's place. */
export type CudaContext = Deno.PointerObject<"CUcontext">;
/** A loaded module. */
export type CudaModule = Deno.PointerObject<"CUmodule">;
/** A kernel. */
export type CudaFunction = Deno.PointerObject<"CUfunction">;
/** A stream. Null is the default stream. */
export type CudaStream = Deno.PointerObject<"CUstream">;
/** An event. */
export type CudaEvent = Deno.PointerObject<"CUevent">;

/**
 * The functions of the driver API: `cuMemAlloc_v2(context, out, size)`. Each takes the context first, which becomes current
 * on the thread that runs the call; null leaves the thread's own. Values come back through buffers. The result is the
 * driver's (0 is success), or a negative error number: -2 when no library is open, -38 when it lacks the function.
 *
 * Names and order of parameters are NVIDIA's, CUDA Driver API Reference 13.0.
 */
export interface CudaFunctions {
  /** Starts the driver. `flags` is 0. */
  cuInit(context: CudaContext | null, flags: number): number;
  /** The newest CUDA version the driver knows, 1000 × major + 10 × minor: i32. */
  cuDriverGetVersion(context: CudaContext | null, version: BufferSource): number;
  /** How many devices are visible: i32. */
  cuDeviceGetCount(context: CudaContext | null, count: BufferSource): number;
  /** The handle of a device by ordinal: i32. */
  cuDeviceGet(context: CudaContext | null, device: BufferSource, ordinal: number): number;
  /** Its name, NUL-terminated. */
  cuDeviceGetName(context: CudaContext | null, name: BufferSource, size: number, device: number): number;
  /** Its UUID: 16 bytes. */
  cuDeviceGetUuid_v2(context: CudaContext | null, uuid: BufferSource, device: number): number;
  /** Its memory in bytes: u64. */
  cuDeviceTotalMem_v2(context: CudaContext | null, bytes: BufferSource, device: number): number;
  /** An attribute: i32. 1 for one that the driver does not know. */
  cuDeviceGetAttribute(context: CudaContext | null, value: BufferSource, attribute: number, device: number): number;
  /** Its PCI address as text, perhaps in upper case. */
  cuDeviceGetPCIBusId(context: CudaContext | null, text: BufferSource, size: number, device: number): number;
  /** The handle of the device at a PCI address: i32. */
  cuDeviceGetByPCIBusId(context: CudaContext | null, device: BufferSource, text: BufferSource): number;
  /** Whether one GPU may reach another: i32. */
  cuDeviceCanAccessPeer(context: CudaContext | null, can: BufferSource, device: number, peer: number): number;
  /** An attribute of a pair of GPUs: i32. */
  cuDeviceGetP2PAttribute(
    context: CudaContext | null,
    value: BufferSource,
    attribute: number,
    from: number,
    to: number,
  ): number;
  /** The primary context of a device, counted: handle. */
  cuDevicePrimaryCtxRetain(context: CudaContext | null, out: BufferSource, device: number): number;
  /** Gives one reference to the primary context back. */
  cuDevicePrimaryCtxRelease_v2(context: CudaContext | null, device: number): number;
  /** Sets the flags of the primary context. */
  cuDevicePrimaryCtxSetFlags_v2(context: CudaContext | null, device: number, flags: number): number;
  /** Flags and state of the primary context: u32, i32. */
  cuDevicePrimaryCtxGetState(
    context: CudaContext | null,
    device: number,
    flags: BufferSource,
    active: BufferSource,
  ): number;
  /** Destroys all that is in the primary context. */
  cuDevicePrimaryCtxReset_v2(context: CudaContext | null, device: number): number;
  /** The device of the context: i32. */
  cuCtxGetDevice(context: CudaContext | null, device: BufferSource): number;
  /** A limit: u64. */
  cuCtxGetLimit(context: CudaContext | null, value: BufferSource, limit: number): number;
  /** Sets a limit. */
  cuCtxSetLimit(context: CudaContext | null, limit: number, value: bigint): number;
  /** Lowest and highest priority, lower numbers first: two i32. */
  cuCtxGetStreamPriorityRange(context: CudaContext | null, least: BufferSource, greatest: BufferSource): number;
  /** Lets the context reach the memory of another. */
  cuCtxEnablePeerAccess(context: CudaContext | null, peer: CudaContext | null, flags: number): number;
  /** Takes that back. */
  cuCtxDisablePeerAccess(context: CudaContext | null, peer: CudaContext | null): number;
  /** Free and total device memory in bytes: two u64. */
  cuMemGetInfo_v2(context: CudaContext | null, freeBytes: BufferSource, total: BufferSource): number;
  /** Allocates device memory: address. */
  cuMemAlloc_v2(context: CudaContext | null, out: BufferSource, size: bigint): number;
  /** Frees device memory by its first address. */
  cuMemFree_v2(context: CudaContext | null, address: bigint): number;
  /** Allocates pinned host memory: address. */
  cuMemHostAlloc(context: CudaContext | null, out: BufferSource, size: bigint, flags: number): number;
  /** Frees pinned host memory. */
  cuMemFreeHost(context: CudaContext | null, address: Deno.PointerValue): number;
  /** Makes host memory, or a mapped BAR, reachable for the GPU. */
  cuMemHostRegister_v2(context: CudaContext | null, address: Deno.PointerValue, size: bigint, flags: number): number;
  /** Takes that back. */
  cuMemHostUnregister(context: CudaContext | null, address: Deno.PointerValue): number;
  /** The device address of pinned or registered host memory: u64. */
  cuMemHostGetDevicePointer_v2(
    context: CudaContext | null,
    out: BufferSource,
    address: Deno.PointerValue,
    flags: number,
  ): number;
  /** The flags it was made with: u32. */
  cuMemHostGetFlags(context: CudaContext | null, flags: BufferSource, address: Deno.PointerValue): number;
  /** First address and size of the allocation around an address: two u64. */
  cuMemGetAddressRange_v2(context: CudaContext | null, base: BufferSource, size: BufferSource, address: bigint): number;
  /** An attribute of an address. */
  cuPointerGetAttribute(context: CudaContext | null, out: BufferSource, attribute: number, address: bigint): number;
  /** Sets an attribute of an address. */
  cuPointerSetAttribute(context: CudaContext | null, value: BufferSource, attribute: number, address: bigint): number;
  /** A dma-buf descriptor for device memory: i32. */
  cuMemGetHandleForAddressRange(
    context: CudaContext | null,
    out: BufferSource,
    address: bigint,
    size: bigint,
    type: number,
    flags: bigint,
  ): number;
  /** Copies to the device; on a thread of the pool. */
  cuMemcpyHtoD_v2(context: CudaContext | null, to: bigint, from: BufferSource, size: bigint): Promise<number>;
  /** Copies from the device; on a thread of the pool. */
  cuMemcpyDtoH_v2(context: CudaContext | null, to: BufferSource, from: bigint, size: bigint): Promise<number>;
  /** Copies on the device; on a thread of the pool. */
  cuMemcpyDtoD_v2(context: CudaContext | null, to: bigint, from: bigint, size: bigint): Promise<number>;
  /** Copies between devices; on a thread of the pool. */
  cuMemcpyPeer(
    context: CudaContext | null,
    to: bigint,
    toContext: CudaContext | null,
    from: bigint,
    fromContext: CudaContext | null,
    size: bigint,
  ): Promise<number>;
  /** Queues a copy to the device. The memory must stay until it is done. */
  cuMemcpyHtoDAsync_v2(
    context: CudaContext | null,
    to: bigint,
    from: BufferSource,
    size: bigint,
    stream: CudaStream | null,
  ): number;
  /** Queues a copy from the device. The memory must stay until it is done. */
  cuMemcpyDtoHAsync_v2(
    context: CudaContext | null,
    to: BufferSource,
    from: bigint,
    size: bigint,
    stream: CudaStream | null,
  ): number;
  /** Queues a copy on the device. */
  cuMemcpyDtoDAsync_v2(
    context: CudaContext | null,
    to: bigint,
    from: bigint,
    size: bigint,
    stream: CudaStream | null,
  ): number;
  /** Queues a copy between devices. */
  cuMemcpyPeerAsync(
    context: CudaContext | null,
    to: bigint,
    toContext: CudaContext | null,
    from: bigint,
    fromContext: CudaContext | null,
    size: bigint,
    stream: CudaStream | null,
  ): number;
  /** Queues a fill with bytes. */
  cuMemsetD8Async(
    context: CudaContext | null,
    to: bigint,
    value: number,
    count: bigint,
    stream: CudaStream | null,
  ): number;
  /** Queues a fill with 16-bit values. */
  cuMemsetD16Async(
    context: CudaContext | null,
    to: bigint,
    value: number,
    count: bigint,
    stream: CudaStream | null,
  ): number;
  /** Queues a fill with 32-bit values. */
  cuMemsetD32Async(
    context: CudaContext | null,
    to: bigint,
    value: number,
    count: bigint,
    stream: CudaStream | null,
  ): number;
  /** A stream: handle. */
  cuStreamCreate(context: CudaContext | null, out: BufferSource, flags: number): number;
  /** A stream with a priority: handle. */
  cuStreamCreateWithPriority(context: CudaContext | null, out: BufferSource, flags: number, priority: number): number;
  /** Destroys a stream; its work is still done. */
  cuStreamDestroy_v2(context: CudaContext | null, stream: CudaStream | null): number;
  /** 0 when all work is done, 600 when it is not. */
  cuStreamQuery(context: CudaContext | null, stream: CudaStream | null): number;
  /** Makes a stream wait for an event. */
  cuStreamWaitEvent(context: CudaContext | null, stream: CudaStream | null, event: CudaEvent, flags: number): number;
  /** Queues a 32-bit write. */
  cuStreamWriteValue32_v2(
    context: CudaContext | null,
    stream: CudaStream | null,
    address: bigint,
    value: number,
    flags: number,
  ): number;
  /** Makes a stream wait for a 32-bit value. */
  cuStreamWaitValue32_v2(
    context: CudaContext | null,
    stream: CudaStream | null,
    address: bigint,
    value: number,
    flags: number,
  ): number;
  /** An event: handle. */
  cuEventCreate(context: CudaContext | null, out: BufferSource, flags: number): number;
  /** Destroys an event. */
  cuEventDestroy_v2(context: CudaContext | null, event: CudaEvent): number;
  /** Queues an event: it is reached when all before it is done. */
  cuEventRecord(context: CudaContext | null, event: CudaEvent, stream: CudaStream | null): number;
  /** 0 when it was reached, 600 when not. */
  cuEventQuery(context: CudaContext | null, event: CudaEvent): number;
  /** Milliseconds between two events: f32. */
  cuEventElapsedTime(context: CudaContext | null, ms: BufferSource, start: CudaEvent, end: CudaEvent): number;
  /** Unloads a module. */
  cuModuleUnload(context: CudaContext | null, module: CudaModule): number;
  /** A kernel by name: handle. */
  cuModuleGetFunction(context: CudaContext | null, out: BufferSource, module: CudaModule, name: BufferSource): number;
  /** Address and size of a variable: two u64. */
  cuModuleGetGlobal_v2(
    context: CudaContext | null,
    out: BufferSource,
    size: BufferSource,
    module: CudaModule,
    name: BufferSource,
  ): number;
  /** 1 eager, 2 lazy: u32. */
  cuModuleGetLoadingMode(context: CudaContext | null, mode: BufferSource): number;
  /** An attribute of a kernel: i32. */
  cuFuncGetAttribute(context: CudaContext | null, value: BufferSource, attribute: number, kernel: CudaFunction): number;
  /** Sets an attribute of a kernel. */
  cuFuncSetAttribute(context: CudaContext | null, kernel: CudaFunction, attribute: number, value: number): number;
  /** Offset and size of a parameter: two u64. 1 past the last. */
  cuFuncGetParamInfo(
    context: CudaContext | null,
    kernel: CudaFunction,
    index: bigint,
    offset: BufferSource,
    size: BufferSource,
  ): number;
  /** How many blocks run on a multiprocessor at once: i32. */
  cuOccupancyMaxActiveBlocksPerMultiprocessor(
    context: CudaContext | null,
    blocks: BufferSource,
    kernel: CudaFunction,
    threads: number,
    shared: bigint,
  ): number;
  /** Makes earlier writes of other devices visible. */
  cuFlushGPUDirectRDMAWrites(context: CudaContext | null, target: number, scope: number): number;
  /** A context of its own, which becomes current: handle. */
  cuCtxCreate_v2(context: CudaContext | null, out: BufferSource, flags: number, device: number): number;
  /** Destroys a context and all that is in it. */
  cuCtxDestroy_v2(context: CudaContext | null, target: CudaContext): number;
  /** The context that is current on this thread: handle, or 0. */
  cuCtxGetCurrent(context: CudaContext | null, out: BufferSource): number;
  /** Takes the topmost context from the thread's stack: handle. */
  cuCtxPopCurrent_v2(context: CudaContext | null, out: BufferSource): number;
  /** Waits for all work of the context; on a thread of the pool. */
  cuCtxSynchronize(context: CudaContext | null): Promise<number>;
  /** Allocates memory that host and device reach at one address: u64. `flags` is 1 (all) or 2 (host). */
  cuMemAllocManaged(context: CudaContext | null, out: BufferSource, size: bigint, flags: number): number;
  /** Allocates rows with padding: address and pitch, two u64. */
  cuMemAllocPitch_v2(
    context: CudaContext | null,
    out: BufferSource,
    pitch: BufferSource,
    width: bigint,
    height: bigint,
    element: number,
  ): number;
  /** Allocates device memory in stream order: address. */
  cuMemAllocAsync(context: CudaContext | null, out: BufferSource, size: bigint, stream: CudaStream | null): number;
  /** Frees device memory in stream order. */
  cuMemFreeAsync(context: CudaContext | null, address: bigint, stream: CudaStream | null): number;
  /** Queues a copy of rows: a CUDA_MEMCPY2D of 128 bytes. */
  cuMemcpy2DAsync_v2(context: CudaContext | null, copy: BufferSource, stream: CudaStream | null): number;
  /** The flags of a stream: u32. */
  cuStreamGetFlags(context: CudaContext | null, stream: CudaStream | null, flags: BufferSource): number;
  /** The priority of a stream: i32. */
  cuStreamGetPriority(context: CudaContext | null, stream: CudaStream | null, priority: BufferSource): number;
  /** How many kernels a module has: u32. */
  cuModuleGetFunctionCount(context: CudaContext | null, count: BufferSource, module: CudaModule): number;
  /** A function by its plain name for a CUDA version: address, and 0 found, 1 not found, 2 not in that version. */
  cuGetProcAddress_v2(
    context: CudaContext | null,
    name: BufferSource,
    out: BufferSource,
    version: number,
    flags: bigint,
    status: BufferSource,
  ): number;
  /** The name of a result: address of a text. */
  cuGetErrorName(context: CudaContext | null, error: number, text: BufferSource): number;
  /** What a result means: address of a text. */
  cuGetErrorString(context: CudaContext | null, error: number, text: BufferSource): number;
  /** Waits until a stream is done, at most `limitUs` (50,000): 0, or 600 when it is not. */
  waitStream(context: CudaContext | null, stream: CudaStream | null, limitUs: number): number;
  /** Waits until an event was reached, at most `limitUs` (50,000): 0, or 600 when it was not. */
  waitEvent(context: CudaContext | null, event: CudaEvent, limitUs: number): number;
  /** Loads NUL-terminated PTX or a cubin: handle, and two logs of `logSize` bytes. */
  load(
    context: CudaContext | null,
    image: BufferSource,
    info: BufferSource,
    error: BufferSource,
    logSize: number,
    out: BufferSource,
  ): number;
  /** Launches a kernel. `shape` is seven u32: grid, block, dynamic shared memory; `parameters` are packed as it declares. */
  launch(
    context: CudaContext | null,
    kernel: CudaFunction,
    shape: BufferSource,
    stream: CudaStream | null,
    parameters: BufferSource,
    size: number,
  ): number;
}

/** A CUDA driver. Dispose closes it. */
export interface CudaDriver extends Disposable {
  /** What it was opened as: a path, a file name for the loader, or `soft:cuda`. */
  readonly name: string;
  /** True for the software device: what it does shows nothing of a GPU. */
  readonly isSoftware: boolean;
  /** Its functions. */
  readonly functions: CudaFunctions;
  /** True when it has the function, or an older one that does the same. */
  has(name: string): boolean;
  /** The CUDA version that brought a function, as 1000 × major + 10 × minor; null for one that busbar does not call. */
  since(name: string): number | null;
  /** What the driver itself knows of the last fault of a kernel: who, where, at which address. NVIDIA's knows nothing. */
  lastFault?(): string | null;
  /**
   * Where device memory lies in this process, `sizeBytes` at a device address: of a software device that has it here. Null for
   * other drivers, and for what is no device memory.
   */
  hostMemory?(address: bigint, sizeBytes: number): Deno.PointerObject | null;
}
