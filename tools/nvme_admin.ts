/**
 * `nvme_admin`: changing an NVMe drive: format, sanitize, namespaces, firmware, features, self-tests; logs to files.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { closedObject, type JsonObject } from "../src/core/layout_json.ts";
import { documentSchema, run } from "./cli/run.ts";
import { withSchema } from "./cli/subcommand.ts";
import { feature, firmware, selfTest } from "./nvme_admin/change.ts";
import { format, namespace, sanitize, watch } from "./nvme_admin/erase.ts";
import { log, persistentEvents, telemetry } from "./nvme_admin/logs.ts";

/** The schema of every document: what came of an action depends on the action. */
export function nvmeAdminSchema(): JsonObject {
  return documentSchema("nvme_admin", [
    closedObject({
      schema: { const: "nvme_admin/1" },
      device: { type: "string" },
      action: { type: "string" },
      result: { type: "object" },
    }),
  ]);
}

/** The command line of `nvme_admin`. */
export const command: CommandUnknownOpts = withSchema(
  new Command("nvme_admin")
    .description("Change an NVMe drive: format, sanitize, namespaces, firmware, features; test it; save its logs.")
    .action((_, self) => self.help()),
  nvmeAdminSchema,
)
  .addCommand(format)
  .addCommand(sanitize)
  .addCommand(watch)
  .addCommand(namespace)
  .addCommand(firmware)
  .addCommand(feature)
  .addCommand(selfTest)
  .addCommand(telemetry)
  .addCommand(persistentEvents)
  .addCommand(log);

if (import.meta.main) await run(command);
