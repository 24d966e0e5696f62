// deno-lint-ignore-file explicit-function-return-type
// libbusbar from Node by koffi. usage: NODE_PATH=… node koffi.cjs FILE LIBRARY. What is measured: see peer.c.
const fs = require("node:fs");
const koffi = require("koffi");

const [file, library] = process.argv.slice(2);
const BYTES = 65536, ROUNDS = 10, CALLS = 200000, BLOCKS = 1000, BLOCK_BYTES = 4096;

const libc = koffi.load("libc.so.6");
const mmap = libc.func("void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)");
const memory = mmap(null, BYTES, 3, /* read, write */ 1, /* shared */ fs.openSync(file, "r+"), 0);

const busbar = koffi.load(library);
const read32 = busbar.func("uint32_t bb_read32(void *base, uint32_t offset)");
const write32 = busbar.func("int32_t bb_write32(void *base, uint32_t offset, uint32_t value)");
const readBlock = busbar.func(
  "int32_t bb_read_block(void *base, uint32_t offset, void *buffer, uint32_t bytes, uint32_t width)",
);
const buffer = Buffer.alloc(BLOCK_BYTES);

const best = { read32: Infinity, write32: Infinity, block4k: Infinity };
let sink = 0;
function measure(name, count, body) {
  const start = process.hrtime.bigint();
  body(count);
  best[name] = Math.min(best[name], Number(process.hrtime.bigint() - start) / count);
}
for (let round = 0; round < ROUNDS; round++) {
  measure("read32", CALLS, (count) => {
    for (let i = 0; i < count; i++) sink += read32(memory, 4);
  });
  measure("write32", CALLS, (count) => {
    for (let i = 0; i < count; i++) write32(memory, 8, i);
  });
  measure("block4k", BLOCKS, (count) => {
    for (let i = 0; i < count; i++) readBlock(memory, 0, buffer, BLOCK_BYTES, 4);
  });
}
process.stdout.write(JSON.stringify(best) + "\n");
