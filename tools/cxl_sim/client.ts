/**
 * `cxl_sim client ADDRESS …`: the memory server by hand: reading, writing, and sharing its memory.
 * @module
 */

import { Command, type CommandUnknownOpts, InvalidArgumentError } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";
import { formatBytes, hex, parseBytes } from "../../src/core/units.ts";
import { connectMemory, type MemoryClient, parseServerAddress } from "../../src/sim/host/memory_client.ts";
import {
  ANY_BASE,
  DATA_BYTES,
  EXTENSION_KEY,
  ServerOp,
  type ServerRequest,
  type ServerResponse,
  unpackNumbers,
} from "../../src/sim/serve/protocol.ts";
import { sizeBytes, timeOption, unsigned } from "../cli/arguments.ts";
import { print, printJson } from "../cli/output.ts";
import { mapShared } from "./serve.ts";

type Request = Partial<ServerRequest> & { readonly op: number };

/** What the numbers of a status mean (the reference's, for dynamic capacity and fabric memory). */
const STATUS_TEXT: Readonly<Record<number, string>> = {
  1: "refused, or out of capacity",
  2: "it overlaps with another one",
  3: "there is no such one",
  4: "the request is wrong",
  5: "access denied",
};

/** A status that is not 0 is the answer no. */
function accepted(what: string, response: ServerResponse): ServerResponse {
  if (response.status === 0) return response;
  const text = STATUS_TEXT[response.status] ?? "unknown";
  throw new BusbarError("no", `${what}: the server answers ${response.status}: ${text}`, {
    operation: what,
    hint: "cxl_sim client ADDRESS stats shows what the server has",
  });
}

/** Options that all subcommands have, after the global ones of `client`. */
interface Common {
  readonly head?: number | undefined;
  readonly timeout: number;
  readonly json?: true | undefined;
}

function headNumber(text: string): number {
  if (/^\d{1,2}$/.test(text) && Number(text) < 32) return Number(text);
  throw new InvalidArgumentError(`'${text}' is no head: write 0 to 31`);
}

/** Bytes as hexadecimal digits. */
function hexBytes(text: string): Uint8Array {
  const digits = text.replace(/^0x/i, "");
  if (digits === "" || digits.length % 2 !== 0 || /[^0-9a-f]/i.test(digits)) {
    throw new InvalidArgumentError(`'${text}' is no data: write pairs of hexadecimal digits`);
  }
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** Permissions by letters: `rw`, `rwas`. */
function permissionBits(text: string): bigint {
  let bits = 0n;
  for (const letter of text) {
    const at = "rwas".indexOf(letter);
    if (at < 0) throw new InvalidArgumentError(`'${text}': permissions are r read, w write, a atomic, s shared`);
    bits |= 1n << BigInt(at);
  }
  if (bits === 0n) throw new InvalidArgumentError("no permissions: write some of r, w, a, s");
  return bits;
}

/** Connects, chooses the head, does the work and closes. */
async function withServer<T>(address: string, options: Common, work: (client: MemoryClient) => Promise<T>): Promise<T> {
  using client = await connectMemory(parseServerAddress(address), options.timeout, mapShared);
  if (options.head !== undefined) {
    const [response] = await client.exchange([extension(ServerOp.HeadUse, options.head)]);
    if (response !== undefined) accepted(`use head ${options.head}`, response);
  }
  return await work(client);
}

function extension(op: number, value: number): Request {
  return { op, value: BigInt(value), expected: EXTENSION_KEY };
}

/** One request, accepted. */
async function ask(client: MemoryClient, what: string, request: Request): Promise<ServerResponse> {
  const [response] = await client.exchange([{ timestampNs: 0n, ...request }]);
  if (response === undefined) throw new BusbarError("bug", "no answer to one request");
  return accepted(what, response);
}

/** Accesses of at most a line each, at once. */
async function accesses(client: MemoryClient, what: string, requests: readonly Request[]): Promise<ServerResponse[]> {
  const responses: ServerResponse[] = [];
  for (let from = 0; from < requests.length; from += 256) {
    responses.push(...await client.exchange(requests.slice(from, from + 256)));
  }
  return responses.map((response) => accepted(what, response));
}

function pieces(address: bigint, size: number): { address: bigint; from: number; bytes: number }[] {
  const result: { address: bigint; from: number; bytes: number }[] = [];
  for (let from = 0; from < size; from += DATA_BYTES) {
    result.push({ address: address + BigInt(from), from, bytes: Math.min(DATA_BYTES, size - from) });
  }
  return result;
}

/** The largest that one command reads. */
const READ_LIMIT = 1 << 20;

/** The command line of `cxl_sim client`. */
export const client: CommandUnknownOpts = new Command("client")
  .description("Talk to a memory server: read, write, and share its memory by hand.")
  .argument("<address>", "HOST:PORT, :PORT, or the path of a shared-memory file")
  .argument("<action>", "read, write, stats, dcd, gfam or mhsld")
  .argument(
    "[words...]",
    "read ADDRESS SIZE; write ADDRESS HEX; dcd add SIZE|release BASE SIZE|query; gfam grant HOST BASE SIZE PERMISSIONS|revoke HOST BASE SIZE|query; mhsld attach|detach|query HEAD",
  )
  .option("--head <n>", "go through this head of the device; it is the host number too", headNumber)
  .option("--base <address>", "dcd add: where, in place of the first place that fits", unsigned)
  .option("--tag <n>", "dcd: the tag of the extent", unsigned)
  .addOption(timeOption("--timeout <time>", "for connecting and for each answer", "5s"))
  .option("--json", "print one JSON document")
  .action(async (address, action, words, options) => {
    const perform = ACTIONS[action];
    if (perform === undefined) {
      throw new BusbarError("usage", `'${action}' is no action`, { hint: Object.keys(ACTIONS).join(", ") });
    }
    const prepared = perform(words, options);
    const { json, lines } = await withServer(address, options, prepared);
    if (options.json) printJson({ schema: "cxl_sim_client/1", action, ...json });
    else for (const line of lines) print(line);
  });

interface Outcome {
  readonly json: Record<string, unknown>;
  readonly lines: readonly string[];
}

interface ActionOptions extends Common {
  readonly base?: bigint | undefined;
  readonly tag?: bigint | undefined;
}

/** Looks at the words before anything is sent. */
type Action = (words: readonly string[], options: ActionOptions) => (client: MemoryClient) => Promise<Outcome>;

function expectWords(words: readonly string[], form: string): string[] {
  const count = form.split(" ").length - 1;
  if (words.length !== count) throw new BusbarError("usage", `${words.length} words after the action`, { hint: form });
  return [...words];
}

const read: Action = (words) => {
  const [at = "", size = ""] = expectWords(words, "read ADDRESS SIZE");
  const address = unsigned(at);
  const bytes = Number(parseBytes(size));
  if (bytes < 1 || bytes > READ_LIMIT) {
    throw new BusbarError("usage", `${bytes} bytes`, { hint: "1 byte to 1 MiB at once" });
  }
  return async (client) => {
    const parts = pieces(address, bytes);
    const responses = await accesses(
      client,
      "read",
      parts.map((part) => ({ op: ServerOp.Read, address: part.address, size: BigInt(part.bytes) })),
    );
    const data = new Uint8Array(bytes);
    responses.forEach((response, i) => data.set(response.data.subarray(0, parts[i]?.bytes), parts[i]?.from));
    const text = Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");
    const latencyNs = responses.map((response) => Number(response.latencyNs));
    return {
      json: { address: hex(address), data: text, latencyNs },
      lines: [...(text.match(/.{1,128}/g) ?? []), `latency ${latencyNs[0]} ns a line`],
    };
  };
};

const write: Action = (words) => {
  const [at = "", digits = ""] = expectWords(words, "write ADDRESS HEX");
  const address = unsigned(at);
  const data = hexBytes(digits);
  return async (client) => {
    const responses = await accesses(
      client,
      "write",
      pieces(address, data.length).map((part) => ({
        op: ServerOp.Write,
        address: part.address,
        size: BigInt(part.bytes),
        data: data.subarray(part.from, part.from + part.bytes),
      })),
    );
    const latencyNs = responses.map((response) => Number(response.latencyNs));
    return {
      json: { address: hex(address), bytes: data.length, latencyNs },
      lines: [`${data.length} bytes written, latency ${latencyNs[0]} ns a line`],
    };
  };
};

const stats: Action = (words) => {
  expectWords(words, "stats");
  return async (client) => {
    const response = await ask(client, "stats", extension(ServerOp.Stats, 0));
    const [requests, reads, writes, atomics, errors, latencyNs, size, held] = unpackNumbers(response.data, 8).map(
      Number,
    );
    const json = {
      clients: Number(response.oldValue),
      requests,
      reads,
      writes,
      atomics,
      errors,
      latencyNs,
      sizeBytes: size,
      heldBytes: held,
    };
    return {
      json,
      lines: [
        `${formatBytes(size ?? 0)} of memory, ${formatBytes(held ?? 0)} of it written, ${json.clients} client(s)`,
        `${requests} requests: ${reads} reads, ${writes} writes, ${atomics} atomics, ${errors} refused`,
      ],
    };
  };
};

const dcd: Action = ([verb = "", ...words], options) => {
  const tag = options.tag ?? 0n;
  if (verb === "add") {
    const [size = ""] = expectWords(words, "add SIZE");
    const request = { op: ServerOp.DcdAdd, address: options.base ?? ANY_BASE, size: sizeBytes(size), value: tag };
    return async (client) => {
      const { oldValue } = await ask(client, "dcd add", request);
      return {
        json: { base: hex(oldValue), sizeBytes: String(request.size) },
        lines: [`extent at ${hex(oldValue)}, ${formatBytes(request.size)}`],
      };
    };
  }
  if (verb === "release") {
    const [base = "", size = ""] = expectWords(words, "release BASE SIZE");
    const request = { op: ServerOp.DcdRelease, address: unsigned(base), size: sizeBytes(size), value: tag };
    return async (client) => {
      await ask(client, "dcd release", request);
      return { json: { released: true }, lines: ["released"] };
    };
  }
  if (verb !== "query") {
    throw new BusbarError("usage", `dcd '${verb}'`, { hint: "dcd add SIZE, release BASE SIZE, query" });
  }
  expectWords(words, "query");
  return async (client) => {
    const response = await ask(client, "dcd query", { op: ServerOp.DcdQuery });
    const [total = 0n, free = 0n, extents = 0n, failed = 0n] = unpackNumbers(response.data, 4);
    return {
      json: {
        totalBytes: String(total),
        allocatedBytes: String(response.oldValue),
        freeBytes: String(free),
        extents: Number(extents),
        failedRequests: Number(failed),
      },
      lines: [
        `${formatBytes(response.oldValue)} of ${formatBytes(total)} in ${extents} extent(s), ${
          formatBytes(free)
        } free, ${failed} refused`,
      ],
    };
  };
};

const gfam: Action = ([verb = "", ...words]) => {
  if (verb === "grant" || verb === "revoke") {
    const grant = verb === "grant";
    const [host = "", base = "", size = "", letters = ""] = expectWords(
      words,
      grant ? "grant HOST BASE SIZE PERMISSIONS" : "revoke HOST BASE SIZE",
    );
    const request = {
      op: grant ? ServerOp.GfamMap : ServerOp.GfamUnmap,
      value: BigInt(headNumber(host)),
      address: unsigned(base),
      size: sizeBytes(size),
      expected: grant ? permissionBits(letters) : 0n,
    };
    return async (client) => {
      await ask(client, `gfam ${verb}`, request);
      return { json: { done: true }, lines: [grant ? "granted" : "revoked"] };
    };
  }
  if (verb !== "query") {
    throw new BusbarError("usage", `gfam '${verb}'`, {
      hint: "gfam grant HOST BASE SIZE PERMISSIONS, revoke HOST BASE SIZE, query",
    });
  }
  expectWords(words, "query");
  return async (client) => {
    const response = await ask(client, "gfam query", { op: ServerOp.GfamQuery });
    const [grants, shared, reads, writes, atomics, denied] = unpackNumbers(response.data, 6).map(Number);
    const hosts = Number(response.oldValue);
    return {
      json: { hosts, grants, sharedGrants: shared, reads, writes, atomics, denied },
      lines: [
        `${grants} grant(s) to ${hosts} host(s), ${shared} shared; ${reads} reads, ${writes} writes, ${atomics} atomics, ${denied} denied`,
      ],
    };
  };
};

const HEAD_OPS: Readonly<Record<string, number>> = {
  attach: ServerOp.HeadAttach,
  detach: ServerOp.HeadDetach,
  query: ServerOp.HeadQuery,
};

const mhsld: Action = ([verb = "", ...words]) => {
  const op = HEAD_OPS[verb];
  if (op === undefined) {
    throw new BusbarError("usage", `mhsld '${verb}'`, { hint: "mhsld attach HEAD, detach HEAD, query HEAD" });
  }
  const [number = ""] = expectWords(words, `${verb} HEAD`);
  const head = headNumber(number);
  return async (client) => {
    const response = await ask(client, `mhsld ${verb} ${head}`, extension(op, head));
    const heads = Number(response.oldValue);
    if (verb !== "query") return { json: { head, heads }, lines: [`head ${head} ${verb}ed; ${heads} attached`] };
    const [reads, writes, latencyNs, conflicts] = unpackNumbers(response.data, 4).map(Number);
    return {
      json: { head, heads, reads, writes, latencyNs, conflicts },
      lines: [`head ${head}: ${reads} reads, ${writes} writes, ${latencyNs} ns, ${conflicts} conflicts`],
    };
  };
};

const ACTIONS: Readonly<Record<string, Action>> = { read, write, stats, dcd, gfam, mhsld };
