import { assertEquals, assertStringIncludes } from "@std/assert";

import { oradaxSchema } from "../../tools/render/oradax/oradax.ts";
import { schemaErrors } from "../unit/schema.ts";
import { runTool } from "./tool.ts";

const SCHEMA = oradaxSchema();

Deno.test("oradax scan finds 12-bit elements in a file, and says which device it took", async () => {
  const file = await Deno.makeTempFile();
  try {
    // 0x007, 0x123, 0x007, 0xabc and four bits that make no element.
    await Deno.writeFile(file, Uint8Array.of(0x00, 0x71, 0x23, 0x00, 0x7a, 0xbc, 0xf0).subarray(0, 7));
    const args = ["scan", file, "--width", "12", "--value", "7", "--as", "indexes", "--json"];
    const { code, stdout, stderr } = await runTool("oradax", args);
    assertEquals([code, stderr], [0, ""]);
    const result = JSON.parse(stdout);
    assertEquals(
      [result.device, result.elements, result.leftoverBits, result.count, result.head],
      ["soft:oradax", "4", 8, "2", "0000000000000002"],
    );
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("oradax decode explains the kernel document's example", async () => {
  const { code, stdout } = await runTool("oradax", ["decode", "0002030C_1000201F"]);
  assertEquals(code, 0);
  assertStringIncludes(stdout, "scan value\n");
  assertStringIncludes(stdout, "[31:28] Primary input format: fixed width, bits");
  assertStringIncludes(stdout, "[4:0] Second operand: a value, or the lower bound: not used");
});

Deno.test("oradax keeps what it found: scan, then select by the bits, then the same by extract", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const at = (name: string): string => `${folder}/${name}`;
    const data = Uint8Array.from({ length: 6000 }, (_, i) => (i * 7919) >> 3);
    await Deno.writeFile(at("data"), data);
    const common = [at("data"), "--width", "16", "--json"];
    const runs = [
      ["scan", ...common, "--range", "0x8000..", "--output", at("bits")],
      ["select", ...common, "--mask", at("bits"), "--bytes", "2", "--output", at("chosen")],
      ["extract", ...common, "--bytes", "4", "--output", at("wide")],
      ["translate", ...common, "--table", at("table"), "--as", "count"],
      ["info", "--json", "--device", "soft:oradax?dax=1"],
      ["decode", "0002030C1000201F", "--json"],
    ];
    await Deno.writeFile(at("table"), new Uint8Array(8192).fill(0xff));
    const documents: Record<string, unknown>[] = [];
    for (const args of runs) {
      const { code, stdout, stderr } = await runTool("oradax", args);
      assertEquals([code, stderr], [0, ""], args[0] ?? "");
      documents.push(JSON.parse(stdout));
      assertEquals(schemaErrors(SCHEMA, documents.at(-1)), "", args[0] ?? "");
    }
    const view = new DataView(data.buffer);
    const numbers = Array.from({ length: 3000 }, (_, i) => view.getUint16(2 * i));
    const chosen = numbers.filter((number) => number >= 0x8000);
    assertEquals(documents[0]?.count, String(chosen.length));
    const kept = new DataView((await Deno.readFile(at("chosen"))).buffer);
    assertEquals(Array.from({ length: kept.byteLength / 2 }, (_, i) => kept.getUint16(2 * i)), chosen);
    const wide = new DataView((await Deno.readFile(at("wide"))).buffer);
    assertEquals(Array.from({ length: wide.byteLength / 4 }, (_, i) => wide.getUint32(4 * i)), numbers);
    assertEquals(documents[3]?.count, "3000");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("mistakes on the command line of oradax are named, with exit status 2 or 3", async () => {
  const mistakes: readonly (readonly [string[], number, string])[] = [
    [["scan", "/dev/null", "--width", "12", "--value", "1"], 2, "hold no element"],
    [["scan", "/nowhere", "--width", "12", "--value", "1"], 3, "no such file"],
    [["scan", "/etc/passwd", "--width", "25", "--value", "1"], 2, "elements of 25 bits"],
    [["scan", "/etc/passwd", "--width", "8"], 2, "what is to be found?"],
    [
      ["scan", "/etc/passwd", "--width", "8", "--value", "1", "--device", "soft:nvme"],
      2,
      "is no data analytics accelerator",
    ],
    [["decode", "xyz"], 2, "that is no CCB"],
    [["info", "--device", "/dev/oradax1"], 3, "/dev/oradax1"],
  ];
  for (const [args, status, text] of mistakes) {
    const { code, stderr } = await runTool("oradax", args);
    assertEquals(code, status, stderr);
    assertStringIncludes(stderr, text);
  }
});
