/* Commands through the kernel's NVMe driver. See busbar.h for the rules. */
#define _GNU_SOURCE
#include "busbar.h"

#include <errno.h>
#include <linux/nvme_ioctl.h>
#include <stddef.h>
#include <sys/ioctl.h>

int32_t bb_nvme_passthru(int32_t fd, int32_t is_admin, const uint32_t *words, void *data, uint32_t data_size,
                         void *metadata, uint32_t metadata_size, uint32_t timeout_ms, uint32_t *result) {
  if (words == NULL || result == NULL || (data == NULL && data_size > 0) || (metadata == NULL && metadata_size > 0)) {
    return -EINVAL;
  }
  struct nvme_passthru_cmd command = {
      .opcode = (uint8_t)words[0],
      .nsid = words[1],
      .cdw2 = words[2],
      .cdw3 = words[3],
      .metadata = (uintptr_t)metadata,
      .addr = (uintptr_t)data,
      .metadata_len = metadata_size,
      .data_len = data_size,
      .cdw10 = words[10],
      .cdw11 = words[11],
      .cdw12 = words[12],
      .cdw13 = words[13],
      .cdw14 = words[14],
      .cdw15 = words[15],
      .timeout_ms = timeout_ms,
  };
  const int status = ioctl(fd, is_admin ? NVME_IOCTL_ADMIN_CMD : NVME_IOCTL_IO_CMD, &command);
  *result = command.result;
  return status < 0 ? -errno : status;
}
