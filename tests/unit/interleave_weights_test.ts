/** Weights of weighted interleave: made of bandwidths as the kernel makes its own, set through the journal, put back. */

import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { stripAnsiCode } from "@std/fmt/colors";

import { BusbarError, errnoError } from "../../src/core/error.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import {
  applyWeights,
  type BandwidthCell,
  nodeBandwidths,
  readInterleave,
  weightsOf,
} from "../../src/memory/interleave_weights.ts";
import { matrixFrom, readMatrixFile } from "../../src/memory/matrix_document.ts";
import { weightLines, weightsJson } from "../../tools/render/memory/interleave_weights.ts";
import { tieringSchema } from "../../tools/render/memory/tiering.ts";
import { schemaErrors } from "./schema.ts";
import { TiersMachine } from "./tiers_machine.ts";

const FOLDER = "/sys/kernel/mm/mempolicy/weighted_interleave";

function cell(processorNode: number, memoryNode: number, rates: Record<number, number> | null): BandwidthCell {
  const byReadPercent = rates === null
    ? null
    : new Map(Object.entries(rates).map(([key, value]) => [Number(key), value]));
  return { processorNode, memoryNode, byReadPercent, reason: rates === null ? "too little memory" : null };
}

function weightsFor(...rates: number[]): number[] {
  const cells = rates.map((rate, node) => cell(0, node, { 100: rate, 0: rate }));
  return weightsOf(nodeBandwidths(cells, rates.map((_, node) => node))).map(({ weight }) => weight);
}

/** mm/mempolicy.c of Linux 6.16 in its own integers: shares of 32 rounded down, at least 1, over the common divisor. */
function kernelWeights(bandwidths: readonly bigint[]): number[] {
  const sum = bandwidths.reduce((total, one) => total + one, 0n);
  const scaled = bandwidths.map((one) => one > 0n && sum < 32n * one ? 32n * one / sum : 1n);
  let divisor = scaled[0] ?? 1n;
  for (const one of scaled) {
    let [a, b] = [divisor, one];
    while (b !== 0n) [a, b] = [b, a % b];
    divisor = a;
  }
  return scaled.map((one) => Number(one / divisor));
}

Deno.test("weights are those of the kernel's own arithmetic, also for nodes that are far apart", () => {
  // 2:1, as near as whole numbers that add up to 32 allow.
  assertEquals(weightsFor(100e9, 50e9), [21, 10]);
  assertEquals(weightsFor(30e9, 10e9), [3, 1]);
  assertEquals(weightsFor(5e9, 5e9, 5e9), [1, 1, 1]);
  assertEquals(weightsFor(1000e9, 1e9), [31, 1]);
  for (let i = 1; i <= 200; i++) {
    const rates = Array.from({ length: 1 + i % 8 }, (_, node) => 1000 + (i * 7919 * (node + 3)) % 400_000);
    assertEquals(weightsFor(...rates), kernelWeights(rates.map(BigInt)), rates.join(", "));
  }
});

Deno.test("a node counts with the smaller of reads and writes, from the processors that reach it best", () => {
  const cells = [
    cell(0, 0, { 100: 40e9, 0: 20e9 }),
    cell(1, 0, { 100: 90e9, 0: 5e9 }),
    cell(0, 1, { 100: 12e9, 50: 9e9, 0: 10e9 }),
    cell(1, 1, null),
  ];
  const made = weightsOf(nodeBandwidths(cells, [0, 1]));
  assertEquals(made.map(({ fromNode, bytesPerSecond, weight }) => [fromNode, bytesPerSecond, weight]), [
    [0, 20e9, 21],
    [0, 10e9, 10],
  ]);
  assertEquals(made.map(({ share, wantedShare }) => [share, wantedShare]), [[21 / 31, 2 / 3], [10 / 31, 1 / 3]]);
});

Deno.test("a node of which nothing is known gets no weight, and neither do the others", () => {
  const cells = [cell(0, 0, { 100: 1e9, 0: 1e9 }), cell(0, 1, null)];
  const error = assertThrows(() => nodeBandwidths(cells, [0, 1]), BusbarError, "too little memory");
  assertEquals(error.code, "absent");
  assertThrows(() => nodeBandwidths(cells, [0, 2]), BusbarError, "it was not measured");
  assertThrows(() => nodeBandwidths([cell(0, 0, { 67: 1e9 })], [0]), BusbarError, "reads alone");
});

/** The machine with weights as Linux 6.12 has them; with `auto`, as 6.16 does. */
function machineWith(auto: string | null, knowsBandwidth = true): TiersMachine {
  const machine = new TiersMachine().file(`${FOLDER}/node0`, "1\n").file(`${FOLDER}/node1`, "1\n");
  if (auto === null) return machine;
  machine.file(`${FOLDER}/${auto}`, "true\n");
  machine.onWrite = (path, text): void => {
    if (path === `${FOLDER}/${auto}` && text === "true") {
      if (!knowsBandwidth) throw errnoError(19, "write", { path });
      for (const node of [0, 1]) machine.file(`${FOLDER}/node${node}`, "1\n");
    }
    if (/node\d$/.test(path)) machine.file(`${FOLDER}/${auto}`, "false\n");
  };
  return machine;
}

const WANTED = new Map([[0, 3], [1, 1]]);

async function inJournal(machine: TiersMachine, act: (journal: UndoJournal) => void): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    using journal = new UndoJournal(machine, { command: "test", folder: `${folder}/journals` });
    act(journal);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function shown(machine: TiersMachine): readonly string[] {
  const { weights, auto } = readInterleave(machine);
  return [...weights.values(), auto?.value ?? "no auto"];
}

Deno.test("weights are set through the journal and put back, with automatic mode under either of its names", async () => {
  for (
    const [auto, before, after] of [
      [null, ["1", "1", "no auto"], ["3", "1", "no auto"]],
      ["auto", ["1", "1", "true"], ["3", "1", "false"]],
      ["__auto_type", ["1", "1", "true"], ["3", "1", "false"]],
    ] as const
  ) {
    const machine = machineWith(auto);
    await inJournal(machine, (journal) => {
      assertEquals<readonly string[]>(shown(machine), before);
      assertEquals(applyWeights(journal, machine, WANTED, [0, 1], false), [0]);
      assertEquals<readonly string[]>(shown(machine), after);
    });
    assertEquals<readonly string[]>(shown(machine), before, `${auto}: put back when the journal ended`);
  }
});

Deno.test("automatic mode that the kernel could not go back to is left only when that was asked for", async () => {
  const machine = machineWith("auto", false);
  await inJournal(machine, (journal) => {
    const error = assertThrows(() => applyWeights(journal, machine, WANTED, [0, 1], false), BusbarError);
    assertEquals(error.code, "unsupported");
    assertStringIncludes(error.hint ?? "", "--force");
    assertEquals(shown(machine), ["1", "1", "true"]);
    assertEquals(applyWeights(journal, machine, WANTED, [0, 1], true), [0]);
    assertEquals(shown(machine), ["3", "1", "false"]);
  });
  assertEquals(shown(machine), ["1", "1", "false"], "the weights are back, and automatic mode is not claimed to be");
});

Deno.test("weights that are so already are not written, and automatic mode goes on", async () => {
  const machine = machineWith("auto");
  await inJournal(machine, (journal) => {
    assertEquals(applyWeights(journal, machine, new Map([[0, 1], [1, 1]]), [0, 1], false), []);
  });
  assertEquals([machine.writes, shown(machine)], [[], ["1", "1", "true"]]);
});

Deno.test("a kernel without weights, a node without one and a matrix of fewer nodes are refused; nothing is written", async () => {
  const without = new TiersMachine();
  assertEquals(readInterleave(without), {
    weights: new Map(),
    auto: null,
    reason: `this kernel has no ${FOLDER} (Linux 6.9)`,
  });
  const cases: readonly (readonly [TiersMachine, ReadonlyMap<number, number>, string])[] = [
    [without, WANTED, "(Linux 6.9)"],
    [machineWith(null), new Map([[0, 1], [7, 1]]), "no weight for node 7"],
    [machineWith(null), new Map([[0, 2]]), "no weight for node 1, which has memory"],
  ];
  for (const [machine, weights, message] of cases) {
    await inJournal(machine, (journal) => {
      assertThrows(() => applyWeights(journal, machine, weights, [0, 1], false), BusbarError, message);
    });
    assertEquals(machine.writes, []);
  }
});

Deno.test("a dry run lists each write, and what would be refused", () => {
  const lines: string[] = [];
  const machine = machineWith("auto");
  {
    using journal = new UndoJournal(machine, { command: "test", dryRun: (line) => lines.push(line) });
    applyWeights(journal, machine, WANTED, [0, 1], false);
    applyWeights(journal, new TiersMachine(), WANTED, [0, 1], false);
  }
  assertEquals(machine.writes, []);
  assertEquals(lines, [
    `automatic interleave weights: true → write 'false' to ${FOLDER}/auto`,
    `interleave weight of node 0: 1 → write '3' to ${FOLDER}/node0`,
    `would be refused: weights cannot be set: this kernel has no ${FOLDER} (Linux 6.9)`,
  ]);
});

const DOCUMENT = {
  schema: "membench-matrix/1",
  memoryNodes: [{ node: 0 }, { node: 2 }],
  cells: [
    {
      ...{ processorNode: 0, memoryNode: 0, reason: null },
      bandwidth: [{ readPercent: 100, bytesPerSecond: { median: 2e9 } }],
    },
    { processorNode: 0, memoryNode: 2, reason: "why", bandwidth: null },
  ],
};

Deno.test("a matrix is read back from its document; what is none is refused with the place of the mistake", () => {
  const matrix = matrixFrom(DOCUMENT, "m.json");
  assertEquals(matrix.nodes, [0, 2]);
  assertEquals(matrix.cells[1], { processorNode: 0, memoryNode: 2, byReadPercent: null, reason: "why" });
  assertEquals([...matrix.cells[0]?.byReadPercent ?? []], [[100, 2e9]]);
  const [first] = DOCUMENT.cells;
  const wrong: readonly (readonly [unknown, string])[] = [
    [null, "it is no object"],
    [{ schema: "membench/1" }, "no document of membench matrix"],
    [{ ...DOCUMENT, memoryNodes: [] }, "memoryNodes is empty"],
    [{ ...DOCUMENT, memoryNodes: [{ node: 0 }, { node: 0 }] }, "twice"],
    [{ ...DOCUMENT, memoryNodes: [{ node: 1e9 }] }, "memoryNodes[0].node is not right"],
    [
      { ...DOCUMENT, cells: [{ ...first, bandwidth: [{ readPercent: 100, bytesPerSecond: { median: -1 } }] }] },
      "median",
    ],
    [{ ...DOCUMENT, cells: [{ ...first, reason: 5 }] }, "cells[0].reason is no text"],
  ];
  for (const [document, message] of wrong) {
    const error = assertThrows(() => matrixFrom(document, "m.json"), BusbarError, message);
    assertEquals(error.code, "malformed");
  }
});

Deno.test("the table says what each weight stands for and how far off it is; the document fits the schema", () => {
  const made = weightsOf(nodeBandwidths([
    cell(0, 0, { 100: 120e9, 0: 100e9 }),
    cell(0, 1, { 100: 50e9, 0: 60e9 }),
  ], [0, 1]));
  const current = readInterleave(machineWith("auto"));
  const text = weightLines(made, current).map(stripAnsiCode).join("\n");
  assertMatch(text, /^node 0 +120\.00 GB\/s +100\.00 GB\/s +node 0 +21 +67\.7 % +66\.7 % +\+1\.1 points +1$/m);
  assertMatch(text, /^node 1 .* 10 +32\.3 % +33\.3 % +-1\.1 points +1$/m);
  assertStringIncludes(text, "automatic mode");
  const document = JSON.parse(JSON.stringify(weightsJson(made, current, [0])));
  assertEquals(schemaErrors(tieringSchema(), document), "");
  assert(
    weightLines(made.slice(0, 1), readInterleave(new TiersMachine())).join("\n").includes("nothing to interleave"),
  );
});

Deno.test("a file that is no JSON, or is not there, is an error that says how a matrix is made", async () => {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/garbage`, "garbage\n");
  for (const [name, code] of [["garbage", "malformed"], ["none", "absent"]]) {
    const error = assertThrows(() => readMatrixFile(`${folder}/${name}`), BusbarError);
    assertEquals([error.code, error.hint], [code, "membench matrix --json >matrix.json makes one"]);
  }
  await Deno.remove(folder, { recursive: true });
});
