/**
 * QEMU's machine protocol: act on the machine from outside, as a person with a screwdriver would.
 * Command and event names are those of the QEMU QMP Reference Manual.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { formatDurationMs } from "../core/units.ts";
import { LineReader } from "./line_reader.ts";
import type { BlockError } from "./description.ts";
import type { QemuDevice } from "./qemu.ts";
import type { QemuValue } from "./qemu_option.ts";
import { connect } from "./qemu_process.ts";

/** QEMU answers a command within milliseconds; a machine that swaps needs more. */
const ANSWER_LIMIT_MS = 20_000;

/** The guest has to let go of a device before it is gone. */
const UNPLUG_LIMIT_MS = 30_000;

/** Something that happened in the machine. */
export interface QmpEvent {
  /** Its name: `DEVICE_DELETED`. */
  readonly event: string;
  /** What QEMU says about it. */
  readonly data: Readonly<Record<string, unknown>>;
}

interface Waiter {
  readonly wants: (event: QmpEvent) => boolean;
  readonly resolve: (event: QmpEvent) => void;
}

/** A connection to a running QEMU. */
export class Qmp implements AsyncDisposable {
  readonly #port: Deno.UnixConn;
  readonly #lines: LineReader;
  readonly #ended: Promise<never>;
  readonly #removable: ReadonlyMap<string, QemuDevice>;
  readonly #answers = new Map<number, (answer: Answer) => void>();
  readonly #waiters = new Set<Waiter>();
  readonly #injected = new Set<string>();
  #reading: Promise<void> = Promise.resolve();
  #lastId = 0;

  private constructor(port: Deno.UnixConn, ended: Promise<never>, removable: ReadonlyMap<string, QemuDevice>) {
    this.#port = port;
    this.#lines = new LineReader(port.readable);
    this.#ended = ended;
    this.#removable = removable;
  }

  /**
   * Connects. One process at a time can.
   *
   * @param ended rejects when QEMU ends
   * @param removable the devices that {@linkcode Qmp.plug} can put back
   */
  static async open(
    path: string,
    ended: Promise<never>,
    removable: ReadonlyMap<string, QemuDevice>,
  ): Promise<Qmp> {
    const qmp = new Qmp(await connect(path, ended), ended, removable);
    try {
      // The greeting comes first; QEMU takes commands when it has been answered.
      await qmp.#within(qmp.#lines.next(), ANSWER_LIMIT_MS, "QEMU's greeting");
      qmp.#reading = qmp.#read();
      await qmp.execute("qmp_capabilities");
      return qmp;
    } catch (error) {
      await qmp[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Executes any command of the protocol.
   *
   * @returns what QEMU returns
   * @throws {BusbarError} `device-failed` with QEMU's words when it refuses
   */
  async execute(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const id = ++this.#lastId;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#answers.set(id, resolve);
    const bytes = new TextEncoder().encode(JSON.stringify({ execute: command, arguments: args, id }) + "\n");
    for (let at = 0; at < bytes.length;) at += await this.#port.write(bytes.subarray(at));
    const answer = await this.#within(promise, ANSWER_LIMIT_MS, `the answer to ${command}`);
    this.#answers.delete(id);
    if ("error" in answer) {
      throw new BusbarError("device-failed", `QEMU refuses ${command}: ${answer.error.desc}`, { operation: command });
    }
    return answer.return;
  }

  /**
   * Waits for an event that happens from now on. Ask before doing what causes it.
   *
   * @param wants which of the events with this name; the first one by default
   * @throws {BusbarError} `timeout`
   */
  async waitForEvent(
    name: string,
    timeoutMs: number = ANSWER_LIMIT_MS,
    wants: (data: QmpEvent["data"]) => boolean = (): boolean => true,
  ): Promise<QmpEvent> {
    const { promise, resolve } = Promise.withResolvers<QmpEvent>();
    const waiter = { wants: (event: QmpEvent): boolean => event.event === name && wants(event.data), resolve };
    this.#waiters.add(waiter);
    try {
      return await this.#within(promise, timeoutMs, `the event ${name}`);
    } finally {
      this.#waiters.delete(waiter);
    }
  }

  /**
   * Pulls a device out and waits until it is gone. Its driver in the guest is told first.
   *
   * @param id the device's id in the machine's description
   * @throws {BusbarError} `device-failed` when its slot cannot unplug, `timeout` when the guest does not let go
   */
  async unplug(id: string): Promise<void> {
    const gone = this.waitForEvent("DEVICE_DELETED", UNPLUG_LIMIT_MS, (data) => data["device"] === id);
    gone.catch(() => {});
    await this.execute("device_del", { id });
    await gone;
  }

  /**
   * Puts a device back that was pulled out.
   *
   * @throws {BusbarError} `absent` when the machine has no removable device of this id
   */
  async plug(id: string): Promise<void> {
    const device = this.#removable.get(id);
    if (device === undefined) {
      throw new BusbarError("absent", `'${id}' is no removable device of this machine`, {
        operation: "plug",
        hint: `removable: ${[...this.#removable.keys()].join(", ") || "none; write hotplug: true in the description"}`,
      });
    }
    await this.execute("device_add", { driver: device.driver, ...jsonProperties(device) });
  }

  /**
   * Makes reads and writes of a namespace fail from now on, until {@linkcode Qmp.clearErrors}.
   *
   * @param drive controller id and namespace id: `nvme0-1`
   */
  async injectErrors(drive: string, errors: readonly Partial<BlockError>[]): Promise<void> {
    await this.clearErrors(drive);
    const node = `${drive}-injected`;
    await this.execute("blockdev-add", {
      driver: "blkdebug",
      "node-name": node,
      image: `${drive}-file`,
      discard: "unmap",
      "inject-error": errors.map(({ event = "read_aio", errno = 5, sector, once = false }) => ({
        event,
        errno,
        once,
        ...(sector === undefined ? {} : { sector }),
      })),
    });
    this.#injected.add(drive);
    await this.#putUnder(drive, node);
  }

  /** Ends what {@linkcode Qmp.injectErrors} began. */
  async clearErrors(drive: string): Promise<void> {
    if (!this.#injected.delete(drive)) return;
    await this.#putUnder(drive, `${drive}-file`);
    await this.execute("blockdev-del", { "node-name": `${drive}-injected` });
  }

  async #putUnder(drive: string, node: string): Promise<void> {
    const options = [{ driver: "raw", "node-name": drive, file: node, discard: "unmap" }];
    await this.execute("blockdev-reopen", { options });
  }

  /** Sends every processor a non-maskable interrupt. */
  async nmi(): Promise<void> {
    await this.execute("inject-nmi");
  }

  /**
   * Presses the reset button. The lab's machines end when they reboot; this one does not until `whenUp` has settled:
   * the firmware resets once more on its own.
   *
   * @param whenUp waits until the machine is up again
   */
  async reset(whenUp: () => Promise<void>): Promise<void> {
    await this.execute("set-action", { reboot: "reset" });
    try {
      const happened = this.waitForEvent("RESET");
      happened.catch(() => {});
      await this.execute("system_reset");
      await happened;
      await whenUp();
    } finally {
      await this.execute("set-action", { reboot: "shutdown" });
    }
  }

  async #read(): Promise<void> {
    try {
      for (let line = await this.#lines.next(); line !== null; line = await this.#lines.next()) {
        const message: Message = JSON.parse(line);
        if ("event" in message) {
          const event = { event: message.event, data: message.data ?? {} };
          for (const waiter of this.#waiters) if (waiter.wants(event)) waiter.resolve(event);
        } else this.#answers.get(message.id)?.(message);
      }
    } catch {
      // The connection broke: what waits for an answer learns why from `ended`, or from its own limit.
    }
  }

  /** What `promise` gives, unless QEMU ends or time runs out first. */
  async #within<T>(promise: Promise<T>, limitMs: number, what: string): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(
          new BusbarError("timeout", `${what} did not come within ${formatDurationMs(limitMs)}`, {
            operation: "talk to QEMU",
          }),
        );
      }, limitMs);
    });
    try {
      return await Promise.race([promise, late, this.#ended]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Closes the connection; the machine goes on. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lines.cancel().catch(() => {});
    try {
      this.#port.close();
    } catch {
      // Cancelling the stream has closed it.
    }
    await this.#reading;
  }
}

type Answer = { readonly id: number; readonly return: unknown } | {
  readonly id: number;
  readonly error: { readonly class: string; readonly desc: string };
};

type Message = Answer | { readonly event: string; readonly data?: Record<string, unknown> };

/** Properties as JSON: sizes are plain numbers there. */
function jsonProperties(device: QemuDevice): Record<string, Exclude<QemuValue, bigint>> {
  return Object.fromEntries(
    Object.entries(device.properties).map(([name, value]) => [name, typeof value === "bigint" ? Number(value) : value]),
  );
}
