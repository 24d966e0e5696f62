/**
 * Two guests at once: on a network of their own, and with memory that both have.
 * @module
 */

import { BusbarError, systemError } from "../core/error.ts";
import { processStartTime } from "../core/process.ts";
import type { Device, Machine } from "./description.ts";
import { type BootOptions, Guest } from "./guest.ts";
import type { NamedMachine } from "./machine_file.ts";
import { removeQuietly } from "./run_folder.ts";
import { escapeCommas } from "./qemu_option.ts";

/** A host of two. */
export interface PairPlace {
  /** 0 or 1. */
  readonly index: number;
  /** Its IPv4 address on their network. */
  readonly address: string;
  /** The other one's. */
  readonly peer: string;
}

/** The places of two hosts. */
export const PAIR: readonly [PairPlace, PairPlace] = [
  { index: 0, address: "192.168.100.10", peer: "192.168.100.11" },
  { index: 1, address: "192.168.100.11", peer: "192.168.100.10" },
];

/** The slot of the network card: the last one below those of the lab. */
const SLOT = "1d";

/**
 * A machine as one of two: with a network card on their socket, and with `shared: true` devices in files of both.
 *
 * @param folder where the socket and the files are: of this user alone
 */
export function pairedMachine(machine: Machine, { index }: PairPlace, folder: string): Machine {
  const socket = { "addr.type": "unix", "addr.path": escapeCommas(`${folder}/network`) };
  const role = index === 0 ? { server: "on" } : { server: "off", "reconnect-ms": "200" };
  const netdev = Object.entries({ id: "lab-net", ...role, ...socket }).map(([key, value]) => `${key}=${value}`);
  const card = ["virtio-net-pci", "netdev=lab-net", `mac=${macOf(index)}`, "bus=pcie.0", `addr=${SLOT}`, "romfile="];
  return {
    ...machine,
    devices: machine.devices.map((device) => isShared(device) ? { ...device, file: `${folder}/${device.id}` } : device),
    "qemu-arguments": [
      ...machine["qemu-arguments"],
      "-netdev",
      ["stream", ...netdev].join(","),
      "-device",
      card.join(","),
    ],
  };
}

function macOf(index: number): string {
  return `52:54:00:62:62:0${index + 1}`;
}

function isShared(device: Device): boolean {
  return (device.type === "ivshmem-plain" || device.type === "cxl-type3") && device.shared === true &&
    device.file === undefined;
}

/** The mistakes of two machines that are to share memory, a line each. */
export function pairMistakes(machines: readonly Machine[]): string[] {
  const sizes = machines.map(({ devices }) => new Map(devices.filter(isShared).map((one) => [one.id, sizeOf(one)])));
  const ids = new Set(sizes.flatMap((one) => [...one.keys()]));
  return [...ids].flatMap((id) => {
    const [first, second] = sizes.map((one) => one.get(id));
    if (first === undefined || second === undefined) return [`${id} is shared, and only one of the machines has it`];
    return first === second ? [] : [`${id} is shared, and its sizes differ: ${first} and ${second} bytes`];
  });
}

function sizeOf(device: Device): bigint {
  return device.type === "ivshmem-plain"
    ? device.size
    : device.type === "cxl-type3"
    ? device.persistent ?? device.volatile ?? 0n
    : 0n;
}

const PREFIX = "busbar-lab-pair-";

/** Removes this user's folders of pairs whose processes were killed: nobody else does. */
export function removeAbandonedPairs(dir: string): void {
  for (const { name } of Deno.readDirSync(dir)) {
    const [, pid, startTime] = /^busbar-lab-pair-(\d+)-(\d+)-/.exec(name) ?? [];
    if (pid === undefined || processStartTime(Number(pid)) === startTime) continue;
    const path = `${dir}/${name}`;
    if (ownerOf(path) === Deno.uid()) removeQuietly(path);
  }
}

/** Null when it is gone: another start has removed it. */
function ownerOf(path: string): number | null {
  try {
    return Deno.lstatSync(path).uid;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw systemError(error, "look at", path);
  }
}

/** Two guests that run. Dispose ends both. */
export class GuestPair implements AsyncDisposable {
  /** The guests, in the order of the machines. */
  readonly guests: readonly [Guest, Guest];
  readonly #folder: string;

  private constructor(guests: readonly [Guest, Guest], folder: string) {
    this.guests = guests;
    this.#folder = folder;
  }

  /**
   * Boots two machines beside each other and gives their network cards their addresses.
   *
   * @throws {BusbarError} `usage` for machines that do not fit together; as booting fails
   */
  static async boot(machines: readonly [NamedMachine, NamedMachine], options: BootOptions = {}): Promise<GuestPair> {
    const mistakes = pairMistakes(machines.map(({ machine }) => machine));
    if (mistakes.length > 0) {
      throw new BusbarError("usage", mistakes.join("; "), {
        operation: "boot two machines",
        hint: "give the device the same id and size in both, and shared: true",
      });
    }
    // Memory of guests in a file system on a disk would be written there.
    const dir = isFolder("/dev/shm") ? "/dev/shm" : "/tmp";
    removeAbandonedPairs(dir);
    const folder = await Deno.makeTempDir({ prefix: `${PREFIX}${Deno.pid}-${processStartTime(Deno.pid)}-`, dir });
    await using unfinished = new AsyncDisposableStack();
    unfinished.defer(() => removeQuietly(folder));
    const boots = machines.map(async ({ machine, ...named }, i) => {
      const place = PAIR[i] ?? PAIR[0];
      const guest = await Guest.boot({ ...named, machine: pairedMachine(machine, place, folder) }, {
        ...options,
        env: { ...options.env, ...environmentOf(place) },
      });
      unfinished.use(guest);
      await bringUp(guest, place);
      return guest;
    });
    // Both are waited for, so that the one that did boot is ended when the other one did not.
    const [first, second] = await Promise.allSettled(boots);
    for (const one of [first, second]) if (one?.status === "rejected") throw one.reason;
    if (first?.status !== "fulfilled" || second?.status !== "fulfilled") {
      throw new BusbarError("bug", "a boot is missing");
    }
    unfinished.move();
    return new GuestPair([first.value, second.value], folder);
  }

  /** Turns both off. */
  async powerOff(): Promise<void> {
    await Promise.all(this.guests.map((guest) => guest.powerOff()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const guest of this.guests) await guest[Symbol.asyncDispose]();
    removeQuietly(this.#folder);
  }
}

/** What commands in a guest of two find in their environment. */
function environmentOf({ index, address, peer }: PairPlace): Record<string, string> {
  return { BUSBAR_LAB_HOST: String(index), BUSBAR_LAB_ADDRESS: address, BUSBAR_LAB_PEER: peer };
}

/** Loads the driver of the network card, finds the card by its address and gives it its IPv4 address. */
async function bringUp(guest: Guest, { index, address }: PairPlace): Promise<void> {
  const script = `modprobe virtio_net
for card in /sys/class/net/*; do
  [ "$(cat $card/address)" = ${macOf(index)} ] || continue
  /run/busbar/busybox ip addr add ${address}/24 dev \${card##*/} && /run/busbar/busybox ip link set \${card##*/} up
  exit
done
echo "there is no network card" >&2
exit 1`;
  const { code, stderr } = await guest.run(["sh", "-c", script]);
  if (code === 0) return;
  throw new BusbarError("io", `${guest.record.machine}: the network card did not come up: ${stderr.trim()}`, {
    operation: "bring the network up",
  });
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
