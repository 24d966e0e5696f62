/**
 * The locators that name a PCI function, and the settings of those of software.
 * @module
 */

import type { OptionTable } from "../core/locator.ts";

/** The settings of each software PCI device, by name. */
export const SOFT_PCI_DEVICES: Readonly<Record<string, OptionTable>> = {
  nvme: {
    serial: { type: "text", title: "serial number, 20 bytes at most", default: "BUSBAR-SOFT-0001", max: 20n },
    mn: { type: "text", title: "model number, 40 bytes at most", default: "busbar software NVMe controller", max: 40n },
    mqes: {
      type: "integer",
      title: "CAP.MQES: most entries of a queue, 0-based",
      default: "1023",
      min: 1n,
      max: 65535n,
    },
    to: { type: "integer", title: "CAP.TO: longest wait for ready, in 500 ms", default: "15", max: 255n },
    dstrd: { type: "integer", title: "CAP.DSTRD: doorbell stride, 4 bytes × 2^n", default: "0", max: 8n },
    ready_ms: { type: "integer", title: "milliseconds from enable to ready and back", default: "2", max: 600_000n },
    shutdown_ms: { type: "integer", title: "milliseconds that a shutdown takes", default: "2", max: 600_000n },
    fr: { type: "text", title: "firmware revision, 8 bytes at most", default: "1.0", max: 8n },
    vs: { type: "text", title: "version of the specification: 1.4 or 2.0", default: "1.4", max: 3n },
    queues: { type: "integer", title: "most I/O queue pairs", default: "8", min: 1n, max: 1024n },
    vectors: { type: "integer", title: "MSI-X vectors", default: "9", min: 1n, max: 2048n },
    mdts: {
      type: "integer",
      title: "MDTS: most data of a command, 4 KiB × 2^n; 0 has no limit",
      default: "7",
      max: 16n,
    },
    zasl: {
      type: "integer",
      title: "ZASL: most data of a Zone Append, 4 KiB × 2^n; 0 is MDTS",
      default: "0",
      max: 16n,
    },
    nn: { type: "integer", title: "NN: highest namespace identifier", default: "256", min: 1n, max: 65536n },
    cntlid: { type: "integer", title: "CNTLID: controller identifier", default: "1", max: 0xffefn },
    sgls: { type: "integer", title: "SGLs: 0 none, 1 any alignment, 2 dword alignment", default: "1", max: 2n },
    cmb: { type: "size", title: "controller memory buffer, in BAR2; whole 4 KiB", default: "0", max: 1n << 30n },
    capacity: { type: "size", title: "TNVMCAP; 0 is twice what the namespaces take", default: "0", max: 1n << 50n },
    fna: { type: "integer", title: "FNA: what Format NVM does to all namespaces, bits", default: "4", max: 7n },
    vwc: { type: "integer", title: "1: there is a volatile write cache", default: "1", max: 1n },
    spin_us: {
      type: "integer",
      title: "microseconds without work until the device naps; its next command then waits for it",
      default: "500",
      max: 1_000_000n,
    },
    reorder_us: {
      type: "integer",
      title: "each I/O command is delayed by a random time up to this, so that completions come in any order",
      default: "0",
      max: 10_000_000n,
    },
    format_ms: { type: "integer", title: "milliseconds that Format NVM takes", default: "5", max: 600_000n },
    sanitize_ms: { type: "integer", title: "milliseconds that Sanitize takes", default: "20", max: 600_000n },
    selftest_ms: {
      type: "integer",
      title: "milliseconds that a short self-test takes, half of an extended one",
      default: "20",
      max: 600_000n,
    },
    seed: { type: "integer", title: "seed of everything random", default: "1" },
    namespaces: {
      type: "text",
      title:
        "namespaces: NSID[:key=value,...], joined by ';', with the keys from size on; as in 1;3:lba=4096;7:zoned=1",
      default: "1",
      max: 4095n,
    },
    fault: {
      type: "text",
      title: "faults: rules joined by ';', as csrc/soft/busbar_soft.h lists them; as in drop,every=100;latency=10..50",
      default: "",
      max: 4095n,
    },
    size: { type: "size", title: "size of each namespace", default: "64MiB", min: 4096n, max: 1n << 44n },
    lba: { type: "integer", title: "bytes in a block: 512 or 4096", default: "512", min: 512n, max: 4096n },
    ms: { type: "integer", title: "bytes of metadata for each block: 0, 8, 16 or 64", default: "0", max: 64n },
    ext: { type: "integer", title: "1: metadata lies at the end of each block's data", default: "0", max: 1n },
    pi: { type: "integer", title: "protection information, type 1 to 3; 0 is none", default: "0", max: 3n },
    pil: {
      type: "integer",
      title: "1: it is at the beginning of the metadata, else at the end",
      default: "0",
      max: 1n,
    },
    dlfeat: { type: "integer", title: "deallocated blocks read: 0 not told, 1 zeros, 2 ones", default: "1", max: 2n },
    shared: { type: "integer", title: "1: namespaces may be shared between controllers", default: "0", max: 1n },
    zoned: { type: "integer", title: "1: namespaces are zoned", default: "0", max: 1n },
    zone: { type: "size", title: "size of a zone", default: "4MiB", min: 512n, max: 1n << 44n },
    zcap: { type: "size", title: "capacity of a zone; 0 is its size", default: "0", max: 1n << 44n },
    mar: { type: "integer", title: "most active zones; 0 has no limit", default: "0", max: 0xffff_ffffn },
    mor: { type: "integer", title: "most open zones; 0 has no limit", default: "0", max: 0xffff_ffffn },
    zdes: { type: "integer", title: "size of a zone descriptor extension, in 64 bytes", default: "0", max: 255n },
    file: {
      type: "text",
      title: "file that holds the namespace, made if it is not there; its size counts if it is",
      default: "",
      max: 1023n,
    },
  },
};

/** The software PCI devices as locators. */
export const SOFT_LOCATORS: readonly string[] = Object.keys(SOFT_PCI_DEVICES).map((name) => `soft:${name}`);

/** What `openPciDevice` takes, for the errors of whoever calls it. */
export const PCI_LOCATORS: readonly string[] = [
  "a PCI address (as in 0000:01:00.0)",
  ...SOFT_LOCATORS,
  "file:RECORDING",
];
