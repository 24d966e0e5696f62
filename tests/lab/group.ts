/**
 * A function whose IOMMU group holds others that the kernel drives. On the machine `topology`.
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { toolArgs } from "../soft/tool.ts";
import type { Lab } from "./lab.ts";
import { list } from "./programs.ts";

/** Registers the test. */
export function groupTests(lab: Lab): void {
  lab.test("a group that holds another driver's function is not taken: bind names who is in the way, and changes nothing", async () => {
    // The lab's own functions share one: the ports of its PCI root and what carries the guest's files.
    const driverOf = async (address: string): Promise<string | null> =>
      await Deno.readLink(`/sys/bus/pci/devices/${address}/driver`).then(
        (path) => path.split("/").at(-1) ?? null,
        () => null,
      );
    const groups = await Promise.all((await list("/sys/kernel/iommu_groups")).map(async (group) => {
      const members = await list(`/sys/kernel/iommu_groups/${group}/devices`);
      const drivers = await Promise.all(members.map(driverOf));
      return members.filter((_, i) => drivers[i] !== null && drivers[i] !== "pcieport");
    }));
    const [taken = "", ...others] = groups.find((members) => members.length > 1) ?? [];
    assert(others.length > 0, `no two driven functions share a group: ${JSON.stringify(groups)}`);
    const before = await Promise.all([taken, ...others].map(driverOf));
    const bind = async (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args: toolArgs("bind", args) })
        .output();
      return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
    };
    const refused = await bind("vfio", taken);
    assertEquals(refused.code, 3);
    const [line = "", hint = ""] = refused.stderr.trimEnd().split("\n");
    assertStringIncludes(line, "also holds");
    for (const other of others) assertStringIncludes(line, other);
    assertStringIncludes(hint, "unbind those too");
    assertStringIncludes((await bind("status", taken)).stdout, "also holds");
    assertEquals(await Promise.all([taken, ...others].map(driverOf)), before);
  });
}
