/**
 * What one check of the chain between a GPU and a drive found.
 * @module
 */

import { P2P_RULES, type P2pRuleName } from "../../pci/p2p.ts";

/**
 * `pass`: nothing stands in the way here. `warn`: it may, or only a part works. `fail`: it does. `unknown`: it could not be
 * told. `not run`: it was not asked for, or an earlier check forbids it.
 */
export type P2pOutcome = "pass" | "warn" | "fail" | "unknown" | "not run";

/** One check. */
export interface P2pCheck {
  /** The step of the chain, 1 to 8. */
  readonly step: number;
  /** What was looked at: `drive`, `ACS`. */
  readonly name: string;
  /** How it came out. */
  readonly outcome: P2pOutcome;
  /** What was found, in one sentence. */
  readonly text: string;
  /** The path or value it was read from. */
  readonly evidence: string;
  /** The rule that it rests on. */
  readonly rule: string;
  /** What would change it; null where nothing has to change or nothing can. */
  readonly remedy: string | null;
}

/** A rule of the digest, with its number and where it comes from. */
export function ruleText(name: P2pRuleName): string {
  const { number, title, source } = P2P_RULES[name];
  return `rule ${number} (${title}): ${source}`;
}
