/** The CXL.mem simulator in a guest: the same bytes as on the host, and the memory of a server on the host. */

import { assert, assertEquals } from "@std/assert";

import { runTool, toolArgs } from "../soft/tool.ts";
import type { Lab } from "./lab.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
/** Both sides see the checkout at the same path. */
const REPORT = `${ROOT}build/sim-report.json`;
const WORDS = "cafe0123456789ab";
const RUN = [
  "-o",
  "(1,(2,3))",
  "--synthetic",
  "ycsb?count=20000",
  "--placement",
  "interleave",
  "--cache",
  "64KiB",
  "--json",
];

/** The BAR of the only ivshmem device, which it makes answer. */
async function sharedMemoryBar(): Promise<string> {
  for await (const { name } of Deno.readDir("/sys/bus/pci/devices")) {
    const folder = `/sys/bus/pci/devices/${name}`;
    const id = await Deno.readTextFile(`${folder}/vendor`) + await Deno.readTextFile(`${folder}/device`);
    if (id !== "0x1af4\n0x1110\n") continue;
    await Deno.writeTextFile(`${folder}/enable`, "1");
    return `${folder}/resource2`;
  }
  throw new Error("there is no ivshmem device");
}

async function client(path: string, ...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTool("cxl_sim", ["client", path, ...words, "--timeout", "60s"]);
  assertEquals(code, 0, stderr);
  return stdout;
}

/** @param device id of an ivshmem device of the machine */
export function memorySimulatorTests(lab: Lab, device: string): void {
  let server: Deno.ChildProcess | null = null;
  Deno.test.afterAll(async () => {
    server?.kill("SIGKILL");
    await server?.status;
  });

  lab.hostTest("cxl_sim serves the memory of the guest's ivshmem device, and reports a run", async (guest) => {
    const { code, stdout, stderr } = await runTool("cxl_sim", RUN);
    assertEquals(code, 0, stderr);
    await Deno.writeTextFile(REPORT, stdout);
    const file = `${guest.record.folder}/disks/${device}`;
    const { size } = await Deno.stat(file);
    server = new Deno.Command(Deno.execPath(), {
      args: toolArgs("cxl_sim", ["serve", "--ivshmem", file, "--connections", "4"]),
      stdout: "piped",
    }).spawn();
    const reader = server.stdout.getReader();
    await reader.read();
    await reader.cancel();
    assertEquals((await Deno.stat(file)).size, size, "the guest's memory keeps its size");
    await client(file, "write", "0x2000", WORDS);
  });

  lab.test("a client in the guest reads what the host wrote in the simulated memory, and writes itself", async () => {
    const bar = await sharedMemoryBar();
    assert((await client(bar, "read", "0x2000", "8")).includes(WORDS));
    await client(bar, "write", "0x3000", WORDS);
  });

  lab.test("cxl_sim gives the guest the bytes that it gives the host", async () => {
    const { code, stdout, stderr } = await runTool("cxl_sim", RUN);
    assertEquals(code, 0, stderr);
    assertEquals(stdout, await Deno.readTextFile(REPORT));
  });

  lab.hostTest(
    "the host reads what the guest wrote; the server ends, and leaves the device's memory empty",
    async (guest) => {
      const file = `${guest.record.folder}/disks/${device}`;
      assert((await client(file, "read", "0x3000", "8")).includes(WORDS));
      assert(server !== null);
      server.kill("SIGTERM");
      const { code } = await server.status;
      server = null;
      assertEquals(code, 143);
      using opened = await Deno.open(file);
      const head = new Uint8Array(4096);
      await opened.read(head);
      assert(head.every((byte) => byte === 0));
    },
  );
}
