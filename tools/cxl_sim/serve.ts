/**
 * `cxl_sim serve`: a memory server whose answers say how long a CXL memory would have taken.
 * @module
 */

import { Command, type CommandUnknownOpts, InvalidArgumentError, Option } from "@commander-js/extra-typings";

import { isBusbarError } from "../../src/core/error.ts";
import { thisMachine } from "../../src/core/host.ts";
import { formatBytes, parseBytes } from "../../src/core/units.ts";
import { Mapping } from "../../ffi/memory.ts";
import { SharedServer } from "../../src/sim/host/shared_server.ts";
import { TcpServer } from "../../src/sim/host/tcp_server.ts";
import { endpointMemory, type EndpointSettings } from "../../src/sim/serve/endpoints.ts";
import { DEFAULT_PORT } from "../../src/sim/serve/protocol.ts";
import { MemoryService } from "../../src/sim/serve/service.ts";
import { sizeBytes, timeOption, wholeNumber } from "../cli/arguments.ts";
import { note, print, printJson } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { numberList, positiveNumber, safeSize } from "./trace_options.ts";

/** Within the time that every tool has after a signal. */
const DRAIN_MS = 200;

function portNumber(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65535) return port;
  throw new InvalidArgumentError(`'${text}' is no port: write 0 to 65535`);
}

/** Sizes, one for each endpoint: `256MiB,1GiB`; a bare number means MiB, as everywhere in this tool. */
function sizeList(text: string): number[] {
  return text.split(",").map((part) => safeSize(parseBytes(/^\d+$/.test(part) ? `${part}MiB` : part)));
}

/** The command line of `cxl_sim serve`. */
export const serve: CommandUnknownOpts = new Command("serve")
  .description("Serve memory over TCP or a shared-memory file. Answers carry the latency that the topology would give.")
  .option("-o, --topology <newick>", "the tree of endpoints", "(1)")
  .addOption(
    new Option("-q, --capacity <list>", "size of each endpoint's memory; the addresses follow each other")
      .argParser(sizeList).default([256 << 20], "256MiB"),
  )
  .addOption(
    new Option("-l, --latency <list>", "read,write,… of each endpoint in ns").argParser(numberList)
      .default([200, 250], "200,250"),
  )
  .addOption(
    new Option("-b, --bandwidth <list>", "read,write,… of each endpoint in GB/s").argParser(numberList)
      .default([50, 50], "50,50"),
  )
  .option("--switch-latency <ns>", "of each switch", positiveNumber, 70)
  .option("--switch-bandwidth <GB/s>", "of each switch's uplink", positiveNumber, 50)
  .option("--port <n>", "TCP port; 0 lets the kernel choose", portNumber, DEFAULT_PORT)
  .option("--listen <address>", "let other machines reach it: the protocol has no authentication")
  .addOption(
    new Option("--shared <file>", "a shared-memory file, mode 0600, in place of TCP").conflicts("ivshmem"),
  )
  .option("--ivshmem <file>", "the file of a guest's ivshmem device, in place of TCP; it is neither made nor removed")
  .option("--connections <n>", "clients at once", wholeNumber, 64)
  .option("--rate <n>", "requests a second of each client on TCP", wholeNumber, 1_000_000)
  .option("--memory-limit <size>", "memory that may really be written; 1GiB by default", sizeBytes)
  .option("--labels <size>", "label storage; 128KiB by default", sizeBytes)
  .option("--granularity <size>", "of dynamic capacity, a power of two; 1MiB by default", granularity)
  .option("--enforce-dcd", "refuse accesses outside the extents that were added")
  .option("--enforce-gfam", "refuse accesses that were not granted to the client's host")
  .addOption(timeOption("--idle-timeout <time>", "a silent client is closed after this", "1h"))
  .option("--json", "print one JSON document at the end")
  .action(async (options) => {
    const settings: EndpointSettings = {
      topology: options.topology,
      capacityBytes: options.capacity,
      latencyNs: options.latency,
      bandwidthGBs: options.bandwidth,
      switchLatencyNs: options.switchLatency,
      switchBandwidthGBs: options.switchBandwidth,
    };
    const { sizeBytes, latency, warnings } = endpointMemory(settings);
    for (const warning of warnings) note(`serve: ${warning}`);
    const service = new MemoryService({
      sizeBytes,
      limitBytes: safeSize(options.memoryLimit ?? 1n << 30n),
      labelBytes: Math.min(safeSize(options.labels ?? 1n << 17n), 1 << 28),
      granularityBytes: options.granularity ?? 1 << 20,
      enforceDcd: options.enforceDcd === true,
      enforceGfam: options.enforceGfam === true,
      latency,
    });
    const shared = options.ivshmem ?? options.shared;
    const where = shared === undefined
      ? await serveTcp(service, sizeBytes, options)
      : await serveShared(service, sizeBytes, shared, options.connections, options.ivshmem !== undefined);
    const { requests, reads, writes, atomics, errors } = service.counters;
    if (options.json) printJson({ schema: "cxl_sim_serve/1", where, requests, reads, writes, atomics, errors });
    else {note(
        `serve: ended; ${requests} requests: ${reads} reads, ${writes} writes, ${atomics} atomics, ${errors} refused`,
      );}
  });

/** A power of two in bytes. */
function granularity(text: string): number {
  const size = Number(sizeBytes(text));
  if (Number.isInteger(Math.log2(size)) && size >= 64 && size <= 2 ** 40) return size;
  throw new InvalidArgumentError(`'${text}' is no granularity: write a power of two from 64 bytes on`);
}

async function serveTcp(
  service: MemoryService,
  sizeBytes: number,
  options: {
    listen?: string | undefined;
    port: number;
    connections: number;
    rate: number;
    idleTimeout: number;
    json?: true | undefined;
  },
): Promise<string> {
  const hostname = options.listen ?? "127.0.0.1";
  using server = TcpServer.listen(service, {
    hostname,
    port: options.port,
    connections: options.connections,
    requestsPerSecond: options.rate,
    partialTimeoutMs: 10_000,
    idleTimeoutMs: options.idleTimeout,
    drainMs: DRAIN_MS,
  });
  const where = `${hostname.includes(":") ? `[${hostname}]` : hostname}:${server.port}`;
  if (options.listen !== undefined) {
    note(`serve: everybody who reaches ${where} may read and write this memory: the protocol has no authentication`);
  }
  if (options.json !== true) print(`${formatBytes(sizeBytes)} of memory at ${where}`);
  await server.run(interruption);
  const { clients, refused, broken } = server.report;
  note(`serve: ${clients} clients, ${refused} turned away, ${broken} that broke off`);
  return where;
}

async function serveShared(
  service: MemoryService,
  sizeBytes: number,
  path: string,
  slots: number,
  isIvshmem: boolean,
): Promise<string> {
  using server = isIvshmem
    ? SharedServer.adopt(path, service, slots, mapShared, isAlive)
    : SharedServer.create(path, service, slots, mapShared, isAlive);
  print(`${formatBytes(sizeBytes)} of memory at ${path}`);
  await server.run(interruption);
  return path;
}

/** Maps a shared file for the server and its clients. */
export function mapShared(path: string, sizeBytes: number): Mapping {
  return Mapping.file(path, sizeBytes, { writable: true });
}

/** Whether a process lives; one whose folder cannot be listed lives. */
function isAlive(process: number): boolean {
  try {
    thisMachine.list(`/proc/${process}`);
    return true;
  } catch (error) {
    return !isBusbarError(error, "absent");
  }
}
