/** A sweep on a real Slurm: a node is lost in the middle, the controller is restarted, and nothing is missing or run twice. */

import { assert, assertEquals } from "@std/assert";

import { toolArgs } from "./tool.ts";
import { SlurmCluster, unpackedSlurm, until } from "./slurm_cluster.ts";

const root = await unpackedSlurm();
const POINTS = 300;

Deno.test({
  name: "300 points on a cluster of three nodes, one of which is lost, are complete and none is there twice" +
    (root === null ? " (not run: Slurm cannot be had)" : ""),
  ignore: root === null,
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    assert(root !== null);
    const folder = await Deno.realPath(await Deno.makeTempDir());
    try {
      await using cluster = await SlurmCluster.start(root, folder);
      const grid = `${folder}/grid.yaml`;
      await Deno.writeTextFile(
        grid,
        `tool: cxl_sim run\noptions: { synthetic: "gups?count=20000", topology: "(1,(2,3))" }\n` +
          `parameters: { seed: { from: 1, to: ${POINTS}, step: 1 } }\nreport: { fields: [time.slowdown] }\n`,
      );
      const results = `${folder}/grid.results`;
      const count = async (): Promise<number> =>
        (await Array.fromAsync(Deno.readDir(results))).filter(({ name }) => /^[0-9a-f]{24}\.json$/.test(name)).length;
      const sweep = (...args: string[]): Deno.ChildProcess =>
        new Deno.Command(Deno.execPath(), {
          args: toolArgs("sweep", [...args, grid, "--json"]),
          env: cluster.env,
          stdin: "null",
          stdout: "piped",
          stderr: "inherit",
        }).spawn();
      const running = sweep("run", "--slurm", "main", "--chunk-time", "12s").output();
      await until("some points are done", async () => await count() > 20);
      await cluster.kill("node2", "SIGKILL");
      await cluster.kill("slurmctld", "SIGTERM");
      cluster.startController();
      const before = await count();
      assert(before < POINTS, "the node was lost after the end");
      const { code, stdout } = await running;
      const report = JSON.parse(new TextDecoder().decode(stdout));
      assertEquals([code, report.done, report.failed, report.missing], [0, POINTS, 0, 0]);
      assertEquals(await count(), POINTS);
      // Each task writes what it ran: the node's work was taken up again, and nothing that was done was run again.
      const ran = (await Promise.all(
        (await Array.fromAsync(Deno.readDir(results))).filter(({ name }) => name.startsWith("slurm-")).map(({ name }) =>
          Deno.readTextFile(`${results}/${name}`)
        ),
      )).flatMap((log) =>
        Array.from(log.matchAll(/^([0-9a-f]{24}) chunk (\d+) restart (\d+)$/gm), ([, ...one]) => one)
      );
      const times = Map.groupBy(ran, ([id]) => id);
      assertEquals([...times].filter(([, runs]) => runs.length > 1), []);
      // The first point was measured by sweep itself; a point whose task was killed after it was kept is in no log.
      assert(times.size >= POINTS - 1 - 2 && times.size < POINTS, `${times.size} points are in the logs`);
      assert(new Set(ran.map(([, chunk]) => chunk)).size > 3, "there were several tasks");
      assert(ran.some(([, , restart]) => Number(restart) > 0), "no task was started again");
      // Again: there is nothing to do, and no job is started.
      const files = async (): Promise<string[]> =>
        (await Array.fromAsync(Deno.readDir(results))).map(({ name }) => name).sort();
      const all = await files();
      const again = await sweep("run", "--slurm", "main").output();
      assertEquals([again.code, await files()], [0, all]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
