/* Images of modules: whatever a program hands over, as texts. */
#define _GNU_SOURCE
#include "state.h"

#include <stdlib.h>
#include <string.h>

void texts_free(struct texts *texts) {
  for (unsigned i = 0; i < texts->count; i++) free(texts->list[i].text);
  free(texts->list);
  *texts = (struct texts){NULL, 0};
}

bool texts_add(struct texts *texts, struct module_text text) {
  struct module_text *wider = realloc(texts->list, (texts->count + 1) * sizeof *wider);
  if (wider == NULL) return false;
  wider[texts->count++] = text;
  texts->list = wider;
  return true;
}

/* A log that the caller gave no room for. */
static void log_line(struct jit_log *log, const char *why) {
  if (log->error_size > 0 && log->error[0] == '\0') snprintf(log->error, log->error_size, "%s\n", why);
}

/*
 * What cuLinkComplete gives is not machine code but the texts themselves, in a container of our own that module loaders
 * know: 8 bytes of magic, a count, then each text's length (without its NUL) and its bytes with the NUL.
 */
static const char LINK_MAGIC[8] = "\x7f" "BBLINK";

bool link_image_read(const void *image, size_t size, struct texts *out) {
  const uint8_t *bytes = image;
  if (size != FATBIN_SIZE_UNKNOWN && size < sizeof LINK_MAGIC) return false;
  /* An image of unknown size may end at a NUL: compare up to it. */
  for (size_t i = 0; i < sizeof LINK_MAGIC; i++) {
    if (bytes[i] != (uint8_t)LINK_MAGIC[i]) return false;
  }
  /* Only this library writes them, and only cuLinkComplete hands them out: from a file they are not taken. */
  if (size != FATBIN_SIZE_UNKNOWN) return false;
  uint64_t count;
  bytes += sizeof LINK_MAGIC;
  memcpy(&count, bytes, sizeof count);
  bytes += sizeof count;
  for (uint64_t i = 0; i < count; i++) {
    uint64_t length;
    memcpy(&length, bytes, sizeof length);
    bytes += sizeof length;
    char *copy = malloc((size_t)length + 1);
    if (copy == NULL || !texts_add(out, (struct module_text){copy, (size_t)length})) {
      free(copy);
      texts_free(out);
      return true;
    }
    memcpy(copy, bytes, (size_t)length + 1);
    bytes += length + 1;
  }
  return true;
}

uint8_t *link_image_write(const struct texts *texts, size_t *size) {
  *size = sizeof LINK_MAGIC + sizeof(uint64_t);
  for (unsigned i = 0; i < texts->count; i++) *size += sizeof(uint64_t) + texts->list[i].size + 1;
  uint8_t *image = malloc(*size), *at = image;
  if (image == NULL) return NULL;
  memcpy(at, LINK_MAGIC, sizeof LINK_MAGIC);
  at += sizeof LINK_MAGIC;
  const uint64_t count = texts->count;
  memcpy(at, &count, sizeof count);
  at += sizeof count;
  for (unsigned i = 0; i < texts->count; i++) {
    const uint64_t length = texts->list[i].size;
    memcpy(at, &length, sizeof length);
    at += sizeof length;
    memcpy(at, texts->list[i].text, (size_t)length + 1);
    at += length + 1;
  }
  return image;
}

CUresult image_texts(struct cuda_instance *instance, const void *image, size_t size, struct texts *out, struct jit_log *log) {
  *out = (struct texts){NULL, 0};
  if (link_image_read(image, size, out)) return out->list == NULL ? CUDA_OUT_OF_MEMORY : CUDA_SUCCESS;
  struct module_text text;
  char why[FATBIN_WORDS];
  const CUresult failed = (CUresult)fatbin_read(image, size, instance->settings.capability, &text, why);
  if (failed != CUDA_SUCCESS) {
    log_line(log, why);
    if (why[0] != '\0') say(instance, "%d: %s", failed, why);
    return failed;
  }
  if (texts_add(out, text)) return CUDA_SUCCESS;
  free(text.text);
  return CUDA_OUT_OF_MEMORY;
}
