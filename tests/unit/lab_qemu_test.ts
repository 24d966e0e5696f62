import { assertEquals, assertStringIncludes } from "@std/assert";

import { loadMachine, parseMachine, SHIPPED } from "../../src/lab/machine_file.ts";
import { type Places, planMachine, type QemuPlan, shellText } from "../../src/lab/qemu.ts";

const PLACES: Places = {
  qemu: "/image/qemu-system-x86_64",
  kernel: "/image/vmlinuz",
  initramfs: "/cache/first-root.cpio",
  tools: "/image/root",
  name: "test",
  folder: "/run",
  sockets: "/sockets",
  share: "/run/share",
  shareAttributes: "mapped-xattr",
};

/** Plans a description that is right but for the lines given. */
async function plan(lines: string, places: Partial<Places> = {}): Promise<QemuPlan> {
  const { machine } = await parseMachine(`purpose: test\n${lines}`, "/machines/test.yaml");
  return planMachine(machine, { ...PLACES, ...places });
}

/** The values that follow an option, in order. */
function values(plan: QemuPlan, option: string): string[] {
  return plan.argv.flatMap((word, i) => word === option ? [plan.argv[i + 1] ?? ""] : []);
}

Deno.test("the command line of every machine that comes with busbar is the one recorded", async (t) => {
  // To record them anew after a wanted change: BUSBAR_RECORD=1 deno test -A tests/unit/lab_qemu_test.ts
  const record = Deno.env.get("BUSBAR_RECORD") === "1";
  for (const name of SHIPPED) {
    await t.step(name, async () => {
      const { machine } = await loadMachine(name);
      const text = shellText(planMachine(machine, { ...PLACES, name }), PLACES.folder) + "\n";
      const file = new URL(`../fixtures/lab/${name}.txt`, import.meta.url);
      if (record) await Deno.writeTextFile(file, text);
      assertEquals(text, await Deno.readTextFile(file));
    });
  }
});

Deno.test("the modules of a kernel are given to a guest that would not see them otherwise", async () => {
  const tags = async (modules: string): Promise<string[]> =>
    values(await plan("", { modules }), "-device").flatMap((value) => /mount_tag=([^,]*)/.exec(value)?.[1] ?? []);
  for (const seen of ["/image/root/usr/lib/modules/6.12", "/lib/modules/6.12", "/usr/lib/modules/6.12", ""]) {
    assertEquals(await tags(seen), ["host", "tools", "share"]);
  }
  assertEquals(await tags("/kernels/7.3/usr/lib/modules/7.3"), ["host", "tools", "share", "modules"]);
});

Deno.test("the same description gives the same command line, and nothing is read or made", async () => {
  const text = "devices: [{type: nvme, id: a, namespaces: [{size: 1MiB, file: /does/not/exist}]}]";
  const [first, second] = [await plan(text), await plan(text)];
  assertEquals(first.argv, second.argv);
  assertEquals(first.files, [{ path: "/does/not/exist", sizeBytes: 1n << 20n }]);
});

Deno.test("a comma in a value is doubled, so that QEMU does not end the value there", async () => {
  const { argv } = await plan(
    "devices: [{type: nvme, id: a, serial: 'x,y', namespaces: [{size: 1MiB, file: 'a,b'}]}]",
    {
      share: "/s,t",
    },
  );
  const all = argv.join(" ");
  for (const part of ["serial=x,,y,", "filename=/machines/a,,b,", "path=/s,,t,"]) assertStringIncludes(all, part);
});

Deno.test("every PCI device names its bus: with a CXL host bridge QEMU would choose that one", async () => {
  for (const name of SHIPPED) {
    const { machine } = await loadMachine(name);
    const devices = values(planMachine(machine, PLACES), "-device");
    const without = devices.filter((device) => !/[,]bus=/.test(device));
    assertEquals(without.filter((device) => !/^(?:intel-iommu|nvdimm|nvme-subsys)\b/.test(device)), []);
  }
});

Deno.test("KVM is used when it is asked for, emulation otherwise", async () => {
  assertEquals(values(await plan("cpus: 3"), "-accel"), ["tcg,thread=multi"]);
  const kvm = await plan("kvm: true\niommu: true");
  assertEquals(values(kvm, "-accel"), ["kvm"]);
  assertEquals(values(kvm, "-cpu"), ["host,hypervisor=off"]);
  assertEquals(values(kvm, "-machine"), ["q35,kernel-irqchip=split"]);
});

Deno.test("NUMA nodes: processors as runs, memory behind each, distances", async () => {
  const nodes = "[{cpus: [3, 0, 1], memory: 1GiB}, {cpus: [2], memory: 512MiB}, {}]";
  const machine = `cpus: 4\nmemory: 1536MiB\nnodes: ${nodes}\ndistances: [{from: 0, to: 2, distance: 40}]`;
  assertEquals(values(await plan(machine), "-numa"), [
    "node,nodeid=0,cpus=0-1,memdev=lab-node0",
    "node,nodeid=0,cpus=3",
    "node,nodeid=1,cpus=2,memdev=lab-node1",
    "node,nodeid=2",
    "dist,src=0,dst=2,val=40",
  ]);
});

Deno.test("memory slots: room for NVDIMMs at multiples of 1 GiB, and for CXL memory", async () => {
  const nvdimms = "devices: [{type: nvdimm, id: a, size: 256MiB}, {type: nvdimm, id: b, size: 3GiB, label-size: 1MiB}]";
  const two = await plan(nvdimms);
  assertEquals(values(two, "-m"), ["2G,slots=2,maxmem=9G"]);
  assertEquals(two.files.map(({ sizeBytes }) => sizeBytes), [256n << 20n, (3n << 30n) + (1n << 20n)]);
  const cxl = "buses: [{type: pxb-cxl, id: c, bus_nr: 64}, {type: cxl-rp, id: p, bus: c}]\n" +
    "devices: [{type: cxl-type3, id: m, bus: p, volatile: 256MiB, persistent: 512MiB}]";
  assertEquals(values(await plan(cxl), "-m"), ["2G,slots=1,maxmem=3G"]);
  assertEquals(values(await plan("cpus: 1"), "-m"), ["2G"]);
});

Deno.test("all CXL windows are in one option: QEMU takes them together or not at all", async () => {
  const machine = "buses: [{type: pxb-cxl, id: a, bus_nr: 32}, {type: pxb-cxl, id: b, bus_nr: 64}]\n" +
    "windows: [{targets: [a, b], size: 1GiB, granularity: 4096}, {targets: [b], size: 256MiB}]";
  assertEquals(values(await plan(machine), "-machine"), [
    "q35,cxl=on",
    "cxl-fmw.0.targets.0=a,cxl-fmw.0.targets.1=b,cxl-fmw.0.size=1G,cxl-fmw.0.interleave-granularity=4096," +
    "cxl-fmw.1.targets.0=b,cxl-fmw.1.size=256M,cxl-fmw.1.interleave-granularity=256",
  ]);
});

Deno.test("what can be pulled out can be put back with the same properties", async () => {
  const machine = "buses: [{type: pcie-root-port, id: port}]\ndevices: [" +
    "{type: nvme, id: a, hotplug: true, cmb: 2MiB, namespaces: [{size: 1MiB}]}, " +
    "{type: edu, id: b, bus: port, properties: {dma_mask: 4095}}, {type: edu, id: c}]";
  const { removable } = await plan(machine);
  assertEquals([...removable], [
    ["a", { driver: "nvme", properties: { id: "a", bus: "a-port", serial: "a", cmb_size_mb: 2, drive: "a-1" } }],
    ["b", { driver: "edu", properties: { id: "b", bus: "port", dma_mask: 4095 } }],
  ]);
});

Deno.test("one ordinary namespace belongs to the controller, any other one is a device of its own", async () => {
  const device = async (namespaces: string): Promise<string[]> =>
    values(await plan(`devices: [{type: nvme, id: a, namespaces: [${namespaces}]}]`), "-device").filter((one) =>
      one.startsWith("nvme")
    );
  assertEquals(await device("{size: 1MiB, logical_block_size: 4096}"), [
    "nvme,id=a,bus=pcie.0,serial=a,drive=a-1,logical_block_size=4096,physical_block_size=4096",
  ]);
  assertEquals(await device("{size: 1MiB, nsid: 7}"), [
    "nvme,id=a,bus=pcie.0,serial=a",
    "nvme-ns,id=a-ns7,bus=a,drive=a-7,nsid=7",
  ]);
  assertEquals(await device(""), ["nvme,id=a,bus=pcie.0,serial=a"]);
});

Deno.test("errors from the start lie between a namespace and its file", async () => {
  const machine =
    "devices: [{type: nvme, id: a, namespaces: [{size: 1MiB, errors: [{event: write_aio, errno: 28, sector: 9, once: true}]}]}]";
  assertEquals(values(await plan(machine), "-blockdev"), [
    "driver=file,node-name=a-1-file,filename=/run/disks/a-1,discard=unmap",
    "driver=blkdebug,node-name=a-1-errors,image=a-1-file,inject-error.0.event=write_aio,inject-error.0.errno=28," +
    "inject-error.0.sector=9,inject-error.0.once=on",
    "driver=raw,node-name=a-1,file=a-1-errors,discard=unmap",
  ]);
});

Deno.test("controllers that name the same subsystem share it, and only namespaces that say so are shared", async () => {
  const machine = "devices: [{type: nvme, id: a, subsystem: s, namespaces: [{size: 1MiB, shared: true}]}, " +
    "{type: nvme, id: b, subsystem: s, namespaces: [{size: 1MiB, nsid: 2}]}]";
  assertEquals(values(await plan(machine), "-device").filter((one) => one.startsWith("nvme")), [
    "nvme-subsys,id=s,nqn=s",
    "nvme,id=a,bus=pcie.0,serial=a,subsys=s",
    "nvme-ns,id=a-ns1,bus=a,drive=a-1,nsid=1,shared=on",
    "nvme,id=b,bus=pcie.0,serial=b,subsys=s",
    "nvme-ns,id=b-ns2,bus=b,drive=b-2,nsid=2,shared=off",
  ]);
});

Deno.test("any QEMU device and any argument can be had", async () => {
  const machine =
    "devices: [{type: qemu, id: net, device: e1000e, properties: {mac: '52:54:00:00:00:01', romfile: ''}}]\n" +
    "qemu-arguments: [-rtc, 'base=2030-01-01']";
  const { argv } = await plan(machine);
  assertStringIncludes(argv.join(" "), "-device e1000e,id=net,bus=pcie.0,mac=52:54:00:00:00:01,romfile=");
  assertEquals(argv.slice(-2), ["-rtc", "base=2030-01-01"]);
});

Deno.test("a user's own system boots as an ordinary machine, without the lab's exports and ports", async () => {
  const disk = await plan("disk: system.qcow2");
  assertEquals(values(disk, "-drive"), ["file=/machines/system.qcow2,format=qcow2,if=none,id=lab-disk,snapshot=on"]);
  assertEquals([values(disk, "-kernel"), values(disk, "-fsdev"), values(disk, "-append")], [[], [], []]);
  assertEquals(values(disk, "-device"), ["ide-hd,drive=lab-disk,bus=ide.0"]);
  const own = await plan("kernel: /k\ninitrd: /i\nkernel-arguments: [root=/dev/sda1]");
  assertEquals([values(own, "-kernel"), values(own, "-initrd"), values(own, "-append")], [
    ["/k"],
    ["/i"],
    ["console=ttyS0 root=/dev/sda1"],
  ]);
  const ownKernel = await plan("kernel: /k");
  assertEquals([values(ownKernel, "-kernel"), values(ownKernel, "-initrd")], [["/k"], ["/cache/first-root.cpio"]]);
});

Deno.test("for a person at the terminal the console is there and the ports are not", async () => {
  const pasted = await plan("cpus: 1", { sockets: null });
  assertEquals(values(pasted, "-chardev"), ["stdio,id=lab-console,mux=on,signal=off"]);
  assertStringIncludes(values(pasted, "-append")[0] ?? "", " lab.shell");
  assertEquals(values(await plan("cpus: 1"), "-chardev").some((value) => value.startsWith("stdio")), false);
});

Deno.test("persistent CXL memory on a device of the host: aligned, and not made; on a file: made", async () => {
  const description = (file: string): string => `
buses: [{type: pxb-cxl, id: cxl, bus_nr: 12}, {type: cxl-rp, id: port, bus: cxl}]
devices: [{type: cxl-type3, id: m, bus: port, persistent: 256MiB, file: ${file}, align: 2MiB}]
windows: [{targets: [cxl], size: 256MiB}]`;
  const onDevice = await plan(description("/dev/dax0.0"));
  const memory = values(onDevice, "-object").find((text) => text.includes("m-persistent"));
  assertStringIncludes(memory ?? "", "mem-path=/dev/dax0.0,size=256M,align=2M");
  assertEquals(onDevice.files.map(({ path }) => path), ["/run/disks/m-labels"]);
  const onFile = await plan(description("backing"));
  assertEquals(onFile.files[0], { path: "/machines/backing", sizeBytes: 256n << 20n });
});
