/**
 * `dax_config namespace` in lab machines: ndctl reads what busbar made and busbar what ndctl made, refusals while it is in
 * use, and SIGKILL behind every write.
 * @module
 */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError, type ErrorCode } from "../../src/core/error.ts";
import { thisMachine } from "../../src/core/host.ts";
import { listJournals } from "../../src/core/undo/found_journals.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { createNamespace, destroyNamespace } from "../../src/memory/namespace.ts";
import { type NamespaceRequest, planNamespace } from "../../src/memory/namespace_plan.ts";
import { findNamespace, readPersistentMemory } from "../../src/memory/namespaces.ts";
import { runTool } from "../soft/tool.ts";
import type { Lab } from "./lab.ts";
import { list, output, shell } from "./programs.ts";

const SUBJECT = new URL("namespace_subject.ts", import.meta.url).pathname;
const DENO = ["--cached-only", "--no-check", "--frozen"];

/** What `ndctl list -N` prints of one; raw ones and disabled ones have less. */
interface TheirNamespace {
  readonly dev: string;
  readonly mode: string;
  readonly map?: string;
  readonly size: number;
  readonly uuid?: string;
  readonly align?: number;
  readonly chardev?: string;
  readonly blockdev?: string;
}

async function theirs(): Promise<TheirNamespace[]> {
  const text = await output("ndctl", "list", "-N");
  const list: TheirNamespace[] = text.trim() === "" ? [] : JSON.parse(text);
  return list.sort((a, b) => a.dev.localeCompare(b.dev));
}

/** The same facts, read by busbar. */
function ours(): TheirNamespace[] {
  return readPersistentMemory(thisMachine).namespaces.filter((one) => one.isEnabled).map((one) => ({
    dev: one.name,
    mode: one.mode,
    ...one.map === null ? {} : { map: one.map },
    size: Number(one.sizeBytes),
    ...one.uuid === null ? {} : { uuid: one.uuid },
    ...one.alignBytes === null ? {} : { align: Number(one.alignBytes) },
    ...one.device?.startsWith("/dev/dax") ? { chardev: one.device.slice(5) } : {},
    ...one.device?.startsWith("/dev/pmem") ? { blockdev: one.device.slice(5) } : {},
  }));
}

async function assertSame(): Promise<void> {
  const known = (await theirs()).map(({ dev, mode, map, size, uuid, align, chardev, blockdev }) =>
    JSON.parse(JSON.stringify({ dev, mode, map, size, uuid, align, chardev, blockdev }))
  );
  assertEquals(ours(), known);
}

/** The tool as its users run it. A process takes seconds here, so most tests call what it calls. */
async function namespaceTool(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTool("dax_config", ["namespace", ...args]);
  assertEquals(code, 0, stderr);
  return stdout;
}

function create(request: Partial<NamespaceRequest>, erase?: string): void {
  const memory = readPersistentMemory(thisMachine);
  const plan = planNamespace(thisMachine, memory, { mode: "devdax", ...request });
  using journal = new UndoJournal(thisMachine, { command: "create" });
  createNamespace(journal, thisMachine, plan, { erase });
  journal.keepChanges();
}

function destroy(name: string, erase: string = name): void {
  const memory = readPersistentMemory(thisMachine);
  const namespace = findNamespace(memory, name);
  const hasLabels = memory.regions.some((region) => region.name === namespace.region && region.hasLabels);
  using journal = new UndoJournal(thisMachine, { command: "destroy" });
  destroyNamespace(journal, thisMachine, namespace, hasLabels, { erase });
  journal.keepChanges();
}

function refused(code: ErrorCode, text: string, action: () => void): void {
  const error = assertThrows(action, BusbarError);
  assertStringIncludes(error.message, text);
  assertEquals(error.code, code);
}

/** What must be as before: all that ndctl shows, numbers of dax devices aside, which count on. */
async function state(): Promise<string> {
  const text = await output("ndctl", "list", "-RNi");
  return text.replace(/"chardev":"dax(\d+)\.\d+"/g, '"chardev":"dax$1"');
}

/** Behind how many writes a run is killed: each once by hand, with 1; a start of Deno in a guest takes seconds. */
const STEP = Number(Deno.env.get("BUSBAR_KILL_STEP") ?? 3);

/**
 * Runs the subject until it ends by itself, killed behind some more writes each time, and puts each attempt back.
 *
 * @param targetNow asked before each attempt: a namespace that was made again has another name
 */
async function killBehindWrites(
  action: string,
  targetNow: () => Promise<string>,
  mode: string,
  isPutBack: (writes: number) => Promise<void>,
): Promise<number> {
  for (let writes = STEP - 1 || 1; writes < 60; writes += STEP) {
    const target = await targetNow();
    const { code, signal, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", ...DENO, SUBJECT, action, target, String(writes), mode],
    }).output();
    if (code === 0) {
      assertStringIncludes(new TextDecoder().decode(stdout), "done");
      return writes;
    }
    assertEquals(signal, "SIGKILL", new TextDecoder().decode(stderr));
    for (const journal of listJournals().journals.filter((one) => one.state === "dead")) {
      const results = UndoJournal.restore(journal.path);
      const bad = results.filter(({ outcome }) => outcome === "failed" || outcome === "changed");
      assertEquals(bad, [], `${action} ${target}, killed behind write ${writes}`);
    }
    await isPutBack(writes);
  }
  throw new Error(`${action} made 60 writes or more`);
}

/** Registers the tests for a machine with two NVDIMMs that hold no labels yet. */
export function namespaceTests(lab: Lab): void {
  lab.test("without labels: ndctl reads each mode that was made", async () => {
    await assertSame();
    const target = "namespace0.0";
    refused("usage", "the contents of namespace0.0 would be lost", () => create({ target }));
    refused("usage", "keeps its size", () => create({ target: "region0", sizeBytes: 64n << 20n }));
    const kinds: readonly Partial<NamespaceRequest>[] = [
      { mode: "devdax", alignBytes: 4096n },
      { mode: "fsdax", map: "mem" },
      { mode: "devdax" },
    ];
    for (const kind of kinds) {
      create({ target, ...kind }, target);
      const [made] = await theirs();
      assertEquals([made?.dev, made?.mode, made?.align, made?.map], [
        target,
        kind.mode,
        Number(kind.alignBytes ?? 2n << 20n),
        kind.map ?? "dev",
      ]);
      await assertSame();
    }
    destroy(target);
    assertEquals((await theirs()).map(({ mode, blockdev }) => [mode, blockdev]), [["raw", "pmem0"], ["raw", "pmem1"]]);
    // The kernel finds no description any more when it looks again.
    await shell("ndctl disable-region region0; ndctl enable-region region0");
    await assertSame();
  }, { timeoutMs: 240_000 });

  lab.test("killed behind writes of create and destroy without labels, restore brings the state back", async () => {
    const before = await state();
    const isThere = (): Promise<string> => Promise.resolve("namespace0.0");
    const isAs = (expected: string) => async (writes: number): Promise<void> =>
      assertEquals(await state(), expected, `killed behind write ${writes}`);
    const made = await killBehindWrites("create", isThere, "devdax", isAs(before));
    const devdax = await state();
    assertStringIncludes(devdax, '"mode":"devdax"');
    const destroyed = await killBehindWrites("destroy", isThere, "", isAs(devdax));
    assertEquals(await state(), before);
    assert(made >= 6 && destroyed >= 8, `ended behind write ${made} and ${destroyed}`);
  }, { timeoutMs: 300_000 });

  lab.test("in use, it is neither changed nor destroyed: mapped, mounted", async () => {
    const target = "namespace0.0";
    const leave = [target, "--erase", target];
    await namespaceTool("create", ...leave);
    const child = new Deno.Command("/usr/bin/python3", {
      args: [
        "-c",
        "import mmap,os,sys\nm=mmap.mmap(os.open('/dev/dax0.0',os.O_RDWR),2<<20)\nprint(1,flush=True)\nsys.stdin.read()",
      ],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read();
    try {
      refused("busy", "/dev/dax0.0", () => destroy(target));
      refused("busy", "/dev/dax0.0", () => create({ target, mode: "fsdax" }, target));
    } finally {
      await reader.cancel();
      await child.stdin.close();
      await child.status;
    }
    create({ target, mode: "fsdax" }, target);
    await shell("mkfs.ext4 -q -F -b 4096 /dev/pmem0; mkdir -p /mnt/n; mount -o dax /dev/pmem0 /mnt/n");
    refused("busy", "pmem0 is mounted on /mnt/n", () => destroy(target));
    assertStringIncludes(await namespaceTool("list"), "pmem0 is mounted on /mnt/n");
    await shell("umount /mnt/n");
    refused("usage", "would be lost", () => destroy(target, "namespace1.0"));
    const dry = await namespaceTool("destroy", ...leave, "--dry-run");
    assertStringIncludes(dry, "description of");
    await assertSame();
    await namespaceTool("destroy", ...leave);
  }, { timeoutMs: 240_000 });

  lab.test("with labels: several namespaces in a region, made and destroyed by both programs", async () => {
    await shell("ndctl disable-region region1; ndctl init-labels -f nmem1 2>&1; ndctl enable-region region1");
    const target = "region1";
    create({ target, sizeBytes: 64n << 20n });
    create({ target, sizeBytes: 64n << 20n, mode: "fsdax" });
    create({ target, sizeBytes: 32n << 20n, mode: "raw" });
    await assertSame();
    const modes = (list: readonly TheirNamespace[]): string[] =>
      list.filter(({ dev }) => dev.startsWith("namespace1")).map(({ mode }) => mode).sort();
    assertEquals(modes(await theirs()), ["devdax", "fsdax", "raw"]);
    // It is the label and the description that say so, not the running kernel.
    await shell("ndctl disable-region region1; ndctl enable-region region1");
    assertEquals(modes(await theirs()), ["devdax", "fsdax", "raw"]);
    await assertSame();
    refused("out-of-range", "do not fit", () => create({ target, sizeBytes: 192n << 20n }));
    refused("out-of-range", "no multiple of 16 MiB", () => create({ target, sizeBytes: 20n << 20n }));
    const made = JSON.parse(await output("ndctl", "create-namespace", "-r", "region1", "-m", "devdax", "-s", "32M"));
    await assertSame();
    destroy(made.dev);
    for (const { dev } of (await theirs()).filter(({ dev }) => dev.startsWith("namespace1"))) {
      await output("ndctl", "destroy-namespace", "-f", dev);
    }
    await assertSame();
    const [region] = JSON.parse(await output("ndctl", "list", "-r", "region1", "-R"));
    assertEquals(region.available_size, region.size);
  }, { timeoutMs: 240_000 });

  lab.test(
    "killed behind writes with labels: nothing is left of create; destroy ends whole or gone",
    async () => {
      const before = await state();
      const isBefore = async (writes: number): Promise<void> =>
        assertEquals(normalised(await state()), normalised(before), `killed behind write ${writes}`);
      await killBehindWrites("create", () => Promise.resolve("region1"), "devdax", isBefore);
      const target = async (): Promise<string> =>
        (await theirs()).find(({ dev }) => dev.startsWith("namespace1"))?.dev ?? "none";
      let devdax = await state();
      await killBehindWrites("destroy", target, "", async (writes) => {
        const now = await state();
        if (now === devdax) return;
        // Behind the last write the label is gone.
        assertEquals(normalised(now), normalised(before), `killed behind write ${writes}`);
        create({ target: "region1" });
        devdax = await state();
      });
      assertEquals(normalised(await state()), normalised(before));
    },
    { timeoutMs: 300_000 },
  );

  // It comes last: the kernel gives memory back when it can, which may be never.
  lab.test("memory that the kernel uses as system RAM is neither changed nor destroyed", async () => {
    const target = "namespace0.0";
    create({ target }, target);
    const dax = (await theirs()).find(({ dev }) => dev === target)?.chardev ?? "";
    await output("daxctl", "reconfigure-device", "-m", "system-ram", "--force", dax);
    refused("busy", "system RAM", () => destroy(target));
    refused("busy", "system RAM", () => create({ target, mode: "raw" }, target));
    await assertSame();
  }, { timeoutMs: 180_000 });
}

/** Seeds are numbered on; what they are does not change. */
function normalised(text: string): string {
  return text.replace(/"dev":"namespace1\.\d+"/g, '"dev":"namespace1"');
}

/** Registers the test for a machine with a persistent CXL device, reached from decoder0.2. */
export function cxlNamespaceTest(lab: Lab, serial: string): void {
  lab.test("a namespace of a CXL region: ndctl reads it; the region is held until it is destroyed", async () => {
    const region = async (...args: string[]): Promise<void> => {
      const { code, stderr } = await runTool("cxl_region", args);
      assertEquals(code, 0, stderr);
    };
    await region("create", serial, "--type", "pmem");
    create({});
    await assertSame();
    const [made] = await theirs();
    assertEquals(made?.mode, "devdax");
    const { regions, namespaces: [namespace] } = readPersistentMemory(thisMachine);
    assertEquals(regions.map(({ provider, hasLabels }) => [provider, hasLabels]), [["cxl", true]]);
    // The kernel numbers regions on.
    const name = (await list("/sys/bus/cxl/devices")).find((one) => /^region\d+$/.test(one)) ?? "no region";
    const { code, stderr } = await runTool("cxl_region", ["destroy", name, `--erase=${serial}`]);
    assertEquals(code, 3, stderr);
    assertStringIncludes(stderr, namespace?.name ?? "?");
    destroy(namespace?.name ?? "");
    assertEquals(await theirs(), []);
    await region("destroy", name, `--erase=${serial}`);
  }, { timeoutMs: 180_000, isLong: true });
}
