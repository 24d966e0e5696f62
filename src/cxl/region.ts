/**
 * Creating and destroying regions by sysfs, as named steps that are undone in order when one fails.
 *
 * Source: Linux drivers/cxl/core/region.c; Documentation/ABI/testing/sysfs-bus-cxl.
 * @module
 */

import { Deadline, pause, waitFor } from "../core/deadline.ts";
import { BusbarError } from "../core/error.ts";
import type { Host } from "../core/host.ts";
import type { UndoJournal } from "../core/undo/journal.ts";
import { makeStep, type NamedStep, stepError } from "../core/undo/steps.ts";
import { hex } from "../core/units.ts";
import { type BlockWait, holdBackNewMemory, type OnlineZone } from "../memory/blocks.ts";
import {
  checkDaxFree,
  daxToDevdax,
  daxToSystemRam,
  detachDax,
  hasSettled,
  offlineDax,
  onlineDax,
} from "../memory/dax_mode.ts";
import { type DaxDevice, listNamespaces, readDaxDevice } from "../memory/devdax.ts";
import type { RegionPlan } from "./plan.ts";
import { CXL_DEVICES, type CxlRegion, type CxlTopology, daxDevicesOf } from "./topology.ts";

const REGION_DRIVER = "/sys/bus/cxl/drivers/cxl_region";

/** The kernel makes dax devices of a region before the write to `bind` returns, unless a module must be loaded. */
const DAX_LIMIT_MS = 5_000;

/** A driver that has not taken a new dax device after this time is not loaded. */
const DAX_DRIVER_LIMIT_MS = 2_000;

/** One step of creating a region. */
export type RegionStep = NamedStep;

/** The steps that create a region, in order. */
export function regionSteps(plan: RegionPlan): RegionStep[] {
  const folder = `${CXL_DEVICES}/${plan.region}`;
  const window = `${CXL_DEVICES}/${plan.window}`;
  const inside = (name: string, file: string, text: string, meanings: Record<string, string>): RegionStep => ({
    name,
    inside: { path: `${folder}/${file}`, text },
    meanings,
  });
  const shareBytes = plan.sizeBytes / BigInt(plan.targets.length);
  return [
    {
      name: "create",
      change: {
        what: plan.region,
        write: { path: `${window}/create_${plan.type}_region`, text: plan.region },
        probe: { kind: "presence", path: folder },
        undo: () => [{ path: `${window}/delete_region`, text: plan.region }],
      },
      meanings: {
        EBUSY: "another program took the name at the same moment: try again",
        ENODEV: `${plan.window} takes no ${plan.type} regions`,
      },
    },
    inside("granularity", "interleave_granularity", String(plan.granularityBytes), {
      EINVAL: "it is a power of two from 256 to 16384, and the window's own where that is interleaved",
    }),
    inside("ways", "interleave_ways", String(plan.targets.length), {
      EINVAL: "the number of devices must be a multiple of the window's ways",
    }),
    // The kernel takes 37 characters and no fewer: with the end of the line.
    ...plan.uuid === null ? [] : [inside("uuid", "uuid", `${plan.uuid}\n`, { EBUSY: "another region has this uuid" })],
    inside("size", "size", hex(plan.sizeBytes), {
      EINVAL: "it is a multiple of 256 MiB for each device",
      ENOSPC: "the window has no such run of addresses left",
      ERANGE: "the window has no such run of addresses left",
    }),
    ...plan.targets.flatMap(({ memdev, decoder }): RegionStep[] => [
      {
        // The kernel has no way back to `none`; without reserved memory the mode means nothing.
        name: `mode of ${decoder}`,
        inside: { path: `${CXL_DEVICES}/${decoder}/mode`, text: plan.type },
        meanings: { EBUSY: `${decoder} was taken meanwhile`, EINVAL: `${memdev} has no ${plan.type} memory` },
      },
      {
        name: `reserve ${memdev}`,
        change: {
          what: `memory of ${memdev} for ${decoder}`,
          write: { path: `${CXL_DEVICES}/${decoder}/dpa_size`, text: hex(shareBytes) },
        },
        meanings: {
          ENOSPC: `${memdev} has no such run of memory left`,
          EBUSY: `a lower decoder of ${memdev} has no memory yet: they are used in increasing order`,
          ENXIO: `a lower decoder of ${memdev} has no memory yet: they are used in increasing order`,
        },
      },
    ]),
    ...plan.targets.map(({ memdev, decoder }, k): RegionStep => ({
      name: `attach ${memdev}`,
      change: {
        what: `target ${k} of ${plan.region}`,
        write: { path: `${folder}/target${k}`, text: decoder },
        undo: () => [{ path: `${folder}/target${k}`, text: "\n" }],
      },
      meanings: {
        ENXIO:
          `${memdev} is not reached from ${plan.window} at position ${k}, or a port on the way has no free decoder`,
        EBUSY: "the position is taken, or a higher decoder has lower addresses",
        EINVAL: `${decoder} does not fit the region`,
      },
    })),
    {
      name: "commit",
      change: { what: `decoders of ${plan.region}`, write: { path: `${folder}/commit`, text: "1" } },
      meanings: {
        ENXIO: "the kernel cannot drop what processors have cached (under a hypervisor), or a decoder refused",
        EBUSY: "a decoder of a port on the way is not free",
      },
    },
    {
      name: "bind",
      change: {
        what: `driver of ${plan.region}`,
        write: { path: `${REGION_DRIVER}/bind`, text: plan.region },
        probe: { kind: "link", path: `${folder}/driver` },
        undo: () => [{ path: `${REGION_DRIVER}/unbind`, text: plan.region }],
      },
      meanings: {
        ENODEV: "the region driver refused it: dmesg says why",
        ENXIO: "the region is not committed",
      },
    },
  ];
}

/** How a new region is used. */
export interface CreateOptions extends BlockWait {
  /**
   * What its memory becomes: `system-ram`, taken into use in `zone`; `devdax`, for programs to map; `offline`, given to
   * the kernel and not taken into use. Regions of persistent memory become none of these: namespaces are made of them.
   */
  readonly use: "system-ram" | "devdax" | "offline";
  /** What the kernel may put into it. Movable by default, so that it can be taken away again. */
  readonly zone?: OnlineZone;
}

/**
 * Creates a region. When a step fails, everything that was done is undone in order before the error is thrown.
 *
 * @returns the dax devices that were made of it; none for persistent memory, and in a dry run
 * @throws {BusbarError} that names the step, the file, the value, the kernel's answer and what was undone
 */
export async function createRegion(
  journal: UndoJournal,
  host: Host,
  plan: RegionPlan,
  options: CreateOptions,
): Promise<DaxDevice[]> {
  let step = "hold back new memory";
  let current: RegionStep | null = null;
  try {
    const putBack = plan.type === "ram" ? holdBackNewMemory(journal, host) : () => {};
    for (current of regionSteps(plan)) {
      step = current.name;
      makeStep(journal, current, plan.region);
      options.signal?.throwIfAborted();
    }
    current = null;
    step = "wait for the dax device";
    if (plan.type === "pmem") return [];
    const devices = journal.isDryRun ? [] : await newDaxDevices(host, plan.region, options.signal);
    for (const device of devices) {
      step = `make ${device.name} ${options.use}`;
      if (options.use === "devdax") await daxToDevdax(journal, host, device, options);
      // Somebody's earlier device of this name may have left it in the list of the driver for programs: daxctl does.
      else if (device.driver !== null && device.driver !== "kmem") {
        await daxToSystemRam(journal, host, device, options.use === "offline" ? { ...options, zone: null } : options);
      } else if (options.use === "system-ram") await onlineDax(journal, host, device, options);
    }
    step = "put automatic onlining back";
    putBack();
    return devices.map((device) => readDaxDevice(host, device.name));
  } catch (error) {
    throw stepError(error, {
      name: step,
      step: current,
      subject: plan.region,
      operation: "create a region",
      undone: journal.rollBack(),
    });
  }
}

async function newDaxDevices(host: Host, region: string, signal: AbortSignal | undefined): Promise<DaxDevice[]> {
  const names = await waitFor(() => {
    const found = daxDevicesOf(host, region);
    return found.length === 0 ? undefined : found;
  }, {
    deadline: Deadline.after(DAX_LIMIT_MS),
    what: "a dax device of the region",
    path: region,
    hint: "the module dax_cxl is needed (CONFIG_DEV_DAX_CXL)",
    signal,
    intervalMs: 20,
  });
  const read = (): DaxDevice[] => names.map((name) => readDaxDevice(host, name));
  const deadline = Deadline.after(DAX_DRIVER_LIMIT_MS);
  while (!deadline.expired && !read().every((device) => hasSettled(host, device))) await pause(20, signal);
  return read();
}

/** What a destruction may overrule, and how long it may take. */
export interface DestroyOptions extends BlockWait {
  /** The serial number of one of the region's devices: says that persistent contents may go. */
  readonly erase?: string | undefined;
  /** Destroy it although programs have its dax device open or mapped. */
  readonly force?: boolean;
}

/**
 * Refuses when something speaks against destroying a region.
 *
 * @throws {BusbarError} `busy` when it is used, `usage` for missing leave to erase
 */
export function checkDestroy(
  journal: UndoJournal,
  host: Host,
  topology: CxlTopology,
  region: CxlRegion,
  options: DestroyOptions,
): void {
  if (region.type === "pmem") {
    const number = /\d+$/.exec(region.name)?.[0];
    const namespaces = listNamespaces(host).filter(({ folder }) =>
      folder.includes("/nvdimm-bridge") && folder.includes(`/region${number}/`)
    );
    if (namespaces.length > 0) {
      journal.refuse(
        new BusbarError("busy", `${region.name} holds ${namespaces.map((one) => one.name).join(", ")}`, {
          operation: "destroy a region",
          path: region.name,
          hint: `ndctl destroy-namespace --force ${namespaces[0]?.name} removes it and its contents`,
        }),
      );
    }
    const serials = region.memdevs.flatMap((name) =>
      topology.memdevs.filter((device) => device.name === name).map((device) => device.serial)
    );
    const leave = options.erase !== undefined && /^(?:0x[0-9a-f]+|\d+)$/i.test(options.erase) &&
      serials.includes(BigInt(options.erase));
    if (!leave && serials.length > 0) {
      journal.refuse(
        new BusbarError("usage", `${region.name} is persistent memory: its contents could not be found again`, {
          operation: "destroy a region",
          path: region.name,
          hint: `--erase=${hex(serials[0] ?? 0n)} says that they may go`,
        }),
      );
    }
  }
  for (const name of region.daxDevices) checkDaxFree(journal, host, readDaxDevice(host, name), options);
}

/**
 * Destroys a region: its memory is taken out of use, its dax devices lose their driver, its decoders are freed.
 * A failure before the last step leaves the region as it was, once the journal is rolled back.
 *
 * @throws {BusbarError} `busy` or `timeout` when its memory is in use, `usage` for missing leave to erase
 */
export async function destroyRegion(
  journal: UndoJournal,
  host: Host,
  topology: CxlTopology,
  region: CxlRegion,
  options: DestroyOptions,
): Promise<void> {
  checkDestroy(journal, host, topology, region, options);
  const folder = `${CXL_DEVICES}/${region.name}`;
  for (const name of region.daxDevices) {
    const device = readDaxDevice(host, name);
    await offlineDax(journal, host, device, options);
    // Asked again right before: a program may have opened it meanwhile.
    checkDaxFree(journal, host, device, options);
    detachDax(journal, device);
  }
  if (region.enabled) {
    journal.change({
      what: `driver of ${region.name}`,
      write: { path: `${REGION_DRIVER}/unbind`, text: region.name },
      probe: { kind: "link", path: `${folder}/driver` },
      after: null,
      undo: () => [{ path: `${REGION_DRIVER}/bind`, text: region.name }],
    });
  }
  if (region.committed) {
    journal.change({ what: `decoders of ${region.name}`, write: { path: `${folder}/commit`, text: "0" } });
  }
  for (const [k, decoder] of region.targets.entries()) {
    if (decoder === null) continue;
    journal.change({ what: `target ${k} of ${region.name}`, write: { path: `${folder}/target${k}`, text: "\n" } });
  }
  for (const decoder of region.targets) {
    if (decoder === null) continue;
    const path = `${CXL_DEVICES}/${decoder}/dpa_size`;
    journal.change({ what: `memory of ${decoder}`, write: { path, text: "0" } });
  }
  // What remains is an empty name. It goes last, when nothing is left that would have to come back with it.
  if (!journal.isDryRun) journal.keepChanges();
  const path = `${CXL_DEVICES}/${region.window}/delete_region`;
  journal.changeInside(`delete ${region.name}`, { path, text: region.name });
}
