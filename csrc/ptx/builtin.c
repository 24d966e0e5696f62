/* The functions that kernels call without defining them: printf, assert, malloc, free. */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>

/* --- printf ------------------------------------------------------------------------------------------------------------------------- */

struct text {
  char *bytes;
  size_t used, size;
};

static void append(struct text *t, const char *bytes, size_t n) {
  if (t->used + n >= t->size) {
    if (t->used + n > 1 << 20) return;
    const size_t wanted = (t->used + n + 1) * 2;
    char *grown = realloc(t->bytes, wanted);
    if (!grown) return;
    t->bytes = grown;
    t->size = wanted;
  }
  memcpy(t->bytes + t->used, bytes, n);
  t->used += n;
}

/* A string that the kernel points to, up to `most` bytes. */
static char *string_at(struct warp *w, const struct instr *ip, unsigned lane, uint64_t address, size_t most) {
  struct text t = {0};
  char c;
  while (t.used < most) {
    if (!ptx_read_bytes(w, ip, lane, address + t.used, &c, 1, true)) {
      free(t.bytes);
      return NULL;
    }
    if (!c) break;
    append(&t, &c, 1);
  }
  append(&t, "", 1);
  return t.bytes;
}

/* One conversion, from % to its letter. False: a fault. */
static bool convert(struct warp *w, const struct instr *ip, unsigned lane, const char *spec, size_t n, uint64_t *at, struct text *out, int *count) {
  char format[48], buffer[512];
  size_t used = 0;
  bool wide = false;
  const char letter = spec[n - 1];
  format[used++] = '%';
  for (size_t i = 1; i + 1 < n && used < 30; i++) {
    if (spec[i] == 'l' || spec[i] == 'j' || spec[i] == 'z' || spec[i] == 't') {
      wide = true; /* long has 64 bits */
    } else if (spec[i] == 'h') {
      format[used++] = 'h';
    } else if (spec[i] == '*') {
      int32_t star;
      *at = (*at + 3) & ~UINT64_C(3);
      if (!ptx_read_bytes(w, ip, lane, *at, &star, 4, true)) return false;
      *at += 4;
      ++*count;
      if (star > 400 || star < -400) star = 400;
      used += (size_t)snprintf(format + used, sizeof format - used - 4, "%d", star);
    } else {
      format[used++] = spec[i];
    }
  }
  int length = 0;
  uint64_t value = 0;
  const bool floating = strchr("fFeEgGaA", letter) != NULL, eight = wide || floating || letter == 's' || letter == 'p' || letter == 'n';
  const unsigned bytes = eight ? 8 : 4;
  *at = (*at + bytes - 1) & ~(uint64_t)(bytes - 1);
  if (!ptx_read_bytes(w, ip, lane, *at, &value, bytes, true)) return false;
  *at += bytes;
  ++*count;
  /* widths and precisions of the format are bounded: three digits and 512 bytes */
  if (floating) {
    double d;
    memcpy(&d, &value, 8);
    format[used++] = letter;
    format[used] = 0;
    length = snprintf(buffer, sizeof buffer, format, d);
  } else if (letter == 's') {
    char *s = string_at(w, ip, lane, value, 1 << 16);
    if (!s) return false;
    format[used++] = 's';
    format[used] = 0;
    if (used == 2) append(out, s, strlen(s));
    else length = snprintf(buffer, sizeof buffer, format, s);
    free(s);
  } else if (letter == 'c') {
    format[used++] = 'c';
    format[used] = 0;
    length = snprintf(buffer, sizeof buffer, format, (int)(uint8_t)value);
  } else if (letter == 'p') {
    format[used++] = 'p';
    format[used] = 0;
    length = snprintf(buffer, sizeof buffer, format, (void *)(uintptr_t)value);
  } else if (letter != 'n') {
    format[used++] = 'l';
    format[used++] = 'l';
    format[used++] = letter;
    format[used] = 0;
    const bool is_signed = letter == 'd' || letter == 'i';
    const char *h = strchr(format, 'h');
    if (h) { /* %hd, %hhu: the value cut here, the letters dropped */
      const bool one = h[1] == 'h';
      char *to = format;
      for (const char *from = format; *from; from++)
        if (*from != 'h') *to++ = *from;
      *to = 0;
      value = is_signed ? (uint64_t)(one ? (int8_t)value : (int16_t)value) : one ? (uint8_t)value : (uint16_t)value;
    } else if (!wide) {
      value = is_signed ? (uint64_t)(int32_t)value : (uint32_t)value;
    }
    length = snprintf(buffer, sizeof buffer, format, (long long)value);
  }
  if (length > 0) append(out, buffer, (size_t)length < sizeof buffer ? (size_t)length : sizeof buffer - 1);
  return true;
}

static bool print_one(struct warp *w, const struct instr *ip, unsigned lane, uint64_t format, uint64_t arguments, int32_t *result) {
  *result = -1;
  if (!format) return true;
  char *const f = string_at(w, ip, lane, format, 1 << 16);
  struct text out = {0};
  int count = 0;
  bool good = f != NULL;
  for (const char *at = f; good && *at;) {
    const char *percent = strchr(at, '%');
    if (!percent) percent = at + strlen(at);
    append(&out, at, (size_t)(percent - at));
    at = percent;
    if (!*at) break;
    if (at[1] == '%') {
      append(&out, "%", 1);
      at += 2;
      continue;
    }
    const size_t flags = strspn(at + 1, "-+ #0123456789.*hlLjztqw");
    if (!at[1 + flags] || !strchr("diouxXcsfFeEgGaApn", at[1 + flags]) || flags > 20) {
      append(&out, at, 1);
      at++;
      continue;
    }
    /* no width above three digits */
    unsigned run = 0, most = 0;
    for (size_t i = 1; i <= flags; i++) {
      run = at[i] >= '0' && at[i] <= '9' ? run + 1 : 0;
      if (run > most) most = run;
    }
    if (most > 3) {
      append(&out, at, 1);
      at++;
      continue;
    }
    good = convert(w, ip, lane, at, flags + 2, &arguments, &out, &count);
    at += flags + 2;
  }
  if (good && w->launch->config.hooks.print && out.used) w->launch->config.hooks.print(w->launch->config.hooks.context, out.bytes, out.used);
  *result = count;
  free(f);
  free(out.bytes);
  return good;
}

static bool assert_one(struct warp *w, const struct instr *ip, unsigned lane, const uint64_t a[5]) {
  uint32_t thread[3];
  char text[1200];
  char *const message = string_at(w, ip, lane, a[0], 400), *const file = message ? string_at(w, ip, lane, a[1], 300) : NULL;
  char *const function = file ? string_at(w, ip, lane, a[3], 300) : NULL;
  if (function) {
    ptx_thread_of(w, lane, thread);
    const uint32_t *const b = w->block->id;
    const int n = snprintf(text, sizeof text, "%s:%u: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s` failed.\n", file, (uint32_t)a[2], function, b[0], b[1], b[2],
                           thread[0], thread[1], thread[2], message);
    if (n > 0 && w->launch->config.hooks.print) w->launch->config.hooks.print(w->launch->config.hooks.context, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
  }
  const bool good = function != NULL;
  free(message);
  free(file);
  free(function);
  return good;
}

/* --- Calls -------------------------------------------------------------------------------------------------------------------------- */

static uint8_t *place_of(struct warp *w, const uint32_t *item, unsigned bytes, unsigned lane) {
  if (item[0] == 0) return w->local + (size_t)lane * w->local_stride + w->frame->local_base + item[1];
  return (uint8_t *)row_of(w, item[1]) + lane * bytes;
}

const struct instr *ptx_builtin(struct warp *w, const struct instr *ip, const struct function *f) {
  const struct signature *const s = &f->signature;
  const struct ptx_hooks *const hooks = &w->launch->config.hooks;
  for (uint32_t m = w->mask; m; m &= m - 1) {
    const unsigned lane = (unsigned)__builtin_ctz(m);
    uint64_t a[5] = {0}, result = 0;
    for (uint32_t i = 0; i < s->argument_count && i < 5; i++) {
      const unsigned bytes = s->arguments[s->result_count + i].size;
      memcpy(&a[i], place_of(w, &ip->more[2 * (s->result_count + i)], bytes, lane), bytes < 8 ? bytes : 8);
    }
    int32_t printed = 0;
    switch (f->builtin) {
      case BUILTIN_VPRINTF:
        if (!print_one(w, ip, lane, a[0], a[1], &printed)) return NULL;
        result = (uint32_t)printed;
        break;
      case BUILTIN_ASSERTFAIL:
        if (!assert_one(w, ip, lane, a)) return NULL;
        if (!(m & (m - 1))) return ptx_fault_text(w, ip, lane, PTX_FAULT_ASSERT, "an assertion failed");
        continue;
      case BUILTIN_MALLOC: result = hooks->allocate ? hooks->allocate(hooks->context, a[0]) : 0; break;
      default:
        if (a[0] && (!hooks->release || !hooks->release(hooks->context, a[0]))) return ptx_fault_at(w, ip, lane, PTX_FAULT_ADDRESS, a[0], 8, true);
    }
    if (s->result_count && ip->more[0] != 2) {
      const unsigned bytes = s->arguments[0].size;
      memcpy(place_of(w, &ip->more[0], bytes, lane), &result, bytes < 8 ? bytes : 8);
    }
  }
  w->news = true;
  return w->group_count ? ptx_reschedule(w, ip + 1) : ip + 1;
}
