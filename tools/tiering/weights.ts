/**
 * `tiering weights`: weights for weighted interleave, from what each node's memory was measured to give.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { thisMachine } from "../../src/core/host.ts";
import {
  applyWeights,
  nodeBandwidths,
  readInterleave,
  WEIGHTS_KEPT,
  weightsOf,
} from "../../src/memory/interleave_weights.ts";
import { type BandwidthMatrix, readMatrixFile } from "../../src/memory/matrix_document.ts";
import { readNodes } from "../../src/memory/tiers.ts";
import { onlyWith } from "../cli/applicable.ts";
import { memorySize, timeOption, wholeNumber } from "../cli/arguments.ts";
import { note, print, printJson } from "../cli/output.ts";
import { openJournal } from "../cli/run.ts";
import { measureThisMachine } from "../membench/measure.ts";
import { weightLines, weightsJson } from "../render/memory/interleave_weights.ts";
import { matrixMethodLines } from "../render/memory/matrix.ts";

interface MeasureFlags {
  readonly size?: bigint | undefined;
  readonly duration: number;
  readonly threads?: number | undefined;
}

/** Reads alone and writes alone, of this machine. */
async function measure({ size, duration, threads }: MeasureFlags, quiet: boolean): Promise<BandwidthMatrix> {
  const { nodes, cells, method } = await measureThisMachine({
    sizeBytes: size === undefined ? null : Number(size),
    durationMs: duration,
    strideBytes: null,
    threads: threads ?? Infinity,
    readPercents: [100, 0],
  }, (begun) => {
    if (!quiet) print([...matrixMethodLines(begun), ""].join("\n"));
  });
  return {
    nodes: nodes.memories.map(({ node }) => node),
    cells: cells.map(({ processorNode, memoryNode, bandwidth, reason }) => ({
      processorNode,
      memoryNode,
      byReadPercent: bandwidth === null
        ? null
        : new Map(bandwidth.map(({ median }, i) => [method.readPercents[i] ?? NaN, median])),
      reason,
    })),
  };
}

/** The command line of `tiering weights`. */
export const weights: CommandUnknownOpts = new Command("weights")
  .description("Weights for weighted interleave, from the bandwidth of each node's memory, beside those of the kernel.")
  .option("--from <file>", "what membench matrix --json printed; measured now by default")
  .option("--apply", "set them; they stay until tiering restore")
  .option("--dry-run", "list what --apply would write; write nothing")
  .option("--force", "with --apply: also where the kernel could not go back to making its weights itself")
  .option("--size <size>", "measuring: bytes of each node's memory; as membench matrix by default", memorySize)
  .addOption(timeOption("--duration <time>", "measuring: time for each number", "500ms"))
  .option("--threads <n>", "measuring: at most so many threads; all processors of a node by default", wholeNumber)
  .option("--json", "print one JSON document")
  .action(async (options, self) => {
    onlyWith(self, options.from === undefined, ["--size", "--duration", "--threads"], "measuring, without --from");
    onlyWith(self, options.apply === true || options.dryRun === true, ["--force"], "--apply");
    const quiet = options.json === true;
    const matrix = options.from === undefined ? await measure(options, quiet) : readMatrixFile(options.from);
    const made = weightsOf(nodeBandwidths(matrix.cells, matrix.nodes));
    const before = readInterleave(thisMachine);
    if (!quiet) print(weightLines(made, before).join("\n"));
    const isDry = options.dryRun === true;
    if (!isDry && options.apply !== true) {
      if (quiet) printJson(weightsJson(made, before, null));
      return;
    }
    using journal = openJournal("tiering weights", isDry ? (quiet ? note : print) : undefined);
    const nodes = readNodes(thisMachine).filter(({ totalBytes }) => totalBytes > 0n).map(({ id }) => id);
    const wanted = new Map(made.map(({ node, weight }) => [node, weight]));
    const changed = applyWeights(journal, thisMachine, wanted, nodes, options.force === true);
    if (!isDry) journal.keepAs(WEIGHTS_KEPT);
    if (quiet) printJson(weightsJson(made, readInterleave(thisMachine), isDry ? null : changed));
    if (isDry) return;
    note(
      changed.length === 0
        ? "nothing to change"
        : `changed the weight of node ${changed.join(", ")}; tiering restore puts it back`,
    );
  });
