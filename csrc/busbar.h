/*
 * libbusbar: exact access to device memory, and the system calls around it.
 *
 * Rules for every function here:
 *  - the result is 0 or a count, or a negative errno number; values come back through out-pointers;
 *  - offsets are uint32_t, sizes and addresses uint64_t, strings NUL-terminated UTF-8;
 *  - a NULL pointer or an overflowing range is -EINVAL, never a crash;
 *  - nothing that the library allocates is freed by the caller, except handles with a _close function.
 */
#ifndef BUSBAR_H
#define BUSBAR_H

#include <stdint.h>

#include "api/cuda_api.h"

#define BB_API __attribute__((visibility("default")))

/* Raised whenever a function or structure here changes. The loader refuses any other number. */
#define BB_ABI_VERSION 2

BB_API uint32_t bb_abi_version(void);

/* ---- mmio.c: registers -------------------------------------------------------------------------------------------
 *
 * Every access is one machine instruction of exactly the named width, neither split, merged, repeated nor left out.
 * The caller has checked that base is mapped, and that offset is in range and a multiple of the width.
 *
 * A device that vanishes turns an access into SIGBUS. After bb_guard_install() such a read returns all ones, as a
 * missing device does on the bus, such a write is dropped, and bb_take_fault() says so. Without it the process dies.
 */

/* Installs the SIGBUS handler. It handles faults of the functions of this file only, all others go to the handler
 * that was there before. Safe to call again. */
BB_API int32_t bb_guard_install(void);

/* 1 when an access of this thread faulted since the last call, else 0. */
BB_API int32_t bb_take_fault(void);

BB_API uint32_t bb_read8(const void *base, uint32_t offset);
BB_API uint32_t bb_read16(const void *base, uint32_t offset);
BB_API uint32_t bb_read32(const void *base, uint32_t offset);
BB_API uint64_t bb_read64(const void *base, uint32_t offset);

/* 0, or -EFAULT when the access faulted. */
BB_API int32_t bb_write8(void *base, uint32_t offset, uint32_t value);
BB_API int32_t bb_write16(void *base, uint32_t offset, uint32_t value);
BB_API int32_t bb_write32(void *base, uint32_t offset, uint32_t value);
BB_API int32_t bb_write64(void *base, uint32_t offset, uint64_t value);

/* Copies size bytes between device memory and ordinary memory in ascending single accesses of width 1, 2, 4 or 8
 * bytes. offset and size are multiples of width. -EFAULT when an access faulted; what was read before it is kept.
 * size has 32 bits, as offset does: a 64-bit one would cost the caller more than the call itself. */
BB_API int32_t bb_read_block(const void *base, uint32_t offset, void *to, uint32_t size, uint32_t width);
BB_API int32_t bb_write_block(void *base, uint32_t offset, const void *from, uint32_t size, uint32_t width);

/* Reads a register of width 1, 2, 4 or 8 bytes until (value & mask) == wanted. Looks once more after the limit of
 * limit_us microseconds, at most 50,000 because the caller's event loop stands still meanwhile.
 * The last value read is stored in *last. 0, -ETIMEDOUT, -EFAULT, or -EINVAL. */
BB_API int32_t bb_poll(const void *base, uint32_t offset, uint32_t width, uint64_t mask, uint64_t wanted,
                       uint32_t limit_us, uint64_t *last);

/* Orders earlier reads before later reads and writes, as seen by devices. */
BB_API void bb_read_barrier(void);
/* Orders earlier writes before later writes, as seen by devices. */
BB_API void bb_write_barrier(void);
/* Orders all earlier accesses before all later ones, as seen by devices. */
BB_API void bb_full_barrier(void);

/* ---- memory.c: mappings ------------------------------------------------------------------------------------------ */

enum {
  BB_MAP_WRITE = 1,    /* PROT_WRITE too; files are opened read-write */
  BB_MAP_PRIVATE = 2,  /* MAP_PRIVATE instead of MAP_SHARED */
  BB_MAP_POPULATE = 4, /* fault every page in now */
  BB_MAP_SYNC = 8,     /* MAP_SYNC with MAP_SHARED_VALIDATE: fails with EOPNOTSUPP where the file is not DAX */
  BB_MAP_HUGE_2M = 16, /* anonymous memory in 2 MiB pages */
  BB_MAP_HUGE_1G = 32, /* anonymous memory in 1 GiB pages */
};

/* Maps size bytes of a file or device from offset, read-only unless BB_MAP_WRITE. offset is a multiple of the page
 * size. A regular file that is shorter than offset + size is -ERANGE: touching the rest would be SIGBUS. */
BB_API int32_t bb_map_file(const char *path, uint64_t offset, uint64_t size, uint32_t flags, void **out);

/* Maps pieces of a file side by side, shared and writable: count pieces of piece_size bytes, a multiple of the page size, each
 * from its offset. One bb_unmap of all of it takes it away. */
BB_API int32_t bb_map_pieces(const char *path, const uint64_t *offsets, uint32_t count, uint64_t piece_size, void **out);

/* Maps zeroed anonymous memory, readable and writable, shared with child processes unless BB_MAP_PRIVATE. */
BB_API int32_t bb_map_anonymous(uint64_t size, uint32_t flags, void **out);

BB_API int32_t bb_unmap(void *address, uint64_t size);

/* Lets pages of a range that are touched later come from this NUMA node only (mbind, MPOL_BIND). Where the node has no
 * room, touching them ends the process: check before. -EINVAL where the node has no memory. */
BB_API int32_t bb_bind_node(void *address, uint64_t size, uint32_t node);

/* The NUMA node of each page of size bytes from address (page-aligned), one int32_t a page (move_pages without a move): a
 * node, or a negative error of that page, -ENOENT for one that is not in memory. pages is the room in out; too little is
 * -ERANGE. Returns the number of pages. */
BB_API int32_t bb_page_nodes(const void *address, uint64_t size, int32_t *out, uint64_t pages);

/* 1 when a file is accessed directly, without the page cache (statx, STATX_ATTR_DAX), 0 when not, -EOPNOTSUPP where the
 * kernel does not tell. */
BB_API int32_t bb_file_is_dax(const char *path);

/* msync(MS_SYNC): file contents reach the file. address is a multiple of the page size. */
BB_API int32_t bb_sync(void *address, uint64_t size);

BB_API int32_t bb_lock(const void *address, uint64_t size);
BB_API int32_t bb_unlock(const void *address, uint64_t size);

BB_API uint64_t bb_page_size(void);

/* Virtual to physical: the physical address of each page of size bytes from address (page-aligned), one uint64_t a
 * page, from /proc/self/pagemap. A page that is not in memory is UINT64_MAX. Without CAP_SYS_ADMIN the kernel hides
 * the addresses: -EPERM. pages is the room in out; too little is -ERANGE. Returns the number of pages. */
BB_API int32_t bb_page_map(const void *address, uint64_t size, uint64_t *out, uint64_t pages);

/* Writes the cache lines of a range back to memory and drops or keeps them, then waits until they are there:
 * clwb, clflushopt or clflush, and sfence, on x86-64, dc civac and dsb on aarch64. */
BB_API int32_t bb_flush(const void *address, uint64_t size);

/* ---- membench.c: loops that measure memory ------------------------------------------------------------------------
 *
 * A loop runs until limit_us (1,000,000 at most) is over, looks at the clock once in some thousand steps, and can be called
 * again to go on: what it needs for that is kept in *position or *state. cpu is the processor it runs on, -1 any.
 * out receives: [0] how many steps, [1] nanoseconds, [2] nanoseconds of processor time, [3] those of it in the kernel.
 * Meant for calls that do not hold the caller's thread. Addresses and sizes are multiples of 64.
 */

/* Makes one random cycle through every slot of stride bytes: each holds the address of the next. *done is 0 at first.
 * Returns 1 when it is done, 0 when the time was over before. */
BB_API int32_t bb_chase_prepare(void *base, uint64_t size, uint32_t stride, uint64_t seed, uint32_t limit_us,
                                uint64_t *done);
/* Follows the cycle from *position, one load after another. A step is a hop. */
BB_API int32_t bb_chase(void **position, int32_t cpu, uint32_t limit_us, uint64_t *out);

enum {
  BB_STREAM_READ = 0,
  BB_STREAM_WRITE = 1,
  BB_STREAM_COPY = 2,
  BB_STREAM_WRITE_NT = 3, /* stores that go past the cache */
  BB_STREAM_COPY_NT = 4,
};

/* Reads from, writes to, or copies size bytes, over and over, 16 bytes at a time. A step is a byte; of a copy, a byte
 * copied. Between two pieces of 4 KiB it waits delay times a moment, when delay is not 0. */
BB_API int32_t bb_stream(uint32_t kind, void *to, const void *from, uint64_t size, uint64_t *position, uint32_t delay,
                         int32_t cpu, uint32_t limit_us, uint64_t *out);

/* Reads some 1 KiB pieces of a range and writes the others, evenly mixed: reads_percent (0 to 100) of them are read. Which
 * are read follows from their place, so each time around the same. size is a multiple of 1024. A step is a byte. */
BB_API int32_t bb_mixed_stream(void *base, uint64_t size, uint32_t reads_percent, uint64_t *position, int32_t cpu,
                               uint32_t limit_us, uint64_t *out);

enum { BB_PERSIST_NONE = 0, BB_PERSIST_FLUSH = 1, BB_PERSIST_SYNC = 2 };

/* Writes blocks, each made permanent before the next: not at all, by a flush of the cache, or by msync. A step is a block.
 * With msync a block is a multiple of the page size. */
BB_API int32_t bb_persist_blocks(void *base, uint64_t size, uint32_t block, uint32_t how, uint64_t *position, int32_t cpu,
                                 uint32_t limit_us, uint64_t *out);

/* HPC Challenge RandomAccess on a table of words (a power of two), at most updates of them. Of each 2^32 updates hot_share
 * fall on hot_words (a power of two; 0: no such set) from hot_start. The same stream applied again undoes them all. */
BB_API int32_t bb_gups(uint64_t *table, uint64_t words, uint64_t hot_start, uint64_t hot_words, uint32_t hot_share,
                       uint64_t *state, uint64_t updates, int32_t cpu, uint32_t limit_us, uint64_t *out);
/* Sets words of the table from the first on to their own index; and adds to *errors how many are not. */
BB_API int32_t bb_gups_prepare(uint64_t *table, uint64_t first, uint64_t words);
BB_API int32_t bb_gups_errors(const uint64_t *table, uint64_t first, uint64_t words, uint64_t *errors);

/* ---- fd.c: file descriptors -------------------------------------------------------------------------------------- */

enum {
  BB_OPEN_WRITE = 1,     /* for reading and writing */
  BB_OPEN_EXCLUSIVE = 2, /* O_EXCL: of a block device, -EBUSY when something in the kernel holds it */
  BB_OPEN_DIRECT = 4,    /* O_DIRECT: offsets, lengths and memory on whole blocks of the device, around its page cache */
};

/* Opens a device or file, close-on-exec. Returns the descriptor. */
BB_API int32_t bb_open(const char *path, uint32_t flags);
BB_API int32_t bb_close(int32_t fd);

/* Reads or writes at an offset, in one system call. Returns how many bytes. */
BB_API int32_t bb_pread(int32_t fd, uint64_t offset, void *to, uint32_t size);
BB_API int32_t bb_pwrite(int32_t fd, uint64_t offset, const void *from, uint32_t size);

/* Maps part of a descriptor, shared, as bb_map_file does. */
BB_API int32_t bb_map_fd(int32_t fd, uint64_t offset, uint64_t size, uint32_t flags, void **out);

/* An event counter, for interrupts. */
BB_API int32_t bb_eventfd(void);

/* Waits until an event counter is above zero, at most limit_ms (50 at most), and sets it back to zero.
 * Returns 1, or 0 when the limit came first. */
BB_API int32_t bb_eventfd_wait(int32_t fd, uint32_t limit_ms);

/* Takes a lock on an open file without waiting: -EAGAIN when somebody else holds it. It ends with the descriptor. */
BB_API int32_t bb_lock_file(int32_t fd);

/* ---- process.c: programs that are talked to over pipes ------------------------------------------------------------- */

/* Starts a program in a process group of its own. words: count (below 128) strings with a zero byte behind each, size bytes
 * in all; the first is the program, looked for in PATH. out receives its process, and the pipes to its input, from its
 * output and from its error output. */
BB_API int32_t bb_process_start(char *words, uint64_t size, uint32_t count, int32_t *out);

/* Writes what of from was not sent (*sent of size bytes were), and reads what comes, whichever is possible, for at most
 * limit_ms (50). Returns as soon as there are bytes, how many; 0 when the time is over, or all is sent and room is 0;
 * -EPIPE when the other side has closed. */
BB_API int32_t bb_process_exchange(int32_t in, int32_t out, const void *from, uint32_t size, uint32_t *sent, void *to,
                                   uint32_t room, uint32_t limit_ms);

/* Waits at most limit_ms (50) for a program to end. 1 and its exit status (128 + the signal that ended it), or 0. */
BB_API int32_t bb_process_wait(int32_t pid, uint32_t limit_ms, int32_t *status);

/* Kills a program and what it started. */
BB_API int32_t bb_process_kill(int32_t pid);

/* ---- vfio.c: devices from user space, linux/vfio.h ---------------------------------------------------------------- */

/* Legacy interface: a container holds groups and their mappings. Each returns as the ioctl does. */
BB_API int32_t bb_vfio_api_version(int32_t container);
BB_API int32_t bb_vfio_has_extension(int32_t container, uint32_t extension);
BB_API int32_t bb_vfio_group_flags(int32_t group, uint32_t *flags);
BB_API int32_t bb_vfio_group_attach(int32_t group, int32_t container);
BB_API int32_t bb_vfio_set_iommu(int32_t container, uint32_t type);
/* The device's descriptor. name is its PCI address as sysfs writes it. */
BB_API int32_t bb_vfio_device(int32_t group, const char *name);

/* What a device has: out[0] flags, out[1] number of regions, out[2] number of interrupt indexes. */
BB_API int32_t bb_vfio_device_info(int32_t device, uint32_t *out);
/* A region: out[0] its size, out[1] its offset in the descriptor, out[2] its flags. */
BB_API int32_t bb_vfio_region_info(int32_t device, uint32_t index, uint64_t *out);

/* Usable IOVA ranges, first and last address each, into out[2 * room]; page_sizes is a mask. Returns how many there are
 * (0 where the kernel does not tell), -ERANGE when room is too small. */
BB_API int32_t bb_vfio_iova_ranges(int32_t container, uint64_t *page_sizes, uint64_t *out, uint32_t room);

/* Maps memory for the device to read and write. -ENOMEM is the memlock limit. */
BB_API int32_t bb_vfio_map(int32_t container, const void *address, uint64_t iova, uint64_t size);
/* Returns 0 when exactly size bytes were unmapped, -ENOENT when fewer. */
BB_API int32_t bb_vfio_unmap(int32_t container, uint64_t iova, uint64_t size);

/* Vectors of an interrupt index (0 INTx, 1 MSI, 2 MSI-X); 0 where it has none. */
BB_API int32_t bb_vfio_irq_count(int32_t device, uint32_t index);
/* Connects vectors 0 to count - 1 to event counters; count 0 turns the interrupt off. At most 64. */
BB_API int32_t bb_vfio_set_irqs(int32_t device, uint32_t index, const int32_t *eventfds, uint32_t count);
BB_API int32_t bb_vfio_reset(int32_t device);

/* iommufd interface, Linux 6.6. bind returns 0 and the device's id. */
BB_API int32_t bb_iommufd_bind(int32_t device, int32_t iommufd, uint32_t *id);
BB_API int32_t bb_iommufd_allocate(int32_t iommufd, uint32_t *ioas);
BB_API int32_t bb_iommufd_attach(int32_t device, uint32_t ioas);
BB_API int32_t bb_iommufd_destroy(int32_t iommufd, uint32_t id);
BB_API int32_t bb_iommufd_iova_ranges(int32_t iommufd, uint32_t ioas, uint64_t *out, uint32_t room);
BB_API int32_t bb_iommufd_map(int32_t iommufd, uint32_t ioas, const void *address, uint64_t iova, uint64_t size);
BB_API int32_t bb_iommufd_unmap(int32_t iommufd, uint32_t ioas, uint64_t iova, uint64_t size);

/* ---- nvme_queue.c: the batch loop of an NVMe queue pair ----------------------------------------------------------- */

enum { BB_NVME_SQE_BYTES = 64, BB_NVME_CQE_BYTES = 16 };

typedef struct bb_nvme_queue bb_nvme_queue;

/* A submission and a completion queue, both of entries entries (2 to 65536) in memory that the device reaches, zeroed.
 * registers is BAR0; the doorbells lie at the two offsets, CSTS at 0x1c. */
BB_API int32_t bb_nvme_queue_open(void *sq, void *cq, uint32_t entries, void *registers, uint32_t sq_doorbell,
                                  uint32_t cq_doorbell, bb_nvme_queue **out);
BB_API void bb_nvme_queue_close(bb_nvme_queue *queue);

/* The submission queue lies in memory of the device: it is written by 64-bit stores that survive a vanished device. */
BB_API void bb_nvme_queue_in_device(bb_nvme_queue *queue);

/* Back to the state after open, for a controller that was reset. The caller zeroes the completion queue. */
BB_API void bb_nvme_queue_reset(bb_nvme_queue *queue);

/* Copies up to count commands of 64 bytes into the submission queue and rings once. Returns how many there was room
 * for, or -EFAULT when the device is gone. */
BB_API int32_t bb_nvme_submit(bb_nvme_queue *queue, const void *commands, uint32_t count);

/* Forwards doorbells that somebody else stores into memory, a GPU for example: whenever words[i] is not known[i], it is
 * written to the register at offsets[i], and into known[i]. At most 256 words. Goes on for limit_us (50,000 at most), and looks
 * at each once in any case. Returns how many were written, or -EFAULT when the device is gone. */
BB_API int32_t bb_nvme_forward(void *registers, const uint32_t *words, const uint32_t *offsets, uint32_t *known,
                               uint32_t count, uint32_t limit_us);

/* Takes completions of 16 bytes, at most room, until there are wanted or limit_us (50,000 at most) is over; rings once
 * when there were any. Looks once more after the limit, so 0 and 0 looks once. Returns how many. While it waits it looks at
 * CSTS once in a millisecond: -EIO when the controller reports a fatal status, -ENODEV when it reads all ones, -EFAULT
 * when the access faulted; completions that came before are returned first. */
BB_API int32_t bb_nvme_reap(bb_nvme_queue *queue, void *completions, uint32_t room, uint32_t wanted, uint32_t limit_us);

/* Both in one call. The result is bb_nvme_reap's; *submitted is bb_nvme_submit's, and an error of that ends the call. */
BB_API int32_t bb_nvme_submit_and_reap(bb_nvme_queue *queue, const void *commands, uint32_t count, uint32_t *submitted,
                                       void *completions, uint32_t room, uint32_t wanted, uint32_t limit_us);

/* ---- nvme_job.c: the loop of an I/O job ---------------------------------------------------------------------------- */

/* Many transfers on one queue pair: their places, data, checks and times. One thread at a time may use a job and its
 * queue. ffi/nvme_job.ts has the same numbers; a test compares them. */
typedef struct bb_nvme_job bb_nvme_job;

/* Bins of a histogram: values below 256 have one each, each power of two above has 128. src/core/histogram.ts. */
enum { BB_HISTOGRAM_BINS = 7424 };

/* What a job does, a 64-bit word each. Chunks are pieces of the range, of transfer_blocks blocks each, the last one
 * shorter. */
enum bb_nvme_job_word {
  BB_NVME_JOB_LBA,             /* first block of the range */
  BB_NVME_JOB_BLOCKS,          /* blocks of the range */
  BB_NVME_JOB_CHUNKS,          /* pieces of the range */
  BB_NVME_JOB_TRANSFER_BLOCKS, /* blocks of a piece, 1 to 65536 */
  BB_NVME_JOB_LIMIT,           /* transfers; UINT64_MAX: until told to stop */
  BB_NVME_JOB_ORDER,           /* enum bb_nvme_order */
  BB_NVME_JOB_FIRST_CHUNK,     /* in order: where it begins */
  BB_NVME_JOB_CHUNK_STEP,      /* in order: from one to the next */
  BB_NVME_JOB_SEED,            /* low half: places; high half: reads or writes */
  BB_NVME_JOB_ZIPF_THETA,      /* bits of a double, 0 to 1, both excluded */
  BB_NVME_JOB_ZIPF_ZETA,       /* bits of a double: the sum of 1 / i^theta over all chunks */
  BB_NVME_JOB_ZIPF_ETA,        /* bits of a double: (1 - (2 / chunks)^(1 - theta)) / (1 - zeta of 2 / zeta) */
  BB_NVME_JOB_LIST,            /* address of LIST_LENGTH chunk numbers, kept by the caller */
  BB_NVME_JOB_LIST_LENGTH,     /* after its end it begins again */
  BB_NVME_JOB_READ_SHARE,      /* reads in 2^32 transfers */
  BB_NVME_JOB_READ_FLAGS,      /* added to command dword 12 of reads */
  BB_NVME_JOB_WRITE_FLAGS,     /* and of writes */
  BB_NVME_JOB_BLOCK_BYTES,     /* bytes of a block that the pattern covers, at least 16 */
  BB_NVME_JOB_STRIDE_BYTES,    /* bytes from one block in memory to the next */
  BB_NVME_JOB_HAS_PATTERN,     /* 1: what is written follows the pattern, and what is read is checked */
  BB_NVME_JOB_PATTERN_SEED,    /* of the pattern, 32 bits */
  BB_NVME_JOB_IS_HANDED,       /* 1: the caller fills what is written and looks at what was read */
  BB_NVME_JOB_PERIOD_NS,       /* nanoseconds from one transfer to the next; 0: as fast as can be */
  BB_NVME_JOB_INTERRUPT,       /* 1 + the number of an eventfd that counts the queue's interrupts; 0: poll */
  BB_NVME_JOB_SPIN_NS,         /* with an eventfd: poll so long after the last completion before waiting for it */
  BB_NVME_JOB_WORDS
};

enum bb_nvme_order { BB_NVME_ORDER_SEQUENTIAL, BB_NVME_ORDER_RANDOM, BB_NVME_ORDER_ZIPF, BB_NVME_ORDER_LIST };

/* Where a job stands, a 64-bit word each. */
enum bb_nvme_state_word {
  BB_NVME_STATE_ISSUED,
  BB_NVME_STATE_DONE,
  BB_NVME_STATE_BLOCKS, /* of the transfers that are done */
  BB_NVME_STATE_IN_FLIGHT,
  BB_NVME_STATE_FAILED_STATUS, /* status of the first transfer that failed, without the phase bit; 0: none */
  BB_NVME_STATE_FAILED_LBA,
  BB_NVME_STATE_FAILED_BLOCKS,
  BB_NVME_STATE_FAILED_IS_READ,
  BB_NVME_STATE_WRONG_SLOT, /* slot whose data is not as the pattern says, kept as it is; UINT64_MAX: none */
  BB_NVME_STATE_OLDEST_NS,  /* how long ago the oldest of the transfers in flight was submitted */
  BB_NVME_STATE_WAITS,      /* how often it waited for an interrupt */
  BB_NVME_JOB_STATE_WORDS
};

/* What bb_nvme_job_run returns. */
enum bb_nvme_job_end {
  BB_NVME_JOB_RUNS,   /* the time is over */
  BB_NVME_JOB_ENDED,  /* nothing is in flight and nothing is to be issued: done, failed, stopped or wrong */
  BB_NVME_JOB_HANDED, /* slots wait for the caller: bb_nvme_job_handed tells which */
};

/* Makes a job of `depth` slots, fewer than the queue's entries. commands: a template of 64 bytes for each slot, whose
 * opcode, identifier, place and length are filled in; memory: the address of each slot's data. Copies all but the list. */
BB_API int32_t bb_nvme_job_open(bb_nvme_queue *queue, const uint64_t *words, const void *commands, const uint64_t *memory,
                                uint32_t depth, bb_nvme_job **out);
BB_API void bb_nvme_job_close(bb_nvme_job *job);

/* Goes on for at most limit_us (up to 50,000); with is_stopping nothing new is issued. Slots that were handed out are taken
 * back first. enum bb_nvme_job_end, or -EIO, -ENODEV, -EFAULT as bb_nvme_reap, -EPROTO for a completion of a command that is
 * not in flight. */
BB_API int32_t bb_nvme_job_run(bb_nvme_job *job, uint32_t limit_us, uint32_t is_stopping);

/* The same for several jobs on one thread, in turns; none of them may wait for interrupts unless it is alone. ends: how each
 * ended last, enum bb_nvme_job_end or -errno as above; one that has ended is left alone. Returns when the time is over, all have
 * ended, one failed, or slots of one wait for the caller: 0, or -EINVAL. */
BB_API int32_t bb_nvme_jobs_run(bb_nvme_job *const *jobs, uint32_t count, uint32_t limit_us, uint32_t is_stopping, int32_t *ends);

/* Copies BB_NVME_JOB_STATE_WORDS words, the handed slots, or BB_HISTOGRAM_BINS counts of nanoseconds. */
BB_API int32_t bb_nvme_job_state(const bb_nvme_job *job, uint64_t *state);
BB_API int32_t bb_nvme_job_handed(const bb_nvme_job *job, uint32_t *ids, uint32_t room);
BB_API int32_t bb_nvme_job_histogram(const bb_nvme_job *job, uint64_t *bins);

/* The transfer that a slot holds. */
BB_API int32_t bb_nvme_job_slot(const bb_nvme_job *job, uint32_t id, uint64_t *lba, uint32_t *blocks, uint32_t *is_read);

/* ---- extents.c: where a file's bytes lie, linux/fiemap.h ----------------------------------------------------------- */

/*
 * The extents of a file that lie at `start` and behind, after its data were written (FIEMAP with FIEMAP_FLAG_SYNC). Four
 * words for each: byte in the file, byte on its device, length, flags. Returns how many, at most 128.
 */
BB_API int32_t bb_file_extents(int32_t fd, uint64_t start, uint64_t *out, uint32_t most);

/* The block size of a file's file system (FIGETBSZ). */
BB_API int32_t bb_file_block_size(int32_t fd);

/*
 * The device's block of each of a file's blocks, in units of bb_file_block_size; 0 for a hole (FIBMAP, for file systems
 * without FIEMAP). Needs CAP_SYS_RAWIO.
 */
BB_API int32_t bb_file_blocks(int32_t fd, uint32_t first, uint32_t *out, uint32_t count);

/* ---- nvme_ioctl.c: commands through the kernel's driver, linux/nvme_ioctl.h ---------------------------------------- */

/* Carries a command to an open /dev/nvmeN. words are its 16 dwords, of which the identifier and the pointers are the
 * kernel's; data goes the way that the opcode's two lowest bits say. result receives dword 0 of the completion.
 * Returns the status field (0 is success), or -errno. The call blocks until the command ends or timeout_ms is over. */
BB_API int32_t bb_nvme_passthru(int32_t fd, int32_t is_admin, const uint32_t *words, void *data, uint32_t data_size,
                                void *metadata, uint32_t metadata_size, uint32_t timeout_ms, uint32_t *result);

/* ---- cxl.c: commands through the kernel's driver, linux/cxl_mem.h ------------------------------------------------- */

/* Sends Get Health Information to an open /dev/cxl/memN, and writes what the device returns to out, at most size bytes.
 * Returns how many, or -errno: -ENOTTY where the device or the kernel has no such command, -EIO where the device refused it.
 * The call blocks until the mailbox is free and the command is done, which the kernel limits to a few seconds. */
BB_API int32_t bb_cxl_health_info(int32_t fd, uint8_t *out, uint32_t size);

/* ---- cuda.c: CUDA driver libraries --------------------------------------------------------------------------------
 *
 * Each function of api/cuda_api.h has a caller of its name with bb_ in front, and the driver and the context as first
 * parameters. The context is made current on the calling thread inside the same call, because it may run on any thread of a
 * pool; NULL leaves the thread's own. The result is the driver's (0 is success), or -ENOENT without a driver, -ENOSYS when
 * its library does not have the function.
 */
typedef struct bb_cuda bb_cuda;

/* Opens a driver library, lazily and for itself. settings is NULL for NVIDIA's; for the software driver's library (see
 * soft/cuda/soft_cuda.h) it describes devices that are this handle's own. -ELIBACC when it cannot be loaded, -ENOSYS for
 * settings and another library; why receives the reason. */
BB_API int32_t bb_cuda_open(const char *path, const char *settings, char *why, uint32_t size, bb_cuda **out);
/* No thread may be in a call of it. */
BB_API int32_t bb_cuda_close(bb_cuda *driver);

/* The CUDA version that brought a function of cuda_api.h, as 1000 x major + 10 x minor. */
BB_API int32_t bb_cuda_since(const char *name);
/* 1 when the library has the function, or one to fall back on. */
BB_API int32_t bb_cuda_has(bb_cuda *driver, const char *name);
/* What a software driver knows of the last fault of a kernel: a sentence, and its length. 0 for none. */
BB_API uint32_t bb_cuda_last_fault(bb_cuda *driver, char *text, uint32_t size);
/* Where a software driver's device memory lies in this process: size bytes at that device address, of one allocation. -ENOTSUP
 * for another driver, -EFAULT for what is no device memory. */
BB_API int32_t bb_cuda_host_memory(bb_cuda *driver, uint64_t address, uint64_t size, void **out);

#define BB_CUDA_PARAMETERS(...) __VA_ARGS__
#define BB_CUDA_CALLER(name, since, older, params, args) \
  BB_API int32_t bb_##name(bb_cuda *driver, CUcontext context, BB_CUDA_PARAMETERS params);
#define BB_CUDA_CALLER0(name, since) BB_API int32_t bb_##name(bb_cuda *driver, CUcontext context);
BB_CUDA_FUNCTIONS(BB_CUDA_CALLER, BB_CUDA_CALLER0)

/* Wait until a stream or event is done, at most limit_us microseconds, 50,000 at most. 600 (not ready) when it is not. */
BB_API int32_t bb_cuda_wait_stream(bb_cuda *driver, CUcontext context, CUstream stream, uint32_t limit_us);
BB_API int32_t bb_cuda_wait_event(bb_cuda *driver, CUcontext context, CUevent event, uint32_t limit_us);

/* Loads a module: NUL-terminated PTX, a fat binary, or a cubin. The two logs have log_size bytes each and come back
 * NUL-terminated. */
BB_API int32_t bb_cuda_load(bb_cuda *driver, CUcontext context, const void *image, char *info, char *error,
                            uint32_t log_size, CUmodule *out);

/* Launches a kernel. shape has seven numbers: grid x, y, z, block x, y, z, bytes of dynamic shared memory. arguments are
 * packed as the kernel declares them. */
BB_API int32_t bb_cuda_launch(bb_cuda *driver, CUcontext context, CUfunction function, const uint32_t *shape,
                              CUstream stream, void *arguments, uint32_t size);

/* ---- oradax.c: the Oracle Data Analytics Accelerator, asm/oradax.h ------------------------------------------------ */

enum {
  BB_ORADAX_AREAS = 128,       /* completion areas of an open device */
  BB_ORADAX_AREA_BYTES = 128,  /* and their size */
  BB_ORADAX_SUBMIT_BYTES = 960 /* most CCBs of one submission: 15 units of 64 bytes */
};

/* The calls of an open device: the kernel driver's, or those of a software device that behaves as it does. Each returns
 * what the system call does, with -errno for -1. */
typedef struct bb_oradax_file {
  void *context;
  int64_t (*write)(void *context, const void *bytes, uint64_t size, int64_t offset);
  int64_t (*read)(void *context, void *to, uint64_t size);
  int32_t (*map)(void *context, uint64_t size, int32_t writable, void **out);
  void (*unmap)(void *context, void *area, uint64_t size);
  void (*close)(void *context);
} bb_oradax_file;

typedef struct bb_oradax bb_oradax;

/* Why the device did not take all of a submission. */
typedef struct bb_oradax_refusal {
  uint64_t data; /* an address or a scope, by status */
  uint32_t status;
} bb_oradax_refusal;

/* Opens a device node, or takes over an open device. All calls must come from the thread that opened: from another one
 * they are -EUSERS, and the device does not notice. */
BB_API int32_t bb_oradax_open(const char *path, bb_oradax **out);
BB_API int32_t bb_oradax_attach(const bb_oradax_file *file, bb_oradax **out);
/* Waits for what is in flight, about a second, then kills it. NULL is allowed. */
BB_API int32_t bb_oradax_close(bb_oradax *dax);

/* Hands over size bytes of CCBs (a multiple of 64, at most 960); the first one completes in area index. Returns how many
 * bytes were taken. When that is not all, *refusal says why of the first CCB that was not; status 0 is "later". */
BB_API int32_t bb_oradax_submit(bb_oradax *dax, uint32_t index, const void *ccbs, uint32_t size,
                                bb_oradax_refusal *refusal);

/* Waits until area index is completed, at most limit_us (50,000). Looks once more after the limit, so 0 looks once.
 * Returns the status byte; 0 when it is not completed. */
BB_API int32_t bb_oradax_wait(bb_oradax *dax, uint32_t index, uint32_t limit_us);

/* Copies a completion area of 128 bytes. To be called after bb_oradax_wait said that it is completed. */
BB_API int32_t bb_oradax_completion(bb_oradax *dax, uint32_t index, void *to);

/* What became of the CCB of area index: out receives state, unit, queue and position, of which the last three mean
 * something only in state 1 (enqueued). */
BB_API int32_t bb_oradax_info(bb_oradax *dax, uint32_t index, uint16_t out[4]);
/* Ends it. Returns the action: 0 it had completed, 1 it was dequeued, 2 it was killed, 3 there is none. */
BB_API int32_t bb_oradax_kill(bb_oradax *dax, uint32_t index);
/* Lets go of the memory of all that has completed. */
BB_API int32_t bb_oradax_dequeue(bb_oradax *dax);

/* Copies size bytes of numbers of width (1, 2, 4 or 8) bytes between the host's byte order and the coprocessor's, in either
 * direction. to may be from, and must not overlap it otherwise. -EINVAL where size is no multiple of width. */
BB_API int32_t bb_oradax_copy_numbers(void *to, const void *from, uint64_t size, uint32_t width);

enum { BB_COMBINE_AND, BB_COMBINE_OR, BB_COMBINE_XOR };

/* Combines two bit vectors of size bytes, which the coprocessor has no command for. to may be one of them. */
BB_API int32_t bb_oradax_combine(void *to, const void *a, const void *b, uint64_t size, uint32_t how);

#endif
