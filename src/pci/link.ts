/**
 * PCI Express links: what a link runs at, what both of its ends could do, and whether that is less than it could be.
 *
 * Sources: PCI Express Base 6.0 §7.5.3.6 (Link Capabilities), §7.5.3.8 (Link Status), §7.5.3.11 (Slot Status),
 * §7.5.3.18 (Link Capabilities 2);
 * Linux drivers/pci/pci-sysfs.c (current_link_speed and its siblings).
 * @module
 */

import { type Fact, Unknown, valueOf } from "../core/fact.ts";
import { factOf, type Host, ifReadable } from "../core/host.ts";
import { type HostRequest, textOf } from "../core/host_requests.ts";
import { type CapabilityList, findCapability } from "./capabilities.ts";
import { LINK_SPEEDS } from "./capability_tables.ts";
import { configUint } from "./config_space.ts";
import type { PciFunction } from "./function.ts";

/** A speed and a width; null where the device does not tell. */
export interface LinkRate {
  /** Speed code of the specification: 1 is 2.5 GT/s, 6 is 64 GT/s. */
  readonly speed: number | null;
  /** Lanes. */
  readonly width: number | null;
}

/** What one end says of its link. */
export interface LinkEnd {
  /** What the link runs at; nulls where there is no link. */
  readonly current: LinkRate;
  /** The most that this end can do. */
  readonly max: LinkRate;
  /** The speed it was told to aim at (Link Control 2); null where it does not say. */
  readonly target: number | null;
  /** Data link layer up; null where this end does not report it. */
  readonly active: boolean | null;
  /** A card is in the slot below (presence detect); null where there is no slot. */
  readonly isOccupied: boolean | null;
  /** Where it was read: `LnkCap, LnkSta` or `sysfs`. */
  readonly source: string;
}

/** Bits a second and lane that carry data, in units of a gigabit, by speed code: 8b/10b up to code 2, then 128b/130b. */
const LANE_GIGABITS: Readonly<Record<number, number>> = {
  1: 2.5 * 8 / 10,
  2: 5 * 8 / 10,
  3: 8 * 128 / 130,
  4: 16 * 128 / 130,
  5: 32 * 128 / 130,
  // Flit mode sends no synchronisation bits; its own overhead is in the flit.
  6: 64,
};

/**
 * What a function says of the link next to it: above an endpoint or upstream port, below a root port or downstream port.
 *
 * @returns null when it has none: conventional PCI, or integrated into the root complex
 */
export function readLinkEnd(host: Host | null, fn: PciFunction, capabilities: CapabilityList): Fact<LinkEnd> {
  const pcie = findCapability(capabilities, "standard", 0x10);
  const isRead = pcie !== null && pcie.offset + LINK_REGISTERS_END <= fn.config.length;
  if (pcie === null || !isRead) {
    const notRead = pcie !== null || !capabilities.isWhole.standard;
    const why = new Unknown(`${fn.config.length} bytes of configuration space are known`);
    const shown = host === null || fn.folder === null ? why : linkFromSysfs(host, fn.folder);
    // Without the capability there is no link, whatever sysfs was not asked.
    return shown instanceof Unknown && !notRead ? null : shown;
  }
  const at = (offset: number, sizeBytes: 2 | 4): number => configUint(fn.config, pcie.offset + offset, sizeBytes);
  const flags = at(0x02, 2);
  const type = flags >>> 4 & 0xf;
  if (type === 9 || type === 10) return null;
  const cap = at(0x0c, 4);
  const status = at(0x12, 2);
  const isVersion2 = (flags & 0xf) >= 2 && pcie.offset + LINK2_REGISTERS_END <= fn.config.length;
  const width = status >>> 4 & 0x3f;
  // An end that does not see a link shows no lanes; its speed then says nothing.
  return {
    current: width === 0 ? { speed: null, width: null } : { speed: speedCode(status & 0xf), width },
    max: { speed: maxSpeed(cap, isVersion2 ? at(0x2c, 4) : 0), width: (cap >>> 4 & 0x3f) || null },
    target: isVersion2 ? speedCode(at(0x30, 2) & 0xf) : null,
    active: (cap & 1 << 20) === 0 ? null : (status & 1 << 13) !== 0,
    isOccupied: (flags & 1 << 8) === 0 || pcie.offset + SLOT_REGISTERS_END > fn.config.length
      ? null
      : (at(0x1a, 2) & 1 << 6) !== 0,
    source: "LnkCap, LnkSta",
  };
}

/** Bytes of the capability up to Link Status, Slot Status and Link Control 2, each included. */
const LINK_REGISTERS_END = 0x14;
const SLOT_REGISTERS_END = 0x1c;
const LINK2_REGISTERS_END = 0x32;

/** The vector of Link Capabilities 2 names every speed; older devices only have the code in Link Capabilities. */
function maxSpeed(cap: number, cap2: number): number | null {
  const vector = cap2 >>> 1 & 0x7f;
  return vector === 0 ? speedCode(cap & 0xf) : speedCode(32 - Math.clz32(vector));
}

function speedCode(code: number): number | null {
  return LINK_SPEEDS[code] === undefined ? null : code;
}

/** What {@linkcode readLinkEnd} reads of a function besides its configuration space; nothing for most. */
export function linkRequests(fn: PciFunction, capabilities: CapabilityList): HostRequest[] {
  if (fn.folder === null || findCapability(capabilities, "standard", 0x10) !== null) return [];
  const { folder } = fn;
  return ["current", "max"].flatMap((which) => [
    textOf(`${folder}/${which}_link_speed`),
    textOf(`${folder}/${which}_link_width`),
  ]);
}

/** Without privilege the capabilities cannot be read, but sysfs has the four numbers. */
function linkFromSysfs(host: Host, folder: string): Fact<LinkEnd> {
  const whether = factOf(() => host.readText(`${folder}/max_link_width`));
  if (whether === null || whether instanceof Unknown) return whether;
  const text = (file: string): string | null => ifReadable(() => host.readText(`${folder}/${file}`).trim());
  const rate = (which: "current" | "max"): LinkRate => {
    const gigatransfers = /^([\d.]+) GT\/s/.exec(text(`${which}_link_speed`) ?? "")?.[1];
    const speed = Object.entries(LINK_SPEEDS).find(([, name]) => parseFloat(name) === Number(gigatransfers))?.[0];
    const width = Number(text(`${which}_link_width`) ?? NaN);
    // The kernel shows 0 and 255 where there is no link.
    return { speed: speed === undefined ? null : Number(speed), width: width > 0 && width < 255 ? width : null };
  };
  const max = rate("max");
  if (max.speed === null && max.width === null) return null;
  return { current: rate("current"), max, target: null, active: null, isOccupied: null, source: "sysfs" };
}

/** A link with both of its ends, as far as they are known. */
export interface Link {
  /** What it runs at; of a link that is down, what its upper end shows. */
  readonly current: LinkRate;
  /** The lower of the maxima that are known: what both ends can do, where `otherEnd` is null. */
  readonly possible: LinkRate;
  /** The most that the lower end can do by itself; of the upper end where only that is known. */
  readonly max: LinkRate;
  /** `up`: it runs. `down`: nothing is there, or it did not train. `unknown`: the device does not tell. */
  readonly state: "up" | "down" | "unknown";
  /** It runs slower than both ends can; null where only one of them is known, and could do more. */
  readonly isSlower: boolean | null;
  /** It runs with fewer lanes than both ends have; null where only one of them is known, and has more. */
  readonly isNarrower: boolean | null;
  /** Why one end is not known; null where both are. */
  readonly otherEnd: string | null;
  /** Why it may be downgraded, and what to do about it; null where it is not, or where that is not known. */
  readonly remedy: string | null;
}

/**
 * Puts the two ends of a link together. Either may be unknown.
 *
 * @param isOccupied something answers below, whether it shows a link or not
 */
export function joinLink(
  upper: Fact<LinkEnd>,
  lower: Fact<LinkEnd>,
  isOccupied: boolean = valueOf(lower) !== null,
): Link | null {
  const [above, below] = [valueOf(upper), valueOf(lower)];
  const near = below ?? above;
  if (near === null) return [upper, lower].find((end) => end instanceof Unknown) instanceof Unknown ? NOT_KNOWN : null;
  const current = near.current.width === null && below !== null && above !== null ? above.current : near.current;
  const possible = {
    speed: lowest(above?.max.speed ?? null, below?.max.speed ?? null),
    width: lowest(above?.max.width ?? null, below?.max.width ?? null),
  };
  const state = stateOf(current, above, isOccupied);
  const isUp = state === "up";
  const areBoth = above !== null && below !== null;
  const verdict = (value: number | null, limit: number | null): boolean | null => {
    const isLess = isUp && isBelow(value, limit);
    return isLess && !areBoth ? null : isLess;
  };
  const isSlower = verdict(current.speed, possible.speed);
  const isNarrower = verdict(current.width, possible.width);
  const missing = above === null ? upper : lower;
  return {
    current,
    possible,
    max: near.max,
    state,
    isSlower,
    isNarrower,
    otherEnd: areBoth || state === "down"
      ? null
      : missing instanceof Unknown
      ? missing.reason
      : `nothing is known of the ${above === null ? "upper" : "lower"} end`,
    remedy: remedyFor(isSlower === true, isNarrower === true, possible.speed, [
      above?.target ?? null,
      below?.target ?? null,
    ]),
  };
}

const NO_RATE: LinkRate = { speed: null, width: null };

/** It may have a link. */
const NOT_KNOWN: Link = {
  current: NO_RATE,
  possible: NO_RATE,
  max: NO_RATE,
  state: "unknown",
  isSlower: null,
  isNarrower: null,
  otherEnd: "neither end is known",
  remedy: null,
};

/** A device that answers proves its link; of a port with nothing below it only its own word can be taken. */
function stateOf(current: LinkRate, upper: LinkEnd | null, isOccupied: boolean): Link["state"] {
  if (isOccupied) return current.width === null ? "unknown" : "up";
  if (current.width === null || upper?.active === false || upper?.isOccupied === false) return "down";
  // The lanes that an end shows may be those of the last partner.
  return upper?.active === true ? "up" : "unknown";
}

function lowest(a: number | null, b: number | null): number | null {
  return a === null || b === null ? a ?? b : Math.min(a, b);
}

function isBelow(value: number | null, limit: number | null): boolean {
  return value !== null && limit !== null && value < limit;
}

function remedyFor(
  isSlower: boolean,
  isNarrower: boolean,
  possible: number | null,
  targets: readonly (number | null)[],
): string | null {
  if (!isSlower && !isNarrower) return null;
  const parts: string[] = [];
  if (isNarrower) {
    parts.push(
      "fewer lanes than both ends have: look at the slot's wiring, the riser, the firmware's bifurcation; reseat",
    );
  }
  if (isSlower) {
    const told = targets.find((target) => isBelow(target, possible));
    parts.push(
      told === undefined || told === null
        ? "slower than both ends can: GPUs slow the link when idle, so look again under load; else retrain, reseat or " +
          "replace the riser"
        : `Link Control 2 asks for ${LINK_SPEEDS[told]}: a limit of firmware or driver`,
    );
  }
  return parts.join("; ");
}

/** `16 GT/s x4`; parts that are not known are `?`. */
export function formatRate(rate: LinkRate): string {
  return `${rate.speed === null ? "?" : LINK_SPEEDS[rate.speed] ?? "?"} x${rate.width ?? "?"}`;
}

/** `8 GT/s x4`, `2.5 GT/s x4 (could be 16 GT/s x4: slower)`, `no link`, `link unknown`. */
export function formatLink(link: Link): string {
  if (link.state !== "up") return link.state === "down" ? "no link" : "link unknown";
  const words = [...(link.isSlower === true ? ["slower"] : []), ...(link.isNarrower === true ? ["narrower"] : [])];
  const text = formatRate(link.current);
  if (link.isSlower === null || link.isNarrower === null) {
    return `${text} (this end could do ${formatRate(link.possible)}; the other is not known)`;
  }
  return words.length === 0 ? text : `${text} (could be ${formatRate(link.possible)}: ${words.join(", ")})`;
}

/**
 * Bytes a second that a link can carry in one direction before packet headers: lanes times the data rate of one.
 *
 * @returns null where speed or width is not known
 */
export function linkBytesPerSecond({ speed, width }: LinkRate): number | null {
  const lane = speed === null ? undefined : LANE_GIGABITS[speed];
  return lane === undefined || width === null ? null : lane * width * 1e9 / 8;
}
