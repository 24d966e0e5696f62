/** busbar used from outside: as a member of a workspace, and from a server. */

import { assertEquals } from "@std/assert";

import { checkAndRun, inFolder, moduleOf, programFor, ROOT, run } from "./setup.ts";

Deno.test("a member of a workspace imports busbar by its name", () =>
  inFolder(async (folder) => {
    await Deno.mkdir(`${folder}/busbar`);
    // What `deno publish` takes, and what deno.json names.
    const parts = ["deno.json", "mod.ts", "src", "ffi", "csrc", "types"];
    const copied = await run("cp", ["-r", ...parts.map((part) => `${ROOT}/${part}`), `${folder}/busbar`]);
    assertEquals(copied.code, 0, copied.stderr);
    await Deno.mkdir(`${folder}/app`);
    await Deno.writeTextFile(`${folder}/deno.json`, JSON.stringify({ workspace: ["./busbar", "./app"] }));
    await Deno.writeTextFile(`${folder}/app/deno.json`, JSON.stringify({ name: "@me/app", exports: "./use.ts" }));
    await Deno.writeTextFile(`${folder}/app/use.ts`, programFor((part) => `@busbar/busbar${part}`));
    await checkAndRun(folder, "app/use.ts", { XDG_CACHE_HOME: `${folder}/cache` });
  }));

Deno.test("busbar on a server: its C sources are copied into the cache once, and built there", () =>
  inFolder(async (folder) => {
    const asked: string[] = [];
    await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
      const path = new URL(request.url).pathname;
      asked.push(path);
      try {
        const type = path.endsWith(".ts")
          ? "text/typescript"
          : path.endsWith(".json")
          ? "application/json"
          : "text/plain";
        return new Response(await Deno.readFile(ROOT + path), { headers: { "content-type": type } });
      } catch {
        return new Response("there is no such file", { status: 404 });
      }
    });
    const base = `http://127.0.0.1:${server.addr.port}`;
    await Deno.writeTextFile(`${folder}/use.ts`, programFor((part) => `${base}/${moduleOf(part)}`));
    // A cache of its own for modules, with the npm packages of this machine.
    const { denoDir } = JSON.parse((await run(Deno.execPath(), ["info", "--json"])).stdout);
    await Deno.mkdir(`${folder}/deno`);
    await Deno.symlink(`${denoDir}/npm`, `${folder}/deno/npm`);
    const env = { XDG_CACHE_HOME: `${folder}/cache`, DENO_DIR: `${folder}/deno` };
    await checkAndRun(folder, "use.ts", env);
    await checkAndRun(folder, "use.ts", env);
    assertEquals(asked.filter((path) => path === "/csrc/busbar.h").length, 1);
    const [source] = await Array.fromAsync(Deno.readDir(`${folder}/cache/busbar/lib`), ({ name }) => name);
    assertEquals(/^source-[0-9a-f]{16}$/.test(source ?? ""), true);
  }));
