/**
 * `cxl_gpu serve`: software Type 2 GPUs for guests and for programs of this machine.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { pause } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { type Locator, parseLocator } from "../../src/core/locator.ts";
import { serveSharedFile, serveVfioUser } from "../../src/type2/open.ts";
import type { SoftType2 } from "../../ffi/soft_type2.ts";
import { sizeBytes, timeOption, wholeNumber } from "../cli/arguments.ts";
import { note, print } from "../cli/output.ts";
import { interruption, raiseExitStatus } from "../cli/run.ts";
import { selfCommand } from "../cli/self.ts";
import { GuestProcess, keepAll, READY, untilInputEnds } from "./guest_processes.ts";
import { cxlType2Option, parseSocket, type Place, placeParser, placeText, qemuDevices, qemuOptions } from "./places.ts";

const LOOK_MS = 200;

/** The command line of `cxl_gpu serve`. */
export const serve: CommandUnknownOpts = new Command("serve")
  .description("Be a CXL Type 2 GPU for guests, and for programs of this machine, until interrupted.")
  .addOption(
    new Option("--file <path>", "a shared file, as in /dev/shm/gpu,profile=v1,size=64MiB; once for each guest")
      .argParser(placeParser("file")).default([] as Place[], "none"),
  )
  .addOption(
    new Option(
      "--doorbell <socket>",
      "a socket at which a --file is offered as ivshmem-doorbell; the first is the first file's",
    )
      .argParser(parseSocket).default([] as string[], "none"),
  )
  .addOption(
    new Option(
      "--vfio-user <socket>",
      "a socket for vfio-user-pci of QEMU 10.1, as in gpu.socket,size=64MiB; once for each guest",
    )
      .argParser(placeParser("vfio-user")).default([] as Place[], "none"),
  )
  .addOption(
    new Option("--bar4 <access>", "whether guests of --vfio-user map BAR4").choices(["map", "trap"]).default("map"),
  )
  .option("--backend <locator>", "what runs kernels: soft:cuda?…, cuda:LIBRARY?device=N, or none", "soft:cuda")
  .option("--profile <generation>", "v1, v2 or v2-J", "v2")
  .addOption(
    new Option("--memory <size>", "device memory of each guest").argParser(sizeBytes).default(1n << 30n, "1GiB"),
  )
  .addOption(
    new Option("--cache <size>", "what BAR2 of --vfio-user is large for").argParser(sizeBytes).default(
      0n,
      "the window",
    ),
  )
  .addOption(timeOption("--limit <time>", "how long a kernel may run", "10s"))
  .option("--filter <lines>", "lines of the snoop filter", wholeNumber, 4096)
  .option("--name <text>", "what the device says it is called", "")
  .addOption(new Option("--guest-process", "serve one guest of a server that watches this process").hideHelp())
  .action(async (options) => {
    const places = [...options.file, ...options.vfioUser];
    if (places.length === 0) {
      throw new BusbarError("usage", "there is nothing to serve", {
        hint: "--file /dev/shm/gpu gives a guest one, and so does --vfio-user",
      });
    }
    if (options.doorbell.length > options.file.length) {
      throw new BusbarError("usage", `${options.doorbell.length} doorbells, and ${options.file.length} files`, {
        hint: "each --doorbell belongs to a --file",
      });
    }
    if (parseBackend(options.backend).kind === "cuda" && options.guestProcess !== true) {
      await serveInProcesses(places, options);
      return;
    }
    const devices: SoftType2[] = [];
    using all = new DisposableStack();
    for (const [index, place] of places.entries()) {
      devices.push(all.use(open(place, options.doorbell[index], options)));
      if (options.guestProcess !== true) announce(place, options.doorbell[index], index);
    }
    if (options.guestProcess === true) {
      print(READY.trimEnd());
      await watch(devices, AbortSignal.any([interruption, untilInputEnds()]));
      return;
    }
    await adviseOnQemu(options);
    await watch(devices, interruption);
  });

interface ServeOptions {
  readonly doorbell: readonly string[];
  readonly bar4: string;
  readonly backend: string;
  readonly profile: string;
  readonly memory: bigint;
  readonly cache: bigint;
  readonly limit: number;
  readonly filter: number;
  readonly name: string;
  readonly guestProcess?: true | undefined;
}

function open(place: Place, doorbell: string | undefined, options: ServeOptions): SoftType2 {
  const settings = new Map([
    ["profile", place.profile ?? options.profile],
    ["backend", options.backend],
    ["memory", options.memory.toString()],
    ["limit", String(options.limit)],
    ["filter", String(options.filter)],
    ["name", options.name],
  ]);
  if (options.guestProcess === true) settings.set("ends_at_limit", "1");
  if (place.kind === "file") {
    if (doorbell !== undefined) settings.set("doorbell", doorbell);
    return serveSharedFile(settings, place);
  }
  settings.set("bar4", String(place.sizeBytes)).set("cache", options.cache.toString());
  settings.set("trap_bar4", options.bar4 === "trap" ? "1" : "0");
  return serveVfioUser(settings, place.path);
}

function announce(place: Place, doorbell: string | undefined, index: number): void {
  print(
    place.kind === "vfio-user"
      ? `serving vfio-user at ${place.path}`
      : `serving type2:${place.path}${doorbell === undefined ? "" : `, with a doorbell at ${doorbell}`}`,
  );
  print(`  qemu ${qemuOptions(place, doorbell, index)}`);
}

/** Each guest's device in a process of its own: a driver library has no limit, and what it runs ends with its process. */
async function serveInProcesses(
  places: readonly Place[],
  options: ServeOptions & { readonly vfioUser: readonly Place[] },
): Promise<void> {
  const guests = new Map<string, GuestProcess>();
  await using all = new AsyncDisposableStack();
  for (const [index, place] of places.entries()) {
    const doorbell = options.doorbell[index];
    const guest = all.use(new GuestProcess(place.path, guestCommand(place, doorbell, options), options.limit));
    const status = await guest.start();
    if (status !== 0) {
      raiseExitStatus(status);
      return;
    }
    guests.set(place.path, guest);
    announce(place, doorbell, index);
  }
  await adviseOnQemu(options);
  await keepAll(guests);
}

/** The command of one guest's process. */
function guestCommand(place: Place, doorbell: string | undefined, options: ServeOptions): string[] {
  return [
    ...selfCommand("cxl_gpu"),
    "serve",
    "--guest-process",
    ...place.kind === "file" ? ["--file", placeText(place)] : ["--vfio-user", placeText(place), "--bar4", options.bar4],
    ...doorbell === undefined ? [] : ["--doorbell", doorbell],
    ...["--backend", options.backend, "--profile", options.profile, "--memory", `${options.memory}B`],
    ...["--cache", `${options.cache}B`, "--limit", `${options.limit}ms`, "--filter", String(options.filter)],
    ...["--name", options.name],
  ];
}

function parseBackend(text: string): Locator {
  return parseLocator(text === "none" ? "soft:cuda" : text);
}

/** What the QEMU of this machine cannot do, or can do without this program. */
async function adviseOnQemu(
  options: { backend: string; memory: bigint; cache: bigint; vfioUser: readonly Place[] },
): Promise<void> {
  const backend = parseBackend(options.backend);
  if (options.vfioUser.length === 0 && backend.kind !== "cuda") return;
  const devices = await qemuDevices();
  if (devices === null) return;
  if (options.vfioUser.length > 0 && !devices.has("vfio-user-pci")) {
    note("cxl_gpu: qemu-system-x86_64 has no vfio-user-pci");
    note("  hint: QEMU 10.1 or newer has it; --file works with any QEMU");
  }
  if (backend.kind === "cuda" && devices.has("cxl-type2")) {
    const cache = options.cache === 0n ? 128n << 20n : options.cache;
    print(`  qemu ${cxlType2Option(backend.library ?? "libcuda.so.1", backend.device, options.memory, cache)}`);
  }
}

/** Until interrupted, or until no guest is left. A guest whose file was taken away is told of, and the others go on. */
async function watch(devices: readonly SoftType2[], until: AbortSignal): Promise<void> {
  const lost = new Set<SoftType2>();
  while (!until.aborted) {
    for (const device of devices) {
      const problem = lost.has(device) ? null : device.problem;
      if (problem === null) continue;
      lost.add(device);
      note(`cxl_gpu: ${device.name}: ${problem}; its guest is not served any more`);
    }
    if (lost.size === devices.length) {
      throw new BusbarError("device-gone", "no file is left to serve", { hint: "start it again" });
    }
    await pause(LOOK_MS, until).catch(() => {});
  }
}
