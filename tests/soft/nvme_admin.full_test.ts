/** nvme_admin on the software controller: each action whose command hangs, or whose completion is lost. */

import { ACTIONS, losesItsCommand } from "./nvme_admin_actions.ts";
import { withDriverLibraries } from "./nvme_device.ts";

withDriverLibraries();

/** The daily run has a format; a commit of firmware has two minutes. */
const APART: readonly string[] = ["format", "firmware commit"];

Deno.test("each action whose command hangs, or whose completion is lost, is a timeout, and the controller can be used again", async () => {
  for (const [action] of ACTIONS) if (!APART.includes(action)) await losesItsCommand(action);
});
