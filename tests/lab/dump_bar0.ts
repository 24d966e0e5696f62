/**
 * What dump_bar0 shows of a real controller under a real kernel, against other people's tools. For nvme.test.ts.
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { NVME_REGISTERS } from "../../src/nvme/tables/registers.ts";
import { toolArgs } from "../soft/tool.ts";
import type { Lab } from "./lab.ts";

const NVME = "0000:01:00.0";
const FOLDER = `/sys/bus/pci/devices/${NVME}`;
const DRIVER = "/sys/bus/pci/drivers/nvme";

interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function output(...argv: [string, ...string[]]): Promise<Output> {
  const [program, ...args] = argv;
  const { code, stdout, stderr } = await new Deno.Command(program, { args }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

async function must(...argv: [string, ...string[]]): Promise<string> {
  const { code, stdout, stderr } = await output(...argv);
  assertEquals(code, 0, `${argv.join(" ")}: ${stderr}`);
  return stdout;
}

function dump(...args: string[]): Promise<Output> {
  return output(Deno.execPath(), ...toolArgs("dump_bar0", args));
}

/** The registers of `dump_bar0 --json` as numbers, by name. */
async function dumpedRegisters(...args: string[]): Promise<Map<string, bigint>> {
  const { code, stdout, stderr } = await dump(NVME, "--json", ...args);
  assertEquals(code, 0, stderr);
  const { registers } = JSON.parse(stdout) as { registers: Record<string, { value: number | string }> };
  return new Map(Object.entries(registers).map(([name, row]) => [name, BigInt(row.value)]));
}

async function writeFile(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(path, text);
}

async function isBound(): Promise<boolean> {
  return await Deno.readLink(`${FOLDER}/driver`).then(() => true, () => false);
}

/** Runs `body` with the controller unbound from the kernel's driver, and binds it again. */
async function unbound(body: () => Promise<void>): Promise<void> {
  if (await isBound()) await writeFile(`${DRIVER}/unbind`, NVME);
  try {
    await body();
  } finally {
    if (!await isBound()) await writeFile(`${DRIVER}/bind`, NVME);
  }
}

interface PciState {
  readonly command: string;
  readonly enable: string;
}

async function pciState(): Promise<PciState> {
  return {
    command: (await must("setpci", "-s", NVME, "COMMAND")).trim(),
    enable: (await Deno.readTextFile(`${FOLDER}/enable`)).trim(),
  };
}

/** Unbound, with memory decoding off: as a function is that nobody ever enabled. */
async function asleep(body: (before: PciState) => Promise<void>): Promise<void> {
  await unbound(async () => {
    const command = (await must("setpci", "-s", NVME, "COMMAND")).trim();
    await must("setpci", "-s", NVME, "COMMAND=0:3");
    try {
      await body(await pciState());
    } finally {
      await must("setpci", "-s", NVME, `COMMAND=${command}`);
    }
  });
}

/** nvme-cli's names of registers where they are not ours in lower case. */
const NVME_CLI_NAMES: Readonly<Record<string, string>> = {};
/** Registers of the table that nvme-cli 2.3 does not print. */
const NOT_IN_NVME_CLI: readonly string[] = ["CMBEBS", "CMBSWTP", "NSSD"];

/** Reads every register through its own mapping, as 32-bit words. */
const PYTHON_READER = `
import json, mmap, os, struct, sys
path, rows = sys.argv[1], json.loads(sys.argv[2])
fd = os.open(path, os.O_RDONLY)
bar = mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ)
result = {}
for name, offset, size in rows:
    value = 0
    for word in range(size // 4):
        value |= struct.unpack_from("<I", bar, offset + 4 * word)[0] << (32 * word)
    result[name] = str(value)
print(json.dumps(result))
`;

/** Registers the tests of dump_bar0 on the machine \`nvme.yaml\`. */
export function dumpBar0Tests(lab: Lab): void {
  lab.test("dump_bar0 agrees with nvme show-regs, register by register, while the kernel's driver runs", async () => {
    const ours = await dumpedRegisters();
    // nvme-cli 2.3 ends with 1 here although it printed everything.
    const theirs = JSON.parse((await output("nvme", "show-regs", "/dev/nvme0", "-o", "json")).stdout) as Record<
      string,
      number
    >;
    // JSON numbers of nvme-cli lose digits above 2^53, so 64-bit registers come from its text.
    const { stdout: text } = await output("nvme", "show-regs", "/dev/nvme0");
    const exact = new Map(
      [...text.matchAll(/^(\w+)\s*: ([0-9a-f]+)$/gm)].map(([, name = "", hex]) => [name, BigInt(`0x${hex}`)]),
    );
    const compared: string[] = [];
    for (const key of Object.keys(theirs)) {
      const name = NVME_CLI_NAMES[key] ?? key.toUpperCase();
      assert(ours.has(name), `nvme-cli prints '${key}', which the table does not have`);
      const value = exact.get(key) ?? exact.get(key === "vs" ? "version" : key) ?? BigInt(theirs[key] ?? -1);
      assertEquals(ours.get(name), value, name);
      compared.push(name);
    }
    assertEquals([...ours.keys()].filter((name) => !compared.includes(name)), NOT_IN_NVME_CLI);
    assertEquals([ours.get("CSTS"), ours.get("CC")], [1n, 0x460061n]);
  });

  lab.test("dump_bar0 agrees with an independent reader over every register, while nobody holds the controller", async () => {
    await unbound(async () => {
      const rows = NVME_REGISTERS.rows.map((row) => [row.name, row.offset, row.type === "uint" ? row.sizeBytes : 0]);
      const theirs = JSON.parse(
        await must("python3", "-c", PYTHON_READER, `${FOLDER}/resource0`, JSON.stringify(rows)),
      ) as Record<string, string>;
      const ours = await dumpedRegisters();
      assertEquals([...ours].map(([name, value]) => [name, value.toString()]), Object.entries(theirs));
      assertEquals(ours.get("VS"), 0x10400n);
    });
  });

  lab.test("what --save writes is what lspci -xxxx prints, lspci -F reads it, and it shows the same again", async () => {
    const saved = await Deno.makeTempFile();
    const live = await dump(NVME, "--save", saved);
    assertEquals(live.code, 0, live.stderr);
    assertEquals((await dump(`file:${saved}`)).stdout, live.stdout);
    const hexOf = (text: string): string[] => text.split("\n").filter((line) => /^[0-9a-f]{2,3}: /.test(line));
    const direct = hexOf(await must("lspci", "-xxxx", "-s", NVME));
    assertEquals(direct.length, 256);
    assertEquals(hexOf(await must("lspci", "-F", saved, "-xxxx", "-s", NVME)), direct);
    assertStringIncludes(
      await must("lspci", "-F", saved, "-vv", "-s", NVME),
      "LnkCap:\tPort #0, Speed 2.5GT/s, Width x1",
    );
    // The other way round: the text that lspci prints is a recorded machine, registers apart.
    const mailed = await Deno.makeTempFile();
    await Deno.writeTextFile(mailed, await must("lspci", "-xxxx", "-vv"));
    const answer = await dump(`file:${mailed}?device=${NVME}`);
    assertEquals(answer.code, 3);
    assertStringIncludes(answer.stderr, "the registers of BAR0 were not recorded");
  });

  lab.test("memory decoding off is said, not shown as zeros, and --enable-memory turns it on and back off", async () => {
    await asleep(async (before) => {
      assertEquals(before.enable, "0");
      const off = await dump(NVME);
      assertEquals(off.code, 3);
      assertStringIncludes(off.stderr, "memory decoding is off");
      assertStringIncludes(off.stderr, "--enable-memory");
      const listed = await dump(NVME, "--enable-memory", "--dry-run");
      assertStringIncludes(listed.stdout, `PCI enable count of ${NVME}: 0 → write '1' to ${FOLDER}/enable`);
      assertEquals(await pciState(), before);
      const on = await dumpedRegisters("--enable-memory");
      assertEquals(on.get("VS"), 0x10400n);
      assertEquals(await pciState(), before);
    });
  });

  lab.test("other devices: nothing is read without --range or --all, and a driver's device wants --force", async () => {
    const bridge = await dump("0000:00:1f.2", "--bar", "5");
    assertEquals(bridge.code, 2);
    assertStringIncludes(bridge.stderr, "reading may have side effects");
    const held = await dump("0000:00:1f.2", "--bar", "4", "--all");
    assertEquals(held.code, 3);
    assertStringIncludes(held.stderr, "I/O ports");
    const doorbells = await dump(NVME, "--range", "0x1000+16");
    assertEquals(doorbells.code, 3);
    assertStringIncludes(doorbells.stderr, "the driver nvme holds it");
    assertEquals((await dump(NVME, "--range", "0x0+16")).code, 0);
    const noBars = await dump("0000:00:1f.0", "--all");
    assertEquals(noBars.code, 3);
    assertStringIncludes(noBars.stderr, "no BAR0");
  }, { isLong: true });

  lab.test("without privilege the tool says so, and what to do", async () => {
    // Deno, its cache and the checkout may lie in a home that others cannot enter; the guest's overlay can be opened up.
    for (const path of [Deno.execPath(), Deno.env.get("DENO_DIR") ?? "/", import.meta.filename ?? "/"]) {
      for (let at = path; at !== ""; at = at.slice(0, at.lastIndexOf("/"))) await must("chmod", "a+rX", at);
    }
    const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] as const;
    const { code, stderr } = await output(...nobody, Deno.execPath(), ...toolArgs("dump_bar0", [NVME]));
    assertEquals(code, 3, stderr);
    assertStringIncludes(stderr, "this user may not map BAR0");
    assertStringIncludes(stderr, "run it as root");
  }, { isLong: true });

  lab.hostTest("a dump reads only registers, and writes none: QEMU's own count of accesses", async (guest, qmp) => {
    const trace = async (enable: boolean): Promise<void> => {
      for (
        const name of [
          "pci_nvme_mmio_read",
          "pci_nvme_mmio_write",
          "pci_nvme_mmio_doorbell_sq",
          "pci_nvme_mmio_doorbell_cq",
        ]
      ) {
        await qmp.execute("trace-event-set-state", { name, enable });
      }
    };
    await guest.run(["sh", "-c", `echo ${NVME} > ${DRIVER}/unbind`]);
    const log = `${guest.record.folder}/qemu.log`;
    const before = (await Deno.readTextFile(log)).length;
    await trace(true);
    const ran = await guest.run([Deno.execPath(), ...toolArgs("dump_bar0", [NVME])], { timeoutMs: 60_000 });
    await trace(false);
    await guest.run(["sh", "-c", `echo ${NVME} > ${DRIVER}/bind`]);
    assertEquals(ran.code, 0, ran.stderr);
    const lines = (await Deno.readTextFile(log)).slice(before).split("\n").filter((line) => line.includes("pci_nvme_"));
    const reads = lines.map((line) => /pci_nvme_mmio_read addr 0x([0-9a-f]+) size (\d+)/.exec(line));
    assert(reads.every((read) => read !== null), lines.filter((_, i) => reads[i] === null).join("\n"));
    const expected = [[0x00, 0x6c], [0xe00, 0xe1c]].flatMap(([from = 0, to = 0]) =>
      Array.from({ length: (to - from) / 4 }, (_, i) => [from + 4 * i, 4])
    );
    assertEquals(reads.map((read) => [parseInt(read?.[1] ?? "", 16), Number(read?.[2])]), expected);
  });

  lab.hostTest(
    "pulled out during --watch: the tool says that the device is gone, within a second, and ends with 1",
    async (guest, qmp) => {
      const watching = await guest.spawn([Deno.execPath(), ...toolArgs("dump_bar0", [NVME, "--watch", "100ms"])]);
      const errors = new Response(watching.stderr).text();
      const reader = watching.stdout.getReader();
      await reader.read();
      await qmp.unplug("nvme0");
      const started = performance.now();
      const code = await watching.status;
      const milliseconds = performance.now() - started;
      while (!(await reader.read()).done);
      const stderr = await errors;
      await qmp.plug("nvme0");
      assertEquals(code, 1, stderr);
      assertStringIncludes(stderr, "the device is gone");
      assert(milliseconds < 1000, `${milliseconds} ms`);
    },
  );
}

const ENDED_BY = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129, SIGKILL: 137 } as const;

/** Registers the tests that end the tool while it has changed something. */
export function dumpBar0SignalTests(lab: Lab, signals: readonly (keyof typeof ENDED_BY)[]): void {
  for (const signal of signals) {
    const how = signal === "SIGKILL" ? "by busbar restore" : "by the tool itself";
    lab.test(`${signal} in the middle of --enable-memory --watch: the former state is back, ${how}`, async () => {
      await asleep(async (before) => {
        const child = new Deno.Command(Deno.execPath(), {
          args: toolArgs("dump_bar0", [NVME, "--enable-memory", "--watch", "100ms"]),
          stdout: "piped",
          stderr: "null",
        }).spawn();
        const reader = child.stdout.getReader();
        await reader.read();
        assertEquals((await pciState()).enable, "1");
        child.kill(signal);
        const { code } = await child.status;
        while (!(await reader.read()).done);
        assertEquals(code, ENDED_BY[signal]);
        if (signal === "SIGKILL") {
          assertEquals((await pciState()).enable, "1");
          const mentioned = await dump(NVME, "--enable-memory", "--dry-run");
          assertStringIncludes(mentioned.stderr, "1 earlier run(s) were killed and left changes: busbar restore");
          const restored = await output(Deno.execPath(), ...toolArgs("busbar", ["restore"]));
          assertEquals(restored.code, 0, restored.stderr);
          assertMatch(restored.stdout, /PCI enable count of 0000:01:00\.0: put back from '1' to '0'/);
        }
        assertEquals(await pciState(), before);
        assertEquals(
          await output(Deno.execPath(), ...toolArgs("busbar", ["restore"])).then((again) => again.stdout),
          "nothing to restore\n",
        );
      });
    });
  }
}
