import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";

import { BusbarError } from "../../src/core/error.ts";
import {
  decodeAddress,
  encodeAddress,
  splitPosition,
  WAYS,
  type Window,
  windowProblems,
} from "../../src/sim/topology/interleave.ts";
import { type NewickChild, parseNewick, printNewick } from "../../src/sim/topology/newick.ts";
import { readTopology } from "../../src/sim/topology/topology.ts";

Deno.test("((1:20,2)sw:30,3): one switch with 1 and 2, hops 1,1,0, extra 20+30, 30, 0", () => {
  const { endpoints, switches } = readTopology("((1:20,2)sw:30,3)");
  assertEquals(endpoints.map(({ hops, extraNs }) => [hops, extraNs]), [[1, 50], [1, 30], [0, 0]]);
  assertEquals(switches.map(({ label, parent, lengthNs }) => [label, parent, lengthNs]), [["sw", 0, 30]]);
});

Deno.test("(1,(2,3)) is the seed's picture: 1 below the host, one switch that holds 2 and 3", () => {
  const { endpoints, switches } = readTopology(" ( 1 , ( 2 , 3 ) ) ; ");
  assertEquals(endpoints.map(({ hops }) => hops), [0, 1, 1]);
  assertEquals(switches.length, 1);
});

Deno.test("CXL is the lowest number not used before it, CPU adds no endpoint", () => {
  assertEquals(readTopology("(CPU,CXL,(CXL,4),CXL)").endpoints.map(({ number, hops }) => [number, hops]), [
    [1, 0],
    [2, 1],
    [3, 0],
    [4, 1],
  ]);
  assertEquals(readTopology("(2,CXL,CXL)").endpoints.map(({ number }) => number), [1, 2, 3]);
});

Deno.test("an expander of another host stands behind a fabric link and comes last", () => {
  const { endpoints, switches } = readTopology("(1,(R:1:2,2))");
  assertEquals(endpoints.map(({ name, hops, via, remote }) => [name, hops, via, remote]), [
    ["endpoint 1", 0, [], false],
    ["endpoint 2", 1, [1], false],
    ["R:1:2", 1, [2, 1], true],
  ]);
  assertEquals(switches.map(({ fabric }) => fabric), [false, true]);
});

const ERRORS: readonly (readonly [text: string, position: number, what: RegExp, configured?: number])[] = [
  ["", 1, /nothing/],
  ["   ", 4, /nothing/],
  ["1,2", 1, /'1' where \( begins/],
  ["()", 1, /empty group/],
  ["(1,())", 4, /empty group/],
  ["(1,(2,3)", 9, /\) is missing/],
  ["(1,", 4, /\) is missing/],
  ["(1,2))", 6, /a \) too many/],
  ["(1,2)(3)", 6, /after the end/],
  ["(1,2);x", 7, /after the end/],
  ["(1,abc)", 4, /'abc' is no endpoint/],
  ["(0)", 2, /endpoint 0/],
  ["(1,0x2)", 4, /no endpoint/],
  ["(-1)", 2, /no sign/],
  ["(1,(2,1))", 7, /endpoint 1 stands there twice/],
  ["(1,CXL,2)", 8, /endpoint 2 stands there twice/],
  ["(1,4)", 4, /endpoint 4, but there are 3/, 3],
  ["(1 2)", 4, /'2' where , or \)/],
  ["(1,,2)", 4, /','/],
  ["(1,)", 4, /'\)'/],
  ["(1:,2)", 4, /',' is no length/],
  ["(1:-3,2)", 4, /'-3' is no length/],
  ["(1:x)", 4, /'x' is no length/],
  ["(1:", 3, /nothing is no length/],
  ["(1:1e99)", 4, /a length of 1e99/],
  ["(1):5", 1, /length must be 0/],
  ["(R:1)", 2, /expander of another host has a number/],
  ["(R)", 2, /has a host/],
  [`${"(".repeat(65)}1${")".repeat(65)}`, 65, /more than 64 groups/],
];

for (const [text, position, what, configured] of ERRORS) {
  const shown = text.length > 20 ? `${text.slice(0, 10)}…` : text;
  Deno.test(`topology '${shown}' is refused at character ${position}`, () => {
    const error = assertThrows(() => readTopology(text, configured ?? null), BusbarError);
    assert(error.message.startsWith(`topology: character ${position}: `), error.message);
    assert(what.test(error.message), error.message);
    assertEquals(error.exitStatus, 2);
  });
}

Deno.test("64 groups inside each other are accepted, a label on the host too", () => {
  assertEquals(readTopology(`${"(".repeat(64)}1${")".repeat(64)}`).endpoints[0]?.hops, 63);
  assertEquals(parseNewick("(1)host").label, "host");
});

Deno.test("a configured endpoint that the text does not mention is a warning", () => {
  const { warnings, endpoints } = readTopology("(1)", 2);
  assertEquals([warnings.length, endpoints.length], [1, 2]);
});

const label = fc.option(fc.stringMatching(/^[a-z]{1,5}$/), { nil: null });
const { tree } = fc.letrec<{ tree: NewickChild; leaf: NewickChild; group: NewickChild }>((tie) => ({
  tree: fc.oneof({ maxDepth: 4 }, tie("leaf"), tie("group")),
  leaf: fc.record({
    kind: fc.constantFrom("endpoint" as const, "cpu" as const, "remote" as const),
    number: fc.integer({ min: 1, max: 999 }),
    remoteHost: fc.integer({ min: 0, max: 9 }),
    lengthNs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 4000 }).map((n) => n / 4)),
    position: fc.constant(0),
  }),
  group: fc.record({
    kind: fc.constant("group" as const),
    children: fc.array(tie("tree"), { minLength: 1, maxLength: 4 }),
    label,
    lengthNs: fc.oneof(fc.constant(0), fc.nat(50)),
    position: fc.constant(0),
  }),
}));

/** The tree as it can be written: endpoints numbered in order, positions and what `CPU` ignores left out. */
function canonical(node: NewickChild, next: { number: number }): unknown {
  if (node.kind === "group") {
    return {
      children: node.children.map((child) => canonical(child, next)),
      label: node.label,
      lengthNs: node.lengthNs,
    };
  }
  if (node.kind === "cpu") return { kind: "cpu", lengthNs: node.lengthNs };
  if (node.kind === "remote") {
    return { kind: "remote", host: node.remoteHost, number: node.number, lengthNs: node.lengthNs };
  }
  return { kind: "endpoint", number: next.number++, lengthNs: node.lengthNs };
}

function renumbered(node: NewickChild, next: { number: number }): NewickChild {
  if (node.kind === "group") return { ...node, children: node.children.map((child) => renumbered(child, next)) };
  return node.kind === "endpoint" ? { ...node, number: next.number++ } : node;
}

Deno.test("property: reading what was printed gives the same tree", () => {
  fc.assert(
    fc.property(fc.array(tree, { minLength: 1, maxLength: 4 }), label, (children, name) => {
      const host = renumbered({ kind: "group", children, label: name, lengthNs: 0, position: 0 }, { number: 1 });
      const again = parseNewick(printNewick(host));
      assertEquals(canonical(again, { number: 1 }), canonical(host, { number: 1 }));
      assertEquals(printNewick(again), printNewick(host));
    }),
    { numRuns: 300, seed: 3 },
  );
});

Deno.test("property: random text is read or refused with a character that lies in it", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(..."(),:;12CXPUR. -e0"), maxLength: 24 }), (text) => {
      try {
        parseNewick(text);
      } catch (error) {
        assert(error instanceof BusbarError);
        const position = Number(/character (\d+)/.exec(error.message)?.[1]);
        assert(position >= 1 && position <= text.length + 1, `${text}: ${error.message}`);
      }
    }),
    { numRuns: 500, seed: 4 },
  );
});

function windowOf(ways: number, granularityBytes: number): Window {
  return {
    baseAddress: 2 ** 32,
    sizeBytes: 256 * 2 ** 20 * ways,
    granularityBytes,
    targets: Array.from({ length: ways }, (_, i) => i + 1),
  };
}

Deno.test("interleave by hand: 3 ways of 256 bytes, address base+0x300 is granule 3: target 0, offset 0x100", () => {
  const window = windowOf(3, 256);
  assertEquals(decodeAddress(window, 2 ** 32 + 0x300), { position: 0, offset: 0x100 });
  assertEquals(decodeAddress(window, 2 ** 32 + 0x2ff), { position: 2, offset: 0xff });
});

Deno.test("interleave: decoding and encoding return the address, for all ways and granularities", () => {
  for (const ways of WAYS) {
    for (let granularity = 256; granularity <= 16384; granularity *= 2) {
      const window = windowOf(ways, granularity);
      assertEquals(windowProblems(window), []);
      for (const share of [0, 0.1234567, 0.5, 0.98765, 1]) {
        const address = window.baseAddress + Math.min(window.sizeBytes - 1, Math.floor(window.sizeBytes * share));
        const decoded = decodeAddress(window, address);
        assertEquals(encodeAddress(window, decoded), address);
        assert(decoded.offset < window.sizeBytes / ways);
      }
    }
  }
});

Deno.test("interleave: a window that covers each target fills each device offset once", () => {
  const window = { ...windowOf(3, 256), sizeBytes: 256 * 3 * 8 };
  const seen = new Set<string>();
  for (let at = 0; at < window.sizeBytes; at += 64) {
    const { position, offset } = decodeAddress(window, window.baseAddress + at);
    seen.add(`${position} ${offset}`);
  }
  assertEquals(seen.size, window.sizeBytes / 64);
});

Deno.test("interleave at two levels: the root picks the bridge, granularity times ways below it picks the device", () => {
  // 2 bridges of 2 devices each: granules go to bridge 0, 1, 0, 1 and to devices 0, 0, 1, 1 below them.
  assertEquals([0, 1, 2, 3].map((position) => splitPosition(position, 2)), [
    { bridge: 0, below: 0 },
    { bridge: 1, below: 0 },
    { bridge: 0, below: 1 },
    { bridge: 1, below: 1 },
  ]);
});

Deno.test("windows that the kernel would refuse are refused, XOR arithmetic by name", () => {
  const wrong = (change: Partial<Window>): string => windowProblems({ ...windowOf(2, 256), ...change }).join("; ");
  assert(/5 ways/.test(windowProblems(windowOf(5, 256)).join()));
  assert(/granularity of 128/.test(wrong({ granularityBytes: 128 })));
  assert(/granularity of 384/.test(wrong({ granularityBytes: 384 })));
  assert(/no multiple of 256 MiB × 2/.test(wrong({ sizeBytes: 256 * 2 ** 20 })));
  assert(/XOR/.test(wrong({ arithmetic: "xor" })));
  assert(/twice/.test(wrong({ targets: [1, 1] })));
  assert(/below 2\^52/.test(wrong({ baseAddress: 2 ** 52 })));
});
