import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import fc from "fast-check";

import { BusbarError } from "../../src/core/error.ts";
import { loadMachine, parseMachine, SHIPPED } from "../../src/lab/machine_file.ts";
import { checkMachine } from "../../src/lab/schema.ts";

/** A description that is right but for the lines given. */
function withPurpose(...lines: string[]): string {
  return ["purpose: x", ...lines].join("\n");
}

/** Descriptions with one mistake each, and what is said about it. */
const BAD: readonly (readonly [string, string])[] = [
  [
    "[]",
    "the description: [] is not allowed; write keys and values",
  ],
  [
    "purpose: 5",
    "purpose: 5 is not allowed; write one line that says what the machine is for",
  ],
  [
    "cpus: 2",
    "purpose: missing; write one line that says what the machine is for",
  ],
  [
    withPurpose("cpuz: 2"),
    "cpuz: no such key; did you mean 'cpus'?",
  ],
  [
    withPurpose("cpus: 0"),
    "cpus: 0 is not allowed; write a whole number from 1 to 64",
  ],
  [
    withPurpose("cpus: 1.5"),
    "cpus: 1.5 is not allowed; write a whole number from 1 to 64",
  ],
  [
    withPurpose("memory: 2"),
    "memory: 2 is not allowed; write a size of at least 512MiB, in whole MiB",
  ],
  [
    withPurpose("memory: 2 bananas"),
    "memory: '2 bananas' is not allowed; write a size of at least 512MiB, in whole MiB",
  ],
  [
    withPurpose("memory: 100MiB"),
    "memory: '100MiB' is not allowed; write a size of at least 512MiB, in whole MiB",
  ],
  [
    withPurpose("kvm: yes please"),
    "kvm: 'yes please' is not allowed; write true or false",
  ],
  [
    withPurpose("kernel-arguments: [a b]"),
    "kernel-arguments[0]: 'a b' is not allowed; write a word without spaces",
  ],
  [
    withPurpose("initrd: my.cpio"),
    "initrd: 'my.cpio' is not allowed without a kernel; write its kernel too",
  ],
  [
    withPurpose("memory: 2GiB", "nodes: [{cpus: [0, 1], memory: 1GiB}]"),
    "nodes: their memory is 1 GiB together; write parts that add up to memory: 2 GiB",
  ],
  [
    withPurpose("memory: 2GiB", "nodes: [{cpus: [0], memory: 2GiB}]"),
    "nodes: processor 1 is in no node; list it under cpus of one",
  ],
  [
    withPurpose("memory: 2GiB", "nodes: [{cpus: [0, 1, 7], memory: 2GiB}]"),
    "nodes[0].cpus: 7 is not allowed; the processors are 0 to 1",
  ],
  [
    withPurpose("devices: {type: nvme}"),
    'devices: {"type":"nvme"} is not allowed; write a list of devices',
  ],
  [
    withPurpose("devices: [{type: nvem, id: a}]"),
    "devices[0].type: 'nvem' is not allowed; did you mean 'nvme'?",
  ],
  [
    withPurpose("devices: [{type: gpu, id: a}]"),
    "devices[0].type: 'gpu' is not allowed; write one of nvme, nvdimm, cxl-type3, ivshmem-plain, edu, pci-testdev, pci-serial, virtio-rng-pci, virtio-balloon-pci, qemu",
  ],
  [
    withPurpose("devices: [{type: nvme}]"),
    "devices[0].id: missing; write a name of letters, digits, '-', '_' and '.', beginning with a letter",
  ],
  [
    withPurpose("devices: [{type: nvme, id: 9lives}]"),
    "devices[0].id: '9lives' is not allowed; write a name of letters, digits, '-', '_' and '.', beginning with a letter",
  ],
  [
    withPurpose("devices: [{type: nvme, id: a, serail: X}]"),
    "devices[0].serail: no such key; did you mean 'serial'?",
  ],
  [
    withPurpose("devices: [{type: nvme, id: a, max-ioqpairs: 2}]"),
    "devices[0].max-ioqpairs: no such key; did you mean 'max_ioqpairs'?",
  ],
  [
    withPurpose("devices: [{type: nvme, id: a, max_ioqpairs: 0}]"),
    "devices[0].max_ioqpairs: 0 is not allowed; write a whole number from 1 to 65535",
  ],
  [
    withPurpose("devices: [{type: nvme, id: a, serial: '123456789012345678901'}]"),
    "devices[0].serial: '123456789012345678901' is not allowed; write 1 to 20 printable characters",
  ],
  [
    withPurpose("devices: [{type: nvme, id: a, cmb: 1KiB}]"),
    "devices[0].cmb: '1KiB' is not allowed; write a size in whole MiB such as 16MiB",
  ],
  [
    withPurpose("devices: [{type: nvme, id: a, pmr: 3MiB}]"),
    "devices[0].pmr: '3MiB' is not allowed; write a power of two of at least 4KiB, such as 16MiB",
  ],
  [
    withPurpose("devices: [{type: nvme, id: a, pmr: 4MiB, msix-exclusive-bar: true}]"),
    "devices[0].pmr: '4 MiB' is not allowed; msix-exclusive-bar takes BAR 4, which it needs",
  ],
  [
    withPurpose("devices: [{type: nvme, id: a, namespaces: [{size: 4MiB, logical_block_size: 1000}]}]"),
    "devices[0].namespaces[0].logical_block_size: 1000 is not allowed; write one of 512, 1024, 2048, 4096, 8192, 16384, 32768",
  ],
  [
    withPurpose("devices: [{type: nvme, id: a, namespaces: [{nsid: 1, size: 4MiB}, {nsid: 1, size: 4MiB}]}]"),
    "devices[0].namespaces[1].nsid: 1 is used twice; write a different one",
  ],
  [
    withPurpose("devices: [{type: nvme, id: a, namespaces: [{size: 4MiB, pi: 1}]}]"),
    "devices[0].namespaces[0].pi: 1 is not allowed; protection information needs ms: 8 or more",
  ],
  [
    withPurpose("devices: [{type: nvme, id: a, namespaces: [{size: 4MiB, shared: true}]}]"),
    "devices[0].namespaces[0].shared: true is not allowed; name the controller's subsystem first",
  ],
  [
    withPurpose("devices: [{type: nvme, id: a, namespaces: [{size: 4MiB, zoned: {zone_size: 8MiB}}]}]"),
    "devices[0].namespaces[0].zoned.zone_size: '8 MiB' is not allowed; write whole blocks, at most the size",
  ],
  [
    withPurpose("devices: [{type: nvme, id: a, namespaces: [{size: 4MiB, errors: [{event: read}]}]}]"),
    "devices[0].namespaces[0].errors[0].event: 'read' is not allowed; write one of read_aio, write_aio, flush_to_disk, flush_to_os, pwritev, pwritev_zero, none",
  ],
  [
    withPurpose("devices: [{type: edu, id: a}, {type: edu, id: a}]"),
    "devices[1].id: 'a' is already the id of devices[0]; write a different one",
  ],
  [
    withPurpose("devices: [{type: edu, id: lab-a}]"),
    "devices[0].id: 'lab-a' is not allowed; names that begin with lab- belong to the lab",
  ],
  [
    withPurpose("devices: [{type: edu, id: a, bus: port0}]"),
    "devices[0].bus: 'port0' is no bus; write pcie.0, a pxb-pcie, a pcie-root-port or a port of a switch, a pcie-pci-bridge or pci-bridge",
  ],
  [
    withPurpose("buses: [{type: pcie-root-port, id: port0}]", "devices: [{type: edu, id: a, bus: prot0}]"),
    "devices[0].bus: 'prot0' is no bus; did you mean 'port0'?",
  ],
  [
    withPurpose(
      "buses: [{type: pcie-root-port, id: port0}]",
      "devices: [{type: edu, id: a, bus: port0}, {type: edu, id: b, bus: port0}]",
    ),
    "devices[1].bus: 'port0' is taken by a; a port takes one device",
  ],
  [
    withPurpose("buses: [{type: pcie-pci-bridge, id: br}]", "devices: [{type: edu, id: a, bus: br, hotplug: true}]"),
    "devices[0].bus: 'br' cannot unplug; with hotplug: true leave bus out, or name a pcie-root-port or a port of a switch",
  ],
  [
    withPurpose("devices: [{type: edu, id: a, bus: pcie.0, hotplug: true}]"),
    "devices[0].bus: 'pcie.0' cannot unplug; with hotplug: true leave bus out, or name a pcie-root-port or a port of a switch",
  ],
  [
    withPurpose("devices: [{type: edu, id: a, addr: 1, hotplug: true}]"),
    "devices[0].addr: '1' is not allowed; a port of its own has one slot",
  ],
  [
    withPurpose("buses: [{type: switch, id: sw, bus: port0, ports: [a, b]}, {type: pcie-root-port, id: port0}]"),
    "buses[0].bus: 'port0' comes later; list a bus after the one it sits on",
  ],
  [
    withPurpose("buses: [{type: switch, id: sw, ports: [a, b]}]"),
    "buses[0].bus: missing; a switch sits on a pcie-root-port or a port of a switch",
  ],
  [
    withPurpose("buses: [{type: pcie-root-port, id: port0}, {type: switch, id: sw, bus: port0, ports: []}]"),
    "buses[1].ports: [] is not allowed; write at least one name for a downstream port",
  ],
  [
    withPurpose("buses: [{type: cxl-rp, id: rp}]"),
    "buses[0].bus: missing; a cxl-rp sits on a pxb-cxl",
  ],
  [
    withPurpose("buses: [{type: pxb-pcie, id: r2}]"),
    "buses[0].bus_nr: missing; write a whole number from 1 to 255",
  ],
  [
    withPurpose("buses: [{type: pxb-pcie, id: r2, bus_nr: 64}, {type: pxb-pcie, id: r3, bus_nr: 64}]"),
    "buses[1].bus_nr: 64 is already the number of r2",
  ],
  [
    withPurpose("buses: [{type: pxb-pcie, id: r2, bus_nr: 64, node: 1}]"),
    "buses[0].node: 1 is not allowed; list the machine's nodes first",
  ],
  [
    withPurpose("devices: [{type: nvdimm, id: n, size: 256MiB, node: 1}]"),
    "devices[0].node: 1 is not allowed; list the machine's nodes first",
  ],
  [
    withPurpose("devices: [{type: nvdimm, id: n, size: 257KiB}]"),
    "devices[0].size: '257KiB' is not allowed; write a multiple of 2MiB",
  ],
  [
    withPurpose(
      "buses: [{type: pxb-cxl, id: c, bus_nr: 64}, {type: cxl-rp, id: rp, bus: c}]",
      "devices: [{type: cxl-type3, id: m, bus: rp}]",
    ),
    "devices[0]: a cxl-type3 without memory; write volatile, persistent or both",
  ],
  [
    withPurpose(
      "buses: [{type: pxb-cxl, id: c, bus_nr: 64}, {type: cxl-rp, id: rp, bus: c}]",
      "devices: [{type: cxl-type3, id: m, bus: rp, volatile: 100MiB}]",
    ),
    "devices[0].volatile: '100MiB' is not allowed; write a multiple of 256MiB",
  ],
  [
    withPurpose("devices: [{type: cxl-type3, id: m, volatile: 256MiB}]"),
    "devices[0].bus: missing; a cxl-type3 sits on a cxl-rp or a port of a cxl-switch",
  ],
  [
    withPurpose(
      "buses: [{type: pxb-cxl, id: c, bus_nr: 64}, {type: cxl-rp, id: rp, bus: c}]",
      "devices: [{type: cxl-type3, id: m, bus: rp, volatile: 256MiB, lsa: 1MiB}]",
    ),
    "devices[0].lsa: '1 MiB' is not allowed; only persistent memory has labels",
  ],
  [
    withPurpose("windows: [{targets: [c], size: 1GiB}]"),
    "windows[0].targets[0]: 'c' is no pxb-cxl bus; list one under buses",
  ],
  [
    withPurpose(
      "buses: [{type: pxb-cxl, id: c, bus_nr: 64}, {type: cxl-rp, id: rp, bus: c}]",
      "devices: [{type: cxl-type3, id: m, bus: rp, volatile: 512MiB}]",
      "windows: [{targets: [c], size: 256MiB}]",
    ),
    "windows[0].size: '256 MiB' is not allowed; write at least 512 MiB, the memory behind its targets",
  ],
  [
    withPurpose(
      "buses: [{type: pxb-cxl, id: c, bus_nr: 64}]",
      "windows: [{targets: [c], size: 256MiB, granularity: 300}]",
    ),
    "windows[0].granularity: 300 is not allowed; write one of 256, 512, 1024, 2048, 4096, 8192, 16384",
  ],
  [
    withPurpose("buses: [{type: pxb-cxl, id: c, bus_nr: 64}]", "windows: [{targets: [c, c], size: 256MiB}]"),
    "windows[0].targets[1]: 'c' is listed twice",
  ],
  [
    withPurpose("devices: [{type: ivshmem-plain, id: i, size: 3MiB}]"),
    "devices[0].size: '3MiB' is not allowed; write a power of two of at least 4KiB, such as 16MiB",
  ],
  [
    withPurpose("devices: [{type: qemu, id: q}]"),
    "devices[0].device: missing; write the name of a QEMU device",
  ],
  [
    withPurpose("devices: [{type: edu, id: e, device: foo}]"),
    "devices[0].device: 'foo' is not allowed; it belongs to type: qemu",
  ],
  [
    withPurpose("devices: [{type: edu, id: e, membar: 4KiB}]"),
    "devices[0].membar: '4 KiB' is not allowed; it belongs to type: pci-testdev",
  ],
  [
    withPurpose("devices: [{type: edu, id: e, addr: 99}]"),
    "devices[0].addr: 99 is not allowed; write a slot such as 3 or '3.1', hexadecimal",
  ],
  [
    withPurpose("  bad indent: ["),
    "not YAML: Cannot read block: bad indentation of a mapping entry at line 2, column 13:",
  ],
];

Deno.test("every mistake in a machine description has one line: where, what was found, what is allowed", async () => {
  for (const [text, message] of BAD) {
    const error = await assertRejects(() => parseMachine(text, "/machines/bad.yaml"), BusbarError);
    assertEquals(error.message, `bad.yaml: ${message}`);
    assertEquals(error.exitStatus, 2);
  }
});

Deno.test("several mistakes are reported together, a line for each", async () => {
  const text = withPurpose("cpuz: 2", "memory: lots", "devices: [{type: nvme, id: a, serail: X, mdts: 256}]");
  const error = await assertRejects(() => parseMachine(text, "/machines/bad.yaml"), BusbarError);
  assertEquals(error.message.split("\n"), [
    "bad.yaml: memory: 'lots' is not allowed; write a size of at least 512MiB, in whole MiB",
    "bad.yaml: devices[0].mdts: 256 is not allowed; write a whole number from 0 to 255",
    "bad.yaml: devices[0].serail: no such key; did you mean 'serial'?",
    "bad.yaml: cpuz: no such key; did you mean 'cpus'?",
  ]);
});

Deno.test("what is left out has a default, and sizes are bytes", async () => {
  const { machine, name } = await parseMachine(
    withPurpose("devices: [{type: nvme, id: a, namespaces: [{size: 1GiB}, {size: 64MiB, nsid: 1}, {size: 2MiB}]}]"),
    "/machines/mine.yml",
  );
  assertEquals(name, "mine");
  assertEquals([machine.cpus, machine.memory, machine.kvm, machine.iommu], [2, 2n << 30n, false, false]);
  const [device] = machine.devices;
  if (device?.type !== "nvme") throw new Error("not an NVMe controller");
  assertEquals(device.namespaces.map(({ nsid, size }) => [nsid, size]), [[2, 1n << 30n], [1, 64n << 20n], [
    3,
    2n << 20n,
  ]]);
});

Deno.test("a machine's name is its file's, as a host name", async () => {
  const name = async (path: string): Promise<string> => (await parseMachine(withPurpose(), path)).name;
  assertEquals(
    await Promise.all(["/a/nvme-zoo.yaml", "/a/my (2nd) machine.yml", "/a/.yaml", "b.yaml.yaml"].map(name)),
    [
      "nvme-zoo",
      "my-2nd-machine",
      "machine",
      "b-yaml",
    ],
  );
});

Deno.test("paths in a description start from its folder", async () => {
  const text = withPurpose(
    "kernel: boot/vmlinuz",
    "disk: /images/a.qcow2",
    "devices: [{type: nvdimm, id: n, size: 2MiB, file: n.img}]",
  );
  const { machine } = await parseMachine(text, "/machines/mine.yaml");
  const [device] = machine.devices;
  assertEquals([machine.kernel, machine.disk, device?.type === "nvdimm" ? device.file : null], [
    "/machines/boot/vmlinuz",
    "/images/a.qcow2",
    "/machines/n.img",
  ]);
});

Deno.test("a machine that does not exist is an error that names those that do", async () => {
  const error = await assertRejects(() => loadMachine("nvem"), BusbarError);
  assertEquals(error.message, "'nvem' is no machine that comes with busbar");
  assertStringIncludes(error.hint ?? "", "did you mean 'nvme'?");
  assertEquals((await assertRejects(() => loadMachine("./absent.yaml"), BusbarError)).code, "absent");
});

Deno.test("every machine that comes with busbar is right, and says in a comment what it is for", async () => {
  for (const name of SHIPPED) {
    const { path } = await loadMachine(name);
    const text = await Deno.readTextFile(path);
    assertEquals(text.startsWith("# "), true, `${name} begins with a comment`);
  }
  const folder = new URL("../../src/lab/machines/", import.meta.url);
  const files = (await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name)).sort();
  assertEquals(files, SHIPPED.map((name) => `${name}.yaml`).sort());
});

Deno.test("no value at all makes the checker throw", () => {
  fc.assert(
    fc.property(fc.anything({ maxDepth: 5 }), (value) => {
      checkMachine(value);
      checkMachine({ purpose: "x", devices: [value], buses: [value], windows: [value], nodes: [value] });
    }),
    { numRuns: 2000 },
  );
});
