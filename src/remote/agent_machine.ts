/**
 * A machine that an agent reaches.
 * @module
 */

import { BusbarError, errnoError } from "../core/error.ts";
import type { FileKind, Files, FileStatus } from "../core/files.ts";
import type { Host } from "../core/host.ts";
import type { Machine, NvmeAdmin, RegisterRange } from "../core/machine.ts";
import type { MachineMemory } from "../core/memory_loops.ts";
import type { Mmio, WritableMmio } from "../core/mmio.ts";
import type { OradaxDriver } from "../core/oradax_driver.ts";
import type { MachineJournals } from "../core/undo/machine_journals.ts";
import { AgentHost } from "./agent_host.ts";
import { agentJournals } from "./agent_journal.ts";
import { agentMemory } from "./agent_memory.ts";
import { openAgentOradax } from "./agent_oradax.ts";
import { AgentRegisters } from "./agent_registers.ts";
import type { AgentConnection } from "./connection.ts";
import type { Right } from "./operations.ts";
import { ask, ReplyReader } from "./wire.ts";

const ENOENT = 2;
const ENOTDIR = 20;
const EOPNOTSUPP = 95;

/** How a machine's connections are opened; each right has one of its own, opened when it is first needed. */
export type Connector = (right: Right) => AgentConnection;

/** A machine through its agents. Dispose ends the connections. */
export class AgentMachine implements Machine, Disposable {
  readonly name: string;
  readonly host: Host;
  readonly files: Files;
  readonly journals: MachineJournals;
  readonly memory: MachineMemory;
  readonly #connect: Connector;
  readonly #connections = new Map<Right, AgentConnection>();

  /** Connects to nothing yet. */
  constructor(name: string, connect: Connector) {
    this.name = name;
    this.#connect = connect;
    const reader = (): AgentConnection => this.connection("read");
    const writer = (): AgentConnection => this.connection("write");
    this.host = new AgentHost(name, reader, writer);
    this.journals = agentJournals(name, reader, writer);
    this.files = agentFiles(reader);
    this.memory = agentMemory(reader, writer);
  }

  /** The connection that may do this, opened when there is none. @throws {BusbarError} as opening it fails */
  connection(right: Right): AgentConnection {
    const known = this.#connections.get(right);
    if (known !== undefined) return known;
    const opened = this.#connect(right);
    this.#connections.set(right, opened);
    return opened;
  }

  /** How many requests were sent over all connections. */
  get roundTrips(): number {
    return [...this.#connections.values()].reduce((sum, { roundTrips }) => sum + roundTrips, 0);
  }

  mapRegisters(range: RegisterRange): Mmio & Disposable {
    return new AgentRegisters(this.connection("read"), range, false);
  }

  mapWritableRegisters(range: RegisterRange): WritableMmio & Disposable {
    return new AgentRegisters(this.connection("write"), range, true);
  }

  openNvmeAdmin(path: string): NvmeAdmin {
    return openAgentNvme(this.connection("read"), path);
  }

  openOradax(path: string): OradaxDriver {
    return openAgentOradax(this.connection("accelerator"), path);
  }

  [Symbol.dispose](): void {
    for (const connection of this.#connections.values()) connection[Symbol.dispose]();
    this.#connections.clear();
  }
}

const KINDS: Readonly<Record<number, FileKind>> = {
  0o001: "FIFO",
  0o002: "character device",
  0o004: "directory",
  0o006: "block device",
  0o010: "file",
  0o014: "socket",
};

function agentFiles(reader: () => AgentConnection): Files {
  return {
    status(path: string): FileStatus | null {
      const [reply] = reader().ask([ask("status", path)]);
      if (reply?.status === -ENOENT || reply?.status === -ENOTDIR) return null;
      const words = new ReplyReader(reader().checked(reply, "stat", { path }).bytes);
      const sizeBytes = words.u64();
      const [mode, uid, gid] = [words.u32(), words.u32(), words.u32()];
      const [major, minor, deviceMajor, deviceMinor] = [words.u32(), words.u32(), words.u32(), words.u32()];
      return {
        kind: KINDS[mode >>> 12] ?? "other",
        sizeBytes,
        mode: mode & 0o7777,
        uid,
        gid,
        onDevice: `${major}:${minor}`,
        device: `${deviceMajor}:${deviceMinor}`,
      };
    },
    whyNotOpen(path: string, writable: boolean): BusbarError | null {
      const [reply] = reader().ask([ask("tryOpen", path, writable ? 1 : 0)]);
      return reply !== undefined && reply.status < 0 ? errnoError(-reply.status, "open", { path }) : null;
    },
    isDax(path: string): boolean | null {
      const [reply] = reader().ask([ask("isDax", path)]);
      if (reply?.status === -EOPNOTSUPP) return null;
      return reader().checked(reply, "stat", { path }).status === 1;
    },
  };
}

function openAgentNvme(connection: AgentConnection, path: string): NvmeAdmin {
  let handle: number | null = new ReplyReader(
    connection.askOne(ask("openNvme", path), "open", { path, hint: "run as root there" }).bytes,
  ).u32();
  return {
    async execute(words, data, metadata, timeoutMs): ReturnType<NvmeAdmin["execute"]> {
      if (handle === null) throw new BusbarError("closed", `${path} was used after it was closed`, { path });
      const command = new DataView(new ArrayBuffer(64));
      for (let i = 0; i < 16; i++) command.setUint32(4 * i, words[i] ?? 0, true);
      const goesThere = ((words[0] ?? 0) & 1) === 1;
      const part = (bytes: Uint8Array<ArrayBuffer> | null): [Uint8Array, number] => [
        goesThere && bytes !== null ? bytes : new Uint8Array(0),
        bytes?.length ?? 0,
      ];
      const limitMs = Math.max(1, Math.round(timeoutMs));
      const one = ask(
        "nvmeAdmin",
        handle,
        new Uint8Array(command.buffer),
        ...part(data),
        ...part(metadata),
        limitMs,
      );
      const details = { path, hint: "run as root there" };
      const reply = await connection.askSlowly(one, "send a command through the kernel", details, limitMs);
      const reader = new ReplyReader(reply.bytes);
      const result = reader.u32();
      if (!goesThere && data !== null) data.set(reader.bytes(data.length));
      if (!goesThere && metadata !== null) metadata.set(reader.bytes(metadata.length));
      return { status: reply.status, result };
    },
    [Symbol.dispose](): void {
      const open = handle;
      handle = null;
      if (open !== null && !connection.isBroken) connection.ask([ask("close", open)]);
    },
  };
}
