/** Placeholder until pictures are made. @module */
import type { RunReport } from "../../../src/sim/report.ts";
export function runPage(_report: RunReport): Promise<string> {
  return Promise.resolve("");
}
export function runPictures(_report: RunReport): Promise<{ name: string; svg: string }[]> {
  return Promise.resolve([]);
}
