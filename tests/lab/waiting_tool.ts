/**
 * A tool that is loaded whole and begins with the first byte of its standard input: `waiting_tool.ts TOOL ARGUMENTS`.
 * @module
 */

import { run } from "../../tools/cli/run.ts";
import { TOOLS } from "../../tools/manual/catalog.ts";

const [name = "", ...args] = Deno.args;
const tool = TOOLS[name];
if (tool === undefined) throw new Error(`there is no tool ${name}`);
const { command } = await tool.load();
// Without that byte whoever started it is gone.
if (Deno.stdin.readSync(new Uint8Array(1)) === 1) await run(command, args);
