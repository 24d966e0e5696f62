/**
 * JSON Schema validation, by two libraries that are not ours and share no code: ajv and @cfworker/json-schema.
 * @module
 */

import { type Schema, Validator } from "@cfworker/json-schema";
import { Ajv2020 } from "ajv/dist/2020.js";

interface Compiled {
  readonly ajv: ReturnType<Ajv2020["compile"]>;
  readonly other: Validator;
}

/** A schema is compiled once: that takes seconds for the largest. */
const compiled = new WeakMap<object, Compiled>();

function compile(schema: unknown): Compiled {
  const document = schema as Record<string, unknown>;
  const found = compiled.get(document);
  if (found !== undefined) return found;
  const made = {
    ajv: new Ajv2020({ strict: true, strictTypes: false, strictTuples: false, keywords: ["x-volatile"] }).compile(
      document,
    ),
    other: new Validator(document as Schema, "2020-12", false),
  };
  compiled.set(document, made);
  return made;
}

/** A function that says whether a document fits the schema, by ajv alone; the schema itself must be valid. */
export function validator(schema: unknown): (document: unknown) => boolean {
  const { ajv } = compile(schema);
  return (document) => ajv(document) === true;
}

/** Why a document does not fit, in one line; empty when both validators say that it does. */
export function schemaErrors(schema: unknown, document: unknown): string {
  const { ajv, other } = compile(schema);
  if (!ajv(document)) return new Ajv2020().errorsText(ajv.errors);
  const { valid, errors } = other.validate(document);
  return valid
    ? ""
    : `the second validator: ${errors.map(({ instanceLocation, error }) => `${instanceLocation} ${error}`)}`;
}
