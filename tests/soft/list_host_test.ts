/** `list` on the machine that runs the tests. */

import { sameFunctionsAndInterfaces } from "../lab/list.ts";
import { withNeeds } from "../needs.ts";

Deno.test({
  ...withNeeds("list shows every PCI function of this machine that lspci shows, and every network interface", "lspci"),
  fn: async () => void await sameFunctionsAndInterfaces(),
});
