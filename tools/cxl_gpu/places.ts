/**
 * Where `cxl_gpu serve` offers devices: files, files with a doorbell, and sockets of vfio-user.
 * @module
 */

import { BusbarError } from "../../src/core/error.ts";
import { parseBytes } from "../../src/core/units.ts";
import { FILE_LEAST_BYTES } from "../../src/type2/registers.ts";

const DEFAULT_BYTES = 256 << 20;

/** A place to serve a device at. */
export interface Place {
  /** A file, or a socket of vfio-user. */
  readonly kind: "file" | "vfio-user";
  /** Its path. */
  readonly path: string;
  /** Bytes of the file, or of BAR4. */
  readonly sizeBytes: number;
  /** The generation, when it is not that of all. */
  readonly profile: string | null;
}

/** `PATH[,profile=v1][,size=256MiB]` */
export function placeParser(kind: Place["kind"]): (text: string, before: readonly Place[]) => Place[] {
  return (text, before) => {
    const [path = "", ...settings] = text.split(",");
    let size = DEFAULT_BYTES, profile: string | null = null;
    checkPath(path, text);
    for (const setting of settings) {
      if (setting.startsWith("size=")) size = Number(parseBytes(setting.slice("size=".length)));
      else if (setting.startsWith("profile=")) profile = setting.slice("profile=".length);
      else {
        throw new BusbarError("usage", `'${setting}' in '${text}' is no setting`, {
          hint: "it takes profile= and size=",
        });
      }
    }
    const least = kind === "file" ? FILE_LEAST_BYTES : 1 << 20;
    if (size < least || !Number.isSafeInteger(size) || !Number.isInteger(Math.log2(size))) {
      throw new BusbarError("usage", `${path}: ${kind === "file" ? "a file" : "BAR4"} of ${size} bytes`, {
        hint: `the size is a power of two, at least ${least >> 20} MiB: size=64MiB`,
      });
    }
    return [...before, { kind, path, sizeBytes: size, profile }];
  };
}

/** What {@linkcode placeParser} reads as this place. */
export function placeText({ path, sizeBytes, profile }: Place): string {
  return `${path},size=${sizeBytes}B${profile === null ? "" : `,profile=${profile}`}`;
}

/** The path of a socket. */
export function parseSocket(text: string, before: readonly string[]): string[] {
  checkPath(text, text);
  return [...before, text];
}

function checkPath(path: string, text: string): void {
  if (path === "") throw new BusbarError("usage", `'${text}' names no file`);
  if (path.includes("\n")) throw new BusbarError("usage", "a path of two lines cannot be served");
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}

/** The options of QEMU that give a place to a guest. */
export function qemuOptions(place: Place, doorbell: string | undefined, index: number): string {
  const id = `gpu${index}`;
  if (place.kind === "vfio-user") {
    const socket = { driver: "vfio-user-pci", socket: { path: absolute(place.path), type: "unix" } };
    return `-device '${JSON.stringify(socket)}'`;
  }
  if (doorbell !== undefined) {
    return `-chardev socket,path=${absolute(doorbell)},id=${id} -device ivshmem-doorbell,chardev=${id},vectors=1`;
  }
  return `-object memory-backend-file,id=${id},mem-path=${absolute(place.path)},size=${place.sizeBytes},share=on ` +
    `-device ivshmem-plain,memdev=${id}`;
}

/**
 * The line for a QEMU that has the device itself, with the driver library that `serve` would use.
 *
 * @param library of the backend
 */
export function cxlType2Option(library: string, device: number, memoryBytes: bigint, cacheBytes: bigint): string {
  return `-device cxl-type2,cache-size=${cacheBytes},mem-size=${memoryBytes},hetgpu-lib=${library},hetgpu-device=${device}`;
}

/** The devices that the QEMU on PATH has; null where there is no QEMU. */
export async function qemuDevices(): Promise<ReadonlySet<string> | null> {
  try {
    const { success, stdout } = await new Deno.Command("qemu-system-x86_64", {
      args: ["-machine", "none", "-device", "help"],
      stdin: "null",
      stderr: "null",
    }).output();
    if (!success) return null;
    return new Set(Array.from(new TextDecoder().decode(stdout).matchAll(/^name "([^"]+)"/gm), (one) => one[1] ?? ""));
  } catch {
    return null;
  }
}
