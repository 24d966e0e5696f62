/**
 * Which C file uses a symbol that another one defines, found in the text: for circles between them.
 *
 * It knows the style of this project: what begins at the start of a line is at file scope. Names that macros paste
 * together (`bb_read##BITS`) are not seen.
 * @module
 */

import { findCircles } from "./imports.ts";

/** Circles of use between the .c files of one library, each as the way round: `a.c -> b.c -> a.c`. */
export function findCCircles(files: ReadonlyMap<string, string>): string[] {
  return findCircles(usesOf(files));
}

/** For each C file the files of its library that define what it uses. A library is a folder with what lies below it. */
export function usesOf(files: ReadonlyMap<string, string>): Map<string, string[]> {
  const sources = [...files].filter(([file]) => file.endsWith(".c")).map(([file, text]) => ({
    file,
    library: file.split("/").slice(0, -1).slice(0, 2).join("/"),
    ...symbolsOf(text),
  }));
  return new Map(sources.map(({ file, library, used, owned }) => [
    file,
    sources.filter((other) => other.file !== file && other.library === library)
      .filter(({ exported }) => [...exported].some((name) => used.has(name) && !owned.has(name)))
      .map((other) => other.file),
  ]));
}

/** What a C file defines for others, what it defines at all, and every word in it. */
export function symbolsOf(text: string): { exported: Set<string>; owned: Set<string>; used: Set<string> } {
  const code = withoutText(withStaticMacros(text));
  const used = new Set(code.match(/\b[A-Za-z_]\w*/g) ?? []);
  const exported = new Set<string>(), owned = new Set<string>();
  for (const [whole, name = ""] of atFileScope(code)) {
    owned.add(name);
    if (!/\bstatic\b/.test(whole)) exported.add(name);
  }
  return { exported, owned, used };
}

/** Definitions of functions and of variables, as the text up to their body or value, and their name. */
function atFileScope(code: string): (readonly [string, string])[] {
  const functions = /^(?!typedef\b|return\b|else\b)[A-Za-z_][\w \t*]*?\b(\w+)\s*\([^;{}]*\)\s*\{/gm;
  const variables = /^(?!extern\b|typedef\b|return\b)[A-Za-z_][\w \t*]*?\b(\w+)\s*(?:\[[^\]]*\]\s*)*(?:=|;)/gm;
  return [...code.matchAll(functions), ...code.matchAll(variables)].map(([whole, name = ""]) => [whole, name]);
}

/** The code with the word `static` where a macro stands for it: `INLINE void scan(…)`. */
function withStaticMacros(text: string): string {
  const macros = [...text.matchAll(/^#define (\w+) (?:[^\n]*\\\n)*[^\n]*\bstatic\b/gm)].map(([, name = ""]) => name);
  return macros.length === 0 ? text : text.replace(new RegExp(`\\b(${macros.join("|")})\\b`, "g"), "static");
}

/** The code without comments, attributes, preprocessor lines, and what stands in quotes. */
function withoutText(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/g, " ")
    .replace(/__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)\s*/g, "")
    .replace(/^[ \t]*#(?:[^\n]*\\\n)*[^\n]*/gm, "");
}
