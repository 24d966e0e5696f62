/*
 * The software CUDA device: a libcuda.so.1 whose devices are software. It exports the functions of api/cuda_api.h, and these,
 * for programs that want several drivers with different devices in one process.
 */
#ifndef BUSBAR_SOFT_CUDA_H
#define BUSBAR_SOFT_CUDA_H

#include <stddef.h>
#include <stdint.h>

#define BB_SOFT_CUDA_API __attribute__((visibility("default")))

/* A driver with its devices. */
struct cuda_instance;

/*
 * Opens a driver. settings are "key=value" pairs, each ended by a newline or an ampersand; "" is all defaults. What is not
 * given is taken from the environment: BUSBAR_SOFT_CUDA_THREADS, _ISA, _BUDGET, _MEMORY (weak:SEED), _TRACE, _LOG, _COUNT.
 *
 *   profile=sm_90       sm_75, sm_86, sm_90 or sm_100: the numbers of a card of that kind
 *   cc=90               compute capability, 10 x major + minor, if another than the profile's
 *   devices=1           how many; 0 makes cuInit fail with 100
 *   memory=1073741824   bytes of each device
 *   memory_file=        a file, such as a BAR, that device memory lies in, one device after the other
 *   version=13000       what cuDriverGetVersion says
 *   domain=0 bus=0x65   where the first device is said to be; the others follow
 *   rdma=0              attribute 116
 *   threads=0           processors that kernels run on; 0 is all there are
 *   isa=                baseline, avx2 or avx512; the widest by default
 *   budget=0            thread instructions that a kernel may take before it ends with 702; 0 is no limit
 *   weak=               a number: ordinary stores become visible late and in random order, by this seed
 *   trace=              a file for each access of kernels to I/O memory, one JSON object a line
 *   count=              a file for how often each line of PTX ran
 *   log=                a file for what is otherwise said on standard error, or "none"
 *   watchdog_ms=0       a kernel that runs longer ends with 702; 0 is never
 *   fail=NAME:CODE,...  functions that return CODE and do nothing
 *   drop_writes=0 reads_ones=0   what kernels' accesses to registered I/O memory do
 *
 * 0, or -EINVAL, -ENOMEM, ... with a sentence in why.
 */
BB_SOFT_CUDA_API int32_t bb_soft_cuda_open(const char *settings, struct cuda_instance **out, char *why, uint32_t why_size);

/* Makes this thread's calls go to that driver; NULL is the one that BUSBAR_SOFT_CUDA describes. */
BB_SOFT_CUDA_API void bb_soft_cuda_enter(struct cuda_instance *instance);

/* Ends what runs and frees all. No thread may be in a call of it. */
BB_SOFT_CUDA_API void bb_soft_cuda_close(struct cuda_instance *instance);

/* Where the text of kernels' printf goes instead of standard output: called by the thread that synchronises. Call it before the
 * first context is made. */
BB_SOFT_CUDA_API void bb_soft_cuda_print_to(struct cuda_instance *instance,
                                            void (*print)(void *argument, const char *text, size_t size), void *argument);

/* The last fault of a kernel, as a sentence: kernel, block, thread, line and address. Returns its length, 0 for none. */
BB_SOFT_CUDA_API uint32_t bb_soft_cuda_last_fault(struct cuda_instance *instance, char *text, uint32_t size);

/* Where device memory lies in this process: size bytes at that device address, of one allocation. For programs that let
 * another device at it, as a peer reaches a GPU's memory through its BAR. NULL for what is no device memory. It stays as long
 * as the allocation. */
BB_SOFT_CUDA_API void *bb_soft_cuda_host_memory(struct cuda_instance *instance, uint64_t address, uint64_t size);

/*
 * Reads a PTX text or a fat binary for a device of that compute capability and tells what is in it, a line each, its fields
 * separated by tabs:
 *   module VERSION TARGET
 *   kernel NAME REGISTERS SHARED LOCAL STACK PARAMETERS
 *   instruction exact|approximate|ignored LINE COUNT SPELLING
 *   problem RESULT LINE SPELLING TEXT
 * *needed receives the length of all, which may be more than out holds. The driver's result: 0, 200, 209, 218, 222.
 */
BB_SOFT_CUDA_API int32_t bb_soft_cuda_inspect(const void *image, uint64_t size, uint32_t capability, char *out,
                                              uint64_t out_size, uint64_t *needed);

#endif
