/**
 * The epochs of a run as CSV.
 * @module
 */

import type { RunReport } from "../../../src/sim/report_document.ts";

/** A line for each row of epochs, with a column for each node and figure. */
export function epochCsv(report: RunReport): string {
  const { nodes, epochs } = report;
  const columns = ["read_lines", "write_lines", "used_bytes", "pages_in", "pages_out"];
  const head = [
    "start_ns",
    "length_ns",
    "epochs",
    "delay_ns",
    ...nodes.flatMap(({ node }) => columns.map((name) => `node${node}_${name}`)),
  ];
  const lines = epochs.rows.map((row) =>
    [
      row.startNs,
      row.lengthNs,
      row.epochs,
      row.delayNs,
      ...nodes.flatMap(({ node }) =>
        [row.readLines, row.writeLines, row.usedBytes, row.movedIn, row.movedOut].map((list) => list[node] ?? 0)
      ),
    ].join(",")
  );
  return [head.join(","), ...lines, ""].join("\n");
}
