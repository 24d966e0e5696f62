// A register table of one's own: written down once, it decodes registers and finds bits that no field covers.
import { decodeTable, type Layout } from "@busbar/busbar";

const kelvin = (value: bigint): string => `${value} K`;
const fields = [{ name: "EN", bits: 0, title: "Enabled" }, { name: "RATE", bits: [7, 4], title: "Samples/s" }] as const;
const thermometer: Layout = {
  name: "thermometer",
  source: "its manual, table 4",
  rows: [
    { type: "uint", name: "TEMP", offset: 2, sizeBytes: 2, title: "Temperature", kind: "quantity", meaning: kelvin },
    { type: "uint", name: "CTL", offset: 4, sizeBytes: 4, title: "Control", kind: "register", fields },
  ],
};
const table = decodeTable(thermometer, Uint8Array.of(0x34, 0x12, 0x2c, 0x01, 0x51, 0, 0, 0x80));
console.log(table.row("TEMP").meaning, `rate ${table.field("CTL", "RATE")}, reserved ${table.row("CTL").reservedBits}`);
