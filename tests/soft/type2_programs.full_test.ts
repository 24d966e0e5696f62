/** Guests, processes, threads and children apart, over ten thousand commands each; programs and servers that are killed. */

import { assert, assertEquals } from "@std/assert";

import { cudaShimFolder } from "../../ffi/build.ts";
import { openType2 } from "../../src/type2/open.ts";
import { expected, run, Workshop } from "./ptx/programs.ts";
import { toolMissing } from "./ptx/toolkit.ts";
import { GuestProgram } from "./type2_program.ts";
import { Served, startServer, withType2Libraries } from "./type2_device.ts";

withType2Libraries();

/** Ten thousand copies for each guest: two processes, five workers, there and back. */
const ROUNDS = "500";

Deno.test("two guests, two processes of each, four threads and a child of each process: no byte of another's", async () => {
  await using one = Served.start({ memory: String(64 << 20) }, 16 << 20);
  await using two = Served.start({ memory: String(64 << 20) }, 16 << 20);
  using program = await GuestProgram.build();
  const runs = [one, one, two, two].map((served, i) => program.run(served.path, "many", ROUNDS, String(1000 * i)));
  for (const { code, output, errors } of await Promise.all(runs)) {
    assertEquals({ code, output }, { code: 0, output: "ok\n" }, errors);
  }
  for (const served of [one, two]) {
    // Each worker copies there and back.
    const copies = served.device.count(0x22) + served.device.count(0x23);
    assertEquals(copies, 2 * 5 * 2 * Number(ROUNDS));
    using gpu = served.open();
    const { freeBytes, totalBytes } = await gpu.memory();
    assertEquals(freeBytes, totalBytes);
  }
});

Deno.test("programs that are killed in the middle of a command: the next one runs, and memory is whole again", async () => {
  await using served = Served.start({ memory: String(64 << 20), limit: "500" }, 16 << 20);
  using program = await GuestProgram.build();
  using gpu = served.open();
  for (let i = 0; i < 20; i++) {
    const { child, rest } = await program.start(served.path, i % 4 === 3 ? "wait" : "busy");
    await new Promise((resolve) => setTimeout(resolve, 3 * i));
    child.kill("SIGKILL");
    await rest();
    await child.status;
    const { code, output, errors } = await program.run(served.path, "copy", "3000000");
    assertEquals({ code, output }, { code: 0, output: "equal\n" }, errors);
    const { freeBytes, totalBytes } = await gpu.memory();
    assertEquals(freeBytes, totalBytes);
  }
});

Deno.test("serve killed in the middle of a program's kernel: the program ends with a named error within 2 s", async () => {
  const folder = await Deno.makeTempDir({ dir: "/dev/shm" });
  const path = `${folder}/gpu`;
  using program = await GuestProgram.build();
  const server = await startServer(path, "--limit", "60s");
  const { child, rest } = await program.start(path, "wait");
  server.kill("SIGKILL");
  const killed = performance.now();
  assertEquals(await rest(), "waits\nCUDA_ERROR_DEVICE_UNAVAILABLE\n");
  assert(performance.now() - killed < 2000, `${performance.now() - killed} ms`);
  assertEquals((await child.status).code, 0);
  await server.status;
  const next = await startServer(path);
  const { code, output, errors } = await program.run(path, "copy", "3000000");
  assertEquals({ code, output }, { code: 0, output: "equal\n" }, errors);
  next.kill("SIGTERM");
  await next.status;
  await Deno.remove(folder, { recursive: true });
});

Deno.test("serve killed by SIGKILL leaves a file and two sockets; the next start takes all over, and leaves nothing", async () => {
  const folder = await Deno.makeTempDir({ dir: "/dev/shm" });
  const path = `${folder}/gpu`;
  const sockets = ["--doorbell", `${folder}/bell`, "--vfio-user", `${folder}/vfio`];
  const names = (): string[] => Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
  const killed = await startServer(path, ...sockets);
  killed.kill("SIGKILL");
  await killed.status;
  assertEquals(names(), ["bell", "gpu", "vfio"]);
  const next = await startServer(path, ...sockets);
  {
    using gpu = openType2(`type2:${path}`);
    await gpu.begin();
    await gpu.allocate(4096);
  }
  next.kill("SIGTERM");
  assertEquals((await next.status).code, 143);
  assertEquals(names(), []);
  await Deno.remove(folder);
});

const missing = toolMissing("nvcc");
for (const name of ["vector_add", "matmul", "reduction", "streams", "printing"]) {
  const title = `${name}, built by nvcc with -cudart shared, prints on a Type 2 GPU what it should`;
  Deno.test({
    name: missing === null ? title : `${title} (not run: ${missing})`,
    ignore: missing !== null,
    fn: async () => {
      await using served = Served.start({}, 64 << 20);
      using workshop = new Workshop();
      const program = await workshop.runtimeProgram(name);
      const { code, output, errors } = await run(program, [], {
        LD_LIBRARY_PATH: cudaShimFolder(),
        CXL_GPU: served.path,
      });
      assertEquals({ code, output }, { code: 0, output: expected(name) }, errors);
    },
  });
}

Deno.test("a kernel sums what a program wrote into pinned memory, without a copy among the commands", async () => {
  await using served = Served.start({ memory: String(64 << 20) }, 64 << 20);
  using program = await GuestProgram.build();
  const { code, output, errors } = await program.run(served.path, "pool", "100000");
  assertEquals({ code, output }, { code: 0, output: "equal\n" }, errors);
  for (const copy of [0x22, 0x23, 0x24, 0x70, 0x71, 0x72]) assertEquals(served.device.count(copy), 0);
  assertEquals(served.device.count(0x40), 1);
});
