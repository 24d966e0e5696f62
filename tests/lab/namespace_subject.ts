/**
 * Makes or destroys a namespace, and kills itself with SIGKILL behind a write: `create|destroy TARGET WRITES MODE`.
 * @module
 */

import { type Host, thisMachine } from "../../src/core/host.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { createNamespace, destroyNamespace } from "../../src/memory/namespace.ts";
import { type MadeMode, planNamespace } from "../../src/memory/namespace_plan.ts";
import { findNamespace, readPersistentMemory } from "../../src/memory/namespaces.ts";

const [action, target = "", limit, mode] = Deno.args;
let left = Number(limit);

function counted(): void {
  if (--left === 0) Deno.kill(Deno.pid, "SIGKILL");
}

const host: Host = Object.setPrototypeOf({
  writeText: (path: string, text: string): void => {
    thisMachine.writeText(path, text);
    counted();
  },
  writeBytes: (path: string, offset: number, bytes: Uint8Array): void => {
    thisMachine.writeBytes(path, offset, bytes);
    counted();
  },
}, thisMachine);

const journal = new UndoJournal(host, { command: `${action} ${target}` });
const memory = readPersistentMemory(host);
if (action === "create") {
  const plan = planNamespace(host, memory, { target, mode: mode as MadeMode });
  createNamespace(journal, host, plan, { erase: target });
} else {
  const namespace = findNamespace(memory, target);
  const hasLabels = memory.regions.some(({ name, hasLabels }) => name === namespace.region && hasLabels);
  destroyNamespace(journal, host, namespace, hasLabels, { erase: target });
}
journal.keepChanges();
await Deno.stdout.write(new TextEncoder().encode("done\n"));
