/** The matrix of nodes: its rows and columns, what counts as measured, and how it is shown. */

import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { stripAnsiCode } from "@std/fmt/colors";

import { BusbarError } from "../../src/core/error.ts";
import type { Slice } from "../../src/core/memory_loops.ts";
import {
  allowedOf,
  countMatrixSteps,
  type MatrixNodes,
  matrixNodes,
  type MatrixOptions,
  measureMatrix,
  type NodeMemory,
} from "../../src/memory/matrix.ts";
import { type NumaNode, readNodes } from "../../src/memory/tiers.ts";
import {
  matrixJson,
  matrixMethodLines,
  matrixPage,
  matrixPicture,
  type MatrixReport,
  matrixSchema,
  nodeMatrixLines,
} from "../../tools/render/memory/matrix.ts";
import { schemaErrors } from "./schema.ts";
import { TiersMachine } from "./tiers_machine.ts";

const ALL = { cpus: null, memories: null };
const GIB = 1n << 30n;

function node(id: number, cpus: string, totalBytes = GIB): NumaNode {
  return { id, cpus, totalBytes, freeBytes: totalBytes / 2n, cacheBytes: 0n, distances: new Map() };
}

/** Two sockets, CXL memory without processors, a socket without memory. */
const NODES: MatrixNodes = matrixNodes([node(0, "0-3"), node(1, "4-5"), node(2, ""), node(3, "6", 0n)], ALL);

const OPTIONS: MatrixOptions = {
  sizeBytes: 1 << 20,
  durationMs: 0,
  strideBytes: 256,
  threads: 3,
  readPercents: [100, 0],
};

/** Which nodes loops ran on, and what each pair of nodes is worth: 10 ns and 1 GB/s for each step away from another. */
class FakeMachine {
  readonly opened: number[] = [];
  readonly closed: number[] = [];
  readonly pinned = new Set<string>();
  pagesOf: (node: number, look: number) => ReadonlyMap<number | null, number> = (node) => new Map([[node, 256]]);

  open = (node: number, sizeBytes: number): NodeMemory => {
    if (node === 9) throw new BusbarError("out-of-range", "node 9 has 1 MiB to give, and 8 MiB were asked for");
    this.opened.push(node);
    let looks = 0;
    const slice = (kind: string, count: (cpu: number) => number) => ({
      slice: (cpu: number): Promise<Slice> => {
        this.pinned.add(`${kind} ${node} on ${cpu}`);
        const at = { nanoseconds: 1e6, cpuNanoseconds: 1e6, systemNanoseconds: 0 };
        return Promise.resolve({ ...at, count: count(cpu) });
      },
    });
    const distance = (cpu: number): number => 1 + Math.abs(node - (cpu < 4 ? 0 : 1));
    return {
      pageNodes: () => Promise.resolve(this.pagesOf(node, looks++)),
      chase: () => Promise.resolve(slice("chase", (cpu) => 1e5 / distance(cpu))),
      mixed: (_thread, _threads, reads) => slice(`mix ${reads}`, (cpu) => Math.max(sizeBytes, 2e6) / distance(cpu)),
      [Symbol.dispose]: () => void this.closed.push(node),
    };
  };
}

Deno.test("rows are nodes with processors that may be used, columns those with memory; the others are named with why", () => {
  assertEquals(NODES.processors.map(({ node, cpus }) => [node, cpus]), [[0, [0, 1, 2, 3]], [1, [4, 5]], [3, [6]]]);
  assertEquals(NODES.memories.map(({ node }) => node), [0, 1, 2]);
  assertEquals(NODES.leftOut, [{ node: 2, reason: "no processors" }, { node: 3, reason: "no memory" }]);
  const some = matrixNodes([node(0, "0-3"), node(1, "4-5")], { cpus: [2, 3], memories: [1] });
  assertEquals(some.processors, [{ node: 0, cpus: [2, 3] }]);
  assertEquals(some.memories.map(({ node }) => node), [1]);
  assertEquals(some.leftOut.map(({ reason }) => reason), [
    "this process may not use its memory",
    "this process may not use its 4-5",
  ]);
  assertThrows(() => matrixNodes([], ALL), BusbarError, "shows no NUMA nodes");
  assertThrows(() => matrixNodes([node(0, "", 0n)], ALL), BusbarError, "no node has processors");
});

Deno.test("what this process may use is read from its status; what that does not say is not known", () => {
  const machine = new TiersMachine();
  assertEquals(allowedOf(machine), { cpus: null, memories: null });
  machine.file("/proc/self/status", "Name:\tx\nCpus_allowed_list:\t0,2-3\nMems_allowed_list:\t0\n");
  assertEquals(allowedOf(machine), { cpus: [0, 2, 3], memories: [0] });
  const nodes = matrixNodes(readNodes(machine), ALL);
  assertEquals([nodes.processors.length, nodes.memories.length], [1, 2]);
});

Deno.test("each pair of nodes is measured by threads on that node's processors, and each memory is given back", async () => {
  const machine = new FakeMachine();
  const steps: string[] = [];
  const cells = await measureMatrix(NODES, machine.open, { ...OPTIONS, onStep: (what) => steps.push(what) });
  assertEquals(steps.length, countMatrixSteps(NODES, OPTIONS));
  assertEquals([machine.opened, machine.closed], [[0, 1, 2], [0, 1, 2]]);
  assertEquals(cells.map((cell) => [cell.processorNode, cell.memoryNode, cell.threads]), [
    ...[[0, 0, 3], [1, 0, 2], [3, 0, 1]],
    ...[[0, 1, 3], [1, 1, 2], [3, 1, 1]],
    ...[[0, 2, 3], [1, 2, 2], [3, 2, 1]],
  ]);
  // A hop of 10 ns for each step of distance; rates of several threads add up.
  assertEquals(cells.slice(3, 5).map(({ latencyNs }) => latencyNs), [
    { median: 20, min: 20, max: 20, samples: 3 },
    { median: 10, min: 10, max: 10, samples: 3 },
  ]);
  assertEquals(cells[0]?.bandwidth?.map(({ median }) => median), [6e12 / 1e3, 6e12 / 1e3]);
  assertEquals(cells[3]?.bandwidth?.[0]?.median, 3e12 / 1e3);
  assert(machine.pinned.has("mix 0 2 on 5") && machine.pinned.has("chase 2 on 6"));
  assert(!machine.pinned.has("mix 100 0 on 3"), "three threads at most");
});

Deno.test("memory whose pages lie elsewhere, before or after, is unknown and never that node's", async () => {
  const machine = new FakeMachine();
  const moved = new Map<number | null, number>([[2, 200], [0, 50], [null, 6]]);
  for (const look of [0, 1]) {
    machine.pagesOf = (node, at) => node === 2 && at === look ? moved : new Map([[node, 256]]);
    const cells = await measureMatrix(NODES, machine.open, OPTIONS);
    const [fast, slow] = [cells.slice(0, 6), cells.slice(6)];
    assert(fast.every(({ latencyNs, reason }) => latencyNs !== null && reason === null));
    assertEquals(new Set(slow.map(({ latencyNs, bandwidth, cpuShare }) => latencyNs ?? bandwidth ?? cpuShare)).size, 1);
    assertEquals(
      slow[0]?.reason,
      "of 256 pages 50 on node 0, 6 somewhere: not known to be memory of node 2",
    );
  }
});

Deno.test("too little memory of one node leaves the others known; an interruption ends it, and gives the memory back", async () => {
  const machine = new FakeMachine();
  const nodes = matrixNodes([node(0, "0"), node(9, "")], ALL);
  const cells = await measureMatrix(nodes, machine.open, OPTIONS);
  assertEquals(cells.map(({ reason }) => reason?.slice(0, 17) ?? null), [null, "node 9 has 1 MiB "]);
  const aborter = new AbortController();
  const steps = (what: string): void => {
    if (what.includes("0 % reads")) aborter.abort(new BusbarError("interrupted", "ended"));
  };
  const run = measureMatrix(NODES, machine.open, { ...OPTIONS, onStep: steps, signal: aborter.signal });
  assertEquals((await assertRejects(() => run, BusbarError)).code, "interrupted");
  assertEquals(machine.closed, machine.opened);
});

Deno.test("options that C would refuse with a number are refused in words", async () => {
  const machine = new FakeMachine();
  const wrong: readonly (readonly [Partial<MatrixOptions>, string])[] = [
    [{ sizeBytes: 1 << 16 }, "65536 bytes for 3 threads"],
    [{ strideBytes: 12 }, "a stride of 12 bytes"],
    [{ readPercents: [101] }, "101 of reads"],
    [{ readPercents: [] }, "no share of reads"],
    [{ threads: 0 }, "no threads"],
  ];
  for (const [options, message] of wrong) {
    const error = await assertRejects(
      () => measureMatrix(NODES, machine.open, { ...OPTIONS, ...options }),
      BusbarError,
      message,
    );
    assertEquals(error.code, "usage");
  }
  assertEquals(machine.opened, []);
});

async function report(nodes: MatrixNodes): Promise<MatrixReport> {
  const machine = new FakeMachine();
  const unknown = null;
  return {
    environment: {
      ...{ processor: "P", cpus: "0-6", isVirtual: false, kernel: "6.12", nodes: "0-3", hugePages: unknown },
      ...{ governor: unknown, largestCache: unknown, caches: [] },
    },
    nodes,
    method: OPTIONS,
    cells: await measureMatrix(nodes, machine.open, OPTIONS),
  };
}

Deno.test("a matrix as text, JSON, heat maps and a page: every number, its spread, its unit, and what is unknown", async () => {
  const nodes = matrixNodes([node(0, "0-3"), node(1, "4-5"), node(9, "")], ALL);
  const made = await report(nodes);
  const text = nodeMatrixLines(made).map(stripAnsiCode).join("\n");
  assertMatch(text, /^latency, ns\n +memory of node 0 +memory of node 1 +memory of node 9$/m);
  assertMatch(text, /^processors of node 1 +20\.0 \(20\.0–20\.0\) +10\.0 \(10\.0–10\.0\) +unknown$/m);
  assertMatch(text, /^bandwidth, GB\/s, 0 % reads$/m);
  assertMatch(text, /^memory of node 9: node 9 has 1 MiB to give/m);
  assertStringIncludes(matrixMethodLines(made).join("\n"), "node 9: no processors");
  const document = JSON.parse(JSON.stringify(matrixJson(made)));
  assertEquals(schemaErrors(matrixSchema(), document), "");
  assertEquals(document.cells[2].bandwidth[1], {
    readPercent: 0,
    bytesPerSecond: { median: 3e9, min: 3e9, max: 3e9, samples: 3 },
  });
  const svg = await matrixPicture(made);
  const maps = svg.split('aria-label="cell"').slice(1).map((map) => map.split("</g>")[0] ?? "");
  assertEquals(maps.map((map) => map.match(/<rect/g)?.length), [4, 4, 4], "a map for each quantity, known cells only");
  assertEquals(svg.match(/>unknown</g)?.length, 6, "both processors, three quantities");
  assert(!/NaN|undefined|Infinity/.test(svg));
  for (const legend of ["latency, ns: light 10, dark 20", "bandwidth, GB/s: light 2, dark 6"]) {
    assertStringIncludes(svg, legend);
  }
  const page = await matrixPage(made);
  // On a telephone text and pictures scroll in their own boxes, and stay large enough to read.
  assertMatch(page, /pre, \.charts \{ overflow-x: auto \} svg \{[^}]*min-width: 560px/);
  assertMatch(page, /<div class="charts"><svg [^]*<\/svg>\s*<\/div>/);
  for (const part of ["membench matrix", "GB/s, 100 % reads", "</svg>", "prefers-color-scheme: dark"]) {
    assertStringIncludes(page, part);
  }
});

Deno.test("one node alone is a matrix of one cell, which says so", async () => {
  const made = await report(matrixNodes([node(0, "0-1")], ALL));
  assertEquals(made.cells.length, 1);
  assertEquals(matrixMethodLines(made).at(-1), "one node only (node 0): the matrix is 1 × 1");
});
