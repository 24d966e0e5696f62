/**
 * An NVMe controller: what it says of itself, its features, logs and events, and its namespaces.
 *
 * Source: NVM Express Base 2.0 §5 (admin commands).
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { Locator } from "../../core/locator.ts";
import type { DmaBuffer } from "../../core/dma.ts";
import { fieldOf } from "../../core/layout.ts";
import type { ExecuteOptions, NvmeCommand, NvmeCompletion, NvmeTransport } from "../queue/command.ts";
import { NvmeDriver } from "./driver.ts";
import {
  type ControllerIdentity,
  controllerIdentity,
  IDENTIFY_BYTES,
  type NamespaceGeometry,
  namespaceGeometry,
} from "../tables/identity.ts";
import { NvmeNamespace } from "./namespace.ts";
import { type OpenNvmeOptions, openNvmeTransport } from "./open.ts";
import { bitField } from "../../core/layout.ts";
import { NVME_REGISTERS } from "../tables/registers.ts";
import { statusError } from "../tables/status.ts";

const CAP_MPSMIN = bitField(NVME_REGISTERS, "CAP", "MPSMIN");

const OPC = {
  GET_LOG_PAGE: 0x02,
  IDENTIFY: 0x06,
  SET_FEATURES: 0x09,
  GET_FEATURES: 0x0a,
  ASYNC_EVENT_REQUEST: 0x0c,
  NAMESPACE_MANAGEMENT: 0x0d,
  FIRMWARE_COMMIT: 0x10,
  DEVICE_SELF_TEST: 0x14,
  NAMESPACE_ATTACHMENT: 0x15,
  FORMAT_NVM: 0x80,
  SANITIZE: 0x84,
} as const;

const CNS_NAMESPACE = 0x00;
const CNS_CONTROLLER = 0x01;
const CNS_ACTIVE_NAMESPACES = 0x02;

/** The namespace identifier that means all. */
export const ALL_NAMESPACES = 0xffff_ffff;

/** Where no limit is given by the controller: what one transfer of ours takes at most. */
const OWN_TRANSFER_BYTES = 1 << 20;
/** A log is read in pieces of this size, so that no transfer limit is met. */
const LOG_PIECE_BYTES = 4096;
const FORMAT_TIMEOUT_MS = 3_600_000;

/** Which value of a feature: Get Features SEL. */
export const FEATURE_SELECT = { current: 0, default: 1, saved: 2, capabilities: 3 } as const;

/** Which Identify page. */
export interface IdentifyRequest {
  /** CNS. */
  readonly cns: number;
  /** NSID, where the page is of a namespace. */
  readonly nsid?: number;
  /** CNTID. */
  readonly controllerId?: number;
  /** CSI, where the page is of an I/O command set. */
  readonly commandSet?: number;
}

/** Which log. */
export interface LogRequest {
  /** LID. */
  readonly id: number;
  /** How many bytes from the offset; a multiple of 4. */
  readonly sizeBytes: number;
  /** Where to begin; a multiple of 4. */
  readonly offset?: bigint;
  /** NSID; all namespaces, which means the controller, by default. */
  readonly nsid?: number;
  /** LSP. */
  readonly specificField?: number;
  /** LSI. */
  readonly specificId?: number;
  /** CSI. */
  readonly commandSet?: number;
  /** RAE: leave the event pending that announced this log; true by default. */
  readonly retainEvent?: boolean;
}

/** What a feature is set to. */
export interface FeatureValue {
  /** Dword 0 of the completion. */
  readonly value: number;
  /** Its data, where one was asked for. */
  readonly data: Uint8Array<ArrayBuffer> | null;
}

/** An asynchronous event. */
export interface AsyncEvent {
  /** 0 error, 1 SMART and health, 2 notice, 6 I/O command set, 7 vendor. */
  readonly type: number;
  /** What happened, by type. */
  readonly information: number;
  /** The log that tells more. */
  readonly logId: number;
}

/**
 * A controller. Dispose shuts it down, where this process drives it, and lets go of it.
 *
 * @example
 * ```ts
 * import { type NvmeController, openNvme } from "@busbar/busbar";
 * const serialOf = async (controller: NvmeController): Promise<string> => (await controller.identify()).serial;
 * await using controller = await openNvme("soft:nvme?serial=XYZ");
 * console.assert(await serialOf(controller) === "XYZ");
 * ```
 */
export class NvmeController implements AsyncDisposable {
  readonly #transport: NvmeTransport & AsyncDisposable;
  #identity: Promise<ControllerIdentity> | null = null;

  private constructor(transport: NvmeTransport & AsyncDisposable) {
    this.#transport = transport;
  }

  /**
   * Opens a controller: a PCI address, `soft:nvme`, `nvme0` or `/dev/nvme0`. One that the kernel's driver has is opened through the
   * kernel, for reading only; one that is bound to vfio-pci is driven from here.
   *
   * @throws {BusbarError} `busy`, `absent`, `permission`, `unreachable`
   *
   * @example
   * ```ts
   * import { NvmeController } from "./controller.ts";
   * await using controller = await NvmeController.open("soft:nvme?serial=XYZ");
   * const { serial } = await controller.identify();
   * console.assert(serial === "XYZ");
   * const block = new Uint8Array(4096);
   * await controller.namespace(1).read(0, block);
   * ```
   */
  static async open(locator: string | Locator, options: OpenNvmeOptions = {}): Promise<NvmeController> {
    return new NvmeController(await openNvmeTransport(locator, options));
  }

  /** A controller over something that carries commands. */
  static over(transport: NvmeTransport & AsyncDisposable): NvmeController {
    return new NvmeController(transport);
  }

  /** The locator it was opened by. */
  get name(): string {
    return this.#transport.name;
  }

  /** True when the kernel has the controller, and only commands that change nothing are let through. */
  get isReadOnly(): boolean {
    return this.#transport.isReadOnly;
  }

  /** What carries its commands. */
  get transport(): NvmeTransport {
    return this.#transport;
  }

  /** The driver, where this process drives it. @throws {BusbarError} `busy` where the kernel does */
  get driver(): NvmeDriver {
    if (this.#transport instanceof NvmeDriver) return this.#transport;
    throw new BusbarError("busy", `${this.name}: the kernel's driver has it`, {
      operation: "drive the controller",
      path: this.name,
      hint: `busbar bind vfio ${this.name} gives it to user space`,
    });
  }

  /** What it says of itself (Identify Controller). Asked for once. */
  identify(): Promise<ControllerIdentity> {
    this.#identity ??= this.identifyPage({ cns: CNS_CONTROLLER }).then(controllerIdentity);
    return this.#identity;
  }

  /** Any Identify page. @throws {BusbarError} `device-failed` with the NVMe status */
  async identifyPage(request: IdentifyRequest, options: ExecuteOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    const data = new Uint8Array(IDENTIFY_BYTES);
    await this.#must("Identify", {
      opcode: OPC.IDENTIFY,
      nsid: request.nsid ?? 0,
      cdw10: (request.cns | (request.controllerId ?? 0) << 16) >>> 0,
      cdw11: ((request.commandSet ?? 0) << 24) >>> 0,
      data,
    }, options);
    return data;
  }

  /** The identifiers of all active namespaces, ascending. */
  async namespaceIds(): Promise<number[]> {
    const ids: number[] = [];
    for (;;) {
      const page = await this.identifyPage({ cns: CNS_ACTIVE_NAMESPACES, nsid: ids.at(-1) ?? 0 });
      const list = Array.from(new Uint32Array(page.buffer));
      const end = list.indexOf(0);
      const found = end < 0 ? list : list.slice(0, end);
      const last = ids.at(-1) ?? 0;
      if (found.some((id, i) => id <= (found[i - 1] ?? last))) {
        throw new BusbarError("device-failed", `${this.name}: its list of namespaces does not ascend`, {
          path: this.name,
        });
      }
      ids.push(...found);
      if (end >= 0) return ids;
    }
  }

  /** A namespace, by its identifier. Nothing is asked of the controller yet. */
  namespace(id: number): NvmeNamespace {
    if (!Number.isInteger(id) || id < 1 || id >= ALL_NAMESPACES) {
      throw new BusbarError("usage", `${id} is no namespace: identifiers begin at 1`, { path: this.name });
    }
    return new NvmeNamespace(id, {
      transport: this.#transport,
      geometry: (nsid) => this.#namespaceGeometry(nsid),
      maxTransferBytes: () => this.maxTransferBytes(),
    });
  }

  /**
   * Refuses an identifier that no namespace of this controller can have.
   *
   * @throws {BusbarError} `out-of-range`
   */
  async checkNamespaceId(id: number): Promise<void> {
    const { highestNamespace } = await this.identify();
    if (id <= highestNamespace) return;
    throw new BusbarError(
      "out-of-range",
      `${this.name}: there can be no namespace ${id}: its identifiers end at ${highestNamespace} (NN)`,
      { operation: "open namespace", path: this.name, hint: "nvme_identify lists the active ones" },
    );
  }

  async #namespaceGeometry(id: number): Promise<NamespaceGeometry> {
    await this.checkNamespaceId(id);
    return namespaceGeometry(id, await this.identifyPage({ cns: CNS_NAMESPACE, nsid: id }), this.name);
  }

  /** The largest transfer in bytes: what MDTS allows, at most 1 MiB. */
  async maxTransferBytes(): Promise<number> {
    const { mdts } = await this.identify();
    const pageBytes = this.#transport instanceof NvmeDriver
      ? 2 ** (12 + Number(fieldOf(this.#transport.capabilities, CAP_MPSMIN)))
      : 4096;
    return mdts === 0 ? OWN_TRANSFER_BYTES : Math.min(OWN_TRANSFER_BYTES, pageBytes * 2 ** mdts);
  }

  /** Memory that the controller can reach, for data that is not to be copied. */
  allocDma(sizeBytes: number): DmaBuffer {
    return this.driver.allocDma(sizeBytes);
  }

  /** Reads a log, in pieces. */
  async getLog(request: LogRequest, options: ExecuteOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    const { id, sizeBytes, offset = 0n, nsid = ALL_NAMESPACES, retainEvent = true } = request;
    if (sizeBytes <= 0 || sizeBytes % 4 !== 0 || offset % 4n !== 0n) {
      throw new BusbarError("out-of-range", `${sizeBytes} bytes at ${offset} of a log: both are multiples of 4`, {
        path: this.name,
      });
    }
    const log = new Uint8Array(sizeBytes);
    for (let done = 0; done < sizeBytes; done += LOG_PIECE_BYTES) {
      const part = log.subarray(done, Math.min(sizeBytes, done + LOG_PIECE_BYTES));
      const dwords = part.length / 4 - 1;
      const at = offset + BigInt(done);
      const more = done + LOG_PIECE_BYTES < sizeBytes;
      await this.#must("Get Log Page", {
        opcode: OPC.GET_LOG_PAGE,
        nsid,
        // The event is only taken with the last piece.
        cdw10:
          (id | (request.specificField ?? 0) << 8 | (retainEvent || more ? 1 << 15 : 0) | (dwords & 0xffff) << 16) >>>
          0,
        cdw11: ((request.specificId ?? 0) << 16 | dwords >>> 16) >>> 0,
        cdw12: Number(at & 0xffff_ffffn),
        cdw13: Number(at >> 32n),
        cdw14: ((request.commandSet ?? 0) << 24) >>> 0,
        data: part,
      }, options);
    }
    return log;
  }

  /** What a feature is set to. `dataBytes` is the length of its data structure, where it has one. */
  async getFeature(
    id: number,
    options: ExecuteOptions & {
      readonly select?: keyof typeof FEATURE_SELECT;
      readonly nsid?: number;
      readonly cdw11?: number;
      readonly dataBytes?: number;
    } = {},
  ): Promise<FeatureValue> {
    const data = options.dataBytes === undefined ? null : new Uint8Array(options.dataBytes);
    const { dw0 } = await this.#must("Get Features", {
      opcode: OPC.GET_FEATURES,
      nsid: options.nsid ?? 0,
      cdw10: id | FEATURE_SELECT[options.select ?? "current"] << 8,
      cdw11: options.cdw11 ?? 0,
      ...(data === null ? {} : { data }),
    }, options);
    return { value: dw0, data };
  }

  /** Sets a feature. `save` keeps it over power cycles, where the controller can. Returns dword 0 of the completion. */
  async setFeature(
    id: number,
    value: number,
    options: ExecuteOptions & {
      readonly nsid?: number;
      readonly save?: boolean;
      readonly data?: Uint8Array<ArrayBuffer>;
    } = {},
  ): Promise<number> {
    const { dw0 } = await this.#must("Set Features", {
      opcode: OPC.SET_FEATURES,
      nsid: options.nsid ?? 0,
      cdw10: (id | (options.save === true ? 1 << 31 : 0)) >>> 0,
      cdw11: value,
      ...(options.data === undefined ? {} : { data: options.data }),
    }, options);
    return dw0;
  }

  /**
   * Events as they come, until `signal` is aborted. The log that an event names must be read with `retainEvent: false`
   * before the controller announces the next of its kind.
   */
  async *asyncEvents(signal: AbortSignal): AsyncGenerator<AsyncEvent, void> {
    while (!signal.aborted) {
      const command = { opcode: OPC.ASYNC_EVENT_REQUEST };
      const completion = await this.#transport.execute("admin", command, { timeoutMs: Infinity, signal }).catch(
        (error) => {
          if (signal.aborted) return null;
          throw error;
        },
      );
      if (completion === null) return;
      this.#check("Asynchronous Event Request", completion);
      const { dw0 } = completion;
      yield { type: dw0 & 7, information: dw0 >>> 8 & 0xff, logId: dw0 >>> 16 & 0xff };
    }
  }

  /** Starts a self-test, or ends the one that runs. Log 06h tells how it goes. */
  async selfTest(
    kind: "short" | "extended" | "abort",
    nsid: number = ALL_NAMESPACES,
    options: ExecuteOptions = {},
  ): Promise<void> {
    const code = { short: 1, extended: 2, abort: 0xf }[kind];
    await this.#must("Device Self-test", { opcode: OPC.DEVICE_SELF_TEST, nsid, cdw10: code }, options);
  }

  /**
   * What a destructive command would hit, in words, before it is sent: FNA and the number of namespaces decide.
   *
   * @param what the command
   * @param nsid the namespace it is sent to, or all
   */
  async reachOf(what: "format" | "secure erase" | "sanitize" | "delete", nsid: number): Promise<number[]> {
    const ids = await this.namespaceIds();
    const { fna } = await this.identify();
    const everywhere = what === "sanitize" || nsid === ALL_NAMESPACES ||
      (what === "format" && (fna & 1) !== 0) || (what === "secure erase" && (fna & 2) !== 0);
    return everywhere ? ids : ids.filter((id) => id === nsid);
  }

  /** @throws {BusbarError} `usage` unless `erase` is the controller's serial number: everything is about to be lost */
  async #confirmErase(erase: string): Promise<void> {
    const { serial } = await this.identify();
    if (erase === serial) return;
    throw new BusbarError(
      "usage",
      `${this.name}: its serial number is '${serial}', not '${erase}': nothing was erased`,
      {
        operation: "erase",
        path: this.name,
        hint: `the right drive? Then --erase='${serial}'`,
      },
    );
  }

  /** Formats a namespace (or all, with {@linkcode ALL_NAMESPACES}). Everything in it is lost. */
  async format(
    nsid: number,
    options: ExecuteOptions & {
      /** The serial number, as a confirmation. */
      readonly erase: string;
      /** Index of the LBA format; 0 by default. */
      readonly lbaFormat?: number;
      /** Metadata behind each block's data, in the same buffer. */
      readonly metadataInline?: boolean;
      /** Type of protection information. */
      readonly protectionType?: number;
      /** Protection information in the first bytes of the metadata. */
      readonly protectionFirst?: boolean;
      /** SES: 0 none, 1 erase user data, 2 cryptographic erase. */
      readonly secureErase?: 0 | 1 | 2;
    },
  ): Promise<void> {
    await this.#confirmErase(options.erase);
    const format = options.lbaFormat ?? 0;
    const cdw10 = format & 0xf | (options.metadataInline === true ? 1 << 4 : 0) | (options.protectionType ?? 0) << 5 |
      (options.protectionFirst === true ? 1 << 8 : 0) | (options.secureErase ?? 0) << 9 | (format >> 4) << 12;
    await this.#must("Format NVM", { opcode: OPC.FORMAT_NVM, nsid, cdw10 }, {
      timeoutMs: FORMAT_TIMEOUT_MS,
      ...options,
    });
  }

  /** Starts a sanitize of the whole subsystem. Everything in it is lost. Log 81h tells how it goes. */
  async sanitize(
    action: "exit failure mode" | "block erase" | "overwrite" | "crypto erase",
    options: ExecuteOptions & {
      readonly erase: string;
      readonly overwritePattern?: number;
      /** 1 to 16. */
      readonly passes?: number;
      /** AUSE: a failed sanitize may be left by `exit failure mode`, with data left behind. */
      readonly unrestrictedExit?: boolean;
      /** OIPBP: each pass of an overwrite inverts the pattern. */
      readonly invertPattern?: boolean;
      /** NDAS: do not deallocate afterwards. */
      readonly noDeallocate?: boolean;
    },
  ): Promise<void> {
    await this.#confirmErase(options.erase);
    const code = { "exit failure mode": 1, "block erase": 2, overwrite: 3, "crypto erase": 4 }[action];
    const cdw10 = code | (options.unrestrictedExit === true ? 1 << 3 : 0) | ((options.passes ?? 1) & 0xf) << 4 |
      (options.invertPattern === true ? 1 << 8 : 0) | (options.noDeallocate === true ? 1 << 9 : 0);
    await this.#must("Sanitize", { opcode: OPC.SANITIZE, cdw10, cdw11: options.overwritePattern ?? 0 }, options);
  }

  /** Makes a namespace and returns its identifier. It is attached to no controller yet. */
  async createNamespace(
    settings: {
      readonly blocks: bigint;
      readonly capacityBlocks?: bigint;
      readonly lbaFormat?: number;
      readonly shared?: boolean;
    },
    options: ExecuteOptions = {},
  ): Promise<number> {
    const data = new Uint8Array(IDENTIFY_BYTES);
    const view = new DataView(data.buffer);
    view.setBigUint64(0, settings.blocks, true);
    view.setBigUint64(8, settings.capacityBlocks ?? settings.blocks, true);
    view.setUint8(26, settings.lbaFormat ?? 0);
    view.setUint8(30, settings.shared === true ? 1 : 0);
    const { dw0 } = await this.#must(
      "Namespace Management (create)",
      { opcode: OPC.NAMESPACE_MANAGEMENT, data },
      options,
    );
    return dw0;
  }

  /** Deletes a namespace (or all). Everything in it is lost. */
  async deleteNamespace(nsid: number, options: ExecuteOptions & { readonly erase: string }): Promise<void> {
    await this.#confirmErase(options.erase);
    await this.#must("Namespace Management (delete)", { opcode: OPC.NAMESPACE_MANAGEMENT, nsid, cdw10: 1 }, options);
  }

  /** Attaches a namespace to controllers, or detaches it. */
  async attachNamespace(
    nsid: number,
    controllerIds: readonly number[],
    attach: boolean = true,
    options: ExecuteOptions = {},
  ): Promise<void> {
    const data = new Uint8Array(IDENTIFY_BYTES);
    const view = new DataView(data.buffer);
    view.setUint16(0, controllerIds.length, true);
    for (const [i, id] of controllerIds.entries()) view.setUint16(2 + 2 * i, id, true);
    const command = { opcode: OPC.NAMESPACE_ATTACHMENT, nsid, cdw10: attach ? 0 : 1, data };
    await this.#must(`Namespace Attachment (${attach ? "attach" : "detach"})`, command, options);
  }

  /** Any admin command. A status other than 0 is a result here, not an error. */
  admin(command: NvmeCommand, options: ExecuteOptions = {}): Promise<NvmeCompletion> {
    return this.#transport.execute("admin", command, options);
  }

  /** Resets the controller. What was in flight fails; it can be used again afterwards. */
  async reset(): Promise<void> {
    this.#identity = null;
    await this.driver.reset();
  }

  async #must(operation: string, command: NvmeCommand, options: ExecuteOptions): Promise<NvmeCompletion> {
    const completion = await this.#transport.execute("admin", command, options);
    this.#check(operation, completion);
    return completion;
  }

  #check(operation: string, completion: NvmeCompletion): void {
    if (completion.status !== 0) throw statusError(completion.status, { operation, path: this.name });
  }

  /** Shuts it down where this process drives it, and lets go of it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]();
  }
}

/**
 * Opens a controller, as {@linkcode NvmeController.open} does: a PCI address, `soft:nvme`, `nvme0` or `/dev/nvme0`.
 *
 * @throws {BusbarError} `usage` for other locators; `busy`, `absent`, `permission`, `unreachable`
 *
 * @example
 * ```ts
 * import { openNvme } from "./controller.ts";
 * await using controller = await openNvme("soft:nvme?size=64MiB");
 * console.assert((await controller.namespaceIds())[0] === 1);
 * ```
 */
export function openNvme(locator: string | Locator, options: OpenNvmeOptions = {}): Promise<NvmeController> {
  return NvmeController.open(locator, options);
}
