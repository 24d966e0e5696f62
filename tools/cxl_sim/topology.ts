/**
 * `cxl_sim topology`: a tree, its paths and its limits.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { buildNetwork } from "../../src/sim/engine/network.ts";
import { type NewickChild, parseNewick } from "../../src/sim/topology/newick.ts";
import { nsOf } from "../../src/sim/units.ts";
import { print, printJson } from "../cli/output.ts";
import { columns } from "../cli/table.ts";
import { addSettings, readSettings, type SettingOptions } from "./settings.ts";

/** The command line of `cxl_sim topology`. */
export const topology: CommandUnknownOpts = addSettings(
  new Command("topology").description("Draw a tree and tell its paths and limits.").argument(
    "<newick>",
    "the tree, as (1,(2,3))",
  ),
)
  .option("--json", "print one JSON document")
  .action(async (...args: unknown[]) => {
    const [text, options] = args as [string, SettingOptions & { json?: true }];
    const { config, notes } = await readSettings({ ...options, topology: text });
    const { path } = buildNetwork(config.topology, { ...config, localLatencyNs: config.dramLatencyNs });
    const endpoints = config.topology.endpoints.map((endpoint, i) => {
      const [up, down] = config.bandwidthGBs[i] ?? [0, 0];
      const uplinks = endpoint.via.map((number) =>
        config.topology.switches[number - 1]?.fabric === true
          ? [config.fabric.bandwidthGBs, config.fabric.bandwidthGBs]
          : config.switch.bandwidthGBs
      );
      return {
        endpoint: endpoint.number,
        name: endpoint.name,
        hops: endpoint.hops,
        extraNs: endpoint.extraNs,
        readNs: nsOf(path[endpoint.number * 2] ?? 0),
        writeNs: nsOf(path[endpoint.number * 2 + 1] ?? 0),
        readGBs: Math.min(up, ...uplinks.map(([one = 0]) => one)),
        writeGBs: Math.min(down, ...uplinks.map(([, one = 0]) => one)),
      };
    });
    if (options.json) return printJson({ schema: "cxl_sim_topology/1", topology: text, endpoints, notes });
    print([
      ...draw(parseNewick(text), ""),
      "",
      ...columns([
        ["endpoint", "hops", "lengths", "read", "write", "limit up/down"],
        ...endpoints.map((one) => [
          one.name,
          String(one.hops),
          `${one.extraNs} ns`,
          `${one.readNs} ns`,
          `${one.writeNs} ns`,
          `${one.readGBs}/${one.writeGBs} GB/s`,
        ]),
      ]),
      ...notes,
    ].join("\n"));
  });

/** A tree, a line for each node. */
function draw(node: NewickChild, indent: string): string[] {
  const length = node.lengthNs === 0 ? "" : ` (+${node.lengthNs} ns)`;
  if (node.kind === "group") {
    const name = indent === "" ? "host" : `switch${node.label === null ? "" : ` ${node.label}`}`;
    return [`${indent}${name}${length}`, ...node.children.flatMap((child) => draw(child, `${indent}  `))];
  }
  if (node.kind === "cpu") return [`${indent}CPU${length}`];
  if (node.kind === "remote") return [`${indent}endpoint ${node.number} of host ${node.remoteHost}${length}`];
  return [`${indent}endpoint ${node.number}${length}`];
}
