/** What stands in for ssh: gives the words to the socket of guest_link.ts, and passes standard input and output on. */

const [socket = "", words = ""] = Deno.args;
const connection = await Deno.connect({ transport: "unix", path: socket });
const line = new TextEncoder().encode(JSON.stringify(words) + "\n");
for (let at = 0; at < line.length;) at += await connection.write(line.subarray(at));
const sending = (async (): Promise<void> => {
  const buffer = new Uint8Array(65_536);
  for (let n = await Deno.stdin.read(buffer); n !== null; n = await Deno.stdin.read(buffer)) {
    for (let at = 0; at < n;) at += await connection.write(buffer.subarray(at, n));
  }
  await connection.closeWrite();
})().catch(() => {});
const buffer = new Uint8Array(65_536);
for (let n = await connection.read(buffer); n !== null; n = await connection.read(buffer)) {
  for (let at = 0; at < n;) at += await Deno.stdout.write(buffer.subarray(at, n));
}
void sending;
// A read of standard input that waits would keep it alive.
// deno-lint-ignore busbar/no-exit
Deno.exit(0);
