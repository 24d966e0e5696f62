/**
 * `nvme_admin format`, `sanitize`, `namespace`: what destroys data.
 * @module
 */

import { Argument, Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";
import { ALL_NAMESPACES, type NvmeController } from "../../src/nvme/driver/controller.ts";
import { formatProgress, sanitizeState, waitForSanitize } from "../../src/nvme/jobs/drive_state.ts";
import { sizeBytes, timeOption, unsigned, wholeNumber } from "../cli/arguments.ts";
import { interruption, raiseExitStatus } from "../cli/run.ts";
import { type ActionResult, describeNamespaces, drawProgress, inFlight, namespaceOrAll, onDrive } from "./drive.ts";

const SECURE_ERASE = { none: 0, "user-data": 1, crypto: 2 } as const;

/** A small number, 0 included. */
function small(text: string): number {
  const value = Number(unsigned(text));
  if (value <= 127) return value;
  throw new BusbarError("usage", `'${text}' is too large`, { hint: "0 to 127" });
}

/** `nvme_admin format`. */
export const format: CommandUnknownOpts = new Command("format")
  .description("Format a namespace, or all: choose LBA format, metadata and protection. All data is lost.")
  .argument("<device>", "nvme0, 0000:01:00.0 or soft:nvme")
  .option("--namespace <n>", "which one, or all", namespaceOrAll, 1)
  .option("--lba-format <n>", "index of the LBA format; the one in use by default (nvme_identify lists them)", small)
  .option("--metadata-inline", "metadata at the end of each block's data; separate by default")
  .option("--protection <type>", "type of protection information, 0 to 3", small, 0)
  .option("--protection-first", "protection information in the first bytes of the metadata")
  .addOption(
    new Option("--secure-erase <how>", "erase what was there").choices(["none", "user-data", "crypto"] as const)
      .default("none" as const),
  )
  .addOption(timeOption("--timeout <time>", "how long to wait", "60min"))
  .option("--erase <serial>", "allow it: the drive's serial number")
  .option("--force", "go on although something uses the drive")
  .option("--dry-run", "tell what would be lost; send nothing")
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option("--json", "print one JSON document")
  .action(async (device, options) => {
    const nsid = options.namespace;
    const which = nsid === ALL_NAMESPACES ? "all namespaces" : `namespace ${nsid}`;
    if (options.protection > 3) throw new BusbarError("usage", `--protection ${options.protection}: 0 to 3`);
    const secureErase = SECURE_ERASE[options.secureErase];
    await onDrive(device, {
      name: "format",
      kind: "erase",
      does: `formats ${which}`,
      loses: async (controller) =>
        await describeNamespaces(
          controller,
          await controller.reachOf(secureErase === 0 ? "format" : "secure erase", nsid),
        ),
      perform: async (controller): Promise<ActionResult> => {
        const lbaFormat = options.lbaFormat ?? await currentFormat(controller, nsid);
        await inFlight(
          controller.format(nsid, {
            erase: options.erase ?? "",
            lbaFormat,
            metadataInline: options.metadataInline === true,
            protectionType: options.protection,
            protectionFirst: options.protectionFirst === true,
            secureErase,
            timeoutMs: options.timeout,
          }),
          `format ${device}`,
          `Format NVM was sent: the data of ${which} is lost in whole or in part, and the drive may refuse reads until it ` +
            "is formatted again: run the same command again",
          () => nsid === ALL_NAMESPACES ? Promise.resolve(null) : formatProgress(controller, nsid),
        );
        const ids = nsid === ALL_NAMESPACES ? await controller.namespaceIds() : [nsid];
        return await geometryResult(controller, ids, `formatted ${which} with LBA format ${lbaFormat}`);
      },
    }, options);
  });

async function currentFormat(controller: NvmeController, nsid: number): Promise<number> {
  const id = nsid === ALL_NAMESPACES ? (await controller.namespaceIds())[0] : nsid;
  if (id === undefined) {
    throw new BusbarError("absent", `${controller.name} has no namespaces`, { path: controller.name });
  }
  const flbas = (await controller.identifyPage({ cns: 0, nsid: id }))[26] ?? 0;
  return flbas & 0xf | (flbas >>> 5 & 3) << 4;
}

async function geometryResult(controller: NvmeController, ids: readonly number[], head: string): Promise<ActionResult> {
  const namespaces: { nsid: number; blocks: string; blockBytes: number; metadataBytes: number }[] = [];
  for (const id of ids) {
    const { blocks, blockBytes, metadataBytes } = await controller.namespace(id).geometry();
    namespaces.push({ nsid: id, blocks: blocks.toString(), blockBytes, metadataBytes });
  }
  return {
    lines: [
      head,
      ...namespaces.map(({ nsid, blocks, blockBytes, metadataBytes }) =>
        `  namespace ${nsid}: ${blocks} blocks of ${blockBytes} + ${metadataBytes} bytes`
      ),
    ],
    json: { namespaces },
  };
}

const SANITIZE_ACTIONS = ["block-erase", "crypto-erase", "overwrite", "exit-failure-mode"] as const;

/** `nvme_admin sanitize`. */
export const sanitize: CommandUnknownOpts = new Command("sanitize")
  .description("Sanitize the whole NVM subsystem: caches, spare blocks, all namespaces. It goes on over power cycles.")
  .argument("<device>", "nvme0, 0000:01:00.0 or soft:nvme")
  .addArgument(new Argument("<how>", "how").choices(SANITIZE_ACTIONS))
  .option("--passes <n>", "overwrite: how often, 1 to 16", wholeNumber, 1)
  .option("--pattern <word>", "overwrite: with these 32 bits; 0 by default", unsigned)
  .option("--invert", "overwrite: invert the pattern with each pass")
  .option("--unrestricted-exit", "let a failed sanitize be left by exit-failure-mode, with data left behind")
  .option("--no-deallocate", "do not deallocate afterwards, so that what it left can be read")
  .option("--no-wait", "do not wait for its end")
  .addOption(timeOption("--interval <time>", "look again in this time", "1s"))
  .addOption(timeOption("--timeout <time>", "how long to wait", "1440min"))
  .option("--erase <serial>", "allow it: the drive's serial number")
  .option("--force", "go on although something uses the drive")
  .option("--dry-run", "tell what would be lost; send nothing")
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option("--json", "print one JSON document")
  .action(async (device, how, options) => {
    const { passes, pattern = 0n } = options;
    if (passes > 16 || pattern > 0xffff_ffffn) throw new BusbarError("usage", "--passes 1 to 16, --pattern of 32 bits");
    const isExit = how === "exit-failure-mode";
    await onDrive(device, {
      name: "sanitize",
      kind: "erase",
      does: isExit ? "leaves the failure mode of a sanitize" : "sanitizes the whole NVM subsystem",
      loses: async (controller) =>
        isExit
          ? "what the failed sanitize left can be read again"
          : await describeNamespaces(controller, await controller.reachOf("sanitize", ALL_NAMESPACES)),
      perform: async (controller): Promise<ActionResult> => {
        await controller.sanitize(
          how.replaceAll("-", " ").replace("exit failure mode", "exit failure mode") as "block erase",
          {
            erase: options.erase ?? "",
            passes,
            overwritePattern: Number(pattern),
            invertPattern: options.invert === true,
            unrestrictedExit: options.unrestrictedExit === true,
            noDeallocate: !options.deallocate,
          },
        );
        if (isExit) return { lines: ["the failure mode is left"], json: { status: "left failure mode" } };
        if (!options.wait) {
          return { lines: ["the sanitize has begun: nvme_admin watch tells how it goes"], json: { status: "running" } };
        }
        const state = await inFlight(
          waitForSanitize(controller, {
            intervalMs: options.interval,
            timeoutMs: options.timeout,
            signal: interruption,
            onProgress: drawProgress(`sanitize ${device}`),
          }),
          `sanitize ${device}`,
          "the sanitize goes on in the drive, also without power; nothing can be read until it is done: nvme_admin watch",
        );
        if (state.status === 3) raiseExitStatus("device-failed");
        return { lines: [`sanitize: ${state.text}`], json: { status: state.text } };
      },
    }, options);
  });

/** `nvme_admin watch`. */
export const watch: CommandUnknownOpts = new Command("watch")
  .description("Watch a sanitize that runs, to its end. Changes nothing.")
  .argument("<device>", "nvme0, 0000:01:00.0 or soft:nvme")
  .addOption(timeOption("--interval <time>", "look again in this time", "1s"))
  .addOption(timeOption("--timeout <time>", "how long to wait", "1440min"))
  .option("--json", "print one JSON document")
  .action(async (device, options) => {
    await onDrive(device, {
      name: "watch",
      kind: "read",
      does: "watches a sanitize",
      perform: async (controller) => {
        const first = await sanitizeState(controller);
        const state = first.status !== 2 ? first : await waitForSanitize(controller, {
          intervalMs: options.interval,
          timeoutMs: options.timeout,
          signal: interruption,
          onProgress: drawProgress(`sanitize ${device}`),
        });
        if (state.status === 3) raiseExitStatus("device-failed");
        return { lines: [`sanitize: ${state.text}`], json: { status: state.text } };
      },
    }, options);
  });

/** `nvme_admin namespace`. */
export const namespace: CommandUnknownOpts = new Command("namespace")
  .description("Create, attach, detach or delete a namespace. Deleting loses its data.")
  .argument("<device>", "nvme0, 0000:01:00.0 or soft:nvme")
  .addArgument(new Argument("<action>", "what").choices(["create", "attach", "detach", "delete"] as const))
  .option("--namespace <n>", "which one; of delete, or all", namespaceOrAll)
  .option("--size <size>", "create: as in 64GiB", sizeBytes)
  .option("--capacity <size>", "create: less than --size where the drive allocates thinly", sizeBytes)
  .option("--lba-format <n>", "create: index of the LBA format", small, 0)
  .option("--shared", "create: may be attached to several controllers")
  .option("--controller <n>", "attach, detach: this controller identifier; the drive's own by default", unsigned)
  .option("--write", "allow create, attach and detach")
  .option("--erase <serial>", "allow delete: the drive's serial number")
  .option("--force", "go on although something uses the drive")
  .option("--dry-run", "tell what would be done; send nothing")
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option("--json", "print one JSON document")
  .action(async (device, action, options) => {
    const nsid = options.namespace;
    if (action !== "create" && nsid === undefined) {
      throw new BusbarError("usage", `${action} which namespace?`, { hint: "--namespace 1" });
    }
    if (action === "create" && options.size === undefined) {
      throw new BusbarError("usage", "create of which size?", { hint: "--size 64GiB" });
    }
    if (nsid === ALL_NAMESPACES && action !== "delete") {
      throw new BusbarError("usage", `${action} one namespace at a time`);
    }
    const id = nsid ?? 0;
    await onDrive(device, {
      name: `namespace ${action}`,
      kind: action === "delete" ? "erase" : "write",
      does: `${action}s ${
        action === "create" ? "a namespace" : nsid === ALL_NAMESPACES ? "all namespaces" : `namespace ${id}`
      }`,
      ...(action === "delete"
        ? {
          loses: async (controller: NvmeController) =>
            await describeNamespaces(controller, await controller.reachOf("delete", id)),
        }
        : {}),
      perform: async (controller): Promise<ActionResult> => {
        switch (action) {
          case "create": {
            const made = await createNamespace(controller, options);
            return {
              lines: [`made namespace ${made}; attached to no controller yet: namespace attach --namespace ${made}`],
              json: { nsid: made },
            };
          }
          case "delete":
            await controller.deleteNamespace(id, { erase: options.erase ?? "" });
            return {
              lines: [id === ALL_NAMESPACES ? "deleted all namespaces" : `deleted namespace ${id}`],
              json: { nsid: id },
            };
          default: {
            const target = options.controller === undefined
              ? (await controller.identify()).controllerId
              : Number(options.controller);
            await controller.attachNamespace(id, [target], action === "attach");
            return {
              lines: [`${action}ed namespace ${id} ${action === "attach" ? "to" : "from"} controller ${target}`],
              json: { nsid: id, controller: target },
            };
          }
        }
      },
    }, options);
  });

interface CreateOptions {
  readonly size?: bigint | undefined;
  readonly capacity?: bigint | undefined;
  readonly lbaFormat: number;
  readonly shared?: true | undefined;
}

/** The controller has formats for namespaces to come on the page of the namespace "all", or of any that is there. */
async function createNamespace(controller: NvmeController, options: CreateOptions): Promise<number> {
  const page = await controller.identifyPage({ cns: 0, nsid: ALL_NAMESPACES });
  const at = 128 + 4 * options.lbaFormat;
  const shift = page[at + 2] ?? 0;
  if (shift < 9 || shift > 31) {
    throw new BusbarError("usage", `${controller.name} has no LBA format ${options.lbaFormat}`, {
      operation: "create namespace",
      path: controller.name,
      hint: "nvme_identify lists them",
    });
  }
  const blocksOf = (size: bigint): bigint => size >> BigInt(shift);
  const blocks = blocksOf(options.size ?? 0n);
  return await controller.createNamespace({
    blocks,
    capacityBlocks: options.capacity === undefined ? blocks : blocksOf(options.capacity),
    lbaFormat: options.lbaFormat,
    shared: options.shared === true,
  });
}
