/** Progress lines: each kind on a screen that the test looks at, and none where nobody looks. */

import { assert, assertEquals, assertMatch } from "@std/assert";

import { pause } from "../../src/core/deadline.ts";
import { ElapsedProgress, Progress, type ProgressScreen, StepProgress } from "../../tools/cli/progress.ts";

/** A screen, and all that was drawn on it. */
function screen(isShown: boolean = true): { readonly drawn: string[]; readonly screen: ProgressScreen } {
  const drawn: string[] = [];
  return { drawn, screen: { isShown, draw: (text) => void drawn.push(text) } };
}

Deno.test("an amount: a bar, its share and its rate, not more often than people read, and gone at the end", () => {
  const { drawn, screen: on } = screen();
  const begun = performance.now();
  {
    using progress = new Progress("bench", 4096, on);
    for (let done = 0; done < 1000; done++) progress.update(1024);
  }
  assert(drawn.length <= 2 + (performance.now() - begun) / 100, `${drawn.length} drawings`);
  assertMatch(drawn[0] ?? "", /^bench {2}█{8}░{22} 25 % {2}.+\/s$/);
  assertEquals(drawn.at(-1), "");
});

Deno.test("a time: how long it has run, and its rate", () => {
  const { drawn, screen: on } = screen();
  using progress = new Progress("bench", 0, on);
  progress.update(1 << 20);
  assertMatch(drawn[0] ?? "", /^bench {2}\S+ ?\S* {2}.+\/s$/);
});

Deno.test("steps: which one is under way, and how many are behind", () => {
  const { drawn, screen: on } = screen();
  {
    using progress = new StepProgress(2, on);
    progress.step("first");
    progress.step("second");
  }
  assertEquals(drawn, [`${"░".repeat(30)} 0 %  first`, `${"█".repeat(15)}${"░".repeat(15)} 50 %  second`, ""]);
});

Deno.test("what nobody can foretell: for how long it has run, once that is long, and gone at the end", async () => {
  const { drawn, screen: on } = screen();
  const progress = new ElapsedProgress("package", on, 50);
  while (drawn.length === 0) await pause(10);
  assertMatch(drawn[0] ?? "", /^package {2}\d+(?:\.\d+)? ?m?s$/);
  progress[Symbol.dispose]();
  progress[Symbol.dispose]();
  assertEquals(drawn.filter((text) => text === "").length, 1);
});

Deno.test("what ends soon, and what nobody looks at, draws nothing", async () => {
  const soon = screen();
  using _soon = new ElapsedProgress("package", soon.screen, 3_600_000);
  const hidden = screen(false);
  {
    using bytes = new Progress("bench", 4096, hidden.screen);
    using steps = new StepProgress(2, hidden.screen);
    using _elapsed = new ElapsedProgress("package", hidden.screen, 0);
    bytes.update(1);
    steps.step("first");
    await pause(150);
  }
  assertEquals([...soon.drawn, ...hidden.drawn], []);
});
