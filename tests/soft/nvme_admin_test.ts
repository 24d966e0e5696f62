/** nvme_admin on the software controller: each action, each of its faults, the guards, Ctrl-C. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { sanitizeState, selfTestState, waitForSanitize, waitForSelfTest } from "../../src/nvme/jobs/drive_state.ts";
import { commitFirmware, downloadFirmware, firmwareSlots } from "../../src/nvme/jobs/firmware.ts";
import { nvmeAdminSchema } from "../../tools/nvme_admin.ts";
import { schemaErrors } from "../unit/schema.ts";
import { ACTIONS, image, losesItsCommand, QUICK, SERIAL } from "./nvme_admin_actions.ts";
import { openController, withDriverLibraries } from "./nvme_device.ts";
import { badInputIsExplained, runTool, toolArgs } from "./tool.ts";

withDriverLibraries();

/** Faults of one command, and the codes that may come of them. */
const FAULTS: readonly (readonly [text: string, codes: readonly string[]])[] = [
  ["status=0x4002", ["device-failed"]],
  ["cfs", ["device-failed"]],
  ["gone", ["device-gone"]],
];

Deno.test("each action is done on a healthy drive, and ends with the right error for each fault", async () => {
  for (const [name, opcode, act] of ACTIONS) {
    {
      await using healthy = await openController("sanitize_ms=5&selftest_ms=5");
      await act(healthy.controller);
    }
    for (const [fault, codes] of FAULTS) {
      const one = await openController("sanitize_ms=5&selftest_ms=5");
      one.soft.fault(`${fault},queue=admin,opcode=${opcode},times=1`);
      const error = await act(one.controller).then(() => null, (error: unknown) => error);
      assert(error instanceof BusbarError, `${name} with ${fault}: ${error}`);
      assert(codes.includes(error.code), `${name} with ${fault}: ${error.code} ${error.message}`);
      await Promise.resolve(one[Symbol.asyncDispose]()).catch(() => {});
    }
  }
});

Deno.test("a command that hangs, or whose completion is lost, is a timeout, and the controller can be used again", async () => {
  await losesItsCommand("format");
});

Deno.test("a sanitize that fails, a self-test that fails: told, and the failure mode is left by its own action", async () => {
  await using one = await openController("sanitize_ms=5&selftest_ms=5");
  one.soft.fault("sanitize=1");
  await one.controller.sanitize("block erase", { erase: SERIAL, unrestrictedExit: true });
  assertEquals((await waitForSanitize(one.controller, QUICK)).status, 3);
  await one.controller.sanitize("exit failure mode", { erase: SERIAL });
  assertEquals((await sanitizeState(one.controller)).status === 2, false);
  one.soft.fault("selftest=7");
  await one.controller.selfTest("short");
  assertEquals((await waitForSelfTest(one.controller, QUICK)).lastResult, 7);
});

Deno.test("a sanitize and a self-test that do not end in time are a timeout, and go on", async () => {
  await using one = await openController("sanitize_ms=400&selftest_ms=400");
  await one.controller.selfTest("short");
  const limit = { intervalMs: 5, timeoutMs: 30 };
  const first = await waitForSelfTest(one.controller, limit).then(() => null, (error: unknown) => error);
  assert(first instanceof BusbarError && first.code === "timeout", String(first));
  assertEquals((await selfTestState(one.controller)).running, 1);
  await one.controller.selfTest("abort");
  await one.controller.sanitize("block erase", { erase: SERIAL });
  const second = await waitForSanitize(one.controller, limit).then(() => null, (error: unknown) => error);
  assert(second instanceof BusbarError && second.code === "timeout", String(second));
  assertEquals((await waitForSanitize(one.controller, QUICK)).status === 1, true);
});

Deno.test("firmware: an image in a slot, what runs, what runs after a reset; no image is refused by the drive", async () => {
  await using one = await openController();
  const { controller } = one;
  assertEquals(await commitFirmware(controller, "activate", 2).then(() => "", ({ code }) => code), "device-failed");
  await downloadFirmware(controller, image("2.0"));
  assertEquals(await commitFirmware(controller, "replace-and-activate", 2), "controller level reset");
  assertEquals(
    (await firmwareSlots(controller)).map(({ revision, isActive, isNext }) => [revision, isActive, isNext]),
    [
      ["1.0", true, false],
      ["2.0", false, true],
      ["", false, false],
    ],
  );
  await controller.reset();
  assertEquals((await firmwareSlots(controller)).find(({ isActive }) => isActive)?.revision, "2.0");
  assertEquals(await downloadFirmware(controller, new Uint8Array(6)).then(() => "", ({ code }) => code), "usage");
});

async function admin(...args: string[]): ReturnType<typeof runTool> {
  const result = await runTool("nvme_admin", args);
  if (args.includes("--json") && result.stdout !== "") {
    assertEquals(schemaErrors(nvmeAdminSchema(), JSON.parse(result.stdout)), "", args.join(" "));
  }
  return result;
}

Deno.test("the guards: what is lost is named, nothing is sent without the word, the serial number or with --dry-run", async () => {
  const bare = await admin("format", "soft:nvme?namespaces=1;2", "--namespace", "all");
  assertEquals(bare.code, 2);
  assertStringIncludes(bare.stderr, "all data of namespaces 1 (67.11 MB), 2 (67.11 MB) is lost");
  assertStringIncludes(bare.stderr, `--erase='${SERIAL}'`);
  const dry = await admin("sanitize", "soft:nvme", "block-erase", "--dry-run");
  assertEquals([dry.code, dry.stdout], [0, "would be sent: sanitize, which sanitizes the whole NVM subsystem\n"]);
  assertStringIncludes(dry.stderr, "is lost");
  const done = await admin("format", "soft:nvme", "--lba-format", "3", `--erase=${SERIAL}`, "--json");
  assertEquals(done.code, 0, done.stderr);
  assertEquals(JSON.parse(done.stdout).result.namespaces[0].blockBytes, 512);
  const set = await admin("feature", "soft:nvme", "set", "0x04", "TMPTH=300", "--write", "--json");
  assertEquals([set.code, JSON.parse(set.stdout).result.value], [0, 300]);
});

Deno.test("bad days: wrong words, wrong serial numbers, files that are none, a drive that vanishes", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${folder}/bad.yaml`,
      "name: x\nlog: 300\nsize: 6\nrows: [{ name: a, offset: 4, bytes: 9 }]\n",
    );
    await badInputIsExplained("nvme_admin", [
      [["format", "soft:nvme"], 2, "usage", "--erase with the drive's serial number"],
      [["format", "soft:nvme", "--erase=WRONG"], 2, "usage", "not 'WRONG'"],
      [["sanitize", "soft:nvme", "melt"], 2, "usage", "melt"],
      [["namespace", "soft:nvme", "create", "--write"], 2, "usage", "which size"],
      [["namespace", "soft:nvme", "create", "--size", "1MiB"], 2, "usage", "needs --write"],
      [["feature", "soft:nvme", "set", "temprature-threshold", "1", "--write"], 2, "usage", "temprature-threshold"],
      [["feature", "soft:nvme", "set", "4", "X=1", "--write"], 2, "usage", "no field 'X'"],
      [["firmware", "soft:nvme", "update", `${folder}/none`, "--write"], 3, "absent", "none"],
      [["log", "soft:nvme", `${folder}/bad.yaml`], 2, "malformed", "log:"],
      [["telemetry", "soft:nvme", `${folder}/no/file`], 3, "absent", "no/file"],
      [["persistent-events", "soft:nvme", `${folder}/events`], 1, "device-failed", "Invalid Log Page"],
      [["format", "/dev/nvme77"], 3, "absent", "nvme77"],
      [["format", "file:x"], 2, "usage", "file:x"],
    ], nvmeAdminSchema());
    assertEquals(
      (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name),
      ["bad.yaml"],
      "no half file stays",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("Ctrl-C during a format and a sanitize: the state of the drive is told, and the status is 130", async () => {
  for (
    const [args, state] of [
      [
        ["format", "soft:nvme?format_ms=60000", `--erase=${SERIAL}`],
        /Format NVM was sent: .* lost in whole or in part/,
      ],
      [
        ["sanitize", "soft:nvme?sanitize_ms=60000", "block-erase", `--erase=${SERIAL}`],
        /goes on in the drive, also without power/,
      ],
    ] as const
  ) {
    const child = new Deno.Command(Deno.execPath(), {
      args: toolArgs("nvme_admin", args),
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    // The line about what is lost comes before the command is sent.
    while (!text.includes("is lost")) text += (await reader.read()).value ?? "";
    await new Promise((resolve) => setTimeout(resolve, 300));
    child.kill("SIGINT");
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
    await child.stdout.cancel();
    assertEquals((await child.status).code, 130, text);
    assertMatch(text, state);
  }
});
