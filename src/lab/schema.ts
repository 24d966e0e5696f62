/**
 * Checks a machine description. Every mistake becomes one line: where, what was found, what is allowed there.
 * @module
 */

import { loadZod, type z as Z } from "../core/packages.ts";
import { nearest } from "../core/locator.ts";
import { parseBytes } from "../core/units.ts";
import type { BlockError, Bus, CxlWindow, Device, Machine, NumaNode, NvmeNamespace, Type2Gpu } from "./description.ts";
import { crossCheck } from "./cross_check.ts";

const { z } = await loadZod();

/** What {@linkcode checkMachine} found: the machine, or the mistakes, one line each. */
export type Checked = { readonly machine: Machine } | { readonly mistakes: readonly string[] };

/**
 * Checks a value that was read from a YAML file.
 *
 * @example
 * ```ts
 * import { checkMachine } from "./schema.ts";
 * const checked = checkMachine({ purpose: "example", cpus: 0 });
 * console.assert("mistakes" in checked && checked.mistakes[0] === "cpus: 0 is not allowed; write a whole number from 1 to 64");
 * ```
 */
export function checkMachine(value: unknown): Checked {
  const parsed = machineSchema.safeParse(value);
  if (!parsed.success) return { mistakes: parsed.error.issues.flatMap((issue) => describe(issue, value)) };
  const mistakes = crossCheck(parsed.data);
  return mistakes.length > 0 ? { mistakes } : { machine: parsed.data };
}

// Every leaf of the schema carries a text that says what is allowed; describe() puts path and value before it.

function text(allowed: string, pattern: RegExp): Z.ZodType<string> {
  return z.string({ error: allowed }).regex(pattern, { error: allowed });
}

function integer(min: number, max: number): Z.ZodType<number> {
  const error = `a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

function flag(): Z.ZodType<boolean> {
  return z.boolean({ error: "true or false" });
}

/** A size with a unit, as bytes. */
function size(rule: { min?: bigint; multiple?: bigint; powerOfTwo?: boolean; what?: string } = {}): Z.ZodType<bigint> {
  const { min = 1n, multiple = 1n, powerOfTwo = false, what = "a size such as 256MiB" } = rule;
  return z.string({ error: what }).transform((text, context) => {
    let bytes = -1n;
    try {
      bytes = parseBytes(text);
    } catch {
      // Reported below: the reason is the same for every text that is not a size.
    }
    if (bytes >= min && bytes % multiple === 0n && (!powerOfTwo || (bytes & (bytes - 1n)) === 0n)) return bytes;
    context.addIssue({ code: "custom", message: what, input: text });
    return z.NEVER;
  });
}

function oneOf<const T extends string | number>(values: readonly T[]): Z.ZodType<T> {
  return z.literal(values, { error: `one of ${values.join(", ")}` });
}

function listOf<T>(what: string, element: Z.ZodType<T>): Z.ZodType<T[]> {
  return z.array(element, { error: `a list of ${what}` });
}

/** A mapping that knows its keys; the error text of an unknown key is the list of known ones. */
function keys<T extends Z.ZodRawShape>(shape: T): Z.ZodObject<T, Z.core.$strict> {
  return z.strictObject(shape, {
    error: (issue) => issue.code === "unrecognized_keys" ? Object.keys(shape).join(", ") : `keys and values`,
  });
}

const KIB = 1n << 10n;
const MIB = 1n << 20n;
const CXL_UNIT = 256n << 20n;

const id = text("a name of letters, digits, '-', '_' and '.', beginning with a letter", /^[a-z][a-z0-9._-]*$/i);
const path = text("a path", /^[^\0\n]+$/);
const memorySize = size({ min: MIB, multiple: MIB, what: "a size in whole MiB such as 2GiB" });
const cxlSize = size({ min: CXL_UNIT, multiple: CXL_UNIT, what: "a multiple of 256MiB" });
const node = integer(0, 63);
const blockBytes = oneOf([512, 1024, 2048, 4096, 8192, 16384, 32768]);

const properties = z.record(
  text("a QEMU property name", /^[A-Za-z0-9_.-]+$/),
  z.union([z.string(), z.number(), z.boolean()], { error: "a text, number or true/false" }),
  { error: "QEMU properties by name" },
);

const part = {
  id,
  bus: id.optional(),
  addr: z.preprocess(
    (value) => typeof value === "number" ? String(value) : value,
    text("a slot such as 3 or '3.1', hexadecimal", /^(?:0x)?[01]?[0-9a-f](?:\.[0-7])?$/i),
  ).optional(),
  properties: properties.optional(),
};

const pciPart = { ...part, hotplug: flag().default(false) };

const busSchema: Z.ZodType<Bus> = z.discriminatedUnion("type", [
  keys({
    type: z.literal(["pxb-pcie", "pxb-cxl"]),
    bus_nr: integer(1, 255),
    node: node.optional(),
    ...part,
  }),
  keys({ type: z.literal(["pcie-root-port", "cxl-rp"]), ...part }),
  keys({
    type: z.literal(["switch", "cxl-switch"]),
    ports: listOf("names for the downstream ports", id).refine((ports) => ports.length > 0, {
      error: "at least one name for a downstream port",
    }),
    ...part,
  }),
  keys({ type: z.literal(["pcie-pci-bridge", "pci-bridge"]), ...part }),
], { error: "keys and values" });

const BLKDEBUG_EVENTS = [
  ...["read_aio", "write_aio", "flush_to_disk", "flush_to_os", "pwritev", "pwritev_zero", "none"],
] as const;

const errorSchema: Z.ZodType<BlockError> = keys({
  event: oneOf(BLKDEBUG_EVENTS),
  errno: integer(1, 133).default(5),
  sector: integer(0, Number.MAX_SAFE_INTEGER).optional(),
  once: flag().default(false),
});

const zones = keys({
  zone_size: size({ multiple: 512n, what: "a size in whole blocks such as 4MiB" }),
  zone_capacity: size({ multiple: 512n, what: "a size in whole blocks such as 3MiB" }).optional(),
  max_open: integer(0, 65535).optional(),
  max_active: integer(0, 65535).optional(),
});

const namespaceSchema = keys({
  nsid: integer(1, 256).optional(),
  size: size({ min: MIB, what: "a size of at least 1MiB" }),
  file: path.optional(),
  logical_block_size: blockBytes.optional(),
  physical_block_size: blockBytes.optional(),
  ms: integer(0, 65535).optional(),
  mset: oneOf([0, 1]).optional(),
  pi: integer(0, 3).optional(),
  pil: oneOf([0, 1]).optional(),
  shared: flag().optional(),
  detached: flag().optional(),
  zoned: zones.optional(),
  errors: listOf("errors", errorSchema).default([]),
});

/** Namespaces without an id get the lowest free one. */
const namespacesSchema = listOf("namespaces", namespaceSchema).transform((list): NvmeNamespace[] => {
  const taken = new Set(list.map((namespace) => namespace.nsid));
  let next = 1;
  return list.map((namespace) => {
    if (namespace.nsid !== undefined) return { ...namespace, nsid: namespace.nsid };
    while (taken.has(next)) next++;
    return { ...namespace, nsid: next++ };
  });
});

const nvme = keys({
  type: z.literal("nvme"),
  ...pciPart,
  serial: text("1 to 20 printable characters", /^[ -~]{1,20}$/).optional(),
  subsystem: id.optional(),
  max_ioqpairs: integer(1, 65535).optional(),
  mdts: integer(0, 255).optional(),
  cmb: size({ multiple: MIB, what: "a size in whole MiB such as 16MiB" }).optional(),
  pmr: size({ min: 4n * KIB, powerOfTwo: true, what: "a power of two of at least 4KiB, such as 16MiB" }).optional(),
  "use-intel-id": flag().optional(),
  "msix-exclusive-bar": flag().optional(),
  namespaces: namespacesSchema.default([]),
});

const plainTypes = ["edu", "pci-testdev", "pci-serial", "virtio-rng-pci", "virtio-balloon-pci", "qemu"] as const;

const deviceSchema: Z.ZodType<Device> = z.discriminatedUnion("type", [
  nvme,
  keys({
    type: z.literal("nvdimm"),
    id,
    size: size({ min: 2n * MIB, multiple: 2n * MIB, what: "a multiple of 2MiB" }),
    file: path.optional(),
    node: node.optional(),
    "label-size": size({ min: 128n * KIB, multiple: 4n * KIB, what: "a size of at least 128KiB" }).optional(),
    properties: properties.optional(),
  }),
  keys({
    type: z.literal("cxl-type3"),
    ...part,
    volatile: cxlSize.optional(),
    persistent: cxlSize.optional(),
    file: path.optional(),
    shared: flag().optional(),
    align: size({ min: 4n * KIB, powerOfTwo: true, what: "a power of two of at least 4KiB, such as 2MiB" }).optional(),
    lsa: size({ multiple: 4n * KIB, what: "a size in whole 4KiB such as 1MiB" }).optional(),
    sn: integer(0, Number.MAX_SAFE_INTEGER).optional(),
  }),
  keys({
    type: z.literal("ivshmem-plain"),
    ...pciPart,
    size: size({ min: 4n * KIB, powerOfTwo: true, what: "a power of two of at least 4KiB, such as 16MiB" }),
    file: path.optional(),
    shared: flag().optional(),
  }),
  keys({
    type: z.literal(plainTypes),
    ...pciPart,
    device: text("the name of a QEMU device", /^[A-Za-z0-9_.-]+$/).optional(),
    membar: size({ min: 4n * KIB, powerOfTwo: true, what: "a power of two of at least 4KiB" }).optional(),
  }),
], { error: "keys and values" });

const windowSchema: Z.ZodType<CxlWindow> = keys({
  targets: listOf("ids of pxb-cxl buses", id).refine((targets) => targets.length > 0, {
    error: "at least one id of a pxb-cxl bus",
  }),
  size: cxlSize,
  granularity: oneOf([256, 512, 1024, 2048, 4096, 8192, 16384]).default(256),
});

const nodeSchema: Z.ZodType<NumaNode> = keys({
  cpus: listOf("processor numbers", integer(0, 63)).default([]),
  memory: memorySize.default(0n),
});

const gpuSchema: Z.ZodType<Type2Gpu> = keys({
  by: z.literal(["file", "doorbell", "vfio-user"]).default("file"),
  path,
  size: size({ min: 16n * MIB, powerOfTwo: true, what: "a power of two of at least 16MiB" }).optional(),
});

const machineSchema: Z.ZodType<Machine> = keys({
  purpose: text("one line that says what the machine is for", /^[^\n]+$/),
  cpus: integer(1, 64).default(2),
  memory: size({ min: 512n * MIB, multiple: MIB, what: "a size of at least 512MiB, in whole MiB" }).default(
    2048n * MIB,
  ),
  kvm: flag().default(false),
  hypervisor: flag().default(false),
  iommu: flag().default(false),
  nodes: listOf("NUMA nodes", nodeSchema).default([]),
  distances: listOf("distances", keys({ from: node, to: node, distance: integer(10, 255) })).default([]),
  "kernel-arguments": listOf("words", text("a word without spaces", /^[!-~]+$/)).default([]),
  kernel: path.optional(),
  initrd: path.optional(),
  disk: path.optional(),
  "keep-disk": flag().optional(),
  firmware: path.optional(),
  network: keys({ ssh: integer(1, 65535).optional() }).optional(),
  buses: listOf("buses", busSchema).default([]),
  devices: listOf("devices", deviceSchema).default([]),
  windows: listOf("windows", windowSchema).default([]),
  gpu: gpuSchema.optional(),
  "qemu-arguments": listOf("words", z.string({ error: "a text" })).default([]),
});

function describe(issue: Z.core.$ZodIssue, root: unknown): string[] {
  const where = formatPath(issue.path);
  if (issue.code === "unrecognized_keys") {
    const known = issue.message.split(", ");
    return issue.keys.map((key) => {
      const near = nearest(key, known);
      return `${formatPath([...issue.path, key])}: no such key; ` +
        (near === null ? `the keys here are ${issue.message}` : `did you mean '${near}'?`);
    });
  }
  const value = valueAt(root, issue.path);
  if (issue.code === "invalid_union" && "discriminator" in issue) {
    const known = "options" in issue && Array.isArray(issue.options) ? issue.options.map(String) : [];
    const near = typeof value === "string" ? nearest(value, known) : null;
    const allowed = near === null ? `write one of ${known.join(", ")}` : `did you mean '${near}'?`;
    return [`${where}: ${formatValue(value)}; ${allowed}`];
  }
  return [`${where}: ${formatValue(value)}; write ${issue.message}`];
}

/** `devices[0].namespaces[1].size`, or what stands for the whole file. */
export function formatPath(path: readonly PropertyKey[]): string {
  let text = "";
  for (const key of path) {
    text += typeof key === "number" ? `[${key}]` : text === "" ? String(key) : `.${String(key)}`;
  }
  return text === "" ? "the description" : text;
}

function formatValue(value: unknown): string {
  if (value === undefined) return "missing";
  const text = typeof value === "string" ? `'${value}'` : JSON.stringify(value);
  return `${text.length > 60 ? `${text.slice(0, 57)}...` : text} is not allowed`;
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}
