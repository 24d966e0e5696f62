/*
 * The device as a server of the vfio-user protocol, version 0: QEMU's vfio-user-pci shows it to a guest as the PCI function that
 * it is, 8086:0d92. Registers trap; DATA and BAR4 are memory that the guest maps, unless BAR4 is to trap too.
 *
 * Messages are little-endian: a header of 16 bytes, then a body. One client at a time; when it leaves, the device is reset.
 */
#define _GNU_SOURCE
#include "device.h"
#include "socket.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum message {
  VERSION = 1, DMA_MAP = 2, DMA_UNMAP = 3, GET_INFO = 4, GET_REGION_INFO = 5, GET_IRQ_INFO = 7, SET_IRQS = 8, REGION_READ = 9,
  REGION_WRITE = 10, DEVICE_RESET = 13
};
enum { IS_REPLY = 1, NO_REPLY = 1 << 4, IS_ERROR = 1 << 5 };
enum { REGION_BAR0 = 0, REGION_BAR2 = 2, REGION_BAR4 = 4, REGION_CONFIG = 7, REGIONS = 9, INTERRUPTS = 5 };
enum { CAN_READ = 1, CAN_WRITE = 2, CAN_MAP = 4, HAS_CAPABILITIES = 8 };
enum { CONFIG_BYTES = 256, BAR0_BYTES = 0x10000, BODY_BYTES = 1 << 20, SLICE_MS = 50, MAP_PAGE = 4096 };
enum { SPARSE_BYTES = 64 };

struct header {
  uint16_t id, command;
  uint32_t size, flags, error;
};

struct vfio_user {
  struct endpoint endpoint;
  pthread_t server;
  bool has_server;
  uint64_t bar2_bytes;
  uint8_t config[CONFIG_BYTES];
  uint8_t body[BODY_BYTES + 16];
};

/* ---- configuration space --------------------------------------------------------------------------------------------- */

/* PCI Local Bus specification 3.0, 6.1: offsets of the header */
enum { CONFIG_COMMAND = 4, CONFIG_REVISION = 8, CONFIG_BARS = 0x10, CONFIG_SUBSYSTEM = 0x2c, CONFIG_LINE = 0x3c };
enum { COMMAND_BITS = 0x0407, BAR_64_BIT = 4, BAR_PREFETCHABLE = 8 };

static void set32(uint8_t *at, uint32_t value) { memcpy(at, &value, sizeof value); }

static void reset_config(struct vfio_user *server) {
  uint8_t *config = server->config;
  memset(config, 0, CONFIG_BYTES);
  set32(config, 0x0d92u << 16 | 0x8086);
  set32(config + CONFIG_REVISION, 0x05021001); /* memory controller, CXL, interface 0x10, revision 1 */
  set32(config + CONFIG_SUBSYSTEM, 0x0d92u << 16 | 0x8086);
  set32(config + CONFIG_BARS, BAR_64_BIT);
  set32(config + CONFIG_BARS + 8, BAR_64_BIT | BAR_PREFETCHABLE);
  set32(config + CONFIG_BARS + 16, BAR_64_BIT | BAR_PREFETCHABLE);
}

static uint64_t bar_bytes(const struct type2 *device, uint32_t bar) {
  return bar == REGION_BAR0   ? BAR0_BYTES
         : bar == REGION_BAR2 ? device->vfio_user->bar2_bytes
         : bar == REGION_BAR4 ? device->bar4_bytes
                              : 0;
}

/* Which bits of a byte the guest may change: of a BAR those above its size, so that all ones tell it. */
static uint8_t writable_bits(const struct type2 *device, uint32_t at) {
  if (at == CONFIG_COMMAND || at == CONFIG_COMMAND + 1) return (uint8_t)(COMMAND_BITS >> 8 * (at - CONFIG_COMMAND));
  if (at == CONFIG_LINE) return 0xff;
  if (at < CONFIG_BARS || at >= CONFIG_BARS + 24) return 0;
  const uint32_t bar = (at - CONFIG_BARS) / 8 * 2;
  return (uint8_t)(~(bar_bytes(device, bar) - 1) >> 8 * ((at - CONFIG_BARS) % 8));
}

/* ---- regions --------------------------------------------------------------------------------------------------------- */

/* The CPU touches BAR4 by an access that traps: the engine sees it. Where BAR4 is mapped such accesses are rare, and of the
 * hypervisor alone: to count them would tell nothing. */
static void cpu_touches(struct type2 *device, uint64_t offset, uint32_t size, bool is_write) {
  if (!device->settings.traps_bar4) return;
  pthread_mutex_lock(&device->lock);
  coherency_range(device->engine, DOMAIN_CPU, is_write ? WR_INV : RD_SHARED, offset, size);
  for (uint64_t line = offset / 64; line <= (offset + size - 1) / 64; line++) {
    device->host_bias_hits += (~device->bias[line / 8] >> (line % 8)) & 1;
  }
  pthread_mutex_unlock(&device->lock);
}

static void read_bar2(struct type2 *device, uint64_t offset, uint32_t size, uint8_t *to) {
  const bool is_whole = size == 1 || size == 2 || size == 4 || size == 8;
  for (uint32_t at = 0, part = is_whole ? size : 1; at < size; at += part) {
    const uint64_t value = bb_type2_read(device, offset + at, part);
    memcpy(to + at, &value, part);
  }
}

static void write_bar2(struct type2 *device, uint64_t offset, uint32_t size, const uint8_t *from) {
  const bool is_whole = size == 1 || size == 2 || size == 4 || size == 8;
  for (uint32_t at = 0, part = is_whole ? size : 1; at < size; at += part) {
    uint64_t value = 0;
    memcpy(&value, from + at, part);
    bb_type2_write(device, offset + at, part, value);
  }
}

static bool read_region(struct type2 *device, uint32_t region, uint64_t offset, uint32_t size, uint8_t *to) {
  if (size == 0 || size > BODY_BYTES) return false;
  if (region == REGION_CONFIG) {
    if (!range_in(offset, size, CONFIG_BYTES)) return false;
    memcpy(to, device->vfio_user->config + offset, size);
    return true;
  }
  if (!range_in(offset, size, bar_bytes(device, region))) return false;
  memset(to, 0, size);
  if (region == REGION_BAR2) read_bar2(device, offset, size, to);
  if (region == REGION_BAR4) {
    cpu_touches(device, offset, size, false);
    copy_from_guest(to, device->bar4 + offset, size);
  }
  return true;
}

static bool write_region(struct type2 *device, uint32_t region, uint64_t offset, uint32_t size, const uint8_t *from) {
  if (size == 0 || size > BODY_BYTES) return false;
  if (region == REGION_CONFIG) {
    if (!range_in(offset, size, CONFIG_BYTES)) return false;
    for (uint32_t i = 0; i < size; i++) {
      const uint32_t at = (uint32_t)offset + i;
      const uint8_t bits = writable_bits(device, at);
      uint8_t *byte = &device->vfio_user->config[at];
      *byte = (uint8_t)((*byte & ~bits) | (from[i] & bits));
    }
    return true;
  }
  if (!range_in(offset, size, bar_bytes(device, region))) return false;
  if (region == REGION_BAR2) write_bar2(device, offset, size, from);
  if (region == REGION_BAR4) {
    cpu_touches(device, offset, size, true);
    copy_to_guest(device->bar4 + offset, from, size);
  }
  return true;
}

/* ---- messages -------------------------------------------------------------------------------------------------------- */

struct exchange {
  struct type2 *device;
  uint8_t *body;
  uint32_t size;  /* of the request's body, then of the reply's */
  int descriptor; /* that goes with the reply; -1 */
};

static uint32_t word_at(const uint8_t *body, uint32_t offset) {
  uint32_t value;
  memcpy(&value, body + offset, sizeof value);
  return value;
}
static uint64_t long_at(const uint8_t *body, uint32_t offset) {
  uint64_t value;
  memcpy(&value, body + offset, sizeof value);
  return value;
}

static int say_version(struct exchange *e) {
  if (e->size < 4) return EINVAL;
  uint16_t major;
  memcpy(&major, e->body, sizeof major);
  if (major != 0) return ENOTSUP;
  static const char WORDS[] = "{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":1048576}}";
  /* The minor version is the client's: what differs between them is not used here. */
  memcpy(e->body + 4, WORDS, sizeof WORDS);
  e->size = 4 + sizeof WORDS;
  return 0;
}

static int say_info(struct exchange *e) {
  const uint32_t words[4] = {16, 1 | 2, REGIONS, INTERRUPTS}; /* can be reset; is PCI */
  memcpy(e->body, words, sizeof words);
  e->size = sizeof words;
  return 0;
}

/* DATA, the only part of BAR2 that is mapped: a capability of kind 1, "sparse mmap", at offset 32. */
static void add_sparse(const struct type2 *device, uint8_t *body) {
  const uint32_t head[6] = {1u << 16 | 1, 0, 1, 0, 0, 0};
  const uint64_t area[2] = {REGISTER_BYTES, device->data_bytes};
  memcpy(body + 32, head, 16);
  memcpy(body + 48, area, sizeof area);
}

static int say_region(struct exchange *e) {
  if (e->size < 32) return EINVAL;
  const struct type2 *device = e->device;
  const uint32_t room = word_at(e->body, 0), region = word_at(e->body, 8);
  if (region >= REGIONS) return EINVAL;
  const uint64_t size = region == REGION_CONFIG ? CONFIG_BYTES : bar_bytes(device, region);
  uint32_t flags = size == 0 ? 0 : CAN_READ | CAN_WRITE, needs = 32;
  e->size = 32;
  if (region == REGION_BAR2) {
    flags |= CAN_MAP | HAS_CAPABILITIES;
    needs = SPARSE_BYTES;
  }
  if (region == REGION_BAR4 && !device->settings.traps_bar4) flags |= CAN_MAP;
  const bool is_whole = room >= needs;
  if ((flags & CAN_MAP) != 0 && is_whole) e->descriptor = region == REGION_BAR2 ? device->data_fd : device->bar4_fd;
  /* QEMU 11.1 wants the place of the capability also in the answer that has no room for it. */
  const uint32_t words[4] = {needs, flags, region, needs > 32 ? 32 : 0};
  const uint64_t longs[2] = {size, 0};
  memcpy(e->body, words, sizeof words);
  memcpy(e->body + 16, longs, sizeof longs);
  if (needs > 32 && is_whole) {
    add_sparse(device, e->body);
    e->size = needs;
  }
  return 0;
}

static int say_interrupts(struct exchange *e) {
  if (e->size < 16) return EINVAL;
  const uint32_t index = word_at(e->body, 8);
  if (index >= INTERRUPTS) return EINVAL;
  const uint32_t words[4] = {16, 0, index, 0}; /* none: commands are polled for */
  memcpy(e->body, words, sizeof words);
  e->size = sizeof words;
  return 0;
}

static int access_region(struct exchange *e, bool is_write) {
  if (e->size < 16) return EINVAL;
  const uint64_t offset = long_at(e->body, 0);
  const uint32_t region = word_at(e->body, 8), count = word_at(e->body, 12);
  if (is_write) {
    if (count > e->size - 16 || !write_region(e->device, region, offset, count, e->body + 16)) return EINVAL;
    e->size = 16;
    return 0;
  }
  if (!read_region(e->device, region, offset, count, e->body + 16)) return EINVAL;
  e->size = 16 + count;
  return 0;
}

/* An errno; 0 with the reply in the body. */
static int answer(struct exchange *e, uint16_t command) {
  switch (command) {
    case VERSION: return say_version(e);
    /* The device does no DMA: the guest's memory is none of its business, and its descriptors were closed. */
    case DMA_MAP: case SET_IRQS: e->size = 0; return 0;
    case DMA_UNMAP: return e->size < 24 ? EINVAL : 0;
    case GET_INFO: return say_info(e);
    case GET_REGION_INFO: return say_region(e);
    case GET_IRQ_INFO: return say_interrupts(e);
    case REGION_READ: return access_region(e, false);
    case REGION_WRITE: return access_region(e, true);
    case DEVICE_RESET:
      bb_type2_reset(e->device);
      reset_config(e->device->vfio_user);
      e->size = 0;
      return 0;
    default: return ENOTSUP;
  }
}

/* ---- the connection -------------------------------------------------------------------------------------------------- */

/* All of it, unless the peer leaves or the device ends. */
static bool receive_all(const struct type2 *device, int fd, void *bytes, size_t size) {
  uint8_t *at = bytes;
  while (size > 0) {
    if (atomic_load_explicit(&device->is_ending, memory_order_relaxed)) return false;
    struct pollfd one = {.fd = fd, .events = POLLIN};
    const int ready = poll(&one, 1, SLICE_MS);
    if (ready < 0 && errno != EINTR) return false;
    if (ready <= 0) continue;
    const ssize_t got = socket_receive(fd, at, size);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (got > 0) {
      at += got;
      size -= (size_t)got;
    }
  }
  return true;
}

/* One message. False: the connection is over. */
static bool serve_message(struct type2 *device, int fd) {
  struct vfio_user *server = device->vfio_user;
  struct header header;
  if (!receive_all(device, fd, &header, sizeof header)) return false;
  if (header.size < sizeof header || header.size - sizeof header > sizeof server->body) return false;
  struct exchange e = {device, server->body, header.size - (uint32_t)sizeof header, -1};
  if (!receive_all(device, fd, e.body, e.size)) return false;
  /* What a short message leaves unsaid is 0, and not what an earlier one said. */
  if (e.size < SPARSE_BYTES) memset(e.body + e.size, 0, SPARSE_BYTES - e.size);
  if ((header.flags & 0xf) != 0) return true; /* a reply: to nothing that was asked */
  const int failed = answer(&e, header.command);
  if ((header.flags & NO_REPLY) != 0) return true;
  header.flags = failed == 0 ? IS_REPLY : IS_REPLY | IS_ERROR;
  header.error = (uint32_t)failed;
  if (failed != 0) e.size = 0;
  header.size = (uint32_t)sizeof header + e.size;
  return socket_send(fd, &header, sizeof header, failed == 0 ? e.descriptor : -1) && socket_send(fd, e.body, e.size, -1);
}

static void *serve(void *argument) {
  struct type2 *device = argument;
  while (!atomic_load_explicit(&device->is_ending, memory_order_relaxed)) {
    const int fd = socket_accept(&device->vfio_user->endpoint, SLICE_MS);
    if (fd < 0) continue;
    while (serve_message(device, fd)) continue;
    close(fd);
    if (atomic_load_explicit(&device->is_ending, memory_order_relaxed)) break;
    /* The next guest finds a device as after power-on, and nothing of the last one's bytes. */
    bb_type2_reset(device);
    reset_config(device->vfio_user);
    clear_for_guest(device->data, device->data_bytes);
  }
  return NULL;
}

int vfio_user_start(struct type2 *device, const char *path, char *why, uint32_t why_size) {
  struct vfio_user *server = calloc(1, sizeof *server);
  if (server == NULL) return -ENOMEM;
  device->vfio_user = server;
  const uint64_t window = REGISTER_BYTES + device->data_bytes;
  for (server->bar2_bytes = MAP_PAGE; server->bar2_bytes < window || server->bar2_bytes < device->settings.cache_bytes;) {
    server->bar2_bytes *= 2;
  }
  reset_config(server);
  const int failed = socket_open(&server->endpoint, path, why, why_size);
  if (failed != 0) return failed;
  if (pthread_create(&server->server, NULL, serve, device) != 0) return -EAGAIN;
  server->has_server = true;
  return 0;
}

void vfio_user_close(struct type2 *device) {
  struct vfio_user *server = device->vfio_user;
  if (server == NULL) return;
  atomic_store_explicit(&device->is_ending, true, memory_order_relaxed);
  if (server->has_server) pthread_join(server->server, NULL);
  socket_close(&server->endpoint);
  free(server);
  device->vfio_user = NULL;
}
