/* The driver's memory: what a command names, and moving data. */
#ifndef BUSBAR_SOFT_NVME_DMA_H
#define BUSBAR_SOFT_NVME_DMA_H

#include "command.h"

/* A part of the driver's memory; at is NULL for a bit bucket. */
struct piece {
  uint8_t *at;
  uint64_t length;
};

/* The memory that a command names, in order, and how far it has been used. */
struct transfer {
  struct piece *pieces;
  size_t count, room;
  size_t index;
  uint64_t offset;
  uint64_t length; /* of all pieces */
};

enum direction { TO_HOST, FROM_HOST };

struct memory {
  uint64_t generation; /* raised when memory that pointers lead to may have gone */
  uint64_t dma_generation_seen;
  unsigned page_shift;   /* of CC.MPS */
  uint64_t max_transfer; /* bytes; UINT64_MAX without a limit */
  /* Of the command in hand. */
  struct transfer data, metadata;
  uint8_t *staging;
  size_t staging_room;
};

/* The memory at an address as the controller sees it: DMA memory, or its own CMB; NULL when it is neither. */
uint8_t *nvme_reach(struct controller *c, uint64_t address, uint64_t size);
/* Looks up what a command names, into c->memory.data or c->memory.metadata. */
uint16_t nvme_map_data(struct controller *c, struct command *cmd, uint64_t length, enum direction direction);
uint16_t nvme_map_metadata(struct controller *c, struct command *cmd, uint64_t length, enum direction direction);
void nvme_copy_to_host(struct transfer *t, const void *from, uint64_t length);
void nvme_copy_from_host(struct transfer *t, void *to, uint64_t length);
/* A whole data structure at once. */
uint16_t nvme_send(struct controller *c, struct command *cmd, const void *from, uint64_t length);
uint16_t nvme_receive(struct controller *c, struct command *cmd, void *to, uint64_t length);
void nvme_free_transfers(struct controller *c);
/* Room for size bytes that is valid until the next call, or NULL. */
uint8_t *nvme_staging(struct controller *c, size_t size);

#endif
