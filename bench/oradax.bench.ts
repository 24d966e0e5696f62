// deno-lint-ignore-file no-console
/**
 * How fast the software coprocessor is: one unit, 64 MiB of input, as a ratio to reading as many bytes in C in the same run.
 *
 * It prints one table by width: (input + output bytes) in a second of processor time, divided by the bytes that a read-only
 * sum in C reads in a second. Then, where Python has numpy, the same results by numpy's best expression, by the coprocessor
 * and through the library.
 */

import { OradaxSession } from "../src/oradax/session.ts";
import { packed } from "../src/oradax/vector.ts";
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

/** Elements in a second of elapsed time through a session, by "command bits": typed arrays in, typed arrays out. */
async function libraryRates(): Promise<Map<string, number>> {
  using session = OradaxSession.open("soft:oradax");
  const noise = new Uint8Array(64 << 20);
  for (let at = 0; at < noise.length; at += 65536) crypto.getRandomValues(noise.subarray(at, at + 65536));
  const source = packed(noise.subarray(0, 12 << 20), { bits: 12 });
  const into = new Uint16Array(source.elements);
  const table = noise.slice(0, 4096);
  const rates = new Map<string, number>();
  const time = async (what: string, elements: number, work: () => Promise<unknown>): Promise<void> => {
    let best = Infinity;
    for (let i = 0; i < 5; i++) {
      const started = performance.now();
      await work();
      best = Math.min(best, performance.now() - started);
    }
    rates.set(what, elements / best * 1000);
  };
  for (const input of [noise, new Uint16Array(noise.buffer), new Uint32Array(noise.buffer)]) {
    const bits = 8 * input.BYTES_PER_ELEMENT;
    await time(`scan ${bits}`, input.length, () => session.scanRange(input, 1, 2 ** (bits - 1)));
  }
  await time("scan 12", source.elements, () => session.scanRange(source, 1, 2048));
  await time("extract 12", source.elements, () => session.extract(source, { bytes: 2, into }));
  await time("select 12", source.elements, () => session.select(source, noise, { bytes: 2, into }));
  await time("translate 12", source.elements, () => session.translate(source, table));
  return rates;
}

const numpy = numpyRates();
if (numpy === null) console.log("\nnot run: numpy (python3 has none)");
else console.log("\nelements in a second: by numpy, by the coprocessor, through the library (elapsed time)");
const library = numpy === null ? new Map<string, number>() : await libraryRates();
for (const [what, rate] of numpy ?? []) {
  const cells = [rates.get(what) ?? NaN, library.get(what) ?? NaN].map((ours) =>
    `${(ours / 1e6).toFixed(0).padStart(8)} M${`${(ours / rate).toFixed(1)} ×`.padStart(8)}`
  );
  console.log(`${what.padEnd(14)}${(rate / 1e6).toFixed(0).padStart(6)} M${cells.join("")}`);
}
