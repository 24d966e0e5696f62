// The example of the kernel's documentation (Documentation/arch/sparc/oradax), step by step: a bit vector is inverted by
// scanning its one-bit elements for the value 0. `oradax_ccb.ts /dev/oradax1` takes a SPARC machine's coprocessor.
import { openOradax } from "@busbar/busbar";
import { buildCcb } from "@busbar/busbar/oradax";

using dax = openOradax(Deno.args[0] ?? "soft:oradax");
// 1. Memory for input and output; each begins a page, and no stream may leave its page.
const [input, output] = [dax.allocate(8192), dax.allocate(8192)];
input.write(0, Uint8Array.of(0xa5, 0xc0));
// 2. The CCB: control word, primary input of 12 one-bit elements, output as a bit vector, the value looked for.
const ccb = buildCcb({
  command: "scanValue",
  primary: { address: input.address, format: "bits", elementSize: 1, length: 12 },
  output: { address: output.address, format: "bits" },
  first: { value: 0n },
}, { dax: dax.dax, pageBytesAt: (address) => dax.pageBytesAt(address) });
// 3. Handed over: write(2) of the CCBs. Completion area 0 is theirs.
dax.submit(0, ccb);
// 4. The completion area is watched until its status is not 0 any more, for a second at most.
let done = dax.poll(0, 50_000);
for (let n = 1; done === null && n < 20; n++) done = dax.poll(0, 50_000);
if (done === null) throw new Error("the coprocessor does not answer");
// 5. The result, then the memory that the kernel has locked is let go of.
console.log(`status ${done.status}, ${done.returnValue} ones, output ${output.read(0, 2).toHex()}`);
dax.dequeue();
