/**
 * `busbar <tool> …`: every tool under one name. A tool is loaded when it is called.
 * @module
 */

import denoJson from "../deno.json" with { type: "json" };
import { BusbarError } from "../src/core/error.ts";
import { nearest } from "../src/core/locator.ts";
import { note, PipeClosed, print, setUpColors } from "./cli/output.ts";
import { columns } from "./cli/table.ts";
import { TOOLS } from "./manual/catalog.ts";

function help(): string {
  const lines = columns(Object.keys(TOOLS).toSorted().map((name) => [name, TOOLS[name]?.title ?? ""]), "  ");
  return `Usage: busbar <tool> [arguments]\n\nTools:\n${
    lines.join("\n")
  }\n\nbusbar <tool> --help tells the rest. busbar --version`;
}

async function main(): Promise<void> {
  const [name, ...args] = Deno.args;
  setUpColors();
  if (name === undefined || name === "--help" || name === "-h" || name === "help") return print(help());
  if (name === "--version" || name === "-V") return print(`busbar ${denoJson.version}`);
  const tool = Object.hasOwn(TOOLS, name) ? TOOLS[name] : undefined;
  if (tool === undefined) {
    const near = nearest(name, Object.keys(TOOLS));
    note(
      `busbar: there is no tool '${name}'\n  hint: ${
        near === null ? "busbar --help lists them" : `did you mean '${near}'?`
      }`,
    );
    Deno.exitCode = 2;
    return;
  }
  const { run } = await import("./cli/run.ts");
  await run((await tool.load()).command, args);
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    // A pipe that closed is no failure.
    if (!(error instanceof PipeClosed)) {
      if (!(error instanceof BusbarError)) throw error;
      note(`busbar: ${error.message}`);
      Deno.exitCode = error.exitStatus;
    }
  }
}
