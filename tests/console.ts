/**
 * Blocks marked `console` in the pages: what is typed behind `$`, and what comes out. They are run, and what comes out is
 * compared with what the page says.
 *
 * `…` stands for what is left out: on a line of its own for any number of lines, inside a line for any text. What differs
 * between runs is masked on both sides: times, rates, dates, process numbers. Everything else is compared as it is. Behind
 * `console` may stand what else differs between machines: `numbers` masks all numbers, `not-run` is for what needs somebody
 * at the keyboard; the reason is a comment before the block.
 * @module
 */

/** A command and what it prints. */
export interface ConsoleCommand {
  /** The line behind `$`. */
  readonly command: string;
  /** The lines behind it. */
  readonly output: readonly string[];
}

/** A block of a page. */
export interface ConsoleBlock {
  /** The page, and the line of the fence: `docs/tools/mmio.md:19`. */
  readonly place: string;
  /** What stands behind `console`. */
  readonly options: readonly string[];
  /** Its commands, in order. They share a folder. */
  readonly commands: readonly ConsoleCommand[];
}

/** The blocks of a page. */
export function consoleBlocks(path: string, text: string): ConsoleBlock[] {
  const blocks: ConsoleBlock[] = [];
  let block: { place: string; options: string[]; commands: { command: string; output: string[] }[] } | null = null;
  for (const [index, line] of text.split("\n").entries()) {
    const fence = /^```console\b(.*)$/.exec(line);
    if (block === null && fence !== null) {
      block = { place: `${path}:${index + 1}`, options: (fence[1] ?? "").split(/\s+/).filter(Boolean), commands: [] };
    } else if (block !== null && line === "```") {
      blocks.push(block);
      block = null;
    } else if (block !== null) {
      if (line.startsWith("$ ")) block.commands.push({ command: line.slice(2), output: [] });
      else block.commands.at(-1)?.output.push(line);
    }
  }
  return blocks;
}

/** The machine of the lab that a command asks for, and what is run there; null for what runs here. */
export function labCommand(command: string): { readonly machine: string; readonly words: string } | null {
  const match = /^deno task lab run ([\w-]+) -- (.*)$/.exec(command);
  return match === null ? null : { machine: match[1] ?? "", words: match[2] ?? "" };
}

const MASKS: readonly (readonly [RegExp, string])[] = [
  [/\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?Z?/g, "<date>"],
  [/\bprocess(?:es)? \d+/g, "<process>"],
  [/\b\d[\d.,]*(?: ?[KMGT]i?)? ?(?:IOPS|B\/s|[KMGT]i?B\/s|bytes\/s|elements\/s|\/s)(?!\w)/g, "<rate>"],
  [/\b\d[\d.,]*(?:e-?\d+)? ?(?:ns|µs|us|ms|s|min|h)\b/g, "<time>"],
  [/\b(?:avx512|avx2|neon|portable|baseline) (?=loops)/g, "<loops> "],
];

/** A line without what differs from run to run. Runs of spaces count as one: columns are as wide as what is in them. */
export function masked(line: string, options: readonly string[] = []): string {
  let text = line;
  for (const [pattern, by] of MASKS) text = text.replace(pattern, by);
  if (options.includes("numbers")) text = text.replace(/\b(?:0x[0-9a-f]+|\d[\d.,]*)\b/g, "<number>");
  return text.replace(/\s+/g, " ").trim();
}

/** The first difference between what came out and what a page says, in words; null when there is none. */
export function difference(
  printed: readonly string[],
  said: readonly string[],
  options: readonly string[] = [],
): string | null {
  const got = printed.map((line) => masked(line, options)), want = said.map((line) => masked(line, options));
  // Where each line of the page may end: the set of places in what came out that it can have led to.
  let places = new Set([0]);
  for (const [index, line] of want.entries()) {
    const next = new Set<number>();
    for (const place of places) {
      if (line === "…") { for (let to = place; to <= got.length; to++) next.add(to); }
      else if (place < got.length && lineFits(got[place] ?? "", line)) next.add(place + 1);
    }
    if (next.size === 0) {
      const at = Math.min(...places);
      return `line ${index + 1} of the page is '${said[index]}', printed is '${printed[at] ?? "(nothing more)"}'`;
    }
    places = next;
  }
  return places.has(got.length) ? null : `the page ends before '${printed[Math.max(...places)]}'`;
}

function lineFits(got: string, want: string): boolean {
  const parts = want.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`).test(got);
}
