/**
 * What came of the chain of checks: its report, and the verdict that follows from them.
 * @module
 */

import type { TopologyClass } from "../../pci/p2p.ts";
import type { P2pCheck, P2pOutcome } from "./check.ts";

/** How far it came. */
export type P2pLevel = "none" | "mapped" | "writes arrive" | "reads return";

/** The answer for one way to let a GPU do I/O. */
export interface P2pTier {
  /** 1 to 3. */
  readonly tier: 1 | 2 | 3;
  /** What lies where. */
  readonly title: string;
  /** Whether it works. */
  readonly answer: "yes" | "no" | "unknown";
  /** Why. */
  readonly reason: string;
}

/** What came of the whole chain. */
export interface P2pReport {
  /** The drive's address. */
  readonly drive: string;
  /** The GPU's address; null where there is none. */
  readonly gpu: string | null;
  /** As `nvidia-smi topo` names the way between them; null without a GPU. */
  readonly class: TopologyClass | null;
  /** The checks, by step. */
  readonly checks: readonly P2pCheck[];
  /** Why it went no further; null when all eight steps were made. */
  readonly stopped: string | null;
  /** How far it came. */
  readonly level: P2pLevel;
  /** The answer for tier 1, which is the answer of the whole. */
  readonly verdict: P2pTier["answer"];
  /** The verdict in one line. */
  readonly summary: string;
  /** The answer for each tier. */
  readonly tiers: readonly P2pTier[];
}

/** The level, the verdict and the tiers that follow from the checks. */
export function conclude(
  checks: readonly P2pCheck[],
  isSoftware: boolean,
): Pick<P2pReport, "level" | "verdict" | "summary" | "tiers"> {
  const outcome = (step: number, name?: string): P2pOutcome | null =>
    checks.find((check) => check.step === step && (name === undefined || check.name === name))?.outcome ?? null;
  const level: P2pLevel = outcome(8) === "pass"
    ? "reads return"
    : outcome(7) === "pass"
    ? "writes arrive"
    : outcome(6) === "pass"
    ? "mapped"
    : "none";
  const failed = checks.filter((check) => check.outcome === "fail" && check.step < 8);
  const arrives = level === "writes arrive" || level === "reads return";
  // What was seen to arrive outweighs what should have stopped it.
  const verdict = isSoftware ? "unknown" : arrives ? "yes" : failed.length > 0 ? "no" : "unknown";
  const why = isSoftware
    ? "with the software device nothing is shown of a GPU"
    : arrives
    ? "a write by the GPU arrived at the drive"
    : failed.length > 0
    ? failed.map((check) => `step ${check.step}, ${check.name}: ${check.text}`).join("; ")
    : level === "mapped"
    ? "the GPU has BAR0 mapped, but no write was tried"
    : openQuestion(checks);
  const word = { yes: "yes", no: "no", unknown: "not determined" }[verdict];
  return {
    level,
    verdict,
    summary: `${word}: ${why}`,
    tiers: tiersOf(checks, verdict, why, isSoftware),
  };
}

function openQuestion(checks: readonly P2pCheck[]): string {
  const open = checks.findLast((check) => check.outcome === "unknown");
  return open === undefined ? "nothing was tried" : `step ${open.step}, ${open.name}: ${open.text}`;
}

function tiersOf(
  checks: readonly P2pCheck[],
  verdict: P2pTier["answer"],
  why: string,
  isSoftware: boolean,
): P2pTier[] {
  const memory = checks.find((check) => check.step === 5 && check.name === "GPU memory");
  const vram = (tier: 2 | 3, title: string): P2pTier => {
    if (verdict === "no") return { tier, title, answer: "no", reason: "tier 1 does not work" };
    if (memory === undefined || isSoftware) return { tier, title, answer: "unknown", reason: "no GPU was asked" };
    if (memory.outcome === "warn") return { tier, title, answer: "no", reason: memory.text };
    return {
      tier,
      title,
      answer: "unknown",
      reason: "the GPU allows it; it needs a kernel module that gives the drive bus addresses of GPU memory " +
        "(nvidia_p2p_get_pages or a dma-buf importer), and busbar has none",
    };
  };
  return [
    { tier: 1, title: "doorbells from the GPU, queues and data in host memory", answer: verdict, reason: why },
    vram(2, "data in GPU memory"),
    vram(3, "queues and data in GPU memory"),
  ];
}
