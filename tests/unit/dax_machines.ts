/**
 * Made-up machines with direct-access memory. Paths and contents are those that Linux 6.12 shows in the lab machine
 * dax.yaml after `ndctl create-namespace -m devdax` and `-m fsdax`.
 * @module
 */

import { MadeUpMachine } from "./machines.ts";

const BUS = "/sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0";

/** The folder of dax0.0 of {@linkcode daxMachine}. */
export const DAX_FOLDER: string = `${BUS}/region0/dax0.0/dax0.0`;

/** A machine with one devdax of 250 MiB, `/dev/dax0.0`, and one fsdax block device, `/dev/pmem1`. */
export function daxMachine(): MadeUpMachine {
  const machine = new MadeUpMachine();
  machine
    .link(
      "/sys/bus/dax/devices/dax0.0",
      "../../../devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region0/dax0.0/dax0.0",
    )
    .file(`${DAX_FOLDER}/size`, "262144000\n")
    .file(`${DAX_FOLDER}/align`, "2097152\n")
    .file(`${DAX_FOLDER}/dev`, "252:1\n")
    .file(`${DAX_FOLDER}/resource`, "0x100600000\n")
    .file(`${DAX_FOLDER}/target_node`, "0\n")
    .file(`${DAX_FOLDER}/numa_node`, "0\n")
    .file(`${DAX_FOLDER}/mapping0/start`, "0x100600000\n")
    .file(`${DAX_FOLDER}/mapping0/end`, "0x10fffffff\n")
    .file(`${DAX_FOLDER}/mapping0/page_offset`, "0x0\n")
    .link(`${DAX_FOLDER}/driver`, "../../../../../../../../bus/dax/drivers/device_dax")
    .file(`${BUS}/region0/dax0.0/namespace`, "namespace0.0\n")
    .file(`${BUS}/region0/dax0.0/dax_region/id`, "0\n")
    .file(`${BUS}/region0/dax0.0/dax_region/size`, "262144000\n")
    .file(`${BUS}/region0/dax0.0/dax_region/align`, "2097152\n");
  namespace(machine, 0, "dax", "dax0.0");
  namespace(machine, 1, "memory", "pfn1.0");
  machine.file(`${BUS}/region1/pfn1.0/block/pmem1/dev`, "259:0\n");
  for (const region of [0, 1]) {
    machine.link(
      `/sys/bus/nd/devices/region${region}`,
      `../../../devices/${BUS.slice("/sys/devices/".length)}/region${region}`,
    );
  }
  return machine;
}

function namespace(machine: MadeUpMachine, region: number, mode: string, holder: string): void {
  const folder = `${BUS}/region${region}/namespace${region}.0`;
  machine
    .link(`/sys/bus/nd/devices/namespace${region}.0`, `../../../devices/${folder.slice("/sys/devices/".length)}`)
    .file(`${folder}/mode`, `${mode}\n`)
    .file(`${folder}/size`, "268435456\n")
    .file(`${folder}/holder`, `${holder}\n`);
}

/** Gives dax0.0 to the kernel as system RAM, as `daxctl reconfigure-device -m system-ram` does. */
export function makeSystemRam(machine: MadeUpMachine): void {
  machine.link(`${DAX_FOLDER}/driver`, "../../../../../../../../bus/dax/drivers/kmem");
}
