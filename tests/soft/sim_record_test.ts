import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { withNeeds } from "../needs.ts";
import { CLEAN_ENV, countsOfAllocation, ENDINGS, entriesOf, LOOPS, RecorderFolder } from "./sim_recorder.ts";
import { runTool } from "./tool.ts";

Deno.test({
  ...withNeeds(
    "record with valgrind: a loop of known length is counted, each thread in its own stream, allocations named",
    "valgrind",
  ),
  async fn(): Promise<void> {
    using folder = new RecorderFolder();
    const program = folder.compile("loops", LOOPS);
    const { code, stderr } = await folder.record("t.bbt", ["--all"], [program, "threads"]);
    assertEquals(code, 0, stderr);
    const entries = await entriesOf(`${folder.path}/t.bbt`);
    const counts = countsOfAllocation(entries, 123456);
    // 1000 writes, and 2 · 1000 reads. What malloc itself touches lies before the memory.
    assertEquals([...counts].sort(([a], [b]) => a - b), [0, 1, 2, 3].map((thread) => [thread, [2000, 1000]]));
    let time = 0;
    for (const entry of entries) {
      assert(entry.timeNs >= time);
      time = entry.timeNs;
    }
  },
});

Deno.test({
  ...withNeeds(
    "record with hooks: the same counts, without valgrind; a program without the hooks is refused",
    "valgrind",
  ),
  async fn(): Promise<void> {
    using folder = new RecorderFolder();
    const flags = await runTool("cxl_sim", ["record", "--link-flags"], CLEAN_ENV);
    assertEquals(flags.code, 0, flags.stderr);
    folder.compile("loops", LOOPS, ["-O1", "-fsanitize=thread", "-c"]);
    Deno.renameSync(`${folder.path}/loops`, `${folder.path}/loops.o`);
    const link = ["-o", `${folder.path}/hooked`, `${folder.path}/loops.o`, ...flags.stdout.trim().split(" ")];
    assert(new Deno.Command("gcc", { args: link, env: CLEAN_ENV }).outputSync().success);
    const { code, stderr } = await folder.record("t.bbt", ["--with", "hooks", "--all"], [
      `${folder.path}/hooked`,
      "threads",
    ]);
    assertEquals(code, 0, stderr);
    const entries = await entriesOf(`${folder.path}/t.bbt`);
    const counts = countsOfAllocation(entries, 123456);
    assertEquals([...counts.values()], Array.from({ length: 4 }, () => [2000, 1000]));
    const refused = await folder.record("n.bbt", ["--with", "hooks"], ["/bin/true"]);
    assertEquals(refused.code, 2);
    assertStringIncludes(refused.stderr, "was not linked with the recorder");
  },
});

Deno.test({
  ...withNeeds(
    "record: what crashes, is killed, forks, execs or does not exist is said, and leaves no half trace",
    "valgrind",
  ),
  async fn(): Promise<void> {
    using folder = new RecorderFolder();
    const program = folder.compile("endings", ENDINGS);
    const cases: readonly (readonly [string, number, string])[] = [
      ["c", 2, "ended by SIGSEGV while it was recorded"],
      ["k", 2, "ended by SIGKILL while it was recorded"],
      ["p", 2, "ended by SIGKILL while it was recorded"],
      ["e", 0, "replaced itself with another one (exec)"],
      ["f", 0, "1 child process(es) of a fork are not in the trace"],
      ["s", 0, "the program ended with status 7"],
    ];
    for (const [ending, status, part] of cases) {
      const { code, stderr } = await folder.record(`${ending}.bbt`, [], [program, ending]);
      assertEquals([ending, code], [ending, status], stderr);
      assertStringIncludes(stderr, part);
    }
    const absent = await folder.record("x.bbt", [], [`${folder.path}/absent`]);
    assertEquals(absent.code, 2);
    assertStringIncludes(absent.stderr, "no such program");
    const kept = await folder.record("kept.bbt", ["--keep-partial", "--all"], [program, "p"]);
    assertEquals(kept.code, 0, kept.stderr);
    assertStringIncludes(kept.stderr, "the recorder was killed");
    const limited = await folder.record("limit.bbt", ["--all", "--max-bytes", "10000"], [program, "s"]);
    assertStringIncludes(limited.stderr, "the trace ends at --max-bytes");
    assertEquals(Deno.statSync(`${folder.path}/limit.bbt`).size, 32 + 16 * Math.floor((10000 - 32) / 16));
    // A forked child's accesses would double the parent's 1000.
    const forked = await entriesOf(`${folder.path}/f.bbt`);
    assert(forked.every((entry) => entry.thread === 0));
    const expected = ["e.bbt", "endings", "endings.c", "f.bbt", "kept.bbt", "limit.bbt", "s.bbt"];
    assertEquals(folder.names(), expected);
  },
});

Deno.test("record with perf names what the machine lacks", async () => {
  using folder = new RecorderFolder();
  const { code, stderr } = await folder.record("p.bbt", ["--with", "perf"], ["/bin/true"]);
  // Where the counters exist it records; everywhere else something is named.
  if (code !== 0) assert(/perf is missing|event_source|perf_event_paranoid/.test(stderr), stderr);
});
