/*
 * The software CXL Type 2 GPU: the device of the public protocol in software, over any CUDA driver library.
 *
 * Functions return 0 or a count, else -errno.
 */
#ifndef BUSBAR_TYPE2_H
#define BUSBAR_TYPE2_H

#include <stdint.h>

#define BB_TYPE2_API __attribute__((visibility("default")))

/* The exit status of a process that a kernel over its limit ended: what timeout(1) gives. */
enum { TYPE2_LIMIT_STATUS = 124 };

/* A device: registers, DATA and BAR4 of one guest, and what its commands work with. */
struct type2;

BB_TYPE2_API uint32_t bb_abi_version(void);

/*
 * Opens a device. settings are lines of "key=value":
 *
 *   profile=v2          v1, v2 or v2-J
 *   driver=             the CUDA driver library; none: READY stays clear
 *   driver_settings=    settings of a software driver, joined by '&'; present only for one
 *   ordinal=0           which device of the driver
 *   bar4=67108864       bytes of BAR4 when it is not part of a file
 *   memory=0            bytes of device memory that the guest may have; 0: what the driver has
 *   name=               what DEV_NAME says; the driver's name by default
 *   limit_ms=10000      how long a kernel may run; a software driver is told by driver_settings, and keeps it itself
 *   ends_at_limit=0     1: the process serves this guest alone, and exits with TYPE2_LIMIT_STATUS when a kernel runs longer
 *   strict=0            1: commands before INIT give 3, without a context 201
 *   adopt=0             1: a file that somebody else made is served too, and stays when the device is closed
 *   filter=4096         lines of the snoop filter
 *   peers=0             other devices, of 16 MiB each, types 2 and 3 in turn
 *   dcd=0               bytes of dynamic capacity; gfam=0 hosts of fabric memory; mhsld=0 heads
 *   doorbell=           a socket at which the file is offered by the ivshmem server protocol; with path only
 *   vfio_user=          a socket at which the device is offered by the vfio-user protocol; without path only
 *   trap_bar4=0         1: behind vfio-user BAR4 traps too, so that the engine sees the CPU's accesses
 *   cache=0             the least bytes of BAR2 behind vfio-user; the window's by default
 *
 * With path, registers and BAR4 lie in that file, which is `size` bytes long: see file.c. Else path is NULL.
 * why receives a sentence when it fails.
 */
BB_TYPE2_API int32_t bb_type2_open(const char *settings, const char *path, uint64_t size, char *why, uint32_t why_size,
                                   struct type2 **out);

/* Ends what runs, takes the file away, frees all. */
BB_TYPE2_API void bb_type2_close(struct type2 *device);

/* Drops allocations, modules, sessions and contexts; the next EPOCH. */
BB_TYPE2_API int32_t bb_type2_reset(struct type2 *device);

/* An access to BAR2 as a guest makes it: 1, 2, 4 or 8 bytes at any offset. A write to CMD runs the command. */
BB_TYPE2_API uint64_t bb_type2_read(struct type2 *device, uint64_t offset, uint32_t width);
BB_TYPE2_API void bb_type2_write(struct type2 *device, uint64_t offset, uint32_t width, uint64_t value);

/* The bytes of a range of DATA; -ERANGE outside. */
BB_TYPE2_API int32_t bb_type2_read_data(struct type2 *device, uint64_t offset, void *to, uint64_t size);
BB_TYPE2_API int32_t bb_type2_write_data(struct type2 *device, uint64_t offset, const void *from, uint64_t size);

/* The place of BAR4 in this process. */
BB_TYPE2_API int32_t bb_type2_bar4(struct type2 *device, void **base, uint64_t *size);

/* How many commands a device has run, and how many were of this code. */
BB_TYPE2_API uint64_t bb_type2_count(struct type2 *device, uint32_t code);

/* What became of a device that serves a file: 0 runs, -EIO the file was cut short, -ENOENT it was deleted. */
BB_TYPE2_API int32_t bb_type2_state(struct type2 *device);

/* ---- the coherency engine by itself ---------------------------------------------------------------------------------- */

struct coherency;

BB_TYPE2_API struct coherency *bb_type2_engine_open(uint32_t lines);
BB_TYPE2_API void bb_type2_engine_close(struct coherency *engine);
/* A request for one line. Returns the response. */
BB_TYPE2_API uint32_t bb_type2_engine_request(struct coherency *engine, uint32_t domain, uint32_t request, uint64_t line);
/* `count` requests: requests[i] is domain << 8 | request. responses may be NULL. */
BB_TYPE2_API void bb_type2_engine_run(struct coherency *engine, const uint16_t *requests, const uint64_t *lines,
                                      uint32_t count, uint8_t *responses);
/* state << 16 | owner << 8 | holders; 0 for a line that is not tracked. */
BB_TYPE2_API uint32_t bb_type2_engine_line(const struct coherency *engine, uint64_t line);
/* The counters in the order of enum coherency_counter. */
BB_TYPE2_API void bb_type2_engine_counters(const struct coherency *engine, uint64_t out[11]);

#endif
