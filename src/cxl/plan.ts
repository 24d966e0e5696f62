/**
 * Planning a region: which window, devices, decoders and numbers. Pure: from what was read to what will be written, with
 * every reason for a refusal that the kernel would only answer with an error number.
 *
 * Source: Linux drivers/cxl/core/region.c and hdm.c; Documentation/ABI/testing/sysfs-bus-cxl.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { formatBytes } from "../core/units.ts";
import type { CxlDecoder, CxlMemdev, CxlMemoryType, CxlTopology, CxlWindow } from "./topology.ts";

/** Endpoint decoders take memory in units of this many bytes (CXL 3.1, 8.2.4.20.7). */
const UNIT_BYTES = 256n << 20n;

/** The interleaves that CXL knows (CXL 3.1, 8.2.4.20.7, IW). */
const WAYS: readonly number[] = [1, 2, 3, 4, 6, 8, 12, 16];

const MIN_GRANULARITY_BYTES = 256;
const MAX_GRANULARITY_BYTES = 16_384;

/** What a region shall be. What is left out is chosen. */
export interface RegionRequest {
  /** The window: `decoder0.0`. By default the first one that reaches the devices and takes the type. */
  readonly window?: string | undefined;
  /** The memory devices, by name (`mem0`) or serial number (`0x1`). By default as many as can be interleaved. */
  readonly memdevs?: readonly string[] | undefined;
  /** What the memory keeps. By default what window and devices both have; asked for when they have both. */
  readonly type?: CxlMemoryType | undefined;
  /** Over how many devices. By default the number of devices. */
  readonly ways?: number | undefined;
  /** Bytes that go to one device before the next one's turn. By default the window's. */
  readonly granularityBytes?: number | undefined;
  /** Bytes. By default as many as the devices and the window have free. */
  readonly sizeBytes?: bigint | undefined;
  /** Identifies a region of persistent memory. By default a random one. */
  readonly uuid?: string | undefined;
}

/** One device of a region that is to be created. */
export interface RegionTarget {
  /** The memory device: `mem0`. */
  readonly memdev: string;
  /** The endpoint decoder that will be attached: `decoder4.0`. */
  readonly decoder: string;
}

/** A region that can be created. */
export interface RegionPlan {
  /** The window: `decoder0.0`. */
  readonly window: string;
  /** The name that it will have: `region0`. */
  readonly region: string;
  /** What its memory keeps. */
  readonly type: CxlMemoryType;
  /** Bytes. */
  readonly sizeBytes: bigint;
  /** Bytes that go to one device before the next one's turn. */
  readonly granularityBytes: number;
  /** The devices, by position. Their number is the interleave. */
  readonly targets: readonly RegionTarget[];
  /** For persistent memory, else null. */
  readonly uuid: string | null;
}

function usage(message: string, hint?: string): BusbarError {
  return new BusbarError("usage", message, { operation: "plan a region", hint });
}

/**
 * Plans a region.
 *
 * @throws {BusbarError} `usage`, `absent`, `busy` or `out-of-range`: what the request lacks, or what stands in its way
 */
export function planRegion(topology: CxlTopology, request: RegionRequest = {}): RegionPlan {
  checkWays(request.ways);
  const named = request.memdevs?.map((name) => findMemdev(topology, name));
  const window = chooseWindow(topology, request, named);
  const type = chooseType(window, request, named ?? topology.memdevs);
  const devices = named ?? chooseMemdevs(topology, window, type, request.ways);
  const ways = request.ways ?? devices.length;
  if (devices.length !== ways) {
    throw usage(`${ways} ways need ${ways} memory devices, not ${devices.length}`, "name one device for each way");
  }
  checkWays(ways);
  if (ways % window.ways !== 0) {
    throw usage(
      `${window.name} is interleaved over ${window.ways} host bridges: ${ways} devices cannot be spread over them`,
      `the number of devices is a multiple of ${window.ways}; cxl_region list shows windows over one host bridge`,
    );
  }
  const ordered = orderMemdevs(window, devices);
  const granularityBytes = chooseGranularity(window, request.granularityBytes);
  const targets = ordered.map((device) => ({
    memdev: device.name,
    decoder: freeDecoder(topology, device).name,
  }));
  for (const device of ordered) checkPath(topology, device);
  const { nextRegion } = window;
  if (nextRegion === null) {
    throw new BusbarError("unsupported", `${window.name}: this kernel creates no ${type} regions in it`, {
      operation: "plan a region",
      hint: type === "ram" ? "volatile regions need Linux 6.3 and CONFIG_CXL_REGION" : "CONFIG_CXL_REGION is needed",
    });
  }
  return {
    window: window.name,
    region: nextRegion,
    type,
    sizeBytes: chooseSize(topology, window, ordered, type, request.sizeBytes),
    granularityBytes,
    targets,
    uuid: type === "pmem" ? request.uuid ?? crypto.randomUUID() : null,
  };
}

function checkWays(ways: number | undefined): void {
  if (ways === undefined || WAYS.includes(ways)) return;
  throw usage(`an interleave over ${ways} devices does not exist`, `CXL knows ${WAYS.join(", ")}`);
}

/**
 * A memory device by name or serial number.
 *
 * @throws {BusbarError} `absent`
 */
export function findMemdev(topology: CxlTopology, name: string): CxlMemdev {
  const serial = /^(?:0x[0-9a-f]+|\d+)$/i.test(name) ? BigInt(name) : null;
  const found = topology.memdevs.find((device) => device.name === name || device.serial === serial);
  if (found !== undefined) return found;
  const names = topology.memdevs.map((device) => `${device.name} (serial 0x${device.serial.toString(16)})`).join(", ");
  throw new BusbarError("absent", `${name}: no such memory device`, {
    operation: "plan a region",
    path: name,
    hint: names === "" ? "no CXL memory device answers" : `there are ${names}`,
  });
}

function chooseWindow(
  topology: CxlTopology,
  request: RegionRequest,
  devices: readonly CxlMemdev[] | undefined,
): CxlWindow {
  if (topology.windows.length === 0) {
    throw new BusbarError("absent", "firmware gives CXL no window of addresses", {
      operation: "plan a region",
      hint: "the CEDT table has no CFMWS entry: look into the firmware's settings, QEMU: -M cxl-fmw.0…",
    });
  }
  if (request.window !== undefined) {
    const found = topology.windows.find((window) => window.name === request.window);
    if (found !== undefined) return found;
    const there = topology.windows.map((window) => window.name).join(", ");
    throw new BusbarError("absent", `${request.window}: no such window`, {
      operation: "plan a region",
      path: request.window,
      hint: `there are ${there}`,
    });
  }
  const count = request.ways ?? devices?.length;
  const fits = (window: CxlWindow): boolean =>
    (request.type === undefined || window.types.includes(request.type)) &&
    (count === undefined || count % window.ways === 0) &&
    (request.granularityBytes === undefined || window.ways === 1 ||
      window.granularityBytes === request.granularityBytes) &&
    (devices === undefined
      ? window.ways <= (count ?? Infinity) &&
        chooseReachable(topology, window, request.type).length >= (count ?? window.ways)
      : tryOrder(window, devices) !== null);
  const found = topology.windows.find(fits);
  if (found !== undefined) return found;
  throw usage("no window reaches these devices with this interleave", "cxl_region list shows windows and devices");
}

function chooseReachable(topology: CxlTopology, window: CxlWindow, type: CxlMemoryType | undefined): CxlMemdev[] {
  return topology.memdevs.filter((device) =>
    window.bridges.some((bridge) => bridge !== null && device.path.includes(bridge)) &&
    (type === undefined ? device.freeRamBytes + device.freePmemBytes > 0n : freeBytes(device, type) > 0n)
  );
}

/** Without names: one device for each way of the window, the first that are free. */
function chooseMemdevs(
  topology: CxlTopology,
  window: CxlWindow,
  type: CxlMemoryType,
  ways: number | undefined,
): CxlMemdev[] {
  const reachable = chooseReachable(topology, window, type);
  const chosen: CxlMemdev[] = [];
  for (let k = 0; k < (ways ?? window.ways); k++) {
    const bridge = window.bridges[k % window.ways] ?? null;
    const next = reachable.find((device) =>
      bridge !== null && device.path.includes(bridge) && !chosen.includes(device)
    );
    if (next === undefined) {
      throw new BusbarError("absent", `${window.name}: too few memory devices with free ${type} memory are reached`, {
        operation: "plan a region",
        path: window.name,
        hint: "cxl_region list shows devices and what is free on them",
      });
    }
    chosen.push(next);
  }
  return chosen;
}

function chooseType(window: CxlWindow, request: RegionRequest, devices: readonly CxlMemdev[]): CxlMemoryType {
  const has = (type: CxlMemoryType): boolean =>
    window.types.includes(type) && devices.some((device) => (type === "ram" ? device.ramBytes : device.pmemBytes) > 0n);
  if (request.type !== undefined) {
    if (!window.types.includes(request.type)) {
      throw usage(
        `${window.name} takes no ${request.type} regions`,
        `it takes ${window.types.join(" and ") || "none at all"}`,
      );
    }
    return request.type;
  }
  const possible = (["ram", "pmem"] as const).filter(has);
  const [only] = possible;
  if (possible.length === 1 && only !== undefined) return only;
  if (only === undefined) {
    throw usage(
      `${window.name} and these devices have no type of memory in common`,
      "cxl_region list shows what each has",
    );
  }
  throw usage("both volatile and persistent memory is possible here", "say --type ram or --type pmem");
}

/**
 * Brings devices into an order that the window's interleave can address: position k hangs under host bridge k mod ways.
 *
 * @throws {BusbarError} `usage` when there is none
 */
function orderMemdevs(window: CxlWindow, devices: readonly CxlMemdev[]): CxlMemdev[] {
  if (new Set(devices).size !== devices.length) throw usage("a memory device is named twice", "name each device once");
  for (const device of devices) {
    if (device.endpoint !== null) continue;
    throw new BusbarError("unreachable", `${device.name} has no endpoint: no CXL driver reached it`, {
      operation: "plan a region",
      path: device.name,
      hint: "the modules cxl_mem and cxl_port are needed; dmesg says what went wrong",
    });
  }
  const ordered = tryOrder(window, devices);
  if (ordered !== null) return ordered;
  const bridges = window.bridges.map((bridge) => bridge ?? "(none)").join(", ");
  const where = devices.map((device) => `${device.name} under ${device.path[0] ?? "nothing"}`).join(", ");
  throw usage(
    `${window.name} sends addresses to ${bridges}; ${where}`,
    window.ways > 1 ? "each of its host bridges needs the same number of devices" : "choose a window that reaches them",
  );
}

function tryOrder(window: CxlWindow, devices: readonly CxlMemdev[]): CxlMemdev[] | null {
  const left = [...devices];
  const ordered: CxlMemdev[] = [];
  for (let k = 0; k < devices.length; k++) {
    const bridge = window.bridges[k % window.ways] ?? null;
    const at = left.findIndex((device) => bridge !== null && device.path.includes(bridge));
    const [device] = at < 0 ? [] : left.splice(at, 1);
    if (device === undefined) return null;
    ordered.push(device);
  }
  return ordered;
}

function chooseGranularity(window: CxlWindow, wanted: number | undefined): number {
  const granularity = wanted ?? window.granularityBytes;
  const isPowerOfTwo = granularity > 0 && Number.isInteger(Math.log2(granularity));
  if (!isPowerOfTwo || granularity < MIN_GRANULARITY_BYTES || granularity > MAX_GRANULARITY_BYTES) {
    throw usage(
      `an interleave granularity of ${granularity} bytes does not exist`,
      `it is a power of two from ${MIN_GRANULARITY_BYTES} to ${MAX_GRANULARITY_BYTES}`,
    );
  }
  if (window.ways > 1 && granularity !== window.granularityBytes) {
    throw usage(
      `${window.name} is interleaved over ${window.ways} host bridges every ${window.granularityBytes} bytes: ` +
        `a region in it cannot have ${granularity}`,
      `take ${window.granularityBytes}, or a window over one host bridge`,
    );
  }
  return granularity;
}

/** The decoder that the kernel lets us take next: decoders of a device are used in increasing order. */
function freeDecoder(topology: CxlTopology, device: CxlMemdev): CxlDecoder {
  const decoders = topology.decoders.filter((decoder) => decoder.port === device.endpoint);
  const next = decoders.find((decoder) => decoder.reservedBytes === 0n && decoder.region === null && !decoder.locked);
  if (next !== undefined) return next;
  const holders = decoders.map((decoder) => `${decoder.name}: ${decoder.region ?? "reserved"}`).join(", ");
  throw new BusbarError("busy", `${device.name} has no free decoder`, {
    operation: "plan a region",
    path: device.name,
    hint: decoders.length === 0 ? "its endpoint shows none" : `they are taken (${holders})`,
  });
}

/** Every port on the way needs a decoder that no region has. */
function checkPath(topology: CxlTopology, device: CxlMemdev): void {
  for (const port of device.path.slice(0, -1)) {
    const decoders = topology.decoders.filter((decoder) => decoder.port === port);
    if (decoders.length === 0 || decoders.some((decoder) => decoder.region === null)) continue;
    throw new BusbarError("busy", `${port}, on the way to ${device.name}, has no free decoder`, {
      operation: "plan a region",
      path: port,
      hint: `regions that use it: ${[...new Set(decoders.map((decoder) => decoder.region))].join(", ")}`,
    });
  }
}

function freeBytes(device: CxlMemdev, type: CxlMemoryType): bigint {
  return type === "ram" ? device.freeRamBytes : device.freePmemBytes;
}

function chooseSize(
  topology: CxlTopology,
  window: CxlWindow,
  devices: readonly CxlMemdev[],
  type: CxlMemoryType,
  wanted: bigint | undefined,
): bigint {
  const ways = BigInt(devices.length);
  const unit = UNIT_BYTES * ways;
  const smallest = devices.reduce((a, b) => freeBytes(b, type) < freeBytes(a, type) ? b : a);
  const free = freeBytes(smallest, type);
  const extent = largestExtent(topology, window);
  const most = (free * ways < extent ? free * ways : extent) / unit * unit;
  if (wanted === undefined) {
    if (most > 0n) return most;
    throw new BusbarError(
      "busy",
      `nothing is left for a region: ${smallest.name} has ${formatBytes(free)} of ${type} free, ` +
        `${window.name} ${formatBytes(extent)} of addresses`,
      { operation: "plan a region", path: window.name, hint: `it takes ${formatBytes(unit)} at least` },
    );
  }
  if (wanted === 0n || wanted % unit !== 0n) {
    const below = wanted / unit * unit;
    const choices = below === 0n ? formatBytes(unit) : `${formatBytes(below)} or ${formatBytes(below + unit)}`;
    throw usage(
      `a region of ${formatBytes(wanted)} is not possible: ${ways} devices take multiples of ${formatBytes(unit)}`,
      `take ${choices}`,
    );
  }
  if (wanted > most) {
    throw new BusbarError(
      "out-of-range",
      `${formatBytes(wanted)} is too much: ${smallest.name} has ${formatBytes(free)} of ${type} free, ` +
        `${window.name} ${formatBytes(extent)} of addresses`,
      {
        operation: "plan a region",
        path: window.name,
        hint: most === 0n ? "nothing is left" : `at most ${formatBytes(most)}`,
      },
    );
  }
  return wanted;
}

/** The largest run of addresses of a window that no region has, in bytes. */
export function largestExtent(topology: CxlTopology, window: CxlWindow): bigint {
  const end = window.start + window.sizeBytes;
  const taken = topology.regions
    .flatMap(({ start, sizeBytes }) => start === null || sizeBytes === 0n ? [] : [{ start, end: start + sizeBytes }])
    .filter((region) => region.start < end && region.end > window.start)
    .sort((a, b) => a.start < b.start ? -1 : 1);
  let largest = 0n;
  let at = window.start;
  for (const region of [...taken, { start: end, end }]) {
    if (region.start - at > largest) largest = region.start - at;
    if (region.end > at) at = region.end;
  }
  return largest;
}
