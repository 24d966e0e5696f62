/*
 * A program of a guest, for tests: type2_program MODE [NUMBER…]
 *
 *   copy BYTES          copies there and back, and compares
 *   many ROUNDS SEED    four threads and a child after fork, each with copies of its own words
 *   wait                a kernel that never ends; prints the error that ends it
 *   busy                copies without end
 *   pool WORDS          a kernel adds up what this program wrote into pinned memory, which both reach
 */
#define _GNU_SOURCE
#include "api/cuda_api.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DECLARE(name, since, older, params, args) CUresult name params;
#define DECLARE0(name, since) CUresult name(void);
BB_CUDA_FUNCTIONS(DECLARE, DECLARE0)

#define MUST(call)                                                              \
  do {                                                                          \
    const CUresult got = (call);                                                \
    if (got != 0) {                                                             \
      fprintf(stderr, "line %d: %s gives %d\n", __LINE__, #call, (int)got);     \
      exit(1);                                                                  \
    }                                                                           \
  } while (0)

enum { THREADS = 4, WORDS = 256 };

static const char PTX[] =
    ".version 6.0\n.target sm_52\n.address_size 64\n"
    ".visible .entry wait_for(.param .u64 flag)\n{\n"
    "  .reg .pred %p<2>; .reg .b32 %r<2>; .reg .b64 %rd<2>;\n  ld.param.u64 %rd1, [flag];\n"
    "again:\n  ld.volatile.global.u32 %r1, [%rd1]; setp.eq.u32 %p1, %r1, 0;\n  @%p1 bra again;\n  ret;\n}\n"
    ".visible .entry sum(.param .u64 from, .param .u64 to, .param .u32 count)\n{\n"
    "  .reg .pred %p<2>; .reg .b32 %r<6>; .reg .b64 %rd<6>;\n"
    "  ld.param.u64 %rd1, [from]; ld.param.u64 %rd2, [to]; ld.param.u32 %r1, [count];\n"
    "  mov.u32 %r2, 0; mov.u32 %r3, 0;\n"
    "next:\n  setp.ge.u32 %p1, %r3, %r1;\n  @%p1 bra end;\n"
    "  mul.wide.u32 %rd3, %r3, 4; add.s64 %rd4, %rd1, %rd3; ld.global.u32 %r4, [%rd4];\n"
    "  add.u32 %r2, %r2, %r4; add.u32 %r3, %r3, 1; bra next;\n"
    "end:\n  st.global.u32 [%rd2], %r2;\n  ret;\n}\n";

static CUcontext begin(void) {
  CUcontext context;
  CUdevice device;
  MUST(cuInit(0));
  MUST(cuDeviceGet(&device, 0));
  MUST(cuCtxCreate_v2(&context, 0, device));
  return context;
}

static CUfunction kernel(const char *name) {
  CUmodule module;
  CUfunction function;
  MUST(cuModuleLoadData(&module, PTX));
  MUST(cuModuleGetFunction(&function, module, name));
  return function;
}

static int copy(uint64_t size) {
  begin();
  uint32_t *words = malloc(size + 4), *back = calloc(1, size + 4);
  CUdeviceptr memory;
  if (words == NULL || back == NULL) return 1;
  for (uint64_t i = 0; i <= size / 4; i++) words[i] = (uint32_t)(i * 2654435761u + size);
  MUST(cuMemAlloc_v2(&memory, size));
  MUST(cuMemcpyHtoD_v2(memory, words, size));
  MUST(cuMemcpyDtoH_v2(back, memory, size));
  MUST(cuMemFree_v2(memory));
  puts(memcmp(words, back, size) == 0 ? "equal" : "differs");
  return 0;
}

struct worker {
  CUcontext context;
  uint32_t seed, rounds;
};

static void work(const struct worker *worker) {
  uint32_t words[WORDS], back[WORDS];
  CUdeviceptr memory;
  MUST(cuMemAlloc_v2(&memory, sizeof words));
  for (uint32_t round = 0; round < worker->rounds; round++) {
    for (uint32_t i = 0; i < WORDS; i++) words[i] = (worker->seed + round) * 2654435761u + i;
    MUST(cuMemcpyHtoD_v2(memory, words, sizeof words));
    MUST(cuMemcpyDtoH_v2(back, memory, sizeof back));
    if (memcmp(words, back, sizeof words) != 0) {
      fprintf(stderr, "seed %u, round %u: bytes of somebody else\n", worker->seed, round);
      exit(1);
    }
  }
  MUST(cuMemFree_v2(memory));
}

static void *thread(void *argument) {
  const struct worker *worker = argument;
  MUST(cuCtxSetCurrent(worker->context));
  work(worker);
  return NULL;
}

static int many(uint32_t rounds, uint32_t seed) {
  CUcontext context = begin();
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) {
    /* What it begins is its own: nothing of the parent's is used. */
    work(&(struct worker){begin(), seed + 100, rounds});
    exit(0);
  }
  pthread_t threads[THREADS];
  struct worker workers[THREADS];
  for (uint32_t i = 0; i < THREADS; i++) {
    workers[i] = (struct worker){context, seed + i, rounds};
    if (pthread_create(&threads[i], NULL, thread, &workers[i]) != 0) return 1;
  }
  for (uint32_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return 1;
  MUST(cuCtxDestroy_v2(context));
  puts("ok");
  return 0;
}

static int wait_for(void) {
  begin();
  CUdeviceptr flag;
  MUST(cuMemAlloc_v2(&flag, 4));
  MUST(cuMemsetD8_v2(flag, 0, 4));
  void *arguments[] = {&flag};
  MUST(cuLaunchKernel(kernel("wait_for"), 1, 1, 1, 1, 1, 1, 0, NULL, arguments, NULL));
  puts("waits");
  fflush(stdout);
  const CUresult result = cuCtxSynchronize();
  const char *name = "unknown";
  cuGetErrorName(result, &name);
  puts(name);
  return result == 0;
}

static int busy(void) {
  begin();
  static uint8_t bytes[1 << 20];
  CUdeviceptr memory;
  MUST(cuMemAlloc_v2(&memory, sizeof bytes));
  puts("busy");
  fflush(stdout);
  for (;;) MUST(cuMemcpyHtoD_v2(memory, bytes, sizeof bytes));
}

static int pool(uint32_t count) {
  begin();
  uint32_t *words, wanted = 0;
  CUdeviceptr from;
  MUST(cuMemHostAlloc((void **)&words, 4 * ((size_t)count + 1), 2)); /* CU_MEMHOSTALLOC_DEVICEMAP */
  MUST(cuMemHostGetDevicePointer_v2(&from, words, 0));
  for (uint32_t i = 0; i < count; i++) wanted += words[i] = i * 2654435761u;
  CUdeviceptr to = from + 4 * (uint64_t)count;
  void *arguments[] = {&from, &to, &count};
  MUST(cuLaunchKernel(kernel("sum"), 1, 1, 1, 1, 1, 1, 0, NULL, arguments, NULL));
  MUST(cuCtxSynchronize());
  puts(words[count] == wanted ? "equal" : "differs");
  MUST(cuMemFreeHost(words));
  return 0;
}

int main(int count, char **words) {
  const char *mode = count < 2 ? "" : words[1];
  const uint64_t number = count < 3 ? 0 : strtoull(words[2], NULL, 10);
  if (strcmp(mode, "copy") == 0) return copy(number);
  if (strcmp(mode, "many") == 0) return many((uint32_t)number, count < 4 ? 0 : (uint32_t)strtoul(words[3], NULL, 10));
  if (strcmp(mode, "wait") == 0) return wait_for();
  if (strcmp(mode, "busy") == 0) return busy();
  if (strcmp(mode, "pool") == 0) return pool((uint32_t)number);
  fprintf(stderr, "type2_program copy|many|wait|busy|pool\n");
  return 2;
}
