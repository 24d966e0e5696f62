// Copies to a GPU, runs a kernel on it and copies back. `gpu_copy.ts cuda:0` takes NVIDIA's; without one, a software device.
import { openGpu } from "@busbar/busbar";

const PTX = `.version 7.0
.target sm_75
.address_size 64
.visible .entry twice(.param .u64 data) {
  .reg .b64 %at; .reg .b32 %i, %value;
  mov.u32 %i, %tid.x;
  ld.param.u64 %at, [data];
  mad.wide.u32 %at, %i, 4, %at;
  ld.global.u32 %value, [%at];
  shl.b32 %value, %value, 1;
  st.global.u32 [%at], %value;
  ret;
}`;

using gpu = openGpu(Deno.args[0] ?? "soft:cuda");
using buffer = gpu.allocate(4 * 32);
await buffer.write(new Uint8Array(Uint32Array.from({ length: 32 }, (_, i) => i).buffer));
using module = gpu.module(PTX);
module.function("twice").launch({ grid: 1, block: 32 }, [buffer]);
await gpu.synchronize();
console.log(new Uint32Array((await buffer.read(4 * 32)).buffer).join(" "));
