/** `lab setup` from nothing, as an ordinary user: interrupted, twice at once, repeated; and that the system stays as it is. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { cannotSetUp } from "../../src/lab/image.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** Nobody: an ordinary user on every Debian system. */
const NOBODY = 65534;

/** What `lab run nvme.yaml -- true` may take, from start to end, on two processors. */
const BOOT_LIMIT_S = 15;

const reason = Deno.env.has("BUSBAR_LAB_GUEST")
  ? "it needs the network"
  : Deno.env.get("BUSBAR_LAB_SKIP") || cannotSetUp()?.message;

/** A user with an empty home. For root it is nobody, with copies of what nobody may not read. */
class User implements AsyncDisposable {
  readonly #home: string;
  readonly #prefix: readonly string[];

  private constructor(home: string, prefix: readonly string[]) {
    this.#home = home;
    this.#prefix = prefix;
  }

  static async create(): Promise<User> {
    const home = await Deno.makeTempDir();
    // What the programs need besides the lab: Deno and its packages. The checkout is copied too.
    const { denoDir } = JSON.parse(await text(Deno.execPath(), "info", "--json"));
    await Deno.mkdir(`${home}/deno-dir`);
    await run("cp", "-r", `${denoDir}/npm`, `${home}/deno-dir/`);
    await run("cp", Deno.execPath(), `${home}/deno`);
    await run("cp", "-r", ROOT, `${home}/checkout`);
    if (Deno.uid() !== 0) return new User(home, []);
    await run("chown", "-R", `${NOBODY}:${NOBODY}`, home);
    return new User(home, ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"]);
  }

  /** The folder of the lab's images. */
  get images(): string {
    return `${this.#home}/cache/busbar/lab/images`;
  }

  lab(...args: string[]): Deno.ChildProcess {
    const [program = "", ...words] = [...this.#prefix, `${this.#home}/deno`, "run", "-A", "--no-check"];
    return new Deno.Command(program, {
      args: [...words, `${this.#home}/checkout/tools/lab.ts`, ...args],
      clearEnv: true,
      env: {
        PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
        HOME: this.#home,
        XDG_CACHE_HOME: `${this.#home}/cache`,
        DENO_DIR: `${this.#home}/deno-dir`,
        NO_COLOR: "1",
      },
      cwd: `${this.#home}/checkout`,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#home, { recursive: true });
  }
}

async function text(program: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

async function run(program: string, ...args: string[]): Promise<void> {
  await text(program, ...args);
}

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

async function ended(child: Deno.ChildProcess): Promise<Ended> {
  const started = performance.now();
  const { code, stdout, stderr } = await child.output();
  const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, stdout: decode(stdout), stderr: decode(stderr), seconds: (performance.now() - started) / 1000 };
}

/** Kills a child as soon as `when` is true, at the latest after a minute. */
async function killWhen(child: Deno.ChildProcess, when: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 6000 && !await when(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  child.kill("SIGKILL");
  assertEquals((await ended(child)).code, 137);
}

async function names(folder: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name)).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** What says whether the system's packages and package lists have changed. */
async function systemState(): Promise<string> {
  const folders = ["/etc/apt", "/var/lib/apt", "/var/lib/dpkg", "/var/cache/apt"];
  // What an ordinary user may not look into no test of theirs can change either.
  const closed = ["(", "-type", "d", "!", "-readable", "-prune", ")", "-o"];
  return await text("find", ...folders, ...closed, "-newermt", "1970-01-01", "-printf", "%p %s %T@ %C@\\n");
}

Deno.test({
  name: `the image is made from nothing by an ordinary user, whatever happens meanwhile${
    reason === undefined ? "" : ` (not run: ${reason})`
  }`,
  ignore: reason !== undefined,
  fn: async () => {
    const system = await systemState();
    await using user = await User.create();

    // Killed while packages arrive: those that have arrived are kept.
    const archives = `${user.images}/../apt/cache/archives`;
    const arrived = async (): Promise<string[]> => (await names(archives)).filter((name) => name.endsWith(".deb"));
    await killWhen(user.lab("setup"), async () => (await arrived()).length >= 20);
    const kept = await arrived();
    assert(kept.length >= 20);

    // Killed while they are unpacked: no image appears.
    await killWhen(user.lab("setup"), async () => (await names(user.images)).length > 0);
    assertMatch((await names(user.images)).join(), /^\d+T\d+\.unfinished$/);
    assertEquals((await arrived()).filter((name) => kept.includes(name)), kept);

    // Two at once: one makes it, the other waits and finds it.
    const both = await Promise.all([ended(user.lab("setup")), ended(user.lab("setup"))]);
    assertEquals(both.map(({ code }) => code), [0, 0]);
    assertEquals(both.map(({ stdout }) => stdout.split(":")[0]).sort(), ["fetched", "ready"]);
    assertMatch((await names(user.images)).join(), /^\d+T\d+$/);

    const again = await ended(user.lab("setup", "--json"));
    assert(again.seconds < 1, `${again.seconds} s`);
    const { schema, made, image } = JSON.parse(again.stdout);
    assertEquals([schema, made], ["lab_setup/1", false]);
    assertMatch(image.record.kernelRelease, /^6\.12\./);

    // And it boots, with the user's rights outside and root's inside.
    const guest = await ended(user.lab("run", "nvme", "--", "sh", "-c", "id -u; ls /root; touch /etc/x; nvme list"));
    assertEquals(guest.code, 0, guest.stderr);
    assertStringIncludes(guest.stdout, "0\n");
    assertStringIncludes(guest.stdout, "BUSBAR0001");
    assertEquals(await systemState(), system);

    // The better of two: the machine that runs the tests may have had something else to do.
    let seconds = Infinity;
    for (let i = 0; i < 2 && seconds > BOOT_LIMIT_S; i++) {
      const booted = await ended(user.lab("run", "nvme.yaml", "--", "true"));
      assertEquals([booted.code, booted.stdout, booted.stderr], [0, "", ""]);
      seconds = Math.min(seconds, booted.seconds);
    }
    assert(seconds <= BOOT_LIMIT_S, `lab run nvme.yaml -- true took ${seconds} s`);
  },
});
