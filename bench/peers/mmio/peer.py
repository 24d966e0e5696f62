"""Python, in two ways. usage: peer.py ctypes|mmap FILE LIBRARY. What is measured: see peer.c."""

import ctypes
import json
import mmap
import struct
import sys
import time

BYTES, ROUNDS, CALLS, BLOCKS, BLOCK_BYTES = 65536, 5, 20000, 500, 4096


def by_ctypes(memory, library):
    """libbusbar by ctypes."""
    busbar = ctypes.CDLL(library)
    base = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    read32, write32, read_block = busbar.bb_read32, busbar.bb_write32, busbar.bb_read_block
    read32.argtypes, read32.restype = [ctypes.c_void_p, ctypes.c_uint32], ctypes.c_uint32
    write32.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32]
    read_block.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32]
    buffer = ctypes.create_string_buffer(BLOCK_BYTES)
    return (
        lambda: [read32(base, 4) for _ in range(CALLS)],
        lambda: [write32(base, 8, i) for i in range(CALLS)],
        lambda: [read_block(base, 0, buffer, BLOCK_BYTES, 4) for _ in range(BLOCKS)],
    )


def by_mmap(memory, _library):
    """mmap and struct: no promise of how wide an access is."""
    read, write = struct.Struct("<I").unpack_from, struct.Struct("<I").pack_into
    block = struct.Struct("<1024I").unpack_from
    return (
        lambda: [read(memory, 4)[0] for _ in range(CALLS)],
        lambda: [write(memory, 8, i) for i in range(CALLS)],
        lambda: [block(memory, 0) for _ in range(BLOCKS)],
    )


def main():
    way, path, library = sys.argv[1:4]
    with open(path, "r+b") as file:
        memory = mmap.mmap(file.fileno(), BYTES)
    bodies = {"ctypes": by_ctypes, "mmap": by_mmap}[way](memory, library)
    best = {}
    for _ in range(ROUNDS):
        for name, count, body in zip(("read32", "write32", "block4k"), (CALLS, CALLS, BLOCKS), bodies):
            start = time.perf_counter_ns()
            body()
            best[name] = min(best.get(name, float("inf")), (time.perf_counter_ns() - start) / count)
    print(json.dumps(best))


main()
