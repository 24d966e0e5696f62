/**
 * Devices whose figures are known, and where from. Every figure says what it includes.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { nearest } from "../core/locator.ts";
import type { PartialConfig } from "./config.ts";
import type { Pair } from "./engine/network.ts";
import type { CurvePoint } from "./models/curve.ts";

/** A preset. */
export interface Preset {
  /** What it is. */
  readonly title: string;
  /** Read and write latency of an endpoint in ns; null where it says something else. */
  readonly latencyNs: Pair | null;
  /** Bandwidth of an endpoint, up and down, in GB/s; null where nobody says. */
  readonly bandwidthGBs: Pair | null;
  /** Latency of local memory in ns; null to leave it. */
  readonly dramLatencyNs: number | null;
  /** A measured curve; null without. */
  readonly curve: readonly CurvePoint[] | null;
  /** Latency of a switch in ns; null to leave it. */
  readonly switchNs: number | null;
  /** Where the figures are from. */
  readonly source: string;
  /** What they include, and how sure they are. */
  readonly includes: string;
}

const MELODY = "Melody, ASPLOS 2025";
const CXL_DMSIM = "CXL-DMSim: validated on silicon, mean error 3.4 to 4.1 %";
const TIGON = "table of the seed: Tigon";

/** A local DRAM of 110 ns and 38.4 GB/s (one channel of DDR5-4800), which ratios are multiplied with. */
const DDR_NS = 110;
const DDR_GBS = 38.4;

function device(
  title: string,
  latencyNs: number,
  bandwidthGBs: number | null,
  source: string,
  includes: string,
): Preset {
  return {
    title,
    latencyNs: [latencyNs, latencyNs],
    bandwidthGBs: bandwidthGBs === null ? null : [bandwidthGBs, bandwidthGBs],
    dramLatencyNs: null,
    curve: null,
    switchNs: null,
    source,
    includes,
  };
}

const CURVE: readonly CurvePoint[] = [
  [0.3, 107],
  [12.8, 114],
  [24.6, 123],
  [32, 131],
  [37.6, 142],
  [40, 149],
  [42.6, 221],
  [42.8, 427],
].map(([GBs = 0, ns = 0]) => ({ readShare: 0.6, GBs, ns }));

/** All presets, by name. */
export const PRESETS: Readonly<Record<string, Preset>> = {
  "dram-seed": {
    ...device("local DRAM", 85, null, "the seed's guide", "seen by the core"),
    latencyNs: null,
    dramLatencyNs: 85,
  },
  "dram-reference": {
    ...device("local DRAM", 110, null, "default of the newer reference", "seen by the core"),
    latencyNs: null,
    dramLatencyNs: 110,
  },
  "remote-socket": device(
    "memory of another socket",
    175,
    null,
    "usual figures: 150 to 200 ns",
    "seen by the core; the middle",
  ),
  "cxl-low": device(
    "least of seven latency settings",
    140,
    null,
    MELODY,
    "seen by the core; some settings were made with NUMA",
  ),
  "cxl-high": device("greatest of seven latency settings", 410, null, MELODY, "seen by the core; not a device"),
  "cxl-a": device("device A", 214, 24, MELODY, "reported: quoted second-hand from its table; seen by the core"),
  "cxl-b": device("device B", 271, 22, MELODY, "reported: quoted second-hand from its table; seen by the core"),
  "cxl-c": device("device C", 394, 18, MELODY, "reported: quoted second-hand from its table; seen by the core"),
  "cxl-d": device("device D", 239, 52, MELODY, "reported: quoted second-hand from its table; seen by the core"),
  "cxl-fpga": device(
    "FPGA device",
    2.9 * DDR_NS,
    0.57 * DDR_GBS,
    CXL_DMSIM,
    "2.9 × DDR latency, 45 to 69 % of its bandwidth (the middle), of 110 ns and 38.4 GB/s",
  ),
  "cxl-asic": device(
    "ASIC device",
    2.2 * DDR_NS,
    0.825 * DDR_GBS,
    CXL_DMSIM,
    "2.2 × DDR latency, 82 to 83 % of its bandwidth, of 110 ns and 38.4 GB/s",
  ),
  "three-cards": device(
    "three expander cards",
    3.5 * DDR_NS,
    null,
    "arXiv 2405.14209",
    "2 to 5 × local DRAM (the middle), of 110 ns",
  ),
  "expander-curve": {
    ...device(
      "a CXL expander, measured curve",
      107,
      42.8,
      "Mess repository: a manufacturer's model, 60 % reads",
      "device side; without the host",
    ),
    curve: CURVE,
  },
  "micron-cz120": device(
    "Micron CZ120",
    DDR_NS + 150,
    36,
    "vendor",
    "local DRAM and 100 to 200 ns (the middle); up to 36 GB/s, 2:1 reads, PCIe 5 x8",
  ),
  "optane-like": device("Optane-like memory", 350, null, "usual figures", "seen by the core"),
  "switch-hop": {
    ...device(
      "a switch",
      0,
      null,
      "secondary: 50 to 100 ns",
      "one traversal, both directions (the middle); a whole path is reported near twice a direct one",
    ),
    latencyNs: null,
    switchNs: 75,
  },
  "ivshmem": device("shared memory of virtual machines", 500, 10, TIGON, "as the seed says"),
  "mmap-file": device("a mapped file", 800, 8, TIGON, "as the seed says"),
  "devdax": device("a DAX device", 200, 15, TIGON, "as the seed says"),
};

/**
 * The settings that a preset gives.
 *
 * @throws {BusbarError} `usage` when there is none of this name
 */
export function presetSettings(name: string): Omit<PartialConfig, "topology"> {
  const preset = Object.hasOwn(PRESETS, name) ? PRESETS[name] : undefined;
  if (preset === undefined) {
    const near = nearest(name, Object.keys(PRESETS));
    throw new BusbarError("usage", `there is no preset '${name}'`, {
      operation: "read the settings",
      hint: near === null ? "cxl_sim presets lists them" : `did you mean '${near}'?`,
    });
  }
  return {
    ...preset.latencyNs === null ? {} : { latencyNs: [preset.latencyNs] },
    ...preset.bandwidthGBs === null ? {} : { bandwidthGBs: [preset.bandwidthGBs] },
    ...preset.dramLatencyNs === null ? {} : { dramLatencyNs: [preset.dramLatencyNs, preset.dramLatencyNs] },
    ...preset.switchNs === null ? {} : { switch: { latencyNs: preset.switchNs } },
    ...preset.curve === null ? {} : { curve: preset.curve, bandwidthModel: "curve", curveIncludesHost: false },
  };
}
