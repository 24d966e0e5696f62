/**
 * `dax_config check`: whether the settings work, or whether a process or a log shows that they did.
 * @module
 */

import { readInputText } from "../../src/core/input.ts";
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";
import type { Machine } from "../../src/core/machine.ts";
import { examineProcess, processesNamed, readLog } from "../../src/memory/evidence.ts";
import { inspectResource } from "../../src/memory/resource.ts";
import { VARIABLES } from "../../src/memory/settings.ts";
import { memorySize, wholeNumber } from "../cli/arguments.ts";
import {
  checkSchema,
  findingLines,
  logJson,
  logLines,
  processJson,
  processLines,
  resourceJson,
} from "../render/memory/dax_config.ts";
import { HOST_OPTION, machineFrom, SUDO_OPTION } from "../cli/machine.ts";
import { note, print, printJson, printSchema } from "../cli/output.ts";
import { raiseExitStatus } from "../cli/run.ts";
import { OPTIONS, originText, readSettings, settingsJson } from "./settings.ts";

const SCHEMA_NAME = "dax_config_check/1";

/** The command line of `dax_config check`. */
export const check: CommandUnknownOpts = new Command("check")
  .description("Check that the settings work, with a remedy for what does not. Exit 0 yes, 1 no, 3 cannot tell.")
  .option(...OPTIONS.backend)
  .option(...OPTIONS.resource)
  .option(...OPTIONS.config)
  .option("--size <size>", "bytes that will be mapped, as in 64MiB; all there are by default", memorySize)
  .option("--offset <size>", "where the mapping begins", memorySize)
  .option("--pid <n>", "instead: does this process map direct-access memory?", wholeNumber)
  .option("--comm <name>", "instead: do the processes of this name?")
  .option("--log <file>", "instead: which backend does this log of a program name?")
  .option(...HOST_OPTION)
  .option(...SUDO_OPTION)
  .option(...OPTIONS.json)
  .option(...OPTIONS.jsonSchema)
  .action(async (options) => {
    if (options.jsonSchema) return printSchema(checkSchema());
    const { json } = options;
    if (options.log !== undefined) return checkLog(options.log, json === true);
    const machine = machineFrom(options.host);
    if (options.pid !== undefined) return checkProcesses(machine, [options.pid], json === true);
    if (options.comm !== undefined) {
      const pids = processesNamed(machine.host, options.comm);
      if (pids.length > 0) return checkProcesses(machine, pids, json === true);
      throw new BusbarError("absent", `there is no process named ${options.comm}`, {
        operation: "examine a process",
        hint: "ps -eo pid,comm lists them",
      });
    }
    const settings = await readSettings(options);
    const resource = inspectResource(machine.host, machine.files, {
      backend: settings.backend.value,
      resource: settings.resource.value,
      ...(options.size === undefined ? {} : { sizeBytes: options.size }),
      ...(options.offset === undefined ? {} : { offsetBytes: options.offset }),
    });
    if (resource.findings.some(({ result }) => result === "unknown")) raiseExitStatus("unsupported");
    if (resource.findings.some(({ result }) => result === "bad")) Deno.exitCode = 1;
    if (json) {
      return printJson({ schema: SCHEMA_NAME, settings: settingsJson(settings), resource: resourceJson(resource) });
    }
    for (const text of settings.notes) note(`dax_config: ${text}`);
    print(
      `backend ${settings.backend.value} (${originText(settings.backend, VARIABLES.backend)}), resource ` +
        `${settings.resource.value} (${originText(settings.resource, VARIABLES.resource)})`,
    );
    print(findingLines(resource.findings).join("\n"));
  });

function checkProcesses(machine: Machine, pids: readonly number[], json: boolean): void {
  const verdicts = pids.map((pid) => examineProcess(machine.host, machine.files, pid));
  for (const { verdict } of verdicts) {
    if (verdict !== "yes") raiseExitStatus(verdict === "no" ? "no" : "unsupported");
  }
  if (json) return printJson({ schema: SCHEMA_NAME, processes: verdicts.map(processJson) });
  print(verdicts.flatMap(processLines).join("\n"));
}

/** A log of a program that ran for days; more is a mistake. */
const MOST_LOG_BYTES = 64 << 20;

function checkLog(path: string, json: boolean): void {
  const text = readInputText(path, { limitBytes: MOST_LOG_BYTES, what: "the log" });
  const verdict = readLog(text);
  if (verdict.initialized.length === 0 || verdict.refused.length > 0) raiseExitStatus("no");
  if (json) return printJson({ schema: SCHEMA_NAME, log: logJson(path, verdict) });
  print(logLines(path, verdict).join("\n"));
}
