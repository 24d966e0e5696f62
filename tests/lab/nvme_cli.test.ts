/** Our tables against nvme-cli: random pages, decoded by both, compared over nvme-cli's own keys. Needs no guest. */

import { assert, assertThrows } from "@std/assert";

import { decodePage, type NvmePage, pageNamed } from "../../src/nvme/tables/pages.ts";
import { unless } from "../needs.ts";
import { Random } from "../unit/random.ts";
import { cannotFindNvmeCli, decodeByNvmeCli, findNvmeCli, type NvmeCli } from "./nvme_cli.ts";
import { compareKeys, type Structure, STRUCTURES, type Tally } from "./nvme_cli_keys.ts";

const reason = cannotFindNvmeCli();
let cli: Promise<NvmeCli> | null = null;

function test(name: string, body: (cli: NvmeCli) => Promise<void>): void {
  Deno.test({ ...unless(reason, name), fn: async () => await body(await (cli ??= findNvmeCli())) });
}

function pageOf({ page }: Structure): NvmePage {
  const found = pageNamed(page);
  assert(found !== null, page);
  return found;
}

function randomPages(random: Random, { pages, sizeBytes, tame }: Structure): Uint8Array<ArrayBuffer>[] {
  return Array.from({ length: pages }, () => {
    const page = random.bytes(sizeBytes);
    tame?.(page);
    return page;
  });
}

for (const structure of STRUCTURES) {
  test(`${structure.pages} random pages of ${structure.page}: every key of nvme-cli is in our table, with the same value`, async (cli) => {
    const pages = randomPages(new Random(structure.page), structure);
    const theirs = await decodeByNvmeCli(cli, structure.command, structure.answer, pages);
    const tally: Tally = { values: 0 };
    for (const [i, page] of pages.entries()) {
      compareKeys(theirs[i] ?? {}, decodePage(pageOf(structure), page), structure.keys, `page ${i}`, tally);
    }
    assert(tally.values >= structure.pages, `only ${tally.values} values were compared`);
  });
}

test("a key that our table lacks fails the comparison, and so does a value that is off by one bit", async (cli) => {
  const [structure] = STRUCTURES;
  assert(structure !== undefined);
  const page = new Random("one page").noise(4096);
  const [theirs] = await decodeByNvmeCli(cli, structure.command, structure.answer, [page]);
  const ours = decodePage(pageOf(structure), page);
  const compare = (theirs: Parameters<typeof compareKeys>[0]): void =>
    compareKeys(theirs, ours, structure.keys, "page", { values: 0 });
  assert(theirs !== undefined);
  compare(theirs);
  assertThrows(() => compare({ ...theirs, newfield: { number: "1" } }), Error, "'page.newfield' stands for nothing");
  const vid = theirs.vid as { number: string };
  assertThrows(() => compare({ ...theirs, vid: { number: String(Number(vid.number) ^ 1) } }), Error, "page.vid");
});
