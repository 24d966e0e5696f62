/**
 * `--svg` and `--html` of gpu_nvme.
 * @module
 */

import { writeOutput } from "../cli/files.ts";
import { note } from "../cli/output.ts";
import type { Chart } from "../render/chart/chart.ts";
import { gpuNvmeHtml, gpuNvmeSvg } from "../render/gpu/gpu_nvme_charts.ts";

/** Files for charts. */
export interface ChartFiles {
  /** An SVG, where one is wanted. */
  readonly svg?: string | undefined;
  /** A page, where one is wanted. */
  readonly html?: string | undefined;
}

/** Writes the files that are wanted. @param lines the page's text */
export async function writeCharts(
  { svg, html }: ChartFiles,
  lines: readonly string[],
  charts: readonly Chart[],
): Promise<void> {
  if (svg !== undefined) writeOutput(svg, await gpuNvmeSvg(charts));
  if (html !== undefined) writeOutput(html, await gpuNvmeHtml(lines, charts));
  for (const file of [svg, html]) if (file !== undefined) note(`gpu_nvme: wrote ${file}`);
}
