/**
 * Access Control Services: whether a port lets peers talk past it, or sends their requests up to the root complex.
 *
 * Sources: PCI Express Base 6.0 §6.12 and §7.7.11; Linux drivers/pci/p2pdma.c (pci_bridge_has_acs_redir).
 * @module
 */

import { type CapabilityList, findCapability } from "./capabilities.ts";
import { configUint } from "./config_space.ts";

/** ACS of one function. */
export interface AcsState {
  /** `present`, `absent`, or `unknown` where extended configuration space could not be read. */
  readonly state: "present" | "absent" | "unknown";
  /** Services that it can do, by bit; 0 unless present. */
  readonly capable: number;
  /** Services that are switched on, by bit; 0 unless present. */
  readonly enabled: number;
  /** Offset of the capability in configuration space; null unless present. */
  readonly offset: number | null;
}

/** One service of ACS. */
export interface AcsService {
  /** Its bit in the capability and control registers. */
  readonly bit: number;
  /** Its name in lspci: `ReqRedir`. */
  readonly lspciName: string;
  /** Its name in words. */
  readonly title: string;
  /** When on, requests of peers are sent to the root complex. */
  readonly redirects: boolean;
}

/** The seven services, in the order of their bits. */
export const ACS_SERVICES: readonly AcsService[] = [
  { bit: 0x01, lspciName: "SrcValid", title: "source validation", redirects: false },
  { bit: 0x02, lspciName: "TransBlk", title: "translation blocking", redirects: false },
  { bit: 0x04, lspciName: "ReqRedir", title: "request redirect", redirects: true },
  { bit: 0x08, lspciName: "CmpltRedir", title: "completion redirect", redirects: true },
  { bit: 0x10, lspciName: "UpstreamFwd", title: "upstream forwarding", redirects: false },
  { bit: 0x20, lspciName: "EgressCtrl", title: "egress control", redirects: true },
  { bit: 0x40, lspciName: "DirectTrans", title: "direct translated", redirects: false },
];

const ALL = 0x7f;
const ACS = 0x0d;

/** Reads ACS of a function from its configuration space. */
export function readAcs(config: Uint8Array, capabilities: CapabilityList): AcsState {
  const acs = findCapability(capabilities, "extended", ACS);
  if (acs !== null && acs.offset + 8 <= config.length) {
    const capable = configUint(config, acs.offset + 4, 2) & ALL;
    return { state: "present", capable, enabled: configUint(config, acs.offset + 6, 2) & ALL, offset: acs.offset };
  }
  // Of a function that was read in part nothing can be said.
  const isAbsent = acs === null && capabilities.isWhole.extended;
  return { state: isAbsent ? "absent" : "unknown", capable: 0, enabled: 0, offset: null };
}

/** The services that send peers' requests to the root complex and are on. */
export function redirectingServices(acs: AcsState): AcsService[] {
  return ACS_SERVICES.filter((service) => service.redirects && (acs.enabled & service.bit) !== 0);
}

/** In words, for people: `redirects (request, completion)`, `on, does not redirect`, `off`, `none`, `unknown`. */
export function describeAcs(acs: AcsState): string {
  if (acs.state !== "present") return acs.state === "absent" ? "none" : "unknown";
  const redirecting = redirectingServices(acs).map((service) => service.title.replace(" redirect", ""));
  if (redirecting.length > 0) return `redirects (${redirecting.join(", ")})`;
  return acs.enabled === 0 ? "off" : "on, does not redirect";
}
