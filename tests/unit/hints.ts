/**
 * Finds the remedies in our sources: every text that can stand in the hint or remedy of an error or finding.
 * @module
 */

/** Where such texts are: properties and variables of these names, results of such functions, arguments of such parameters. */
const NAME = /^(?:hint|remedy|meanings)$/;
const HOLDER = /hint|remed|howTo|KILLED_DETAILS/i;

interface Place {
  readonly range: readonly [number, number];
}

interface TextNode extends Place {
  readonly text: string;
}

/** Functions by name, with the place of a parameter for a hint. */
type Parameters = Map<string, number>;

/** A node of the linter's syntax tree, as far as it is looked at here. */
interface SyntaxNode extends Place {
  readonly type: string;
  readonly name?: string;
  readonly value?: unknown;
  readonly key?: SyntaxNode;
  readonly id?: SyntaxNode | null;
  readonly init?: SyntaxNode | null;
  readonly left?: SyntaxNode;
  readonly callee?: SyntaxNode;
  readonly property?: SyntaxNode;
  readonly params?: readonly SyntaxNode[];
  readonly arguments?: readonly SyntaxNode[];
  readonly parameter?: SyntaxNode;
  readonly quasis?: readonly { readonly cooked: string }[];
}

function parameterName(node: SyntaxNode): string {
  const inner = node.type === "TSParameterProperty" ? node.parameter ?? node : node;
  return (inner.type === "AssignmentPattern" ? inner.left?.name : inner.name) ?? "";
}

/**
 * The hints in the text of a module; `…` stands for what is filled in.
 *
 * @param name the module's name, for the parser
 */
export function hintsIn(source: string, name: string): string[] {
  const texts: TextNode[] = [];
  const places: Place[] = [];
  const parameters: Parameters = new Map();
  const calls: { readonly name: string; readonly args: readonly SyntaxNode[] }[] = [];
  const takes = (called: string, node: SyntaxNode): void => {
    const index = (node.params ?? []).findIndex((parameter) => /^(?:hint|remedy)$/.test(parameterName(parameter)));
    if (index < 0) return;
    parameters.set(called, index);
    for (const parameter of node.params ?? []) if (parameter.type === "AssignmentPattern") places.push(parameter);
  };
  const handlers = {
    Literal: (node: SyntaxNode) => {
      if (typeof node.value === "string") texts.push({ text: node.value, range: node.range });
    },
    TemplateLiteral: (node: SyntaxNode) => {
      texts.push({ text: (node.quasis ?? []).map(({ cooked }) => cooked).join("…"), range: node.range });
    },
    Property: (node: SyntaxNode) => {
      if (NAME.test(node.key?.name ?? "") && node.value !== undefined) places.push(node.value as SyntaxNode);
    },
    VariableDeclarator: (node: SyntaxNode) => {
      const variable = node.id?.name ?? "";
      const init = node.init ?? null;
      if (init === null) return;
      if (init.type === "ArrowFunctionExpression") takes(variable, init);
      else if (HOLDER.test(variable)) places.push(init);
    },
    FunctionDeclaration: (node: SyntaxNode) => {
      const called = node.id?.name ?? "";
      takes(called, node);
      if (HOLDER.test(called)) places.push(node);
    },
    MethodDefinition: (node: SyntaxNode) => {
      const called = node.key?.name ?? "";
      if (typeof node.value === "object" && node.value !== null) takes(called, node.value as SyntaxNode);
      if (HOLDER.test(called)) places.push(node);
    },
    CallExpression: (node: SyntaxNode) => {
      const called = node.callee?.name ?? node.callee?.property?.name ?? "";
      calls.push({ name: called, args: node.arguments ?? [] });
    },
  };
  Deno.lint.runPlugin(
    // The linter's types are a union for each node: here a few of their members are read.
    { name: "hints", rules: { find: { create: () => handlers as unknown as Deno.lint.LintVisitor } } },
    name,
    source,
  );
  for (const { name: called, args } of calls) {
    const argument = args[parameters.get(called) ?? args.length];
    if (argument !== undefined) places.push(argument);
  }
  const isInside = (text: TextNode): boolean =>
    places.some(({ range: [from, to] }) => from <= text.range[0] && text.range[1] <= to);
  // A text within the placeholder of another is part of what is filled in, and a hint of its own when it says something.
  return [...new Set(texts.filter(isInside).map(({ text }) => text.trim()).filter((text) => /[A-Za-z]{3}/.test(text)))];
}

/** The hints of all modules below some folders, each with the modules that have it. */
export async function allHints(root: string, folders: readonly string[]): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  const walk = async (folder: string): Promise<void> => {
    for await (const entry of Deno.readDir(`${root}/${folder}`)) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory) await walk(path);
      else if (path.endsWith(".ts")) {
        for (const text of hintsIn(await Deno.readTextFile(`${root}/${path}`), entry.name)) {
          found.set(text, [...found.get(text) ?? [], path]);
        }
      }
    }
  };
  for (const folder of folders) await walk(folder);
  return found;
}
