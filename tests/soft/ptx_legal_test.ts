/** NVIDIA's assembler takes every form that is tested, for the architecture that is said to have it. */

import { assertEquals } from "@std/assert";

import { formModules } from "./ptx/cases.ts";
import { toolMissing } from "./ptx/toolkit.ts";

const missing = toolMissing("ptxas");

for (const { family, sm, text, forms } of formModules()) {
  const name = `ptxas takes the ${forms.length} ${family} forms of sm_${sm}`;
  Deno.test({
    name: missing === null ? name : `${name} (not run: ${missing})`,
    ignore: missing !== null,
    fn: async () => {
      const folder = await Deno.makeTempDir({ prefix: "busbar-ptx-" });
      try {
        const file = `${folder}/forms.ptx`;
        await Deno.writeTextFile(file, text);
        const args = ["-O0", `-arch=sm_${sm}`, "-o", "/dev/null", file];
        const { success, stderr } = await new Deno.Command("ptxas", { args, stdout: "null" }).output();
        const lines = text.split("\n");
        const said = new TextDecoder().decode(stderr).split("\n").filter((line) => line !== "").map((line) => {
          const place = /line (\d+)/.exec(line);
          return place === null ? line : `${line}: ${lines[Number(place[1]) - 1]?.trim()}`;
        });
        assertEquals({ success, said }, { success: true, said: [] });
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}
