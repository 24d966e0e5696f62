import { Guest } from "../../src/lab/guest.ts";
import { loadMachine } from "../../src/lab/machine_file.ts";
import { consoleBlocks, difference, labCommand } from "../console.ts";
import { projectFiles } from "../unit/imports.ts";
import { prepareHost } from "./prepare.ts";
const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const [machine, ...places] = Deno.args;
const env = await prepareHost();
await using guest = await Guest.boot(await loadMachine(machine));
for (const [path, text] of projectFiles(ROOT, /\.md$/)) {
  for (const { place, options, commands } of consoleBlocks(path, text)) {
    for (const { command, output } of commands) {
      const lab = labCommand(command);
      if (lab === null || lab.machine !== machine) {
        continue;
      }
      if (places.length > 0 ? !places.some((p) => place.includes(p)) : options.includes("not-run")) continue;
      const t = performance.now();
      const { stdout } = await guest.run(["sh", "-c", `exec 2>&1; export NO_COLOR=1; ${lab.words}`], { env });
      console.log(
        "=====",
        place,
        ((performance.now() - t) / 1000).toFixed(1),
        "s",
        difference(stdout.trimEnd().split("\n"), output, options),
      );
      console.log(stdout);
    }
  }
}
