/**
 * Data through our driver and through the kernel's, on every kind of namespace; what happens when a drive fails or goes.
 * @module
 */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { pause } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { BlockPattern } from "../../src/nvme/jobs/pattern.ts";
import { nvmeStatusOf } from "../../src/nvme/tables/status.ts";
import { toolArgs } from "../soft/tool.ts";
import { Random } from "../unit/random.ts";
import { blockDevice, driven, kernelControllers, must } from "./controllers.ts";
import type { Lab } from "./lab.ts";

/** Namespaces whose blocks the kernel's block layer shows as they are. */
const DATA_DRIVES: readonly (readonly [serial: string, nsid: number])[] = [
  ["ZOO-LBA4K", 1],
  ["ZOO-MDTS1", 1],
  ["ZOO-GAPS", 3],
];

async function controllerWith(serial: string): Promise<{ name: string; address: string }> {
  const controller = (await kernelControllers()).get(serial);
  assert(controller !== undefined, `no controller ${serial}`);
  return controller;
}

async function checksum(path: string, offsetBytes: number, sizeBytes: number): Promise<string> {
  const block = 65536;
  const script = `dd if=${path} bs=${block} skip=${offsetBytes / block} count=${
    sizeBytes / block
  } iflag=direct status=none | sha256sum`;
  return new TextDecoder().decode(await must("sh", "-c", script)).slice(0, 64);
}

async function hashOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** Registers the tests of data paths and failures on the machine `nvme-zoo`. */
export function nvmeDataTests(lab: Lab): void {
  lab.test(
    "what our driver writes the kernel reads, and the other way round, at random places in random lengths",
    async () => {
      const random = new Random("data path");
      for (const [serial, nsid] of DATA_DRIVES) {
        const { address } = await controllerWith(serial);
        const span = 2 << 20;
        const offset = 65536 * random.below(64);
        const written = random.noise(span);
        await driven(address, async (controller) => {
          const namespace = controller.namespace(nsid);
          const { blockBytes } = await namespace.geometry();
          // In pieces of random length, so that transfers begin and end anywhere and are split by MDTS.
          for (let at = 0; at < span;) {
            const blocks = Math.min((span - at) / blockBytes, 1 + random.below((1 << 20) / blockBytes));
            await namespace.write((offset + at) / blockBytes, written.subarray(at, at + blocks * blockBytes));
            at += blocks * blockBytes;
          }
          await namespace.flush();
        });
        const device = await blockDevice(address, nsid);
        assertEquals(
          await checksum(device, offset, span),
          await hashOf(written),
          `${serial}: ours, read by the kernel`,
        );
        const theirs = random.noise(span);
        await Deno.writeFile("/tmp/theirs", theirs);
        await must(
          "dd",
          "if=/tmp/theirs",
          `of=${device}`,
          "bs=65536",
          `seek=${offset / 65536}`,
          "oflag=direct",
          "conv=fsync",
          "status=none",
        );
        await driven(address, async (controller) => {
          const namespace = controller.namespace(nsid);
          const { blockBytes } = await namespace.geometry();
          const read = new Uint8Array(span);
          await namespace.read(offset / blockBytes, read);
          assertEquals(await hashOf(read), await hashOf(theirs), `${serial}: theirs, read by us`);
        });
      }
      closeAll();
    },
    { timeoutMs: 180_000 },
  );

  lab.test("metadata and protection: extended blocks, separate metadata, checked and inserted by the controller", async () => {
    const inline = await controllerWith("ZOO-META");
    await driven(inline.address, async (controller) => {
      const namespace = controller.namespace(1);
      const geometry = await namespace.geometry();
      assertEquals(
        [geometry.blockBytes, geometry.metadataBytes, geometry.metadataInline, geometry.protectionType],
        [4096, 64, true, 1] as unknown[],
      );
      const blocks = new Random("extended").bytes(4 * geometry.transferBytes);
      await namespace.write(16, blocks, { protection: { action: true } });
      const back = new Uint8Array(blocks.length);
      await namespace.read(16, back);
      for (let i = 0; i < 4; i++) {
        const at = i * geometry.transferBytes;
        assertEquals(back.subarray(at, at + 4096), blocks.subarray(at, at + 4096), "the data came back");
        // Type 1: the reference tag is the block's address. Protection stands in the first 8 bytes of the metadata.
        const tag = new DataView(back.buffer, at + 4096 + 4).getUint32(0);
        assertEquals(tag, 16 + i, "the controller inserted the reference tag");
      }
      await namespace.read(16, back, { protection: { checkGuard: true, checkReference: true } });
      const error = await assertRejects(
        () => namespace.read(16, back, { protection: { checkReference: true, referenceTag: 99 } }),
        BusbarError,
      );
      // NVM Command Set 1.0 §5.3.2: with type 1 the tag given must be the block's address.
      assertEquals(nvmeStatusOf(error)?.name, "Invalid Protection Information");
    });
    const apart = await controllerWith("ZOO-META-APART");
    await driven(apart.address, async (controller) => {
      const namespace = controller.namespace(1);
      const geometry = await namespace.geometry();
      assertEquals([geometry.metadataBytes, geometry.metadataInline], [8, false] as unknown[]);
      const [data, metadata] = [new Random("separate").bytes(8 * 512), new Uint8Array(64).map((_, i) => i)];
      await namespace.write(0, data, { metadata });
      const [dataBack, metadataBack] = [new Uint8Array(data.length), new Uint8Array(64)];
      await namespace.read(0, dataBack, { metadata: metadataBack });
      assertEquals([dataBack, metadataBack], [data, metadata]);
    });
    closeAll();
  });

  lab.test("zones: append returns where it wrote, the write pointer moves, a full zone refuses", async () => {
    const { address } = await controllerWith("ZOO-ZONED");
    await driven(address, async (controller) => {
      const namespace = controller.namespace(1);
      await namespace.manageZone("reset", "all");
      const zones = await namespace.reportZones();
      assertEquals([zones.length, zones[0]?.state, zones[0]?.capacityBlocks], [16, 1, 6144n] as unknown[]);
      const start = zones[1]?.startLba ?? 0n;
      const data = new BlockPattern(1, 512);
      const bytes = new Uint8Array(16 * 512);
      for (let i = 0; i < 3; i++) {
        data.fill(bytes, start + BigInt(16 * i));
        assertEquals(await namespace.append(start, bytes), start + BigInt(16 * i));
      }
      const back = new Uint8Array(48 * 512);
      await namespace.read(start, back);
      assertEquals(data.check(back, start), null);
      const [zone] = await namespace.reportZones(start, 1);
      assertEquals([zone?.writePointer, zone?.state], [start + 48n, 2] as unknown[]);
      const wrong = await assertRejects(() => namespace.write(start, bytes), BusbarError);
      assertEquals(nvmeStatusOf(wrong)?.name, "Zone Invalid Write");
      await namespace.manageZone("finish", start);
      const full = await assertRejects(() => namespace.append(start, bytes), BusbarError);
      assertEquals(nvmeStatusOf(full)?.name, "Zone Is Full");
    });
    closeAll();
  });

  lab.test("a drive whose medium fails: the error names the status, and the blocks around it are read", async () => {
    const { address } = await controllerWith("ZOO-FAULTY");
    await driven(address, async (controller) => {
      const namespace = controller.namespace(1);
      const block = new Uint8Array(512);
      const error = await assertRejects(() => namespace.read(2048, block), BusbarError);
      assertEquals([error.code, nvmeStatusOf(error)?.name], ["device-failed", "Unrecovered Read Error"]);
      await namespace.read(4096, block);
    });
    const tool = new Deno.Command(Deno.execPath(), { args: toolArgs("bind", ["vfio", address]) });
    assertEquals((await tool.output()).code, 0);
    const io = await new Deno.Command(Deno.execPath(), {
      args: toolArgs("nvme_io", [address, "read", "--lba", "2040", "--blocks", "64", "--json"]),
    }).output();
    assertEquals(io.code, 1);
    assertEquals(JSON.parse(new TextDecoder().decode(io.stdout)).error.code, "device-failed");
    await new Deno.Command(Deno.execPath(), { args: toolArgs("bind", ["restore", address]) }).output();
    closeAll();
  });

  lab.test("interrupts: 64 transfers complete with MSI-X as they do with polling", async () => {
    const { address } = await controllerWith("ZOO-PLAIN");
    await driven(address, async (controller) => {
      const namespace = controller.namespace(1);
      const pattern = new BlockPattern(3, 512);
      await Promise.all(Array.from({ length: 64 }, async (_, i) => {
        const bytes = new Uint8Array(8 * 512);
        pattern.fill(bytes, BigInt(8 * i));
        await namespace.write(8 * i, bytes);
      }));
      const back = new Uint8Array(512 * 512);
      await namespace.read(0, back);
      assertEquals(pattern.check(back, 0n), null);
    }, { wait: "interrupt", ioQueues: 2 });
    closeAll();
  });

  lab.test("submission queues in the controller's own memory carry the same data", async () => {
    const { address } = await controllerWith("ZOO-CMB");
    const data = new Random("CMB").noise(512 * 1024);
    await driven(address, async (controller) => {
      await controller.namespace(1).write(99, data);
    }, { cmbQueues: true, ioQueues: 2 });
    await driven(address, async (controller) => {
      const back = new Uint8Array(data.length);
      await controller.namespace(1).read(99, back);
      assertEquals(back, data);
    });
    closeAll();
  });

  lab.test("SGLs carry the same data as PRPs", async () => {
    const { address } = await controllerWith("ZOO-PLAIN");
    const data = new Random("SGL").bytes(300 * 512);
    for (const sgl of [true, false]) {
      await driven(address, async (controller) => {
        assert((await controller.identify()).takesSgls);
        if (sgl) await controller.namespace(1).write(77, data);
        const back = new Uint8Array(data.length);
        await controller.namespace(1).read(77, back);
        assertEquals(back, data);
      }, { sgl });
    }
    closeAll();
  });

  lab.test("one driver at a time: a second run is told who has it; a controller that the kernel has is read, not written", async () => {
    const { name, address } = await controllerWith("ZOO-PLAIN");
    {
      await using reader = await NvmeController.open(address);
      assert(reader.isReadOnly);
      assertEquals((await reader.identify()).serial, "ZOO-PLAIN");
      await using node = await NvmeController.open(`/dev/${name}`);
      assertEquals(await node.namespaceIds(), [1]);
      const refused = await assertRejects(() => reader.setFeature(6, 0), BusbarError, "may change something");
      assertEquals(refused.code, "busy");
    }
    const error = await assertRejects(
      () => NvmeController.open(address, { drive: true }),
      BusbarError,
      "the kernel's driver nvme has it",
    );
    assertStringIncludes(error.hint ?? "", `busbar bind vfio ${address}`);
    await driven(address, async (controller) => {
      const second = await new Deno.Command(Deno.execPath(), {
        args: toolArgs("nvme_io", [address, "read", "--blocks", "1"]),
      }).output();
      assertEquals(second.code, 3);
      assertStringIncludes(
        new TextDecoder().decode(second.stderr),
        `another run of busbar drives it (process ${Deno.pid}`,
      );
      await controller.namespace(1).flush();
    });
    closeAll();
  });

  lab.hostTest("pulled out in the middle of I/O: a clear error, exit 1, nothing hung", async (guest, qmp) => {
    const list = await guest.run([
      "sh",
      "-c",
      "for d in /sys/class/nvme/*; do echo $(cat $d/serial) $(basename $(dirname $(dirname $(realpath $d)))); done",
    ]);
    const address = /^ZOO-PLAIN (\S+)$/m.exec(list.stdout)?.[1] ?? "";
    const tool = (name: string, ...args: string[]): string[] => [Deno.execPath(), ...toolArgs(name, args)];
    assertEquals((await guest.run(tool("bind", "vfio", address), { timeoutMs: 60_000 })).code, 0);
    const running = await guest.spawn(tool("nvme_io", address, "bench", "--duration", "60s"));
    const errors = new Response(running.stderr).text();
    const out = new Response(running.stdout).text();
    for (const stream of [errors, out]) stream.catch(() => {});
    const drives = ["sh", "-c", "ls -l /proc/[0-9]*/fd 2> /dev/null | grep -qF '[vfio-device'"];
    await Promise.race([
      running.status,
      (async () => {
        while ((await guest.run(drives)).code !== 0) await pause(200);
        await pause(3000);
      })(),
    ]);
    await qmp.unplug("plain");
    const started = performance.now();
    const code = await running.status;
    const text = await errors;
    await out;
    assertEquals(code, 1, text);
    assert(performance.now() - started < 40_000);
    assertStringIncludes(text, "nvme_io: ");
    await qmp.plug("plain");
    await guest.run(tool("bind", "restore", address), { timeoutMs: 60_000 });
  }, { timeoutMs: 120_000, isLong: true });
}
