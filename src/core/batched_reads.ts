/**
 * Reading a machine in few batches with code that reads one file at a time.
 * @module
 */

import { BusbarError, errnoError } from "./error.ts";
import type { Host } from "./host.ts";
import type { HostAnswer, HostRequest, HostTree } from "./host_requests.ts";

/**
 * A host that first fetches many answers in one batch, then gives them out to the calls that ask for them. What was not
 * fetched is asked of the machine itself. Answers do not change afterwards: make a new one for each look at a machine.
 *
 * The same question may be fetched several times: whoever asks first gets the first answer, all who ask later the last.
 * So code that looks again, at the end, whether something is still there sees what it would have seen without batches.
 *
 * @example
 * ```ts
 * import { thisMachine } from "./host.ts";
 * import { textOf } from "./host_requests.ts";
 * import { BatchedReads } from "./batched_reads.ts";
 * const reads = new BatchedReads(thisMachine);
 * reads.fetch([textOf("/proc/version"), textOf("/proc/uptime")]);
 * console.assert(reads.readText("/proc/version").startsWith("Linux"));
 * ```
 */
export class BatchedReads implements Host {
  readonly name: string;
  readonly isPartial: boolean;
  readonly #host: Host;
  readonly #answers = new Map<string, HostAnswer[]>();
  /** Folders whose names are all known, by a tree. */
  readonly #folders = new Map<string, ReadonlySet<string>>();

  /** Nothing is fetched yet. */
  constructor(host: Host) {
    this.name = host.name;
    this.isPartial = host.isPartial === true;
    this.#host = host;
  }

  /** Fetches answers, in one batch; of nothing, none. Errors are answers too, thrown by the call that asks. */
  fetch(requests: readonly HostRequest[]): void {
    if (requests.length === 0) return;
    const answers = this.#host.batch(requests);
    for (const [i, request] of requests.entries()) {
      const answer = answers[i];
      if (answer === undefined) throw new BusbarError("bug", `${this.name}: a batch of ${requests.length} was cut`);
      this.#keep(keyOf(request), answer);
      if (request.call !== "readTree") continue;
      // A folder that cannot be looked into cannot be listed either.
      if (answer instanceof BusbarError) this.#keep(`list ${request.path}`, answer);
      else this.#keepTree(answer as HostTree);
    }
  }

  /** Fetches what of these was not fetched before. */
  fetchNew(requests: readonly HostRequest[]): void {
    const wanted = new Map(requests.map((request) => [keyOf(request), request]));
    this.fetch([...wanted].filter(([key]) => !this.#answers.has(key)).map(([, request]) => request));
  }

  batch(requests: readonly HostRequest[]): HostAnswer[] {
    this.fetchNew(requests);
    return requests.map((request) => this.#take(keyOf(request)) ?? missing(request));
  }

  readText(path: string): string {
    return this.#answer({ call: "readText", path }, () => this.#host.readText(path));
  }

  readBytes(path: string, offset: number, sizeBytes: number): Uint8Array {
    const request = { call: "readBytes", path, offset, sizeBytes } as const;
    return this.#answer(request, () => this.#host.readBytes(path, offset, sizeBytes));
  }

  list(path: string): string[] {
    return [...this.#answer({ call: "list", path }, () => this.#host.list(path))];
  }

  readLink(path: string): string {
    return this.#answer({ call: "readLink", path }, () => this.#host.readLink(path));
  }

  realPath(path: string): string {
    return this.#answer({ call: "realPath", path }, () => this.#host.realPath(path));
  }

  sizeBytes(path: string): number {
    return this.#answer({ call: "sizeBytes", path }, () => this.#host.sizeBytes(path));
  }

  writeText(path: string, text: string): void {
    this.#host.writeText(path, text);
  }

  writeBytes(path: string, offset: number, bytes: Uint8Array): void {
    this.#host.writeBytes(path, offset, bytes);
  }

  writeTextSlowly(path: string, text: string): Promise<void> {
    return this.#host.writeTextSlowly(path, text);
  }

  makeFolder(path: string): void {
    this.#host.makeFolder(path);
  }

  removeFolder(path: string): void {
    this.#host.removeFolder(path);
  }

  #answer<T extends HostAnswer>(request: HostRequest, ask: () => T): T {
    const answer = this.#take(keyOf(request));
    if (answer instanceof BusbarError) throw answer;
    if (answer !== undefined) return answer as T;
    const slash = request.path.lastIndexOf("/");
    const names = this.#folders.get(request.path.slice(0, slash));
    // A tree that shows the folder without the name has answered already.
    if (names !== undefined && !names.has(request.path.slice(slash + 1))) throw missing(request);
    return ask();
  }

  #take(key: string): HostAnswer | undefined {
    const answers = this.#answers.get(key) ?? [];
    const [first] = answers;
    answers.splice(0, answers.length - 1);
    return first;
  }

  #keep(key: string, answer: HostAnswer): void {
    const answers = this.#answers.get(key);
    if (answers === undefined) this.#answers.set(key, [answer]);
    else answers.push(answer);
  }

  #keepTree(tree: HostTree): void {
    for (const [path, names] of tree.folders) {
      this.#keep(`list ${path}`, names instanceof BusbarError ? names : [...names]);
      if (!(names instanceof BusbarError)) this.#folders.set(path, new Set(names));
    }
    for (const [path, link] of tree.links) this.#keep(`readLink ${path}`, link);
    for (const [path, bytes] of tree.files) {
      const text = bytes instanceof BusbarError ? bytes : new TextDecoder().decode(bytes).replace(/\n$/, "");
      this.#keep(`readText ${path}`, text);
    }
  }
}

function keyOf(request: HostRequest): string {
  switch (request.call) {
    case "readBytes":
      return `readBytes ${request.offset} ${request.sizeBytes} ${request.path}`;
    case "readTree": {
      const { depth, followLinks = false, files } = request;
      return `readTree ${depth} ${followLinks} ${JSON.stringify(files)} ${request.path}`;
    }
    default:
      return `${request.call} ${request.path}`;
  }
}

const ENOENT = 2;

function missing(request: HostRequest): BusbarError {
  return errnoError(ENOENT, request.call === "list" ? "list" : "read", { path: request.path });
}
