/**
 * The cache-invalidation gate: before a region is committed the kernel must drop what processors have cached for its
 * addresses. Under a hypervisor it refuses to (ENXIO), because a guest's flush may not reach the real caches.
 *
 * Source: Linux drivers/cxl/core/region.c (cxl_region_invalidate_memregion) and arch/x86/mm/pat/set_memory.c
 * (cpu_cache_has_invalidate_memregion: false when the CPUID bit "hypervisor present" is set).
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { type Host, ifReadable } from "../core/host.ts";
import type { UndoJournal } from "../core/undo/journal.ts";

/** The kernel option that turns the refusal into a warning, for tests. */
const TEST_OPTION = "CONFIG_CXL_REGION_INVALIDATION_TEST";

/** Whether this kernel will commit a region. */
export interface InvalidationGate {
  /** False when the commit would fail with ENXIO. */
  readonly open: boolean;
  /** Why, in one sentence, with what it was read from. */
  readonly reason: string;
}

/** Says whether a commit would be refused. Reads `/proc/cpuinfo` and the kernel's configuration. */
export function invalidationGate(host: Host): InvalidationGate {
  const flags = /^flags\s*:(.*)$/m.exec(ifReadable(() => host.readText("/proc/cpuinfo")) ?? "")?.[1] ?? "";
  if (!flags.split(/\s+/).includes("hypervisor")) {
    return { open: true, reason: "the processor does not report a hypervisor (/proc/cpuinfo)" };
  }
  const release = ifReadable(() => host.readText("/proc/sys/kernel/osrelease").trim()) ?? "";
  const config = ifReadable(() => host.readText(`/boot/config-${release}`));
  if (config?.split("\n").includes(`${TEST_OPTION}=y`)) {
    return { open: true, reason: `there is a hypervisor, but the kernel has ${TEST_OPTION}: for tests only` };
  }
  const known = config === null ? ` (/boot/config-${release} cannot be read)` : "";
  return {
    open: false,
    reason: "the processor reports a hypervisor (/proc/cpuinfo), so the kernel cannot drop cache lines " +
      `and refuses to commit a region with ENXIO${known}`,
  };
}

/**
 * Does nothing when a commit can succeed.
 *
 * @throws {BusbarError} `unsupported`, with both ways out
 */
export function checkInvalidationGate(journal: UndoJournal, host: Host): void {
  const gate = invalidationGate(host);
  if (gate.open) return;
  journal.refuse(
    new BusbarError("unsupported", `no region can be created here: ${gate.reason}; nothing was written`, {
      operation: "create a region",
      path: "/proc/cpuinfo",
      hint: `hide the bit from the guest (QEMU: -cpu host,-hypervisor or -cpu max,hypervisor=off), or boot a kernel ` +
        `with ${TEST_OPTION}=y; --force tries all the same`,
    }),
  );
}
