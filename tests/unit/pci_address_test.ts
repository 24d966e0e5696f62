import { assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { comparePciAddress, formatPciAddress, isSysfsPciAddress, parsePciAddress } from "../../src/core/pci_address.ts";

Deno.test("addresses are read with and without domain, in either case", () => {
  const cases: readonly [string, string][] = [
    ["0000:01:00.0", "0000:01:00.0"],
    ["01:00.0", "0000:01:00.0"],
    ["0A:1f.7", "0000:0a:1f.7"],
    ["10000:E1:00.0", "10000:e1:00.0"],
    ["ffff:FF:1F.7", "ffff:ff:1f.7"],
    ["00010000:01:00.0", "10000:01:00.0"],
  ];
  for (const [text, written] of cases) {
    assertEquals(formatPciAddress(parsePciAddress(text)), written);
    assertEquals(isSysfsPciAddress(written), true);
  }
});

Deno.test("every malformed address names the part that is wrong", () => {
  const cases: readonly [string, string][] = [
    ["1:00.0", "bus '1' has 2 hexadecimal digits"],
    ["0000:001:00.0", "bus '001' has 2"],
    ["0000:01:0.0", "device '0' has 2"],
    ["0000:01:20.0", "device '20' is at most 1f"],
    ["0000:01:00.8", "function '8' is one digit, 0 to 7"],
    ["0000:01:00.10", "function '10' is one digit"],
    ["000:01:00.0", "domain '000' has 4 to 8"],
    ["000000000:01:00.0", "domain '000000000' has 4 to 8"],
    ["0000:01:00", "it has the form"],
    ["../../etc:01:00.0", "it has the form"],
    ["0000:01:00.0/", "it has the form"],
    [" 0000:01:00.0", "it has the form"],
    ["0000:01:00.0\n", "it has the form"],
    ["", "it has the form"],
  ];
  for (const [text, message] of cases) {
    const error = assertThrows(() => parsePciAddress(text), BusbarError, message);
    assertEquals(error.code, "usage");
  }
});

Deno.test("addresses sort by domain, bus, device and function", () => {
  const sorted = ["0000:00:01.0", "0000:00:01.1", "0000:00:0a.0", "0000:10:00.0", "10000:00:00.0"];
  const shuffled = sorted.toReversed().map(parsePciAddress).sort(comparePciAddress);
  assertEquals(shuffled.map(formatPciAddress), sorted);
});
