import { assertEquals } from "@std/assert";

import { SoftOradax } from "../../ffi/soft_oradax.ts";
import { buildCcb } from "../../src/oradax/ccb.ts";
import type { Ccb, CcbData } from "../../src/oradax/ccb_command.ts";
import { readCompletion } from "../../src/oradax/transport.ts";
import { Random } from "../unit/random.ts";
import { availableLoops, withOradax } from "./oradax_device.ts";

withOradax();

const MIB = 1 << 20;
/** A CCB takes no more elements, and a translation no more bits. */
const MOST = 1 << 24;
const isSlow = Deno.env.get("BUSBAR_VARIANT") === "asan";
const WIDTHS = isSlow ? [2, 12] : [1, 2, 3, 7, 8, 9, 12, 15, 16];

interface Case {
  readonly command: "scan" | "extract" | "select" | "translate";
  readonly bits: number;
  readonly start: number;
  readonly elements: number;
}

/** Elements that make more than a mebibyte of results where the command can, and no whole number of groups of 64. */
function casesOf(bits: number): Case[] {
  const start = bits % 8 === 0 ? 0 : 5;
  const results = 8 * MIB + 64 * 3 + 17;
  return [
    { command: "scan", bits, start, elements: results },
    { command: "extract", bits, start, elements: MIB + 64 * 3 + 17 },
    { command: "select", bits, start, elements: MIB + 64 * 3 + 17 },
    { command: "translate", bits, start, elements: Math.min(results, Math.floor(MOST / bits) - 17) },
  ];
}

function ccbOf(one: Case, addresses: Record<"input" | "mask" | "output" | "table", bigint>): Ccb {
  const { bits, start, elements } = one;
  const isPacked = start !== 0;
  const data: CcbData = {
    primary: {
      address: addresses.input,
      format: isPacked ? "bits" : "bytes",
      elementSize: isPacked ? bits : bits / 8,
      startBit: start,
      length: one.command === "translate" ? elements * bits : elements,
      unit: one.command === "translate" ? "bits" : "elements",
    },
    output: { address: addresses.output, format: "bits" },
  };
  const output = { ...data.output, format: bits <= 8 ? "bytes1" : "bytes2", padLeft: true } as const;
  const half = 1n << BigInt(bits - 1);
  switch (one.command) {
    case "scan":
      return { command: "scanRange", ...data, first: { value: half }, second: { value: bits === 1 ? 1n : half / 2n } };
    case "extract":
      return { command: "extract", ...data, output };
    case "select":
      return { command: "select", ...data, output, secondary: { address: addresses.mask, startBit: 3 } };
    case "translate":
      return { command: "translate", ...data, table: { address: addresses.table, version: 0 } };
  }
}

/** Runs all cases over the noise with these loops, and calls with the number of ones and the output of each. */
function runCases(
  loops: string,
  noise: Uint8Array,
  check: (one: Case, ones: bigint, output: Uint8Array) => void,
): void {
  using soft = SoftOradax.open("soft:oradax", new Map([["units", "1"], ["loops", loops]]));
  const memory = {
    input: soft.allocate(20 * MIB, 32 * MIB),
    mask: soft.allocate(MIB, MIB),
    output: soft.allocate(4 * MIB, 4 * MIB),
    table: soft.allocate(8192, 8192),
  };
  for (const { bytes } of [memory.input, memory.mask, memory.table]) bytes.set(noise.subarray(0, bytes.length));
  const addresses = {
    input: memory.input.address,
    mask: memory.mask.address,
    output: memory.output.address,
    table: memory.table.address,
  };
  for (const one of WIDTHS.flatMap(casesOf)) {
    memory.output.bytes.fill(0xa5);
    assertEquals(soft.handle.submit(0, buildCcb(ccbOf(one, addresses))).status, 0);
    for (let slices = 0; soft.handle.wait(0, 50_000) === 0; slices++) if (slices > 1200) throw new Error("it hangs");
    const completion = readCompletion(soft.handle.completion(0));
    assertEquals(completion.status, 1, JSON.stringify(one));
    assertEquals(completion.elements, one.elements);
    check(one, completion.returnValue, memory.output.bytes);
  }
}

Deno.test("results that no cache holds are the same with all loops, and nothing is written behind them", async () => {
  const expected = new Map<string, readonly [bigint, string]>();
  const digests: Promise<void>[] = [];
  const noise = new Random("large results").bytes(20 * MIB);
  // The portable loops come first: they are the plainest, and what the others are compared with.
  for (const name of availableLoops().reverse()) {
    runCases(name, noise, (one, ones, output) => {
      const key = JSON.stringify(one);
      digests.push(
        crypto.subtle.digest("SHA-256", output.slice()).then((digest) => {
          const found = [ones, new Uint8Array(digest).toHex()] as const;
          if (!expected.has(key)) expected.set(key, found);
          assertEquals(found, expected.get(key), `${name} loops: ${key}`);
        }),
      );
    });
    await Promise.all(digests.splice(0));
  }
});
