/** `fleet` as its users run it: forty recorded machines, and hosts that are dead, slow or lie. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { fleetSchema } from "../../tools/render/fleet/fleet_json.ts";
import { fleetMachines, PLANTED } from "../unit/fleet_machines.ts";
import { schemaErrors } from "../unit/schema.ts";
import { closeAll } from "../../ffi/library.ts";
import { agentMachine } from "./agent.ts";
import { badInputIsExplained, runTool } from "./tool.ts";

// Built before eleven hosts at once find that it is not.
Deno.test.beforeAll(() => {
  using machine = agentMachine("/");
  machine.host.list("/proc");
});
Deno.test.afterAll(closeAll);

interface Report {
  readonly groups: readonly {
    readonly hosts: readonly string[];
    readonly differences: readonly { readonly field: string }[];
  }[];
  readonly silent: readonly { readonly host: string; readonly code: string }[];
}

Deno.test("of forty recorded machines the planted differences are found, and the saved answers say the same offline", async () => {
  const folder = await Deno.makeTempDir();
  for (const [name, text] of fleetMachines()) await Deno.writeTextFile(`${folder}/${name}.txt`, text);
  const saved = `${folder}/saved`;
  const args = ["--parallel", "4", "--json", "--save", saved, folder, "--", "pcie_topology"];
  const { code, stdout, stderr } = await runTool("fleet", args);
  assertEquals(code, 1, stderr);
  const report: Report = JSON.parse(stdout);
  assertEquals(schemaErrors(fleetSchema(), report), "");
  assertEquals([report.groups[0]?.hosts.length, report.groups[0]?.differences.length], [32, 0]);
  for (const { hosts, differences } of report.groups.slice(1)) {
    for (const host of hosts) {
      for (const part of PLANTED[host]?.[1] ?? ["nothing is planted"]) {
        assert(differences.some(({ field }) => field.includes(part)), `${host}: ${part}`);
      }
    }
  }
  assertEquals(report.groups.slice(1).flatMap(({ hosts }) => hosts).sort(), Object.keys(PLANTED).sort());
  // Offline: neither the recordings nor a connection are there any more.
  for (const name of fleetMachines().keys()) await Deno.remove(`${folder}/${name}.txt`);
  const again = await runTool("fleet", [saved, "--json", "--html", `${folder}/page.html`]);
  assertEquals([again.code, JSON.parse(again.stdout)], [1, JSON.parse(stdout)]);
  assertStringIncludes(await Deno.readTextFile(`${folder}/page.html`), "lab[03,07]");
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a dead, a slow and a lying host are named, and hold nobody up", async () => {
  const folder = await Deno.makeTempDir();
  const ssh = `${folder}/ssh`;
  await Deno.writeTextFile(
    ssh,
    `#!/bin/sh
export XDG_CACHE_HOME='${folder}/cache'
while [ "$1" != -- ]; do shift; done
host=$2
shift 2
case $host in
  dead*) echo "ssh: connect to host $host port 22: Connection refused" >&2; exit 255;;
  slow*) exec sleep 600;;
  liar1) printf '\\nbusbar-agent ready 2\\nHTTP/1.1 400 Bad Request\\r\\n\\r\\n'; exec cat >/dev/null;;
  liar2) while :; do printf '\\033[2J\\033]0;owned\\007'; done;;
esac
exec sh -c "$*"
`,
    { mode: 0o755 },
  );
  const started = performance.now();
  const args = [
    "--hosts",
    "slow[1-2],dead[1-3],liar[1-2],lab[1-4]",
    "--parallel",
    "4",
    "--timeout",
    "30s",
    "--json",
    "--",
    "doctor",
  ];
  const { code, stdout, stderr } = await runTool("fleet", args, { BUSBAR_SSH: ssh });
  const tookMs = performance.now() - started;
  assertEquals(code, 3, stderr);
  const report: Report = JSON.parse(stdout);
  assertEquals(report.groups.map(({ hosts }) => hosts), [["lab1", "lab2", "lab3", "lab4"]]);
  assertEquals(report.silent.map(({ host, code }) => [host, code]), [
    ["slow1", "timeout"],
    ["slow2", "timeout"],
    ["dead1", "unreachable"],
    ["dead2", "unreachable"],
    ["dead3", "unreachable"],
    ["liar1", "io"],
    ["liar2", "io"],
  ]);
  // The slow ones wait beside each other, and what they started is gone.
  assert(tookMs < 60_000, `${tookMs} ms`);
  assert(!stdout.includes("\\u001b") && !stdout.includes("\x1b"), "an escape came through");
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a device of each host is named by {}; what cannot be meant is refused before anything starts", async () => {
  const folder = await Deno.makeTempDir();
  const ssh = `${folder}/ssh`;
  await Deno.writeTextFile(
    ssh,
    `#!/bin/sh\nexport XDG_CACHE_HOME='${folder}/cache'\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nexec sh -c "$*"\n`,
    { mode: 0o755 },
  );
  const args = ["--hosts", "lab1", "--json", "--", "dump_bar0", "{}/ffff:ff:1f.7"];
  const { code, stdout } = await runTool("fleet", args, { BUSBAR_SSH: ssh });
  const report: { readonly silent: readonly { readonly code: string; readonly message: string }[] } = JSON.parse(
    stdout,
  );
  assertEquals([code, report.silent[0]?.code], [3, "absent"], stdout);
  await badInputIsExplained("fleet", [
    [["doctor"], 3, "absent", "doctor"],
    [["--hosts", "a", "--hosts-file", "b", "doctor"], 2, "usage", "which hosts?"],
    [["--hosts", "lab[2-1]", "doctor"], 2, "usage", "goes down"],
    [["--hosts", "-x", "doctor"], 2, "usage", "names no machine"],
    [["--hosts", "a"], 2, "usage", "which tool?"],
    [["--hosts", "a", "fleet"], 2, "usage", "a fleet of fleets"],
    [["--hosts", "a", "man"], 2, "usage", "cannot be compared"],
    [["--hosts", "a", "../x"], 2, "usage", "there is no such tool"],
    [["--hosts", "a", "--parallel", "0", "doctor"], 2, "usage", "from 1 on"],
  ], fleetSchema());
  await Deno.remove(folder, { recursive: true });
});
