/**
 * The one-file package in a machine that has nothing else: a kernel, the C library, busybox. No Deno, no checkout, no
 * compiler, no kernel module; the machine's whole root is made here. One boot.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import denoJson from "../../deno.json" with { type: "json" };
import { Deadline } from "../../src/core/deadline.ts";
import { type CpioEntry, writeCpio } from "../../src/lab/cpio.ts";
import { Guest } from "../../src/lab/guest.ts";
import { lastKernelLines } from "../../src/lab/guest_log.ts";
import { loadMachine } from "../../src/lab/machine_file.ts";
import { cannotStart, findParts } from "../../src/lab/parts.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

const reason = Deno.env.has("BUSBAR_LAB_GUEST")
  ? "it boots a machine"
  : Deno.env.get("BUSBAR_LAB_SKIP") || cannotStart()?.message;

/** Where the machine has its NVMe controller. Nothing in this kernel drives it. */
const CONTROLLER = "0000:00:04.0";

/** Two minutes are ten times what it takes on two idle processors. */
const LIMIT_MS = 300_000;

/** What is run in the machine, by the name under which its output is looked for. */
const COMMANDS: readonly (readonly [string, string])[] = [
  ["elsewhere", "which deno node python3 cc gcc clang; ls -d /usr /etc"],
  ["first start", "busbar --version"],
  ["second start", "busbar --version"],
  ["software device", "busbar dump_bar0 soft:nvme --json"],
  ["machines", "busbar lab list --json"],
  ["registers", `busbar dump_bar0 ${CONTROLLER} --enable-memory --json`],
  // The firmware leaves it enabled, and busbar takes nothing over that somebody may drive.
  ["reset", `echo 1 >/sys/bus/pci/devices/${CONTROLLER}/reset`],
  ["write", `busbar nvme_io --no-iommu --write ${CONTROLLER} write --blocks 64 --pattern 7`],
  ["verify", `busbar nvme_io --no-iommu ${CONTROLLER} verify --blocks 64 --pattern 7`],
  ["left behind", "ls /dev/hugepages; pidof nvme_guardian"],
];

const INIT = `#!/busybox sh
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
  COMMANDS.map(([name, command]) =>
    `echo "begin ${name} $(seconds)"; (${command}) >/output 2>&1; end="$? $(seconds)"; cat /output; echo "end $end"`
  ).join("\n")
}
poweroff -f
`;

/** A dynamically linked program's libraries, each at the path where it is looked for. */
async function librariesOf(program: string): Promise<CpioEntry[]> {
  const { success, stdout } = await new Deno.Command("ldd", { args: [program] }).output();
  assert(success);
  const paths = [...new TextDecoder().decode(stdout).matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? "");
  assert(paths.length > 3, "Deno is linked dynamically");
  return await Promise.all(paths.map(async (path) => await fileAt(path.slice(1), path)));
}

async function fileAt(name: string, path: string): Promise<CpioEntry> {
  return { kind: "file", name, bytes: await Deno.readFile(path), executable: true };
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

interface Ran {
  readonly status: number;
  readonly text: string;
  readonly seconds: number;
}

/** What each command printed, from the machine's console. */
function resultsIn(text: string): Map<string, Ran> {
  const pattern = /^begin (.*) ([\d.]+)\n([\s\S]*?)^end (\d+) ([\d.]+)$/gm;
  return new Map([...text.matchAll(pattern)].map(([, name = "", from, text = "", status, to]) => [
    name,
    { status: Number(status), text, seconds: Number(to) - Number(from) },
  ]));
}

Deno.test({
  name: `the package runs where there is neither Deno nor checkout nor compiler, and drives a controller${
    reason === undefined ? "" : ` (not run: ${reason})`
  }`,
  ignore: reason !== undefined,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      const packaged = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", `${ROOT}/tools/ship/package.ts`, "--output", folder],
      }).output();
      assert(packaged.success, new TextDecoder().decode(packaged.stderr));
      const file = new TextDecoder().decode(packaged.stdout).trim();

      const { kernel, busybox } = await findParts(null, {});
      const files: CpioEntry[] = [
        ...await librariesOf(Deno.execPath()),
        await fileAt("busybox", busybox),
        await fileAt("bin/busbar", file),
        { kind: "file", name: "init", bytes: new TextEncoder().encode(INIT), executable: true },
      ];
      await Deno.writeFile(`${folder}/root.cpio`, writeCpio([...foldersOf(files), ...files]));
      const description = [
        ...["purpose: nothing but the package", `kernel: ${kernel}`, "initrd: root.cpio", "memory: 2GiB"],
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
      const text = lastKernelLines(guest.record.folder, 100_000).join("\n");
      const results = resultsIn(text);
      const ran = (name: string): Ran => {
        const result = results.get(name);
        assert(result !== undefined, `'${name}' has not ended:\n${text}`);
        return result;
      };
      const succeeded = (name: string): string => {
        assertEquals(ran(name).status, 0, `${name}: ${ran(name).text}`);
        return ran(name).text;
      };

      assert(ran("elsewhere").status !== 0);
      assertEquals(ran("elsewhere").text.includes("\n/"), false, "no Deno, no compiler, no checkout");
      assertEquals(succeeded("first start"), `busbar ${denoJson.version}\n`);
      assertEquals(succeeded("second start"), `busbar ${denoJson.version}\n`);
      const [first, second] = [ran("first start").seconds, ran("second start").seconds];
      await Deno.stdout.write(new TextEncoder().encode(
        `package in a bare machine: first start ${first.toFixed(2)} s, second start ${second.toFixed(2)} s\n`,
      ));
      assert(second < first, "the first start unpacks, the second does not");

      assertEquals(JSON.parse(succeeded("software device")).device.name, "soft:nvme");
      assertStringIncludes(succeeded("machines"), "package");
      assertEquals(JSON.parse(succeeded("registers")).registers.VS.value, 0x00010400);
      assertMatch(succeeded("write"), /^write: /m);
      succeeded("verify");
      assertEquals(ran("left behind").text, "", "the guardian has removed the memory and ended");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
