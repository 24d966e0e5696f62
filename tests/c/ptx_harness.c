/*
 * Loads PTX and runs one kernel of it on the PTX engine, without any driver:
 *
 *   ptx_harness FILE KERNEL [--grid X,Y,Z] [--block X,Y,Z] [--shared N] [--isa NAME] [--threads N] [--capability N]
 *     [--cooperative] [--budget N] [--weak SEED] [--count] [--stack N] [--seconds]
 *     [--arg u32:V | u64:V | f32:V | f64:V | buf:BYTES[:zero|iota|fiota|random|host|io]] ... [--dump N:u32|u64|f32|f64:COUNT] ...
 *
 * Buffers are dumped after the run, and a hash of each is printed. Without a kernel it only loads and lists.
 */
#define _GNU_SOURCE
#include "../../csrc/ptx/ptx.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REGIONS = 512 };
static struct ptx_region regions[REGIONS];
static unsigned region_count;
static uint64_t next_address = 0x200000000ull;
static pthread_mutex_t heap_lock = PTHREAD_MUTEX_INITIALIZER;

static bool find(void *context, uint64_t address, struct ptx_region *out) {
  (void)context;
  const unsigned n = __atomic_load_n(&region_count, __ATOMIC_ACQUIRE);
  for (unsigned i = 0; i < n; i++)
    if (address - regions[i].address < regions[i].size) {
      *out = regions[i];
      return true;
    }
  return false;
}

static struct ptx_region *map(uint64_t size, uint32_t flags) {
  pthread_mutex_lock(&heap_lock);
  const unsigned n = region_count;
  if (n == REGIONS) {
    pthread_mutex_unlock(&heap_lock);
    return NULL;
  }
  const uint64_t bytes = (size + 255) & ~255ull;
  regions[n] = (struct ptx_region){next_address, size, aligned_alloc(256, bytes ? bytes : 256), flags};
  memset(regions[n].host, 0, bytes);
  next_address += bytes + 4096;
  __atomic_store_n(&region_count, n + 1, __ATOMIC_RELEASE);
  pthread_mutex_unlock(&heap_lock);
  return &regions[n];
}

static void print(void *context, const char *text, size_t length) {
  (void)context;
  fwrite(text, 1, length, stdout);
}
static uint64_t allocate(void *context, uint64_t size) {
  (void)context;
  struct ptx_region *r = size > 1 << 26 ? NULL : map(size, 0);
  return r ? r->address : 0;
}
static bool release(void *context, uint64_t address) {
  struct ptx_region r;
  return find(context, address, &r) && r.address == address;
}
static void trace(void *context, const struct ptx_trace *t) {
  uint64_t value = 0;
  (void)context;
  memcpy(&value, t->value, t->width < 8 ? t->width : 8);
  printf("trace line %u thread %u %s %u bytes at %llx: %llx\n", t->thread.line, t->thread.thread[0], t->write ? "write" : "read", t->width, (unsigned long long)t->address,
         (unsigned long long)value);
}

static void *run(void *launch) {
  struct ptx_runner *runner = ptx_runner_create();
  enum ptx_run r;
  while ((r = ptx_launch_run(launch, runner, 0)) < PTX_RUN_DONE)
    if (r != PTX_RUN_MORE) sched_yield();
  ptx_runner_free(runner);
  return NULL;
}

static void three(const char *text, uint32_t out[3]) {
  out[0] = out[1] = out[2] = 1;
  sscanf(text, "%u,%u,%u", &out[0], &out[1], &out[2]);
}

static void dump(const char *what, unsigned *buffers) {
  unsigned n, count;
  char type[8];
  if (sscanf(what, "%u:%7[^:]:%u", &n, type, &count) != 3) exit(2);
  const uint8_t *at = regions[buffers[n]].host;
  printf("buffer %u:", n);
  for (unsigned i = 0; i < count; i++) {
    if (!strcmp(type, "u32")) printf(" %u", ((const uint32_t *)at)[i]);
    else if (!strcmp(type, "x32")) printf(" %08x", ((const uint32_t *)at)[i]);
    else if (!strcmp(type, "s32")) printf(" %d", ((const int32_t *)at)[i]);
    else if (!strcmp(type, "u64")) printf(" %llu", ((const unsigned long long *)at)[i]);
    else if (!strcmp(type, "x64")) printf(" %016llx", ((const unsigned long long *)at)[i]);
    else if (!strcmp(type, "u16")) printf(" %04x", ((const uint16_t *)at)[i]);
    else if (!strcmp(type, "f32")) printf(" %.9g", ((const float *)at)[i]);
    else printf(" %.17g", ((const double *)at)[i]);
  }
  printf("\n");
}

static void list(const struct ptx_module *m) {
  for (unsigned i = 0; i < ptx_module_kernel_count(m); i++) {
    const struct ptx_kernel_info *k = ptx_module_kernel(m, i);
    printf("kernel %s: %u parameters, %u bytes, shared %u, local %u, stack %u%s\n", k->name, k->parameter_count, k->parameter_bytes, k->static_shared, k->local_bytes,
           k->stack_bytes, k->recursive ? " and more" : "");
  }
}

int main(int argc, char **argv) {
  char log[8192], *text;
  const char *dumps[16];
  unsigned dump_count = 0, threads = 1, buffers[64], buffer_count = 0, used = 0, parameter = 0, capability = 100;
  bool seconds = false;
  uint8_t parameters[4096] = {0};
  struct ptx_module *m;
  if (argc < 2) return 2;
  FILE *f = fopen(argv[1], "rb");
  if (!f) return perror(argv[1]), 2;
  fseek(f, 0, SEEK_END);
  const size_t length = (size_t)ftell(f);
  rewind(f);
  text = malloc(length + 1);
  if (fread(text, 1, length, f) != length) return 2;
  fclose(f);
  for (int i = 2; i < argc; i++)
    if (!strcmp(argv[i], "--capability")) capability = (unsigned)atoi(argv[i + 1]);
  const struct ptx_source source = {text, length, argv[1]};
  const struct ptx_options options = {.capability = capability, .version_limit = 90, .log = log, .log_size = sizeof log};
  struct timespec t0, t1;
  clock_gettime(CLOCK_MONOTONIC, &t0);
  const enum ptx_error error = ptx_module_load(&source, 1, &options, &m);
  clock_gettime(CLOCK_MONOTONIC, &t1);
  free(text);
  if (error) {
    printf("%serror %d\n", log, error);
    return 1;
  }
  for (unsigned i = 0; i < ptx_module_variable_count(m); i++) ptx_module_place(m, i, map(ptx_module_variable(m, i)->size, 0)->address);
  ptx_module_link(m);
  for (unsigned i = 0; i < ptx_module_variable_count(m); i++) ptx_module_initial_bytes(m, i, regions[i].host);
  if (argc < 3 || argv[2][0] == '-') {
    list(m);
    printf("%.1f MB/s\n", (double)length / ((double)(t1.tv_sec - t0.tv_sec) * 1e6 + (double)(t1.tv_nsec - t0.tv_nsec) / 1e3));
    ptx_module_free(m);
    return 0;
  }
  const int kernel = !strcmp(argv[2], "0") ? 0 : ptx_module_find_kernel(m, argv[2]);
  if (kernel < 0) return printf("no kernel %s\n", argv[2]), 2;
  const struct ptx_kernel_info *info = ptx_module_kernel(m, (unsigned)kernel);
  struct ptx_launch_config config = {.module = m, .kernel = (unsigned)kernel, .grid = {1, 1, 1}, .block = {32, 1, 1}, .parameters = parameters, .stack_bytes = 1 << 16,
                                     .multiprocessors = 8, .clock_khz = 1500000, .isa = ptx_isa_best(), .memory = {.find = find},
                                     .hooks = {.print = print, .allocate = allocate, .release = release, .trace = trace}};
  bool count_lines = false;
  for (int i = 3; i < argc; i++) {
    const char *o = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
    if (!strcmp(o, "--cooperative")) {
      config.cooperative = true;
      config.grid_workspace = map(64, 0)->address;
      continue;
    }
    if (!strcmp(o, "--count")) {
      config.count_lines = count_lines = true;
      continue;
    }
    if (!strcmp(o, "--seconds")) {
      seconds = true;
      continue;
    }
    i++;
    if (!strcmp(o, "--grid")) three(v, config.grid);
    else if (!strcmp(o, "--block")) three(v, config.block);
    else if (!strcmp(o, "--shared")) config.dynamic_shared = (uint32_t)atoi(v);
    else if (!strcmp(o, "--threads")) threads = (unsigned)atoi(v);
    else if (!strcmp(o, "--budget")) config.budget = strtoull(v, NULL, 0);
    else if (!strcmp(o, "--stack")) config.stack_bytes = (uint32_t)atoi(v);
    else if (!strcmp(o, "--weak")) config.weak_memory = true, config.weak_seed = strtoull(v, NULL, 0);
    else if (!strcmp(o, "--capability")) continue;
    else if (!strcmp(o, "--isa")) {
      if (!ptx_isa_parse(v, &config.isa)) return printf("no %s here\n", v), 2;
    } else if (!strcmp(o, "--dump")) dumps[dump_count++] = v;
    else if (!strcmp(o, "--arg") && parameter < info->parameter_count) {
      uint8_t *at = parameters + info->parameters[parameter++].offset;
      const char *value = strchr(v, ':') + 1;
      if (!strncmp(v, "u32", 3)) memcpy(at, &(uint32_t){(uint32_t)strtoll(value, NULL, 0)}, 4);
      else if (!strncmp(v, "u64", 3)) memcpy(at, &(uint64_t){strtoull(value, NULL, 0)}, 8);
      else if (!strncmp(v, "f32", 3)) memcpy(at, &(float){strtof(value, NULL)}, 4);
      else if (!strncmp(v, "f64", 3)) memcpy(at, &(double){strtod(value, NULL)}, 8);
      else {
        const uint64_t size = strtoull(value, NULL, 0);
        struct ptx_region *r = map(size, strstr(value, "io") && !strstr(value, "iota") ? PTX_REGION_IO : strstr(value, "host") ? PTX_REGION_HOST : 0);
        for (uint64_t k = 0; k < size / 4; k++) {
          if (strstr(value, ":iota")) ((uint32_t *)r->host)[k] = (uint32_t)k;
          if (strstr(value, ":fiota")) ((float *)r->host)[k] = (float)k;
          if (strstr(value, ":random")) ((uint32_t *)r->host)[k] = (uint32_t)(k * 2654435761u ^ k >> 3) * 2246822519u;
        }
        buffers[buffer_count++] = (unsigned)(r - regions);
        memcpy(at, &r->address, 8);
      }
    } else return printf("what is %s?\n", o), 2;
  }
  (void)used;
  struct ptx_launch *launch;
  clock_gettime(CLOCK_MONOTONIC, &t0);
  if (ptx_launch_create(&config, &launch)) return 1;
  pthread_t thread[64];
  for (unsigned i = 1; i < threads; i++) pthread_create(&thread[i], NULL, run, launch);
  run(launch);
  for (unsigned i = 1; i < threads; i++) pthread_join(thread[i], NULL);
  clock_gettime(CLOCK_MONOTONIC, &t1);
  const double time = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) * 1e-9;
  const struct ptx_fault *fault = ptx_launch_fault(launch);
  if (fault) printf("fault %d: %s\n", fault->kind, fault->message);
  for (unsigned i = 0; i < dump_count; i++) dump(dumps[i], buffers);
  for (unsigned i = 0; i < buffer_count; i++) {
    uint64_t h = 1469598103934665603ull;
    for (uint64_t k = 0; k < regions[buffers[i]].size; k++) h = (h ^ regions[buffers[i]].host[k]) * 1099511628211ull;
    printf("hash %u %016llx\n", i, (unsigned long long)h);
  }
  if (seconds) printf("%.0f M thread instructions/s, %llu in %.3f s\n", (double)ptx_launch_instructions(launch) / time / 1e6, (unsigned long long)ptx_launch_instructions(launch), time);
  if (count_lines)
    for (uint32_t line = 1; line < 100000; line++) {
      const uint64_t n = ptx_launch_line_count(launch, 0, line);
      if (n) printf("line %u: %llu\n", line, (unsigned long long)n);
    }
  ptx_launch_free(launch);
  ptx_module_free(m);
  for (unsigned i = 0; i < region_count; i++) free(regions[i].host);
  return fault ? 3 : 0;
}
