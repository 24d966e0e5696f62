/*
 * A pattern that says of each word of memory where it is, from a seed: by it src/gpu/nvme/bar1.ts finds in a GPU's BAR1 the
 * pages of memory that a kernel reaches. src/gpu/nvme/stamp.ts has the same rule.
 */
extern "C" __global__ void stamp(unsigned int *words, unsigned long long count, unsigned int seed) {
  const unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
  for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
    unsigned int x = (unsigned int)i * 0x9e3779b1u ^ seed;
    x = (x ^ x >> 16) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    words[i] = x ^ x >> 16;
  }
}
