/**
 * Finding a CUDA driver: NVIDIA's library, a software device, or a file. Any number may be open at once.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import {
  type Locator,
  type OptionTable,
  parseLocator,
  readOptions,
  type SoftLocator,
  toLocator,
  wrongDevice,
  wrongLocatorKind,
} from "../core/locator.ts";
import type { PciAddress } from "../core/pci_address.ts";
import { CudaLibrary } from "../../ffi/cuda.ts";
import type { CudaDriver } from "../../ffi/cuda_driver.ts";

/** The environment variable that chooses the driver: a path, a file name for the loader, `soft`, or a locator. */
export const CUDA_VARIABLE = "BUSBAR_CUDA";

/** Where the driver is, in the order in which it is looked for: where the loader looks, then where WSL has it. */
export const CUDA_LIBRARIES: readonly string[] = ["libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"];

/** What {@linkcode openCudaDevice} takes. */
const CUDA_LOCATORS = [
  "soft:cuda",
  "cuda:N",
  "cuda:LIBRARY?device=N",
  "a GPU's PCI address",
] as const;

/** The settings of a software CUDA device. */
export const SOFT_CUDA_OPTIONS: OptionTable = {
  profile: { type: "text", title: "kind of card: sm_75, sm_86, sm_90 or sm_100", default: "sm_90", max: 16n },
  device: { type: "integer", title: "which of the devices is opened", default: "0", max: 7n },
  devices: { type: "integer", title: "how many devices; 0 makes cuInit fail with 100", default: "1", max: 8n },
  version: {
    type: "integer",
    title: "what cuDriverGetVersion says, 1000 × major + 10 × minor",
    default: "13000",
    max: 99990n,
  },
  cc: {
    type: "integer",
    title: "compute capability, 10 × major + minor; 0: that of the profile",
    default: "0",
    max: 999n,
  },
  domain: { type: "integer", title: "PCI domain it is said to be in", default: "0", max: 0xffffn },
  bus: { type: "integer", title: "PCI bus of the first device; the others follow", default: "0x65", max: 0xf0n },
  memory: { type: "size", title: "memory of each device", default: "1GiB", min: 4096n, max: 1n << 40n },
  "memory-file": {
    type: "text",
    title: "a file that device memory lies in, such as a BAR: /sys/bus/pci/devices/…/resource2",
    default: "",
    max: 255n,
  },
  rdma: { type: "integer", title: "1: attribute 116, GPUDirect RDMA, is set", default: "0", max: 1n },
  threads: { type: "integer", title: "processors that kernels run on; 0: all", default: "0", max: 256n },
  isa: {
    type: "text",
    title: "vector instructions: baseline, avx2 or avx512; the widest by default",
    default: "",
    max: 16n,
  },
  budget: {
    type: "integer",
    title: "thread instructions that a kernel may take before it ends with 702; 0: no limit",
    default: "0",
    max: (1n << 64n) - 1n,
  },
  weak: {
    type: "text",
    title: "a number: ordinary stores arrive late and in random order, by this seed",
    default: "",
    max: 20n,
  },
  trace: { type: "text", title: "a file for each access of kernels to I/O memory", default: "", max: 255n },
  count: { type: "text", title: "a file for how often each line of PTX ran", default: "", max: 255n },
  log: {
    type: "text",
    title: "a file for faults and refused modules, or none; standard error by default",
    default: "",
    max: 255n,
  },
  fail: {
    type: "text",
    title: "functions that fail: NAME:CODE, joined by commas, as in cuMemHostRegister_v2:800",
    default: "",
    max: 1024n,
  },
  drop_writes: {
    type: "integer",
    title: "1: kernels' writes to a registered BAR do not arrive",
    default: "0",
    max: 1n,
  },
  reads_ones: { type: "integer", title: "1: kernels' reads of a registered BAR give all ones", default: "0", max: 1n },
  watchdog_ms: {
    type: "integer",
    title: "a kernel that runs longer ends with 702; 0: never",
    default: "0",
    max: 3_600_000n,
  },
};

/** Settings that, when they are not given, may come from the environment instead: what is empty or 0 is left out. */
const FROM_ENVIRONMENT: readonly string[] = ["threads", "isa", "budget", "weak", "trace", "count", "log"];

/**
 * Opens a CUDA driver. Several may be open at once, also several software devices.
 *
 * @param choice what `BUSBAR_CUDA` holds; null or empty is NVIDIA's library, wherever it is
 * @throws {BusbarError} `library` where there is none, with every place that was tried
 */
export function openCudaDriver(choice: string | null = Deno.env.get(CUDA_VARIABLE) ?? null): CudaDriver {
  if (choice === "soft" || choice?.startsWith("soft:")) {
    const locator = parseLocator(choice === "soft" ? "soft:cuda" : choice);
    if (locator.kind !== "soft" || locator.device !== "cuda") {
      throw wrongLocatorKind(locator, CUDA_VARIABLE, ["soft:cuda"]);
    }
    return openSoft(locator).driver;
  }
  if (choice?.startsWith("cuda:")) {
    const locator = parseLocator(choice);
    if (locator.kind === "cuda") return openLibrary(locator.library);
  }
  return openLibrary(choice === "" ? null : choice);
}

/** A driver, and which of its devices a locator names: an ordinal, or a place in the machine. */
export interface CudaDevice {
  /** The driver, open; its owner disposes of it. */
  readonly driver: CudaDriver;
  /** For {@linkcode Cuda.gpu}. */
  readonly which: number | PciAddress;
}

/**
 * Opens the driver of a device: `soft:cuda?profile=sm_90`, `cuda:0`, `cuda:LIBRARY?device=1`, or a GPU's PCI address, which
 * the driver that `BUSBAR_CUDA` chooses is asked for.
 *
 * @param driver an open driver to take; the locator then only names one of its devices
 * @throws {BusbarError} `usage` for anything else and for unknown settings; `library` as {@linkcode openCudaDriver}
 */
export function openCudaDevice(text: string | Locator, driver?: CudaDriver): CudaDevice {
  const locator = toLocator(text);
  if (driver !== undefined) return { driver, which: deviceNamedBy(locator) };
  if (locator.kind === "soft" && locator.device === "cuda") return openSoft(locator);
  if (locator.kind === "cuda") {
    const driver = locator.library === null ? openCudaDriver() : openLibrary(locator.library);
    return { driver, which: locator.device };
  }
  if (locator.kind === "pci" && locator.host === null) return { driver: openCudaDriver(), which: locator.address };
  throw wrongDevice(locator, "CUDA device", CUDA_LOCATORS);
}

/** Which device of a driver that is open already. */
function deviceNamedBy(locator: Locator): number | PciAddress {
  if (locator.kind === "cuda") return locator.device;
  if (locator.kind === "pci" && locator.host === null) return locator.address;
  throw wrongDevice(locator, "device of an open CUDA driver", ["cuda:N", "a GPU's PCI address"]);
}

function openLibrary(path: string | null): CudaDriver {
  const tried: string[] = [];
  for (const place of path === null ? CUDA_LIBRARIES : [path]) {
    const opened = CudaLibrary.open(place);
    if (typeof opened !== "string") return opened;
    // The loader repeats the name.
    tried.push(`${place} (${opened.replace(`${place}: `, "")})`);
  }
  throw new BusbarError("library", `there is no CUDA driver; tried ${tried.join(", ")}`, {
    operation: "open the CUDA library",
    path: path ?? CUDA_LIBRARIES[0],
    hint: path === null
      ? `install NVIDIA's driver, set ${CUDA_VARIABLE} to its libcuda.so.1, or ${CUDA_VARIABLE}=soft for a software device`
      : `${CUDA_VARIABLE} or the locator names this file: without it the usual places are looked in`,
  });
}

function openSoft(locator: SoftLocator): CudaDevice {
  const { settings, which } = settingsOf(locator);
  return { driver: CudaLibrary.openSoftware(locator.text, settings), which };
}

function settingsOf(locator: SoftLocator): { settings: Map<string, string>; which: number } {
  const settings = readOptions(locator, SOFT_CUDA_OPTIONS);
  const which = Number(settings.get("device") ?? "0");
  settings.delete("device");
  for (const key of FROM_ENVIRONMENT) {
    if (settings.get(key) === "" || settings.get(key) === "0") settings.delete(key);
  }
  return { settings, which };
}

/** The kinds of card that a software device can be. */
export const SOFT_CUDA_PROFILES: readonly string[] = ["sm_75", "sm_86", "sm_90", "sm_100"];

/** The compute capability of a profile: 90 for `sm_90`. @throws {BusbarError} `usage` for one that there is not */
export function capabilityOf(profile: string): number {
  if (SOFT_CUDA_PROFILES.includes(profile)) return Number(profile.slice("sm_".length));
  throw new BusbarError("usage", `there is no profile '${profile}'`, {
    hint: `it is ${SOFT_CUDA_PROFILES.join(", ")}`,
  });
}

/**
 * What `BUSBAR_SOFT_CUDA` holds for a program that loads the software driver by itself: the words of a locator.
 *
 * @param text `soft:cuda?…`
 * @param profile the kind of card, if the locator does not say it
 */
export function softCudaSettings(text: string, profile?: string): string {
  const locator = parseLocator(text);
  if (locator.kind !== "soft" || locator.device !== "cuda") throw wrongLocatorKind(locator, "soft_cuda", ["soft:cuda"]);
  const { settings } = settingsOf(locator);
  if (profile !== undefined) {
    capabilityOf(profile);
    if (locator.query.has("profile") && settings.get("profile") !== profile) {
      throw new BusbarError("usage", `two profiles: ${profile}, and ${settings.get("profile")} in ${text}`);
    }
    settings.set("profile", profile);
  }
  const given = [...settings].filter(([key, value]) => value !== SOFT_CUDA_OPTIONS[key]?.default);
  const awkward = given.find(([, value]) => value.includes("&"));
  if (awkward !== undefined) {
    throw new BusbarError("usage", `${awkward[0]}='${awkward[1]}' cannot be handed to a program: it has an &`);
  }
  return given.map(([key, value]) => `${key}=${value}`).join("&");
}
