/**
 * A stranger's text through every renderer: a few strings every day (renderers_test.ts), 20,000 through each in the long
 * run.
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { setColorEnabled } from "@std/fmt/colors";

import { printableLines } from "../../src/core/printable.ts";
import { assertHarmless, randomText } from "./hostile_text.ts";
import { Random } from "./random.ts";
import { NO_STRANGERS_TEXT, type Renderer, RENDERERS } from "./renderers.ts";

const FOLDER = new URL("../../tools/render/", import.meta.url);
/** Every text of a stranger has one: what a renderer shows of them is seen by it. */
const MARK = "☠";

async function check(name: string, { text, file, scripts = 0 }: Renderer, count: number): Promise<void> {
  const random = new Random(name);
  setColorEnabled(false);
  let used = 0;
  const next = (): string => {
    used++;
    return MARK + randomText(random);
  };
  do {
    const before = used;
    if (text !== undefined) {
      const lines = text(next);
      assert(lines.some((line) => line.includes(MARK)), `${name} shows nothing of its sample`);
      assertHarmless(printableLines(lines.join("\n")), name);
    }
    if (file !== undefined) {
      const content = await file(next);
      assert(content.includes(MARK), `${name} shows nothing of its sample`);
      assertHarmless(content, name);
      assertEquals(content.match(/<(?:script|img|iframe)/gi) ?? [], Array(scripts).fill("<script"), name);
    }
    assert(used > before, `${name} took no text`);
  } while (used < count);
}

/** Registers a test for each renderer, and one that every renderer has one. */
export function registerRendererTests(count: number): void {
  for (const [file, renderers] of Object.entries(RENDERERS)) {
    Deno.test(`${count} random strings with control characters through ${file}: none arrives raw`, async () => {
      for (const [name, renderer] of Object.entries(renderers)) await check(`${file} ${name}`, renderer, count);
    });
  }

  Deno.test("every function that tools/render exports is tested with a stranger's text, or takes none", async () => {
    const found: string[] = [];
    const walk = async (folder: string): Promise<void> => {
      for await (const { name, isDirectory } of Deno.readDir(new URL(folder, FOLDER))) {
        if (isDirectory) await walk(`${folder}${name}/`);
        else if (name.endsWith(".ts")) {
          const module = await import(new URL(folder + name, FOLDER).href) as Record<string, unknown>;
          found.push(
            ...Object.entries(module).filter(([, value]) => typeof value === "function").map(([one]) =>
              `${folder}${name} ${one}`
            ),
          );
        }
      }
    };
    await walk("./");
    // JSON has one way out, printJson, which escapes; a schema holds only texts of ours.
    const rendering = found.map((one) => one.slice(2)).filter((one) =>
      !/(Json|Document|Schemas?)$|^sim\/schemas\.ts/.test(one)
    );
    const names = (table: Readonly<Record<string, readonly string[]>>): string[] =>
      Object.entries(table).flatMap(([file, list]) => list.map((name) => `${file} ${name}`));
    const tested = Object.fromEntries(Object.entries(RENDERERS).map(([file, one]) => [file, Object.keys(one)]));
    assertEquals(rendering.sort(), [...names(tested), ...names(NO_STRANGERS_TEXT)].sort());
  });
}
