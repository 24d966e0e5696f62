/**
 * `doctor`: what this machine lacks for work with devices from user space.
 * @module
 */

import { Argument, Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { bold, green, red, yellow } from "@std/fmt/colors";

import { closedObject, type JsonObject } from "../src/core/layout_json.ts";
import type { Host } from "../src/core/host.ts";
import { examineMemory, readKernelConfig } from "../src/memory/doctor.ts";
import { examineMachine, type Finding } from "../src/pci/doctor.ts";
import { HOST_OPTION, hostFrom, SUDO_OPTION } from "./cli/machine.ts";
import { print, printJson, printSchema } from "./cli/output.ts";
import { documentSchema, raiseExitStatus, run } from "./cli/run.ts";

const SCHEMA: JsonObject = documentSchema("doctor", [
  closedObject({
    schema: { const: "doctor/1" },
    findings: {
      type: "array",
      items: closedObject({
        name: { type: "string" },
        result: { enum: ["good", "limited", "bad", "unknown"] },
        text: { type: "string" },
        evidence: { type: "string" },
        remedy: { type: ["string", "null"] },
      }),
    },
  }),
]);

const COLORS: Readonly<Record<Finding["result"], (text: string) => string>> = {
  good: green,
  limited: yellow,
  bad: red,
  unknown: yellow,
};

/** The command line of `doctor`. */
export const command: CommandUnknownOpts = new Command("doctor")
  .description(
    "Look at what work with devices from user space needs: IOMMU, VFIO, huge pages, limits. Exit 1 when bad.",
  )
  .addArgument(new Argument("[of]", "memory: CXL, dax, hotplug, tiers, DAMON, cgroups").choices(["memory"] as const))
  .option(...HOST_OPTION)
  .option(...SUDO_OPTION)
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (of, options) => {
    if (options.jsonSchema) return printSchema(SCHEMA);
    const host = hostFrom(options.host);
    const findings = of === "memory" ? await memoryFindings(host) : examineMachine(host);
    if (findings.some((finding) => finding.result === "bad")) raiseExitStatus("no");
    if (options.json) return printJson({ schema: "doctor/1", findings });
    for (const finding of findings) {
      print(`${COLORS[finding.result](finding.result.padEnd(7))}  ${bold(finding.name)}: ${finding.text}`);
      print(`         (${finding.evidence})`);
      if (finding.remedy !== null) print(`         ${finding.remedy}`);
    }
  });

async function memoryFindings(host: Host): Promise<Finding[]> {
  const { text, path } = await readKernelConfig(host);
  return examineMemory(host, text, path);
}

if (import.meta.main) await run(command);
