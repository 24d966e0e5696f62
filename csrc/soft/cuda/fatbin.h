/* What a module may come as: PTX text, a fat binary (specs of CUDA 13.0's binaries), a wrapper around one, machine code. */
#ifndef BUSBAR_SOFT_CUDA_FATBIN_H
#define BUSBAR_SOFT_CUDA_FATBIN_H

#include <stddef.h>
#include <stdint.h>

enum {
  FATBIN_WORDS = 512,                    /* room for an explanation */
  FATBIN_MOST_TEXT = 64 * 1024 * 1024,   /* bytes of PTX after decompression */
  FATBIN_SIZE_UNKNOWN = 0,               /* the image says how long it is */
};

/* Bytes of a module that are text now. */
struct module_text {
  char *text; /* NUL-terminated, from malloc */
  size_t size;
};

/*
 * Takes the PTX for a device of this compute capability (10 x major + minor) out of an image. size is FATBIN_SIZE_UNKNOWN
 * where the caller was not told one: then a text ends with a NUL and a container where its header says.
 *
 * Returns 0, or the driver's result: 200 for what is no module or is damaged, 209 for one without PTX that this device can
 * run or whose decompressor is not installed, 2 without memory. why receives a sentence for people, or "".
 */
int32_t fatbin_read(const void *image, size_t size, uint32_t capability, struct module_text *out, char why[FATBIN_WORDS]);

#endif
