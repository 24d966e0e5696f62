/**
 * From a machine description to a QEMU command line: the only place in busbar that writes one.
 * Nothing here touches the machine. What the command line needs to exist is listed beside it.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { defined, escapeCommas, optionText, type QemuValue, ranges, sizeText } from "./qemu_option.ts";
import { quoteCommand, quoteWords } from "./shell_words.ts";
import {
  type BlockError,
  type Bus,
  canHotplug,
  CURRENT_KERNEL,
  type CxlType3,
  type CxlWindow,
  type Device,
  type Machine,
  type Nvdimm,
  type NvmeController,
  type NvmeNamespace,
  runsLabGuest,
  type Type2Gpu,
  type UserNetwork,
} from "./description.ts";

/** Channels over which commands run in the guest at the same time. */
export const CHANNELS = 6;

/** What a machine is started with and where its files are. */
export interface Places {
  /** The program that starts QEMU. */
  readonly qemu: string;
  /** The kernel, for a machine that does not boot from its own disk. */
  readonly kernel: string;
  /** The first root. */
  readonly initramfs: string;
  /** Unpacked packages that the guest sees below the host's files, or null. */
  readonly tools: string | null;
  /** The folder of the kernel's modules. The guest is given it where it would not see it otherwise. */
  readonly modules?: string;
  /** The machine's name: its host name. */
  readonly name: string;
  /** Folder for disks and logs. */
  readonly folder: string;
  /** Folder for sockets. Null: nobody is to talk to the guest but a person at the terminal. */
  readonly sockets: string | null;
  /** The folder that the guest may write to. */
  readonly share: string;
  /** Where the attributes of files in the share are kept. */
  readonly shareAttributes: "mapped-xattr" | "mapped-file";
}

/** A file that has to exist before QEMU starts. */
export interface BackingFile {
  /** Where. */
  readonly path: string;
  /** Its size in bytes; a new one is made sparse. */
  readonly sizeBytes: bigint;
}

/** A QEMU device: what follows `-device`, and what QMP's `device_add` takes. */
export interface QemuDevice {
  /** The kind. */
  readonly driver: string;
  /** Its properties. */
  readonly properties: Readonly<Record<string, QemuValue>>;
}

/** Everything that is needed to start a machine. */
export interface QemuPlan {
  /** Program and arguments. */
  readonly argv: readonly string[];
  /** Files that have to exist first. */
  readonly files: readonly BackingFile[];
  /** Devices that can be unplugged and plugged again, by id. */
  readonly removable: ReadonlyMap<string, QemuDevice>;
}

/**
 * Plans a machine.
 *
 * @throws {BusbarError} `bug` for a description that was not checked
 */
export function planMachine(machine: Machine, places: Places): QemuPlan {
  const plan = new Planner(machine, places);
  return plan.run();
}

/**
 * The command line as text that pastes into a shell, after the commands that make the files it needs.
 */
export function shellText(plan: QemuPlan, folder: string): string {
  const made = plan.files.map((file) => quoteWords(["truncate", "-s", `>${file.sizeBytes}`, file.path]));
  return [quoteWords(["mkdir", "-p", `${folder}/disks`, `${folder}/share`]), ...made, quoteCommand(plan.argv)].join(
    "\n",
  );
}

class Planner {
  readonly #machine: Machine;
  readonly #places: Places;
  readonly #argv: string[];
  readonly #files: BackingFile[] = [];
  readonly #removable = new Map<string, QemuDevice>();
  readonly #subsystems = new Set<string>();
  #slots = 0;

  constructor(machine: Machine, places: Places) {
    this.#machine = machine;
    this.#places = places;
    this.#argv = [places.qemu];
  }

  run(): QemuPlan {
    this.#board();
    this.#boot();
    this.#console();
    if (runsLabGuest(this.#machine)) this.#guestSupport();
    for (const bus of this.#machine.buses) this.#bus(bus);
    this.#machine.devices.forEach((device, index) => this.#deviceOf(device, index));
    if (this.#machine.network !== undefined) this.#network(this.#machine.network);
    if (this.#machine.gpu !== undefined) this.#gpu(this.#machine.gpu);
    this.#argv.push(...this.#machine["qemu-arguments"]);
    return { argv: this.#argv, files: this.#files, removable: this.#removable };
  }

  #network({ ssh }: UserNetwork): void {
    this.#option("-netdev", "user", {
      id: "lab-user",
      ...(ssh === undefined ? {} : { hostfwd: `tcp:127.0.0.1:${ssh}-:22` }),
    });
    this.#device("virtio-net-pci", { id: "lab-card", bus: "pcie.0", netdev: "lab-user" });
  }

  #gpu({ by, path, size }: Type2Gpu): void {
    if (by === "file") {
      // The server makes the file; a machine that starts first would be refused by it.
      const options = { id: "lab-gpu-memory", share: true, "mem-path": path, ...defined({ size }) };
      this.#option("-object", "memory-backend-file", options);
      this.#device("ivshmem-plain", { id: "lab-gpu", bus: "pcie.0", memdev: "lab-gpu-memory" });
    } else if (by === "doorbell") {
      this.#option("-chardev", "socket", { id: "lab-gpu-server", path });
      this.#device("ivshmem-doorbell", { id: "lab-gpu", bus: "pcie.0", chardev: "lab-gpu-server", vectors: 1 });
    } else {
      // Its socket is an object, which only JSON can say.
      const device = { driver: "vfio-user-pci", id: "lab-gpu", bus: "pcie.0", socket: { type: "unix", path } };
      this.#argv.push("-device", JSON.stringify(device));
    }
  }

  #board(): void {
    const { cpus, memory, kvm, hypervisor, iommu, nodes, distances, devices, buses, windows } = this.#machine;
    this.#argv.push(
      "-name",
      `guest=${escapeCommas(`busbar-lab-${this.#places.name}`)},process=qemu-system-x86`,
      "-nodefaults",
      "-no-user-config",
      "-no-reboot",
    );
    const nvdimms = devices.filter((device) => device.type === "nvdimm");
    this.#option("-machine", "q35", {
      ...(buses.some((bus) => bus.type === "pxb-cxl") ? { cxl: true } : {}),
      ...(nvdimms.length > 0 ? { nvdimm: true } : {}),
      ...(kvm && iommu ? { "kernel-irqchip": "split" } : {}),
    });
    // QEMU takes all windows in one option or none.
    if (windows.length > 0) this.#option("-machine", null, Object.assign({}, ...windows.map(windowOptions)));
    if (kvm) this.#argv.push("-accel", "kvm");
    else this.#option("-accel", "tcg", { thread: "multi" });
    // Without the hypervisor bit Linux may flush caches, and so lets CXL regions be committed.
    this.#option("-cpu", kvm ? "host" : "max", { hypervisor });
    this.#argv.push("-smp", String(cpus));
    this.#memory(memory, nvdimms.length);
    nodes.forEach((node, i) => {
      const [cpus, ...moreCpus] = ranges(node.cpus);
      if (node.memory > 0n) {
        this.#option("-object", "memory-backend-ram", { id: `lab-node${i}`, size: node.memory });
      }
      const memdev = node.memory > 0n ? `lab-node${i}` : undefined;
      this.#option("-numa", "node", { nodeid: i, ...defined({ cpus, memdev }) });
      for (const range of moreCpus) this.#option("-numa", "node", { nodeid: i, cpus: range });
    });
    for (const { from, to, distance } of distances) {
      this.#option("-numa", "dist", { src: from, dst: to, val: distance });
    }
    // The IOMMU comes before what it translates for.
    if (iommu) this.#device("intel-iommu", { intremap: true, "caching-mode": true });
  }

  #memory(memory: bigint, nvdimms: number): void {
    const cxl = this.#machine.devices.reduce((sum, device) => sum + cxlBytes(device), 0n);
    if (nvdimms === 0 && cxl === 0n) {
      this.#argv.push("-m", sizeText(memory));
      return;
    }
    const gib = 1n << 30n;
    // A memory slot starts at a multiple of 1 GiB, which costs up to that much for each.
    const slots = this.#machine.devices.reduce(
      (sum, device) => device.type === "nvdimm" ? sum + ((nvdimmBytes(device) + gib - 1n) / gib + 1n) * gib : sum,
      0n,
    );
    const max = (memory + slots + cxl + gib - 1n) / gib * gib;
    this.#option("-m", sizeText(memory), { slots: Math.max(1, nvdimms), maxmem: max });
  }

  #boot(): void {
    const { kernel, initrd, disk, firmware } = this.#machine;
    if (firmware !== undefined) {
      this.#option("-drive", null, { if: "pflash", unit: 0, format: "raw", readonly: true, file: firmware });
    }
    if (disk !== undefined) {
      const format = /\.qcow2?$/i.test(disk) ? "qcow2" : "raw";
      // Changes go to a temporary file: the user's image stays as it is, unless that is not wanted.
      const snapshot = this.#machine["keep-disk"] !== true;
      this.#option("-drive", null, {
        file: disk,
        format,
        if: "none",
        id: "lab-disk",
        ...(snapshot ? { snapshot } : {}),
      });
      this.#device("ide-hd", { drive: "lab-disk", bus: "ide.0" });
    }
    if (disk !== undefined && kernel === undefined) return;
    this.#argv.push("-kernel", kernel === undefined || kernel === CURRENT_KERNEL ? this.#places.kernel : kernel);
    if (runsLabGuest(this.#machine)) this.#argv.push("-initrd", this.#places.initramfs);
    else if (initrd !== undefined) this.#argv.push("-initrd", initrd);
    this.#argv.push("-append", this.#kernelArguments().join(" "));
  }

  #kernelArguments(): string[] {
    const words = ["console=ttyS0"];
    if (runsLabGuest(this.#machine)) {
      // A panic ends QEMU at once, and a crash of the kernel's own code is no reason to go on.
      words.push("quiet", "panic=-1", "oops=panic");
      // At boot the kernel counts timer interrupts within some milliseconds. On a busy host emulation is late, and it panics.
      words.push("no_timer_check", `hostname=${this.#places.name}`);
      // Once in some hundred boots a timer that an idle processor waits for never comes, and the guest hangs. Its kernel
      // notices after 21 seconds.
      words.push("sysctl.kernel.panic_on_rcu_stall=1");
      if (this.#places.sockets === null) words.push("lab.shell");
    }
    if (this.#machine.iommu) words.push("intel_iommu=on");
    return [...words, ...this.#machine["kernel-arguments"]];
  }

  #console(): void {
    const { sockets, folder } = this.#places;
    this.#argv.push("-display", "none");
    if (sockets === null) {
      this.#option("-chardev", "stdio", { id: "lab-console", mux: true, signal: false });
      this.#option("-mon", null, { chardev: "lab-console", mode: "readline" });
    } else {
      const log = { logfile: `${folder}/console.log`, logappend: false };
      this.#option("-chardev", "socket", { id: "lab-console", ...this.#socket("console"), ...log });
      this.#option("-chardev", "socket", { id: "lab-qmp", ...this.#socket("qmp") });
      this.#option("-mon", null, { chardev: "lab-qmp", mode: "control" });
    }
    this.#argv.push("-serial", "chardev:lab-console");
  }

  #socket(name: string): Record<string, QemuValue> {
    return { path: `${this.#places.sockets}/${name}`, server: true, wait: false };
  }

  /** What the guest needs to see the host's files and to be told what to run: one slot, the last free one. */
  #guestSupport(): void {
    const { tools, share, shareAttributes, sockets, modules = "" } = this.#places;
    const toRead = { security_model: "none", readonly: true };
    const exports: [string, string, Record<string, QemuValue>][] = [["host", "/", toRead]];
    if (tools !== null) exports.push(["tools", tools, toRead]);
    exports.push(["share", share, { security_model: shareAttributes }]);
    const seen = ["/lib/modules/", "/usr/lib/modules/", ...(tools === null ? [] : [`${tools}/`])];
    if (modules !== "" && !seen.some((folder) => modules.startsWith(folder))) {
      exports.push(["modules", modules, toRead]);
    }
    exports.forEach(([tag, path, options], i) => {
      this.#option("-fsdev", "local", { id: `lab-${tag}`, path, multidevs: "remap", ...options });
      const place = { bus: "pcie.0", addr: `1e.${i}`, ...(i === 0 ? { multifunction: true } : {}) };
      this.#device("virtio-9p-pci", { ...place, fsdev: `lab-${tag}`, mount_tag: tag });
    });
    if (sockets === null) return;
    this.#device("virtio-serial-pci", {
      bus: "pcie.0",
      addr: "1e.7",
      id: "lab-ports",
      max_ports: 2 + 1 + 3 * CHANNELS,
    });
    // The terminal comes first: a console port is port 0.
    this.#option("-chardev", "socket", { id: "lab-shell", ...this.#socket("shell") });
    this.#device("virtconsole", { bus: "lab-ports.0", chardev: "lab-shell" });
    const channels = Array.from({ length: CHANNELS }, (_, n) => [`in.${n}`, `out.${n}`, `err.${n}`]).flat();
    for (const name of ["control", "tests", ...channels]) {
      this.#option("-chardev", "socket", { id: `lab-${name}`, ...this.#socket(name) });
      this.#device("virtserialport", { bus: "lab-ports.0", chardev: `lab-${name}`, name });
    }
  }

  #bus(bus: Bus): void {
    const own = placeOf(bus);
    switch (bus.type) {
      case "pxb-pcie":
      case "pxb-cxl":
        this.#device(bus.type, {
          id: bus.id,
          ...own,
          bus_nr: bus.bus_nr,
          ...(bus.node === undefined ? {} : { numa_node: bus.node }),
          ...bus.properties,
        });
        break;
      case "pcie-root-port":
      case "cxl-rp":
        this.#device(bus.type, { id: bus.id, ...own, ...this.#slot(), ...bus.properties });
        break;
      case "switch":
      case "cxl-switch": {
        const [upstream, downstream] = bus.type === "switch"
          ? ["x3130-upstream", "xio3130-downstream"]
          : ["cxl-upstream", "cxl-downstream"];
        this.#device(upstream, { id: bus.id, ...own, ...bus.properties });
        for (const port of bus.ports) this.#device(downstream, { id: port, bus: bus.id, ...this.#slot() });
        break;
      }
      case "pcie-pci-bridge":
        this.#device(bus.type, { id: bus.id, ...own, ...bus.properties });
        break;
      case "pci-bridge":
        this.#device(bus.type, { id: bus.id, ...own, chassis_nr: ++this.#slots, ...bus.properties });
        break;
    }
  }

  /** Chassis and slot together are unique for every port. Linux shows the slot under /sys/bus/pci/slots. */
  #slot(): Record<string, QemuValue> {
    const slot = ++this.#slots;
    return { chassis: 1, slot, port: slot };
  }

  #deviceOf(device: Device, index: number): void {
    switch (device.type) {
      case "nvdimm": {
        // The labels are at the end of the same file, and the capacity stays what the description says.
        const memdev = this.#backing(device.id, nvdimmBytes(device), device.file);
        this.#device("nvdimm", {
          id: device.id,
          memdev,
          ...defined({ node: device.node, "label-size": device["label-size"] }),
          ...device.properties,
        });
        break;
      }
      case "cxl-type3":
        this.#cxlType3(device, index);
        break;
      case "nvme":
        this.#nvme(device);
        break;
      case "ivshmem-plain": {
        const memdev = this.#backing(device.id, device.size, device.file);
        this.#plug(device.type, device, { memdev });
        break;
      }
      default:
        this.#plug(
          device.type === "qemu" ? device.device ?? "" : device.type,
          device,
          defined({ membar: device.membar }),
        );
    }
  }

  #cxlType3(device: CxlType3, index: number): void {
    const memory: Record<string, QemuValue> = {};
    if (device.volatile !== undefined) {
      const id = `${device.id}-volatile`;
      if (device.file !== undefined && device.persistent === undefined) {
        memory["volatile-memdev"] = this.#backing(id, device.volatile, device.file, device.align);
      } else {
        this.#option("-object", "memory-backend-ram", { id, share: true, size: device.volatile });
        memory["volatile-memdev"] = id;
      }
    }
    if (device.persistent !== undefined) {
      memory["persistent-memdev"] = this.#backing(
        `${device.id}-persistent`,
        device.persistent,
        device.file,
        device.align,
      );
      // QEMU refuses persistent memory without a label area.
      memory["lsa"] = this.#backing(`${device.id}-labels`, device.lsa ?? 1n << 20n);
    }
    this.#device("cxl-type3", {
      id: device.id,
      ...placeOf(device),
      ...memory,
      sn: device.sn ?? index + 1,
      ...device.properties,
    });
  }

  #nvme(nvme: NvmeController): void {
    if (nvme.subsystem !== undefined && !this.#subsystems.has(nvme.subsystem)) {
      this.#subsystems.add(nvme.subsystem);
      this.#device("nvme-subsys", { id: nvme.subsystem, nqn: nvme.subsystem });
    }
    const pmr = nvme.pmr === undefined ? undefined : this.#backing(`${nvme.id}-pmr`, nvme.pmr);
    const controller = {
      serial: nvme.serial ?? nvme.id,
      ...defined({
        subsys: nvme.subsystem,
        max_ioqpairs: nvme.max_ioqpairs,
        mdts: nvme.mdts,
        cmb_size_mb: nvme.cmb === undefined ? undefined : Number(nvme.cmb >> 20n),
        pmrdev: pmr,
        "use-intel-id": nvme["use-intel-id"],
        "msix-exclusive-bar": nvme["msix-exclusive-bar"],
      }),
    };
    const only = nvme.namespaces[0];
    // A controller with one ordinary namespace carries it itself: only such a one can be plugged in again.
    if (only !== undefined && nvme.namespaces.length === 1 && isOrdinary(only)) {
      const drive = this.#drive(nvme, only);
      this.#plug("nvme", nvme, { ...controller, drive, ...blockSizes(only) });
      return;
    }
    this.#plug("nvme", nvme, controller);
    for (const namespace of nvme.namespaces) {
      const { zoned } = namespace;
      this.#device("nvme-ns", {
        id: `${nvme.id}-ns${namespace.nsid}`,
        bus: nvme.id,
        drive: this.#drive(nvme, namespace),
        nsid: namespace.nsid,
        ...blockSizes(namespace),
        ...defined({
          ms: namespace.ms,
          mset: namespace.mset,
          pi: namespace.pi,
          pil: namespace.pil,
          shared: namespace.shared ?? (nvme.subsystem === undefined ? undefined : false),
          detached: namespace.detached,
        }),
        ...(zoned === undefined ? {} : {
          zoned: true,
          "zoned.zone_size": zoned.zone_size,
          ...defined({
            "zoned.zone_capacity": zoned.zone_capacity,
            "zoned.max_open": zoned.max_open,
            "zoned.max_active": zoned.max_active,
          }),
        }),
      });
    }
  }

  /** The block nodes of a namespace: a file, perhaps errors, and on top a node that errors can be put under later. */
  #drive(nvme: NvmeController, namespace: NvmeNamespace): string {
    const node = `${nvme.id}-${namespace.nsid}`;
    const path = this.#file(node, namespace.size, namespace.file);
    this.#option("-blockdev", null, { driver: "file", "node-name": `${node}-file`, filename: path, discard: "unmap" });
    let below = `${node}-file`;
    if (namespace.errors.length > 0) {
      this.#option("-blockdev", null, {
        driver: "blkdebug",
        "node-name": `${node}-errors`,
        image: below,
        ...Object.fromEntries(namespace.errors.flatMap(errorOptions)),
      });
      below = `${node}-errors`;
    }
    this.#option("-blockdev", null, { driver: "raw", "node-name": `${node}`, file: below, discard: "unmap" });
    return node;
  }

  /** A memory backend with a file behind it. */
  #backing(id: string, sizeBytes: bigint, file?: string, align?: bigint): string {
    const name = `${id}-memory`;
    // A device is there already, and has its size.
    const isDevice = file !== undefined && /^\/dev\/(?!shm\/)/.test(file);
    const path = isDevice ? file : this.#file(id, sizeBytes, file);
    const options = { id: name, share: true, "mem-path": path, size: sizeBytes, ...defined({ align }) };
    this.#option("-object", "memory-backend-file", options);
    return name;
  }

  #file(id: string, sizeBytes: bigint, file?: string): string {
    const path = file ?? `${this.#places.folder}/disks/${id}`;
    this.#files.push({ path, sizeBytes });
    return path;
  }

  /** A device on its bus; with `hotplug` behind a root port of its own. */
  #plug(
    driver: string,
    device: Exclude<Device, CxlType3 | { type: "nvdimm" }>,
    properties: Readonly<Record<string, QemuValue>>,
  ): void {
    const place: Record<string, QemuValue> = placeOf(device);
    if (device.hotplug && device.bus === undefined) {
      const port = `${device.id}-port`;
      this.#device("pcie-root-port", { id: port, bus: "pcie.0", ...this.#slot() });
      place["bus"] = port;
    }
    const whole = { id: device.id, ...place, ...properties, ...device.properties };
    this.#device(driver, whole);
    if (canHotplug(device) && this.#isRemovable(device)) this.#removable.set(device.id, { driver, properties: whole });
  }

  #isRemovable(device: { readonly hotplug: boolean; readonly bus?: string | undefined }): boolean {
    if (device.hotplug) return true;
    const bus = this.#machine.buses.find((bus) =>
      bus.id === device.bus || ("ports" in bus && bus.ports.includes(device.bus ?? ""))
    );
    return bus?.type === "pcie-root-port" || bus?.type === "switch";
  }

  #device(driver: string, properties: Readonly<Record<string, QemuValue>>): void {
    if (driver === "") throw new BusbarError("bug", "a device without a driver");
    this.#option("-device", driver, properties);
  }

  #option(option: string, first: string | null, values: Readonly<Record<string, QemuValue>>): void {
    this.#argv.push(option, optionText(first, values));
  }
}

function placeOf(
  part: { readonly bus?: string | undefined; readonly addr?: string | undefined },
): Record<string, QemuValue> {
  return { bus: part.bus ?? "pcie.0", ...(part.addr === undefined ? {} : { addr: part.addr }) };
}

function blockSizes(namespace: NvmeNamespace): Record<string, QemuValue> {
  return defined({
    logical_block_size: namespace.logical_block_size,
    physical_block_size: namespace.physical_block_size ?? namespace.logical_block_size,
  });
}

function isOrdinary(namespace: NvmeNamespace): boolean {
  const special = [namespace.ms, namespace.mset, namespace.pi, namespace.pil, namespace.shared, namespace.detached];
  return namespace.nsid === 1 && namespace.zoned === undefined && special.every((value) => value === undefined);
}

function windowOptions(window: CxlWindow, index: number): Record<string, QemuValue> {
  const key = `cxl-fmw.${index}`;
  return {
    ...Object.fromEntries(window.targets.map((target, n) => [`${key}.targets.${n}`, target])),
    [`${key}.size`]: window.size,
    [`${key}.interleave-granularity`]: window.granularity,
  };
}

function errorOptions(error: BlockError, index: number): [string, QemuValue][] {
  const key = `inject-error.${index}`;
  const options: [string, QemuValue][] = [[`${key}.event`, error.event], [`${key}.errno`, error.errno]];
  if (error.sector !== undefined) options.push([`${key}.sector`, error.sector]);
  if (error.once) options.push([`${key}.once`, true]);
  return options;
}

function nvdimmBytes(nvdimm: Nvdimm): bigint {
  return nvdimm.size + (nvdimm["label-size"] ?? 0n);
}

function cxlBytes(device: Device): bigint {
  return device.type === "cxl-type3" ? (device.volatile ?? 0n) + (device.persistent ?? 0n) : 0n;
}
