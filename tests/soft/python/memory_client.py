"""A second client of the memory server, written from the table of the wire protocol alone.

memory_client.py PORT OPERATIONS SEED BASE SIZE: random operations on [BASE, BASE + SIZE), checked against a model in memory.
Prints how many were done; ends with 1 at the first answer that differs.
"""
import random
import socket
import struct
import sys

port, operations, seed, base, size = (int(word) for word in sys.argv[1:6])
REQUEST = struct.Struct("<BQQQQQ64s")
RESPONSE = struct.Struct("<BQQ64s")
assert REQUEST.size == 105 and RESPONSE.size == 81
MASK = (1 << 64) - 1
chance = random.Random(seed)
connection = socket.create_connection(("127.0.0.1", port), timeout=20)
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
stream = connection.makefile("rb")
memory = bytearray(size)


def fail(what, expected, found):
    print(f"{what}: expected {expected!r}, found {found!r}")
    sys.exit(1)


def make(step):
    """A request and the answer that the model gives: status, old value, data."""
    op = chance.choice([0, 0, 1, 1, 3, 4, 5, "zero", "long", "end", "unknown"])
    length = chance.randint(1, 64)
    if op in (3, 4):
        length = 8
    at = chance.randrange(size - 64)
    value, expected = chance.getrandbits(64), chance.getrandbits(64)
    data = chance.randbytes(64)
    old = int.from_bytes(memory[at:at + 8], "little")
    if op == "zero":
        return (chance.choice([0, 1, 3, 4]), base + at, 0, value, expected, data), (1, 0, b"")
    if op == "long":
        return (chance.choice([0, 1]), base + at, chance.choice([65, 1 << 40, MASK]), value, expected, data), (1, 0, b"")
    if op == "end":
        return (chance.choice([0, 1, 3, 4]), chance.choice([MASK, MASK - 63, 1 << 62]), 8, value, expected, data), (1, 0, b"")
    if op == "unknown":
        return (chance.randint(27, 255), base + at, 8, value, expected, data), (1, 0, b"")
    if op == 0:
        return (0, base + at, length, value, expected, data), (0, 0, bytes(memory[at:at + length]))
    if op == 1:
        memory[at:at + length] = data[:length]
        return (1, base + at, length, value, expected, data), (0, 0, b"")
    if op == 3:
        memory[at:at + 8] = ((old + value) & MASK).to_bytes(8, "little")
        return (3, base + at, 8, value, expected, data), (0, old, b"")
    if op == 4:
        if chance.random() < 0.5:
            expected = old
        if expected == old:
            memory[at:at + 8] = value.to_bytes(8, "little")
        return (4, base + at, 8, value, expected, data), (0, old, b"")
    return (5, 0, 0, 0, 0, bytes(64)), (0, 0, b"")


done = 0
while done < operations:
    batch = [make(done + i) for i in range(min(chance.randint(1, 32), operations - done))]
    message = b"".join(
        REQUEST.pack(op, address, length, 1000 * (done + i + 1), value, expected, data)
        for i, ((op, address, length, value, expected, data), _) in enumerate(batch)
    )
    # In two pieces, cut anywhere: the server must not care how bytes arrive.
    cut = chance.randint(0, len(message))
    connection.sendall(message[:cut])
    connection.sendall(message[cut:])
    for request, (status, old, data) in batch:
        answer = stream.read(RESPONSE.size)
        if len(answer) != RESPONSE.size:
            fail(f"operation {done} {request}", "an answer", answer)
        found_status, latency, found_old, found_data = RESPONSE.unpack(answer)
        expected_answer = (status, old, data + bytes(64 - len(data)))
        if (found_status, found_old, found_data) != expected_answer:
            fail(f"operation {done} {request}", expected_answer, (found_status, found_old, found_data))
        if status == 0 and request[0] in (0, 1, 3, 4) and latency < 100:
            fail(f"operation {done} {request}", "a latency of at least 100 ns", latency)
        done += 1
print(done)
