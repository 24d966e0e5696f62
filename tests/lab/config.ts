/**
 * `config DEVICE` in a lab machine: everything that lspci -vvv decodes, and errors that QEMU injects.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { LineReader } from "../../src/lab/line_reader.ts";
import { schemaErrors } from "../unit/schema.ts";
import { documentSchema } from "../../tools/cli/run.ts";
import { reportSchemas } from "../../tools/render/pci/config_report.ts";
import { toolArgs } from "../soft/tool.ts";
import type { Lab } from "./lab.ts";
import { parseLspci } from "./lspci_text.ts";
import { output } from "./programs.ts";

/** The root port whose device in QEMU is called `port1`. */
const QEMU_PORT = "port1";

interface Line {
  readonly errors: { readonly correctable: Readonly<Record<string, string>> | null };
  readonly changes: readonly { readonly name: string; readonly before: string; readonly after: string }[];
}

/** Registers the tests. */
export function configTests(lab: Lab): void {
  lab.test("config shows every capability that lspci -vvv shows, decoded, for an endpoint and for a port", async () => {
    for (
      const block of parseLspci(await output("lspci", "-Dnvvv")).filter(({ capabilities }) => capabilities.size > 4)
        .slice(0, 3)
    ) {
      const document = JSON.parse(await output(Deno.execPath(), ...toolArgs("config", [block.name, "--json"])));
      assertEquals(schemaErrors(documentSchema("config", reportSchemas()), document), "", block.name);
      const offsets = document.parts.slice(1).map(({ offset }: { offset: number }) => offset);
      assertEquals(offsets.toSorted(), [...block.capabilities.keys()].toSorted(), block.name);
    }
  }, { timeoutMs: 300_000, isLong: true });

  lab.hostTest(
    "an error that QEMU injects is in config --watch and in the counters, and stays there",
    async (guest, qmp) => {
      const ports = (await guest.run(["sh", "-c", "grep -l . /sys/bus/pci/devices/*/aer_dev_correctable"])).stdout
        .trim();
      const inject = async (): Promise<string> =>
        String(
          await qmp.execute("human-monitor-command", { "command-line": `pcie_aer_inject_error ${QEMU_PORT} RCVR` }),
        );
      const answer = await inject();
      assert(answer.startsWith("OK"), answer);
      const address = await waitForCounter(ports.split("\n"), async (path) => (await guest.run(["cat", path])).stdout);
      const watching = await guest.spawn([
        Deno.execPath(),
        ...toolArgs("config", [address, "--watch", "200ms", "--json", "--count", "100"]),
      ]);
      const lines = new LineReader(watching.stdout);
      const errors = new Response(watching.stderr).text();
      let count: bigint | null = null;
      let change: Line["changes"][number] | null = null;
      for (let text = await lines.next(); text !== null; text = await lines.next()) {
        const line: Line = JSON.parse(text);
        assertEquals(schemaErrors(documentSchema("config", reportSchemas()), line), "");
        change = line.changes.find(({ name }) => name === "correctable.RxErr") ?? null;
        if (change !== null) break;
        if (count === null) {
          count = BigInt(line.errors.correctable?.RxErr ?? "0");
          assert(count >= 1n, text);
          await inject();
        }
      }
      await watching.kill("KILL");
      await errors;
      assertEquals(change && [change.before, change.after], [`${count}`, `${(count ?? 0n) + 1n}`]);
      const after = await guest.run([Deno.execPath(), ...toolArgs("config", [address, "--errors", "--json"])]);
      assertEquals(JSON.parse(after.stdout).errors.correctable.RxErr, `${(count ?? 0n) + 1n}`);
    },
    { timeoutMs: 300_000, isLong: true },
  );
}

/** The function whose counter has grown; the kernel's handler needs a moment. */
async function waitForCounter(paths: readonly string[], read: (path: string) => Promise<string>): Promise<string> {
  for (let tries = 0; tries < 50; tries++) {
    for (const path of paths) {
      if (/^RxErr [1-9]/m.test(await read(path))) return path.split("/").at(-2) ?? "";
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`no counter of receiver errors grew in ${paths.length} functions`);
}
