/** busbar used from another folder: types are checked there, under default options. */

import { assertEquals, assertStringIncludes } from "@std/assert";

import denoJson from "../../deno.json" with { type: "json" };
import { checkAndRun, inFolder, moduleOf, programFor, ROOT, run } from "./setup.ts";

Deno.test("a program in another folder, without configuration, imports busbar by its path; types hold under default options", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/use.ts`, programFor((part) => `file://${ROOT}/${moduleOf(part)}`));
    await checkAndRun(folder, "use.ts");
    const all = Object.values(denoJson.exports).map((path) =>
      `import ${JSON.stringify(new URL(path, `file://${ROOT}/`))};\n`
    );
    await Deno.writeTextFile(`${folder}/all.ts`, all.join(""));
    const checked = await run(Deno.execPath(), ["check", "--no-lock", "all.ts"], { cwd: folder });
    assertEquals(checked.code, 0, checked.stderr);
  }));

Deno.test("a wrong use is a type error there too: the types are not any", () =>
  inFolder(async (folder) => {
    const source =
      `import { openPciDevice } from "file://${ROOT}/mod.ts";\nopenPciDevice(42);\nopenPciDevice("soft:nvme").bar("0");\n`;
    await Deno.writeTextFile(`${folder}/use.ts`, source);
    const { code, stderr } = await run(Deno.execPath(), ["check", "--no-lock", "use.ts"], { cwd: folder });
    assertEquals(code, 1);
    assertStringIncludes(stderr, "'number' is not assignable to parameter of type 'string | Locator'");
    assertStringIncludes(stderr, "'string' is not assignable to parameter of type 'number'");
  }));
