/**
 * Lint rules of this project, for what the compiler cannot see.
 *
 * - `busbar/no-exit`: `Deno.exit` skips `using` and so the undo journal. Only `tools/cli/run.ts` may call it.
 * - `busbar/dlopen-in-ffi`: `Deno.dlopen` and `UnsafePointerView` belong to `ffi/`.
 * - `busbar/no-host-write`: changes to the machine go through the undo journal, which alone calls `Host.write…`.
 */

const EXIT_ALLOWED = ["tools/cli/run.ts", "tests/run.ts", "tests/check.ts"];

/** The path of a file below the checkout's root. */
function within(filename: string, ...places: string[]): boolean {
  return places.some((place) => filename.includes(`/${place}`));
}

function isDenoMember(node: Deno.lint.MemberExpression, name: string): boolean {
  return node.object.type === "Identifier" && node.object.name === "Deno" &&
    node.property.type === "Identifier" && node.property.name === name;
}

const plugin: Deno.lint.Plugin = {
  name: "busbar",
  rules: {
    "no-exit": {
      create(context): Deno.lint.LintVisitor {
        return {
          MemberExpression(node): void {
            if (isDenoMember(node, "exit") && !within(context.filename, ...EXIT_ALLOWED)) {
              context.report({ node, message: "Deno.exit skips `using`: set Deno.exitCode and return" });
            }
          },
        };
      },
    },
    "dlopen-in-ffi": {
      create(context): Deno.lint.LintVisitor {
        return {
          MemberExpression(node): void {
            for (const name of ["dlopen", "UnsafePointerView", "UnsafeCallback", "UnsafeFnPointer"]) {
              if (isDenoMember(node, name) && !within(context.filename, "ffi/", "tests/", "bench/")) {
                context.report({ node, message: `Deno.${name} belongs to ffi/` });
              }
            }
          },
        };
      },
    },
    "no-host-write": {
      create(context): Deno.lint.LintVisitor {
        return {
          CallExpression(node): void {
            const callee = node.callee;
            if (
              callee.type === "MemberExpression" && callee.property.type === "Identifier" &&
              ["writeText", "writeBytes"].includes(callee.property.name) &&
              callee.object.type === "Identifier" && callee.object.name === "host" &&
              !within(context.filename, "src/core/undo/", "tests/")
            ) {
              context.report({ node, message: "write through the undo journal (src/core/undo/journal.ts)" });
            }
          },
        };
      },
    },
  },
};

export default plugin;
