/** The longest command line that `dax_config qemu` prints, as QEMU itself judges it. Nothing is booted. */

import { assertEquals, assertStringIncludes } from "@std/assert";

import { findParts } from "../../src/lab/parts.ts";
import { runTool } from "../soft/tool.ts";
import { unless } from "../needs.ts";
import { judge, makeFiles } from "./judge.ts";
import { whyNoLab } from "./no_lab.ts";

Deno.test({
  ...unless(
    whyNoLab(),
    "QEMU takes two volatile devices in one window, a network with a forwarded port, a kept disk and firmware",
  ),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      const { qemu } = await findParts(null, { onProgress: () => {} });
      await Deno.writeFile(`${folder}/disk.img`, new Uint8Array(1 << 20));
      await Deno.writeFile(`${folder}/firmware.fd`, new Uint8Array(1 << 20));
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const { port } = listener.addr as Deno.NetAddr;
      listener.close();
      const args = ["qemu", `${folder}/one`, `${folder}/two`, "--size", "256MiB", "--memory", "512MiB"];
      const more = ["--volatile", "--ssh", String(port), "--disk", `${folder}/disk.img`, "--keep-disk"];
      const { code, stdout, stderr } = await runTool(
        "dax_config",
        [...args, ...more, "--firmware", `${folder}/firmware.fd`, "--json"],
        { BUSBAR_LAB_QEMU: qemu, TMPDIR: folder },
      );
      assertEquals(code, 0, stderr);
      const { argv, files }: { argv: string[]; files: { path: string; sizeBytes: string }[] } = JSON.parse(stdout);
      await makeFiles(files);
      assertEquals(await judge(argv), "accepted");
      const wrong = argv.map((word) => word.replace("hostfwd=tcp:", "hostfwd=tpc:"));
      assertStringIncludes(await judge(wrong), "hostfwd");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
