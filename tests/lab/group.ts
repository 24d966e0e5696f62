/**
 * A function whose IOMMU group holds others that the kernel drives. On the machine `topology`.
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { toolArgs } from "../soft/tool.ts";
import { kernelControllers } from "./controllers.ts";
import type { Lab } from "./lab.ts";
import { list } from "./programs.ts";

/** Registers the test. */
export function groupTests(lab: Lab): void {
  lab.test("a group that holds another driver's function is not taken: bind names who is in the way, and changes nothing", async () => {
    const controllers = [...(await kernelControllers()).values()];
    const groups = await Promise.all(controllers.map(async ({ address }) => {
      const members = await list(`/sys/bus/pci/devices/${address}/iommu_group/devices`);
      return {
        address,
        others: members.filter((other) => controllers.some((one) => one.address === other && other !== address)),
      };
    }));
    const shared = groups.find(({ others }) => others.length > 0);
    assert(shared !== undefined, `no two controllers share a group: ${JSON.stringify(groups)}`);
    const bind = async (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args: toolArgs("bind", args) })
        .output();
      return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
    };
    const refused = await bind("vfio", shared.address);
    assertEquals(refused.code, 3);
    const [line = "", hint = ""] = refused.stderr.trimEnd().split("\n");
    assertStringIncludes(line, "also holds");
    for (const other of shared.others) assertStringIncludes(line, other);
    assertStringIncludes(hint, "unbind those too");
    assertStringIncludes((await bind("status", shared.address)).stdout, "also holds");
    for (const name of [shared.address, ...shared.others]) {
      assertEquals((await Deno.readLink(`/sys/bus/pci/devices/${name}/driver`)).split("/").at(-1), "nvme");
    }
  });
}
