/* VFIO: the legacy container and group, and iommufd. See busbar.h for the rules. */
#define _GNU_SOURCE
#include "busbar.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static int32_t result_of(int got) { return got < 0 ? -errno : got; }

int32_t bb_vfio_api_version(int32_t container) { return result_of(ioctl(container, VFIO_GET_API_VERSION)); }

int32_t bb_vfio_has_extension(int32_t container, uint32_t extension) {
  return result_of(ioctl(container, VFIO_CHECK_EXTENSION, (unsigned long)extension));
}

int32_t bb_vfio_group_flags(int32_t group, uint32_t *flags) {
  if (flags == NULL) return -EINVAL;
  struct vfio_group_status status = {.argsz = sizeof status};
  const int got = ioctl(group, VFIO_GROUP_GET_STATUS, &status);
  *flags = status.flags;
  return result_of(got);
}

int32_t bb_vfio_group_attach(int32_t group, int32_t container) {
  return result_of(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
}

int32_t bb_vfio_set_iommu(int32_t container, uint32_t type) {
  return result_of(ioctl(container, VFIO_SET_IOMMU, (unsigned long)type));
}

int32_t bb_vfio_device(int32_t group, const char *name) {
  if (name == NULL) return -EINVAL;
  return result_of(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name));
}

int32_t bb_vfio_device_info(int32_t device, uint32_t *out) {
  if (out == NULL) return -EINVAL;
  struct vfio_device_info info = {.argsz = sizeof info};
  const int got = ioctl(device, VFIO_DEVICE_GET_INFO, &info);
  out[0] = info.flags;
  out[1] = info.num_regions;
  out[2] = info.num_irqs;
  return result_of(got);
}

int32_t bb_vfio_region_info(int32_t device, uint32_t index, uint64_t *out) {
  if (out == NULL) return -EINVAL;
  struct vfio_region_info info = {.argsz = sizeof info, .index = index};
  const int got = ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info);
  out[0] = info.size;
  out[1] = info.offset;
  out[2] = info.flags;
  return result_of(got);
}

/* Finds the list of usable ranges in the capability chain of IOMMU_GET_INFO. */
static int32_t copy_ranges(const uint8_t *info, uint32_t size, uint32_t at, uint64_t *out, uint32_t room) {
  while (at != 0 && at + sizeof(struct vfio_info_cap_header) <= size) {
    struct vfio_info_cap_header header;
    memcpy(&header, info + at, sizeof header);
    if (header.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
      struct vfio_iommu_type1_info_cap_iova_range list;
      if (at + sizeof list > size) return -EIO;
      memcpy(&list, info + at, sizeof list);
      if (list.nr_iovas > room) return -ERANGE;
      if (at + sizeof list + list.nr_iovas * sizeof(struct vfio_iova_range) > size) return -EIO;
      memcpy(out, info + at + sizeof list, list.nr_iovas * sizeof(struct vfio_iova_range));
      return (int32_t)list.nr_iovas;
    }
    if (header.next <= at) return 0;
    at = header.next;
  }
  return 0;
}

int32_t bb_vfio_iova_ranges(int32_t container, uint64_t *page_sizes, uint64_t *out, uint32_t room) {
  if (page_sizes == NULL || out == NULL) return -EINVAL;
  struct vfio_iommu_type1_info head = {.argsz = sizeof head};
  if (ioctl(container, VFIO_IOMMU_GET_INFO, &head) != 0) return -errno;
  *page_sizes = head.flags & VFIO_IOMMU_INFO_PGSIZES ? head.iova_pgsizes : 0;
  if (!(head.flags & VFIO_IOMMU_INFO_CAPS) || head.argsz <= sizeof head) return 0;
  /* The kernel said how much room the capabilities take; ask again with it. */
  const uint32_t size = head.argsz;
  uint8_t *info = calloc(1, size);
  if (info == NULL) return -ENOMEM;
  memcpy(info, &size, sizeof size);
  int32_t result = ioctl(container, VFIO_IOMMU_GET_INFO, info) == 0 ? 0 : -errno;
  if (result == 0) {
    memcpy(&head, info, sizeof head);
    result = copy_ranges(info, size, head.cap_offset, out, room);
  }
  free(info);
  return result;
}

int32_t bb_vfio_map(int32_t container, const void *address, uint64_t iova, uint64_t size) {
  struct vfio_iommu_type1_dma_map map = {
      .argsz = sizeof map,
      .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
      .vaddr = (uintptr_t)address,
      .iova = iova,
      .size = size,
  };
  return result_of(ioctl(container, VFIO_IOMMU_MAP_DMA, &map));
}

int32_t bb_vfio_unmap(int32_t container, uint64_t iova, uint64_t size) {
  struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof unmap, .iova = iova, .size = size};
  if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) != 0) return -errno;
  return unmap.size == size ? 0 : -ENOENT;
}

int32_t bb_vfio_irq_count(int32_t device, uint32_t index) {
  struct vfio_irq_info info = {.argsz = sizeof info, .index = index};
  if (ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &info) != 0) return -errno;
  return (int32_t)info.count;
}

int32_t bb_vfio_set_irqs(int32_t device, uint32_t index, const int32_t *eventfds, uint32_t count) {
  enum { MOST = 64 };
  if (count > MOST || (eventfds == NULL && count > 0)) return -EINVAL;
  union {
    struct vfio_irq_set head;
    uint8_t bytes[sizeof(struct vfio_irq_set) + MOST * sizeof(int32_t)];
  } set;
  memset(&set, 0, sizeof set);
  set.head.argsz = (uint32_t)(sizeof set.head + count * sizeof(int32_t));
  set.head.index = index;
  set.head.count = count;
  set.head.flags = VFIO_IRQ_SET_ACTION_TRIGGER | (count > 0 ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE);
  if (count > 0) memcpy(set.head.data, eventfds, count * sizeof(int32_t));
  return result_of(ioctl(device, VFIO_DEVICE_SET_IRQS, &set));
}

int32_t bb_vfio_reset(int32_t device) { return result_of(ioctl(device, VFIO_DEVICE_RESET)); }

/*
 * iommufd, as in Linux 6.6 include/uapi/linux/{vfio,iommufd}.h. The structures are written down here because the headers
 * of stable distributions are older than the kernels that have them.
 */
struct device_bind { uint32_t argsz, flags; int32_t iommufd; uint32_t out_devid; };
struct device_attach { uint32_t argsz, flags, pt_id; };
struct ioas_alloc { uint32_t size, flags, out_ioas_id; };
struct ioas_destroy { uint32_t size, id; };
struct ioas_ranges { uint32_t size, ioas_id, num_iovas, reserved; uint64_t allowed_iovas, out_alignment; };
struct ioas_map { uint32_t size, flags, ioas_id, reserved; uint64_t user_va, length, iova; };
struct ioas_unmap { uint32_t size, ioas_id; uint64_t iova, length; };

_Static_assert(sizeof(struct device_bind) == 16 && sizeof(struct device_attach) == 12, "linux/vfio.h");
_Static_assert(sizeof(struct ioas_alloc) == 12 && sizeof(struct ioas_ranges) == 32, "linux/iommufd.h");
_Static_assert(sizeof(struct ioas_map) == 40 && sizeof(struct ioas_unmap) == 24, "linux/iommufd.h");

enum {
  DEVICE_BIND_IOMMUFD = 0x3b76,
  DEVICE_ATTACH_IOMMUFD_PT = 0x3b77,
  IOMMU_DESTROY = 0x3b80,
  IOMMU_IOAS_ALLOC = 0x3b81,
  IOMMU_IOAS_IOVA_RANGES = 0x3b84,
  IOMMU_IOAS_MAP = 0x3b85,
  IOMMU_IOAS_UNMAP = 0x3b86,
};
enum { IOAS_MAP_FIXED_IOVA = 1, IOAS_MAP_WRITEABLE = 2, IOAS_MAP_READABLE = 4 };

int32_t bb_iommufd_bind(int32_t device, int32_t iommufd, uint32_t *id) {
  if (id == NULL) return -EINVAL;
  struct device_bind bind = {.argsz = sizeof bind, .iommufd = iommufd};
  const int got = ioctl(device, DEVICE_BIND_IOMMUFD, &bind);
  *id = bind.out_devid;
  return result_of(got);
}

int32_t bb_iommufd_allocate(int32_t iommufd, uint32_t *ioas) {
  if (ioas == NULL) return -EINVAL;
  struct ioas_alloc alloc = {.size = sizeof alloc};
  const int got = ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc);
  *ioas = alloc.out_ioas_id;
  return result_of(got);
}

int32_t bb_iommufd_attach(int32_t device, uint32_t ioas) {
  struct device_attach attach = {.argsz = sizeof attach, .pt_id = ioas};
  return result_of(ioctl(device, DEVICE_ATTACH_IOMMUFD_PT, &attach));
}

int32_t bb_iommufd_destroy(int32_t iommufd, uint32_t id) {
  struct ioas_destroy destroy = {.size = sizeof destroy, .id = id};
  return result_of(ioctl(iommufd, IOMMU_DESTROY, &destroy));
}

int32_t bb_iommufd_iova_ranges(int32_t iommufd, uint32_t ioas, uint64_t *out, uint32_t room) {
  if (out == NULL) return -EINVAL;
  struct ioas_ranges ranges = {.size = sizeof ranges, .ioas_id = ioas, .num_iovas = room, .allowed_iovas = (uintptr_t)out};
  if (ioctl(iommufd, IOMMU_IOAS_IOVA_RANGES, &ranges) != 0) return errno == EMSGSIZE ? -ERANGE : -errno;
  return (int32_t)ranges.num_iovas;
}

int32_t bb_iommufd_map(int32_t iommufd, uint32_t ioas, const void *address, uint64_t iova, uint64_t size) {
  struct ioas_map map = {
      .size = sizeof map,
      .flags = IOAS_MAP_FIXED_IOVA | IOAS_MAP_WRITEABLE | IOAS_MAP_READABLE,
      .ioas_id = ioas,
      .user_va = (uintptr_t)address,
      .length = size,
      .iova = iova,
  };
  return result_of(ioctl(iommufd, IOMMU_IOAS_MAP, &map));
}

int32_t bb_iommufd_unmap(int32_t iommufd, uint32_t ioas, uint64_t iova, uint64_t size) {
  struct ioas_unmap unmap = {.size = sizeof unmap, .ioas_id = ioas, .iova = iova, .length = size};
  if (ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap) != 0) return -errno;
  return unmap.length == size ? 0 : -ENOENT;
}
