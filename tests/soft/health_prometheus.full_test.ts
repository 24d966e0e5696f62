/**
 * Prometheus and promtool, out of Debian's package, read what `health --listen` answers. The package would start a
 * service, so it is unpacked into the cache and not installed.
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { toolArgs } from "./tool.ts";
import { withLibraries } from "./setup.ts";

withLibraries();

const CACHE = `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? "/tmp"}/.cache`}/busbar/prometheus`;

/** The folder of both programs; null where they cannot be had. */
function fetchPrometheus(): string | null {
  for (const folder of ["/usr/bin", `${CACHE}/usr/bin`]) if (exists(`${folder}/promtool`)) return folder;
  try {
    Deno.mkdirSync(CACHE, { recursive: true, mode: 0o700 });
    new Deno.Command("timeout", { args: ["200", "apt-get", "-q", "download", "prometheus"], cwd: CACHE }).outputSync();
    const deb = [...Deno.readDirSync(CACHE)].find(({ name }) => name.endsWith(".deb"));
    if (deb === undefined) return null;
    new Deno.Command("dpkg-deb", { args: ["-x", deb.name, "."], cwd: CACHE }).outputSync();
    Deno.removeSync(`${CACHE}/${deb.name}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) return null;
    throw error;
  }
  return exists(`${CACHE}/usr/bin/promtool`) ? `${CACHE}/usr/bin` : null;
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

const programs = fetchPrometheus();
const title = "Prometheus scrapes what health listens with, and promtool finds nothing to say against it";

/** Reads lines of a stream until one matches. */
async function lineWith(stream: ReadableStream<Uint8Array>, pattern: RegExp): Promise<string> {
  const reader = stream.getReader();
  let text = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    text += new TextDecoder().decode(part.value);
    const found = pattern.exec(text)?.[1];
    if (found === undefined) continue;
    // What comes later is thrown away, so that the program is not held up.
    void (async () => {
      while (!(await reader.read()).done);
    })();
    return found;
  }
  throw new Error(`no ${pattern} in: ${text}`);
}

async function end(child: Deno.ChildProcess): Promise<void> {
  child.kill("SIGTERM");
  await child.status;
}

Deno.test({
  name: programs === null ? `${title} (not run: Debian's package prometheus cannot be fetched)` : title,
  ignore: programs === null,
  // The rest of the output is read in the background until the programs end.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(): Promise<void> {
    const folder = await Deno.makeTempDir();
    const health = new Deno.Command(Deno.execPath(), {
      args: toolArgs("health", ["soft:nvme?fault=temperature%3D350", "--listen", "127.0.0.1:0", "--watch", "1s"]),
      stdout: "null",
      stderr: "piped",
    }).spawn();
    try {
      const port = await lineWith(health.stderr, /listening on 127\.0\.0\.1:(\d+)/);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      const check = new Deno.Command(`${programs}/promtool`, {
        args: ["check", "metrics"],
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      })
        .spawn();
      const writer = check.stdin.getWriter();
      await writer.write(new TextEncoder().encode(text));
      await writer.close();
      const { code, stdout, stderr } = await check.output();
      assertEquals(new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr), "");
      assertEquals(code, 0);
      await Deno.writeTextFile(
        `${folder}/prometheus.yml`,
        `global: { scrape_interval: 1s }\nscrape_configs: [{ job_name: busbar, static_configs: [{ targets: ["127.0.0.1:${port}"] }] }]\n`,
      );
      using free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const web = `127.0.0.1:${free.addr.port}`;
      free.close();
      const prometheus = new Deno.Command(`${programs}/prometheus`, {
        args: [
          `--config.file=${folder}/prometheus.yml`,
          `--storage.tsdb.path=${folder}/data`,
          `--web.listen-address=${web}`,
        ],
        stdout: "null",
        stderr: "null",
      }).spawn();
      try {
        const value = await queried(web, "busbar_nvme_temperature_celsius");
        assertEquals(value, "77");
        assertEquals(await queried(web, "busbar_nvme_power_cycles_total"), "1");
        const targets = await (await fetch(`http://${web}/api/v1/targets`)).text();
        assertStringIncludes(targets, '"health":"up"');
      } finally {
        await end(prometheus);
      }
    } finally {
      await end(health);
      await Deno.remove(folder, { recursive: true });
    }
  },
});

async function queried(web: string, query: string): Promise<string> {
  for (let tries = 0; tries < 60; tries++) {
    try {
      const answer = await (await fetch(`http://${web}/api/v1/query?query=${query}`)).json();
      const [result] = answer.data?.result ?? [];
      if (result !== undefined) return result.value[1];
    } catch (error) {
      // It has not begun to listen.
      assert(error instanceof TypeError, String(error));
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw new Error(`Prometheus has no ${query}`);
}
