/**
 * What a run knows in the end.
 * @module
 */

import type { Coherence } from "./coherence/coherence.ts";
import type { SimConfig } from "./config.ts";
import type { Network } from "./engine/network.ts";
import type { Replay } from "./engine/replay.ts";
import type { Explained } from "./engine/request.ts";
import type { EpochRows } from "./epoch_rows.ts";
import type { Epochs } from "./epochs.ts";
import type { FrontEnd } from "./frontend.ts";
import type { HeatSamples } from "./heat_samples.ts";
import type { HostCache } from "./memory/cache.ts";
import type { PageMap } from "./memory/page_map.ts";
import type { AnalyticModel } from "./models/analytic.ts";
import type { Curve, CurveControl } from "./models/curve.ts";

/** Everything that a run knows in the end; the report is made of it. */
export interface RunState {
  /** The settings. */
  readonly config: SimConfig;
  /** Links and routes. */
  readonly network: Network;
  /** What turns accesses into requests. */
  readonly frontEnd: FrontEnd;
  /** Where pages lie. */
  readonly pages: PageMap;
  /** The epoch that runs. */
  readonly epochs: Epochs;
  /** Epochs that ended. */
  readonly rows: EpochRows;
  /** Samples of the heat map. */
  readonly heat: HeatSamples;
  /** By host; null without. */
  readonly caches: readonly HostCache[] | null;
  /** Null where hosts share nothing. */
  readonly coherence: Coherence | null;
  /** Full replay; null for the analytic models. */
  readonly replay: Replay | null;
  /** Ends in ticks of the replays with less and less: everything local, paths, coherence too, walks and moves too. */
  readonly ends: {
    readonly baseline: number;
    readonly path: number;
    readonly coherence: number;
    readonly moves: number;
  };
  /** Null where requests are replayed. */
  readonly analytic: AnalyticModel | null;
  /** Null without measured curves. */
  readonly curve: { readonly curve: Curve; readonly control: CurveControl } | null;
  /** Misses that overlap, as the analytic models used it. */
  readonly mlp: number;
  /** Length of the trace. */
  readonly nativeNs: number;
  /** The access to explain; null when none was asked for. */
  readonly explained: Explained | null | "no request";
  /** Seed of everything that was drawn. */
  readonly seed: number;
}
