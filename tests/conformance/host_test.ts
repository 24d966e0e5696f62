/** The implementations of `Host`. */

import { closeAll } from "../../ffi/library.ts";
import { BatchedReads } from "../../src/core/batched_reads.ts";
import { FaultyHost } from "../../src/core/faulty_host.ts";
import { thisMachine } from "../../src/core/host.ts";
import { linkAt, namesIn, realPathOf, sizeOf, textOf } from "../../src/core/host_requests.ts";
import { RecordedHost } from "../../src/core/recorded_host.ts";
import { agentMachine } from "../soft/agent.ts";
import { MadeUpMachine } from "../unit/machines.ts";
import { type HostImplementation, type HostUnderTest, testHost, TREE } from "./host_conformance.ts";

const ROOT = "/sys/root";

function onDisk(): HostUnderTest {
  const root = Deno.realPathSync(Deno.makeTempDirSync());
  putTree(root);
  return { host: thisMachine, root, [Symbol.dispose]: () => Deno.removeSync(root, { recursive: true }) };
}

/** An agent that sees a folder as its machine. */
function byAgent(...options: readonly string[]): HostUnderTest {
  const folder = Deno.realPathSync(Deno.makeTempDirSync());
  putTree(`${folder}${ROOT}`);
  const machine = agentMachine(folder, undefined, ...options);
  return {
    host: machine.host,
    root: ROOT,
    [Symbol.dispose](): void {
      machine[Symbol.dispose]();
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

function putTree(root: string): void {
  for (const [path, text] of Object.entries(TREE)) {
    const place = `${root}/${path}`;
    Deno.mkdirSync(place.slice(0, place.lastIndexOf("/")), { recursive: true });
    if (text.startsWith("->")) Deno.symlinkSync(text.slice(2), place);
    else Deno.writeTextFileSync(place, text);
  }
}

function madeUp(): MadeUpMachine {
  const machine = new MadeUpMachine();
  for (const [path, text] of Object.entries(TREE)) {
    if (text.startsWith("->")) machine.link(`${ROOT}/${path}`, text.slice(2));
    else machine.file(`${ROOT}/${path}`, text);
  }
  return machine;
}

const inMemory = { root: ROOT, [Symbol.dispose]: (): void => {} };

/** Everything is asked for beforehand, so that every answer is a fetched one. */
function fetched(): BatchedReads {
  const reads = new BatchedReads(madeUp());
  const paths = ["", "/none", ...Object.keys(TREE).map((path) => `/${path}`)].map((path) => `${ROOT}${path}`);
  reads.fetch(paths.flatMap((path) => [textOf(path), namesIn(path), linkAt(path), realPathOf(path), sizeOf(path)]));
  return reads;
}

const NOT_CHANGED = "a recording is not changed";
const IN_MEMORY: Readonly<Record<string, string>> = {
  "a new folder is empty": "it holds the file that makes it be there",
};
const AS_FETCHED = "it answers as the machine was when it was fetched";

const IMPLEMENTATIONS: readonly HostImplementation[] = [
  { name: "this machine", make: onDisk, cannot: {} },
  { name: "agent", make: () => byAgent(), cannot: {} },
  { name: "agent without openat2", make: () => byAgent("--step-by-step"), cannot: {} },
  {
    name: "recorded",
    make: () => {
      const { files, links } = madeUp();
      return { host: new RecordedHost("recorded machine test", { files, links }), ...inMemory };
    },
    cannot: {
      "a text is written in place of the old one, also through a link, now or slowly": NOT_CHANGED,
      "bytes are written at an offset and the rest stays": NOT_CHANGED,
      "nothing is created by writing": NOT_CHANGED,
      "a folder is made and removed": NOT_CHANGED,
      "a folder is made only where its parent is": NOT_CHANGED,
      "a new folder is empty": NOT_CHANGED,
    },
  },
  { name: "made-up", make: () => ({ host: madeUp(), ...inMemory }), cannot: IN_MEMORY },
  {
    name: "faulty double without faults",
    make: () => ({ host: new FaultyHost(madeUp(), []), ...inMemory }),
    cannot: IN_MEMORY,
  },
  {
    name: "batched reads, nothing fetched",
    make: () => ({ host: new BatchedReads(madeUp()), ...inMemory }),
    cannot: IN_MEMORY,
  },
  {
    name: "batched reads, all fetched",
    make: () => ({ host: fetched(), ...inMemory }),
    cannot: {
      ...IN_MEMORY,
      "a text is written in place of the old one, also through a link, now or slowly": AS_FETCHED,
      "bytes are written at an offset and the rest stays": AS_FETCHED,
    },
  },
];

// Libraries are opened before the first test, so that no test seems to leak one.
Deno.test.beforeAll(() => {
  using agent = byAgent();
  agent.host.list(agent.root);
});
Deno.test.afterAll(closeAll);

for (const implementation of IMPLEMENTATIONS) testHost(implementation);
