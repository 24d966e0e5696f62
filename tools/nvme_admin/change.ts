/**
 * `nvme_admin firmware`, `feature`, `self-test`: what changes a drive and destroys nothing.
 * @module
 */

import { Argument, Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { BusbarError, systemError } from "../../src/core/error.ts";
import { nearest } from "../../src/core/locator.ts";
import { fieldPlace } from "../../src/core/layout.ts";
import { hex } from "../../src/core/units.ts";
import { ALL_NAMESPACES } from "../../src/nvme/driver/controller.ts";
import { selfTestState, waitForSelfTest } from "../../src/nvme/jobs/drive_state.ts";
import { COMMIT_ACTIONS, commitFirmware, downloadFirmware, firmwareSlots } from "../../src/nvme/jobs/firmware.ts";
import { decodeFeature, FEATURES, type NvmeFeature } from "../../src/nvme/tables/features.ts";
import { timeOption, unsigned } from "../cli/arguments.ts";
import { interruption, raiseExitStatus } from "../cli/run.ts";
import { type ActionResult, drawProgress, inFlight, namespaceOrAll, onDrive } from "./drive.ts";

/** The largest image that is read: no drive's is larger. */
const MAX_IMAGE_BYTES = 256 << 20;

/** `nvme_admin firmware`. */
export const firmware: CommandUnknownOpts = new Command("firmware")
  .description("List firmware slots; send an image and put it into a slot; choose the slot that runs.")
  .argument("<device>", "nvme0, 0000:01:00.0 or soft:nvme")
  .addArgument(new Argument("<action>", "what").choices(["list", "update", "activate"] as const))
  .argument("[image]", "update: the file")
  .option("--slot <n>", "1 to 7; 0 leaves the choice to the drive", (text) => Number(unsigned(text)), 0)
  .addOption(
    new Option("--commit <how>", "update: what happens with the image").choices(
      Object.keys(COMMIT_ACTIONS) as (keyof typeof COMMIT_ACTIONS)[],
    ).default("replace-and-activate" as const),
  )
  .option("--now", "activate: without a reset, where the drive can")
  .option("--write", "allow update and activate")
  .option("--force", "go on although something uses the drive")
  .option("--dry-run", "tell what would be done; send nothing")
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option("--json", "print one JSON document")
  .action(async (device, action, image, options) => {
    if (!Number.isInteger(options.slot) || options.slot > 7) {
      throw new BusbarError("usage", `--slot ${options.slot}: 0 to 7`);
    }
    if (action === "update" && image === undefined) throw new BusbarError("usage", "update from which image?");
    const bytes = action === "update" && image !== undefined ? readImage(image) : new Uint8Array(0);
    await onDrive(device, {
      name: `firmware ${action}`,
      kind: action === "list" ? "read" : "write",
      does: action === "update"
        ? `replaces firmware by ${image}`
        : action === "activate"
        ? `activates slot ${options.slot}`
        : "lists slots",
      perform: async (controller): Promise<ActionResult> => {
        const lines: string[] = [];
        if (action !== "list") {
          if (action === "update") {
            const draw = drawProgress(`send ${image}`);
            await inFlight(
              downloadFirmware(controller, bytes, (sent) => draw(sent / bytes.length), interruption),
              `send ${image}`,
              "the image was not sent whole, and no slot was changed: the drive runs what it ran",
            );
          }
          const how = action === "update" ? options.commit : options.now ? "activate-now" : "activate";
          const need = await inFlight(
            commitFirmware(controller, how, options.slot),
            `commit ${how}`,
            "Firmware Commit was sent: whether the slot was changed is not known; nvme_admin firmware list tells. Keep the power on",
          );
          lines.push(need === null ? `${how}: done` : `${how}: done; it runs after a ${need}`);
        }
        const slots = await firmwareSlots(controller);
        return {
          lines: [
            ...lines,
            ...slots.map(({ slot, revision, isActive, isNext, isReadOnly }) => {
              const words = [
                ...(isActive ? ["runs"] : []),
                ...(isNext ? ["runs after the next reset"] : []),
                ...(isReadOnly ? ["read-only"] : []),
              ];
              return `  slot ${slot}: ${revision === "" ? "empty" : revision}${
                words.length === 0 ? "" : ` (${words.join(", ")})`
              }`;
            }),
          ],
          json: { slots: slots.map((slot) => ({ ...slot })) },
        };
      },
    }, options);
  });

function readImage(path: string): Uint8Array {
  try {
    const { size } = Deno.statSync(path);
    if (size > MAX_IMAGE_BYTES) {
      throw new BusbarError("usage", `${path}: ${size} bytes are no firmware image`, { path });
    }
    return Deno.readFileSync(path);
  } catch (cause) {
    throw systemError(cause, "read", path);
  }
}

/** `temperature-threshold`, for a feature that the specification calls Temperature Threshold. */
function slugOf({ name }: NvmeFeature): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-|-$/g, "");
}

function featureNamed(text: string): NvmeFeature {
  const byId = /^(?:0x[0-9a-f]{1,2}|\d{1,3})$/i.test(text) ? FEATURES.find(({ id }) => id === Number(text)) : undefined;
  const found = byId ?? FEATURES.find((feature) => slugOf(feature) === text.toLowerCase());
  if (found !== undefined) return found;
  const near = nearest(text, FEATURES.map(slugOf));
  throw new BusbarError("usage", `there is no feature '${text}' in the tables`, {
    hint: near === null ? `there are ${FEATURES.map(slugOf).join(", ")}` : `did you mean ${near}?`,
  });
}

/** A number, or FIELD=VALUE over what stands there. */
function newValue(feature: NvmeFeature, current: number, words: readonly string[]): number {
  let value = current >>> 0;
  for (const word of words) {
    const [name = "", text] = word.split("=");
    if (text === undefined) {
      if (words.length > 1) throw new BusbarError("usage", `'${word}': one number, or FIELD=VALUE`);
      return Number(unsigned(word) & 0xffff_ffffn);
    }
    const [row] = feature.result.rows;
    const fields = row?.type === "uint" ? row.fields ?? [] : [];
    const field = fields.find((one) => one.name.toLowerCase() === name.toLowerCase());
    if (field === undefined) {
      throw new BusbarError("usage", `${feature.name} has no field '${name}'`, {
        hint: `it has ${fields.map((one) => one.name).join(", ")}`,
      });
    }
    const { low, width } = fieldPlace(field);
    const wanted = unsigned(text);
    if (wanted >= 1n << BigInt(width)) throw new BusbarError("usage", `${name}=${text}: it has ${width} bits`);
    const mask = ((1n << BigInt(width)) - 1n) << BigInt(low);
    value = Number(BigInt(value) & ~mask | wanted << BigInt(low));
  }
  return value >>> 0;
}

/** `nvme_admin feature`. */
export const feature: CommandUnknownOpts = new Command("feature")
  .description("Read a feature, or set it: by name or number, as a number or field by field.")
  .argument("<device>", "nvme0, 0000:01:00.0 or soft:nvme")
  .addArgument(new Argument("<action>", "what").choices(["get", "set"] as const))
  .argument("<feature>", "its number, or its name: temperature-threshold")
  .argument("[value...]", "set: a number, or FIELD=VALUE for each field that changes")
  .option("--namespace <n>", "of which namespace", namespaceOrAll)
  .option("--save", "keep it over power cycles")
  .option("--write", "allow set")
  .option("--force", "go on although something uses the drive")
  .option("--dry-run", "tell what would be done; send nothing")
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option("--json", "print one JSON document")
  .action(async (device, action, name, words, options) => {
    const which = featureNamed(name);
    if (action === "set" && words.length === 0) throw new BusbarError("usage", `set ${slugOf(which)} to what?`);
    if (action === "get" && words.length > 0) throw new BusbarError("usage", "get takes no value");
    if (action === "set" && which.dataBytes > 0) {
      throw new BusbarError(
        "unsupported",
        `${which.name} is set by ${which.dataBytes} bytes of data, which this tool does not send`,
      );
    }
    const of = options.namespace === undefined ? {} : { nsid: options.namespace };
    await onDrive(device, {
      name: `feature ${action}`,
      kind: action === "get" ? "read" : "write",
      does: action === "get" ? "reads a feature" : `sets ${which.name}${options.save ? " and saves it" : ""}`,
      perform: async (controller): Promise<ActionResult> => {
        const data = which.dataBytes === 0 ? {} : { dataBytes: which.dataBytes };
        const before = await controller.getFeature(which.id, { ...of, ...data });
        let after = before;
        if (action === "set") {
          const value = newValue(which, before.value, words);
          await inFlight(
            controller.setFeature(which.id, value, { ...of, save: options.save === true }),
            `set ${which.name}`,
            `Set Features was sent: whether ${which.name} changed is not known; nvme_admin feature get tells`,
          );
          after = await controller.getFeature(which.id, { ...of, ...data });
        }
        const { result } = decodeFeature(which, after.value, after.data ?? undefined);
        const fields = result.rows.flatMap((row) =>
          row.fields.map(({ field, value, meaning }) =>
            `  ${field.name} ${value}  ${field.title}${meaning === null ? "" : `: ${meaning}`}`
          )
        );
        const values = action === "get" ? hex(after.value, 8) : `${hex(before.value, 8)} → ${hex(after.value, 8)}`;
        return {
          lines: [`${which.name} (${hex(which.id, 2)}): ${values}`, ...fields],
          json: {
            feature: which.id,
            name: which.name,
            before: before.value,
            value: after.value,
            saved: options.save === true && action === "set",
          },
        };
      },
    }, options);
  });

const RESULTS: Readonly<Record<number, string>> = {
  0: "passed",
  1: "aborted by a self-test command",
  2: "aborted by a reset",
  3: "aborted: a namespace was removed",
  4: "aborted by Format NVM",
  5: "fatal error, the test did not complete",
  6: "failed, in a segment that is not known",
  7: "failed, in the segment that the log names",
  8: "aborted for a reason that is not known",
  9: "aborted by Sanitize",
};

/** `nvme_admin self-test`. */
export const selfTest: CommandUnknownOpts = new Command("self-test")
  .description("Let a drive test itself, or end the test that runs. Data stays.")
  .argument("<device>", "nvme0, 0000:01:00.0 or soft:nvme")
  .addArgument(new Argument("<kind>", "which").choices(["short", "extended", "abort", "status"] as const))
  .addOption(
    new Option("--namespace <n>", "which namespace, or all").argParser(namespaceOrAll).default(ALL_NAMESPACES, "all"),
  )
  .option("--no-wait", "do not wait for its end")
  .addOption(timeOption("--interval <time>", "look again in this time", "1s"))
  .addOption(timeOption("--timeout <time>", "how long to wait", "1440min"))
  .option("--write", "allow to begin or end a test")
  .option("--force", "go on although something uses the drive")
  .option("--dry-run", "tell what would be done; send nothing")
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option("--json", "print one JSON document")
  .action(async (device, kind, options) => {
    await onDrive(device, {
      name: "self-test",
      kind: kind === "status" ? "read" : "write",
      does: kind === "abort" ? "ends the self-test that runs" : `begins the ${kind} self-test`,
      perform: async (controller): Promise<ActionResult> => {
        if (kind !== "status") await controller.selfTest(kind, options.namespace);
        let state = await selfTestState(controller);
        if ((kind === "short" || kind === "extended") && options.wait) {
          state = await inFlight(
            waitForSelfTest(controller, {
              intervalMs: options.interval,
              timeoutMs: options.timeout,
              signal: interruption,
              onProgress: drawProgress(`self-test ${device}`),
            }),
            `self-test ${device}`,
            "the self-test goes on in the drive: nvme_admin self-test DEVICE status tells how; a reset ends a short one",
          );
        }
        const running = state.running === 0 ? null : `a self-test runs, ${(100 * state.done).toFixed(0)} % done`;
        const last = state.lastResult === null
          ? "no result yet"
          : RESULTS[state.lastResult] ?? `result ${state.lastResult}`;
        const hasFailed = state.running === 0 && state.lastResult !== null && state.lastResult !== 0;
        if (hasFailed && kind !== "abort") raiseExitStatus("device-failed");
        return {
          lines: [running ?? `self-test: ${last}`],
          json: { running: state.running, done: state.done, lastResult: state.lastResult },
        };
      },
    }, options);
  });
