/**
 * Runs forms on whatever executes PTX, and collects what is wrong.
 * @module
 */

import { type Form, type FormModule, UNWRITTEN } from "./cases.ts";

/** One launch of a kernel with parameters (inputs, outputs, rows). */
export interface KernelLaunch {
  readonly kernel: string;
  readonly grid: number;
  readonly block: number;
  readonly input: Uint8Array<ArrayBuffer>;
  /** What the output holds before. */
  readonly output: Uint8Array<ArrayBuffer>;
  readonly rows: number;
}

/** What executes PTX. */
export interface KernelRunner {
  /** Loads a module and runs the launches one after the other; the outputs after all of them. */
  run(ptx: string, launches: readonly KernelLaunch[]): Promise<Uint8Array<ArrayBuffer>[]>;
}

/** Launches every form of a module in all its shapes. One line for each form that is wrong: its name, and the first rows. */
export async function wrongForms(runner: KernelRunner, module: FormModule): Promise<string[]> {
  const planned = module.forms.flatMap(({ kernel, form }) => form.shapes.map((shape) => ({ kernel, form, shape })));
  const outputs = await runner.run(
    module.text,
    planned.map(({ kernel, form, shape }) => ({
      kernel,
      ...shape,
      input: form.input,
      output: new Uint8Array(form.outputBytes).fill(UNWRITTEN),
      rows: form.rows,
    })),
  );
  return planned.flatMap(({ form, shape }, index) => {
    const wrong = form.check(outputs[index] ?? new Uint8Array());
    if (wrong.length === 0) return [];
    return [describe(form, shape.block, wrong)];
  });
}

function describe(form: Form, block: number, wrong: readonly string[]): string {
  const shown = wrong.slice(0, 3).map((line) => `\n    ${line}`).join("");
  const more = wrong.length > 3 ? `\n    and ${wrong.length - 3} more` : "";
  return `${form.name} (sm_${form.sm}, blocks of ${block}):${shown}${more}`;
}
