/**
 * How QEMU's command line writes values.
 * @module
 */

/** A value of a QEMU property; a bigint is a size in bytes. */
export type QemuValue = string | number | boolean | bigint;

/** `first,key=value,…`: what follows an option. Commas in values are doubled, flags are on and off. */
export function optionText(first: string | null, values: Readonly<Record<string, QemuValue>>): string {
  const words = Object.entries(values).map(([key, value]) => `${key}=${escapeCommas(valueText(value))}`);
  return [...(first === null ? [] : [first]), ...words].join(",");
}

/** The entries that have a value. */
export function defined(values: Readonly<Record<string, QemuValue | undefined>>): Record<string, QemuValue> {
  const result: Record<string, QemuValue> = {};
  for (const [key, value] of Object.entries(values)) if (value !== undefined) result[key] = value;
  return result;
}

/** Processor numbers as QEMU writes them: 0-3 for a run, one text for each run. */
export function ranges(cpus: readonly number[]): string[] {
  const runs: [number, number][] = [];
  for (const cpu of cpus.toSorted((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] + 1 === cpu) last[1] = cpu;
    else runs.push([cpu, cpu]);
  }
  return runs.map(([first, last]) => first === last ? `${first}` : `${first}-${last}`);
}

function valueText(value: QemuValue): string {
  if (typeof value === "boolean") return value ? "on" : "off";
  return typeof value === "bigint" ? sizeText(value) : String(value);
}

/** A size with the largest suffix that keeps it exact: QEMU's are powers of 1024. */
export function sizeText(bytes: bigint): string {
  for (const [shift, suffix] of [[30n, "G"], [20n, "M"], [10n, "K"]] as const) {
    if (bytes > 0n && bytes % (1n << shift) === 0n) return `${bytes >> shift}${suffix}`;
  }
  return bytes.toString();
}

/** A comma ends a value, two of them are one comma. */
export function escapeCommas(text: string): string {
  return text.replaceAll(",", ",,");
}
