/* Commands through the kernel's driver of CXL memory devices. See busbar.h for the rules. */
#define _GNU_SOURCE
#include "busbar.h"

#include <errno.h>
#include <stddef.h>
#include <sys/ioctl.h>

/* As in linux/cxl_mem.h, which older systems do not have. */
enum { COMMAND_GET_HEALTH_INFO = 7 };

struct payload {
  uint32_t size;
  uint32_t reserved;
  uint64_t address;
};

struct send_command {
  uint32_t id;
  uint32_t flags;
  uint32_t reserved;
  uint32_t retval;
  struct payload in;
  struct payload out;
};

#define SEND_COMMAND _IOWR(0xCE, 2, struct send_command)

int32_t bb_cxl_health_info(int32_t fd, uint8_t *out, uint32_t size) {
  if (out == NULL && size > 0) return -EINVAL;
  struct send_command command = {
      .id = COMMAND_GET_HEALTH_INFO,
      .out = {.size = size, .address = (uintptr_t)out},
  };
  if (ioctl(fd, SEND_COMMAND, &command) != 0) return -errno;
  if (command.retval != 0) return -EIO;
  return (int32_t)command.out.size;
}
