/** The command lines that `dax_config qemu` prints, as QEMU itself judges them. Nothing is booted. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { findParts } from "../../src/lab/parts.ts";
import { runTool } from "../soft/tool.ts";
import { unless } from "../needs.ts";
import { judge, makeFiles } from "./judge.ts";
import { whyNoLab } from "./no_lab.ts";

Deno.test({
  ...unless(whyNoLab(), "QEMU takes the printed line, and not one without its label area"),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      const { qemu } = await findParts(null, { onProgress: () => {} });
      await Deno.writeFile(`${folder}/disk.img`, new Uint8Array(1 << 20));
      const args = [
        "qemu",
        `${folder}/backing`,
        "--size",
        "512MiB",
        "--memory",
        "512MiB",
        "--disk",
        `${folder}/disk.img`,
        "--json",
      ];
      const { code, stdout, stderr } = await runTool("dax_config", args, { BUSBAR_LAB_QEMU: qemu, TMPDIR: folder });
      assertEquals(code, 0, stderr);
      const { argv, files }: { argv: string[]; files: { path: string; sizeBytes: string }[] } = JSON.parse(stdout);
      await makeFiles(files);
      assertEquals(await judge(argv), "accepted");
      const forgotten = argv.map((word) => word.replace(/,lsa=[^,]+/, ""));
      assert(forgotten.join() !== argv.join());
      assertStringIncludes(await judge(forgotten), "lsa property must be set");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
