import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { topologySchema } from "../../tools/render/pci/topology_json.ts";
import { type FunctionSpec, pciMachineText } from "../unit/pci_machine.ts";
import { schemaErrors } from "../unit/schema.ts";
import { runTool } from "./tool.ts";

const FUNCTIONS: readonly FunctionSpec[] = [
  { at: "00:00.0", id: "8086:29c0", kind: "host-bridge" },
  { at: "00:01.0", id: "1b36:000c", kind: "root-port", buses: [1, 1], link: [4, 4, 4, 16], acs: ["ReqRedir"] },
  {
    at: "01:00.0",
    id: "144d:a80a",
    class: "010802",
    link: [1, 4, 4, 4],
    bars: [{ bar: 0, address: 0x8000_0000, size: 0x4000 }],
    group: 3,
    driver: "nvme",
  },
  { at: "00:02.0", id: "1b36:000c", kind: "root-port", buses: [2, 2], link: [0, 0, 4, 16], acs: [] },
];

let folder = "";
Deno.test.beforeAll(async () => {
  folder = await Deno.makeTempDir();
});
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));

async function machineFile(sysfs = true): Promise<string> {
  const path = await Deno.makeTempFile({ dir: folder });
  await Deno.writeTextFile(path, pciMachineText({ functions: FUNCTIONS, sysfs }));
  return path;
}

Deno.test("the tree shows links with downgrades, ACS, groups, drivers and BARs", async () => {
  const { code, stdout } = await runTool("pcie_topology", [`file:${await machineFile()}`]);
  assertEquals(code, 0);
  const line = stdout.split("\n").find((text) => text.includes("01:00.0 NVMe")) ?? "";
  for (const text of ["▼ 2.5 GT/s x4 (could be 16 GT/s x4: slower)", "3 DMA-FQ", "nvme", "0: 16 KiB"]) {
    assertStringIncludes(line, text);
  }
  assertStringIncludes(stdout, "redirects (request)");
  assertStringIncludes(stdout, "no link");
  assertStringIncludes(stdout, "! 01:00.0: 2.5 GT/s x4");
});

Deno.test("--json fits its schema, with and without verdicts, from sysfs files and from what lspci printed", async () => {
  for (const sysfs of [true, false]) {
    for (const options of [[], ["--p2p"]]) {
      const { code, stdout, stderr } = await runTool("pcie_topology", [
        `file:${await machineFile(sysfs)}`,
        "--json",
        ...options,
      ]);
      assertEquals([code, stderr], [0, ""] as unknown[]);
      const document = JSON.parse(stdout);
      assertEquals(schemaErrors(topologySchema(), document), "");
      // Verdicts are written one by one: the text is that of the whole.
      assertEquals(stdout, `${JSON.stringify(document, null, 2)}\n`);
    }
  }
  const failed = await runTool("pcie_topology", [`file:${await machineFile()}`, "09:00.0", "--json"]);
  assertEquals([failed.code, schemaErrors(topologySchema(), JSON.parse(failed.stdout))], [3, ""] as unknown[]);
});

Deno.test("a device's address limits the tree to it and what lies above", async () => {
  const { stdout } = await runTool("pcie_topology", [`file:${await machineFile()}`, "01:00.0", "--json"]);
  const names = (JSON.parse(stdout) as { functions: { name: string }[] }).functions.map(({ name }) => name);
  assertEquals(names, ["0000:00:01.0", "0000:01:00.0"]);
});

Deno.test("a recording of a recording shows the same", async () => {
  const first = await runTool("pcie_topology", [`file:${await machineFile()}`, "--save", `${folder}/saved.txt`]);
  const second = await runTool("pcie_topology", [`file:${folder}/saved.txt`]);
  assertEquals([first.code, second.stdout], [0, first.stdout] as unknown[]);
});

Deno.test("wrong arguments: one line, a hint, the exit code of the error, no stack", async () => {
  const file = `file:${await machineFile()}`;
  const cases: readonly [string[], number][] = [
    [["zz"], 2],
    [["soft:nvme"], 2],
    [["file:"], 2],
    [["file:/nowhere"], 3],
    [[file, file], 2],
    [[`${file}?x=1`], 2],
    [[file, "ff:1f.7"], 3],
    [[file, "--p2p", "--svg", "/nowhere/x.svg"], 3],
  ];
  for (const [args, status] of cases) {
    const { code, stderr } = await runTool("pcie_topology", args);
    assertEquals(code, status, `${args.join(" ")}: ${stderr}`);
    assert(!stderr.includes("    at "), stderr);
  }
});
