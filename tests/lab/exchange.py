"""One of two guests: sends 64 MiB through shared memory while it receives 64 MiB, and compares checksums over the network.

The memory is an ivshmem BAR with two rings, one a direction. The first page holds how many chunks were put into each ring
and how many were taken out; each number has one writer.
"""
import glob
import hashlib
import mmap
import os
import socket
import struct
import sys
import time

CHUNK = 1 << 20
CHUNKS = 64
SLOTS = 7
LIMIT_S = 240

host = int(os.environ["BUSBAR_LAB_HOST"])
own, peer = os.environ["BUSBAR_LAB_ADDRESS"], os.environ["BUSBAR_LAB_PEER"]


def open_memory():
    for folder in glob.glob("/sys/bus/pci/devices/*"):
        with open(folder + "/vendor") as vendor, open(folder + "/device") as device:
            if (vendor.read().strip(), device.read().strip()) == ("0x1af4", "0x1110"):
                break
    else:
        sys.exit("there is no ivshmem device")
    with open(folder + "/enable", "w") as enable:
        enable.write("1")
    file = os.open(folder + "/resource2", os.O_RDWR)
    return mmap.mmap(file, os.fstat(file).st_size)


memory = open_memory()


def place(ring, kind):
    return ring * 128 + kind * 64


def count(ring, kind):
    return struct.unpack_from("<Q", memory, place(ring, kind))[0]


def slot(ring, number):
    start = CHUNK + (ring * SLOTS + number % SLOTS) * CHUNK
    return slice(start, start + CHUNK)


def connected():
    """A connection to the other guest, once that is there."""
    end = time.monotonic() + LIMIT_S
    if host == 0:
        with socket.create_server((own, 4000)) as server:
            server.settimeout(LIMIT_S)
            return server.accept()[0]
    while True:
        try:
            return socket.create_connection((peer, 4000), 10)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def line_from(connection):
    with connection.makefile() as lines:
        return lines.readline().split()


PUT, TAKEN = 0, 1
sent, received = hashlib.sha256(), hashlib.sha256()
put = taken = turns = 0
connection = connected()
connection.settimeout(LIMIT_S)
end = time.monotonic() + LIMIT_S
while put < CHUNKS or taken < CHUNKS:
    before = (put, taken)
    if put < CHUNKS and put - count(host, TAKEN) < SLOTS:
        chunk = hashlib.shake_128(b"%d %d" % (host, put)).digest(CHUNK)
        memory[slot(host, put)] = chunk
        sent.update(chunk)
        put += 1
        struct.pack_into("<Q", memory, place(host, PUT), put)
    if taken < CHUNKS and count(1 - host, PUT) > taken:
        received.update(memory[slot(1 - host, taken)])
        taken += 1
        struct.pack_into("<Q", memory, place(1 - host, TAKEN), taken)
        turns += put < CHUNKS
    if before == (put, taken):
        if time.monotonic() > end:
            sys.exit("the other guest stopped after %d sent, %d received" % before)
        time.sleep(0.002)
connection.sendall(("%s\n" % sent.hexdigest()).encode())
(theirs,) = line_from(connection)
if theirs != received.hexdigest():
    sys.exit("received %s, the other guest sent %s" % (received.hexdigest(), theirs))
# How many chunks came while there was still something to send: both ways at once.
print("sent", CHUNKS * CHUNK, sent.hexdigest(), "received", CHUNKS * CHUNK, received.hexdigest(), "meanwhile", turns)
