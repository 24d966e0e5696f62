/** Kernels reach I/O memory with exactly one access of each width, in order: counted by page faults, and as the trace says. */

import { assertEquals } from "@std/assert";

import { openCudaDriver } from "../../src/gpu/driver.ts";
import { Cuda } from "../../src/gpu/cuda.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { type Access, TrappedPage } from "./page_trap.ts";
import { withLibraries } from "./setup.ts";

const PAGE_BYTES = 4096;

function soft(settings: string): Gpu {
  return Cuda.open(0, openCudaDriver(`soft:cuda?memory=16MiB&threads=1${settings}`));
}

withLibraries();
Deno.test.beforeAll(() => {
  using _gpu = soft("");
});

/** A kernel of three lanes; each has 16 bytes of the page, and %rd0 is the place of its own. */
function kernel(body: string): string {
  return `.version 8.4
.target sm_75
.address_size 64
.visible .entry touch(.param .u64 page)
{
  .reg .b16 %h<4>; .reg .b32 %r<8>; .reg .b64 %rd<8>;
  ld.param.u64 %rd0, [page];
  mov.u32 %r0, %tid.x;
  mad.wide.u32 %rd0, %r0, 16, %rd0;
  add.u32 %r1, %r0, 0x11223344;
  cvt.u16.u32 %h0, %r1;
  mov.b64 %rd1, {%r1, %r1};
  ${body}
  ret;
}
`;
}

/** One instruction, and what each of its lanes does. */
interface Touch {
  readonly text: string;
  readonly offset: number;
  readonly width: number;
  readonly isWrite: boolean;
  /** What the trap sees, where that is no plain move. */
  readonly seen?: number;
}

function touch(text: string, offset: number, width: number, seen?: number): Touch {
  const isWrite = text.startsWith("st");
  return seen === undefined ? { text, offset, width, isWrite } : { text, offset, width, isWrite, seen };
}

const TOUCHES: readonly Touch[] = [
  touch("st.mmio.relaxed.sys.global.u32 [%rd0], %r1;", 0, 4),
  touch("ld.mmio.relaxed.sys.global.u32 %r2, [%rd0+4];", 4, 4),
  touch("st.mmio.relaxed.sys.global.u8 [%rd0+3], %h0;", 3, 1),
  touch("st.mmio.relaxed.sys.u16 [%rd0+6], %h0;", 6, 2),
  touch("st.relaxed.mmio.sys.global.u64 [%rd0+8], %rd1;", 8, 8),
  touch("ld.mmio.relaxed.sys.u8 %h1, [%rd0+1];", 1, 1),
  touch("ld.mmio.relaxed.sys.global.u16 %h2, [%rd0+2];", 2, 2),
  touch("ld.mmio.relaxed.sys.global.u64 %rd2, [%rd0+8];", 8, 8),
  touch("st.volatile.global.u32 [%rd0+4], %r1;", 4, 4),
  touch("ld.volatile.global.u64 %rd3, [%rd0];", 0, 8),
  touch("st.global.u16 [%rd0+10], %h0;", 10, 2),
  touch("ld.global.u8 %h3, [%rd0+15];", 15, 1),
  touch("ld.relaxed.sys.global.u32 %r3, [%rd0];", 0, 4),
  // One access of 16 bytes is no plain move.
  touch("st.global.v4.u32 [%rd0], {%r1, %r1, %r1, %r1};", 0, 16, 0),
  touch("ld.global.v2.u64 {%rd4, %rd5}, [%rd0];", 0, 16, 0),
];

const LANES = 3;

Deno.test("each access of a kernel to I/O memory is one of its width, lane by lane, in the order of the program", async () => {
  using page = new TrappedPage(PAGE_BYTES);
  using gpu = soft("");
  using module = gpu.module(kernel(TOUCHES.map(({ text }) => text).join("\n  ")));
  using memory = gpu.register(page.mmio.pointer, PAGE_BYTES, true);
  page.take();
  module.function("touch").launch({ grid: 1, block: LANES }, [memory]);
  await gpu.synchronize();
  const lanes = Array.from({ length: LANES }, (_, lane) => lane);
  const expected = TOUCHES.flatMap(({ offset, width, isWrite, seen }) =>
    lanes.map((lane): Access => ({ offset: 16 * lane + offset, width: seen ?? width, isWrite }))
  );
  assertEquals(page.take(), expected);
});

/** A line of the trace, as far as it is compared. */
interface Traced {
  readonly thread: readonly number[];
  readonly access: string;
  readonly address: string;
  readonly width: number;
  readonly line: number;
  readonly value: string;
  readonly ns: string;
}

Deno.test("the trace has each access with thread, line, width and value, and time goes on in it", async () => {
  using page = new TrappedPage(PAGE_BYTES);
  const file = await Deno.makeTempFile({ prefix: "busbar-trace-" });
  try {
    let address = 0n;
    {
      using gpu = soft(`&trace=${encodeURIComponent(file)}`);
      const text = kernel(TOUCHES.map((one) => one.text).join("\n  "));
      using module = gpu.module(text);
      using memory = gpu.register(page.mmio.pointer, PAGE_BYTES, true);
      address = memory.address;
      page.take();
      module.function("touch").launch({ grid: 1, block: LANES }, [memory]);
      await gpu.synchronize();
    }
    const lines: Traced[] = (await Deno.readTextFile(file)).trim().split("\n").map((line) => JSON.parse(line));
    const made = page.take();
    const firstLine = kernel("FIRST").split("\n").findIndex((line) => line.includes("FIRST")) + 1;
    assertEquals(
      lines.map(({ address: at, width, access, line, thread }) => ({
        offset: Number(BigInt(at) - address),
        width,
        isWrite: access === "write",
        line,
        lane: thread[0],
      })),
      TOUCHES.flatMap(({ offset, width, isWrite }, index) =>
        Array.from({ length: LANES }, (_, lane) => ({
          offset: 16 * lane + offset,
          width,
          isWrite,
          line: firstLine + index,
          lane,
        }))
      ),
    );
    assertEquals(lines.length, made.length);
    assertEquals(BigInt(lines[1]?.value ?? 0), 0x1122_3345n, "the second lane's store");
    const times = lines.map((line) => BigInt(line.ns));
    assertEquals(times, times.toSorted((a, b) => a < b ? -1 : a > b ? 1 : 0));
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("an atomic on I/O memory is a fault, and no access is made", async () => {
  using page = new TrappedPage(PAGE_BYTES);
  using gpu = soft("&log=none");
  using module = gpu.module(kernel("atom.global.add.u32 %r2, [%rd0], 1;"));
  using memory = gpu.register(page.mmio.pointer, PAGE_BYTES, true);
  page.take();
  module.function("touch").launch({ grid: 1, block: 1 }, [memory]);
  const fault = await gpu.synchronize().then(() => null, (error: unknown) => error);
  assertEquals(fault instanceof Error, true);
  assertEquals(page.take(), []);
});
