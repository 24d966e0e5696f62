/**
 * How NVMe commands end: the status field of a completion, its codes by name, and the error made from one.
 *
 * Source: NVM Express Base 2.0 §3.3.3.2.1, 2.1 for the codes that it added; NVM Command Set 1.0 §3.1.2, Zoned Namespace
 * Command Set 1.1 §3.1, Key Value Command Set 1.0 §3.1.
 * @module
 */

import { BusbarError, type ErrorDetails } from "../../core/error.ts";
import { hex } from "../../core/units.ts";

/** A status code of the specification. */
export interface StatusCode {
  /** Status Code Type: 0 generic, 1 command specific, 2 media and data integrity, 3 path. */
  readonly sct: number;
  /** Status Code. */
  readonly sc: number;
  /** The specification's name. */
  readonly name: string;
  /** What happened, in one sentence without a full stop. */
  readonly sentence: string;
  /** What to do about it, where one thing is the likely one. */
  readonly hint: string | null;
}

type CodeLine = readonly [sc: number, name: string, sentence: string, hint?: string];

const BUSY_HINT = "wait until it is finished, then repeat the command";

const GENERIC: readonly CodeLine[] = [
  [0x00, "Successful Completion", "the command was carried out"],
  [0x01, "Invalid Command Opcode", "the controller does not know this command, or its command set is not enabled"],
  [0x02, "Invalid Field in Command", "the controller does not take a value in one of the command's fields"],
  [0x03, "Command ID Conflict", "another command of this queue had the same identifier at that time"],
  [0x04, "Data Transfer Error", "data or metadata could not be moved between memory and the controller"],
  [0x05, "Commands Aborted due to Power Loss Notification", "power was about to go, so the command was given up"],
  [0x06, "Internal Error", "the controller failed inside", "look at nvme_identify --logs: error log and SMART"],
  [0x07, "Command Abort Requested", "an Abort command ended it"],
  [0x08, "Command Aborted due to SQ Deletion", "its submission queue was deleted first"],
  [0x09, "Command Aborted due to Failed Fused Command", "the other half of the fused pair failed"],
  [0x0a, "Command Aborted due to Missing Fused Command", "the other half of the fused pair did not follow it"],
  [
    0x0b,
    "Invalid Namespace or Format",
    "there is no such namespace, or its format is not usable",
    "nvme_identify lists the namespaces",
  ],
  [0x0c, "Command Sequence Error", "a command that has to come before was not there"],
  [0x0d, "Invalid SGL Segment Descriptor", "a segment descriptor stands where none may be, or the last one is missing"],
  [0x0e, "Invalid Number of SGL Descriptors", "a segment holds too many descriptors, or a number that is not allowed"],
  [0x0f, "Data SGL Length Invalid", "the descriptors for data are longer or shorter than the data"],
  [0x10, "Metadata SGL Length Invalid", "the descriptors for metadata are longer or shorter than the metadata"],
  [0x11, "SGL Descriptor Type Invalid", "the controller does not know this type of descriptor"],
  [0x12, "Invalid Use of Controller Memory Buffer", "what was placed in controller memory may not lie there"],
  [0x13, "PRP Offset Invalid", "a PRP entry that has to point to the start of a page points inside it"],
  [0x14, "Atomic Write Unit Exceeded", "the write is longer than what the controller writes in one piece"],
  [0x15, "Operation Denied", "this host lacks the rights for it", "unlock the drive first if it is self-encrypting"],
  [0x16, "SGL Offset Invalid", "an offset in a descriptor is not allowed"],
  [0x18, "Host Identifier Inconsistent Format", "hosts mix 64-bit and 128-bit identifiers"],
  [0x19, "Keep Alive Timer Expired", "the host stayed silent for longer than it had promised"],
  [0x1a, "Keep Alive Timeout Invalid", "the asked time is not one that the controller keeps"],
  [0x1b, "Command Aborted due to Preempt and Abort", "another host took the reservation and ended it"],
  [
    0x1c,
    "Sanitize Failed",
    "the last sanitize operation failed, and the drive serves little else until one succeeds",
    "nvme_identify --logs shows the sanitize status",
  ],
  [0x1d, "Sanitize In Progress", "a sanitize operation is running, and this command has to wait", BUSY_HINT],
  [0x1e, "SGL Data Block Granularity Invalid", "a descriptor's length is no multiple of the logical block size"],
  [0x1f, "Command Not Supported for Queue in CMB", "this command may not come from a queue in controller memory"],
  [
    0x20,
    "Namespace is Write Protected",
    "writing to this namespace is switched off",
    "nvme_identify --features --namespace N shows the write protection",
  ],
  [0x21, "Command Interrupted", "the controller had to put it off; it may be sent again"],
  [0x22, "Transient Transport Error", "the way to the controller failed for a moment; it may be sent again"],
  [0x23, "Command Prohibited by Command and Feature Lockdown", "this command was locked by an administrator"],
  [
    0x24,
    "Admin Command Media Not Ready",
    "the controller answers already, but its media are not ready",
    "wait as long as the register CRTO says, then repeat the command",
  ],
  [0x25, "Invalid Key Tag", "no key with this tag is loaded"],
  [0x26, "Host Dispersed Namespace Support Not Enabled", "the host did not say that it handles dispersed namespaces"],
  [0x27, "Host Identifier Not Initialized", "the host has to set its identifier first"],
  [0x28, "Incorrect Key", "the key is not the one the data was written with"],
  [0x29, "FDP Disabled", "Flexible Data Placement is off in the endurance group"],
  [0x2a, "Invalid Placement Handle List", "a handle in the list is out of range or given twice"],
  [
    0x80,
    "LBA Out of Range",
    "blocks behind the end of the namespace were asked for",
    "nvme_identify shows the size of the namespace",
  ],
  [0x81, "Capacity Exceeded", "there is no room left for what would be allocated"],
  [0x82, "Namespace Not Ready", "the namespace cannot be reached now"],
  [0x83, "Reservation Conflict", "another host holds a reservation that forbids it"],
  [0x84, "Format In Progress", "the namespace is being formatted", BUSY_HINT],
  [0x85, "Invalid Value Size", "the value is longer than this namespace stores"],
  [0x86, "Invalid Key Size", "the key has a length that this namespace does not take"],
  [0x87, "KV Key Does Not Exist", "nothing is stored under this key"],
  [0x88, "Unrecovered Error", "the stored value could not be read"],
  [0x89, "Key Exists", "something is stored under this key already"],
];

const COMMAND_SPECIFIC: readonly CodeLine[] = [
  [0x00, "Completion Queue Invalid", "the completion queue that was named does not exist"],
  [0x01, "Invalid Queue Identifier", "this queue number is out of range, in use, or does not exist"],
  [0x02, "Invalid Queue Size", "the queue is too small, or longer than CAP.MQES allows"],
  [0x03, "Abort Command Limit Exceeded", "more Abort commands are on their way than the controller takes at once"],
  [
    0x05,
    "Asynchronous Event Request Limit Exceeded",
    "more event requests are waiting than the controller takes at once",
  ],
  [0x06, "Invalid Firmware Slot", "this slot does not exist or is read only"],
  [0x07, "Invalid Firmware Image", "the image is damaged or not for this drive"],
  [0x08, "Invalid Interrupt Vector", "this interrupt vector does not exist"],
  [0x09, "Invalid Log Page", "the controller does not have this log page"],
  [
    0x0a,
    "Invalid Format",
    "the namespace does not have this LBA format, or not with this protection",
    "nvme_identify lists the formats",
  ],
  [0x0b, "Firmware Activation Requires Conventional Reset", "the new firmware runs after the next PCI reset"],
  [0x0c, "Invalid Queue Deletion", "a completion queue is deleted after its submission queues, not before"],
  [0x0d, "Feature Identifier Not Saveable", "this feature cannot be kept over a power cycle"],
  [0x0e, "Feature Not Changeable", "this feature cannot be changed"],
  [0x0f, "Feature Not Namespace Specific", "this feature is one for the whole controller"],
  [0x10, "Firmware Activation Requires NVM Subsystem Reset", "the new firmware runs after a subsystem reset"],
  [0x11, "Firmware Activation Requires Controller Level Reset", "the new firmware runs after a controller reset"],
  [
    0x12,
    "Firmware Activation Requires Maximum Time Violation",
    "activating now would take longer than the controller promises (MTFA)",
  ],
  [0x13, "Firmware Activation Prohibited", "the controller refuses this image for a reason of its own"],
  [0x14, "Overlapping Range", "two ranges of the command overlap"],
  [0x15, "Namespace Insufficient Capacity", "the drive has less free capacity than the namespace asks for"],
  [0x16, "Namespace Identifier Unavailable", "the drive has as many namespaces as it can have"],
  [0x18, "Namespace Already Attached", "the namespace is attached to this controller already"],
  [0x19, "Namespace Is Private", "the namespace belongs to one controller and has one already"],
  [0x1a, "Namespace Not Attached", "the namespace is not attached to this controller"],
  [0x1b, "Thin Provisioning Not Supported", "the drive only makes namespaces that own all of their capacity"],
  [
    0x1c,
    "Controller List Invalid",
    "the list of controllers is not sorted, too long, or names one that does not exist",
  ],
  [0x1d, "Device Self-test In Progress", "a self-test is running already", BUSY_HINT],
  [0x1e, "Boot Partition Write Prohibited", "the boot partition is locked"],
  [0x1f, "Invalid Controller Identifier", "there is no controller of this number"],
  [0x20, "Invalid Secondary Controller State", "the secondary controller is in the wrong state for it"],
  [0x21, "Invalid Number of Controller Resources", "this many resources cannot be given to the controller"],
  [0x22, "Invalid Resource Identifier", "there is no resource of this number"],
  [
    0x23,
    "Sanitize Prohibited While Persistent Memory Region is Enabled",
    "sanitize has to wait until PMRCTL.EN is cleared",
  ],
  [0x24, "ANA Group Identifier Invalid", "there is no such ANA group"],
  [0x25, "ANA Attach Failed", "the ANA group cannot be reached through this controller"],
  [0x26, "Insufficient Capacity", "there is less free capacity than was asked for"],
  [0x27, "Namespace Attachment Limit Exceeded", "as many namespaces are attached as can be"],
  [0x28, "Prohibition of Command Execution Not Supported", "this command cannot be locked"],
  [0x29, "I/O Command Set Not Supported", "the controller does not have this I/O command set"],
  [0x2a, "I/O Command Set Not Enabled", "the I/O command set is not enabled: CC.CSS, or feature 19h"],
  [0x2b, "I/O Command Set Combination Rejected", "namespaces that are attached need a command set that was left out"],
  [0x2c, "Invalid I/O Command Set", "this command does not belong to the I/O command set that was named"],
  [0x2d, "Identifier Unavailable", "no identifier is left to give out"],
  [0x2e, "Namespace Is Dispersed", "the namespace spans subsystems, so this cannot be done to it"],
  [0x2f, "Invalid Discovery Information", "an entry for the discovery controller is not as it has to be"],
  [0x30, "Zoning Data Structure Locked", "somebody else is changing this zoning data"],
  [0x31, "Zoning Data Structure Not Found", "there is no such zoning data"],
  [0x32, "Insufficient Discovery Resources", "the discovery controller has no room left"],
  [0x33, "Requested Function Disabled", "what was asked for is switched off"],
  [0x34, "ZoneGroup Originator Invalid", "the zone group was made by somebody else"],
  [0x35, "Invalid Host", "there is no such host"],
  [0x36, "Invalid NVM Subsystem", "there is no such subsystem"],
  [0x37, "Invalid Controller Data Queue", "there is no such controller data queue"],
  [0x38, "Not Enough Resources", "the controller has no resources left for it"],
  [0x39, "Controller Suspended", "the controller is suspended, so this has to wait"],
  [0x3a, "Controller Not Suspended", "this needs a controller that is suspended"],
  [0x3b, "Controller Data Queue Full", "the host did not empty the controller data queue in time"],
  [0x80, "Conflicting Attributes", "attributes of the command contradict each other"],
  [0x81, "Invalid Protection Information", "the protection fields do not fit the format of the namespace"],
  [0x82, "Attempted Write to Read Only Range", "some of these blocks are read only"],
  [0x83, "Command Size Limit Exceeded", "the command is longer than the controller takes for this operation"],
  [0x84, "Invalid Command ID", "no command of this identifier is there to cancel"],
  [0x85, "Incompatible Namespace or Format", "source and destination have formats that do not fit"],
  [0x86, "Fast Copy Not Possible", "only a slow copy could be made, and the command asks for a fast one"],
  [0x87, "Overlapping I/O Range", "source and destination overlap"],
  [0x88, "Namespace Not Reachable", "the other namespace cannot be reached from here"],
  [0x89, "Insufficient Resources", "the controller lacks resources to copy between these namespaces"],
  [0xb6, "Invalid Zone Operation Request", "this operation is not possible for the zone as it is"],
  [0xb7, "Zone Resource Unavailable", "no random write area is free for the zone"],
  [0xb8, "Zoned Boundary Error", "the blocks reach over the end of a zone's capacity"],
  [0xb9, "Zone Is Full", "the zone has no room left", "reset the zone, or write to another"],
  [0xba, "Zone Is Read Only", "the zone cannot be written any more"],
  [0xbb, "Zone Is Offline", "the zone cannot be used any more"],
  [0xbc, "Zone Invalid Write", "a zone is written at its write pointer and nowhere else"],
  [0xbd, "Too Many Active Zones", "one more active zone would be over the limit (MAR)", "finish or reset a zone"],
  [0xbe, "Too Many Open Zones", "one more open zone would be over the limit (MOR)", "close or finish a zone"],
  [0xbf, "Invalid Zone State Transition", "the zone cannot go from its state to that one"],
];

const MEDIA: readonly CodeLine[] = [
  [0x80, "Write Fault", "the media could not be written", "look at nvme_identify --logs: SMART"],
  [0x81, "Unrecovered Read Error", "the data on the media could not be read any more"],
  [0x82, "End-to-end Guard Check Error", "the checksum in the protection information is wrong"],
  [0x83, "End-to-end Application Tag Check Error", "the application tag in the protection information is another one"],
  [0x84, "End-to-end Reference Tag Check Error", "the reference tag in the protection information is another one"],
  [0x85, "Compare Failure", "the data on the media differs"],
  [0x86, "Access Denied", "the blocks are locked", "unlock the drive first if it is self-encrypting"],
  [0x87, "Deallocated or Unwritten Logical Block", "nothing was written to these blocks since they were deallocated"],
  [0x88, "End-to-end Storage Tag Check Error", "the storage tag in the protection information is another one"],
];

const PATH: readonly CodeLine[] = [
  [0x00, "Internal Path Error", "the way from the controller to the namespace failed"],
  [0x01, "Asymmetric Access Persistent Loss", "this controller has lost the namespace for good"],
  [0x02, "Asymmetric Access Inaccessible", "this controller cannot reach the namespace now; another one may"],
  [0x03, "Asymmetric Access Transition", "the namespace is moving between controllers; try again"],
  [0x60, "Controller Pathing Error", "the controller saw the way to it fail"],
  [0x70, "Host Pathing Error", "the host saw the way to the controller fail"],
  [0x71, "Command Aborted By Host", "the host gave the command up"],
];

/** Names of the Status Code Types; the others are reserved. */
const TYPE_NAMES: Readonly<Record<number, string>> = {
  0: "Generic Command Status",
  1: "Command Specific Status",
  2: "Media and Data Integrity Errors",
  3: "Path Related Status",
  7: "Vendor Specific",
};

/** Every status code that has a name, by type and code. */
export const STATUS_CODES: readonly StatusCode[] = [GENERIC, COMMAND_SPECIFIC, MEDIA, PATH].flatMap((lines, sct) =>
  lines.map(([sc, name, sentence, hint]) => ({ sct, sc, name, sentence, hint: hint ?? null }))
);

const BY_CODE: ReadonlyMap<number, StatusCode> = new Map(STATUS_CODES.map((code) => [code.sct << 8 | code.sc, code]));

/** Codes from here on are the vendor's, in every type. */
const FIRST_VENDOR_CODE = 0xc0;

/**
 * The status of a completion.
 *
 * @example
 * ```ts
 * import { NvmeStatus } from "./status.ts";
 * const status = new NvmeStatus(0x4002);
 * console.assert(status.name === "Invalid Field in Command" && status.doNotRetry);
 * ```
 */
export class NvmeStatus {
  /** The status field without the phase bit: SC 7:0, SCT 10:8, CRD 12:11, More 13, DNR 14. 0 is success. */
  readonly value: number;

  /** Takes the status field without the phase bit, as `NvmeCompletion.status` holds it; higher bits are ignored. */
  constructor(value: number) {
    this.value = value & 0x7fff;
  }

  /** Status Code. */
  get sc(): number {
    return this.value & 0xff;
  }

  /** Status Code Type. */
  get sct(): number {
    return this.value >> 8 & 0x7;
  }

  /** Type and code together, without the bits that say how to go on: `0x002` for Invalid Field in Command. */
  get code(): number {
    return this.value & 0x7ff;
  }

  /** Command Retry Delay: 0 none, 1 to 3 the time in CRDT1 to CRDT3 of the controller. */
  get crd(): number {
    return this.value >> 11 & 0x3;
  }

  /** More: the error log holds more about it. */
  get more(): boolean {
    return (this.value & 0x2000) !== 0;
  }

  /** Do Not Retry: the same command would fail again. */
  get doNotRetry(): boolean {
    return (this.value & 0x4000) !== 0;
  }

  /** True when the command was carried out. */
  get isSuccess(): boolean {
    return this.code === 0;
  }

  /** What the specification says of this code, or null when it says nothing. */
  get entry(): StatusCode | null {
    return BY_CODE.get(this.code) ?? null;
  }

  /** The specification's name of the Status Code Type; `Reserved` where it has none. */
  get typeName(): string {
    return TYPE_NAMES[this.sct] ?? "Reserved";
  }

  /** The specification's name of the code. */
  get name(): string {
    const known = this.entry?.name;
    if (known !== undefined) return known;
    const kind = this.sct === 7 || this.sc >= FIRST_VENDOR_CODE ? "Vendor Specific" : "Reserved";
    return `${kind} Status`;
  }

  /** What happened, in one sentence without a full stop. */
  get sentence(): string {
    const known = this.entry?.sentence;
    if (known !== undefined) return known;
    return this.sct === 7 || this.sc >= FIRST_VENDOR_CODE
      ? "only the drive's vendor knows what this code means"
      : "the specification does not define this code";
  }

  /** The status in one line: `Invalid Field in Command (sct 0, sc 0x02, do not retry)`. */
  toString(): string {
    const rest = [
      ...(this.crd === 0 ? [] : [`retry after CRDT${this.crd}`]),
      ...(this.more ? ["more in the error log"] : []),
      ...(this.doNotRetry ? ["do not retry"] : []),
    ];
    return `${this.name} (${[`sct ${this.sct}`, `sc ${hex(this.sc, 2)}`, ...rest].join(", ")})`;
  }
}

/**
 * Type and code of the status with that name, to compare with {@linkcode NvmeStatus.code}.
 *
 * @throws {BusbarError} `bug` when no status has it: call it while the module loads, so that a test sees it
 */
export function statusCodeNamed(name: string): number {
  const found = STATUS_CODES.find((code) => code.name === name);
  if (found === undefined) throw new BusbarError("bug", `no NVMe status has the name '${name}'`);
  return found.sct << 8 | found.sc;
}

/** What a status error says besides the status. */
export interface StatusErrorDetails extends Omit<ErrorDetails, "cause"> {
  /** What was asked of the device, to stand after `cannot`: `identify namespace 5`. */
  readonly operation: string;
}

/**
 * Makes the error for a command that the device completed with a status other than success. Its message names the
 * status; {@linkcode nvmeStatusOf} gets the number back.
 *
 * @example
 * ```ts
 * import { nvmeStatusOf, statusError } from "./status.ts";
 * const error = statusError(0x400b, { operation: "identify namespace 5", path: "0000:01:00.0" });
 * console.assert(error.code === "device-failed" && nvmeStatusOf(error)?.code === 0x0b);
 * ```
 */
export function statusError(status: number | NvmeStatus, details: StatusErrorDetails): BusbarError {
  const cause = typeof status === "number" ? new NvmeStatus(status) : status;
  const where = details.path === undefined ? "" : `${details.path}: `;
  const hint = details.hint ?? cause.entry?.hint ?? undefined;
  return new BusbarError("device-failed", `${where}${details.operation} failed: ${cause}`, { ...details, hint, cause });
}

/** The status that an error was made from, also where other errors were put around it; null where there is none. */
export function nvmeStatusOf(error: unknown): NvmeStatus | null {
  // Bounded, so that errors that are each other's cause do not hang whoever asks.
  for (let depth = 0; depth < 16 && error instanceof Error; depth++) {
    if (error.cause instanceof NvmeStatus) return error.cause;
    error = error.cause;
  }
  return null;
}
