/**
 * Making and destroying namespaces of persistent memory by sysfs, as named steps that are undone in order when one fails.
 *
 * Source: Linux drivers/nvdimm (namespace_devs.c, pfn_devs.c, dax_devs.c, claim.c, pmem.c). What ndctl does.
 * @module
 */

import { blockUses } from "../core/block_users.ts";
import { BusbarError } from "../core/error.ts";
import { exists, type Host } from "../core/host.ts";
import type { UndoWrite } from "../core/undo/change.ts";
import type { UndoJournal } from "../core/undo/journal.ts";
import { makeStep, type NamedStep, stepError } from "../core/undo/steps.ts";
import { isClaimedByKernel } from "../pci/bind.ts";
import { daxUses, readDaxDevice } from "./devdax.ts";
import { checkMode, driverOf, type NamespacePlan } from "./namespace_plan.ts";
import { type Namespace, ND_DEVICES } from "./namespaces.ts";

const DRIVERS = "/sys/bus/nd/drivers";
const PMEM = `${DRIVERS}/nd_pmem`;

/** Where devdax and fsdax namespaces are described on the medium (drivers/nvdimm/pfn.h, `struct nd_pfn_sb`). */
const DESCRIPTION = { offset: 4096, sizeBytes: 4096 } as const;
const NO_DESCRIPTION = "00".repeat(DESCRIPTION.sizeBytes);

/** The steps that make a namespace, in order. */
export function createSteps(plan: NamespacePlan, uuid: () => string): NamedStep[] {
  const folder = `${ND_DEVICES}/${plan.name}`;
  const isNew = plan.replaced === null;
  return [
    ...isNew ? spaceSteps(plan, folder, uuid) : takeApartSteps(plan.replaced),
    ...plan.holder === null ? [] : holdSteps(plan, plan.holder, uuid),
    ...plan.holder === null ? [bindStep(plan.name, "nd_pmem", folder)] : [],
  ];
}

/** Takes free space for a new namespace: the kernel writes its label. */
function spaceSteps(plan: NamespacePlan, folder: string, uuid: () => string): NamedStep[] {
  const { name, mode } = plan;
  const size = `${folder}/size`;
  return [
    {
      name: "uuid",
      change: {
        what: `uuid of ${name}`,
        write: { path: `${folder}/uuid`, text: uuid() },
        // A namespace of size 0 has none.
        undo: () => [{ path: size, text: "0" }],
      },
      meanings: { EBUSY: "another program makes a namespace of the same seed: try again" },
    },
    {
      name: "size",
      change: {
        what: `size of ${name}`,
        write: { path: size, text: String(plan.sizeBytes) },
        undo: () => [{ path: size, text: "0" }],
      },
      meanings: {
        ENOSPC: "the region has no such run of free space left, or its label area is full",
        EINVAL: "it is a multiple of the region's alignment",
        ENXIO: "the label area of a device cannot be written",
      },
    },
    {
      name: "class",
      change: {
        what: `class of ${name}`,
        write: { path: `${folder}/holder_class`, text: mode === "devdax" ? "dax" : mode === "fsdax" ? "pfn" : "\n" },
        undo: (old) => [{ path: `${folder}/holder_class`, text: old?.trim() || "\n" }],
      },
      meanings: {},
    },
  ];
}

/** Gives a namespace to the device that holds it, and that one to its driver, which describes it on the medium. */
function holdSteps(plan: NamespacePlan, holder: string, uuid: () => string): NamedStep[] {
  const { name, mode } = plan;
  const folder = `${ND_DEVICES}/${holder}`;
  const inside = (step: string, file: string, text: string, meanings: Record<string, string> = {}): NamedStep => ({
    name: step,
    inside: { path: `${folder}/${file}`, text },
    meanings,
  });
  return [
    {
      name: "hold",
      change: {
        what: `holder of ${name}`,
        write: { path: `${folder}/namespace`, text: name },
        probe: { kind: "text", path: `${ND_DEVICES}/${name}/mode` },
        // The driver's description would bring the holder back.
        undo: () => [{ path: `${folder}/namespace`, text: "\n" }, ...withoutDescription(name)],
      },
      meanings: { EBUSY: "another device holds it", ENXIO: "it is smaller than 16 MiB" },
    },
    inside("map", "mode", plan.map === "mem" ? "ram" : "pmem"),
    inside("uuid of the holder", "uuid", uuid()),
    inside("alignment", "align", String(plan.alignBytes), { EINVAL: "the kernel has no pages of this size here" }),
    bindStep(holder, driverOf(mode), folder),
  ];
}

function bindStep(device: string, driver: string, folder: string): NamedStep {
  return {
    name: "enable",
    change: {
      what: `driver of ${device}`,
      write: { path: `${DRIVERS}/${driver}/bind`, text: device },
      probe: { kind: "link", path: `${folder}/driver` },
      undo: () => [{ path: `${DRIVERS}/${driver}/unbind`, text: device }],
    },
    meanings: {
      ENXIO: "the driver refused it: dmesg says why; start and size must be multiples of the alignment",
      ENOMEM: "there is no room for the page map: 64 bytes for each 4 KiB",
      EOPNOTSUPP: "the memory at this address cannot be aligned this way",
    },
  };
}

/** The block device of a namespace that nothing holds (drivers/nvdimm/namespace_devs.c, `nvdimm_namespace_disk_name`). */
function diskOf(name: string): string {
  const [, region = "", id = ""] = /^namespace(\d+)\.(\d+)$/.exec(name) ?? [];
  return `/dev/pmem${region}${id === "0" ? "" : `.${id}`}`;
}

/** Writes that remove the description of a holder from the medium; the namespace has no driver before and after. */
function withoutDescription(name: string): UndoWrite[] {
  const raw = `${ND_DEVICES}/${name}/force_raw`;
  return [
    { path: raw, text: "1" },
    { path: `${PMEM}/bind`, text: name },
    { path: diskOf(name), offset: DESCRIPTION.offset, hex: NO_DESCRIPTION },
    { path: `${PMEM}/unbind`, text: name },
    { path: raw, text: "0" },
  ];
}

/**
 * Takes a namespace apart: what holds it lets go, and its description is removed. No driver has it afterwards. Each step has
 * its way back.
 */
function takeApartSteps(namespace: Namespace): NamedStep[] {
  const { name, holder } = namespace;
  const folder = `${ND_DEVICES}/${name}`;
  if (holder === null) return namespace.isEnabled ? [unbindStep(name, folder)] : [];
  const held = `${ND_DEVICES}/${holder}`;
  const driver = driverOf(namespace.mode === "devdax" ? "devdax" : "fsdax");
  const raw = `${folder}/force_raw`;
  return [
    ...namespace.isEnabled
      ? [
        {
          name: "disable",
          change: {
            what: `driver of ${holder}`,
            write: { path: `${DRIVERS}/${driver}/unbind`, text: holder },
            // Not the link: when the holder is made again it may have another name, and this path is gone then.
            probe: { kind: "text", path: `${held}/uevent` },
            undo: () => [{ path: `${DRIVERS}/${driver}/bind`, text: holder }],
          },
          meanings: {},
        } satisfies NamedStep,
      ]
      : [],
    {
      name: "let go",
      change: {
        what: `holder of ${name}`,
        write: { path: `${held}/namespace`, text: "\n" },
        probe: { kind: "text", path: `${folder}/mode` },
        // The kernel finds the description, and makes the holder of it.
        undo: () => [{ path: "/sys/bus/nd/drivers_probe", text: name }],
      },
      meanings: { EBUSY: "its driver is bound again" },
    },
    { name: "raw access", change: { what: `raw access to ${name}`, write: { path: raw, text: "1" } }, meanings: {} },
    bindStep(name, "nd_pmem", folder),
    {
      name: "description",
      change: {
        what: `description of ${holder} on ${diskOf(name)}`,
        write: { path: diskOf(name), offset: DESCRIPTION.offset, hex: NO_DESCRIPTION },
      },
      meanings: { EIO: "the medium has errors there" },
    },
    unbindStep(name, folder),
    {
      name: "raw access off",
      change: { what: `raw access to ${name}`, write: { path: raw, text: "0" } },
      meanings: {},
    },
  ];
}

function unbindStep(name: string, folder: string): NamedStep {
  return {
    name: "disable",
    change: {
      what: `driver of ${name}`,
      write: { path: `${PMEM}/unbind`, text: name },
      probe: { kind: "link", path: `${folder}/driver` },
      after: null,
      undo: () => [{ path: `${PMEM}/bind`, text: name }],
    },
    meanings: {},
  };
}

/** What a change may overrule. */
export interface NamespaceOptions {
  /** The name of the namespace: says that its contents may go. */
  readonly erase?: string | undefined;
  /** Whether the kernel refuses an exclusive open of a block device; asked of this machine by default. */
  readonly isClaimed?: (device: string) => boolean;
  /** Ends it early; what was done is put back. */
  readonly signal?: AbortSignal;
}

/**
 * Refuses when something uses a namespace, or nobody said that its contents may go.
 *
 * @throws {BusbarError} `busy`, or `usage` for missing leave to erase
 */
export function checkNamespaceFree(
  journal: UndoJournal,
  host: Host,
  namespace: Namespace,
  options: NamespaceOptions,
): void {
  checkMode(namespace);
  const [use, ...others] = namespaceUses(host, namespace, options.isClaimed);
  if (use !== undefined) {
    const more = others.length > 0 ? ` (and ${others.length} more)` : "";
    journal.refuse(
      new BusbarError("busy", `${namespace.name}: ${use}${more}`, {
        operation: "take a namespace",
        path: namespace.name,
        hint: "end what uses it first: nothing overrules this",
      }),
    );
  }
  if (options.erase === namespace.name) return;
  journal.refuse(
    new BusbarError("usage", `the contents of ${namespace.name} would be lost`, {
      operation: "take a namespace",
      path: namespace.name,
      hint: `--erase ${namespace.name} says that they may go`,
    }),
  );
}

/** Who uses a namespace, a sentence each: programs, mounts, swap, other block devices, the kernel. */
export function namespaceUses(
  host: Host,
  { device }: Namespace,
  isClaimed: (device: string) => boolean = isClaimedByKernel,
): string[] {
  if (device === null) return [];
  const name = device.slice("/dev/".length);
  const uses = name.startsWith("dax")
    ? daxUses(host, readDaxDevice(host, name)).filter((use) => use.kind !== "namespace")
    : blockUses(host, [name], isClaimed);
  return uses.map(({ text }) => text);
}

/**
 * Makes a namespace. When a step fails, everything that was done is undone in order before the error is thrown. Contents
 * that were under it are lost once the step `enable` was begun.
 *
 * @throws {BusbarError} that names the step, the file, the value, the kernel's answer and what was undone
 */
export function createNamespace(
  journal: UndoJournal,
  host: Host,
  plan: NamespacePlan,
  options: NamespaceOptions,
): void {
  if (plan.replaced !== null) checkNamespaceFree(journal, host, plan.replaced, options);
  const steps = createSteps(plan, () => crypto.randomUUID());
  // Kernels before 4.13 have no class.
  const there = steps.filter(({ name }) => name !== "class" || exists(host, `${ND_DEVICES}/${plan.name}/holder_class`));
  makeSteps(journal, there, { subject: plan.name, operation: "make a namespace", signal: options.signal });
}

/**
 * Destroys a namespace: what holds it lets go, its description is removed from the medium, and where its region has labels
 * its space becomes free. Until that last write everything is put back on a failure. Blocks of its contents are not
 * overwritten. Without labels the namespace stays, as raw memory.
 *
 * @throws {BusbarError} `busy` when it is used, `usage` for missing leave to erase
 */
export function destroyNamespace(
  journal: UndoJournal,
  host: Host,
  namespace: Namespace,
  hasLabels: boolean,
  options: NamespaceOptions,
): void {
  checkNamespaceFree(journal, host, namespace, options);
  const names = { subject: namespace.name, operation: "destroy a namespace", signal: options.signal };
  const folder = `${ND_DEVICES}/${namespace.name}`;
  if (!hasLabels) {
    if (namespace.holder === null) {
      throw new BusbarError("unsupported", `${namespace.name} is raw memory already, and its region has no labels`, {
        operation: "destroy a namespace",
        path: namespace.name,
        hint: "there is nothing that could be destroyed but its contents: write zeros to its device",
      });
    }
    const steps = [...takeApartSteps(namespace), bindStep(namespace.name, "nd_pmem", folder)];
    return makeSteps(journal, steps, names);
  }
  makeSteps(journal, takeApartSteps(namespace), names);
  if (!journal.isDryRun) journal.keepChanges();
  try {
    journal.changeInside(`size of ${namespace.name}`, { path: `${folder}/size`, text: "0" });
  } catch (error) {
    if (!(error instanceof BusbarError)) throw error;
    const text = `${namespace.name} was taken apart, but its label could not be removed: ${error.message}`;
    throw new BusbarError(error.code, text, {
      operation: "destroy a namespace: size",
      path: `${folder}/size`,
      hint: `dax_config namespace destroy ${namespace.name} --erase ${namespace.name} tries that again`,
      cause: error,
    });
  }
}

function makeSteps(
  journal: UndoJournal,
  steps: readonly NamedStep[],
  { subject, operation, signal }: {
    readonly subject: string;
    readonly operation: string;
    readonly signal: AbortSignal | undefined;
  },
): void {
  for (const step of steps) {
    try {
      signal?.throwIfAborted();
      makeStep(journal, step, subject);
    } catch (error) {
      throw stepError(error, { name: step.name, step, subject, operation, undone: journal.rollBack() });
    }
  }
}
