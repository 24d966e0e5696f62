import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { blockUses, stackedDevices } from "../../src/core/block_users.ts";
import { BusbarError } from "../../src/core/error.ts";
import { findProcessUses } from "../../src/core/process_uses.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { bindVfio, blockDevicesOf, functionUses, vfioObstacles } from "../../src/pci/bind.ts";
import { examineMachine } from "../../src/pci/doctor.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import { IovaSpace } from "../../src/pci/iova.ts";
import { MadeUpMachine, NVME_FOLDER, nvmeMachine } from "./machines.ts";
import { Random } from "./random.ts";

const NVME = "0000:01:00.0";
const NAMESPACE_FOLDER = `${NVME_FOLDER}/nvme/nvme0/nvme0n1`;

/** The NVMe machine with a namespace, two partitions, and processes. */
function machineWithDrive(): MadeUpMachine {
  return nvmeMachine()
    .link("/sys/class/block/nvme0n1", `../../devices/pci0000:00/0000:00:03.0/${NVME}/nvme/nvme0/nvme0n1`)
    .link("/sys/class/block/nvme0n1p1", `../../devices/pci0000:00/0000:00:03.0/${NVME}/nvme/nvme0/nvme0n1/nvme0n1p1`)
    .link("/sys/class/block/sda", "../../devices/pci0000:00/ata1/sda")
    .file(`${NAMESPACE_FOLDER}/dev`, "259:0\n")
    .file(`${NAMESPACE_FOLDER}/nvme0n1p1/partition`, "1\n")
    .file(`${NAMESPACE_FOLDER}/nvme0n1p1/dev`, "259:1\n")
    .file("/sys/devices/pci0000:00/ata1/sda/dev", "8:0\n")
    .file("/proc/self/mountinfo", "22 1 8:0 / / rw - ext4 /dev/sda rw\n")
    .link("/proc/self/ns/mnt", "mnt:[1]")
    .file("/proc/swaps", "Filename Type Size Used Priority\n")
    .file("/proc/77/comm", "fio\n")
    .link("/sys/kernel/iommu_groups/7/devices/0000:01:00.0", `../../../../devices/pci0000:00/0000:00:03.0/${NVME}`)
    .file("/sys/bus/pci/drivers/vfio-pci/bind", "")
    .file("/sys/bus/pci/drivers/vfio-pci/unbind", "")
    .file("/sys/bus/pci/drivers/nvme/unbind", "")
    .file("/sys/bus/pci/drivers_probe", "")
    .file(`${NVME_FOLDER}/driver_override`, "(null)\n");
}

const free = (): boolean => false;

Deno.test("the block devices of a function are its namespaces, not their partitions, nor other drives", () => {
  const machine = machineWithDrive();
  assertEquals(blockDevicesOf(machine, readPciFunction(machine, NVME)), ["nvme0n1"]);
  assertEquals(stackedDevices(machine, "nvme0n1"), ["nvme0n1", "nvme0n1p1"]);
});

Deno.test("a namespace behind native multipath lives under the subsystem, and is found there", () => {
  const machine = machineWithDrive();
  machine.links.delete("/sys/class/block/nvme0n1");
  machine
    .link("/sys/class/nvme-subsystem/nvme-subsys0", "../../devices/virtual/nvme-subsystem/nvme-subsys0")
    .link(
      "/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0",
      `../../../pci0000:00/0000:00:03.0/${NVME}/nvme/nvme0`,
    )
    .file(`${NVME_FOLDER}/nvme/nvme0/serial`, "X\n")
    .file("/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/dev", "259:0\n")
    .link("/sys/class/block/nvme0n1", "../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1");
  assertEquals(blockDevicesOf(machine, readPciFunction(machine, NVME)), ["nvme0n1"]);
});

/** What makes a drive in use, and the sentence about it. */
const USES: readonly [(machine: MadeUpMachine) => void, string][] = [
  [
    (machine) => machine.file("/proc/self/mountinfo", "30 22 259:1 / /mnt/a\\040b rw - xfs /dev/nvme0n1p1 rw\n"),
    "nvme0n1p1 is mounted on /mnt/a b",
  ],
  [
    (machine) =>
      machine.link("/proc/55/ns/mnt", "mnt:[2]").file("/proc/55/mountinfo", "9 1 259:0 / /data rw - ext4 /dev/x rw\n"),
    "nvme0n1 is mounted on /data",
  ],
  [
    (machine) => machine.file("/proc/self/mountinfo", "30 22 0:44 / /b rw - btrfs /dev/nvme0n1p1 rw\n"),
    "nvme0n1p1 is mounted on /b",
  ],
  [
    (machine) => machine.file("/proc/swaps", "Filename Type\n/dev/nvme0n1p1 partition 1 0 -2\n"),
    "nvme0n1p1 is swap space",
  ],
  [
    (machine) =>
      machine.file(`${NAMESPACE_FOLDER}/nvme0n1p1/holders/dm-0`, "").file("/sys/class/block/dm-0/dm/name", "vg-root\n"),
    "nvme0n1p1 is part of dm-0 (vg-root)",
  ],
  [(machine) => machine.file(`${NAMESPACE_FOLDER}/holders/md127`, ""), "nvme0n1 is part of md127"],
  [(machine) => machine.link("/proc/77/fd/3", "/dev/nvme0n1p1"), "fio (process 77) has /dev/nvme0n1p1 open"],
];

Deno.test("every use of a drive is found and said, also in other mount namespaces and through what is stacked on it", () => {
  for (const [make, text] of USES) {
    const machine = machineWithDrive();
    make(machine);
    assertEquals(blockUses(machine, ["nvme0n1"], free).map((use) => use.text), [text]);
  }
  assertEquals(blockUses(machineWithDrive(), ["nvme0n1"], free), []);
});

Deno.test("what is stacked on a stack is found, and loops of holders end", () => {
  const machine = machineWithDrive()
    .file(`${NAMESPACE_FOLDER}/holders/md127`, "")
    .file("/sys/class/block/md127/holders/dm-0", "")
    .file("/sys/class/block/dm-0/dev", "253:0\n")
    .file("/sys/class/block/dm-0/holders/md127", "")
    .file("/proc/self/mountinfo", "30 22 253:0 / /home rw - ext4 /dev/mapper/x rw\n");
  const uses = blockUses(machine, ["nvme0n1"], free).map((use) => use.text);
  assert(uses.includes("dm-0 is mounted on /home"), uses.join("; "));
});

Deno.test("a user that leaves no trace but holds the device is found by the kernel's refusal", () => {
  const machine = machineWithDrive();
  const fn = readPciFunction(machine, NVME);
  const [use] = functionUses(machine, fn, (device) => device === "nvme0n1");
  assertStringIncludes(use?.text ?? "", "nvme0n1 is held by the kernel");
});

Deno.test("processes are found by what they have open and mapped; those that may not be looked into are passed over", () => {
  const machine = machineWithDrive()
    .link("/proc/77/fd/9", "/dev/vfio/7")
    .file("/proc/78/comm", "with space\n")
    .file("/proc/78/maps", "7f00-7f10 rw-s 00000000 00:15 123   /sys/devices/x/resource0\n7f10-7f20 r--p 0 0 0 \n");
  const uses = findProcessUses(machine, (path) => path === "/dev/vfio/7" || path.endsWith("/resource0"));
  assertEquals(uses.map((use) => [use.pid, use.command, use.how]), [[77, "fio", "open"], [78, "with space", "mapped"]]);
});

/** A machine whose drivers_probe and unbind files work as Linux's do. */
function bindableMachine(): MadeUpMachine {
  const machine = machineWithDrive();
  machine.onWrite = (path, text): void => {
    const driver = `${NVME_FOLDER}/driver`;
    if (path.endsWith("/unbind") && text === NVME) machine.links.delete(driver);
    if (path !== "/sys/bus/pci/drivers_probe") return;
    const override = machine.readText(`${NVME_FOLDER}/driver_override`).trim();
    machine.link(driver, `../../../../bus/pci/drivers/${override === "(null)" ? "nvme" : override}`);
  };
  machine.shownAs = (path, text): string => path.endsWith("/driver_override") && text === "\n" ? "(null)\n" : text;
  return machine;
}

function withJournal(machine: MadeUpMachine, body: (journal: UndoJournal) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    using journal = new UndoJournal(machine, { command: "test", folder: `${folder}/j` });
    body(journal);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("binding to vfio-pci: override, unbind, probe; undone in the order that gives the old driver back", () => {
  const machine = bindableMachine();
  withJournal(machine, (journal) => {
    bindVfio(journal, machine, readPciFunction(machine, NVME), { isClaimed: free });
    assertEquals(readPciFunction(machine, NVME).driver, "vfio-pci");
  });
  assertEquals(readPciFunction(machine, NVME).driver, "nvme");
  assertEquals(machine.writes.map((write) => write.replace("/sys/bus/pci/", "")), [
    `drivers/nvme/unbind=${NVME}`,
    `devices/${NVME}/driver_override=vfio-pci`,
    `drivers_probe=${NVME}`,
    `drivers/vfio-pci/unbind=${NVME}`,
    `devices/${NVME}/driver_override=\n`,
    `drivers_probe=${NVME}`,
  ]);
});

Deno.test("each obstacle refuses the binding before anything is written, and says what to do", () => {
  const cases: readonly (readonly [(machine: MadeUpMachine) => void, string, string, string])[] = [
    ...USES.map(([make, text]) => [make, "busy", text, "--force takes it away all the same"] as const),
    [
      (machine) => machine.remove("/sys/bus/pci/drivers/vfio-pci"),
      "unsupported",
      "vfio-pci is not loaded",
      "modprobe vfio-pci",
    ],
    [
      (machine) => machine.links.delete(`${NVME_FOLDER}/iommu_group`),
      "unsupported",
      "in no IOMMU group",
      "intel_iommu=on",
    ],
    [
      (machine) =>
        machine.file("/sys/kernel/iommu_groups/7/devices/0000:01:00.1", "").link(
          "/sys/bus/pci/devices/0000:01:00.1/driver",
          "../snd_hda_intel",
        ),
      "unsupported",
      "IOMMU group 7 also holds 0000:01:00.1 (snd_hda_intel)",
      "unbind those too",
    ],
  ];
  for (const [make, code, message, hint] of cases) {
    const machine = bindableMachine();
    make(machine);
    withJournal(machine, (journal) => {
      const error = assertThrows(
        () => bindVfio(journal, machine, readPciFunction(machine, NVME), { isClaimed: free }),
        BusbarError,
        message,
      );
      assertEquals(error.code, code, message);
      assertStringIncludes(error.hint ?? "", hint);
    });
    assertEquals(machine.writes, [], message);
  }
});

Deno.test("--force takes a drive that is in use, but not one that cannot be given away", () => {
  const machine = bindableMachine().file("/proc/swaps", "Filename\n/dev/nvme0n1 partition 1 0 -2\n");
  withJournal(machine, (journal) => {
    bindVfio(journal, machine, readPciFunction(machine, NVME), { isClaimed: free, force: true });
    assertEquals(readPciFunction(machine, NVME).driver, "vfio-pci");
  });
  const impossible = bindableMachine();
  impossible.links.delete(`${NVME_FOLDER}/iommu_group`);
  withJournal(impossible, (journal) => {
    const fn = readPciFunction(impossible, NVME);
    assertThrows(
      () => bindVfio(journal, impossible, fn, { isClaimed: free, force: true }),
      BusbarError,
      "no IOMMU group",
    );
  });
});

Deno.test("a mount that comes between the check and the unbind is still seen", () => {
  const machine = bindableMachine();
  let asked = 0;
  withJournal(machine, (journal) => {
    const fn = readPciFunction(machine, NVME);
    const isClaimed = (): boolean => {
      // The first look finds nothing; then somebody mounts it.
      if (++asked === 2) machine.file("/proc/self/mountinfo", "30 22 259:0 / /late rw - xfs /dev/nvme0n1 rw\n");
      return false;
    };
    assertThrows(() => bindVfio(journal, machine, fn, { isClaimed }), BusbarError, "nvme0n1 is mounted on /late");
  });
  assertEquals(machine.writes, []);
  assert(vfioObstacles(machine, readPciFunction(machine, NVME), free).length === 1);
});

Deno.test("device addresses: above 4 GiB, apart from each other, inside the ranges, and used again after they are freed", () => {
  const random = new Random("IOVA");
  const space = new IovaSpace(
    [{ first: 0n, last: 0xfedf_ffffn }, { first: 0xfef0_0000n, last: (1n << 39n) - 1n }],
    4096,
  );
  const held = new Map<bigint, bigint>();
  for (let i = 0; i < 2000; i++) {
    if (held.size > 0 && random.below(3) === 0) {
      const iova = random.pick([...held.keys()]);
      space.free(iova);
      held.delete(iova);
      continue;
    }
    const size = BigInt(1 + random.below(1 << 20));
    const iova = space.allocate(size);
    assert(iova >= 1n << 32n && iova % 4096n === 0n && iova + size <= 1n << 39n);
    for (const [other, otherSize] of held) {
      const apart = iova >= (other + otherSize + 4095n) / 4096n * 4096n + 4096n ||
        other >= (iova + size + 4095n) / 4096n * 4096n + 4096n;
      assert(apart, "a page lies between two pieces");
    }
    held.set(iova, size);
  }
  const small = new IovaSpace([{ first: 0n, last: 0xffffn }], 4096);
  assertEquals(small.allocate(4096n), 4096n, "low addresses where there is nothing else, never 0");
  assertThrows(() => small.allocate(1n << 20n), BusbarError, "no 1048576 bytes of addresses");
  assertThrows(() => small.free(1n), BusbarError);
  assertEquals(new IovaSpace([], 4096).allocate(1n), 1n << 32n);
});

Deno.test("the doctor finds what each machine lacks, with evidence and remedy", () => {
  const finding = (machine: MadeUpMachine, name: string): unknown[] => {
    const found = examineMachine(machine).find((one) => one.name === name);
    return [found?.result, found?.remedy !== null, (found?.evidence ?? "") !== ""];
  };
  const good = machineWithDrive()
    .file("/dev/vfio/vfio", "")
    .file("/proc/cmdline", "root=/dev/sda intel_iommu=on iomem=relaxed\n")
    .file("/proc/meminfo", "HugePages_Total:      64\nHugePages_Free:       60\nHugepagesize:       2048 kB\n")
    .file("/proc/mounts", "hugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\n")
    .file("/proc/self/limits", "Max locked memory         unlimited            unlimited            bytes\n");
  for (
    const name of [
      "environment",
      "IOMMU",
      "VFIO driver",
      "huge pages",
      "locked memory",
      "kernel lockdown",
      "BARs of bound devices",
      "BAR addresses",
    ]
  ) {
    assertEquals(finding(good, name), ["good", false, true], name);
  }
  // A virtual machine whose root is a container's image, such as the lab's guest, is no container.
  const guest = machineWithDrive().file("/.dockerenv", "");
  assertEquals(finding(guest, "environment")[0], "limited");
  for (const name of ["ipc:[4026531839]", "uts:[4026531838]", "pid:[4026531836]", "cgroup:[4026531835]"]) {
    guest.link(`/proc/self/ns/${name.split(":")[0]}`, name);
  }
  assertEquals(finding(guest, "environment")[0], "good");
  const cases: readonly [string, string, (machine: MadeUpMachine) => void][] = [
    ["IOMMU", "bad", (machine) => machine.remove("/sys/kernel/iommu_groups")],
    ["environment", "bad", (machine) => machine.file("/proc/sys/kernel/osrelease", "5.15.0-microsoft-standard-WSL2\n")],
    ["environment", "limited", (machine) => machine.file("/.dockerenv", "")],
    ["VFIO driver", "bad", (machine) => machine.remove("/sys/bus/pci/drivers/vfio-pci")],
    [
      "huge pages",
      "limited",
      (machine) => machine.file("/proc/meminfo", "HugePages_Total: 0\nHugePages_Free: 0\nHugepagesize: 2048 kB\n"),
    ],
    ["huge pages", "limited", (machine) => machine.file("/proc/mounts", "")],
    [
      "locked memory",
      "limited",
      (machine) =>
        machine.file(
          "/proc/self/limits",
          "Max locked memory         8388608              8388608              bytes\n",
        ),
    ],
    [
      "kernel lockdown",
      "limited",
      (machine) => machine.file("/sys/kernel/security/lockdown", "none [confidentiality]\n"),
    ],
    [
      "BARs of bound devices",
      "limited",
      (machine) => machine.file("/proc/cmdline", "x\n").file("/boot/config-6.12.0-test", "CONFIG_IO_STRICT_DEVMEM=y\n"),
    ],
    ["BAR addresses", "limited", (machine) => machine.file(`${NVME_FOLDER}/resource`, "0x0 0x3fff 0x140204\n")],
  ];
  for (const [name, result, change] of cases) {
    const machine = new MadeUpMachine();
    for (const [path, bytes] of good.files) machine.files.set(path, bytes);
    for (const [path, target] of good.links) machine.links.set(path, target);
    change(machine);
    assertEquals(finding(machine, name), [result, true, true], name);
  }
  assert(examineMachine(new MadeUpMachine()).length === 10, "a machine that shows nothing is examined too");
});
