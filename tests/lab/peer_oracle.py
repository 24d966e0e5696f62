"""What the kernel says of peer-to-peer transfers, for every two drives with a controller memory buffer, and whether data arrived."""
import errno, json, mmap, os, sys
SIZE = 4096
def transfer(drive, peer, kind):
    """One block of 4 KiB between drive's medium and peer's memory; what the kernel says, and whether the data arrived."""
    fd = os.open("/sys/bus/pci/devices/%s/p2pmem/allocate" % peer, os.O_RDWR)
    m = mmap.mmap(fd, SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    os.close(fd)
    disk = os.open(drive, os.O_RDWR | os.O_DIRECT)
    plain = mmap.mmap(-1, SIZE)
    pattern = os.urandom(SIZE)
    try:
        if kind == "writes":   # the drive writes into the peer: a read of the medium
            plain[:] = pattern
            os.pwritev(disk, [plain], 0)
            m[:] = bytes(SIZE)
            n = os.preadv(disk, [m], 0)
            data = n == SIZE and m[:] == pattern
        else:                  # the drive reads from the peer: a write to the medium
            plain[:] = bytes(SIZE)
            os.pwritev(disk, [plain], 0)
            m[:] = pattern
            n = os.pwritev(disk, [m], 0)
            os.preadv(disk, [plain], 0)
            data = n == SIZE and plain[:] == pattern
        return {"kernel": "accepts", "data": data}
    except OSError as e:
        return {"kernel": errno.errorcode[e.errno], "data": False}
    finally:
        os.close(disk)
        m.close()
drives = {}
for c in sorted(os.listdir("/sys/class/nvme")):
    pci = os.path.basename(os.path.realpath("/sys/class/nvme/%s/device" % c))
    drives[pci] = "/dev/%sn1" % c
out = [dict(drive=a, peer=b, kind=k, **transfer(drives[a], b, k)) for a in drives for b in drives if a != b for k in ("writes", "reads")]
print(json.dumps(out))
