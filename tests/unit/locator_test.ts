import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { thisMachine } from "../../src/core/host.ts";
import { registerMachines, TextMachine } from "../../src/core/machine.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { openNvmeTransport } from "../../src/nvme/driver/open.ts";
import { openOradax } from "../../src/oradax/open.ts";
import { claimPciDevice } from "../../src/pci/claim.ts";
import { openPciDevice } from "../../src/pci/open_device.ts";
import { openConfig, openWritableBar } from "../../src/pci/register_access.ts";
import { nearest, type OptionTable, parseLocator, readOptions, type SoftLocator } from "../../src/core/locator.ts";

Deno.test("each kind of locator is told by its form", () => {
  assertEquals(parseLocator("01:00.0").kind, "pci");
  assertEquals(parseLocator("/dev/dax0.0"), { kind: "node", text: "/dev/dax0.0", host: null, path: "/dev/dax0.0" });
  assertEquals(parseLocator("nvme0"), { kind: "node", text: "nvme0", host: null, path: "/dev/nvme0" });
  assertEquals(parseLocator("file:saved.dump"), {
    kind: "file",
    text: "file:saved.dump",
    host: null,
    path: "saved.dump",
    query: new Map(),
  });
  assertEquals(parseLocator("soft:nvme?size=64MiB&mn=A%26B%20%3D"), {
    kind: "soft",
    text: "soft:nvme?size=64MiB&mn=A%26B%20%3D",
    host: null,
    device: "nvme",
    query: new Map([["size", "64MiB"], ["mn", "A&B ="]]),
  });
  assertEquals(parseLocator("type2:/dev/shm/gpu"), {
    kind: "type2",
    text: "type2:/dev/shm/gpu",
    host: null,
    path: "/dev/shm/gpu",
    query: new Map(),
  });
});

Deno.test("cuda: names a device of the installed driver, or of a library", () => {
  const cuda = (text: string): [library: string | null, device: number] => {
    const locator = parseLocator(text);
    if (locator.kind !== "cuda") throw new Error(`${text} is ${locator.kind}`);
    return [locator.library, locator.device];
  };
  assertEquals(cuda("cuda:0"), [null, 0]);
  assertEquals(cuda("cuda:999"), [null, 999]);
  assertEquals(cuda("cuda:/usr/lib/libcuda.so.1"), ["/usr/lib/libcuda.so.1", 0]);
  assertEquals(cuda("cuda:libcuda.so.1?device=3"), ["libcuda.so.1", 3]);
  for (
    const text of ["cuda:", "cuda:1000", "cuda:0?device=1", "cuda:x?device=", "cuda:x?device=-1", "cuda:x?device=1.5"]
  ) {
    assertEquals(assertThrows(() => parseLocator(text), BusbarError).code, "usage", text);
  }
  const error = assertThrows(() => parseLocator("cuda:x?devise=1"), BusbarError, "no setting");
  assertEquals(error.hint, "did you mean 'device'? It takes device");
});

Deno.test("a host part goes before a locator of that host, up to the first slash", () => {
  const parts = (text: string): unknown[] => {
    const { kind, host } = parseLocator(text);
    return [kind, host?.user, host?.name, host?.port, host?.text];
  };
  assertEquals(parts("ssh:lab7/0000:01:00.0"), ["pci", null, "lab7", null, "ssh:lab7"]);
  assertEquals(parts("ssh:me@lab-7.example:2222/nvme0"), [
    "node",
    "me",
    "lab-7.example",
    2222,
    "ssh:me@lab-7.example:2222",
  ]);
  assertEquals(parts("ssh:[fe80::1]:22/01:00.0"), ["pci", null, "fe80::1", 22, "ssh:[fe80::1]:22"]);
  for (const text of ["ssh:lab7", "ssh:lab7/"]) {
    assertEquals(parts(text), ["machine", null, "lab7", null, "ssh:lab7"], text);
  }
  const node = parseLocator("ssh:lab7//dev/dax0.0");
  assertEquals([node.kind, node.kind === "node" && node.path], ["node", "/dev/dax0.0"]);
  assertEquals(parseLocator("01:00.0").host, null);
});

Deno.test("what lives in this process or is a file here is refused behind a host part", () => {
  for (const rest of ["soft:nvme", "file:x", "cuda:0", "type2:x", "ssh:b/01:00.0", "ssh:b"]) {
    const error = assertThrows(() => parseLocator(`ssh:a/${rest}`), BusbarError, "is not reached on another machine");
    assertEquals(error.code, "usage");
  }
});

Deno.test("names that a program would take for an option, or that are unsafe in a file name, are refused", () => {
  const bad = ["", "-oProxyCommand=x", "-", "a b", "a\tb", "a\n", "a\x1b[2J", "a%h", ".", "..", ".a", "a;b", "ä"];
  bad.push("a".repeat(201), "$(x)", "a\\b", "a*");
  for (const word of bad) {
    for (const host of [word, `me@${word}`, ...(word === "" ? ["@a"] : [`${word}@a`])]) {
      const error = assertThrows(
        () => parseLocator(`ssh:${host}/01:00.0`),
        BusbarError,
        undefined,
        JSON.stringify(host),
      );
      assertEquals(error.code, "usage", host);
    }
  }
  for (const host of ["a:0", "a:65536", "a:-1", "a:x", "a:", "a:1:2", "[x]", "[.]", "[a", "a]", "fe80::1", "a@b@c"]) {
    assertThrows(() => parseLocator(`ssh:${host}/01:00.0`), BusbarError, "names no machine", host);
  }
  for (const host of ["a", "A_b-c.d", "_x", "9", "u.v+w-x@h", `${"u".repeat(200)}@${"h".repeat(200)}:65535`]) {
    assertEquals(parseLocator(`ssh:${host}/01:00.0`).kind, "pci", host);
  }
});

Deno.test("a locator on another machine is refused by what opens, while nothing reaches that machine", async () => {
  const openings: readonly [string, () => unknown][] = [
    ["pci", () => openPciDevice(parseLocator("ssh:lab7/01:00.0"))],
    ["nvme", () => NvmeController.open("ssh:lab7/nvme0")],
    ["nvme, by its function", () => NvmeController.open("ssh:lab7/01:00.0")],
    ["oradax", () => openOradax(parseLocator("ssh:m7//dev/oradax1"))],
    ["config", () => openConfig(parseLocator("ssh:lab7/01:00.0"))],
    ["write", () => openWritableBar(parseLocator("ssh:lab7/01:00.0"))],
    ["hold", () => claimPciDevice(parseLocator("ssh:lab7/01:00.0"))],
  ];
  for (const [what, open] of openings) {
    const error = await assertRejects(async () => await open(), BusbarError, undefined, what);
    assertEquals([error.code, /run it on (lab7|m7) itself/.test(error.hint ?? "")], ["unsupported", true], what);
  }
});

Deno.test("a domain that cannot open a kind says what it takes", async () => {
  for (const text of ["cuda:0", "type2:x", "/dev/dax0.0", "soft:cuda", "ssh:lab7/"]) {
    const error = await assertRejects(
      async () => {
        registerMachines("ssh", () => new TextMachine(thisMachine));
        try {
          return await openNvmeTransport(parseLocator(text));
        } finally {
          registerMachines("ssh", null);
        }
      },
      BusbarError,
      "is no NVMe controller",
      text,
    );
    assertMatch(error.hint ?? "", /^it takes a PCI address/);
  }
});

Deno.test("what names nothing is refused, and the error lists the forms", () => {
  for (
    const text of [
      "",
      "zz",
      "nvme0n",
      "mem",
      "dax0",
      "nvme123456",
      "soft:",
      "soft:NVMe",
      "soft:?x=1",
      "file:",
      "type2:",
      "type2:\0",
      "/dev/",
      "/dev/x\0",
      "/dev/nvme0?x=1",
      "C:\\x",
    ]
  ) {
    const error = assertThrows(() => parseLocator(text), BusbarError);
    assertEquals(error.code, "usage", text);
  }
  for (
    const text of [
      "soft:nvme?",
      "soft:nvme?x",
      "soft:nvme?=1",
      "soft:nvme?a=1&a=2",
      "soft:nvme?a=%zz",
      "soft:nvme?a=1&",
    ]
  ) {
    assertEquals(assertThrows(() => parseLocator(text), BusbarError).code, "usage", text);
  }
});

const TABLE: OptionTable = {
  size: { type: "size", title: "capacity", default: "1GiB", min: 4096n, max: 1n << 40n },
  depth: { type: "integer", title: "queue depth", default: "32", min: 1n, max: 64n },
  serial: { type: "text", title: "serial number", default: "S1", max: 4n },
};

function soft(query: string): SoftLocator {
  const locator = parseLocator(`soft:x?${query}`);
  if (locator.kind !== "soft") throw new Error("not soft");
  return locator;
}

Deno.test("settings are filled in, converted and kept in range", () => {
  assertEquals(Object.fromEntries(readOptions(soft("size=64K"), TABLE)), { size: "65536", depth: "32", serial: "S1" });
  const bad: readonly [string, string][] = [
    ["sise=1", "no setting of this device"],
    ["size=1", "at least 4096"],
    ["size=lots", "not a size"],
    ["depth=65", "at most 64"],
    ["depth=1.5", "not a number"],
    ["serial=12345", "at most 4 bytes"],
    ["serial=%C3%A4%C3%A4%C3%A4", "at most 4 bytes"],
    ["serial=a%0Ab", "line breaks"],
    ["__proto__=1", "no setting"],
    ["constructor=1", "no setting"],
  ];
  for (const [query, message] of bad) {
    const error = assertThrows(() => readOptions(soft(query), TABLE), BusbarError, message);
    assertEquals(error.code, "usage");
  }
});

Deno.test("a misspelt setting is answered with the one that was meant", () => {
  const error = assertThrows(() => readOptions(soft("sise=1"), TABLE), BusbarError);
  assertEquals(error.hint, "did you mean 'size'? It takes size, depth, serial");
  assertEquals([nearest("Dept", ["size", "depth"]), nearest("zzzzz", ["size", "depth"]), nearest("a", [])], [
    "depth",
    null,
    null,
  ]);
});
