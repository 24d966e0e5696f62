// deno-lint-ignore-file no-console
/**
 * `deno task test [--full] [suite…] [-- deno test arguments]`: runs the suites that this machine can run, the lab beside the
 * others, and ends with a table. Exit 1 when any test failed.
 * @module
 */

import { installNeeds } from "./needs.ts";
import { allSuites, fullSuites, runSuite, type Suite, type SuiteResult, summary } from "./suites.ts";

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
// its turn.
const runsBeside = ({ name }: Suite): boolean => chosen.length > 1 && (name === "lab" || name === "full-lab");
const beside = new Map<Suite, Promise<SuiteResult>>();
const folder = Deno.makeTempDirSync({ prefix: "busbar-tests-" });
for (const suite of chosen.filter(runsBeside)) {
  beside.set(suite, runSuite(suite, extra, `${folder}/${suite.name}` as `/${string}`));
}

const results: SuiteResult[] = [];
for (const suite of chosen) {
  console.log(`\n=== ${suite.name}`);
  const started = beside.get(suite);
  results.push(await (started ?? runSuite(suite, extra)));
  if (started === undefined || suite.missing !== null) continue;
  using log = await Deno.open(`${folder}/${suite.name}`);
  await log.readable.pipeTo(Deno.stdout.writable, { preventClose: true });
}
await Deno.remove(folder, { recursive: true });
for (const line of summary(results)) console.log(line);
Deno.exit(results.every((result) => result.ok) ? 0 : 1);
