/**
 * Settings of a run from presets, files and options, and where each comes from. Options override the file.
 * @module
 */

import { type CommandUnknownOpts, InvalidArgumentError, Option } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";
import { nearest } from "../../src/core/locator.ts";
import { completeConfig } from "../../src/sim/complete_config.ts";
import {
  BANDWIDTH_MODELS,
  COHERENCE_MODES,
  DEFAULTS,
  MIGRATIONS,
  type PartialConfig,
  PLACEMENTS,
  type SimConfig,
} from "../../src/sim/config.ts";
import type { Pair } from "../../src/sim/engine/network.ts";
import { presetSettings } from "../../src/sim/presets.ts";
import { sizeBytes, wholeNumber } from "../cli/arguments.ts";
import { readDamonSchemes, readFileConfig } from "./files.ts";
import { capacityList, collected, numberList, pairList, pairOf, plainNumber, processorList } from "./lists.ts";
import { safeSize } from "./trace_options.ts";

/** Adds the options that make settings. */
export function addSettings(command: CommandUnknownOpts): CommandUnknownOpts {
  return command
    .option("-i, --epoch <ms>", "length of an epoch in milliseconds; 5 by default", plainNumber)
    .addOption(new Option("--interval <ms>", "another name of --epoch").argParser(plainNumber).hideHelp())
    .option("-c <list>", "first use: processors of the program; second use: capacities", collected)
    .option("--cpuset <list>", "processors of the program, as 0,2", processorList)
    .option("-q, --capacity <list>", "capacities: local, then each endpoint; MiB, or with K M G T", capacityList)
    .addOption(new Option("-s <list>", "another name of --capacity").argParser(capacityList).hideHelp())
    .option("-d, --dramlatency <ns>", "latency of local memory: one number, or read,write; 110 by default", pairOf)
    .option("-l, --latency <list>", "read,write of each endpoint in ns: the whole latency, without switches", pairList)
    .option("-b, --bandwidth <list>", "read,write of each endpoint in GB/s", pairList)
    .option("-w, --weight <list>", "LLC hits that a miss weighs; counter mode uses the mean", numberList)
    .option("-v, --weight_vec <list>", "points of -w: accepted, without effect", numberList)
    .option("-f, --frequency <MHz>", "of the cores, for counter mode; 4000 by default", plainNumber)
    .option("-p, --pebsperiod <n>", "sampling period, for samples of perf", wholeNumber)
    .option("-m, --mode <granularity>", "of placement: page, cacheline, hugepage_2M, hugepage_1G", granularity)
    .option("-o, --topology <newick>", "the tree; (1,(2,3)) by default")
    .option("-k, --policy <names>", "allocation,migration,paging,caching; none for each by default")
    .option("--preset <name>", "figures of a known device: cxl_sim presets")
    .option("--config <file>", "settings as JSON or YAML; options override it")
    .option("--switch-latency <ns>", "of a switch, both directions together; 70 by default", plainNumber)
    .option("--switch-bandwidth <GBs>", "of its uplink: one number, or up,down; 50 by default", pairOf)
    .option("--local-bandwidth <GBs>", "of local memory; nobody waits for it by default", pairOf)
    .option("--credits <n>", "accesses that an endpoint accepts at once; any number by default", wholeNumber)
    .addOption(new Option("--model <name>", "of bandwidth; queue by default").choices(BANDWIDTH_MODELS))
    .addOption(
      new Option("--replay <way>", "closed, or open: time stamps are arrivals").choices(["closed", "open"] as const),
    )
    .option("--window <n>", "outstanding misses of a stream; 16 by default", wholeNumber)
    .option("--posted-writes", "stores take no place in the window")
    .addOption(new Option("--gaps <kind>", "what gaps of the trace hold").choices(["compute", "measured"] as const))
    .option("--mlp <n>", "misses that overlap, of the analytic models: a number, or trace", mlp)
    .option("--mlc-bandwidth <list>", "peaks read,write[,mixed[,knee]] of the model mlc, in GB/s", numberList)
    .option("--bandwidth-knee <u>", "utilisation where latency begins to rise; 0.8 by default", plainNumber)
    .option("--bandwidth-window-ns <ns>", "shortest accounting window; 100000 by default", plainNumber)
    .option("--curve <path>", "a measured curve: a folder of Mess files or a CSV of readShare,GBs,ns")
    .option("--cache <size>", "a cache of each host in front of memory", sizeBytes)
    .option("--cache-ways <n>", "its associativity; 16 by default", wholeNumber)
    .option("--prefetch", "a stream prefetcher of each thread")
    .addOption(
      new Option("--tlb <tables>", "page walks, with tables in this memory").choices(["local", "remote"] as const),
    )
    .addOption(new Option("--placement <name>", "of new pages").choices(PLACEMENTS))
    .option("--weights <list>", "of the placement interleave, by node", numberList)
    .option("--node <n>", "of the placements bind and preferred", wholeNumber)
    .option("--by-allocation", "pages of one allocation go to one node")
    .option("--migration <names>", "policies at the end of an epoch, as tpp or heat,lifetime", migrationNames)
    .option("--time-scale <n>", "divides the times of the policies; 1 by default", plainNumber)
    .option("--damon-plan <file>", "schemes of the policy damon, as damon_config writes them")
    .addOption(new Option("--coherence <mode>", "of memory that hosts share").choices(COHERENCE_MODES))
    .option("--filter-lines <n>", "lines of the snoop filter; any number by default", wholeNumber)
    .option("--hosts <n>", "hosts that begin together", wholeNumber)
    .option("--seed <n>", "of everything random; 1 by default", wholeNumber);
}

/** The values of those options. */
export interface SettingOptions {
  readonly epoch?: number;
  readonly interval?: number;
  readonly c?: readonly string[];
  readonly cpuset?: readonly number[];
  readonly capacity?: number[];
  readonly s?: number[];
  readonly dramlatency?: Pair;
  readonly latency?: readonly Pair[];
  readonly bandwidth?: readonly Pair[];
  readonly weight?: readonly number[];
  readonly weight_vec?: readonly number[];
  readonly frequency?: number;
  readonly pebsperiod?: number;
  readonly mode?: "page" | "p" | "cacheline" | "hugepage_2M" | "hugepage_1G";
  readonly topology?: string;
  readonly policy?: string;
  readonly preset?: string;
  readonly config?: string;
  readonly switchLatency?: number;
  readonly switchBandwidth?: Pair;
  readonly localBandwidth?: Pair;
  readonly credits?: number;
  readonly model?: SimConfig["bandwidthModel"];
  readonly replay?: SimConfig["replay"];
  readonly window?: number;
  readonly postedWrites?: true;
  readonly gaps?: SimConfig["gaps"];
  readonly mlp?: SimConfig["mlp"];
  readonly mlcBandwidth?: readonly number[];
  readonly bandwidthKnee?: number;
  readonly bandwidthWindowNs?: number;
  readonly curve?: string;
  readonly cache?: bigint;
  readonly cacheWays?: number;
  readonly prefetch?: true;
  readonly tlb?: "local" | "remote";
  readonly placement?: SimConfig["placement"];
  readonly weights?: readonly number[];
  readonly node?: number;
  readonly byAllocation?: true;
  readonly migration?: SimConfig["migration"]["policies"];
  readonly timeScale?: number;
  readonly damonPlan?: string;
  readonly coherence?: SimConfig["coherence"]["mode"];
  readonly filterLines?: number;
  readonly hosts?: number;
  readonly seed?: number;
}

/** Complete settings, and what a report says about them. */
export interface Settings {
  readonly config: SimConfig;
  readonly given: PartialConfig;
  readonly origins: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
  readonly processors: readonly number[] | null;
  readonly weight: { readonly values: readonly number[]; readonly mean: number } | null;
  readonly frequencyMHz: number;
}

function granularity(text: string): string {
  if (["page", "p", "cacheline", "hugepage_2M", "hugepage_1G"].includes(text)) return text;
  throw new InvalidArgumentError("write page, cacheline, hugepage_2M or hugepage_1G");
}

function mlp(text: string): number | "trace" {
  return text === "trace" ? text : plainNumber(text);
}

function migrationNames(text: string): SimConfig["migration"]["policies"] {
  return text.split(",").map((word) => oneOf(word.trim(), MIGRATIONS, "migration"));
}

function oneOf<T extends string>(word: string, allowed: readonly T[], what: string): T {
  const found = allowed.find((one) => one === word);
  if (found !== undefined) return found;
  const near = nearest(word, allowed);
  throw new InvalidArgumentError(
    `there is no ${what} '${word}': ${near === null ? allowed.join(", ") : `did you mean '${near}'?`}`,
  );
}

/**
 * Reads settings.
 *
 * @throws {BusbarError} `usage` or `malformed`: the first mistake
 */
export async function readSettings(options: SettingOptions): Promise<Settings> {
  const origins: Record<string, string> = {};
  const take = (settings: object, origin: string): void => {
    for (const [key, value] of Object.entries(settings)) if (value !== undefined) origins[key] = origin;
  };
  const file = options.config === undefined ? null : await readFileConfig(options.config);
  const presetName = options.preset ?? file?.preset ?? null;
  const preset = presetName === null ? {} : presetSettings(presetName);
  take(preset, `preset ${presetName}`);
  if (file !== null) take(file.config, options.config ?? "");
  const flags = await fromOptions(options);
  const notes = [...flags.notes];
  for (const [key, origin] of Object.entries(flags.origins)) origins[key] = origin;
  const given: PartialConfig = {
    topology: "(1,(2,3))",
    ...preset,
    ...file?.config,
    ...flags.config,
    switch: { ...preset.switch, ...file?.config.switch, ...flags.config.switch },
    mlc: { ...file?.config.mlc, ...flags.config.mlc },
    migration: { ...file?.config.migration, ...flags.config.migration },
    coherence: { ...file?.config.coherence, ...flags.config.coherence },
  };
  const { config, notes: completed } = completeConfig(given);
  for (const key of Object.keys(config)) origins[key] ??= "default";
  if (options.weight_vec !== undefined) notes.push("-v: accepted, without effect, as in the reference");
  const { weight } = options;
  const mean = weight === undefined ? 0 : weight.reduce((sum, one) => sum + one, 0) / weight.length;
  if (weight !== undefined) notes.push(`-w: the mean ${mean.toFixed(3)} counts, and in counter mode only`);
  return {
    config,
    given,
    origins: Object.fromEntries(Object.entries(origins).sort(([a], [b]) => a < b ? -1 : 1)),
    notes: [...notes, ...completed],
    processors: flags.processors,
    weight: weight === undefined ? null : { values: weight, mean },
    frequencyMHz: options.frequency ?? 4000,
  };
}

interface FromOptions {
  readonly config: Partial<PartialConfig>;
  readonly origins: Record<string, string>;
  readonly notes: readonly string[];
  readonly processors: readonly number[] | null;
}

async function fromOptions(options: SettingOptions): Promise<FromOptions> {
  const origins: Record<string, string> = {};
  const config: Record<string, unknown> = {};
  const set = (key: keyof PartialConfig, flag: string, value: unknown): void => {
    if (value === undefined) return;
    config[key] = typeof value === "object" && value !== null && !Array.isArray(value)
      ? { ...config[key] as object, ...value }
      : value;
    origins[key] = flag;
  };
  const { capacity, processors } = capacityAndProcessors(options);
  const epochMs = options.epoch ?? options.interval;
  set("epochNs", "-i", epochMs === undefined ? undefined : epochMs * 1e6);
  set("capacityBytes", options.c === undefined ? "-q" : "-c", capacity);
  set("dramLatencyNs", "-d", options.dramlatency);
  set("latencyNs", "-l", options.latency);
  set("bandwidthGBs", "-b", options.bandwidth);
  set("topology", "-o", options.topology);
  if (options.mode !== undefined) {
    const { lineBytes } = DEFAULTS;
    const bytes =
      { page: 4096, p: 4096, cacheline: lineBytes, hugepage_2M: 2 ** 21, hugepage_1G: 2 ** 30 }[options.mode];
    set("pageBytes", "-m", bytes);
  }
  if (options.switchLatency !== undefined) set("switch", "--switch-latency", { latencyNs: options.switchLatency });
  if (options.switchBandwidth !== undefined) {
    set("switch", "--switch-bandwidth", { bandwidthGBs: options.switchBandwidth });
  }
  set("localBandwidthGBs", "--local-bandwidth", options.localBandwidth);
  set("credits", "--credits", options.credits);
  set("bandwidthModel", "--model", options.model);
  set("replay", "--replay", options.replay);
  set("window", "--window", options.window);
  set("writesStall", "--posted-writes", options.postedWrites === true ? false : undefined);
  set("gaps", "--gaps", options.gaps);
  set("mlp", "--mlp", options.mlp);
  if (options.mlcBandwidth !== undefined) {
    const [read, write, mixed, knee, ...rest] = options.mlcBandwidth;
    if (read === undefined || write === undefined || rest.length > 0) {
      throw new BusbarError("usage", `--mlc-bandwidth: ${options.mlcBandwidth.length} numbers`, {
        operation: "read the options",
        hint: "read,write, then the mixed peak and the knee when they are known",
      });
    }
    set("mlc", "--mlc-bandwidth", {
      peaksGBs: { read, write, mixed: mixed ?? null },
      ...knee === undefined ? {} : { knee },
    });
  }
  if (options.bandwidthKnee !== undefined) set("mlc", "--bandwidth-knee", { knee: options.bandwidthKnee });
  if (options.bandwidthWindowNs !== undefined) {
    set("mlc", "--bandwidth-window-ns", { minWindowNs: options.bandwidthWindowNs });
  }
  if (options.curve !== undefined) {
    const { readCurve } = await import("./files.ts");
    set("curve", "--curve", readCurve(options.curve));
    if (options.model === undefined) set("bandwidthModel", "--curve", "curve");
  }
  if (options.cache !== undefined) {
    set("cache", "--cache", {
      sizeBytes: safeSize(options.cache),
      ways: options.cacheWays ?? 16,
      replacement: "lru",
      l1: null,
      flushAtEnd: false,
    });
  }
  set("prefetch", "--prefetch", options.prefetch);
  if (options.tlb !== undefined) set("tlb", "--tlb", { tables: options.tlb });
  set("placement", "--placement", options.placement);
  set("weights", "--weights", options.weights);
  set("node", "--node", options.node);
  set("byAllocation", "--by-allocation", options.byAllocation);
  if (options.migration !== undefined) set("migration", "--migration", { policies: options.migration });
  if (options.timeScale !== undefined) set("migration", "--time-scale", { timeScale: options.timeScale });
  if (options.damonPlan !== undefined) {
    set("migration", "--damon-plan", { damon: await readDamonSchemes(options.damonPlan) });
  }
  if (options.coherence !== undefined) set("coherence", "--coherence", { mode: options.coherence });
  if (options.filterLines !== undefined) set("coherence", "--filter-lines", { filterLines: options.filterLines });
  set("hosts", "--hosts", options.hosts);
  set("seed", "--seed", options.seed);
  const notes = options.policy === undefined ? [] : policies(options.policy, set);
  return { config: config as Partial<PartialConfig>, origins, notes, processors };
}

/** `-c` is the processors the first time and the capacities the second time, as the seed's guide has it. */
function capacityAndProcessors(options: SettingOptions): { capacity?: number[]; processors: readonly number[] | null } {
  const uses = options.c ?? [];
  const named = options.capacity ?? options.s;
  const wrong = (message: string): BusbarError =>
    new BusbarError("usage", message, {
      operation: "read the options",
      hint: "-c 0,2 -c 100,100: processors, then capacities; or --cpuset and --capacity",
    });
  if (options.capacity !== undefined && options.s !== undefined) throw wrong("-q and -s are the same: give one");
  if (uses.length > 2) throw wrong(`-c: given ${uses.length} times`);
  if (uses.length === 2 && named !== undefined) {
    throw wrong("-c: the second one is the capacity, which --capacity gives too");
  }
  if (uses.length > 0 && options.cpuset !== undefined) {
    throw wrong("-c: the first one is the processors, which --cpuset gives too");
  }
  const read = <T>(parse: (text: string) => T, text: string): T => {
    try {
      return parse(text);
    } catch (error) {
      throw wrong(`-c ${text}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const [first, second] = uses;
  const capacity = second === undefined ? named : read(capacityList, second);
  const processors = first === undefined ? options.cpuset ?? null : read(processorList, first);
  return capacity === undefined ? { processors } : { capacity, processors };
}

/** `-k allocation,migration,paging,caching`. */
function policies(text: string, set: (key: keyof PartialConfig, flag: string, value: unknown) => void): string[] {
  const names = text.split(",").map((word) => word.trim());
  const wrong = (message: string, hint: string): BusbarError =>
    new BusbarError("usage", `-k: ${message}`, { operation: "read the options", hint });
  if (names.length > 4) throw wrong(`${names.length} names`, "allocation,migration,paging,caching");
  const [allocation = "none", migration = "none", paging = "none", caching = "none"] = names;
  const pick = <T extends string>(word: string, allowed: readonly T[], what: string): T | null => {
    if (word === "none") return null;
    const found = allowed.find((one) => one === word);
    if (found !== undefined) return found;
    const near = nearest(word, allowed);
    throw wrong(
      `there is no ${what} '${word}'`,
      near === null ? `none, ${allowed.join(", ")}` : `did you mean '${near}'?`,
    );
  };
  const placement = pick(allocation, PLACEMENTS, "allocation policy");
  const policy = pick(migration, MIGRATIONS, "migration policy");
  const tables = pick(paging, ["local", "remote"] as const, "paging policy");
  const replacement = pick(caching, ["lru", "fifo", "random"] as const, "caching policy");
  if (placement !== null) set("placement", "-k", placement);
  if (policy !== null) set("migration", "-k", { policies: [policy] });
  if (tables !== null) set("tlb", "-k", { tables });
  if (replacement === null) return [];
  set("cache", "-k", { sizeBytes: 32 * 2 ** 20, ways: 16, replacement, l1: null, flushAtEnd: false });
  return ["-k: the caching policy is that of a cache of 32 MiB, 16 ways"];
}
