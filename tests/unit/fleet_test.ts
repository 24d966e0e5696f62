/** What differs between machines: found exactly, and by what things are. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { type Json, rowsSchema } from "../../src/core/layout_json.ts";
import { SMART_LOG } from "../../src/nvme/tables/log_health.ts";
import { readPciNames } from "../../src/pci/ids.ts";
import { parseMachine } from "../../src/pci/machine_file.ts";
import { readTopology } from "../../src/pci/topology.ts";
import {
  compareHosts,
  expandHosts,
  type Fields,
  fieldsOf,
  fitsSchema,
  hostsOfFile,
  loadFleet,
  saveFleet,
  shortHosts,
  volatileOf,
} from "../../src/remote/fleet/mod.ts";
import { fleetJson, fleetSchema } from "../../tools/render/fleet/fleet_json.ts";
import { fleetPage } from "../../tools/render/fleet/fleet_page.ts";
import { fleetLines } from "../../tools/render/fleet/fleet_text.ts";
import { topologyJson, topologySchema } from "../../tools/render/pci/topology_json.ts";
import { fleetMachines, PLANTED } from "./fleet_machines.ts";
import { schemaErrors } from "./schema.ts";

function topologyOf(text: string, name: string): Json {
  const topology = readTopology(parseMachine(text, name).host);
  return topologyJson(topology, new Set(topology.nodes), readPciNames(), null);
}

const isVolatile = volatileOf(topologySchema());

Deno.test("lists of hosts are read as they are written, and written in short again", () => {
  for (
    const [text, hosts] of [
      ["lab[01-03]", ["lab01", "lab02", "lab03"]],
      ["lab[9-11],m7", ["lab9", "lab10", "lab11", "m7"]],
      ["r[1-2]n[1,3]", ["r1n1", "r1n3", "r2n1", "r2n3"]],
      ["me@lab7:2222 a,\n b,a", ["me@lab7:2222", "a", "b"]],
      ["[fe80::1]:22,x[1].lab", ["[fe80::1]:22", "x1.lab"]],
    ] as const
  ) {
    assertEquals(expandHosts(text), [...hosts]);
    assertEquals(new Set(expandHosts(shortHosts(expandHosts(text)))), new Set(hosts), text);
  }
  assertEquals(shortHosts(["lab03", "lab01", "lab02", "lab07", "m7", "lab10"]), "lab[01-03,07,10],m7");
  assertEquals(hostsOfFile("# the rack\nlab[1-2]  # two\n\nm7\n"), ["lab1", "lab2", "m7"]);
  for (
    const bad of ["", "lab[1-", "lab[2-1]", "lab[x]", "-oProxyCommand=x", "a\x07", "lab[1-99999]", "l[0-999][0-999]"]
  ) {
    assertEquals(assertThrows(() => expandHosts(bad), BusbarError).code, "usage", bad);
  }
});

Deno.test("forty recorded machines: the planted differences are found, each on its host, and nothing else", () => {
  const machines = fleetMachines();
  const fields = new Map([...machines].map(([name, text]) => [name, fieldsOf(topologyOf(text, name), isVolatile)]));
  const { groups } = compareHosts(fields);
  const [usual, ...others] = groups;
  assertEquals(usual?.hosts.length, 40 - Object.keys(PLANTED).length);
  assertEquals(usual?.differences, []);
  const found = new Map(others.flatMap(({ hosts, differences }) => hosts.map((host) => [host, differences] as const)));
  assertEquals([...found.keys()].sort(), Object.keys(PLANTED).sort());
  for (const [host, [, parts]] of Object.entries(PLANTED)) {
    const names = found.get(host)?.map(({ field }) => field) ?? [];
    for (const part of parts) assert(names.some((name) => name.includes(part)), `${host}: ${part} in ${names}`);
    // A port has a drive or none below it; a narrow link says so in three fields.
    assert(names.length <= 6, `${host}: ${names}`);
    for (const name of names) assert(!/[0-9a-f]{4}:[0-9a-f]{2}:/.test(name), `${name} holds a bus number`);
  }
  // The two that are equal are one group.
  assertEquals(groups.filter(({ hosts }) => hosts.length === 2).map(({ hosts }) => hosts), [["lab03", "lab07"]]);
});

Deno.test("what changes by itself is marked in the tables and left out, unless it is asked for", () => {
  const schema = rowsSchema(SMART_LOG.rows);
  const marked = volatileOf(schema);
  assertEquals([marked(["CTEMP"]), marked(["POH"]), marked(["CW"]), marked(["AVSPT"])], [true, true, false, false]);
  const document = (temperature: number): Json => ({ CTEMP: { value: temperature }, CW: { value: 0 } });
  const compared = (is: typeof marked): number =>
    compareHosts(new Map([310, 320].map((value) => [String(value), fieldsOf(document(value), is)]))).groups.length;
  assertEquals([compared(marked), compared(() => false)], [1, 2]);
});

Deno.test("of a thing that is missing nothing else is said; the value of most is the usual one", () => {
  const machine = (...drives: (readonly [name: string, firmware: string])[]): Fields =>
    fieldsOf({ drives: drives.map(([name, firmware]) => ({ name, firmware })) }, () => false);
  const hosts = new Map([
    ["a", machine(["x", "1"], ["y", "2"])],
    ["b", machine(["x", "1"], ["y", "2"])],
    ["c", machine(["y", "3"])],
  ]);
  const { groups, fields } = compareHosts(hosts);
  assertEquals(groups.map(({ hosts }) => hosts), [["a", "b"], ["c"]]);
  assertEquals(groups[1]?.differences, [
    { field: "drives[x]", value: null, usual: "(there)" },
    { field: "drives[y].firmware", value: "3", usual: "2" },
  ]);
  assertEquals(fields.map(({ field, values }) => [field, values.map(({ hosts }) => hosts.length)]), [
    ["drives[x]", [2, 1]],
    ["drives[y].firmware", [2, 1]],
  ]);
});

Deno.test("a document of another tool, or one with members missing or too many, does not fit the schema", () => {
  const whole = topologyOf(fleetMachines().get("lab01") ?? "", "lab01") as Record<string, Json>;
  const schema = topologySchema();
  assert(fitsSchema(whole, schema));
  const { functions: _, ...part } = whole;
  const wrong = [
    part,
    { ...whole, more: 1 },
    { ...whole, functions: "none" },
    { ...whole, schema: "list/1" },
    [],
    null,
  ];
  for (const document of wrong) assert(!fitsSchema(document, schema), JSON.stringify(document).slice(0, 80));
});

Deno.test("text, JSON and one page of 500 hosts are short, and hold no markup of a host", () => {
  const hosts = new Map<string, Fields>();
  for (let i = 1; i <= 500; i++) {
    const firmware = i % 100 === 0 ? `<script>alert(${i})</script>` : "1.0";
    hosts.set(`n${i}`, fieldsOf({ firmware, kernel: i < 250 ? "6.1" : "6.12" }, () => false));
  }
  const failure = { code: "timeout", message: "no answer within 60 s" };
  const report = {
    ...compareHosts(hosts),
    words: ["doctor"],
    hostCount: 503,
    isIncomplete: false,
    silent: ["m1", "m2", "m3"].map((host) => ({ host, failure })),
  };
  assertEquals(schemaErrors(fleetSchema(), JSON.parse(JSON.stringify(fleetJson(report)))), "");
  const lines = fleetLines(report);
  assert(lines.length < 40, `${lines.length} lines`);
  assertStringIncludes(lines.join("\n"), "m[1-3]  timeout  no answer within 60 s");
  const page = fleetPage(report);
  assert(page.length < 20_000, `${page.length} bytes`);
  assert(!page.includes("<script"), "markup of a host");
  assert(!/(src|href)="(?!#)/.test(page), "it needs something else");
});

Deno.test("answers in a folder are compared again; a folder that somebody changed is refused", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const answers = [
      { host: "me@lab1:22", document: { schema: "doctor/1", findings: [] }, exitStatus: 0, durationMs: 1 },
      { host: "lab2", failure: { code: "timeout", message: "no answer" }, durationMs: 1 },
    ];
    saveFleet(`${folder}/f`, { words: ["doctor"], schema: { type: "object" }, answers });
    const loaded = loadFleet(`${folder}/f`);
    assertEquals([loaded.words, loaded.answers.map(({ host }) => host)], [["doctor"], ["me@lab1:22", "lab2"]]);
    const index = `${folder}/f/fleet.json`;
    const text = Deno.readTextFileSync(index);
    for (
      const changed of [text.replace(/0001-[^"]*/, "../../etc/passwd"), text.replace("fleet_folder", "x"), "{", "[]"]
    ) {
      Deno.writeTextFileSync(index, changed);
      assertEquals(assertThrows(() => loadFleet(`${folder}/f`), BusbarError).code, "malformed", changed);
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
