/** Recorded and made-up machines as folders, for agents to look at. */

import { assert } from "@std/assert";

import type { Host } from "../../src/core/host.ts";
import type { HostTree } from "../../src/core/host_requests.ts";

/** Writes all that a host has below /sys, /proc and /dev into a folder. */
export function layOut(host: Host, root: string): void {
  for (const top of ["/sys", "/proc", "/dev"]) {
    Deno.mkdirSync(`${root}${top}`, { recursive: true });
    const [tree] = host.batch([{ call: "readTree", path: top, depth: 16, files: "all" }]);
    if (tree instanceof Error) continue;
    assert(typeof tree === "object" && "folders" in tree);
    putTree(tree, root);
  }
}

function putTree({ folders, links, files }: HostTree, root: string): void {
  for (const path of folders.keys()) Deno.mkdirSync(`${root}${path}`, { recursive: true });
  for (const [path, target] of links) {
    // Links of sysfs are relative; those of a made-up machine need not be.
    const up = "../".repeat(path.split("/").length - 3);
    if (typeof target === "string") putLink(target.replace(/^\/(sys|proc|dev)\//, up), `${root}${path}`);
  }
  for (const [path, bytes] of files) if (bytes instanceof Uint8Array) Deno.writeFileSync(`${root}${path}`, bytes);
}

/** Of several machines in one folder the last one counts. */
function putLink(target: string, path: string): void {
  Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  Deno.symlinkSync(target, path);
}
