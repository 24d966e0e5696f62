/**
 * Migration policies: which pages move where at the end of an epoch. Ties go to the lower address.
 * @module
 */

import type { DamonScheme, MigrationSettings } from "../config.ts";
import { ticksOf } from "../units.ts";
import { DAMON_LOOKS, DamonAges, looksOf } from "./damon_ages.ts";
import { MOVED, type PageTable, TWICE } from "./pages.ts";
import type { Placement } from "./placement.ts";

/** Takes a move that a policy wants; false when it was refused. */
export type Propose = (entry: number, to: number, kind: "promote" | "demote" | "move" | "damon") => boolean;

/** What the policies look at. */
export interface MigrationView {
  readonly pages: PageTable;
  readonly placement: Placement;
  readonly pageBytes: number;
  /** Nodes by read latency, nearest first. */
  readonly nearest: readonly number[];
}

/** The policies of a run. They keep what they need between epochs. */
export class Migration {
  readonly #settings: MigrationSettings;
  readonly #ages: DamonAges = new DamonAges();
  #halvedTicks = 0;
  #quotaTicks: number[] = [];
  #quotaUsed: number[] = [];

  /** Policies as the settings name them. */
  constructor(settings: MigrationSettings) {
    this.#settings = settings;
  }

  /** True when pages may move, so that touches have to be counted. */
  get active(): boolean {
    return this.#settings.policies.some((policy) => policy !== "none");
  }

  /** Ticks of a time of the policies, divided by the time scale. */
  scaled(ns: number): number {
    return ticksOf(ns / this.#settings.timeScale);
  }

  /** Runs the policies at the end of an epoch. A page that one has moved is left alone by the next. */
  run(view: MigrationView, now: number, propose: Propose): void {
    const taken = new Set<number>();
    const once: Propose = (entry, to, kind) => {
      if (taken.has(entry)) return false;
      if (!propose(entry, to, kind)) return false;
      taken.add(entry);
      return true;
    };
    const { policies } = this.#settings;
    const chosen = policies.includes("hybrid") ? policies.filter((one) => one !== "hybrid") : policies;
    for (const policy of chosen) this.#one(policy, view, now, once);
    this.#cool(view, now, policies.includes("frequency"));
  }

  #one(policy: MigrationSettings["policies"][number], view: MigrationView, now: number, propose: Propose): void {
    const { heatCount, hotCount, coldCount, lifetimeNs } = this.#settings;
    const { heat, touched } = view.pages;
    switch (policy) {
      case "heat":
        for (const entry of hottest(view, (e) => nodeOf(view, e) > 0 && (heat[e] as number) > heatCount)) {
          propose(entry, 0, "promote");
        }
        return;
      case "frequency":
        for (const entry of hottest(view, (e) => nodeOf(view, e) === 0 && (heat[e] as number) <= coldCount).reverse()) {
          propose(entry, roomBelow(view), "demote");
        }
        for (const entry of hottest(view, (e) => nodeOf(view, e) > 0 && (heat[e] as number) >= hotCount)) {
          propose(entry, 0, "promote");
        }
        return;
      case "load-balance":
        return this.#balance(view, propose);
      case "locality":
        for (const entry of hottest(view, (e) => (heat[e] as number) > 0)) {
          const to = view.nearest.find((node) =>
            node === nodeOf(view, entry) || view.placement.hasRoom(node, view.pageBytes)
          );
          if (to !== undefined && to !== nodeOf(view, entry)) propose(entry, to, to === 0 ? "promote" : "move");
        }
        return;
      case "lifetime":
        for (const entry of coldest(view, (e) => nodeOf(view, e) === 0)) {
          if (now - (touched[entry] as number) < this.scaled(lifetimeNs)) break;
          propose(entry, roomBelow(view), "demote");
        }
        return;
      case "tpp":
        return this.#tpp(view, propose);
      case "damon":
        this.#ages.see(view.pages, now);
        for (const [i, scheme] of this.#settings.damon.entries()) this.#damon(view, now, scheme, i, propose);
        return;
      default:
        return;
    }
  }

  #balance(view: MigrationView, propose: Propose): void {
    const { pages, placement, pageBytes } = view;
    const load = new Float64Array(placement.used.length);
    for (let entry = 0; entry < pages.length; entry++) {
      if ((pages.key[entry] as number) >= 0) {
        load[nodeOf(view, entry)] = (load[nodeOf(view, entry)] as number) + (pages.heat[entry] as number);
      }
    }
    let busiest = 0;
    let idlest = -1;
    for (let node = 0; node < load.length; node++) {
      if ((load[node] as number) > (load[busiest] as number)) busiest = node;
      if (placement.hasRoom(node, pageBytes) && (idlest < 0 || (load[node] as number) < (load[idlest] as number))) {
        idlest = node;
      }
    }
    const most = load[busiest] as number;
    if (idlest < 0 || idlest === busiest || most - (load[idlest] as number) <= this.#settings.balanceShare * most) {
      return;
    }
    const candidates = hottest(view, (e) => nodeOf(view, e) === busiest && (pages.heat[e] as number) > 0);
    const kind = idlest === 0 ? "promote" : busiest === 0 ? "demote" : "move";
    for (const entry of candidates.slice(0, this.#settings.balancePages)) propose(entry, idlest, kind);
  }

  #tpp(view: MigrationView, propose: Propose): void {
    const { pages, placement } = view;
    const { lowFreeShare, highFreeShare } = this.#settings;
    const capacity = placement.capacity[0] as number;
    const free = (): number => capacity - (placement.used[0] as number);
    if (free() < lowFreeShare * capacity) {
      for (const entry of coldest(view, (e) => nodeOf(view, e) === 0)) {
        if (free() >= highFreeShare * capacity) break;
        propose(entry, roomBelow(view), "demote");
      }
    }
    const candidates = hottest(view, (e) => nodeOf(view, e) > 0 && ((pages.node[e] as number) & TWICE) !== 0);
    for (const entry of candidates) propose(entry, 0, "promote");
  }

  #damon(view: MigrationView, now: number, scheme: DamonScheme, i: number, propose: Propose): void {
    const { pages, pageBytes } = view;
    const promote = scheme.action === "promote";
    if (
      this.#quotaTicks[i] === undefined || now - (this.#quotaTicks[i] as number) >= this.scaled(scheme.quotaIntervalNs)
    ) {
      this.#quotaTicks[i] = now;
      this.#quotaUsed[i] = 0;
    }
    const fits = (entry: number): boolean => {
      if ((nodeOf(view, entry) === 0) === promote) return false;
      const rate = 100 * looksOf(pages.heat[entry] as number) / DAMON_LOOKS;
      // Of a page without accesses the last one is known exactly.
      const age = now - (rate > 0 ? this.#ages.since(entry) : pages.touched[entry] as number);
      return rate >= scheme.minRatePercent && rate <= scheme.maxRatePercent && age >= this.scaled(scheme.minAgeNs);
    };
    for (const entry of promote ? hottest(view, fits) : coldest(view, fits)) {
      if ((this.#quotaUsed[i] ?? 0) + pageBytes > scheme.quotaBytes) return;
      const to = promote
        ? scheme.targetNode
        : view.placement.hasRoom(scheme.targetNode, pageBytes)
        ? scheme.targetNode
        : roomBelow(view);
      if (propose(entry, to, "damon")) this.#quotaUsed[i] = (this.#quotaUsed[i] ?? 0) + pageBytes;
    }
  }

  /** Counts begin again with each epoch; for `frequency` they are halved now and then. */
  #cool(view: MigrationView, now: number, halves: boolean): void {
    const { pages } = view;
    for (let entry = 0; entry < pages.length; entry++) pages.node[entry] = (pages.node[entry] as number) & ~TWICE;
    if (!halves) {
      pages.heat.fill(0, 0, pages.length);
      return;
    }
    const period = this.scaled(this.#settings.halveNs);
    const times = Math.min(32, Math.floor((now - this.#halvedTicks) / period));
    if (times <= 0) return;
    this.#halvedTicks += times * period;
    for (let entry = 0; entry < pages.length; entry++) {
      pages.heat[entry] = times >= 32 ? 0 : (pages.heat[entry] as number) >>> times;
    }
  }
}

function nodeOf(view: MigrationView, entry: number): number {
  return (view.pages.node[entry] as number) & ~(MOVED | TWICE);
}

/** The nearest endpoint with room for a page; the nearest one at all when none has. */
function roomBelow(view: MigrationView): number {
  const endpoints = view.nearest.filter((node) => node !== 0);
  return endpoints.find((node) => view.placement.hasRoom(node, view.pageBytes)) ?? endpoints[0] ?? 0;
}

function chosen(view: MigrationView, fits: (entry: number) => boolean): number[] {
  const found: number[] = [];
  for (let entry = 0; entry < view.pages.length; entry++) {
    if ((view.pages.key[entry] as number) >= 0 && fits(entry)) found.push(entry);
  }
  return found;
}

/** Pages that fit, the most accesses first, then the lower address. */
function hottest(view: MigrationView, fits: (entry: number) => boolean): number[] {
  const { heat, key } = view.pages;
  return chosen(view, fits).sort((a, b) =>
    (heat[b] as number) - (heat[a] as number) || (key[a] as number) - (key[b] as number)
  );
}

/** Pages that fit, the one touched longest ago first, then the lower address. */
function coldest(view: MigrationView, fits: (entry: number) => boolean): number[] {
  const { touched, key } = view.pages;
  return chosen(view, fits).sort((a, b) =>
    (touched[a] as number) - (touched[b] as number) || (key[a] as number) - (key[b] as number)
  );
}
