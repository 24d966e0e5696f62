/* Kernels that read files: runs of blocks into an arena, and files whose blocks they find by themselves. */
#include "busbar_array.cuh"
#include "busbar_gather.cuh"
#include "busbar_resolve.cuh"

static __device__ __forceinline__ bb_nvme_queue *queue_of_block(const bb_nvme_gather *job) {
  return bb_at<bb_nvme_queue>(job->queues) + blockIdx.x % job->queue_count;
}

static __device__ __forceinline__ bb_u32 warp_number() { return blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; }

extern "C" __global__ void nvme_gather_warp(bb_nvme_gather *job) {
  gather<BB_WARP>(job, queue_of_block(job), warp_number());
}

extern "C" __global__ void nvme_gather_grid(bb_nvme_gather *job) {
  gather<BB_GRID>(job, queue_of_block(job), warp_number());
}

extern "C" __global__ void nvme_resolve_ext4(bb_nvme_resolve *job) { resolve_ext4(job); }

extern "C" __global__ void nvme_resolve_fat32(bb_nvme_resolve *job) { resolve_fat32(job); }

extern "C" __global__ void nvme_array_flush(bb_nvme_array *array) { bb_array_flush<BB_GRID>(array); }
