/**
 * Memory that a device can reach.
 * @module
 */

/** Memory shared with a device. Dispose takes it away from the device, then frees it. */
export interface DmaBuffer extends Disposable {
  /** Length in bytes. */
  readonly sizeBytes: number;
  /** The address the device uses: an IOVA behind an IOMMU, a bus address without one. */
  readonly iova: bigint;
  /**
   * The memory as this process sees it. What a device wrote is only seen after a completion was seen and fenced.
   * Empty after dispose: every view of it is detached.
   */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The memory for C loops. Valid until dispose. */
  readonly pointer: Deno.PointerObject;
}

/** Memory of somebody else's that a device was let at. Dispose takes it away from the device, and leaves the memory. */
export interface DmaMapping extends Disposable {
  /** The address the device uses. */
  readonly iova: bigint;
}
