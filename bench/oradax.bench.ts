// deno-lint-ignore-file no-console
/**
 * How fast the software coprocessor is: one unit, 64 MiB of input, as a ratio to reading as many bytes in C in the same run.
 *
 * It prints one table by width: (input + output bytes) in a second of processor time, divided by the bytes that a read-only
 * sum in C reads in a second. Then, where Python has numpy, the same results by numpy's best expression.
 */

import { MEASURED_COMMANDS, MEASURED_WIDTHS, type MeasuredCommand, OradaxMeasure } from "../src/oradax/measure.ts";

const NUMPY = `
import time, sys
import numpy as np
def best(work):
    times = []
    for _ in range(5):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)
raw = np.random.default_rng(1).integers(0, 256, 64 << 20, dtype=np.uint8)
def report(name, elements, work):
    print(name, elements / best(work), flush=True)
for bits, kind in ((8, '>u1'), (16, '>u2'), (32, '>u4')):
    numbers = raw.view(kind)
    low, high = numbers.dtype.type(1), numbers.dtype.type(1 << (bits - 1))
    report(f'scan {bits}', len(numbers), lambda: np.packbits((numbers >= low) & (numbers <= high)))
part = raw[: 12 << 20]
def unpacked():
    three = part.reshape(-1, 3)
    out = np.empty((len(three), 2), np.uint16)
    out[:, 0] = (three[:, 0].astype(np.uint16) << 4) | (three[:, 1] >> 4)
    out[:, 1] = ((three[:, 1].astype(np.uint16) & 15) << 8) | three[:, 2]
    return out.reshape(-1)
elements = len(part) * 8 // 12
table = np.random.default_rng(2).integers(0, 2, 4096, dtype=np.uint8)
mask = np.random.default_rng(3).integers(0, 2, elements, dtype=np.uint8).view(bool)
def scanned():
    numbers = unpacked()
    return np.packbits((numbers >= 1) & (numbers <= 2048))
report('scan 12', elements, scanned)
report('extract 12', elements, lambda: unpacked().byteswap())
report('select 12', elements, lambda: unpacked()[mask].byteswap())
report('translate 12', elements, lambda: np.packbits(table[unpacked()]))
`;

/** Elements in a second by numpy, by "command bits"; null where there is no numpy. */
function numpyRates(): Map<string, number> | null {
  try {
    const output = new Deno.Command("python3", { args: ["-c", NUMPY], stderr: "null" }).outputSync();
    if (!output.success) return null;
    const lines = new TextDecoder().decode(output.stdout).trim().split("\n");
    return new Map(lines.map((line) => {
      const words = line.split(" ");
      return [words.slice(0, 2).join(" "), Number(words[2])];
    }));
  } catch {
    return null;
  }
}

using measure = new OradaxMeasure();
const readRate = measure.readRate();
const rates = new Map<string, number>();
console.log(`${measure.loops} loops; a read-only sum in C: ${(readRate / 1e9).toFixed(1)} GB/s\n`);
console.log(`${"width".padEnd(7)}${MEASURED_COMMANDS.map((command) => command.padStart(11)).join("")}`);
for (const bits of MEASURED_WIDTHS) {
  const cells = MEASURED_COMMANDS.map((command: MeasuredCommand) => {
    if (bits > 16 && command !== "scan") return "";
    const { ratio, elements, seconds } = measure.measure(command, bits, Math.max(readRate, measure.readRate()));
    rates.set(`${command} ${bits}`, elements / seconds);
    return ratio.toFixed(2);
  });
  console.log(`${String(bits).padEnd(7)}${cells.map((cell) => cell.padStart(11)).join("")}`);
}

const numpy = numpyRates();
if (numpy === null) console.log("\nnot run: numpy (python3 has none)");
else console.log("\nelements in a second, by numpy and here");
for (const [what, rate] of numpy ?? []) {
  const ours = rates.get(what) ?? NaN;
  const numbers = [rate, ours].map((one) => `${(one / 1e6).toFixed(0).padStart(8)} M`).join("");
  console.log(`${what.padEnd(14)}${numbers}${`${(ours / rate).toFixed(1)} ×`.padStart(9)}`);
}
