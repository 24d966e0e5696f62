/**
 * A slow simulator, to hold the fast one against: a plain list of events, searched for the earliest. It shares no code
 * with src/sim.
 * @module
 */

/** A tree as nested lists: a number is an endpoint, a list is a switch; the outermost list is the host. */
export type Tree = readonly (number | Tree)[];

/** An access of the trace. */
export interface SlowAccess {
  readonly time: number;
  readonly stream: number;
  readonly endpoint: number;
  readonly write: boolean;
  readonly depends: boolean;
}

/** Settings, in ticks. */
export interface SlowSettings {
  readonly window: number;
  readonly writesStall: boolean;
  readonly open: boolean;
  /** Latency of a read and a write by endpoint, 0 is local memory. */
  readonly latency: readonly (readonly [number, number])[];
  /** Service time up and down by endpoint; null for a link that nobody waits for. */
  readonly service: readonly (readonly [number, number] | null)[];
  readonly switchLatency: number;
  readonly switchService: readonly [number, number];
  readonly endpointCredits: number | null;
  readonly switchCredits: number | null;
}

/** What came of an access. */
export interface SlowResult {
  issue: number;
  wait: number;
  completion: number;
}

interface Link {
  readonly name: string;
  readonly service: number;
  free: number;
  credits: number;
  readonly line: { access: number; arrival: number }[];
  stalls: number;
}

interface Event {
  readonly time: number;
  readonly order: number;
  readonly what: () => void;
}

/** Replays accesses; the result of each, in order, and credit stalls by link. */
export function slowSimulate(tree: Tree, accesses: readonly SlowAccess[], settings: SlowSettings): {
  readonly results: readonly SlowResult[];
  readonly stalls: ReadonlyMap<string, number>;
} {
  const links = new Map<string, Link>();
  const newLink = (name: string, service: number, credits: number | null): void => {
    links.set(name, { name, service, free: 0, credits: credits ?? Infinity, line: [], stalls: 0 });
  };
  for (const [endpoint, service] of settings.service.entries()) {
    if (service === null) continue;
    const credits = endpoint === 0 ? null : settings.endpointCredits;
    newLink(`e${endpoint} up`, service[0], credits);
    newLink(`e${endpoint} down`, service[1], credits);
  }
  // The way from each endpoint to the host, by names.
  const ways = new Map<number, string[]>([[0, settings.service[0] === null ? [] : ["e0"]]]);
  let switches = 0;
  const walk = (node: Tree, above: readonly string[]): void => {
    for (const child of node) {
      if (typeof child === "number") ways.set(child, [`e${child}`, ...above]);
      else {
        const name = `s${++switches}`;
        newLink(`${name} up`, settings.switchService[0], settings.switchCredits);
        newLink(`${name} down`, settings.switchService[1], settings.switchCredits);
        walk(child, [name, ...above]);
      }
    }
  };
  walk(tree, []);

  const results: SlowResult[] = accesses.map(() => ({ issue: NaN, wait: 0, completion: NaN }));
  const events: Event[] = [];
  const at = (time: number, order: number, what: () => void): void => void events.push({ time, order, what });
  const start = accesses[0]?.time ?? 0;

  const wayOf = (access: SlowAccess): Link[] => {
    const names = ways.get(access.endpoint) ?? [];
    const inOrder = access.write ? [...names].reverse() : names;
    return inOrder.map((name) => links.get(`${name} ${access.write ? "down" : "up"}`) as Link);
  };

  const enter = (i: number, hop: number, arrival: number, now: number): void => {
    const access = accesses[i] as SlowAccess;
    const result = results[i] as SlowResult;
    const way = wayOf(access);
    const link = way[hop] as Link;
    const begin = Math.max(now, link.free);
    result.wait += begin - arrival;
    link.free = begin + link.service;
    if (hop + 1 < way.length) return at(link.free, i, () => reach(i, hop + 1, begin + link.service));
    complete(i, way);
  };

  const reach = (i: number, hop: number, now: number): void => {
    const link = wayOf(accesses[i] as SlowAccess)[hop] as Link;
    if (link.credits === 0) {
      link.stalls++;
      link.line.push({ access: i, arrival: now });
      return;
    }
    link.credits--;
    enter(i, hop, now, now);
  };

  const complete = (i: number, way: readonly Link[]): void => {
    const access = accesses[i] as SlowAccess;
    const result = results[i] as SlowResult;
    const hops = Math.max(0, (ways.get(access.endpoint) ?? []).filter((name) => name.startsWith("s")).length);
    const latency = (settings.latency[access.endpoint] as readonly [number, number])[access.write ? 1 : 0];
    result.completion = result.issue + latency + hops * settings.switchLatency + result.wait;
    for (const link of way) {
      // Credits come back before anything else happens at that time.
      at(result.completion, -1, () => {
        const next = link.line.shift();
        if (next === undefined) link.credits++;
        else {
          const hop = wayOf(accesses[next.access] as SlowAccess).indexOf(link);
          enter(next.access, hop, next.arrival, result.completion);
        }
      });
    }
  };

  const takesPlace = (access: SlowAccess): boolean => !access.write || settings.writesStall;
  const byStream = new Map<number, number[]>();
  for (const [i, { stream }] of accesses.entries()) byStream.set(stream, [...byStream.get(stream) ?? [], i]);
  const scheduled = new Set<number>();

  // The time at which an access is issued; NaN while something that it waits for is not known.
  const issueOf = (i: number): number => {
    const access = accesses[i] as SlowAccess;
    if (settings.open) return access.time - start;
    const own = byStream.get(access.stream) as number[];
    const place = own.indexOf(i);
    const before = own[place - 1];
    let issue = before === undefined
      ? access.time - start
      : (results[before] as SlowResult).issue + access.time - (accesses[before] as SlowAccess).time;
    if (takesPlace(access)) {
      const holders = own.slice(0, place).filter((j) => takesPlace(accesses[j] as SlowAccess));
      const holder = holders[holders.length - settings.window];
      if (holder !== undefined) issue = Math.max(issue, (results[holder] as SlowResult).completion);
    }
    if (access.depends) {
      const load = own.slice(0, place).findLast((j) => !(accesses[j] as SlowAccess).write);
      if (load !== undefined) issue = Math.max(issue, (results[load] as SlowResult).completion);
    }
    return issue;
  };

  for (;;) {
    for (const own of byStream.values()) {
      const next = own.find((i) => !scheduled.has(i));
      if (next === undefined) continue;
      const last = own[own.indexOf(next) - 1];
      if (last !== undefined && Number.isNaN((results[last] as SlowResult).issue)) continue;
      const issue = issueOf(next);
      if (Number.isNaN(issue)) continue;
      scheduled.add(next);
      at(issue, next, () => {
        (results[next] as SlowResult).issue = issue;
        if (wayOf(accesses[next] as SlowAccess).length === 0) complete(next, []);
        else reach(next, 0, issue);
      });
    }
    if (events.length === 0) break;
    let earliest = 0;
    for (const [i, { time, order }] of events.entries()) {
      const best = events[earliest] as Event;
      if (time < best.time || (time === best.time && order < best.order)) earliest = i;
    }
    (events.splice(earliest, 1)[0] as Event).what();
  }
  return { results, stalls: new Map([...links.values()].map(({ name, stalls }) => [name, stalls])) };
}
