/** A locator's host part chooses the machine in one place, and what is opened through it knows nothing of how it is reached. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";

import { machineOf } from "../../ffi/machine.ts";
import { BusbarError } from "../../src/core/error.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { type NvmeAdmin, registerMachines, type RegisterRange, TextMachine } from "../../src/core/machine.ts";
import { type Mmio, RecordedMmio, type WritableMmio } from "../../src/core/mmio.ts";
import type { OradaxDriver } from "../../src/core/oradax_driver.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { openOradax } from "../../src/oradax/open.ts";
import { openPciDevice } from "../../src/pci/open_device.ts";
import { openConfig } from "../../src/pci/register_access.ts";
import { readTopology } from "../../src/pci/topology.ts";
import { type MadeUpMachine, nvmeMachine } from "./machines.ts";

/** Another machine that notes what is asked of it. */
class OtherMachine extends TextMachine {
  readonly asked: string[] = [];

  readonly madeUp: MadeUpMachine;

  constructor(madeUp: MadeUpMachine = nvmeMachine()) {
    super(madeUp);
    this.madeUp = madeUp;
  }

  override mapRegisters(range: RegisterRange): Mmio & Disposable {
    this.asked.push(`map ${range.path} ${range.offset}+${range.sizeBytes}`);
    const bytes = new Uint8Array(4096).fill(0x42);
    return Object.assign(new RecordedMmio(range.name, 4096, [{ offset: 0, bytes }]), {
      [Symbol.dispose]: (): void => {},
    });
  }

  override openNvmeAdmin(path: string): NvmeAdmin {
    this.asked.push(`open ${path}`);
    return {
      execute: (words, data) => {
        this.asked.push(`command ${words[0]} cns ${words[10]}`);
        data?.set(new TextEncoder().encode("REMOTE-1            "), 4);
        return Promise.resolve({ status: 0, result: 0 });
      },
      [Symbol.dispose]: () => void this.asked.push("close"),
    };
  }

  override openOradax(path: string): OradaxDriver {
    this.asked.push(`open ${path}`);
    if (path.endsWith("1")) throw new BusbarError("absent", `${path}: no such file`, { path });
    const refuse = (): never => {
      throw new Error("not used");
    };
    return {
      name: path,
      allocate: refuse,
      submit: refuse,
      wait: refuse,
      completion: refuse,
      info: refuse,
      kill: refuse,
      dequeue: () => void this.asked.push("dequeue"),
      [Symbol.dispose]: () => void this.asked.push("close"),
    };
  }
}

/** Runs a body while `ssh:` leads to a machine. */
async function reached(body: (machine: OtherMachine, hosts: string[]) => void | Promise<void>): Promise<void> {
  const machine = new OtherMachine();
  const hosts: string[] = [];
  registerMachines("ssh", (host) => {
    hosts.push(host.text);
    return machine;
  });
  try {
    await body(machine, hosts);
  } finally {
    registerMachines("ssh", null);
  }
}

Deno.test("registers, configuration space and the tree of another machine are that machine's", async () => {
  await reached((machine, hosts) => {
    using device = openPciDevice(parseLocator("ssh:me@lab7:22/01:00.0"));
    assertEquals([device.host, device.function.name], [machine.host, "0000:01:00.0"]);
    assertEquals(device.bar(0, { offset: 8, sizeBytes: 8 }).read32(8), 0x4242_4242);
    assertEquals(machine.asked, ["map /sys/bus/pci/devices/0000:01:00.0/resource0 8+8"]);
    using config = openConfig(parseLocator("ssh:lab7/01:00.0"));
    assertEquals(config.bytes.length, 4096);
    assertEquals(readTopology(machineOf(parseLocator("ssh:lab7/")).host).nodes.length, 2);
    assertEquals(hosts, ["ssh:me@lab7:22", "ssh:lab7", "ssh:lab7"]);
  });
});

Deno.test("an NVMe controller of another machine is asked through that machine's kernel, by address, node or name", async () => {
  for (const rest of ["01:00.0", "/dev/nvme3", "nvme3"]) {
    await reached(async (machine) => {
      machine.madeUp.file("/sys/bus/pci/devices/0000:01:00.0/nvme/nvme3/dev", "").file("/dev/nvme3", "");
      machine.madeUp.file("/sys/devices/pci0000:00/0000:00:03.0/0000:01:00.0/nvme/nvme3/dev", "");
      await using controller = await NvmeController.open(`ssh:lab7/${rest}`);
      assertEquals((await controller.identify()).serial, "REMOTE-1", rest);
      assertEquals(machine.asked, ["open /dev/nvme3", "command 6 cns 1"]);
    });
  }
});

Deno.test("an accelerator of another machine, by its node or as what the machine has", async () => {
  await reached((machine) => {
    using dax = openOradax(parseLocator("ssh:m8//dev/oradax2"));
    dax.dequeue();
    assertEquals([dax.dax, dax.kind, machine.asked], [2, "driver", ["open /dev/oradax2", "dequeue"]] as unknown[]);
    machine.asked.length = 0;
    using found = openOradax(parseLocator("ssh:m8/"));
    assertEquals([found.dax, machine.asked], [2, ["open /dev/oradax1", "open /dev/oradax2"]] as unknown[]);
    assertThrows(() => openOradax(parseLocator("ssh:m8/01:00.0")), BusbarError, "is no data analytics accelerator");
  });
});

Deno.test("a function of another machine is not driven, and nothing of this machine is touched instead", async () => {
  await reached(async (machine) => {
    machine.madeUp.links.delete("/sys/devices/pci0000:00/0000:00:03.0/0000:01:00.0/driver");
    for (const options of [{}, { drive: true }, { noIommu: true }]) {
      const error = await assertRejects(() => NvmeController.open("ssh:lab7/01:00.0", options), BusbarError);
      assertEquals([error.code, error.path], ["unsupported", "ssh:lab7/01:00.0"]);
      assert(error.message.includes("on this machine only"), error.message);
    }
    assertEquals([machine.asked, machine.madeUp.writes], [[], []]);
  });
});

Deno.test("what a machine cannot do is refused with its name", () => {
  const machine = new TextMachine(nvmeMachine());
  const range = { name: "BAR0", path: "/sys/x/resource0", offset: 0, sizeBytes: 4 };
  const calls: readonly (() => unknown)[] = [
    (): unknown => machine.mapRegisters(range),
    (): WritableMmio => machine.mapWritableRegisters(range),
    (): unknown => machine.openNvmeAdmin("/dev/nvme0"),
    (): unknown => machine.openOradax("/dev/oradax1"),
    (): unknown => machine.memory,
    (): unknown => machine.files.status("/x"),
  ];
  for (const call of calls) {
    const error = assertThrows(call, BusbarError, "made-up machine cannot");
    assertEquals(error.code, "unsupported");
  }
});
