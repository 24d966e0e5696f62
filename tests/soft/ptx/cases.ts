/**
 * All forms of PTX instructions that are tested, and the modules that they are in.
 * @module
 */

import { ADDRESS_FORMS } from "./address_forms.ts";
import { APPROXIMATE_FORMS } from "./approximate_forms.ts";
import { ATOMIC_FORMS } from "./atomic_forms.ts";
import { BIT_FORMS } from "./bit_forms.ts";
import { BLOCK_FORMS } from "./block_forms.ts";
import { CARRY_FORMS } from "./carry_forms.ts";
import { COMPARE_FORMS } from "./compare_forms.ts";
import { CONTROL_FORMS } from "./control_forms.ts";
import { CONVERT_FLOAT_FORMS } from "./convert_float_forms.ts";
import { CONVERT_FORMS } from "./convert_forms.ts";
import { CONVERT_SMALL_FORMS } from "./convert_small_forms.ts";
import { FLOAT_FORMS } from "./float_forms.ts";
import type { Form } from "./form.ts";
import { HALF_FORMS } from "./half_forms.ts";
import { INTEGER_FORMS } from "./integer_forms.ts";
import { MEMORY_FORMS } from "./memory_forms.ts";
import { SELECT_FORMS } from "./select_forms.ts";
import { WARP_FORMS } from "./warp_forms.ts";

export { type Form, UNWRITTEN } from "./form.ts";

export const FORMS: readonly Form[] = [
  ...INTEGER_FORMS,
  ...CARRY_FORMS,
  ...BIT_FORMS,
  ...COMPARE_FORMS,
  ...SELECT_FORMS,
  ...FLOAT_FORMS,
  ...HALF_FORMS,
  ...APPROXIMATE_FORMS,
  ...CONVERT_FORMS,
  ...CONVERT_FLOAT_FORMS,
  ...CONVERT_SMALL_FORMS,
  ...MEMORY_FORMS,
  ...ADDRESS_FORMS,
  ...ATOMIC_FORMS,
  ...WARP_FORMS,
  ...BLOCK_FORMS,
  ...CONTROL_FORMS,
];

/** Forms that are one PTX module. */
export interface FormModule {
  readonly family: string;
  /** The target: the least architecture that has all of them. */
  readonly sm: number;
  readonly text: string;
  /** Each form with the name of its kernel. */
  readonly forms: readonly { readonly kernel: string; readonly form: Form }[];
}

/** Groups forms by family and architecture. */
export function formModules(forms: readonly Form[] = FORMS): FormModule[] {
  const groups = Map.groupBy(forms, (form) => `${form.family} ${form.sm}`);
  return [...groups.values()].map((group) => {
    const named = group.map((form, index) => ({ kernel: `form_${index}`, form }));
    const [first] = group;
    if (first === undefined) throw new Error("a group of nothing");
    const declarations = [...new Set(group.map((form) => form.module).filter((text) => text !== ""))];
    const text = [
      `.version 9.0\n.target sm_${first.sm}\n.address_size 64`,
      ...declarations,
      ...named.map(({ kernel, form }) => `// ${form.name}\n.visible .entry ${kernel}${form.kernel}`),
    ].join("\n\n");
    return { family: first.family, sm: first.sm, text, forms: named };
  });
}
