/** What the pages show in `console` blocks that name a lab machine comes out when it is typed there: one boot a machine. */

import { assert, assertEquals, assertMatch } from "@std/assert";

import { Guest } from "../../src/lab/guest.ts";
import { loadMachine } from "../../src/lab/machine_file.ts";
import { unless } from "../needs.ts";
import { whyNoLab } from "./no_lab.ts";
import { consoleBlocks, difference, labCommand } from "../console.ts";
import { projectFiles } from "../unit/imports.ts";
import { prepareHost } from "./prepare.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

interface LabBlock {
  readonly place: string;
  readonly words: string;
  readonly output: readonly string[];
  readonly options: readonly string[];
}

/** The blocks of a page, by the machine that they name. */
function labBlocks(path: string, text: string): { readonly machine: string; readonly block: LabBlock }[] {
  return consoleBlocks(path, text).filter(({ options }) => !options.includes("not-run")).flatMap((
    { place, options, commands },
  ) =>
    commands.flatMap(({ command, output }) => {
      const lab = labCommand(command);
      return lab === null ? [] : [{ machine: lab.machine, block: { place, words: lab.words, output, options } }];
    })
  );
}

const byMachine = Map.groupBy(
  [...projectFiles(ROOT, /\.md$/)].flatMap(([path, text]) => labBlocks(path, text)),
  ({ machine }) => machine,
);

/** What a block leaves behind for the next one of its boot: the later, the more. First is what needs the machine as it booted. */
function leavesBehind({ words }: LabBlock): number {
  if (/namespace create/.test(words)) return -1;
  return [/vfio|killall|\bstart\b/, /mkfs/].findLastIndex((pattern) => pattern.test(words)) + 1;
}

/** Gives the drive of a machine back to the kernel's driver, as `bind restore` does. */
const GIVE_BACK = [
  "umount /mnt",
  "echo >/sys/bus/pci/devices/0000:01:00.0/driver_override",
  "echo 0000:01:00.0 >/sys/bus/pci/drivers/vfio-pci/unbind",
  "echo 0000:01:00.0 >/sys/bus/pci/drivers_probe",
  "rm -f /run/busbar/*.jsonl",
  "true",
].join("; ");

/** What sets a machine up for several blocks is done once in a boot: a device that is memory already cannot be made so again. */
const SETS_UP =
  /ndctl create-namespace -f -e namespace0\.0 -m devdax >\/dev\/null; daxctl reconfigure-device [^;]* >\/dev\/null 2>&1; /;

/** Types the blocks in the guest, one after the other, and returns what differs from the page. */
async function differences(
  guest: Guest,
  env: Readonly<Record<string, string>>,
  blocks: readonly LabBlock[],
): Promise<string[]> {
  const found: string[] = [];
  let isSetUp = false;
  for (const block of blocks.toSorted((a, b) => leavesBehind(a) - leavesBehind(b) || (a.place < b.place ? -1 : 1))) {
    const { place, words, output, options } = block;
    const typed = isSetUp ? words.replace(SETS_UP, "") : words;
    isSetUp ||= SETS_UP.test(words);
    const { stdout } = await guest.run(["sh", "-c", `exec 2>&1; export NO_COLOR=1; ${typed}`], { env });
    const problem = difference(stdout.trimEnd().split("\n"), output, options);
    if (problem !== null) found.push(`${place}: ${problem}`);
    if (/vfio|mkfs/.test(words)) await guest.run(["sh", "-c", GIVE_BACK]);
    // ndctl keeps the alignment of one that it makes anew.
    if (/namespace create/.test(words)) await guest.run(["ndctl", "destroy-namespace", "-f", "namespace0.0"]);
  }
  return found;
}

for (const [machine, entries] of byMachine) {
  const blocks = entries.map(({ block }) => block);
  const places = blocks.map(({ place }) => place.replace(/^docs\/(?:tools\/)?/, "")).join(", ");
  Deno.test({
    ...unless(whyNoLab(), `in the machine ${machine}: ${places}`),
    fn: async () => {
      const env = await prepareHost();
      await using guest = await Guest.boot(await loadMachine(machine));
      assertEquals(await differences(guest, env, blocks), []);
      if (machine !== "nvme") return;

      // A wrong digit is found: the same page with one planted.
      const page = await Deno.readTextFile(`${ROOT}/docs/tools/dump_bar0.md`);
      const planted = page.replace("0x004008200f0107ff", "0x004008200f0107fe");
      assert(planted !== page);
      const wrong = labBlocks("planted.md", planted).filter((one) => one.machine === machine).map(({ block }) => block);
      assertEquals(wrong.length, 1);
      const found = await differences(guest, env, wrong);
      assertEquals(found.length, 1);
      assertMatch(found[0] ?? "", /^planted\.md:\d+: line 4 of the page is '.*0107fe.*', printed is '.*0107ff/);
    },
  });
}
