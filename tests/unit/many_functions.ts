/** A large made-up server. */

import type { FunctionSpec } from "./pci_machine.ts";

/** `count` functions: host bridges of two sockets, root ports, and below each port a switch with endpoints. */
export function manyFunctions(count: number): FunctionSpec[] {
  const functions: FunctionSpec[] = [];
  const two = (value: number): string => value.toString(16).padStart(2, "0");
  for (let domain = 0; functions.length < count; domain++) {
    const at = (place: string): string => `${domain.toString(16).padStart(4, "0")}:${place}`;
    functions.push({ at: at("00:00.0"), id: "8086:09a2", kind: "host-bridge", node: domain, group: 1000 * domain });
    for (let port = 1; port <= 10 && functions.length < count; port++) {
      const bus = 1 + (port - 1) * 10;
      const node = domain;
      functions.push(
        {
          ...{ at: at(`00:${two(port)}.0`), id: "8086:347a", kind: "root-port", buses: [bus, bus + 9] },
          ...{ acs: ["SrcValid"], node },
        },
        { at: at(`${two(bus)}:00.0`), id: "10b5:8747", kind: "upstream", buses: [bus + 1, bus + 9], node },
      );
      for (let slot = 0; slot < 8; slot++) {
        const below = bus + 2 + slot;
        functions.push(
          {
            at: at(`${two(bus + 1)}:${two(slot)}.0`),
            id: "10b5:8747",
            kind: "downstream",
            buses: [below, below],
            node,
          },
          {
            at: at(`${two(below)}:00.0`),
            id: "144d:a80a",
            class: "010802",
            driver: "nvme",
            group: 1000 * domain + below,
            node: domain,
            link: [4, 4, 4, 4],
            // As an ordinary user sees it: then the link's speed is in files.
            readable: slot === 3 ? 64 : 4096,
          },
        );
      }
    }
  }
  return functions.slice(0, count);
}
