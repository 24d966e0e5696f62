/**
 * The settings that the subcommands of `dax_config` share.
 * @module
 */

import { DOCUMENT_BYTES } from "../../src/core/documents.ts";
import { readInputText } from "../../src/core/input.ts";
import { closedObject, type JsonObject } from "../../src/core/layout_json.ts";
import {
  type BackendSettings,
  type FileSettings,
  readSettingsFile,
  resolveSettings,
  type Setting,
} from "../../src/memory/settings.ts";

/** Options that every subcommand has. */
export interface SettingOptions {
  readonly backend?: string | undefined;
  readonly resource?: string | undefined;
  readonly config?: string | undefined;
}

/** The options' texts, for all subcommands alike. */
export const OPTIONS = {
  backend: ["--backend <name>", "ivshmem, mmap or dax; else $CXL_BACKEND, the file, or what the resource is"],
  resource: ["--resource <path>", "the memory: /dev/dax0.0, a file, SS; else $CXL_MEMORY_RESOURCE or the file"],
  config: ["--config <file>", "a YAML file (backend, resource), or a shell fragment such as dax_config.sh"],
  json: ["--json", "print one JSON document"],
  jsonSchema: ["--json-schema", "print the schema of --json, and stop"],
} as const;

/** Reads the settings from the command line, the environment and the file. */
export async function readSettings(options: SettingOptions): Promise<BackendSettings> {
  const { backend, resource, config } = options;
  const env = Deno.env.toObject();
  return resolveSettings({
    flags: { backend, resource },
    env,
    file: config === undefined ? {} : await readFile(config),
  });
}

async function readFile(path: string): Promise<FileSettings> {
  return await readSettingsFile(readInputText(path, { limitBytes: DOCUMENT_BYTES, what: "settings" }), path);
}

/** Where a value comes from, as people say it. */
export function originText({ origin }: Setting, variable: string): string {
  switch (origin) {
    case "flag":
      return "command line";
    case "env":
      return `environment, ${variable}`;
    case "inferred":
      return "inferred from the resource";
    case "default":
      return "default";
    default:
      return origin.slice("config:".length);
  }
}

/** The settings for programs. */
export function settingsJson({ backend, resource, notes }: BackendSettings): JsonObject {
  return { backend: { ...backend }, resource: { ...resource }, notes: [...notes] };
}

const setting = closedObject({ value: { type: "string" }, origin: { type: "string" } });

/** The schema of {@linkcode settingsJson}. */
export const SETTINGS_SCHEMA: JsonObject = closedObject({
  backend: setting,
  resource: setting,
  notes: { type: "array", items: { type: "string" } },
});
