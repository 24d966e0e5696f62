/**
 * Software Type 2 GPUs for tests: in this process, and behind a shared file that a thread of this process serves.
 * @module
 */

import { closeAll } from "../../ffi/library.ts";
import { pageSizeBytes } from "../../ffi/memory.ts";
import { readBarrier } from "../../ffi/mmio.ts";
import { SoftCoherency, SoftType2 } from "../../ffi/soft_type2.ts";
import { Type2Gpu } from "../../src/type2/client.ts";
import { openType2, serveSharedFile } from "../../src/type2/open.ts";
import { toolArgs } from "./tool.ts";

/** Opens the libraries before a file's tests, and closes them after. */
export function withType2Libraries(): void {
  Deno.test.beforeAll(() => {
    pageSizeBytes();
    readBarrier();
    new SoftCoherency(1)[Symbol.dispose]();
    SoftType2.open("soft:type2", new Map())[Symbol.dispose]();
    openType2("soft:type2?memory=1MiB")[Symbol.dispose]();
  });
  Deno.test.afterAll(closeAll);
}

/** A served file with a client. Dispose ends both. */
export class Served implements AsyncDisposable {
  readonly device: SoftType2;
  readonly path: string;

  private constructor(device: SoftType2, path: string) {
    this.device = device;
    this.path = path;
  }

  /** Serves a file of its own; settings as `soft:type2?…` has them. */
  static start(settings: Readonly<Record<string, string>> = {}, sizeBytes: number = 64 << 20): Served {
    const path = `${Deno.makeTempDirSync({ dir: "/dev/shm", prefix: "busbar-test-" })}/gpu`;
    const options = new Map(Object.entries({ memory: String(256 << 20), ...settings }));
    return new Served(serveSharedFile(options, { path, sizeBytes }), path);
  }

  /** A client of it. */
  open(): Type2Gpu {
    return openType2(`type2:${this.path}`, { commandMs: 20_000 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.device[Symbol.dispose]();
    await Deno.remove(this.path.slice(0, this.path.lastIndexOf("/")), { recursive: true });
  }
}

/** A server as a process. */
export async function startServer(path: string, ...more: string[]): Promise<Deno.ChildProcess> {
  const args = toolArgs("cxl_gpu", ["serve", "--file", `${path},size=16MiB`, "--memory", "16MiB", ...more]);
  const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "null" }).spawn();
  const reader = child.stdout.getReader();
  // One line of QEMU's options for each place.
  const places = 1 + more.filter((word) => word === "--vfio-user").length;
  for (let text = ""; text.split("  qemu ").length <= places;) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the server ended: ${text}`);
    text += new TextDecoder().decode(value);
  }
  await reader.cancel();
  return child;
}

/** Kernels for the tests. */
export const KERNELS = `.version 6.0
.target sm_52
.address_size 64
.global .align 4 .u32 counter = 5;
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
.visible .entry shaped(.param .u32 a, .param .align 4 .b8 c[12], .param .u64 to)
{
  .reg .b32 %r<5>; .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [to]; ld.param.u32 %r1, [a]; ld.param.u32 %r2, [c]; ld.param.u32 %r3, [c+8];
  st.global.u32 [%rd1], %r1; st.global.u32 [%rd1+4], %r2; st.global.u32 [%rd1+8], %r3;
  ret;
}
`;
