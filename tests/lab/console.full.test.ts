/** What the pages show in `console` blocks that name a lab machine comes out when it is typed there: one boot a machine. */

import { assertEquals } from "@std/assert";

import { Guest } from "../../src/lab/guest.ts";
import { loadMachine } from "../../src/lab/machine_file.ts";
import { cannotStart } from "../../src/lab/parts.ts";
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

const byMachine = new Map<string, LabBlock[]>();
for (const [path, text] of projectFiles(ROOT, /\.md$/)) {
  for (const { place, options, commands } of consoleBlocks(path, text)) {
    for (const { command, output } of commands) {
      const lab = labCommand(command);
      if (lab === null || options.includes("not-run")) continue;
      byMachine.set(lab.machine, [...byMachine.get(lab.machine) ?? [], { place, words: lab.words, output, options }]);
    }
  }
}

const reason = Deno.env.get("BUSBAR_LAB_SKIP") ||
  (Deno.env.has("BUSBAR_LAB_GUEST") ? "it boots machines" : cannotStart()?.message);

/** A block that changes what the next one finds: each of these gets a boot of its own. */
function boots(blocks: readonly LabBlock[]): LabBlock[][] {
  const changes = (block: LabBlock): boolean => /create|vfio|mkfs|sh -c/.test(block.words);
  const reading = blocks.filter((block) => !changes(block));
  return [...(reading.length > 0 ? [reading] : []), ...blocks.filter(changes).map((block) => [block])];
}

for (const [machine, blocks] of byMachine) {
  for (const together of boots(blocks)) {
    const places = together.map(({ place }) => place.replace(/^docs\/(?:tools\/)?/, "")).join(", ");
    Deno.test({
      name: `in the machine ${machine}: ${places}${reason === undefined ? "" : ` (not run: ${reason})`}`,
      ignore: reason !== undefined,
      fn: async () => {
        const env = await prepareHost();
        await using guest = await Guest.boot(await loadMachine(machine));
        const found: string[] = [];
        for (const { place, words, output, options } of together) {
          const { stdout } = await guest.run(["sh", "-c", `exec 2>&1; export NO_COLOR=1; ${words}`], { env });
          const problem = difference(stdout.trimEnd().split("\n"), output, options);
          if (problem !== null) found.push(`${place}: ${problem}`);
        }
        assertEquals(found, []);
      },
    });
  }
}
