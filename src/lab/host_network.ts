/**
 * Guests on several hosts as neighbours: a bridge on each host, and a VXLAN that joins the bridges. Lines for a shell, which
 * nothing here runs.
 * @module
 */

import { BusbarError } from "../core/error.ts";

/** A guest on its host. */
export interface HostPlace {
  /** Its IPv4 address. */
  readonly address: string;
  /** QEMU's words for its network card. */
  readonly arguments: readonly string[];
  /** What root of the host runs before. */
  readonly before: readonly string[];
  /** What root of the host runs afterwards, to leave nothing. */
  readonly after: readonly string[];
}

const BRIDGE = "busbar-br";
const TUNNEL = "busbar-vx";
const TAP = "busbar-tap";
/** Number of the VXLAN, its group of IPv4 multicast, and the port that IANA gave to VXLAN. */
const NETWORK = { id: 100, group: "239.1.1.100", port: 4789 };
/** The first guest is 192.168.100.10. */
const FIRST_ADDRESS = 10;
/** As many as there are addresses of 192.168.100.0/24 from the first one on. */
export const MOST_HOSTS = 200;

/**
 * The guest of each host.
 *
 * @param count of hosts, 2 to {@linkcode MOST_HOSTS}
 * @param device of each host that leads to the others: `eth0`
 * @throws {BusbarError} `usage` for another count, or a name that no network device can have
 */
export function hostPlaces(count: number, device: string): HostPlace[] {
  if (!(count >= 2 && count <= MOST_HOSTS)) {
    throw new BusbarError("usage", `${count} hosts: there can be 2 to ${MOST_HOSTS}`);
  }
  // dev_valid_name of Linux, and nothing that a shell would take for something else.
  if (!/^[A-Za-z0-9_.@-]{1,15}$/.test(device) || /^[.-]/.test(device)) {
    throw new BusbarError("usage", `'${device}' is no name of a network device`, { hint: "ip -br link lists them" });
  }
  return Array.from({ length: count }, (_, i): HostPlace => ({
    address: `192.168.100.${FIRST_ADDRESS + i}`,
    arguments: [
      "-netdev",
      `tap,id=lab-tap,ifname=${TAP},script=no,downscript=no`,
      "-device",
      `virtio-net-pci,id=lab-card,bus=pcie.0,netdev=lab-tap,mac=${macOf(i)}`,
    ],
    before: [
      `ip link add ${BRIDGE} type bridge`,
      `ip link add ${TUNNEL} type vxlan id ${NETWORK.id} group ${NETWORK.group} dev ${device} dstport ${NETWORK.port}`,
      `ip tuntap add dev ${TAP} mode tap`,
      ...[TUNNEL, TAP].map((name) => `ip link set ${name} master ${BRIDGE}`),
      ...[BRIDGE, TUNNEL, TAP].map((name) => `ip link set ${name} up`),
    ],
    after: [TAP, TUNNEL, BRIDGE].map((name) => `ip link delete ${name}`),
  }));
}

function macOf(index: number): string {
  return `52:54:00:62:63:${index.toString(16).padStart(2, "0")}`;
}
