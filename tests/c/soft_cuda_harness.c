/* The software CUDA device, driven from C: streams, events, kernels and faults, from set-up to the last byte freed. */
#define _GNU_SOURCE
#include "api/cuda_api.h"
#include "soft/cuda/soft_cuda.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As libcuda's header declares them, from the one table. */
#define DECLARE(name, since, older, params, args) CUresult name params;
#define DECLARE0(name, since) CUresult name(void);
BB_CUDA_FUNCTIONS(DECLARE, DECLARE0)

#define MUST(wanted, call)                                                     \
  do {                                                                         \
    const CUresult got = (call);                                               \
    if (got != (wanted)) {                                                     \
      printf("line %d: %s gave %d, not %d\n", __LINE__, #call, got, (wanted)); \
      exit(1);                                                                 \
    }                                                                          \
  } while (0)

static const char PTX[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry add(.param .u64 at, .param .u32 by)\n{\n"
    "  .reg .b32 %r<5>; .reg .b64 %rd<4>;\n"
    "  ld.param.u64 %rd1, [at]; ld.param.u32 %r1, [by];\n"
    "  mov.u32 %r2, %tid.x; mul.wide.u32 %rd2, %r2, 4; add.s64 %rd3, %rd1, %rd2;\n"
    "  ld.global.u32 %r3, [%rd3]; add.u32 %r4, %r3, %r1; st.global.u32 [%rd3], %r4; membar.sys;\n"
    "  ret;\n}\n"
    ".visible .entry loop(.param .u64 at)\n{\n"
    "  .reg .pred %p<2>; .reg .b32 %r<2>; .reg .b64 %rd<2>;\n"
    "  ld.param.u64 %rd1, [at];\nagain: ld.volatile.global.u32 %r1, [%rd1]; setp.eq.u32 %p1, %r1, 0; @%p1 bra again;\n"
    "  ret;\n}\n";

enum { COUNT = 64 };

static void launch(CUfunction kernel, CUstream stream, CUdeviceptr at, unsigned by) {
  void *arguments[] = {&at, &by};
  MUST(0, cuLaunchKernel(kernel, 1, 1, 1, COUNT, 1, 1, 0, stream, arguments, NULL));
}

static void round_trip(void) {
  CUcontext context;
  CUmodule module;
  CUfunction add, loop;
  CUstream streams[2];
  CUevent event;
  CUdeviceptr memory[2], flag;
  uint32_t back[COUNT];
  MUST(0, cuInit(0));
  MUST(0, cuDevicePrimaryCtxRetain(&context, 0));
  MUST(0, cuCtxSetCurrent(context));
  MUST(0, cuModuleLoadDataEx(&module, PTX, 0, NULL, NULL));
  MUST(0, cuModuleGetFunction(&add, module, "add"));
  MUST(0, cuModuleGetFunction(&loop, module, "loop"));
  MUST(0, cuEventCreate(&event, 0));
  MUST(0, cuMemAlloc_v2(&flag, 4));
  for (int i = 0; i < 2; i++) {
    MUST(0, cuStreamCreate(&streams[i], 1));
    MUST(0, cuMemAlloc_v2(&memory[i], sizeof back));
    MUST(0, cuMemsetD32Async(memory[i], 5, COUNT, streams[i]));
  }
  MUST(0, cuMemsetD32Async(flag, 0, 1, streams[0]));
  MUST(0, cuStreamSynchronize(streams[0]));
  /* The first stream waits in a kernel, the second for the first, and the default stream lets the first go on. */
  launch(loop, streams[0], flag, 0);
  MUST(0, cuEventRecord(event, streams[0]));
  MUST(0, cuStreamWaitEvent(streams[1], event, 0));
  for (int i = 0; i < 50; i++) launch(add, streams[1], memory[1], 1);
  MUST(600, cuStreamQuery(streams[1]));
  MUST(0, cuStreamWriteValue32_v2(NULL, flag, 1, 0));
  MUST(0, cuStreamSynchronize(streams[1]));
  MUST(0, cuMemcpyDtoH_v2(back, memory[1], sizeof back));
  for (int i = 0; i < COUNT; i++) MUST(55, (CUresult)back[i]);
  /* A fault, in a kernel that the context does not outlive. */
  launch(add, streams[0], 0x1000, 1);
  MUST(700, cuStreamSynchronize(streams[0]));
  MUST(700, cuMemFree_v2(memory[0]));
  MUST(0, cuDevicePrimaryCtxRelease_v2(0));
}

/* Bytes that the C library has given out. */
static size_t in_use(void) { return mallinfo2().uordblks; }

/* Module loads and launches, many times: what is in use does not grow. */
static void many_times(long rounds) {
  CUcontext context;
  size_t before = 0;
  MUST(0, cuInit(0));
  MUST(0, cuDevicePrimaryCtxRetain(&context, 0));
  MUST(0, cuCtxSetCurrent(context));
  CUdeviceptr memory;
  MUST(0, cuMemAlloc_v2(&memory, COUNT * sizeof(uint32_t)));
  for (long i = 0; i < rounds; i++) {
    CUmodule module;
    CUfunction add;
    CUevent event;
    MUST(0, cuModuleLoadData(&module, PTX));
    MUST(0, cuModuleGetFunction(&add, module, "add"));
    MUST(0, cuEventCreate(&event, 0));
    launch(add, NULL, memory, 1);
    MUST(0, cuEventRecord(event, NULL));
    MUST(0, cuEventSynchronize(event));
    MUST(0, cuEventDestroy_v2(event));
    MUST(0, cuModuleUnload(module));
    if (i == rounds / 10) before = in_use();
  }
  const size_t after = in_use();
  if (after > before + 65536) {
    printf("%ld rounds: %zu bytes in use, %zu after the first tenth\n", rounds, after, before);
    exit(1);
  }
}

static struct cuda_instance *open_driver(const char *settings) {
  struct cuda_instance *instance = NULL;
  char why[512];
  if (bb_soft_cuda_open(settings, &instance, why, sizeof why) != 0) {
    printf("%s: %s\n", settings, why);
    exit(1);
  }
  bb_soft_cuda_enter(instance);
  return instance;
}

int main(int count, char **arguments) {
  for (int i = 0; i < 5; i++) {
    struct cuda_instance *instance = open_driver("devices=2\nmemory=1048576\nlog=none\n");
    round_trip();
    bb_soft_cuda_close(instance);
  }
  /* By default as many as a sanitizer gets through in a second or two. */
  struct cuda_instance *stressed = open_driver("memory=1048576\nlog=none\n");
  many_times(count > 1 ? strtol(arguments[1], NULL, 10) : 500);
  bb_soft_cuda_close(stressed);
  /* A kernel that never ends, ended by closing its driver. */
  CUcontext context;
  CUmodule module;
  CUfunction loop;
  CUdeviceptr flag;
  struct cuda_instance *instance = open_driver("");
  MUST(0, cuInit(0));
  MUST(0, cuDevicePrimaryCtxRetain(&context, 0));
  MUST(0, cuCtxSetCurrent(context));
  MUST(0, cuModuleLoadDataEx(&module, PTX, 0, NULL, NULL));
  MUST(0, cuModuleGetFunction(&loop, module, "loop"));
  MUST(0, cuMemAlloc_v2(&flag, 4));
  MUST(0, cuMemsetD32_v2(flag, 0, 1));
  launch(loop, NULL, flag, 0);
  bb_soft_cuda_close(instance);
  printf("ok\n");
  return 0;
}
