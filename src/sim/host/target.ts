/**
 * Looks at a program before it is recorded, so that what is wrong with it is said in one line.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

const ELF_MAGIC = [0x7f, 0x45, 0x4c, 0x46];
const ELF_CLASS_64 = 2;
const MACHINE_X86_64 = 62;

function isExecutable(path: string): boolean {
  try {
    const info = Deno.statSync(path);
    return info.isFile && ((info.mode ?? 0) & 0o111) !== 0;
  } catch {
    return false;
  }
}

function wrong(message: string, path: string, hint: string): BusbarError {
  return new BusbarError("usage", message, { operation: "record", path, hint });
}

/** The path of a program, found as a shell does. */
function resolve(name: string): string {
  if (name.includes("/")) {
    if (isExecutable(name)) return name;
    let info: Deno.FileInfo;
    try {
      info = Deno.statSync(name);
    } catch {
      throw wrong(`${name}: no such program`, name, "check its path");
    }
    throw wrong(`${name}: ${info.isDirectory ? "is a directory" : "is not executable"}`, name, "name a program");
  }
  const found = (Deno.env.get("PATH") ?? "/usr/bin:/bin").split(":").map((folder) => `${folder}/${name}`).find(
    isExecutable,
  );
  if (found === undefined) throw wrong(`${name}: no such program in PATH`, name, `./${name} names one in this folder`);
  return found;
}

/**
 * Checks what can be checked without starting the program.
 *
 * @returns its path
 * @throws {BusbarError} `usage`: it does not exist, is no program, or is one that cannot be recorded
 */
export function checkTarget(command: readonly string[]): string {
  const [name] = command;
  if (name === undefined || name === "") {
    throw wrong("which program?", "", "cxl_sim record -o FILE -- PROGRAM ARGUMENTS");
  }
  const path = resolve(name);
  const info = Deno.statSync(path);
  if (((info.mode ?? 0) & 0o6000) !== 0 && Deno.uid() !== 0) {
    throw wrong(
      `${name}: is set-user-ID or set-group-ID`,
      path,
      "the kernel does not let such a program be traced: use a copy",
    );
  }
  const head = new Uint8Array(20);
  try {
    using file = Deno.openSync(path);
    file.readSync(head);
  } catch {
    // Executable and not readable: the kernel decides.
    return path;
  }
  const elf = ELF_MAGIC.every((byte, i) => head[i] === byte);
  if (!elf) return path;
  const machine = (head[18] ?? 0) | (head[19] ?? 0) << 8;
  if (head[4] !== ELF_CLASS_64 || machine !== MACHINE_X86_64) {
    throw wrong(`${name}: is not a 64-bit x86 program`, path, "compile it for x86-64");
  }
  return path;
}
