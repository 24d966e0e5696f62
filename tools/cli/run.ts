/**
 * The one place where a tool starts and ends: arguments, signals, errors, exit status.
 * @module
 */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { CommanderError } from "commander";

import { BusbarError, type ErrorCode, EXIT_STATUS } from "../../src/core/error.ts";
import { findJournals } from "../../src/core/undo/found_journals.ts";
import { rollBackAll, UndoJournal } from "../../src/core/undo/journal.ts";
import { type Host, thisMachine } from "../../src/core/host.ts";
import { closedObject, type JsonObject } from "../../src/core/layout_json.ts";
import { hasPrintedJson, note, PipeClosed, print, printJson, setUpColors } from "./output.ts";
import { shareDefinitions } from "./schema_definitions.ts";
import { giveStandardOutput } from "./standard_output.ts";
import { defaultOf } from "../manual/command_description.ts";
import { EXAMPLES } from "../manual/examples.ts";
import { commandsWith, subcommandFirst } from "./subcommand.ts";

/** After a signal the command has this long to unwind by itself; then the journals are rolled back here. */
const GRACE_MS = 300;

const SIGNALS: readonly (readonly [Deno.Signal, ErrorCode])[] = [
  ["SIGINT", "interrupted"],
  ["SIGTERM", "terminated"],
  ["SIGHUP", "hangup"],
];

/** Tools that are often typed, and are told of other machines by their arguments alone, not by files. */
const MACHINES_IN_ARGUMENTS: ReadonlySet<string> = new Set(["list", "dump_bar0", "nvme_identify"]);

const interrupter = new AbortController();

/** Aborted by SIGINT, SIGTERM and SIGHUP. Every wait of a tool takes it. */
export const interruption: AbortSignal = interrupter.signal;

/**
 * Runs a command and ends the process.
 *
 * Errors become one line and a hint on standard error, with `--json` also one document on standard output.
 * The exit status is the error's, or what the command left in `Deno.exitCode`.
 *
 * @param command what the tool file exports
 * @param args the arguments after the tool's name
 */
export async function run(command: CommandUnknownOpts, args: readonly string[] = Deno.args): Promise<never> {
  setUpColors();
  const interrupted = watchSignals();
  prepare(command);
  if (args.includes("--json-schema")) askForNothing(command);
  command.addHelpText("after", () => exampleText(command.name()));
  const remote = mayNameMachines(command.name(), args) ? await import("../../src/remote/mod.ts") : null;
  remote?.registerAgents();
  command.hook("preAction", (_, called) => {
    giveStandardOutput(called);
    if (called.opts()["sudo"] === true) remote?.registerAgents({ sudo: true });
  });
  let status: number;
  try {
    await Promise.race([command.parseAsync(subcommandFirst(command, args), { from: "user" }), interrupted]);
    interruption.throwIfAborted();
    status = Deno.exitCode;
  } catch (error) {
    status = report(error, command, args);
  }
  // What an agent puts back when its connection ends is back before the prompt is.
  remote?.closeAgents();
  Deno.exit(status);
}

/** Whether a tool can be told of another machine: what it takes to reach one is only loaded then. */
function mayNameMachines(tool: string, args: readonly string[]): boolean {
  return !MACHINES_IN_ARGUMENTS.has(tool) || args.some((arg) => arg.includes("ssh:"));
}

/** A schema is the same whatever is given, so whoever asks for it needs no arguments. */
function askForNothing(command: CommandUnknownOpts): void {
  for (const argument of command.registeredArguments) argument.required = false;
  for (const option of command.options) option.mandatory = false;
  command.commands.forEach(askForNothing);
}

/** Rejects when the grace time after a signal is over. */
function watchSignals(): Promise<never> {
  return new Promise((_, reject) => {
    for (const [signal, code] of SIGNALS) {
      Deno.addSignalListener(signal, () => {
        if (interruption.aborted) return;
        const reason = new BusbarError(code, `ended by ${signal}`);
        interrupter.abort(reason);
        setTimeout(() => {
          for (const restored of rollBackAll()) {
            if (restored.outcome !== "restored" && restored.outcome !== "unchanged") {
              note(`${restored.what}: not put back (${restored.error ?? restored.outcome})`);
            }
          }
          reject(reason);
        }, GRACE_MS);
      });
    }
  });
}

/** Makes a command and its subcommands throw instead of exiting, and print nothing by themselves on an error. */
function prepare(command: CommandUnknownOpts): void {
  command.exitOverride().configureOutput({ outputError: () => {}, writeOut: (text) => print(text.trimEnd()) })
    .showSuggestionAfterError();
  for (const option of command.options) {
    const text = defaultOf(option);
    if (text !== null) option.defaultValueDescription = text;
  }
  for (const subcommand of command.commands) prepare(subcommand);
}

/** The examples below a tool's help. */
function exampleText(tool: string): string {
  const known = EXAMPLES[tool] ?? [];
  if (known.length === 0) return "";
  return ["", "Examples:", ...known.flatMap(([purpose, typed]) => [`  ${typed}`, `      ${purpose}`])].join("\n");
}

function report(thrown: unknown, command: CommandUnknownOpts, args: readonly string[]): number {
  if (thrown instanceof PipeClosed) return 0;
  if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
  const error = toBusbarError(thrown, command);
  const debug = Deno.env.get("BUSBAR_DEBUG") === "1";
  if (thrown instanceof SuppressedError) {
    const second = toBusbarError(thrown.suppressed, command);
    note(`${command.name()}: ${second.message}${second.hint === null ? "" : `\n  hint: ${second.hint}`}`);
  }
  note(`${command.name()}: ${error.message}`);
  if (error.hint !== null) note(`  hint: ${error.hint}`);
  if (debug || error.code === "bug") note(thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown));
  const separator = args.indexOf("--");
  // A tool that a signal ended may have printed what it knew by then: that is the one document.
  if (!hasPrintedJson() && (separator < 0 ? args : args.slice(0, separator)).includes("--json")) {
    try {
      printJson(errorDocument(command.name(), error));
    } catch {
      // Standard output takes nothing: it is closed, or on a full disk. The line above has said what there is to say.
    }
  }
  return interruption.aborted && interruption.reason instanceof BusbarError
    ? interruption.reason.exitStatus
    : error.exitStatus;
}

/** The JSON document of a failed tool: the same four members for every tool, and the message for people. */
export function errorDocument(tool: string, error: BusbarError): Record<string, unknown> {
  return {
    schema: `${tool}/1`,
    error: {
      code: error.code,
      message: error.message,
      operation: error.operation,
      path: error.path,
      hint: error.hint,
    },
  };
}

/** The schema of {@linkcode errorDocument}. */
export function errorSchema(tool: string): JsonObject {
  const text = { type: ["string", "null"] };
  return closedObject({
    schema: { const: `${tool}/1` },
    error: closedObject({
      code: { enum: Object.keys(EXIT_STATUS) },
      message: { type: "string" },
      operation: text,
      path: text,
      hint: text,
    }),
  });
}

/**
 * The schema of everything that a tool may print with `--json`: one of the documents given, or an error.
 *
 * @param part the subcommand, or the part of the documents, where the tool has several schemas
 */
export function documentSchema(tool: string, documents: readonly JsonObject[], part?: string): JsonObject {
  return shareDefinitions({
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": ["urn:busbar", tool, ...part === undefined ? [] : [part]].join(":"),
    title: tool,
    anyOf: [...documents, errorSchema(tool)],
  });
}

/** Where an option belongs that was not known where it stood, or null. */
function placeOfOption(message: string, command: CommandUnknownOpts): string | null {
  const flag = /^unknown option '(-[^'=]*)/.exec(message)?.[1];
  const places = flag === undefined ? [] : commandsWith(command, flag);
  return places.length === 0 ? null : `${flag} belongs to ${command.name()} ${places.join(", ")}`;
}

function toBusbarError(thrown: unknown, command: CommandUnknownOpts): BusbarError {
  if (thrown instanceof BusbarError) return thrown;
  if (thrown instanceof SuppressedError) return toBusbarError(thrown.error, command);
  if (thrown instanceof CommanderError) {
    // The help is printed already; commander has no words for why.
    if (thrown.code === "commander.help") {
      return new BusbarError("usage", "which of the commands above?", {
        operation: "parse arguments",
        hint: `${command.name()} --help shows the arguments and options`,
        cause: thrown,
      });
    }
    const [first = "", ...rest] = thrown.message.replace(/^error: /, "").split("\n");
    const suggestion = rest.join(" ").replace(/^\(|\)$/g, "").trim();
    return new BusbarError("usage", first, {
      operation: "parse arguments",
      hint: placeOfOption(first, command) ??
        (suggestion === "" ? `${command.name()} --help shows the arguments and options` : suggestion),
      cause: thrown,
    });
  }
  const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  return new BusbarError("bug", `this is a bug in busbar: ${text}`, {
    hint: "please report it with the command line and the lines below",
    cause: thrown,
  });
}

/** Raises the exit status of the process to `status`: several devices, the highest. */
export function raiseExitStatus(status: number | ErrorCode): void {
  const value = typeof status === "number" ? status : EXIT_STATUS[status];
  Deno.exitCode = Math.max(Deno.exitCode, value);
}

/**
 * The undo journal of a tool that changes the machine. Mentions journals that a killed process left behind.
 *
 * @param dryRun takes one line for each change, which is then not made
 */
export function openJournal(tool: string, dryRun?: (line: string) => void, host: Host = thisMachine): UndoJournal {
  const stale = findJournals().filter((journal) => journal.state === "dead");
  if (stale.length > 0) {
    note(`${tool}: ${stale.length} earlier run(s) were killed and left changes: busbar restore puts them back`);
  }
  // The arguments say the subcommand, and after `busbar` the tool's name too.
  const [name = tool] = tool.split(" ");
  const command = [name, ...(Deno.args[0] === name ? Deno.args.slice(1) : Deno.args)].join(" ");
  return new UndoJournal(host, dryRun === undefined ? { command } : { command, dryRun });
}
