/**
 * What differs between two looks at a machine.
 * @module
 */

import { Unknown } from "../core/fact.ts";
import type { InventoryDevice } from "./inventory.ts";
import { formatRate } from "./link.ts";

/** A member of a device that has another value than before, both as text. */
export interface ChangedValue {
  /** The member, as `--json` calls it. */
  readonly name: string;
  /** What it was. */
  readonly before: string;
  /** What it is. */
  readonly after: string;
}

/** A device that came, went or changed. */
export interface InventoryChange {
  /** What happened. */
  readonly change: "came" | "went" | "changed";
  /** The device: as it is, or as it was before it went. */
  readonly device: InventoryDevice;
  /** What changed of it; empty for what came and went. */
  readonly values: readonly ChangedValue[];
}

/** What differs from an earlier look, in the order of the devices. Temperatures do not count: they always differ. */
export function inventoryChanges(
  before: readonly InventoryDevice[],
  after: readonly InventoryDevice[],
): InventoryChange[] {
  const old = new Map(before.map((device) => [keyOf(device), device]));
  const now = new Set(after.map(keyOf));
  return [
    ...before.filter((device) => !now.has(keyOf(device))).map((device): InventoryChange => ({
      change: "went",
      device,
      values: [],
    })),
    ...after.flatMap((device): InventoryChange[] => {
      const earlier = old.get(keyOf(device));
      if (earlier === undefined) return [{ change: "came", device, values: [] }];
      const values = changedValues(earlier, device);
      return values.length === 0 ? [] : [{ change: "changed", device, values }];
    }),
  ];
}

/** Another device in the same slot is another device. */
function keyOf({ id, node }: InventoryDevice): string {
  return node === null ? id : `${id} ${node.function.vendorId} ${node.function.deviceId}`;
}

const WATCHED: Readonly<Record<string, (device: InventoryDevice) => string>> = {
  names: ({ names }) => shown(names),
  driver: ({ driver }) => shown(driver),
  link: ({ link }) => link === null ? "none" : link.state === "up" ? formatRate(link.current) : link.state,
  numaNode: ({ numaNode }) => shown(numaNode),
  iommuGroup: ({ iommuGroup }) => shown(iommuGroup),
  sizeBytes: ({ sizeBytes }) => shown(sizeBytes),
  firmware: ({ firmware }) => shown(firmware),
  powerState: ({ node }) => shown(node === null ? null : node.function.powerState),
  users: ({ users }) => shown(users),
};

function shown(fact: unknown): string {
  if (fact === null) return "none";
  return fact instanceof Unknown ? fact.toString() : Array.isArray(fact) ? fact.join(", ") : String(fact);
}

function changedValues(earlier: InventoryDevice, device: InventoryDevice): ChangedValue[] {
  return Object.entries(WATCHED).map(([name, value]) => ({ name, before: value(earlier), after: value(device) }))
    .filter(({ before, after }) => before !== after);
}
