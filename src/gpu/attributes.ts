/**
 * The attributes of a GPU that its driver tells, by number.
 *
 * Names and numbers are those of cuda.h, CUDA 13.0 (CUdevice_attribute); a test compares them where that file is. Left
 * out are those about textures and other operating systems.
 * @module
 */

/** One attribute. */
export interface GpuAttribute {
  /** Its number. */
  readonly number: number;
  /** NVIDIA's name, without `CU_DEVICE_ATTRIBUTE_`. */
  readonly name: string;
  /** What it says. */
  readonly title: string;
  /** What its value is: a number with this unit, or a yes or no. */
  readonly kind: "flag" | "count" | "bytes" | "kHz" | "bits" | "code";
}

const a = (number: number, name: string, kind: GpuAttribute["kind"], title: string): GpuAttribute => ({
  number,
  name,
  title,
  kind,
});

/** The attributes, by number. */
export const GPU_ATTRIBUTES: readonly GpuAttribute[] = [
  a(1, "MAX_THREADS_PER_BLOCK", "count", "threads in a block"),
  a(2, "MAX_BLOCK_DIM_X", "count", "block size x"),
  a(3, "MAX_BLOCK_DIM_Y", "count", "block size y"),
  a(4, "MAX_BLOCK_DIM_Z", "count", "block size z"),
  a(5, "MAX_GRID_DIM_X", "count", "grid size x"),
  a(6, "MAX_GRID_DIM_Y", "count", "grid size y"),
  a(7, "MAX_GRID_DIM_Z", "count", "grid size z"),
  a(8, "MAX_SHARED_MEMORY_PER_BLOCK", "bytes", "shared memory of a block"),
  a(9, "TOTAL_CONSTANT_MEMORY", "bytes", "constant memory"),
  a(10, "WARP_SIZE", "count", "threads in a warp"),
  a(12, "MAX_REGISTERS_PER_BLOCK", "count", "registers of a block"),
  a(13, "CLOCK_RATE", "kHz", "clock"),
  a(16, "MULTIPROCESSOR_COUNT", "count", "multiprocessors"),
  a(17, "KERNEL_EXEC_TIMEOUT", "flag", "kernels have a time limit"),
  a(18, "INTEGRATED", "flag", "shares memory with the host"),
  a(19, "CAN_MAP_HOST_MEMORY", "flag", "can map host memory"),
  a(20, "COMPUTE_MODE", "code", "compute mode: 0 default, 2 prohibited, 3 exclusive process"),
  a(31, "CONCURRENT_KERNELS", "flag", "several kernels at once"),
  a(32, "ECC_ENABLED", "flag", "error correction on"),
  a(33, "PCI_BUS_ID", "code", "PCI bus"),
  a(34, "PCI_DEVICE_ID", "code", "PCI device"),
  a(36, "MEMORY_CLOCK_RATE", "kHz", "memory clock"),
  a(37, "GLOBAL_MEMORY_BUS_WIDTH", "bits", "memory bus"),
  a(38, "L2_CACHE_SIZE", "bytes", "level 2 cache"),
  a(39, "MAX_THREADS_PER_MULTIPROCESSOR", "count", "threads on a multiprocessor"),
  a(40, "ASYNC_ENGINE_COUNT", "count", "copy engines"),
  a(41, "UNIFIED_ADDRESSING", "flag", "one address space with the host"),
  a(50, "PCI_DOMAIN_ID", "code", "PCI domain"),
  a(75, "COMPUTE_CAPABILITY_MAJOR", "count", "compute capability, major"),
  a(76, "COMPUTE_CAPABILITY_MINOR", "count", "compute capability, minor"),
  a(78, "STREAM_PRIORITIES_SUPPORTED", "flag", "streams have priorities"),
  a(83, "MANAGED_MEMORY", "flag", "managed memory"),
  a(86, "HOST_NATIVE_ATOMIC_SUPPORTED", "flag", "atomics on host memory over the link"),
  a(88, "PAGEABLE_MEMORY_ACCESS", "flag", "reaches pageable host memory"),
  a(91, "CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM", "flag", "registered memory has the same address on both sides"),
  a(92, "CAN_USE_STREAM_MEM_OPS_V1", "flag", "stream memory operations, old set"),
  a(95, "COOPERATIVE_LAUNCH", "flag", "cooperative launch"),
  a(98, "CAN_FLUSH_REMOTE_WRITES", "flag", "can flush writes of other devices"),
  a(99, "HOST_REGISTER_SUPPORTED", "flag", "can register host memory"),
  a(100, "PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES", "flag", "uses the host's page tables"),
  a(102, "VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED", "flag", "virtual memory management"),
  a(110, "GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED", "flag", "GPUDirect RDMA with virtual memory management"),
  a(113, "READ_ONLY_HOST_REGISTER_SUPPORTED", "flag", "can register host memory read-only"),
  a(115, "MEMORY_POOLS_SUPPORTED", "flag", "memory pools"),
  a(116, "GPU_DIRECT_RDMA_SUPPORTED", "flag", "GPUDirect RDMA: other devices may reach its memory"),
  a(117, "GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS", "code", "ways to flush their writes: 1 host call, 2 stream operation"),
  a(118, "GPU_DIRECT_RDMA_WRITES_ORDERING", "code", "order of their writes: 0 none, 100 for the owner, 200 for all"),
  a(122, "CAN_USE_64_BIT_STREAM_MEM_OPS", "flag", "stream memory operations of 64 bits"),
  a(124, "DMA_BUF_SUPPORTED", "flag", "exports its memory as dma-buf"),
  a(128, "HANDLE_TYPE_FABRIC_SUPPORTED", "flag", "exports its memory over a fabric"),
  a(133, "MPS_ENABLED", "flag", "runs under MPS"),
  a(134, "HOST_NUMA_ID", "code", "nearest NUMA node of the host; -1 is not known"),
  a(146, "HOST_ALLOC_DMA_BUF_SUPPORTED", "flag", "exports pinned host memory as dma-buf"),
];

/** The attribute of that name, or undefined. */
export function gpuAttribute(name: string): GpuAttribute | undefined {
  return GPU_ATTRIBUTES.find((attribute) => attribute.name === name);
}
