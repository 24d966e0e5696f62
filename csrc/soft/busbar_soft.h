/*
 * libbusbar_soft: software devices. A device has configuration space, BARs in ordinary memory, memory for DMA, and a
 * thread that plays the device. It is driven through the same register accesses as hardware.
 *
 * The rules of busbar.h hold here too.
 */
#ifndef BUSBAR_SOFT_H
#define BUSBAR_SOFT_H

#include "busbar.h"

typedef struct bb_soft bb_soft;

/* Starts a device. kind is "nvme". settings is lines of "key=value", each ended by \n; the keys are the device's own,
 * and one that it does not know is -EINVAL. */
BB_API int32_t bb_soft_open(const char *kind, const char *settings, bb_soft **out);

/* Stops the thread and frees everything, DMA memory included. NULL is allowed. */
BB_API void bb_soft_close(bb_soft *device);

/* Configuration space: 4096 bytes that live as long as the device. */
BB_API int32_t bb_soft_config(bb_soft *device, void **bytes);

/* BAR index 0 to 5: its memory and size, which live as long as the device. -ENXIO when the device has no such BAR. */
BB_API int32_t bb_soft_bar(bb_soft *device, uint32_t index, void **base, uint64_t *size);

/* Zeroed memory that the device can reach, page-aligned on both sides. The bus address differs from the pointer on
 * purpose: using one for the other is a bug that must show. */
BB_API int32_t bb_soft_dma_allocate(bb_soft *device, uint64_t size, void **base, uint64_t *bus_address);

/* Lets the device reach memory of the caller's, as MAP_DMA of VFIO does: base and size are whole pages. It stays the caller's,
 * and must stay mapped until bb_soft_dma_free. */
BB_API int32_t bb_soft_dma_map(bb_soft *device, void *base, uint64_t size, uint64_t *bus_address);

/* Takes the memory at that bus address away from the device, then frees what was allocated. -ENOENT when it is none of its own. */
BB_API int32_t bb_soft_dma_free(bb_soft *device, uint64_t bus_address);

/* A descriptor that counts the interrupts of a vector (an eventfd, non-blocking), as VFIO would give one: connecting it
 * turns MSI-X on and unmasks the vector. It belongs to the device and ends with it. -EINVAL when there is no such vector,
 * -ENOTSUP when the device has no interrupts. */
BB_API int32_t bb_soft_interrupt_fd(bb_soft *device, uint32_t vector);

/* ---- kind "nvme": an NVMe controller ------------------------------------------------------------------------------
 *
 * Faults on demand, while it runs; the setting "fault" takes the same text. Rules are separated by ';'. A rule is words
 * separated by ','; the first says what happens:
 *
 *   latency=US, latency=US..US, latency=tail:US
 *                       the command begins later: fixed, uniform, or with that median and a long tail (microseconds)
 *   late=US             it is carried out, its completion comes later (times as above); Abort does not find it
 *   hang                it is never carried out; Abort finds it
 *   drop                its completion is never posted
 *   duplicate           its completion is posted twice
 *   phase               its completion has the wrong phase bit
 *   cid=N, sqhd=N       its completion has this command identifier or submission queue head
 *   status=N            it is not carried out and ends so: SC 7:0, SCT 10:8, CRD 12:11, M 13, DNR 14
 *   corrupt=BYTES       so many random bytes of what it sends to the host are changed
 *   no_interrupt        no interrupt comes for its completion
 *   cfs                 the controller reports a fatal status instead of carrying it out; without selectors: now
 *   gone, gone=bar, gone=config, gone=sigbus
 *                       the function vanishes from the bus: BARs and configuration space read all ones; only the BARs;
 *                       only configuration space; accesses to the BARs raise SIGBUS. Without selectors: now
 *
 * and the others to which commands it happens; all of them must hold:
 *
 *   queue=io|admin|any|N  of which queue; io when nothing is said
 *   opcode=N, nsid=N, lba=N, lba=N..N
 *   after=N             not to the first N of them
 *   every=N, nth=N      to each N-th; to the N-th alone
 *   times=N             at most so often
 *   chance=P            with this probability, as in 0.01
 *
 * These words happen at once, and take no selectors:
 *
 *   no_ready, no_unready, no_shutdown  CSTS never says that the controller is ready, disabled, shut down; =0 ends that
 *   temperature=K, spare=PERCENT, used=PERCENT, warning=BITS  how healthy it says that it is, with events where due
 *   event=N             an asynchronous event: type 7:0, information 15:8, log page 23:16
 *   ana=STATE           asymmetric access of shared namespaces: 1 optimized, 2 not, 3 inaccessible, 4 lost, 15 change
 *   zone_read_only,nsid=N,lba=N and zone_offline,...  the zone goes bad
 *   selftest=CODE, sanitize=1  the next self-test ends with this result; the next sanitize operation fails
 *   seed=N              starts the random numbers over
 *   clear, clear=WORD   takes back everything, also what keeps CSTS; or the rules that begin with this word. A function
 *                       that was gone comes back as after power-on
 *
 * Numbers are decimal or 0x hexadecimal. -EINVAL for a text with a mistake, of which then nothing was done; -ENOSPC for more
 * than 32 rules.
 */
BB_API int32_t bb_soft_nvme_fault(bb_soft *device, const char *text);

/* A counter: commands, completions, dma_errors (accesses outside of all DMA memory), doorbell_errors, queue_full,
 * interrupts, faults, naps. -ENOENT for another name. */
BB_API int32_t bb_soft_nvme_counter(bb_soft *device, const char *name, uint64_t *value);

/* ---- the Data Analytics Accelerator --------------------------------------------------------------------------------
 *
 * A software coprocessor behind the calls of the Linux driver: the same decisions in the same order, the same errors and
 * completion areas, CCBs carried out by threads that play the units of the chip. It is driven through bb_oradax_attach of
 * libbusbar, so that nothing between the driver's calls and the caller differs from hardware.
 *
 * CCBs reach only memory that was allocated here. It has simulated pages, and no stream goes past the end of its page.
 *
 * Settings: dax=1|2 (M7 or M8), units=N (threads; 0 is one for each processor, 8 at most), queue=N (CCBs that wait, at
 * most), delay_us=N (time that each CCB takes at least), loops=auto|portable|avx2|avx512|neon. */
typedef struct bb_soft_oradax bb_soft_oradax;

enum { BB_SOFT_ORADAX_PAGE_BYTES = 8192 };

/* Starts a device that the calling thread owns, and fills in the calls of it. It lives until file->close. */
BB_API int32_t bb_soft_oradax_open(const char *settings, bb_soft_oradax **out, bb_oradax_file *file);

/* Zeroed memory in simulated pages of page_size bytes (a power of two from 8192 to 1 GiB), with a page on either side that
 * nobody may touch. It ends with the device at the latest. */
BB_API int32_t bb_soft_oradax_allocate(bb_soft_oradax *device, uint64_t size, uint64_t page_size, void **base);
/* -EBUSY while a CCB that is in flight uses it, -ENOENT when it is none of its own. */
BB_API int32_t bb_soft_oradax_free(bb_soft_oradax *device, void *base);
/* Makes the memory read-only, so that its pages cannot be pinned for writing any more. */
BB_API int32_t bb_soft_oradax_protect(bb_soft_oradax *device, void *base);

/* The hypervisor answers the next CCB that passes the driver's checks with this error code and status data. */
BB_API int32_t bb_soft_oradax_refuse(bb_soft_oradax *device, uint32_t hypervisor_error, uint64_t status_data);

/* What it costs to read memory, as a yardstick for benchmarks: adds up its 64-bit words (size is a multiple of 32) and
 * returns the nanoseconds of processor time that it took. Run times in completion areas count the same. */
BB_API uint64_t bb_soft_oradax_sum(const void *from, uint64_t size, uint64_t *sum);

/* The name of the loops that carry out CCBs: "avx2". Lives as long as the library. */
BB_API const char *bb_soft_oradax_loops(const bb_soft_oradax *device);

#endif
