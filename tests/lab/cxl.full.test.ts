/** CXL memory devices and windows, as the cxl tool lists them, and regions made of them. */

import { assertEquals, assertMatch } from "@std/assert";

import { machine } from "./lab.ts";
import { list, output, read, shell } from "./programs.ts";

const lab = machine("cxl.yaml", import.meta.url);

interface Memdev {
  readonly memdev: string;
  readonly serial: number;
  readonly ram_size?: number;
  readonly pmem_size?: number;
}

const BUS = "/sys/bus/cxl/devices";

async function memdevs(): Promise<Memdev[]> {
  const found: Memdev[] = JSON.parse(await output("cxl", "list", "-M"));
  return found.sort((a, b) => a.serial - b.serial);
}

/** The endpoint decoder of a memory device that is free to use. */
async function endpointDecoder({ memdev }: Memdev): Promise<string> {
  const port = (await list(BUS)).filter((name) => name.startsWith("endpoint"));
  for (const name of port) {
    if ((await Deno.realPath(`${BUS}/${name}/uport`)).endsWith(`/${memdev}`)) {
      return `decoder${name.slice("endpoint".length)}.0`;
    }
  }
  throw new Error(`${memdev} has no endpoint`);
}

lab.test("cxl lists two volatile devices and a persistent one", async () => {
  const found = await memdevs();
  assertEquals(found.map(({ serial, ram_size, pmem_size }) => [serial, ram_size, pmem_size]), [
    [1, 256 << 20, undefined],
    [2, 256 << 20, undefined],
    [3, undefined, 256 << 20],
  ]);
});

lab.test("three windows: one over both host bridges, one over each", async () => {
  const [root] = JSON.parse(await output("cxl", "list", "-B", "-D", "-d", "root", "-T"));
  const decoders: { interleave_ways: number; interleave_granularity?: number; size: number; nr_targets: number }[] =
    root["decoders:root0"] ?? root["decoders"] ?? root;
  assertEquals(decoders.map((one) => [one.interleave_ways, one.nr_targets, one.size]), [
    [2, 2, 2 ** 32],
    [1, 1, 2 ** 32],
    [1, 1, 2 ** 32],
  ]);
});

lab.test("the persistent device sits behind a switch", async () => {
  const persistent = (await memdevs())[2];
  const way = (await Deno.realPath(`${BUS}/${persistent?.memdev}`)).split("/").filter((part) => /^0000:/.test(part));
  assertEquals(way.length, 4);
});

lab.test("a region interleaved over both volatile devices becomes memory", async () => {
  const [first, second] = await memdevs();
  if (first === undefined || second === undefined) throw new Error("two volatile devices are missing");
  const before = await read("/sys/devices/system/node/possible");
  for (const device of [first, second]) {
    const decoder = await endpointDecoder(device);
    await shell(`cd ${BUS}/${decoder} && echo ram >mode && echo 0x10000000 >dpa_size`);
  }
  const window = `${BUS}/decoder0.0`;
  const region = await read(`${window}/create_ram_region`);
  await Deno.writeTextFile(`${window}/create_ram_region`, region);
  const folder = `${BUS}/${region}`;
  await shell(`cd ${folder} && echo 1024 >interleave_granularity && echo 2 >interleave_ways && echo 0x20000000 >size`);
  // The window's first target is the bridge of the first device.
  await Deno.writeTextFile(`${folder}/target0`, await endpointDecoder(first));
  await Deno.writeTextFile(`${folder}/target1`, await endpointDecoder(second));
  await Deno.writeTextFile(`${folder}/commit`, "1");
  await Deno.writeTextFile("/sys/bus/cxl/drivers/cxl_region/bind", region);
  const [listed] = JSON.parse(await output("cxl", "list", "-R"));
  assertEquals([listed.region, listed.size, listed.interleave_ways, listed.interleave_granularity], [
    region,
    512 << 20,
    2,
    1024,
  ]);
  assertMatch(before, /-/);
  const [dax] = JSON.parse(await output("daxctl", "list"));
  assertEquals(dax.size, 512 << 20);
  await shell(
    "for i in $(seq 50); do numactl -H | grep -q '^node 1 size: [1-9]' && exit 0; sleep 0.1; done; numactl -H; exit 1",
  );
}, { timeoutMs: 120_000 });
