import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";

import { BUSBAR, BUSBAR_SOFT, findLibrary, findProgram, NVME_GUARDIAN, type Surroundings } from "../../ffi/build.ts";
import { ABI_VERSION } from "../../ffi/library.ts";
import { BusbarError } from "../../src/core/error.ts";
import { withLibraries } from "./setup.ts";

withLibraries();

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

interface Place {
  /** A checkout with the C sources and nothing built. */
  readonly checkout: string;
  readonly cache: string;
  /** What was said while building. */
  readonly said: string[];
  readonly where: (env?: Record<string, string>, more?: Partial<Surroundings>) => Surroundings;
}

/** A fresh copy of the sources in a folder of its own, and an empty cache. */
function withCheckout(body: (place: Place) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    const checkout = `${folder}/checkout`;
    for (const part of ["csrc", "csrc/api", ...BUSBAR_SOFT.folders, "ffi", "src/core"]) {
      Deno.mkdirSync(`${checkout}/${part}`, { recursive: true });
      for (const entry of Deno.readDirSync(`${ROOT}/${part}`)) {
        if (entry.isFile) Deno.copyFileSync(`${ROOT}/${part}/${entry.name}`, `${checkout}/${part}/${entry.name}`);
      }
    }
    const said: string[] = [];
    const cache = `${folder}/cache/busbar/lib`;
    const where: Place["where"] = (env = {}, more = {}) => ({
      root: checkout,
      beside: [`${checkout}/ffi`],
      embedded: null,
      arch: Deno.build.arch,
      cache,
      env: (name) => name in env ? env[name] : name === "PATH" ? Deno.env.get("PATH") : undefined,
      say: (line) => said.push(line),
      ...more,
    });
    body({ checkout, cache, said, where });
  } finally {
    new Deno.Command("chmod", { args: ["-R", "u+w", folder] }).outputSync();
    Deno.removeSync(folder, { recursive: true });
  }
}

function version(path: string): number {
  const library = Deno.dlopen(path, { bb_abi_version: { parameters: [], result: "u32" } });
  const number = library.symbols.bb_abi_version();
  library.close();
  return number;
}

Deno.test("the first call builds into build/ and says so in one line; the second finds it and says nothing", () => {
  withCheckout(({ checkout, said, where }) => {
    const path = findLibrary(BUSBAR, where());
    assertMatch(path, new RegExp(`^${checkout}/build/libbusbar-linux-${Deno.build.arch}-release-[0-9a-f]{16}\\.so$`));
    assertEquals(version(path), ABI_VERSION);
    assertEquals(said, [`busbar: building libbusbar with cc into ${checkout}/build`]);
    assertEquals(findLibrary(BUSBAR, where()), path);
    assertEquals(said.length, 1);
    assertEquals(
      Array.from(Deno.readDirSync(`${checkout}/build`), (entry) => entry.name).filter((name) => name.includes("tmp")),
      [],
    );
  });
});

Deno.test("a changed source, header, flag or compiler is another library; touching a file is not", () => {
  withCheckout(({ checkout, said, where }) => {
    const first = findLibrary(BUSBAR, where());
    Deno.utimeSync(`${checkout}/csrc/mmio.c`, new Date(0), new Date(0));
    assertEquals(findLibrary(BUSBAR, where()), first);
    assertEquals(said.length, 1);
    Deno.writeTextFileSync(`${checkout}/csrc/mmio.c`, "\n", { append: true });
    const second = findLibrary(BUSBAR, where());
    Deno.writeTextFileSync(`${checkout}/csrc/busbar.h`, "\n", { append: true });
    const third = findLibrary(BUSBAR, where());
    const fourth = findLibrary(BUSBAR, where({ CFLAGS: "-DSOMETHING" }));
    const fifth = findLibrary(BUSBAR, where({ CC: "gcc" }));
    assertEquals(new Set([first, second, third, fourth, fifth]).size, 5);
    assertEquals(findLibrary(BUSBAR, where()), third);
    // Whoever names the same compiler by its path shares the library, and the name that it gave.
    const { stdout } = new Deno.Command("sh", { args: ["-c", "command -v cc"] }).outputSync();
    const cc = new TextDecoder().decode(stdout).trim();
    assertMatch(cc, /^\/.*\/cc$/);
    const built = said.length;
    for (const entry of Deno.readDirSync(`${checkout}/build`)) {
      if (entry.name.endsWith(".manifest.json")) Deno.removeSync(`${checkout}/build/${entry.name}`);
    }
    assertEquals(findLibrary(BUSBAR, where({ CC: cc })), third);
    assertEquals(said.length, built);
  });
});

Deno.test("two first runs at once both end with the same good library", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await new Deno.Command("cp", {
      args: [
        "-r",
        `${ROOT}/csrc`,
        `${ROOT}/ffi`,
        `${ROOT}/src`,
        `${ROOT}/deno.json`,
        `${ROOT}/deno.lock`,
        `${ROOT}/types`,
        folder,
      ],
    }).output();
    const script = `import { BUSBAR, findLibrary } from "${folder}/ffi/build.ts"; console.log(findLibrary(BUSBAR));`;
    const run = (): Promise<Deno.CommandOutput> =>
      new Deno.Command(Deno.execPath(), { args: ["eval", "--no-check", script], cwd: folder }).output();
    const outputs = await Promise.all([run(), run(), run()]);
    const texts = outputs.map((output) => new TextDecoder().decode(output.stdout));
    assertEquals(new Set(texts).size, 1, texts.join(" / "));
    assert(outputs.every((output) => output.success));
    assertEquals(version((texts[0] ?? "").trim()), ABI_VERSION);
    const names: string[] = [];
    for await (const entry of Deno.readDir(`${folder}/build`)) names.push(entry.name);
    assertEquals(names.filter((name) => name.endsWith(".so")).length, 1, names.join(", "));
    assertEquals(names.filter((name) => name.endsWith(".tmp")), []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a checkout that cannot be written to builds into the user's cache, private to the user", () => {
  withCheckout(({ checkout, cache, where }) => {
    // A file where build/ would be stops root too.
    Deno.writeTextFileSync(`${checkout}/build`, "");
    const path = findLibrary(BUSBAR, where());
    assert(path.startsWith(`${cache}/libbusbar-`), path);
    assertEquals((Deno.statSync(cache).mode ?? 0) & 0o777, 0o700);
    assertEquals(findLibrary(BUSBAR, where()), path);
    assertEquals(version(path), ABI_VERSION);
  });
});

Deno.test("with no folder to build in, the error lists every path that was tried", () => {
  withCheckout(({ checkout, where }) => {
    Deno.writeTextFileSync(`${checkout}/build`, "");
    const error = assertThrows(() => findLibrary(BUSBAR, where({}, { cache: null })), BusbarError);
    assertEquals(error.code, "library");
    for (const part of ["$BUSBAR_LIB (not set)", `${checkout}/ffi/libbusbar-`, `${checkout}/build/libbusbar-`]) {
      assertStringIncludes(error.message, part);
    }
  });
});

Deno.test("a library or folder that others may write is not loaded; it is built anew elsewhere", () => {
  withCheckout(({ checkout, cache, where }) => {
    const built = findLibrary(BUSBAR, where());
    Deno.chmodSync(built, 0o777);
    const again = findLibrary(BUSBAR, where());
    assertEquals((Deno.statSync(again).mode ?? 0) & 0o022, 0);
    Deno.chmodSync(`${checkout}/build`, 0o777);
    assert(findLibrary(BUSBAR, where()).startsWith(cache));
  });
});

const root = Deno.uid() === 0;
const rootOnly = { ignore: !root };
const rootNote = root ? "" : " (not run: needs root)";

Deno.test(`root in a user's checkout neither loads from it nor writes into it${rootNote}`, rootOnly, () => {
  withCheckout(({ checkout, cache, where }) => {
    const planted = findLibrary(BUSBAR, where());
    Deno.chownSync(planted, 12345, 12345);
    Deno.chownSync(`${checkout}/build`, 12345, 12345);
    Deno.chownSync(checkout, 12345, 12345);
    const before = Array.from(Deno.readDirSync(`${checkout}/build`), (entry) => entry.name).sort();
    assert(findLibrary(BUSBAR, where()).startsWith(cache));
    assertEquals(Array.from(Deno.readDirSync(`${checkout}/build`), (entry) => entry.name).sort(), before);
    Deno.removeSync(`${checkout}/build`, { recursive: true });
    Deno.removeSync(cache, { recursive: true });
    assert(findLibrary(BUSBAR, where()).startsWith(cache));
    assertThrows(() => Deno.statSync(`${checkout}/build`), Deno.errors.NotFound);
  });
});

Deno.test(
  `a user in root's checkout uses what root built, and builds into the cache what root did not${rootNote}`,
  rootOnly,
  () => {
    withCheckout(({ checkout, said, where }) => {
      const built = findLibrary(BUSBAR, where());
      assertEquals(said.length, 1);
      const script = `
      import { BUSBAR, BUSBAR_SOFT, findLibrary } from "${checkout}/ffi/build.ts";
      const where = { root: "${checkout}", beside: [], embedded: null, arch: Deno.build.arch, cache: Deno.args[0], env: (name) => name === "PATH" ? Deno.env.get("PATH") : undefined, say: () => {} };
      console.log(findLibrary(BUSBAR, where), findLibrary(BUSBAR_SOFT, where));`;
      const folder = Deno.makeTempDirSync();
      try {
        const file = `${folder}/find.ts`;
        Deno.writeTextFileSync(file, script);
        for (const path of [folder, `${checkout}/..`, checkout]) Deno.chmodSync(path, 0o755);
        Deno.mkdirSync(`${folder}/home`);
        Deno.chownSync(`${folder}/home`, 65534, 65534);
        // Deno itself may lie in root's home, which nobody cannot enter.
        Deno.copyFileSync(Deno.execPath(), `${folder}/deno`);
        Deno.chmodSync(`${folder}/deno`, 0o755);
        const output = new Deno.Command("setpriv", {
          args: [
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            `${folder}/deno`,
            "run",
            "-A",
            "--no-check",
            "--no-config",
            file,
            `${folder}/home/cache`,
          ],
          env: { DENO_DIR: `${folder}/home/deno`, HOME: `${folder}/home` },
        }).outputSync();
        const [busbar, soft] = new TextDecoder().decode(output.stdout).trim().split(" ");
        assertEquals(busbar, built, new TextDecoder().decode(output.stderr));
        assert(soft?.startsWith(`${folder}/home/cache/`), soft);
      } finally {
        Deno.removeSync(folder, { recursive: true });
      }
    });
  },
);

Deno.test("a missing compiler names the package; a library that is built already needs none", () => {
  withCheckout(({ where }) => {
    const error = assertThrows(
      () => findLibrary(BUSBAR, where({ CC: "no-such-cc" })),
      BusbarError,
      "there is no C compiler 'no-such-cc'",
    );
    assertEquals(error.code, "library");
    assertStringIncludes(error.hint ?? "", "apt-get install gcc libc6-dev");
    assertThrows(() => findLibrary(BUSBAR, where({ PATH: "/nonexistent" })), BusbarError, "no C compiler 'cc'");
    const built = findLibrary(BUSBAR, where());
    assertEquals(findLibrary(BUSBAR, where({ PATH: "/nonexistent" })), built);
  });
});

Deno.test("a source that does not compile says what the compiler said, and leaves nothing behind", () => {
  withCheckout(({ checkout, where }) => {
    Deno.writeTextFileSync(`${checkout}/csrc/broken.c`, "int broken(void) { return nothing; }\n");
    const error = assertThrows(() => findLibrary(BUSBAR, where()), BusbarError, "libbusbar does not compile");
    assertStringIncludes(error.hint ?? "", "nothing");
    assertEquals(Array.from(Deno.readDirSync(`${checkout}/build`)), []);
  });
});

Deno.test("a compiler that was killed is said so: the source is not blamed", () => {
  withCheckout(({ checkout, where }) => {
    Deno.writeTextFileSync(
      `${checkout}/killed-cc`,
      '#!/bin/sh\ncase "$*" in *--version*) exec cc --version;; esac\nkill -KILL $$\n',
      { mode: 0o755 },
    );
    const error = assertThrows(() => findLibrary(BUSBAR, where({ CC: `${checkout}/killed-cc` })), BusbarError);
    assertStringIncludes(error.message, "the compiler was ended by SIGKILL");
    assert(!error.message.includes("does not compile"));
  });
});

/** Runs a tool with a library of the user's choice. */
function dump(env: Record<string, string>): { code: number; stderr: string } {
  const output = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `${ROOT}/tools/dump_bar0.ts`, "soft:nvme"],
    env,
    stdout: "null",
  }).outputSync();
  return { code: output.code, stderr: new TextDecoder().decode(output.stderr) };
}

Deno.test("BUSBAR_LIB with another interface, or that is no library, is an error and never a fall-back", () => {
  withCheckout(({ checkout, where }) => {
    const wrong = `${checkout}/wrong.so`;
    Deno.writeTextFileSync(`${checkout}/wrong.c`, "unsigned bb_abi_version(void) { return 999; }\n");
    new Deno.Command("cc", { args: ["-shared", "-fPIC", "-o", wrong, `${checkout}/wrong.c`], env: { LD_PRELOAD: "" } })
      .outputSync();
    const abi = dump({ BUSBAR_LIB: wrong });
    assertEquals(abi.code, 3);
    assertStringIncludes(abi.stderr, `made for interface 999, this busbar needs ${ABI_VERSION}`);
    Deno.writeTextFileSync(`${checkout}/text.so`, "not a library");
    const text = dump({ BUSBAR_LIB: `${checkout}/text.so` });
    assertEquals(text.code, 3);
    assertStringIncludes(text.stderr, "cannot be loaded");
    assertEquals(dump({ BUSBAR_LIB: "/nonexistent.so" }).code, 3);
    assertEquals(
      dump({ BUSBAR_LIB: findLibrary(BUSBAR, where()), BUSBAR_SOFT_LIB: findLibrary(BUSBAR_SOFT, where()) }).code,
      0,
    );
  });
});

Deno.test("a program without its sources uses the library beside it, and never builds", () => {
  withCheckout(({ checkout, said, where }) => {
    const built = findLibrary(BUSBAR, where());
    const bundle = `${checkout}/bundle`;
    Deno.mkdirSync(bundle, { mode: 0o755 });
    Deno.chmodSync(bundle, 0o755);
    const elsewhere = { root: `${checkout}/nowhere`, beside: [bundle] };
    const error = assertThrows(
      () => findLibrary(BUSBAR, where({}, elsewhere)),
      BusbarError,
      "libbusbar is missing; tried",
    );
    assertEquals([error.code, said.length], ["library", 1] as unknown[]);
    Deno.copyFileSync(built, `${bundle}/${built.split("/").at(-1)}`);
    Deno.chmodSync(`${bundle}/${built.split("/").at(-1)}`, 0o755);
    assert(findLibrary(BUSBAR, where({}, elsewhere)).startsWith(bundle));
  });
});

Deno.test("a program that is embedded is started from a copy in the user's cache, made once and replaced when it was changed", () => {
  withCheckout(({ checkout, cache, where }) => {
    const app = `${checkout}/app`;
    const name = `nvme_guardian-linux-${Deno.build.arch}-release-0123456789abcdef`;
    Deno.mkdirSync(`${app}/build`, { recursive: true });
    Deno.writeTextFileSync(`${app}/build/${name}`, "#!/bin/sh\necho started\n");
    const compiled = where({}, { root: app, beside: [`${app}/build`], embedded: app });
    const copy = findProgram(NVME_GUARDIAN, compiled);
    assertEquals(copy, `${cache}/${name}`);
    assertEquals(new TextDecoder().decode(new Deno.Command(copy).outputSync().stdout), "started\n");
    const made = Deno.statSync(copy).mtime;
    assertEquals(findProgram(NVME_GUARDIAN, compiled), copy);
    assertEquals(Deno.statSync(copy).mtime, made);
    Deno.chmodSync(copy, 0o777);
    findProgram(NVME_GUARDIAN, compiled);
    assertEquals((Deno.statSync(copy).mode ?? 0) & 0o022, 0, "what others may write is not started");
    const error = assertThrows(() => findProgram(NVME_GUARDIAN, { ...compiled, cache: null }), BusbarError);
    assertEquals(error.code, "library");
    assertStringIncludes(error.hint ?? "", "BUSBAR_NVME_GUARDIAN");
  });
});

Deno.test("a program that is no embedded file is started where it is", () => {
  withCheckout(({ checkout, where }) => {
    const beside = `${checkout}/bundle`;
    Deno.mkdirSync(beside, { mode: 0o755 });
    const path = `${beside}/nvme_guardian-linux-${Deno.build.arch}-release-0123456789abcdef`;
    Deno.writeTextFileSync(path, "", { mode: 0o755 });
    assertEquals(findProgram(NVME_GUARDIAN, where({}, { root: `${checkout}/nowhere`, beside: [beside] })), path);
  });
});

Deno.test("an unknown variant is refused", () => {
  withCheckout(({ where }) => {
    assertThrows(() => findLibrary(BUSBAR, where({ BUSBAR_VARIANT: "fast" })), BusbarError, "is no variant");
  });
});

Deno.test("a manifest only saves time: neither its name nor its mode makes another file be loaded; parents count too", () => {
  withCheckout(({ checkout, cache, where }) => {
    const built = findLibrary(BUSBAR, where());
    const name = built.slice(built.lastIndexOf("/") + 1);
    const manifest = `${checkout}/build/${name.replace(/-[0-9a-f]{16}\.so$/, "")}.manifest.json`;
    const sound = Deno.readTextFileSync(manifest);
    for (
      const text of [sound.replace(name, "other.so"), sound.replace(name, `../${name}`), "null", "[]", '{"file":1}']
    ) {
      Deno.writeTextFileSync(manifest, text);
      assertEquals(findLibrary(BUSBAR, where()), built, text.slice(0, 80));
    }
    Deno.chmodSync(checkout, 0o777);
    assert(findLibrary(BUSBAR, where()).startsWith(cache), "a folder above build/ is open to others");
  });
});
