/** The device behind vfio-user: what a hypervisor asks, the transcript of all commands, copies; and sockets made and taken away. */

import { assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { Type2Gpu } from "../../src/type2/client.ts";
import { openType2, serveVfioUser } from "../../src/type2/open.ts";
import { withType2Libraries } from "./type2_device.ts";
import { ALL, FABRIC, transcript } from "./type2_transcript.ts";
import { MESSAGE, VfioUserClient, VfioUserTransport } from "./vfio_user.ts";

withType2Libraries();

const BAR4_BYTES = 16 << 20, WINDOW_BYTES = 0x101000;

/** A served socket in a folder of its own. */
class Socket implements AsyncDisposable {
  readonly path: string;
  readonly #served: Disposable;

  constructor(settings: Readonly<Record<string, string>> = {}) {
    this.path = `${Deno.makeTempDirSync()}/gpu`;
    const options = { memory: String(256 << 20), bar4: String(BAR4_BYTES), ...settings };
    this.#served = serveVfioUser(new Map(Object.entries(options)), this.path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#served[Symbol.dispose]();
    // Nothing is left in it, so it can be removed as it is.
    await Deno.remove(this.path.slice(0, this.path.lastIndexOf("/")));
  }
}

const words = (bytes: Uint8Array<ArrayBuffer>): number[] => [...new Uint32Array(bytes.buffer)];
const asked = (...numbers: number[]): Uint8Array<ArrayBuffer> => new Uint8Array(Uint32Array.from(numbers).buffer);

Deno.test("what a hypervisor asks of the function is answered: identity, BARs and their sizes, what may be mapped", async () => {
  await using socket = new Socket();
  using client = await VfioUserClient.connect(socket.path);
  const version = await client.ask(MESSAGE.version, new TextEncoder().encode('\0\0\0\0{"capabilities":{}}\0'));
  assertEquals([version.error, ...version.body.subarray(0, 4)], [0, 0, 0, 0, 0]);
  JSON.parse(new TextDecoder().decode(version.body.subarray(4, -1)));
  assertEquals(words((await client.ask(MESSAGE.info, asked(16, 0, 0, 0))).body), [16, 3, 9, 5]);
  assertEquals(words(await client.read(7, 0, 4)), [0x0d928086]);
  assertEquals(words(await client.read(7, 8, 4)), [0x05021001]);

  const region = async (index: number, room: number): Promise<number[]> =>
    words((await client.ask(MESSAGE.region, asked(room, 0, index, 0, 0, 0, 0, 0))).body);
  assertEquals(await region(0, 32), [32, 3, 0, 0, 0x10000, 0, 0, 0]);
  // DATA alone may be mapped of BAR2; that does not fit the first question, so it is asked again.
  assertEquals(await region(2, 32), [64, 15, 2, 32, 0x200000, 0, 0, 0]);
  const data = [0x10001, 0, 1, 0, 0x1000, 0, 0x100000, 0];
  assertEquals(await region(2, 64), [64, 15, 2, 32, 0x200000, 0, 0, 0, ...data]);
  assertEquals(await region(4, 32), [32, 7, 4, 0, BAR4_BYTES, 0, 0, 0]);
  assertEquals(await region(1, 32), [32, 0, 1, 0, 0, 0, 0, 0]);
  assertEquals(await region(7, 32), [32, 3, 7, 0, 256, 0, 0, 0]);
  assertEquals((await client.ask(MESSAGE.region, asked(32, 0, 9, 0, 0, 0, 0, 0))).error, 22);
  for (let i = 0; i < 5; i++) {
    assertEquals(words((await client.ask(MESSAGE.irq, asked(16, 0, i, 0))).body), [16, 0, i, 0]);
  }

  // Sizing: all ones come back without the bits below the size, and with the kind of the BAR.
  for (const [at, low] of [[0x10, 0xffff0004], [0x18, 0xffe0000c], [0x20, 0xff00000c]] as const) {
    await client.write(7, at, asked(0xffff_ffff, 0xffff_ffff));
    assertEquals(words(await client.read(7, at, 8)), [low, 0xffff_ffff]);
  }
  await client.write(7, 4, asked(0xffff_ffff));
  assertEquals(words(await client.read(7, 4, 4)), [0x0407]);
  await client.write(7, 0, asked(0));
  assertEquals(words(await client.read(7, 0, 4)), [0x0d928086]);
  assertEquals((await client.ask(MESSAGE.dmaMap, asked(32, 3, 0, 0, 0, 0, 4096, 0))).body.length, 0);
  const unmap = asked(24, 0, 0, 0, 4096, 0);
  assertEquals((await client.ask(MESSAGE.dmaUnmap, unmap)).body, unmap);
  assertEquals((await client.ask(MESSAGE.reset)).error, 0);
  assertEquals(words(await client.read(7, 4, 4)), [0]);
});

Deno.test("every command succeeds and fails over vfio-user as in this process", async () => {
  using inProcess = openType2(`soft:type2?memory=256MiB&${ALL}`);
  const wanted = await transcript(inProcess);
  await using socket = new Socket(FABRIC);
  using gpu = new Type2Gpu(await VfioUserTransport.open(socket.path, WINDOW_BYTES, 1 << 16));
  assertEquals(await transcript(gpu), wanted);
});

for (const [profile, dataBytes, windowBytes] of [["v1", 0xf000, 0x10000], ["v2", 1 << 20, WINDOW_BYTES]] as const) {
  Deno.test(`copies around DATA over vfio-user, ${profile}: equal`, async () => {
    await using socket = new Socket({ profile });
    using gpu = new Type2Gpu(await VfioUserTransport.open(socket.path, windowBytes));
    await gpu.begin();
    const pointer = await gpu.allocate(4 << 20);
    for (const size of [dataBytes - 1, dataBytes, dataBytes + 1, 3 * dataBytes + 5]) {
      const bytes = Uint8Array.from({ length: size }, (_, i) => Math.imul(i + size, 2654435761) >>> 24);
      await gpu.write(pointer, bytes);
      assertEquals(await gpu.read(pointer, size), bytes, `${size} bytes`);
    }
    await gpu.end();
  });
}

Deno.test("BAR4 that traps: the engine sees the CPU's accesses", async () => {
  await using socket = new Socket({ trap_bar4: "1" });
  using client = await VfioUserClient.connect(socket.path);
  const { body } = await client.ask(MESSAGE.region, asked(32, 0, 4, 0, 0, 0, 0, 0));
  assertEquals(words(body).slice(0, 2), [32, 3]);
  await client.write(4, 64, new Uint8Array(128));
  await client.read(4, 64, 8);
  await client.write(2, 0x10, asked(0xb0));
  // Hits, misses, requests: two lines written, one of them read.
  assertEquals([await client.word(2, 0x80, 8), await client.word(2, 0x88, 8), await client.word(2, 0x90, 8)], [
    1n,
    2n,
    3n,
  ]);
});

Deno.test("a hostile hypervisor: lengths that lie, regions past their end, nonsense; and the next one finds a fresh device", async () => {
  await using socket = new Socket();
  {
    using client = await VfioUserClient.connect(socket.path);
    assertEquals((await client.ask(99)).error, 95);
    assertEquals((await client.ask(MESSAGE.version)).error, 22);
    assertEquals((await client.ask(MESSAGE.version, asked(1))).error, 95);
    for (
      const [region, offset, count] of [[2, 0x1fffff, 8], [2, 0xffff_ffff, 1], [7, 255, 2], [8, 0, 1], [77, 0, 1], [
        4,
        0,
        1 << 30,
      ]]
    ) {
      const body = asked(offset ?? 0, 0, region ?? 0, count ?? 0);
      assertEquals((await client.ask(MESSAGE.read, body)).error, 22, `region ${region}`);
      assertEquals((await client.ask(MESSAGE.write, body)).error, 22, `region ${region}`);
    }
    assertEquals((await client.ask(MESSAGE.write, asked(0, 0, 2, 0xffff_fff0, 1))).error, 22);
    await client.send(MESSAGE.reset, new Uint8Array(0), 0x10);
    await client.write(2, 0x1000, asked(0x12345678));
  }
  {
    // A message that says it is longer than any may be, and one shorter than its header: the connection ends.
    for (const size of [0xffff_ffff, 3]) {
      using raw = await Deno.connect({ transport: "unix", path: socket.path });
      await raw.write(new Uint8Array(Uint32Array.of(1, size, 0, 0).buffer));
      assertEquals(await raw.read(new Uint8Array(1)), null);
    }
  }
  using client = await VfioUserClient.connect(socket.path);
  assertEquals(words(await client.read(2, 0x1000, 4)), [0]);
});

Deno.test("a socket is one server's: a second is refused, a stale one is taken over, and other files stay", async () => {
  await using socket = new Socket({ backend: "none" });
  const serve = (path: string): Disposable => serveVfioUser(new Map([["backend", "none"]]), path);
  assertThrows(() => serve(socket.path), BusbarError, "another server has this socket");
  const folder = await Deno.makeTempDir();
  // What a killed server leaves: a name that nobody listens at.
  const left = Deno.listen({ transport: "unix", path: `${folder}/stale` });
  await Deno.rename(`${folder}/stale`, `${folder}/kept`);
  left.close();
  serve(`${folder}/kept`)[Symbol.dispose]();
  await Deno.writeTextFile(`${folder}/file`, "mine");
  assertThrows(() => serve(`${folder}/file`), BusbarError, "no socket");
  assertEquals(await Deno.readTextFile(`${folder}/file`), "mine");
  await Deno.chmod(folder, 0o755);
  assertThrows(() => serve(`${folder}/gpu`), BusbarError, "0700");
  await Deno.remove(folder, { recursive: true });
});
