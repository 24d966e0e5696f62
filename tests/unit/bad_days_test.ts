/**
 * Bad days of what list, config, health, dax_config namespace and doctor read: a file that is absent, not permitted, busy or
 * full of garbage, and a device that goes in the middle, at every place where the machine is asked.
 */

import { assert, assertEquals } from "@std/assert";

import { readCxlEvents } from "../../src/cxl/health.ts";
import { BusbarError, type ErrorCode } from "../../src/core/error.ts";
import { Unknown } from "../../src/core/fact.ts";
import { type Fault, FaultyHost } from "../../src/core/faulty_host.ts";
import type { Host } from "../../src/core/host.ts";
import { examineMemory, readKernelConfig } from "../../src/memory/doctor.ts";
import { readPersistentMemory } from "../../src/memory/namespaces.ts";
import { readErrors } from "../../src/pci/error_watch.ts";
import { reportConfig } from "../../src/pci/config_report.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import { readPciHealth } from "../../src/pci/health.ts";
import { readInventory } from "../../src/pci/inventory.ts";
import { nvmeMachine } from "./machines.ts";
import { NamespaceMachine } from "./namespace_machine.ts";
import { TiersMachine } from "./tiers_machine.ts";

const ADDRESS = "0000:01:00.0";
const FOLDER = "/sys/devices/pci0000:00/0000:00:03.0/0000:01:00.0";
const GARBAGE = "\u0000\ufffd-9e99 0x \n\n{[";

/** A reader, and the machine that it reads. */
interface Reader {
  readonly machine: () => Host;
  readonly read: (host: Host) => unknown;
}

/** What config and health read of errors: the kernel's counters, as Linux writes them. */
function driveMachine(): Host {
  const machine = nvmeMachine();
  for (const severity of ["correctable", "nonfatal", "fatal"]) {
    machine.file(`${FOLDER}/aer_dev_${severity}`, "RxErr 3\nBadTLP 0\nTOTAL_ERR 3\n");
  }
  return machine.link("/sys/class/nvme/nvme0", `../../..${FOLDER.slice(4)}/nvme/nvme0`)
    .file(`${FOLDER}/nvme/nvme0/serial`, "S1\n").file(`${FOLDER}/nvme/nvme0/firmware_rev`, "1.0\n")
    .file("/sys/kernel/tracing/events/cxl/enable", "1\n")
    .file("/sys/kernel/tracing/trace", "x-1 [0] 1.0: cxl_poison: memdev=mem0 trace_type=List\n")
    .file("/proc/net/dev", "h\nh\n lo: 0\n").file("/proc/mounts", "").file("/proc/swaps", "Filename\n");
}

const READERS: Readonly<Record<string, Reader>> = {
  list: { machine: driveMachine, read: (host) => readInventory(host, { askDevices: true }) },
  config: {
    machine: driveMachine,
    read: (host) => {
      const fn = readPciFunction(host, ADDRESS);
      return [reportConfig(fn.config), readErrors(host, fn)];
    },
  },
  health: {
    machine: driveMachine,
    read: (host) => [readPciHealth(host, ADDRESS, {}), readCxlEvents(host, "mem0", {})],
  },
  "dax_config namespace": { machine: () => new NamespaceMachine(), read: readPersistentMemory },
  "doctor memory": {
    machine: () => new TiersMachine(),
    read: async (host) => {
      const { text, path } = await readKernelConfig(host);
      return examineMemory(host, text, path);
    },
  },
};

/** The calls that a reader makes, each path once. */
async function callsOf({ machine, read }: Reader): Promise<{ call: Fault["call"]; path: string }[]> {
  const host = new FaultyHost(machine(), []);
  await read(host);
  return [...new Set(host.calls)].map((text) => {
    const [call, ...path] = text.split(" ");
    return { call: call as Fault["call"], path: path.join(" ") };
  });
}

for (const [name, reader] of Object.entries(READERS)) {
  Deno.test(`bad days of ${name}: absent, no permission, busy, garbage, gone in the middle, at each file`, async () => {
    const calls = await callsOf(reader);
    assert(calls.length > 5, `${name} asks the machine ${calls.length} times`);
    for (const [at, { call, path }] of calls.entries()) {
      const of = (fault: Partial<Fault>): Fault[] => [{ call, path, ...fault } as Fault];
      const error = (code: ErrorCode): Fault[] => of({ error: new BusbarError(code, `${path}: ${code}`, { path }) });
      const days: Readonly<Record<string, Fault[]>> = {
        absent: error("absent"),
        "no permission": error("permission"),
        busy: error("busy"),
        ...call === "readText" ? { garbage: of({ value: GARBAGE }) } : {},
        ...call === "readBytes" ? { garbage: of({ value: new Uint8Array(4096).fill(0xff) }) } : {},
        "gone in the middle": calls.slice(at).map(({ call, path }) =>
          ({ call, path, error: new BusbarError("absent", `${path}: gone`, { path }) }) as Fault
        ),
      };
      for (const [day, faults] of Object.entries(days)) {
        const host = new FaultyHost(reader.machine(), faults);
        try {
          await reader.read(host);
        } catch (error) {
          assert(error instanceof BusbarError, `${name}, ${day}, ${call} ${path}: ${error}`);
          assert(error.code !== "bug", `${name}, ${day}, ${call} ${path}: ${error.message}`);
        }
        assertEquals(host.calls.filter((text) => /^(?:write|make|remove)/.test(text)), [], "readers only read");
      }
    }
  });
}

Deno.test("what was not permitted, busy or garbage is unknown or an error of that kind, never none and never 0", () => {
  const counts = (fault: Partial<Fault>): unknown => {
    const host = new FaultyHost(driveMachine(), [{ path: /aer_dev_correctable$/, ...fault } as Fault]);
    return readErrors(host, readPciFunction(host, ADDRESS)).counts.correctable;
  };
  assert(counts({ error: new BusbarError("permission", "no") }) instanceof Unknown);
  assert(counts({ error: new BusbarError("busy", "later") }) instanceof Unknown);
  const garbage = counts({ value: GARBAGE });
  assert(garbage instanceof Unknown || garbage === null || Object.keys(garbage as object).length === 0, `${garbage}`);
  const trace = (fault: Partial<Fault>): unknown =>
    readCxlEvents(new FaultyHost(driveMachine(), [{ path: /tracing\/trace$/, ...fault } as Fault]), "mem0", {});
  assert(trace({ error: new BusbarError("permission", "no") }) instanceof Unknown);
  assert(trace({ error: new BusbarError("absent", "none") }) instanceof Unknown);
});
