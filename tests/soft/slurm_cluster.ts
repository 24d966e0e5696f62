/** A Slurm cluster of the test's own: Debian's, unpacked and not installed; a controller and three nodes on this machine. */

import { isFile, unpackPackages } from "./unpacked_packages.ts";

const PACKAGES = [
  ...["slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge"],
  ...["libmunge2", "libhwloc15", "libpmix2", "liblua5.3-0", "libyaml-0-2", "libjson-c5", "libhttp-parser2.9"],
  ...["libfreeipmi17", "libipmimonitoring6", "librrd8", "libhdf5-103-1", "libnuma1", "libpam0g", "libdbus-1-3"],
] as const;
const NODES = ["node1", "node2", "node3"] as const;
const LIBRARIES = "usr/lib/x86_64-linux-gnu";

/** The folder that the packages lie in; null where they cannot be had. */
export async function unpackedSlurm(): Promise<string | null> {
  const root = new URL("../../build/unpacked-slurm", import.meta.url).pathname;
  const program = `${root}/usr/sbin/slurmctld-wlm`;
  const isThere = await isFile(program) || (await unpackPackages(PACKAGES, root) && await isFile(program));
  return isThere ? root : null;
}

/** A port that nobody has now. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** A cluster that runs. Dispose ends all of it. */
export class SlurmCluster implements AsyncDisposable {
  /** What Slurm's programs need. */
  readonly env: Readonly<Record<string, string>>;
  readonly #root: string;
  readonly #folder: string;
  readonly #children = new Map<string, Deno.ChildProcess>();

  private constructor(root: string, folder: string) {
    this.#root = root;
    this.#folder = folder;
    this.env = {
      SLURM_CONF: `${folder}/slurm.conf`,
      LD_LIBRARY_PATH: `${root}/${LIBRARIES}:${root}/${LIBRARIES}/slurm-wlm`,
      PATH: `${root}/usr/bin:${Deno.env.get("PATH") ?? ""}`,
    };
  }

  /** Starts one in a folder. */
  static async start(root: string, folder: string): Promise<SlurmCluster> {
    const cluster = new SlurmCluster(root, folder);
    try {
      await cluster.#configure();
      cluster.#spawn("munged", `${root}/usr/sbin/munged`, [
        ...["--foreground", "--force", `--key-file=${folder}/key`, `--socket=${folder}/munge`],
        ...[`--pid-file=${folder}/munged.pid`, `--log-file=${folder}/munged.log`, `--seed-file=${folder}/seed`],
      ]);
      await until("munged is there", async () => (await Deno.stat(`${folder}/munge`)).isSocket === true);
      cluster.startController();
      for (const node of NODES) cluster.startNode(node);
      await until("all nodes are idle", async () => {
        const { stdout } = await cluster.run("sinfo", ["-h", "-N", "-o", "%N %t"]);
        return NODES.every((node) => stdout.includes(`${node} idle`));
      });
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #configure(): Promise<void> {
    const folder = this.#folder;
    const user = await userName();
    await Deno.writeFile(`${folder}/key`, crypto.getRandomValues(new Uint8Array(1024)), { mode: 0o600 });
    for (const name of ["state", ...NODES]) await Deno.mkdir(`${folder}/${name}`);
    const ports = NODES.map(freePort);
    await Deno.writeTextFile(
      `${folder}/slurm.conf`,
      [
        "ClusterName=test",
        "SlurmctldHost=localhost",
        `SlurmUser=${user}`,
        `SlurmdUser=${user}`,
        "AuthType=auth/munge",
        `AuthInfo=socket=${folder}/munge`,
        "CredType=cred/munge",
        `SlurmctldPort=${freePort()}`,
        `StateSaveLocation=${folder}/state`,
        `SlurmdSpoolDir=${folder}/%n`,
        `SlurmctldPidFile=${folder}/slurmctld.pid`,
        `SlurmdPidFile=${folder}/%n.pid`,
        `SlurmctldLogFile=${folder}/slurmctld.log`,
        `SlurmdLogFile=${folder}/%n.log`,
        `PluginDir=${this.#root}/${LIBRARIES}/slurm-wlm`,
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        "ReturnToService=2",
        "MpiDefault=none",
        "AccountingStorageType=accounting_storage/none",
        "JobAcctGatherType=jobacct_gather/none",
        "SlurmdTimeout=10",
        "InactiveLimit=0",
        "KillWait=2",
        ...NODES.map((node, i) => `NodeName=${node} NodeHostname=localhost Port=${ports[i]} CPUs=2`),
        `PartitionName=main Nodes=${NODES.join(",")} Default=YES MaxTime=INFINITE State=UP`,
        "",
      ].join("\n"),
    );
  }

  #spawn(name: string, program: string, args: readonly string[]): void {
    const child = new Deno.Command(program, {
      args: [...args],
      env: this.env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.#children.set(name, child);
  }

  /** Starts the controller; it knows again what it knew. */
  startController(): void {
    this.#spawn("slurmctld", `${this.#root}/usr/sbin/slurmctld-wlm`, ["-D"]);
  }

  /** Starts a node. */
  startNode(node: string): void {
    const stepd = `${this.#root}/usr/sbin/slurmstepd-wlm`;
    this.#spawn(node, `${this.#root}/usr/sbin/slurmd-wlm`, ["-D", "-N", node, "-d", stepd]);
  }

  /** Ends a daemon: a node with all that runs on it where the signal is SIGKILL, as when its machine loses power. */
  async kill(name: string, signal: Deno.Signal): Promise<void> {
    const child = this.#children.get(name);
    this.#children.delete(name);
    if (child === undefined) return;
    if (signal === "SIGKILL") {
      for (const pid of await descendants(child.pid, `${this.#folder}/${name}`)) {
        killPid(pid);
      }
    }
    try {
      child.kill(signal);
    } catch {
      // It has ended by itself.
    }
    await child.status;
  }

  /** Runs one of Slurm's programs. */
  async run(program: string, args: readonly string[]): Promise<{ readonly code: number; readonly stdout: string }> {
    const { code, stdout } = await new Deno.Command(program, { args: [...args], env: this.env, stderr: "null" })
      .output();
    return { code, stdout: new TextDecoder().decode(stdout) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#children.has("slurmctld")) await this.run("scancel", ["--user", await userName()]);
    for (const name of [...NODES, "slurmctld", "munged"]) {
      await this.kill(name, name.startsWith("node") ? "SIGKILL" : "SIGTERM");
    }
  }
}

async function userName(): Promise<string> {
  const { stdout } = await new Deno.Command("id", { args: ["-un"] }).output();
  return new TextDecoder().decode(stdout).trim();
}

function killPid(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

/** The processes below one, and the step daemons of a node, which are their own parents' children no more. */
async function descendants(root: number, spool: string): Promise<number[]> {
  const parents = new Map<number, number>();
  const found = new Set([root]);
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = await Deno.readTextFile(`/proc/${name}/stat`);
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 4).split(" ")[0]));
      const node = spool.slice(spool.lastIndexOf("/") + 1);
      const environment = await Deno.readTextFile(`/proc/${name}/environ`);
      if (environment.includes(`SLURMD_NODENAME=${node}\0`) && environment.includes(spool.slice(0, -node.length))) {
        found.add(Number(name));
        const parent = parents.get(Number(name)) ?? 0;
        if ((await Deno.readTextFile(`/proc/${parent}/comm`)).startsWith("slurmstepd")) found.add(parent);
      }
    } catch {
      // It has ended meanwhile.
    }
  }
  for (let size = 0; size !== found.size;) {
    size = found.size;
    for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid);
  }
  found.delete(root);
  return [...found];
}

/** Waits until something holds; at most a minute. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (performance.now() < end) {
    if (await holds().catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`within a minute it did not come about that ${what}`);
}
