/**
 * `kill -9` at one line of a run's journal after the other, on a real device: `busbar restore` leaves it as it was.
 * On the machine `nvme`.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { listJournals } from "../../src/core/undo/found_journals.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { runTool } from "../soft/tool.ts";
import { kernelControllers, must } from "./controllers.ts";
import type { Lab } from "./lab.ts";
import { KILLS_VARIABLE } from "./prepare.ts";

const NVME = "0000:01:00.0";
const FOLDER = `/sys/bus/pci/devices/${NVME}`;
const JOURNALS = "/run/busbar";
/** How many kills there are: 10, or as many as `BUSBAR_KILLS` says. */
const KILLS = Number(Deno.env.get(KILLS_VARIABLE) ?? 10);
/** No run takes longer until its last change, on the slowest machine. */
const RUN_LIMIT_MS = 300_000;

/** A run that changes the device, and how long it stays so. */
interface Run {
  readonly tool: string;
  readonly args: readonly string[];
  /** Lines of its journal: the header, each change, and the result of each that is a write. */
  readonly lines: number;
}

const BIND: Run = { tool: "bind", args: ["vfio", NVME], lines: 7 };
const ENABLE: Run = {
  tool: "dump_bar0",
  args: [NVME, "--enable-memory", "--watch", "100ms"],
  // The second change is noted for the undo only: the kernel makes it with the first one.
  lines: 4,
};

function say(text: string): void {
  // deno-lint-ignore no-console
  console.log(text);
}

async function deviceState(): Promise<Record<string, string | null>> {
  const setpci = await must("setpci", "-s", NVME, "COMMAND");
  return {
    command: new TextDecoder().decode(setpci).trim(),
    driver: await Deno.readLink(`${FOLDER}/driver`).then((path) => path.slice(path.lastIndexOf("/") + 1), () => null),
    override: (await Deno.readTextFile(`${FOLDER}/driver_override`)).trim(),
    enable: (await Deno.readTextFile(`${FOLDER}/enable`)).trim(),
  };
}

/** Whole lines of the journal that is there: a header, and one or two for each change. */
function journalLines(): number {
  try {
    const names = Array.from(Deno.readDirSync(JOURNALS), ({ name }) => name).filter((name) => name.endsWith(".jsonl"));
    return names.reduce((sum, name) => sum + Deno.readTextFileSync(`${JOURNALS}/${name}`).split("\n").length - 1, 0);
  } catch (error) {
    // None yet, or it went between two calls.
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

/** A run that has loaded all that it needs, and waits for a byte to begin: starting takes most of the time here. */
interface WaitingRun {
  readonly child: Deno.ChildProcess;
  readonly stderr: string;
}

function prepareRun(run: Run): WaitingRun {
  const stderr = Deno.makeTempFileSync();
  const waiting = new URL("waiting_tool.ts", import.meta.url).pathname;
  const deno = [Deno.execPath(), "run", "-A", "--no-check", "--cached-only", waiting, run.tool, ...run.args];
  // Only a shell sends a stream into a file; exec makes the killed process the tool itself.
  const child = new Deno.Command("sh", {
    args: ["-c", 'exec "$@" 2> "$0"', stderr, ...deno],
    stdin: "piped",
    stdout: "null",
  }).spawn();
  return { child, stderr };
}

async function begin({ child }: WaitingRun): Promise<void> {
  const writer = child.stdin.getWriter();
  await writer.write(new Uint8Array(1));
  await writer.close();
}

/** Ends a run that never began. */
async function dismiss({ child }: WaitingRun): Promise<void> {
  child.kill("SIGKILL");
  await child.stdin.close();
  await child.status;
}

/** Lets the run begin, and kills it when its journal has that many lines. Returns how many it had when it was dead. */
async function killAt(run: Run, waiting: WaitingRun, lines: number): Promise<number> {
  const { child, stderr } = waiting;
  let hasEnded = false;
  const status = child.status.then(() => void (hasEnded = true));
  await begin(waiting);
  const end = performance.now() + RUN_LIMIT_MS;
  while (!hasEnded && journalLines() < lines && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const wasRunning = !hasEnded;
  if (wasRunning) child.kill("SIGKILL");
  await status;
  const left = journalLines();
  // The last lines may be written faster than a process that has ended is noticed.
  assert(left >= lines, `${run.tool}: ${left} of ${lines} lines: ${await Deno.readTextFile(stderr)}`);
  return left;
}

/** Puts back what is there: in this process, or as the user does. */
async function restore(byTool: boolean): Promise<void> {
  if (byTool) {
    const { code, stdout, stderr } = await runTool("restore", []);
    assertEquals(code, 0, stdout + stderr);
    if (journalLines() === 0) return;
    // The run was at its end, and its changes were to stay.
    const kept = await runTool("restore", ["--kept", NVME]);
    assertEquals(kept.code, 0, kept.stdout + kept.stderr);
    return;
  }
  for (const { path } of listJournals().journals) {
    const failed = UndoJournal.restore(path).filter(({ outcome }) => outcome === "failed" || outcome === "damaged");
    assertEquals(failed, []);
  }
}

/** Kills the run `kills` times and compares. Returns how often it died with that many lines. */
async function loop(run: Run, kills: number, settle: () => Promise<unknown>): Promise<Map<number, number>> {
  await settle();
  const before = await deviceState();
  const diedAt = new Map<number, number>();
  let changed = 0;
  const last = run.lines;
  let next = prepareRun(run);
  try {
    for (let i = 0; i < kills; i++) {
      // Spread from the header to the last line, whatever the number of kills is.
      const wanted = 1 + Math.floor(i * last / kills) % last;
      const waiting = next;
      // The next one loads while this one is killed and put back.
      next = prepareRun(run);
      const lines = await killAt(run, waiting, wanted);
      diedAt.set(lines, (diedAt.get(lines) ?? 0) + 1);
      const between = await deviceState();
      if (JSON.stringify(between) !== JSON.stringify(before)) changed++;
      await restore(i % 5 === 0);
      await settle();
      assertEquals(await deviceState(), before, `kill ${i} of ${run.tool}, at line ${lines}`);
      assertEquals(journalLines(), 0, `kill ${i} of ${run.tool}: a journal stays`);
      say(`${run.tool}: kill ${i + 1} of ${kills}, at line ${lines}`);
    }
  } finally {
    await dismiss(next);
  }
  const counts = Array.from(diedAt).sort(([a], [b]) => a - b).map(([lines, count]) => `${count} at line ${lines}`);
  say(`${run.tool}: ${kills} kills, ${changed} left the device changed: ${counts.join(", ")} of ${last}`);
  assert(changed > 0, `no kill of ${run.tool} came in the middle of its changes`);
  return diedAt;
}

/** Registers the loop: half of the kills while a function goes from the kernel to user space, half while memory decoding is on. */
export function killLoopTest(lab: Lab): void {
  lab.test(
    "kill -9 at lines of a run's journal, one after the other: after restore the device is as before",
    async () => {
      const half = Math.ceil(KILLS / 2);
      const binds = await loop(BIND, half, async () => {
        assertEquals((await kernelControllers()).size, 1);
      });
      await Deno.writeTextFile("/sys/bus/pci/drivers/nvme/unbind", NVME);
      try {
        const command = new TextDecoder().decode(await must("setpci", "-s", NVME, "COMMAND")).trim();
        await must("setpci", "-s", NVME, "COMMAND=0:3");
        try {
          const enables = await loop(ENABLE, KILLS - half, () => Promise.resolve());
          const places = binds.size + enables.size;
          assert(places >= Math.min(KILLS, 5), `kills at ${places} different lines`);
        } finally {
          await must("setpci", "-s", NVME, `COMMAND=${command}`);
        }
      } finally {
        await Deno.writeTextFile("/sys/bus/pci/drivers/nvme/bind", NVME);
      }
    },
    { timeoutMs: 60_000 + 60_000 * KILLS, isLong: true },
  );
}
