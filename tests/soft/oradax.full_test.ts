import { assert } from "@std/assert";

import { Random } from "../unit/random.ts";
import { compareWithModel, type Tally } from "./oradax_compare.ts";
import { availableLoops, withOradax } from "./oradax_device.ts";

withOradax();

/** Every command with every primary format that it takes. */
const PAIRS: readonly string[] = [
  ...[1, 2, 3].flatMap((command) => [0, 1, 2, 4, 5, 8, 9, 10, 12, 13].map((format) => `${command} of ${format}`)),
  ...[0, 1, 4, 5].map((format) => `4 of ${format}`),
  ...[0, 1, 8, 9].map((format) => `5 of ${format}`),
];

function checkTally(tally: Tally, least: number): void {
  for (const pair of PAIRS) {
    const cases = tally.commands.get(pair) ?? 0;
    assert(cases >= least, `only ${cases} cases of command ${pair}`);
  }
  for (const outcome of ["1/0", "1/128", "2/1", "2/2", "2/3", "2/10", "refused 6", "refused 10", "refused 12"]) {
    assert(tally.outcomes.has(outcome), `${outcome} never happened: ${[...tally.outcomes]}`);
  }
}

function testCases(cases: number, locator: string): void {
  const tally = compareWithModel(cases, locator, new Random(locator));
  if (locator.includes("dax=2")) checkTally(tally, cases / 1000);
}

for (
  const [cases, locator] of [
    [60_000, "soft:oradax?dax=2&units=1"],
    [20_000, "soft:oradax?dax=1&units=1"],
  ] as const
) {
  Deno.test(`${cases} random CCBs come out of ${locator} as the slow model says`, () => testCases(cases, locator));
}

Deno.test("20,000 random CCBs come out of each slower kind of loops as the slow model says", () => {
  for (const loops of availableLoops().slice(1)) testCases(20_000, `soft:oradax?dax=2&units=1&loops=${loops}`);
});
