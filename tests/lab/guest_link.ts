/**
 * A guest as another machine: a program that stands in for ssh, whose input and output are ports of the guest's virtio
 * console. Only this process talks to the guest, so the program hands its words and its streams to it by a socket.
 * @module
 */

import type { Guest } from "../../src/lab/guest.ts";

const CLIENT = new URL("./guest_link_client.ts", import.meta.url).pathname;

/** Connections to a guest. Dispose takes no more of them and removes what it made. */
export class GuestLink implements AsyncDisposable {
  /** What a tool needs in its environment: `ssh:guest` is the guest then. */
  readonly env: Readonly<Record<string, string>>;
  readonly #folder: string;
  readonly #listener: Deno.UnixListener;
  readonly #connections = new Set<Promise<void>>();

  private constructor(folder: string, listener: Deno.UnixListener) {
    this.#folder = folder;
    this.#listener = listener;
    this.env = { BUSBAR_SSH: `${folder}/ssh` };
  }

  /** Takes connections from now on. */
  static async open(guest: Guest): Promise<GuestLink> {
    const folder = await Deno.makeTempDir();
    const run = [Deno.execPath(), "run", "-A", "--no-check", "--cached-only", CLIENT, `${folder}/socket`];
    await Deno.writeTextFile(
      `${folder}/ssh`,
      `#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nexec ${run.join(" ")} "$*"\n`,
      { mode: 0o755 },
    );
    const link = new GuestLink(folder, Deno.listen({ transport: "unix", path: `${folder}/socket` }));
    link.#serve(guest);
    return link;
  }

  async #serve(guest: Guest): Promise<void> {
    for await (const connection of this.#listener) {
      // A guest that ends takes its connections with it, and says itself why.
      const one = serveOne(guest, connection).catch(() => {}).finally(() => this.#connections.delete(one));
      this.#connections.add(one);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await Promise.all(this.#connections);
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** One connection: a line with the words, then what the command reads; back comes what it writes. */
async function serveOne(guest: Guest, connection: Deno.UnixConn): Promise<void> {
  using _connection = connection;
  const { words, rest } = await firstLine(connection);
  const process = await guest.spawn(["sh", "-c", words], { stdin: true, cwd: "/" });
  const input = process.stdin?.getWriter();
  const feed = async (): Promise<void> => {
    if (rest.length > 0) await input?.write(rest);
    const buffer = new Uint8Array(65_536);
    try {
      for (let n = await connection.read(buffer); n !== null; n = await connection.read(buffer)) {
        await input?.write(buffer.slice(0, n));
      }
    } catch {
      // The client was killed, or the command ended first: both are the end of its input.
    }
    await input?.close().catch(() => {});
  };
  const drain = async (): Promise<void> => {
    let isOpen = true;
    for await (const bytes of process.stdout) {
      try {
        for (let at = 0; isOpen && at < bytes.length;) at += await connection.write(bytes.subarray(at));
      } catch {
        // Nobody reads any more, and the command's channel is free only when its output was read to its end.
        isOpen = false;
      }
    }
    if (isOpen) await connection.closeWrite().catch(() => {});
  };
  await Promise.all([feed(), drain(), process.stderr.cancel(), process.status]);
}

async function firstLine(connection: Deno.UnixConn): Promise<{ words: string; rest: Uint8Array<ArrayBuffer> }> {
  let bytes = new Uint8Array(0);
  const buffer = new Uint8Array(65_536);
  for (let newline = -1; newline < 0;) {
    const count = await connection.read(buffer) ?? 0;
    if (count === 0) break;
    bytes = new Uint8Array(await new Blob([bytes, buffer.slice(0, count)]).arrayBuffer());
    newline = bytes.indexOf(10);
    if (newline >= 0) {
      const words: string = JSON.parse(new TextDecoder().decode(bytes.subarray(0, newline)));
      return { words, rest: bytes.slice(newline + 1) };
    }
  }
  return { words: "exit 255", rest: bytes };
}
