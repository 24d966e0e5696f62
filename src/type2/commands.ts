/**
 * The commands of a CXL Type 2 GPU: codes, arguments, results, use of DATA, and how they fail.
 *
 * Source: the public protocol of the QEMU device `cxl-type2`; F0 to FB are busbar's extension.
 * @module
 */

/** The feature that a command belongs to: a bit of CAPS, peers (generation 2, no bit), the extension block, or none. */
export type Feature =
  | "common"
  | "BULK"
  | "CACHE_COHERENT"
  | "COHERENT_POOL"
  | "DEVICE_BIAS"
  | "DCD"
  | "GFAM"
  | "MHSLD"
  | "PEERS"
  | "FORK_J"
  | "EXTENSION";

/** What a command does with DATA. */
export type DataUse = "none" | "in" | "out";

/** A command. */
export interface CommandRow {
  /** What is written to CMD. */
  readonly code: number;
  /** Its name. */
  readonly name: string;
  /** What it does. */
  readonly title: string;
  /** PARAM0 upwards, in words; empty for one that is not used. */
  readonly inputs: readonly string[];
  /** RESULT0 upwards, in words. */
  readonly results: readonly string[];
  /** Whether it reads or fills DATA. */
  readonly data: DataUse;
  /** Results other than 0 that it may give. */
  readonly errors: readonly number[];
  /** The feature it belongs to. */
  readonly feature: Feature;
  /** It answers 3 while STATUS lacks READY. */
  readonly needsReady: boolean;
  /** Devices of the public code answer 1; a client does it otherwise. */
  readonly isEmulated: boolean;
}

interface More {
  readonly data?: DataUse;
  readonly feature?: Feature;
  readonly always?: true;
  readonly emulated?: true;
}

function cmd(
  code: number,
  name: string,
  title: string,
  inputs: readonly string[],
  results: readonly string[],
  errors: readonly number[],
  more: More = {},
): CommandRow {
  return {
    code,
    name,
    title,
    inputs,
    results,
    data: more.data ?? "none",
    errors: more.always ? errors : [...errors, 3],
    feature: more.feature ?? "common",
    needsReady: more.always !== true,
    isEmulated: more.emulated === true,
  };
}

const POOL = { feature: "COHERENT_POOL", always: true } as const;
const BIAS = { feature: "DEVICE_BIAS", always: true } as const;
const COHERENT = { feature: "CACHE_COHERENT", always: true } as const;
const BULK = { feature: "BULK" } as const;
const PEERS = { feature: "PEERS", always: true } as const;
const EXTENSION = { feature: "EXTENSION" } as const;
const EMULATED = { emulated: true } as const;

/** Every command, by ascending code. */
export const COMMANDS: readonly CommandRow[] = [
  cmd(0x00, "NOP", "does nothing", [], [], [], { always: true }),
  cmd(0x01, "INIT", "starts the backend", [], [], []),
  cmd(0x02, "GET_DEVICE_COUNT", "how many devices", [], ["devices; 0 without a backend"], [], { always: true }),
  cmd(0x03, "GET_DEVICE", "handle of a device", ["ordinal"], ["handle"], [101], { always: true }),
  cmd(0x04, "GET_DEVICE_NAME", "its name", [], [], [], { data: "out", always: true, emulated: true }),
  cmd(
    0x05,
    "GET_DEVICE_PROPS",
    "name and properties",
    [],
    [
      "memory in bytes",
      "major << 16 | minor",
      "multiprocessors",
      "threads of a block",
    ],
    [],
    { data: "out", always: true },
  ),
  cmd(0x06, "GET_TOTAL_MEM", "its memory", [], ["bytes"], [], { always: true }),
  cmd(0x10, "CTX_CREATE", "makes the session's context", [], ["handle"], [2, 201]),
  cmd(0x11, "CTX_DESTROY", "destroys it with all that is in it", ["handle"], [], [201]),
  cmd(0x12, "CTX_SYNC", "waits for all of it, at most 100 ms", [], [], [600, 700]),
  cmd(0x20, "MEM_ALLOC", "allocates device memory", ["bytes"], ["device pointer"], [1, 2]),
  cmd(0x21, "MEM_FREE", "frees it", ["device pointer"], [], [1]),
  cmd(0x22, "MEM_COPY_HTOD", "copies DATA to the device", ["destination", "bytes"], [], [1, 700], { data: "in" }),
  cmd(0x23, "MEM_COPY_DTOH", "copies to DATA", ["source", "bytes"], [], [1, 700], { data: "out" }),
  cmd(0x24, "MEM_COPY_DTOD", "copies on the device", ["destination", "source", "bytes"], [], [1, 700], EMULATED),
  cmd(
    0x25,
    "MEM_SET",
    "fills device memory",
    ["destination", "value", "count", "bytes of an element: 0, 1, 2, 4"],
    [],
    [
      1,
      700,
    ],
    EMULATED,
  ),
  cmd(0x26, "MEM_GET_INFO", "free and total memory", [], ["free bytes", "total bytes"], [], EMULATED),
  cmd(0x30, "MODULE_LOAD_PTX", "loads PTX text", [], ["module"], [2, 800], { data: "in" }),
  cmd(0x31, "MODULE_UNLOAD", "unloads it", ["module"], [], [400], EMULATED),
  cmd(0x32, "FUNC_GET", "finds a kernel by name", ["module"], ["function"], [2, 400, 500], { data: "in" }),
  cmd(
    0x40,
    "LAUNCH_KERNEL",
    "runs a kernel",
    [
      "function",
      "grid x | grid y << 32",
      "grid z | block x << 32",
      "block y | block z << 32",
      "shared bytes | slots << 32",
      "stream",
    ],
    [],
    [1, 400, 600, 700],
    { data: "in" },
  ),
  cmd(0x50, "STREAM_CREATE", "makes a stream", ["flags"], ["stream"], [2], EMULATED),
  cmd(0x51, "STREAM_DESTROY", "destroys it", ["stream"], [], [400], EMULATED),
  cmd(0x52, "STREAM_SYNC", "waits for it, at most 100 ms", ["stream"], [], [400, 600, 700], EMULATED),
  cmd(0x60, "EVENT_CREATE", "makes an event", ["flags"], ["event"], [2], EMULATED),
  cmd(0x61, "EVENT_DESTROY", "destroys it", ["event"], [], [400], EMULATED),
  cmd(0x62, "EVENT_RECORD", "records it", ["event", "stream"], [], [400], EMULATED),
  cmd(0x63, "EVENT_SYNC", "waits for it, at most 100 ms", ["event"], [], [400, 600, 700], EMULATED),
  cmd(
    0x70,
    "BULK_HTOD",
    "copies from BAR4 to the device",
    [
      "BAR4 offset",
      "device destination",
      "bytes",
      "stream",
      "bit 0: return at once",
    ],
    [],
    [1, 400, 700],
    BULK,
  ),
  cmd(
    0x71,
    "BULK_DTOH",
    "copies from the device to BAR4",
    [
      "device source",
      "BAR4 offset",
      "bytes",
      "stream",
      "bit 0: return at once",
    ],
    [],
    [1, 400, 700],
    BULK,
  ),
  cmd(
    0x72,
    "BULK_DTOD",
    "copies on the device",
    ["source", "destination", "bytes", "stream", "bit 0: return at once"],
    [],
    [
      1,
      400,
      700,
    ],
    BULK,
  ),
  cmd(0x80, "CACHE_FLUSH", "CPU writes back and drops lines", ["BAR4 offset", "bytes"], [], [1], COHERENT),
  cmd(0x81, "CACHE_INVALIDATE", "CPU drops lines", ["BAR4 offset", "bytes"], [], [1], COHERENT),
  cmd(0x82, "CACHE_WRITEBACK", "CPU writes lines back", ["BAR4 offset", "bytes"], [], [1], COHERENT),
  cmd(0x83, "CACHE_PREFETCH", "CPU takes lines", ["BAR4 offset", "bytes", "bit 0: to write"], ["bytes"], [1], COHERENT),
  cmd(0x90, "P2P_DISCOVER", "looks for peers", [], ["peers"], [], PEERS),
  cmd(0x91, "P2P_PEER_INFO", "what a peer is", ["peer"], ["type", "bytes", "coherent"], [1], PEERS),
  cmd(0x92, "P2P_GPU_TO_MEM", "copies to a peer", ["peer", "BAR4 offset", "peer offset", "bytes"], [], [2], PEERS),
  cmd(0x93, "P2P_MEM_TO_GPU", "copies from a peer", ["peer", "peer offset", "BAR4 offset", "bytes"], [], [2], PEERS),
  cmd(
    0x94,
    "P2P_MEM_TO_MEM",
    "copies between peers",
    [
      "source peer",
      "destination peer",
      "source offset",
      "destination offset",
      "bytes",
    ],
    [],
    [2],
    PEERS,
  ),
  cmd(0x95, "P2P_SYNC", "waits for peer copies", [], [], [], PEERS),
  cmd(0x96, "P2P_STATUS", "counts of peer copies", [], ["peers", "copies", "bytes"], [], PEERS),
  cmd(0xa0, "COHERENT_ALLOC", "takes memory of the pool", ["bytes"], ["BAR4 offset"], [1, 2], POOL),
  cmd(0xa1, "COHERENT_FREE", "gives it back", ["BAR4 offset"], [], [1], POOL),
  cmd(0xa2, "COHERENT_INFO", "what the pool has", [], ["base", "bytes", "free bytes", "lines tracked"], [], POOL),
  cmd(0xa3, "COHERENT_FENCE", "orders accesses to the pool", [], [], [], POOL),
  cmd(0xa4, "SET_BIAS", "sets the bias of lines", ["BAR4 offset", "bytes", "granularity << 8 | mode"], [], [1], BIAS),
  cmd(0xa5, "GET_BIAS", "bias of a line", ["BAR4 offset"], ["mode: 0 host, 1 device"], [1], BIAS),
  cmd(0xa6, "BIAS_FLIP", "as SET_BIAS", ["BAR4 offset", "bytes", "granularity << 8 | mode"], [], [1], BIAS),
  cmd(0xb0, "COH_GET_STATS", "counters of the engine", [], ["hits", "misses", "requests", "back-invalidations"], [], {
    ...COHERENT,
    data: "out",
  }),
  cmd(0xb1, "COH_RESET_STATS", "sets them to 0", [], [], [], COHERENT),
  cmd(0xb2, "RANGE_ACQUIRE", "takes lines", ["BAR4 offset", "bytes", "1: to write"], ["lines"], [1], {
    feature: "FORK_J",
    always: true,
  }),
  cmd(0xb3, "RANGE_RELEASE", "gives lines back", ["BAR4 offset", "bytes", "1: dirty"], ["lines"], [1], {
    feature: "FORK_J",
    always: true,
  }),
  cmd(
    0xc0,
    "DCD_ADD",
    "adds an extent",
    ["base, or all ones for any", "bytes", "tag, 0 for a new one"],
    [
      "base",
      "bytes",
      "tag",
      "allocated bytes",
    ],
    [1, 2],
    { feature: "DCD", always: true },
  ),
  cmd(0xc1, "DCD_RELEASE", "releases an extent", ["base", "bytes", "tag, 0 for any"], ["allocated bytes"], [1], {
    feature: "DCD",
    always: true,
  }),
  cmd(0xc2, "DCD_INFO", "what there is", [], ["total bytes", "allocated bytes", "free bytes", "extents"], [], {
    feature: "DCD",
    always: true,
  }),
  cmd(
    0xc8,
    "GFAM_GRANT",
    "lets a host reach a range",
    ["host", "base", "bytes", "1 read, 2 write, 4 atomic, 8 shared"],
    [],
    [
      1,
      2,
    ],
    { feature: "GFAM", always: true },
  ),
  cmd(0xc9, "GFAM_REVOKE", "takes that back", ["host", "base", "bytes"], [], [1], { feature: "GFAM", always: true }),
  cmd(0xca, "GFAM_INFO", "what was granted", [], ["hosts", "mappings", "allowed", "denied"], [], {
    feature: "GFAM",
    always: true,
  }),
  cmd(0xd0, "MHSLD_INFO", "heads and counts", [], ["heads", "head", "reads", "writes"], [], {
    feature: "MHSLD",
    always: true,
    data: "out",
  }),
  cmd(0xd1, "MHSLD_SET_HEAD", "chooses the head", ["head"], ["head"], [1], { feature: "MHSLD", always: true }),
  cmd(0xf0, "SESSION_BEGIN", "begins a session", [], ["session"], [2], EXTENSION),
  cmd(0xf1, "SESSION_END", "ends it and frees what it has", ["session"], [], [400], EXTENSION),
  cmd(0xf2, "STREAM_WAIT_EVENT", "a stream waits for an event", ["stream", "event"], [], [400], EXTENSION),
  cmd(0xf3, "EVENT_QUERY", "whether an event has come", ["event"], [], [400, 600, 700], EXTENSION),
  cmd(0xf4, "STREAM_QUERY", "whether a stream is idle", ["stream"], [], [400, 600, 700], EXTENSION),
  cmd(0xf5, "EVENT_ELAPSED", "time between two events", ["start", "end"], ["nanoseconds"], [400, 600], EXTENSION),
  cmd(0xf6, "MODULE_GET_GLOBAL", "finds a variable by name", ["module"], ["device pointer", "bytes"], [400, 500], {
    ...EXTENSION,
    data: "in",
  }),
  cmd(
    0xf7,
    "LOG_READ",
    "reads what kernels printed, or the log of the last load",
    ["0 printf, 1 load"],
    ["bytes"],
    [1],
    {
      ...EXTENSION,
      data: "out",
    },
  ),
  cmd(
    0xf8,
    "FUNC_INFO",
    "what a kernel needs",
    ["function"],
    [
      "parameters",
      "static shared bytes",
      "local bytes",
      "threads of a block",
    ],
    [400],
    { ...EXTENSION, data: "out" },
  ),
  cmd(0xf9, "DEVICE_ATTRIBUTE", "an attribute by the driver API's number", ["attribute"], ["value"], [1], EXTENSION),
  cmd(0xfa, "MODULE_LOAD_BULK", "loads PTX text from BAR4", ["BAR4 offset", "bytes with the NUL"], ["module"], [
    1,
    2,
    800,
  ], EXTENSION),
  cmd(
    0xfb,
    "FUNC_SET_ATTRIBUTE",
    "sets an attribute of a kernel",
    ["function", "attribute", "value"],
    [],
    [1, 400],
    EXTENSION,
  ),
];

const BY_NAME = new Map(COMMANDS.map((row) => [row.name, row]));
const BY_CODE = new Map(COMMANDS.map((row) => [row.code, row]));

/** A command by its name. Throws for a name that is none: a mistake here. */
export function commandNamed(name: string): CommandRow {
  const row = BY_NAME.get(name);
  if (row === undefined) throw new Error(`no command '${name}'`);
  return row;
}

/** A command by its code, or null. */
export function commandOf(code: number): CommandRow | null {
  return BY_CODE.get(code) ?? null;
}

/** A result code of the protocol. */
export interface ResultRow {
  /** The number in CMD_RESULT. */
  readonly code: number;
  /** Its name. */
  readonly name: string;
  /** In words. */
  readonly title: string;
}

/** The result codes: the driver API's numbers, but for 800. */
export const RESULTS: readonly ResultRow[] = [
  { code: 0, name: "SUCCESS", title: "done" },
  { code: 1, name: "INVALID_VALUE", title: "unknown command, bad size, pointer or range" },
  { code: 2, name: "OUT_OF_MEMORY", title: "no memory, or a limit of the device" },
  { code: 3, name: "NOT_INITIALIZED", title: "no backend, or no INIT before" },
  { code: 4, name: "DEINITIALIZED", title: "shut down" },
  { code: 100, name: "NO_DEVICE", title: "no device" },
  { code: 101, name: "INVALID_DEVICE", title: "no such device" },
  { code: 201, name: "INVALID_CONTEXT", title: "no context, or no such session" },
  { code: 400, name: "INVALID_HANDLE", title: "no such module, function, stream or event" },
  { code: 500, name: "NOT_FOUND", title: "no such name in the module" },
  { code: 600, name: "NOT_READY", title: "not done yet: ask again" },
  { code: 700, name: "LAUNCH_FAILED", title: "a kernel failed" },
  { code: 702, name: "LAUNCH_TIMEOUT", title: "a kernel ran longer than the limit" },
  { code: 800, name: "INVALID_PTX", title: "PTX that does not load" },
  { code: 999, name: "UNKNOWN", title: "unknown error" },
];

/** The name of a result code: `INVALID_VALUE`, or `result 1000` for one that is not in the table. */
export function resultName(code: number): string {
  return RESULTS.find((row) => row.code === code)?.name ?? `result ${code}`;
}

/** The result codes by name, for comparisons in code. */
export const RESULT = {
  success: 0,
  invalidValue: 1,
  outOfMemory: 2,
  notInitialized: 3,
  invalidContext: 201,
  invalidHandle: 400,
  notFound: 500,
  notReady: 600,
  launchFailed: 700,
  invalidPtx: 800,
} as const;
