/*
 * Fat binaries: containers of PTX and machine code for several devices, the PTX perhaps compressed. Every number in one is
 * checked against the bytes at hand before it is used; the two decompressors are the system's, opened when first needed.
 */
#define _GNU_SOURCE
#include "fatbin.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_OF_MEMORY = 2, INVALID_IMAGE = 200, NO_BINARY_FOR_GPU = 209 };

enum {
  CONTAINER_MAGIC = (int)0xba55ed50,
  WRAPPER_MAGIC = 0x466243b1,
  CONTAINER_HEADER = 16,
  ENTRY_HEADER = 64,
  KIND_PTX = 1,
  KIND_ELF = 2,
  FLAG_LZ4 = 1 << 13,
  FLAG_ZSTD = 1 << 15,
  MOST_ENTRIES = 4096,
};

static uint16_t get16(const uint8_t *at) {
  uint16_t value;
  memcpy(&value, at, sizeof value);
  return value;
}
static uint32_t get32(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}
static uint64_t get64(const uint8_t *at) {
  uint64_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

__attribute__((format(printf, 3, 4))) static int32_t fail(int32_t result, char *why, const char *format, ...) {
  va_list list;
  va_start(list, format);
  vsnprintf(why, FATBIN_WORDS, format, list);
  va_end(list);
  return result;
}

/* One entry of a container, its numbers checked. */
struct entry {
  uint32_t kind, capability, flags;
  const uint8_t *payload;
  size_t stored, expanded; /* bytes as they lie there, and after decompression or 0 */
};

/* Reads the entry at *at and moves *at behind it. 0, or -1 for one that does not fit into what is left. */
static int next_entry(const uint8_t *bytes, size_t size, size_t *at, struct entry *out) {
  const size_t left = size - *at;
  if (left < ENTRY_HEADER) return -1;
  const uint8_t *header = bytes + *at;
  const uint32_t header_bytes = get32(header + 0x04);
  const uint64_t payload_bytes = get64(header + 0x08), compressed = get32(header + 0x10);
  if (header_bytes < ENTRY_HEADER || header_bytes > left || payload_bytes > left - header_bytes) return -1;
  if (compressed > payload_bytes) return -1;
  *out = (struct entry){
      .kind = get16(header),
      .capability = get32(header + 0x1c),
      .flags = (uint32_t)get64(header + 0x28),
      .payload = header + header_bytes,
      .stored = (size_t)(compressed != 0 ? compressed : payload_bytes),
      .expanded = 0,
  };
  const uint64_t expanded = get64(header + 0x38);
  if (compressed != 0) out->expanded = expanded > SIZE_MAX ? SIZE_MAX : (size_t)expanded;
  *at += header_bytes + (size_t)payload_bytes;
  return 0;
}

/* What the choice between the entries of all containers has come to. */
struct choice {
  struct entry best;
  int has_best, machine_code, entries;
  char seen[160]; /* "ptx 75, elf 90" */
};

static void note(struct choice *choice, const struct entry *entry) {
  const size_t used = strlen(choice->seen);
  const char *kind = entry->kind == KIND_PTX ? "PTX for sm_" : entry->kind == KIND_ELF ? "machine code for sm_" : NULL;
  if (kind != NULL && used + 40 < sizeof choice->seen) {
    snprintf(choice->seen + used, sizeof choice->seen - used, "%s%s%u", used == 0 ? "" : ", ", kind, entry->capability);
  }
}

/* Looks through one container. 0, or 200. */
static int32_t look_through(const uint8_t *bytes, size_t size, uint32_t capability, struct choice *choice, char *why) {
  for (size_t at = 0; at < size;) {
    struct entry entry;
    if (next_entry(bytes, size, &at, &entry) != 0 || ++choice->entries > MOST_ENTRIES) {
      return fail(INVALID_IMAGE, why, "the fat binary is damaged: an entry goes past its end");
    }
    note(choice, &entry);
    choice->machine_code |= entry.kind == KIND_ELF;
    if (entry.kind != KIND_PTX || entry.capability > capability) continue;
    if (choice->has_best && choice->best.capability >= entry.capability) continue;
    choice->best = entry;
    choice->has_best = 1;
  }
  return 0;
}

/* A function of a library that the system has, or NULL. The library stays open: it is opened once and never closed. */
static void *function_of(const char *library, const char *name) {
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  return handle == NULL ? NULL : dlsym(handle, name);
}

static int32_t no_decompressor(char *why, const char *method, const char *package) {
  fail(0, why, "the module is compressed with %s: install the package %s, or compile with nvcc --compress-mode=none", method,
       package);
  fprintf(stderr, "busbar: %s\n", why);
  return NO_BINARY_FOR_GPU;
}

static int32_t expand_zstd(const struct entry *entry, char *to, char *why) {
  size_t (*decompress)(void *, size_t, const void *, size_t);
  void *address = function_of("libzstd.so.1", "ZSTD_decompress");
  if (address == NULL) return no_decompressor(why, "zstd", "libzstd1");
  memcpy(&decompress, &address, sizeof decompress);
  /* An error is a number near the top, so it is no size that fits. */
  const size_t got = decompress(to, entry->expanded, entry->payload, entry->stored);
  return got == entry->expanded ? 0 : fail(INVALID_IMAGE, why, "the fat binary's zstd data is damaged");
}

static int32_t expand_lz4(const struct entry *entry, char *to, char *why) {
  int (*decompress)(const char *, char *, int, int);
  void *address = function_of("liblz4.so.1", "LZ4_decompress_safe");
  if (address == NULL) return no_decompressor(why, "LZ4", "liblz4-1");
  memcpy(&decompress, &address, sizeof decompress);
  if (entry->stored > INT32_MAX) return fail(INVALID_IMAGE, why, "the fat binary's LZ4 data is too long");
  const int got = decompress((const char *)entry->payload, to, (int)entry->stored, (int)entry->expanded);
  return got >= 0 && (size_t)got == entry->expanded ? 0 : fail(INVALID_IMAGE, why, "the fat binary's LZ4 data is damaged");
}

/* A text that a caller may read as a string: cut at the first NUL, with a NUL of its own behind it. */
static int32_t keep_text(const char *from, size_t size, struct module_text *out, char *why) {
  if (size > FATBIN_MOST_TEXT) {
    return fail(INVALID_IMAGE, why, "the module's PTX has more than %d MiB", FATBIN_MOST_TEXT >> 20);
  }
  const size_t length = strnlen(from, size);
  char *text = malloc(length + 1);
  if (text == NULL) return fail(OUT_OF_MEMORY, why, "no memory for the module's text");
  memcpy(text, from, length);
  text[length] = '\0';
  *out = (struct module_text){text, length};
  return 0;
}

static int32_t take(const struct entry *entry, struct module_text *out, char *why) {
  if (entry->expanded == 0) return keep_text((const char *)entry->payload, entry->stored, out, why);
  if (entry->expanded > FATBIN_MOST_TEXT) {
    return fail(INVALID_IMAGE, why, "the module's PTX has more than %d MiB", FATBIN_MOST_TEXT >> 20);
  }
  char *text = malloc(entry->expanded + 1);
  if (text == NULL) return fail(OUT_OF_MEMORY, why, "no memory for the module's text");
  int32_t failed;
  if ((entry->flags & FLAG_ZSTD) != 0) failed = expand_zstd(entry, text, why);
  else if ((entry->flags & FLAG_LZ4) != 0) failed = expand_lz4(entry, text, why);
  else failed = fail(NO_BINARY_FOR_GPU, why, "the module is compressed in a way that is not known (flags 0x%x)", entry->flags);
  if (failed != 0) {
    free(text);
    return failed;
  }
  text[entry->expanded] = '\0';
  *out = (struct module_text){text, strlen(text)};
  return 0;
}

/* Containers that lie one after the other, from a file; without a size only the first. */
static int32_t read_containers(const uint8_t *bytes, size_t size, uint32_t capability, struct module_text *out, char *why) {
  struct choice choice = {.has_best = 0};
  size_t at = 0;
  do {
    if (size != FATBIN_SIZE_UNKNOWN && size - at < CONTAINER_HEADER) break;
    if (get32(bytes + at) != (uint32_t)CONTAINER_MAGIC) break;
    const size_t header = get16(bytes + at + 6);
    const uint64_t body = get64(bytes + at + 8);
    const size_t left = size == FATBIN_SIZE_UNKNOWN ? SIZE_MAX : size - at;
    if (get16(bytes + at + 4) != 1 || header < CONTAINER_HEADER || header > left || body > left - header) {
      return fail(INVALID_IMAGE, why, "the fat binary is damaged: its header does not fit its length");
    }
    const int32_t failed = look_through(bytes + at + header, (size_t)body, capability, &choice, why);
    if (failed != 0) return failed;
    at += header + (size_t)body;
  } while (size != FATBIN_SIZE_UNKNOWN && at < size);
  if (choice.has_best) return take(&choice.best, out, why);
  return fail(NO_BINARY_FOR_GPU, why, "the fat binary has no PTX that sm_%u can run, only %s; compile with nvcc -arch=sm_%u%s",
              capability, choice.seen[0] == '\0' ? "nothing" : choice.seen, capability,
              choice.machine_code ? ", which keeps the PTX beside the machine code (code=sm_ alone does not)" : "");
}

int32_t fatbin_read(const void *image, size_t size, uint32_t capability, struct module_text *out, char why[FATBIN_WORDS]) {
  const uint8_t *bytes = image;
  why[0] = '\0';
  *out = (struct module_text){NULL, 0};
  /* A text is at least as long as its NUL: without a size a byte is looked at only if those before it were no NUL. */
  uint32_t magic = 0;
  for (size_t i = 0; i < 4 && (size == FATBIN_SIZE_UNKNOWN || i < size); i++) {
    magic |= (uint32_t)bytes[i] << (8 * i);
    if (bytes[i] == 0) break;
  }
  if (magic == WRAPPER_MAGIC && size == FATBIN_SIZE_UNKNOWN) {
    const uint8_t *container;
    memcpy(&container, bytes + 8, sizeof container);
    if (container == NULL || get32(container) != (uint32_t)CONTAINER_MAGIC) {
      return fail(INVALID_IMAGE, why, "the wrapper of the fat binary holds none");
    }
    return read_containers(container, FATBIN_SIZE_UNKNOWN, capability, out, why);
  }
  if (magic == (uint32_t)CONTAINER_MAGIC) return read_containers(bytes, size, capability, out, why);
  if (magic == 0x464c457f) {
    return fail(NO_BINARY_FOR_GPU, why,
                "this is machine code (a cubin), and only PTX can be run here: compile with nvcc -ptx, or -arch=sm_%u", capability);
  }
  if (size == FATBIN_SIZE_UNKNOWN) size = strlen(image);
  /* PTX is 7-bit text and begins with a directive or a comment, perhaps after empty lines. */
  size_t blank = 0;
  while (blank < size && (bytes[blank] == ' ' || (bytes[blank] >= '\t' && bytes[blank] <= '\r'))) blank++;
  if (blank >= size || (bytes[blank] & 0x80) != 0 || bytes[blank] < ' ') {
    return fail(INVALID_IMAGE, why, "this is no module: neither PTX nor a fat binary");
  }
  return keep_text(image, size, out, why);
}
