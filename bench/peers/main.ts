/**
 * `deno task bench:peers`: busbar beside what others use for the same, in one run on one machine. Ratios first.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { thisMachine } from "../../src/core/host.ts";
import { note, print, printJson } from "../../tools/cli/output.ts";
import { columns } from "../../tools/cli/table.ts";
import { interruption, run } from "../../tools/cli/run.ts";
import { measureMmio, MMIO_ACCESSES, type MmioResult } from "./mmio.ts";
import { measureNvme, type NvmeResult } from "./nvme.ts";
import { measureHost, measureLab, type StartupResult } from "./startup.ts";

/** The command line of `deno task bench:peers`. */
export const command: CommandUnknownOpts = new Command("bench:peers")
  .description("Measure register access and start-up side by side with C, Node, Python, lspci and nvme-cli.")
  .option("--no-lab", "leave out what needs a lab machine")
  .option("--nvme", "only NVMe reads")
  .option("--json", "print one JSON document")
  .action(async (options) => {
    const onProgress = (line: string): void => note(`bench:peers: ${line}`);
    const nvme = await measureNvme(onProgress);
    const mmio = options.nvme === true ? [] : await measureMmio(onProgress);
    const startup = options.nvme === true ? [] : await measureHost(onProgress);
    if (options.lab && options.nvme !== true) startup.push(...await measureLab(onProgress, interruption));
    const machine = `${processor()}, ${navigator.hardwareConcurrency} processors, Deno ${Deno.version.deno}`;
    const date = new Date().toISOString().slice(0, 10);
    if (options.json) {
      return printJson({
        schema: "bench_peers/1",
        date,
        machine,
        nvme,
        registers: mmio.map(withRatios(mmio)),
        startup,
      });
    }
    print(`${date}, ${machine}`);
    print("\nreads of 4 KiB from the software controller: times the loop in C (nanoseconds each)");
    print(nvmeLines(nvme).join("\n"));
    if (options.nvme === true) return;
    print("\nregister access: times the limit, C (nanoseconds)");
    print(mmioLines(mmio).join("\n"));
    print("\nwhole process, from start to end: times lspci (milliseconds)");
    print(startupLines(startup).join("\n"));
  });

function nvmeLines(results: readonly NvmeResult[]): string[] {
  const cell = (ns: number, limit: number): string => `${(ns / limit).toFixed(2)} (${ns.toFixed(0)})`;
  return columns(
    [
      ["", ...results.map(({ depth }) => `depth ${depth}`)],
      ["C", ...results.map(({ cNs }) => cell(cNs, cNs))],
      ["runIoJob", ...results.map(({ cNs, jobNs }) => cell(jobNs, cNs))],
      ["namespace.read", ...results.map(({ cNs, promiseNs }) => cell(promiseNs, cNs))],
    ],
    "  ",
  );
}

function processor(): string {
  return /^model name\s*: (.*)$/m.exec(thisMachine.readText("/proc/cpuinfo"))?.[1]?.trim() ?? Deno.build.arch;
}

/** Adds what each access costs in multiples of the same in C. */
function withRatios(results: readonly MmioResult[]): (result: MmioResult) => unknown {
  const limit = results.find(({ peer }) => peer === "C")?.ns ?? null;
  return (result) => {
    const { ns } = result;
    if (ns === null || limit === null) return { ...result, ratio: null };
    return {
      ...result,
      ratio: Object.fromEntries(MMIO_ACCESSES.map((access) => [access, ns[access] / limit[access]])),
    };
  };
}

function mmioLines(results: readonly MmioResult[]): string[] {
  const limit = results.find(({ peer }) => peer === "C")?.ns ?? null;
  const rows = results.map(({ peer, ns, notRun }) => {
    if (ns === null) return [peer, `not run: ${notRun}`];
    return [peer, ...MMIO_ACCESSES.map((access) => `${ratio(ns[access], limit?.[access])} (${ns[access].toFixed(1)})`)];
  });
  return columns([["", "read32", "write32", "4 KiB block"], ...rows], "  ");
}

function startupLines(results: readonly StartupResult[]): string[] {
  return columns(
    results.map(({ where, command, ms, notRun }) => {
      const lspci = results.find((one) => one.where === where && one.command.startsWith("lspci"))?.ms;
      return [where, command, ms === null ? `not run: ${notRun}` : `${ratio(ms, lspci)} (${ms.toFixed(0)})`];
    }),
    "  ",
  );
}

function ratio(value: number, limit: number | null | undefined): string {
  return limit === null || limit === undefined ? "-" : (value / limit).toFixed(1);
}

if (import.meta.main) await run(command);
