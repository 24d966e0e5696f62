import { assert, assertEquals } from "@std/assert";

import { withNeeds } from "../needs.ts";
import { CLEAN_ENV, RecorderFolder } from "./sim_recorder.ts";
import { runTool } from "./tool.ts";

/** Writes one word of each line of so many MiB, then reads one of each, as the guide's ./microbench/ld does. */
const LD = `
#include <stdlib.h>
int main(int argc, char **argv) {
  size_t size = (size_t)atoi(argc > 1 ? argv[1] : "320") << 20;
  volatile char *memory = malloc(size);
  long sum = 0;
  if (memory == NULL) return 1;
  for (size_t at = 0; at < size; at += 64) memory[at] = (char)at;
  for (size_t at = 0; at < size; at += 64) sum += memory[at];
  return sum == 42;
}
`;

Deno.test({
  ...withNeeds(
    "the seed's command line records a program of 320 MiB and replays it: all four nodes are used, mean 86.714, hops 0,1,1",
    "valgrind",
  ),
  async fn(): Promise<void> {
    using folder = new RecorderFolder();
    const program = folder.compile("ld", LD);
    const { code, stdout, stderr } = await runTool("cxl_sim", [
      ...["-t", `${program} 320`, "-i", "5", "-c", "0,2", "-d", "85", "-c", "100,100"],
      ...["-w", "85.5,86.5,87.5,85.5,86.5,87.5,88.", "-o", "(1,(2,3))", "--json"],
    ], CLEAN_ENV);
    assertEquals(code, 0, stderr);
    const report = JSON.parse(stdout);
    assertEquals(report.weight.mean.toFixed(3), "86.714");
    assertEquals(report.nodes.map(({ hops }: { hops: number }) => hops), [0, 0, 1, 1]);
    const usedMiB = report.nodes.map(({ usedBytes }: { usedBytes: string }) => Number(usedBytes) / 2 ** 20);
    // Local memory until 90 of its 100 MiB are used, then the endpoints in order; 320 MiB and the program's own pages.
    assertEquals(usedMiB.slice(0, 3), [90, 100, 100]);
    assert(usedMiB[3] > 30 && usedMiB[3] < 32, String(usedMiB[3]));
    const lines = 320 * 2 ** 20 / 64;
    const reads = report.nodes.reduce((sum: number, one: { reads: number }) => sum + one.reads, 0);
    const writes = report.nodes.reduce((sum: number, one: { writes: number }) => sum + one.writes, 0);
    // Behind the recorder's cache of 1 MiB: a fill for each store and each load, and each dirty line written back.
    assert(reads >= 2 * lines && reads < 2.02 * lines, `${reads / lines} reads a line`);
    assert(writes >= lines - 2 ** 14 && writes < 1.02 * lines, `${writes / lines} writes a line`);
    assert(report.time.slowdown > 1.5 && report.time.slowdown < 3.2, String(report.time.slowdown));
    for (const part of ["capacity: 2 of 4 given", "-w: the mean 86.714", "behind a cache"]) {
      assert(report.notes.some((note: string) => note.includes(part)), `${part}: ${report.notes.join("\n")}`);
    }
  },
});
