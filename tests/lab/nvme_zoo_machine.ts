/**
 * Every kind of NVMe controller in the machine `nvme-zoo`, seen by nvme-cli and by the kernel. For nvme-zoo.full.test.ts.
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";

import type { Lab } from "./lab.ts";
import { controllerOf, list, namespacesOf, output, read, shell } from "./programs.ts";

async function identify(serial: string): Promise<Record<string, number>> {
  return JSON.parse(await output("nvme", "id-ctrl", `/dev/${await controllerOf(serial)}`, "-o", "json"));
}

async function namespace(serial: string): Promise<string> {
  const [name, ...others] = await namespacesOf(serial);
  assertEquals(others, []);
  return name ?? "";
}

/** Where a controller's function is, as sysfs names it. */
async function functionOf(serial: string): Promise<string> {
  return await Deno.realPath(`/sys/class/nvme/${await controllerOf(serial)}/device`);
}

/** Bytes of a BAR of a controller. */
async function barBytes(serial: string, bar: number): Promise<number> {
  const line = (await read(`${await functionOf(serial)}/resource`)).split("\n")[bar] ?? "";
  const [start = 0, end = 0] = line.split(" ").map(Number);
  return end === 0 ? 0 : end - start + 1;
}

/** Registers the tests of the machine itself. */
export function nvmeZooMachineTests(lab: Lab): void {
  lab.test("fourteen controllers answer", async () => {
    const serials = await Promise.all(
      (await list("/sys/class/nvme")).map((name) => read(`/sys/class/nvme/${name}/serial`)),
    );
    assertEquals(serials.sort(), [
      ...["ZOO-BAR4", "ZOO-CMB", "ZOO-FAULTY", "ZOO-GAPS", "ZOO-LBA4K", "ZOO-MDTS1", "ZOO-META", "ZOO-META-APART"],
      ...["ZOO-MULTI", "ZOO-MULTI", "ZOO-PLAIN", "ZOO-PMR", "ZOO-QUEUES2", "ZOO-ZONED"],
    ]);
  });

  lab.test("namespaces with gaps, one of them attached to nothing", async () => {
    const device = `/dev/${await controllerOf("ZOO-GAPS")}`;
    const ids = async (...options: string[]): Promise<number[]> =>
      [...(await output("nvme", "list-ns", device, ...options)).matchAll(/:(0x[0-9a-f]+)/g)].map((match) =>
        Number(match[1])
      );
    assertEquals(await ids(), [1, 3, 7]);
    assertEquals(await ids("--all"), [1, 3, 5, 7]);
  });

  lab.test("blocks of 4096 bytes, and metadata with and beside the data", async () => {
    const format = async (serial: string): Promise<string> =>
      /lbaf .*\(in use\)/.exec(await output("nvme", "id-ns", `/dev/${await namespace(serial)}`))?.[0] ?? "";
    assertMatch(await format("ZOO-LBA4K"), /ms:0 +lbads:12 /);
    assertMatch(await format("ZOO-META"), /ms:64 +lbads:12 /);
    assertMatch(await format("ZOO-META-APART"), /ms:8 +lbads:9 /);
    const settings = async (serial: string): Promise<{ flbas: number; dps: number }> =>
      JSON.parse(await output("nvme", "id-ns", `/dev/${await namespace(serial)}`, "-o", "json"));
    const [together, apart] = [await settings("ZOO-META"), await settings("ZOO-META-APART")];
    assertEquals([together.flbas & 0x10, together.dps & 0x7, together.dps & 0x8], [0x10, 1, 8]);
    assertEquals([apart.flbas & 0x10, apart.dps & 0x7], [0, 3]);
  });

  lab.test("two queues, a small transfer limit, buffers and a table in BARs of their own", async () => {
    const queues = await output("nvme", "get-feature", `/dev/${await controllerOf("ZOO-QUEUES2")}`, "-f", "7");
    assertMatch(queues, /0x0*10001\b/);
    assertEquals([(await identify("ZOO-MDTS1"))["mdts"], (await identify("ZOO-PLAIN"))["mdts"]], [1, 7]);
    assertEquals([await barBytes("ZOO-CMB", 2), await barBytes("ZOO-PMR", 4)], [16 << 20, 16 << 20]);
    assertEquals([await barBytes("ZOO-PLAIN", 2), await barBytes("ZOO-PLAIN", 4)], [0, 0]);
    assert(await barBytes("ZOO-BAR4", 4) > 0);
    assertEquals(await read(`${await functionOf("ZOO-BAR4")}/vendor`), "0x8086");
  });

  lab.test("two controllers of one subsystem share a namespace and have one each", async () => {
    const subsystem = (await list("/sys/class/nvme-subsystem")).map((name) => `/sys/class/nvme-subsystem/${name}`);
    const shared: string[][] = [];
    for (const folder of subsystem) {
      const names = await list(folder);
      if (names.filter((name) => /^nvme\d+$/.test(name)).length === 2) shared.push(names);
    }
    assertEquals(shared.length, 1);
    const devices = (shared[0] ?? []).filter((name) => /^nvme\d+$/.test(name));
    const ids = await Promise.all(devices.map(async (name) => {
      const text = await output("nvme", "list-ns", `/dev/${name}`);
      return [...text.matchAll(/:(0x[0-9a-f]+)/g)].map((match) => Number(match[1]));
    }));
    assertEquals(ids.sort(), [[1, 2], [1, 3]]);
  });

  lab.test("zones of 4 MiB of which 3 MiB can be written", async () => {
    const device = `/dev/${await namespace("ZOO-ZONED")}`;
    const report = JSON.parse(await output("nvme", "zns", "report-zones", device, "-o", "json"));
    assertEquals([report.nr_zones, report.zone_list[0].cap, report.zone_list[1].slba], [16, 6144, 8192]);
    const id = JSON.parse(await output("nvme", "zns", "id-ns", device, "-o", "json"));
    assertEquals([id.mor, id.mar], [3, 7]);
  });

  lab.test("one sector cannot be read, its neighbours can", async () => {
    const device = `/dev/${await namespace("ZOO-FAULTY")}`;
    const reads = async (sector: number): Promise<boolean> =>
      (await new Deno.Command("dd", {
        args: [`if=${device}`, "of=/dev/null", "iflag=direct", "bs=512", "count=1", `skip=${sector}`],
        stderr: "null",
      }).output()).success;
    assertEquals([await reads(2047), await reads(2048), await reads(2049)], [true, false, true]);
  });

  lab.test("fio writes and verifies", async () => {
    const device = `/dev/${await namespace("ZOO-LBA4K")}`;
    const job = "--name=lab --rw=randwrite --bs=4k --size=2M --direct=1 --ioengine=libaio --iodepth=4 --verify=crc32c";
    const report = JSON.parse(await shell(`fio ${job} --filename=${device} --output-format=json`));
    assertEquals([report.jobs[0].error, report.jobs[0].write.io_bytes, report.jobs[0].read.io_bytes], [
      0,
      2 << 20,
      2 << 20,
    ]);
  });
}
