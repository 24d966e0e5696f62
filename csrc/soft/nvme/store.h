/* The medium of a namespace: memory or a file, and bits for its blocks. */
#ifndef BUSBAR_SOFT_NVME_STORE_H
#define BUSBAR_SOFT_NVME_STORE_H

#include "soft/model.h"

/* A stretch of memory, mapped sparsely or from a file. */
struct store {
  uint8_t *base;
  uint64_t size;
  int fd; /* −1: memory */
};

int nvme_store_open(struct store *store, const char *path, uint64_t size);
void nvme_store_close(struct store *store);
int nvme_store_flush(const struct store *store);
/* Makes a range read as zeros. */
void nvme_store_clear(struct store *store, uint64_t offset, uint64_t length);
uint64_t *nvme_bits_open(uint64_t bits);
void nvme_bits_close(uint64_t *words, uint64_t bits);
/* Returns how many bits changed. */
uint64_t nvme_bits_set(uint64_t *words, uint64_t at, uint64_t count, int value);
/* True when a bit of the range has the value; the first is *where. */
int nvme_bits_any(const uint64_t *words, uint64_t at, uint64_t count, int value, uint64_t *where);

#endif
