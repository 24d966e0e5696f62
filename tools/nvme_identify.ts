/**
 * `nvme_identify <device>`: what an NVMe controller says of itself.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { BusbarError, systemError } from "../src/core/error.ts";
import { parseLocator } from "../src/core/locator.ts";
import { NvmeController } from "../src/nvme/driver/controller.ts";
import { type FetchedPage, fetchPage, fetchReport, type NvmeReport } from "../src/nvme/jobs/fetch.ts";
import { pageFileName, readPageFiles } from "../src/nvme/jobs/page_file.ts";
import { NVME_PAGES, type NvmePage, pageNamed } from "../src/nvme/tables/pages.ts";
import { onlyWith } from "./cli/applicable.ts";
import { suggesting, wholeNumber } from "./cli/arguments.ts";
import { writeOutput } from "./cli/files.ts";
import { type AccessPath, type Detail, reportLines } from "./render/nvme/nvme_identify.ts";
import { nvmeIdentifySchema, reportJson } from "./render/nvme/nvme_identify_json.ts";
import { SUDO_OPTION } from "./cli/machine.ts";
import { note, print, printJson, printSchema } from "./cli/output.ts";
import { interruption, raiseExitStatus, run } from "./cli/run.ts";

/** The command line of `nvme_identify`. */
export const command: CommandUnknownOpts = new Command("nvme_identify")
  .description("Show what an NVMe controller says of itself and of its namespaces. Changes nothing.")
  .argument(
    "[device]",
    "0000:01:00.0, /dev/nvme0, soft:nvme, file:PAGE.bin, file:FOLDER as --save fills it, or file:TEXT as nvme get-log, " +
      "xxd or hexdump -C print a page",
  )
  .option("--namespace <n>", "only this namespace", wholeNumber)
  .option("--logs", "the logs too")
  .option("--features", "the features too")
  .option("--all", "every field of every page, not only an overview")
  .addOption(
    suggesting(
      new Option("--page <name>", "only this page, every field: id-ctrl, smart, … (--page help lists them)"),
      NVME_PAGES.map(({ name }) => name),
    ),
  )
  .option("--raw <file>", "with --page: write its bytes to a file, as nvme -o binary does; - is standard output")
  .option("--save <folder>", "write every page that was read to a file in this folder")
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option(...SUDO_OPTION)
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (text, options, self) => {
    if (options.jsonSchema) {
      return printSchema(
        nvmeIdentifySchema(options.page === undefined ? undefined : wantedPage(options.page)),
      );
    }
    if (options.page === "help") return print(NVME_PAGES.map((page) => `${page.name}: ${page.layout.name}`).join("\n"));
    if (text === undefined) {
      throw new BusbarError("usage", "which device?", {
        hint: "nvme_identify 0000:01:00.0 (lspci -D lists them), or nvme_identify soft:nvme to try it",
      });
    }
    if (options.raw !== undefined && options.page === undefined) {
      throw new BusbarError("usage", "--raw of which page?", { hint: "--page id-ctrl; --save FOLDER writes all" });
    }
    onlyWith(self, options.page === undefined, ["--logs", "--features", "--all"], "all pages, not one --page");
    const { accessPath, report } = await read(text, options);
    if (options.save !== undefined) save(options.save, report.pages);
    if (options.raw !== undefined) return writeRaw(options.raw, report.pages);
    if (options.json) printJson(reportJson(text, accessPath, report));
    else print(reportLines(text, accessPath, report, detailOf(options)).join("\n"));
    if (options.page !== undefined && report.pages.every(({ bytes }) => bytes === null)) raiseExitStatus("no");
  });

function detailOf({ page, all }: { page?: string | undefined; all?: true | undefined }): Detail {
  return page !== undefined ? "pages" : all === true ? "all" : "overview";
}

interface Options {
  readonly namespace?: number | undefined;
  readonly logs?: true | undefined;
  readonly features?: true | undefined;
  readonly page?: string | undefined;
  readonly iommu: boolean;
}

async function read(text: string, options: Options): Promise<{ accessPath: AccessPath; report: NvmeReport }> {
  const locator = parseLocator(text);
  const page = options.page === undefined ? null : wantedPage(options.page);
  if (locator.kind === "file") {
    const { pages, problems = [] } = readPageFiles(locator);
    for (const problem of problems) note(`nvme_identify: ${problem}`);
    const wanted = pages.filter((one) => page === null || one.page === page);
    return { accessPath: "from a file", report: { pages: wanted, features: [] } };
  }
  await using controller = await NvmeController.open(locator, { noIommu: !options.iommu, signal: interruption });
  const accessPath = controller.isReadOnly ? "through the kernel's driver" : "driven from here";
  if (page !== null) return { accessPath, report: { pages: await onlyPage(controller, page, options), features: [] } };
  const { namespace: nsid, logs = false, features = false } = options;
  const report = await fetchReport(controller, {
    logs,
    features,
    signal: interruption,
    ...(nsid === undefined ? {} : { nsid }),
  });
  return { accessPath, report };
}

function wantedPage(name: string): NvmePage {
  const page = pageNamed(name);
  if (page !== null) return page;
  throw new BusbarError("usage", `there is no page '${name}'`, { hint: "--page help lists them" });
}

/** One page: of the controller, or of each namespace (NVM set, endurance group) that there is. */
async function onlyPage(controller: NvmeController, page: NvmePage, options: Options): Promise<FetchedPage[]> {
  const wanted = { signal: interruption };
  if (page.scope === "controller") return [await fetchPage(controller, page, null, wanted)];
  const isNamespace = page.scope === "namespace" || page.scope === "zoned namespace";
  const of = options.namespace !== undefined
    ? [options.namespace]
    : isNamespace
    ? await controller.namespaceIds()
    : [1];
  if (isNamespace && options.namespace !== undefined) await controller.checkNamespaceId(options.namespace);
  const pages: FetchedPage[] = [];
  for (const one of of) pages.push(await fetchPage(controller, page, one, wanted));
  return pages;
}

function writeRaw(path: string, pages: readonly FetchedPage[]): void {
  const [first, ...more] = pages;
  if (more.length > 0) {
    throw new BusbarError("usage", "--raw of which namespace?", { hint: `--namespace ${first?.of ?? 1}` });
  }
  if (first === undefined || first.bytes === null) {
    throw new BusbarError("device-failed", `the controller refused the page: ${first?.reason ?? "there is none"}`, {
      operation: "read a page",
    });
  }
  writeOutput(path, first.bytes);
}

function save(folder: string, pages: readonly FetchedPage[]): void {
  try {
    Deno.mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw systemError(cause, "make the folder", folder);
  }
  for (const fetched of pages) {
    if (fetched.bytes !== null) writeOutput(`${folder}/${pageFileName(fetched)}`, fetched.bytes);
  }
}

if (import.meta.main) await run(command);
