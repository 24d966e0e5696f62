/**
 * `dax_config show`: the settings, and the direct-access memory of this machine.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { bold, dim } from "@std/fmt/colors";

import { listDaxDevices, listNamespaces } from "../../src/memory/devdax.ts";
import { VARIABLES } from "../../src/memory/settings.ts";
import {
  daxDeviceCells,
  daxDeviceJson,
  namespaceCells,
  namespaceJson,
  showSchema,
} from "../render/memory/dax_config.ts";
import { HOST_OPTION, hostFrom, SUDO_OPTION } from "../cli/machine.ts";
import { note, print, printJson, printSchema } from "../cli/output.ts";
import { columns } from "../cli/table.ts";
import { OPTIONS, originText, readSettings, settingsJson } from "./settings.ts";

/** The command line of `dax_config show`. */
export const show: CommandUnknownOpts = new Command("show")
  .description("Show backend and resource with where each comes from, and this machine's dax devices and namespaces.")
  .option(...OPTIONS.backend)
  .option(...OPTIONS.resource)
  .option(...OPTIONS.config)
  .option(...HOST_OPTION)
  .option(...SUDO_OPTION)
  .option(...OPTIONS.json)
  .option(...OPTIONS.jsonSchema)
  .action(async (options) => {
    if (options.jsonSchema) return printSchema(showSchema());
    const settings = await readSettings(options);
    const host = hostFrom(options.host);
    const devices = listDaxDevices(host);
    const namespaces = listNamespaces(host);
    if (options.json) {
      return printJson({
        schema: "dax_config_show/1",
        settings: settingsJson(settings),
        devices: devices.map(daxDeviceJson),
        namespaces: namespaces.map(namespaceJson),
      });
    }
    for (const text of settings.notes) note(`dax_config: ${text}`);
    print(
      columns([
        ["backend", bold(settings.backend.value), dim(originText(settings.backend, VARIABLES.backend))],
        ["resource", bold(settings.resource.value), dim(originText(settings.resource, VARIABLES.resource))],
      ]).join("\n"),
    );
    if (devices.length === 0) print("no dax device");
    else print(columns(devices.map(daxDeviceCells)).join("\n"));
    if (namespaces.length > 0) print(columns(namespaces.map(namespaceCells)).join("\n"));
  });
