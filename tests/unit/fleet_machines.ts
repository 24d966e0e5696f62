/** Forty recorded machines that are alike but for what is planted. */

import { type FunctionSpec, pciMachineText } from "./pci_machine.ts";

/** What differs on a host. */
export interface Planted {
  /** Buses below the ports begin here: where the kernel put them, which is no difference. */
  readonly bus?: number;
  /** Width of the drive's link. */
  readonly width?: number;
  /** ACS of the drive's port. */
  readonly acs?: readonly string[];
  /** Type of the drive's IOMMU group. */
  readonly iommu?: string;
  /** The drive is not there. */
  readonly noDrive?: boolean;
  /** A second drive. */
  readonly secondDrive?: boolean;
  /** Model of the processor. */
  readonly model?: string;
  /** Driver of the drive. */
  readonly driver?: string;
}

/** The recording of a host. */
export function fleetMachine(planted: Planted): string {
  const bus = planted.bus ?? 1;
  const two = (value: number): string => value.toString(16).padStart(2, "0");
  const drive = (at: string, group: number): FunctionSpec => ({
    at,
    id: "144d:a80a",
    class: "010802",
    link: [4, planted.width ?? 4, 4, 4],
    driver: planted.driver ?? "nvme",
    group,
    bars: [{ bar: 0, address: 0xfc000000 + bus * 0x10000, size: 0x4000 }],
  });
  const acs = planted.acs ?? ["SrcValid", "ReqRedir"];
  return pciMachineText({
    cpu: { vendor_id: "AuthenticAMD", "cpu family": 25, model: 33, "model name": planted.model ?? "AMD Ryzen 9 5950X" },
    groups: { [String(bus + 10)]: planted.iommu ?? "DMA-FQ" },
    functions: [
      { at: "00:00.0", id: "1022:1480", kind: "host-bridge" },
      { at: "00:01.1", id: "1022:1483", kind: "root-port", buses: [bus, bus], link: [4, 4, 4, 4], acs },
      { at: "00:03.1", id: "1022:1484", kind: "root-port", buses: [bus + 4, bus + 4], link: [4, 16, 4, 16], acs },
      ...planted.noDrive === true ? [] : [drive(`${two(bus)}:00.0`, bus + 10)],
      ...planted.secondDrive === true ? [drive(`${two(bus + 4)}:00.0`, bus + 14)] : [],
    ],
  });
}

/** The hosts that are not as the others, by name, and the name of a field in which they are not. */
export const PLANTED: Readonly<Record<string, readonly [planted: Planted, fields: readonly string[]]>> = {
  lab03: [{ width: 2 }, ["link.current.width"]],
  lab07: [{ width: 2, bus: 0x20 }, ["link.current.width"]],
  lab12: [{ acs: ["SrcValid"] }, ["acs.enabled"]],
  lab19: [{ iommu: "identity" }, ["iommu.type"]],
  lab24: [{ noDrive: true }, ["[Samsung"]],
  lab31: [{ secondDrive: true }, ["#2]"]],
  lab36: [{ model: "AMD Ryzen 9 3950X" }, ["processor"]],
  lab40: [{ driver: "vfio-pci" }, ["driver"]],
};

/** All forty, by name. Every fourth one has its buses elsewhere. */
export function fleetMachines(): Map<string, string> {
  return new Map(Array.from({ length: 40 }, (_, i) => {
    const name = `lab${String(i + 1).padStart(2, "0")}`;
    return [name, fleetMachine({ bus: i % 4 === 0 ? 3 + i : 1, ...PLANTED[name]?.[0] })];
  }));
}
