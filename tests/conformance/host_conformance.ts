/**
 * What every implementation of `Host` must do, each point as a test. A new implementation adds a row in `host_test.ts`.
 * @module
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";

import { BusbarError, type ErrorCode } from "../../src/core/error.ts";
import { exists, type Host, ifPresent, ifReadable } from "../../src/core/host.ts";
import type { HostAnswer, HostRequest, HostTree, TreeRequest } from "../../src/core/host_requests.ts";
import { linkAt, MAX_TREE_DEPTH, namesIn, realPathOf, sizeOf, textOf } from "../../src/core/host_requests.ts";

/** An implementation, with the files of {@linkcode TREE}. */
export interface HostUnderTest extends Disposable {
  /** The machine. */
  readonly host: Host;
  /** The folder that the files lie in: an absolute path without links. */
  readonly root: string;
}

/** A row of the table of implementations. */
export interface HostImplementation {
  /** What it is called. */
  readonly name: string;
  /** Makes one. */
  readonly make: () => HostUnderTest;
  /** Points that it does not meet, by the name of the test, and why. Each is checked not to be met. */
  readonly cannot: Readonly<Record<string, string>>;
}

/** Files that each implementation is given, by path below its root; a text that begins with `->` is a link. */
export const TREE: Readonly<Record<string, string>> = {
  "text": "one\n",
  "lines": "one\ntwo\n\n",
  "empty": "",
  "folder/b": "2\n",
  "folder/a": "1\n",
  "folder/deep/er/file": "far\n",
  "to_file": "->text",
  "to_folder": "->folder",
  "folder/up": "->../text",
  "folder/home": "->..",
  "dangling": "->nothing/here",
  "loop": "->loop",
  "class/one": "->../devices/one",
  "class/two": "->../devices/two",
  "class/gone": "->../devices/gone",
  "devices/one/size": "11\n",
  "devices/one/secret": "not read\n",
  "devices/one/subsystem": "->../../class",
  "devices/two/size": "22\n",
  "devices/two/inner/size": "23\n",
};

/** One point. */
interface Point {
  readonly name: string;
  readonly check: (host: Host, root: string) => void | Promise<void>;
}

const POINTS: readonly Point[] = [
  {
    name: "text comes without its last line break, and only without that",
    check(host, root): void {
      assertEquals(host.readText(`${root}/text`), "one");
      assertEquals(host.readText(`${root}/lines`), "one\ntwo\n");
      assertEquals(host.readText(`${root}/empty`), "");
    },
  },
  {
    name: "bytes come from an offset, and fewer where the file ends",
    check(host, root): void {
      const read = (offset: number, sizeBytes: number): string =>
        new TextDecoder().decode(host.readBytes(`${root}/lines`, offset, sizeBytes));
      assertEquals([read(0, 3), read(4, 3), read(4, 100), read(9, 5), read(100, 5), read(0, 0)], [
        "one",
        "two",
        "two\n\n",
        "",
        "",
        "",
      ]);
    },
  },
  {
    name: "names in a folder come sorted, those of links among them",
    check(host, root): void {
      assertEquals(host.list(`${root}/folder`), ["a", "b", "deep", "home", "up"]);
      assertEquals(host.list(`${root}/class`), ["gone", "one", "two"]);
    },
  },
  {
    name: "links are followed by every call but the one that reads them",
    check(host, root): void {
      assertEquals(host.readLink(`${root}/to_file`), "text");
      assertEquals(host.readLink(`${root}/folder/up`), "../text");
      assertEquals(host.readLink(`${root}/dangling`), "nothing/here");
      assertEquals(host.readLink(`${root}/to_folder/up`), "../text");
      assertEquals(host.readText(`${root}/to_file`), "one");
      assertEquals(host.readText(`${root}/to_folder/up`), "one");
      assertEquals(host.list(`${root}/to_folder`), host.list(`${root}/folder`));
      assertEquals(host.sizeBytes(`${root}/to_file`), 4);
    },
  },
  {
    name: "the real path has no links, no . and no .. in it",
    check(host, root): void {
      assertEquals(host.realPath(`${root}/to_folder/up`), `${root}/text`);
      assertEquals(host.realPath(`${root}/folder/home/folder/./deep/..`), `${root}/folder`);
      assertEquals(host.realPath(root), root);
    },
  },
  {
    name: "the size of a file is its length; a folder has one too",
    check(host, root): void {
      assertEquals([host.sizeBytes(`${root}/text`), host.sizeBytes(`${root}/empty`)], [4, 0]);
      assert(host.sizeBytes(`${root}/folder`) >= 0);
      assert(exists(host, `${root}/folder`) && exists(host, `${root}/to_file`) && !exists(host, `${root}/dangling`));
    },
  },
  {
    name: "what is not there is absent for every call, also below a file and behind a dangling link",
    check(host, root): void {
      for (const path of ["none", "text/x", "dangling", "dangling/x", "folder/none/x"].map((one) => `${root}/${one}`)) {
        for (const [what, call] of readsOf(host, path)) {
          if (what === "readLink" && path.endsWith("/dangling")) continue;
          fails(call, "absent", path, `${what} ${path}`);
        }
      }
    },
  },
  {
    name: "a folder is no file, a file no folder and no link, and a loop of links ends",
    check(host, root): void {
      assertEquals(fails(() => host.readText(`${root}/folder`), null, `${root}/folder`).code, "usage");
      assertEquals(fails(() => host.list(`${root}/text`), null, `${root}/text`).code, "absent");
      assertEquals(fails(() => host.readLink(`${root}/text`), null, `${root}/text`).code, "io");
      assertEquals(fails(() => host.readLink(`${root}/folder`), null, `${root}/folder`).code, "io");
      for (const [what, call] of readsOf(host, `${root}/loop`)) {
        if (what !== "readLink") assertEquals(fails(call, null, `${root}/loop`).code, "io", what);
      }
    },
  },
  {
    name: "a batch answers as single calls do, in order, with errors among the answers",
    check(host, root): void {
      const paths = ["text", "none", "folder", "to_file", "dangling", "folder/deep/../b"].map((one) =>
        `${root}/${one}`
      );
      const requests = paths.flatMap((path): HostRequest[] => [
        textOf(path),
        namesIn(path),
        linkAt(path),
        realPathOf(path),
        sizeOf(path),
        { call: "readBytes", path, offset: 1, sizeBytes: 2 },
      ]);
      const answers = host.batch(requests);
      assertEquals(answers.length, requests.length);
      for (const [i, request] of requests.entries()) {
        assertEquals(shown(answers[i]), shown(single(host, request)), `${request.call} ${request.path}`);
      }
      assertEquals(host.batch([]), []);
    },
  },
  {
    name: "a tree has the folders, links and wanted files down to its depth, and nothing else is read",
    check(host, root): void {
      const tree = readTree(host, { call: "readTree", path: `${root}/folder`, depth: 1, files: ["a", "file", "none"] });
      assertEquals(shapeOf(tree, root), {
        folders: { "/folder": ["a", "b", "deep", "home", "up"], "/folder/deep": ["er"] },
        links: { "/folder/home": "..", "/folder/up": "../text" },
        files: { "/folder/a": "1\n" },
      });
      const whole = readTree(host, { call: "readTree", path: `${root}/devices`, depth: 9, files: "all" });
      assertEquals(Object.keys(shapeOf(whole, root).files).sort(), [
        "/devices/one/secret",
        "/devices/one/size",
        "/devices/two/inner/size",
        "/devices/two/size",
      ]);
    },
  },
  {
    name: "a tree follows the links in its own folder when asked, and none further down",
    check(host, root): void {
      const request = { call: "readTree", path: `${root}/class`, files: ["size"] } as const;
      const tree = shapeOf(readTree(host, { ...request, depth: 2, followLinks: true }), root);
      assertEquals(tree, {
        folders: {
          "/class": ["gone", "one", "two"],
          "/class/one": ["secret", "size", "subsystem"],
          "/class/two": ["inner", "size"],
          "/class/two/inner": ["size"],
        },
        links: {
          "/class/gone": "../devices/gone",
          "/class/one": "../devices/one",
          "/class/one/subsystem": "../../class",
          "/class/two": "../devices/two",
        },
        files: { "/class/one/size": "11\n", "/class/two/size": "22\n", "/class/two/inner/size": "23\n" },
      });
      assertEquals(Object.keys(shapeOf(readTree(host, { ...request, depth: 2 }), root).folders), ["/class"]);
    },
  },
  {
    name: "a tree of what is no folder, or that is too deep, is an error among the answers",
    check(host, root): void {
      const tree = (path: string, depth: number): HostRequest => ({ call: "readTree", path, depth, files: [] });
      const answers = host.batch([
        tree(`${root}/none`, 1),
        tree(`${root}/text`, 1),
        tree(`${root}/folder`, MAX_TREE_DEPTH + 1),
        tree(`${root}/folder`, 0.5),
      ]);
      assertEquals(answers.map((one) => one instanceof BusbarError ? one.code : "read"), [
        "absent",
        "absent",
        "out-of-range",
        "out-of-range",
      ]);
    },
  },
  {
    name: "a text is written in place of the old one, also through a link, now or slowly",
    async check(host, root): Promise<void> {
      host.writeText(`${root}/text`, "new");
      assertEquals(host.readText(`${root}/text`), "new");
      host.writeText(`${root}/to_file`, "x");
      assertEquals(host.readText(`${root}/text`), "x");
      await host.writeTextSlowly(`${root}/text`, "slow");
      assertEquals(host.readText(`${root}/text`), "slow");
    },
  },
  {
    name: "bytes are written at an offset and the rest stays",
    check(host, root): void {
      host.writeBytes(`${root}/lines`, 4, new TextEncoder().encode("TWO"));
      assertEquals(host.readText(`${root}/lines`), "one\nTWO\n");
    },
  },
  {
    name: "nothing is created by writing",
    async check(host, root): Promise<void> {
      const path = `${root}/none`;
      fails(() => host.writeText(path, "x"), "absent", path);
      fails(() => host.writeBytes(path, 0, Uint8Array.of(1)), "absent", path);
      const error = await assertRejects(() => host.writeTextSlowly(path, "x"), BusbarError);
      assertEquals([error.code, exists(host, path)], ["absent", false]);
    },
  },
  {
    name: "a folder is made and removed",
    check(host, root): void {
      host.makeFolder(`${root}/made`);
      assert(exists(host, `${root}/made`));
      fails(() => host.makeFolder(`${root}/made`), "busy", `${root}/made`);
      host.removeFolder(`${root}/made`);
      assert(!exists(host, `${root}/made`));
      fails(() => host.removeFolder(`${root}/made`), "absent", `${root}/made`);
    },
  },
  {
    name: "a folder is made only where its parent is",
    check(host, root): void {
      fails(() => host.makeFolder(`${root}/none/made`), "absent", `${root}/none/made`);
    },
  },
  {
    name: "a new folder is empty",
    check(host, root): void {
      host.makeFolder(`${root}/made`);
      assertEquals(host.list(`${root}/made`), []);
    },
  },
];

/** Every call that reads, of one path. */
function readsOf(host: Host, path: string): [string, () => unknown][] {
  return [
    ["readText", () => host.readText(path)],
    ["readBytes", () => host.readBytes(path, 0, 1)],
    ["list", () => host.list(path)],
    ["readLink", () => host.readLink(path)],
    ["realPath", () => host.realPath(path)],
    ["sizeBytes", () => host.sizeBytes(path)],
  ];
}

function fails(call: () => unknown, code: ErrorCode | null, path: string, what?: string): BusbarError {
  const error = assertThrows(call, BusbarError, undefined, what);
  if (code !== null) assertEquals(error.code, code, what ?? error.message);
  assertEquals(error.path, path, what);
  return error;
}

function single(host: Host, request: HostRequest): HostAnswer {
  try {
    if (request.call === "readTree") throw new Error("not here");
    return request.call === "readBytes"
      ? host.readBytes(request.path, request.offset, request.sizeBytes)
      : host[request.call](request.path);
  } catch (error) {
    if (error instanceof BusbarError) return error;
    throw error;
  }
}

/** The size of a folder differs from look to look on some file systems, and errors are told by their code. */
function shown(answer: HostAnswer | undefined): unknown {
  if (answer instanceof BusbarError) return `error ${answer.code} ${answer.path}`;
  return answer instanceof Uint8Array ? [...answer] : answer;
}

function readTree(host: Host, request: TreeRequest): HostTree {
  const [answer] = host.batch([request]);
  assert(typeof answer === "object" && "folders" in answer, String(answer));
  return answer;
}

function shapeOf(tree: HostTree, root: string): Record<"folders" | "links" | "files", Record<string, unknown>> {
  const below = (map: ReadonlyMap<string, unknown>): Record<string, unknown> =>
    Object.fromEntries(
      Array.from(map, ([path, value]): [string, unknown] => {
        assert(path.startsWith(root), path);
        const plain = value instanceof Uint8Array ? new TextDecoder().decode(value) : value;
        return [path.slice(root.length), plain];
      }).sort(([a], [b]) => a < b ? -1 : 1),
    );
  return { folders: below(tree.folders), links: below(tree.links), files: below(tree.files) };
}

/** Makes a test of each point for one implementation. */
export function testHost({ name, make, cannot }: HostImplementation): void {
  for (const point of Object.keys(cannot)) {
    if (!POINTS.some((one) => one.name === point)) throw new Error(`${name}: there is no point '${point}'`);
  }
  for (const point of POINTS) {
    const reason = cannot[point.name];
    if (reason === undefined) {
      Deno.test(`${name}: ${point.name}`, async () => {
        using made = make();
        await point.check(made.host, made.root);
      });
    } else {
      Deno.test(`${name} cannot (${reason}): ${point.name}`, async () => {
        using made = make();
        await assertRejects(async () => await point.check(made.host, made.root));
        // What it refuses, it leaves as it was.
        if (ifReadable(() => made.host.readText(`${made.root}/text`)) !== "one") {
          throw new Error("it changed something");
        }
        assertEquals(ifPresent(() => made.host.list(`${made.root}/none`)), null);
      });
    }
  }
}
