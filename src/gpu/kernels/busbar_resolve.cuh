/*
 * Finds a file's blocks by itself and reads them: the extent tree of an ext4 inode, or a FAT32 chain of clusters. By one
 * warp, which has the queue alone. All lanes go through the metadata together, and each reads a run of the data.
 *
 * What lies on the drive is not trusted: every place is compared with the size of the file system before it is read, every
 * extent comes behind the one before, and nodes of the tree are one level below their parents, so the walk ends.
 *
 * Source: Linux Documentation/filesystems/ext4 (inodes.rst, ifork.rst); Microsoft FAT32 File System Specification 1.03.
 */
#ifndef BUSBAR_RESOLVE_CUH
#define BUSBAR_RESOLVE_CUH

#include "busbar_gather.cuh"

enum {
  EXT4_EXTENT_MAGIC = 0xf30a,
  EXT4_MOST_DEPTH = 5,
  EXT4_ENTRY_BYTES = 12,
  EXT4_INODE_NODE = 0x28,
  EXT4_INODE_NODE_BYTES = 60,
  EXT4_COMPRESSED = 0x4,
  EXT4_ENCRYPTED = 0x800,
  EXT4_EXTENTS = 0x80000,
  EXT4_INLINE = 0x10000000,
  EXT4_MOST_WRITTEN = 32768,
  FAT_FIRST_CLUSTER = 2,
  FAT_MASK = 0x0fffffff
};

static __device__ __forceinline__ bb_u32 half_at(bb_u64 at) { return *bb_at<const unsigned short>(at); }

static __device__ __forceinline__ bb_u32 word_at(bb_u64 at) { return *bb_at<const bb_u32>(at); }

/* Tells of the first problem. Returns false, for the caller to hand on. */
static __device__ __noinline__ bool resolve_fail(bb_nvme_resolve *job, bb_u32 problem, bb_u64 detail) {
  if (bb_lane() == 0 && job->problem == BB_NVME_RESOLVE_PROBLEM_NONE) {
    job->problem = problem;
    job->detail = detail;
  }
  __syncwarp();
  return false;
}

/* Reads for all lanes that want to, and waits. `at` is a byte from the start of the file system, on a block of the drive. */
static __device__ __noinline__ bool resolve_read(bb_nvme_resolve *job, bool wants, bb_u64 prp1, bb_u64 prp2, bb_u64 at, bb_u32 bytes) {
  bb_nvme_queue *queue = bb_at<bb_nvme_queue>(job->queue);
  const bb_u64 lba = job->first_lba + at / job->block_bytes;
  if (bb_load_relaxed(&bb_at<bb_nvme_control>(job->control)->stop) != BB_NVME_STOP_NONE) {
    return resolve_fail(job, BB_NVME_RESOLVE_PROBLEM_LOST, 0);
  }
  const bb_u32 ticket = bb_nvme_submit<BB_WARP>(queue, wants, BB_NVME_READ, job->namespace_id, prp1, prp2, lba,
                                                bytes / job->block_bytes, job->timeout_ns);
  const bb_u32 status = bb_nvme_wait<BB_WARP>(queue, wants, ticket, job->timeout_ns);
  const bb_u32 bad = __ballot_sync(BB_ALL, wants && status != 0);
  if (bb_lane() == 0) (*(volatile bb_u64 *)&bb_at<bb_nvme_control>(job->control)->done)++;
  if (bad == 0) return true;
  const int lane = __ffs((int)bad) - 1;
  const bb_u32 its = __shfl_sync(BB_ALL, status, lane);
  const bb_u64 where = __shfl_sync(BB_ALL, lba, lane);
  if (its == BB_NVME_NOT_ENDED) return resolve_fail(job, BB_NVME_RESOLVE_PROBLEM_LOST, where);
  if (bb_lane() == 0 && job->problem == BB_NVME_RESOLVE_PROBLEM_NONE) job->failed_status = its;
  return resolve_fail(job, BB_NVME_RESOLVE_PROBLEM_STATUS, where);
}

/* Reads metadata into a piece; all lanes see it then. */
static __device__ __noinline__ bool resolve_metadata(bb_nvme_resolve *job, bb_u32 which, bb_u64 at, bb_u32 bytes) {
  const bb_u64 piece = (bb_u64)which * job->piece_bytes;
  const bb_u64 prp2 = arena_prp2(job->pieces_iova, job->pieces_list, job->page_bytes, piece, bytes);
  if (bb_lane() == 0) job->reads++;
  return resolve_read(job, bb_lane() == 0, job->pieces_iova + piece, prp2, at, bytes);
}

/* ---- data -------------------------------------------------------------------------------------------------------- */

/* Transfers that wait until there is one for each lane. */
struct batch {
  bb_u64 at, destination; /* of this lane */
  bb_u32 bytes;
  bb_u32 count; /* of all lanes */
  bb_u64 filled; /* bytes of the window that are read, zeroed, or in the batch */
};

static __device__ __noinline__ bool send_batch(bb_nvme_resolve *job, struct batch *batch) {
  const bool wants = bb_lane() < batch->count;
  const bb_u64 prp1 = job->arena_iova + batch->destination;
  const bb_u64 prp2 = wants ? arena_prp2(job->arena_iova, job->arena_list, job->page_bytes, batch->destination, batch->bytes)
                            : 0;
  batch->count = 0;
  return resolve_read(job, wants, prp1, prp2, batch->at, batch->bytes);
}

/* A run of the file that lies at `at` of the file system. What is outside the window is left out; what no run covered
 * before it becomes zeros. Lengths are multiples of the drive's blocks. */
static __device__ __noinline__ bool add_run(bb_nvme_resolve *job, struct batch *batch, bb_u64 offset, bb_u64 at, bb_u64 bytes) {
  const bb_u64 end = job->window + job->window_bytes;
  bb_u64 from = offset < job->window ? job->window : offset;
  const bb_u64 to = offset + bytes < end ? offset + bytes : end;
  if (from >= to) return true;
  if (bb_lane() == 0) job->extents++;
  if (from - job->window > batch->filled) zero_by_warp(job->arena + batch->filled, from - job->window - batch->filled);
  batch->filled = to - job->window;
  while (from < to) {
    const bb_u64 destination = from - job->window;
    bb_u64 length = to - from < job->transfer_bytes ? to - from : job->transfer_bytes;
    /* The entries that one transfer takes of the PRP list lie on one page of it. */
    const bb_u64 per_list = job->page_bytes / 8;
    const bb_u64 last = ((destination / job->page_bytes + 1) / per_list + 1) * per_list;
    if (destination + length > last * job->page_bytes) length = last * job->page_bytes - destination;
    if (bb_lane() == batch->count) {
      batch->at = at + (from - offset);
      batch->destination = destination;
      batch->bytes = (bb_u32)length;
    }
    batch->count++;
    from += length;
    if (batch->count == job->lanes && !send_batch(job, batch)) return false;
  }
  return true;
}

/* What is left of the batch, and of the window. */
static __device__ bool end_runs(bb_nvme_resolve *job, struct batch *batch) {
  if (batch->count > 0 && !send_batch(job, batch)) return false;
  if (batch->filled < job->window_bytes) zero_by_warp(job->arena + batch->filled, job->window_bytes - batch->filled);
  return true;
}

/* ---- ext4 -------------------------------------------------------------------------------------------------------- */

/* Reads the inode into piece 0 and checks it. Returns the address of its root node, or 0. */
static __device__ bb_u64 find_inode(bb_nvme_resolve *job) {
  const bb_u32 group = (job->inode - 1) / job->inodes_per_group, index = (job->inode - 1) % job->inodes_per_group;
  const bb_u64 descriptor = job->descriptors + (bb_u64)group * job->descriptor_bytes, size = job->fs_block_bytes;
  if (!resolve_metadata(job, 1, descriptor / size * size, (bb_u32)size)) return 0;
  const bb_u64 found = job->pieces + job->piece_bytes + descriptor % size;
  bb_u64 table = word_at(found + 0x8);
  if (job->descriptor_bytes >= 64) table |= (bb_u64)word_at(found + 0x28) << 32;
  const bb_u64 place = (bb_u64)index * job->inode_bytes, block = table + place / size;
  if (table < 1 || block < table || block >= job->fs_blocks) {
    resolve_fail(job, BB_NVME_RESOLVE_PROBLEM_DAMAGED, table);
    return 0;
  }
  if (!resolve_metadata(job, 0, block * size, (bb_u32)size)) return 0;
  const bb_u64 inode = job->pieces + place % size;
  const bb_u32 flags = word_at(inode + 0x20);
  if ((flags & (EXT4_COMPRESSED | EXT4_ENCRYPTED | EXT4_INLINE)) != 0 || (flags & EXT4_EXTENTS) == 0) {
    resolve_fail(job, BB_NVME_RESOLVE_PROBLEM_UNSUPPORTED, flags);
    return 0;
  }
  if (bb_lane() == 0) {
    job->size = word_at(inode + 0x4) | (bb_u64)word_at(inode + 0x6c) << 32;
    const bool has_extra = job->inode_bytes > 128 && half_at(inode + 0x80) >= 8;
    job->change_time = word_at(inode + 0xc) | (has_extra ? (bb_u64)word_at(inode + 0x84) << 32 : 0);
  }
  __syncwarp();
  return inode + EXT4_INODE_NODE;
}

/* A node of the tree, checked. `room` is its size in bytes, `depth` the level that it must have, or -1 for the root. */
static __device__ bool enter_node(bb_nvme_resolve *job, bb_u64 node, bb_u32 room, int depth, bb_u32 *entries, bb_u32 *own) {
  *entries = half_at(node + 2);
  *own = half_at(node + 6);
  const bool is_wrong = half_at(node) != EXT4_EXTENT_MAGIC || *entries > room / EXT4_ENTRY_BYTES - 1 ||
                        *own > EXT4_MOST_DEPTH || (depth >= 0 && ((int)*own != depth || *entries == 0));
  return is_wrong ? resolve_fail(job, BB_NVME_RESOLVE_PROBLEM_DAMAGED, 0) : true;
}

static __device__ void resolve_ext4(bb_nvme_resolve *job) {
  const bb_u64 size = job->fs_block_bytes;
  struct batch batch = {0, 0, 0, 0, 0};
  bb_u64 node[EXT4_MOST_DEPTH + 1];
  bb_u32 entries[EXT4_MOST_DEPTH + 1], entry[EXT4_MOST_DEPTH + 1];
  const bb_u64 root = find_inode(job);
  bb_u32 depth, count;
  if (root == 0 || !enter_node(job, root, EXT4_INODE_NODE_BYTES, -1, &count, &depth)) return;
  int level = 0;
  bb_u64 next = 0;
  node[0] = root;
  entries[0] = count;
  entry[0] = 0;
  while (level >= 0) {
    if (entry[level] == entries[level]) {
      level--;
      continue;
    }
    const bb_u64 at = node[level] + (bb_u64)EXT4_ENTRY_BYTES * ++entry[level], first = word_at(at);
    if (first < next) {
      resolve_fail(job, BB_NVME_RESOLVE_PROBLEM_DAMAGED, first);
      return;
    }
    if (level < (int)depth) {
      /* What lies before the window as a whole is not read. */
      const bool has_more = entry[level] < entries[level];
      if (has_more && word_at(at + EXT4_ENTRY_BYTES) * size <= job->window) continue;
      if (first * size >= job->window + job->window_bytes) break;
      const bb_u64 child = word_at(at + 4) | (bb_u64)half_at(at + 8) << 32;
      if (child < 1 || child >= job->fs_blocks) {
        resolve_fail(job, BB_NVME_RESOLVE_PROBLEM_DAMAGED, child);
        return;
      }
      if (!resolve_metadata(job, (bb_u32)level + 1, child * size, (bb_u32)size)) return;
      bb_u32 own;
      level++;
      node[level] = job->pieces + (bb_u64)level * job->piece_bytes;
      entry[level] = 0;
      if (!enter_node(job, node[level], (bb_u32)size, (int)depth - level, &entries[level], &own)) return;
      continue;
    }
    const bb_u32 coded = half_at(at + 4);
    const bb_u32 length = coded <= EXT4_MOST_WRITTEN ? coded : coded - EXT4_MOST_WRITTEN;
    const bb_u64 start = word_at(at + 8) | (bb_u64)half_at(at + 6) << 32;
    if (length == 0 || start < 1 || start + length > job->fs_blocks) {
      resolve_fail(job, BB_NVME_RESOLVE_PROBLEM_DAMAGED, start);
      return;
    }
    next = first + length;
    if (first * size >= job->window + job->window_bytes) break;
    /* Allocated and never written: a hole. */
    if (coded > EXT4_MOST_WRITTEN) continue;
    if (!add_run(job, &batch, first * size, start * size, length * size)) return;
  }
  end_runs(job, &batch);
}

/* ---- FAT32 ------------------------------------------------------------------------------------------------------- */

static __device__ void resolve_fat32(bb_nvme_resolve *job) {
  const bb_u64 size = job->fs_block_bytes, end = job->window + job->window_bytes;
  const bb_u64 fat_bytes = (4 * (job->fs_blocks + FAT_FIRST_CLUSTER) + job->block_bytes - 1) / job->block_bytes * job->block_bytes;
  struct batch batch = {0, 0, 0, 0, 0};
  bb_u32 cluster = job->cluster, index = job->cluster_index, run_first = 0, run_length = 0;
  bb_u64 loaded = ~(bb_u64)0;
  for (; index * size < end; index++) {
    if (cluster < FAT_FIRST_CLUSTER || cluster >= job->fs_blocks + FAT_FIRST_CLUSTER) {
      resolve_fail(job, BB_NVME_RESOLVE_PROBLEM_CHAIN, cluster);
      return;
    }
    if (run_length != 0 && cluster != run_first + run_length) {
      if (!add_run(job, &batch, (index - run_length) * size, job->data + (run_first - FAT_FIRST_CLUSTER) * size,
                   run_length * size)) {
        return;
      }
      run_length = 0;
    }
    if (run_length++ == 0) run_first = cluster;
    const bb_u64 place = 4 * (bb_u64)cluster, window = place / job->piece_bytes;
    if (window != loaded) {
      const bb_u64 from = window * job->piece_bytes, left = fat_bytes - from;
      const bb_u32 bytes = left < job->piece_bytes ? (bb_u32)left : job->piece_bytes;
      if (!resolve_metadata(job, 0, job->fat + from, bytes)) return;
      loaded = window;
    }
    cluster = word_at(job->pieces + place % job->piece_bytes) & FAT_MASK;
  }
  if (run_length != 0 && !add_run(job, &batch, (index - run_length) * size,
                                  job->data + (run_first - FAT_FIRST_CLUSTER) * size, run_length * size)) {
    return;
  }
  if (bb_lane() == 0) {
    job->cluster = cluster;
    job->cluster_index = index;
  }
  __syncwarp();
  end_runs(job, &batch);
}

#endif
