/**
 * `nvme_admin telemetry`, `persistent-events`, `log`: logs to files, and logs of a vendor by the user's tables.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { systemError } from "../../src/core/error.ts";
import { outputPlace } from "../../src/core/output_path.ts";
import { decodeBytes } from "../../src/core/layout.ts";
import { rowsToJson } from "../../src/core/layout_json.ts";
import { textLines } from "../../src/core/layout_text.ts";
import { formatBytes, hex } from "../../src/core/units.ts";
import { readPersistentEvents, readTelemetry, type SavedLog } from "../../src/nvme/jobs/log_files.ts";
import { readLogTable, unexpectedRows } from "../../src/nvme/jobs/log_table_file.ts";
import { note } from "../cli/output.ts";
import { columns } from "../cli/table.ts";
import { interruption, raiseExitStatus } from "../cli/run.ts";
import { type ActionResult, drawProgress, onDrive } from "./drive.ts";

/** A file that gets its name when it is whole: what was cut short is removed. */
class WholeFile implements Disposable {
  readonly #path: string;
  /** Null where the file keeps its name: a device or a pipe. */
  readonly #temporary: string | null;
  readonly #file: Deno.FsFile;
  #isWhole = false;

  constructor(path: string) {
    const place = outputPlace(path);
    this.#path = place.path;
    this.#temporary = place.isReplaced ? `${place.path}.${Deno.pid}.tmp` : null;
    try {
      this.#file = this.#temporary === null
        ? Deno.openSync(path, { write: true })
        : Deno.openSync(this.#temporary, { write: true, createNew: true, mode: 0o600 });
    } catch (cause) {
      throw systemError(cause, "write", path);
    }
  }

  write(bytes: Uint8Array): void {
    try {
      for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
    } catch (cause) {
      throw systemError(cause, "write", this.#path);
    }
  }

  keep(): void {
    if (this.#temporary === null) return;
    try {
      this.#file.syncSync();
      Deno.renameSync(this.#temporary, this.#path);
      this.#isWhole = true;
    } catch (cause) {
      throw systemError(cause, "write", this.#path);
    }
  }

  [Symbol.dispose](): void {
    this.#file.close();
    if (!this.#isWhole && this.#temporary !== null) Deno.removeSync(this.#temporary);
  }
}

async function save(
  path: string,
  read: (sink: (bytes: Uint8Array) => void) => Promise<SavedLog>,
): Promise<ActionResult> {
  using file = new WholeFile(path);
  const { sizeBytes, notes } = await read((bytes) => file.write(bytes));
  file.keep();
  return {
    lines: [`${path}: ${formatBytes(sizeBytes)}`, ...notes.map((line) => `  ${line}`)],
    json: { path, sizeBytes, notes: [...notes] },
  };
}

/** `nvme_admin telemetry`. */
export const telemetry: CommandUnknownOpts = new Command("telemetry")
  .description("Save a telemetry log, which the drive's maker can read. Changes nothing that is stored.")
  .argument("<device>", "nvme0, 0000:01:00.0 or soft:nvme")
  .argument("<file>", "where to")
  .addOption(
    new Option("--source <who>", "made now, or kept by the controller").choices(["host", "controller"] as const)
      .default("host" as const),
  )
  .addOption(
    new Option("--area <n>", "up to this data area").choices(["1", "2", "3", "4"] as const).default("3" as const),
  )
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option("--json", "print one JSON document")
  .action(async (device, file, options) => {
    const area = Number(options.area) as 1 | 2 | 3 | 4;
    const draw = drawProgress(`telemetry ${device}`);
    await onDrive(device, {
      name: "telemetry",
      kind: "read",
      does: "reads telemetry",
      perform: (controller) =>
        save(
          file,
          (sink) =>
            readTelemetry(controller, options.source, area, sink, (done, total) => draw(done / total), interruption),
        ),
    }, options);
  });

/** `nvme_admin persistent-events`. */
export const persistentEvents: CommandUnknownOpts = new Command("persistent-events")
  .description("Save the persistent event log. nvme_identify file:FILE decodes it.")
  .argument("<device>", "nvme0, 0000:01:00.0 or soft:nvme")
  .argument("<file>", "where to")
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option("--json", "print one JSON document")
  .action(async (device, file, options) => {
    const draw = drawProgress(`persistent events ${device}`);
    await onDrive(device, {
      name: "persistent-events",
      kind: "read",
      does: "reads persistent events",
      perform: (controller) =>
        save(file, (sink) => readPersistentEvents(controller, sink, (done, total) => draw(done / total), interruption)),
    }, options);
  });

/** `nvme_admin log`. */
export const log: CommandUnknownOpts = new Command("log")
  .description("Read a log of a vendor by a table of yours: YAML that says which log, and what its bytes mean.")
  .argument("<device>", "nvme0, 0000:01:00.0 or soft:nvme")
  .argument("<table>", "the table: a YAML file")
  .option("--output <file>", "also write its bytes to a file")
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option("--json", "print one JSON document")
  .action(async (device, path, options) => {
    const table = await readLogTable(path);
    await onDrive(device, {
      name: "log",
      kind: "read",
      does: `reads log ${hex(table.log, 2)}`,
      perform: async (controller): Promise<ActionResult> => {
        const bytes = await controller.getLog({
          id: table.log,
          sizeBytes: table.sizeBytes,
          specificField: table.specificField,
        });
        if (options.output !== undefined) {
          using file = new WholeFile(options.output);
          file.write(bytes);
          file.keep();
        }
        const rows = decodeBytes(table.layout.rows, bytes);
        const wrong = unexpectedRows(table, rows);
        for (const line of wrong) note(`nvme_admin: ${line}: the table may be of another log`);
        if (wrong.length > 0) raiseExitStatus("mismatch");
        const lines = columns(
          textLines(rows).map(({ kind, place, name, value, text }) =>
            kind === "row" ? [place, name, value, text] : ["", `  ${name}`, `  ${value}`, `[${place}] ${text}`]
          ),
        );
        return {
          lines: [`${table.layout.name} (log ${hex(table.log, 2)}, ${table.layout.source})`, ...lines],
          json: { name: table.layout.name, log: table.log, rows: rowsToJson(rows), unexpected: wrong },
        };
      },
    }, options);
  });
