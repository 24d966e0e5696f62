/**
 * JSON Schema validation, by a library that is not ours.
 * @module
 */

import { Ajv2020 } from "ajv/dist/2020.js";

type Validate = ReturnType<Ajv2020["compile"]>;

/** A schema is compiled once: that takes seconds for the largest. */
const compiled = new WeakMap<object, Validate>();

function compile(schema: unknown): Validate {
  const document = schema as Record<string, unknown>;
  const found = compiled.get(document);
  if (found !== undefined) return found;
  const validate = new Ajv2020({ strict: true, strictTypes: false, strictTuples: false, keywords: ["x-volatile"] })
    .compile(document);
  compiled.set(document, validate);
  return validate;
}

/** A function that says whether a document fits the schema; the schema itself must be valid. */
export function validator(schema: unknown): (document: unknown) => boolean {
  const validate = compile(schema);
  return (document) => validate(document) === true;
}

/** Why a document does not fit, in one line; empty when it does. */
export function schemaErrors(schema: unknown, document: unknown): string {
  const validate = compile(schema);
  return validate(document) ? "" : new Ajv2020().errorsText(validate.errors);
}
