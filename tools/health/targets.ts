/**
 * The devices that `health` looks at, and how each is read.
 * @module
 */

import { BusbarError, isBusbarError } from "../../src/core/error.ts";
import { Unknown } from "../../src/core/fact.ts";
import { thisMachine } from "../../src/core/host.ts";
import type { DeviceSample } from "../../src/core/health_monitor.ts";
import { type Locator, parseLocator, wrongLocatorKind } from "../../src/core/locator.ts";
import type { MetricRow, MetricValue } from "../../src/core/metrics.ts";
import { formatPciAddress } from "../../src/core/pci_address.ts";
import { CXL_DEVICE_METRICS, readCxlDeviceHealth } from "../../src/cxl/device_health.ts";
import { CXL_METRICS, readCxlEvents } from "../../src/cxl/health.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { readNvmeHealth, SMART_METRICS } from "../../src/nvme/jobs/health.ts";
import { readInventory } from "../../src/pci/inventory.ts";
import { PCI_METRICS, readPciHealth, sleeps } from "../../src/pci/health.ts";
import { pciLocatorOf } from "../../src/pci/kernel_names.ts";
import { interruption } from "../cli/run.ts";

const UP: MetricRow = {
  name: "busbar_device_up",
  type: "gauge",
  help: "1 where the device could be read at the last look.",
};
const INFO: MetricRow = {
  name: "busbar_device_serial",
  type: "gauge",
  help: "Always 1; the label serial is the device's.",
};

/** Every kind of number that `health` shows. */
export const HEALTH_METRICS: readonly MetricRow[] = [
  UP,
  ...SMART_METRICS,
  ...PCI_METRICS,
  ...CXL_METRICS,
  ...CXL_DEVICE_METRICS,
  INFO,
];

/** A command to a drive that takes longer than this is a problem, not a number. */
const READ_LIMIT_MS = 10_000;

/** A device to look at. Dispose lets go of it. */
export interface Target extends AsyncDisposable {
  /** As it was named. */
  readonly device: string;
  /** Looks once. Never throws for what the device does. */
  read(): Promise<DeviceSample>;
}

/** A named part of a machine's device. */
interface Place {
  readonly device: string;
  /** Its PCI address; null for a software device. */
  readonly address: string | null;
  /** How its controller is opened; null where it is no NVMe drive. */
  readonly nvme: string | Locator | null;
  /** `mem0`; null where it is no CXL memory device. */
  readonly memdev: string | null;
}

/** The devices that were named; all drives, GPUs, network and CXL devices where none was. */
export function targetsOf(devices: readonly string[], withSerials: boolean): Target[] {
  const places = devices.length === 0 ? allPlaces() : devices.map(placeOf);
  if (places.length === 0) {
    throw new BusbarError("absent", "this machine has no drives, GPUs, network or CXL devices", {
      hint: "health soft:nvme looks at a software controller",
    });
  }
  return places.map((place) => new DeviceTarget(place, withSerials));
}

function allPlaces(): Place[] {
  return readInventory(thisMachine).devices.flatMap(({ node, kind, names }): Place[] => {
    if (node === null || kind === "other" || kind === "dax") return [];
    const all = names === null || names instanceof Unknown ? [] : names;
    const [first] = all;
    const address = node.function.name;
    return [{
      device: first ?? address,
      address,
      nvme: all.find((name) => /^nvme\d+$/.test(name)) ?? null,
      memdev: all.find((name) => /^mem\d+$/.test(name)) ?? null,
    }];
  });
}

function placeOf(device: string): Place {
  const locator = parseLocator(device);
  if (locator.kind === "soft" && locator.device === "nvme") {
    return { device, address: null, nvme: locator, memdev: null };
  }
  const named = locator.host === null ? pciLocatorOf(locator, thisMachine, "health") : locator;
  if (named.kind !== "pci" || named.host !== null) {
    throw wrongLocatorKind(locator, "health", ["a PCI address (as in 0000:01:00.0)", "nvme0, mem0", "soft:nvme"]);
  }
  const address = formatPciAddress(named.address);
  const known = allPlaces().find((place) => place.address === address);
  return { device, address, nvme: known?.nvme ?? null, memdev: known?.memdev ?? null };
}

class DeviceTarget implements Target {
  readonly device: string;
  readonly #place: Place;
  readonly #withSerials: boolean;
  #controller: NvmeController | null = null;

  constructor(place: Place, withSerials: boolean) {
    this.device = place.device;
    this.#place = place;
    this.#withSerials = withSerials;
  }

  async read(): Promise<DeviceSample> {
    const { device, address } = this.#place;
    const labels = { device, ...(address === null ? {} : { address }) };
    if (address !== null && sleeps(thisMachine, address)) {
      return { device, values: [], problem: "it sleeps, and is not woken" };
    }
    const values: MetricValue[] = [];
    const problems: string[] = [];
    try {
      if (address !== null) values.push(...readPciHealth(thisMachine, address, labels));
      values.push(...await this.#nvme(labels));
      values.push(...await this.#cxl(labels));
    } catch (error) {
      if (!(error instanceof BusbarError) || interruption.aborted) throw error;
      problems.push(error.message);
      await this.#close();
    }
    values.unshift({ row: UP, labels, value: problems.length === 0 ? 1 : 0 });
    return { device, values, problem: problems[0] ?? null };
  }

  async #nvme(labels: Readonly<Record<string, string>>): Promise<MetricValue[]> {
    if (this.#place.nvme === null) return [];
    this.#controller ??= await NvmeController.open(this.#place.nvme);
    const values = await readNvmeHealth(this.#controller, labels, { timeoutMs: READ_LIMIT_MS });
    if (!this.#withSerials) return values;
    const { serial } = await this.#controller.identify();
    return [...values, { row: INFO, labels: { ...labels, serial }, value: 1 }];
  }

  /** That events are not traced, or that it has no such command, says nothing against a device. */
  async #cxl(labels: Readonly<Record<string, string>>): Promise<MetricValue[]> {
    const { memdev } = this.#place;
    if (memdev === null) return [];
    const facts = [
      readCxlEvents(thisMachine, memdev, labels),
      await readCxlDeviceHealth(memdev, labels),
    ];
    return facts.flatMap((fact) => fact === null || fact instanceof Unknown ? [] : fact);
  }

  /** After an error it is opened anew at the next look: it may have been reset, or plugged in again. */
  async #close(): Promise<void> {
    const controller = this.#controller;
    this.#controller = null;
    try {
      await controller?.[Symbol.asyncDispose]();
    } catch (error) {
      if (!isBusbarError(error)) throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}
