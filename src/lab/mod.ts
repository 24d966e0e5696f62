/**
 * Virtual lab machines: a stock Linux kernel with the hardware that a YAML file describes, to run commands and tests in.
 * @module
 */

// Is there what a machine needs, and making it so.
export { cannotStart } from "./parts.ts";
export { cannotSetUp, setUp, type SetUpOptions } from "./image.ts";

// A machine's description.
export { loadMachine, type NamedMachine, parseMachine } from "./machine_file.ts";
export type { Device, Machine } from "./description.ts";

// A running machine.
export { Guest } from "./guest.ts";
export { findGuest, type GuestRecord, runningGuests } from "./run_folder.ts";

// Tests that run inside one.
export { TestSession } from "./test_session.ts";
