// deno-lint-ignore-file no-console
/**
 * `deno task test [--full] [suite…] [-- deno test arguments]`: runs the suites that this machine can run, one after the other, and
 * ends with a table. Exit 1 when any test failed.
 * @module
 */

import { allSuites, fullSuites, runSuite, type SuiteResult, summary } from "./suites.ts";

Deno.chdir(new URL("..", import.meta.url));
const split = Deno.args.indexOf("--");
const words = split < 0 ? Deno.args : Deno.args.slice(0, split);
const wanted = words.filter((word) => word !== "--full");
const extra = split < 0 ? [] : Deno.args.slice(split + 1);

const suites = words.includes("--full") ? fullSuites() : allSuites();
const unknown = wanted.filter((name) => !suites.some((suite) => suite.name === name));
if (unknown.length > 0) {
  console.error(`no suite '${unknown[0]}'; there are ${suites.map((suite) => suite.name).join(", ")}`);
  Deno.exit(2);
}

const results: SuiteResult[] = [];
for (const suite of suites) {
  if (wanted.length > 0 && !wanted.includes(suite.name)) continue;
  console.log(`\n=== ${suite.name}`);
  results.push(await runSuite(suite, extra));
}
for (const line of summary(results)) console.log(line);
Deno.exit(results.every((result) => result.ok) ? 0 : 1);
