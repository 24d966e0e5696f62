/* Looking functions up by name and version, from the table that the software device has too. */
#define _GNU_SOURCE
#include "shim.h"

#include "api/cuda_names.h"

struct exported {
  const char *name;
  int since;
  void (*function)(void);
};

#define ROW(name, since, older, params, args) {#name, since, (void (*)(void))name},
#define ROW0(name, since) {#name, since, (void (*)(void))name},
static const struct exported FUNCTIONS[] = {BB_CUDA_FUNCTIONS(ROW, ROW0)};

/* CUdriverProcAddressQueryResult */
enum { FOUND, NAME_NOT_FOUND, VERSION_TOO_LOW };

CUresult cuGetProcAddress_v2(const char *name, void **out, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult *status) {
  int newest;
  REQUIRE(name != NULL && out != NULL && flags <= 2, CUDA_INVALID_VALUE);
  TRY(cuDriverGetVersion(&newest));
  REQUIRE(version <= newest, CUDA_INVALID_VALUE);
  const struct exported *best = NULL;
  CUdriverProcAddressQueryResult found = NAME_NOT_FOUND;
  for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++) {
    const struct exported *one = &FUNCTIONS[i];
    if (!is_version_of(one->name, name)) continue;
    if (one->since > version && found == NAME_NOT_FOUND) found = VERSION_TOO_LOW;
    if (one->since <= version && (best == NULL || one->since >= best->since)) best = one;
  }
  *out = NULL;
  if (best != NULL) {
    found = FOUND;
    memcpy(out, &best->function, sizeof *out);
  }
  if (status != NULL) *status = found;
  return CUDA_SUCCESS;
}

CUresult cuGetProcAddress(const char *name, void **out, int version, cuuint64_t flags) {
  CUdriverProcAddressQueryResult status = NAME_NOT_FOUND;
  TRY(cuGetProcAddress_v2(name, out, version, flags, &status));
  return status == FOUND ? CUDA_SUCCESS : CUDA_NOT_FOUND;
}

/* Private tables of NVIDIA's own libraries: there are none. */
CUresult cuGetExportTable(const void **out, const CUuuid *which) {
  REQUIRE(out != NULL && which != NULL, CUDA_INVALID_VALUE);
  *out = NULL;
  return CUDA_NOT_FOUND;
}

CUresult cuProfilerStart(void) { return enter(); }
CUresult cuProfilerStop(void) { return enter(); }
