import { assert } from "@std/assert";

import { toolArgs } from "./tool.ts";

const FILE_BYTES = 1 << 30;
const MOST_BEYOND_RUNTIME_KIB = 64 << 10;

/** The most memory that a process had, in KiB, looked at while it runs. */
async function peakKiB(child: Deno.ChildProcess): Promise<number> {
  let peak = 0;
  let ended = false;
  child.status.then(() => ended = true);
  while (!ended) {
    try {
      const status = await Deno.readTextFile(`/proc/${child.pid}/status`);
      peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0));
    } catch {
      // It ended between two looks.
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return peak;
}

function start(args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), { args: [...args], stdout: "piped", stderr: "null" }).spawn();
}

/** Seconds that reading the file from the page cache takes, 1 MiB at a time. */
function readSeconds(path: string): number {
  const buffer = new Uint8Array(1 << 20);
  using file = Deno.openSync(path, { read: true });
  const started = performance.now();
  while (file.readSync(buffer) !== null);
  return (performance.now() - started) / 1000;
}

Deno.test("a file of 1 GiB is scanned with less than 64 MiB beyond the runtime", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.truncate(path, FILE_BYTES);
    readSeconds(path);
    const empty = start(["eval", "await new Promise((resolve) => setTimeout(resolve, 300))"]);
    const [runtimeKiB] = await Promise.all([peakKiB(empty), empty.output()]);
    const scan = toolArgs("oradax", ["scan", path, "--width", "12", "--value", "7", "--as", "count", "--json"]);
    let best = 0;
    for (let tries = 0; tries < 5; tries++) {
      const reading = readSeconds(path);
      const result = JSON.parse(new TextDecoder().decode((await start(scan).output()).stdout));
      assert(result.elements === String(Math.floor(8 * FILE_BYTES / 12)), result.elements);
      best = Math.max(best, reading / (result.elapsedMs / 1000));
    }
    // Looking at its memory takes a processor from it, so that is a run of its own.
    const child = start(scan);
    const [peak] = await Promise.all([peakKiB(child), child.output()]);
    // The speed is told, not tested: it depends on what else the machine does.
    // deno-lint-ignore no-console
    console.log(`${best.toFixed(2)} × reading; ${Math.round((peak - runtimeKiB) / 1024)} MiB beyond the runtime`);
    assert(peak - runtimeKiB < MOST_BEYOND_RUNTIME_KIB, `${peak - runtimeKiB} KiB beyond the runtime`);
  } finally {
    await Deno.remove(path);
  }
});
