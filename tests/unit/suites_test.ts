import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { allSuites, argumentsOf, parseJunit, runSuite, type SuiteResult, summary } from "../suites.ts";

/** Runs `deno test` on one made-up test file and returns the suite's result. */
async function runPlanted(source: string): Promise<SuiteResult> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/planted_test.ts`, source);
    return await runSuite({ name: "planted", args: ["--no-config", folder], env: {}, missing: null }, [], "null");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a planted failing test fails the run and is named in the table", async () => {
  const result = await runPlanted(
    `Deno.test("fine", () => {}); Deno.test("planted <failure>", () => { throw new Error("x"); });`,
  );
  assertEquals(result.ok, false);
  assertEquals(result.cases.map((one) => [one.name, one.outcome]), [["fine", "passed"], [
    "planted <failure>",
    "failed",
  ]]);
  assertStringIncludes(summary([result]).join("\n"), "failed:\n  planted <failure>");
});

Deno.test("a test that is left out is listed with its reason; a file that breaks outside its tests fails the run", async () => {
  const left = await runPlanted(
    `Deno.test({ name: "needs a GPU (not run: there is none)", ignore: true, fn() {} }); Deno.test("x", () => {});`,
  );
  assertEquals([left.ok, left.cases.map((one) => one.outcome)], [true, ["ignored", "passed"]] as unknown[]);
  assertStringIncludes(summary([left]).join("\n"), "not run:\n  needs a GPU (not run: there is none)");
  const broken = await runPlanted(`throw new Error("at import");`);
  assertEquals(broken.ok, false);
  const empty = await runPlanted(`// no test in here`);
  assertEquals(empty.ok, false, "a suite without a single test has not passed");
  assertStringIncludes(summary([empty]).join("\n"), "FAILED outside its tests");
});

Deno.test("a suite that this machine cannot run is in the table with the reason, and fails nothing", async () => {
  const result = await runSuite({ name: "lab", args: [], env: {}, missing: "no QEMU" });
  assert(result.ok);
  assertStringIncludes(summary([result]).join("\n"), "not run: no QEMU");
});

Deno.test("the report is read with its escapes, and the ten slowest tests are listed", () => {
  const cases = Array.from(
    { length: 12 },
    (_, i) => `<testcase name="t${i} &lt;a&gt; &quot;b&quot; &#38; &amp;" classname="./f.ts" time="${i}.5"></testcase>`,
  );
  const parsed = parseJunit(`<?xml version="1.0"?><testsuites><testsuite>${cases.join("\n")}</testsuite></testsuites>`);
  assertEquals([parsed[0]?.name, parsed[0]?.file, parsed[3]?.seconds], ['t0 <a> "b" & &', "f.ts", 3.5] as unknown[]);
  const suite = { name: "s", args: [], env: {}, missing: null };
  const lines = summary([{ suite, cases: parsed, ok: true, seconds: 1 }]);
  assertEquals(lines.slice(lines.indexOf("slowest:") + 1).length, 10);
});

Deno.test("the daily suites take every test file once, and none of the long ones", () => {
  const taken = allSuites().flatMap(argumentsOf).filter((arg) => arg.startsWith("tests/"));
  assertEquals(taken.filter((path) => /[._]full[._]test\.ts$/.test(path)), []);
  assertEquals(new Set(taken).size, taken.length);
  for (const folder of ["unit", "soft"]) {
    for (const { name } of Deno.readDirSync(new URL(`../${folder}`, import.meta.url))) {
      if (!/_test\.ts$/.test(name) || name.endsWith(".full_test.ts")) continue;
      assertEquals(taken.includes(`tests/${folder}/${name}`), true, name);
    }
  }
});
