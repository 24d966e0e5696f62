/**
 * Programs to record, and traces to read, for the tests of the recorders.
 * @module
 */

import { openTrace } from "../../src/sim/host/trace_file.ts";
import { AccessBatch, Op, OP_MASK } from "../../src/sim/trace/batch.ts";
import { runTool, type ToolResult } from "./tool.ts";

/** A sanitizer that is preloaded into the tests has no business in valgrind or in what it runs. */
export const CLEAN_ENV: Readonly<Record<string, string>> = { LD_PRELOAD: "", BUSBAR_VARIANT: "release" };

/** One entry of a trace. */
export interface Entry {
  readonly timeNs: number;
  readonly thread: number;
  readonly op: number;
  readonly address: number;
  readonly bytes: number;
}

/** A folder for programs and traces that is gone at the end. */
export class RecorderFolder implements Disposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "sim-record-" });

  /** Compiles a C program. */
  compile(name: string, source: string, args: readonly string[] = ["-O1"]): string {
    const file = `${this.path}/${name}.c`;
    Deno.writeTextFileSync(file, source);
    const program = `${this.path}/${name}`;
    const output = new Deno.Command("gcc", { args: [file, "-o", program, "-pthread", ...args], env: CLEAN_ENV })
      .outputSync();
    if (!output.success) throw new Error(new TextDecoder().decode(output.stderr));
    return program;
  }

  /** Records with the tool. */
  record(trace: string, args: readonly string[], command: readonly string[]): Promise<ToolResult> {
    return runTool("cxl_sim", ["record", "-o", `${this.path}/${trace}`, ...args, "--", ...command], CLEAN_ENV);
  }

  names(): string[] {
    return Array.from(Deno.readDirSync(this.path), (entry) => entry.name).sort();
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** Everything of a trace. */
export async function entriesOf(path: string): Promise<Entry[]> {
  await using trace = await openTrace(path);
  const batch = new AccessBatch();
  const entries: Entry[] = [];
  while (await trace.read(batch) > 0) {
    for (let i = 0; i < batch.count; i++) {
      entries.push({
        timeNs: (batch.time[i] ?? 0) / 1024,
        thread: batch.thread[i] ?? 0,
        op: (batch.op[i] ?? 0) & OP_MASK,
        address: batch.address[i] ?? 0,
        bytes: batch.bytes[i] ?? 0,
      });
    }
  }
  return entries;
}

/**
 * By thread: reads and writes of the first 8000 bytes of its allocation of just this size, while it is allocated.
 */
export function countsOfAllocation(entries: readonly Entry[], bytes: number): Map<number, readonly [number, number]> {
  const counts = new Map<number, readonly [number, number]>();
  const bases = new Map<number, number>();
  entries.forEach(({ op, address, thread }, i) => {
    if (op === Op.Allocate && entries[i + 1]?.address === bytes) {
      bases.set(thread, address);
      counts.set(thread, [0, 0]);
    }
    const base = bases.get(thread);
    if (base === undefined) return;
    if (op === Op.Free && address === base) bases.delete(thread);
    if (op > Op.Write || address < base || address >= base + 8000) return;
    const [reads, writes] = counts.get(thread) ?? [0, 0];
    counts.set(thread, op === Op.Read ? [reads + 1, writes] : [reads, writes + 1]);
  });
  return counts;
}

/** Writes each of 1000 words of a malloc once, then reads each twice; so do three threads with memory of their own. */
export const LOOPS = `
#include <pthread.h>
#include <stdlib.h>
static void *work(void *unused) {
  volatile long *a = malloc(123456);
  long sum = 0;
  for (int i = 0; i < 1000; i++) a[i] = i;
  for (int i = 0; i < 1000; i++) sum += a[i] + a[i];
  free((void *)a);
  return (void *)sum;
}
int main(int argc, char **argv) {
  pthread_t threads[3];
  (void)argv;
  work(NULL);
  for (int i = 0; i < 3 && argc > 1; i++) pthread_create(&threads[i], NULL, work, NULL);
  for (int i = 0; i < 3 && argc > 1; i++) pthread_join(threads[i], NULL);
  return 0;
}
`;

/** Ends in the way that its argument names. */
export const ENDINGS = `
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
  volatile long *a = malloc(123456);
  for (int i = 0; i < 1000; i++) a[i] = i;
  switch (argc > 1 ? argv[1][0] : 0) {
  case 'c': *(volatile int *)8 = 1; break;
  case 'k': kill(getpid(), SIGKILL); break;
  case 'e': execl("/bin/true", "true", (char *)0); break;
  case 'f':
    if (fork() == 0) { for (int i = 0; i < 1000; i++) a[i] = i; _exit(0); }
    wait(NULL);
    break;
  case 'p':
    if (fork() == 0) { kill(getppid(), SIGKILL); _exit(0); }
    pause();
    break;
  case 's': return 7;
  }
  return 0;
}
`;
