/**
 * Archives in the "newc" form of cpio, which is what the Linux kernel unpacks as its first root
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 * @module
 */

/** One entry of an archive. Names have no leading slash; folders come before what is in them. */
export type CpioEntry =
  | { readonly kind: "folder"; readonly name: string }
  | { readonly kind: "link"; readonly name: string; readonly target: string }
  | { readonly kind: "file"; readonly name: string; readonly bytes: Uint8Array; readonly executable?: boolean };

const MODE = { folder: 0o040755, link: 0o120777, file: 0o100644, executable: 0o100755 } as const;

/** File sizes are eight hexadecimal digits. */
const MAX_SIZE_BYTES = 0xffff_ffff;

/**
 * Writes an archive. Everything belongs to root and has time 0, so equal entries give equal bytes.
 *
 * @throws {RangeError} when a file is 4 GiB or larger
 */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array<ArrayBuffer> {
  const chunks = entries.flatMap((entry, index) => {
    const bytes = content(entry);
    if (bytes.length > MAX_SIZE_BYTES) throw new RangeError(`${entry.name}: a cpio entry is below 4 GiB`);
    return [header(entry.name, modeOf(entry), index + 1, bytes.length), bytes, padding(bytes.length)];
  });
  chunks.push(header("TRAILER!!!", 0, 0, 0));
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function content(entry: CpioEntry): Uint8Array {
  if (entry.kind === "file") return entry.bytes;
  return new TextEncoder().encode(entry.kind === "link" ? entry.target : "");
}

function modeOf(entry: CpioEntry): number {
  return entry.kind === "file" && entry.executable ? MODE.executable : MODE[entry.kind];
}

/** The header, the name with its NUL, and the padding to four bytes. */
function header(name: string, mode: number, inode: number, sizeBytes: number): Uint8Array {
  const nameBytes = new TextEncoder().encode(name + "\0");
  const links = (mode & 0o170000) === 0o040000 ? 2 : 1;
  const fields = [
    ...[inode, mode, 0, 0, links, 0, sizeBytes], // inode, mode, user, group, links, time, size
    ...[0, 0, 0, 0], // device of the file, device it names
    ...[nameBytes.length, 0], // name size, checksum (unused in this form)
  ];
  const text = "070701" + fields.map((field) => field.toString(16).padStart(8, "0")).join("");
  const bytes = new Uint8Array(text.length + nameBytes.length + padding(text.length + nameBytes.length).length);
  bytes.set(new TextEncoder().encode(text));
  bytes.set(nameBytes, text.length);
  return bytes;
}

function padding(sizeBytes: number): Uint8Array {
  return new Uint8Array((4 - sizeBytes % 4) % 4);
}
