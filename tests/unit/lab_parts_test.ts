import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";

import { BusbarError } from "../../src/core/error.ts";
import type { Host } from "../../src/core/host.ts";
import { debianArchive, parseAptSources, writeAptSources } from "../../src/lab/apt_sources.ts";
import { type CpioEntry, writeCpio } from "../../src/lab/cpio.ts";
import { fileSystemOf } from "../../src/lab/guest_environment.ts";
import { findImage } from "../../src/lab/image.ts";
import { loadOrder } from "../../src/lab/initramfs.ts";
import { leftOpen, openResources } from "../../src/lab/open_resources.ts";
import { kernelRelease } from "../../src/lab/parts.ts";
import { quoteCommand, quoteWord, quoteWords } from "../../src/lab/shell_words.ts";
import { packError, unpackError } from "../../src/lab/test_registry.ts";

Deno.test("quoted words come out of a shell as they went in", async () => {
  const words = [
    "plain",
    "",
    "two words",
    "it's",
    '"$HOME" `id` \\',
    "a\nb",
    "*",
    "~",
    "-n",
    "ü€",
    "a=b,c:d/e.f",
    "!x",
    "#c",
  ];
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (word) => {
      words.push(word.replaceAll("\0", ""));
    }),
    { numRuns: 200 },
  );
  const { stdout } = await new Deno.Command("sh", { args: ["-c", `printf '%s\\0' ${quoteWords(words)}`] }).output();
  // Lone surrogates are no characters and become U+FFFD on the way into the argument list.
  assertEquals(new TextDecoder().decode(stdout), words.map((word) => `${word.toWellFormed()}\0`).join(""));
  assertEquals(quoteWord("/usr/bin/x=1,y:2"), "/usr/bin/x=1,y:2");
});

Deno.test("a command over several lines is one command", async () => {
  const text = quoteCommand(["printf", "%s|", "-a", "x y", "-b"]);
  assertEquals(text, "printf '%s|' \\\n  -a 'x y' \\\n  -b");
  const { stdout } = await new Deno.Command("sh", { args: ["-c", text] }).output();
  assertEquals(new TextDecoder().decode(stdout), "-a|x y|-b|");
});

/** Reads an archive by the description of the format, not by the writer. */
function readCpio(bytes: Uint8Array): { name: string; mode: number; content: string }[] {
  const text = new TextDecoder("latin1").decode(bytes);
  const entries: { name: string; mode: number; content: string }[] = [];
  for (let at = 0;;) {
    assertEquals(text.slice(at, at + 6), "070701");
    assertEquals(at % 4, 0);
    const field = (index: number): number => parseInt(text.slice(at + 6 + 8 * index, at + 14 + 8 * index), 16);
    const [mode, sizeBytes, nameBytes] = [field(1), field(6), field(11)];
    const name = text.slice(at + 110, at + 110 + nameBytes - 1);
    assertEquals(text[at + 110 + nameBytes - 1], "\0");
    const start = Math.ceil((at + 110 + nameBytes) / 4) * 4;
    if (name === "TRAILER!!!") return entries;
    entries.push({ name, mode, content: text.slice(start, start + sizeBytes) });
    at = Math.ceil((start + sizeBytes) / 4) * 4;
  }
}

const ENTRIES: readonly CpioEntry[] = [
  { kind: "folder", name: "bin" },
  { kind: "file", name: "bin/a", bytes: new TextEncoder().encode("12345"), executable: true },
  { kind: "file", name: "empty", bytes: new Uint8Array(0) },
  { kind: "link", name: "bin/sh", target: "a" },
];

Deno.test("a cpio archive holds what was put in, by the description of the format", () => {
  assertEquals(readCpio(writeCpio(ENTRIES)), [
    { name: "bin", mode: 0o040755, content: "" },
    { name: "bin/a", mode: 0o100755, content: "12345" },
    { name: "empty", mode: 0o100644, content: "" },
    { name: "bin/sh", mode: 0o120777, content: "a" },
  ]);
  fc.assert(fc.property(
    fc.array(fc.record({ name: fc.stringMatching(/^[a-z]{1,9}$/), bytes: fc.uint8Array({ maxLength: 40 }) })),
    (files) => {
      const entries = readCpio(writeCpio(files.map((file) => ({ kind: "file", ...file }))));
      assertEquals(entries.map(({ name }) => name), files.map(({ name }) => name));
      assertEquals(
        entries.map(({ content }) => content),
        files.map(({ bytes }) => new TextDecoder("latin1").decode(bytes)),
      );
    },
  ));
});

/** A cpio of somebody else, where there is one. */
const CPIO = ["cpio", "busybox", findImage()?.busybox ?? ""].find((name) => {
  try {
    return new Deno.Command(name, { args: name === "cpio" ? ["--version"] : ["cpio", "--help"] }).outputSync().code < 2;
  } catch {
    return false;
  }
});

Deno.test({
  name: `another program's cpio lists the archive${
    CPIO === undefined ? " (not run: neither cpio nor busybox is installed)" : ""
  }`,
  ignore: CPIO === undefined,
  fn: async () => {
    const child = new Deno.Command(CPIO ?? "", {
      args: CPIO === "cpio" ? ["-t"] : ["cpio", "-t"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    })
      .spawn();
    const writer = child.stdin.getWriter();
    await writer.write(writeCpio(ENTRIES));
    await writer.close();
    assertEquals(new TextDecoder().decode((await child.output()).stdout), "bin\nbin/a\nempty\nbin/sh\n");
  },
});

Deno.test("package sources: one line for each, with options and comments", () => {
  const text = [
    "# deb http://commented.example/debian bookworm main",
    "deb-src http://source.example/debian bookworm main",
    "deb [arch=amd64 signed-by=/keys/a.gpg,/keys/b.gpg] https://mirror.example/debian/ bookworm main contrib # mine",
    "  deb http://plain.example/debian trixie-security main",
    "nonsense",
  ].join("\n");
  assertEquals(parseAptSources(text, "/etc/apt/sources.list"), [
    {
      uris: ["https://mirror.example/debian/"],
      suites: ["bookworm"],
      components: ["main", "contrib"],
      signedBy: "/keys/a.gpg /keys/b.gpg",
    },
    { uris: ["http://plain.example/debian"], suites: ["trixie-security"], components: ["main"], signedBy: null },
  ]);
});

Deno.test("package sources: stanzas, with lists over several lines, key blocks and disabled ones", () => {
  const text = [
    "Types: deb deb-src",
    "# a comment",
    "URIs: http://one.example/debian http://two.example/debian",
    "Suites: bookworm",
    "  bookworm-updates",
    "Components: main",
    "Signed-By:",
    " -----BEGIN PGP PUBLIC KEY BLOCK-----",
    " .",
    " abc",
    "",
    "Types: deb",
    "URIs: http://off.example/debian",
    "Suites: bookworm",
    "Components: main",
    "Enabled: no",
    "   ",
    "Types: deb-src",
    "URIs: http://source.example/debian",
    "Suites: bookworm",
    "Components: main",
  ].join("\n");
  const sources = parseAptSources(text, "debian.sources");
  assertEquals(sources, [{
    uris: ["http://one.example/debian", "http://two.example/debian"],
    suites: ["bookworm", "bookworm-updates"],
    components: ["main"],
    signedBy: "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc",
  }]);
  const archive = debianArchive(sources);
  assert(archive !== null);
  const written = writeAptSources(archive, ["bookworm", "bookworm-backports"]);
  assertEquals(parseAptSources(written, "lab.sources"), [{
    ...archive,
    suites: ["bookworm", "bookworm-backports"],
    components: ["main"],
  }]);
});

Deno.test("the Debian archive is told from other sources; a machine without one has none", () => {
  const text = [
    "deb http://vendor.example/apt nodistro main",
    "deb cdrom:[Debian 12]/ bookworm main",
    "deb http://mirror.example/debian-security bookworm-security main",
    "deb http://mirror.example/debian bookworm contrib",
    "deb http://mirror.example/debian stable main",
  ].join("\n");
  assertEquals(debianArchive(parseAptSources(text, "x.list"))?.suites, ["stable"]);
  assertEquals(debianArchive(parseAptSources("deb http://mirror.example/ubuntu noble main", "x.list")), null);
});

Deno.test("modules are loaded after what they need, each once; what the kernel has built in is not loaded", () => {
  const dependencies = [
    "kernel/a-core.ko.xz:",
    "kernel/b.ko.xz: kernel/a-core.ko.xz",
    "kernel/c.ko.xz: kernel/b.ko.xz kernel/a-core.ko.xz",
    "kernel/d.ko.xz: kernel/a-core.ko.xz",
  ].join("\n");
  const builtin = "kernel/drivers/e-core.ko\n";
  assertEquals(loadOrder(dependencies, builtin, ["c", "e_core", "d", "a_core"]), [
    "kernel/a-core.ko.xz",
    "kernel/b.ko.xz",
    "kernel/c.ko.xz",
    "kernel/d.ko.xz",
  ]);
  const error = assertThrows(() => loadOrder(dependencies, builtin, ["nope"]), BusbarError);
  assertEquals(error.message, "this kernel has no module nope, which the lab needs");
});

Deno.test("the release of a kernel is read from its file", async () => {
  const path = await Deno.makeTempFile();
  try {
    const image = new Uint8Array(0x4000);
    image.set(new TextEncoder().encode("HdrS"), 0x202);
    new DataView(image.buffer).setUint16(0x20e, 0x3000 - 0x200, true);
    image.set(new TextEncoder().encode("6.12.1-test (builder) #1 SMP\0"), 0x3000);
    await Deno.writeFile(path, image);
    assertEquals(kernelRelease(path), "6.12.1-test");
    await Deno.writeTextFile(path, "no kernel");
    assertEquals(assertThrows(() => kernelRelease(path), BusbarError).code, "malformed");
  } finally {
    await Deno.remove(path);
  }
  assertEquals(assertThrows(() => kernelRelease(path), BusbarError).code, "absent");
});

Deno.test("the file system of a folder: the deepest mount, the later of two, names with spaces", () => {
  const mounts = [
    "1 0 8:1 / / rw - ext4 /dev/sda1 rw",
    "2 1 0:5 / /home rw,nosuid shared:3 - xfs /dev/sdb rw",
    "3 2 0:6 / /home/a\\040b rw - tmpfs tmpfs rw",
    "4 1 0:7 / /mnt rw - ext4 /dev/sdc rw",
    "5 1 0:8 / /mnt rw - nfs4 server:/x rw",
  ].join("\n");
  const types = ["/", "/homes", "/home", "/home/c", "/home/a b/c", "/mnt/d"].map((path) => fileSystemOf(mounts, path));
  assertEquals(types, ["ext4", "ext4", "xfs", "xfs", "tmpfs", "nfs4"]);
});

Deno.test("what a test left open is named: files, device mappings, child processes", () => {
  const machine = (fds: Record<string, string>, maps: string, children: string): Host => {
    const texts: Record<string, string> = {
      "/proc/self/maps": maps,
      "/proc/self/task/7/children": children,
      "/proc/8/comm": "sleep",
    };
    const refuse = (): never => {
      throw new Error("not used");
    };
    return {
      name: "test double",
      list: (path) => path === "/proc/self/fd" ? Object.keys(fds) : ["7"],
      readLink: (path) => fds[path.slice("/proc/self/fd/".length)] ?? refuse(),
      readText: (path) => texts[path] ?? refuse(),
      readBytes: refuse,
      realPath: refuse,
      sizeBytes: refuse,
      batch: refuse,
      writeText: refuse,
      writeBytes: refuse,
      writeTextSlowly: refuse,
      makeFolder: refuse,
      removeFolder: refuse,
    };
  };
  const before = openResources(
    machine({ 0: "/dev/null", 1: "pipe:[11]", 5: "anon_inode:[eventpoll]" }, "7f00-7f01 r-xp 0 0:1 1 /lib/x.so", ""),
  );
  const after = openResources(machine(
    {
      0: "/dev/null",
      1: "pipe:[11]",
      5: "anon_inode:[eventpoll]",
      6: "anon_inode:[eventfd]",
      7: "/dev/vfio/3",
      8: "pipe:[12]",
      9: "pipe:[13]",
    },
    "7f00-7f01 r-xp 0 0:1 1 /lib/x.so\n7f02-7f03 rw-s 0 0:2 2 /sys/devices/pci0000:00/0000:00:01.0/resource0",
    "8 ",
  ));
  assertEquals(leftOpen(before, after), [
    "file /dev/vfio/3",
    "file pipe (2 times)",
    "mapping of /sys/devices/pci0000:00/0000:00:01.0/resource0",
    "process sleep",
  ]);
  assertEquals(leftOpen(after, before), []);
});

Deno.test("what this process opens is found, and found closed again", () => {
  const before = openResources();
  {
    using _file = Deno.openSync("/dev/zero");
    assertEquals(leftOpen(before, openResources()), ["file /dev/zero"]);
  }
  assertEquals(leftOpen(before, openResources()), []);
});

Deno.test("an error that crossed has the stack of where it was thrown, and its message once", () => {
  const thrown = new TypeError("first line\nsecond line", { cause: new Error("the reason") });
  const sent = packError(thrown);
  const got = unpackError(JSON.parse(JSON.stringify(sent)));
  assertEquals([got.name, got.message], ["TypeError", "first line\nsecond line"]);
  const stack = got.stack ?? "";
  assertEquals(stack.split("\n")[0], "TypeError: first line");
  assertEquals(stack.includes("second line"), false);
  assert(stack.includes("lab_parts_test.ts"));
  assert(stack.includes("Caused by: Error: the reason"));
  assertEquals(packError("text").message, 'the test threw "text", which is no error');
});
