/** Libraries in one process: what one worker loaded does not stand for what another asks for. */

import { assertEquals } from "@std/assert";

import { BUSBAR, BUSBAR_SOFT, findLibrary } from "../../ffi/build.ts";

const load = (first: string, symbol: string): string => `
  import { ${first} } from "${new URL("../../ffi/build.ts", import.meta.url)}";
  import { lazyLibrary } from "${new URL("../../ffi/library.ts", import.meta.url)}";
  lazyLibrary({ ${symbol}: { parameters: [], result: "void" } }, ${first})();
`;

Deno.test("workers that load different libraries by descriptors of one number get the library that each asked for", async () => {
  findLibrary(BUSBAR);
  findLibrary(BUSBAR_SOFT);
  const workers = [load("BUSBAR", "bb_map_fd"), load("BUSBAR_SOFT", "bb_soft_open")].map((script) =>
    `data:application/typescript,${encodeURIComponent(`${script}\nself.postMessage("loaded");`)}`
  );
  const program = `
    const workers = ${JSON.stringify(workers)};
    for (let i = 0; i < 24; i++) {
      const worker = new Worker(workers[i % 2], { type: "module" });
      const said = await new Promise((resolve) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = (event) => { event.preventDefault(); resolve(event.message); };
      });
      worker.terminate();
      console.log(said);
    }
  `;
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/program.ts`, program);
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--no-lock", "--config", config, `${folder}/program.ts`],
    }).output();
    const text = new TextDecoder();
    assertEquals(text.decode(stdout), "loaded\n".repeat(24), text.decode(stderr));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
