/**
 * JSON Schema validation, by a library that is not ours.
 * @module
 */

import { Ajv2020 } from "ajv/dist/2020.js";

/** A function that says whether a document fits the schema; the schema itself must be valid. */
export function validator(schema: unknown): (document: unknown) => boolean {
  const ajv = new Ajv2020({ strict: true, strictTypes: false, strictTuples: false });
  const validate = ajv.compile(schema as Record<string, unknown>);
  return (document) => validate(document) === true;
}

/** Why a document does not fit, in one line; empty when it does. */
export function schemaErrors(schema: unknown, document: unknown): string {
  const ajv = new Ajv2020({ strict: true, strictTypes: false, strictTuples: false });
  const validate = ajv.compile(schema as Record<string, unknown>);
  return validate(document) ? "" : ajv.errorsText(validate.errors);
}
