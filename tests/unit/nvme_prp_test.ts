import { assert, assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { type DmaSegment, prpEntries, type PrpListPage, prpListPages, writePrps } from "../../src/nvme/queue/prp.ts";
import { writeSgl } from "../../src/nvme/queue/sgl.ts";
import { Random } from "./random.ts";

const PAGE = 4096;

function lists(count: number, pageBytes = PAGE): PrpListPage[] {
  return Array.from({ length: count }, (_, i) => ({
    iova: BigInt(0x9_0000_0000 + i * pageBytes),
    entries: new BigUint64Array(pageBytes / 8).fill(0xdeadn),
  }));
}

/** Walks pointers as a controller does, from the rules of NVMe Base 2.0 §4.1.1 alone, and lists what it would touch. */
function walk(
  prp1: bigint,
  prp2: bigint,
  sizeBytes: number,
  pages: readonly PrpListPage[],
  pageBytes: number,
): DmaSegment[] {
  const touched: DmaSegment[] = [];
  let left = sizeBytes;
  const touch = (iova: bigint): void => {
    const room = pageBytes - Number(iova % BigInt(pageBytes));
    const count = Math.min(left, room);
    touched.push({ iova, sizeBytes: count });
    left -= count;
  };
  touch(prp1);
  if (left === 0) return touched;
  if (left <= pageBytes) {
    assertEquals(prp2 % BigInt(pageBytes), 0n, "PRP2 as a data page has offset 0");
    touch(prp2);
    return touched;
  }
  let at = prp2;
  while (left > 0) {
    const list = pages.find((page) => at >= page.iova && at < page.iova + BigInt(pageBytes));
    assert(list !== undefined, `a pointer to ${at}, where no list is`);
    const slot = Number(at - list.iova) / 8;
    const entry = list.entries[slot] ?? 0n;
    assertEquals(entry % BigInt(pageBytes), 0n, "list entries have offset 0");
    const isLastSlot = slot === pageBytes / 8 - 1;
    if (isLastSlot && left > pageBytes) at = entry;
    else {
      touch(entry);
      at += 8n;
    }
  }
  return touched;
}

Deno.test("one page, two pages, and a list: the worked cases of the specification", () => {
  const pointers = (iova: bigint, sizeBytes: number, count = 1): unknown => {
    const pages = lists(count);
    const entries = prpEntries([{ iova, sizeBytes }], PAGE);
    return [writePrps(entries, pages, PAGE), entries.length, prpListPages(entries.length, PAGE)];
  };
  assertEquals(pointers(0x10000n, 4096), [{ prp1: 0x10000n, prp2: 0n }, 1, 0]);
  assertEquals(pointers(0x10004n, 512), [{ prp1: 0x10004n, prp2: 0n }, 1, 0]);
  assertEquals(pointers(0x10000n, 8192), [{ prp1: 0x10000n, prp2: 0x11000n }, 2, 0]);
  assertEquals(pointers(0x10800n, 4096), [{ prp1: 0x10800n, prp2: 0x11000n }, 2, 0]);
  assertEquals(pointers(0x10000n, 12288), [{ prp1: 0x10000n, prp2: 0x9_0000_0000n }, 3, 1]);
  // 513 pages: PRP1 and a full list page, whose last slot is data because nothing more follows.
  assertEquals((pointers(0x10000n, 513 * PAGE) as unknown[])[2], 1);
  // 514 pages: the last slot of the first page points to the second.
  assertEquals((pointers(0x10000n, 514 * PAGE, 2) as unknown[])[2], 2);
  assertEquals(prpListPages(1 + 511 + 512, PAGE), 2);
  assertEquals(prpListPages(1 + 511 + 513, PAGE), 3);
});

Deno.test("10000 random transfers are described so that a controller touches each byte once, in order", () => {
  const random = new Random("PRPs");
  for (let round = 0; round < 10_000; round++) {
    const pageBytes = random.pick([4096, 8192, 65536]);
    const page = BigInt(pageBytes);
    const segments: DmaSegment[] = [];
    const pieces = 1 + random.below(4);
    for (let i = 0; i < pieces; i++) {
      const offset = i === 0 ? 4 * random.below(pageBytes / 4) : 0;
      const whole = random.below(round % 50 === 0 ? 2000 : 20) * pageBytes;
      const tail = i === pieces - 1 ? 1 + random.below(pageBytes) : 0;
      const sizeBytes = i === pieces - 1 ? whole + tail : whole + (pageBytes - offset);
      segments.push({ iova: BigInt(1 + random.below(2 ** 30)) * page + BigInt(offset), sizeBytes });
    }
    const entries = prpEntries(segments, pageBytes);
    const pages = lists(prpListPages(entries.length, pageBytes), pageBytes);
    const { prp1, prp2 } = writePrps(entries, pages, pageBytes);
    const sizeBytes = segments.reduce((sum, segment) => sum + segment.sizeBytes, 0);
    const touched = walk(prp1, prp2, sizeBytes, pages, pageBytes);
    // Joined where they meet, the touched pieces are the segments (segments that happen to meet are joined too).
    assertEquals(join(touched), join(segments));
  }
});

function join(segments: readonly DmaSegment[]): DmaSegment[] {
  const joined: DmaSegment[] = [];
  for (const segment of segments) {
    const last = joined.at(-1);
    if (last !== undefined && last.iova + BigInt(last.sizeBytes) === segment.iova) {
      joined[joined.length - 1] = { iova: last.iova, sizeBytes: last.sizeBytes + segment.sizeBytes };
    } else joined.push(segment);
  }
  return joined;
}

Deno.test("what no controller may be given is refused here: address 0, odd addresses, holes inside pages, wrapping", () => {
  const cases: readonly [DmaSegment[], string][] = [
    [[{ iova: 0n, sizeBytes: 4096 }], "no buffer lies at address 0"],
    [[{ iova: 0x10002n, sizeBytes: 4096 }], "multiple of 4"],
    [[{ iova: 0x10000n, sizeBytes: 0 }], "a piece of 0 bytes"],
    [[{ iova: 0x10000n, sizeBytes: 1.5 }], "a piece of 1.5 bytes"],
    [[{ iova: 0x10000n, sizeBytes: 4096 }, { iova: 0x20010n, sizeBytes: 16 }], "only the first piece may begin inside"],
    [[{ iova: 0x10000n, sizeBytes: 100 }, { iova: 0x20000n, sizeBytes: 16 }], "only the last piece may end inside"],
    [[{ iova: (1n << 64n) - 4096n, sizeBytes: 8192 }], "more than 64 bits"],
  ];
  for (const [segments, message] of cases) {
    assertEquals(assertThrows(() => prpEntries(segments, PAGE), BusbarError, message).code, "out-of-range");
  }
  const entries = prpEntries([{ iova: 0x10000n, sizeBytes: 3 * PAGE }], PAGE);
  assertThrows(() => writePrps(entries, [], PAGE), BusbarError, "need 1 list pages");
  const [list] = lists(1);
  assert(list !== undefined);
  assertThrows(
    () => writePrps(entries, [{ ...list, iova: 0x9_0000_0010n }], PAGE),
    BusbarError,
    "must be page-aligned",
  );
});

Deno.test("SGLs: one piece in the command, several in a last segment", () => {
  assertEquals(writeSgl([{ iova: 0x1234n, sizeBytes: 0x200 }], null), [0x1234n, 0x200n]);
  const list = { iova: 0x8000n, entries: new BigUint64Array(4) };
  const pointer = writeSgl([{ iova: 0x1000n, sizeBytes: 16 }, { iova: 0x2000n, sizeBytes: 32 }], list);
  assertEquals(pointer, [0x8000n, 0x3000_0000_0000_0020n]);
  assertEquals([...list.entries], [0x1000n, 16n, 0x2000n, 32n]);
  assertThrows(() => writeSgl([{ iova: 0n, sizeBytes: 1 }], null), BusbarError);
});
