/*
 * The software coprocessor in an agent, for tests. Its chip takes a page of 8 MiB for two of 4 MiB, as SPARC's does, so a stream
 * that crosses the middle of one is refused.
 */
#include "busbar.h"
#include "soft/busbar_soft.h"

int32_t agent_soft_oradax(bb_oradax **out);
int32_t agent_soft_allocate(uint64_t size, uint64_t page, void **out);

static bb_soft_oradax *device;

int32_t agent_soft_oradax(bb_oradax **out) {
  bb_oradax_file file;
  const int32_t error = bb_soft_oradax_open("dax=2,units=2,loops=portable", &device, &file);
  return error < 0 ? error : bb_oradax_attach(&file, out);
}

int32_t agent_soft_allocate(uint64_t size, uint64_t page, void **out) {
  const uint64_t half = UINT64_C(4) << 20;
  return bb_soft_oradax_allocate(device, size, page > half ? half : page, out);
}
