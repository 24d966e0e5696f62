/**
 * Which backend a program is to use and on which memory: `CXL_BACKEND` and `CXL_MEMORY_RESOURCE`, from flags, the
 * environment, a YAML file or a shell fragment such as Tigon's `dax_config.sh`, or by default. Every value keeps its
 * origin. Shell fragments are read as text and never executed.
 * @module
 */

import { parseYaml } from "../core/documents.ts";
import { BusbarError } from "../core/error.ts";
import { nearest } from "../core/locator.ts";
import { isDaxName } from "./devdax.ts";
import { readShellFragment } from "./shell_fragment.ts";

/** The backends that the guides know. */
export const BACKENDS = ["ivshmem", "mmap", "dax"] as const;

/** A backend of the guides: shared memory, a mapped file or device, direct access. */
export type BackendName = typeof BACKENDS[number];

/** The word that stands for shared memory, and the default. */
export const SHARED_MEMORY = "SS";

/** The two settings, by the name that files give them, with their variables. */
export const VARIABLES = { backend: "CXL_BACKEND", resource: "CXL_MEMORY_RESOURCE" } as const;

/** One of the two settings. */
export type SettingName = keyof typeof VARIABLES;

/** Where a value comes from: `config:FILE:LINE` for one of a file. */
export type Origin = "flag" | "env" | `config:${string}:${number}` | "default" | "inferred";

/** A value and where it comes from. */
export interface Setting<T extends string = string> {
  /** The value. */
  readonly value: T;
  /** Where it comes from. */
  readonly origin: Origin;
}

/** What a file sets. */
export type FileSettings = Readonly<Partial<Record<SettingName, Setting>>>;

/** Both settings, as they are to be used. */
export interface BackendSettings {
  /** The backend. */
  readonly backend: Setting<BackendName>;
  /** The memory: `SS`, a shared-memory name, a path. */
  readonly resource: Setting;
  /** What was understood otherwise than it was written, a sentence each. */
  readonly notes: readonly string[];
}

/** Where settings come from, strongest first. Empty values count as not set. */
export interface SettingSources {
  /** Options of the command line. */
  readonly flags?: Readonly<Partial<Record<SettingName, string | undefined>>>;
  /** The environment. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** A file: see {@linkcode readSettingsFile}. */
  readonly file?: FileSettings;
}

/**
 * Decides which backend is used on what.
 *
 * @throws {BusbarError} `usage` for a backend that does not exist, and for a resource that does not go with it; the
 * message says where both come from
 *
 * @example
 * ```ts
 * import { resolveSettings } from "./settings.ts";
 * const { backend } = resolveSettings({ env: { CXL_MEMORY_RESOURCE: "/dev/dax0.0" } });
 * console.assert(backend.value === "dax" && backend.origin === "inferred");
 * ```
 */
export function resolveSettings(sources: SettingSources): BackendSettings {
  const given = find("backend", sources);
  const resource = find("resource", sources) ?? { value: SHARED_MEMORY, origin: "default" };
  if (given === null) return inferBackend(resource);
  const backend = { value: backendNamed(given), origin: given.origin };
  const isShared = resource.value === SHARED_MEMORY;
  if (backend.value === "mmap" && isShared) {
    const note =
      `backend mmap (${backend.origin}) with resource SS is the old spelling of shared memory: ivshmem is used`;
    return { backend: { value: "ivshmem", origin: "inferred" }, resource, notes: [note] };
  }
  if (backend.value === "dax" && isShared) {
    throw new BusbarError(
      "usage",
      `backend dax (${backend.origin}) needs a device or file, and the resource is SS (${resource.origin})`,
      { operation: "read settings", hint: `export ${VARIABLES.resource}=/dev/dax0.0; daxctl list shows the devices` },
    );
  }
  if (backend.value === "ivshmem" && isDaxNode(resource.value)) {
    throw new BusbarError(
      "usage",
      `backend ivshmem (${backend.origin}) cannot use the dax device ${resource.value} (${resource.origin})`,
      { operation: "read settings", hint: `export ${VARIABLES.backend}=dax, or ${VARIABLES.resource}=SS` },
    );
  }
  return { backend, resource, notes: [] };
}

function find(name: SettingName, { flags, env, file }: SettingSources): Setting | null {
  const flag = flags?.[name];
  if (flag !== undefined && flag.trim() !== "") return { value: flag, origin: "flag" };
  const variable = env?.[VARIABLES[name]];
  if (variable !== undefined && variable.trim() !== "") return { value: variable, origin: "env" };
  return file?.[name] ?? null;
}

function inferBackend(resource: Setting): BackendSettings {
  if (resource.value === SHARED_MEMORY) {
    return { backend: { value: "ivshmem", origin: "default" }, resource, notes: [] };
  }
  const value = isDaxNode(resource.value)
    ? "dax"
    : isBarFile(resource.value) || !resource.value.includes("/")
    ? "ivshmem"
    : "mmap";
  return {
    backend: { value, origin: "inferred" },
    resource,
    notes: [`no backend is set: ${value} is inferred from the resource ${resource.value} (${resource.origin})`],
  };
}

function backendNamed(given: Setting): BackendName {
  const word = given.value.trim().toLowerCase();
  const backend = BACKENDS.find((one) => one === word);
  if (backend !== undefined) return backend;
  const near = nearest(word, BACKENDS);
  throw new BusbarError("usage", `'${given.value}' (${given.origin}) is no backend`, {
    operation: "read settings",
    hint: near === null
      ? `the backends are ${BACKENDS.join(", ")}`
      : `did you mean '${near}'? There are ${BACKENDS.join(", ")}`,
  });
}

/** True for the node of a dax device: `/dev/dax0.0`. */
export function isDaxNode(path: string): boolean {
  return path.startsWith("/dev/") && isDaxName(path.slice("/dev/".length));
}

/** True for the file of a PCI function's BAR 2 in sysfs. */
export function isBarFile(path: string): boolean {
  return /\/resource2(?:_wc)?$/.test(path);
}

/**
 * Reads settings from the text of a file: YAML (or JSON) with `backend` and `resource`, or a shell fragment that sets the
 * variables, in assignments only. Which it is, its name says, or else its contents.
 *
 * @param path its name, for messages and origins
 * @throws {BusbarError} `malformed`, with the line, for an unknown key and for shell that would have to be executed
 */
export async function readSettingsFile(text: string, path: string): Promise<FileSettings> {
  const isYaml = /\.(ya?ml|json)$/i.test(path);
  const isShell = /\.(sh|bash|env)$/i.test(path) || /\bCXL_(?:BACKEND|MEMORY_RESOURCE)\b/.test(text);
  return !isYaml && isShell ? readShell(text, path) : await readYaml(text, path);
}

async function readYaml(text: string, path: string): Promise<FileSettings> {
  const fail = (line: number, message: string, hint?: string, cause?: unknown): BusbarError =>
    new BusbarError("malformed", `${path}:${line}: ${message}`, { operation: "read settings", path, hint, cause });
  let value: unknown;
  try {
    value = await parseYaml(text, path);
  } catch (cause) {
    const reason = (cause instanceof Error ? cause.message : String(cause)).slice(`${path}: `.length);
    throw fail(Number(/line (\d+)/.exec(reason)?.[1] ?? 1), reason, undefined, cause);
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== "object" || Array.isArray(value)) throw fail(1, "it holds no keys and values", EXAMPLE);
  const known = Object.keys(VARIABLES);
  const settings: Partial<Record<SettingName, Setting>> = {};
  for (const [key, content] of Object.entries(value)) {
    const line = lineOfKey(text, key);
    const name = isSettingName(key) ? key : null;
    if (name === null) {
      const near = nearest(key, known);
      throw fail(line, `no such key '${key}'`, near === null ? EXAMPLE : `did you mean '${near}'?`);
    }
    if (content === null || content === "") continue;
    if (typeof content !== "string") throw fail(line, `${key}: ${JSON.stringify(content)} is no text`, EXAMPLE);
    settings[name] = { value: content, origin: `config:${path}:${line}` };
  }
  return settings;
}

const EXAMPLE = "it takes backend: dax and resource: /dev/dax0.0";

function isSettingName(key: string): key is SettingName {
  return Object.hasOwn(VARIABLES, key);
}

/** The line that a top-level key stands on. The YAML parser does not tell. */
function lineOfKey(text: string, key: string): number {
  const escaped = key.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const match = new RegExp(`(?:^|[{,])[ \\t]*["']?${escaped}["']?[ \\t]*:`, "m").exec(text);
  return lineAt(text, match === null ? 0 : match.index + match[0].search(/[^\s{,]/));
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}

/** The two variables as a shell fragment leaves them. An empty value counts as not set. */
function readShell(text: string, path: string): FileSettings {
  const values = readShellFragment(text, path, Object.values(VARIABLES));
  const settings: Partial<Record<SettingName, Setting>> = {};
  for (const name of Object.keys(VARIABLES).filter(isSettingName)) {
    const found = values.get(VARIABLES[name]);
    if (found === undefined || found.value === "") continue;
    settings[name] = { value: found.value, origin: `config:${path}:${found.line}` };
  }
  return settings;
}
