/**
 * Fuzzing by a seeded generator: the same tests with few rounds every day (fuzz_test.ts) and many in the long run.
 * @module
 */

import { assert } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { rowsToJson } from "../../src/core/layout_json.ts";
import { textLines } from "../../src/core/layout_text.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { parsePciAddress } from "../../src/core/pci_address.ts";
import { parseBytes, parseDurationMs } from "../../src/core/units.ts";
import { decodePage, guessPage, NVME_PAGES } from "../../src/nvme/tables/pages.ts";
import { decodeRegisters, REGISTER_RUNS } from "../../src/nvme/tables/register_dump.ts";
import { decodeCapability, listCapabilities } from "../../src/pci/capabilities.ts";
import { bridgeWindows } from "../../src/pci/config_space.ts";
import { parseMachine } from "../../src/pci/machine_file.ts";
import { barRegisters, parseResources } from "../../src/pci/resources.ts";
import { reportLines } from "../../tools/render/nvme/nvme_identify.ts";
import { Random } from "./random.ts";

/** Anything may be refused, but only by a BusbarError that says something. */
function refuseOrTake(parse: () => unknown): void {
  try {
    parse();
  } catch (error) {
    assert(error instanceof BusbarError && error.message.length > 0, String(error));
  }
}

/** Text near to what the parsers take: pieces of right text, broken. */
function nearlyRight(random: Random, parts: readonly string[]): string {
  let text = "";
  for (let i = random.below(8); i >= 0; i--) {
    const part = random.pick(parts);
    text += random.below(4) === 0 ? part.slice(0, random.below(part.length + 1)) : part;
  }
  return random.below(20) === 0 ? text + String.fromCharCode(random.below(0x10000)) : text;
}

/** How often each generator is asked. */
export interface FuzzRounds {
  /** Register blocks, configuration spaces, texts and recorded machines. */
  readonly rounds: number;
  /** Pages of every kind. */
  readonly pageRounds: number;
  /** Chains of capabilities. */
  readonly chainRounds: number;
}

/** Registers the tests. */
export function registerFuzzTests({ rounds, pageRounds, chainRounds }: FuzzRounds): void {
  Deno.test(`${rounds} register blocks decode and render in text and JSON`, () => {
    const random = new Random("registers");
    for (let i = 0; i < rounds; i++) {
      const pieces = REGISTER_RUNS.map((run) => ({
        offset: run.offset,
        bytes: random.bytes(random.below(run.sizeBytes + 1)),
      }));
      const { registers } = decodeRegisters(pieces);
      // Rendering costs ten times the decoding, so it has fewer rounds.
      if (i % 10 === 0) {
        assert(textLines(registers).length >= registers.length);
        JSON.stringify(rowsToJson(registers));
      }
    }
  });

  Deno.test(`${pageRounds} pages of every kind, whole and cut, decode and render in text and JSON`, () => {
    const random = new Random("pages");
    for (const page of NVME_PAGES) {
      for (let i = 0; i < pageRounds; i++) {
        const bytes = random.bytes(i % 2 === 0 ? page.sizeBytes : random.below(page.sizeBytes + 65));
        const { rows } = decodePage(page, bytes);
        if (i % 10 !== 0) continue;
        JSON.stringify(rowsToJson(rows));
        reportLines(
          "fuzz",
          "from a file",
          { pages: [{ page, of: null, bytes, reason: null }], features: [] },
          random.pick(["overview", "all", "pages"] as const),
        );
        guessPage(bytes);
      }
    }
  });

  Deno.test(`${rounds} configuration spaces: capability lists end and decode`, () => {
    const random = new Random("configuration space");
    const sizes = [64, 256, 4096];
    for (let i = 0; i < rounds; i++) {
      const config = random.bytes(i % 50 === 0 ? random.below(4097) : random.pick(sizes.slice(0, 2)));
      if (config.length > 0x40 && random.below(2) === 0) {
        config[0x06] = 0x10;
        config[0x34] = 0x40 + 4 * random.below(0x30);
      }
      const { capabilities } = listCapabilities(config);
      for (const capability of capabilities) decodeCapability(capability, config);
      barRegisters(config);
      bridgeWindows(config);
    }
  });

  Deno.test(`${chainRounds} chains of every known capability at every place decode`, () => {
    const random = new Random("capability chains");
    for (let i = 0; i < chainRounds; i++) {
      const config = random.bytes(4096);
      config[0x06] = 0x10;
      config[0x34] = 0x40;
      for (let at = 0x40; at < 0x100; at += 0x10) {
        config.set([random.pick([1, 5, 0x0d, 0x10, 0x11]), at + 0x10 & 0xff], at);
      }
      for (let at = 0x100; at < 0x1000; at += 0x40) {
        const next = at + 0x40 === 0x1000 ? 0 : at + 0x40;
        const id = random.pick([1, 3, 0x0d, 0x0f, 0x10, 0x15, 0x23]);
        config.set([id, 0, 1 | (next & 0xf) << 4, next >> 4], at);
        if (id === 0x23 && random.below(2) === 0) {
          config.set([0x98, 0x1e, random.below(256), random.below(256), random.below(10), 0], at + 4);
        }
      }
      const { capabilities } = listCapabilities(config);
      assert(capabilities.length > 50);
      for (const capability of capabilities) rowsToJson(decodeCapability(capability, config).registers);
    }
  });

  Deno.test(`${rounds} texts: addresses, locators, sizes, durations, resource files`, () => {
    const random = new Random("texts");
    const parts = [
      "0000:",
      "01:",
      "1f",
      ".7",
      "00.0",
      "soft:",
      "nvme",
      "?",
      "size=",
      "&",
      "=",
      "%41",
      "%",
      "file:",
      "/dev/",
      "64",
      "KiB",
      "0x",
      "ffff",
      " ",
      "\n",
      "ms",
      "-1",
      "1.5",
      "0x0 0x3fff 0x40200\n",
    ];
    for (let i = 0; i < rounds; i++) {
      const text = nearlyRight(random, parts);
      for (const parse of [parsePciAddress, parseLocator, parseBytes, parseDurationMs, parseResources]) {
        refuseOrTake(() => parse(text));
      }
    }
  });

  Deno.test(`${rounds} recorded machines`, () => {
    const random = new Random("recorded machines");
    const line = `00: ${"00 ".repeat(15)}00\n`;
    const parts = [
      "# busbar recorded machine 2\n",
      "0000:01:00.0 x\n",
      "01:00.0\n",
      line,
      line.replace("00:", "10:"),
      line.replace("00:", "20:"),
      line.replace("00:", "30:"),
      '#file "/a" "b"\n',
      '#link "/a" "/a"\n',
      '#+"\n',
      "#region 0000:01:00.0 0 64\n",
      "#data 0x0 00\n",
      '#name "x"\n',
      "# end\n",
      "\n",
      "garbage\n",
      "00: zz\n",
    ];
    for (let i = 0; i < rounds; i++) {
      const text = random.below(10) === 0
        ? new TextDecoder().decode(random.bytes(random.below(200)))
        : nearlyRight(random, parts);
      refuseOrTake(() => parseMachine(text, "fuzz"));
    }
  });
}
