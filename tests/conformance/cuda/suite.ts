/**
 * What every CudaDriver does alike: the software device, NVIDIA's driver, and whatever comes. A driver that cannot do one of
 * these lists it by name.
 *
 * Results are those of the CUDA Driver API Reference 13.0, and where it leaves a choice, what programs rely on.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { handleFrom, memoryAt } from "../../../ffi/cuda.ts";
import type {
  CudaContext,
  CudaDriver,
  CudaEvent,
  CudaFunction,
  CudaModule,
  CudaStream,
} from "../../../ffi/cuda_driver.ts";

/** How a suite is run over one driver. */
export interface Conformance {
  /** For the tests' names. */
  readonly name: string;
  /** Opens the driver; each test opens it anew. */
  readonly open: () => CudaDriver;
  /** Why there is none here; null where there is. */
  readonly reason: string | null;
  /** Tests that this driver cannot pass, by name, each with the reason. */
  readonly cannot?: Readonly<Record<string, string>>;
}

const NOT_READY = 600;
const ILLEGAL_ADDRESS = 700;

/** Kernels for the suite. sm_52 runs everywhere. */
const PTX = `.version 6.0
.target sm_52
.address_size 64
.global .align 4 .u32 counter = 5;
.const .align 4 .b32 factors[2] = {3, 4};
.visible .entry add(.param .u64 at, .param .u32 by)
{
  .reg .b32 %r<5>; .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [at]; ld.param.u32 %r1, [by];
  mov.u32 %r2, %tid.x; mul.wide.u32 %rd2, %r2, 4; add.s64 %rd3, %rd1, %rd2;
  ld.global.u32 %r3, [%rd3]; add.u32 %r4, %r3, %r1; st.global.u32 [%rd3], %r4;
  ret;
}
.visible .entry wait_for(.param .u64 flag)
{
  .reg .pred %p<2>; .reg .b32 %r<2>; .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [flag];
again:
  ld.volatile.global.u32 %r1, [%rd1];
  setp.eq.u32 %p1, %r1, 0;
  @%p1 bra again;
  ret;
}
.visible .entry misaligned(.param .u64 at)
{
  .reg .b32 %r<2>; .reg .b64 %rd<3>;
  ld.param.u64 %rd1, [at];
  add.s64 %rd2, %rd1, 1;
  ld.global.u32 %r1, [%rd2];
  st.global.u32 [%rd1], %r1;
  ret;
}
.visible .entry trapping()
{
  trap;
  ret;
}
.visible .entry bump()
{
  .reg .b32 %r<4>; .reg .b64 %rd<2>;
  mov.u64 %rd1, counter;
  ld.const.u32 %r1, [factors+4];
  ld.global.u32 %r2, [%rd1];
  add.u32 %r3, %r1, %r2;
  st.global.u32 [%rd1], %r3;
  ret;
}
.visible .entry shaped(.param .u32 a, .param .u64 b, .param .align 4 .b8 c[12])
.maxntid 64, 1, 1
{
  ret;
}
`;

const text = (words: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(`${words}\0`);

/** A driver with a context, and its functions without the context that each takes. */
class Session implements Disposable {
  readonly driver: CudaDriver;
  readonly context: CudaContext;
  readonly f: CudaDriver["functions"];
  #module: CudaModule | null = null;

  constructor(driver: CudaDriver) {
    this.driver = driver;
    this.f = driver.functions;
    assertEquals(this.f.cuInit(null, 0), 0);
    const out = new BigUint64Array(1);
    assertEquals(this.f.cuDevicePrimaryCtxRetain(null, out, 0), 0);
    this.context = handleFrom<CudaContext>(out);
  }

  /** What a call stores at its `out`. */
  out(call: (out: BigUint64Array<ArrayBuffer>) => number, wanted = 0): bigint {
    const out = new BigUint64Array(1);
    assertEquals(call(out), wanted);
    return out[0] ?? 0n;
  }

  int(call: (out: Int32Array<ArrayBuffer>) => number, wanted = 0): number {
    const out = new Int32Array(2);
    assertEquals(call(out), wanted);
    return out[0] ?? 0;
  }

  allocate(sizeBytes: number): bigint {
    return this.out((out) => this.f.cuMemAlloc_v2(this.context, out, BigInt(sizeBytes)));
  }

  /** Pinned memory: its address for the host, and its bytes. */
  pinned(sizeBytes: number): { pointer: Deno.PointerObject; address: bigint; words: Uint32Array<ArrayBuffer> } {
    const out = new BigUint64Array(1);
    assertEquals(this.f.cuMemHostAlloc(this.context, out, BigInt(sizeBytes), 2), 0);
    const pointer = handleFrom<Deno.PointerObject>(out);
    const address = this.out((to) => this.f.cuMemHostGetDevicePointer_v2(this.context, to, pointer, 0));
    return { pointer, address, words: new Uint32Array(memoryAt(pointer, sizeBytes)) };
  }

  stream(flags = 1): CudaStream {
    const out = new BigUint64Array(1);
    assertEquals(this.f.cuStreamCreate(this.context, out, flags), 0);
    return handleFrom<CudaStream>(out);
  }

  event(flags = 0): CudaEvent {
    const out = new BigUint64Array(1);
    assertEquals(this.f.cuEventCreate(this.context, out, flags), 0);
    return handleFrom<CudaEvent>(out);
  }

  load(ptx: string, wanted = 0): { module: CudaModule | null; log: string } {
    const out = new BigUint64Array(1), info = new Uint8Array(4096), log = new Uint8Array(4096);
    assertEquals(this.f.load(this.context, text(ptx), info, log, log.length, out), wanted);
    const end = log.indexOf(0);
    return {
      module: wanted === 0 ? handleFrom<CudaModule>(out) : null,
      log: new TextDecoder().decode(log.subarray(0, end)),
    };
  }

  get module(): CudaModule {
    const loaded = this.#module ?? this.load(PTX).module;
    assert(loaded !== null);
    this.#module = loaded;
    return loaded;
  }

  kernel(name: string): CudaFunction {
    const out = new BigUint64Array(1);
    assertEquals(this.f.cuModuleGetFunction(this.context, out, this.module, text(name)), 0);
    return handleFrom<CudaFunction>(out);
  }

  /** Launches with arguments packed as u64, or u64 and u32. */
  launch(kernel: CudaFunction, values: readonly bigint[], options: LaunchShape = {}): number {
    const bytes = new DataView(new ArrayBuffer(16));
    for (const [i, value] of values.entries()) {
      if (i === 0) bytes.setBigUint64(0, value, true);
      else bytes.setUint32(8, Number(value), true);
    }
    const size = values.length === 0 ? 0 : values.length === 1 ? 8 : 12;
    const shape = Uint32Array.of(...options.grid ?? [1, 1, 1], ...options.block ?? [1, 1, 1], options.shared ?? 0);
    return this.f.launch(this.context, kernel, shape, options.stream ?? null, new Uint8Array(bytes.buffer), size);
  }

  /** Waits without a limit of its own: the test's is the suite's. */
  async finish(stream: CudaStream | null = null): Promise<number> {
    for (let i = 0; i < 200; i++) {
      const result = this.f.waitStream(this.context, stream, 50_000);
      if (result !== NOT_READY) return result;
      await new Promise((resolve) => setTimeout(resolve));
    }
    return NOT_READY;
  }

  async read(address: bigint, count: number): Promise<Uint32Array<ArrayBuffer>> {
    const words = new Uint32Array(count);
    assertEquals(await this.f.cuMemcpyDtoH_v2(this.context, words, address, BigInt(4 * count)), 0);
    return words;
  }

  [Symbol.dispose](): void {
    this.driver[Symbol.dispose]();
  }
}

interface LaunchShape {
  readonly grid?: readonly [number, number, number];
  readonly block?: readonly [number, number, number];
  readonly shared?: number;
  readonly stream?: CudaStream;
}

type Body = (session: Session) => void | Promise<void>;

/** Long enough for a stream that does not wait to be done. */
const pauseMs = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const CASES: Readonly<Record<string, Body>> = {
  "a context is needed, and a bad device or handle is refused": ({ f, out: _out, driver }) => {
    assertEquals(driver.functions.cuDeviceGet(null, new Int32Array(1), 99), 101);
    assertEquals(f.cuDeviceGetAttribute(null, new Int32Array(1), 100_000, 0), 1);
    assertEquals(f.cuInit(null, 1), 1);
  },

  "device attributes fit together": ({ f }) => {
    const attribute = (number: number): number => {
      const out = new Int32Array(1);
      assertEquals(f.cuDeviceGetAttribute(null, out, number, 0), 0);
      return out[0] ?? 0;
    };
    assertEquals([attribute(1), attribute(10), attribute(41)], [1024, 32, 1]);
    assert(attribute(97) >= attribute(8), "a block may ask for more shared memory than it has by itself");
    assert(attribute(81) >= attribute(97), "a multiprocessor has more of it than a block");
    assert(attribute(39) % 32 === 0 && attribute(16) > 0 && attribute(106) > 0);
  },

  "memory: nothing, too much, a wrong address and a second free are refused": (s) => {
    const out = new BigUint64Array(1);
    assertEquals(s.f.cuMemAlloc_v2(s.context, out, 0n), 1);
    assertEquals(s.f.cuMemAlloc_v2(s.context, out, 1n << 45n), 2);
    const address = s.allocate(1000);
    assertEquals(address % 256n, 0n);
    assertEquals(s.f.cuMemFree_v2(s.context, address + 4n), 1);
    assertEquals(s.f.cuMemFree_v2(s.context, address), 0);
    assertEquals(s.f.cuMemFree_v2(s.context, address), 1);
  },

  "memory: free and total add up": (s) => {
    const free = new BigUint64Array(1), total = new BigUint64Array(1);
    assertEquals(s.f.cuMemGetInfo_v2(s.context, free, total), 0);
    const before = free[0] ?? 0n;
    const address = s.allocate(8 << 20);
    assertEquals(s.f.cuMemGetInfo_v2(s.context, free, total), 0);
    assert(before - (free[0] ?? 0n) >= 8n << 20n && (free[0] ?? 0n) < (total[0] ?? 0n));
    assertEquals(s.f.cuMemFree_v2(s.context, address), 0);
    assertEquals(s.f.cuMemGetInfo_v2(s.context, free, total), 0);
    assertEquals(free[0], before);
  },

  "memory: the range around an address is known, and an unknown address is not": (s) => {
    const address = s.allocate(1000);
    const base = new BigUint64Array(1), size = new BigUint64Array(1);
    assertEquals(s.f.cuMemGetAddressRange_v2(s.context, base, size, address + 999n), 0);
    assertEquals([base[0], size[0]], [address, 1000n]);
    assertEquals(s.f.cuMemGetAddressRange_v2(s.context, base, size, 0x10n), 500);
    const type = new Uint32Array(2);
    assertEquals(s.f.cuPointerGetAttribute(s.context, type, 2, address), 0);
    assertEquals(type[0], 2, "device memory");
    assertEquals(s.f.cuPointerGetAttribute(s.context, type, 2, 0x10n), 1);
    const pinned = s.pinned(4096);
    assertEquals(s.f.cuPointerGetAttribute(s.context, type, 2, pinned.address), 0);
    assertEquals(type[0], 1, "host memory");
  },

  "copies: there and back, on the device, by rows; past an end they are refused": async (s) => {
    const bytes = crypto.getRandomValues(new Uint8Array(4096));
    const one = s.allocate(4096), other = s.allocate(4096);
    assertEquals(await s.f.cuMemcpyHtoD_v2(s.context, one, bytes, 4096n), 0);
    assertEquals(await s.f.cuMemcpyDtoD_v2(s.context, other, one, 4096n), 0);
    const back = new Uint8Array(4096);
    assertEquals(await s.f.cuMemcpyDtoH_v2(s.context, back, other, 4096n), 0);
    assertEquals(back, bytes);
    assertEquals(await s.f.cuMemcpyHtoD_v2(s.context, one + 1n, bytes, 4096n), 1);
    // CUDA_MEMCPY2D: 10 bytes of each of 4 rows, 64 bytes apart, from x = 3, y = 1; to rows 16 bytes apart.
    const shape = new DataView(new ArrayBuffer(128));
    for (
      const [at, value] of [[0, 3n], [8, 1n], [16, 2n], [32, one], [48, 64n], [72, 2n], [88, other], [104, 16n], [
        112,
        10n,
      ], [120, 4n]] as const
    ) shape.setBigUint64(at, value, true);
    assertEquals(s.f.cuMemcpy2DAsync_v2(s.context, new Uint8Array(shape.buffer), null), 0);
    assertEquals(await s.f.cuMemcpyDtoH_v2(s.context, back, other, 64n), 0);
    for (let row = 0; row < 4; row++) {
      assertEquals(
        back.slice(16 * row, 16 * row + 10),
        bytes.slice(64 * (row + 1) + 3, 64 * (row + 1) + 13),
        `row ${row}`,
      );
    }
  },

  "fills: bytes, words and double words, and a misaligned one is refused": async (s) => {
    const at = s.allocate(64);
    assertEquals(s.f.cuMemsetD32Async(s.context, at, 0x01020304, 16n, null), 0);
    assertEquals(s.f.cuMemsetD16Async(s.context, at + 4n, 0x0506, 2n, null), 0);
    assertEquals(s.f.cuMemsetD8Async(s.context, at + 9n, 7, 3n, null), 0);
    assertEquals([...(await s.read(at, 4))], [0x01020304, 0x05060506, 0x07070704, 0x01020304]);
    assertEquals(s.f.cuMemsetD32Async(s.context, at + 2n, 0, 1n, null), 1);
  },

  "host memory: it is registered once, unregistered once, and known meanwhile": (s) => {
    const bytes = new Uint8Array(8192);
    const pointer = Deno.UnsafePointer.of(bytes);
    assert(pointer !== null);
    assertEquals(s.f.cuMemHostUnregister(s.context, pointer), 713);
    assertEquals(s.f.cuMemHostRegister_v2(s.context, pointer, 8192n, 2), 0);
    assertEquals(s.f.cuMemHostRegister_v2(s.context, pointer, 4096n, 2), 712);
    const flags = new Uint32Array(1);
    assertEquals(s.f.cuMemHostGetFlags(s.context, flags, pointer), 0);
    assertEquals(s.f.cuMemHostUnregister(s.context, pointer), 0);
    assertEquals(s.f.cuMemHostUnregister(s.context, pointer), 713);
    assertEquals(s.f.cuMemHostRegister_v2(s.context, null, 4096n, 2), 1);
    assertEquals(s.f.cuMemFreeHost(s.context, pointer), 1);
  },

  "managed memory is one address for host and kernel": async (s) => {
    const address = s.out((out) => s.f.cuMemAllocManaged(s.context, out, 4096n, 1));
    const pointer = Deno.UnsafePointer.create(address);
    assert(pointer !== null);
    const words = new Uint32Array(memoryAt(pointer, 4096));
    words[0] = 40;
    assertEquals(s.launch(s.kernel("add"), [address, 2n]), 0);
    assertEquals(await s.finish(), 0);
    assertEquals(words[0], 42);
    assertEquals(s.f.cuMemFree_v2(s.context, address), 0);
    assertEquals(s.f.cuMemAllocManaged(s.context, new BigUint64Array(1), 4096n, 0), 1);
  },

  "memory in stream order is there for what is queued before it is freed": async (s) => {
    const stream = s.stream();
    const address = s.out((out) => s.f.cuMemAllocAsync(s.context, out, 4096n, stream));
    const to = s.allocate(4);
    assertEquals(s.f.cuMemsetD32Async(s.context, address, 77, 1n, stream), 0);
    assertEquals(s.f.cuMemcpyDtoDAsync_v2(s.context, to, address, 4n, stream), 0);
    assertEquals(s.f.cuMemFreeAsync(s.context, address, stream), 0);
    assertEquals(await s.finish(stream), 0);
    assertEquals([...(await s.read(to, 1))], [77]);
  },

  "modules: kernels, variables and parameters by name; an unknown one is 500, bad text 218 with its line": async (
    s,
  ) => {
    const out = new BigUint64Array(1), size = new BigUint64Array(1);
    assertEquals(s.f.cuModuleGetFunction(s.context, out, s.module, text("nobody")), 500);
    assertEquals(s.f.cuModuleGetGlobal_v2(s.context, out, size, s.module, text("nobody")), 500);
    const counter = s.out((to) => s.f.cuModuleGetGlobal_v2(s.context, to, size, s.module, text("counter")));
    assertEquals(size[0], 4n);
    assertEquals([...(await s.read(counter, 1))], [5], "its initial value");
    assertEquals(s.launch(s.kernel("bump"), []), 0);
    assertEquals([...(await s.read(counter, 1))], [9], "with a constant");
    const count = new Uint32Array(1);
    assertEquals(s.f.cuModuleGetFunctionCount(s.context, count, s.module), 0);
    assertEquals(count[0], 6);
    const { log } = s.load(
      ".version 6.0\n.target sm_52\n.address_size 64\n.entry k()\n{\nfrobnicate.u32 %r1;\nret;\n}\n",
      218,
    );
    assert(/line 6\b/.test(log), log);
    s.load(".version 99.0\n.target sm_52\n.address_size 64\n", 222);
  },

  "kernels: the layout of parameters, and what a launch may look like": (s) => {
    const kernel = s.kernel("shaped");
    const offset = new BigUint64Array(1), size = new BigUint64Array(1);
    for (const [index, place] of [[0n, [0n, 4n]], [1n, [8n, 8n]], [2n, [16n, 12n]]] as const) {
      assertEquals(s.f.cuFuncGetParamInfo(s.context, kernel, index, offset, size), 0);
      assertEquals([offset[0], size[0]], [...place]);
    }
    assertEquals(s.f.cuFuncGetParamInfo(s.context, kernel, 3n, offset, size), 1);
    const trapping = s.kernel("trapping");
    assertEquals(s.launch(trapping, [], { grid: [0, 1, 1] }), 1);
    assertEquals(s.launch(trapping, [], { block: [1025, 1, 1] }), 1);
    assertEquals(s.launch(trapping, [], { block: [1, 1, 65] }), 1);
    assertEquals(s.launch(trapping, [], { block: [64, 32, 1] }), 1);
    assertEquals(s.launch(trapping, [], { grid: [1, 65536, 1] }), 1);
    assertEquals(s.launch(trapping, [], { shared: 64 << 10 }), 1, "more than 48 KiB has to be asked for");
    assertEquals(s.int((out) => s.f.cuFuncGetAttribute(s.context, out, 0, kernel)), 64, ".maxntid");
    const blocks = s.int((out) => s.f.cuOccupancyMaxActiveBlocksPerMultiprocessor(s.context, out, trapping, 256, 0n));
    assert(blocks >= 4 && blocks <= 32, `${blocks}`);
  },

  "an argument past the kernel's parameters is refused when there are too few bytes": (s) => {
    assertEquals(s.launch(s.kernel("add"), [s.allocate(4)]), 1);
  },

  "streams: in order, independent of each other, and the default stream waits for those that synchronise": async (
    s,
  ) => {
    const flag = s.pinned(4), at = s.allocate(4);
    const independent = s.stream(1), blocking = s.stream(0);
    assertEquals(s.launch(s.kernel("wait_for"), [flag.address], { stream: blocking }), 0);
    assertEquals(s.f.cuStreamQuery(s.context, blocking), NOT_READY);
    assertEquals(s.f.cuMemsetD32Async(s.context, at, 1, 1n, independent), 0);
    assertEquals(await s.finish(independent), 0, "it does not wait for the kernel");
    assertEquals(s.f.cuMemsetD32Async(s.context, at, 2, 1n, null), 0);
    await pauseMs(20);
    assertEquals(s.f.cuStreamQuery(s.context, null), NOT_READY, "the default stream waits for the kernel");
    flag.words[0] = 1;
    assertEquals(await s.finish(), 0);
    assertEquals(s.f.cuStreamQuery(s.context, blocking), 0);
    assertEquals([...(await s.read(at, 1))], [2]);
    assertEquals(s.int((out) => s.f.cuStreamGetFlags(s.context, independent, out)), 1);
    assertEquals(s.f.cuStreamDestroy_v2(s.context, independent), 0);
    assertEquals(s.f.cuStreamDestroy_v2(s.context, blocking), 0);
  },

  "streams: a work that is queued after one in the default stream waits for it": async (s) => {
    const flag = s.pinned(4), at = s.allocate(4);
    const blocking = s.stream(0);
    assertEquals(s.launch(s.kernel("wait_for"), [flag.address]), 0);
    assertEquals(s.f.cuMemsetD32Async(s.context, at, 3, 1n, blocking), 0);
    await pauseMs(20);
    assertEquals(s.f.cuStreamQuery(s.context, blocking), NOT_READY);
    flag.words[0] = 1;
    assertEquals(await s.finish(blocking), 0);
  },

  "events: reached in order, hold other streams back, and measure time": async (s) => {
    const flag = s.pinned(4), at = s.allocate(4);
    const first = s.stream(), second = s.stream();
    const start = s.event(), end = s.event(), untimed = s.event(2);
    assertEquals(s.f.cuEventQuery(s.context, start), 0, "one that was never recorded counts as reached");
    assertEquals(s.f.cuEventRecord(s.context, start, first), 0);
    assertEquals(s.launch(s.kernel("wait_for"), [flag.address], { stream: first }), 0);
    assertEquals(s.f.cuEventRecord(s.context, end, first), 0);
    assertEquals(s.f.cuStreamWaitEvent(s.context, second, end, 0), 0);
    assertEquals(s.f.cuMemsetD32Async(s.context, at, 9, 1n, second), 0);
    await pauseMs(20);
    const ms = new Float32Array(1);
    assertEquals(s.f.cuEventQuery(s.context, end), NOT_READY);
    assertEquals(s.f.cuEventElapsedTime(s.context, ms, start, end), NOT_READY);
    assertEquals(s.f.cuStreamQuery(s.context, second), NOT_READY);
    flag.words[0] = 1;
    assertEquals(await s.finish(second), 0);
    assertEquals(s.f.cuEventElapsedTime(s.context, ms, start, end), 0);
    assert((ms[0] ?? 0) >= 15, `${ms[0]} ms`);
    assertEquals(s.f.cuEventRecord(s.context, untimed, first), 0);
    assertEquals(s.f.waitEvent(s.context, untimed, 50_000), 0);
    assertEquals(s.f.cuEventElapsedTime(s.context, ms, start, untimed), 400, "it keeps no time");
    assertEquals(s.f.cuEventElapsedTime(s.context, ms, s.event(), end), 400, "it was never recorded");
    for (const event of [start, end, untimed]) assertEquals(s.f.cuEventDestroy_v2(s.context, event), 0);
  },

  "stream memory operations: a stream waits for a value, and writes one": async (s) => {
    const flag = s.allocate(8);
    const stream = s.stream();
    assertEquals(s.f.cuMemsetD32Async(s.context, flag, 0, 2n, stream), 0);
    assertEquals(s.f.cuStreamWaitValue32_v2(s.context, stream, flag, 5, 0), 0);
    assertEquals(s.f.cuStreamWriteValue32_v2(s.context, stream, flag + 4n, 6, 0), 0);
    await pauseMs(10);
    assertEquals(s.f.cuStreamQuery(s.context, stream), NOT_READY);
    const other = s.stream();
    assertEquals(s.f.cuMemsetD32Async(s.context, flag, 5, 1n, other), 0);
    assertEquals(await s.finish(stream), 0);
    assertEquals([...(await s.read(flag, 2))], [5, 6]);
  },

  "a kernel runs while the host goes on, and sees what the host writes": async (s) => {
    const flag = s.pinned(4);
    const stream = s.stream();
    assertEquals(s.launch(s.kernel("wait_for"), [flag.address], { stream }), 0);
    await pauseMs(5);
    assertEquals(s.f.cuStreamQuery(s.context, stream), NOT_READY);
    flag.words[0] = 1;
    assertEquals(await s.finish(stream), 0);
  },

  "faults stay until the context is reset: a wrong address": async (s) => {
    assertEquals(s.launch(s.kernel("add"), [0x1000n, 1n]), 0);
    assertEquals(await s.finish(), ILLEGAL_ADDRESS);
    assertEquals(s.f.cuMemAlloc_v2(s.context, new BigUint64Array(1), 4n), ILLEGAL_ADDRESS);
    assertEquals(s.f.cuDevicePrimaryCtxReset_v2(null, 0), 0);
    const again = s.out((out) => s.f.cuDevicePrimaryCtxRetain(null, out, 0));
    assert(again !== 0n);
    assertEquals(s.f.cuMemAlloc_v2(s.context, new BigUint64Array(1), 4n), 0);
  },

  "faults stay until the context is reset: a misaligned address": async (s) => {
    assertEquals(s.launch(s.kernel("misaligned"), [s.allocate(64)]), 0);
    assertEquals(await s.finish(), 716);
    assertEquals(s.f.cuDevicePrimaryCtxReset_v2(null, 0), 0);
  },

  "faults stay until the context is reset: a trap": async (s) => {
    assertEquals(s.launch(s.kernel("trapping"), []), 0);
    assertEquals(await s.finish(), 719);
    assertEquals(s.f.cuDevicePrimaryCtxReset_v2(null, 0), 0);
  },

  "two contexts: one does not reach what is in the other, and that one goes on": async (s) => {
    const at = s.allocate(4);
    assertEquals(s.f.cuMemsetD32Async(s.context, at, 7, 1n, null), 0);
    assertEquals(await s.finish(), 0);
    const out = new BigUint64Array(1);
    assertEquals(s.f.cuCtxCreate_v2(null, out, 0, 0), 0);
    const other = handleFrom<CudaContext>(out);
    const module = new BigUint64Array(1), kernel = new BigUint64Array(1), log = new Uint8Array(256);
    assertEquals(s.f.load(other, text(PTX), log, log, log.length, module), 0);
    assertEquals(s.f.cuModuleGetFunction(other, kernel, handleFrom<CudaModule>(module), text("add")), 0);
    const bytes = new DataView(new ArrayBuffer(12));
    bytes.setBigUint64(0, at, true);
    bytes.setUint32(8, 1, true);
    const shape = Uint32Array.of(1, 1, 1, 1, 1, 1, 0);
    assertEquals(
      s.f.launch(other, handleFrom<CudaFunction>(kernel), shape, null, new Uint8Array(bytes.buffer), 12),
      0,
    );
    assertEquals(await s.f.cuCtxSynchronize(other), ILLEGAL_ADDRESS);
    assertEquals([...(await s.read(at, 1))], [7], "untouched, and the first context works");
    assertEquals(s.f.cuCtxDestroy_v2(null, other), 0);
    assertEquals(
      s.f.cuMemAlloc_v2(other, new BigUint64Array(1), 4n),
      201,
      "a context that is gone cannot be made current",
    );
  },

  "functions are found by name and version": (s) => {
    const version = s.int((out) => s.f.cuDriverGetVersion(null, out));
    const find = (name: string, since: number, flags = 0n): [bigint, number] => {
      const out = new BigUint64Array(1), status = new Uint32Array(1);
      assertEquals(s.f.cuGetProcAddress_v2(null, text(name), out, since, flags, status), 0, name);
      return [out[0] ?? 0n, status[0] ?? 0];
    };
    const [create2] = find("cuCtxCreate", 12000);
    const [plain, found] = find("cuMemAlloc", 12000);
    assert(create2 !== 0n && plain !== 0n && found === 0);
    if (version >= 13000) assert(find("cuCtxCreate", 13000)[0] !== create2, "another number of arguments");
    assertEquals(find("cuNobodyKnowsThis", 12000), [0n, 1]);
    assertEquals(find("cuMemAlloc", 1000), [0n, 2], "it came later");
    assert(find("cuLaunchKernel", 12000, 2n)[0] !== find("cuLaunchKernel", 12000)[0], "for per-thread default streams");
    assertEquals(
      s.f.cuGetProcAddress_v2(null, text("cuInit"), new BigUint64Array(1), version + 1000, 0n, new Uint32Array(1)),
      1,
    );
  },

  "results have names": (s) => {
    const nameOf = (result: number): string | null => {
      const out = new BigUint64Array(1);
      const known = s.f.cuGetErrorName(null, result, out) === 0;
      const pointer = Deno.UnsafePointer.create(out[0] ?? 0n);
      assertEquals(pointer !== null, known);
      return pointer === null ? null : new Deno.UnsafePointerView(pointer).getCString();
    };
    assertEquals([nameOf(0), nameOf(700), nameOf(12345)], ["CUDA_SUCCESS", "CUDA_ERROR_ILLEGAL_ADDRESS", null]);
  },
};

/** Registers the suite's tests for one driver. */
export function cudaConformance({ name, open, reason, cannot = {} }: Conformance): void {
  for (const [title, body] of Object.entries(CASES)) {
    const why = reason ?? cannot[title] ?? null;
    if (why !== null) {
      Deno.test({ name: `${name}: ${title} (not run: ${why})`, ignore: true, fn: () => {} });
      continue;
    }
    Deno.test({
      name: `${name}: ${title}`,
      // A driver opens files and starts threads of its own, which stay.
      sanitizeResources: false,
      sanitizeOps: false,
      fn: async () => {
        using session = new Session(open());
        await body(session);
      },
    });
  }
}
