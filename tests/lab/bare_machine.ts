/**
 * A machine that has nothing but what a test puts there: a kernel, the C library, busybox, an NVMe controller. No Deno, no
 * checkout, no compiler, no kernel module; the machine's whole root is made here.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { Deadline } from "../../src/core/deadline.ts";
import { type CpioEntry, writeCpio } from "../../src/lab/cpio.ts";
import { Guest } from "../../src/lab/guest.ts";
import { lastKernelLines } from "../../src/lab/guest_log.ts";
import { loadMachine } from "../../src/lab/machine_file.ts";
import { findParts } from "../../src/lab/parts.ts";

/** Where the machine has its NVMe controller. Nothing in this kernel drives it. */
export const CONTROLLER = "0000:00:04.0";

/** Two minutes are ten times what it takes on two idle processors. */
const LIMIT_MS = 300_000;

/** What is run, by the name under which its output is looked for. */
export type Commands = readonly (readonly [name: string, command: string])[];

/** What a command did. */
export interface Ran {
  readonly status: number;
  readonly text: string;
  readonly seconds: number;
}

/** What the commands did, by their names. */
export class BareResults {
  readonly #text: string;
  readonly #results: ReadonlyMap<string, Ran>;

  /** Reads them from the machine's console. */
  constructor(text: string) {
    const pattern = /^begin (.*) ([\d.]+)\n([\s\S]*?)^end (\d+) ([\d.]+)$/gm;
    this.#text = text;
    this.#results = new Map([...text.matchAll(pattern)].map(([, name = "", from, text = "", status, to]) => [
      name,
      { status: Number(status), text, seconds: Number(to) - Number(from) },
    ]));
  }

  /** What a command did, which must have ended. */
  ran(name: string): Ran {
    const result = this.#results.get(name);
    assert(result !== undefined, `'${name}' has not ended:\n${this.#text}`);
    return result;
  }

  /** What a command printed, which must have succeeded. */
  succeeded(name: string): string {
    assertEquals(this.ran(name).status, 0, `${name}: ${this.ran(name).text}`);
    return this.ran(name).text;
  }
}

/** A program of the host for the machine. */
export async function fileAt(name: string, path: string): Promise<CpioEntry> {
  return { kind: "file", name, bytes: await Deno.readFile(path), executable: true };
}

/** A dynamically linked program's libraries, each at the path where it is looked for. */
export async function librariesOf(program: string): Promise<CpioEntry[]> {
  const { success, stdout } = await new Deno.Command("ldd", { args: [program] }).output();
  assert(success);
  const paths = [...new TextDecoder().decode(stdout).matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? "");
  assert(paths.length > 3, `${program} is linked dynamically`);
  return await Promise.all(paths.map(async (path) => await fileAt(path.slice(1), path)));
}

/** Boots the machine with these files, runs the commands one after the other, and waits until it is off. */
export async function runInBareMachine(
  folder: string,
  programs: readonly CpioEntry[],
  commands: Commands,
): Promise<BareResults> {
  const { kernel, busybox } = await findParts(null, {});
  const init = new TextEncoder().encode(initScript(commands));
  const files: CpioEntry[] = [
    ...programs,
    await fileAt("busybox", busybox),
    { kind: "file", name: "init", bytes: init, executable: true },
  ];
  await Deno.writeFile(`${folder}/root.cpio`, writeCpio([...foldersOf(files), ...files]));
  const description = [
    ...["purpose: nothing but what a test brings", `kernel: ${kernel}`, "initrd: root.cpio", "memory: 2GiB"],
    "kernel-arguments: [quiet, hugepages=64]",
    `devices: [{type: nvme, id: bare, serial: BARE0001, addr: 4, namespaces: [{size: 16MiB}]}]`,
  ];
  await Deno.writeTextFile(`${folder}/bare.yaml`, description.join("\n"));

  await using guest = await Guest.boot(await loadMachine(`${folder}/bare.yaml`));
  const deadline = Deadline.after(LIMIT_MS);
  let over = false;
  guest.ended.catch(() => over = true);
  while (!over) {
    deadline.check("the machine's commands", undefined, lastKernelLines(guest.record.folder).join("\n"));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return new BareResults(lastKernelLines(guest.record.folder, 100_000).join("\n"));
}

function initScript(commands: Commands): string {
  return `#!/busybox sh
/busybox mkdir -p /bin /proc /sys /dev /tmp /run /home
/busybox --install -s /bin
export PATH=/bin HOME=/home NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir /dev/hugepages
mount -t hugetlbfs hugetlbfs /dev/hugepages
seconds() { read now rest </proc/uptime; echo "$now"; }
${
    commands.map(([name, command]) =>
      `echo "begin ${name} $(seconds)"; (${command}) >/output 2>&1; end="$? $(seconds)"; cat /output; echo "end $end"`
    ).join("\n")
  }
poweroff -f
`;
}

/** The folders above files, those nearer to the root first. */
function foldersOf(files: readonly CpioEntry[]): CpioEntry[] {
  const names = new Set<string>();
  for (const { name } of files) {
    const parts = name.split("/").slice(0, -1);
    parts.forEach((_, i) => names.add(parts.slice(0, i + 1).join("/")));
  }
  return [...names].sort().map((name) => ({ kind: "folder", name }));
}
