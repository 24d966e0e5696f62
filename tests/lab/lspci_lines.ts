/**
 * Every line of `lspci -vvv` in a lab machine, predicted from our own decoded registers: what `config` shows is made of them.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { thisMachine } from "../../src/core/host.ts";
import { readTopology } from "../../src/pci/topology.ts";
import type { Lab } from "./lab.ts";
import { capabilityDifferences, parseLspci } from "./lspci_text.ts";
import { output } from "./programs.ts";

/** Registers the comparison. It reads only, and needs no process but lspci's. */
export function lspciLinesTest(lab: Lab): void {
  lab.test(
    "every line that lspci -vvv prints of a capability of this machine is what config's tables say",
    async () => {
      const blocks = parseLspci(await output("lspci", "-Dnvvv"));
      const functions = readTopology(thisMachine).nodes.map((node) => node.function);
      assertEquals(functions.map(({ name }) => name).sort(), blocks.map(({ name }) => name).sort());
      const results = blocks.map((block) => {
        const config = functions.find(({ name }) => name === block.name)?.config ?? new Uint8Array();
        return capabilityDifferences(block, config);
      });
      assertEquals(results.flatMap(({ differences }) => differences), []);
      // A machine has capabilities with an endpoint at the least: a comparison of nothing would find nothing.
      const withLines = blocks.filter(({ capabilities }) => capabilities.size > 0).length;
      assertEquals(results.filter(({ lines }) => lines > 0).length, withLines);
      assert(withLines > 0);
    },
    { timeoutMs: 180_000, isLong: true },
  );
}
