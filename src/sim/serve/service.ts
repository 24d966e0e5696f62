/**
 * What the memory server does with a request, whatever way it came. No I/O and no clock.
 * @module
 */

import { DynamicCapacity } from "../pooling/dcd.ts";
import {
  ALL_PERMISSIONS,
  fabricLatencyNs,
  FabricMemory,
  GfamStatus,
  Permission,
  REFERENCE_FABRIC,
} from "../pooling/gfam.ts";
import { LabelStorage } from "../pooling/labels.ts";
import { HEAD_LIMIT, MultiHeadedDevice } from "../pooling/mhsld.ts";
import { done, exact, NO_DATA, refused } from "./answers.ts";
import {
  ANY_BASE,
  DATA_BYTES,
  EXTENSION_KEY,
  packNumbers,
  ServerOp,
  type ServerRequest,
  type ServerResponse,
} from "./protocol.ts";
import type { ServiceClient, ServiceCounters, ServiceSettings } from "./service_settings.ts";
import { SparseMemory } from "./sparse_memory.ts";

/** A longer step of a client's clock counts as this: a wrong clock must not stop time for the others. */
const LONGEST_STEP_NS = 1e9;

/** A client's clock is at most this far behind the one that is furthest. */
const CLOCK_SKEW_NS = 1e5;

/** The memory, its pools and counters. */
export class MemoryService {
  readonly #settings: ServiceSettings;
  readonly #memory: SparseMemory;
  readonly #labels: LabelStorage;
  readonly #capacity: DynamicCapacity;
  readonly #fabric: FabricMemory;
  readonly #heads = new MultiHeadedDevice();
  readonly #clients = new Set<ServiceClient>();
  #nowNs = 0;
  readonly #backInvalidate = { enabled: 0, disabled: 0, invalidated: 0, writtenBack: 0 };
  /** Totals since the start. */
  readonly counters: ServiceCounters = { requests: 0, reads: 0, writes: 0, atomics: 0, errors: 0, latencyNs: 0 };

  /** Memory as the settings say. */
  constructor(settings: ServiceSettings) {
    this.#settings = settings;
    this.#memory = new SparseMemory(settings.sizeBytes, settings.limitBytes);
    this.#labels = new LabelStorage(settings.labelBytes);
    this.#capacity = new DynamicCapacity(settings.sizeBytes, settings.granularityBytes);
    this.#fabric = new FabricMemory(settings.sizeBytes);
  }

  /** A client that has connected. */
  connect(): ServiceClient {
    const client: ServiceClient = { head: null, backInvalidate: false, lastTimestampNs: null, timeNs: this.#nowNs };
    this.#clients.add(client);
    return client;
  }

  /** The client is gone. */
  disconnect(client: ServiceClient): void {
    this.#clients.delete(client);
  }

  /** Serves one request. Whatever is wrong with it becomes a status. */
  handle(request: ServerRequest, client: ServiceClient): ServerResponse {
    this.counters.requests++;
    const response = this.#dispatch(request, client);
    if (response.status !== 0) this.counters.errors++;
    this.counters.latencyNs += Number(response.latencyNs);
    return response;
  }

  #dispatch(request: ServerRequest, client: ServiceClient): ServerResponse {
    switch (request.op) {
      case ServerOp.Read:
      case ServerOp.Write:
      case ServerOp.FetchAdd:
      case ServerOp.CompareSwap:
      case ServerOp.Writeback:
        return this.#access(request, client);
      case ServerOp.Info:
        return done(
          this.#memory.sizeBytes,
          packNumbers(0, this.#memory.sizeBytes, Math.floor(this.#memory.sizeBytes / 64)),
        );
      case ServerOp.Fence:
        return done();
      case ServerOp.LabelRead:
      case ServerOp.LabelWrite:
        return this.#label(request);
      case ServerOp.DcdAdd:
      case ServerOp.DcdRelease:
      case ServerOp.DcdQuery:
        return this.#dynamicCapacity(request, client);
      case ServerOp.GfamMap:
      case ServerOp.GfamUnmap:
      case ServerOp.GfamQuery:
        return this.#fabricMemory(request);
      case ServerOp.BackInvalidateEnable:
      case ServerOp.BackInvalidateDisable:
      case ServerOp.Invalidate:
      case ServerOp.BackInvalidateQuery:
        return this.#backInvalidation(request, client);
      default:
        return request.expected === EXTENSION_KEY ? this.#extension(request, client) : refused();
    }
  }

  /** The range of an access, or null when it is not allowed. */
  #range(request: ServerRequest, sizeBytes: number): { address: number; bytes: number } | null {
    const address = exact(request.address);
    const bytes = exact(request.size);
    if (address === null || bytes === null || bytes < 1 || bytes > DATA_BYTES) return null;
    return address + Math.max(bytes, sizeBytes) <= this.#memory.sizeBytes ? { address, bytes } : null;
  }

  #access(request: ServerRequest, client: ServiceClient): ServerResponse {
    const { op } = request;
    const atomic = op === ServerOp.FetchAdd || op === ServerOp.CompareSwap;
    // Atomic operations are on eight bytes, whatever size says.
    const range = this.#range(request, atomic ? 8 : 0);
    if (range === null) return refused();
    const address = range.address;
    const bytes = atomic ? 8 : range.bytes;
    const write = op !== ServerOp.Read;
    if (this.#settings.enforceDcd && !this.#capacity.holds(address, bytes)) return refused(GfamStatus.NotFound);
    const permission = atomic ? Permission.Atomic : write ? Permission.Write : Permission.Read;
    if (this.#settings.enforceGfam && !this.#fabric.check(client.head ?? 0, address, bytes, permission)) {
      return refused(GfamStatus.AccessDenied);
    }
    const perform = atomic ? this.#atomic(request, address) : this.#copy(request, address, bytes);
    if (perform === null) return refused();
    const latencyNs = this.#latencyOf(request, address, bytes, write, client);
    if (atomic) this.counters.atomics++;
    else if (write) this.counters.writes++;
    else this.counters.reads++;
    if (op === ServerOp.Writeback) this.#backInvalidate.writtenBack++;
    return done(perform.oldValue, perform.data, latencyNs);
  }

  #copy(request: ServerRequest, address: number, bytes: number): { oldValue: bigint; data: Uint8Array } | null {
    if (request.op === ServerOp.Read) {
      const data = new Uint8Array(bytes);
      this.#memory.read(address, data);
      return { oldValue: 0n, data };
    }
    return this.#memory.write(address, request.data.subarray(0, bytes)) ? { oldValue: 0n, data: NO_DATA } : null;
  }

  #atomic(request: ServerRequest, address: number): { oldValue: bigint; data: Uint8Array } | null {
    const { op, expected, value } = request;
    const oldValue = this.#memory.update(
      address,
      (old) => op === ServerOp.FetchAdd ? old + value : old === expected ? value : null,
    );
    return oldValue === null ? null : { oldValue, data: NO_DATA };
  }

  /** Every line that is touched takes its way; the last one to arrive ends the access. */
  #latencyOf(request: ServerRequest, address: number, bytes: number, write: boolean, client: ServiceClient): number {
    const timeNs = this.#timeOf(request.timestampNs, client);
    let latencyNs = 0;
    for (let line = address - address % 64; line < address + bytes; line += 64) {
      latencyNs = Math.max(latencyNs, this.#settings.latency.latencyNs(line, write, timeNs));
    }
    if (this.#settings.enforceGfam) latencyNs += fabricLatencyNs(REFERENCE_FABRIC, bytes, 1);
    if (client.head !== null) this.#heads.access(client.head, address, bytes, write, latencyNs);
    return latencyNs;
  }

  /**
   * A client's timestamp on the server's clock. Clients count from wherever they like, so only differences of one
   * client's timestamps are time; and a client that was silent does not wait for what others did long before.
   * A client without a clock sends 0.
   */
  #timeOf(timestampNs: bigint, client: ServiceClient): number | null {
    if (timestampNs === 0n) return null;
    const step = client.lastTimestampNs === null ? 0 : Number(timestampNs - client.lastTimestampNs);
    client.lastTimestampNs = timestampNs;
    client.timeNs = Math.max(client.timeNs + Math.min(Math.max(step, 0), LONGEST_STEP_NS), this.#nowNs - CLOCK_SKEW_NS);
    this.#nowNs = Math.max(this.#nowNs, client.timeNs);
    return client.timeNs;
  }

  #label(request: ServerRequest): ServerResponse {
    const offset = exact(request.address);
    const bytes = exact(request.size);
    if (offset === null || bytes === null || bytes < 1 || bytes > DATA_BYTES) return refused();
    if (request.op === ServerOp.LabelWrite) {
      return this.#labels.write(offset, request.data.subarray(0, bytes)) ? done() : refused();
    }
    const data = this.#labels.read(offset, bytes);
    return data === null ? refused() : done(0, data);
  }

  #dynamicCapacity(request: ServerRequest, client: ServiceClient): ServerResponse {
    const { totalBytes, allocatedBytes, freeBytes, extents, failedRequests } = this.#capacity.state;
    if (request.op === ServerOp.DcdQuery) {
      return done(allocatedBytes, packNumbers(totalBytes, freeBytes, extents, failedRequests));
    }
    const size = exact(request.size) ?? NaN;
    if (request.op === ServerOp.DcdRelease) {
      const status = this.#capacity.release(exact(request.address) ?? NaN, size, request.value);
      return status === 0 ? done() : refused(status);
    }
    const base = request.address === ANY_BASE ? null : exact(request.address) ?? NaN;
    const extent = this.#capacity.add(base, size, request.value, client.head ?? 0);
    return typeof extent === "number" ? refused(extent) : done(extent.base, packNumbers(extent.sizeBytes, extent.tag));
  }

  #fabricMemory(request: ServerRequest): ServerResponse {
    if (request.op === ServerOp.GfamQuery) {
      const { hosts, grants, sharedGrants, reads, writes, atomics, denied } = this.#fabric.state;
      return done(hosts, packNumbers(grants, sharedGrants, reads, writes, atomics, denied));
    }
    const host = exact(request.value) ?? NaN;
    if (!(host < HEAD_LIMIT)) return refused(GfamStatus.InvalidRequest);
    const base = exact(request.address) ?? NaN;
    const size = exact(request.size) ?? NaN;
    // As in the reference, no permissions at all mean all of them.
    const permissions = request.expected === 0n ? ALL_PERMISSIONS : Number(request.expected & 0xffn);
    const status = request.expected > 0xffn
      ? GfamStatus.InvalidRequest
      : request.op === ServerOp.GfamMap
      ? this.#fabric.grant(host, base, size, permissions)
      : this.#fabric.revoke(host, base, size);
    return status === 0 ? done() : refused(status);
  }

  #backInvalidation(request: ServerRequest, client: ServiceClient): ServerResponse {
    const counts = this.#backInvalidate;
    const { invalidated, writtenBack } = counts;
    const clients = (): number => [...this.#clients].filter((one) => one.backInvalidate).length;
    switch (request.op) {
      case ServerOp.BackInvalidateEnable:
      case ServerOp.BackInvalidateDisable: {
        const enable = request.op === ServerOp.BackInvalidateEnable;
        client.backInvalidate = enable;
        if (enable) counts.enabled++;
        else counts.disabled++;
        return done(clients());
      }
      case ServerOp.Invalidate: {
        // The memory is one: nothing stale is anywhere, so it is only counted.
        const range = this.#range(request, 0);
        if (range === null) return refused();
        const lines = Math.floor((range.address + range.bytes - 1) / 64) - Math.floor(range.address / 64) + 1;
        counts.invalidated += lines;
        return done(lines);
      }
      default:
        return done(
          clients(),
          packNumbers(invalidated + writtenBack, counts.enabled, counts.disabled, invalidated, writtenBack),
        );
    }
  }

  #extension(request: ServerRequest, client: ServiceClient): ServerResponse {
    const head = exact(request.value) ?? NaN;
    switch (request.op) {
      case ServerOp.Stats: {
        const { requests, reads, writes, atomics, errors, latencyNs } = this.counters;
        const { sizeBytes, heldBytes } = this.#memory;
        const numbers = [requests, reads, writes, atomics, errors, Math.round(latencyNs), sizeBytes, heldBytes];
        return done(this.#clients.size, packNumbers(...numbers));
      }
      case ServerOp.HeadAttach:
        return this.#heads.attach(head) ? done(this.#heads.heads.length) : refused();
      case ServerOp.HeadDetach:
        return this.#heads.detach(head) ? done(this.#heads.heads.length) : refused();
      case ServerOp.HeadQuery: {
        const state = this.#heads.head(head);
        if (state === null) return refused(GfamStatus.NotFound);
        const { reads, writes, latencyNs, conflicts } = state;
        return done(this.#heads.heads.length, packNumbers(reads, writes, Math.round(latencyNs), conflicts));
      }
      case ServerOp.HeadUse:
        if (this.#heads.head(head) === null) return refused(GfamStatus.NotFound);
        client.head = head;
        return done(head);
      default:
        return refused();
    }
  }
}
