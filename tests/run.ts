// deno-lint-ignore-file no-console
/**
 * `deno task test [--full] [suite…] [-- deno test arguments]`: runs the suites that this machine can run, the lab beside the
 * others, and ends with a table. Exit 1 when any test failed.
 * @module
 */

import { installNeeds } from "./needs.ts";
import { allSuites, FileQueue, fullSuites, runSuite, type Suite, type SuiteResult, summary } from "./suites.ts";

Deno.chdir(new URL("..", import.meta.url));
const split = Deno.args.indexOf("--");
const words = split < 0 ? Deno.args : Deno.args.slice(0, split);
const wanted = words.filter((word) => word !== "--full");
const extra = split < 0 ? [] : Deno.args.slice(split + 1);

const isFull = words.includes("--full");
const suites = isFull ? fullSuites() : allSuites();
const unknown = wanted.filter((name) => !suites.some((suite) => suite.name === name));
if (unknown.length > 0) {
  console.error(`no suite '${unknown[0]}'; there are ${suites.map((suite) => suite.name).join(", ")}`);
  Deno.exit(2);
}

const isWanted = ({ name }: Suite): boolean => wanted.some((word) => name === word || name.startsWith(`${word}-`));
const chosen = suites.filter((suite) => wanted.length === 0 || isWanted(suite));
installNeeds(chosen.map(({ name }) => name), (line) => console.log(line));

// Lab tests keep one processor at work, the other suites another, so they run side by side; what the lab's print is shown in
// its turn. When the other suites are done, they take files of the lab's as well. Long tests wait so often, for a kernel, a
// cluster or a time limit, that two files of the lab's have room beside them from the start.
const lab = chosen.length > 1 ? chosen.find(({ name }) => name === "lab" || name === "full-lab") : undefined;
const folder = Deno.makeTempDirSync({ prefix: "busbar-tests-" });
const files = lab === undefined ? null : new FileQueue(lab, extra, folder);
const besides = files?.run(isFull ? 2 : 1) ?? null;

const results: SuiteResult[] = [];
for (const suite of chosen.filter((suite) => suite !== lab)) {
  console.log(`\n=== ${suite.name}`);
  results.push(await runSuite(suite, extra));
}
if (files !== null) {
  await Promise.all([besides, ...isFull ? [] : [files.run(1)]]);
  console.log(`\n=== ${files.suite.name}`);
  for (const path of files.logs) {
    using log = await Deno.open(path);
    await log.readable.pipeTo(Deno.stdout.writable, { preventClose: true });
  }
  results.push(files.result());
}
await Deno.remove(folder, { recursive: true });
for (const line of summary(results)) console.log(line);
Deno.exit(results.every((result) => result.ok) ? 0 : 1);
