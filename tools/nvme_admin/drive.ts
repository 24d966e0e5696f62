/**
 * What all actions of `nvme_admin` share: opening the drive, refusing what is in use, asking for confirmation, waiting.
 * @module
 */

import { pause } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import type { JsonObject } from "../../src/core/layout_json.ts";
import { type Locator, parseLocator } from "../../src/core/locator.ts";
import { formatDecimalBytes } from "../../src/core/units.ts";
import { machineOf } from "../../ffi/machine.ts";
import { ALL_NAMESPACES, NvmeController } from "../../src/nvme/driver/controller.ts";
import { functionUses } from "../../src/pci/bind.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import { pciLocatorOf } from "../../src/pci/kernel_names.ts";
import { note, noteInPlace, print, printJson } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";

/** Options that all actions have. */
export interface DriveOptions {
  /** Allow a change. */
  readonly write?: true | undefined;
  /** Allow that data is destroyed: the serial number. */
  readonly erase?: string | undefined;
  /** Also where something uses the drive. */
  readonly force?: true | undefined;
  /** Tell what would be sent; send nothing. */
  readonly dryRun?: true | undefined;
  /** False: without an IOMMU. */
  readonly iommu?: boolean | undefined;
  /** As JSON. */
  readonly json?: true | undefined;
}

/** An action on a drive. */
export interface DriveAction {
  /** Its name, as on the command line: `format`. */
  readonly name: string;
  /** `read` changes nothing; `write` asks for --write, `erase` for --erase SERIAL. */
  readonly kind: "read" | "write" | "erase";
  /** What it does, as a sentence without a full stop: `formats namespace 1`. */
  readonly does: string;
  /** What is lost, in words; null for nothing. Asked before anything is sent. */
  readonly loses?: (controller: NvmeController) => Promise<string>;
  /** Does it. Returns what --json shows, and the lines for people. */
  readonly perform: (controller: NvmeController) => Promise<ActionResult>;
}

/** What came of an action. */
export interface ActionResult {
  /** Lines for people. */
  readonly lines: readonly string[];
  /** The same for programs. */
  readonly json: JsonObject;
}

/** Opens the drive, checks that the action is allowed, does it, prints what came of it. */
export async function onDrive(device: string, action: DriveAction, options: DriveOptions): Promise<void> {
  const locator = parseLocator(device);
  const isChange = action.kind !== "read";
  if (action.kind === "write" && options.write !== true && options.dryRun !== true) {
    throw new BusbarError("usage", `this ${action.does}: that needs --write`, {
      operation: `nvme_admin ${action.name}`,
      path: device,
      hint: "--dry-run only tells what would be done",
    });
  }
  await using controller = await NvmeController.open(locator, {
    change: isChange && options.dryRun !== true,
    noIommu: options.iommu === false,
  });
  if (isChange) {
    await confirm(controller, action, options);
    if (options.dryRun) return print(`would be sent: ${action.name}, which ${action.does}`);
    refuseInUse(locator, action, options);
  }
  const { lines, json } = await action.perform(controller);
  if (options.json) return printJson({ schema: "nvme_admin/1", device, action: action.name, result: json });
  print(lines.join("\n"));
}

async function confirm(controller: NvmeController, action: DriveAction, options: DriveOptions): Promise<void> {
  const { serial, model } = await controller.identify();
  const lost = action.loses === undefined ? null : await action.loses(controller);
  if (action.kind !== "erase" || options.dryRun || options.erase === serial) {
    if (lost !== null) note(`${action.name} on ${model}, serial number ${serial}: ${lost}`);
    return;
  }
  if (options.erase === undefined) {
    const what = lost === null ? action.does : `${action.does}, and ${lost}`;
    throw new BusbarError("usage", `this ${what}: that needs --erase with the drive's serial number`, {
      operation: `nvme_admin ${action.name}`,
      path: controller.name,
      hint: `the right drive? Then --erase='${serial}'`,
    });
  }
  throw new BusbarError(
    "usage",
    `${controller.name}: its serial number is '${serial}', not '${options.erase}': nothing was sent`,
    {
      operation: `nvme_admin ${action.name}`,
      path: controller.name,
      hint: `the right drive? Then --erase='${serial}'`,
    },
  );
}

/** A drive that the kernel has may be mounted, swapped to, or part of something. Looked at just before. */
function refuseInUse(locator: Locator, { name }: DriveAction, { force }: DriveOptions): void {
  if (locator.kind === "soft" || locator.kind === "file") return;
  const { host } = machineOf(locator);
  const named = pciLocatorOf(locator, host, `nvme_admin ${name}`);
  if (named.kind !== "pci") return;
  // Whoever only reads logs of the controller is in nobody's way.
  const uses = functionUses(host, readPciFunction(host, named.address));
  if (uses.length === 0) return;
  const what = uses.map(({ text }) => text).join("; ");
  if (force === true) return note(`nvme_admin: going on although ${what}`);
  throw new BusbarError("busy", `${locator.text} is in use: ${what}`, {
    operation: `nvme_admin ${name}`,
    path: locator.text,
    hint: "end that use first; --force goes on all the same",
  });
}

/** Every namespace that is reached, with its size: `namespaces 1 (512.1 GB), 2 (…)`. */
export async function describeNamespaces(controller: NvmeController, ids: readonly number[]): Promise<string> {
  if (ids.length === 0) return "no namespace is reached";
  const parts: string[] = [];
  for (const id of ids) {
    const { blocks, blockBytes } = await controller.namespace(id).geometry();
    parts.push(`${id} (${formatDecimalBytes(blocks * BigInt(blockBytes))})`);
  }
  return `all data of namespace${ids.length === 1 ? "" : "s"} ${parts.join(", ")} is lost`;
}

/** All namespaces, or the one that was asked for. */
export function namespaceOrAll(text: string): number {
  if (text === "all") return ALL_NAMESPACES;
  if (/^[1-9]\d{0,9}$/.test(text) && Number(text) < ALL_NAMESPACES) return Number(text);
  throw new BusbarError("usage", `'${text}' is no namespace`, { hint: "write its number, or all" });
}

/**
 * Waits for a command that cannot be called back. Ctrl-C ends the wait with a sentence about the drive's state.
 *
 * @param state what holds when it is interrupted
 * @param progress asked from time to time how much is done, 0 to 1; null where that is not known
 */
export async function inFlight<T>(
  command: Promise<T>,
  what: string,
  state: string,
  progress: () => Promise<number | null> = () => Promise.resolve(null),
): Promise<T> {
  let isOver = false;
  const interrupted = new Promise<never>((_, reject) => {
    interruption.addEventListener("abort", () => {
      if (isOver) return;
      note(`nvme_admin: interrupted: ${state}`);
      reject(interruption.reason);
    }, { once: true });
  });
  const shown = showProgress(what, progress, () => isOver);
  try {
    return await Promise.race([command, interrupted]);
  } finally {
    isOver = true;
    await shown;
  }
}

const LOOK_MS = 500;

async function showProgress(
  what: string,
  progress: () => Promise<number | null>,
  isOver: () => boolean,
): Promise<void> {
  if (!Deno.stderr.isTerminal()) return;
  while (!isOver()) {
    // A drive that is busy may refuse to be asked: then there is nothing to show.
    const done = await progress().catch(() => null);
    if (!isOver()) noteInPlace(`${what}${done === null ? "" : `  ${(100 * done).toFixed(0)} %`}`);
    await pause(LOOK_MS, interruption).catch(() => {});
    if (interruption.aborted) break;
  }
  noteInPlace("");
}

/** Draws how much is done of what is waited for, for people at a terminal. */
export function drawProgress(what: string): (done: number) => void {
  const isShown = Deno.stderr.isTerminal();
  return (done) => isShown && noteInPlace(`${what}  ${(100 * done).toFixed(0)} %`);
}
